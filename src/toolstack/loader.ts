/** What kernel loaders give back, and the boot GDT and memory arithmetic that they share. */
import { VmxonError } from "../common/errors.ts";
import type { E820Entry, InitialState } from "../hypervisor/initial-state.ts";

/** Bytes to be placed in guest memory before the kernel runs. */
export interface MemoryWrite {
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

export interface LoadedKernel {
  readonly state: InitialState;
  readonly writes: readonly MemoryWrite[];
}

/** Where the loaders put what they pass on. The firmware leaves this memory alone; reference section 6.2. */
export const BOOT_AREA = {
  /** Parameter page of Linux, information structure of multiboot. */
  parameters: 0x90000,
  gdt: 0x91000,
  /** The stack grows down from here, in the GDT's page. */
  stackTop: 0x92000,
  commandLine: 0x92000,
  commandLineSize: 0x1000,
  end: 0x93000,
} as const;

/** Selectors of the boot GDT: those of the boot protocol, and the ones that kernels of 2.6's time called their own. */
export const BOOT_SELECTORS = { code: 0x10, data: 0x18, kernelCode: 0x60, kernelData: 0x68 } as const;

const FLAT_CODE = 0x00cf9a000000ffffn;
const FLAT_DATA = 0x00cf92000000ffffn;
const GDT_ENTRIES = 14;

/** A GDT with flat 4 GB code and data segments. */
export function bootGdt(): MemoryWrite {
  const bytes = new Uint8Array(GDT_ENTRIES * 8);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(BOOT_SELECTORS.code, FLAT_CODE, true);
  view.setBigUint64(BOOT_SELECTORS.data, FLAT_DATA, true);
  view.setBigUint64(BOOT_SELECTORS.kernelCode, FLAT_CODE, true);
  view.setBigUint64(BOOT_SELECTORS.kernelData, FLAT_DATA, true);
  return { gpa: BOOT_AREA.gdt, bytes };
}

/** The part of the initial state that all loaders share. */
export const FLAT_PROTECTED_MODE = {
  mode: "protected",
  codeSelector: BOOT_SELECTORS.code,
  dataSelector: BOOT_SELECTORS.data,
  gdt: { base: BOOT_AREA.gdt, limit: GDT_ENTRIES * 8 - 1 },
  esp: BOOT_AREA.stackTop,
} as const satisfies InitialState;

const RAM = 1;
const MEGABYTE = 0x100000;
export const PAGE_SIZE = 0x1000;

/** End of the RAM that starts at 1 MB. */
export function extendedMemoryEnd(map: readonly E820Entry[]): number {
  let end = MEGABYTE;
  for (const entry of map) {
    if (entry.type === RAM && entry.base <= end && entry.base + entry.size > end) end = entry.base + entry.size;
  }
  return end;
}

/** Bytes of RAM from address 0. */
export function lowMemoryEnd(map: readonly E820Entry[]): number {
  return map.find((entry) => entry.type === RAM && entry.base === 0)?.size ?? 0;
}

/** Throw unless [start, end) is RAM. */
export function requireRam(name: string, what: string, start: number, end: number, map: readonly E820Entry[]): void {
  const inside = map.some((entry) => entry.type === RAM && start >= entry.base && end <= entry.base + entry.size);
  if (inside) return;
  const range = `0x${start.toString(16)}–0x${end.toString(16)}`;
  const top = extendedMemoryEnd(map);
  const advice =
    start >= MEGABYTE && end > top
      ? `Give it more memory: -m ${Math.ceil((end + PAGE_SIZE) / MEGABYTE)}.`
      : "There is no memory at that address.";
  throw new VmxonError(
    "kernel",
    `${name}: ${what} needs memory at ${range}, but RAM ends at 0x${top.toString(16)}. ${advice}`,
  );
}

/** Latin-1 bytes with a zero at the end. */
export function zeroTerminated(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length + 1);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index) & 0xff;
  return bytes;
}
