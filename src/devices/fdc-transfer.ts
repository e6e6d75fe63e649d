/**
 * The execution phase of the 82077AA's data commands: finds sectors on the medium, moves them by DMA or through the data
 * register, and says how it ended. Intel 290166, sections 5.1 and 5.2.
 */
import type { BlockBackend, FloppyDrive, FloppyMedium } from "../hypervisor/backend.ts";
import type { Clock } from "../hypervisor/clock.ts";
import type { DmaChannel } from "./dma8237.ts";
import { type DataCommand, OPCODE, ST0, ST1, ST2 } from "./fdc-commands.ts";

const SECTOR = 512;
/** Sector size code of 512 bytes. */
const SIZE_CODE = 2;
/** A track of a 2.88 MB disk, the longest. */
const BUFFER_SIZE = 36 * SECTOR;
/** Guest time of one command and of each sector, ns. Not a drive's: nobody wants to wait for one. */
const COMMAND_LATENCY = 50_000;
const SECTOR_LATENCY = 20_000;
/** A byte FFh on either side satisfies any comparison of a scan. */
const SCAN_WILDCARD = 0xff;
/** Bit 7 of the second byte of Verify: its last byte counts sectors. */
const ENABLE_COUNT = 1 << 7;

/** Which data rates (CCR bits 1–0) read each drive type's media: 500, 300, 250 kbit/s and 1 Mbit/s are 0–3. */
const MEDIUM_RATES: Readonly<Record<FloppyMedium["driveType"], readonly number[]>> = {
  1: [1, 2],
  2: [0],
  3: [2],
  4: [0],
  5: [3],
};

/** Where a command is in its execution. */
type Step = "idle" | "fetching" | "toHost" | "fromHost" | "storing" | "formatting";

/** State of a command in execution. */
export interface FdcTransferState {
  step: Step;
  name: DataCommand;
  drive: number;
  /** Head that is selected: side of the disk. */
  head: number;
  multiTrack: boolean;
  skip: boolean;
  mfm: boolean;
  /** The sector looked for: cylinder, head, record, size code. */
  c: number;
  h: number;
  r: number;
  n: number;
  eot: number;
  /** Last command byte: data length, scan step, sectors to verify or filler. */
  last: number;
  /** Sectors that Verify is still to see, or -1 for all. */
  verify: number;
  dma: boolean;
  buffer: Uint8Array;
  /** Bytes of the buffer in use, and how many of them have passed the data register. */
  length: number;
  position: number;
  /** Terminal count came with the data in the buffer. */
  tc: boolean;
  st2: number;
  /** Guest time at which host work is done, or -1. */
  due: number;
}

function idle(): FdcTransferState {
  return {
    step: "idle",
    name: "read",
    drive: 0,
    head: 0,
    multiTrack: false,
    skip: false,
    mfm: true,
    c: 0,
    h: 0,
    r: 0,
    n: SIZE_CODE,
    eot: 0,
    last: 0,
    verify: -1,
    dma: true,
    buffer: new Uint8Array(BUFFER_SIZE),
    length: 0,
    position: 0,
    tc: false,
    st2: 0,
    due: -1,
  };
}

/** What the execution phase needs of its controller. */
export interface FdcTransferDeps {
  readonly clock: Clock;
  readonly dma: DmaChannel;
  readonly drives: readonly FloppyDrive[];
  /** Cylinder under the heads of a drive. */
  readonly cylinder: (drive: number) => number;
  /** Data rate code, or -1 while the guest has not set one. */
  readonly rate: () => number;
  /** The data register has bytes, or room for some. */
  readonly attention: () => void;
  /** The command ended. */
  readonly finish: (st0: number, st1: number, st2: number, id: readonly [number, number, number, number]) => void;
}

/** Executes one data command at a time. */
export class FdcTransfer {
  private readonly deps: FdcTransferDeps;
  private s: FdcTransferState = idle();
  /** Counts commands, so that host work of an aborted one is recognized when it comes in. */
  private epoch = 0;

  constructor(deps: FdcTransferDeps) {
    this.deps = deps;
  }

  get busy(): boolean {
    return this.s.step !== "idle";
  }

  /** Direction in which the data register is waiting for the host, or undefined. */
  get waiting(): "toHost" | "fromHost" | undefined {
    const { step, dma } = this.s;
    return !dma && (step === "toHost" || step === "fromHost") ? step : undefined;
  }

