/** INT 1Ah: tick count and real-time clock. INT 70h's service: the clock's interrupt, for waits and the alarm. */
import type { Service } from "../service.ts";
import type { Label } from "./call.ts";
import { Call, fromBcd } from "./call.ts";
import { type Activity, idlePoll } from "./idle.ts";
import { BDA, CMOS, PORT, RTC_BITS } from "./layout.ts";
import { pciBios } from "./pci-bios.ts";
import { waitTick } from "./wait.ts";

const TICKS_PER_DAY = 0x1800b0;
/** 8254 input clock and the counter's 65536: the tick rate is their quotient, 18.2 Hz. */
const PIT_HZ = 1193182;
const PIT_COUNT = 65536;
const IRQ8_MASK = 0x01;

/** Set the tick count from the clock's hours, minutes and seconds. */
export function ticksFromClock(call: Call): void {
  const { memory } = call.context;
  const binary = (call.readCmos(CMOS.STATUS_B) & RTC_BITS.BINARY) !== 0;
  const read = (index: number): number => {
    const value = call.readCmos(index);
    return binary ? value : fromBcd(value);
  };
  const seconds = read(CMOS.HOURS) * 3600 + read(CMOS.MINUTES) * 60 + read(CMOS.SECONDS);
  memory.write32(BDA.TICKS, Math.min(Math.floor((seconds * PIT_HZ) / PIT_COUNT), TICKS_PER_DAY - 1));
  memory.write8(BDA.MIDNIGHT, 0);
}

function setStatusB(call: Call, clear: number, set: number): void {
  call.writeCmos(CMOS.STATUS_B, (call.readCmos(CMOS.STATUS_B) & ~clear) | set);
}

/** Write several clock registers while the clock's updates are held. */
function setClock(call: Call, values: readonly (readonly [index: number, value: number])[], daylight?: number): void {
  setStatusB(call, 0, RTC_BITS.SET);
  for (const [index, value] of values) call.writeCmos(index, value);
  if (daylight === undefined) setStatusB(call, RTC_BITS.SET, 0);
  else setStatusB(call, RTC_BITS.SET | RTC_BITS.DAYLIGHT, daylight & RTC_BITS.DAYLIGHT);
}

function getTicks(call: Call): void {
  const { memory } = call.context;
  const ticks = memory.read32(BDA.TICKS);
  call.cx = ticks >>> 16;
  call.dx = ticks & 0xffff;
  call.al = memory.read8(BDA.MIDNIGHT);
  call.ah = 0;
  call.carry = false;
  memory.write8(BDA.MIDNIGHT, 0);
}

function setAlarm(call: Call): void {
  if ((call.readCmos(CMOS.STATUS_B) & RTC_BITS.ALARM) !== 0) {
    call.ax = 0;
    call.carry = true;
    return;
  }
  call.writeCmos(CMOS.SECONDS_ALARM, call.dh);
  call.writeCmos(CMOS.MINUTES_ALARM, call.cl);
  call.writeCmos(CMOS.HOURS_ALARM, call.ch);
  const { io } = call.context;
  io.out(PORT.PIC2_DATA, 1, io.in(PORT.PIC2_DATA, 1) & ~IRQ8_MASK);
  setStatusB(call, RTC_BITS.SET, RTC_BITS.ALARM);
  call.carry = false;
}

function serve(call: Call, label: Label, activity: Activity | undefined): void {
  const { memory } = call.context;
  switch (call.ah) {
    case 0x00:
      // A loop that waits for the next tick sleeps until it comes, then reads it.
      if (call.interruptible && idlePoll(call, activity)) call.goTo(label("int1a_idle"));
      else getTicks(call);
      return;
    case 0x01:
      memory.write32(BDA.TICKS, ((call.cx << 16) | call.dx) >>> 0);
      memory.write8(BDA.MIDNIGHT, 0);
      call.ah = 0;
      call.carry = false;
      return;
    case 0x02:
      call.ch = call.readCmos(CMOS.HOURS);
      call.cl = call.readCmos(CMOS.MINUTES);
      call.dh = call.readCmos(CMOS.SECONDS);
      call.dl = call.readCmos(CMOS.STATUS_B) & RTC_BITS.DAYLIGHT;
      call.ah = 0;
      call.al = call.ch;
      call.carry = false;
      return;
    case 0x03:
      setClock(
        call,
        [
          [CMOS.HOURS, call.ch],
          [CMOS.MINUTES, call.cl],
          [CMOS.SECONDS, call.dh],
        ],
        call.dl,
      );
      call.ah = 0;
      call.carry = false;
      return;
    case 0x04:
      call.ch = call.readCmos(CMOS.CENTURY);
      call.cl = call.readCmos(CMOS.YEAR);
      call.dh = call.readCmos(CMOS.MONTH);
      call.dl = call.readCmos(CMOS.DAY);
      call.ah = 0;
      call.carry = false;
      return;
    case 0x05:
      setClock(call, [
        [CMOS.CENTURY, call.ch],
        [CMOS.YEAR, call.cl],
        [CMOS.MONTH, call.dh],
        [CMOS.DAY, call.dl],
      ]);
      call.ah = 0;
      call.carry = false;
      return;
    case 0x06:
      setAlarm(call);
      return;
    case 0x07:
      setStatusB(call, RTC_BITS.ALARM | RTC_BITS.SET, 0);
      call.ah = 0;
      call.carry = false;
      return;
    case 0xb1:
      pciBios(call);
      return;
    default:
      call.carry = true;
  }
}

/** Services of INT 1Ah and INT 70h. */
export function timeServices(label: Label, activity: Activity | undefined): Readonly<Record<string, Service>> {
  return {
    int1a: (context) => serve(new Call(context), label, activity),
    int1a_ticks: (context) => getTicks(new Call(context)),
    int70: (context) => {
      const call = new Call(context);
      const enabled = call.readCmos(CMOS.STATUS_B);
      // Reading status C acknowledges the interrupt.
      const causes = call.readCmos(CMOS.STATUS_C) & enabled;
      if ((causes & RTC_BITS.PERIODIC) !== 0) waitTick(call);
      if ((causes & RTC_BITS.ALARM) !== 0) call.goTo(label("int70_alarm"));
    },
  };
}
