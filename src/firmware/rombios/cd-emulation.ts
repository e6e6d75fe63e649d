/**
 * A CD that looks like a diskette or a disk: INT 13h of the emulated drive, AH=4Ah–4Dh, and which drive numbers it
 * takes. What is emulated stands in the extended BIOS data area in the form of El Torito's specification packet
 * (specification 1.0, figure 7).
 *
 * | state     | drive number     | INT 13h of it                    |
 * |-----------|------------------|----------------------------------|
 * | NONE      | –                | –                                |
 * | BOOTED    | E0h and up       | the CD drive's                   |
 * | EMULATING | 00h or 80h       | the image's; real drives follow  |
 */
import type { BlockBackend, Geometry } from "../../hypervisor/backend.ts";
import type { Call } from "./call.ts";
import { type BiosCd, CD_NUMBERS, CD_SECTOR, type CdServices, discIn } from "./cdrom.ts";
import { type IdeDrive, type SectorMedium, transferSectors } from "./disk-transfer.ts";
import { extendedDrive } from "./edd.ts";
import { BOOT_MEDIA, type BootImage, catalogSector, readSectors } from "./el-torito.ts";
import { DISK_ERROR, SECTOR_BYTES } from "./floppy.ts";
import { BDA, EBDA, ENTRY, ROM } from "./layout.ts";

/** Specification packet. */
const PACKET = {
  SIZE: 0x00,
  MEDIA: 0x01,
  DRIVE: 0x02,
  CONTROLLER: 0x03,
  LBA: 0x04,
  DEVICE: 0x08,
  BUFFER: 0x0a,
  SEGMENT: 0x0c,
  COUNT: 0x0e,
  CYLINDERS: 0x10,
  SECTORS: 0x11,
  HEADS: 0x12,
  BYTES: 0x13,
} as const;
/** Behind the packet. */
const STATE_AT = PACKET.BYTES;
const CD_AT = STATE_AT + 1;
const STATE = { NONE: 0, BOOTED: 1, EMULATING: 2 } as const;

/** Command packet of AH=4Dh. */
const CATALOG_PACKET = { BYTES: 8, COUNT: 1, BUFFER: 2, FIRST: 6 } as const;

const FIRST_DISK = 0x80;
const ALL_DRIVES = 0x7f;
/** Geometry and drive type of emulated diskettes. */
const FLOPPIES: Readonly<Record<number, Geometry & { readonly type: number }>> = {
  [BOOT_MEDIA.FLOPPY_1200]: { cylinders: 80, heads: 2, sectors: 15, type: 2 },
  [BOOT_MEDIA.FLOPPY_1440]: { cylinders: 80, heads: 2, sectors: 18, type: 4 },
  [BOOT_MEDIA.FLOPPY_2880]: { cylinders: 80, heads: 2, sectors: 36, type: 5 },
};
const EQUIPMENT = { FLOPPY: 1 << 0, COUNT: 3 << 6, COUNT_SHIFT: 6 } as const;
const MAX_FLOPPY_COUNT = 3;
const PARTITION = { TABLE: 0x1be, END_HEAD: 5, END_SECTOR: 6, END_CYLINDER: 7 } as const;

