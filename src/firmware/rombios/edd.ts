/** INT 13h extensions: AH=41h–4Eh on fixed disks. Phoenix "BIOS Enhanced Disk Drive Specification" 3.0 and INCITS T13 EDD. */
import type { Geometry } from "../../hypervisor/backend.ts";
import type { Call } from "./call.ts";
import { type BiosDisk, transferSectors } from "./disk-transfer.ts";
import { DISK_ERROR, SECTOR_BYTES } from "./floppy.ts";
import { EBDA } from "./layout.ts";

const EDD_VERSION = 0x30;
/** Fixed disk access, locking and ejecting, enhanced disk drive support. */
const API_SUBSET = 0x0007;
const CHECK_SIGNATURE = 0x55aa;
const ANSWER_SIGNATURE = 0xaa55;
const FLAT_ADDRESS = 0xffff_ffff;
const PACKET = { SIZE: 0, COUNT: 2, BUFFER: 4, LBA: 8, FLAT: 16, MIN_BYTES: 16, FLAT_BYTES: 24 } as const;
const HIGH = 2 ** 32;

/** Result buffer of AH=48h by version: 1.x, 2.x, 3.0. */
const RESULT_BYTES = { V1: 26, V2: 30, V3: 66 } as const;
const INFORMATION = { GEOMETRY_VALID: 0x02, WRITE_VERIFY: 0x08 } as const;
const DEVICE_PATH_SIGNATURE = 0xbedd;
const DEVICE_PATH_BYTES = 36;
const DEVICE_PATH_OFFSET = 30;

const CHANNELS = [
  { base: 0x1f0, control: 0x3f6, irq: 14 },
  { base: 0x170, control: 0x376, irq: 15 },
] as const;
const DEVICE_HEAD = { FIXED: 0xa0, LBA: 0x40, SLAVE: 0x10 } as const;
const EXTENSION_BYTES = 16;
const EXTENSION_OPTIONS = { CHS_TRANSLATION: 0x08, LBA_TRANSLATION: 0x10 } as const;
/** Type of translation in bits 9 and 10 of the extension's options: LBA-assisted. */
const LBA_ASSISTED = 1 << 9;
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

async function packetTransfer(call: Call, entry: BiosDisk): Promise<number> {
  const packet = readPacket(call);
  if (packet === undefined) return DISK_ERROR.BAD_COMMAND;
  const fn = call.ah & 0x0f;
  if (fn === 0x07) {
    return packet.lba < entry.totalSectors ? DISK_ERROR.NONE : DISK_ERROR.SECTOR_NOT_FOUND;
  }
  const status = await transferSectors(call, entry, fn, packet.lba, packet.count, packet.address);
  if (status !== DISK_ERROR.NONE) {
    // The packet tells how many blocks were moved.
    call.context.memory.write16(call.address("ds", call.si) + PACKET.COUNT, 0);
  }
  return status;
}

/** The 16 bytes that AH=48h points to: how to drive the disk without the BIOS (EDD 3.0, table 10). */
function writeExtension(call: Call, entry: BiosDisk, logical: Geometry): number {
  const { memory } = call.context;
  const channel = CHANNELS[entry.position >> 1] ?? CHANNELS[0];
  const offset = EBDA.DISK_EXTENSION + entry.index * EXTENSION_BYTES;
  const at = call.ebda + offset;
  const physical = entry.disk.geometry;
  const translated = logical.heads !== physical.heads || logical.sectors !== physical.sectors;
  const options = EXTENSION_OPTIONS.LBA_TRANSLATION | (translated ? EXTENSION_OPTIONS.CHS_TRANSLATION : 0);
  memory.write16(at, channel.base);
  memory.write16(at + 2, channel.control);
  const slave = (entry.position & 1) !== 0 ? DEVICE_HEAD.SLAVE : 0;
  memory.write8(at + 4, DEVICE_HEAD.FIXED | DEVICE_HEAD.LBA | slave);
  memory.write8(at + 5, 0);
  memory.write8(at + 6, channel.irq);
  memory.write8(at + 7, 1);
  memory.write8(at + 8, 0);
  memory.write8(at + 9, 0);
  memory.write16(at + 10, options | (translated ? LBA_ASSISTED : 0));
  memory.write16(at + 12, 0);
  memory.write8(at + 14, EXTENSION_REVISION);
  let sum = 0;
  for (let i = 0; i < EXTENSION_BYTES - 1; i++) sum += memory.read8(at + i);
  memory.write8(at + 15, -sum & 0xff);
  return offset;
}

