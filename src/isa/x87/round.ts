/**
 * Rounding: from a sign, an exponent and a 128-bit significand to an 80-bit register, from a register to the memory
 * formats, and to integers, with the exceptions and C1 that the x87 reports (SDM 1 4.8.4, 4.9.1, 8.5).
 */
import { type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import {
  BIAS_ADJUST,
  EXT,
  FCW,
  FSW,
  INFINITY_SIGNIFICAND,
  INTEGER_BIT,
  OUTCOME,
  PC,
  QUIET_BIT,
  RC,
  SCRATCH,
} from "./constants.ts";
import { bit64, define, exponentOf, invoke, shiftRightJam, signOf, storeExtended, variable } from "./emit.ts";

/** Bits of a significand below the last place of single and double precision. */
const DROPPED = { single: 40, double: 11 } as const;

export interface Rounding {
  /**
   * (destination, sign, exponent, high, low, fcw) → flags. Round a normalized 128-bit significand (bit 127 set, bit 0
   * sticky) with a biased exponent of any size to the control word's precision and store it. Unmasked overflow and
   * underflow store the bias-adjusted result.
   */
  readonly pack: FunctionReference;
  /** (s, signExponent, significand, fcw) → flags: to binary32 at SCRATCH.value; `suppressed` when memory must not change. */
  readonly toSingle: FunctionReference;
  /** The same to binary64. */
  readonly toDouble: FunctionReference;
  /** (s, signExponent, significand, fcw, bits) → i64 integer of 16, 32 or 64 bits; flags at SCRATCH.outcome. */
  readonly toInteger: FunctionReference;
  /** (destination, signExponent, significand, fcw) → flags: FRNDINT of a nonzero finite operand. */
  readonly toIntegral: FunctionReference;
}

/** 1 if the magnitude must be raised: `rest` holds the bits below the last place, its top bit being one half. */
function roundsUp(f: FunctionWriter, rest: Value, odd: Value, sign: Value, control: Value): Value {
  const up = f.temporary("i32");
  f.if(
    i32.eqz(i32.and(control, FCW.RC)),
    () => f.set(up, i32.and(i64.ltS(rest, 0n), i32.or(i64.ne(i64.shl(rest, 1n), 0n), odd))),
    () => f.set(up, i32.and(i64.ne(rest, 0n), roundsAway(sign, control))),
  );
  return up.get;
}

/** 1 if the directed rounding mode leads away from zero for this sign. */
function roundsAway(sign: Value, control: Value): Value {
  return i32.eq(i32.and(control, FCW.RC), i32.select(sign, RC.down, RC.up));
}

/** 1 if an overflow of this sign becomes an infinity rather than the largest number. */
function overflowsToInfinity(sign: Value, control: Value): Value {
  return i32.or(i32.eqz(i32.and(control, FCW.RC)), roundsAway(sign, control));
}

function inexact(rest: Value): Value {
  return i32.select(i64.ne(rest, 0n), FSW.PE, 0);
}

function c1(up: Value): Value {
  return i32.select(up, FSW.C1, 0);
}

/** Every case of `pack` that is not "nearest, 64 bits, exponent in range". */
function definePackSlow(module: ModuleWriter): FunctionReference {
  const params = ["i32", "i32", "i32", "i64", "i64", "i32"] as const;
  return define(module, params, "i32", (f, d, g, e, h, l, c) => {
    const precision = f.let(i32.and(c, FCW.PC));
    const dropped = f.let(
      i64.extendU(
        i32.select(i32.eqz(precision), DROPPED.single, i32.select(i32.eq(precision, PC.double), DROPPED.double, 0)),
      ),
    );
    const unit = f.let(i64.shl(1n, dropped));
    const exp = variable(f, "i32", e);
    const kept = f.local("i64");
    const rest = f.local("i64");
    const up = f.local("i32");
    /** Round (hi, lo) to the precision: sets kept, rest, up. */
    const round = (hi: Value, lo: Value): void => {
      f.if(
        i64.eqz(dropped),
        () => {
          f.set(rest, lo);
          f.set(kept, hi);
        },
        () => {
          f.set(rest, i64.or(i64.shl(hi, i64.sub(64n, dropped)), bit64(i64.ne(lo, 0n))));
          f.set(kept, i64.shl(i64.shrU(hi, dropped), dropped));
        },
      );
      f.set(up, roundsUp(f, rest.get, i64.ne(i64.and(kept.get, unit), 0n), g, c));
      f.set(kept, i64.add(kept.get, i64.select(up.get, unit, 0n)));
    };
    round(h, l);
    f.if(i64.eqz(kept.get), () => {
      f.set(kept, INTEGER_BIT);
      f.set(exp, i32.add(exp.get, 1));
    });
    f.if(i32.gtS(exp.get, EXT.exponent - 1), () => {
      f.if(i32.and(c, FCW.OM), () => {
        f.if(overflowsToInfinity(g, c), () => {
          storeExtended(f, d, i32.or(g, EXT.exponent), INFINITY_SIGNIFICAND);
          f.return(FSW.OE | FSW.PE | FSW.C1);
        });
        storeExtended(f, d, i32.or(g, EXT.exponent - 1), i64.shl(-1n, dropped));
        f.return(FSW.OE | FSW.PE);
      });
      f.set(exp, i32.sub(exp.get, BIAS_ADJUST));
      f.if(i32.gtS(exp.get, EXT.exponent - 1), () => {
        storeExtended(f, d, i32.or(g, EXT.exponent), INFINITY_SIGNIFICAND);
        f.return(FSW.OE | FSW.PE | FSW.C1);
      });
      storeExtended(f, d, i32.or(g, exp.get), kept.get);
      f.return(i32.or(FSW.OE, i32.or(inexact(rest.get), c1(up.get))));
    });
    f.if(i32.leS(exp.get, 0), () => {
      f.if(i32.and(c, FCW.UM), () => {
        const hi = variable(f, "i64", h);
        const lo = variable(f, "i64", l);
        shiftRightJam(f, hi, lo, i32.sub(1, e));
        round(hi.get, lo.get);
        storeExtended(f, d, i32.or(g, i64.ltS(kept.get, 0n)), kept.get);
        f.return(i32.or(i32.select(i64.ne(rest.get, 0n), FSW.UE | FSW.PE, 0), c1(up.get)));
      });
      f.set(exp, i32.add(exp.get, BIAS_ADJUST));
      f.if(i32.leS(exp.get, 0), () => {
        storeExtended(f, d, g, 0n);
        f.return(FSW.UE | FSW.PE);
      });
      storeExtended(f, d, i32.or(g, exp.get), kept.get);
      f.return(i32.or(FSW.UE, i32.or(inexact(rest.get), c1(up.get))));
    });
    storeExtended(f, d, i32.or(g, exp.get), kept.get);
    f.result(i32.or(inexact(rest.get), c1(up.get)));
  });
}

function definePack(module: ModuleWriter): FunctionReference {
  const slow = definePackSlow(module);
  const params = ["i32", "i32", "i32", "i64", "i64", "i32"] as const;
  return define(module, params, "i32", (f, d, g, e, h, l, c) => {
    const ordinary = i32.and(
      i32.ltU(i32.sub(e, 1), EXT.exponent - 2),
      i32.eq(i32.and(c, FCW.PC | FCW.RC), PC.extended | RC.nearest),
    );
    f.if(ordinary, () => {
      f.if(i64.eqz(l), () => {
        storeExtended(f, d, i32.or(g, e), h);
        f.return(0);
      });
      const up = f.let(i32.and(i64.ltS(l, 0n), i32.wrap(i64.or(bit64(i64.ne(i64.shl(l, 1n), 0n)), i64.and(h, 1n)))));
      const kept = f.let(i64.add(h, bit64(up)));
      f.if(
        i64.eqz(kept),
        () => storeExtended(f, d, i32.or(g, i32.add(e, 1)), INTEGER_BIT),
        () => storeExtended(f, d, i32.or(g, e), kept),
      );
      f.return(i32.or(FSW.PE, c1(up)));
    });
    f.result(invoke(slow, d, g, e, h, l, c));
  });
}

interface MemoryFormat {
  /** Bits of a register's significand that the format has no room for. */
  readonly dropped: number;
  readonly bias: number;
  readonly maxExponent: number;
  /** Explicit fraction bits. */
  readonly fraction: number;
  readonly bits: 32 | 64;
}

const SINGLE: MemoryFormat = { dropped: DROPPED.single, bias: 127, maxExponent: 0xff, fraction: 23, bits: 32 };
const DOUBLE: MemoryFormat = { dropped: DROPPED.double, bias: 1023, maxExponent: 0x7ff, fraction: 52, bits: 64 };

/** FST to a shorter format. A denormal register is far below both formats and needs no normalizing. */
function defineNarrow(module: ModuleWriter, format: MemoryFormat): FunctionReference {
  const { bias, maxExponent, fraction, bits } = format;
  const dropped = BigInt(format.dropped);
  const quiet = 1n << BigInt(fraction - 1);
  return define(module, ["i32", "i32", "i64", "i32"], "i32", (f, s, signExponent, significand, fcw) => {
    const sign = f.let(signOf(signExponent));
    const exponent = f.let(exponentOf(signExponent));
    /** Mantissas may carry into the exponent: the parts are added, as the formats intend. */
    const store = (signBit: I32, biased: I32, mantissa: Value | bigint): void => {
      const magnitude = i64.add(i64.shl(i64.extendU(biased), BigInt(fraction)), mantissa);
      const value = i64.or(i64.shl(i64.extendU(signBit), BigInt(bits - 16)), magnitude);
      if (bits === 32) f.store32(s, i32.wrap(value), SCRATCH.value);
      else f.store64(s, value, SCRATCH.value);
    };
    f.if(i32.and(i32.eqz(exponent), i64.eqz(significand)), () => {
      store(sign, 0, 0n);
      f.return(0);
    });
    f.if(i32.and(i32.ne(exponent, 0), i64.geS(significand, 0n)), () => {
      store(EXT.sign, maxExponent, quiet);
      f.return(i32.select(i32.and(fcw, FCW.IM), FSW.IE, FSW.IE | OUTCOME.suppressed));
    });
    f.if(i32.eq(exponent, EXT.exponent), () => {
      f.if(i64.eq(significand, INFINITY_SIGNIFICAND), () => {
        store(sign, maxExponent, 0n);
        f.return(0);
      });
      store(sign, maxExponent, i64.or(i64.and(i64.shrU(significand, dropped), quiet - 1n), quiet));
      f.if(i64.ne(i64.and(significand, QUIET_BIT), 0n), () => f.return(0));
      f.return(i32.select(i32.and(fcw, FCW.IM), FSW.IE, FSW.IE | OUTCOME.suppressed));
    });
    const biased = f.let(i32.add(i32.select(exponent, exponent, 1), bias - EXT.bias));
    const kept = f.local("i64");
    const rest = f.local("i64");
    const up = f.local("i32");
    const round = (high: Value, sticky: Value | bigint): void => {
      f.set(rest, i64.or(i64.shl(high, 64n - dropped), sticky));
      f.set(kept, i64.shrU(high, dropped));
      f.set(up, roundsUp(f, rest.get, i32.wrap(i64.and(kept.get, 1n)), sign, fcw));
      f.set(kept, i64.add(kept.get, bit64(up.get)));
    };
    round(significand, 0n);
    const rounded = f.let(i32.add(biased, i32.wrap(i64.shrU(kept.get, BigInt(fraction + 1)))));
    f.if(i32.geS(rounded, maxExponent), () => {
      f.if(i32.eqz(i32.and(fcw, FCW.OM)), () => f.return(FSW.OE | OUTCOME.suppressed));
      f.if(overflowsToInfinity(sign, fcw), () => {
        store(sign, maxExponent, 0n);
        f.return(FSW.OE | FSW.PE | FSW.C1);
      });
      store(sign, maxExponent, -1n);
      f.return(FSW.OE | FSW.PE);
    });
    f.if(i32.leS(rounded, 0), () => {
      f.if(i32.eqz(i32.and(fcw, FCW.UM)), () => f.return(FSW.UE | OUTCOME.suppressed));
      const high = variable(f, "i64", significand);
      const low = variable(f, "i64", 0n);
      shiftRightJam(f, high, low, i32.sub(1, biased));
      round(high.get, bit64(i64.ne(low.get, 0n)));
      store(sign, 0, kept.get);
      f.return(i32.or(i32.select(i64.ne(rest.get, 0n), FSW.UE | FSW.PE, 0), c1(up.get)));
    });
    store(sign, i32.sub(biased, 1), kept.get);
    f.result(i32.or(inexact(rest.get), c1(up.get)));
  });
}

function defineToInteger(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i32", "i64", "i32", "i32"], "i64", (f, s, signExponent, significand, fcw, bits) => {
    const sign = f.let(signOf(signExponent));
    const exponent = f.let(i32.sub(exponentOf(signExponent), EXT.bias));
    const indefinite = i64.shl(-1n, i64.extendU(i32.sub(bits, 1)));
    const invalid = (): void => {
      f.store32(s, i32.select(i32.and(fcw, FCW.IM), FSW.IE, FSW.IE | OUTCOME.suppressed), SCRATCH.outcome);
      f.return(indefinite);
    };
    const kept = variable(f, "i64", 0n);
    const rest = variable(f, "i64", 0n);
    // Unsupported forms have no integer bit and an exponent that is not zero.
    f.if(i32.and(i64.geS(significand, 0n), i32.ne(exponent, -EXT.bias)), invalid);
    f.if(i32.gtS(exponent, 63), invalid);
    f.if(
      i32.ltS(exponent, 0),
      () => f.set(rest, i64.select(i32.eq(exponent, -1), significand, bit64(i64.ne(significand, 0n)))),
      () => {
        const shift = f.let(i64.extendU(i32.sub(63, exponent)));
        f.set(kept, i64.shrU(significand, shift));
        f.set(rest, i64.select(i64.eqz(shift), 0n, i64.shl(significand, i64.sub(64n, shift))));
      },
    );
    const up = roundsUp(f, rest.get, i32.wrap(i64.and(kept.get, 1n)), sign, fcw);
    f.set(kept, i64.add(kept.get, bit64(up)));
    // A magnitude of 2^(bits-1) fits only when negative.
    const largest = i64.sub(i64.shl(1n, i64.extendU(i32.sub(bits, 1))), bit64(i32.eqz(sign)));
    f.if(i64.gtU(kept.get, largest), invalid);
    f.store32(s, i32.or(inexact(rest.get), c1(up)), SCRATCH.outcome);
    f.result(i64.select(sign, i64.sub(0n, kept.get), kept.get));
  });
}

