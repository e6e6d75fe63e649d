/** The chipset of the PC: PCI bus 0 with 440FX, PIIX3 and, where there is ACPI, the PIIX4's power management. */
import type { Clock } from "../hypervisor/clock.ts";
import type { InterruptLine, IoBus, ShadowControl, Stateful } from "../hypervisor/device.ts";
import { AcpiPm, type SleepState } from "./acpi-pm.ts";
import { PIRQ_COUNT, SCI_IRQ, SMI_COMMAND_PORT } from "./pc-layout.ts";
import { I440fx } from "./pci/i440fx.ts";
import { PciBus } from "./pci/pci-bus.ts";
import { type ChannelEngine, Piix3Ide } from "./pci/piix3-ide.ts";
import { Piix3Isa } from "./pci/piix3-isa.ts";
import { Piix4Pm } from "./pci/piix4-pm.ts";
import { ResetControl } from "./reset-control.ts";
import { SmBusHost } from "./smbus.ts";

/** CONFADD and CONFDATA; the reset control register stands among the former's bytes. */
const PCI_PORTS = { ADDRESS: 0xcf8, DATA: 0xcfc, COUNT: 4 } as const;

/** What the chipset needs of the machine. */
export interface ChipsetOptions {
  readonly bus: IoBus;
  readonly clock: Clock;
  readonly shadow: ShadowControl;
  /** Bytes of RAM. */
  readonly memory: number;
  /** Subsystem of the host bridge: by it firmware made for QEMU knows that it finds a firmware configuration device. */
  readonly subsystem?: { readonly vendor: number; readonly device: number } | undefined;
  /** A line to an ISA interrupt; each call makes a new source. */
  readonly irq: (irq: number) => InterruptLine;
  /** Bus-master engines of the IDE channels. */
  readonly engines: readonly ChannelEngine[];
  /** Pulse the processor's reset line, or (hard) that of the machine. */
  readonly reset: (hard: boolean) => void;
  /** Where the machine goes when the guest puts it to sleep, and comes from when it wakes; without ACPI, undefined. */
  readonly power: { sleep(state: SleepState): void; wake(state: SleepState): void } | undefined;
}

export interface Chipset {
  readonly pci: PciBus;
  /** ACPI's registers, where there are any. */
  readonly pm: AcpiPm | undefined;
  readonly devices: readonly (readonly [name: string, device: Stateful<unknown>])[];
}

export function createChipset(options: ChipsetOptions): Chipset {
  const { bus, clock, irq, power, subsystem } = options;
  const resetControl = new ResetControl({ reset: options.reset });
  const pci = new PciBus({
    bus,
    pirq: Array.from({ length: PIRQ_COUNT }, (_, i) => ({ set: (level: boolean) => isa.setPirq(i, level) })),
    resetControl,
  });
  const host = new I440fx({ pci, shadow: options.shadow, memory: options.memory, ...(subsystem && { subsystem }) });
  const isa: Piix3Isa = new Piix3Isa({ pci, irq });
  const ide = new Piix3Ide({ pci, engines: options.engines });
  const { ADDRESS, DATA, COUNT } = PCI_PORTS;
  bus.claimPorts({ name: "pci-address", base: ADDRESS, count: COUNT, device: pci.address });
  bus.claimPorts({ name: "pci-data", base: DATA, count: COUNT, device: pci.data });
  const devices: (readonly [string, Stateful<unknown>])[] = [
    ["reset-control", resetControl],
    ["pci", pci],
    ["440fx", host],
    ["piix3", isa],
    ["piix3-ide", ide],
  ];
  if (!power) return { pci, pm: undefined, devices };
  const pm = new AcpiPm({
    clock,
    sci: irq(SCI_IRQ),
    sleep: (state) => power.sleep(state),
    wake: (state) => power.wake(state),
  });
  const smbus = new SmBusHost({ clock, interrupt: irq(SCI_IRQ) });
  bus.claimPorts({ name: "apm", base: SMI_COMMAND_PORT, count: 2, device: pm.apm, width: 1 });
  devices.push(["acpi", pm], ["smbus", smbus], ["piix4-pm", new Piix4Pm({ pci, bus, registers: pm, smbus })]);
  return { pci, pm, devices };
}
