/** Floating-point arithmetic and comparison of SSE, SSE2, SSE3 and SSE4.1. SDM 1 10.4, 11.4, 12.6; SDM 2 under each name. */
import { call, constantOf, f32, f64, i32, i64, Value } from "../../../wasm/expression.ts";
import { f32x4, f64x2, i32x4, i64x2, v128, zeroExtended } from "../../../wasm/simd.ts";
import type { Builder, Operand } from "../../builder.ts";
import { explicitFlags, OSZAPC } from "../../flags.ts";
import type { Row, Semantics } from "../../row.ts";
import {
  DOUBLE,
  DOUBLES,
  type FloatOperations,
  type PackedLanes,
  resultIsPlain,
  type ScalarLane,
  SINGLE,
  SINGLES,
} from "../../vector/checks.ts";
import { PREDICATE, RELATION } from "../../vector/compare.ts";
import type { RuntimeName } from "../../vector/runtime.ts";
import { evenOdd, exact, exactScalar, low32, readFloat, usually, writeFloat } from "./lanes.ts";
import { type Prefix, sse } from "./rows.ts";

type Binary = (a: Value, b: Value) => Value;

/** Of these, operands that may be denormal numbers as far as is known, as bits. */
function doubtful(m: Builder, lanes: ScalarLane, ...operands: readonly (readonly [Operand, Value])[]): Value[] {
  return operands.filter(([operand]) => !m.isOrdinary(operand)).map(([, value]) => lanes.bits(value));
}

const scalarArithmetic =
  (lanes: ScalarLane, ops: FloatOperations, name: keyof FloatOperations, runtime: RuntimeName): Semantics =>
  (m, dst, src) => {
    const b = m.let(readFloat(lanes, src!));
    const a = m.let(readFloat(lanes, dst!));
    const r = m.f.temporary(a.type);
    m.f.set(r, ops[name](a, b));
    const plain = lanes.inMiddle(lanes.bits(r.get), ...doubtful(m, lanes, [dst!, a], [src!, b]));
    m.f.unlikely(i32.eqz(i32.and(plain, m.simdDefault())), () =>
      m.f.set(r, lanes.float(exactScalar(m, runtime, lanes.bits(a), lanes.bits(b)))),
    );
    writeFloat(lanes, dst!, r.get);
    m.noteOrdinary(dst!);
    m.noteOrdinary(src!);
  };

const packedArithmetic =
  (lanes: PackedLanes, ops: FloatOperations, name: keyof FloatOperations, runtime: RuntimeName): Semantics =>
  (m, dst, src) => {
    const b = m.let(src!.read());
    const a = m.let(dst!.read());
    const r = m.let(ops[name](a, b));
    const numbers = v128.and(lanes.isNumber(a), lanes.isNumber(b));
    const plain = v128.and(numbers, resultIsPlain(lanes, name, a, b, r));
    usually(
      m,
      i32.and(lanes.all(plain), m.simdDefault()),
      () => dst!.write(r),
      () => dst!.write(exact(m, runtime, a, b, lanes === SINGLES ? 4 : 2)),
    );
  };

/** MIN and MAX raise nothing for numbers, whatever MXCSR says. */
const scalarMinMax =
  (lanes: ScalarLane, lt: Binary, smaller: boolean, runtime: RuntimeName): Semantics =>
  (m, dst, src) => {
    const b = m.let(readFloat(lanes, src!));
    const a = m.let(readFloat(lanes, dst!));
    const aBits = m.let(lanes.bits(a));
    const bBits = m.let(lanes.bits(b));
    usually(
      m,
      i32.and(lanes.isNumber(aBits), lanes.isNumber(bBits)),
      () => writeFloat(lanes, dst!, Value.select(a.type, a, b, smaller ? lt(a, b) : lt(b, a))),
      () => dst!.write(lanes.lowestBits(exact(m, runtime, zeroExtended(aBits), zeroExtended(bBits), 1))),
    );
  };

