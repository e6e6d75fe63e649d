/**
 * What POST does to the chipset and to PCI functions: shadow RAM, interrupt routes, addresses of base registers, power
 * management's ports. Intel 290549 (82441FX), 290550 (PIIX3), 290562 (PIIX4).
 */
import {
  LOCAL_APIC,
  PCI_PLACE,
  PIRQ_COUNT,
  PIRQ_IRQS,
  PM_BASE,
  pirqOf,
  SCI_IRQ,
  SMBUS_BASE,
} from "../../devices/pc-layout.ts";
import type { GuestMemory, PortIo } from "../../hypervisor/device.ts";
import { type Board, PCI_WINDOW } from "../board.ts";
import { CONFIG, pciFunctions, placeOf, readConfig, writeConfig } from "./pci.ts";

/** 82441FX: attributes of F0000h in PAM0's high nibble, of 16 KB pieces from C0000h in PAM1–6's nibbles. */
const PAM = { REG: 0x59, READ: 0x1, WRITE: 0x2 } as const;
const PIECE = 0x4000;
const PIECES = { START: 0xc0000, END: 0xf0000 } as const;
const HOST_BRIDGE = 0x12378086;

const PIRQ_ROUTE = 0x60;
const ELCR = 0x4d0;
/** PIIX4's power management function. */
const PM = {
  BASE: 0x40,
  MISC: 0x80,
  ENABLE: 1,
  SMBUS_BASE: 0x90,
  SMBUS_CONFIG: 0xd2,
  SMBUS_ENABLE_IRQ9: 0x09,
} as const;
const IO_SPACE = 1;

const COMMAND = { IO: 1 << 0, MEMORY: 1 << 1, MASTER: 1 << 2 } as const;
const BAR = { IO: 1 << 0, IO_MASK: ~3, TYPE_MASK: 6, TYPE_64: 4, MEMORY_MASK: ~15 } as const;
const SMALLEST_MEMORY = 0x1000;
const ROM_MASK = ~0x7ff;

/** Local APIC registers, and what they are set to for the 8259s' interrupts and NMI (virtual wire). */
const APIC = { SPURIOUS: 0xf0, LINT0: 0x350, LINT1: 0x360, ON: 0x1ff, EXTINT: 0x8700, NMI: 0x400 } as const;

/** What firmware's start-up works on. */
export interface Hardware {
  readonly io: PortIo;
  readonly memory: GuestMemory;
}

/** Whether there is the chipset that this firmware knows. */
export function hasChipset(io: PortIo): boolean {
  return readConfig(io, placeOf(PCI_PLACE.HOST), CONFIG.VENDOR, 4) === HOST_BRIDGE;
}

/** How 64 KB from F0000h are read and written: ROM, DRAM that takes writes, or DRAM that does not. */
export function shadowSystemRom(io: PortIo, how: "writable" | "locked"): void {
  const attributes = how === "writable" ? PAM.READ | PAM.WRITE : PAM.READ;
  const place = placeOf(PCI_PLACE.HOST);
  const low = readConfig(io, place, PAM.REG, 1) & 0x0f;
  writeConfig(io, place, PAM.REG, 1, low | (attributes << 4));
}

function setPiece(io: PortIo, base: number, attributes: number): void {
  const number = (base - PIECES.START) / PIECE;
  const register = PAM.REG + 1 + (number >> 1);
  const shift = (number & 1) * 4;
  const place = placeOf(PCI_PLACE.HOST);
  const others = readConfig(io, place, register, 1) & (0xf0 >> shift);
  writeConfig(io, place, register, 1, others | (attributes << shift));
}

function eachPiece(start: number, bytes: number, use: (base: number) => void): void {
  const end = Math.min(start + bytes, PIECES.END);
  for (let base = start - (start % PIECE); base < end; base += PIECE) if (base >= PIECES.START) use(base);
}

/** Copy the ROM around `bytes` from `start` into DRAM that can be written: option ROMs expect that while they start. */
export function shadowOptionRom({ io, memory }: Hardware, start: number, bytes: number): void {
  if (!hasChipset(io)) return;
  const copy = new Uint8Array(PIECE);
  eachPiece(start, bytes, (base) => {
    memory.read(base, copy);
    setPiece(io, base, PAM.READ | PAM.WRITE);
    memory.write(base, copy);
  });
}

/** An option ROM has started: it is memory that cannot be written. */
export function lockOptionRom(io: PortIo, start: number, bytes: number): void {
  if (hasChipset(io)) eachPiece(start, bytes, (base) => setPiece(io, base, PAM.READ));
}

/** Which interrupts are levels: those of PCI and ACPI. */
function routeInterrupts(io: PortIo): void {
  const isa = placeOf(PCI_PLACE.ISA);
  let levels = 1 << SCI_IRQ;
  for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) {
    const irq = PIRQ_IRQS[pirq]!;
    writeConfig(io, isa, PIRQ_ROUTE + pirq, 1, irq);
    levels |= 1 << irq;
  }
  io.out(ELCR, 1, levels & 0xff);
  io.out(ELCR + 1, 1, levels >> 8);
}

