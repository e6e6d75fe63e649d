/** A plain model of SDM 3A chapter 4 for tests of page walks, and page-table entries to try it with. */
import fc from "fast-check";
import { PAGE_ACCESS } from "../../src/processor/paging.ts";

export type Access = "read" | "write" | "execute";

/** Guest-physical memory as a map of double words: outside RAM all ones. */
export interface Memory {
  read(address: bigint): bigint;
  write(address: bigint, value: bigint): void;
}

export interface Setting {
  readonly cr3: number;
  readonly wp: boolean;
  readonly pse: boolean;
  readonly pae: boolean;
  readonly nxe: boolean;
}

export interface Outcome {
  readonly address?: bigint;
  readonly error?: number;
}

const bit = (value: bigint, n: number): boolean => ((value >> BigInt(n)) & 1n) === 1n;
const field = (value: bigint, high: number, low: number): bigint =>
  (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);

/** The model: entries as 64-bit numbers, one level after the other, straight from the manual's figures. */
export function modelWalk(memory: Memory, setting: Setting, linear: number, access: Access, user: boolean): Outcome {
  const la = BigInt(linear >>> 0);
  const size = setting.pae ? 8n : 4n;
  const readEntry = (at: bigint): bigint =>
    setting.pae ? memory.read(at) | (memory.read(at + 4n) << 32n) : memory.read(at);
  const error = (present: boolean, reserved: boolean): Outcome => ({
    error:
      (present ? 1 : 0) |
      (access === "write" ? 2 : 0) |
      (user ? 4 : 0) |
      (reserved ? 8 : 0) |
      (access === "execute" && setting.pae && setting.nxe ? 16 : 0),
  });
  let directory = BigInt(setting.cr3 >>> 0) & ~0xfffn;
  if (setting.pae) {
    const pdpte = readEntry((BigInt(setting.cr3 >>> 0) & ~31n) + field(la, 31, 30) * 8n);
    if (!bit(pdpte, 0)) return error(false, false);
    directory = field(pdpte, 35, 12) << 12n;
  }
  const shift = setting.pae ? 21 : 22;
  const pdeAt = directory + (setting.pae ? field(la, 29, 21) : field(la, 31, 22)) * size;
  const pde = readEntry(pdeAt);
  if (!bit(pde, 0)) return error(false, false);
  const reservedHigh = (entry: bigint): boolean =>
    setting.pae && (field(entry, 62, 36) !== 0n || (!setting.nxe && bit(entry, 63)));
  if (reservedHigh(pde)) return error(true, true);
  const large = bit(pde, 7) && (setting.pae || setting.pse);
  let chain = [{ at: pdeAt, entry: pde }];
  let address: bigint;
  if (large) {
    const reserved = setting.pae ? field(pde, 20, 13) !== 0n : field(pde, 21, 13) !== 0n;
    if (reserved) return error(true, true);
    address = (field(pde, 35, shift) << BigInt(shift)) | field(la, shift - 1, 0);
    if (!setting.pae) address = (field(pde, 31, 22) << 22n) | field(la, 21, 0);
  } else {
    const table = setting.pae ? field(pde, 35, 12) << 12n : field(pde, 31, 12) << 12n;
    const pteAt = table + (setting.pae ? field(la, 20, 12) : field(la, 21, 12)) * size;
    const pte = readEntry(pteAt);
    if (!bit(pte, 0)) return error(false, false);
    if (reservedHigh(pte)) return error(true, true);
    chain = [...chain, { at: pteAt, entry: pte }];
    address = ((setting.pae ? field(pte, 35, 12) : field(pte, 31, 12)) << 12n) | field(la, 11, 0);
  }
  const all = (n: number): boolean => chain.every(({ entry }) => bit(entry, n));
  const noExecute = setting.pae && setting.nxe && chain.some(({ entry }) => bit(entry, 63));
  const allowed =
    (!user || all(2)) &&
    (access !== "write" || all(1) || (!user && !setting.wp)) &&
    (access !== "execute" || !noExecute);
  if (!allowed) return error(true, false);
  for (const [i, { at, entry }] of chain.entries()) {
    const last = i === chain.length - 1;
    const low = (entry & 0xffffffffn) | 0x20n | (last && access === "write" ? 0x40n : 0n);
    memory.write(at, low);
  }
  return { address };
}

/** What the processor calls an access. */
export function pageAccess(access: Access, user: boolean): number {
  const kind = access === "write" ? PAGE_ACCESS.write : access === "execute" ? PAGE_ACCESS.fetch : 0;
  return kind | (user ? PAGE_ACCESS.user : 0);
}

/** Where tests put page tables. */
export const TABLES = [0x100000, 0x101000, 0x102000, 0x103000] as const;
/** An entry that mostly leads somewhere: to a table or a page, with random flags. */
export const entryLow = fc
  .tuple(
    fc.constantFrom(...TABLES, 0x200000, 0x400000, 0xfff000, 0x1000000, 0xfffff000, 0x00112000),
    fc.oneof(
      fc.constantFrom(0x67, 0x27, 0x07, 0x05, 0x03, 0x01, 0x1e7, 0x87, 0x187, 0x00),
      fc.integer({ min: 0, max: 0xfff }),
    ),
  )
  .map(([address, flags]) => (address | flags) >>> 0);
/** Upper half of a PAE entry. */
export const entryHigh = fc.oneof(
  { weight: 6, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.constant(0x80000000) },
  { weight: 1, arbitrary: fc.constantFrom(1, 0xf, 0x10, 0x7fffffff) },
);
