/** Hardware task switching through TSS descriptors and task gates. SDM 3A 7.3. */
import { EFLAGS } from "../isa/flags.ts";
import { SEG } from "../isa/state.ts";
import { type Cpu, GuestFault } from "./cpu.ts";
import {
  accessRights,
  type Descriptor,
  descriptorBase,
  descriptorLimit,
  dplOf,
  findDescriptor,
  installSegment,
  loadV86Segment,
  nullSegment,
  readDescriptor,
  selectorError,
} from "./descriptors.ts";
import { PAGE_ACCESS } from "./paging.ts";
import { AR, CR0, DR6, SYSTEM_TYPE, TYPE, VECTOR } from "./registers.ts";

/** What causes a task switch (SDM 3C 27.2.1, task-switch qualification). */
export const TASK_SOURCE = { call: 0, iret: 1, jump: 2, gate: 3 } as const;

/** Offsets in a 32-bit TSS (SDM 3A figure 7-2) and a 16-bit one (figure 7-10). */
const TSS32 = { cr3: 28, eip: 32, eflags: 36, registers: 40, segments: 72, ldt: 96, trap: 100, last: 103 } as const;
const TSS16 = { ip: 14, flags: 16, registers: 18, segments: 34, ldt: 42, last: 43 } as const;

/** All flags but the reserved ones. */
const EFLAGS_WRITABLE = 0x3f7fd5;

/**
 * Switch to the task whose TSS is `selector`. `eip` is what the old task resumes at; `ext` the EXT bit of error codes.
 * Sets every register of the new task; faults before the commit point leave the old one as it was.
 */
export function switchTask(cpu: Cpu, selector: number, source: number, eip: number, ext: number): void {
  const bad = source === TASK_SOURCE.iret ? VECTOR.TS : VECTOR.GP;
  if (selector & 4 || (selector & 0xfffc) === 0) throw cpu.fault(bad, selectorError(selector) | ext);
  const d = findDescriptor(cpu, selector);
  if (!d) throw cpu.fault(bad, selectorError(selector) | ext);
  const ar = accessRights(d);
  const type = ar & (AR.TYPE | AR.S);
  const wanted = source === TASK_SOURCE.iret ? 3 : 1;
  if ((type & ~8) !== wanted) throw cpu.fault(bad, selectorError(selector) | ext);
  if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, selectorError(selector) | ext);
  const wide = (type & 8) !== 0;
  const limit = descriptorLimit(d);
  if (limit < (wide ? TSS32.last : TSS16.last)) throw cpu.fault(VECTOR.TS, selectorError(selector) | ext);
  const base = descriptorBase(d);
  // Touch both task segments now: no page fault may come after the commit point.
  for (const at of [base, base + (wide ? TSS32.last : TSS16.last)]) cpu.translate(at | 0, PAGE_ACCESS.write);
  saveOld(cpu, source, eip);
  const oldTr = cpu.segment(SEG.TR, "selector");
  if (source === TASK_SOURCE.call || source === TASK_SOURCE.gate) cpu.writeSystem(base, 2, oldTr);
  loadNew(cpu, selector, source, d, base, limit, wide);
}

function saveOld(cpu: Cpu, source: number, eip: number): void {
  const base = cpu.segment(SEG.TR, "base");
  const oldWide = (cpu.segment(SEG.TR, "ar") & 8) !== 0;
  for (const at of [0, oldWide ? TSS32.last : TSS16.last]) cpu.translate((base + at) | 0, PAGE_ACCESS.write);
  let flags = cpu.eflags();
  if (source === TASK_SOURCE.iret) flags &= ~EFLAGS.NT;
  if (source === TASK_SOURCE.jump || source === TASK_SOURCE.iret) {
    const old = findDescriptor(cpu, cpu.segment(SEG.TR, "selector"));
    if (old) cpu.writeSystem((old.address + 4) | 0, 4, old.high & ~(2 << 8));
  }
  if (oldWide) {
    cpu.writeSystem((base + TSS32.eip) | 0, 4, eip);
    cpu.writeSystem((base + TSS32.eflags) | 0, 4, flags);
    for (let i = 0; i < 8; i++) cpu.writeSystem((base + TSS32.registers + i * 4) | 0, 4, cpu.gpr(i));
    for (let i = 0; i < 6; i++) cpu.writeSystem((base + TSS32.segments + i * 4) | 0, 2, cpu.segment(i, "selector"));
  } else {
    cpu.writeSystem((base + TSS16.ip) | 0, 2, eip & 0xffff);
    cpu.writeSystem((base + TSS16.flags) | 0, 2, flags & 0xffff);
    for (let i = 0; i < 8; i++) cpu.writeSystem((base + TSS16.registers + i * 2) | 0, 2, cpu.gpr16(i));
    for (let i = 0; i < 4; i++) cpu.writeSystem((base + TSS16.segments + i * 2) | 0, 2, cpu.segment(i, "selector"));
  }
}

