import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Vga } from "../../src/devices/vga/vga.ts";
import type { AccessSize } from "../../src/hypervisor/device.ts";
import { videoMemory } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const PLANES = 256 << 10;

const GRAPHICS = 0x1e;
const SEQUENCER = 0x14;
const MISC = 0x12;

function createVga() {
  const vga = new Vga({ clock: new FakeClock(), memory: videoMemory(PLANES) });
  const set = (port: number, index: number, value: number) => vga.ports.write(port, 2, index | (value << 8));
  vga.ports.write(MISC, 1, 0x63);
  set(SEQUENCER, 2, 0x0f);
  set(SEQUENCER, 4, 0x06);
  set(GRAPHICS, 6, 0x05);
  set(GRAPHICS, 8, 0xff);
  return { vga, set };
}

/** The manual's description of one byte written in sequential addressing, plane by plane and without any trick. */
function writeModel(
  planes: Uint8Array[],
  latches: number[],
  registers: Record<string, number>,
  at: number,
  cpu: number,
) {
  const { mode = 0, rotate = 0, func = 0, setReset = 0, enable = 0, mask = 0, map = 0 } = registers;
  const rotated = ((cpu >> rotate) | (cpu << (8 - rotate))) & 0xff;
  for (let plane = 0; plane < 4; plane++) {
    if (!((map >> plane) & 1)) continue;
    const latch = latches[plane]!;
    const filled = (setReset >> plane) & 1 ? 0xff : 0;
    let bits = mask;
    let data = rotated;
    if (mode === 0 && (enable >> plane) & 1) data = filled;
    if (mode === 2) data = (cpu >> plane) & 1 ? 0xff : 0;
    if (mode === 3) {
      bits &= rotated;
      data = filled;
    }
    if (func === 1) data &= latch;
    if (func === 2) data |= latch;
    if (func === 3) data ^= latch;
    data = (data & bits) | (latch & ~bits & 0xff);
    planes[plane]![at] = mode === 1 ? latch : data;
  }
}

test("writes in all modes, functions and masks do what the manual says", () => {
  const nibble = fc.nat(15);
  const step = fc.record({
    mode: fc.nat(3),
    rotate: fc.nat(7),
    func: fc.nat(3),
    setReset: nibble,
    enable: nibble,
    mask: fc.nat(255),
    map: nibble,
    from: fc.nat(7),
    to: fc.nat(7),
    value: fc.nat(255),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
      const { vga, set } = createVga();
      const planes = Array.from({ length: 4 }, () => new Uint8Array(8));
      for (const s of steps) {
        set(GRAPHICS, 0, s.setReset);
        set(GRAPHICS, 1, s.enable);
        set(GRAPHICS, 3, s.rotate | (s.func << 3));
        set(GRAPHICS, 5, s.mode);
        set(GRAPHICS, 8, s.mask);
        set(SEQUENCER, 2, s.map);
        vga.memory.read(s.from, 1);
        writeModel(
          planes,
          planes.map((plane) => plane[s.from]!),
          s,
          s.to,
          s.value,
        );
        vga.memory.write(s.to, 1, s.value);
      }
      for (let plane = 0; plane < 4; plane++) {
        set(GRAPHICS, 4, plane);
        assert.deepEqual(
          Array.from({ length: 8 }, (_, at) => vga.memory.read(at, 1)),
          [...planes[plane]!],
        );
      }
    }),
    { numRuns: 200 },
  );
});

test("read mode 1 compares colours and ignores the planes that do not count", () => {
  const { vga, set } = createVga();
  [0x0f, 0x33, 0x55, 0xff].forEach((value, plane) => {
    set(SEQUENCER, 2, 1 << plane);
    vga.memory.write(0, 1, value);
  });
  set(GRAPHICS, 5, 0x08);
  set(GRAPHICS, 2, 0x0f);
  set(GRAPHICS, 7, 0x0f);
  assert.equal(vga.memory.read(0, 1), 0x0f & 0x33 & 0x55);
  set(GRAPHICS, 2, 0x08);
  assert.equal(vga.memory.read(0, 1), ~(0x0f | 0x33 | 0x55) & 0xff);
  set(GRAPHICS, 7, 0x01);
  assert.equal(vga.memory.read(0, 1), 0xf0);
  set(GRAPHICS, 7, 0);
  assert.equal(vga.memory.read(0, 1), 0xff);
});

