/**
 * The compiler's builder: semantics of a row run with constant operands, general registers in WebAssembly locals. An
 * instruction that faults has changed nothing: its registers and flags are written behind what may fault.
 */
import type { Builder, Operand, VectorKind, VectorRegister } from "../../isa/builder.ts";
import { EFLAGS, type FlagOp } from "../../isa/flags.ts";
import { FIELD, type FieldName, FPU_SIGN_EXPONENT, SEG, VECTOR_GATE, ZERO_SLOT } from "../../isa/state.ts";
import { MXCSR_DEFAULT, MXCSR_FLAGS } from "../../isa/vector/constants.ts";
import { RUNTIME, type RuntimeName } from "../../isa/vector/runtime.ts";
import { type I32, i32, KIND, OP, Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference } from "../../wasm/module.ts";
import { STATE } from "../memory-map.ts";
import { VECTOR } from "../registers.ts";
import { hostAddress, notPlain } from "../shadow.ts";
import { type InstructionAccesses, planAccesses } from "./access-plan.ts";
import type { RegionInstruction } from "./blocks.ts";
import type { FlagState } from "./flag-state.ts";
import type { RegionContext } from "./region-context.ts";
import { RegionMemory } from "./region-memory.ts";
import { MemoryOperand, makeOperand, operandPlans, RegisterOperand } from "./region-operands.ts";
import { VectorOperand, vectorRegister } from "./region-vectors.ts";

/** How the last instruction of a block ends it. */
export type Ending =
  | { readonly kind: "branch"; readonly condition: Value }
  | { readonly kind: "goto" }
  | { readonly kind: "indirect"; readonly eip: Value };

/** FSW.ES: an unmasked x87 exception is pending. */
const X87_PENDING = 0x80;
/** Bytes of an x87 register in memory. */
const EXTENDED_BYTES = 10;
const ESP = 4;
const ECX = 1;
const ALL_REGISTERS = 0xff;

