/**
 * The ordinary case of x87 arithmetic as small functions for the modules of a compiler: normal numbers and zeros, round
 * to nearest, all precisions. Everything else goes to the exact functions of the interpreter's module (EXACT).
 *
 * A function returns a *packed* word and, most of them, a value. Packed: sign and exponent in bits 0–15 (or nothing),
 * exception flags and C1 of the status word above FLAG_SHIFT, and REFUSED when an exception is not masked: then nothing
 * may change, and the instruction must be carried out in full. Where an operand's sign and exponent are taken, packed
 * words may be given: bits above 16 do not count, bit 16 is WAS_DENORMAL.
 */
import { call, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, FunctionType } from "../../wasm/module.ts";
import { divideWide, integerRoot } from "./arithmetic.ts";
import { ORDER } from "./compare.ts";
import { EXCEPTIONS, EXT, FCW, FSW, INTEGER_BIT, PC, QUIET_BIT, RC, SCRATCH, WAS_DENORMAL } from "./constants.ts";
import { bit64, type Extended, isSpecial, mulHigh, variable } from "./emit.ts";
import { widenDouble, widenSingle } from "./operands.ts";
import type { Pick } from "./row.ts";

/** Position of status-word flags in a packed word; below it, the sign and exponent word of an operand. */
export const FLAG_SHIFT = 17;
/** An exception is not masked. */
export const REFUSED = 0x8000_0000 | 0;
/** Flags that stay in the status word until they are cleared, packed. */
export const PACKED_STICKY = EXCEPTIONS << FLAG_SHIFT;
/** What a packed word can say about the status word. */
const OUTCOME_FLAGS = EXCEPTIONS | FSW.C1;
const OPERAND = WAS_DENORMAL | 0xffff;

const BINARY = { params: ["i32", "i32", "i64", "i32", "i64", "i32"], results: ["i32"] } as const;
const UNARY = { params: ["i32", "i32", "i64", "i32"], results: ["i32"] } as const;

/** Exact functions that the interpreter's module exports: type, and where it has them. */
export const EXACT = {
  x87Add: { type: BINARY, pick: (k) => k.arithmetic.add },
  x87Subtract: { type: BINARY, pick: (k) => k.arithmetic.subtract },
  x87Multiply: { type: BINARY, pick: (k) => k.arithmetic.multiply },
  x87Divide: { type: BINARY, pick: (k) => k.arithmetic.divide },
  x87SquareRoot: { type: UNARY, pick: (k) => k.arithmetic.squareRoot },
  x87Integral: { type: UNARY, pick: (k) => k.exponents.integral },
  x87ToSingle: { type: UNARY, pick: (k) => k.rounding.toSingle },
  x87ToDouble: { type: UNARY, pick: (k) => k.rounding.toDouble },
  x87ToInteger: {
    type: { params: ["i32", "i32", "i64", "i32", "i32"], results: ["i64"] },
    pick: (k) => k.rounding.toInteger,
  },
  x87Compare: {
    type: { params: ["i32", "i64", "i32", "i64", "i32", "i32"], results: ["i32"] },
    pick: (k) => k.comparison.compare,
  },
} as const satisfies Readonly<Record<string, { readonly type: FunctionType; readonly pick: Pick }>>;
export type ExactName = keyof typeof EXACT;

/** (aSE, aSig, bSE, bSig, fcw) → packed, significand. */
const FAST_BINARY = { params: ["i32", "i64", "i32", "i64", "i32"], results: ["i32", "i64"] } as const;
/** (SE, sig, fcw) → packed, significand. */
const FAST_UNARY = { params: ["i32", "i64", "i32"], results: ["i32", "i64"] } as const;

/** What writes one of the functions. */
interface FastContext {
  readonly f: FunctionWriter;
  /** Address of the state page. */
  readonly s: Value;
  exact(name: ExactName): FunctionReference;
  /** Another of these functions. */
  fast(name: FastName): FunctionReference;
}

interface FastFunction {
  readonly type: FunctionType;
  readonly write: (context: FastContext, ...params: Value[]) => void;
}

