/** Segment descriptors: reading them from GDT and LDT, and loading segment registers. SDM 3A 3.4.5, 5.2–5.6. */
import { EFLAGS } from "../isa/flags.ts";
import { SEG } from "../isa/state.ts";
import { type Cpu, REAL_DATA } from "./cpu.ts";
import { AR, TYPE, VECTOR } from "./registers.ts";

/** A descriptor as it stands in its table. */
export interface Descriptor {
  readonly low: number;
  readonly high: number;
  /** Linear address of the descriptor. */
  readonly address: number;
}

/** Access rights (VMX format) of a descriptor's high word. */
export const accessRights = (d: Descriptor): number => (d.high >>> 8) & 0xf0ff;
export const descriptorBase = (d: Descriptor): number =>
  (d.low >>> 16) | ((d.high & 0xff) << 16) | (d.high & 0xff000000);
/** Limit in bytes, granularity applied. */
export function descriptorLimit(d: Descriptor): number {
  const limit = (d.low & 0xffff) | (d.high & 0xf0000);
  return d.high & (1 << 23) ? ((limit << 12) | 0xfff) >>> 0 : limit;
}
export const dplOf = (ar: number): number => (ar >> 5) & 3;

/** Error code of a selector: RPL bits cleared (SDM 3A 6.13). */
export const selectorError = (selector: number): number => selector & 0xfffc;

/** Read a descriptor; `undefined` when the selector lies beyond its table. */
export function findDescriptor(cpu: Cpu, selector: number): Descriptor | undefined {
  let base: number;
  let limit: number;
  if (selector & 4) {
    const ar = cpu.segment(SEG.LDTR, "ar");
    if (ar & AR.UNUSABLE || !(ar & AR.P)) return undefined;
    base = cpu.segment(SEG.LDTR, "base");
    limit = cpu.segment(SEG.LDTR, "limit") >>> 0;
  } else {
    base = cpu.get("gdtrBase");
    limit = cpu.get("gdtrLimit") >>> 0;
  }
  if ((selector & 0xfff8) + 7 > limit) return undefined;
  const address = (base + (selector & 0xfff8)) | 0;
  return { low: cpu.readSystem(address, 4), high: cpu.readSystem((address + 4) | 0, 4), address };
}

/** As {@link findDescriptor}, raising `vector`(selector) when it is not there. */
export function readDescriptor(cpu: Cpu, selector: number, vector: number): Descriptor {
  const d = findDescriptor(cpu, selector);
  if (!d) throw cpu.fault(vector, selectorError(selector));
  return d;
}

/** Set the accessed bit of a code or data descriptor in its table. */
export function markAccessed(cpu: Cpu, d: Descriptor): void {
  if (!(d.high & (TYPE.ACCESSED << 8))) cpu.writeSystem((d.address + 4) | 0, 4, d.high | (TYPE.ACCESSED << 8));
}

/** Fill a segment register from a descriptor, marking it accessed. */
export function installSegment(cpu: Cpu, segment: number, selector: number, d: Descriptor): void {
  markAccessed(cpu, d);
  cpu.setSegment(segment, selector, descriptorBase(d), descriptorLimit(d), accessRights(d) | TYPE.ACCESSED);
}

/** Make a data segment register null. */
export function nullSegment(cpu: Cpu, segment: number, selector: number): void {
  cpu.setSegment(segment, selector, 0, 0, AR.UNUSABLE);
}

/** Load a selector as real mode does: base = selector × 16, limit and rights kept ("unreal" limits survive). */
export function loadRealSegment(cpu: Cpu, segment: number, selector: number): void {
  const ar = cpu.segment(segment, "ar");
  const base = (selector & 0xffff) << 4;
  if (ar & AR.UNUSABLE) cpu.setSegment(segment, selector, base, 0xffff, REAL_DATA);
  else if (segment === SEG.CS) cpu.setSegment(segment, selector, base, cpu.segment(segment, "limit"), ar);
  else cpu.setSegment(segment, selector, base, cpu.segment(segment, "limit"), (ar & (AR.DB | AR.G)) | REAL_DATA);
}

/** Load a selector in virtual-8086 mode: everything about the segment is fixed. */
export function loadV86Segment(cpu: Cpu, segment: number, selector: number): void {
  cpu.setSegment(segment, selector, (selector & 0xffff) << 4, 0xffff, REAL_DATA | AR.DPL);
}

/** Stack segment checks and load for privilege `cpl`; faults are `vector`(selector). */
export function loadStackSegment(
  cpu: Cpu,
  selector: number,
  cpl: number,
  vector: number,
  error = selectorError(selector),
): void {
  if ((selector & 0xfffc) === 0) throw cpu.fault(vector, vector === VECTOR.GP ? 0 : error);
  const d = readDescriptor(cpu, selector, vector);
  const ar = accessRights(d);
  if ((selector & 3) !== cpl || !(ar & AR.S) || ar & TYPE.CODE || !(ar & TYPE.WRITABLE) || dplOf(ar) !== cpl) {
    throw cpu.fault(vector, error);
  }
  if (!(ar & AR.P)) throw cpu.fault(VECTOR.SS, error);
  installSegment(cpu, SEG.SS, selector, d);
}

/** MOV, POP, LDS … into a segment register other than CS, with the checks of the mode. */
export function loadSegment(cpu: Cpu, segment: number, selector: number): void {
  if (!cpu.protectedMode) {
    if (cpu.get("eflags") & EFLAGS.VM) loadV86Segment(cpu, segment, selector);
    else loadRealSegment(cpu, segment, selector);
    return;
  }
  if (segment === SEG.SS) {
    loadStackSegment(cpu, selector, cpu.cpl, VECTOR.GP);
    return;
  }
  if ((selector & 0xfffc) === 0) {
    nullSegment(cpu, segment, selector);
    return;
  }
  const d = readDescriptor(cpu, selector, VECTOR.GP);
  const ar = accessRights(d);
  const error = selectorError(selector);
  if (!(ar & AR.S) || (ar & TYPE.CODE && !(ar & TYPE.READABLE))) throw cpu.fault(VECTOR.GP, error);
  const conformingCode = ar & TYPE.CODE && ar & TYPE.CONFORMING;
  if (!conformingCode && dplOf(ar) < Math.max(cpu.cpl, selector & 3)) throw cpu.fault(VECTOR.GP, error);
  if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, error);
  installSegment(cpu, segment, selector, d);
}
