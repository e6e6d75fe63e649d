/**
 * Keys of a PC keyboard by `KeyboardEvent.code`, their scan codes in sets 1, 2 and 3, and the US layout for typing text.
 * IBM PS/2 Hardware Interface TR, keyboard section; Microsoft, "Keyboard Scan Code Specification" 1.3a.
 */

/** First byte of a two-byte scan code. */
export const EXTENDED = 0xe0;
/** First byte of Pause. */
const EXTENDED_1 = 0xe1;
/** Comes before the code of a released key in sets 2 and 3. */
export const BREAK_PREFIX = 0xf0;
/** Marks a released key in set 1. */
export const BREAK_BIT = 0x80;

/** Scan code set that a keyboard sends. */
export type ScanCodeSet = 1 | 2 | 3;

/** Codes in sets 1, 2 and 3; E0xxh is a code with the prefix E0h, 0 none at all. Print Screen and Pause stand apart. */
const KEYS: Readonly<Record<string, readonly [number, number, number]>> = {
  Escape: [0x01, 0x76, 0x08],
  Digit1: [0x02, 0x16, 0x16],
  Digit2: [0x03, 0x1e, 0x1e],
  Digit3: [0x04, 0x26, 0x26],
  Digit4: [0x05, 0x25, 0x25],
  Digit5: [0x06, 0x2e, 0x2e],
  Digit6: [0x07, 0x36, 0x36],
  Digit7: [0x08, 0x3d, 0x3d],
  Digit8: [0x09, 0x3e, 0x3e],
  Digit9: [0x0a, 0x46, 0x46],
  Digit0: [0x0b, 0x45, 0x45],
  Minus: [0x0c, 0x4e, 0x4e],
  Equal: [0x0d, 0x55, 0x55],
  Backspace: [0x0e, 0x66, 0x66],
  Tab: [0x0f, 0x0d, 0x0d],
  KeyQ: [0x10, 0x15, 0x15],
  KeyW: [0x11, 0x1d, 0x1d],
  KeyE: [0x12, 0x24, 0x24],
  KeyR: [0x13, 0x2d, 0x2d],
  KeyT: [0x14, 0x2c, 0x2c],
  KeyY: [0x15, 0x35, 0x35],
  KeyU: [0x16, 0x3c, 0x3c],
  KeyI: [0x17, 0x43, 0x43],
  KeyO: [0x18, 0x44, 0x44],
  KeyP: [0x19, 0x4d, 0x4d],
  BracketLeft: [0x1a, 0x54, 0x54],
  BracketRight: [0x1b, 0x5b, 0x5b],
  Enter: [0x1c, 0x5a, 0x5a],
  ControlLeft: [0x1d, 0x14, 0x11],
  KeyA: [0x1e, 0x1c, 0x1c],
  KeyS: [0x1f, 0x1b, 0x1b],
  KeyD: [0x20, 0x23, 0x23],
  KeyF: [0x21, 0x2b, 0x2b],
  KeyG: [0x22, 0x34, 0x34],
  KeyH: [0x23, 0x33, 0x33],
  KeyJ: [0x24, 0x3b, 0x3b],
  KeyK: [0x25, 0x42, 0x42],
  KeyL: [0x26, 0x4b, 0x4b],
  Semicolon: [0x27, 0x4c, 0x4c],
  Quote: [0x28, 0x52, 0x52],
  Backquote: [0x29, 0x0e, 0x0e],
  ShiftLeft: [0x2a, 0x12, 0x12],
  Backslash: [0x2b, 0x5d, 0x5c],
  KeyZ: [0x2c, 0x1a, 0x1a],
  KeyX: [0x2d, 0x22, 0x22],
  KeyC: [0x2e, 0x21, 0x21],
  KeyV: [0x2f, 0x2a, 0x2a],
  KeyB: [0x30, 0x32, 0x32],
  KeyN: [0x31, 0x31, 0x31],
  KeyM: [0x32, 0x3a, 0x3a],
  Comma: [0x33, 0x41, 0x41],
  Period: [0x34, 0x49, 0x49],
  Slash: [0x35, 0x4a, 0x4a],
  ShiftRight: [0x36, 0x59, 0x59],
  NumpadMultiply: [0x37, 0x7c, 0x7e],
  AltLeft: [0x38, 0x11, 0x19],
  Space: [0x39, 0x29, 0x29],
  CapsLock: [0x3a, 0x58, 0x14],
  F1: [0x3b, 0x05, 0x07],
  F2: [0x3c, 0x06, 0x0f],
  F3: [0x3d, 0x04, 0x17],
  F4: [0x3e, 0x0c, 0x1f],
  F5: [0x3f, 0x03, 0x27],
  F6: [0x40, 0x0b, 0x2f],
  F7: [0x41, 0x83, 0x37],
  F8: [0x42, 0x0a, 0x3f],
  F9: [0x43, 0x01, 0x47],
  F10: [0x44, 0x09, 0x4f],
  NumLock: [0x45, 0x77, 0x76],
  ScrollLock: [0x46, 0x7e, 0x5f],
  Numpad7: [0x47, 0x6c, 0x6c],
  Numpad8: [0x48, 0x75, 0x75],
  Numpad9: [0x49, 0x7d, 0x7d],
  NumpadSubtract: [0x4a, 0x7b, 0x84],
  Numpad4: [0x4b, 0x6b, 0x6b],
  Numpad5: [0x4c, 0x73, 0x73],
  Numpad6: [0x4d, 0x74, 0x74],
  NumpadAdd: [0x4e, 0x79, 0x7c],
  Numpad1: [0x4f, 0x69, 0x69],
  Numpad2: [0x50, 0x72, 0x72],
  Numpad3: [0x51, 0x7a, 0x7a],
  Numpad0: [0x52, 0x70, 0x70],
  NumpadDecimal: [0x53, 0x71, 0x71],
  IntlBackslash: [0x56, 0x61, 0x13],
  F11: [0x57, 0x78, 0x56],
  F12: [0x58, 0x07, 0x5e],
  NumpadEqual: [0x59, 0x0f, 0],
  F13: [0x64, 0x08, 0],
  F14: [0x65, 0x10, 0],
  F15: [0x66, 0x18, 0],
  F16: [0x67, 0x20, 0],
  F17: [0x68, 0x28, 0],
  F18: [0x69, 0x30, 0],
  F19: [0x6a, 0x38, 0],
  F20: [0x6b, 0x40, 0],
  F21: [0x6c, 0x48, 0],
  F22: [0x6d, 0x50, 0],
  F23: [0x6e, 0x57, 0],
  F24: [0x76, 0x5f, 0],
  KanaMode: [0x70, 0x13, 0x87],
  IntlRo: [0x73, 0x51, 0x51],
  Convert: [0x79, 0x64, 0x86],
  NonConvert: [0x7b, 0x67, 0x85],
  IntlYen: [0x7d, 0x6a, 0x5d],
  NumpadComma: [0x7e, 0x6d, 0],
  NumpadEnter: [0xe01c, 0xe05a, 0x79],
  ControlRight: [0xe01d, 0xe014, 0x58],
  NumpadDivide: [0xe035, 0xe04a, 0x77],
  AltRight: [0xe038, 0xe011, 0x39],
  Home: [0xe047, 0xe06c, 0x6e],
  ArrowUp: [0xe048, 0xe075, 0x63],
  PageUp: [0xe049, 0xe07d, 0x6f],
  ArrowLeft: [0xe04b, 0xe06b, 0x61],
  ArrowRight: [0xe04d, 0xe074, 0x6a],
  End: [0xe04f, 0xe069, 0x65],
  ArrowDown: [0xe050, 0xe072, 0x60],
  PageDown: [0xe051, 0xe07a, 0x6d],
  Insert: [0xe052, 0xe070, 0x67],
  Delete: [0xe053, 0xe071, 0x64],
  MetaLeft: [0xe05b, 0xe01f, 0x8b],
  MetaRight: [0xe05c, 0xe027, 0x8c],
  ContextMenu: [0xe05d, 0xe02f, 0x8d],
  Power: [0xe05e, 0xe037, 0],
  Sleep: [0xe05f, 0xe03f, 0],
  WakeUp: [0xe063, 0xe05e, 0],
  MediaTrackPrevious: [0xe010, 0xe015, 0],
  MediaTrackNext: [0xe019, 0xe04d, 0],
  AudioVolumeMute: [0xe020, 0xe023, 0],
  LaunchApp2: [0xe021, 0xe02b, 0],
  MediaPlayPause: [0xe022, 0xe034, 0],
  MediaStop: [0xe024, 0xe03b, 0],
  AudioVolumeDown: [0xe02e, 0xe021, 0],
  AudioVolumeUp: [0xe030, 0xe032, 0],
  BrowserHome: [0xe032, 0xe03a, 0],
  BrowserSearch: [0xe065, 0xe010, 0],
  BrowserFavorites: [0xe066, 0xe018, 0],
  BrowserRefresh: [0xe067, 0xe020, 0],
  BrowserStop: [0xe068, 0xe028, 0],
  BrowserForward: [0xe069, 0xe030, 0],
  BrowserBack: [0xe06a, 0xe038, 0],
  LaunchApp1: [0xe06b, 0xe040, 0],
  LaunchMail: [0xe06c, 0xe048, 0],
  MediaSelect: [0xe06d, 0xe050, 0],
};