/** All functions by name; see `type` for parameters and results. */
export const FAST = {
  add: { type: FAST_BINARY, write: (c, ...p) => writeUsual(c, "addOther", addUsual(false), p, addZero(false)) },
  subtract: {
    type: FAST_BINARY,
    write: (c, ...p) => writeUsual(c, "subtractOther", addUsual(true), p, addZero(true)),
  },
  multiply: { type: FAST_BINARY, write: (c, ...p) => writeUsual(c, "multiplyOther", multiplyUsual, p) },
  divide: { type: FAST_BINARY, write: (c, ...p) => writeUsual(c, "divideOther", divideUsual, p) },
  /** The same, for what the ones above hand on. */
  addOther: { type: FAST_BINARY, write: (c, ...p) => writeAdd(c, false, p) },
  subtractOther: { type: FAST_BINARY, write: (c, ...p) => writeAdd(c, true, p) },
  multiplyOther: { type: FAST_BINARY, write: writeMultiply },
  divideOther: { type: FAST_BINARY, write: writeDivide },
  squareRoot: { type: FAST_UNARY, write: writeSquareRoot },
  integral: { type: FAST_UNARY, write: (c, ...p) => exactly(c, "x87Integral", p) },
  /** (bits, fcw) → packed, significand: FLD of a binary32 or binary64. */
  loadSingle: { type: { params: ["i32", "i32"], results: ["i32", "i64"] }, write: (c, ...p) => writeLoad(c, "r32", p) },
  loadDouble: { type: { params: ["i64", "i32"], results: ["i32", "i64"] }, write: (c, ...p) => writeLoad(c, "r64", p) },
  /** (bits) → sign and exponent with WAS_DENORMAL, significand: an operand of arithmetic. */
  widenSingle: { type: { params: ["i32"], results: ["i32", "i64"] }, write: (c, ...p) => writeWiden(c, "r32", p) },
  widenDouble: { type: { params: ["i64"], results: ["i32", "i64"] }, write: (c, ...p) => writeWiden(c, "r64", p) },
  /** (SE, sig, fcw) → packed, bits. */
  storeSingle: {
    type: { params: ["i32", "i64", "i32"], results: ["i32", "i32"] },
    write: (c, ...p) => writeStore(c, SINGLE, p),
  },
  storeDouble: { type: FAST_UNARY, write: (c, ...p) => writeStore(c, DOUBLE, p) },
  /** (SE, sig, fcw, bits) → packed, integer. */
  storeInteger: { type: { params: ["i32", "i64", "i32", "i32"], results: ["i32", "i64"] }, write: writeStoreInteger },
  /** (aSE, aSig, bSE, bSig, fcw, quiet) → condition codes C0, C2, C3 in their places; flags above FLAG_SHIFT. */
  compare: {
    type: { params: ["i32", "i64", "i32", "i64", "i32", "i32"], results: ["i32"] },
    write: writeCompare,
  },
} as const satisfies Readonly<Record<string, FastFunction>>;
export type FastName = keyof typeof FAST;

/** Name under which the interpreter's module exports one of them. */
export function fastExport(name: FastName): string {
  return `fast ${name}`;
}

/** Write the body of `name` into `f`. */
export function writeFast(name: FastName, context: FastContext): void {
  const { write }: FastFunction = FAST[name];
  write(context, ...context.f.params.map((param) => param.get));
}

// ---- outcomes ---------------------------------------------------------------------------------------------------

/** Leave the function with two results. */
function leave(f: FunctionWriter, first: Value, second: Value): void {
  f.result(first);
  f.result(second);
  f.return();
}

/** Flags of an exact function in packed form, REFUSED if an exception is not masked. */
function packFlags(f: FunctionWriter, flags: Value, fcw: Value): Value {
  const unmasked = i32.and(i32.and(flags, EXCEPTIONS), i32.xor(fcw, -1));
  return f.let(i32.or(i32.shl(i32.and(flags, OUTCOME_FLAGS), FLAG_SHIFT), i32.select(unmasked, REFUSED, 0)));
}

/** Call an exact function (destination, operands…, fcw) and leave with its outcome. The last of `operands` is fcw. */
function exactly(c: FastContext, name: ExactName, operands: readonly Value[]): void {
  const { f, s } = c;
  const fcw = operands.at(-1)!;
  // An operand that is its own result is not stored.
  f.store64(s, operands[1]!, SCRATCH.value);
  f.store16(s, operands[0]!, SCRATCH.value + 8);
  const args = operands.map((v, i) => (v.type === "i32" && i < operands.length - 1 ? i32.and(v, OPERAND) : v));
  const flags = f.let(call(c.exact(name), i32.add(s, SCRATCH.value), ...args));
  const packed = packFlags(f, flags, fcw);
  leave(f, i32.or(packed, i32.load16u(s, SCRATCH.value + 8)), i64.load(s, SCRATCH.value));
}

/** Non-zero where the control word asks for anything but round to nearest, or does not mask the inexact result. */
function unusualControl(fcw: Value): Value {
  return i32.xor(i32.and(fcw, FCW.RC | FCW.PM), FCW.PM);
}

