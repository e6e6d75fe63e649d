/** System instructions: segment registers, descriptor tables, control and debug registers, MSRs, CPUID, time. SDM 2. */
import { EFLAGS } from "../../isa/flags.ts";
import { SEG } from "../../isa/state.ts";
import { type Cpu, WORD as STATE_WORD } from "../cpu.ts";
import {
  accessRights,
  descriptorBase,
  descriptorLimit,
  dplOf,
  findDescriptor,
  loadSegment,
  nullSegment,
  readDescriptor,
  selectorError,
} from "../descriptors.ts";
import { CR_ACCESS, EXIT, exitInstruction, PROC, PROC2 } from "../exits.ts";
import { RECORD } from "../interpreter/record.ts";
import { AR, BLOCKING, CR0, CR4, DR6, DR7, SYSTEM_TYPE, TYPE, VECTOR } from "../registers.ts";
import {
  effectiveAddress,
  type Helper,
  isMemory,
  jumpNext,
  leaveNext,
  operandLinear,
  readOperand,
  registerA,
  registerB,
  STATUS,
  segmentOf,
  sizeOf,
  writeRegister,
} from "./operands.ts";

function privileged(cpu: Cpu): void {
  if (cpu.cpl !== 0) throw cpu.fault(VECTOR.GP, 0);
}

/** Instructions that exist in protected mode only. */
function protectedOnly(cpu: Cpu): void {
  if (!cpu.protectedMode) throw cpu.fault(VECTOR.UD);
}

/** After a data segment register changed: protected mode decodes anew, real mode need not. */
function afterSegmentLoad(cpu: Cpu, pc: number, segment: number): number {
  cpu.updateMode();
  if (segment === SEG.SS) {
    cpu.set("interruptibility", cpu.get("interruptibility") | BLOCKING.MOV_SS);
    return leaveNext(cpu, pc);
  }
  return cpu.protectedMode ? jumpNext(cpu, pc) : STATUS.next;
}

const moveToSegment: Helper = (cpu, pc) => {
  const segment = registerA(cpu, pc);
  if (segment === SEG.CS || segment > SEG.GS) throw cpu.fault(VECTOR.UD);
  const selector = isMemory(cpu, pc)
    ? cpu.read(operandLinear(cpu, pc, 0, 2, false), 2)
    : cpu.gpr16(registerB(cpu, pc) >> 3);
  loadSegment(cpu, segment, selector);
  return afterSegmentLoad(cpu, pc, segment);
};

const moveFromSegment: Helper = (cpu, pc) => {
  const segment = isMemory(cpu, pc) ? registerA(cpu, pc) : registerB(cpu, pc);
  if (segment > SEG.GS) throw cpu.fault(VECTOR.UD);
  const selector = cpu.segment(segment, "selector");
  if (isMemory(cpu, pc)) cpu.write(operandLinear(cpu, pc, 0, 2, true), 2, selector);
  else writeRegister(cpu, registerA(cpu, pc), sizeOf(cpu, pc), selector);
  return STATUS.next;
};

const pushSegment: Helper = (cpu, pc, segment) => {
  const bytes = sizeOf(cpu, pc);
  const selector = cpu.segment(segment, "selector");
  if (bytes === 2) {
    cpu.push(selector, 2);
    return STATUS.next;
  }
  // A 32-bit push of a selector moves ESP by 4 and writes 2 bytes (SDM 2B PUSH).
  const mask = cpu.stackMask;
  const esp = cpu.gpr(4);
  const top = (esp - 4) & mask;
  cpu.write(cpu.linear(SEG.SS, top, 2, true), 2, selector);
  cpu.setGpr(4, (esp & ~mask) | top);
  return STATUS.next;
};

const popSegment: Helper = (cpu, pc, segment) => {
  const bytes = sizeOf(cpu, pc);
  const selector = cpu.peek(0, bytes) & 0xffff;
  // POP SS moves the pointer by the old stack's size, even if the new segment has another.
  const mask = cpu.stackMask;
  loadSegment(cpu, segment, selector);
  const esp = cpu.gpr(4);
  cpu.setGpr(4, (esp & ~mask) | ((esp + bytes) & mask));
  return afterSegmentLoad(cpu, pc, segment);
};

