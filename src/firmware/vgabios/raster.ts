/**
 * The graphics modes' memory layouts behind one small interface: a dot, and eight dots in a row.
 * One object for each layout; the mode table says which.
 */
import type { ServiceContext } from "../service.ts";
import { GC, PORT, SEQ, writeIndexed } from "./adapter.ts";
import { BDA } from "./layout.ts";
import type { VideoMode } from "./modes.ts";

/** Colour bit that means exclusive-or, except in the 256-colour mode. */
export const XOR = 0x80;

/** What glyphs, dots and scrolling need of a layout. Lines are scan lines, columns character cells. */
export interface Raster {
  readPixel(context: ServiceContext, page: number, x: number, y: number): number;
  writePixel(context: ServiceContext, page: number, x: number, y: number, color: number): void;
  /** Dots of a cell's line that are not `background`, bit 7 left. */
  readDots(context: ServiceContext, page: number, column: number, y: number, background: number): number;
  /** Draw a cell's line: `color` for set dots, `background` for the others; {@link XOR} in `color` changes set dots only. */
  writeDots(
    context: ServiceContext,
    page: number,
    column: number,
    y: number,
    dots: number,
    color: number,
    background: number,
  ): void;
  /** Copy a line of `width` cells. */
  copyLine(context: ServiceContext, page: number, column: number, width: number, from: number, to: number): void;
}

const A000 = 0xa0000;
const B800 = 0xb8000;
const CGA_PITCH = 80;
const CGA_ODD_LINES = 0x2000;
const LINEAR_PITCH = 320;

/** The raster of a graphics mode. */
export function rasterOf(mode: VideoMode): Raster {
  if (mode.kind === "linear") return LINEAR;
  if (mode.kind === "planar") return PLANAR;
  return mode.bits === 1 ? CGA_MONO : CGA_COLOR;
}

/** Modes 4 to 6: `bits` a pixel, even and odd lines in two halves of the memory. */
function cga(bits: 1 | 2): Raster {
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  const line = (y: number): number => B800 + (y >> 1) * CGA_PITCH + (y & 1) * CGA_ODD_LINES;
  /** Eight dots spread to `bits` bits each. */
  const spread = (dots: number, color: number): number => {
    let value = 0;
    for (let dot = 7; dot >= 0; dot--) value = (value << bits) | (dots & (1 << dot) ? color : 0);
    return value;
  };
  const load = (context: ServiceContext, address: number): number => {
    const first = context.memory.read8(address);
    return bits === 1 ? first : (first << 8) | context.memory.read8(address + 1);
  };
  const store = (context: ServiceContext, address: number, value: number): void => {
    if (bits === 1) context.memory.write8(address, value & 0xff);
    else context.memory.write16(address, ((value & 0xff) << 8) | ((value >> 8) & 0xff));
  };
  return {
    readPixel(context, _page, x, y) {
      const shift = (perByte - 1 - (x % perByte)) * bits;
      return (context.memory.read8(line(y) + Math.floor(x / perByte)) >> shift) & mask;
    },
    writePixel({ memory }, _page, x, y, color) {
      const address = line(y) + Math.floor(x / perByte);
      const shift = (perByte - 1 - (x % perByte)) * bits;
      const before = memory.read8(address);
      const value = (color & mask) << shift;
      memory.write8(address, color & XOR ? before ^ value : (before & ~(mask << shift)) | value);
    },
    readDots(context, _page, column, y, background) {
      const value = load(context, line(y) + column * bits);
      let dots = 0;
      for (let dot = 7; dot >= 0; dot--)
        dots = (dots << 1) | (((value >> (dot * bits)) & mask) === (background & mask) ? 0 : 1);
      return dots;
    },
    writeDots(context, _page, column, y, dots, color, background) {
      const address = line(y) + column * bits;
      const value = spread(dots, color & mask);
      if (color & XOR) store(context, address, load(context, address) ^ value);
      else store(context, address, value | spread(~dots, background & mask));
    },
    copyLine({ memory }, _page, column, width, from, to) {
      const bytes = new Uint8Array(width * bits);
      memory.read(line(from) + column * bits, bytes);
      memory.write(line(to) + column * bits, bytes);
    },
  };
}

const CGA_COLOR = cga(2);
const CGA_MONO = cga(1);

