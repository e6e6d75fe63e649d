/** Characters in graphics modes: drawn from the fonts behind INT 43h and INT 1Fh, read back by comparison. */
import type { GuestMemory } from "../../hypervisor/device.ts";
import type { ServiceContext } from "../service.ts";
import { BDA, farPointer, VECTOR } from "./layout.ts";
import type { VideoMode } from "./modes.ts";
import { rasterOf } from "./raster.ts";
import type { Window } from "./text.ts";

const CHARACTERS = 256;
/** CGA modes take these from the font behind INT 1Fh. */
const UPPER_HALF = 128;
const HIGHEST = 32;

/** Rows of a character cell in the current mode. */
export function cellHeight(memory: GuestMemory): number {
  return Math.min(memory.read8(BDA.CHARACTER_HEIGHT) || 8, HIGHEST);
}

/** Guest-physical address of a character's rows. */
function glyphAddress(memory: GuestMemory, mode: VideoMode, character: number, height: number): number {
  if (mode.kind === "cga" && character >= UPPER_HALF)
    return farPointer(memory, VECTOR.UPPER_FONT * 4) + (character - UPPER_HALF) * 8;
  return farPointer(memory, VECTOR.FONT * 4) + character * height;
}

/** Draw a character. `background` counts in the 256-colour mode only; elsewhere it is 0. */
export function drawCharacter(
  context: ServiceContext,
  mode: VideoMode,
  page: number,
  column: number,
  row: number,
  character: number,
  color: number,
  background: number,
): void {
  const { memory } = context;
  const raster = rasterOf(mode);
  const height = cellHeight(memory);
  if ((row + 1) * height > mode.lines || column >= memory.read16(BDA.COLUMNS)) return;
  const glyph = glyphAddress(memory, mode, character, height);
  const behind = mode.kind === "linear" ? background : 0;
  for (let y = 0; y < height; y++)
    raster.writeDots(context, page, column, row * height + y, memory.read8(glyph + y), color, behind);
}

/** AH=08h in graphics modes: the character whose dots stand in a cell, 0 when none fits. */
export function readCharacter(
  context: ServiceContext,
  mode: VideoMode,
  page: number,
  column: number,
  row: number,
): number {
  const { memory } = context;
  const raster = rasterOf(mode);
  const height = cellHeight(memory);
  if ((row + 1) * height > mode.lines || column >= memory.read16(BDA.COLUMNS)) return 0;
  const dots = Array.from({ length: height }, (_, y) => raster.readDots(context, page, column, row * height + y, 0));
  for (let character = 0; character < CHARACTERS; character++) {
    const glyph = glyphAddress(memory, mode, character, height);
    if (dots.every((line, y) => line === memory.read8(glyph + y))) return character;
  }
  return 0;
}

/** Scroll a window up (`lines` > 0) or down by character rows; 0 clears it. New rows have colour `color`. */
export function scrollGraphics(
  context: ServiceContext,
  mode: VideoMode,
  page: number,
  window: Window,
  lines: number,
  color: number,
): void {
  const raster = rasterOf(mode);
  const height = cellHeight(context.memory);
  const rows = window.bottom - window.top + 1;
  const width = window.right - window.left + 1;
  const distance = (lines === 0 || Math.abs(lines) >= rows ? rows : Math.abs(lines)) * height;
  const top = window.top * height;
  const total = Math.min(rows * height, mode.lines - top);
  const up = lines >= 0;
  const kept = Math.max(total - distance, 0);
  for (let i = 0; i < kept; i++) {
    const y = up ? top + i : top + total - 1 - i;
    raster.copyLine(context, page, window.left, width, up ? y + distance : y - distance, y);
  }
  const blank = up ? top + kept : top;
  for (let y = blank; y < blank + total - kept; y++)
    for (let column = 0; column < width; column++)
      raster.writeDots(context, page, window.left + column, y, 0, 0, color);
}
