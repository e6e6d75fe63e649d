/**
 * ACPI's tables in one block, with what must be known when it is placed: where it holds addresses of its own parts, and
 * checksums. ACPI specification 4.0, 5.2.
 */
import {
  gsiOf,
  HPET_BASE,
  IO_APIC,
  LOCAL_APIC,
  PIRQ_POSSIBLE,
  SCI_IRQ,
  SMI_COMMAND,
  SMI_COMMAND_PORT,
} from "../../devices/pc-layout.ts";
import type { Board } from "../board.ts";
import { checksum } from "../tables/byte-writer.ts";
import { dsdtTerms } from "./dsdt.ts";

const OEM = { ID: "VMXON ", TABLE: "VMXONPC ", REVISION: 1, CREATOR: "VMXN", CREATOR_REVISION: 1 } as const;
const HEADER_BYTES = 36;
const CHECKSUM_AT = 9;
const ALIGNMENT = 16;
/** Length of the FACS, and what its address is a multiple of. */
export const FACS_BYTES = 64;
const FACS_VERSION = 1;
/** Root pointer: its length, that of its first form, and offsets. */
export const RSDP = { BYTES: 36, BYTES_1: 20, CHECKSUM: 8, RSDT: 16, XSDT: 24, CHECKSUM_2: 32 } as const;

/** Offsets from the power management base, and lengths. */
const PM = {
  EVENT: 0x00,
  EVENT_BYTES: 4,
  CONTROL: 0x04,
  CONTROL_BYTES: 2,
  TIMER: 0x08,
  TIMER_BYTES: 4,
  GPE0: 0x0c,
  GPE0_BYTES: 4,
} as const;
/** C2 and C3 do not exist: latencies that say so (5.2.9). */
const NO_C2 = 0x65;
const NO_C3 = 0x3e9;
/** RTC alarm in CMOS: no day or month, century register. */
const RTC_CENTURY = 0x32;
/** Desktop. */
const PROFILE_DESKTOP = 1;
/** IA-PC boot architecture flags: legacy devices on an ISA bus, a keyboard controller. */
const BOOT_ARCHITECTURE = 0x0003;
/** WBINVD works, C1 on all processors, no sleep button, the RTC wakes from S4 is not claimed, reset register. */
const FADT_FLAGS = { WBINVD: 1 << 0, PROC_C1: 1 << 2, SLP_BUTTON: 1 << 5, RESET_REG: 1 << 10 } as const;
const RESET = { PORT: 0xcf9, VALUE: 0x06 } as const;
/** Generic address structure (5.2.3.1). */
const GAS = { MEMORY: 0, IO: 1 } as const;
const FADT_BYTES = { V1: 116, V3: 244 } as const;

/** MADT (5.2.12): dual 8259s; structure types; interrupt flags: active high and level-triggered. */
const PCAT_COMPAT = 1;
const MADT = { LOCAL_APIC: 0, IO_APIC: 1, OVERRIDE: 2, LOCAL_NMI: 4 } as const;
const ENABLED = 1;
const LEVEL_HIGH = 0x000d;
const EDGE_OR_LEVEL_OF_BUS = 0;
const ALL_PROCESSORS = 0xff;
const NMI_INPUT = 1;

/** HPET table: hardware revision, comparators and legacy routing as the capabilities register tells. */
const HPET_ID = 0x8086_a201;
const HPET_BYTES = 56;
const HPET_MIN_TICK = 100;

/** Bytes, and what must be done to them where they come to stand. */
export interface TableBlock {
  readonly bytes: Uint8Array;
  /** `at` holds an offset in the block, in `size` bytes, which is to become an address. */
  readonly pointers: readonly { readonly at: number; readonly size: 4 | 8 }[];
  /** At `at` stands the checksum of `length` bytes from `start`. To be set after the pointers. */
  readonly checksums: readonly { readonly at: number; readonly start: number; readonly length: number }[];
  /** Offsets of the tables that the root pointer names. */
  readonly rsdt: number;
  readonly xsdt: number;
}

class Writer {
  readonly bytes: number[] = [];
  readonly pointers: { at: number; size: 4 | 8 }[] = [];
  readonly checksums: { at: number; start: number; length: number }[] = [];

  get here(): number {
    return this.bytes.length;
  }

  align(): void {
    while (this.bytes.length % ALIGNMENT !== 0) this.bytes.push(0);
  }

  put(value: number, size: number): void {
    for (let i = 0; i < size; i++) this.bytes.push(Math.floor(value / 2 ** (8 * i)) & 0xff);
  }

