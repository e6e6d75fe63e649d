/**
 * The format of shadow-table entries, for TypeScript and for generated code. An entry is stored XORed with the linear
 * address of its page, so that one XOR with the address of an access gives the machine offset of its first byte, and one
 * test of that finds out all that is not plain: bit 31 (no such entry) and, in bits 11–0, an access that leaves the page.
 */
import { constantOf, type I32, i32, type Value } from "../wasm/expression.ts";
import { CODE_BITS, GRANULE_SHIFT } from "./memory-map.ts";

const PAGE = 4096;

/**
 * XORed onto a plain entry, or onto the host address it gives, when the page holds decoded code (write tables only).
 * The low bits of a stored entry tell what it is once its host address is negative: {@link KIND_CODE}, or 0 for none.
 */
export const CODE_MARK = -0x7fff_ffff;
const KIND_MASK = 3;
const KIND_CODE = 1;

/** What is left of a host address to tell whether an access may use it. */
export const PLAIN_TEST = -0x8000_0000 | (PAGE - 1);

/** The stored entry of a page without translation: zero where the page's own bit 31 makes the host address negative. */
export function noEntry(linear: number): number {
  return ~linear & -0x8000_0000;
}

/** The stored entry that leads from the page of `linear` to the machine page of `machine`. */
export function plainEntry(machine: number, linear: number): number {
  return (machine ^ linear) & -PAGE;
}

/** Whether `bytes` at a host address (stored entry ^ linear address) are plain memory within one page. */
export function isPlain(host: number, bytes: number): boolean {
  return (host & PLAIN_TEST) >>> 0 <= PAGE - bytes;
}

/** Whether a stored entry is that of a page with decoded code. */
export function isCodeEntry(stored: number, linear: number): boolean {
  return (stored ^ linear) < 0 && (stored & KIND_MASK) === KIND_CODE;
}

/** Granules (bits of a word of CODE_BITS) that `bytes` at `machine` touch within one page. */
export function granules(machine: number, bytes: number): number {
  const first = (machine & (PAGE - 1)) >> GRANULE_SHIFT;
  const last = ((machine & (PAGE - 1)) + bytes - 1) >> GRANULE_SHIFT;
  return (2 << last) - (1 << first);
}

/** The same in generated code; the access does not leave its page. */
export function granulesOf(machine: Value, bytes: I32): Value {
  const first = i32.shrU(i32.and(machine, PAGE - 1), GRANULE_SHIFT);
  const last = i32.shrU(i32.add(i32.and(machine, PAGE - 1), i32.sub(bytes, 1)), GRANULE_SHIFT);
  return i32.sub(i32.shl(2, last), i32.shl(1, first));
}

/** Address of the CODE_BITS word of a machine page, less CODE_BITS itself: an offset for a load. */
export function codeBitsOf(machine: Value): Value {
  return i32.load(i32.and(i32.shrU(machine, 10), -4), CODE_BITS);
}

/** Generated code: address of the entry of `linear` in the table at `table`. */
export function entryAddress(table: Value, linear: Value): Value {
  return i32.add(i32.and(i32.shrU(linear, 10), -4), table);
}

/** Generated code: the host address of `linear` by the table at `table`; `offset` leads from there to another table. */
export function hostAddress(table: Value, linear: Value, offset = 0): Value {
  const at = constantOf(table);
  // A constant table is the load's offset: one addition and three bytes less.
  if (at !== undefined) return i32.xor(i32.load(entryAddress(i32.const(0), linear), at + offset), linear);
  return i32.xor(i32.load(entryAddress(table, linear), offset), linear);
}

/**
 * Generated code: non-zero when an access of `bytes` at a host address is not plain memory within one page. `test` is
 * PLAIN_TEST, or what holds it.
 */
export function notPlain(host: Value, bytes: I32, test: I32 = PLAIN_TEST): Value {
  return bytes === 1 ? i32.ltS(host, 0) : i32.gtU(i32.and(host, test), i32.sub(PAGE, bytes));
}

/** Generated code: non-zero when a stored entry, whose host address is negative, is that of a page with decoded code. */
export function isCode(stored: Value): Value {
  return i32.eq(i32.and(stored, KIND_MASK), KIND_CODE);
}

/** Generated code: non-zero when `bytes` at `linear` do not lie in one page. */
export function leavesPage(linear: Value, bytes: I32): Value {
  return i32.gtU(i32.and(linear, PAGE - 1), i32.sub(PAGE, bytes));
}

/** Generated code: non-zero when a stored entry is that of a page without translation. */
export function isNone(stored: Value, linear: Value): Value {
  const noHost = i32.and(i32.xor(stored, linear), -0x8000_0000);
  return i32.eq(i32.or(noHost, i32.and(stored, KIND_MASK)), -0x8000_0000);
}

/** Linear address of the page whose entry is at an address: tables are aligned to their size. */
export function pageOfEntry(address: Value): Value {
  return i32.shl(address, 10);
}

/** Generated code: what to store at the address of an entry to drop it. */
export function noneFor(address: Value): Value {
  return i32.and(i32.xor(pageOfEntry(address), -1), -0x8000_0000);
}
