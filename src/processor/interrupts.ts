/** Delivery of interrupts and exceptions through the IVT or IDT, with privilege changes. SDM 3A 6.10–6.14, 20.3. */
import { EFLAGS } from "../isa/flags.ts";
import { SEG } from "../isa/state.ts";
import type { Cpu } from "./cpu.ts";
import {
  accessRights,
  descriptorLimit,
  dplOf,
  installSegment,
  loadStackSegment,
  nullSegment,
  readDescriptor,
  selectorError,
} from "./descriptors.ts";
import { AR, CR4, SYSTEM_TYPE, TYPE, VECTOR } from "./registers.ts";
import { inNewTask, switchTask, TASK_SOURCE } from "./tasks.ts";

/** What delivers: it decides privilege checks and the EXT bit. */
export const SOURCE = {
  external: 0,
  nmi: 2,
  exception: 3,
  software: 4,
  privilegedSoftware: 5,
  softwareException: 6,
} as const;

/** Vectors that push an error code in protected mode. */
const WITH_ERROR = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);

export function pushesErrorCode(vector: number): boolean {
  return vector < 32 && ((WITH_ERROR >> vector) & 1) === 1;
}

const software = (source: number): boolean => source === SOURCE.software || source === SOURCE.softwareException;

/**
 * Deliver an event: `eip` is the return address to push, `error` the error code or undefined. Sets state.eip, CS and the
 * rest. Throws the fault met on the way, with registers as they were.
 */
export function deliver(cpu: Cpu, vector: number, source: number, error: number | undefined, eip: number): void {
  if (!cpu.protectedMode && !cpu.virtual8086) {
    deliverReal(cpu, vector, eip);
    return;
  }
  deliverProtected(cpu, vector, source, error, eip);
}

/** Real-mode delivery through the interrupt vector table at IDTR (SDM 3A 20.1.4). */
export function deliverReal(cpu: Cpu, vector: number, eip: number): void {
  if (vector * 4 + 3 > cpu.get("idtrLimit") >>> 0) throw cpu.fault(VECTOR.GP, 0);
  const entry = cpu.readSystem((cpu.get("idtrBase") + vector * 4) | 0, 4);
  const esp = cpu.gpr(4);
  const flags = cpu.eflags();
  try {
    cpu.push(flags & 0xffff, 2);
    cpu.push(cpu.segment(SEG.CS, "selector"), 2);
    cpu.push(eip & 0xffff, 2);
  } catch (fault) {
    cpu.setGpr(4, esp);
    throw fault;
  }
  cpu.set("eflags", cpu.get("eflags") & ~(EFLAGS.IF | EFLAGS.TF | EFLAGS.AC | EFLAGS.RF));
  const selector = entry >>> 16;
  cpu.setSegment(SEG.CS, selector, selector << 4, cpu.segment(SEG.CS, "limit"), cpu.segment(SEG.CS, "ar"));
  cpu.set("eip", entry & 0xffff);
}

