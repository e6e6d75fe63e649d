/**
 * INT 13h for diskettes (DL below 80h). Works on the drives' media directly; the controller is left to programs that
 * drive it themselves. Ralf Brown INT 13h, IBM PC/AT technical reference for the data area and the error codes.
 */
import type { FloppyDrive, FloppyMedium } from "../../hypervisor/backend.ts";
import type { Call } from "./call.ts";
import { BDA, CMOS, ENTRY, PORT, ROM } from "./layout.ts";

/** INT 13h status codes. */
export const DISK_ERROR = {
  NONE: 0x00,
  BAD_COMMAND: 0x01,
  BAD_ADDRESS_MARK: 0x02,
  WRITE_PROTECTED: 0x03,
  SECTOR_NOT_FOUND: 0x04,
  MEDIA_CHANGED: 0x06,
  DMA_BOUNDARY: 0x09,
  MEDIA_TYPE: 0x0c,
  BAD_CRC: 0x10,
  CONTROLLER: 0x20,
  /** No disc in the drive (El Torito, EDD). */
  NO_MEDIUM: 0x31,
  TIMEOUT: 0x80,
  VOLUME_NOT_LOCKED: 0xb0,
  VOLUME_LOCKED: 0xb1,
  NOT_REMOVABLE: 0xb2,
  LOCK_COUNT: 0xb4,
  WRITE_FAULT: 0xcc,
} as const;

export const SECTOR_BYTES = 512;
const SECTOR_SIZE_CODE = 2;
const DMA_PAGE = 0x10000;
/** Ticks that a motor keeps running after an access: two seconds. */
const MOTOR_TICKS = 37;
const VECTOR_1E = 0x1e * 4;
const FORMAT_FILL_OFFSET = 8;
const FORMAT_EOT_OFFSET = 4;
const DOR = { ENABLE: 0x0c, MOTOR_SHIFT: 4 } as const;

/** Geometry that a drive type is made for: CMOS type → cylinders, sectors (all have two heads). */
const DRIVE_TYPES: readonly (readonly [cylinders: number, sectors: number])[] = [
  [0, 0],
  [40, 9],
  [80, 15],
  [80, 9],
  [80, 18],
  [80, 36],
];

/** 40:90h values once a medium is known, by drive type; see {@link mediaState}. */
const RATE = { KBPS_500: 0x00, KBPS_300: 0x40, KBPS_250: 0x80, MBPS_1: 0xc0 } as const;
const MEDIA = {
  DOUBLE_STEP: 0x20,
  ESTABLISHED: 0x10,
  IN_360: 0x03,
  IN_1200_360: 0x04,
  IN_1200: 0x05,
  OTHER: 0x07,
} as const;

/** Media state byte of a medium in a drive (IBM BIOS, DSK_STATE at 40:90h). */
export function mediaState(driveType: number, sectors: number): number {
  if (driveType === 1) return RATE.KBPS_250 | MEDIA.ESTABLISHED | MEDIA.IN_360;
  if (driveType === 2) {
    if (sectors <= 9) return RATE.KBPS_300 | MEDIA.DOUBLE_STEP | MEDIA.ESTABLISHED | MEDIA.IN_1200_360;
    return RATE.KBPS_500 | MEDIA.ESTABLISHED | MEDIA.IN_1200;
  }
  const rate = sectors <= 10 ? RATE.KBPS_250 : sectors <= 21 ? RATE.KBPS_500 : RATE.MBPS_1;
  return rate | MEDIA.ESTABLISHED | MEDIA.OTHER;
}

/** CMOS type of a drive, 0 when there is none. */
export function floppyType(call: Call, drive: number): number {
  if (drive > 1) return 0;
  const types = call.readCmos(CMOS.FLOPPY_TYPES);
  const type = drive === 0 ? types >> 4 : types & 0x0f;
  return type < DRIVE_TYPES.length ? type : 0;
}

/** Diskette drives that the CMOS lists. */
export function floppyCount(call: Call): number {
  return floppyType(call, 0) === 0 ? 0 : floppyType(call, 1) === 0 ? 1 : 2;
}

