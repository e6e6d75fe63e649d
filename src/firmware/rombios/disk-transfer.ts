/** Sectors between a fixed disk and guest memory, for the CHS functions and the extensions of INT 13h alike. */
import type { Disk } from "../../hypervisor/backend.ts";
import type { Call } from "./call.ts";
import { DISK_ERROR, SECTOR_BYTES } from "./floppy.ts";

/** A disk as INT 13h numbers it. */
export interface BiosDisk {
  readonly disk: Disk;
  /** Position in the machine: primary master, primary slave, secondary master, secondary slave. */
  readonly position: number;
  /** Number in BIOS order; DL is 80h more. */
  readonly index: number;
  readonly totalSectors: number;
}

/**
 * Move sectors between a disk and memory: `fn` 02h reads, 03h writes, 04h verifies. Gives the INT 13h status; a request
 * beyond the end moves nothing.
 */
export async function transferSectors(
  call: Call,
  entry: BiosDisk,
  fn: number,
  lba: number,
  count: number,
  address: number,
): Promise<number> {
  const { memory } = call.context;
  const { backend } = entry.disk;
  if (lba + count > entry.totalSectors) return DISK_ERROR.SECTOR_NOT_FOUND;
  if (fn === 0x03 && backend.readonly) return DISK_ERROR.WRITE_PROTECTED;
  const buffer = new Uint8Array(count * SECTOR_BYTES);
  try {
    if (fn === 0x03) {
      memory.read(address, buffer);
      await backend.write(lba * SECTOR_BYTES, buffer);
    } else {
      await backend.read(lba * SECTOR_BYTES, buffer);
      if (fn === 0x02) memory.write(address, buffer);
    }
    return DISK_ERROR.NONE;
  } catch {
    return fn === 0x03 ? DISK_ERROR.WRITE_FAULT : DISK_ERROR.BAD_CRC;
  }
}