  /** Execute `name` with the bytes of the command, opcode first. `dma` false moves data through the data register. */
  start(name: DataCommand, bytes: readonly number[], dma: boolean): void {
    const [opcode = 0, select = 0, c = 0, h = 0, r = 0, n = 0, eot = 0, , last = 0] = bytes;
    this.abort();
    const drive = select & 3;
    const head = (select >> 2) & 1;
    // Format has parameters of its own: size code, sectors per track, gap, filler.
    const id =
      name === "format"
        ? { c: this.deps.cylinder(drive), h: head, r: 1, n: c, eot: h, last: n }
        : { c, h, r: name === "readTrack" ? 1 : r, n, eot, last };
    this.s = {
      ...this.s,
      ...id,
      name,
      drive,
      head,
      multiTrack: (opcode & OPCODE.MULTI_TRACK) !== 0 && name !== "readTrack",
      skip: (opcode & OPCODE.SKIP) !== 0,
      mfm: (opcode & OPCODE.MFM) !== 0,
      verify: name === "verify" && select & ENABLE_COUNT ? last || 256 : -1,
      dma,
      st2: 0,
      tc: false,
    };
    this.deps.dma.setRequest(dma);
    this.next();
  }

  /** Forget the command: a reset. */
  abort(): void {
    this.epoch++;
    // Host work under way may still write into the old buffer.
    if (this.s.due >= 0) this.s.buffer = new Uint8Array(BUFFER_SIZE);
    this.s.step = "idle";
    this.s.due = -1;
    this.deps.dma.setRequest(false);
  }

  /** Power-on state. */
  reset(): void {
    this.abort();
    this.s = idle();
  }

  private get medium(): FloppyMedium | undefined {
    return this.deps.drives[this.s.drive]?.medium;
  }

  private end(st0: number, st1: number, st2 = 0): void {
    const { s } = this;
    s.step = "idle";
    s.due = -1;
    this.deps.dma.setRequest(false);
    this.deps.finish(st0 | (s.head << 2) | s.drive, st1, s.st2 | st2, [s.c, s.h, s.r, s.n]);
  }

  private fail(st1: number, st2 = 0): void {
    this.end(ST0.ABNORMAL, st1, st2);
  }

  /** Medium with a track under the selected head that this command's settings can read. */
  private track(): FloppyMedium | undefined {
    const { s, medium } = this;
    if (medium === undefined || !s.mfm) return undefined;
    const rate = this.deps.rate();
    if (rate >= 0 && !MEDIUM_RATES[medium.driveType].includes(rate)) return undefined;
    const { cylinders, heads } = medium.geometry;
    return this.deps.cylinder(s.drive) < cylinders && s.head < heads ? medium : undefined;
  }

  /** ID of a sector that passes under the head of `drive` about now, for Read ID; undefined without a readable track. */
  readId(drive: number, head: number, mfm: boolean): readonly [number, number, number, number] | undefined {
    Object.assign(this.s, { drive, head, mfm });
    const medium = this.track();
    if (medium === undefined) return undefined;
    const { sectors } = medium.geometry;
    const r = 1 + (Math.floor(this.deps.clock.now() / SECTOR_LATENCY) % sectors);
    return [this.deps.cylinder(drive), head, r, SIZE_CODE];
  }

  /** Begin with the next sector, or end if it cannot be found. */
  private next(): void {
    const { s } = this;
    const medium = this.track();
    const writes = s.name === "write" || s.name === "format";
    if (medium === undefined) this.fail(ST1.MA);
    else if (writes && (medium.writeProtected || medium.backend.readonly)) this.fail(ST1.NW);
    else if (s.name === "format") this.fromHost(s.eot * 4);
    else if (s.n !== SIZE_CODE || s.h !== s.head || s.r < 1 || s.r > medium.geometry.sectors) this.fail(ST1.ND);
    else if (s.c !== this.deps.cylinder(s.drive)) this.fail(ST1.ND, ST2.WC);
    else if (s.name === "readDeleted" && s.skip) this.fail(ST1.ND);
    else if (s.name === "write") this.fromHost(this.sectorsAhead(medium) * SECTOR);
    else this.fetch(medium);
  }