const packedMinMax =
  (lanes: PackedLanes, operation: Binary, runtime: RuntimeName): Semantics =>
  (m, dst, src) => {
    const b = m.let(src!.read());
    const a = m.let(dst!.read());
    usually(
      m,
      lanes.all(v128.and(lanes.isNumber(a), lanes.isNumber(b))),
      // WebAssembly's pmin(x, y) is y < x ? y : x.
      () => dst!.write(operation(b, a)),
      () => dst!.write(exact(m, runtime, a, b, lanes === SINGLES ? 4 : 2)),
    );
  };

/** The four encodings of an operation: PS, PD, SS, SD. */
function fourForms(
  name: string,
  opcode: string,
  singles: Semantics,
  doubles: Semantics,
  single: Semantics,
  double: Semantics,
  immediate = "",
): Row[] {
  const rw = { dst: "rw" } as const;
  return [
    sse(`${name}PS`, "np", [`0F ${opcode} /r Vx Wx${immediate}`], "sse", singles, rw),
    sse(`${name}PD`, "p66", [`0F ${opcode} /r Vx Wx${immediate}`], "sse2", doubles, rw),
    sse(`${name}SS`, "f3", [`0F ${opcode} /r Vd Wd${immediate}`], "sse", single, rw),
    sse(`${name}SD`, "f2", [`0F ${opcode} /r Vq Wq${immediate}`], "sse2", double, rw),
  ];
}

function arithmetic(
  name: string,
  opcode: string,
  operation: keyof FloatOperations,
  runtime: readonly [RuntimeName, RuntimeName],
  scalar: readonly [RuntimeName, RuntimeName],
): Row[] {
  return fourForms(
    name,
    opcode,
    packedArithmetic(SINGLES, f32x4, operation, runtime[0]),
    packedArithmetic(DOUBLES, f64x2, operation, runtime[1]),
    scalarArithmetic(SINGLE, f32, operation, scalar[0]),
    scalarArithmetic(DOUBLE, f64, operation, scalar[1]),
  );
}

function minMax(name: string, opcode: string, smaller: boolean, runtime: readonly [RuntimeName, RuntimeName]): Row[] {
  return fourForms(
    name,
    opcode,
    packedMinMax(SINGLES, smaller ? f32x4.pmin : f32x4.pmax, runtime[0]),
    packedMinMax(DOUBLES, smaller ? f64x2.pmin : f64x2.pmax, runtime[1]),
    scalarMinMax(SINGLE, f32.lt, smaller, runtime[0]),
    scalarMinMax(DOUBLE, f64.lt, smaller, runtime[1]),
  );
}

const scalarSqrt =
  (lanes: ScalarLane, operation: (a: Value) => Value, runtime: RuntimeName): Semantics =>
  (m, dst, src) => {
    const b = m.let(readFloat(lanes, src!));
    const r = m.f.temporary(b.type);
    m.f.set(r, operation(b));
    // The root of a negative number is a NaN.
    const plain = lanes.inMiddle(lanes.bits(r.get), ...doubtful(m, lanes, [src!, b]));
    m.f.unlikely(i32.eqz(i32.and(plain, m.simdDefault())), () =>
      m.f.set(r, lanes.float(exactScalar(m, runtime, lanes.bits(b)))),
    );
    writeFloat(lanes, dst!, r.get);
    m.noteOrdinary(src!);
    m.noteOrdinary(dst!);
  };

const packedSqrt =
  (lanes: PackedLanes, operation: (a: Value) => Value, runtime: RuntimeName): Semantics =>
  (m, dst, src) => {
    const b = m.let(src!.read());
    const r = m.let(operation(b));
    const plain = v128.or(v128.and(lanes.isNumber(b), lanes.isNormal(r)), lanes.isZero(b));
    usually(
      m,
      i32.and(lanes.all(plain), m.simdDefault()),
      () => dst!.write(r),
      () => dst!.write(exact(m, runtime, b, undefined, lanes === SINGLES ? 4 : 2)),
    );
  };

// ---- approximations -------------------------------------------------------------------------------------------------

