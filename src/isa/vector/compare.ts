/** Comparisons, minimum and maximum of one lane, with the exceptions of operands. SDM 2 CMPPD, COMISD, MINPD, MAXPD. */
import { call, f32, f64, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { define } from "../x87/emit.ts";
import { MXCSR } from "./constants.ts";
import { type Format, isSignaling, isUnordered, loadMxcsr, note, noteDenormal, operand } from "./format.ts";

/** What a comparison finds. */
export const RELATION = { greater: 0, less: 1, equal: 2, unordered: 3 } as const;

export interface LaneComparison {
  /** (s, a, b, signaling) → RELATION. IE for any NaN when `signaling`, else for signaling ones only. */
  readonly relate: FunctionReference;
  /** (s, a, b) → the smaller; the second when they are equal or one is a NaN. */
  readonly min: FunctionReference;
  readonly max: FunctionReference;
  /** (s, a, b, predicate 0–7) → all ones or zeros. */
  readonly compare: FunctionReference;
}

/** The number as a double, exactly; denormals included. */
export function asDouble(format: Format, a: Value): Value {
  return format.bits === 64 ? f64.reinterpret(a) : f64.promote(f32.reinterpret(i32.wrap(a)));
}

function defineRelate(module: ModuleWriter, format: Format): FunctionReference {
  return define(module, ["i32", "i64", "i64", "i32"], "i32", (f, s, first, second, signaling) => {
    const mxcsr = f.let(loadMxcsr(s!));
    const a = operand(f, format, mxcsr, first!);
    const b = operand(f, format, mxcsr, second!);
    f.if(i32.or(isUnordered(format, a), isUnordered(format, b)), () => {
      const invalid = i32.or(i32.or(isSignaling(format, a), isSignaling(format, b)), signaling!);
      f.if(invalid, () => note(f, s!, MXCSR.IE));
      f.return(RELATION.unordered);
    });
    noteDenormal(f, s!, format, a, b);
    f.if(f64.eq(asDouble(format, a), asDouble(format, b)), () => f.return(RELATION.equal));
    f.result(f64.lt(asDouble(format, a), asDouble(format, b)));
  });
}

function defineMinMax(module: ModuleWriter, format: Format, smaller: boolean): FunctionReference {
  return define(module, ["i32", "i64", "i64"], "i64", (f, s, first, second) => {
    const mxcsr = f.let(loadMxcsr(s!));
    const a = operand(f, format, mxcsr, first!);
    const b = operand(f, format, mxcsr, second!);
    f.if(i32.or(isUnordered(format, a), isUnordered(format, b)), () => {
      note(f, s!, MXCSR.IE);
      f.return(b);
    });
    noteDenormal(f, s!, format, a, b);
    const x = asDouble(format, a);
    const y = asDouble(format, b);
    f.result(i64.select(smaller ? f64.lt(x, y) : f64.lt(y, x), a, b));
  });
}

/** Predicates of CMPxx: EQ, LT, LE, UNORD and their opposites; LT and LE signal any NaN. */
export const PREDICATE = { eq: 0, lt: 1, le: 2, unord: 3, not: 4 } as const;

/** Of each RELATION, whether predicates 0–3 hold: bit RELATION of byte predicate. */
const HOLDS =
  (1 << RELATION.equal) |
  (1 << (8 + RELATION.less)) |
  (((1 << RELATION.less) | (1 << RELATION.equal)) << 16) |
  (1 << (24 + RELATION.unordered));

function defineCompare(module: ModuleWriter, relate: FunctionReference): FunctionReference {
  return define(module, ["i32", "i64", "i64", "i32"], "i64", (f, s, a, b, predicate) => {
    const kind = f.let(i32.and(predicate!, 3));
    const signaling = i32.or(i32.eq(kind, PREDICATE.lt), i32.eq(kind, PREDICATE.le));
    const relation = f.let(call(relate, s!, a!, b!, signaling));
    const bit = i32.shrU(HOLDS, i32.add(i32.shl(kind, 3), relation));
    const holds = i32.and(i32.xor(bit, i32.shrU(predicate!, 2)), 1);
    f.result(i64.sub(0n, i64.extendU(holds)));
  });
}

/** Define the comparisons of one format. */
export function defineLaneComparison(module: ModuleWriter, format: Format): LaneComparison {
  const relate = defineRelate(module, format);
  return {
    relate,
    min: defineMinMax(module, format, true),
    max: defineMinMax(module, format, false),
    compare: defineCompare(module, relate),
  };
}
