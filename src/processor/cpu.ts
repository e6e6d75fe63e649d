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
import { AddressSpaces, type FillFunctions } from "./address-spaces.ts";
import { RECORD } from "./interpreter/record.ts";
import {
  CODE_BITS,
  EXECUTE_TABLE,
  MMU,
  P2M,
  SHADOW,
  STATE,
  TABLE_ENTRIES,
  USER_TABLES,
  WRITE_TABLE,
} from "./memory-map.ts";
import { FILL, PAE_HIGH_ADDRESS, PAGE_ACCESS, PTE } from "./paging.ts";
import { AR, BLOCKING, CR0, CR4, TYPE, VECTOR } from "./registers.ts";
import { CODE_MARK, isCodeEntry, isPlain, noEntry } from "./shadow.ts";

/** Accesses to guest-physical memory that is not RAM; writes to ROM among them. */
export interface MmioBus {
  mmioRead(gpa: number, bytes: 1 | 2 | 4): number;
  mmioWrite(gpa: number, bytes: 1 | 2 | 4, value: number): void;
  /**
   * Whether an access must not be made in the midst of a stay in the guest: the engine then leaves before the instruction
   * with an EPT violation, and the hypervisor has it done alone. Absent: none.
   */
  mmioWaits?(gpa: number, bytes: 1 | 2 | 4, write: boolean, value: number): boolean;
}

/**
 * A hypervisor that serves IN and OUT without an exit, on the spot, as its handler of the exit would: only where nothing
 * else about the exit matters (no trap or breakpoint behind the instruction). `pc` is the operation.
 */
export interface InlinePorts {
  /** False: the access exits. */
  accepts(port: number): boolean;
  read(pc: number, port: number, bytes: 1 | 2 | 4): number;
  /** `value` may have bits above its size. */
  write(pc: number, port: number, bytes: 1 | 2 | 4, value: number): void;
  /** After a look at the time: true when the hypervisor wants to call somebody back before the next instruction. */
  due(): boolean;
  /** After an access: true when the hypervisor wants to look at something before the next instruction. */
  attention(pc: number): boolean;
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

/** A data breakpoint: its bytes, whether only writes hit it, and its bit in DR6. */
export interface Watch {
  readonly linear: number;
  readonly bytes: number;
  readonly write: boolean;
  readonly bit: number;
}

/** In place of an exception's vector: the instruction makes an access that must wait (`MmioBus.mmioWaits`). */
export const MUST_WAIT = 0x100;

/** Put a guest fault that was thrown where generated code looks for it; throws anything else again. */
export function leaveFault(cpu: Cpu, fault: unknown): asserts fault is GuestFault {
  if (!(fault instanceof GuestFault)) throw fault;
  cpu.i32[WORD.faultError] = fault.error;
  cpu.i32[WORD.faultVector] = fault.vector;
}

/** Bits of the mode key: what decoding and compiling depend on. */
export const MODE = { code32: 1, flat: 2, protected: 4, user: 8 } as const;
/** Values that a mode key can have. */
export const MODE_KEYS = 16;

/** p2m entry types, in the low bits of an entry; negative entries are MMIO or nothing. */
export const P2M_TYPE = { ram: 0, rom: 1 } as const;

/** Index in `i32` of each single field of the state page: hot paths read by it, since names are looked up at run time. */
export const WORD = Object.fromEntries(
  Object.entries(FIELD).map(([name, field]) => [name, (STATE + field.offset) >> 2]),
) as Readonly<Record<FieldName, number>>;
/** The same for names that come as values: engines look them up in a map in half the time (13 ns against 25). */
const WORD_BY_NAME: ReadonlyMap<FieldName, number> = new Map(Object.entries(WORD) as [FieldName, number][]);
const FIRST_SEGMENT = (STATE + SEG_BASE) >> 2;
const SEGMENT_WORDS = SEG_STRIDE >> 2;

const PAGE = 4096;
/** MMU.devices while there is no memory of devices. */
const NO_DEVICES = 0x7fff_ffff;

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
  /** Ports without exits; undefined: every access that the controls name exits. */
  inlinePorts: InlinePorts | undefined;
  /** Ticks of the time-stamp counter since power-on, an integer, in the operation at `pc` (0: between stays in the guest). */
  ticks: (pc: number) => number = () => 0;
  /** Least ticks that an instruction takes, times 65536, and for how many instructions from now on that holds. */
  tickRate: () => { readonly step: number; readonly reach: number } = () => ({ step: 0, reach: 0 });
  /** Whether any of `bytes` at a machine offset, within one page, is decoded code. */
  coversCode: (machine: number, bytes: number) => boolean = () => false;
  /** FERR#: an x87 instruction waits for the handling of an error while CR0.NE is clear. */
  onFerr: () => void = () => {};
  /** What the guest added to its time-stamp counter by writing it, modulo 2^64: low and high word. */
  tscOffsetLow = 0;
  tscOffsetHigh = 0;
  /** Accesses that were answered by the bus, or by nobody, since power-on. */
  deviceAccesses = 0;
  readonly #fault = new GuestFault();
  #spaces: AddressSpaces | undefined;
  #fill: FillFunctions["fill"] = () => FILL.elsewhere;

