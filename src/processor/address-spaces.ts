/**
 * Address spaces: what the shadow tables keep over loads of CR3. The tables belong to the current space; of the others
 * the fill log remembers which entries they used, and those that the guest's tables still justify are entered again when
 * the space comes back. So a guest that goes back and forth between processes pays no walks for it.
 */
import {
  CODE_BITS,
  FILL_LOG,
  FILL_LOG_RECORDS,
  FILL_RECORD,
  FILL_RECORD_BYTES,
  GLOBAL_FILLS,
  LARGE_REGION_COUNT,
  LARGE_REGIONS,
  MMU,
  mappingEpoch,
  SHADOW,
  TABLE_SHIFT,
  WRITABLE,
  WRITABLE_MANY,
  WRITE_TABLE,
} from "./memory-map.ts";
import { CODE_MARK, noEntry, plainEntry } from "./shadow.ts";

const PAGE = 4096;
/** Address spaces remembered beside the current one; the one left longest ago gives way. */
const MAX_SPACES = 32;
/** Entries restored at most by one CR3 load: the latest ones. */
const MAX_RESTORED = 256;
/** Pages of a 4 MiB region, as a power of two. */
const LARGE_REGION_SHIFT = 10;
/** No space: CR3 values in use have their low bits clear. */
const NO_SPACE = -1;

/** The WebAssembly functions on the fill log; see `fill-log.ts` and `paging.ts`. */
export interface FillFunctions {
  fill(linear: number, access: number): number;
  clearFills(from: number, to: number): void;
  clearGlobals(): void;
  restoreFills(from: number, to: number, pae: number): number;
}

export class AddressSpaces {
  readonly #counts = { loads: 0, restored: 0, dropped: 0, flushes: 0 };
  readonly #i32: Int32Array;
  readonly #u8: Uint8Array;
  readonly #functions: FillFunctions;
  /** By space: the table base that identifies it, and the numbers of its records, from and to. */
  readonly #base = new Int32Array(MAX_SPACES).fill(NO_SPACE);
  readonly #from = new Int32Array(MAX_SPACES);
  readonly #to = new Int32Array(MAX_SPACES);

  /** MMU.fills as of the last flush. */
  #fillsFlushed = 0;

  constructor(i32: Int32Array, u8: Uint8Array, functions: FillFunctions) {
    this.#i32 = i32;
    this.#u8 = u8;
    this.#functions = functions;
  }

