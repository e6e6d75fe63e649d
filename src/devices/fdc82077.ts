/**
 * The 82077AA floppy controller: registers, command and result phases, seeks and resets. Data commands are executed by
 * `fdc-transfer.ts`. Intel 290166; section numbers refer to it.
 */
import { copyPlain } from "../common/plain.ts";
import type { FloppyDrive } from "../hypervisor/backend.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { AccessSize, InterruptLine, PortDevice, Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";
import type { DmaChannel } from "./dma8237.ts";
import { type ControlCommand, type DataCommand, fdcCommand, OPCODE, ST0, ST1, ST3 } from "./fdc-commands.ts";
import { FdcTransfer, type FdcTransferState } from "./fdc-transfer.ts";

/** Offsets from 3F0h; DIR is read and CCR written at the last one. */
const REG = { SRA: 0, SRB: 1, DOR: 2, TDR: 3, MSR_DSR: 4, DATA: 5, DIR_CCR: 7 } as const;
const SRA = { NOT_TRACK_0: 1 << 4, NOT_INDEX: 1 << 2, NOT_WP: 1 << 1, NOT_DRV2: 1 << 6, INT: 1 << 7 } as const;
/** Drive select 0, and bits that are always 1. */
const SRB = { MOTORS: 3, DRIVE_0: 1 << 5, ALWAYS: 3 << 6 } as const;
const DOR = { SELECT: 3, NOT_RESET: 1 << 2, DMA_GATE: 1 << 3, MOTOR_SHIFT: 4 } as const;
const MSR = { BUSY: 1 << 4, NON_DMA: 1 << 5, TO_HOST: 1 << 6, REQUEST: 1 << 7 } as const;
const DSR = { RATE: 3, RESET: 1 << 7 } as const;
const DIR_CHANGED = 1 << 7;
/** Configure: implied seek, FIFO off, polling off, threshold. */
const CONFIGURE = {
  IMPLIED_SEEK: 1 << 6,
  NO_FIFO: 1 << 5,
  NO_POLL: 1 << 4,
  DEFAULT: 1 << 5,
  ON_RESET: (1 << 6) | (1 << 4),
} as const;
const NON_DMA_MODE = 1 << 0;
const VERSION_82077 = 0x90;
const LOCK_RESULT = 1 << 4;
/** Bit 6 of Relative Seek: step towards the spindle. */
const STEP_IN = 1 << 6;
const DRIVES = 4;

/** Guest time of a seek and of a reset, ns. */
const SEEK_TIME = 100_000;
const RESET_TIME = 20_000;

/** Phases of section 5. */
type Phase = "command" | "execution" | "result";

/** State of the controller. */
export interface Fdc82077State {
  dor: number;
  tdr: number;
  rate: number;
  /** The guest has set a data rate; before it has, every medium is read. */
  rateSet: boolean;
  phase: Phase;
  command: number[];
  result: number[];
  /** Interrupt of the data register or of a result. */
  dataInterrupt: boolean;
  /** Interrupt at the end of a reset. */
  resetInterrupt: boolean;
  /** Cylinder of each drive. */
  cylinders: number[];
  /** When each drive's seek ends, -1 without one; where it goes; whether it recalibrates. */
  seekEnds: number[];
  seekTargets: number[];
  /** ST0 that Sense Interrupt is to report for each drive, -1 without any. */
  seekStatus: number[];
  /** Drives that Sense Interrupt still has to report after a reset. */
  resetSenses: number;
  specify: number[];
  /** EOT of the last data command, for Dumpreg. */
  eot: number;
  perpendicular: number;
  configure: number;
  precompensation: number;
  locked: boolean;
  seekAt: number;
  resetAt: number;
  transfer: FdcTransferState | undefined;
}

function powerOn(): Fdc82077State {
  return {
    dor: 0,
    tdr: 0,
    rate: 2,
    rateSet: false,
    phase: "command",
    command: [],
    result: [],
    dataInterrupt: false,
    resetInterrupt: false,
    cylinders: new Array(DRIVES).fill(0),
    seekEnds: new Array(DRIVES).fill(-1),
    seekTargets: new Array(DRIVES).fill(0),
    seekStatus: new Array(DRIVES).fill(-1),
    resetSenses: 0,
    specify: [0, 0],
    eot: 0,
    perpendicular: 0,
    configure: CONFIGURE.DEFAULT,
    precompensation: 0,
    locked: false,
    seekAt: -1,
    resetAt: -1,
    transfer: undefined,
  };
}

/** What the controller is wired to. */
export interface Fdc82077Deps {
  readonly clock: Clock;
  readonly irq6: InterruptLine;
  readonly dma: DmaChannel;
  /** At most four drives; media may come and go. */
  readonly drives: readonly FloppyDrive[];
}

