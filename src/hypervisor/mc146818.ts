/**
 * The MC146818 real-time clock with 128 bytes of CMOS RAM, ports 70h–71h. Time is read from the wall clock when the guest
 * asks; an alarm is armed only while an interrupt is enabled. Motorola MC146818 data sheet; PC usage: IBM AT TR 1-56.
 */
import type { Clock, Timer } from "./clock.ts";
import type { AccessSize, InterruptLine, PortDevice, Stateful } from "./device.ts";
import { restoreTimer, timerState } from "./timer-state.ts";

/** Registers of the clock in CMOS. */
export const RTC = {
  SECONDS: 0x00,
  SECONDS_ALARM: 0x01,
  MINUTES: 0x02,
  MINUTES_ALARM: 0x03,
  HOURS: 0x04,
  HOURS_ALARM: 0x05,
  WEEKDAY: 0x06,
  DAY: 0x07,
  MONTH: 0x08,
  YEAR: 0x09,
  A: 0x0a,
  B: 0x0b,
  C: 0x0c,
  D: 0x0d,
  /** Not in the chip: where PCs keep the century. */
  CENTURY: 0x32,
} as const;

const A = { UIP: 1 << 7, DIVIDER: 7 << 4, DIVIDER_RUN: 2 << 4, DIVIDER_RESET: 6 << 4, RATE: 15 } as const;
const B = { SET: 1 << 7, PIE: 1 << 6, AIE: 1 << 5, UIE: 1 << 4, SQWE: 1 << 3, BINARY: 1 << 2, H24: 1 << 1 } as const;
const C = { IRQF: 1 << 7, PF: 1 << 6, AF: 1 << 5, UF: 1 << 4 } as const;
/** Valid RAM and time: the battery never runs out. */
const D_VALID = 1 << 7;
const PM = 0x80;
/** An alarm byte of C0h or more matches every value. */
const DONT_CARE = 0xc0;

const CMOS_SIZE = 128;
const INDEX_MASK = 0x7f;
const SECONDS_PER_DAY = 86_400;
const NS_PER_MS = 1e6;
/** UIP rises 244 µs before an update that takes 1984 µs (data sheet, table 6). */
const UPDATE_MS = 2.228;
/** The first update follows half a second after the divider is released (data sheet, "Register A"). */
const RELEASE_PHASE_MS = 500;
const REGISTER_A_DEFAULT = A.DIVIDER_RUN | 6;

/** Registers of the running time, in the order of a calendar. */
const TIME_REGISTERS: readonly number[] = [
  RTC.SECONDS,
  RTC.MINUTES,
  RTC.HOURS,
  RTC.WEEKDAY,
  RTC.DAY,
  RTC.MONTH,
  RTC.YEAR,
  RTC.CENTURY,
];

/** State of the chip. */
export interface Mc146818State {
  cmos: Uint8Array;
  index: number;
  /** Guest's own setting of the clock: ms to add to the wall clock. */
  offset: number;
  /** Days by which the day of the week that the guest set is ahead of the calendar's. */
  weekdayShift: number;
  /** Second (since the epoch) up to which updates and alarms were seen. */
  lastSecond: number;
  /** Period of the square wave up to which periodic events were seen. */
  lastPeriod: number;
  /** Guest time of the next interrupt, or -1. */
  eventAt: number;
}

/** What the clock is wired to. */
export interface Mc146818Deps {
  readonly clock: Clock;
  readonly irq8: InterruptLine;
  /** Added to the wall clock, ms: time zone and user's offset. */
  readonly wallOffsetMs?: number;
}

/** The clock and its RAM. */
export class Mc146818 implements PortDevice, Stateful<Mc146818State> {
  private readonly deps: Mc146818Deps;
  private readonly cmos = new Uint8Array(CMOS_SIZE);
  private readonly event: Timer;
  private index = 0;
  private offset: number;
  private weekdayShift = 0;
  private lastSecond: number;
  private lastPeriod = 0;

