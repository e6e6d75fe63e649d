/**
 * Keyboard layouts: which keys type a character. One table for each layout, by the names that xl and QEMU use. The keys are
 * those of an ISO keyboard, and named by what stands on them in the US.
 */

/** A key, and the modifiers held with it. */
export interface Stroke {
  readonly code: string;
  readonly modifiers: readonly string[];
}

/** Keys in the order in which layouts are written down: four rows, from the left. */
const ROWS = [
  "Backquote Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal",
  "KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight",
  "KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backslash",
  "IntlBackslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash",
].map((row) => row.split(" "));

/** A layout as it is written down. */
interface Table {
  /** Characters of the rows without modifiers and with Shift; a blank is no character. */
  readonly plain: readonly [string, string, string, string];
  readonly shift: readonly [string, string, string, string];
  /** Characters with AltGr by key, and where there are two, with Shift and AltGr. */
  readonly altGr?: Readonly<Record<string, string>>;
  /** Characters that are dead, by key: they wait for a letter, or for a blank. */
  readonly dead?: Readonly<Record<string, string>>;
  /** Keys that only this keyboard has: plain, then with Shift, then with AltGr. */
  readonly extra?: Readonly<Record<string, string>>;
}

const US: Table = {
  plain: ["`1234567890-=", "qwertyuiop[]", "asdfghjkl;'\\", "\\zxcvbnm,./"],
  shift: ["~!@#$%^&*()_+", "QWERTYUIOP{}", 'ASDFGHJKL:"|', "|ZXCVBNM<>?"],
};

const EURO = { KeyE: "€" } as const;
/** AltGr of the Nordic keyboards' digits. */
const NORDIC = {
  Digit2: "@",
  Digit3: "£",
  Digit4: "$",
  Digit5: "€",
  Digit7: "{",
  Digit8: "[",
  Digit9: "]",
  Digit0: "}",
};

const SWEDISH: Table = {
  plain: ["§1234567890+´", "qwertyuiopå¨", "asdfghjklöä'", "<zxcvbnm,.-"],
  shift: ['½!"#¤%&/()=?`', "QWERTYUIOPÅ^", "ASDFGHJKLÖÄ*", ">ZXCVBNM;:_"],
  altGr: { ...NORDIC, ...EURO, Minus: "\\", BracketRight: "~", IntlBackslash: "|", KeyM: "µ" },
  dead: { Equal: "´`", BracketRight: "¨^~" },
};

/** AltGr and dead keys of both Swiss keyboards. */
const SWISS = {
  altGr: {
    ...EURO,
    ...{ Digit1: "¦", Digit2: "@", Digit3: "#", Digit6: "¬", Digit7: "|", Digit8: "¢", Minus: "´", Equal: "~" },
    ...{ BracketLeft: "[", BracketRight: "]", Quote: "{", Backslash: "}", IntlBackslash: "\\" },
  },
  dead: { Minus: "´", Equal: "^`~", BracketRight: "¨" },
};

