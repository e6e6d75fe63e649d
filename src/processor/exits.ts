/** VM exits: basic reasons, control bits, and how an instruction records one. SDM 3C chapters 25, 26 and appendix C. */
import { type Cpu, WORD } from "./cpu.ts";
import { RECORD, STATUS } from "./interpreter/record.ts";

/** Basic exit reasons (SDM 3D appendix C). */
export const EXIT = {
  exceptionOrNmi: 0, externalInterrupt: 1, tripleFault: 2, initSignal: 3, interruptWindow: 7, nmiWindow: 8,
  taskSwitch: 9, cpuid: 10, hlt: 12, invd: 13, invlpg: 14, rdpmc: 15, rdtsc: 16, vmcall: 18, crAccess: 28,
  drAccess: 29, ioInstruction: 30, rdmsr: 31, wrmsr: 32, invalidGuestState: 33, msrLoading: 34, mwait: 36,
  monitor: 39, pause: 40, eptViolation: 48, preemptionTimer: 52, wbinvd: 54,
} as const; // biome-ignore format: a table

/** Bit 31 of the exit reason: VM entry failed. */
export const ENTRY_FAILURE = 0x8000_0000 | 0;

/** Pin-based controls (SDM 3C 25.6.1). */
export const PIN = { externalInterrupt: 1 << 0, nmi: 1 << 3, preemptionTimer: 1 << 6 } as const;

/** Primary processor-based controls (SDM 3C 25.6.2). */
export const PROC = {
  interruptWindow: 1 << 2, tscOffsetting: 1 << 3, hlt: 1 << 7, invlpg: 1 << 9, mwait: 1 << 10, rdpmc: 1 << 11,
  rdtsc: 1 << 12, cr3Load: 1 << 15, cr3Store: 1 << 16, movDr: 1 << 23, unconditionalIo: 1 << 24, ioBitmaps: 1 << 25,
  msrBitmaps: 1 << 28, secondary: 1 << 31,
} as const; // biome-ignore format: a table

/** Secondary controls. */
export const PROC2 = { wbinvd: 1 << 6, unrestrictedGuest: 1 << 7 } as const;

/** VM-entry interruption information and its kin (SDM 3C 25.8.3). */
export const INTERRUPTION = { valid: 0x8000_0000 | 0, error: 1 << 11, typeShift: 8, typeMask: 7 } as const;

/** Types of I/O and control-register exits, for qualifications (SDM 3C 28.2.1). */
export const CR_ACCESS = { movTo: 0, movFrom: 1, clts: 2, lmsw: 3 } as const;

/** Names for people, by basic reason. */
export const EXIT_NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(EXIT).map(([name, reason]) => [reason, name]),
);

/** Record an exit caused by the instruction at `pc` and leave the engine with EIP on it. */
export function exitInstruction(cpu: Cpu, pc: number, reason: number, qualification: number): number {
  cpu.i32[WORD.exitReason] = reason;
  cpu.i32[WORD.exitQualification] = qualification;
  cpu.i32[WORD.exitInstructionLength] = cpu.u8[pc + RECORD.length]!;
  cpu.i32[WORD.startEip] = cpu.currentEip(pc);
  return STATUS.exit;
}
