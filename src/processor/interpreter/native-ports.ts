/**
 * Natives: IN and OUT where the hypervisor serves them without an exit (`Cpu.inlinePorts`). PORT_CLASS tells what is at a
 * port; what only keeps a byte, or is not there at all, needs nobody's attention.
 */
import { EFLAGS } from "../../isa/flags.ts";
import { GPR, SEG } from "../../isa/state.ts";
import { call, i32, type Value } from "../../wasm/expression.ts";
import type { FunctionReference } from "../../wasm/module.ts";
import { PROC } from "../exits.ts";
import { PORT_BYTES, PORT_CLASS, PORT_KIND } from "../memory-map.ts";
import { BLOCKING, DR7 } from "../registers.ts";
import type { Native } from "./native.ts";
import { STATUS } from "./record.ts";

/** Functions that reach the hypervisor. */
export interface PortImports {
  /** (record, port, bytes) → value; exitReason is set when the engine must be left behind the instruction. */
  readonly portIn: FunctionReference;
  /** (record, port, bytes, value), likewise; `value` may have bits above its size. */
  readonly portOut: FunctionReference;
}

/** Type bit that a 32-bit TSS has and a 16-bit one has not, and where the former names its I/O bitmap (SDM 1 19.5.2). */
const TSS_32 = 8;
const TSS_BITMAP = 0x66;
const TSS_MIN_LIMIT = 103;

/** Bails unless the access is allowed, and nothing but the access itself is due at this instruction. */
function checkPlain(m: Native, port: Value, bytes: Value): void {
  const { f } = m;
  const flags = f.let(m.field("eflags"));
  m.bailIf(i32.and(flags, EFLAGS.TF | EFLAGS.VM));
  m.bailIf(i32.and(m.field("interruptibility"), BLOCKING.STI | BLOCKING.MOV_SS));
  m.bailIf(i32.and(m.field("dr7"), DR7.ENABLED));
  const controls = i32.and(m.field("procControls"), PROC.ioBitmaps | PROC.unconditionalIo);
  m.bailIf(i32.ne(controls, PROC.unconditionalIo));
  f.if(i32.gtU(m.field("cpl"), i32.and(i32.shrU(flags, Math.log2(EFLAGS.IOPL / 3)), 3)), () => {
    const limit = f.let(m.segment(SEG.TR, "limit"));
    m.bailIf(i32.eqz(i32.and(m.segment(SEG.TR, "ar"), TSS_32)));
    m.bailIf(i32.ltU(limit, TSS_MIN_LIMIT));
    const table = f.let(m.supervisor("readTable"));
    const base = f.let(m.segment(SEG.TR, "base"));
    const bitmap = i32.load16u(m.host(table, i32.add(base, TSS_BITMAP), 2));
    const at = f.let(i32.add(bitmap, i32.shrU(port, 3)));
    m.bailIf(i32.geU(at, limit));
    const bits = i32.shrU(i32.load16u(m.host(table, i32.add(base, at), 2)), i32.and(port, 7));
    m.bailIf(i32.and(bits, i32.sub(i32.shl(1, bytes), 1)));
  });
}

/** The access is done; the engine is left if somebody said so. */
function finish(m: Native): void {
  const { f } = m;
  f.if(i32.ne(m.field("exitReason"), -1), () => {
    m.setField("startEip", m.nextEip());
    f.return(STATUS.exit);
  });
  f.result(STATUS.next);
}

/** Port and size of the access, checked, and what is at the port; `register` is the operand that is DX in DX forms. */
function begin(m: Native, register: "ra" | "rb"): { port: Value; bytes: Value; kind: Value } {
  const { f } = m;
  // Immediate forms have no register there.
  const dx = i32.eq(m.record(register), GPR.edx);
  const immediate = i32.and(m.record("immediate"), 0xff);
  const port = f.let(i32.select(dx, i32.load16u(m.s, GPR.edx), immediate));
  const bytes = f.let(m.record("size"));
  const kind = f.let(i32.load8u(port, PORT_CLASS));
  m.bailIf(i32.eq(kind, PORT_KIND.exit));
  checkPlain(m, port, bytes);
  return { port, bytes, kind };
}

/** IN. */
export const input =
  ({ portIn }: PortImports) =>
  (m: Native): void => {
    const { f } = m;
    const { port, bytes, kind } = begin(m, "rb");
    f.if(i32.and(i32.gtU(kind, PORT_KIND.device), i32.eq(bytes, 1)), () => {
      f.store8(m.s, i32.load8u(port, PORT_BYTES), GPR.eax);
      f.return(STATUS.next);
    });
    const value = f.let(call(portIn, m.pc, port, bytes));
    f.if(i32.eq(bytes, 1), () => f.store8(m.s, value, GPR.eax));
    f.if(i32.eq(bytes, 2), () => f.store16(m.s, value, GPR.eax));
    f.if(i32.eq(bytes, 4), () => f.store32(m.s, value, GPR.eax));
    finish(m);
  };

/** OUT. */
export const output =
  ({ portOut }: PortImports) =>
  (m: Native): void => {
    const { f } = m;
    const { port, bytes, kind } = begin(m, "ra");
    f.if(i32.and(i32.gtU(kind, PORT_KIND.device), i32.eq(bytes, 1)), () => {
      f.if(i32.eq(kind, PORT_KIND.latch), () => f.store8(port, i32.load8u(m.s, GPR.eax), PORT_BYTES));
      f.return(STATUS.next);
    });
    f.do(call(portOut, m.pc, port, bytes, m.gpr(GPR.eax)));
    finish(m);
  };
