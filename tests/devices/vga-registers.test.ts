import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Vga } from "../../src/devices/vga/vga.ts";
import type { AccessSize } from "../../src/hypervisor/device.ts";
import { createBench } from "../firmware/vgabios-bench.ts";
import { videoMemory } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const PLANES = 256 << 10;

/** One frame of 720 × 400 text: 449 lines of 900 dots at 28.322 MHz. */
const FRAME = (449 * 900 * 1e9) / 28_322_000;

test("reading input status 1 makes the next attribute write an index", () => {
  const { io } = createBench();
  io.in(0x3da, 1);
  io.out(0x3c0, 1, 0x31);
  io.in(0x3da, 1);
  io.out(0x3c0, 1, 0x31);
  io.out(0x3c0, 1, 0x07);
  assert.equal(io.in(0x3c0, 1), 0x31);
  assert.equal(io.in(0x3c1, 1), 0x07);
});

test("the DAC takes and gives colours in threes and tells which it does", () => {
  const { io } = createBench();
  io.out(0x3c8, 1, 10);
  for (const value of [1, 2, 3, 0xff, 5, 6]) io.out(0x3c9, 1, value);
  assert.deepEqual([io.in(0x3c7, 1), io.in(0x3c8, 1)], [0, 12]);
  io.out(0x3c7, 1, 10);
  assert.deepEqual([io.in(0x3c7, 1), io.in(0x3c8, 1)], [3, 11]);
  assert.deepEqual(
    Array.from({ length: 6 }, () => io.in(0x3c9, 1)),
    [1, 2, 3, 0x3f, 5, 6],
  );
  io.out(0x3c9, 1, 9);
  io.out(0x3c8, 1, 10);
  io.out(0x3c7, 1, 10);
  assert.equal(io.in(0x3c9, 1), 1);
});

test("CRT controller registers 0–7 are protected, except the line compare bit", () => {
  const { io, register } = createBench();
  assert.equal(register(0x3d4, 0x11) & 0x80, 0x80);
  io.out(0x3d4, 2, 0x0000);
  assert.equal(register(0x3d4, 0), 0x5f);
  io.out(0x3d4, 2, 0x0007);
  assert.equal(register(0x3d4, 7), 0x0f);
  io.out(0x3d4, 2, 0x0011);
  io.out(0x3d4, 2, 0x0000);
  assert.equal(register(0x3d4, 0), 0);
});

test("miscellaneous output bit 0 moves the CRT controller and status 1 between 3Bx and 3Dx", () => {
  const { io, int10, register } = createBench();
  assert.equal(register(0x3b4, 1), 0xff);
  int10({ ax: 7 });
  assert.equal(register(0x3b4, 1), 0x4f);
  assert.equal(register(0x3d4, 1), 0xff);
  assert.equal(io.in(0x3da, 1), 0xff);
  assert.notEqual(io.in(0x3ba, 1), 0xff);
});

test("the vertical retrace comes once a frame, 70 times a second in text", () => {
  const { io, clock } = createBench();
  let starts = 0;
  let before = 0;
  let blanked = 0;
  const step = 10_000;
  for (let time = 0; time < 1e9; time += step) {
    clock.advance(step);
    const status = io.in(0x3da, 1);
    if (status & 8 && !before) starts++;
    before = status & 8;
    if (status & 8) assert.equal(status & 1, 1);
    if (status & 1) blanked++;
  }
  assert.equal(starts, 70);
  // 640 of 900 dots are blank in 49 of 449 lines, 180 of 900 in the others.
  assert.ok(Math.abs((blanked * step) / 1e9 - (1 - (400 / 449) * (720 / 900))) < 0.01);
});

test("mode 12h refreshes at 60 Hz", () => {
  const { io, clock, int10 } = createBench();
  int10({ ax: 0x12 });
  let starts = 0;
  let before = 0;
  for (let time = 0; time < 1e9; time += 20_000) {
    clock.advance(20_000);
    const now = io.in(0x3da, 1) & 8;
    if (now && !before) starts++;
    before = now;
  }
  assert.ok(starts === 59 || starts === 60, `${starts}`);
});

test("a slow polling loop is told of the retrace that it slept through, once", () => {
  const { io, clock } = createBench();
  const line = FRAME / 449;
  clock.advance(412 * line - 100_000);
  assert.equal(io.in(0x3da, 1) & 8, 0);
  clock.advance(300_000);
  assert.equal(io.in(0x3da, 1) & 8, 8);
  clock.advance(10);
  assert.equal(io.in(0x3da, 1) & 8, 0);
  clock.advance(FRAME);
  assert.equal(io.in(0x3da, 1) & 8, 0);
});