/** Modifiers that change what Print Screen and Pause send. */
export interface KeyModifiers {
  readonly control: boolean;
  readonly shift: boolean;
  readonly alt: boolean;
}

/** Print Screen: make codes plain, with Control or Shift, with Alt; from them the break codes follow. */
const PRINT_SCREEN: Readonly<Record<ScanCodeSet, readonly [readonly number[], number, number]>> = {
  1: [[0xe02a, 0xe037], 0xe037, 0x54],
  2: [[0xe012, 0xe07c], 0xe07c, 0x84],
  3: [[0x57], 0x57, 0x57],
};

/** Pause sends make and break together and nothing on release: plain, and with Control. */
const PAUSE: Readonly<Record<ScanCodeSet, readonly [readonly number[], readonly number[]]>> = {
  1: [
    [EXTENDED_1, 0x1d, 0x45, EXTENDED_1, 0x9d, 0xc5],
    [EXTENDED, 0x46, EXTENDED, 0xc6],
  ],
  2: [
    [EXTENDED_1, 0x14, 0x77, EXTENDED_1, BREAK_PREFIX, 0x14, BREAK_PREFIX, 0x77],
    [EXTENDED, 0x7e, EXTENDED, BREAK_PREFIX, 0x7e],
  ],
  3: [[0x62], [0x62]],
};

