/** What the VBE adapter and its modes are: INT 10h AX=4F00h and 4F01h (VBE 3.0, "VBE Functions"). */
import type { ServiceContext } from "../service.ts";
import { frameBufferAddress } from "./frame-buffer.ts";
import { ROM, ROM_SEGMENT } from "./layout.ts";
import { cx, esAddress } from "./registers.ts";
import { DISPI, displayMemory, findMode, pitchOf, readDispi, sizeOf, VBE_MODES, type VbeMode } from "./vbe-modes.ts";

/** Strings in the image, each ended by a zero. */
export const VBE_TEXT = { OEM: "vmxon VGA", VENDOR: "vmxon", PRODUCT: "vmxon VBE adapter", REVISION: "1.0" } as const;

const VERSION = 0x0300;
/** The DAC can be switched to eight bits. */
const CAPABILITIES = 0x01;
const SOFTWARE_VERSION = 0x0100;
/** Bytes of the block that callers of VBE 1 have room for, and of those that ask for "VBE2". */
const BLOCK = { VBE_1: 256, VBE_2: 512 } as const;
const SIGNATURE_VBE_2 = 0x32454256;
const SIGNATURE_VESA = 0x41534556;
/** Offsets in VbeInfoBlock; the mode list stands in its reserved part. */
const INFO = {
  VERSION: 0x04,
  OEM_STRING: 0x06,
  CAPABILITIES: 0x0a,
  MODE_LIST: 0x0e,
  MEMORY_64K: 0x12,
  SOFTWARE_VERSION: 0x14,
  VENDOR: 0x16,
  PRODUCT: 0x1a,
  REVISION: 0x1e,
  RESERVED: 0x22,
} as const;
const END_OF_LIST = 0xffff;

/** ModeInfoBlock: size, and offset of each field. */
const MODE_BLOCK_SIZE = 256;
const FIELD = {
  ATTRIBUTES: 0x00,
  WINDOW_A: 0x02,
  GRANULARITY: 0x04,
  WINDOW_SIZE: 0x06,
  SEGMENT_A: 0x08,
  WINDOW_FUNCTION: 0x0c,
  PITCH: 0x10,
  WIDTH: 0x12,
  HEIGHT: 0x14,
  CHARACTER_WIDTH: 0x16,
  CHARACTER_HEIGHT: 0x17,
  PLANES: 0x18,
  BITS: 0x19,
  BANKS: 0x1a,
  MEMORY_MODEL: 0x1b,
  PAGES: 0x1d,
  RESERVED_1: 0x1e,
  MASKS: 0x1f,
  DIRECT_COLOR: 0x27,
  FRAME_BUFFER: 0x28,
  LINEAR_PITCH: 0x32,
  BANKED_PAGES: 0x34,
  LINEAR_PAGES: 0x35,
  LINEAR_MASKS: 0x36,
  PIXEL_CLOCK: 0x3e,
} as const;
const ATTRIBUTE = { SUPPORTED: 1, RESERVED: 2, COLOR: 8, GRAPHICS: 0x10, NOT_VGA: 0x20, LINEAR: 0x80 } as const;
/** A window that can be moved, read and written. */
const WINDOW = { USABLE: 7, KILOBYTES: 64, SEGMENT: 0xa000 } as const;
const MODEL = { PLANAR: 3, PACKED: 4, DIRECT: 6 } as const;
const CHARACTER = { WIDTH: 8, HEIGHT: 16 } as const;
/** The bits that stand in a 32-bit pixel beside its colours are the program's. */
const RESERVED_USABLE = 2;
/** Hz: nobody counts. */
const PIXEL_CLOCK = 230_000_000;

/** Size and position of red, green, blue and what is left, by depth. */
const MASKS: Readonly<Partial<Record<VbeMode["bits"], readonly number[]>>> = {
  15: [5, 10, 5, 5, 5, 0, 1, 15],
  16: [5, 11, 6, 5, 5, 0, 0, 0],
  24: [8, 16, 8, 8, 8, 0, 0, 0],
  32: [8, 16, 8, 8, 8, 0, 8, 24],
};

