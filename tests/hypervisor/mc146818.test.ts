/** The real-time clock: formats, setting, update cycle, alarm, periodic and update interrupts, CMOS. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Mc146818, RTC } from "../../src/hypervisor/mc146818.ts";
import { FakeLine } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const SECOND = 1e9;

function setup(wallOffsetMs = 0): { rtc: Mc146818; clock: FakeClock; irq8: FakeLine } {
  const clock = new FakeClock();
  const irq8 = new FakeLine();
  return { rtc: new Mc146818({ clock, irq8, wallOffsetMs }), clock, irq8 };
}

function get(rtc: Mc146818, index: number): number {
  rtc.write(0, 1, index);
  return rtc.read(1, 1);
}

function put(rtc: Mc146818, index: number, value: number): void {
  rtc.write(0, 1, index);
  rtc.write(1, 1, value);
}

const DATE = [RTC.CENTURY, RTC.YEAR, RTC.MONTH, RTC.DAY, RTC.HOURS, RTC.MINUTES, RTC.SECONDS];

test("shows the wall clock in BCD, and moves with guest time", () => {
  const { rtc, clock } = setup();
  assert.deepEqual(
    DATE.map((index) => get(rtc, index)),
    [0x20, 0x24, 0x06, 0x15, 0x12, 0x34, 0x56],
  );
  assert.equal(get(rtc, RTC.WEEKDAY), 7, "a Saturday");
  clock.advance(4 * SECOND);
  assert.equal(get(rtc, RTC.SECONDS), 0x00);
  assert.equal(get(rtc, RTC.MINUTES), 0x35);
});

test("shows binary and 12-hour formats on demand", () => {
  const { rtc, clock } = setup(3_600_000);
  put(rtc, RTC.B, 0x04);
  assert.equal(get(rtc, RTC.HOURS), 0x80 | 1, "1 pm");
  assert.equal(get(rtc, RTC.MINUTES), 34);
  put(rtc, RTC.B, 0x00);
  assert.equal(get(rtc, RTC.HOURS), 0x81);
  clock.advance(11 * 3600 * SECOND);
  assert.equal(get(rtc, RTC.HOURS), 0x12, "midnight is 12 am");
});

test("SET freezes the time; what the guest wrote runs on from there", () => {
  const { rtc, clock } = setup();
  put(rtc, RTC.B, 0x82);
  const values = [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58];
  DATE.forEach((index, i) => {
    put(rtc, index, values[i]!);
  });
  put(rtc, RTC.WEEKDAY, 3);
  clock.advance(10 * SECOND);
  assert.equal(get(rtc, RTC.SECONDS), 0x58);
  put(rtc, RTC.B, 0x02);
  clock.advance(2 * SECOND);
  assert.deepEqual(
    DATE.map((index) => get(rtc, index)),
    [0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00],
  );
  assert.equal(get(rtc, RTC.WEEKDAY), 4, "the day of the week is the guest's");
});

test("the first update comes half a second after the divider is released", () => {
  const { rtc, clock } = setup();
  put(rtc, RTC.A, 0x76);
  put(rtc, RTC.SECONDS, 0x10);
  clock.advance(3.3 * SECOND);
  put(rtc, RTC.A, 0x26);
  clock.advance(0.49 * SECOND);
  assert.equal(get(rtc, RTC.SECONDS), 0x10);
  clock.advance(0.02 * SECOND);
  assert.equal(get(rtc, RTC.SECONDS), 0x11);
});

test("UIP warns before each update", () => {
  const { rtc, clock } = setup();
  clock.advance(0.5 * SECOND);
  assert.equal(get(rtc, RTC.A) & 0x80, 0);
  clock.advance(0.499 * SECOND);
  assert.equal(get(rtc, RTC.A) & 0x80, 0x80);
  clock.advance(0.001 * SECOND);
  assert.equal(get(rtc, RTC.A) & 0x80, 0);
});

test("update interrupts come every second; register C tells why and clears", () => {
  const { rtc, clock, irq8 } = setup();
  get(rtc, RTC.C);
  put(rtc, RTC.B, 0x12);
  clock.advance(0.9 * SECOND);
  assert.equal(irq8.level, false);
  clock.advance(0.1 * SECOND);
  assert.equal(irq8.level, true);
  assert.equal(get(rtc, RTC.C) & 0x90, 0x90);
  assert.equal(irq8.level, false);
  assert.equal(get(rtc, RTC.C), 0);
  clock.advance(SECOND);
  assert.equal(irq8.edges, 2);
});

test("update interrupts stay enabled while the guest sets the clock", () => {
  const { rtc, clock, irq8 } = setup();
  put(rtc, RTC.B, 0x92);
  clock.advance(2 * SECOND);
  assert.equal(irq8.level, false);
  put(rtc, RTC.B, get(rtc, RTC.B) & 0x7f);
  clock.advance(SECOND);
  assert.equal(irq8.level, true);
});

test("periodic interrupts have the selected rate", () => {
  const { rtc, clock, irq8 } = setup();
  put(rtc, RTC.A, 0x26);
  put(rtc, RTC.B, 0x42);
  let count = 0;
  while (clock.now() < SECOND) {
    clock.advanceTo(Math.min(clock.nextDeadline, SECOND));
    if (irq8.level) {
      assert.equal(get(rtc, RTC.C) & 0xc0, 0xc0);
      count++;
    }
  }
  assert.equal(count, 1024);
});

test("flags appear without interrupts for guests that poll", () => {
  const { rtc, clock, irq8 } = setup();
  get(rtc, RTC.C);
  clock.advance(1.1 * SECOND);
  assert.equal(get(rtc, RTC.C), 0x50);
  assert.equal(irq8.edges, 0);
  assert.equal(clock.nextDeadline, Number.POSITIVE_INFINITY, "nothing is armed for it");
});

test("the alarm goes off at its hour, with don't-care fields too", () => {
  const { rtc, clock, irq8 } = setup();
  put(rtc, RTC.SECONDS_ALARM, 0x05);
  put(rtc, RTC.MINUTES_ALARM, 0xff);
  put(rtc, RTC.HOURS_ALARM, 0xff);
  get(rtc, RTC.C);
  put(rtc, RTC.B, 0x22);
  clock.advance(8.9 * SECOND);
  assert.equal(irq8.level, false);
  clock.advance(0.2 * SECOND);
  assert.equal(irq8.level, true);
  assert.equal(get(rtc, RTC.C) & 0xa0, 0xa0);
  clock.advance(60 * SECOND);
  assert.equal(irq8.edges, 2);
  put(rtc, RTC.HOURS_ALARM, 0x11);
  put(rtc, RTC.MINUTES_ALARM, 0x00);
  get(rtc, RTC.C);
  clock.advance(21 * 3600 * SECOND);
  assert.equal(irq8.edges, 2);
  clock.advance(2 * 3600 * SECOND);
  assert.equal(irq8.edges, 3);
});

test("an alarm that can never match does not hang", () => {
  const { rtc, clock, irq8 } = setup();
  put(rtc, RTC.HOURS_ALARM, 0x99);
  put(rtc, RTC.B, 0x22);
  clock.advance(3 * 86400 * SECOND);
  assert.equal(irq8.edges, 0);
});

test("register D says that the battery is good, and cannot be written", () => {
  const { rtc } = setup();
  put(rtc, RTC.D, 0);
  assert.equal(get(rtc, RTC.D), 0x80);
  put(rtc, RTC.C, 0xff);
  assert.equal(get(rtc, RTC.C), 0);
});

test("CMOS keeps what is stored, over resets too", () => {
  const { rtc, irq8 } = setup();
  rtc.setCmos(0x15, 0x80);
  assert.equal(get(rtc, 0x15), 0x80);
  put(rtc, 0x80 | 0x40, 0x5a);
  put(rtc, RTC.B, 0x72);
  rtc.reset();
  assert.equal(rtc.getCmos(0x40), 0x5a);
  assert.equal(get(rtc, RTC.B), 0x02);
  assert.equal(irq8.level, false);
});

test("impossible dates do not break the clock", () => {
  const { rtc, clock } = setup();
  for (const index of DATE) put(rtc, index, 0xff);
  clock.advance(SECOND);
  for (const index of DATE) assert.ok(get(rtc, index) <= 0xff);
});
