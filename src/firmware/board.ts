/** What firmware tables tell of a machine, and where its firmware puts what moves: one description for all of them. */

/** What CPUID tells of the processor. */
export interface ProcessorIdentity {
  /** EAX and EDX of leaf 1. */
  readonly signature: number;
  readonly features: number;
  /** Twelve letters. */
  readonly maker: string;
}

/** A machine, and devices that may be missing in it. */
export interface Board {
  /** Bytes of RAM. */
  readonly memory: number;
  /** Power management: without it there are no ACPI tables. */
  readonly acpi: boolean;
  readonly apic: boolean;
  readonly hpet: boolean;
  readonly floppy: boolean;
  /** Which of COM1–COM4 there are. */
  readonly serial: readonly boolean[];
  readonly processor: ProcessorIdentity;
}

/** Memory and ports that PCI functions are given: from the first to the last. */
export const PCI_WINDOW = {
  MEMORY: { first: 0xe000_0000, last: 0xfebf_ffff },
  PORTS: { first: 0xc000, last: 0xfeff },
} as const;

/** Top of RAM, kept for ACPI: tables, then the FACS, which systems write to. */
export const ACPI_MEMORY = { TABLES: 0xf000, NVS: 0x1000 } as const;
/** A machine with less RAM keeps it, and has no ACPI tables. */
export const ACPI_LEAST_MEMORY = 8 << 20;

/** Where ACPI's tables and FACS stand, in a machine that has them. */
export function acpiPlaces(memory: number): { readonly tables: number; readonly facs: number } {
  const facs = memory - ACPI_MEMORY.NVS;
  return { tables: facs - ACPI_MEMORY.TABLES, facs };
}

/** Whether a machine of this size has ACPI tables, given that it has power management. */
export function hasAcpiTables(memory: number): boolean {
  return memory >= ACPI_LEAST_MEMORY;
}
