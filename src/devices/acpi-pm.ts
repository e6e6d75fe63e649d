/**
 * ACPI registers of a PIIX4's power management function: events, control, timer, general-purpose events, sleeping states,
 * and the SMI command port, which does itself what a system management mode would do. Intel 290562 (82371AB), chapters 7.3
 * and 11; ACPI 4.0, 4.7.
 *
 *     awake ── SUS_EN with S1 ──▶ S1 ── wake event ──▶ awake, RSM_STS set
 *       │ ─── SUS_EN with S3 ──▶ S3 ── wake event ──▶ machine reset, RSM_STS set
 *       └──── SUS_EN with S5 ──▶ off
 */
import { copyPlain } from "../common/plain.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { AccessSize, InterruptLine, PortDevice, Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";
import { SLEEP_TYPE, SMI_COMMAND } from "./pc-layout.ts";

/** Offsets (7.3). */
const REG = {
  PMSTS: 0x00,
  PMEN: 0x02,
  PMCNTRL: 0x04,
  PMTMR: 0x08,
  GPSTS: 0x0c,
  GPEN: 0x0e,
  PCNTRL: 0x10,
  DEVSTS: 0x1c,
  GLBEN: 0x20,
  GLBCTL: 0x28,
  DEVCTL: 0x2c,
  GPOREG: 0x34,
} as const;
/** Ports of the registers. */
export const PM_PORTS = 64;

/** PMSTS and PMEN. */
export const PM_EVENT = {
  TIMER: 1 << 0,
  GLOBAL: 1 << 5,
  POWER_BUTTON: 1 << 8,
  RTC: 1 << 10,
  RESUME: 1 << 15,
} as const;
const PMEN_BITS = PM_EVENT.TIMER | PM_EVENT.GLOBAL | PM_EVENT.POWER_BUTTON | PM_EVENT.RTC;
/** PMCNTRL. */
const PMCNTRL = { SCI_EN: 1 << 0, BUS_MASTER_RELOAD: 1 << 1, TYPE_SHIFT: 10, TYPE_MASK: 7, SUS_EN: 1 << 13 } as const;
const PMCNTRL_KEPT = PMCNTRL.SCI_EN | PMCNTRL.BUS_MASTER_RELOAD | (PMCNTRL.TYPE_MASK << PMCNTRL.TYPE_SHIFT);
/** GLBCTL: firmware releases the global lock. */
const BIOS_RELEASE = 1 << 1;

/** The timer counts 24 bits; each change of the highest one is an event. */
const TIMER_HZ = 3_579_545;
const TIMER_MASK = 0xff_ffff;
const HALF_PERIOD = 1 << 23;
const SECOND = 1e9;

/** Registers that only keep what is written: clock control, device monitors, general-purpose outputs. */
const KEPT: readonly (readonly [offset: number, bytes: number])[] = [
  [REG.PCNTRL, 4],
  [REG.GLBEN, 2],
  [REG.GLBCTL, 4],
  [REG.DEVCTL, 4],
  [REG.GPOREG, 4],
];
const IS_KEPT = new Uint8Array(PM_PORTS);
for (const [offset, bytes] of KEPT) IS_KEPT.fill(1, offset, offset + bytes);

export type SleepState = keyof typeof SLEEP_TYPE;

/** State of the registers. */
export interface AcpiPmState {
  status: number;
  enable: number;
  control: number;
  gpStatus: number;
  gpEnable: number;
  kept: Uint8Array;
  /** Changes of the timer's highest bit that PMSTS knows of. */
  overflows: number;
  overflowAt: number;
  apmCommand: number;
  apmStatus: number;
  /** In which the machine is: "S1" or "S3"; "S0" is awake. */
  sleeping: SleepState | "S0";
}

function powerOn(overflows: number): AcpiPmState {
  return {
    status: 0,
    enable: 0,
    control: 0,
    gpStatus: 0,
    gpEnable: 0,
    kept: new Uint8Array(PM_PORTS),
    overflows,
    overflowAt: -1,
    apmCommand: 0,
    apmStatus: 0,
    sleeping: "S0",
  };
}

/** What the registers are wired to. */
export interface AcpiPmDeps {
  readonly clock: Clock;
  /** The system control interrupt; a level. */
  readonly sci: InterruptLine;
  /** The guest puts the machine to sleep. */
  readonly sleep: (state: SleepState) => void;
  /** The machine wakes from there. */
  readonly wake: (state: SleepState) => void;
}

/** The registers; `apm` is the SMI command and status port, two ports at B2h. */
export class AcpiPm implements PortDevice, Stateful<AcpiPmState> {
  readonly apm: PortDevice;
  readonly #deps: AcpiPmDeps;
  readonly #overflow: Timer;
  #s: AcpiPmState;

  constructor(deps: AcpiPmDeps) {
    this.#deps = deps;
    this.#s = powerOn(0);
    this.#overflow = deps.clock.timer(() => this.#update());
    this.apm = {
      read: (offset) => (offset === 0 ? this.#s.apmCommand : this.#s.apmStatus),
      write: (offset, _size, value) => {
        if (offset === 0) this.#command(value);
        else this.#s.apmStatus = value & 0xff;
      },
    };
  }

  /** A command to the firmware that is not there: ACPI mode on or off. */
  #command(value: number): void {
    const s = this.#s;
    s.apmCommand = value & 0xff;
    if (value === SMI_COMMAND.ACPI_ENABLE) s.control |= PMCNTRL.SCI_EN;
    if (value === SMI_COMMAND.ACPI_DISABLE) s.control &= ~PMCNTRL.SCI_EN;
    this.#update();
  }

