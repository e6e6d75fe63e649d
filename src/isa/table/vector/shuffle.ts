/** Shuffles, blends, insertion and extraction of lanes, widening. SDM 2 under each name. */
import { constantOf, i32, i64, type Value } from "../../../wasm/expression.ts";
import { i8x16, i16x8, i32x4, i64x2, low64, v128, zeroExtended } from "../../../wasm/simd.ts";
import type { Builder, Operand } from "../../builder.ts";
import { explicitFlags, OSZAPC } from "../../flags.ts";
import type { Row, Semantics } from "../../row.ts";
import { mmx, sse } from "./rows.ts";

const RW = { dst: "rw" } as const;
const ZERO = v128.const(0n);
/** Bytes numbered from 0. */
const IOTA = v128.const(0x0f0e0d0c0b0a09080706050403020100n);

type LaneBits = 8 | 16 | 32 | 64;

/** A constant with a number of its own in each lane. */
function lanesOf(bits: LaneBits, value: (lane: number) => number): Value {
  let all = 0n;
  for (let lane = 0; lane < 128 / bits; lane++) all |= BigInt(value(lane)) << BigInt(lane * bits);
  return v128.const(all);
}

const SPLAT: Readonly<Record<8 | 16 | 32, (a: Value) => Value>> = {
  8: i8x16.splat,
  16: i16x8.splat,
  32: i32x4.splat,
};
const EQUAL: Readonly<Record<LaneBits, (a: Value, b: Value) => Value>> = {
  8: i8x16.eq,
  16: i16x8.eq,
  32: i32x4.eq,
  64: i64x2.eq,
};

function splat(bits: LaneBits, value: Value): Value {
  return bits === 64 ? i64x2.splat(i64.extendU(value)) : SPLAT[bits](value);
}

/** Ones in the lanes whose bit is set in `immediate`. */
function maskOfBits(bits: LaneBits, immediate: Value): Value {
  const known = constantOf(immediate);
  if (known !== undefined) {
    let mask = 0n;
    for (let lane = 0; lane < 128 / bits; lane++)
      if ((known >> lane) & 1) mask |= ((1n << BigInt(bits)) - 1n) << BigInt(lane * bits);
    return v128.const(mask);
  }
  const chosen = lanesOf(bits, (lane) => 1 << lane);
  return EQUAL[bits](v128.and(splat(bits, immediate), chosen), chosen);
}

/** Ones in the lane whose number is the low bits of `immediate`. */
function maskOfLane(bits: LaneBits, immediate: Value): Value {
  const lane = i32.and(immediate, 128 / bits - 1);
  return EQUAL[bits](
    splat(bits, lane),
    lanesOf(bits, (n) => n),
  );
}

/** Bytes from `first` on, an expression; zeros behind the last. */
function bytesFrom(m: Builder, a: Value, first: Value): Value {
  return i8x16.swizzle(a, i8x16.addSatU(IOTA, i8x16.splat(m.let(first))));
}

/**
 * Byte numbers that give lane i of `bits` bits the lane that bits 2i and 2i+1 of `immediate` name, plus `base`; lanes
 * from `count` on stay where they are.
 */
function selection(m: Builder, immediate: Value, bits: 16 | 32, base: number): Value {
  const bytes = bits / 8;
  let result: Value = IOTA;
  for (let i = 0; i < 4; i++) {
    const lane = i32.and(i32.shrU(immediate, i * 2), 3);
    const byte = i32.add(i32.mul(lane, bytes), base);
    if (bits === 32) result = i32x4.replace(result, i, i32.add(i32.mul(byte, 0x01010101), 0x03020100));
    else result = i16x8.replace(result, base / bytes + i, i32.add(i32.mul(byte, 0x0101), 0x0100));
  }
  return m.let(result);
}

/** Byte numbers for a shuffle by a known immediate. */
function knownSelection(immediate: number, bits: 16 | 32, base: number): number[] {
  const bytes = bits / 8;
  return Array.from({ length: 16 }, (_, i) => {
    const lane = Math.floor((i - base) / bytes);
    if (lane < 0 || lane > 3) return i;
    return base + ((immediate >> (lane * 2)) & 3) * bytes + (i % bytes);
  });
}

