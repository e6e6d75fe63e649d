/** Where things lie: in the VGA BIOS image, in the BIOS data area, in the vector table. Shared by image and services. */
import type { GuestMemory } from "../../hypervisor/device.ts";

/** Segment of the image. */
export const ROM_SEGMENT = 0xc000;
/** Guest-physical address of the image. */
export const ROM_BASE = ROM_SEGMENT << 4;
/** Bytes of the image. */
export const ROM_SIZE = 0x8000;

/** Offsets in the image. */
export const ROM = {
  /** Far entry of the option-ROM scan. */
  INITIALIZE: 0x0003,
  /** Pointer to the PCI data structure. */
  PCI_POINTER: 0x0018,
  SIGNATURE: 0x001e,
  INT_10: 0x0028,
  NAME: 0x0030,
  PCI_DATA: 0x0050,
  PARAMETERS: 0x0100,
  SAVE_POINTERS: 0x0900,
  SECONDARY_SAVE_POINTERS: 0x0920,
  DISPLAY_CODES: 0x0940,
  STATIC_FUNCTIONALITY: 0x0970,
  /** Empty tables of nine-dot replacements: our glyphs need none. */
  ALTERNATE_FONT: 0x0980,
  FONT_8X8: 0x1000,
  FONT_8X14: 0x1800,
  FONT_8X16: 0x2600,
  /** Far procedure that moves the window of VBE modes. */
  VBE_WINDOW: 0x3600,
  VBE_OEM: 0x3620,
  VBE_VENDOR: 0x3640,
  VBE_PRODUCT: 0x3660,
  VBE_REVISION: 0x3690,
  /** Table and code of the protected-mode interface. */
  VBE_PROTECTED: 0x3700,
} as const;

/** Video fields of the BIOS data area, guest-physical (IBM PS/2 BIOS Technical Reference, "BIOS Data Area"). */
export const BDA = {
  EQUIPMENT: 0x410,
  MODE: 0x449,
  COLUMNS: 0x44a,
  PAGE_SIZE: 0x44c,
  PAGE_START: 0x44e,
  CURSOR_POSITIONS: 0x450,
  CURSOR_END: 0x460,
  CURSOR_START: 0x461,
  ACTIVE_PAGE: 0x462,
  CRTC_PORT: 0x463,
  MODE_SELECT: 0x465,
  PALETTE: 0x466,
  /** Rows less one. */
  ROWS: 0x484,
  CHARACTER_HEIGHT: 0x485,
  CONTROL: 0x487,
  SWITCHES: 0x488,
  VGA_FLAGS: 0x489,
  DISPLAY_CODE: 0x48a,
  SAVE_POINTER: 0x4a8,
} as const;

/** Byte 487h. */
export const CONTROL = {
  NO_CURSOR_EMULATION: 1 << 0,
  MEMORY_256K: 3 << 5,
  NO_CLEAR: 1 << 7,
} as const;

/** Byte 489h; bits 7 and 4 choose the scan lines of text modes: 10 = 200, 00 = 350, 01 = 400. */
export const VGA_FLAGS = {
  ACTIVE: 1 << 0,
  GRAY_SUMMING: 1 << 1,
  NO_PALETTE_LOADING: 1 << 3,
  LINES_400: 1 << 4,
  LINES_200: 1 << 7,
} as const;

/** Interrupt vectors that the VGA BIOS owns. */
export const VECTOR = { VIDEO: 0x10, UPPER_FONT: 0x1f, OLD_VIDEO: 0x42, FONT: 0x43, VIDEO_COPY: 0x6d } as const;

/** Set a vector of the real-mode interrupt table. */
export function setVector(memory: GuestMemory, vector: number, segment: number, offset: number): void {
  memory.write16(vector * 4, offset);
  memory.write16(vector * 4 + 2, segment);
}

/** Linear address in a real-mode far pointer at `gpa`; 0 when the pointer is null. */
export function farPointer(memory: GuestMemory, gpa: number): number {
  return (memory.read16(gpa + 2) << 4) + memory.read16(gpa);
}
