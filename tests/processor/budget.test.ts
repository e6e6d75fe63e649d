/** A run may be cut anywhere: the same instructions in other pieces give the same state. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EXIT } from "../../src/processor/exits.ts";
import type { Guest } from "./guest.ts";
import { fingerprint, randomGuest } from "./random-guest.ts";

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
