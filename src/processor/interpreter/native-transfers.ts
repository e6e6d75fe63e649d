/** Natives: delivery of events, INT, IRET, SYSENTER, SYSEXIT and far transfers, as flat 32-bit systems use them. */
import { EFLAGS } from "../../isa/flags.ts";
import { GPR, SEG } from "../../isa/state.ts";
import { call, i32, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { MODE } from "../cpu.ts";
import { PROC } from "../exits.ts";
import { AR, BLOCKING, DR7, SYSTEM_TYPE, VECTOR } from "../registers.ts";
import { dplOf, Native, type NativeFunctions } from "./native.ts";
import { STATUS } from "./record.ts";
import type { SharedFunctions } from "./shared.ts";

const RPL = 3;
const NULL_MASK = 0xfffc;
const GATE_PRESENT = 0x8000;
/** Type and S bit of a gate, in the high word. */
const GATE_TYPE_SHIFT = 8;
const GATE_TYPE = 0x1f;
/** Words of an interrupt frame with and without a change of stacks. */
const SAME_FRAME = 12;
const INNER_FRAME = 20;
/** ESP0 stands here in a 32-bit TSS, eight bytes for each level; SS follows (SDM 3A figure 7-2). */
const TSS_STACKS = 4;
/** Flat 4 GiB 32-bit segments, DPL 0 accessed code and data: what SYSENTER and SYSEXIT load (SDM 2B). */
const FLAT_LOW = 0x0000ffff;
const FLAT_CODE = 0x00cf9b00;
const FLAT_DATA = 0x00cf9300;
const DPL3 = 3 << 13;

/**
 * Define (vector, software, error, with error code, return EIP) → 1 when the event was delivered through a 32-bit gate:
 * `eip` and all else is set; 0 when nothing was done.
 */
export function defineDeliver(
  module: ModuleWriter,
  shared: SharedFunctions,
  functions: NativeFunctions,
): FunctionReference {
  const reference = module.declare({ params: ["i32", "i32", "i32", "i32", "i32"], results: ["i32"] }, "deliver");
  const f = new FunctionWriter(reference.type);
  const m = new Native(f, shared, functions, () => f.return(0));
  const [vector, software, error, withError, eip] = f.params.map((p) => p.get) as [Value, Value, Value, Value, Value];
  m.bailIf(i32.eqz(i32.and(m.field("modeKey"), MODE.protected)));
  const supervisorRead = f.let(m.supervisor("readTable"));
  const index = f.let(i32.shl(vector, 3));
  m.bailIf(i32.gtU(i32.or(index, 7), m.field("idtrLimit")));
  const gateAt = m.host(supervisorRead, i32.add(m.field("idtrBase"), index), 8);
  const low = f.let(i32.load(gateAt));
  const high = f.let(i32.load(gateAt, 4));
  const type = f.let(i32.and(i32.shrU(high, GATE_TYPE_SHIFT), GATE_TYPE));
  m.bailIf(i32.ne(i32.or(type, 1), SYSTEM_TYPE.TRAP32));
  m.bailIf(i32.eqz(i32.and(high, GATE_PRESENT)));
  const cpl = f.let(m.field("cpl"));
  m.bailIf(i32.and(software, i32.ltU(dplOf({ high }), cpl)));
  const selector = f.let(i32.shrU(low, 16));
  m.bailIf(i32.eqz(i32.and(selector, NULL_MASK)));
  const code = m.descriptor(selector);
  const target = f.let(i32.or(i32.and(low, 0xffff), i32.and(high, 0xffff0000 | 0)));
  m.checkCode(code, target);
  const level = f.let(dplOf(code));
  m.bailIf(i32.gtU(level, cpl));
  const flags = f.let(m.eflags());
  const extra = f.let(i32.shl(withError, 2));
  const top = f.temporary("i32");
  const store = (at: Value, inner: boolean): void => {
    const frame = f.let(i32.add(at, extra));
    // Without an error code EIP is written over it.
    f.store32(at, error);
    f.store32(frame, eip);
    f.store32(frame, m.segment(SEG.CS, "selector"), 4);
    f.store32(frame, flags, 8);
    if (!inner) return;
    f.store32(frame, m.gpr(GPR.esp), 12);
    f.store32(frame, m.segment(SEG.SS, "selector"), 16);
  };
  f.if(
    i32.ltU(level, cpl),
    () => {
      m.bailIf(i32.eqz(i32.and(m.segment(SEG.TR, "ar"), SYSTEM_TYPE.TSS32 & ~1)));
      const at = f.let(i32.add(i32.shl(level, 3), TSS_STACKS));
      m.bailIf(i32.gtU(i32.add(at, 5), m.segment(SEG.TR, "limit")));
      const stackAt = m.host(supervisorRead, i32.add(m.segment(SEG.TR, "base"), at), 6);
      const ss = f.let(i32.load16u(stackAt, 4));
      m.bailIf(i32.eqz(i32.and(ss, NULL_MASK)));
      const stack = m.descriptor(ss);
      m.checkStack(stack, ss, level);
      m.bailIf(i32.or(i32.xor(stack.low, FLAT_LOW), i32.and(i32.xor(stack.high, FLAT_DATA), 0xff8f00ff | 0)));
      const bytes = f.let(i32.add(extra, INNER_FRAME));
      f.set(top, i32.sub(i32.load(stackAt), bytes));
      store(m.host(f.let(m.supervisor("writeTable")), top.get, bytes), true);
      m.install(SEG.SS, ss, stack);
      m.setCpl(level);
    },
    () => {
      m.bailIf(m.stackNotFlat());
      const bytes = f.let(i32.add(extra, SAME_FRAME));
      f.set(top, i32.sub(m.gpr(GPR.esp), bytes));
      store(m.host(f.let(m.field("writeTable")), top.get, bytes), false);
    },
  );
  m.setGpr(GPR.esp, top.get);
  const clear = f.let(
    i32.select(
      i32.and(type, 1),
      EFLAGS.TF | EFLAGS.NT | EFLAGS.RF | EFLAGS.VM,
      EFLAGS.TF | EFLAGS.NT | EFLAGS.RF | EFLAGS.VM | EFLAGS.IF,
    ),
  );
  m.setField("eflags", i32.and(m.field("eflags"), i32.xor(clear, -1)));
  m.install(SEG.CS, f.let(i32.or(i32.and(selector, NULL_MASK), level)), code);
  m.setField("eip", target);
  m.updateMode();
  f.result(1);
  module.define(reference, f.finish());
  return reference;
}

/** Vectors below are exceptions. */
const EXCEPTIONS = 32;
/** Vectors that push an error code (SDM 3A table 6-1). */
const WITH_ERROR = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);