const loadFarPointer: Helper = (cpu, pc, segment) => {
  const bytes = sizeOf(cpu, pc);
  const offset = cpu.read(operandLinear(cpu, pc, 0, bytes, false), bytes);
  const selector = cpu.read(operandLinear(cpu, pc, bytes, 2, false), 2);
  loadSegment(cpu, segment, selector);
  writeRegister(cpu, registerA(cpu, pc), bytes, offset);
  cpu.updateMode();
  return cpu.protectedMode ? jumpNext(cpu, pc) : STATUS.next;
};

/** A descriptor that LAR, LSL, VERR and VERW may look at; undefined where they clear ZF. */
function inspect(cpu: Cpu, selector: number): { ar: number; limit: number } | undefined {
  if ((selector & 0xfffc) === 0) return undefined;
  const d = findDescriptor(cpu, selector);
  if (!d) return undefined;
  const ar = accessRights(d);
  const conforming = ar & AR.S && ar & TYPE.CODE && ar & TYPE.CONFORMING;
  if (!conforming && dplOf(ar) < Math.max(cpu.cpl, selector & 3)) return undefined;
  return { ar, limit: descriptorLimit(d) };
}

function setZero(cpu: Cpu, zf: boolean): void {
  cpu.setArithmetic((cpu.eflags() & ~EFLAGS.ZF) | (zf ? EFLAGS.ZF : 0));
}

/** The E operand of LAR and LSL: the second register, or memory of 2 bytes. */
function secondOperand(cpu: Cpu, pc: number): number {
  return isMemory(cpu, pc) ? cpu.read(operandLinear(cpu, pc, 0, 2, false), 2) : cpu.gpr16(registerB(cpu, pc) >> 3);
}

const LAR_TYPES = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 11) | (1 << 12);
const LSL_TYPES = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 9) | (1 << 11);

const lar: Helper = (cpu, pc) => {
  protectedOnly(cpu);
  const selector = secondOperand(cpu, pc);
  const found = inspect(cpu, selector);
  const ok = found !== undefined && (found.ar & AR.S || (LAR_TYPES >> (found.ar & 15)) & 1);
  if (ok && found) {
    const d = readDescriptor(cpu, selector, VECTOR.GP);
    writeRegister(cpu, registerA(cpu, pc), sizeOf(cpu, pc), d.high & 0x00ffff00);
  }
  setZero(cpu, Boolean(ok));
  return STATUS.next;
};

const lsl: Helper = (cpu, pc) => {
  protectedOnly(cpu);
  const found = inspect(cpu, secondOperand(cpu, pc));
  const ok = found !== undefined && (found.ar & AR.S || (LSL_TYPES >> (found.ar & 15)) & 1);
  if (ok && found) writeRegister(cpu, registerA(cpu, pc), sizeOf(cpu, pc), found.limit);
  setZero(cpu, Boolean(ok));
  return STATUS.next;
};

const verify: Helper = (cpu, pc, write) => {
  protectedOnly(cpu);
  const found = inspect(cpu, readOperand(cpu, pc, 2));
  let ok = found !== undefined && (found.ar & AR.S) !== 0;
  if (ok && found) {
    const code = (found.ar & TYPE.CODE) !== 0;
    ok = write ? !code && (found.ar & TYPE.WRITABLE) !== 0 : !code || (found.ar & TYPE.READABLE) !== 0;
  }
  setZero(cpu, ok);
  return STATUS.next;
};

const arpl: Helper = (cpu, pc) => {
  protectedOnly(cpu);
  const memory = isMemory(cpu, pc);
  const linear = memory ? operandLinear(cpu, pc, 0, 2, true) : 0;
  const dst = memory ? cpu.readForWrite(linear, 2) : cpu.gpr16(registerA(cpu, pc) >> 3);
  const rpl = cpu.gpr16((memory ? registerA(cpu, pc) : registerB(cpu, pc)) >> 3) & 3;
  const adjust = (dst & 3) < rpl;
  if (adjust) {
    const value = (dst & ~3) | rpl;
    if (memory) cpu.write(linear, 2, value);
    else cpu.setGpr16(registerA(cpu, pc) >> 3, value);
  }
  setZero(cpu, adjust);
  return STATUS.next;
};

const sldt: Helper = (cpu, pc, segment) => {
  protectedOnly(cpu);
  const selector = cpu.segment(segment, "selector");
  if (isMemory(cpu, pc)) cpu.write(operandLinear(cpu, pc, 0, 2, true), 2, selector);
  else writeRegister(cpu, registerA(cpu, pc), sizeOf(cpu, pc), selector);
  return STATUS.next;
};

