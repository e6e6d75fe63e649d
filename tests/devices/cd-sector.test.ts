/** Raw CD sectors: the error detection and correction codes hold by the standard's own equations. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { lbaOfMsf, msf, partsLength, putSectors, rawSector, selectParts } from "../../src/devices/cd-sector.ts";

const data = Uint8Array.from({ length: 2048 }, (_, i) => (i * 31 + (i >> 5)) & 0xff);

/** Product in the field of ECMA-130 annex B, bit by bit. */
function times(a: number, b: number): number {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ (product & 0x80 ? 0x11d : 0);
    if ((b >> bit) & 1) product ^= a;
  }
  return product;
}

/** Both rows of the parity check matrix over a code word. */
function syndromes(word: readonly number[]): [number, number] {
  let [plain, weighted] = [0, 0];
  for (const byte of word) {
    plain ^= byte;
    weighted = times(weighted, 2) ^ byte;
  }
  return [plain, weighted];
}

test("sync, header and data stand where ECMA-130 puts them", () => {
  const raw = rawSector(16, data);
  assert.deepEqual([...raw.subarray(0, 12)], [0, ...new Array(10).fill(0xff), 0]);
  assert.deepEqual([...raw.subarray(12, 16)], [0x00, 0x02, 0x16, 1], "two seconds and 16 frames, in BCD");
  assert.deepEqual(raw.subarray(16, 2064), data);
  assert.ok(raw.subarray(2068, 2076).every((byte) => byte === 0));
});

test("the error detection code divides the sector without a remainder", () => {
  const raw = rawSector(4321, data);
  // (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1), least significant bit first; no table, no shortcuts.
  let remainder = 0;
  for (const byte of raw.subarray(0, 2068)) {
    for (let bit = 0; bit < 8; bit++) {
      const carry = (remainder ^ (byte >> bit)) & 1;
      remainder = (remainder >>> 1) ^ (carry ? 0xd8018001 : 0);
    }
  }
  assert.equal(remainder, 0);
});

test("every P and Q vector is a code word", () => {
  const raw = rawSector(123456, data);
  const byte = (word: number, half: number): number => raw[12 + 2 * word + half]!;
  for (const half of [0, 1]) {
    for (let column = 0; column < 43; column++) {
      const vector = Array.from({ length: 26 }, (_, row) => byte(43 * row + column, half));
      assert.deepEqual(syndromes(vector), [0, 0], `P ${column}`);
    }
    for (let diagonal = 0; diagonal < 26; diagonal++) {
      const vector = Array.from({ length: 43 }, (_, i) => byte((44 * i + 43 * diagonal) % 1118, half));
      vector.push(byte(1118 + diagonal, half), byte(1144 + diagonal, half));
      assert.deepEqual(syndromes(vector), [0, 0], `Q ${diagonal}`);
    }
  }
});

test("addresses and minutes, seconds, frames are each other's inverse", () => {
  for (const lba of [0, 1, 74, 75, 4349, 4350, 333_000]) assert.equal(lbaOfMsf(...msf(lba)), lba);
  assert.deepEqual(msf(0), [0, 2, 0]);
});

test("parts of sectors are picked as READ CD selects them", () => {
  const raw = rawSector(7, data);
  for (const [selection, expected] of [
    [0x10, [16, 2048]],
    [0xf8, [0, 2352]],
    [0x20, [12, 4]],
    [0x30, [12, 2052]],
    [0x18, [16, 2336]],
  ] as const) {
    const parts = selectParts(selection)!;
    assert.equal(partsLength(parts), expected[1], selection.toString(16));
    const target = new Uint8Array(expected[1]);
    putSectors(target, data, 7, parts);
    assert.deepEqual(target, raw.subarray(expected[0], expected[0] + expected[1]));
  }
  assert.equal(selectParts(0x12), undefined, "error pointers are not there");
  assert.equal(selectParts(0x90), undefined, "data without the header between sync and data");
});
