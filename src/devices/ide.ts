/**
 * An IDE channel: two register blocks, up to two devices, one interrupt, one bus-master engine. Which device answers what
 * follows ATA/ATAPI-6 (T13/1410D), 7 and 9.16 (single device configurations).
 */
import type { IdeUnit } from "../hypervisor/backend.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { AccessSize, GuestMemory, InterruptLine, PortDevice, Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";
import { ATA_COMMANDS, ATA_CONTROL, ATA_DEVICE } from "./ata-commands.ts";
import type { AtaDevice } from "./ata-device.ts";
import { AtaDisk } from "./ata-disk.ts";
import type { AtaInterface } from "./ata-interface.ts";
import { AtapiCdrom } from "./atapi-cdrom.ts";
import { BusMaster, type BusMasterState } from "./ide-bus-master.ts";

/** Offsets in the command block. */
const REG = {
  DATA: 0,
  ERROR_FEATURES: 1,
  COUNT: 2,
  LBA_LOW: 3,
  LBA_MID: 4,
  LBA_HIGH: 5,
  DEVICE: 6,
  STATUS_COMMAND: 7,
} as const;
/** Registers that both devices latch. */
const LATCHED = {
  [REG.ERROR_FEATURES]: "features",
  [REG.COUNT]: "count",
  [REG.LBA_LOW]: "lbaLow",
  [REG.LBA_MID]: "lbaMid",
  [REG.LBA_HIGH]: "lbaHigh",
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
  busMaster: BusMasterState;
  devices: unknown[];
}

/** What a channel is wired to. */
export interface IdeDeps {
  readonly clock: Clock;
  readonly irq: InterruptLine;
  /** Where the bus-master engine finds its tables and puts data. */
  readonly memory: GuestMemory;
  /** Device 0 and device 1. */
  readonly units: readonly (IdeUnit | undefined)[];
}

/** The channel. It is itself the command block (1F0h–1F7h); `control` is the control block (3F6h). */
export class IdeChannel implements PortDevice, Stateful<IdeState> {
  /** Alternate Status and Device Control. */
  readonly control: PortDevice;
  /** The channel's half of the bus-master ports. */
  readonly busMaster: BusMaster;
  private readonly deps: IdeDeps;
  private readonly devices: readonly (AtaDevice | undefined)[];
  private readonly resetTimer: Timer;
  private selected: 0 | 1 = 0;
  private deviceControl = 0;

  constructor(deps: IdeDeps) {
    this.deps = deps;
    const changed = (): void => this.update();
    this.devices = ([0, 1] as const).map((unit) => {
      const { clock, units } = deps;
      const device = units[unit];
      if (device?.kind === "cdrom") return new AtapiCdrom({ clock, drive: device, unit, changed });
      return device && new AtaDisk({ clock, disk: device, unit, changed });
    });
    this.busMaster = new BusMaster({ memory: deps.memory, target: () => this.port });
    this.resetTimer = deps.clock.timer(() => {
      for (const device of this.devices) device?.endReset();
    });
    this.control = {
      read: (_offset: number, _size: AccessSize): number => this.alternateStatus(),
      write: (_offset: number, _size: AccessSize, value: number): void => this.writeControl(value & 0xff),
    };
  }

  /** The CD drive that is device 0 or 1, for who changes discs. */
  cdrom(unit: number): AtapiCdrom | undefined {
    const device = this.devices[unit];
    return device instanceof AtapiCdrom ? device : undefined;
  }

  /** Registers of the device that is selected. */
  private get port(): AtaInterface | undefined {
    return this.devices[this.selected]?.port;
  }

  /** INTRQ: only the selected device drives it (5.2.9), and only while nIEN lets it. */
  private get interrupt(): boolean {
    return this.port?.s.irq === true && (this.deviceControl & ATA_CONTROL.NIEN) === 0;
  }

  /** Something about the devices or their selection has changed: the interrupt follows, and DMA goes on. */
  private update(): void {
    const level = this.interrupt;
    this.busMaster.setInterrupt(level);
    this.deps.irq.set(level);
    this.busMaster.pump();
  }

  private get empty(): boolean {
    return this.devices[0] === undefined && this.devices[1] === undefined;
  }

  private alternateStatus(): number {
    if (this.empty) return FLOATING;
    return this.port?.s.status ?? 0;
  }

