/**
 * One ATA fixed disk: its task file, its commands and its PIO transfers. The channel (`ide.ts`) selects it.
 * ATA/ATAPI-5 (T13/1321D); section numbers refer to it.
 */
import { copyPlain } from "../common/plain.ts";
import type { Disk, Geometry } from "../hypervisor/backend.ts";
import type { Clock } from "../hypervisor/clock.ts";
import { ATA_COMMANDS, ATA_DEVICE, ATA_ERROR, ATA_FEATURE, ATA_STATUS, type AtaOperation } from "./ata-commands.ts";
import { identify, MAX_MULTIPLE } from "./ata-identify.ts";

const SECTOR = 512;
const MAX_LBA28 = 0x0fff_ffff;
const MAX_SECTORS = 256;
/** Guest time of a command and of each sector in it, ns. */
const COMMAND_LATENCY = 30_000;
const SECTOR_LATENCY = 500;
const READY = ATA_STATUS.DRDY | ATA_STATUS.DSC;
/** Check Power Mode: active or idle. */
const POWER_ACTIVE = 0xff;
/** Diagnostic code and signature of a disk that works (9.12). */
const DIAGNOSTIC_OK = 0x01;
const NO_BUFFER = new Uint8Array(0);

/** What a disk is doing. */
type Activity = "idle" | "reading" | "writing" | "flushing" | "verifying" | "in" | "out";

/** State of a disk. */
export interface AtaDiskState {
  features: number;
  error: number;
  count: number;
  sector: number;
  cylinderLow: number;
  cylinderHigh: number;
  device: number;
  status: number;
  /** INTRQ, as long as this disk is selected. */
  irq: boolean;
  /** Translation in force. */
  heads: number;
  sectors: number;
  multiple: number;
  writeCache: boolean;
  lookAhead: boolean;
  activity: Activity;
  operation: AtaOperation;
  /** First sector of the command. */
  lba: number;
  /** Data of the command; `length` bytes count, `position` of them have passed, the data request ends at `blockEnd`. */
  buffer: Uint8Array;
  length: number;
  position: number;
  blockEnd: number;
  blockSectors: number;
  /** What Write Buffer wrote. */
  sectorBuffer: Uint8Array;
  /** Guest time at which host work is done, or -1. */
  due: number;
}

/** What a disk is wired to. */
export interface AtaDiskDeps {
  readonly clock: Clock;
  readonly disk: Disk;
  /** `irq` may have changed. */
  readonly changed: () => void;
}

/** The disk. Commands stand in `ata-commands.ts`; whatever is missing there is aborted. */
export class AtaDisk {
  private readonly deps: AtaDiskDeps;
  private readonly capacity: number;
  private s: AtaDiskState;
  /** Counts commands, so that host work of an aborted one is recognized when it comes in. */
  private epoch = 0;

  constructor(deps: AtaDiskDeps) {
    this.deps = deps;
    this.capacity = Math.min(Math.floor(deps.disk.backend.size / SECTOR), MAX_LBA28);
    this.s = this.powerOn();
  }

  private powerOn(): AtaDiskState {
    const { geometry } = this.deps.disk;
    return {
      features: 0,
      error: DIAGNOSTIC_OK,
      count: 1,
      sector: 1,
      cylinderLow: 0,
      cylinderHigh: 0,
      device: 0,
      status: READY,
      irq: false,
      heads: geometry.heads,
      sectors: geometry.sectors,
      multiple: 0,
      writeCache: true,
      lookAhead: true,
      activity: "idle",
      operation: "nonData",
      lba: 0,
      buffer: NO_BUFFER,
      length: 0,
      position: 0,
      blockEnd: 0,
      blockSectors: 1,
      sectorBuffer: new Uint8Array(SECTOR),
      due: -1,
    };
  }

  /** The task file as the channel reads and writes it; writes while the disk is busy are lost (7.2). */
  get registers(): Readonly<AtaDiskState> {
    return this.s;
  }

  get irq(): boolean {
    return this.s.irq;
  }

  /** Write one of the registers that both disks of a channel latch. */
  writeRegister(
    register: "features" | "count" | "sector" | "cylinderLow" | "cylinderHigh" | "device",
    byte: number,
  ): void {
    if ((this.s.status & ATA_STATUS.BSY) === 0) this.s[register] = byte;
  }

  private setIrq(level: boolean): void {
    this.s.irq = level;
    this.deps.changed();
  }

  /** Reading Status takes the interrupt back. */
  readStatus(): number {
    if (this.s.irq) this.setIrq(false);
    return this.s.status;
  }

  // --- reset ---------------------------------------------------------------------------------------------------------