const lldt: Helper = (cpu, pc) => {
  protectedOnly(cpu);
  privileged(cpu);
  const selector = readOperand(cpu, pc, 2);
  if ((selector & 0xfffc) === 0) {
    nullSegment(cpu, SEG.LDTR, selector);
    return STATUS.next;
  }
  const error = selectorError(selector);
  if (selector & 4) throw cpu.fault(VECTOR.GP, error);
  const d = readDescriptor(cpu, selector, VECTOR.GP);
  const ar = accessRights(d);
  if ((ar & (AR.S | AR.TYPE)) !== SYSTEM_TYPE.LDT) throw cpu.fault(VECTOR.GP, error);
  if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, error);
  cpu.setSegment(SEG.LDTR, selector, descriptorBase(d), descriptorLimit(d), ar);
  return STATUS.next;
};

const ltr: Helper = (cpu, pc) => {
  protectedOnly(cpu);
  privileged(cpu);
  const selector = readOperand(cpu, pc, 2);
  const error = selectorError(selector);
  if ((selector & 0xfffc) === 0 || selector & 4) throw cpu.fault(VECTOR.GP, error);
  const d = readDescriptor(cpu, selector, VECTOR.GP);
  const ar = accessRights(d);
  if ((ar & (AR.S | 7)) !== SYSTEM_TYPE.TSS16) throw cpu.fault(VECTOR.GP, error);
  if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, error);
  cpu.writeSystem((d.address + 4) | 0, 4, d.high | (2 << 8));
  cpu.setSegment(SEG.TR, selector, descriptorBase(d), descriptorLimit(d), ar | 2);
  return STATUS.next;
};

const storeTable: Helper = (cpu, pc, idt) => {
  const limit = cpu.get(idt ? "idtrLimit" : "gdtrLimit");
  const base = cpu.get(idt ? "idtrBase" : "gdtrBase");
  const limitAt = operandLinear(cpu, pc, 0, 2, true);
  const baseAt = operandLinear(cpu, pc, 2, 4, true);
  cpu.probeWrite(limitAt, 6);
  cpu.write(limitAt, 2, limit);
  // A 16-bit SGDT stores all 32 bits of the base on every processor since the 386.
  cpu.write(baseAt, 4, base);
  return STATUS.next;
};

const loadTable: Helper = (cpu, pc, idt) => {
  privileged(cpu);
  const limit = cpu.read(operandLinear(cpu, pc, 0, 2, false), 2);
  let base = cpu.read(operandLinear(cpu, pc, 2, 4, false), 4);
  if (sizeOf(cpu, pc) === 2) base &= 0xffffff;
  cpu.set(idt ? "idtrLimit" : "gdtrLimit", limit);
  cpu.set(idt ? "idtrBase" : "gdtrBase", base);
  return STATUS.next;
};

/** CR0 as the guest sees it: host-owned bits from the read shadow (SDM 3C 26.3). */
function guestCr0(cpu: Cpu): number {
  const mask = cpu.get("cr0Mask");
  return (cpu.get("cr0") & ~mask) | (cpu.get("cr0Shadow") & mask);
}

function guestCr4(cpu: Cpu): number {
  const mask = cpu.get("cr4Mask");
  return (cpu.get("cr4") & ~mask) | (cpu.get("cr4Shadow") & mask);
}

const CR0_VALID = CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.ET | CR0.NE | CR0.WP | CR0.AM | CR0.NW | CR0.CD | CR0.PG;
const CR0_PAGING = CR0.PE | CR0.WP | CR0.PG;

/** Put a checked value into CR0, with what follows from it. */
export function applyCr0(cpu: Cpu, value: number): void {
  const old = cpu.get("cr0");
  const next = (value & CR0_VALID) | CR0.ET;
  cpu.set("cr0", next);
  if ((old ^ next) & CR0_PAGING) cpu.flushAll();
  if ((old ^ next) & CR0.PE) cpu.refreshBounds();
  cpu.updateMode();
}

export function applyCr4(cpu: Cpu, value: number): void {
  const old = cpu.get("cr4");
  cpu.set("cr4", value);
  cpu.updateVectorGate();
  if ((old ^ value) & (CR4.PSE | CR4.PAE | CR4.PGE)) cpu.flushAll();
}

