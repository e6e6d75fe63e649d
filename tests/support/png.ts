/** A reader of PNG files, for pictures of 8 bits without interlacing; and of QEMU's PPM files. Independent of the writer. */
import { inflateSync } from "node:zlib";

/** Pixels as RRGGBB numbers, row by row. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly colors: Uint32Array;
}

function paeth(a: number, b: number, c: number): number {
  const p = a + b - c;
  const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}

/** Read a PNG file. */
export function readPng(file: Uint8Array): Pixels {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  if (view.getUint32(0) !== 0x89504e47 || view.getUint32(4) !== 0x0d0a1a0a) throw new Error("no PNG file");
  const data: Uint8Array[] = [];
  let palette = new Uint8Array(0);
  let [width, height, type] = [0, 0, 0];
  for (let at = 8; at < file.length; ) {
    const length = view.getUint32(at);
    const name = new TextDecoder().decode(file.subarray(at + 4, at + 8));
    const body = file.subarray(at + 8, at + 8 + length);
    if (name === "IHDR") {
      [width, height, type] = [view.getUint32(at + 8), view.getUint32(at + 12), file[at + 17]!];
      if (file[at + 16] !== 8) throw new Error("not of 8 bits");
    } else if (name === "PLTE") palette = body.slice();
    else if (name === "IDAT") data.push(body);
    at += length + 12;
  }
  const bytes = type === 3 ? 1 : type === 2 ? 3 : 4;
  const raw = inflateSync(Buffer.concat(data));
  const stride = width * bytes;
  const lines = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)]!;
    for (let x = 0; x < stride; x++) {
      const left = x >= bytes ? lines[y * stride + x - bytes]! : 0;
      const up = y > 0 ? lines[(y - 1) * stride + x]! : 0;
      const corner = x >= bytes && y > 0 ? lines[(y - 1) * stride + x - bytes]! : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!;
      lines[y * stride + x] = raw[y * (stride + 1) + 1 + x]! + guess;
    }
  }
  const colors = Uint32Array.from({ length: width * height }, (_, i) => {
    const from = type === 3 ? palette.subarray(lines[i]! * 3) : lines.subarray(i * bytes);
    return (from[0]! << 16) | (from[1]! << 8) | from[2]!;
  });
  return { width, height, colors };
}

/** Read a binary PPM file (P6). */
export function readPpm(file: Uint8Array): Pixels {
  const text = new TextDecoder("latin1").decode(file.subarray(0, 64));
  const match = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(text);
  if (!match) throw new Error("no PPM file");
  const [width, height] = [Number(match[1]), Number(match[2])];
  const body = file.subarray(match[0].length);
  const colors = Uint32Array.from(
    { length: width * height },
    (_, i) => (body[i * 3]! << 16) | (body[i * 3 + 1]! << 8) | body[i * 3 + 2]!,
  );
  return { width, height, colors };
}
