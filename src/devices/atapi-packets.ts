/**
 * The packet commands of a CD/DVD drive: what each one answers, its sense data, its tray and its events. How packets and
 * data travel is `atapi-cdrom.ts`'s. MMC-5 (T10/1675-D); section numbers refer to it.
 */
import { copyPlain } from "../common/plain.ts";
import type { CdDrive, CdMedium } from "../hypervisor/backend.ts";
import { FIRMWARE_REVISION } from "./ata-identify.ts";
import { CD_SECTOR, PACKET_COMMANDS, type PacketCommand, SENSE, type Sense } from "./atapi-commands.ts";
import { configuration, dvdStructure, PROFILE } from "./atapi-features.ts";
import { initialModeValues, MEDIUM_TYPE, type ModeValues, modeSelect, modeSense } from "./atapi-mode-pages.ts";
import { discInformation, isDvd, layoutOf, readToc, sectorsOf, trackInformation } from "./atapi-toc.ts";
import { lbaOfMsf, msf, partsLength, type SectorPart, selectParts } from "./cd-sector.ts";

/** What comes of a packet. */
export type PacketOutcome =
  | { readonly kind: "done" }
  | { readonly kind: "failed" }
  | { readonly kind: "reply"; readonly bytes: Uint8Array }
  /** Sectors from the medium: plain ones, or the named parts of raw ones. */
  | {
      readonly kind: "read";
      readonly lba: number;
      readonly count: number;
      readonly parts: readonly SectorPart[] | undefined;
    }
  /** The parameters of Mode Select are to be had from the guest. */
  | { readonly kind: "select"; readonly length: number };

const DONE: PacketOutcome = { kind: "done" };
const FAILED: PacketOutcome = { kind: "failed" };

/** Media events (6.7.2.5), as GET EVENT STATUS NOTIFICATION tells them. */
const EVENT = { NONE: 0, EJECT_REQUEST: 1, NEW_MEDIA: 2, MEDIA_REMOVAL: 3 } as const;
const EVENT_CLASS = { MEDIA: 4, POLLED: 1 << 0, NONE_AVAILABLE: 1 << 7 } as const;
const MEDIA_STATUS = { TRAY_OPEN: 1 << 0, PRESENT: 1 << 1 } as const;
/** Events that nobody asked about are forgotten, the oldest first. */
const MAX_EVENTS = 8;

/** START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL, byte 4. */
const START_STOP = { START: 1 << 0, LOAD_EJECT: 1 << 1, POWER_SHIFT: 4 } as const;
const PREVENT = 1 << 0;
/** READ CD, byte 1: which sectors are expected (6.19.2.2); 0 takes any, 2 is Mode 1. */
const SECTOR_TYPE = { SHIFT: 2, MASK: 7, ANY: 0, MODE_1: 2 } as const;
const MSF = 1 << 1;
/** READ SUB-CHANNEL: there is no audio whose status could be told. */
const NO_AUDIO_STATUS = 0x15;
const SUB_CHANNEL = { SUBQ: 1 << 6, POSITION: 1, CATALOG: 2, ISRC: 3 } as const;
/** Sense data format: current errors, 18 bytes. */
const CURRENT_ERROR = 0x70;
const SENSE_BYTES = 18;
const INQUIRY_BYTES = 36;
const CD_DEVICE = 5;
const REMOVABLE = 1 << 7;
/** Response format of SPC; the high nibble is ATAPI's version. */
const ATAPI_RESPONSE = 0x32;
const NO_BLOCKS = 0;

/** State of the command set. */
export interface AtapiPacketsState {
  /** What REQUEST SENSE will tell. */
  sense: Sense;
  /** Unit attentions that are still to be told, oldest first. */
  attentions: Sense[];
  events: number[];
  locked: boolean;
  trayOpen: boolean;
  mode: ModeValues;
  /** Position of the optical head, for READ SUB-CHANNEL. */
  position: number;
}