  constructor(memory: WebAssembly.Memory, bus: MmioBus, model: CpuIdentity) {
    this.memory = memory;
    this.u8 = new Uint8Array(memory.buffer);
    this.i32 = new Int32Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.bus = bus;
    this.#signature = model.signature;
    this.cr4Valid = CR4_FEATURES.reduce((all, [feature, bits]) => (model.has(feature) ? all | bits : all), 0);
    // The upper half of each table is right as zero, and takes no host memory until it is used.
    for (let table = SHADOW.readSupervisor; table <= SHADOW.executeUser; table += WRITE_TABLE)
      this.i32.fill(noEntry(0), table >> 2, (table >> 2) + TABLE_ENTRIES / 2);
    this.i32.fill(-1, P2M >> 2, (P2M >> 2) + (1 << 20));
    this.i32[MMU.devices >> 2] = NO_DEVICES;
    this.i32.fill(-1, MMU.allOnes >> 2, (MMU.allOnes >> 2) + 2);
  }

  /** Take the paging functions of the interpreter's instance. Once, before anything else. */
  attach(functions: FillFunctions): void {
    this.#spaces = new AddressSpaces(this.i32, this.u8, functions);
    this.#fill = functions.fill;
  }

  /** The address spaces: what the shadow tables hold and remember. */
  get spaces(): AddressSpaces {
    if (!this.#spaces) throw new TypeError("the processor is not attached to its memory functions");
    return this.#spaces;
  }

  // ---- registers ------------------------------------------------------------------------------------------------

  /** Low 32 bits of a field, signed. */
  get(name: FieldName): number {
    return this.i32[WORD_BY_NAME.get(name)!]!;
  }

  set(name: FieldName, value: number): void {
    this.i32[WORD_BY_NAME.get(name)!] = value;
  }

  /** General register 0–7, signed 32 bits. */
  gpr(number: number): number {
    return this.i32[(STATE >> 2) + number * 2]!;
  }

  setGpr(number: number, value: number): void {
    this.i32[(STATE >> 2) + number * 2] = value;
  }

  /** Machine offset of a general register. */
  gprAddress(number: number): number {
    return STATE + number * 8;
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
    const { i32 } = this;
    return i32[WORD.eflags]! | EFLAGS.FIXED | arithmeticFlags(i32[WORD.flagsResult]!, i32[WORD.flagsCarry]!);
  }

  /** Set EFLAGS as given; no privilege rules. */
  setEflags(value: number): void {
    this.i32[WORD.eflags] = (value & ~OSZAPC) | EFLAGS.FIXED;
    this.setArithmetic(value);
  }

  /** Set the six arithmetic flags only. */
  setArithmetic(value: number): void {
    this.i32[WORD.flagsResult] = lazyResult(value);
    this.i32[WORD.flagsCarry] = lazyCarry(value);
  }

  get cpl(): number {
    return this.i32[WORD.cpl]!;
  }

  get protectedMode(): boolean {
    return (this.i32[WORD.cr0]! & CR0.PE) !== 0 && (this.i32[WORD.eflags]! & EFLAGS.VM) === 0;
  }

  get virtual8086(): boolean {
    return (this.i32[WORD.eflags]! & EFLAGS.VM) !== 0;
  }

  get iopl(): number {
    return (this.i32[WORD.eflags]! >> 12) & 3;
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
    this.#probe(linear, bytes, this.#privilege() | PAGE_ACCESS.write);
  }

  /** Check that `bytes` at `linear` can be read; throws the fault. */
  probeRead(linear: number, bytes: number): void {
    this.#probe(linear, bytes, this.#privilege());
  }

  /** Devices do not see it: they are accessed once, when it is certain that nothing faults. */
  #probe(linear: number, bytes: number, access: number): void {
    const last = (linear + bytes - 1) | 0;
    this.translate(linear, access);
    if ((last ^ linear) & -PAGE) this.translate(last & -PAGE, access);
  }

