/** Conversions between integers, singles and doubles, and rounding. SDM 1 11.4.4, 12.8.4.2; SDM 2 under each name. */
import { constantOf, f32, f64, i32, i64, type Value } from "../../../wasm/expression.ts";
import { f32x4, f64x2, i32x4, i64x2, low64, v128, zeroExtended } from "../../../wasm/simd.ts";
import type { Builder, Operand } from "../../builder.ts";
import type { Row, Semantics } from "../../row.ts";
import { DOUBLE, DOUBLES, SINGLE, SINGLES } from "../../vector/checks.ts";
import type { RuntimeName } from "../../vector/runtime.ts";
import { exact, low32, readFloat, usually, writeFloat } from "./lanes.ts";
import { mixed, type Prefix, sse } from "./rows.ts";

type Unary = (a: Value) => Value;

/** 2^31 as single and as double bits: integers lie below. */
const TWO_31_SINGLE = 0x4f00_0000;
const TWO_31_DOUBLE = 0x41e0_0000_0000_0000n;
/** Integers of this magnitude are exact as singles. */
const EXACT_SINGLE = 1 << 24;

const low64of: Unary = (a) => i64x2.extract(a, 0);

// ---- scalar to and from general registers -----------------------------------------------------------------------------

const integerToDouble: Semantics = (m, dst, src) => {
  writeFloat(DOUBLE, dst!, f64.fromI32S(src!.read()));
  m.noteOrdinary(dst!);
};

const integerToSingle: Semantics = (m, dst, src) => {
  const integer = m.let(src!.read());
  const small = i32.ltU(i32.add(integer, EXACT_SINGLE), 2 * EXACT_SINGLE);
  usually(
    m,
    i32.or(small, m.simdDefault()),
    () => writeFloat(SINGLE, dst!, f32.fromI32S(integer)),
    () => dst!.write(low32(exact(m, "singleFromInteger", zeroExtended(integer), undefined, 1))),
  );
};

/** `fast` where `allowed`, else `slow`; the register is written once, at the end. */
function writeInteger(m: Builder, dst: Operand, allowed: Value, fast: () => Value, slow: () => Value): void {
  const result = m.f.temporary("i32");
  usually(
    m,
    allowed,
    () => m.f.set(result, fast()),
    () => m.f.set(result, slow()),
  );
  dst.write(result.get);
}

const singleToInteger =
  (truncate: boolean): Semantics =>
  (m, dst, src) => {
    const single = m.let(readFloat(SINGLE, src!));
    const value = m.let(truncate ? single : f32.nearest(single));
    const fits = f32.lt(f32.abs(value), f32.reinterpret(TWO_31_SINGLE));
    const slow = (): Value => low32(exact(m, "integerF32", zeroExtended(single), undefined, 1, truncate ? 1 : 0));
    writeInteger(m, dst!, i32.and(fits, m.simdDefault()), () => f32.toI32S(value), slow);
  };

const doubleToInteger =
  (truncate: boolean): Semantics =>
  (m, dst, src) => {
    const double = m.let(readFloat(DOUBLE, src!));
    const value = m.let(truncate ? double : f64.nearest(double));
    const fits = f64.lt(f64.abs(value), f64.reinterpret(TWO_31_DOUBLE));
    const slow = (): Value => low32(exact(m, "integerF64", zeroExtended(double), undefined, 1, truncate ? 1 : 0));
    writeInteger(m, dst!, i32.and(fits, m.simdDefault()), () => f64.toI32S(value), slow);
  };

// ---- scalar between formats -------------------------------------------------------------------------------------------

const singleToDouble: Semantics = (m, dst, src) => {
  const single = m.let(readFloat(SINGLE, src!));
  usually(
    m,
    SINGLE.isNumber(m.let(f32.bits(single))),
    () => writeFloat(DOUBLE, dst!, f64.promote(single)),
    () => dst!.write(low64of(exact(m, "doubleFromSingle", zeroExtended(single), undefined, 1))),
  );
  m.noteOrdinary(dst!);
};

const doubleToSingle: Semantics = (m, dst, src) => {
  const double = m.let(readFloat(DOUBLE, src!));
  const single = m.let(f32.demote(double));
  const normal = SINGLE.isNormal(f32.bits(single));
  usually(
    m,
    i32.and(i32.or(normal, DOUBLE.isZero(i64.reinterpret(double))), m.simdDefault()),
    () => writeFloat(SINGLE, dst!, single),
    () => dst!.write(low32(exact(m, "singleFromDouble", zeroExtended(double), undefined, 1))),
  );
};

// ---- packed -----------------------------------------------------------------------------------------------------------

