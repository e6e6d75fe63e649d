/** A run may be cut anywhere: the same instructions in other pieces give the same state. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EXIT } from "../../src/processor/exits.ts";
import { code, number } from "../fuzz/code.ts";
import { Random } from "../oracle/random.ts";
import { AT, Guest } from "./guest.ts";

/** What the page tables of a guest map. */
const MAPPED = 4 << 20;

/** Registers and flags, and a digest of memory. */
function fingerprint(guest: Guest): unknown {
  const { cpu, machine } = guest;
  let digest = 0;
  const words = new Int32Array(machine.memory.buffer, machine.memory.byteOffset, MAPPED >> 2);
  for (const word of words) digest = (Math.imul(digest, 31) + word) | 0;
  const registers = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags"].map((r) => guest.get(r));
  const segments = [0, 1, 2, 3, 4, 5].map((s) => cpu.segment(s, "selector"));
  return [registers, segments, cpu.get("cr2"), cpu.cpl, digest];
}

/** A guest with random code whose exceptions go to code that skips ahead, so that it keeps going. */
function randomGuest(seed: number): Guest {
  const random = new Random(seed);
  const guest = new Guest(random.oneIn(2) ? "user32" : "protected32");
  guest.page();
  const text = code(random, 32, 0x8000);
  guest.machine.memory.set(text, AT.code);
  for (let vector = 0; vector < 256; vector++) guest.gate(vector, 0xee, undefined, AT.code + random.below(0x8000));
  for (const register of ["eax", "ecx", "edx", "ebx", "esi", "edi", "ebp"])
    guest.set(register, number(random) % 0x300000);
  guest.set("eip", AT.code + random.below(0x8000));
  guest.machine.invalidate();
  return guest;
}

/** Run `total` instructions in pieces, in turn; how many there were, and how it ended. An exit ends the run. */
function runPieces(guest: Guest, total: number, pieces: readonly number[]): { count: number; end: number } {
  const { processor } = guest.machine;
  const start = processor.instructions;
  for (let i = 0; ; i++) {
    const left = total - (processor.instructions - start);
    guest.cpu.set("preemptionTimer", Math.min(left, pieces[i % pieces.length]!));
    const end = left > 0 ? processor.run() : EXIT.preemptionTimer;
    const count = processor.instructions - start;
    if (end !== EXIT.preemptionTimer || count >= total) return { count, end };
  }
}

/** Long string instructions use up the timer faster than one tick each: what counts is how many instructions ran. */
function compare(seed: number, total: number, pieces: readonly number[]): void {
  const whole = randomGuest(seed);
  const { processor } = whole.machine;
  const start = processor.instructions;
  whole.cpu.set("preemptionTimer", total);
  const end = processor.run();
  const count = processor.instructions - start;
  const expected = fingerprint(whole);
  const split = randomGuest(seed);
  assert.deepEqual(runPieces(split, end === EXIT.preemptionTimer ? count : total, pieces), { count, end });
  assert.deepEqual(fingerprint(split), expected);
}

test("any split of a run gives the same state", () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 12 });
  fc.assert(fc.property(fc.nat(), fc.integer({ min: 1, max: 400 }), pieces, compare), { numRuns: 100 });
});

test("one instruction at a time gives the same state", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 300 }), (seed, total) => compare(seed, total, [1])),
    { numRuns: 60 },
  );
});
