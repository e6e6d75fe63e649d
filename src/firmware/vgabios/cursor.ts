/** Cursor and display pages: INT 10h AH=01h, 02h, 03h and 05h. */
import type { ServiceContext } from "../service.ts";
import { CRTC, crtcPort, writeIndexed } from "./adapter.ts";
import { BDA, CONTROL } from "./layout.ts";
import { MODES } from "./modes.ts";

/** Pages whose cursor the data area keeps. */
export const PAGES = 8;

const CURSOR_OFF = 0x20;
const CURSOR_BITS = 0x60;
const TEXT_WINDOW = 0x8000;
const PLANAR_WINDOW = 0x10000;

/** Columns of the screen. */
export const columnsOf = (context: ServiceContext): number => context.memory.read16(BDA.COLUMNS);
/** Number of the last row. */
export const lastRowOf = (context: ServiceContext): number => context.memory.read8(BDA.ROWS) || 24;

/** Cursor of a page: column in bits 7–0, row in bits 15–8. */
export function cursorOf(context: ServiceContext, page: number): number {
  return context.memory.read16(BDA.CURSOR_POSITIONS + (page & 7) * 2);
}

/** AH=02h: put a page's cursor somewhere; the hardware cursor follows if the page is displayed. */
export function moveCursor(context: ServiceContext, page: number, column: number, row: number): void {
  const { memory, io } = context;
  memory.write16(BDA.CURSOR_POSITIONS + (page & 7) * 2, column | (row << 8));
  if (memory.read8(BDA.ACTIVE_PAGE) !== page) return;
  const cell = (memory.read16(BDA.PAGE_START) >> 1) + row * memory.read16(BDA.COLUMNS) + column;
  const crtc = crtcPort(context);
  writeIndexed(io, crtc, CRTC.CURSOR_HIGH, (cell >> 8) & 0xff);
  writeIndexed(io, crtc, CRTC.CURSOR_LOW, cell & 0xff);
}

/** AH=01h: scan lines `start` to `end`; bits 6–5 of `start` other than zero hide the cursor. */
export function setCursorShape(context: ServiceContext, start: number, end: number): void {
  const { memory, io } = context;
  memory.write8(BDA.CURSOR_START, start);
  memory.write8(BDA.CURSOR_END, end);
  const height = memory.read8(BDA.CHARACTER_HEIGHT);
  const emulate = (memory.read8(BDA.CONTROL) & CONTROL.NO_CURSOR_EMULATION) === 0;
  const shape = emulate ? emulatedShape(start, end, height) : { start, end };
  const crtc = crtcPort(context);
  writeIndexed(io, crtc, CRTC.CURSOR_START, shape.start);
  writeIndexed(io, crtc, CRTC.CURSOR_END, shape.end);
}

/**
 * Fit a shape meant for the CGA's eight lines to a higher character: thin cursors stay at the foot, a full block stays
 * full, everything else becomes the lower half (IBM EGA BIOS, cursor emulation).
 */
export function emulatedShape(start: number, end: number, height: number): { start: number; end: number } {
  const last = height - 1;
  if (start & CURSOR_BITS) return { start: CURSOR_OFF, end };
  if (end < start) return end === 0 ? { start, end } : { start: end, end: last };
  if ((start | end) >= height || (end === last && start === last - 1)) return { start, end };
  if (end <= 3) return { start, end };
  if (start + 2 >= end) {
    // In high characters the foot is one line above the last, where descenders end.
    const foot = height >= 14 ? last - 1 : last;
    return { start: foot - (end - start), end: foot };
  }
  return { start: start <= 2 ? start : height >> 1, end: last };
}

/** Pages that the current mode has. */
export function pageCount(context: ServiceContext): number {
  const mode = MODES.get(context.memory.read8(BDA.MODE));
  const size = context.memory.read16(BDA.PAGE_SIZE);
  if (!mode || size === 0 || mode.kind === "linear" || mode.kind === "cga") return 1;
  const window = mode.kind === "text" ? TEXT_WINDOW : PLANAR_WINDOW;
  return Math.max(1, Math.min(PAGES, Math.floor(window / size)));
}

/** AH=05h: display another page. Pages that the mode does not have are ignored. */
export function selectPage(context: ServiceContext, page: number): void {
  const { memory, io } = context;
  if (page >= pageCount(context)) return;
  const start = page * memory.read16(BDA.PAGE_SIZE);
  const text = MODES.get(memory.read8(BDA.MODE))?.kind === "text";
  memory.write8(BDA.ACTIVE_PAGE, page);
  memory.write16(BDA.PAGE_START, start);
  const address = text ? start >> 1 : start;
  const crtc = crtcPort(context);
  writeIndexed(io, crtc, CRTC.START_HIGH, (address >> 8) & 0xff);
  writeIndexed(io, crtc, CRTC.START_LOW, address & 0xff);
  const cursor = cursorOf(context, page);
  moveCursor(context, page, cursor & 0xff, cursor >> 8);
}