const word = (value: number): [number, number] => [(value >> 8) & 0xff, value & 0xff];
const long = (value: number): [number, number, number, number] => [...word(value >>> 16), ...word(value)];

/** Executes packets for `drive`. */
export class AtapiPackets {
  private readonly drive: CdDrive;
  private s: Omit<AtapiPacketsState, "trayOpen">;

  constructor(drive: CdDrive) {
    this.drive = drive;
    this.s = this.powerOn();
  }

  private powerOn(): Omit<AtapiPacketsState, "trayOpen"> {
    return {
      sense: SENSE.NONE,
      attentions: [SENSE.RESET],
      events: [],
      locked: false,
      mode: initialModeValues(),
      position: 0,
    };
  }

  // --- the tray, from outside ----------------------------------------------------------------------------------------

  /** The guest keeps the disc in. */
  get locked(): boolean {
    return this.s.locked;
  }

  /** Somebody pressed the button: without a lock the tray opens; with one the guest is told. True when it opened. */
  pressEject(): boolean {
    if (this.s.locked) {
      this.note(EVENT.EJECT_REQUEST);
      return false;
    }
    this.openTray();
    return true;
  }

  /** The tray opens, lock or not. */
  openTray(): void {
    const { drive } = this;
    this.s.locked = false;
    if (drive.trayOpen) return;
    drive.trayOpen = true;
    if (drive.medium !== undefined) this.note(EVENT.MEDIA_REMOVAL);
  }

  /** The tray closes over `medium`, or nothing. */
  closeTray(medium: CdMedium | undefined): void {
    const { drive } = this;
    drive.medium = medium;
    drive.trayOpen = false;
    this.s.position = 0;
    if (medium === undefined) return;
    this.note(EVENT.NEW_MEDIA);
    // One attention for each change would only be repeated news.
    this.s.attentions = this.s.attentions.filter(({ asc }) => asc !== SENSE.MEDIUM_CHANGED.asc);
    this.s.attentions.push(SENSE.MEDIUM_CHANGED);
  }

  private note(event: number): void {
    this.s.events.push(event);
    if (this.s.events.length > MAX_EVENTS) this.s.events.shift();
  }

  // --- packets -------------------------------------------------------------------------------------------------------

  /** The sense key with which the last packet failed. */
  get senseKey(): number {
    return this.s.sense.key;
  }

  /** The disc, if it can be read. */
  get medium(): CdMedium | undefined {
    return this.drive.trayOpen ? undefined : this.drive.medium;
  }

  /** A packet failed for a reason that its transport found: the medium cannot be read. */
  readFailed(): void {
    this.s.sense = SENSE.UNRECOVERED_READ;
  }

  private fail(reason: Sense): PacketOutcome {
    this.s.sense = reason;
    return FAILED;
  }

  /** Execute a packet of twelve bytes. */
  execute(packet: Uint8Array): PacketOutcome {
    const { s } = this;
    const command = PACKET_COMMANDS.get(packet[0]!);
    if (command?.name !== "requestSense") s.sense = SENSE.NONE;
    if (command === undefined) return this.fail(SENSE.INVALID_OPCODE);
    if (!command.undisturbed) {
      const attention = s.attentions.shift();
      if (attention !== undefined) return this.fail(attention);
    }
    const { medium } = this;
    if (!command.medium) return this.withoutDisc(command, packet);
    if (medium === undefined) {
      return this.fail(this.drive.trayOpen ? SENSE.NO_MEDIUM_TRAY_OPEN : SENSE.NO_MEDIUM_TRAY_CLOSED);
    }
    return this.withDisc(command, packet, medium);
  }

  /** `bytes` cut to what the packet has room for. */
  private reply(bytes: ArrayLike<number>, allocation: number): PacketOutcome {
    const length = Math.min(bytes.length, allocation);
    return length === 0 ? DONE : { kind: "reply", bytes: Uint8Array.from(bytes).subarray(0, length) };
  }

