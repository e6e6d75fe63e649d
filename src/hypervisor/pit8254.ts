/**
 * The 8254 programmable interval timer: three counters computed from guest time, one alarm for each tick of counter 0.
 * Intel 231164-005; section numbers refer to it.
 */
import { copyPlain } from "../common/plain.ts";
import type { Clock, Timer } from "./clock.ts";
import type { AccessSize, InterruptLine, PortDevice, Stateful } from "./device.ts";
import { restoreTimer, timerState } from "./timer-state.ts";

/** Input frequency of the counters, Hz: 14.31818 MHz / 12. */
export const PIT_FREQUENCY = 14_318_180 / 12;

const NS_PER_TICK = 1e9 / PIT_FREQUENCY;
const TICKS_PER_NS = PIT_FREQUENCY / 1e9;
/** Slack, in input clocks, that keeps an alarm rounded to whole ns on the right side of its edge. */
const ROUNDING = 1e-3;

/** Control word format (table 2). */
const CONTROL = { BCD: 1 << 0, MODE_SHIFT: 1, MODE_MASK: 7, ACCESS_SHIFT: 4, ACCESS_MASK: 3, SELECT_SHIFT: 6 } as const;
const SELECT_READ_BACK = 3;
/** Access field: what a read or write of the counter's port means. */
const ACCESS = { LATCH: 0, LSB: 1, MSB: 2, WORD: 3 } as const;
/** Read-back command: the first two bits are active low. */
const READ_BACK = { NOT_STATUS: 1 << 4, NOT_COUNT: 1 << 5 } as const;
const STATUS = { NULL_COUNT: 1 << 6, OUT: 1 << 7 } as const;
const CONTROL_PORT = 3;

/** Least time between ticks that are made up for, ns. */
const CATCH_UP_GAP = 20_000;

/** State of one counter. Times are ns of guest time. */
export interface PitCounterState {
  /** 0–5. */
  mode: number;
  bcd: boolean;
  /** 1 low byte, 2 high byte, 3 both. */
  access: number;
  gate: boolean;
  /** Count register: 1 … 65536 (10000 in BCD), 0 before it was written. */
  reload: number;
  /** Low byte of a word that is being written, or -1. */
  lowByte: number;
  /** The next read of a word returns its high byte. */
  readHigh: boolean;
  /** Latched count, or -1. */
  latchedCount: number;
  /** Latched status, or -1. */
  latchedStatus: number;
  /** The counting element holds a count. */
  loaded: boolean;
  /** Count it was loaded with. */
  initial: number;
  /** When it was loaded. */
  origin: number;
  /** Input clocks counted when counting stopped (gate low, half-written count), or -1 while it runs. */
  held: number;
  /** The count register holds a count that the counting element has not taken over. */
  nullCount: boolean;
  /** Input clocks after `origin` at which a periodic counter takes a new count over, or -1. */
  takeOver: number;
}

function powerOn(gate: boolean): PitCounterState {
  return {
    mode: 3,
    bcd: false,
    access: ACCESS.WORD,
    gate,
    reload: 0,
    lowByte: -1,
    readHigh: false,
    latchedCount: -1,
    latchedStatus: -1,
    loaded: false,
    initial: 0,
    origin: 0,
    held: -1,
    nullCount: true,
    takeOver: -1,
  };
}

function fromBcd(value: number): number {
  return (value >> 12) * 1000 + ((value >> 8) & 15) * 100 + ((value >> 4) & 15) * 10 + (value & 15);
}

function toBcd(value: number): number {
  const digits = value % 10000;
  return (
    (Math.floor(digits / 1000) << 12) |
    ((Math.floor(digits / 100) % 10) << 8) |
    ((Math.floor(digits / 10) % 10) << 4) |
    (digits % 10)
  );
}

const periodic = (mode: number): boolean => mode === 2 || mode === 3;
const triggered = (mode: number): boolean => mode === 1 || mode === 5;

/** One counter: its state, and what follows from it at a given hour. */
class Counter {
  s: PitCounterState;

  constructor(gate: boolean) {
    this.s = powerOn(gate);
  }

  /** Input clocks since the counting element was loaded. */
  private elapsed(now: number): number {
    const s = this.s;
    if (s.held >= 0) return s.held;
    return Math.max(0, Math.floor((now - s.origin) * TICKS_PER_NS + ROUNDING));
  }

