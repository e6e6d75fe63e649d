/** Vector instructions in TypeScript, and the faults of those that may not run now. SDM 3A 12.5, 13.1. */
import { FPU_REGS, VECTOR_GATE, XMM_REGS, XMM_STRIDE } from "../../isa/state.ts";
import { MMX_STATE } from "../../isa/vector/constants.ts";
import { FXSAVE_BYTES, loadExtendedState, storeExtendedState } from "../../isa/x87/environment.ts";
import type { Cpu } from "../cpu.ts";
import { VECTOR_SLOT } from "../interpreter/record.ts";
import { STATE } from "../memory-map.ts";
import { CR0, CR4, VECTOR } from "../registers.ts";
import { address16, type Helper, operandLinear, registerA, registerB, STATUS, segmentOf } from "./operands.ts";
import { pendingError } from "./x87.ts";

const PENDING = 0x80;
/** XMM registers of FXSAVE's image outside 64-bit mode. */
const XMM_REGISTERS = 8;
const ALIGNMENT = 16;
const EDI = 7;

/** The fault of an instruction on vector registers that may not run, or undefined. `kind` is one of VECTOR_GATE. */
function unavailable(cpu: Cpu, kind: number): number | undefined {
  const cr0 = cpu.get("cr0");
  if (cr0 & CR0.EM) return VECTOR.UD;
  if (kind === VECTOR_GATE.sse && !(cpu.get("cr4") & CR4.OSFXSR)) return VECTOR.UD;
  return cr0 & CR0.TS ? VECTOR.NM : undefined;
}

/** #UD, #NM or #MF for an arm that has found its gate closed. */
const vectorUnavailable: Helper = (cpu, pc, kind) => {
  const vector = unavailable(cpu, kind);
  if (vector !== undefined) throw cpu.fault(vector);
  return pendingError(cpu, pc, 0);
};

/** Linear address of FXSAVE's image. */
function image(cpu: Cpu, pc: number, write: boolean): number {
  if (cpu.get("cr0") & (CR0.EM | CR0.TS)) throw cpu.fault(VECTOR.NM);
  const linear = operandLinear(cpu, pc, 0, FXSAVE_BYTES, write);
  if (linear & (ALIGNMENT - 1)) throw cpu.fault(VECTOR.GP, 0);
  return linear;
}

const block = new Uint8Array(FXSAVE_BYTES);
const blockWords = new DataView(block.buffer);

/** Copy the image from memory that has no fast entry. */
function readBlock(cpu: Cpu, linear: number): Uint8Array {
  for (let i = 0; i < FXSAVE_BYTES; i += 4) blockWords.setInt32(i, cpu.read((linear + i) | 0, 4), true);
  return block;
}

function options(cpu: Cpu): { xmmRegisters: number } {
  return { xmmRegisters: cpu.get("cr4") & CR4.OSFXSR ? XMM_REGISTERS : 0 };
}

const fxsave: Helper = (cpu, pc) => {
  const linear = image(cpu, pc, true);
  const at = cpu.direct(linear, FXSAVE_BYTES, true);
  if (at >= 0) {
    storeExtendedState(cpu.view, STATE, cpu.u8.subarray(at, at + FXSAVE_BYTES), options(cpu));
    return STATUS.next;
  }
  cpu.probeWrite(linear, FXSAVE_BYTES);
  // Reserved bytes stay what they are.
  storeExtendedState(cpu.view, STATE, readBlock(cpu, linear), options(cpu));
  for (let i = 0; i < FXSAVE_BYTES; i += 4) cpu.write((linear + i) | 0, 4, blockWords.getInt32(i, true));
  return STATUS.next;
};

const fxrstor: Helper = (cpu, pc) => {
  const linear = image(cpu, pc, false);
  const at = cpu.direct(linear, FXSAVE_BYTES, false);
  const source = at >= 0 ? cpu.u8.subarray(at, at + FXSAVE_BYTES) : readBlock(cpu, linear);
  if (!loadExtendedState(cpu.view, STATE, source, options(cpu))) throw cpu.fault(VECTOR.GP, 0);
  return STATUS.next;
};

/** MASKMOVQ and MASKMOVDQU: bytes of the first register whose mask byte has its highest bit set, to DS:EDI. */
const maskMove: Helper = (cpu, pc, kind) => {
  const vector = unavailable(cpu, kind);
  if (vector !== undefined) throw cpu.fault(vector);
  const mmx = kind === VECTOR_GATE.mmx;
  if (mmx && cpu.get("fsw") & PENDING) return pendingError(cpu, pc, 0);
  const place = (slot: number): number =>
    STATE + (mmx ? FPU_REGS + slot : XMM_REGS + (slot / VECTOR_SLOT) * XMM_STRIDE);
  const data = place(registerA(cpu, pc));
  const mask = place(registerB(cpu, pc));
  const bytes = mmx ? 8 : 16;
  const offset = address16(cpu, pc) ? cpu.gpr16(EDI) : cpu.gpr(EDI);
  // All bytes can be written, or none is.
  for (const checking of [true, false]) {
    for (let i = 0; i < bytes; i++) {
      if (cpu.u8[mask + i]! < 0x80) continue;
      const linear = cpu.linear(segmentOf(cpu, pc), (offset + i) | 0, 1, true);
      if (checking) cpu.probeWrite(linear, 1);
      else cpu.write(linear, 1, cpu.u8[data + i]!);
    }
  }
  if (mmx) {
    cpu.set("fsw", cpu.get("fsw") & ~MMX_STATE.top);
    cpu.set("ftw", MMX_STATE.full);
  }
  return STATUS.next;
};

export const VECTOR_HELPERS: Record<string, Helper> = { vectorUnavailable, fxsave, fxrstor, maskMove };
