/** Places the firmware in a new domain and makes the memory map that it serves. */
import { VmxonError } from "../common/errors.ts";
import { HPET_BASE, IO_APIC, LOCAL_APIC } from "../devices/pc-layout.ts";
import type { E820Entry } from "../hypervisor/initial-state.ts";
import { acpiPlaces, type Board, hasAcpiTables } from "./board.ts";
import type { Rom } from "./service.ts";

/** Boundaries of the PC's first megabyte. */
const LAYOUT = {
  /** The BIOS keeps the last KB of base memory for its extended data area: 9FC00h where there are 640 KB. */
  EBDA_BYTES: 0x400,
  BASE_END: 0xa0000,
  OPTION_ROMS: 0xc0000,
  SYSTEM_ROM: 0xf0000,
  MEGABYTE: 0x100000,
} as const;
const PAGE = 0x1000;
const HIGHEST_RAM = 2 ** 32;
const TYPE = { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4 } as const;
/** The processor starts in the last 64 KB of the address space. */
const TOP_ROM = { BASE: 0xffff_0000, SIZE: 0x10000 } as const;
const HPET_BYTES = 0x400;

/**
 * The E820 map of a domain with `memoryBytes` of RAM: base memory up to the extended BIOS data area, that area, the
 * system ROM, RAM from 1 MB, what ACPI takes of it, and interrupt controllers, timers and ROM below 4 GB. Throws
 * VmxonError("config") when the size is no multiple of 4 KB, below 64 KB or beyond 4 GB.
 */
export function buildMemoryMap(
  memoryBytes: number,
  { acpi, apic, hpet }: Pick<Board, "acpi" | "apic" | "hpet"> = { acpi: false, apic: false, hpet: false },
): E820Entry[] {
  if (
    !Number.isInteger(memoryBytes) ||
    memoryBytes % PAGE !== 0 ||
    memoryBytes < 0x10000 ||
    memoryBytes > HIGHEST_RAM
  ) {
    throw new VmxonError(
      "config",
      `a domain cannot have ${memoryBytes} bytes of memory: give a multiple of 4 KB from 64 KB to 4 GB`,
    );
  }
  const base = Math.min(memoryBytes, LAYOUT.BASE_END);
  const map: E820Entry[] = [
    { base: 0, size: base - LAYOUT.EBDA_BYTES, type: TYPE.RAM },
    { base: base - LAYOUT.EBDA_BYTES, size: LAYOUT.EBDA_BYTES, type: TYPE.RESERVED },
    { base: LAYOUT.SYSTEM_ROM, size: LAYOUT.MEGABYTE - LAYOUT.SYSTEM_ROM, type: TYPE.RESERVED },
  ];
  if (memoryBytes > LAYOUT.MEGABYTE) {
    const { tables, facs } = acpiPlaces(memoryBytes);
    const withAcpi = acpi && hasAcpiTables(memoryBytes);
    const end = withAcpi ? tables : memoryBytes;
    map.push({ base: LAYOUT.MEGABYTE, size: end - LAYOUT.MEGABYTE, type: TYPE.RAM });
    if (withAcpi) {
      map.push({ base: tables, size: facs - tables, type: TYPE.ACPI });
      map.push({ base: facs, size: memoryBytes - facs, type: TYPE.NVS });
    }
  }
  if (apic) map.push({ base: IO_APIC.base, size: PAGE, type: TYPE.RESERVED });
  if (hpet) map.push({ base: HPET_BASE, size: HPET_BYTES, type: TYPE.RESERVED });
  if (apic) map.push({ base: LOCAL_APIC.base, size: PAGE, type: TYPE.RESERVED });
  map.push({ base: TOP_ROM.BASE, size: TOP_ROM.SIZE, type: TYPE.RESERVED });
  return map;
}

/** What the loader needs of a domain. */
export interface FirmwareHost {
  /** Map an image read-only at its address and serve its traps. */
  addRom(rom: Rom): void;
}

/**
 * Place ROM images in a domain. Throws VmxonError("firmware") when one lies outside C0000h–FFFFFh, is not page-aligned or
 * overlaps another.
 */
export function loadFirmware(host: FirmwareHost, roms: readonly Rom[]): void {
  let end: number = LAYOUT.OPTION_ROMS;
  let last = "the start of the ROM area";
  for (const rom of roms.toSorted((a, b) => a.base - b.base)) {
    const top = rom.base + rom.image.length;
    if (rom.base % PAGE !== 0 || rom.image.length % PAGE !== 0 || rom.image.length === 0) {
      throw new VmxonError("firmware", `the ROM image "${rom.name}" must begin and end on a 4 KB boundary`);
    }
    if (rom.base < end || top > LAYOUT.MEGABYTE) {
      throw new VmxonError(
        "firmware",
        `the ROM image "${rom.name}" at 0x${rom.base.toString(16)} overlaps ${last} or ends beyond 1 MB`,
      );
    }
    end = top;
    last = `"${rom.name}"`;
    host.addRom(rom);
  }
}
