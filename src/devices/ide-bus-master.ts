/**
 * Bus-master engine of one IDE channel: moves data between the selected device and the regions of guest memory that a
 * table of descriptors names. 82371AB (PIIX4) 2.7 and SFF-8038i; the data pass in pieces as large as a region is.
 */
import { copyPlain } from "../common/plain.ts";
import type { AccessSize, GuestMemory, PortDevice } from "../hypervisor/device.ts";

/** Offsets (82371AB 2.7): eight ports a channel. */
const REG = { COMMAND: 0, STATUS: 2, TABLE: 4, COUNT: 8 } as const;
const COMMAND = { START: 1 << 0, TO_MEMORY: 1 << 3 } as const;
const STATUS = { ACTIVE: 1 << 0, ERROR: 1 << 1, INTERRUPT: 1 << 2, DRIVE_CAPABLE: 3 << 5 } as const;
/** Physical region descriptor: address, then byte count with 0 for 64 KB, and a mark on the last one (82371AB 5.2.3). */
const PRD = { SIZE: 8, COUNT: 4, COUNT_MASK: 0xfffe, MAX_COUNT: 0x10000, END_OF_TABLE: 2 ** 31 } as const;

/** The device that is selected, as its DMA request. */
export interface DmaTarget {
  /** Bytes that wait to go to memory ("dmaIn"), or that are to be filled from it ("dmaOut"). */
  dmaData(): Uint8Array | undefined;
  /** Its first `bytes` have been moved. */
  moved(bytes: number): void;
  readonly s: { readonly phase: string };
}

/** State of the engine. */
export interface BusMasterState {
  command: number;
  status: number;
  /** Address of the table, as the guest wrote it. */
  table: number;
  /** Next descriptor. */
  next: number;
  /** What is left of the current region. */
  address: number;
  left: number;
  /** The current region is the last. */
  last: boolean;
  /** The PCI function may be a master. */
  enabled: boolean;
}

function powerOn(): BusMasterState {
  return { command: 0, status: 0, table: 0, next: 0, address: 0, left: 0, last: false, enabled: true };
}

/** What the engine is wired to. */
export interface BusMasterDeps {
  readonly memory: GuestMemory;
  /** The device whose DMA request the channel sees, if any. */
  readonly target: () => DmaTarget | undefined;
}

/** The engine; eight ports at BAR 4 of the IDE function. */
export class BusMaster implements PortDevice {
  private readonly deps: BusMasterDeps;
  private s: BusMasterState = powerOn();
  private interruptLevel = false;
  private pumping = false;

  constructor(deps: BusMasterDeps) {
    this.deps = deps;
  }

  /** The Bus Master Enable bit of the PCI function: without it requests wait. On after a reset. */
  setEnabled(enabled: boolean): void {
    this.s.enabled = enabled;
    this.pump();
  }

  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.readByte(offset + i) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.writeByte(offset + i, (value >>> (8 * i)) & 0xff);
  }

  private readByte(offset: number): number {
    const { s } = this;
    switch (offset) {
      case REG.COMMAND:
        return s.command;
      case REG.STATUS:
        return s.status;
      default:
        return offset >= REG.TABLE && offset < REG.COUNT ? (s.table >>> (8 * (offset - REG.TABLE))) & 0xff : 0;
    }
  }

  private writeByte(offset: number, byte: number): void {
    const { s } = this;
    if (offset === REG.COMMAND) {
      this.writeCommand(byte);
    } else if (offset === REG.STATUS) {
      s.status &= ~(byte & (STATUS.ERROR | STATUS.INTERRUPT));
      s.status = (s.status & ~STATUS.DRIVE_CAPABLE) | (byte & STATUS.DRIVE_CAPABLE);
    } else if (offset >= REG.TABLE && offset < REG.COUNT) {
      const shift = 8 * (offset - REG.TABLE);
      // The table lies on a double word.
      s.table = ((s.table & ~(0xff << shift)) | ((byte << shift) & ~3)) >>> 0;
    }
  }

  private writeCommand(byte: number): void {
    const { s } = this;
    const started = byte & ~s.command & COMMAND.START;
    s.command = byte & (COMMAND.START | COMMAND.TO_MEMORY);
    if ((s.command & COMMAND.START) === 0) {
      // What was under way is lost; it cannot be resumed.
      s.status &= ~STATUS.ACTIVE;
    } else if (started) {
      s.status |= STATUS.ACTIVE;
      s.next = s.table;
      s.left = 0;
      s.last = false;
      this.pump();
    }
  }

  /** INTRQ as it comes from the cable: its rising edge is remembered. */
  setInterrupt(level: boolean): void {
    if (level && !this.interruptLevel) this.s.status |= STATUS.INTERRUPT;
    this.interruptLevel = level;
  }

  /** Move what can be moved: the device has a request, or the engine was started. */
  pump(): void {
    // A device that asks for more while its last data are acknowledged is seen by the loop.
    if (this.pumping) return;
    this.pumping = true;
    while (this.s.enabled && this.s.status & STATUS.ACTIVE && this.step());
    this.pumping = false;
  }

  /** Move as much as a region and a request have in common; false when nothing is to be done. */
  private step(): boolean {
    const { s } = this;
    const { memory } = this.deps;
    const target = this.deps.target();
    // The device's direction counts: with the other one in the command register nothing sensible would come about.
    const data = target?.dmaData();
    if (target === undefined || data === undefined) return false;
    if (s.left === 0) this.nextRegion();
    const count = Math.min(s.left, data.length);
    const piece = data.subarray(0, count);
    if (!memory.answers(s.address, count)) {
      s.status = (s.status & ~STATUS.ACTIVE) | STATUS.ERROR;
      return false;
    }
    if (target.s.phase === "dmaIn") memory.write(s.address, piece);
    else memory.read(s.address, piece);
    s.address += count;
    s.left -= count;
    if (s.left === 0 && s.last) s.status &= ~STATUS.ACTIVE;
    target.moved(count);
    return true;
  }

  private nextRegion(): void {
    const { s } = this;
    const { memory } = this.deps;
    const word = memory.read32(s.next + PRD.COUNT);
    // Regions begin and end on words.
    s.address = (memory.read32(s.next) & ~1) >>> 0;
    s.left = word & PRD.COUNT_MASK || PRD.MAX_COUNT;
    s.last = word >= PRD.END_OF_TABLE;
    s.next = (s.next + PRD.SIZE) >>> 0;
  }

  reset(): void {
    this.s = powerOn();
    this.interruptLevel = false;
  }

  state(): BusMasterState {
    return copyPlain(this.s);
  }

  /** `interrupt`: the level of INTRQ at that moment. */
  restore(state: BusMasterState, interrupt: boolean): void {
    this.s = copyPlain(state);
    this.interruptLevel = interrupt;
  }
}
