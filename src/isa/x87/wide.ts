/**
 * 128-bit arithmetic for the transcendental functions. Functions return the high half of a result and leave the low half
 * at SCRATCH.low; `Wide` is such a pair in locals. Fixed-point numbers are named by their integer bits: Q0 is a fraction.
 */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { divideWide } from "./arithmetic.ts";
import { SCRATCH } from "./constants.ts";
import { bit64, define, invoke, mulHigh, variable } from "./emit.ts";

/** A 128-bit number in two locals. */
export interface Wide {
  readonly high: Local;
  readonly low: Local;
}

export interface WideArithmetic {
  /** (s, aHigh, aLow, bHigh, bLow) → the product's upper 128 bits, at most 3 units too small. */
  readonly multiply: FunctionReference;
  /** (s, aHigh, aLow, bHigh, bLow) → a·2^128 / b for a < b and bit 127 of b set, cut off; bit 0 is sticky. */
  readonly divide: FunctionReference;
}

/** Locals for a 128-bit number, starting as the pair given. */
export function wide(f: FunctionWriter, high?: Value | bigint, low?: Value | bigint): Wide {
  return { high: variable(f, "i64", high), low: variable(f, "i64", low) };
}

/** Both halves of a constant. */
export function halves(value: bigint): [high: bigint, low: bigint] {
  return [BigInt.asUintN(64, value >> 64n), BigInt.asUintN(64, value)];
}

/** Call a 128-bit helper and put its result into `target`. */
export function assign(f: FunctionWriter, target: Wide, s: Value, helper: FunctionReference, ...args: Value[]): void {
  f.set(target.high, invoke(helper, s, ...args));
  f.set(target.low, i64.load(s, SCRATCH.low));
}

/** target ← target + (high, low), modulo 2^128. */
export function addWide(f: FunctionWriter, target: Wide, high: Value | bigint, low: Value | bigint): void {
  const addend = typeof low === "bigint" ? i64.const(low) : f.let(low);
  f.set(target.low, i64.add(target.low.get, addend));
  f.set(target.high, i64.add(i64.add(target.high.get, high), bit64(i64.ltU(target.low.get, addend))));
}

/** target ← (high, low) - target, modulo 2^128. */
export function subtractFrom(f: FunctionWriter, target: Wide, high: Value | bigint, low: Value | bigint): void {
  const minuend = typeof low === "bigint" ? i64.const(low) : f.let(low);
  const borrow = f.let(bit64(i64.ltU(minuend, target.low.get)));
  f.set(target.low, i64.sub(minuend, target.low.get));
  f.set(target.high, i64.sub(i64.sub(high, target.high.get), borrow));
}

/** 1 if a < b, unsigned. */
export function isLess(aHigh: Value, aLow: Value, bHigh: Value, bLow: Value): Value {
  return i32.or(i64.ltU(aHigh, bHigh), i32.and(i64.eq(aHigh, bHigh), i64.ltU(aLow, bLow)));
}

function defineMultiply(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i64", "i64", "i64", "i64"], "i64", (f, s, aHigh, aLow, bHigh, bLow) => {
    const product: Wide = wide(f, mulHigh(f, aHigh, bHigh), i64.mul(aHigh, bHigh));
    addWide(f, product, 0n, mulHigh(f, aHigh, bLow));
    addWide(f, product, 0n, mulHigh(f, aLow, bHigh));
    f.store64(s, product.low.get, SCRATCH.low);
    f.result(product.high.get);
  });
}

/**
 * One 64-bit digit of a / b (a < b, b normalized): the quotient of the leading words is at most 2 too large, and is
 * lowered while the remainder, which replaces a, is negative.
 */
