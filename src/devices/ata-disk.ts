/**
 * One ATA fixed disk: its commands. The registers and the ways of its data stand in `ata-interface.ts`; the channel
 * (`ide.ts`) selects it. ATA/ATAPI-6 (T13/1410D); section numbers refer to it.
 */
import { copyPlain } from "../common/plain.ts";
import type { Disk, Geometry } from "../hypervisor/backend.ts";
import type { Clock } from "../hypervisor/clock.ts";
import {
  ATA_COMMANDS,
  ATA_DEVICE,
  ATA_ERROR,
  ATA_FEATURE,
  ATA_STATUS,
  type AtaCommand,
  isDmaMode,
  isTransferMode,
  TIMED_POWER,
  TRANSFER_MODE,
} from "./ata-commands.ts";
import type { AtaDevice } from "./ata-device.ts";
import { IDENTITY_BYTES, identify, MAX_LBA28, MAX_MULTIPLE } from "./ata-identify.ts";
import { AtaInterface, type AtaInterfaceState } from "./ata-interface.ts";
import { AtaPower, type AtaPowerState } from "./ata-power.ts";
import { AtaSmart, type AtaSmartState } from "./ata-smart.ts";

const SECTOR = 512;
/** Sectors for which a count of 0 stands. */
const MAX_SECTORS = 256;
const MAX_SECTORS_EXT = 65536;
/** Most sectors that are asked of the host at once; a multiple of every block of Read and Write Multiple. */
const MAX_PIECE = 2048;
/** Guest time of a command and of each sector in it, ns: no drive's, since guests only wait longer than the host needs. */
const COMMAND_LATENCY = 20_000;
const SECTOR_LATENCY = 10;
const READY = ATA_STATUS.DRDY | ATA_STATUS.DSC;
/** Diagnostic code of a device that works (9.12). */
const DIAGNOSTIC_OK = 0x01;
const DEFAULT_DMA_MODE = TRANSFER_MODE.MULTIWORD | 2;
/** Set Max, count register: the new capacity outlives power. */
const NON_VOLATILE = 1 << 0;

/** What a disk is doing: nothing, host work, or passing the data of a command that ends with them. */
type Activity = "idle" | "reading" | "verifying" | "writing" | "flushing" | "passing";

/** State of a disk. */
export interface AtaDiskState {
  port: AtaInterfaceState;
  power: AtaPowerState;
  smart: AtaSmartState;
  /** Opcode of the last command. */
  command: number;
  activity: Activity;
  /** First sector of the piece that is under way, sectors in it, and sectors of the command from there on. */
  lba: number;
  piece: number;
  remaining: number;
  /** Sectors to a data request. */
  blockSectors: number;
  /** Translation in force. */
  heads: number;
  sectors: number;
  multiple: number;
  dmaMode: number;
  writeCache: boolean;
  lookAhead: boolean;
  /** A software reset brings the power-on defaults of features back. */
  revert: boolean;
  /** Sectors that the guest may address, now and after a reset (Set Max). */
  capacity: number;
  lastingCapacity: number;
  /** Read Native Max was the last command, so that Set Max means the address. */
  nativeMaxRead: boolean;
  /** What Write Buffer wrote. */
  sectorBuffer: Uint8Array;
}

/** What a disk is wired to. */
export interface AtaDiskDeps {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly unit: 0 | 1;
  /** INTRQ or the request for DMA may have changed. */
  readonly changed: () => void;
}

/** The disk. Commands stand in `ata-commands.ts`; whatever is missing there or here is aborted. */
export class AtaDisk implements AtaDevice {
  readonly port: AtaInterface;
  private readonly deps: AtaDiskDeps;
  private readonly power: AtaPower;
  private readonly smart = new AtaSmart();
  /** Sectors of the medium. */
  private readonly native: number;
  private s: Omit<AtaDiskState, "port" | "power" | "smart">;

  constructor(deps: AtaDiskDeps) {
    this.deps = deps;
    this.native = Math.floor(deps.disk.backend.size / SECTOR);
    this.power = new AtaPower(deps.clock);
    this.port = new AtaInterface({ clock: deps.clock, changed: deps.changed, dataDone: () => this.dataDone() });
    this.s = this.powerOn(this.native);
    this.endReset();
  }

  private powerOn(capacity: number): Omit<AtaDiskState, "port" | "power" | "smart"> {
    const { heads, sectors } = this.deps.disk.geometry;
    return {
      command: 0,
      activity: "idle",
      lba: 0,
      piece: 0,
      remaining: 0,
      blockSectors: 1,
      heads,
      sectors,
      multiple: 0,
      dmaMode: DEFAULT_DMA_MODE,
      writeCache: true,
      lookAhead: true,
      revert: false,
      capacity,
      lastingCapacity: capacity,
      nativeMaxRead: false,
      sectorBuffer: new Uint8Array(SECTOR),
    };
  }