  read(offset: number, size: AccessSize): number {
    if (offset === REG.DATA) return this.port?.readData(size) ?? (size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1);
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.readRegister(offset + i) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset === REG.DATA) {
      this.port?.writeData(size, value);
      return;
    }
    for (let i = 0; i < size; i++) this.writeRegister(offset + i, (value >>> (8 * i)) & 0xff);
  }

  readString(offset: number, size: AccessSize, target: Uint8Array): void {
    const { port } = this;
    if (offset === REG.DATA && port !== undefined) {
      port.readString(target);
      return;
    }
    for (let i = 0; i + size <= target.length; i += size) {
      const value = this.read(offset, size);
      for (let j = 0; j < size; j++) target[i + j] = (value >>> (8 * j)) & 0xff;
    }
  }

  writeString(offset: number, size: AccessSize, source: Uint8Array): void {
    const { port } = this;
    if (offset === REG.DATA && port !== undefined) {
      port.writeString(source);
      return;
    }
    for (let i = 0; i + size <= source.length; i += size) {
      let value = 0;
      for (let j = 0; j < size; j++) value |= source[i + j]! << (8 * j);
      this.write(offset, size, value >>> 0);
    }
  }

  private readRegister(register: number): number {
    // A device alone on its channel answers for the other one, with status 0 (9.16.1).
    const answering = this.port ?? this.devices[1 - this.selected]?.port;
    if (answering === undefined) return FLOATING;
    const registers = answering.s;
    switch (register) {
      case REG.ERROR_FEATURES:
        return registers.error;
      case REG.COUNT:
      case REG.LBA_LOW:
      case REG.LBA_MID:
      case REG.LBA_HIGH: {
        const shown = this.deviceControl & ATA_CONTROL.HOB ? registers.previous : registers;
        return shown[LATCHED[register]];
      }
      case REG.DEVICE:
        return (registers.device & ~ATA_DEVICE.DEV) | ATA_DEVICE.ALWAYS | (this.selected ? ATA_DEVICE.DEV : 0);
      case REG.STATUS_COMMAND:
        return this.port?.readStatus() ?? 0;
      default:
        return FLOATING;
    }
  }

  private writeRegister(register: number, byte: number): void {
    // A write to any register of the command block ends the look behind it (7.6.3).
    this.deviceControl &= ~ATA_CONTROL.HOB;
    if (register === REG.STATUS_COMMAND) {
      this.command(byte);
      return;
    }
    const name = LATCHED[register as keyof typeof LATCHED];
    if (name === undefined) return;
    for (const device of this.devices) device?.port.writeRegister(name, byte);
    if (register !== REG.DEVICE) return;
    this.selected = byte & ATA_DEVICE.DEV ? 1 : 0;
    this.update();
  }

  private command(opcode: number): void {
    if (ATA_COMMANDS.get(opcode)?.operation !== "diagnostic") {
      this.devices[this.selected]?.execute(opcode);
      return;
    }
    this.selected = 0;
    this.devices[0]?.diagnose(true);
    this.devices[1]?.diagnose(false);
    this.update();
  }

  private writeControl(byte: number): void {
    const before = this.deviceControl;
    this.deviceControl = byte;
    if (byte & ~before & ATA_CONTROL.SRST) {
      this.selected = 0;
      this.resetTimer.cancel();
      for (const device of this.devices) device?.beginReset();
    } else if (before & ~byte & ATA_CONTROL.SRST) {
      this.resetTimer.arm(this.deps.clock.now() + RESET_TIME);
    }
    this.update();
  }

  reset(): void {
    this.selected = 0;
    this.deviceControl = 0;
    this.resetTimer.cancel();
    for (const device of this.devices) device?.reset();
    this.busMaster.reset();
    this.update();
  }

  state(): IdeState {
    return {
      selected: this.selected,
      control: this.deviceControl,
      resetAt: timerState(this.resetTimer),
      busMaster: this.busMaster.state(),
      devices: this.devices.map((device) => device?.state()),
    };
  }

  restore(state: IdeState): void {
    // Until all of it is back in place nothing may move.
    this.busMaster.reset();
    this.selected = state.selected ? 1 : 0;
    this.deviceControl = state.control;
    restoreTimer(this.resetTimer, state.resetAt);
    this.devices.forEach((device, unit) => {
      const saved = state.devices[unit];
      if (saved === undefined) device?.reset();
      else device?.restore(saved);
    });
    this.busMaster.restore(state.busMaster, this.interrupt);
    this.update();
  }
}
