/** Names of keys as people write them: "ctrl-alt-del", "f10", "a"; as KeyboardEvent codes. */
import { VmxonError } from "../common/errors.ts";
import { didYouMean } from "./suggest.ts";

/** Names that are not the code itself in lower case. */
const NAMED: Readonly<Record<string, string>> = {
  ctrl: "ControlLeft",
  control: "ControlLeft",
  rctrl: "ControlRight",
  shift: "ShiftLeft",
  rshift: "ShiftRight",
  alt: "AltLeft",
  altgr: "AltRight",
  ralt: "AltRight",
  win: "MetaLeft",
  meta: "MetaLeft",
  menu: "ContextMenu",
  esc: "Escape",
  ret: "Enter",
  return: "Enter",
  spc: "Space",
  del: "Delete",
  ins: "Insert",
  pgup: "PageUp",
  pgdn: "PageDown",
  up: "ArrowUp",
  down: "ArrowDown",
  left: "ArrowLeft",
  right: "ArrowRight",
  caps: "CapsLock",
  num: "NumLock",
  scroll: "ScrollLock",
  prtsc: "PrintScreen",
  sysrq: "PrintScreen",
  break: "Pause",
  power: "Power",
  minus: "Minus",
  plus: "NumpadAdd",
  dot: "Period",
};

const PLAIN = [
  "Enter Escape Space Tab Backspace Delete Insert Home End PageUp PageDown ArrowUp ArrowDown ArrowLeft ArrowRight",
  "CapsLock NumLock ScrollLock PrintScreen Pause Minus Equal Comma Period Slash Backslash Semicolon Quote Backquote",
  "BracketLeft BracketRight ContextMenu F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12",
]
  .join(" ")
  .split(" ");

const CODES: ReadonlyMap<string, string> = new Map([
  ...PLAIN.map((code): [string, string] => [code.toLowerCase(), code]),
  ...Array.from("abcdefghijklmnopqrstuvwxyz", (letter): [string, string] => [letter, `Key${letter.toUpperCase()}`]),
  ...Array.from("0123456789", (digit): [string, string] => [digit, `Digit${digit}`]),
  ...Object.entries(NAMED),
]);

/** KeyboardEvent codes of a chord, in the order in which they go down. Throws VmxonError("usage") for unknown names. */
export function parseChord(chord: string): string[] {
  return chord.split("-").map((name) => {
    const code = CODES.get(name.trim().toLowerCase());
    if (code === undefined) {
      const hint = didYouMean(name, CODES.keys());
      throw new VmxonError(
        "usage",
        `unknown key "${name}" in "${chord}".${hint} Write keys as ctrl-alt-del, f1 or enter.`,
      );
    }
    return code;
  });
}
