/**
 * x87 instructions in regions: registers, tags, status and control word in locals from entry to exit, or, where there is
 * little x87 code, within each stretch of it. Only the ordinary
 * case is written: where the stack would fault, an exception is not masked, or the x87 is not available, the region is
 * left before the instruction, and the interpreter's arm carries it out.
 */
import { OSZAPC } from "../../isa/flags.ts";
import { orderFlags } from "../../isa/x87/compare.ts";
import { EXCEPTIONS, EXT, FCW, FCW_FIXED, FCW_WRITABLE, INTEGER_BIT, RC } from "../../isa/x87/constants.ts";
import type { Extended } from "../../isa/x87/emit.ts";
import type { FastName } from "../../isa/x87/fast.ts";
import { type NumberFormat, widenInteger } from "../../isa/x87/operands.ts";
import { isControl, MEMORY_BYTES, type Source } from "../../isa/x87/row.ts";
import { changedSign, type Shape } from "../../isa/x87/shape.ts";
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { RegionBlock, RegionInstruction } from "./blocks.ts";
import type { RegionBuilder } from "./region-builder.ts";
import type { RegionModule } from "./region-module.ts";
import { calledMove, shapeOf, stackEffect, type X87Plan } from "./x87-plan.ts";
import { X87State } from "./x87-state.ts";

/** Bytes of an 80-bit number before its sign and exponent. */
const SIGNIFICAND_BYTES = 8;
/** Condition codes of FCMOVcc (SDM 2A appendix B.1.4.7). */
const CONDITIONS = { b: 2, e: 4, be: 6, u: 10 } as const;

/** What a region offers. */
export interface X87Context {
  readonly f: FunctionWriter;
  readonly module: RegionModule;
  readonly builder: RegionBuilder;
  readonly plan: X87Plan;
  /** Linear address of the region's origin. */
  readonly base: Value;
  leaveIf(condition: Value): void;
}

export class X87Compiler {
  readonly #context: X87Context;
  readonly #f: FunctionWriter;
  readonly #x: X87State;
  readonly #resident: boolean;
  /** Within a stretch, where the x87 is not resident. */
  #loaded = false;
  /** Address of the current instruction's memory operand. */
  #data: Value | undefined;

  constructor(context: X87Context) {
    this.#context = context;
    this.#f = context.f;
    this.#x = new X87State(context.f, context.base);
    const { resident, slots } = context.plan;
    this.#resident = resident;
    if (resident) this.#x.use([...slots.values()].reduce((all, some) => all | some, 0));
  }

  /** Whether the state page does not have the x87's state at this point of the code, but locals. */
  get loaded(): boolean {
    return this.#resident || this.#loaded;
  }

  /** Whether a block needs a place of its own to leave from, with {@link left}. */
  leavesApart(block: RegionBlock): boolean {
    return !this.#resident && this.#context.plan.slots.has(block);
  }

  /** Behind where a block that {@link leavesApart} leaves while {@link loaded}. */
  left(block: RegionBlock): void {
    this.#x.use(this.#context.plan.slots.get(block)!);
    this.#x.store();
  }

