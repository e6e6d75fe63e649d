/**
 * F2XM1, FYL2X and FYL2XP1, computed in 128 bits. Logarithms are 2/ln 2 · artanh(s) with s = (m - 1)/(m + 1), which keeps
 * the relative precision near 1.
 */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../../wasm/module.ts";
import { EXT, FCW, FSW, INFINITY_SIGNIFICAND, INTEGER_BIT, OUTCOME, PC, SCRATCH } from "./constants.ts";
import {
  define,
  type Extended,
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
  halves,
  subtractFrom,
  type Wide,
  type WideArithmetic,
  wide,
} from "./wide.ts";
import { factorial, ln2Scaled, reciprocals } from "./wide-constants.ts";

export interface Logarithmic {
  /** (s, destination, signExponent, significand, fcw) → flags: 2^x - 1. */
  readonly powerMinusOne: FunctionReference;
  /** (s, destination, ySE, ySig, xSE, xSig, fcw) → flags: y · log2 x. */
  readonly yLogX: FunctionReference;
  /** y · log2(x + 1). */
  readonly yLogXPlusOne: FunctionReference;
}

const BINARY: readonly ValueType[] = ["i32", "i32", "i32", "i64", "i32", "i64", "i32"];

/** Terms of (e^t - 1)/t until the next falls below 2^-112 at t = ln 2. */
const EXPONENTIAL_TERMS = 28;
/** Terms of artanh(s)/s for s² < 0.0295. */
const LOGARITHM_TERMS = 22;
/** Significand of √2, cut off: mantissas above it are halved. */
const ROOT_TWO = 0xb504_f333_f9de_6484n;
/** ln 2 as a fraction of 2^128. */
const LN2 = ln2Scaled(128);
/** Below 2^-70, t²/2 stays under the last place of any result. */
const TINY_EXPONENT = -70;

interface Context {
  readonly operands: Operands;
  readonly rounding: Rounding;
  readonly arithmetic: WideArithmetic;
}

function isDenormalNumber(x: Extended): Value {
  return i32.and(isDenormal(x), i32.eqz(isZero(x)));
}

function definePowerMinusOne(module: ModuleWriter, c: Context): FunctionReference {
  const series = reciprocals(EXPONENTIAL_TERMS, 127, (k) => factorial(k + 1));
  const growing = definePolynomial(module, c.arithmetic, series, false);
  const falling = definePolynomial(module, c.arithmetic, series, true);
  return define(module, ["i32", "i32", "i32", "i64", "i32"], "i32", (f, s, destination, aSE, aSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const sign = f.let(signOf(aSE));
    const settled = f.let(invoke(c.operands.notANumber, destination, aSE, aSig, aSE, aSig, fcw));
    f.if(settled, () => f.return(settled));
    f.if(isZero(a), () => {
      storeExtended(f, destination, aSE, aSig);
      f.return(0);
    });
    f.if(isInfinity(a), () => {
      // 2^-∞ - 1 = -1.
      f.if(
        sign,
        () => storeExtended(f, destination, EXT.sign | EXT.bias, INTEGER_BIT),
        () => storeExtended(f, destination, aSE, aSig),
      );
      f.return(0);
    });
    const denormal = denormalCheck(f, isDenormal(a), fcw);
    const exponent = variable(f, "i32", i32.sub(normalizedExponent(a), EXT.bias));
    f.if(i32.geS(exponent.get, 0), () => {
      // ±1 are exact; beyond them the result is undefined: processors leave the operand and call it inexact.
      f.if(i32.eqz(i32.or(exponent.get, i64.ne(aSig, INTEGER_BIT))), () => {
        storeExtended(f, destination, i32.or(sign, i32.sub(EXT.bias, i32.ne(sign, 0))), INTEGER_BIT);
        f.return(denormal);
      });
      storeExtended(f, destination, aSE, aSig);
      f.return(FSW.PE);
    });
    const t = wide(f);
    const [ln2High, ln2Low] = halves(LN2).map((half) => i64.const(half)) as [Value, Value];
    assign(f, t, s, c.arithmetic.multiply, normalizedSignificand(a), i64.const(0n), ln2High, ln2Low);
    normalize(f, t.high, t.low, exponent);
    // t = (t.high, t.low)·2^(exponent - 127) with exponent ≤ -1.
    const result = wide(f, t.high.get, t.low.get);
    f.if(i32.gtS(exponent.get, TINY_EXPONENT), () => {
      const fraction = wide(f, t.high.get, t.low.get);
      shiftRightJam(f, fraction.high, fraction.low, i32.sub(-1, exponent.get));
      f.if(
        sign,
        () => assign(f, result, s, falling, fraction.high.get, fraction.low.get),
        () => assign(f, result, s, growing, fraction.high.get, fraction.low.get),
      );
      assign(f, result, s, c.arithmetic.multiply, result.high.get, result.low.get, t.high.get, t.low.get);
      f.set(exponent, i32.add(exponent.get, 1));
      normalize(f, result.high, result.low, exponent);
    });
    const biased = i32.add(exponent.get, EXT.bias);
    const low = i64.or(result.low.get, 1n);
    const packed = invoke(c.rounding.pack, destination, sign, biased, result.high.get, low, i32.or(fcw, PC.extended));
    f.result(i32.or(denormal, packed));
  });
}

