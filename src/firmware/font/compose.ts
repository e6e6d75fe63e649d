/**
 * Turns drawings into fonts: reads the glyph tables, composes accented letters, generates box drawing and shades.
 */

/** A glyph: one byte for each row, bit 7 left. */
export type Glyph = readonly number[];

/** Read a table of drawings; a block is a line of hexadecimal codes and `height` rows of dots. */
export function parseGlyphs(table: string, height: number): Map<number, Glyph> {
  const glyphs = new Map<number, Glyph>();
  for (const block of table.trim().split("\n\n")) {
    const [head = "", ...rows] = block.split("\n");
    const codes = head.trim().split(/\s+/);
    const cells = rows.map((row) => row.split(" "));
    codes.forEach((code, column) => {
      const glyph = Array.from({ length: height }, (_, y) => dots(cells[y]?.[column] ?? ""));
      glyphs.set(Number.parseInt(code, 16), glyph);
    });
  }
  return glyphs;
}

/** "#" and "." to a byte, left-aligned. */
function dots(row: string): number {
  let value = 0;
  for (let x = 0; x < row.length; x++) if (row[x] === "#") value |= 0x80 >> x;
  return value;
}

/** Accents of the 8 × 16 font: the first row, and the rows. */
const ACCENTS = {
  diaeresis: { row: 2, rows: [".##.##", ".##.##"] },
  acute: { row: 1, rows: ["....##", "...##", "..##"] },
  grave: { row: 1, rows: ["..##", "...##", "....##"] },
  circumflex: { row: 1, rows: ["...#", "..###", ".##.##"] },
  tilde: { row: 2, rows: [".###.##", "##.###"] },
  ring: { row: 1, rows: ["..###", "..#.#", "..###"] },
  cedilla: { row: 12, rows: ["...##", "....##", "..###"] },
  capitalDiaeresis: { row: 1, rows: ["##...##", "##...##"] },
  capitalAcute: { row: 1, rows: ["....##", "...##"] },
  capitalTilde: { row: 1, rows: [".###.##", "##.###"] },
} as const;

/** Code, letter, accent. */
const COMPOSED: readonly (readonly [number, string, keyof typeof ACCENTS])[] = [
  [0x80, "C", "cedilla"],
  [0x81, "u", "diaeresis"],
  [0x82, "e", "acute"],
  [0x83, "a", "circumflex"],
  [0x84, "a", "diaeresis"],
  [0x85, "a", "grave"],
  [0x86, "a", "ring"],
  [0x87, "c", "cedilla"],
  [0x88, "e", "circumflex"],
  [0x89, "e", "diaeresis"],
  [0x8a, "e", "grave"],
  [0x8b, "i", "diaeresis"],
  [0x8c, "i", "circumflex"],
  [0x8d, "i", "grave"],
  [0x8e, "A", "capitalDiaeresis"],
  [0x90, "E", "capitalAcute"],
  [0x93, "o", "circumflex"],
  [0x94, "o", "diaeresis"],
  [0x95, "o", "grave"],
  [0x96, "u", "circumflex"],
  [0x97, "u", "grave"],
  [0x98, "y", "diaeresis"],
  [0x99, "O", "capitalDiaeresis"],
  [0x9a, "U", "capitalDiaeresis"],
  [0xa0, "a", "acute"],
  [0xa1, "i", "acute"],
  [0xa2, "o", "acute"],
  [0xa3, "u", "acute"],
  [0xa4, "n", "tilde"],
  [0xa5, "N", "capitalTilde"],
];

/** Rows of the 8 × 16 font between which capitals and small letters stand. */
const CAPITAL_TOP = 2;
const SMALL_TOP = 5;
const BASELINE = 12;
/** Rows of a capital that can go when an accent needs their place. */
const SPARE_ROWS = [3, 7] as const;

/** Add the accented letters of CP437 to an 8 × 16 table. */
export function composeAccents(glyphs: Map<number, Glyph>): void {
  for (const [code, letter, name] of COMPOSED) {
    const base = glyphs.get(letter.charCodeAt(0))!;
    const accent = ACCENTS[name];
    const glyph = name.startsWith("capital") ? lowered(base) : base.slice();
    // The dot of the i makes way for the accent.
    if (letter === "i") glyph.fill(0, 0, SMALL_TOP);
    accent.rows.forEach((row, i) => {
      glyph[accent.row + i]! |= dots(row);
    });
    glyphs.set(code, glyph);
  }
}

/** A capital two rows lower: the rows above the baseline, less the spare ones. */
function lowered(base: Glyph): number[] {
  const rows = base.slice(CAPITAL_TOP, BASELINE).filter((_, i) => !(SPARE_ROWS as readonly number[]).includes(i));
  return [...new Array<number>(BASELINE - rows.length).fill(0), ...rows, ...base.slice(BASELINE)];
}

