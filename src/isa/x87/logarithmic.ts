/**
 * FYL2X and FYL2XP1, computed in 128 bits. Logarithms are 2/ln 2 · artanh(s) with s = (m - 1)/(m + 1), which keeps
 * the relative precision near 1.
 */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../../wasm/module.ts";
import { EXT, FCW, FSW, INFINITY_SIGNIFICAND, INTEGER_BIT, OUTCOME, PC, SCRATCH } from "./constants.ts";
import {
  define,
  type Extended,
  exponentOf,
  invoke,
  normalize,
  normalizedExponent,
  normalizedSignificand,
  shiftRightJam,
  signOf,
  storeExtended,
  variable,
} from "./emit.ts";
import { denormalCheck, isDenormal, isInfinity, isZero, type Operands } from "./operands.ts";
import type { Rounding } from "./round.ts";
import {
  addWide,
  assign,
  definePolynomial,
  emitRatio,
  subtractFrom,
  type Wide,
  type WideArithmetic,
  wide,
} from "./wide.ts";
import { ln2Scaled } from "./wide-constants.ts";

export interface Logarithmic {
  /** (s, destination, ySE, ySig, xSE, xSig, fcw) → flags: y · log2 x. */
  readonly yLogX: FunctionReference;
  /** y · log2(x + 1). */
  readonly yLogXPlusOne: FunctionReference;
}

const BINARY: readonly ValueType[] = ["i32", "i32", "i32", "i64", "i32", "i64", "i32"];

/** Terms of artanh(s)/s for s² < 0.0295. */
const LOGARITHM_TERMS = 22;
/** Significand of √2, cut off: mantissas above it are halved. */
const ROOT_TWO = 0xb504_f333_f9de_6484n;

interface Context {
  readonly operands: Operands;
  readonly rounding: Rounding;
  readonly arithmetic: WideArithmetic;
  readonly artanh: FunctionReference;
  readonly logarithm: FunctionReference;
}

/**
 * (s, numeratorHigh, numeratorLow, denominatorHigh, denominatorLow, exponent) → high half of |log2| = 2/ln 2 ·
 * artanh(numerator/denominator), normalized; `exponent` is that of the quotient's parts. Low half and exponent in the
 * scratch area.
 */
function defineArtanh(module: ModuleWriter, arithmetic: WideArithmetic): FunctionReference {
  const scale = (2n << (126n + 128n)) / ln2Scaled(128);
  const series = Array.from({ length: LOGARITHM_TERMS }, (_, k) => scale / BigInt(2 * k + 1));
  const polynomial = definePolynomial(module, arithmetic, series, false);
  const params = ["i32", "i64", "i64", "i64", "i64", "i32"] as const;
  return define(module, params, "i64", (f, s, nHigh, nLow, dHigh, dLow, difference) => {
    const quotient = wide(f, nHigh, nLow);
    const exponent = variable(f, "i32", difference);
    emitRatio(f, arithmetic, s, quotient, wide(f, dHigh, dLow), exponent);
    const square = wide(f);
    const { high, low } = quotient;
    assign(f, square, s, arithmetic.multiply, high.get, low.get, high.get, low.get);
    shiftRightJam(f, square.high, square.low, i32.shl(i32.sub(-1, exponent.get), 1));
    const factor = wide(f);
    assign(f, factor, s, polynomial, square.high.get, square.low.get);
    assign(f, factor, s, arithmetic.multiply, factor.high.get, factor.low.get, high.get, low.get);
    f.set(exponent, i32.add(exponent.get, 2));
    normalize(f, factor.high, factor.low, exponent);
    f.store32(s, exponent.get, SCRATCH.exponent);
    f.store64(s, factor.low.get, SCRATCH.low);
    f.result(factor.high.get);
  });
}

/**
 * (s, power, mantissaHigh, mantissaLow) → high half of |log2(mantissa·2^power)| for a normalized 128-bit mantissa in
 * [1, 2); the number must not be 1. Low half and exponent in the scratch area; SCRATCH.outcome is 1 if it is negative.
 */
