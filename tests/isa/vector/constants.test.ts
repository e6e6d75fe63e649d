/**
 * Semantics take a known immediate by another way than one that is read at run time: compilers know it, the interpreter
 * does not. Both ways give the same state.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Form } from "../../../src/isa/row.ts";
import { FIELD, FPU_REGS, FPU_SCRATCH, STATE_SIZE, XMM_REGS, XMM_STRIDE } from "../../../src/isa/state.ts";
import { defineRuntime, type Runtime } from "../../../src/isa/vector/runtime.ts";
import { Arm } from "../../../src/processor/interpreter/arm.ts";
import { RECORD, STATUS, VARIANT, VECTOR_SLOT } from "../../../src/processor/interpreter/record.ts";
import { defineShared, type SharedFunctions } from "../../../src/processor/interpreter/shared.ts";
import { STATE } from "../../../src/processor/memory-map.ts";
import { call, i32, type Value } from "../../../src/wasm/expression.ts";
import { FunctionWriter } from "../../../src/wasm/function.ts";
import { ModuleWriter } from "../../../src/wasm/module.ts";
import { Random } from "../../oracle/random.ts";
import { VECTOR_FORMS } from "./cases.ts";

const FORMS = VECTOR_FORMS.filter((form) => form.operands.includes("Ibu") && form.mod !== "mem" && form.row.semantics);
const IMMEDIATES = [...Array.from({ length: 34 }, (_, i) => i), 0x40, 0x4c, 0x80, 0x93, 0xb1, 0xe4, 0xf0, 0xff];
const ROUNDS = 6;
const PAGES = 2;
const RECORD_AT = 512;

/** Write the register form of `form` as an exported function; a given immediate is a constant in it. */
function define(
  module: ModuleWriter,
  shared: SharedFunctions,
  runtime: Runtime,
  form: Form,
  name: string,
  known?: number,
): void {
  const reference = module.declare({ params: ["i32"], results: ["i32"] }, name);
  const f = new FunctionWriter(reference.type);
  const s = i32.const(STATE);
  const field = (which: keyof typeof FIELD): Value => i32.load(s, FIELD[which].offset);
  const leave = (): void => f.return(STATUS.fault);
  const context = {
    f,
    s,
    pc: f.params[0]!.get,
    shared,
    runtime,
    inline: false,
    start: field("startEip"),
    readTable: field("readTable"),
    writeTable: field("writeTable"),
    flagsResult: () => field("flagsResult"),
    flagsCarry: () => field("flagsCarry"),
    setFlags: (result: Value | number | undefined, carry: Value | number | undefined): void => {
      if (carry !== undefined) f.store32(s, carry, FIELD.flagsCarry.offset);
      if (result !== undefined) f.store32(s, result, FIELD.flagsResult.offset);
    },
    fault: leave,
    faultIf: (condition: Value | number) => f.if(condition, leave),
    jump: leave,
    jumpLinked: leave,
    helper: leave,
    leaveTo: (helper: number) => f.return(call(shared.helper, helper, 0)),
  };
  const arm = new Arm(context, form, 32, VARIANT.register);
  const operands = arm
    .operands()
    .map((operand, i) =>
      known !== undefined && form.operands[i] === "Ibu" ? { ...operand, read: () => i32.const(known) } : operand,
    );
  f.scope(() => form.row.semantics?.(arm, ...operands));
  f.result(STATUS.next);
  module.define(reference, f.finish());
}

test("known immediates do what immediates read at run time do", (t) => {
  const module = new ModuleWriter();
  module.importMemory("env", "memory", PAGES, PAGES);
  const access = (params: number, results: number) => ({
    params: new Array<"i32">(params).fill("i32"),
    results: new Array<"i32">(results).fill("i32"),
  });
  const imports = {
    codeWrite: module.importFunction("env", "codeWrite", access(2, 0)),
    readElsewhere: module.importFunction("env", "readElsewhere", access(3, 1)),
    writeElsewhere: module.importFunction("env", "writeElsewhere", access(2, 1)),
    coversCode: module.importFunction("env", "coversCode", access(2, 1)),
    helper: module.importFunction("env", "helper", access(2, 1)),
  };
  const shared = defineShared(module, imports);
  const runtime = defineRuntime(module);
  for (const form of FORMS) {
    define(module, shared, runtime, form, `${form.id}`);
    for (const known of IMMEDIATES) define(module, shared, runtime, form, `${form.id}:${known}`, known);
  }
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  const unused = (): number => assert.fail("no arm of a register form leaves");
  const env = {
    memory,
    codeWrite: unused,
    readElsewhere: unused,
    writeElsewhere: unused,
    coversCode: unused,
    helper: unused,
  };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.finish()), { env });
  const arms = exports as Record<string, (pc: number) => number>;

  const bytes = new Uint8Array(memory.buffer);
  const view = new DataView(memory.buffer);
  const random = new Random(0xc0);
  const state = bytes.subarray(STATE, STATE + STATE_SIZE);
  const scratch = state.subarray(FPU_SCRATCH, XMM_REGS);
  let cases = 0;
  for (const form of FORMS) {
    for (const known of IMMEDIATES) {
      for (let round = 0; round < ROUNDS; round++) {
        state.fill(0);
        for (let at = 0; at < XMM_STRIDE * 8; at++) state[XMM_REGS + at] = random.u32() >>> 24;
        // Numbers in one round, so that the fast ways of floating point are taken.
        for (let i = 0; i < 8 && round === 0; i++) {
          const at = STATE + XMM_REGS + i * XMM_STRIDE;
          for (let lane = 0; lane < 4; lane++) view.setFloat32(at + lane * 4, random.below(100) / 7, true);
        }
        for (let at = 0; at < 128; at++) state[FPU_REGS + at] = random.u32() >>> 24;
        for (let at = 0; at < 64; at++) state[at] = random.u32() >>> 24;
        view.setUint32(STATE + FIELD.mxcsr.offset, 0x1fa0, true);
        view.setInt32(STATE + FIELD.faultVector.offset, -1, true);
        const slot = form.operands.map((code) => (/^[GER]/.test(code) ? 8 : VECTOR_SLOT)) as [number, number];
        bytes[RECORD_AT + RECORD.ra] = slot[0] * random.below(8);
        bytes[RECORD_AT + RECORD.rb] = slot[1] * random.below(8);
        view.setUint32(RECORD_AT + RECORD.immediate, known, true);
        const before = state.slice();
        assert.equal(arms[`${form.id}`]!(RECORD_AT), STATUS.next);
        scratch.fill(0);
        const expected = state.slice();
        state.set(before);
        assert.equal(arms[`${form.id}:${known}`]!(RECORD_AT), STATUS.next);
        scratch.fill(0);
        assert.deepEqual(state, expected, `${form.row.mnemonic} ${form.operands.join()} with ${known}`);
        cases++;
      }
    }
  }
  t.diagnostic(`${FORMS.length} forms, ${cases} cases`);
});