  constructor(deps: Mc146818Deps) {
    this.deps = deps;
    this.offset = deps.wallOffsetMs ?? 0;
    this.event = deps.clock.timer(() => {
      this.sync();
      this.update();
    });
    this.cmos[RTC.A] = REGISTER_A_DEFAULT;
    this.cmos[RTC.B] = B.H24;
    this.lastSecond = this.second();
    this.reset();
  }

  /** CMOS byte as stored, without side effects; running time registers are read through the ports. */
  getCmos(index: number): number {
    return this.cmos[index & INDEX_MASK]!;
  }

  /** Store a CMOS byte: configuration that setup would have written. */
  setCmos(index: number, value: number): void {
    this.cmos[index & INDEX_MASK] = value;
  }

  private get stopped(): boolean {
    return (this.cmos[RTC.B]! & B.SET) !== 0 || (this.cmos[RTC.A]! & A.DIVIDER_RESET) === A.DIVIDER_RESET;
  }

  private wall(): number {
    return this.deps.clock.wallTime() + this.offset;
  }

  private second(): number {
    return Math.floor(this.wall() / 1000);
  }

  // --- representation of numbers -------------------------------------------------------------------------------------

  private encode(value: number): number {
    if (this.cmos[RTC.B]! & B.BINARY) return value;
    return (Math.floor(value / 10) << 4) | (value % 10);
  }

  private decode(value: number): number {
    if (this.cmos[RTC.B]! & B.BINARY) return value;
    return (value >> 4) * 10 + (value & 15);
  }

  private encodeHour(hour: number): number {
    if (this.cmos[RTC.B]! & B.H24) return this.encode(hour);
    return this.encode(hour % 12 === 0 ? 12 : hour % 12) | (hour >= 12 ? PM : 0);
  }

  private decodeHour(value: number): number {
    if (this.cmos[RTC.B]! & B.H24) return this.decode(value);
    return (this.decode(value & ~PM) % 12) + (value & PM ? 12 : 0);
  }

  /** Write the running time into its registers. */
  private showTime(): void {
    const time = new Date(this.wall());
    const cmos = this.cmos;
    const year = time.getUTCFullYear();
    cmos[RTC.SECONDS] = this.encode(time.getUTCSeconds());
    cmos[RTC.MINUTES] = this.encode(time.getUTCMinutes());
    cmos[RTC.HOURS] = this.encodeHour(time.getUTCHours());
    cmos[RTC.WEEKDAY] = ((time.getUTCDay() + this.weekdayShift) % 7) + 1;
    cmos[RTC.DAY] = this.encode(time.getUTCDate());
    cmos[RTC.MONTH] = this.encode(time.getUTCMonth() + 1);
    cmos[RTC.YEAR] = this.encode(year % 100);
    cmos[RTC.CENTURY] = this.encode(Math.floor(year / 100) % 100);
  }

  /** Make the registers the running time; `phase` is how far into its second it is, ms. */
  private adoptTime(phase: number): void {
    const cmos = this.cmos;
    const year = this.decode(cmos[RTC.CENTURY]!) * 100 + this.decode(cmos[RTC.YEAR]!);
    const date = new Date(0);
    // setUTCFullYear, since Date.UTC takes years below 100 for the twentieth century.
    date.setUTCFullYear(year, this.decode(cmos[RTC.MONTH]!) - 1, this.decode(cmos[RTC.DAY]!));
    date.setUTCHours(
      this.decodeHour(cmos[RTC.HOURS]!),
      this.decode(cmos[RTC.MINUTES]!),
      this.decode(cmos[RTC.SECONDS]!),
      0,
    );
    const time = date.getTime();
    this.offset = time + phase - this.deps.clock.wallTime();
    this.weekdayShift = (((cmos[RTC.WEEKDAY]! - 1 - date.getUTCDay()) % 7) + 7) % 7;
    this.lastSecond = this.second();
  }

