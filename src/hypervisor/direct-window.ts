/** A device's memory between A0000h and BFFFFh that the guest may find as plain memory: to the engines it is RAM while it is open. */
import type { Cpu } from "../processor/cpu.ts";
import type { DeviceMemory, DirectMemory } from "./device.ts";
import { DomainDeviceMemory } from "./device-memory.ts";
import type { PhysicalMap } from "./physical-map.ts";

/** Argument of {@link PhysicalMap.setWindow} that closes. */
const CLOSED = -1;

export class DirectWindow implements DirectMemory {
  readonly #own: DomainDeviceMemory;
  readonly #map: PhysicalMap;
  readonly #base: number;
  /** What is open. */
  #offset = 0;
  #size = 0;

  /** For a device at guest-physical `base`, with memory of its own size at machine offset `machine`. */
  constructor(cpu: Cpu, map: PhysicalMap, range: { readonly base: number; readonly size: number }, machine: number) {
    this.#own = new DomainDeviceMemory(cpu, machine, range.size);
    this.#map = map;
    this.#base = range.base;
  }

  get bytes(): Uint8Array {
    return this.#own.bytes;
  }

  open(offset: number, size: number): void {
    this.show(offset, size, this.#own, offset);
  }

  show(offset: number, size: number, memory: DeviceMemory, from: number): void {
    if (!(memory instanceof DomainDeviceMemory)) return;
    if (offset !== this.#offset || size !== this.#size) this.close();
    this.#offset = offset;
    this.#size = size;
    this.#map.setWindow(this.#base + offset, size, memory.machine + from);
    // There may be code decoded from what stood here the last time.
    memory.wrote(from, size);
  }

  close(): void {
    this.#map.setWindow(this.#base + this.#offset, this.#size, CLOSED);
    this.#size = 0;
  }
}
