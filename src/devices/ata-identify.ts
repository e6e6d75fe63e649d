/** The 256 words with which disks and CD drives describe themselves. ATA/ATAPI-6 (T13/1410D), 8.15 and 8.16. */
import type { Geometry } from "../hypervisor/backend.ts";
import { HIGHEST_MODE, TRANSFER_MODE } from "./ata-commands.ts";

/** Largest number of sectors to a block of Read and Write Multiple. */
export const MAX_MULTIPLE = 16;
/** Sectors that a 28-bit address reaches. */
export const MAX_LBA28 = 0x0fff_ffff;
export const IDENTITY_BYTES = 512;

/** Words 82 and 85: features that are supported, and those of them that are on. */
const FEATURE_1 = {
  SMART: 1 << 0,
  POWER: 1 << 3,
  PACKET: 1 << 4,
  WRITE_CACHE: 1 << 5,
  LOOK_AHEAD: 1 << 6,
  DEVICE_RESET: 1 << 9,
  HOST_PROTECTED_AREA: 1 << 10,
  WRITE_BUFFER: 1 << 12,
  READ_BUFFER: 1 << 13,
  NOP: 1 << 14,
} as const;
/** Words 83 and 86. */
const FEATURE_2 = { LBA48: 1 << 10, FLUSH: 1 << 12, FLUSH_EXT: 1 << 13 } as const;
const ALL_FEATURE_2 = FEATURE_2.LBA48 | FEATURE_2.FLUSH | FEATURE_2.FLUSH_EXT;
const DISK_FEATURE_1 =
  FEATURE_1.SMART |
  FEATURE_1.POWER |
  FEATURE_1.WRITE_CACHE |
  FEATURE_1.LOOK_AHEAD |
  FEATURE_1.HOST_PROTECTED_AREA |
  FEATURE_1.WRITE_BUFFER |
  FEATURE_1.READ_BUFFER |
  FEATURE_1.NOP;
/** Bit 14 of words 50, 83, 84, 87 and 93 says that they are valid. */
const VALID = 1 << 14;
const FIXED_DISK = 1 << 6;
/** Word 49: DMA, LBA, IORDY, and standby times as the standard has them. */
const CAPABILITY = { DMA: 1 << 8, LBA: 1 << 9, IORDY: 1 << 11, STANDBY_TIMES: 1 << 13 } as const;
/** Words 54–58, 64–70 and 88 are valid. */
const CURRENT_GEOMETRY_VALID = 1 << 0;
const FIELDS_VALID = CURRENT_GEOMETRY_VALID | (1 << 1) | (1 << 2);
const MULTIPLE_VALID = 1 << 8;
/** PIO modes 3 and 4. */
const ADVANCED_PIO = 3;
const PIO_CYCLE_NS = 120;
const MULTIWORD_CYCLE_NS = 120;
/** Word 51: PIO mode 2. */
const PIO_MODE = 2 << 8;
/** ATA-1 to ATA-6, and ATA/ATAPI-6 revision 3a. */
const VERSIONS = 0x7e;
const MINOR_VERSION = 0x19;
/** Word 93 of device 0 and 1: a jumper says who they are, they passed diagnostics; a cable of 40 wires. */
const RESET_RESULT = { DEVICE_0: VALID | 0x0b, DEVICE_1: VALID | 0x0b00 } as const;
/** Low byte of word 255, which says that its high byte is a checksum. */
const SIGNATURE = 0xa5;
/** Of all our drives. */
export const FIRMWARE_REVISION = "1.0";

/** What the words say. */
export interface AtaIdentity {
  readonly unit: 0 | 1;
  readonly model: string;
  readonly serial: string;
  /** Physical geometry, words 1, 3 and 6. */
  readonly geometry: Geometry;
  /** Translation in force, words 54–58. */
  readonly current: Geometry;
  /** Sectors that 48-bit addresses reach. */
  readonly sectors: number;
  /** Block size of Read and Write Multiple, 0 when not set. */
  readonly multiple: number;
  /** Selected DMA mode, as Set Features has it. */
  readonly dmaMode: number;
  readonly writeCache: boolean;
  readonly lookAhead: boolean;
  readonly smart: boolean;
}

/** Write `text` as ATA strings are: ASCII, padded with blanks, the first character of a pair in the high byte. */
function putString(words: Uint16Array, first: number, count: number, text: string): void {
  const padded = text.padEnd(count * 2).slice(0, count * 2);
  const code = (i: number): number => {
    const c = padded.charCodeAt(i);
    return c >= 0x20 && c < 0x7f ? c : 0x20;
  };
  for (let i = 0; i < count; i++) words[first + i] = (code(2 * i) << 8) | code(2 * i + 1);
}

function putLong(words: Uint16Array, first: number, value: number): void {
  words[first] = value & 0xffff;
  words[first + 1] = Math.floor(value / 0x10000) & 0xffff;
}

