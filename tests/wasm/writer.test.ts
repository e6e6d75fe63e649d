/** What the writer emits, validated by the engine and read back by wabt, an implementation that is not ours. */
import assert from "node:assert/strict";
import { test } from "node:test";
import wabtFactory from "wabt";
import { call, callIndirect, f64, type I32, i32, i64, type Value } from "../../src/wasm/expression.ts";
import { FunctionWriter } from "../../src/wasm/function.ts";
import { ByteWriter, type FunctionType, ModuleWriter, type ValueType } from "../../src/wasm/module.ts";

const wabt = await wabtFactory();
const FEATURES = { tail_call: true, threads: true, sign_extension: true, multi_value: true };

/** Text of a module as wabt reads it, instructions folded onto single lines. */
function text(bytes: Uint8Array): string {
  const module = wabt.readWasm(bytes, FEATURES);
  // Its declaration forgets the features that its implementation takes.
  (module as { validate(features: object): void }).validate(FEATURES);
  const result = module.toText({ foldExprs: true });
  module.destroy();
  return result.replace(/\s+/g, " ").replace(/ \)/g, ")");
}

/** A module of one exported function. */
function single(type: FunctionType, body: (f: FunctionWriter, module: ModuleWriter) => void): Uint8Array<ArrayBuffer> {
  const module = new ModuleWriter();
  module.importMemory("env", "memory", 1, 2);
  const run = module.declare(type, "run");
  const f = new FunctionWriter(type);
  body(f, module);
  module.define(run, f.finish());
  const bytes = module.finish();
  assert.ok(WebAssembly.validate(bytes), "the engine accepts it");
  return bytes;
}

/** The instructions of a function that returns `expression` of its parameters. */
function expressionText(params: ValueType[], result: ValueType, build: (...params: Value[]) => Value): string {
  return text(single({ params, results: [result] }, (f) => f.result(build(...f.params.map((p) => p.get)))));
}

/** Builders of two operands, by the name that the text format gives their instruction. */
const I32_BINARY = {
  add: i32.add, sub: i32.sub, mul: i32.mul, div_s: i32.divS, div_u: i32.divU, rem_s: i32.remS, rem_u: i32.remU,
  and: i32.and, or: i32.or, xor: i32.xor, shl: i32.shl, shr_s: i32.shrS, shr_u: i32.shrU, rotl: i32.rotl, rotr: i32.rotr,
  eq: i32.eq, ne: i32.ne, lt_s: i32.ltS, lt_u: i32.ltU, gt_s: i32.gtS, gt_u: i32.gtU, le_s: i32.leS, le_u: i32.leU,
  ge_s: i32.geS, ge_u: i32.geU,
}; // biome-ignore format: a table
const I64_BINARY = {
  add: i64.add, sub: i64.sub, mul: i64.mul, div_s: i64.divS, div_u: i64.divU, rem_s: i64.remS, rem_u: i64.remU,
  and: i64.and, or: i64.or, xor: i64.xor, shl: i64.shl, shr_s: i64.shrS, shr_u: i64.shrU, rotl: i64.rotl, rotr: i64.rotr,
}; // biome-ignore format: a table
const I64_COMPARE = {
  eq: i64.eq, ne: i64.ne, lt_s: i64.ltS, lt_u: i64.ltU, gt_s: i64.gtS, gt_u: i64.gtU, le_s: i64.leS, le_u: i64.leU,
  ge_s: i64.geS, ge_u: i64.geU,
}; // biome-ignore format: a table
const F64_BINARY = { add: f64.add, sub: f64.sub, mul: f64.mul, div: f64.div };

test("binary builders write the instruction of their name", () => {
  for (const [name, build] of Object.entries(I32_BINARY))
    assert.match(
      expressionText(["i32", "i32"], "i32", build),
      new RegExp(`\\(i32\\.${name} \\(local\\.get 0\\) \\(local\\.get 1\\)\\)`),
    );
  for (const [name, build] of Object.entries(I64_BINARY))
    assert.match(
      expressionText(["i64", "i64"], "i64", build),
      new RegExp(`\\(i64\\.${name} \\(local\\.get 0\\) \\(local\\.get 1\\)\\)`),
    );
  for (const [name, build] of Object.entries(I64_COMPARE))
    assert.match(expressionText(["i64", "i64"], "i32", build), new RegExp(`\\(i64\\.${name} \\(local`));
  for (const [name, build] of Object.entries(F64_BINARY))
    assert.match(expressionText(["f64", "f64"], "f64", build), new RegExp(`\\(f64\\.${name} \\(local`));
});

