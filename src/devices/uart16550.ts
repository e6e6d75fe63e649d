/**
 * A 16550A serial port. Transmitted bytes leave at once; received ones wait in a queue and enter the FIFO as the guest
 * reads, so that nothing overruns. National Semiconductor PC16550D data sheet; section numbers refer to it.
 */
import { copyPlain } from "../common/plain.ts";
import type { ByteSink } from "../hypervisor/backend.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { AccessSize, InterruptLine, PortDevice, Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";

const REG = { DATA: 0, IER: 1, IIR_FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7 } as const;
const IER = { RDA: 1 << 0, THRE: 1 << 1, LINE: 1 << 2, MODEM: 1 << 3, ALL: 15 } as const;
const FCR = { ENABLE: 1 << 0, CLEAR_RX: 1 << 1, CLEAR_TX: 1 << 2, TRIGGER_SHIFT: 6 } as const;
const LCR = { WORD_MASK: 3, BREAK: 1 << 6, DLAB: 1 << 7 } as const;
const MCR = { DTR: 1 << 0, RTS: 1 << 1, OUT1: 1 << 2, OUT2: 1 << 3, LOOP: 1 << 4, ALL: 31 } as const;
const LSR = { DR: 1 << 0, OE: 1 << 1, PE: 1 << 2, FE: 1 << 3, BI: 1 << 4, THRE: 1 << 5, TEMT: 1 << 6 } as const;
const MSR = { CTS: 1 << 4, DSR: 1 << 5, RI: 1 << 6, DCD: 1 << 7, TERI: 1 << 2 } as const;
const DELTAS = 15;
const LSR_ERRORS = LSR.OE | LSR.PE | LSR.FE | LSR.BI;
/** Interrupt identification, 8.6; the FIFO bits are added when FIFOs are on. */
const IIR = { NONE: 0x01, MODEM: 0x00, THRE: 0x02, RDA: 0x04, LINE: 0x06, TIMEOUT: 0x0c, FIFOS: 0xc0 } as const;

const FIFO_SIZE = 16;
const TRIGGERS: readonly number[] = [1, 4, 8, 14];
/** Divisor after power-on: 9600 baud. */
const DEFAULT_DIVISOR = 12;
const INPUT_CLOCK = 1_843_200;
/** The time-out interrupt comes four characters after the last one (8.6.1); so many bits of ten to a character. */
const TIMEOUT_BITS = 40;
const MAX_TIMEOUT = 5e6;
/**
 * Guest time from a write to the interrupt that asks for more, ns. Nothing at all would make drivers that loop until no
 * interrupt is pending send a whole buffer inside one interrupt, and complain ("too much work for irq4").
 */
const TRANSMIT_DELAY = 10_000;
/** Bytes that may wait in front of the FIFO. */
const QUEUE_CAPACITY = 1 << 16;

/** State of the port. */
export interface Uart16550State {
  ier: number;
  /** FIFOs on. */
  fifos: boolean;
  trigger: number;
  lcr: number;
  mcr: number;
  /** Error bits; the others follow from the FIFO. */
  lsr: number;
  /** Delta bits. */
  msrDeltas: number;
  /** Modem inputs: CTS, DSR, RI, DCD in their places in MSR. */
  lines: number;
  scratch: number;
  divisor: number;
  fifo: number[];
  /** Bytes from the host in front of the FIFO. */
  queue: number[];
  lastByte: number;
  /** The transmitter asks for data and was not told so yet. */
  transmitterEmpty: boolean;
  timedOut: boolean;
  timeoutAt: number;
  transmitAt: number;
}

/** Modem lines of a cable with somebody at its other end. */
const CONNECTED = MSR.CTS | MSR.DSR | MSR.DCD;

function powerOn(): Uart16550State {
  return {
    ier: 0,
    fifos: false,
    trigger: 1,
    lcr: 0,
    mcr: 0,
    lsr: 0,
    msrDeltas: 0,
    lines: CONNECTED,
    scratch: 0,
    divisor: DEFAULT_DIVISOR,
    fifo: [],
    queue: [],
    lastByte: 0,
    transmitterEmpty: false,
    timedOut: false,
    timeoutAt: -1,
    transmitAt: -1,
  };
}

/** What the port is wired to. */
export interface Uart16550Deps {
  readonly clock: Clock;
  readonly irq: InterruptLine;
  readonly sink: ByteSink;
}

/** The port; eight registers. */
export class Uart16550 implements PortDevice, Stateful<Uart16550State> {
  private readonly deps: Uart16550Deps;
  private readonly timeout: Timer;
  private readonly transmit: Timer;
  private s: Uart16550State = powerOn();

