/**
 * The state of one vCPU and its view of memory: registers in the state page, the shadow tables and what fills them.
 * Everything in `processor` works on this class; it holds no instruction semantics itself.
 */
import { arithmeticFlags, EFLAGS, lazyCarry, lazyResult, OSZAPC } from "../isa/flags.ts";
import {
  FIELD,
  type FieldName,
  SEG,
  SEG_BASE,
  SEG_FIELD,
  SEG_STRIDE,
  STATE_SIZE,
  segmentField,
  VECTOR_GATE,
} from "../isa/state.ts";
import { MXCSR_RESET } from "../isa/vector/constants.ts";
import { RECORD } from "./interpreter/record.ts";
import { CODE_BITS, ENTRY, EXECUTE_TABLE, P2M, SHADOW, STATE, USER_TABLES, WRITE_TABLE } from "./memory-map.ts";
import { type Access, type Translation, walk } from "./paging.ts";
import { AR, BLOCKING, CR0, CR4, TYPE, VECTOR } from "./registers.ts";

/** Accesses to guest-physical memory that is not RAM. */
export interface MmioBus {
  mmioRead(gpa: number, bytes: 1 | 2 | 4): number;
  mmioWrite(gpa: number, bytes: 1 | 2 | 4, value: number): void;
}

/** What a CPU model is to the processor. */
export interface CpuIdentity {
  /** What EDX holds at reset: type, family, model and stepping (SDM 3A 9.1.3). */
  readonly signature: number;
  /** CPUID features, by the names that instruction rows use. */
  readonly has: (feature: string) => boolean;
}

/** CR4 bits by the feature that they came with (SDM 3A 2.5). */
const CR4_FEATURES: readonly (readonly [feature: string, bits: number])[] = [
  ["vme", CR4.VME | CR4.PVI],
  ["tsc", CR4.TSD],
  ["de", CR4.DE],
  ["pse", CR4.PSE],
  ["pae", CR4.PAE],
  ["msr", CR4.MCE],
  ["pge", CR4.PGE],
  ["mmx", CR4.PCE],
  ["fxsr", CR4.OSFXSR],
  ["sse", CR4.OSXMMEXCPT],
];

/** Thrown inside TypeScript semantics for a guest exception; caught where semantics are called, never outside. */
export class GuestFault {
  vector = 0;
  /** Error code; of #DB the bits for DR6. */
  error = 0;
  /** Raised behind the commit point of a task switch: it belongs to the instruction at `eip` of the new task. */
  newTask = false;
}

/** Bits of the mode key: what decoding depends on. */
export const MODE = { code32: 1, flat: 2, protected: 4 } as const;

/** p2m entry types, in the low bits of an entry; negative entries are MMIO or nothing. */
export const P2M_TYPE = { ram: 0, rom: 1 } as const;

/** Index in `i32` of each single field of the state page, and of the first segment record. */
const WORD = Object.fromEntries(
  Object.entries(FIELD).map(([name, field]) => [name, (STATE + field.offset) >> 2]),
) as Readonly<Record<FieldName, number>>;
const FIRST_SEGMENT = (STATE + SEG_BASE) >> 2;
const SEGMENT_WORDS = SEG_STRIDE >> 2;

const PAGE = 4096;
const FILL_CAPACITY = 1 << 16;

export class Cpu {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly view: DataView;
  readonly bus: MmioBus;
  /** CR4 bits that the model has: setting others is #GP. */
  readonly cr4Valid: number;
  readonly #signature: number;
  /** Called when a write hits a granule that holds decoded code: machine offset and length. */
  onCodeWrite: (machine: number, bytes: number) => void = () => {};
  /** Time-stamp counter as the guest reads it in the operation at `pc`; the processor fills this in. */
  tsc: (pc: number) => bigint = () => 0n;
  /** FERR#: an x87 instruction waits for the handling of an error while CR0.NE is clear. */
  onFerr: () => void = () => {};
  /** What the guest added to its time-stamp counter by writing it. */
  tscOffset = 0n;
  readonly #fault = new GuestFault();
  /** Word indices of filled shadow entries, non-global and global, for flushing. */
  readonly #fills = new Int32Array(FILL_CAPACITY);
  #fillCount = 0;
  readonly #globalFills = new Int32Array(FILL_CAPACITY);
  #globalCount = 0;
  /** 4 MiB regions in which a large page was cut into entries, so that INVLPG must clear them all. */
  readonly #largeRegions = new Uint8Array(1024);
  readonly #translation: Translation = { machine: 0, gpa: 0, global: false, large: false };