interface Request {
  readonly drive: FloppyDrive;
  readonly medium: FloppyMedium;
  readonly offset: number;
  readonly bytes: number;
  readonly address: number;
  /** False when the track ends before the last sector that was asked for. */
  readonly complete: boolean;
}

export class FloppyServices {
  private readonly drives: readonly (FloppyDrive | undefined)[];

  constructor(drives: readonly (FloppyDrive | undefined)[]) {
    this.drives = drives;
  }

  /** The INT 13h function in AH. */
  async serve(call: Call): Promise<void> {
    const { memory } = call.context;
    const drive = this.drives[call.dl];
    const present = floppyType(call, call.dl) !== 0 && drive !== undefined;
    const fn = call.ah;
    if (fn === 0x01) {
      call.ah = memory.read8(BDA.FLOPPY_STATUS);
      call.carry = call.ah !== 0;
      return;
    }
    if (fn === 0x15) {
      this.driveKind(call, present);
      return;
    }
    if (fn === 0x08) {
      this.parameters(call);
      return;
    }
    if (fn === 0x00) {
      memory.write8(BDA.FLOPPY_RECALIBRATED, 0);
      this.finish(call, DISK_ERROR.NONE);
      return;
    }
    if (!present) {
      // A drive that does not exist never answers.
      this.finish(call, fn <= 0x05 || (fn >= 0x16 && fn <= 0x18) ? DISK_ERROR.TIMEOUT : DISK_ERROR.BAD_COMMAND);
      if (fn >= 0x02 && fn <= 0x04) call.al = 0;
      return;
    }
    switch (fn) {
      case 0x02:
      case 0x03:
      case 0x04:
        await this.transfer(call, drive, fn);
        return;
      case 0x05:
        await this.format(call, drive);
        return;
      case 0x16:
        this.finish(call, drive.changed || drive.medium === undefined ? DISK_ERROR.MEDIA_CHANGED : DISK_ERROR.NONE);
        return;
      case 0x17:
        this.finish(call, this.formatError(drive));
        return;
      case 0x18:
        this.mediaForFormat(call, drive);
        return;
      default:
        this.finish(call, DISK_ERROR.BAD_COMMAND);
    }
  }

  private finish(call: Call, status: number): void {
    call.context.memory.write8(BDA.FLOPPY_STATUS, status);
    call.ah = status;
    call.carry = status !== DISK_ERROR.NONE;
  }

  private startMotor(call: Call, drive: number): void {
    const { memory, io } = call.context;
    io.out(PORT.FLOPPY_DOR, 1, DOR.ENABLE | (1 << (DOR.MOTOR_SHIFT + drive)) | drive);
    memory.write8(BDA.FLOPPY_MOTORS, (memory.read8(BDA.FLOPPY_MOTORS) & 0x80) | (1 << drive));
    memory.write8(BDA.FLOPPY_MOTOR_TIMEOUT, MOTOR_TICKS);
  }

  /** The checks that every access begins with; a status other than NONE ends it. */
  private ready(call: Call, drive: FloppyDrive): number {
    const { memory } = call.context;
    const number = call.dl;
    this.startMotor(call, number);
    if (drive.medium === undefined) return DISK_ERROR.TIMEOUT;
    memory.write8(BDA.FLOPPY_MEDIA_STATE + number, mediaState(floppyType(call, number), drive.medium.geometry.sectors));
    memory.write8(BDA.FLOPPY_RECALIBRATED, memory.read8(BDA.FLOPPY_RECALIBRATED) | (1 << number));
    if (!drive.changed) return DISK_ERROR.NONE;
    // The BIOS steps the heads, which clears the latch, and lets the caller know once. 360 KB drives have no latch.
    drive.changed = false;
    return floppyType(call, number) === 1 ? DISK_ERROR.NONE : DISK_ERROR.MEDIA_CHANGED;
  }