function defineLogarithm(module: ModuleWriter, artanh: FunctionReference): FunctionReference {
  return define(module, ["i32", "i32", "i64", "i64"], "i64", (f, s, power, mantissaHigh, mantissaLow) => {
    const logarithm = wide(f);
    const exponent = variable(f, "i32", 0);
    const negative = variable(f, "i32", 0);
    const leave = (): void => {
      normalize(f, logarithm.high, logarithm.low, exponent);
      f.store32(s, exponent.get, SCRATCH.exponent);
      f.store32(s, negative.get, SCRATCH.outcome);
      f.store64(s, logarithm.low.get, SCRATCH.low);
    };
    f.if(i32.eqz(i32.or(i64.ne(mantissaHigh, INTEGER_BIT), i64.ne(mantissaLow, 0n))), () => {
      // A power of two: exact.
      f.set(negative, i32.ltS(power, 0));
      f.set(logarithm.high, i64.extendU(i32.select(negative.get, i32.sub(0, power), power)));
      f.set(exponent, 63);
      leave();
      f.return(logarithm.high.get);
    });
    const halved = f.let(i64.gtU(mantissaHigh, ROOT_TWO));
    const whole = f.let(i32.add(power, halved));
    f.set(negative, i32.ltS(whole, 0));
    // s = (m - 1)/(m + 1), or (2 - m)/(2 + m) if halved; the sums have 129 bits, cut to 128.
    const difference = wide(f, mantissaHigh, mantissaLow);
    const sum = wide(f, mantissaHigh, mantissaLow);
    f.if(
      halved,
      () => subtractFrom(f, difference, 0n, 0n),
      () => {
        f.set(difference.high, i64.sub(difference.high.get, INTEGER_BIT));
        f.set(sum.high, i64.add(sum.high.get, INTEGER_BIT));
      },
    );
    f.set(exponent, -1);
    normalize(f, difference.high, difference.low, exponent);
    const sumHigh = i64.or(i64.shrU(sum.high.get, 1n), INTEGER_BIT);
    const sumLow = i64.or(i64.shrU(sum.low.get, 1n), i64.shl(sum.high.get, 63n));
    const { high, low } = difference;
    assign(f, logarithm, s, artanh, high.get, low.get, sumHigh, sumLow, exponent.get);
    f.set(exponent, i32.load(s, SCRATCH.exponent));
    f.if(
      i32.eqz(whole),
      () => f.set(negative, halved),
      () => {
        // |whole| as a 16.112 fixed-point number, plus or minus the logarithm of the mantissa.
        shiftRightJam(f, logarithm.high, logarithm.low, i32.sub(15, exponent.get));
        const magnitude = i32.select(negative.get, i32.sub(0, whole), whole);
        const scaled = f.let(i64.shl(i64.extendU(magnitude), 48n));
        f.if(
          i32.xor(negative.get, halved),
          () => subtractFrom(f, logarithm, scaled, 0n),
          () => addWide(f, logarithm, scaled, 0n),
        );
        f.set(exponent, 15);
      },
    );
    f.set(logarithm.low, i64.or(logarithm.low.get, 1n));
    leave();
    f.result(logarithm.high.get);
  });
}

/**
 * Emit y · (high, low)·2^exponent, pack it, return the flags. Processors call even the product with an exact logarithm
 * inexact, and an underflow if it is tiny.
 */
function emitProduct(
  f: FunctionWriter,
  c: Context,
  s: Value,
  destination: Value,
  y: Extended,
  logarithm: Wide,
  exponent: Local,
  sign: Value,
  fcw: Value,
): Value {
  const product = wide(f);
  const { high, low } = logarithm;
  const sticky = f.let(i64.and(low.get, 1n));
  assign(f, product, s, c.arithmetic.multiply, high.get, low.get, normalizedSignificand(y), i64.const(0n));
  f.set(exponent, i32.add(i32.add(exponent.get, normalizedExponent(y)), 1));
  normalize(f, product.high, product.low, exponent);
  const args = [destination, sign, exponent.get, product.high.get, i64.or(product.low.get, sticky)];
  const packed = f.let(invoke(c.rounding.pack, ...args, i32.or(fcw, PC.extended)));
  const tiny = i32.eqz(exponentOf(i32.load16u(destination, 8)));
  return i32.or(packed, i32.select(tiny, FSW.PE | FSW.UE, FSW.PE));
}

