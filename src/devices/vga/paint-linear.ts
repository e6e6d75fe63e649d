/** Modes of the display interface: packed pixels of 8 to 32 bits, and planes of any size. */
import type { LinearMode } from "./dispi.ts";
import { paintPlanes } from "./paint-graphics.ts";
import { type DisplayState, type Plan, pens } from "./plan.ts";

const OPAQUE = 0xff000000;

/** A component of five bits, from bit 0 of `value` on, as eight: 1Fh becomes FFh. */
function five(value: number): number {
  const bits = value & 0x1f;
  return (bits << 3) | (bits >> 2);
}

/** The same of six bits. */
function six(value: number): number {
  const bits = value & 0x3f;
  return (bits << 2) | (bits >> 4);
}

/** RGBA of every pixel value of 15 and of 16 bits, made when first needed. */
const HIGH_COLORS = new Map<15 | 16, Uint32Array>();

function highColors(bits: 15 | 16): Uint32Array {
  let colors = HIGH_COLORS.get(bits);
  if (!colors) {
    colors = Uint32Array.from({ length: 1 << 16 }, (_, value) =>
      bits === 15
        ? OPAQUE | (five(value) << 16) | (five(value >> 5) << 8) | five(value >> 10)
        : OPAQUE | (five(value) << 16) | (six(value >> 5) << 8) | five(value >> 11),
    );
    HIGH_COLORS.set(bits, colors);
  }
  return colors;
}

type Painter = (line: Uint32Array, at: number) => void;

/** The plan of a mode of the display interface. */
export class LinearPlan implements Plan {
  readonly width: number;
  readonly height: number;
  readonly #mode: LinearMode;
  readonly #display: DisplayState;
  readonly #paint: Painter;

  constructor(display: DisplayState, mode: LinearMode) {
    this.width = mode.width;
    this.height = mode.height;
    this.#mode = mode;
    this.#display = display;
    this.#paint = this.#painter();
  }

  changed(y: number, since: number): boolean {
    const { width, bits, pitch, start } = this.#mode;
    const at = start + y * pitch;
    const { map } = this.#display.memory;
    if (bits === 4) return map.changed(at, at + (width >> 3), since);
    const bytes = width * ((bits + 7) >> 3);
    return map.changed(at >> 2, (at + bytes - 1) >> 2, since);
  }

  paint(y: number, line: Uint32Array): number {
    this.#paint(line, this.#mode.start + y * this.#mode.pitch);
    return this.#mode.pan;
  }

  #painter(): Painter {
    const { memory, dac } = this.#display;
    const { bytes, words, cells } = memory;
    const { width, bits } = this.#mode;
    switch (bits) {
      case 4: {
        const colors = pens(this.#display, 0);
        const mask = cells.length - 1;
        return (line, at) => {
          for (let column = 0; column <= width >> 3; column++)
            paintPlanes(line, column * 8, cells[(at + column) & mask]!, colors);
        };
      }
      case 8: {
        const { rgba, mask } = dac;
        return (line, at) => {
          for (let x = 0; x < width; x++) line[x] = rgba[bytes[at + x]! & mask]!;
        };
      }
      case 15:
      case 16: {
        const colors = highColors(bits);
        return (line, at) => {
          const first = at >> 1;
          for (let x = 0; x < width; x++) line[x] = colors[words[first + x]!]!;
        };
      }
      case 24:
        return (line, at) => {
          for (let x = 0, from = at; x < width; x++, from += 3)
            line[x] = OPAQUE | (bytes[from]! << 16) | (bytes[from + 1]! << 8) | bytes[from + 2]!;
        };
      default:
        return (line, at) => {
          const first = at >> 2;
          for (let x = 0; x < width; x++) {
            const value = cells[first + x]!;
            line[x] = OPAQUE | ((value & 0xff) << 16) | (value & 0xff00) | ((value >> 16) & 0xff);
          }
        };
    }
  }
}
