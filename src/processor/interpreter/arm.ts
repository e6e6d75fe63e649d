/**
 * The interpreter's builder: semantics of a row become one arm, its operands taken from the operation record. An arm
 * stands in the dispatch loop, with flags and table bases in locals, or in a function of its own that keeps them in
 * the state page.
 */
import type { Builder, Operand, VectorKind, VectorRegister } from "../../isa/builder.ts";
import { condition, EFLAGS, type FlagOp, flagKind, lazy, lazyPair } from "../../isa/flags.ts";
import { type Form, MEMORY_OPERAND, operandBits, VECTOR_OPERAND } from "../../isa/row.ts";
import { FIELD, type FieldName, GPR, SEG, segmentField, VECTOR_GATE } from "../../isa/state.ts";
import { MXCSR_DEFAULT, MXCSR_FLAGS } from "../../isa/vector/constants.ts";
import type { RuntimeName } from "../../isa/vector/runtime.ts";
import { call, type I32, type I64, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference } from "../../wasm/module.ts";
import { helperNumber } from "../helpers.ts";
import { STATE } from "../memory-map.ts";
import { AR, VECTOR } from "../registers.ts";
import { hostAddress, notPlain } from "../shadow.ts";
import { RECORD, SHAPE, VARIANT } from "./record.ts";
import type { SharedFunctions } from "./shared.ts";
import { vectorOperand, vectorRegister } from "./vector.ts";

/** What surrounds an arm: how it reaches the record, keeps flags, and leaves. */
export interface ArmContext {
  readonly f: FunctionWriter;
  readonly s: Value;
  readonly pc: Value;
  readonly shared: SharedFunctions;
  readonly runtime: Readonly<Record<RuntimeName, FunctionReference>>;
  /** True in the dispatch loop: probes are written out and locals hold flags and tables. */
  readonly inline: boolean;
  readonly start: Value;
  readonly readTable: Value;
  readonly writeTable: Value;
  flagsResult(): Value;
  flagsCarry(): Value;
  setFlags(result: I32 | undefined, carry: I32 | undefined): void;
  /** Leave for the fault path. */
  fault(): void;
  faultIf(condition: I32): void;
  /** Let the helper of the record's link carry the instruction out, and leave as it says. */
  helper(): void;
  /** Leave for `eip`. */
  jump(eip: Value): void;
  /** Leave for a direct target whose block may be linked at the record. `wrapped` is non-zero when it must not be. */
  jumpLinked(eip: Value, wrapped: I32): void;
  /** Leave by way of a helper that does not come back with STATUS.next: its number and argument as records hold them. */
  leaveTo(helper: number): void;
}

/** FSW.ES: an unmasked x87 exception is pending. */
const X87_PENDING = 0x80;
const VECTOR_BYTES = 16;

export class Arm implements Builder {
  readonly f: FunctionWriter;
  readonly bits: number;
  readonly #context: ArmContext;
  readonly #variant: number;
  readonly #form: Form;

  constructor(context: ArmContext, form: Form, bits: number, variant: number) {
    this.f = context.f;
    this.bits = bits;
    this.#context = context;
    this.#form = form;
    this.#variant = variant;
  }

  /** Operands of the form, in order; registers take the record's first and second register slots. */
  operands(): Operand[] {
    let registers = 0;
    let immediates = 0;
    const memory = this.#variant === VARIANT.flat || this.#variant === VARIANT.general;
    return this.#form.operands.map((code, position) => {
      const bits = operandBits(code, this.bits);
      const access = position === 0 ? (this.#form.row.traits.dst ?? "rw") : "r";
      if (/^[IJ]/.test(code) || code === "Ap") {
        return this.#immediate(bits, immediates++ === 0 ? RECORD.immediate : RECORD.displacement);
      }
      if (code === "1" || code === "3") return this.#constant(Number(code));
      if (code === "CL") return this.register(1, 8);
      if (/^[MO]/.test(code) || (memory && MEMORY_OPERAND.test(code))) return this.#memoryOperand(bits, access);
      if (VECTOR_OPERAND.test(code)) {
        const slot = registers++ === 0 ? RECORD.ra : RECORD.rb;
        return vectorOperand(this.f, this.#context.pc, slot, /^[PQN]/.test(code) ? "mmx" : "sse", bits);
      }
      return this.#slot(registers++ === 0 ? RECORD.ra : RECORD.rb, bits);
    });
  }