/**
 * Define (EIP) → 1 when the fault that `faultVector` and `faultError` tell of was delivered; 0 when nothing was done,
 * since the hypervisor wants it, something is being debugged, or delivery is not plain.
 */
export function defineDeliverFault(
  module: ModuleWriter,
  shared: SharedFunctions,
  functions: NativeFunctions,
  deliver: FunctionReference,
): FunctionReference {
  const reference = module.declare({ params: ["i32"], results: ["i32"] }, "deliverFault");
  const f = new FunctionWriter(reference.type);
  const m = new Native(f, shared, functions, () => f.return(0));
  const vector = f.let(m.field("faultVector"));
  const error = f.let(m.field("faultError"));
  const flags = f.let(m.field("eflags"));
  const debugged = i32.or(i32.and(flags, EFLAGS.TF | EFLAGS.VM), i32.and(m.field("dr7"), DR7.ENABLED));
  const held = i32.and(m.field("interruptibility"), BLOCKING.STI | BLOCKING.MOV_SS);
  m.bailIf(i32.or(debugged, held));
  m.bailIf(i32.eq(vector, VECTOR.DB));
  // No exception: an access that must wait.
  m.bailIf(i32.geU(vector, EXCEPTIONS));
  const wanted = i32.and(i32.shrU(m.field("exceptionBitmap"), vector), 1);
  const other = i32.ne(i32.and(error, m.field("pageFaultMask")), m.field("pageFaultMatch"));
  m.bailIf(i32.xor(wanted, i32.and(i32.eq(vector, VECTOR.PF), other)));
  // Faults push RF set, so that the instruction can be resumed over its breakpoint.
  m.setField("eflags", i32.or(flags, EFLAGS.RF));
  const withError = i32.and(i32.shrU(WITH_ERROR, vector), 1);
  f.if(i32.eqz(call(deliver, vector, 0, error, withError, f.params[0]!.get)), () => {
    m.setField("eflags", flags);
    f.return(0);
  });
  m.setField("faultVector", -1);
  f.result(1);
  module.define(reference, f.finish());
  return reference;
}

