/**
 * Checks at VM entry: guest state (SDM 3C 27.3.1) and the event to inject (27.2.1.3), as far as they concern a guest in
 * 32-bit modes. Segments are looked at again only when one was loaded or a VMCS field written.
 */
import { EFLAGS } from "../isa/flags.ts";
import { SEG } from "../isa/state.ts";
import { type Cpu, WORD } from "./cpu.ts";
import { INTERRUPTION, PROC, PROC2 } from "./exits.ts";
import { pushesErrorCode, SOURCE } from "./interrupts.ts";
import { ACTIVITY, AR, BLOCKING, CR0, SYSTEM_TYPE, TYPE, VECTOR } from "./registers.ts";

const NAMES = ["ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"] as const;
const DATA = [SEG.DS, SEG.ES, SEG.FS, SEG.GS] as const;
const ALL = [SEG.ES, SEG.CS, SEG.SS, SEG.DS, SEG.FS, SEG.GS] as const;

/** EFLAGS bits 31–22, 15, 5 and 3. */
const EFLAGS_RESERVED = 0xffc0_8028 | 0;
const AR_RESERVED = 0xfffe_0f00 | 0;
const V86_AR = AR.P | AR.DPL | AR.S | TYPE.WRITABLE | TYPE.ACCESSED;
const INTERRUPTIBILITY_RESERVED = ~0x1f;
const SHADOWS = BLOCKING.STI | BLOCKING.MOV_SS;
const INFO_RESERVED = 0x7fff_f000;
const TABLE_LIMIT = 0xffff;
const MAX_INSTRUCTION = 15;
const LAST_EXCEPTION = 31;
const SELECTOR_TI = 4;
const SELECTOR_RPL = 3;
/** An event type that does not exist, and "other event" (MTF), which this processor has not. */
const RESERVED_TYPES = (1 << 1) | (1 << 7);

/** What is wrong, for a message; undefined when entry may go on. */
export function checkEntry(cpu: Cpu): string | undefined {
  const problem = checkFlags(cpu) ?? (cpu.entryChecked ? undefined : checkSegments(cpu));
  if (problem !== undefined) return problem;
  cpu.entryChecked = true;
  return cpu.i32[WORD.entryInterruptionInfo]! & INTERRUPTION.valid ? checkEvent(cpu) : undefined;
}

function unrestrictedGuest(cpu: Cpu): boolean {
  return (
    (cpu.i32[WORD.procControls]! & PROC.secondary) !== 0 &&
    (cpu.i32[WORD.procControls2]! & PROC2.unrestrictedGuest) !== 0
  );
}

/** 27.3.1.1 control registers, 27.3.1.4 RFLAGS, 27.3.1.5 activity and interruptibility. */
function checkFlags(cpu: Cpu): string | undefined {
  const cr0 = cpu.i32[WORD.cr0]!;
  const eflags = cpu.i32[WORD.eflags]!;
  if (cr0 & CR0.PG && !(cr0 & CR0.PE)) return "CR0.PG is set without CR0.PE";
  if ((cr0 & (CR0.PE | CR0.PG)) !== (CR0.PE | CR0.PG | 0) && !unrestrictedGuest(cpu))
    return "CR0.PE and CR0.PG must be set without unrestricted guest";
  if (cpu.i32[WORD.cr4]! & ~cpu.cr4Valid) return "reserved bits of CR4 are set";
  if (eflags & EFLAGS_RESERVED) return "reserved bits of EFLAGS are set";
  if (eflags & EFLAGS.VM && !(cr0 & CR0.PE)) return "EFLAGS.VM is set in real mode";
  const activity = cpu.i32[WORD.activity]!;
  if (activity >>> 0 > ACTIVITY.waitForSipi) return "unknown activity state";
  const interruptibility = cpu.i32[WORD.interruptibility]!;
  if (interruptibility & INTERRUPTIBILITY_RESERVED) return "reserved bits of the interruptibility state are set";
  const shadow = interruptibility & SHADOWS;
  if (shadow === 0) return undefined;
  if (shadow === SHADOWS) return "blocking by STI and by MOV SS at once";
  if (shadow & BLOCKING.STI && !(eflags & EFLAGS.IF)) return "blocking by STI with EFLAGS.IF clear";
  return activity === ACTIVITY.active ? undefined : "blocking by STI or MOV SS in an inactive state";
}

