/**
 * Memory that stands in for a device's, by way of the p2m map: to the engines it is RAM while it is open. It is the machine
 * memory that guest RAM would take at the device's addresses.
 */
import { type Cpu, P2M_TYPE } from "../processor/cpu.ts";
import { MACHINE } from "../processor/memory-map.ts";
import type { DirectMemory } from "./device.ts";

const PAGE = 4096;

export class DirectWindow implements DirectMemory {
  readonly bytes: Uint8Array;
  readonly #cpu: Cpu;
  readonly #base: number;
  /** First frame that is open, and how many are. */
  #first = 0;
  #count = 0;

  /** For a device whose `size` bytes of memory begin at guest-physical `base`. */
  constructor(cpu: Cpu, base: number, size: number) {
    this.bytes = cpu.u8.subarray(MACHINE + base, MACHINE + base + size);
    this.#cpu = cpu;
    this.#base = base;
  }

  open(offset: number, size: number): void {
    this.close();
    this.#first = (this.#base + offset) / PAGE;
    this.#count = size / PAGE;
    for (let frame = this.#first; frame < this.#first + this.#count; frame++)
      this.#cpu.setP2m(frame, MACHINE + frame * PAGE, P2M_TYPE.ram);
    // There may be code decoded from what stood here the last time.
    this.#cpu.noteWrite(MACHINE + this.#first * PAGE, size);
  }

  close(): void {
    for (let i = 0; i < this.#count; i++) this.#cpu.setP2m(this.#first + i, -1, P2M_TYPE.ram);
    this.#count = 0;
  }
}
