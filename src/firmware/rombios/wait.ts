/** INT 15h/83h and 86h: waits timed by the clock's periodic interrupt, as the PC/AT does them. */
import type { Call, Label } from "./call.ts";
import { BDA, CMOS, PORT, RTC_BITS } from "./layout.ts";

/** Microseconds of one periodic interrupt at the rate that POST sets (1024 Hz). */
const PERIOD_US = 976;
const IRQ8_MASK = 0x01;
const CASCADE_MASK = 0x04;
const WAIT = { ACTIVE: 0x01, POSTED: 0x80 } as const;

function periodic(call: Call, on: boolean): void {
  const status = call.readCmos(CMOS.STATUS_B);
  call.writeCmos(CMOS.STATUS_B, on ? status | RTC_BITS.PERIODIC : status & ~RTC_BITS.PERIODIC);
}

function start(call: Call, segment: number, offset: number): void {
  const { memory, io } = call.context;
  memory.write16(BDA.WAIT_POINTER, offset);
  memory.write16(BDA.WAIT_POINTER + 2, segment);
  memory.write32(BDA.WAIT_COUNT, ((call.cx << 16) | call.dx) >>> 0);
  memory.write8(BDA.WAIT_ACTIVE, WAIT.ACTIVE);
  io.out(PORT.PIC2_DATA, 1, io.in(PORT.PIC2_DATA, 1) & ~IRQ8_MASK);
  io.out(PORT.PIC1_DATA, 1, io.in(PORT.PIC1_DATA, 1) & ~CASCADE_MASK);
  // A stale flag would end the first period at once.
  call.readCmos(CMOS.STATUS_C);
  periodic(call, true);
}

function stop(call: Call): void {
  call.context.memory.write8(BDA.WAIT_ACTIVE, 0);
  periodic(call, false);
}

/** One periodic interrupt: count the wait down and post its flag when it is over. */
export function waitTick(call: Call): void {
  const { memory } = call.context;
  if ((memory.read8(BDA.WAIT_ACTIVE) & WAIT.ACTIVE) === 0) return;
  const left = memory.read32(BDA.WAIT_COUNT);
  if (left > PERIOD_US) {
    memory.write32(BDA.WAIT_COUNT, left - PERIOD_US);
    return;
  }
  memory.write32(BDA.WAIT_COUNT, 0);
  stop(call);
  const at = call.far(memory.read16(BDA.WAIT_POINTER + 2), memory.read16(BDA.WAIT_POINTER));
  memory.write8(at, memory.read8(at) | WAIT.POSTED);
}

/** AH=83h: AL=0 posts bit 7 of ES:BX after CX:DX µs, AL=1 cancels. */
export function eventWait(call: Call): void {
  const { memory, cpu } = call.context;
  if (call.al === 1) {
    stop(call);
    call.carry = false;
    return;
  }
  if ((memory.read8(BDA.WAIT_ACTIVE) & WAIT.ACTIVE) !== 0) {
    call.ah = 0;
    call.carry = true;
    return;
  }
  start(call, cpu.selector("es"), call.bx);
  call.carry = false;
}

const BDA_SEGMENT = 0x40;

/** AH=86h: the stub halts until bit 7 of 40:A0h is set. */
export function delay(call: Call, label: Label): void {
  if ((call.context.memory.read8(BDA.WAIT_ACTIVE) & WAIT.ACTIVE) !== 0) {
    call.carry = true;
    return;
  }
  call.carry = false;
  start(call, BDA_SEGMENT, BDA.WAIT_ACTIVE & 0xff);
  call.goTo(label("int15_delay"));
}
