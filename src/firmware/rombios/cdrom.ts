/**
 * INT 13h for CD drives (DL E0h and up): the extensions with sectors of 2048 bytes, locks, ejecting. Works on the discs
 * directly. EDD 3.0; "El Torito" Bootable CD-ROM Format Specification 1.0.
 */
import type { CdDrive, CdMedium, IdeUnit } from "../../hypervisor/backend.ts";
import type { Call } from "./call.ts";
import type { IdeDrive } from "./disk-transfer.ts";
import { extendedDrive } from "./edd.ts";
import { DISK_ERROR } from "./floppy.ts";
import { BDA, EBDA } from "./layout.ts";

/** Number of the first CD drive in DL, and that of the first beyond them. */
export const CD_NUMBERS = { FIRST: 0xe0, END: 0xe4 } as const;
const MAX_CDS = CD_NUMBERS.END - CD_NUMBERS.FIRST;
/** Bytes of a sector of data. */
export const CD_SECTOR = 2048;
const EXTENSION_BYTES = 16;
const MAX_LOCKS = 0xff;
/** AH=45h. */
const LOCK = { LOCK: 0, UNLOCK: 1, STATUS: 2 } as const;

/** A CD drive as INT 13h numbers it. */
export interface BiosCd {
  readonly drive: CdDrive;
  readonly position: number;
  /** DL is E0h more. */
  readonly index: number;
}

/** The disc that a drive can read. */
export function discIn({ drive }: BiosCd): CdMedium | undefined {
  return drive.trayOpen ? undefined : drive.medium;
}

export class CdServices {
  readonly drives: readonly BiosCd[];
  readonly #eject: (position: number) => void;

  /** `units` by their position; `eject` opens the tray of the drive at one. */
  constructor(units: readonly (IdeUnit | undefined)[], eject: (position: number) => void) {
    const present: BiosCd[] = [];
    units.forEach((drive, position) => {
      if (drive?.kind === "cdrom" && present.length < MAX_CDS) present.push({ drive, position, index: present.length });
    });
    this.drives = present;
    this.#eject = eject;
  }

  /** The drive that DL names. */
  named(dl: number): BiosCd | undefined {
    return this.drives[dl - CD_NUMBERS.FIRST];
  }

  /** The INT 13h function in AH. */
  async serve(call: Call): Promise<void> {
    const { memory } = call.context;
    const cd = this.named(call.dl);
    if (cd === undefined) {
      this.finish(call, DISK_ERROR.BAD_COMMAND);
      return;
    }
    switch (call.ah) {
      case 0x01:
        call.ah = memory.read8(BDA.DISK_STATUS);
        call.carry = call.ah !== 0;
        memory.write8(BDA.DISK_STATUS, DISK_ERROR.NONE);
        return;
      case 0x00:
      case 0x09:
      case 0x0c:
      case 0x0d:
      case 0x10:
      case 0x11:
      case 0x14:
        this.finish(call, DISK_ERROR.NONE);
        return;
      case 0x03:
      case 0x05:
      case 0x43:
        this.finish(call, DISK_ERROR.WRITE_PROTECTED);
        return;
      case 0x15:
        // Neither a diskette drive nor a disk that CHS calls reach.
        this.finish(call, DISK_ERROR.BAD_COMMAND);
        return;
      case 0x45:
        this.#lock(call, cd);
        return;
      case 0x46:
        this.#open(call, cd);
        return;
      case 0x49:
        this.finish(call, discIn(cd) === undefined ? DISK_ERROR.NO_MEDIUM : DISK_ERROR.NONE);
        return;
      default: {
        const status = await extendedDrive(call, this.#described(cd), undefined);
        if (status !== undefined) this.finish(call, status);
      }
    }
  }

  finish(call: Call, status: number): void {
    call.context.memory.write8(BDA.DISK_STATUS, status);
    call.ah = status;
    call.carry = status !== DISK_ERROR.NONE;
  }

  #described(cd: BiosCd): IdeDrive {
    const backend = discIn(cd)?.backend;
    return {
      kind: "cdrom",
      medium: backend && { backend, sectorBytes: CD_SECTOR, totalSectors: Math.floor(backend.size / CD_SECTOR) },
      position: cd.position,
      extension: EBDA.CD_EXTENSION + cd.index * EXTENSION_BYTES,
      geometry: undefined,
    };
  }

  /** AH=45h: locks count, up to 255 of them. */
  #lock(call: Call, cd: BiosCd): void {
    const { memory } = call.context;
    const at = call.ebda + EBDA.CD_LOCKS + cd.index;
    const locks = memory.read8(at);
    switch (call.al) {
      case LOCK.LOCK:
        if (locks === MAX_LOCKS) {
          this.finish(call, DISK_ERROR.LOCK_COUNT);
          return;
        }
        memory.write8(at, locks + 1);
        break;
      case LOCK.UNLOCK:
        if (locks === 0) {
          this.finish(call, DISK_ERROR.VOLUME_NOT_LOCKED);
          return;
        }
        memory.write8(at, locks - 1);
        break;
      case LOCK.STATUS:
        break;
      default:
        this.finish(call, DISK_ERROR.BAD_COMMAND);
        return;
    }
    call.al = memory.read8(at) === 0 ? 0 : 1;
    this.finish(call, DISK_ERROR.NONE);
  }

  /** AH=46h. */
  #open(call: Call, cd: BiosCd): void {
    if (call.context.memory.read8(call.ebda + EBDA.CD_LOCKS + cd.index) !== 0) {
      this.finish(call, DISK_ERROR.VOLUME_LOCKED);
      return;
    }
    this.#eject(cd.position);
    this.finish(call, DISK_ERROR.NONE);
  }
}