/** A vector operand, or the 64 bits of an MMX register or memory in the low half of one. */
function vectorOf(m: Builder, source: Operand): Value {
  const value = source.read();
  return m.let(value.type === "i64" ? low64(value) : value);
}

/** Write a vector, or its low half where the destination has 64 bits. */
function writeVector(dst: Operand, value: Value): void {
  dst.write(dst.bits === 64 ? low64of(value) : value);
}

/** `fast` where `allowed`, else the exact function; `finish` arranges either's lanes. */
function either(m: Builder, dst: Operand, allowed: Value, fast: () => Value, slow: () => Value): void {
  usually(
    m,
    allowed,
    () => writeVector(dst, fast()),
    () => writeVector(dst, slow()),
  );
}

const packedIntegerToDouble: Semantics = (m, dst, src) => dst!.write(f64x2.convertLowI32x4S(vectorOf(m, src!)));

const packedIntegerToSingle =
  (lanes: number): Semantics =>
  (m, dst, src) => {
    const a = vectorOf(m, src!);
    const slow = (): Value => exact(m, "singleFromInteger", a, undefined, lanes);
    either(m, dst!, m.simdDefault(), () => f32x4.convertI32x4S(a), slow);
  };

const packedSingleToInteger =
  (lanes: number, truncate: boolean): Semantics =>
  (m, dst, src) => {
    const a = vectorOf(m, src!);
    const value = m.let(truncate ? a : f32x4.nearest(a));
    const fits = f32x4.lt(f32x4.abs(value), v128.all(32, BigInt(TWO_31_SINGLE)));
    const slow = (): Value => exact(m, "integerF32", a, undefined, lanes, truncate ? 1 : 0);
    either(m, dst!, i32.and(SINGLES.all(fits), m.simdDefault()), () => i32x4.truncSatF32x4S(value), slow);
  };

/** The upper half of the result is zero. */
const clearHigh: Unary = (a) => i64x2.replace(a, 1, i64.const(0n));

const packedDoubleToInteger =
  (truncate: boolean): Semantics =>
  (m, dst, src) => {
    const a = m.let(src!.read());
    const value = m.let(truncate ? a : f64x2.nearest(a));
    const fits = f64x2.lt(f64x2.abs(value), v128.all(64, TWO_31_DOUBLE));
    const slow = (): Value => clearHigh(exact(m, "integerF64", a, undefined, 2, truncate ? 1 : 0));
    either(m, dst!, i32.and(DOUBLES.all(fits), m.simdDefault()), () => i32x4.truncSatF64x2SZero(value), slow);
  };

const packedSingleToDouble: Semantics = (m, dst, src) => {
  const a = vectorOf(m, src!);
  const slow = (): Value => exact(m, "doubleFromSingle", a, undefined, 2);
  const value = m.let(low64(low64of(a)));
  either(m, dst!, SINGLES.all(SINGLES.isNumber(value)), () => f64x2.promoteLowF32x4(a), slow);
};

/** Doubles between these, as magnitudes, are normal singles. */
const SINGLE_RANGE = { above: v128.all(64, 0x3820_0000_0000_0000n), below: v128.all(64, 0x47e0_0000_0000_0000n) };

const packedDoubleToSingle: Semantics = (m, dst, src) => {
  const a = m.let(src!.read());
  const size = m.let(f64x2.abs(a));
  const inside = v128.and(f64x2.gt(size, SINGLE_RANGE.above), f64x2.lt(size, SINGLE_RANGE.below));
  const slow = (): Value => clearHigh(exact(m, "singleFromDouble", a, undefined, 2));
  const plain = DOUBLES.all(v128.or(inside, DOUBLES.isZero(a)));
  either(m, dst!, i32.and(plain, m.simdDefault()), () => f32x4.demoteF64x2Zero(a), slow);
};

// ---- ROUNDxx ----------------------------------------------------------------------------------------------------------

/** Rounding modes whose immediates name them and suppress PE, in the order of RC. */
const SILENT_NEAREST = 8;

const round =
  (runtime: RuntimeName, doubles: boolean, scalar: boolean): Semantics =>
  (m, dst, src, immediate) => {
    const b = m.let(scalar ? zeroExtended(src!.read()) : src!.read());
    const lanes = scalar ? 1 : doubles ? 2 : 4;
    const mode = immediate!.read();
    const known = constantOf(mode);
    const write = (value: Value): void => {
      dst!.write(scalar ? (doubles ? low64of(value) : low32(value)) : value);
    };
    const ops = doubles ? f64x2 : f32x4;
    const tests = doubles ? DOUBLES : SINGLES;
    const slow = (): void => write(exact(m, runtime, b, undefined, lanes, mode));
    if (known === undefined || (known & ~3) !== SILENT_NEAREST) {
      slow();
      return;
    }
    const operation = [ops.nearest, ops.floor, ops.ceil, ops.trunc][known & 3]!;
    usually(m, tests.all(tests.isNumber(b)), () => write(operation(b)), slow);
  };

