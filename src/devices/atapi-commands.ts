/** Packet commands of a CD/DVD drive by opcode, and the sense data with which they end. MMC-5 (T10/1675-D), SPC-3, SFF-8020i. */

/** Bytes of a packet. */
export const PACKET_BYTES = 12;
/** Bytes of a sector as READ gives it. */
export const CD_SECTOR = 2048;
/** Sectors of the longest CD, 80 minutes; what is larger is a DVD. */
export const CD_MAX_SECTORS = 80 * 60 * 75;

/** Sense key, additional sense code and its qualifier. */
export interface Sense {
  readonly key: number;
  readonly asc: number;
  readonly ascq: number;
}

const sense = (key: number, asc: number, ascq = 0): Sense => ({ key, asc, ascq });

const NOT_READY = 2;
const MEDIUM_ERROR = 3;
const ILLEGAL_REQUEST = 5;
const UNIT_ATTENTION = 6;

/** MMC-5 annex F. */
export const SENSE = {
  NONE: sense(0, 0),
  NO_MEDIUM_TRAY_CLOSED: sense(NOT_READY, 0x3a, 1),
  NO_MEDIUM_TRAY_OPEN: sense(NOT_READY, 0x3a, 2),
  UNRECOVERED_READ: sense(MEDIUM_ERROR, 0x11),
  INVALID_OPCODE: sense(ILLEGAL_REQUEST, 0x20),
  OUT_OF_RANGE: sense(ILLEGAL_REQUEST, 0x21),
  INVALID_FIELD: sense(ILLEGAL_REQUEST, 0x24),
  INVALID_PARAMETER: sense(ILLEGAL_REQUEST, 0x26),
  PARAMETER_LIST_LENGTH: sense(ILLEGAL_REQUEST, 0x1a),
  NO_SAVING: sense(ILLEGAL_REQUEST, 0x39),
  REMOVAL_PREVENTED: sense(ILLEGAL_REQUEST, 0x53, 2),
  ILLEGAL_MODE: sense(ILLEGAL_REQUEST, 0x64),
  PLAY_SEQUENCE: sense(ILLEGAL_REQUEST, 0x2c),
  WRONG_FORMAT: sense(ILLEGAL_REQUEST, 0x30, 2),
  MEDIUM_CHANGED: sense(UNIT_ATTENTION, 0x28),
  RESET: sense(UNIT_ATTENTION, 0x29),
} as const;

export type PacketName =
  | "getConfiguration"
  | "getEventStatus"
  | "inquiry"
  | "mechanismStatus"
  | "modeSelect10"
  | "modeSelect6"
  | "modeSense10"
  | "modeSense6"
  | "noOperation"
  | "pauseResume"
  | "playAudio"
  | "preventRemoval"
  | "read10"
  | "read12"
  | "readBufferCapacity"
  | "readCapacity"
  | "readCd"
  | "readCdMsf"
  | "readDiscInformation"
  | "readDvdStructure"
  | "readSubChannel"
  | "readToc"
  | "readTrackInformation"
  | "requestSense"
  | "seek10"
  | "startStop"
  | "testUnitReady";

export interface PacketCommand {
  readonly name: PacketName;
  /** Fails while there is no disc in the closed tray. */
  readonly medium: boolean;
  /** Is executed in spite of a unit attention, which stays (MMC-5 4.1.6.1). */
  readonly undisturbed: boolean;
}

const command = (name: PacketName, needs: "medium" | "none" | "undisturbed"): PacketCommand => ({
  name,
  medium: needs === "medium",
  undisturbed: needs === "undisturbed",
});

export const PACKET_COMMANDS: ReadonlyMap<number, PacketCommand> = new Map([
  [0x00, command("testUnitReady", "medium")],
  // Rezero Unit of SFF-8020i, Verify, Stop Play and Set CD Speed: nothing about them can be noticed here.
  [0x01, command("noOperation", "medium")],
  [0x03, command("requestSense", "undisturbed")],
  [0x12, command("inquiry", "undisturbed")],
  [0x15, command("modeSelect6", "none")],
  [0x1a, command("modeSense6", "none")],
  [0x1b, command("startStop", "none")],
  [0x1e, command("preventRemoval", "none")],
  [0x25, command("readCapacity", "medium")],
  [0x28, command("read10", "medium")],
  [0x2b, command("seek10", "medium")],
  [0x2f, command("noOperation", "medium")],
  [0x42, command("readSubChannel", "medium")],
  [0x43, command("readToc", "medium")],
  [0x45, command("playAudio", "medium")],
  [0x46, command("getConfiguration", "undisturbed")],
  [0x47, command("playAudio", "medium")],
  [0x4a, command("getEventStatus", "undisturbed")],
  [0x4b, command("pauseResume", "medium")],
  [0x4e, command("noOperation", "none")],
  [0x51, command("readDiscInformation", "medium")],
  [0x52, command("readTrackInformation", "medium")],
  [0x55, command("modeSelect10", "none")],
  [0x5a, command("modeSense10", "none")],
  [0x5c, command("readBufferCapacity", "none")],
  [0xa5, command("playAudio", "medium")],
  [0xa8, command("read12", "medium")],
  [0xad, command("readDvdStructure", "medium")],
  [0xb9, command("readCdMsf", "medium")],
  [0xbb, command("noOperation", "none")],
  [0xbd, command("mechanismStatus", "none")],
  [0xbe, command("readCd", "medium")],
]);
