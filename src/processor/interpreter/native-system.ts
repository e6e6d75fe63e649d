/** Natives: segment registers, the stack in bulk, interrupt flag, control registers and a few more. */
import { EFLAGS, withZero } from "../../isa/flags.ts";
import { FIELD, GPR, SEG, SEG_STRIDE, segmentField } from "../../isa/state.ts";
import { call, i32, i64, type Value } from "../../wasm/expression.ts";
import { MODE } from "../cpu.ts";
import { PROC } from "../exits.ts";
import { STATE } from "../memory-map.ts";
import { BLOCKING, CR0, CR4, VECTOR } from "../registers.ts";
import type { Native } from "./native.ts";
import { SHAPE, STATUS } from "./record.ts";

/** Selector in the segment register numbered by `segment`. */
function selectorOf(m: Native, segment: Value): Value {
  return i32.load(i32.add(m.s, i32.mul(segment, SEG_STRIDE)), segmentField(0, "selector"));
}

const isMemory = (m: Native): Value => i32.and(m.record("shape"), SHAPE.memory);

/** Linear address of the memory operand, checked; leaves with the fault. */
export function operand(m: Native, bytes: number, write: boolean): Value {
  const { f, s, shared } = m;
  const offset = f.let(call(shared.effectiveAddress, s, m.pc));
  const linear = f.let(call(shared.segment, s, m.record("segment"), offset, bytes - 1, write ? 1 : 0));
  m.faultCheck();
  return linear;
}

/** Load the segment register, bailing where that takes more than MOV's plain case; `before` changes what else is due. */
function load(m: Native, segment: Value, selector: Value, before?: () => void): void {
  const { f } = m;
  m.bailIf(i32.eqz(call(m.functions.loadSegment, segment, selector)));
  before?.();
  f.if(i32.eq(segment, SEG.SS), () => m.holdInterrupts(BLOCKING.MOV_SS));
  modeChanged(m, segment);
}

/** End of a segment load: code behind it was decoded for the old mode key. */
function modeChanged(m: Native, segment: Value): void {
  const { f } = m;
  const old = f.let(m.field("modeKey"));
  // FS and GS have no part in the mode key, and outside protected mode nothing but CS has.
  f.if(i32.or(i32.gtU(segment, SEG.DS), i32.eqz(i32.and(old, MODE.protected))), () => f.return(STATUS.next));
  m.updateMode();
  f.if(i32.ne(m.field("modeKey"), old), () => m.jump(m.nextEip()));
  f.result(STATUS.next);
}

function moveToSegment(m: Native): void {
  const { f, s, shared } = m;
  const segment = f.let(m.record("ra"));
  m.bailIf(i32.or(i32.eq(segment, SEG.CS), i32.gtU(segment, SEG.GS)));
  const selector = f.temporary("i32");
  f.if(
    isMemory(m),
    () => {
      f.set(selector, call(shared.read16, s, operand(m, 2, false)));
      m.faultCheck();
    },
    () => f.set(selector, i32.load16u(m.record("rb"), STATE)),
  );
  load(m, segment, selector.get);
}

function moveFromSegment(m: Native): void {
  const { f, s, shared } = m;
  f.if(isMemory(m), () => {
    const segment = f.let(m.record("ra"));
    m.bailIf(i32.gtU(segment, SEG.GS));
    f.do(call(shared.write16, s, operand(m, 2, true), selectorOf(m, segment)));
    m.faultCheck();
    f.return(STATUS.next);
  });
  const segment = f.let(m.record("rb"));
  m.bailIf(i32.gtU(segment, SEG.GS));
  const selector = f.let(selectorOf(m, segment));
  f.if(
    i32.eq(m.record("size"), 2),
    () => f.store16(m.record("ra"), selector, STATE),
    () => f.store32(m.record("ra"), selector, STATE),
  );
  f.result(STATUS.next);
}

/** A 32-bit push of a selector moves ESP by 4 and writes 2 bytes (SDM 2B PUSH). */
const pushSegment =
  (segment: number) =>
  (m: Native): void => {
    const { f, s, shared } = m;
    const selector = m.segment(segment, "selector");
    f.if(i32.eq(m.record("size"), 2), () => {
      f.do(call(shared.push, s, selector, 2));
      m.faultCheck();
      f.return(STATUS.next);
    });
    m.bailIf(m.stackNotFlat());
    const top = f.let(i32.sub(m.gpr(GPR.esp), 4));
    f.do(call(shared.write16, s, top, selector));
    m.faultCheck();
    m.setGpr(GPR.esp, top);
    f.result(STATUS.next);
  };

const popSegment =
  (segment: number) =>
  (m: Native): void => {
    const { f, s, shared } = m;
    // POP SS moves the pointer by the old stack's size, even if the new segment has another.
    if (segment === SEG.SS) m.bailIf(m.stackNotFlat());
    const bytes = f.let(m.record("size"));
    const selector = f.let(i32.and(call(shared.pop, s, bytes), 0xffff));
    m.faultCheck();
    load(m, i32.const(segment), selector, () => f.do(call(shared.adjustStack, s, bytes)));
  };

