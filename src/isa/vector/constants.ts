/** MXCSR and what follows from it. SDM 1 10.2.3. */

/** Bits of MXCSR. Exception masks stand seven bits above their flags. */
export const MXCSR = {
  IE: 1 << 0,
  DE: 1 << 1,
  ZE: 1 << 2,
  OE: 1 << 3,
  UE: 1 << 4,
  PE: 1 << 5,
  DAZ: 1 << 6,
  UM: 1 << 11,
  OM: 1 << 10,
  RC: 3 << 13,
  FZ: 1 << 15,
} as const;

/** Distance from an exception flag to its mask. */
export const MASK_SHIFT = 7;
/** All exception flags. */
export const MXCSR_FLAGS = 0x3f;
/** Flags that are found out before the operation: unmasked, they keep the others from being looked for (SDM 1 11.5.2). */
export const MXCSR_BEFORE = MXCSR.IE | MXCSR.DE | MXCSR.ZE;
/** Bits that may be written; others raise #GP (SDM 1 11.6.6). */
export const MXCSR_VALID = 0xffff;
/** MXCSR at reset. */
export const MXCSR_RESET = 0x1f80;

/** All masked, round to nearest, no FTZ, no DAZ, and PE set already: inexact results then change nothing. */
export const MXCSR_DEFAULT = { mask: 0xffe0, value: MXCSR_RESET | MXCSR.PE } as const;

/** Rounding modes as MXCSR.RC and as immediates of ROUNDxx have them. */
export const RC = { nearest: 0, down: 1, up: 2, truncate: 3 } as const;
/** Position of RC in MXCSR. */
export const RC_SHIFT = 13;

/** What MMX instructions make of the x87: TOP cleared, all registers valid; EMMS leaves them empty (SDM 3A 12.2). */
export const MMX_STATE = { top: 0x3800, full: 0xff, empty: 0 } as const;

/** In the field `simdFault`, beside unmasked exceptions: an operand or the result of a scalar function is denormal. */
export const DENORMAL_MET = 1 << 6;
