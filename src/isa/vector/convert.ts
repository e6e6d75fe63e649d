/** Conversions of one lane between formats and to integers, and rounding to integral values. SDM 2 CVTxx2yy, ROUNDPD. */
import { f32, f64, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { define, variable } from "../x87/emit.ts";
import { asDouble } from "./compare.ts";
import { MXCSR, RC, RC_SHIFT } from "./constants.ts";
import {
  F32,
  F64,
  type Format,
  isDenormal,
  isInfinite,
  isQuietClear,
  isSignaling,
  isUnordered,
  isZero,
  loadMxcsr,
  note,
  noteDenormal,
  operand,
  returnRounded,
  signOf,
  unpack,
} from "./format.ts";

/** Functions (s, a) → result; toInteger takes a third parameter, non-zero to truncate, and toIntegral the immediate. */
export interface Conversions {
  readonly single: { readonly toInteger: FunctionReference; readonly toIntegral: FunctionReference };
  readonly double: { readonly toInteger: FunctionReference; readonly toIntegral: FunctionReference };
  readonly singleToDouble: FunctionReference;
  readonly doubleToSingle: FunctionReference;
  readonly integerToSingle: FunctionReference;
}

/** What invalid conversions to 32-bit integers give. */
const INTEGER_INDEFINITE = 0x8000_0000n;
/** Bits by which a binary64 fraction is longer than a binary32 one. */
const FRACTION_DIFFERENCE = 29n;
const BIAS_DIFFERENCE = F64.bias - F32.bias;

/** Set `target` to the integral value next to it in rounding mode `mode` (RC). */
function roundTo(f: FunctionWriter, target: Local, mode: Value): void {
  const value = target.get;
  f.if(
    i32.eqz(mode),
    () => f.set(target, f64.nearest(value)),
    () =>
      f.if(
        i32.eq(mode, RC.truncate),
        () => f.set(target, f64.trunc(value)),
        () =>
          f.if(
            i32.eq(mode, RC.up),
            () => f.set(target, f64.ceil(value)),
            () => f.set(target, f64.floor(value)),
          ),
      ),
  );
}

function currentMode(mxcsr: Value): Value {
  return i32.and(i32.shrU(mxcsr, RC_SHIFT), 3);
}

function defineToInteger(module: ModuleWriter, format: Format): FunctionReference {
  return define(module, ["i32", "i64", "i32"], "i64", (f, s, first, truncate) => {
    const mxcsr = f.let(loadMxcsr(s!));
    const a = operand(f, format, mxcsr, first!);
    const value = f.let(asDouble(format, a));
    const rounded = variable(f, "f64", value);
    f.if(i32.eqz(isUnordered(format, a)), () => {
      roundTo(f, rounded, f.let(i32.select(truncate!, RC.truncate, currentMode(mxcsr))));
      const fits = i32.and(
        f64.le(f64.fromI32S(i32.const(-0x8000_0000)), rounded.get),
        f64.le(rounded.get, f64.fromI32S(i32.const(0x7fff_ffff))),
      );
      f.if(fits, () => {
        f.if(i32.eqz(f64.eq(value, rounded.get)), () => note(f, s!, MXCSR.PE));
        f.return(i64.extendU(f64.toI32S(rounded.get)));
      });
    });
    note(f, s!, MXCSR.IE);
    f.result(INTEGER_INDEFINITE);
  });
}

/** Bits of ROUNDxx's immediate: take the mode from MXCSR, keep PE clear. */
const ROUND = { current: 4, silent: 8 } as const;

function defineToIntegral(module: ModuleWriter, format: Format): FunctionReference {
  return define(module, ["i32", "i64", "i32"], "i64", (f, s, first, immediate) => {
    const mxcsr = f.let(loadMxcsr(s!));
    const a = operand(f, format, mxcsr, first!);
    f.if(isUnordered(format, a), () => {
      f.if(isQuietClear(format, a), () => note(f, s!, MXCSR.IE));
      f.return(i64.or(a, format.quiet));
    });
    const value = f.let(asDouble(format, a));
    const rounded = variable(f, "f64", value);
    const fixed = i32.and(immediate!, 3);
    roundTo(f, rounded, f.let(i32.select(i32.and(immediate!, ROUND.current), currentMode(mxcsr), fixed)));
    const changed = i32.eqz(f64.eq(value, rounded.get));
    f.if(i32.and(changed, i32.eqz(i32.and(immediate!, ROUND.silent))), () => note(f, s!, MXCSR.PE));
    f.result(format.bits === 64 ? i64.reinterpret(rounded.get) : i64.extendU(f32.bits(f32.demote(rounded.get))));
  });
}

function defineSingleToDouble(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i64"], "i64", (f, s, first) => {
    const a = operand(f, F32, f.let(loadMxcsr(s!)), first!);
    f.if(isUnordered(F32, a), () => {
      f.if(isQuietClear(F32, a), () => note(f, s!, MXCSR.IE));
      const sign = i64.shl(signOf(F32, a), 32n);
      const fraction = i64.shl(i64.and(a, (1n << BigInt(F32.fraction)) - 1n), FRACTION_DIFFERENCE);
      f.return(i64.or(i64.or(sign, fraction), F64.infinity | F64.quiet));
    });
    noteDenormal(f, s!, F32, a);
    f.result(i64.reinterpret(asDouble(F32, a)));
  });
}

