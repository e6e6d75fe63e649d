/**
 * The vCPU's state page: one table gives every register its place in linear memory, and to those that are VMCS fields
 * their encoding (Intel SDM 3D appendix B). Generated code, TypeScript accessors and snapshots all read this table.
 */

/** Bytes of a field; u32 unless it must hold 64 bits. */
interface FieldSpec<Name extends string = string> {
  readonly name: Name;
  readonly size: 4 | 8;
  /** VMCS encoding, if software can VMREAD it. */
  readonly vmcs?: number;
}

function spec<const Name extends string>(name: Name, size: 4 | 8, vmcs: number | undefined): FieldSpec<Name> {
  return vmcs === undefined ? { name, size } : { name, size, vmcs };
}

const u32 = <const Name extends string>(name: Name, vmcs?: number): FieldSpec<Name> => spec(name, 4, vmcs);
const u64 = <const Name extends string>(name: Name, vmcs?: number): FieldSpec<Name> => spec(name, 8, vmcs);

/** General registers in encoding order, sixteen 64-bit slots at the start of the page. */
export const GPR = { eax: 0, ecx: 8, edx: 16, ebx: 24, esp: 32, ebp: 40, esi: 48, edi: 56 } as const;

/** A slot that always reads zero: the base or index of an address that has none. */
export const ZERO_SLOT = 128;

/** Segment numbers as instructions encode them, then the two system segments. */
export const SEG = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const;

/** A segment register with its hidden part. Access rights in VMX format (SDM 3C 25.4.1). */
export const SEG_FIELD = {
  base: 0,
  limit: 8,
  ar: 12,
  selector: 16,
  readLow: 20,
  readHigh: 24,
  writeLow: 28,
  writeHigh: 32,
} as const;
/** Bytes from one segment record to the next. `readLow`…`writeHigh` bound the offsets that may be accessed. */
export const SEG_STRIDE = 40;
/** Offset of the first segment record (ES). */
export const SEG_BASE = 136;

/** Offset of `field` of segment `segment` in the state page. */
export function segmentField(segment: number, field: keyof typeof SEG_FIELD): number {
  return SEG_BASE + segment * SEG_STRIDE + SEG_FIELD[field];
}

/** x87 registers R0–R7 (physical, not stack order): 16 bytes each, significand u64 then sign and exponent u16. */
export const FPU_REGS = 464;
/** Two 16-byte slots and more for x87 intermediate results and for values on their way to memory. */
export const FPU_SCRATCH = FPU_REGS + 128;
/** XMM0–XMM15, 16 bytes each with room for 32. */
export const XMM_REGS = FPU_SCRATCH + 64;

/** Bytes from one XMM register to the next. */
export const XMM_STRIDE = 32;
/** Bytes from one x87 (and MMX) register to the next. */
export const FPU_STRIDE = 16;
/** Bytes from a register's significand to its sign and exponent. */
export const FPU_SIGN_EXPONENT = 8;
/** Bits of the field `vectorGate`: SSE and MMX may not run, unmasked SIMD exceptions are #UD and not #XM. */
export const VECTOR_GATE = { sse: 1, mmx: 2, exception: 4 } as const;

const FIELDS_START = XMM_REGS + 16 * XMM_STRIDE;

