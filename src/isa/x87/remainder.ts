/** FPREM, FPREM1, FSCALE and FXTRACT: exponent arithmetic that is exact but for FSCALE's underflow. */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../../wasm/module.ts";
import { divideWide } from "./arithmetic.ts";
import { EXT, FCW, FSW, INFINITY_SIGNIFICAND, OUTCOME, PC } from "./constants.ts";
import {
  define,
  type Extended,
  invoke,
  isSpecial,
  normalizedExponent,
  normalizedSignificand,
  signOf,
  storeExtended,
  variable,
} from "./emit.ts";
import { denormalCheck, isDenormal, isInfinity, isZero, type Operands } from "./operands.ts";
import type { Rounding } from "./round.ts";

export interface ExponentOperations {
  /** (destination, aSE, aSig, bSE, bSig, fcw) → flags and quotient bits in C0, C3, C1: FPREM of a by b. */
  readonly remainder: FunctionReference;
  /** FPREM1, IEEE 754's remainder. */
  readonly remainderNearest: FunctionReference;
  /** a · 2^trunc(b). */
  readonly scale: FunctionReference;
  /** (significandDestination, exponentDestination, aSE, aSig, fcw) → flags. */
  readonly extract: FunctionReference;
  /** (destination, aSE, aSig, fcw) → flags: FRNDINT. */
  readonly integral: FunctionReference;
}

const BINARY: readonly ValueType[] = ["i32", "i32", "i64", "i32", "i64", "i32"];

/** Steps of a partial remainder: the reduction is by 32 to 63 bits, so that what is left is a multiple of 32. */
const PARTIAL_STEP = 32;
/** Distance of any number to an infinite divisor: nothing to reduce. */
const FAR_BELOW = -0x10000;

/** Quotient bits 2, 1, 0 in C0, C3, C1. */
function quotientBits(quotient: Value): Value {
  const c0 = i32.select(i32.and(quotient, 4), FSW.C0, 0);
  const c3 = i32.select(i32.and(quotient, 2), FSW.C3, 0);
  return i32.or(i32.or(c0, c3), i32.select(i32.and(quotient, 1), FSW.C1, 0));
}

