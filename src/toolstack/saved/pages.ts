/** Large memories in a saved domain: page by page, those that are all zero left out. */
import { VmxonError } from "../../common/errors.ts";
import type { FrameWriter } from "./container.ts";

const PAGE = 4096;
/** Most bytes in one frame. */
const PIECE = 0x40000;

/** A memory of the domain, in a saved one by its name. */
export interface Region {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** What may be there, ascending; anything else is zero, or as it was before. */
  pieces(): Iterable<{ readonly offset: number; readonly bytes: Uint8Array }>;
  /** Take back a piece, which lies inside. */
  load(offset: number, bytes: Uint8Array): void;
}

/** A frame that holds a piece of a region. */
export type PageFrame = [region: string, offset: number, bytes: Uint8Array];

export function isPageFrame(frame: unknown): frame is PageFrame {
  return (
    Array.isArray(frame) &&
    frame.length === 3 &&
    typeof frame[0] === "string" &&
    Number.isSafeInteger(frame[1]) &&
    frame[1] >= 0 &&
    frame[2] instanceof Uint8Array
  );
}

/** A region that is one array, in which only zeros were before. */
export function memoryRegion(name: string, memory: Uint8Array): Region {
  return {
    name,
    size: memory.length,
    *pieces() {
      for (let offset = 0; offset < memory.length; ) {
        let end = offset;
        while (end < memory.length && end - offset < PIECE && !isZero(memory.subarray(end, end + PAGE))) end += PAGE;
        const bytes = memory.subarray(offset, end);
        if (bytes.length > 0) yield { offset, bytes };
        offset = Math.max(end, offset + PAGE);
      }
    },
    load: (offset, bytes) => memory.set(bytes, offset),
  };
}

function isZero(page: Uint8Array): boolean {
  if (page.byteOffset % 4 === 0 && page.length % 4 === 0) {
    const words = new Int32Array(page.buffer, page.byteOffset, page.length >> 2);
    for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
    return true;
  }
  return page.every((byte) => byte === 0);
}

/** Write a region's pieces. Its memory must not change meanwhile. */
export async function writeRegion(writer: FrameWriter, region: Region): Promise<void> {
  for (const { offset, bytes } of region.pieces()) await writer.write([region.name, offset, bytes] satisfies PageFrame);
}

/** Takes pieces back into their regions: each inside, and none twice. */
export class RegionLoader {
  readonly #regions: ReadonlyMap<string, Region>;
  /** Where the last piece of each ended. */
  readonly #ends = new Map<string, number>();

  constructor(regions: readonly Region[]) {
    this.#regions = new Map(regions.map((region) => [region.name, region]));
  }

  load([name, offset, bytes]: PageFrame): void {
    const region = this.#regions.get(name);
    const end = this.#ends.get(name) ?? 0;
    if (!region || offset < end || offset + bytes.length > region.size)
      throw new VmxonError("state", `the saved domain is damaged: a piece of ${name} has no place`);
    region.load(offset, bytes);
    this.#ends.set(name, offset + bytes.length);
  }
}