  constructor(memory: WebAssembly.Memory, bus: MmioBus, model: CpuIdentity) {
    this.memory = memory;
    this.u8 = new Uint8Array(memory.buffer);
    this.i32 = new Int32Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.bus = bus;
    this.#signature = model.signature;
    this.cr4Valid = CR4_FEATURES.reduce((all, [feature, bits]) => (model.has(feature) ? all | bits : all), 0);
    this.i32.fill(ENTRY.none, SHADOW.readSupervisor >> 2, (SHADOW.executeUser + WRITE_TABLE) >> 2);
    this.i32.fill(-1, P2M >> 2, (P2M >> 2) + (1 << 20));
  }

  // ---- registers ------------------------------------------------------------------------------------------------

  /** Low 32 bits of a field, signed. */
  get(name: FieldName): number {
    return this.i32[WORD[name]]!;
  }

  set(name: FieldName, value: number): void {
    this.i32[WORD[name]] = value;
  }

  /** General register 0–7, signed 32 bits. */
  gpr(number: number): number {
    return this.i32[(STATE >> 2) + number * 2]!;
  }

  setGpr(number: number, value: number): void {
    this.i32[(STATE >> 2) + number * 2] = value;
  }

  gpr16(number: number): number {
    return this.i32[(STATE >> 2) + number * 2]! & 0xffff;
  }

  setGpr16(number: number, value: number): void {
    const at = (STATE >> 2) + number * 2;
    this.i32[at] = (this.i32[at]! & ~0xffff) | (value & 0xffff);
  }

  /** Byte at a slot of the register file (AL…BH as slots 0, 8, 16, 24, 1, 9, 17, 25). */
  byteSlot(slot: number): number {
    return this.u8[STATE + slot]!;
  }

  setByteSlot(slot: number, value: number): void {
    this.u8[STATE + slot] = value;
  }

  segment(segment: number, field: "base" | "limit" | "ar" | "selector"): number {
    const at = FIRST_SEGMENT + segment * SEGMENT_WORDS;
    // Written out: this is on the way of every far transfer and descriptor load.
    switch (field) {
      case "base":
        return this.i32[at + SEG_FIELD.base / 4]!;
      case "limit":
        return this.i32[at + SEG_FIELD.limit / 4]!;
      case "ar":
        return this.i32[at + SEG_FIELD.ar / 4]!;
      default:
        return this.i32[at + SEG_FIELD.selector / 4]!;
    }
  }

  /** Lowest or highest offset of a segment that may be read or written; unsigned. */
  bound(segment: number, which: "readLow" | "readHigh" | "writeLow" | "writeHigh"): number {
    return this.i32[(STATE + segmentField(segment, which)) >> 2]! >>> 0;
  }

  /** Load a segment register with its hidden part, and derive the bounds that accesses are checked against. */
  setSegment(segment: number, selector: number, base: number, limit: number, ar: number): void {
    const at = FIRST_SEGMENT + segment * SEGMENT_WORDS;
    this.entryChecked = false;
    this.i32[at] = base;
    this.i32[at + 1] = 0;
    this.i32[at + 2] = limit;
    this.i32[at + 3] = ar;
    this.i32[at + 4] = selector & 0xffff;
    let readLow = 1;
    let readHigh = 0;
    let writeLow = 1;
    let writeHigh = 0;
    if (!(ar & AR.UNUSABLE) && ar & AR.P) {
      // Types restrict nothing outside protected mode: real-mode programs write through CS.
      const real = !this.protectedMode;
      const code = !real && (ar & TYPE.CODE) !== 0;
      const down = !real && !code && (ar & TYPE.EXPAND_DOWN) !== 0;
      const low = down ? (limit + 1) >>> 0 : 0;
      const high = down ? (ar & AR.DB ? 0xffffffff : 0xffff) : limit >>> 0;
      const empty = down && limit >>> 0 >= high;
      if (!empty && (!code || ar & TYPE.READABLE)) {
        readLow = low;
        readHigh = high;
      }
      if (!empty && !code && (real || ar & TYPE.WRITABLE)) {
        writeLow = low;
        writeHigh = high;
      }
    }
    this.i32[at + 5] = readLow;
    this.i32[at + 6] = readHigh;
    this.i32[at + 7] = writeLow;
    this.i32[at + 8] = writeHigh;
  }

