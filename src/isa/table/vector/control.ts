/** MXCSR, state images, cache control, string comparison, dot products, and the odd ones that came with SSE. */
import { call, i32, type Value } from "../../../wasm/expression.ts";
import { i8x16, i16x8, v128 } from "../../../wasm/simd.ts";
import type { Builder } from "../../builder.ts";
import { explicitFlags, OSZAPC } from "../../flags.ts";
import { type Row, row, type Semantics } from "../../row.ts";
import { VECTOR_GATE } from "../../state.ts";
import { MMX_STATE, MXCSR_VALID } from "../../vector/constants.ts";
import type { RuntimeName } from "../../vector/runtime.ts";
import { SHORT, STRING } from "../../vector/strings.ts";
import { EXCEPTION, exact } from "./lanes.ts";
import { enterMmx, sse } from "./rows.ts";

const loadMxcsr: Semantics = (m, src) => {
  const value = m.let(src!.read());
  m.f.if(i32.and(value, ~MXCSR_VALID), () => m.raise(EXCEPTION.GP));
  m.setField("mxcsr", value);
};

const nothing: Semantics = () => {};

/** Hints and fences: memory is ordered already. A prefetch never faults; CLFLUSH does as a read of a byte would. */
const CACHE: readonly Row[] = [
  row("PREFETCHNTA", ["0F 18 /0 Mb"], { size: "d", dst: "r", feature: "sse" }, nothing),
  row("PREFETCHT0", ["0F 18 /1 Mb"], { size: "d", dst: "r", feature: "sse" }, nothing),
  row("PREFETCHT1", ["0F 18 /2 Mb"], { size: "d", dst: "r", feature: "sse" }, nothing),
  row("PREFETCHT2", ["0F 18 /3 Mb"], { size: "d", dst: "r", feature: "sse" }, nothing),
  row("LFENCE", ["0F AE /5 reg"], { size: "d", prefix: 0, feature: "sse2" }, nothing),
  row("MFENCE", ["0F AE /6 reg"], { size: "d", prefix: 0, feature: "sse2" }, nothing),
  row("SFENCE", ["0F AE /7 reg"], { size: "d", prefix: 0, feature: "sse" }, nothing),
  row("CLFLUSH", ["0F AE /7 Mb"], { size: "d", dst: "r", prefix: 0, feature: "clfsh" }, (_m, src) => {
    src!.read();
  }),
  row("MOVNTI", ["0F C3 /r Md Gd"], { size: "d", dst: "w", prefix: 0, feature: "sse2" }, (_m, dst, src) =>
    dst!.write(src!.read()),
  ),
];

// ---- string comparison --------------------------------------------------------------------------------------------------

/** IntRes2 with SHORT. */
function compare(m: Builder, a: Value, b: Value, immediate: Value, explicit: boolean): Value {
  const lengths = explicit ? [m.register(0, 32).read(), m.register(2, 32).read()] : [0, 0];
  return m.let(call(m.runtime("compareStrings"), m.state, a, b, ...lengths, explicit ? 1 : 0, immediate));
}

/** CF if any bit is set, ZF and SF by the lengths, OF the lowest bit. */
function stringFlags(m: Builder, found: Value): void {
  const bits = m.let(i32.and(found, 0xffff));
  const cf = m.let(i32.ne(bits, 0));
  const of = i32.and(bits, 1);
  const zf = i32.ne(i32.and(found, SHORT.second), 0);
  const sf = i32.ne(i32.and(found, SHORT.first), 0);
  const { result, carry } = explicitFlags(m.let(zf), cf, 0, of, sf);
  m.setFlags(result, carry);
}

const toIndex =
  (explicit: boolean): Semantics =>
  (m, dst, src, immediate) => {
    const b = m.let(src!.read());
    const by = immediate!.read();
    const found = compare(m, m.let(dst!.read()), b, by, explicit);
    const bits = m.let(i32.and(found, 0xffff));
    const count = i32.shrU(16, i32.and(by, STRING.words));
    const first = i32.ctz(bits);
    const last = i32.sub(31, i32.clz(bits));
    const index = m.let(i32.select(i32.and(by, STRING.last), last, first));
    m.register(1, 32).write(i32.select(bits, index, count));
    stringFlags(m, found);
  };

const BYTE_BITS = v128.const(0x80402010_08040201_80402010_08040201n);
const WORD_BITS = v128.const(0x0080_0040_0020_0010_0008_0004_0002_0001n);
/** Bytes 0–7 of the mask test the low byte of the bits, 8–15 the high one. */
const BYTE_OF_BITS = v128.const(0x01010101_01010101_00000000_00000000n);

