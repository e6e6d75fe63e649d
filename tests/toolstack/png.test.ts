import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodePng } from "../../src/toolstack/png.ts";
import { readPng } from "../support/png.ts";

/** A picture of these colours, RRGGBB each. */
function frameOf(width: number, height: number, color: (i: number) => number) {
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    const value = color(i);
    rgba.set([value >> 16, (value >> 8) & 0xff, value & 0xff, 0xff], i * 4);
  }
  return { width, height, rgba };
}

test("pictures of few and of many colours come back from the file as they were", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 40 }),
      fc.constantFrom(1, 2, 256, 257, 1 << 24),
      fc.nat(),
      async (width, height, colors, seed) => {
        const color = (i: number): number => ((((i * 7919 + seed) % colors) * 2654435761) >>> 0) & 0xffffff;
        const { width: w, height: h, colors: found } = readPng(await encodePng(frameOf(width, height, color)));
        assert.deepEqual([w, h], [width, height]);
        assert.deepEqual(
          found,
          Uint32Array.from({ length: width * height }, (_, i) => color(i)),
        );
      },
    ),
    { numRuns: 50 },
  );
});

test("a text screen takes a palette, and few bytes", async () => {
  const file = await encodePng(frameOf(720, 400, (i) => (i % 9 === 0 ? 0xaaaaaa : 0)));
  assert.equal(file[25], 3);
  assert.ok(file.length < 5000);
});
