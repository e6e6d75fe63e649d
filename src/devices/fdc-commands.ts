/** The command set of the 82077AA: what each opcode is called, how many bytes follow, and its status bits. Intel 290166. */

/** Status register 0, and the codes of its top two bits. */
export const ST0 = {
  HEAD: 1 << 2,
  NOT_READY: 1 << 3,
  EQUIPMENT: 1 << 4,
  SEEK_END: 1 << 5,
  ABNORMAL: 1 << 6,
  INVALID: 2 << 6,
  CHANGED: 3 << 6,
} as const;
/** Status register 1: missing address mark, not writable, no data, overrun, data error, end of cylinder. */
export const ST1 = { MA: 1 << 0, NW: 1 << 1, ND: 1 << 2, OR: 1 << 4, DE: 1 << 5, EN: 1 << 7 } as const;
/** Status register 2: scan not satisfied, scan hit, wrong cylinder, data error in data field, control mark. */
export const ST2 = { SN: 1 << 2, SH: 1 << 3, WC: 1 << 4, DD: 1 << 5, CM: 1 << 6 } as const;
/** Status register 3; ready and two sides read as 1 always. */
export const ST3 = { TRACK_0: 1 << 4, ALWAYS: (1 << 3) | (1 << 5), WRITE_PROTECTED: 1 << 6 } as const;

/** Modifier bits of an opcode. */
export const OPCODE = { SKIP: 1 << 5, MFM: 1 << 6, MULTI_TRACK: 1 << 7 } as const;

/** Commands that move data. */
export type DataCommand =
  | "read"
  | "readDeleted"
  | "readTrack"
  | "write"
  | "format"
  | "verify"
  | "scanEqual"
  | "scanLow"
  | "scanHigh";

/** Commands that do not. */
export type ControlCommand =
  | "specify"
  | "senseDrive"
  | "recalibrate"
  | "senseInterrupt"
  | "readId"
  | "dumpRegisters"
  | "seek"
  | "relativeSeek"
  | "version"
  | "perpendicular"
  | "configure"
  | "lock";

/** One command. */
export interface FdcCommand {
  /** Opcode without its modifiers. */
  readonly code: number;
  /** Modifiers that it takes. */
  readonly modifiers: number;
  /** Bytes after the opcode. */
  readonly parameters: number;
  readonly name: DataCommand | ControlCommand;
  /** Set for commands with a data phase. */
  readonly data?: true;
}

const { SKIP, MFM, MULTI_TRACK } = OPCODE;

/** Table 5-1. Write Deleted Data writes ordinary sectors: an image has no data marks. */
export const FDC_COMMANDS: readonly FdcCommand[] = [
  { code: 0x02, modifiers: MFM, parameters: 8, name: "readTrack", data: true },
  { code: 0x03, modifiers: 0, parameters: 2, name: "specify" },
  { code: 0x04, modifiers: 0, parameters: 1, name: "senseDrive" },
  { code: 0x05, modifiers: MULTI_TRACK | MFM, parameters: 8, name: "write", data: true },
  { code: 0x06, modifiers: MULTI_TRACK | MFM | SKIP, parameters: 8, name: "read", data: true },
  { code: 0x07, modifiers: 0, parameters: 1, name: "recalibrate" },
  { code: 0x08, modifiers: 0, parameters: 0, name: "senseInterrupt" },
  { code: 0x09, modifiers: MULTI_TRACK | MFM, parameters: 8, name: "write", data: true },
  { code: 0x0a, modifiers: MFM, parameters: 1, name: "readId" },
  { code: 0x0c, modifiers: MULTI_TRACK | MFM | SKIP, parameters: 8, name: "readDeleted", data: true },
  { code: 0x0d, modifiers: MFM, parameters: 5, name: "format", data: true },
  { code: 0x0e, modifiers: 0, parameters: 0, name: "dumpRegisters" },
  { code: 0x0f, modifiers: 0, parameters: 2, name: "seek" },
  { code: 0x10, modifiers: 0, parameters: 0, name: "version" },
  { code: 0x11, modifiers: MULTI_TRACK | MFM | SKIP, parameters: 8, name: "scanEqual", data: true },
  { code: 0x12, modifiers: 0, parameters: 1, name: "perpendicular" },
  { code: 0x13, modifiers: 0, parameters: 3, name: "configure" },
  { code: 0x14, modifiers: 1 << 7, parameters: 0, name: "lock" },
  { code: 0x16, modifiers: MULTI_TRACK | MFM | SKIP, parameters: 8, name: "verify", data: true },
  { code: 0x19, modifiers: MULTI_TRACK | MFM | SKIP, parameters: 8, name: "scanLow", data: true },
  { code: 0x1d, modifiers: MULTI_TRACK | MFM | SKIP, parameters: 8, name: "scanHigh", data: true },
  { code: 0x8f, modifiers: 1 << 6, parameters: 2, name: "relativeSeek" },
];

/** The command of an opcode byte, or undefined when it is invalid. */
export function fdcCommand(opcode: number): FdcCommand | undefined {
  return FDC_COMMANDS.find(({ code, modifiers }) => (opcode & ~modifiers) === code);
}