function quotientDigit(f: FunctionWriter, a: Wide, bHigh: Value, bLow: Value): Value {
  const digit = variable(f, "i64", -1n);
  f.if(i64.ltU(a.high.get, bHigh), () => {
    const unused = f.local("i64");
    f.set(digit, divideWide(f, a.high.get, a.low.get, bHigh, unused));
  });
  const q = digit.get;
  // a·2^64 - q·b in three words: the top one only tells the sign.
  const productLow = f.let(i64.mul(q, bLow));
  const middle: Wide = wide(f, mulHigh(f, q, bHigh), i64.mul(q, bHigh));
  addWide(f, middle, 0n, mulHigh(f, q, bLow));
  const borrow = f.let(bit64(i64.ne(productLow, 0n)));
  const top = variable(f, "i64", i64.sub(a.high.get, middle.high.get));
  const needed = f.let(i64.sub(i64.sub(a.low.get, middle.low.get), borrow));
  const underflows = i32.or(
    i64.ltU(a.low.get, middle.low.get),
    i32.and(i64.eq(a.low.get, middle.low.get), i32.wrap(borrow)),
  );
  f.set(top, i64.sub(top.get, bit64(underflows)));
  f.set(a.high, needed);
  f.set(a.low, i64.sub(0n, productLow));
  f.loop((again) => {
    f.if(i64.ltS(top.get, 0n), () => {
      f.set(digit, i64.sub(digit.get, 1n));
      addWide(f, a, bHigh, bLow);
      // The carry out of the sum is what lifts the remainder above zero.
      f.set(top, i64.add(top.get, bit64(isLess(a.high.get, a.low.get, bHigh, bLow))));
      f.br(again);
    });
  });
  return digit.get;
}

function defineDivide(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i64", "i64", "i64", "i64"], "i64", (f, s, aHigh, aLow, bHigh, bLow) => {
    const a = wide(f, aHigh, aLow);
    const high = f.let(quotientDigit(f, a, bHigh, bLow));
    const low = f.let(quotientDigit(f, a, bHigh, bLow));
    f.store64(s, i64.or(low, bit64(i64.ne(i64.or(a.high.get, a.low.get), 0n))), SCRATCH.low);
    f.result(high);
  });
}

/** Define 128-bit multiplication and division in `module`. */
export function defineWide(module: ModuleWriter): WideArithmetic {
  return { multiply: defineMultiply(module), divide: defineDivide(module) };
}

/**
 * A function (s, zHigh, zLow) → Σ ±c[k]·z^k by Horner's rule, z in Q0, all coefficients in the format of the result.
 * `alternating`: odd terms are subtracted.
 */
export function definePolynomial(
  module: ModuleWriter,
  { multiply }: WideArithmetic,
  coefficients: readonly bigint[],
  alternating: boolean,
): FunctionReference {
  return define(module, ["i32", "i64", "i64"], "i64", (f, s, zHigh, zLow) => {
    const sum = wide(f, ...halves(coefficients.at(-1) ?? 0n));
    for (const coefficient of coefficients.slice(0, -1).reverse()) {
      assign(f, sum, s, multiply, sum.high.get, sum.low.get, zHigh, zLow);
      if (alternating) subtractFrom(f, sum, ...halves(coefficient));
      else addWide(f, sum, ...halves(coefficient));
    }
    f.store64(s, sum.low.get, SCRATCH.low);
    f.result(sum.high.get);
  });
}

/** numerator ← numerator / denominator, both normalized; `exponent` becomes the quotient's. */
export function emitRatio(
  f: FunctionWriter,
  { divide }: WideArithmetic,
  s: Value,
  numerator: Wide,
  denominator: Wide,
  exponent: Local,
): void {
  const n = numerator;
  const d = denominator;
  f.if(
    isLess(n.high.get, n.low.get, d.high.get, d.low.get),
    () => f.set(exponent, i32.sub(exponent.get, 1)),
    () => {
      f.set(n.low, i64.or(i64.or(i64.shrU(n.low.get, 1n), i64.shl(n.high.get, 63n)), i64.and(n.low.get, 1n)));
      f.set(n.high, i64.shrU(n.high.get, 1n));
    },
  );
  assign(f, n, s, divide, n.high.get, n.low.get, d.high.get, d.low.get);
}
