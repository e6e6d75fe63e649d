/**
 * A qcow2 image as a medium: guest clusters are found through two levels of tables, allocated when they are first written, and
 * copied when something else refers to them too. qcow2.txt, "Cluster mapping".
 *
 * What may be lost in a crash: nothing that was flushed. New tables and counts stay in memory until a flush, which writes, each
 * step durable before the next: data and counts; L2 tables; the L1 table. Clusters that nothing leads to any more are counted
 * as free only after that, so that a crash wastes clusters at most.
 */
import { VmxonError } from "../../../common/errors.ts";
import type { BlockBackend } from "../../../hypervisor/backend.ts";
import { readPadded } from "../image-file.ts";
import { InOrder } from "../in-order.ts";
import { inflate } from "../inflate.ts";
import { type Table, TableCache } from "../table-cache.ts";
import { damaged, ENTRY, FIELD, l1Entries, type Qcow2Header, type Qcow2Snapshot, setU64 } from "./header.ts";
import { Refcounts } from "./refcounts.ts";

/** Bytes of L2 tables that are kept in memory. */
const CACHE_BYTES = 16 << 20;
const SMALLEST_CACHE = 8;
/** Most bytes that are allocated at a time. */
const RUN_BYTES = 4 << 20;
/** Most clusters that wait to be counted as free. */
const MOST_PENDING = 0x10000;
const SECTOR = 512;
const ENTRY_SIZE = 8;
const TWO_32 = 2 ** 32;

/** What an L2 entry says about its cluster. */
const KIND = { BACKING: 0, ZERO: 1, DATA: 2, COMPRESSED: 3 } as const;
type Kind = (typeof KIND)[keyof typeof KIND];

export interface Qcow2Options {
  /** For messages. */
  readonly name: string;
  /** Grows by writes at its end when the image may be written. Closed with the image. */
  readonly file: BlockBackend;
  readonly header: Qcow2Header;
  readonly readonly: boolean;
  /** What clusters that were never written show; closed with the image. */
  readonly backing?: BlockBackend | undefined;
  /** Show what this snapshot holds; read-only. */
  readonly snapshot?: Qcow2Snapshot | undefined;
}

/** Where a compressed cluster's data lie. */
export interface CompressedExtent {
  readonly offset: number;
  /** Bytes up to the end of the last sector; the stream may end before. */
  readonly length: number;
}

/** Bits of a compressed cluster's descriptor that are its offset. qcow2.txt, "Compressed Clusters Descriptor". */
const compressedOffsetBits = (clusterBits: number): bigint => BigInt(62 - (clusterBits - 8));

export function compressedExtent(high: number, low: number, clusterBits: number): CompressedExtent {
  const bits = compressedOffsetBits(clusterBits);
  const descriptor = ((BigInt(high >>> 0) & 0x3fff_ffffn) << 32n) | BigInt(low >>> 0);
  const offset = Number(descriptor & ((1n << bits) - 1n));
  const sectors = Number(descriptor >> bits) + 1;
  return { offset, length: sectors * SECTOR - (offset % SECTOR) };
}

export class Qcow2Image implements BlockBackend {
  readonly size: number;
  readonly readonly: boolean;
  readonly clusterSize: number;
  readonly #name: string;
  readonly #file: BlockBackend;
  readonly #backing: BlockBackend | undefined;
  readonly #header: Qcow2Header;
  readonly #l1Offset: number;
  readonly #l1: DataView;
  /** Entries of the L1 table that are not in the file yet: from, to (excluded). */
  #l1Dirty: { from: number; to: number } | undefined;
  readonly #l2: TableCache;
  /** Bytes of the disk that one L2 table describes. */
  readonly #span: number;
  /** Only when the image may be written. */
  #refcounts: Refcounts | undefined;
  /** Clusters to which one reference less will lead once everything is durable. */
  readonly #pending: number[] = [];
  readonly #order = new InOrder();
  /** The cluster that was decompressed last, and its entry. */
  #unpacked: { high: number; low: number; bytes: Uint8Array } | undefined;
  /** Where the next compressed cluster's data may begin; 0: in a new cluster. */
  #packAt = 0;

  private constructor(options: Qcow2Options, l1: DataView) {
    const { header, snapshot } = options;
    this.size = snapshot?.size ?? header.size;
    this.readonly = options.readonly || snapshot !== undefined;
    this.clusterSize = 2 ** header.clusterBits;
    this.#name = options.name;
    this.#file = options.file;
    this.#backing = options.backing;
    this.#header = header;
    this.#l1Offset = snapshot?.l1Offset ?? header.l1Offset;
    this.#l1 = l1;
    this.#span = this.clusterSize * (this.clusterSize / ENTRY_SIZE);
    const limit = Math.max(SMALLEST_CACHE, CACHE_BYTES / this.clusterSize);
    this.#l2 = new TableCache(options.file, { tableSize: this.clusterSize, limit });
  }

