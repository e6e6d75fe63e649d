/**
 * The x87 of a region while it is compiled: registers, tags, status and control word, last instruction, all in locals
 * from where they are loaded to where they are stored, and what is known of them at the present point of the code.
 */
import { FIELD, type FieldName, FPU_REGS, FPU_SIGN_EXPONENT, SEG, segmentField, VECTOR_GATE } from "../../isa/state.ts";
import { CONDITION, EXCEPTIONS, FSW } from "../../isa/x87/constants.ts";
import type { Extended } from "../../isa/x87/emit.ts";
import { FLAG_SHIFT, PACKED_STICKY } from "../../isa/x87/fast.ts";
import { type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import { STATE } from "../memory-map.ts";
import type { RegionInstruction } from "./blocks.ts";
import { SLOTS, type StackEffect } from "./x87-plan.ts";

/** Tag bits are those of the slots; this one says that no instruction may run: #NM, or an exception is pending. */
const CLOSED = 1 << SLOTS;
const TAGS = CLOSED - 1;
const SLOT_MASK = SLOTS - 1;
/** From TOP in the status word to the offset of a register, 16 bytes each. */
const TOP_TO_OFFSET = 7;
const OFFSET_MASK = 0x70;
const OFFSET_SHIFT = 4;
const SEGMENT_STRIDE = segmentField(1, "selector") - segmentField(0, "selector");

interface Register {
  /** Sign and exponent; bits above 15 are anything. */
  readonly signExponent: Local;
  readonly significand: Local;
}

export class X87State {
  readonly #f: FunctionWriter;
  /** Linear address of the region's origin. */
  readonly #base: Value;
  /** Slots that are loaded and stored, as a mask. */
  #slots = 0;
  readonly #registers: readonly Register[];
  /** Offset of slot 0's register: 0, 16 … 112. */
  readonly #origin: Local;
  /** {@link depth} for code that is reached from many places. */
  readonly #depthLocal: Local;
  readonly #tags: Local;
  /** Control word. */
  readonly control: Local;
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
  /** Slot of ST(0). */
  depth = 0;
  /** Slots whose tags have been settled, and their tags now. */
  #known = 0;
  #full = 0;
  #hasOutcome = false;
  /** Where C1 is: in the status local, cleared, or in the outcome local. */
  #c1: "status" | "clear" | "outcome" = "status";

  /** `base`: linear address of the region's origin. */
  constructor(f: FunctionWriter, base: Value) {
    this.#f = f;
    this.#base = base;
    this.#registers = Array.from({ length: SLOTS }, () => ({
      signExponent: f.local("i32"),
      significand: f.local("i64"),
    }));
    this.#origin = f.local("i32");
    this.#depthLocal = f.local("i32");
    this.#tags = f.local("i32");
    this.control = f.local("i32");
    this.#status = f.local("i32");
    this.#outcome = f.local("i32");
    this.#opcode = f.local("i32");
    this.#instructionOffset = f.local("i32");
    this.#segment = f.local("i32");
    this.#dataOffset = f.local("i32");
  }

  // ---- between state page and locals ----------------------------------------------------------------------------

  /** Load and store these slots, a mask, from now on. */
  use(slots: number): void {
    this.#slots = slots;
  }

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
    f.set(this.control, this.#field("fcw"));
    // Rotated, so that bit 0 is the tag of slot 0.
    const twice = i32.mul(this.#field("ftw"), 1 | (1 << SLOTS));
    f.set(this.#tags, i32.and(i32.shrU(twice, i32.shrU(this.#origin.get, OFFSET_SHIFT)), TAGS));
    const closed = i32.or(i32.and(this.#field("vectorGate"), VECTOR_GATE.mmx), i32.and(this.#status.get, FSW.ES));
    f.set(this.#tags, i32.or(this.#tags.get, i32.select(closed, CLOSED, 0)));
    f.set(this.#status, i32.and(this.#status.get, ~FSW.TOP));
    f.set(this.#opcode, -1);
    f.set(this.#segment, -1);
    for (let slot = 0; slot < SLOTS; slot++) {
      if (!(this.#slots & (1 << slot))) continue;
      const { signExponent, significand } = this.#registers[slot]!;
      const offset = f.let(this.#offset(slot));
      f.set(signExponent, i32.load16u(offset, STATE + FPU_REGS + FPU_SIGN_EXPONENT));
      f.set(significand, i64.load(offset, STATE + FPU_REGS));
    }
  }

  /** Store everything; only after {@link flush}. */
  store(): void {
    const f = this.#f;
    this.#setField("fsw", i32.or(this.#status.get, this.#top(this.#depthLocal.get)));
    this.#setField("fcw", this.control.get);
    const twice = i32.mul(i32.and(this.#tags.get, TAGS), 1 | (1 << SLOTS));
    const rotated = i32.shrU(twice, i32.sub(SLOTS, i32.shrU(this.#origin.get, OFFSET_SHIFT)));
    this.#setField("ftw", i32.and(rotated, TAGS));
    for (let slot = 0; slot < SLOTS; slot++) {
      if (!(this.#slots & (1 << slot))) continue;
      const { signExponent, significand } = this.#registers[slot]!;
      const offset = f.let(this.#offset(slot));
      f.store16(offset, signExponent.get, STATE + FPU_REGS + FPU_SIGN_EXPONENT);
      f.store64(offset, significand.get, STATE + FPU_REGS);
    }
    f.if(i32.geS(this.#opcode.get, 0), () => {
      this.#setField("fop", this.#opcode.get);
      this.#setField("fip", i32.add(this.#base, this.#instructionOffset.get));
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
    if (this.#known !== 0) {
      const others = i32.and(this.#tags.get, ~this.#known);
      this.#f.set(this.#tags, i32.or(others, this.#full & this.#known));
    }
    this.#flushStatus();
  }

  #flushStatus(): void {
    const f = this.#f;
    const kept = this.#c1 === "status" ? this.#status.get : i32.and(this.#status.get, ~FSW.C1);
    if (this.#hasOutcome) {
      const flags = this.#c1 === "outcome" ? EXCEPTIONS | FSW.C1 : EXCEPTIONS;
      f.set(this.#status, i32.or(kept, i32.and(i32.shrU(this.#outcome.get, FLAG_SHIFT), flags)));
    } else if (this.#c1 !== "status") f.set(this.#status, kept);
  }

  /** {@link flush}, and forget: the end of a block, or before a call. */
  settle(): void {
    this.flush();
    this.forget();
  }

  /** Nothing is known any more. */
  forget(): void {
    this.#known = 0;
    this.#full = 0;
    this.#hasOutcome = false;
    this.#c1 = "status";
  }

  /** Number the slots anew, so that ST(0) is slot `depth`; for a branch, after {@link settle}. */
  rebase(depth: I32): void {
    this.store();
    this.load(depth);
  }

  // ---- what instructions are made of ----------------------------------------------------------------------------

  #st(index: number): Register {
    return this.#registers[(this.depth + index) & SLOT_MASK]!;
  }

  /** ST(`index`); sign and exponent with anything above bit 15. It changes when the register does. */
  read(index: number): Extended {
    const { signExponent, significand } = this.#st(index);
    return { signExponent: signExponent.get, significand: significand.get };
  }

  /** Set ST(`index`). */
  write(index: number, value: Extended): void {
    const { signExponent, significand } = this.#st(index);
    this.#f.set(signExponent, value.signExponent);
    this.#f.set(significand, value.significand);
  }

  /** Non-zero unless the x87 is available and these slots are full and empty. */
  refuses(full: number, empty: number): Value {
    return i32.ne(i32.and(this.#tags.get, full | empty | CLOSED), full);
  }

  /** Fill, free and move as an instruction does. */
  apply({ fills, frees, moves }: StackEffect): void {
    const mask = (registers: readonly number[]): number =>
      registers.reduce((bits, register) => bits | (1 << ((this.depth + register) & SLOT_MASK)), 0);
    this.#known |= mask(fills) | mask(frees);
    this.#full = (this.#full | mask(fills)) & ~mask(frees);
    if (moves === 0) return;
    this.depth = (this.depth + moves) & SLOT_MASK;
    this.#f.set(this.#depthLocal, this.depth);
  }

  /** An instruction that was called has moved TOP by `moves`, in all likelihood. */
  moved(moves: number): void {
    this.depth = (this.depth + moves) & SLOT_MASK;
  }

  /** C1 is 0 now. */
  clearC1(): void {
    this.#c1 = "clear";
  }

  /** An operation's packed outcome: its exceptions are added, its C1 replaces the old one. */
  noteOutcome(packed: Value): void {
    const before = i32.and(this.#outcome.get, PACKED_STICKY);
    this.#f.set(this.#outcome, this.#hasOutcome ? i32.or(before, packed) : packed);
    this.#hasOutcome = true;
    this.#c1 = "outcome";
  }

  /** Exceptions only; C1 stays where it is. */
  noteExceptions(packed: Value): void {
    const flags = i32.and(packed, PACKED_STICKY);
    this.#f.set(this.#outcome, this.#hasOutcome ? i32.or(this.#outcome.get, flags) : flags);
    this.#hasOutcome = true;
  }

  /** Make {@link noteExceptions} possible in code that is not always executed. */
  prepareExceptions(): void {
    if (!this.#hasOutcome) this.#f.set(this.#outcome, 0);
    this.#hasOutcome = true;
  }

  /** Set C3, C2 and C0 to those of `codes`, and clear C1. */
  setCodes(codes: Value): void {
    const others = i32.and(this.#status.get, ~CONDITION);
    this.#f.set(this.#status, i32.or(others, i32.and(codes, CONDITION & ~FSW.C1)));
    this.clearC1();
  }

  /** The status word but for TOP. */
  status(): Value {
    this.#flushStatus();
    this.#hasOutcome = false;
    this.#c1 = "status";
    return this.#status.get;
  }

  /** The whole status word. */
  statusWord(): Value {
    return this.#f.let(i32.or(this.status(), this.#top(this.depth)));
  }

  /** What FNSTENV says of the last instruction; its operand's address stays until another has one. */
  noteInstruction({ offset, mod, reg, rm, segment }: RegionInstruction, opcode: number, data: Value | undefined): void {
    const f = this.#f;
    f.set(this.#opcode, ((opcode & 7) << 8) | (mod << 6) | (reg << 3) | rm);
    f.set(this.#instructionOffset, offset);
    if (!data) return;
    f.set(this.#segment, segment);
    f.set(this.#dataOffset, data);
  }
}
