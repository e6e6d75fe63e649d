/** The machine description: addresses, interrupt lines, CMOS, the small system ports, and the devices wired together. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createPc, type PcOptions } from "../../src/devices/pc.ts";
import { FakeBus, FakeLine, FakeMemory, fakeDisk, fakeFloppy, NO_SHADOW, NO_VIDEO } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

function build(options: Partial<PcOptions> = {}) {
  const bus = new FakeBus();
  const clock = new FakeClock();
  const [intr, a20] = [new FakeLine(), new FakeLine()];
  a20.level = true;
  const memory = new FakeMemory(1 << 20);
  const counts = { resets: 0 };
  const pc = createPc({
    bus,
    memory,
    clock,
    intr,
    a20,
    shadow: NO_SHADOW,
    reset: () => {
      counts.resets++;
    },
    floppies: [],
    units: [],
    serial: [],
    vga: NO_VIDEO,
    ...options,
  });
  const cmos = (index: number): number => {
    bus.outb(0x70, index);
    return bus.in(0x71);
  };
  return { pc, bus, clock, intr, a20, memory, counts, cmos };
}

/** Initialize the controllers at 08h and 70h with nothing masked, as a BIOS does. */
function initializePic(bus: FakeBus): void {
  for (const [port, base, icw3] of [
    [0x20, 0x08, 0x04],
    [0xa0, 0x70, 0x02],
  ] as const) {
    bus.outb(port, 0x11);
    bus.outb(port + 1, base);
    bus.outb(port + 1, icw3);
    bus.outb(port + 1, 0x01);
    bus.outb(port + 1, 0);
  }
}

test("every device interrupts with the vector of a PC", async () => {
  const sink = { write(): void {} };
  const { pc, bus, clock } = build({
    floppies: [fakeFloppy(1440)],
    units: [fakeDisk(1), undefined, fakeDisk(1)],
    serial: [sink, sink],
  });
  initializePic(bus);
  const vectors = (): number[] => {
    const taken = [];
    while (pc.pic.pending) {
      const vector = pc.pic.acknowledge();
      taken.push(vector);
      if (vector >= 0x70) bus.outb(0xa0, 0x20);
      bus.outb(0x20, 0x20);
    }
    return taken;
  };
  bus.outb(0x43, 0x34);
  bus.outb(0x40, 0);
  bus.outb(0x40, 0x10);
  clock.advance(4e6);
  assert.deepEqual(vectors(), [0x08], "timer");
  bus.outb(0x43, 0x30);
  pc.keyboard.key("KeyA", true);
  clock.advance(1e6);
  assert.deepEqual(vectors(), [0x09], "keyboard");
  bus.in(0x60);
  bus.outb(0x64, 0xd3);
  bus.outb(0x60, 1);
  assert.deepEqual(vectors(), [], "mouse interrupt is off");
  bus.in(0x60);
  bus.outb(0x64, 0x60);
  bus.outb(0x60, 0x02);
  bus.outb(0x64, 0xd3);
  bus.outb(0x60, 1);
  assert.deepEqual(vectors(), [0x74], "mouse");
  for (const [base, vector] of [
    [0x3f8, 0x0c],
    [0x2f8, 0x0b],
  ] as const) {
    bus.outb(base + 4, 0x08);
    bus.outb(base + 1, 0x02);
    assert.deepEqual(vectors(), [vector]);
  }
  bus.outb(0x3f2, 0x0c);
  clock.advance(1e6);
  assert.deepEqual(vectors(), [0x0e], "floppy");
  for (const [base, vector] of [
    [0x1f0, 0x76],
    [0x170, 0x77],
  ] as const) {
    bus.outb(base + 6, 0xa0);
    bus.outb(base + 7, 0x10);
    assert.deepEqual(vectors(), [vector]);
    bus.in(base + 7);
  }
  bus.outb(0x70, 0x0b);
  bus.outb(0x71, 0x12);
  clock.advance(1e9);
  assert.deepEqual(vectors(), [0x70], "clock");
});

test("CMOS describes the machine", () => {
  const { bus, cmos } = build({
    memory: new FakeMemory(32 << 20),
    floppies: [fakeFloppy(1440), fakeFloppy(360)],
    units: [fakeDisk(4), undefined],
    bootOrder: ["disk", "floppy", "cdrom"],
  });
  const word = (index: number): number => cmos(index) | (cmos(index + 1) << 8);
  assert.equal(word(0x15), 640);
  assert.equal(word(0x17), 31 * 1024);
  assert.equal(word(0x30), 31 * 1024);
  assert.equal(word(0x34), 256);
  assert.equal(cmos(0x10), 0x41);
  assert.equal(cmos(0x12), 0xf0);
  assert.equal(cmos(0x19), 47);
  assert.equal(word(0x1b), 4);
  assert.equal(cmos(0x1d), 16);
  assert.equal(cmos(0x23), 63);
  assert.equal(cmos(0x14), 0x47);
  assert.equal(cmos(0x3d), 0x12);
  assert.equal(cmos(0x38), 0x30);
  assert.equal(cmos(0x32), 0x20);
  let sum = 0;
  for (let index = 0x10; index < 0x2e; index++) sum += cmos(index);
  assert.equal((cmos(0x2e) << 8) | cmos(0x2f), sum);
  assert.equal(bus.in(0x70), 0xff, "the index cannot be read");
});

