/** Far transfers: CALL, JMP, RETF, IRET, INT, SYSENTER and SYSEXIT. SDM 2 under each name; SDM 3A 5.8. */
import { EFLAGS } from "../../isa/flags.ts";
import { SEG } from "../../isa/state.ts";
import type { Cpu } from "../cpu.ts";
import {
  accessRights,
  type Descriptor,
  descriptorLimit,
  dplOf,
  installSegment,
  loadRealSegment,
  loadStackSegment,
  loadV86Segment,
  nullSegment,
  readDescriptor,
  selectorError,
} from "../descriptors.ts";
import { EXIT, exitInstruction, INTERRUPTION } from "../exits.ts";
import { RECORD } from "../interpreter/record.ts";
import { deliver, restoring, SOURCE, softwareInterruptV86, stackFromTss } from "../interrupts.ts";
import { AR, CR4, SYSTEM_TYPE, TYPE, VECTOR } from "../registers.ts";
import { switchTask, TASK_SOURCE } from "../tasks.ts";
import { type Helper, immediate, immediate2, jump, operandLinear, STATUS, sizeOf } from "./operands.ts";

const cut = (eip: number, bytes: number): number => (bytes === 2 ? eip & 0xffff : eip);

function setCodeReal(cpu: Cpu, selector: number): void {
  if (cpu.virtual8086) cpu.setSegment(SEG.CS, selector, (selector & 0xffff) << 4, 0xffff, cpu.segment(SEG.CS, "ar"));
  else loadRealSegment(cpu, SEG.CS, selector);
}

/** #GP(0) when `eip` is beyond the limit of the code segment about to be used. */
function checkEip(cpu: Cpu, eip: number, limit: number): void {
  if (eip >>> 0 > limit >>> 0) throw cpu.fault(VECTOR.GP, 0);
}

/** Privilege rules of a direct far transfer to a code segment; returns the selector to load. */
function checkCode(cpu: Cpu, selector: number, ar: number): number {
  const error = selectorError(selector);
  const rpl = selector & 3;
  if (ar & TYPE.CONFORMING) {
    if (dplOf(ar) > cpu.cpl) throw cpu.fault(VECTOR.GP, error);
  } else if (rpl > cpu.cpl || dplOf(ar) !== cpu.cpl) {
    throw cpu.fault(VECTOR.GP, error);
  }
  if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, error);
  return (selector & 0xfffc) | cpu.cpl;
}

function installCode(cpu: Cpu, selector: number, d: Descriptor): void {
  installSegment(cpu, SEG.CS, selector, d);
  cpu.updateMode();
}

function farJump(cpu: Cpu, pc: number, selector: number, eip: number): number {
  if (!cpu.protectedMode) {
    checkEip(cpu, eip, cpu.virtual8086 ? 0xffff : cpu.segment(SEG.CS, "limit"));
    setCodeReal(cpu, selector);
    cpu.updateMode();
    return jump(cpu, eip);
  }
  if ((selector & 0xfffc) === 0) throw cpu.fault(VECTOR.GP, 0);
  const d = readDescriptor(cpu, selector, VECTOR.GP);
  const ar = accessRights(d);
  if (ar & AR.S) {
    if (!(ar & TYPE.CODE)) throw cpu.fault(VECTOR.GP, selectorError(selector));
    const cs = checkCode(cpu, selector, ar);
    checkEip(cpu, eip, descriptorLimit(d));
    installCode(cpu, cs, d);
    return jump(cpu, eip);
  }
  return throughSystem(cpu, pc, selector, d, false);
}

function farCall(cpu: Cpu, pc: number, selector: number, eip: number): number {
  const bytes = sizeOf(cpu, pc);
  const next = cpu.nextEip(pc);
  const oldCs = cpu.segment(SEG.CS, "selector");
  if (!cpu.protectedMode) {
    checkEip(cpu, eip, cpu.virtual8086 ? 0xffff : cpu.segment(SEG.CS, "limit"));
    pushPair(cpu, oldCs, next, bytes);
    setCodeReal(cpu, selector);
    cpu.updateMode();
    return jump(cpu, eip);
  }
  if ((selector & 0xfffc) === 0) throw cpu.fault(VECTOR.GP, 0);
  const d = readDescriptor(cpu, selector, VECTOR.GP);
  const ar = accessRights(d);
  if (ar & AR.S) {
    if (!(ar & TYPE.CODE)) throw cpu.fault(VECTOR.GP, selectorError(selector));
    const cs = checkCode(cpu, selector, ar);
    checkEip(cpu, eip, descriptorLimit(d));
    pushPair(cpu, oldCs, next, bytes);
    installCode(cpu, cs, d);
    return jump(cpu, eip);
  }
  return throughSystem(cpu, pc, selector, d, true);
}

