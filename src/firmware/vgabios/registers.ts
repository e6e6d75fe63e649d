/**
 * The 16-bit and 8-bit names of a trapped processor's registers. Setting one leaves the rest of its register alone.
 */
import type { FirmwareCpu } from "../cpu.ts";

type Register = "eax" | "ebx" | "ecx" | "edx" | "esi" | "edi" | "ebp";

const low = (value: number): number => value & 0xff;
const high = (value: number): number => (value >>> 8) & 0xff;
const word = (value: number): number => value & 0xffff;

/** AL. */
export const al = (cpu: FirmwareCpu): number => low(cpu.eax);
/** AH. */
export const ah = (cpu: FirmwareCpu): number => high(cpu.eax);
/** BL. */
export const bl = (cpu: FirmwareCpu): number => low(cpu.ebx);
/** BH. */
export const bh = (cpu: FirmwareCpu): number => high(cpu.ebx);
/** BX. */
export const bx = (cpu: FirmwareCpu): number => word(cpu.ebx);
/** CL. */
export const cl = (cpu: FirmwareCpu): number => low(cpu.ecx);
/** CH. */
export const ch = (cpu: FirmwareCpu): number => high(cpu.ecx);
/** CX. */
export const cx = (cpu: FirmwareCpu): number => word(cpu.ecx);
/** DL. */
export const dl = (cpu: FirmwareCpu): number => low(cpu.edx);
/** DH. */
export const dh = (cpu: FirmwareCpu): number => high(cpu.edx);
/** DX. */
export const dx = (cpu: FirmwareCpu): number => word(cpu.edx);

/** Set bits 7–0 of a register. */
export function setLow(cpu: FirmwareCpu, register: Register, value: number): void {
  cpu[register] = ((cpu[register] & ~0xff) | low(value)) >>> 0;
}

/** Set bits 15–8 of a register. */
export function setHigh(cpu: FirmwareCpu, register: Register, value: number): void {
  cpu[register] = ((cpu[register] & ~0xff00) | (low(value) << 8)) >>> 0;
}

/** Set bits 15–0 of a register. */
export function setWord(cpu: FirmwareCpu, register: Register, value: number): void {
  cpu[register] = ((cpu[register] & ~0xffff) | word(value)) >>> 0;
}

/** Linear address ES:offset, the offset cut to 16 bits. */
export function esAddress(cpu: FirmwareCpu, offset: number): number {
  return cpu.base("es") + word(offset);
}
