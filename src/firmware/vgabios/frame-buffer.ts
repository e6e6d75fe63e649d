/** Where PCI has put the adapter's memory: its base address registers, by configuration mechanism #1. */
import type { PortIo } from "../../hypervisor/device.ts";
import type { ServiceContext } from "../service.ts";

const CONFIG = { ADDRESS: 0xcf8, DATA: 0xcfc, ENABLE: 0x80000000 } as const;
/** Vendor and device of the adapter. */
const IDENTITY = 0x11111234;
/** Registers of configuration space. */
const REGISTER = { IDENTITY: 0x00, FRAME_BUFFER: 0x10, REGISTERS: 0x18 } as const;
const DEVICES = 32;
const DEVICE_SHIFT = 11;
const FIXED_FRAME_BUFFER = 0xe0000000;
const ADDRESS_BITS = 0xfffffff0;

function readConfig(io: PortIo, device: number, register: number): number {
  io.out(CONFIG.ADDRESS, 4, (CONFIG.ENABLE | (device << DEVICE_SHIFT) | register) >>> 0);
  return io.in(CONFIG.DATA, 4);
}

/** Guest-physical address in a base address register of the adapter; 0 where there is none. */
function baseAddress({ io }: ServiceContext, register: number): number {
  for (let device = 0; device < DEVICES; device++) {
    if (readConfig(io, device, REGISTER.IDENTITY) === IDENTITY)
      return (readConfig(io, device, register) & ADDRESS_BITS) >>> 0;
  }
  return 0;
}

/** Where the linear frame buffer begins; 0: nowhere. */
export function frameBufferAddress(context: ServiceContext): number {
  // Machines without PCI have it where the first ones with PCI put it.
  return baseAddress(context, REGISTER.FRAME_BUFFER) || FIXED_FRAME_BUFFER;
}

/** Where the adapter's registers stand in memory, monitor data first; 0: nowhere. */
export function registersAddress(context: ServiceContext): number {
  return baseAddress(context, REGISTER.REGISTERS);
}
