/** Bytes of a firmware table, one field after the other. */
export class ByteWriter {
  readonly #bytes: number[] = [];

  get length(): number {
    return this.#bytes.length;
  }

  /** An unsigned number of `size` bytes, little-endian. */
  put(value: number, size: number): this {
    for (let i = 0; i < size; i++) this.#bytes.push(Math.floor(value / 2 ** (8 * i)) & 0xff);
    return this;
  }

  /** Numbers of one byte. */
  bytes(...values: readonly number[]): this {
    for (const value of values) this.#bytes.push(value);
    return this;
  }

  text(value: string): this {
    for (const c of value) this.#bytes.push(c.charCodeAt(0));
    return this;
  }

  /** Overwrite one byte. */
  set(at: number, value: number): void {
    this.#bytes[at] = value;
  }

  /** Zeros up to a multiple of `unit`. */
  align(unit: number): this {
    while (this.#bytes.length % unit !== 0) this.#bytes.push(0);
    return this;
  }

  done(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

/** What to add to bytes so that they sum to zero. */
export function checksum(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

/** The bytes with a checksum at `at`. */
export function summed(bytes: Uint8Array, at: number): Uint8Array {
  bytes[at] = 0;
  bytes[at] = checksum(bytes);
  return bytes;
}
