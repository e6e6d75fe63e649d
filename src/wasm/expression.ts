/**
 * Typed WebAssembly expressions: small immutable trees with constant folding, written out by `function.ts`.
 * A tree may be used more than once: it is then computed more than once, so bind what is dear with `FunctionWriter.let`.
 */
import type { FunctionReference, ValueType } from "./module.ts";

/** Wasm opcode numbers, by the specification's names (Core Specification 2.0, 5.4). */
export const OP = {
  unreachable: 0x00, block: 0x02, loop: 0x03, if: 0x04, else: 0x05, end: 0x0b, br: 0x0c, br_if: 0x0d, br_table: 0x0e,
  return: 0x0f, call: 0x10, call_indirect: 0x11, return_call: 0x12, return_call_indirect: 0x13, drop: 0x1a,
  select: 0x1b, local_get: 0x20, local_set: 0x21, local_tee: 0x22,
  i32_load: 0x28, i64_load: 0x29, f32_load: 0x2a, f64_load: 0x2b, i32_load8_s: 0x2c, i32_load8_u: 0x2d,
  i32_load16_s: 0x2e, i32_load16_u: 0x2f, i64_load8_s: 0x30, i64_load8_u: 0x31, i64_load16_s: 0x32,
  i64_load16_u: 0x33, i64_load32_s: 0x34, i64_load32_u: 0x35, i32_store: 0x36, i64_store: 0x37, f32_store: 0x38,
  f64_store: 0x39, i32_store8: 0x3a, i32_store16: 0x3b, i64_store8: 0x3c, i64_store16: 0x3d, i64_store32: 0x3e,
  i32_const: 0x41, i64_const: 0x42, f32_const: 0x43, f64_const: 0x44,
  i32_eqz: 0x45, i32_eq: 0x46, i32_ne: 0x47, i32_lt_s: 0x48, i32_lt_u: 0x49, i32_gt_s: 0x4a, i32_gt_u: 0x4b,
  i32_le_s: 0x4c, i32_le_u: 0x4d, i32_ge_s: 0x4e, i32_ge_u: 0x4f,
  i64_eqz: 0x50, i64_eq: 0x51, i64_ne: 0x52, i64_lt_s: 0x53, i64_lt_u: 0x54, i64_gt_s: 0x55, i64_gt_u: 0x56,
  i64_le_s: 0x57, i64_le_u: 0x58, i64_ge_s: 0x59, i64_ge_u: 0x5a,
  i32_clz: 0x67, i32_ctz: 0x68, i32_popcnt: 0x69, i32_add: 0x6a, i32_sub: 0x6b, i32_mul: 0x6c, i32_div_s: 0x6d,
  i32_div_u: 0x6e, i32_rem_s: 0x6f, i32_rem_u: 0x70, i32_and: 0x71, i32_or: 0x72, i32_xor: 0x73, i32_shl: 0x74,
  i32_shr_s: 0x75, i32_shr_u: 0x76, i32_rotl: 0x77, i32_rotr: 0x78,
  i64_clz: 0x79, i64_ctz: 0x7a, i64_popcnt: 0x7b, i64_add: 0x7c, i64_sub: 0x7d, i64_mul: 0x7e, i64_div_s: 0x7f,
  i64_div_u: 0x80, i64_rem_s: 0x81, i64_rem_u: 0x82, i64_and: 0x83, i64_or: 0x84, i64_xor: 0x85, i64_shl: 0x86,
  i64_shr_s: 0x87, i64_shr_u: 0x88, i64_rotl: 0x89, i64_rotr: 0x8a,
  f32_eq: 0x5b, f32_ne: 0x5c, f32_lt: 0x5d, f32_gt: 0x5e, f32_le: 0x5f, f32_ge: 0x60,
  f64_eq: 0x61, f64_ne: 0x62, f64_lt: 0x63, f64_gt: 0x64, f64_le: 0x65, f64_ge: 0x66,
  f32_abs: 0x8b, f32_ceil: 0x8d, f32_floor: 0x8e, f32_trunc: 0x8f, f32_nearest: 0x90, f32_sqrt: 0x91, f32_add: 0x92,
  f32_sub: 0x93, f32_mul: 0x94, f32_div: 0x95, f64_abs: 0x99, f64_ceil: 0x9b, f64_floor: 0x9c, f64_trunc: 0x9d,
  f64_nearest: 0x9e, i32_trunc_f32_s: 0xa8, i32_trunc_f64_s: 0xaa, f32_convert_i32_s: 0xb2, f64_convert_i32_s: 0xb7,
  f64_sqrt: 0x9f, f64_add: 0xa0, f64_sub: 0xa1, f64_mul: 0xa2, f64_div: 0xa3, i64_trunc_f64_s: 0xb0,
  i64_trunc_f64_u: 0xb1, f64_convert_i64_s: 0xb9, f64_convert_i64_u: 0xba,
  i32_wrap_i64: 0xa7, i64_extend_i32_s: 0xac, i64_extend_i32_u: 0xad, f64_promote_f32: 0xbb, f32_demote_f64: 0xb6,
  i64_reinterpret_f64: 0xbd, f64_reinterpret_i64: 0xbf, i32_reinterpret_f32: 0xbc, f32_reinterpret_i32: 0xbe,
  i32_extend8_s: 0xc0, i32_extend16_s: 0xc1,
  bulk_prefix: 0xfc, memory_copy: 0x0a, memory_fill: 0x0b,
} as const; // biome-ignore format: a table

