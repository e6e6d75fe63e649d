/**
 * INT 13h extensions that disks and CD drives share: AH=41h–44h, 47h, 48h, 4Eh. Phoenix "BIOS Enhanced Disk Drive
 * Specification" 3.0 and INCITS T13 EDD-3.
 */
import { PCI_PLACE } from "../../devices/pc-layout.ts";
import type { Geometry } from "../../hypervisor/backend.ts";
import type { Call } from "./call.ts";
import { type IdeDrive, TRANSFER, transferSectors } from "./disk-transfer.ts";
import { DISK_ERROR, SECTOR_BYTES } from "./floppy.ts";

const EDD_VERSION = 0x30;
/** Fixed disk access, locking and ejecting, enhanced disk drive support. */
const API_SUBSET = 0x0007;
const CHECK_SIGNATURE = 0x55aa;
const ANSWER_SIGNATURE = 0xaa55;
const FLAT_ADDRESS = 0xffff_ffff;
const PACKET = { SIZE: 0, COUNT: 2, BUFFER: 4, LBA: 8, FLAT: 16, MIN_BYTES: 16, FLAT_BYTES: 24 } as const;
const HIGH = 2 ** 32;

/** Result buffer of AH=48h by version: 1.x, 2.x, 3.0 with Phoenix's device path, 3.0 with T13's. */
const RESULT_BYTES = { V1: 26, V2: 30, V3: 66, T13: 74 } as const;
const INFORMATION = {
  GEOMETRY_VALID: 0x02,
  REMOVABLE: 0x04,
  WRITE_VERIFY: 0x08,
  CHANGE_LINE: 0x10,
  LOCKABLE: 0x20,
  NO_MEDIUM: 0x40,
} as const;
const DEVICE_PATH = {
  SIGNATURE: 0xbedd,
  OFFSET: 30,
  /** Bytes in Phoenix's form and in T13's, whose device part is 8 bytes longer. */
  BYTES: 36,
  T13_BYTES: 44,
  BUS: 6,
  INTERFACE: 10,
  INTERFACE_PATH: 18,
  DEVICE: 26,
} as const;

/** IDE channels, by half the position of a drive. */
export const CHANNELS = [
  { base: 0x1f0, control: 0x3f6, irq: 14 },
  { base: 0x170, control: 0x376, irq: 15 },
] as const;
/** Device/Head register. */
export const DEVICE_HEAD = { FIXED: 0xa0, LBA: 0x40, SLAVE: 0x10 } as const;
const EXTENSION_BYTES = 16;
/** Options of the parameter table extension (EDD 3.0, table 11). */
const EXTENSION_OPTIONS = {
  CHS_TRANSLATION: 1 << 3,
  LBA_TRANSLATION: 1 << 4,
  REMOVABLE: 1 << 5,
  ATAPI: 1 << 6,
  LBA_ASSISTED: 1 << 9,
} as const;
const EXTENSION_REVISION = 0x11;

interface Packet {
  readonly count: number;
  readonly lba: number;
  readonly address: number;
}

function readPacket(call: Call): Packet | undefined {
  const { memory } = call.context;
  const at = call.address("ds", call.si);
  const size = memory.read8(at + PACKET.SIZE);
  if (size < PACKET.MIN_BYTES) return undefined;
  const count = memory.read16(at + PACKET.COUNT);
  const buffer = memory.read32(at + PACKET.BUFFER);
  const lba = memory.read32(at + PACKET.LBA) + memory.read32(at + PACKET.LBA + 4) * HIGH;
  if (buffer === FLAT_ADDRESS && size >= PACKET.FLAT_BYTES) {
    const flat = memory.read32(at + PACKET.FLAT) + memory.read32(at + PACKET.FLAT + 4) * HIGH;
    return flat >= HIGH ? undefined : { count, lba, address: flat };
  }
  return { count, lba, address: call.far(buffer >>> 16, buffer & 0xffff) };
}

async function packetTransfer(call: Call, { medium }: IdeDrive): Promise<number> {
  const packet = readPacket(call);
  if (packet === undefined) return DISK_ERROR.BAD_COMMAND;
  if (medium === undefined) return DISK_ERROR.NO_MEDIUM;
  const fn = call.ah & 0x0f;
  if (fn === 0x07) {
    return packet.lba < medium.totalSectors ? DISK_ERROR.NONE : DISK_ERROR.SECTOR_NOT_FOUND;
  }
  const status = await transferSectors(call, medium, fn, packet.lba, packet.count, packet.address);
  if (status !== DISK_ERROR.NONE) {
    // The packet tells how many blocks were moved.
    call.context.memory.write16(call.address("ds", call.si) + PACKET.COUNT, 0);
  }
  return status;
}

/** Make the bytes from `at` on, the last one included, add up to zero. */
function setChecksum(call: Call, at: number, bytes: number): void {
  const { memory } = call.context;
  let sum = 0;
  for (let i = 0; i < bytes - 1; i++) sum += memory.read8(at + i);
  memory.write8(at + bytes - 1, -sum & 0xff);
}

