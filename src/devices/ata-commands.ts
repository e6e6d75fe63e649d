/** The ATA commands of a fixed disk, by opcode, and the bits of its registers. ATA/ATAPI-5 (T13/1321D). */

/** Status register, 7.15. */
export const ATA_STATUS = { ERR: 1 << 0, DRQ: 1 << 3, DSC: 1 << 4, DF: 1 << 5, DRDY: 1 << 6, BSY: 1 << 7 } as const;
/** Error register, 7.9: command aborted, ID not found, write protected or uncorrectable data. */
export const ATA_ERROR = { ABRT: 1 << 2, IDNF: 1 << 4, UNC: 1 << 6, WP: 1 << 6 } as const;
/** Device/Head register, 7.10. */
export const ATA_DEVICE = { HEAD: 15, DEV: 1 << 4, ALWAYS: 5 << 5, LBA: 1 << 6 } as const;
/** Device Control register, 7.8. */
export const ATA_CONTROL = { NIEN: 1 << 1, SRST: 1 << 2 } as const;

/** What a command does; the disk has one function for each. */
export type AtaOperation =
  | "diagnostic"
  | "checkPower"
  | "flush"
  | "identify"
  | "initializeParameters"
  | "nonData"
  | "read"
  | "readBuffer"
  | "readMultiple"
  | "seek"
  | "setFeatures"
  | "setMultiple"
  | "verify"
  | "write"
  | "writeBuffer"
  | "writeMultiple";

/** Opcodes of each operation. Whatever is not here is aborted. */
const OPCODES: readonly (readonly [AtaOperation, readonly number[]])[] = [
  // Read and write with the opcodes whose retries are off, and Write Verify.
  ["read", [0x20, 0x21]],
  ["write", [0x30, 0x31, 0x3c]],
  ["verify", [0x40, 0x41]],
  ["diagnostic", [0x90]],
  ["initializeParameters", [0x91]],
  // Standby Immediate, Idle Immediate, Standby, Idle, Sleep: with the opcodes that ATA-1 gave them as well.
  ["nonData", [0x94, 0x95, 0x96, 0x97, 0x99, 0xe0, 0xe1, 0xe2, 0xe3, 0xe6]],
  ["checkPower", [0x98, 0xe5]],
  ["readMultiple", [0xc4]],
  ["writeMultiple", [0xc5]],
  ["setMultiple", [0xc6]],
  ["readBuffer", [0xe4]],
  ["flush", [0xe7]],
  ["writeBuffer", [0xe8]],
  ["identify", [0xec]],
  ["setFeatures", [0xef]],
];

function commandTable(): ReadonlyMap<number, AtaOperation> {
  const table = new Map<number, AtaOperation>();
  for (const [operation, opcodes] of OPCODES) for (const opcode of opcodes) table.set(opcode, operation);
  // Recalibrate and Seek carried a step rate in their low bits once.
  for (let rate = 0; rate < 16; rate++) {
    table.set(0x10 | rate, "nonData");
    table.set(0x70 | rate, "seek");
  }
  return table;
}

/** Operation of each opcode that a disk knows. */
export const ATA_COMMANDS = commandTable();

/** Set Features, subcommands (8.37). */
export const ATA_FEATURE = {
  WRITE_CACHE_ON: 0x02,
  TRANSFER_MODE: 0x03,
  NO_REVERT: 0x66,
  READ_LOOK_AHEAD_OFF: 0x55,
  WRITE_CACHE_OFF: 0x82,
  READ_LOOK_AHEAD_ON: 0xaa,
  REVERT: 0xcc,
} as const;