interface Request {
  readonly place: number;
  readonly register: number;
  readonly size: number;
  readonly ports: boolean;
}

/** What base address registers of a function ask for. */
function requests(io: PortIo, place: number): Request[] {
  const found: Request[] = [];
  for (let register: number = CONFIG.BAR0; register <= CONFIG.BAR5; register += 4) {
    const before = readConfig(io, place, register, 4);
    writeConfig(io, place, register, 4, 0xffff_ffff);
    const mask = readConfig(io, place, register, 4);
    writeConfig(io, place, register, 4, before);
    if (mask === 0) continue;
    const ports = (mask & BAR.IO) !== 0;
    const size = ports ? -(mask & BAR.IO_MASK) & 0xffff : -(mask & BAR.MEMORY_MASK) >>> 0;
    if (size !== 0) found.push({ place, register, size, ports });
    if (!ports && (mask & BAR.TYPE_MASK) === BAR.TYPE_64) {
      writeConfig(io, place, register + 4, 4, 0);
      register += 4;
    }
  }
  return found;
}

/** Bytes of a function's expansion ROM window, or 0. */
function romSize(io: PortIo, place: number): number {
  writeConfig(io, place, CONFIG.ROM, 4, ROM_MASK >>> 0);
  const mask = readConfig(io, place, CONFIG.ROM, 4);
  writeConfig(io, place, CONFIG.ROM, 4, 0);
  return -(mask & ROM_MASK) >>> 0;
}

/** Give every window an address, the largest first, so that each is aligned to its size; what finds no room stays shut. */
function placeWindows(io: PortIo): void {
  const functions = pciFunctions(io);
  const wanted = functions.flatMap((place) => requests(io, place));
  for (const place of functions) {
    const size = romSize(io, place);
    if (size !== 0) wanted.push({ place, register: CONFIG.ROM, size, ports: false });
  }
  const open = new Map<number, number>();
  let ports: number = PCI_WINDOW.PORTS.first;
  let memory: number = PCI_WINDOW.MEMORY.first;
  for (const { place, register, size, ports: isPorts } of wanted.toSorted((a, b) => b.size - a.size)) {
    const room = isPorts ? size : Math.max(size, SMALLEST_MEMORY);
    const base = Math.ceil((isPorts ? ports : memory) / room) * room;
    if (base + room - 1 > (isPorts ? PCI_WINDOW.PORTS.last : PCI_WINDOW.MEMORY.last)) continue;
    if (isPorts) ports = base + room;
    else memory = base + room;
    writeConfig(io, place, register, 4, isPorts ? (base | IO_SPACE) >>> 0 : base);
    open.set(place, (open.get(place) ?? 0) | (isPorts ? COMMAND.IO : COMMAND.MEMORY));
  }
  for (const place of functions) {
    const command = readConfig(io, place, CONFIG.COMMAND, 2);
    const master = place === placeOf(PCI_PLACE.IDE) ? COMMAND.MASTER : 0;
    writeConfig(io, place, CONFIG.COMMAND, 2, command | (open.get(place) ?? 0) | master);
    const pin = readConfig(io, place, CONFIG.INTERRUPT_PIN, 1);
    const fixed = place === placeOf(PCI_PLACE.PM);
    if (pin !== 0)
      writeConfig(io, place, CONFIG.INTERRUPT_LINE, 1, fixed ? SCI_IRQ : PIRQ_IRQS[pirqOf(place >> 3, pin)]!);
  }
}

function startPowerManagement(io: PortIo): void {
  const place = placeOf(PCI_PLACE.PM);
  writeConfig(io, place, PM.BASE, 4, PM_BASE | IO_SPACE);
  writeConfig(io, place, PM.MISC, 1, PM.ENABLE);
  writeConfig(io, place, PM.SMBUS_BASE, 4, SMBUS_BASE | IO_SPACE);
  writeConfig(io, place, PM.SMBUS_CONFIG, 1, PM.SMBUS_ENABLE_IRQ9);
  writeConfig(io, place, CONFIG.COMMAND, 2, readConfig(io, place, CONFIG.COMMAND, 2) | COMMAND.IO);
}

/** Bring chipset and PCI functions to the state in which systems find them. */
export function setUpPci({ io, memory }: Hardware, board: Pick<Board, "acpi" | "apic">): void {
  if (!hasChipset(io)) return;
  routeInterrupts(io);
  placeWindows(io);
  if (board.acpi) startPowerManagement(io);
  if (!board.apic) return;
  memory.write32(LOCAL_APIC.base + APIC.SPURIOUS, APIC.ON);
  memory.write32(LOCAL_APIC.base + APIC.LINT0, APIC.EXTINT);
  memory.write32(LOCAL_APIC.base + APIC.LINT1, APIC.NMI);
}