/** What kind of node a {@link Value} is; plain numbers keep the class monomorphic. */
export const KIND = {
  const: 0,
  local: 1,
  unary: 2,
  binary: 3,
  load: 4,
  call: 5,
  select: 6,
  callIndirect: 7,
  /** A vector instruction with lane numbers. */
  lane: 8,
} as const;

/** One node of an expression. Made by the builders below only. */
export class Value {
  readonly kind: number;
  readonly type: ValueType;
  readonly opcode: number;
  readonly a: Value | undefined;
  readonly b: Value | undefined;
  readonly c: Value | undefined;
  /** Constant, local index, load offset, lane numbers, or type index of an indirect call. */
  readonly immediate: number | bigint;
  readonly callee: FunctionReference | undefined;
  readonly args: readonly Value[] | undefined;

  constructor(
    kind: number,
    type: ValueType,
    opcode: number,
    immediate: number | bigint,
    a?: Value,
    b?: Value,
    c?: Value,
    callee?: FunctionReference,
    args?: readonly Value[],
  ) {
    this.kind = kind;
    this.type = type;
    this.opcode = opcode;
    this.immediate = immediate;
    this.a = a;
    this.b = b;
    this.c = c;
    this.callee = callee;
    this.args = args;
  }

  /** `condition` ? a : b, of any one type. */
  static select(type: ValueType, a: Value, b: Value, condition: Value): Value {
    return new Value(KIND.select, type, OP.select, 0, a, b, condition);
  }
}

/** An i32 operand: an expression, or a number that becomes a constant. */
export type I32 = Value | number;
/** An i64 operand. */
export type I64 = Value | bigint;

/** The constant's value if `value` is an i32 constant. */
export function constantOf(value: Value): number | undefined {
  return value.kind === KIND.const && value.type === "i32" ? (value.immediate as number) : undefined;
}

/** Nodes of small constants, which are shared: from SHARED_MIN up to the one before SHARED_END. */
const SHARED_MIN = -64;
const SHARED_END = 512;
const SHARED: readonly Value[] = Array.from(
  { length: SHARED_END - SHARED_MIN },
  (_, i) => new Value(KIND.const, "i32", OP.i32_const, SHARED_MIN + i),
);

function val32(value: I32): Value {
  if (typeof value !== "number") return value;
  const word = value | 0;
  if (word >= SHARED_MIN && word < SHARED_END) return SHARED[word - SHARED_MIN]!;
  return new Value(KIND.const, "i32", OP.i32_const, word);
}

function val64(value: I64): Value {
  return typeof value === "bigint" ? new Value(KIND.const, "i64", OP.i64_const, BigInt.asIntN(64, value)) : value;
}

type Fold = (a: number, b: number) => number;