/** Lanes of `bits` bits chosen by the immediate, two bits each, among four that begin at byte `base`. */
function permute(m: Builder, a: Value, immediate: Value, bits: 16 | 32, base: number): Value {
  const known = constantOf(immediate);
  if (known !== undefined) return i8x16.shuffle(a, a, knownSelection(known, bits, base));
  return i8x16.swizzle(a, selection(m, immediate, bits, base));
}

const shuffleOne =
  (bits: 16 | 32, base: number): Semantics =>
  (m, dst, src, immediate) => {
    const a = m.let(src!.read());
    dst!.write(permute(m, a, immediate!.read(), bits, base));
  };

const LOW_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];

const shuffleSingles: Semantics = (m, dst, src, immediate) => {
  const b = m.let(src!.read());
  const a = m.let(dst!.read());
  const by = immediate!.read();
  const upper = m.let(i32.shrU(by, 4));
  const low = permute(m, a, by, 32, 0);
  const high = permute(m, b, constantOf(by) === undefined ? upper : i32.shrU(by, 4), 32, 0);
  dst!.write(i8x16.shuffle(low, high, LOW_HALVES));
};

const shuffleDoubles: Semantics = (m, dst, src, immediate) => {
  const b = m.let(src!.read());
  const a = m.let(dst!.read());
  const by = immediate!.read();
  const half = (vector: Value, bit: number): Value =>
    i64.select(i32.and(by, bit), i64x2.extract(vector, 1), i64x2.extract(vector, 0));
  dst!.write(i64x2.replace(i64x2.splat(half(a, 1)), 1, half(b, 2)));
};

const interleaved =
  (lanes: readonly number[]): Semantics =>
  (m, dst, src) => {
    const b = m.let(src!.read());
    dst!.write(i8x16.shuffle(dst!.read(), b, lanes));
  };
const UNPACK = {
  lowSingles: [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23],
  highSingles: [8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31],
  lowDoubles: LOW_HALVES,
  highDoubles: [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31],
} as const;

// ---- byte shuffles ------------------------------------------------------------------------------------------------------

/** PSHUFB picks by the low four bits, and zero where bit 7 is set: swizzle's picks for numbers of 16 and more. */
const shuffleBytes: Semantics = (m, dst, src) => {
  const by = m.let(src!.read());
  dst!.write(i8x16.swizzle(dst!.read(), v128.and(by, v128.all(8, 0x8fn))));
};
const shuffleBytesMmx: Semantics = (m, dst, src) => {
  const by = m.let(low64(src!.read()));
  const bytes = i8x16.swizzle(low64(dst!.read()), v128.and(by, v128.all(8, 0x87n)));
  dst!.write(i64x2.extract(bytes, 0));
};

/** PALIGNR: the pair dst:src shifted right by bytes. */
const align: Semantics = (m, dst, src, immediate) => {
  const b = m.let(src!.read());
  const a = m.let(dst!.read());
  const by = immediate!.read();
  const known = constantOf(by);
  if (known !== undefined && known <= 16) {
    dst!.write(
      i8x16.shuffle(
        b,
        a,
        Array.from({ length: 16 }, (_, i) => i + known),
      ),
    );
    return;
  }
  const upper = i8x16.add(IOTA, i8x16.splat(m.let(i32.sub(by, 16))));
  dst!.write(v128.or(bytesFrom(m, b, by), i8x16.swizzle(a, upper)));
};
const alignMmx: Semantics = (m, dst, src, immediate) => {
  const b = m.let(src!.read());
  const pair = m.let(i64x2.replace(i64x2.splat(b), 1, dst!.read()));
  dst!.write(i64x2.extract(bytesFrom(m, pair, immediate!.read()), 0));
};

// ---- blends -------------------------------------------------------------------------------------------------------------

const blend =
  (bits: LaneBits): Semantics =>
  (m, dst, src, immediate) => {
    const b = m.let(src!.read());
    dst!.write(v128.bitselect(b, dst!.read(), maskOfBits(bits, immediate!.read())));
  };

