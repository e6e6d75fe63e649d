/** Operands of the current operation, for instructions carried out in TypeScript. */
import { GPR, SEG } from "../../isa/state.ts";
import { type Cpu, WORD } from "../cpu.ts";
import { RECORD, SHAPE, STATUS } from "../interpreter/record.ts";
import { STATE } from "../memory-map.ts";

/** An instruction in TypeScript: works on `cpu` for the operation at `pc`; returns a STATUS; faults are thrown. */
export type Helper = (cpu: Cpu, pc: number, argument: number) => number;

/** Operand size in bytes. */
export const sizeOf = (cpu: Cpu, pc: number): number => cpu.u8[pc + RECORD.size]!;
/** Operand size in bytes of an instruction that knows 16 and 32 bits only. */
export const immediate = (cpu: Cpu, pc: number): number => cpu.i32[(pc + RECORD.immediate) >> 2]!;
/** Second immediate, or displacement of a memory operand. */
export const immediate2 = (cpu: Cpu, pc: number): number => cpu.i32[(pc + RECORD.displacement) >> 2]!;
export const isMemory = (cpu: Cpu, pc: number): boolean => (cpu.u8[pc + RECORD.shape]! & SHAPE.memory) !== 0;
export const address16 = (cpu: Cpu, pc: number): boolean => (cpu.u8[pc + RECORD.shape]! & SHAPE.address16) !== 0;
/** Slot (or plain number) of the first and second register operand. */
export const registerA = (cpu: Cpu, pc: number): number => cpu.u8[pc + RECORD.ra]!;
export const registerB = (cpu: Cpu, pc: number): number => cpu.u8[pc + RECORD.rb]!;
/** Segment of the memory operand. */
export const segmentOf = (cpu: Cpu, pc: number): number => cpu.u8[pc + RECORD.segment]!;

/** Offset of the memory operand in its segment. */
export function effectiveAddress(cpu: Cpu, pc: number): number {
  const { u8, i32 } = cpu;
  const shape = u8[pc + RECORD.shape]!;
  const base = i32[(STATE + u8[pc + RECORD.base]!) >> 2]!;
  const index = i32[(STATE + u8[pc + RECORD.index]!) >> 2]! << (shape & 3);
  const sum = (base + index + i32[(pc + RECORD.displacement) >> 2]!) | 0;
  return shape & SHAPE.address16 ? sum & 0xffff : sum;
}

/** Linear address `displacement` bytes into the memory operand, checked for an access of `bytes`. */
export function operandLinear(cpu: Cpu, pc: number, displacement: number, bytes: number, write: boolean): number {
  let offset = (effectiveAddress(cpu, pc) + displacement) | 0;
  if (address16(cpu, pc)) offset &= 0xffff;
  return cpu.linear(segmentOf(cpu, pc), offset, bytes, write);
}

export function readRegister(cpu: Cpu, slot: number, bytes: number): number {
  if (bytes === 1) return cpu.byteSlot(slot);
  const value = cpu.i32[(STATE + slot) >> 2]!;
  return bytes === 2 ? value & 0xffff : value;
}

export function writeRegister(cpu: Cpu, slot: number, bytes: number, value: number): void {
  if (bytes === 1) cpu.setByteSlot(slot, value);
  else if (bytes === 2) cpu.setGpr16(slot >> 3, value);
  else cpu.setGpr(slot >> 3, value);
}

/** Read an E operand (register in ra, or memory) of `bytes`. */
export function readOperand(cpu: Cpu, pc: number, bytes: number): number {
  if (!isMemory(cpu, pc)) return readRegister(cpu, registerA(cpu, pc), bytes);
  return cpu.read(operandLinear(cpu, pc, 0, bytes, false), bytes);
}

/** Continue at `eip` (already cut): the block is left. */
export function jump(cpu: Cpu, eip: number): number {
  cpu.i32[WORD.startEip] = eip;
  return STATUS.jump;
}

/** Continue with the next instruction, looked up anew, since what decoding depends on may have changed. */
export function jumpNext(cpu: Cpu, pc: number): number {
  return jump(cpu, cpu.nextEip(pc));
}

/** Leave `run` at the next instruction, so that the processor looks at events before it goes on. */
export function leaveNext(cpu: Cpu, pc: number): number {
  cpu.i32[WORD.startEip] = cpu.nextEip(pc);
  return STATUS.exit;
}

export const AL = GPR.eax;
export { SEG, STATUS };
