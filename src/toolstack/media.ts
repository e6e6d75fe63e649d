/** Geometries: the standard floppy formats by size, and how a disk's cylinders, heads and sectors are found. */
import type { FloppyMedium, Geometry } from "../hypervisor/backend.ts";

/** Bytes of a sector of floppies and disks. */
export const SECTOR_SIZE = 512;
/** Bytes of a sector of a CD's data. */
export const CD_SECTOR = 2048;

export interface FloppyFormat {
  readonly name: string;
  readonly geometry: Geometry;
  readonly driveType: FloppyMedium["driveType"];
}

const floppy = (
  name: string,
  cylinders: number,
  heads: number,
  sectors: number,
  driveType: FloppyMedium["driveType"],
): FloppyFormat => ({ name, geometry: { cylinders, heads, sectors }, driveType });

/** Every floppy format that is known by its size, smallest first. 1.68 MB is Microsoft's distribution format. */
export const FLOPPY_FORMATS: readonly FloppyFormat[] = [
  floppy("160 KB", 40, 1, 8, 1),
  floppy("180 KB", 40, 1, 9, 1),
  floppy("320 KB", 40, 2, 8, 1),
  floppy("360 KB", 40, 2, 9, 1),
  floppy("640 KB", 80, 2, 8, 3),
  floppy("720 KB", 80, 2, 9, 3),
  floppy("1.2 MB", 80, 2, 15, 2),
  floppy("1.44 MB", 80, 2, 18, 4),
  floppy("1.68 MB", 80, 2, 21, 4),
  floppy("1.72 MB", 82, 2, 21, 4),
  floppy("2.88 MB", 80, 2, 36, 5),
];

/** Capacity of a geometry in bytes. */
export function capacity(geometry: Geometry): number {
  return geometry.cylinders * geometry.heads * geometry.sectors * SECTOR_SIZE;
}

/** The format whose capacity is exactly `size` bytes. */
export function floppyFormatOfSize(size: number): FloppyFormat | undefined {
  return FLOPPY_FORMATS.find((format) => capacity(format.geometry) === size);
}

const FLOPPY_1440 = FLOPPY_FORMATS.find((format) => format.name === "1.44 MB")!;

/** Offsets in the BIOS parameter block of a FAT boot sector. */
const BPB = { bytesPerSector: 0x0b, totalSectors: 0x13, sectorsPerTrack: 0x18, heads: 0x1a } as const;

/**
 * The format for an image that is shorter than its medium: the one that its boot sector describes, else 1.44 MB (or the
 * next larger one). Undefined when no floppy is large enough.
 */
export function floppyFormatFor(size: number, head: Uint8Array): FloppyFormat | undefined {
  if (head.length >= SECTOR_SIZE) {
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
    const sectors = view.getUint16(BPB.totalSectors, true);
    const described = FLOPPY_FORMATS.find(
      ({ geometry }) =>
        view.getUint16(BPB.bytesPerSector, true) === SECTOR_SIZE &&
        capacity(geometry) === sectors * SECTOR_SIZE &&
        view.getUint16(BPB.sectorsPerTrack, true) === geometry.sectors &&
        view.getUint16(BPB.heads, true) === geometry.heads,
    );
    if (described && capacity(described.geometry) >= size) return described;
  }
  if (size <= capacity(FLOPPY_1440.geometry)) return FLOPPY_1440;
  return FLOPPY_FORMATS.find((format) => capacity(format.geometry) >= size);
}

const ATA_MAX = { cylinders: 16383, heads: 16, sectors: 63 } as const;
const PARTITION_TABLE = { offset: 446, entries: 4, entrySize: 16, type: 4, endHead: 5, endSector: 6 } as const;

/**
 * Geometry of a fixed disk: what its partition table was written with, if that fits ATA's limits, else 16 heads of 63
 * sectors. `head` holds at least the first sector. Partitions end on a cylinder boundary by convention, so that the end
 * of an entry tells heads and sectors.
 */
export function diskGeometry(size: number, head: Uint8Array): Geometry {
  let heads: number = ATA_MAX.heads;
  let sectors: number = ATA_MAX.sectors;
  if (head.length >= SECTOR_SIZE && head[510] === 0x55 && head[511] === 0xaa) {
    for (let index = 0; index < PARTITION_TABLE.entries; index++) {
      const entry = PARTITION_TABLE.offset + index * PARTITION_TABLE.entrySize;
      const endHeads = head[entry + PARTITION_TABLE.endHead]! + 1;
      const endSector = head[entry + PARTITION_TABLE.endSector]! & 0x3f;
      if (head[entry + PARTITION_TABLE.type] === 0 || endSector === 0) continue;
      if (endHeads <= ATA_MAX.heads && endHeads > 1) {
        heads = endHeads;
        sectors = endSector;
      }
      break;
    }
  }
  const cylinders = Math.floor(size / (heads * sectors * SECTOR_SIZE));
  return { cylinders: Math.max(1, Math.min(cylinders, ATA_MAX.cylinders)), heads, sectors };
}