  // --- reset ---------------------------------------------------------------------------------------------------------

  private abandon(): void {
    this.port.abandon();
    this.s.activity = "idle";
  }

  beginReset(): void {
    this.abandon();
    this.port.s.status = ATA_STATUS.BSY;
    this.port.setIrq(false);
  }

  endReset(): void {
    const { s } = this;
    const registers = this.port.s;
    registers.error = DIAGNOSTIC_OK;
    registers.count = 1;
    registers.lbaLow = 1;
    registers.lbaMid = 0;
    registers.lbaHigh = 0;
    registers.device = 0;
    registers.status = READY;
    this.power.softReset();
    s.nativeMaxRead = false;
    if (!s.revert) return;
    s.multiple = 0;
    s.writeCache = true;
    s.lookAhead = true;
  }

  diagnose(report: boolean): void {
    this.abandon();
    this.endReset();
    this.port.setIrq(report);
  }

  reset(): void {
    this.port.reset();
    this.power.reset();
    this.smart.reset();
    this.s = this.powerOn(this.s.lastingCapacity);
    this.endReset();
    this.deps.changed();
  }

  // --- commands ------------------------------------------------------------------------------------------------------

  private get command(): AtaCommand | undefined {
    return ATA_COMMANDS.get(this.s.command);
  }

  execute(opcode: number): void {
    const { s, port } = this;
    // A device that sleeps waits for a reset (8.50).
    if (port.busy || this.power.asleep) return;
    this.abandon();
    port.s.status = READY;
    port.s.error = 0;
    port.setIrq(false);
    s.command = opcode;
    const afterNativeMax = s.nativeMaxRead;
    s.nativeMaxRead = false;
    const { command } = this;
    if (command === undefined) this.abort();
    else this.run(command, afterNativeMax);
  }

  private run(command: AtaCommand, afterNativeMax: boolean): void {
    const { s, port } = this;
    switch (command.operation) {
      case "recalibrate":
        this.power.wake();
        this.complete();
        break;
      case "standby":
      case "idle":
      case "sleep":
        this.power.enter(command.operation, TIMED_POWER.has(s.command) ? port.s.count : undefined);
        // What is cached is on the medium before the disk stops.
        if (command.operation === "idle") this.complete();
        else this.startFlush();
        break;
      case "checkPower":
        port.s.count = this.power.code;
        this.complete();
        break;
      case "seek":
        if (this.findSectors(1)) this.complete();
        break;
      case "read":
      case "write":
      case "verify":
        this.startSectors(command);
        break;
      case "flush":
        this.startFlush();
        break;
      case "identify":
        this.identify();
        break;
      case "readBuffer":
        this.sendSector(s.sectorBuffer);
        break;
      case "writeBuffer":
        port.prepare(SECTOR);
        s.activity = "passing";
        // The host gives the data without being asked by an interrupt (9.8).
        port.requestPio("out", SECTOR, READY);
        break;
      case "initializeParameters":
        this.initializeParameters();
        break;
      case "setMultiple":
        this.setMultiple();
        break;
      case "setFeatures":
        this.setFeatures();
        break;
      case "readNativeMax":
        this.readNativeMax(command);
        break;
      case "setMax":
        if (afterNativeMax) this.setMax();
        else this.abort();
        break;
      case "smart":
        this.runSmart();
        break;
      default:
        // No operation aborts by definition; the others are for packet devices.
        this.abort();
    }
  }

  private complete(): void {
    this.s.activity = "idle";
    this.port.endData();
    this.port.s.status = READY;
    this.port.setIrq(true);
  }

  private fail(error: number, fault = 0): void {
    this.s.activity = "idle";
    this.port.endData();
    this.port.s.error = error;
    this.port.s.status = READY | ATA_STATUS.ERR | fault;
    this.port.setIrq(true);
  }

  private abort(): void {
    this.fail(ATA_ERROR.ABRT);
  }

  /** Give the guest one sector that does not come from the medium. */
  private sendSector(data: Uint8Array): void {
    this.port.prepare(SECTOR).set(data);
    this.s.activity = "passing";
    this.port.requestPio("in", SECTOR, READY);
    this.port.setIrq(true);
  }

  // --- addresses -----------------------------------------------------------------------------------------------------

  private get current(): Geometry {
    const { heads, sectors, capacity } = this.s;
    return { cylinders: Math.min(Math.floor(capacity / (heads * sectors)), 0xffff), heads, sectors };
  }

  /** Sector that the registers address, or -1. */
  private address(): number {
    const { s, port } = this;
    if (this.command?.extended) return port.lba48;
    const head = port.s.device & ATA_DEVICE.HEAD;
    if (port.s.device & ATA_DEVICE.LBA) return ((head << 24) | port.lba24) >>> 0;
    const sector = port.s.lbaLow;
    if (sector === 0 || sector > s.sectors || head >= s.heads) return -1;
    return ((port.lba24 >> 8) * s.heads + head) * s.sectors + sector - 1;
  }

