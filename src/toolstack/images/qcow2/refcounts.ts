/**
 * Reference counts of a qcow2 image's clusters: which are free, and how they are taken. qcow2.txt, "Host cluster management".
 *
 * Changes stay in memory until `write`, which puts counts into the file before anything that leads to them. A count that is
 * too high after a crash wastes a cluster; one that is too low would be the end of somebody's data, so that clusters are let
 * go only by who knows that nothing in the file leads to them any more.
 */
import { VmxonError } from "../../../common/errors.ts";
import type { BlockBackend } from "../../../hypervisor/backend.ts";
import { readPadded } from "../image-file.ts";
import { type Table, TableCache } from "../table-cache.ts";
import { damaged, FIELD, getU64, LIMIT, type Qcow2Header, setU64 } from "./header.ts";

/** Bytes of refcount blocks that are kept in memory. */
const CACHE_BYTES = 4 << 20;
const SMALLEST_CACHE = 4;
const ENTRY_SIZE = 8;

/** Reads and sets one count in a refcount block, by the width of counts. */
export interface CountFormat {
  readonly bits: number;
  /** Largest count; counts of 64 bits are cut off where numbers stop being exact. */
  readonly maximum: number;
  get(view: DataView, index: number): number;
  set(view: DataView, index: number, count: number): void;
}

export function countFormat(bits: number): CountFormat {
  switch (bits) {
    case 8:
      return { bits, maximum: 0xff, get: (v, i) => v.getUint8(i), set: (v, i, n) => v.setUint8(i, n) };
    case 16:
      return { bits, maximum: 0xffff, get: (v, i) => v.getUint16(i * 2), set: (v, i, n) => v.setUint16(i * 2, n) };
    case 32:
      return { bits, maximum: 0xffffffff, get: (v, i) => v.getUint32(i * 4), set: (v, i, n) => v.setUint32(i * 4, n) };
    case 64:
      return {
        bits,
        maximum: Number.MAX_SAFE_INTEGER,
        get: (v, i) => Math.min(getU64(v, i * 8), Number.MAX_SAFE_INTEGER),
        set: (v, i, n) => setU64(v, i * 8, n),
      };
    default: {
      // 1, 2 and 4 bits: the first count of a byte is in its lowest bits.
      const maximum = (1 << bits) - 1;
      const perByte = 8 / bits;
      return {
        bits,
        maximum,
        get: (v, i) => (v.getUint8(Math.floor(i / perByte)) >> ((i % perByte) * bits)) & maximum,
        set(v, i, n) {
          const at = Math.floor(i / perByte);
          const shift = (i % perByte) * bits;
          v.setUint8(at, (v.getUint8(at) & ~(maximum << shift)) | (n << shift));
        },
      };
    }
  }
}

export interface RefcountsDeps {
  readonly name: string;
  readonly file: BlockBackend;
  readonly header: Qcow2Header;
  /** Whether something other than refcounts is known to lie at this offset: header, L1, cached L2 tables. */
  isForeign(offset: number): boolean;
}

export class Refcounts {
  readonly format: CountFormat;
  readonly #deps: RefcountsDeps;
  readonly #clusterSize: number;
  /** Counts in one block. */
  readonly #perBlock: number;
  readonly #blocks: TableCache;
  #tableOffset: number;
  #table: DataView;
  /** Where blocks lie, so that nothing else is written there. */
  readonly #blockOffsets = new Set<number>();
  /** Entries of the table that are not in the file yet: from, to (excluded). */
  #tableDirty: { from: number; to: number } | undefined;
  /** No cluster below it is free. */
  #hint = 0;

