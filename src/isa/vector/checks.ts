/**
 * When WebAssembly's own floating point gives what the processor gives, result and flags: tests on operands and results
 * for the fast ways of arithmetic. All other cases go to isa/vector/runtime.ts.
 *
 * An operation whose operands are zeros or normal numbers, and whose result is a normal number above the smallest, raises
 * PE at most; with PE set already, nothing changes. NaNs, infinities and denormals never get here.
 */
import { f32, f64, i32, i64, type Value } from "../../wasm/expression.ts";
import { f32x4, f64x2, i32x4, i64x2, v128 } from "../../wasm/simd.ts";

/** One scalar lane held as bits in an i32 or i64. */
export interface ScalarLane {
  /** The lowest lane of a vector. */
  readonly lowestBits: (vector: Value) => Value;
  /** The bits as a float, and back. */
  readonly float: (bits: Value) => Value;
  readonly bits: (float: Value) => Value;
  readonly isZero: (bits: Value) => Value;
  /** 1 unless denormal. */
  readonly notDenormal: (bits: Value) => Value;
  /** 1 for normal numbers, those with the smallest exponent excepted. */
  readonly isNormal: (bits: Value) => Value;
  /** 1 for zeros, normal numbers and infinities. */
  readonly isNumber: (bits: Value) => Value;
  /**
   * Bit 0 set if all of `bits` have exponents in the middle half of the range, where the two highest bits of the field
   * differ: the cheapest test that lets most numbers pass. Other bits are anything.
   */
  readonly inMiddle: (...bits: Value[]) => Value;
}

/** Smallest normal number, as bits. */
const MIN_NORMAL_32 = 0x0080_0000;
const MIN_NORMAL_64 = 0x0010_0000_0000_0000n;
const INFINITY_32 = 0x7f80_0000;
const INFINITY_64 = 0x7ff0_0000_0000_0000n;

/** In these, the sign has been shifted out, so that exponents begin one bit higher. */
const SINGLE_EXPONENT = 24;
const DOUBLE_EXPONENT = 53n;

const differing32 = (bits: Value): Value => i32.xor(bits, i32.shl(bits, 1));
const differing64 = (bits: Value): Value => i64.xor(bits, i64.shl(bits, 1n));

export const SINGLE: ScalarLane = {
  lowestBits: (vector) => i32x4.extract(vector, 0),
  float: f32.reinterpret,
  bits: f32.bits,
  isZero: (bits) => i32.eqz(i32.shl(bits, 1)),
  // Zero wraps round to the largest number.
  notDenormal: (bits) => i32.geU(i32.sub(i32.shl(bits, 1), 1), (1 << SINGLE_EXPONENT) - 1),
  isNormal: (bits) => i32.ltU(i32.sub(i32.shl(bits, 1), 2 << SINGLE_EXPONENT), 0xfd << SINGLE_EXPONENT),
  isNumber: (bits) => {
    const finite = i32.sub(i32.shl(bits, 1), 1 << SINGLE_EXPONENT);
    return i32.or(i32.ltU(finite, (0xfe << SINGLE_EXPONENT) + 1), i32.eqz(i32.shl(bits, 1)));
  },
  inMiddle: (...bits) =>
    i32.shrU(
      bits.map(differing32).reduce((x, y) => i32.and(x, y)),
      30,
    ),
};

export const DOUBLE: ScalarLane = {
  lowestBits: (vector) => i64x2.extract(vector, 0),
  float: f64.reinterpret,
  bits: i64.reinterpret,
  isZero: (bits) => i64.eqz(i64.shl(bits, 1n)),
  notDenormal: (bits) => i64.geU(i64.sub(i64.shl(bits, 1n), 1n), (1n << DOUBLE_EXPONENT) - 1n),
  isNormal: (bits) => i64.ltU(i64.sub(i64.shl(bits, 1n), 2n << DOUBLE_EXPONENT), 0x7fdn << DOUBLE_EXPONENT),
  isNumber: (bits) => {
    const finite = i64.sub(i64.shl(bits, 1n), 1n << DOUBLE_EXPONENT);
    return i32.or(i64.ltU(finite, (0x7fen << DOUBLE_EXPONENT) + 1n), i64.eqz(i64.shl(bits, 1n)));
  },
  inMiddle: (...bits) =>
    i32.wrap(
      i64.shrU(
        bits.map(differing64).reduce((x, y) => i64.and(x, y)),
        62n,
      ),
    ),
};

/** All lanes of a vector. The tests give ones in the lanes that pass. */
export interface PackedLanes {
  readonly isZero: (a: Value) => Value;
  readonly isNormal: (a: Value) => Value;
  readonly isNumber: (a: Value) => Value;
  /** 1 when every lane passed. */
  readonly all: (tests: Value) => Value;
}

const ZERO = v128.const(0n);

function packed(
  ops: {
    readonly eq: (a: Value, b: Value) => Value;
    readonly lt: (a: Value, b: Value) => Value;
    readonly ge: (a: Value, b: Value) => Value;
    readonly gt: (a: Value, b: Value) => Value;
    readonly abs: (a: Value) => Value;
  },
  minNormal: Value,
  infinity: Value,
  all: (tests: Value) => Value,
): PackedLanes {
  return {
    isZero: (a) => ops.eq(a, ZERO),
    isNormal: (a) => v128.and(ops.gt(ops.abs(a), minNormal), ops.lt(ops.abs(a), infinity)),
    isNumber: (a) => v128.or(ops.ge(ops.abs(a), minNormal), ops.eq(a, ZERO)),
    all,
  };
}

export const SINGLES = packed(
  f32x4,
  v128.all(32, BigInt(MIN_NORMAL_32)),
  v128.all(32, BigInt(INFINITY_32)),
  i32x4.allTrue,
);
export const DOUBLES = packed(f64x2, v128.all(64, MIN_NORMAL_64), v128.all(64, INFINITY_64), i64x2.allTrue);

/** WebAssembly's operations of one format, scalar or packed. */
export interface FloatOperations {
  readonly add: (a: Value, b: Value) => Value;
  readonly sub: (a: Value, b: Value) => Value;
  readonly mul: (a: Value, b: Value) => Value;
  readonly div: (a: Value, b: Value) => Value;
}

/** Whether (of each lane) the result `r` of operands that are zeros or normal numbers shows that PE is all it raised. */
export function resultIsPlain(
  lanes: ScalarLane | PackedLanes,
  name: keyof FloatOperations,
  a: Value,
  b: Value,
  r: Value,
): Value {
  const [or, and] = "inMiddle" in lanes ? [i32.or, i32.and] : [v128.or, v128.and];
  const normal = lanes.isNormal(r);
  const zero = lanes.isZero(r);
  // A sum of numbers is zero only when it is exact; a product or quotient when a factor or the dividend is.
  if (name === "add" || name === "sub") return or(normal, zero);
  const exactZero = name === "mul" ? or(lanes.isZero(a), lanes.isZero(b)) : lanes.isZero(a);
  return or(normal, and(zero, exactZero));
}
