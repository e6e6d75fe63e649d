/**
 * High precision event timer: a 64-bit counter at 100 MHz and three comparators, which can take the place of the 8254 and
 * of the clock's periodic interrupt. IA-PC HPET Specification 1.0a, section 2.3. The counter is computed from guest time.
 */
import { copyPlain } from "../common/plain.ts";
import type { Clock, Timer } from "./clock.ts";
import type { AccessSize, MmioDevice, Stateful } from "./device.ts";
import { restoreTimer, timerState } from "./timer-state.ts";

/** Bytes of the registers: the page in which they are decoded. */
export const HPET_SIZE = 0x1000;
/** ns and fs of one count. */
const PERIOD_NS = 10;
const PERIOD_FS = PERIOD_NS * 1_000_000;

/** Offsets (2.3.1), of double words. */
const REG = { ID: 0x00, PERIOD: 0x04, CONFIG: 0x10, STATUS: 0x20, COUNTER: 0xf0, TIMERS: 0x100 } as const;
const TIMER_STRIDE = 0x20;
/** Offsets in a timer's registers. */
const TIMER = { CONFIG: 0x00, ROUTES: 0x04, COMPARATOR: 0x08, COMPARATOR_HIGH: 0x0c } as const;
const TIMERS = 3;
/** General capabilities: revision 1, number of the last timer, 64-bit counter, legacy replacement; Intel. */
const CAPABILITIES = (0x8086 << 16) | (1 << 15) | (1 << 13) | ((TIMERS - 1) << 8) | 0x01;
/** General configuration. */
const CONFIG = { ENABLE: 1 << 0, LEGACY: 1 << 1 } as const;
/** Timer configuration (2.3.8). */
const TN = {
  LEVEL: 1 << 1,
  ENABLE: 1 << 2,
  PERIODIC: 1 << 3,
  PERIODIC_CAPABLE: 1 << 4,
  SIZE_64: 1 << 5,
  SET_VALUE: 1 << 6,
  MODE_32: 1 << 8,
  ROUTE_SHIFT: 9,
  ROUTE_MASK: 31,
  WRITABLE: 0x3f4e,
} as const;
/** I/O APIC inputs that a timer can be led to: those that nothing else is. */
const ROUTES = 0x00f0_0000;
const WORD = 2 ** 32;
const MASK_32 = 0xffff_ffffn;
const MASK_64 = 0xffff_ffff_ffff_ffffn;
/** A comparator further ahead than guest time goes, ns, is not waited for. */
const FAR = 2 ** 52;
/** Interrupts come no closer together than that, ns; what falls between is one. */
const SHORTEST = 20_000;

/** State of one timer. 64-bit values are low and high words. */
export interface HpetTimerState {
  config: number;
  comparator: readonly [number, number];
  period: readonly [number, number];
  fireAt: number;
}

/** State of the block. */
export interface HpetState {
  config: number;
  status: number;
  /** Counter while it stands, or at guest time `since`. */
  counter: readonly [number, number];
  /** ns; -1 while it stands. */
  since: number;
  timers: HpetTimerState[];
}

const ONES = [0xffff_ffff, 0xffff_ffff] as const;

function powerOn(): HpetState {
  const timer = { config: TN.PERIODIC_CAPABLE | TN.SIZE_64, comparator: ONES, period: [0, 0], fireAt: -1 } as const;
  return {
    config: 0,
    status: 0,
    counter: [0, 0],
    since: -1,
    timers: Array.from({ length: TIMERS }, () => ({ ...timer })),
  };
}

const toBig = ([low, high]: readonly [number, number]): bigint => (BigInt(high) << 32n) | BigInt(low);
const toWords = (value: bigint): readonly [number, number] => [
  Number(value & MASK_32),
  Number((value >> 32n) & MASK_32),
];

/** What the block is wired to. */
export interface HpetDeps {
  readonly clock: Clock;
  /** An input of the I/O APIC. */
  readonly route: (input: number, level: boolean) => void;
  /** Interrupts of timers 0 and 1 while they replace those of the 8254 and the clock. */
  readonly legacy: (timer: 0 | 1, level: boolean) => void;
  /** They begin or cease to replace them. */
  readonly replace: (replaced: boolean) => void;
}