test("unary builders and conversions write the instruction of their name", () => {
  const rows: [ValueType, ValueType, (a: Value) => Value, string][] = [
    ["i32", "i32", i32.eqz, "i32.eqz"],
    ["i32", "i32", i32.clz, "i32.clz"],
    ["i32", "i32", i32.ctz, "i32.ctz"],
    ["i32", "i32", i32.popcnt, "i32.popcnt"],
    ["i32", "i32", i32.extend8s, "i32.extend8_s"],
    ["i32", "i32", i32.extend16s, "i32.extend16_s"],
    ["i64", "i32", i32.wrap, "i32.wrap_i64"],
    ["i64", "i32", i64.eqz, "i64.eqz"],
    ["i64", "i64", i64.clz, "i64.clz"],
    ["i64", "i64", i64.ctz, "i64.ctz"],
    ["i32", "i64", i64.extendS, "i64.extend_i32_s"],
    ["i32", "i64", i64.extendU, "i64.extend_i32_u"],
    ["f64", "i64", i64.reinterpret, "i64.reinterpret_f64"],
    ["f64", "f64", f64.sqrt, "f64.sqrt"],
    ["i64", "f64", f64.fromI64S, "f64.convert_i64_s"],
    ["i64", "f64", f64.fromI64U, "f64.convert_i64_u"],
    ["f64", "i64", f64.toI64S, "i64.trunc_f64_s"],
    ["f64", "i64", f64.toI64U, "i64.trunc_f64_u"],
    ["i64", "f64", f64.reinterpret, "f64.reinterpret_i64"],
  ];
  for (const [from, to, build, name] of rows)
    assert.ok(expressionText([from], to, build).includes(`(${name} (local.get 0))`), name);
});

test("loads and stores write their width, offset and no promise of alignment", () => {
  const loads: [(address: I32, offset?: number) => Value, string, ValueType][] = [
    [i32.load, "i32.load", "i32"],
    [i32.load8u, "i32.load8_u", "i32"],
    [i32.load8s, "i32.load8_s", "i32"],
    [i32.load16u, "i32.load16_u", "i32"],
    [i32.load16s, "i32.load16_s", "i32"],
    [i64.load, "i64.load", "i64"],
    [i64.load8u, "i64.load8_u", "i64"],
    [i64.load16u, "i64.load16_u", "i64"],
    [i64.load32u, "i64.load32_u", "i64"],
    [i64.load32s, "i64.load32_s", "i64"],
  ];
  for (const [build, name, type] of loads) {
    const align = /8/.test(name) ? "" : " align=1";
    const found = expressionText(["i32"], type, (a) => build(a, 1000));
    assert.ok(found.includes(`(${name} offset=1000${align} (local.get 0))`), `${name}: ${found}`);
  }
  const stores = text(
    single({ params: ["i32", "i32", "i64"], results: [] }, (f) => {
      const [at, word, wide] = f.params.map((p) => p.get) as [Value, Value, Value];
      f.store8(at, word, 1);
      f.store16(at, word, 2);
      f.store32(at, word, 70000);
      f.store64(at, wide);
    }),
  );
  for (const name of [
    "i32.store8 offset=1",
    "i32.store16 offset=2 align=1",
    "i32.store offset=70000 align=1",
    "i64.store align=1",
  ])
    assert.ok(stores.includes(`(${name} (local.get 0)`), name);
});

test("constants are written in the shortest form that reads back", () => {
  for (const value of [0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, 0x7fffffff, -0x80000000])
    assert.ok(expressionText([], "i32", () => i32.const(value)).includes(`(i32.const ${value})`), `${value}`);
  for (const value of [0n, 63n, 64n, -64n, -65n, 1n << 40n, -(1n << 63n), (1n << 63n) - 1n])
    assert.ok(expressionText([], "i64", () => i64.const(value)).includes(`(i64.const ${value})`), `${value}`);
});

test("selects take both sides, of i32 and i64", () => {
  assert.ok(
    expressionText(["i32", "i32", "i32"], "i32", (c, a, b) => i32.select(c!, a!, b!)).includes(
      "(select (local.get 1) (local.get 2) (local.get 0))",
    ),
  );
  assert.ok(
    expressionText(["i32", "i64", "i64"], "i64", (c, a, b) => i64.select(c!, a!, b!)).includes(
      "(select (local.get 1) (local.get 2) (local.get 0))",
    ),
  );
});

/** Run a module's function. */
function run(bytes: Uint8Array<ArrayBuffer>, ...args: number[]): number {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 2 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return (instance.exports["run"] as (...args: number[]) => number)(...args);
}

test("structured control: labels lead to the end of blocks and the head of loops", () => {
  const sum = single({ params: ["i32"], results: ["i32"] }, (f) => {
    const n = f.params[0]!;
    const total = f.local("i32");
    f.block((done) => {
      f.loop((again) => {
        f.brIf(i32.eqz(n.get), done);
        f.set(total, i32.add(total.get, n.get));
        f.set(n, i32.sub(n.get, 1));
        f.br(again);
      });
    });
    f.result(total.get);
  });
  assert.equal(run(sum, 10), 55);
  const branch = single({ params: ["i32"], results: ["i32"] }, (f) => {
    f.if(
      i32.gtS(f.params[0]!.get, 5),
      () => f.return(1),
      () => f.if(f.params[0]!.get, () => f.return(2)),
    );
    f.result(3);
  });
  assert.deepEqual(
    [6, 5, 0].map((n) => run(branch, n)),
    [1, 2, 3],
  );
  const table = single({ params: ["i32"], results: ["i32"] }, (f) => {
    f.block((fallback) => {
      f.block((one) => {
        f.block((zero) => f.brTable(f.params[0]!.get, [zero, one], fallback));
        f.return(100);
      });
      f.return(101);
    });
    f.result(102);
  });
  assert.deepEqual(
    [0, 1, 2, -1].map((n) => run(table, n)),
    [100, 101, 102, 102],
  );
});