  /** No segment register was loaded since the last VM entry found them in order. */
  entryChecked = false;

  /** Set by INT n and its kin, which clear TF: no single-step trap follows them. */
  trapSuppressed = false;

  /** Recompute what follows from CS, SS, data segments, CPL and CR0: mode key and table bases. */
  updateMode(): void {
    const csAr = this.segment(SEG.CS, "ar");
    let key = (csAr & AR.DB ? MODE.code32 : 0) | (this.cpl === 3 ? MODE.user : 0);
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
    this.i32[WORD.modeKey] = key;
    this.updateVectorGate();
    const tables = SHADOW.readSupervisor + (this.cpl === 3 ? USER_TABLES : 0);
    this.i32[WORD.readTable] = tables;
    this.i32[WORD.writeTable] = tables + WRITE_TABLE;
  }

  /** Recompute which vector instructions CR0 and CR4 let through. */
  updateVectorGate(): void {
    const cr0 = this.i32[WORD.cr0]! & (CR0.EM | CR0.TS);
    const cr4 = this.i32[WORD.cr4]!;
    const sse = cr0 !== 0 || !(cr4 & CR4.OSFXSR) ? VECTOR_GATE.sse : 0;
    const mmx = cr0 !== 0 ? VECTOR_GATE.mmx : 0;
    this.i32[WORD.vectorGate] = sse | mmx | (cr4 & CR4.OSXMMEXCPT ? 0 : VECTOR_GATE.exception);
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
    return (this.i32[WORD.startEip]! + this.u8[pc + RECORD.offset]!) | 0;
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

  /** Map a guest page frame to a machine offset (negative: to nothing) of a P2M_TYPE. */
  setP2m(frame: number, machine: number, type: number): void {
    const entry = machine < 0 ? -1 : machine | type;
    if (this.i32[(P2M >> 2) + frame] === entry) return;
    this.flushAll();
    this.i32[(P2M >> 2) + frame] = entry;
  }

  /** Machine memory from `machine` on is memory of devices: what is written there is noted. */
  setDeviceMemory(machine: number): void {
    this.i32[MMU.devices >> 2] = machine;
  }

  /** Somebody else than the engines has written `bytes` at `machine`. */
  noteForeignWrite(machine: number, bytes: number): void {
    if (machine >= this.i32[MMU.devices >> 2]!) this.spaces.noteDeviceWrite(machine, bytes);
    this.noteWrite(machine, bytes);
  }

  /**
   * Translate `linear` for an access (PAGE_ACCESS), filling the shadow table: the machine offset, or FILL.elsewhere
   * when it is not RAM for this access ({@link walkedAddress} tells what then). Throws the page fault.
   */
  translate(linear: number, access: number): number {
    const machine = this.#fill(linear, access);
    if (machine !== FILL.fault) return machine;
    this.i32[WORD.faultVector] = -1;
    throw this.fault(VECTOR.PF, this.i32[WORD.faultError]!);
  }

  /** Guest-physical address that the last {@link translate} came to. */
  get walkedAddress(): number {
    return (this.i32[MMU.address >> 2]! >>> 0) + this.i32[(MMU.address >> 2) + 1]! * 2 ** 32;
  }

  /** Machine offset of `linear` at the current privilege if its table has a plain entry, else negative. */
  host(linear: number, write: boolean): number {
    const table = this.i32[write ? WORD.writeTable : WORD.readTable]! >> 2;
    return this.i32[table + (linear >>> 12)]! ^ linear;
  }

  /** The same for a store that {@link noteWrite} follows: pages that hold decoded code are among them. */
  hostForStore(linear: number): number {
    const host = this.host(linear, true);
    if (!isCodeEntry(host ^ linear, linear) || this.#watches.length > 0) return host;
    const machine = host ^ CODE_MARK;
    return this.i32[(CODE_BITS >> 2) + (machine >>> 12)] !== 0 ? machine : host;
  }

  /**
   * Machine offset of the code byte at `linear`, or negative when it is not in RAM or ROM; throws the fetch fault. What the
   * tables hold is believed, so that it does not matter where a run is cut.
   */
  fetch(linear: number): number {
    const table = (this.i32[WORD.readTable]! + EXECUTE_TABLE) >> 2;
    const host = this.i32[table + (linear >>> 12)]! ^ linear;
    return host >= 0 ? host : this.translate(linear, this.#privilege() | PAGE_ACCESS.fetch);
  }

  /** The code byte at `linear`, for which {@link fetch} found no memory. */
  fetchMmio(linear: number): number {
    this.translate(linear, this.#privilege() | PAGE_ACCESS.fetch);
    return this.bus.mmioRead(this.walkedAddress, 1);
  }

  #watches: readonly Watch[] = [];
  /** DR6 bits of the data breakpoints met by the current instruction. */
  watchHits = 0;

  /** Data breakpoints: while there are any, every access takes the slow path, and hits are noted in {@link watchHits}. */
  get watches(): readonly Watch[] {
    return this.#watches;
  }

  set watches(watches: readonly Watch[]) {
    if (watches.length > 0 || this.#watches.length > 0) this.flushAll();
    this.#watches = watches;
    this.i32[WORD.watching] = watches.length;
  }

  /** An engine runs, and nobody knows which of its instructions: accesses may have to wait. */
  running = false;

  #checkWait(gpa: number, bytes: number, write: boolean, value: number): void {
    if (this.running && this.bus.mmioWaits?.(gpa, bytes as 1 | 2 | 4, write, value)) throw this.fault(MUST_WAIT);
  }

  #checkWatches(linear: number, bytes: number, write: boolean): void {
    for (const w of this.watches) {
      if (w.write && !write) continue;
      if (linear >>> 0 < (w.linear >>> 0) + w.bytes && w.linear >>> 0 < (linear >>> 0) + bytes) this.watchHits |= w.bit;
    }
  }

  /** Machine page `machine` now holds code: writes to it must be seen. */
  protectCode(machine: number): void {
    this.spaces.protectCode(machine);
  }

  /** Drop every translation. */
  flushAll(): void {
    this.spaces.flushAll();
  }

  /** Drop the translations of one linear address, with its whole large page. */
  flushPage(linear: number): void {
    this.spaces.flushPage(linear);
  }

  /** Put a value into CR3: translations that are not global are those of another address space. */
  loadCr3(value: number): void {
    const old = this.i32[WORD.cr3]!;
    this.i32[WORD.cr3] = value;
    if (!(this.i32[WORD.cr0]! & CR0.PG)) return;
    const pae = (this.i32[WORD.cr4]! & CR4.PAE) !== 0;
    const mask = pae ? -32 : -PAGE;
    for (let quarter = 0; quarter < 4; quarter++)
      this.i32[(MMU.directories >> 2) + quarter] = pae ? this.#directory(value & mask, quarter) : this.#table(value);
    this.spaces.switch(old & mask, value & mask, pae);
  }

  /** Machine offset of the page directory that a page-directory-pointer entry names, or -1. */
  #directory(base: number, quarter: number): number {
    const at = ((base >>> 0) + quarter * 8) >>> 0;
    const entry = this.readPhysical32((at & this.i32[WORD.a20Mask]!) >>> 0);
    const high = this.readPhysical32(((at + 4) & this.i32[WORD.a20Mask]!) >>> 0);
    return entry & PTE.P && !(high & PAE_HIGH_ADDRESS) ? this.#table(entry) : -1;
  }

  /** Machine offset of a table of the guest's, from an entry that leads to it. */
  #table(entry: number): number {
    return this.machineOf((entry & this.i32[WORD.a20Mask]! & -PAGE) >>> 0);
  }

  /** PAGE_ACCESS of the current privilege. */
  #privilege(): number {
    return this.cpl === 3 ? PAGE_ACCESS.user : 0;
  }