  /** Sectors up to the end of this track that can be handled in one piece. */
  private sectorsAhead(medium: FloppyMedium): number {
    const { s } = this;
    const { sectors } = medium.geometry;
    const limit = s.eot >= s.r ? Math.min(s.eot, sectors) : sectors;
    let count = limit - s.r + 1;
    if (s.name.startsWith("scan") || s.name === "readDeleted" || (!s.dma && s.name === "write")) count = 1;
    else if (s.name === "verify" && s.verify > 0) count = Math.min(count, s.verify);
    else if (s.dma && s.name !== "verify")
      count = Math.min(count, Math.max(1, Math.ceil(this.deps.dma.remaining / SECTOR)));
    return Math.min(count, BUFFER_SIZE / SECTOR);
  }

  private offset(medium: FloppyMedium, record: number): number {
    const { heads, sectors } = medium.geometry;
    return ((this.deps.cylinder(this.s.drive) * heads + this.s.head) * sectors + record - 1) * SECTOR;
  }

  /** Run host work and go on with `done` when it is finished in guest time. */
  private work(promise: Promise<void>, sectors: number, done: () => void): void {
    const { s, epoch } = this;
    const now = this.deps.clock.now();
    if (s.due < 0) s.due = now + COMMAND_LATENCY + sectors * SECTOR_LATENCY;
    this.deps.clock.complete(promise, Math.max(0, s.due - now), (_result, error) => {
      if (epoch !== this.epoch) return;
      this.s.due = -1;
      if (error === undefined) done();
      else this.fail(ST1.DE, ST2.DD);
    });
  }

  // --- from the medium -----------------------------------------------------------------------------------------------

  private fetch(medium: FloppyMedium): void {
    const { s } = this;
    s.step = "fetching";
    s.length = this.sectorsAhead(medium) * SECTOR;
    this.startFetch(medium);
  }

  private startFetch(medium: FloppyMedium): void {
    const { s } = this;
    const target = s.buffer.subarray(0, s.length);
    this.work(readInside(medium.backend, this.offset(medium, s.r), target), s.length / SECTOR, () => this.fetched());
  }

  private fetched(): void {
    const { s } = this;
    if (s.name === "verify") {
      const sectors = s.length / SECTOR;
      if (s.verify > 0) s.verify -= sectors;
      this.passed(sectors, s.verify === 0);
    } else if (s.name.startsWith("scan")) {
      this.fromHost(SECTOR);
    } else if (s.dma) {
      const { count, tc } = this.deps.dma.writeToMemory(s.buffer.subarray(0, s.length));
      if (count < s.length && !tc) this.fail(ST1.OR);
      else this.passed(Math.ceil(count / SECTOR), tc);
    } else {
      s.step = "toHost";
      s.position = 0;
      this.deps.attention();
    }
  }

  /** The host reads the data register. */
  readByte(): number {
    const { s } = this;
    const byte = s.buffer[s.position++]!;
    if (s.position === s.length) this.passed(s.length / SECTOR, false);
    return byte;
  }

  // --- from the host -------------------------------------------------------------------------------------------------

  /** Get `length` bytes from the host, behind a sector to compare them with if this is a scan. */
  private fromHost(length: number): void {
    const { s } = this;
    const start = s.name.startsWith("scan") ? SECTOR : 0;
    const end = Math.min(start + length, BUFFER_SIZE);
    s.step = "fromHost";
    s.position = start;
    s.length = end;
    s.tc = false;
    if (!s.dma) {
      if (end > start) this.deps.attention();
      else this.collected();
      return;
    }
    const { count, tc } = this.deps.dma.readFromMemory(s.buffer.subarray(start, end));
    if (count === 0 || (count < end - start && !tc)) {
      this.fail(ST1.OR);
      return;
    }
    s.tc = tc;
    if (s.name === "write") {
      // A sector that terminal count cuts short is filled up with zeros.
      const sectors = Math.ceil(count / SECTOR);
      s.buffer.fill(0, count, sectors * SECTOR);
      s.length = sectors * SECTOR;
    } else if (s.name === "format") {
      s.length = count - (count % 4);
    }
    this.collected();
  }

  /** The host writes the data register. */
  writeByte(byte: number): void {
    const { s } = this;
    s.buffer[s.position++] = byte;
    if (s.position === s.length) this.collected();
  }

  private collected(): void {
    const { s } = this;
    if (s.name.startsWith("scan")) this.compare();
    else {
      s.step = s.name === "format" ? "formatting" : "storing";
      this.startStore();
    }
  }