/** By the sign bits of XMM0's lanes. */
const blendVariable =
  (signs: (mask: Value) => Value): Semantics =>
  (m, dst, src) => {
    const b = m.let(src!.read());
    dst!.write(v128.bitselect(b, dst!.read(), signs(m.xmm(0).get())));
  };

// ---- insertion and extraction -------------------------------------------------------------------------------------------

const extract =
  (bits: LaneBits, read: (a: Value, lane: number) => Value): Semantics =>
  (m, dst, src, immediate) => {
    const lane = immediate!.read();
    const known = constantOf(lane);
    const lanes = 128 / bits;
    if (known !== undefined) {
      dst!.write(m.let(read(src!.vector!.get(), known & (lanes - 1))));
      return;
    }
    const first = i32.mul(i32.and(lane, lanes - 1), bits / 8);
    dst!.write(m.let(read(bytesFrom(m, src!.vector!.get(), first), 0)));
  };

const insert =
  (bits: 8 | 16 | 32, replace: (a: Value, lane: number, b: Value) => Value): Semantics =>
  (m, dst, src, immediate) => {
    const value = m.let(src!.read());
    const lane = immediate!.read();
    const known = constantOf(lane);
    if (known !== undefined) {
      dst!.write(replace(dst!.read(), known & (128 / bits - 1), value));
      return;
    }
    dst!.write(v128.bitselect(splat(bits, value), dst!.read(), maskOfLane(bits, lane)));
  };

const extractWordMmx: Semantics = (_m, dst, src, immediate) => {
  const shift = i64.extendU(i32.shl(i32.and(immediate!.read(), 3), 4));
  dst!.write(i32.and(i32.wrap(i64.shrU(src!.read(), shift)), 0xffff));
};
const insertWordMmx: Semantics = (m, dst, src, immediate) => {
  const value = m.let(i64.extendU(i32.and(src!.read(), 0xffff)));
  const shift = m.let(i64.extendU(i32.shl(i32.and(immediate!.read(), 3), 4)));
  const kept = i64.and(dst!.read(), i64.xor(i64.shl(0xffffn, shift), -1n));
  dst!.write(i64.or(kept, i64.shl(value, shift)));
};

/** A lane of the source register, or the dword in memory, into a lane of the destination; others may be cleared. */
const insertSingle: Semantics = (m, dst, src, immediate) => {
  const memory = src!.memory ? m.let(src!.read()) : undefined;
  const by = immediate!.read();
  const lane = i32.shl(i32.shrU(by, 6), 2);
  const value = memory ?? i32x4.extract(bytesFrom(m, src!.vector!.get(), lane), 0);
  const placed = v128.bitselect(i32x4.splat(m.let(value)), dst!.read(), maskOfLane(32, i32.shrU(by, 4)));
  dst!.write(v128.andnot(placed, maskOfBits(32, m.let(i32.and(by, 15)))));
};

// ---- widening -----------------------------------------------------------------------------------------------------------

/** PMOVSX and PMOVZX: the steps from the low lanes to wider ones. */
const widen =
  (...steps: readonly ((a: Value) => Value)[]): Semantics =>
  (_m, dst, src) => {
    let value = zeroExtended(src!.read());
    for (const step of steps) value = step(value);
    dst!.write(value);
  };

const WIDEN: readonly [name: string, opcode: number, source: string, (signed: boolean) => Semantics][] = [
  ["BW", 0, "Wq", (s) => widen(s ? i16x8.extendLowS : i16x8.extendLowU)],
  ["BD", 1, "Wd", (s) => (s ? widen(i16x8.extendLowS, i32x4.extendLowS) : widen(i16x8.extendLowU, i32x4.extendLowU))],
  [
    "BQ",
    2,
    "Ww",
    (s) =>
      s
        ? widen(i16x8.extendLowS, i32x4.extendLowS, i64x2.extendLowS)
        : widen(i16x8.extendLowU, i32x4.extendLowU, i64x2.extendLowU),
  ],
  ["WD", 3, "Wq", (s) => widen(s ? i32x4.extendLowS : i32x4.extendLowU)],
  ["WQ", 4, "Wd", (s) => (s ? widen(i32x4.extendLowS, i64x2.extendLowS) : widen(i32x4.extendLowU, i64x2.extendLowU))],
  ["DQ", 5, "Wq", (s) => widen(s ? i64x2.extendLowS : i64x2.extendLowU)],
];

