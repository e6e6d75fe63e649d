/** ACPI's registers: the timer and its event, events and the interrupt, turning ACPI on, falling asleep and waking. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AcpiPm } from "../../src/devices/acpi-pm.ts";
import { FakeLine } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const STATUS = 0;
const ENABLE = 2;
const CONTROL = 4;
const TIMER = 8;
/** Half a period of 24 bits at 3.579545 MHz, ns. */
const HALF = (2 ** 23 / 3_579_545) * 1e9;

function machine(): { pm: AcpiPm; clock: FakeClock; sci: FakeLine; events: string[] } {
  const clock = new FakeClock();
  const sci = new FakeLine();
  const events: string[] = [];
  const pm = new AcpiPm({
    clock,
    sci,
    sleep: (state) => events.push(`sleep ${state}`),
    wake: (state) => events.push(`wake ${state}`),
  });
  return { pm, clock, sci, events };
}

test("the timer counts 24 bits at 3.579545 MHz and wraps", () => {
  const { pm, clock } = machine();
  clock.advance(1e6);
  assert.equal(pm.read(TIMER, 4), 3579);
  clock.advance(5e9 - 1e6);
  assert.equal(pm.read(TIMER, 4), (5 * 3_579_545) & 0xffffff);
});

test("each change of the timer's highest bit is an event, which interrupts where it is enabled and ACPI is on", () => {
  const { pm, clock, sci } = machine();
  clock.advance(HALF + 10);
  assert.equal(pm.read(STATUS, 2), 1);
  pm.write(STATUS, 2, 1);
  assert.equal(pm.read(STATUS, 2), 0);
  pm.write(ENABLE, 2, 1);
  pm.apm.write(0, 1, 0xf1);
  assert.equal(pm.read(CONTROL, 2), 1);
  clock.advance(HALF - 1000);
  assert.equal(sci.level, false);
  clock.advance(2000);
  assert.equal(sci.level, true);
  pm.write(STATUS, 2, 1);
  assert.equal(sci.level, false);
  clock.advance(10 * HALF);
  assert.equal(sci.level, true);
  pm.apm.write(0, 1, 0xf0);
  assert.deepEqual([sci.level, pm.read(CONTROL, 2)], [false, 0]);
});

test("the power button is an event; so is an alarm, and the release of the global lock", () => {
  const { pm, sci } = machine();
  pm.pressPowerButton();
  assert.deepEqual([pm.read(STATUS, 2), sci.level], [0x100, false]);
  pm.write(CONTROL, 2, 1);
  pm.write(ENABLE, 2, 0xffff);
  assert.deepEqual([pm.read(ENABLE, 2), sci.level], [0x0521, true]);
  pm.write(STATUS, 2, 0xffff);
  assert.equal(sci.level, false);
  pm.alarm();
  pm.write(0x28, 1, 2);
  assert.deepEqual([pm.read(STATUS, 2), pm.read(0x28, 1)], [0x420, 0]);
  pm.write(STATUS, 1, 0x20);
  pm.write(STATUS + 1, 1, 0x04);
  assert.deepEqual([pm.read(STATUS, 2), sci.level], [0, false]);
});

test("asleep until the power button, an enabled alarm or somebody at the keyboard; then the resume bit is set", () => {
  for (const [type, name] of [
    [4, "S1"],
    [1, "S3"],
  ] as const) {
    for (const wake of ["pressPowerButton", "alarm", "attention"] as const) {
      const { pm, events } = machine();
      pm.attention();
      pm.write(ENABLE, 2, 0x400);
      pm.write(CONTROL, 2, (type << 10) | 0x2001);
      assert.equal(pm.read(CONTROL, 2), (type << 10) | 1);
      pm[wake]();
      pm[wake]();
      assert.deepEqual(events, [`sleep ${name}`, `wake ${name}`]);
      assert.equal(pm.read(STATUS, 2) & 0x8000, 0x8000);
    }
  }
});

test("an alarm that is not enabled does not wake; S5 is off; unknown types are nothing", () => {
  const { pm, events } = machine();
  pm.write(CONTROL, 2, 0x3001);
  pm.alarm();
  assert.deepEqual(events, ["sleep S1"]);
  pm.write(CONTROL, 2, 0x2001);
  pm.write(CONTROL, 2, 0x3c01);
  assert.deepEqual(events, ["sleep S1", "sleep S5"]);
});

test("events survive a suspend to RAM, not a reset", () => {
  const { pm } = machine();
  pm.write(ENABLE, 2, 0x100);
  pm.write(CONTROL, 2, 0x2401);
  pm.pressPowerButton();
  pm.resume();
  assert.deepEqual([pm.read(STATUS, 2), pm.read(ENABLE, 2), pm.read(CONTROL, 2)], [0x8100, 0x100, 0x0400]);
  pm.reset();
  assert.deepEqual([pm.read(STATUS, 2), pm.read(ENABLE, 2), pm.read(CONTROL, 2)], [0, 0, 0]);
});