  private replyOrFail(bytes: Uint8Array | undefined, allocation: number): PacketOutcome {
    return bytes === undefined ? this.fail(SENSE.INVALID_FIELD) : this.reply(bytes, allocation);
  }

  private withoutDisc(command: PacketCommand, packet: Uint8Array): PacketOutcome {
    const { s } = this;
    const byte = (at: number): number => packet[at]!;
    const word16 = (at: number): number => (byte(at) << 8) | byte(at + 1);
    switch (command.name) {
      case "requestSense":
        return this.requestSense(byte(4));
      case "inquiry":
        return this.inquiry(packet);
      case "modeSense6":
        return this.modeSense(byte(2), byte(4), false);
      case "modeSense10":
        return this.modeSense(byte(2), word16(7), true);
      case "modeSelect6":
        return { kind: "select", length: byte(4) };
      case "modeSelect10":
        return { kind: "select", length: word16(7) };
      case "startStop":
        return this.startStop(byte(4));
      case "preventRemoval":
        s.locked = (byte(4) & PREVENT) !== 0;
        return DONE;
      case "getConfiguration":
        return this.replyOrFail(configuration(this.profile, byte(1) & 3, word16(2)), word16(7));
      case "getEventStatus":
        return this.eventStatus(packet, word16(7));
      case "mechanismStatus":
        // No changer: the state of the tray, and no slots.
        return this.reply([0, this.drive.trayOpen ? 1 << 4 : 0, 0, 0, 0, 0, 0, 0], word16(8));
      case "readBufferCapacity":
        // A buffer for writing, of which there is none.
        return this.reply([0, 10, 0, 0, ...long(NO_BLOCKS), ...long(NO_BLOCKS)], word16(7));
      default:
        return DONE;
    }
  }

  private withDisc(command: PacketCommand, packet: Uint8Array, medium: CdMedium): PacketOutcome {
    const byte = (at: number): number => packet[at]!;
    const word16 = (at: number): number => (byte(at) << 8) | byte(at + 1);
    const word24 = (at: number): number => (byte(at) << 16) | word16(at + 1);
    const word32 = (at: number): number => ((word16(at) << 16) | word16(at + 2)) >>> 0;
    switch (command.name) {
      case "readCapacity":
        return this.reply([...long(sectorsOf(medium) - 1), ...long(CD_SECTOR)], 8);
      case "read10":
        return this.readSectors(medium, word32(2), word16(7), undefined);
      case "read12":
        return this.readSectors(medium, word32(2), word32(6), undefined);
      case "readCd":
        return this.readCd(packet, medium, word32(2), word24(6));
      case "readCdMsf": {
        const start = lbaOfMsf(byte(3), byte(4), byte(5));
        return this.readCd(packet, medium, start, lbaOfMsf(byte(6), byte(7), byte(8)) - start);
      }
      case "seek10":
        return this.seek(medium, word32(2));
      case "readToc": {
        // SFF-8020i had the format in the last byte.
        const format = byte(2) & 0x0f || byte(9) >> 6;
        const toc = readToc(layoutOf(medium), format, byte(6), (byte(1) & MSF) !== 0);
        return this.replyOrFail(toc, word16(7));
      }
      case "readDiscInformation":
        return byte(1) & 7 ? this.fail(SENSE.INVALID_FIELD) : this.reply(discInformation(layoutOf(medium)), word16(7));
      case "readTrackInformation":
        return this.replyOrFail(trackInformation(layoutOf(medium), byte(1) & 3, word32(2)), word16(7));
      case "readDvdStructure":
        if (!isDvd(medium)) return this.fail(SENSE.WRONG_FORMAT);
        return this.replyOrFail(dvdStructure(byte(7), sectorsOf(medium)), word16(8));
      case "readSubChannel":
        return this.subChannel(packet, word16(7));
      case "playAudio":
        return this.fail(SENSE.ILLEGAL_MODE);
      case "pauseResume":
        return this.fail(SENSE.PLAY_SEQUENCE);
      default:
        return DONE;
    }
  }