  /** Derive the bounds of all segments again: CR0.PE changed, and with it what types mean. */
  refreshBounds(): void {
    for (let segment: number = SEG.ES; segment <= SEG.GS; segment++) {
      this.setSegment(
        segment,
        this.segment(segment, "selector"),
        this.segment(segment, "base"),
        this.segment(segment, "limit"),
        this.segment(segment, "ar"),
      );
    }
  }

  /** Architectural EFLAGS. */
  eflags(): number {
    return this.get("eflags") | EFLAGS.FIXED | arithmeticFlags(this.get("flagsResult"), this.get("flagsCarry"));
  }

  /** Set EFLAGS as given; no privilege rules. */
  setEflags(value: number): void {
    this.set("eflags", (value & ~OSZAPC) | EFLAGS.FIXED);
    this.setArithmetic(value);
  }

  /** Set the six arithmetic flags only. */
  setArithmetic(value: number): void {
    this.set("flagsResult", lazyResult(value));
    this.set("flagsCarry", lazyCarry(value));
  }

  get cpl(): number {
    return this.get("cpl");
  }

  get protectedMode(): boolean {
    return (this.get("cr0") & CR0.PE) !== 0 && (this.get("eflags") & EFLAGS.VM) === 0;
  }

  get virtual8086(): boolean {
    return (this.get("eflags") & EFLAGS.VM) !== 0;
  }

  get iopl(): number {
    return (this.get("eflags") >> 12) & 3;
  }

  /** A guest exception to throw. */
  fault(vector: number, error = 0): GuestFault {
    this.#fault.vector = vector;
    this.#fault.error = error;
    this.#fault.newTask = false;
    return this.#fault;
  }

  /** Check that `bytes` at `linear` can be written, as a store of that size would find; throws the fault. */
  probeWrite(linear: number, bytes: number): void {
    this.readForWrite(linear, 1);
    const last = (linear + bytes - 1) | 0;
    if ((last ^ linear) & -PAGE) this.readForWrite(last & -PAGE, 1);
  }

  /** Work that string instructions did beyond their one tick of the preemption timer, in ticks. */
  extraWork = 0;

  /** No segment register was loaded since the last VM entry found them in order. */
  entryChecked = false;

  /** Set by INT n and its kin, which clear TF: no single-step trap follows them. */
  trapSuppressed = false;

  /** Recompute what follows from CS, SS, data segments, CPL and CR0: mode key and table bases. */
  updateMode(): void {
    const csAr = this.segment(SEG.CS, "ar");
    let key = csAr & AR.DB ? MODE.code32 : 0;
    if (this.protectedMode) {
      key |= MODE.protected;
      if (
        csAr & AR.DB &&
        this.#flat(SEG.CS, false) &&
        this.#flat(SEG.SS, true) &&
        this.#flat(SEG.DS, true) &&
        this.#flat(SEG.ES, true) &&
        this.segment(SEG.SS, "ar") & AR.DB
      ) {
        key |= MODE.flat;
      }
    }
    this.set("modeKey", key);
    this.updateVectorGate();
    const tables = SHADOW.readSupervisor + (this.cpl === 3 ? USER_TABLES : 0);
    this.set("readTable", tables);
    this.set("writeTable", tables + WRITE_TABLE);
  }

