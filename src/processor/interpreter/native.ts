/**
 * Instructions written by hand in WebAssembly, (record) → STATUS: a fast path for what 32-bit systems do all day, and
 * the TypeScript helper of the same name for everything else. A fast path decides before it changes anything, so that
 * the helper finds the state as the instruction found it: checks and faults are spelled out in the helpers only.
 */
import { EFLAGS, OSZAPC, packFlags, unpackCarry, unpackResult } from "../../isa/flags.ts";
import {
  FIELD,
  type FieldName,
  GPR,
  SEG,
  SEG_BASE,
  SEG_FIELD,
  SEG_STRIDE,
  segmentField,
  VECTOR_GATE,
} from "../../isa/state.ts";
import { call, type I32, i32, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { MODE } from "../cpu.ts";
import { STATE, USER_TABLES, WRITE_TABLE } from "../memory-map.ts";
import { AR, CR0, CR4, TYPE } from "../registers.ts";
import { hostAddress, notPlain } from "../shadow.ts";
import { RECORD, STATUS } from "./record.ts";
import type { SharedFunctions } from "./shared.ts";

const PAGE = 4096;
/** Where the access byte and the D/B and G bits stand in the high word of a descriptor (SDM 3A 3.4.5). */
const ACCESS_SHIFT = 8;
const DPL_SHIFT = 13;
const DESCRIPTOR_BIG = 1 << 22;
const DESCRIPTOR_GRANULARITY = 1 << 23;
/** Selector bits. */
const RPL = 3;
const TI = 4;
const INDEX = 0xfff8;

/** Access bytes, DPL aside, of segments that need neither a check that fails nor a write to be marked accessed. */
const PLAIN_CODE = AR.P | AR.S | TYPE.CODE | TYPE.ACCESSED;
const PLAIN_STACK = AR.P | AR.S | TYPE.WRITABLE | TYPE.ACCESSED;

const part = (name: keyof typeof SEG_FIELD): number => SEG_BASE + SEG_FIELD[name];

/** Functions that natives share, as they stand in the module. */
export interface NativeFunctions {
  /** (selector) → host address of the descriptor, or 0 when it is not there or its page is not in the tables. */
  readonly descriptor: FunctionReference;
  /** (segment, selector, low, high): fill a segment register from an accessed, not expand-down descriptor. */
  readonly install: FunctionReference;
  /** (): derive the mode key again, in protected mode. */
  readonly updateMode: FunctionReference;
  /** (segment, selector) → 1 when it was loaded as MOV does, 0 when nothing was done. */
  readonly loadSegment: FunctionReference;
}

/** One native being written: its function, the record, and expressions over the state page. */
export class Native {
  readonly f: FunctionWriter;
  readonly s = i32.const(STATE);
  readonly pc: Value;
  readonly shared: SharedFunctions;
  readonly functions: NativeFunctions;
  /** Written before each call of the helper. */
  beforeHelper: () => void = () => {};
  readonly #bail: () => void;

  /** `bail` leaves the function when the fast path does not apply. */
  constructor(f: FunctionWriter, shared: SharedFunctions, functions: NativeFunctions, bail?: (native: Native) => void) {
    this.f = f;
    this.shared = shared;
    this.functions = functions;
    this.pc = f.params[0]?.get ?? i32.const(0);
    this.#bail = bail ? () => bail(this) : () => this.helper();
  }

  field(name: FieldName): Value {
    return i32.load(this.s, FIELD[name].offset);
  }

  setField(name: FieldName, value: I32): void {
    this.f.store32(this.s, value, FIELD[name].offset);
  }

  segment(segment: number, name: keyof typeof SEG_FIELD): Value {
    return i32.load(this.s, segmentField(segment, name));
  }

  setSegment(segment: number, name: keyof typeof SEG_FIELD, value: I32): void {
    this.f.store32(this.s, value, segmentField(segment, name));
  }

  gpr(slot: number): Value {
    return i32.load(this.s, slot);
  }

  setGpr(slot: number, value: I32): void {
    this.f.store32(this.s, value, slot);
  }

  record(field: keyof typeof RECORD): Value {
    const offset = RECORD[field];
    if (field === "displacement" || field === "immediate" || field === "link") return i32.load(this.pc, offset);
    return i32.load8u(this.pc, offset);
  }

  /** Let the TypeScript helper carry the instruction out. */
  helper(): void {
    this.beforeHelper();
    this.f.return(call(this.shared.helper, this.record("link"), this.pc));
  }

  /** The fast path ends here when `condition` holds. */
  bailIf(condition: I32): void {
    this.f.if(condition, this.#bail);
  }

  nextEip(): Value {
    return i32.add(i32.add(this.field("startEip"), this.record("offset")), this.record("length"));
  }

  jump(eip: I32): void {
    this.setField("startEip", eip);
    this.f.return(STATUS.jump);
  }

  faultCheck(undo?: () => void): void {
    this.f.if(i32.geS(this.field("faultVector"), 0), () => {
      undo?.();
      this.f.return(STATUS.fault);
    });
  }

  // ---- memory ---------------------------------------------------------------------------------------------------

  /** Bases of the supervisor's tables, whoever runs. */
  supervisor(table: "readTable" | "writeTable"): Value {
    const user = i32.eq(this.field("cpl"), 3);
    return i32.sub(this.field(table), i32.select(user, USER_TABLES, 0));
  }

  /** Host address of `bytes` at `linear`, all in one page that `table` leads to; bails otherwise. */
  host(table: Value, linear: Value, bytes: I32): Value {
    const { f } = this;
    const host = f.let(hostAddress(table, f.let(linear)));
    this.bailIf(notPlain(host, bytes));
    return host;
  }

  // ---- segments -------------------------------------------------------------------------------------------------

  /** Non-zero unless SS is a flat 32-bit stack, and ESP not so near its ends that an access could run over them. */
  stackNotFlat(): Value {
    const ss = (name: keyof typeof SEG_FIELD): Value => this.segment(SEG.SS, name);
    const bounds = i32.or(
      i32.or(i32.or(ss("base"), ss("readLow")), i32.or(ss("writeLow"), i32.xor(ss("readHigh"), -1))),
      i32.xor(ss("writeHigh"), -1),
    );
    const atEnds = i32.ltU(i32.add(this.gpr(GPR.esp), STACK_MARGIN), 2 * STACK_MARGIN);
    return i32.or(i32.or(bounds, atEnds), i32.eqz(i32.and(ss("ar"), AR.DB)));
  }

  /** Low and high word of the descriptor that `selector` names; bails when there is none at hand. */
  descriptor(selector: Value): { low: Value; high: Value } {
    const { f } = this;
    const at = f.let(call(this.functions.descriptor, selector));
    this.bailIf(i32.eqz(at));
    return { low: f.let(i32.load(at)), high: f.let(i32.load(at, 4)) };
  }

  /** Bails unless the descriptor is a present, accessed, non-conforming code segment that reaches `eip`. */
  checkCode(d: { low: Value; high: Value }, eip: Value): void {
    const kind = i32.and(i32.shrU(d.high, ACCESS_SHIFT), PLAIN_CODE | TYPE.CONFORMING);
    this.bailIf(i32.ne(kind, PLAIN_CODE));
    this.bailIf(i32.gtU(eip, limitOf(d)));
  }

  /** Bails unless the descriptor is a present, accessed, writable, expand-up 32-bit stack of privilege `level`. */
  checkStack(d: { low: Value; high: Value }, selector: Value, level: Value): void {
    const kind = i32.and(i32.shrU(d.high, ACCESS_SHIFT), PLAIN_STACK | TYPE.CODE | TYPE.EXPAND_DOWN);
    this.bailIf(i32.ne(kind, PLAIN_STACK));
    this.bailIf(i32.eqz(i32.and(d.high, DESCRIPTOR_BIG)));
    this.bailIf(i32.or(i32.xor(dplOf(d), level), i32.xor(i32.and(selector, RPL), level)));
  }

  install(segment: I32, selector: Value, d: { low: Value; high: Value }): void {
    const number = typeof segment === "number" ? i32.const(segment) : segment;
    this.f.do(call(this.functions.install, number, selector, d.low, d.high));
  }

  updateMode(): void {
    this.f.do(call(this.functions.updateMode));
  }

  /** Set CPL, and with it the tables through which memory is reached. */
  setCpl(cpl: Value): void {
    const { f } = this;
    const move = f.let(i32.mul(i32.sub(i32.eq(cpl, 3), i32.eq(this.field("cpl"), 3)), USER_TABLES));
    const read = f.let(i32.add(this.field("readTable"), move));
    this.setField("readTable", read);
    this.setField("writeTable", i32.add(read, WRITE_TABLE));
    this.setField("cpl", cpl);
  }

  /** Put a value into CR0 that differs from the old one in bits about the FPU only: `Cpu.updateVectorGate` follows. */
  setFpuControl(cr0: Value): void {
    const { f } = this;
    this.setField("cr0", cr0);
    const off = f.let(i32.ne(i32.and(cr0, CR0.EM | CR0.TS), 0));
    const sse = i32.or(off, i32.eqz(i32.and(this.field("cr4"), CR4.OSFXSR)));
    const exception = i32.and(this.field("vectorGate"), VECTOR_GATE.exception);
    const gates = i32.or(i32.mul(sse, VECTOR_GATE.sse), i32.mul(off, VECTOR_GATE.mmx));
    this.setField("vectorGate", i32.or(exception, gates));
  }

  // ---- flags and time -------------------------------------------------------------------------------------------

  /** The architectural EFLAGS image. */
  eflags(): Value {
    return i32.or(
      i32.or(this.field("eflags"), EFLAGS.FIXED),
      packFlags(this.f.let(this.field("flagsResult")), this.f.let(this.field("flagsCarry"))),
    );
  }

  /** EFLAGS bits of `mask` (the arithmetic ones among them) from `value`, the others as they are. */
  mergeFlags(value: Value, mask: Value): void {
    const mine = this.f.let(i32.and(mask, ~OSZAPC));
    this.setField(
      "eflags",
      i32.or(i32.and(this.field("eflags"), i32.xor(mine, -1)), i32.or(i32.and(value, mine), EFLAGS.FIXED)),
    );
    this.setField("flagsResult", unpackResult(value));
    this.setField("flagsCarry", unpackCarry(value));
  }

  /**
   * Interrupts are held off until the next instruction is done. Nobody needs to know unless the engine stops right
   * here, which what is left of the budget tells: it is noted instead, and looked at when the engine is left.
   */
  holdInterrupts(blocking: number): void {
    this.setField("shadowAt", this.budgetBehind());
    this.setField("shadowBlocking", blocking);
  }

  /** What is left of the budget behind this instruction. */
  budgetBehind(): Value {
    return i32.sub(this.field("budget"), this.record("count"));
  }
}

/** More bytes than any instruction pushes or pops. */
const STACK_MARGIN = 64;

/** Limit in bytes of a descriptor. */
export function limitOf(d: { low: Value; high: Value }): Value {
  const raw = i32.or(i32.and(d.low, 0xffff), i32.and(d.high, 0xf0000));
  return i32.select(i32.and(d.high, DESCRIPTOR_GRANULARITY), i32.or(i32.shl(raw, 12), PAGE - 1), raw);
}

/** DPL of a descriptor or gate. */
export function dplOf(d: { high: Value }): Value {
  return i32.and(i32.shrU(d.high, DPL_SHIFT), 3);
}

/** Define the shared functions. */
export function defineNativeFunctions(module: ModuleWriter, shared: SharedFunctions): NativeFunctions {
  const declare = (params: number, results: number): FunctionReference =>
    module.declare({ params: new Array(params).fill("i32"), results: new Array(results).fill("i32") });
  const functions: NativeFunctions = {
    descriptor: declare(1, 1),
    install: declare(4, 0),
    updateMode: declare(0, 0),
    loadSegment: declare(2, 1),
  };
  const define = (reference: FunctionReference, body: (m: Native, ...params: Value[]) => void): void => {
    const f = new FunctionWriter(reference.type);
    const result = reference.type.results.length > 0;
    const m = new Native(f, shared, functions, () => (result ? f.return(0) : f.return()));
    body(m, ...f.params.map((p) => p.get));
    module.define(reference, f.finish());
  };
  define(functions.descriptor, findDescriptor);
  define(functions.install, installSegment);
  define(functions.updateMode, updateMode);
  define(functions.loadSegment, loadSegment);
  return functions;
}

function findDescriptor(m: Native, selector?: Value): void {
  const { f } = m;
  const base = f.temporary("i32");
  const limit = f.temporary("i32");
  f.if(
    i32.and(selector!, TI),
    () => {
      m.bailIf(i32.ne(i32.and(m.segment(SEG.LDTR, "ar"), AR.UNUSABLE | AR.P), AR.P));
      f.set(base, m.segment(SEG.LDTR, "base"));
      f.set(limit, m.segment(SEG.LDTR, "limit"));
    },
    () => {
      f.set(base, m.field("gdtrBase"));
      f.set(limit, m.field("gdtrLimit"));
    },
  );
  const index = f.let(i32.and(selector!, INDEX));
  m.bailIf(i32.gtU(i32.or(index, 7), limit.get));
  f.result(m.host(f.let(m.supervisor("readTable")), i32.add(base.get, index), 8));
}

function installSegment(m: Native, segment?: Value, selector?: Value, low?: Value, high?: Value): void {
  const { f, s } = m;
  const at = f.let(i32.add(s, i32.mul(segment!, SEG_STRIDE)));
  const limit = f.let(limitOf({ low: low!, high: high! }));
  const ar = f.let(i32.and(i32.shrU(high!, ACCESS_SHIFT), 0xf0ff));
  const base = i32.or(i32.or(i32.shrU(low!, 16), i32.shl(i32.and(high!, 0xff), 16)), i32.and(high!, 0xff000000 | 0));
  f.store32(at, base, part("base"));
  f.store32(at, limit, part("limit"));
  f.store32(at, ar, part("ar"));
  f.store32(at, i32.and(selector!, 0xffff), part("selector"));
  // Bounds that let nothing through are 1 … 0.
  const code = f.let(i32.and(ar, TYPE.CODE));
  const second = f.let(i32.ne(i32.and(ar, TYPE.WRITABLE), 0));
  const readable = f.let(i32.or(i32.eqz(code), second));
  const writable = f.let(i32.and(i32.eqz(code), second));
  f.store32(at, i32.eqz(readable), part("readLow"));
  f.store32(at, i32.and(limit, i32.sub(0, readable)), part("readHigh"));
  f.store32(at, i32.eqz(writable), part("writeLow"));
  f.store32(at, i32.and(limit, i32.sub(0, writable)), part("writeHigh"));
}

/** What `Cpu.updateMode` derives, tables aside, for protected mode. */
function updateMode(m: Native): void {
  const { f } = m;
  const big = f.let(i32.and(i32.shrU(m.segment(SEG.CS, "ar"), 14), 1));
  let odd = i32.or(
    i32.or(m.segment(SEG.CS, "base"), m.segment(SEG.CS, "readLow")),
    i32.xor(m.segment(SEG.CS, "readHigh"), -1),
  );
  for (const segment of [SEG.SS, SEG.DS, SEG.ES]) {
    odd = i32.or(odd, i32.or(m.segment(segment, "base"), m.segment(segment, "readLow")));
    odd = i32.or(odd, i32.or(m.segment(segment, "writeLow"), i32.xor(m.segment(segment, "readHigh"), -1)));
    odd = i32.or(odd, i32.xor(m.segment(segment, "writeHigh"), -1));
  }
  const flat = i32.and(i32.and(i32.eqz(odd), big), i32.shrU(m.segment(SEG.SS, "ar"), 14));
  const user = i32.select(i32.eq(m.field("cpl"), 3), MODE.user, 0);
  m.setField("modeKey", i32.or(i32.or(i32.or(big, MODE.protected), user), i32.mul(flat, MODE.flat)));
}

const REAL_DATA = AR.P | AR.S | TYPE.WRITABLE | TYPE.ACCESSED;

function loadSegment(m: Native, segment?: Value, selector?: Value): void {
  const { f, s } = m;
  const at = f.let(i32.add(s, i32.mul(segment!, SEG_STRIDE)));
  f.if(i32.eqz(i32.and(m.field("modeKey"), MODE.protected)), () => {
    // Real and virtual-8086 mode: only the base moves, where limit and rights are what they would become.
    const ar = f.let(i32.load(at, part("ar")));
    f.if(
      i32.and(m.field("eflags"), EFLAGS.VM),
      () => m.bailIf(i32.or(i32.xor(ar, REAL_DATA | AR.DPL), i32.xor(i32.load(at, part("limit")), 0xffff))),
      () => m.bailIf(i32.and(i32.xor(ar, REAL_DATA), ~(AR.DB | AR.G))),
    );
    f.store32(at, i32.shl(selector!, 4), part("base"));
    f.store32(at, selector!, part("selector"));
    f.return(1);
  });
  f.if(i32.eqz(i32.and(selector!, INDEX | TI)), () => {
    m.bailIf(i32.eq(segment!, SEG.SS));
    f.store32(at, 0, part("base"));
    f.store32(at, 0, part("limit"));
    f.store32(at, AR.UNUSABLE, part("ar"));
    f.store32(at, selector!, part("selector"));
    for (const low of ["readLow", "writeLow"] as const) f.store32(at, 1, part(low));
    for (const high of ["readHigh", "writeHigh"] as const) f.store32(at, 0, part(high));
    f.return(1);
  });
  const d = m.descriptor(selector!);
  const access = f.let(i32.shrU(d.high, ACCESS_SHIFT));
  f.if(
    i32.eq(segment!, SEG.SS),
    () => m.checkStack(d, selector!, f.let(m.field("cpl"))),
    () => {
      const common = AR.P | AR.S | TYPE.ACCESSED;
      m.bailIf(i32.ne(i32.and(access, common), common));
      // Expand-down data, conforming code and code that cannot be read: bit 2 for the first two.
      m.bailIf(i32.and(access, TYPE.EXPAND_DOWN));
      m.bailIf(i32.eq(i32.and(access, TYPE.CODE | TYPE.READABLE), TYPE.CODE));
      const dpl = f.let(dplOf(d));
      m.bailIf(i32.or(i32.ltU(dpl, m.field("cpl")), i32.ltU(dpl, i32.and(selector!, RPL))));
    },
  );
  m.install(segment!, selector!, d);
  f.result(1);
}
