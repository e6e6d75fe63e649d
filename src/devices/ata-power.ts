/** Power management of ATA devices: the mode that Check Power Mode tells, and the standby timer. ATA/ATAPI-6, 6.9. */
import { copyPlain } from "../common/plain.ts";
import type { Clock } from "../hypervisor/clock.ts";

export type PowerMode = "active" | "idle" | "standby" | "sleep";

/** What Check Power Mode leaves in the Sector Count register (8.6). A device that sleeps does not answer. */
const POWER_CODE: Readonly<Record<PowerMode, number>> = { active: 0xff, idle: 0x80, standby: 0x00, sleep: 0x00 };

const SECOND = 1e9;
const MINUTE = 60 * SECOND;

/** Time of the standby timer in ns by the count of Standby and Idle (8.16, table 28); 0 switches it off. */
function standbyTime(count: number): number {
  if (count <= 240) return count * 5 * SECOND;
  if (count <= 251) return (count - 240) * 30 * MINUTE;
  if (count === 252) return 21 * MINUTE;
  if (count === 255) return 21 * MINUTE + 15 * SECOND;
  // 253 is between 8 and 12 hours, 254 is reserved.
  return 8 * 60 * MINUTE;
}

/** State of the power management. */
export interface AtaPowerState {
  mode: PowerMode;
  /** The standby timer's time in ns, 0 while it is off. */
  period: number;
  /** Guest time of the last command that needed the medium. */
  since: number;
}

export class AtaPower {
  private readonly clock: Clock;
  private s: AtaPowerState = { mode: "active", period: 0, since: 0 };

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get asleep(): boolean {
    return this.s.mode === "sleep";
  }

  /** The code of the mode that the device is in by now. */
  get code(): number {
    const { s } = this;
    if (s.period > 0 && s.mode !== "sleep" && this.clock.now() - s.since >= s.period) s.mode = "standby";
    return POWER_CODE[s.mode];
  }

  /** Go to a mode; `count` of the commands that set the standby timer. */
  enter(mode: PowerMode, count?: number): void {
    this.s.mode = mode;
    if (count === undefined) return;
    this.s.period = standbyTime(count);
    this.s.since = this.clock.now();
  }

  /** A command needs the medium. */
  wake(): void {
    this.s.mode = "active";
    this.s.since = this.clock.now();
  }

  /** A software reset ends sleep; the device then is in standby (6.9.1). */
  softReset(): void {
    if (this.s.mode === "sleep") this.s.mode = "standby";
  }

  reset(): void {
    this.s = { mode: "active", period: 0, since: 0 };
  }

  state(): AtaPowerState {
    return copyPlain(this.s);
  }

  restore(state: AtaPowerState): void {
    this.s = copyPlain(state);
  }
}
