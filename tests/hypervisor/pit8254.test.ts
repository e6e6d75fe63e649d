/** The 8254: modes, latches, read-back, the tick of counter 0 and what happens when the host comes late. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PIT_FREQUENCY, Pit8254 } from "../../src/hypervisor/pit8254.ts";
import { FakeLine } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const TICK = 1e9 / PIT_FREQUENCY;

function setup(maxCatchUp?: number): { pit: Pit8254; clock: FakeClock; irq0: FakeLine } {
  const clock = new FakeClock();
  const irq0 = new FakeLine();
  const pit = new Pit8254({ clock, irq0, ...(maxCatchUp !== undefined && { maxCatchUp }) });
  return { pit, clock, irq0 };
}

function program(pit: Pit8254, counter: number, mode: number, count: number, bcd = 0): void {
  pit.write(3, 1, (counter << 6) | 0x30 | (mode << 1) | bcd);
  pit.write(counter, 1, count & 0xff);
  pit.write(counter, 1, count >> 8);
}

function readCount(pit: Pit8254, counter: number): number {
  pit.write(3, 1, counter << 6);
  const low = pit.read(counter, 1);
  return low | (pit.read(counter, 1) << 8);
}

/** Move to just behind input clock `ticks` of a counter loaded at guest time 0. */
function toTick(clock: FakeClock, ticks: number): void {
  clock.advanceTo(Math.ceil(ticks * TICK));
}

test("a DOS clock ticks 65543 times an hour", () => {
  const { pit, clock, irq0 } = setup();
  program(pit, 0, 3, 0);
  const before = irq0.edges;
  clock.advanceTo(3600e9);
  assert.equal(irq0.edges - before, Math.floor((3600 * PIT_FREQUENCY) / 65536));
});

test("mode 2 counts down from the reload value and wraps to it", () => {
  const { pit, clock } = setup();
  program(pit, 0, 2, 1000);
  assert.equal(readCount(pit, 0), 1000);
  toTick(clock, 1);
  assert.equal(readCount(pit, 0), 999);
  toTick(clock, 999);
  assert.equal(readCount(pit, 0), 1);
  assert.equal(pit.output(0), false, "OUT is low for the last clock");
  toTick(clock, 1000);
  assert.equal(readCount(pit, 0), 1000);
  assert.equal(pit.output(0), true);
});

test("mode 3 counts by two, twice over, and splits odd counts unevenly", () => {
  const { pit, clock } = setup();
  pit.setGate2(true);
  program(pit, 2, 3, 5);
  const levels = [];
  const counts = [];
  for (let tick = 0; tick < 10; tick++) {
    toTick(clock, tick);
    levels.push(pit.output(2) ? 1 : 0);
    counts.push(readCount(pit, 2));
  }
  assert.deepEqual(levels, [1, 1, 1, 0, 0, 1, 1, 1, 0, 0]);
  assert.deepEqual(counts, [4, 2, 0, 4, 2, 4, 2, 0, 4, 2]);
});

test("a new count in mode 2 waits for the end of the cycle", () => {
  const { pit, clock, irq0 } = setup();
  program(pit, 0, 2, 100);
  toTick(clock, 30);
  pit.write(0, 1, 50);
  pit.write(0, 1, 0);
  assert.equal(readCount(pit, 0), 70);
  pit.write(3, 1, 0xe2);
  assert.equal(pit.read(0, 1) & 0x40, 0x40, "null count");
  const before = irq0.edges;
  toTick(clock, 100);
  assert.equal(irq0.edges - before, 1);
  assert.equal(readCount(pit, 0), 50);
  toTick(clock, 150);
  assert.equal(irq0.edges - before, 2);
});

test("a new count in mode 3 is taken over at the half cycle", () => {
  const { pit, clock, irq0 } = setup();
  program(pit, 0, 3, 100);
  toTick(clock, 10);
  pit.write(0, 1, 20);
  pit.write(0, 1, 0);
  const before = irq0.edges;
  toTick(clock, 49);
  assert.equal(pit.output(0), true);
  toTick(clock, 50);
  assert.equal(pit.output(0), false);
  assert.equal(readCount(pit, 0), 20);
  toTick(clock, 59);
  assert.equal(irq0.edges, before);
  toTick(clock, 60);
  assert.equal(irq0.edges, before + 1);
  assert.equal(pit.output(0), true);
});

test("mode 0 raises OUT once at terminal count and counts on", () => {
  const { pit, clock, irq0 } = setup();
  program(pit, 0, 0, 10);
  assert.equal(irq0.level, false);
  toTick(clock, 9);
  assert.equal(irq0.level, false);
  toTick(clock, 10);
  assert.equal(irq0.level, true);
  toTick(clock, 11);
  assert.equal(readCount(pit, 0), 0xffff);
  assert.equal(irq0.edges, 1);
});

test("mode 0: the first byte of a count stops it and drops OUT", () => {
  const { pit, clock } = setup();
  pit.setGate2(true);
  program(pit, 2, 0, 5);
  toTick(clock, 6);
  assert.equal(pit.output(2), true);
  pit.write(2, 1, 9);
  assert.equal(pit.output(2), false);
});

test("mode 1 is a one-shot that the gate triggers", () => {
  const { pit, clock } = setup();
  program(pit, 2, 1, 10);
  assert.equal(pit.output(2), true);
  pit.setGate2(true);
  assert.equal(pit.output(2), false);
  toTick(clock, 5);
  pit.setGate2(false);
  pit.setGate2(true);
  toTick(clock, 14);
  assert.equal(pit.output(2), false, "triggered again");
  toTick(clock, 16);
  assert.equal(pit.output(2), true);
});

