/** Both clocks: what they promise about timers, idling and work that the host does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InstructionClock, NS_PER_INSTRUCTION, RealClock } from "../../src/hypervisor/domain-clock.ts";

/** What guest time may lead by, and some. */
const MOST_LEAD = 3e7;
const START = Date.UTC(2026, 0, 1);

test("the instruction clock moves with instructions, and skips to the next deadline when idle", () => {
  const clock = new InstructionClock(START);
  const fired: number[] = [];
  clock.timer((deadline) => fired.push(deadline)).arm(5000);
  assert.equal(clock.budget(), 5000 / NS_PER_INSTRUCTION);
  clock.advance(100);
  assert.equal(clock.now(), 100 * NS_PER_INSTRUCTION);
  clock.fire();
  assert.deepEqual(fired, []);
  assert.equal(clock.idle(), 0);
  assert.equal(clock.now(), 5000);
  clock.fire();
  assert.deepEqual(fired, [5000]);
  assert.equal(clock.idle(), Number.POSITIVE_INFINITY);
  assert.equal(clock.wallTime(), START + 0.005);
});

test("host work arrives at its guest time, and the clock waits for a host that is late", async () => {
  const clock = new InstructionClock(START);
  const order: string[] = [];
  let finish: (value: string) => void = () => {};
  const late = new Promise<string>((resolve) => {
    finish = resolve;
  });
  clock.complete(late, 1000, (result) => order.push(`${result} at ${clock.now()}`));
  // Due at the same time, but armed later: it must not overtake.
  clock.timer(() => order.push("timer")).arm(1000);
  clock.idle();
  clock.fire();
  assert.deepEqual(order, []);
  assert.ok(clock.blocker);
  finish("data");
  await clock.blocker;
  assert.equal(clock.blocker, undefined);
  clock.fire();
  assert.deepEqual(order, ["data at 1000", "timer"]);
});

test("host work that is ready early waits for its guest time; errors arrive as errors", async () => {
  const clock = new InstructionClock(START);
  const seen: unknown[] = [];
  const failure = new Error("no disk");
  clock.complete(Promise.reject(failure), 500, (_result, error) => seen.push(error));
  await new Promise((resolve) => setImmediate(resolve));
  clock.fire();
  assert.deepEqual(seen, []);
  clock.idle();
  clock.fire();
  assert.deepEqual(seen, [failure]);
});

test("the real clock never goes back, and stands still while paused", async () => {
  const clock = new RealClock(START);
  const before = clock.now();
  clock.pause();
  const paused = clock.now();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(clock.now(), paused);
  clock.resume();
  assert.ok(paused >= before);
  assert.ok(clock.now() - paused < 15e6, "the pause does not count");
});

test("arming a timer wakes an idle domain", () => {
  for (const clock of [new RealClock(START), new InstructionClock(START)]) {
    let woken = 0;
    clock.onWake(() => woken++);
    clock.timer(() => {}).arm(10);
    assert.equal(woken, 1);
  }
});

/** Keep the host busy for so many ms. */
function stall(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

test("a stall of the host is no jump for a guest that polls, and is made up for while it halts", () => {
  const clock = new RealClock(START);
  clock.now();
  stall(20);
  const before = clock.now();
  assert.ok(clock.now() - before < 1e5, "a poll moves on by little");
  clock.idle();
  assert.ok(clock.now() - before > 15e6, "all of it has gone by");
});

test("a guest that polls sees no time before what it saw, and none far from the host's", () => {
  const clock = new RealClock(START);
  const host = performance.now();
  let last = clock.now();
  for (let i = 0; i < 200_000; i++) {
    clock.advance(5);
    const now = clock.now();
    assert.ok(now >= last);
    last = now;
  }
  assert.ok(last - (performance.now() - host) * 1e6 < MOST_LEAD, "it does not run away");
});

test("guest time does not pass a call-back that is due", () => {
  const clock = new RealClock(START);
  const deadline = clock.now() + 1e6;
  let called = 0;
  clock.timer(() => called++).arm(deadline);
  stall(5);
  clock.idle();
  assert.equal(clock.now(), deadline);
  assert.ok(clock.due);
  clock.fire();
  assert.equal(called, 1);
  assert.ok(!clock.due);
});
