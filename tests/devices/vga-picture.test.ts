import assert from "node:assert/strict";
import { test } from "node:test";
import { createBench } from "../firmware/vgabios-bench.ts";

const BLACK = 0xff000000;
const GREY = 0xffaaaaaa;
const FRAME = (449 * 900 * 1e9) / 28_322_000;

function pixels(bench: ReturnType<typeof createBench>) {
  const { width, height, rgba } = bench.vga.frame();
  const data = new Uint32Array(rgba.buffer);
  return { width, height, at: (x: number, y: number) => data[y * width + x]! };
}

test("before any mode is set there is no text, and a black picture", () => {
  const bench = createBench();
  bench.vga.reset();
  assert.equal(bench.vga.text(), undefined);
  assert.equal(pixels(bench).at(0, 0), BLACK);
});

test("characters C0h–DFh reach through the ninth column, others do not", () => {
  const bench = createBench();
  bench.int10({ ax: 0x0100, cx: 0x2000 });
  bench.int10({ ax: 0x09c4, bx: 7, cx: 1 });
  bench.int10({ ax: 0x0200, dx: 1 });
  bench.int10({ ax: 0x09db, bx: 7, cx: 1 });
  bench.int10({ ax: 0x0200, dx: 2 });
  bench.int10({ ax: 0x09b2, bx: 7, cx: 1 });
  const { at } = pixels(bench);
  assert.deepEqual([at(7, 7), at(8, 7), at(8, 8)], [GREY, GREY, BLACK]);
  assert.equal(at(17, 0), GREY);
  assert.equal(at(26, 0), BLACK);
});

test("the cursor blinks every eight frames, characters every sixteen", () => {
  const bench = createBench();
  bench.int10({ ax: 0x0200, dx: 5 });
  bench.int10({ ax: 0x09db, bx: 0x87, cx: 1 });
  bench.int10({ ax: 0x0200, dx: 0 });
  const lit = () => {
    const { at } = pixels(bench);
    return [at(0, 13) === GREY, at(46, 0) === GREY];
  };
  bench.clock.advance(FRAME / 2);
  assert.deepEqual(lit(), [true, true]);
  bench.clock.advance(FRAME * 8);
  assert.deepEqual(lit(), [false, true]);
  bench.clock.advance(FRAME * 8);
  assert.deepEqual(lit(), [true, false]);
});

test("blinking switched off makes bit 7 a bright background", () => {
  const bench = createBench();
  bench.int10({ ax: 0x1003, bx: 0 });
  bench.int10({ ax: 0x0920, bx: 0x90, cx: 1 });
  assert.equal(pixels(bench).at(4, 4), 0xffff5555);
});

test("mode 7 underlines attribute 1", () => {
  const bench = createBench();
  bench.int10({ ax: 7 });
  bench.int10({ ax: 0x0100, cx: 0x2000 });
  bench.int10({ ax: 0x0920, bx: 0x01, cx: 1 });
  const { at } = pixels(bench);
  assert.deepEqual([at(0, 15), at(8, 15), at(0, 14)], [GREY, GREY, BLACK]);
});

test("the start address scrolls, and line compare splits the screen", () => {
  const bench = createBench();
  bench.print("top\r\nsecond\r\nthird");
  bench.io.out(0x3d4, 2, 0x500d);
  assert.deepEqual(bench.rows().slice(0, 2), ["second", "third"]);
  // Lines 0–159 from the start address, then memory from 0 on.
  bench.io.out(0x3d4, 2, 0x9f18);
  bench.io.out(0x3d4, 2, 0x0f07);
  bench.io.out(0x3d4, 2, 0x0f09);
  assert.deepEqual([bench.rows()[0], bench.rows()[10], bench.rows()[11]], ["second", "top", "second"]);
  const { at } = pixels(bench);
  const row = (y: number) => Array.from({ length: 40 }, (_, x) => at(x, y));
  for (let y = 0; y < 16; y++) assert.deepEqual(row(176 + y), row(y));
});

