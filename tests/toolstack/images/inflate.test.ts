/** Decompression, against zlib's compression. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { constants, deflateRawSync, deflateSync } from "node:zlib";
import { VmxonError } from "../../../src/common/errors.ts";
import { inflate, inflateZlib } from "../../../src/toolstack/images/inflate.ts";
import { randomNumbers } from "./random-operations.ts";

/** Text-like, noisy or monotonous bytes. */
function sample(random: (limit: number) => number): Uint8Array {
  const letters = 1 << random(9);
  const bytes = new Uint8Array(random(70_000));
  for (let at = 0; at < bytes.length; ) {
    if (at > 0 && random(3) === 0) {
      const from = random(at);
      const length = Math.min(random(400), bytes.length - at);
      for (let index = 0; index < length; index++) bytes[at + index] = bytes[from + index]!;
      at += length;
    } else bytes[at++] = random(letters);
  }
  return bytes;
}

test("what zlib has compressed comes out again, whatever follows", () => {
  const strategies = [constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED, constants.Z_HUFFMAN_ONLY, constants.Z_RLE];
  for (let seed = 1; seed < 150; seed++) {
    const random = randomNumbers(seed);
    const bytes = sample(random);
    const options = { level: random(10), strategy: strategies[random(strategies.length)]!, windowBits: 9 + random(7) };
    const packed = Buffer.concat([deflateRawSync(bytes, options), new Uint8Array(random(50)).map(() => random(256))]);
    const output = new Uint8Array(bytes.length + random(2) * 100);
    assert.equal(inflate(packed, output), bytes.length, `seed ${seed}`);
    assert.ok(Buffer.compare(output.subarray(0, bytes.length), bytes) === 0, `seed ${seed}`);
    const part = new Uint8Array(bytes.length >> 1);
    assert.equal(inflateZlib(deflateSync(bytes, options), part), part.length);
    assert.ok(Buffer.compare(part, bytes.subarray(0, part.length)) === 0, `seed ${seed}`);
  }
});

test("damaged streams end with an error or with wrong bytes, and soon", () => {
  for (let seed = 1; seed < 2000; seed++) {
    const random = randomNumbers(seed);
    const packed =
      seed % 2 === 0 ? deflateRawSync(sample(random)) : Uint8Array.from({ length: random(200) }, () => random(256));
    for (let count = 1 + random(3); count > 0 && packed.length > 0; count--)
      packed[random(packed.length)] = random(256);
    try {
      inflate(packed, new Uint8Array(65536));
    } catch (error) {
      assert.ok(error instanceof VmxonError && /compressed data are damaged/.test(error.message), String(error));
    }
  }
});