// ---- MPSADBW, PTEST -------------------------------------------------------------------------------------------------------

/** Sums of absolute differences of four bytes of the source with every four bytes of eleven of the destination. */
const multipleSums: Semantics = (m, dst, src, immediate) => {
  const b = m.let(src!.read());
  const by = immediate!.read();
  const window = m.let(bytesFrom(m, dst!.read(), i32.and(by, 4)));
  const quad = m.let(bytesFrom(m, b, i32.shl(i32.and(by, 3), 2)));
  let sum: Value = ZERO;
  for (let i = 0; i < 4; i++) {
    const x = i8x16.shuffle(
      window,
      window,
      Array.from({ length: 16 }, (_, n) => (n + i) % 16),
    );
    const y = i8x16.splat(i8x16.extractU(quad, i));
    const difference = m.let(v128.or(i8x16.subSatU(x, y), i8x16.subSatU(y, x)));
    sum = i16x8.add(sum, i16x8.extendLowU(difference));
  }
  dst!.write(sum);
};

const test: Semantics = (m, dst, src) => {
  const b = m.let(src!.read());
  const a = m.let(dst!.read());
  const zf = m.let(i32.eqz(v128.anyTrue(v128.and(a, b))));
  const cf = m.let(i32.eqz(v128.anyTrue(v128.andnot(b, a))));
  const { result, carry } = explicitFlags(zf, cf, 0);
  m.setFlags(result, carry);
};

const byteMask = (_m: Builder, dst: Operand, src: Operand): void => dst.write(i8x16.bitmask(src.read()));
const byteMaskMmx = (_m: Builder, dst: Operand, src: Operand): void => dst.write(i8x16.bitmask(low64(src.read())));

const blendSigns = {
  bytes: (mask: Value): Value => i8x16.shrS(mask, 7),
  singles: (mask: Value): Value => i32x4.shrS(mask, 31),
  doubles: (mask: Value): Value => i64x2.shrS(mask, 63),
} as const;

