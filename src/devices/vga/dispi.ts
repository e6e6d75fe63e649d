/**
 * The display interface of the Bochs VBE adapter ("DISPI"): eleven 16-bit registers that choose a mode of any size and
 * depth. Source: the interface's description in Bochs ("VBE Display API"); limits and corrections as QEMU's adapter has
 * them, since drivers were written for that.
 */
import type { Stateful } from "../../hypervisor/device.ts";

/** Register indices. */
export const DISPI = {
  ID: 0x0,
  X_RESOLUTION: 0x1,
  Y_RESOLUTION: 0x2,
  BITS_PER_PIXEL: 0x3,
  ENABLE: 0x4,
  BANK: 0x5,
  VIRTUAL_WIDTH: 0x6,
  VIRTUAL_HEIGHT: 0x7,
  X_OFFSET: 0x8,
  Y_OFFSET: 0x9,
  VIDEO_MEMORY_64K: 0xa,
} as const;
/** Number of registers. */
export const DISPI_REGISTERS = 0xb;

/** Bits of the enable register. */
export const DISPI_ENABLE = {
  ENABLED: 1 << 0,
  GET_CAPABILITIES: 1 << 1,
  DAC_8_BIT: 1 << 5,
  LINEAR_FRAME_BUFFER: 1 << 6,
  NO_CLEAR: 1 << 7,
} as const;

/** Versions of the interface that software may ask for; the last is what it finds. */
export const DISPI_ID = { FIRST: 0xb0c0, LAST: 0xb0c5 } as const;
/** Largest mode. */
export const DISPI_MAXIMUM = { WIDTH: 2560, HEIGHT: 1600, BITS: 32 } as const;

/** Bits that each pixel of a depth takes in memory. */
const DEPTHS: ReadonlyMap<number, number> = new Map([
  [4, 4],
  [8, 8],
  [15, 16],
  [16, 16],
  [24, 24],
  [32, 32],
]);
const DEFAULT_DEPTH = 8;
/** Widths are whole multiples of this. */
const WIDTH_UNIT = 8;
const WORD_MASK = 0xffff;

/** A mode that the registers select. */
export interface LinearMode {
  readonly width: number;
  readonly height: number;
  readonly bits: 4 | 8 | 15 | 16 | 24 | 32;
  /** From one line to the next: bytes; with 4 bits, bytes of each plane. */
  readonly pitch: number;
  /** Where the picture begins, in the same unit. */
  readonly start: number;
  /** Pixels left of the picture's first that share its byte: with 4 bits. */
  readonly pan: number;
}

/** Plain data of a {@link Dispi}. */
export interface DispiState {
  readonly index: number;
  readonly registers: Uint16Array;
}

interface DispiDeps {
  /** Bytes of display memory. */
  readonly memorySize: number;
  /** A register was written that others depend on. */
  readonly changed: () => void;
  /** Zero the first bytes of display memory. */
  readonly clear: (bytes: number) => void;
}

/** The registers. Values are 16 bits. */
export class Dispi implements Stateful<DispiState> {
  readonly #deps: DispiDeps;
  readonly #registers = new Uint16Array(DISPI_REGISTERS);
  #mode: LinearMode | undefined;
  index = 0;

  constructor(deps: DispiDeps) {
    this.#deps = deps;
    this.reset();
  }

  /** The mode shown instead of the VGA's; undefined while the interface is disabled. */
  get mode(): LinearMode | undefined {
    return this.#mode;
  }

  /** Number of the bank at A0000h. */
  get bank(): number {
    return this.#registers[DISPI.BANK]!;
  }