/** Words 63–68 and 88: transfer modes and their times, which disks and packet devices share. */
function putTransferModes(words: Uint16Array, dmaMode: number): void {
  const upTo = (mode: number): number => (1 << (mode + 1)) - 1;
  const selected = (kind: number): number =>
    (dmaMode & ~TRANSFER_MODE.MODE) === kind ? 1 << (8 + (dmaMode & TRANSFER_MODE.MODE)) : 0;
  words[63] = upTo(HIGHEST_MODE.MULTIWORD) | selected(TRANSFER_MODE.MULTIWORD);
  words[64] = ADVANCED_PIO;
  words[65] = MULTIWORD_CYCLE_NS;
  words[66] = MULTIWORD_CYCLE_NS;
  words[67] = PIO_CYCLE_NS;
  words[68] = PIO_CYCLE_NS;
  words[88] = upTo(HIGHEST_MODE.ULTRA) | selected(TRANSFER_MODE.ULTRA);
}

/** Words 80, 81 and 93. */
function putVersions(words: Uint16Array, unit: 0 | 1): void {
  words[80] = VERSIONS;
  words[81] = MINOR_VERSION;
  words[93] = unit === 0 ? RESET_RESULT.DEVICE_0 : RESET_RESULT.DEVICE_1;
}

/** Store the words in `target`, with a checksum that makes all bytes add up to zero. */
function sealIdentity(words: Uint16Array, target: Uint8Array): void {
  let sum = SIGNATURE;
  for (let i = 0; i < 255; i++) {
    const word = words[i]!;
    target[2 * i] = word & 0xff;
    target[2 * i + 1] = word >> 8;
    sum += (word & 0xff) + (word >> 8);
  }
  target[510] = SIGNATURE;
  target[511] = -sum & 0xff;
}

/** Fill the first 512 bytes of `target`. */
export function identify(target: Uint8Array, identity: AtaIdentity): void {
  const words = new Uint16Array(256);
  const { geometry, current, multiple, sectors } = identity;
  words[0] = FIXED_DISK;
  words[1] = geometry.cylinders;
  words[3] = geometry.heads;
  words[6] = geometry.sectors;
  putString(words, 10, 10, identity.serial.padStart(20));
  putString(words, 23, 4, FIRMWARE_REVISION);
  putString(words, 27, 20, identity.model);
  words[47] = 0x8000 | MAX_MULTIPLE;
  words[49] = CAPABILITY.DMA | CAPABILITY.LBA | CAPABILITY.IORDY | CAPABILITY.STANDBY_TIMES;
  words[50] = VALID;
  words[51] = PIO_MODE;
  words[53] = FIELDS_VALID;
  words[54] = current.cylinders;
  words[55] = current.heads;
  words[56] = current.sectors;
  putLong(words, 57, current.cylinders * current.heads * current.sectors);
  words[59] = multiple > 0 ? MULTIPLE_VALID | multiple : 0;
  putLong(words, 60, Math.min(sectors, MAX_LBA28));
  putTransferModes(words, identity.dmaMode);
  putVersions(words, identity.unit);
  words[82] = DISK_FEATURE_1;
  words[83] = VALID | ALL_FEATURE_2;
  words[84] = VALID;
  const off =
    (identity.smart ? 0 : FEATURE_1.SMART) |
    (identity.writeCache ? 0 : FEATURE_1.WRITE_CACHE) |
    (identity.lookAhead ? 0 : FEATURE_1.LOOK_AHEAD);
  words[85] = DISK_FEATURE_1 & ~off;
  words[86] = ALL_FEATURE_2;
  words[87] = VALID;
  putLong(words, 100, sectors % 2 ** 32);
  putLong(words, 102, Math.floor(sectors / 2 ** 32));
  sealIdentity(words, target);
}

/** Word 0 of a CD drive: packet device, CD-ROM, removable, data request within 50 µs, packets of 12 bytes (8.16.8). */
const PACKET_CONFIGURATION = (2 << 14) | (5 << 8) | (1 << 7) | (2 << 5);
const PACKET_FEATURE_1 = FEATURE_1.POWER | FEATURE_1.PACKET | FEATURE_1.DEVICE_RESET;

/** What the words of a packet device say. */
export type PacketIdentity = Pick<AtaIdentity, "unit" | "model" | "serial" | "dmaMode">;

/** IDENTIFY PACKET DEVICE of a CD drive (8.16): fill the first 512 bytes of `target`. */
export function identifyPacket(target: Uint8Array, identity: PacketIdentity): void {
  const words = new Uint16Array(256);
  words[0] = PACKET_CONFIGURATION;
  putString(words, 10, 10, identity.serial.padStart(20));
  putString(words, 23, 4, FIRMWARE_REVISION);
  putString(words, 27, 20, identity.model);
  words[49] = CAPABILITY.DMA | CAPABILITY.LBA | CAPABILITY.IORDY;
  words[50] = VALID;
  words[51] = PIO_MODE;
  words[53] = FIELDS_VALID & ~CURRENT_GEOMETRY_VALID;
  putTransferModes(words, identity.dmaMode);
  putVersions(words, identity.unit);
  words[82] = PACKET_FEATURE_1;
  words[83] = VALID;
  words[84] = VALID;
  words[85] = PACKET_FEATURE_1;
  words[87] = VALID;
  sealIdentity(words, target);
}