  /** Do a take-over that is due. */
  private sync(now: number): void {
    const s = this.s;
    if (s.takeOver < 0 || this.elapsed(now) < s.takeOver) return;
    // In mode 3 the new count may begin with the low half of its cycle.
    const skipped = s.takeOver % s.initial === 0 ? 0 : Math.ceil(s.reload / 2);
    s.origin += (s.takeOver - skipped) * NS_PER_TICK;
    s.initial = s.reload;
    s.takeOver = -1;
    s.nullCount = false;
  }

  private load(now: number): void {
    const s = this.s;
    s.loaded = true;
    s.initial = s.reload;
    s.origin = now;
    s.held = s.gate || triggered(s.mode) ? -1 : 0;
    s.takeOver = -1;
    s.nullCount = false;
  }

  /** The counting element, in binary. */
  private count(now: number): number {
    this.sync(now);
    const s = this.s;
    if (!s.loaded) return s.reload;
    const elapsed = this.elapsed(now);
    if (s.mode === 2) return s.initial - (elapsed % s.initial);
    if (s.mode === 3) {
      const phase = elapsed % s.initial;
      const half = Math.ceil(s.initial / 2);
      return (s.initial & ~1) - 2 * (phase < half ? phase : phase - half);
    }
    const modulus = s.bcd ? 10000 : 0x10000;
    return (((s.initial - elapsed) % modulus) + modulus) % modulus;
  }

  private encodedCount(now: number): number {
    const count = this.count(now);
    return this.s.bcd ? toBcd(count) : count & 0xffff;
  }

  out(now: number): boolean {
    this.sync(now);
    const s = this.s;
    if (!s.loaded) return s.mode !== 0;
    const elapsed = this.elapsed(now);
    switch (s.mode) {
      case 0:
      case 1:
        return elapsed >= s.initial;
      case 2:
        return s.held >= 0 || elapsed % s.initial !== s.initial - 1;
      case 3:
        return s.held >= 0 || elapsed % s.initial < Math.ceil(s.initial / 2);
      default:
        return elapsed !== s.initial;
    }
  }

  /** Time of the next rising edge of OUT after `now`, or -1. */
  nextRise(now: number): number {
    this.sync(now);
    const s = this.s;
    if (!s.loaded || s.held >= 0) return -1;
    const elapsed = this.elapsed(now);
    let ticks: number;
    if (periodic(s.mode)) {
      if (s.takeOver < 0) ticks = (Math.floor(elapsed / s.initial) + 1) * s.initial;
      else ticks = s.takeOver + (s.takeOver % s.initial === 0 ? 0 : Math.floor(s.reload / 2));
    } else {
      ticks = s.initial + (s.mode >= 4 ? 1 : 0);
      if (elapsed >= ticks) return -1;
    }
    return Math.ceil(s.origin + ticks * NS_PER_TICK);
  }

  /** Length of a cycle of a periodic counter, ns. */
  get period(): number {
    return this.s.initial * NS_PER_TICK;
  }

  setGate(level: boolean, now: number): void {
    const s = this.s;
    if (s.gate === level) return;
    this.sync(now);
    s.gate = level;
    if (triggered(s.mode)) {
      if (level && s.reload > 0) this.load(now);
    } else if (!s.loaded) {
      return;
    } else if (!level) {
      s.held = this.elapsed(now);
    } else if (periodic(s.mode)) {
      this.load(now);
    } else {
      s.origin = now - s.held * NS_PER_TICK;
      s.held = -1;
    }
  }

  control(word: number): void {
    const s = this.s;
    const mode = (word >> CONTROL.MODE_SHIFT) & CONTROL.MODE_MASK;
    s.mode = mode > 5 ? mode - 4 : mode;
    s.bcd = (word & CONTROL.BCD) !== 0;
    s.access = (word >> CONTROL.ACCESS_SHIFT) & CONTROL.ACCESS_MASK;
    s.lowByte = -1;
    s.readHigh = false;
    s.latchedCount = -1;
    s.latchedStatus = -1;
    s.loaded = false;
    s.held = -1;
    s.takeOver = -1;
    s.nullCount = true;
  }