  /** The sectors that a request names, or the status that refuses it. */
  private locate(call: Call, drive: FloppyDrive, medium: FloppyMedium): Request | number {
    const { cylinders, heads, sectors } = medium.geometry;
    const count = call.al;
    const cylinder = call.ch;
    const head = call.dh;
    const sector = call.cl & 0x3f;
    if (count === 0) return DISK_ERROR.BAD_COMMAND;
    if (cylinder >= cylinders || head >= heads || sector === 0 || sector > sectors) {
      return DISK_ERROR.SECTOR_NOT_FOUND;
    }
    // Multi-track: a transfer goes on from head 0 to head 1, never to the next cylinder.
    const available = (heads - head) * sectors - (sector - 1);
    const offset = ((cylinder * heads + head) * sectors + sector - 1) * SECTOR_BYTES;
    const inside = Math.max(0, Math.floor((medium.backend.size - offset) / SECTOR_BYTES));
    const usable = Math.min(count, available, inside);
    if (usable === 0) return DISK_ERROR.SECTOR_NOT_FOUND;
    return {
      drive,
      medium,
      offset,
      bytes: usable * SECTOR_BYTES,
      address: call.address("es", call.bx),
      complete: usable === count,
    };
  }

  private async transfer(call: Call, drive: FloppyDrive, fn: number): Promise<void> {
    const status = this.ready(call, drive);
    const { medium } = drive;
    if (status !== DISK_ERROR.NONE || medium === undefined) {
      this.finish(call, status);
      call.al = 0;
      return;
    }
    const request = this.locate(call, drive, medium);
    const error = typeof request === "number" ? request : await this.move(call, request, fn);
    const moved = typeof request === "number" || error !== DISK_ERROR.NONE ? 0 : request.bytes / SECTOR_BYTES;
    const short = typeof request !== "number" && error === DISK_ERROR.NONE && !request.complete;
    this.resultBytes(call, short ? DISK_ERROR.SECTOR_NOT_FOUND : error);
    this.finish(call, short ? DISK_ERROR.SECTOR_NOT_FOUND : error);
    call.al = moved;
  }

  private async move(call: Call, request: Request, fn: number): Promise<number> {
    const { memory } = call.context;
    const { medium, offset, bytes, address } = request;
    // The DMA controller cannot carry into its page register. Only the sectors that move count.
    if (fn !== 0x04 && (address % DMA_PAGE) + bytes > DMA_PAGE) return DISK_ERROR.DMA_BOUNDARY;
    if (fn === 0x03 && (medium.writeProtected || medium.backend.readonly)) return DISK_ERROR.WRITE_PROTECTED;
    const buffer = new Uint8Array(bytes);
    memory.write8(BDA.FLOPPY_CYLINDER + call.dl, call.ch);
    try {
      if (fn === 0x03) {
        memory.read(address, buffer);
        await medium.backend.write(offset, buffer);
      } else {
        await medium.backend.read(offset, buffer);
        if (fn === 0x02) memory.write(address, buffer);
      }
      return DISK_ERROR.NONE;
    } catch {
      return fn === 0x03 ? DISK_ERROR.CONTROLLER : DISK_ERROR.BAD_CRC;
    }
  }

  /** 40:42h–48h, what the controller's result phase would have left: ST0–ST2, C, H, R, N. */
  private resultBytes(call: Call, error: number): void {
    const { memory } = call.context;
    const st0 = (error === DISK_ERROR.NONE ? 0x00 : 0x40) | ((call.dh & 1) << 2) | (call.dl & 3);
    const st1 = error === DISK_ERROR.WRITE_PROTECTED ? 0x02 : error === DISK_ERROR.SECTOR_NOT_FOUND ? 0x04 : 0x00;
    const bytes = [st0, st1, 0, call.ch, call.dh, call.cl & 0x3f, SECTOR_SIZE_CODE];
    bytes.forEach((byte, i) => {
      memory.write8(BDA.FLOPPY_CONTROLLER_STATUS + i, byte);
    });
  }

  /** Byte `offset` of the diskette parameter table that INT 1Eh points to. */
  private tableByte(call: Call, offset: number): number {
    const { memory } = call.context;
    return memory.read8(call.far(memory.read16(VECTOR_1E + 2), memory.read16(VECTOR_1E) + offset));
  }

