/**
 * What PCI sees of the display adapter: the frame buffer at base address 0, its registers at base address 2, and the
 * BIOS in the expansion ROM. The VGA's own ports and memory stand where they always stood. Numbers are those of QEMU's
 * standard VGA, which drivers know.
 */
import type { DeviceMemory, MmioDevice, Stateful } from "../../hypervisor/device.ts";
import { PCI_PLACE } from "../pc-layout.ts";
import type { PciBus } from "./pci-bus.ts";
import { PCI_COMMAND, type PciFunction, type PciFunctionState } from "./pci-function.ts";

const IDENTITY = { VENDOR: 0x1234, DEVICE: 0x1111, REVISION: 2 } as const;
const VGA_CLASS = 0x030000;
const SUBSYSTEM = { vendor: 0x1af4, device: 0x1100 } as const;
/** Expansion ROMs are at least this large. */
const ROM_UNIT = 2048;

/** The adapter's windows. */
export interface VgaWindows {
  readonly frameBuffer: MmioDevice;
  readonly frameMemory: DeviceMemory;
  readonly registers: MmioDevice;
  readonly registersSize: number;
}

export interface VgaPciDeps {
  readonly pci: PciBus;
  readonly vga: VgaWindows;
  /** The BIOS. */
  readonly rom?: Uint8Array | undefined;
}

export class VgaPci implements Stateful<PciFunctionState> {
  readonly #function: PciFunction;

  constructor({ pci, vga, rom }: VgaPciDeps) {
    const { device, function: number } = PCI_PLACE.VGA;
    this.#function = pci.add(device, number, {
      name: "vga",
      vendor: IDENTITY.VENDOR,
      device: IDENTITY.DEVICE,
      revision: IDENTITY.REVISION,
      classCode: VGA_CLASS,
      subsystem: SUBSYSTEM,
      command: { writable: PCI_COMMAND.IO | PCI_COMMAND.MEMORY | PCI_COMMAND.MASTER },
      bars: [
        {
          kind: "memory",
          size: vga.frameMemory.bytes.length,
          device: vga.frameBuffer,
          memory: vga.frameMemory,
          prefetchable: true,
        },
        undefined,
        { kind: "memory", size: vga.registersSize, device: vga.registers },
      ],
      ...(rom && { rom: { size: romSize(rom.length), device: romDevice(rom) } }),
    });
  }

  reset(): void {
    this.#function.reset();
  }

  state(): PciFunctionState {
    return this.#function.state();
  }

  restore(state: PciFunctionState): void {
    this.#function.restore(state);
  }
}

/** Windows are powers of two. */
function romSize(bytes: number): number {
  let size = ROM_UNIT;
  while (size < bytes) size *= 2;
  return size;
}

function romDevice(rom: Uint8Array): MmioDevice {
  return {
    read(offset, size) {
      let value = 0;
      for (let i = 0; i < size; i++) value |= (rom[offset + i] ?? 0xff) << (i * 8);
      return value >>> 0;
    },
    write() {},
    immediate: () => true,
  };
}
