/** Packed integer arithmetic of MMX, SSE2, SSSE3 and SSE4: one definition for MMX and XMM. SDM 2 under each name. */
import { i32, i64, type Value } from "../../../wasm/expression.ts";
import { i8x16, i16x8, i32x4, i64x2, v128 } from "../../../wasm/simd.ts";
import type { Builder } from "../../builder.ts";
import type { Row, Semantics } from "../../row.ts";
import { evenOdd } from "./lanes.ts";
import { mmx, sse } from "./rows.ts";

/** Of two vectors; operands are bound, so that they may be used more than once. */
type Packed = (a: Value, b: Value, m: Builder) => Value;

/** How an operation on XMM registers serves for MMX: lane by lane, or with both operands in one vector. */
type MmxLayout = "lanes" | "pair";

const ZERO = v128.const(0n);
const RW = { dst: "rw" } as const;

const onXmm =
  (operation: Packed): Semantics =>
  (m, dst, src) => {
    const b = m.let(src!.read());
    const a = m.let(dst!.read());
    dst!.write(operation(a, b, m));
  };

const onMmx =
  (operation: Packed, layout: MmxLayout): Semantics =>
  (m, dst, src) => {
    const read = src!.read();
    const b = m.let(i64x2.splat(read.type === "i64" ? read : i64.extendU(read)));
    const a = m.let(i64x2.splat(dst!.read()));
    const pair = (): Value => m.let(i64x2.replace(a, 1, i64x2.extract(b, 0)));
    const both = layout === "pair" ? pair() : a;
    dst!.write(i64x2.extract(operation(both, layout === "pair" ? both : b, m), 0));
  };

/** MMX and XMM rows of an operation; `mmxFeature` names what brought the MMX form. */
function packed(
  name: string,
  opcode: string,
  operation: Packed,
  mmxFeature: string,
  xmmFeature = "sse2",
  layout: MmxLayout = "lanes",
): Row[] {
  return [
    mmx(name, [`0F ${opcode} /r Pq Qq`], mmxFeature, onMmx(operation, layout), RW),
    sse(name, "p66", [`0F ${opcode} /r Vx Wx`], xmmFeature, onXmm(operation), RW),
  ];
}

const xmmOnly = (name: string, opcode: string, operation: Packed, feature: string): Row =>
  sse(name, "p66", [`0F ${opcode} /r Vx Wx`], feature, onXmm(operation), RW);

/** Interleave lanes of `bytes` bytes of the low or high half. The MMX forms interleave halves of 64 bits. */
function interleave(bytes: number, from: number): Packed {
  const lanes = Array.from({ length: 16 }, (_, i) => {
    const lane = Math.floor(i / bytes);
    return from + Math.floor(lane / 2) * bytes + (i % bytes) + (lane % 2) * 16;
  });
  return (a, b) => i8x16.shuffle(a, b, lanes);
}

function unpack(name: string, opcode: string, bytes: number, high: boolean): Row[] {
  const operands = high ? "Pq Qq" : "Pq Qd";
  return [
    mmx(name, [`0F ${opcode} /r ${operands}`], "mmx", onMmx(interleave(bytes, high ? 4 : 0), "lanes"), RW),
    sse(name, "p66", [`0F ${opcode} /r Vx Wx`], "sse2", onXmm(interleave(bytes, high ? 8 : 0)), RW),
  ];
}

/** High halves of 16-bit products. */
const mulHigh =
  (low: (a: Value, b: Value) => Value, high: (a: Value, b: Value) => Value): Packed =>
  (a, b) =>
    evenOdd(low(a, b), high(a, b), 16)[1];

const absoluteDifference = (a: Value, b: Value): Value => v128.or(i8x16.subSatU(a, b), i8x16.subSatU(b, a));

/** Even dword lanes side by side in the low half. */
const evenDwords = (a: Value): Value => i8x16.shuffle(a, a, [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11]);

const sumOfDifferences: Packed = (a, b, m) => {
  const words = i16x8.extaddPairwiseU(absoluteDifference(a, b));
  const dwords = m.let(i32x4.extaddPairwiseU(words));
  return v128.and(i64x2.add(dwords, i64x2.shrU(dwords, 32)), v128.all(64, 0xffff_ffffn));
};