function binary32(opcode: number, fold: Fold | undefined, right?: { identity?: number; zero?: number }) {
  return (a: I32, b: I32): Value => {
    const x = val32(a);
    const y = val32(b);
    const cy = constantOf(y);
    if (cy !== undefined) {
      const cx = constantOf(x);
      if (cx !== undefined && fold) return val32(fold(cx, cy));
      if (right?.identity === cy) return x;
      if (right?.zero === cy && x.kind !== KIND.call) return val32(0);
    }
    return new Value(KIND.binary, "i32", opcode, 0, x, y);
  };
}

function compare64(opcode: number) {
  return (a: I64, b: I64): Value => new Value(KIND.binary, "i32", opcode, 0, val64(a), val64(b));
}

function binary64(opcode: number) {
  return (a: I64, b: I64): Value => new Value(KIND.binary, "i64", opcode, 0, val64(a), val64(b));
}

function unary(opcode: number, type: ValueType) {
  return (a: Value): Value => new Value(KIND.unary, type, opcode, 0, a);
}

function load(opcode: number, type: ValueType) {
  return (address: I32, offset = 0): Value => {
    const at = val32(address);
    const base = constantOf(at);
    // A constant address joins the offset: fewer bytes, and engines fold it into the access.
    if (base !== undefined && base > 0) return new Value(KIND.load, type, opcode, offset + base, val32(0));
    return new Value(KIND.load, type, opcode, offset, at);
  };
}

/** Builders of i32 expressions; comparisons give 0 or 1. Shift counts are taken modulo 32 as Wasm does. */
export const i32 = {
  const: val32,
  add: binary32(OP.i32_add, (a, b) => a + b, { identity: 0 }),
  sub: binary32(OP.i32_sub, (a, b) => a - b, { identity: 0 }),
  mul: binary32(OP.i32_mul, Math.imul, { identity: 1, zero: 0 }),
  divS: binary32(OP.i32_div_s, undefined),
  divU: binary32(OP.i32_div_u, undefined),
  remS: binary32(OP.i32_rem_s, undefined),
  remU: binary32(OP.i32_rem_u, undefined),
  and: binary32(OP.i32_and, (a, b) => a & b, { identity: -1, zero: 0 }),
  or: binary32(OP.i32_or, (a, b) => a | b, { identity: 0 }),
  xor: binary32(OP.i32_xor, (a, b) => a ^ b, { identity: 0 }),
  shl: binary32(OP.i32_shl, (a, b) => a << b, { identity: 0 }),
  shrS: binary32(OP.i32_shr_s, (a, b) => a >> b, { identity: 0 }),
  shrU: binary32(OP.i32_shr_u, (a, b) => a >>> b, { identity: 0 }),
  rotl: binary32(OP.i32_rotl, (a, b) => (a << (b & 31)) | (a >>> (32 - (b & 31))), { identity: 0 }),
  rotr: binary32(OP.i32_rotr, (a, b) => (a >>> (b & 31)) | (a << (32 - (b & 31))), { identity: 0 }),
  eq: binary32(OP.i32_eq, (a, b) => (a === b ? 1 : 0)),
  ne: binary32(OP.i32_ne, (a, b) => (a !== b ? 1 : 0)),
  ltS: binary32(OP.i32_lt_s, (a, b) => (a < b ? 1 : 0)),
  ltU: binary32(OP.i32_lt_u, (a, b) => (a >>> 0 < b >>> 0 ? 1 : 0)),
  gtS: binary32(OP.i32_gt_s, (a, b) => (a > b ? 1 : 0)),
  gtU: binary32(OP.i32_gt_u, (a, b) => (a >>> 0 > b >>> 0 ? 1 : 0)),
  leS: binary32(OP.i32_le_s, (a, b) => (a <= b ? 1 : 0)),
  leU: binary32(OP.i32_le_u, (a, b) => (a >>> 0 <= b >>> 0 ? 1 : 0)),
  geS: binary32(OP.i32_ge_s, (a, b) => (a >= b ? 1 : 0)),
  geU: binary32(OP.i32_ge_u, (a, b) => (a >>> 0 >= b >>> 0 ? 1 : 0)),
  eqz: (a: I32): Value => {
    const x = val32(a);
    const c = constantOf(x);
    return c !== undefined ? val32(c === 0 ? 1 : 0) : new Value(KIND.unary, "i32", OP.i32_eqz, 0, x);
  },
  clz: unary(OP.i32_clz, "i32"),
  ctz: unary(OP.i32_ctz, "i32"),
  popcnt: unary(OP.i32_popcnt, "i32"),
  extend8s: (a: I32): Value => {
    const x = val32(a);
    const c = constantOf(x);
    return c !== undefined ? val32((c << 24) >> 24) : new Value(KIND.unary, "i32", OP.i32_extend8_s, 0, x);
  },
  extend16s: (a: I32): Value => {
    const x = val32(a);
    const c = constantOf(x);
    return c !== undefined ? val32((c << 16) >> 16) : new Value(KIND.unary, "i32", OP.i32_extend16_s, 0, x);
  },
  wrap: unary(OP.i32_wrap_i64, "i32"),
  load: load(OP.i32_load, "i32"),
  load8u: load(OP.i32_load8_u, "i32"),
  load8s: load(OP.i32_load8_s, "i32"),
  load16u: load(OP.i32_load16_u, "i32"),
  load16s: load(OP.i32_load16_s, "i32"),
  /** `condition` ? a : b, both computed. */
  select: (condition: I32, a: I32, b: I32): Value => {
    const test = val32(condition);
    const c = constantOf(test);
    if (c !== undefined) return val32(c !== 0 ? a : b);
    return new Value(KIND.select, "i32", OP.select, 0, val32(a), val32(b), test);
  },
} as const;

