/** Every x87 instruction against silicon: recorded results everywhere, fresh cases where the host is x86 Linux. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CASE_ROWS, EAX, generateCases, runCase, type X87Case, type X87Result } from "./cases.ts";
import { X87Machine } from "./machine.ts";
import { runNative } from "./native.ts";
import { describe, differences, RECORDED, unpackResults } from "./silicon.ts";

function compareAll(cases: readonly X87Case[], expected: readonly X87Result[]): void {
  const machine = new X87Machine();
  for (const [index, one] of cases.entries()) {
    const found = differences(one, expected[index] as X87Result, runCase(machine, one));
    assert.deepEqual(found, [], describe(one));
  }
}

test("every instruction does what the recorded processor did", (context) => {
  const cases = generateCases(RECORDED.seed, RECORDED.perRow);
  compareAll(cases, unpackResults(cases, readFileSync(RECORDED.path), EAX));
  context.diagnostic(`${cases.length} cases of ${CASE_ROWS.length} instructions`);
});

test("every instruction does what this host's processor does", (context) => {
  const seed = Number(process.env["VMXON_SEED"] ?? Date.now() % 1_000_000);
  const cases = generateCases(seed, 100);
  const expected = runNative(cases);
  if (expected === undefined) return context.skip("this host cannot run 32-bit x86 Linux programs");
  context.diagnostic(`seed ${seed}: ${cases.length} fresh cases (VMXON_SEED repeats them)`);
  return compareAll(cases, expected);
});