function infinity(f: FunctionWriter, destination: Value, sign: Value, flags: Value | number): void {
  storeExtended(f, destination, i32.or(sign, EXT.exponent), INFINITY_SIGNIFICAND);
  f.return(flags);
}

function defineYLogX(module: ModuleWriter, c: Context): FunctionReference {
  return define(module, BINARY, "i32", (f, s, destination, ySE, ySig, xSE, xSig, fcw) => {
    const y: Extended = { signExponent: ySE, significand: ySig };
    const x: Extended = { signExponent: xSE, significand: xSig };
    const ySign = f.let(signOf(ySE));
    const settled = f.let(invoke(c.operands.notANumber, destination, ySE, ySig, xSE, xSig, fcw));
    f.if(settled, () => f.return(settled));
    const invalid = (): void => f.return(invoke(c.operands.invalid, destination, fcw));
    f.if(isZero(x), () => {
      f.if(isZero(y), invalid);
      f.if(isInfinity(y), () => infinity(f, destination, i32.xor(ySign, EXT.sign), 0));
      f.if(i32.eqz(i32.and(fcw, FCW.ZM)), () => f.return(FSW.ZE | OUTCOME.suppressed | OUTCOME.settled));
      infinity(f, destination, i32.xor(ySign, EXT.sign), FSW.ZE);
    });
    f.if(signOf(xSE), invalid);
    const denormals = (): Value => denormalCheck(f, i32.or(isDenormal(x), isDenormal(y)), fcw);
    f.if(isInfinity(x), () => {
      f.if(isZero(y), invalid);
      infinity(f, destination, ySign, denormals());
    });
    const power = f.let(i32.sub(normalizedExponent(x), EXT.bias));
    const mantissa = f.let(normalizedSignificand(x));
    const isOne = f.let(i32.eqz(i32.or(power, i64.ne(mantissa, INTEGER_BIT))));
    const belowOne = f.let(i32.ltS(power, 0));
    f.if(isInfinity(y), () => {
      f.if(isOne, invalid);
      infinity(f, destination, i32.xor(ySign, i32.shl(belowOne, 15)), denormals());
    });
    const denormal = denormals();
    f.if(i32.or(isZero(y), isOne), () => {
      storeExtended(f, destination, i32.xor(ySign, i32.shl(belowOne, 15)), 0n);
      f.return(denormal);
    });
    const logarithm = wide(f);
    assign(f, logarithm, s, c.logarithm, power, mantissa, i64.const(0n));
    const exponent = variable(f, "i32", i32.load(s, SCRATCH.exponent));
    const sign = i32.xor(ySign, i32.shl(i32.load(s, SCRATCH.outcome), 15));
    f.result(i32.or(denormal, emitProduct(f, c, s, destination, y, logarithm, exponent, sign, fcw)));
  });
}

/**
 * Emit 1 + x for |x| ≥ 1/2, normalized: `sum` starts as |x| with `exponent`. Negative ones are above -1.
 */
function emitPlusOne(f: FunctionWriter, sum: Wide, exponent: Local, negative: Value): void {
  const addend = wide(f, INTEGER_BIT, 0n);
  f.if(
    i32.ltS(exponent.get, 0),
    () => {
      f.set(addend.high, i64.shrU(sum.high.get, 1n));
      f.set(addend.low, i64.shl(sum.high.get, 63n));
      f.set(sum.high, INTEGER_BIT);
      f.set(exponent, 0);
    },
    () => shiftRightJam(f, addend.high, addend.low, exponent.get),
  );
  f.if(
    negative,
    () => {
      subtractFrom(f, addend, sum.high.get, sum.low.get);
      f.set(sum.high, addend.high.get);
      f.set(sum.low, addend.low.get);
      normalize(f, sum.high, sum.low, exponent);
    },
    () => {
      addWide(f, sum, addend.high.get, addend.low.get);
      // The carry has become the integer bit of the next binade.
      f.if(i64.geS(sum.high.get, 0n), () => {
        f.set(sum.low, i64.or(i64.shrU(sum.low.get, 1n), i64.shl(sum.high.get, 63n)));
        f.set(sum.high, i64.or(i64.shrU(sum.high.get, 1n), INTEGER_BIT));
        f.set(exponent, i32.add(exponent.get, 1));
      });
    },
  );
}

