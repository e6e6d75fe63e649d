/**
 * Expressions over v128: WebAssembly's 128-bit vector instructions by the specification's names (Core Specification 2.0,
 * 5.4.8). Opcodes are written behind the prefix FD.
 */
import { constantOf, type I32, type I64, i32, i64, KIND, Value } from "./expression.ts";
import type { ValueType } from "./module.ts";

/** Prefix byte of vector instructions, as the high byte of an opcode number. */
const PREFIX = 0xfd00;

const binary =
  (opcode: number, type: ValueType = "v128") =>
  (a: Value, b: Value): Value =>
    new Value(KIND.binary, type, PREFIX + opcode, 0, a, b);

const unary =
  (opcode: number, type: ValueType = "v128") =>
  (a: Value): Value =>
    new Value(KIND.unary, type, PREFIX + opcode, 0, a);

const shift =
  (opcode: number) =>
  (a: Value, count: I32): Value =>
    new Value(KIND.binary, "v128", PREFIX + opcode, 0, a, i32.const(count));

const extract =
  (opcode: number, type: ValueType) =>
  (a: Value, lane: number): Value =>
    new Value(KIND.lane, type, PREFIX + opcode, lane, a);

const replace =
  (opcode: number) =>
  (a: Value, lane: number, b: Value): Value =>
    new Value(KIND.lane, "v128", PREFIX + opcode, lane, a, b);

const load =
  (opcode: number) =>
  (address: I32, offset = 0): Value => {
    const at = i32.const(address);
    const base = constantOf(at);
    if (base !== undefined && base > 0)
      return new Value(KIND.load, "v128", PREFIX + opcode, offset + base, i32.const(0));
    return new Value(KIND.load, "v128", PREFIX + opcode, offset, at);
  };

/** Opcode of the store. */
export const V128_STORE = PREFIX + 11;

const LANES: Readonly<Record<8 | 16 | 32 | 64, bigint>> = {
  8: 0x01010101010101010101010101010101n,
  16: 0x00010001000100010001000100010001n,
  32: 0x00000001000000010000000100000001n,
  64: 0x00000000000000010000000000000001n,
};

/** Whole vectors. */
export const v128 = {
  /** A constant, as a 128-bit number: byte 0 is its lowest. */
  const: (value: bigint): Value => new Value(KIND.const, "v128", PREFIX + 12, BigInt.asUintN(128, value)),
  /** A constant with `value` in each lane of `bits` bits. */
  all: (bits: 8 | 16 | 32 | 64, value: bigint): Value => v128.const(LANES[bits] * BigInt.asUintN(bits, value)),
  load: load(0),
  /** 32 or 64 bits of memory, the rest zero. */
  load32zero: load(92),
  load64zero: load(93),
  /** An i32 in the low lane, zero above. */
  fromI32: (value: I32): Value => new Value(KIND.lane, "v128", PREFIX + 28, 0, v128.const(0n), i32.const(value)),
  not: unary(77),
  and: binary(78),
  /** a & ~b. */
  andnot: binary(79),
  or: binary(80),
  xor: binary(81),
  /** Bits of `a` where `mask` is 1, else of `b`. */
  bitselect: (a: Value, b: Value, mask: Value): Value => new Value(KIND.select, "v128", PREFIX + 82, 0, a, b, mask),
  anyTrue: unary(83, "i32"),
  /** `condition` ? a : b. */
  select: (condition: I32, a: Value, b: Value): Value => Value.select("v128", a, b, i32.const(condition)),
} as const;

/** Bytes `lanes` (0–15 of `a`, 16–31 of `b`) of the pair. */
function shuffle(a: Value, b: Value, lanes: readonly number[]): Value {
  let packed = 0n;
  for (const [position, lane] of lanes.entries()) packed |= BigInt(lane) << BigInt(position * 8);
  return new Value(KIND.lane, "v128", PREFIX + 13, packed, a, b);
}

export const i8x16 = {
  shuffle,
  swizzle: binary(14), splat: unary(15), extractS: extract(21, "i32"), extractU: extract(22, "i32"),
  replace: replace(23), eq: binary(35), gtS: binary(39), gtU: binary(40), abs: unary(96), popcnt: unary(98),
  bitmask: unary(100, "i32"), narrowS: binary(101), narrowU: binary(102), shl: shift(107), shrS: shift(108),
  shrU: shift(109), add: binary(110), addSatS: binary(111), addSatU: binary(112), sub: binary(113),
  subSatS: binary(114), subSatU: binary(115), minS: binary(118), minU: binary(119), maxS: binary(120),
  maxU: binary(121), avgrU: binary(123),
} as const; // biome-ignore format: a table

