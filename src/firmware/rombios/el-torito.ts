/**
 * What a CD says of booting: the boot record volume descriptor and the boot catalog. "El Torito" Bootable CD-ROM Format
 * Specification 1.0, sections 2 and 3.
 */
import type { BlockBackend, CdMedium } from "../../hypervisor/backend.ts";
import { CD_SECTOR } from "./cdrom.ts";

/** Boot media types (low four bits of an entry's second byte). */
export const BOOT_MEDIA = { NONE: 0, FLOPPY_1200: 1, FLOPPY_1440: 2, FLOPPY_2880: 3, DISK: 4 } as const;

/** One image to boot. */
export interface BootImage {
  /** One of {@link BOOT_MEDIA}. */
  readonly media: number;
  /** Where it is loaded. */
  readonly segment: number;
  /** Sectors of 512 bytes to load. */
  readonly count: number;
  /** First CD sector. */
  readonly lba: number;
}

/** The descriptors of a session begin at its sector 16; a terminator ends them. */
const DESCRIPTORS = { FIRST: 16, MOST: 32 } as const;
const DESCRIPTOR = { TYPE: 0, ID: 1, SYSTEM: 7, CATALOG: 0x47 } as const;
const TYPE = { BOOT_RECORD: 0, TERMINATOR: 0xff } as const;
const ISO_ID = "CD001";
const SYSTEM_ID = "EL TORITO SPECIFICATION";
const MAX_CATALOG_SECTORS = 8;
const ENTRY_BYTES = 32;
/** Header indicators (2.1–2.4). */
const HEADER = { VALIDATION: 0x01, MORE_SECTIONS: 0x90, LAST_SECTION: 0x91, BOOTABLE: 0x88, EXTENSION: 0x44 } as const;
const PLATFORM_X86 = 0;
const MEDIA_MASK = 0x0f;
/** Of a section entry's media byte: extension records follow. */
const CONTINUES = 1 << 5;
const DEFAULT_SEGMENT = 0x07c0;

const word = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
const long = (bytes: Uint8Array, at: number): number => (word(bytes, at) | (word(bytes, at + 2) << 16)) >>> 0;
const text = (bytes: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...bytes.subarray(at, at + length));

/** CD sectors, or undefined when they are not there or cannot be read. */
export async function readSectors(backend: BlockBackend, lba: number, count: number): Promise<Uint8Array | undefined> {
  if ((lba + count) * CD_SECTOR > backend.size) return undefined;
  const bytes = new Uint8Array(count * CD_SECTOR);
  return backend.read(lba * CD_SECTOR, bytes).then(
    () => bytes,
    () => undefined,
  );
}

/** First CD sector of the boot catalog, which the last session names. */
export async function catalogSector({ backend, tracks }: CdMedium): Promise<number | undefined> {
  const last = tracks?.at(-1);
  const start = tracks?.find((track) => track.session === last?.session)?.start ?? 0;
  for (let i = 0; i < DESCRIPTORS.MOST; i++) {
    const sector = await readSectors(backend, start + DESCRIPTORS.FIRST + i, 1);
    if (sector === undefined || text(sector, DESCRIPTOR.ID, ISO_ID.length) !== ISO_ID) return undefined;
    if (sector[DESCRIPTOR.TYPE] === TYPE.TERMINATOR) return undefined;
    if (sector[DESCRIPTOR.TYPE] === TYPE.BOOT_RECORD && text(sector, DESCRIPTOR.SYSTEM, SYSTEM_ID.length) === SYSTEM_ID)
      return long(sector, DESCRIPTOR.CATALOG);
  }
  return undefined;
}

function imageOf(entry: Uint8Array): BootImage | undefined {
  if (entry[0] !== HEADER.BOOTABLE) return undefined;
  const media = entry[1]! & MEDIA_MASK;
  if (media > BOOT_MEDIA.DISK) return undefined;
  return { media, segment: word(entry, 2) || DEFAULT_SEGMENT, count: word(entry, 6), lba: long(entry, 8) };
}

function isValidation(entry: Uint8Array): boolean {
  if (entry[0] !== HEADER.VALIDATION || entry[0x1e] !== 0x55 || entry[0x1f] !== 0xaa) return false;
  let sum = 0;
  for (let at = 0; at < ENTRY_BYTES; at += 2) sum += word(entry, at);
  return (sum & 0xffff) === 0;
}

/** Bootable images for a PC, in the order of the catalog; none where it is not valid. */
export function bootImages(catalog: Uint8Array): BootImage[] {
  const entry = (i: number): Uint8Array => catalog.subarray(i * ENTRY_BYTES, (i + 1) * ENTRY_BYTES);
  const entries = Math.floor(catalog.length / ENTRY_BYTES);
  const validation = entry(0);
  if (entries < 2 || !isValidation(validation)) return [];
  const images: (BootImage | undefined)[] = [];
  if (validation[1] === PLATFORM_X86) images.push(imageOf(entry(1)));
  let at = 2;
  for (let more = true; more && at < entries; ) {
    const header = entry(at++);
    if (header[0] !== HEADER.MORE_SECTIONS && header[0] !== HEADER.LAST_SECTION) break;
    more = header[0] === HEADER.MORE_SECTIONS;
    for (let left = word(header, 2); left > 0 && at < entries; left--) {
      const section = entry(at++);
      if (header[1] === PLATFORM_X86) images.push(imageOf(section));
      for (let continues = (section[1]! & CONTINUES) !== 0; continues && at < entries; ) {
        const extension = entry(at++);
        continues = extension[0] === HEADER.EXTENSION && (extension[1]! & CONTINUES) !== 0;
      }
    }
  }
  return images.filter((image) => image !== undefined);
}

/** The first image that a disc offers to a PC. */
export async function findBootImage(disc: CdMedium): Promise<BootImage | undefined> {
  const at = await catalogSector(disc);
  if (at === undefined) return undefined;
  const sectors = Math.min(MAX_CATALOG_SECTORS, Math.floor(disc.backend.size / CD_SECTOR) - at);
  const catalog = sectors > 0 ? await readSectors(disc.backend, at, sectors) : undefined;
  return catalog && bootImages(catalog)[0];
}
