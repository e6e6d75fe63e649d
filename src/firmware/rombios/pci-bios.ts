/**
 * PCI BIOS: INT 1Ah/B1h in real mode, and the same behind a far call in protected mode, which the BIOS32 service directory
 * leads to. PCI BIOS Specification 2.1; Standard BIOS 32-bit Service Directory Proposal 0.4.
 */
import { PCI_PLACE, PIRQ_COUNT, PIRQ_POSSIBLE, pirqOf } from "../../devices/pc-layout.ts";
import type { AccessSize } from "../../hypervisor/device.ts";
import type { Service } from "../service.ts";
import { PIRQ_MASK, routingSlots } from "../tables/pir.ts";
import { Call, type Label } from "./call.ts";
import { ROM } from "./layout.ts";
import { CONFIG, pciFunctions, placeOf, readConfig, writeConfig } from "./pci.ts";
import { hasChipset } from "./pci-setup.ts";

const FUNCTION = {
  PRESENT: 0x01,
  FIND_DEVICE: 0x02,
  FIND_CLASS: 0x03,
  READ: 0x08,
  WRITE: 0x0b,
  GET_ROUTING: 0x0e,
  SET_INTERRUPT: 0x0f,
} as const;
const STATUS = {
  SUCCESSFUL: 0x00,
  NOT_SUPPORTED: 0x81,
  BAD_VENDOR: 0x83,
  DEVICE_NOT_FOUND: 0x86,
  BAD_REGISTER: 0x87,
  SET_FAILED: 0x88,
  BUFFER_TOO_SMALL: 0x89,
} as const;
/** "PCI " as AH=01h gives it, mechanism #1, version 2.1. */
const PRESENT = { SIGNATURE: 0x20494350, MECHANISM_1: 0x01, VERSION: 0x0210 } as const;
const ANY_VENDOR = 0xffff;
const CONFIG_BYTES = 256;
const PIRQ_ROUTE = 0x60;
/** CL of AH=0Fh: INTA# to INTD#. */
const FIRST_PIN = 0x0a;
/** Service identifier "$PCI", and AL of the directory. */
const SERVICE_PCI = 0x49435024;
const DIRECTORY = { FOUND: 0x00, NO_SERVICE: 0x80, NO_FUNCTION: 0x81 } as const;

function finish(call: Call, status: number): void {
  call.ah = status;
  call.carry = status !== STATUS.SUCCESSFUL;
}

/** The function that BX names, if it is there. */
function addressed(call: Call): number | undefined {
  const place = call.bl;
  const there = call.bh === 0 && (readConfig(call.context.io, place, CONFIG.VENDOR, 2) & 0xffff) !== ANY_VENDOR;
  return there ? place : undefined;
}

function find(call: Call, matches: (place: number) => boolean): void {
  const place = pciFunctions(call.context.io).filter(matches)[call.si];
  if (place !== undefined) call.bx = place;
  finish(call, place === undefined ? STATUS.DEVICE_NOT_FOUND : STATUS.SUCCESSFUL);
}

/** AH=08h–0Dh: bytes, words, double words. */
function access(call: Call, fn: number): void {
  const { io, cpu } = call.context;
  const write = fn >= FUNCTION.WRITE;
  const size = (1 << (fn - (write ? FUNCTION.WRITE : FUNCTION.READ))) as AccessSize;
  const register = call.di;
  if (register >= CONFIG_BYTES || register % size !== 0) {
    finish(call, STATUS.BAD_REGISTER);
    return;
  }
  // A bus without the device answers reads with ones and swallows writes.
  const mask = size === 4 ? 0xffff_ffff : (1 << (8 * size)) - 1;
  if (write) {
    if (call.bh === 0) writeConfig(io, call.bl, register, size, (cpu.ecx & mask) >>> 0);
  } else {
    const value = call.bh === 0 ? readConfig(io, call.bl, register, size) : mask;
    cpu.ecx = ((cpu.ecx & ~mask) | value) >>> 0;
  }
  finish(call, STATUS.SUCCESSFUL);
}

