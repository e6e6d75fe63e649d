/** Generated code as text: what people see of a function is what was written. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { generateInterpreter } from "../../src/processor/interpreter/generate.ts";
import { call, i32, i64 } from "../../src/wasm/expression.ts";
import { FunctionWriter } from "../../src/wasm/function.ts";
import { ModuleWriter } from "../../src/wasm/module.ts";
import { i8x16, i32x4, v128 } from "../../src/wasm/simd.ts";
import { functionText } from "../../src/wasm/text.ts";

test("statements stand on lines of their own, expressions nested, structure indented", () => {
  const module = new ModuleWriter();
  module.importMemory("env", "memory", 1, 1);
  const look = module.importFunction("env", "look", { params: ["i32"], results: ["i32"] });
  const reference = module.declare({ params: ["i32"], results: ["i32"] }, "example");
  const f = new FunctionWriter(reference.type);
  const [p] = f.params;
  const sum = f.let(i32.add(i32.load(p!.get, 0x20), 5));
  f.block((out) => {
    f.brIf(i32.ltS(sum, 0), out);
    f.if(
      sum,
      () => f.store64(0x1000, i64.extendU(sum)),
      () => f.return(call(look, 3)),
    );
    f.loop((again) => f.brTable(sum, [out], again));
  });
  f.store128(sum, i8x16.shuffle(i32x4.splat(sum), v128.const(7n), []));
  f.result(i32.select(sum, i32x4.extract(v128.load(sum), 2), 0x4000));
  module.define(reference, f.finish());
  assert.deepEqual(functionText(module.finish(), "example"), [
    "example {",
    "  v1 = i32.add(i32.load[v0 + 0x20], 5)",
    "  block $0 {",
    "    br $0 if i32.lt_s(v1, 0)",
    "    if $1 v1 {",
    "      i64.store[0x1000] = i64.extend_i32_u(v1)",
    "    } else {",
    "      return look(3)",
    "    }",
    "    loop $2 {",
    "      br [$0 $2] by v1",
    "    }",
    "  }",
    "  v128.store[v1] = i8x16.shuffle(i32x4.splat(v1), v128.const(0x00000000000000000000000000000007), " +
      "0x00000000000000000000000000000000)",
    "  return (v1 ? i32x4.extract.2(v128.load[v1]) : 0x4000)",
    "}",
  ]);
});

test("every instruction of the interpreter can be shown", () => {
  const lines = functionText(generateInterpreter().bytes, "run");
  assert.ok(lines.length > 10_000);
  assert.ok(!lines.some((line) => line.includes("?)")), "an operand is missing");
});
