/**
 * What the board decides: where things of the chipset stand, and which wire leads where. The machine is built by it, and
 * firmware tells operating systems of it.
 */

/** Device and function numbers on PCI bus 0. */
export const PCI_PLACE = {
  HOST: { device: 0, function: 0 },
  ISA: { device: 1, function: 0 },
  IDE: { device: 1, function: 1 },
  PM: { device: 1, function: 3 },
  VGA: { device: 2, function: 0 },
} as const;

/** PIRQ inputs of the chipset, A to D. */
export const PIRQ_COUNT = 4;

/** The PIRQ (0 is A) that pin 1–4 (INTA#–INTD#) of a device on bus 0 leads to: each device is turned by one. */
export function pirqOf(device: number, pin: number): number {
  return (device + pin + 2) & (PIRQ_COUNT - 1);
}

/** The ISA interrupts that firmware routes PIRQ A–D to, and those that it could. All are level-triggered. */
export const PIRQ_IRQS = [10, 10, 11, 11] as const;
export const PIRQ_POSSIBLE = [5, 10, 11] as const;

/** ACPI's system control interrupt; level-triggered. */
export const SCI_IRQ = 9;

/** Ports that firmware gives the power management function: 64 of them, and 16 of its SMBus host. */
export const PM_BASE = 0xb000;
export const SMBUS_BASE = 0xb100;

/** Ports of the power management function that stand still: SMI command and status. */
export const SMI_COMMAND_PORT = 0xb2;
/** What to write there to turn ACPI on and off, as nobody has a system management mode. */
export const SMI_COMMAND = { ACPI_ENABLE: 0xf1, ACPI_DISABLE: 0xf0 } as const;

/** SLP_TYP of each sleeping state (82371AB 11.2.3, SUS_TYP). */
export const SLEEP_TYPE = { S1: 4, S3: 1, S5: 0 } as const;

/** CMOS shutdown status with which firmware finds itself started after a suspend to RAM. */
export const CMOS_S3_RESUME = { index: 0x0f, value: 0xfe } as const;

/** Local APIC, I/O APIC and HPET in guest-physical memory, and identifications. */
export const LOCAL_APIC = { base: 0xfee0_0000, id: 0 } as const;
export const IO_APIC = { base: 0xfec0_0000, id: 1, inputs: 24 } as const;
export const HPET_BASE = 0xfed0_0000;

/**
 * I/O APIC inputs (global system interrupts) are ISA interrupts of the same number, PCI's by way of their ISA interrupt,
 * but for the timer's.
 */
export const TIMER_GSI = 2;

/** The I/O APIC input of an ISA interrupt. */
export function gsiOf(irq: number): number {
  return irq === 0 ? TIMER_GSI : irq;
}

/** Serial ports COM1–COM4. */
export const SERIAL = [
  { name: "com1", base: 0x3f8, irq: 4 },
  { name: "com2", base: 0x2f8, irq: 3 },
  { name: "com3", base: 0x3e8, irq: 4 },
  { name: "com4", base: 0x2e8, irq: 3 },
] as const;
