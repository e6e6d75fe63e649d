/** The event timers: counter, one-shot and periodic comparators, edges and levels, and the places of 8254 and clock. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Hpet } from "../../src/hypervisor/hpet.ts";
import { FakeClock } from "../support/fake-clock.ts";

const CONFIG = 0x10;
const STATUS = 0x20;
const COUNTER = 0xf0;
const LEVEL = 2;
const ENABLE = 4;
const PERIODIC = 8;
const SET_VALUE = 0x40;
const MODE_32 = 0x100;
const ROUTE_21 = 21 << 9;
const timer = (n: number): number => 0x100 + n * 0x20;
const comparator = (n: number): number => timer(n) + 8;

class Board {
  readonly clock = new FakeClock();
  readonly events: string[] = [];
  readonly hpet = new Hpet({
    clock: this.clock,
    route: (input, level) => this.note(`in${input}`, level),
    legacy: (n, level) => this.note(`old${n}`, level),
    replace: (replaced) => this.events.push(replaced ? "replaces" : "gives back"),
  });
  private readonly levels = new Map<string, boolean>();

  private note(line: string, level: boolean): void {
    if ((this.levels.get(line) ?? false) === level) return;
    this.levels.set(line, level);
    this.events.push(`${line} ${level ? "up" : "down"}`);
  }

  get(offset: number): number {
    return this.hpet.read(offset, 4);
  }

  set(offset: number, value: number): void {
    this.hpet.write(offset, 4, value);
  }

  take(): string[] {
    return this.events.splice(0);
  }
}

test("it says what it is: three timers, 64 bits, 10 ns", () => {
  const board = new Board();
  assert.deepEqual([board.get(0), board.get(4)], [0x8086a201, 10_000_000]);
  assert.deepEqual([board.get(timer(0)), board.get(timer(2) + 4), board.get(timer(3))], [0x30, 0x00f00000, 0]);
  assert.deepEqual([board.hpet.read(2, 2), board.hpet.read(1, 1)], [0x8086, 0xa2]);
});

test("the counter stands, runs from where it is, and carries into its upper half", () => {
  const board = new Board();
  board.clock.advance(1000);
  assert.equal(board.get(COUNTER), 0);
  board.set(COUNTER, 0xfffffff0);
  board.set(COUNTER + 4, 7);
  board.set(CONFIG, 1);
  board.clock.advance(159);
  assert.deepEqual([board.get(COUNTER), board.get(COUNTER + 4)], [0xffffffff, 7]);
  board.clock.advance(1);
  assert.deepEqual([board.get(COUNTER), board.get(COUNTER + 4)], [0, 8]);
  board.set(CONFIG, 0);
  board.clock.advance(1000);
  assert.deepEqual([board.get(COUNTER), board.get(COUNTER + 4)], [0, 8]);
});

test("a comparator is matched once, by an edge on the input that it is led to", () => {
  const board = new Board();
  board.set(timer(2), ENABLE | ROUTE_21 | MODE_32);
  board.set(comparator(2), 1000);
  board.set(CONFIG, 1);
  board.clock.advance(9_999);
  assert.deepEqual(board.take(), []);
  board.clock.advance(1);
  assert.deepEqual([board.take(), board.get(STATUS)], [["in21 up", "in21 down"], 0]);
  board.clock.advance(1e9);
  assert.deepEqual(board.take(), []);
  // In 32 bits the counter comes round again after 43 seconds.
  board.clock.advance(43e9);
  assert.deepEqual(board.take(), ["in21 up", "in21 down"]);
});

test("a level stays until its status bit is cleared", () => {
  const board = new Board();
  board.set(timer(2), ENABLE | LEVEL | ROUTE_21);
  board.set(comparator(2), 100);
  board.set(comparator(2) + 4, 0);
  board.set(CONFIG, 1);
  board.clock.advance(2000);
  assert.deepEqual([board.take(), board.get(STATUS)], [["in21 up"], 4]);
  board.set(STATUS, 4);
  assert.deepEqual([board.take(), board.get(STATUS)], [["in21 down"], 0]);
});

test("a periodic comparator goes on by its period; the first match can be set apart", () => {
  const board = new Board();
  board.set(CONFIG, 1);
  board.set(timer(2), ENABLE | PERIODIC | SET_VALUE | MODE_32 | ROUTE_21);
  board.set(comparator(2), 5000);
  board.set(comparator(2), 100_000);
  const at: number[] = [];
  for (let us = 10; us <= 3100; us += 10) {
    board.clock.advance(10_000);
    if (board.take().length > 0) at.push(us);
  }
  assert.deepEqual(at, [50, 1050, 2050, 3050]);
  assert.equal(board.get(comparator(2)), 405_000);
});

test("a period that nobody could serve does not hold time up", () => {
  const board = new Board();
  board.set(CONFIG, 1);
  board.set(timer(2), ENABLE | PERIODIC | SET_VALUE | MODE_32 | ROUTE_21);
  board.set(comparator(2), 1);
  board.set(comparator(2), 1);
  board.clock.advance(1e6);
  const { length } = board.take();
  assert.ok(length > 0 && length <= 102, `${length} edges`);
});

test("timers 0 and 1 take the places of the 8254 and the clock, and give them back", () => {
  const board = new Board();
  board.set(timer(0), ENABLE | PERIODIC | SET_VALUE | MODE_32);
  board.set(comparator(0), 100_000);
  board.set(timer(1), ENABLE | MODE_32);
  board.set(comparator(1), 150_000);
  board.set(CONFIG, 3);
  board.clock.advance(2e6);
  assert.deepEqual(board.take(), ["replaces", "old0 up", "old0 down", "old1 up", "old1 down", "old0 up", "old0 down"]);
  board.hpet.reset();
  assert.deepEqual(board.take(), ["gives back"]);
  board.clock.advance(1e9);
  assert.deepEqual(board.take(), []);
});