  /** AH=05h: ES:BX lists C, H, R, N of every sector; the data fields get the table's fill byte. */
  private async format(call: Call, drive: FloppyDrive): Promise<void> {
    const status = this.ready(call, drive);
    const { medium } = drive;
    if (status !== DISK_ERROR.NONE || medium === undefined) {
      this.finish(call, status);
      return;
    }
    const { cylinders, heads, sectors } = medium.geometry;
    if (medium.writeProtected || medium.backend.readonly) {
      this.finish(call, DISK_ERROR.WRITE_PROTECTED);
      return;
    }
    if (call.ch >= cylinders || call.dh >= heads) {
      this.finish(call, DISK_ERROR.SECTOR_NOT_FOUND);
      return;
    }
    const listed = this.tableByte(call, FORMAT_EOT_OFFSET);
    if ((call.address("es", call.bx) % DMA_PAGE) + listed * 4 > DMA_PAGE) {
      this.finish(call, DISK_ERROR.DMA_BOUNDARY);
      return;
    }
    const buffer = new Uint8Array(SECTOR_BYTES).fill(this.tableByte(call, FORMAT_FILL_OFFSET));
    const { memory } = call.context;
    const track = (call.ch * heads + call.dh) * sectors;
    try {
      for (let i = 0; i < listed; i++) {
        const at = call.address("es", call.bx + 4 * i);
        const number = memory.read8(at + 2);
        // An image holds plain sectors of 512 bytes: an address field of another kind has no place in it.
        if (number === 0 || number > sectors || memory.read8(at + 3) !== SECTOR_SIZE_CODE) continue;
        await medium.backend.write((track + number - 1) * SECTOR_BYTES, buffer);
      }
      this.finish(call, listed > sectors ? DISK_ERROR.SECTOR_NOT_FOUND : DISK_ERROR.NONE);
    } catch {
      this.finish(call, DISK_ERROR.CONTROLLER);
    }
  }

  private parameters(call: Call): void {
    if (call.dl > 1) {
      this.finish(call, DISK_ERROR.BAD_COMMAND);
      return;
    }
    const type = floppyType(call, call.dl);
    const count = floppyCount(call);
    call.context.memory.write8(BDA.FLOPPY_STATUS, DISK_ERROR.NONE);
    call.ax = 0;
    call.bx = type;
    call.cx = 0;
    call.dx = count;
    call.carry = false;
    if (type === 0) {
      call.context.cpu.loadSelector("es", 0);
      call.di = 0;
      return;
    }
    const [cylinders, sectors] = DRIVE_TYPES[type]!;
    call.ch = cylinders - 1;
    call.cl = sectors;
    call.dh = 1;
    call.context.cpu.loadSelector("es", ROM.SEGMENT);
    call.di = ENTRY.FLOPPY_TABLE;
  }

  private driveKind(call: Call, present: boolean): void {
    const type = present ? floppyType(call, call.dl) : 0;
    // 0 no drive, 1 without a change line (360 KB), 2 with one.
    call.ah = type === 0 ? 0 : type === 1 ? 1 : 2;
    call.carry = false;
  }

  private formatError(drive: FloppyDrive): number {
    if (drive.medium === undefined) return DISK_ERROR.TIMEOUT;
    if (!drive.changed) return DISK_ERROR.NONE;
    drive.changed = false;
    return DISK_ERROR.MEDIA_CHANGED;
  }

  /** AH=18h: CH and CL are the last cylinder and the sectors of the format to come. An image has one geometry only. */
  private mediaForFormat(call: Call, drive: FloppyDrive): void {
    const { medium } = drive;
    if (medium === undefined) {
      this.finish(call, DISK_ERROR.TIMEOUT);
      return;
    }
    const { cylinders, sectors } = medium.geometry;
    if (call.ch !== cylinders - 1 || (call.cl & 0x3f) !== sectors) {
      this.finish(call, DISK_ERROR.MEDIA_TYPE);
      return;
    }
    call.context.cpu.loadSelector("es", ROM.SEGMENT);
    call.di = ENTRY.FLOPPY_TABLE;
    this.finish(call, DISK_ERROR.NONE);
  }
}
