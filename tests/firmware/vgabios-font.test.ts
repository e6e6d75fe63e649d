import assert from "node:assert/strict";
import { test } from "node:test";
import { FONT_8X8, FONT_8X14, FONT_8X16 } from "../../src/firmware/font/font.ts";

const FONTS = [
  { height: 8, font: FONT_8X8 },
  { height: 14, font: FONT_8X14 },
  { height: 16, font: FONT_8X16 },
];
const BLANKS = [0x00, 0x20, 0xff];

for (const { height, font } of FONTS) {
  const glyph = (code: number) => [...font.subarray(code * height, (code + 1) * height)];

  test(`8 × ${height}: every character but the blanks is drawn, and no two are alike`, () => {
    assert.equal(font.length, 256 * height);
    const seen = new Map<string, number>();
    for (let code = 0; code < 256; code++) {
      const rows = glyph(code);
      assert.equal(
        rows.every((row) => row === 0),
        BLANKS.includes(code),
        `character ${code}`,
      );
      if (BLANKS.includes(code)) continue;
      const key = rows.join();
      assert.equal(seen.get(key), undefined, `character ${code}`);
      seen.set(key, code);
    }
  });

  test(`8 × ${height}: box drawing meets at the edges of its cells`, () => {
    const up = [0xb3, 0xb4, 0xc0, 0xc1, 0xc3, 0xc5, 0xd9];
    for (const code of up) assert.equal(glyph(code)[0], glyph(0xb3)[0]);
    const double = [0xba, 0xb9, 0xc8, 0xca, 0xcc, 0xce, 0xbc];
    for (const code of double) assert.equal(glyph(code)[0], glyph(0xba)[0]);
    for (const code of [0xc4, 0xc0, 0xc3, 0xc5, 0xda, 0xc2, 0xc1])
      assert.deepEqual(
        glyph(code).map((row) => row & 1),
        glyph(0xc4).map((row) => row & 1),
      );
    for (const code of [0xcd, 0xc8, 0xcc, 0xce, 0xc9, 0xcb, 0xca])
      assert.deepEqual(
        glyph(code).map((row) => row & 1),
        glyph(0xcd).map((row) => row & 1),
      );
  });

  test(`8 × ${height}: half blocks make a full one, inverse characters are inverse`, () => {
    const or = (a: number, b: number) => glyph(a).map((row, y) => row | glyph(b)[y]!);
    assert.deepEqual(or(0xdc, 0xdf), glyph(0xdb));
    assert.deepEqual(or(0xdd, 0xde), glyph(0xdb));
    assert.deepEqual(
      glyph(0x08),
      glyph(0x07).map((row) => ~row & 0xff),
    );
  });

  test(`8 × ${height}: letters and digits leave the last column free`, () => {
    for (const letter of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
      assert.ok(
        glyph(letter.charCodeAt(0)).every((row) => (row & 1) === 0),
        letter,
      );
  });
}
