/** The ATA commands of a fixed disk, by opcode, and the bits of its registers. ATA/ATAPI-6 (T13/1410D). */

/** Status register, 7.14. */
export const ATA_STATUS = { ERR: 1 << 0, DRQ: 1 << 3, DSC: 1 << 4, DF: 1 << 5, DRDY: 1 << 6, BSY: 1 << 7 } as const;
/** Error register, 7.8: command aborted, ID not found, write protected or uncorrectable data. */
export const ATA_ERROR = { ABRT: 1 << 2, IDNF: 1 << 4, UNC: 1 << 6, WP: 1 << 6 } as const;
/** Device register, 7.7; HEAD holds bits 27:24 of a 28-bit address, or the head. Bits 5 and 7 were always one before. */
export const ATA_DEVICE = { HEAD: 15, DEV: 1 << 4, ALWAYS: 5 << 5, LBA: 1 << 6 } as const;
/** Device Control register, 7.6. */
export const ATA_CONTROL = { NIEN: 1 << 1, SRST: 1 << 2, HOB: 1 << 7 } as const;

/** What a command does; the disk has one function for each. */
export type AtaOperation =
  | "checkPower"
  | "deviceReset"
  | "diagnostic"
  | "flush"
  | "identify"
  | "identifyPacket"
  | "idle"
  | "initializeParameters"
  | "nop"
  | "packet"
  | "read"
  | "readBuffer"
  | "readNativeMax"
  | "recalibrate"
  | "seek"
  | "setFeatures"
  | "setMax"
  | "setMultiple"
  | "sleep"
  | "smart"
  | "standby"
  | "verify"
  | "write"
  | "writeBuffer";

/** How sectors pass: one to a data request, a block to a data request, or by the bus master. */
export type AtaProtocol = "pio" | "multiple" | "dma";

export interface AtaCommand {
  readonly operation: AtaOperation;
  readonly protocol: AtaProtocol;
  /** Address and count have 48 and 16 bits (6.2.1). */
  readonly extended: boolean;
}

/** Opcodes of each operation. Whatever is not here is aborted. */
const OPCODES: readonly (readonly [AtaOperation, AtaProtocol, extended: boolean, opcodes: readonly number[]])[] = [
  ["nop", "pio", false, [0x00]],
  ["deviceReset", "pio", false, [0x08]],
  // Read and write with the opcodes whose retries are off, and Write Verify, as ATA-1 gave them.
  ["read", "pio", false, [0x20, 0x21]],
  ["read", "pio", true, [0x24]],
  ["read", "dma", true, [0x25]],
  ["readNativeMax", "pio", true, [0x27]],
  ["read", "multiple", true, [0x29]],
  ["write", "pio", false, [0x30, 0x31, 0x3c]],
  ["write", "pio", true, [0x34]],
  ["write", "dma", true, [0x35]],
  ["setMax", "pio", true, [0x37]],
  ["write", "multiple", true, [0x39]],
  ["verify", "pio", false, [0x40, 0x41]],
  ["verify", "pio", true, [0x42]],
  ["diagnostic", "pio", false, [0x90]],
  ["initializeParameters", "pio", false, [0x91]],
  // The power commands with the opcodes that ATA-1 gave them as well.
  ["standby", "pio", false, [0x94, 0x96, 0xe0, 0xe2]],
  ["idle", "pio", false, [0x95, 0x97, 0xe1, 0xe3]],
  ["checkPower", "pio", false, [0x98, 0xe5]],
  ["sleep", "pio", false, [0x99, 0xe6]],
  ["packet", "pio", false, [0xa0]],
  ["identifyPacket", "pio", false, [0xa1]],
  ["smart", "pio", false, [0xb0]],
  ["read", "multiple", false, [0xc4]],
  ["write", "multiple", false, [0xc5]],
  ["setMultiple", "pio", false, [0xc6]],
  ["read", "dma", false, [0xc8, 0xc9]],
  ["write", "dma", false, [0xca, 0xcb]],
  ["readBuffer", "pio", false, [0xe4]],
  ["flush", "pio", false, [0xe7]],
  ["writeBuffer", "pio", false, [0xe8]],
  ["flush", "pio", true, [0xea]],
  ["identify", "pio", false, [0xec]],
  ["setFeatures", "pio", false, [0xef]],
  ["readNativeMax", "pio", false, [0xf8]],
  ["setMax", "pio", false, [0xf9]],
];

function commandTable(): ReadonlyMap<number, AtaCommand> {
  const table = new Map<number, AtaCommand>();
  for (const [operation, protocol, extended, opcodes] of OPCODES)
    for (const opcode of opcodes) table.set(opcode, { operation, protocol, extended });
  // Recalibrate and Seek carried a step rate in their low bits once.
  for (let rate = 0; rate < 16; rate++) {
    table.set(0x10 | rate, { operation: "recalibrate", protocol: "pio", extended: false });
    table.set(0x70 | rate, { operation: "seek", protocol: "pio", extended: false });
  }
  return table;
}

/** The command of each opcode that a disk or a packet device knows. */
export const ATA_COMMANDS = commandTable();

/** Standby and Idle that take a time (8.16, 8.50); the Immediate ones leave the timer alone. */
export const TIMED_POWER: ReadonlySet<number> = new Set([0x96, 0x97, 0xe2, 0xe3]);

/** Set Features, subcommands (8.46). */
export const ATA_FEATURE = {
  WRITE_CACHE_ON: 0x02,
  TRANSFER_MODE: 0x03,
  READ_LOOK_AHEAD_OFF: 0x55,
  NO_REVERT: 0x66,
  WRITE_CACHE_OFF: 0x82,
  READ_LOOK_AHEAD_ON: 0xaa,
  REVERT: 0xcc,
} as const;

/** Transfer modes as Set Features 03h has them in the Sector Count register (8.46.10): kind in bits 7:3, mode in 2:0. */
export const TRANSFER_MODE = { PIO_DEFAULT: 0x00, PIO: 0x08, MULTIWORD: 0x20, ULTRA: 0x40, MODE: 7 } as const;
/** Highest mode of each kind that our devices have. */
export const HIGHEST_MODE = { PIO: 4, MULTIWORD: 2, ULTRA: 5 } as const;

/** True when `mode` is a transfer mode of ours. */
export function isTransferMode(mode: number): boolean {
  const kind = mode & ~TRANSFER_MODE.MODE;
  const number = mode & TRANSFER_MODE.MODE;
  switch (kind) {
    case TRANSFER_MODE.PIO_DEFAULT:
      return number <= 1;
    case TRANSFER_MODE.PIO:
      return number <= HIGHEST_MODE.PIO;
    case TRANSFER_MODE.MULTIWORD:
      return number <= HIGHEST_MODE.MULTIWORD;
    case TRANSFER_MODE.ULTRA:
      return number <= HIGHEST_MODE.ULTRA;
    default:
      return false;
  }
}

/** True for a mode of the two DMA kinds, of which one at a time is selected. */
export function isDmaMode(mode: number): boolean {
  return mode >= TRANSFER_MODE.MULTIWORD;
}

/** Set Max subcommands in the Features register (8.47). */
export const SET_MAX = { ADDRESS: 0x00, PASSWORD: 0x01, LOCK: 0x02, UNLOCK: 0x03, FREEZE: 0x04 } as const;
