/** Linux's 32-bit boot protocol: a bzImage, its ramdisk and command line become memory contents and registers. */
import { VmxonError } from "../common/errors.ts";
import type { Geometry } from "../hypervisor/backend.ts";
import type { E820Entry } from "../hypervisor/initial-state.ts";
import {
  BOOT_AREA,
  bootGdt,
  extendedMemoryEnd,
  FLAT_PROTECTED_MODE,
  type LoadedKernel,
  lowMemoryEnd,
  type MemoryWrite,
  PAGE_SIZE,
  requireRam,
  zeroTerminated,
} from "./loader.ts";

/** Fields of the setup header, by offset in the kernel file and in the parameter page. Documentation/x86/boot.rst. */
const HEADER = {
  setupSects: 0x1f1,
  bootFlag: 0x1fe,
  jump: 0x200,
  magic: 0x202,
  version: 0x206,
  typeOfLoader: 0x210,
  loadFlags: 0x211,
  code32Start: 0x214,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  commandLine: 0x228,
  initrdAddrMax: 0x22c,
  commandLineSize: 0x238,
  prefAddress: 0x258,
  initSize: 0x260,
} as const;

/** Fields of the parameter page outside the setup header: reference 6.4, include/uapi/asm/bootparam.h, screen_info.h. */
const PARAMETERS = {
  cursorColumn: 0x00,
  cursorRow: 0x01,
  extendedMemory: 0x02,
  videoPage: 0x04,
  videoMode: 0x06,
  columns: 0x07,
  rows: 0x0e,
  isVga: 0x0f,
  fontPoints: 0x10,
  oldCommandLineMagic: 0x20,
  oldCommandLineOffset: 0x22,
  drives: 0x80,
  alternateMemory: 0x1e0,
  e820Count: 0x1e8,
  auxDevice: 0x1ff,
  e820: 0x2d0,
} as const;

const E820_ENTRY_SIZE = 20;
const BOOT_FLAG = 0xaa55;
const HEADER_MAGIC = 0x53726448; // "HdrS"
const OLD_COMMAND_LINE_MAGIC = 0xa33f;
const LOADED_HIGH = 1;
const LOADER_UNDEFINED = 0xff;
const PS2_MOUSE_PRESENT = 0xaa;
const SECTOR = 512;
const KILOBYTE = 1024;
const MEGABYTE = 0x100000;

/** Where a kernel without LOADED_HIGH runs (a zImage), and what it must not grow over. */
const ZIMAGE = { address: 0x1000, end: 0x90000 } as const;

const DEFAULT_COMMAND_LINE_SIZE = 255;
const DEFAULT_INITRD_ADDR_MAX = 0x37ffffff;

/** Version numbers from which fields of the header are there. */
const SINCE = { commandLinePointer: 0x202, initrdAddrMax: 0x203, commandLineSize: 0x206, initSize: 0x20a } as const;

export interface LinuxBoot {
  /** Names the file in messages. */
  readonly name: string;
  readonly kernel: Uint8Array;
  readonly ramdisk?: Uint8Array;
  readonly commandLine: string;
  readonly memoryMap: readonly E820Entry[];
  /** Where the firmware left the cursor. */
  readonly cursor?: { readonly column: number; readonly row: number };
  /** Geometries of the first two disks, for old kernels that ask the boot loader. */
  readonly disks?: readonly (Geometry | undefined)[];
}

function bad(name: string, message: string): never {
  throw new VmxonError("kernel", `${name}: ${message}`);
}

