/**
 * Guest page walks (32-bit with PSE and PGE, PAE with NX; SDM 3A chapter 4) as one WebAssembly function, which enters
 * what it finds in the shadow tables and notes in the fill log what justified it.
 */
import { FIELD, type FieldName } from "../isa/state.ts";
import { call, type I32, i32, type Value } from "../wasm/expression.ts";
import { FunctionWriter, type Local } from "../wasm/function.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../wasm/module.ts";
import { count, type FillLog, recordFill, recordGlobal } from "./fill-log.ts";
import { LARGE_REGIONS, MMU, P2M, SHADOW, STATE, USER_TABLES, WRITE_TABLE } from "./memory-map.ts";
import { CR0, CR4, EFER, PF_ERROR, VECTOR } from "./registers.ts";
import { CODE_MARK, codeBitsOf, isNone } from "./shadow.ts";

/** What is asked of a page beside reading, as page-fault error codes name it (SDM 3A 4.7). */
export const PAGE_ACCESS = { write: PF_ERROR.write, user: PF_ERROR.user, fetch: PF_ERROR.fetch } as const;

/** What a fill returns instead of a machine offset: a page fault was raised, or the page is not RAM for this access. */
export const FILL = { fault: -1, elsewhere: -2 } as const;

/** Bits of page-table entries (SDM 3A 4.3, 4.4). RW and US are those of PAGE_ACCESS: rights are compared as they are. */
export const PTE = { P: 1, RW: 2, US: 4, A: 0x20, D: 0x40, PS: 0x80, G: 0x100 } as const;
/** Bits of a 4 MiB PDE that must be zero; 20–13 carry the address above 4 GiB (PSE-36), which we do not have. */
const PDE4M_RESERVED = 0x003fe000;
/** Bits of a 2 MiB PDE that must be zero. */
const PDE2M_RESERVED = 0x001fe000;
/** Reserved bits of the upper half of PAE entries with 36 physical address bits; bit 31 of it is NX. */
const PAE_HIGH_RESERVED = 0x7ffffff0;
/** Address bits 35-32 in the upper half of PAE entries. */
export const PAE_HIGH_ADDRESS = 0xf;
const NX_HIGH = -0x8000_0000;
const PAGE_MASK = -4096;
const IN_PAGE = 4095;
/** p2m entries: type bit of ROM. */
const P2M_ROM = 1;

const field = (name: FieldName): Value => i32.load(STATE, FIELD[name].offset);
const p2mEntry = (gpa: Value): Value => i32.load(i32.and(i32.shrU(gpa, 10), -4), P2M);

/** An entry of the guest's tables on its way through a walk. */
interface EntryLocals {
  /** Guest-physical address, and where that is in memory: all ones outside of it. */
  readonly gpa: Local;
  readonly at: Local;
  readonly low: Local;
  readonly high: Local;
}

interface WalkFunctions extends FillLog {
  /** (linear, PAGE_ACCESS, error flags) → FILL.fault. */
  readonly pageFault: FunctionReference;
  /** (guest-physical address, machine offset, value): set accessed and dirty bits. */
  readonly mark: FunctionReference;
}

/**
 * Declare and write `fill`: (linear, PAGE_ACCESS) → machine offset or FILL; a fault is left in the state page.
 * `codeWrite`: (machine, bytes), called when accessed and dirty bits are set in a page with code.
 */