/** Push CS and EIP; a fault at the second push undoes the first. */
function pushPair(cpu: Cpu, cs: number, eip: number, bytes: number): void {
  const esp = cpu.gpr(4);
  try {
    cpu.push(cs, bytes);
    cpu.push(eip, bytes);
  } catch (fault) {
    cpu.setGpr(4, esp);
    throw fault;
  }
}

/** EFLAGS is about to be saved in a TSS by the operation at `pc`. */
function settle(cpu: Cpu, pc: number): void {
  cpu.settleResume(cpu.get("budget") - cpu.u8[pc + RECORD.count]! + 1);
}

/** A far transfer whose selector names a gate or a TSS. */
function throughSystem(cpu: Cpu, pc: number, selector: number, d: Descriptor, call: boolean): number {
  settle(cpu, pc);
  const ar = accessRights(d);
  const error = selectorError(selector);
  if (dplOf(ar) < Math.max(cpu.cpl, selector & 3)) throw cpu.fault(VECTOR.GP, error);
  const type = ar & AR.TYPE;
  switch (type) {
    case SYSTEM_TYPE.TSS16:
    case SYSTEM_TYPE.TSS32:
      if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, error);
      switchTask(cpu, selector, call ? TASK_SOURCE.call : TASK_SOURCE.jump, cpu.nextEip(pc), 0);
      return afterTaskSwitch(cpu);
    case SYSTEM_TYPE.TASK_GATE:
      if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, error);
      switchTask(cpu, d.low >>> 16, call ? TASK_SOURCE.call : TASK_SOURCE.jump, cpu.nextEip(pc), 0);
      return afterTaskSwitch(cpu);
    case SYSTEM_TYPE.CALL16:
    case SYSTEM_TYPE.CALL32:
      if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, error);
      return throughGate(cpu, pc, d, type === SYSTEM_TYPE.CALL32, call);
    default:
      throw cpu.fault(VECTOR.GP, error);
  }
}

function afterTaskSwitch(cpu: Cpu): number {
  cpu.set("startEip", cpu.get("eip"));
  return STATUS.exit;
}

function throughGate(cpu: Cpu, pc: number, gate: Descriptor, wide: boolean, call: boolean): number {
  const selector = gate.low >>> 16;
  const bytes = wide ? 4 : 2;
  const eip = wide ? (gate.low & 0xffff) | (gate.high & 0xffff0000) : gate.low & 0xffff;
  const error = selectorError(selector);
  if ((selector & 0xfffc) === 0) throw cpu.fault(VECTOR.GP, 0);
  const d = readDescriptor(cpu, selector, VECTOR.GP);
  const ar = accessRights(d);
  if (!(ar & AR.S) || !(ar & TYPE.CODE) || dplOf(ar) > cpu.cpl) throw cpu.fault(VECTOR.GP, error);
  const conforming = (ar & TYPE.CONFORMING) !== 0;
  if (!call && !conforming && dplOf(ar) !== cpu.cpl) throw cpu.fault(VECTOR.GP, error);
  if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, error);
  checkEip(cpu, eip, descriptorLimit(d));
  const oldCs = cpu.segment(SEG.CS, "selector");
  const next = cpu.nextEip(pc);
  if (!call) {
    installCode(cpu, (selector & 0xfffc) | cpu.cpl, d);
    return jump(cpu, eip);
  }
  const inner = dplOf(ar);
  if (conforming || inner === cpu.cpl) {
    pushPair(cpu, oldCs, next, bytes);
    installCode(cpu, (selector & 0xfffc) | cpu.cpl, d);
    return jump(cpu, eip);
  }
  const count = gate.high & 31;
  const parameters: number[] = [];
  for (let i = count - 1; i >= 0; i--) parameters.push(cpu.peek(i * bytes, bytes));
  const { ss, esp } = stackFromTss(cpu, inner, 0);
  restoring(cpu, () => {
    const oldSs = cpu.segment(SEG.SS, "selector");
    const oldEsp = cpu.gpr(4);
    cpu.set("cpl", inner);
    loadStackSegment(cpu, ss, inner, VECTOR.TS);
    cpu.setGpr(4, cpu.stackMask === -1 ? esp : (oldEsp & 0xffff0000) | (esp & 0xffff));
    cpu.push(oldSs, bytes);
    cpu.push(oldEsp, bytes);
    for (const parameter of parameters) cpu.push(parameter, bytes);
    cpu.push(oldCs, bytes);
    cpu.push(next, bytes);
  });
  cpu.set("cpl", inner);
  installCode(cpu, (selector & 0xfffc) | inner, d);
  return jump(cpu, eip);
}