  /** At the region's entry; `depth` is the slot of ST(0) at the block that is entered. */
  enterRegion(depth: () => Value): void {
    if (this.#resident) this.#x.load(this.#f.let(depth()));
  }

  /** At the region's exit. */
  exitRegion(): void {
    if (this.#resident) this.#x.store();
  }

  /** Before a branch to `block` that does not {@link fits}. */
  rebase(block: RegionBlock): void {
    this.#x.rebase(this.depthOf(block));
  }

  /** Whether {@link flush} has anything to write. */
  get pending(): boolean {
    return this.loaded && this.#x.pending;
  }

  /** Put everything into locals, where it is not; what is known stays so: for code that does not come back. */
  flush(): void {
    if (this.loaded) this.#x.flush();
  }

  /** Whether {@link instruction} takes it. */
  inlines(instruction: RegionInstruction): boolean {
    return this.#context.plan.inlined.has(instruction);
  }

  /** EFLAGS bits that such an instruction reads and writes. */
  flagEffect(instruction: RegionInstruction): { reads: number; writes: number } {
    const kind = shapeOf(instruction)?.shape.kind;
    return { reads: kind === "conditionalMove" ? OSZAPC : 0, writes: kind === "compareFlags" ? OSZAPC : 0 };
  }

  /** Before an instruction that is called. */
  beforeCall(): void {
    if (!this.loaded) return;
    this.#x.settle();
    this.#x.store();
    this.#loaded = false;
  }

  /** Behind it. */
  afterCall(instruction: RegionInstruction): void {
    const found = shapeOf(instruction);
    this.#x.moved(found ? stackEffect(found.shape, instruction.rm).moves : calledMove(instruction));
    if (this.#resident) this.#x.load(this.#x.depth);
  }

  /** Begin a block at the depth that the plan gives it. */
  beginBlock(block: RegionBlock): void {
    this.#x.forget();
    this.#x.depth = this.depthOf(block);
    if (!this.#resident) this.#x.use(this.#context.plan.slots.get(block) ?? 0);
  }

  /** The end of a block. */
  endBlock(): void {
    if (!this.loaded) return;
    this.#x.settle();
    if (this.#resident) return;
    this.#x.store();
    this.#loaded = false;
  }

  /** Slot of ST(0) at the start of a block. */
  depthOf(block: RegionBlock): number {
    return this.#context.plan.depths.get(block) ?? 0;
  }

  /** Whether a branch from here to `block` needs {@link X87State.rebase}. */
  fits(block: RegionBlock): boolean {
    return !this.#resident || this.#x.depth === this.depthOf(block);
  }

  /** Call a function of isa/x87/fast.ts that returns a packed word and a value; leave if it refuses. */
  #fast(name: FastName, type: "i32" | "i64", ...args: (Value | number)[]): { packed: Value; value: Value } {
    const f = this.#f;
    const packed = f.temporary("i32");
    const value = f.temporary(type);
    f.callInto([packed, value], this.#context.module.fast(name), ...args);
    this.#context.leaveIf(i32.ltS(packed.get, 0));
    return { packed: packed.get, value: value.get };
  }

  // ---- instructions ---------------------------------------------------------------------------------------------

  /** Write one instruction that {@link inlines} accepts. */
  instruction(instruction: RegionInstruction): void {
    const { row, shape } = shapeOf(instruction)!;
    const { builder, plan } = this.#context;
    if (!this.loaded) {
      this.#x.load(this.#x.depth);
      this.#loaded = true;
    }
    builder.begin(instruction);
    const demand = plan.inlined.get(instruction);
    if (demand) this.#context.leaveIf(this.#x.refuses(demand.full, demand.empty));
    // Values that outlive the instruction must not be in a scope: flags and registers of those two.
    if (shape.kind === "compareFlags" || shape.kind === "statusToAx") this.#body(instruction, shape);
    else this.#f.scope(() => this.#body(instruction, shape));
    this.#x.apply(stackEffect(shape, instruction.rm));
    if (!isControl(row)) this.#x.noteInstruction(instruction, row.opcode, this.#data);
    this.#data = undefined;
    builder.end();
  }

  #body(instruction: RegionInstruction, shape: Shape): void {
    switch (shape.kind) {
      case "arithmetic":
        this.#arithmetic(instruction, shape);
        return;
      case "compare":
        this.#compare(instruction, shape);
        return;
      case "compareFlags":
        this.#compareFlags(instruction.rm, shape.quiet);
        return;
      case "load":
        this.#load(shape.source);
        return;
      case "loadRegister":
        this.#x.write(-1, this.#x.read(instruction.rm));
        this.#x.clearC1();
        return;
      case "constant":
        this.#constant(shape);
        return;
      case "storeReal":
        this.#storeReal(shape.format);
        return;
      case "storeInteger":
        this.#storeInteger(shape.bits, shape.truncate);
        return;
      case "storeExtended":
        this.#storeExtended();
        return;
      case "storeRegister":
        this.#x.write(instruction.rm, this.#x.read(0));
        this.#x.clearC1();
        return;
      case "exchange":
        this.#exchange(instruction.rm);
        return;
      case "conditionalMove":
        this.#conditionalMove(instruction.rm, CONDITIONS[shape.condition] | (shape.negated ? 1 : 0));
        return;
      case "sign":
        this.#sign(shape.change);
        return;
      case "unary": {
        const a = this.#x.read(0);
        const result = this.#fast(shape.operation, "i64", a.signExponent, a.significand, this.#x.control.get);
        this.#finish(0, result);
        return;
      }
      case "statusToAx":
        this.#context.builder.register(0, 16).write(this.#x.statusWord());
        return;
      case "storeWord":
        this.#storeWord(shape.word);
        return;
      case "loadControl":
        this.#loadControl();
        return;
      default:
    }
  }

  /** Put a result where it belongs, and note what it raised. */
  #finish(destination: number, { packed, value }: { packed: Value; value: Value }): void {
    this.#x.write(destination, { signExponent: packed, significand: value });
    this.#x.noteOutcome(packed);
  }

  #arithmetic(instruction: RegionInstruction, shape: Shape & { kind: "arithmetic" }): void {
    const other = this.#operand(instruction, shape.source);
    const toOther = shape.destination === "sti";
    const d = toOther ? other : this.#x.read(0);
    const x = toOther ? this.#x.read(0) : other;
    const [a, b] = shape.reversed ? [x, d] : [d, x];
    const args = [a.signExponent, a.significand, b.signExponent, b.significand, this.#x.control.get];
    this.#finish(toOther ? instruction.rm : 0, this.#fast(shape.operation, "i64", ...args));
  }

  /** The operand beside ST(0), wide. */
  #operand(instruction: RegionInstruction, source: Source): Extended {
    if (source === "sti") return this.#x.read(instruction.rm);
    const bits = this.#readMemory(source);
    return source === "r32" || source === "r64" ? this.#widenReal(source, bits) : this.#widenInteger(source, bits);
  }

  #readMemory(format: NumberFormat): Value {
    const operand = this.#context.builder.memory(MEMORY_BYTES[format] * 8, "r");
    const bits = operand.read();
    this.#data = operand.address();
    return bits;
  }

  #widenInteger(format: "i16" | "i32" | "i64", bits: Value): Extended {
    if (format === "i64") return widenInteger(this.#f, bits);
    return widenInteger(this.#f, this.#f.let(i64.extendS(format === "i16" ? i32.extend16s(bits) : bits)));
  }

  /** A real from memory: normal numbers in place, others by `unusual`, which gets the locals to set. */
  #widenNormal(format: "r32" | "r64", bits: Value, unusual: (se: Local, sig: Local) => void): Extended {
    const f = this.#f;
    const { fraction, bias } = format === "r32" ? { fraction: 23, bias: 127 } : { fraction: 52, bias: 1023 };
    const largest = bias * 2 + 1;
    const magnitudeBits = format === "r32" ? 31 : 63;
    const se = f.temporary("i32");
    const sig = f.temporary("i64");
    const wide = format === "r32" ? f.let(i64.extendU(bits)) : bits;
    const high = format === "r32" ? bits : f.let(i32.wrap(i64.shrU(bits, 32n)));
    const exponent = f.let(i32.and(i32.shrU(high, format === "r32" ? fraction : fraction - 32), largest));
    f.unlikely(
      i32.geU(i32.sub(exponent, 1), largest - 1),
      () =>
        f.if(
          i64.eqz(i64.shl(wide, BigInt(64 - magnitudeBits))),
          () => {
            f.set(se, i32.and(i32.shrU(high, 16), EXT.sign));
            f.set(sig, 0n);
          },
          () => unusual(se, sig),
        ),
      () => {
        f.set(se, i32.or(i32.and(i32.shrU(high, 16), EXT.sign), i32.add(exponent, EXT.bias - bias)));
        f.set(sig, i64.or(i64.shl(wide, BigInt(63 - fraction)), INTEGER_BIT));
      },
    );
    return { signExponent: se.get, significand: sig.get };
  }

  #widenReal(format: "r32" | "r64", bits: Value): Extended {
    const name = format === "r32" ? "widenSingle" : "widenDouble";
    return this.#widenNormal(format, bits, (se, sig) =>
      this.#f.callInto([se, sig], this.#context.module.fast(name), bits),
    );
  }

  #load(source: NumberFormat | "r80"): void {
    const f = this.#f;
    if (source === "r80") {
      const operand = this.#context.builder.memory(64, "r");
      const significand = operand.read();
      const signExponent = operand.readAt(SIGNIFICAND_BYTES, 16);
      this.#data = operand.address();
      this.#x.write(-1, { signExponent, significand });
    } else {
      const bits = this.#readMemory(source);
      if (source === "r32" || source === "r64") {
        this.#x.prepareExceptions();
        const name = source === "r32" ? "loadSingle" : "loadDouble";
        const value = this.#widenNormal(source, bits, (se, sig) => {
          f.callInto([se, sig], this.#context.module.fast(name), bits, this.#x.control.get);
          this.#context.leaveIf(i32.ltS(se.get, 0));
          this.#x.noteExceptions(se.get);
        });
        this.#x.write(-1, value);
      } else this.#x.write(-1, this.#widenInteger(source, bits));
    }
    this.#x.clearC1();
  }

  #constant({ signExponent, significand, add }: Shape & { kind: "constant" }): void {
    const control = this.#f.let(i32.and(this.#x.control.get, FCW.RC));
    const directed = i64.select(i32.eq(control, RC.up), add.up, 0n);
    const increment = i64.select(i32.eqz(control), add.nearest, directed);
    const value = add.up === 0n ? i64.const(significand) : i64.add(significand, increment);
    this.#x.write(-1, { signExponent: i32.const(signExponent), significand: value });
    this.#x.clearC1();
  }

  #storeReal(format: "r32" | "r64"): void {
    const { builder } = this.#context;
    const single = format === "r32";
    const a = this.#x.read(0);
    const args = [a.signExponent, a.significand, this.#x.control.get];
    const name = single ? "storeSingle" : "storeDouble";
    const { packed, value } = this.#fast(name, single ? "i32" : "i64", ...args);
    const operand = builder.memory(single ? 32 : 64, "w");
    operand.write(value);
    this.#data = operand.address();
    this.#x.noteOutcome(packed);
  }

  #storeInteger(bits: 16 | 32 | 64, truncate: boolean): void {
    const control = truncate ? i32.or(this.#x.control.get, FCW.RC) : this.#x.control.get;
    const a = this.#x.read(0);
    const { packed, value } = this.#fast("storeInteger", "i64", a.signExponent, a.significand, control, bits);
    const operand = this.#context.builder.memory(bits, "w");
    operand.write(bits === 64 ? value : i32.wrap(value));
    this.#data = operand.address();
    this.#x.noteOutcome(packed);
  }

  #storeExtended(): void {
    const { signExponent, significand } = this.#x.read(0);
    const address = this.#context.builder.writeExtended(significand, signExponent);
    this.#data = address;
    this.#x.clearC1();
  }

  #sign(change: "negate" | "absolute"): void {
    const { signExponent, significand } = this.#x.read(0);
    this.#x.write(0, { signExponent: changedSign(change, signExponent), significand });
    this.#x.clearC1();
  }

  #exchange(index: number): void {
    const f = this.#f;
    const a = this.#x.read(0);
    const b = this.#x.read(index);
    const copy = { signExponent: f.temporary("i32"), significand: f.temporary("i64") };
    f.set(copy.signExponent, a.signExponent);
    f.set(copy.significand, a.significand);
    this.#x.write(0, b);
    this.#x.write(index, { signExponent: copy.signExponent.get, significand: copy.significand.get });
    this.#x.clearC1();
  }

  #conditionalMove(index: number, condition: number): void {
    const test = this.#f.let(this.#context.builder.condition(condition));
    const a = this.#x.read(0);
    const b = this.#x.read(index);
    this.#x.write(0, {
      signExponent: i32.select(test, b.signExponent, a.signExponent),
      significand: i64.select(test, b.significand, a.significand),
    });
  }

  // ---- comparisons ----------------------------------------------------------------------------------------------

  /** Order of ST(0) and `b` in the condition codes' places, exceptions above; leaves if they are not masked. */
  #order(b: Extended, quiet: boolean): Value {
    const f = this.#f;
    const a = this.#x.read(0);
    const found = f.temporary("i32");
    const args = [a.signExponent, a.significand, b.signExponent, b.significand, this.#x.control.get, quiet ? 1 : 0];
    f.callInto([found], this.#context.module.fast("compare"), ...args);
    this.#context.leaveIf(i32.ltS(found.get, 0));
    return found.get;
  }

  #compare(instruction: RegionInstruction, { source, quiet, index }: Shape & { kind: "compare" }): void {
    const zero: Extended = { signExponent: i32.const(0), significand: i64.const(0n) };
    const register = index === undefined ? undefined : this.#x.read(index);
    const b = register ?? (source === "zero" ? zero : this.#operand(instruction, source));
    const found = this.#order(b, quiet);
    this.#x.noteExceptions(found);
    this.#x.setCodes(found);
  }

  /** FCOMI and its kin: only a stack fault touches C1. */
  #compareFlags(index: number, quiet: boolean): void {
    const found = this.#order(this.#x.read(index), quiet);
    this.#x.noteExceptions(found);
    const [result, carry] = orderFlags(found);
    this.#context.builder.setFlags(result, carry);
  }

  // ---- control --------------------------------------------------------------------------------------------------

  #storeWord(word: "fcw" | "fsw"): void {
    const value = word === "fcw" ? this.#x.control.get : this.#x.statusWord();
    this.#context.builder.memory(16, "w").write(value);
  }

  /** FLDCW: an exception that it unmasks becomes pending, which is not the ordinary case. */
  #loadControl(): void {
    const f = this.#f;
    const word = this.#context.builder.memory(16, "r").read();
    const control = f.let(i32.or(i32.and(word, FCW_WRITABLE), FCW_FIXED));
    const pending = i32.and(i32.and(this.#x.status(), EXCEPTIONS), i32.xor(control, -1));
    this.#context.leaveIf(i32.ne(pending, 0));
    f.set(this.#x.control, control);
  }
}
