/**
 * What a device is to the hypervisor: an object that answers port and memory accesses at offsets of its own.
 * A device never knows its address, its vector or the processor; lines, clocks and backends are handed to its constructor.
 */

/** Bytes of one access. */
export type AccessSize = 1 | 2 | 4;

/** A device on the I/O port bus. `offset` counts from the start of the range that the machine description gave it. */
export interface PortDevice {
  /** Value read, zero-extended; bits above `size` bytes must be zero. Never throws. */
  read(offset: number, size: AccessSize): number;
  /** `value` is unsigned and already cut to `size` bytes. Never throws. */
  write(offset: number, size: AccessSize, value: number): void;
  /** INS: fill `target` with elements of `size` bytes, little-endian, as that many reads would. Without it the bus loops. */
  readString?(offset: number, size: AccessSize, target: Uint8Array): void;
  /** OUTS: the reverse of {@link readString}; `source` holds whole elements. */
  writeString?(offset: number, size: AccessSize, source: Uint8Array): void;
  /**
   * A device of one port that does nothing but keep the byte written to it: from now on it keeps it in `cell`, one byte
   * of the engine's memory, which may serve the port without it.
   */
  keepIn?(cell: Uint8Array): void;
}

/** A device in guest-physical memory; the same contract as {@link PortDevice}. */
export interface MmioDevice extends PortDevice {
  /** The machine has memory that can stand in for the device: see {@link DirectMemory}. */
  useDirect?(memory: DirectMemory): void;
  /**
   * Whether this access is served without anybody looking at the time: it neither asks for the time nor sets a timer, and
   * nothing that it does calls for an interrupt. Others are not made where they are met: the guest is left before the
   * instruction, the clock set, and the instruction done alone, which costs a microsecond. Absent: no access is immediate.
   */
  immediate?(offset: number, size: AccessSize, write: boolean, value: number): boolean;
}

/** Memory of a device's own, in which the guest may find itself without the device being asked: a frame buffer, say. */
export interface DeviceMemory {
  /** Whole pages of 4 KB. The device reads and writes it as it likes; what it writes itself is not noted. */
  readonly bytes: Uint8Array;
  /**
   * Which pages of `count` from page `first` on the guest, or a bus master, has written since this was last asked of them:
   * sets these bytes of `written` (by page from `first` on) to 1, leaves the others alone, and returns whether there were
   * any. Costs nothing where nothing was written; a page that was costs the guest's next write to it a translation.
   */
  takeWritten(written: Uint8Array, first: number, count: number): boolean;
  /** The device has written `size` bytes at `offset`: if the guest ran code there, it is not what it was. */
  wrote(offset: number, size: number): void;
}

/**
 * Plain memory that the guest may find in place of (a part of) a device, which is then not asked: stores cost nothing, and
 * the device looks at the bytes when it wants to know.
 */
export interface DirectMemory {
  /** By offset in the device. */
  readonly bytes: Uint8Array;
  /** From now on `size` bytes at `offset` are direct; both are whole pages of 4 KB. What was open before is closed. */
  open(offset: number, size: number): void;
  /** The same with other memory than {@link bytes}: what the guest finds at `offset` is `memory` from its byte `from` on. */
  show(offset: number, size: number, memory: DeviceMemory, from: number): void;
  /** The device is asked again. */
  close(): void;
}

/** State that survives save and restore: plain data only (numbers, strings, booleans, arrays, Uint8Array, nested records). */
export interface Stateful<State> {
  /** Power-on state; also what a machine reset does. */
  reset(): void;
  /** A deep copy that later activity does not change. */
  state(): State;
  restore(state: State): void;
}

/** An interrupt request wire. Level semantics: edges are what the controller sees when the level changes. */
export interface InterruptLine {
  set(level: boolean): void;
}