  /** Rejects with VmxonError("image") when the image may not be written as it is. Dirty images were repaired before. */
  static async open(options: Qcow2Options): Promise<Qcow2Image> {
    const { header, snapshot, file, name } = options;
    const entries = l1Entries(snapshot?.size ?? header.size, header.clusterBits);
    const l1 = new Uint8Array(entries * ENTRY_SIZE);
    await readPadded(file, snapshot?.l1Offset ?? header.l1Offset, l1);
    const image = new Qcow2Image(options, new DataView(l1.buffer));
    if (!image.readonly) {
      if (header.corrupt) throw damaged(name, "it is marked as corrupt and can only be read");
      image.#refcounts = await Refcounts.open({ name, file, header, isForeign: (offset) => image.#isTable(offset) });
      if (header.autoclear) {
        await file.write(FIELD.autoclear, new Uint8Array(8));
        await file.flush();
      }
    }
    return image;
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#order.run(() => this.#read(offset, target));
  }

  write(offset: number, source: Uint8Array): Promise<void> {
    if (this.readonly) return Promise.reject(new VmxonError("io", `${this.#name} was opened read-only`));
    // The caller may use its buffer again before an earlier write is through.
    const data = source.slice();
    return this.#order.run(() => this.#write(offset, data));
  }

  flush(): Promise<void> {
    return this.readonly ? Promise.resolve() : this.#order.run(() => this.#commit());
  }

  discard(offset: number, length: number): Promise<void> {
    return this.readonly ? Promise.resolve() : this.#order.run(() => this.#discard(offset, length));
  }

