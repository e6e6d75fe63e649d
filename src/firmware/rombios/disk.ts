/**
 * INT 13h for fixed disks (DL 80h and up): CHS functions and the start-up that finds the disks. The extensions that
 * move data or describe drives are in edd.ts. Ralf Brown INT 13h.
 */
import type { Geometry, IdeUnit } from "../../hypervisor/backend.ts";
import type { Call } from "./call.ts";
import { logicalGeometry, MAX_CYLINDERS } from "./disk-geometry.ts";
import { type BiosDisk, transferSectors } from "./disk-transfer.ts";
import { extendedDrive } from "./edd.ts";
import { DISK_ERROR, SECTOR_BYTES } from "./floppy.ts";
import { BDA, EBDA } from "./layout.ts";

const FIRST_DISK = 0x80;
/** Disks that the extended data area has room for. */
export const MAX_DISKS = 4;
const GEOMETRY_BYTES = 4;
const EXTENSION_BYTES = 16;
const TRANSLATED_SIGNATURE = 0xa0;
const MORE_THAN_8_HEADS = 0x08;
const VECTOR_41 = 0x41 * 4;
const VECTOR_46 = 0x46 * 4;

export class DiskServices {
  readonly disks: readonly BiosDisk[];

  /** `units` by their position: primary master, primary slave, secondary master, secondary slave. */
  constructor(units: readonly (IdeUnit | undefined)[]) {
    const present: BiosDisk[] = [];
    units.forEach((disk, position) => {
      if (disk?.kind !== "disk" || present.length === MAX_DISKS) return;
      const { backend, geometry } = disk;
      const index = present.length;
      present.push({
        kind: "disk",
        disk,
        medium: { backend, sectorBytes: SECTOR_BYTES, totalSectors: Math.floor(backend.size / SECTOR_BYTES) },
        geometry,
        position,
        index,
        extension: EBDA.DISK_EXTENSION + index * EXTENSION_BYTES,
      });
    });
    this.disks = present;
  }

  /** POST: choose the logical geometries, write the parameter tables and their vectors. */
  async initialize(call: Call): Promise<void> {
    const { memory } = call.context;
    const { ebda } = call;
    for (const { disk, index, medium } of this.disks) {
      const mbr = new Uint8Array(SECTOR_BYTES);
      const readable =
        disk.backend.size >= SECTOR_BYTES &&
        (await disk.backend.read(0, mbr).then(
          () => true,
          () => false,
        ));
      const logical = logicalGeometry(disk, medium.totalSectors, readable ? mbr : undefined);
      const at = ebda + EBDA.DISK_GEOMETRY + index * GEOMETRY_BYTES;
      memory.write16(at, logical.cylinders);
      memory.write8(at + 2, logical.heads);
      memory.write8(at + 3, logical.sectors);
    }
    this.makeFirst(call, 0);
    memory.write8(BDA.DISK_COUNT, this.disks.length);
    memory.write8(BDA.DISK_STATUS, DISK_ERROR.NONE);
  }

  /** From now on the disk of this index is drive 80h; the one that was has its number. */
  makeFirst(call: Call, index: number): void {
    const { memory } = call.context;
    memory.write8(call.ebda + EBDA.FIRST_DISK, index);
    for (const number of [0, 1]) {
      const disk = this.numbered(call, number);
      if (disk === undefined) continue;
      const offset = number === 0 ? EBDA.DISK_TABLE_0 : EBDA.DISK_TABLE_1;
      this.writeTable(call, call.ebda + offset, this.geometry(call, disk.index), disk.geometry);
      const vector = number === 0 ? VECTOR_41 : VECTOR_46;
      memory.write16(vector, offset);
      memory.write16(vector + 2, call.ebda >> 4);
    }
  }

  /** The disk with a number, counted from 80h. */
  private numbered(call: Call, number: number): BiosDisk | undefined {
    const first = call.context.memory.read8(call.ebda + EBDA.FIRST_DISK);
    return this.disks[number === 0 ? first : number === first ? 0 : number];
  }

  /** Fixed disk parameter table; the second half holds the physical geometry when it differs (EDD 1.1, 5.1). */
  private writeTable(call: Call, at: number, logical: Geometry, physical: Geometry): void {
    const { memory } = call.context;
    for (let i = 0; i < 16; i++) memory.write8(at + i, 0);
    const translated = logical.heads !== physical.heads || logical.sectors !== physical.sectors;
    memory.write16(at, logical.cylinders);
    memory.write8(at + 2, logical.heads);
    memory.write16(at + 5, 0xffff);
    memory.write8(at + 8, physical.heads > 8 ? MORE_THAN_8_HEADS : 0);
    memory.write8(at + 14, logical.sectors);
    if (!translated) {
      memory.write16(at + 12, logical.cylinders);
      return;
    }
    memory.write8(at + 3, TRANSLATED_SIGNATURE);
    memory.write8(at + 4, physical.sectors);
    memory.write16(at + 9, physical.cylinders);
    memory.write8(at + 11, physical.heads);
    let sum = 0;
    for (let i = 0; i < 15; i++) sum += memory.read8(at + i);
    memory.write8(at + 15, -sum & 0xff);
  }

