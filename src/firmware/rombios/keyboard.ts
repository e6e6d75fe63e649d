/**
 * The keyboard's lower half: scan codes of set 1 become shift states and words in the keyboard buffer, as INT 9 does it.
 * The ROM stub reads the byte, lets INT 15h/4Fh hooks see it and carries out the action that comes out of here.
 */
import type { Call } from "./call.ts";
import { CONFIGURE, prepare, STEP } from "./conversation.ts";
import { EXTENDED_KEYS, KEYPAD_DIGITS, KEYS, type KeyCodes } from "./keyboard-table.ts";
import { BDA } from "./layout.ts";

/** 40:17h. */
export const SHIFT = {
  RIGHT_SHIFT: 0x01,
  LEFT_SHIFT: 0x02,
  CONTROL: 0x04,
  ALT: 0x08,
  SCROLL: 0x10,
  NUM: 0x20,
  CAPS: 0x40,
  INSERT: 0x80,
} as const;

/** 40:18h. The lock keys' bits mean "held down". */
export const SHIFT_2 = {
  LEFT_CONTROL: 0x01,
  LEFT_ALT: 0x02,
  SYSREQ: 0x04,
  PAUSE: 0x08,
  SCROLL: 0x10,
  NUM: 0x20,
  CAPS: 0x40,
  INSERT: 0x80,
} as const;

/** 40:96h. */
export const KEYBOARD_STATUS = {
  LAST_E1: 0x01,
  LAST_E0: 0x02,
  RIGHT_CONTROL: 0x04,
  RIGHT_ALT: 0x08,
  ENHANCED: 0x10,
} as const;

/** 40:97h; bits 0–2 are the LEDs in the order scroll, num, caps. */
const LED_STATE = { LEDS: 0x07, ACKNOWLEDGED: 0x10, RESEND: 0x20 } as const;
const LED_SHIFT = 4;

const SCAN = {
  CONTROL: 0x1d,
  LEFT_SHIFT: 0x2a,
  RIGHT_SHIFT: 0x36,
  PRINT: 0x37,
  ALT: 0x38,
  CAPS: 0x3a,
  NUM: 0x45,
  SCROLL: 0x46,
  INSERT: 0x52,
  DELETE: 0x53,
  SYSREQ: 0x54,
  RELEASE: 0x80,
  ACKNOWLEDGE: 0xfa,
  RESEND: 0xfe,
  ECHO: 0xee,
  OVERRUN: 0xff,
  PREFIX_E0: 0xe0,
  PREFIX_E1: 0xe1,
} as const;

const KEYBOARD_SET_LEDS = 0xed;
const CONTROL_PRINT_SCREEN = 0x7200;
const BREAK_FLAG = 0x80;
const BDA_SEGMENT_BASE = 0x400;

/** What INT 9 must do after a scan code, beyond what happened in the BIOS data area. */
export type KeyAction =
  | "none"
  | "stored"
  | "full"
  | "leds"
  | "print"
  | "break"
  | "pause"
  | "reset"
  | "sysreq-down"
  | "sysreq-up";

function setBits(call: Call, address: number, bits: number, on: boolean): void {
  const { memory } = call.context;
  const value = memory.read8(address);
  memory.write8(address, on ? value | bits : value & ~bits);
}

/** Put a word into the keyboard buffer; false when it is full. */
export function storeKey(call: Call, word: number): boolean {
  const { memory } = call.context;
  const tail = memory.read16(BDA.KEYBOARD_TAIL);
  let next = tail + 2;
  if (next >= memory.read16(BDA.KEYBOARD_END)) next = memory.read16(BDA.KEYBOARD_START);
  if (next === memory.read16(BDA.KEYBOARD_HEAD)) return false;
  memory.write16(BDA_SEGMENT_BASE + tail, word);
  memory.write16(BDA.KEYBOARD_TAIL, next);
  return true;
}

/** The word at the head of the buffer without taking it, or undefined when the buffer is empty. */
export function peekKey(call: Call): number | undefined {
  const { memory } = call.context;
  const head = memory.read16(BDA.KEYBOARD_HEAD);
  return head === memory.read16(BDA.KEYBOARD_TAIL) ? undefined : memory.read16(BDA_SEGMENT_BASE + head);
}

/** Take the word at the head of the buffer away. */
export function dropKey(call: Call): void {
  const { memory } = call.context;
  let next = memory.read16(BDA.KEYBOARD_HEAD) + 2;
  if (next >= memory.read16(BDA.KEYBOARD_END)) next = memory.read16(BDA.KEYBOARD_START);
  memory.write16(BDA.KEYBOARD_HEAD, next);
}

/** True when the LEDs do not show what 40:17h says: a lock key was pressed or a program changed the flags. */
export function ledsDiffer(call: Call): boolean {
  const { memory } = call.context;
  const wanted = (memory.read8(BDA.SHIFT_FLAGS) >> LED_SHIFT) & LED_STATE.LEDS;
  return wanted !== (memory.read8(BDA.KEYBOARD_LEDS) & LED_STATE.LEDS);
}

