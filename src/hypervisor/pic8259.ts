/**
 * The interrupt controllers of a PC/AT: two cascaded 8259As with the edge/level registers of EISA chip sets.
 * Intel 231468-003 (8259A data sheet); ELCR as in Intel 290562 (PIIX3) 2.5.3.4.
 */
import { copyPlain } from "../common/plain.ts";
import type { AccessSize, InterruptController, InterruptLine, PortDevice, Stateful } from "./device.ts";

const ICW1 = { IC4: 1 << 0, SNGL: 1 << 1, LTIM: 1 << 3, INIT: 1 << 4 } as const;
const ICW4 = { AEOI: 1 << 1, SFNM: 1 << 4 } as const;
const OCW2 = { EOI: 1 << 5, SPECIFIC: 1 << 6, ROTATE: 1 << 7 } as const;
const OCW3 = { RIS: 1 << 0, RR: 1 << 1, POLL: 1 << 2, SELECT: 1 << 3, SMM: 1 << 5, ESMM: 1 << 6 } as const;

/** Set in the byte that a poll returns when a request was taken. */
const POLL_TAKEN = 0x80;
/** Input of the master that the slave drives. */
const CASCADE = 2;
/** Vector offset of a request that went away before it was acknowledged. */
const SPURIOUS = 7;
/** Inputs that ELCR can make level-triggered: not 0–2 of the master, not 8 and 13. */
const ELCR_WRITABLE = [0xf8, 0xde] as const;

/** State of one 8259A. Masks have bit n for input n. */
export interface Pic8259ChipState {
  /** Requests latched by an edge. */
  latch: number;
  /** Input levels. */
  inputs: number;
  isr: number;
  imr: number;
  elcr: number;
  /** Vector of input 0. */
  base: number;
  /** Input with the lowest priority now. */
  lowest: number;
  /** Initialization word expected next: 2, 3 or 4; 0 when none is. */
  expects: number;
  icw1: number;
  icw3: number;
  icw4: number;
  rotateOnAutoEoi: boolean;
  specialMask: boolean;
  poll: boolean;
  readIsr: boolean;
}

function powerOn(): Pic8259ChipState {
  return {
    latch: 0,
    inputs: 0,
    isr: 0,
    // The data sheet leaves it undefined; a closed mask keeps a chip silent that nobody initialized.
    imr: 0xff,
    elcr: 0,
    base: 0,
    lowest: 7,
    expects: 0,
    icw1: 0,
    icw3: 0,
    icw4: 0,
    rotateOnAutoEoi: false,
    specialMask: false,
    poll: false,
    readIsr: false,
  };
}

/** One 8259A: register file and priority logic, without its outputs. */
class Chip {
  s: Pic8259ChipState = powerOn();
  private readonly master: boolean;

  constructor(master: boolean) {
    this.master = master;
  }

  get irr(): number {
    return this.s.latch | (this.s.inputs & this.levelMask);
  }

  private get levelMask(): number {
    return this.s.icw1 & ICW1.LTIM ? 0xff : this.s.elcr;
  }

  get cascaded(): boolean {
    return this.master && (this.s.icw1 & ICW1.SNGL) === 0;
  }

  setInput(irq: number, level: boolean): void {
    const s = this.s;
    const bit = 1 << irq;
    if (level === ((s.inputs & bit) !== 0)) return;
    if (level) {
      s.inputs |= bit;
      if ((this.levelMask & bit) === 0) s.latch |= bit;
    } else {
      s.inputs &= ~bit;
      // A request must stay until it is acknowledged, or it turns into a spurious one (data sheet, figure 9).
      s.latch &= ~bit;
    }
  }

  /** Input to be served now, or -1. */
  candidate(): number {
    const s = this.s;
    const requests = this.irr & ~s.imr;
    if (requests === 0 || s.expects !== 0) return -1;
    const inService = s.specialMask ? s.isr & ~s.imr : s.isr;
    const nestedSlave = this.cascaded && (s.icw4 & ICW4.SFNM) !== 0;
    for (let i = 1; i <= 8; i++) {
      const irq = (s.lowest + i) & 7;
      const bit = 1 << irq;
      const serving = (inService & bit) !== 0;
      if (serving && !(nestedSlave && irq === CASCADE)) return -1;
      if (requests & bit) return irq;
      if (serving) return -1;
    }
    return -1;
  }