const SIGN_32 = v128.all(32, 0x8000_0000n);
const QUIET_32 = v128.all(32, 0x0040_0000n);
const ONE_32 = v128.all(32, 0x3f80_0000n);
const MIN_NORMAL_32 = v128.all(32, 0x0080_0000n);

/** Denormals as zeros of their sign. */
function flushed(a: Value): Value {
  return v128.andnot(a, v128.andnot(f32x4.lt(f32x4.abs(a), MIN_NORMAL_32), SIGN_32));
}

/**
 * RCP and RSQRT promise 1.5 × 2^-12 and raise nothing; processors differ in the rest. Here they are as good as singles
 * get, with denormals taken for zeros and given as zeros.
 */
function approximation(m: Builder, b: Value, operation: (a: Value) => Value): Value {
  const a = m.let(flushed(b));
  const r = m.let(flushed(m.let(operation(a))));
  return v128.bitselect(v128.or(b, QUIET_32), r, f32x4.ne(b, b));
}

const INDEFINITE_32 = v128.all(32, 0xffc0_0000n);
const reciprocal = (a: Value): Value => f32x4.div(ONE_32, a);
const reciprocalRoot = (a: Value): Value =>
  v128.bitselect(INDEFINITE_32, f32x4.div(ONE_32, f32x4.sqrt(a)), f32x4.lt(a, v128.const(0n)));

function approximate(name: string, opcode: string, operation: (a: Value) => Value): Row[] {
  return [
    sse(`${name}PS`, "np", [`0F ${opcode} /r Vx Wx`], "sse", (m, dst, src) =>
      dst!.write(approximation(m, m.let(src!.read()), operation)),
    ),
    sse(`${name}SS`, "f3", [`0F ${opcode} /r Vd Wd`], "sse", (m, dst, src) =>
      dst!.write(low32(approximation(m, m.let(zeroExtended(src!.read())), operation))),
    ),
  ];
}

// ---- comparison -----------------------------------------------------------------------------------------------------

interface Comparisons {
  readonly eq: Binary;
  readonly lt: Binary;
  readonly le: Binary;
}

const ONES = v128.const(-1n);

/** Whether the predicate holds between numbers, as a mask: none of them is unordered. */
function predicateMask(m: Builder, ops: Comparisons, predicate: Value, a: Value, b: Value): Value {
  const known = constantOf(predicate);
  const byKind = [ops.eq(a, b), ops.lt(a, b), ops.le(a, b), v128.const(0n)] as const;
  if (known !== undefined) {
    const mask = byKind[known & 3]!;
    return known & PREDICATE.not ? v128.not(mask) : mask;
  }
  const result = m.f.temporary("v128");
  const kind = m.let(i32.and(predicate, 3));
  m.f.set(result, byKind[0]);
  m.f.if(i32.eq(kind, PREDICATE.lt), () => m.f.set(result, byKind[1]));
  m.f.if(i32.eq(kind, PREDICATE.le), () => m.f.set(result, byKind[2]));
  m.f.if(i32.eq(kind, PREDICATE.unord), () => m.f.set(result, byKind[3]));
  return v128.xor(result.get, v128.select(i32.and(predicate, PREDICATE.not), ONES, v128.const(0n)));
}

const packedCompare =
  (lanes: PackedLanes, ops: Comparisons, runtime: RuntimeName): Semantics =>
  (m, dst, src, immediate) => {
    const b = m.let(src!.read());
    const a = m.let(dst!.read());
    const predicate = immediate!.read();
    usually(
      m,
      lanes.all(v128.and(lanes.isNumber(a), lanes.isNumber(b))),
      () => dst!.write(predicateMask(m, ops, predicate, a, b)),
      () => dst!.write(exact(m, runtime, a, b, lanes === SINGLES ? 4 : 2, predicate)),
    );
  };

