/** The 8259A pair: priorities, masks, end-of-interrupt commands, cascading, spurious interrupts, ELCR. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Pic8259 } from "../../src/hypervisor/pic8259.ts";
import { FakeLine } from "../support/device-fakes.ts";

function initialized(options: { icw1?: number; masterIcw4?: number } = {}): {
  pic: Pic8259;
  intr: FakeLine;
  taken: number[];
} {
  const intr = new FakeLine();
  const taken: number[] = [];
  const pic = new Pic8259({ intr, acknowledged: (irq) => taken.push(irq) });
  const icw1 = options.icw1 ?? 0x11;
  for (const [chip, base, icw3] of [
    [pic.master, 0x08, 0x04],
    [pic.slave, 0x70, 0x02],
  ] as const) {
    chip.write(0, 1, icw1);
    chip.write(1, 1, base);
    chip.write(1, 1, icw3);
    chip.write(1, 1, chip === pic.master ? (options.masterIcw4 ?? 0x01) : 0x01);
    chip.write(1, 1, 0);
  }
  return { pic, intr, taken };
}

const EOI = 0x20;

test("an edge becomes an interrupt with the programmed vector, once", () => {
  const { pic, intr, taken } = initialized();
  const line = pic.line(1);
  line.set(true);
  assert.equal(intr.level, true);
  assert.equal(pic.pending, true);
  assert.equal(pic.acknowledge(), 0x09);
  assert.equal(intr.level, false);
  pic.master.write(0, 1, EOI);
  assert.equal(pic.pending, false, "a line that stays high is no new edge");
  line.set(false);
  line.set(true);
  assert.equal(pic.pending, true);
  assert.deepEqual(taken, [1]);
});

test("lower priorities wait for the end of interrupt, higher ones do not", () => {
  const { pic } = initialized();
  const [irq0, irq3, irq5] = [pic.line(0), pic.line(3), pic.line(5)];
  irq5.set(true);
  irq3.set(true);
  assert.equal(pic.acknowledge(), 0x0b);
  assert.equal(pic.pending, false);
  irq0.set(true);
  assert.equal(pic.acknowledge(), 0x08);
  pic.master.write(0, 1, EOI);
  assert.equal(pic.pending, false, "IRQ 3 is still in service");
  pic.master.write(0, 1, EOI);
  assert.equal(pic.acknowledge(), 0x0d);
});

test("the slave's interrupts come through input 2 and need two ends of interrupt", () => {
  const { pic, taken } = initialized();
  pic.line(12).set(true);
  pic.line(8).set(true);
  assert.equal(pic.acknowledge(), 0x70);
  pic.slave.write(0, 1, EOI);
  assert.equal(pic.pending, false, "input 2 of the master is in service");
  pic.master.write(0, 1, EOI);
  assert.equal(pic.acknowledge(), 0x74);
  assert.deepEqual(taken, [8, 12]);
});

test("IRQ 2 is IRQ 9", () => {
  const { pic } = initialized();
  pic.line(2).set(true);
  assert.equal(pic.acknowledge(), 0x71);
});

test("special fully nested mode lets a higher slave interrupt in", () => {
  const { pic } = initialized({ masterIcw4: 0x11 });
  pic.line(12).set(true);
  assert.equal(pic.acknowledge(), 0x74);
  pic.line(8).set(true);
  assert.equal(pic.pending, true);
  assert.equal(pic.acknowledge(), 0x70);
});

test("requests that vanish turn into spurious interrupts 7 and 15", () => {
  const { pic } = initialized();
  const irq4 = pic.line(4);
  irq4.set(true);
  irq4.set(false);
  assert.equal(pic.pending, false);
  assert.equal(pic.acknowledge(), 0x0f);
  pic.master.write(0, 1, 0x0b);
  assert.equal(pic.master.read(0, 1), 0, "nothing is in service then");
});

test("masks hold interrupts back without losing them", () => {
  const { pic } = initialized();
  pic.master.write(1, 1, 0x02);
  pic.line(1).set(true);
  assert.equal(pic.pending, false);
  assert.equal(pic.master.read(0, 1), 0x02, "IRR");
  assert.equal(pic.master.read(1, 1), 0x02, "IMR");
  pic.master.write(1, 1, 0);
  assert.equal(pic.pending, true);
});

test("several sources on one line are OR-ed", () => {
  const { pic } = initialized();
  const [a, b] = [pic.line(4), pic.line(4)];
  a.set(true);
  b.set(true);
  a.set(false);
  assert.equal(pic.pending, true);
  b.set(false);
  assert.equal(pic.pending, false);
});

test("specific end of interrupt, rotation and set priority", () => {
  const { pic } = initialized();
  for (const irq of [0, 3, 4, 5]) pic.line(irq).set(true);
  pic.master.write(0, 1, 0xc0 | 3);
  assert.equal(pic.acknowledge(), 0x0c, "IRQ 4 is the highest once 3 is the lowest");
  pic.master.write(0, 1, 0x60 | 4);
  assert.equal(pic.acknowledge(), 0x0d);
  pic.master.write(0, 1, 0xa0);
  assert.equal(pic.acknowledge(), 0x08, "rotated: 6, 7, 0 … follow 5");
});

test("automatic end of interrupt leaves nothing in service, and may rotate", () => {
  const { pic } = initialized({ masterIcw4: 0x03 });
  pic.master.write(0, 1, 0x80);
  const [irq1, irq3] = [pic.line(1), pic.line(3)];
  irq1.set(true);
  irq3.set(true);
  assert.equal(pic.acknowledge(), 0x09);
  pic.master.write(0, 1, 0x0b);
  assert.equal(pic.master.read(0, 1), 0);
  irq1.set(false);
  irq1.set(true);
  assert.equal(pic.acknowledge(), 0x0b, "IRQ 1 went to the end of the queue");
});

test("special mask mode lets lower priorities through a masked level", () => {
  const { pic } = initialized();
  pic.line(3).set(true);
  pic.acknowledge();
  pic.line(6).set(true);
  assert.equal(pic.pending, false);
  pic.master.write(1, 1, 0x08);
  assert.equal(pic.pending, false);
  pic.master.write(0, 1, 0x68);
  assert.equal(pic.pending, true);
  assert.equal(pic.acknowledge(), 0x0e);
  pic.master.write(0, 1, EOI);
  pic.master.write(0, 1, 0x0b);
  assert.equal(pic.master.read(0, 1), 0x08, "a non-specific EOI does not see the masked level");
});

test("poll reports and takes the highest request", () => {
  const { pic, taken } = initialized();
  pic.line(5).set(true);
  pic.master.write(0, 1, 0x0c);
  assert.equal(pic.master.read(0, 1), 0x85);
  assert.equal(pic.pending, false);
  pic.master.write(0, 1, 0x0c);
  assert.equal(pic.master.read(0, 1), 0x00);
  assert.deepEqual(taken, [5]);
});

test("level-triggered inputs interrupt as long as they are high", () => {
  const { pic } = initialized();
  pic.elcr.write(0, 1, 0xff);
  pic.elcr.write(1, 1, 0xff);
  assert.equal(pic.elcr.read(0, 1), 0xf8, "0, 1 and 2 stay edge-triggered");
  assert.equal(pic.elcr.read(1, 1), 0xde, "so do 8 and 13");
  const line = pic.line(5);
  line.set(true);
  pic.acknowledge();
  pic.master.write(0, 1, EOI);
  assert.equal(pic.pending, true);
  line.set(false);
  assert.equal(pic.pending, false);
});

test("a single controller has no slave", () => {
  const intr = new FakeLine();
  const pic = new Pic8259({ intr });
  pic.master.write(0, 1, 0x13);
  pic.master.write(1, 1, 0x20);
  pic.master.write(1, 1, 0x01);
  pic.line(3).set(true);
  assert.equal(pic.acknowledge(), 0x23);
});

test("nothing is delivered before initialization, nor in the middle of it", () => {
  const intr = new FakeLine();
  const pic = new Pic8259({ intr });
  pic.line(3).set(true);
  assert.equal(intr.level, false);
  pic.master.write(0, 1, 0x11);
  pic.line(4).set(true);
  pic.master.write(1, 1, 0x20);
  assert.equal(intr.level, false);
  pic.master.write(1, 1, 0x04);
  pic.master.write(1, 1, 0x01);
  assert.equal(intr.level, true);
});

test("state survives in the middle of a service", () => {
  const { pic } = initialized();
  const [irq1, irq4] = [pic.line(1), pic.line(4)];
  irq1.set(true);
  pic.acknowledge();
  irq4.set(true);
  const saved = pic.state();
  irq4.set(false);
  pic.reset();
  pic.restore(saved);
  assert.equal(pic.pending, false);
  pic.master.write(0, 1, EOI);
  assert.equal(pic.acknowledge(), 0x0c);
});