/** Data segments that the outer privilege level may not use become null (SDM 2 RET, IRET). */
function dropPrivilegedSegments(cpu: Cpu, cpl: number): void {
  for (const segment of [SEG.ES, SEG.DS, SEG.FS, SEG.GS]) {
    const ar = cpu.segment(segment, "ar");
    if (ar & AR.UNUSABLE) continue;
    if (!(ar & TYPE.CODE && ar & TYPE.CONFORMING) && dplOf(ar) < cpl) nullSegment(cpu, segment, 0);
  }
}

/** Code segment named by a return address: its descriptor, checked. */
function returnCode(cpu: Cpu, selector: number): Descriptor {
  const error = selectorError(selector);
  if ((selector & 0xfffc) === 0) throw cpu.fault(VECTOR.GP, 0);
  const d = readDescriptor(cpu, selector, VECTOR.GP);
  const ar = accessRights(d);
  const rpl = selector & 3;
  if (rpl < cpu.cpl || !(ar & AR.S) || !(ar & TYPE.CODE)) throw cpu.fault(VECTOR.GP, error);
  if (ar & TYPE.CONFORMING ? dplOf(ar) > rpl : dplOf(ar) !== rpl) throw cpu.fault(VECTOR.GP, error);
  if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, error);
  return d;
}

const returnFar: Helper = (cpu, pc) => {
  const bytes = sizeOf(cpu, pc);
  const drop = immediate(cpu, pc) & 0xffff;
  const eip = cpu.peek(0, bytes);
  const selector = cpu.peek(bytes, bytes) & 0xffff;
  if (!cpu.protectedMode) {
    checkEip(cpu, eip, cpu.virtual8086 ? 0xffff : cpu.segment(SEG.CS, "limit"));
    cpu.release(2 * bytes + drop);
    setCodeReal(cpu, selector);
    cpu.updateMode();
    return jump(cpu, eip);
  }
  const d = returnCode(cpu, selector);
  checkEip(cpu, eip, descriptorLimit(d));
  const rpl = selector & 3;
  if (rpl === cpu.cpl) {
    cpu.release(2 * bytes + drop);
    installCode(cpu, selector, d);
    return jump(cpu, eip);
  }
  const esp = cpu.peek(2 * bytes + drop, bytes);
  const ss = cpu.peek(3 * bytes + drop, bytes) & 0xffff;
  toOuter(cpu, rpl, selector, d, ss, esp, drop);
  return jump(cpu, eip);
};

function toOuter(cpu: Cpu, cpl: number, cs: number, d: Descriptor, ss: number, esp: number, drop: number): void {
  restoring(cpu, () => loadStackSegment(cpu, ss, cpl, VECTOR.GP));
  cpu.set("cpl", cpl);
  installSegment(cpu, SEG.CS, cs, d);
  const mask = cpu.stackMask;
  cpu.setGpr(4, mask === -1 ? (esp + drop) | 0 : (cpu.gpr(4) & 0xffff0000) | ((esp + drop) & 0xffff));
  dropPrivilegedSegments(cpu, cpl);
  cpu.updateMode();
}

/** Flags that IRET and POPF may change at a privilege level; the rest are kept. */
function mergeFlags(cpu: Cpu, value: number, bytes: number, extra: number): void {
  let mask =
    EFLAGS.CF | EFLAGS.PF | EFLAGS.AF | EFLAGS.ZF | EFLAGS.SF | EFLAGS.TF | EFLAGS.DF | EFLAGS.OF | EFLAGS.NT | extra;
  if (bytes === 4) mask |= EFLAGS.AC | EFLAGS.ID;
  cpu.setEflags((cpu.eflags() & ~mask) | (value & mask));
}

