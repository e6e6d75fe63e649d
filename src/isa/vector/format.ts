/**
 * Binary32 and binary64 in i64 arithmetic: fields, NaNs, denormal operands, and rounding with MXCSR's modes and
 * exceptions. Everything here emits code in place. SDM 1 4.8, 11.5.
 */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import { FIELD } from "../state.ts";
import { variable } from "../x87/emit.ts";
import { MXCSR, RC, RC_SHIFT } from "./constants.ts";

/** A format: bits in the low part of an i64. */
export interface Format {
  readonly bits: 32 | 64;
  /** Bits of the fraction, the hidden bit not counted. */
  readonly fraction: number;
  /** Exponent field of infinities and NaNs. */
  readonly maxExponent: number;
  readonly bias: number;
  readonly sign: bigint;
  readonly infinity: bigint;
  /** Set in quiet NaNs. */
  readonly quiet: bigint;
  /** The NaN that invalid operations give. */
  readonly indefinite: bigint;
  readonly maxFinite: bigint;
}

function format(bits: 32 | 64, fraction: number): Format {
  const maxExponent = (1 << (bits - 1 - fraction)) - 1;
  const sign = 1n << BigInt(bits - 1);
  const infinity = BigInt(maxExponent) << BigInt(fraction);
  const quiet = 1n << BigInt(fraction - 1);
  return {
    bits,
    fraction,
    maxExponent,
    bias: maxExponent >> 1,
    sign,
    infinity,
    quiet,
    indefinite: sign | infinity | quiet,
    maxFinite: infinity - 1n,
  };
}

export const F32 = format(32, 23);
export const F64 = format(64, 52);

/** A finite number other than zero: significand with bit 63 set, biased exponent of any size. */
export interface Unpacked {
  readonly exponent: Value;
  readonly significand: Value;
}

/** Note exceptions of the current lane; the function around the lanes settles what comes of them. */
export function note(f: FunctionWriter, s: Value, flags: Value | number): void {
  f.store32(s, i32.or(i32.load(s, FIELD.simdFault.offset), flags), FIELD.simdFault.offset);
}

/** MXCSR as it stands. */
export function loadMxcsr(s: Value): Value {
  return i32.load(s, FIELD.mxcsr.offset);
}

/** The bits without the sign. */
export function magnitude(format: Format, a: Value): Value {
  return i64.and(a, format.sign - 1n);
}

/** The sign, in place. */
export function signOf(format: Format, a: Value): Value {
  return i64.and(a, format.sign);
}

export function isUnordered(format: Format, a: Value): Value {
  return i64.gtU(magnitude(format, a), format.infinity);
}

export function isInfinite(format: Format, a: Value): Value {
  return i64.eq(magnitude(format, a), format.infinity);
}

export function isZero(format: Format, a: Value): Value {
  return i64.eqz(magnitude(format, a));
}

/** 1 for denormals: zeros wrap round to the largest number. */
export function isDenormal(format: Format, a: Value): Value {
  return i64.ltU(i64.sub(magnitude(format, a), 1n), (1n << BigInt(format.fraction)) - 1n);
}

/** 1 for a signaling NaN among NaNs. */
export function isQuietClear(format: Format, a: Value): Value {
  return i64.eqz(i64.and(a, format.quiet));
}

/** 1 if `a` is a signaling NaN. */
export function isSignaling(format: Format, a: Value): Value {
  return i32.and(isUnordered(format, a), isQuietClear(format, a));
}

/** The operand as operations see it: with DAZ a denormal is a zero of its sign. */
export function operand(f: FunctionWriter, format: Format, mxcsr: Value, a: Value): Value {
  const local = variable(f, "i64", a);
  f.if(i32.and(i32.shrU(i32.and(mxcsr, MXCSR.DAZ), 6), isDenormal(format, a)), () => {
    f.set(local, signOf(format, a));
  });
  return local.get;
}

/** Note DE if one of the operands is denormal. */
export function noteDenormal(f: FunctionWriter, s: Value, format: Format, ...operands: Value[]): void {
  const any = operands.map((a) => isDenormal(format, a)).reduce((x, y) => i32.or(x, y));
  f.if(any, () => note(f, s, MXCSR.DE));
}

/** Return with the first operand's NaN, or else the second's, made quiet; IE if one of them was signaling. */
export function returnNaN(f: FunctionWriter, s: Value, format: Format, a: Value, b: Value): void {
  const aNaN = f.let(isUnordered(format, a));
  f.if(i32.or(aNaN, isUnordered(format, b)), () => {
    f.if(i32.or(isSignaling(format, a), isSignaling(format, b)), () => note(f, s, MXCSR.IE));
    f.return(i64.or(i64.select(aNaN, a, b), format.quiet));
  });
}

/** Return the indefinite NaN with IE. */
export function returnInvalid(f: FunctionWriter, s: Value, format: Format): void {
  note(f, s, MXCSR.IE);
  f.return(format.indefinite);
}

