/**
 * The little world in which test cases run, the same in the native runner's process and in our engine: two pages of
 * code, two of data, a local descriptor table; everything else is not present.
 */
import { Random } from "./random.ts";

/** Two pages filled with INT3 into which a case's code is copied. Below 64 KB, so that 16-bit jumps stay inside. */
export const CODE = { base: 0x4000, size: 0x2000, slot: 0x4800, bytes: 64 } as const;

/** Two pages of data. Below 64 KB, so that 16-bit addressing reaches them. */
export const SCRATCH = { base: 0x8000, size: 0x2000 } as const;

/** The part of the scratch pages that each case fills anew; it lies across their common page boundary. */
export const WINDOW = { base: 0x8f80, size: 0x100 } as const;

/** Where the native runner lives: no stack pointer may lead there, or the kernel would think itself in a handler. */
export const RUNNER = { base: 0x0800_0000, size: 0x10_0000 } as const;

/** Selectors that Linux gives 32-bit programs on 64-bit kernels: __USER32_CS and __USER_DS. */
export const USER_CS = 0x23;
export const USER_DS = 0x2b;

/** One entry of the local descriptor table: flags as modify_ldt(2) takes them and as the processor does. */
export interface LocalDescriptor {
  readonly base: number;
  /** In bytes, or in pages with `pages`. */
  readonly limit: number;
  readonly pages: boolean;
  readonly big: boolean;
  /** Data growing up, growing down, or code (conforming is not used). */
  readonly kind: "data" | "down" | "code";
  /** Data that may be written, code that may be read. */
  readonly open: boolean;
  readonly present: boolean;
}

/** The local descriptor table; entry n has selector 8n + 7. */
export const LOCAL_DESCRIPTORS: readonly LocalDescriptor[] = [
  { base: SCRATCH.base, limit: 0x1fff, pages: false, big: true, kind: "data", open: true, present: true },
  { base: SCRATCH.base, limit: 0x1fff, pages: false, big: true, kind: "data", open: false, present: true },
  { base: SCRATCH.base, limit: 0x0fff, pages: false, big: true, kind: "down", open: true, present: true },
  { base: 0, limit: 0xffff, pages: false, big: false, kind: "code", open: true, present: true },
  { base: 0, limit: 0xffff, pages: false, big: false, kind: "data", open: true, present: true },
  { base: 0, limit: 0xfffff, pages: true, big: true, kind: "data", open: true, present: false },
  { base: 0, limit: 0xfffff, pages: true, big: true, kind: "code", open: false, present: true },
  { base: 0, limit: 0x7fff, pages: false, big: false, kind: "down", open: true, present: true },
];

/** Selectors of the entries above. */
export const LOCAL = {
  DATA: 0x07,
  READ_ONLY: 0x0f,
  EXPAND_DOWN: 0x17,
  CODE16: 0x1f,
  DATA16: 0x27,
  NOT_PRESENT: 0x2f,
  EXECUTE_ONLY: 0x37,
  EXPAND_DOWN16: 0x3f,
} as const;

/** The eight bytes of a segment descriptor with DPL 3, accessed and AVL set, as Linux writes them. SDM 3A 3.4.5. */
export function descriptorBytes(d: LocalDescriptor): Uint8Array {
  const type = (d.kind === "code" ? 8 : d.kind === "down" ? 4 : 0) | (d.open ? 2 : 0) | 1;
  const access = (d.present ? 0x80 : 0) | 0x70 | type;
  return Uint8Array.of(
    d.limit & 0xff,
    (d.limit >> 8) & 0xff,
    d.base & 0xff,
    (d.base >> 8) & 0xff,
    (d.base >> 16) & 0xff,
    access,
    (d.pages ? 0x80 : 0) | (d.big ? 0x40 : 0) | 0x10 | ((d.limit >> 16) & 0x0f),
    d.base >>> 24,
  );
}

/** What the scratch pages hold outside the window. No word of it is an address in pages that are present. */
export function scratchPattern(): Uint8Array {
  const random = new Random(0x5c4a7c);
  const bytes = new Uint8Array(SCRATCH.size);
  const present = [CODE.base >> 13, SCRATCH.base >> 13];
  for (let i = 0; i < bytes.length; i++) {
    const byte = random.u32() >>> 24;
    bytes[i] = present.includes(byte >> 5) ? byte ^ 0x20 : byte;
  }
  return bytes;
}

/** Sizes of the parts of an x87 state image, 32-bit protected-mode format. SDM 1 figure 8-9 and 8-13. */
export const FPU_IMAGE = { size: 108, environment: 28, control: 0, status: 4, tag: 8, pointers: 12 } as const;
