/**
 * Talking to the 8042 and what hangs on it. Every byte takes guest time, and a service must not wait, so an exchange is
 * a list of steps kept in the extended BIOS data area; the ROM's `talk` loop calls `converse` until it is through.
 *
 * | step      | argument     | does                                                           |
 * |-----------|--------------|----------------------------------------------------------------|
 * | COMMAND   | byte         | controller command to port 64h                                 |
 * | DATA      | byte         | controller data to port 60h                                    |
 * | KEYBOARD  | byte         | to the keyboard, waits for its acknowledgement                 |
 * | MOUSE     | byte         | to the mouse, waits for its acknowledgement                    |
 * | RECEIVE   | 10 ms units  | one byte to the results                                        |
 * | SAVE      | –            | reads the controller's command byte and keeps it               |
 * | CONFIGURE | CONFIGURE.x  | writes a command byte derived from the kept one                |
 * | FLUSH     | –            | throws away what waits in the output buffer                    |
 *
 * A step that times out marks the exchange as failed and the next one is tried, so that the command byte is restored.
 */
import { type Call, reached } from "./call.ts";
import { EBDA, PORT } from "./layout.ts";

export const STEP = {
  COMMAND: 1,
  DATA: 2,
  KEYBOARD: 3,
  MOUSE: 4,
  RECEIVE: 5,
  SAVE: 6,
  CONFIGURE: 7,
  FLUSH: 8,
} as const;

export const CONFIGURE = {
  /** Interrupts off, keyboard alone may talk. */
  KEYBOARD_QUIET: 0,
  /** Interrupts off, mouse alone may talk. */
  MOUSE_QUIET: 1,
  /** As before the exchange. */
  RESTORE: 2,
  /** As before, and the mouse with its interrupt enabled. */
  RESTORE_WITH_MOUSE: 3,
} as const;

/** 8042 command byte (IBM PC/AT technical reference, keyboard controller). */
export const COMMAND_BYTE = {
  KEYBOARD_INTERRUPT: 0x01,
  MOUSE_INTERRUPT: 0x02,
  SYSTEM: 0x04,
  KEYBOARD_OFF: 0x10,
  MOUSE_OFF: 0x20,
  TRANSLATE: 0x40,
} as const;

/** 8042 status register. */
export const STATUS = { OUTPUT_FULL: 0x01, INPUT_FULL: 0x02, MOUSE_DATA: 0x20 } as const;

/** 8042 commands. */
export const CONTROLLER = {
  READ_COMMAND: 0x20,
  WRITE_COMMAND: 0x60,
  MOUSE_OFF: 0xa7,
  SELF_TEST: 0xaa,
  KEYBOARD_OFF: 0xad,
  KEYBOARD_ON: 0xae,
  WRITE_MOUSE: 0xd4,
} as const;

const ACKNOWLEDGE = 0xfa;
const RESEND = 0xfe;
const ACKNOWLEDGE_TIMEOUT_MS = 100;
const RECEIVE_UNIT_MS = 10;
const MAX_STEPS = 60;
const MAX_RESULTS = 16;
/** Steps and phases that one call can get through. */
const MAX_ADVANCES = 1024;
const FLUSH_READS = 32;

/** Offsets in the conversation area. */
const AREA = {
  COUNT: 0,
  POSITION: 1,
  PHASE: 2,
  RESULT_COUNT: 3,
  DEADLINE: 4,
  FAILED: 8,
  COMMAND_BYTE: 9,
  RESULTS: 0x10,
  STEPS: 0x20,
} as const;

export type Step = readonly [kind: number, argument: number];

/** Replace the exchange by these steps. */
export function prepare(call: Call, steps: readonly Step[]): void {
  const { memory } = call.context;
  const area = call.ebda + EBDA.CONVERSATION;
  for (let i = 0; i < AREA.RESULTS; i++) memory.write8(area + i, 0);
  steps.slice(0, MAX_STEPS).forEach(([kind, argument], i) => {
    memory.write8(area + AREA.STEPS + 2 * i, kind);
    memory.write8(area + AREA.STEPS + 2 * i + 1, argument);
  });
  memory.write8(area + AREA.COUNT, Math.min(steps.length, MAX_STEPS));
}

/** Outcome of the last exchange. */
export interface Outcome {
  readonly failed: boolean;
  readonly bytes: readonly number[];
}

export function outcome(call: Call): Outcome {
  const { memory } = call.context;
  const area = call.ebda + EBDA.CONVERSATION;
  const bytes: number[] = [];
  const count = Math.min(memory.read8(area + AREA.RESULT_COUNT), MAX_RESULTS);
  for (let i = 0; i < count; i++) bytes.push(memory.read8(area + AREA.RESULTS + i));
  return { failed: memory.read8(area + AREA.FAILED) !== 0, bytes };
}

function configuration(call: Call, area: number, mode: number): number {
  const saved = call.context.memory.read8(area + AREA.COMMAND_BYTE);
  const quiet = saved & (COMMAND_BYTE.SYSTEM | COMMAND_BYTE.TRANSLATE);
  switch (mode) {
    case CONFIGURE.KEYBOARD_QUIET:
      return quiet | COMMAND_BYTE.MOUSE_OFF;
    case CONFIGURE.MOUSE_QUIET:
      return quiet | COMMAND_BYTE.KEYBOARD_OFF;
    case CONFIGURE.RESTORE_WITH_MOUSE:
      return (saved & ~COMMAND_BYTE.MOUSE_OFF) | COMMAND_BYTE.MOUSE_INTERRUPT;
    default:
      return saved;
  }
}

/** Does one phase of a step: "wait" for the device, "more" phases of the same step, or the "next" step. */
type Progress = "wait" | "more" | "next";