  acknowledge(irq: number): void {
    const s = this.s;
    const bit = 1 << irq;
    s.latch &= ~bit;
    if (s.icw4 & ICW4.AEOI) {
      if (s.rotateOnAutoEoi) s.lowest = irq;
    } else {
      s.isr |= bit;
    }
  }

  write(offset: number, value: number): void {
    if (offset & 1) this.writeOdd(value);
    else if (value & ICW1.INIT) this.initialize(value);
    else if (value & OCW3.SELECT) this.ocw3(value);
    else this.ocw2(value);
  }

  private writeOdd(value: number): void {
    const s = this.s;
    switch (s.expects) {
      case 2:
        s.base = value & 0xf8;
        s.expects = s.icw1 & ICW1.SNGL ? (s.icw1 & ICW1.IC4 ? 4 : 0) : 3;
        break;
      case 3:
        s.icw3 = value;
        s.expects = s.icw1 & ICW1.IC4 ? 4 : 0;
        break;
      case 4:
        s.icw4 = value;
        s.expects = 0;
        break;
      default:
        s.imr = value;
    }
  }

  private initialize(value: number): void {
    const s = this.s;
    s.icw1 = value;
    s.icw4 = 0;
    s.imr = 0;
    s.isr = 0;
    s.latch = 0;
    s.lowest = 7;
    s.specialMask = false;
    s.rotateOnAutoEoi = false;
    s.poll = false;
    s.readIsr = false;
    s.expects = 2;
  }

  private ocw2(value: number): void {
    const s = this.s;
    const rotate = (value & OCW2.ROTATE) !== 0;
    const specific = (value & OCW2.SPECIFIC) !== 0;
    if (value & OCW2.EOI) {
      const irq = specific ? value & 7 : this.highestInService();
      if (irq < 0) return;
      s.isr &= ~(1 << irq);
      if (rotate) s.lowest = irq;
    } else if (specific) {
      if (rotate) s.lowest = value & 7;
    } else {
      s.rotateOnAutoEoi = rotate;
    }
  }

  private highestInService(): number {
    const s = this.s;
    // In special mask mode a non-specific EOI does not see levels that are masked.
    const isr = s.specialMask ? s.isr & ~s.imr : s.isr;
    for (let i = 1; i <= 8; i++) {
      const irq = (s.lowest + i) & 7;
      if (isr & (1 << irq)) return irq;
    }
    return -1;
  }

  private ocw3(value: number): void {
    const s = this.s;
    if (value & OCW3.ESMM) s.specialMask = (value & OCW3.SMM) !== 0;
    if (value & OCW3.POLL) s.poll = true;
    else if (value & OCW3.RR) s.readIsr = (value & OCW3.RIS) !== 0;
  }

  /** Serve a poll command: the byte the guest reads. */
  takePoll(): number {
    this.s.poll = false;
    const irq = this.candidate();
    if (irq < 0) return 0;
    this.acknowledge(irq);
    return POLL_TAKEN | irq;
  }

  read(offset: number): number {
    if (offset & 1) return this.s.imr;
    return this.s.readIsr ? this.s.isr : this.irr;
  }
}

/** State of the pair. */
export interface Pic8259State {
  master: Pic8259ChipState;
  slave: Pic8259ChipState;
  /** Level of each source in the order in which `line` was called. */
  sources: boolean[];
}

/** What the pair is wired to. */
export interface Pic8259Deps {
  /** The INTR output: true while an interrupt waits. */
  readonly intr: InterruptLine;
  /** Told of the level of each input (0–15), sources OR-ed: an I/O APIC has the same ones. */
  readonly input?: (irq: number, level: boolean) => void;
  /** Told which IRQ (0–15) the processor or a poll has just taken; the timer paces late ticks by it. */
  readonly acknowledged?: (irq: number) => void;
}

