/** The timer queue fires in order of deadlines, whatever was armed, moved and cancelled before. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TimerQueue } from "../../src/hypervisor/timers.ts";

test("timers fire in the order of their deadlines, those with equal ones in the order of arming", () => {
  const action = fc.record({ timer: fc.nat(7), deadline: fc.option(fc.nat(50), { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const queue = new TimerQueue();
      const fired: number[] = [];
      const timers = Array.from({ length: 8 }, (_, i) => queue.timer(() => fired.push(i)));
      // The model: what is armed, in order of arming.
      let armed: { timer: number; deadline: number }[] = [];
      for (const { timer, deadline } of actions) {
        armed = armed.filter((entry) => entry.timer !== timer);
        if (deadline === undefined) timers[timer]!.cancel();
        else {
          timers[timer]!.arm(deadline);
          armed.push({ timer, deadline });
        }
        assert.equal(queue.next, Math.min(Number.POSITIVE_INFINITY, ...armed.map((entry) => entry.deadline)));
      }
      while (queue.fireOne(25));
      const due = armed.filter((entry) => entry.deadline <= 25).sort((a, b) => a.deadline - b.deadline);
      assert.deepEqual(
        fired,
        due.map((entry) => entry.timer),
      );
    }),
  );
});

test("a timer that its own call-back arms anew fires again, with the deadline it was armed for", () => {
  const queue = new TimerQueue();
  const seen: number[] = [];
  const timer = queue.timer((deadline) => {
    seen.push(deadline);
    if (deadline < 30) timer.arm(deadline + 10);
  });
  timer.arm(10);
  while (queue.fireOne(100));
  assert.deepEqual(seen, [10, 20, 30]);
  assert.equal(timer.deadline, Number.POSITIVE_INFINITY);
});

test("timers that were armed again after a restore fire in their old order, the outcomes of host work among them", () => {
  const fired: string[] = [];
  const make = () => {
    const queue = new TimerQueue();
    const timers = ["a", "b", "c"].map((name) => queue.timer(() => fired.push(name)));
    const outcome = (name: string) => queue.outcome(() => fired.push(name));
    return { queue, timers, outcome };
  };
  const before = make();
  before.timers[2]!.arm(10);
  before.outcome("work").arm(10);
  before.timers[0]!.arm(10);
  before.timers[1]!.arm(5);
  const after = make();
  // Devices arm their timers in an order of their own; somebody else has one more.
  after.timers[0]!.arm(10);
  after.timers[1]!.arm(5);
  after.queue.timer(() => fired.push("other")).arm(10);
  after.timers[2]!.arm(10);
  after.outcome("work").arm(10);
  after.queue.restore(before.queue.state());
  assert.equal(after.queue.next, 5);
  while (after.queue.fireOne(10));
  assert.deepEqual(fired, ["b", "c", "work", "a", "other"]);
});
