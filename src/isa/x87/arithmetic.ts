/**
 * Add, subtract, multiply, divide and square root on 80-bit values. Each function computes the exact result to 128 bits
 * (last one sticky) and hands it to `pack`; ordinary operands take the straight path, all others the block before it.
 */
import { f64, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../../wasm/module.ts";
import { EXT, FCW, FSW, INFINITY_SIGNIFICAND, INTEGER_BIT, OUTCOME, RC } from "./constants.ts";
import {
  bit64,
  define,
  type Extended,
  invoke,
  isSpecial,
  mulHigh,
  normalize,
  normalizedExponent,
  normalizedSignificand,
  shiftRightJam,
  signOf,
  storeExtended,
  variable,
} from "./emit.ts";
import { denormalCheck, isDenormal, isInfinity, isUnsupported, isZero, type Operands } from "./operands.ts";
import type { Rounding } from "./round.ts";

/** All: (destination, aSE, aSig, bSE, bSig, fcw) → flags; `squareRoot` has no b. */
export interface Arithmetic {
  readonly add: FunctionReference;
  /** a - b. */
  readonly subtract: FunctionReference;
  readonly multiply: FunctionReference;
  /** a / b. */
  readonly divide: FunctionReference;
  readonly squareRoot: FunctionReference;
}

const BINARY: readonly ValueType[] = ["i32", "i32", "i64", "i32", "i64", "i32"];

interface Parts {
  readonly exponentA: Local;
  readonly exponentB: Local;
  readonly significandA: Local;
  readonly significandB: Local;
  /** DE, if an operand was denormal. */
  readonly flags: Local;
}

/**
 * Take both operands apart. `special` emits the operation's own answers for infinities and zeros, returning from the
 * function; it runs after NaNs are settled, and `denormals` emits the denormal check when it is due.
 */
function takeApart(
  f: FunctionWriter,
  operands: Operands,
  [destination, fcw]: readonly [Value, Value],
  a: Extended,
  b: Extended,
  special: (denormals: () => void, flags: Value) => void,
): Parts {
  const parts: Parts = {
    exponentA: variable(f, "i32", i32.and(a.signExponent, EXT.exponent)),
    exponentB: variable(f, "i32", i32.and(b.signExponent, EXT.exponent)),
    significandA: variable(f, "i64", a.significand),
    significandB: variable(f, "i64", b.significand),
    flags: variable(f, "i32", 0),
  };
  f.if(i32.or(isSpecial(a), isSpecial(b)), () => {
    const args = [destination, a.signExponent, a.significand, b.signExponent, b.significand, fcw];
    const settled = f.let(invoke(operands.notANumber, ...args));
    f.if(settled, () => f.return(settled));
    const denormals = (): void => {
      f.set(parts.flags, denormalCheck(f, i32.or(isDenormal(a), isDenormal(b)), fcw));
    };
    special(denormals, parts.flags.get);
    f.set(parts.exponentA, normalizedExponent(a));
    f.set(parts.exponentB, normalizedExponent(b));
    f.set(parts.significandA, normalizedSignificand(a));
    f.set(parts.significandB, normalizedSignificand(b));
  });
  return parts;
}

function defineAdd(module: ModuleWriter, operands: Operands, rounding: Rounding, subtract: boolean): FunctionReference {
  return define(module, BINARY, "i32", (f, destination, aSE, aSig, bSE, bSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const b: Extended = { signExponent: bSE, significand: bSig };
    const sign = variable(f, "i32", signOf(aSE));
    const signB = f.let(i32.xor(signOf(bSE), subtract ? EXT.sign : 0));
    const differ = f.let(i32.ne(sign.get, signB));
    /** What an exact zero of operands of unlike signs is: -0 only when rounding down. */
    const zeroSign = (): Value => i32.select(i32.eq(i32.and(fcw, FCW.RC), RC.down), EXT.sign, 0);
    const parts = takeApart(f, operands, [destination, fcw], a, b, (denormals, flags) => {
      f.if(i32.or(isInfinity(a), isInfinity(b)), () => {
        f.if(i32.and(i32.and(isInfinity(a), isInfinity(b)), differ), () =>
          f.return(invoke(operands.invalid, destination, fcw)),
        );
        denormals();
        const infinite = i32.select(isInfinity(a), sign.get, signB);
        storeExtended(f, destination, i32.or(infinite, EXT.exponent), INFINITY_SIGNIFICAND);
        f.return(flags);
      });
      denormals();
      f.if(i32.and(isZero(a), isZero(b)), () => {
        storeExtended(f, destination, i32.select(differ, zeroSign(), sign.get), 0n);
        f.return(0);
      });
      f.if(isZero(a), () => {
        const exponent = normalizedExponent(b);
        const args = [destination, signB, exponent, normalizedSignificand(b), 0n, fcw];
        f.return(i32.or(flags, invoke(rounding.pack, ...args)));
      });
      f.if(isZero(b), () => {
        const exponent = normalizedExponent(a);
        const args = [destination, sign.get, exponent, normalizedSignificand(a), 0n, fcw];
        f.return(i32.or(flags, invoke(rounding.pack, ...args)));
      });
    });
    const { exponentA, exponentB, significandA, significandB, flags } = parts;
    // The larger magnitude becomes a.
    const smaller = i32.or(
      i32.ltS(exponentA.get, exponentB.get),
      i32.and(i32.eq(exponentA.get, exponentB.get), i64.ltU(significandA.get, significandB.get)),
    );
    f.if(smaller, () => {
      const exponent = f.let(exponentA.get);
      const significand = f.let(significandA.get);
      f.set(exponentA, exponentB.get);
      f.set(significandA, significandB.get);
      f.set(exponentB, exponent);
      f.set(significandB, significand);
      f.set(sign, signB);
    });
    const high = variable(f, "i64", significandB.get);
    const low = variable(f, "i64", 0n);
    shiftRightJam(f, high, low, i32.sub(exponentA.get, exponentB.get));
    f.if(
      differ,
      () => {
        const borrow = f.let(bit64(i64.ne(low.get, 0n)));
        f.set(low, i64.sub(0n, low.get));
        f.set(high, i64.sub(i64.sub(significandA.get, high.get), borrow));
        f.if(i64.eqz(i64.or(high.get, low.get)), () => {
          storeExtended(f, destination, zeroSign(), 0n);
          f.return(flags.get);
        });
        normalize(f, high, low, exponentA);
      },
      () => {
        f.set(high, i64.add(significandA.get, high.get));
        f.if(i64.ltU(high.get, significandA.get), () => {
          f.set(low, i64.or(i64.or(i64.shrU(low.get, 1n), i64.and(low.get, 1n)), i64.shl(high.get, 63n)));
          f.set(high, i64.or(i64.shrU(high.get, 1n), INTEGER_BIT));
          f.set(exponentA, i32.add(exponentA.get, 1));
        });
      },
    );
    const packed = invoke(rounding.pack, destination, sign.get, exponentA.get, high.get, low.get, fcw);
    f.result(i32.or(packed, flags.get));
  });
}

function defineMultiply(module: ModuleWriter, operands: Operands, rounding: Rounding): FunctionReference {
  return define(module, BINARY, "i32", (f, destination, aSE, aSig, bSE, bSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const b: Extended = { signExponent: bSE, significand: bSig };
    const sign = f.let(signOf(i32.xor(aSE, bSE)));
    const parts = takeApart(f, operands, [destination, fcw], a, b, (denormals, flags) => {
      f.if(i32.or(isInfinity(a), isInfinity(b)), () => {
        f.if(i32.or(isZero(a), isZero(b)), () => f.return(invoke(operands.invalid, destination, fcw)));
        denormals();
        storeExtended(f, destination, i32.or(sign, EXT.exponent), INFINITY_SIGNIFICAND);
        f.return(flags);
      });
      denormals();
      f.if(i32.or(isZero(a), isZero(b)), () => {
        storeExtended(f, destination, sign, 0n);
        f.return(flags);
      });
    });
    const exponent = variable(f, "i32", i32.sub(i32.add(parts.exponentA.get, parts.exponentB.get), EXT.bias - 1));
    const high = variable(f, "i64", mulHigh(f, parts.significandA.get, parts.significandB.get));
    const low = variable(f, "i64", i64.mul(parts.significandA.get, parts.significandB.get));
    f.if(i64.geS(high.get, 0n), () => {
      f.set(high, i64.or(i64.shl(high.get, 1n), i64.shrU(low.get, 63n)));
      f.set(low, i64.shl(low.get, 1n));
      f.set(exponent, i32.sub(exponent.get, 1));
    });
    const packed = invoke(rounding.pack, destination, sign, exponent.get, high.get, low.get, fcw);
    f.result(i32.or(packed, parts.flags.get));
  });
}

/**
 * Quotient of high·2^64 + low by `divisor` (bit 63 set, greater than `high`), digit by digit in base 2^32; the remainder
 * goes to `remainder`. Each digit's estimate is at most 2 too large (Knuth, TAOCP 2, 4.3.1, theorem B).
 */
export function divideWide(f: FunctionWriter, high: Value, low: Value, divisor: Value, remainder: Local): Value {
  const mask = 0xffffffffn;
  const top = f.let(i64.shrU(divisor, 32n));
  const bottom = f.let(i64.and(divisor, mask));
  /** One digit of (partial·2^32 + next) / divisor; leaves the new partial remainder in `remainder`. */
  const digit = (partial: Value, next: Value): Value => {
    const estimate = variable(f, "i64", i64.divU(partial, top));
    const rest = variable(f, "i64", i64.sub(partial, i64.mul(estimate.get, top)));
    f.block((done) => {
      f.loop((again) => {
        const tooLarge = i32.or(
          i64.gtU(estimate.get, mask),
          i64.gtU(i64.mul(estimate.get, bottom), i64.or(i64.shl(rest.get, 32n), next)),
        );
        f.brIf(i32.eqz(tooLarge), done);
        f.set(estimate, i64.sub(estimate.get, 1n));
        f.set(rest, i64.add(rest.get, top));
        f.brIf(i64.leU(rest.get, mask), again);
      });
    });
    f.set(remainder, i64.sub(i64.or(i64.shl(partial, 32n), next), i64.mul(estimate.get, divisor)));
    return estimate.get;
  };
  const first = digit(high, f.let(i64.shrU(low, 32n)));
  const partial = f.let(remainder.get);
  const second = digit(partial, f.let(i64.and(low, mask)));
  return i64.or(i64.shl(first, 32n), second);
}

function defineDivide(module: ModuleWriter, operands: Operands, rounding: Rounding): FunctionReference {
  return define(module, BINARY, "i32", (f, destination, aSE, aSig, bSE, bSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const b: Extended = { signExponent: bSE, significand: bSig };
    const sign = f.let(signOf(i32.xor(aSE, bSE)));
    const parts = takeApart(f, operands, [destination, fcw], a, b, (denormals, flags) => {
      f.if(i32.or(i32.and(isInfinity(a), isInfinity(b)), i32.and(isZero(a), isZero(b))), () =>
        f.return(invoke(operands.invalid, destination, fcw)),
      );
      f.if(isInfinity(a), () => {
        denormals();
        storeExtended(f, destination, i32.or(sign, EXT.exponent), INFINITY_SIGNIFICAND);
        f.return(flags);
      });
      f.if(isZero(b), () => {
        f.if(i32.eqz(i32.and(fcw, FCW.ZM)), () => f.return(FSW.ZE | OUTCOME.suppressed | OUTCOME.settled));
        storeExtended(f, destination, i32.or(sign, EXT.exponent), INFINITY_SIGNIFICAND);
        f.return(FSW.ZE);
      });
      denormals();
      f.if(i32.or(isInfinity(b), isZero(a)), () => {
        storeExtended(f, destination, sign, 0n);
        f.return(flags);
      });
    });
    const exponent = variable(f, "i32", i32.add(i32.sub(parts.exponentA.get, parts.exponentB.get), EXT.bias - 1));
    const numerator = variable(f, "i64", parts.significandA.get);
    const numeratorLow = variable(f, "i64", 0n);
    const divisor = parts.significandB.get;
    // With a numerator below the divisor the quotient lies in [2^63, 2^64).
    f.if(i64.geU(numerator.get, divisor), () => {
      f.set(numeratorLow, i64.shl(numerator.get, 63n));
      f.set(numerator, i64.shrU(numerator.get, 1n));
      f.set(exponent, i32.add(exponent.get, 1));
    });
    const remainder = f.local("i64");
    const quotient = f.let(divideWide(f, numerator.get, numeratorLow.get, divisor, remainder));
    // Half or more, then sticky: a tie in the last place cannot happen.
    const half = i64.select(i64.gtU(remainder.get, i64.sub(divisor, remainder.get)), INTEGER_BIT | 1n, 1n);
    const rest = i64.select(i64.eqz(remainder.get), 0n, half);
    f.result(i32.or(invoke(rounding.pack, destination, sign, exponent.get, quotient, rest, fcw), parts.flags.get));
  });
}

/** 2^32 as a binary64. */
const TWO_32 = 0x41f0000000000000n;
/** 2^64 as a binary64. */
const TWO_64 = 0x43f0000000000000n;

/**
 * Floor of the square root of high·2^64 (`high` ≥ 2^62), remainder in `remainder`. A binary64 root gives 52 bits, one
 * Newton step with the exact residue the rest; the last unit is settled with integers.
 */
export function integerRoot(f: FunctionWriter, high: Value, low: Value, remainder: Local): Value {
  const root = variable(f, "i64");
  const estimate = f.let(f64.mul(f64.sqrt(f64.fromI64U(high)), f64.reinterpret(TWO_32)));
  // An estimate of 2^64 does not fit; the largest integer is as near.
  const fits = f.let(i32.wrap(i64.shrU(i64.reinterpret(estimate), 52n)));
  f.if(
    i32.geU(fits, Number(TWO_64 >> 52n)),
    () => f.set(root, -1n),
    () => f.set(root, f64.toI64U(estimate)),
  );
  const residueHigh = f.local("i64");
  const residueLow = f.local("i64");
  const residue = (): void => {
    const square = f.let(i64.mul(root.get, root.get));
    f.set(residueHigh, i64.sub(i64.sub(high, mulHigh(f, root.get, root.get)), bit64(i64.ltU(low, square))));
    f.set(residueLow, i64.sub(low, square));
  };
  residue();
  const approximate = f64.add(
    f64.mul(f64.fromI64S(residueHigh.get), f64.reinterpret(TWO_64)),
    f64.fromI64U(residueLow.get),
  );
  const halfStep = f64.div(approximate, f64.fromI64U(root.get));
  const step = f.let(i64.shrS(f64.toI64S(halfStep), 1n));
  const stepped = f.let(i64.add(root.get, step));
  // Roots have bit 63 set; a step beyond 2^64 would lose it.
  f.set(root, i64.select(i64.ltS(stepped, 0n), stepped, -1n));
  residue();
  f.loop((again) => {
    f.if(i64.ltS(residueHigh.get, 0n), () => {
      f.set(root, i64.sub(root.get, 1n));
      residue();
      f.br(again);
    });
    // Too small when the residue exceeds 2·root.
    const tooSmall = i32.or(
      i64.gtS(residueHigh.get, 1n),
      i32.and(i64.eq(residueHigh.get, 1n), i64.gtU(residueLow.get, i64.shl(root.get, 1n))),
    );
    f.if(tooSmall, () => {
      f.set(root, i64.add(root.get, 1n));
      residue();
      f.br(again);
    });
  });
  // The residue is at most 2·root < 2^65: above half a unit when it exceeds the root.
  const aboveHalf = i32.or(i64.ne(residueHigh.get, 0n), i64.gtU(residueLow.get, root.get));
  const exact = i64.eqz(i64.or(residueHigh.get, residueLow.get));
  f.set(remainder, i64.select(exact, 0n, i64.select(aboveHalf, INTEGER_BIT | 1n, 1n)));
  return root.get;
}

function defineSquareRoot(module: ModuleWriter, operands: Operands, rounding: Rounding): FunctionReference {
  return define(module, ["i32", "i32", "i64", "i32"], "i32", (f, destination, aSE, aSig, fcw) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const flags = variable(f, "i32", 0);
    f.if(i32.or(isSpecial(a), signOf(aSE)), () => {
      f.if(i32.or(isUnsupported(a), i32.eq(i32.and(aSE, EXT.exponent), EXT.exponent)), () => {
        const settled = f.let(invoke(operands.notANumber, destination, aSE, aSig, aSE, aSig, fcw));
        f.if(settled, () => f.return(settled));
      });
      f.if(isZero(a), () => {
        storeExtended(f, destination, aSE, aSig);
        f.return(0);
      });
      f.if(signOf(aSE), () => f.return(invoke(operands.invalid, destination, fcw)));
      f.if(isInfinity(a), () => {
        storeExtended(f, destination, aSE, aSig);
        f.return(0);
      });
      f.set(flags, denormalCheck(f, isDenormal(a), fcw));
    });
    const exponent = f.let(i32.sub(normalizedExponent(a), EXT.bias));
    const significand = f.let(normalizedSignificand(a));
    const odd = f.let(i32.and(exponent, 1));
    // 2^(2k)·1.x is halved to fit 128 bits, 2^(2k+1)·1.x stands as it is.
    const high = f.let(i64.select(odd, significand, i64.shrU(significand, 1n)));
    const low = f.let(i64.select(odd, 0n, i64.shl(significand, 63n)));
    const rest = f.local("i64");
    const root = integerRoot(f, high, low, rest);
    const half = i32.add(i32.shrS(exponent, 1), EXT.bias);
    f.result(i32.or(invoke(rounding.pack, destination, 0, half, root, rest.get, fcw), flags.get));
  });
}

/** Define the arithmetic functions in `module`. */
export function defineArithmetic(module: ModuleWriter, operands: Operands, rounding: Rounding): Arithmetic {
  return {
    add: defineAdd(module, operands, rounding, false),
    subtract: defineAdd(module, operands, rounding, true),
    multiply: defineMultiply(module, operands, rounding),
    divide: defineDivide(module, operands, rounding),
    squareRoot: defineSquareRoot(module, operands, rounding),
  };
}