/** Every layout by its name. */
const TABLES = {
  "en-us": US,
  "en-gb": {
    plain: ["`1234567890-=", "qwertyuiop[]", "asdfghjkl;'#", "\\zxcvbnm,./"],
    shift: ['¬!"£$%^&*()_+', "QWERTYUIOP{}", "ASDFGHJKL:@~", "|ZXCVBNM<>?"],
    altGr: { Backquote: "¦", Digit4: "€", KeyE: "éÉ", KeyU: "úÚ", KeyI: "íÍ", KeyO: "óÓ", KeyA: "áÁ" },
  },
  de: {
    plain: ["^1234567890ß´", "qwertzuiopü+", "asdfghjklöä#", "<yxcvbnm,.-"],
    shift: ['°!"§$%&/()=?`', "QWERTZUIOPÜ*", "ASDFGHJKLÖÄ'", ">YXCVBNM;:_"],
    altGr: {
      ...EURO,
      ...{ Digit2: "²", Digit3: "³", Digit7: "{", Digit8: "[", Digit9: "]", Digit0: "}", Minus: "\\", KeyQ: "@" },
      ...{ BracketRight: "~", IntlBackslash: "|", KeyM: "µ" },
    },
    dead: { Backquote: "^", Equal: "´`" },
  },
  "de-ch": {
    plain: ["§1234567890'^", "qwertzuiopü¨", "asdfghjklöä$", "<yxcvbnm,.-"],
    shift: ['°+"*ç%&/()=?`', "QWERTZUIOPè!", "ASDFGHJKLéà£", ">YXCVBNM;:_"],
    ...SWISS,
  },
  "fr-ch": {
    plain: ["§1234567890'^", "qwertzuiopè¨", "asdfghjkléà$", "<yxcvbnm,.-"],
    shift: ['°+"*ç%&/()=?`', "QWERTZUIOPü!", "ASDFGHJKLöä£", ">YXCVBNM;:_"],
    ...SWISS,
  },
  fr: {
    plain: ["²&é\"'(-è_çà)=", "azertyuiop^$", "qsdfghjklmù*", "<wxcvbn,;:!"],
    shift: [" 1234567890°+", "AZERTYUIOP¨£", "QSDFGHJKLM%µ", ">WXCVBN?./§"],
    altGr: {
      ...EURO,
      ...{ Digit2: "~", Digit3: "#", Digit4: "{", Digit5: "[", Digit6: "|", Digit7: "`", Digit8: "\\", Digit9: "^" },
      ...{ Digit0: "@", Minus: "]", Equal: "}", BracketRight: "¤" },
    },
    dead: { Digit2: "~", Digit7: "`", BracketLeft: "^¨" },
  },
  "fr-be": {
    plain: ["²&é\"'(§è!çà)-", "azertyuiop^$", "qsdfghjklmùµ", "<wxcvbn,;:="],
    shift: ["³1234567890°_", "AZERTYUIOP¨*", "QSDFGHJKLM%£", ">WXCVBN?./+"],
    altGr: {
      ...EURO,
      ...{ Digit1: "|", Digit2: "@", Digit3: "#", Digit6: "^", Digit9: "{", Digit0: "}" },
      ...{ BracketLeft: "[", BracketRight: "]", Quote: "´", Backslash: "`", IntlBackslash: "\\", Slash: "~" },
    },
    dead: { BracketLeft: "^¨", Quote: "´", Backslash: "`", Slash: "~" },
  },
  es: {
    plain: ["º1234567890'¡", "qwertyuiop`+", "asdfghjklñ´ç", "<zxcvbnm,.-"],
    shift: ['ª!"·$%&/()=?¿', "QWERTYUIOP^*", "ASDFGHJKLÑ¨Ç", ">ZXCVBNM;:_"],
    altGr: {
      ...EURO,
      ...{ Backquote: "\\", Digit1: "|", Digit2: "@", Digit3: "#", Digit4: "~", Digit6: "¬" },
      ...{ BracketLeft: "[", BracketRight: "]", Quote: "{", Backslash: "}" },
    },
    dead: { Digit4: "~", BracketLeft: "`^", Quote: "´¨" },
  },
  it: {
    plain: ["\\1234567890'ì", "qwertyuiopè+", "asdfghjklòàù", "<zxcvbnm,.-"],
    shift: ['|!"£$%&/()=?^', "QWERTYUIOPé*", "ASDFGHJKLç°§", ">ZXCVBNM;:_"],
    altGr: { ...EURO, Minus: "`", Equal: "~", BracketLeft: "[{", BracketRight: "]}", Semicolon: "@", Quote: "#" },
  },
  pt: {
    plain: ["\\1234567890'«", "qwertyuiop+´", "asdfghjklçº~", "<zxcvbnm,.-"],
    shift: ['|!"#$%&/()=?»', "QWERTYUIOP*`", "ASDFGHJKLÇª^", ">ZXCVBNM;:_"],
    altGr: {
      ...EURO,
      ...{
        Digit2: "@",
        Digit3: "£",
        Digit4: "§",
        Digit7: "{",
        Digit8: "[",
        Digit9: "]",
        Digit0: "}",
        BracketLeft: "¨",
      },
    },
    dead: { BracketLeft: "¨", BracketRight: "´`", Backslash: "~^" },
  },
  "pt-br": {
    plain: ["'1234567890-=", "qwertyuiop´[", "asdfghjklç~]", "\\zxcvbnm,.;"],
    shift: ['"!@#$%¨&*()_+', "QWERTYUIOP`{", "ASDFGHJKLÇ^}", "|ZXCVBNM<>:"],
    altGr: {
      Digit1: "¹",
      Digit2: "²",
      Digit3: "³",
      Digit4: "£",
      Digit5: "¢",
      Digit6: "¬",
      Equal: "§",
      BracketRight: "ª",
    },
    dead: { Digit6: "¨", BracketLeft: "´`", Quote: "~^" },
    extra: { IntlRo: "/?°" },
  },
  da: {
    plain: ["½1234567890+´", "qwertyuiopå¨", "asdfghjklæø'", "<zxcvbnm,.-"],
    shift: ['§!"#¤%&/()=?`', "QWERTYUIOPÅ^", "ASDFGHJKLÆØ*", ">ZXCVBNM;:_"],
    altGr: { ...NORDIC, ...EURO, Equal: "|", BracketRight: "~", IntlBackslash: "\\", KeyM: "µ" },
    dead: { Equal: "´`", BracketRight: "¨^~" },
  },
  no: {
    plain: ["|1234567890+\\", "qwertyuiopå¨", "asdfghjkløæ'", "<zxcvbnm,.-"],
    shift: ['§!"#¤%&/()=?`', "QWERTYUIOPÅ^", "ASDFGHJKLØÆ*", ">ZXCVBNM;:_"],
    altGr: { ...NORDIC, ...EURO, Equal: "´", BracketRight: "~", KeyM: "µ" },
    dead: { Equal: "´`", BracketRight: "¨^~" },
  },
  sv: SWEDISH,
  fi: SWEDISH,
  pl: {
    ...US,
    altGr: {
      ...{ KeyA: "ąĄ", KeyC: "ćĆ", KeyE: "ęĘ", KeyL: "łŁ", KeyN: "ńŃ", KeyO: "óÓ", KeyS: "śŚ" },
      ...{ KeyX: "źŹ", KeyZ: "żŻ", KeyU: "€" },
    },
  },
} as const satisfies Readonly<Record<string, Table>>;