/** PE and C1, packed, from what tells whether bits were lost and whether the magnitude was raised. */
function packRounding(rest: Value, up: Value): Value {
  const inexact = i32.shl(i64.ne(rest, 0n), FLAG_SHIFT + Math.log2(FSW.PE));
  return i32.or(inexact, i32.shl(up, FLAG_SHIFT + Math.log2(FSW.C1)));
}

/**
 * Round a normalized 128-bit significand (bit 127 set, bit 0 sticky) to nearest and leave with it; exponents that do not
 * fit go to `slow`. Called for rounding to nearest only.
 */
function roundAndLeave(
  f: FunctionWriter,
  sign: Value,
  exponent: Value,
  high: Value,
  low: Value,
  fcw: Value,
  slow: () => void,
): void {
  const kept = variable(f, "i64", high);
  const rest = variable(f, "i64", low);
  const unit = variable(f, "i64", 1n);
  f.unlikely(i32.ne(i32.and(fcw, FCW.PC), PC.extended), () => {
    const precision = f.let(i32.and(fcw, FCW.PC));
    const narrow = i64.select(i32.eq(precision, PC.double), 11n, i64.select(i32.eqz(precision), 40n, 0n));
    const dropped = f.let(narrow);
    f.if(i32.wrap(dropped), () => {
      f.set(rest, i64.or(i64.shl(high, i64.sub(64n, dropped)), bit64(i64.ne(low, 0n))));
      f.set(unit, i64.shl(1n, dropped));
      f.set(kept, i64.and(high, i64.sub(0n, unit.get)));
    });
  });
  // Above one half; one half itself when the last place is odd.
  const odd = bit64(i64.ne(i64.and(kept.get, unit.get), 0n));
  const up = f.let(i64.gtU(rest.get, i64.sub(INTEGER_BIT, odd)));
  const rounded = f.let(i64.add(kept.get, i64.select(up, unit.get, 0n)));
  const carried = f.let(i64.eqz(rounded));
  const biased = f.let(i32.add(exponent, carried));
  f.unlikely(i32.geU(i32.sub(biased, 1), EXT.exponent - 1), slow);
  f.result(i32.or(i32.or(sign, biased), packRounding(rest.get, up)));
  f.result(i64.or(rounded, i64.shl(bit64(carried), 63n)));
}

// ---- the usual case ---------------------------------------------------------------------------------------------

/**
 * Exponents from 2^-4096 to 2^4095 are usual: neither a sum nor a product can leave the format, and one test tells, for
 * both operands, that they are no zeros, denormals, infinities or NaNs.
 */
const USUAL_EXPONENT = { first: 0x2fff, span: 0x2000 } as const;
/** Nearest, 64 bits, inexact results masked. */
const USUAL_CONTROL = FCW.PM | PC.extended | RC.nearest;
const CONTROL_TESTED = FCW.PM | FCW.PC | FCW.RC;

/** Operands with exponents taken out. */
interface Usual {
  readonly f: FunctionWriter;
  readonly aSE: Value;
  readonly aSig: Value;
  readonly bSE: Value;
  readonly bSig: Value;
  readonly exponentA: Value;
  readonly exponentB: Value;
  /** Hand the operation on. */
  other(): void;
}

/**
 * Write `usual` behind a test that all is usual; other cases go to the function `other`, after `before` has had a look.
 */
function writeUsual(
  c: FastContext,
  other: FastName,
  usual: (u: Usual) => void,
  params: readonly Value[],
  before?: (f: FunctionWriter, params: readonly Value[]) => void,
): void {
  const { f } = c;
  const [aSE, aSig, bSE, bSig, fcw] = params as [Value, Value, Value, Value, Value];
  const handOn = (): void => {
    const results = [f.temporary("i32"), f.temporary("i64")] as const;
    f.callInto(results, c.fast(other), ...params);
    leave(f, results[0].get, results[1].get);
  };
  const exponentA = f.let(i32.and(aSE, EXT.exponent | WAS_DENORMAL));
  const exponentB = f.let(i32.and(bSE, EXT.exponent | WAS_DENORMAL));
  const { first, span } = USUAL_EXPONENT;
  const exponents = i32.and(i32.or(i32.sub(exponentA, first), i32.sub(exponentB, first)), ~(span - 1));
  const control = i32.xor(i32.and(fcw, CONTROL_TESTED), USUAL_CONTROL);
  f.unlikely(i32.or(i32.or(exponents, control), i64.geS(i64.and(aSig, bSig), 0n)), () => {
    before?.(f, params);
    handOn();
  });
  usual({ f, aSE, aSig, bSE, bSig, exponentA, exponentB, other: handOn });
}