/** Builders of i64 expressions; comparisons give an i32. */
export const i64 = {
  const: val64,
  add: binary64(OP.i64_add),
  sub: binary64(OP.i64_sub),
  mul: binary64(OP.i64_mul),
  divS: binary64(OP.i64_div_s),
  divU: binary64(OP.i64_div_u),
  remS: binary64(OP.i64_rem_s),
  remU: binary64(OP.i64_rem_u),
  and: binary64(OP.i64_and),
  or: binary64(OP.i64_or),
  xor: binary64(OP.i64_xor),
  shl: binary64(OP.i64_shl),
  shrS: binary64(OP.i64_shr_s),
  shrU: binary64(OP.i64_shr_u),
  rotl: binary64(OP.i64_rotl),
  rotr: binary64(OP.i64_rotr),
  eq: compare64(OP.i64_eq),
  ne: compare64(OP.i64_ne),
  ltS: compare64(OP.i64_lt_s),
  ltU: compare64(OP.i64_lt_u),
  gtS: compare64(OP.i64_gt_s),
  gtU: compare64(OP.i64_gt_u),
  leS: compare64(OP.i64_le_s),
  leU: compare64(OP.i64_le_u),
  geS: compare64(OP.i64_ge_s),
  geU: compare64(OP.i64_ge_u),
  eqz: unary(OP.i64_eqz, "i32"),
  clz: unary(OP.i64_clz, "i64"),
  ctz: unary(OP.i64_ctz, "i64"),
  extendS: (a: I32): Value => new Value(KIND.unary, "i64", OP.i64_extend_i32_s, 0, val32(a)),
  extendU: (a: I32): Value => new Value(KIND.unary, "i64", OP.i64_extend_i32_u, 0, val32(a)),
  popcnt: unary(OP.i64_popcnt, "i64"),
  load: load(OP.i64_load, "i64"),
  load32u: load(OP.i64_load32_u, "i64"),
  load32s: load(OP.i64_load32_s, "i64"),
  load16u: load(OP.i64_load16_u, "i64"),
  load8u: load(OP.i64_load8_u, "i64"),
  reinterpret: unary(OP.i64_reinterpret_f64, "i64"),
  select: (condition: I32, a: I64, b: I64): Value =>
    new Value(KIND.select, "i64", OP.select, 0, val64(a), val64(b), val32(condition)),
} as const;

