/**
 * FSIN, FCOS, FSINCOS and FPTAN. The argument is reduced by the 66-bit π of the x87 (SDM 1 8.3.8), exactly, into an octant;
 * there a series in 128 bits gives the result with an error far below the last place.
 */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { EXT, FSW, INTEGER_BIT, OUTCOME, PC, SCRATCH } from "./constants.ts";
import {
  define,
  type Extended,
  invoke,
  mulHigh,
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
  isLess,
  subtractFrom,
  type Wide,
  type WideArithmetic,
  wide,
} from "./wide.ts";
import { factorial, reciprocals } from "./wide-constants.ts";

export interface Trigonometric {
  /** (s, destination, signExponent, significand, fcw) → flags; C2 when the argument is out of range. */
  readonly sine: FunctionReference;
  readonly cosine: FunctionReference;
  /** (s, pushDestination, destination, signExponent, significand, fcw) → flags: sine, cosine pushed. */
  readonly sineCosine: FunctionReference;
  /** The same: tangent, 1.0 pushed. */
  readonly tangent: FunctionReference;
}

/** The processor's π/2 as an integer multiple of 2^-65. */
const HALF_PI = { bits: 0x3_243f_6a88_85a3_08d3n, scale: 65 } as const;
const HALF_PI_HIGH = HALF_PI.bits >> 64n;
const HALF_PI_LOW = BigInt.asUintN(64, HALF_PI.bits);
/** 2/π·2^64: the quotient's estimate. */
const TWO_OVER_PI = 0xa2f9_836e_4e44_1529n;
/** Arguments from 2^63 on are refused with C2. */
const LIMIT_EXPONENT = 63;
/** Below 2^-34, x²/3 stays under the last place of any result. */
const TINY_EXPONENT = -34;
/** Terms of both series until the next falls below 2^-112 at π/4. */
const TERMS = 15;
/** Set in the octant number when the angle was replaced by its complement to π/2. */
const COMPLEMENT = 4;

/**
 * (exponent, significand of |x| normalized) → quadrant in bits 0 and 1, COMPLEMENT in bit 2; the angle in [0, π/4] goes
 * to the scratch area.
 */
function defineReduce(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i32", "i64"], "i32", (f, s, exponent, significand) => {
    const octant = variable(f, "i32", 0);
    const angle: Wide = wide(f, significand, 0n);
    const angleExponent = variable(f, "i32", exponent);
    const fraction: Wide = wide(f);
    f.if(
      i32.ltS(exponent, -1),
      () => {
        f.set(fraction.high, significand);
        shiftRightJam(f, fraction.high, fraction.low, i32.sub(-1, exponent));
      },
      () => {
        // x in units of 2^-65, up to 128 bits.
        const shift = f.let(i64.extendU(i32.add(exponent, HALF_PI.scale - 63)));
        f.set(fraction.high, i64.select(i64.eq(shift, 64n), significand, i64.shrU(significand, i64.sub(64n, shift))));
        f.set(fraction.low, i64.select(i64.eq(shift, 64n), 0n, i64.shl(significand, shift)));
        const scaled = mulHigh(f, significand, i64.const(TWO_OVER_PI));
        // Shifting in two steps: for exponent -1 everything goes. The estimate is at most 1 too small.
        const back = i64.extendU(i32.sub(62, exponent));
        const quotient = variable(f, "i64", i64.shrU(i64.shrU(scaled, 1n), back));
        const q = f.let(quotient.get);
        const productHigh = i64.add(mulHigh(f, q, i64.const(HALF_PI_LOW)), i64.mul(q, i64.const(HALF_PI_HIGH)));
        const product = wide(f, productHigh, i64.mul(q, i64.const(HALF_PI_LOW)));
        subtractFrom(f, product, f.let(fraction.high.get), fraction.low.get);
        f.loop((again) => {
          const below = isLess(product.high.get, product.low.get, i64.const(HALF_PI_HIGH), i64.const(HALF_PI_LOW));
          f.if(i32.eqz(below), () => {
            addWide(f, product, ~HALF_PI_HIGH, BigInt.asUintN(64, -HALF_PI_LOW));
            f.set(quotient, i64.add(quotient.get, 1n));
            f.br(again);
          });
        });
        f.set(octant, i32.and(i32.wrap(quotient.get), 3));
        const [middleHigh, middleLow] = [HALF_PI.bits >> 65n, BigInt.asUintN(64, HALF_PI.bits >> 1n)];
        f.if(isLess(i64.const(middleHigh), i64.const(middleLow), product.high.get, product.low.get), () => {
          subtractFrom(f, product, HALF_PI_HIGH, HALF_PI_LOW);
          f.set(octant, i32.or(octant.get, COMPLEMENT));
        });
        f.set(fraction.high, i64.or(i64.shl(product.high.get, 63n), i64.shrU(product.low.get, 1n)));
        f.set(fraction.low, i64.shl(product.low.get, 63n));
        f.set(angle.high, fraction.high.get);
        f.set(angle.low, fraction.low.get);
        f.set(angleExponent, -1);
        normalize(f, angle.high, angle.low, angleExponent);
      },
    );
    f.store32(s, angleExponent.get, SCRATCH.angleExponent);
    f.store64(s, fraction.low.get, SCRATCH.angleFraction);
    f.store64(s, fraction.high.get, SCRATCH.angleFraction + 8);
    f.store64(s, angle.low.get, SCRATCH.angleSignificand);
    f.store64(s, angle.high.get, SCRATCH.angleSignificand + 8);
    f.result(octant.get);
  });
}

