/** Text modes: from characters, attributes and fonts in memory to pixels, with cursor, underline and blinking. */
import { type Geometry, planeOffset } from "./crtc.ts";
import { type BlinkPhase, type DisplayState, displayAddressMode, lineTable, type Plan, pens } from "./plan.ts";
import { ATC, ATTRIBUTE_MODE, CLOCKING, CRTC, CURSOR, PLANE_SIZE, SEQ, UNDERLINE } from "./registers.ts";

/** Character map select values (sequencer 03h) to plane 2 offsets: the VGA's maps lie between the EGA's. */
const FONT_MAPS = [0x0000, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000] as const;
/** Bytes of plane 2 that each character has. */
const FONT_CELL = 32;
const ATTRIBUTE = { FOREGROUND: 0x0f, BRIGHT: 0x08, BLINK: 0x80, UNDERLINE_MASK: 0x77, UNDERLINE: 0x01 } as const;
/** Characters whose ninth column repeats the eighth (IBM VGA, attribute mode control bit 2). */
const LINE_GRAPHICS = { first: 0xc0, last: 0xdf } as const;
const ALL_DOTS = 0x1ff;
const COUNTER_MASK = 0xffff;
/** The cursor while it is not shown. */
const NO_CURSOR = -1;

/** Cursor's address counter value, or -1 while it is off. */
export function cursorAddress(crtc: Uint8Array, rowLines: number): number {
  const start = crtc[CRTC.CURSOR_START]!;
  const end = crtc[CRTC.CURSOR_END]!;
  if (start & CURSOR.OFF) return NO_CURSOR;
  if ((start & CURSOR.SCAN_MASK) > (end & CURSOR.SCAN_MASK) || (start & CURSOR.SCAN_MASK) >= rowLines) return NO_CURSOR;
  const skew = (end >> CURSOR.SKEW_SHIFT) & CURSOR.SKEW_MASK;
  return ((crtc[CRTC.CURSOR_LOCATION_HIGH]! << 8) | crtc[CRTC.CURSOR_LOCATION_LOW]!) + skew;
}

/** Dots of a character cell's line, and how many are left of the picture's edge. */
export function cellWidth(display: DisplayState): { cell: 8 | 9; pan: number } {
  const nine = (display.sequencer[SEQ.CLOCKING_MODE]! & CLOCKING.EIGHT_DOTS) === 0;
  const panning = display.attribute[ATC.HORIZONTAL_PANNING]! & 0x0f;
  // Nine-dot modes count from 8 = none, 0 = one dot (IBM VGA, attribute register 13h).
  return { cell: nine ? 9 : 8, pan: nine ? (panning >= 8 ? 0 : panning + 1) : panning & 7 };
}

/** The cursor as a look finds it. */
interface CursorShape {
  readonly address: number;
  readonly first: number;
  readonly last: number;
}

const HIDDEN: CursorShape = { address: NO_CURSOR, first: 0, last: 0 };

/** The plan of a text mode. */
export class TextPlan implements Plan {
  readonly width: number;
  readonly height: number;
  readonly #display: DisplayState;
  readonly #shape: Geometry;
  readonly #lines;
  readonly #cell: number;
  readonly #colors: Uint32Array;
  readonly #brightFont: number;
  readonly #plainFont: number;
  readonly #blinking: boolean;
  readonly #lineGraphics: boolean;
  readonly #underline: number;
  readonly #addressing;
  #cursor: CursorShape = HIDDEN;
  #cursorBefore: CursorShape = HIDDEN;
  #charactersOn = true;
  #blinked = false;

  constructor(display: DisplayState, shape: Geometry) {
    const { sequencer, crtc, attribute } = display;
    const { cell, pan } = cellWidth(display);
    const mode = attribute[ATC.MODE_CONTROL]!;
    const maps = sequencer[SEQ.CHARACTER_MAP]!;
    this.#display = display;
    this.#shape = shape;
    this.#lines = lineTable(display, shape, shape.scanRepeat, pan);
    this.width = shape.columns * cell;
    this.height = this.#lines.height;
    this.#cell = cell;
    this.#colors = pens(display, 0);
    // Attribute bit 3 chooses map A (register bits 5, 3, 2) over map B (bits 4, 1, 0).
    this.#brightFont = FONT_MAPS[((maps >> 2) & 3) | ((maps >> 3) & 4)]!;
    this.#plainFont = FONT_MAPS[(maps & 3) | ((maps >> 2) & 4)]!;
    this.#blinking = (mode & ATTRIBUTE_MODE.BLINK) !== 0;
    this.#lineGraphics = (mode & ATTRIBUTE_MODE.LINE_GRAPHICS) !== 0;
    this.#underline = crtc[CRTC.UNDERLINE_LOCATION]! & UNDERLINE.LOCATION_MASK;
    this.#addressing = displayAddressMode(crtc);
  }

