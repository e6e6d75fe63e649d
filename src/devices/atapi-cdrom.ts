/**
 * A CD/DVD drive on an IDE cable: the ATA commands that packet devices have, and how packets and their data travel by PIO
 * and DMA. What packets mean stands in `atapi-packets.ts`. ATA/ATAPI-6 (T13/1410D); section numbers refer to it.
 */
import { copyPlain } from "../common/plain.ts";
import type { CdDrive } from "../hypervisor/backend.ts";
import type { Clock } from "../hypervisor/clock.ts";
import {
  ATA_COMMANDS,
  ATA_ERROR,
  ATA_FEATURE,
  ATA_STATUS,
  isDmaMode,
  isTransferMode,
  TIMED_POWER,
  TRANSFER_MODE,
} from "./ata-commands.ts";
import type { AtaDevice } from "./ata-device.ts";
import { IDENTITY_BYTES, identifyPacket } from "./ata-identify.ts";
import { AtaInterface, type AtaInterfaceState } from "./ata-interface.ts";
import { AtaPower, type AtaPowerState } from "./ata-power.ts";
import { CD_SECTOR, PACKET_BYTES } from "./atapi-commands.ts";
import { AtapiPackets, type AtapiPacketsState, type PacketOutcome } from "./atapi-packets.ts";
import { partsLength, putSectors, type SectorPart } from "./cd-sector.ts";

/** Features register of PACKET (8.23): data by DMA; overlapped commands are not there. */
const PACKET_FEATURE = { DMA: 1 << 0, OVERLAP: 1 << 1 } as const;
/** Interrupt reason, in the Sector Count register (7.16): a packet or its end, not data; to the host. */
const REASON = { COMMAND: 1 << 0, TO_HOST: 1 << 1 } as const;
/** Signature of packet devices (9.12). */
const SIGNATURE = { MID: 0x14, HIGH: 0xeb } as const;
const DIAGNOSTIC_OK = 0x01;
const READY = ATA_STATUS.DRDY | ATA_STATUS.DSC;
/** Error register of PACKET: the sense key stands above ABRT. */
const SENSE_KEY_SHIFT = 4;
/** Most bytes that one data request passes; FFFFh means FFFEh. */
const MAX_BYTE_COUNT = 0xfffe;
/** Sectors that are asked of the host at once. */
const MAX_PIECE = 512;
/** Guest time of a command that reads and of each sector in it, ns, as with disks. */
const COMMAND_LATENCY = 20_000;
const SECTOR_LATENCY = 40;
const DEFAULT_DMA_MODE = TRANSFER_MODE.MULTIWORD | 2;

/**
 * What the drive is doing:
 *
 *   idle → packet (twelve bytes come) → reading (from the host) → data (to the guest) → reading … → idle
 *                                     → data → idle
 *                                     → select (parameters come) → idle
 */
type Activity = "idle" | "packet" | "reading" | "data" | "select" | "identity";

/** State of a drive. */
export interface AtapiCdromState {
  port: AtaInterfaceState;
  power: AtaPowerState;
  packets: AtapiPacketsState;
  activity: Activity;
  packet: Uint8Array;
  /** The data of this packet go by DMA. */
  dma: boolean;
  /** Most bytes of a data request. */
  byteCount: number;
  /** First sector of the piece that is under way, sectors in it, sectors of the command from there on. */
  lba: number;
  piece: number;
  remaining: number;
  /** Parts of raw sectors that READ CD wants; empty: the data alone. */
  parts: SectorPart[];
  dmaMode: number;
}

/** What a drive is wired to. */
export interface AtapiCdromDeps {
  readonly clock: Clock;
  readonly drive: CdDrive;
  readonly unit: 0 | 1;
  /** INTRQ or the request for DMA may have changed. */
  readonly changed: () => void;
}

type CoreState = Omit<AtapiCdromState, "port" | "power" | "packets">;

function powerOn(): CoreState {
  return {
    activity: "idle",
    packet: new Uint8Array(PACKET_BYTES),
    dma: false,
    byteCount: 0,
    lba: 0,
    piece: 0,
    remaining: 0,
    parts: [],
    dmaMode: DEFAULT_DMA_MODE,
  };
}

/** The drive. */
export class AtapiCdrom implements AtaDevice {
  readonly port: AtaInterface;
  /** The tray and its events. */
  readonly packets: AtapiPackets;
  private readonly deps: AtapiCdromDeps;
  private readonly power: AtaPower;
  private s: CoreState = powerOn();

  constructor(deps: AtapiCdromDeps) {
    this.deps = deps;
    this.packets = new AtapiPackets(deps.drive);
    this.power = new AtaPower(deps.clock);
    this.port = new AtaInterface({ clock: deps.clock, changed: deps.changed, dataDone: () => this.dataDone() });
    this.endReset();
  }