export function defineFill(module: ModuleWriter, codeWrite: FunctionReference, log: FillLog): FunctionReference {
  const declare = (params: number, results: number, exported?: string): FunctionReference =>
    module.declare(
      { params: new Array<ValueType>(params).fill("i32"), results: new Array<ValueType>(results).fill("i32") },
      exported,
    );
  const fill = declare(2, 1, "fill");
  const functions: WalkFunctions = { ...log, pageFault: declare(3, 1), mark: declare(3, 0) };
  const write = (reference: FunctionReference, body: (f: FunctionWriter, ...params: Value[]) => void): void => {
    const f = new FunctionWriter(reference.type);
    body(f, ...f.params.map((p) => p.get));
    module.define(reference, f.finish());
  };

  write(functions.pageFault, (f, linear, access, flags) => {
    const nx = i32.and(i32.ne(i32.and(field("cr4"), CR4.PAE), 0), i32.ne(i32.and(field("efer"), EFER.NXE), 0));
    const shown = i32.select(nx, i32.const(-1), ~PF_ERROR.fetch);
    f.store32(STATE, i32.or(i32.and(access!, shown), flags!), FIELD.faultError.offset);
    f.store32(STATE, linear!, FIELD.cr2.offset);
    f.store32(STATE, VECTOR.PF, FIELD.faultVector.offset);
    count(f, MMU.faults);
    f.result(FILL.fault);
  });

  write(functions.mark, (f, gpa, machine, value) => {
    f.if(i32.and(p2mEntry(gpa!), P2M_ROM), () => f.return());
    f.store32(machine!, value!);
    f.if(codeBitsOf(machine!), () => f.do(call(codeWrite, machine!, 4)));
  });

  write(fill, (f, linear, access) => new Walk(f, functions, linear!, access!).write());
  return fill;
}

/** Writes the body of `fill`. */
class Walk {
  readonly #f: FunctionWriter;
  readonly #functions: WalkFunctions;
  readonly #linear: Value;
  readonly #access: Value;
  readonly #pde: EntryLocals;
  readonly #pte: EntryLocals;
  readonly #gpa: Local;
  readonly #gpaHigh: Local;
  readonly #global: Local;
  readonly #large: Local;

  constructor(f: FunctionWriter, functions: WalkFunctions, linear: Value, access: Value) {
    this.#f = f;
    this.#functions = functions;
    this.#linear = linear;
    this.#access = access;
    const entry = (): EntryLocals => ({
      gpa: f.local("i32"),
      at: f.local("i32"),
      low: f.local("i32"),
      high: f.local("i32"),
    });
    this.#pde = entry();
    this.#pte = entry();
    this.#gpa = f.local("i32");
    this.#gpaHigh = f.local("i32");
    this.#global = f.local("i32");
    this.#large = f.local("i32");
  }

