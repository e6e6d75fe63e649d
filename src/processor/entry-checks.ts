/** Checks on guest state at VM entry. SDM 3C 27.3.1; the sections are named where each stands. */
import { EFLAGS } from "../isa/flags.ts";
import { SEG } from "../isa/state.ts";
import type { Cpu } from "./cpu.ts";
import { PROC, PROC2 } from "./exits.ts";
import { AR, CR0, TYPE } from "./registers.ts";

/** What is wrong with the guest state, for a message; undefined when entry may go on. */
export function checkEntry(cpu: Cpu): string | undefined {
  const cr0 = cpu.get("cr0");
  const eflags = cpu.get("eflags");
  // 27.3.1.1: control registers.
  if (cr0 & CR0.PG && !(cr0 & CR0.PE)) return "CR0.PG is set without CR0.PE";
  const unrestricted =
    (cpu.get("procControls") & PROC.secondary) !== 0 && (cpu.get("procControls2") & PROC2.unrestrictedGuest) !== 0;
  if (!unrestricted && (cr0 & (CR0.PE | CR0.PG)) !== (CR0.PE | CR0.PG | 0))
    return "CR0.PE and CR0.PG must be set without unrestricted guest";
  // 27.3.1.4: RFLAGS.
  if (eflags & 0xffc08028 & ~0 && eflags & (0xffc00000 | 0x8028)) return "reserved bits of EFLAGS are set";
  if (eflags & EFLAGS.VM && !(cr0 & CR0.PE)) return "EFLAGS.VM is set in real mode";
  // 27.3.1.2: segment registers, in the forms that matter to execution.
  if (eflags & EFLAGS.VM) {
    for (const segment of [SEG.ES, SEG.CS, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) {
      if (cpu.segment(segment, "base") !== cpu.segment(segment, "selector") << 4)
        return `virtual-8086 segment ${segment} has a foreign base`;
      if (cpu.segment(segment, "limit") !== 0xffff)
        return `virtual-8086 segment ${segment} has a limit other than FFFFh`;
    }
    return undefined;
  }
  const csAr = cpu.segment(SEG.CS, "ar");
  if (!(csAr & AR.S) || !(csAr & AR.P)) return "CS is not a present code segment";
  if (cr0 & CR0.PE && !(csAr & TYPE.CODE) && !unrestricted) return "CS is not a code segment";
  if (cpu.get("activity") > 3) return "unknown activity state";
  return undefined;
}
