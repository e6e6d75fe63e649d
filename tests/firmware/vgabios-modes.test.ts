import assert from "node:assert/strict";
import { test } from "node:test";
import { createBench } from "./vgabios-bench.ts";

const MODES = [0, 1, 2, 3, 4, 5, 6, 7, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13];

/** What a monitor shows, and what the data area says: width, height, columns, rows, character height, page size. */
const SHAPES: Record<number, [number, number, number, number, number, number]> = {
  0: [360, 400, 40, 25, 16, 0x800],
  1: [360, 400, 40, 25, 16, 0x800],
  2: [720, 400, 80, 25, 16, 0x1000],
  3: [720, 400, 80, 25, 16, 0x1000],
  4: [320, 200, 40, 25, 8, 0x4000],
  5: [320, 200, 40, 25, 8, 0x4000],
  6: [640, 200, 80, 25, 8, 0x4000],
  7: [720, 400, 80, 25, 16, 0x1000],
  13: [320, 200, 40, 25, 8, 0x2000],
  14: [640, 200, 80, 25, 8, 0x4000],
  15: [640, 350, 80, 25, 14, 0x8000],
  16: [640, 350, 80, 25, 14, 0x8000],
  17: [640, 480, 80, 30, 16, 0xa000],
  18: [640, 480, 80, 30, 16, 0xa000],
  19: [320, 200, 40, 25, 8, 0x2000],
};

test("the image is an option ROM: signature, length, IBM at 1Eh, bytes that sum to zero", () => {
  const { rom } = createBench();
  assert.deepEqual([...rom.image.subarray(0, 3)], [0x55, 0xaa, 64]);
  assert.equal(rom.image.length, 32768);
  assert.equal(String.fromCharCode(...rom.image.subarray(0x1e, 0x21)), "IBM");
  assert.equal(
    rom.image.reduce((sum, byte) => (sum + byte) & 0xff, 0),
    0,
  );
  for (const after of rom.services.keys()) assert.deepEqual([...rom.image.subarray(after - 2, after)], [0xe6, 0xb0]);
});

test("initialization sets vectors, data area and mode 3", () => {
  const { memory, vga, rows } = createBench();
  assert.equal(memory.read16(0x42), 0xc000);
  assert.equal(memory.read8(0x449), 3);
  assert.equal(memory.read8(0x487), 0x60);
  assert.equal(memory.read8(0x489), 0x11);
  assert.equal(memory.read16(0x410) & 0x30, 0x20);
  assert.deepEqual([vga.text()?.columns, vga.text()?.rows], [80, 25]);
  assert.deepEqual(rows(), new Array(25).fill(""));
});

test("initialization hands the former INT 10h on as INT 42h", () => {
  const { memory, rom, context } = createBench();
  memory.write16(0x40, 0xf065);
  memory.write16(0x42, 0xf000);
  rom.services.get(5)!(context);
  assert.equal(memory.read32(0x42 * 4), 0xf000f065);
});

for (const mode of MODES) {
  const name = mode.toString(16).padStart(2, "0");
  test(`mode ${name}h has the standard size, columns, rows and page size`, () => {
    const { int10, memory, vga, cpu } = createBench();
    int10({ ax: mode });
    const frame = vga.frame();
    assert.deepEqual(
      [
        frame.width,
        frame.height,
        memory.read16(0x44a),
        memory.read8(0x484) + 1,
        memory.read16(0x485),
        memory.read16(0x44c),
      ],
      SHAPES[mode],
    );
    assert.equal(memory.read16(0x463), mode === 7 || mode === 15 ? 0x3b4 : 0x3d4);
    int10({ ax: 0x0f00 });
    assert.equal(cpu.eax & 0xffff, (memory.read16(0x44a) << 8) | mode);
  });

  test(`mode ${name}h loads its entry of the parameter table into the registers`, () => {
    const { int10, memory, register, io, rom } = createBench();
    int10({ ax: mode });
    const entry = [0x17, 0x17, 0x18, 0x18, 4, 5, 6, 0x19][mode] ?? { 13: 13, 14: 14, 15: 17, 16: 18 }[mode] ?? mode + 9;
    const at = 0x100 + entry * 64;
    const crtc = memory.read16(0x463);
    const table = [...rom.image.subarray(at, at + 64)];
    const sequencer = [1, 2, 3, 4].map((index) => register(0x3c4, index));
    const crtcRegisters = Array.from({ length: 25 }, (_, index) => register(crtc, index));
    const graphics = Array.from({ length: 9 }, (_, index) => register(0x3ce, index));
    const attribute = Array.from({ length: 20 }, (_, index) => {
      io.in(crtc + 6, 1);
      io.out(0x3c0, 1, index);
      return io.in(0x3c1, 1);
    });
    assert.deepEqual(sequencer, table.slice(5, 9));
    assert.equal(io.in(0x3cc, 1), table[9]);
    assert.deepEqual(crtcRegisters, table.slice(10, 35));
    assert.deepEqual(attribute, table.slice(35, 55));
    assert.deepEqual(graphics, table.slice(55, 64));
  });

  test(`mode ${name}h comes up blank whatever stood in memory, and keeps it with bit 7`, () => {
    const { int10, vga } = createBench();
    for (let offset = 0; offset < 0x20000; offset += 4) vga.memory.write(offset, 4, 0x5a5a5a5a);
    int10({ ax: mode });
    const blank = new Uint32Array(vga.frame().rgba.buffer);
    const text = vga.text();
    if (text) assert.ok(text.cells.every((cell) => cell === 0x0720));
    else assert.ok(blank.every((pixel) => pixel === 0xff000000));
    const base = mode < 7 ? 0x18000 : mode === 7 ? 0x10000 : 0;
    vga.memory.write(base, 1, 0x41);
    int10({ ax: mode | 0x80 });
    assert.equal(vga.memory.read(base, 1), 0x41);
  });
}

