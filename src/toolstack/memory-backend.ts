/** Media in memory: a plain one, a copy-on-write overlay and padding. No host involved. */
import { VmxonError } from "../common/errors.ts";
import type { BlockBackend } from "../hypervisor/backend.ts";

/** A medium over bytes in memory. Writes change the caller's array. */
export class MemoryBackend implements BlockBackend {
  readonly size: number;
  readonly readonly: boolean;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, options: { readonly?: boolean } = {}) {
    this.#bytes = bytes;
    this.size = bytes.length;
    this.readonly = options.readonly ?? false;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    target.set(this.#bytes.subarray(offset, offset + target.length));
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    if (this.readonly) throw new VmxonError("io", "this medium is read-only");
    this.#bytes.set(source, offset);
  }

  async flush(): Promise<void> {}

  async discard(offset: number, length: number): Promise<void> {
    if (!this.readonly) this.#bytes.fill(0, offset, offset + length);
  }

  async close(): Promise<void> {}
}

/** Bytes that an overlay copies at the first write to them. */
const CLUSTER_SIZE = 0x10000;

/**
 * A copy-on-write overlay: reads come from `base` until they were written over; writes stay in memory and are lost when
 * the overlay is closed. It may be larger than its base: the rest reads as zero.
 */
export class OverlayBackend implements BlockBackend {
  readonly size: number;
  readonly readonly = false;
  readonly #base: BlockBackend;
  readonly #clusters = new Map<number, Uint8Array>();
  /** Writes are taken one after the other, since two may fill the same cluster. */
  #order: Promise<void> = Promise.resolve();

  constructor(base: BlockBackend, size = base.size) {
    this.#base = base;
    this.size = size;
  }

  /** Bytes of memory that the overlay holds. */
  get allocated(): number {
    return this.#clusters.size * CLUSTER_SIZE;
  }

  /** What was written, by offset. Once nothing is being written. */
  *written(): Iterable<{ readonly offset: number; readonly bytes: Uint8Array }> {
    for (const index of [...this.#clusters.keys()].sort((a, b) => a - b)) {
      const offset = index * CLUSTER_SIZE;
      yield { offset, bytes: this.#clusters.get(index)!.subarray(0, this.size - offset) };
    }
  }

  /** Take back a piece that {@link written} gave. Throws VmxonError("state") for what it cannot have given. */
  load(offset: number, bytes: Uint8Array): void {
    if (offset % CLUSTER_SIZE !== 0 || bytes.length > CLUSTER_SIZE)
      throw new VmxonError("state", `no cluster of an overlay has ${bytes.length} bytes at ${offset}`);
    const cluster = new Uint8Array(CLUSTER_SIZE);
    cluster.set(bytes);
    this.#clusters.set(offset / CLUSTER_SIZE, cluster);
  }

  async #readBase(offset: number, target: Uint8Array): Promise<void> {
    const present = Math.max(0, Math.min(target.length, this.#base.size - offset));
    if (present > 0) await this.#base.read(offset, target.subarray(0, present));
    target.fill(0, present);
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    await this.#order;
    for (let done = 0; done < target.length; ) {
      const at = offset + done;
      const within = at % CLUSTER_SIZE;
      const length = Math.min(CLUSTER_SIZE - within, target.length - done);
      const part = target.subarray(done, done + length);
      const cluster = this.#clusters.get(Math.floor(at / CLUSTER_SIZE));
      if (cluster) part.set(cluster.subarray(within, within + length));
      else await this.#readBase(at, part);
      done += length;
    }
  }

  write(offset: number, source: Uint8Array): Promise<void> {
    // The caller may use its buffer again before an earlier write is through.
    const data = source.slice();
    const result = this.#order.then(() => this.#store(offset, data));
    this.#order = result.catch(() => {});
    return result;
  }

  async #store(offset: number, source: Uint8Array): Promise<void> {
    for (let done = 0; done < source.length; ) {
      const at = offset + done;
      const index = Math.floor(at / CLUSTER_SIZE);
      const within = at % CLUSTER_SIZE;
      const length = Math.min(CLUSTER_SIZE - within, source.length - done);
      let cluster = this.#clusters.get(index);
      if (!cluster) {
        cluster = new Uint8Array(CLUSTER_SIZE);
        if (length < CLUSTER_SIZE) await this.#readBase(index * CLUSTER_SIZE, cluster);
        this.#clusters.set(index, cluster);
      }
      cluster.set(source.subarray(done, done + length), within);
      done += length;
    }
  }

  async flush(): Promise<void> {
    await this.#order;
  }

  /** Frees the memory of whole clusters. Behind the base's end they are zero then; over the base they are left alone. */
  discard(offset: number, length: number): Promise<void> {
    const first = Math.ceil(Math.max(offset, this.#base.size) / CLUSTER_SIZE);
    const end = Math.floor((offset + length) / CLUSTER_SIZE);
    const result = this.#order.then(() => {
      for (const index of this.#clusters.keys()) {
        if (index >= first && index < end) this.#clusters.delete(index);
      }
    });
    this.#order = result;
    return result;
  }

  async close(): Promise<void> {
    this.#clusters.clear();
    await this.#base.close();
  }
}

/** The same medium with writes refused, as a write-protect notch does. */
export class ReadOnlyBackend implements BlockBackend {
  readonly size: number;
  readonly readonly = true;
  readonly #base: BlockBackend;

  constructor(base: BlockBackend) {
    this.#base = base;
    this.size = base.size;
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#base.read(offset, target);
  }

  async write(): Promise<void> {
    throw new VmxonError("io", "this medium is read-only");
  }

  async flush(): Promise<void> {}

  async discard(): Promise<void> {}

  close(): Promise<void> {
    return this.#base.close();
  }
}

/** A base whose medium is larger than its file: the rest reads as zero, and a write there makes the file grow. */
export class PaddedBackend implements BlockBackend {
  readonly size: number;
  readonly readonly: boolean;
  readonly #base: BlockBackend;
  /** Bytes that the base holds by now. */
  #present: number;

  constructor(base: BlockBackend, size: number) {
    this.#base = base;
    this.#present = base.size;
    this.size = size;
    this.readonly = base.readonly;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    const present = Math.max(0, Math.min(target.length, this.#present - offset));
    if (present > 0) await this.#base.read(offset, target.subarray(0, present));
    target.fill(0, present);
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    await this.#base.write(offset, source);
    this.#present = Math.max(this.#present, offset + source.length);
  }

  flush(): Promise<void> {
    return this.#base.flush();
  }

  async discard(offset: number, length: number): Promise<void> {
    const present = Math.min(length, this.#present - offset);
    if (present > 0) await this.#base.discard(offset, present);
  }

  close(): Promise<void> {
    return this.#base.close();
  }
}
