/**
 * The two clocks of a domain. The real one follows the host; the instruction clock counts guest instructions and skips
 * idle time, so that a run can be repeated bit for bit.
 */
import type { Clock, Timer } from "./clock.ts";
import { type ArmedTimer, TimerQueue } from "./timers.ts";

/** Guest time per instruction under the instruction clock, ns: a machine of 100 million instructions a second. */
export const NS_PER_INSTRUCTION = 10;
/** Longest stretch of guest instructions between two looks at the host. */
const MAX_BUDGET = 1 << 20;
/** Shortest budget under the real clock, so that a near deadline does not cost an exit for each instruction. */
const MIN_BUDGET = 2000;
/**
 * A guest that does little but count ticks (few instructions between halts, most times of late) sleeps at least
 * SLACK_MS at a time: its ticks come in small groups, and none is lost. Anything that raises an interrupt wakes it at once.
 */
const LIGHT_INSTRUCTIONS = 50_000;
const LIGHT_WAKES = 16;
const SLACK_MS = 40;
const PACING_MS = 0.05;
/** The host's clock went on while the process did not run (suspended, debugged): guest time does not follow further. */
const MAX_STEP = 1e9;

/** The global is a getter in Node, which costs as much as a third of the look. */
const HOST = performance;

/** A clock in a saved domain. */
export interface ClockState {
  /** Guest time, ns. */
  now: number;
  /** Wall-clock time that belongs to guest time 0, ms since the epoch. */
  origin: number;
  /** What is armed, first what fires first: see {@link TimerQueue.restore}. */
  timers: ArmedTimer[];
}

/** Largest guest time that is exact in a double, ns. */
export const LAST_TIME = 2 ** 53;

/** Largest ms since the epoch, either way, that a Date can hold (ECMA-262 21.4.1.1). */
export const LAST_DATE = 8.64e15;

/** Host work that was given to a clock and is not done. */
class OpenWork {
  readonly #open = new Set<Promise<unknown>>();

  /** Keep `work` until it is over, one way or the other. */
  note(work: Promise<unknown>): void {
    const over = (): void => {
      this.#open.delete(work);
    };
    this.#open.add(work);
    work.then(over, over);
  }

