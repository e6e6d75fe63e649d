/** Twenty seconds of hostile guests: `npm run soak` for longer. A seed that fails is in the message. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runScenario } from "./scenario.ts";

const SECONDS = 20;
const INSTRUCTIONS = 40_000;
/** Seeds that once found something. */
const KNOWN = [1092];

test("whatever a guest does ends as a stop of its domain", async () => {
  const run = async (seed: number): Promise<void> => {
    const { defect, reason } = await runScenario(seed, INSTRUCTIONS);
    assert.equal(defect, undefined, `seed ${seed}`);
    assert.ok(["destroyed", "poweroff"].includes(reason.kind), `seed ${seed}: ${reason.kind} ${reason.message}`);
  };
  for (const seed of KNOWN) await run(seed);
  const end = performance.now() + SECONDS * 1000;
  for (let seed = Math.floor(Math.random() * 2 ** 31); performance.now() < end; seed++) await run(seed);
});

test("a seed gives the same run each time", async () => {
  for (const seed of [3, 12, 20]) {
    const first = await runScenario(seed, INSTRUCTIONS);
    const second = await runScenario(seed, INSTRUCTIONS);
    assert.deepEqual(second, first, `seed ${seed}`);
  }
});