function deliverProtected(cpu: Cpu, vector: number, source: number, error: number | undefined, eip: number): void {
  const ext = software(source) ? 0 : 1;
  const idtError = vector * 8 + 2 + ext;
  if (vector * 8 + 7 > cpu.get("idtrLimit") >>> 0) throw cpu.fault(VECTOR.GP, idtError);
  const address = (cpu.get("idtrBase") + vector * 8) | 0;
  const low = cpu.readSystem(address, 4);
  const high = cpu.readSystem((address + 4) | 0, 4);
  const type = (high >>> 8) & 0x1f;
  if (type !== SYSTEM_TYPE.TASK_GATE && (type & ~9) !== 6) throw cpu.fault(VECTOR.GP, idtError);
  if (software(source) && ((high >>> 13) & 3) < cpu.cpl) throw cpu.fault(VECTOR.GP, idtError & ~1);
  if (!(high & 0x8000)) throw cpu.fault(VECTOR.NP, idtError);
  if (type === SYSTEM_TYPE.TASK_GATE) {
    switchTask(cpu, low >>> 16, TASK_SOURCE.gate, eip, ext);
    if (error !== undefined) inNewTask(() => cpu.push(error, accessRightsOfTr(cpu) & 8 ? 4 : 2));
    return;
  }
  const wide = (type & 8) !== 0;
  const trap = (type & 1) !== 0;
  const bytes = wide ? 4 : 2;
  const offset = wide ? (low & 0xffff) | (high & 0xffff0000) : low & 0xffff;
  const selector = low >>> 16;
  if ((selector & 0xfffc) === 0) throw cpu.fault(VECTOR.GP, ext);
  const d = readDescriptorExt(cpu, selector, ext);
  const ar = accessRights(d);
  const codeError = selectorError(selector) | ext;
  if (!(ar & AR.S) || !(ar & TYPE.CODE) || dplOf(ar) > cpu.cpl) throw cpu.fault(VECTOR.GP, codeError);
  if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, codeError);
  const v86 = cpu.virtual8086;
  const conforming = (ar & TYPE.CONFORMING) !== 0;
  const target = conforming ? cpu.cpl : dplOf(ar);
  if (v86 && (conforming || target !== 0)) throw cpu.fault(VECTOR.GP, codeError);
  if (offset >>> 0 > descriptorLimit(d)) throw cpu.fault(VECTOR.GP, ext);
  const oldCs = cpu.segment(SEG.CS, "selector");
  // The image pushed has RF set for faults, so that an instruction breakpoint is not taken again (SDM 3B 17.3.1.1).
  const flags = cpu.eflags();
  if (target < cpu.cpl) {
    toInnerStack(cpu, target, ext, bytes, error, v86, [flags, oldCs, eip]);
  } else {
    const esp = cpu.gpr(4);
    try {
      cpu.push(flags, bytes);
      cpu.push(oldCs, bytes);
      cpu.push(eip, bytes);
      if (error !== undefined) cpu.push(error, bytes);
    } catch (fault) {
      cpu.setGpr(4, esp);
      throw fault;
    }
  }
  let clear = EFLAGS.TF | EFLAGS.NT | EFLAGS.RF | EFLAGS.VM;
  if (!trap) clear |= EFLAGS.IF;
  cpu.set("eflags", cpu.get("eflags") & ~clear);
  cpu.set("cpl", target);
  installSegment(cpu, SEG.CS, (selector & 0xfffc) | target, d);
  cpu.set("eip", offset);
  cpu.updateMode();
}

function readDescriptorExt(cpu: Cpu, selector: number, ext: number): ReturnType<typeof readDescriptor> {
  try {
    return readDescriptor(cpu, selector, VECTOR.GP);
  } catch (fault) {
    if ((fault as { vector?: number }).vector === VECTOR.GP) throw cpu.fault(VECTOR.GP, selectorError(selector) | ext);
    throw fault;
  }
}

const accessRightsOfTr = (cpu: Cpu): number => cpu.segment(SEG.TR, "ar");

/** Stack for privilege `level` from the TSS: {ss, esp}; #TS when it lies beyond the limit. */
export function stackFromTss(cpu: Cpu, level: number, ext: number): { ss: number; esp: number } {
  const ar = cpu.segment(SEG.TR, "ar");
  const base = cpu.segment(SEG.TR, "base");
  const limit = cpu.segment(SEG.TR, "limit") >>> 0;
  const tsError = selectorError(cpu.segment(SEG.TR, "selector")) | ext;
  if (ar & 8) {
    const at = level * 8 + 4;
    if (at + 5 > limit) throw cpu.fault(VECTOR.TS, tsError);
    return { esp: cpu.readSystem((base + at) | 0, 4), ss: cpu.readSystem((base + at + 4) | 0, 2) };
  }
  const at = level * 4 + 2;
  if (at + 3 > limit) throw cpu.fault(VECTOR.TS, tsError);
  return { esp: cpu.readSystem((base + at) | 0, 2), ss: cpu.readSystem((base + at + 2) | 0, 2) };
}