/** MOV to CR0: #GP for impossible combinations (SDM 3A 2.5). */
export function writeCr0(cpu: Cpu, value: number): void {
  if (value & CR0.PG && !(value & CR0.PE)) throw cpu.fault(VECTOR.GP, 0);
  if (value & CR0.NW && !(value & CR0.CD)) throw cpu.fault(VECTOR.GP, 0);
  applyCr0(cpu, value);
}

/** MOV to CR4: #GP for bits of features that this processor lacks. */
export function writeCr4(cpu: Cpu, value: number): void {
  if (value & ~cpu.cr4Valid) throw cpu.fault(VECTOR.GP, 0);
  applyCr4(cpu, value);
}

/** Host-owned bits that a write would change (SDM 3C 26.1.3). */
function ownedChange(mask: number, value: number, shadow: number): boolean {
  return (mask & (value ^ shadow)) !== 0;
}

const moveToControl: Helper = (cpu, pc) => {
  const number = registerA(cpu, pc);
  const register = registerB(cpu, pc) >> 3;
  if (number !== 0 && number !== 2 && number !== 3 && number !== 4) throw cpu.fault(VECTOR.UD);
  privileged(cpu);
  const value = cpu.gpr(register);
  const qualification = number | (CR_ACCESS.movTo << 4) | (register << 8);
  switch (number) {
    case 0:
      if (ownedChange(cpu.get("cr0Mask"), value, cpu.get("cr0Shadow")))
        return exitInstruction(cpu, pc, EXIT.crAccess, qualification);
      writeCr0(cpu, (value & ~cpu.get("cr0Mask")) | (cpu.get("cr0") & cpu.get("cr0Mask")));
      return jumpNext(cpu, pc);
    case 2:
      cpu.set("cr2", value);
      return STATUS.next;
    case 3:
      if (cpu.get("procControls") & PROC.cr3Load && !isTarget(cpu, value))
        return exitInstruction(cpu, pc, EXIT.crAccess, qualification);
      cpu.loadCr3(value);
      return jumpNext(cpu, pc);
    default:
      if (ownedChange(cpu.get("cr4Mask"), value, cpu.get("cr4Shadow")))
        return exitInstruction(cpu, pc, EXIT.crAccess, qualification);
      writeCr4(cpu, (value & ~cpu.get("cr4Mask")) | (cpu.get("cr4") & cpu.get("cr4Mask")));
      return jumpNext(cpu, pc);
  }
};

function isTarget(cpu: Cpu, value: number): boolean {
  const count = cpu.get("cr3TargetCount");
  const targets = ["cr3Target0", "cr3Target1", "cr3Target2", "cr3Target3"] as const;
  return targets.slice(0, count).some((name) => cpu.get(name) === value);
}

const moveFromControl: Helper = (cpu, pc) => {
  const register = registerA(cpu, pc) >> 3;
  const number = registerB(cpu, pc);
  if (number !== 0 && number !== 2 && number !== 3 && number !== 4) throw cpu.fault(VECTOR.UD);
  privileged(cpu);
  if (number === 3 && cpu.get("procControls") & PROC.cr3Store) {
    return exitInstruction(cpu, pc, EXIT.crAccess, 3 | (CR_ACCESS.movFrom << 4) | (register << 8));
  }
  const value =
    number === 0 ? guestCr0(cpu) : number === 2 ? cpu.get("cr2") : number === 3 ? cpu.get("cr3") : guestCr4(cpu);
  cpu.setGpr(register, value);
  return STATUS.next;
};

const smsw: Helper = (cpu, pc) => {
  const value = guestCr0(cpu);
  if (isMemory(cpu, pc)) cpu.write(operandLinear(cpu, pc, 0, 2, true), 2, value & 0xffff);
  else writeRegister(cpu, registerA(cpu, pc), sizeOf(cpu, pc), value);
  return STATUS.next;
};