export const VECTOR_SHUFFLE: readonly Row[] = [
  sse("UNPCKLPS", "np", ["0F 14 /r Vx Wx"], "sse", interleaved(UNPACK.lowSingles), RW),
  sse("UNPCKLPD", "p66", ["0F 14 /r Vx Wx"], "sse2", interleaved(UNPACK.lowDoubles), RW),
  sse("UNPCKHPS", "np", ["0F 15 /r Vx Wx"], "sse", interleaved(UNPACK.highSingles), RW),
  sse("UNPCKHPD", "p66", ["0F 15 /r Vx Wx"], "sse2", interleaved(UNPACK.highDoubles), RW),
  sse("SHUFPS", "np", ["0F C6 /r Vx Wx Ibu"], "sse", shuffleSingles, RW),
  sse("SHUFPD", "p66", ["0F C6 /r Vx Wx Ibu"], "sse2", shuffleDoubles, RW),
  mmx("PSHUFW", ["0F 70 /r Pq Qq Ibu"], "sse", (m, dst, src, immediate) => {
    const a = m.let(low64(src!.read()));
    dst!.write(i64x2.extract(permute(m, a, immediate!.read(), 16, 0), 0));
  }),
  sse("PSHUFD", "p66", ["0F 70 /r Vx Wx Ibu"], "sse2", shuffleOne(32, 0)),
  sse("PSHUFHW", "f3", ["0F 70 /r Vx Wx Ibu"], "sse2", shuffleOne(16, 8)),
  sse("PSHUFLW", "f2", ["0F 70 /r Vx Wx Ibu"], "sse2", shuffleOne(16, 0)),
  mmx("PSHUFB", ["0F 38 00 /r Pq Qq"], "ssse3", shuffleBytesMmx, RW),
  sse("PSHUFB", "p66", ["0F 38 00 /r Vx Wx"], "ssse3", shuffleBytes, RW),
  mmx("PALIGNR", ["0F 3A 0F /r Pq Qq Ibu"], "ssse3", alignMmx, RW),
  sse("PALIGNR", "p66", ["0F 3A 0F /r Vx Wx Ibu"], "ssse3", align, RW),
  sse("BLENDPS", "p66", ["0F 3A 0C /r Vx Wx Ibu"], "sse4_1", blend(32), RW),
  sse("BLENDPD", "p66", ["0F 3A 0D /r Vx Wx Ibu"], "sse4_1", blend(64), RW),
  sse("PBLENDW", "p66", ["0F 3A 0E /r Vx Wx Ibu"], "sse4_1", blend(16), RW),
  sse("PBLENDVB", "p66", ["0F 38 10 /r Vx Wx"], "sse4_1", blendVariable(blendSigns.bytes), RW),
  sse("BLENDVPS", "p66", ["0F 38 14 /r Vx Wx"], "sse4_1", blendVariable(blendSigns.singles), RW),
  sse("BLENDVPD", "p66", ["0F 38 15 /r Vx Wx"], "sse4_1", blendVariable(blendSigns.doubles), RW),
  mmx("PINSRW", ["0F C4 /r reg Pq Rd Ibu", "0F C4 /r Pq Mw Ibu"], "sse", insertWordMmx, RW),
  sse("PINSRW", "p66", ["0F C4 /r reg Vx Rd Ibu", "0F C4 /r Vx Mw Ibu"], "sse2", insert(16, i16x8.replace), RW),
  mmx("PEXTRW", ["0F C5 /r Gd Nq Ibu"], "sse", extractWordMmx),
  sse("PEXTRW", "p66", ["0F C5 /r Gd Ux Ibu"], "sse2", extract(16, i16x8.extractU)),
  sse("PEXTRB", "p66", ["0F 3A 14 /r reg Rd Vx Ibu", "0F 3A 14 /r Mb Vx Ibu"], "sse4_1", extract(8, i8x16.extractU)),
  sse("PEXTRW", "p66", ["0F 3A 15 /r reg Rd Vx Ibu", "0F 3A 15 /r Mw Vx Ibu"], "sse4_1", extract(16, i16x8.extractU)),
  sse("PEXTRD", "p66", ["0F 3A 16 /r Ed Vx Ibu"], "sse4_1", extract(32, i32x4.extract)),
  sse("EXTRACTPS", "p66", ["0F 3A 17 /r Ed Vx Ibu"], "sse4_1", extract(32, i32x4.extract)),
  sse("PINSRB", "p66", ["0F 3A 20 /r reg Vx Rd Ibu", "0F 3A 20 /r Vx Mb Ibu"], "sse4_1", insert(8, i8x16.replace), RW),
  sse("INSERTPS", "p66", ["0F 3A 21 /r Vx Wd Ibu"], "sse4_1", insertSingle, RW),
  sse("PINSRD", "p66", ["0F 3A 22 /r Vx Ed Ibu"], "sse4_1", insert(32, i32x4.replace), RW),
  sse("MPSADBW", "p66", ["0F 3A 42 /r Vx Wx Ibu"], "sse4_1", multipleSums, RW),
  mmx("PMOVMSKB", ["0F D7 /r Gd Nq"], "sse", (m, dst, src) => byteMaskMmx(m, dst!, src!)),
  sse("PMOVMSKB", "p66", ["0F D7 /r Gd Ux"], "sse2", (m, dst, src) => byteMask(m, dst!, src!)),
  sse("PTEST", "p66", ["0F 38 17 /r Vx Wx"], "sse4_1", test, { dst: "r", writes: OSZAPC }),
  ...WIDEN.flatMap(([name, offset, source, semantics]) =>
    [true, false].map((signed) =>
      sse(
        `PMOV${signed ? "S" : "Z"}X${name}`,
        "p66",
        [`0F 38 ${signed ? 2 : 3}${offset} /r Vx ${source}`],
        "sse4_1",
        semantics(signed),
      ),
    ),
  ),
];
