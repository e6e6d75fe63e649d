/** CPUID tells what the processor has: each feature bit stands for instructions that decode, and the others do not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuid, hasFeature } from "../../src/hypervisor/cpuid.ts";
import { TABLE } from "../../src/isa/table.ts";

const ascii = (...words: number[]): string =>
  words.map((word) => String.fromCharCode(word & 0xff, (word >> 8) & 0xff, (word >> 16) & 0xff, word >>> 24)).join("");

test("vendor and brand strings", () => {
  const { ebx, ecx, edx } = cpuid(0);
  assert.equal(ascii(ebx, edx, ecx), "GenuineIntel");
  const brand = [2, 3, 4].map((i) => cpuid(0x80000000 + i)).map((r) => ascii(r.eax, r.ebx, r.ecx, r.edx));
  assert.equal(brand.join("").replace(/\0+$/, ""), "vmxon virtual processor");
});

test("features that rows need are reported, or their encodings are undefined", () => {
  const bits: Readonly<Record<string, number>> = { cmov: 15, cx8: 8, sep: 11 };
  const needed = new Set(TABLE.flatMap((row) => row.traits.feature ?? []));
  for (const name of needed) {
    const bit = bits[name];
    const reported = bit !== undefined && ((cpuid(1).edx >> bit) & 1) === 1;
    assert.equal(hasFeature(name), reported, name);
  }
  assert.ok(needed.has("cmov"));
});

test("no vector extensions, no APIC and no long mode are claimed", () => {
  const MMX = 23;
  const FXSR = 24;
  const SSE = 25;
  const APIC = 9;
  for (const bit of [MMX, FXSR, SSE, APIC]) assert.equal((cpuid(1).edx >> bit) & 1, 0);
  assert.equal(cpuid(1).ecx, 0);
  assert.equal((cpuid(0x80000001).edx >> 29) & 1, 0);
});
