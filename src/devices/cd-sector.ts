/** Sectors as they lie on a CD: the 2352 bytes of Mode 1 around 2048 bytes of data. ECMA-130, 14 and annexes A and B. */
import { CD_SECTOR } from "./atapi-commands.ts";

/** Offsets and lengths in a raw sector. */
const FIELD = {
  SYNC: [0, 12],
  HEADER: [12, 4],
  DATA: [16, CD_SECTOR],
  CHECKS: [2064, 288],
} as const;
export const RAW_SECTOR = 2352;
const EDC = 2064;
const P_PARITY = 2076;
const Q_PARITY = 2248;
const MODE_1 = 1;
/** The first two seconds of a disc have no logical address. */
const LEAD_IN = 150;
const FRAMES = 75;

/** Minutes, seconds and frames of a logical address. */
export function msf(lba: number): readonly [minutes: number, seconds: number, frames: number] {
  const at = Math.max(0, lba + LEAD_IN);
  return [Math.floor(at / (60 * FRAMES)) & 0xff, Math.floor(at / FRAMES) % 60, at % FRAMES];
}

/** Logical address of minutes, seconds and frames; may be negative. */
export function lbaOfMsf(minutes: number, seconds: number, frames: number): number {
  return (minutes * 60 + seconds) * FRAMES + frames - LEAD_IN;
}

/** Polynomial of the error detection code (annex A: (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1)), bits reversed. */
const EDC_POLYNOMIAL = 0xd801_8001;
/** Primitive polynomial of the field of the error correction code (annex B). */
const FIELD_POLYNOMIAL = 0x11d;

const EDC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ EDC_POLYNOMIAL : value >>> 1;
  return value >>> 0;
});

/** Each element of the field times alpha, and divided by alpha + 1. */
const TIMES_ALPHA = Uint8Array.from({ length: 256 }, (_, x) => (x << 1) ^ (x & 0x80 ? FIELD_POLYNOMIAL : 0));
const OVER_ALPHA_PLUS_1 = new Uint8Array(256);
for (let x = 0; x < 256; x++) OVER_ALPHA_PLUS_1[x ^ TIMES_ALPHA[x]!] = x;

/** One code of the product code: `vectors` of `length` bytes, and where the bytes of each lie in the sector. */
interface ParityCode {
  readonly vectors: number;
  readonly length: number;
  readonly parity: number;
  byte(vector: number, index: number): number;
}

/** Bytes from the header on, as 16-bit words of even and odd bytes: 43 columns, 24 rows of data and 2 of P parity. */
const COLUMNS = 43;
const ROWS = 24;
const HEADER = 12;
const CODES: readonly ParityCode[] = [
  {
    vectors: 2 * COLUMNS,
    length: ROWS,
    parity: P_PARITY,
    byte: (vector, index) => HEADER + vector + 2 * COLUMNS * index,
  },
  {
    vectors: 2 * (ROWS + 2),
    length: COLUMNS,
    parity: Q_PARITY,
    // Diagonals: each word stands one row below and one column right of the one before.
    byte: (vector, index) => {
      const word = (COLUMNS * (vector >> 1) + (COLUMNS + 1) * index) % (COLUMNS * (ROWS + 2));
      return HEADER + 2 * word + (vector & 1);
    },
  },
];

function putParity(raw: Uint8Array, code: ParityCode): void {
  for (let vector = 0; vector < code.vectors; vector++) {
    // Two bytes make both the sum and the sum weighted by powers of alpha zero.
    let sum = 0;
    let weighted = 0;
    for (let index = 0; index < code.length; index++) {
      const byte = raw[code.byte(vector, index)]!;
      sum ^= byte;
      weighted = TIMES_ALPHA[weighted ^ byte]!;
    }
    const first = OVER_ALPHA_PLUS_1[TIMES_ALPHA[weighted]! ^ sum]!;
    raw[code.parity + vector] = first;
    raw[code.parity + code.vectors + vector] = first ^ sum;
  }
}

/** The raw Mode 1 sector at `lba` around `data`. */
export function rawSector(lba: number, data: Uint8Array): Uint8Array {
  const raw = new Uint8Array(RAW_SECTOR);
  raw.fill(0xff, 1, 11);
  const bcd = (value: number): number => (Math.floor(value / 10) << 4) | (value % 10);
  const [minutes, seconds, frames] = msf(lba);
  raw[12] = bcd(minutes);
  raw[13] = bcd(seconds);
  raw[14] = bcd(frames);
  raw[15] = MODE_1;
  raw.set(data, FIELD.DATA[0]);
  let edc = 0;
  for (let i = 0; i < EDC; i++) edc = (edc >>> 8) ^ EDC_TABLE[(edc ^ raw[i]!) & 0xff]!;
  for (let i = 0; i < 4; i++) raw[EDC + i] = (edc >>> (8 * i)) & 0xff;
  for (const code of CODES) putParity(raw, code);
  return raw;
}

/** The parts of a raw sector that READ CD may ask for, as offset and length in it. */
export type SectorPart = readonly [offset: number, length: number];

/** Main channel selection bits of READ CD, byte 9 (MMC-5 6.19.2.6). */
const SELECT = { SYNC: 1 << 7, SUBHEADER: 1 << 6, HEADER: 1 << 5, DATA: 1 << 4, CHECKS: 1 << 3, C2: 3 << 1 } as const;

/**
 * Which parts of Mode 1 sectors a main channel selection names; undefined when it names what is not there. Mode 1 has no
 * subheader: asking for it adds nothing.
 */
export function selectParts(selection: number): readonly SectorPart[] | undefined {
  if (selection & SELECT.C2) return undefined;
  const parts: SectorPart[] = [];
  if (selection & SELECT.SYNC) parts.push(FIELD.SYNC);
  if (selection & SELECT.HEADER) parts.push(FIELD.HEADER);
  if (selection & SELECT.DATA) parts.push(FIELD.DATA);
  if (selection & SELECT.CHECKS) parts.push(FIELD.CHECKS);
  // Sync and data without the header between them cannot be had (table 353).
  const gap = selection & SELECT.SYNC && selection & (SELECT.DATA | SELECT.CHECKS) && !(selection & SELECT.HEADER);
  return gap ? undefined : parts;
}

/** Bytes of `parts`. */
export function partsLength(parts: readonly SectorPart[]): number {
  return parts.reduce((sum, [, length]) => sum + length, 0);
}

/** Build `parts` of each sector of `data` (whole sectors from `lba` on) into `target`. */
export function putSectors(target: Uint8Array, data: Uint8Array, lba: number, parts: readonly SectorPart[]): void {
  let at = 0;
  for (let sector = 0; sector * CD_SECTOR < data.length; sector++) {
    const raw = rawSector(lba + sector, data.subarray(sector * CD_SECTOR, (sector + 1) * CD_SECTOR));
    for (const [offset, length] of parts) {
      target.set(raw.subarray(offset, offset + length), at);
      at += length;
    }
  }
}
