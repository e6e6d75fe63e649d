/** Comparison and classification of 80-bit values, in condition-code form (SDM 1 8.1.3, tables 8-6 and 3-42). */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { CONDITION, EXT, FCW, FSW, INFINITY_SIGNIFICAND, OUTCOME, QUIET_BIT } from "./constants.ts";
import { define, type Extended, exponentOf, isSpecial, signOf, variable } from "./emit.ts";
import { isDenormal, isNaNValue, isUnsupported } from "./operands.ts";

/** Condition codes of a comparison. */
export const ORDER = { greater: 0, less: FSW.C0, equal: FSW.C3, unordered: FSW.C3 | FSW.C2 | FSW.C0 } as const;

/** Lazy-flag encodings of FCOMI's three flags (OF, SF, AF clear): see the processor's flags. */
const LAZY = { carry: 0xc0000000 | 0, oddParity: 0x100, notZero: 0x100 } as const;

/** Result and carry halves of the lazy flags in which FCOMI leaves an order that is given as condition codes. */
export function orderFlags(order: Value): [result: Value, carry: Value] {
  const carry = i32.select(i32.and(order, FSW.C0), LAZY.carry, 0);
  const parity = i32.select(i32.and(order, FSW.C2), 0, LAZY.oddParity);
  return [i32.select(i32.and(order, FSW.C3), 0, LAZY.notZero), i32.or(carry, parity)];
}

export interface Comparison {
  /**
   * (aSE, aSig, bSE, bSig, fcw, quiet) → flags with the order of a to b in C3, C2, C0, also when an unmasked exception
   * makes them `suppressed`. Quiet NaNs signal unless `quiet`.
   */
  readonly compare: FunctionReference;
  /** (signExponent, significand) → C3, C2, C1, C0 of FXAM for a register that is not empty. */
  readonly examine: FunctionReference;
}

function defineCompare(module: ModuleWriter): FunctionReference {
  const params = ["i32", "i64", "i32", "i64", "i32", "i32"] as const;
  return define(module, params, "i32", (f, aSE, aSig, bSE, bSig, fcw, quiet) => {
    const a: Extended = { signExponent: aSE, significand: aSig };
    const b: Extended = { signExponent: bSE, significand: bSig };
    const flags = variable(f, "i32", 0);
    f.if(i32.or(isSpecial(a), isSpecial(b)), () => {
      const unsupported = f.let(i32.or(isUnsupported(a), isUnsupported(b)));
      const nan = f.let(i32.or(isNaNValue(a), isNaNValue(b)));
      f.if(i32.or(unsupported, nan), () => {
        const signals = (x: Extended): Value => i32.and(isNaNValue(x), i64.eqz(i64.and(x.significand, QUIET_BIT)));
        const invalid = i32.or(i32.or(unsupported, i32.eqz(quiet)), i32.or(signals(a), signals(b)));
        f.if(i32.eqz(invalid), () => f.return(ORDER.unordered));
        const outcome = i32.select(i32.and(fcw, FCW.IM), 0, OUTCOME.suppressed);
        f.return(i32.or(FSW.IE | ORDER.unordered, outcome));
      });
      f.if(i32.or(isDenormal(a), isDenormal(b)), () =>
        f.set(flags, i32.select(i32.and(fcw, FCW.DM), FSW.DE, FSW.DE | OUTCOME.suppressed)),
      );
      f.if(i64.eqz(i64.or(aSig, bSig)), () => f.return(ORDER.equal));
    });
    const sign = f.let(signOf(aSE));
    f.if(i32.ne(sign, signOf(bSE)), () => f.return(i32.or(flags.get, i32.select(sign, ORDER.less, ORDER.greater))));
    // Denormals have the smallest normal exponent; a zero's significand then makes it the smallest.
    const exponentA = f.let(i32.add(exponentOf(aSE), i32.eqz(exponentOf(aSE))));
    const exponentB = f.let(i32.add(exponentOf(bSE), i32.eqz(exponentOf(bSE))));
    const sameExponent = f.let(i32.eq(exponentA, exponentB));
    f.if(i32.and(sameExponent, i64.eq(aSig, bSig)), () => f.return(i32.or(flags.get, ORDER.equal)));
    const smaller = i32.select(sameExponent, i64.ltU(aSig, bSig), i32.ltS(exponentA, exponentB));
    f.result(i32.or(flags.get, i32.select(i32.xor(smaller, i32.ne(sign, 0)), ORDER.less, ORDER.greater)));
  });
}

/** FXAM classes. */
const CLASS = {
  unsupported: 0,
  nan: FSW.C0,
  normal: FSW.C2,
  infinity: FSW.C2 | FSW.C0,
  zero: FSW.C3,
  denormal: FSW.C3 | FSW.C2,
} as const;
/** FXAM class of an empty register. */
export const CLASS_EMPTY = FSW.C3 | FSW.C0;

function defineExamine(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i64"], "i32", (f, signExponent, significand) => {
    const exponent = f.let(exponentOf(signExponent));
    const integer = f.let(i64.ltS(significand, 0n));
    const infinityOrNaN = i32.select(i64.eq(significand, INFINITY_SIGNIFICAND), CLASS.infinity, CLASS.nan);
    const supported = i32.select(i32.eq(exponent, EXT.exponent), infinityOrNaN, CLASS.normal);
    const tiny = i32.select(i64.eqz(significand), CLASS.zero, CLASS.denormal);
    const kind = i32.select(exponent, i32.select(integer, supported, CLASS.unsupported), tiny);
    f.result(i32.or(kind, i32.select(signOf(signExponent), FSW.C1, 0)));
  });
}

/** Bits of a comparison's result that are the order. */
export const ORDER_BITS = CONDITION & ~FSW.C1;

/** Define comparison and classification in `module`. */
export function defineComparison(module: ModuleWriter): Comparison {
  return { compare: defineCompare(module), examine: defineExamine(module) };
}