  private phase(): number {
    const wall = this.wall();
    return wall - Math.floor(wall / 1000) * 1000;
  }

  // --- events --------------------------------------------------------------------------------------------------------

  /** Period of the selected rate in ns, or 0 (data sheet, table 5, 32.768 kHz time base). */
  private get period(): number {
    const rate = this.cmos[RTC.A]! & A.RATE;
    if (rate === 0 || (this.cmos[RTC.A]! & A.DIVIDER) !== A.DIVIDER_RUN) return 0;
    // Rates 1 and 2 repeat 256 Hz and 128 Hz.
    return 1e9 / (32_768 >> ((rate < 3 ? rate + 7 : rate) - 1));
  }

  /** Seconds from second `from` of a day to the next alarm, at least 1; Infinity when it can never match. */
  private secondsToAlarm(from: number): number {
    const cmos = this.cmos;
    const hour = cmos[RTC.HOURS_ALARM]! >= DONT_CARE ? -1 : this.decodeHour(cmos[RTC.HOURS_ALARM]!);
    const minute = cmos[RTC.MINUTES_ALARM]! >= DONT_CARE ? -1 : this.decode(cmos[RTC.MINUTES_ALARM]!);
    const second = cmos[RTC.SECONDS_ALARM]! >= DONT_CARE ? -1 : this.decode(cmos[RTC.SECONDS_ALARM]!);
    let at = from + 1;
    while (at <= from + SECONDS_PER_DAY) {
      const inDay = at % SECONDS_PER_DAY;
      if (hour >= 0 && Math.floor(inDay / 3600) !== hour) at += 3600 - (inDay % 3600);
      else if (minute >= 0 && Math.floor(inDay / 60) % 60 !== minute) at += 60 - (inDay % 60);
      else if (second >= 0 && inDay % 60 !== second) at++;
      else return at - from;
    }
    return Number.POSITIVE_INFINITY;
  }

  private static inDay(second: number): number {
    return ((second % SECONDS_PER_DAY) + SECONDS_PER_DAY) % SECONDS_PER_DAY;
  }

  /** Set the flags of everything that happened since the last look. */
  private sync(): void {
    const cmos = this.cmos;
    const period = this.period;
    if (period > 0) {
      // Half a nanosecond covers alarms that were rounded to whole ns.
      const index = Math.floor((this.deps.clock.now() + 0.5) / period);
      if (index > this.lastPeriod) cmos[RTC.C]! |= C.PF;
      this.lastPeriod = index;
    }
    if (this.stopped) return;
    const second = this.second();
    if (second > this.lastSecond) {
      cmos[RTC.C]! |= C.UF;
      if (this.secondsToAlarm(Mc146818.inDay(this.lastSecond)) <= second - this.lastSecond) cmos[RTC.C]! |= C.AF;
    }
    this.lastSecond = second;
  }

  /** Drive the line and arm the alarm for the next event that would raise it. */
  private update(): void {
    const cmos = this.cmos;
    const enabled = cmos[RTC.B]! & (B.PIE | B.AIE | B.UIE);
    const active = (cmos[RTC.C]! & enabled) !== 0;
    cmos[RTC.C] = (cmos[RTC.C]! & ~C.IRQF) | (active ? C.IRQF : 0);
    this.deps.irq8.set(active);
    // While the line is up nothing more can happen to it before register C is read.
    const at = active || enabled === 0 ? Number.POSITIVE_INFINITY : this.nextEvent(enabled);
    if (at === Number.POSITIVE_INFINITY) this.event.cancel();
    else this.event.arm(at);
  }