function append(bytes: number[], code: number, set: ScanCodeSet, down: boolean): void {
  if (code === 0) return;
  if (code > 0xff) bytes.push(code >> 8);
  if (!down && set !== 1) bytes.push(BREAK_PREFIX);
  bytes.push((code & 0xff) | (!down && set === 1 ? BREAK_BIT : 0));
}

/** True when the keyboard has the key. */
export function isKey(code: string): boolean {
  return Object.hasOwn(KEYS, code) || code === "PrintScreen" || code === "Pause";
}

/** True for keys that repeat while they are held. */
export function repeats(code: string): boolean {
  return code !== "Pause";
}

/** Bytes that a key sends when it goes down or up; none for keys that the keyboard or the set does not have. */
export function scanCodes(code: string, down: boolean, set: ScanCodeSet, modifiers: KeyModifiers): number[] {
  const bytes: number[] = [];
  if (code === "Pause") {
    return down ? [...PAUSE[set][modifiers.control ? 1 : 0]] : bytes;
  }
  if (code === "PrintScreen") {
    const [plain, shifted, alt] = PRINT_SCREEN[set];
    if (modifiers.alt) append(bytes, alt, set, down);
    else if (modifiers.control || modifiers.shift) append(bytes, shifted, set, down);
    else for (const part of down ? plain : plain.toReversed()) append(bytes, part, set, down);
    return bytes;
  }
  if (Object.hasOwn(KEYS, code)) append(bytes, KEYS[code]![set - 1]!, set, down);
  return bytes;
}