/** INT n through a 32-bit gate; single-stepping, which needs care behind it, is the helper's. */
export const int =
  (deliver: FunctionReference) =>
  (m: Native): void => {
    const { f } = m;
    const flags = f.let(m.field("eflags"));
    m.bailIf(i32.and(flags, EFLAGS.TF | EFLAGS.VM));
    // What is pushed has RF clear.
    m.setField("eflags", i32.and(flags, ~EFLAGS.RF));
    const vector = i32.and(m.record("immediate"), 0xff);
    m.bailIf(i32.eqz(call(deliver, vector, 1, 0, 0, m.nextEip())));
    m.jump(m.field("eip"));
    f.unreachable();
  };

/** Leave for `eip`; out of the engine when the new flags may make an event deliverable. */
function leave(m: Native, eip: Value): void {
  const flags = m.f.let(m.field("eflags"));
  const window = i32.and(i32.ne(i32.and(m.field("procControls"), PROC.interruptWindow), 0), i32.shrU(flags, 9));
  const resumes = i32.and(flags, EFLAGS.RF);
  const debugged = i32.and(i32.ne(resumes, 0), i32.ne(i32.and(m.field("dr7"), DR7.ENABLED), 0));
  m.setField("startEip", eip);
  // RF means nothing without breakpoints, but it would show in the flags that an interrupt before the next instruction pushes.
  m.f.if(resumes, () => m.setField("resumeAt", m.budgetBehind()));
  m.f.result(i32.select(i32.or(i32.or(i32.and(flags, EFLAGS.TF), debugged), window), STATUS.exit, STATUS.jump));
}

const IRET_FLAGS =
  EFLAGS.CF | EFLAGS.PF | EFLAGS.AF | EFLAGS.ZF | EFLAGS.SF | EFLAGS.TF | EFLAGS.DF | EFLAGS.OF | EFLAGS.NT |
  EFLAGS.AC | EFLAGS.ID | EFLAGS.RF; // biome-ignore format: a list

/** Bails if a data segment could not be kept at the outer level `level`: it would have to become null. */
function checkKept(m: Native, level: Value): void {
  const { f } = m;
  for (const segment of [SEG.ES, SEG.DS, SEG.FS, SEG.GS]) {
    const ar = f.let(m.segment(segment, "ar"));
    const usable = i32.eqz(i32.and(ar, AR.UNUSABLE));
    m.bailIf(i32.and(usable, i32.ltU(i32.and(i32.shrU(ar, 5), 3), level)));
  }
}

