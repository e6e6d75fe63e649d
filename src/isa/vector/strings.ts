/** PCMPESTRI and its kin, and CRC32, as functions. SDM 2B 4.1 (the immediate of the string comparisons), SDM 2A CRC32. */
import { call, i32, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { i8x16, i16x8, v128 } from "../../wasm/simd.ts";
import { FPU_SCRATCH } from "../state.ts";
import { define, variable } from "../x87/emit.ts";

/** Bits of the immediate. */
export const STRING = {
  words: 1,
  signed: 2,
  aggregationShift: 2,
  negate: 0x10,
  validOnly: 0x20,
  /** Index of the last element, or a mask of whole elements. */
  last: 0x40,
} as const;
const AGGREGATION = { equalAny: 0, ranges: 1, equalEach: 2, equalOrdered: 3 } as const;

/** Where the result keeps, above the 16 bits of IntRes2, that each operand is shorter than a register. */
export const SHORT = { first: 1 << 16, second: 1 << 17 } as const;

/** Polynomial 11EDC6F41h with its bits reflected, without the highest. */
const CRC32C = 0x82f6_3b78 | 0;

/** Body of (s, crc, value, bits) → crc. */
export function writeCrc32(f: FunctionWriter, ...params: Value[]): void {
  const [, crc, value, bits] = params;
  const state = variable(f, "i32", i32.xor(crc!, value!));
  const left = variable(f, "i32", bits!);
  f.loop((again) => {
    const feedback = i32.and(i32.sub(0, i32.and(state.get, 1)), CRC32C);
    f.set(state, i32.xor(i32.shrU(state.get, 1), feedback));
    f.set(left, i32.sub(left.get, 1));
    f.brIf(left.get, again);
  });
  f.result(state.get);
}

interface Elements {
  readonly count: number;
  readonly splat: (a: Value) => Value;
  readonly eq: (a: Value, b: Value) => Value;
  readonly gtS: (a: Value, b: Value) => Value;
  readonly bitmask: (a: Value) => Value;
  /** What turns unsigned order into signed order. */
  readonly bias: Value;
  /** Element number `index` (an expression) of the first operand, which stands in memory. */
  readonly element: (s: Value, index: Value) => Value;
}

const BYTES: Elements = {
  count: 16,
  splat: i8x16.splat,
  eq: i8x16.eq,
  gtS: i8x16.gtS,
  bitmask: i8x16.bitmask,
  bias: v128.all(8, 0x80n),
  element: (s, index) => i32.load8u(i32.add(s, index), FPU_SCRATCH),
};
const WORDS: Elements = {
  count: 8,
  splat: i16x8.splat,
  eq: i16x8.eq,
  gtS: i16x8.gtS,
  bitmask: i16x8.bitmask,
  bias: v128.all(16, 0x8000n),
  element: (s, index) => i32.load16u(i32.add(s, i32.shl(index, 1)), FPU_SCRATCH),
};

/** (s, a, b, la, lb, immediate) → IntRes2, for elements of one size; lengths are at most `count`. */
function defineCompare(module: ModuleWriter, e: Elements): FunctionReference {
  const all = (1 << e.count) - 1;
  return define(module, ["i32", "v128", "v128", "i32", "i32", "i32"], "i32", (f, s, a, b, la, lb, immediate) => {
    const validA = f.let(i32.sub(i32.shl(1, la!), 1));
    const validB = f.let(i32.sub(i32.shl(1, lb!), 1));
    const aggregation = f.let(i32.and(i32.shrU(immediate!, STRING.aggregationShift), 3));
    const result = variable(f, "i32", 0);
    const i = variable(f, "i32", 0);
    f.store128(s!, a!, FPU_SCRATCH);
    /** Run `body` for each element of the first operand, `step` apart, while `more` are left. */
    const each = (step: number, body: () => void): void => {
      f.block((out) => {
        f.loop((again) => {
          f.brIf(i32.geU(i32.add(i.get, step - 1), la!), out);
          body();
          f.set(i, i32.add(i.get, step));
          f.br(again);
        });
      });
    };
    const equal = (): Value => e.bitmask(e.eq(e.splat(e.element(s!, i.get)), b!));
    f.if(i32.eq(aggregation, AGGREGATION.equalAny), () => {
      each(1, () => f.set(result, i32.or(result.get, equal())));
      f.set(result, i32.and(result.get, validB));
    });
    f.if(i32.eq(aggregation, AGGREGATION.ranges), () => {
      const bias = f.let(v128.select(i32.and(immediate!, STRING.signed), v128.const(0n), e.bias));
      const biased = f.let(v128.xor(b!, bias));
      const bound = (index: Value): Value => v128.xor(e.splat(e.element(s!, index)), bias);
      each(2, () => {
        const below = e.gtS(bound(i.get), biased);
        const above = e.gtS(biased, bound(i32.add(i.get, 1)));
        f.set(result, i32.or(result.get, i32.xor(e.bitmask(v128.or(below, above)), all)));
      });
      f.set(result, i32.and(result.get, validB));
    });
    f.if(i32.eq(aggregation, AGGREGATION.equalEach), () => {
      const same = i32.and(i32.and(e.bitmask(e.eq(a!, b!)), validA), validB);
      const neither = i32.xor(i32.or(validA, validB), all);
      f.set(result, i32.or(same, neither));
    });
    f.if(i32.eq(aggregation, AGGREGATION.equalOrdered), () => {
      f.set(result, all);
      each(1, () => {
        // Positions beyond the end are not compared.
        const beyond = i32.xor(i32.shrU(all, i.get), -1);
        f.set(result, i32.and(result.get, i32.or(i32.shrU(i32.and(equal(), validB), i.get), beyond)));
      });
    });
    const flipped = i32.select(i32.and(immediate!, STRING.validOnly), validB, all);
    f.result(i32.and(i32.xor(result.get, i32.select(i32.and(immediate!, STRING.negate), flipped, 0)), all));
  });
}

/** A length register's magnitude, at most `count`. */
function saturated(f: FunctionWriter, length: Value, count: number): Value {
  const sign = i32.shrS(length, 31);
  const magnitude = f.let(i32.sub(i32.xor(length, sign), sign));
  return f.let(i32.select(i32.gtU(magnitude, count), count, magnitude));
}

/** Elements before the first zero. */
function terminated(f: FunctionWriter, e: Elements, a: Value): Value {
  return f.let(i32.ctz(i32.or(e.bitmask(e.eq(a, v128.const(0n))), 1 << e.count)));
}

/** Writes the body of (s, a, b, length of a, length of b, explicit, immediate) → IntRes2 and SHORT. */
export function compareStringsWriter(module: ModuleWriter): (f: FunctionWriter, ...params: Value[]) => void {
  const byElements = [BYTES, WORDS].map((e) => ({ e, compare: defineCompare(module, e) }));
  return (f, s, a, b, la, lb, explicit, immediate) => {
    const result = variable(f, "i32", 0);
    for (const { e, compare } of byElements) {
      const wanted = i32.eq(i32.and(immediate!, STRING.words), e === WORDS ? 1 : 0);
      f.if(wanted, () => {
        const first = f.let(i32.select(explicit!, saturated(f, la!, e.count), terminated(f, e, a!)));
        const second = f.let(i32.select(explicit!, saturated(f, lb!, e.count), terminated(f, e, b!)));
        const short = i32.or(
          i32.select(i32.ltU(first, e.count), SHORT.first, 0),
          i32.select(i32.ltU(second, e.count), SHORT.second, 0),
        );
        f.set(result, i32.or(call(compare, s!, a!, b!, first, second, immediate!), short));
      });
    }
    f.result(result.get);
  };
}