/** 27.3.1.2 segment registers, 27.3.1.3 descriptor tables. */
function checkSegments(cpu: Cpu): string | undefined {
  const problem =
    cpu.i32[WORD.eflags]! & EFLAGS.VM ? checkV86(cpu) : (checkCode(cpu) ?? checkStack(cpu) ?? checkData(cpu));
  if (problem !== undefined) return problem;
  if ((cpu.i32[WORD.gdtrLimit]! | cpu.i32[WORD.idtrLimit]!) & ~TABLE_LIMIT)
    return "the limit of GDTR or IDTR exceeds FFFFh";
  return checkTask(cpu) ?? checkLdt(cpu);
}

function checkV86(cpu: Cpu): string | undefined {
  for (const segment of ALL) {
    const fits =
      cpu.segment(segment, "base") === cpu.segment(segment, "selector") << 4 &&
      cpu.segment(segment, "limit") === 0xffff &&
      cpu.segment(segment, "ar") === V86_AR;
    if (!fits) return `${NAMES[segment]} is not a virtual-8086 segment`;
  }
  return undefined;
}

/** Presence, reserved bits, and granularity against the limit: what all usable segments have in common. */
function checkCommon(cpu: Cpu, segment: number): string | undefined {
  const ar = cpu.segment(segment, "ar");
  const limit = cpu.segment(segment, "limit");
  if (!(ar & AR.P)) return `${NAMES[segment]} is not present`;
  if (ar & AR_RESERVED) return `reserved access rights of ${NAMES[segment]} are set`;
  if (ar & AR.G ? (limit & 0xfff) !== 0xfff : limit >>> 20 !== 0)
    return `the limit of ${NAMES[segment]} does not fit its granularity`;
  return undefined;
}

const dpl = (ar: number): number => (ar & AR.DPL) >> 5;

function checkCode(cpu: Cpu): string | undefined {
  const ar = cpu.segment(SEG.CS, "ar");
  const stack = dpl(cpu.segment(SEG.SS, "ar"));
  if (!(ar & AR.S) || !(ar & TYPE.ACCESSED)) return "CS is not an accessed code segment";
  if (!(ar & TYPE.CODE)) {
    if ((ar & AR.TYPE) !== (TYPE.WRITABLE | TYPE.ACCESSED) || !unrestrictedGuest(cpu))
      return "CS is not a code segment";
    if (dpl(ar) !== 0) return "CS of type 3 has a privilege level";
  } else if (ar & TYPE.CONFORMING ? dpl(ar) > stack : dpl(ar) !== stack) {
    return "the privilege levels of CS and SS differ";
  }
  return checkCommon(cpu, SEG.CS);
}

function checkStack(cpu: Cpu): string | undefined {
  const ar = cpu.segment(SEG.SS, "ar");
  const selector = cpu.segment(SEG.SS, "selector");
  if (!unrestrictedGuest(cpu)) {
    if ((selector ^ cpu.segment(SEG.CS, "selector")) & SELECTOR_RPL) return "the RPLs of CS and SS differ";
    if (dpl(ar) !== (selector & SELECTOR_RPL)) return "DPL and RPL of SS differ";
  }
  const real = !(cpu.i32[WORD.cr0]! & CR0.PE) || (cpu.segment(SEG.CS, "ar") & AR.TYPE) === 3;
  if (real && dpl(ar) !== 0) return "SS has a privilege level in real mode";
  if (cpu.i32[WORD.activity]! === ACTIVITY.hlt && dpl(ar) !== 0) return "halted at a privilege level other than 0";
  if (ar & AR.UNUSABLE) return undefined;
  const type = ar & AR.TYPE & ~TYPE.EXPAND_DOWN;
  if (!(ar & AR.S) || type !== (TYPE.WRITABLE | TYPE.ACCESSED)) return "SS is not a writable data segment";
  return checkCommon(cpu, SEG.SS);
}