  // --- reset ---------------------------------------------------------------------------------------------------------

  private abandon(): void {
    this.port.abandon();
    this.s.activity = "idle";
  }

  private showSignature(): void {
    const registers = this.port.s;
    registers.count = 1;
    registers.lbaLow = 1;
    registers.lbaMid = SIGNATURE.MID;
    registers.lbaHigh = SIGNATURE.HIGH;
    registers.device = 0;
  }

  beginReset(): void {
    this.abandon();
    this.port.s.status = ATA_STATUS.BSY;
    this.port.setIrq(false);
  }

  endReset(): void {
    this.showSignature();
    this.port.s.error = DIAGNOSTIC_OK;
    // A packet device is not ready before its first command (9.12).
    this.port.s.status = 0;
    this.power.softReset();
  }

  diagnose(report: boolean): void {
    this.abandon();
    this.endReset();
    this.port.setIrq(report);
  }

  reset(): void {
    this.port.reset();
    this.power.reset();
    this.packets.reset();
    this.s = powerOn();
    this.endReset();
    this.deps.changed();
  }

  // --- commands ------------------------------------------------------------------------------------------------------

  execute(opcode: number): void {
    const { port } = this;
    const operation = ATA_COMMANDS.get(opcode)?.operation;
    if (operation === "deviceReset") {
      // The one command that is obeyed while the drive is busy (8.10).
      this.abandon();
      this.endReset();
      port.setIrq(false);
      return;
    }
    if (port.busy || this.power.asleep) return;
    this.abandon();
    port.s.status = READY;
    port.s.error = 0;
    port.setIrq(false);
    switch (operation) {
      case "packet":
        this.startPacket();
        break;
      case "identifyPacket":
        this.identify();
        break;
      case "identify":
      case "read":
        // Who tries to find a disk here finds the signature (8.15.5.2, 8.34.5.2).
        this.showSignature();
        this.abort();
        break;
      case "setFeatures":
        this.setFeatures();
        break;
      case "checkPower":
        port.s.count = this.power.code;
        this.complete();
        break;
      case "standby":
      case "idle":
      case "sleep":
        this.power.enter(operation, TIMED_POWER.has(opcode) ? port.s.count : undefined);
        this.complete();
        break;
      default:
        this.abort();
    }
  }

  private complete(): void {
    this.s.activity = "idle";
    this.port.endData();
    this.port.s.status = READY;
    this.port.setIrq(true);
  }

  private abort(): void {
    this.s.activity = "idle";
    this.port.endData();
    this.port.s.error = ATA_ERROR.ABRT;
    this.port.s.status = READY | ATA_STATUS.ERR;
    this.port.setIrq(true);
  }

  private identify(): void {
    const { model, serial } = this.deps.drive;
    const { dmaMode } = this.s;
    identifyPacket(this.port.prepare(IDENTITY_BYTES), { unit: this.deps.unit, model, serial, dmaMode });
    this.s.activity = "identity";
    this.port.requestPio("in", IDENTITY_BYTES, READY);
    this.port.setIrq(true);
  }

  private setFeatures(): void {
    const { features, count } = this.port.s;
    if (features !== ATA_FEATURE.TRANSFER_MODE || !isTransferMode(count)) {
      this.abort();
      return;
    }
    if (isDmaMode(count)) this.s.dmaMode = count;
    this.complete();
  }

  // --- packets -------------------------------------------------------------------------------------------------------

  private startPacket(): void {
    const { s, port } = this;
    const { features, lbaMid, lbaHigh } = port.s;
    if (features & PACKET_FEATURE.OVERLAP) {
      this.abort();
      return;
    }
    s.dma = (features & PACKET_FEATURE.DMA) !== 0;
    s.byteCount = Math.min((lbaHigh << 8) | lbaMid, MAX_BYTE_COUNT);
    s.activity = "packet";
    port.prepare(PACKET_BYTES);
    port.s.count = REASON.COMMAND;
    // The host sees the request soon enough without an interrupt, as word 0 of the identity says.
    port.requestPio("out", PACKET_BYTES, READY);
  }

  private runPacket(): void {
    const { s, port } = this;
    s.packet.set(port.s.buffer.subarray(0, PACKET_BYTES));
    this.power.wake();
    this.follow(this.packets.execute(s.packet));
  }

