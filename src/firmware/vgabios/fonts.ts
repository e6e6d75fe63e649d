/** Character generator: INT 10h AH=11h, and the fonts in the image. */
import type { ServiceContext } from "../service.ts";
import { CRTC, crtcPort, GC, PORT, readIndexed, SEQ, writeIndexed } from "./adapter.ts";
import { emulatedShape, setCursorShape } from "./cursor.ts";
import { BDA, CONTROL, ROM, ROM_BASE, ROM_SEGMENT, setVector, VECTOR } from "./layout.ts";
import { MODES } from "./modes.ts";
import { al, bh, bl, cx, dl, dx, esAddress, setLow, setWord } from "./registers.ts";

/** A font in the image: rows of a character and offset. */
interface RomFont {
  readonly height: 8 | 14 | 16;
  readonly offset: number;
}

const FONT_8: RomFont = { height: 8, offset: ROM.FONT_8X8 };
const FONT_14: RomFont = { height: 14, offset: ROM.FONT_8X14 };
const FONT_16: RomFont = { height: 16, offset: ROM.FONT_8X16 };

const CHARACTERS = 256;
/** Bytes that a character has in plane 2, and the plane 2 offset of each font block. */
const CELL = 32;
const BLOCKS = [0x0000, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000] as const;
const FONT_WINDOW = 0xa0000;
/** Register values under which the A0000h window shows plane 2 alone. */
const PLANE_2 = { MAP_MASK: 0x04, SEQUENTIAL: 0x07, READ_MAP: 2, WRITE_MODE_0: 0, A0000_64K: 0x04 } as const;
const SCAN_MASK = 0x1f;
const DOUBLE_SCAN = 0x80;
/** Rows on the screen by the row specifier of AX=1121h–1124h, BL. */
const ROWS_BY_SPECIFIER = [0, 14, 25, 43] as const;

/** The ROM font of a character height. */
export function romFont(height: number): RomFont {
  return height === 8 ? FONT_8 : height === 14 ? FONT_14 : FONT_16;
}

/** Load a whole ROM font into a block of plane 2. */
export function loadRomFont(context: ServiceContext, height: number, block: number): void {
  const font = romFont(height);
  loadGlyphs(context, ROM_BASE + font.offset, 0, CHARACTERS, font.height, block);
}

function loadGlyphs(
  context: ServiceContext,
  source: number,
  first: number,
  count: number,
  height: number,
  block: number,
): void {
  const { io, memory } = context;
  const rows = Math.min(height, CELL);
  const glyph = new Uint8Array(rows);
  const saved = [
    [PORT.SEQUENCER, SEQ.MAP_MASK, PLANE_2.MAP_MASK],
    [PORT.SEQUENCER, SEQ.MEMORY_MODE, PLANE_2.SEQUENTIAL],
    [PORT.GRAPHICS, GC.READ_MAP, PLANE_2.READ_MAP],
    [PORT.GRAPHICS, GC.MODE, PLANE_2.WRITE_MODE_0],
    [PORT.GRAPHICS, GC.MISCELLANEOUS, PLANE_2.A0000_64K],
  ].map(([port = 0, index = 0, value = 0]) => {
    const before = readIndexed(io, port, index);
    writeIndexed(io, port, index, value);
    return { port, index, before };
  });
  const base = FONT_WINDOW + BLOCKS[block & 7]!;
  for (let i = 0; i < count && first + i < CHARACTERS; i++) {
    memory.read(source + i * height, glyph);
    memory.write(base + (first + i) * CELL, glyph);
  }
  for (const { port, index, before } of saved) writeIndexed(io, port, index, before);
}

