/**
 * Key code table of INT 9 for the US keyboard: the words (scan code << 8 | character) that go into the keyboard buffer.
 * IBM PS/2 and PC BIOS Interface Technical Reference, "Keyboard: usage". Characters F0h and E0h mark codes that only
 * INT 16h AH=10h shows as they are.
 */

/** Buffer words of one key without and with modifiers; undefined where the combination types nothing. */
export interface KeyCodes {
  readonly normal: number | undefined;
  readonly shift: number | undefined;
  readonly control: number | undefined;
  readonly alt: number | undefined;
  /** Which lock key swaps `normal` and `shift`. */
  readonly lock?: "caps" | "num";
}

const NONE = "-";

/** Rows: scan code, normal, shift, control, alt, all hexadecimal; "-" types nothing. */
const ROWS = `
01 011B 011B 011B 01F0
02 0231 0221 - 7800
03 0332 0340 0300 7900
04 0433 0423 - 7A00
05 0534 0524 - 7B00
06 0635 0625 - 7C00
07 0736 075E 071E 7D00
08 0837 0826 - 7E00
09 0938 092A - 7F00
0A 0A39 0A28 - 8000
0B 0B30 0B29 - 8100
0C 0C2D 0C5F 0C1F 8200
0D 0D3D 0D2B - 8300
0E 0E08 0E08 0E7F 0EF0
0F 0F09 0F00 9400 A500
1A 1A5B 1A7B 1A1B 1AF0
1B 1B5D 1B7D 1B1D 1BF0
1C 1C0D 1C0D 1C0A 1CF0
27 273B 273A - 27F0
28 2827 2822 - 28F0
29 2960 297E - 29F0
2B 2B5C 2B7C 2B1C 2BF0
33 332C 333C - 33F0
34 342E 343E - 34F0
35 352F 353F - 35F0
37 372A 372A 9600 37F0
39 3920 3920 3920 3920
4A 4A2D 4A2D 8E00 4AF0
4E 4E2B 4E2B 9000 4EF0
56 565C 567C - -
57 8500 8700 8900 8B00
58 8600 8800 8A00 8C00
`;

/** Letters by the scan code of their row's first key. */
const LETTERS: readonly (readonly [number, string])[] = [
  [0x10, "qwertyuiop"],
  [0x1e, "asdfghjkl"],
  [0x2c, "zxcvbnm"],
];

/** The numeric keypad: normal, shift (the digit) and control; Alt types by number. */
const KEYPAD = `
47 4700 4737 7700
48 4800 4838 8D00
49 4900 4939 8400
4B 4B00 4B34 7300
4C 4CF0 4C35 8F00
4D 4D00 4D36 7400
4F 4F00 4F31 7500
50 5000 5032 9100
51 5100 5133 7600
52 5200 5230 9200
53 5300 532E 9300
`;

/** Keys with an E0h prefix. */
const EXTENDED = `
1C E00D E00D E00A A600
35 E02F E02F 9500 A400
47 47E0 47E0 77E0 9700
48 48E0 48E0 8DE0 9800
49 49E0 49E0 84E0 9900
4B 4BE0 4BE0 73E0 9B00
4D 4DE0 4DE0 74E0 9D00
4F 4FE0 4FE0 75E0 9F00
50 50E0 50E0 91E0 A000
51 51E0 51E0 76E0 A100
52 52E0 52E0 92E0 A200
53 53E0 53E0 93E0 A300
`;

const FIRST_FUNCTION_KEY = 0x3b;
const FUNCTION_KEYS = 10;
const FUNCTION_CODES = { shift: 0x54, control: 0x5e, alt: 0x68 } as const;

function parse(rows: string, lock?: "num"): [number, KeyCodes][] {
  return rows
    .trim()
    .split("\n")
    .map((row) => {
      const [scanCode, ...words] = row.split(" ");
      const word = (i: number): number | undefined => {
        const text = words[i];
        return text === undefined || text === NONE ? undefined : Number.parseInt(text, 16);
      };
      const codes = { normal: word(0), shift: word(1), control: word(2), alt: word(3) };
      return [Number.parseInt(scanCode!, 16), lock === undefined ? codes : { ...codes, lock }];
    });
}

function letters(): [number, KeyCodes][] {
  return LETTERS.flatMap(([first, row]) =>
    [...row].map((letter, i): [number, KeyCodes] => {
      const scan = (first + i) << 8;
      const code = letter.charCodeAt(0);
      const upper = letter.toUpperCase().charCodeAt(0);
      return [
        first + i,
        { normal: scan | code, shift: scan | upper, control: scan | (code & 0x1f), alt: scan, lock: "caps" },
      ];
    }),
  );
}

function functionKeys(): [number, KeyCodes][] {
  return Array.from({ length: FUNCTION_KEYS }, (_, i): [number, KeyCodes] => [
    FIRST_FUNCTION_KEY + i,
    {
      normal: (FIRST_FUNCTION_KEY + i) << 8,
      shift: (FUNCTION_CODES.shift + i) << 8,
      control: (FUNCTION_CODES.control + i) << 8,
      alt: (FUNCTION_CODES.alt + i) << 8,
    },
  ]);
}

/** Keys of the main block and the keypad, by scan code of set 1. */
export const KEYS: ReadonlyMap<number, KeyCodes> = new Map([
  ...parse(ROWS),
  ...letters(),
  ...functionKeys(),
  ...parse(KEYPAD, "num"),
]);

/** Keys whose scan code follows an E0h prefix. */
export const EXTENDED_KEYS: ReadonlyMap<number, KeyCodes> = new Map(parse(EXTENDED));

/** Digit that a keypad key adds to a number typed with Alt held, by scan code. */
export const KEYPAD_DIGITS: ReadonlyMap<number, number> = new Map([
  [0x47, 7],
  [0x48, 8],
  [0x49, 9],
  [0x4b, 4],
  [0x4c, 5],
  [0x4d, 6],
  [0x4f, 1],
  [0x50, 2],
  [0x51, 3],
  [0x52, 0],
]);