  private startStore(): void {
    const { s, medium } = this;
    if (medium === undefined) {
      this.fail(ST1.MA);
      return;
    }
    if (s.step === "formatting") {
      this.work(this.formatTrack(medium), s.eot, () => this.end(0, 0));
      return;
    }
    const sectors = s.length / SECTOR;
    const source = s.buffer.slice(0, s.length);
    this.work(writeInside(medium.backend, this.offset(medium, s.r), source), sectors, () => this.passed(sectors, s.tc));
  }

  /** Fill the sectors whose IDs the host sent; IDs that an image cannot hold are left out. */
  private async formatTrack(medium: FloppyMedium): Promise<void> {
    const { s } = this;
    const filler = new Uint8Array(SECTOR).fill(s.last);
    const offsets: number[] = [];
    for (let i = 0; i + 4 <= s.length; i += 4) {
      const record = s.buffer[i + 2]!;
      const fits = s.buffer[i + 3] === SIZE_CODE && record >= 1 && record <= medium.geometry.sectors;
      if (fits) offsets.push(this.offset(medium, record));
    }
    for (const offset of offsets) await writeInside(medium.backend, offset, filler);
  }

  /** Compare a sector with what the host sent (section 5.1.8). */
  private compare(): void {
    const { s } = this;
    let equal = true;
    let satisfied = true;
    for (let i = 0; i < SECTOR; i++) {
      const disk = s.buffer[i]!;
      const host = s.buffer[SECTOR + i]!;
      if (disk === host || disk === SCAN_WILDCARD || host === SCAN_WILDCARD) continue;
      equal = false;
      if (s.name === "scanEqual" || (s.name === "scanLow" ? disk > host : disk < host)) satisfied = false;
    }
    s.st2 = satisfied ? (equal ? ST2.SH : 0) : ST2.SN;
    const step = s.last === 2 ? 2 : 1;
    const lastOfTrack = s.r + step > s.eot;
    const turnsOver = lastOfTrack && s.multiTrack && s.head === 0;
    if (turnsOver) s.r = s.eot;
    const done = satisfied || s.tc || (lastOfTrack && !turnsOver);
    this.passed(done || lastOfTrack ? 1 : step, done);
  }

  // --- from sector to sector -----------------------------------------------------------------------------------------

  /** `sectors` are done. Go on, unless terminal count or the end of the cylinder ends the command (table 5-8). */
  private passed(sectors: number, tc: boolean): void {
    const { s } = this;
    const control = s.name === "readDeleted" ? ST2.CM : 0;
    const lastRecord = s.r + sectors - 1;
    if (control !== 0) {
      this.end(0, 0, control);
      return;
    }
    if (lastRecord !== s.eot) {
      s.r = (lastRecord + 1) & 0xff;
      if (tc) this.end(0, 0);
      else this.next();
      return;
    }
    s.r = 1;
    if (s.multiTrack) {
      s.h ^= 1;
      if (s.head === 0 && !tc) {
        s.head = 1;
        this.next();
        return;
      }
    }
    if (!s.multiTrack || s.head === 1) s.c = (s.c + 1) & 0xff;
    const complete = tc || (s.name === "verify" && s.verify < 0);
    if (complete) this.end(0, 0);
    else this.fail(ST1.EN);
  }

  state(): FdcTransferState {
    return { ...this.s, buffer: this.busy ? this.s.buffer.slice() : new Uint8Array() };
  }

  /** Host work that was under way begins again and ends at the hour at which it would have ended. */
  restore(state: FdcTransferState): void {
    this.epoch++;
    this.s = { ...state, buffer: new Uint8Array(BUFFER_SIZE) };
    this.s.buffer.set(state.buffer.subarray(0, BUFFER_SIZE));
    const { step } = this.s;
    if (this.s.due < 0) return;
    if (step === "storing" || step === "formatting") this.startStore();
    else if (step === "fetching" && this.medium !== undefined) this.startFetch(this.medium);
    else if (step === "fetching") this.fail(ST1.MA);
  }
}

/** Read what of `target` lies inside the medium; an image cut short reads as zeros behind its end. */
async function readInside(backend: BlockBackend, offset: number, target: Uint8Array): Promise<void> {
  const inside = Math.max(0, Math.min(target.length, backend.size - offset));
  target.fill(0, inside);
  if (inside > 0) await backend.read(offset, target.subarray(0, inside));
}

async function writeInside(backend: BlockBackend, offset: number, source: Uint8Array): Promise<void> {
  const inside = Math.max(0, Math.min(source.length, backend.size - offset));
  if (inside > 0) await backend.write(offset, source.subarray(0, inside));
}