  private abandon(): void {
    this.epoch++;
    const { s } = this;
    // Host work under way may still use the old buffer.
    if (s.due >= 0) s.buffer = NO_BUFFER;
    s.due = -1;
    s.activity = "idle";
  }

  /** SRST was set: busy until {@link endReset}. */
  beginReset(): void {
    this.abandon();
    this.s.status = ATA_STATUS.BSY;
    this.setIrq(false);
  }

  /** Put the signature of a disk into the task file (9.12): after a reset or diagnostics. */
  endReset(): void {
    const { s } = this;
    s.error = DIAGNOSTIC_OK;
    s.count = 1;
    s.sector = 1;
    s.cylinderLow = 0;
    s.cylinderHigh = 0;
    s.device = 0;
    s.status = READY;
  }

  /** Execute Device Diagnostic, which both disks of a channel obey; disk 0 reports its end. */
  diagnose(report: boolean): void {
    this.abandon();
    this.endReset();
    this.setIrq(report);
  }

  reset(): void {
    this.abandon();
    this.s = this.powerOn();
    this.deps.changed();
  }

  // --- commands ------------------------------------------------------------------------------------------------------

  /** A write to the Command register. */
  execute(opcode: number): void {
    const { s } = this;
    if (s.status & ATA_STATUS.BSY) return;
    this.abandon();
    s.status = READY;
    s.error = 0;
    s.irq = false;
    const operation = ATA_COMMANDS.get(opcode);
    if (operation === undefined) {
      this.abort();
      return;
    }
    s.operation = operation;
    this.deps.changed();
    this.run(operation);
  }

  private run(operation: AtaOperation): void {
    const { s } = this;
    switch (operation) {
      case "nonData":
      case "diagnostic":
        this.complete();
        break;
      case "checkPower":
        s.count = POWER_ACTIVE;
        this.complete();
        break;
      case "seek":
        if (this.findSectors(1)) this.complete();
        break;
      case "read":
        this.startRead("reading", 1);
        break;
      case "readMultiple":
        if (s.multiple === 0) this.abort();
        else this.startRead("reading", s.multiple);
        break;
      case "verify":
        this.startRead("verifying", 1);
        break;
      case "write":
        this.startWrite(1);
        break;
      case "writeMultiple":
        if (s.multiple === 0) this.abort();
        else this.startWrite(s.multiple);
        break;
      case "flush":
        this.startFlush();
        break;
      case "identify":
        this.identify();
        break;
      case "readBuffer":
        this.prepare(1, 1).set(s.sectorBuffer);
        this.requestData("in", true);
        break;
      case "writeBuffer":
        this.prepare(1, 1);
        this.requestData("out", false);
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
    }
  }

  private complete(): void {
    this.s.activity = "idle";
    this.s.status = READY;
    this.setIrq(true);
  }

  private fail(error: number, fault = 0): void {
    const { s } = this;
    s.activity = "idle";
    s.error = error;
    s.status = READY | ATA_STATUS.ERR | fault;
    this.setIrq(true);
  }

  private abort(): void {
    this.fail(ATA_ERROR.ABRT);
  }

  // --- addresses -----------------------------------------------------------------------------------------------------

  private get current(): Geometry {
    const { heads, sectors } = this.s;
    return { cylinders: Math.min(Math.floor(this.capacity / (heads * sectors)), 0xffff), heads, sectors };
  }

  /** Sector that the task file addresses, or -1. */
  private address(): number {
    const { s } = this;
    const cylinder = (s.cylinderHigh << 8) | s.cylinderLow;
    const head = s.device & ATA_DEVICE.HEAD;
    if (s.device & ATA_DEVICE.LBA) return ((head << 24) | (cylinder << 8) | s.sector) >>> 0;
    if (s.sector === 0 || s.sector > s.sectors || head >= s.heads) return -1;
    return (cylinder * s.heads + head) * s.sectors + s.sector - 1;
  }

  /** Show the sector at which a command ended. */
  private showAddress(lba: number): void {
    const { s } = this;
    let cylinder = (lba >>> 8) & 0xffff;
    let head = (lba >>> 24) & ATA_DEVICE.HEAD;
    s.sector = lba & 0xff;
    if ((s.device & ATA_DEVICE.LBA) === 0) {
      s.sector = (lba % s.sectors) + 1;
      head = Math.floor(lba / s.sectors) % s.heads;
      cylinder = Math.floor(lba / (s.sectors * s.heads)) & 0xffff;
    }
    s.cylinderLow = cylinder & 0xff;
    s.cylinderHigh = cylinder >> 8;
    s.device = (s.device & ~ATA_DEVICE.HEAD) | head;
  }