  // --- about the drive -----------------------------------------------------------------------------------------------

  private requestSense(allocation: number): PacketOutcome {
    const { s } = this;
    // A unit attention that waits is told, as if a command had failed with it.
    const told = s.sense.key === 0 ? (s.attentions.shift() ?? s.sense) : s.sense;
    s.sense = SENSE.NONE;
    const reply = new Uint8Array(SENSE_BYTES);
    reply[0] = CURRENT_ERROR;
    reply[2] = told.key;
    reply[7] = SENSE_BYTES - 8;
    reply[12] = told.asc;
    reply[13] = told.ascq;
    return this.reply(reply, allocation);
  }

  private inquiry(packet: Uint8Array): PacketOutcome {
    // There are no pages of vital product data.
    if (packet[1]! & 1 || packet[2] !== 0) return this.fail(SENSE.INVALID_FIELD);
    const reply = new Uint8Array(INQUIRY_BYTES);
    reply.set([CD_DEVICE, REMOVABLE, 0, ATAPI_RESPONSE, INQUIRY_BYTES - 5]);
    const [vendor = "", ...product] = this.drive.model.split(" ");
    const field = (text: string, length: number): string => text.padEnd(length).slice(0, length);
    const text = `${field(vendor, 8)}${field(product.join(" "), 16)}${field(FIRMWARE_REVISION, 4)}`;
    for (let i = 0; i < text.length; i++) reply[8 + i] = text.charCodeAt(i) & 0x7f;
    return this.reply(reply, (packet[3]! << 8) | packet[4]!);
  }

  private get profile(): number {
    const { medium } = this;
    if (medium === undefined) return PROFILE.NONE;
    return isDvd(medium) ? PROFILE.DVD_ROM : PROFILE.CD_ROM;
  }

  private get mediumType(): number {
    if (this.drive.trayOpen) return MEDIUM_TYPE.OPEN;
    const { medium } = this;
    if (medium === undefined) return MEDIUM_TYPE.NONE;
    return isDvd(medium) ? MEDIUM_TYPE.DVD : MEDIUM_TYPE.DATA_CD;
  }

  private modeSense(selection: number, allocation: number, isLong: boolean): PacketOutcome {
    const { mode, locked } = this.s;
    const request = { page: selection & 0x3f, control: selection >> 6, long: isLong };
    const result = modeSense(mode, { mediumType: this.mediumType, locked }, request);
    return result instanceof Uint8Array ? this.reply(result, allocation) : this.fail(result);
  }

  /** The parameters of the Mode Select that `packet` was have come. */
  select(packet: Uint8Array, list: Uint8Array): PacketOutcome {
    const isLong = PACKET_COMMANDS.get(packet[0]!)?.name === "modeSelect10";
    const problem = modeSelect(this.s.mode, list, isLong);
    return problem === undefined ? DONE : this.fail(problem);
  }

  private startStop(byte: number): PacketOutcome {
    if (byte >> START_STOP.POWER_SHIFT || (byte & START_STOP.LOAD_EJECT) === 0) return DONE;
    if (byte & START_STOP.START) {
      if (this.drive.trayOpen) this.closeTray(this.drive.medium);
      return DONE;
    }
    if (this.s.locked) return this.fail(SENSE.REMOVAL_PREVENTED);
    this.openTray();
    return DONE;
  }

  private eventStatus(packet: Uint8Array, allocation: number): PacketOutcome {
    // Only polling is there (6.7.2.1).
    if ((packet[1]! & EVENT_CLASS.POLLED) === 0) return this.fail(SENSE.INVALID_FIELD);
    const classes = 1 << EVENT_CLASS.MEDIA;
    if ((packet[4]! & classes) === 0) return this.reply([0, 2, EVENT_CLASS.NONE_AVAILABLE, classes], allocation);
    const { medium, trayOpen } = this.drive;
    const status = trayOpen ? MEDIA_STATUS.TRAY_OPEN : medium === undefined ? 0 : MEDIA_STATUS.PRESENT;
    // An event is told once, to who has room for it.
    const event = allocation > 4 ? this.s.events.shift() : undefined;
    return this.reply([0, 6, EVENT_CLASS.MEDIA, classes, event ?? EVENT.NONE, status, 0, 0], allocation);
  }

