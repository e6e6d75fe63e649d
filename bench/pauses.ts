/**
 * Measures how long the event loop stands still, on the thread that asks; on Linux also how much of that time the thread
 * really ran, since a busy machine makes everybody wait.
 */
import { threadTime } from "./thread-time.ts";

/** What a {@link PauseMeter} has seen. Times in ms. */
export interface Pauses {
  /** The longest pause. */
  readonly longest: number;
  /** Most time that the thread ran between two turns, as far as the scheduler's own clock shows; 0 elsewhere than on Linux. */
  readonly longestRun: number;
  /** Pauses over {@link LONG_MS}, and those in which the thread ran so long. */
  readonly long: number;
  readonly longRuns: number;
  /** Turns of the event loop that were looked at, and their mean distance. */
  readonly turns: number;
  readonly mean: number;
}

/** The longest pause that nobody should notice. */
export const LONG_MS = 50;

/** Looks at the clock in every turn of the event loop. */
export class PauseMeter {
  #longest = 0;
  #longestRun = 0;
  #long = 0;
  #longRuns = 0;
  #turns = 0;
  readonly #start = performance.now();
  #last = this.#start;
  #lastRan = threadTime() ?? 0;
  readonly #timer = setInterval(() => this.#look(), 1);

  #look(): void {
    const now = performance.now();
    const total = threadTime() ?? 0;
    const pause = now - this.#last;
    const run = total - this.#lastRan;
    this.#last = now;
    this.#lastRan = total;
    this.#turns++;
    this.#longest = Math.max(this.#longest, pause);
    this.#longestRun = Math.max(this.#longestRun, run);
    if (pause > LONG_MS) this.#long++;
    if (run > LONG_MS) this.#longRuns++;
  }

  /** Stop, and tell. */
  stop(): Pauses {
    clearInterval(this.#timer);
    this.#look();
    return {
      longest: this.#longest,
      longestRun: this.#longestRun,
      long: this.#long,
      longRuns: this.#longRuns,
      turns: this.#turns,
      mean: (this.#last - this.#start) / this.#turns,
    };
  }
}