/** Rows without memory operand whose semantics raise exceptions. */
const RAISING: ReadonlySet<string> = new Set(["DIV", "IDIV"]);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class RegionBuilder implements Builder {
  readonly f: FunctionWriter;
  readonly state = i32.const(STATE);
  readonly accesses: RegionMemory;
  bits = 32;
  ending: Ending | undefined;
  readonly #context: RegionContext;
  readonly #flags: FlagState;
  #instruction!: RegionInstruction;
  /** Accesses of the block that belong to groups. */
  #planned: ReadonlyMap<RegionInstruction, InstructionAccesses> = new Map();
  /** Nesting at the start of the instruction: registers must not be written conditionally. */
  #depth = 0;
  /** Nodes that read a register's local and may still be written out: they must see the value of now. */
  readonly #handedOut: Value[] = [];
  /** Registers that nodes were handed out for, one bit each. */
  #held = 0;
  /** Locals that pending flags refer to. */
  readonly #live: Value[] = [];
  /** General registers that the region's code names, and those it writes, one bit each. */
  #used = 0;
  #written = 0;
  #vectorsChecked = 0;
  /** Local that holds {@link simdDefault}, and what reads it once it is set in the block. */
  #simdLocal: Local | undefined;
  #simdDefault: Value | undefined;

  constructor(context: RegionContext) {
    this.f = context.f;
    this.#context = context;
    this.#flags = context.flags;
    this.accesses = new RegionMemory(context);
  }

  /** Registers that code so far reads or writes, one bit each. */
  get used(): number {
    return this.#used | this.#written;
  }

  /** Registers that code so far writes. */
  get written(): number {
    return this.#written;
  }

  /** Begin a block: nothing of the one before is in use. */
  beginBlock(instructions: readonly RegionInstruction[]): void {
    this.#planned = planAccesses(instructions);
    for (const { memory, stack } of this.#planned.values()) {
      for (const placed of [memory, stack]) if (placed) placed.group.host ??= this.f.temporary("i32");
    }
    this.#handedOut.length = 0;
    this.#held = 0;
    this.#vectorsChecked = 0;
    this.#forgetSimd();
  }

  /** Write the code of one instruction that has semantics. */
  instruction(instruction: RegionInstruction, bits: number): void {
    this.#instruction = instruction;
    this.bits = bits;
    this.ending = undefined;
    this.#depth = this.f.depth;
    const { row } = instruction.form!;
    if (row.traits.vector !== undefined || RAISING.has(row.mnemonic)) this.#flags.settle();
    const plans = operandPlans(instruction, bits);
    const semantics = row.semantics!;
    switch (plans.length) {
      case 0:
        semantics(this);
        break;
      case 1:
        semantics(this, makeOperand(this, instruction, plans[0]!));
        break;
      case 2:
        semantics(this, makeOperand(this, instruction, plans[0]!), makeOperand(this, instruction, plans[1]!));
        break;
      default:
        semantics(this, ...plans.map((plan) => makeOperand(this, instruction, plan)));
    }
    this.end();
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
    if (this.#held !== 0) this.#prune();
  }

  /** Registers are about to be read and changed by others. */
  forgetRegisters(): void {
    this.#forgetSimd();
    for (let register = 0; register < this.#context.registers.length; register++) this.#preserve(register);
    this.#used = ALL_REGISTERS;
    this.#written = ALL_REGISTERS;
  }

  /** Keep only those nodes that pending flags refer to. */
  #prune(): void {
    const live = this.#live;
    const list = this.#handedOut;
    live.length = 0;
    this.#flags.collectLocals(live);
    let kept = 0;
    this.#held = 0;
    for (let i = 0; i < list.length; i++) {
      const node = list[i]!;
      if (!live.includes(node)) continue;
      list[kept++] = node;
      this.#held |= 1 << this.#registerOf(node);
    }
    if (kept < list.length) list.length = kept;
  }

  /** What was planned for the current instruction's accesses; nothing where they are conditional. */
  get planned(): InstructionAccesses | undefined {
    return this.f.depth === this.#depth ? this.#planned.get(this.#instruction) : undefined;
  }

  let(value: Value): Value {
    // Register nodes keep their value by themselves; other locals are written once.
    return value.kind === KIND.local ? value : this.f.let(value);
  }

  // ---- registers and fields -------------------------------------------------------------------------------------

  /** The register's local, for what is written out before the register changes. */
  #get(register: number): Value {
    this.#used |= 1 << register;
    return this.#context.registers[register]!.get;
  }

  /** A node that keeps the register's present value, whatever is written to it later in the block. */
  #node(register: number): Value {
    const node = new Value(KIND.local, "i32", OP.local_get, this.#context.registers[register]!.index);
    this.#handedOut.push(node);
    this.#held |= 1 << register;
    this.#used |= 1 << register;
    return node;
  }

  /** The register whose local a node reads. */
  #registerOf(node: Value): number {
    return (node.immediate as number) - this.#context.registers[0]!.index;
  }

  /** The register is about to change: copy it for the nodes that still mean its old value. */
  #preserve(register: number): void {
    if (!(this.#held & (1 << register))) return;
    this.#held &= ~(1 << register);
    const { index, get } = this.#context.registers[register]!;
    const copy = this.f.temporary("i32");
    this.f.set(copy, get);
    const list = this.#handedOut;
    let kept = 0;
    for (let i = 0; i < list.length; i++) {
      const node = list[i]!;
      if (node.immediate === index) (node as Mutable<Value>).immediate = copy.index;
      else list[kept++] = node;
    }
    list.length = kept;
  }

  register(number: number, bits: number): Operand {
    return new RegisterOperand(this, number, bits);
  }

  /** Value of a register operand. */
  readRegister(number: number, bits: number): Value {
    if (bits === 32) return this.#node(number);
    if (bits === 16) return this.f.let(i32.and(this.#get(number), 0xffff));
    if (number < 4) return this.f.let(i32.and(this.#get(number), 0xff));
    return this.f.let(i32.and(i32.shrU(this.#get(number - 4), 8), 0xff));
  }

  /** Write a register operand. */
  writeRegister(number: number, bits: number, value: I32): void {
    if (this.f.depth !== this.#depth) throw new RangeError("a register is written conditionally");
    const high = bits === 8 && number >= 4;
    const register = high ? number - 4 : number;
    const local = this.#context.registers[register]!;
    if (bits === 32) {
      if (typeof value === "object" && value.kind === KIND.local && value.immediate === local.index) return;
      this.#preserve(register);
      this.f.set(local, value);
    } else {
      this.#preserve(register);
      const mask = bits === 16 ? 0xffff : high ? 0xff00 : 0xff;
      const part = high ? i32.shl(i32.and(value, 0xff), 8) : i32.and(value, mask);
      this.f.set(local, i32.or(i32.and(local.get, ~mask), part));
    }
    this.#written |= 1 << register;
  }

  field(name: FieldName): Value {
    return i32.load(this.state, FIELD[name].offset);
  }

  setField(name: FieldName, value: I32): void {
    if (name === "mxcsr") this.#forgetSimd();
    this.f.store32(this.state, value, FIELD[name].offset);
  }

  settleFlags(): void {
    this.#flags.settle();
  }

  // ---- vectors --------------------------------------------------------------------------------------------------

  xmm(number: number): VectorRegister {
    return vectorRegister(this.#context, "sse", number);
  }

  mmx(number: number): VectorRegister {
    return vectorRegister(this.#context, "mmx", number);
  }

  /** A vector register as an operand, or the lowest `bits` bits of it. */
  vectorOperand(kind: VectorKind, number: number, bits: number): Operand {
    return new VectorOperand(this.#context, kind, number, bits);
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
    return this.#context.module.importFunction(name, RUNTIME[name]);
  }

  /** The interpreter finds the exception again, and raises it. */
  raiseSimd(): void {
    const { f } = this;
    const outcome = f.let(this.field("simdFault"));
    f.if(outcome, () => {
      // A denormal number: what is behind in the block takes no fast way any more, whatever it knows of operands.
      if (this.#simdDefault && this.#simdLocal) f.set(this.#simdLocal, 0);
      this.#context.leaveIf(i32.and(outcome, MXCSR_FLAGS));
    });
  }

  isOrdinary(operand: Operand): boolean {
    return operand instanceof VectorOperand && operand.local?.ordinary === operand.bits;
  }

  noteOrdinary(operand: Operand): void {
    if (operand instanceof VectorOperand && operand.local) operand.local.ordinary = operand.bits;
  }

  /** Nothing is known of MXCSR and of floats in vector registers. */
  #forgetSimd(): void {
    this.#simdDefault = undefined;
    for (const vector of this.#context.vectors.values()) vector.ordinary = 0;
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
    // A register alone stays one; everything else is computed here and now.
    if (base !== ZERO_SLOT && index === ZERO_SLOT && displacement === 0 && !address16) return this.#node(base >> 3);
    let sum: Value = i32.const(displacement);
    if (index !== ZERO_SLOT) sum = i32.add(i32.shl(this.#get(index >> 3), scale), sum);
    if (base !== ZERO_SLOT) sum = i32.add(this.#get(base >> 3), sum);
    return this.f.let(address16 ? i32.and(sum, 0xffff) : sum);
  }

  /** Offset of a memory operand of `bits` bits in its segment. */
  operandAddress(bits: number): Value {
    const { form, reg } = this.#instruction;
    const offset = this.#effectiveAddress();
    // BT and its kin with a register bit offset: the operand that holds the bit may lie far from the address given.
    if (!form!.row.traits.bitString || form!.operands[1] !== "Gv") return offset;
    const index = bits === 16 ? i32.extend16s(this.#get(reg)) : this.#get(reg);
    return this.wrapped(i32.add(offset, i32.shl(i32.shrS(index, bits === 16 ? 4 : 5), bits === 16 ? 1 : 2)));
  }

  /** An offset as the instruction's address size cuts it. */
  wrapped(offset: Value): Value {
    return this.let(this.#instruction.address16 ? i32.and(offset, 0xffff) : offset);
  }

  /** The memory operand of the current instruction. */
  memory(bits: number, access: "r" | "w" | "rw"): Operand {
    return new MemoryOperand(this, bits, access, this.#instruction);
  }

  /** Store the ten bytes of an x87 register at the memory operand, and give its address (offset in its segment). */
  writeExtended(significand: Value, signExponent: Value): Value {
    const address = this.#effectiveAddress();
    const linear = this.accesses.linear(address, EXTENDED_BYTES, true, this.#instruction.segment);
    const host = this.f.let(hostAddress(i32.const(this.#context.writeTable), linear));
    this.#context.leaveIf(notPlain(host, EXTENDED_BYTES));
    this.f.store64(host, significand);
    this.f.store16(host, signExponent, FPU_SIGN_EXPONENT);
    return address;
  }

  /** #GP(0) unless an address is aligned to `bytes`; flags are settled. */
  checkAligned(linear: Value, bytes: number): void {
    this.f.if(i32.and(linear, bytes - 1), () => this.raise(VECTOR.GP));
  }

  // ---- stack: flat, since regions are compiled for flat segments only -------------------------------------------

  push(value: I32, bits: number): void {
    const bound = typeof value === "number" ? i32.const(value) : this.let(value);
    const top = this.f.let(i32.sub(this.#get(ESP), bits / 8));
    this.accesses.store(top, bound, bits, this.planned?.stack);
    this.writeRegister(ESP, 32, top);
  }

  pop(bits: number): { value: Value; commit: () => void } {
    const value = this.accesses.load(this.#get(ESP), bits, this.planned?.stack);
    return { value, commit: () => this.writeRegister(ESP, 32, i32.add(this.#get(ESP), bits / 8)) };
  }

  readStack(offset: I32, bits: number): Value {
    const linear = typeof offset === "number" ? i32.const(offset) : this.let(offset);
    return this.accesses.load(linear, bits, this.planned?.stack);
  }

  adjustStack(bytes: I32): void {
    const top = this.#get(ESP);
    // LEAVE adds the distance from ESP: what is left is its destination.
    const distance = typeof bytes === "object" && bytes.opcode === OP.i32_sub ? bytes : undefined;
    const known = distance?.b?.kind === KIND.local && distance.b.immediate === top.immediate;
    this.writeRegister(ESP, 32, known ? distance.a! : i32.add(top, bytes));
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
    return this.#instruction.address16 ? this.f.let(i32.and(this.#get(register), 0xffff)) : this.#get(register);
  }

  readString(segment: "source" | "es", register: number, bits: number): Value {
    const which = segment === "es" ? SEG.ES : this.#instruction.segment;
    const linear = this.accesses.linear(this.#stringOffset(register), bits / 8, false, which);
    return this.accesses.load(linear, bits);
  }

  writeString(register: number, value: I32, bits: number): void {
    const ready = typeof value === "object" ? this.let(value) : value;
    this.accesses.store(this.#stringOffset(register), ready, bits);
  }

  advance(register: number, bits: number): void {
    const bytes = bits / 8;
    const step = i32.select(i32.and(this.field("eflags"), EFLAGS.DF), -bytes, bytes);
    this.writeRegister(register, this.#instruction.address16 ? 16 : 32, i32.add(this.#get(register), step));
  }

  readCounter(): Value {
    return this.#instruction.address16 ? this.f.let(i32.and(this.#get(ECX), 0xffff)) : this.#node(ECX);
  }

  writeCounter(value: I32): void {
    this.writeRegister(ECX, this.#instruction.address16 ? 16 : 32, value);
  }
}
