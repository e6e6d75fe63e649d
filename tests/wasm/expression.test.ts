/** Expressions: what constant folding says, what WebAssembly computes and what JavaScript computes are the same. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { constantOf, i32, i64, type Value } from "../../src/wasm/expression.ts";
import { FunctionWriter } from "../../src/wasm/function.ts";
import { ModuleWriter } from "../../src/wasm/module.ts";

type Binary = (a: Value, b: Value) => Value;

/** Builders with their meaning in JavaScript; both take and give signed 32-bit numbers. */
const BINARY: Readonly<Record<string, readonly [Binary, (a: number, b: number) => number]>> = {
  add: [i32.add, (a, b) => (a + b) | 0],
  sub: [i32.sub, (a, b) => (a - b) | 0],
  mul: [i32.mul, Math.imul],
  and: [i32.and, (a, b) => a & b],
  or: [i32.or, (a, b) => a | b],
  xor: [i32.xor, (a, b) => a ^ b],
  shl: [i32.shl, (a, b) => a << b],
  shrS: [i32.shrS, (a, b) => a >> b],
  shrU: [i32.shrU, (a, b) => (a >>> b) | 0],
  rotl: [i32.rotl, (a, b) => (a << (b & 31)) | (a >>> (-b & 31)) | 0],
  rotr: [i32.rotr, (a, b) => (a >>> (b & 31)) | (a << (-b & 31)) | 0],
  eq: [i32.eq, (a, b) => Number(a === b)],
  ne: [i32.ne, (a, b) => Number(a !== b)],
  ltS: [i32.ltS, (a, b) => Number(a < b)],
  ltU: [i32.ltU, (a, b) => Number(a >>> 0 < b >>> 0)],
  gtS: [i32.gtS, (a, b) => Number(a > b)],
  gtU: [i32.gtU, (a, b) => Number(a >>> 0 > b >>> 0)],
  leS: [i32.leS, (a, b) => Number(a <= b)],
  leU: [i32.leU, (a, b) => Number(a >>> 0 <= b >>> 0)],
  geS: [i32.geS, (a, b) => Number(a >= b)],
  geU: [i32.geU, (a, b) => Number(a >>> 0 >= b >>> 0)],
};

/** A tree over two parameters and constants. */
type Tree =
  | { readonly kind: "leaf"; readonly value: number | "x" | "y" }
  | { readonly kind: "binary"; readonly name: string; readonly a: Tree; readonly b: Tree }
  | { readonly kind: "select"; readonly c: Tree; readonly a: Tree; readonly b: Tree }
  | { readonly kind: "unary"; readonly name: "eqz" | "extend8s" | "extend16s"; readonly a: Tree };

const edge = fc.constantFrom(0, 1, -1, 31, 32, 0x7fffffff, -0x80000000, 0xff, 0x8000);
const number = fc.oneof(edge, fc.integer());

const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({
      kind: fc.constant("leaf" as const),
      value: fc.oneof(number, fc.constantFrom("x" as const, "y" as const)),
    }),
    fc.record({
      kind: fc.constant("binary" as const),
      name: fc.constantFrom(...Object.keys(BINARY)),
      a: tie("tree"),
      b: tie("tree"),
    }),
    fc.record({ kind: fc.constant("select" as const), c: tie("tree"), a: tie("tree"), b: tie("tree") }),
    fc.record({
      kind: fc.constant("unary" as const),
      name: fc.constantFrom("eqz" as const, "extend8s" as const, "extend16s" as const),
      a: tie("tree"),
    }),
  ),
}));

const UNARY = {
  eqz: (a: number): number => Number(a === 0),
  extend8s: (a: number): number => (a << 24) >> 24,
  extend16s: (a: number): number => (a << 16) >> 16,
};

function evaluate(t: Tree, x: number, y: number): number {
  switch (t.kind) {
    case "leaf":
      return t.value === "x" ? x : t.value === "y" ? y : t.value | 0;
    case "binary":
      return BINARY[t.name]![1](evaluate(t.a, x, y), evaluate(t.b, x, y));
    case "select":
      return evaluate(t.c, x, y) !== 0 ? evaluate(t.a, x, y) : evaluate(t.b, x, y);
    default:
      return UNARY[t.name](evaluate(t.a, x, y));
  }
}

function build(t: Tree, x: Value, y: Value): Value {
  switch (t.kind) {
    case "leaf":
      return t.value === "x" ? x : t.value === "y" ? y : i32.const(t.value);
    case "binary":
      return BINARY[t.name]![0](build(t.a, x, y), build(t.b, x, y));
    case "select":
      return i32.select(build(t.c, x, y), build(t.a, x, y), build(t.b, x, y));
    default:
      return i32[t.name](build(t.a, x, y));
  }
}

function compile(body: (x: Value, y: Value) => Value): (x: number, y: number) => number {
  const module = new ModuleWriter();
  const run = module.declare({ params: ["i32", "i32"], results: ["i32"] }, "run");
  const f = new FunctionWriter(run.type);
  f.result(body(f.params[0]!.get, f.params[1]!.get));
  module.define(run, f.finish());
  const bytes = module.finish();
  assert.ok(WebAssembly.validate(bytes));
  return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports["run"] as (x: number, y: number) => number;
}

test("random expressions compute what JavaScript computes", () => {
  fc.assert(
    fc.property(tree, number, number, (t, x, y) => {
      assert.equal(compile((a, b) => build(t, a, b))(x, y), evaluate(t, x, y));
    }),
    { numRuns: 400 },
  );
});

test("expressions of constants are folded to what they would compute", () => {
  fc.assert(
    fc.property(tree, number, number, (t, x, y) => {
      const folded = constantOf(build(t, i32.const(x), i32.const(y)));
      assert.equal(folded, evaluate(t, x, y));
    }),
    { numRuns: 400 },
  );
});

test("i64 expressions compute modulo 2^64", () => {
  const big = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
  const cases: readonly [string, (a: Value, b: Value) => Value, (a: bigint, b: bigint) => bigint][] = [
    ["add", i64.add, (a, b) => a + b],
    ["sub", i64.sub, (a, b) => a - b],
    ["mul", i64.mul, (a, b) => a * b],
    ["and", i64.and, (a, b) => a & b],
    ["xor", i64.xor, (a, b) => a ^ b],
    ["shl", i64.shl, (a, b) => a << BigInt.asUintN(6, b)],
    ["shrU", i64.shrU, (a, b) => BigInt.asUintN(64, a) >> BigInt.asUintN(6, b)],
    ["shrS", i64.shrS, (a, b) => a >> BigInt.asUintN(6, b)],
  ];
  for (const [name, operation, meaning] of cases) {
    const module = new ModuleWriter();
    const run = module.declare({ params: ["i64", "i64"], results: ["i64"] }, "run");
    const f = new FunctionWriter(run.type);
    f.result(operation(f.params[0]!.get, f.params[1]!.get));
    module.define(run, f.finish());
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()));
    const compiled = instance.exports["run"] as (a: bigint, b: bigint) => bigint;
    fc.assert(fc.property(big, big, (a, b) => assert.equal(compiled(a, b), BigInt.asIntN(64, meaning(a, b)), name)));
  }
});
