/** Decimal adjustment, flags, stack and other user-mode instructions that are not worth generated code. SDM 2. */
import { EFLAGS } from "../../isa/flags.ts";
import { GPR, SEG } from "../../isa/state.ts";
import type { Cpu } from "../cpu.ts";
import { BLOCKING, CR4, VECTOR } from "../registers.ts";
import {
  address16,
  type Helper,
  immediate,
  immediate2,
  isMemory,
  leaveNext,
  operandLinear,
  readRegister,
  registerA,
  STATUS,
  segmentOf,
  sizeOf,
  writeRegister,
} from "./operands.ts";
import { mergeFlags } from "./transfers.ts";

const { CF, PF, AF, ZF, SF } = EFLAGS;
const AL = GPR.eax;
const AH = GPR.eax + 1;

function parity(value: number): number {
  let v = value & 0xff;
  v ^= v >> 4;
  return (0x9669 >> (v & 15)) & 1 ? PF : 0;
}

/** SF, ZF and PF of a byte. */
function szp(value: number): number {
  return parity(value) | (value & 0xff ? 0 : ZF) | (value & 0x80 ? SF : 0);
}

function decimalAdjust(cpu: Cpu, sign: 1 | -1): number {
  const flags = cpu.eflags();
  const old = cpu.byteSlot(AL);
  let al = old;
  let result = flags & CF;
  let af = 0;
  if ((old & 15) > 9 || flags & AF) {
    al += sign * 6;
    if (al < 0 || (sign > 0 && al > 0xff)) result |= CF;
    af = AF;
  }
  if (old > 0x99 || flags & CF) {
    al += sign * 0x60;
    result |= CF;
  }
  al &= 0xff;
  cpu.setByteSlot(AL, al);
  cpu.setArithmetic((result & CF) | af | szp(al));
  return STATUS.next;
}

function asciiAdjust(cpu: Cpu, sign: 1 | -1): number {
  const flags = cpu.eflags();
  let ax = cpu.gpr16(0);
  const adjust = (ax & 15) > 9 || (flags & AF) !== 0;
  if (adjust) ax = (ax + sign * 0x106) & 0xffff;
  ax &= 0xff0f;
  cpu.setGpr16(0, ax);
  cpu.setArithmetic((adjust ? CF | AF : 0) | szp(ax & 0xff));
  return STATUS.next;
}

const enter: Helper = (cpu, pc) => {
  const bytes = sizeOf(cpu, pc);
  const space = immediate(cpu, pc) & 0xffff;
  const level = immediate2(cpu, pc) & 31;
  const mask = cpu.stackMask;
  const esp = cpu.gpr(4);
  const ebp = cpu.gpr(5);
  try {
    cpu.push(ebp, bytes);
    const frame = cpu.gpr(4);
    if (level > 0) {
      let source = ebp;
      for (let i = 1; i < level; i++) {
        source = (source - bytes) | 0;
        const value = cpu.read(cpu.linear(SEG.SS, source & mask, bytes, false), bytes);
        cpu.push(value, bytes);
      }
      cpu.push(frame, bytes);
    }
    const top = (cpu.gpr(4) & ~mask) | ((cpu.gpr(4) - space) & mask);
    // The processor probes the new top of stack for writing (SDM 2A ENTER: #PF, #SS).
    cpu.readForWrite(cpu.linear(SEG.SS, top & mask, bytes, true), bytes);
    cpu.setGpr(4, top);
    if (bytes === 2) cpu.setGpr16(5, frame);
    else cpu.setGpr(5, mask === -1 ? frame : (frame & 0xffff) | (ebp & 0xffff0000));
  } catch (fault) {
    cpu.setGpr(4, esp);
    throw fault;
  }
  return STATUS.next;
};

const pusha: Helper = (cpu, pc) => {
  const bytes = sizeOf(cpu, pc);
  const esp = cpu.gpr(4);
  try {
    for (let i = 0; i < 8; i++) cpu.push(i === 4 ? esp : cpu.gpr(i), bytes);
  } catch (fault) {
    cpu.setGpr(4, esp);
    throw fault;
  }
  return STATUS.next;
};

