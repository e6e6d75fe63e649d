/** F2XM1, computed in 128 bits: 2^x - 1 = t·E(t) with t = x·ln 2, which keeps the relative precision near 0. */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { EXT, FSW, INTEGER_BIT, PC } from "./constants.ts";
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
import { assign, definePolynomial, halves, type WideArithmetic, wide } from "./wide.ts";
import { factorial, ln2Scaled, reciprocals } from "./wide-constants.ts";

/** Terms of (e^t - 1)/t until the next falls below 2^-112 at t = ln 2. */
const TERMS = 28;
/** ln 2 as a fraction of 2^128. */
const LN2 = ln2Scaled(128);
/** Below 2^-70, t²/2 stays under the last place of any result. */
const TINY_EXPONENT = -70;

/** (s, destination, signExponent, significand, fcw) → flags: 2^x - 1. */
export function definePowerMinusOne(
  module: ModuleWriter,
  operands: Operands,
  rounding: Rounding,
  arithmetic: WideArithmetic,
): FunctionReference {
  const series = reciprocals(TERMS, 127, (k) => factorial(k + 1));
  const growing = definePolynomial(module, arithmetic, series, false);
  const falling = definePolynomial(module, arithmetic, series, true);
  return define(module, ["i32", "i32", "i32", "i64", "i32"], "i32", (f, s, destination, aSE, aSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const sign = f.let(signOf(aSE));
    const settled = f.let(invoke(operands.notANumber, destination, aSE, aSig, aSE, aSig, fcw));
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
      // Processors call the exact results of ±1 inexact, and beyond, where the result is undefined, leave the operand.
      f.if(i32.eqz(i32.or(exponent.get, i64.ne(aSig, INTEGER_BIT))), () => {
        storeExtended(f, destination, i32.or(sign, i32.sub(EXT.bias, i32.ne(sign, 0))), INTEGER_BIT);
        f.return(FSW.PE);
      });
      storeExtended(f, destination, aSE, aSig);
      f.return(FSW.PE);
    });
    const t = wide(f);
    const [ln2High, ln2Low] = halves(LN2).map((half) => i64.const(half)) as [Value, Value];
    assign(f, t, s, arithmetic.multiply, normalizedSignificand(a), i64.const(0n), ln2High, ln2Low);
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
      assign(f, result, s, arithmetic.multiply, result.high.get, result.low.get, t.high.get, t.low.get);
      f.set(exponent, i32.add(exponent.get, 1));
      normalize(f, result.high, result.low, exponent);
    });
    const biased = i32.add(exponent.get, EXT.bias);
    const low = i64.or(result.low.get, 1n);
    const packed = invoke(rounding.pack, destination, sign, biased, result.high.get, low, i32.or(fcw, PC.extended));
    f.result(i32.or(denormal, packed));
  });
}