/** Fit rows, cursor and display end to a new character height in a text mode (AL=10h–14h). */
function fitScreen(context: ServiceContext, height: number): void {
  const { io, memory } = context;
  const mode = MODES.get(memory.read8(BDA.MODE));
  if (mode?.kind !== "text" || height === 0 || height > CELL) return;
  const crtc = crtcPort(context);
  const maximum = readIndexed(io, crtc, CRTC.MAXIMUM_SCAN_LINE);
  const repeat = maximum & DOUBLE_SCAN ? 2 : 1;
  const overflow = readIndexed(io, crtc, CRTC.OVERFLOW);
  const shown = 1 + readIndexed(io, crtc, CRTC.VERTICAL_DISPLAY_END) + ((overflow & 2) << 7) + ((overflow & 0x40) << 3);
  // Lines left over by an earlier font belong to the screen: modes have 200, 350 or 400.
  const lines = (shown > 350 ? 400 : shown > 200 ? 350 : 200) / repeat;
  const rows = Math.floor(lines / height);
  const end = rows * height * repeat - 1;
  writeIndexed(io, crtc, CRTC.MAXIMUM_SCAN_LINE, (maximum & ~SCAN_MASK) | (height - 1));
  writeIndexed(io, crtc, CRTC.VERTICAL_DISPLAY_END, end & 0xff);
  writeIndexed(io, crtc, CRTC.OVERFLOW, (overflow & ~0x42) | ((end >> 7) & 2) | ((end >> 3) & 0x40));
  if (mode.palette === "mono") writeIndexed(io, crtc, CRTC.UNDERLINE, height - 1);
  memory.write8(BDA.ROWS, rows - 1);
  memory.write16(BDA.CHARACTER_HEIGHT, height);
  memory.write16(BDA.PAGE_SIZE, rows * memory.read16(BDA.COLUMNS) * 2);
  const emulated = (memory.read8(BDA.CONTROL) & CONTROL.NO_CURSOR_EMULATION) === 0;
  const shape = emulated ? { start: 6, end: 7 } : emulatedShape(6, 7, height);
  setCursorShape(context, shape.start, shape.end);
}

/** AX=1120h–1124h: choose what graphics modes draw characters with. */
function setGraphicsFont(context: ServiceContext, segment: number, offset: number, height: number): void {
  const { cpu, memory } = context;
  const specifier = bl(cpu);
  const rows = specifier === 0 ? dl(cpu) : (ROWS_BY_SPECIFIER[specifier] ?? 25);
  setVector(memory, VECTOR.FONT, segment, offset);
  memory.write16(BDA.CHARACTER_HEIGHT, height);
  memory.write8(BDA.ROWS, Math.max(rows - 1, 0));
}

/** AX=1130h: height and rows in use; pointer to the font that BH names. */
function fontInformation(context: ServiceContext): void {
  const { cpu, memory } = context;
  const inRom: readonly (number | undefined)[] = [
    undefined,
    undefined,
    ROM.FONT_8X14,
    ROM.FONT_8X8,
    ROM.FONT_8X8 + (CHARACTERS / 2) * 8,
    ROM.ALTERNATE_FONT,
    ROM.FONT_8X16,
    ROM.ALTERNATE_FONT,
  ];
  const which = bh(cpu);
  if (which >= inRom.length) return;
  const offset = inRom[which];
  if (offset === undefined) {
    const vector = (which === 0 ? VECTOR.UPPER_FONT : VECTOR.FONT) * 4;
    setWord(cpu, "ebp", memory.read16(vector));
    cpu.loadSelector("es", memory.read16(vector + 2));
  } else {
    setWord(cpu, "ebp", offset);
    cpu.loadSelector("es", ROM_SEGMENT);
  }
  setWord(cpu, "ecx", memory.read16(BDA.CHARACTER_HEIGHT));
  setLow(cpu, "edx", memory.read8(BDA.ROWS));
}

/** INT 10h AH=11h. */
export function characterGenerator(context: ServiceContext): void {
  const { cpu, memory, io } = context;
  const block = bl(cpu);
  switch (al(cpu)) {
    case 0x00:
    case 0x10:
      loadGlyphs(context, esAddress(cpu, cpu.ebp), dx(cpu), cx(cpu), bh(cpu), block);
      if (al(cpu) === 0x10) fitScreen(context, bh(cpu));
      break;
    case 0x01:
    case 0x11:
      loadRomFont(context, 14, block);
      if (al(cpu) === 0x11) fitScreen(context, 14);
      break;
    case 0x02:
    case 0x12:
      loadRomFont(context, 8, block);
      if (al(cpu) === 0x12) fitScreen(context, 8);
      break;
    case 0x04:
    case 0x14:
      loadRomFont(context, 16, block);
      if (al(cpu) === 0x14) fitScreen(context, 16);
      break;
    case 0x03:
      writeIndexed(io, PORT.SEQUENCER, SEQ.CHARACTER_MAP, block);
      break;
    case 0x20:
      setVector(memory, VECTOR.UPPER_FONT, cpu.selector("es"), cpu.ebp & 0xffff);
      break;
    case 0x21:
      setGraphicsFont(context, cpu.selector("es"), cpu.ebp & 0xffff, cx(cpu));
      break;
    case 0x22:
      setGraphicsFont(context, ROM_SEGMENT, FONT_14.offset, FONT_14.height);
      break;
    case 0x23:
      setGraphicsFont(context, ROM_SEGMENT, FONT_8.offset, FONT_8.height);
      break;
    case 0x24:
      setGraphicsFont(context, ROM_SEGMENT, FONT_16.offset, FONT_16.height);
      break;
    case 0x30:
      fontInformation(context);
      break;
  }
}