function defineDoubleToSingle(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i64"], "i64", (f, s, first) => {
    const mxcsr = f.let(loadMxcsr(s!));
    const a = operand(f, F64, mxcsr, first!);
    const sign = f.let(i64.shrU(signOf(F64, a), 32n));
    f.if(isUnordered(F64, a), () => {
      f.if(isSignaling(F64, a), () => note(f, s!, MXCSR.IE));
      const fraction = i64.shrU(i64.and(a, (1n << BigInt(F64.fraction)) - 1n), FRACTION_DIFFERENCE);
      f.return(i64.or(i64.or(sign, fraction), F32.infinity | F32.quiet));
    });
    f.if(isInfinite(F64, a), () => f.return(i64.or(sign, F32.infinity)));
    f.if(isZero(F64, a), () => f.return(sign));
    f.if(isDenormal(F64, a), () => note(f, s!, MXCSR.DE));
    const x = unpack(f, F64, a);
    // The bit that leaves is below the last place of a double's significand, hence zero.
    const significand = f.let(i64.shrU(x.significand, 1n));
    returnRounded(f, s!, F32, mxcsr, sign, f.let(i32.sub(x.exponent, BIAS_DIFFERENCE)), significand);
    f.unreachable();
  });
}

function defineIntegerToSingle(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i64"], "i64", (f, s, integer) => {
    const mxcsr = f.let(loadMxcsr(s!));
    const value = f.let(i64.extendS(i32.wrap(integer!)));
    f.if(i64.eqz(value), () => f.return(0n));
    const negative = f.let(i64.ltS(value, 0n));
    const absolute = f.let(i64.select(negative, i64.sub(0n, value), value));
    const shift = f.let(i64.sub(i64.clz(absolute), 1n));
    const sign = f.let(i64.select(negative, F32.sign, 0n));
    const exponent = f.let(i32.sub(F32.bias + 62, i32.wrap(shift)));
    returnRounded(f, s!, F32, mxcsr, sign, exponent, f.let(i64.shl(absolute, shift)));
    f.unreachable();
  });
}

/** Define the conversions of both formats. */
export function defineConversions(module: ModuleWriter): Conversions {
  return {
    single: { toInteger: defineToInteger(module, F32), toIntegral: defineToIntegral(module, F32) },
    double: { toInteger: defineToInteger(module, F64), toIntegral: defineToIntegral(module, F64) },
    singleToDouble: defineSingleToDouble(module),
    doubleToSingle: defineDoubleToSingle(module),
    integerToSingle: defineIntegerToSingle(module),
  };
}