  /** Show a sector, the one at which a command ended, in the way in which the command addressed it. */
  private showAddress(lba: number): void {
    const { s, port } = this;
    if (this.command?.extended) {
      port.showLba48(lba);
      return;
    }
    let head = Math.floor(lba / 2 ** 24) & ATA_DEVICE.HEAD;
    if (port.s.device & ATA_DEVICE.LBA) {
      port.showLba24(lba % 2 ** 24);
    } else {
      head = Math.floor(lba / s.sectors) % s.heads;
      const cylinder = Math.floor(lba / (s.sectors * s.heads)) & 0xffff;
      port.showLba24((cylinder << 8) | ((lba % s.sectors) + 1));
    }
    port.s.device = (port.s.device & ~ATA_DEVICE.HEAD) | head;
  }

  /** Address `total` sectors from the registers on. Fails the command when they are not all there. */
  private findSectors(total: number): boolean {
    const lba = this.address();
    this.power.wake();
    if (lba < 0 || lba + total > this.s.capacity) {
      if (lba >= 0) this.showAddress(Math.max(lba, this.s.capacity));
      this.fail(ATA_ERROR.IDNF);
      return false;
    }
    this.s.lba = lba;
    return true;
  }

  // --- sectors -------------------------------------------------------------------------------------------------------

  private startSectors(command: AtaCommand): void {
    const { s, port } = this;
    const total = command.extended ? port.count16 || MAX_SECTORS_EXT : port.s.count || MAX_SECTORS;
    if (command.protocol === "multiple" && s.multiple === 0) {
      this.abort();
      return;
    }
    if (command.operation === "write" && this.deps.disk.backend.readonly) {
      this.fail(ATA_ERROR.ABRT | ATA_ERROR.WP);
      return;
    }
    if (!this.findSectors(total)) return;
    s.remaining = total;
    s.blockSectors = command.protocol === "multiple" ? s.multiple : 1;
    this.startPiece(command, true);
  }

  /** Go on with the next sectors of the command, as many as are asked of the host at once. */
  private startPiece(command: AtaCommand, first: boolean): void {
    const { s, port } = this;
    s.piece = Math.min(s.remaining, MAX_PIECE);
    port.prepare(s.piece * SECTOR);
    if (command.operation !== "write") {
      s.activity = command.operation === "read" ? "reading" : "verifying";
      this.startWork();
      return;
    }
    s.activity = "passing";
    if (command.protocol === "dma") port.requestDma("dmaOut", READY);
    else this.requestBlock("out", !first);
  }

  private requestBlock(direction: "in" | "out", interrupt: boolean): void {
    this.port.requestPio(direction, this.s.blockSectors * SECTOR, READY);
    if (interrupt) this.port.setIrq(true);
  }

  /** The piece is where it belongs. */
  private endPiece(command: AtaCommand): void {
    const { s } = this;
    s.lba += s.piece;
    s.remaining -= s.piece;
    if (s.remaining > 0) {
      this.startPiece(command, false);
      return;
    }
    this.showAddress(s.lba - 1);
    this.port.s.count = 0;
    // The last data request of a PIO read was announced before its data passed.
    if (command.operation !== "read" || command.protocol === "dma") {
      this.complete();
      return;
    }
    s.activity = "idle";
    this.port.s.status = READY;
  }

  /** Start, or start again after a restore, what the activity needs from the host. */
  private startWork(): void {
    const { s, port } = this;
    const { command } = this;
    if (command === undefined) return;
    const { backend } = this.deps.disk;
    const data = port.s.buffer.subarray(0, port.s.length);
    const offset = s.lba * SECTOR;
    const latency = COMMAND_LATENCY + (port.s.length / SECTOR) * SECTOR_LATENCY;
    const failed = (error: number, fault: number) => (): void => {
      this.showAddress(s.lba);
      this.fail(error, fault);
    };
    const readFailed = failed(ATA_ERROR.UNC, 0);
    const writeFailed = failed(ATA_ERROR.ABRT, ATA_STATUS.DF);
    switch (s.activity) {
      case "reading":
        port.work(backend.read(offset, data), latency, () => this.hasRead(command), readFailed);
        break;
      case "verifying":
        port.work(backend.read(offset, data), latency, () => this.endPiece(command), readFailed);
        break;
      case "writing": {
        const write = backend.write(offset, data);
        const work = s.writeCache ? write : write.then(() => backend.flush());
        port.work(work, latency, () => this.endPiece(command), writeFailed);
        break;
      }
      case "flushing":
        port.work(backend.flush(), latency, () => this.complete(), writeFailed);
        break;
    }
  }

