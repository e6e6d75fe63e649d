/** INT 15h's memory functions: size in its four historical forms, the memory map, block moves and address line 20. */
import type { E820Entry } from "../../hypervisor/initial-state.ts";
import type { Call } from "./call.ts";
import { PORT } from "./layout.ts";

const MB = 0x100000;
const RAM = 1;
const SMAP = 0x534d4150;
const E820_BYTES = 20;
const HIGH = 2 ** 32;
/** AH=88h answers at most this: programs that ask it mistake larger numbers for negative ones or for 0. */
const MAX_88_KB = 0xfc00;
const KB_BELOW_16_MB = 0x3c00;
const A20_FAST = 0x02;
/** Block move: offsets of the source and target descriptors in the caller's table. */
const DESCRIPTOR = { SOURCE: 0x10, TARGET: 0x18 } as const;
const MAX_MOVE_WORDS = 0x8000;

/** Bytes of RAM from 1 MB up to the first gap. */
export function extendedBytes(memoryMap: readonly E820Entry[]): number {
  let end = MB;
  for (const { base, size, type } of memoryMap) if (type === RAM && base === end) end += size;
  return end - MB;
}

/** Bytes of RAM below 640 KB that the BIOS leaves to programs. */
export function baseBytes(memoryMap: readonly E820Entry[]): number {
  return memoryMap.find(({ base, type }) => base === 0 && type === RAM)?.size ?? 0;
}

/** AX=E820h: one entry of the map to ES:DI. EBX, the continuation value, is the number of the entry. */
export function memoryMapEntry(call: Call, memoryMap: readonly E820Entry[]): void {
  const { cpu, memory } = call.context;
  const entry = memoryMap[cpu.ebx];
  if (cpu.edx !== SMAP || cpu.ecx < E820_BYTES || entry === undefined) {
    call.ah = 0x86;
    call.carry = true;
    return;
  }
  const at = call.address("es", call.di);
  memory.write32(at, entry.base >>> 0);
  memory.write32(at + 4, Math.floor(entry.base / HIGH));
  memory.write32(at + 8, entry.size >>> 0);
  memory.write32(at + 12, Math.floor(entry.size / HIGH));
  memory.write32(at + 16, entry.type);
  cpu.eax = SMAP;
  cpu.ecx = E820_BYTES;
  cpu.ebx = cpu.ebx + 1 < memoryMap.length ? cpu.ebx + 1 : 0;
  call.carry = false;
}

/** AX=E801h and E881h: KB between 1 and 16 MB, and 64 KB blocks above. */
export function memorySizes(call: Call, memoryMap: readonly E820Entry[], wide: boolean): void {
  const { cpu } = call.context;
  const kilobytes = Math.floor(extendedBytes(memoryMap) / 1024);
  const below = Math.min(kilobytes, KB_BELOW_16_MB);
  const above = Math.max(0, Math.floor((kilobytes - KB_BELOW_16_MB) / 64));
  if (wide) {
    cpu.eax = cpu.ecx = below;
    cpu.ebx = cpu.edx = above;
  } else {
    call.ax = call.cx = below;
    call.bx = call.dx = Math.min(above, 0xffff);
  }
  call.carry = false;
}

/** AH=88h: KB above 1 MB. */
export function extendedSize(call: Call, memoryMap: readonly E820Entry[]): void {
  call.ax = Math.min(Math.floor(extendedBytes(memoryMap) / 1024), MAX_88_KB);
  call.carry = false;
}

/** AH=87h: move CX words between the segments that the descriptor table at ES:SI describes. */
export function blockMove(call: Call): void {
  const { memory } = call.context;
  const table = call.address("es", call.si);
  const base = (descriptor: number): number => {
    const at = table + descriptor;
    return ((memory.read32(at + 2) & 0xffffff) | (memory.read8(at + 7) << 24)) >>> 0;
  };
  if (call.cx > MAX_MOVE_WORDS) {
    // The segments of the table reach 64 KB.
    call.ah = 0x02;
    call.carry = true;
    return;
  }
  const buffer = new Uint8Array(call.cx * 2);
  memory.read(base(DESCRIPTOR.SOURCE), buffer);
  memory.write(base(DESCRIPTOR.TARGET), buffer);
  call.ah = 0;
  call.zero = true;
  call.carry = false;
}

function setA20(call: Call, on: boolean): void {
  const { io, cpu } = call.context;
  const value = io.in(PORT.SYSTEM_CONTROL_A, 1) & ~1;
  io.out(PORT.SYSTEM_CONTROL_A, 1, on ? value | A20_FAST : value & ~A20_FAST);
  cpu.a20 = on;
}

/** Let address line 20 pass, as programs find it on every PC of the last decades. */
export function addressLine20On(call: Call): void {
  setA20(call, true);
}

/** AX=2400h–2403h: address line 20 off, on, state, and how it can be switched. */
export function addressLine20(call: Call): void {
  call.carry = false;
  switch (call.al) {
    case 0x00:
    case 0x01:
      setA20(call, call.al === 1);
      call.ah = 0;
      return;
    case 0x02:
      call.ax = call.context.cpu.a20 ? 1 : 0;
      call.cx = 0;
      return;
    case 0x03:
      call.ah = 0;
      // Keyboard controller and port 92h.
      call.bx = 3;
      return;
    default:
      call.ah = 0x86;
      call.carry = true;
  }
}