  write(): void {
    const f = this.#f;
    f.set(this.#gpa, this.#linear);
    f.if(i32.and(field("cr0"), CR0.PG), () => {
      const cr4 = f.let(field("cr4"));
      f.if(
        i32.and(cr4, CR4.PAE),
        () => this.#walkPae(),
        () => this.#walk32(cr4),
      );
      const global = i32.and(i32.shrU(this.#pte.low.get, Math.log2(PTE.G)), i32.shrU(cr4, Math.log2(CR4.PGE)));
      f.set(this.#global, i32.and(global, 1));
    });
    this.#enter();
  }

  /** Give up with a page fault; `flags` say present and reserved. */
  #fault(flags: number): void {
    this.#f.return(call(this.#functions.pageFault, this.#linear, this.#access, flags));
  }

  /** Find and load the entry at a guest-physical address; `beyond` is non-zero when that lies above 4 GiB. */
  #load(entry: EntryLocals, gpa: Value, pae: boolean, beyond: I32 = 0): void {
    const f = this.#f;
    f.set(entry.gpa, i32.and(gpa, field("a20Mask")));
    const frame = f.let(p2mEntry(entry.gpa.get));
    const machine = i32.add(i32.and(frame, PAGE_MASK), i32.and(entry.gpa.get, IN_PAGE));
    const outside = beyond === 0 ? i32.ltS(frame, 0) : i32.or(i32.ltS(frame, 0), beyond);
    f.set(entry.at, i32.select(outside, MMU.allOnes, machine));
    f.set(entry.low, i32.load(entry.at.get));
    if (pae) f.set(entry.high, i32.load(entry.at.get, 4));
    f.if(i32.eqz(i32.and(entry.low.get, PTE.P)), () => this.#fault(0));
  }

  /** Fault unless `rights` allow the access (SDM 3A 4.6.1). */
  #check(rights: Value, noExecute: Value | undefined): void {
    const f = this.#f;
    const { write, user } = PAGE_ACCESS;
    // Supervisors write what is read-only while CR0.WP is clear.
    const writeMatters = i32.or(
      i32.shrU(i32.and(field("cr0"), CR0.WP), Math.log2(CR0.WP) - Math.log2(write)),
      i32.shrU(i32.and(this.#access, user), Math.log2(user) - Math.log2(write)),
    );
    const needed = f.let(i32.and(this.#access, i32.or(user, writeMatters)));
    let denied = i32.ne(i32.and(rights, needed), needed);
    if (noExecute) denied = i32.or(denied, i32.and(noExecute, i32.shrU(this.#access, Math.log2(PAGE_ACCESS.fetch))));
    f.if(denied, () => this.#fault(PF_ERROR.present));
  }

  /** Set the accessed bit, and in the entry that maps the page the dirty bit. */
  #mark(entry: EntryLocals, dirty: boolean): void {
    const f = this.#f;
    const shift = Math.log2(PTE.D) - Math.log2(PAGE_ACCESS.write);
    const bits = dirty ? i32.or(i32.shl(i32.and(this.#access, PAGE_ACCESS.write), shift), PTE.A) : i32.const(PTE.A);
    const marked = f.let(i32.or(entry.low.get, bits));
    f.if(i32.ne(marked, entry.low.get), () => {
      f.set(entry.low, marked);
      f.do(call(this.#functions.mark, entry.gpa.get, entry.at.get, marked));
    });
  }

  /** A large page: its PDE is also the entry that maps it. `bits` of the address are the offset. */
  #largePage(bits: number, reserved: number, noExecute: Value | undefined): void {
    const f = this.#f;
    const pde = this.#pde;
    f.if(i32.and(pde.low.get, reserved), () => this.#fault(PF_ERROR.present | PF_ERROR.reserved));
    this.#check(pde.low.get, noExecute);
    this.#mark(pde, true);
    f.set(this.#pte.at, pde.at.get);
    f.set(this.#pte.low, pde.low.get);
    f.set(this.#pte.high, pde.high.get);
    f.set(this.#large, 1);
    const offset = (1 << bits) - 1;
    f.set(this.#gpa, i32.or(i32.and(pde.low.get, ~offset), i32.and(this.#linear, offset)));
  }

  #walk32(cr4: Value): void {
    const f = this.#f;
    const pde = this.#pde;
    const pte = this.#pte;
    const linear = this.#linear;
    this.#load(pde, i32.or(i32.and(field("cr3"), PAGE_MASK), i32.and(i32.shrU(linear, 20), -4)), false);
    const large = i32.and(i32.shrU(pde.low.get, Math.log2(PTE.PS)), i32.shrU(cr4, Math.log2(CR4.PSE)));
    f.if(
      i32.and(large, 1),
      () => this.#largePage(22, PDE4M_RESERVED, undefined),
      () => {
        this.#load(pte, i32.or(i32.and(pde.low.get, PAGE_MASK), i32.and(i32.shrU(linear, 10), 0xffc)), false);
        this.#check(i32.and(pde.low.get, pte.low.get), undefined);
        this.#mark(pde, false);
        this.#mark(pte, true);
        f.set(this.#gpa, i32.or(i32.and(pte.low.get, PAGE_MASK), i32.and(linear, IN_PAGE)));
      },
    );
  }

  #walkPae(): void {
    const f = this.#f;
    const pde = this.#pde;
    const pte = this.#pte;
    const linear = this.#linear;
    const nxe = f.let(i32.and(field("efer"), EFER.NXE));
    const reserved = f.let(i32.or(PAE_HIGH_RESERVED, i32.select(nxe, 0, NX_HIGH)));
    const checkHigh = (entry: EntryLocals): void =>
      f.if(i32.and(entry.high.get, reserved), () => this.#fault(PF_ERROR.present | PF_ERROR.reserved));
    // Page-directory-pointer entries have neither rights nor an accessed bit.
    this.#load(pde, i32.or(i32.and(field("cr3"), -32), i32.and(i32.shrU(linear, 27), 0x18)), true);
    const directory = f.let(i32.or(i32.and(pde.low.get, PAGE_MASK), i32.and(i32.shrU(linear, 18), 0xff8)));
    this.#load(pde, directory, true, f.let(i32.and(pde.high.get, PAE_HIGH_ADDRESS)));
    checkHigh(pde);
    // With NXE clear, bit 63 has been found reserved.
    f.if(
      i32.and(pde.low.get, PTE.PS),
      () => this.#largePage(21, PDE2M_RESERVED, i32.shrU(pde.high.get, 31)),
      () => {
        const table = i32.or(i32.and(pde.low.get, PAGE_MASK), i32.and(i32.shrU(linear, 9), 0xff8));
        this.#load(pte, table, true, i32.and(pde.high.get, PAE_HIGH_ADDRESS));
        checkHigh(pte);
        this.#check(i32.and(pde.low.get, pte.low.get), i32.shrU(i32.or(pde.high.get, pte.high.get), 31));
        this.#mark(pde, false);
        this.#mark(pte, true);
        f.set(this.#gpa, i32.or(i32.and(pte.low.get, PAGE_MASK), i32.and(linear, IN_PAGE)));
      },
    );
    f.set(this.#gpaHigh, i32.and(pte.high.get, PAE_HIGH_ADDRESS));
  }

  /** Where the guest-physical address leads; enter it in the shadow table. */
  #enter(): void {
    const f = this.#f;
    const access = this.#access;
    f.if(i32.eqz(this.#gpaHigh.get), () => f.set(this.#gpa, i32.and(this.#gpa.get, field("a20Mask"))));
    f.store32(MMU.address, this.#gpa.get);
    f.store32(MMU.address + 4, this.#gpaHigh.get);
    const frame = f.let(p2mEntry(this.#gpa.get));
    const isWrite = f.let(i32.and(i32.shrU(access, Math.log2(PAGE_ACCESS.write)), 1));
    const outside = i32.or(i32.ltS(frame, 0), this.#gpaHigh.get);
    f.if(i32.or(outside, i32.and(frame, isWrite)), () => f.return(FILL.elsewhere));
    const machine = f.let(i32.or(i32.and(frame, PAGE_MASK), i32.and(this.#gpa.get, IN_PAGE)));
    const isFetch = f.let(i32.and(i32.shrU(access, Math.log2(PAGE_ACCESS.fetch)), 1));
    f.if(i32.and(field("watching"), i32.eqz(isFetch)), () => f.return(machine));
    const isUser = i32.and(i32.shrU(access, Math.log2(PAGE_ACCESS.user)), 1);
    const table = i32.add(
      i32.mul(i32.add(isWrite, i32.shl(isFetch, 1)), WRITE_TABLE),
      i32.add(i32.mul(isUser, USER_TABLES), SHADOW.readSupervisor),
    );
    const slot = f.let(i32.add(table, i32.and(i32.shrU(this.#linear, 10), -4)));
    const entry = f.temporary("i32");
    const plain = f.let(i32.and(i32.xor(machine, this.#linear), PAGE_MASK));
    f.set(entry, plain);
    f.if(isWrite, () => {
      f.if(
        codeBitsOf(machine),
        () => f.set(entry, i32.xor(plain, CODE_MARK)),
        () => f.do(call(this.#functions.noteWritable, machine, slot)),
      );
    });
    f.if(this.#large.get, () => f.store8(i32.shrU(this.#linear, 22), 1, LARGE_REGIONS));
    f.if(isNone(i32.load(slot), this.#linear), () => {
      f.if(
        this.#global.get,
        () => recordGlobal(f, slot),
        () =>
          recordFill(f, this.#functions, {
            slot: i32.or(slot, isWrite),
            entry: plain,
            pteAt: this.#pte.at.get,
            pte: this.#pte.low.get,
            pteHigh: this.#pte.high.get,
            pdeAt: this.#pde.at.get,
            pde: this.#pde.low.get,
            pdeHigh: this.#pde.high.get,
          }),
      );
    });
    f.store32(slot, entry.get);
    count(f, MMU.fills);
    f.result(machine);
  }
}