  private follow(outcome: PacketOutcome): void {
    const { s, port } = this;
    switch (outcome.kind) {
      case "done":
        this.endPacket();
        break;
      case "failed":
        this.failPacket();
        break;
      case "reply":
        if (!this.canPass()) break;
        s.remaining = 0;
        port.prepare(outcome.bytes.length).set(outcome.bytes);
        this.passData();
        break;
      case "read":
        if (!this.canPass()) break;
        s.lba = outcome.lba;
        s.remaining = outcome.count;
        s.parts = copyPlain(outcome.parts ?? []) as SectorPart[];
        this.startPiece();
        break;
      case "select":
        this.startSelect(outcome.length);
        break;
    }
  }

  /** A data request of no bytes can pass none (8.23.4): the host forgot to say how many it takes. */
  private canPass(): boolean {
    if (this.s.dma || this.s.byteCount > 0) return true;
    this.port.s.count = REASON.COMMAND | REASON.TO_HOST;
    this.abort();
    return false;
  }

  private endPacket(): void {
    this.port.s.count = REASON.COMMAND | REASON.TO_HOST;
    this.complete();
  }

  private failPacket(): void {
    const { s, port } = this;
    s.activity = "idle";
    port.endData();
    port.s.count = REASON.COMMAND | REASON.TO_HOST;
    port.s.error = (this.packets.senseKey << SENSE_KEY_SHIFT) | ATA_ERROR.ABRT;
    port.s.status = READY | ATA_STATUS.ERR;
    port.setIrq(true);
  }

  private startSelect(length: number): void {
    const { s, port } = this;
    if (length === 0) {
      this.endPacket();
      return;
    }
    if (!this.canPass()) return;
    port.prepare(length);
    s.activity = "select";
    this.requestData("out");
  }

  // --- data ----------------------------------------------------------------------------------------------------------

  /** What is in the buffer goes to the guest. */
  private passData(): void {
    this.s.activity = "data";
    this.requestData("in");
  }

  private requestData(direction: "in" | "out"): void {
    const { s, port } = this;
    port.s.count = direction === "in" ? REASON.TO_HOST : 0;
    if (s.dma) {
      port.requestDma(direction === "in" ? "dmaIn" : "dmaOut", READY);
      return;
    }
    const left = port.s.length - port.s.position;
    // Only the last data request may have an odd number of bytes.
    const bytes = left <= s.byteCount ? left : Math.max(2, s.byteCount & ~1);
    port.s.lbaMid = bytes & 0xff;
    port.s.lbaHigh = bytes >> 8;
    port.requestPio(direction, bytes, READY);
    port.setIrq(true);
  }

  /** The data request is served. */
  private dataDone(): void {
    const { s, port } = this;
    const more = port.s.position < port.s.length;
    switch (s.activity) {
      case "packet":
        this.runPacket();
        break;
      case "data":
        if (more) this.requestData("in");
        else if (s.remaining > 0) this.startPiece();
        else this.endPacket();
        break;
      case "select":
        if (more) this.requestData("out");
        else this.follow(this.packets.select(s.packet, port.s.buffer.subarray(0, port.s.length)));
        break;
      default:
        s.activity = "idle";
        port.s.status = READY;
    }
  }

  /** Read the next sectors of the command, as many as are asked of the host at once. */
  private startPiece(): void {
    const { s, port } = this;
    s.piece = Math.min(s.remaining, MAX_PIECE);
    port.prepare(s.piece * (s.parts.length > 0 ? partsLength(s.parts) : CD_SECTOR));
    s.activity = "reading";
    this.startWork();
  }

  private startWork(): void {
    const { s, port } = this;
    const { medium } = this.packets;
    const raw = s.parts.length > 0;
    const target = port.s.buffer.subarray(0, port.s.length);
    const data = raw ? new Uint8Array(s.piece * CD_SECTOR) : target;
    // The disc may have been taken out between two pieces.
    const work =
      medium === undefined || (s.lba + s.piece) * CD_SECTOR > medium.backend.size
        ? Promise.reject(new Error("no disc"))
        : medium.backend.read(s.lba * CD_SECTOR, data);
    const done = (): void => {
      if (raw) putSectors(target, data, s.lba, s.parts);
      s.lba += s.piece;
      s.remaining -= s.piece;
      this.passData();
    };
    port.work(work, COMMAND_LATENCY + s.piece * SECTOR_LATENCY, done, () => {
      this.packets.readFailed();
      this.failPacket();
    });
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  state(): AtapiCdromState {
    return {
      ...copyPlain(this.s),
      port: this.port.state(false),
      power: this.power.state(),
      packets: this.packets.state(),
    };
  }

  /** Host work that was under way begins again and ends at the hour at which it would have ended. */
  restore(state: AtapiCdromState): void {
    const { port, power, packets, ...rest } = state;
    this.port.restore(port);
    this.power.restore(power);
    this.packets.restore(packets);
    this.s = copyPlain(rest);
    if (port.due >= 0) this.startWork();
  }
}