/** Unsigned bytes of `a` times signed bytes of `b`, added in pairs with saturation. */
const multiplyAddBytes: Packed = (a, b) => {
  const even = i16x8.mul(v128.and(a, v128.all(16, 0xffn)), i16x8.shrS(i16x8.shl(b, 8), 8));
  const odd = i16x8.mul(i16x8.shrU(a, 8), i16x8.shrS(b, 8));
  return i16x8.addSatS(even, odd);
};

const MIN_16 = v128.all(16, 0x8000n);
/** WebAssembly saturates -1 × -1 where PMULHRSW wraps to -1. */
const multiplyRound: Packed = (a, b) =>
  v128.xor(i16x8.q15mulrSatS(a, b), v128.and(i16x8.eq(a, MIN_16), i16x8.eq(b, MIN_16)));

const sign =
  (ops: { eq: Packed; gtS: Packed; sub: Packed }): Packed =>
  (a, b, m) => {
    const negative = m.let(ops.gtS(ZERO, b, m));
    const signed = ops.sub(v128.xor(a, negative), negative, m);
    return v128.andnot(signed, ops.eq(b, ZERO, m));
  };

const horizontal =
  (bits: 16 | 32, operation: (a: Value, b: Value) => Value): Packed =>
  (a, b) =>
    operation(...evenOdd(a, b, bits));

/** The lowest word, and where it stands. */
const minimumPosition: Packed = (_a, b, m) => {
  const fold = (a: Value, bytes: number): Value => {
    const lanes = Array.from({ length: 16 }, (_, i) => (i + bytes) % 16);
    return m.let(i16x8.minU(a, i8x16.shuffle(a, a, lanes)));
  };
  const least = fold(fold(fold(b, 8), 4), 2);
  const position = i32.ctz(i16x8.bitmask(i16x8.eq(b, least)));
  return v128.fromI32(i32.or(i16x8.extractU(least, 0), i32.shl(position, 16)));
};

// ---- shifts -----------------------------------------------------------------------------------------------------------

type Shift = (a: Value, count: Value | number) => Value;

/** Shift lanes of `bits` bits by an i64 count; counts beyond the lane clear it, or fill it with its sign. */
function shifted(m: Builder, a: Value, count: Value, bits: number, shift: Shift, arithmetic: boolean): Value {
  const large = m.let(i64.gtU(count, BigInt(bits - 1)));
  if (arithmetic) return shift(a, m.let(i32.select(large, bits - 1, i32.wrap(count))));
  return v128.select(large, ZERO, shift(a, i32.wrap(count)));
}

function shifts(
  name: string,
  opcode: string,
  group: string,
  digit: number,
  bits: number,
  shift: Shift,
  arithmetic = false,
): Row[] {
  const xmm =
    (count: (m: Builder, value: Value) => Value): Semantics =>
    (m, dst, src) => {
      const by = m.let(count(m, src!.read()));
      const a = m.let(dst!.read());
      dst!.write(shifted(m, a, by, bits, shift, arithmetic));
    };
  const onHalf =
    (count: (m: Builder, value: Value) => Value): Semantics =>
    (m, dst, src) => {
      const by = m.let(count(m, src!.read()));
      const a = m.let(i64x2.splat(dst!.read()));
      dst!.write(i64x2.extract(shifted(m, a, by, bits, shift, arithmetic), 0));
    };
  const immediate = (_m: Builder, value: Value): Value => i64.extendU(value);
  return [
    mmx(
      name,
      [`0F ${opcode} /r Pq Qq`],
      "mmx",
      onHalf((_m, value) => value),
      RW,
    ),
    sse(
      name,
      "p66",
      [`0F ${opcode} /r Vx Wx`],
      "sse2",
      xmm((_m, value) => i64x2.extract(value, 0)),
      RW,
    ),
    mmx(name, [`0F ${group} /${digit} Nq Ibu`], "mmx", onHalf(immediate), RW),
    sse(name, "p66", [`0F ${group} /${digit} Ux Ibu`], "sse2", xmm(immediate), RW),
  ];
}

const IOTA = v128.const(0x0f0e0d0c0b0a09080706050403020100n);
const WIDTH = 16;

/** PSLLDQ and PSRLDQ: swizzling picks zero for lanes that do not exist. */
const shiftBytes =
  (left: boolean): Semantics =>
  (m, dst, immediate) => {
    const by = immediate!.read();
    const count = i8x16.splat(m.let(i32.select(i32.gtU(by, WIDTH), WIDTH, by)));
    dst!.write(i8x16.swizzle(dst!.read(), left ? i8x16.sub(IOTA, count) : i8x16.add(IOTA, count)));
  };

