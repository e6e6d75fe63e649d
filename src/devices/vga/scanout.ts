/**
 * From registers and planes to what a monitor shows: the text screen as cells, and the plan of any mode's picture.
 * Reads the adapter's state, changes nothing.
 */
import type { Rectangle, TextScreen } from "../../hypervisor/backend.ts";
import { type Geometry, geometry, planeOffset } from "./crtc.ts";
import { GraphicsPlan } from "./paint-graphics.ts";
import { LinearPlan } from "./paint-linear.ts";
import { cellWidth, cursorAddress, TextPlan } from "./paint-text.ts";
import { bytePanning, type DisplayState, displayAddressMode, type Plan } from "./plan.ts";
import { ATC, ATTRIBUTE_MODE, CLOCKING, CRTC, CURSOR, SEQ } from "./registers.ts";

const BLANK = 0xff000000;
/** Fewer columns or lines than this are no programmed mode: the adapter as it comes out of reset. */
const LEAST_COLUMNS = 4;
const LEAST_LINES = 8;
const UNPROGRAMMED = { width: 640, height: 400 } as const;

/** True when the adapter generates characters. */
export function isText(display: DisplayState): boolean {
  return !display.linear && (display.attribute[ATC.MODE_CONTROL]! & ATTRIBUTE_MODE.GRAPHICS) === 0;
}

/** True when a mode has been programmed at all. */
function isProgrammed(shape: Geometry): boolean {
  return shape.columns >= LEAST_COLUMNS && shape.lines >= LEAST_LINES;
}

function isOff(display: DisplayState): boolean {
  return !display.paletteOn || (display.sequencer[SEQ.CLOCKING_MODE]! & CLOCKING.SCREEN_OFF) !== 0;
}

/**
 * The text screen as cells, or undefined when no text mode is programmed. Follows a screen split by line compare; a screen
 * that is off has its text still, since guests blank it for moments while they program the palette.
 */
export function textScreen(display: DisplayState): TextScreen | undefined {
  const { crtc, memory } = display;
  const shape = geometry(crtc);
  if (!isText(display) || !isProgrammed(shape)) return undefined;
  const { columns } = shape;
  const rowHeight = shape.rowLines * shape.scanRepeat;
  const rows = Math.max(1, Math.floor(shape.lines / rowHeight));
  const cells = new Uint16Array(rows * columns);
  const mode = displayAddressMode(crtc);
  const cursorAt = cursorAddress(crtc, shape.rowLines);
  let cursor = -1;
  let address = shape.start + bytePanning(crtc);
  let split = false;
  for (let row = 0; row < rows; row++) {
    if (!split && row * rowHeight > shape.lineCompare) {
      address = 0;
      split = true;
    }
    for (let column = 0; column < columns; column++) {
      const counter = (address + column) & 0xffff;
      cells[row * columns + column] = memory.words[planeOffset(mode, counter) << 1]!;
      if (counter === cursorAt) cursor = row * columns + column;
    }
    address += shape.pitch;
  }
  const blink = (display.attribute[ATC.MODE_CONTROL]! & ATTRIBUTE_MODE.BLINK) !== 0;
  return { columns, rows, cells, cursor, blink };
}

/** Where a text screen's cursor stands in the picture, whether or not it is lit just now. */
export function cursorRectangle(display: DisplayState): Rectangle | undefined {
  const screen = textScreen(display);
  if (!screen || screen.cursor < 0) return undefined;
  const { crtc } = display;
  const { rowLines } = geometry(crtc);
  const { cell } = cellWidth(display);
  const first = crtc[CRTC.CURSOR_START]! & CURSOR.SCAN_MASK;
  const last = Math.min(crtc[CRTC.CURSOR_END]! & CURSOR.SCAN_MASK, rowLines - 1);
  return {
    x: (screen.cursor % screen.columns) * cell,
    y: Math.floor(screen.cursor / screen.columns) * rowLines + first,
    width: cell,
    height: last - first + 1,
  };
}

/**
 * How the picture is made, one pixel for each distinct dot: doubled lines and dots are not repeated, so mode 13h is
 * 320 × 200.
 */
export function planOf(display: DisplayState): Plan {
  const { linear } = display;
  const shape = geometry(display.crtc);
  if (!linear && !isProgrammed(shape)) return blank(UNPROGRAMMED);
  const plan = linear
    ? new LinearPlan(display, linear)
    : isText(display)
      ? new TextPlan(display, shape)
      : new GraphicsPlan(display, shape);
  return isOff(display) ? blank(plan) : plan;
}

/** A dark picture. */
function blank({ width, height }: { width: number; height: number }): Plan {
  return {
    width,
    height,
    changed: () => false,
    paint(_y, line) {
      line.fill(BLANK);
      return 0;
    },
  };
}
