/** A clock that stands still until a test moves it. */
import type { Clock, Timer } from "../../src/hypervisor/clock.ts";

interface PendingWork {
  readonly due: number;
  settled: boolean;
  deliver(): void;
}

/** 15 June 2024, 12:34:56.000 UTC. */
export const FAKE_WALL = Date.UTC(2024, 5, 15, 12, 34, 56);

/** Guest time by hand. Timers fire in the order of their deadlines while time is moved over them. */
export class FakeClock implements Clock {
  /** Wall-clock time at guest time 0, ms. */
  wallStart = FAKE_WALL;
  /** Calls of timers so far. */
  fired = 0;
  private time = 0;
  private readonly armed = new Set<FakeTimer>();
  private work: PendingWork[] = [];

  now(): number {
    return this.time;
  }

  wallTime(): number {
    return this.wallStart + this.time / 1e6;
  }

  timer(callback: (deadline: number) => void): Timer {
    return new FakeTimer(this.armed, callback);
  }

  complete<T>(work: Promise<T>, latency: number, done: (result: T | undefined, error?: unknown) => void): void {
    const settle = (deliver: () => void): void => {
      pending.deliver = deliver;
      pending.settled = true;
    };
    const pending: PendingWork = { due: this.time + latency, settled: false, deliver: () => {} };
    this.work.push(pending);
    work.then(
      (result) => settle(() => done(result)),
      (error: unknown) => settle(() => done(undefined, error)),
    );
  }

  /** Earliest armed deadline, or Infinity. */
  get nextDeadline(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const timer of this.armed) next = Math.min(next, timer.deadline);
    return next;
  }

  /** Move time to `target` ns, firing what is due on the way. Host work that has settled is delivered at its hour. */
  advanceTo(target: number): void {
    for (;;) {
      const work = this.work.filter(({ settled }) => settled).sort((a, b) => a.due - b.due)[0];
      const timer = [...this.armed].sort((a, b) => a.deadline - b.deadline)[0];
      const at = Math.min(work?.due ?? Number.POSITIVE_INFINITY, timer?.deadline ?? Number.POSITIVE_INFINITY);
      if (at > target) break;
      this.time = Math.max(this.time, at);
      if (work !== undefined && work.due === at) {
        this.work = this.work.filter((other) => other !== work);
        work.deliver();
      } else {
        this.fired++;
        timer!.fire();
      }
    }
    this.time = Math.max(this.time, target);
  }

  /** Move time by `ns`. */
  advance(ns: number): void {
    this.advanceTo(this.time + ns);
  }

  /** Move time without firing anything, as a host does that was away; the next `advance` finds every timer late. */
  skip(ns: number): void {
    this.time += ns;
  }

  /** Host work not yet delivered. */
  get pendingWork(): number {
    return this.work.length;
  }

  /** Wait for all host work, moving time as far as its delivery takes. */
  async settle(): Promise<void> {
    while (this.work.length > 0) {
      for (let i = 0; i < 20; i++) await Promise.resolve();
      const due = this.work.filter(({ settled }) => settled).map((work) => work.due);
      if (due.length > 0) this.advanceTo(Math.max(this.time, Math.min(...due)));
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

class FakeTimer implements Timer {
  deadline = Number.POSITIVE_INFINITY;
  private readonly armed: Set<FakeTimer>;
  private readonly callback: (deadline: number) => void;

  constructor(armed: Set<FakeTimer>, callback: (deadline: number) => void) {
    this.armed = armed;
    this.callback = callback;
  }

  arm(deadline: number): void {
    this.deadline = deadline;
    this.armed.add(this);
  }

  cancel(): void {
    this.deadline = Number.POSITIVE_INFINITY;
    this.armed.delete(this);
  }

  fire(): void {
    const { deadline } = this;
    this.cancel();
    this.callback(deadline);
  }
}
