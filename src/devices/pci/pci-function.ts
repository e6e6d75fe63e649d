/**
 * One function of a PCI device: its configuration space (header type 0), and the windows that its base addresses open on
 * the buses. PCI Local Bus Specification 2.1, chapter 6.
 */
import { copyPlain } from "../../common/plain.ts";
import type {
  AccessSize,
  DeviceMemory,
  InterruptLine,
  IoBus,
  MmioDevice,
  Placement,
  PortDevice,
  Stateful,
} from "../../hypervisor/device.ts";

/** Offsets of the header's registers (6.1). */
export const PCI_REG = {
  VENDOR: 0x00,
  DEVICE: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION: 0x08,
  CLASS: 0x09,
  CACHE_LINE: 0x0c,
  LATENCY: 0x0d,
  HEADER: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR: 0x2c,
  SUBSYSTEM: 0x2e,
  ROM: 0x30,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
} as const;

/** Command register (6.2.2). */
export const PCI_COMMAND = { IO: 1 << 0, MEMORY: 1 << 1, MASTER: 1 << 2, PARITY: 1 << 6, SERR: 1 << 8 } as const;
/** Status register (6.2.3): fast back-to-back; medium DEVSEL# timing; what writing ones clears. */
export const PCI_STATUS = { FAST_BACK: 1 << 7, DEVSEL_MEDIUM: 1 << 9, CLEARS: 0xf900 } as const;
/** Header type: other functions of the device exist. */
const MULTIFUNCTION = 0x80;
/** Base address registers (6.2.5): low bits, and the enable bit of the expansion ROM's. */
const BAR = { IO: 1 << 0, PREFETCHABLE: 1 << 3 } as const;
const ROM_ENABLE = 1 << 0;
const BAR_COUNT = 6;
const SPACE = 256;
const PORT_SPACE = 0x10000;
const MEMORY_SPACE = 2 ** 32;

/** A register behind the header, little-endian. */
export interface ConfigRegister {
  readonly at: number;
  readonly size: AccessSize;
  /** After a reset. */
  readonly initial?: number;
  /** Bits that the guest can write; the others never change by writing. */
  readonly writable?: number;
  /** Bits that writing ones clears. */
  readonly clears?: number;
}

/** A window that a base address register places. `size` is a power of two. */
export type BarWindow =
  | { readonly kind: "ports"; readonly size: number; readonly device: PortDevice; readonly width?: AccessSize }
  | {
      readonly kind: "memory";
      readonly size: number;
      readonly device: MmioDevice;
      readonly memory?: DeviceMemory;
      readonly prefetchable?: boolean;
    };

/** What a function is made of. */
export interface PciFunctionOptions {
  /** For messages and traces. */
  readonly name: string;
  readonly vendor: number;
  readonly device: number;
  readonly revision: number;
  /** Class, subclass and programming interface: 060000h is a host bridge. */
  readonly classCode: number;
  readonly subsystem?: { readonly vendor: number; readonly device: number };
  readonly multifunction?: boolean;
  /** Command bits that the guest can set; fixed ones. Default: none and none. */
  readonly command?: { readonly writable?: number; readonly fixed?: number };
  /** Status after reset. Default: medium DEVSEL timing. */
  readonly status?: number;
  /** 1 is INTA#. Default: no interrupt. */
  readonly interruptPin?: number;
  readonly registers?: readonly ConfigRegister[];
  /** By number of base address register. */
  readonly bars?: readonly (BarWindow | undefined)[];
  /** Expansion ROM, whose enable bit and the command's memory bit show it. */
  readonly rom?: { readonly size: number; readonly device: MmioDevice };
  /** Configuration space is another than before: the guest wrote it, it was reset or restored. Windows have moved already. */
  readonly changed?: () => void;
}

/** Order on the buses (`IoBus.movablePorts`) of window `number`, up to 7, of the function at a place. */
export function windowOrder(place: number, number: number): number {
  return place * 8 + number;
}

/** Where a function stands, and what its bus gives it. */
export interface PciAttachment {
  readonly bus: IoBus;
  /** Device number times 8, plus function number. Of windows that a guest puts on each other that of the lower is seen. */
  readonly order: number;
  /** INTx# of the function; high is asserted. */
  readonly interrupt: InterruptLine;
}

/** State of a function. */
export interface PciFunctionState {
  config: Uint8Array;
}

interface Window {
  readonly at: number;
  readonly size: number;
  readonly command: number;
  readonly enable: number;
  readonly limit: number;
  readonly placement: Placement;
}

export class PciFunction implements Stateful<PciFunctionState> {
  readonly name: string;
  /** INTx# of the function. */
  readonly interrupt: InterruptLine;
  readonly #config = new Uint8Array(SPACE);
  readonly #view = new DataView(this.#config.buffer);
  readonly #initial = new Uint8Array(SPACE);
  readonly #writable = new Uint8Array(SPACE);
  readonly #clears = new Uint8Array(SPACE);
  readonly #windows: Window[] = [];
  readonly #changed: () => void;