/** Round a normalized 128-bit significand to nearest, and leave. The exponent is known to fit. */
function roundUsual(f: FunctionWriter, signExponent: Value, high: Value, low: Value): void {
  // Above one half; one half itself when the last place is odd.
  const up = f.let(i64.gtU(low, i64.sub(INTEGER_BIT, i64.and(high, 1n))));
  leaveRounded(f, signExponent, high, low, up);
}

/** Leave with a significand, raised if `up`; `rest` is zero when that is exact. */
function leaveRounded(f: FunctionWriter, signExponent: Value, high: Value, rest: Value, up: Value): void {
  const rounded = f.let(i64.add(high, bit64(up)));
  const flags = f.let(packRounding(rest, up));
  f.unlikely(i64.eqz(rounded), () => leave(f, i32.or(i32.add(signExponent, 1), flags), i64.const(INTEGER_BIT)));
  f.result(i32.or(signExponent, flags));
  f.result(rounded);
}

function addUsual(subtract: boolean): (u: Usual) => void {
  return ({ f, aSE, aSig, bSE, bSig, exponentA, exponentB, other }) => {
    const seB = subtract ? f.let(i32.xor(bSE, EXT.sign)) : bSE;
    const swap = f.let(i32.ltS(exponentA, exponentB));
    const large = f.let(i64.select(swap, bSig, aSig));
    const small = f.let(i64.select(swap, aSig, bSig));
    const exponent = f.let(i32.select(swap, exponentB, exponentA));
    const distance = f.let(i32.sub(exponent, i32.select(swap, exponentA, exponentB)));
    const sign = f.let(i32.and(i32.select(swap, seB, aSE), EXT.sign));
    f.unlikely(i32.gtU(distance, 63), other);
    const shift = f.let(i64.extendU(distance));
    const shifted = f.let(i64.shrU(small, shift));
    // Two shifts, since one by 64 would be one by 0.
    const rest = f.let(i64.shl(i64.shl(small, 1n), i64.xor(shift, 63n)));
    f.if(i32.and(i32.xor(aSE, seB), EXT.sign), () => {
      const below = f.let(bit64(i64.ne(rest, 0n)));
      const difference = f.let(i64.sub(i64.sub(large, shifted), below));
      // With equal exponents the second may be the larger.
      const negative = f.let(i64.ltU(large, shifted));
      const magnitude = f.let(i64.select(negative, i64.sub(0n, difference), difference));
      f.unlikely(i64.eqz(magnitude), other);
      const lower = f.let(i64.sub(0n, rest));
      const zeros = f.let(i64.clz(magnitude));
      const high = i64.or(i64.shl(magnitude, zeros), i64.shrU(i64.shrU(lower, 1n), i64.xor(zeros, 63n)));
      const signOfResult = i32.xor(sign, i32.shl(negative, 15));
      const biased = f.let(i32.or(i32.sub(exponent, i32.wrap(zeros)), signOfResult));
      const rounded = f.let(high);
      const up = f.let(i64.shl(lower, zeros));
      roundAndReturn(f, biased, rounded, up);
    });
    const sum = f.let(i64.add(large, shifted));
    const carry = f.let(i64.ltU(sum, large));
    const halved = i64.or(i64.shrU(sum, 1n), INTEGER_BIT);
    const restHalved = i64.or(i64.or(i64.shrU(rest, 1n), i64.and(rest, 1n)), i64.shl(sum, 63n));
    const high = f.let(i64.select(carry, halved, sum));
    const low = f.let(i64.select(carry, restHalved, rest));
    roundUsual(f, f.let(i32.or(i32.add(exponent, carry), sign)), high, low);
  };
}

/** {@link roundUsual} in the middle of a function. */
function roundAndReturn(f: FunctionWriter, signExponent: Value, high: Value, low: Value): void {
  roundUsual(f, signExponent, high, low);
  f.return();
}

function multiplyUsual({ f, aSE, aSig, bSE, bSig, exponentA, exponentB }: Usual): void {
  const high = mulHigh(f, aSig, bSig);
  const low = f.let(i64.mul(aSig, bSig));
  // The product of numbers in [1, 2) lies in [1, 4).
  const wide = f.let(i64.ltS(high, 0n));
  const doubled = i64.or(i64.shl(high, 1n), i64.shrU(low, 63n));
  const normalized = f.let(i64.select(wide, high, doubled));
  const rest = f.let(i64.select(wide, low, i64.shl(low, 1n)));
  const exponent = i32.add(i32.sub(i32.add(exponentA, exponentB), EXT.bias), wide);
  roundUsual(f, f.let(i32.or(exponent, signOfProduct(aSE, bSE))), normalized, rest);
}