const iret: Helper = (cpu, pc) => {
  const bytes = sizeOf(cpu, pc);
  // NMIs are unblocked even when IRET faults (SDM 3A 6.7.1).
  cpu.set("interruptibility", cpu.get("interruptibility") & ~8);
  if (cpu.virtual8086) return iretV86(cpu, bytes);
  if (!cpu.protectedMode) {
    const eip = cpu.peek(0, bytes);
    const selector = cpu.peek(bytes, bytes) & 0xffff;
    const flags = cpu.peek(2 * bytes, bytes);
    checkEip(cpu, eip, cpu.segment(SEG.CS, "limit"));
    cpu.release(3 * bytes);
    setCodeReal(cpu, selector);
    mergeFlags(cpu, flags, bytes, EFLAGS.IF | EFLAGS.IOPL | (bytes === 4 ? EFLAGS.RF : 0));
    return leave(cpu, eip);
  }
  if (cpu.get("eflags") & EFLAGS.NT) {
    settle(cpu, pc);
    const link = cpu.readSystem(cpu.segment(SEG.TR, "base"), 2);
    switchTask(cpu, link, TASK_SOURCE.iret, cpu.nextEip(pc), 0);
    return afterTaskSwitch(cpu);
  }
  const eip = cpu.peek(0, bytes);
  const selector = cpu.peek(bytes, bytes) & 0xffff;
  const flags = cpu.peek(2 * bytes, bytes);
  if (bytes === 4 && flags & EFLAGS.VM && cpu.cpl === 0) return iretToV86(cpu, eip, selector, flags);
  const d = returnCode(cpu, selector);
  checkEip(cpu, eip, descriptorLimit(d));
  const cpl = cpu.cpl;
  let extra = bytes === 4 ? EFLAGS.RF : 0;
  if (cpl <= cpu.iopl) extra |= EFLAGS.IF;
  if (cpl === 0) extra |= EFLAGS.IOPL | (bytes === 4 ? EFLAGS.VIF | EFLAGS.VIP : 0);
  if ((selector & 3) === cpl) {
    cpu.release(3 * bytes);
    installSegment(cpu, SEG.CS, selector, d);
    cpu.updateMode();
  } else {
    toOuter(cpu, selector & 3, selector, d, cpu.peek(4 * bytes, bytes) & 0xffff, cpu.peek(3 * bytes, bytes), 0);
  }
  mergeFlags(cpu, flags, bytes, extra);
  return leave(cpu, eip);
};

/** Leave at `eip`; out of `run` when the new flags may make an event deliverable. */
function leave(cpu: Cpu, eip: number): number {
  cpu.set("startEip", eip);
  return cpu.get("eflags") & (EFLAGS.TF | EFLAGS.RF) || cpu.get("procControls") & 4 ? STATUS.exit : STATUS.jump;
}

function iretV86(cpu: Cpu, bytes: number): number {
  const eip = cpu.peek(0, bytes);
  const selector = cpu.peek(bytes, bytes) & 0xffff;
  const flags = cpu.peek(2 * bytes, bytes);
  const iopl = cpu.iopl;
  const vme = (cpu.get("cr4") & CR4.VME) !== 0;
  if (iopl < 3) {
    if (!vme || bytes === 4) throw cpu.fault(VECTOR.GP, 0);
    if (flags & EFLAGS.TF || (flags & EFLAGS.IF && cpu.get("eflags") & EFLAGS.VIP)) throw cpu.fault(VECTOR.GP, 0);
  }
  checkEip(cpu, eip, 0xffff);
  cpu.release(3 * bytes);
  setCodeReal(cpu, selector);
  if (iopl === 3) {
    mergeFlags(cpu, flags, bytes, EFLAGS.IF | (bytes === 4 ? EFLAGS.RF : 0));
  } else {
    mergeFlags(cpu, flags, bytes, 0);
    const eflags = cpu.get("eflags");
    cpu.set("eflags", flags & EFLAGS.IF ? eflags | EFLAGS.VIF : eflags & ~EFLAGS.VIF);
  }
  cpu.updateMode();
  return leave(cpu, eip);
}

function iretToV86(cpu: Cpu, eip: number, selector: number, flags: number): number {
  const esp = cpu.peek(12, 4);
  const selectors = [4, 5, 6, 7, 8].map((slot) => cpu.peek(slot * 4, 4) & 0xffff);
  cpu.setEflags(flags & ~(EFLAGS.FIXED | 0x8028) & 0x3f7fd5);
  cpu.set("cpl", 3);
  const order = [SEG.SS, SEG.ES, SEG.DS, SEG.FS, SEG.GS];
  for (const [i, segment] of order.entries()) loadV86Segment(cpu, segment, selectors[i]!);
  loadV86Segment(cpu, SEG.CS, selector);
  cpu.setGpr(4, esp);
  cpu.updateMode();
  return leave(cpu, eip & 0xffff);
}