  text(value: string): void {
    for (const c of value) this.bytes.push(c.charCodeAt(0));
  }

  pointer(offset: number, size: 4 | 8): void {
    this.pointers.push({ at: this.here, size });
    this.put(offset, size);
  }

  /** A table with its header; gives its offset. */
  table(signature: string, revision: number, write: () => void): number {
    this.align();
    const start = this.here;
    this.text(signature);
    this.put(0, 4);
    this.put(revision, 1);
    this.put(0, 1);
    this.text(OEM.ID + OEM.TABLE);
    this.put(OEM.REVISION, 4);
    this.text(OEM.CREATOR);
    this.put(OEM.CREATOR_REVISION, 4);
    write();
    const length = this.here - start;
    for (let i = 0; i < 4; i++) this.bytes[start + 4 + i] = (length >>> (8 * i)) & 0xff;
    this.checksums.push({ at: start + CHECKSUM_AT, start, length });
    return start;
  }

  address(space: number, bits: number, address: number): void {
    this.put(space, 1);
    this.put(bits, 1);
    this.put(0, 2);
    this.put(address, 8);
  }
}

/** Where the FACS is: at an address, or at an offset in the same block. */
type FacsPlace = { readonly address: number } | { readonly offset: number };

/** Fixed description, in the form of ACPI 1.0 or of ACPI 2.0 and later (5.2.9); `base` is where its registers stand. */
function fadt(out: Writer, version: 1 | 3, dsdt: number, facs: FacsPlace, base: number): number {
  const v3 = version === 3;
  const putFacs = (size: 4 | 8): void => {
    if ("address" in facs) out.put(facs.address, size);
    else out.pointer(facs.offset, size);
  };
  return out.table("FACP", version, () => {
    const start = out.here - HEADER_BYTES;
    putFacs(4);
    out.pointer(dsdt, 4);
    out.put(v3 ? 0 : 1, 1);
    out.put(v3 ? PROFILE_DESKTOP : 0, 1);
    out.put(SCI_IRQ, 2);
    out.put(SMI_COMMAND_PORT, 4);
    out.put(SMI_COMMAND.ACPI_ENABLE, 1);
    out.put(SMI_COMMAND.ACPI_DISABLE, 1);
    out.put(0, 2);
    out.put(base + PM.EVENT, 4);
    out.put(0, 4);
    out.put(base + PM.CONTROL, 4);
    out.put(0, 8);
    out.put(base + PM.TIMER, 4);
    out.put(base + PM.GPE0, 4);
    out.put(0, 4);
    out.put(PM.EVENT_BYTES, 1);
    out.put(PM.CONTROL_BYTES, 1);
    out.put(0, 1);
    out.put(PM.TIMER_BYTES, 1);
    out.put(PM.GPE0_BYTES, 1);
    out.put(0, 3);
    out.put(NO_C2, 2);
    out.put(NO_C3, 2);
    out.put(0, 8);
    out.put(RTC_CENTURY, 1);
    out.put(v3 ? BOOT_ARCHITECTURE : 0, 2);
    out.put(0, 1);
    const { WBINVD, PROC_C1, SLP_BUTTON, RESET_REG } = FADT_FLAGS;
    out.put(WBINVD | PROC_C1 | SLP_BUTTON | (v3 ? RESET_REG : 0), 4);
    if (!v3) return;
    out.address(GAS.IO, 8, RESET.PORT);
    out.put(RESET.VALUE, 1);
    out.put(0, 3);
    putFacs(8);
    out.pointer(dsdt, 8);
    out.address(GAS.IO, 8 * PM.EVENT_BYTES, base + PM.EVENT);
    out.address(GAS.IO, 0, 0);
    out.address(GAS.IO, 8 * PM.CONTROL_BYTES, base + PM.CONTROL);
    out.address(GAS.IO, 0, 0);
    out.address(GAS.IO, 0, 0);
    out.address(GAS.IO, 8 * PM.TIMER_BYTES, base + PM.TIMER);
    out.address(GAS.IO, 8 * PM.GPE0_BYTES, base + PM.GPE0);
    out.address(GAS.IO, 0, 0);
    out.put(0, FADT_BYTES.V3 - (out.here - start));
  });
}

