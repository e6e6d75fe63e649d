/**
 * The standard video modes: what each is, and the 29 × 64 bytes of the video parameter table that programs them
 * (IBM PS/2 BIOS Technical Reference, "Video Parameter Table"). Data only.
 */

/** How a mode's memory is laid out. */
export type ModeKind = "text" | "cga" | "planar" | "linear";

/** What services need to know about a mode. */
export interface VideoMode {
  readonly kind: ModeKind;
  /** Entry of the parameter table; text modes choose among three by scan lines (see {@link textEntry}). */
  readonly entry: number;
  /** Guest-physical address of the display memory. */
  readonly base: number;
  readonly palette: "cga" | "ega" | "mono" | "vga";
  /** Colours, 0 for the monochrome modes, as INT 10h AH=1Bh reports them. */
  readonly colors: number;
  /** Scan lines of graphics modes. */
  readonly lines: number;
  /** Bits of a pixel, in CGA modes. */
  readonly bits: number;
  /** Value of the CGA mode select register, kept at 40:65h. */
  readonly modeSelect: number;
}

const A000 = 0xa0000;
const B000 = 0xb0000;
const B800 = 0xb8000;

/** The modes by number. */
export const MODES: ReadonlyMap<number, VideoMode> = new Map([
  [0x00, text(0x2c)],
  [0x01, text(0x28)],
  [0x02, text(0x2d)],
  [0x03, text(0x29)],
  [0x04, graphics("cga", 0x04, "cga", 4, 200, 2, 0x2a)],
  [0x05, graphics("cga", 0x05, "cga", 4, 200, 2, 0x2e)],
  [0x06, graphics("cga", 0x06, "cga", 2, 200, 1, 0x1e)],
  [0x07, { ...text(0x29), base: B000, palette: "mono", colors: 0 }],
  [0x0d, graphics("planar", 0x0d, "cga", 16, 200)],
  [0x0e, graphics("planar", 0x0e, "cga", 16, 200)],
  [0x0f, graphics("planar", 0x11, "mono", 0, 350)],
  [0x10, graphics("planar", 0x12, "ega", 16, 350)],
  [0x11, graphics("planar", 0x1a, "ega", 2, 480)],
  [0x12, graphics("planar", 0x1b, "ega", 16, 480)],
  [0x13, graphics("linear", 0x1c, "vga", 256, 200)],
]);

function text(modeSelect: number): VideoMode {
  return { kind: "text", entry: 0, base: B800, palette: "ega", colors: 16, lines: 0, bits: 4, modeSelect };
}

function graphics(
  kind: ModeKind,
  entry: number,
  palette: VideoMode["palette"],
  colors: number,
  lines: number,
  bits = 4,
  modeSelect = 0x29,
): VideoMode {
  return { kind, entry, base: kind === "cga" ? B800 : A000, palette, colors, lines, bits, modeSelect };
}

/** Parameter table entry of a text mode with 200, 350 or 400 scan lines. */
export function textEntry(mode: number, lines: number): number {
  if (mode === 7) return lines === 400 ? 0x19 : 0x07;
  if (lines === 200) return mode;
  if (lines === 350) return 0x13 + mode;
  return mode < 2 ? 0x17 : 0x18;
}

/** Bytes of an entry. */
export const PARAMETER_SIZE = 64;
/** Offsets in an entry. */
export const PARAMETER = {
  COLUMNS: 0,
  ROWS: 1,
  HEIGHT: 2,
  PAGE_SIZE: 3,
  SEQUENCER: 5,
  MISC: 9,
  CRTC: 10,
  ATTRIBUTE: 35,
  GRAPHICS: 55,
} as const;
/** Registers of each kind in an entry. */
export const COUNT = { SEQUENCER: 4, CRTC: 25, ATTRIBUTE: 20, GRAPHICS: 9 } as const;

const EGA_PALETTE = "00 01 02 03 04 05 14 07 38 39 3A 3B 3C 3D 3E 3F";
const CGA_PALETTE = "00 01 02 03 04 05 06 07 10 11 12 13 14 15 16 17";
const MONO_PALETTE = "00 08 08 08 08 08 08 08 10 18 18 18 18 18 18 18";
const LINE_200_PALETTE = `${CGA_PALETTE} 01 00 0F 00`;
const COLOR_TEXT = "00 00 00 00 00 10 0E 00 FF";
const MONO_TEXT = "00 00 00 00 00 10 0A 00 FF";
const PLANAR = "00 00 00 00 00 00 05 0F FF";

/** Columns, rows less one, character height, page size; then the registers. */
const RESERVED = "00 00 00 00 00".padEnd(PARAMETER_SIZE * 3 - 1, " 00");
const TEXT40_200 = `28 18 08 00 08  09 03 00 02  63
  2D 27 28 90 2B A0 BF 1F 00 C7 06 07 00 00 00 00 9C 8E 8F 14 1F 96 B9 A3 FF ${CGA_PALETTE} 08 00 0F 00 ${COLOR_TEXT}`;
const TEXT80_200 = `50 18 08 00 10  01 03 00 02  63
  5F 4F 50 82 55 81 BF 1F 00 C7 06 07 00 00 00 00 9C 8E 8F 28 1F 96 B9 A3 FF ${CGA_PALETTE} 08 00 0F 00 ${COLOR_TEXT}`;
const TEXT40_350 = `28 18 0E 00 08  09 03 00 02  A3
  2D 27 28 90 2B A0 BF 1F 00 4D 0B 0C 00 00 00 00 83 85 5D 14 1F 63 BA A3 FF ${EGA_PALETTE} 08 00 0F 00 ${COLOR_TEXT}`;
