/** Model-specific registers of a domain's vCPU. One row each; accesses to others raise #GP. SDM 4 chapter 2. */
import type { Cpu } from "../processor/cpu.ts";
import { EFER } from "../processor/registers.ts";
import type { LocalApic } from "./local-apic.ts";

/** The local APIC as MSRs reach it; `deadline`: its timer can wait for a time-stamp. */
export interface ApicMsrs {
  readonly apic: LocalApic;
  readonly deadline: boolean;
}

interface Msr {
  /** Undefined: #GP. */
  read(cpu: Cpu, apic: ApicMsrs | undefined): bigint | undefined;
  /** False: #GP. */
  write(cpu: Cpu, value: bigint, apic: ApicMsrs | undefined): boolean;
}

/** Bits of IA32_APIC_BASE that there are; its base lies below 4 GB here. */
const APIC_BASE_BITS = 0xffff_f900n;

/** The time-stamp counter; between stays in the guest. */
export function timeStamp(cpu: Cpu): bigint {
  const offset = (BigInt(cpu.tscOffsetHigh) << 32n) | BigInt(cpu.tscOffsetLow >>> 0);
  return BigInt.asUintN(64, BigInt(cpu.ticks(0)) + offset);
}

const field = (name: "sysenterCs" | "sysenterEsp" | "sysenterEip"): Msr => ({
  read: (cpu) => BigInt(cpu.get(name) >>> 0),
  write(cpu, value) {
    cpu.set(name, Number(value & 0xffffffffn) | 0);
    return true;
  },
});

const constant = (value: bigint): Msr => ({ read: () => value, write: () => true });

/**
 * IA32_MISC_ENABLE: fast strings; neither branch trace storage nor PEBS. CPUID is not limited, execute-disable is on.
 * Processors from family 15, and family 6 model 13, on have it, and kernels read it there before they can take a #GP.
 */
const MISC_ENABLE = (1n << 0n) | (1n << 11n) | (1n << 12n);

/** MSRs by number. */
const MSRS: ReadonlyMap<number, Msr> = new Map<number, Msr>([
  [
    0x10, // IA32_TIME_STAMP_COUNTER
    {
      read: timeStamp,
      write(cpu, value, apic) {
        const offset = value - BigInt(cpu.ticks(0));
        cpu.tscOffsetLow = Number(BigInt.asIntN(32, offset));
        cpu.tscOffsetHigh = Number(BigInt.asIntN(32, offset >> 32n));
        apic?.apic.timeStampMoved();
        return true;
      },
    },
  ],
  [0x17, constant(0n)], // IA32_PLATFORM_ID
  [
    0x1b, // IA32_APIC_BASE
    {
      read: (_cpu, apic) => apic && BigInt(apic.apic.base),
      write(_cpu, value, apic) {
        if (!apic || value & ~APIC_BASE_BITS) return false;
        apic.apic.setBase(Number(value));
        return true;
      },
    },
  ],
  [0x2a, constant(0n)], // EBL_CR_POWERON
  [0x8b, constant(0n)], // IA32_BIOS_SIGN_ID
  [0x174, field("sysenterCs")],
  [0x175, field("sysenterEsp")],
  [0x176, field("sysenterEip")],
  [0x1a0, constant(MISC_ENABLE)],
  [
    0x6e0, // IA32_TSC_DEADLINE
    {
      read: (_cpu, apic) => (apic?.deadline ? apic.apic.deadline : undefined),
      write(_cpu, value, apic) {
        if (!apic?.deadline) return false;
        apic.apic.setDeadline(value);
        return true;
      },
    },
  ],
  [0x1d9, constant(0n)], // DEBUGCTL
  [
    0xc0000080, // IA32_EFER: NXE is the only bit that a 32-bit guest has
    {
      read: (cpu) => BigInt(cpu.get("efer")),
      write(cpu, value) {
        if (value & ~BigInt(EFER.NXE)) return false;
        cpu.set("efer", Number(value));
        cpu.flushAll();
        return true;
      },
    },
  ],
]);

/** Value of an MSR, or undefined where the processor has none (#GP). */
export function readMsr(cpu: Cpu, number: number, apic?: ApicMsrs): bigint | undefined {
  return MSRS.get(number)?.read(cpu, apic);
}

/** Write an MSR; false where that raises #GP. */
export function writeMsr(cpu: Cpu, number: number, value: bigint, apic?: ApicMsrs): boolean {
  return MSRS.get(number)?.write(cpu, value, apic) ?? false;
}
