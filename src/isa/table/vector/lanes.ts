/** What vector rows share: lanes in and out of vectors, arrangements of lanes, and the call of exact functions. */
import { call, type I32, i32, type Value } from "../../../wasm/expression.ts";
import { i8x16, i32x4 } from "../../../wasm/simd.ts";
import type { Builder, Operand } from "../../builder.ts";
import type { ScalarLane } from "../../vector/checks.ts";
import type { RuntimeName } from "../../vector/runtime.ts";

/** Exception vectors (SDM 3A 6.15). */
export const EXCEPTION = { GP: 13 } as const;

/**
 * `fast` where `allowed`, else `slow`. That is marked as hardly ever taken: engines that know hints keep vectors in
 * registers then, although an exact function is called in `slow`.
 */
export function usually(m: Builder, allowed: Value, fast: () => void, slow: () => void): void {
  m.f.unlikely(i32.eqz(allowed), slow, fast);
}

/** Result of an exact function on the low `lanes` lanes; raises what is unmasked. */
export function exact(m: Builder, name: RuntimeName, a: Value, b: Value | undefined, lanes: I32, option?: I32): Value {
  const operands = b === undefined ? [a] : [a, b];
  const result = m.let(call(m.runtime(name), m.state, ...operands, lanes, ...(option === undefined ? [] : [option])));
  m.raiseSimd();
  return result;
}

/** Result of an exact function on the bits of one lane; raises what is unmasked. */
export function exactScalar(m: Builder, name: RuntimeName, ...operands: Value[]): Value {
  const result = m.let(call(m.runtime(name), m.state, ...operands));
  m.raiseSimd();
  return result;
}

/** A scalar operand as a float, to be used before the operand changes. */
export function readFloat(lanes: ScalarLane, operand: Operand): Value {
  return operand.readFloat ? operand.readFloat() : lanes.float(operand.read());
}

/** Write the lowest lane. */
export function writeFloat(lanes: ScalarLane, operand: Operand, value: Value): void {
  if (operand.writeFloat) operand.writeFloat(value);
  else operand.write(lanes.bits(value));
}

/** The lowest lane of 32 bits. */
export function low32(a: Value): Value {
  return i32x4.extract(a, 0);
}

/** The even and the odd lanes of `bits` bits of the pair, those of `a` first. */
export function evenOdd(a: Value, b: Value, bits: 16 | 32 | 64): readonly [Value, Value] {
  const bytes = bits / 8;
  const pick = (first: number): Value =>
    i8x16.shuffle(
      a,
      b,
      Array.from({ length: 16 }, (_, i) => (Math.floor(i / bytes) * 2 + first) * bytes + (i % bytes)),
    );
  return [pick(0), pick(1)];
}