function divideUsual({ f, aSE, aSig, bSE, bSig, exponentA, exponentB }: Usual): void {
  const quotient = divideSignificands(f, aSig, bSig);
  const { remainder, wide } = quotient;
  const exponent = i32.add(i32.add(i32.sub(exponentA, exponentB), EXT.bias - 1), wide);
  // A tie in the last place cannot happen.
  const up = f.let(i64.gtU(remainder, i64.sub(bSig, remainder)));
  leaveRounded(f, f.let(i32.or(exponent, signOfProduct(aSE, bSE))), quotient.value, remainder, up);
}

// ---- arithmetic -------------------------------------------------------------------------------------------------

/** Non-zero unless both are normal numbers and the control word is usual. */
function unusual(a: Extended, b: Extended, fcw: Value): Value {
  return i32.or(i32.or(isSpecial(a), isSpecial(b)), unusualControl(fcw));
}

function writeAdd(c: FastContext, subtract: boolean, params: readonly Value[]): void {
  const { f } = c;
  const [aSE, aSig, bSE, bSig, fcw] = params as [Value, Value, Value, Value, Value];
  const slow = (): void => exactly(c, subtract ? "x87Subtract" : "x87Add", params);
  const a: Extended = { signExponent: aSE, significand: aSig };
  const b: Extended = { signExponent: bSE, significand: bSig };
  f.unlikely(unusual(a, b, fcw), slow);
  const exponentA = f.let(i32.and(aSE, EXT.exponent));
  const exponentB = f.let(i32.and(bSE, EXT.exponent));
  const signB = f.let(i32.and(subtract ? i32.xor(bSE, EXT.sign) : bSE, EXT.sign));
  const signA = f.let(i32.and(aSE, EXT.sign));
  // The larger magnitude first.
  const sameExponent = i32.eq(exponentA, exponentB);
  const swap = f.let(i32.select(sameExponent, i64.ltU(aSig, bSig), i32.ltS(exponentA, exponentB)));
  const large = f.let(i64.select(swap, bSig, aSig));
  const small = f.let(i64.select(swap, aSig, bSig));
  const exponent = f.let(i32.select(swap, exponentB, exponentA));
  const distance = f.let(i32.sub(exponent, i32.select(swap, exponentA, exponentB)));
  const sign = f.let(i32.select(swap, signB, signA));
  f.unlikely(i32.gtU(distance, 63), slow);
  const shift = f.let(i64.extendU(distance));
  const shifted = f.let(i64.shrU(small, shift));
  // Two shifts, since one by 64 would be one by 0.
  const rest = f.let(i64.shl(i64.shl(small, 1n), i64.sub(63n, shift)));
  const high = f.local("i64");
  const low = f.local("i64");
  const biased = f.local("i32");
  f.if(
    i32.ne(signA, signB),
    () => {
      const difference = f.let(i64.sub(i64.sub(large, shifted), bit64(i64.ne(rest, 0n))));
      f.unlikely(i64.eqz(difference), slow);
      const lower = f.let(i64.sub(0n, rest));
      const zeros = f.let(i64.clz(difference));
      f.set(high, i64.or(i64.shl(difference, zeros), i64.shrU(i64.shrU(lower, 1n), i64.sub(63n, zeros))));
      f.set(low, i64.shl(lower, zeros));
      f.set(biased, i32.sub(exponent, i32.wrap(zeros)));
    },
    () => {
      const sum = f.let(i64.add(large, shifted));
      const carry = f.let(i64.ltU(sum, large));
      const wide = f.let(bit64(carry));
      f.set(low, i64.or(i64.or(i64.shrU(rest, wide), i64.and(rest, wide)), i64.shl(i64.and(sum, wide), 63n)));
      f.set(high, i64.or(i64.shrU(sum, wide), i64.shl(wide, 63n)));
      f.set(biased, i32.add(exponent, carry));
    },
  );
  roundAndLeave(f, sign, biased.get, high.get, low.get, fcw, slow);
}