/** PABS has one operand. */
const absolute =
  (operation: (a: Value) => Value): Packed =>
  (_a, b) =>
    operation(b);

const and: Packed = (a, b) => v128.and(a, b);
const andNot: Packed = (a, b) => v128.andnot(b, a);

export const VECTOR_INTEGER: readonly Row[] = [
  ...unpack("PUNPCKLBW", "60", 1, false),
  ...unpack("PUNPCKLWD", "61", 2, false),
  ...unpack("PUNPCKLDQ", "62", 4, false),
  ...packed("PACKSSWB", "63", i8x16.narrowS, "mmx", "sse2", "pair"),
  ...packed("PCMPGTB", "64", i8x16.gtS, "mmx"),
  ...packed("PCMPGTW", "65", i16x8.gtS, "mmx"),
  ...packed("PCMPGTD", "66", i32x4.gtS, "mmx"),
  ...packed("PACKUSWB", "67", i8x16.narrowU, "mmx", "sse2", "pair"),
  ...unpack("PUNPCKHBW", "68", 1, true),
  ...unpack("PUNPCKHWD", "69", 2, true),
  ...unpack("PUNPCKHDQ", "6A", 4, true),
  ...packed("PACKSSDW", "6B", i16x8.narrowS, "mmx", "sse2", "pair"),
  xmmOnly("PUNPCKLQDQ", "6C", interleave(8, 0), "sse2"),
  xmmOnly("PUNPCKHQDQ", "6D", interleave(8, 8), "sse2"),
  ...packed("PCMPEQB", "74", i8x16.eq, "mmx"),
  ...packed("PCMPEQW", "75", i16x8.eq, "mmx"),
  ...packed("PCMPEQD", "76", i32x4.eq, "mmx"),
  ...packed("PADDQ", "D4", i64x2.add, "sse2"),
  ...packed("PMULLW", "D5", i16x8.mul, "mmx"),
  ...packed("PSUBUSB", "D8", i8x16.subSatU, "mmx"),
  ...packed("PSUBUSW", "D9", i16x8.subSatU, "mmx"),
  ...packed("PMINUB", "DA", i8x16.minU, "sse"),
  ...packed("PAND", "DB", and, "mmx"),
  ...packed("PADDUSB", "DC", i8x16.addSatU, "mmx"),
  ...packed("PADDUSW", "DD", i16x8.addSatU, "mmx"),
  ...packed("PMAXUB", "DE", i8x16.maxU, "sse"),
  ...packed("PANDN", "DF", andNot, "mmx"),
  ...packed("PAVGB", "E0", i8x16.avgrU, "sse"),
  ...packed("PAVGW", "E3", i16x8.avgrU, "sse"),
  ...packed("PMULHUW", "E4", mulHigh(i32x4.extmulLowU, i32x4.extmulHighU), "sse"),
  ...packed("PMULHW", "E5", mulHigh(i32x4.extmulLowS, i32x4.extmulHighS), "mmx"),
  ...packed("PSUBSB", "E8", i8x16.subSatS, "mmx"),
  ...packed("PSUBSW", "E9", i16x8.subSatS, "mmx"),
  ...packed("PMINSW", "EA", i16x8.minS, "sse"),
  ...packed("POR", "EB", v128.or, "mmx"),
  ...packed("PADDSB", "EC", i8x16.addSatS, "mmx"),
  ...packed("PADDSW", "ED", i16x8.addSatS, "mmx"),
  ...packed("PMAXSW", "EE", i16x8.maxS, "sse"),
  ...packed("PXOR", "EF", v128.xor, "mmx"),
  ...packed("PMULUDQ", "F4", (a, b) => i64x2.extmulLowU(evenDwords(a), evenDwords(b)), "sse2"),
  ...packed("PMADDWD", "F5", i32x4.dot, "mmx"),
  ...packed("PSADBW", "F6", sumOfDifferences, "sse"),
  ...packed("PSUBB", "F8", i8x16.sub, "mmx"),
  ...packed("PSUBW", "F9", i16x8.sub, "mmx"),
  ...packed("PSUBD", "FA", i32x4.sub, "mmx"),
  ...packed("PSUBQ", "FB", i64x2.sub, "sse2"),
  ...packed("PADDB", "FC", i8x16.add, "mmx"),
  ...packed("PADDW", "FD", i16x8.add, "mmx"),
  ...packed("PADDD", "FE", i32x4.add, "mmx"),
  ...shifts("PSRLW", "D1", "71", 2, 16, i16x8.shrU),
  ...shifts("PSRAW", "E1", "71", 4, 16, i16x8.shrS, true),
  ...shifts("PSLLW", "F1", "71", 6, 16, i16x8.shl),
  ...shifts("PSRLD", "D2", "72", 2, 32, i32x4.shrU),
  ...shifts("PSRAD", "E2", "72", 4, 32, i32x4.shrS, true),
  ...shifts("PSLLD", "F2", "72", 6, 32, i32x4.shl),
  ...shifts("PSRLQ", "D3", "73", 2, 64, i64x2.shrU),
  ...shifts("PSLLQ", "F3", "73", 6, 64, i64x2.shl),
  sse("PSRLDQ", "p66", ["0F 73 /3 Ux Ibu"], "sse2", shiftBytes(false), RW),
  sse("PSLLDQ", "p66", ["0F 73 /7 Ux Ibu"], "sse2", shiftBytes(true), RW),
  // SSSE3.
  ...packed("PHADDW", "38 01", horizontal(16, i16x8.add), "ssse3", "ssse3", "pair"),
  ...packed("PHADDD", "38 02", horizontal(32, i32x4.add), "ssse3", "ssse3", "pair"),
  ...packed("PHADDSW", "38 03", horizontal(16, i16x8.addSatS), "ssse3", "ssse3", "pair"),
  ...packed("PMADDUBSW", "38 04", multiplyAddBytes, "ssse3", "ssse3"),
  ...packed("PHSUBW", "38 05", horizontal(16, i16x8.sub), "ssse3", "ssse3", "pair"),
  ...packed("PHSUBD", "38 06", horizontal(32, i32x4.sub), "ssse3", "ssse3", "pair"),
  ...packed("PHSUBSW", "38 07", horizontal(16, i16x8.subSatS), "ssse3", "ssse3", "pair"),
  ...packed("PSIGNB", "38 08", sign(i8x16), "ssse3", "ssse3"),
  ...packed("PSIGNW", "38 09", sign(i16x8), "ssse3", "ssse3"),
  ...packed("PSIGND", "38 0A", sign(i32x4), "ssse3", "ssse3"),
  ...packed("PMULHRSW", "38 0B", multiplyRound, "ssse3", "ssse3"),
  ...packed("PABSB", "38 1C", absolute(i8x16.abs), "ssse3", "ssse3"),
  ...packed("PABSW", "38 1D", absolute(i16x8.abs), "ssse3", "ssse3"),
  ...packed("PABSD", "38 1E", absolute(i32x4.abs), "ssse3", "ssse3"),
  // SSE4.
  xmmOnly("PMULDQ", "38 28", (a, b) => i64x2.extmulLowS(evenDwords(a), evenDwords(b)), "sse4_1"),
  xmmOnly("PCMPEQQ", "38 29", i64x2.eq, "sse4_1"),
  xmmOnly("PACKUSDW", "38 2B", i16x8.narrowU, "sse4_1"),
  xmmOnly("PCMPGTQ", "38 37", i64x2.gtS, "sse4_2"),
  xmmOnly("PMINSB", "38 38", i8x16.minS, "sse4_1"),
  xmmOnly("PMINSD", "38 39", i32x4.minS, "sse4_1"),
  xmmOnly("PMINUW", "38 3A", i16x8.minU, "sse4_1"),
  xmmOnly("PMINUD", "38 3B", i32x4.minU, "sse4_1"),
  xmmOnly("PMAXSB", "38 3C", i8x16.maxS, "sse4_1"),
  xmmOnly("PMAXSD", "38 3D", i32x4.maxS, "sse4_1"),
  xmmOnly("PMAXUW", "38 3E", i16x8.maxU, "sse4_1"),
  xmmOnly("PMAXUD", "38 3F", i32x4.maxU, "sse4_1"),
  xmmOnly("PMULLD", "38 40", i32x4.mul, "sse4_1"),
  xmmOnly("PHMINPOSUW", "38 41", minimumPosition, "sse4_1"),
];
