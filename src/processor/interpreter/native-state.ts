/** Natives: FXSAVE and FXRSTOR, and POP to memory. */
import { FPU_REGS, FPU_SIGN_EXPONENT, FPU_STRIDE, GPR, XMM_REGS, XMM_STRIDE } from "../../isa/state.ts";
import { MXCSR_VALID } from "../../isa/vector/constants.ts";
import { EXCEPTIONS, FCW_FIXED, FCW_WRITABLE, FSW } from "../../isa/x87/constants.ts";
import { FOP_MASK, FXSAVE, FXSAVE_BYTES } from "../../isa/x87/environment.ts";
import { call, i32, i64, type Value } from "../../wasm/expression.ts";
import { v128 } from "../../wasm/simd.ts";
import { CR0, CR4 } from "../registers.ts";
import type { Native } from "./native.ts";
import { operand } from "./native-system.ts";
import { SHAPE, STATUS } from "./record.ts";

/** From TOP in the status word to the offset of a register, and what is left of it. */
const TOP_TO_OFFSET = 7;
const OFFSET_MASK = 0x70;
const REGISTERS = 8;
const ALIGNMENT = 16;

/** Host address of FXSAVE's image, if it is plain and aligned and nothing raises #NM. */
function image(m: Native, table: "readTable" | "writeTable"): Value {
  const { f } = m;
  m.bailIf(i32.and(m.field("cr0"), CR0.EM | CR0.TS));
  const linear = f.let(operand(m, FXSAVE_BYTES, table === "writeTable"));
  m.bailIf(i32.and(linear, ALIGNMENT - 1));
  return m.host(f.let(m.field(table)), linear, FXSAVE_BYTES);
}

/** Address of ST(index), less that of the x87's registers. */
function stackRegister(m: Native, fsw: Value, index: number): Value {
  const { f } = m;
  const offset = i32.add(i32.shrU(fsw, TOP_TO_OFFSET), index * FPU_STRIDE);
  return f.let(i32.add(m.s, i32.and(offset, OFFSET_MASK)));
}

function fxsave(m: Native): void {
  const { f, s } = m;
  const at = image(m, "writeTable");
  const fsw = f.let(m.field("fsw"));
  f.store16(at, m.field("fcw"), FXSAVE.fcw);
  f.store16(at, fsw, FXSAVE.fsw);
  f.store16(at, i32.and(m.field("ftw"), 0xff), FXSAVE.ftw);
  f.store16(at, i32.and(m.field("fop"), FOP_MASK), FXSAVE.fop);
  f.store32(at, m.field("fip"), FXSAVE.fip);
  f.store32(at, i32.and(m.field("fcs"), 0xffff), FXSAVE.fcs);
  f.store32(at, m.field("fdp"), FXSAVE.fdp);
  f.store32(at, i32.and(m.field("fds"), 0xffff), FXSAVE.fds);
  f.store32(at, m.field("mxcsr"), FXSAVE.mxcsr);
  f.store32(at, MXCSR_VALID, FXSAVE.mxcsrMask);
  for (let index = 0; index < REGISTERS; index++) {
    const register = stackRegister(m, fsw, index);
    const slot = FXSAVE.registers + index * FPU_STRIDE;
    f.store64(at, i64.load(register, FPU_REGS), slot);
    f.store64(at, i64.extendU(i32.load16u(register, FPU_REGS + FPU_SIGN_EXPONENT)), slot + FPU_SIGN_EXPONENT);
  }
  f.if(i32.and(m.field("cr4"), CR4.OSFXSR), () => {
    for (let index = 0; index < REGISTERS; index++)
      f.store128(at, v128.load(s, XMM_REGS + index * XMM_STRIDE), FXSAVE.xmm + index * 16);
  });
  f.result(STATUS.next);
}

function fxrstor(m: Native): void {
  const { f, s } = m;
  const at = image(m, "readTable");
  const sse = f.let(i32.and(m.field("cr4"), CR4.OSFXSR));
  const mxcsr = f.let(i32.load(at, FXSAVE.mxcsr));
  m.bailIf(i32.and(i32.ne(sse, 0), i32.ne(i32.and(mxcsr, ~MXCSR_VALID), 0)));
  const fcw = f.let(i32.or(i32.and(i32.load16u(at, FXSAVE.fcw), FCW_WRITABLE), FCW_FIXED));
  const status = f.let(i32.load16u(at, FXSAVE.fsw));
  const pending = i32.and(i32.and(status, i32.xor(fcw, -1)), EXCEPTIONS);
  const summary = i32.select(pending, FSW.ES | FSW.B, 0);
  const fsw = f.let(i32.or(i32.and(status, ~(FSW.ES | FSW.B)), summary));
  m.setField("fcw", fcw);
  m.setField("fsw", fsw);
  m.setField("ftw", i32.load8u(at, FXSAVE.ftw));
  m.setField("fop", i32.and(i32.load16u(at, FXSAVE.fop), FOP_MASK));
  m.setField("fip", i32.load(at, FXSAVE.fip));
  m.setField("fcs", i32.load16u(at, FXSAVE.fcs));
  m.setField("fdp", i32.load(at, FXSAVE.fdp));
  m.setField("fds", i32.load16u(at, FXSAVE.fds));
  for (let index = 0; index < REGISTERS; index++) {
    const register = stackRegister(m, fsw, index);
    const slot = FXSAVE.registers + index * FPU_STRIDE;
    f.store64(register, i64.load(at, slot), FPU_REGS);
    f.store16(register, i32.load16u(at, slot + FPU_SIGN_EXPONENT), FPU_REGS + FPU_SIGN_EXPONENT);
  }
  f.if(sse, () => {
    m.setField("mxcsr", mxcsr);
    for (let index = 0; index < REGISTERS; index++)
      f.store128(s, v128.load(at, FXSAVE.xmm + index * 16), XMM_REGS + index * XMM_STRIDE);
  });
  f.result(STATUS.next);
}

/** The operand's address is computed behind the pop (SDM 2B POP). */
function popMemory(m: Native): void {
  const { f, s, shared } = m;
  m.bailIf(i32.or(i32.eqz(i32.and(m.record("shape"), SHAPE.memory)), i32.ne(m.record("size"), 4)));
  m.bailIf(m.stackNotFlat());
  const esp = f.let(m.gpr(GPR.esp));
  const value = f.let(i32.load(m.host(f.let(m.field("readTable")), esp, 4)));
  m.setGpr(GPR.esp, i32.add(esp, 4));
  const undo = (): void => m.setGpr(GPR.esp, esp);
  const offset = f.let(call(shared.effectiveAddress, s, m.pc));
  const linear = f.let(call(shared.segment, s, m.record("segment"), offset, 3, 1));
  m.faultCheck(undo);
  f.do(call(shared.write32, s, linear, value));
  m.faultCheck(undo);
  f.result(STATUS.next);
}

export const STATE_NATIVES: Readonly<Record<string, (m: Native) => void>> = { fxsave, fxrstor, popMemory };