/** Exponent and significand of a number that is neither zero, infinite nor NaN. */
export function unpack(f: FunctionWriter, { fraction, maxExponent }: Format, a: Value): Unpacked {
  const field = f.let(i32.and(i32.wrap(i64.shrU(a, BigInt(fraction))), maxExponent));
  const high = f.let(i64.shl(i64.and(a, (1n << BigInt(fraction)) - 1n), BigInt(63 - fraction)));
  const exponent = variable(f, "i32", field);
  const significand = variable(f, "i64", i64.or(high, 1n << 63n));
  f.if(i32.eqz(field), () => {
    const zeros = f.let(i64.clz(high));
    f.set(exponent, i32.sub(1, i32.wrap(zeros)));
    f.set(significand, i64.shl(high, zeros));
  });
  return { exponent: exponent.get, significand: significand.get };
}

/** `value` shifted right by `count` (1 or more), with what falls out ORed into bit 0. */
export function shiftRightJam(f: FunctionWriter, value: Value, count: Value): Value {
  const n = f.let(i64.extendU(count));
  const kept = i64.shrU(value, n);
  const lost = i64.extendU(i64.ne(i64.shl(value, i64.sub(64n, n)), 0n));
  return f.let(i64.select(i32.geU(count, 64), i64.extendU(i64.ne(value, 0n)), i64.or(kept, lost)));
}

/** What rounding adds below the last place, which is 1 << dropped: nothing, a half, or all but one. */
function increment(f: FunctionWriter, mxcsr: Value, sign: Value, dropped: number): Value {
  const mode = f.let(i32.and(i32.shrU(mxcsr, RC_SHIFT), 3));
  const away = i32.eq(mode, i32.select(i64.eqz(sign), RC.up, RC.down));
  const directed = i64.select(away, (1n << BigInt(dropped)) - 1n, 0n);
  return f.let(i64.select(i32.eqz(mode), 1n << BigInt(dropped - 1), directed));
}

/**
 * Round ±significand × 2^(exponent - bias - 62), with bit 62 of the significand set and bit 0 sticky, and return it from
 * the function; notes OE, UE and PE. What is returned with an unmasked exception is not used.
 */
export function returnRounded(
  f: FunctionWriter,
  s: Value,
  format: Format,
  mxcsr: Value,
  sign: Value,
  exponent: Value,
  significand: Value,
): void {
  const { fraction, maxExponent } = format;
  const dropped = 62 - fraction;
  const half = 1n << BigInt(dropped - 1);
  const mask = (1n << BigInt(dropped)) - 1n;
  const add = increment(f, mxcsr, sign, dropped);
  const exp = variable(f, "i32", exponent);
  const sig = variable(f, "i64", significand);
  const precise = (): Value => i32.select(i64.eqz(i64.and(sig.get, mask)), 0, MXCSR.PE);
  /** The significand rounded to the format, its hidden bit in place. */
  const rounded = (): Value => {
    const tie = i32.and(i64.eq(i64.and(sig.get, mask), half), i64.eq(add, half));
    const raised = i64.shrU(i64.add(sig.get, add), BigInt(dropped));
    return f.let(i64.and(raised, i64.select(tie, -2n, -1n)));
  };
  f.if(i32.leS(exponent, 0), () => {
    // Tiny after rounding as if the exponent had no lower bound (SDM 1 4.9.1.5).
    const reaches = i32.and(i32.eqz(exponent), i64.ltS(i64.add(significand, add), 0n));
    const tiny = f.let(i32.eqz(reaches));
    f.if(tiny, () => {
      f.if(i32.eqz(i32.and(mxcsr, MXCSR.UM)), () => {
        note(f, s, i32.or(precise(), MXCSR.UE));
        f.return(0n);
      });
      f.if(i32.and(mxcsr, MXCSR.FZ), () => {
        note(f, s, MXCSR.UE | MXCSR.PE);
        f.return(sign);
      });
    });
    f.set(sig, shiftRightJam(f, significand, f.let(i32.sub(1, exponent))));
    const inexact = f.let(precise());
    f.if(inexact, () => note(f, s, i32.or(inexact, i32.select(tiny, MXCSR.UE, 0))));
    f.return(i64.or(sign, rounded()));
  });
  const kept = rounded();
  f.if(i64.ne(i64.shrU(kept, BigInt(fraction + 1)), 0n), () => f.set(exp, i32.add(exp.get, 1)));
  f.if(i32.geS(exp.get, maxExponent), () => {
    const masked = i32.and(mxcsr, MXCSR.OM);
    note(f, s, i32.or(MXCSR.OE, i32.select(masked, MXCSR.PE, precise())));
    f.return(i64.or(sign, i64.select(i64.eqz(add), format.maxFinite, format.infinity)));
  });
  note(f, s, precise());
  // The hidden bit raises the exponent by one, and a carry out of the fraction by two.
  const field = i64.shl(i64.extendU(i32.sub(exponent, 1)), BigInt(fraction));
  f.return(i64.add(i64.or(sign, field), kept));
}