/** Saved parts of the state that a failed stack switch must give back. */
export function restoring<T>(cpu: Cpu, body: () => T): T {
  const cpl = cpu.cpl;
  const esp = cpu.gpr(4);
  const flags = cpu.get("eflags");
  const ss = segmentImage(cpu, SEG.SS);
  try {
    return body();
  } catch (fault) {
    cpu.set("cpl", cpl);
    cpu.setGpr(4, esp);
    cpu.set("eflags", flags);
    cpu.setSegment(SEG.SS, ...ss);
    cpu.updateMode();
    throw fault;
  }
}

/** Selector, base, limit and rights of a segment register, as `setSegment` takes them. */
export function segmentImage(cpu: Cpu, segment: number): [number, number, number, number] {
  return [
    cpu.segment(segment, "selector"),
    cpu.segment(segment, "base"),
    cpu.segment(segment, "limit"),
    cpu.segment(segment, "ar"),
  ];
}

function toInnerStack(
  cpu: Cpu,
  level: number,
  ext: number,
  bytes: number,
  error: number | undefined,
  v86: boolean,
  frame: [number, number, number],
): void {
  const { ss, esp } = stackFromTss(cpu, level, ext);
  restoring(cpu, () => {
    const oldSs = cpu.segment(SEG.SS, "selector");
    const oldEsp = cpu.gpr(4);
    const data = [SEG.GS, SEG.FS, SEG.DS, SEG.ES];
    const old = data.map((segment) => cpu.segment(segment, "selector"));
    cpu.set("eflags", cpu.get("eflags") & ~EFLAGS.VM);
    cpu.set("cpl", level);
    loadStackSegment(cpu, ss, level, VECTOR.TS, selectorError(ss) | ext);
    cpu.setGpr(4, cpu.stackMask === -1 ? esp : (oldEsp & 0xffff0000) | (esp & 0xffff));
    if (v86) for (const selector of old) cpu.push(selector, bytes);
    cpu.push(oldSs, bytes);
    cpu.push(oldEsp, bytes);
    cpu.push(frame[0], bytes);
    cpu.push(frame[1], bytes);
    cpu.push(frame[2], bytes);
    if (error !== undefined) cpu.push(error, bytes);
    if (v86) for (const segment of data) nullSegment(cpu, segment, 0);
  });
}

/**
 * INT n in virtual-8086 mode (SDM 3B 20.3.3 table 20-2): true when it was redirected to the 8086 program's own handler.
 * Throws #GP when the monitor must see it.
 */
export function softwareInterruptV86(cpu: Cpu, vector: number, nextEip: number): boolean {
  const iopl = cpu.iopl;
  const vme = (cpu.get("cr4") & CR4.VME) !== 0;
  if (!vme) {
    if (iopl < 3) throw cpu.fault(VECTOR.GP, 0);
    return false;
  }
  const base = cpu.segment(SEG.TR, "base");
  const map = cpu.readSystem((base + 0x66) | 0, 2);
  const at = map - 32 + (vector >> 3);
  const redirected =
    at <= cpu.segment(SEG.TR, "limit") >>> 0 && !((cpu.readSystem((base + at) | 0, 1) >> (vector & 7)) & 1);
  if (!redirected) {
    if (iopl < 3) throw cpu.fault(VECTOR.GP, 0);
    return false;
  }
  const entry = cpu.read(vector * 4, 4);
  let flags = cpu.eflags() & 0xffff;
  if (iopl < 3) {
    flags = (flags & ~EFLAGS.IF) | EFLAGS.IOPL | (cpu.get("eflags") & EFLAGS.VIF ? EFLAGS.IF : 0);
  }
  const esp = cpu.gpr(4);
  try {
    cpu.push(flags, 2);
    cpu.push(cpu.segment(SEG.CS, "selector"), 2);
    cpu.push(nextEip & 0xffff, 2);
  } catch (fault) {
    cpu.setGpr(4, esp);
    throw fault;
  }
  cpu.set("eflags", cpu.get("eflags") & ~(EFLAGS.TF | (iopl < 3 ? EFLAGS.VIF : EFLAGS.IF)));
  const selector = entry >>> 16;
  cpu.setSegment(SEG.CS, selector, selector << 4, 0xffff, cpu.segment(SEG.CS, "ar"));
  cpu.set("eip", entry & 0xffff);
  return true;
}
