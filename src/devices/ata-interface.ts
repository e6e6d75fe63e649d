/**
 * The half of an ATA device that is the same in disks and packet devices: the command block registers, INTRQ, data
 * requests by PIO and DMA, and host work that ends at an hour of guest time. What commands mean is its owner's.
 * ATA/ATAPI-6 (T13/1410D); section numbers refer to it.
 */
import { copyPlain } from "../common/plain.ts";
import type { Clock } from "../hypervisor/clock.ts";
import { ATA_STATUS } from "./ata-commands.ts";

/** Registers with a second, older byte behind them that HOB shows (6.2.1). */
export interface AtaAddressRegisters {
  features: number;
  count: number;
  lbaLow: number;
  lbaMid: number;
  lbaHigh: number;
}

/** Where the data of a command are: nowhere, or on their way through the data register or the bus master. */
export type DataPhase = "none" | "in" | "out" | "dmaIn" | "dmaOut";

/** State of the interface. */
export interface AtaInterfaceState extends AtaAddressRegisters {
  /** What the last write to each register replaced. */
  previous: AtaAddressRegisters;
  error: number;
  device: number;
  status: number;
  /** INTRQ, as long as this device is selected. */
  irq: boolean;
  phase: DataPhase;
  /** Data of the command; `length` bytes count, `position` of them have passed, the data request ends at `blockEnd`. */
  buffer: Uint8Array;
  length: number;
  position: number;
  blockEnd: number;
  /** Guest time at which host work is done, or -1. */
  due: number;
}

/** What the interface is wired to. */
export interface AtaInterfaceDeps {
  readonly clock: Clock;
  /** INTRQ or the request for DMA may have changed. */
  readonly changed: () => void;
  /** All data up to the end of the data request have passed. */
  readonly dataDone: () => void;
}

const NO_BUFFER = new Uint8Array(0);

export class AtaInterface {
  /** Registers, data and progress; the owner reads and writes them freely. */
  s: AtaInterfaceState;
  private readonly deps: AtaInterfaceDeps;
  /** Counts commands, so that host work of an aborted one is recognized when it comes in. */
  private epoch = 0;

  constructor(deps: AtaInterfaceDeps) {
    this.deps = deps;
    this.s = powerOn();
  }

  get busy(): boolean {
    return (this.s.status & ATA_STATUS.BSY) !== 0;
  }

  /** A write to one of the registers that both devices of a channel latch; while the device is busy it is lost (7.2). */
  writeRegister(register: keyof AtaAddressRegisters | "device", byte: number): void {
    const { s } = this;
    if (this.busy) return;
    if (register !== "device") s.previous[register] = s[register];
    s[register] = byte;
  }

  setIrq(level: boolean): void {
    this.s.irq = level;
    this.deps.changed();
  }

  /** Reading Status takes the interrupt back (7.14.5). */
  readStatus(): number {
    if (this.s.irq) this.setIrq(false);
    return this.s.status;
  }

  // --- 48-bit registers ----------------------------------------------------------------------------------------------

  /** The 16-bit count of an extended command. */
  get count16(): number {
    return (this.s.previous.count << 8) | this.s.count;
  }

  /** The 48-bit address of an extended command. */
  get lba48(): number {
    const { previous } = this.s;
    return ((previous.lbaHigh << 16) | (previous.lbaMid << 8) | previous.lbaLow) * 2 ** 24 + this.lba24;
  }

  /** What the three address registers hold. */
  get lba24(): number {
    const { s } = this;
    return (s.lbaHigh << 16) | (s.lbaMid << 8) | s.lbaLow;
  }

  /** Show a 48-bit address. */
  showLba48(lba: number): void {
    this.showLba24(lba % 2 ** 24);
    const high = Math.floor(lba / 2 ** 24);
    const { previous } = this.s;
    previous.lbaLow = high & 0xff;
    previous.lbaMid = (high >>> 8) & 0xff;
    previous.lbaHigh = (high >>> 16) & 0xff;
  }

  /** Show the low 24 bits of an address. */
  showLba24(lba: number): void {
    const { s } = this;
    s.lbaLow = lba & 0xff;
    s.lbaMid = (lba >>> 8) & 0xff;
    s.lbaHigh = (lba >>> 16) & 0xff;
  }

  // --- data ----------------------------------------------------------------------------------------------------------

  /** Room for `length` bytes of a command's data, none of which have passed. */
  prepare(length: number): Uint8Array {
    const { s } = this;
    s.length = length;
    s.position = 0;
    s.blockEnd = 0;
    if (s.buffer.length < length) s.buffer = new Uint8Array(length);
    return s.buffer.subarray(0, length);
  }

  /** Ask for the next `bytes` through the data register, with `status` bits beside DRQ. */
  requestPio(direction: "in" | "out", bytes: number, status: number): void {
    const { s } = this;
    s.phase = direction;
    s.blockEnd = Math.min(s.length, s.position + bytes);
    s.status = status | ATA_STATUS.DRQ;
  }

