/**
 * What comes before arithmetic: memory formats widened to 80 bits, unsupported forms, NaN propagation, and the
 * denormal-operand exception, in the priority order of SDM 1 8.5 and table 4-7.
 */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import {
  EXT,
  FCW,
  FSW,
  INDEFINITE,
  INFINITY_SIGNIFICAND,
  INTEGER_BIT,
  OUTCOME,
  QUIET_BIT,
  WAS_DENORMAL,
} from "./constants.ts";
import { define, type Extended, exponentOf, invoke, storeExtended, variable } from "./emit.ts";

export interface Operands {
  /** (destination, fcw) → flags: the invalid-operation response, real indefinite if masked. Always `settled`. */
  readonly invalid: FunctionReference;
  /**
   * (destination, aSE, aSig, bSE, bSig, fcw) → flags: unsupported forms and NaNs of a two-operand operation; 0 if there
   * is neither, else `settled`.
   */
  readonly notANumber: FunctionReference;
}

/** Exponent nonzero without integer bit: unnormals, pseudo-infinities, pseudo-NaNs (SDM 1 8.2.2). */
export function isUnsupported({ signExponent, significand }: Extended): Value {
  return i32.and(i32.ne(exponentOf(signExponent), 0), i64.geS(significand, 0n));
}

/** A NaN, given that the operand is supported. */
export function isNaNValue({ signExponent, significand }: Extended): Value {
  return i32.and(i32.eq(exponentOf(signExponent), EXT.exponent), i64.ne(significand, INFINITY_SIGNIFICAND));
}

/** A signaling NaN, given that the operand is a NaN. */
function isSignaling({ significand }: Extended): Value {
  return i64.eqz(i64.and(significand, QUIET_BIT));
}

/** An infinity, given that the operand is supported and no NaN. */
export function isInfinity({ signExponent }: Extended): Value {
  return i32.eq(exponentOf(signExponent), EXT.exponent);
}

/** ±0; a denormal single or double was widened to a normal number and is not. */
export function isZero({ signExponent, significand }: Extended): Value {
  return i32.and(i32.eqz(exponentOf(signExponent)), i64.eqz(significand));
}

/** Denormals, pseudo-denormals, and what came from a denormal in memory. */
export function isDenormal({ signExponent, significand }: Extended): Value {
  const tiny = i32.and(i32.eqz(exponentOf(signExponent)), i64.ne(significand, 0n));
  return i32.or(tiny, i32.ne(i32.and(signExponent, WAS_DENORMAL), 0));
}

/** Return from the helper with DE if `condition` holds and DE is unmasked; otherwise the flags to carry on. */
export function denormalCheck(f: FunctionWriter, condition: Value, fcw: Value): Value {
  const flags = variable(f, "i32", 0);
  f.if(condition, () => {
    f.if(i32.eqz(i32.and(fcw, FCW.DM)), () => f.return(FSW.DE | OUTCOME.suppressed | OUTCOME.settled));
    f.set(flags, FSW.DE);
  });
  return flags.get;
}

function defineInvalid(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i32"], "i32", (f, destination, fcw) => {
    f.if(i32.eqz(i32.and(fcw, FCW.IM)), () => f.return(FSW.IE | OUTCOME.suppressed | OUTCOME.settled));
    storeExtended(f, destination, INDEFINITE.signExponent, INDEFINITE.significand);
    f.result(FSW.IE | OUTCOME.settled);
  });
}

function defineNotANumber(module: ModuleWriter, invalid: FunctionReference): FunctionReference {
  const params = ["i32", "i32", "i64", "i32", "i64", "i32"] as const;
  return define(module, params, "i32", (f, destination, aSE, aSig, bSE, bSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const b: Extended = { signExponent: bSE, significand: bSig };
    f.if(i32.or(isUnsupported(a), isUnsupported(b)), () => f.return(invoke(invalid, destination, fcw)));
    const aNaN = f.let(isNaNValue(a));
    const bNaN = f.let(isNaNValue(b));
    f.if(i32.eqz(i32.or(aNaN, bNaN)), () => f.return(0));
    const aSignals = f.let(i32.and(aNaN, isSignaling(a)));
    const bSignals = f.let(i32.and(bNaN, isSignaling(b)));
    const signals = f.let(i32.or(aSignals, bSignals));
    f.if(i32.and(signals, i32.eqz(i32.and(fcw, FCW.IM))), () =>
      f.return(FSW.IE | OUTCOME.suppressed | OUTCOME.settled),
    );
    const takeB = f.local("i32");
    f.if(
      i32.and(aNaN, bNaN),
      () => {
        f.if(
          i32.ne(aSignals, bSignals),
          // A quiet NaN beside a signaling one wins.
          () => f.set(takeB, aSignals),
          () => {
            // The larger significand; between equal ones the positive.
            const larger = i64.gtU(bSig, aSig);
            const positive = i32.and(i64.eq(aSig, bSig), i32.ltU(i32.and(bSE, 0xffff), i32.and(aSE, 0xffff)));
            f.set(takeB, i32.or(larger, positive));
          },
        );
      },
      () => f.set(takeB, bNaN),
    );
    storeExtended(
      f,
      destination,
      i32.select(takeB.get, bSE, aSE),
      i64.or(i64.select(takeB.get, bSig, aSig), QUIET_BIT),
    );
    f.result(i32.select(signals, FSW.IE | OUTCOME.settled, OUTCOME.settled));
  });
}