  /** Address `total` sectors from the task file on. Fails the command when they are not all there. */
  private findSectors(total: number): boolean {
    const lba = this.address();
    if (lba < 0 || lba + total > this.capacity) {
      if (lba >= 0) this.showAddress(Math.max(lba, this.capacity));
      this.fail(ATA_ERROR.IDNF);
      return false;
    }
    this.s.lba = lba;
    return true;
  }

  /** Buffer for `total` sectors of this command, `blockSectors` of them to each data request. */
  private prepare(total: number, blockSectors: number): Uint8Array {
    const { s } = this;
    s.length = total * SECTOR;
    s.position = 0;
    s.blockEnd = 0;
    s.blockSectors = blockSectors;
    if (s.buffer.length < s.length) s.buffer = new Uint8Array(s.length);
    return s.buffer;
  }

  // --- host work -----------------------------------------------------------------------------------------------------

  private work(promise: Promise<void>, done: () => void, failed: () => void): void {
    const { s, epoch } = this;
    const now = this.deps.clock.now();
    s.status = ATA_STATUS.BSY;
    if (s.due < 0) s.due = now + COMMAND_LATENCY + (s.length / SECTOR) * SECTOR_LATENCY;
    this.deps.clock.complete(promise, Math.max(0, s.due - now), (_result, error) => {
      if (epoch !== this.epoch) return;
      this.s.due = -1;
      if (error === undefined) done();
      else failed();
    });
  }

  /** Start, or start again after a restore, what the activity needs from the host. */
  private startWork(): void {
    const { s } = this;
    const { backend } = this.deps.disk;
    const data = s.buffer.subarray(0, s.length);
    const offset = s.lba * SECTOR;
    const readFailed = (): void => {
      this.showAddress(s.lba);
      this.fail(ATA_ERROR.UNC);
    };
    const writeFailed = (): void => {
      this.showAddress(s.lba);
      this.fail(ATA_ERROR.ABRT, ATA_STATUS.DF);
    };
    switch (s.activity) {
      case "reading":
        this.work(backend.read(offset, data), () => this.requestData("in", true), readFailed);
        break;
      case "verifying":
        this.work(backend.read(offset, data), () => this.finishSectors(true), readFailed);
        break;
      case "writing": {
        const write = backend.write(offset, data);
        this.work(
          s.writeCache ? write : write.then(() => backend.flush()),
          () => this.finishSectors(true),
          writeFailed,
        );
        break;
      }
      case "flushing":
        this.work(backend.flush(), () => this.complete(), writeFailed);
        break;
    }
  }

  private startRead(activity: "reading" | "verifying", blockSectors: number): void {
    const { s } = this;
    const total = s.count || MAX_SECTORS;
    if (!this.findSectors(total)) return;
    this.prepare(total, blockSectors);
    s.activity = activity;
    this.startWork();
  }

  private startWrite(blockSectors: number): void {
    const total = this.s.count || MAX_SECTORS;
    if (this.deps.disk.backend.readonly) {
      this.fail(ATA_ERROR.ABRT | ATA_ERROR.WP);
      return;
    }
    if (!this.findSectors(total)) return;
    this.prepare(total, blockSectors);
    // The host gives the first block without being asked by an interrupt (9.8).
    this.requestData("out", false);
  }

  private startFlush(): void {
    const { s } = this;
    s.length = 0;
    s.lba = 0;
    s.activity = "flushing";
    this.startWork();
  }

  /** All sectors are done: show where the command ended. */
  private finishSectors(interrupt: boolean): void {
    const { s } = this;
    this.showAddress(s.lba + s.length / SECTOR - 1);
    s.count = 0;
    s.activity = "idle";
    s.status = READY;
    if (interrupt) this.setIrq(true);
  }

  // --- data ----------------------------------------------------------------------------------------------------------

  private requestData(direction: "in" | "out", interrupt: boolean): void {
    const { s } = this;
    s.activity = direction;
    s.blockEnd = Math.min(s.length, s.position + s.blockSectors * SECTOR);
    s.status = READY | ATA_STATUS.DRQ;
    if (interrupt) this.setIrq(true);
  }

  /** The data request is served. */
  private endBlock(): void {
    const { s } = this;
    if (s.position < s.length) {
      this.requestData(s.activity as "in" | "out", true);
    } else if (s.operation === "writeBuffer") {
      s.sectorBuffer.set(s.buffer.subarray(0, SECTOR));
      this.complete();
    } else if (s.activity === "out") {
      s.activity = "writing";
      this.startWork();
    } else if (s.operation === "read" || s.operation === "readMultiple") {
      this.finishSectors(false);
    } else {
      s.activity = "idle";
      s.status = READY;
    }
  }

