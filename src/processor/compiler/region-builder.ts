/**
 * The compiler's builder: semantics of a row run with constant operands, general registers in WebAssembly locals. An
 * instruction that faults has changed nothing: its registers and flags are written behind what may fault.
 */
import type { Builder, Operand, VectorKind, VectorRegister } from "../../isa/builder.ts";
import { EFLAGS, type FlagOp } from "../../isa/flags.ts";
import { MEMORY_OPERAND, operandBits, VECTOR_OPERAND } from "../../isa/row.ts";
import {
  FIELD,
  type FieldName,
  FPU_REGS,
  FPU_STRIDE,
  SEG,
  segmentField,
  VECTOR_GATE,
  XMM_REGS,
  XMM_STRIDE,
  ZERO_SLOT,
} from "../../isa/state.ts";
import { MXCSR_DEFAULT } from "../../isa/vector/constants.ts";
import { RUNTIME, type RuntimeName } from "../../isa/vector/runtime.ts";
import { call, constantOf, type I32, type I64, i32, i64, KIND, OP, Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference } from "../../wasm/module.ts";
import { i16x8, i32x4, i64x2, v128 } from "../../wasm/simd.ts";
import { STATE } from "../memory-map.ts";
import { VECTOR } from "../registers.ts";
import { hostAddress, notPlain } from "../shadow.ts";
import type { FlagState } from "./flag-state.ts";
import type { RegionInstruction } from "./graph.ts";
import type { RegionModule } from "./region-module.ts";

/** How the last instruction of a block ends it. */
export type Ending =
  | { readonly kind: "branch"; readonly condition: Value }
  | { readonly kind: "goto" }
  | { readonly kind: "indirect"; readonly eip: Value };

/** What surrounds the instructions of a region. */
export interface RegionContext {
  readonly f: FunctionWriter;
  readonly module: RegionModule;
  readonly flags: FlagState;
  /** Locals of the general registers. */
  readonly registers: readonly Local[];
  /** Locals of the XMM registers that the region names; the others stand in the state page. */
  readonly vectors: ReadonlyMap<number, Local>;
  /** Linear address of the region's origin. */
  readonly base: Value;
  /** Addresses of the shadow tables of the region's privilege. */
  readonly readTable: number;
  readonly writeTable: number;
  /** Leave before the current instruction, for a fault if one is noted, else for the interpreter. */
  leave(): void;
  leaveIf(condition: Value): void;
}

/** FSW.ES: an unmasked x87 exception is pending. */
const X87_PENDING = 0x80;
const VECTOR_BYTES = 16;
/** Offset of sign and exponent in an x87 register, and what an MMX write puts there (SDM 3A 12.2). */
const SIGN_EXPONENT = 8;
const MMX_EXPONENT = 0xffff;
/** Bytes of an x87 register in memory. */
const EXTENDED_BYTES = 10;

