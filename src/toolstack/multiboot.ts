/** Multiboot 1 kernels: ELF or with addresses in their header, with modules. Multiboot Specification 0.6.96. */
import { VmxonError } from "../common/errors.ts";
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

const HEADER_MAGIC = 0x1badb002;
const LOADER_MAGIC = 0x2badb002;
/** The header lies in the first 8 KB, on a 4-byte boundary. */
const SEARCH_LENGTH = 8192;

const HEADER_FLAGS = { pageAlignModules: 1 << 0, memoryInfo: 1 << 1, videoMode: 1 << 2, addresses: 1 << 16 } as const;
/** Requirements (bits 0–15) that this loader meets. */
const KNOWN_REQUIREMENTS = HEADER_FLAGS.pageAlignModules | HEADER_FLAGS.memoryInfo | HEADER_FLAGS.videoMode;

const HEADER = {
  flags: 4,
  checksum: 8,
  headerAddress: 12,
  loadAddress: 16,
  loadEndAddress: 20,
  bssEndAddress: 24,
  entryAddress: 28,
  size: 32,
} as const;

const INFO_FLAGS = {
  memory: 1 << 0,
  commandLine: 1 << 2,
  modules: 1 << 3,
  memoryMap: 1 << 6,
  loaderName: 1 << 9,
} as const;
const INFO = {
  flags: 0,
  memoryLower: 4,
  memoryUpper: 8,
  commandLine: 16,
  moduleCount: 20,
  modules: 24,
  mapLength: 44,
  map: 48,
  loaderName: 64,
  size: 120,
} as const;
const MODULE_ENTRY_SIZE = 16;
const MAP_ENTRY_SIZE = 24;

const ELF = {
  class: 4,
  machine: 18,
  entry: 24,
  programHeaders: 28,
  entrySize: 42,
  entries: 44,
  headerSize: 52,
} as const;
const ELF_CLASS_32 = 1;
const PT_LOAD = 1;
const PROGRAM = { type: 0, offset: 4, physicalAddress: 12, fileSize: 16, memorySize: 20, size: 32 } as const;

export interface MultibootModule {
  readonly bytes: Uint8Array;
  /** Name and arguments, as the kernel sees them. */
  readonly commandLine: string;
}

export interface MultibootBoot {
  /** Names the file in messages. */
  readonly name: string;
  readonly kernel: Uint8Array;
  readonly modules: readonly MultibootModule[];
  readonly commandLine: string;
  readonly memoryMap: readonly E820Entry[];
}

