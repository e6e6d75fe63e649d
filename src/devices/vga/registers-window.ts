/**
 * The adapter's registers in memory, for drivers that use no ports: monitor data, the VGA's registers, the display
 * interface, and the frame buffer's size and byte order. Layout: QEMU's standard VGA, "MMIO area".
 */
import type { AccessSize, MmioDevice, PortDevice } from "../../hypervisor/device.ts";
import { DISPI_REGISTERS, type Dispi } from "./dispi.ts";
import { edid } from "./edid.ts";

/** Bytes of the window. */
export const REGISTERS_WINDOW_SIZE = 0x1000;
/** Where its parts begin and end. */
const PART = { EDID_END: 0x400, VGA: 0x400, VGA_END: 0x420, DISPI: 0x500, EXTRA: 0x600, EXTRA_END: 0x608 } as const;
/** Offset of port 3C0h in the VGA's ports. */
const PORT_3C0 = 0x10;
/** What the byte order register holds: little-endian. */
const LITTLE_ENDIAN = 0x1e1e1e1e;

/** The window. */
export class RegistersWindow implements MmioDevice {
  readonly #ports: PortDevice;
  readonly #dispi: Dispi;
  readonly #edid = edid();
  /** Size of the extra registers, and byte order. */
  readonly #extra = new DataView(new ArrayBuffer(PART.EXTRA_END - PART.EXTRA));

  constructor(deps: { ports: PortDevice; dispi: Dispi }) {
    this.#ports = deps.ports;
    this.#dispi = deps.dispi;
    this.#extra.setUint32(0, PART.EXTRA_END - PART.EXTRA, true);
    this.#extra.setUint32(4, LITTLE_ENDIAN, true);
  }

  /** Input status tells of the beam, which goes by time. */
  immediate(offset: number): boolean {
    return offset < PART.VGA || offset >= PART.VGA_END;
  }

  read(offset: number, size: AccessSize): number {
    if (isDispi(offset) && size === 2 && offset % 2 === 0) return this.#dispi.read((offset - PART.DISPI) / 2);
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#readByte(offset + i) << (i * 8);
    return value >>> 0;
  }

  #readByte(offset: number): number {
    if (offset < PART.EDID_END) return this.#edid[offset] ?? 0;
    if (offset < PART.VGA_END) return this.#ports.read(PORT_3C0 + offset - PART.VGA, 1);
    if (isDispi(offset)) return (this.#dispi.read((offset - PART.DISPI) >> 1) >> (offset & 1 ? 8 : 0)) & 0xff;
    if (offset >= PART.EXTRA && offset < PART.EXTRA_END) return this.#extra.getUint8(offset - PART.EXTRA);
    return 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset >= PART.VGA && offset + size <= PART.VGA_END)
      this.#ports.write(PORT_3C0 + offset - PART.VGA, size, value);
    // Registers are words; whoever writes four bytes writes two of them.
    else if (isDispi(offset) && size >= 2 && offset % 2 === 0) {
      this.#dispi.write((offset - PART.DISPI) / 2, value & 0xffff);
      if (size === 4) this.#dispi.write((offset - PART.DISPI) / 2 + 1, value >>> 16);
    }
  }
}

function isDispi(offset: number): boolean {
  return offset >= PART.DISPI && offset < PART.DISPI + DISPI_REGISTERS * 2;
}