  write(value: number, now: number): void {
    const s = this.s;
    if (s.access === ACCESS.WORD && s.lowByte < 0) {
      s.lowByte = value;
      // In mode 0 the first byte stops the count and takes OUT low (mode definitions, mode 0).
      if (s.mode === 0) s.loaded = false;
      return;
    }
    let word = value;
    if (s.access === ACCESS.MSB) word = value << 8;
    else if (s.access === ACCESS.WORD) word = (value << 8) | s.lowByte;
    s.lowByte = -1;
    this.sync(now);
    s.reload = s.bcd ? fromBcd(word) || 10000 : word || 0x10000;
    s.nullCount = true;
    if (triggered(s.mode)) return;
    if (!periodic(s.mode) || !s.loaded) this.load(now);
    else if (s.held < 0) this.scheduleTakeOver(now);
  }

  private scheduleTakeOver(now: number): void {
    const s = this.s;
    const elapsed = this.elapsed(now);
    const cycle = Math.floor(elapsed / s.initial) * s.initial;
    const half = Math.ceil(s.initial / 2);
    s.takeOver = cycle + (s.mode === 3 && elapsed - cycle < half ? half : s.initial);
  }

  latchCount(now: number): void {
    if (this.s.latchedCount < 0) this.s.latchedCount = this.encodedCount(now);
  }

  latchStatus(now: number): void {
    const s = this.s;
    if (s.latchedStatus >= 0) return;
    s.latchedStatus =
      (this.out(now) ? STATUS.OUT : 0) |
      (s.nullCount ? STATUS.NULL_COUNT : 0) |
      (s.access << CONTROL.ACCESS_SHIFT) |
      (s.mode << CONTROL.MODE_SHIFT) |
      (s.bcd ? CONTROL.BCD : 0);
  }

  read(now: number): number {
    const s = this.s;
    if (s.latchedStatus >= 0) {
      const status = s.latchedStatus;
      s.latchedStatus = -1;
      return status;
    }
    const count = s.latchedCount >= 0 ? s.latchedCount : this.encodedCount(now);
    const high = s.access === ACCESS.MSB || (s.access === ACCESS.WORD && s.readHigh);
    if (s.access === ACCESS.WORD) s.readHigh = !s.readHigh;
    if (s.access !== ACCESS.WORD || high) s.latchedCount = -1;
    return high ? count >> 8 : count & 0xff;
  }
}

/** State of the timer. */
export interface Pit8254State {
  counters: PitCounterState[];
  /** Guest time of the next tick of counter 0, or -1. */
  tickAt: number;
  /** Guest time at which a missed tick will be made up for, or -1. */
  catchUpAt: number;
  /** Ticks that the host was too late for and that are still to be delivered. */
  missed: number;
  /** The processor has not taken the last tick yet. */
  outstanding: boolean;
}

/** What the timer is wired to. */
export interface Pit8254Deps {
  readonly clock: Clock;
  /** OUT of counter 0. */
  readonly irq0: InterruptLine;
  /** Most ticks that are made up for when the host comes late; 0 drops them all. */
  readonly maxCatchUp?: number;
}

const COUNTERS = 3;
const DEFAULT_CATCH_UP = 50;

/**
 * The timer, ports 40h–43h.
 *
 * In modes 2 and 3 the line to IRQ 0 is high but for an instant at the start of each cycle: an 8259A drops a request whose
 * line falls, and a guest must not lose ticks because a virtual machine lets it run late. The levels that a guest reads
 * (read-back, port 61h) are exact.
 */
export class Pit8254 implements PortDevice, Stateful<Pit8254State> {
  private readonly deps: Pit8254Deps;
  private readonly maxCatchUp: number;
  // The gates of counters 0 and 1 are tied high on a PC; port 61h holds that of counter 2.
  private readonly counters = [new Counter(true), new Counter(true), new Counter(false)] as const;
  private readonly tick: Timer;
  private readonly catchUp: Timer;
  private missed = 0;
  private outstanding = false;

  constructor(deps: Pit8254Deps) {
    this.deps = deps;
    this.maxCatchUp = deps.maxCatchUp ?? DEFAULT_CATCH_UP;
    this.tick = deps.clock.timer((deadline) => this.onTick(deadline));
    this.catchUp = deps.clock.timer(() => this.onCatchUp());
  }

  read(offset: number, _size: AccessSize): number {
    const counter = this.counters[offset & 3];
    // The control word cannot be read: the bus floats.
    return counter === undefined ? 0xff : counter.read(this.deps.clock.now());
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const byte = value & 0xff;
    const port = offset & 3;
    if (port === CONTROL_PORT) this.control(byte);
    else {
      this.counters[port]!.write(byte, this.deps.clock.now());
      if (port === 0) this.reschedule();
    }
  }