function defineRemainder(
  module: ModuleWriter,
  operands: Operands,
  rounding: Rounding,
  nearest: boolean,
): FunctionReference {
  return define(module, BINARY, "i32", (f, destination, aSE, aSig, bSE, bSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const b: Extended = { signExponent: bSE, significand: bSig };
    const settled = f.let(invoke(operands.notANumber, destination, aSE, aSig, bSE, bSig, fcw));
    f.if(settled, () => f.return(settled));
    f.if(i32.or(isInfinity(a), isZero(b)), () => f.return(invoke(operands.invalid, destination, fcw)));
    const flags = f.let(denormalCheck(f, i32.or(isDenormal(a), isDenormal(b)), fcw));
    f.if(isZero(a), () => {
      storeExtended(f, destination, aSE, aSig);
      f.return(flags);
    });
    const sign = variable(f, "i32", signOf(aSE));
    const exponent = variable(f, "i32", normalizedExponent(a));
    const significand = variable(f, "i64", normalizedSignificand(a));
    const quotient = variable(f, "i32", 0);
    const partial = variable(f, "i32", 0);
    const divisor = f.let(normalizedSignificand(b));
    /** Remainder divisor - r of the other sign, quotient one more. */
    const otherSide = (value: Value): void => {
      f.set(significand, value);
      f.set(sign, i32.xor(sign.get, EXT.sign));
      f.set(quotient, i32.add(quotient.get, 1));
    };
    const distance = f.let(i32.select(isInfinity(b), FAR_BELOW, i32.sub(exponent.get, normalizedExponent(b))));
    f.if(i32.geS(distance, 0), () => {
      f.set(partial, i32.geS(distance, 64));
      const reducing = i32.or(i32.and(distance, PARTIAL_STEP - 1), PARTIAL_STEP);
      const shift = f.let(i32.select(partial.get, reducing, distance));
      const count = f.let(i64.extendU(shift));
      const first = f.let(i64.geU(significand.get, divisor));
      const start = f.let(i64.sub(significand.get, i64.select(first, divisor, 0n)));
      // A shift by 64 - 0 would be one by 0: the high part is shifted in two steps.
      const high = f.let(i64.shrU(i64.shrU(start, 1n), i64.sub(63n, count)));
      const rest = f.local("i64");
      const digits = divideWide(f, high, f.let(i64.shl(start, count)), divisor, rest);
      f.set(quotient, i32.wrap(i64.or(digits, i64.shl(i64.extendU(first), count))));
      f.set(significand, rest.get);
      f.set(exponent, i32.sub(exponent.get, shift));
      if (nearest) {
        f.if(i32.eqz(partial.get), () => {
          const left = f.let(i64.sub(divisor, significand.get));
          const tie = i32.and(i64.eq(significand.get, left), i32.and(quotient.get, 1));
          f.if(i32.or(i64.gtU(significand.get, left), tie), () => otherSide(left));
        });
      }
    });
    if (nearest) {
      // Between one half and one divisor. At exactly one half the even quotient is 0.
      f.if(i32.and(i32.eq(distance, -1), i64.gtU(significand.get, divisor)), () =>
        otherSide(i64.sub(divisor, i64.sub(significand.get, divisor))),
      );
    }
    const codes = f.let(i32.or(flags, i32.select(partial.get, FSW.C2, quotientBits(quotient.get))));
    f.if(i64.eqz(significand.get), () => {
      storeExtended(f, destination, sign.get, 0n);
      f.return(codes);
    });
    const zeros = f.let(i64.clz(significand.get));
    const reduced = i32.sub(exponent.get, i32.wrap(zeros));
    const exact = i32.or(fcw, PC.extended);
    const args = [destination, sign.get, reduced, i64.shl(significand.get, zeros), 0n, exact];
    f.result(i32.or(codes, invoke(rounding.pack, ...args)));
  });
}

/** Scale factors beyond this overflow or underflow any operand, bias adjustment included. */
const MAX_SCALE = 0x10000;

function defineScale(module: ModuleWriter, operands: Operands, rounding: Rounding): FunctionReference {
  return define(module, BINARY, "i32", (f, destination, aSE, aSig, bSE, bSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const b: Extended = { signExponent: bSE, significand: bSig };
    const settled = f.let(invoke(operands.notANumber, destination, aSE, aSig, bSE, bSig, fcw));
    f.if(settled, () => f.return(settled));
    f.if(isInfinity(b), () => {
      const impossible = i32.select(signOf(bSE), isInfinity(a), isZero(a));
      f.if(impossible, () => f.return(invoke(operands.invalid, destination, fcw)));
      const flags = f.let(denormalCheck(f, isDenormal(a), fcw));
      f.if(
        signOf(bSE),
        () => storeExtended(f, destination, signOf(aSE), 0n),
        () => storeExtended(f, destination, i32.or(aSE, EXT.exponent), INFINITY_SIGNIFICAND),
      );
      f.return(flags);
    });
    const flags = f.let(denormalCheck(f, i32.or(isDenormal(a), isDenormal(b)), fcw));
    f.if(i32.or(isInfinity(a), isZero(a)), () => {
      storeExtended(f, destination, aSE, aSig);
      f.return(flags);
    });
    const exponentB = f.let(i32.sub(i32.and(bSE, EXT.exponent), EXT.bias));
    const magnitude = variable(f, "i32", 0);
    f.if(i32.geS(exponentB, 0), () => {
      f.set(magnitude, MAX_SCALE);
      f.if(i32.ltS(exponentB, 16), () =>
        f.set(magnitude, i32.wrap(i64.shrU(bSig, i64.extendU(i32.sub(63, exponentB))))),
      );
    });
    const power = i32.select(signOf(bSE), i32.sub(0, magnitude.get), magnitude.get);
    const exponent = i32.add(normalizedExponent(a), power);
    const exact = i32.or(fcw, PC.extended);
    const args = [destination, signOf(aSE), exponent, normalizedSignificand(a), 0n, exact];
    f.result(i32.or(flags, invoke(rounding.pack, ...args)));
  });
}

