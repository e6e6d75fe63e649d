/**
 * Names of the VGA's ports, register indices and bits, as the IBM VGA technical reference (PS/2 Hardware Interface,
 * "Video Subsystem", 1988) gives them. Facts only: nothing here has behaviour.
 */

/** Plane offsets that a VGA has: its four planes are 64 KB each. */
export const PLANE_SIZE = 0x10000;

/** Port offsets from 3B0h. STATUS0 is miscellaneous output when written, STATUS1 feature control. */
export const PORT = {
  CRTC_INDEX_MONO: 0x04,
  CRTC_DATA_MONO: 0x05,
  STATUS1_MONO: 0x0a,
  ATTRIBUTE: 0x10,
  ATTRIBUTE_READ: 0x11,
  STATUS0: 0x12,
  VIDEO_ENABLE: 0x13,
  SEQUENCER_INDEX: 0x14,
  SEQUENCER_DATA: 0x15,
  DAC_MASK: 0x16,
  DAC_READ_INDEX: 0x17,
  DAC_WRITE_INDEX: 0x18,
  DAC_DATA: 0x19,
  FEATURE_READ: 0x1a,
  MISC_READ: 0x1c,
  GRAPHICS_INDEX: 0x1e,
  GRAPHICS_DATA: 0x1f,
  CRTC_INDEX_COLOR: 0x24,
  CRTC_DATA_COLOR: 0x25,
  STATUS1_COLOR: 0x2a,
} as const;

/** Miscellaneous output register (3C2h write, 3CCh read). */
export const MISC = {
  COLOR_ADDRESS: 1 << 0,
  ENABLE_RAM: 1 << 1,
  CLOCK_SELECT_SHIFT: 2,
  CLOCK_SELECT_MASK: 3,
  ODD_EVEN_PAGE: 1 << 5,
} as const;

/** Input status register 0 (3C2h read). */
export const STATUS0 = { SWITCH_SENSE: 1 << 4, INTERRUPT_PENDING: 1 << 7 } as const;

/** Input status register 1 (3BAh/3DAh read). */
export const STATUS1 = { DISPLAY_DISABLED: 1 << 0, VERTICAL_RETRACE: 1 << 3 } as const;

/** Sequencer register indices. */
export const SEQ = { RESET: 0, CLOCKING_MODE: 1, MAP_MASK: 2, CHARACTER_MAP: 3, MEMORY_MODE: 4 } as const;
/** Number of sequencer registers. */
export const SEQUENCER_REGISTERS = 5;

/** Sequencer 01h, clocking mode. */
export const CLOCKING = { EIGHT_DOTS: 1 << 0, HALF_DOT_CLOCK: 1 << 3, SCREEN_OFF: 1 << 5 } as const;
/** Sequencer 04h, memory mode. */
export const MEMORY_MODE = { SEQUENTIAL: 1 << 2, CHAIN_4: 1 << 3 } as const;

/** CRT controller register indices. */
export const CRTC = {
  HORIZONTAL_TOTAL: 0x00,
  HORIZONTAL_DISPLAY_END: 0x01,
  VERTICAL_TOTAL: 0x06,
  OVERFLOW: 0x07,
  PRESET_ROW_SCAN: 0x08,
  MAXIMUM_SCAN_LINE: 0x09,
  CURSOR_START: 0x0a,
  CURSOR_END: 0x0b,
  START_ADDRESS_HIGH: 0x0c,
  START_ADDRESS_LOW: 0x0d,
  CURSOR_LOCATION_HIGH: 0x0e,
  CURSOR_LOCATION_LOW: 0x0f,
  VERTICAL_RETRACE_START: 0x10,
  VERTICAL_RETRACE_END: 0x11,
  VERTICAL_DISPLAY_END: 0x12,
  OFFSET: 0x13,
  UNDERLINE_LOCATION: 0x14,
  VERTICAL_BLANK_START: 0x15,
  MODE_CONTROL: 0x17,
  LINE_COMPARE: 0x18,
  /** Undocumented, in every VGA: the byte of the latch that the read map select names. */
  LATCH_READ_BACK: 0x22,
  /** Undocumented, in every VGA: bit 7 tells whether the attribute controller expects data. */
  ATTRIBUTE_READ_BACK: 0x24,
} as const;
/** Number of documented CRT controller registers. */
export const CRTC_REGISTERS = 0x19;