  let(value: Value): Value {
    return this.f.let(value);
  }

  // ---- registers and fields -------------------------------------------------------------------------------------

  #readSlot(address: Value | number, offset: number, bits: number): Value {
    if (bits === 8) return i32.load8u(address, offset);
    return bits === 16 ? i32.load16u(address, offset) : i32.load(address, offset);
  }

  #writeSlot(address: Value, offset: number, bits: number, operand: I32 | I64): void {
    const value = operand as I32;
    if (bits === 8) this.f.store8(address, value, offset);
    else if (bits === 16) this.f.store16(address, value, offset);
    else this.f.store32(address, value, offset);
  }

  #slot(recordField: number, bits: number): Operand {
    const { pc } = this.#context;
    const slot = (): Value => i32.load8u(pc, recordField);
    return {
      bits,
      memory: false,
      read: () => this.let(this.#readSlot(slot(), STATE, bits)),
      write: (value) => this.#writeSlot(slot(), STATE, bits, value),
      address: noAddress,
      readAt: noAddress,
    };
  }

  register(number: number, bits: number): Operand {
    const { s } = this.#context;
    const offset = bits === 8 && number >= 4 ? (number - 4) * 8 + 1 : number * 8;
    return {
      bits,
      memory: false,
      read: () => this.let(this.#readSlot(s, offset, bits)),
      write: (value) => this.#writeSlot(s, offset, bits, value),
      address: noAddress,
      readAt: noAddress,
    };
  }

  field(name: FieldName): Value {
    return i32.load(this.#context.s, FIELD[name].offset);
  }

  setField(name: FieldName, value: I32): void {
    this.f.store32(this.#context.s, value, FIELD[name].offset);
  }

  // ---- vectors --------------------------------------------------------------------------------------------------

  get state(): Value {
    return this.#context.s;
  }

  xmm(number: number): VectorRegister {
    return vectorRegister(this.f, "sse", this.#context.s, number);
  }

  mmx(number: number): VectorRegister {
    return vectorRegister(this.f, "mmx", this.#context.s, number);
  }

  vectorAvailable(kind: VectorKind): void {
    const closed = i32.and(this.field("vectorGate"), VECTOR_GATE[kind]);
    const refused = kind === "sse" ? closed : i32.or(closed, i32.and(this.field("fsw"), X87_PENDING));
    this.f.if(refused, () => this.#context.leaveTo(helperNumber("vectorUnavailable") | (VECTOR_GATE[kind] << 16)));
  }

  simdDefault(): Value {
    return i32.eq(i32.and(this.field("mxcsr"), MXCSR_DEFAULT.mask), MXCSR_DEFAULT.value);
  }

  runtime(name: RuntimeName): FunctionReference {
    return this.#context.runtime[name];
  }

  isOrdinary(): boolean {
    return false;
  }

  noteOrdinary(): void {}

  raiseSimd(): void {
    this.f.if(i32.and(this.field("simdFault"), MXCSR_FLAGS), () => {
      this.f.if(
        i32.and(this.field("vectorGate"), VECTOR_GATE.exception),
        () => this.raise(VECTOR.UD),
        () => this.raise(VECTOR.XM),
      );
    });
  }

  /** A memory operand of 64 or 128 bits, read or written by calls. */
  #wideOperand(bits: number): Operand {
    const { f, s, shared } = this.#context;
    const aligned = bits === 128 && !this.#form.row.traits.unaligned;
    let offset: Value | undefined;
    const address = (): Value => {
      offset ??= this.#effectiveAddress();
      return offset;
    };
    const place = (write: boolean): Value => {
      const linear = this.#linear(address(), bits, write);
      if (aligned) f.if(i32.and(linear, VECTOR_BYTES - 1), () => this.raise(VECTOR.GP));
      return linear;
    };
    return {
      bits,
      memory: true,
      address,
      readAt: noAddress,
      read: () => this.#checked(bits === 64 ? shared.read64 : shared.read128, s, place(false)),
      write: (value) => {
        const bound = typeof value === "bigint" ? i64.const(value) : this.let(value as Value);
        f.do(call(bits === 64 ? shared.write64 : shared.write128, s, place(true), bound));
        this.#checkFault();
      },
    };
  }

  #immediate(bits: number, recordField: number): Operand {
    const { pc } = this.#context;
    const read = (): Value => this.let(i32.load(pc, recordField));
    return { bits, memory: false, read, write: readOnly, address: noAddress, readAt: noAddress };
  }

  #constant(value: number): Operand {
    return {
      bits: 8,
      memory: false,
      read: () => i32.const(value),
      write: readOnly,
      address: noAddress,
      readAt: noAddress,
    };
  }

  // ---- flags ----------------------------------------------------------------------------------------------------

  get flagsResult(): Value {
    return this.#context.flagsResult();
  }

  get flagsCarry(): Value {
    return this.#context.flagsCarry();
  }

  carryFlag(): Value {
    return lazy.cf(this.flagsResult, this.flagsCarry);
  }

  condition(cc: number): Value {
    return condition(cc, this.flagsResult, this.flagsCarry);
  }

  setFlags(result: I32 | undefined, carry: I32 | undefined): void {
    this.#context.setFlags(result, carry);
  }

  setFlagsIf(condition: Value, result: I32 | undefined, carry: I32 | undefined): void {
    this.f.if(condition, () => this.setFlags(result, carry));
  }

  setFlagsOf(op: Exclude<FlagOp, "explicit">, bits: number, a: Value, b: Value, r: Value, count = 0): void {
    const [result, carry] = lazyPair(flagKind(op, bits, count), a, b, r, this.flagsCarry);
    this.setFlags(result, carry);
  }

  // ---- memory ---------------------------------------------------------------------------------------------------

  get address16(): Value {
    if (this.#variant === VARIANT.flat || this.#variant === VARIANT.register) {
      // Flat variants are only chosen for 32-bit addresses; register variants of other rows do not look.
      if (this.#form.row.traits.implicit || this.#variant === VARIANT.flat) return i32.const(0);
    }
    return i32.and(i32.load8u(this.#context.pc, RECORD.shape), SHAPE.address16);
  }

  /** Offset of the memory operand in its segment. */
  #effectiveAddress(): Value {
    const { s, pc, shared } = this.#context;
    if (this.#variant === VARIANT.flat) {
      const index = i32.shl(i32.load(i32.load8u(pc, RECORD.index), STATE), i32.load8u(pc, RECORD.shape));
      const base = i32.load(i32.load8u(pc, RECORD.base), STATE);
      return this.let(i32.add(i32.add(base, i32.load(pc, RECORD.displacement)), index));
    }
    return this.let(call(shared.effectiveAddress, s, pc));
  }

  /** Linear address of `offset` in the operand's segment, checked for `bits` and the kind of access. */
  #linear(offset: Value, bits: number, write: boolean): Value {
    const { s, pc, shared } = this.#context;
    if (this.#variant === VARIANT.flat) return offset;
    return this.#checked(shared.segment, s, i32.load8u(pc, RECORD.segment), offset, bits / 8 - 1, write ? 1 : 0);
  }

  #checked(callee: SharedFunctions[keyof SharedFunctions], ...args: (Value | number)[]): Value {
    const value = this.let(call(callee, ...args));
    this.#checkFault();
    return value;
  }

  #checkFault(): void {
    this.#context.faultIf(i32.geS(this.field("faultVector"), 0));
  }

  #load(linear: Value, bits: number): Value {
    const { f, s, shared, inline, readTable } = this.#context;
    const slow = bits === 8 ? shared.read8 : bits === 16 ? shared.read16 : shared.read32;
    if (!inline) return this.#checked(slow, s, linear);
    const host = this.let(hostAddress(readTable, linear));
    const value = f.temporary("i32");
    f.if(
      notPlain(host, bits / 8),
      () => {
        f.set(value, call(shared.slowRead, linear, bits / 8));
        this.#checkFault();
      },
      () => f.set(value, this.#readSlot(host, 0, bits)),
    );
    return value.get;
  }

  #store(linear: Value, operand: I32 | I64, bits: number): void {
    const { f, s, shared, inline, writeTable } = this.#context;
    const value = operand as I32;
    if (!inline) {
      const slow = bits === 8 ? shared.write8 : bits === 16 ? shared.write16 : shared.write32;
      f.do(call(slow, s, linear, value));
      this.#checkFault();
      return;
    }
    const host = this.let(hostAddress(writeTable, linear));
    f.if(
      notPlain(host, bits / 8),
      () => {
        f.do(call(shared.slowWrite, linear, value, bits / 8));
        this.#checkFault();
      },
      () => this.#writeSlot(host, 0, bits, value),
    );
  }

  #memoryOperand(bits: number, access: "r" | "w" | "rw"): Operand {
    if (bits >= 64) return this.#wideOperand(bits);
    const { f, s, shared, inline, writeTable } = this.#context;
    let offset: Value | undefined;
    const address = (): Value => {
      offset ??= this.#bitStringAddress(bits, this.#effectiveAddress());
      return offset;
    };
    /** Of a read-modify-write operand: its host address, or 0 when it goes the slow way, and its linear address. */
    let host: Local | undefined;
    let linear: Value | undefined;
    const read = (): Value => {
      if (access !== "rw") return this.#load(this.#linear(address(), bits, false), bits);
      linear = this.#linear(address(), bits, true);
      if (!inline) {
        const probe = bits === 8 ? shared.modify8 : bits === 16 ? shared.modify16 : shared.modify32;
        return this.#checked(probe, s, linear);
      }
      const value = f.temporary("i32");
      const place = f.temporary("i32");
      host = place;
      f.set(place, hostAddress(writeTable, linear));
      f.if(
        notPlain(place.get, bits / 8),
        () => {
          f.set(place, 0);
          f.set(value, call(shared.slowModify, linear as Value, bits / 8));
          this.#checkFault();
        },
        () => f.set(value, this.#readSlot(place.get, 0, bits)),
      );
      return value.get;
    };
    const write = (operand: I32 | I64): void => {
      const value = operand as I32;
      if (access === "rw" && linear) {
        const at = linear;
        if (host) {
          const place = host;
          f.if(
            place.get,
            () => this.#writeSlot(place.get, 0, bits, value),
            () => {
              f.do(call(shared.slowWrite, at, value, bits / 8));
              this.#checkFault();
            },
          );
        } else {
          this.#store(at, value, bits);
        }
        return;
      }
      this.#store(this.#linear(address(), bits, true), value, bits);
    };
    const readAt = (displacement: I32, width: number): Value => {
      const at = this.let(i32.add(address(), displacement));
      const wrapped = this.let(i32.select(this.address16, i32.and(at, 0xffff), at));
      return this.#load(this.#linear(wrapped, width, false), width);
    };
    return { bits, memory: true, read, write, address, readAt };
  }

  /** BT and its kin with a register bit offset: the operand that holds the bit may lie far from the address given. */
  #bitStringAddress(bits: number, offset: Value): Value {
    if (!this.#form.row.traits.bitString || this.#form.operands[1] !== "Gv") return offset;
    const { pc } = this.#context;
    const slot = i32.load8u(pc, RECORD.ra);
    const index = bits === 16 ? i32.load16s(slot, STATE) : i32.load(slot, STATE);
    const bytes = i32.shl(i32.shrS(index, bits === 16 ? 4 : 5), bits === 16 ? 1 : 2);
    const moved = this.let(i32.add(offset, bytes));
    return this.let(i32.select(this.address16, i32.and(moved, 0xffff), moved));
  }

  // ---- stack ----------------------------------------------------------------------------------------------------

  get #flatStack(): boolean {
    return this.#variant === VARIANT.register || this.#variant === VARIANT.flat;
  }

  push(value: I32, bits: number): void {
    const { s, shared } = this.#context;
    if (!this.#flatStack) {
      this.f.do(call(shared.push, s, value, bits / 8));
      this.#checkFault();
      return;
    }
    const bound = typeof value === "number" ? i32.const(value) : this.let(value);
    const top = this.let(i32.sub(i32.load(s, GPR.esp), bits / 8));
    this.#store(top, bound, bits);
    this.f.store32(s, top, GPR.esp);
  }

  pop(bits: number): { value: Value; commit: () => void } {
    const { s, shared } = this.#context;
    if (!this.#flatStack) {
      const value = this.#checked(shared.pop, s, bits / 8);
      return { value, commit: () => this.adjustStack(bits / 8) };
    }
    const top = this.let(i32.load(s, GPR.esp));
    const value = this.#load(top, bits);
    return { value, commit: () => this.f.store32(s, i32.add(top, bits / 8), GPR.esp) };
  }

  readStack(offset: I32, bits: number): Value {
    const { s, shared } = this.#context;
    const at = typeof offset === "number" ? i32.const(offset) : this.let(offset);
    if (this.#flatStack) return this.#load(at, bits);
    const big = i32.and(i32.load(s, segmentField(SEG.SS, "ar")), AR.DB);
    const cut = this.let(i32.select(big, at, i32.and(at, 0xffff)));
    return this.#load(this.#checked(shared.segment, s, SEG.SS, cut, bits / 8 - 1, 0), bits);
  }

  adjustStack(bytes: I32): void {
    const { s, shared } = this.#context;
    if (this.#flatStack) this.f.store32(s, i32.add(i32.load(s, GPR.esp), bytes), GPR.esp);
    else this.f.do(call(shared.adjustStack, s, bytes));
  }

  // ---- control --------------------------------------------------------------------------------------------------

  nextEip(): Value {
    const { start, pc } = this.#context;
    return this.let(i32.add(i32.add(start, i32.load8u(pc, RECORD.offset)), i32.load8u(pc, RECORD.length)));
  }

  jump(eip: I32): void {
    this.#context.jump(typeof eip === "number" ? i32.const(eip) : eip);
  }

  branchTarget(): Value {
    const { start, pc } = this.#context;
    const target = i32.add(start, i32.load(pc, RECORD.immediate));
    return this.bits === 16 ? i32.and(target, 0xffff) : target;
  }

  checkTarget(eip: Value): void {
    // 16-bit targets lie within any limit that lets such code run; flat segments have none.
    if (this.#flatStack || this.bits === 16) return;
    this.f.if(i32.gtU(eip, i32.load(this.#context.s, segmentField(SEG.CS, "limit"))), () => this.raise(13));
  }

  branch(): void {
    const { start, pc } = this.#context;
    const target = this.let(i32.add(start, i32.load(pc, RECORD.immediate)));
    this.checkTarget(target);
    if (this.bits === 16) this.#context.jumpLinked(i32.and(target, 0xffff), i32.shrU(target, 16));
    else this.#context.jumpLinked(target, 0);
  }

  branchIf(condition: I32): void {
    this.f.if(condition, () => this.branch());
  }

  helperIf(condition: I32): void {
    this.f.if(condition, () => this.#context.helper());
  }

  raise(vector: number, error: I32 = 0): void {
    this.setField("faultError", error);
    this.setField("faultVector", vector);
    this.#context.fault();
  }

  // ---- strings --------------------------------------------------------------------------------------------------

  #stringOffset(register: number): Value {
    const slot = register * 8;
    const { s } = this.#context;
    return this.let(i32.select(this.address16, i32.load16u(s, slot), i32.load(s, slot)));
  }

  readString(segment: "source" | "es", register: number, bits: number): Value {
    const { s, pc, shared } = this.#context;
    const offset = this.#stringOffset(register);
    if (this.#flatStack) return this.#load(offset, bits);
    const which = segment === "es" ? i32.const(SEG.ES) : i32.load8u(pc, RECORD.segment);
    return this.#load(this.#checked(shared.segment, s, which, offset, bits / 8 - 1, 0), bits);
  }

  writeString(register: number, value: I32, bits: number): void {
    const { s, shared } = this.#context;
    const offset = this.#stringOffset(register);
    if (this.#flatStack) this.#store(offset, value, bits);
    else this.#store(this.#checked(shared.segment, s, SEG.ES, offset, bits / 8 - 1, 1), value, bits);
  }

  advance(register: number, bits: number): void {
    const { f, s } = this.#context;
    const slot = register * 8;
    const bytes = bits / 8;
    const down = i32.and(this.field("eflags"), EFLAGS.DF);
    const step = i32.select(down, -bytes, bytes);
    const next = this.let(i32.add(i32.load(s, slot), step));
    if (this.#flatStack) f.store32(s, next, slot);
    else
      f.if(
        this.address16,
        () => f.store16(s, next, slot),
        () => f.store32(s, next, slot),
      );
  }

  readCounter(): Value {
    const { s } = this.#context;
    return this.let(i32.select(this.address16, i32.load16u(s, GPR.ecx), i32.load(s, GPR.ecx)));
  }

  writeCounter(value: I32): void {
    const { f, s } = this.#context;
    f.if(
      this.address16,
      () => f.store16(s, value, GPR.ecx),
      () => f.store32(s, value, GPR.ecx),
    );
  }
}

function readOnly(): never {
  throw new TypeError("operand is read-only");
}

function noAddress(): never {
  throw new TypeError("operand has no address");
}
