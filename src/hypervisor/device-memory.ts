/** Machine memory beside the guest's RAM: frame buffers, ROM images, what stands in for devices. */
import { VmxonError } from "../common/errors.ts";
import type { Cpu } from "../processor/cpu.ts";
import type { DeviceMemory } from "./device.ts";

const PAGE = 4096;

/** Memory of a device in machine memory; the engine's own bookkeeping tells what was written. */
export class DomainDeviceMemory implements DeviceMemory {
  readonly bytes: Uint8Array;
  /** Machine offset of its first byte. */
  readonly machine: number;
  readonly #cpu: Cpu;

  constructor(cpu: Cpu, machine: number, size: number) {
    this.#cpu = cpu;
    this.machine = machine;
    this.bytes = cpu.u8.subarray(machine, machine + size);
  }

  takeWritten(written: Uint8Array, first: number, count: number): boolean {
    return this.#cpu.spaces.takeWritten(this.machine + first * PAGE, count, written);
  }

  wrote(offset: number, size: number): void {
    this.#cpu.noteWrite(this.machine + offset, size);
  }
}

/** Where no guest has an address for it (lockstep's second vCPU could not follow): only the device writes it. */
export class PrivateDeviceMemory implements DeviceMemory {
  readonly bytes: Uint8Array;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }

  takeWritten(): boolean {
    return false;
  }

  wrote(): void {}
}

/** Hands out machine memory; nothing is ever given back. */
export class MachineMemory {
  #next: number;
  readonly #end: number;

  /** From machine offset `start`, a whole page, to `end`. */
  constructor(start: number, end: number) {
    this.#next = start;
    this.#end = end;
  }

  /** Machine offset of `size` bytes, rounded up to whole pages. Throws VmxonError("config") when there is no more. */
  allocate(size: number): number {
    const at = this.#next;
    const next = at + Math.ceil(size / PAGE) * PAGE;
    if (next > this.#end)
      throw new VmxonError("config", `the domain has no room for ${size} more bytes of device memory or ROM`);
    this.#next = next;
    return at;
  }
}
