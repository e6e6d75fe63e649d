import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createBench } from "./vgabios-bench.ts";

/** Graphics modes: width, height, colours that a pixel can have. */
const MODES = [
  { mode: 0x04, width: 320, height: 200, colors: [0, 1, 2, 3] },
  { mode: 0x05, width: 320, height: 200, colors: [0, 1, 2, 3] },
  { mode: 0x06, width: 640, height: 200, colors: [0, 1] },
  { mode: 0x0d, width: 320, height: 200, colors: [0, 1, 6, 15] },
  { mode: 0x0e, width: 640, height: 200, colors: [0, 1, 6, 15] },
  { mode: 0x0f, width: 640, height: 350, colors: [0, 1, 5] },
  { mode: 0x10, width: 640, height: 350, colors: [0, 1, 6, 15] },
  { mode: 0x11, width: 640, height: 480, colors: [0, 15] },
  { mode: 0x12, width: 640, height: 480, colors: [0, 1, 6, 15] },
  { mode: 0x13, width: 320, height: 200, colors: [0, 1, 77, 255] },
];

for (const { mode, width, height, colors } of MODES) {
  const name = mode.toString(16).padStart(2, "0");

  test(`mode ${name}h: a pixel written with AH=0Ch reads back with AH=0Dh and shows where it belongs`, () => {
    const { int10, cpu, vga } = createBench();
    int10({ ax: mode });
    const places = fc.tuple(fc.nat(width - 1), fc.nat(height - 1), fc.constantFrom(...colors));
    fc.assert(
      fc.property(places, ([x, y, color]) => {
        int10({ ax: 0x0c00 | color, cx: x, dx: y });
        int10({ ax: 0x0d00, cx: x, dx: y });
        assert.equal(cpu.eax & 0xff, color);
      }),
      { numRuns: 40 },
    );
    int10({ ax: mode });
    const bright = colors.at(-1)!;
    const [x, y] = [width - 9, height - 7];
    int10({ ax: 0x0c00 | (mode === 0x13 ? 15 : bright), cx: x, dx: y });
    const pixels = new Uint32Array(vga.frame().rgba.buffer);
    const lit = [...pixels.keys()].filter((at) => pixels[at] !== 0xff000000);
    assert.deepEqual(lit, [y * width + x]);
  });

  test(`mode ${name}h: text is drawn, read back, and scrolls with the screen`, () => {
    const { int10, cpu, memory, vga } = createBench();
    int10({ ax: mode });
    const color = mode === 0x13 ? 15 : colors.at(-1)!;
    const type = (text: string) => {
      for (const letter of text) int10({ ax: 0x0e00 | letter.charCodeAt(0), bx: color });
    };
    const last = memory.read8(0x484);
    const characterAt = (column: number, row: number) => {
      int10({ ax: 0x0200, dx: (row << 8) | column });
      int10({ ax: 0x0800 });
      return String.fromCharCode(cpu.eax & 0xff);
    };
    type("Kilroy\r\n");
    assert.equal(characterAt(0, 0), "K");
    int10({ ax: 0x0200, dx: last << 8 });
    type("was here\r\n");
    assert.equal(characterAt(0, last - 1), "w");
    assert.equal(characterAt(0, 0), "\0");
    int10({ ax: 0x0600, cx: 0, dx: 0xffff });
    assert.ok(new Uint32Array(vga.frame().rgba.buffer).every((pixel) => pixel === 0xff000000));
  });
}

test("colour bit 7 draws by exclusive-or, twice is nothing", () => {
  for (const { mode, colors } of MODES.filter(({ mode }) => mode !== 0x13)) {
    const { int10, vga } = createBench();
    int10({ ax: mode });
    const color = colors.at(-1)! | 0x80;
    for (let i = 0; i < 2; i++) {
      int10({ ax: 0x0958, bx: color, cx: 3 });
      int10({ ax: 0x0c00 | color, cx: 100, dx: 100 });
      const dark = new Uint32Array(vga.frame().rgba.buffer).every((pixel) => pixel === 0xff000000);
      assert.equal(dark, i === 1, `mode ${mode} pass ${i}`);
    }
  }
});

test("CGA modes draw characters above 127 from the font behind INT 1Fh", () => {
  const { int10, cpu } = createBench();
  int10({ ax: 4 });
  int10({ ax: 0x09c9, bx: 3, cx: 1 });
  int10({ ax: 0x0800 });
  assert.equal(cpu.eax & 0xff, 0xc9);
});

test("mode 13h draws characters on the background in BH", () => {
  const { int10, memory } = createBench();
  int10({ ax: 0x13 });
  int10({ ax: 0x0920, bx: 0x3c07, cx: 2 });
  assert.equal(memory.read8(0xa0000), 0x3c);
  assert.equal(memory.read8(0xa0000 + 15), 0x3c);
  assert.equal(memory.read8(0xa0000 + 16), 0);
});

test("pages of mode 0Dh are drawn and shown apart", () => {
  const { int10, vga, cpu } = createBench();
  int10({ ax: 0x0d });
  int10({ ax: 0x0c0f, bx: 0x0300, cx: 5, dx: 6 });
  const lit = () => [...new Uint32Array(vga.frame().rgba.buffer).entries()].filter(([, p]) => p !== 0xff000000);
  assert.equal(lit().length, 0);
  int10({ ax: 0x0503 });
  assert.deepEqual(
    lit().map(([at]) => at),
    [6 * 320 + 5],
  );
  int10({ ax: 0x0d00, bx: 0x0300, cx: 5, dx: 6 });
  assert.equal(cpu.eax & 0xff, 15);
});

test("AH=0Bh sets background, border and palette of mode 4", () => {
  const { int10, memory, vga } = createBench();
  int10({ ax: 4 });
  int10({ ax: 0x0c01, cx: 0, dx: 0 });
  const pixels = () => [...new Uint32Array(vga.frame().rgba.buffer).subarray(0, 2)].map((p) => p.toString(16));
  assert.deepEqual(pixels(), ["ffffff55", "ff000000"]);
  int10({ ax: 0x0b00, bx: 0x0100 });
  assert.deepEqual(pixels(), ["ff55ff55", "ff000000"]);
  int10({ ax: 0x0b00, bx: 0x0001 });
  assert.deepEqual(pixels(), ["ff00aa00", "ffaa0000"]);
  assert.equal(memory.read8(0x466), 0x01);
});
