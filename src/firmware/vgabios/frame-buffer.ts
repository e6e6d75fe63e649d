/** Where PCI has put the adapter's memory: its base address registers, by configuration mechanism #1. */
import type { PortIo } from "../../hypervisor/device.ts";
import type { ServiceContext } from "../service.ts";

const CONFIG = { ADDRESS: 0xcf8, DATA: 0xcfc, ENABLE: 0x80000000 } as const;
/** Vendor and device of the adapter. */
const IDENTITY = 0x11111234;
/** Registers of configuration space. */
const REGISTER = { IDENTITY: 0x00, COMMAND: 0x04, FRAME_BUFFER: 0x10, REGISTERS: 0x18 } as const;
/** Addresses above all RAM and below the chipset's own. */
const DEFAULT = { FRAME_BUFFER: 0xe000_0000, REGISTERS: 0xfebf_0000 } as const;
const COMMAND_IO_MEMORY = 3;
const DEVICES = 32;
const DEVICE_SHIFT = 11;
const ADDRESS_BITS = 0xfffffff0;

function readConfig(io: PortIo, device: number, register: number): number {
  io.out(CONFIG.ADDRESS, 4, (CONFIG.ENABLE | (device << DEVICE_SHIFT) | register) >>> 0);
  return io.in(CONFIG.DATA, 4);
}

function writeConfig(io: PortIo, device: number, register: number, value: number): void {
  io.out(CONFIG.ADDRESS, 4, (CONFIG.ENABLE | (device << DEVICE_SHIFT) | register) >>> 0);
  io.out(CONFIG.DATA, 4, value);
}

/** Device number of the adapter on bus 0. */
function findAdapter(io: PortIo): number | undefined {
  for (let device = 0; device < DEVICES; device++)
    if (readConfig(io, device, REGISTER.IDENTITY) === IDENTITY) return device;
  return undefined;
}

/** Guest-physical address in a base address register of the adapter; 0 where there is none. */
function baseAddress({ io }: ServiceContext, register: number): number {
  const device = findAdapter(io);
  return device === undefined ? 0 : (readConfig(io, device, register) & ADDRESS_BITS) >>> 0;
}

/**
 * Give the adapter addresses where nobody has: firmware that starts this BIOS without setting up PCI leaves that to it.
 * Other adapters and machines without PCI are left alone.
 */
export function placeAdapter({ io }: ServiceContext): void {
  const device = findAdapter(io);
  if (device === undefined || readConfig(io, device, REGISTER.FRAME_BUFFER) & ADDRESS_BITS) return;
  writeConfig(io, device, REGISTER.FRAME_BUFFER, DEFAULT.FRAME_BUFFER);
  writeConfig(io, device, REGISTER.REGISTERS, DEFAULT.REGISTERS);
  writeConfig(io, device, REGISTER.COMMAND, COMMAND_IO_MEMORY);
}

/** Where the linear frame buffer begins; 0: nowhere. */
export function frameBufferAddress(context: ServiceContext): number {
  return baseAddress(context, REGISTER.FRAME_BUFFER);
}

/** Where the adapter's registers stand in memory, monitor data first; 0: nowhere. */
export function registersAddress(context: ServiceContext): number {
  return baseAddress(context, REGISTER.REGISTERS);
}