  private constructor(deps: RefcountsDeps, table: DataView) {
    const { header, file } = deps;
    this.#deps = deps;
    this.#clusterSize = 2 ** header.clusterBits;
    this.format = countFormat(header.refcountBits);
    this.#perBlock = (this.#clusterSize * 8) / header.refcountBits;
    this.#tableOffset = header.refcountTableOffset;
    this.#table = table;
    for (let at = 0; at < table.byteLength; at += ENTRY_SIZE) {
      const offset = getU64(table, at);
      if (offset !== 0) this.#blockOffsets.add(offset);
    }
    const limit = Math.max(SMALLEST_CACHE, CACHE_BYTES / this.#clusterSize);
    this.#blocks = new TableCache(file, { tableSize: this.#clusterSize, limit });
  }

  static async open(deps: RefcountsDeps): Promise<Refcounts> {
    const { file, header } = deps;
    const table = new Uint8Array(header.refcountTableClusters * 2 ** header.clusterBits);
    await readPadded(file, header.refcountTableOffset, table);
    return new Refcounts(deps, new DataView(table.buffer));
  }

  /** Where the table lies, and its bytes. */
  get tableOffset(): number {
    return this.#tableOffset;
  }

  get tableLength(): number {
    return this.#table.byteLength;
  }

  /** So many changes wait that they should be written. */
  get crowded(): boolean {
    return this.#blocks.crowded;
  }

  /** Whether the table or a block lies at this offset. */
  holds(offset: number): boolean {
    return (
      (offset >= this.#tableOffset && offset < this.#tableOffset + this.#table.byteLength) ||
      this.#blockOffsets.has(offset)
    );
  }

  get #tableEntries(): number {
    return this.#table.byteLength / ENTRY_SIZE;
  }

  /** Offset of the block with this number; 0 where there is none. */
  #blockOffset(block: number): number {
    if (block >= this.#tableEntries) return 0;
    const offset = getU64(this.#table, block * ENTRY_SIZE);
    if (offset === 0) return 0;
    const { name, file, isForeign } = this.#deps;
    const inTable = offset >= this.#tableOffset && offset < this.#tableOffset + this.#table.byteLength;
    // A new block may not have been written yet.
    const inFile = offset < file.size || this.#blocks.has(offset);
    if (offset % this.#clusterSize !== 0 || !inFile || inTable || isForeign(offset)) {
      throw damaged(name, `refcount block ${block} cannot be at byte ${offset}`);
    }
    return offset;
  }

  async #block(block: number): Promise<Table | undefined> {
    const offset = this.#blockOffset(block);
    return offset === 0 ? undefined : this.#blocks.load(offset);
  }

  async get(cluster: number): Promise<number> {
    const block = await this.#block(Math.floor(cluster / this.#perBlock));
    return block ? this.format.get(block.view, cluster % this.#perBlock) : 0;
  }

  #put(block: Table, index: number, count: number): void {
    this.format.set(block.view, index, count);
    const at = Math.floor((index * this.format.bits) / 8);
    this.#blocks.changed(block, at, at + Math.max(1, this.format.bits / 8));
  }

  /** Set a count. Throws where there is no block for it, unless the count is 0. */
  async set(cluster: number, count: number): Promise<void> {
    const block = await this.#block(Math.floor(cluster / this.#perBlock));
    if (!block) {
      if (count === 0) return;
      throw damaged(this.#deps.name, `cluster ${cluster} has no reference count`);
    }
    this.#put(block, cluster % this.#perBlock, count);
    if (count === 0) this.#hint = Math.min(this.#hint, cluster);
  }

  /** One reference less. Throws where there was none. */
  async release(cluster: number): Promise<void> {
    const count = await this.get(cluster);
    if (count === 0) throw damaged(this.#deps.name, `cluster ${cluster} is in use and counted as free`);
    await this.set(cluster, count - 1);
  }

  /** One reference more; false where the count has no room for it. */
  async retain(cluster: number): Promise<boolean> {
    const count = await this.get(cluster);
    if (count >= this.format.maximum) return false;
    await this.set(cluster, count + 1);
    return true;
  }

  /** Take up to `wanted` free clusters that follow one another: the number of the first, and how many. */
  async allocate(wanted: number): Promise<{ first: number; count: number }> {
    for (let cluster = this.#hint; ; ) {
      const number = Math.floor(cluster / this.#perBlock);
      if (number >= this.#tableEntries) {
        await this.#growTable();
        // The old table's clusters are free now.
        cluster = this.#hint;
        continue;
      }
      const block = await this.#block(number);
      if (!block) {
        this.#addBlock(number, cluster);
        cluster++;
        continue;
      }
      const { view } = block;
      let index = cluster % this.#perBlock;
      while (index < this.#perBlock && this.format.get(view, index) !== 0) index++;
      cluster = number * this.#perBlock + index;
      if (index === this.#perBlock) continue;
      let count = 0;
      while (count < wanted && index + count < this.#perBlock && this.format.get(view, index + count) === 0) {
        this.#refuseForeign(cluster + count);
        this.#put(block, index + count, 1);
        count++;
      }
      this.#hint = cluster + count;
      return { first: cluster, count };
    }
  }

  #refuseForeign(cluster: number): void {
    const { name, isForeign } = this.#deps;
    const offset = cluster * this.#clusterSize;
    if (isForeign(offset) || this.holds(offset)) {
      throw damaged(
        name,
        `cluster ${cluster} is in use and counted as free; to repair it: vmxon image check -r all FILE`,
      );
    }
  }

  /** Make a block for clusters that have none, all of them free. It lies in one of them, and counts itself. */
  #addBlock(number: number, cluster: number): void {
    this.#refuseForeign(cluster);
    const offset = cluster * this.#clusterSize;
    const block = this.#blocks.create(offset);
    this.#blockOffsets.add(offset);
    this.#put(block, cluster % this.#perBlock, 1);
    setU64(this.#table, number * ENTRY_SIZE, offset);
    const { from, to } = this.#tableDirty ?? { from: number, to: number };
    this.#tableDirty = { from: Math.min(from, number), to: Math.max(to, number + 1) };
  }

  /**
   * Write all counts. New blocks are in the file before the table leads to them; what the file leads to is durable only after
   * the next flush.
   */
  async write(): Promise<void> {
    const { file } = this.#deps;
    await this.#blocks.write();
    const dirty = this.#tableDirty;
    if (!dirty) return;
    await file.flush();
    const { buffer } = this.#table;
    const [from, to] = [dirty.from * ENTRY_SIZE, dirty.to * ENTRY_SIZE];
    await file.write(this.#tableOffset + from, new Uint8Array(buffer, from, to - from));
    this.#tableDirty = undefined;
  }

  /**
   * Make a table that covers more clusters. It lies, after the blocks that count it, in the first clusters that the old one
   * did not cover; the header leads to it once it is durable.
   */
  async #growTable(): Promise<void> {
    const { name, file } = this.#deps;
    const size = this.#clusterSize;
    const oldEntries = this.#tableEntries;
    const oldOffset = this.#tableOffset;
    const oldClusters = this.#table.byteLength / size;
    const clusters = Math.min(oldClusters * 2, LIMIT.REFCOUNT_TABLE / size);
    if (clusters <= oldClusters) {
      throw new VmxonError("io", `${name} cannot become larger: its clusters are too small for so much data`);
    }
    await this.write();
    const first = oldEntries * this.#perBlock;
    const blocks = Math.ceil(clusters / (this.#perBlock - 1));
    const table = new DataView(new ArrayBuffer(clusters * size));
    new Uint8Array(table.buffer).set(new Uint8Array(this.#table.buffer));
    for (let index = 0; index < blocks + clusters; index++) this.#refuseForeign(first + index);
    for (let index = 0; index < blocks; index++) {
      const offset = (first + index) * size;
      const block = this.#blocks.create(offset);
      this.#blockOffsets.add(offset);
      setU64(table, (oldEntries + index) * ENTRY_SIZE, offset);
      const used = Math.min(this.#perBlock, blocks + clusters - index * this.#perBlock);
      for (let entry = 0; entry < used; entry++) this.#put(block, entry, 1);
    }
    const offset = (first + blocks) * size;
    await this.#blocks.write();
    await file.write(offset, new Uint8Array(table.buffer));
    await file.flush();
    const where = new DataView(new ArrayBuffer(12));
    setU64(where, 0, offset);
    where.setUint32(FIELD.refcountTableClusters - FIELD.refcountTableOffset, clusters);
    await file.write(FIELD.refcountTableOffset, new Uint8Array(where.buffer));
    await file.flush();
    this.#table = table;
    this.#tableOffset = offset;
    for (let index = 0; index < oldClusters; index++) await this.release(oldOffset / size + index);
  }
}
