/** Pictures as PNG files (ISO/IEC 15948): with a palette where 256 colours are enough, else in 24 bits. */
import type { Frame } from "../hypervisor/backend.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const;
const COLOR_TYPE = { TRUE_COLOR: 2, PALETTE: 3 } as const;
const BITS = 8;
/** Filter types of a line: its bytes as they are, and their differences from those of the line above. */
const FILTER = { NONE: 0, UP: 2 } as const;
const MOST_COLORS = 256;
const RGB_MASK = 0xffffff;
/** Length, type and check of a chunk. */
const CHUNK_OVERHEAD = 12;

/** Checks of single bytes (ISO/IEC 15948 annex D). */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) value = (value >>> 8) ^ CRC_TABLE[(value ^ byte) & 0xff]!;
  return ~value >>> 0;
}

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(data.length + CHUNK_OVERHEAD);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc(bytes.subarray(4, data.length + 8)));
  return bytes;
}

function header({ width, height }: Frame, colorType: number): Uint8Array {
  const data = new Uint8Array(13);
  const view = new DataView(data.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  data[8] = BITS;
  data[9] = colorType;
  return chunk("IHDR", data);
}

async function deflate(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([data]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Palette index of each colour, or undefined when there are too many. */
function paletteOf(pixels: Uint32Array): Map<number, number> | undefined {
  const palette = new Map<number, number>();
  let last = -1;
  for (const pixel of pixels) {
    const color = pixel & RGB_MASK;
    if (color === last || palette.has(color)) continue;
    if (palette.size === MOST_COLORS) return undefined;
    palette.set(color, palette.size);
    last = color;
  }
  return palette;
}

function indexedLines({ width, height }: Frame, pixels: Uint32Array, palette: Map<number, number>) {
  const lines = new Uint8Array((width + 1) * height);
  let at = 0;
  for (let y = 0; y < height; y++) {
    lines[at++] = FILTER.NONE;
    for (let x = 0; x < width; x++) lines[at++] = palette.get(pixels[y * width + x]! & RGB_MASK)!;
  }
  return lines;
}

function colorLines({ width, height, rgba }: Frame) {
  const lines = new Uint8Array((width * 3 + 1) * height);
  let at = 0;
  for (let y = 0; y < height; y++) {
    lines[at++] = y === 0 ? FILTER.NONE : FILTER.UP;
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * 4;
      const above = from - width * 4;
      for (let i = 0; i < 3; i++) lines[at++] = rgba[from + i]! - (y === 0 ? 0 : rgba[above + i]!);
    }
  }
  return lines;
}

/** The file of a picture, which is read before this returns; its transparency is left out. */
export async function encodePng(frame: Frame): Promise<Uint8Array> {
  const pixels = new Uint32Array(frame.rgba.buffer, frame.rgba.byteOffset, frame.width * frame.height);
  const palette = paletteOf(pixels);
  const parts = [Uint8Array.from(SIGNATURE), header(frame, palette ? COLOR_TYPE.PALETTE : COLOR_TYPE.TRUE_COLOR)];
  if (palette) {
    const colors = [...palette.keys()].flatMap((color) => [color & 0xff, (color >> 8) & 0xff, color >> 16]);
    parts.push(chunk("PLTE", Uint8Array.from(colors)));
  }
  const lines = palette ? indexedLines(frame, pixels, palette) : colorLines(frame);
  parts.push(chunk("IDAT", await deflate(lines)), chunk("IEND", new Uint8Array(0)));
  const file = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}