/** Place a kernel. Throws VmxonError("kernel") that names the file when it or what goes with it does not fit. */
export function loadLinux(boot: LinuxBoot): LoadedKernel {
  const { name, kernel, memoryMap } = boot;
  if (kernel.length < SECTOR * 2) bad(name, "is too short for a Linux kernel; was it copied completely?");
  const file = new DataView(kernel.buffer, kernel.byteOffset, kernel.byteLength);
  if (file.getUint16(HEADER.bootFlag, true) !== BOOT_FLAG || file.getUint32(HEADER.magic, true) !== HEADER_MAGIC) {
    bad(name, 'is not a Linux bzImage (no "HdrS" header). Of a kernel build, pass arch/x86/boot/bzImage.');
  }
  const version = file.getUint16(HEADER.version, true);
  const setupLength = ((kernel[HEADER.setupSects] || 4) + 1) * SECTOR;
  if (setupLength >= kernel.length) bad(name, `is cut off: its setup code alone should be ${setupLength} bytes.`);
  const payload = kernel.subarray(setupLength);

  const high = (kernel[HEADER.loadFlags]! & LOADED_HIGH) !== 0;
  const entry = high ? file.getUint32(HEADER.code32Start, true) : ZIMAGE.address;
  if (high) {
    requireRam(name, "the kernel", entry, entry + payload.length, memoryMap);
    if (version >= SINCE.initSize) {
      const start = file.getUint32(HEADER.prefAddress, true);
      requireRam(name, "unpacking the kernel", start, start + file.getUint32(HEADER.initSize, true), memoryMap);
    }
  } else if (ZIMAGE.address + payload.length > ZIMAGE.end) {
    bad(name, `is a zImage of ${payload.length} bytes, too large for low memory.`);
  }

  const limit =
    version >= SINCE.commandLineSize ? file.getUint32(HEADER.commandLineSize, true) : DEFAULT_COMMAND_LINE_SIZE;
  const longest = Math.min(limit, BOOT_AREA.commandLineSize - 1);
  if (boot.commandLine.length > longest) {
    bad(name, `takes a command line of ${longest} characters at most; this one has ${boot.commandLine.length}.`);
  }

  const page = new Uint8Array(PAGE_SIZE);
  const view = new DataView(page.buffer);
  // The header ends where its own jump instruction leads.
  page.set(
    kernel.subarray(HEADER.setupSects, Math.min(HEADER.magic + kernel[HEADER.jump + 1]!, PARAMETERS.e820)),
    HEADER.setupSects,
  );
  fillScreen(view, boot.cursor);
  fillMemory(view, memoryMap);
  fillDrives(view, boot.disks ?? []);
  page[PARAMETERS.auxDevice] = PS2_MOUSE_PRESENT;
  page[HEADER.typeOfLoader] = LOADER_UNDEFINED;
  view.setUint32(HEADER.code32Start, entry, true);

  if (version >= SINCE.commandLinePointer) view.setUint32(HEADER.commandLine, BOOT_AREA.commandLine, true);
  else {
    view.setUint16(PARAMETERS.oldCommandLineMagic, OLD_COMMAND_LINE_MAGIC, true);
    view.setUint16(PARAMETERS.oldCommandLineOffset, BOOT_AREA.commandLine - BOOT_AREA.parameters, true);
  }

  const writes: MemoryWrite[] = [
    { gpa: entry, bytes: payload },
    { gpa: BOOT_AREA.parameters, bytes: page },
    bootGdt(),
    { gpa: BOOT_AREA.commandLine, bytes: zeroTerminated(boot.commandLine) },
  ];
  if (boot.ramdisk && boot.ramdisk.length > 0) {
    const highest =
      version >= SINCE.initrdAddrMax ? file.getUint32(HEADER.initrdAddrMax, true) : DEFAULT_INITRD_ADDR_MAX;
    const address = ramdiskAddress(
      name,
      boot.ramdisk.length,
      highest,
      memoryMap,
      high ? entry + payload.length : MEGABYTE,
    );
    view.setUint32(HEADER.ramdiskImage, address, true);
    view.setUint32(HEADER.ramdiskSize, boot.ramdisk.length, true);
    writes.push({ gpa: address, bytes: boot.ramdisk });
  }
  return { state: { ...FLAT_PROTECTED_MODE, eip: entry, esi: BOOT_AREA.parameters }, writes };
}

/** As high as the kernel allows, on a page boundary, so that it stays out of the way of unpacking. */
function ramdiskAddress(
  name: string,
  size: number,
  highest: number,
  map: readonly E820Entry[],
  kernelEnd: number,
): number {
  const end = Math.min(extendedMemoryEnd(map), highest + 1);
  const address = Math.floor((end - size) / PAGE_SIZE) * PAGE_SIZE;
  if (address < kernelEnd) {
    const needed = Math.ceil((kernelEnd + size + PAGE_SIZE) / MEGABYTE) + 1;
    bad(name, `kernel and ramdisk (${size} bytes) do not fit in memory together. Give it more: -m ${needed}.`);
  }
  return address;
}

function fillScreen(view: DataView, cursor: LinuxBoot["cursor"]): void {
  view.setUint8(PARAMETERS.cursorColumn, cursor?.column ?? 0);
  view.setUint8(PARAMETERS.cursorRow, cursor?.row ?? 0);
  view.setUint16(PARAMETERS.videoPage, 0, true);
  view.setUint8(PARAMETERS.videoMode, 3);
  view.setUint8(PARAMETERS.columns, 80);
  view.setUint8(PARAMETERS.rows, 25);
  view.setUint8(PARAMETERS.isVga, 1);
  view.setUint16(PARAMETERS.fontPoints, 16, true);
}

function fillMemory(view: DataView, map: readonly E820Entry[]): void {
  const extended = Math.floor((extendedMemoryEnd(map) - MEGABYTE) / KILOBYTE);
  view.setUint16(PARAMETERS.extendedMemory, Math.min(extended, 0xffff), true);
  view.setUint32(PARAMETERS.alternateMemory, extended, true);
  const room = Math.floor((PAGE_SIZE - PARAMETERS.e820) / E820_ENTRY_SIZE);
  const entries = map.slice(0, room);
  view.setUint8(PARAMETERS.e820Count, entries.length);
  entries.forEach((entry, index) => {
    const at = PARAMETERS.e820 + index * E820_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(entry.base), true);
    view.setBigUint64(at + 8, BigInt(entry.size), true);
    view.setUint32(at + 16, entry.type, true);
  });
  // A map without RAM at 0 would leave the kernel without a real-mode stack: that is a builder's mistake.
  if (lowMemoryEnd(map) === 0) throw new VmxonError("internal", "the memory map has no RAM at address 0");
}

/** Drive tables as INT 41h and 46h lead to: cylinders, heads and sectors at offsets 0, 2 and 14 of 16 bytes each. */
function fillDrives(view: DataView, disks: readonly (Geometry | undefined)[]): void {
  disks.slice(0, 2).forEach((geometry, index) => {
    if (!geometry) return;
    const at = PARAMETERS.drives + index * 16;
    view.setUint16(at, geometry.cylinders, true);
    view.setUint8(at + 2, geometry.heads);
    view.setUint8(at + 14, geometry.sectors);
  });
}