function madt(out: Writer): number {
  const override = (irq: number, flags: number): void => {
    out.put(MADT.OVERRIDE, 1);
    out.put(10, 1);
    out.put(0, 1);
    out.put(irq, 1);
    out.put(gsiOf(irq), 4);
    out.put(flags, 2);
  };
  return out.table("APIC", 1, () => {
    out.put(LOCAL_APIC.base, 4);
    out.put(PCAT_COMPAT, 4);
    out.put(MADT.LOCAL_APIC, 1);
    out.put(8, 1);
    out.put(0, 1);
    out.put(LOCAL_APIC.id, 1);
    out.put(ENABLED, 4);
    out.put(MADT.IO_APIC, 1);
    out.put(12, 1);
    out.put(IO_APIC.id, 1);
    out.put(0, 1);
    out.put(IO_APIC.base, 4);
    out.put(0, 4);
    override(0, EDGE_OR_LEVEL_OF_BUS);
    for (const irq of [SCI_IRQ, ...PIRQ_POSSIBLE].sort((a, b) => a - b)) override(irq, LEVEL_HIGH);
    out.put(MADT.LOCAL_NMI, 1);
    out.put(6, 1);
    out.put(ALL_PROCESSORS, 1);
    out.put(EDGE_OR_LEVEL_OF_BUS, 2);
    out.put(NMI_INPUT, 1);
  });
}

function hpet(out: Writer): number {
  return out.table("HPET", 1, () => {
    out.put(HPET_ID, 4);
    out.address(GAS.MEMORY, 0, HPET_BASE);
    out.put(0, 1);
    out.put(HPET_MIN_TICK, 2);
    out.put(0, HPET_BYTES - HEADER_BYTES - 19);
  });
}

/** All tables but the root pointer. `facsAddress` is where the FACS stands; without it the block begins with it. */
export function acpiTables(board: Board, facsAddress?: number): TableBlock {
  const out = new Writer();
  if (facsAddress === undefined) for (const byte of facsTable()) out.bytes.push(byte);
  const facs = facsAddress === undefined ? { offset: 0 } : { address: facsAddress };
  const dsdt = out.table("DSDT", 1, () => {
    for (const byte of dsdtTerms(board)) out.bytes.push(byte);
  });
  const others = [...(board.apic ? [madt(out)] : []), ...(board.hpet ? [hpet(out)] : [])];
  const fadt1 = fadt(out, 1, dsdt, facs, board.powerPorts);
  const fadt3 = fadt(out, 3, dsdt, facs, board.powerPorts);
  const rsdt = out.table("RSDT", 1, () => {
    for (const table of [fadt1, ...others]) out.pointer(table, 4);
  });
  const xsdt = out.table("XSDT", 1, () => {
    for (const table of [fadt3, ...others]) out.pointer(table, 8);
  });
  return { bytes: Uint8Array.from(out.bytes), pointers: out.pointers, checksums: out.checksums, rsdt, xsdt };
}

/** The firmware's part of what it shares with systems: hardware signature, waking vectors, global lock (5.2.10). */
export function facsTable(): Uint8Array {
  const out = new Writer();
  out.put(FACS_SIGNATURE, 4);
  out.put(FACS_BYTES, 4);
  out.put(0, 24);
  out.put(FACS_VERSION, 1);
  out.put(0, FACS_BYTES - out.here);
  return Uint8Array.from(out.bytes);
}

/** The first four bytes of a FACS, "FACS", as a little-endian word. */
export const FACS_SIGNATURE = 0x53434146;
/** Offset of the waking vector in the FACS. */
export const FACS_WAKING_VECTOR = 12;

/** Root pointer to RSDT and XSDT at these addresses (5.2.5.3); checksums included. */
export function rootPointer(rsdt: number, xsdt: number): Uint8Array {
  const out = new Writer();
  out.text("RSD PTR ");
  out.put(0, 1);
  out.text(OEM.ID);
  out.put(2, 1);
  out.put(rsdt, 4);
  out.put(RSDP.BYTES, 4);
  out.put(xsdt, 8);
  out.put(0, 4);
  const bytes = Uint8Array.from(out.bytes);
  bytes[RSDP.CHECKSUM] = checksum(bytes.subarray(0, RSDP.BYTES_1));
  bytes[RSDP.CHECKSUM_2] = checksum(bytes);
  return bytes;
}

/** A block's bytes for a place in memory: pointers and checksums set. */
export function placed({ bytes, pointers, checksums }: TableBlock, base: number): Uint8Array {
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  for (const { at } of pointers) view.setUint32(at, view.getUint32(at, true) + base, true);
  for (const { at, start, length } of checksums) {
    out[at] = 0;
    out[at] = checksum(out.subarray(start, start + length));
  }
  return out;
}