  constructor(deps: Uart16550Deps) {
    this.deps = deps;
    this.timeout = deps.clock.timer(() => {
      this.s.timedOut = this.s.fifo.length > 0;
      this.updateLine();
    });
    this.transmit = deps.clock.timer(() => {
      this.s.transmitterEmpty = true;
      this.updateLine();
    });
  }

  /**
   * Bytes arrive from the host; the port takes as many as its queue holds and returns their number. The rest should be
   * offered again later.
   */
  receive(bytes: Uint8Array): number {
    const { queue } = this.s;
    const count = Math.min(bytes.length, QUEUE_CAPACITY - queue.length);
    for (let i = 0; i < count; i++) queue.push(bytes[i]!);
    this.fill();
    this.updateLine();
    return count;
  }

  /** Bytes that wait for the guest. */
  get queued(): number {
    return this.s.queue.length + this.s.fifo.length;
  }

  /** Move bytes from the queue to where the guest reads them, as far as there is room. */
  private fill(): void {
    const { s } = this;
    const room = (s.fifos ? FIFO_SIZE : 1) - s.fifo.length;
    if (room <= 0 || s.queue.length === 0 || s.mcr & MCR.LOOP) return;
    s.fifo.push(...s.queue.splice(0, room));
    this.restartTimeout();
  }

  private restartTimeout(): void {
    const { s } = this;
    s.timedOut = false;
    if (!s.fifos || s.fifo.length === 0) {
      this.timeout.cancel();
      return;
    }
    const bit = (1e9 * 16 * (s.divisor || 1)) / INPUT_CLOCK;
    this.timeout.arm(this.deps.clock.now() + Math.min(TIMEOUT_BITS * bit, MAX_TIMEOUT));
  }

  /** Reason of the interrupt with the highest priority, in the encoding of IIR. */
  private reason(): number {
    const { s } = this;
    if (s.ier & IER.LINE && s.lsr & LSR_ERRORS) return IIR.LINE;
    if (s.ier & IER.RDA) {
      if (s.fifo.length >= (s.fifos ? s.trigger : 1)) return IIR.RDA;
      if (s.timedOut) return IIR.TIMEOUT;
    }
    if (s.ier & IER.THRE && s.transmitterEmpty) return IIR.THRE;
    if (s.ier & IER.MODEM && s.msrDeltas) return IIR.MODEM;
    return IIR.NONE;
  }

  private updateLine(): void {
    // On a PC, OUT2 connects the interrupt to the bus.
    this.deps.irq.set(this.reason() !== IIR.NONE && (this.s.mcr & MCR.OUT2) !== 0 && (this.s.mcr & MCR.LOOP) === 0);
  }

  private get wordMask(): number {
    return 0xff >> (3 - (this.s.lcr & LCR.WORD_MASK));
  }

  /** MSR's upper half. In loop-back mode it shows the modem outputs (8.7). */
  private modemInputs(): number {
    const { mcr, lines } = this.s;
    if ((mcr & MCR.LOOP) === 0) return lines;
    return (
      (mcr & MCR.RTS ? MSR.CTS : 0) |
      (mcr & MCR.DTR ? MSR.DSR : 0) |
      (mcr & MCR.OUT1 ? MSR.RI : 0) |
      (mcr & MCR.OUT2 ? MSR.DCD : 0)
    );
  }

  read(offset: number, _size: AccessSize): number {
    const { s } = this;
    const divisorLatch = (s.lcr & LCR.DLAB) !== 0;
    switch (offset & 7) {
      case REG.DATA:
        return divisorLatch ? s.divisor & 0xff : this.readData();
      case REG.IER:
        return divisorLatch ? s.divisor >> 8 : s.ier;
      case REG.IIR_FCR:
        return this.readReason();
      case REG.LCR:
        return s.lcr;
      case REG.MCR:
        return s.mcr;
      case REG.LSR:
        return this.readLineStatus();
      case REG.MSR:
        return this.readModemStatus();
      default:
        return s.scratch;
    }
  }

  private readData(): number {
    const { s } = this;
    const byte = s.fifo.shift();
    if (byte === undefined) return s.lastByte;
    s.lastByte = byte & this.wordMask;
    this.restartTimeout();
    // The line falls before the next byte raises it: an edge-triggered controller must see every byte.
    this.updateLine();
    if (s.fifo.length === 0 && s.queue.length > 0) {
      this.fill();
      this.updateLine();
    }
    return s.lastByte;
  }

  private readReason(): number {
    const { s } = this;
    const reason = this.reason();
    if (reason === IIR.THRE) {
      s.transmitterEmpty = false;
      this.updateLine();
    }
    return reason | (s.fifos ? IIR.FIFOS : 0);
  }