/** Bytes of a disc from `start` on, at most `size`; nobody writes them. */
function imageOn(backend: BlockBackend, start: number, size: number): BlockBackend {
  return {
    size: Math.max(0, Math.min(size, backend.size - start)),
    readonly: true,
    read: (offset, target) => backend.read(start + offset, target),
    write: () => Promise.reject(new Error("a CD cannot be written")),
    discard: () => Promise.resolve(),
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}

/** Geometry of the disk in an image: what its first partition ends with (El Torito 2.2). */
function diskGeometry(mbr: Uint8Array): Geometry {
  const byte = (offset: number): number => mbr[PARTITION.TABLE + offset]!;
  return {
    cylinders: (byte(PARTITION.END_CYLINDER) | ((byte(PARTITION.END_SECTOR) & 0xc0) << 2)) + 1,
    heads: byte(PARTITION.END_HEAD) + 1,
    sectors: byte(PARTITION.END_SECTOR) & 0x3f || 1,
  };
}

export class CdEmulation {
  readonly #cds: CdServices;

  constructor(cds: CdServices) {
    this.#cds = cds;
  }

  #area(call: Call): number {
    return call.ebda + EBDA.CD_EMULATION;
  }

  #state(call: Call): number {
    return call.context.memory.read8(this.#area(call) + STATE_AT);
  }

  /** Number of the drive that a CD stands in for. */
  emulated(call: Call): number | undefined {
    return this.#state(call) === STATE.EMULATING
      ? call.context.memory.read8(this.#area(call) + PACKET.DRIVE)
      : undefined;
  }

  /** Where the image that was loaded begins, and the drive number that it finds in DL. */
  entry(call: Call): { readonly drive: number; readonly segment: number; readonly offset: number } {
    const { memory } = call.context;
    const at = this.#area(call);
    return { drive: memory.read8(at + PACKET.DRIVE), segment: memory.read16(at + PACKET.SEGMENT), offset: 0 };
  }

  /** From now on the disc is what its boot image says. Gives the INT 13h status. */
  async start(call: Call, cd: BiosCd, image: BootImage): Promise<number> {
    const { memory } = call.context;
    const disc = discIn(cd);
    if (disc === undefined) return DISK_ERROR.NO_MEDIUM;
    this.stop(call);
    let geometry: Geometry | undefined = FLOPPIES[image.media];
    if (image.media === BOOT_MEDIA.DISK) {
      const first = await readSectors(disc.backend, image.lba, 1);
      if (first === undefined) return DISK_ERROR.BAD_CRC;
      geometry = diskGeometry(first);
    }
    const at = this.#area(call);
    const drive =
      geometry === undefined ? CD_NUMBERS.FIRST + cd.index : image.media === BOOT_MEDIA.DISK ? FIRST_DISK : 0;
    const { cylinders, heads, sectors } = geometry ?? { cylinders: 1, heads: 1, sectors: 0 };
    memory.write8(at + PACKET.SIZE, PACKET.BYTES);
    memory.write8(at + PACKET.MEDIA, image.media);
    memory.write8(at + PACKET.DRIVE, drive);
    memory.write8(at + PACKET.CONTROLLER, cd.position >> 1);
    memory.write32(at + PACKET.LBA, image.lba);
    memory.write16(at + PACKET.DEVICE, cd.position & 1);
    memory.write16(at + PACKET.BUFFER, 0);
    memory.write16(at + PACKET.SEGMENT, image.segment);
    memory.write16(at + PACKET.COUNT, image.count);
    memory.write8(at + PACKET.CYLINDERS, cylinders - 1);
    memory.write8(at + PACKET.SECTORS, (((cylinders - 1) >> 2) & 0xc0) | sectors);
    memory.write8(at + PACKET.HEADS, heads - 1);
    memory.write8(at + STATE_AT, geometry === undefined ? STATE.BOOTED : STATE.EMULATING);
    memory.write8(at + CD_AT, cd.index);
    this.#count(call, 1);
    return DISK_ERROR.NONE;
  }

  /** The drives are what they are. */
  stop(call: Call): void {
    this.#count(call, -1);
    call.context.memory.write8(this.#area(call) + STATE_AT, STATE.NONE);
  }

  /** One drive more, or less, than there are. */
  #count(call: Call, step: number): void {
    const { memory } = call.context;
    const drive = this.emulated(call);
    if (drive === undefined) return;
    if (drive >= FIRST_DISK) {
      memory.write8(BDA.DISK_COUNT, memory.read8(BDA.DISK_COUNT) + step);
      return;
    }
    const equipment = memory.read16(BDA.EQUIPMENT);
    const before =
      (equipment & EQUIPMENT.FLOPPY) === 0 ? 0 : ((equipment & EQUIPMENT.COUNT) >> EQUIPMENT.COUNT_SHIFT) + 1;
    const count = Math.max(0, Math.min(before + step, MAX_FLOPPY_COUNT + 1));
    const rest = equipment & ~(EQUIPMENT.FLOPPY | EQUIPMENT.COUNT);
    memory.write16(
      BDA.EQUIPMENT,
      count === 0 ? rest : rest | EQUIPMENT.FLOPPY | ((count - 1) << EQUIPMENT.COUNT_SHIFT),
    );
  }

  #geometry(call: Call): Geometry {
    const { memory } = call.context;
    const at = this.#area(call);
    const sectors = memory.read8(at + PACKET.SECTORS);
    return {
      cylinders: (memory.read8(at + PACKET.CYLINDERS) | ((sectors & 0xc0) << 2)) + 1,
      heads: memory.read8(at + PACKET.HEADS) + 1,
      sectors: sectors & 0x3f,
    };
  }

  #medium(call: Call): (SectorMedium & { readonly cd: BiosCd }) | undefined {
    const { memory } = call.context;
    const at = this.#area(call);
    const cd = this.#cds.drives[memory.read8(at + CD_AT)];
    const disc = cd && discIn(cd);
    if (!cd || !disc) return undefined;
    const { cylinders, heads, sectors } = this.#geometry(call);
    const backend = imageOn(
      disc.backend,
      memory.read32(at + PACKET.LBA) * CD_SECTOR,
      cylinders * heads * sectors * SECTOR_BYTES,
    );
    return { cd, backend, sectorBytes: SECTOR_BYTES, totalSectors: Math.floor(backend.size / SECTOR_BYTES) };
  }

  /** INT 13h of the emulated drive. */
  async serve(call: Call): Promise<void> {
    const disk = call.dl >= FIRST_DISK;
    const medium = this.#medium(call);
    if (medium === undefined) {
      this.#finish(call, disk ? DISK_ERROR.NO_MEDIUM : DISK_ERROR.TIMEOUT);
      return;
    }
    switch (call.ah) {
      case 0x01:
        call.ah = call.context.memory.read8(disk ? BDA.DISK_STATUS : BDA.FLOPPY_STATUS);
        call.carry = call.ah !== 0;
        return;
      case 0x02:
      case 0x04:
        await this.#byAddress(call, medium);
        return;
      case 0x03:
      case 0x05:
      case 0x43:
        this.#finish(call, DISK_ERROR.WRITE_PROTECTED);
        return;
      case 0x08:
        this.#parameters(call);
        return;
      case 0x15:
        if (disk) {
          call.ah = 3;
          call.cx = medium.totalSectors >>> 16;
          call.dx = medium.totalSectors & 0xffff;
        } else call.ah = 2;
        call.carry = false;
        return;
      case 0x00:
      case 0x16:
        this.#finish(call, DISK_ERROR.NONE);
        return;
      default:
        if (disk) await this.#asDisk(call, medium);
        else this.#finish(call, DISK_ERROR.BAD_COMMAND);
    }
  }

  /** What disks do beyond diskettes. */
  async #asDisk(call: Call, medium: SectorMedium & { readonly cd: BiosCd }): Promise<void> {
    switch (call.ah) {
      case 0x09:
      case 0x0c:
      case 0x0d:
      case 0x10:
      case 0x11:
      case 0x14:
        this.#finish(call, DISK_ERROR.NONE);
        return;
      case 0x45:
      case 0x46:
      case 0x49:
        call.dl = CD_NUMBERS.FIRST + medium.cd.index;
        await this.#cds.serve(call);
        call.dl = FIRST_DISK;
        return;
      default: {
        const geometry = this.#geometry(call);
        const drive: IdeDrive = {
          kind: "disk",
          medium,
          position: medium.cd.position,
          extension: EBDA.CD_EXTENSION,
          geometry,
        };
        const status = await extendedDrive(call, drive, geometry);
        if (status !== undefined) this.#finish(call, status);
      }
    }
  }

  #finish(call: Call, status: number): void {
    call.context.memory.write8(call.dl >= FIRST_DISK ? BDA.DISK_STATUS : BDA.FLOPPY_STATUS, status);
    call.ah = status;
    call.carry = status !== DISK_ERROR.NONE;
  }

  async #byAddress(call: Call, medium: SectorMedium): Promise<void> {
    const { cylinders, heads, sectors } = this.#geometry(call);
    const cylinder = call.ch | ((call.cl & 0xc0) << 2);
    const sector = call.cl & 0x3f;
    const count = call.al;
    let status: number = DISK_ERROR.SECTOR_NOT_FOUND;
    if (count === 0) status = DISK_ERROR.BAD_COMMAND;
    else if (cylinder < cylinders && call.dh < heads && sector > 0 && sector <= sectors) {
      const lba = (cylinder * heads + call.dh) * sectors + sector - 1;
      status = await transferSectors(call, medium, call.ah, lba, count, call.address("es", call.bx));
    }
    if (status !== DISK_ERROR.NONE) call.al = 0;
    this.#finish(call, status);
  }

  #parameters(call: Call): void {
    const { memory, cpu } = call.context;
    const { cylinders, heads, sectors } = this.#geometry(call);
    const floppy = FLOPPIES[memory.read8(this.#area(call) + PACKET.MEDIA)];
    call.al = 0;
    call.bl = floppy?.type ?? 0;
    call.ch = (cylinders - 1) & 0xff;
    call.cl = (((cylinders - 1) >> 2) & 0xc0) | sectors;
    call.dh = heads - 1;
    if (floppy === undefined) call.dl = memory.read8(BDA.DISK_COUNT);
    else {
      call.dl = ((memory.read16(BDA.EQUIPMENT) & EQUIPMENT.COUNT) >> EQUIPMENT.COUNT_SHIFT) + 1;
      cpu.loadSelector("es", ROM.SEGMENT);
      call.di = ENTRY.FLOPPY_TABLE;
    }
    call.ah = DISK_ERROR.NONE;
    call.carry = false;
  }

  /**
   * AH=4Ah–4Dh; "none" when the call was another one, "boot" when an image is in memory that AH=4Ch asked for and that
   * is to be entered.
   */
  async command(call: Call): Promise<"none" | "done" | "boot"> {
    switch (call.ah) {
      case 0x4a:
      case 0x4c:
        return this.#initiate(call);
      case 0x4b:
        this.#terminate(call);
        return "done";
      case 0x4d:
        await this.#catalog(call);
        return "done";
      default:
        return "none";
    }
  }

  /** AH=4Ah, 4Ch: emulate what the packet at DS:SI says; 4Ch boots it. */
  async #initiate(call: Call): Promise<"done" | "boot"> {
    const { memory } = call.context;
    const at = call.address("ds", call.si);
    const boot = call.ah === 0x4c;
    const position = memory.read8(at + PACKET.CONTROLLER) * 2 + (memory.read16(at + PACKET.DEVICE) & 1);
    const cd = this.#cds.drives.find((drive) => drive.position === position) ?? this.#cds.drives[0];
    const image: BootImage = {
      media: memory.read8(at + PACKET.MEDIA) & 0x0f,
      lba: memory.read32(at + PACKET.LBA),
      segment: memory.read16(at + PACKET.SEGMENT),
      count: memory.read16(at + PACKET.COUNT),
    };
    const known = cd !== undefined && image.media <= BOOT_MEDIA.DISK;
    let status = known ? await this.start(call, cd, image) : DISK_ERROR.BAD_COMMAND;
    if (boot && known && status === DISK_ERROR.NONE) status = await this.loadImage(call, cd, image);
    this.#cds.finish(call, status);
    return boot && status === DISK_ERROR.NONE ? "boot" : "done";
  }

  /** Load a boot image where it wants to be. Gives the INT 13h status. */
  async loadImage(call: Call, cd: BiosCd, image: BootImage): Promise<number> {
    const disc = discIn(cd);
    if (disc === undefined) return DISK_ERROR.NO_MEDIUM;
    const count = image.media === BOOT_MEDIA.NONE ? Math.max(image.count, 1) : 1;
    const sectors = await readSectors(disc.backend, image.lba, Math.ceil((count * SECTOR_BYTES) / CD_SECTOR));
    if (sectors === undefined) return DISK_ERROR.BAD_CRC;
    const bytes = image.media === BOOT_MEDIA.NONE ? sectors : sectors.subarray(0, SECTOR_BYTES);
    call.context.memory.write(image.segment * 16, bytes);
    return DISK_ERROR.NONE;
  }

  /** AH=4Bh: what is emulated to DS:SI; AL=0 ends it. */
  #terminate(call: Call): void {
    const { memory } = call.context;
    const state = this.#state(call);
    const mine = call.dl === ALL_DRIVES || call.dl === memory.read8(this.#area(call) + PACKET.DRIVE);
    if (state === STATE.NONE || !mine || call.al > 1) {
      this.#cds.finish(call, DISK_ERROR.BAD_COMMAND);
      return;
    }
    const packet = new Uint8Array(PACKET.BYTES);
    memory.read(this.#area(call), packet);
    memory.write(call.address("ds", call.si), packet);
    if (call.al === 0) this.stop(call);
    this.#cds.finish(call, DISK_ERROR.NONE);
  }

  /** AH=4Dh: sectors of the boot catalog. */
  async #catalog(call: Call): Promise<void> {
    const { memory } = call.context;
    const at = call.address("ds", call.si);
    const cd = this.#cds.named(call.dl) ?? this.#cds.drives[memory.read8(this.#area(call) + CD_AT)];
    const disc = cd && discIn(cd);
    if (memory.read8(at) < CATALOG_PACKET.BYTES || !disc) {
      this.#cds.finish(call, DISK_ERROR.BAD_COMMAND);
      return;
    }
    const sector = await catalogSector(disc);
    const count = memory.read8(at + CATALOG_PACKET.COUNT);
    const first = memory.read16(at + CATALOG_PACKET.FIRST);
    const bytes = sector === undefined ? undefined : await readSectors(disc.backend, sector + first, count);
    const buffer = memory.read32(at + CATALOG_PACKET.BUFFER);
    if (bytes) memory.write(call.far(buffer >>> 16, buffer & 0xffff), bytes);
    this.#cds.finish(call, bytes ? DISK_ERROR.NONE : DISK_ERROR.SECTOR_NOT_FOUND);
  }
}