function defineYLogXPlusOne(module: ModuleWriter, c: Context): FunctionReference {
  return define(module, BINARY, "i32", (f, s, destination, ySE, ySig, xSE, xSig, fcw) => {
    const y: Extended = { signExponent: ySE, significand: ySig };
    const x: Extended = { signExponent: xSE, significand: xSig };
    const sign = f.let(signOf(i32.xor(ySE, xSE)));
    const settled = f.let(invoke(c.operands.notANumber, destination, ySE, ySig, xSE, xSig, fcw));
    f.if(settled, () => f.return(settled));
    const invalid = (): void => f.return(invoke(c.operands.invalid, destination, fcw));
    const denormals = (): Value => denormalCheck(f, i32.or(isDenormal(x), isDenormal(y)), fcw);
    f.if(isInfinity(x), () => {
      f.if(i32.or(signOf(xSE), isZero(y)), invalid);
      infinity(f, destination, signOf(ySE), denormals());
    });
    f.if(isZero(x), () => {
      f.if(isInfinity(y), invalid);
      const flags = denormals();
      storeExtended(f, destination, sign, 0n);
      f.return(flags);
    });
    const exponent = variable(f, "i32", i32.sub(normalizedExponent(x), EXT.bias));
    const mantissa = f.let(normalizedSignificand(x));
    f.if(isInfinity(y), () => infinity(f, destination, sign, denormals()));
    const denormal = denormals();
    f.if(isZero(y), () => {
      storeExtended(f, destination, sign, 0n);
      f.return(denormal);
    });
    // The result is undefined from here on. Down from -1 processors leave x and call it inexact.
    f.if(i32.and(i32.ne(signOf(xSE), 0), i32.geS(exponent.get, 0)), () => {
      storeExtended(f, destination, xSE, xSig);
      f.return(i32.or(denormal, FSW.PE));
    });
    const logarithm = wide(f, mantissa, 0n);
    const negative = f.let(i32.ne(signOf(xSE), 0));
    f.if(i32.geS(exponent.get, -1), () => {
      emitPlusOne(f, logarithm, exponent, negative);
      assign(f, logarithm, s, c.logarithm, exponent.get, logarithm.high.get, logarithm.low.get);
      f.set(exponent, i32.load(s, SCRATCH.exponent));
      f.return(i32.or(denormal, emitProduct(f, c, s, destination, y, logarithm, exponent, sign, fcw)));
    });
    // s = x/(2 + x): 2 ± |x| with two integer bits, normalized from there.
    const denominator = wide(f, mantissa, 0n);
    shiftRightJam(f, denominator.high, denominator.low, i32.sub(1, exponent.get));
    f.if(
      negative,
      () => subtractFrom(f, denominator, INTEGER_BIT, 0n),
      () => addWide(f, denominator, INTEGER_BIT, 0n),
    );
    const denominatorExponent = variable(f, "i32", 1);
    normalize(f, denominator.high, denominator.low, denominatorExponent);
    const difference = i32.sub(exponent.get, denominatorExponent.get);
    const { high, low } = denominator;
    assign(f, logarithm, s, c.artanh, mantissa, i64.const(0n), high.get, low.get, difference);
    f.set(logarithm.low, i64.or(logarithm.low.get, 1n));
    f.set(exponent, i32.load(s, SCRATCH.exponent));
    f.result(i32.or(denormal, emitProduct(f, c, s, destination, y, logarithm, exponent, sign, fcw)));
  });
}

/** Define the logarithmic functions in `module`. */
export function defineLogarithmic(
  module: ModuleWriter,
  operands: Operands,
  rounding: Rounding,
  arithmetic: WideArithmetic,
): Logarithmic {
  const artanh = defineArtanh(module, arithmetic);
  const logarithm = defineLogarithm(module, artanh);
  const context: Context = { operands, rounding, arithmetic, artanh, logarithm };
  return { yLogX: defineYLogX(module, context), yLogXPlusOne: defineYLogXPlusOne(module, context) };
}