  close(): Promise<void> {
    return this.#order.run(async () => {
      try {
        if (this.#refcounts) await this.#commit();
      } finally {
        await this.#file.close();
        await this.#backing?.close();
      }
    });
  }

  /**
   * Write one cluster in a compressed form: the bytes of a deflate stream (whose distances reach back 4 KB at most) that
   * gives `clusterSize` bytes. For images that are being made: a cluster that was written before keeps its old data's place.
   */
  writeCompressed(offset: number, stream: Uint8Array): Promise<void> {
    return this.#order.run(() => this.#writeCompressed(offset, stream));
  }

  /** Whether the cluster at this offset is none of the guest's: the header, counts, L1 table, or an L2 table in memory. */
  #isMetadata(offset: number): boolean {
    return this.#isTable(offset) || this.#refcounts!.holds(offset);
  }

  #isTable(offset: number): boolean {
    const l1End = this.#l1Offset + Math.max(1, this.#l1.byteLength);
    return offset < this.clusterSize || (offset >= this.#l1Offset && offset < l1End) || this.#l2.has(offset);
  }

  /** Offset of an L2 table; 0 where there is none. */
  #tableOffset(l1Index: number): number {
    const at = l1Index * ENTRY_SIZE;
    const high = this.#l1.getUint32(at) & ENTRY.OFFSET_HIGH;
    const offset = high * TWO_32 + ((this.#l1.getUint32(at + 4) & ~(SECTOR - 1)) >>> 0);
    if (offset === 0 || this.#l2.has(offset)) return offset;
    if (offset % this.clusterSize !== 0 || offset >= this.#file.size || this.#isTable(offset)) {
      throw damaged(this.#name, `L2 table ${l1Index} cannot be at byte ${offset}`);
    }
    if (this.#refcounts?.holds(offset)) throw damaged(this.#name, `L2 table ${l1Index} lies in the reference counts`);
    return offset;
  }

  async #table(l1Index: number): Promise<Table | undefined> {
    const offset = this.#tableOffset(l1Index);
    return offset === 0 ? undefined : this.#l2.load(offset);
  }

  #kind(view: DataView, index: number): Kind {
    const high = view.getUint32(index * ENTRY_SIZE);
    if ((high & ENTRY.COMPRESSED) !== 0) return KIND.COMPRESSED;
    const low = view.getUint32(index * ENTRY_SIZE + 4);
    if (this.#header.version === 3 && (low & ENTRY.ZERO) !== 0) return KIND.ZERO;
    return (high & ENTRY.OFFSET_HIGH) === 0 && low < SECTOR ? KIND.BACKING : KIND.DATA;
  }

  /** Where an entry's cluster lies in the file; 0: nowhere. Not for compressed clusters. */
  #host(view: DataView, index: number): number {
    const high = view.getUint32(index * ENTRY_SIZE) & ENTRY.OFFSET_HIGH;
    const offset = high * TWO_32 + ((view.getUint32(index * ENTRY_SIZE + 4) & ~(SECTOR - 1)) >>> 0);
    if (offset !== 0 && (offset % this.clusterSize !== 0 || offset >= this.#file.size)) {
      throw damaged(this.#name, `a cluster of the disk cannot be at byte ${offset}`);
    }
    return offset;
  }

  /** A cluster that may be written where it is. */
  #isOwn(view: DataView, index: number): boolean {
    return (view.getUint32(index * ENTRY_SIZE) & ENTRY.COPIED) !== 0 && this.#kind(view, index) === KIND.DATA;
  }

  async #read(offset: number, target: Uint8Array): Promise<void> {
    for (let done = 0; done < target.length; ) {
      const at = offset + done;
      const inSpan = at % this.#span;
      const room = Math.min(this.#span - inSpan, target.length - done);
      const table = await this.#table((at - inSpan) / this.#span);
      if (table) done += await this.#readRun(table.view, at, target.subarray(done, done + room));
      else {
        await this.#readBacking(at, target.subarray(done, done + room));
        done += room;
      }
    }
  }

  /** Read the clusters from `at` that are of one kind and follow one another in the file; how many bytes they were. */
  async #readRun(view: DataView, at: number, target: Uint8Array): Promise<number> {
    const size = this.clusterSize;
    const within = at % size;
    const first = ((at % this.#span) - within) / size;
    const most = Math.ceil((within + target.length) / size);
    const kind = this.#kind(view, first);
    if (kind === KIND.COMPRESSED) {
      const bytes = await this.#unpack(view.getUint32(first * ENTRY_SIZE), view.getUint32(first * ENTRY_SIZE + 4));
      const length = Math.min(size - within, target.length);
      target.set(bytes.subarray(within, within + length));
      return length;
    }
    const host = kind === KIND.DATA ? this.#host(view, first) : 0;
    let count = 1;
    while (count < most && this.#kind(view, first + count) === kind) {
      if (kind === KIND.DATA && this.#host(view, first + count) !== host + count * size) break;
      count++;
    }
    const length = Math.min(count * size - within, target.length);
    const part = target.subarray(0, length);
    if (kind === KIND.DATA) await readPadded(this.#file, host + within, part);
    else if (kind === KIND.ZERO) part.fill(0);
    else await this.#readBacking(at, part);
    return length;
  }

  async #readBacking(offset: number, target: Uint8Array): Promise<void> {
    if (this.#backing) await readPadded(this.#backing, offset, target);
    else target.fill(0);
  }

  /** A compressed cluster's bytes. */
  async #unpack(high: number, low: number): Promise<Uint8Array> {
    if (this.#unpacked?.high === high && this.#unpacked.low === low) return this.#unpacked.bytes;
    const extent = compressedExtent(high, low, this.#header.clusterBits);
    if (extent.offset < this.clusterSize || extent.offset >= this.#file.size) {
      throw damaged(this.#name, `a compressed cluster cannot be at byte ${extent.offset}`);
    }
    const packed = new Uint8Array(extent.length);
    await readPadded(this.#file, extent.offset, packed);
    const bytes = new Uint8Array(this.clusterSize);
    if (inflate(packed, bytes) !== bytes.length) throw damaged(this.#name, "a compressed cluster is too short");
    this.#unpacked = { high, low, bytes };
    return bytes;
  }

  /** The L2 table with this number, made or copied where there was none that is the disk's own. */
  async #ownTable(l1Index: number): Promise<Table> {
    const offset = this.#tableOffset(l1Index);
    const at = l1Index * ENTRY_SIZE;
    if (offset !== 0 && (this.#l1.getUint32(at) & ENTRY.COPIED) !== 0) return this.#l2.load(offset);
    const old = offset === 0 ? undefined : await this.#l2.load(offset);
    const { first } = await this.#refcounts!.allocate(1);
    const table = this.#l2.create(first * this.clusterSize);
    if (old) {
      new Uint8Array(table.view.buffer).set(new Uint8Array(old.view.buffer));
      this.#pending.push(offset / this.clusterSize);
    }
    setU64(this.#l1, at, table.offset);
    this.#l1.setUint32(at, this.#l1.getUint32(at) | ENTRY.COPIED);
    const { from, to } = this.#l1Dirty ?? { from: l1Index, to: l1Index };
    this.#l1Dirty = { from: Math.min(from, l1Index), to: Math.max(to, l1Index + 1) };
    return table;
  }

  async #write(offset: number, source: Uint8Array): Promise<void> {
    for (let done = 0; done < source.length; ) {
      await this.#makeRoom();
      const at = offset + done;
      const inSpan = at % this.#span;
      const table = await this.#ownTable((at - inSpan) / this.#span);
      const room = Math.min(this.#span - inSpan, source.length - done);
      done += await this.#writeRun(table, at, source.subarray(done, done + room));
    }
  }

  /** Write the clusters from `at` that can be written together; how many bytes they were. */
  async #writeRun(table: Table, at: number, source: Uint8Array): Promise<number> {
    const size = this.clusterSize;
    const { view } = table;
    const within = at % size;
    const first = ((at % this.#span) - within) / size;
    const most = Math.min(Math.ceil((within + source.length) / size), Math.max(1, RUN_BYTES / size));
    const own = this.#isOwn(view, first);
    let count = 1;
    if (own) {
      const host = this.#host(view, first);
      while (count < most && this.#isOwn(view, first + count)) {
        if (this.#host(view, first + count) !== host + count * size) break;
        count++;
      }
      for (let index = 0; index < count; index++) {
        if (this.#isMetadata(host + index * size)) throw damaged(this.#name, "the disk and a table share a cluster");
      }
      const part = source.subarray(0, count * size - within);
      await this.#file.write(host + within, part);
      return part.length;
    }
    while (count < most && !this.#isOwn(view, first + count)) count++;
    const run = await this.#refcounts!.allocate(count);
    count = run.count;
    const part = source.subarray(0, count * size - within);
    try {
      await this.#fill(view, at, part, run.first * size, count);
    } catch (error) {
      for (let index = 0; index < count; index++) await this.#refcounts!.release(run.first + index);
      throw error;
    }
    this.#l2.changed(table, first * ENTRY_SIZE, (first + count) * ENTRY_SIZE);
    for (let index = 0; index < count; index++) {
      this.#letGo(view, first + index);
      const entry = (first + index) * ENTRY_SIZE;
      setU64(view, entry, (run.first + index) * size);
      view.setUint32(entry, view.getUint32(entry) | ENTRY.COPIED);
    }
    return part.length;
  }

  /** Write new clusters: what is not given of the first and the last is copied from what was there. */
  async #fill(view: DataView, at: number, source: Uint8Array, host: number, count: number): Promise<void> {
    const size = this.clusterSize;
    const before = at % size;
    const after = count * size - before - source.length;
    if (before === 0 && after === 0) return this.#file.write(host, source);
    const start = at - before;
    const first = (start % this.#span) / size;
    const last = start + (count - 1) * size;
    // Behind the file's end there are zeros already.
    const blank =
      host >= this.#file.size &&
      (before === 0 || this.#isBlank(view, first, start)) &&
      (after === 0 || this.#isBlank(view, first + count - 1, last));
    if (blank) return this.#file.write(host + before, source);
    const whole = new Uint8Array(count * size);
    await this.#read(start, whole.subarray(0, before));
    whole.set(source, before);
    const end = before + source.length;
    const present = Math.max(0, Math.min(after, this.size - (start + end)));
    await this.#read(start + end, whole.subarray(end, end + present));
    return this.#file.write(host, whole);
  }

  /** Whether a cluster is known to be zero. */
  #isBlank(view: DataView, index: number, at: number): boolean {
    const kind = this.#kind(view, index);
    return kind === KIND.ZERO || (kind === KIND.BACKING && !this.#isBacked(at));
  }

  #isBacked(at: number): boolean {
    return this.#backing !== undefined && at < this.#backing.size;
  }

  /** What an entry leads to has one reference less, once the file says so. */
  #letGo(view: DataView, index: number): void {
    if (this.#kind(view, index) !== KIND.COMPRESSED) {
      const host = this.#host(view, index);
      if (host !== 0) this.#pending.push(host / this.clusterSize);
      return;
    }
    const high = view.getUint32(index * ENTRY_SIZE);
    const { offset, length } = compressedExtent(high, view.getUint32(index * ENTRY_SIZE + 4), this.#header.clusterBits);
    const last = Math.floor((offset + length - 1) / this.clusterSize);
    for (let cluster = Math.floor(offset / this.clusterSize); cluster <= last; cluster++) this.#pending.push(cluster);
    this.#unpacked = undefined;
  }

  async #discard(offset: number, length: number): Promise<void> {
    const size = this.clusterSize;
    const end = offset + length >= this.size ? Math.ceil(this.size / size) : Math.floor((offset + length) / size);
    const perTable = this.#span / size;
    for (let cluster = Math.ceil(offset / size); cluster < end; ) {
      const index = cluster % perTable;
      const l1Index = (cluster - index) / perTable;
      const count = Math.min(perTable - index, end - cluster);
      await this.#makeRoom();
      await this.#discardIn(l1Index, index, count);
      cluster += count;
    }
  }

  /** Discard clusters that one L2 table describes. */
  async #discardIn(l1Index: number, first: number, count: number): Promise<void> {
    const existing = await this.#table(l1Index);
    let table: Table | undefined;
    for (let index = first; index < first + count; index++) {
      // A cluster without an entry shows what the backing file has; version 2 knows no other way to say zero.
      const backed = this.#isBacked(l1Index * this.#span + index * this.clusterSize);
      if (backed && this.#header.version === 2) continue;
      const kind = existing ? this.#kind(existing.view, index) : KIND.BACKING;
      if (kind === KIND.BACKING && !backed) continue;
      if (kind === KIND.ZERO && this.#host(existing!.view, index) === 0) continue;
      table ??= await this.#ownTable(l1Index);
      this.#letGo(table.view, index);
      setU64(table.view, index * ENTRY_SIZE, backed ? ENTRY.ZERO : 0);
      this.#l2.changed(table, index * ENTRY_SIZE, (index + 1) * ENTRY_SIZE);
    }
  }

  /** Write everything when much waits. */
  async #makeRoom(): Promise<void> {
    if (this.#l2.crowded || this.#refcounts!.crowded || this.#pending.length > MOST_PENDING) await this.#commit();
  }

  async #commit(): Promise<void> {
    const refcounts = this.#refcounts!;
    await refcounts.write();
    if (this.#l2.dirty || this.#l1Dirty) {
      await this.#file.flush();
      await this.#l2.write();
      if (this.#l1Dirty) {
        await this.#file.flush();
        const [from, to] = [this.#l1Dirty.from * ENTRY_SIZE, this.#l1Dirty.to * ENTRY_SIZE];
        await this.#file.write(this.#l1Offset + from, new Uint8Array(this.#l1.buffer, from, to - from));
        this.#l1Dirty = undefined;
      }
    }
    await this.#file.flush();
    if (this.#pending.length === 0) return;
    for (const cluster of this.#pending.splice(0)) {
      await refcounts.release(cluster);
      // If it was an L2 table, something else may lie there from now on.
      this.#l2.forget(cluster * this.clusterSize);
    }
    // Nothing is left to be written when the image is closed: a file that was flushed stays as it is.
    await refcounts.write();
  }

  async #writeCompressed(offset: number, stream: Uint8Array): Promise<void> {
    await this.#makeRoom();
    const inSpan = offset % this.#span;
    const table = await this.#ownTable((offset - inSpan) / this.#span);
    const at = await this.#allocateBytes(stream.length);
    // Up to the end of the sector, which the descriptor includes. The next cluster's data may overwrite the rest.
    const padded = new Uint8Array(stream.length + ((SECTOR - ((at + stream.length) % SECTOR)) % SECTOR));
    padded.set(stream);
    await this.#file.write(at, padded);
    const sectors = Math.floor((at + stream.length - 1) / SECTOR) - Math.floor(at / SECTOR);
    const bits = compressedOffsetBits(this.#header.clusterBits);
    const index = inSpan / this.clusterSize;
    this.#letGo(table.view, index);
    table.view.setBigUint64(index * ENTRY_SIZE, (1n << 62n) | (BigInt(sectors) << bits) | BigInt(at));
    this.#l2.changed(table, index * ENTRY_SIZE, (index + 1) * ENTRY_SIZE);
  }

  /** A place for compressed data, behind those before where there is room. Every cluster touched has one reference more. */
  async #allocateBytes(length: number): Promise<number> {
    const refcounts = this.#refcounts!;
    const size = this.clusterSize;
    const current = Math.floor(this.#packAt / size);
    const room = this.#packAt === 0 ? 0 : size - (this.#packAt % size);
    if (room > 0 && length <= room && (await refcounts.retain(current))) return this.#pack(this.#packAt, length);
    const { first } = await refcounts.allocate(1);
    const joins = room > 0 && room < size && first === current + 1 && (await refcounts.retain(current));
    return this.#pack(joins ? this.#packAt : first * size, length);
  }

  #pack(at: number, length: number): number {
    const end = at + length;
    // At a cluster's end there is no room that is counted already.
    this.#packAt = end % this.clusterSize === 0 ? 0 : end;
    return at;
  }
}
