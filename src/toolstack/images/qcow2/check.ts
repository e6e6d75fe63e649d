/**
 * Checks a qcow2 image: counts what its tables lead to, compares that with the reference counts, and repairs these. Every table
 * is read once, however often something leads to it.
 */
import { VmxonError } from "../../../common/errors.ts";
import type { BlockBackend } from "../../../hypervisor/backend.ts";
import { readPadded } from "../image-file.ts";
import { refcountClusters } from "./create.ts";
import { damaged, ENTRY, FIELD, getU64, INCOMPATIBLE, type Qcow2Header, readSnapshots, setU64 } from "./header.ts";
import { compressedExtent } from "./qcow2.ts";
import { countFormat, Refcounts } from "./refcounts.ts";

export type Repair = "none" | "leaks" | "all";

/** What a check has found; counts of what is still wrong after repairs, and of what was repaired. */
export interface CheckResult {
  /** The first of them, in words. */
  readonly problems: string[];
  corruptions: number;
  leaks: number;
  corruptionsFixed: number;
  leaksFixed: number;
  readonly totalClusters: number;
  allocatedClusters: number;
  fragmentedClusters: number;
  compressedClusters: number;
  /** Bytes up to the end of the last cluster in use. */
  endOffset: number;
}

const MOST_PROBLEMS = 100;
const MOST_CLUSTERS = 2 ** 28;
const MOST_L1_BYTES = 2 ** 30;
const L1_READ = 0x10000;
const ENTRY_SIZE = 8;
const SECTOR = 512;
const TWO_32 = 2 ** 32;

/** An entry whose COPIED flag is not what the counts say. */
interface Flag {
  readonly at: number;
  readonly high: number;
  readonly copied: boolean;
}

class Check {
  readonly result: CheckResult;
  readonly #name: string;
  readonly #file: BlockBackend;
  readonly #header: Qcow2Header;
  readonly #size: number;
  /** References to each cluster of the file, as they were found. */
  readonly #references: Uint32Array;
  /** L2 tables: how many L1 entries lead to each. */
  readonly #tables = new Map<number, number>();
  /** Those of the active L1 table: where its entry is, and the entry's upper half. */
  readonly #active = new Map<number, { at: number; high: number }>();
  readonly #wrongFlags: Flag[] = [];
  /** Things that no repair sets right. */
  #hopeless = 0;
  /** Counts that are too low, or cannot be found. */
  #wrongCounts = 0;
  readonly #leaks: { cluster: number; references: number }[] = [];
  /** Offsets of refcount blocks by number, and all clusters that counts take up. */
  readonly #blocks = new Map<number, number>();
  readonly #structure: number[] = [];

  constructor(name: string, file: BlockBackend, header: Qcow2Header) {
    this.#name = name;
    this.#file = file;
    this.#header = header;
    this.#size = 2 ** header.clusterBits;
    const clusters = Math.ceil(file.size / this.#size);
    if (clusters > MOST_CLUSTERS) throw new VmxonError("unsupported", `${name} has too many clusters to be checked`);
    this.#references = new Uint32Array(clusters);
    this.result = {
      problems: [],
      corruptions: 0,
      leaks: 0,
      corruptionsFixed: 0,
      leaksFixed: 0,
      totalClusters: Math.ceil(header.size / this.#size),
      allocatedClusters: 0,
      fragmentedClusters: 0,
      compressedClusters: 0,
      endOffset: 0,
    };
  }

  #note(problem: string): void {
    if (this.result.problems.length < MOST_PROBLEMS) this.result.problems.push(problem);
  }

  #bad(problem: string): void {
    this.#hopeless++;
    this.result.corruptions++;
    this.#note(`ERROR ${problem}`);
  }