  /** The DAC has eight bits a component. */
  get wideDac(): boolean {
    return (this.#registers[DISPI.ENABLE]! & DISPI_ENABLE.DAC_8_BIT) !== 0;
  }

  /** Register `index`. */
  read(index: number): number {
    const capabilities = (this.#registers[DISPI.ENABLE]! & DISPI_ENABLE.GET_CAPABILITIES) !== 0;
    if (capabilities && index === DISPI.X_RESOLUTION) return DISPI_MAXIMUM.WIDTH;
    if (capabilities && index === DISPI.Y_RESOLUTION) return DISPI_MAXIMUM.HEIGHT;
    if (capabilities && index === DISPI.BITS_PER_PIXEL) return DISPI_MAXIMUM.BITS;
    if (index === DISPI.VIDEO_MEMORY_64K) return this.#deps.memorySize >> 16;
    return this.#registers[index] ?? 0;
  }

  /** Write register `index`. */
  write(index: number, value: number): void {
    const registers = this.#registers;
    switch (index) {
      case DISPI.ID:
        if (value >= DISPI_ID.FIRST && value <= DISPI_ID.LAST) registers[index] = value;
        return;
      case DISPI.X_RESOLUTION:
      case DISPI.Y_RESOLUTION:
      case DISPI.BITS_PER_PIXEL:
      case DISPI.VIRTUAL_WIDTH:
      case DISPI.X_OFFSET:
      case DISPI.Y_OFFSET:
        registers[index] = value;
        break;
      case DISPI.BANK:
        registers[index] = value & ((this.#deps.memorySize >> 16) - 1);
        break;
      case DISPI.ENABLE:
        this.#enable(value);
        return;
      default:
        return;
    }
    this.#settle();
    this.#deps.changed();
  }

  #enable(value: number): void {
    const registers = this.#registers;
    const on = (value & DISPI_ENABLE.ENABLED) !== 0 && this.#mode === undefined;
    registers[DISPI.ENABLE] = value;
    registers[DISPI.BANK] = 0;
    if (on) registers[DISPI.VIRTUAL_WIDTH] = registers[DISPI.X_OFFSET] = registers[DISPI.Y_OFFSET] = 0;
    this.#settle();
    const mode = this.#mode;
    if (on && mode && (value & DISPI_ENABLE.NO_CLEAR) === 0)
      this.#deps.clear(mode.pitch * mode.height * (mode.bits === 4 ? 4 : 1));
    this.#deps.changed();
  }

  /** Correct what cannot be shown, and work out the mode: whatever was written, it lies within memory. */
  #settle(): void {
    const registers = this.#registers;
    if ((registers[DISPI.ENABLE]! & DISPI_ENABLE.ENABLED) === 0) {
      this.#mode = undefined;
      return;
    }
    if (!DEPTHS.has(registers[DISPI.BITS_PER_PIXEL]!)) registers[DISPI.BITS_PER_PIXEL] = DEFAULT_DEPTH;
    const bits = registers[DISPI.BITS_PER_PIXEL]! as LinearMode["bits"];
    const taken = DEPTHS.get(bits)!;
    const whole = (width: number): number => Math.min(width & -WIDTH_UNIT, DISPI_MAXIMUM.WIDTH);
    const width = Math.max(whole(registers[DISPI.X_RESOLUTION]!), WIDTH_UNIT);
    const virtual = Math.max(whole(registers[DISPI.VIRTUAL_WIDTH]!), width);
    // Each plane has a quarter of the memory, and a bit of each pixel.
    const planar = bits === 4;
    const memory = planar ? this.#deps.memorySize / 4 : this.#deps.memorySize;
    const pitch = planar ? virtual / 8 : (virtual * taken) / 8;
    const lines = Math.floor(memory / pitch);
    const height = Math.min(Math.max(registers[DISPI.Y_RESOLUTION]!, 1), DISPI_MAXIMUM.HEIGHT, lines);
    let x = registers[DISPI.X_OFFSET]!;
    let y = registers[DISPI.Y_OFFSET]!;
    const startOf = (): number => y * pitch + (planar ? x >> 3 : (x * taken) / 8);
    if (startOf() + height * pitch > memory) y = 0;
    if (startOf() + height * pitch > memory) x = 0;
    registers[DISPI.X_RESOLUTION] = width;
    registers[DISPI.Y_RESOLUTION] = height;
    registers[DISPI.VIRTUAL_WIDTH] = virtual;
    registers[DISPI.VIRTUAL_HEIGHT] = Math.min(lines, WORD_MASK);
    registers[DISPI.X_OFFSET] = x;
    registers[DISPI.Y_OFFSET] = y;
    this.#mode = { width, height, bits, pitch, start: startOf(), pan: planar ? x & 7 : 0 };
  }

  reset(): void {
    this.index = 0;
    this.#registers.fill(0);
    this.#registers[DISPI.ID] = DISPI_ID.LAST;
    this.#settle();
  }

  state(): DispiState {
    return { index: this.index, registers: this.#registers.slice() };
  }

  restore(state: DispiState): void {
    this.index = state.index;
    this.#registers.set(state.registers);
    this.#settle();
  }
}
