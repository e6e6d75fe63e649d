/**
 * An IDE channel: two register blocks, up to two disks, one interrupt. Which disk answers what follows ATA/ATAPI-5
 * (T13/1321D), 7 and 9.16 (single device configurations).
 */
import type { Disk } from "../hypervisor/backend.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { AccessSize, InterruptLine, PortDevice, Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";
import { ATA_COMMANDS, ATA_CONTROL, ATA_DEVICE } from "./ata-commands.ts";
import { AtaDisk, type AtaDiskState } from "./ata-disk.ts";

/** Offsets in the command block. */
const REG = {
  DATA: 0,
  ERROR_FEATURES: 1,
  COUNT: 2,
  SECTOR: 3,
  CYLINDER_LOW: 4,
  CYLINDER_HIGH: 5,
  DEVICE: 6,
  STATUS_COMMAND: 7,
} as const;
/** Registers that both disks latch. */
const LATCHED = {
  [REG.ERROR_FEATURES]: "features",
  [REG.COUNT]: "count",
  [REG.SECTOR]: "sector",
  [REG.CYLINDER_LOW]: "cylinderLow",
  [REG.CYLINDER_HIGH]: "cylinderHigh",
  [REG.DEVICE]: "device",
} as const;
/** Nobody drives the bus. */
const FLOATING = 0xff;
/** From the end of a software reset to its signature, ns. */
const RESET_TIME = 50_000;

/** State of a channel. */
export interface IdeState {
  selected: number;
  control: number;
  resetAt: number;
  disks: (AtaDiskState | undefined)[];
}

/** What a channel is wired to. */
export interface IdeDeps {
  readonly clock: Clock;
  readonly irq: InterruptLine;
  /** Disk 0 and disk 1. */
  readonly disks: readonly (Disk | undefined)[];
}

/** The channel. It is itself the command block (1F0h–1F7h); `control` is the control block (3F6h). */
export class IdeChannel implements PortDevice, Stateful<IdeState> {
  /** Alternate Status and Device Control. */
  readonly control: PortDevice;
  private readonly deps: IdeDeps;
  private readonly disks: readonly (AtaDisk | undefined)[];
  private readonly resetTimer: Timer;
  private selected: 0 | 1 = 0;
  private deviceControl = 0;

  constructor(deps: IdeDeps) {
    this.deps = deps;
    const changed = (): void => this.updateLine();
    this.disks = [0, 1].map((unit) => {
      const disk = deps.disks[unit];
      return disk && new AtaDisk({ clock: deps.clock, disk, changed });
    });
    this.resetTimer = deps.clock.timer(() => {
      for (const disk of this.disks) disk?.endReset();
    });
    this.control = {
      read: (_offset: number, _size: AccessSize): number => this.alternateStatus(),
      write: (_offset: number, _size: AccessSize, value: number): void => this.writeControl(value & 0xff),
    };
  }

  private get disk(): AtaDisk | undefined {
    return this.disks[this.selected];
  }

  private updateLine(): void {
    // Only the selected disk drives INTRQ (5.2.9).
    const level = this.disk?.irq === true && (this.deviceControl & ATA_CONTROL.NIEN) === 0;
    this.deps.irq.set(level);
  }

  private get empty(): boolean {
    return this.disks[0] === undefined && this.disks[1] === undefined;
  }

  private alternateStatus(): number {
    if (this.empty) return FLOATING;
    return this.disk?.registers.status ?? 0;
  }

  read(offset: number, size: AccessSize): number {
    if (offset === REG.DATA) return this.disk?.readData(size) ?? (size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1);
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.readRegister(offset + i) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset === REG.DATA) {
      this.disk?.writeData(size, value);
      return;
    }
    for (let i = 0; i < size; i++) this.writeRegister(offset + i, (value >>> (8 * i)) & 0xff);
  }

  readString(offset: number, size: AccessSize, target: Uint8Array): void {
    if (offset === REG.DATA && this.disk !== undefined) {
      this.disk.readString(target);
      return;
    }
    for (let i = 0; i + size <= target.length; i += size) {
      const value = this.read(offset, size);
      for (let j = 0; j < size; j++) target[i + j] = (value >>> (8 * j)) & 0xff;
    }
  }

  writeString(offset: number, size: AccessSize, source: Uint8Array): void {
    if (offset === REG.DATA && this.disk !== undefined) {
      this.disk.writeString(source);
      return;
    }
    for (let i = 0; i + size <= source.length; i += size) {
      let value = 0;
      for (let j = 0; j < size; j++) value |= source[i + j]! << (8 * j);
      this.write(offset, size, value >>> 0);
    }
  }

  private readRegister(register: number): number {
    // A disk alone on its channel answers for the other one, with status 0 (9.16.1).
    const answering = this.disk ?? this.disks[1 - this.selected];
    if (answering === undefined) return FLOATING;
    const { registers } = answering;
    switch (register) {
      case REG.ERROR_FEATURES:
        return registers.error;
      case REG.COUNT:
        return registers.count;
      case REG.SECTOR:
        return registers.sector;
      case REG.CYLINDER_LOW:
        return registers.cylinderLow;
      case REG.CYLINDER_HIGH:
        return registers.cylinderHigh;
      case REG.DEVICE:
        return (registers.device & ~ATA_DEVICE.DEV) | ATA_DEVICE.ALWAYS | (this.selected ? ATA_DEVICE.DEV : 0);
      case REG.STATUS_COMMAND:
        return this.disk?.readStatus() ?? 0;
      default:
        return FLOATING;
    }
  }

  private writeRegister(register: number, byte: number): void {
    if (register === REG.STATUS_COMMAND) {
      this.command(byte);
      return;
    }
    const name = LATCHED[register as keyof typeof LATCHED];
    if (name === undefined) return;
    for (const disk of this.disks) disk?.writeRegister(name, byte);
    if (register !== REG.DEVICE) return;
    this.selected = byte & ATA_DEVICE.DEV ? 1 : 0;
    this.updateLine();
  }

  private command(opcode: number): void {
    if (ATA_COMMANDS.get(opcode) !== "diagnostic") {
      this.disk?.execute(opcode);
      return;
    }
    this.selected = 0;
    this.disks[0]?.diagnose(true);
    this.disks[1]?.diagnose(false);
    this.updateLine();
  }

  private writeControl(byte: number): void {
    const before = this.deviceControl;
    this.deviceControl = byte;
    if (byte & ~before & ATA_CONTROL.SRST) {
      this.selected = 0;
      this.resetTimer.cancel();
      for (const disk of this.disks) disk?.beginReset();
    } else if (before & ~byte & ATA_CONTROL.SRST) {
      this.resetTimer.arm(this.deps.clock.now() + RESET_TIME);
    }
    this.updateLine();
  }

  reset(): void {
    this.selected = 0;
    this.deviceControl = 0;
    this.resetTimer.cancel();
    for (const disk of this.disks) disk?.reset();
    this.updateLine();
  }

  state(): IdeState {
    return {
      selected: this.selected,
      control: this.deviceControl,
      resetAt: timerState(this.resetTimer),
      disks: this.disks.map((disk) => disk?.state()),
    };
  }

  restore(state: IdeState): void {
    this.selected = state.selected ? 1 : 0;
    this.deviceControl = state.control;
    restoreTimer(this.resetTimer, state.resetAt);
    this.disks.forEach((disk, unit) => {
      const saved = state.disks[unit];
      if (saved === undefined) disk?.reset();
      else disk?.restore(saved);
    });
    this.updateLine();
  }
}