/** INT n, INT3, INTO and ICEBP. */
function softwareInterrupt(cpu: Cpu, pc: number, vector: number, source: number): number {
  const next = cpu.nextEip(pc);
  // What is pushed has RF clear, and no single-step trap follows.
  cpu.set("eflags", cpu.get("eflags") & ~EFLAGS.RF);
  cpu.trapSuppressed = true;
  if (cpu.virtual8086) {
    if (source === SOURCE.software) {
      if (softwareInterruptV86(cpu, vector, next)) return jump(cpu, cpu.get("eip"));
    }
  }
  // #BP, #OF and #DB of these instructions obey the exception bitmap; INT n does not (SDM 3C 26.2).
  if (source !== SOURCE.software && (cpu.get("exceptionBitmap") >>> vector) & 1) {
    cpu.set("exitInterruptionInfo", INTERRUPTION.valid | vector | (source << INTERRUPTION.typeShift));
    return exitInstruction(cpu, pc, EXIT.exceptionOrNmi, 0);
  }
  deliver(cpu, vector, source, undefined, next);
  cpu.set("startEip", cpu.get("eip"));
  return STATUS.jump;
}

const sysenter: Helper = (cpu) => {
  if (!cpu.protectedMode && !cpu.virtual8086) throw cpu.fault(VECTOR.GP, 0);
  const cs = cpu.get("sysenterCs") & 0xfffc;
  if (cs === 0) throw cpu.fault(VECTOR.GP, 0);
  cpu.set("eflags", cpu.get("eflags") & ~(EFLAGS.VM | EFLAGS.IF | EFLAGS.RF));
  cpu.set("cpl", 0);
  cpu.setSegment(SEG.CS, cs, 0, 0xffffffff, AR.P | AR.S | AR.DB | AR.G | 11);
  cpu.setSegment(SEG.SS, cs + 8, 0, 0xffffffff, AR.P | AR.S | AR.DB | AR.G | 3);
  cpu.setGpr(4, cpu.get("sysenterEsp"));
  cpu.updateMode();
  return jump(cpu, cpu.get("sysenterEip"));
};

const sysexit: Helper = (cpu) => {
  const cs = cpu.get("sysenterCs") & 0xfffc;
  if (!cpu.protectedMode || cs === 0 || cpu.cpl !== 0) throw cpu.fault(VECTOR.GP, 0);
  cpu.set("cpl", 3);
  cpu.setSegment(SEG.CS, (cs + 16) | 3, 0, 0xffffffff, AR.P | AR.S | AR.DPL | AR.DB | AR.G | 11);
  cpu.setSegment(SEG.SS, (cs + 24) | 3, 0, 0xffffffff, AR.P | AR.S | AR.DPL | AR.DB | AR.G | 3);
  cpu.setGpr(4, cpu.gpr(1));
  cpu.updateMode();
  return jump(cpu, cpu.gpr(2));
};

function memoryPointer(cpu: Cpu, pc: number): { eip: number; selector: number } {
  const bytes = sizeOf(cpu, pc);
  const eip = cpu.read(operandLinear(cpu, pc, 0, bytes, false), bytes);
  return { eip, selector: cpu.read(operandLinear(cpu, pc, bytes, 2, false), 2) };
}

export const TRANSFERS: Record<string, Helper> = {
  jumpFarPointer: (cpu, pc) => farJump(cpu, pc, immediate2(cpu, pc), cut(immediate(cpu, pc), sizeOf(cpu, pc))),
  callFarPointer: (cpu, pc) => farCall(cpu, pc, immediate2(cpu, pc), cut(immediate(cpu, pc), sizeOf(cpu, pc))),
  jumpFarMemory: (cpu, pc) => {
    const { eip, selector } = memoryPointer(cpu, pc);
    return farJump(cpu, pc, selector, eip);
  },
  callFarMemory: (cpu, pc) => {
    const { eip, selector } = memoryPointer(cpu, pc);
    return farCall(cpu, pc, selector, eip);
  },
  returnFar,
  iret,
  int: (cpu, pc) => softwareInterrupt(cpu, pc, immediate(cpu, pc) & 0xff, SOURCE.software),
  int3: (cpu, pc) => softwareInterrupt(cpu, pc, VECTOR.BP, SOURCE.softwareException),
  into: (cpu, pc) =>
    cpu.eflags() & EFLAGS.OF ? softwareInterrupt(cpu, pc, VECTOR.OF, SOURCE.softwareException) : STATUS.next,
  icebp: (cpu, pc) => softwareInterrupt(cpu, pc, VECTOR.DB, SOURCE.privilegedSoftware),
  sysenter,
  sysexit,
};

export { mergeFlags };