/** The 8259A pair. Its register files are the three port devices `master`, `slave` and `elcr`. */
export class Pic8259 implements InterruptController, Stateful<Pic8259State> {
  /** Ports 20h–21h. */
  readonly master: PortDevice;
  /** Ports A0h–A1h. */
  readonly slave: PortDevice;
  /** Ports 4D0h–4D1h. */
  readonly elcr: PortDevice;
  private readonly deps: Pic8259Deps;
  private readonly chips = [new Chip(true), new Chip(false)] as const;
  private sources: boolean[] = [];
  /** Sources that are high, for each IRQ. */
  private readonly asserted = new Uint16Array(16);
  private readonly sourceIrq: number[] = [];
  private output = false;

  constructor(deps: Pic8259Deps) {
    this.deps = deps;
    this.master = this.chipPorts(0);
    this.slave = this.chipPorts(1);
    this.elcr = {
      read: (offset: number, _size: AccessSize): number => this.chips[offset & 1]!.s.elcr,
      write: (offset: number, _size: AccessSize, value: number): void => {
        const chip = this.chips[offset & 1]!;
        chip.s.elcr = value & ELCR_WRITABLE[(offset & 1) as 0 | 1];
        chip.s.latch &= ~chip.s.elcr;
        this.update();
      },
    };
  }

  private chipPorts(index: 0 | 1): PortDevice {
    const chip = this.chips[index];
    return {
      read: (offset: number, _size: AccessSize): number => {
        if (!chip.s.poll) return chip.read(offset);
        const answer = chip.takePoll();
        this.update();
        if (answer & POLL_TAKEN) this.deps.acknowledged?.((index << 3) | (answer & 7));
        return answer;
      },
      write: (offset: number, _size: AccessSize, value: number): void => {
        chip.write(offset, value & 0xff);
        this.update();
      },
    };
  }

  get pending(): boolean {
    return this.output;
  }

  /** A new source on IRQ 0–15. IRQ 2 is wired to input 9, as on every AT. */
  line(irq: number): InterruptLine {
    const input = irq === CASCADE ? 9 : irq & 15;
    const source = this.sources.length;
    this.sources.push(false);
    this.sourceIrq.push(input);
    return { set: (level: boolean): void => this.setSource(source, input, level) };
  }

  private setSource(source: number, irq: number, level: boolean): void {
    if (this.sources[source] === level) return;
    this.sources[source] = level;
    const high = (this.asserted[irq] = this.asserted[irq]! + (level ? 1 : -1));
    this.chips[irq < 8 ? 0 : 1].setInput(irq & 7, high > 0);
    this.deps.input?.(irq, high > 0);
    this.update();
  }

  acknowledge(): number {
    const [master, slave] = this.chips;
    const irq = master.candidate();
    if (irq < 0) return master.s.base | SPURIOUS;
    master.acknowledge(irq);
    if (irq !== CASCADE || !master.cascaded) {
      this.update();
      this.deps.acknowledged?.(irq);
      return master.s.base | irq;
    }
    const input = slave.candidate();
    if (input >= 0) slave.acknowledge(input);
    // The slave drops INT during the acknowledge cycle, so that its next request is a new edge for the master.
    master.setInput(CASCADE, false);
    this.update();
    if (input < 0) return slave.s.base | SPURIOUS;
    this.deps.acknowledged?.(8 | input);
    return slave.s.base | input;
  }

  private update(): void {
    const [master, slave] = this.chips;
    if (master.cascaded) master.setInput(CASCADE, slave.candidate() >= 0);
    const output = master.candidate() >= 0;
    if (output === this.output) return;
    this.output = output;
    this.deps.intr.set(output);
  }

  reset(): void {
    for (const chip of this.chips) {
      const { inputs } = chip.s;
      chip.s = powerOn();
      chip.s.inputs = inputs;
    }
    this.update();
  }

  state(): Pic8259State {
    return copyPlain({ master: this.chips[0].s, slave: this.chips[1].s, sources: this.sources });
  }

  restore(state: Pic8259State): void {
    this.chips[0].s = copyPlain(state.master);
    this.chips[1].s = copyPlain(state.slave);
    this.asserted.fill(0);
    for (let i = 0; i < this.sources.length; i++) {
      const level = state.sources[i] ?? false;
      this.sources[i] = level;
      if (level) this.asserted[this.sourceIrq[i]!]!++;
    }
    this.output = this.chips[0].candidate() >= 0;
    this.deps.intr.set(this.output);
  }
}
