/** A bench for the VGA BIOS: plain memory, a real VGA behind a small port bus, registers, and the image in place. */
import { Vga } from "../../src/devices/vga/vga.ts";
import type { FirmwareCpu, SegmentName } from "../../src/firmware/cpu.ts";
import type { Service, ServiceContext } from "../../src/firmware/service.ts";
import { vgaBios } from "../../src/firmware/vgabios/rom.ts";
import type { AccessSize, GuestMemory, PortIo } from "../../src/hypervisor/device.ts";
import { videoMemory } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const MEMORY_SIZE = 0x110000;
const PCI_ADDRESS = 0xcf8;
const PCI_DATA = 0xcfc;
/** Where PCI has put the adapter's registers. */
const REGISTERS = 0xfebf0000;
/** Configuration space of the adapter, by what is written to CF8h: identity and base addresses. */
const PCI_REGISTERS: ReadonlyMap<number, number> = new Map([
  [0x80001000, 0x11111234],
  [0x80001010, 0xe0000008],
  [0x80001018, REGISTERS],
]);

class BenchMemory implements GuestMemory {
  readonly size = MEMORY_SIZE;
  readonly bytes = new Uint8Array(MEMORY_SIZE);
  readonly #vga: Vga;
  constructor(vga: Vga) {
    this.#vga = vga;
  }
  read8(gpa: number): number {
    if (gpa >= 0xa0000 && gpa < 0xc0000) return this.#vga.memory.read(gpa - 0xa0000, 1);
    if (gpa >= REGISTERS) return this.#vga.registers.read(gpa - REGISTERS, 1);
    return this.bytes[gpa] ?? 0xff;
  }
  write8(gpa: number, value: number): void {
    if (gpa >= 0xa0000 && gpa < 0xc0000) this.#vga.memory.write(gpa - 0xa0000, 1, value & 0xff);
    else if (gpa < 0xc0000) this.bytes[gpa] = value;
  }
  answers(gpa: number, length: number): boolean {
    return gpa + length <= MEMORY_SIZE;
  }
  read16(gpa: number): number {
    return this.read8(gpa) | (this.read8(gpa + 1) << 8);
  }
  read32(gpa: number): number {
    return (this.read16(gpa) | (this.read16(gpa + 2) << 16)) >>> 0;
  }
  write16(gpa: number, value: number): void {
    if (gpa >= 0xa0000 && gpa < 0xbffff) this.#vga.memory.write(gpa - 0xa0000, 2, value & 0xffff);
    else {
      this.write8(gpa, value & 0xff);
      this.write8(gpa + 1, (value >> 8) & 0xff);
    }
  }
  write32(gpa: number, value: number): void {
    this.write16(gpa, value & 0xffff);
    this.write16(gpa + 2, value >>> 16);
  }
  read(gpa: number, target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) target[i] = this.read8(gpa + i);
  }
  write(gpa: number, source: Uint8Array): void {
    for (let i = 0; i < source.length; i++) this.write8(gpa + i, source[i]!);
  }
}

class BenchCpu implements FirmwareCpu {
  eax = 0;
  ecx = 0;
  edx = 0;
  ebx = 0;
  esp = 0;
  ebp = 0;
  esi = 0;
  edi = 0;
  eip = 0;
  eflags = 2;
  a20 = true;
  readonly #selectors = new Map<SegmentName, number>();
  selector(segment: SegmentName): number {
    return this.#selectors.get(segment) ?? 0;
  }
  loadSelector(segment: SegmentName, selector: number): void {
    this.#selectors.set(segment, selector);
  }
  base(segment: SegmentName): number {
    return this.selector(segment) << 4;
  }
}

/** Values for a call; AX, BX and so on are 16 bits and keep the upper halves. */
export interface Registers {
  ax?: number;
  bx?: number;
  cx?: number;
  dx?: number;
  bp?: number;
  di?: number;
  es?: number;
}

export function createBench() {
  const clock = new FakeClock();
  const vga = new Vga({ clock, memory: videoMemory(4 << 20) });
  const memory = new BenchMemory(vga);
  const cpu = new BenchCpu();
  let pciAddress = 0;
  /** Ports outside the VGA that were written: [port, value]. */
  const outside: [number, number][] = [];
  const io: PortIo = {
    in(port: number, size: AccessSize) {
      if (port >= 0x3b0 && port < 0x3e0) return vga.ports.read(port - 0x3b0, size);
      if (port === PCI_DATA) return PCI_REGISTERS.get(pciAddress) ?? 0xffff_ffff;
      return port >= 0x1ce && port < 0x1d2 ? vga.dispiPorts.read(port - 0x1ce, size) : 0;
    },
    out(port: number, size: AccessSize, value: number) {
      if (port >= 0x3b0 && port < 0x3e0) vga.ports.write(port - 0x3b0, size, value);
      else if (port === PCI_ADDRESS) pciAddress = value;
      else if (port >= 0x1ce && port < 0x1d2) vga.dispiPorts.write(port - 0x1ce, size, value);
      else outside.push([port, value]);
    },
  };
  const rom = vgaBios();
  memory.bytes.set(rom.image, rom.base);
  const context: ServiceContext = { cpu, memory, io, clock };
  const service = (offset: number) => rom.services.get(offset)!;
  const int10Vector = () => memory.read16(0x40) + (memory.read16(0x42) << 4) - rom.base;

  service(5)(context);

  /** Call INT 10h the way a guest would, through the vector. */
  const int10 = (registers: Registers): ReturnType<Service> => {
    cpu.eax = (0x1234_0000 | (registers.ax ?? 0)) >>> 0;
    cpu.ebx = registers.bx ?? 0;
    cpu.ecx = registers.cx ?? 0;
    cpu.edx = registers.dx ?? 0;
    cpu.ebp = registers.bp ?? 0;
    cpu.edi = registers.di ?? 0;
    cpu.loadSelector("es", registers.es ?? 0);
    return service(int10Vector() + 2)(context);
  };
  const print = (text: string): void => {
    for (const letter of text) int10({ ax: 0x0e00 | letter.charCodeAt(0), bx: 0x0007 });
  };
  /** Rows of the text screen with trailing blanks removed. */
  const rows = (): string[] => {
    const screen = vga.text();
    if (!screen) return [];
    return Array.from({ length: screen.rows }, (_, row) =>
      String.fromCharCode(
        ...screen.cells.subarray(row * screen.columns, (row + 1) * screen.columns).map((cell) => cell & 0xff),
      ).trimEnd(),
    );
  };
  const register = (port: number, index: number): number => {
    io.out(port, 1, index);
    return io.in(port + 1, 1);
  };
  return { clock, vga, memory, cpu, io, rom, context, int10, print, rows, register, outside };
}