const TEXT80_350 = `50 18 0E 00 10  01 03 00 02  A3
  5F 4F 50 82 55 81 BF 1F 00 4D 0B 0C 00 00 00 00 83 85 5D 28 1F 63 BA A3 FF ${EGA_PALETTE} 08 00 0F 00 ${COLOR_TEXT}`;
const TEXT40_400 = `28 18 10 00 08  08 03 00 02  67
  2D 27 28 90 2B A0 BF 1F 00 4F 0D 0E 00 00 00 00 9C 8E 8F 14 1F 96 B9 A3 FF ${EGA_PALETTE} 0C 00 0F 08 ${COLOR_TEXT}`;
const TEXT80_400 = `50 18 10 00 10  00 03 00 02  67
  5F 4F 50 82 55 81 BF 1F 00 4F 0D 0E 00 00 00 00 9C 8E 8F 28 1F 96 B9 A3 FF ${EGA_PALETTE} 0C 00 0F 08 ${COLOR_TEXT}`;
const MONO_350 = `50 18 0E 00 10  00 03 00 02  A6
  5F 4F 50 82 55 81 BF 1F 00 4D 0B 0C 00 00 00 00 83 85 5D 28 0D 63 BA A3 FF ${MONO_PALETTE} 0E 00 0F 08 ${MONO_TEXT}`;
const MONO_400 = `50 18 10 00 10  00 03 00 02  66
  5F 4F 50 82 55 81 BF 1F 00 4F 0D 0E 00 00 00 00 9C 8E 8F 28 0F 96 B9 A3 FF ${MONO_PALETTE} 0E 00 0F 08 ${MONO_TEXT}`;
const CGA_4 = `28 18 08 00 40  09 03 00 02  63
  2D 27 28 90 2B 80 BF 1F 00 C1 00 00 00 00 00 00 9C 8E 8F 14 00 96 B9 A2 FF
  00 13 15 17 02 04 06 07 10 11 12 13 14 15 16 17 01 00 03 00 00 00 00 00 00 30 0F 00 FF`;
const CGA_2 = `50 18 08 00 40  01 01 00 06  63
  5F 4F 50 82 54 80 BF 1F 00 C1 00 00 00 00 00 00 9C 8E 8F 28 00 96 B9 C2 FF
  00 17 17 17 17 17 17 17 17 17 17 17 17 17 17 17 01 00 01 00 00 00 00 00 00 00 0D 00 FF`;
const MODE_0D = `28 18 08 00 20  09 0F 00 06  63
  2D 27 28 90 2B 80 BF 1F 00 C0 00 00 00 00 00 00 9C 8E 8F 14 00 96 B9 E3 FF ${LINE_200_PALETTE} ${PLANAR}`;
const MODE_0E = `50 18 08 00 40  01 0F 00 06  63
  5F 4F 50 82 54 80 BF 1F 00 C0 00 00 00 00 00 00 9C 8E 8F 28 00 96 B9 E3 FF ${LINE_200_PALETTE} ${PLANAR}`;
const MODE_0F = `50 18 0E 00 80  01 0F 00 06  A2
  5F 4F 50 82 54 80 BF 1F 00 40 00 00 00 00 00 00 83 85 5D 28 0F 63 BA E3 FF
  00 08 00 00 18 18 00 00 00 08 00 00 00 18 00 00 0B 00 05 00 00 00 00 00 00 00 05 05 FF`;
const MODE_10 = `50 18 0E 00 80  01 0F 00 06  A3
  5F 4F 50 82 54 80 BF 1F 00 40 00 00 00 00 00 00 83 85 5D 28 0F 63 BA E3 FF ${EGA_PALETTE} 01 00 0F 00 ${PLANAR}`;
const MODE_11 = `50 1D 10 00 A0  01 0F 00 06  E3
  5F 4F 50 82 54 80 0B 3E 00 40 00 00 00 00 00 00 EA 8C DF 28 00 E7 04 C3 FF
  00 3F 3F 3F 3F 3F 3F 3F 3F 3F 3F 3F 3F 3F 3F 3F 01 00 0F 00 00 00 00 00 00 00 05 01 FF`;
const MODE_12 = `50 1D 10 00 A0  01 0F 00 06  E3
  5F 4F 50 82 54 80 0B 3E 00 40 00 00 00 00 00 00 EA 8C DF 28 00 E7 04 E3 FF ${EGA_PALETTE} 01 00 0F 00 ${PLANAR}`;
const MODE_13 = `28 18 08 00 20  01 0F 00 0E  63
  5F 4F 50 82 54 80 BF 1F 00 41 00 00 00 00 00 00 9C 8E 8F 28 40 96 B9 A3 FF
  00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F 41 00 0F 00 00 00 00 00 00 40 05 0F FF`;

const ENTRIES = [
  ...[TEXT40_200, TEXT40_200, TEXT80_200, TEXT80_200, CGA_4, CGA_4, CGA_2, MONO_350],
  ...[RESERVED, RESERVED, RESERVED, RESERVED, RESERVED, MODE_0D, MODE_0E],
  // Entries 0Fh and 10h are for EGA boards with 64 KB; ours has 256 KB and uses the same values.
  ...[MODE_0F, MODE_10, MODE_0F, MODE_10],
  ...[TEXT40_350, TEXT40_350, TEXT80_350, TEXT80_350],
  ...[TEXT40_400, TEXT80_400, MONO_400, MODE_11, MODE_12, MODE_13],
];

/** The video parameter table as it stands in the image. */
export const PARAMETERS: Uint8Array = Uint8Array.from(
  ENTRIES.flatMap((entry) => entry.trim().split(/\s+/)),
  (byte) => Number.parseInt(byte, 16),
);