const popa: Helper = (cpu, pc) => {
  const bytes = sizeOf(cpu, pc);
  const values = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => cpu.peek(i * bytes, bytes));
  for (let i = 0; i < 8; i++) {
    if (i !== 3) writeRegister(cpu, (7 - i) * 8, bytes, values[i]!);
  }
  cpu.release(8 * bytes);
  return STATUS.next;
};

/** POP to memory: the address is computed with the stack pointer after the pop (SDM 2B POP). */
const popMemory: Helper = (cpu, pc) => {
  const bytes = sizeOf(cpu, pc);
  const value = cpu.peek(0, bytes);
  const esp = cpu.gpr(4);
  cpu.release(bytes);
  if (!isMemory(cpu, pc)) {
    writeRegister(cpu, registerA(cpu, pc), bytes, value);
    return STATUS.next;
  }
  try {
    cpu.write(operandLinear(cpu, pc, 0, bytes, true), bytes, value);
  } catch (fault) {
    cpu.setGpr(4, esp);
    throw fault;
  }
  return STATUS.next;
};

const pushf: Helper = (cpu, pc) => {
  const bytes = sizeOf(cpu, pc);
  let flags = cpu.eflags();
  if (cpu.virtual8086 && cpu.iopl < 3) {
    if (!(cpu.get("cr4") & CR4.VME) || bytes === 4) throw cpu.fault(VECTOR.GP, 0);
    flags = (flags & ~EFLAGS.IF) | EFLAGS.IOPL | (flags & EFLAGS.VIF ? EFLAGS.IF : 0);
  }
  cpu.push(flags & ~(EFLAGS.VM | EFLAGS.RF), bytes);
  return STATUS.next;
};

const popf: Helper = (cpu, pc) => {
  const bytes = sizeOf(cpu, pc);
  const value = cpu.peek(0, bytes);
  if (cpu.virtual8086 && cpu.iopl < 3) {
    if (!(cpu.get("cr4") & CR4.VME) || bytes === 4) throw cpu.fault(VECTOR.GP, 0);
    if (value & EFLAGS.TF || (value & EFLAGS.IF && cpu.get("eflags") & EFLAGS.VIP)) throw cpu.fault(VECTOR.GP, 0);
    cpu.release(2);
    mergeFlags(cpu, value, 2, 0);
    const flags = cpu.get("eflags");
    cpu.set("eflags", value & EFLAGS.IF ? flags | EFLAGS.VIF : flags & ~EFLAGS.VIF);
    return leaveNext(cpu, pc);
  }
  cpu.release(bytes);
  let extra = 0;
  if (cpu.cpl <= cpu.iopl) extra |= EFLAGS.IF;
  if (cpu.cpl === 0 && !cpu.virtual8086) extra |= EFLAGS.IOPL;
  mergeFlags(cpu, value, bytes, extra);
  cpu.set("eflags", cpu.get("eflags") & ~EFLAGS.RF);
  return cpu.get("eflags") & EFLAGS.TF || cpu.get("procControls") & 4 ? leaveNext(cpu, pc) : STATUS.next;
};

const cli: Helper = (cpu) => {
  const flags = cpu.get("eflags");
  if (!cpu.protectedMode && !cpu.virtual8086) cpu.set("eflags", flags & ~EFLAGS.IF);
  else if (cpu.iopl >= cpu.cpl) cpu.set("eflags", flags & ~EFLAGS.IF);
  else if (virtualInterrupts(cpu)) cpu.set("eflags", flags & ~EFLAGS.VIF);
  else throw cpu.fault(VECTOR.GP, 0);
  return STATUS.next;
};