/** LDS, LES, LFS and LGS: the pointer in flat memory, or in real mode. */
const loadFarPointer =
  (segment: number) =>
  (m: Native): void => {
    const { f, s, shared } = m;
    const wide = f.let(i32.eq(m.record("size"), 4));
    // The two halves lie side by side unless the offset wraps between them: then they are the helper's.
    const offset = f.let(call(shared.effectiveAddress, s, m.pc));
    m.bailIf(i32.gtU(i32.and(offset, 0xffff), 0xfff8));
    const linear = f.let(call(shared.segment, s, m.record("segment"), offset, i32.add(i32.shl(wide, 1), 3), 0));
    m.faultCheck();
    const at = m.host(f.let(m.field("readTable")), linear, 6);
    const selector = f.let(i32.select(wide, i32.load16u(at, 4), i32.load16u(at, 2)));
    const value = f.let(i32.load(at));
    m.bailIf(i32.eqz(call(m.functions.loadSegment, segment, selector)));
    f.if(
      wide,
      () => f.store32(m.record("ra"), value, STATE),
      () => f.store16(m.record("ra"), value, STATE),
    );
    modeChanged(m, i32.const(segment));
  };

function sti(m: Native): void {
  const { f } = m;
  const flags = f.let(m.field("eflags"));
  m.bailIf(i32.ltU(i32.and(i32.shrU(flags, 12), 3), m.field("cpl")));
  f.if(i32.and(flags, EFLAGS.IF), () => f.return(STATUS.next));
  m.bailIf(i32.and(m.field("procControls"), PROC.interruptWindow));
  m.setField("eflags", i32.or(flags, EFLAGS.IF));
  m.holdInterrupts(BLOCKING.STI);
  f.result(STATUS.next);
}

const REGISTERS = 8;

function pusha(m: Native): void {
  const { f } = m;
  m.bailIf(i32.ne(m.record("size"), 4));
  m.bailIf(m.stackNotFlat());
  const esp = f.let(m.gpr(GPR.esp));
  const top = f.let(i32.sub(esp, REGISTERS * 4));
  const at = m.host(f.let(m.field("writeTable")), top, REGISTERS * 4);
  for (let i = 0; i < REGISTERS; i++) f.store32(at, m.gpr(i * 8), (REGISTERS - 1 - i) * 4);
  m.setGpr(GPR.esp, top);
  f.result(STATUS.next);
}

function popa(m: Native): void {
  const { f } = m;
  m.bailIf(i32.ne(m.record("size"), 4));
  m.bailIf(m.stackNotFlat());
  const esp = f.let(m.gpr(GPR.esp));
  const at = m.host(f.let(m.field("readTable")), esp, REGISTERS * 4);
  for (let i = 0; i < REGISTERS; i++) {
    const slot = (REGISTERS - 1 - i) * 8;
    if (slot !== GPR.esp) m.setGpr(slot, i32.load(at, i * 4));
  }
  m.setGpr(GPR.esp, i32.add(esp, REGISTERS * 4));
  f.result(STATUS.next);
}

/** ENTER n, 0. */
function enter(m: Native): void {
  const { f } = m;
  m.bailIf(i32.or(i32.ne(m.record("size"), 4), i32.and(m.record("displacement"), 31)));
  m.bailIf(m.stackNotFlat());
  const frame = f.let(i32.sub(m.gpr(GPR.esp), 4));
  const top = f.let(i32.sub(frame, i32.and(m.record("immediate"), 0xffff)));
  const table = f.let(m.field("writeTable"));
  const at = m.host(table, frame, 4);
  // The processor probes the new top of stack for writing (SDM 2A ENTER).
  m.host(table, top, 4);
  f.store32(at, m.gpr(GPR.ebp));
  m.setGpr(GPR.ebp, frame);
  m.setGpr(GPR.esp, top);
  f.result(STATUS.next);
}

function xlat(m: Native): void {
  const { f, s, shared } = m;
  const sum = f.let(i32.add(m.gpr(GPR.ebx), i32.load8u(s, GPR.eax)));
  const short = i32.and(m.record("shape"), SHAPE.address16);
  const offset = i32.select(short, i32.and(sum, 0xffff), sum);
  const linear = f.let(call(shared.segment, s, m.record("segment"), offset, 0, 0));
  m.faultCheck();
  const value = f.let(call(shared.read8, s, linear));
  m.faultCheck();
  f.store8(s, value, GPR.eax);
  f.result(STATUS.next);
}