export class Hpet implements MmioDevice, Stateful<HpetState> {
  readonly #deps: HpetDeps;
  readonly #alarms: readonly Timer[];
  #s: HpetState = powerOn();

  constructor(deps: HpetDeps) {
    this.#deps = deps;
    this.#alarms = Array.from({ length: TIMERS }, (_, i) => deps.clock.timer(() => this.#match(i)));
  }

  /** Low or high word of the counter now. */
  #counter(high: boolean): number {
    const { counter, since } = this.#s;
    if (since < 0) return counter[high ? 1 : 0];
    const low = counter[0] + Math.floor((this.#deps.clock.now() - since) / PERIOD_NS);
    return high ? (counter[1] + Math.floor(low / WORD)) % WORD : low % WORD;
  }

  #count(): bigint {
    return toBig([this.#counter(false), this.#counter(true)]);
  }

  immediate(offset: number, _size: AccessSize, write: boolean): boolean {
    return !write && (offset & -8) !== REG.COUNTER;
  }

  read(offset: number, size: AccessSize): number {
    const value = this.#register(offset & -4) >>> (8 * (offset & 3));
    return size === 4 ? value : value & (2 ** (8 * size) - 1);
  }

  #register(offset: number): number {
    const s = this.#s;
    switch (offset) {
      case REG.ID:
        return CAPABILITIES >>> 0;
      case REG.PERIOD:
        return PERIOD_FS;
      case REG.CONFIG:
        return s.config;
      case REG.STATUS:
        return s.status;
      case REG.COUNTER:
      case REG.COUNTER + 4:
        return this.#counter(offset !== REG.COUNTER);
    }
    const timer = s.timers[Math.floor((offset - REG.TIMERS) / TIMER_STRIDE)];
    if (!timer) return 0;
    switch (offset % TIMER_STRIDE) {
      case TIMER.CONFIG:
        return timer.config;
      case TIMER.ROUTES:
        return ROUTES;
      case TIMER.COMPARATOR:
        return timer.comparator[0];
      case TIMER.COMPARATOR_HIGH:
        return timer.comparator[1];
      default:
        return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    // Software accesses double words (2.4.6); narrower writes reach nothing.
    if (size !== 4) return;
    const s = this.#s;
    switch (offset) {
      case REG.CONFIG:
        this.#configure(value);
        return;
      case REG.STATUS:
        s.status &= ~value;
        for (let i = 0; i < TIMERS; i++) if (value & (1 << i)) this.#line(i, false);
        return;
      case REG.COUNTER:
      case REG.COUNTER + 4:
        this.#setCounter(offset !== REG.COUNTER, value >>> 0);
        return;
    }
    const number = Math.floor((offset - REG.TIMERS) / TIMER_STRIDE);
    if (s.timers[number]) this.#writeTimer(number, offset % TIMER_STRIDE, value >>> 0);
  }

  #configure(value: number): void {
    const s = this.#s;
    const before = s.config;
    const counting = (value & CONFIG.ENABLE) !== 0;
    if (counting !== s.since >= 0) {
      s.counter = [this.#counter(false), this.#counter(true)];
      s.since = counting ? this.#deps.clock.now() : -1;
    }
    // What the old routes hold up comes down before the new ones are in force.
    for (let i = 0; i < TIMERS; i++) this.#line(i, false);
    s.config = value & (CONFIG.ENABLE | CONFIG.LEGACY);
    if ((before ^ s.config) & CONFIG.LEGACY) this.#deps.replace((s.config & CONFIG.LEGACY) !== 0);
    for (let i = 0; i < TIMERS; i++) this.#arm(i);
  }

  #setCounter(high: boolean, value: number): void {
    const s = this.#s;
    const [low, top] = [this.#counter(false), this.#counter(true)];
    s.counter = high ? [low, value] : [value, top];
    if (s.since >= 0) s.since = this.#deps.clock.now();
    for (let i = 0; i < TIMERS; i++) this.#arm(i);
  }

  #writeTimer(number: number, offset: number, value: number): void {
    const timer = this.#s.timers[number]!;
    switch (offset) {
      case TIMER.CONFIG:
        this.#line(number, false);
        timer.config = (timer.config & ~TN.WRITABLE) | (value & TN.WRITABLE);
        if (timer.config & TN.MODE_32) {
          timer.comparator = [timer.comparator[0], 0];
          timer.period = [timer.period[0], 0];
        }
        break;
      case TIMER.COMPARATOR:
      case TIMER.COMPARATOR_HIGH:
        this.#setComparator(timer, offset !== TIMER.COMPARATOR, value);
        break;
      default:
        return;
    }
    this.#arm(number);
  }

  /** In periodic mode the comparator itself is set only by permission; else what is written is the period (2.3.9.2.2). */
  #setComparator(timer: HpetTimerState, high: boolean, value: number): void {
    const periodic = (timer.config & TN.PERIODIC) !== 0;
    if (high && timer.config & TN.MODE_32) return;
    const replace = ([low, top]: readonly [number, number]): readonly [number, number] =>
      high ? [low, value] : [value, timer.config & TN.MODE_32 ? 0 : top];
    if (!periodic || timer.config & TN.SET_VALUE) timer.comparator = replace(timer.comparator);
    if (periodic) timer.period = replace(timer.period);
    // The permission lasts for one value, which two accesses may carry.
    if (high || timer.config & TN.MODE_32 || !periodic) timer.config &= ~TN.SET_VALUE;
  }

