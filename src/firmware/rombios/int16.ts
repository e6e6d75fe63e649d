/** INT 16h: the keyboard's upper half, for programs; and INT 9's glue to the lower half. Ralf Brown INT 16h. */
import type { Service } from "../service.ts";
import { Call, type Label } from "./call.ts";
import { CONFIGURE, converse, prepare, STEP } from "./conversation.ts";
import { type Activity, idlePoll, notIdle } from "./idle.ts";
import { dropKey, type KeyAction, ledsDiffer, peekKey, prepareLeds, SHIFT_2, scanCode, storeKey } from "./keyboard.ts";
import { BDA } from "./layout.ts";

const SET_TYPEMATIC = 0xf3;
/** 10.9 characters a second after half a second. */
const DEFAULT_TYPEMATIC = 0x2b;
/** INT 16h AH=09h: AX=0305h, AH=0Ah and AH=10h–12h are there. */
const FUNCTIONALITY = 0x34;
const KEYBOARD_ID = 0x83ab;
/** AH=92h answers at most this when AH=10h–12h exist. */
const ENHANCED_PRESENT = 0x80;
const LAST_STANDARD_SCAN = 0x84;
const MAX_HIDDEN_KEYS = 128;

/**
 * The word as AH=00h and 01h show it to programs that know the 84-key keyboard only; undefined when they must not see
 * it. IBM's rule: E0h marks duplicates of old keys, F0h and scan codes above 84h are new.
 */
export function standardKey(word: number): number | undefined {
  const scan = word >> 8;
  const character = word & 0xff;
  if (scan === 0xe0) return character === 0x0d || character === 0x0a ? 0x1c00 | character : 0x3500 | character;
  if (scan > LAST_STANDARD_SCAN) return undefined;
  if (character === 0xf0) return scan === 0 ? word : undefined;
  if (character === 0xe0 && scan !== 0) return scan << 8;
  return word;
}

/** The word as AH=10h and 11h show it. */
export function enhancedKey(word: number): number {
  return (word & 0xff) === 0xf0 && word >> 8 !== 0 ? word & 0xff00 : word;
}

function nextKey(call: Call, enhanced: boolean): number | undefined {
  // Bounded, since the guest may have bent the buffer's pointers.
  for (let i = 0; i < MAX_HIDDEN_KEYS; i++) {
    const word = peekKey(call);
    if (word === undefined) return undefined;
    const key = enhanced ? enhancedKey(word) : standardKey(word);
    if (key !== undefined) return key;
    dropKey(call);
  }
  return undefined;
}

/** AH=12h: 40:18h's held keys with the right-hand modifiers of 40:96h in bits 2 and 3. */
function extendedShiftFlags(call: Call): number {
  const { memory } = call.context;
  const held = memory.read8(BDA.SHIFT_FLAGS_2);
  const locks = held & (SHIFT_2.SCROLL | SHIFT_2.NUM | SHIFT_2.CAPS | SHIFT_2.LEFT_CONTROL | SHIFT_2.LEFT_ALT);
  const sysreq = (held & SHIFT_2.SYSREQ) !== 0 ? 0x80 : 0;
  return locks | sysreq | (memory.read8(BDA.KEYBOARD_STATUS) & 0x0c);
}

function setTypematic(call: Call, value: number, label: Label): void {
  prepare(call, [
    [STEP.SAVE, 0],
    [STEP.CONFIGURE, CONFIGURE.KEYBOARD_QUIET],
    [STEP.KEYBOARD, SET_TYPEMATIC],
    [STEP.KEYBOARD, value],
    [STEP.CONFIGURE, CONFIGURE.RESTORE],
  ]);
  call.goTo(label("int16_talk"));
}

function serve(call: Call, label: Label, activity: Activity | undefined): void {
  const enhanced = (call.ah & 0x10) !== 0;
  switch (call.ah) {
    case 0x00:
    case 0x10: {
      const key = nextKey(call, enhanced);
      notIdle(call);
      if (key === undefined) call.goTo(label("int16_wait"));
      else {
        dropKey(call);
        call.ax = key;
      }
      return;
    }
    case 0x01:
    case 0x11: {
      const key = nextKey(call, enhanced);
      call.zero = key === undefined;
      if (key !== undefined) {
        notIdle(call);
        call.ax = key;
      } else if (idlePoll(call, activity)) call.goTo(label("int16_idle"));
      return;
    }
    case 0x12:
      call.ah = extendedShiftFlags(call);
      call.al = call.context.memory.read8(BDA.SHIFT_FLAGS);
      return;
    case 0x02:
      call.al = call.context.memory.read8(BDA.SHIFT_FLAGS);
      return;
    case 0x03:
      if (call.al === 0x00) setTypematic(call, DEFAULT_TYPEMATIC, label);
      else if (call.al === 0x05) setTypematic(call, ((call.bh & 3) << 5) | (call.bl & 0x1f), label);
      return;
    case 0x05:
      call.al = storeKey(call, call.cx) ? 0 : 1;
      return;
    case 0x09:
      call.al = FUNCTIONALITY;
      return;
    case 0x0a:
      call.bx = KEYBOARD_ID;
      return;
    case 0x92:
      call.ah = ENHANCED_PRESENT;
      return;
  }
}

const SHOWS_LEDS = new Set([0x00, 0x01, 0x02, 0x10, 0x11, 0x12]);

const ACTION_LABELS: Readonly<Record<KeyAction, string>> = {
  none: "int9_end",
  stored: "int9_post",
  full: "int9_beep",
  leds: "int9_talk",
  print: "int9_print",
  break: "int9_break",
  pause: "int9_pause",
  reset: "int9_reset",
  "sysreq-down": "int9_sysreq_down",
  "sysreq-up": "int9_sysreq_up",
};

/** A key that came in during an exchange with the keyboard: only what it stores counts. */
export function strayKey(call: Call, code: number): void {
  scanCode(call, code);
}

/** Services of INT 9, INT 16h and the exchange loop. */
export function keyboardServices(label: Label, activity: Activity | undefined): Readonly<Record<string, Service>> {
  return {
    talk: (context) => {
      const call = new Call(context);
      call.stubZero = !converse(call, strayKey);
    },
    int9: (context) => {
      const call = new Call(context);
      const action = scanCode(call, call.al);
      if (action === "leds") prepareLeds(call);
      call.goTo(label(ACTION_LABELS[action]));
    },
    int16: (context) => {
      const call = new Call(context);
      if (SHOWS_LEDS.has(call.ah) && ledsDiffer(call)) {
        prepareLeds(call);
        call.goTo(label("int16_leds"));
      } else serve(call, label, activity);
    },
  };
}
