/** Suggestions for slips of the finger. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { didYouMean, editDistance, nearest } from "../../src/toolstack/suggest.ts";

test("distances count insertions, deletions, replacements and swapped neighbours", () => {
  assert.equal(editDistance("memory", "memory"), 0);
  assert.equal(editDistance("memroy", "memory"), 1);
  assert.equal(editDistance("memry", "memory"), 1);
  assert.equal(editDistance("memooory", "memory"), 2);
  assert.equal(editDistance("", "abc"), 3);
});

test("a near name is suggested, a far one is not", () => {
  assert.equal(nearest("snapshoot", ["serial", "snapshot"]), "snapshot");
  assert.equal(nearest("xyzzy", ["serial", "snapshot"]), undefined);
  assert.equal(didYouMean("expct", ["expect"], "--"), ' Did you mean "--expect"?');
  assert.equal(didYouMean("zzz", ["expect"]), "");
});