function checkData(cpu: Cpu): string | undefined {
  const unrestricted = unrestrictedGuest(cpu);
  for (const segment of DATA) {
    const ar = cpu.segment(segment, "ar");
    if (ar & AR.UNUSABLE) continue;
    const readable = !(ar & TYPE.CODE) || ar & TYPE.READABLE;
    if (!(ar & AR.S) || !(ar & TYPE.ACCESSED) || !readable) return `${NAMES[segment]} is not a readable segment`;
    const conforming = (ar & (TYPE.CODE | TYPE.CONFORMING)) === (TYPE.CODE | TYPE.CONFORMING);
    if (!unrestricted && !conforming && dpl(ar) < (cpu.segment(segment, "selector") & SELECTOR_RPL))
      return `DPL of ${NAMES[segment]} is below its RPL`;
    const problem = checkCommon(cpu, segment);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function checkTask(cpu: Cpu): string | undefined {
  const ar = cpu.segment(SEG.TR, "ar");
  const type = ar & (AR.S | AR.TYPE);
  if (ar & AR.UNUSABLE || (type !== SYSTEM_TYPE.TSS16_BUSY && type !== SYSTEM_TYPE.TSS32_BUSY))
    return "TR does not hold a busy task state segment";
  if (cpu.segment(SEG.TR, "selector") & SELECTOR_TI) return "TR names a local descriptor";
  return checkCommon(cpu, SEG.TR);
}

function checkLdt(cpu: Cpu): string | undefined {
  const ar = cpu.segment(SEG.LDTR, "ar");
  if (ar & AR.UNUSABLE) return undefined;
  if ((ar & (AR.S | AR.TYPE)) !== SYSTEM_TYPE.LDT) return "LDTR does not hold a local descriptor table";
  if (cpu.segment(SEG.LDTR, "selector") & SELECTOR_TI) return "LDTR names a local descriptor";
  return checkCommon(cpu, SEG.LDTR);
}

/** 27.2.1.3 the event itself, and what 27.3.1.4 and 27.3.1.5 ask of the guest that gets it. */
function checkEvent(cpu: Cpu): string | undefined {
  const info = cpu.i32[WORD.entryInterruptionInfo]!;
  const vector = info & 0xff;
  const type = (info >> INTERRUPTION.typeShift) & INTERRUPTION.typeMask;
  if ((RESERVED_TYPES >> type) & 1 || info & INFO_RESERVED) return "the event to inject has reserved bits";
  if (type === SOURCE.nmi && vector !== VECTOR.NMI) return "an NMI with a vector other than 2";
  if (type === SOURCE.exception && vector > LAST_EXCEPTION) return "an exception with a vector above 31";
  const withError = type === SOURCE.exception && pushesErrorCode(vector) && (cpu.i32[WORD.cr0]! & CR0.PE) !== 0;
  if (((info & INTERRUPTION.error) !== 0) !== withError) return "an event with the wrong idea about its error code";
  if (withError && cpu.i32[WORD.entryErrorCode]! >>> 16 !== 0) return "an error code of more than 16 bits";
  const software = type === SOURCE.software || type === SOURCE.privilegedSoftware || type === SOURCE.softwareException;
  if (software && cpu.i32[WORD.entryInstructionLength]! >>> 0 > MAX_INSTRUCTION)
    return "an instruction longer than 15 bytes";
  const shadow = cpu.i32[WORD.interruptibility]! & SHADOWS;
  if (type === SOURCE.external && (shadow || !(cpu.i32[WORD.eflags]! & EFLAGS.IF)))
    return "an external interrupt while interrupts are blocked";
  if (type === SOURCE.nmi && shadow & BLOCKING.MOV_SS) return "an NMI while MOV SS blocks it";
  return undefined;
}
