/**
 * PIIX4's power management function: places the ACPI registers and the SMBus host on the port bus. Intel 290562 (82371AB),
 * 7.1 and 7.2.
 */
import type { IoBus, Placement, PortDevice, Stateful } from "../../hypervisor/device.ts";
import { PM_PORTS } from "../acpi-pm.ts";
import { PCI_PLACE, SCI_IRQ } from "../pc-layout.ts";
import { SMBUS_PORTS } from "../smbus.ts";
import type { PciBus } from "./pci-bus.ts";
import {
  type ConfigRegister,
  PCI_COMMAND,
  PCI_REG,
  PCI_STATUS,
  type PciFunction,
  type PciFunctionState,
  windowOrder,
} from "./pci-function.ts";

const REG = { PMBA: 0x40, DEVACTB: 0x58, PMREGMISC: 0x80, SMBBA: 0x90, SMBHSTCFG: 0xd2 } as const;
/** Base address registers of this function (7.1.19, 7.1.28): an I/O address, aligned to the size of what stands there. */
const BASE = { IO: 1 << 0, PM: 0xffc0, SMBUS: 0xfff0 } as const;
const PM_ENABLE = 1 << 0;
const SMBUS_ENABLE = 1 << 0;
/** DEVACTB: writes to the SMI command port call firmware's SMI handler, which is ready: there is none to be installed. */
const APMC_EN = 1 << 25;

/** Registers that only keep their values: idle timers, device resources, SMBus slaves. */
const KEPT: readonly ConfigRegister[] = [
  ...[0x44, 0x48, 0x4c, 0x50, 0x54, 0x5c, 0x60, 0x64, 0x68, 0x6c, 0x70, 0x74, 0x78, 0x7c].map(
    (at): ConfigRegister => ({ at, size: 4, writable: 0xffff_ffff }),
  ),
  { at: 0xd3, size: 1, writable: 0xff },
  { at: 0xd4, size: 1, writable: 0xff },
  { at: 0xd5, size: 1, writable: 0xff },
];

/** What the function is wired to. */
export interface Piix4PmDeps {
  readonly pci: PciBus;
  readonly bus: IoBus;
  /** {@link PM_PORTS} ports. */
  readonly registers: PortDevice;
  /** {@link SMBUS_PORTS} ports. */
  readonly smbus: PortDevice;
}

export class Piix4Pm implements Stateful<PciFunctionState> {
  readonly #function: PciFunction;
  readonly #registers: Placement;
  readonly #smbus: Placement;

  constructor({ pci, bus, registers, smbus }: Piix4PmDeps) {
    const { device, function: number } = PCI_PLACE.PM;
    const order = windowOrder((device << 3) | number, 0);
    this.#registers = bus.movablePorts({ name: "acpi", count: PM_PORTS, device: registers }, order);
    this.#smbus = bus.movablePorts({ name: "smbus", count: SMBUS_PORTS, device: smbus, width: 1 }, order);
    this.#function = pci.add(device, number, {
      name: "piix4-pm",
      vendor: 0x8086,
      device: 0x7113,
      revision: 3,
      classCode: 0x068000,
      command: { writable: PCI_COMMAND.IO | PCI_COMMAND.MASTER },
      status: PCI_STATUS.DEVSEL_MEDIUM | PCI_STATUS.FAST_BACK,
      interruptPin: 1,
      registers: [
        ...KEPT,
        { at: PCI_REG.INTERRUPT_LINE, size: 1, initial: SCI_IRQ, writable: 0xff },
        { at: REG.PMBA, size: 4, initial: BASE.IO, writable: BASE.PM },
        { at: REG.DEVACTB, size: 4, initial: APMC_EN, writable: 0xffff_ffff },
        { at: REG.PMREGMISC, size: 1, writable: PM_ENABLE },
        { at: REG.SMBBA, size: 4, initial: BASE.IO, writable: BASE.SMBUS },
        { at: REG.SMBHSTCFG, size: 1, writable: 0x0f },
      ],
      changed: () => this.#place(),
    });
  }

  #place(): void {
    const at = (enabled: boolean, base: number): number | undefined => (enabled && base !== 0 ? base : undefined);
    const f = this.#function;
    this.#registers.move(at((f.read(REG.PMREGMISC, 1) & PM_ENABLE) !== 0, f.read(REG.PMBA, 2) & BASE.PM));
    const smbus = (f.read(REG.SMBHSTCFG, 1) & SMBUS_ENABLE) !== 0 && f.commands(PCI_COMMAND.IO);
    this.#smbus.move(at(smbus, f.read(REG.SMBBA, 2) & BASE.SMBUS));
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
