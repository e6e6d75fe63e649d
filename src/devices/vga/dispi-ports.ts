/** The display interface behind ports: an index at 1CEh and its data at 1CFh and, aligned for other processors, at 1D0h. */
import type { AccessSize, PortDevice } from "../../hypervisor/device.ts";
import type { Dispi } from "./dispi.ts";

/** Port offsets from 1CEh. */
const PORT = { INDEX: 0, DATA: 1, DATA_ALIGNED: 2 } as const;

/** Registers are words: an access of one byte is one to the lower half of a word. */
export class DispiPorts implements PortDevice {
  readonly #dispi: Dispi;

  constructor(dispi: Dispi) {
    this.#dispi = dispi;
  }

  read(offset: number, size: AccessSize): number {
    const mask = size === 1 ? 0xff : 0xffff;
    switch (offset) {
      case PORT.INDEX:
        return this.#dispi.index & mask;
      case PORT.DATA:
      case PORT.DATA_ALIGNED:
        return this.#dispi.read(this.#dispi.index) & mask;
      default:
        return mask;
    }
  }

  write(offset: number, _size: AccessSize, value: number): void {
    switch (offset) {
      case PORT.INDEX:
        this.#dispi.index = value & 0xffff;
        break;
      case PORT.DATA:
      case PORT.DATA_ALIGNED:
        this.#dispi.write(this.#dispi.index, value & 0xffff);
        break;
    }
  }
}
