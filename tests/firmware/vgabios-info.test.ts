import assert from "node:assert/strict";
import { test } from "node:test";
import { createBench } from "./vgabios-bench.ts";

test("AX=1A00h answers a VGA with a colour display", () => {
  const { int10, cpu } = createBench();
  int10({ ax: 0x1a00 });
  assert.deepEqual([cpu.eax & 0xff, cpu.ebx & 0xffff], [0x1a, 0x0008]);
  int10({ ax: 0x1a01, bx: 0x0007 });
  int10({ ax: 0x1a00 });
  assert.equal(cpu.ebx & 0xffff, 0x0007);
});

test("AH=1Bh fills the state block and points at the static table", () => {
  const { int10, cpu, memory } = createBench();
  int10({ ax: 0x1b00, di: 0, es: 0x600 });
  assert.equal(cpu.eax & 0xff, 0x1b);
  const block = new Uint8Array(64);
  memory.read(0x6000, block);
  const table = (((block[3]! << 8) | block[2]!) << 4) + ((block[1]! << 8) | block[0]!);
  assert.deepEqual([memory.read8(table), memory.read8(table + 1), memory.read8(table + 2)], [0xff, 0xe0, 0x0f]);
  assert.equal(block[4], 3);
  assert.equal(block[5]! | (block[6]! << 8), 80);
  assert.equal(block[0x22], 25);
  assert.equal(block[0x23], 16);
  assert.deepEqual([block[0x25], block[0x26]], [8, 0]);
  assert.equal(block[0x27]! | (block[0x28]! << 8), 16);
  assert.deepEqual([block[0x29], block[0x2a]], [8, 2]);
  assert.equal(block[0x2d], 0x31);
  assert.equal(block[0x31], 3);
  int10({ ax: 0x13 });
  int10({ ax: 0x1b00, di: 0, es: 0x600 });
  memory.read(0x6000, block);
  assert.equal(block[0x27]! | (block[0x28]! << 8), 256);
  assert.deepEqual([block[0x29], block[0x2a]], [1, 0]);
});

test("the save pointer table leads to the parameter table and the display codes", () => {
  const { memory } = createBench();
  const far = (address: number) => (memory.read16(address + 2) << 4) + memory.read16(address);
  const save = far(0x4a8);
  assert.equal(memory.read8(far(save) + 0x18 * 64), 80);
  const codes = far(far(save + 16) + 2);
  assert.equal(memory.read8(codes), 16);
  assert.deepEqual([memory.read8(codes + 4 + 22), memory.read8(codes + 5 + 22)], [0, 8]);
});

test("AH=12h BL=10h tells colour, 256 KB and the switches", () => {
  const { int10, cpu } = createBench();
  int10({ ax: 0x1200, bx: 0xff10 });
  assert.deepEqual([cpu.ebx & 0xffff, cpu.ecx & 0xffff], [0x0003, 0x0f09]);
});

test("AH=12h BL=36h turns the screen off and on, BL=32h the memory", () => {
  const { int10, vga, print, memory, cpu } = createBench();
  print("x");
  const dark = () => new Uint32Array(vga.frame().rgba.buffer).every((pixel) => pixel === 0xff000000);
  int10({ ax: 0x1201, bx: 0x36 });
  assert.ok(dark());
  int10({ ax: 0x1200, bx: 0x36 });
  assert.ok(!dark());
  int10({ ax: 0x1201, bx: 0x32 });
  assert.equal(cpu.eax & 0xff, 0x12);
  assert.equal(memory.read8(0xb8000), 0xff);
  int10({ ax: 0x1200, bx: 0x32 });
  assert.equal(memory.read8(0xb8000), 0x78);
});

test("AH=10h reads what it wrote: palette, overscan, DAC, mask, blinking", () => {
  const { int10, cpu, memory, vga } = createBench();
  int10({ ax: 0x1000, bx: 0x2a05 });
  int10({ ax: 0x1007, bx: 0x0005 });
  assert.equal(cpu.ebx >> 8, 0x2a);
  int10({ ax: 0x1001, bx: 0x1100 });
  int10({ ax: 0x1008 });
  assert.equal(cpu.ebx >> 8, 0x11);
  memory.write(
    0x5000,
    Uint8Array.from({ length: 17 }, (_, i) => 17 - i),
  );
  int10({ ax: 0x1002, dx: 0, es: 0x500 });
  int10({ ax: 0x1009, dx: 0x100, es: 0x500 });
  const back = new Uint8Array(17);
  memory.read(0x5100, back);
  assert.deepEqual(
    [...back],
    Array.from({ length: 17 }, (_, i) => 17 - i),
  );
  int10({ ax: 0x1010, bx: 200, dx: 0x1500, cx: 0x2a3f });
  int10({ ax: 0x1017, bx: 199, cx: 2, dx: 0x200, es: 0x500 });
  assert.deepEqual([memory.read8(0x5203), memory.read8(0x5204), memory.read8(0x5205)], [0x15, 0x2a, 0x3f]);
  int10({ ax: 0x1012, bx: 10, cx: 2, dx: 0x200, es: 0x500 });
  int10({ ax: 0x1015, bx: 11 });
  assert.deepEqual([(cpu.edx >> 8) & 0xff, cpu.ecx & 0xffff], [0x15, 0x2a3f]);
  int10({ ax: 0x101b, bx: 11, cx: 1 });
  int10({ ax: 0x1015, bx: 11 });
  assert.equal(cpu.ecx & 0xff, (cpu.ecx >> 8) & 0xff);
  int10({ ax: 0x1018, bx: 0x3f });
  int10({ ax: 0x1019 });
  assert.equal(cpu.ebx & 0xff, 0x3f);
  assert.equal(vga.text()!.blink, true);
  int10({ ax: 0x1003, bx: 0 });
  assert.equal(vga.text()!.blink, false);
  assert.equal(memory.read8(0x465) & 0x20, 0);
  int10({ ax: 0x1013, bx: 0x0100 });
  int10({ ax: 0x1013, bx: 0x0501 });
  int10({ ax: 0x101a });
  assert.equal(cpu.ebx & 0xffff, 0x0501);
});

test("AH=1Ch saves and restores a mode, its palette and the data area", () => {
  const { int10, cpu, vga, print, memory } = createBench();
  print("before");
  int10({ ax: 0x1010, bx: 7, dx: 0x0100, cx: 0x0203 });
  const text = vga.text();
  const frame = vga.frame();
  int10({ ax: 0x1c00, cx: 7 });
  assert.equal(cpu.eax & 0xff, 0x1c);
  const bytes = (cpu.ebx & 0xffff) * 64;
  memory.write8(0x7000 + bytes, 0xa5);
  int10({ ax: 0x1c01, cx: 7, bx: 0, es: 0x700 });
  assert.equal(memory.read8(0x7000 + bytes), 0xa5);
  int10({ ax: 0x93 });
  assert.equal(vga.text(), undefined);
  int10({ ax: 0x1c02, cx: 7, bx: 0, es: 0x700 });
  assert.deepEqual(vga.text(), text);
  assert.deepEqual(vga.frame(), frame);
  assert.equal(memory.read8(0x449), 3);
});

test("functions that do not exist change no register", () => {
  const { int10, cpu } = createBench();
  for (const ax of [0x1400, 0x4fee, 0x6f00, 0xff00, 0x12aa]) {
    int10({ ax, bx: 0x55aa, cx: 1, dx: 2 });
    assert.deepEqual([cpu.eax & 0xffff, cpu.ebx, cpu.ecx, cpu.edx], [ax, 0x55aa, 1, 2]);
  }
});
