/** What one row of the x87 instruction table says, and what its generated function may use. */
import type { Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ValueType } from "../../wasm/module.ts";
import type { Arithmetic } from "./arithmetic.ts";
import type { Comparison } from "./compare.ts";
import type { Decimal } from "./decimal.ts";
import type { Operands } from "./operands.ts";
import type { ExponentOperations } from "./remainder.ts";
import type { Rounding } from "./round.ts";
import type { Shape } from "./shape.ts";
import type { Stack } from "./stack.ts";
import type { Transcendental } from "./transcendental.ts";

/** The shared functions that rows call. */
export interface Kernel {
  readonly arithmetic: Arithmetic;
  readonly comparison: Comparison;
  readonly decimal: Decimal;
  readonly exponents: ExponentOperations;
  readonly operands: Operands;
  readonly rounding: Rounding;
  readonly stack: Stack;
  readonly transcendental: Transcendental;
}

/** Memory operands: reals, integers, packed decimal, and the blocks that TypeScript moves (see environment.ts). */
export type MemoryOperand = "r32" | "r64" | "r80" | "i16" | "i32" | "i64" | "bcd" | "env" | "state";

/** Bytes of a memory operand; blocks depend on the operand size: environment 14 or 28, state 94 or 108. */
export const MEMORY_BYTES = { r32: 4, r64: 8, r80: 10, i16: 2, i32: 4, i64: 8, bcd: 10 } as const satisfies Partial<
  Record<MemoryOperand, number>
>;

/** Writes a row's function body; parameters after `s` as {@link parametersOf} says. Must leave the status. */
export type Semantics = (kernel: Kernel, f: FunctionWriter, s: Value, ...operands: Value[]) => void;

export interface X87Row {
  /** Intel's name, or the usual one of an undocumented alias. */
  readonly mnemonic: string;
  /** D8–DF, or 9B (WAIT, which has no ModRM byte). */
  readonly opcode: number;
  /** ModRM.reg. */
  readonly reg: number;
  /** Which ModRM.mod the row takes: memory, register, or no ModRM byte at all. */
  readonly mod: "mem" | "reg" | "none";
  /** ModRM.rm of a form that takes only one; without it all eight select ST(i). */
  readonly rm?: number;
  readonly memory?: MemoryOperand;
  /** Absent for rows without memory operand. */
  readonly access?: "read" | "write";
  /** For the disassembler, Intel order: `st`, `st(i)`, `mem`, `ax`, joined by commas; empty if none. */
  readonly operands: string;
  /** Checks for a pending unmasked exception before anything else, memory access included. */
  readonly waits: boolean;
  /** CPU feature beyond the x87 itself: FCMOVcc and FCOMI need CMOV, FISTTP needs SSE3. */
  readonly feature?: "cmov" | "sse3";
  /** What happens after a store: flags only, flags and pop, or nothing. */
  readonly commit?: "keep" | "pop" | "none";
  /** What it does, of the common instructions. */
  readonly shape?: Shape;
  /** Absent for `env` and `state`, which environment.ts moves. */
  readonly semantics?: Semantics;
}

/** Instructions that leave the last-instruction pointers alone (SDM 1 8.1.8). */
const CONTROL = new Set([
  "FNINIT",
  "FNCLEX",
  "FLDCW",
  "FNSTCW",
  "FNSTSW",
  "FNSTENV",
  "FLDENV",
  "FNSAVE",
  "FRSTOR",
  "FWAIT",
  "FNENI",
  "FNDISI",
  "FNSETPM",
]);

/** Whether a row is a control instruction in this sense. */
export function isControl({ mnemonic }: X87Row): boolean {
  return CONTROL.has(mnemonic);
}

/** Parameters of a row's function, the state page's address first. */
export function parametersOf(row: X87Row): readonly ValueType[] {
  if (row.mod !== "mem") return ["i32", "i32"];
  if (row.access === "write") return ["i32"];
  switch (row.memory) {
    case "r64":
    case "i64":
      return ["i32", "i64"];
    case "r80":
    case "bcd":
      return ["i32", "i64", "i32"];
    default:
      return ["i32", "i32"];
  }
}

/** Chooses a helper of the kernel. */
export type Pick = (kernel: Kernel) => FunctionReference;

/** Where an instruction's second operand comes from. */
export type Source = "sti" | "r32" | "r64" | "i16" | "i32";