/** The controller; ports 3F0h–3F7h without 3F6h, which is the disk controller's. */
export class Fdc82077 implements PortDevice, Stateful<Fdc82077State> {
  private readonly deps: Fdc82077Deps;
  private readonly transfer: FdcTransfer;
  private readonly seekTimer: Timer;
  private readonly resetTimer: Timer;
  private s: Fdc82077State = powerOn();

  constructor(deps: Fdc82077Deps) {
    this.deps = deps;
    this.transfer = new FdcTransfer({
      clock: deps.clock,
      dma: deps.dma,
      drives: deps.drives,
      cylinder: (drive) => this.s.cylinders[drive]!,
      rate: () => (this.s.rateSet ? this.s.rate : -1),
      attention: () => this.setDataInterrupt(true),
      finish: (st0, st1, st2, id) => this.finish([st0, st1, st2, ...id]),
    });
    this.seekTimer = deps.clock.timer(() => this.onSeekEnd());
    this.resetTimer = deps.clock.timer(() => this.onResetEnd());
  }

  private get inReset(): boolean {
    return (this.s.dor & DOR.NOT_RESET) === 0;
  }

  private get interrupt(): boolean {
    const { s } = this;
    return s.dataInterrupt || s.resetInterrupt || s.seekStatus.some((status) => status >= 0);
  }

  private updateLine(): void {
    this.deps.irq6.set(this.interrupt && (this.s.dor & DOR.DMA_GATE) !== 0);
  }

  private setDataInterrupt(level: boolean): void {
    this.s.dataInterrupt = level;
    if (level) this.forgetReset();
    this.updateLine();
  }

  /** A new interrupt ends the reports of the last reset. */
  private forgetReset(): void {
    this.s.resetInterrupt = false;
    this.s.resetSenses = 0;
  }

  /** A command with a result phase ended with an interrupt. */
  private finish(result: readonly number[]): void {
    this.setResult(result);
    this.setDataInterrupt(true);
  }

  // --- registers -----------------------------------------------------------------------------------------------------

  read(offset: number, _size: AccessSize): number {
    switch (offset & 7) {
      case REG.SRA:
        return this.statusA();
      case REG.SRB:
        return SRB.ALWAYS | (this.s.dor & 1 ? 0 : SRB.DRIVE_0) | ((this.s.dor >> DOR.MOTOR_SHIFT) & SRB.MOTORS);
      case REG.DOR:
        return this.s.dor;
      case REG.TDR:
        return this.s.tdr;
      case REG.MSR_DSR:
        return this.mainStatus();
      case REG.DATA:
        return this.readData();
      case REG.DIR_CCR:
        return this.digitalInput();
      default:
        return 0xff;
    }
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const byte = value & 0xff;
    switch (offset & 7) {
      case REG.DOR:
        this.writeDor(byte);
        break;
      case REG.TDR:
        this.s.tdr = byte & 3;
        break;
      case REG.MSR_DSR:
        this.setRate(byte & DSR.RATE);
        if (byte & DSR.RESET && !this.inReset) {
          this.softReset();
          this.resetTimer.arm(this.deps.clock.now() + RESET_TIME);
        }
        break;
      case REG.DATA:
        this.writeData(byte);
        break;
      case REG.DIR_CCR:
        this.setRate(byte & DSR.RATE);
        break;
    }
  }

  private setRate(rate: number): void {
    this.s.rate = rate;
    this.s.rateSet = true;
  }

  private statusA(): number {
    const { s } = this;
    const drive = s.dor & DOR.SELECT;
    return (
      (this.interrupt ? SRA.INT : 0) |
      SRA.NOT_DRV2 |
      (s.cylinders[drive] === 0 ? 0 : SRA.NOT_TRACK_0) |
      (this.writeProtected(drive) ? 0 : SRA.NOT_WP) |
      SRA.NOT_INDEX
    );
  }

  private mainStatus(): number {
    const { s } = this;
    if (this.inReset || this.resetTimer.deadline !== Number.POSITIVE_INFINITY) return 0;
    let status = 0;
    for (let drive = 0; drive < DRIVES; drive++) if (s.seekEnds[drive]! >= 0) status |= 1 << drive;
    if (s.phase === "result") return status | MSR.REQUEST | MSR.TO_HOST | MSR.BUSY;
    if (s.phase === "command") return status | MSR.REQUEST | (s.command.length > 0 ? MSR.BUSY : 0);
    const { waiting } = this.transfer;
    if (waiting === undefined) return status | MSR.BUSY | (this.nonDma ? MSR.NON_DMA : 0);
    return status | MSR.BUSY | MSR.NON_DMA | MSR.REQUEST | (waiting === "toHost" ? MSR.TO_HOST : 0);
  }