  private readLineStatus(): number {
    const { s } = this;
    const status = s.lsr | (s.fifo.length > 0 ? LSR.DR : 0) | LSR.THRE | LSR.TEMT;
    s.lsr = 0;
    this.updateLine();
    return status;
  }

  private readModemStatus(): number {
    const { s } = this;
    const status = this.modemInputs() | s.msrDeltas;
    s.msrDeltas = 0;
    this.updateLine();
    return status;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const { s } = this;
    const byte = value & 0xff;
    const divisorLatch = (s.lcr & LCR.DLAB) !== 0;
    switch (offset & 7) {
      case REG.DATA:
        if (divisorLatch) s.divisor = (s.divisor & 0xff00) | byte;
        else this.send(byte);
        break;
      case REG.IER:
        if (divisorLatch) s.divisor = (byte << 8) | (s.divisor & 0xff);
        else this.writeEnable(byte);
        break;
      case REG.IIR_FCR:
        this.writeFifoControl(byte);
        break;
      case REG.LCR:
        this.writeLineControl(byte);
        break;
      case REG.MCR:
        this.writeModemControl(byte);
        break;
      case REG.SCR:
        s.scratch = byte;
        break;
    }
    this.updateLine();
  }

  private send(byte: number): void {
    const { s } = this;
    const sent = byte & this.wordMask;
    if (s.mcr & MCR.LOOP) this.loopBack(sent);
    else this.deps.sink.write(sent);
    s.transmitterEmpty = false;
    // The interrupt must fall and rise again between two bytes, or an edge-triggered controller would see only the first.
    this.updateLine();
    if (s.ier & IER.THRE) this.transmit.arm(this.deps.clock.now() + TRANSMIT_DELAY);
  }

  private loopBack(byte: number): void {
    const { s } = this;
    if (s.fifo.length >= (s.fifos ? FIFO_SIZE : 1)) {
      s.lsr |= LSR.OE;
      // Without FIFOs the new byte replaces the old one; with them it is lost (8.5).
      if (!s.fifos) s.fifo[0] = byte;
      return;
    }
    s.fifo.push(byte);
    this.restartTimeout();
  }

  private writeEnable(byte: number): void {
    const { s } = this;
    // Enabling the interrupt while the transmitter is empty raises it.
    if (byte & ~s.ier & IER.THRE) s.transmitterEmpty = true;
    s.ier = byte & IER.ALL;
    if ((s.ier & IER.THRE) === 0) this.transmit.cancel();
  }

  private writeFifoControl(byte: number): void {
    const { s } = this;
    const enable = (byte & FCR.ENABLE) !== 0;
    // Changing the mode clears the FIFOs (8.3), and only with bit 0 set are the other bits looked at.
    if (enable !== s.fifos || (enable && byte & FCR.CLEAR_RX)) s.fifo.length = 0;
    if (enable && byte & FCR.CLEAR_TX && s.ier & IER.THRE) s.transmitterEmpty = true;
    s.fifos = enable;
    s.trigger = enable ? TRIGGERS[byte >> FCR.TRIGGER_SHIFT]! : 1;
    this.restartTimeout();
    this.fill();
  }

  private writeLineControl(byte: number): void {
    const { s } = this;
    const breakBegins = (byte & ~s.lcr & LCR.BREAK) !== 0;
    s.lcr = byte;
    if (!breakBegins || (s.mcr & MCR.LOOP) === 0) return;
    this.loopBack(0);
    s.lsr |= LSR.BI;
  }

  private writeModemControl(byte: number): void {
    const { s } = this;
    const before = this.modemInputs();
    s.mcr = byte & MCR.ALL;
    this.noteModemChange(before);
    this.fill();
  }

  private noteModemChange(before: number): void {
    const now = this.modemInputs();
    const changed = before ^ now;
    // RI reports only its trailing edge.
    const deltas = ((changed >> 4) & (DELTAS & ~MSR.TERI)) | (before & ~now & MSR.RI ? MSR.TERI : 0);
    this.s.msrDeltas |= deltas;
  }

  reset(): void {
    // What the host has sent already is still on the line.
    const queue = this.s.fifo.concat(this.s.queue);
    this.s = { ...powerOn(), queue };
    this.timeout.cancel();
    this.transmit.cancel();
    this.fill();
    this.updateLine();
  }

  state(): Uart16550State {
    return copyPlain({ ...this.s, timeoutAt: timerState(this.timeout), transmitAt: timerState(this.transmit) });
  }

  restore(state: Uart16550State): void {
    this.s = copyPlain(state);
    restoreTimer(this.timeout, state.timeoutAt);
    restoreTimer(this.transmit, state.transmitAt);
    this.updateLine();
  }
}