const lmsw: Helper = (cpu, pc) => {
  privileged(cpu);
  const source = readOperand(cpu, pc, 2);
  const mask = cpu.get("cr0Mask");
  const shadow = cpu.get("cr0Shadow");
  // LMSW can set PE but not clear it (SDM 2A LMSW); only bits 3–0 take part.
  const owned = mask & 0xf;
  const leaves = ((owned & 0xe & (source ^ shadow)) | (owned & 1 & source & ~shadow)) !== 0;
  if (leaves) {
    const qualification = (CR_ACCESS.lmsw << 4) | (isMemory(cpu, pc) ? 1 << 6 : 0) | (source << 16);
    if (isMemory(cpu, pc)) cpu.set("guestLinearAddress", operandLinear(cpu, pc, 0, 2, false));
    return exitInstruction(cpu, pc, EXIT.crAccess, qualification);
  }
  const cr0 = cpu.get("cr0");
  const change = 0xf & ~mask;
  applyCr0(cpu, (cr0 & ~change) | (source & change) | (cr0 & CR0.PE));
  return jumpNext(cpu, pc);
};

const clts: Helper = (cpu, pc) => {
  privileged(cpu);
  if (cpu.get("cr0Mask") & CR0.TS) {
    if (cpu.get("cr0Shadow") & CR0.TS) return exitInstruction(cpu, pc, EXIT.crAccess, CR_ACCESS.clts << 4);
    return STATUS.next;
  }
  cpu.set("cr0", cpu.get("cr0") & ~CR0.TS);
  cpu.updateVectorGate();
  return STATUS.next;
};

const DEBUG = ["dr0", "dr1", "dr2", "dr3", "dr6", "dr7"] as const;

/** Field of debug register `number`; DR4 and DR5 are DR6 and DR7 while CR4.DE is clear. */
function debugField(cpu: Cpu, number: number): (typeof DEBUG)[number] {
  if (number === 4 || number === 5) {
    if (cpu.get("cr4") & CR4.DE) throw cpu.fault(VECTOR.UD);
    return number === 4 ? "dr6" : "dr7";
  }
  return DEBUG[number < 4 ? number : number - 2]!;
}

function debugAccess(cpu: Cpu): void {
  privileged(cpu);
  if (cpu.get("dr7") & DR7.GD) {
    cpu.set("dr7", cpu.get("dr7") & ~DR7.GD);
    throw cpu.fault(VECTOR.DB, DR6.BD);
  }
}

const moveToDebug: Helper = (cpu, pc) => {
  const number = registerA(cpu, pc);
  const register = registerB(cpu, pc) >> 3;
  const field = debugField(cpu, number);
  debugAccess(cpu);
  if (cpu.get("procControls") & PROC.movDr) return exitInstruction(cpu, pc, EXIT.drAccess, number | (register << 8));
  const value = cpu.gpr(register);
  if (field === "dr6") cpu.set(field, (value & 0xe00f) | (0xffff0ff0 | 0));
  else if (field === "dr7") cpu.set(field, (value & 0xffff2bff) | 0x400);
  else cpu.set(field, value);
  return leaveNext(cpu, pc);
};

const moveFromDebug: Helper = (cpu, pc) => {
  const register = registerA(cpu, pc) >> 3;
  const number = registerB(cpu, pc);
  const field = debugField(cpu, number);
  debugAccess(cpu);
  if (cpu.get("procControls") & PROC.movDr)
    return exitInstruction(cpu, pc, EXIT.drAccess, number | (1 << 4) | (register << 8));
  cpu.setGpr(register, cpu.get(field));
  return STATUS.next;
};

/** Whether the MSR bitmaps let the access through: reads at 0 and 1024, writes 2048 further (SDM 3C 25.6.9). */
function msrExits(cpu: Cpu, write: boolean): boolean {
  if (!(cpu.get("procControls") & PROC.msrBitmaps)) return true;
  const msr = cpu.gpr(1) >>> 0;
  const low = msr < 0x2000;
  if (!low && (msr < 0xc0000000 || msr > 0xc0001fff)) return true;
  const at = cpu.get("msrBitmap") + (write ? 2048 : 0) + (low ? 0 : 1024) + ((msr & 0x1fff) >> 3);
  return ((cpu.readPhysical32(at & ~3) >>> ((at & 3) * 8 + (msr & 7))) & 1) === 1;
}

/** MSRs that live in the state page and need no hypervisor. */
const STATE_MSRS: Readonly<Record<number, "sysenterCs" | "sysenterEsp" | "sysenterEip">> = {
  372: "sysenterCs",
  373: "sysenterEsp",
  374: "sysenterEip",
};

const rdmsr: Helper = (cpu, pc) => {
  privileged(cpu);
  const field = STATE_MSRS[cpu.gpr(1) >>> 0];
  if (field === undefined || msrExits(cpu, false)) return exitInstruction(cpu, pc, EXIT.rdmsr, 0);
  cpu.setGpr(0, cpu.get(field));
  cpu.setGpr(2, 0);
  return STATUS.next;
};

