/** INT 10h AH=00h: programs a mode from the parameter table, clears the screen, loads font and palette, sets the data area. */
import { FONT_8X8 } from "../font/font.ts";
import type { ServiceContext } from "../service.ts";
import { ATC, CRTC, GC, PALETTE_ON, PORT, resetFlipFlop, SEQ, writeColor, writeIndexed } from "./adapter.ts";
import { moveCursor, setCursorShape } from "./cursor.ts";
import { loadRomFont, romFont } from "./fonts.ts";
import { BDA, CONTROL, farPointer, ROM, ROM_BASE, ROM_SEGMENT, setVector, VECTOR, VGA_FLAGS } from "./layout.ts";
import { COUNT, MODES, PARAMETER, PARAMETER_SIZE, textEntry, type VideoMode } from "./modes.ts";
import { gray, PALETTES } from "./palettes.ts";
import { disableDispi } from "./vbe-modes.ts";

/** Bit 7 of the mode number: leave display memory alone. */
const NO_CLEAR = 0x80;
const MODE_NUMBER = 0x7f;

/** Cursor shape of a new mode, as the CGA and the MDA had it; emulation fits it to the character height. */
const COLOR_CURSOR = { start: 0x06, end: 0x07 } as const;
const MONO_CURSOR = { start: 0x0b, end: 0x0c } as const;

const PALETTE_DEFAULT = 0x30;
const PALETTE_MODE_6 = 0x3f;
const BLANK_CELL = 0x0720;
const TEXT_BYTES = 0x8000;
const CGA_BYTES = 0x4000;
const GRAPHICS_BYTES = 0x10000;
/** Mode control of the sequencer's reset register. */
const SYNCHRONOUS_RESET = 0x01;
const RUN = 0x03;
const SCREEN_OFF = 0x20;
const DAC_COLORS = 256;

/** Set mode `request` (bit 7: keep the memory). An unknown mode changes nothing; true when the mode was set. */
export function setMode(context: ServiceContext, request: number): boolean {
  const { memory } = context;
  const number = request & MODE_NUMBER;
  const mode = MODES.get(number);
  if (!mode) return false;
  const entry = mode.kind === "text" ? textEntry(number, scanLines(memory.read8(BDA.VGA_FLAGS))) : mode.entry;
  const parameters = parametersOf(context, entry);

  disableDispi(context.io);
  setDataArea(context, number, request, mode, parameters);
  programRegisters(context, parameters);
  loadPalette(context, mode, parameters);
  if ((request & NO_CLEAR) === 0) clear(context, mode);
  const height = parameters[PARAMETER.HEIGHT]!;
  if (mode.kind === "text") {
    loadRomFont(context, height, 0);
    const shape = mode.palette === "mono" ? MONO_CURSOR : COLOR_CURSOR;
    setCursorShape(context, shape.start, shape.end);
  } else memory.write16(BDA.CURSOR_END, 0);
  setFontVectors(context, height);
  moveCursor(context, 0, 0, 0);
  showPicture(context, parameters);
  return true;
}

/** Scan lines of text modes that the flags at 40:89h ask for. */
export function scanLines(flags: number): 200 | 350 | 400 {
  if (flags & VGA_FLAGS.LINES_200) return 200;
  return flags & VGA_FLAGS.LINES_400 ? 400 : 350;
}

/** Sum the first `count` DAC colours from `first` to greys. */
export function sumToGray(context: ServiceContext, first: number, count: number): void {
  const { io } = context;
  for (let i = 0; i < count; i++) {
    const index = (first + i) & 0xff;
    io.out(PORT.DAC_READ_INDEX, 1, index);
    const level = gray(io.in(PORT.DAC_DATA, 1), io.in(PORT.DAC_DATA, 1), io.in(PORT.DAC_DATA, 1));
    writeColor(io, index, level, level, level);
  }
}

/** An entry of the parameter table: the guest may have put another one behind the save pointer. */
export function parametersOf(context: ServiceContext, entry: number): Uint8Array {
  const { memory } = context;
  const pointers = farPointer(memory, BDA.SAVE_POINTER);
  const table = pointers === 0 ? 0 : farPointer(memory, pointers);
  const parameters = new Uint8Array(PARAMETER_SIZE);
  memory.read((table === 0 ? ROM_BASE + ROM.PARAMETERS : table) + entry * PARAMETER_SIZE, parameters);
  return parameters;
}

/** Let the picture show: the palette's connection to the screen, and the sequencer's. */
export function showPicture(context: ServiceContext, parameters: Uint8Array): void {
  resetFlipFlop(context);
  context.io.out(PORT.ATTRIBUTE, 1, PALETTE_ON);
  writeIndexed(context.io, PORT.SEQUENCER, SEQ.CLOCKING_MODE, parameters[PARAMETER.SEQUENCER]!);
}

/** Characters of graphics modes come from the ROM font of this height. */
export function setFontVectors(context: ServiceContext, height: number): void {
  const { memory } = context;
  setVector(memory, VECTOR.FONT, ROM_SEGMENT, romFont(height).offset);
  setVector(memory, VECTOR.UPPER_FONT, ROM_SEGMENT, ROM.FONT_8X8 + FONT_8X8.length / 2);
}