  private nextEvent(enabled: number): number {
    const now = this.deps.clock.now();
    let at = Number.POSITIVE_INFINITY;
    const period = this.period;
    if (enabled & B.PIE && period > 0) at = Math.ceil((this.lastPeriod + 1) * period);
    if (this.stopped) return at;
    let seconds = Number.POSITIVE_INFINITY;
    if (enabled & B.UIE) seconds = 1;
    else if (enabled & B.AIE) seconds = this.secondsToAlarm(Mc146818.inDay(this.lastSecond));
    if (seconds === Number.POSITIVE_INFINITY) return at;
    const ms = (this.lastSecond + seconds) * 1000 - this.wall();
    return Math.min(at, Math.ceil(now + Math.max(0, ms) * NS_PER_MS));
  }

  // --- ports ---------------------------------------------------------------------------------------------------------

  read(offset: number, _size: AccessSize): number {
    // The index register cannot be read.
    if ((offset & 1) === 0) return 0xff;
    const { index } = this;
    const cmos = this.cmos;
    if (TIME_REGISTERS.includes(index)) {
      if (!this.stopped) this.showTime();
      return cmos[index]!;
    }
    if (index === RTC.A) return cmos[RTC.A]! | (!this.stopped && this.phase() >= 1000 - UPDATE_MS ? A.UIP : 0);
    if (index === RTC.D) return D_VALID;
    if (index !== RTC.C) return cmos[index]!;
    this.sync();
    this.update();
    const flags = cmos[RTC.C]!;
    cmos[RTC.C] = 0;
    this.update();
    return flags;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const byte = value & 0xff;
    // Bit 7 masks NMI; nothing raises one.
    if ((offset & 1) === 0) this.index = byte & INDEX_MASK;
    else if (TIME_REGISTERS.includes(this.index)) this.writeTime(this.index, byte);
    else if (this.index === RTC.A || this.index === RTC.B) this.writeControl(this.index, byte);
    else if (this.index !== RTC.C && this.index !== RTC.D) this.writeRam(byte);
  }

  private writeTime(index: number, byte: number): void {
    if (this.stopped) {
      this.cmos[index] = byte;
      return;
    }
    this.sync();
    this.showTime();
    this.cmos[index] = byte;
    this.adoptTime(this.phase());
    this.update();
  }

  private writeRam(byte: number): void {
    this.sync();
    this.cmos[this.index] = byte;
    this.update();
  }

  private writeControl(index: number, byte: number): void {
    const cmos = this.cmos;
    this.sync();
    const wasStopped = this.stopped;
    const wasReset = (cmos[RTC.A]! & A.DIVIDER_RESET) === A.DIVIDER_RESET;
    if (!wasStopped) this.showTime();
    const phase = this.phase();
    // SET leaves UIE alone, against the data sheet: guests that set the clock expect their update interrupts to go on.
    cmos[index] = index === RTC.A ? byte & ~A.UIP : byte;
    if (wasStopped && !this.stopped) this.adoptTime(wasReset ? RELEASE_PHASE_MS : phase);
    if (index === RTC.A && this.period > 0) this.lastPeriod = Math.floor((this.deps.clock.now() + 0.5) / this.period);
    this.update();
  }

  /** The RESET pin: interrupts off, time and RAM unharmed. */
  reset(): void {
    const cmos = this.cmos;
    this.index = 0;
    cmos[RTC.B]! &= ~(B.PIE | B.AIE | B.UIE | B.SQWE);
    cmos[RTC.C] = 0;
    this.update();
  }

  state(): Mc146818State {
    return {
      cmos: this.cmos.slice(),
      index: this.index,
      offset: this.offset,
      weekdayShift: this.weekdayShift,
      lastSecond: this.lastSecond,
      lastPeriod: this.lastPeriod,
      eventAt: timerState(this.event),
    };
  }

  restore(state: Mc146818State): void {
    this.cmos.set(state.cmos);
    this.index = state.index & INDEX_MASK;
    this.offset = state.offset;
    this.weekdayShift = state.weekdayShift;
    this.lastSecond = state.lastSecond;
    this.lastPeriod = state.lastPeriod;
    restoreTimer(this.event, state.eventAt);
  }
}