/** VME in virtual-8086 mode, or PVI in protected mode at CPL 3: CLI and STI act on VIF. */
function virtualInterrupts(cpu: Cpu): boolean {
  const cr4 = cpu.get("cr4");
  return cpu.virtual8086 ? (cr4 & CR4.VME) !== 0 : cpu.cpl === 3 && (cr4 & CR4.PVI) !== 0;
}

const sti: Helper = (cpu, pc) => {
  const flags = cpu.get("eflags");
  const real = !cpu.protectedMode && !cpu.virtual8086;
  if (!real && cpu.iopl < cpu.cpl) {
    if (!virtualInterrupts(cpu) || flags & EFLAGS.VIP) throw cpu.fault(VECTOR.GP, 0);
    cpu.set("eflags", flags | EFLAGS.VIF);
    return STATUS.next;
  }
  if (flags & EFLAGS.IF) return STATUS.next;
  cpu.set("eflags", flags | EFLAGS.IF);
  cpu.set("interruptibility", cpu.get("interruptibility") | BLOCKING.STI);
  return leaveNext(cpu, pc);
};

const bound: Helper = (cpu, pc) => {
  const bytes = sizeOf(cpu, pc);
  const index = readRegister(cpu, registerA(cpu, pc), bytes);
  const extend = (value: number): number => (bytes === 2 ? (value << 16) >> 16 : value | 0);
  const lower = extend(cpu.read(operandLinear(cpu, pc, 0, bytes, false), bytes));
  const upper = extend(cpu.read(operandLinear(cpu, pc, bytes, bytes, false), bytes));
  const i = extend(index);
  if (i < lower || i > upper) throw cpu.fault(VECTOR.BR);
  return STATUS.next;
};

const xlat: Helper = (cpu, pc) => {
  const sum = (cpu.gpr(3) + cpu.byteSlot(AL)) | 0;
  const offset = address16(cpu, pc) ? sum & 0xffff : sum;
  cpu.setByteSlot(AL, cpu.read(cpu.linear(segmentOf(cpu, pc), offset, 1, false), 1));
  return STATUS.next;
};

const cmpxchg8b: Helper = (cpu, pc) => {
  const low = operandLinear(cpu, pc, 0, 8, true);
  cpu.probeWrite(low, 8);
  const a = cpu.readForWrite(low, 4) | 0;
  const b = cpu.readForWrite((low + 4) | 0, 4) | 0;
  const equal = a === cpu.gpr(0) && b === cpu.gpr(2);
  cpu.write((low + 4) | 0, 4, equal ? cpu.gpr(1) : b);
  cpu.write(low, 4, equal ? cpu.gpr(3) : a);
  if (!equal) {
    cpu.setGpr(0, a);
    cpu.setGpr(2, b);
  }
  cpu.setArithmetic((cpu.eflags() & ~ZF) | (equal ? ZF : 0));
  return STATUS.next;
};

export const SIMPLE: Record<string, Helper> = {
  daa: (cpu) => decimalAdjust(cpu, 1),
  das: (cpu) => decimalAdjust(cpu, -1),
  aaa: (cpu) => asciiAdjust(cpu, 1),
  aas: (cpu) => asciiAdjust(cpu, -1),
  aam: (cpu, pc) => {
    const base = immediate(cpu, pc) & 0xff;
    if (base === 0) throw cpu.fault(VECTOR.DE);
    const al = cpu.byteSlot(AL);
    cpu.setGpr16(0, (Math.floor(al / base) << 8) | (al % base));
    cpu.setArithmetic(szp(al % base));
    return STATUS.next;
  },
  aad: (cpu, pc) => {
    const al = (cpu.byteSlot(AL) + cpu.byteSlot(AH) * (immediate(cpu, pc) & 0xff)) & 0xff;
    cpu.setGpr16(0, al);
    cpu.setArithmetic(szp(al));
    return STATUS.next;
  },
  undefined: (cpu) => {
    throw cpu.fault(VECTOR.UD);
  },
  enter,
  pusha,
  popa,
  popMemory,
  pushf,
  popf,
  cli,
  sti,
  bound,
  xlat,
  cmpxchg8b,
};
