/**
 * What the semantics of a row are written against. Each engine implements it: the interpreter takes operands from the
 * decoded-operation record, a compiler from constants and locals.
 *
 * Order matters for precise faults: whatever may fault (reading or writing a memory operand, push, pop, raise) comes
 * before flags and other registers change. A value that is read is bound at once and does not change afterwards.
 */
import type { I32, I64, Value } from "../wasm/expression.ts";
import type { FunctionWriter } from "../wasm/function.ts";
import type { FunctionReference } from "../wasm/module.ts";
import type { FlagOp } from "./flags.ts";
import type { RuntimeName } from "./vector/runtime.ts";

/** A whole vector register: XMM (v128) or MMX (i64). */
export interface VectorRegister {
  get(): Value;
  set(value: Value): void;
  /** Put an integer or float of 32 or 64 bits into the low lanes of an XMM register, and clear the others. */
  setScalar(value: Value): void;
  /** Become equal to another register of the same kind. */
  copy(from: VectorRegister): void;
}

/** Which vector registers an instruction works on. */
export type VectorKind = "sse" | "mmx";

/** An operand of the instruction. */
export interface Operand {
  /** 8, 16, 32, 64 or 128 (0 for an address-only operand). */
  readonly bits: number;
  /** True for a memory operand. */
  readonly memory: boolean;
  /** The whole register, if the operand is a vector register or the low part of one. */
  readonly vector?: VectorRegister;
  /** Value: up to 32 bits zero-extended in an i32, 64 bits in an i64, 128 bits in a v128. */
  read(): Value;
  /** Store the low `bits` bits; of a vector register the others stay. */
  write(value: I32 | I64): void;
  /**
   * The same as floats, of operands of 32 or 64 bits, where an engine has a shorter way for them. What is read must be
   * used before the operand changes.
   */
  readFloat?(): Value;
  writeFloat?(value: Value): void;
  /** Effective address (offset in its segment) of a memory operand. */
  address(): Value;
  /** Read `bits` (8, 16 or 32) at `displacement` bytes after the operand's address. */
  readAt(displacement: I32, bits: number): Value;
}

export interface Builder {
  readonly f: FunctionWriter;
  /** Operand size in bits. */
  readonly bits: number;
  /** True when the instruction's address size is known to be 16 bits; an expression that is non-zero when so. */
  readonly address16: Value;

  /** Compute now and return a value that can be read many times. */
  let(value: Value): Value;
  /** A general register by its number, as an operand of `bits` bits (numbers 4–7 with 8 bits are AH–BH). */
  register(number: number, bits: number): Operand;
  /** A 32-bit field of the state page, named as in state.ts. */
  field(name: import("./state.ts").FieldName): Value;
  setField(name: import("./state.ts").FieldName, value: I32): void;

  /** Address of the vCPU's state page, for functions of {@link runtime}. */
  readonly state: Value;
  /** XMM0–XMM7 and MM0–MM7 by number. Writing an MMX register also fills the exponent of its x87 register with ones. */
  xmm(number: number): VectorRegister;
  mmx(number: number): VectorRegister;
  /**
   * First statement of an instruction on vector registers: leave with #UD, #NM or #MF unless they are available (SDM 3A
   * 13.1, 12.5.1). CR0 and CR4 change by instructions that end a block only, and a pending x87 exception by x87
   * instructions, so that one check may serve for many.
   */
  vectorAvailable(kind: VectorKind): void;
  /**
   * Non-zero when MXCSR has all exceptions masked, PE set already, round to nearest and neither FTZ nor DAZ: results of
   * operations on numbers are then what WebAssembly gives. Stays true until LDMXCSR or FXRSTOR.
   */
  simdDefault(): Value;
  /** A function of isa/vector/runtime.ts: the exact ways of floating point. Each leaves its outcome in `simdFault`. */
  runtime(name: RuntimeName): FunctionReference;
  /**
   * Whether the float that an operand holds is known to be no denormal number; and note that it is so behind the present
   * instruction. This may be said of what an instruction with a fast way has taken and given: when its exact function
   * meets a denormal number, {@link simdDefault} holds no more for the instructions that know.
   */
  isOrdinary(operand: Operand): boolean;
  noteOrdinary(operand: Operand): void;
  /** #XM, or #UD where the system does not know it, if the last exact function met an unmasked exception. */
  raiseSimd(): void;

  /** The lazy flag pair as it was before this instruction (see flags.ts). */
  readonly flagsResult: Value;
  readonly flagsCarry: Value;
  /** CF before this instruction, 0 or 1. */
  carryFlag(): Value;
  /** Condition 0–15 over the flags before this instruction: zero or not. */
  condition(cc: number): Value;
  /** Set the lazy pair; either half may be left as it is. Not inside a conditional: see {@link setFlagsIf}. */
  setFlags(result: I32 | undefined, carry: I32 | undefined): void;
  /** Set the lazy pair where `condition` is not zero. */
  setFlagsIf(condition: Value, result: I32 | undefined, carry: I32 | undefined): void;
  /**
   * Set the flags of an operation (see FLAG_OP in flags.ts): `a` and `b` its operands, zero-extended (sign-extended `a`
   * for sar), `r` the result, with any bits above the size; `count` of shifts, 1–31.
   */
  setFlagsOf(op: Exclude<FlagOp, "explicit">, bits: number, a: Value, b: Value, r: Value, count?: number): void;

  /** Push `value` of `bits` (16 or 32) bits; may fault, changes nothing then. */
  push(value: I32, bits: number): void;
  /** Value at the stack top; the stack pointer moves when `commit` is called. */
  pop(bits: number): { value: Value; commit: () => void };
  /** Value of `bits` bits at `offset` in the stack segment, the offset cut to the stack size. */
  readStack(offset: I32, bits: number): Value;
  /** Stack pointer arithmetic for RET n and LEAVE: add to SP or ESP by the stack size. */
  adjustStack(bytes: I32): void;

  /** EIP of the next instruction. */
  nextEip(): Value;
  /** Continue at `eip`, already cut to the operand size. Ends the instruction. */
  jump(eip: I32): void;
  /** Continue at the direct branch target (operand `target` of the form) when `condition` holds, else at the next instruction. */
  branchIf(condition: I32): void;
  /** Continue at the direct branch target. */
  branch(): void;
  /** #GP(0) when a near target lies beyond the code segment's limit; before anything changes. */
  checkTarget(eip: Value): void;
  /** EIP of the direct branch target, cut to the operand size. */
  branchTarget(): Value;
  /**
   * When `condition` holds, the helper that the row names carries the instruction out instead. Nothing may have changed
   * before; what the semantics say behind it is the other case.
   */
  helperIf(condition: I32): void;
  /** Raise an exception; control does not come back. */
  raise(vector: number, error?: I32): void;

  /** A string-instruction access at segment:(register number); `write` gives store permission checks. */
  readString(segment: "source" | "es", register: number, bits: number): Value;
  writeString(register: number, value: I32, bits: number): void;
  /** Advance ESI (6) or EDI (7) by `bits`/8, down when DF is set, in the address size. */
  advance(register: number, bits: number): void;
  /** Counter register (CX or ECX by the address size). */
  readCounter(): Value;
  writeCounter(value: I32): void;
}