function loadNew(
  cpu: Cpu,
  selector: number,
  source: number,
  d: Descriptor,
  base: number,
  limit: number,
  wide: boolean,
): void {
  if (source !== TASK_SOURCE.iret) cpu.writeSystem((d.address + 4) | 0, 4, d.high | (2 << 8));
  const selectors: number[] = [];
  const registers: number[] = [];
  let eip: number;
  let flags: number;
  let ldt: number;
  let trap = false;
  if (wide) {
    eip = cpu.readSystem((base + TSS32.eip) | 0, 4);
    flags = cpu.readSystem((base + TSS32.eflags) | 0, 4);
    for (let i = 0; i < 8; i++) registers.push(cpu.readSystem((base + TSS32.registers + i * 4) | 0, 4));
    for (let i = 0; i < 6; i++) selectors.push(cpu.readSystem((base + TSS32.segments + i * 4) | 0, 2));
    ldt = cpu.readSystem((base + TSS32.ldt) | 0, 2);
    trap = (cpu.readSystem((base + TSS32.trap) | 0, 2) & 1) !== 0;
    const cr3 = cpu.readSystem((base + TSS32.cr3) | 0, 4);
    if (cpu.get("cr0") & CR0.PG) cpu.loadCr3(cr3);
  } else {
    eip = cpu.readSystem((base + TSS16.ip) | 0, 2);
    flags = cpu.readSystem((base + TSS16.flags) | 0, 2);
    for (let i = 0; i < 8; i++) registers.push(cpu.readSystem((base + TSS16.registers + i * 2) | 0, 2) | 0xffff0000);
    for (let i = 0; i < 4; i++) selectors.push(cpu.readSystem((base + TSS16.segments + i * 2) | 0, 2));
    selectors.push(0, 0);
    ldt = cpu.readSystem((base + TSS16.ldt) | 0, 2);
  }
  if (source === TASK_SOURCE.call || source === TASK_SOURCE.gate) flags |= EFLAGS.NT;
  cpu.setSegment(SEG.TR, selector, base, limit, accessRights(d) | 2);
  cpu.set("cr0", cpu.get("cr0") | CR0.TS);
  cpu.updateVectorGate();
  cpu.set("dr7", cpu.get("dr7") & ~0x155);
  cpu.setEflags(flags & EFLAGS_WRITABLE);
  cpu.set("eip", eip);
  for (let i = 0; i < 8; i++) cpu.setGpr(i, registers[i]!);
  for (let i = 0; i < 6; i++) nullSegment(cpu, i, selectors[i]!);
  inNewTask(() => {
    loadLdt(cpu, ldt);
    if (flags & EFLAGS.VM) {
      cpu.set("cpl", 3);
      for (let i = 0; i < 6; i++) loadV86Segment(cpu, i, selectors[i]!);
      cpu.updateMode();
    } else {
      loadTaskSegments(cpu, selectors);
    }
    if (eip >>> 0 > cpu.segment(SEG.CS, "limit") >>> 0) throw cpu.fault(VECTOR.GP, 0);
    if (trap) throw cpu.fault(VECTOR.DB, DR6.BT);
  });
}

/** Do what lies behind the commit point of a task switch: faults belong to the new task (SDM 3A 7.3). */
export function inNewTask(body: () => void): void {
  try {
    body();
  } catch (fault) {
    if (fault instanceof GuestFault) fault.newTask = true;
    throw fault;
  }
}

function loadLdt(cpu: Cpu, ldt: number): void {
  if ((ldt & 0xfffc) === 0) {
    nullSegment(cpu, SEG.LDTR, ldt);
    return;
  }
  const d = ldt & 4 ? undefined : findDescriptor(cpu, ldt);
  if (!d || (accessRights(d) & (AR.S | AR.TYPE)) !== SYSTEM_TYPE.LDT || !(accessRights(d) & AR.P)) {
    throw cpu.fault(VECTOR.TS, selectorError(ldt));
  }
  cpu.setSegment(SEG.LDTR, ldt, descriptorBase(d), descriptorLimit(d), accessRights(d));
}

function loadTaskSegments(cpu: Cpu, selectors: readonly number[]): void {
  const cs = selectors[SEG.CS]!;
  const rpl = cs & 3;
  cpu.set("cpl", rpl);
  if ((cs & 0xfffc) === 0) throw cpu.fault(VECTOR.TS, 0);
  const code = readDescriptor(cpu, cs, VECTOR.TS);
  const codeAr = accessRights(code);
  const conforming = (codeAr & TYPE.CONFORMING) !== 0;
  if (!(codeAr & AR.S) || !(codeAr & TYPE.CODE) || (conforming ? dplOf(codeAr) > rpl : dplOf(codeAr) !== rpl)) {
    throw cpu.fault(VECTOR.TS, selectorError(cs));
  }
  if (!(codeAr & AR.P)) throw cpu.fault(VECTOR.NP, selectorError(cs));
  const ss = selectors[SEG.SS]!;
  if ((ss & 0xfffc) === 0) throw cpu.fault(VECTOR.TS, selectorError(ss));
  const stack = readDescriptor(cpu, ss, VECTOR.TS);
  const stackAr = accessRights(stack);
  if (
    !(stackAr & AR.S) ||
    stackAr & TYPE.CODE ||
    !(stackAr & TYPE.WRITABLE) ||
    dplOf(stackAr) !== rpl ||
    (ss & 3) !== rpl
  ) {
    throw cpu.fault(VECTOR.TS, selectorError(ss));
  }
  if (!(stackAr & AR.P)) throw cpu.fault(VECTOR.SS, selectorError(ss));
  installSegment(cpu, SEG.CS, cs, code);
  installSegment(cpu, SEG.SS, ss, stack);
  for (const segment of [SEG.DS, SEG.ES, SEG.FS, SEG.GS]) {
    const selector = selectors[segment]!;
    if ((selector & 0xfffc) === 0) continue;
    const d = readDescriptor(cpu, selector, VECTOR.TS);
    const ar = accessRights(d);
    const readable = ar & AR.S && (!(ar & TYPE.CODE) || ar & TYPE.READABLE);
    const checked = !(ar & TYPE.CODE && ar & TYPE.CONFORMING);
    if (!readable || (checked && dplOf(ar) < Math.max(rpl, selector & 3)))
      throw cpu.fault(VECTOR.TS, selectorError(selector));
    if (!(ar & AR.P)) throw cpu.fault(VECTOR.NP, selectorError(selector));
    installSegment(cpu, segment, selector, d);
  }
  cpu.updateMode();
}