/** Prepare the exchange that sets the keyboard's LEDs; the stub runs it. */
export function prepareLeds(call: Call): void {
  const { memory } = call.context;
  const leds = (memory.read8(BDA.SHIFT_FLAGS) >> LED_SHIFT) & LED_STATE.LEDS;
  // Written before the keyboard agrees: one that never answers must not be asked at every key.
  memory.write8(BDA.KEYBOARD_LEDS, (memory.read8(BDA.KEYBOARD_LEDS) & ~LED_STATE.LEDS) | leds);
  prepare(call, [
    [STEP.SAVE, 0],
    [STEP.CONFIGURE, CONFIGURE.KEYBOARD_QUIET],
    [STEP.KEYBOARD, KEYBOARD_SET_LEDS],
    [STEP.KEYBOARD, leds],
    [STEP.CONFIGURE, CONFIGURE.RESTORE],
  ]);
}

function control(call: Call, extended: boolean, down: boolean): void {
  const { memory } = call.context;
  if (extended) setBits(call, BDA.KEYBOARD_STATUS, KEYBOARD_STATUS.RIGHT_CONTROL, down);
  else setBits(call, BDA.SHIFT_FLAGS_2, SHIFT_2.LEFT_CONTROL, down);
  const held =
    (memory.read8(BDA.SHIFT_FLAGS_2) & SHIFT_2.LEFT_CONTROL) !== 0 ||
    (memory.read8(BDA.KEYBOARD_STATUS) & KEYBOARD_STATUS.RIGHT_CONTROL) !== 0;
  setBits(call, BDA.SHIFT_FLAGS, SHIFT.CONTROL, held);
}

function alt(call: Call, extended: boolean, down: boolean): KeyAction {
  const { memory } = call.context;
  if (extended) setBits(call, BDA.KEYBOARD_STATUS, KEYBOARD_STATUS.RIGHT_ALT, down);
  else setBits(call, BDA.SHIFT_FLAGS_2, SHIFT_2.LEFT_ALT, down);
  const held =
    (memory.read8(BDA.SHIFT_FLAGS_2) & SHIFT_2.LEFT_ALT) !== 0 ||
    (memory.read8(BDA.KEYBOARD_STATUS) & KEYBOARD_STATUS.RIGHT_ALT) !== 0;
  setBits(call, BDA.SHIFT_FLAGS, SHIFT.ALT, held);
  const typed = memory.read8(BDA.ALT_KEYPAD);
  if (held || typed === 0) return "none";
  memory.write8(BDA.ALT_KEYPAD, 0);
  return storeKey(call, typed) ? "stored" : "full";
}

/** Caps, Num and Scroll Lock: toggled when pressed, not when repeated. The bit is the same in 40:17h and 40:18h. */
function lock(call: Call, bit: number, down: boolean): KeyAction {
  const { memory } = call.context;
  const held = (memory.read8(BDA.SHIFT_FLAGS_2) & bit) !== 0;
  setBits(call, BDA.SHIFT_FLAGS_2, bit, down);
  if (!down || held) return "none";
  memory.write8(BDA.SHIFT_FLAGS, memory.read8(BDA.SHIFT_FLAGS) ^ bit);
  return "leds";
}

function breakKey(call: Call): KeyAction {
  const { memory } = call.context;
  const start = memory.read16(BDA.KEYBOARD_START);
  memory.write16(BDA.KEYBOARD_HEAD, start);
  memory.write16(BDA.KEYBOARD_TAIL, start);
  memory.write8(BDA.BREAK, BREAK_FLAG);
  storeKey(call, 0);
  return "break";
}

function pause(call: Call): KeyAction {
  const { memory } = call.context;
  if ((memory.read8(BDA.SHIFT_FLAGS_2) & SHIFT_2.PAUSE) !== 0) return "none";
  setBits(call, BDA.SHIFT_FLAGS_2, SHIFT_2.PAUSE, true);
  return "pause";
}

/** Keys that have a state of their own; undefined when `key` is not one of them. */
function stateKey(call: Call, key: number, extended: boolean, down: boolean): KeyAction | undefined {
  const flags = call.context.memory.read8(BDA.SHIFT_FLAGS);
  const controlHeld = (flags & SHIFT.CONTROL) !== 0;
  switch (key) {
    case SCAN.LEFT_SHIFT:
    case SCAN.RIGHT_SHIFT:
      // With an E0h prefix these are the shifts that enhanced keyboards send around their grey keys.
      if (!extended) {
        const bit = key === SCAN.LEFT_SHIFT ? SHIFT.LEFT_SHIFT : SHIFT.RIGHT_SHIFT;
        setBits(call, BDA.SHIFT_FLAGS, bit, down);
      }
      return "none";
    case SCAN.CONTROL:
      control(call, extended, down);
      return "none";
    case SCAN.ALT:
      return alt(call, extended, down);
    case SCAN.CAPS:
      return lock(call, SHIFT.CAPS, down);
    case SCAN.NUM:
      if (controlHeld) return down ? pause(call) : "none";
      return lock(call, SHIFT.NUM, down);
    case SCAN.SCROLL:
      if (controlHeld || extended) return down ? breakKey(call) : "none";
      return lock(call, SHIFT.SCROLL, down);
    case SCAN.SYSREQ: {
      const held = (call.context.memory.read8(BDA.SHIFT_FLAGS_2) & SHIFT_2.SYSREQ) !== 0;
      if (held === down) return "none";
      setBits(call, BDA.SHIFT_FLAGS_2, SHIFT_2.SYSREQ, down);
      return down ? "sysreq-down" : "sysreq-up";
    }
    default:
      return undefined;
  }
}

