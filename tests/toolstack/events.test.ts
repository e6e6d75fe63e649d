/** Typed events. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Emitter } from "../../src/toolstack/events.ts";

test("a subscription lasts until it is disposed of", () => {
  const emitter = new Emitter<number>();
  const seen: number[] = [];
  const listener = (value: number) => seen.push(value);
  const first = emitter.event(listener);
  const second = emitter.event(listener);
  emitter.fire(1);
  first.dispose();
  emitter.fire(2);
  second[Symbol.dispose]();
  emitter.fire(3);
  assert.deepEqual(seen, [1, 1, 2]);
});

test("a listener may end its own subscription while it is called", () => {
  const emitter = new Emitter<void>();
  let calls = 0;
  const once = emitter.event(() => {
    calls++;
    once.dispose();
  });
  emitter.event(() => calls++);
  emitter.fire();
  emitter.fire();
  assert.equal(calls, 3);
});
