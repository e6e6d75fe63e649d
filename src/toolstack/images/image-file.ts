/** What an image format stands on: bytes with a beginning and, where they can be written, no fixed end. */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";

/** Bytes that grow: `size` is what is there by now, and a write at its end or behind makes it larger (zeros between). */
export interface ImageFile extends BlockBackend {
  /** Cut off, or add zeros. */
  truncate(size: number): Promise<void>;
}

/** Whether a format may lay new structures into it. */
export function isImageFile(backend: BlockBackend): backend is ImageFile {
  return !backend.readonly && "truncate" in backend;
}

/** Fill `target` from `offset`; what lies behind the end is zero. */
export async function readPadded(file: BlockBackend, offset: number, target: Uint8Array): Promise<void> {
  const present = Math.max(0, Math.min(target.length, file.size - offset));
  if (present > 0) await file.read(offset, target.subarray(0, present));
  target.fill(0, present);
}

/** Smallest array that a {@link MemoryFile} allocates. */
const SMALLEST_ARRAY = 0x10000;

/** A file in memory. */
export class MemoryFile implements ImageFile {
  readonly readonly = false;
  #bytes: Uint8Array;
  #size: number;

  constructor(bytes: Uint8Array = new Uint8Array()) {
    this.#bytes = bytes;
    this.#size = bytes.length;
  }

  get size(): number {
    return this.#size;
  }

  /** What the file holds: a copy. */
  contents(): Uint8Array {
    return this.#bytes.slice(0, this.#size);
  }

  #reserve(size: number): void {
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(SMALLEST_ARRAY, size, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#size));
      this.#bytes = grown;
    }
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    if (offset + target.length > this.#size) {
      throw new VmxonError("io", `there is nothing at byte ${offset}: the image ends at ${this.#size}`);
    }
    target.set(this.#bytes.subarray(offset, offset + target.length));
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    this.#reserve(offset + source.length);
    this.#bytes.set(source, offset);
    this.#size = Math.max(this.#size, offset + source.length);
  }

  async truncate(size: number): Promise<void> {
    this.#reserve(size);
    if (size < this.#size) this.#bytes.fill(0, size, this.#size);
    this.#size = size;
  }

  async flush(): Promise<void> {}

  async discard(): Promise<void> {}

  async close(): Promise<void> {}
}
