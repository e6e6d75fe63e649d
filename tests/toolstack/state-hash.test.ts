/** The fingerprint of plain data tells values apart that differ in one place only. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hashPlain } from "../../src/toolstack/state-hash.ts";

test("equal data has the same hash, wherever its bytes lie", () => {
  const bytes = Uint8Array.from({ length: 41 }, (_, index) => index * 7);
  const shifted = new Uint8Array(48).subarray(3, 44);
  shifted.set(bytes);
  assert.equal(hashPlain({ ram: shifted, time: 5 }), hashPlain({ ram: bytes, time: 5 }));
  assert.match(hashPlain(bytes), /^[0-9a-f]{16}$/);
});

test("any difference shows: a bit, a length, a name, an order, a type, a fraction", () => {
  const bytes = new Uint8Array(9);
  const values: unknown[] = [
    bytes,
    new Uint8Array(8),
    Array.from(bytes),
    { a: 1, b: 2 },
    { a: 2, b: 1 },
    { b: 2, a: 1 },
    { a: 1, c: 2 },
    { a: 1, b: "2" },
    [[1], 2],
    [[1, 2]],
    0.1,
    0.2,
    -0,
    0,
    true,
    undefined,
    null,
    "",
  ];
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = bytes.slice();
    changed[bit >> 3] = 1 << (bit & 7);
    values.push(changed);
  }
  assert.equal(new Set(values.map(hashPlain)).size, values.length);
});