const wrmsr: Helper = (cpu, pc) => {
  privileged(cpu);
  const field = STATE_MSRS[cpu.gpr(1) >>> 0];
  if (field === undefined || msrExits(cpu, true)) return exitInstruction(cpu, pc, EXIT.wrmsr, 0);
  cpu.set(field, cpu.gpr(0));
  return STATUS.next;
};

/** 2^32. */
const WORD = 0x1_0000_0000;

/** Let the engine answer by itself for a while: see the field tscRead. */
function noteTsc(cpu: Cpu, pc: number, low: number, high: number): void {
  const { step, reach } = cpu.tickRate();
  cpu.i32[STATE_WORD.tscRead] = low;
  cpu.i32[STATE_WORD.tscRead + 1] = high;
  cpu.i32[STATE_WORD.tscAt] = cpu.i32[STATE_WORD.budget]! - cpu.u8[pc + RECORD.count]!;
  cpu.i32[STATE_WORD.tscStep] = step;
  cpu.i32[STATE_WORD.tscReach] = reach;
}

const rdtsc: Helper = (cpu, pc) => {
  if (cpu.get("cr4") & CR4.TSD && cpu.cpl !== 0) throw cpu.fault(VECTOR.GP, 0);
  if (cpu.get("procControls") & PROC.rdtsc) return exitInstruction(cpu, pc, EXIT.rdtsc, 0);
  const ticks = cpu.ticks(pc);
  const low = (ticks % WORD) + (cpu.tscOffsetLow >>> 0);
  const high = (Math.floor(ticks / WORD) + cpu.tscOffsetHigh + (low >= WORD ? 1 : 0)) | 0;
  cpu.setGpr(0, low | 0);
  cpu.setGpr(2, high);
  noteTsc(cpu, pc, low | 0, high);
  if (!cpu.inlinePorts?.due()) return STATUS.next;
  cpu.set("exitReason", EXIT.preemptionTimer);
  return leaveNext(cpu, pc);
};

const rdpmc: Helper = (cpu, pc) => {
  if (cpu.cpl !== 0 && !(cpu.get("cr4") & CR4.PCE)) throw cpu.fault(VECTOR.GP, 0);
  if (cpu.get("procControls") & PROC.rdpmc) return exitInstruction(cpu, pc, EXIT.rdpmc, 0);
  throw cpu.fault(VECTOR.GP, 0);
};

const invlpg: Helper = (cpu, pc) => {
  privileged(cpu);
  const linear = (cpu.segment(segmentOf(cpu, pc), "base") + effectiveAddress(cpu, pc)) | 0;
  if (cpu.get("procControls") & PROC.invlpg) return exitInstruction(cpu, pc, EXIT.invlpg, linear);
  cpu.flushPage(linear);
  return jumpNext(cpu, pc);
};

const hlt: Helper = (cpu, pc) => {
  privileged(cpu);
  if (cpu.get("procControls") & PROC.hlt) return exitInstruction(cpu, pc, EXIT.hlt, 0);
  cpu.set("activity", 1);
  return leaveNext(cpu, pc);
};

const always =
  (reason: number, needsPrivilege: boolean): Helper =>
  (cpu, pc) => {
    if (needsPrivilege) privileged(cpu);
    return exitInstruction(cpu, pc, reason, 0);
  };

export const SYSTEM_HELPERS: Record<string, Helper> = {
  moveToSegment,
  moveFromSegment,
  pushSegment,
  popSegment,
  loadFarPointer,
  lar,
  lsl,
  verify,
  arpl,
  sldt,
  lldt,
  ltr,
  storeTable,
  loadTable,
  smsw,
  lmsw,
  clts,
  moveToControl,
  moveFromControl,
  moveToDebug,
  moveFromDebug,
  rdmsr,
  wrmsr,
  rdtsc,
  rdpmc,
  invlpg,
  hlt,
  invd: always(EXIT.invd, true),
  wbinvd: (cpu, pc) => {
    privileged(cpu);
    return cpu.get("procControls2") & PROC2.wbinvd ? exitInstruction(cpu, pc, EXIT.wbinvd, 0) : STATUS.next;
  },
  cpuid: always(EXIT.cpuid, false),
  vmcall: always(EXIT.vmcall, false),
};