/** IRETD within a ring or to an outer one, protected mode, no task return. */
export function iret(m: Native): void {
  const { f } = m;
  m.bailIf(i32.ne(m.record("size"), 4));
  m.bailIf(i32.eqz(i32.and(m.field("modeKey"), MODE.protected)));
  m.bailIf(i32.and(m.field("eflags"), EFLAGS.NT));
  m.bailIf(m.stackNotFlat());
  const readTable = f.let(m.field("readTable"));
  const esp = f.let(m.gpr(GPR.esp));
  const at = m.host(readTable, esp, SAME_FRAME);
  const eip = f.let(i32.load(at));
  const selector = f.let(i32.load16u(at, 4));
  const flags = f.let(i32.load(at, 8));
  m.bailIf(i32.and(flags, EFLAGS.VM));
  m.bailIf(i32.eqz(i32.and(selector, NULL_MASK)));
  const level = f.let(i32.and(selector, RPL));
  const cpl = f.let(m.field("cpl"));
  m.bailIf(i32.ltU(level, cpl));
  const code = m.descriptor(selector);
  m.checkCode(code, eip);
  m.bailIf(i32.ne(dplOf(code), level));
  const current = f.let(m.field("eflags"));
  const mayIf = i32.geU(i32.and(i32.shrU(current, 12), 3), cpl);
  const kernel = i32.select(cpl, 0, EFLAGS.IOPL | EFLAGS.VIF | EFLAGS.VIP);
  const mask = f.let(i32.or(i32.or(i32.select(mayIf, EFLAGS.IF, 0), kernel), IRET_FLAGS));
  f.if(
    i32.eq(level, cpl),
    () => m.setGpr(GPR.esp, i32.add(esp, SAME_FRAME)),
    () => {
      m.host(readTable, esp, INNER_FRAME);
      const ss = f.let(i32.load16u(at, 16));
      m.bailIf(i32.eqz(i32.and(ss, NULL_MASK)));
      const stack = m.descriptor(ss);
      m.checkStack(stack, ss, level);
      checkKept(m, level);
      m.setGpr(GPR.esp, i32.load(at, 12));
      m.install(SEG.SS, ss, stack);
      m.setCpl(level);
    },
  );
  m.setField("interruptibility", i32.and(m.field("interruptibility"), ~BLOCKING.NMI));
  m.install(SEG.CS, selector, code);
  m.mergeFlags(flags, mask);
  m.updateMode();
  leave(m, eip);
}

/** The flat code and stack segments of SYSENTER and SYSEXIT, from `cs` on. */
function flatSegments(m: Native, cs: Value, dpl: number): void {
  const { f } = m;
  m.install(SEG.CS, cs, { low: i32.const(FLAT_LOW), high: i32.const(FLAT_CODE | dpl) });
  m.install(SEG.SS, f.let(i32.add(cs, 8)), { low: i32.const(FLAT_LOW), high: i32.const(FLAT_DATA | dpl) });
}

export function sysenter(m: Native): void {
  const { f } = m;
  m.bailIf(i32.eqz(i32.and(m.field("modeKey"), MODE.protected)));
  const cs = f.let(i32.and(m.field("sysenterCs"), NULL_MASK));
  m.bailIf(i32.eqz(cs));
  m.setField("eflags", i32.and(m.field("eflags"), ~(EFLAGS.IF | EFLAGS.RF)));
  m.setCpl(i32.const(0));
  flatSegments(m, cs, 0);
  m.setGpr(GPR.esp, m.field("sysenterEsp"));
  m.updateMode();
  m.jump(m.field("sysenterEip"));
  f.unreachable();
}

export function sysexit(m: Native): void {
  const { f } = m;
  m.bailIf(i32.eqz(i32.and(m.field("modeKey"), MODE.protected)));
  const cs = f.let(i32.and(m.field("sysenterCs"), NULL_MASK));
  m.bailIf(i32.or(i32.eqz(cs), m.field("cpl")));
  m.setCpl(i32.const(3));
  flatSegments(m, f.let(i32.or(i32.add(cs, 16), RPL)), DPL3);
  m.setGpr(GPR.esp, m.gpr(GPR.ecx));
  m.updateMode();
  m.jump(m.gpr(GPR.edx));
  f.unreachable();
}

/** What a far transfer within the privilege level needs of its code segment, held until nothing can fail any more. */
interface Target {
  /** Load CS and leave for the target; ends the function. */
  enter(): void;
}

