/** A file in memory whose power can fail: what was not flushed is there in part, or not at all. */
import type { ImageFile } from "../../../src/toolstack/images/image-file.ts";
import { SECTOR } from "./crash-model.ts";

export class CrashFile implements ImageFile {
  readonly readonly = false;
  /** What is durable, and what programs see. */
  #durable: Uint8Array;
  #current: Uint8Array;
  size: number;
  #pending: { offset: number; bytes: Uint8Array }[] = [];
  flushes = 0;

  constructor(durable: Uint8Array = new Uint8Array()) {
    this.#durable = durable.slice();
    this.#current = durable.slice();
    this.size = durable.length;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    target.set(this.#current.subarray(offset, offset + target.length));
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    if (offset + source.length > this.size) await this.truncate(offset + source.length);
    this.#current.set(source, offset);
    this.#pending.push({ offset, bytes: source.slice() });
  }

  async truncate(size: number): Promise<void> {
    if (size > this.#current.length) {
      const grown = new Uint8Array(size * 2);
      grown.set(this.#current.subarray(0, this.size));
      this.#current = grown;
    }
    this.size = size;
  }

  async flush(): Promise<void> {
    this.flushes++;
    this.#durable = this.#current.slice(0, this.size);
    this.#pending = [];
  }

  async discard(): Promise<void> {}

  async close(): Promise<void> {}

  /** What is in the file after a power failure: any of the sectors that were not flushed, in any order. */
  afterPowerFailure(random: (limit: number) => number): Uint8Array {
    const result = new Uint8Array(this.size);
    result.set(this.#durable.subarray(0, this.size));
    const share = random(5);
    for (const { offset, bytes } of this.#pending) {
      for (let at = 0; at < bytes.length; ) {
        const length = Math.min(SECTOR - ((offset + at) % SECTOR), bytes.length - at);
        if (random(4) < share) result.set(bytes.subarray(at, at + length), offset + at);
        at += length;
      }
    }
    return result;
  }
}