function setDataArea(
  context: ServiceContext,
  number: number,
  request: number,
  mode: VideoMode,
  parameters: Uint8Array,
): void {
  const { memory } = context;
  memory.write8(BDA.MODE, number);
  memory.write16(BDA.COLUMNS, parameters[PARAMETER.COLUMNS]!);
  memory.write16(BDA.PAGE_SIZE, parameters[PARAMETER.PAGE_SIZE]! | (parameters[PARAMETER.PAGE_SIZE + 1]! << 8));
  memory.write16(BDA.PAGE_START, 0);
  for (let page = 0; page < 8; page++) memory.write16(BDA.CURSOR_POSITIONS + page * 2, 0);
  memory.write8(BDA.ACTIVE_PAGE, 0);
  memory.write16(BDA.CRTC_PORT, parameters[PARAMETER.MISC]! & 1 ? PORT.CRTC_COLOR : PORT.CRTC_MONO);
  memory.write8(BDA.MODE_SELECT, mode.modeSelect);
  memory.write8(BDA.PALETTE, number === 6 ? PALETTE_MODE_6 : PALETTE_DEFAULT);
  memory.write8(BDA.ROWS, parameters[PARAMETER.ROWS]!);
  memory.write16(BDA.CHARACTER_HEIGHT, parameters[PARAMETER.HEIGHT]!);
  const control = memory.read8(BDA.CONTROL) & ~CONTROL.NO_CLEAR;
  memory.write8(BDA.CONTROL, control | (request & NO_CLEAR));
  memory.write8(BDA.VGA_FLAGS, memory.read8(BDA.VGA_FLAGS) | VGA_FLAGS.ACTIVE);
}

/** Program the VGA's registers from an entry of the parameter table; the screen stays dark. */
export function programRegisters(context: ServiceContext, parameters: Uint8Array): void {
  const { io } = context;
  resetFlipFlop(context);
  io.out(PORT.ATTRIBUTE, 1, 0);
  writeIndexed(io, PORT.SEQUENCER, SEQ.RESET, SYNCHRONOUS_RESET);
  for (let i = 0; i < COUNT.SEQUENCER; i++) {
    const off = i + 1 === SEQ.CLOCKING_MODE ? SCREEN_OFF : 0;
    writeIndexed(io, PORT.SEQUENCER, i + 1, parameters[PARAMETER.SEQUENCER + i]! | off);
  }
  io.out(PORT.MISC_WRITE, 1, parameters[PARAMETER.MISC]!);
  writeIndexed(io, PORT.SEQUENCER, SEQ.RESET, RUN);
  const crtc = parameters[PARAMETER.MISC]! & 1 ? PORT.CRTC_COLOR : PORT.CRTC_MONO;
  // Registers 0–7 are write-protected by bit 7 of register 11h.
  writeIndexed(io, crtc, CRTC.RETRACE_END, 0);
  for (let i = 0; i < COUNT.CRTC; i++) writeIndexed(io, crtc, i, parameters[PARAMETER.CRTC + i]!);
  for (let i = 0; i < COUNT.GRAPHICS; i++) writeIndexed(io, PORT.GRAPHICS, i, parameters[PARAMETER.GRAPHICS + i]!);
  resetFlipFlop(context);
  for (let i = 0; i < COUNT.ATTRIBUTE; i++) {
    io.out(PORT.ATTRIBUTE, 1, i);
    io.out(PORT.ATTRIBUTE, 1, parameters[PARAMETER.ATTRIBUTE + i]!);
  }
  io.out(PORT.ATTRIBUTE, 1, ATC.COLOR_SELECT);
  io.out(PORT.ATTRIBUTE, 1, 0);
  writeIndexed(io, PORT.GRAPHICS, GC.BIT_MASK, 0xff);
}

/** Load the DAC with a mode's colours, unless the program keeps its own. */
export function loadPalette(context: ServiceContext, mode: VideoMode, parameters: Uint8Array): void {
  const { io, memory } = context;
  const flags = memory.read8(BDA.VGA_FLAGS);
  io.out(PORT.DAC_MASK, 1, 0xff);
  if (flags & VGA_FLAGS.NO_PALETTE_LOADING) return;
  // Text modes of 200 lines have the colours of the CGA.
  const cga = mode.kind === "text" && mode.palette === "ega" && parameters[PARAMETER.HEIGHT] === 8;
  const colors = PALETTES[cga ? "cga" : mode.palette];
  io.out(PORT.DAC_WRITE_INDEX, 1, 0);
  for (let i = 0; i < DAC_COLORS * 3; i++) io.out(PORT.DAC_DATA, 1, colors[i] ?? 0);
  if (flags & VGA_FLAGS.GRAY_SUMMING) sumToGray(context, 0, DAC_COLORS);
}

function clear(context: ServiceContext, mode: VideoMode): void {
  const bytes = mode.kind === "text" ? TEXT_BYTES : mode.kind === "cga" ? CGA_BYTES : GRAPHICS_BYTES;
  const cell = mode.kind === "text" ? BLANK_CELL : 0;
  for (let offset = 0; offset < bytes; offset += 4)
    context.memory.write32(mode.base + offset, (cell | (cell << 16)) >>> 0);
}
