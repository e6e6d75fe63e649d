/** Characters in text modes: cells in display memory. The graphics counterpart is glyph.ts. */
import type { GuestMemory } from "../../hypervisor/device.ts";
import type { ServiceContext } from "../service.ts";
import { BDA } from "./layout.ts";

const COLOR_BASE = 0xb8000;
const MONO_BASE = 0xb0000;
const MONO_MODE = 7;
const OFFSET_MASK = 0x7fff;
const BLANK = 0x20;

/** Part of the screen in character cells, both ends included. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Reused for moving rows: services run one at a time. */
let scratch = new Uint8Array(0);

/** Guest-physical address of a cell. Positions off the page stay inside the 32 KB of text memory. */
export function cellAddress(context: ServiceContext, page: number, column: number, row: number): number {
  const { memory } = context;
  const base = memory.read8(BDA.MODE) === MONO_MODE ? MONO_BASE : COLOR_BASE;
  const offset = page * memory.read16(BDA.PAGE_SIZE) + (row * memory.read16(BDA.COLUMNS) + column) * 2;
  return base + (offset & OFFSET_MASK);
}

/** Scroll a window of a page up (`lines` > 0) or down by rows; 0 blanks it. New rows have `attribute`. */
export function scrollText(
  context: ServiceContext,
  page: number,
  window: Window,
  lines: number,
  attribute: number,
): void {
  const { memory } = context;
  const height = window.bottom - window.top + 1;
  const width = window.right - window.left + 1;
  const columns = memory.read16(BDA.COLUMNS);
  const pitch = columns * 2;
  const step = lines === 0 || Math.abs(lines) >= height ? height : Math.abs(lines);
  const kept = height - step;
  const up = lines >= 0;
  const top = cellAddress(context, page, window.left, window.top);
  const from = top + (up ? step * pitch : 0);
  const to = top + (up ? 0 : step * pitch);
  if (width === columns) move(memory, from, to, kept * pitch);
  else if (up) for (let row = 0; row < kept; row++) move(memory, from + row * pitch, to + row * pitch, width * 2);
  else for (let row = kept - 1; row >= 0; row--) move(memory, from + row * pitch, to + row * pitch, width * 2);
  const blank = up ? top + kept * pitch : top;
  for (let row = 0; row < step; row++) fill(memory, blank + row * pitch, width, BLANK | (attribute << 8));
}

function move(memory: GuestMemory, from: number, to: number, bytes: number): void {
  if (bytes <= 0) return;
  if (scratch.length !== bytes) scratch = new Uint8Array(bytes);
  memory.read(from, scratch);
  memory.write(to, scratch);
}

function fill(memory: GuestMemory, address: number, cells: number, cell: number): void {
  for (let i = 0; i < cells; i++) memory.write16(address + i * 2, cell);
}

/** AH=08h: character in bits 7–0, attribute in bits 15–8. */
export function readCell(context: ServiceContext, page: number, column: number, row: number): number {
  return context.memory.read16(cellAddress(context, page, column, row));
}

/** AH=09h and 0Ah: `count` cells from a position on; the attributes stay when `attribute` is negative. */
export function writeCells(
  context: ServiceContext,
  page: number,
  column: number,
  row: number,
  character: number,
  attribute: number,
  count: number,
): void {
  const { memory } = context;
  const start = cellAddress(context, page, column, row);
  const base = start & ~OFFSET_MASK;
  const cells = Math.min(count, (OFFSET_MASK + 1) / 2);
  for (let i = 0; i < cells; i++) {
    const address = base + ((start + i * 2) & OFFSET_MASK);
    if (attribute < 0) memory.write8(address, character);
    else memory.write16(address, character | (attribute << 8));
  }
}
