/** FLDENV, FNSTENV, FRSTOR and FNSAVE: blocks between guest memory and the x87 state. SDM 2A under each name. */
import {
  type EnvironmentFormat,
  environmentBytes,
  loadEnvironment,
  maskExceptions,
  restoreState,
  saveState,
  stateBytes,
  storeEnvironment,
  x87Reset,
} from "../../isa/x87/environment.ts";
import type { Cpu } from "../cpu.ts";
import { STATE } from "../memory-map.ts";
import { CR0, VECTOR } from "../registers.ts";
import { type Helper, operandLinear, STATUS, sizeOf } from "./operands.ts";

const PENDING = 0x80;
const block = new Uint8Array(128);

function format(cpu: Cpu, pc: number): EnvironmentFormat {
  return { bits: sizeOf(cpu, pc) === 2 ? 16 : 32, protected: cpu.protectedMode };
}

function available(cpu: Cpu, waits: boolean): void {
  if (cpu.get("cr0") & (CR0.EM | CR0.TS)) throw cpu.fault(VECTOR.NM);
  if (waits && cpu.get("fsw") & PENDING) throw cpu.fault(VECTOR.MF);
}

/**
 * An x87 instruction meets a pending unmasked exception: #MF with CR0.NE, else FERR# is asserted and the processor waits
 * on the instruction for the interrupt that the board makes of it (SDM 1 8.7).
 */
export const pendingError: Helper = (cpu, pc) => {
  if (cpu.get("cr0") & CR0.NE) throw cpu.fault(VECTOR.MF);
  cpu.onFerr();
  cpu.set("startEip", cpu.currentEip(pc));
  return STATUS.exit;
};

/** Read `bytes` of the operand into the block; both ends are checked before anything changes. */
function load(cpu: Cpu, pc: number, bytes: number): Uint8Array {
  const at = operandLinear(cpu, pc, 0, bytes, false);
  cpu.read(at, 1);
  for (let i = 0; i < bytes; i++) block[i] = cpu.read((at + i) | 0, 1);
  return block.subarray(0, bytes);
}

/** Write the first `bytes` of the block. */
function store(cpu: Cpu, pc: number, bytes: number): void {
  const at = operandLinear(cpu, pc, 0, bytes, true);
  cpu.probeWrite(at, bytes);
  for (let i = 0; i < bytes; i++) cpu.write((at + i) | 0, 1, block[i]!);
}

export const X87_HELPERS: Record<string, Helper> = {
  pendingError,
  loadEnvironment: (cpu, pc) => {
    available(cpu, true);
    const f = format(cpu, pc);
    loadEnvironment(cpu.view, STATE, load(cpu, pc, environmentBytes(f)), f);
    return STATUS.next;
  },
  storeEnvironment: (cpu, pc) => {
    available(cpu, false);
    const f = format(cpu, pc);
    const bytes = environmentBytes(f);
    storeEnvironment(cpu.view, STATE, block.subarray(0, bytes), f);
    store(cpu, pc, bytes);
    maskExceptions(cpu.view, STATE);
    return STATUS.next;
  },
  restoreX87: (cpu, pc) => {
    available(cpu, true);
    const f = format(cpu, pc);
    restoreState(cpu.view, STATE, load(cpu, pc, stateBytes(f)), f);
    return STATUS.next;
  },
  saveX87: (cpu, pc) => {
    available(cpu, false);
    const f = format(cpu, pc);
    const bytes = stateBytes(f);
    saveState(cpu.view, STATE, block.subarray(0, bytes), f);
    store(cpu, pc, bytes);
    x87Reset(cpu.view, STATE);
    return STATUS.next;
  },
};
