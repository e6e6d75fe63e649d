/** Timers in order of their deadlines: a binary heap that both clocks keep. */
import type { Timer } from "./clock.ts";

class QueuedTimer implements Timer {
  deadline = Number.POSITIVE_INFINITY;
  /** Place in the heap, or -1. */
  place = -1;
  /** Order of arming, so that equal deadlines fire in the order in which they were armed. */
  order = 0;
  readonly callback: (deadline: number) => void;
  /** See {@link ArmedTimer}. */
  readonly number: number;
  readonly #queue: TimerQueue;

  constructor(queue: TimerQueue, callback: (deadline: number) => void, number: number) {
    this.#queue = queue;
    this.callback = callback;
    this.number = number;
  }

  arm(deadline: number): void {
    this.#queue.arm(this, deadline);
  }

  cancel(): void {
    this.#queue.cancel(this);
  }
}

/**
 * An armed timer in a saved state. Devices save and arm their own timers; this tells which of those with the same deadline
 * comes first. `number`: the how manieth timer it was to be made, the same in every machine of one kind; -1 for the outcome
 * of host work.
 */
export interface ArmedTimer {
  number: number;
  deadline: number;
}

/** {@link ArmedTimer.number} of the outcome of host work. */
const HOST_WORK = -1;

export class TimerQueue {
  /** Called when a timer is armed, so that a sleeping domain looks at its deadlines again. */
  onArm: () => void = () => {};
  readonly #heap: QueuedTimer[] = [];
  #armed = 0;
  #made = 0;

  timer(callback: (deadline: number) => void): Timer {
    return new QueuedTimer(this, callback, this.#made++);
  }

  /** A timer for the outcome of host work. */
  outcome(callback: (deadline: number) => void): Timer {
    return new QueuedTimer(this, callback, HOST_WORK);
  }

  /** What is armed, in the order in which it will fire. */
  state(): ArmedTimer[] {
    return this.#inOrder().map(({ number, deadline }) => ({ number, deadline }));
  }

  /** Timers that were armed again fire in the order of `saved` where their deadlines are the same. */
  restore(saved: readonly ArmedTimer[]): void {
    const left = this.#inOrder();
    const ordered: QueuedTimer[] = [];
    for (const { number, deadline } of saved) {
      const at = left.findIndex((timer) => timer.number === number && timer.deadline === deadline);
      if (at >= 0) ordered.push(...left.splice(at, 1));
    }
    for (const timer of [...ordered, ...left]) timer.order = this.#armed++;
    // A sorted list is a heap.
    this.#heap.sort(earlier);
    for (const [place, timer] of this.#heap.entries()) timer.place = place;
  }

  #inOrder(): QueuedTimer[] {
    return this.#heap.toSorted(earlier);
  }

  /** Earliest deadline, or Infinity. A field, since it is looked at after every port access. */
  next = Number.POSITIVE_INFINITY;

  arm(timer: QueuedTimer, deadline: number): void {
    if (timer.place >= 0) this.cancel(timer);
    timer.deadline = deadline;
    timer.order = this.#armed++;
    timer.place = this.#heap.push(timer) - 1;
    this.#up(timer.place);
    this.#note();
    this.onArm();
  }

  cancel(timer: QueuedTimer): void {
    const place = timer.place;
    timer.deadline = Number.POSITIVE_INFINITY;
    if (place < 0) return;
    timer.place = -1;
    const last = this.#heap.pop()!;
    if (last !== timer) {
      this.#heap[place] = last;
      last.place = place;
      this.#up(place);
      this.#down(last.place);
    }
    this.#note();
  }

  #note(): void {
    this.next = this.#heap[0]?.deadline ?? Number.POSITIVE_INFINITY;
  }

  /** Call back the first timer due at `now`; false when none is. */
  fireOne(now: number): boolean {
    const timer = this.#heap[0];
    if (!timer || timer.deadline > now) return false;
    const deadline = timer.deadline;
    this.cancel(timer);
    timer.callback(deadline);
    return true;
  }

  #before(a: QueuedTimer, b: QueuedTimer): boolean {
    return a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
  }

  #swap(i: number, j: number): void {
    const a = this.#heap[i]!;
    const b = this.#heap[j]!;
    this.#heap[i] = b;
    this.#heap[j] = a;
    b.place = i;
    a.place = j;
  }

  #up(from: number): void {
    for (let i = from; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (!this.#before(this.#heap[i]!, this.#heap[parent]!)) return;
      this.#swap(i, parent);
      i = parent;
    }
  }

  #down(from: number): void {
    for (let i = from; ; ) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) {
        const timer = this.#heap[child];
        if (timer && this.#before(timer, this.#heap[least]!)) least = child;
      }
      if (least === i) return;
      this.#swap(i, least);
      i = least;
    }
  }
}

function earlier(a: QueuedTimer, b: QueuedTimer): number {
  return a.deadline - b.deadline || a.order - b.order;
}