function defineToIntegral(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i32", "i64", "i32"], "i32", (f, destination, signExponent, significand, fcw) => {
    const sign = f.let(signOf(signExponent));
    const exponent = f.let(exponentOf(signExponent));
    f.if(i32.geU(exponent, EXT.bias + 63), () => {
      storeExtended(f, destination, signExponent, significand);
      f.return(0);
    });
    f.if(i32.ltU(exponent, EXT.bias), () => {
      const rest = i64.select(i32.eq(exponent, EXT.bias - 1), significand, 1n);
      const up = roundsUp(f, f.let(rest), i32.const(0), sign, fcw);
      f.if(
        up,
        () => storeExtended(f, destination, i32.or(sign, EXT.bias), INTEGER_BIT),
        () => storeExtended(f, destination, sign, 0n),
      );
      f.return(i32.or(FSW.PE, c1(up)));
    });
    const shift = f.let(i64.extendU(i32.sub(EXT.bias + 63, exponent)));
    const unit = f.let(i64.shl(1n, shift));
    const rest = f.let(i64.shl(significand, i64.sub(64n, shift)));
    const up = roundsUp(f, rest, i64.ne(i64.and(significand, unit), 0n), sign, fcw);
    const kept = f.let(i64.add(i64.and(significand, i64.sub(0n, unit)), i64.select(up, unit, 0n)));
    f.if(
      i64.eqz(kept),
      () => storeExtended(f, destination, i32.add(signExponent, 1), INTEGER_BIT),
      () => storeExtended(f, destination, signExponent, kept),
    );
    f.result(i32.or(inexact(rest), c1(up)));
  });
}

/** Define the rounding functions in `module`. */
export function defineRounding(module: ModuleWriter): Rounding {
  return {
    pack: definePack(module),
    toSingle: defineNarrow(module, SINGLE),
    toDouble: defineNarrow(module, DOUBLE),
    toInteger: defineToInteger(module),
    toIntegral: defineToIntegral(module),
  };
}