/** Leave with the sum of a zero and a number that is zero or normal, if all else is usual. */
function addZero(subtract: boolean): (f: FunctionWriter, params: readonly Value[]) => void {
  return (f, params) => {
    const [aSE, aSig, seB, bSig, fcw] = params as [Value, Value, Value, Value, Value];
    const bSE = f.let(subtract ? i32.xor(seB, EXT.sign) : seB);
    const a: Extended = { signExponent: aSE, significand: aSig };
    const b: Extended = { signExponent: bSE, significand: bSig };
    f.if(i32.eq(i32.and(fcw, CONTROL_TESTED), USUAL_CONTROL), () => {
      f.if(isZero(a), () => {
        f.if(isZero(b), () => leave(f, i32.and(i32.and(aSE, bSE), EXT.sign), i64.const(0n)));
        f.if(i32.eqz(isSpecial(b)), () => leave(f, i32.and(bSE, 0xffff), bSig));
      });
      f.if(i32.and(isZero(b), i32.eqz(isSpecial(a))), () => leave(f, i32.and(aSE, 0xffff), aSig));
    });
  };
}

function signOfProduct(aSE: Value, bSE: Value): Value {
  return i32.and(i32.xor(aSE, bSE), EXT.sign);
}

function writeMultiply(c: FastContext, ...params: Value[]): void {
  const { f } = c;
  const [aSE, aSig, bSE, bSig, fcw] = params as [Value, Value, Value, Value, Value];
  const slow = (): void => exactly(c, "x87Multiply", params);
  const a: Extended = { signExponent: aSE, significand: aSig };
  const b: Extended = { signExponent: bSE, significand: bSig };
  f.if(unusual(a, b, fcw), () => {
    const zeroAnd = (x: Extended, y: Extended): Value => i32.and(isZero(x), i32.or(isZero(y), i32.eqz(isSpecial(y))));
    f.if(i32.or(zeroAnd(a, b), zeroAnd(b, a)), () => leave(f, signOfProduct(aSE, bSE), i64.const(0n)));
    slow();
  });
  const exponent = i32.add(i32.and(aSE, EXT.exponent), i32.and(bSE, EXT.exponent));
  const high = mulHigh(f, aSig, bSig);
  const low = f.let(i64.mul(aSig, bSig));
  // The product of numbers in [1, 2) lies in [1, 4).
  const shift = f.let(i64.xor(i64.shrU(high, 63n), 1n));
  const normalized = f.let(i64.or(i64.shl(high, shift), i64.and(i64.shrU(low, 63n), shift)));
  const biased = f.let(i32.sub(i32.sub(exponent, EXT.bias - 1), i32.wrap(shift)));
  roundAndLeave(f, signOfProduct(aSE, bSE), biased, normalized, f.let(i64.shl(low, shift)), fcw, slow);
}

/** What is behind the last place, given a remainder and what it is a remainder of: half or more, and sticky. */
function restOf(remainder: Value, divisor: Value): Value {
  const half = i64.select(i64.gtU(remainder, i64.sub(divisor, remainder)), INTEGER_BIT | 1n, 1n);
  return i64.select(i64.eqz(remainder), 0n, half);
}

function writeDivide(c: FastContext, ...params: Value[]): void {
  const { f } = c;
  const [aSE, aSig, bSE, bSig, fcw] = params as [Value, Value, Value, Value, Value];
  const slow = (): void => exactly(c, "x87Divide", params);
  f.unlikely(unusual({ signExponent: aSE, significand: aSig }, { signExponent: bSE, significand: bSig }, fcw), slow);
  const { value, remainder, wide } = divideSignificands(f, aSig, bSig);
  const difference = i32.sub(i32.and(aSE, EXT.exponent), i32.and(bSE, EXT.exponent));
  const exponent = f.let(i32.add(i32.add(difference, EXT.bias - 1), wide));
  const rest = f.let(restOf(remainder, bSig));
  roundAndLeave(f, signOfProduct(aSE, bSE), exponent, value, rest, fcw, slow);
}

/** Quotient of two normalized significands, normalized: `wide` says that it is 1 or more, and was halved. */
function divideSignificands(f: FunctionWriter, a: Value, b: Value): { value: Value; remainder: Value; wide: Value } {
  const wide = f.let(i64.geU(a, b));
  const shift = f.let(bit64(wide));
  const numerator = f.let(i64.shrU(a, shift));
  const below = f.let(i64.shl(i64.and(a, shift), 63n));
  const remainder = f.local("i64");
  const value = f.let(divideWide(f, numerator, below, b, remainder));
  return { value, remainder: remainder.get, wide };
}