/** A scalar comparison is the packed one of vectors that are zero elsewhere: zeros raise nothing. */
const scalarCompare =
  (lanes: PackedLanes, ops: Comparisons, runtime: RuntimeName): Semantics =>
  (m, dst, src, immediate) => {
    const b = m.let(zeroExtended(src!.read()));
    const a = m.let(zeroExtended(dst!.read()));
    const predicate = immediate!.read();
    const low = (mask: Value): Value => (lanes === SINGLES ? low32(mask) : i64x2.extract(mask, 0));
    usually(
      m,
      lanes.all(v128.and(lanes.isNumber(a), lanes.isNumber(b))),
      () => dst!.write(low(predicateMask(m, ops, predicate, a, b))),
      () => dst!.write(low(exact(m, runtime, a, b, 1, predicate))),
    );
  };

const COMPARE_FLAGS = { dst: "r", writes: OSZAPC } as const;

/** COMIS and UCOMIS: ZF, PF and CF, all set when unordered. */
const compareToFlags =
  (lanes: ScalarLane, ops: { eq: Binary; lt: Binary }, runtime: RuntimeName, signaling: boolean): Semantics =>
  (m, dst, src) => {
    const y = m.let(readFloat(lanes, src!));
    const x = m.let(readFloat(lanes, dst!));
    const a = m.let(lanes.bits(x));
    const b = m.let(lanes.bits(y));
    const relation = m.f.temporary("i32");
    usually(
      m,
      i32.and(lanes.isNumber(a), lanes.isNumber(b)),
      () => m.f.set(relation, i32.or(i32.shl(ops.eq(x, y), 1), ops.lt(x, y))),
      () => {
        const bits = (v: Value): Value => (v.type === "i64" ? v : i64.extendU(v));
        m.f.set(relation, call(m.runtime(runtime), m.state, bits(a), bits(b), signaling ? 1 : 0));
        m.raiseSimd();
      },
    );
    // RELATION: bit 0 is CF, bit 1 ZF, and both together unordered.
    const less = m.let(i32.and(relation.get, RELATION.less));
    const equal = m.let(i32.shrU(relation.get, 1));
    const { result, carry } = explicitFlags(equal, less, i32.and(less, equal));
    m.setFlags(result, carry);
  };

function compareFlags(name: string, opcode: string, signaling: boolean): Row[] {
  const form = (suffix: string, prefix: Prefix, operands: string, feature: string, semantics: Semantics): Row =>
    sse(`${name}${suffix}`, prefix, [`0F ${opcode} /r ${operands}`], feature, semantics, COMPARE_FLAGS);
  return [
    form("SS", "np", "Vd Wd", "sse", compareToFlags(SINGLE, f32, "relateF32", signaling)),
    form("SD", "p66", "Vq Wq", "sse2", compareToFlags(DOUBLE, f64, "relateF64", signaling)),
  ];
}

// ---- horizontal arithmetic ------------------------------------------------------------------------------------------

/** Arithmetic on two vectors made of the operands' lanes. */
const arranged =
  (
    arrange: (m: Builder, a: Value, b: Value) => readonly [Value, Value],
    lanes: PackedLanes,
    operation: Binary,
    runtime: RuntimeName,
  ): Semantics =>
  (m, dst, src) => {
    const b = m.let(src!.read());
    const a = m.let(dst!.read());
    const pair = arrange(m, a, b);
    const x = m.let(pair[0]);
    const y = m.let(pair[1]);
    const r = m.let(operation(x, y));
    const plain = v128.and(v128.and(lanes.isNumber(x), lanes.isNumber(y)), v128.or(lanes.isNormal(r), lanes.isZero(r)));
    usually(
      m,
      i32.and(lanes.all(plain), m.simdDefault()),
      () => dst!.write(r),
      () => dst!.write(exact(m, runtime, x, y, lanes === SINGLES ? 4 : 2)),
    );
  };

const straight = (_m: Builder, a: Value, b: Value) => [a, b] as const;
const EVEN_SIGNS_32 = v128.const(0x00000000_80000000_00000000_80000000n);
const EVEN_SIGNS_64 = v128.const(0x0000000000000000_8000000000000000n);
const addSub32: Binary = (a, b) => f32x4.add(a, v128.xor(b, EVEN_SIGNS_32));
const addSub64: Binary = (a, b) => f64x2.add(a, v128.xor(b, EVEN_SIGNS_64));