/** The set-ups that have a fast path, with the window they use. */
const SETUPS = {
  "mode 13h": {
    base: 0,
    size: 0x10000,
    registers: [
      [SEQUENCER, 4, 0x0e],
      [GRAPHICS, 5, 0x40],
      [GRAPHICS, 6, 0x05],
    ],
  },
  "color text": {
    base: 0x18000,
    size: 0x8000,
    registers: [
      [SEQUENCER, 2, 3],
      [SEQUENCER, 4, 2],
      [GRAPHICS, 5, 0x10],
      [GRAPHICS, 6, 0x0e],
    ],
  },
  "mono text": {
    base: 0x10000,
    size: 0x8000,
    registers: [
      [SEQUENCER, 2, 3],
      [SEQUENCER, 4, 2],
      [GRAPHICS, 5, 0x10],
      [GRAPHICS, 6, 0x0a],
    ],
  },
} as const;

for (const [name, { base, size, registers }] of Object.entries(SETUPS)) {
  test(`in ${name}, memory reads back like memory at every size and alignment`, () => {
    const access = fc.record({
      at: fc.oneof(fc.nat(15), fc.nat(size - 1)),
      size: fc.constantFrom<AccessSize>(1, 2, 4),
      value: fc.nat(0xffffffff),
    });
    fc.assert(
      fc.property(fc.array(access, { minLength: 1, maxLength: 40 }), (accesses) => {
        const { vga, set } = createVga();
        for (const [port, index, value] of registers) set(port, index, value);
        const model = new Uint8Array(size);
        for (const a of accesses) {
          const value = a.size === 4 ? a.value : a.value & ((1 << (a.size * 8)) - 1);
          vga.memory.write(base + a.at, a.size, value);
          for (let i = 0; i < a.size && a.at + i < size; i++) model[a.at + i] = value >>> (i * 8);
        }
        for (const a of accesses) {
          if (a.at + a.size > size) continue;
          let expected = 0;
          for (let i = 0; i < a.size; i++) expected += model[a.at + i]! * 256 ** i;
          assert.equal(vga.memory.read(base + a.at, a.size), expected);
        }
      }),
      { numRuns: 100 },
    );
  });
}

test("outside the window selected by the memory map nothing answers", () => {
  const { vga, set } = createVga();
  const windows = [
    [0x00000, 0x20000],
    [0x00000, 0x10000],
    [0x10000, 0x18000],
    [0x18000, 0x20000],
  ] as const;
  windows.forEach(([first, end], map) => {
    set(GRAPHICS, 6, 1 | (map << 2));
    for (const offset of [0, 0xffff, 0x10000, 0x17fff, 0x18000, 0x1ffff]) {
      vga.memory.write(offset, 1, 0x42);
      assert.equal(vga.memory.read(offset, 1), offset >= first && offset < end ? 0x42 : 0xff, `map ${map} ${offset}`);
    }
  });
  set(GRAPHICS, 6, 5);
  vga.ports.write(MISC, 1, 0x61);
  assert.equal(vga.memory.read(0, 1), 0xff);
});

test("chain-4 and planar addressing reach the same bytes", () => {
  const { vga, set } = createVga();
  set(SEQUENCER, 4, 0x0e);
  for (let pixel = 0; pixel < 64000; pixel += 997) vga.memory.write(pixel, 1, pixel % 251);
  set(SEQUENCER, 4, 0x06);
  for (let pixel = 0; pixel < 64000; pixel += 997) {
    set(GRAPHICS, 4, pixel & 3);
    assert.equal(vga.memory.read((pixel & 0xfffc) | (pixel >> 14), 1), pixel % 251);
  }
});

test("odd/even addressing puts even bytes into planes 0 and 2, odd ones into 1 and 3", () => {
  const { vga, set } = createVga();
  set(SEQUENCER, 4, 0x02);
  set(GRAPHICS, 6, 0x0f);
  vga.memory.write(0x18000, 2, 0x2211);
  set(SEQUENCER, 4, 0x06);
  set(GRAPHICS, 6, 0x05);
  const planes = [0, 1, 2, 3].map((plane) => {
    set(GRAPHICS, 4, plane);
    return vga.memory.read(0, 1);
  });
  assert.deepEqual(planes, [0x11, 0x22, 0x11, 0x22]);
});
