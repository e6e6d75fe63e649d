/** Compiled regions against the interpreter, on code that went wrong once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble } from "../../src/firmware/assembler.ts";
import { createMachine, type TestMachine } from "../support/machine.ts";

const CODE = 0x1000;
const DATA = 0x8000;
const BUDGET = 1000;
const REGISTERS = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags"];
const machines = { interpreter: createMachine("interpreter"), compiled: createMachine("compiled") };

/** Registers and data after `text`, run to its HLT from the given flags. */
function outcome(machine: TestMachine, text: string, eflags: number): unknown {
  const { memory } = machine;
  memory.set(assemble(`${text}\nhlt`, { origin: CODE, bits: 32 }).code, CODE);
  memory.fill(0x5a, DATA, DATA + 64);
  machine.invalidate();
  machine.mode("protected32");
  for (const [i, register] of REGISTERS.entries()) machine.set(register, i * 0x01020304);
  machine.set("esi", DATA);
  machine.set("esp", DATA);
  machine.set("eip", CODE);
  machine.set("eflags", eflags);
  assert.equal(machine.run(BUDGET).kind, "halt", text);
  return [REGISTERS.map((register) => machine.get(register)), [...memory.subarray(DATA, DATA + 64)]];
}

/** Both engines do the same, for every setting of the arithmetic flags in `flags`. */
function same(text: string, flags: readonly number[] = [0x2, 0x3, 0x46, 0x8d7]): void {
  for (const eflags of flags)
    assert.deepEqual(outcome(machines.compiled, text, eflags), outcome(machines.interpreter, text, eflags), text);
}

test("a condition that is stored to memory is that of before the flags were put in order", () => {
  for (const store of [
    "setae [esi]",
    "setb [esi+1]",
    "setbe [esi]",
    "setl [esi]",
    "adc [esi], eax",
    "rcl dword [esi], 1",
  ]) {
    same(`cmc\n${store}`);
    same(`cmp eax, edx\ninc eax\n${store}`);
    same(`cmp eax, edx\nja short next\nnext:\ninc eax\n${store}\n${store}`);
    same(`cmp eax, edx\nja short next\nnext:\nror cl, 3\ncmc\n${store}\ndec ebx\n${store}`);
  }
});