/** The 16 bytes that AH=48h points to: how to drive the device without the BIOS (EDD 3.0, table 10). */
function writeExtension(call: Call, drive: IdeDrive, logical: Geometry | undefined): void {
  const { memory } = call.context;
  const channel = CHANNELS[drive.position >> 1] ?? CHANNELS[0];
  const at = call.ebda + drive.extension;
  const { geometry } = drive;
  const translated =
    geometry !== undefined &&
    logical !== undefined &&
    (logical.heads !== geometry.heads || logical.sectors !== geometry.sectors);
  const translation = translated ? EXTENSION_OPTIONS.CHS_TRANSLATION | EXTENSION_OPTIONS.LBA_ASSISTED : 0;
  const removable = drive.kind === "cdrom" ? EXTENSION_OPTIONS.REMOVABLE | EXTENSION_OPTIONS.ATAPI : 0;
  const slave = (drive.position & 1) !== 0 ? DEVICE_HEAD.SLAVE : 0;
  memory.write16(at, channel.base);
  memory.write16(at + 2, channel.control);
  memory.write8(at + 4, DEVICE_HEAD.FIXED | DEVICE_HEAD.LBA | slave);
  memory.write8(at + 5, 0);
  memory.write8(at + 6, channel.irq);
  memory.write8(at + 7, 1);
  memory.write8(at + 8, 0);
  memory.write8(at + 9, 0);
  memory.write16(at + 10, EXTENSION_OPTIONS.LBA_TRANSLATION | translation | removable);
  memory.write16(at + 12, 0);
  memory.write8(at + 14, EXTENSION_REVISION);
  setChecksum(call, at, EXTENSION_BYTES);
}

function writeText(call: Call, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) call.context.memory.write8(at + i, text.charCodeAt(i));
}

/** Where the drive is: PCI function and channel, then master or slave (EDD 3.0, table 9; T13 EDD-3, 8.21). */
function writeDevicePath(call: Call, at: number, drive: IdeDrive, bytes: number): void {
  const { memory } = call.context;
  for (let i = 0; i < bytes; i++) memory.write8(at + i, 0);
  memory.write16(at, DEVICE_PATH.SIGNATURE);
  memory.write8(at + 2, bytes);
  writeText(call, at + DEVICE_PATH.BUS, "PCI ");
  writeText(call, at + DEVICE_PATH.INTERFACE, drive.kind === "cdrom" ? "ATAPI   " : "ATA     ");
  const { device, function: number } = PCI_PLACE.IDE;
  [0, device, number, drive.position >> 1].forEach((byte, i) => {
    memory.write8(at + DEVICE_PATH.INTERFACE_PATH + i, byte);
  });
  memory.write8(at + DEVICE_PATH.DEVICE, drive.position & 1);
  setChecksum(call, at, bytes);
}

function informationFlags(drive: IdeDrive): number {
  if (drive.kind === "disk") return INFORMATION.GEOMETRY_VALID | INFORMATION.WRITE_VERIFY;
  const removable = INFORMATION.REMOVABLE | INFORMATION.CHANGE_LINE | INFORMATION.LOCKABLE;
  return drive.medium === undefined ? removable | INFORMATION.NO_MEDIUM : removable;
}

const NO_GEOMETRY: Geometry = { cylinders: 0, heads: 0, sectors: 0 };
/** Half of the number of sectors of a removable drive without a medium: nobody knows. */
const UNKNOWN = 0xffff_ffff;
const CD_SECTOR_BYTES = 2048;

function driveParameters(call: Call, drive: IdeDrive, logical: Geometry | undefined): number {
  const { memory } = call.context;
  const at = call.address("ds", call.si);
  const room = memory.read16(at);
  if (room < RESULT_BYTES.V1) return DISK_ERROR.BAD_COMMAND;
  const { cylinders, heads, sectors } = drive.geometry ?? NO_GEOMETRY;
  const size = Object.values(RESULT_BYTES).findLast((bytes) => bytes <= room)!;
  const total = drive.medium?.totalSectors;
  memory.write16(at, size);
  memory.write16(at + 2, informationFlags(drive));
  memory.write32(at + 4, cylinders);
  memory.write32(at + 8, heads);
  memory.write32(at + 12, sectors);
  memory.write32(at + 16, total === undefined ? UNKNOWN : total >>> 0);
  memory.write32(at + 20, total === undefined ? UNKNOWN : Math.floor(total / HIGH));
  memory.write16(at + 24, drive.kind === "cdrom" ? CD_SECTOR_BYTES : SECTOR_BYTES);
  if (size >= RESULT_BYTES.V2) {
    writeExtension(call, drive, logical);
    memory.write16(at + 26, drive.extension);
    memory.write16(at + 28, call.ebda >> 4);
  }
  if (size >= RESULT_BYTES.V3) {
    const bytes = size >= RESULT_BYTES.T13 ? DEVICE_PATH.T13_BYTES : DEVICE_PATH.BYTES;
    writeDevicePath(call, at + DEVICE_PATH.OFFSET, drive, bytes);
  }
  return DISK_ERROR.NONE;
}

/** AH=4Eh: PIO and DMA settings that have no effect here but exist. */
function hardwareConfiguration(call: Call): number {
  return [0x01, 0x03, 0x04, 0x06].includes(call.al) ? DISK_ERROR.NONE : DISK_ERROR.BAD_COMMAND;
}

/**
 * One extended function; gives the status, or undefined when the call's results are already complete. `logical` is the
 * geometry that INT 13h shows of a disk.
 */
export async function extendedDrive(
  call: Call,
  drive: IdeDrive,
  logical: Geometry | undefined,
): Promise<number | undefined> {
  switch (call.ah) {
    case 0x41:
      if (call.bx !== CHECK_SIGNATURE) return DISK_ERROR.BAD_COMMAND;
      call.bx = ANSWER_SIGNATURE;
      call.cx = API_SUBSET;
      call.ah = EDD_VERSION;
      call.carry = false;
      return undefined;
    case 0x40 | TRANSFER.READ:
    case 0x40 | TRANSFER.WRITE:
    case 0x40 | TRANSFER.VERIFY:
    case 0x47:
      return packetTransfer(call, drive);
    case 0x48:
      return driveParameters(call, drive, logical);
    case 0x4e:
      return hardwareConfiguration(call);
    default:
      return DISK_ERROR.BAD_COMMAND;
  }
}