export type KeymapName = keyof typeof TABLES;

/** The layouts that there are. */
export const KEYMAP_NAMES = Object.keys(TABLES) as readonly KeymapName[];
export const DEFAULT_KEYMAP: KeymapName = "en-us";

const SHIFT = "ShiftLeft";
const ALT_GR = "AltRight";
const CONTROL = "ControlLeft";
/** Characters typed by one key of their own, on every keyboard. */
const PLAIN_KEYS: readonly (readonly [string, string])[] = [
  [" ", "Space"],
  ["\n", "Enter"],
  ["\r", "Enter"],
  ["\t", "Tab"],
  ["\b", "Backspace"],
  ["\x1b", "Escape"],
  ["\x7f", "Delete"],
];
/** Control characters that are no letter's, by where the US keyboard has their keys. */
const CONTROL_KEYS: readonly (readonly [string, string])[] = [
  ["\x1c", "Backslash"],
  ["\x1d", "BracketRight"],
  ["\x1e", "Digit6"],
  ["\x1f", "Minus"],
];
/** What a dead key puts on a letter (Unicode's combining marks). */
const MARKS: Readonly<Record<string, string>> = {
  "`": "\u0300",
  "´": "\u0301",
  "^": "\u0302",
  "~": "\u0303",
  "¨": "\u0308",
};

/** A layout: how each character is typed, and which there are. */
export type Keymap = ReadonlyMap<string, readonly Stroke[]>;

function build(table: Table): Keymap {
  const keymap = new Map<string, readonly Stroke[]>();
  const dead = new Map<string, Stroke>();
  const add = (character: string, ...strokes: Stroke[]): void => {
    if (!keymap.has(character)) keymap.set(character, strokes);
  };
  const key = (character: string | undefined, code: string, ...modifiers: string[]): void => {
    if (character === undefined || character === " ") return;
    const stroke = { code, modifiers };
    if (table.dead?.[code]?.includes(character)) dead.set(character, dead.get(character) ?? stroke);
    else add(character, stroke);
  };
  for (const [character, code] of PLAIN_KEYS) add(character, { code, modifiers: [] });
  // The key that stands left of the lowest row in Europe is typed only for what no other key has.
  const rows = [0, 1, 2, 3].flatMap((row) => ROWS[row]!.map((code, at) => ({ code, row, at })));
  const last = rows.filter(({ code }) => code === "IntlBackslash");
  const keys = [...rows.filter((place) => !last.includes(place)), ...last];
  for (const { code, row, at } of keys) key(table.plain[row]![at], code);
  for (const { code, row, at } of keys) key(table.shift[row]![at], code, SHIFT);
  for (const [code, characters] of Object.entries(table.altGr ?? {})) {
    key(characters[0], code, ALT_GR);
    key(characters[1], code, SHIFT, ALT_GR);
  }
  for (const [code, [plain, shifted, altGr]] of Object.entries(table.extra ?? {})) {
    key(plain, code);
    key(shifted, code, SHIFT);
    key(altGr, code, ALT_GR);
  }
  compose(keymap, dead, add);
  for (let i = 0; i < 26; i++) {
    // Control characters that no key of their own types: ^A is Control and A.
    const [letter] = keymap.get(String.fromCharCode(0x61 + i)) ?? [];
    if (letter) add(String.fromCharCode(1 + i), { code: letter.code, modifiers: [CONTROL] });
  }
  for (const [character, code] of CONTROL_KEYS) add(character, { code, modifiers: [CONTROL] });
  return keymap;
}

/** What dead keys add: letters with marks, and the marks themselves, by a blank. */
function compose(
  keymap: ReadonlyMap<string, readonly Stroke[]>,
  dead: ReadonlyMap<string, Stroke>,
  add: (character: string, ...strokes: Stroke[]) => void,
): void {
  const letters = [...keymap].filter(([character]) => /^[A-Za-z]$/.test(character));
  for (const [mark, stroke] of dead) {
    add(mark, stroke, { code: "Space", modifiers: [] });
    for (const [letter, strokes] of letters) {
      const composed = (letter + MARKS[mark]!).normalize("NFC");
      if (composed.length === 1) add(composed, stroke, ...strokes);
    }
  }
}

const BUILT = new Map<KeymapName, Keymap>();

/** The layout of a name. */
export function keymapOf(name: KeymapName): Keymap {
  let keymap = BUILT.get(name);
  if (!keymap) {
    keymap = build(TABLES[name]);
    BUILT.set(name, keymap);
  }
  return keymap;
}