  /** Ticks of the timer since the domain began. */
  #ticks(): number {
    return Math.floor((this.#deps.clock.now() / SECOND) * TIMER_HZ);
  }

  read(offset: number, size: AccessSize): number {
    if (offset === REG.PMTMR && size === 4) return this.#ticks() & TIMER_MASK;
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#readByte(offset + i) << (8 * i);
    return value >>> 0;
  }

  #readByte(offset: number): number {
    const shift = 8 * (offset & 1);
    const s = this.#s;
    switch (offset & ~1) {
      case REG.PMSTS:
        this.#noteOverflow();
        return (s.status >> shift) & 0xff;
      case REG.PMEN:
        return (s.enable >> shift) & 0xff;
      case REG.PMCNTRL:
        return (s.control >> shift) & 0xff;
      case REG.PMTMR:
      case REG.PMTMR + 2:
        return ((this.#ticks() & TIMER_MASK) >> (8 * (offset - REG.PMTMR))) & 0xff;
      case REG.GPSTS:
        return (s.gpStatus >> shift) & 0xff;
      case REG.GPEN:
        return (s.gpEnable >> shift) & 0xff;
      default:
        return s.kept[offset]!;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
    this.#update();
  }

  #writeByte(offset: number, byte: number): void {
    const s = this.#s;
    const shift = 8 * (offset & 1);
    const bits = byte << shift;
    const others = 0xff00 >> shift;
    switch (offset & ~1) {
      case REG.PMSTS:
        this.#noteOverflow();
        s.status &= ~bits;
        break;
      case REG.PMEN:
        this.#noteOverflow();
        s.enable = ((s.enable & others) | bits) & PMEN_BITS;
        break;
      case REG.PMCNTRL:
        s.control = ((s.control & others) | bits) & PMCNTRL_KEPT;
        if (bits & PMCNTRL.SUS_EN) this.#sleep();
        break;
      case REG.GPSTS:
        s.gpStatus &= ~bits;
        break;
      case REG.GPEN:
        s.gpEnable = (s.gpEnable & others) | bits;
        break;
      default:
        if (IS_KEPT[offset]) s.kept[offset] = byte;
        if (offset === REG.GLBCTL && byte & BIOS_RELEASE) {
          s.kept[offset]! &= ~BIOS_RELEASE;
          s.status |= PM_EVENT.GLOBAL;
        }
    }
  }

  /** Set the timer's event if its highest bit has changed since the last look. */
  #noteOverflow(): void {
    const overflows = Math.floor(this.#ticks() / HALF_PERIOD);
    if (overflows === this.#s.overflows) return;
    this.#s.overflows = overflows;
    this.#s.status |= PM_EVENT.TIMER;
  }

  /** The interrupt as it should be, and the next look at the timer. */
  #update(): void {
    const s = this.#s;
    this.#noteOverflow();
    const asks = (s.status & s.enable) !== 0 || (s.gpStatus & s.gpEnable) !== 0;
    this.#deps.sci.set(asks && (s.control & PMCNTRL.SCI_EN) !== 0);
    if (s.enable & ~s.status & PM_EVENT.TIMER)
      // Behind the change, whichever way the fractions were rounded.
      this.#overflow.arm(Math.ceil((((s.overflows + 1) * HALF_PERIOD) / TIMER_HZ) * SECOND) + 1);
    else this.#overflow.cancel();
  }

  #sleep(): void {
    const type = (this.#s.control >> PMCNTRL.TYPE_SHIFT) & PMCNTRL.TYPE_MASK;
    const state = (Object.keys(SLEEP_TYPE) as SleepState[]).find((name) => SLEEP_TYPE[name] === type);
    if (state === undefined) return;
    if (state !== "S5") this.#s.sleeping = state;
    this.#deps.sleep(state);
  }

  /** The power button was pressed. */
  pressPowerButton(): void {
    this.#event(PM_EVENT.POWER_BUTTON, true);
  }

  /** The real-time clock interrupts: an event that wakes if it is enabled. */
  alarm(): void {
    this.#event(PM_EVENT.RTC, (this.#s.enable & PM_EVENT.RTC) !== 0);
  }

  /** Somebody is at the keyboard: that wakes, and is nothing else. */
  attention(): void {
    this.#event(0, true);
  }

  #event(event: number, wakes: boolean): void {
    const s = this.#s;
    s.status |= event;
    if (s.sleeping !== "S0" && wakes) {
      const from = s.sleeping;
      s.sleeping = "S0";
      s.status |= PM_EVENT.RESUME;
      this.#deps.wake(from);
    }
    this.#update();
  }

  reset(): void {
    this.#s = powerOn(Math.floor(this.#ticks() / HALF_PERIOD));
    this.#update();
  }

  /** Reset on the way out of a suspend to RAM: events and enables are kept by the stand-by supply. */
  resume(): void {
    const { status, enable, control } = this.#s;
    this.reset();
    Object.assign(this.#s, { status, enable, control: control & ~PMCNTRL.SCI_EN });
    this.#update();
  }

  state(): AcpiPmState {
    return copyPlain({ ...this.#s, overflowAt: timerState(this.#overflow) });
  }

  restore(state: AcpiPmState): void {
    this.#s = copyPlain(state);
    restoreTimer(this.#overflow, state.overflowAt);
  }
}