function writeDevicePath(call: Call, at: number, entry: BiosDisk): void {
  const { memory } = call.context;
  const channel = CHANNELS[entry.position >> 1] ?? CHANNELS[0];
  for (let i = 0; i < DEVICE_PATH_BYTES; i++) memory.write8(at + i, 0);
  memory.write16(at, DEVICE_PATH_SIGNATURE);
  memory.write8(at + 2, DEVICE_PATH_BYTES);
  [..."ISA "].forEach((c, i) => {
    memory.write8(at + 6 + i, c.charCodeAt(0));
  });
  [..."ATA     "].forEach((c, i) => {
    memory.write8(at + 10 + i, c.charCodeAt(0));
  });
  memory.write16(at + 18, channel.base);
  memory.write8(at + 26, entry.position & 1);
  let sum = 0;
  for (let i = 0; i < DEVICE_PATH_BYTES - 1; i++) sum += memory.read8(at + i);
  memory.write8(at + DEVICE_PATH_BYTES - 1, -sum & 0xff);
}

function driveParameters(call: Call, entry: BiosDisk, logical: Geometry): number {
  const { memory } = call.context;
  const at = call.address("ds", call.si);
  const room = memory.read16(at);
  if (room < RESULT_BYTES.V1) return DISK_ERROR.BAD_COMMAND;
  const { cylinders, heads, sectors } = entry.disk.geometry;
  const size = room >= RESULT_BYTES.V3 ? RESULT_BYTES.V3 : room >= RESULT_BYTES.V2 ? RESULT_BYTES.V2 : RESULT_BYTES.V1;
  memory.write16(at, size);
  memory.write16(at + 2, INFORMATION.GEOMETRY_VALID | INFORMATION.WRITE_VERIFY);
  memory.write32(at + 4, cylinders);
  memory.write32(at + 8, heads);
  memory.write32(at + 12, sectors);
  memory.write32(at + 16, entry.totalSectors >>> 0);
  memory.write32(at + 20, Math.floor(entry.totalSectors / HIGH));
  memory.write16(at + 24, SECTOR_BYTES);
  if (size >= RESULT_BYTES.V2) {
    memory.write16(at + 26, writeExtension(call, entry, logical));
    memory.write16(at + 28, call.ebda >> 4);
  }
  if (size >= RESULT_BYTES.V3) writeDevicePath(call, at + DEVICE_PATH_OFFSET, entry);
  return DISK_ERROR.NONE;
}

/** AH=4Eh: PIO and DMA settings that have no effect here but exist. */
function hardwareConfiguration(call: Call): number {
  return [0x01, 0x03, 0x04, 0x06].includes(call.al) ? DISK_ERROR.NONE : DISK_ERROR.BAD_COMMAND;
}

/** One extended function; gives the status, or undefined when the call's results are already complete. */
export async function extendedDisk(call: Call, entry: BiosDisk, logical: Geometry): Promise<number | undefined> {
  switch (call.ah) {
    case 0x41:
      if (call.bx !== CHECK_SIGNATURE) return DISK_ERROR.BAD_COMMAND;
      call.bx = ANSWER_SIGNATURE;
      call.cx = API_SUBSET;
      call.ah = EDD_VERSION;
      call.carry = false;
      return undefined;
    case 0x42:
    case 0x43:
    case 0x44:
    case 0x47:
      return packetTransfer(call, entry);
    case 0x45:
      // A fixed disk is always locked in place: locking, unlocking and asking succeed and change nothing.
      if (call.al > 2) return DISK_ERROR.BAD_COMMAND;
      call.al = 0;
      return DISK_ERROR.NONE;
    case 0x46:
      return DISK_ERROR.NOT_REMOVABLE;
    case 0x48:
      return driveParameters(call, entry, logical);
    case 0x49:
      return DISK_ERROR.NONE;
    case 0x4e:
      return hardwareConfiguration(call);
    default:
      return DISK_ERROR.BAD_COMMAND;
  }
}
