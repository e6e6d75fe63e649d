/**
 * The I/O APIC: 24 inputs, each with an entry that says which vector goes to whom. Intel 290566 (82093AA). Inputs are
 * levels as devices assert them; polarity is kept and means nothing, since no wire here is inverted.
 */
import { copyPlain } from "../common/plain.ts";
import { type ApicMessage, LVT } from "./apic-registers.ts";
import type { AccessSize, MmioDevice, Stateful } from "./device.ts";

/** Bytes of the registers: the page in which they are decoded. */
export const IO_APIC_SIZE = 0x1000;
/** Offsets (3.1): the index, and the register that it selects. */
const REG = { SELECT: 0x00, WINDOW: 0x10 } as const;
/** Indirect registers (3.2). */
const INDEX = { ID: 0, VERSION: 1, ARBITRATION: 2, TABLE: 0x10 } as const;
const VERSION = 0x11;
const LAST_ENTRY_SHIFT = 16;
const ID = { SHIFT: 24, MASK: 0x0f00_0000 } as const;
/** Redirection entries, low word; the bits of local vectors, and the destination's mode. */
const LOGICAL = 1 << 11;
const WRITABLE = 0x0001_afff;
const DESTINATION = { SHIFT: 24, MASK: 0xff00_0000 } as const;

/** State of the I/O APIC. */
export interface IoApicState {
  select: number;
  id: number;
  /** Low and high words of the entries. */
  low: Uint32Array;
  high: Uint32Array;
  /** Input levels. */
  inputs: number;
}

/** What the I/O APIC is wired to. */
export interface IoApicDeps {
  readonly id: number;
  readonly inputs: number;
  /** The bus to the local APICs; false when nobody takes the message. */
  readonly send: (message: ApicMessage) => boolean;
}

export class IoApic implements MmioDevice, Stateful<IoApicState> {
  readonly #deps: IoApicDeps;
  #s: IoApicState;

  constructor(deps: IoApicDeps) {
    this.#deps = deps;
    this.#s = this.#powerOn(0);
  }

  #powerOn(inputs: number): IoApicState {
    const count = this.#deps.inputs;
    return {
      select: 0,
      id: this.#deps.id,
      low: new Uint32Array(count).fill(LVT.MASKED),
      high: new Uint32Array(count),
      inputs,
    };
  }

  /** The level of an input. */
  setInput(input: number, level: boolean): void {
    const s = this.#s;
    const bit = 1 << input;
    if (level === ((s.inputs & bit) !== 0)) return;
    s.inputs ^= bit;
    if (!level) return;
    // An edge on a masked input is lost (3.2.4).
    if (s.low[input]! & LVT.LEVEL) this.#service(input);
    else if (!(s.low[input]! & LVT.MASKED)) this.#send(input);
  }

  /** Send what a level-triggered input asks for, unless that is being served. */
  #service(input: number): void {
    const s = this.#s;
    const entry = s.low[input]!;
    if (!(entry & LVT.LEVEL) || entry & (LVT.MASKED | LVT.REMOTE_IRR) || !((s.inputs >>> input) & 1)) return;
    if (this.#send(input)) s.low[input]! |= LVT.REMOTE_IRR;
  }

  #send(input: number): boolean {
    const low = this.#s.low[input]!;
    return this.#deps.send({
      destination: this.#s.high[input]! >>> DESTINATION.SHIFT,
      logical: (low & LOGICAL) !== 0,
      mode: (low >>> LVT.MODE_SHIFT) & 7,
      vector: low & LVT.VECTOR,
      level: (low & LVT.LEVEL) !== 0,
    });
  }

  /** A local APIC has ended the service of a level-triggered vector. */
  endOfInterrupt(vector: number): void {
    const { low } = this.#s;
    for (let input = 0; input < low.length; input++) {
      const entry = low[input]!;
      if ((entry & LVT.VECTOR) !== vector || !(entry & LVT.REMOTE_IRR)) continue;
      low[input] = entry & ~LVT.REMOTE_IRR;
      this.#service(input);
    }
  }

  /** Whether `vector` is the one that an input leads to. */
  leads(input: number, vector: number): boolean {
    const entry = this.#s.low[input]!;
    return !(entry & LVT.MASKED) && (entry & LVT.VECTOR) === vector;
  }

  immediate(offset: number, _size: AccessSize, write: boolean): boolean {
    return !write || offset !== REG.WINDOW;
  }

  read(offset: number, size: AccessSize): number {
    const value = offset === REG.SELECT ? this.#s.select : offset === REG.WINDOW ? this.#register() : 0;
    return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
  }

  #register(): number {
    const s = this.#s;
    switch (s.select) {
      case INDEX.ID:
      case INDEX.ARBITRATION:
        return s.id << ID.SHIFT;
      case INDEX.VERSION:
        return VERSION | ((this.#deps.inputs - 1) << LAST_ENTRY_SHIFT);
      default: {
        const input = (s.select - INDEX.TABLE) >> 1;
        if (input < 0 || input >= this.#deps.inputs) return 0;
        return (s.select & 1 ? s.high : s.low)[input]!;
      }
    }
  }

  write(offset: number, _size: AccessSize, value: number): void {
    if (offset === REG.SELECT) this.#s.select = value & 0xff;
    else if (offset === REG.WINDOW) this.#writeRegister(value);
  }

  #writeRegister(value: number): void {
    const s = this.#s;
    if (s.select === INDEX.ID) s.id = (value & ID.MASK) >>> ID.SHIFT;
    const input = (s.select - INDEX.TABLE) >> 1;
    if (input < 0 || input >= this.#deps.inputs) return;
    if (s.select & 1) {
      s.high[input] = value & DESTINATION.MASK;
      return;
    }
    // An entry that becomes edge-triggered is not in service any more.
    const kept = value & LVT.LEVEL ? s.low[input]! & LVT.REMOTE_IRR : 0;
    s.low[input] = (value & WRITABLE) | kept;
    this.#service(input);
  }

  reset(): void {
    this.#s = this.#powerOn(this.#s.inputs);
  }

  state(): IoApicState {
    return copyPlain(this.#s);
  }

  restore(state: IoApicState): void {
    this.#s = copyPlain(state);
  }
}