function chosen(codes: KeyCodes, flags: number): number | undefined {
  if ((flags & SHIFT.ALT) !== 0) return codes.alt;
  if ((flags & SHIFT.CONTROL) !== 0) return codes.control;
  const shifted = (flags & (SHIFT.LEFT_SHIFT | SHIFT.RIGHT_SHIFT)) !== 0;
  const lockBit = codes.lock === "caps" ? SHIFT.CAPS : codes.lock === "num" ? SHIFT.NUM : 0;
  return shifted !== ((flags & lockBit) !== 0) ? codes.shift : codes.normal;
}

/** A key goes down that types something. */
function typingKey(call: Call, key: number, extended: boolean): KeyAction {
  const { memory } = call.context;
  const flags = memory.read8(BDA.SHIFT_FLAGS);
  if ((memory.read8(BDA.SHIFT_FLAGS_2) & SHIFT_2.PAUSE) !== 0) {
    setBits(call, BDA.SHIFT_FLAGS_2, SHIFT_2.PAUSE, false);
    return "none";
  }
  const altHeld = (flags & SHIFT.ALT) !== 0;
  if (key === SCAN.DELETE && altHeld && (flags & SHIFT.CONTROL) !== 0) return "reset";
  if (extended && key === SCAN.PRINT) {
    if ((flags & SHIFT.CONTROL) === 0) return "print";
    return storeKey(call, CONTROL_PRINT_SCREEN) ? "stored" : "full";
  }
  const digit = extended ? undefined : KEYPAD_DIGITS.get(key);
  if (altHeld && digit !== undefined) {
    memory.write8(BDA.ALT_KEYPAD, (memory.read8(BDA.ALT_KEYPAD) * 10 + digit) & 0xff);
    return "none";
  }
  memory.write8(BDA.ALT_KEYPAD, 0);
  const codes = (extended ? EXTENDED_KEYS : KEYS).get(key);
  const word = codes === undefined ? undefined : chosen(codes, flags);
  if (key === SCAN.INSERT && word !== undefined && (word & 0xff) !== 0x30) {
    if ((memory.read8(BDA.SHIFT_FLAGS_2) & SHIFT_2.INSERT) === 0) {
      memory.write8(BDA.SHIFT_FLAGS, memory.read8(BDA.SHIFT_FLAGS) ^ SHIFT.INSERT);
    }
    setBits(call, BDA.SHIFT_FLAGS_2, SHIFT_2.INSERT, true);
  }
  if (word === undefined) return "none";
  return storeKey(call, word) ? "stored" : "full";
}

/** One byte from the keyboard. */
export function scanCode(call: Call, code: number): KeyAction {
  const { memory } = call.context;
  const status = memory.read8(BDA.KEYBOARD_STATUS);
  switch (code) {
    case SCAN.PREFIX_E0:
      setBits(call, BDA.KEYBOARD_STATUS, KEYBOARD_STATUS.LAST_E0, true);
      return "none";
    case SCAN.PREFIX_E1:
      setBits(call, BDA.KEYBOARD_STATUS, KEYBOARD_STATUS.LAST_E1, true);
      return "none";
    case SCAN.ACKNOWLEDGE:
      setBits(call, BDA.KEYBOARD_LEDS, LED_STATE.ACKNOWLEDGED, true);
      return "none";
    case SCAN.RESEND:
      setBits(call, BDA.KEYBOARD_LEDS, LED_STATE.RESEND, true);
      return "none";
    case SCAN.ECHO:
      return "none";
    case SCAN.OVERRUN:
    case 0:
      return "full";
  }
  const extended = (status & KEYBOARD_STATUS.LAST_E0) !== 0;
  const down = (code & SCAN.RELEASE) === 0;
  const key = code & ~SCAN.RELEASE;
  setBits(call, BDA.KEYBOARD_STATUS, KEYBOARD_STATUS.LAST_E0, false);
  if ((status & KEYBOARD_STATUS.LAST_E1) !== 0) {
    // Pause sends E1 1D 45 E1 9D C5 and nothing when released.
    if (key === SCAN.CONTROL) return "none";
    setBits(call, BDA.KEYBOARD_STATUS, KEYBOARD_STATUS.LAST_E1, false);
    return key === SCAN.NUM && down ? pause(call) : "none";
  }
  const action = stateKey(call, key, extended, down);
  if (action !== undefined) return action;
  if (down) return typingKey(call, key, extended);
  if (key === SCAN.INSERT) setBits(call, BDA.SHIFT_FLAGS_2, SHIFT_2.INSERT, false);
  return "none";
}
