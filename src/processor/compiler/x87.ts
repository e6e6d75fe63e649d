/**
 * x87 instructions in regions: registers, tags, status and control word in locals from entry to exit. Only the ordinary
 * case is written: where the stack would fault, an exception is not masked, or the x87 is not available, the region is
 * left before the instruction, and the interpreter's arm carries it out.
 */
import { OSZAPC } from "../../isa/flags.ts";
import { FIELD, type FieldName, FPU_REGS, SEG, segmentField, VECTOR_GATE } from "../../isa/state.ts";
import { ORDER, orderFlags } from "../../isa/x87/compare.ts";
import {
  CONDITION,
  EXCEPTIONS,
  EXT,
  FCW,
  FCW_FIXED,
  FCW_WRITABLE,
  FSW,
  INTEGER_BIT,
  RC,
} from "../../isa/x87/constants.ts";
import type { Extended } from "../../isa/x87/emit.ts";
import { type FastName, FLAG_SHIFT, PACKED_STICKY } from "../../isa/x87/fast.ts";
import { type NumberFormat, widenInteger } from "../../isa/x87/operands.ts";
import { isControl, MEMORY_BYTES, type Source } from "../../isa/x87/row.ts";
import { changedSign, type Shape } from "../../isa/x87/shape.ts";
import { type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import { STATE } from "../memory-map.ts";
import type { RegionBlock, RegionInstruction } from "./graph.ts";
import type { RegionBuilder } from "./region-builder.ts";
import type { RegionModule } from "./region-module.ts";
import { calledMove, SLOTS, shapeOf, stackEffect, type X87Plan } from "./x87-plan.ts";

/** Tag bits are those of the slots; this one says that no instruction may run: #NM, or an exception is pending. */
const CLOSED = 1 << SLOTS;
const TAGS = CLOSED - 1;
const SLOT_MASK = SLOTS - 1;
/** From TOP in the status word to the offset of a register, 16 bytes each. */
const TOP_TO_OFFSET = 7;
const OFFSET_MASK = 0x70;
const OFFSET_SHIFT = 4;
/** Bytes from a register's significand to its sign and exponent. */
const SIGN_EXPONENT = 8;
const SEGMENT_STRIDE = segmentField(1, "selector") - segmentField(0, "selector");

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

interface Register {
  /** Sign and exponent; bits above 15 are anything. */
  readonly signExponent: Local;
  readonly significand: Local;
}

export class X87Compiler {
  readonly #context: X87Context;
  readonly #f: FunctionWriter;
  readonly #registers: readonly Register[];
  /** Offset of slot 0's register: 0, 16 … 112. */
  readonly #origin: Local;
  /** Slot of ST(0). */
  readonly #depthLocal: Local;
  readonly #tags: Local;
  readonly #control: Local;
  /** Status word without TOP, as of the last {@link flush}. */
  readonly #status: Local;
  /** Packed outcomes since then. */
  readonly #outcome: Local;
  /** Last non-control instruction: opcode, or -1 for none since the state was loaded, and its offset. */
  readonly #opcode: Local;
  readonly #instructionOffset: Local;
  /** Its memory operand: segment, or -1, and offset. */
  readonly #segment: Local;
  readonly #dataOffset: Local;

  // What is known at this point of the code.
  #depth = 0;
  /** Slots whose tags have been settled, and their tags now. */
  #known = 0;
  #full = 0;
  #hasOutcome = false;
  /** Where C1 is: in the status local, cleared, or in the outcome local. */
  #c1: "status" | "clear" | "outcome" = "status";
  /** Address of the current instruction's memory operand. */
  #data: Value | undefined;

  constructor(context: X87Context) {
    this.#context = context;
    const { f } = context;
    this.#f = f;
    this.#registers = Array.from({ length: SLOTS }, () => ({
      signExponent: f.local("i32"),
      significand: f.local("i64"),
    }));
    this.#origin = f.local("i32");
    this.#depthLocal = f.local("i32");
    this.#tags = f.local("i32");
    this.#control = f.local("i32");
    this.#status = f.local("i32");
    this.#outcome = f.local("i32");
    this.#opcode = f.local("i32");
    this.#instructionOffset = f.local("i32");
    this.#segment = f.local("i32");
    this.#dataOffset = f.local("i32");
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

  // ---- between state page and locals ----------------------------------------------------------------------------

  #field(name: FieldName): Value {
    return i32.load(STATE, FIELD[name].offset);
  }

  #setField(name: FieldName, value: I32): void {
    this.#f.store32(STATE, value, FIELD[name].offset);
  }

  /** Address of a slot's register, less the state page's and that of the register file. */
  #offset(slot: number): Value {
    return slot === 0 ? this.#origin.get : i32.and(i32.add(this.#origin.get, slot << OFFSET_SHIFT), OFFSET_MASK);
  }

  /** TOP in its place in the status word, `depth` slots from the origin. */
  #top(depth: I32): Value {
    const offset = i32.and(i32.add(this.#origin.get, i32.shl(depth, OFFSET_SHIFT)), OFFSET_MASK);
    return i32.shl(offset, TOP_TO_OFFSET);
  }

  /** Load everything from the state page, so that ST(0) is slot `depth`. */
  load(depth: I32): void {
    const f = this.#f;
    f.set(this.#depthLocal, depth);
    f.set(this.#status, this.#field("fsw"));
    const top = i32.shrU(this.#status.get, TOP_TO_OFFSET);
    f.set(this.#origin, i32.and(i32.sub(top, i32.shl(depth, OFFSET_SHIFT)), OFFSET_MASK));
    f.set(this.#control, this.#field("fcw"));
    // Rotated, so that bit 0 is the tag of slot 0.
    const twice = i32.mul(this.#field("ftw"), 1 | (1 << SLOTS));
    f.set(this.#tags, i32.and(i32.shrU(twice, i32.shrU(this.#origin.get, OFFSET_SHIFT)), TAGS));
    const closed = i32.or(i32.and(this.#field("vectorGate"), VECTOR_GATE.mmx), i32.and(this.#status.get, FSW.ES));
    f.set(this.#tags, i32.or(this.#tags.get, i32.select(closed, CLOSED, 0)));
    f.set(this.#status, i32.and(this.#status.get, ~FSW.TOP));
    f.set(this.#opcode, -1);
    f.set(this.#segment, -1);
    for (const slot of this.#context.plan.slots) {
      const { signExponent, significand } = this.#registers[slot]!;
      const offset = f.let(this.#offset(slot));
      f.set(signExponent, i32.load16u(offset, STATE + FPU_REGS + SIGN_EXPONENT));
      f.set(significand, i64.load(offset, STATE + FPU_REGS));
    }
  }

  /** Store everything; only after {@link flush}. */
  store(): void {
    const f = this.#f;
    this.#setField("fsw", i32.or(this.#status.get, this.#top(this.#depthLocal.get)));
    this.#setField("fcw", this.#control.get);
    const twice = i32.mul(i32.and(this.#tags.get, TAGS), 1 | (1 << SLOTS));
    const rotated = i32.shrU(twice, i32.sub(SLOTS, i32.shrU(this.#origin.get, OFFSET_SHIFT)));
    this.#setField("ftw", i32.and(rotated, TAGS));
    for (const slot of this.#context.plan.slots) {
      const { signExponent, significand } = this.#registers[slot]!;
      const offset = f.let(this.#offset(slot));
      f.store16(offset, signExponent.get, STATE + FPU_REGS + SIGN_EXPONENT);
      f.store64(offset, significand.get, STATE + FPU_REGS);
    }
    f.if(i32.geS(this.#opcode.get, 0), () => {
      this.#setField("fop", this.#opcode.get);
      this.#setField("fip", i32.add(this.#context.base, this.#instructionOffset.get));
      this.#setField("fcs", i32.load(STATE, segmentField(SEG.CS, "selector")));
      f.if(i32.geS(this.#segment.get, 0), () => {
        this.#setField("fdp", this.#dataOffset.get);
        const segment = i32.mul(this.#segment.get, SEGMENT_STRIDE);
        this.#setField("fds", i32.load(segment, STATE + segmentField(0, "selector")));
      });
    });
  }

  /** Whether {@link flush} has anything to write out. */
  get pending(): boolean {
    return this.#known !== 0 || this.#hasOutcome || this.#c1 !== "status";
  }

  /** Write out what is known but not yet in locals. What is known stays so: for code that does not come back, too. */
  flush(): void {
    const f = this.#f;
    if (this.#known !== 0) {
      const others = i32.and(this.#tags.get, ~this.#known);
      f.set(this.#tags, i32.or(others, this.#full & this.#known));
    }
    const kept = this.#c1 === "status" ? this.#status.get : i32.and(this.#status.get, ~FSW.C1);
    if (this.#hasOutcome) {
      const flags = this.#c1 === "outcome" ? EXCEPTIONS | FSW.C1 : EXCEPTIONS;
      f.set(this.#status, i32.or(kept, i32.and(i32.shrU(this.#outcome.get, FLAG_SHIFT), flags)));
    } else if (this.#c1 !== "status") f.set(this.#status, kept);
  }

  /** {@link flush}, and forget: the end of a block, or before a call. */
  settle(): void {
    this.flush();
    this.#forget();
  }

  #forget(): void {
    this.#known = 0;
    this.#full = 0;
    this.#hasOutcome = false;
    this.#c1 = "status";
  }

  /** Load again behind an instruction that was called. */
  afterCall(instruction: RegionInstruction): void {
    const found = shapeOf(instruction);
    const moves = found ? stackEffect(found.shape, instruction.rm).moves : calledMove(instruction);
    this.#depth = (this.#depth + moves) & SLOT_MASK;
    this.load(this.#depth);
  }

  // ---- control flow ---------------------------------------------------------------------------------------------

  beginBlock(block: RegionBlock): void {
    this.#forget();
    this.#depth = this.depthOf(block);
  }

  /** Slot of ST(0) at the start of a block. */
  depthOf(block: RegionBlock): number {
    return this.#context.plan.depths.get(block) ?? 0;
  }

  /** Whether a branch from here to `block` needs {@link rebase}. */
  fits(block: RegionBlock): boolean {
    return this.#depth === this.depthOf(block);
  }

  /** Number the slots anew, so that ST(0) is slot `depth`; for a branch, after {@link settle}. */
  rebase(depth: I32): void {
    this.store();
    this.load(depth);
  }

  /** At a place reached from many: number the slots as `depth` says, unless they are. */
  align(depth: Value): void {
    this.#f.if(i32.ne(this.#depthLocal.get, depth), () => this.rebase(depth));
  }

  // ---- what instructions are made of ----------------------------------------------------------------------------

  #st(index: number): Register {
    return this.#registers[(this.#depth + index) & SLOT_MASK]!;
  }

  #read(index: number): Extended {
    const { signExponent, significand } = this.#st(index);
    return { signExponent: signExponent.get, significand: significand.get };
  }

  #write(index: number, value: Extended): void {
    const { signExponent, significand } = this.#st(index);
    this.#f.set(signExponent, value.signExponent);
    this.#f.set(significand, value.significand);
  }

  #move(steps: number): void {
    if (steps === 0) return;
    this.#depth = (this.#depth + steps) & SLOT_MASK;
    this.#f.set(this.#depthLocal, this.#depth);
  }

  #clearC1(): void {
    this.#c1 = "clear";
  }

  /** An operation's packed outcome: its exceptions are added, its C1 replaces the old one. */
  #noteOutcome(packed: Value): void {
    const before = i32.and(this.#outcome.get, PACKED_STICKY);
    this.#f.set(this.#outcome, this.#hasOutcome ? i32.or(before, packed) : packed);
    this.#hasOutcome = true;
    this.#c1 = "outcome";
  }

  /** Exceptions only; C1 stays where it is. */
  #noteExceptions(packed: Value): void {
    const flags = i32.and(packed, PACKED_STICKY);
    this.#f.set(this.#outcome, this.#hasOutcome ? i32.or(this.#outcome.get, flags) : flags);
    this.#hasOutcome = true;
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
    builder.begin(instruction);
    const demand = plan.inlined.get(instruction);
    if (demand) this.#demand(demand.full, demand.empty);
    // Values that outlive the instruction must not be in a scope: flags and registers of those two.
    if (shape.kind === "compareFlags" || shape.kind === "statusToAx") this.#body(instruction, shape);
    else this.#f.scope(() => this.#body(instruction, shape));
    const effect = stackEffect(shape, instruction.rm);
    const mask = (registers: readonly number[]): number =>
      registers.reduce((bits, register) => bits | (1 << ((this.#depth + register) & SLOT_MASK)), 0);
    this.#known |= mask(effect.fills) | mask(effect.frees);
    this.#full = (this.#full | mask(effect.fills)) & ~mask(effect.frees);
    this.#move(effect.moves);
    if (!isControl(row)) this.#noteInstruction(instruction, row.opcode);
    this.#data = undefined;
    builder.end();
  }

  /** Leave unless the x87 is available and these slots are full and empty. */
  #demand(full: number, empty: number): void {
    const tested = i32.and(this.#tags.get, full | empty | CLOSED);
    this.#context.leaveIf(i32.ne(tested, full));
  }

  /** What FNSTENV says of the last instruction; its operand's address stays until another has one. */
  #noteInstruction({ offset, mod, reg, rm, segment }: RegionInstruction, opcode: number): void {
    const f = this.#f;
    f.set(this.#opcode, ((opcode & 7) << 8) | (mod << 6) | (reg << 3) | rm);
    f.set(this.#instructionOffset, offset);
    if (!this.#data) return;
    f.set(this.#segment, segment);
    f.set(this.#dataOffset, this.#data);
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
        this.#write(-1, this.#read(instruction.rm));
        this.#clearC1();
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
        this.#write(instruction.rm, this.#read(0));
        this.#clearC1();
        return;
      case "exchange":
        this.#exchange(instruction.rm);
        return;
      case "conditionalMove":
        this.#conditionalMove(instruction.rm, CONDITIONS[shape.condition] | (shape.negated ? 1 : 0));
        return;
      case "sign":
        this.#f.set(this.#st(0).signExponent, changedSign(shape.change, this.#st(0).signExponent.get));
        this.#clearC1();
        return;
      case "unary": {
        const a = this.#read(0);
        const result = this.#fast(shape.operation, "i64", a.signExponent, a.significand, this.#control.get);
        this.#finish(0, result);
        return;
      }
      case "statusToAx":
        this.#context.builder.register(0, 16).write(this.#statusWord());
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
    this.#write(destination, { signExponent: packed, significand: value });
    this.#noteOutcome(packed);
  }

  #arithmetic(instruction: RegionInstruction, shape: Shape & { kind: "arithmetic" }): void {
    const other = this.#operand(instruction, shape.source);
    const toOther = shape.destination === "sti";
    const d = toOther ? other : this.#read(0);
    const x = toOther ? this.#read(0) : other;
    const [a, b] = shape.reversed ? [x, d] : [d, x];
    const args = [a.signExponent, a.significand, b.signExponent, b.significand, this.#control.get];
    this.#finish(toOther ? instruction.rm : 0, this.#fast(shape.operation, "i64", ...args));
  }

  /** The operand beside ST(0), wide. */
  #operand(instruction: RegionInstruction, source: Source): Extended {
    if (source === "sti") return this.#read(instruction.rm);
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
      const signExponent = operand.readAt(SIGN_EXPONENT, 16);
      this.#data = operand.address();
      this.#write(-1, { signExponent, significand });
    } else {
      const bits = this.#readMemory(source);
      if (source === "r32" || source === "r64") {
        if (!this.#hasOutcome) f.set(this.#outcome, 0);
        this.#hasOutcome = true;
        const name = source === "r32" ? "loadSingle" : "loadDouble";
        const value = this.#widenNormal(source, bits, (se, sig) => {
          f.callInto([se, sig], this.#context.module.fast(name), bits, this.#control.get);
          this.#context.leaveIf(i32.ltS(se.get, 0));
          this.#noteExceptions(se.get);
        });
        this.#write(-1, value);
      } else this.#write(-1, this.#widenInteger(source, bits));
    }
    this.#clearC1();
  }

  #constant({ signExponent, significand, add }: Shape & { kind: "constant" }): void {
    const control = this.#f.let(i32.and(this.#control.get, FCW.RC));
    const directed = i64.select(i32.eq(control, RC.up), add.up, 0n);
    const increment = i64.select(i32.eqz(control), add.nearest, directed);
    const value = add.up === 0n ? i64.const(significand) : i64.add(significand, increment);
    this.#write(-1, { signExponent: i32.const(signExponent), significand: value });
    this.#clearC1();
  }

  #storeReal(format: "r32" | "r64"): void {
    const { builder } = this.#context;
    const single = format === "r32";
    const a = this.#read(0);
    const args = [a.signExponent, a.significand, this.#control.get];
    const name = single ? "storeSingle" : "storeDouble";
    const { packed, value } = this.#fast(name, single ? "i32" : "i64", ...args);
    const operand = builder.memory(single ? 32 : 64, "w");
    operand.write(value);
    this.#data = operand.address();
    this.#noteOutcome(packed);
  }

  #storeInteger(bits: 16 | 32 | 64, truncate: boolean): void {
    const control = truncate ? i32.or(this.#control.get, FCW.RC) : this.#control.get;
    const a = this.#read(0);
    const { packed, value } = this.#fast("storeInteger", "i64", a.signExponent, a.significand, control, bits);
    const operand = this.#context.builder.memory(bits, "w");
    operand.write(bits === 64 ? value : i32.wrap(value));
    this.#data = operand.address();
    this.#noteOutcome(packed);
  }

  #storeExtended(): void {
    const { signExponent, significand } = this.#read(0);
    const address = this.#context.builder.writeExtended(significand, signExponent);
    this.#data = address;
    this.#clearC1();
  }

  #exchange(index: number): void {
    const f = this.#f;
    const a = this.#read(0);
    const b = this.#read(index);
    const copy = { signExponent: f.temporary("i32"), significand: f.temporary("i64") };
    f.set(copy.signExponent, a.signExponent);
    f.set(copy.significand, a.significand);
    this.#write(0, b);
    this.#write(index, { signExponent: copy.signExponent.get, significand: copy.significand.get });
    this.#clearC1();
  }

  #conditionalMove(index: number, condition: number): void {
    const test = this.#f.let(this.#context.builder.condition(condition));
    const a = this.#read(0);
    const b = this.#read(index);
    this.#write(0, {
      signExponent: i32.select(test, b.signExponent, a.signExponent),
      significand: i64.select(test, b.significand, a.significand),
    });
  }

  // ---- comparisons ----------------------------------------------------------------------------------------------

  /** Order of ST(0) and `b` in the condition codes' places, exceptions above; leaves if they are not masked. */
  #order(b: Extended, quiet: boolean): Value {
    const f = this.#f;
    const a = this.#read(0);
    const found = f.temporary("i32");
    const args = [a.signExponent, a.significand, b.signExponent, b.significand, this.#control.get, quiet ? 1 : 0];
    f.callInto([found], this.#context.module.fast("compare"), ...args);
    this.#context.leaveIf(i32.ltS(found.get, 0));
    return found.get;
  }

  #compare(instruction: RegionInstruction, { source, quiet, index }: Shape & { kind: "compare" }): void {
    const zero: Extended = { signExponent: i32.const(0), significand: i64.const(0n) };
    const register = index === undefined ? undefined : this.#read(index);
    const b = register ?? (source === "zero" ? zero : this.#operand(instruction, source));
    const found = this.#order(b, quiet);
    const others = i32.and(this.#status.get, ~CONDITION);
    this.#f.set(this.#status, i32.or(others, i32.and(found, ORDER.unordered)));
    this.#noteExceptions(found);
    this.#clearC1();
  }

  /** FCOMI and its kin: only a stack fault touches C1. */
  #compareFlags(index: number, quiet: boolean): void {
    const found = this.#order(this.#read(index), quiet);
    this.#noteExceptions(found);
    const [result, carry] = orderFlags(found);
    this.#context.builder.setFlags(result, carry);
  }

  // ---- control --------------------------------------------------------------------------------------------------

  /** The whole status word as it is now. */
  #statusWord(): Value {
    this.#settleStatus();
    return this.#f.let(i32.or(this.#status.get, this.#top(this.#depth)));
  }

  /** Bring the status local up to date. */
  #settleStatus(): void {
    const [known, full] = [this.#known, this.#full];
    this.#known = 0;
    this.flush();
    this.#hasOutcome = false;
    this.#c1 = "status";
    this.#known = known;
    this.#full = full;
  }

  #storeWord(word: "fcw" | "fsw"): void {
    const value = word === "fcw" ? this.#control.get : this.#statusWord();
    this.#context.builder.memory(16, "w").write(value);
  }

  /** FLDCW: an exception that it unmasks becomes pending, which is not the ordinary case. */
  #loadControl(): void {
    const f = this.#f;
    const word = this.#context.builder.memory(16, "r").read();
    this.#settleStatus();
    const control = f.let(i32.or(i32.and(word, FCW_WRITABLE), FCW_FIXED));
    const pending = i32.and(i32.and(this.#status.get, EXCEPTIONS), i32.xor(control, -1));
    this.#context.leaveIf(i32.ne(pending, 0));
    f.set(this.#control, control);
  }
}