/** AH=0Eh: the slots of $PIR to the buffer that the structure at ES:DI describes; real mode only. */
function getRouting(call: Call): void {
  const { memory } = call.context;
  const at = call.address("es", call.di);
  const slots = routingSlots();
  const room = memory.read16(at);
  memory.write16(at, slots.length);
  if (room < slots.length) {
    finish(call, STATUS.BUFFER_TOO_SMALL);
    return;
  }
  memory.write(call.far(memory.read16(at + 4), memory.read16(at + 2)), slots);
  call.bx = PIRQ_MASK;
  finish(call, STATUS.SUCCESSFUL);
}

/** AH=0Fh: lead the pin in CL of the function in BX to the interrupt in CH. */
function setInterrupt(call: Call): void {
  const place = addressed(call);
  const pin = call.cl - FIRST_PIN;
  const irq = call.ch;
  if (place === undefined || pin < 0 || pin >= PIRQ_COUNT || !PIRQ_POSSIBLE.some((possible) => possible === irq)) {
    finish(call, STATUS.SET_FAILED);
    return;
  }
  const route = PIRQ_ROUTE + pirqOf(place >> 3, pin + 1);
  writeConfig(call.context.io, placeOf(PCI_PLACE.ISA), route, 1, irq);
  finish(call, STATUS.SUCCESSFUL);
}

/** The PCI BIOS function in AL. */
export function pciBios(call: Call): void {
  const { io, cpu } = call.context;
  const fn = call.al & 0x7f;
  if (!hasChipset(io)) {
    finish(call, STATUS.NOT_SUPPORTED);
    return;
  }
  switch (fn) {
    case FUNCTION.PRESENT:
      call.ax = PRESENT.MECHANISM_1;
      call.bx = PRESENT.VERSION;
      call.cl = 0;
      cpu.edx = PRESENT.SIGNATURE;
      call.carry = false;
      return;
    case FUNCTION.FIND_DEVICE: {
      const vendor = call.dx;
      const wanted = call.cx * 0x10000 + vendor;
      if (vendor === ANY_VENDOR) finish(call, STATUS.BAD_VENDOR);
      else find(call, (place) => readConfig(io, place, CONFIG.VENDOR, 4) === wanted);
      return;
    }
    case FUNCTION.FIND_CLASS: {
      const wanted = cpu.ecx & 0xffffff;
      find(call, (place) => readConfig(io, place, CONFIG.CLASS, 4) >>> 8 === wanted);
      return;
    }
    case 0x08:
    case 0x09:
    case 0x0a:
    case 0x0b:
    case 0x0c:
    case 0x0d:
      access(call, fn);
      return;
    case FUNCTION.GET_ROUTING:
      if (call.realMode) getRouting(call);
      else finish(call, STATUS.NOT_SUPPORTED);
      return;
    case FUNCTION.SET_INTERRUPT:
      setInterrupt(call);
      return;
    default:
      finish(call, STATUS.NOT_SUPPORTED);
  }
}

/** Services behind the protected-mode entries. */
export function pciBiosServices(label: Label): Readonly<Record<string, Service>> {
  return {
    pci_protected: (context) => pciBios(new Call(context, "far")),
    bios32: (context) => {
      const { cpu } = context;
      const call = new Call(context, "far");
      if (call.bl !== 0) call.al = DIRECTORY.NO_FUNCTION;
      else if (cpu.eax !== SERVICE_PCI || !hasChipset(context.io)) call.al = DIRECTORY.NO_SERVICE;
      else {
        call.al = DIRECTORY.FOUND;
        cpu.ebx = ROM.BASE;
        cpu.ecx = ROM.SIZE;
        cpu.edx = label("pci_protected");
      }
    },
  };
}
