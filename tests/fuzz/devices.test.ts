/** Twenty seconds of guests that talk to devices, and of hostile files in place of saved domains: `npm run soak` for longer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runDevices } from "./devices.ts";
import { runSaved } from "./saved.ts";

const SECONDS = 10;
const ACTIONS = 3000;

/** Run seeds until the time is up. */
async function forAWhile(run: (seed: number) => Promise<{ readonly defect: string | undefined }>): Promise<void> {
  const end = performance.now() + SECONDS * 1000;
  for (let seed = Math.floor(Math.random() * 2 ** 31); performance.now() < end; seed++) {
    const { defect } = await run(seed);
    assert.equal(defect, undefined, `seed ${seed}`);
  }
}

test("whatever is done to devices throws nothing, stays inside, and can be saved", () =>
  forAWhile((seed) => runDevices(seed, ACTIONS)));

test("a hostile file in place of a saved domain is refused, or is a domain like any other", () => forAWhile(runSaved));
