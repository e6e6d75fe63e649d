/** CPUID tells what the processor has: each feature bit stands for instructions that decode, and the others do not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CPU_MODEL_NAMES, CPU_MODELS, type CpuModelName, cpuIdentity, cpuid } from "../../src/hypervisor/cpuid.ts";
import { TABLE } from "../../src/isa/table.ts";

const ascii = (...words: number[]): string =>
  words.map((word) => String.fromCharCode(word & 0xff, (word >> 8) & 0xff, (word >> 16) & 0xff, word >>> 24)).join("");

/** Bits of leaf 1 (SDM 2A tables 3-10 and 3-11). */
const EDX: Readonly<Record<string, number>> = {
  tsc: 4, msr: 5, cx8: 8, sep: 11, cmov: 15, clfsh: 19, mmx: 23, fxsr: 24, sse: 25, sse2: 26,
}; // biome-ignore format: a table
const ECX: Readonly<Record<string, number>> = { sse3: 0, ssse3: 9, sse4_1: 19, sse4_2: 20, movbe: 22, popcnt: 23 };

const brandOf = (model: CpuModelName): string =>
  [2, 3, 4]
    .map((i) => cpuid(model, 0x80000000 + i))
    .map((r) => ascii(r.eax, r.ebx, r.ecx, r.edx))
    .join("")
    .replace(/\0+$/, "");

test("vendor and brand strings", () => {
  for (const model of CPU_MODEL_NAMES) {
    const { ebx, ecx, edx } = cpuid(model, 0);
    assert.equal(ascii(ebx, edx, ecx), "GenuineIntel");
  }
  assert.equal(brandOf("max"), "vmxon virtual processor");
  assert.match(brandOf("core2"), /Core/);
});

test("features that rows need are reported, or their encodings are undefined", () => {
  const needed = new Set(TABLE.flatMap((row) => row.traits.feature ?? []));
  assert.ok(needed.has("cmov") && needed.has("sse4_2"));
  for (const model of CPU_MODEL_NAMES) {
    const { edx, ecx } = cpuid(model, 1);
    for (const name of needed) {
      const [word, bit] = name in EDX ? [edx, EDX[name]!] : [ecx, ECX[name]!];
      assert.equal(cpuIdentity(model).has(name), ((word >> bit) & 1) === 1, `${model}: ${name}`);
    }
  }
});

test("each model has what the one before it has, and the default has all that rows need", () => {
  for (const [i, model] of CPU_MODEL_NAMES.entries()) {
    if (i === 0) continue;
    const before = CPU_MODELS[CPU_MODEL_NAMES[i - 1]!].features;
    assert.deepEqual(
      [...before].filter((name) => !CPU_MODELS[model].features.has(name)),
      [],
    );
  }
  for (const row of TABLE) assert.ok(CPU_MODELS.max.features.has(row.traits.feature ?? "fpu"), row.mnemonic);
});

test("leaves beyond the last answer as the highest basic one, brand strings only where the product has one", () => {
  for (const model of CPU_MODEL_NAMES) {
    const highest = cpuid(model, 0).eax;
    assert.deepEqual(cpuid(model, 0x1234), cpuid(model, highest), model);
    if (CPU_MODELS[model].brand === "") assert.deepEqual(cpuid(model, 0x80000000), cpuid(model, highest), model);
    else assert.equal(cpuid(model, 0x80000000).eax >>> 0, 0x80000004, model);
    if (highest >= 2) assert.equal(cpuid(model, 2).eax & 0xff, 1, model);
  }
});

test("an APIC is reported from the Pentium on, where there is one; its timer's deadlines where the model knows them", () => {
  for (const model of CPU_MODEL_NAMES) {
    const [there, away] = [true, false].map((apic) => cpuid(model, 1, apic));
    assert.deepEqual([(there!.edx >> 9) & 1, (away!.edx >> 9) & 1], [model === "486" ? 0 : 1, 0], model);
    assert.deepEqual([(there!.ecx >> 24) & 1, (away!.ecx >> 24) & 1], [model === "max" ? 1 : 0, 0], model);
  }
});

test("no machine check, no PAT and no long mode are claimed", () => {
  const absent = [7, 12, 14, 16];
  for (const model of CPU_MODEL_NAMES) {
    for (const bit of absent) assert.equal((cpuid(model, 1).edx >> bit) & 1, 0);
    assert.equal((cpuid(model, 0x80000001).edx >> 29) & 1, 0);
  }
});