/** B3h–DAh as arms up, down, left, right: 0 none, 1 single, 2 double. */
const BOX_FIRST = 0xb3;
const BOXES =
  "1100 1110 1120 2210 0210 0120 2220 2200 0220 2020 2010 1020 0110 1001 1011 0111 1101 0011 1111 1102 " +
  "2201 2002 0202 2022 0222 2202 0022 2222 1022 2011 0122 0211 2001 1002 0102 0201 2211 1122 1010 0101";

/** Add box drawing characters, shades and blocks for a font of `height` rows. */
export function drawBoxes(glyphs: Map<number, Glyph>, height: number): void {
  BOXES.split(" ").forEach((arms, i) => {
    glyphs.set(BOX_FIRST + i, box([...arms].map(Number), height));
  });
  const rows = (pattern: (y: number) => number): Glyph => Array.from({ length: height }, (_, y) => pattern(y));
  const half = height >> 1;
  glyphs.set(
    0xb0,
    rows((y) => (y & 1 ? 0x88 : 0x22)),
  );
  glyphs.set(
    0xb1,
    rows((y) => (y & 1 ? 0xaa : 0x55)),
  );
  glyphs.set(
    0xb2,
    rows((y) => (y & 1 ? 0x77 : 0xdd)),
  );
  glyphs.set(
    0xdb,
    rows(() => 0xff),
  );
  glyphs.set(
    0xdc,
    rows((y) => (y < half ? 0 : 0xff)),
  );
  glyphs.set(
    0xdd,
    rows(() => 0xf0),
  );
  glyphs.set(
    0xde,
    rows(() => 0x0f),
  );
  glyphs.set(
    0xdf,
    rows((y) => (y < half ? 0xff : 0)),
  );
}

/** Beyond the far edge of any glyph. */
const EDGE = 31;

/** One line of a single or double stroke: first and last dot across it, and on which side of the middle it lies. */
interface Stroke {
  readonly from: number;
  readonly to: number;
  readonly side: -1 | 0 | 1;
}

function strokes(style: number, single: readonly [number, number], double: readonly [number, number, number, number]) {
  if (style === 0) return [];
  if (style === 1) return [{ from: single[0], to: single[1], side: 0 }] satisfies Stroke[];
  return [
    { from: double[0], to: double[1], side: -1 },
    { from: double[2], to: double[3], side: 1 },
  ] satisfies Stroke[];
}

function box(arms: readonly number[], height: number): Glyph {
  const [up = 0, down = 0, left = 0, right = 0] = arms;
  const middle = (height >> 1) - 1;
  const columns = strokes(Math.max(up, down), [3, 4], [2, 3, 5, 6]);
  const lines = strokes(Math.max(left, right), [middle, middle], [middle - 1, middle - 1, middle + 1, middle + 1]);
  const glyph = new Array<number>(height).fill(0);
  const fill = (x0: number, x1: number, y0: number, y1: number) => {
    for (let y = y0; y <= Math.min(y1, height - 1); y++) for (let x = x0; x <= x1; x++) glyph[y]! |= 0x80 >> x;
  };
  for (const stroke of columns) {
    const { before, after } = reach(stroke, up, down, left, right, lines);
    if (up) fill(stroke.from, stroke.to, 0, before);
    if (down) fill(stroke.from, stroke.to, after, height - 1);
  }
  for (const stroke of lines) {
    const { before, after } = reach(stroke, left, right, up, down, columns);
    if (left) fill(0, before, stroke.from, stroke.to);
    if (right) fill(after, 7, stroke.from, stroke.to);
  }
  return glyph;
}

/**
 * How far a stroke's two arms run towards the middle. `first`/`second` are the styles of its own arms, `low`/`high`
 * those of the arms across it, whose strokes are `across`. A double stroke opens where a double arm leaves on its side;
 * otherwise a stroke that goes on is not interrupted, and one that ends does so at the last stroke it has to meet.
 */
function reach(stroke: Stroke, first: number, second: number, low: number, high: number, across: readonly Stroke[]) {
  const near = across[0];
  const far = across.at(-1);
  if (!near || !far) return { before: EDGE, after: 0 };
  const beside = stroke.side < 0 ? low : stroke.side > 0 ? high : 0;
  if (beside === 2) return { before: near.to, after: far.from };
  const through = first !== 0 && second !== 0;
  const crossed = low !== 0 && high !== 0;
  if (through || !crossed) return { before: far.to, after: near.from };
  return { before: near.to, after: far.from };
}
