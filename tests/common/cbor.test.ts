/** Plain data as CBOR: it comes back as it was, others can read it, and damaged bytes are refused by a typed error. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decode, encode } from "../../src/common/cbor.ts";
import { VmxonError } from "../../src/common/errors.ts";

const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.double({ noNaN: true }),
    fc.maxSafeInteger(),
    fc.string({ unit: "grapheme" }),
    fc.boolean(),
    fc.constant(undefined),
    fc.constant(null),
    fc.uint8Array({ maxLength: 300 }),
    fc.int32Array(),
    fc.uint16Array(),
    fc.uint32Array(),
    fc.float64Array({ noNaN: true }),
    fc.array(tie("value"), { maxLength: 30 }),
    fc.dictionary(
      fc.string().filter((key) => key !== "__proto__"),
      tie("value"),
      { noNullPrototype: true },
    ),
  ),
})).value;

test("whatever is plain comes back as it was", () => {
  fc.assert(fc.property(plain, (value) => assert.deepEqual(decode(encode(value)), value)));
});

/** RFC 8949, appendix A. */
const KNOWN: readonly (readonly [unknown, string])[] = [
  [0, "00"],
  [23, "17"],
  [24, "1818"],
  [1000, "1903e8"],
  [1000000, "1a000f4240"],
  [1000000000000, "1b000000e8d4a51000"],
  [-1, "20"],
  [-1000, "3903e7"],
  [1.1, "fb3ff199999999999a"],
  [false, "f4"],
  [undefined, "f7"],
  [Uint8Array.of(1, 2, 3, 4), "4401020304"],
  ["IETF", "6449455446"],
  [[1, [2, 3]], "8201820203"],
  [{ a: 1, b: [2, 3] }, "a26161016162820203"],
];

test("the bytes are those of RFC 8949", () => {
  for (const [value, hex] of KNOWN) {
    assert.equal(Buffer.from(encode(value)).toString("hex"), hex);
    assert.deepEqual(decode(Buffer.from(hex, "hex")), value);
  }
});

test("damaged bytes give a typed error or some other value, and take no memory that is not there", () => {
  const damaged = fc
    .tuple(plain, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.nat(40))
    .map(([value, changes, cut]) => {
      const bytes = encode(value).slice();
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      return bytes.subarray(0, Math.max(0, bytes.length - Math.max(0, cut - 20)));
    });
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 64 })), (bytes) => {
      try {
        decode(bytes);
      } catch (error) {
        assert.ok(error instanceof VmxonError && error.code === "state", String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test("what no writer of ours makes is refused", () => {
  for (const [hex, what] of [
    ["a2616101616102", /twice/],
    ["a1695f5f70726f746f5f5f01", /without a name/],
    ["a10101", /without a name/],
    ["9bffffffffffffffff", /too large/],
    ["9a7fffffff", /too soon/],
    ["5f", /unknown length/],
    ["62c328", /UTF-8/],
    ["0000", /behind its end/],
    ["81".repeat(40), /too deep/],
    ["d84e43010203", /part of an element/],
  ] as const)
    assert.throws(() => decode(Buffer.from(hex, "hex")), what);
});