/** Rows without memory operand whose semantics raise exceptions. */
const RAISING: ReadonlySet<string> = new Set(["DIV", "IDIV"]);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class RegionBuilder implements Builder {
  readonly f: FunctionWriter;
  readonly state = i32.const(STATE);
  bits = 32;
  ending: Ending | undefined;
  readonly #context: RegionContext;
  readonly #flags: FlagState;
  #instruction!: RegionInstruction;
  /** Nesting at the start of the instruction: registers must not be written conditionally. */
  #depth = 0;
  /** Nodes that read a register's local and may still be written out: they must see the value of now. */
  readonly #handedOut: Value[][] = Array.from({ length: 8 }, () => []);
  #vectorsChecked = 0;
  /** Local that holds {@link simdDefault}, and what reads it once it is set in the block. */
  #simdLocal: Local | undefined;
  #simdDefault: Value | undefined;

  constructor(context: RegionContext) {
    this.f = context.f;
    this.#context = context;
    this.#flags = context.flags;
  }

  /** Begin a block: nothing of the one before is in use. */
  beginBlock(): void {
    for (const list of this.#handedOut) list.length = 0;
    this.#vectorsChecked = 0;
    this.#simdDefault = undefined;
  }

  /** Write the code of one instruction that has semantics. */
  instruction(instruction: RegionInstruction, bits: number): void {
    this.#instruction = instruction;
    this.bits = bits;
    this.ending = undefined;
    this.#depth = this.f.depth;
    const { traits, mnemonic } = instruction.form!.row;
    if (traits.vector !== undefined || RAISING.has(mnemonic)) this.#flags.settle();
    instruction.form!.row.semantics!(this, ...this.#operands());
    this.#prune();
  }

  /** Begin an instruction that another writes with this builder's registers, flags and memory operands. */
  begin(instruction: RegionInstruction): void {
    this.#instruction = instruction;
    this.bits = 32;
    this.ending = undefined;
    this.#depth = this.f.depth;
    this.#flags.settle();
  }

  /** End it. */
  end(): void {
    this.#prune();
  }

  /** Registers were changed by others: what was read of them before is not needed any more. */
  forgetRegisters(): void {
    this.#simdDefault = undefined;
    for (let register = 0; register < this.#handedOut.length; register++) this.#preserve(register);
  }

  /** Keep only those nodes that pending flags refer to. */
  #prune(): void {
    const live = new Set<Value>();
    const collect = (value: Value | undefined): void => {
      if (!value || live.has(value)) return;
      live.add(value);
      collect(value.a);
      collect(value.b);
      collect(value.c);
      for (const arg of value.args ?? []) collect(arg);
    };
    for (const value of this.#flags.values()) collect(value);
    for (const list of this.#handedOut) {
      let kept = 0;
      for (const node of list) if (live.has(node)) list[kept++] = node;
      list.length = kept;
    }
  }

  #operands(): Operand[] {
    const { form, memory, rm, reg } = this.#instruction;
    const { traits } = form!.row;
    let immediates = 0;
    return form!.operands.map((code, position) => {
      const bits = operandBits(code, this.bits);
      const access = position === 0 ? (traits.dst ?? "rw") : "r";
      if (/^[IJ]/.test(code) || code === "Ap") return this.#immediate(code, bits, immediates++);
      if (code === "1" || code === "3") return constantOperand(Number(code), 8);
      if (/^[MO]/.test(code) || (memory && MEMORY_OPERAND.test(code))) return this.memory(bits, access);
      if (VECTOR_OPERAND.test(code)) {
        const number = /^[WQ]/.test(code) ? rm : /^[UN]/.test(code) ? rm : reg;
        return this.#vectorOperand(/^[PQN]/.test(code) ? "mmx" : "sse", number, bits);
      }
      switch (code) {
        case "CL":
          return this.register(1, 8);
        case "DX":
          return this.register(2, 16);
        case "AL":
        case "AX":
        case "eAX":
          return this.register(0, bits);
        default:
      }
      const number = code[0] === "Z" ? form!.opcode & 7 : code[0] === "G" ? reg : rm;
      return this.register(number, bits);
    });
  }

  let(value: Value): Value {
    // Register nodes keep their value by themselves; other locals are written once.
    return value.kind === KIND.local ? value : this.f.let(value);
  }

  // ---- registers and fields -------------------------------------------------------------------------------------

  /** A node that keeps the register's present value, whatever is written to it later in the block. */
  #node(register: number): Value {
    const node = new Value(KIND.local, "i32", OP.local_get, this.#context.registers[register]!.index);
    this.#handedOut[register]!.push(node);
    return node;
  }

  /** The register is about to change: copy it for the nodes that still mean its old value. */
  #preserve(register: number): void {
    const nodes = this.#handedOut[register]!;
    if (nodes.length === 0) return;
    const copy = this.f.temporary("i32");
    this.f.set(copy, this.#context.registers[register]!.get);
    for (const node of nodes) (node as Mutable<Value>).immediate = copy.index;
    nodes.length = 0;
  }

  register(number: number, bits: number): Operand {
    const high = bits === 8 && number >= 4;
    const register = high ? number - 4 : number;
    const local = this.#context.registers[register]!;
    const read = (): Value => {
      if (bits === 32) return this.#node(register);
      if (high) return this.f.let(i32.and(i32.shrU(local.get, 8), 0xff));
      return this.f.let(i32.and(local.get, bits === 8 ? 0xff : 0xffff));
    };
    const write = (operand: I32 | I64): void => {
      if (this.f.depth !== this.#depth) throw new RangeError("a register is written conditionally");
      const value = operand as I32;
      if (bits === 32) {
        const ready = typeof value === "number" ? i32.const(value) : value;
        if (ready.kind === KIND.local && ready.immediate === local.index) return;
        this.#preserve(register);
        this.f.set(local, ready);
        return;
      }
      this.#preserve(register);
      const mask = bits === 16 ? 0xffff : high ? 0xff00 : 0xff;
      const part = high ? i32.shl(i32.and(value, 0xff), 8) : i32.and(value, mask);
      this.f.set(local, i32.or(i32.and(local.get, ~mask), part));
    };
    return { bits, memory: false, read, write, address: noAddress, readAt: noAddress };
  }

  field(name: FieldName): Value {
    return i32.load(this.state, FIELD[name].offset);
  }

  setField(name: FieldName, value: I32): void {
    if (name === "mxcsr") this.#simdDefault = undefined;
    this.f.store32(this.state, value, FIELD[name].offset);
  }

  #immediate(code: string, bits: number, position: number): Operand {
    const { immediate, immediate2 } = this.#instruction;
    const value = position === 0 ? immediate : immediate2;
    return constantOperand(code === "Iz" && this.bits === 16 ? value & 0xffff : value, bits);
  }

  // ---- vectors --------------------------------------------------------------------------------------------------

  xmm(number: number): VectorRegister {
    const local = this.#context.vectors.get(number);
    // What is read is copied: it must not change when the register does.
    if (local) return { get: () => this.f.let(local.get), set: (value) => this.f.set(local, value) };
    const offset = XMM_REGS + number * XMM_STRIDE;
    return {
      get: () => this.f.let(v128.load(this.state, offset)),
      set: (value) => this.f.store128(this.state, value, offset),
    };
  }

  mmx(number: number): VectorRegister {
    const offset = FPU_REGS + number * FPU_STRIDE;
    return {
      get: () => this.f.let(i64.load(this.state, offset)),
      set: (value) => {
        this.f.store64(this.state, value, offset);
        this.f.store16(this.state, MMX_EXPONENT, offset + SIGN_EXPONENT);
      },
    };
  }

  #vectorOperand(kind: VectorKind, number: number, bits: number): Operand {
    const vector = kind === "sse" ? this.xmm(number) : this.mmx(number);
    const local = kind === "sse" ? this.#context.vectors.get(number) : undefined;
    if (local && bits !== 128) return this.#partOf(local, vector, bits);
    const offset = kind === "sse" ? XMM_REGS + number * XMM_STRIDE : FPU_REGS + number * FPU_STRIDE;
    const whole = bits === (kind === "sse" ? 128 : 64);
    const read = (): Value => {
      if (whole) return vector.get();
      if (bits === 64) return this.f.let(i64.load(this.state, offset));
      return this.f.let(bits === 16 ? i32.load16u(this.state, offset) : i32.load(this.state, offset));
    };
    const write = (value: I32 | I64): void => {
      if (whole) vector.set(value as Value);
      else if (bits === 64) this.f.store64(this.state, value as I64, offset);
      else this.f.store32(this.state, value as I32, offset);
    };
    return { bits, memory: false, vector, read, write, address: noAddress, readAt: noAddress };
  }

  /** The lowest `bits` bits of a register that a local holds. */
  #partOf(local: Local, vector: VectorRegister, bits: number): Operand {
    const read = (): Value => {
      if (bits === 64) return this.f.let(i64x2.extract(local.get, 0));
      return this.f.let(bits === 16 ? i16x8.extractU(local.get, 0) : i32x4.extract(local.get, 0));
    };
    const write = (value: I32 | I64): void => {
      const wide = bits === 64;
      const lane = wide ? i64.const(value as I64) : i32.const(value as I32);
      this.f.set(local, wide ? i64x2.replace(local.get, 0, lane) : i32x4.replace(local.get, 0, lane));
    };
    return { bits, memory: false, vector, read, write, address: noAddress, readAt: noAddress };
  }

  vectorAvailable(kind: VectorKind): void {
    // One check a block: what it depends on changes only by instructions that end one, or by x87 instructions.
    if (this.#vectorsChecked & VECTOR_GATE[kind]) return;
    if (kind === "sse") this.#vectorsChecked |= VECTOR_GATE.sse;
    const closed = i32.and(this.field("vectorGate"), VECTOR_GATE[kind]);
    this.#context.leaveIf(kind === "sse" ? closed : i32.or(closed, i32.and(this.field("fsw"), X87_PENDING)));
  }

  simdDefault(): Value {
    const test = i32.eq(i32.and(this.field("mxcsr"), MXCSR_DEFAULT.mask), MXCSR_DEFAULT.value);
    // Once a block: it stays true until MXCSR is loaded.
    if (this.#simdDefault) return this.#simdDefault;
    if (this.f.depth !== this.#depth) return test;
    this.#simdLocal ??= this.f.local("i32");
    this.f.set(this.#simdLocal, test);
    this.#simdDefault = this.#simdLocal.get;
    return this.#simdDefault;
  }

  runtime(name: RuntimeName): FunctionReference {
    return this.#context.module.import(name, RUNTIME[name]);
  }

  // ---- flags ----------------------------------------------------------------------------------------------------

  get flagsResult(): Value {
    return this.#flags.result();
  }

  get flagsCarry(): Value {
    return this.#flags.carry();
  }

  carryFlag(): Value {
    return this.#flags.carryFlag();
  }

  condition(cc: number): Value {
    return this.#flags.condition(cc);
  }

  setFlags(result: I32 | undefined, carry: I32 | undefined): void {
    this.#flags.setPair(result, carry);
  }

  setFlagsIf(condition: Value, result: I32 | undefined, carry: I32 | undefined): void {
    this.#flags.setPairIf(condition, result, carry);
  }

  setFlagsOf(op: Exclude<FlagOp, "explicit">, bits: number, a: Value, b: Value, r: Value, count = 0): void {
    this.#flags.setOperation(op, bits, a, b, r, count);
  }

  // ---- memory ---------------------------------------------------------------------------------------------------

  get address16(): Value {
    return i32.const(this.#instruction.address16 ? 1 : 0);
  }

  #effectiveAddress(): Value {
    const { base, index, scale, displacement, address16 } = this.#instruction;
    let sum: Value = i32.const(displacement);
    if (index !== ZERO_SLOT) sum = i32.add(i32.shl(this.#node(index >> 3), scale), sum);
    if (base !== ZERO_SLOT) sum = i32.add(this.#node(base >> 3), sum);
    return this.let(address16 ? i32.and(sum, 0xffff) : sum);
  }

  /** Linear address of `offset` in the operand's segment, checked for `bytes` and the kind of access. */
  #linear(offset: Value, bytes: number, write: boolean, segment = this.#instruction.segment): Value {
    if (segment === SEG.DS || segment === SEG.SS || segment === SEG.ES) return offset;
    this.#flags.settle();
    const part = (name: "base" | "readLow" | "readHigh" | "writeLow" | "writeHigh"): Value =>
      i32.load(this.state, segmentField(segment, name));
    const low = part(write ? "writeLow" : "readLow");
    const high = this.f.let(part(write ? "writeHigh" : "readHigh"));
    const outside = i32.or(i32.ltU(offset, low), i32.gtU(offset, high));
    // The interpreter finds the fault again, and raises it.
    this.#context.leaveIf(bytes > 1 ? i32.or(outside, i32.ltU(i32.sub(high, offset), bytes - 1)) : outside);
    return this.let(i32.add(part("base"), offset));
  }

  /** Host address at which `bytes` can be loaded. */
  #readable(linear: Value, bytes: number): Value {
    this.#flags.settle();
    const { f } = this;
    const { module, readTable } = this.#context;
    const host = f.temporary("i32");
    f.set(host, hostAddress(i32.const(readTable), linear));
    f.if(notPlain(host.get, bytes), () => {
      f.set(host, call(module.importI32("readAddress", 2), linear, bytes));
      this.#context.leaveIf(i32.ltS(host.get, 0));
    });
    return host.get;
  }

  #load(linear: Value, bits: number): Value {
    const host = this.#readable(linear, bits / 8);
    switch (bits) {
      case 8:
        return this.f.let(i32.load8u(host));
      case 16:
        return this.f.let(i32.load16u(host));
      case 32:
        return this.f.let(i32.load(host));
      case 64:
        return this.f.let(i64.load(host));
      default:
        return this.f.let(v128.load(host));
    }
  }

  #storeAt(host: Value, operand: I32 | I64, bits: number): void {
    const value = operand as I32;
    if (bits === 8) this.f.store8(host, value);
    else if (bits === 16) this.f.store16(host, value);
    else if (bits === 32) this.f.store32(host, value);
    else if (bits === 64) this.f.store64(host, operand as I64);
    else this.f.store128(host, operand as Value);
  }

  #store(linear: Value, operand: I32 | I64, bits: number): void {
    this.#flags.settle();
    const { f } = this;
    const { module, writeTable } = this.#context;
    const value = typeof operand === "object" ? this.let(operand) : operand;
    const host = f.let(hostAddress(i32.const(writeTable), linear));
    f.if(
      notPlain(host, bits / 8),
      () => this.#context.leaveIf(this.#writeSlow(module, linear, value, bits)),
      () => this.#storeAt(host, value, bits),
    );
  }

  #writeSlow(module: RegionModule, linear: Value, operand: I32 | I64, bits: number): Value {
    if (bits <= 32) return call(module.importI32("writeSlow", 3), linear, operand as I32, bits / 8);
    const value = typeof operand === "object" ? operand : i64.const(operand as bigint);
    if (bits === 64)
      return call(module.import("writeSlow64", { params: ["i32", "i64"], results: ["i32"] }), linear, value);
    const slow = module.import("writeSlow128", { params: ["i32", "i64", "i64"], results: ["i32"] });
    return call(slow, linear, i64x2.extract(value, 0), i64x2.extract(value, 1));
  }

  /** Store the ten bytes of an x87 register at the memory operand, and give its address (offset in its segment). */
  writeExtended(significand: Value, signExponent: Value): Value {
    const address = this.#effectiveAddress();
    const linear = this.#linear(address, EXTENDED_BYTES, true);
    const host = this.f.let(hostAddress(i32.const(this.#context.writeTable), linear));
    this.#context.leaveIf(notPlain(host, EXTENDED_BYTES));
    this.f.store64(host, significand);
    this.f.store16(host, signExponent, SIGN_EXPONENT);
    return address;
  }

  /** The memory operand of the current instruction. */
  memory(bits: number, access: "r" | "w" | "rw"): Operand {
    const { traits } = this.#instruction.form!.row;
    const aligned = bits === 128 && !traits.unaligned;
    let offset: Value | undefined;
    const address = (): Value => {
      offset ??= this.#bitStringAddress(bits, this.#effectiveAddress());
      return offset;
    };
    const place = (write: boolean): Value => {
      this.#flags.settle();
      const linear = this.#linear(address(), bits / 8, write);
      if (aligned) this.f.if(i32.and(linear, VECTOR_BYTES - 1), () => this.raise(VECTOR.GP));
      return linear;
    };
    /** Host address of a read-modify-write operand. */
    let host: Value | undefined;
    const read = (): Value => {
      if (access !== "rw") return this.#load(place(false), bits);
      this.#flags.settle();
      const linear = place(true);
      const found = this.f.temporary("i32");
      host = found.get;
      this.f.set(found, hostAddress(i32.const(this.#context.writeTable), linear));
      this.f.if(notPlain(found.get, bits / 8), () => {
        this.f.set(found, call(this.#context.module.importI32("modifyAddress", 2), linear, bits / 8));
        this.#context.leaveIf(i32.ltS(found.get, 0));
      });
      return this.f.let(bits === 8 ? i32.load8u(host) : bits === 16 ? i32.load16u(host) : i32.load(host));
    };
    const write = (value: I32 | I64): void => {
      if (host) this.#storeAt(host, value, bits);
      else this.#store(place(true), value, bits);
    };
    const readAt = (displacement: I32, width: number): Value => {
      const at = i32.add(address(), displacement);
      const wrapped = this.let(this.#instruction.address16 ? i32.and(at, 0xffff) : at);
      return this.#load(this.#linear(wrapped, width / 8, false), width);
    };
    return { bits, memory: true, read, write, address, readAt };
  }

  /** BT and its kin with a register bit offset: the operand that holds the bit may lie far from the address given. */
  #bitStringAddress(bits: number, offset: Value): Value {
    const { form, reg, address16 } = this.#instruction;
    if (!form!.row.traits.bitString || form!.operands[1] !== "Gv") return offset;
    const index = bits === 16 ? i32.extend16s(this.#node(reg)) : this.#node(reg);
    const bytes = i32.shl(i32.shrS(index, bits === 16 ? 4 : 5), bits === 16 ? 1 : 2);
    const moved = i32.add(offset, bytes);
    return this.let(address16 ? i32.and(moved, 0xffff) : moved);
  }

  // ---- stack: flat, since regions are compiled for flat segments only -------------------------------------------

  push(value: I32, bits: number): void {
    const bound = typeof value === "number" ? i32.const(value) : this.let(value);
    const top = this.let(i32.sub(this.#node(4), bits / 8));
    this.#store(top, bound, bits);
    this.register(4, 32).write(top);
  }

  pop(bits: number): { value: Value; commit: () => void } {
    const top = this.#node(4);
    const value = this.#load(top, bits);
    return { value, commit: () => this.register(4, 32).write(i32.add(top, bits / 8)) };
  }

  readStack(offset: I32, bits: number): Value {
    return this.#load(typeof offset === "number" ? i32.const(offset) : this.let(offset), bits);
  }

  adjustStack(bytes: I32): void {
    this.register(4, 32).write(i32.add(this.#node(4), bytes));
  }

  // ---- control --------------------------------------------------------------------------------------------------

  nextEip(): Value {
    const { offset, length } = this.#instruction;
    return this.let(i32.add(this.#context.base, offset + length));
  }

  branchTarget(): Value {
    const { offset, length, immediate } = this.#instruction;
    return this.let(i32.add(this.#context.base, offset + length + immediate));
  }

  /** Flat code segments have no limit. */
  checkTarget(): void {}

  jump(eip: I32): void {
    this.ending = { kind: "indirect", eip: typeof eip === "number" ? i32.const(eip) : this.let(eip) };
  }

  branch(): void {
    this.ending = { kind: "goto" };
  }

  branchIf(condition: I32): void {
    this.ending = { kind: "branch", condition: typeof condition === "number" ? i32.const(condition) : condition };
  }

  /** The interpreter has the helper, and what it needs. */
  helperIf(condition: I32): void {
    this.#flags.settle();
    this.#context.leaveIf(typeof condition === "number" ? i32.const(condition) : condition);
  }

  raise(vector: number, error: I32 = 0): void {
    if (!this.#flags.settled) throw new RangeError("flags must be settled before an exception is raised");
    this.setField("faultError", error);
    this.setField("faultVector", vector);
    this.#context.leave();
  }

  // ---- strings --------------------------------------------------------------------------------------------------

  #stringOffset(register: number): Value {
    const node = this.#node(register);
    return this.#instruction.address16 ? this.let(i32.and(node, 0xffff)) : node;
  }

  readString(segment: "source" | "es", register: number, bits: number): Value {
    const which = segment === "es" ? SEG.ES : this.#instruction.segment;
    return this.#load(this.#linear(this.#stringOffset(register), bits / 8, false, which), bits);
  }

  writeString(register: number, value: I32, bits: number): void {
    this.#store(this.#stringOffset(register), value, bits);
  }

  advance(register: number, bits: number): void {
    const bytes = bits / 8;
    const step = i32.select(i32.and(this.field("eflags"), EFLAGS.DF), -bytes, bytes);
    this.register(register, this.#instruction.address16 ? 16 : 32).write(i32.add(this.#node(register), step));
  }

  readCounter(): Value {
    return this.#stringOffset(1);
  }

  writeCounter(value: I32): void {
    this.register(1, this.#instruction.address16 ? 16 : 32).write(value);
  }
}

function constantOperand(value: number, bits: number): Operand {
  return { bits, memory: false, read: () => i32.const(value), write: readOnly, address: noAddress, readAt: noAddress };
}

function readOnly(): never {
  throw new TypeError("operand is read-only");
}

function noAddress(): never {
  throw new TypeError("operand has no address");
}

/** A constant condition, if it is one. */
export function knownCondition(condition: Value): number | undefined {
  return constantOf(condition);
}