  private control(word: number): void {
    const now = this.deps.clock.now();
    const select = word >> CONTROL.SELECT_SHIFT;
    if (select === SELECT_READ_BACK) {
      for (let i = 0; i < COUNTERS; i++) {
        if ((word & (2 << i)) === 0) continue;
        if ((word & READ_BACK.NOT_COUNT) === 0) this.counters[i]!.latchCount(now);
        if ((word & READ_BACK.NOT_STATUS) === 0) this.counters[i]!.latchStatus(now);
      }
      return;
    }
    const counter = this.counters[select]!;
    if (((word >> CONTROL.ACCESS_SHIFT) & CONTROL.ACCESS_MASK) === ACCESS.LATCH) {
      counter.latchCount(now);
      return;
    }
    counter.control(word);
    if (select === 0) this.reschedule();
  }

  /** Counter 0 was programmed: put its line and its alarm right. What is owed from before is forgotten. */
  private reschedule(): void {
    const now = this.deps.clock.now();
    const counter = this.counters[0];
    this.missed = 0;
    this.catchUp.cancel();
    this.deps.irq0.set(periodic(counter.s.mode) || counter.out(now));
    this.armTick(now);
  }

  private armTick(now: number): void {
    const rise = this.counters[0].nextRise(now);
    if (rise < 0) this.tick.cancel();
    else this.tick.arm(rise);
  }

  private onTick(deadline: number): void {
    const now = this.deps.clock.now();
    const counter = this.counters[0];
    if (periodic(counter.s.mode)) {
      const late = Math.floor((now - deadline) / counter.period);
      if (late > 0) this.missed = Math.min(this.missed + late, this.maxCatchUp);
    }
    // While ticks are being made up for, this one queues behind them.
    if (this.outstanding && this.missed > 0) this.missed = Math.min(this.missed + 1, this.maxCatchUp);
    // A request that still waits is not disturbed by another edge, and one that the guest threw away by setting up the
    // interrupt controller anew must not keep the timer silent for ever.
    this.pulse();
    this.armTick(now);
  }

  private pulse(): void {
    this.outstanding = true;
    this.deps.irq0.set(false);
    this.deps.irq0.set(true);
  }

  private onCatchUp(): void {
    if (this.missed === 0 || this.outstanding) return;
    this.missed--;
    this.pulse();
  }

  /** The processor has taken IRQ 0: time for the next tick that is still owed. */
  acknowledged(): void {
    this.outstanding = false;
    if (this.missed === 0 || this.catchUp.deadline !== Number.POSITIVE_INFINITY) return;
    this.catchUp.arm(this.deps.clock.now() + Math.min(CATCH_UP_GAP, this.counters[0].period / 2));
  }

  /** Level of OUT of counter 0, 1 or 2. */
  output(counter: 0 | 1 | 2): boolean {
    return this.outputAt(counter, this.deps.clock.now());
  }

  /** The same at a guest time that was read just now, ns. */
  outputAt(counter: 0 | 1 | 2, now: number): boolean {
    return this.counters[counter].out(now);
  }

  /** The gate of counter 2. */
  setGate2(level: boolean): void {
    this.counters[2].setGate(level, this.deps.clock.now());
  }

  reset(): void {
    for (let i = 0; i < COUNTERS; i++) this.counters[i]!.s = powerOn(i < 2);
    this.missed = 0;
    this.outstanding = false;
    this.tick.cancel();
    this.catchUp.cancel();
    this.deps.irq0.set(false);
  }

  state(): Pit8254State {
    return {
      counters: copyPlain(this.counters.map((counter) => counter.s)),
      tickAt: timerState(this.tick),
      catchUpAt: timerState(this.catchUp),
      missed: this.missed,
      outstanding: this.outstanding,
    };
  }

  /** The clock must stand at the hour of the saved state. */
  restore(state: Pit8254State): void {
    for (let i = 0; i < COUNTERS; i++) this.counters[i]!.s = copyPlain(state.counters[i] ?? powerOn(i < 2));
    this.missed = state.missed;
    this.outstanding = state.outstanding;
    restoreTimer(this.tick, state.tickAt);
    restoreTimer(this.catchUp, state.catchUpAt);
  }
}
