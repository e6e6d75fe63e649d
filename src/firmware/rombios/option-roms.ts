/**
 * Option ROMs between C0000h and the system ROM: finding them, calling their initialization, and remembering what they
 * offer to boot (boot entry vectors). Plug and Play BIOS Specification 1.0A, 3.2; BIOS Boot Specification 1.01, 3.3.
 */
import type { Call } from "./call.ts";
import { BDA, EBDA } from "./layout.ts";
import { lockOptionRom, shadowOptionRom } from "./pci-setup.ts";

/** Segments that are looked at, how far apart, and the header: signature, length in 512 bytes, entry, PnP header. */
const SCAN = { FIRST: 0xc000, END: 0xf000, STEP: 0x80 } as const;
const HEADER = { SIGNATURE: 0xaa55, UNIT: 512, LENGTH: 2, ENTRY: 3, PNP: 0x1a } as const;
/** Expansion header. */
const PNP = {
  SIGNATURE: 0x506e5024,
  LENGTH: 5,
  UNIT: 16,
  NEXT: 6,
  PRODUCT: 0x10,
  CONNECTION: 0x16,
  BOOT_ENTRY: 0x1a,
} as const;
const MAX_EXPANSIONS = 16;
/** Boot entries that the extended data area has room for; offset and segment of each, and of its name. */
const MAX_ENTRIES = 4;
const ENTRY_BYTES = 6;
const PRODUCT_LENGTH = 48;

/** Something that an option ROM can boot. */
export interface BootEntry {
  readonly segment: number;
  readonly offset: number;
  readonly product: string;
}

function checksum(call: Call, at: number, bytes: number): number {
  const image = new Uint8Array(bytes);
  call.context.memory.read(at, image);
  return image.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

/** Offset of the PnP expansion headers of the ROM in a segment. */
function expansions(call: Call, segment: number): number[] {
  const { memory } = call.context;
  const found: number[] = [];
  let offset = memory.read16(segment * 16 + HEADER.PNP);
  while (offset !== 0 && found.length < MAX_EXPANSIONS) {
    const at = call.far(segment, offset);
    const bytes = memory.read8(at + PNP.LENGTH) * PNP.UNIT;
    if (memory.read32(at) !== PNP.SIGNATURE || bytes === 0 || checksum(call, at, bytes) !== 0) break;
    found.push(offset);
    offset = memory.read16(at + PNP.NEXT);
  }
  return found;
}

/** Start over. */
export function resetScan(call: Call): void {
  const { memory } = call.context;
  memory.write16(call.ebda + EBDA.ROM_SCAN, SCAN.FIRST);
  memory.write8(call.ebda + EBDA.BOOT_ENTRY_COUNT, 0);
}

/**
 * Find the next option ROM: 55 AA, length in 512-byte units, bytes that add up to zero. True with its entry point at
 * 40:67h, false when there are no more.
 */
export function nextRom(call: Call): boolean {
  const { memory } = call.context;
  const state = call.ebda + EBDA.ROM_SCAN;
  for (let segment = memory.read16(state); segment < SCAN.END; segment += SCAN.STEP) {
    const at = segment * 16;
    const bytes = memory.read8(at + HEADER.LENGTH) * HEADER.UNIT;
    if (memory.read16(at) !== HEADER.SIGNATURE || bytes === 0 || at + bytes > SCAN.END * 16) continue;
    if (checksum(call, at, bytes) !== 0) continue;
    memory.write16(state, segment + Math.ceil(bytes / 16 / SCAN.STEP) * SCAN.STEP);
    shadowOptionRom(call.context, at, bytes);
    setPointer(call, segment, HEADER.ENTRY);
    return true;
  }
  return false;
}

function setPointer(call: Call, segment: number, offset: number): void {
  const { memory } = call.context;
  memory.write16(BDA.POINTER, offset);
  memory.write16(BDA.POINTER + 2, segment);
}

/** Nobody writes to the option ROMs any more. */
export function lockRoms(call: Call): void {
  const { memory, io } = call.context;
  for (let segment: number = SCAN.FIRST; segment < SCAN.END; segment += SCAN.STEP) {
    const at = segment * 16;
    const bytes = memory.read8(at + HEADER.LENGTH) * HEADER.UNIT;
    if (memory.read16(at) === HEADER.SIGNATURE && bytes !== 0) lockOptionRom(io, at, bytes);
  }
}

/**
 * The ROM whose entry stands at 40:67h is initialized. Remembers what it boots; true when it wants to connect itself
 * with the call that 40:67h then points to, so that its disks are among the BIOS's.
 */
export function romInitialized(call: Call): boolean {
  const { memory } = call.context;
  const segment = memory.read16(BDA.POINTER + 2);
  // It may have become shorter, or changed what it offers.
  let connects = false;
  for (const offset of expansions(call, segment)) {
    const at = call.far(segment, offset);
    const boot = memory.read16(at + PNP.BOOT_ENTRY);
    const connection = memory.read16(at + PNP.CONNECTION);
    if (boot !== 0) addEntry(call, segment, boot, memory.read16(at + PNP.PRODUCT));
    else if (connection !== 0 && !connects) {
      setPointer(call, segment, connection);
      connects = true;
    }
  }
  return connects;
}

function addEntry(call: Call, segment: number, offset: number, product: number): void {
  const { memory } = call.context;
  const count = memory.read8(call.ebda + EBDA.BOOT_ENTRY_COUNT);
  if (count >= MAX_ENTRIES) return;
  const at = call.ebda + EBDA.BOOT_ENTRIES + count * ENTRY_BYTES;
  memory.write16(at, offset);
  memory.write16(at + 2, segment);
  memory.write16(at + 4, product);
  memory.write8(call.ebda + EBDA.BOOT_ENTRY_COUNT, count + 1);
}

function productName(call: Call, segment: number, offset: number): string {
  let name = "";
  for (let i = 0; offset !== 0 && i < PRODUCT_LENGTH; i++) {
    const code = call.context.memory.read8(call.far(segment, offset + i));
    if (code < 0x20) break;
    name += String.fromCharCode(code);
  }
  return name === "" ? "network" : name;
}

/** What option ROMs boot. */
export function bootEntries(call: Call): BootEntry[] {
  const { memory } = call.context;
  const count = Math.min(memory.read8(call.ebda + EBDA.BOOT_ENTRY_COUNT), MAX_ENTRIES);
  return Array.from({ length: count }, (_, i) => {
    const at = call.ebda + EBDA.BOOT_ENTRIES + i * ENTRY_BYTES;
    const segment = memory.read16(at + 2);
    return { segment, offset: memory.read16(at), product: productName(call, segment, memory.read16(at + 4)) };
  });
}
