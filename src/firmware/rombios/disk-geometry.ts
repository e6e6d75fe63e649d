/**
 * Logical geometry of a fixed disk: what INT 13h calls see. At most 1024 cylinders, 255 heads and 63 sectors, so that
 * the 24-bit addresses of INT 13h reach as far as they can.
 */
import type { Disk, Geometry } from "../../hypervisor/backend.ts";

export const MAX_CYLINDERS = 1024;
const MAX_SECTORS = 63;
/** Heads of LBA-assisted translation, by size; the next larger number is taken until 1024 cylinders suffice. */
const ASSISTED_HEADS = [16, 32, 64, 128, 255];

const PARTITION_TABLE = 0x1be;
const PARTITION_BYTES = 16;
const PARTITIONS = 4;
const SIGNATURE = 0x1fe;

/** LBA-assisted translation (Phoenix EDD 3.0 specification, annex). */
export function assistedGeometry(totalSectors: number): Geometry {
  const heads =
    ASSISTED_HEADS.find((candidate) => totalSectors <= MAX_CYLINDERS * candidate * MAX_SECTORS) ??
    ASSISTED_HEADS.at(-1)!;
  const cylinders = Math.floor(totalSectors / (heads * MAX_SECTORS));
  return { cylinders: Math.min(Math.max(cylinders, 1), MAX_CYLINDERS), heads, sectors: MAX_SECTORS };
}

const read32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;

/**
 * The geometry under which a disk was partitioned, read from its master boot record: partitions end at the last head and
 * sector of a cylinder, and start and end must agree with their LBA values. Undefined when it cannot be told.
 */
export function partitionedGeometry(mbr: Uint8Array, totalSectors: number): Geometry | undefined {
  if (mbr[SIGNATURE] !== 0x55 || mbr[SIGNATURE + 1] !== 0xaa) return undefined;
  let found: Geometry | undefined;
  for (let i = 0; i < PARTITIONS; i++) {
    const at = PARTITION_TABLE + i * PARTITION_BYTES;
    const length = read32(mbr, at + 12);
    if (mbr[at + 4] === 0 || length === 0) continue;
    const heads = mbr[at + 5]! + 1;
    const sectors = mbr[at + 6]! & 0x3f;
    if (heads < 2 || heads > 255 || sectors === 0) return undefined;
    const lba = (head: number, sector: number, high: number): number =>
      ((((sector & 0xc0) << 2) | high) * heads + head) * sectors + (sector & 0x3f) - 1;
    const start = read32(mbr, at + 8);
    if (lba(mbr[at + 1]!, mbr[at + 2]!, mbr[at + 3]!) !== start) return undefined;
    const end = start + length - 1;
    const endCylinder = Math.floor(end / (heads * sectors));
    // Beyond the 1024th cylinder the table holds a maximum, not an address.
    if (endCylinder < MAX_CYLINDERS && lba(mbr[at + 5]!, mbr[at + 6]!, mbr[at + 7]!) !== end) return undefined;
    if (found !== undefined && (found.heads !== heads || found.sectors !== sectors)) return undefined;
    const cylinders = Math.min(MAX_CYLINDERS, Math.max(1, Math.floor(totalSectors / (heads * sectors))));
    found = { cylinders, heads, sectors };
  }
  return found;
}

/** Logical geometry of a disk, given its first sector if that could be read. */
export function logicalGeometry(disk: Disk, totalSectors: number, mbr: Uint8Array | undefined): Geometry {
  const partitioned = mbr === undefined ? undefined : partitionedGeometry(mbr, totalSectors);
  if (partitioned !== undefined) return partitioned;
  return disk.geometry.cylinders <= MAX_CYLINDERS ? disk.geometry : assistedGeometry(totalSectors);
}
