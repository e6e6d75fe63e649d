/** PCI configuration space as the firmware reaches it: mechanism #1, bus 0. PCI Local Bus Specification 2.1, 3.7.4.1. */
import type { AccessSize, PortIo } from "../../hypervisor/device.ts";

const PORT = { ADDRESS: 0xcf8, DATA: 0xcfc } as const;
const ENABLE = 0x8000_0000;
const FUNCTIONS_PER_DEVICE = 8;
const DEVICES = 32;
const NO_VENDOR = 0xffff;
const MULTIFUNCTION = 0x80;
const HEADER_TYPE = 0x0e;

/** Registers that firmware works on. */
export const CONFIG = {
  VENDOR: 0x00,
  DEVICE: 0x02,
  COMMAND: 0x04,
  CLASS: 0x08,
  BAR0: 0x10,
  BAR5: 0x24,
  ROM: 0x30,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
} as const;

function select(io: PortIo, place: number, register: number): number {
  io.out(PORT.ADDRESS, 4, (ENABLE | (place << 8) | (register & 0xfc)) >>> 0);
  return PORT.DATA + (register & 3);
}

/** Device times 8, plus function. */
export function placeOf({ device, function: number }: { readonly device: number; readonly function: number }): number {
  return device * FUNCTIONS_PER_DEVICE + number;
}

export function readConfig(io: PortIo, place: number, register: number, size: AccessSize): number {
  return io.in(select(io, place, register), size);
}

export function writeConfig(io: PortIo, place: number, register: number, size: AccessSize, value: number): void {
  io.out(select(io, place, register), size, value);
}

/** Places of the functions on bus 0, in order. */
export function pciFunctions(io: PortIo): number[] {
  const found: number[] = [];
  for (let device = 0; device < DEVICES; device++) {
    for (let number = 0; number < FUNCTIONS_PER_DEVICE; number++) {
      const place = device * FUNCTIONS_PER_DEVICE + number;
      const present = readConfig(io, place, CONFIG.VENDOR, 2) !== NO_VENDOR;
      if (present) found.push(place);
      if (number === 0 && (!present || (readConfig(io, place, HEADER_TYPE, 1) & MULTIFUNCTION) === 0)) break;
    }
  }
  return found;
}
