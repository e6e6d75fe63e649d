/** Accesses that generated code leaves to TypeScript: devices, ROM, data breakpoints, and stores into decoded code. */
import { type Cpu, leaveFault } from "./cpu.ts";
import { READ_SLOT, WRITE_SLOT } from "./memory-map.ts";
import { FILL } from "./paging.ts";

/** Largest access that devices see at once, in bytes. */
const WIDEST = 4;

/** Address of a slot with the 1 to 16 bytes at `linear`, or FILL.fault; `write`: write permission is needed. */
export function readElsewhere(cpu: Cpu, linear: number, bytes: number, write: boolean): number {
  try {
    if (bytes > WIDEST) cpu.probeRead(linear, bytes);
    for (let i = 0; i < bytes; i += WIDEST) {
      const n = Math.min(WIDEST, bytes - i);
      const value = write ? cpu.readForWrite((linear + i) | 0, n) : cpu.read((linear + i) | 0, n);
      cpu.view.setUint32(READ_SLOT + i, value, true);
    }
    return READ_SLOT;
  } catch (fault) {
    leaveFault(cpu, fault);
    return FILL.fault;
  }
}

/** Store the 1 to 16 bytes of the slot at `linear`; 0, or 1 for a fault (WRITE_STATUS). */
export function writeElsewhere(cpu: Cpu, linear: number, bytes: number): number {
  try {
    if (bytes > WIDEST) cpu.probeWrite(linear, bytes);
    for (let i = 0; i < bytes; i += WIDEST)
      cpu.write((linear + i) | 0, Math.min(WIDEST, bytes - i), cpu.view.getInt32(WRITE_SLOT + i, true));
    return 0;
  } catch (fault) {
    leaveFault(cpu, fault);
    return 1;
  }
}