test("a mode set keeps what the guest put behind the save pointer", () => {
  const { int10, memory, rom, vga } = createBench();
  memory.write(0x9000, rom.image.subarray(0x100, 0x100 + 29 * 64));
  memory.write8(0x9000 + 0x18 * 64, 40);
  memory.write32(0x8000, 0x09000000);
  memory.write32(0x4a8, 0x08000000);
  int10({ ax: 3 });
  assert.equal(memory.read16(0x44a), 40);
  assert.equal(vga.text()?.columns, 80);
});

test("an unknown mode changes nothing", () => {
  const { int10, memory, print, rows } = createBench();
  print("still here");
  int10({ ax: 0x42 });
  assert.equal(memory.read8(0x449), 3);
  assert.equal(rows()[0], "still here");
});

test("AH=12h BL=30h chooses 200, 350 and 400 lines for the next text mode", () => {
  const { int10, vga, cpu, memory } = createBench();
  const sizes = [0, 1, 2].map((lines) => {
    int10({ ax: 0x1200 | lines, bx: 0x30 });
    assert.equal(cpu.eax & 0xff, 0x12);
    int10({ ax: 3 });
    const { width, height } = vga.frame();
    return [width, height, memory.read8(0x485), vga.text()?.rows];
  });
  assert.deepEqual(sizes, [
    [640, 200, 8, 25],
    [640, 350, 14, 25],
    [720, 400, 16, 25],
  ]);
});

test("the default palettes: EGA in text, CGA brown, hue rings in mode 13h, greys in mode 7", () => {
  const { int10, cpu } = createBench();
  const color = (index: number) => {
    int10({ ax: 0x1015, bx: index });
    return [(cpu.edx >> 8) & 0xff, (cpu.ecx >> 8) & 0xff, cpu.ecx & 0xff];
  };
  assert.deepEqual(
    [color(0x07), color(0x14), color(0x3f)],
    [
      [42, 42, 42],
      [42, 21, 0],
      [63, 63, 63],
    ],
  );
  int10({ ax: 4 });
  assert.deepEqual(
    [color(0x06), color(0x16), color(0x17)],
    [
      [42, 21, 0],
      [63, 63, 21],
      [63, 63, 63],
    ],
  );
  int10({ ax: 7 });
  assert.deepEqual(
    [color(0x07), color(0x08), color(0x18)],
    [
      [0, 0, 0],
      [42, 42, 42],
      [63, 63, 63],
    ],
  );
  int10({ ax: 0x13 });
  assert.deepEqual(
    [color(6), color(9), color(17), color(31)],
    [
      [42, 21, 0],
      [21, 21, 63],
      [5, 5, 5],
      [63, 63, 63],
    ],
  );
  assert.deepEqual([32, 36, 40, 44, 48, 52, 33].map(color), [
    [0, 0, 63],
    [63, 0, 63],
    [63, 0, 0],
    [63, 63, 0],
    [0, 63, 0],
    [0, 63, 63],
    [16, 0, 63],
  ]);
  assert.deepEqual(
    [color(56), color(104), color(247), color(248)],
    [
      [31, 31, 63],
      [0, 0, 28],
      [11, 12, 16],
      [0, 0, 0],
    ],
  );
});

test("grey summing and suppressed palette loading follow their switches", () => {
  const { int10, cpu } = createBench();
  const red = () => {
    int10({ ax: 0x1015, bx: 4 });
    return [(cpu.edx >> 8) & 0xff, (cpu.ecx >> 8) & 0xff, cpu.ecx & 0xff];
  };
  int10({ ax: 0x1200, bx: 0x33 });
  int10({ ax: 3 });
  assert.deepEqual(red(), [13, 13, 13]);
  int10({ ax: 0x1201, bx: 0x33 });
  int10({ ax: 0x1201, bx: 0x31 });
  int10({ ax: 3 });
  assert.deepEqual(red(), [13, 13, 13]);
  int10({ ax: 0x1200, bx: 0x31 });
  int10({ ax: 3 });
  assert.deepEqual(red(), [42, 0, 0]);
});
