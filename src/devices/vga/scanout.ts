/**
 * From registers and planes to what a monitor shows: the text screen as cells, and any mode as pixels.
 * Reads the adapter's state, changes nothing.
 */
import type { Frame, TextScreen } from "../../hypervisor/backend.ts";
import { type AddressMode, addressMode, type Geometry, geometry, planeOffset } from "./crtc.ts";
import type { Dac } from "./dac.ts";
import type { VideoMemory } from "./memory.ts";
import {
  ATC,
  ATTRIBUTE_MODE,
  CLOCKING,
  CRTC,
  CURSOR,
  GC,
  GC_MODE,
  MODE_CONTROL,
  SEQ,
  UNDERLINE,
  VIDEO_MEMORY_SIZE,
} from "./registers.ts";

/** The adapter's state as far as the picture depends on it. */
export interface DisplayState {
  readonly sequencer: Uint8Array;
  readonly crtc: Uint8Array;
  readonly graphics: Uint8Array;
  readonly attribute: Uint8Array;
  /** Palette address source: false blanks the screen. */
  readonly paletteOn: boolean;
  readonly dac: Dac;
  readonly memory: VideoMemory;
}

/** Where cursor and blinking characters stand at a moment. */
export interface BlinkPhase {
  readonly cursorOn: boolean;
  readonly charactersOn: boolean;
}

/** Character map select values (sequencer 03h) to plane 2 offsets: the VGA's maps lie between the EGA's. */
const FONT_MAPS = [0x0000, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000] as const;
/** Bytes of plane 2 that each character has. */
const FONT_CELL = 32;

const BLANK = 0xff000000;
/** Fewer columns or lines than this are no programmed mode: the adapter as it comes out of reset. */
const LEAST_COLUMNS = 4;
const LEAST_LINES = 8;
const UNPROGRAMMED = { width: 640, height: 400 } as const;

const ATTRIBUTE = { FOREGROUND: 0x0f, BRIGHT: 0x08, BLINK: 0x80, UNDERLINE_MASK: 0x77, UNDERLINE: 0x01 } as const;
/** Characters whose ninth column repeats the eighth (IBM VGA, attribute mode control bit 2). */
const LINE_GRAPHICS = { first: 0xc0, last: 0xdf } as const;

/** True when the adapter generates characters. */
export function isText(display: DisplayState): boolean {
  return (display.attribute[ATC.MODE_CONTROL]! & ATTRIBUTE_MODE.GRAPHICS) === 0;
}

/** True when a mode has been programmed at all. */
function isProgrammed(shape: Geometry): boolean {
  return shape.columns >= LEAST_COLUMNS && shape.lines >= LEAST_LINES;
}

function isOff(display: DisplayState): boolean {
  return !display.paletteOn || (display.sequencer[SEQ.CLOCKING_MODE]! & CLOCKING.SCREEN_OFF) !== 0;
}

function displayAddressMode(crtc: Uint8Array): AddressMode {
  return addressMode(crtc, (crtc[CRTC.UNDERLINE_LOCATION]! & UNDERLINE.DOUBLE_WORD) !== 0);
}