test("status 0 tells of the vertical interrupt until register 11h clears it", () => {
  const { io, clock } = createBench();
  const pending = () => io.in(0x3c2, 1) >> 7;
  io.out(0x3d4, 2, 0x0e11);
  clock.advance(2 * FRAME);
  assert.equal(pending(), 0);
  io.out(0x3d4, 2, 0x1e11);
  assert.equal(pending(), 1);
  io.out(0x3d4, 2, 0x0e11);
  io.out(0x3d4, 2, 0x1e11);
  assert.equal(pending(), 0);
  clock.advance(FRAME);
  assert.equal(pending(), 1);
});

test("3C3h bit 0 switches the whole adapter off and on", () => {
  const { io, memory, print } = createBench();
  print("A");
  io.out(0x3c3, 1, 0);
  assert.deepEqual([io.in(0x3cc, 1), memory.read8(0xb8000)], [0xff, 0xff]);
  io.out(0x3c3, 1, 1);
  assert.deepEqual([io.in(0x3cc, 1), memory.read8(0xb8000)], [0x67, 0x41]);
});

test("no access throws, and none returns bits beyond its size", () => {
  const access = fc.record({
    write: fc.boolean(),
    port: fc.nat(47),
    offset: fc.nat(0x1ffff),
    size: fc.constantFrom<AccessSize>(1, 2, 4),
    value: fc.nat(0xffffffff),
    memory: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(access, { maxLength: 200 }), (accesses) => {
      const vga = new Vga({ clock: new FakeClock(), memory: videoMemory(PLANES) });
      vga.ports.write(0x12, 1, 0x63);
      for (const a of accesses) {
        const device = a.memory ? vga.memory : vga.ports;
        const offset = a.memory ? a.offset : a.port;
        const limit = 2 ** (a.size * 8);
        if (a.write) device.write(offset, a.size, a.value % limit);
        else {
          const value = device.read(offset, a.size);
          assert.ok(Number.isInteger(value) && value >= 0 && value < limit);
        }
      }
      const frame = vga.frame();
      assert.equal(frame.rgba.length, frame.width * frame.height * 4);
      const text = vga.text();
      if (text) assert.equal(text.cells.length, text.columns * text.rows);
    }),
    { numRuns: 100 },
  );
});

test("state taken in mid-operation restores into a fresh adapter", () => {
  const { io, vga, print, clock } = createBench();
  print("saved");
  io.out(0x3c8, 1, 3);
  io.out(0x3c9, 1, 11);
  io.in(0x3da, 1);
  io.out(0x3c0, 1, 0x25);
  io.out(0x3ce, 1, 5);
  const state = vga.state();
  const copy = new Vga({ clock, memory: videoMemory(PLANES) });
  copy.restore(state);
  assert.deepEqual(copy.state(), state);
  assert.deepEqual(copy.text(), vga.text());
  assert.deepEqual(copy.frame(), vga.frame());
  print(" and gone on");
  assert.notDeepEqual(vga.state(), state);
  for (const device of [vga, copy]) {
    device.ports.write(0x19, 1, 22);
    device.ports.write(0x19, 1, 33);
  }
  copy.ports.write(0x17, 1, 3);
  assert.deepEqual(
    [0, 0, 0].map(() => copy.ports.read(0x19, 1)),
    [11, 22, 33],
  );
  copy.reset();
  assert.equal(copy.text(), undefined);
});

test("generation changes with what is visible, and only then", () => {
  const { vga, print, io, int10, memory, clock } = createBench();
  int10({ ax: 0x0100, cx: 0x2000 });
  int10({ ax: 0x1003, bx: 0 });
  let last = vga.generation;
  const changed = () => {
    const now = vga.generation;
    const result = now !== last;
    last = now;
    return result;
  };
  assert.equal(changed(), false);
  print("x");
  assert.equal(changed(), true);
  memory.read8(0xb8000);
  io.in(0x3da, 1);
  clock.advance(1e9);
  assert.equal(changed(), false);
  io.out(0x3d4, 2, 0x0a0a);
  assert.equal(changed(), true);
  clock.advance(FRAME * 8);
  assert.equal(changed(), true);
  clock.advance(FRAME);
  assert.equal(changed(), false);
});