  private hasRead(command: AtaCommand): void {
    this.s.activity = "passing";
    if (command.protocol === "dma") this.port.requestDma("dmaIn", READY);
    else this.requestBlock("in", true);
  }

  private startFlush(): void {
    this.port.prepare(0);
    this.s.lba = 0;
    this.s.activity = "flushing";
    this.startWork();
  }

  /** The data request is served. */
  private dataDone(): void {
    const { s, port } = this;
    const { command } = this;
    if (command === undefined) return;
    const { operation } = command;
    const { position, length } = port.s;
    if (operation === "read" && position < length) {
      this.requestBlock("in", true);
    } else if (operation === "write" && position < length) {
      this.requestBlock("out", true);
    } else if (operation === "read") {
      this.endPiece(command);
    } else if (operation === "write") {
      s.activity = "writing";
      this.startWork();
    } else if (operation === "writeBuffer") {
      s.sectorBuffer.set(port.s.buffer.subarray(0, SECTOR));
      this.complete();
    } else {
      s.activity = "idle";
      port.s.status = READY;
    }
  }

  // --- commands about the disk itself --------------------------------------------------------------------------------

  private identify(): void {
    const { s, current } = this;
    const { model, serial, geometry } = this.deps.disk;
    const sector = new Uint8Array(IDENTITY_BYTES);
    identify(sector, {
      unit: this.deps.unit,
      model,
      serial,
      geometry,
      current,
      sectors: s.capacity,
      multiple: s.multiple,
      dmaMode: s.dmaMode,
      writeCache: s.writeCache,
      lookAhead: s.lookAhead,
      smart: this.smart.enabled,
    });
    this.sendSector(sector);
  }

  private initializeParameters(): void {
    const { s, port } = this;
    if (port.s.count === 0) {
      this.abort();
      return;
    }
    s.heads = (port.s.device & ATA_DEVICE.HEAD) + 1;
    s.sectors = port.s.count;
    this.complete();
  }

  private setMultiple(): void {
    const { count } = this.port.s;
    const powerOfTwo = (count & (count - 1)) === 0;
    if (count > MAX_MULTIPLE || !powerOfTwo) {
      this.abort();
      return;
    }
    this.s.multiple = count;
    this.complete();
  }

  private readNativeMax(command: AtaCommand): void {
    const last = this.native - 1;
    this.s.nativeMaxRead = true;
    this.showAddress(command.extended ? last : Math.min(last, MAX_LBA28));
    this.complete();
  }

  private setMax(): void {
    const { s, port } = this;
    const last = this.address();
    if (last < 0 || last >= this.native) {
      this.fail(ATA_ERROR.IDNF);
      return;
    }
    s.capacity = last + 1;
    if (port.s.count & NON_VOLATILE) s.lastingCapacity = s.capacity;
    this.showAddress(last);
    this.complete();
  }

  private runSmart(): void {
    const result = this.smart.execute(this.port.s, this.deps.clock.now());
    if (result === "abort") this.abort();
    else if (result === "done") this.complete();
    else this.sendSector(result);
  }

  private setFeatures(): void {
    const { s, port } = this;
    const { features, count } = port.s;
    switch (features) {
      case ATA_FEATURE.WRITE_CACHE_ON:
      case ATA_FEATURE.WRITE_CACHE_OFF:
        s.writeCache = features === ATA_FEATURE.WRITE_CACHE_ON;
        if (s.writeCache) this.complete();
        else this.startFlush();
        break;
      case ATA_FEATURE.READ_LOOK_AHEAD_ON:
      case ATA_FEATURE.READ_LOOK_AHEAD_OFF:
        s.lookAhead = features === ATA_FEATURE.READ_LOOK_AHEAD_ON;
        this.complete();
        break;
      case ATA_FEATURE.REVERT:
      case ATA_FEATURE.NO_REVERT:
        s.revert = features === ATA_FEATURE.REVERT;
        this.complete();
        break;
      case ATA_FEATURE.TRANSFER_MODE:
        if (!isTransferMode(count)) {
          this.abort();
          break;
        }
        if (isDmaMode(count)) s.dmaMode = count;
        this.complete();
        break;
      default:
        this.abort();
    }
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  state(): AtaDiskState {
    return {
      ...copyPlain(this.s),
      port: this.port.state(this.s.activity === "writing"),
      power: this.power.state(),
      smart: this.smart.state(),
    };
  }

  /** Host work that was under way begins again and ends at the hour at which it would have ended. */
  restore(state: AtaDiskState): void {
    const { port, power, smart, ...rest } = state;
    this.port.restore(port);
    this.power.restore(power);
    this.smart.restore(smart);
    this.s = copyPlain(rest);
    if (port.due >= 0) this.startWork();
  }
}
