/**
 * INT 15h/C2h: the PS/2 mouse for programs, and INT 74h, which collects its packets and calls their handler.
 * Ralf Brown INT 15h/C2xx; the fields in the extended data area are IBM's.
 */
import type { Service } from "../service.ts";
import type { Label } from "./call.ts";
import { Call } from "./call.ts";
import { CONFIGURE, outcome, prepare, STATUS, STEP, type Step } from "./conversation.ts";
import { EBDA, PORT } from "./layout.ts";

/** Bytes to the mouse. */
const MOUSE = {
  SCALING_1_1: 0xe6,
  SCALING_2_1: 0xe7,
  RESOLUTION: 0xe8,
  STATUS: 0xe9,
  IDENTIFY: 0xf2,
  SAMPLE_RATE: 0xf3,
  ENABLE: 0xf4,
  DISABLE: 0xf5,
  RESET: 0xff,
} as const;

const ERROR = { FUNCTION: 0x01, INPUT: 0x02, INTERFACE: 0x03, NO_HANDLER: 0x05 } as const;
const SAMPLE_RATES = [10, 20, 40, 60, 80, 100, 200];
const RESET_WAIT = 100;
const ANSWER_WAIT = 10;
const DEFAULT_PACKET = 3;
const MAX_PACKET = 8;
const PACKET_WORDS = 4;

const FLAGS_1 = { INDEX: 0x07 } as const;
const FLAGS_2 = { SIZE: 0x07, HANDLER: 0x80 } as const;

function fail(call: Call, error: number): void {
  call.ah = error;
  call.carry = true;
}

function succeed(call: Call): void {
  call.ah = 0;
  call.carry = false;
}

function flags2(call: Call): number {
  return call.context.memory.read8(call.ebda + EBDA.MOUSE_FLAGS_2);
}

/** Run an exchange; the stub comes back through the "mouse_done" service with all registers as they were. */
function exchange(call: Call, label: Label, steps: readonly Step[]): void {
  prepare(call, [
    [STEP.SAVE, 0],
    [STEP.CONFIGURE, CONFIGURE.MOUSE_QUIET],
    ...steps,
    [STEP.CONFIGURE, CONFIGURE.RESTORE_WITH_MOUSE],
  ]);
  call.goTo(label("int15_mouse"));
}

const send = (...bytes: number[]): Step[] => bytes.map((byte): Step => [STEP.MOUSE, byte]);

function setPacketSize(call: Call, size: number): void {
  const { memory } = call.context;
  memory.write8(call.ebda + EBDA.MOUSE_FLAGS_1, 0);
  memory.write8(call.ebda + EBDA.MOUSE_FLAGS_2, (flags2(call) & ~FLAGS_2.SIZE) | (size - 1));
}

const RESET_STEPS: readonly Step[] = [
  [STEP.MOUSE, MOUSE.RESET],
  [STEP.RECEIVE, RESET_WAIT],
  [STEP.RECEIVE, ANSWER_WAIT],
];

function status(call: Call, label: Label): void {
  switch (call.bh) {
    case 0:
      exchange(call, label, [
        ...send(MOUSE.STATUS),
        ...Array.from({ length: 3 }, (): Step => [STEP.RECEIVE, ANSWER_WAIT]),
      ]);
      return;
    case 1:
      exchange(call, label, send(MOUSE.SCALING_1_1));
      return;
    case 2:
      exchange(call, label, send(MOUSE.SCALING_2_1));
      return;
    default:
      fail(call, ERROR.INPUT);
  }
}

function setHandler(call: Call): void {
  const { memory, cpu } = call.context;
  const segment = cpu.selector("es");
  memory.write16(call.ebda + EBDA.MOUSE_HANDLER, call.bx);
  memory.write16(call.ebda + EBDA.MOUSE_HANDLER + 2, segment);
  const installed = segment !== 0 || call.bx !== 0;
  const flags = flags2(call) & ~FLAGS_2.HANDLER;
  memory.write8(call.ebda + EBDA.MOUSE_FLAGS_2, installed ? flags | FLAGS_2.HANDLER : flags);
  succeed(call);
}

