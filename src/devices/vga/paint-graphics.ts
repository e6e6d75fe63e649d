/** The VGA's graphics modes: sixteen colours from planes, interleaved dots of the CGA, 256 colours. */
import { type Geometry, planeOffset } from "./crtc.ts";
import { type BlinkPhase, type DisplayState, displayAddressMode, lineTable, type Plan, pens } from "./plan.ts";
import { ATC, ATTRIBUTE_MODE, CRTC, GC, GC_MODE, MODE_CONTROL, PLANE_SIZE, UNDERLINE } from "./registers.ts";

/** Address bits that the row scan counter can replace (CRT controller 17h bits 0 and 1). */
const ROW_SCAN_0 = 0x2000;
const ROW_SCAN_1 = 0x4000;
/** In graphics modes blinking switches bit 3 of every pixel, after the plane enable (what makes mode 0Fh blink). */
const BLINK_TOGGLE = 8;

/** How bytes of the planes become pixels. */
type Dots = "planes" | "interleaved" | "bytes";

/** The plan of a graphics mode. */
export class GraphicsPlan implements Plan {
  readonly width: number;
  readonly height: number;
  readonly #display: DisplayState;
  readonly #columns: number;
  readonly #lines;
  readonly #addressing;
  readonly #dots: Dots;
  /** The address counter steps at every character clock, or every second or fourth: shift. */
  readonly #slow: number;
  readonly #banked0: boolean;
  readonly #banked1: boolean;
  readonly #blinking: boolean;
  #colors: Uint32Array;
  #charactersOn = true;
  #blinked = false;

  constructor(display: DisplayState, shape: Geometry) {
    const { crtc, graphics, attribute } = display;
    const control = crtc[CRTC.MODE_CONTROL]!;
    const mode = graphics[GC.MODE]!;
    this.#display = display;
    this.#columns = shape.columns;
    this.#dots = mode & GC_MODE.COLOR_256 ? "bytes" : mode & GC_MODE.INTERLEAVED ? "interleaved" : "planes";
    this.#addressing = displayAddressMode(crtc);
    this.#slow =
      crtc[CRTC.UNDERLINE_LOCATION]! & UNDERLINE.COUNT_BY_FOUR ? 2 : control & MODE_CONTROL.COUNT_BY_TWO ? 1 : 0;
    this.#banked0 = (control & MODE_CONTROL.ROW_SCAN_0_IS_LINEAR) === 0;
    this.#banked1 = (control & MODE_CONTROL.ROW_SCAN_1_IS_LINEAR) === 0;
    const repeat = this.#banked0 || this.#banked1 ? shape.scanRepeat : shape.scanRepeat * shape.rowLines;
    const panning = attribute[ATC.HORIZONTAL_PANNING]! & 7;
    const bytes = this.#dots === "bytes";
    this.#lines = lineTable(display, shape, repeat, bytes ? panning >> 1 : panning);
    this.width = shape.columns * (bytes ? 4 : 8);
    this.height = this.#lines.height;
    this.#blinking = !bytes && (attribute[ATC.MODE_CONTROL]! & ATTRIBUTE_MODE.BLINK) !== 0;
    this.#colors = pens(display, 0);
  }

  begin(phase: BlinkPhase): void {
    this.#blinked = this.#blinking && phase.charactersOn !== this.#charactersOn;
    if (!this.#blinked) return;
    this.#charactersOn = phase.charactersOn;
    this.#colors = pens(this.#display, phase.charactersOn ? 0 : BLINK_TOGGLE);
  }

  changed(y: number, since: number): boolean {
    if (this.#blinked) return true;
    const { map } = this.#display.memory;
    const first = this.#offset(y, 0);
    const last = this.#offset(y, this.#columns);
    return first > last ? map.changed(0, PLANE_SIZE - 1, since) : map.changed(first, last, since);
  }

  /** Plane offset of a column of a line. */
  #offset(y: number, column: number): number {
    let offset = planeOffset(this.#addressing, this.#lines.address[y]! + (column >> this.#slow));
    const rowScan = this.#lines.rowScan[y]!;
    if (this.#banked0) offset = (offset & ~ROW_SCAN_0) | (rowScan & 1 ? ROW_SCAN_0 : 0);
    if (this.#banked1) offset = (offset & ~ROW_SCAN_1) | (rowScan & 2 ? ROW_SCAN_1 : 0);
    return offset;
  }

  paint(y: number, line: Uint32Array): number {
    if (this.#dots === "bytes") this.#paintBytes(y, line);
    else if (this.#dots === "interleaved") this.#paintInterleaved(y, line);
    else {
      const { cells } = this.#display.memory;
      for (let column = 0; column <= this.#columns; column++)
        paintPlanes(line, column * 8, cells[this.#offset(y, column)]!, this.#colors);
    }
    return this.#lines.pan[y]!;
  }

  #paintBytes(y: number, line: Uint32Array): void {
    const { memory, dac } = this.#display;
    const { cells } = memory;
    const { rgba, mask } = dac;
    let x = 0;
    for (let column = 0; column <= this.#columns; column++) {
      const planes = cells[this.#offset(y, column)]!;
      line[x++] = rgba[planes & mask]!;
      line[x++] = rgba[(planes >>> 8) & mask]!;
      line[x++] = rgba[(planes >>> 16) & mask]!;
      line[x++] = rgba[(planes >>> 24) & mask]!;
    }
  }

  #paintInterleaved(y: number, line: Uint32Array): void {
    const { cells } = this.#display.memory;
    const colors = this.#colors;
    let x = 0;
    for (let column = 0; column <= this.#columns; column++) {
      const planes = cells[this.#offset(y, column)]!;
      for (let half = 0; half < 16; half += 8) {
        for (let pair = 6; pair >= 0; pair -= 2) {
          const low = (planes >>> (half + pair)) & 3;
          const high = (planes >>> (half + 16 + pair)) & 3;
          line[x++] = colors[low | (high << 2)]!;
        }
      }
    }
  }
}

/** Eight pixels, from the bits of four planes in one cell. */
export function paintPlanes(line: Uint32Array, x: number, planes: number, colors: Uint32Array): void {
  for (let dot = 7; dot >= 0; dot--) {
    const bits = planes >>> dot;
    line[x + 7 - dot] = colors[(bits & 1) | ((bits >>> 7) & 2) | ((bits >>> 14) & 4) | ((bits >>> 21) & 8)]!;
  }
}