const SPECS = [
  u64("eip", 0x681e),
  // Lazy arithmetic flags: see flags.ts. `eflags` holds the other bits; arithmetic ones are zero in it.
  u32("flagsResult"),
  u32("flagsCarry"),
  u32("eflags"),
  u32("cpl"),
  u64("cr0", 0x6800),
  u64("cr2"),
  u64("cr3", 0x6802),
  u64("cr4", 0x6804),
  u64("dr0"),
  u64("dr1"),
  u64("dr2"),
  u64("dr3"),
  u64("dr6"),
  u64("dr7", 0x681a),
  u64("gdtrBase", 0x6816),
  u64("idtrBase", 0x6818),
  u32("gdtrLimit", 0x4810),
  u32("idtrLimit", 0x4812),
  u64("efer", 0x2806),
  u64("sysenterCs", 0x482a),
  u64("sysenterEsp", 0x6824),
  u64("sysenterEip", 0x6826),
  u32("interruptibility", 0x4824),
  u32("activity", 0x4826),
  u64("pendingDebug", 0x6822),
  // Execution controls.
  u32("pinControls", 0x4000),
  u32("procControls", 0x4002),
  u32("procControls2", 0x401e),
  u32("exceptionBitmap", 0x4004),
  u32("pageFaultMask", 0x4006),
  u32("pageFaultMatch", 0x4008),
  u32("exitControls", 0x400c),
  u32("entryControls", 0x4012),
  u32("entryInterruptionInfo", 0x4016),
  u32("entryErrorCode", 0x4018),
  u32("entryInstructionLength", 0x401a),
  u64("cr0Mask", 0x6000),
  u64("cr4Mask", 0x6002),
  u64("cr0Shadow", 0x6004),
  u64("cr4Shadow", 0x6006),
  u32("cr3TargetCount", 0x400a),
  u64("cr3Target0", 0x6008),
  u64("cr3Target1", 0x600a),
  u64("cr3Target2", 0x600c),
  u64("cr3Target3", 0x600e),
  u64("ioBitmapA", 0x2000),
  u64("ioBitmapB", 0x2002),
  u64("msrBitmap", 0x2004),
  u64("tscOffset", 0x2010),
  u64("linkPointer", 0x2800),
  u32("preemptionTimer", 0x482e),
  // Exit information.
  u32("exitReason", 0x4402),
  u64("exitQualification", 0x6400),
  u64("guestLinearAddress", 0x640a),
  u64("guestPhysicalAddress", 0x2400),
  u32("exitInterruptionInfo", 0x4404),
  u32("exitInterruptionError", 0x4406),
  u32("idtVectoringInfo", 0x4408),
  u32("idtVectoringError", 0x440a),
  u32("exitInstructionLength", 0x440c),
  u32("exitInstructionInfo", 0x440e),
  u32("instructionError", 0x4400),
  // The engines' own.
  u64("instructions"),
  u32("budget"),
  u32("faultVector"),
  u32("faultError"),
  u32("modeKey"),
  u32("a20Mask"),
  u32("readTable"),
  u32("writeTable"),
  u32("startEip"),
  // Non-zero while data breakpoints are set: every access must be looked at.
  u32("watching"),
  u32("cutBlock"),
  u32("linkSlot"),
  u32("linkLinear"),
  // Interrupts are held off (`shadowBlocking`, bits of interruptibility) while `budget` stands at `shadowAt`; -1: never.
  u32("shadowAt"),
  u32("shadowBlocking"),
  // EFLAGS.RF counts while `budget` stands at `resumeAt`, if that is not -1: the next instruction done clears it.
  u32("resumeAt"),
  // Work that string instructions did beyond their one tick of the preemption timer, in ticks.
  u32("extraWork"),
  // Elements of the current go of a repeated string instruction that its native did before it left the rest to the helper.
  u32("repeatDone"),
  // The time-stamp counter when it was last read in this stay (`budget` stood at `tscAt` behind that; -1: not read yet),
  // its ticks per instruction since then times 65536, and for how many instructions that may be believed.
  u64("tscRead"),
  u32("tscAt"),
  u32("tscStep"),
  u32("tscReach"),
  // What compiled regions pass on: see FLAG_OP in flags.ts; `explicit` whenever anybody else looks.
  u32("flagsKind"),
  u32("flagsOperand"),
  // 0, or a SKIP of interpreter/record.ts: blocks are interpreted although compiled code is there.
  u32("skipRegions"),
  // The block that has become worth compiling.
  u32("hotBlock"),
  // Counts compiled regions that were dropped: one that runs may be among them.
  u32("codeEpoch"),
  // x87: control, status (TOP included), and one bit a register, set while it is not empty.
  u32("fcw"),
  u32("fsw"),
  u32("ftw"),
  u32("fop"),
  u32("fip"),
  u32("fcs"),
  u32("fdp"),
  u32("fds"),
  u32("mxcsr"),
  // VECTOR_GATE bits: vector instructions that CR0 and CR4 do not let through now.
  u32("vectorGate"),
  // Unmasked exceptions of the last function of isa/vector/runtime.ts: its result must not be used.
  u32("simdFault"),
] as const satisfies readonly FieldSpec[];

/** Names of the single fields of the state page. */
export type FieldName = (typeof SPECS)[number]["name"];

interface Field {
  readonly offset: number;
  readonly size: 4 | 8;
  readonly vmcs?: number;
}

function layOut(): { fields: Record<FieldName, Field>; end: number } {
  const fields: Partial<Record<string, Field>> = {};
  let offset = FIELDS_START;
  for (const spec of SPECS as readonly FieldSpec[]) {
    offset = (offset + spec.size - 1) & -spec.size;
    fields[spec.name] =
      spec.vmcs === undefined ? { offset, size: spec.size } : { offset, size: spec.size, vmcs: spec.vmcs };
    offset += spec.size;
  }
  return { fields: fields as Record<FieldName, Field>, end: offset };
}

const layout = layOut();

/** Place of every single field. Segment records, registers and the FPU have their own constants above. */
export const FIELD: Readonly<Record<FieldName, Field>> = layout.fields;
/** Bytes of the state page in use. */
export const STATE_SIZE = layout.end;

const SEGMENT_VMCS = { selector: 0x800, limit: 0x4800, ar: 0x4814, base: 0x6806 } as const;

/** VMCS encoding → place in the state page, segment fields, RSP and RFLAGS included; a derived view of the tables above. */
export const VMCS_FIELDS: ReadonlyMap<
  number,
  { readonly offset: number; readonly size: 4 | 8; readonly name: string }
> = (() => {
  const map = new Map<number, { offset: number; size: 4 | 8; name: string }>();
  for (const [name, field] of Object.entries(FIELD)) {
    if (field.vmcs !== undefined) map.set(field.vmcs, { offset: field.offset, size: field.size, name });
  }
  for (const [name, segment] of Object.entries(SEG)) {
    for (const part of ["selector", "limit", "ar", "base"] as const) {
      map.set(SEGMENT_VMCS[part] + segment * 2, {
        offset: segmentField(segment, part),
        size: part === "base" ? 8 : 4,
        name: `${name}.${part}`,
      });
    }
  }
  map.set(0x681c, { offset: GPR.esp, size: 8, name: "rsp" });
  return map;
})();