  /** Read 1, 2 or 4 bytes at a linear address with the current privilege; throws the fault. Unsigned. */
  read(linear: number, bytes: number): number {
    return this.#read(linear, bytes, this.#privilege());
  }

  /** As {@link read}, but needs write permission: the read half of a read-modify-write. */
  readForWrite(linear: number, bytes: number): number {
    return this.#read(linear, bytes, this.#privilege() | PAGE_ACCESS.write);
  }

  /** Read with supervisor privilege: descriptor tables, TSS. */
  readSystem(linear: number, bytes: number): number {
    return this.#read(linear, bytes, 0);
  }

  write(linear: number, bytes: number, value: number): void {
    this.#write(linear, bytes, value, this.#privilege() | PAGE_ACCESS.write);
  }

  writeSystem(linear: number, bytes: number, value: number): void {
    this.#write(linear, bytes, value, PAGE_ACCESS.write);
  }

  /** Host address of `linear` by the table for `access`, if the entry is plain. */
  #host(linear: number, access: number): number {
    const table =
      SHADOW.readSupervisor +
      (access & PAGE_ACCESS.user ? USER_TABLES : 0) +
      (access & PAGE_ACCESS.write ? WRITE_TABLE : 0);
    return this.i32[(table >> 2) + (linear >>> 12)]! ^ linear;
  }

  #read(linear: number, bytes: number, access: number): number {
    const host = this.#host(linear, access);
    if (isPlain(host, bytes)) return this.#load(host, bytes);
    if ((linear & (PAGE - 1)) + bytes > PAGE) return this.#readCrossing(linear, bytes, access);
    if (this.#watches.length > 0) this.#checkWatches(linear, bytes, (access & PAGE_ACCESS.write) !== 0);
    const machine = this.translate(linear, access);
    if (machine >= 0) return this.#load(machine, bytes);
    const gpa = this.walkedAddress;
    // A read-modify-write finds ROM here: it can be read.
    const rom = this.machineOf(gpa);
    if (rom >= 0) return this.#load(rom, bytes);
    this.#checkWait(gpa, bytes, false, 0);
    this.deviceAccesses++;
    return this.bus.mmioRead(gpa, bytes as 1 | 2 | 4);
  }

  #readCrossing(linear: number, bytes: number, access: number): number {
    this.translate(linear, access);
    this.translate(((linear + bytes - 1) & -PAGE) | 0, access);
    let value = 0;
    for (let i = 0; i < bytes; i++) value += this.#read((linear + i) | 0, 1, access) * 2 ** (8 * i);
    return value;
  }

  #write(linear: number, bytes: number, value: number, access: number): void {
    let host = this.#host(linear, access);
    if (isPlain(host, bytes)) {
      this.#storeMachine(host, bytes, value);
      return;
    }
    if ((linear & (PAGE - 1)) + bytes > PAGE) {
      this.translate(linear, access);
      this.translate(((linear + bytes - 1) & -PAGE) | 0, access);
      for (let i = 0; i < bytes; i++) this.#write((linear + i) | 0, 1, (value >>> (8 * i)) & 0xff, access);
      return;
    }
    if (this.#watches.length > 0) this.#checkWatches(linear, bytes, true);
    if (isCodeEntry(host ^ linear, linear) && this.i32[(CODE_BITS >> 2) + ((host ^ CODE_MARK) >>> 12)] !== 0) {
      host ^= CODE_MARK;
    } else {
      // Where nothing decoded is left in the page, this makes it fast again.
      host = this.translate(linear, access);
      if (host < 0) {
        const gpa = this.walkedAddress;
        const shown = bytes === 4 ? value >>> 0 : bytes === 2 ? value & 0xffff : value & 0xff;
        this.#checkWait(gpa, bytes, true, shown);
        this.deviceAccesses++;
        this.bus.mmioWrite(gpa, bytes as 1 | 2 | 4, shown);
        return;
      }
    }
    this.#storeMachine(host, bytes, value);
    // While there are data breakpoints, no entry shows the write.
    if (this.#watches.length > 0) this.noteForeignWrite(host, bytes);
    else this.noteWrite(host, bytes);
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

  /** Physical read of a double word; outside RAM and ROM all ones. */
  readPhysical32(gpa: number): number {
    const machine = this.machineOf(gpa);
    return machine < 0 ? -1 : this.view.getInt32(machine, true);
  }

  /** Machine offset of `bytes` at `linear` if one fast entry covers them for this access, else -1. */
  direct(linear: number, bytes: number, write: boolean): number {
    const table = this.i32[write ? WORD.writeTable : WORD.readTable]! >> 2;
    const host = this.i32[table + (linear >>> 12)]! ^ linear;
    return isPlain(host, bytes) ? host : -1;
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

  /** Power-on state (SDM 3A 9.1.1): the first instruction is 16 bytes below 4 GB. */
  reset(): void {
    this.u8.fill(0, STATE, STATE + STATE_SIZE);
    this.setEflags(EFLAGS.FIXED);
    this.i32[WORD.cr0] = CR0.ET | CR0.CD | CR0.NW;
    this.i32[WORD.dr6] = DR6_RESET;
    this.i32[WORD.dr7] = DR7_RESET;
    this.i32[WORD.gdtrLimit] = 0xffff;
    this.i32[WORD.idtrLimit] = 0xffff;
    for (const segment of [SEG.ES, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) this.setSegment(segment, 0, 0, 0xffff, REAL_DATA);
    this.setSegment(SEG.CS, 0xf000, RESET_BASE, 0xffff, REAL_CODE);
    this.setSegment(SEG.LDTR, 0, 0, 0xffff, AR.P | 2);
    this.setSegment(SEG.TR, 0, 0, 0xffff, AR.P | 11);
    this.i32[WORD.eip] = 0xfff0;
    this.i32[WORD.fcw] = 0x40;
    this.i32[WORD.mxcsr] = MXCSR_RESET;
    this.i32[WORD.faultVector] = -1;
    this.i32[WORD.shadowAt] = -1;
    this.i32[WORD.resumeAt] = -1;
    this.i32[WORD.a20Mask] = -1;
    this.i32[WORD.linkPointer] = -1;
    this.setGpr(2, this.#signature);
    this.flushAll();
    this.updateMode();
  }

  /** RF as it is where `left` of the budget is left: an instruction done since IRET set it has cleared it. */
  settleResume(left: number): void {
    const at = this.i32[WORD.resumeAt]!;
    if (at < 0) return;
    if (at !== left) this.i32[WORD.eflags]! &= ~EFLAGS.RF;
    this.i32[WORD.resumeAt] = -1;
  }

  /** Blocking by STI or MOV SS is over after one instruction. */
  endShadow(): void {
    this.i32[WORD.interruptibility]! &= ~(BLOCKING.STI | BLOCKING.MOV_SS);
  }
}

/** Access rights of real-mode segments (SDM 3A 9.1.4). */
export const REAL_DATA = AR.P | AR.S | TYPE.WRITABLE | TYPE.ACCESSED;
export const REAL_CODE = AR.P | AR.S | TYPE.CODE | TYPE.READABLE | TYPE.ACCESSED;
const RESET_BASE = 0xffff0000 | 0;
const DR6_RESET = 0xffff0ff0 | 0;
const DR7_RESET = 0x400;