const RW = { dst: "rw" } as const;
const horizontal = (name: string, opcode: string, add: boolean): Row[] => [
  sse(
    `${name}PD`,
    "p66",
    [`0F ${opcode} /r Vx Wx`],
    "sse3",
    arranged((_m, a, b) => evenOdd(a, b, 64), DOUBLES, add ? f64x2.add : f64x2.sub, add ? "addF64" : "subF64"),
    RW,
  ),
  sse(
    `${name}PS`,
    "f2",
    [`0F ${opcode} /r Vx Wx`],
    "sse3",
    arranged((_m, a, b) => evenOdd(a, b, 32), SINGLES, add ? f32x4.add : f32x4.sub, add ? "addF32" : "subF32"),
    RW,
  ),
];

// ---- bits of floats -------------------------------------------------------------------------------------------------

function logic(name: string, opcode: string, operation: Binary): Row[] {
  const semantics: Semantics = (m, dst, src) => {
    const b = m.let(src!.read());
    dst!.write(operation(dst!.read(), b));
  };
  return [
    sse(`${name}PS`, "np", [`0F ${opcode} /r Vx Wx`], "sse", semantics, RW),
    sse(`${name}PD`, "p66", [`0F ${opcode} /r Vx Wx`], "sse2", semantics, RW),
  ];
}

export const VECTOR_FLOAT: readonly Row[] = [
  ...arithmetic("ADD", "58", "add", ["addF32", "addF64"], ["addSingle", "addDouble"]),
  ...arithmetic("MUL", "59", "mul", ["mulF32", "mulF64"], ["mulSingle", "mulDouble"]),
  ...arithmetic("SUB", "5C", "sub", ["subF32", "subF64"], ["subSingle", "subDouble"]),
  ...arithmetic("DIV", "5E", "div", ["divF32", "divF64"], ["divSingle", "divDouble"]),
  ...minMax("MIN", "5D", true, ["minF32", "minF64"]),
  ...minMax("MAX", "5F", false, ["maxF32", "maxF64"]),
  ...fourForms(
    "SQRT",
    "51",
    packedSqrt(SINGLES, f32x4.sqrt, "sqrtF32"),
    packedSqrt(DOUBLES, f64x2.sqrt, "sqrtF64"),
    scalarSqrt(SINGLE, f32.sqrt, "sqrtSingle"),
    scalarSqrt(DOUBLE, f64.sqrt, "sqrtDouble"),
  ),
  ...approximate("RSQRT", "52", reciprocalRoot),
  ...approximate("RCP", "53", reciprocal),
  ...fourForms(
    "CMP",
    "C2",
    packedCompare(SINGLES, f32x4, "compareF32"),
    packedCompare(DOUBLES, f64x2, "compareF64"),
    scalarCompare(SINGLES, f32x4, "compareF32"),
    scalarCompare(DOUBLES, f64x2, "compareF64"),
    " Ibu",
  ),
  ...compareFlags("UCOMI", "2E", false),
  ...compareFlags("COMI", "2F", true),
  ...horizontal("HADD", "7C", true),
  ...horizontal("HSUB", "7D", false),
  sse("ADDSUBPD", "p66", ["0F D0 /r Vx Wx"], "sse3", arranged(straight, DOUBLES, addSub64, "addSubF64"), RW),
  sse("ADDSUBPS", "f2", ["0F D0 /r Vx Wx"], "sse3", arranged(straight, SINGLES, addSub32, "addSubF32"), RW),
  ...logic("AND", "54", v128.and),
  // ANDN complements the first operand, WebAssembly the second.
  ...logic("ANDN", "55", (a, b) => v128.andnot(b, a)),
  ...logic("OR", "56", v128.or),
  ...logic("XOR", "57", v128.xor),
  sse("MOVMSKPS", "np", ["0F 50 /r Gd Ux"], "sse", (_m, dst, src) => dst!.write(i32x4.bitmask(src!.read()))),
  sse("MOVMSKPD", "p66", ["0F 50 /r Gd Ux"], "sse2", (_m, dst, src) => dst!.write(i64x2.bitmask(src!.read()))),
];
