/**
 * What the semantics of a row are written against. Each engine implements it: the interpreter takes operands from the
 * decoded-operation record, a compiler from constants and locals.
 *
 * Order matters for precise faults: whatever may fault (reading or writing a memory operand, push, pop, raise) comes
 * before flags and other registers change. A value that is read is bound at once and does not change afterwards.
 */
import type { I32, Value } from "../wasm/expression.ts";
import type { FunctionWriter } from "../wasm/function.ts";

/** An operand of the instruction. */
export interface Operand {
  /** 8, 16 or 32 (0 for an address-only operand). */
  readonly bits: number;
  /** True for a memory operand. */
  readonly memory: boolean;
  /** Value, zero-extended to 32 bits. */
  read(): Value;
  /** Store the low `bits` bits. */
  write(value: I32): void;
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

  /** The lazy flag pair as it was before this instruction (see flags.ts). */
  readonly flagsResult: Value;
  readonly flagsCarry: Value;
  /** Set the lazy pair; either half may be left as it is. */
  setFlags(result: I32 | undefined, carry: I32 | undefined): void;

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