export const i16x8 = {
  splat: unary(16), extractS: extract(24, "i32"), extractU: extract(25, "i32"), replace: replace(26), eq: binary(45),
  gtS: binary(49), extaddPairwiseS: unary(124), extaddPairwiseU: unary(125), abs: unary(128), neg: unary(129), bitmask: unary(132, "i32"),
  q15mulrSatS: binary(130), narrowS: binary(133), narrowU: binary(134), extendLowS: unary(135),
  extendHighS: unary(136), extendLowU: unary(137), extendHighU: unary(138), shl: shift(139), shrS: shift(140),
  shrU: shift(141), add: binary(142), addSatS: binary(143), addSatU: binary(144), sub: binary(145),
  subSatS: binary(146), subSatU: binary(147), mul: binary(149), minS: binary(150), minU: binary(151),
  maxS: binary(152), maxU: binary(153), avgrU: binary(155), extmulLowS: binary(156), extmulHighS: binary(157),
  extmulLowU: binary(158), extmulHighU: binary(159),
} as const; // biome-ignore format: a table

export const i32x4 = {
  splat: unary(17), extract: extract(27, "i32"), replace: replace(28), eq: binary(55), ltU: binary(58),
  gtS: binary(59), gtU: binary(60), geU: binary(64), extaddPairwiseS: unary(126), extaddPairwiseU: unary(127), abs: unary(160),
  bitmask: unary(164, "i32"), allTrue: unary(163, "i32"), extendLowS: unary(167), extendHighS: unary(168),
  extendLowU: unary(169), extendHighU: unary(170), shl: shift(171), shrS: shift(172), shrU: shift(173),
  add: binary(174), sub: binary(177), mul: binary(181), minS: binary(182), minU: binary(183), maxS: binary(184),
  maxU: binary(185), dot: binary(186), extmulLowS: binary(188), extmulHighS: binary(189), extmulLowU: binary(190),
  extmulHighU: binary(191), truncSatF32x4S: unary(248), truncSatF64x2SZero: unary(252),
} as const; // biome-ignore format: a table

export const i64x2 = {
  splat: unary(18), extract: extract(29, "i64"), replace: replace(30), allTrue: unary(195, "i32"),
  bitmask: unary(196, "i32"),
  extendLowS: unary(199), extendLowU: unary(201), shl: shift(203), shrS: shift(204), shrU: shift(205), add: binary(206),
  sub: binary(209), mul: binary(213), eq: binary(214), gtS: binary(217), extmulLowU: binary(222),
  extmulLowS: binary(220),
} as const; // biome-ignore format: a table

export const f32x4 = {
  splat: unary(19), extract: extract(31, "f32"), replace: replace(32), eq: binary(65), ne: binary(66),
  lt: binary(67), gt: binary(68), le: binary(69), ge: binary(70), ceil: unary(103), floor: unary(104),
  trunc: unary(105), nearest: unary(106), abs: unary(224), neg: unary(225), sqrt: unary(227), add: binary(228),
  sub: binary(229), mul: binary(230), div: binary(231), pmin: binary(234), pmax: binary(235),
  convertI32x4S: unary(250), demoteF64x2Zero: unary(94),
} as const; // biome-ignore format: a table

export const f64x2 = {
  splat: unary(20), extract: extract(33, "f64"), replace: replace(34), eq: binary(71), ne: binary(72),
  lt: binary(73), gt: binary(74), le: binary(75), ge: binary(76), ceil: unary(116), floor: unary(117),
  trunc: unary(122), nearest: unary(148), abs: unary(236), neg: unary(237), sqrt: unary(239), add: binary(240),
  sub: binary(241), mul: binary(242), div: binary(243), pmin: binary(246), pmax: binary(247),
  convertLowI32x4S: unary(254), promoteLowF32x4: unary(95),
} as const; // biome-ignore format: a table

/** An i64 in the low half of a vector, zero above. */
export function low64(value: I64): Value {
  return i64x2.replace(v128.const(0n), 0, i64.const(value));
}

/** A vector with its lowest 32 or 64 bits replaced by an integer or a float. */
export function withLowest(vector: Value, value: Value): Value {
  switch (value.type) {
    case "f64":
      return f64x2.replace(vector, 0, value);
    case "f32":
      return f32x4.replace(vector, 0, value);
    case "i64":
      return i64x2.replace(vector, 0, value);
    default:
      return i32x4.replace(vector, 0, value);
  }
}

/** An integer or float of 32 or 64 bits in the low lanes of a vector, zero above. */
export function zeroExtended(value: Value): Value {
  return withLowest(v128.const(0n), value);
}