  /** Recompute which vector instructions CR0 and CR4 let through. */
  updateVectorGate(): void {
    const cr0 = this.get("cr0") & (CR0.EM | CR0.TS);
    const cr4 = this.get("cr4");
    const sse = cr0 !== 0 || !(cr4 & CR4.OSFXSR) ? VECTOR_GATE.sse : 0;
    const mmx = cr0 !== 0 ? VECTOR_GATE.mmx : 0;
    this.set("vectorGate", sse | mmx | (cr4 & CR4.OSXMMEXCPT ? 0 : VECTOR_GATE.exception));
  }

  #flat(segment: number, data: boolean): boolean {
    const at = FIRST_SEGMENT + segment * SEGMENT_WORDS;
    const i = this.i32;
    if (i[at] !== 0 || i[at + 5] !== 0 || i[at + 6] !== -1) return false;
    return !data || (i[at + 7] === 0 && i[at + 8] === -1);
  }

  // ---- the current operation, for helpers -----------------------------------------------------------------------

  /** EIP of the operation at `pc`. */
  currentEip(pc: number): number {
    return (this.get("startEip") + this.u8[pc + RECORD.offset]!) | 0;
  }

  nextEip(pc: number): number {
    return (this.currentEip(pc) + this.u8[pc + RECORD.length]!) | 0;
  }

  // ---- memory ---------------------------------------------------------------------------------------------------

  /** Machine offset of guest-physical `gpa` if it is RAM or ROM, else -1. */
  machineOf(gpa: number): number {
    if (gpa >= 0x1_0000_0000) return -1;
    const entry = this.i32[(P2M >> 2) + (gpa >>> 12)]!;
    return entry < 0 ? -1 : (entry & -PAGE) + (gpa & (PAGE - 1));
  }

  isRom(gpa: number): boolean {
    const entry = this.i32[(P2M >> 2) + (gpa >>> 12)]!;
    return entry >= 0 && (entry & 1) === P2M_TYPE.rom;
  }

  setP2m(frame: number, machine: number, type: number): void {
    this.i32[(P2M >> 2) + frame] = machine < 0 ? -1 : machine | type;
  }

  /**
   * Translate `linear` for an access, filling the shadow table; throws the page fault. The result is valid until the
   * next call.
   */
  translate(linear: number, access: Access, user: boolean): Translation {
    const t = this.#translation;
    walk(this, linear, access, user, t);
    const page = linear >>> 12;
    const base = (SHADOW.readSupervisor + (user ? USER_TABLES : 0)) >> 2;
    const table = access === "write" ? WRITE_TABLE >> 2 : access === "execute" ? EXECUTE_TABLE >> 2 : 0;
    let entry: number = ENTRY.slow;
    if (t.machine >= 0 && !(access === "write" && this.isRom(t.gpa))) {
      entry = t.machine & -PAGE;
      if (access === "write" && this.i32[(CODE_BITS + ((entry >>> 12) << 2)) >> 2] !== 0) entry |= ENTRY.code;
      else if (access === "write") this.#noteWritable(entry);
    }
    if (access === "execute" && t.machine < 0) entry = ENTRY.none;
    if (access !== "execute" && this.watched(page)) entry = ENTRY.slow;
    const index = base + table + page;
    if (this.i32[index] === ENTRY.none) this.#noteFill(index, t.global);
    this.i32[index] = entry;
    if (t.large) this.#largeRegions[page >>> 10] = 1;
    return t;
  }

  /**
   * Machine offset of the code byte at `linear`, or -1 when it is not in RAM or ROM; throws the fetch fault. What the
   * tables hold is believed, so that it does not matter where a run is cut.
   */
  fetch(linear: number): number {
    const user = this.#user();
    const table = (SHADOW.readSupervisor + (user ? USER_TABLES : 0) + EXECUTE_TABLE) >> 2;
    const entry = this.i32[table + (linear >>> 12)]!;
    return entry >= 0 ? entry + (linear & (PAGE - 1)) : this.translate(linear, "execute", user).machine;
  }

  /** The code byte at `linear`, for which {@link fetch} found no memory. */
  fetchMmio(linear: number): number {
    return this.bus.mmioRead(this.translate(linear, "execute", this.#user()).gpa, 1);
  }

  /** Pages with a data breakpoint: accesses to them take the slow path and are noted in {@link watchHits}. */
  watches: { readonly linear: number; readonly bytes: number; readonly write: boolean; readonly bit: number }[] = [];
  /** DR6 bits of the data breakpoints met by the current instruction. */
  watchHits = 0;

  watched(page: number): boolean {
    return this.watches.some((w) => w.linear >>> 12 === page);
  }

  #checkWatches(linear: number, bytes: number, write: boolean): void {
    for (const w of this.watches) {
      if (w.write && !write) continue;
      if (linear >>> 0 < (w.linear >>> 0) + w.bytes && w.linear >>> 0 < (linear >>> 0) + bytes) this.watchHits |= w.bit;
    }
  }

  #noteFill(index: number, global: boolean): void {
    if (global) {
      if (this.#globalCount === FILL_CAPACITY) this.flushAll();
      this.#globalFills[this.#globalCount++] = index;
    } else {
      if (this.#fillCount === FILL_CAPACITY) this.flushAll();
      this.#fills[this.#fillCount++] = index;
    }
  }

  /** Machine pages that have (or had) a fast write entry, so that {@link protectCode} knows when to look. */
  readonly #writable = new Uint8Array(1 << 20);

  #noteWritable(machine: number): void {
    this.#writable[machine >>> 12] = 1;
  }

  /** Machine page `machine` now holds code: turn its fast write entries into code entries. */
  protectCode(machine: number): void {
    const page = machine >>> 12;
    if (!this.#writable[page]) return;
    this.#writable[page] = 0;
    const entry = page << 12;
    for (const [list, count] of [
      [this.#fills, this.#fillCount],
      [this.#globalFills, this.#globalCount],
    ] as const) {
      for (let i = 0; i < count; i++) {
        const index = list[i]!;
        if (this.i32[index] === entry && isWriteIndex(index)) this.i32[index] = entry | ENTRY.code;
      }
    }
  }

  /** Drop every translation. */
  flushAll(): void {
    this.flushNonGlobal();
    for (let i = 0; i < this.#globalCount; i++) this.i32[this.#globalFills[i]!] = ENTRY.none;
    this.#globalCount = 0;
    this.#largeRegions.fill(0);
  }

  /** Drop translations that are not global: a CR3 load. */
  flushNonGlobal(): void {
    for (let i = 0; i < this.#fillCount; i++) this.i32[this.#fills[i]!] = ENTRY.none;
    this.#fillCount = 0;
  }

  /** Drop the translations of one linear address, with its whole large page. */
  flushPage(linear: number): void {
    let first = linear >>> 12;
    let count = 1;
    if (this.#largeRegions[first >>> 10]) {
      first &= ~1023;
      count = 1024;
    }
    for (let table = SHADOW.readSupervisor; table <= SHADOW.executeUser; table += WRITE_TABLE) {
      const at = (table >> 2) + first;
      this.i32.fill(ENTRY.none, at, at + count);
    }
  }

  #user(): boolean {
    return this.cpl === 3;
  }

  /** Read 1, 2 or 4 bytes at a linear address with the current privilege; throws the fault. Unsigned. */
  read(linear: number, bytes: number): number {
    return this.#read(linear, bytes, this.#user(), "read");
  }

  /** As {@link read}, but needs write permission: the read half of a read-modify-write. */
  readForWrite(linear: number, bytes: number): number {
    return this.#read(linear, bytes, this.#user(), "write");
  }

  /** Read with supervisor privilege: descriptor tables, TSS. */
  readSystem(linear: number, bytes: number): number {
    return this.#read(linear, bytes, false, "read");
  }

  write(linear: number, bytes: number, value: number): void {
    this.#write(linear, bytes, value, this.#user());
  }

  writeSystem(linear: number, bytes: number, value: number): void {
    this.#write(linear, bytes, value, false);
  }

  #read(linear: number, bytes: number, user: boolean, access: Access): number {
    const inPage = linear & (PAGE - 1);
    if (inPage + bytes > PAGE) return this.#readCrossing(linear, bytes, user, access);
    const table = (SHADOW.readSupervisor + (user ? USER_TABLES : 0) + (access === "write" ? WRITE_TABLE : 0)) >> 2;
    const entry = this.i32[table + (linear >>> 12)]!;
    if (entry >= 0) return this.#load(entry + inPage, bytes);
    if (this.watches.length > 0) this.#checkWatches(linear, bytes, access === "write");
    const t = this.translate(linear, access, user);
    if (t.machine >= 0) return this.#load(t.machine, bytes);
    return this.bus.mmioRead(t.gpa, bytes as 1 | 2 | 4);
  }

  #readCrossing(linear: number, bytes: number, user: boolean, access: Access): number {
    this.translate(linear, access, user);
    this.translate(((linear + bytes - 1) & -PAGE) | 0, access, user);
    let value = 0;
    for (let i = 0; i < bytes; i++) value += this.#read((linear + i) | 0, 1, user, access) * 2 ** (8 * i);
    return value;
  }

  #write(linear: number, bytes: number, value: number, user: boolean): void {
    const inPage = linear & (PAGE - 1);
    if (inPage + bytes > PAGE) {
      this.translate(linear, "write", user);
      this.translate(((linear + bytes - 1) & -PAGE) | 0, "write", user);
      for (let i = 0; i < bytes; i++) this.#write((linear + i) | 0, 1, (value >>> (8 * i)) & 0xff, user);
      return;
    }
    const index = ((SHADOW.writeSupervisor + (user ? USER_TABLES : 0)) >> 2) + (linear >>> 12);
    let entry = this.i32[index]!;
    if (this.watches.length > 0) this.#checkWatches(linear, bytes, true);
    let machine = entry >= 0 ? entry + inPage : -1;
    if (machine < 0 && (entry & 3) !== 1) {
      const t = this.translate(linear, "write", user);
      if (t.machine < 0) {
        this.bus.mmioWrite(
          t.gpa,
          bytes as 1 | 2 | 4,
          bytes === 4 ? value >>> 0 : bytes === 2 ? value & 0xffff : value & 0xff,
        );
        return;
      }
      if (this.isRom(t.gpa)) return;
      machine = t.machine;
      entry = this.i32[index]!;
    } else if (machine < 0) {
      machine = (entry & 0x7ffff000) + inPage;
    }
    this.#storeMachine(machine, bytes, value);
    if (entry >= 0) return;
    if (this.i32[(CODE_BITS >> 2) + (machine >>> 12)] !== 0) {
      this.noteWrite(machine, bytes);
    } else if ((entry & 3) === 1) {
      // Nothing decoded is left in the page: make it fast again.
      this.i32[index] = entry & 0x7ffff000;
      this.#noteWritable(machine);
    }
  }

  /** A write to machine memory outside the engines: tell those who hold code decoded from it. */
  noteWrite(machine: number, bytes: number): void {
    const first = machine >>> 12;
    const last = (machine + bytes - 1) >>> 12;
    for (let page = first; page <= last; page++) {
      if (this.i32[(CODE_BITS >> 2) + page] !== 0) {
        this.onCodeWrite(machine, bytes);
        return;
      }
    }
  }

  #load(machine: number, bytes: number): number {
    if (bytes === 1) return this.u8[machine]!;
    if (bytes === 2) return this.view.getUint16(machine, true);
    return this.view.getUint32(machine, true);
  }

  #storeMachine(machine: number, bytes: number, value: number): void {
    if (bytes === 1) this.u8[machine] = value;
    else if (bytes === 2) this.view.setUint16(machine, value, true);
    else this.view.setInt32(machine, value, true);
  }

  /** Physical read for page walks; outside RAM all ones. */
  readPhysical32(gpa: number): number {
    const machine = this.machineOf(gpa);
    return machine < 0 ? -1 : this.view.getInt32(machine, true);
  }

  /** Physical write of accessed and dirty bits. */
  writePhysical32(gpa: number, value: number): void {
    const machine = this.machineOf(gpa);
    if (machine < 0 || this.isRom(gpa)) return;
    this.view.setInt32(machine, value, true);
    this.noteWrite(machine, 4);
  }

  /** Machine offset of `bytes` at `linear` if one fast entry covers them for this access, else -1. */
  direct(linear: number, bytes: number, write: boolean): number {
    const inPage = linear & (PAGE - 1);
    const entry = this.i32[(this.get(write ? "writeTable" : "readTable") >> 2) + (linear >>> 12)]!;
    return entry >= 0 && inPage + bytes <= PAGE ? entry + inPage : -1;
  }

  // ---- segmented access -----------------------------------------------------------------------------------------

  /** Linear address of `offset` in `segment` for an access of `bytes`; throws #SS or #GP. */
  linear(segment: number, offset: number, bytes: number, write: boolean): number {
    const at = FIRST_SEGMENT + segment * SEGMENT_WORDS;
    const low = this.i32[at + (write ? 7 : 5)]! >>> 0;
    const high = this.i32[at + (write ? 8 : 6)]! >>> 0;
    const o = offset >>> 0;
    if (o < low || o > high || high - o < bytes - 1) throw this.fault(segment === SEG.SS ? VECTOR.SS : VECTOR.GP, 0);
    return (this.i32[at]! + o) | 0;
  }

  get stackMask(): number {
    return this.segment(SEG.SS, "ar") & AR.DB ? -1 : 0xffff;
  }

  /** Push through SS; throws, changing nothing. */
  push(value: number, bytes: number): void {
    const mask = this.stackMask;
    const esp = this.gpr(4);
    const top = (esp - bytes) & mask;
    this.write(this.linear(SEG.SS, top, bytes, true), bytes, value);
    this.setGpr(4, (esp & ~mask) | top);
  }

  /** Value `depth` bytes above the stack top. */
  peek(depth: number, bytes: number): number {
    const offset = (this.gpr(4) + depth) & this.stackMask;
    return this.read(this.linear(SEG.SS, offset, bytes, false), bytes);
  }

  /** Move the stack pointer up by `bytes`. */
  release(bytes: number): void {
    const mask = this.stackMask;
    const esp = this.gpr(4);
    this.setGpr(4, (esp & ~mask) | ((esp + bytes) & mask));
  }

  // ---- reset ----------------------------------------------------------------------------------------------------

  /** Power-on state (SDM 3A 9.1.1), without the reset vector's high base: the BIOS is at F0000h. */
  reset(): void {
    this.u8.fill(0, STATE, STATE + STATE_SIZE);
    this.setEflags(EFLAGS.FIXED);
    this.set("cr0", CR0.ET | CR0.CD | CR0.NW);
    this.set("dr6", DR6_RESET);
    this.set("dr7", DR7_RESET);
    this.set("gdtrLimit", 0xffff);
    this.set("idtrLimit", 0xffff);
    for (const segment of [SEG.ES, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) this.setSegment(segment, 0, 0, 0xffff, REAL_DATA);
    this.setSegment(SEG.CS, 0xf000, 0xf0000, 0xffff, REAL_CODE);
    this.setSegment(SEG.LDTR, 0, 0, 0xffff, AR.P | 2);
    this.setSegment(SEG.TR, 0, 0, 0xffff, AR.P | 11);
    this.set("eip", 0xfff0);
    this.set("fcw", 0x40);
    this.set("mxcsr", MXCSR_RESET);
    this.set("faultVector", -1);
    this.set("a20Mask", -1);
    this.set("linkPointer", -1);
    this.setGpr(2, this.#signature);
    this.flushAll();
    this.updateMode();
  }

  /** Blocking by STI or MOV SS is over after one instruction. */
  endShadow(): void {
    this.set("interruptibility", this.get("interruptibility") & ~(BLOCKING.STI | BLOCKING.MOV_SS));
  }
}

/** Access rights of real-mode segments (SDM 3A 9.1.4). */
export const REAL_DATA = AR.P | AR.S | TYPE.WRITABLE | TYPE.ACCESSED;
export const REAL_CODE = AR.P | AR.S | TYPE.CODE | TYPE.READABLE | TYPE.ACCESSED;
const DR6_RESET = 0xffff0ff0 | 0;
const DR7_RESET = 0x400;

function isWriteIndex(index: number): boolean {
  const table = Math.floor((index * 4 - SHADOW.readSupervisor) / WRITE_TABLE);
  return table === 1 || table === 4;
}