function binaryOf(opcode: number, type: ValueType) {
  return (a: Value, b: Value): Value => new Value(KIND.binary, type, opcode, 0, a, b);
}

/** Builders of f64 expressions; a constant is written as {@link f64.reinterpret} of its bits. Comparisons give an i32. */
export const f64 = {
  add: binaryOf(OP.f64_add, "f64"),
  sub: binaryOf(OP.f64_sub, "f64"),
  mul: binaryOf(OP.f64_mul, "f64"),
  div: binaryOf(OP.f64_div, "f64"),
  eq: binaryOf(OP.f64_eq, "i32"),
  lt: binaryOf(OP.f64_lt, "i32"),
  le: binaryOf(OP.f64_le, "i32"),
  abs: unary(OP.f64_abs, "f64"),
  sqrt: unary(OP.f64_sqrt, "f64"),
  fromI32S: unary(OP.f64_convert_i32_s, "f64"),
  fromI64S: unary(OP.f64_convert_i64_s, "f64"),
  fromI64U: unary(OP.f64_convert_i64_u, "f64"),
  promote: unary(OP.f64_promote_f32, "f64"),
  ceil: unary(OP.f64_ceil, "f64"),
  floor: unary(OP.f64_floor, "f64"),
  trunc: unary(OP.f64_trunc, "f64"),
  nearest: unary(OP.f64_nearest, "f64"),
  /** Traps outside the range of i32: the caller knows the range. */
  toI32S: unary(OP.i32_trunc_f64_s, "i32"),
  /** Traps outside the range of i64: the caller knows the range. */
  toI64S: unary(OP.i64_trunc_f64_s, "i64"),
  /** Traps outside the range of u64. */
  toI64U: unary(OP.i64_trunc_f64_u, "i64"),
  load: load(OP.f64_load, "f64"),
  reinterpret: (bits: I64): Value => new Value(KIND.unary, "f64", OP.f64_reinterpret_i64, 0, val64(bits)),
} as const;

/** Builders of f32 expressions; a constant is written as {@link f32.reinterpret} of its bits. Comparisons give an i32. */
export const f32 = {
  add: binaryOf(OP.f32_add, "f32"),
  sub: binaryOf(OP.f32_sub, "f32"),
  mul: binaryOf(OP.f32_mul, "f32"),
  div: binaryOf(OP.f32_div, "f32"),
  eq: binaryOf(OP.f32_eq, "i32"),
  lt: binaryOf(OP.f32_lt, "i32"),
  le: binaryOf(OP.f32_le, "i32"),
  abs: unary(OP.f32_abs, "f32"),
  sqrt: unary(OP.f32_sqrt, "f32"),
  fromI32S: unary(OP.f32_convert_i32_s, "f32"),
  demote: unary(OP.f32_demote_f64, "f32"),
  nearest: unary(OP.f32_nearest, "f32"),
  /** Traps outside the range of i32: the caller knows the range. */
  toI32S: unary(OP.i32_trunc_f32_s, "i32"),
  /** The bits as an i32. */
  bits: unary(OP.i32_reinterpret_f32, "i32"),
  load: load(OP.f32_load, "f32"),
  reinterpret: (bits: I32): Value => new Value(KIND.unary, "f32", OP.f32_reinterpret_i32, 0, val32(bits)),
} as const;

/** A direct call as an expression. It has effects: use it exactly once, as an operand of a statement. */
export function call(callee: FunctionReference, ...args: (Value | number)[]): Value {
  return new Value(
    KIND.call,
    callee.type.results[0] ?? "i32",
    OP.call,
    0,
    undefined,
    undefined,
    undefined,
    callee,
    args.map((a) => (typeof a === "number" ? val32(a) : a)),
  );
}

/** An indirect call through table 0. `type` is the module's index of the callee's type, `result` its result. */
export function callIndirect(type: number, result: ValueType, slot: I32, ...args: (Value | number)[]): Value {
  return new Value(
    KIND.callIndirect,
    result,
    OP.call_indirect,
    type,
    val32(slot),
    undefined,
    undefined,
    undefined,
    args.map((a) => (typeof a === "number" ? val32(a) : a)),
  );
}