test("a machine without drives says so", () => {
  const { cmos, bus } = build();
  assert.equal(cmos(0x10), 0);
  assert.equal(cmos(0x12), 0);
  assert.equal(cmos(0x14), 0x06);
  assert.equal(bus.in(0x1f7), 0xff);
  assert.equal(bus.in(0x3fd), 0xff, "no serial port");
});

test("port 92h and the keyboard controller pull the same A20 gate", () => {
  const { bus, a20, pc, counts } = build();
  bus.outb(0x92, 0x00);
  assert.equal(a20.level, false);
  bus.outb(0x64, 0xdf);
  assert.equal(a20.level, true);
  assert.equal(bus.in(0x92) & 2, 2);
  bus.outb(0x92, 0x03);
  assert.equal(counts.resets, 1);
  bus.outb(0x92, 0x03);
  assert.equal(counts.resets, 1, "only the rising bit resets");
  bus.outb(0x92, 0x00);
  pc.reset();
  assert.equal(a20.level, true, "the first fetch must reach the ROM");
});

test("port 61h gates counter 2, shows its output and the refresh toggle", () => {
  const { bus, clock } = build();
  bus.outb(0x61, 0x01);
  bus.outb(0x43, 0xb0);
  bus.outb(0x42, 0x00);
  bus.outb(0x42, 0x10);
  assert.equal(bus.in(0x61) & 0x20, 0);
  clock.advance(4e6);
  assert.equal(bus.in(0x61) & 0x20, 0x20);
  let toggles = 0;
  let last = bus.in(0x61) & 0x10;
  for (let i = 0; i < 1000; i++) {
    clock.advance(1000);
    const now = bus.in(0x61) & 0x10;
    if (now !== last) toggles++;
    last = now;
  }
  assert.ok(toggles >= 65 && toggles <= 67, `${toggles} toggles in a millisecond`);
});

test("debug console, POST port and page registers", () => {
  const text: number[] = [];
  const { bus, pc } = build({ debug: { write: (byte) => text.push(byte) } });
  for (const byte of [0x68, 0x69]) bus.outb(0xe9, byte);
  assert.deepEqual(text, [0x68, 0x69]);
  assert.equal(bus.in(0xe9), 0xe9);
  bus.outb(0x80, 0x42);
  assert.equal(pc.post.code, 0x42);
  bus.outb(0x81, 0x12);
  assert.equal(bus.in(0x81), 0x12);
  assert.equal(bus.in(0x80), 0x42);
});

test("a floppy read through the ports of a PC lands in memory", async () => {
  const floppy = fakeFloppy(1440);
  const { bus, clock, memory } = build({ floppies: [floppy] });
  bus.outb(0x3f2, 0x1c);
  clock.advance(1e6);
  for (const [port, value] of [
    [0x0c, 0],
    [0x0b, 0x46],
    [0x04, 0x00],
    [0x04, 0x7c],
    [0x05, 0xff],
    [0x05, 0x01],
    [0x81, 0x00],
    [0x0a, 0x02],
  ] as const) {
    bus.outb(port, value);
  }
  for (const byte of [0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]) bus.outb(0x3f5, byte);
  await clock.settle();
  assert.deepEqual(memory.bytes.subarray(0x7c00, 0x7e00), floppy.medium.backend.bytes.subarray(0, 512));
});

test("late timer ticks are paced by what the processor takes", () => {
  const { pc, bus, clock } = build({ maxCatchUp: 5 });
  initializePic(bus);
  for (const [port, value] of [
    [0x43, 0x34],
    [0x40, 0xa9],
    [0x40, 0x04],
  ] as const) {
    bus.outb(port, value);
  }
  clock.advance(1);
  if (pc.pic.pending) pc.pic.acknowledge();
  bus.outb(0x20, 0x20);
  clock.skip(5.5e6);
  clock.advance(0);
  let ticks = 0;
  while (clock.now() < 10.4e6) {
    if (pc.pic.pending) {
      assert.equal(pc.pic.acknowledge(), 0x08);
      bus.outb(0x20, 0x20);
      ticks++;
    }
    clock.advance(20e3);
  }
  assert.equal(ticks, 10);
});

test("claims that overlap are refused", () => {
  const bus = new FakeBus();
  bus.claimPorts({ name: "other", base: 0x3f4, count: 1, device: NO_VIDEO.ports });
  assert.throws(() => build({ bus }), /overlap/);
});
