/** The VGA's registers as the services use them: by port, never by object. */
import type { PortIo } from "../../hypervisor/device.ts";
import type { ServiceContext } from "../service.ts";
import { BDA } from "./layout.ts";

/** Ports of the VGA; index ports stand for the pair. */
export const PORT = {
  ATTRIBUTE: 0x3c0,
  ATTRIBUTE_READ: 0x3c1,
  MISC_WRITE: 0x3c2,
  SEQUENCER: 0x3c4,
  DAC_MASK: 0x3c6,
  DAC_READ_INDEX: 0x3c7,
  DAC_WRITE_INDEX: 0x3c8,
  DAC_DATA: 0x3c9,
  FEATURE_READ: 0x3ca,
  MISC_READ: 0x3cc,
  GRAPHICS: 0x3ce,
  CRTC_MONO: 0x3b4,
  CRTC_COLOR: 0x3d4,
} as const;

/** Input status 1 lies here from the CRT controller's index port. */
const STATUS1_FROM_CRTC = 6;

/** Register indices that services name: sequencer. */
export const SEQ = { RESET: 0, CLOCKING_MODE: 1, MAP_MASK: 2, CHARACTER_MAP: 3, MEMORY_MODE: 4 } as const;
/** CRT controller. */
export const CRTC = {
  OVERFLOW: 0x07,
  MAXIMUM_SCAN_LINE: 0x09,
  CURSOR_START: 0x0a,
  CURSOR_END: 0x0b,
  START_HIGH: 0x0c,
  START_LOW: 0x0d,
  CURSOR_HIGH: 0x0e,
  CURSOR_LOW: 0x0f,
  RETRACE_END: 0x11,
  VERTICAL_DISPLAY_END: 0x12,
  UNDERLINE: 0x14,
} as const;
/** Graphics controller. */
export const GC = { DATA_ROTATE: 3, READ_MAP: 4, MODE: 5, MISCELLANEOUS: 6, BIT_MASK: 8 } as const;
/** Attribute controller. */
export const ATC = { MODE_CONTROL: 0x10, OVERSCAN: 0x11, PLANE_ENABLE: 0x12, COLOR_SELECT: 0x14 } as const;
/** Attribute index bit that connects the palette to the screen. */
export const PALETTE_ON = 0x20;

/** Write a register behind an index/data pair. */
export function writeIndexed(io: PortIo, port: number, index: number, value: number): void {
  io.out(port, 2, index | (value << 8));
}

/** Read a register behind an index/data pair. */
export function readIndexed(io: PortIo, port: number, index: number): number {
  io.out(port, 1, index);
  return io.in(port + 1, 1);
}

/** Index port of the CRT controller in the mode that is set: 3B4h or 3D4h. */
export function crtcPort(context: ServiceContext): number {
  return context.memory.read16(BDA.CRTC_PORT) === PORT.CRTC_MONO ? PORT.CRTC_MONO : PORT.CRTC_COLOR;
}

/** Make the next write to 3C0h an index. */
export function resetFlipFlop(context: ServiceContext): void {
  context.io.in(crtcPort(context) + STATUS1_FROM_CRTC, 1);
}

/** Write an attribute register and leave the screen on. */
export function writeAttribute(context: ServiceContext, index: number, value: number): void {
  const { io } = context;
  resetFlipFlop(context);
  io.out(PORT.ATTRIBUTE, 1, index);
  io.out(PORT.ATTRIBUTE, 1, value);
  io.out(PORT.ATTRIBUTE, 1, PALETTE_ON);
}

/** Read an attribute register and leave the screen on. */
export function readAttribute(context: ServiceContext, index: number): number {
  const { io } = context;
  resetFlipFlop(context);
  io.out(PORT.ATTRIBUTE, 1, index);
  const value = io.in(PORT.ATTRIBUTE_READ, 1);
  resetFlipFlop(context);
  io.out(PORT.ATTRIBUTE, 1, PALETTE_ON);
  return value;
}

/** Write one DAC colour, 6 bits a component. */
export function writeColor(io: PortIo, index: number, red: number, green: number, blue: number): void {
  io.out(PORT.DAC_WRITE_INDEX, 1, index & 0xff);
  io.out(PORT.DAC_DATA, 1, red);
  io.out(PORT.DAC_DATA, 1, green);
  io.out(PORT.DAC_DATA, 1, blue);
}