/** Called with a scan code that arrives while something else is expected, so that no key is lost. */
export type StrayKey = (call: Call, scanCode: number) => void;

function sendByte(call: Call, area: number, kind: number, argument: number, stray: StrayKey): Progress {
  const { io, memory } = call.context;
  const status = io.in(PORT.KEYBOARD_STATUS, 1);
  if (memory.read8(area + AREA.PHASE) === 0) {
    if ((status & STATUS.INPUT_FULL) !== 0) return "wait";
    if (kind === STEP.MOUSE) io.out(PORT.KEYBOARD_STATUS, 1, CONTROLLER.WRITE_MOUSE);
    io.out(PORT.KEYBOARD_DATA, 1, argument);
    return "more";
  }
  if ((status & STATUS.OUTPUT_FULL) === 0) return "wait";
  const fromMouse = (status & STATUS.MOUSE_DATA) !== 0;
  const byte = io.in(PORT.KEYBOARD_DATA, 1);
  if (fromMouse !== (kind === STEP.MOUSE)) {
    if (!fromMouse) stray(call, byte);
    return "wait";
  }
  if (byte === ACKNOWLEDGE) return "next";
  if (byte === RESEND) memory.write8(area + AREA.PHASE, 0);
  else if (!fromMouse) stray(call, byte);
  return "wait";
}

/** Command to the controller whose answer or argument belongs to port 60h. */
function twoPhases(call: Call, area: number, kind: number, argument: number, stray: StrayKey): Progress {
  const { io, memory } = call.context;
  const status = io.in(PORT.KEYBOARD_STATUS, 1);
  const saving = kind === STEP.SAVE;
  if (memory.read8(area + AREA.PHASE) === 0) {
    if ((status & STATUS.INPUT_FULL) !== 0) return "wait";
    // A byte still waiting would be taken for the answer.
    if (saving && (status & STATUS.OUTPUT_FULL) !== 0) {
      const byte = io.in(PORT.KEYBOARD_DATA, 1);
      if ((status & STATUS.MOUSE_DATA) === 0) stray(call, byte);
      return "wait";
    }
    io.out(PORT.KEYBOARD_STATUS, 1, saving ? CONTROLLER.READ_COMMAND : CONTROLLER.WRITE_COMMAND);
    return "more";
  }
  if (saving) {
    if ((status & STATUS.OUTPUT_FULL) === 0) return "wait";
    memory.write8(area + AREA.COMMAND_BYTE, io.in(PORT.KEYBOARD_DATA, 1));
    return "next";
  }
  if ((status & STATUS.INPUT_FULL) !== 0) return "wait";
  io.out(PORT.KEYBOARD_DATA, 1, configuration(call, area, argument));
  return "next";
}

function advance(call: Call, area: number, kind: number, argument: number, stray: StrayKey): Progress {
  const { io, memory } = call.context;
  switch (kind) {
    case STEP.KEYBOARD:
    case STEP.MOUSE:
      return sendByte(call, area, kind, argument, stray);
    case STEP.SAVE:
    case STEP.CONFIGURE:
      return twoPhases(call, area, kind, argument, stray);
    case STEP.RECEIVE: {
      if ((io.in(PORT.KEYBOARD_STATUS, 1) & STATUS.OUTPUT_FULL) === 0) return "wait";
      const count = memory.read8(area + AREA.RESULT_COUNT);
      if (count < MAX_RESULTS) {
        memory.write8(area + AREA.RESULTS + count, io.in(PORT.KEYBOARD_DATA, 1));
        memory.write8(area + AREA.RESULT_COUNT, count + 1);
      }
      return "next";
    }
    case STEP.FLUSH:
      for (let i = 0; i < FLUSH_READS && (io.in(PORT.KEYBOARD_STATUS, 1) & STATUS.OUTPUT_FULL) !== 0; i++) {
        io.in(PORT.KEYBOARD_DATA, 1);
      }
      return "next";
    default:
      if ((io.in(PORT.KEYBOARD_STATUS, 1) & STATUS.INPUT_FULL) !== 0) return "wait";
      io.out(kind === STEP.COMMAND ? PORT.KEYBOARD_STATUS : PORT.KEYBOARD_DATA, 1, argument);
      return "next";
  }
}

/** Carry the exchange on as far as the devices let it. True when it is over. */
export function converse(call: Call, stray: StrayKey): boolean {
  const { memory } = call.context;
  const area = call.ebda + EBDA.CONVERSATION;
  // Bounded, since a guest may have moved the data area to where nothing can be written.
  for (let i = 0; i < MAX_ADVANCES; i++) {
    const position = memory.read8(area + AREA.POSITION);
    if (position >= memory.read8(area + AREA.COUNT)) return true;
    const kind = memory.read8(area + AREA.STEPS + 2 * position);
    const argument = memory.read8(area + AREA.STEPS + 2 * position + 1);
    const timeout = kind === STEP.RECEIVE ? argument * RECEIVE_UNIT_MS : ACKNOWLEDGE_TIMEOUT_MS;
    // The deadline is set when a step begins; zero means that it has not.
    if (memory.read32(area + AREA.DEADLINE) === 0) {
      memory.write32(area + AREA.DEADLINE, (call.milliseconds + timeout) | 1);
    }
    let progress = advance(call, area, kind, argument, stray);
    if (progress === "wait") {
      if (!reached(call.milliseconds, memory.read32(area + AREA.DEADLINE))) return false;
      memory.write8(area + AREA.FAILED, 1);
      progress = "next";
    }
    if (progress === "more") memory.write8(area + AREA.PHASE, 1);
    else {
      memory.write8(area + AREA.POSITION, position + 1);
      memory.write8(area + AREA.PHASE, 0);
      memory.write32(area + AREA.DEADLINE, 0);
    }
  }
  return true;
}