function writeSquareRoot(c: FastContext, ...params: Value[]): void {
  const { f } = c;
  const [aSE, aSig, fcw] = params as [Value, Value, Value];
  const slow = (): void => exactly(c, "x87SquareRoot", params);
  const a: Extended = { signExponent: aSE, significand: aSig };
  f.unlikely(i32.or(i32.or(isSpecial(a), i32.and(aSE, EXT.sign)), unusualControl(fcw)), slow);
  const exponent = f.let(i32.sub(i32.and(aSE, EXT.exponent), EXT.bias));
  const odd = f.let(i32.and(exponent, 1));
  // 2^(2k)·1.x is halved to fit 128 bits, 2^(2k+1)·1.x stands as it is.
  const high = f.let(i64.select(odd, aSig, i64.shrU(aSig, 1n)));
  const low = f.let(i64.select(odd, 0n, i64.shl(aSig, 63n)));
  const rest = f.local("i64");
  const root = f.let(integerRoot(f, high, low, rest));
  const biased = f.let(i32.add(i32.shrS(exponent, 1), EXT.bias));
  roundAndLeave(f, i32.const(0), biased, root, rest.get, fcw, slow);
}

// ---- memory formats ---------------------------------------------------------------------------------------------

function widenReal(f: FunctionWriter, format: "r32" | "r64", bits: Value): Extended {
  return format === "r32" ? widenSingle(f, bits) : widenDouble(f, bits);
}

function writeWiden({ f }: FastContext, format: "r32" | "r64", [bits]: readonly Value[]): void {
  const { signExponent, significand } = widenReal(f, format, bits!);
  f.result(signExponent);
  f.result(significand);
}

/** Loading quiets a signaling NaN and reports a denormal. */
function writeLoad({ f }: FastContext, format: "r32" | "r64", params: readonly Value[]): void {
  const [bits, fcw] = params as [Value, Value];
  const { signExponent, significand } = widenReal(f, format, bits);
  const flags = loadFlags({ signExponent, significand });
  const packed = packFlags(f, f.let(flags), fcw);
  f.result(i32.or(packed, i32.and(signExponent, 0xffff)));
  f.result(quieted({ signExponent, significand }));
}

function isSignaling({ signExponent, significand }: Extended): Value {
  const nan = i32.and(i32.eq(i32.and(signExponent, EXT.exponent), EXT.exponent), i64.ne(i64.shl(significand, 1n), 0n));
  return i32.and(nan, i64.eqz(i64.and(significand, QUIET_BIT)));
}

/** Exceptions of loading a binary32 or binary64 that was widened. */
export function loadFlags(value: Extended): Value {
  const denormal = i32.select(i32.and(value.signExponent, WAS_DENORMAL), FSW.DE, 0);
  return i32.or(i32.select(isSignaling(value), FSW.IE, 0), denormal);
}

/** The significand that a load leaves: a signaling NaN becomes quiet. */
export function quieted(value: Extended): Value {
  return i64.or(value.significand, i64.select(isSignaling(value), QUIET_BIT, 0n));
}

interface RealFormat {
  readonly bits: 32 | 64;
  readonly fraction: number;
  readonly bias: number;
  readonly maxExponent: number;
  readonly exact: ExactName;
}

const SINGLE: RealFormat = { bits: 32, fraction: 23, bias: 127, maxExponent: 0xff, exact: "x87ToSingle" };
const DOUBLE: RealFormat = { bits: 64, fraction: 52, bias: 1023, maxExponent: 0x7ff, exact: "x87ToDouble" };

function writeStore(c: FastContext, format: RealFormat, params: readonly Value[]): void {
  const { f, s } = c;
  const [se, significand, fcw] = params as [Value, Value, Value];
  const { bits, fraction, bias, maxExponent } = format;
  const dropped = BigInt(63 - fraction);
  const sized = (value: Value): Value => (bits === 32 ? i32.wrap(value) : value);
  const sign = f.let(i64.shl(i64.extendU(i32.and(se, EXT.sign)), BigInt(bits - 16)));
  const exponent = f.let(i32.and(se, EXT.exponent));
  const biased = f.let(i32.sub(exponent, EXT.bias - bias));
  // One below the largest, so that rounding cannot overflow.
  const fits = i32.and(i32.ltU(i32.sub(biased, 1), maxExponent - 2), i64.ltS(significand, 0n));
  f.if(i32.and(fits, i32.eqz(unusualControl(fcw))), () => {
    const kept = f.let(i64.shrU(significand, dropped));
    const rest = f.let(i64.shl(significand, 64n - dropped));
    const up = f.let(i64.gtU(rest, i64.sub(INTEGER_BIT, i64.and(kept, 1n))));
    // The integer bit, and a carry out of the fraction, add to the exponent.
    const magnitude = i64.add(i64.shl(i64.extendU(i32.sub(biased, 1)), BigInt(fraction)), i64.add(kept, bit64(up)));
    leave(f, packRounding(rest, up), sized(i64.or(sign, magnitude)));
  });
  f.if(i32.and(i32.eqz(exponent), i64.eqz(significand)), () => leave(f, i32.const(0), sized(sign)));
  const flags = f.let(call(c.exact(format.exact), s, i32.and(se, 0xffff), significand, fcw));
  f.result(packFlags(f, flags, fcw));
  f.result(bits === 32 ? i32.load(s, SCRATCH.value) : i64.load(s, SCRATCH.value));
}

