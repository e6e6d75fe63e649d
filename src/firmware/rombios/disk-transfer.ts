/** Sectors between a drive and guest memory, for the CHS functions and the extensions of INT 13h alike. */
import type { BlockBackend, Disk, Geometry } from "../../hypervisor/backend.ts";
import type { Call } from "./call.ts";
import { DISK_ERROR } from "./floppy.ts";

/** What INT 13h reads and writes sectors of. */
export interface SectorMedium {
  readonly backend: BlockBackend;
  readonly sectorBytes: number;
  readonly totalSectors: number;
}

/** A drive on an IDE cable as the extensions of INT 13h see it. */
export interface IdeDrive {
  readonly kind: "disk" | "cdrom";
  /** Undefined: nothing lies in the drive. */
  readonly medium: SectorMedium | undefined;
  /** Position in the machine: primary master, primary slave, secondary master, secondary slave. */
  readonly position: number;
  /** Offset of its device parameter table extension in the extended BIOS data area. */
  readonly extension: number;
  /** Physical geometry of a disk. */
  readonly geometry: Geometry | undefined;
}

/** A disk as INT 13h numbers it. */
export interface BiosDisk extends IdeDrive {
  readonly disk: Disk;
  readonly medium: SectorMedium;
  readonly geometry: Geometry;
  /** Number in BIOS order; DL is 80h more. */
  readonly index: number;
}

/** `fn` of {@link transferSectors}. */
export const TRANSFER = { READ: 0x02, WRITE: 0x03, VERIFY: 0x04 } as const;

/**
 * Move sectors between a medium and memory: `fn` is one of {@link TRANSFER}. Gives the INT 13h status; a request beyond
 * the end moves nothing.
 */
export async function transferSectors(
  call: Call,
  { backend, sectorBytes, totalSectors }: SectorMedium,
  fn: number,
  lba: number,
  count: number,
  address: number,
): Promise<number> {
  const { memory } = call.context;
  if (lba + count > totalSectors) return DISK_ERROR.SECTOR_NOT_FOUND;
  if (fn === TRANSFER.WRITE && backend.readonly) return DISK_ERROR.WRITE_PROTECTED;
  const buffer = new Uint8Array(count * sectorBytes);
  try {
    if (fn === TRANSFER.WRITE) {
      memory.read(address, buffer);
      await backend.write(lba * sectorBytes, buffer);
    } else {
      await backend.read(lba * sectorBytes, buffer);
      if (fn === TRANSFER.READ) memory.write(address, buffer);
    }
    return DISK_ERROR.NONE;
  } catch {
    return fn === TRANSFER.WRITE ? DISK_ERROR.WRITE_FAULT : DISK_ERROR.BAD_CRC;
  }
}
