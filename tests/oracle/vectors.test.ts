/** Generator and vector file: repeatable cases, results that survive storing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestCase, TestResult } from "./case.ts";
import { differences } from "./compare.ts";
import { generate } from "./generate.ts";
import { WINDOW } from "./layout.ts";
import { Random } from "./random.ts";
import { Fingerprint, VectorReader, VectorWriter } from "./vectors.ts";

const AMOUNT = { integer: 1, x87: 1, sequences: 50 };

/** Any result: here and there something changed. */
function madeUp(test: TestCase, random: Random): TestResult {
  const registers = test.registers.map((value) => (random.oneIn(3) ? random.u32() : value));
  const segments = test.segments.map((value) => (random.oneIn(9) ? random.below(0x10000) : value));
  const fpu = test.fpu.map((value, i) => (random.oneIn(9) && (i < 2 || i >= 28) ? random.below(256) : value));
  const memory = new Map<number, number>();
  for (let i = random.below(4); i > 0; i--) memory.set(WINDOW.base + random.below(WINDOW.size), random.below(256));
  const vector = random.pick([0, 3, 6, 13, 14]);
  const errorCode = vector >= 13 ? random.below(0x10000) : 0;
  const address = vector === 14 ? random.u32() : 0;
  return { vector, errorCode, address, registers, eip: random.u32(), eflags: random.u32(), segments, fpu, memory };
}

test("the same seed makes the same cases, another seed others", () => {
  const print = (seed: number): number => {
    const fingerprint = new Fingerprint();
    for (const made of generate(seed, AMOUNT)) fingerprint.add(made);
    return fingerprint.value;
  };
  assert.equal(print(1), print(1));
  assert.notEqual(print(1), print(2));
});

test("results come back from the file as they went in", () => {
  const random = new Random(99);
  const cases = [...generate(7, AMOUNT)];
  const results = cases.map((made) => madeUp(made, random));
  const writer = new VectorWriter();
  for (const [i, made] of cases.entries()) writer.add(made, results[i]!);
  const reader = new VectorReader(writer.finish(7, AMOUNT, "a processor"));
  assert.deepEqual(reader.header.amount, AMOUNT);
  assert.equal(reader.header.seed, 7);
  assert.equal(reader.header.count, cases.length);
  assert.equal(reader.header.processor, "a processor");
  for (const [i, made] of cases.entries()) assert.deepEqual(reader.next(made), results[i]);
});

test("a comparison leaves out what is open, and nothing else", () => {
  const [made] = generate(3, { integer: 0, x87: 0, sequences: 1 }) as Iterable<TestCase>;
  const base = madeUp(made!, new Random(5));
  const open = { ...made!.open, flags: 1 << 4, destination: false };
  const subject = { ...made!, open };
  assert.deepEqual(differences(subject, base, { ...base, eflags: base.eflags ^ (1 << 4) }), []);
  assert.equal(differences(subject, base, { ...base, eflags: base.eflags ^ 1 }).length, 1);
  const registers = base.registers.slice();
  registers[2] = (registers[2] as number) ^ 1;
  assert.match(differences(subject, base, { ...base, registers })[0] ?? "", /^edx is/);
});