  /** Read `size` bytes from the data register; all ones without a data request. */
  readData(size: number): number {
    const { s } = this;
    if (s.activity !== "in") return size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1;
    const at = s.position;
    const { buffer } = s;
    let value = buffer[at]!;
    if (size > 1) value |= (buffer[at + 1] ?? 0) << 8;
    if (size > 2) value |= ((buffer[at + 2] ?? 0) << 16) | ((buffer[at + 3] ?? 0) << 24);
    this.advance(size);
    return value >>> 0;
  }

  /** Write `size` bytes to the data register; lost without a data request. */
  writeData(size: number, value: number): void {
    const { s } = this;
    if (s.activity !== "out") return;
    for (let i = 0; i < size && s.position + i < s.blockEnd; i++) s.buffer[s.position + i] = (value >>> (8 * i)) & 0xff;
    this.advance(size);
  }

  private advance(size: number): void {
    const { s } = this;
    s.position = Math.min(s.position + size, s.blockEnd);
    if (s.position === s.blockEnd) this.endBlock();
  }

  /** INS from the data register. */
  readString(target: Uint8Array): void {
    const { s } = this;
    let done = 0;
    while (done < target.length && s.activity === "in") {
      const count = Math.min(target.length - done, s.blockEnd - s.position);
      target.set(s.buffer.subarray(s.position, s.position + count), done);
      done += count;
      this.advance(count);
    }
    target.fill(0xff, done);
  }

  /** OUTS to the data register. */
  writeString(source: Uint8Array): void {
    const { s } = this;
    let done = 0;
    while (done < source.length && s.activity === "out") {
      const count = Math.min(source.length - done, s.blockEnd - s.position);
      s.buffer.set(source.subarray(done, done + count), s.position);
      done += count;
      this.advance(count);
    }
  }

  // --- commands about the disk itself --------------------------------------------------------------------------------

  private identify(): void {
    const { s } = this;
    const { model, serial, geometry } = this.deps.disk;
    const { current, capacity } = this;
    const { multiple, writeCache, lookAhead } = s;
    identify(this.prepare(1, 1), {
      model,
      serial,
      geometry,
      current,
      sectors: capacity,
      multiple,
      writeCache,
      lookAhead,
    });
    this.requestData("in", true);
  }

  private initializeParameters(): void {
    const { s } = this;
    if (s.count === 0) {
      this.abort();
      return;
    }
    s.heads = (s.device & ATA_DEVICE.HEAD) + 1;
    s.sectors = s.count;
    this.complete();
  }

  private setMultiple(): void {
    const { s } = this;
    const powerOfTwo = (s.count & (s.count - 1)) === 0;
    if (s.count > MAX_MULTIPLE || !powerOfTwo) {
      this.abort();
      return;
    }
    s.multiple = s.count;
    this.complete();
  }

  private setFeatures(): void {
    const { s } = this;
    switch (s.features) {
      case ATA_FEATURE.WRITE_CACHE_ON:
      case ATA_FEATURE.WRITE_CACHE_OFF:
        s.writeCache = s.features === ATA_FEATURE.WRITE_CACHE_ON;
        if (s.writeCache) this.complete();
        else this.startFlush();
        break;
      case ATA_FEATURE.READ_LOOK_AHEAD_ON:
      case ATA_FEATURE.READ_LOOK_AHEAD_OFF:
        s.lookAhead = s.features === ATA_FEATURE.READ_LOOK_AHEAD_ON;
        this.complete();
        break;
      case ATA_FEATURE.REVERT:
      case ATA_FEATURE.NO_REVERT:
        this.complete();
        break;
      case ATA_FEATURE.TRANSFER_MODE:
        // PIO default modes (0, 1) and PIO flow control modes 0–4 (8–12); no DMA here.
        if (s.count <= 1 || (s.count >= 8 && s.count <= 12)) this.complete();
        else this.abort();
        break;
      default:
        this.abort();
    }
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  state(): AtaDiskState {
    const data = this.s.activity === "idle" ? 0 : this.s.length;
    const { buffer, ...rest } = this.s;
    return { ...copyPlain(rest), buffer: buffer.slice(0, data) };
  }

  /** Host work that was under way begins again and ends at the hour at which it would have ended. */
  restore(state: AtaDiskState): void {
    this.epoch++;
    this.s = copyPlain(state);
    if (this.s.buffer.length < this.s.length) {
      const buffer = new Uint8Array(this.s.length);
      buffer.set(this.s.buffer);
      this.s.buffer = buffer;
    }
    if (this.s.due >= 0) this.startWork();
  }
}
