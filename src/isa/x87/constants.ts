/**
 * Names of the x87's bits and special values, and the layout of the scratch area of the state page.
 * Bits as in Intel SDM 1 chapter 8.
 */
import { FPU_SCRATCH } from "../state.ts";

/** Status word (SDM 1 8.1.3). */
export const FSW = {
  IE: 0x0001,
  DE: 0x0002,
  ZE: 0x0004,
  OE: 0x0008,
  UE: 0x0010,
  PE: 0x0020,
  SF: 0x0040,
  ES: 0x0080,
  C0: 0x0100,
  C1: 0x0200,
  C2: 0x0400,
  C3: 0x4000,
  B: 0x8000,
  TOP: 0x3800,
} as const;

/** The six exception flags of the status word, and in the same places the masks of the control word. */
export const EXCEPTIONS = 0x3f;
/** All four condition codes. */
export const CONDITION = FSW.C0 | FSW.C1 | FSW.C2 | FSW.C3;
/** One step of TOP in the status word. */
export const TOP_STEP = 0x0800;
/** What FNCLEX clears. */
export const CLEARED_BY_FNCLEX = EXCEPTIONS | FSW.SF | FSW.ES | FSW.B;

/** Control word (SDM 1 8.1.5). */
export const FCW = { IM: 0x01, DM: 0x02, ZM: 0x04, OM: 0x08, UM: 0x10, PM: 0x20, PC: 0x300, RC: 0xc00 } as const;
/** Rounding control, in place in the control word. */
export const RC = { nearest: 0x000, down: 0x400, up: 0x800, chop: 0xc00 } as const;
/** Precision control, in place in the control word; 0x100 is reserved and behaves as `extended`. */
export const PC = { single: 0x000, reserved: 0x100, double: 0x200, extended: 0x300 } as const;
/** Bits of the control word that can be written, and bit 6, which always reads 1. */
export const FCW_WRITABLE = 0x1f3f;
export const FCW_FIXED = 0x0040;
/** Control word after FNINIT. */
export const FCW_INITIAL = 0x037f;

/**
 * Arithmetic helpers return exception flags and C1 in their places of the status word, and these two above them.
 * `suppressed`: an unmasked exception left destination and stack as they were. `settled`: the operands were special and
 * the result, if any, is already stored.
 */
export const OUTCOME = { suppressed: 0x10000, settled: 0x20000 } as const;

/** Set in an operand's sign/exponent word when a memory format's denormal was widened to it (it owes a DE). */
export const WAS_DENORMAL = 0x10000;

/** Sign and exponent word of an 80-bit value. */
export const EXT = { sign: 0x8000, exponent: 0x7fff, bias: 0x3fff } as const;
/** The explicit integer bit. */
export const INTEGER_BIT = 1n << 63n;
/** Set in a quiet NaN, clear in a signaling one. */
export const QUIET_BIT = 1n << 62n;
/** Significand of infinities: anything else with the largest exponent is a NaN. */
export const INFINITY_SIGNIFICAND = INTEGER_BIT;
/** Real indefinite: what a masked invalid operation stores. */
export const INDEFINITE = { signExponent: 0xffff, significand: INTEGER_BIT | QUIET_BIT } as const;
/** Exponent adjustment of unmasked overflow and underflow (SDM 1 8.5.4, 8.5.5). */
export const BIAS_ADJUST = 24576;

/** Results of instruction functions. */
export const STATUS = { done: 0, nothingToStore: 1, pendingException: 16 } as const;

/** Uses of the 64 scratch bytes, as offsets in the state page. */
export const SCRATCH = {
  /** A value on its way to memory, 10 bytes at most. */
  value: FPU_SCRATCH,
  /** What `commit` ORs into the status word once the value is stored. */
  flags: FPU_SCRATCH + 12,
  /** Exception flags of a helper that returns a number. */
  outcome: FPU_SCRATCH + 16,
  /** Exponent of a reduced angle (trigonometric functions have no `outcome`). */
  angleExponent: FPU_SCRATCH + 16,
  /** Exponent that goes with a wide significand. */
  exponent: FPU_SCRATCH + 20,
  /** Low halves of 128-bit helper results; the high half is the function's result. */
  low: FPU_SCRATCH + 24,
  /** A reduced angle as a 128-bit fraction, low half first. */
  angleFraction: FPU_SCRATCH + 32,
  /** The same angle's normalized 128-bit significand. */
  angleSignificand: FPU_SCRATCH + 48,
} as const;
