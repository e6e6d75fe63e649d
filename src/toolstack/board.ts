/** The machine of a configuration as firmware tables describe it. */
import type { Board, ProcessorIdentity } from "../firmware/board.ts";
import { type CpuModelName, cpuid } from "../hypervisor/cpuid.ts";
import type { ResolvedConfig } from "./config.ts";

/** CPUID.1:EDX: the processor has a local APIC. */
const FEATURE_APIC = 1 << 9;

/** What CPUID tells of a processor model. */
export function processorIdentity(model: CpuModelName): ProcessorIdentity {
  const { eax, edx } = cpuid(model, 1);
  const vendor = cpuid(model, 0);
  const maker = [vendor.ebx, vendor.edx, vendor.ecx]
    .flatMap((word) => [word, word >>> 8, word >>> 16, word >>> 24])
    .map((byte) => String.fromCharCode(byte & 0xff))
    .join("");
  return { signature: eax >>> 0, features: edx >>> 0, maker };
}

/** The machine with these serial ports. */
export function describeBoard(config: ResolvedConfig, serial: readonly boolean[]): Board {
  const processor = processorIdentity(config.cpuModel);
  return {
    memory: config.memory,
    acpi: config.acpi,
    apic: config.apic && (processor.features & FEATURE_APIC) !== 0,
    hpet: config.hpet,
    floppy: true,
    serial,
    processor,
  };
}
