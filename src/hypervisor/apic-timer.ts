/**
 * The local APIC's timer: counts down from a value once or again and again, or waits for a time-stamp. SDM 3A 11.5.4. What
 * it shows is computed from guest time; nothing happens between two interrupts.
 */
import { TIMER_MODE } from "./apic-registers.ts";
import type { Clock, Timer } from "./clock.ts";
import { restoreTimer, timerState } from "./timer-state.ts";

/** The bus clock that is divided: 100 MHz, ns. */
const BUS_CYCLE = 10;
/** A guest that asks for interrupts more often than that, ns, would do nothing else. */
const SHORTEST = 20_000;
/** Divisor by bits 3, 1 and 0 of the divide configuration register. */
const DIVISORS: readonly number[] = [2, 4, 8, 16, 32, 64, 128, 1];
const DIVIDE_WRITABLE = 0xb;

/** State of the timer. */
export interface ApicTimerState {
  mode: number;
  masked: boolean;
  initial: number;
  divide: number;
  /** The count is not 0; guest time at which it was, or would have been, `initial`, ns. */
  counting: boolean;
  start: number;
  /** Time-stamp that is waited for, low and high word; 0: none. */
  deadline: readonly [number, number];
  fireAt: number;
}

const NONE = [0, 0] as const;

function powerOn(): ApicTimerState {
  return {
    mode: TIMER_MODE.ONE_SHOT,
    masked: true,
    initial: 0,
    divide: 0,
    counting: false,
    start: 0,
    deadline: NONE,
    fireAt: -1,
  };
}

export interface ApicTimerDeps {
  readonly clock: Clock;
  /** The time-stamp counter now; it counts ns. */
  readonly timeStamp: () => bigint;
  /** The count came to zero, or the deadline. */
  readonly expired: () => void;
}

export class ApicTimer {
  readonly #deps: ApicTimerDeps;
  readonly #timer: Timer;
  #s: ApicTimerState = powerOn();

  constructor(deps: ApicTimerDeps) {
    this.#deps = deps;
    this.#timer = deps.clock.timer((deadline) => this.#expire(deadline));
  }

  /** ns of one count. */
  get #tick(): number {
    const { divide } = this.#s;
    return BUS_CYCLE * DIVISORS[((divide >> 1) & 4) | (divide & 3)]!;
  }

  get initial(): number {
    return this.#s.initial;
  }

  get divide(): number {
    return this.#s.divide;
  }

  /** The count now. */
  current(): number {
    const s = this.#s;
    if (!s.counting) return 0;
    const elapsed = Math.floor((this.#deps.clock.now() - s.start) / this.#tick);
    if (s.mode === TIMER_MODE.PERIODIC) return s.initial - (elapsed % s.initial);
    return Math.max(0, s.initial - elapsed);
  }

  /** Mode and mask of the timer's vector. */
  configure(mode: number, masked: boolean): void {
    const s = this.#s;
    const between = (mode === TIMER_MODE.TSC_DEADLINE) !== (s.mode === TIMER_MODE.TSC_DEADLINE);
    if (!between && mode === s.mode && masked === s.masked) return;
    const count = this.current();
    s.mode = mode;
    s.masked = masked;
    if (between) {
      s.counting = false;
      s.initial = 0;
      s.deadline = NONE;
    } else if (count > 0) s.start = this.#deps.clock.now() - (s.initial - count) * this.#tick;
    else s.counting = false;
    this.#arm();
  }

  setInitial(value: number): void {
    const s = this.#s;
    if (s.mode === TIMER_MODE.TSC_DEADLINE) return;
    s.initial = value >>> 0;
    s.counting = s.initial > 0;
    s.start = this.#deps.clock.now();
    this.#arm();
  }

  /** The count goes on from where it is, at another pace. */
  setDivide(value: number): void {
    const s = this.#s;
    const count = this.current();
    s.divide = value & DIVIDE_WRITABLE;
    if (s.counting) s.start = this.#deps.clock.now() - (s.initial - count) * this.#tick;
    this.#arm();
  }

  /** IA32_TSC_DEADLINE (SDM 3A 11.5.4.1). */
  get deadline(): bigint {
    const [low, high] = this.#s.deadline;
    return (BigInt(high) << 32n) | BigInt(low);
  }

  setDeadline(value: bigint): void {
    if (this.#s.mode !== TIMER_MODE.TSC_DEADLINE) return;
    this.#s.deadline = [Number(value & 0xffff_ffffn), Number(value >> 32n)];
    this.#arm();
  }

  /** The guest has written its time-stamp counter. */
  timeStampMoved(): void {
    this.#arm();
  }

  #arm(): void {
    const s = this.#s;
    const now = this.#deps.clock.now();
    this.#timer.cancel();
    if (s.mode === TIMER_MODE.TSC_DEADLINE) {
      const { deadline } = this;
      if (deadline === 0n) return;
      const left = deadline - this.#deps.timeStamp();
      this.#timer.arm(left > 0n ? now + Number(left) : now);
    } else if (s.counting && (!s.masked || s.mode === TIMER_MODE.ONE_SHOT)) this.#armCount(now);
  }

  /** For the next time at which the count comes to zero. */
  #armCount(now: number): void {
    const s = this.#s;
    const period = s.initial * this.#tick;
    if (s.mode === TIMER_MODE.ONE_SHOT) {
      this.#timer.arm(s.start + period);
      return;
    }
    const passed = Math.floor((now - s.start) / period);
    const next = s.start + (passed + 1) * period;
    this.#timer.arm(period < SHORTEST ? Math.max(next, now + SHORTEST) : next);
  }

  #expire(deadline: number): void {
    const s = this.#s;
    if (s.mode === TIMER_MODE.TSC_DEADLINE) s.deadline = NONE;
    else if (s.mode === TIMER_MODE.ONE_SHOT) s.counting = false;
    else this.#armCount(Math.max(deadline, this.#deps.clock.now()));
    this.#deps.expired();
  }

  reset(): void {
    this.#s = powerOn();
    this.#timer.cancel();
  }

  state(): ApicTimerState {
    return { ...this.#s, fireAt: timerState(this.#timer) };
  }

  restore(state: ApicTimerState): void {
    this.#s = { ...state };
    restoreTimer(this.#timer, state.fireAt);
  }
}
