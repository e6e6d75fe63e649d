/** The 256 words with which a disk describes itself. ATA/ATAPI-5 (T13/1321D), 8.12; word numbers are its. */
import type { Geometry } from "../hypervisor/backend.ts";

/** Largest number of sectors to a block of Read and Write Multiple. */
export const MAX_MULTIPLE = 16;

const SUPPORTED = {
  /** Word 82: power management, write cache, look-ahead, Write Buffer, Read Buffer. */
  WORD_82: (1 << 3) | (1 << 5) | (1 << 6) | (1 << 12) | (1 << 13),
  WRITE_CACHE: 1 << 5,
  LOOK_AHEAD: 1 << 6,
  /** Words 83 and 84: bit 14 says that they are valid; bit 12 of 83 is Flush Cache. */
  VALID: 1 << 14,
  FLUSH_CACHE: 1 << 12,
} as const;
const FIXED_DISK = 1 << 6;
/** Word 49: LBA, IORDY. */
const CAPABILITIES = (1 << 9) | (1 << 11);
/** Words 54–58 and 64–70 are valid. */
const FIELDS_VALID = (1 << 0) | (1 << 1);
const MULTIPLE_VALID = 1 << 8;
/** PIO modes 3 and 4. */
const ADVANCED_PIO = 3;
const PIO_CYCLE_NS = 120;
/** Word 51: PIO mode 2. */
const PIO_MODE = 2 << 8;
/** ATA-1 to ATA-5. */
const VERSIONS = 0x3e;
/** Low byte of word 255, which says that its high byte is a checksum. */
const SIGNATURE = 0xa5;
const FIRMWARE_REVISION = "1.0";

/** What the words say. */
export interface AtaIdentity {
  readonly model: string;
  readonly serial: string;
  /** Physical geometry, words 1, 3 and 6. */
  readonly geometry: Geometry;
  /** Translation in force, words 54–58. */
  readonly current: Geometry;
  /** Sectors that LBA reaches. */
  readonly sectors: number;
  /** Block size of Read and Write Multiple, 0 when not set. */
  readonly multiple: number;
  readonly writeCache: boolean;
  readonly lookAhead: boolean;
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

/** Fill the first 512 bytes of `target`. */
export function identify(target: Uint8Array, identity: AtaIdentity): void {
  const words = new Uint16Array(256);
  const { geometry, current, multiple } = identity;
  words[0] = FIXED_DISK;
  words[1] = geometry.cylinders;
  words[3] = geometry.heads;
  words[6] = geometry.sectors;
  putString(words, 10, 10, identity.serial.padStart(20));
  putString(words, 23, 4, FIRMWARE_REVISION);
  putString(words, 27, 20, identity.model);
  words[47] = 0x8000 | MAX_MULTIPLE;
  words[49] = CAPABILITIES;
  words[50] = SUPPORTED.VALID;
  words[51] = PIO_MODE;
  words[53] = FIELDS_VALID;
  words[54] = current.cylinders;
  words[55] = current.heads;
  words[56] = current.sectors;
  putLong(words, 57, current.cylinders * current.heads * current.sectors);
  words[59] = multiple > 0 ? MULTIPLE_VALID | multiple : 0;
  putLong(words, 60, identity.sectors);
  words[64] = ADVANCED_PIO;
  words[67] = PIO_CYCLE_NS;
  words[68] = PIO_CYCLE_NS;
  words[80] = VERSIONS;
  words[82] = SUPPORTED.WORD_82;
  words[83] = SUPPORTED.VALID | SUPPORTED.FLUSH_CACHE;
  words[84] = SUPPORTED.VALID;
  const off = (identity.writeCache ? 0 : SUPPORTED.WRITE_CACHE) | (identity.lookAhead ? 0 : SUPPORTED.LOOK_AHEAD);
  words[85] = SUPPORTED.WORD_82 & ~off;
  words[86] = SUPPORTED.FLUSH_CACHE;
  words[87] = SUPPORTED.VALID;
  // Word 93 is for devices with Ultra DMA only.
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