/** Cursor's address counter value, or -1 while it is off. */
function cursorAddress(crtc: Uint8Array): number {
  const start = crtc[CRTC.CURSOR_START]!;
  const end = crtc[CRTC.CURSOR_END]!;
  const rowLines = geometry(crtc).rowLines;
  if (start & CURSOR.OFF) return -1;
  if ((start & CURSOR.SCAN_MASK) > (end & CURSOR.SCAN_MASK) || (start & CURSOR.SCAN_MASK) >= rowLines) return -1;
  const skew = (end >> CURSOR.SKEW_SHIFT) & CURSOR.SKEW_MASK;
  return ((crtc[CRTC.CURSOR_LOCATION_HIGH]! << 8) | crtc[CRTC.CURSOR_LOCATION_LOW]!) + skew;
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
  const bytePan = (crtc[CRTC.PRESET_ROW_SCAN]! >> 5) & 3;
  const cursorAt = cursorAddress(crtc);
  let cursor = -1;
  let address = shape.start + bytePan;
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

/** The picture, one pixel for each distinct dot: doubled lines and dots are not repeated, so mode 13h is 320 × 200. */
export function render(display: DisplayState, phase: BlinkPhase): Frame {
  const shape = geometry(display.crtc);
  if (!isProgrammed(shape)) return picture(UNPROGRAMMED.width, UNPROGRAMMED.height, undefined);
  return isText(display) ? renderText(display, shape, phase) : renderGraphics(display, shape, phase);
}

/** Draw one scan line into `line`: `counter` is the address counter at its left end. */
type LinePainter = (line: Uint32Array, counter: number, rowScan: number) => void;

/** Walk the scan lines as the CRT controller counts them and let `paint` draw every `repeat`th. */
function scan(
  display: DisplayState,
  shape: Geometry,
  repeat: number,
  width: number,
  unit: number,
  panning: number,
  paint: LinePainter,
): Frame {
  const height = Math.max(1, Math.floor(shape.lines / repeat));
  const pixels = new Uint32Array(width * height);
  if (isOff(display)) return picture(width, height, undefined);
  const { crtc, attribute } = display;
  const compatible = (attribute[ATC.MODE_CONTROL]! & ATTRIBUTE_MODE.PANNING_COMPATIBILITY) !== 0;
  const line = new Uint32Array(width + unit);
  let bytePan = (crtc[CRTC.PRESET_ROW_SCAN]! >> 5) & 3;
  let pan = panning;
  let rowScan = crtc[CRTC.PRESET_ROW_SCAN]! & 0x1f;
  let address = shape.start;
  let drawn = 0;
  const lines = height * repeat;
  for (let y = 0; y < lines; y++) {
    if (y % repeat === 0) {
      paint(line, address + bytePan, rowScan);
      pixels.set(line.subarray(pan, pan + width), (y / repeat) * width);
    }
    if (y === shape.lineCompare) {
      address = 0;
      rowScan = 0;
      drawn = 0;
      if (compatible) bytePan = pan = 0;
    } else if (++drawn === shape.scanRepeat) {
      drawn = 0;
      if (rowScan === shape.rowLines - 1) {
        rowScan = 0;
        address += shape.pitch;
      } else rowScan = (rowScan + 1) & 0x1f;
    }
  }
  return picture(width, height, pixels);
}

function picture(width: number, height: number, pixels: Uint32Array | undefined): Frame {
  const data = pixels ?? new Uint32Array(width * height).fill(BLANK);
  return { width, height, rgba: new Uint8ClampedArray(data.buffer as ArrayBuffer) };
}

/** RGBA of the sixteen attribute values after plane enable, internal palette, colour select, pixel mask and DAC. */
function pens(display: DisplayState, toggle: number): Uint32Array {
  const { attribute, dac } = display;
  const mode = attribute[ATC.MODE_CONTROL]!;
  const select = attribute[ATC.COLOR_SELECT]!;
  const colors = new Uint32Array(16);
  for (let i = 0; i < 16; i++) {
    let color = attribute[(i & attribute[ATC.PLANE_ENABLE]! & 0x0f) ^ toggle]! & 0x3f;
    if (mode & ATTRIBUTE_MODE.PALETTE_54_SELECT) color = (color & 0x0f) | ((select & 3) << 4);
    color |= (select & 0x0c) << 4;
    colors[i] = dac.rgba[color & dac.mask]!;
  }
  return colors;
}

function renderText(display: DisplayState, shape: Geometry, phase: BlinkPhase): Frame {
  const { sequencer, crtc, attribute, memory } = display;
  const { bytes, words } = memory;
  const mode = attribute[ATC.MODE_CONTROL]!;
  const nine = (sequencer[SEQ.CLOCKING_MODE]! & CLOCKING.EIGHT_DOTS) === 0;
  const cell = nine ? 9 : 8;
  const colors = pens(display, 0);
  const maps = sequencer[SEQ.CHARACTER_MAP]!;
  // Attribute bit 3 chooses map A (register bits 5, 3, 2) over map B (bits 4, 1, 0).
  const brightFont = FONT_MAPS[((maps >> 2) & 3) | ((maps >> 3) & 4)]!;
  const plainFont = FONT_MAPS[(maps & 3) | ((maps >> 2) & 4)]!;
  const blinking = (mode & ATTRIBUTE_MODE.BLINK) !== 0;
  const lineGraphics = (mode & ATTRIBUTE_MODE.LINE_GRAPHICS) !== 0;
  const underline = crtc[CRTC.UNDERLINE_LOCATION]! & UNDERLINE.LOCATION_MASK;
  const cursorAt = phase.cursorOn ? cursorAddress(crtc) : -1;
  const cursorFirst = crtc[CRTC.CURSOR_START]! & CURSOR.SCAN_MASK;
  const cursorLast = crtc[CRTC.CURSOR_END]! & CURSOR.SCAN_MASK;
  const addressing = displayAddressMode(crtc);
  const panning = attribute[ATC.HORIZONTAL_PANNING]! & 0x0f;
  // Nine-dot modes count from 8 = none, 0 = one dot (IBM VGA, attribute register 13h).
  const pan = nine ? (panning >= 8 ? 0 : panning + 1) : panning & 7;

  return scan(display, shape, shape.scanRepeat, shape.columns * cell, cell, pan, (line, address, rowScan) => {
    const onCursorLine = rowScan >= cursorFirst && rowScan <= cursorLast;
    let x = 0;
    for (let column = 0; column <= shape.columns; column++) {
      const counter = (address + column) & 0xffff;
      const word = words[planeOffset(addressing, counter) << 1]!;
      const character = word & 0xff;
      const value = word >> 8;
      const font = value & ATTRIBUTE.BRIGHT ? brightFont : plainFont;
      let dots = bytes[((font + character * FONT_CELL + rowScan) << 2) | 2]!;
      const foreground = colors[value & ATTRIBUTE.FOREGROUND]!;
      const background = colors[blinking ? (value >> 4) & 7 : value >> 4]!;
      if (rowScan === underline && (value & ATTRIBUTE.UNDERLINE_MASK) === ATTRIBUTE.UNDERLINE) dots = 0x1ff;
      else dots = (dots << 1) | (lineGraphics && isLineGraphics(character) ? dots & 1 : 0);
      if (blinking && value & ATTRIBUTE.BLINK && !phase.charactersOn) dots = 0;
      if (counter === cursorAt && onCursorLine) dots = 0x1ff;
      for (let dot = 0; dot < cell; dot++) line[x++] = dots & (0x100 >> dot) ? foreground : background;
    }
  });
}

function isLineGraphics(character: number): boolean {
  return character >= LINE_GRAPHICS.first && character <= LINE_GRAPHICS.last;
}

function renderGraphics(display: DisplayState, shape: Geometry, phase: BlinkPhase): Frame {
  const { crtc, graphics, attribute, memory } = display;
  const { cells } = memory;
  const control = crtc[CRTC.MODE_CONTROL]!;
  const shift = graphics[GC.MODE]!;
  const addressing = displayAddressMode(crtc);
  // The address counter may step at every second or fourth character clock only.
  const slow =
    crtc[CRTC.UNDERLINE_LOCATION]! & UNDERLINE.COUNT_BY_FOUR ? 2 : control & MODE_CONTROL.COUNT_BY_TWO ? 1 : 0;
  const banked0 = (control & MODE_CONTROL.ROW_SCAN_0_IS_LINEAR) === 0;
  const banked1 = (control & MODE_CONTROL.ROW_SCAN_1_IS_LINEAR) === 0;
  const repeat = banked0 || banked1 ? shape.scanRepeat : shape.scanRepeat * shape.rowLines;
  const panning = attribute[ATC.HORIZONTAL_PANNING]! & 7;
  const { columns } = shape;

  const fetch = (address: number, column: number, rowScan: number): number => {
    let offset = planeOffset(addressing, address + (column >> slow));
    if (banked0) offset = (offset & ~0x2000) | ((rowScan & 1) << 13);
    if (banked1) offset = (offset & ~0x4000) | ((rowScan & 2) << 13);
    return cells[offset % (VIDEO_MEMORY_SIZE / 4)]!;
  };

  if (shift & GC_MODE.COLOR_256) {
    const { rgba, mask } = display.dac;
    return scan(display, shape, repeat, columns * 4, 4, panning >> 1, (line, address, rowScan) => {
      let x = 0;
      for (let column = 0; column <= columns; column++) {
        const planes = fetch(address, column, rowScan);
        line[x++] = rgba[planes & mask]!;
        line[x++] = rgba[(planes >>> 8) & mask]!;
        line[x++] = rgba[(planes >>> 16) & mask]!;
        line[x++] = rgba[(planes >>> 24) & mask]!;
      }
    });
  }

  // In graphics modes blinking switches bit 3 of every pixel, after the plane enable (what makes mode 0Fh blink).
  const toggle = attribute[ATC.MODE_CONTROL]! & ATTRIBUTE_MODE.BLINK && !phase.charactersOn ? 8 : 0;
  const colors = pens(display, toggle);
  if (shift & GC_MODE.INTERLEAVED) {
    return scan(display, shape, repeat, columns * 8, 8, panning, (line, address, rowScan) => {
      let x = 0;
      for (let column = 0; column <= columns; column++) {
        const planes = fetch(address, column, rowScan);
        for (let half = 0; half < 16; half += 8) {
          for (let pair = 6; pair >= 0; pair -= 2) {
            const low = (planes >>> (half + pair)) & 3;
            const high = (planes >>> (half + 16 + pair)) & 3;
            line[x++] = colors[low | (high << 2)]!;
          }
        }
      }
    });
  }
  return scan(display, shape, repeat, columns * 8, 8, panning, (line, address, rowScan) => {
    let x = 0;
    for (let column = 0; column <= columns; column++) {
      const planes = fetch(address, column, rowScan);
      for (let dot = 7; dot >= 0; dot--) {
        const bits = planes >>> dot;
        line[x++] = colors[(bits & 1) | ((bits >>> 7) & 2) | ((bits >>> 14) & 4) | ((bits >>> 21) & 8)]!;
      }
    }
  });
}