test("panning moves the picture left dot by dot", () => {
  const bench = createBench();
  bench.int10({ ax: 0x0100, cx: 0x2000 });
  bench.print("AB");
  const before = pixels(bench);
  for (const [value, shift] of [
    [8, 0],
    [0, 1],
    [3, 4],
    [7, 8],
  ] as const) {
    bench.int10({ ax: 0x1000, bx: 0x13 | (value << 8) });
    const after = pixels(bench);
    for (let x = 0; x < 9; x++) assert.equal(after.at(x, 6), before.at(x + shift, 6));
  }
});

test("preset row scan lifts the picture by scan lines", () => {
  const bench = createBench();
  bench.int10({ ax: 0x0100, cx: 0x2000 });
  bench.print("A\r\nB");
  const before = pixels(bench);
  bench.io.out(0x3d4, 2, 0x0508);
  const after = pixels(bench);
  for (let y = 0; y < 20; y++) for (let x = 0; x < 9; x++) assert.equal(after.at(x, y), before.at(x, y + 5));
});

test("mode 13h shows byte n as pixel n; unchained, planes show pixels n mod 4", () => {
  const bench = createBench();
  bench.int10({ ax: 0x13 });
  for (let i = 0; i < 64000; i += 4001) bench.memory.write8(0xa0000 + i, 15);
  const chained = pixels(bench);
  for (let i = 0; i < 64000; i += 4001) assert.equal(chained.at(i % 320, Math.floor(i / 320)), 0xffffffff);

  // Mode X: no chaining, byte addressing, 240 lines.
  const { io, memory } = bench;
  io.out(0x3c4, 2, 0x0604);
  io.out(0x3c4, 2, 0x0f02);
  for (let offset = 0; offset < 0x10000; offset += 4) memory.write32(0xa0000 + offset, 0);
  io.out(0x3c2, 1, 0xe3);
  const crtc = [
    [0x11, 0x2c],
    [0x06, 0x0d],
    [0x07, 0x3e],
    [0x09, 0x41],
    [0x10, 0xea],
    [0x11, 0xac],
    [0x12, 0xdf],
  ];
  const unchain = [
    [0x14, 0x00],
    [0x15, 0xe7],
    [0x16, 0x06],
    [0x17, 0xe3],
  ];
  for (const [index = 0, value = 0] of [...crtc, ...unchain]) io.out(0x3d4, 2, index | (value << 8));
  io.out(0x3c4, 2, 0x0402);
  memory.write8(0xa0000 + 80 * 239 + 79, 15);
  const unchained = pixels(bench);
  assert.deepEqual([unchained.width, unchained.height], [320, 240]);
  assert.equal(unchained.at(79 * 4 + 2, 239), 0xffffffff);
  assert.equal(unchained.at(79 * 4 + 1, 239), BLACK);
});

test("mode 12h combines four planes through palette, plane enable and pixel mask", () => {
  const bench = createBench();
  const { int10, io } = bench;
  int10({ ax: 0x12 });
  int10({ ax: 0x0c0c, cx: 639, dx: 479 });
  assert.equal(pixels(bench).at(639, 479), 0xff5555ff);
  int10({ ax: 0x1000, bx: 0x0712 });
  assert.equal(pixels(bench).at(639, 479), 0xff0000aa);
  io.out(0x3c6, 1, 0);
  assert.equal(pixels(bench).at(639, 479), BLACK);
});

test("mode 4 interleaves its lines between two banks and its dots between two planes", () => {
  const bench = createBench();
  bench.int10({ ax: 4 });
  bench.memory.write8(0xb8000 + 0x2000 + 80 * 3 + 5, 0b00_01_10_11);
  const { at } = pixels(bench);
  assert.deepEqual(
    [0, 1, 2, 3].map((i) => at(20 + i, 7)),
    [BLACK, 0xffffff55, 0xffff55ff, 0xffffffff],
  );
});

test("forty-column text has half the dots of eighty", () => {
  const bench = createBench();
  bench.int10({ ax: 1 });
  bench.print("x".repeat(41));
  assert.deepEqual(bench.rows().slice(0, 2), ["x".repeat(40), "x"]);
  assert.deepEqual([pixels(bench).width, pixels(bench).height], [360, 400]);
});
