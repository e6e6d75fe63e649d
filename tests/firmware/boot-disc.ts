/** Bootable CDs for tests: an ISO 9660 volume with nothing in it but what El Torito needs. */

const SECTOR = 2048;
const BOOT_RECORD = 17;
const CATALOG = 20;

/** An entry of a boot catalog. */
export interface CatalogEntry {
  readonly media: number;
  readonly lba: number;
  readonly count?: number;
  readonly segment?: number;
  /** 0, the default, is a PC's. */
  readonly platform?: number;
}

function put(bytes: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}

function putEntry(bytes: Uint8Array, at: number, { media, lba, count = 4, segment = 0 }: CatalogEntry): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 32);
  view.setUint8(0, 0x88);
  view.setUint8(1, media);
  view.setUint16(2, segment, true);
  view.setUint16(6, count, true);
  view.setUint32(8, lba, true);
}

/** A boot catalog: the first entry is the default one, each other has a section of its own. */
export function bootCatalog([first, ...sections]: readonly CatalogEntry[]): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  bytes.set([1, first!.platform ?? 0]);
  bytes.set([0x55, 0xaa], 0x1e);
  const view = new DataView(bytes.buffer);
  let sum = 0;
  for (let at = 0; at < 32; at += 2) sum += view.getUint16(at, true);
  view.setUint16(0x1c, -sum, true);
  putEntry(bytes, 32, first!);
  sections.forEach((entry, i) => {
    const at = 64 + i * 64;
    bytes.set([i === sections.length - 1 ? 0x91 : 0x90, entry.platform ?? 0, 1, 0], at);
    putEntry(bytes, at + 32, entry);
  });
  return bytes;
}

/** Make the disc in these bytes bootable. */
export function makeBootable(disc: Uint8Array, entries: readonly CatalogEntry[]): void {
  for (const [sector, type] of [
    [16, 1],
    [BOOT_RECORD, 0],
    [18, 0xff],
  ] as const) {
    disc.fill(0, sector * SECTOR, (sector + 1) * SECTOR);
    disc[sector * SECTOR] = type;
    put(disc, sector * SECTOR + 1, "CD001");
  }
  put(disc, BOOT_RECORD * SECTOR + 7, "EL TORITO SPECIFICATION");
  disc[BOOT_RECORD * SECTOR + 0x47] = CATALOG;
  disc.set(bootCatalog(entries), CATALOG * SECTOR);
}