  begin(phase: BlinkPhase): void {
    const { crtc } = this.#display;
    const address = phase.cursorOn ? cursorAddress(crtc, this.#shape.rowLines) : NO_CURSOR;
    this.#cursorBefore = this.#cursor;
    this.#cursor =
      address === NO_CURSOR
        ? HIDDEN
        : {
            address,
            first: crtc[CRTC.CURSOR_START]! & CURSOR.SCAN_MASK,
            last: crtc[CRTC.CURSOR_END]! & CURSOR.SCAN_MASK,
          };
    this.#blinked = this.#blinking && phase.charactersOn !== this.#charactersOn;
    this.#charactersOn = phase.charactersOn;
  }

  changed(y: number, since: number): boolean {
    const { memory } = this.#display;
    if (memory.fontChange > since || this.#onCursor(y, this.#cursor) || this.#onCursor(y, this.#cursorBefore))
      return true;
    const address = this.#lines.address[y]!;
    const first = planeOffset(this.#addressing, address & COUNTER_MASK);
    const last = planeOffset(this.#addressing, (address + this.#shape.columns) & COUNTER_MASK);
    if (first > last ? memory.map.changed(0, PLANE_SIZE - 1, since) : memory.map.changed(first, last, since))
      return true;
    return this.#blinked && this.#hasBlinking(address);
  }

  #onCursor(y: number, { address, first, last }: CursorShape): boolean {
    const rowScan = this.#lines.rowScan[y]!;
    if (address === NO_CURSOR || rowScan < first || rowScan > last) return false;
    return ((address - this.#lines.address[y]!) & COUNTER_MASK) <= this.#shape.columns;
  }

  #hasBlinking(address: number): boolean {
    const { words } = this.#display.memory;
    for (let column = 0; column <= this.#shape.columns; column++) {
      const cell = words[planeOffset(this.#addressing, (address + column) & COUNTER_MASK) << 1]!;
      if ((cell >> 8) & ATTRIBUTE.BLINK) return true;
    }
    return false;
  }

  paint(y: number, line: Uint32Array): number {
    const { bytes, words } = this.#display.memory;
    const colors = this.#colors;
    const cell = this.#cell;
    const blinking = this.#blinking;
    const addressing = this.#addressing;
    const address = this.#lines.address[y]!;
    const rowScan = this.#lines.rowScan[y]!;
    const cursor = this.#onCursor(y, this.#cursor) ? this.#cursor.address : NO_CURSOR;
    const underlined = rowScan === this.#underline;
    let x = 0;
    for (let column = 0; column <= this.#shape.columns; column++) {
      const counter = (address + column) & COUNTER_MASK;
      const word = words[planeOffset(addressing, counter) << 1]!;
      const character = word & 0xff;
      const value = word >> 8;
      const font = value & ATTRIBUTE.BRIGHT ? this.#brightFont : this.#plainFont;
      let dots = bytes[((font + character * FONT_CELL + rowScan) << 2) | 2]!;
      const foreground = colors[value & ATTRIBUTE.FOREGROUND]!;
      const background = colors[blinking ? (value >> 4) & 7 : value >> 4]!;
      if (underlined && (value & ATTRIBUTE.UNDERLINE_MASK) === ATTRIBUTE.UNDERLINE) dots = ALL_DOTS;
      else dots = (dots << 1) | (this.#lineGraphics && isLineGraphics(character) ? dots & 1 : 0);
      if (blinking && value & ATTRIBUTE.BLINK && !this.#charactersOn) dots = 0;
      if (counter === cursor) dots = ALL_DOTS;
      for (let dot = 0; dot < cell; dot++) line[x++] = dots & (0x100 >> dot) ? foreground : background;
    }
    return this.#lines.pan[y]!;
  }
}

function isLineGraphics(character: number): boolean {
  return character >= LINE_GRAPHICS.first && character <= LINE_GRAPHICS.last;
}