  /** Logical geometry as POST left it. */
  geometry(call: Call, index: number): Geometry {
    const { memory } = call.context;
    const at = call.ebda + EBDA.DISK_GEOMETRY + index * GEOMETRY_BYTES;
    return { cylinders: memory.read16(at), heads: memory.read8(at + 2), sectors: memory.read8(at + 3) };
  }

  /** The INT 13h function in AH. */
  async serve(call: Call): Promise<void> {
    const { memory } = call.context;
    const entry = this.numbered(call, call.dl - FIRST_DISK);
    if (call.ah === 0x15 && entry === undefined) {
      call.ah = 0;
      call.carry = false;
      return;
    }
    if (entry === undefined) {
      if (call.ah === 0x08) call.dl = this.disks.length;
      this.finish(call, DISK_ERROR.BAD_COMMAND);
      return;
    }
    switch (call.ah) {
      case 0x01:
        call.ah = memory.read8(BDA.DISK_STATUS);
        call.carry = call.ah !== 0;
        memory.write8(BDA.DISK_STATUS, DISK_ERROR.NONE);
        return;
      case 0x02:
      case 0x03:
      case 0x04:
      case 0x0c:
        await this.byAddress(call, entry);
        return;
      case 0x08:
        this.parameters(call, entry);
        return;
      case 0x15:
        call.ah = 3;
        call.cx = entry.medium.totalSectors >>> 16;
        call.dx = entry.medium.totalSectors & 0xffff;
        call.carry = false;
        return;
      case 0x00:
      case 0x0d:
        await this.settle(call, entry);
        return;
      case 0x05:
      case 0x09:
      case 0x10:
      case 0x11:
      case 0x14:
        this.finish(call, DISK_ERROR.NONE);
        return;
      case 0x45:
        // A fixed disk is always locked in place: locking, unlocking and asking succeed and change nothing.
        if (call.al > 2) this.finish(call, DISK_ERROR.BAD_COMMAND);
        else {
          call.al = 0;
          this.finish(call, DISK_ERROR.NONE);
        }
        return;
      case 0x46:
        this.finish(call, DISK_ERROR.NOT_REMOVABLE);
        return;
      case 0x49:
        this.finish(call, DISK_ERROR.NONE);
        return;
      default: {
        const status = await extendedDrive(call, entry, this.geometry(call, entry.index));
        if (status !== undefined) this.finish(call, status);
      }
    }
  }

  private finish(call: Call, status: number): void {
    call.context.memory.write8(BDA.DISK_STATUS, status);
    call.ah = status;
    call.carry = status !== DISK_ERROR.NONE;
  }

  /** Reset: DOS asks for it to be sure that what it wrote is on the disk. */
  private async settle(call: Call, entry: BiosDisk): Promise<void> {
    try {
      await entry.disk.backend.flush();
      this.finish(call, DISK_ERROR.NONE);
    } catch {
      this.finish(call, DISK_ERROR.CONTROLLER);
    }
  }

  /** Read, write, verify and seek by cylinder, head and sector. */
  private async byAddress(call: Call, entry: BiosDisk): Promise<void> {
    const { cylinders, heads, sectors } = this.geometry(call, entry.index);
    const seek = call.ah === 0x0c;
    const cylinder = call.ch | ((call.cl & 0xc0) << 2);
    const sector = call.cl & 0x3f;
    const head = call.dh;
    if (cylinder >= cylinders || head >= heads || (!seek && (sector === 0 || sector > sectors))) {
      this.finish(call, DISK_ERROR.SECTOR_NOT_FOUND);
      return;
    }
    if (seek) {
      this.finish(call, DISK_ERROR.NONE);
      return;
    }
    if (call.al === 0) {
      this.finish(call, DISK_ERROR.BAD_COMMAND);
      return;
    }
    const lba = (cylinder * heads + head) * sectors + sector - 1;
    const address = call.address("es", call.bx);
    this.finish(call, await transferSectors(call, entry.medium, call.ah, lba, call.al, address));
  }

  private parameters(call: Call, entry: BiosDisk): void {
    const { cylinders, heads, sectors } = this.geometry(call, entry.index);
    const last = Math.min(cylinders, MAX_CYLINDERS) - 1;
    this.finish(call, DISK_ERROR.NONE);
    call.al = 0;
    call.bl = 0;
    call.ch = last & 0xff;
    call.cl = ((last >> 2) & 0xc0) | sectors;
    call.dh = heads - 1;
    call.dl = this.disks.length;
  }
}