  private digitalInput(): number {
    const drive = this.deps.drives[this.s.dor & DOR.SELECT];
    return drive !== undefined && (drive.changed || drive.medium === undefined) ? DIR_CHANGED : 0;
  }

  private writeProtected(drive: number): boolean {
    const medium = this.deps.drives[drive]?.medium;
    return medium !== undefined && (medium.writeProtected || medium.backend.readonly);
  }

  private get nonDma(): boolean {
    return (this.s.specify[1]! & NON_DMA_MODE) !== 0;
  }

  // --- reset ---------------------------------------------------------------------------------------------------------

  private writeDor(byte: number): void {
    const wasReset = this.inReset;
    this.s.dor = byte;
    if (this.inReset) this.softReset();
    else if (wasReset) this.resetTimer.arm(this.deps.clock.now() + RESET_TIME);
    this.updateLine();
  }

  private softReset(): void {
    const { s } = this;
    this.transfer.abort();
    this.seekTimer.cancel();
    this.resetTimer.cancel();
    s.phase = "command";
    s.command = [];
    s.result = [];
    s.seekEnds.fill(-1);
    s.seekStatus.fill(-1);
    s.dataInterrupt = false;
    this.forgetReset();
    if (!s.locked) {
      s.configure = (s.configure & CONFIGURE.ON_RESET) | CONFIGURE.DEFAULT;
      s.precompensation = 0;
    }
    this.updateLine();
  }

  private onResetEnd(): void {
    // With polling on, the controller finds four drives that became ready (section 4.2).
    if (this.s.configure & CONFIGURE.NO_POLL) return;
    this.s.resetSenses = DRIVES;
    this.s.resetInterrupt = true;
    this.updateLine();
  }

  // --- command and result phases -------------------------------------------------------------------------------------

  private readData(): number {
    const { s } = this;
    if (s.phase === "execution" && this.transfer.waiting === "toHost") {
      // The end of the data raises the interrupt again, for the result.
      this.setDataInterrupt(false);
      const byte = this.transfer.readByte();
      if (this.transfer.waiting === "toHost") this.setDataInterrupt(true);
      return byte;
    }
    if (s.phase !== "result") return 0xff;
    const byte = s.result.shift() ?? 0xff;
    this.setDataInterrupt(false);
    if (s.result.length === 0) s.phase = "command";
    return byte;
  }

  private writeData(byte: number): void {
    const { s } = this;
    if (this.inReset) return;
    if (s.phase === "execution" && this.transfer.waiting === "fromHost") {
      this.setDataInterrupt(false);
      this.transfer.writeByte(byte);
      if (this.transfer.waiting === "fromHost") this.setDataInterrupt(true);
      return;
    }
    if (s.phase !== "command") return;
    s.command.push(byte);
    const command = fdcCommand(s.command[0]!);
    if (command === undefined) {
      this.setResult([ST0.INVALID]);
      return;
    }
    if (s.command.length <= command.parameters) return;
    const bytes = s.command;
    s.command = [];
    if (command.data) this.executeData(command.name as DataCommand, bytes);
    else this.execute(command.name as ControlCommand, bytes);
  }

  private setResult(bytes: readonly number[]): void {
    this.s.command = [];
    this.s.result = [...bytes];
    this.s.phase = "result";
  }

  private executeData(name: DataCommand, bytes: readonly number[]): void {
    const { s } = this;
    const drive = bytes[1]! & 3;
    if (name !== "format") s.eot = bytes[6]!;
    if (s.configure & CONFIGURE.IMPLIED_SEEK && name !== "format") this.moveHeads(drive, bytes[2]!);
    s.phase = "execution";
    this.transfer.start(name, bytes, !this.nonDma);
  }

  private execute(name: ControlCommand, bytes: readonly number[]): void {
    const { s } = this;
    const [opcode = 0, first = 0, second = 0, third = 0] = bytes;
    const drive = first & 3;
    switch (name) {
      case "specify":
        s.specify = [first, second];
        break;
      case "senseDrive":
        this.setResult([this.driveStatus(first)]);
        break;
      case "recalibrate":
        this.seek(drive, 0);
        break;
      case "senseInterrupt":
        this.senseInterrupt();
        break;
      case "readId":
        this.readId(first, (opcode & OPCODE.MFM) !== 0);
        break;
      case "dumpRegisters":
        this.setResult(this.registerDump());
        break;
      case "seek":
        this.seek(drive, second);
        break;
      case "relativeSeek":
        this.seek(drive, (s.cylinders[drive]! + (opcode & STEP_IN ? second : -second)) & 0xff);
        break;
      case "version":
        this.setResult([VERSION_82077]);
        break;
      case "perpendicular":
        // Without OW (bit 7) the drive bits stay as they are.
        s.perpendicular = first & 0x80 ? first & 0x3f : (s.perpendicular & 0x3c) | (first & 3);
        break;
      case "configure":
        s.configure = second & 0x7f;
        s.precompensation = third;
        break;
      case "lock":
        s.locked = (opcode & 0x80) !== 0;
        this.setResult([s.locked ? LOCK_RESULT : 0]);
        break;
    }
  }