/** AX=4F00h: the block at ES:DI. */
export function controllerInfo(context: ServiceContext): boolean {
  const { cpu, io, memory } = context;
  const address = esAddress(cpu, cpu.edi);
  const extended = memory.read32(address) === SIGNATURE_VBE_2;
  const block = new Uint8Array(extended ? BLOCK.VBE_2 : BLOCK.VBE_1);
  const view = new DataView(block.buffer);
  const inRom = (field: number, offset: number): void => view.setUint32(field, (ROM_SEGMENT << 16) | offset, true);
  view.setUint32(0, SIGNATURE_VESA, true);
  view.setUint16(INFO.VERSION, VERSION, true);
  inRom(INFO.OEM_STRING, ROM.VBE_OEM);
  view.setUint32(INFO.CAPABILITIES, CAPABILITIES, true);
  view.setUint16(INFO.MODE_LIST, (cpu.edi + INFO.RESERVED) & 0xffff, true);
  view.setUint16(INFO.MODE_LIST + 2, cpu.selector("es"), true);
  view.setUint16(INFO.MEMORY_64K, readDispi(io, DISPI.MEMORY_64K), true);
  if (extended) {
    view.setUint16(INFO.SOFTWARE_VERSION, SOFTWARE_VERSION, true);
    inRom(INFO.VENDOR, ROM.VBE_VENDOR);
    inRom(INFO.PRODUCT, ROM.VBE_PRODUCT);
    inRom(INFO.REVISION, ROM.VBE_REVISION);
  }
  const room = displayMemory(io);
  const numbers = VBE_MODES.filter((mode) => sizeOf(mode) <= room).map(({ number }) => number);
  [...numbers, END_OF_LIST].forEach((number, i) => {
    view.setUint16(INFO.RESERVED + i * 2, number, true);
  });
  memory.write(address, block);
  return true;
}

/** AX=4F01h: the block of mode CX at ES:DI. */
export function modeInfo(context: ServiceContext): boolean {
  const { cpu, io, memory } = context;
  const mode = findMode(io, cx(cpu));
  if (!mode) return false;
  const block = new Uint8Array(MODE_BLOCK_SIZE);
  const view = new DataView(block.buffer);
  const { width, height, bits } = mode;
  const planar = bits === 4;
  const address = planar ? 0 : frameBufferAddress(context);
  const linear = address !== 0;
  const pages = Math.min(Math.floor(displayMemory(io) / sizeOf(mode)), 256) - 1;
  const pitch = pitchOf(width, bits);
  view.setUint16(
    FIELD.ATTRIBUTES,
    ATTRIBUTE.SUPPORTED |
      ATTRIBUTE.RESERVED |
      ATTRIBUTE.COLOR |
      ATTRIBUTE.GRAPHICS |
      (planar ? 0 : ATTRIBUTE.NOT_VGA) |
      (linear ? ATTRIBUTE.LINEAR : 0),
    true,
  );
  view.setUint8(FIELD.WINDOW_A, WINDOW.USABLE);
  view.setUint16(FIELD.GRANULARITY, WINDOW.KILOBYTES, true);
  view.setUint16(FIELD.WINDOW_SIZE, WINDOW.KILOBYTES, true);
  view.setUint16(FIELD.SEGMENT_A, WINDOW.SEGMENT, true);
  view.setUint16(FIELD.WINDOW_FUNCTION, ROM.VBE_WINDOW, true);
  view.setUint16(FIELD.WINDOW_FUNCTION + 2, ROM_SEGMENT, true);
  view.setUint16(FIELD.PITCH, pitch, true);
  view.setUint16(FIELD.WIDTH, width, true);
  view.setUint16(FIELD.HEIGHT, height, true);
  view.setUint8(FIELD.CHARACTER_WIDTH, CHARACTER.WIDTH);
  view.setUint8(FIELD.CHARACTER_HEIGHT, CHARACTER.HEIGHT);
  view.setUint8(FIELD.PLANES, planar ? 4 : 1);
  view.setUint8(FIELD.BITS, bits);
  view.setUint8(FIELD.BANKS, 1);
  view.setUint8(FIELD.MEMORY_MODEL, planar ? MODEL.PLANAR : bits === 8 ? MODEL.PACKED : MODEL.DIRECT);
  view.setUint8(FIELD.PAGES, pages);
  view.setUint8(FIELD.RESERVED_1, 1);
  const masks = MASKS[bits] ?? [];
  block.set(masks, FIELD.MASKS);
  view.setUint8(FIELD.DIRECT_COLOR, bits === 32 ? RESERVED_USABLE : 0);
  view.setUint32(FIELD.FRAME_BUFFER, address, true);
  view.setUint16(FIELD.LINEAR_PITCH, pitch, true);
  view.setUint8(FIELD.BANKED_PAGES, pages);
  view.setUint8(FIELD.LINEAR_PAGES, linear ? pages : 0);
  block.set(masks, FIELD.LINEAR_MASKS);
  view.setUint32(FIELD.PIXEL_CLOCK, PIXEL_CLOCK, true);
  memory.write(esAddress(cpu, cpu.edi), block);
  return true;
}