const conversion = (name: string, prefix: Prefix, encoding: string, feature: string, semantics: Semantics): Row =>
  sse(name, prefix, [encoding], feature, semantics);

/** Between XMM and MMX registers. */
const withMmx = (name: string, prefix: Prefix, encoding: string, feature: string, semantics: Semantics): Row =>
  mixed(name, prefix, [encoding], feature, semantics);

export const VECTOR_CONVERT: readonly Row[] = [
  withMmx("CVTPI2PS", "np", "0F 2A /r Vq Nq", "sse", packedIntegerToSingle(2)),
  withMmx("CVTPI2PD", "p66", "0F 2A /r Vx Nq", "sse2", packedIntegerToDouble),
  // Memory is not MMX: no x87 state changes (SDM 2 CVTPI2PD; of CVTPI2PS it says otherwise, but processors do not).
  conversion("CVTPI2PS", "np", "0F 2A /r Vq Mq", "sse", packedIntegerToSingle(2)),
  conversion("CVTPI2PD", "p66", "0F 2A /r Vx Mq", "sse2", packedIntegerToDouble),
  conversion("CVTSI2SS", "f3", "0F 2A /r Vd Ed", "sse", integerToSingle),
  conversion("CVTSI2SD", "f2", "0F 2A /r Vq Ed", "sse2", integerToDouble),
  withMmx("CVTTPS2PI", "np", "0F 2C /r Pq Wq", "sse", packedSingleToInteger(2, true)),
  withMmx("CVTTPD2PI", "p66", "0F 2C /r Pq Wx", "sse2", packedDoubleToInteger(true)),
  conversion("CVTTSS2SI", "f3", "0F 2C /r Gd Wd", "sse", singleToInteger(true)),
  conversion("CVTTSD2SI", "f2", "0F 2C /r Gd Wq", "sse2", doubleToInteger(true)),
  withMmx("CVTPS2PI", "np", "0F 2D /r Pq Wq", "sse", packedSingleToInteger(2, false)),
  withMmx("CVTPD2PI", "p66", "0F 2D /r Pq Wx", "sse2", packedDoubleToInteger(false)),
  conversion("CVTSS2SI", "f3", "0F 2D /r Gd Wd", "sse", singleToInteger(false)),
  conversion("CVTSD2SI", "f2", "0F 2D /r Gd Wq", "sse2", doubleToInteger(false)),
  conversion("CVTPS2PD", "np", "0F 5A /r Vx Wq", "sse2", packedSingleToDouble),
  conversion("CVTPD2PS", "p66", "0F 5A /r Vx Wx", "sse2", packedDoubleToSingle),
  conversion("CVTSS2SD", "f3", "0F 5A /r Vq Wd", "sse2", singleToDouble),
  conversion("CVTSD2SS", "f2", "0F 5A /r Vd Wq", "sse2", doubleToSingle),
  conversion("CVTDQ2PS", "np", "0F 5B /r Vx Wx", "sse2", packedIntegerToSingle(4)),
  conversion("CVTPS2DQ", "p66", "0F 5B /r Vx Wx", "sse2", packedSingleToInteger(4, false)),
  conversion("CVTTPS2DQ", "f3", "0F 5B /r Vx Wx", "sse2", packedSingleToInteger(4, true)),
  conversion("CVTTPD2DQ", "p66", "0F E6 /r Vx Wx", "sse2", packedDoubleToInteger(true)),
  conversion("CVTDQ2PD", "f3", "0F E6 /r Vx Wq", "sse2", packedIntegerToDouble),
  conversion("CVTPD2DQ", "f2", "0F E6 /r Vx Wx", "sse2", packedDoubleToInteger(false)),
  conversion("ROUNDPS", "p66", "0F 3A 08 /r Vx Wx Ibu", "sse4_1", round("roundF32", false, false)),
  conversion("ROUNDPD", "p66", "0F 3A 09 /r Vx Wx Ibu", "sse4_1", round("roundF64", true, false)),
  conversion("ROUNDSS", "p66", "0F 3A 0A /r Vd Wd Ibu", "sse4_1", round("roundF32", false, true)),
  conversion("ROUNDSD", "p66", "0F 3A 0B /r Vq Wq Ibu", "sse4_1", round("roundF64", true, true)),
];