  /** Something refers to these bytes; false when they cannot be in the file. */
  #refer(what: string, offset: number, length: number, times = 1): boolean {
    const last = Math.floor((offset + length - 1) / this.#size);
    if (offset === 0 || last >= this.#references.length) {
      this.#bad(`${what} at byte ${offset} is not in the file`);
      return false;
    }
    for (let cluster = Math.floor(offset / this.#size); cluster <= last; cluster++) this.#references[cluster]! += times;
    return true;
  }

  #referCluster(what: string, offset: number, times = 1): boolean {
    if (offset % this.#size === 0) return this.#refer(what, offset, this.#size, times);
    this.#bad(`${what} at byte ${offset} does not begin at a cluster`);
    return false;
  }

  /** Count everything that the image's tables lead to. */
  async count(): Promise<void> {
    const header = this.#header;
    this.#references[0]!++;
    await this.#l1(header.l1Offset, header.l1Size, 1, true);
    if (header.snapshotCount > 0) await this.#snapshots();
    for (const [offset, times] of this.#tables) await this.#l2(offset, times);
    await this.#countCounts();
    await this.#checkFlags();
    await this.#compare();
  }

  async #snapshots(): Promise<void> {
    const header = this.#header;
    const { snapshots, length } = await readSnapshots(this.#name, this.#file, header);
    this.#refer("the snapshot table", header.snapshotsOffset, length);
    const tables = new Map<string, { l1Offset: number; l1Size: number; times: number }>();
    let bytes = 0;
    for (const { l1Offset, l1Size } of snapshots) {
      const key = `${l1Offset} ${l1Size}`;
      const known = tables.get(key);
      if (known) known.times++;
      else {
        bytes += l1Size * ENTRY_SIZE;
        tables.set(key, { l1Offset, l1Size, times: 1 });
      }
    }
    if (bytes > MOST_L1_BYTES)
      throw new VmxonError("unsupported", `${this.#name} has too many snapshots to be checked`);
    for (const { l1Offset, l1Size, times } of tables.values()) await this.#l1(l1Offset, l1Size, times, false);
  }

  async #l1(offset: number, entries: number, times: number, active: boolean): Promise<void> {
    if (entries === 0 || !this.#refer("an L1 table", offset, entries * ENTRY_SIZE, times)) return;
    const view = new DataView(new ArrayBuffer(L1_READ));
    for (let done = 0; done < entries * ENTRY_SIZE; done += L1_READ) {
      const length = Math.min(L1_READ, entries * ENTRY_SIZE - done);
      await readPadded(this.#file, offset + done, new Uint8Array(view.buffer, 0, length));
      for (let at = 0; at < length; at += ENTRY_SIZE) {
        const high = view.getUint32(at);
        const table = hostOffset(high, view.getUint32(at + 4));
        if (table === 0 || !this.#referCluster("an L2 table", table, times)) continue;
        if (active) {
          if (this.#active.has(table)) this.#bad(`the L2 table at byte ${table} is used twice`);
          this.#active.set(table, { at: offset + done + at, high });
        }
        this.#tables.set(table, (this.#tables.get(table) ?? 0) + times);
      }
    }
  }

  async #l2(offset: number, times: number): Promise<void> {
    const { clusterBits, version } = this.#header;
    const active = this.#active.has(offset);
    const view = new DataView(new ArrayBuffer(this.#size));
    await readPadded(this.#file, offset, new Uint8Array(view.buffer));
    let next = 0;
    for (let at = 0; at < this.#size; at += ENTRY_SIZE) {
      const high = view.getUint32(at);
      const low = view.getUint32(at + 4);
      if ((high & ENTRY.COMPRESSED) !== 0) {
        const extent = compressedExtent(high, low, clusterBits);
        if (!this.#refer("a compressed cluster", extent.offset, extent.length, times) || !active) continue;
        this.result.allocatedClusters++;
        this.result.compressedClusters++;
        this.result.fragmentedClusters++;
        continue;
      }
      const host = hostOffset(high, low);
      if (host === 0 || !this.#referCluster("a cluster of the disk", host, times) || !active) continue;
      if (version === 3 && (low & ENTRY.ZERO) !== 0) continue;
      this.result.allocatedClusters++;
      if (next !== 0 && host !== next) this.result.fragmentedClusters++;
      next = host + this.#size;
    }
  }

  /** Count what the reference counts take up themselves. */
  async #countCounts(): Promise<void> {
    const { refcountTableOffset, refcountTableClusters } = this.#header;
    const length = refcountTableClusters * this.#size;
    const table = new DataView(new ArrayBuffer(length));
    await readPadded(this.#file, refcountTableOffset, new Uint8Array(table.buffer));
    this.#refer("the refcount table", refcountTableOffset, length);
    for (let cluster = 0; cluster < refcountTableClusters; cluster++) {
      this.#structure.push(refcountTableOffset / this.#size + cluster);
    }
    const seen = new Set<number>();
    for (let block = 0; block * ENTRY_SIZE < length; block++) {
      const offset = getU64(table, block * ENTRY_SIZE);
      if (offset === 0) continue;
      if (offset % this.#size !== 0 || offset / this.#size >= this.#references.length || seen.has(offset)) {
        this.#wrongCounts++;
        this.result.corruptions++;
        this.#note(`ERROR refcount block ${block} cannot be at byte ${offset}`);
        continue;
      }
      seen.add(offset);
      this.#blocks.set(block, offset);
      this.#references[offset / this.#size]!++;
      this.#structure.push(offset / this.#size);
    }
  }

  /** Compare what was counted with what the image says. */
  async #compare(): Promise<void> {
    const format = countFormat(this.#header.refcountBits);
    const perBlock = (this.#size * 8) / format.bits;
    const view = new DataView(new ArrayBuffer(this.#size));
    const blocks = Math.max(Math.ceil(this.#references.length / perBlock), ...this.#lastBlock());
    for (let block = 0; block < blocks; block++) {
      const offset = this.#blocks.get(block);
      if (offset === undefined && block * perBlock >= this.#references.length) continue;
      if (offset === undefined) new Uint8Array(view.buffer).fill(0);
      else await readPadded(this.#file, offset, new Uint8Array(view.buffer));
      for (let index = 0; index < perBlock; index++) {
        const cluster = block * perBlock + index;
        const references = this.#references[cluster] ?? 0;
        const count = format.get(view, index);
        if (count > 0) this.result.endOffset = (cluster + 1) * this.#size;
        if (count === references) continue;
        const what = `cluster ${cluster} refcount=${count} reference=${references}`;
        if (count > references) {
          this.result.leaks++;
          this.#leaks.push({ cluster, references });
          this.#note(`Leaked ${what}`);
        } else {
          this.#wrongCounts++;
          this.result.corruptions++;
          this.#note(`ERROR ${what}`);
        }
      }
    }
  }

  #lastBlock(): number[] {
    return [...this.#blocks.keys()].slice(-1).map((block) => block + 1);
  }

  /** An entry says that its cluster is nobody else's: true exactly when there is one reference. */
  #checkFlag(what: string, at: number, high: number, host: number): void {
    const references = this.#references[host / this.#size];
    const copied = references === 1;
    if (((high & ENTRY.COPIED) !== 0) === copied) return;
    this.result.corruptions++;
    this.#note(`ERROR OFLAG_COPIED ${what}: entry at byte ${at} refcount=${references}`);
    this.#wrongFlags.push({ at, high, copied });
  }

  async #checkFlags(): Promise<void> {
    const view = new DataView(new ArrayBuffer(this.#size));
    for (const [table, { at, high }] of this.#active) {
      this.#checkFlag("L2 table", at, high, table);
      await readPadded(this.#file, table, new Uint8Array(view.buffer));
      for (let entry = 0; entry < this.#size; entry += ENTRY_SIZE) {
        const entryHigh = view.getUint32(entry);
        if ((entryHigh & ENTRY.COMPRESSED) !== 0) continue;
        const host = hostOffset(entryHigh, view.getUint32(entry + 4));
        if (host === 0 || host % this.#size !== 0 || host / this.#size >= this.#references.length) continue;
        this.#checkFlag("data cluster", table + entry, entryHigh, host);
      }
    }
  }

  /** Set right what can be set right. */
  async repair(repair: Repair): Promise<void> {
    const result = this.result;
    if (repair === "all" && (this.#wrongCounts > 0 || this.#wrongFlags.length > 0)) {
      if (this.#wrongCounts > 0) await this.#rebuild();
      else await this.#repairLeaks();
      for (const { at, high, copied } of this.#wrongFlags) {
        const word = new DataView(new ArrayBuffer(4));
        word.setUint32(0, copied ? high | ENTRY.COPIED : high & ~ENTRY.COPIED);
        await this.#file.write(at, new Uint8Array(word.buffer));
      }
      result.corruptionsFixed = result.corruptions - this.#hopeless;
      result.corruptions = this.#hopeless;
    } else await this.#repairLeaks();
    result.leaksFixed = result.leaks;
    result.leaks = 0;
    await this.#file.flush();
    if (repair === "all" && result.corruptions === 0 && (this.#header.dirty || this.#header.corrupt)) {
      await clearMarks(this.#file);
    }
  }

  /** Lower counts that are too high. */
  async #repairLeaks(): Promise<void> {
    const deps = { name: this.#name, file: this.#file, header: this.#header, isForeign: () => false };
    const refcounts = await Refcounts.open(deps);
    for (const { cluster, references } of this.#leaks) {
      await refcounts.set(cluster, references);
      if (refcounts.crowded) await refcounts.write();
    }
    await refcounts.write();
  }

  /** Write all reference counts anew, behind everything else; the old ones' clusters are free then. */
  async #rebuild(): Promise<void> {
    const size = this.#size;
    const { refcountBits } = this.#header;
    const references = this.#references;
    for (const cluster of this.#structure) references[cluster]!--;
    const format = countFormat(refcountBits);
    if (references.some((count) => count > format.maximum)) {
      throw damaged(this.#name, `some cluster is used more often than ${refcountBits} bits can count`);
    }
    const start = references.length;
    const { blocks, table: tableClusters } = refcountClusters(start, size, refcountBits);
    const perBlock = (size * 8) / refcountBits;
    const end = start + blocks + tableClusters;
    const table = new DataView(new ArrayBuffer(tableClusters * size));
    for (let block = 0; block < blocks; block++) {
      const view = new DataView(new ArrayBuffer(size));
      for (let index = 0; index < perBlock; index++) {
        const cluster = block * perBlock + index;
        format.set(view, index, references[cluster] ?? (cluster < end ? 1 : 0));
      }
      setU64(table, block * ENTRY_SIZE, (start + block) * size);
      await this.#file.write((start + block) * size, new Uint8Array(view.buffer));
    }
    const tableOffset = (start + blocks) * size;
    await this.#file.write(tableOffset, new Uint8Array(table.buffer));
    await this.#file.flush();
    const where = new DataView(new ArrayBuffer(12));
    setU64(where, 0, tableOffset);
    where.setUint32(FIELD.refcountTableClusters - FIELD.refcountTableOffset, tableClusters);
    await this.#file.write(FIELD.refcountTableOffset, new Uint8Array(where.buffer));
    await this.#file.flush();
    this.result.endOffset = end * size;
  }
}

/** Where an entry that is not compressed leads to; 0: nowhere. */
function hostOffset(high: number, low: number): number {
  return (high & ENTRY.OFFSET_HIGH) * TWO_32 + ((low & ~(SECTOR - 1)) >>> 0);
}

/** The image is neither dirty nor corrupt any more. Both bits lie in one byte. */
async function clearMarks(file: BlockBackend): Promise<void> {
  const at = FIELD.incompatible + 7;
  const byte = new Uint8Array(1);
  await file.read(at, byte);
  byte[0]! &= ~(INCOMPATIBLE.DIRTY | INCOMPATIBLE.CORRUPT);
  await file.write(at, byte);
  await file.flush();
}

/**
 * Check an image, and repair it when `repair` says so (the file must be writable then). Rejects with VmxonError when it cannot
 * be checked.
 */
export async function checkQcow2(options: {
  name: string;
  file: BlockBackend;
  header: Qcow2Header;
  repair: Repair;
}): Promise<CheckResult> {
  const { name, file, header, repair } = options;
  if (header.bitmaps) {
    throw new VmxonError(
      "unsupported",
      `${name} has dirty bitmaps, whose clusters vmxon does not know: qemu-img check ${name}`,
    );
  }
  const check = new Check(name, file, header);
  await check.count();
  if (repair !== "none") await check.repair(repair);
  return check.result;
}