function defineExtract(module: ModuleWriter, operands: Operands): FunctionReference {
  const params = ["i32", "i32", "i32", "i64", "i32"] as const;
  return define(module, params, "i32", (f, significandDestination, exponentDestination, aSE, aSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const settled = f.let(invoke(operands.notANumber, exponentDestination, aSE, aSig, aSE, aSig, fcw));
    f.if(settled, () => {
      f.if(i32.eqz(i32.and(settled, OUTCOME.suppressed)), () => {
        f.store64(significandDestination, i64.load(exponentDestination));
        f.store16(significandDestination, i32.load16u(exponentDestination, 8), 8);
      });
      f.return(settled);
    });
    f.if(isInfinity(a), () => {
      storeExtended(f, exponentDestination, EXT.exponent, INFINITY_SIGNIFICAND);
      storeExtended(f, significandDestination, aSE, aSig);
      f.return(0);
    });
    f.if(isZero(a), () => {
      f.if(i32.eqz(i32.and(fcw, FCW.ZM)), () => f.return(FSW.ZE | OUTCOME.suppressed));
      storeExtended(f, exponentDestination, EXT.sign | EXT.exponent, INFINITY_SIGNIFICAND);
      storeExtended(f, significandDestination, aSE, aSig);
      f.return(FSW.ZE);
    });
    const flags = f.let(denormalCheck(f, isDenormal(a), fcw));
    const power = f.let(i32.sub(normalizedExponent(a), EXT.bias));
    const negative = f.let(i32.ltS(power, 0));
    const magnitude = f.let(i32.select(negative, i32.sub(0, power), power));
    const zeros = f.let(i64.clz(i64.extendU(magnitude)));
    const exponent = i32.select(magnitude, i32.sub(EXT.bias + 63, i32.wrap(zeros)), 0);
    const sign = i32.select(negative, EXT.sign, 0);
    storeExtended(f, exponentDestination, i32.or(sign, exponent), i64.shl(i64.extendU(magnitude), zeros));
    storeExtended(f, significandDestination, i32.or(signOf(aSE), EXT.bias), normalizedSignificand(a));
    f.result(flags);
  });
}

function defineIntegral(module: ModuleWriter, operands: Operands, rounding: Rounding): FunctionReference {
  return define(module, ["i32", "i32", "i64", "i32"], "i32", (f, destination, aSE, aSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const flags = variable(f, "i32", 0);
    f.if(isSpecial(a), () => {
      const settled = f.let(invoke(operands.notANumber, destination, aSE, aSig, aSE, aSig, fcw));
      f.if(settled, () => f.return(settled));
      f.if(i32.or(isInfinity(a), isZero(a)), () => f.return(0));
      f.set(flags, denormalCheck(f, isDenormal(a), fcw));
    });
    f.result(i32.or(flags.get, invoke(rounding.toIntegral, destination, aSE, aSig, fcw)));
  });
}

/** Define the exponent operations in `module`. */
export function defineExponentOperations(
  module: ModuleWriter,
  operands: Operands,
  rounding: Rounding,
): ExponentOperations {
  return {
    remainder: defineRemainder(module, operands, rounding, false),
    remainderNearest: defineRemainder(module, operands, rounding, true),
    scale: defineScale(module, operands, rounding),
    extract: defineExtract(module, operands),
    integral: defineIntegral(module, operands, rounding),
  };
}