  /**
   * Since power-on: loads of CR3 with paging on, entries put back by them, entries remembered that were no longer true,
   * times that everything was dropped, entries filled by walks, and page faults found by them.
   */
  get statistics(): Readonly<Record<"loads" | "restored" | "dropped" | "flushes" | "fills" | "faults", number>> {
    return { ...this.#counts, fills: this.#word(MMU.fills) >>> 0, faults: this.#word(MMU.faults) >>> 0 };
  }

  /**
   * Leave the space whose tables are at `from` (CR3 without its flags) for the one at `to`, which may be the same.
   * `directories` are the machine offsets of the page directories of `to`, in MMU.directories.
   */
  switch(from: number, to: number, pae: boolean): void {
    this.#counts.loads++;
    const head = this.#word(MMU.head);
    const start = this.#word(MMU.start);
    if (head !== start) {
      this.#functions.clearFills(start, head);
      const space = this.#place(from, head);
      this.#base[space] = from;
      this.#from[space] = start;
      this.#to[space] = head;
    }
    this.#i32[MMU.start >> 2] = head;
    const space = this.#base.indexOf(to);
    if (space < 0) return;
    const end = this.#to[space]!;
    // Distances from the head, since numbers wrap. What is overwritten meanwhile, or about to be, is not read.
    const age = (head - end) | 0;
    if (age < 0) return;
    const oldest = Math.min((head - this.#from[space]!) | 0, age + MAX_RESTORED, FILL_LOG_RECORDS - MAX_RESTORED);
    if (oldest <= age) return;
    const restored = this.#functions.restoreFills((head - oldest) | 0, end, pae ? 1 : 0);
    this.#counts.restored += restored;
    this.#counts.dropped += oldest - age - restored;
  }

  /** Where to remember the space at `base`: where it is, or in place of the one left longest ago. */
  #place(base: number, head: number): number {
    const known = this.#base.indexOf(base);
    if (known >= 0) return known;
    let oldest = 0;
    let age = -1;
    for (let i = 0; i < MAX_SPACES; i++) {
      if (this.#base[i] === NO_SPACE) return i;
      const mine = (head - this.#to[i]!) | 0;
      if (mine > age) {
        age = mine;
        oldest = i;
      }
    }
    return oldest;
  }

  /** Drop every entry, and all that is remembered. */
  flushAll(): void {
    // Whoever maps memory frame by frame calls this for each, before there is anything to drop.
    if (this.#word(MMU.fills) === this.#fillsFlushed) return;
    this.#fillsFlushed = this.#word(MMU.fills);
    this.#counts.flushes++;
    const head = this.#word(MMU.head);
    this.#functions.clearFills(this.#word(MMU.start), head);
    this.#functions.clearGlobals();
    this.#i32[MMU.start >> 2] = head;
    this.#base.fill(NO_SPACE);
    this.#u8.fill(0, LARGE_REGIONS, LARGE_REGIONS + LARGE_REGION_COUNT);
  }

  /** Drop the entries of one linear address (INVLPG), with its whole large page. Records of it are checked if used. */
  flushPage(linear: number): void {
    const page = linear >>> 12;
    const none = noEntry(linear);
    const large = this.#u8[LARGE_REGIONS + (page >>> LARGE_REGION_SHIFT)] !== 0;
    for (let table = SHADOW.readSupervisor; table <= SHADOW.executeUser; table += WRITE_TABLE) {
      if (large) {
        const first = (table >> 2) + (page & (-1 << LARGE_REGION_SHIFT));
        this.#i32.fill(none, first, first + (1 << LARGE_REGION_SHIFT));
      } else {
        this.#i32[(table >> 2) + page] = none;
      }
      this.#i32[mappingEpoch(table) >> 2]!++;
    }
  }

  /** Machine page `machine` now holds code: turn its plain write entries into code entries. */
  protectCode(machine: number): void {
    const word = (WRITABLE >> 2) + (machine >>> 12);
    const known = this.#i32[word]!;
    this.#i32[word] = 0;
    if (known === 0) return;
    if (known !== WRITABLE_MANY) {
      this.#protect(known, machine);
      return;
    }
    this.#forEachSlot((slot) => this.#protect(slot, machine));
  }

  /**
   * Which of `count` machine pages from `machine` on, which are memory of devices, were written since the last call: sets
   * their bytes in `written`; true when there were any. A page is taken for written once an entry for writing leads to it;
   * those entries are dropped, so that the next write shows again.
   */
  takeWritten(machine: number, count: number, written: Uint8Array): boolean {
    let any = false;
    let many = false;
    for (let page = 0; page < count; page++) {
      const word = (machine >>> 12) + page;
      const known = this.#i32[(WRITABLE >> 2) + word]!;
      // Pages with decoded code have no plain entries that would show it.
      if (known === 0 && this.#i32[(CODE_BITS >> 2) + word] === 0) continue;
      written[page] = 1;
      any = true;
      this.#i32[(WRITABLE >> 2) + word] = 0;
      if (known === WRITABLE_MANY) many = true;
      else if (known !== 0) this.#dropWrite(known, machine, machine + count * PAGE);
    }
    if (many) this.#forEachSlot((slot) => this.#dropWrite(slot, machine, machine + count * PAGE));
    return any;
  }

  /** `bytes` of device memory at `machine` were written by other ways than the tables: see {@link takeWritten}. */
  noteDeviceWrite(machine: number, bytes: number): void {
    for (let page = machine >>> 12; page <= (machine + bytes - 1) >>> 12; page++) {
      if (this.#i32[(WRITABLE >> 2) + page] === 0) this.#i32[(WRITABLE >> 2) + page] = WRITABLE_MANY;
    }
  }

  /** Drop the entry at address `slot` if it is a plain one for writing to [start, end). */
  #dropWrite(slot: number, start: number, end: number): void {
    if (!isWriteSlot(slot)) return;
    const linear = slot << 10;
    const machine = this.#word(slot) ^ linear;
    if (machine >= start && machine < end) this.#i32[slot >> 2] = noEntry(linear);
  }

  /** Addresses of all entries in use. */
  #forEachSlot(visit: (slot: number) => void): void {
    const head = this.#word(MMU.head);
    for (let number = this.#word(MMU.start); number !== head; number = (number + 1) | 0) {
      const record = FILL_LOG + (number & (FILL_LOG_RECORDS - 1)) * FILL_RECORD_BYTES;
      visit(this.#word(record + FILL_RECORD.slot) & -4);
    }
    const globals = this.#word(MMU.globalCount);
    for (let i = 0; i < globals; i++) visit(this.#word(GLOBAL_FILLS + i * 4));
  }

  /** If the entry at address `slot` is a plain one for writing to `machine`, mark it. */
  #protect(slot: number, machine: number): void {
    const linear = slot << 10;
    if (isWriteSlot(slot) && this.#word(slot) === plainEntry(machine, linear)) this.#i32[slot >> 2]! ^= CODE_MARK;
  }

  #word(address: number): number {
    return this.#i32[address >> 2]!;
  }
}

/** Whether an address is that of an entry for writing. */
function isWriteSlot(slot: number): boolean {
  const table = slot >>> TABLE_SHIFT;
  return table === SHADOW.writeSupervisor >>> TABLE_SHIFT || table === SHADOW.writeUser >>> TABLE_SHIFT;
}
