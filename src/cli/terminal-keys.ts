/** What a terminal sends, as keys of a PC: control characters, escape sequences of xterm and the Linux console, text. */

export type TerminalKey =
  /** Keys that go down together, as KeyboardEvent codes. */
  | { readonly kind: "chord"; readonly codes: readonly string[] }
  /** A character, with keys held. */
  | { readonly kind: "text"; readonly text: string; readonly held: readonly string[] }
  /** Ctrl-]: back to the host. */
  | { readonly kind: "leave" };

const ESCAPE = "\x1b";
const LEAVE = "\x1d";

/** Final letters of CSI and SS3 sequences. */
const LETTERS: Readonly<Record<string, string>> = {
  A: "ArrowUp",
  B: "ArrowDown",
  C: "ArrowRight",
  D: "ArrowLeft",
  E: "Numpad5",
  F: "End",
  H: "Home",
  M: "NumpadEnter",
  P: "F1",
  Q: "F2",
  R: "F3",
  S: "F4",
  Z: "Tab",
};

/** First parameter of sequences that end in "~". */
const NUMBERS: Readonly<Record<string, string>> = {
  "1": "Home",
  "2": "Insert",
  "3": "Delete",
  "4": "End",
  "5": "PageUp",
  "6": "PageDown",
  "7": "Home",
  "8": "End",
  "11": "F1",
  "12": "F2",
  "13": "F3",
  "14": "F4",
  "15": "F5",
  "17": "F6",
  "18": "F7",
  "19": "F8",
  "20": "F9",
  "21": "F10",
  "23": "F11",
  "24": "F12",
};

/** `ESC [ [ A` of the Linux console. */
const CONSOLE_LETTERS: Readonly<Record<string, string>> = { A: "F1", B: "F2", C: "F3", D: "F4", E: "F5" };

/** Control characters that are keys of their own or do not belong to a letter. */
const CONTROLS: Readonly<Record<string, readonly string[]>> = {
  "\0": ["ControlLeft", "Space"],
  "\b": ["Backspace"],
  "\t": ["Tab"],
  "\n": ["Enter"],
  "\r": ["Enter"],
  "\x1c": ["ControlLeft", "Backslash"],
  "\x1e": ["ControlLeft", "Digit6"],
  "\x1f": ["ControlLeft", "Minus"],
  "\x7f": ["Backspace"],
};

/** xterm's modifier parameter less one: bit 0 Shift, bit 1 Alt, bit 2 Ctrl. */
const MODIFIERS = ["ShiftLeft", "AltLeft", "ControlLeft"] as const;

function held(parameter: string | undefined): string[] {
  const bits = Number(parameter ?? "1") - 1;
  return MODIFIERS.filter((_, bit) => (bits & (1 << bit)) !== 0);
}

/** Turns input into keys; sequences may arrive in pieces. */
export class TerminalKeys {
  #pending = "";

  /** True while the input so far may be the beginning of a sequence: call `flush` when nothing follows for a moment. */
  get waiting(): boolean {
    return this.#pending !== "";
  }

  /** Keys in what was received. */
  feed(text: string): TerminalKey[] {
    this.#pending += text;
    const keys: TerminalKey[] = [];
    while (this.#pending !== "") {
      const length = this.#take(keys);
      if (length === 0) break;
      this.#pending = this.#pending.slice(length);
    }
    return keys;
  }

  /** Nothing followed: an Escape that stands alone was the Escape key. */
  flush(): TerminalKey[] {
    const keys: TerminalKey[] = [];
    while (this.#pending !== "") {
      const first = this.#pending[0]!;
      this.#pending = this.#pending.slice(1);
      keys.push(first === ESCAPE ? { kind: "chord", codes: ["Escape"] } : plain(first, []));
    }
    return keys;
  }

  /** Take one key off the input; the number of characters it took, 0 when more must come. */
  #take(keys: TerminalKey[]): number {
    const input = this.#pending;
    if (input[0] !== ESCAPE) {
      const character = String.fromCodePoint(input.codePointAt(0)!);
      keys.push(character === LEAVE ? { kind: "leave" } : plain(character, []));
      return character.length;
    }
    if (input.length === 1) return 0;
    if (input[1] === "[" || input[1] === "O") return sequence(input, keys);
    if (input[1] === ESCAPE) {
      keys.push({ kind: "chord", codes: ["Escape"] });
      return 1;
    }
    const character = String.fromCodePoint(input.codePointAt(1)!);
    keys.push(plain(character, ["AltLeft"]));
    return 1 + character.length;
  }
}

function sequence(input: string, keys: TerminalKey[]): number {
  if (input.startsWith("\x1b[[")) {
    if (input.length < 4) return 0;
    const code = CONSOLE_LETTERS[input[3]!];
    if (code) keys.push({ kind: "chord", codes: [code] });
    return 4;
  }
  const match = /^\x1b[[O]([0-9;?<>]*)([ -/]*[@-~])/.exec(input);
  if (!match) {
    if (/^\x1b[[O][0-9;?<> -/]*$/.test(input)) return 0;
    keys.push({ kind: "chord", codes: ["Escape"] });
    return 1;
  }
  const [whole, parameters, final] = match;
  const [number, modifier] = parameters!.split(";");
  const code = final === "~" ? NUMBERS[number ?? ""] : LETTERS[final!];
  if (code) {
    const modifiers = final === "Z" ? ["ShiftLeft"] : held(modifier);
    keys.push({ kind: "chord", codes: [...modifiers, code] });
  }
  return whole.length;
}

function plain(character: string, modifiers: readonly string[]): TerminalKey {
  const control = CONTROLS[character];
  if (control) return { kind: "chord", codes: [...modifiers, ...control] };
  const code = character.charCodeAt(0);
  if (code < 0x20) {
    const letter = String.fromCharCode(code + 0x40);
    return { kind: "chord", codes: [...modifiers, "ControlLeft", `Key${letter}`] };
  }
  return { kind: "text", text: character, held: modifiers };
}