/** Define the operand checks in `module`. */
export function defineOperands(module: ModuleWriter): Operands {
  const invalid = defineInvalid(module);
  return { invalid, notANumber: defineNotANumber(module, invalid) };
}

interface BinaryFormat {
  readonly fraction: number;
  readonly maxExponent: number;
  readonly bias: number;
}

/** Widen a binary32 or binary64 (its bits in an i64) without loss; NaNs stay signaling, denormals are marked. */
function widen(
  f: FunctionWriter,
  bits: Value,
  signExponent: Value,
  { fraction, maxExponent, bias }: BinaryFormat,
): Extended {
  const exponent = f.let(i32.and(i32.wrap(i64.shrU(bits, BigInt(fraction))), maxExponent));
  const mantissa = f.let(i64.shl(bits, BigInt(63 - fraction)));
  const se = variable(f, "i32", i32.or(signExponent, i32.add(exponent, EXT.bias - bias)));
  const sig = variable(f, "i64", i64.or(mantissa, INTEGER_BIT));
  f.if(i32.geU(i32.sub(exponent, 1), maxExponent - 1), () => {
    f.if(
      exponent,
      () => f.set(se, i32.or(signExponent, EXT.exponent)),
      () => {
        const low = f.let(i64.and(mantissa, INTEGER_BIT - 1n));
        f.if(
          i64.eqz(low),
          () => {
            f.set(se, signExponent);
            f.set(sig, 0n);
          },
          () => {
            const shift = f.let(i64.clz(low));
            f.set(se, i32.or(i32.or(signExponent, WAS_DENORMAL), i32.sub(EXT.bias - bias + 1, i32.wrap(shift))));
            f.set(sig, i64.shl(low, shift));
          },
        );
      },
    );
  });
  return { signExponent: se.get, significand: sig.get };
}

/** A binary32 operand, from its bits in an i32. */
export function widenSingle(f: FunctionWriter, bits: Value): Extended {
  const sign = f.let(i32.and(i32.shrU(bits, 16), EXT.sign));
  return widen(f, f.let(i64.extendU(bits)), sign, { fraction: 23, maxExponent: 0xff, bias: 127 });
}

/** A binary64 operand, from its bits in an i64. */
export function widenDouble(f: FunctionWriter, bits: Value): Extended {
  const sign = f.let(i32.wrap(i64.and(i64.shrU(bits, 48n), BigInt(EXT.sign))));
  return widen(f, bits, sign, { fraction: 52, maxExponent: 0x7ff, bias: 1023 });
}

/** A signed integer operand; always exact. */
export function widenInteger(f: FunctionWriter, value: Value): Extended {
  const negative = f.let(i64.ltS(value, 0n));
  const magnitude = f.let(i64.select(negative, i64.sub(0n, value), value));
  const zeros = f.let(i64.clz(magnitude));
  const signExponent = f.let(
    i32.select(
      i64.eqz(magnitude),
      0,
      i32.or(i32.select(negative, EXT.sign, 0), i32.sub(EXT.bias + 63, i32.wrap(zeros))),
    ),
  );
  return { signExponent, significand: f.let(i64.shl(magnitude, zeros)) };
}

/** Memory formats that widen to a number. */
export type NumberFormat = "r32" | "r64" | "i16" | "i32" | "i64";

/** An operand as it was read from memory, 64-bit formats in an i64, shorter ones in an i32. */
export function widenOperand(f: FunctionWriter, source: NumberFormat, bits: Value): Extended {
  switch (source) {
    case "r32":
      return widenSingle(f, bits);
    case "r64":
      return widenDouble(f, bits);
    case "i16":
      return widenInteger(f, f.let(i64.extendS(i32.extend16s(bits))));
    case "i32":
      return widenInteger(f, f.let(i64.extendS(bits)));
    default:
      return widenInteger(f, bits);
  }
}
