/** Exact addition, subtraction, multiplication, division and square root of one lane, over i64 bits. SDM 1 11.5, E.4. */
import { f64, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { define, mulHigh, variable } from "../x87/emit.ts";
import { MXCSR, RC, RC_SHIFT } from "./constants.ts";
import {
  type Format,
  isInfinite,
  isZero,
  loadMxcsr,
  magnitude,
  note,
  noteDenormal,
  operand,
  returnInvalid,
  returnNaN,
  returnRounded,
  shiftRightJam,
  signOf,
  unpack,
} from "./format.ts";

/** Functions (s, a, b) → result, of one format; square root takes (s, a). Exceptions are noted, not settled. */
export interface LaneArithmetic {
  readonly add: FunctionReference;
  readonly sub: FunctionReference;
  readonly mul: FunctionReference;
  readonly div: FunctionReference;
  readonly sqrt: FunctionReference;
}

/** A zero counts as a number with no significand, far below all others. */
const ZERO_EXPONENT = -0x10000;

type Binary = (f: FunctionWriter, s: Value, mxcsr: Value, a: Value, b: Value) => void;

function binary(module: ModuleWriter, format: Format, body: Binary): FunctionReference {
  return define(module, ["i32", "i64", "i64"], "i64", (f, s, first, second) => {
    const mxcsr = f.let(loadMxcsr(s!));
    const a = operand(f, format, mxcsr, first!);
    const b = operand(f, format, mxcsr, second!);
    returnNaN(f, s!, format, a, b);
    body(f, s!, mxcsr, a, b);
    f.unreachable();
  });
}

/** Significand with bit 62 set, and exponent; of a zero 0 and ZERO_EXPONENT. */
function addend(f: FunctionWriter, format: Format, a: Value): { exponent: Value; significand: Value } {
  const number = unpack(f, format, a);
  const zero = f.let(isZero(format, a));
  return {
    exponent: f.let(i32.select(zero, ZERO_EXPONENT, number.exponent)),
    significand: f.let(i64.select(zero, 0n, i64.shrU(number.significand, 1n))),
  };
}

function defineAdd(module: ModuleWriter, format: Format, subtract: boolean): FunctionReference {
  return binary(module, format, (f, s, mxcsr, a, second) => {
    const b = subtract ? f.let(i64.xor(second, format.sign)) : second;
    const aInfinite = f.let(isInfinite(format, a));
    const opposite = f.let(i64.ne(signOf(format, i64.xor(a, b)), 0n));
    f.if(i32.or(aInfinite, isInfinite(format, b)), () => {
      const both = i32.and(aInfinite, isInfinite(format, b));
      f.if(i32.and(both, opposite), () => returnInvalid(f, s, format));
      noteDenormal(f, s, format, a, b);
      f.return(i64.select(aInfinite, a, b));
    });
    noteDenormal(f, s, format, a, b);
    // The larger magnitude first: the difference is then never negative.
    const swap = f.let(i64.ltU(magnitude(format, a), magnitude(format, b)));
    const large = f.let(i64.select(swap, b, a));
    const small = f.let(i64.select(swap, a, b));
    const x = addend(f, format, large);
    const y = addend(f, format, small);
    const distance = f.let(i32.sub(x.exponent, y.exponent));
    const aligned = f.let(i64.select(distance, shiftRightJam(f, y.significand, distance), y.significand));
    const sum = f.let(i64.select(opposite, i64.sub(x.significand, aligned), i64.add(x.significand, aligned)));
    f.if(i64.eqz(sum), () => {
      // Zeros of one sign keep it; a difference of equals is -0 only when rounding down (IEEE 754 6.3).
      const down = i32.eq(i32.and(i32.shrU(mxcsr, RC_SHIFT), 3), RC.down);
      f.return(i64.select(opposite, i64.select(down, format.sign, 0n), signOf(format, a)));
    });
    const sign = f.let(signOf(format, large));
    f.if(i64.ltS(sum, 0n), () => {
      const jammed = i64.or(i64.shrU(sum, 1n), i64.and(sum, 1n));
      returnRounded(f, s, format, mxcsr, sign, f.let(i32.add(x.exponent, 1)), f.let(jammed));
    });
    const shift = f.let(i64.sub(i64.clz(sum), 1n));
    const exponent = f.let(i32.sub(x.exponent, i32.wrap(shift)));
    returnRounded(f, s, format, mxcsr, sign, exponent, f.let(i64.shl(sum, shift)));
  });
}

function defineMul(module: ModuleWriter, format: Format): FunctionReference {
  return binary(module, format, (f, s, mxcsr, a, b) => {
    const sign = f.let(signOf(format, i64.xor(a, b)));
    const zero = f.let(i32.or(isZero(format, a), isZero(format, b)));
    const infinite = f.let(i32.or(isInfinite(format, a), isInfinite(format, b)));
    f.if(i32.and(zero, infinite), () => returnInvalid(f, s, format));
    noteDenormal(f, s, format, a, b);
    f.if(infinite, () => f.return(i64.or(sign, format.infinity)));
    f.if(zero, () => f.return(sign));
    const x = unpack(f, format, a);
    const y = unpack(f, format, b);
    const high = mulHigh(f, x.significand, y.significand);
    const rest = i64.extendU(i64.ne(i64.mul(x.significand, y.significand), 0n));
    const product = f.let(i64.or(high, rest));
    const carries = f.let(i64.ltS(product, 0n));
    const halved = i64.or(i64.shrU(product, 1n), i64.and(product, 1n));
    const exponent = i32.add(i32.add(x.exponent, y.exponent), i32.sub(carries, format.bias));
    returnRounded(f, s, format, mxcsr, sign, f.let(exponent), f.let(i64.select(carries, halved, product)));
  });
}

/** Bits below the 53 that a double holds, in a significand of 64. */
const BELOW_DOUBLE = 11n;

/** `value`, an integer of at most 53 bits, as a double. */
const double = (value: Value): Value => f64.fromI64U(value);
/** 2^power as a double. */
const powerOfTwo = (power: number): Value => f64.reinterpret(BigInt(power + 1023) << 52n);

function defineDiv(module: ModuleWriter, format: Format): FunctionReference {
  return binary(module, format, (f, s, mxcsr, a, b) => {
    const sign = f.let(signOf(format, i64.xor(a, b)));
    const aZero = f.let(isZero(format, a));
    const bZero = f.let(isZero(format, b));
    const aInfinite = f.let(isInfinite(format, a));
    const bInfinite = f.let(isInfinite(format, b));
    f.if(i32.or(i32.and(aZero, bZero), i32.and(aInfinite, bInfinite)), () => returnInvalid(f, s, format));
    f.if(i32.and(bZero, i32.eqz(aInfinite)), () => {
      note(f, s, MXCSR.ZE);
      f.return(i64.or(sign, format.infinity));
    });
    noteDenormal(f, s, format, a, b);
    f.if(aInfinite, () => f.return(i64.or(sign, format.infinity)));
    f.if(i32.or(aZero, bInfinite), () => f.return(sign));
    const x = unpack(f, format, a);
    const y = unpack(f, format, b);
    const n = f.let(i64.shrU(x.significand, BELOW_DOUBLE));
    const d = f.let(i64.shrU(y.significand, BELOW_DOUBLE));
    // floor(n × 2^54 / d): the host's quotient, put right by the remainder, which is small enough for 64 bits.
    const estimate = f64.mul(f64.div(double(n), double(d)), powerOfTwo(54));
    const q = variable(f, "i64", f64.toI64U(estimate));
    const r = variable(f, "i64", i64.sub(i64.shl(n, 54n), i64.mul(q.get, d)));
    f.loop((again) => {
      f.if(i64.ltS(r.get, 0n), () => {
        f.set(q, i64.sub(q.get, 1n));
        f.set(r, i64.add(r.get, d));
        f.br(again);
      });
    });
    f.loop((again) => {
      f.if(i64.geS(r.get, d), () => {
        f.set(q, i64.add(q.get, 1n));
        f.set(r, i64.sub(r.get, d));
        f.br(again);
      });
    });
    const shift = f.let(i64.sub(i64.clz(q.get), 1n));
    const sticky = i64.extendU(i64.ne(r.get, 0n));
    // Bit 54 of the quotient stands for one; it lands in bit 62.
    const exponent = i32.add(i32.sub(x.exponent, y.exponent), i32.sub(format.bias + 8, i32.wrap(shift)));
    returnRounded(f, s, format, mxcsr, sign, f.let(exponent), f.let(i64.or(i64.shl(q.get, shift), sticky)));
  });
}

function defineSqrt(module: ModuleWriter, format: Format): FunctionReference {
  return define(module, ["i32", "i64"], "i64", (f, s, first) => {
    const mxcsr = f.let(loadMxcsr(s!));
    const a = operand(f, format, mxcsr, first!);
    returnNaN(f, s!, format, a, a);
    f.if(isZero(format, a), () => f.return(a));
    f.if(i64.ne(signOf(format, a), 0n), () => returnInvalid(f, s!, format));
    f.if(isInfinite(format, a), () => f.return(a));
    noteDenormal(f, s!, format, a);
    const x = unpack(f, format, a);
    const unbiased = f.let(i32.sub(x.exponent, format.bias));
    const odd = f.let(i32.and(unbiased, 1));
    const n = f.let(i64.shl(i64.shrU(x.significand, BELOW_DOUBLE), i64.extendU(odd)));
    // floor(sqrt(n × 2^56)), the same way; n has 53 or 54 bits, and no more than 53 that count.
    const estimate = f64.mul(f64.sqrt(double(n)), powerOfTwo(28));
    const q = variable(f, "i64", f64.toI64U(estimate));
    const r = variable(f, "i64", i64.sub(i64.shl(n, 56n), i64.mul(q.get, q.get)));
    const twice = (): Value => i64.shl(q.get, 1n);
    f.loop((again) => {
      f.if(i64.ltS(r.get, 0n), () => {
        f.set(q, i64.sub(q.get, 1n));
        f.set(r, i64.add(r.get, i64.add(twice(), 1n)));
        f.br(again);
      });
    });
    f.loop((again) => {
      f.if(i64.gtS(r.get, twice()), () => {
        f.set(r, i64.sub(r.get, i64.add(twice(), 1n)));
        f.set(q, i64.add(q.get, 1n));
        f.br(again);
      });
    });
    const significand = f.let(i64.or(i64.shl(q.get, 8n), i64.extendU(i64.ne(r.get, 0n))));
    const exponent = f.let(i32.add(i32.shrS(unbiased, 1), format.bias));
    returnRounded(f, s!, format, mxcsr, i64.const(0n), exponent, significand);
    f.unreachable();
  });
}

/** Define the arithmetic of one format. */
export function defineLaneArithmetic(module: ModuleWriter, format: Format): LaneArithmetic {
  return {
    add: defineAdd(module, format, false),
    sub: defineAdd(module, format, true),
    mul: defineMul(module, format),
    div: defineDiv(module, format),
    sqrt: defineSqrt(module, format),
  };
}
