/**
 * What the common x87 instructions do, as data: the row functions are made from it (`semanticsOf`), and the region
 * compiler writes the ordinary case in place from the same description, leaving all else to those functions.
 */
import { i32, type Value } from "../../wasm/expression.ts";
import { EXT } from "./constants.ts";
import type { NumberFormat } from "./operands.ts";
import type { Kernel, Pick, Semantics, Source } from "./row.ts";
import * as compare from "./semantics-compare.ts";
import * as compute from "./semantics-compute.ts";
import * as control from "./semantics-control.ts";
import * as move from "./semantics-move.ts";
import { loadControl, loadStatus } from "./stack.ts";

/** The four operations, by the kernel's names. */
export type BinaryOperation = "add" | "subtract" | "multiply" | "divide";

/** The conditions of FCMOVcc: CF, ZF, either, PF. */
export type MoveCondition = "b" | "e" | "be" | "u";

export type Shape =
  /** destination ← destination op source, or source op destination if `reversed`. */
  | {
      readonly kind: "arithmetic";
      readonly operation: BinaryOperation;
      readonly source: Source;
      readonly reversed: boolean;
      readonly destination: "st0" | "sti";
      readonly pops: boolean;
    }
  /** ST(0) with ST(`index`), ST(i), memory or zero, into the condition codes. */
  | {
      readonly kind: "compare";
      readonly source: Source | "zero";
      readonly quiet: boolean;
      readonly pops: 0 | 1 | 2;
      readonly index?: number;
    }
  /** ST(0) with ST(i), into EFLAGS. */
  | { readonly kind: "compareFlags"; readonly quiet: boolean; readonly pops: boolean }
  | { readonly kind: "load"; readonly source: NumberFormat | "r80" }
  | { readonly kind: "loadRegister" }
  /** Significand cut off at 64 bits, and what rounding to nearest and up add to it. */
  | {
      readonly kind: "constant";
      readonly signExponent: number;
      readonly significand: bigint;
      readonly add: { readonly nearest: bigint; readonly up: bigint };
    }
  | { readonly kind: "storeReal"; readonly format: "r32" | "r64"; readonly pops: boolean }
  | { readonly kind: "storeInteger"; readonly bits: 16 | 32 | 64; readonly truncate: boolean; readonly pops: boolean }
  | { readonly kind: "storeExtended"; readonly pops: true }
  | { readonly kind: "storeRegister"; readonly pops: boolean }
  | { readonly kind: "exchange" }
  | { readonly kind: "conditionalMove"; readonly condition: MoveCondition; readonly negated: boolean }
  | { readonly kind: "sign"; readonly change: "negate" | "absolute" }
  | { readonly kind: "unary"; readonly operation: "squareRoot" | "integral" }
  | { readonly kind: "statusToAx" }
  | { readonly kind: "storeWord"; readonly word: "fcw" | "fsw" }
  | { readonly kind: "loadControl" }
  | { readonly kind: "wait" };

/** Default results of stores from an empty register. */
const INDEFINITE_REAL = { r32: 0xffc0_0000n, r64: 0xfff8_0000_0000_0000n } as const;

const UNARY: Readonly<Record<"squareRoot" | "integral", Pick>> = {
  squareRoot: (k: Kernel) => k.arithmetic.squareRoot,
  integral: (k: Kernel) => k.exponents.integral,
};

/** The sign and exponent word after FCHS or FABS. */
export function changedSign(change: "negate" | "absolute", signExponent: Value): Value {
  return change === "negate" ? i32.xor(signExponent, EXT.sign) : i32.and(signExponent, EXT.exponent);
}

/** The complete instruction, stack faults and all, as a row's function carries it out. */
export function semanticsOf(shape: Shape): Semantics {
  switch (shape.kind) {
    case "arithmetic":
      return compute.arithmetic((k) => k.arithmetic[shape.operation], shape);
    case "compare":
      return compare.compare(shape);
    case "compareFlags":
      return compare.compareFlags(shape);
    case "load":
      return shape.source === "r80" ? move.loadExtendedReal : move.loadNumber(shape.source);
    case "loadRegister":
      return move.loadRegister;
    case "constant":
      return move.loadConstant(shape.signExponent, shape.significand, shape.add);
    case "storeReal":
      return move.storeNumber(shape.format === "r32" ? (k) => k.rounding.toSingle : (k) => k.rounding.toDouble, {
        low: INDEFINITE_REAL[shape.format],
      });
    case "storeInteger":
      return move.storeInteger(shape.bits, shape.truncate);
    case "storeExtended":
      return move.storeExtendedReal;
    case "storeRegister":
      return move.storeRegister(shape.pops);
    case "exchange":
      return move.exchange;
    case "conditionalMove":
      return move.conditionalMove(shape.condition, shape.negated);
    case "sign":
      return compute.changeSign((signExponent) => changedSign(shape.change, signExponent));
    case "unary":
      return compute.unary(compute.plain(UNARY[shape.operation]));
    case "statusToAx":
      return control.statusToAx;
    case "storeWord":
      return control.storeWord(shape.word === "fcw" ? loadControl : loadStatus);
    case "loadControl":
      return control.loadControlWord;
    default:
      return control.nothing(true);
  }
}