const toMask =
  (explicit: boolean): Semantics =>
  (m, dst, src, immediate) => {
    const b = m.let(src!.read());
    const by = immediate!.read();
    const found = compare(m, m.let(dst!.read()), b, by, explicit);
    const bits = m.let(v128.fromI32(i32.and(found, 0xffff)));
    const bytes = i8x16.eq(v128.and(i8x16.swizzle(bits, BYTE_OF_BITS), BYTE_BITS), BYTE_BITS);
    const words = i16x8.eq(v128.and(i16x8.splat(found), WORD_BITS), WORD_BITS);
    const wide = v128.select(i32.and(by, STRING.words), words, bytes);
    m.xmm(0).set(v128.select(i32.and(by, STRING.last), wide, bits));
    stringFlags(m, found);
  };

const STRING_TRAITS = { dst: "r", writes: OSZAPC, unaligned: true } as const;

// ---- dot products ---------------------------------------------------------------------------------------------------------

const dotProduct =
  (runtime: RuntimeName): Semantics =>
  (m, dst, src, immediate) => {
    const b = m.let(src!.read());
    const a = m.let(dst!.read());
    dst!.write(exact(m, runtime, a, b, immediate!.read()));
  };

// ---- general registers ----------------------------------------------------------------------------------------------------

const byteReverse = (value: Value, bits: number): Value =>
  bits === 16
    ? i32.or(i32.and(i32.shl(value, 8), 0xff00), i32.shrU(value, 8))
    : i32.or(i32.and(i32.rotl(value, 8), 0x00ff00ff), i32.and(i32.rotr(value, 8), 0xff00ff00 | 0));

export const VECTOR_CONTROL: readonly Row[] = [
  row("FXSAVE", ["0F AE /0 M"], { size: "n", dst: "w", prefix: 0, feature: "fxsr", helper: "fxsave" }),
  row("FXRSTOR", ["0F AE /1 M"], { size: "n", dst: "r", prefix: 0, feature: "fxsr", helper: "fxrstor" }),
  sse("LDMXCSR", "np", ["0F AE /2 Md"], "sse", loadMxcsr, { dst: "r" }),
  sse("STMXCSR", "np", ["0F AE /3 Md"], "sse", (m, dst) => dst!.write(m.let(m.field("mxcsr")))),
  ...CACHE,
  row("EMMS", ["0F 77"], { size: "n", prefix: 0, feature: "mmx" }, (m) => {
    m.vectorAvailable("mmx");
    enterMmx(m, MMX_STATE.empty);
  }),
  row("MASKMOVQ", ["0F F7 /r Pq Nq"], {
    size: "n",
    dst: "r",
    prefix: 0,
    feature: "sse",
    helper: "maskMove",
    argument: VECTOR_GATE.mmx,
  }),
  row("MASKMOVDQU", ["0F F7 /r Vx Ux"], {
    size: "n",
    dst: "r",
    prefix: 0x66,
    feature: "sse2",
    helper: "maskMove",
    argument: VECTOR_GATE.sse,
  }),
  sse("DPPS", "p66", ["0F 3A 40 /r Vx Wx Ibu"], "sse4_1", dotProduct("dotF32"), { dst: "rw" }),
  sse("DPPD", "p66", ["0F 3A 41 /r Vx Wx Ibu"], "sse4_1", dotProduct("dotF64"), { dst: "rw" }),
  sse("PCMPESTRM", "p66", ["0F 3A 60 /r Vx Wx Ibu"], "sse4_2", toMask(true), STRING_TRAITS),
  sse("PCMPESTRI", "p66", ["0F 3A 61 /r Vx Wx Ibu"], "sse4_2", toIndex(true), STRING_TRAITS),
  sse("PCMPISTRM", "p66", ["0F 3A 62 /r Vx Wx Ibu"], "sse4_2", toMask(false), STRING_TRAITS),
  sse("PCMPISTRI", "p66", ["0F 3A 63 /r Vx Wx Ibu"], "sse4_2", toIndex(false), STRING_TRAITS),
  row("POPCNT", ["0F B8 /r Gv Ev"], { dst: "w", prefix: 0xf3, feature: "popcnt", writes: OSZAPC }, (m, dst, src) => {
    const value = m.let(src!.read());
    dst!.write(i32.popcnt(value));
    const { result, carry } = explicitFlags(i32.eqz(value), 0, 0);
    m.setFlags(result, carry);
  }),
  row("CRC32", ["0F 38 F0 /r Gd Eb", "0F 38 F1 /r Gd Ev"], { prefix: 0xf2, feature: "sse4_2" }, (m, dst, src) => {
    const value = m.let(src!.read());
    const state = dst!.read();
    dst!.write(m.let(call(m.runtime("crc32"), m.state, state, value, src!.bits)));
  }),
  row("MOVBE", ["0F 38 F0 /r Gv Mv", "0F 38 F1 /r Mv Gv"], { dst: "w", feature: "movbe" }, (m, dst, src) => {
    const value = m.let(src!.read());
    dst!.write(m.let(byteReverse(value, m.bits)));
  }),
];