  /** Wait for the counter to come to a timer's comparator. */
  #arm(number: number): void {
    const s = this.#s;
    const timer = s.timers[number]!;
    const alarm = this.#alarms[number]!;
    alarm.cancel();
    if (s.since < 0) return;
    const mask = timer.config & TN.MODE_32 ? MASK_32 : MASK_64;
    const now = this.#count();
    if (timer.config & TN.PERIODIC) this.#skipPeriods(timer, now & mask, mask);
    const left = (toBig(timer.comparator) - now) & mask;
    // At this very count it has matched; the next time is a whole turn away.
    const counts = Number(left === 0n ? mask + 1n : left);
    const ns = counts * PERIOD_NS;
    if (ns > FAR) return;
    // Counts begin at multiples of the period since the counter was set.
    const phase = (this.#deps.clock.now() - s.since) % PERIOD_NS;
    alarm.arm(this.#deps.clock.now() - phase + ns);
  }

  /** Matches that have gone by, or come closer together than anybody could serve, count as one. */
  #skipPeriods(timer: HpetTimerState, now: bigint, mask: bigint): void {
    const period = toBig(timer.period);
    if (period === 0n) return;
    const shortest = BigInt(SHORTEST / PERIOD_NS);
    const behind = (now - toBig(timer.comparator)) & mask;
    // More than half a turn behind is ahead.
    const ahead = behind > mask >> 1n ? (toBig(timer.comparator) - now) & mask : -behind;
    const least = period < shortest ? shortest : 1n;
    if (ahead >= least) return;
    const steps = (least - ahead + period - 1n) / period;
    timer.comparator = toWords((toBig(timer.comparator) + steps * period) & mask);
  }

  #match(number: number): void {
    const s = this.#s;
    const timer = s.timers[number]!;
    if (timer.config & TN.LEVEL) s.status |= 1 << number;
    if (timer.config & TN.ENABLE) {
      this.#line(number, true);
      if (!(timer.config & TN.LEVEL)) this.#line(number, false);
    }
    this.#arm(number);
  }

  #line(number: number, level: boolean): void {
    const timer = this.#s.timers[number]!;
    const legacy = (this.#s.config & CONFIG.LEGACY) !== 0;
    if (legacy && number < 2) this.#deps.legacy(number as 0 | 1, level);
    else {
      const input = (timer.config >> TN.ROUTE_SHIFT) & TN.ROUTE_MASK;
      if ((ROUTES >>> input) & 1) this.#deps.route(input, level);
    }
  }

  reset(): void {
    for (let i = 0; i < TIMERS; i++) {
      this.#line(i, false);
      this.#alarms[i]!.cancel();
    }
    this.#s = powerOn();
    this.#deps.replace(false);
  }

  state(): HpetState {
    const timers = this.#s.timers.map((timer, i) => ({ ...timer, fireAt: timerState(this.#alarms[i]!) }));
    return copyPlain({ ...this.#s, timers });
  }

  restore(state: HpetState): void {
    this.#s = copyPlain(state);
    for (const [i, { fireAt }] of state.timers.entries()) restoreTimer(this.#alarms[i]!, fireAt);
  }
}