/**
 * (s, numeratorHigh, numeratorLow, denominatorHigh, denominatorLow, exponent) → high half of |log2| = 2/ln 2 ·
 * artanh(numerator/denominator), normalized; `exponent` is that of the quotient's parts. Low half and exponent in the
 * scratch area.
 */
function defineArtanh(module: ModuleWriter, c: Context): FunctionReference {
  const scale = (2n << (126n + 128n)) / ln2Scaled(128);
  const series = Array.from({ length: LOGARITHM_TERMS }, (_, k) => scale / BigInt(2 * k + 1));
  const polynomial = definePolynomial(module, c.arithmetic, series, false);
  const params = ["i32", "i64", "i64", "i64", "i64", "i32"] as const;
  return define(module, params, "i64", (f, s, nHigh, nLow, dHigh, dLow, difference) => {
    const quotient = wide(f, nHigh, nLow);
    const exponent = variable(f, "i32", difference);
    emitRatio(f, c.arithmetic, s, quotient, wide(f, dHigh, dLow), exponent);
    const square = wide(f);
    const { high, low } = quotient;
    assign(f, square, s, c.arithmetic.multiply, high.get, low.get, high.get, low.get);
    shiftRightJam(f, square.high, square.low, i32.shl(i32.sub(-1, exponent.get), 1));
    const factor = wide(f);
    assign(f, factor, s, polynomial, square.high.get, square.low.get);
    assign(f, factor, s, c.arithmetic.multiply, factor.high.get, factor.low.get, high.get, low.get);
    f.set(exponent, i32.add(exponent.get, 2));
    normalize(f, factor.high, factor.low, exponent);
    f.store32(s, exponent.get, SCRATCH.exponent);
    f.store64(s, factor.low.get, SCRATCH.low);
    f.result(factor.high.get);
  });
}

/** Emit y · (high, low)·2^exponent, pack it. `sticky`: the logarithm is not exact. */
function emitProduct(
  f: FunctionWriter,
  c: Context,
  s: Value,
  destination: Value,
  y: Extended,
  logarithm: Wide,
  exponent: Local,
  sign: Value,
  sticky: Value,
  fcw: Value,
): Value {
  const product = wide(f);
  const { high, low } = logarithm;
  assign(f, product, s, c.arithmetic.multiply, high.get, low.get, normalizedSignificand(y), i64.const(0n));
  f.set(exponent, i32.add(i32.add(exponent.get, normalizedExponent(y)), 1));
  normalize(f, product.high, product.low, exponent);
  const args = [destination, sign, exponent.get, product.high.get, i64.or(product.low.get, sticky)];
  return invoke(c.rounding.pack, ...args, i32.or(fcw, PC.extended));
}

function infinity(f: FunctionWriter, destination: Value, sign: Value, flags: Value | number): void {
  storeExtended(f, destination, i32.or(sign, EXT.exponent), INFINITY_SIGNIFICAND);
  f.return(flags);
}

function defineYLogX(module: ModuleWriter, c: Context, artanh: FunctionReference): FunctionReference {
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
    const denormals = (): Value => denormalCheck(f, i32.or(isDenormalNumber(x), isDenormalNumber(y)), fcw);
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
    const halved = f.let(i64.gtU(mantissa, ROOT_TWO));
    const exponentOfX = f.let(i32.add(power, halved));
    const logarithm = wide(f);
    const exponent = variable(f, "i32", 0);
    const negative = variable(f, "i32", i32.ltS(exponentOfX, 0));
    const sticky = variable(f, "i64", 0n);
    f.if(i64.eq(mantissa, INTEGER_BIT), () => {
      f.set(logarithm.high, i64.extendU(i32.select(belowOne, i32.sub(0, power), power)));
      f.set(exponent, 63);
      normalize(f, logarithm.high, logarithm.low, exponent);
    }, () => {
      f.set(sticky, 1n);
      // s = (m - 1)/(m + 1), or (2 - m)/(2 + m) if halved; the sums have 65 bits, cut at bit 63 of the low word.
      const difference = wide(f, i64.select(halved, i64.sub(0n, mantissa), i64.sub(mantissa, INTEGER_BIT)));
      const sum = f.let(i64.select(halved, mantissa, i64.add(mantissa, INTEGER_BIT)));
      f.set(exponent, -1);
      normalize(f, difference.high, difference.low, exponent);
      const sumHigh = i64.or(i64.shrU(sum, 1n), INTEGER_BIT);
      assign(f, logarithm, s, artanh, difference.high.get, difference.low.get, sumHigh, i64.shl(sum, 63n), exponent.get);
      f.set(exponent, i32.load(s, SCRATCH.exponent));
      f.if(
        i32.eqz(exponentOfX),
        () => f.set(negative, halved),
        () => {
          // |power| as a 16.112 fixed-point number, plus or minus the logarithm of the mantissa.
          shiftRightJam(f, logarithm.high, logarithm.low, i32.sub(15, exponent.get));
          const magnitude = i32.select(negative.get, i32.sub(0, exponentOfX), exponentOfX);
          const whole = f.let(i64.shl(i64.extendU(magnitude), 48n));
          f.if(
            i32.xor(negative.get, halved),
            () => subtractFrom(f, logarithm, whole, 0n),
            () => addWide(f, logarithm, whole, 0n),
          );
          f.set(exponent, 15);
          normalize(f, logarithm.high, logarithm.low, exponent);
        },
      );
    });
    const sign = i32.xor(ySign, i32.shl(negative.get, 15));
    const packed = emitProduct(f, c, s, destination, y, logarithm, exponent, sign, sticky.get, fcw);
    // Processors call even the product with an exact logarithm inexact.
    f.result(i32.or(i32.or(denormal, FSW.PE), packed));
  });
}