/** `KeyboardEvent.code` of a set 1 make code (E0xxh with prefix), or undefined. */
export function keyOfSet1(scanCode: number): string | undefined {
  for (const [code, codes] of Object.entries(KEYS)) if (codes[0] === scanCode) return code;
  return undefined;
}

/** What an 8042 makes of set 2 codes 00h–7Fh when it translates. */
// biome-ignore format: eight rows of sixteen
const SET2_TO_SET1: readonly number[] = [
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
  0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
  0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
  0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
  0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
  0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
  0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
  0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
];

/** Translate one byte of set 2 as an 8042 does (F0h is its caller's business). Higher codes than 84h pass. */
export function translateSet2(byte: number): number {
  if (byte < 0x80) return SET2_TO_SET1[byte]!;
  if (byte === 0x83) return 0x41;
  return byte === 0x84 ? 0x54 : byte;
}

/** One key going down or up. */
export interface KeyEvent {
  readonly code: string;
  readonly down: boolean;
}

/** Keys of the US layout whose characters are not letters: code, character, character with Shift. */
const US_SYMBOLS: readonly (readonly [string, string, string])[] = [
  ["Backquote", "`", "~"],
  ["Digit1", "1", "!"],
  ["Digit2", "2", "@"],
  ["Digit3", "3", "#"],
  ["Digit4", "4", "$"],
  ["Digit5", "5", "%"],
  ["Digit6", "6", "^"],
  ["Digit7", "7", "&"],
  ["Digit8", "8", "*"],
  ["Digit9", "9", "("],
  ["Digit0", "0", ")"],
  ["Minus", "-", "_"],
  ["Equal", "=", "+"],
  ["BracketLeft", "[", "{"],
  ["BracketRight", "]", "}"],
  ["Backslash", "\\", "|"],
  ["Semicolon", ";", ":"],
  ["Quote", "'", '"'],
  ["Comma", ",", "<"],
  ["Period", ".", ">"],
  ["Slash", "/", "?"],
];

/** Characters typed by one key of their own. */
const US_PLAIN: readonly (readonly [string, string])[] = [
  [" ", "Space"],
  ["\n", "Enter"],
  ["\r", "Enter"],
  ["\t", "Tab"],
  ["\b", "Backspace"],
  ["\x1b", "Escape"],
  ["\x7f", "Delete"],
];

/** A key and the modifier held with it. */
interface Stroke {
  readonly code: string;
  readonly modifier: string | undefined;
}

function usLayout(): Map<string, Stroke> {
  const strokes = new Map<string, Stroke>();
  const add = (character: string, code: string, modifier?: string): void => {
    if (!strokes.has(character)) strokes.set(character, { code, modifier });
  };
  for (const [character, code] of US_PLAIN) add(character, code);
  for (const [code, plain, shifted] of US_SYMBOLS) {
    add(plain, code);
    add(shifted, code, "ShiftLeft");
  }
  for (let i = 0; i < 26; i++) {
    const letter = String.fromCharCode(0x61 + i);
    const code = `Key${letter.toUpperCase()}`;
    add(letter, code);
    add(letter.toUpperCase(), code, "ShiftLeft");
    // Control characters that no key of their own types: ^A is Control and A.
    add(String.fromCharCode(1 + i), code, "ControlLeft");
  }
  add("\x1c", "Backslash", "ControlLeft");
  add("\x1d", "BracketRight", "ControlLeft");
  add("\x1e", "Digit6", "ControlLeft");
  add("\x1f", "Minus", "ControlLeft");
  return strokes;
}

const US_LAYOUT = usLayout();

/** True when the US layout types this character. */
export function isTypeable(character: string): boolean {
  return US_LAYOUT.has(character);
}

/** Key events that type `text` on the US layout; characters without a key are left out. A line end is Enter. */
export function* textToKeys(text: string): Generator<KeyEvent> {
  for (const character of text.replaceAll("\r\n", "\n")) {
    const stroke = US_LAYOUT.get(character);
    if (stroke === undefined) continue;
    if (stroke.modifier !== undefined) yield { code: stroke.modifier, down: true };
    yield { code: stroke.code, down: true };
    yield { code: stroke.code, down: false };
    if (stroke.modifier !== undefined) yield { code: stroke.modifier, down: false };
  }
}