/** (s, cosine) → high half of the reduced angle's sine or cosine, normalized; low half and exponent in the scratch area. */
function defineEvaluate(module: ModuleWriter, arithmetic: WideArithmetic): FunctionReference {
  const sineSeries = reciprocals(TERMS, 127, (k) => factorial(2 * k + 1));
  const cosineSeries = reciprocals(TERMS, 127, (k) => factorial(2 * k));
  const sinePolynomial = definePolynomial(module, arithmetic, sineSeries, true);
  const cosinePolynomial = definePolynomial(module, arithmetic, cosineSeries, true);
  return define(module, ["i32", "i32"], "i64", (f, s, cosine) => {
    const exponent = variable(f, "i32", i32.load(s, SCRATCH.angleExponent));
    const result = wide(f);
    const finish = (): void => {
      f.store32(s, exponent.get, SCRATCH.exponent);
      f.store64(s, i64.or(result.low.get, 1n), SCRATCH.low);
    };
    const high = i64.load(s, SCRATCH.angleSignificand + 8);
    const low = i64.load(s, SCRATCH.angleSignificand);
    f.if(i32.ltS(exponent.get, TINY_EXPONENT), () => {
      // Just below x, or just below 1.
      f.set(result.low, -1n);
      f.if(
        cosine,
        () => {
          f.set(result.high, -1n);
          f.set(exponent, -1);
        },
        () => {
          // Below a power of two begins the next binade: a significand that just lost its top bit is shifted up.
          f.set(result.high, i64.sub(high, 1n));
          normalize(f, result.high, result.low, exponent);
        },
      );
      finish();
      f.return(result.high.get);
    });
    const x = wide(f, i64.load(s, SCRATCH.angleFraction + 8), i64.load(s, SCRATCH.angleFraction));
    const square = wide(f);
    assign(f, square, s, arithmetic.multiply, x.high.get, x.low.get, x.high.get, x.low.get);
    f.if(
      cosine,
      () => {
        assign(f, result, s, cosinePolynomial, square.high.get, square.low.get);
        f.set(exponent, 0);
      },
      () => {
        assign(f, result, s, sinePolynomial, square.high.get, square.low.get);
        assign(f, result, s, arithmetic.multiply, result.high.get, result.low.get, high, low);
        f.set(exponent, i32.add(exponent.get, 1));
      },
    );
    normalize(f, result.high, result.low, exponent);
    finish();
    f.result(result.high.get);
  });
}

/** Special operands; returns the DE flag to carry on. `zero` emits the answer for ±0. */
function screen(
  f: FunctionWriter,
  operands: Operands,
  destination: Value,
  a: Extended,
  fcw: Value,
  zero: () => void,
  afterSettled: (settled: Value) => void,
): Value {
  const settled = f.let(
    invoke(operands.notANumber, destination, a.signExponent, a.significand, a.signExponent, a.significand, fcw),
  );
  f.if(settled, () => afterSettled(settled));
  f.if(isInfinity(a), () => {
    const flags = f.let(invoke(operands.invalid, destination, fcw));
    afterSettled(flags);
  });
  f.if(isZero(a), zero);
  f.if(i32.geS(i32.and(a.signExponent, EXT.exponent), EXT.bias + LIMIT_EXPONENT), () => f.return(FSW.C2));
  return denormalCheck(f, isDenormal(a), fcw);
}

interface Context {
  readonly operands: Operands;
  readonly rounding: Rounding;
  readonly arithmetic: WideArithmetic;
  readonly reduce: FunctionReference;
  readonly evaluate: FunctionReference;
}

/** 1 if the sine of an angle in this octant is the reduced angle's cosine. */
function swaps(octant: Value): Value {
  return i32.and(i32.xor(octant, i32.shrU(octant, 2)), 1);
}

/** Emit: sine or cosine of the reduced angle to `destination`. */
function emitResult(
  f: FunctionWriter,
  c: Context,
  s: Value,
  destination: Value,
  sign: Value,
  octant: Value,
  cosine: boolean,
  fcw: Value,
): Value {
  const quadrant = cosine ? i32.add(octant, 1) : octant;
  const negative = i32.xor(sign, i32.shl(i32.and(quadrant, 2), 14));
  const which = cosine ? i32.xor(swaps(octant), 1) : swaps(octant);
  const high = f.let(invoke(c.evaluate, s, which));
  const exponent = i32.add(i32.load(s, SCRATCH.exponent), EXT.bias);
  const low = i64.load(s, SCRATCH.low);
  return f.let(invoke(c.rounding.pack, destination, negative, exponent, high, low, i32.or(fcw, PC.extended)));
}