/** Look at the code segment of a direct transfer or return; bails unless it is plain and of the current privilege. */
function target(m: Native, selector: Value, eip: Value): Target {
  const { f } = m;
  const real = f.let(i32.eqz(i32.and(m.field("modeKey"), MODE.protected)));
  const low = f.temporary("i32");
  const high = f.temporary("i32");
  f.if(
    real,
    () => {
      // Limit and rights stay, in virtual-8086 mode because they are what that mode has.
      m.bailIf(i32.gtU(eip, m.segment(SEG.CS, "limit")));
      m.bailIf(i32.and(m.segment(SEG.CS, "ar"), AR.UNUSABLE));
      m.bailIf(i32.and(i32.ne(i32.and(m.field("eflags"), EFLAGS.VM), 0), i32.gtU(eip, 0xffff)));
    },
    () => {
      m.bailIf(i32.eqz(i32.and(selector, NULL_MASK)));
      const d = m.descriptor(selector);
      m.checkCode(d, eip);
      const cpl = f.let(m.field("cpl"));
      m.bailIf(i32.or(i32.xor(dplOf(d), cpl), i32.xor(i32.and(selector, RPL), cpl)));
      f.set(low, d.low);
      f.set(high, d.high);
    },
  );
  return {
    enter: () => {
      f.if(
        real,
        () => {
          m.setSegment(SEG.CS, "base", i32.shl(selector, 4));
          m.setSegment(SEG.CS, "selector", selector);
        },
        () => {
          m.install(SEG.CS, selector, { low: low.get, high: high.get });
          m.updateMode();
        },
      );
      m.jump(eip);
      f.unreachable();
    },
  };
}

/** The far pointer of `JMP` and `CALL`: in the instruction, or in memory. */
function pointer(m: Native, memory: boolean): { selector: Value; eip: Value } {
  const { f, s, shared } = m;
  const wide = f.let(i32.eq(m.record("size"), 4));
  if (!memory) {
    const eip = m.record("immediate");
    return {
      selector: f.let(i32.and(m.record("displacement"), 0xffff)),
      eip: f.let(i32.select(wide, eip, i32.and(eip, 0xffff))),
    };
  }
  // In flat memory only; elsewhere the pointer's two halves are checked one by one.
  m.bailIf(i32.eqz(i32.and(m.field("modeKey"), MODE.flat)));
  m.bailIf(i32.and(m.record("segment"), 4));
  const at = m.host(f.let(m.field("readTable")), call(shared.effectiveAddress, s, m.pc), 6);
  return {
    selector: f.let(i32.select(wide, i32.load16u(at, 4), i32.load16u(at, 2))),
    eip: f.let(i32.select(wide, i32.load(at), i32.load16u(at))),
  };
}

export const farJump =
  (memory: boolean) =>
  (m: Native): void => {
    const { selector, eip } = pointer(m, memory);
    target(m, selector, eip).enter();
  };

export const farCall =
  (memory: boolean) =>
  (m: Native): void => {
    const { f, s, shared } = m;
    const { selector, eip } = pointer(m, memory);
    const to = target(m, selector, eip);
    const bytes = f.let(m.record("size"));
    const esp = f.let(m.gpr(GPR.esp));
    const next = f.let(m.nextEip());
    f.do(call(shared.push, s, m.segment(SEG.CS, "selector"), bytes));
    m.faultCheck();
    f.do(call(shared.push, s, next, bytes));
    m.faultCheck(() => m.setGpr(GPR.esp, esp));
    to.enter();
  };

export function returnFar(m: Native): void {
  const { f, s, shared } = m;
  const bytes = f.let(m.record("size"));
  const esp = f.let(m.gpr(GPR.esp));
  const undo = (): void => m.setGpr(GPR.esp, esp);
  const eip = f.let(call(shared.pop, s, bytes));
  m.faultCheck();
  f.do(call(shared.adjustStack, s, bytes));
  const selector = f.let(i32.and(call(shared.pop, s, bytes), 0xffff));
  m.faultCheck(undo);
  // What follows may bail: the helper reads the stack anew.
  undo();
  const to = target(m, selector, eip);
  f.do(call(shared.adjustStack, s, i32.add(i32.shl(bytes, 1), i32.and(m.record("immediate"), 0xffff))));
  to.enter();
}