function bad(name: string, message: string): never {
  throw new VmxonError("kernel", `${name}: ${message}`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Offset and flags of the header whose checksum is right, if there is one in the first 8 KB. */
export function findMultibootHeader(head: Uint8Array): { offset: number; flags: number } | undefined {
  const view = viewOf(head);
  for (let offset = 0; offset + 12 <= Math.min(head.length, SEARCH_LENGTH); offset += 4) {
    if (view.getUint32(offset, true) !== HEADER_MAGIC) continue;
    const flags = view.getUint32(offset + HEADER.flags, true);
    if (((HEADER_MAGIC + flags + view.getUint32(offset + HEADER.checksum, true)) & 0xffffffff) === 0) {
      return { offset, flags };
    }
  }
  return undefined;
}

interface Segments {
  readonly entry: number;
  readonly segments: readonly { readonly gpa: number; readonly bytes: Uint8Array; readonly size: number }[];
}

function elfSegments(name: string, kernel: Uint8Array): Segments {
  const view = viewOf(kernel);
  if (kernel.length < ELF.headerSize || view.getUint32(0, false) !== 0x7f454c46) {
    bad(name, "has a multiboot header, but it is no ELF file and its header gives no addresses.");
  }
  if (view.getUint8(ELF.class) !== ELF_CLASS_32) bad(name, "is a 64-bit ELF kernel; this machine needs a 32-bit one.");
  const table = view.getUint32(ELF.programHeaders, true);
  const entrySize = view.getUint16(ELF.entrySize, true);
  const count = view.getUint16(ELF.entries, true);
  if (entrySize < PROGRAM.size || table + entrySize * count > kernel.length) {
    bad(name, "its program headers lie outside the file; was it copied completely?");
  }
  const segments = [];
  let entry = view.getUint32(ELF.entry, true);
  const virtualEntry = entry;
  for (let index = 0; index < count; index++) {
    const at = table + index * entrySize;
    if (view.getUint32(at + PROGRAM.type, true) !== PT_LOAD) continue;
    const offset = view.getUint32(at + PROGRAM.offset, true);
    const virtual = view.getUint32(at + 8, true);
    const gpa = view.getUint32(at + PROGRAM.physicalAddress, true);
    const fileSize = view.getUint32(at + PROGRAM.fileSize, true);
    const size = view.getUint32(at + PROGRAM.memorySize, true);
    if (offset + fileSize > kernel.length || fileSize > size) {
      bad(name, `segment ${index} lies outside the file; was it copied completely?`);
    }
    // Kernels linked high name a virtual entry point: it is run where its segment was loaded.
    if (virtual !== gpa && virtualEntry >= virtual && virtualEntry < virtual + size)
      entry = virtualEntry - virtual + gpa;
    segments.push({ gpa, bytes: kernel.subarray(offset, offset + fileSize), size });
  }
  if (segments.length === 0) bad(name, "has no loadable segment.");
  return { entry, segments };
}

function headerSegments(name: string, kernel: Uint8Array, offset: number): Segments {
  if (offset + HEADER.size > kernel.length) bad(name, "is cut off in its multiboot header.");
  const view = viewOf(kernel);
  const field = (at: number): number => view.getUint32(offset + at, true);
  const gpa = field(HEADER.loadAddress);
  const start = offset - (field(HEADER.headerAddress) - gpa);
  const length = field(HEADER.loadEndAddress) === 0 ? kernel.length - start : field(HEADER.loadEndAddress) - gpa;
  if (start < 0 || length <= 0 || start + length > kernel.length) {
    bad(name, "the addresses in its multiboot header do not fit the file; was it copied completely?");
  }
  const end = field(HEADER.bssEndAddress) === 0 ? gpa + length : field(HEADER.bssEndAddress);
  return {
    entry: field(HEADER.entryAddress),
    segments: [{ gpa, bytes: kernel.subarray(start, start + length), size: Math.max(length, end - gpa) }],
  };
}

/** Place a kernel and its modules. Throws VmxonError("kernel") that names the file when something does not fit. */
export function loadMultiboot(boot: MultibootBoot): LoadedKernel {
  const { name, kernel, memoryMap } = boot;
  const header = findMultibootHeader(kernel);
  if (!header) bad(name, "has no multiboot header in its first 8 KB.");
  const unknown = header.flags & 0xffff & ~KNOWN_REQUIREMENTS;
  if (unknown !== 0) bad(name, `requires multiboot features that are not there (flags 0x${unknown.toString(16)}).`);

  const { entry, segments } =
    (header.flags & HEADER_FLAGS.addresses) !== 0
      ? headerSegments(name, kernel, header.offset)
      : elfSegments(name, kernel);
  const writes: MemoryWrite[] = [];
  let end = 0;
  for (const segment of segments) {
    requireRam(name, "the kernel", segment.gpa, segment.gpa + segment.size, memoryMap);
    if (segment.gpa < BOOT_AREA.end && segment.gpa + segment.size > BOOT_AREA.parameters) {
      bad(name, `wants to be loaded over the boot information at 0x${BOOT_AREA.parameters.toString(16)}.`);
    }
    writes.push({ gpa: segment.gpa, bytes: segment.bytes });
    if (segment.size > segment.bytes.length) {
      writes.push({
        gpa: segment.gpa + segment.bytes.length,
        bytes: new Uint8Array(segment.size - segment.bytes.length),
      });
    }
    end = Math.max(end, segment.gpa + segment.size);
  }

  const placed = boot.modules.map((module) => {
    const start = Math.ceil(Math.max(end, 0x100000) / PAGE_SIZE) * PAGE_SIZE;
    requireRam(name, "a module", start, start + module.bytes.length, memoryMap);
    writes.push({ gpa: start, bytes: module.bytes });
    end = start + module.bytes.length;
    return { start, end, commandLine: module.commandLine };
  });
  writes.push(bootGdt(), information(name, boot.commandLine, placed, memoryMap));
  return {
    state: { ...FLAT_PROTECTED_MODE, eip: entry, eax: LOADER_MAGIC, ebx: BOOT_AREA.parameters },
    writes,
  };
}

/** The information structure with all that it points to, in one page. */
function information(
  name: string,
  commandLine: string,
  modules: readonly { start: number; end: number; commandLine: string }[],
  memoryMap: readonly E820Entry[],
): MemoryWrite {
  const page = new Uint8Array(BOOT_AREA.gdt - BOOT_AREA.parameters);
  const view = viewOf(page);
  let free: number = INFO.size;
  const take = (length: number): number => {
    const at = free;
    free = (free + length + 3) & ~3;
    if (free > page.length) bad(name, "its command line and modules' names are too long together.");
    return at;
  };
  const string = (text: string): number => {
    const bytes = zeroTerminated(text);
    const at = take(bytes.length);
    page.set(bytes, at);
    return BOOT_AREA.parameters + at;
  };

  const map = take(memoryMap.length * MAP_ENTRY_SIZE);
  memoryMap.forEach((entry, index) => {
    const at = map + index * MAP_ENTRY_SIZE;
    // The size field does not count itself.
    view.setUint32(at, MAP_ENTRY_SIZE - 4, true);
    view.setBigUint64(at + 4, BigInt(entry.base), true);
    view.setBigUint64(at + 12, BigInt(entry.size), true);
    view.setUint32(at + 20, entry.type, true);
  });
  const list = take(modules.length * MODULE_ENTRY_SIZE);
  modules.forEach((module, index) => {
    const at = list + index * MODULE_ENTRY_SIZE;
    view.setUint32(at, module.start, true);
    view.setUint32(at + 4, module.end, true);
    view.setUint32(at + 8, string(module.commandLine), true);
  });

  const present = INFO_FLAGS.memory | INFO_FLAGS.commandLine | INFO_FLAGS.memoryMap | INFO_FLAGS.loaderName;
  view.setUint32(INFO.flags, present | (modules.length > 0 ? INFO_FLAGS.modules : 0), true);
  view.setUint32(INFO.memoryLower, Math.floor(lowMemoryEnd(memoryMap) / 1024), true);
  view.setUint32(INFO.memoryUpper, Math.floor((extendedMemoryEnd(memoryMap) - 0x100000) / 1024), true);
  view.setUint32(INFO.commandLine, string(commandLine), true);
  view.setUint32(INFO.moduleCount, modules.length, true);
  view.setUint32(INFO.modules, BOOT_AREA.parameters + list, true);
  view.setUint32(INFO.mapLength, memoryMap.length * MAP_ENTRY_SIZE, true);
  view.setUint32(INFO.map, BOOT_AREA.parameters + map, true);
  view.setUint32(INFO.loaderName, string("vmxon"), true);
  return { gpa: BOOT_AREA.parameters, bytes: page };
}