  /** Resolves when all of it is over, what begins meanwhile included. */
  async settled(): Promise<void> {
    while (this.#open.size > 0) {
      await Promise.allSettled(this.#open);
      // Those who are told of it may begin something new.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
}

/** What the run loop needs of a clock besides what devices see. */
export interface DomainClock extends Clock {
  /** The clock as it stands; to be asked while the domain is held. */
  state(): ClockState;
  /** Set a clock that nobody has used yet to the hour of a saved state. Devices are restored after this. */
  restore(state: ClockState): void;
  /** Timers that fall together fire in their old order: after devices were restored. */
  restoreTimers(state: ClockState): void;
  /** Resolves when no host work is under way. Its outcomes may still wait for their hour. */
  settled(): Promise<void>;
  /** Timers due now are called back. */
  fire(): void;
  /** `count` more guest instructions were executed. */
  advance(count: number): void;
  /** Guest time of the next call-back, ns; Infinity when there is none. */
  readonly deadline: number;
  /** Guest time stands at the deadline while the guest runs on: it should be left. */
  readonly due: boolean;
  /** Instructions the vCPU may execute before the next deadline. */
  budget(): number;
  /** Least guest ns that an instruction takes, times 65536, and for how many instructions from now on that may be used. */
  tickRate(): { readonly step: number; readonly reach: number };
  /** The vCPU is idle: host ms to wait until the next deadline, or 0 when guest time just skips there. Infinity: no deadline. */
  idle(): number;
  /** Host work that guest time waits for, if any. */
  readonly blocker: Promise<unknown> | undefined;
  /** Called when something happened that an idle domain must look at. */
  onWake(callback: () => void): void;
  /** Guest time stands still from now on, until `resume`. */
  pause(): void;
  resume(): void;
}

/**
 * A host stops a thread for a millisecond now and then, and code is slow before it is compiled. A guest that polls a
 * timer against its time-stamp counter would see that as jumps and distrust both (Linux asks for at most 10 to 1 between
 * two polls, or does without the counter). So guest time goes on by what the instructions since the last look usually
 * take, LOOK_NS for the look included, or by SLEW times more or less as it lags or leads.
 */
const SLEW = 2;
const LOOK_NS = 300;
/** With fewer instructions than this between two looks the guest is polling: each then counts for so many ns. */
const POLLING = 100;
const POLLED_NS = 10;
/** Such a guest is answered so many times in a row by what the last look at the host's clock, which is dear, came to. */
const MOST_GUESSED = 7;
/** Guest time lags and leads by no more than this, ns; while the guest halts it comes right at once. */
const MAX_LAG = 5e8;
const MAX_LEAD = 2e7;

/** One tick in the fixed-point steps of {@link DomainClock.tickRate}. */
const TICK_UNIT = 1 << 16;
/** Instructions after which the host's clock is looked at again. */
const TICK_REACH = 1000;
/** Polling guests take no more for an instruction. */
const MAX_STEP_FRACTION = (POLLED_NS / SLEW) * TICK_UNIT;
const EXACT_TICKS = { step: NS_PER_INSTRUCTION * TICK_UNIT, reach: 0x7fff_ffff } as const;

/** Follows the host's monotonic clock. */
export class RealClock implements DomainClock {
  readonly #queue = new TimerQueue();
  readonly #work = new OpenWork();
  #wall: number;
  /** Guest ns at the last look, and the host's ms then. */
  #guest = 0;
  #host: number;
  /** Host ns that guest time has not followed yet (negative: by which it leads), and instructions since the last look. */
  #owed = 0;
  /** Host ns that the domain ran. */
  #elapsed = 0;
  #ran = 0;
  /** What guest time went on by at the last look, as a part of what was usual; answers given by that since then. */
  #pace = 1;
  #guessed = 0;
  #paused = false;
  /** Instructions since the guest last halted, and how many halts in a row came after next to none. */
  #sinceIdle = 0;
  #lightWakes = 0;
  /** Instructions per guest ns, smoothed, to turn deadlines into budgets. */
  #rate = 0.05;
  #lastInstructions = 0;
  #lastTime = 0;
  readonly #tickRate = { step: 0, reach: TICK_REACH };
  readonly blocker = undefined;

  constructor(wallTime?: number) {
    this.#wall = wallTime ?? Date.now();
    this.#host = HOST.now();
  }

  get deadline(): number {
    return this.#queue.next;
  }

  get due(): boolean {
    return this.#guest >= this.#queue.next;
  }

  now(): number {
    if (this.#paused) return this.#guest;
    if (this.#ran >= POLLING || this.#guessed >= MOST_GUESSED) return this.#measured();
    this.#guessed++;
    const usual = LOOK_NS + this.#ran * POLLED_NS;
    this.#ran = 0;
    this.#follow(Math.min(usual * this.#pace, Math.max(0, this.#owed + MAX_LEAD)));
    return this.#guest;
  }

  /** {@link now} by the host's clock. */
  #measured(): number {
    if (this.#paused) return this.#guest;
    this.#look();
    const usual = LOOK_NS + (this.#ran < POLLING ? this.#ran * POLLED_NS : this.#ran / this.#rate);
    this.#ran = 0;
    this.#guessed = 0;
    const step = Math.min(Math.max(this.#owed, usual / SLEW), usual * SLEW);
    this.#pace = step / usual;
    this.#follow(Math.min(Math.max(step, this.#owed - MAX_LAG), Math.max(0, this.#owed + MAX_LEAD)));
    return this.#guest;
  }

  /** Look at the host's clock. */
  #look(): void {
    const host = HOST.now();
    const elapsed = Math.min(MAX_STEP, (host - this.#host) * 1e6);
    this.#host = host;
    this.#owed += elapsed;
    this.#elapsed += elapsed;
  }

  /** Guest time is where the host's is, at once, unless it leads. */
  #catchUp(): void {
    if (this.#paused) return;
    this.#look();
    this.#follow(Math.max(0, this.#owed));
  }

  /** Guest time goes on by `ns` of what it owes, but not past a call-back that is due: ticks come at their own time. */
  #follow(ns: number): void {
    const left = Math.max(0, Math.ceil(this.#queue.next - this.#guest));
    const whole = Math.min(Math.floor(ns), left);
    this.#guest += whole;
    this.#owed -= whole;
  }

  timer(callback: (deadline: number) => void): Timer {
    return this.#queue.timer(callback);
  }

  complete<T>(work: Promise<T>, latency: number, done: (result: T | undefined, error?: unknown) => void): void {
    const earliest = this.now() + latency;
    const deliver = (result: T | undefined, error?: unknown): void => {
      if (this.now() >= earliest) done(result, error);
      else this.#queue.outcome(() => done(result, error)).arm(earliest);
    };
    this.#work.note(work);
    work.then(
      (result) => deliver(result),
      (error: unknown) => deliver(undefined, error),
    );
  }

  wallTime(): number {
    return this.#wall + this.now() / 1e6;
  }

  state(): ClockState {
    return { now: this.now(), origin: this.#wall, timers: this.#queue.state() };
  }

  /** Guest time goes on where it was; the wall clock is the host's. */
  restore({ now }: ClockState): void {
    this.#guest = now;
    this.#wall = Date.now() - now / 1e6;
    this.#host = HOST.now();
    this.#owed = 0;
  }

  restoreTimers({ timers }: ClockState): void {
    this.#queue.restore(timers);
  }

  settled(): Promise<void> {
    return this.#work.settled();
  }

  fire(): void {
    // Deadlines that pass while call-backs run wait for the next look, or a slow host would never leave.
    const now = this.#measured();
    while (this.#queue.fireOne(now));
  }

  advance(count: number): void {
    this.#lastInstructions += count;
    this.#sinceIdle += count;
    this.#ran += count;
    const elapsed = this.#elapsed - this.#lastTime;
    if (elapsed < 2e6) return;
    if (this.#lastInstructions > 1000) this.#rate = this.#rate * 0.7 + (this.#lastInstructions / elapsed) * 0.3;
    this.#lastInstructions = 0;
    this.#lastTime = this.#elapsed;
  }

  onWake(callback: () => void): void {
    this.#queue.onArm = callback;
  }

  budget(): number {
    const left = this.#queue.next - this.#guest;
    return Math.max(MIN_BUDGET, Math.min(MAX_BUDGET, left * this.#rate));
  }

  tickRate(): { readonly step: number; readonly reach: number } {
    // No more than `now` is sure to give for them.
    const step = Math.min(MAX_STEP_FRACTION, Math.floor(TICK_UNIT / (this.#rate * SLEW)));
    const left = Math.max(0, this.#queue.next - this.#guest);
    this.#tickRate.step = step;
    this.#tickRate.reach = Math.min(TICK_REACH, Math.floor((left * TICK_UNIT) / Math.max(1, step)));
    return this.#tickRate;
  }

  idle(): number {
    // Nobody sees time jump while the guest sleeps.
    this.#catchUp();
    // Instructions executed before a pause say nothing about speed.
    this.#lastInstructions = 0;
    this.#lastTime = this.#elapsed;
    const light = this.#sinceIdle < LIGHT_INSTRUCTIONS;
    this.#lightWakes = light ? Math.min(this.#lightWakes + 1, 4 * LIGHT_WAKES) : this.#lightWakes >> 1;
    this.#sinceIdle = 0;
    const left = (this.#queue.next - this.#guest) / 1e6;
    // A very short wait is a device that paces what it still owes: sleeping would make it owe more.
    if (left < PACING_MS) return 0;
    // Hosts cut timers to whole ms: waking early only to sleep again costs as much as a tick of the guest.
    const wait = Math.ceil(left);
    return wait > 1 && this.#lightWakes > LIGHT_WAKES ? Math.max(wait, SLACK_MS) : wait;
  }

  pause(): void {
    this.#catchUp();
    this.#paused = true;
  }

  resume(): void {
    this.#host = HOST.now();
    this.#paused = false;
  }
}

/** Counts guest instructions. */
export class InstructionClock implements DomainClock {
  readonly #queue = new TimerQueue();
  readonly #work = new OpenWork();
  #wall: number;
  #now = 0;
  #blocker: Promise<unknown> | undefined;

  constructor(wallTime: number) {
    this.#wall = wallTime;
  }

  get blocker(): Promise<unknown> | undefined {
    return this.#blocker;
  }

  get deadline(): number {
    return this.#queue.next;
  }

  /** The budget ends there. */
  get due(): boolean {
    return false;
  }

  now(): number {
    return this.#now;
  }

  timer(callback: (deadline: number) => void): Timer {
    return this.#queue.timer(callback);
  }

  complete<T>(work: Promise<T>, latency: number, done: (result: T | undefined, error?: unknown) => void): void {
    let outcome: { result: T | undefined; error?: unknown } | undefined;
    const settled = work.then(
      (result) => {
        outcome = { result };
      },
      (error: unknown) => {
        outcome = { result: undefined, error };
      },
    );
    this.#work.note(settled);
    this.#queue
      .outcome(() => {
        const deliver = (): void => done(outcome?.result, outcome?.error);
        if (outcome) {
          deliver();
          return;
        }
        // Guest time has come and the host is not ready: the domain waits, and nobody in it can tell.
        const previous = this.#blocker;
        const blocker = Promise.all([previous, settled]).then(() => {
          if (this.#blocker === blocker) this.#blocker = undefined;
          deliver();
        });
        this.#blocker = blocker;
      })
      .arm(this.#now + latency);
  }

  wallTime(): number {
    return this.#wall + this.#now / 1e6;
  }

  state(): ClockState {
    return { now: this.#now, origin: this.#wall, timers: this.#queue.state() };
  }

  restore({ now, origin }: ClockState): void {
    this.#now = now;
    this.#wall = origin;
  }

  restoreTimers({ timers }: ClockState): void {
    this.#queue.restore(timers);
  }

  settled(): Promise<void> {
    return this.#work.settled();
  }

  fire(): void {
    // A call-back may find that the host is not ready: then those behind it wait too, so that their order never changes.
    while (!this.#blocker && this.#queue.fireOne(this.#now));
  }

  advance(count: number): void {
    this.#now += count * NS_PER_INSTRUCTION;
  }

  onWake(callback: () => void): void {
    this.#queue.onArm = callback;
  }

  budget(): number {
    return Math.max(1, Math.min(MAX_BUDGET, Math.ceil((this.#queue.next - this.#now) / NS_PER_INSTRUCTION)));
  }

  tickRate(): { readonly step: number; readonly reach: number } {
    return EXACT_TICKS;
  }

  idle(): number {
    const next = this.#queue.next;
    if (next === Number.POSITIVE_INFINITY) return next;
    this.#now = Math.max(this.#now, next);
    return 0;
  }

  pause(): void {}
  resume(): void {}
}