  private driveStatus(select: number): number {
    const drive = select & 3;
    const present = this.deps.drives[drive] !== undefined;
    return (
      (select & 7) |
      ST3.ALWAYS |
      (present && this.s.cylinders[drive] === 0 ? ST3.TRACK_0 : 0) |
      (this.writeProtected(drive) ? ST3.WRITE_PROTECTED : 0)
    );
  }

  private registerDump(): number[] {
    const { s } = this;
    return [
      ...s.cylinders,
      ...s.specify,
      s.eot,
      (s.locked ? 0x80 : 0) | s.perpendicular,
      s.configure,
      s.precompensation,
    ];
  }

  private readId(select: number, mfm: boolean): void {
    const drive = select & 3;
    const head = (select >> 2) & 1;
    const id = this.transfer.readId(drive, head, mfm);
    const st0 = (head << 2) | drive;
    if (id !== undefined) this.finish([st0, 0, 0, ...id]);
    else this.finish([st0 | ST0.ABNORMAL, ST1.MA, 0, this.s.cylinders[drive]!, head, 1, 2]);
  }

  // --- seeks ---------------------------------------------------------------------------------------------------------

  private seek(drive: number, target: number): void {
    const { s } = this;
    s.seekStatus[drive] = -1;
    // The interrupt of a seek that nobody asked about is gone with it.
    this.updateLine();
    s.seekTargets[drive] = target;
    const end = this.deps.clock.now() + SEEK_TIME;
    s.seekEnds[drive] = end;
    this.seekTimer.arm(Math.min(end, this.seekTimer.deadline));
  }

  private moveHeads(drive: number, target: number): void {
    const { s } = this;
    const unit = this.deps.drives[drive];
    // A step pulse resets the change line once there is a disk (section 4.1 of the drive interface).
    if (unit?.medium !== undefined && target !== s.cylinders[drive]) unit.changed = false;
    s.cylinders[drive] = target;
  }

  private onSeekEnd(): void {
    const { s } = this;
    const now = this.deps.clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (let drive = 0; drive < DRIVES; drive++) {
      const end = s.seekEnds[drive]!;
      if (end > now) next = Math.min(next, end);
      if (end < 0 || end > now) continue;
      const target = s.seekTargets[drive]!;
      const present = this.deps.drives[drive] !== undefined;
      this.moveHeads(drive, target);
      s.seekEnds[drive] = -1;
      // Nothing answers at track 0 where there is no drive.
      const missing = !present && target === 0;
      s.seekStatus[drive] = ST0.SEEK_END | drive | (missing ? ST0.ABNORMAL | ST0.EQUIPMENT : 0);
      this.forgetReset();
    }
    this.updateLine();
    if (next !== Number.POSITIVE_INFINITY) this.seekTimer.arm(next);
  }

  private senseInterrupt(): void {
    const { s } = this;
    if (s.resetSenses > 0) {
      const drive = DRIVES - s.resetSenses--;
      s.resetInterrupt = false;
      this.updateLine();
      this.setResult([ST0.CHANGED | drive, s.cylinders[drive]!]);
      return;
    }
    const drive = s.seekStatus.findIndex((status) => status >= 0);
    if (drive < 0) {
      this.setResult([ST0.INVALID]);
      return;
    }
    const status = s.seekStatus[drive]!;
    s.seekStatus[drive] = -1;
    this.updateLine();
    this.setResult([status, s.cylinders[drive]!]);
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  reset(): void {
    this.transfer.reset();
    this.seekTimer.cancel();
    this.resetTimer.cancel();
    this.s = powerOn();
    this.updateLine();
  }

  state(): Fdc82077State {
    return copyPlain({
      ...this.s,
      seekAt: timerState(this.seekTimer),
      resetAt: timerState(this.resetTimer),
      transfer: this.transfer.state(),
    });
  }

  restore(state: Fdc82077State): void {
    this.s = copyPlain(state);
    restoreTimer(this.seekTimer, state.seekAt);
    restoreTimer(this.resetTimer, state.resetAt);
    if (state.transfer === undefined) this.transfer.reset();
    else this.transfer.restore(state.transfer);
    this.updateLine();
  }
}
