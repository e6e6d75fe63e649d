/** Modules: what is written is what wabt reads back, and control flow goes where it says. */
import assert from "node:assert/strict";
import { test } from "node:test";
import wabtInit from "wabt";
import { generateInterpreter } from "../../src/processor/interpreter/generate.ts";
import { call, callIndirect, i32 } from "../../src/wasm/expression.ts";
import { FunctionWriter } from "../../src/wasm/function.ts";
import { ByteWriter, ModuleWriter } from "../../src/wasm/module.ts";

/** Text of a module as wabt reads it; throws when it is not valid. */
async function disassemble(bytes: Uint8Array): Promise<string> {
  const wabt = await wabtInit();
  const module = wabt.readWasm(bytes, { readDebugNames: false, mutable_globals: true });
  module.validate();
  const text = module.toText({ foldExprs: false, inlineExport: true });
  module.destroy();
  return text;
}

test("LEB128 numbers come out as the engine reads them", () => {
  const module = new ModuleWriter();
  const values = [0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, -8193, 0x7fffffff, -0x80000000];
  const run = module.declare({ params: ["i32"], results: ["i32"] }, "run");
  const f = new FunctionWriter(run.type);
  for (const [index, value] of values.entries()) f.if(i32.eq(f.params[0]!.get, index), () => f.return(value));
  f.result(0);
  module.define(run, f.finish());
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.finish()));
  const compiled = instance.exports["run"] as (index: number) => number;
  assert.deepEqual(
    values.map((_, index) => compiled(index)),
    values,
  );
});

test("a byte writer grows with what is written", () => {
  const writer = new ByteWriter(1);
  writer.append(new Uint8Array(1000).fill(7));
  writer.u32(300);
  writer.s64(-1n);
  assert.equal(writer.finish().length, 1003);
});

test("imports, table, memory and calls read back in wabt", async () => {
  const module = new ModuleWriter();
  module.importMemory("env", "memory", 1, 2);
  const twice = module.importFunction("env", "twice", { params: ["i32"], results: ["i32"] });
  const add = module.declare({ params: ["i32", "i32"], results: ["i32"] });
  const run = module.declare({ params: ["i32"], results: ["i32"] }, "run");
  const a = new FunctionWriter(add.type);
  a.result(i32.add(a.params[0]!.get, a.params[1]!.get));
  module.define(add, a.finish());
  const slot = module.tableSlot(add);
  const f = new FunctionWriter(run.type);
  const x = f.let(call(twice, f.params[0]!.get));
  f.store32(16, x, 4);
  f.result(callIndirect(module.type(add.type), "i32", slot, i32.load(16, 4), 100));
  module.define(run, f.finish());
  const bytes = module.finish();
  const text = await disassemble(bytes);
  for (const expected of ["call_indirect", '(import "env" "memory" (memory', "i32.store offset=20", "(elem"]) {
    assert.ok(text.includes(expected), `${expected} in\n${text}`);
  }
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 2 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    env: { memory, twice: (v: number) => 2 * v },
  });
  assert.equal((instance.exports["run"] as (v: number) => number)(21), 142);
  assert.equal(new DataView(memory.buffer).getInt32(20, true), 42);
});

test("labels lead out of and back into the blocks that they name", () => {
  const module = new ModuleWriter();
  const run = module.declare({ params: ["i32"], results: ["i32"] }, "run");
  const f = new FunctionWriter(run.type);
  const sum = f.local("i32");
  const n = f.params[0]!;
  // Sum of the odd numbers up to n, leaving at 100: a loop in a block, with a branch table over parity.
  f.block((done) => {
    f.loop((again) => {
      f.brIf(i32.leS(n.get, 0), done);
      f.brIf(i32.gtS(sum.get, 100), done);
      f.block((odd) => {
        f.block((even) => {
          f.brTable(i32.and(n.get, 1), [even], odd);
        });
        f.set(n, i32.sub(n.get, 1));
        f.br(again);
      });
      f.set(sum, i32.add(sum.get, n.get));
      f.set(n, i32.sub(n.get, 1));
      f.br(again);
    });
  });
  f.result(sum.get);
  module.define(run, f.finish());
  const compiled = new WebAssembly.Instance(new WebAssembly.Module(module.finish())).exports["run"] as (
    n: number,
  ) => number;
  assert.equal(compiled(9), 25);
  assert.equal(compiled(0), 0);
  assert.equal(compiled(60), 59 + 57);
});

test("temporaries are free again behind their scope, and no sooner", () => {
  const f = new FunctionWriter({ params: [], results: [] });
  let first = -1;
  f.scope(() => {
    const a = f.temporary("i32");
    const b = f.temporary("i32");
    assert.notEqual(a.index, b.index);
    first = a.index;
  });
  const reused = [f.temporary("i32").index, f.temporary("i32").index];
  assert.ok(reused.includes(first));
});

test("the generated interpreter is a module that wabt accepts", async () => {
  const { bytes, hot, cold } = generateInterpreter();
  assert.ok(WebAssembly.validate(bytes));
  const text = await disassemble(bytes);
  assert.match(text, /\(func \(;\d+;\) \(export "run"\)/);
  assert.ok(hot > 300 && cold > 300, `${hot} arms in the loop, ${cold} outside`);
});