/** Mode 13h: a byte for each pixel. */
const LINEAR: Raster = {
  readPixel: ({ memory }, _page, x, y) => memory.read8(A000 + ((y * LINEAR_PITCH + x) & 0xffff)),
  writePixel({ memory }, _page, x, y, color) {
    memory.write8(A000 + ((y * LINEAR_PITCH + x) & 0xffff), color);
  },
  readDots({ memory }, _page, column, y, background) {
    const address = A000 + y * LINEAR_PITCH + column * 8;
    let dots = 0;
    for (let i = 0; i < 8; i++) dots = (dots << 1) | (memory.read8(address + i) === background ? 0 : 1);
    return dots;
  },
  writeDots({ memory }, _page, column, y, dots, color, background) {
    const address = A000 + y * LINEAR_PITCH + column * 8;
    for (let i = 0; i < 8; i++) memory.write8(address + i, dots & (0x80 >> i) ? color : background);
  },
  copyLine({ memory }, _page, column, width, from, to) {
    const bytes = new Uint8Array(width * 8);
    memory.read(A000 + from * LINEAR_PITCH + column * 8, bytes);
    memory.write(A000 + to * LINEAR_PITCH + column * 8, bytes);
  },
};

/** Graphics controller values for the planar modes. */
const WRITE = { CPU: 0, LATCHES: 1, COLOR: 2 } as const;
const FUNCTION_XOR = 0x18;
const ALL_PLANES = 0x0f;

function planarAddress(context: ServiceContext, page: number, column: number, y: number): number {
  const { memory } = context;
  const offset = page * memory.read16(BDA.PAGE_SIZE) + y * memory.read16(BDA.COLUMNS) + column;
  return A000 + (offset & 0xffff);
}

/** Write `color` to the dots of a byte that `mask` names, and leave the graphics controller as modes expect it. */
function planarWrite(context: ServiceContext, address: number, mask: number, color: number, xor: boolean): void {
  const { io, memory } = context;
  writeIndexed(io, PORT.SEQUENCER, SEQ.MAP_MASK, ALL_PLANES);
  writeIndexed(io, PORT.GRAPHICS, GC.MODE, WRITE.COLOR);
  writeIndexed(io, PORT.GRAPHICS, GC.BIT_MASK, mask);
  if (xor) writeIndexed(io, PORT.GRAPHICS, GC.DATA_ROTATE, FUNCTION_XOR);
  memory.read8(address);
  memory.write8(address, color & ALL_PLANES);
  if (xor) writeIndexed(io, PORT.GRAPHICS, GC.DATA_ROTATE, 0);
  writeIndexed(io, PORT.GRAPHICS, GC.BIT_MASK, 0xff);
  writeIndexed(io, PORT.GRAPHICS, GC.MODE, WRITE.CPU);
}

/** Modes 0Dh to 12h: a bit in each of four planes. */
const PLANAR: Raster = {
  readPixel(context, page, x, y) {
    const { io, memory } = context;
    const address = planarAddress(context, page, x >> 3, y);
    let color = 0;
    for (let plane = 3; plane >= 0; plane--) {
      writeIndexed(io, PORT.GRAPHICS, GC.READ_MAP, plane);
      color = (color << 1) | ((memory.read8(address) >> (7 - (x & 7))) & 1);
    }
    return color;
  },
  writePixel(context, page, x, y, color) {
    const address = planarAddress(context, page, x >> 3, y);
    planarWrite(context, address, 0x80 >> (x & 7), color, (color & XOR) !== 0);
  },
  readDots(context, page, column, y, background) {
    const { io, memory } = context;
    const address = planarAddress(context, page, column, y);
    let dots = 0;
    for (let plane = 0; plane < 4; plane++) {
      writeIndexed(io, PORT.GRAPHICS, GC.READ_MAP, plane);
      dots |= memory.read8(address) ^ (background & (1 << plane) ? 0xff : 0);
    }
    writeIndexed(io, PORT.GRAPHICS, GC.READ_MAP, 0);
    return dots;
  },
  writeDots(context, page, column, y, dots, color, background) {
    const address = planarAddress(context, page, column, y);
    if (color & XOR) planarWrite(context, address, dots, color, true);
    else {
      planarWrite(context, address, 0xff, background, false);
      planarWrite(context, address, dots, color, false);
    }
  },
  copyLine(context, page, column, width, from, to) {
    const { io, memory } = context;
    writeIndexed(io, PORT.SEQUENCER, SEQ.MAP_MASK, ALL_PLANES);
    writeIndexed(io, PORT.GRAPHICS, GC.MODE, WRITE.LATCHES);
    const source = planarAddress(context, page, column, from);
    const target = planarAddress(context, page, column, to);
    for (let i = 0; i < width; i++) {
      memory.read8(source + i);
      memory.write8(target + i, 0);
    }
    writeIndexed(io, PORT.GRAPHICS, GC.MODE, WRITE.CPU);
  },
};