test("modes 4 and 5 strobe for one clock", () => {
  for (const mode of [4, 5]) {
    const { pit, clock } = setup();
    if (mode === 4) pit.setGate2(true);
    program(pit, 2, mode, 3);
    if (mode === 5) pit.setGate2(true);
    const levels = [];
    for (let tick = 0; tick < 6; tick++) {
      toTick(clock, tick);
      levels.push(pit.output(2) ? 1 : 0);
    }
    assert.deepEqual(levels, [1, 1, 1, 0, 1, 1], `mode ${mode}`);
  }
});

test("mode 4 on counter 0 interrupts once", () => {
  const { pit, clock, irq0 } = setup();
  program(pit, 0, 4, 100);
  const before = irq0.edges;
  toTick(clock, 1000);
  assert.equal(irq0.edges - before, 1);
});

test("a low gate stops counter 2 and a high one goes on", () => {
  const { pit, clock } = setup();
  pit.setGate2(true);
  program(pit, 2, 0, 100);
  toTick(clock, 30);
  pit.setGate2(false);
  toTick(clock, 50);
  assert.equal(readCount(pit, 2), 70);
  pit.setGate2(true);
  toTick(clock, 60);
  assert.equal(readCount(pit, 2), 60);
});

test("latched counts stand still and are read once", () => {
  const { pit, clock } = setup();
  program(pit, 0, 2, 0x1234);
  pit.write(3, 1, 0x00);
  toTick(clock, 0x100);
  assert.equal(pit.read(0, 1), 0x34);
  assert.equal(pit.read(0, 1), 0x12);
  assert.equal(pit.read(0, 1), 0x34);
  assert.equal(pit.read(0, 1), 0x11);
});

test("read-back latches status and counts of several counters", () => {
  const { pit, clock } = setup();
  program(pit, 0, 2, 1000);
  program(pit, 1, 3, 18);
  toTick(clock, 10);
  pit.write(3, 1, 0xc6);
  assert.equal(pit.read(0, 1), 0x80 | 0x30 | (2 << 1));
  assert.equal(pit.read(0, 1) | (pit.read(0, 1) << 8), 990);
  assert.equal(pit.read(1, 1) & 0x3f, 0x30 | (3 << 1));
});

test("BCD counters count in decimal", () => {
  const { pit, clock } = setup();
  program(pit, 0, 2, 0x1000, 1);
  toTick(clock, 1);
  assert.equal(readCount(pit, 0), 0x0999);
  program(pit, 0, 0, 0, 1);
  clock.advance(TICK + 1);
  assert.equal(readCount(pit, 0), 0x9999);
});

test("one-byte access writes and reads one half of the count", () => {
  const { pit } = setup();
  pit.write(3, 1, 0x24);
  pit.write(0, 1, 0x12);
  assert.equal(pit.read(0, 1), 0x12);
  assert.equal(pit.read(0, 1), 0x12);
  pit.write(3, 1, 0x14);
  pit.write(0, 1, 0x34);
  assert.equal(pit.read(0, 1), 0x34);
});

test("a late host makes up for lost ticks one by one, as the guest takes them", () => {
  const { pit, clock, irq0 } = setup();
  program(pit, 0, 2, 1193);
  clock.advance(1.1e6);
  pit.acknowledged();
  const before = irq0.edges;
  clock.skip(10e6);
  clock.advance(0);
  assert.equal(irq0.edges - before, 1, "not a burst");
  let taken = 0;
  while (taken < 40 && clock.now() < 16e6) {
    if (irq0.edges - before > taken) {
      taken++;
      pit.acknowledged();
    }
    clock.advance(50e3);
  }
  assert.equal(irq0.edges - before, Math.floor(clock.now() / (1193 * TICK)) - 1, "none is missing");
});

test("a very late host makes up for no more than the bound", () => {
  const { pit, clock, irq0 } = setup(3);
  program(pit, 0, 2, 1193);
  clock.skip(Math.ceil(50_000 * 1193 * TICK));
  clock.advance(0);
  const before = irq0.edges;
  for (let i = 0; i < 3; i++) {
    pit.acknowledged();
    clock.advance(250e3);
  }
  assert.equal(irq0.edges - before, 3);
  pit.acknowledged();
  clock.advance(200e3);
  assert.equal(irq0.edges - before, 3);
});

test("a tick that nobody took does not silence the timer after the host came late", () => {
  const { pit, clock, irq0 } = setup();
  program(pit, 0, 2, 1193);
  // Late by ten ticks, and nobody acknowledges: the guest sets up its interrupt controller and forgets the request.
  clock.skip(12e6);
  clock.advance(0);
  const before = irq0.edges;
  clock.advanceTo(20e6);
  assert.ok(irq0.edges > before, "later ticks make edges of their own");
});

test("one alarm for each tick, none while nothing counts", () => {
  const { pit, clock } = setup();
  assert.equal(clock.nextDeadline, Number.POSITIVE_INFINITY);
  program(pit, 0, 3, 11932);
  const before = clock.fired;
  clock.advance(1e9);
  assert.ok(Math.abs(clock.fired - before - 100) <= 1);
  pit.reset();
  assert.equal(clock.nextDeadline, Number.POSITIVE_INFINITY);
});

test("edges of counter 0 are where the count says, for any count and history", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 65536 }), fc.integer({ min: 1, max: 50 }), (count, cycles) => {
      const { pit, clock, irq0 } = setup();
      program(pit, 0, 2, count & 0xffff);
      const before = irq0.edges;
      clock.advanceTo(Math.ceil(cycles * count * TICK) - 1);
      assert.equal(irq0.edges - before, cycles - 1);
      clock.advance(1);
      assert.equal(irq0.edges - before, cycles);
    }),
    { numRuns: 60 },
  );
});