  // --- about the disc ------------------------------------------------------------------------------------------------

  private readSectors(
    medium: CdMedium,
    lba: number,
    count: number,
    parts: readonly SectorPart[] | undefined,
  ): PacketOutcome {
    if (lba < 0 || lba + count > sectorsOf(medium)) return this.fail(SENSE.OUT_OF_RANGE);
    this.s.position = Math.max(lba, lba + count - 1);
    return count === 0 ? DONE : { kind: "read", lba, count, parts };
  }

  private readCd(packet: Uint8Array, medium: CdMedium, lba: number, count: number): PacketOutcome {
    const expected = (packet[1]! >> SECTOR_TYPE.SHIFT) & SECTOR_TYPE.MASK;
    const parts = selectParts(packet[9]!);
    // Subchannel data do not exist in images.
    if (parts === undefined || packet[10]! & 7 || count < 0) return this.fail(SENSE.INVALID_FIELD);
    if (expected !== SECTOR_TYPE.ANY && expected !== SECTOR_TYPE.MODE_1) return this.fail(SENSE.ILLEGAL_MODE);
    const length = partsLength(parts);
    if (length === 0) {
      const outcome = this.readSectors(medium, lba, count, undefined);
      return outcome.kind === "read" ? DONE : outcome;
    }
    const plain = parts.length === 1 && length === CD_SECTOR;
    return this.readSectors(medium, lba, count, plain ? undefined : parts);
  }

  private seek(medium: CdMedium, lba: number): PacketOutcome {
    if (lba >= sectorsOf(medium)) return this.fail(SENSE.OUT_OF_RANGE);
    this.s.position = lba;
    return DONE;
  }

  private subChannel(packet: Uint8Array, allocation: number): PacketOutcome {
    const { medium } = this;
    if (medium === undefined) return FAILED;
    if ((packet[2]! & SUB_CHANNEL.SUBQ) === 0) return this.reply([0, NO_AUDIO_STATUS, 0, 0], allocation);
    const inMsf = (packet[1]! & MSF) !== 0;
    const { position } = this.s;
    switch (packet[3]) {
      case SUB_CHANNEL.POSITION: {
        const info = layoutOf(medium);
        const index = info.tracks.findLastIndex(({ start }) => start <= position);
        const relative = position - (info.tracks[index]?.start ?? 0);
        const address = (lba: number): number[] => (inMsf ? [0, ...msf(lba)] : long(lba));
        // Relative times do not count the first two seconds.
        const fromTrack = inMsf ? [0, ...msf(relative - 150)] : long(relative);
        const data = [SUB_CHANNEL.POSITION, 0x14, (index + 1) & 0xff, 1, ...address(position), ...fromTrack];
        return this.reply([0, NO_AUDIO_STATUS, 0, data.length, ...data], allocation);
      }
      case SUB_CHANNEL.CATALOG:
      case SUB_CHANNEL.ISRC: {
        // Neither a catalogue number nor a recording code is on the disc.
        const data = new Array<number>(20).fill(0);
        data[0] = packet[3]!;
        return this.reply([0, NO_AUDIO_STATUS, 0, data.length, ...data], allocation);
      }
      default:
        return this.fail(SENSE.INVALID_FIELD);
    }
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  /** A reset: the lock is gone, the tray stays as it is. */
  reset(): void {
    this.s = this.powerOn();
  }

  state(): AtapiPacketsState {
    return copyPlain({ ...this.s, trayOpen: this.drive.trayOpen });
  }

  restore(state: AtapiPacketsState): void {
    const { trayOpen, ...rest } = copyPlain(state);
    this.s = rest;
    this.drive.trayOpen = trayOpen;
  }
}