function writeStoreInteger(c: FastContext, ...params: Value[]): void {
  const { f, s } = c;
  const [se, significand, fcw, bits] = params as [Value, Value, Value, Value];
  const exponent = f.let(i32.sub(i32.and(se, EXT.exponent), EXT.bias));
  const control = f.let(unusualControl(fcw));
  const ordinary = i32.or(i32.eqz(control), i32.eq(control, RC.chop));
  // Magnitudes of 1 up to half of what the format holds.
  const fits = i32.and(i32.ltU(exponent, i32.sub(bits, 2)), i64.ltS(significand, 0n));
  f.if(i32.and(fits, ordinary), () => {
    const shift = f.let(i64.extendU(i32.sub(63, exponent)));
    const kept = f.let(i64.shrU(significand, shift));
    const rest = f.let(i64.shl(significand, i64.sub(64n, shift)));
    const above = i64.gtU(rest, i64.sub(INTEGER_BIT, i64.and(kept, 1n)));
    const up = f.let(i32.and(above, i32.eqz(control)));
    const magnitude = f.let(i64.add(kept, bit64(up)));
    const value = i64.select(i32.and(se, EXT.sign), i64.sub(0n, magnitude), magnitude);
    leave(f, packRounding(rest, up), value);
  });
  f.if(i32.and(i32.eqz(i32.and(se, EXT.exponent)), i64.eqz(significand)), () => leave(f, i32.const(0), i64.const(0n)));
  const value = f.let(call(c.exact("x87ToInteger"), s, i32.and(se, 0xffff), significand, fcw, bits));
  f.result(packFlags(f, f.let(i32.load(s, SCRATCH.outcome)), fcw));
  f.result(value);
}

// ---- comparison -------------------------------------------------------------------------------------------------

/** Exponent and significand are those of ±0. */
function isZero({ signExponent, significand }: Extended): Value {
  return i64.eqz(i64.or(i64.extendU(i32.and(signExponent, EXT.exponent | WAS_DENORMAL)), significand));
}

function writeCompare(c: FastContext, ...params: Value[]): void {
  const { f } = c;
  const [aSE, aSig, bSE, bSig, fcw, quiet] = params as [Value, Value, Value, Value, Value, Value];
  const a: Extended = { signExponent: aSE, significand: aSig };
  const b: Extended = { signExponent: bSE, significand: bSig };
  f.unlikely(i32.or(isSpecial(a), isSpecial(b)), () => {
    const odd = (x: Extended): Value => i32.and(isSpecial(x), i32.eqz(isZero(x)));
    f.if(i32.or(odd(a), odd(b)), () => {
      const args = [i32.and(aSE, OPERAND), aSig, i32.and(bSE, OPERAND), bSig, fcw, quiet];
      const flags = f.let(call(c.exact("x87Compare"), ...args));
      f.return(i32.or(packFlags(f, flags, fcw), i32.and(flags, ORDER.unordered)));
    });
    f.if(i64.eqz(i64.or(aSig, bSig)), () => f.return(ORDER.equal));
  });
  const negative = f.let(i32.and(aSE, EXT.sign));
  f.if(i32.and(i32.xor(aSE, bSE), EXT.sign), () => f.return(i32.select(negative, ORDER.less, ORDER.greater)));
  const exponentA = f.let(i32.and(aSE, EXT.exponent));
  const exponentB = f.let(i32.and(bSE, EXT.exponent));
  const sameExponent = f.let(i32.eq(exponentA, exponentB));
  f.if(i32.and(sameExponent, i64.eq(aSig, bSig)), () => f.return(ORDER.equal));
  const smaller = i32.select(sameExponent, i64.ltU(aSig, bSig), i32.ltS(exponentA, exponentB));
  f.result(i32.select(i32.xor(smaller, i32.ne(negative, 0)), ORDER.less, ORDER.greater));
}