function defineYLogXPlusOne(
  module: ModuleWriter,
  c: Context,
  artanh: FunctionReference,
  yLogX: FunctionReference,
  add: FunctionReference,
): FunctionReference {
  return define(module, BINARY, "i32", (f, s, destination, ySE, ySig, xSE, xSig, fcw) => {
    const y: Extended = { signExponent: ySE, significand: ySig };
    const x: Extended = { signExponent: xSE, significand: xSig };
    const sign = f.let(signOf(i32.xor(ySE, xSE)));
    const settled = f.let(invoke(c.operands.notANumber, destination, ySE, ySig, xSE, xSig, fcw));
    f.if(settled, () => f.return(settled));
    const invalid = (): void => f.return(invoke(c.operands.invalid, destination, fcw));
    const denormals = (): Value => denormalCheck(f, i32.or(isDenormalNumber(x), isDenormalNumber(y)), fcw);
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
    // The result is undefined from here on. Down from -1 processors leave x and call it inexact.
    f.if(i32.and(i32.ne(signOf(xSE), 0), i32.geS(exponent.get, 0)), () => {
      storeExtended(f, destination, xSE, xSig);
      f.return(FSW.PE);
    });
    // Beyond ±1/2, 1 + x loses nothing that matters.
    f.if(i32.geS(exponent.get, -1), () => {
      const one = f.let(i32.add(s, SCRATCH.angleFraction));
      const exact = f.let(i32.or(fcw, PC.extended | 0x3f));
      f.do(invoke(add, one, xSE, xSig, EXT.bias, INTEGER_BIT, exact));
      const args = [destination, ySE, ySig, i32.load16u(one, 8), i64.load(one), fcw];
      f.return(invoke(yLogX, s, ...args));
    });
    f.if(isInfinity(y), () => infinity(f, destination, sign, denormals()));
    const denormal = denormals();
    f.if(isZero(y), () => {
      storeExtended(f, destination, sign, 0n);
      f.return(denormal);
    });
    // s = x/(2 + x): 2 ± |x| with two integer bits, normalized from there.
    const denominator = wide(f, mantissa, 0n);
    shiftRightJam(f, denominator.high, denominator.low, i32.sub(1, exponent.get));
    const two = INTEGER_BIT;
    f.if(
      signOf(xSE),
      () => subtractFrom(f, denominator, two, 0n),
      () => addWide(f, denominator, two, 0n),
    );
    const denominatorExponent = variable(f, "i32", 1);
    normalize(f, denominator.high, denominator.low, denominatorExponent);
    const difference = i32.sub(exponent.get, denominatorExponent.get);
    const logarithm = wide(f);
    const { high, low } = denominator;
    assign(f, logarithm, s, artanh, mantissa, i64.const(0n), high.get, low.get, difference);
    f.set(exponent, i32.load(s, SCRATCH.exponent));
    const packed = emitProduct(f, c, s, destination, y, logarithm, exponent, sign, i64.const(1n), fcw);
    f.result(i32.or(denormal, packed));
  });
}

/** Define the exponential and logarithmic functions in `module`; `add` is the 80-bit addition. */
export function defineLogarithmic(
  module: ModuleWriter,
  operands: Operands,
  rounding: Rounding,
  arithmetic: WideArithmetic,
  add: FunctionReference,
): Logarithmic {
  const context: Context = { operands, rounding, arithmetic };
  const artanh = defineArtanh(module, context);
  const yLogX = defineYLogX(module, context, artanh);
  return {
    powerMinusOne: definePowerMinusOne(module, context),
    yLogX,
    yLogXPlusOne: defineYLogXPlusOne(module, context, artanh, yLogX, add),
  };
}