test("temporaries of a scope are used again behind it, and never within it", () => {
  const bytes = single({ params: ["i32"], results: ["i32"] }, (f) => {
    const x = f.params[0]!.get;
    const out = f.local("i32");
    for (let i = 0; i < 5; i++) {
      f.scope(() => {
        const a = f.let(i32.add(x, i));
        const b = f.let(i32.mul(x, i + 2));
        f.set(out, i32.add(out.get, i32.xor(a, b)));
      });
    }
    f.result(out.get);
  });
  assert.match(text(bytes), /\(local i32 i32 i32\)/);
  const x = 9;
  let expected = 0;
  for (let i = 0; i < 5; i++) expected += (x + i) ^ (x * (i + 2));
  assert.equal(run(bytes, x), expected);
});

test("calls: direct, indirect, in tail position, and results that nobody wants", () => {
  const module = new ModuleWriter();
  const note = module.importFunction("env", "note", { params: ["i32"], results: ["i32"] });
  const binary: FunctionType = { params: ["i32", "i32"], results: ["i32"] };
  const entry = module.declare(binary, "run");
  const [add, sub, tail] = [module.declare(binary), module.declare(binary), module.declare(binary)];
  for (const [reference, build] of [
    [add, i32.add],
    [sub, i32.sub],
  ] as const) {
    const f = new FunctionWriter(binary);
    f.result(build(f.params[0]!.get, f.params[1]!.get));
    module.define(reference, f.finish());
  }
  const t = new FunctionWriter(binary);
  t.returnCall(sub, t.params[1]!.get, t.params[0]!.get);
  module.define(tail, t.finish());
  const slots = [add, sub, tail].map((reference) => module.tableSlot(reference));
  assert.deepEqual(slots, [0, 1, 2]);
  const f = new FunctionWriter(binary);
  f.do(call(note, 7));
  f.do(i32.load(0));
  const type = module.type(binary);
  assert.equal(type, module.type({ params: ["i32", "i32"], results: ["i32"] }), "equal types are one");
  f.result(i32.add(callIndirect(type, "i32", f.params[0]!.get, 30, f.params[1]!.get), call(add, 1000, 1)));
  module.define(entry, f.finish());
  module.importMemory("env", "memory", 1, 1);
  const bytes = module.finish();
  assert.ok(WebAssembly.validate(bytes));
  assert.match(text(bytes), /return_call 3/);
  const notes: number[] = [];
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    env: {
      memory: new WebAssembly.Memory({ initial: 1, maximum: 1 }),
      note: (n: number) => {
        notes.push(n);
        return 0;
      },
    },
  });
  const entryPoint = instance.exports["run"] as (slot: number, value: number) => number;
  assert.deepEqual(
    [0, 1, 2].map((slot) => entryPoint(slot, 4)),
    [1035, 1027, 1001 - 26],
  );
  assert.deepEqual(notes, [7, 7, 7]);
});

test("shared memories, and what cannot be written", () => {
  const module = new ModuleWriter();
  module.importMemory("env", "memory", 1, 4, true);
  assert.match(text(module.finish()), /memory \(;0;\) 1 4 shared/);
  const incomplete = new ModuleWriter();
  const reference = incomplete.declare({ params: [], results: [] });
  assert.throws(() => incomplete.finish(), /has no body/);
  assert.throws(() => incomplete.importFunction("a", "b", reference.type), /after the first function/);
  assert.throws(() => incomplete.define({ index: 9, type: reference.type }, new Uint8Array()), /not declared/);
});

test("unreachable code validates, and traps when reached", () => {
  const bytes = single({ params: [], results: ["i32"] }, (f) => f.unreachable());
  assert.throws(() => run(bytes), WebAssembly.RuntimeError);
});

test("the byte writer grows, and writes floats as their bits", () => {
  const writer = new ByteWriter(1);
  writer.f32(1.5);
  writer.f64(-2.25);
  writer.name("é");
  const bytes = writer.finish();
  const view = new DataView(bytes.buffer);
  assert.deepEqual([view.getFloat32(0, true), view.getFloat64(4, true)], [1.5, -2.25]);
  assert.deepEqual([...bytes.subarray(12)], [2, 0xc3, 0xa9]);
});

test("the size of a function grows with what is written", () => {
  const f = new FunctionWriter({ params: [], results: [] });
  assert.equal(f.size, 0);
  f.unreachable();
  assert.equal(f.size, 1);
});
