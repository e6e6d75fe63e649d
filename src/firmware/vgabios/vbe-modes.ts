/**
 * The modes beyond VGA's as one table, by VESA's numbers (VBE 3.0, "VBE Mode Numbers") and, from 140h on, by those that
 * the BIOSes of the Bochs adapter agree on; and the registers of the display interface that makes them.
 */
import type { PortIo } from "../../hypervisor/device.ts";

/** A mode by its number. */
export interface VbeMode {
  readonly number: number;
  readonly width: number;
  readonly height: number;
  /** 4 is planar; 15 takes two bytes. */
  readonly bits: 4 | 8 | 15 | 16 | 24 | 32;
}

/** First number, size, and the depths of consecutive numbers. */
const SERIES: readonly (readonly [number, number, number, ...VbeMode["bits"][]])[] = [
  [0x100, 640, 400, 8],
  [0x101, 640, 480, 8],
  [0x102, 800, 600, 4, 8],
  [0x104, 1024, 768, 4, 8],
  [0x106, 1280, 1024, 4, 8],
  [0x10d, 320, 200, 15, 16, 24],
  [0x110, 640, 480, 15, 16, 24],
  [0x113, 800, 600, 15, 16, 24],
  [0x116, 1024, 768, 15, 16, 24],
  [0x119, 1280, 1024, 15, 16, 24],
  [0x11c, 1600, 1200, 8, 15, 16, 24],
  [0x140, 320, 200, 32],
  [0x141, 640, 400, 32],
  [0x142, 640, 480, 32],
  [0x143, 800, 600, 32],
  [0x144, 1024, 768, 32],
  [0x145, 1280, 1024, 32],
  [0x146, 320, 200, 8],
  [0x147, 1600, 1200, 32],
  [0x148, 1152, 864, 8, 15, 16, 24, 32],
  [0x175, 1280, 768, 16, 24, 32],
  [0x178, 1280, 800, 16, 24, 32],
  [0x17b, 1280, 960, 16, 24, 32],
  [0x17e, 1440, 900, 16, 24, 32],
  [0x181, 1400, 1050, 16, 24, 32],
  [0x184, 1680, 1050, 16, 24, 32],
  [0x187, 1920, 1200, 16, 24, 32],
  [0x18a, 2560, 1600, 16, 24, 32],
  [0x18d, 1280, 720, 16, 24, 32],
  [0x190, 1920, 1080, 16, 24, 32],
  [0x193, 1600, 900, 16, 24, 32],
  [0x196, 2560, 1440, 16, 24, 32],
];

/** Every mode, in the order of numbers. */
export const VBE_MODES: readonly VbeMode[] = SERIES.flatMap(([first, width, height, ...depths]) =>
  depths.map((bits, i) => ({ number: first + i, width, height, bits })),
);

/** Bytes from one line to the next; with 4 bits, bytes of each plane. */
export function pitchOf(width: number, bits: VbeMode["bits"]): number {
  return bits === 4 ? width / 8 : width * ((bits + 7) >> 3);
}

/** Bytes of display memory that a picture takes. */
export function sizeOf({ width, height, bits }: VbeMode): number {
  return pitchOf(width, bits) * height * (bits === 4 ? 4 : 1);
}

/** Ports of the display interface. */
const DISPI_PORT = { INDEX: 0x1ce, DATA: 0x1cf } as const;
/** Its registers. */
export const DISPI = {
  ID: 0x0,
  WIDTH: 0x1,
  HEIGHT: 0x2,
  BITS: 0x3,
  ENABLE: 0x4,
  BANK: 0x5,
  VIRTUAL_WIDTH: 0x6,
  VIRTUAL_HEIGHT: 0x7,
  X_OFFSET: 0x8,
  Y_OFFSET: 0x9,
  MEMORY_64K: 0xa,
} as const;
/** Bits of its enable register. */
export const ENABLE = { ENABLED: 0x01, DAC_8_BIT: 0x20, LINEAR: 0x40, NO_CLEAR: 0x80 } as const;
/** Versions that have all of this. */
const ID = { FIRST: 0xb0c2, LAST: 0xb0cf } as const;

/** Read a register of the display interface. */
export function readDispi(io: PortIo, index: number): number {
  io.out(DISPI_PORT.INDEX, 2, index);
  return io.in(DISPI_PORT.DATA, 2);
}

/** Write one. */
export function writeDispi(io: PortIo, index: number, value: number): void {
  io.out(DISPI_PORT.INDEX, 2, index);
  io.out(DISPI_PORT.DATA, 2, value);
}

/** Whether there is a display interface. */
export function hasDispi(io: PortIo): boolean {
  const id = readDispi(io, DISPI.ID);
  return id >= ID.FIRST && id <= ID.LAST;
}

/** Back to the VGA's own modes. */
export function disableDispi(io: PortIo): void {
  if (hasDispi(io)) writeDispi(io, DISPI.ENABLE, 0);
}

/** Whether the mode was set with its linear frame buffer. */
export function isLinear(io: PortIo): boolean {
  return (readDispi(io, DISPI.ENABLE) & ENABLE.LINEAR) !== 0;
}

/** Bytes of display memory. */
export function displayMemory(io: PortIo): number {
  return readDispi(io, DISPI.MEMORY_64K) << 16;
}

/** The mode of a number, if there is memory for it. */
export function findMode(io: PortIo, number: number): VbeMode | undefined {
  const mode = VBE_MODES.find((candidate) => candidate.number === number);
  return mode && sizeOf(mode) <= displayMemory(io) ? mode : undefined;
}

/** The mode that is set, or undefined while it is one of the VGA's, or none of the table. */
export function currentMode(io: PortIo): VbeMode | undefined {
  if (!hasDispi(io) || (readDispi(io, DISPI.ENABLE) & ENABLE.ENABLED) === 0) return undefined;
  const [width, height, bits] = [readDispi(io, DISPI.WIDTH), readDispi(io, DISPI.HEIGHT), readDispi(io, DISPI.BITS)];
  return VBE_MODES.find((mode) => mode.width === width && mode.height === height && mode.bits === bits);
}
