/**
 * Small vocabulary for writing the x87's WebAssembly: functions with typed parameters, 80-bit operands, 128-bit macros.
 * Everything here emits code in place; nothing computes a value itself.
 */
import { call, type I32, type I64, i32, i64, type Value } from "../../wasm/expression.ts";
import { FunctionWriter, type Local } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../../wasm/module.ts";
import { EXT } from "./constants.ts";

/** An 80-bit operand in expressions: `signExponent` 16 bits (and WAS_DENORMAL), `significand` with its integer bit. */
export interface Extended {
  readonly signExponent: Value;
  readonly significand: Value;
}

/** Define a function at once. `body` gets the writer and the parameters' values, and must leave the result. */
export function define(
  module: ModuleWriter,
  params: readonly ValueType[],
  result: ValueType | undefined,
  body: (f: FunctionWriter, ...params: Value[]) => void,
  exported?: string,
): FunctionReference {
  const type = { params, results: result === undefined ? [] : [result] };
  const reference = module.declare(type, exported);
  const writer = new FunctionWriter(type);
  body(writer, ...writer.params.map((param) => param.get));
  module.define(reference, writer.finish());
  return reference;
}

/** A call with i32 and i64 constants allowed among the arguments. */
export function invoke(callee: FunctionReference, ...args: (Value | number | bigint)[]): Value {
  return call(callee, ...args.map((arg) => (typeof arg === "bigint" ? i64.const(arg) : arg)));
}

/** A local that starts as `value`. */
export function variable(f: FunctionWriter, type: ValueType, value?: I32 | I64): Local {
  const local = f.local(type);
  if (value !== undefined) f.set(local, value);
  return local;
}

/** The exponent field of a sign/exponent word. */
export function exponentOf(signExponent: Value): Value {
  return i32.and(signExponent, EXT.exponent);
}

/** The sign, in place (0 or 0x8000). */
export function signOf(signExponent: Value): Value {
  return i32.and(signExponent, EXT.sign);
}

/** Store an 80-bit value at `address`. */
export function storeExtended(f: FunctionWriter, address: Value, signExponent: I32, significand: I64): void {
  f.store64(address, significand);
  f.store16(address, signExponent, 8);
}

/** 1 unless the operand is a normal number (zeros, denormals, infinities, NaNs and unsupported forms are special). */
export function isSpecial({ signExponent, significand }: Extended): Value {
  // Keeping bit 16 makes a widened denormal special although its exponent is ordinary.
  const exponent = i32.and(signExponent, EXT.exponent | 0x10000);
  return i32.or(i32.geU(i32.sub(exponent, 1), 0x7ffe), i64.geS(significand, 0n));
}

/** `condition` as an i64 0 or 1. */
export function bit64(condition: Value): Value {
  return i64.extendU(condition);
}

/** High 64 bits of the unsigned product, from four 32-bit products. */
export function mulHigh(f: FunctionWriter, a: Value, b: Value): Value {
  const mask = 0xffffffffn;
  const aLow = f.let(i64.and(a, mask));
  const aHigh = f.let(i64.shrU(a, 32n));
  const bLow = f.let(i64.and(b, mask));
  const bHigh = f.let(i64.shrU(b, 32n));
  const mid1 = f.let(i64.add(i64.mul(aHigh, bLow), i64.shrU(i64.mul(aLow, bLow), 32n)));
  const mid2 = f.let(i64.add(i64.mul(aLow, bHigh), i64.and(mid1, mask)));
  return f.let(i64.add(i64.add(i64.mul(aHigh, bHigh), i64.shrU(mid1, 32n)), i64.shrU(mid2, 32n)));
}

/** Shift the 128-bit pair right by `count` ≥ 0, ORing what falls out into bit 0. */
export function shiftRightJam(f: FunctionWriter, high: Local, low: Local, count: Value): void {
  const n = f.let(count);
  f.if(
    i32.geU(n, 64),
    () => {
      f.if(
        i32.geU(n, 128),
        () => f.set(low, bit64(i64.ne(i64.or(high.get, low.get), 0n))),
        () => {
          const m = f.let(i64.extendU(i32.and(n, 63)));
          // Two shifts, since a shift by 64 - 0 would be one by 0.
          const lost = i64.or(low.get, i64.shl(i64.shl(high.get, 1n), i64.sub(63n, m)));
          f.set(low, i64.or(i64.shrU(high.get, m), bit64(i64.ne(lost, 0n))));
        },
      );
      f.set(high, 0n);
    },
    () => {
      f.if(n, () => {
        const m = f.let(i64.extendU(n));
        const back = f.let(i64.sub(64n, m));
        const lost = f.let(bit64(i64.ne(i64.shl(low.get, back), 0n)));
        f.set(low, i64.or(i64.or(i64.shrU(low.get, m), i64.shl(high.get, back)), lost));
        f.set(high, i64.shrU(high.get, m));
      });
    },
  );
}

/** Shift the pair left until bit 127 is set, taking the shift from `exponent`. The pair must not be zero. */
export function normalize(f: FunctionWriter, high: Local, low: Local, exponent: Local): void {
  f.if(i64.eqz(high.get), () => {
    f.set(high, low.get);
    f.set(low, 0n);
    f.set(exponent, i32.sub(exponent.get, 64));
  });
  f.if(i64.geS(high.get, 0n), () => {
    const n = f.let(i64.clz(high.get));
    f.set(high, i64.or(i64.shl(high.get, n), i64.shrU(low.get, i64.sub(64n, n))));
    f.set(low, i64.shl(low.get, n));
    f.set(exponent, i32.sub(exponent.get, i32.wrap(n)));
  });
}

/** Exponent that a finite nonzero operand has once its significand is shifted up to bit 63 (denormals included). */
export function normalizedExponent({ signExponent, significand }: Extended): Value {
  const exponent = exponentOf(signExponent);
  return i32.sub(i32.select(exponent, exponent, 1), i32.wrap(i64.clz(significand)));
}

/** The significand shifted up to bit 63. */
export function normalizedSignificand({ significand }: Extended): Value {
  return i64.shl(significand, i64.clz(significand));
}