  constructor(options: PciFunctionOptions, attachment: PciAttachment) {
    this.name = options.name;
    this.interrupt = attachment.interrupt;
    this.#changed = options.changed ?? ((): void => {});
    const { command = {}, subsystem } = options;
    const header: ConfigRegister[] = [
      { at: PCI_REG.VENDOR, size: 2, initial: options.vendor },
      { at: PCI_REG.DEVICE, size: 2, initial: options.device },
      { at: PCI_REG.COMMAND, size: 2, initial: command.fixed ?? 0, writable: command.writable ?? 0 },
      {
        at: PCI_REG.STATUS,
        size: 2,
        initial: options.status ?? PCI_STATUS.DEVSEL_MEDIUM,
        clears: PCI_STATUS.CLEARS,
      },
      { at: PCI_REG.REVISION, size: 4, initial: (options.classCode << 8) | options.revision },
      { at: PCI_REG.LATENCY, size: 1, writable: 0xf8 },
      { at: PCI_REG.HEADER, size: 1, initial: options.multifunction ? MULTIFUNCTION : 0 },
      { at: PCI_REG.SUBSYSTEM_VENDOR, size: 2, initial: subsystem?.vendor ?? 0 },
      { at: PCI_REG.SUBSYSTEM, size: 2, initial: subsystem?.device ?? 0 },
    ];
    if (options.interruptPin) {
      header.push({ at: PCI_REG.INTERRUPT_LINE, size: 1, writable: 0xff });
      header.push({ at: PCI_REG.INTERRUPT_PIN, size: 1, initial: options.interruptPin });
    }
    for (let i = 0; i < BAR_COUNT; i++) this.#addBar(i, options.bars?.[i], attachment, header);
    if (options.rom) this.#addRom(options.rom, attachment, header);
    for (const register of [...header, ...(options.registers ?? [])]) this.#define(register);
    this.#config.set(this.#initial);
  }

  #define({ at, size, initial = 0, writable = 0, clears = 0 }: ConfigRegister): void {
    for (let i = 0; i < size; i++) {
      this.#initial[at + i] = initial >>> (8 * i);
      this.#writable[at + i] = writable >>> (8 * i);
      this.#clears[at + i] = clears >>> (8 * i);
    }
  }

  #addBar(number: number, bar: BarWindow | undefined, { bus, order }: PciAttachment, header: ConfigRegister[]): void {
    if (!bar) return;
    const at = PCI_REG.BAR0 + number * 4;
    const { size, device } = bar;
    const name = `${this.name} BAR${number}`;
    const initial = bar.kind === "ports" ? BAR.IO : bar.prefetchable ? BAR.PREFETCHABLE : 0;
    header.push({ at, size: 4, initial, writable: -size });
    const place = windowOrder(order, number);
    if (bar.kind === "ports") {
      const { width } = bar;
      const placement = bus.movablePorts({ name, count: size, device, ...(width !== undefined && { width }) }, place);
      this.#windows.push({ at, size, command: PCI_COMMAND.IO, enable: 0, limit: PORT_SPACE, placement });
    } else {
      const { memory } = bar;
      const placement = bus.movableMmio({ name, size, device, ...(memory && { memory }) }, place);
      this.#windows.push({ at, size, command: PCI_COMMAND.MEMORY, enable: 0, limit: MEMORY_SPACE, placement });
    }
  }

  #addRom(rom: NonNullable<PciFunctionOptions["rom"]>, attachment: PciAttachment, header: ConfigRegister[]): void {
    const { size, device } = rom;
    const place = windowOrder(attachment.order, BAR_COUNT);
    const placement = attachment.bus.movableMmio({ name: `${this.name} ROM`, size, device }, place);
    header.push({ at: PCI_REG.ROM, size: 4, writable: -size | ROM_ENABLE });
    this.#windows.push({
      at: PCI_REG.ROM,
      size,
      command: PCI_COMMAND.MEMORY,
      enable: ROM_ENABLE,
      limit: MEMORY_SPACE,
      placement,
    });
  }

  /** Configuration space as the guest reads it; `offset` and `size` stay inside. */
  read(offset: number, size: AccessSize): number {
    if (size === 1) return this.#config[offset]!;
    return size === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint32(offset, true);
  }

  /** A write by the guest. */
  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const writable = this.#writable[at]!;
      this.#config[at] = ((this.#config[at]! & ~writable) | (byte & writable)) & ~(byte & this.#clears[at]!);
    }
    this.#place();
    this.#changed();
  }

  /** Set a register whatever of it the guest can write: what the hardware does. */
  set(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.#config[offset + i] = value >>> (8 * i);
  }

  /** Whether the guest has set all of these bits of the command register: {@link PCI_COMMAND}. */
  commands(bits: number): boolean {
    return (this.#view.getUint16(PCI_REG.COMMAND, true) & bits) === bits;
  }

  /** Put the windows where the base addresses say; one at 0, or that ends beyond its space, is not decoded. */
  #place(): void {
    for (const { at, size, command, enable, limit, placement } of this.#windows) {
      const bar = this.#view.getUint32(at, true);
      const base = (bar & -size) >>> 0;
      const open = this.commands(command) && (bar & enable) === enable && base !== 0 && base + size <= limit;
      placement.move(open ? base : undefined);
    }
  }

  reset(): void {
    this.#config.set(this.#initial);
    this.#place();
    this.#changed();
  }

  state(): PciFunctionState {
    return copyPlain({ config: this.#config });
  }

  restore(state: PciFunctionState): void {
    this.#config.set(state.config);
    this.#place();
    this.#changed();
  }
}