  /** Ask the bus master for all data that have not passed (DMARQ). */
  requestDma(direction: "dmaIn" | "dmaOut", status: number): void {
    const { s } = this;
    s.phase = direction;
    s.blockEnd = s.length;
    s.status = status | ATA_STATUS.DRQ;
    this.deps.changed();
  }

  /** No data are asked for. */
  endData(): void {
    this.s.phase = "none";
  }

  /** The bytes that the bus master is to move: out of them for "dmaIn", into them for "dmaOut". */
  dmaData(): Uint8Array | undefined {
    const { s } = this;
    if (s.phase !== "dmaIn" && s.phase !== "dmaOut") return undefined;
    return s.buffer.subarray(s.position, s.blockEnd);
  }

  /** The bus master has moved the first `bytes` of {@link dmaData}. */
  moved(bytes: number): void {
    const { s } = this;
    s.position = Math.min(s.position + bytes, s.blockEnd);
    if (s.position < s.blockEnd) return;
    s.phase = "none";
    this.deps.dataDone();
  }

  /** Read `size` bytes from the data register; all ones without a data request. */
  readData(size: number): number {
    const { s } = this;
    if (s.phase !== "in") return size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1;
    const { buffer, position } = s;
    let value = buffer[position]!;
    if (size > 1) value |= (buffer[position + 1] ?? 0) << 8;
    if (size > 2) value |= ((buffer[position + 2] ?? 0) << 16) | ((buffer[position + 3] ?? 0) << 24);
    this.moved(size);
    return value >>> 0;
  }

  /** Write `size` bytes to the data register; lost without a data request. */
  writeData(size: number, value: number): void {
    const { s } = this;
    if (s.phase !== "out") return;
    for (let i = 0; i < size && s.position + i < s.blockEnd; i++) s.buffer[s.position + i] = (value >>> (8 * i)) & 0xff;
    this.moved(size);
  }

  /** INS from the data register. */
  readString(target: Uint8Array): void {
    const { s } = this;
    let done = 0;
    while (done < target.length && s.phase === "in") {
      const count = Math.min(target.length - done, s.blockEnd - s.position);
      target.set(s.buffer.subarray(s.position, s.position + count), done);
      done += count;
      this.moved(count);
    }
    target.fill(0xff, done);
  }

  /** OUTS to the data register. */
  writeString(source: Uint8Array): void {
    const { s } = this;
    let done = 0;
    while (done < source.length && s.phase === "out") {
      const count = Math.min(source.length - done, s.blockEnd - s.position);
      s.buffer.set(source.subarray(done, done + count), s.position);
      done += count;
      this.moved(count);
    }
  }

  // --- host work -----------------------------------------------------------------------------------------------------

  /**
   * The device is busy until `promise` is settled and `latency` ns have passed; then `done` or `failed` is called. After a
   * restore the hour is that of the original.
   */
  work(promise: Promise<unknown>, latency: number, done: () => void, failed: () => void): void {
    const { s, epoch } = this;
    const now = this.deps.clock.now();
    s.status = ATA_STATUS.BSY;
    s.phase = "none";
    if (s.due < 0) s.due = now + latency;
    this.deps.clock.complete(promise, Math.max(0, s.due - now), (_result, error) => {
      if (epoch !== this.epoch) return;
      this.s.due = -1;
      if (error === undefined) done();
      else failed();
    });
  }

  /** Forget the command: data, host work and all. */
  abandon(): void {
    this.epoch++;
    const { s } = this;
    // Host work under way may still use the old buffer.
    if (s.due >= 0) s.buffer = NO_BUFFER;
    s.due = -1;
    s.phase = "none";
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  /** Power-on state; the owner then puts its signature there. */
  reset(): void {
    this.abandon();
    this.s = powerOn();
  }

  /** `storing`: the host is at work on the data. */
  state(storing: boolean): AtaInterfaceState {
    const { buffer, ...rest } = this.s;
    // What lies behind data that are on their way in is left over from other commands.
    let valid = 0;
    if (rest.phase === "out" || rest.phase === "dmaOut") valid = rest.position;
    else if (rest.phase !== "none" || storing) valid = rest.length;
    return { ...copyPlain(rest), buffer: buffer.slice(0, valid) };
  }

  restore(state: AtaInterfaceState): void {
    this.epoch++;
    this.s = copyPlain(state);
    if (this.s.buffer.length >= this.s.length) return;
    const buffer = new Uint8Array(this.s.length);
    buffer.set(this.s.buffer);
    this.s.buffer = buffer;
  }
}

const noAddress = (): AtaAddressRegisters => ({ features: 0, count: 0, lbaLow: 0, lbaMid: 0, lbaHigh: 0 });

function powerOn(): AtaInterfaceState {
  return {
    ...noAddress(),
    previous: noAddress(),
    error: 0,
    device: 0,
    status: 0,
    irq: false,
    phase: "none",
    buffer: NO_BUFFER,
    length: 0,
    position: 0,
    blockEnd: 0,
    due: -1,
  };
}