/** The C2h function in AL: checks, then starts the exchange with the mouse. */
export function mouseFunction(call: Call, label: Label): void {
  switch (call.al) {
    case 0x00:
      if (call.bh > 1) fail(call, ERROR.INPUT);
      else if (call.bh === 1 && (flags2(call) & FLAGS_2.HANDLER) === 0) fail(call, ERROR.NO_HANDLER);
      else {
        call.context.memory.write8(call.ebda + EBDA.MOUSE_FLAGS_1, 0);
        exchange(call, label, send(call.bh === 1 ? MOUSE.ENABLE : MOUSE.DISABLE));
      }
      return;
    case 0x01:
      setPacketSize(call, (flags2(call) & FLAGS_2.SIZE) + 1);
      exchange(call, label, RESET_STEPS);
      return;
    case 0x02: {
      const rate = SAMPLE_RATES[call.bh];
      if (rate === undefined) fail(call, ERROR.INPUT);
      else exchange(call, label, send(MOUSE.SAMPLE_RATE, rate));
      return;
    }
    case 0x03:
      if (call.bh > 3) fail(call, ERROR.INPUT);
      else exchange(call, label, send(MOUSE.RESOLUTION, call.bh));
      return;
    case 0x04:
      exchange(call, label, [...send(MOUSE.IDENTIFY), [STEP.RECEIVE, ANSWER_WAIT]]);
      return;
    case 0x05:
      if (call.bh < 1 || call.bh > MAX_PACKET) fail(call, ERROR.INPUT);
      else {
        setPacketSize(call, call.bh);
        exchange(call, label, RESET_STEPS);
      }
      return;
    case 0x06:
      status(call, label);
      return;
    case 0x07:
      setHandler(call);
      return;
    default:
      fail(call, ERROR.FUNCTION);
  }
}

/** The exchange is over: results to registers. */
function done(call: Call): void {
  const { failed, bytes } = outcome(call);
  if (failed) {
    fail(call, ERROR.INTERFACE);
    return;
  }
  switch (call.al) {
    case 0x01:
      call.bl = bytes[0] ?? 0;
      call.bh = bytes[1] ?? 0;
      break;
    case 0x04:
      call.bh = bytes[0] ?? 0;
      break;
    case 0x06:
      if (call.bh === 0) {
        call.bl = bytes[0] ?? 0;
        call.cl = bytes[1] ?? 0;
        call.dl = bytes[2] ?? 0;
      }
      break;
  }
  succeed(call);
}

/** IRQ 12: one byte. True when it completes a packet that a handler waits for. */
function mouseByte(call: Call): boolean {
  const { memory, io } = call.context;
  const { ebda } = call;
  const wanted = STATUS.OUTPUT_FULL | STATUS.MOUSE_DATA;
  if ((io.in(PORT.KEYBOARD_STATUS, 1) & wanted) !== wanted) return false;
  const byte = io.in(PORT.KEYBOARD_DATA, 1);
  const flags = flags2(call);
  if ((flags & FLAGS_2.HANDLER) === 0) return false;
  const index = memory.read8(ebda + EBDA.MOUSE_FLAGS_1) & FLAGS_1.INDEX;
  memory.write8(ebda + EBDA.MOUSE_DATA + index, byte);
  if (index < (flags & FLAGS_2.SIZE)) {
    memory.write8(ebda + EBDA.MOUSE_FLAGS_1, index + 1);
    return false;
  }
  memory.write8(ebda + EBDA.MOUSE_FLAGS_1, 0);
  const size = (flags & FLAGS_2.SIZE) + 1;
  for (let i = 0; i < PACKET_WORDS; i++) {
    memory.write16(ebda + EBDA.MOUSE_PACKET + 2 * i, i < size ? memory.read8(ebda + EBDA.MOUSE_DATA + i) : 0);
  }
  return true;
}

/** Power-on values of the mouse fields. */
export function initializeMouse(call: Call): void {
  call.context.memory.write8(call.ebda + EBDA.MOUSE_FLAGS_2, DEFAULT_PACKET - 1);
}

/** Services of INT 74h and of the end of INT 15h/C2h. */
export function mouseServices(): Readonly<Record<string, Service>> {
  return {
    mouse_done: (context) => done(new Call(context)),
    int74: (context) => {
      const call = new Call(context);
      call.stubZero = !mouseByte(call);
    },
  };
}