function compareExchange8(m: Native): void {
  const { f, s, shared } = m;
  const offset = f.let(call(shared.effectiveAddress, s, m.pc));
  const linear = f.let(call(shared.segment, s, m.record("segment"), offset, 7, 1));
  m.faultCheck();
  const at = m.host(f.let(m.field("writeTable")), linear, 8);
  const low = f.let(i32.load(at));
  const high = f.let(i32.load(at, 4));
  const differs = f.let(i32.or(i32.xor(low, m.gpr(GPR.eax)), i32.xor(high, m.gpr(GPR.edx))));
  f.if(
    differs,
    () => {
      m.setGpr(GPR.eax, low);
      m.setGpr(GPR.edx, high);
    },
    () => {
      f.store32(at, m.gpr(GPR.ebx));
      f.store32(at, m.gpr(GPR.ecx), 4);
    },
  );
  const result = f.let(m.field("flagsResult"));
  const carry = f.let(m.field("flagsCarry"));
  const changed = withZero(result, carry, f.let(i32.eqz(differs)));
  m.setField("flagsCarry", changed.carry);
  m.setField("flagsResult", changed.result);
  f.result(STATUS.next);
}

function moveFromControl(m: Native): void {
  const { f } = m;
  m.bailIf(m.field("cpl"));
  const number = f.let(m.record("rb"));
  const target = f.let(m.record("ra"));
  const answer = (value: Value): void => {
    f.store32(target, value, STATE);
    f.return(STATUS.next);
  };
  f.if(i32.eq(number, 2), () => answer(m.field("cr2")));
  f.if(i32.eqz(number), () => {
    m.bailIf(m.field("cr0Mask"));
    answer(m.field("cr0"));
  });
  f.if(i32.eq(number, 4), () => {
    m.bailIf(m.field("cr4Mask"));
    answer(m.field("cr4"));
  });
  m.bailIf(i32.or(i32.ne(number, 3), i32.and(m.field("procControls"), PROC.cr3Store)));
  f.store32(target, m.field("cr3"), STATE);
  f.result(STATUS.next);
}

/** Moves to CR0 that change the bits about the FPU only, and moves to CR2. */
function moveToControl(m: Native): void {
  const { f } = m;
  m.bailIf(m.field("cpl"));
  const number = f.let(m.record("ra"));
  const value = f.let(i32.load(m.record("rb"), STATE));
  f.if(i32.eq(number, 2), () => {
    m.setField("cr2", value);
    f.return(STATUS.next);
  });
  m.bailIf(number);
  m.bailIf(m.field("cr0Mask"));
  m.bailIf(i32.and(i32.xor(value, m.field("cr0")), ~(CR0.TS | CR0.MP | CR0.EM)));
  m.setFpuControl(value);
  f.result(STATUS.next);
}

function clts(m: Native): void {
  m.bailIf(m.field("cpl"));
  m.bailIf(i32.and(m.field("cr0Mask"), CR0.TS));
  m.setFpuControl(m.f.let(i32.and(m.field("cr0"), ~CR0.TS)));
  m.f.result(STATUS.next);
}

/** Between two looks at the clock the counter follows the instructions executed. */
function rdtsc(m: Native): void {
  const { f } = m;
  m.bailIf(i32.and(m.field("cr4"), CR4.TSD));
  m.bailIf(i32.and(m.field("procControls"), PROC.rdtsc));
  const at = f.let(m.field("tscAt"));
  const since = f.let(i32.sub(at, m.budgetBehind()));
  m.bailIf(i32.or(i32.ltS(at, 0), i32.gtU(since, m.field("tscReach"))));
  const step = i64.mul(i64.extendU(since), i64.extendU(m.field("tscStep")));
  const now = f.let(i64.add(i64.load(m.s, FIELD.tscRead.offset), i64.shrU(step, 16n)));
  m.setGpr(GPR.eax, i32.wrap(now));
  m.setGpr(GPR.edx, i32.wrap(i64.shrU(now, 32n)));
  f.result(STATUS.next);
}

/** #UD. */
function undefinedInstruction(m: Native): void {
  m.setField("faultError", 0);
  m.setField("faultVector", VECTOR.UD);
  m.f.result(STATUS.fault);
}

/** By name of the helper, with `:argument` where the helper takes one. */
export const SYSTEM_NATIVES: Readonly<Record<string, (m: Native) => void>> = {
  moveToSegment,
  moveFromSegment,
  ...Object.fromEntries([0, 1, 2, 3, 4, 5].map((segment) => [`pushSegment:${segment}`, pushSegment(segment)])),
  ...Object.fromEntries([0, 2, 3, 4, 5].map((segment) => [`popSegment:${segment}`, popSegment(segment)])),
  ...Object.fromEntries([0, 3, 4, 5].map((segment) => [`loadFarPointer:${segment}`, loadFarPointer(segment)])),
  sti,
  pusha,
  popa,
  enter,
  xlat,
  cmpxchg8b: compareExchange8,
  moveFromControl,
  moveToControl,
  clts,
  rdtsc,
  undefined: undefinedInstruction,
};
