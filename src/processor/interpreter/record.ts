/** Layout of decoded blocks and operations in linear memory, shared by the translator and the generated interpreter. */

/** One operation. */
export const RECORD = {
  /** u16: number of the arm that executes it. */
  handler: 0,
  /** u8: bytes from the block's first instruction to this one. */
  offset: 2,
  /** u8: length of the instruction. */
  length: 3,
  /** u8: slots in the state page of the first and second register operand. */
  ra: 4,
  rb: 5,
  /** u8: slots of base and index registers. */
  base: 6,
  index: 7,
  /** u8: scale in bits 0–1, ADDRESS16 and the repeat prefix. */
  shape: 8,
  /** u8: segment of the memory operand. */
  segment: 9,
  /** u8: number of this instruction in its block, from 1. */
  count: 10,
  /** u8: operand size in bytes, for helpers. */
  size: 11,
  /** i32: displacement, or the second immediate of an instruction without memory operand. */
  displacement: 12,
  /** i32: immediate; of a direct branch, the target relative to the block's first instruction. */
  immediate: 16,
  /** u32: of a direct branch, the block it leads to, once known; of a helper call, its number and argument. */
  link: 20,
} as const;

export const RECORD_BYTES = 24;

/** Marks a link that is a helper's number, with its argument above bit 16: blocks stand below this address. */
export const HELPER_LINK = 1 << 30;
/** What RECORD.ra and rb hold for a vector register: its number times this, so that sixteen fit. */
export const VECTOR_SLOT = 16;

/** Bits of RECORD.shape above the scale. */
export const SHAPE = { address16: 4, rep: 8, repne: 16, override: 32, memory: 64 } as const;

/** A block: this header, then its operations. */
export const BLOCK = {
  /** u32: number of operations. */
  count: 0,
  /** u32: bytes of guest code. */
  bytes: 4,
  /** u32: see BLOCK_FLAG. */
  flags: 8,
  /** u32: machine offset of the first byte. */
  machine: 12,
  /** u32: mode key it was decoded for. */
  mode: 16,
  /** u32: machine offset of the second page if the (only) instruction crosses into one. */
  crossing: 20,
  /** i32: reference to the compiled code that begins here (see CODE_REF), or minus the executions left until it pays. */
  code: 24,
} as const;

export const BLOCK_BYTES = 32;

/** checkLimit: EIP must be held against the CS limit at entry. crosses: the second page's mapping must be the same. */
export const BLOCK_FLAG = { checkLimit: 1, crosses: 2 } as const;

/** What the interpreter's `run` returns. */
export const RUN = { budget: 0, fault: 1, miss: 2, exit: 3, verify: 4, hot: 5 } as const;

/** A reference to compiled code: slot of the region's function, page and entry by number in it. Never 0. */
export const CODE_REF = {
  entryMask: 0xff,
  entries: 0x100,
  pageShift: 8,
  pageMask: 7,
  pages: 8,
  slotShift: 11,
} as const;

/** Executions of a block that is never compiled. */
export const NEVER = -0x8000_0000;

/**
 * What a region returns: a reference to the code to go on with, or: `dispatch` at EIP; `fault`; `budget`, too small for
 * what comes; `interpret` one block at EIP; `exit`, as a helper said. `interpret` and `fault` have done nothing of the
 * instruction at EIP.
 */
export const NEXT = { dispatch: 0, fault: -1, budget: -2, interpret: -3, exit: -4 } as const;

/** Why blocks are interpreted although compiled code is there: one block, or to the end of the stay. */
export const SKIP = { none: 0, block: 1, stay: 2 } as const;

/** What a helper, or an arm that stands outside the loop, returns. */
export const STATUS = { next: 0, fault: 1, jump: 2, exit: 3 } as const;

/** Operand variants of an arm: register operands, flat memory, memory with segmentation, register with segmented stack. */
export const VARIANT = { register: 0, flat: 1, general: 2, registerGeneral: 3 } as const;