/** CRT controller 09h. */
export const MAXIMUM_SCAN = { ROWS_MASK: 0x1f, LINE_COMPARE_9: 1 << 6, DOUBLE_SCAN: 1 << 7 } as const;
/** CRT controller 0Ah and 0Bh; OFF is in the first, SKEW in the second. */
export const CURSOR = { SCAN_MASK: 0x1f, OFF: 1 << 5, SKEW_SHIFT: 5, SKEW_MASK: 3 } as const;
/** CRT controller 07h: bits 8 and 9 of vertical registers. */
export const OVERFLOW = {
  VERTICAL_TOTAL_8: 1 << 0,
  VERTICAL_DISPLAY_END_8: 1 << 1,
  VERTICAL_RETRACE_START_8: 1 << 2,
  LINE_COMPARE_8: 1 << 4,
  VERTICAL_TOTAL_9: 1 << 5,
  VERTICAL_DISPLAY_END_9: 1 << 6,
  VERTICAL_RETRACE_START_9: 1 << 7,
} as const;
/** CRT controller 11h. */
export const RETRACE_END = { END_MASK: 0x0f, NOT_CLEAR_INTERRUPT: 1 << 4, PROTECT: 1 << 7 } as const;
/** CRT controller 14h. */
export const UNDERLINE = { LOCATION_MASK: 0x1f, COUNT_BY_FOUR: 1 << 5, DOUBLE_WORD: 1 << 6 } as const;
/** CRT controller 17h. */
export const MODE_CONTROL = {
  ROW_SCAN_0_IS_LINEAR: 1 << 0,
  ROW_SCAN_1_IS_LINEAR: 1 << 1,
  DOUBLE_VERTICAL: 1 << 2,
  COUNT_BY_TWO: 1 << 3,
  ADDRESS_WRAP_15: 1 << 5,
  BYTE_MODE: 1 << 6,
  SYNC_ENABLE: 1 << 7,
} as const;

/** Graphics controller register indices. */
export const GC = {
  SET_RESET: 0,
  ENABLE_SET_RESET: 1,
  COLOR_COMPARE: 2,
  DATA_ROTATE: 3,
  READ_MAP_SELECT: 4,
  MODE: 5,
  MISCELLANEOUS: 6,
  COLOR_DONT_CARE: 7,
  BIT_MASK: 8,
} as const;
/** Number of graphics controller registers. */
export const GRAPHICS_REGISTERS = 9;

/** Graphics controller 03h. */
export const ROTATE = { COUNT_MASK: 7, FUNCTION_SHIFT: 3, FUNCTION_MASK: 3 } as const;
/** Graphics controller 05h. */
export const GC_MODE = {
  WRITE_MASK: 3,
  READ_MODE_1: 1 << 3,
  ODD_EVEN: 1 << 4,
  INTERLEAVED: 1 << 5,
  COLOR_256: 1 << 6,
} as const;
/** Graphics controller 06h. */
export const GC_MISC = { GRAPHICS: 1 << 0, CHAIN_ODD_EVEN: 1 << 1, MAP_SHIFT: 2, MAP_MASK: 3 } as const;

/** Attribute controller register indices; 0–15 are the internal palette. */
export const ATC = {
  MODE_CONTROL: 0x10,
  OVERSCAN: 0x11,
  PLANE_ENABLE: 0x12,
  HORIZONTAL_PANNING: 0x13,
  COLOR_SELECT: 0x14,
} as const;
/** Number of attribute controller registers. */
export const ATTRIBUTE_REGISTERS = 0x15;

/** What is written to 3C0h as an index. */
export const ATTRIBUTE_INDEX = { INDEX_MASK: 0x1f, PALETTE_ADDRESS_SOURCE: 1 << 5 } as const;
/** Attribute controller 10h. */
export const ATTRIBUTE_MODE = {
  GRAPHICS: 1 << 0,
  LINE_GRAPHICS: 1 << 2,
  BLINK: 1 << 3,
  PANNING_COMPATIBILITY: 1 << 5,
  PALETTE_54_SELECT: 1 << 7,
} as const;
