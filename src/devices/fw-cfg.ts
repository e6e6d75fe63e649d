/**
 * Firmware configuration device: items that firmware reads about its machine, by number or by name, through a byte port or
 * by DMA. Interface documented as "QEMU Firmware Configuration (fw_cfg) Device" (docs/specs/fw_cfg).
 */
import type { AccessSize, GuestMemory, PortDevice, Stateful } from "../hypervisor/device.ts";

/** Items with numbers of their own. */
export const FW_CFG = {
  SIGNATURE: 0x0000,
  FEATURES: 0x0001,
  RAM_SIZE: 0x0003,
  PROCESSORS: 0x0005,
  BOOT_MENU: 0x000e,
  MAX_PROCESSORS: 0x000f,
  DIRECTORY: 0x0019,
  FIRST_FILE: 0x0020,
} as const;

/** Bits of FEATURES. */
const FEATURE = { TRADITIONAL: 1 << 0, DMA: 1 << 1 } as const;
const SIGNATURE = "QEMU";
/** What reading the DMA address register gives, high double word first. */
const DMA_SIGNATURE = [0x51454d55, 0x20434647] as const;
/** Control field of a DMA request; the upper half is an item's number. */
const DMA = { ERROR: 1 << 0, READ: 1 << 1, SKIP: 1 << 2, SELECT: 1 << 3, WRITE: 1 << 4, BYTES: 16 } as const;
/** Directory entry: size, number, reserved, name of 56 bytes. */
const FILE = { BYTES: 64, SELECT: 4, NAME: 8, NAME_BYTES: 56 } as const;
/** Bytes that one DMA request moves at most; a guest may ask for 4 GB. */
const LARGEST_MOVE = 16 << 20;
const CHUNK = 4096;

/** State: what is being read. */
export interface FwCfgState {
  selected: number;
  offset: number;
  dmaHigh: number;
}

export interface FwCfgDeps {
  readonly memory: GuestMemory;
  /** Items by number; signature, features and directory are the device's. */
  readonly items: ReadonlyMap<number, Uint8Array>;
  /** Files by name, such as "etc/e820". */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

const swap = (value: number): number =>
  ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;

function directory(names: readonly string[], files: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const bytes = new Uint8Array(4 + names.length * FILE.BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, names.length);
  names.forEach((name, i) => {
    const at = 4 + i * FILE.BYTES;
    view.setUint32(at, files.get(name)!.length);
    view.setUint16(at + FILE.SELECT, FW_CFG.FIRST_FILE + i);
    for (let c = 0; c < Math.min(name.length, FILE.NAME_BYTES - 1); c++) bytes[at + FILE.NAME + c] = name.charCodeAt(c);
  });
  return bytes;
}

const NOTHING = new Uint8Array(0);

/** `ports`: selector (a word) and data (a byte), two ports. `dma`: the address register, eight ports, big-endian. */
export class FwCfg implements Stateful<FwCfgState> {
  readonly ports: PortDevice;
  readonly dma: PortDevice;
  readonly #memory: GuestMemory;
  readonly #items: ReadonlyMap<number, Uint8Array>;
  #item: Uint8Array = NOTHING;
  #selected = 0;
  #offset = 0;
  #dmaHigh = 0;

  constructor({ memory, items, files }: FwCfgDeps) {
    this.#memory = memory;
    const names = [...files.keys()].sort();
    this.#items = new Map([
      ...items,
      [FW_CFG.SIGNATURE, Uint8Array.from(SIGNATURE, (c) => c.charCodeAt(0))],
      [FW_CFG.FEATURES, Uint8Array.of(FEATURE.TRADITIONAL | FEATURE.DMA, 0, 0, 0)],
      [FW_CFG.DIRECTORY, directory(names, files)],
      ...names.map((name, i) => [FW_CFG.FIRST_FILE + i, files.get(name)!] as const),
    ]);
    this.ports = {
      read: (offset, size) => (offset === 1 ? this.#next() : size === 2 ? this.#selected : 0),
      write: (offset, size, value) => {
        if (offset === 0 && size === 2) this.#select(value);
      },
      readString: (offset, _size, target) => {
        for (let i = 0; i < target.length; i++) target[i] = offset === 1 ? this.#next() : 0;
      },
    };
    this.dma = {
      read: (offset, size) => (size === 4 ? swap(DMA_SIGNATURE[offset >> 2] ?? 0) : 0),
      write: (offset, size, value) => this.#writeAddress(offset, size, value),
    };
    this.#select(0);
  }

  #select(number: number): void {
    this.#selected = number;
    this.#item = this.#items.get(number) ?? NOTHING;
    this.#offset = 0;
  }

  #next(): number {
    return this.#offset < this.#item.length ? this.#item[this.#offset++]! : 0;
  }

  #writeAddress(offset: number, size: AccessSize, value: number): void {
    if (size !== 4) return;
    if (offset === 0) {
      this.#dmaHigh = swap(value);
      return;
    }
    if (offset !== 4) return;
    const high = this.#dmaHigh;
    this.#dmaHigh = 0;
    if (high === 0) this.#request(swap(value));
  }

  /** A request: control, length, address, all big-endian. */
  #request(at: number): void {
    const memory = this.#memory;
    const request = new Uint8Array(DMA.BYTES);
    memory.read(at, request);
    const view = new DataView(request.buffer);
    const control = view.getUint32(0);
    const length = view.getUint32(4);
    const target = view.getUint32(12);
    if (control & DMA.SELECT) this.#select(control >>> 16);
    const bad =
      (control & DMA.WRITE) !== 0 || (control & DMA.READ && (view.getUint32(8) !== 0 || length > LARGEST_MOVE));
    if (!bad && control & DMA.READ) this.#move(target, length);
    else if (!bad && control & DMA.SKIP) this.#offset = Math.min(this.#offset + length, this.#item.length);
    memory.write32(at, bad ? swap(DMA.ERROR) : 0);
  }

  /** Behind an item's end there are zeros. */
  #move(target: number, length: number): void {
    for (let done = 0; done < length; done += CHUNK) {
      const piece = new Uint8Array(Math.min(CHUNK, length - done));
      const left = this.#item.subarray(this.#offset, this.#offset + piece.length);
      piece.set(left);
      this.#offset += left.length;
      this.#memory.write(target + done, piece);
    }
  }

  reset(): void {
    this.#select(0);
    this.#dmaHigh = 0;
  }

  state(): FwCfgState {
    return { selected: this.#selected, offset: this.#offset, dmaHigh: this.#dmaHigh };
  }

  restore(state: FwCfgState): void {
    this.#select(state.selected);
    this.#offset = Math.min(state.offset, this.#item.length);
    this.#dmaHigh = state.dmaHigh;
  }
}
