/**
 * The local APIC of the one processor: interrupts by vector and priority, its timer, its pins (LINT0 is the 8259 pair, LINT1
 * is NMI) and the interrupt command register. SDM 3A chapter 11. To the run loop it is the interrupt controller.
 */
import { copyPlain } from "../common/plain.ts";
import {
  APIC,
  APIC_BASE,
  type ApicMessage,
  DELIVERY,
  ESR,
  FIRST_VECTOR,
  LVT,
  SVR,
  TIMER_MODE,
} from "./apic-registers.ts";
import { ApicTimer, type ApicTimerState } from "./apic-timer.ts";
import type { Clock } from "./clock.ts";
import type { AccessSize, InterruptController, InterruptLine, MmioDevice, Placement, Stateful } from "./device.ts";

/** Bytes of the registers, and of what a register takes of them. */
export const APIC_SIZE = 0x1000;
const STRIDE = 16;
/** IA32_APIC_BASE after a reset. */
const RESET_BASE = 0xfee0_0000;
const BASE_MASK = 0xffff_f000;
/** Version: 14h, an APIC of its own; six local vectors. */
const VERSION = 0x14;
const MAX_LVT_SHIFT = 16;
const ID_SHIFT = 24;
const ALL = 0xff;
/** Destination formats: flat, or clusters. */
const DFR_FLAT = 0xffff_ffff;
const DFR_FIXED = 0x0fff_ffff;
/** Shorthands of the interrupt command register, and its bits (SDM 3A 11.6.1). */
const SHORTHAND = { NONE: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const;
const ICR = { LOGICAL: 1 << 11, SHORTHAND_SHIFT: 18, WRITABLE: 0x000c_cfff } as const;
const CLASS = 0xf0;

/** Local vectors by their place in the state: writable bits. */
const LOCAL: readonly (readonly [offset: number, writable: number])[] = [
  [APIC.LVT_TIMER, 0x0007_00ff],
  [APIC.LVT_THERMAL, 0x0001_07ff],
  [APIC.LVT_PERFORMANCE, 0x0001_07ff],
  [APIC.LVT_LINT0, 0x0001_a7ff],
  [APIC.LVT_LINT1, 0x0001_a7ff],
  [APIC.LVT_ERROR, 0x0001_00ff],
];
const TIMER = 0;
const LINT0 = 3;
const LINT1 = 4;
const ERROR = 5;
/** As firmware leaves them: the 8259 pair and NMI pass, as if there were no APIC (virtual wire mode). */
const RESET_LINT0 = DELIVERY.EXTINT << LVT.MODE_SHIFT;
const RESET_LINT1 = DELIVERY.NMI << LVT.MODE_SHIFT;

/** State of the APIC. */
export interface LocalApicState {
  base: number;
  id: number;
  tpr: number;
  ldr: number;
  dfr: number;
  svr: number;
  /** As software reads it, and what has come up since it was last written. */
  esr: number;
  errors: number;
  icrLow: number;
  icrHigh: number;
  lvt: number[];
  isr: Uint32Array;
  tmr: Uint32Array;
  irr: Uint32Array;
  nmi: boolean;
  timer: ApicTimerState;
}

type Registers = Omit<LocalApicState, "timer">;

function powerOn(): Registers {
  return {
    base: RESET_BASE | APIC_BASE.ENABLE | APIC_BASE.BSP,
    id: 0,
    tpr: 0,
    ldr: 0,
    dfr: DFR_FLAT,
    svr: ALL,
    esr: 0,
    errors: 0,
    icrLow: 0,
    icrHigh: 0,
    lvt: LOCAL.map((_, i) => (i === LINT0 ? RESET_LINT0 : i === LINT1 ? RESET_LINT1 : LVT.MASKED)),
    isr: new Uint32Array(8),
    tmr: new Uint32Array(8),
    irr: new Uint32Array(8),
    nmi: false,
  };
}

/** What the APIC is wired to. */
export interface LocalApicDeps {
  readonly clock: Clock;
  /** The time-stamp counter; it counts ns. */
  readonly timeStamp: () => bigint;
  /** Told when an interrupt waits that did not before. */
  readonly intr: InterruptLine;
  /** Where the registers stand. */
  readonly place: (device: MmioDevice) => Placement;
}

/** Highest vector that is set, or -1. */
function highest(bits: Uint32Array): number {
  for (let i = 7; i >= 0; i--) if (bits[i] !== 0) return i * 32 + 31 - Math.clz32(bits[i]!);
  return -1;
}

const isSet = (bits: Uint32Array, vector: number): boolean => ((bits[vector >> 5]! >>> (vector & 31)) & 1) !== 0;

function change(bits: Uint32Array, vector: number, value: boolean): void {
  if (value) bits[vector >> 5]! |= 1 << (vector & 31);
  else bits[vector >> 5]! &= ~(1 << (vector & 31));
}

export class LocalApic implements InterruptController, MmioDevice, Stateful<LocalApicState> {
  /** See {@link InterruptController}: kept up to date, since it is looked at after every port access. */
  pending = false;
  /** The processor has ended the service of a level-triggered interrupt. */
  onEoi: (vector: number) => void = () => {};
  /** The processor takes an interrupt of the I/O APIC's, or another. */
  onAcknowledge: (vector: number) => void = () => {};
  readonly #deps: LocalApicDeps;
  readonly #placement: Placement;
  readonly #timer: ApicTimer;
  #s: Registers = powerOn();
  /** The 8259 pair. */
  #external: InterruptController | undefined;
  /** Vector that would be delivered, or -1. */
  #ready = -1;

  constructor(deps: LocalApicDeps) {
    this.#deps = deps;
    this.#placement = deps.place(this);
    this.#timer = new ApicTimer({
      clock: deps.clock,
      timeStamp: deps.timeStamp,
      expired: () => this.#local(TIMER),
    });
    this.#move();
  }

  // ---- the processor's side ---------------------------------------------------------------------------------------

  /** The 8259 pair, whose output is LINT0. */
  connect(external: InterruptController): void {
    this.#external = external;
    this.update();
  }

  line(irq: number): InterruptLine {
    return this.#external?.line(irq) ?? { set() {} };
  }

  /** A non-maskable interrupt waits. */
  get nmi(): boolean {
    return this.#s.nmi;
  }

  get maskable(): boolean {
    return this.#ready >= 0 || this.#externalWaits();
  }

  acknowledgeNmi(): void {
    this.#s.nmi = false;
    this.update();
  }

  acknowledge(): number {
    const vector = this.#ready;
    if (vector < 0) {
      if (this.#externalWaits()) return this.#external!.acknowledge();
      return this.#s.svr & LVT.VECTOR;
    }
    change(this.#s.irr, vector, false);
    change(this.#s.isr, vector, true);
    this.update();
    this.onAcknowledge(vector);
    return vector;
  }

  get enabled(): boolean {
    return (this.#s.base & APIC_BASE.ENABLE) !== 0;
  }

  /** IA32_APIC_BASE. */
  get base(): number {
    return this.#s.base >>> 0;
  }

  /** Write IA32_APIC_BASE; clearing the enable bit resets the APIC, which then is as if it were not there. */
  setBase(value: number): void {
    if (this.enabled && !(value & APIC_BASE.ENABLE)) {
      this.#s = { ...powerOn(), id: this.#s.id };
      this.#timer.reset();
    }
    this.#s.base = (value & (BASE_MASK | APIC_BASE.ENABLE)) | APIC_BASE.BSP;
    this.#move();
    this.update();
  }

  get deadline(): bigint {
    return this.#timer.deadline;
  }

  /** IA32_TSC_DEADLINE. */
  setDeadline(value: bigint): void {
    this.#timer.setDeadline(value);
  }

  /** The guest has written its time-stamp counter. */
  timeStampMoved(): void {
    this.#timer.timeStampMoved();
  }

  #move(): void {
    this.#placement.move(this.enabled ? (this.#s.base & BASE_MASK) >>> 0 : undefined);
  }

  // ---- what arrives -----------------------------------------------------------------------------------------------

  /** LINT0, the output of the 8259 pair, has changed. */
  lint0Changed(level: boolean): void {
    if (level) {
      const entry = this.#s.lvt[LINT0]!;
      if (this.enabled && ((entry >> LVT.MODE_SHIFT) & 7) !== DELIVERY.EXTINT) this.#local(LINT0);
    }
    this.update();
  }

  /** LINT1 was raised. */
  raiseLint1(): void {
    if (this.enabled) this.#local(LINT1);
    else this.#raiseNmi();
  }

  /** A message of an I/O APIC, or of ourselves; false when it is not for this processor. */
  receive(message: ApicMessage): boolean {
    if (!this.enabled || !this.#isAddressed(message)) return false;
    switch (message.mode) {
      case DELIVERY.FIXED:
      case DELIVERY.LOWEST:
        this.#accept(message.vector, message.level);
        break;
      case DELIVERY.NMI:
        this.#raiseNmi();
        break;
      // INIT and STARTUP start processors that there are not; nobody has SMM.
    }
    return true;
  }

  #isAddressed({ destination, logical }: ApicMessage): boolean {
    const s = this.#s;
    if (destination === ALL) return true;
    if (!logical) return destination === s.id;
    const mine = s.ldr >>> ID_SHIFT;
    if (s.dfr >>> 28 === 0xf) return (destination & mine) !== 0;
    return destination >> 4 === mine >> 4 && (destination & mine & 0xf) !== 0;
  }

  /** An event of a local vector. */
  #local(entry: number): void {
    const value = this.#s.lvt[entry]!;
    if (value & LVT.MASKED) return;
    const mode = entry === TIMER || entry === ERROR ? DELIVERY.FIXED : (value >> LVT.MODE_SHIFT) & 7;
    if (mode === DELIVERY.NMI) this.#raiseNmi();
    else if (mode === DELIVERY.FIXED) {
      const level = entry === LINT0 && (value & LVT.LEVEL) !== 0;
      if (level && value & LVT.REMOTE_IRR) return;
      if (level) this.#s.lvt[entry]! |= LVT.REMOTE_IRR;
      this.#accept(value & LVT.VECTOR, level);
    }
  }

  #raiseNmi(): void {
    this.#s.nmi = true;
    this.update();
  }

  #accept(vector: number, level: boolean): void {
    const s = this.#s;
    if (vector < FIRST_VECTOR) {
      this.#error(ESR.RECEIVE_ILLEGAL);
      return;
    }
    if (!(s.svr & SVR.ENABLE)) return;
    change(s.irr, vector, true);
    change(s.tmr, vector, level);
    this.update();
  }

  #error(bit: number): void {
    const known = (this.#s.errors & bit) !== 0;
    this.#s.errors |= bit;
    // An error about the error's own vector must not go round in circles.
    if (!known) this.#local(ERROR);
  }

  #externalWaits(): boolean {
    if (!this.#external?.pending) return false;
    if (!this.enabled) return true;
    const entry = this.#s.lvt[LINT0]!;
    return (entry & LVT.MASKED) === 0 && ((entry >> LVT.MODE_SHIFT) & 7) === DELIVERY.EXTINT;
  }

  get #processorPriority(): number {
    const service = Math.max(0, highest(this.#s.isr));
    return (service & CLASS) > (this.#s.tpr & CLASS) ? service & CLASS : this.#s.tpr;
  }

  /** Find out anew what waits for the processor. */
  update(): void {
    const vector = highest(this.#s.irr);
    const delivers = vector >= 0 && (vector & CLASS) > (this.#processorPriority & CLASS);
    this.#ready = delivers && this.enabled && this.#s.svr & SVR.ENABLE ? vector : -1;
    const pending = this.#s.nmi || this.maskable;
    if (pending === this.pending) return;
    this.pending = pending;
    this.#deps.intr.set(pending);
  }

  // ---- registers --------------------------------------------------------------------------------------------------

  immediate(offset: number, _size: AccessSize, write: boolean, value: number): boolean {
    const register = offset & -STRIDE;
    if (!write) return register !== APIC.TIMER_CURRENT;
    const s = this.#s;
    switch (register) {
      case APIC.TPR:
        return highest(s.irr) < 0 || (value & ALL) >= s.tpr;
      case APIC.EOI: {
        const vector = highest(s.isr);
        return highest(s.irr) < 0 && (vector < 0 || !isSet(s.tmr, vector));
      }
      case APIC.LDR:
      case APIC.ICR_HIGH:
        return true;
      default:
        return false;
    }
  }

  read(offset: number, size: AccessSize): number {
    const shift = 8 * (offset & 3);
    // Registers are 32 bits wide, each at the beginning of 16 bytes; what else is read is undefined.
    const value = (offset & (STRIDE - 1)) < 4 ? this.#register(offset & -STRIDE) >>> shift : 0;
    return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
  }

  #register(register: number): number {
    const s = this.#s;
    if (register >= APIC.ISR && register < APIC.ESR) {
      const bits = register < APIC.TMR ? s.isr : register < APIC.IRR ? s.tmr : s.irr;
      return bits[(register >> 4) & 7]!;
    }
    switch (register) {
      case APIC.ID:
        return s.id << ID_SHIFT;
      case APIC.VERSION:
        return VERSION | ((LOCAL.length - 1) << MAX_LVT_SHIFT);
      case APIC.TPR:
        return s.tpr;
      case APIC.APR:
      case APIC.EOI:
        return 0;
      case APIC.PPR:
        return this.#processorPriority;
      case APIC.LDR:
        return s.ldr;
      case APIC.DFR:
        return s.dfr;
      case APIC.SVR:
        return s.svr;
      case APIC.ESR:
        return s.esr;
      case APIC.ICR_LOW:
        return s.icrLow;
      case APIC.ICR_HIGH:
        return s.icrHigh;
      case APIC.TIMER_INITIAL:
        return this.#timer.initial;
      case APIC.TIMER_CURRENT:
        return this.#timer.current();
      case APIC.TIMER_DIVIDE:
        return this.#timer.divide;
      default: {
        const entry = (register - APIC.LVT_TIMER) / STRIDE;
        if (entry >= 0 && entry < LOCAL.length) return s.lvt[entry]!;
        this.#error(ESR.ILLEGAL_REGISTER);
        return 0;
      }
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || offset & (STRIDE - 1)) return;
    const s = this.#s;
    switch (offset) {
      case APIC.ID:
        s.id = value >>> ID_SHIFT;
        break;
      case APIC.TPR:
        s.tpr = value & ALL;
        this.update();
        break;
      case APIC.EOI:
        this.#endOfInterrupt();
        break;
      case APIC.LDR:
        s.ldr = (value & (ALL << ID_SHIFT)) >>> 0;
        break;
      case APIC.DFR:
        s.dfr = (value | DFR_FIXED) >>> 0;
        break;
      case APIC.SVR:
        this.#writeSpurious(value);
        break;
      case APIC.ESR:
        s.esr = s.errors;
        s.errors = 0;
        break;
      case APIC.ICR_LOW:
        s.icrLow = value & ICR.WRITABLE;
        this.#command();
        break;
      case APIC.ICR_HIGH:
        s.icrHigh = (value & (ALL << ID_SHIFT)) >>> 0;
        break;
      case APIC.TIMER_INITIAL:
        this.#timer.setInitial(value);
        break;
      case APIC.TIMER_DIVIDE:
        this.#timer.setDivide(value);
        break;
      default: {
        const entry = (offset - APIC.LVT_TIMER) / STRIDE;
        if (entry >= 0 && entry < LOCAL.length) this.#writeLocal(entry, value);
        else this.#error(ESR.ILLEGAL_REGISTER);
      }
    }
  }

  #writeSpurious(value: number): void {
    this.#s.svr = value & SVR.WRITABLE;
    // While software has it disabled, all local vectors are masked, and stay so (SDM 3A 11.4.7.2).
    if (!(value & SVR.ENABLE)) for (let i = 0; i < LOCAL.length; i++) this.#writeLocal(i, this.#s.lvt[i]!);
    this.update();
  }

  #writeLocal(entry: number, value: number): void {
    const s = this.#s;
    const kept = s.lvt[entry]! & LVT.REMOTE_IRR;
    s.lvt[entry] = (value & LOCAL[entry]![1]) | kept | (s.svr & SVR.ENABLE ? 0 : LVT.MASKED);
    const now = s.lvt[entry]!;
    if (entry === TIMER) {
      const mode = (now >> LVT.TIMER_MODE_SHIFT) & 3;
      this.#timer.configure(mode > TIMER_MODE.TSC_DEADLINE ? TIMER_MODE.ONE_SHOT : mode, (now & LVT.MASKED) !== 0);
    }
    // A level that was there before the entry was unmasked is taken now.
    if (entry === LINT0 && now & LVT.LEVEL && this.#external?.pending) this.#local(LINT0);
    this.update();
  }

  #endOfInterrupt(): void {
    const s = this.#s;
    const vector = highest(s.isr);
    if (vector < 0) return;
    change(s.isr, vector, false);
    if (isSet(s.tmr, vector)) {
      this.onEoi(vector);
      const lint0 = s.lvt[LINT0]!;
      if (lint0 & LVT.REMOTE_IRR && (lint0 & LVT.VECTOR) === vector) {
        s.lvt[LINT0] = lint0 & ~LVT.REMOTE_IRR;
        if (this.#external?.pending) this.#local(LINT0);
      }
    }
    this.update();
  }

  /** Send what the interrupt command register says; there is nobody but us. */
  #command(): void {
    const { icrLow, icrHigh, id } = this.#s;
    const shorthand = (icrLow >> ICR.SHORTHAND_SHIFT) & 3;
    const mode = (icrLow >> LVT.MODE_SHIFT) & 7;
    const vector = icrLow & LVT.VECTOR;
    if ((mode === DELIVERY.FIXED || mode === DELIVERY.LOWEST) && vector < FIRST_VECTOR) {
      this.#error(ESR.SEND_ILLEGAL);
      return;
    }
    if (shorthand === SHORTHAND.OTHERS) return;
    const named = shorthand === SHORTHAND.NONE;
    this.receive({
      destination: named ? icrHigh >>> ID_SHIFT : shorthand === SHORTHAND.SELF ? id : ALL,
      logical: named && (icrLow & ICR.LOGICAL) !== 0,
      mode,
      vector,
      level: false,
    });
  }

  // ---- state ------------------------------------------------------------------------------------------------------

  reset(): void {
    this.#s = powerOn();
    this.#timer.reset();
    this.#move();
    this.update();
  }

  state(): LocalApicState {
    return copyPlain({ ...this.#s, timer: this.#timer.state() });
  }

  restore(state: LocalApicState): void {
    const { timer, ...registers } = copyPlain(state);
    this.#s = registers;
    this.#timer.restore(timer);
    this.#move();
    this.update();
  }
}
