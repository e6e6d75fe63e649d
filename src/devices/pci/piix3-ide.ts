/**
 * PIIX3's IDE function: what PCI sees of the two channels. Their registers stand where they always stood; base address 4
 * places the bus-master engines. Intel 290550, section 2.3; timings keep what is written.
 */
import type { PortDevice, Stateful } from "../../hypervisor/device.ts";
import { PCI_PLACE } from "../pc-layout.ts";
import type { PciBus } from "./pci-bus.ts";
import { PCI_COMMAND, PCI_STATUS, type PciFunction, type PciFunctionState } from "./pci-function.ts";

/** IDE timing of a channel (2.3.9). Drives are fast, and found without anybody's help: decoding is on after a reset. */
const IDETIM = { PRIMARY: 0x40, SECONDARY: 0x42, DECODE: 1 << 15, WRITABLE: 0xf3ff } as const;
/** Ports of one engine. */
const ENGINE_PORTS = 8;

/** The engine of a channel. */
export interface ChannelEngine extends PortDevice {
  /** The function may be bus master, or no more. */
  setEnabled(enabled: boolean): void;
}

export interface Piix3IdeDeps {
  readonly pci: PciBus;
  /** Of the primary and the secondary channel. */
  readonly engines: readonly ChannelEngine[];
}

export class Piix3Ide implements Stateful<PciFunctionState> {
  readonly #function: PciFunction;
  readonly #engines: readonly ChannelEngine[];

  constructor({ pci, engines }: Piix3IdeDeps) {
    const { device, function: number } = PCI_PLACE.IDE;
    const ports: PortDevice = {
      read: (offset, size) => engines[Math.floor(offset / ENGINE_PORTS)]!.read(offset % ENGINE_PORTS, size),
      write: (offset, size, value) =>
        engines[Math.floor(offset / ENGINE_PORTS)]!.write(offset % ENGINE_PORTS, size, value),
    };
    this.#function = pci.add(device, number, {
      name: "piix3-ide",
      vendor: 0x8086,
      device: 0x7010,
      revision: 0,
      classCode: 0x010180,
      command: { writable: PCI_COMMAND.IO | PCI_COMMAND.MASTER },
      status: PCI_STATUS.DEVSEL_MEDIUM | PCI_STATUS.FAST_BACK,
      bars: [undefined, undefined, undefined, undefined, { kind: "ports", size: 2 * ENGINE_PORTS, device: ports }],
      registers: [IDETIM.PRIMARY, IDETIM.SECONDARY].map((at) => ({
        at,
        size: 2,
        initial: IDETIM.DECODE,
        writable: IDETIM.WRITABLE,
      })),
      changed: () => this.#enable(),
    });
    this.#engines = engines;
    this.#enable();
  }

  #enable(): void {
    for (const engine of this.#engines) engine.setEnabled(this.#function.commands(PCI_COMMAND.MASTER));
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