function emitReduce(f: FunctionWriter, c: Context, s: Value, a: Extended): Value {
  return f.let(invoke(c.reduce, s, i32.sub(normalizedExponent(a), EXT.bias), normalizedSignificand(a)));
}

function defineSingle(module: ModuleWriter, c: Context, cosine: boolean): FunctionReference {
  return define(module, ["i32", "i32", "i32", "i64", "i32"], "i32", (f, s, destination, aSE, aSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const zero = (): void => {
      if (cosine) storeExtended(f, destination, EXT.bias, INTEGER_BIT);
      else storeExtended(f, destination, aSE, aSig);
      f.return(0);
    };
    const denormal = screen(f, c.operands, destination, a, fcw, zero, (settled) => f.return(settled));
    const octant = emitReduce(f, c, s, a);
    const sign = cosine ? i32.const(0) : signOf(aSE);
    f.result(i32.or(denormal, emitResult(f, c, s, destination, sign, octant, cosine, fcw)));
  });
}

/** After a settled operand both results are the same NaN. */
function settleBoth(f: FunctionWriter, settled: Value, pushed: Value, destination: Value): void {
  f.if(i32.eqz(i32.and(settled, OUTCOME.suppressed)), () => {
    f.store64(pushed, i64.load(destination));
    f.store16(pushed, i32.load16u(destination, 8), 8);
  });
  f.return(settled);
}

function definePair(module: ModuleWriter, c: Context): FunctionReference {
  const params = ["i32", "i32", "i32", "i32", "i64", "i32"] as const;
  return define(module, params, "i32", (f, s, pushed, destination, aSE, aSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const zero = (): void => {
      storeExtended(f, pushed, EXT.bias, INTEGER_BIT);
      f.return(0);
    };
    const settle = (settled: Value): void => settleBoth(f, settled, pushed, destination);
    const denormal = screen(f, c.operands, destination, a, fcw, zero, settle);
    const octant = emitReduce(f, c, s, a);
    const cosineFlags = emitResult(f, c, s, pushed, i32.const(0), octant, true, fcw);
    const sineFlags = emitResult(f, c, s, destination, signOf(aSE), octant, false, fcw);
    // C1 tells of the sine.
    f.result(i32.or(denormal, i32.or(sineFlags, i32.and(cosineFlags, ~FSW.C1))));
  });
}

function defineTangent(module: ModuleWriter, c: Context): FunctionReference {
  const params = ["i32", "i32", "i32", "i32", "i64", "i32"] as const;
  return define(module, params, "i32", (f, s, pushed, destination, aSE, aSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const one = (): void => storeExtended(f, pushed, EXT.bias, INTEGER_BIT);
    const zero = (): void => {
      one();
      f.return(0);
    };
    const settle = (settled: Value): void => settleBoth(f, settled, pushed, destination);
    const denormal = screen(f, c.operands, destination, a, fcw, zero, settle);
    one();
    const exact = f.let(i32.or(fcw, PC.extended));
    f.if(i32.ltS(normalizedExponent(a), EXT.bias + TINY_EXPONENT), () => {
      // Just above x.
      const args = [destination, signOf(aSE), normalizedExponent(a), normalizedSignificand(a), 1n, exact];
      f.return(i32.or(denormal, invoke(c.rounding.pack, ...args)));
    });
    const octant = emitReduce(f, c, s, a);
    const swapped = f.let(swaps(octant));
    const numerator = wide(f);
    assign(f, numerator, s, c.evaluate, swapped);
    const exponent = variable(f, "i32", i32.load(s, SCRATCH.exponent));
    const denominator = wide(f);
    assign(f, denominator, s, c.evaluate, i32.xor(swapped, 1));
    f.set(exponent, i32.sub(exponent.get, i32.load(s, SCRATCH.exponent)));
    emitRatio(f, c.arithmetic, s, numerator, denominator, exponent);
    // A quotient next to a power of two may come out a bit short of it.
    normalize(f, numerator.high, numerator.low, exponent);
    const sign = i32.xor(signOf(aSE), i32.shl(i32.and(octant, 1), 15));
    const biased = i32.add(exponent.get, EXT.bias);
    const args = [destination, sign, biased, numerator.high.get, i64.or(numerator.low.get, 1n), exact];
    f.result(i32.or(denormal, invoke(c.rounding.pack, ...args)));
  });
}

/** Define the trigonometric functions in `module`. */
export function defineTrigonometric(
  module: ModuleWriter,
  operands: Operands,
  rounding: Rounding,
  arithmetic: WideArithmetic,
): Trigonometric {
  const reduce = defineReduce(module);
  const evaluate = defineEvaluate(module, arithmetic);
  const context: Context = { operands, rounding, arithmetic, reduce, evaluate };
  return {
    sine: defineSingle(module, context, false),
    cosine: defineSingle(module, context, true),
    sineCosine: definePair(module, context),
    tangent: defineTangent(module, context),
  };
}