/** Registers of the processor that makes an access, for a device that is asked through them. Values are unsigned. */
export interface ProcessorRegisters {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** The port bus as a bus master or the firmware sees it. */
export interface PortIo {
  in(port: number, size: AccessSize): number;
  out(port: number, size: AccessSize, value: number): void;
}

/**
 * Guest-physical memory as devices, firmware and the builder see it. Addresses outside RAM read as all ones and swallow
 * writes (no access throws); writes through it are seen by the processor, code included.
 */
export interface GuestMemory {
  /** Bytes of RAM at guest-physical 0, the hole at 0xA0000 included. */
  readonly size: number;
  read8(gpa: number): number;
  read16(gpa: number): number;
  /** Unsigned. */
  read32(gpa: number): number;
  write8(gpa: number, value: number): void;
  write16(gpa: number, value: number): void;
  write32(gpa: number, value: number): void;
  /** True when RAM, ROM or a device answers at each of `length` addresses from `gpa` on: a bus master gets no abort. */
  answers(gpa: number, length: number): boolean;
  /** Copy `target.length` bytes out of guest memory. */
  read(gpa: number, target: Uint8Array): void;
  /** Copy `source` into guest memory. */
  write(gpa: number, source: Uint8Array): void;
}

/** A claim on the port bus: ports base … base + count - 1 belong to `device`. */
export interface PortRange {
  /** For messages and traces: "pit", "ide0". */
  readonly name: string;
  readonly base: number;
  readonly count: number;
  readonly device: PortDevice;
  /**
   * Widest access, in bytes, that the device takes in one piece. The bus splits wider ones into accesses of this width at
   * consecutive ports, lowest first. 4 when absent.
   */
  readonly width?: AccessSize;
  /** The device looks at {@link ProcessorRegisters}: the guest is left for each access. */
  readonly usesRegisters?: boolean;
}

/** A claim on guest-physical memory. */
export interface MmioRange {
  readonly name: string;
  readonly base: number;
  readonly size: number;
  readonly device: MmioDevice;
  /** Memory of at least `size` bytes that the guest finds there instead of the device, wherever that can be done. */
  readonly memory?: DeviceMemory;
}

/** Order of a movable claim that is seen before RAM and fixed claims: a page that the processor itself decodes. */
export const OVER_RAM = -2;

/** What the chipset decides about guest-physical memory below 1 MB. Addresses and sizes are multiples of 4 KB. */
export interface ShadowControl {
  /**
   * `size` bytes at `base`, between C0000h and FFFFFh: where reads find them (true: in DRAM, false: in ROM, or nowhere),
   * and whether writes change DRAM or are lost.
   */
  shadow(base: number, size: number, read: boolean, write: boolean): void;
  /** Whether A0000h–BFFFFh shows DRAM in place of the display's memory. */
  openSmram(open: boolean): void;
}

/** Where a movable claim stands. */
export interface Placement {
  /** From now on at `base`; undefined: nowhere. What does not fit below the end of the space is cut off. */
  move(base: number | undefined): void;
}

/**
 * The domain's buses. Claims are made while it is being built: those of devices that stand where they stand are fixed, and
 * throw VmxonError("config") where they overlap; the others move as the guest wants, and where a guest puts them on top of
 * something, fixed ones are seen first, then those with the lower `order`.
 */
export interface IoBus extends PortIo {
  claimPorts(range: PortRange): void;
  claimMmio(range: MmioRange): void;
  /** A range of ports that stands nowhere yet. */
  movablePorts(range: Omit<PortRange, "base">, order: number): Placement;
  movableMmio(range: Omit<MmioRange, "base">, order: number): Placement;
}

/** What stands between interrupt lines and the vCPU: the 8259 pair, or a local APIC before it. */
export interface InterruptController {
  /** Line of an IRQ input, 0–15. Inputs of several devices on one line are OR-ed. */
  line(irq: number): InterruptLine;
  /** True while an interrupt waits for the processor (the INTR output), or a non-maskable one. */
  readonly pending: boolean;
  /** Interrupt acknowledge cycle: the vector to deliver. Only called while `pending` … a spurious vector otherwise. */
  acknowledge(): number;
  /** A non-maskable interrupt waits; absent: there are none. */
  readonly nmi?: boolean;
  /** While `nmi`: a maskable one waits, too. */
  readonly maskable?: boolean;
  /** The processor takes the non-maskable interrupt. */
  acknowledgeNmi?(): void;
}
