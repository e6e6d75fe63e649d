/** Port I/O: IN, OUT, INS and OUTS. SDM 1 chapter 19, SDM 2 IN, OUT, INS, OUTS. */
import { EFLAGS } from "../../isa/flags.ts";
import { SEG } from "../../isa/state.ts";
import { STRING_KIND } from "../../isa/table/control.ts";
import { type Cpu, WORD } from "../cpu.ts";
import { EXIT, exitInstruction, PROC } from "../exits.ts";
import { RECORD, SHAPE } from "../interpreter/record.ts";
import { BLOCKING, BREAKPOINT, breakpointKind, CR4, DR7, VECTOR } from "../registers.ts";
import {
  address16,
  type Helper,
  immediate,
  jump,
  leaveNext,
  STATUS,
  segmentOf,
  sizeOf,
  writeRegister,
} from "./operands.ts";
import { elementsAtOnce, repeatString } from "./strings.ts";

/** #GP(0) unless IOPL or the TSS's permission bitmap allows the ports (SDM 1 19.5.2). */
export function checkPorts(cpu: Cpu, port: number, bytes: number): void {
  const eflags = cpu.i32[WORD.eflags]!;
  const virtual8086 = (eflags & EFLAGS.VM) !== 0;
  if (!virtual8086 && cpu.i32[WORD.cpl]! <= (eflags & EFLAGS.IOPL) >> IOPL_SHIFT) return;
  const base = cpu.segment(SEG.TR, "base");
  const limit = cpu.segment(SEG.TR, "limit") >>> 0;
  // A 16-bit TSS has no bitmap.
  if (!(cpu.segment(SEG.TR, "ar") & 8) || limit < 103) throw cpu.fault(VECTOR.GP, 0);
  const at = cpu.readSystem((base + 0x66) | 0, 2) + (port >> 3);
  if (at + 1 > limit) throw cpu.fault(VECTOR.GP, 0);
  const bits = cpu.readSystem((base + at) | 0, 2) >> (port & 7);
  if (bits & ((1 << bytes) - 1)) throw cpu.fault(VECTOR.GP, 0);
}

/** DR6 bits of the I/O breakpoints that an access meets (CR4.DE, R/W = 10b; SDM 3B 17.2.4): a trap behind it. */
function breakpoints(cpu: Cpu, port: number, bytes: number): number {
  const dr7 = cpu.i32[WORD.dr7]!;
  let hits = 0;
  if ((dr7 & DR7.ENABLED) === 0 || !(cpu.get("cr4") & CR4.DE)) return hits;
  for (const [i, name] of (["dr0", "dr1", "dr2", "dr3"] as const).entries()) {
    const enabled = (dr7 >> (i * 2)) & 3;
    const { kind, length } = breakpointKind(dr7, i);
    const first = cpu.get(name) & -length & 0xffff;
    if (enabled && kind === BREAKPOINT.io && port < first + length && first < port + bytes) {
      hits |= 1 << i;
    }
  }
  return hits;
}

/** Exit for the hypervisor to carry the access out; its breakpoints are pending until then. */
function exitAccess(cpu: Cpu, pc: number, hits: number, exitQualification: number): number {
  cpu.set("pendingDebug", cpu.get("pendingDebug") | hits);
  return exitInstruction(cpu, pc, EXIT.ioInstruction, exitQualification);
}

/** Whether an access exits: bitmaps, if used, decide; a wrap around port FFFFh always does (SDM 3C 26.1.3). */
function ioExits(cpu: Cpu, port: number, bytes: number): boolean {
  const controls = cpu.i32[WORD.procControls]!;
  if (!(controls & PROC.ioBitmaps)) return (controls & PROC.unconditionalIo) !== 0;
  if (port + bytes > 0x10000) return true;
  for (let p = port; p < port + bytes; p++) {
    const at = (cpu.get(p < 0x8000 ? "ioBitmapA" : "ioBitmapB") >>> 0) + ((p & 0x7fff) >> 3);
    if ((cpu.readPhysical32(at & ~3) >>> ((at & 3) * 8 + (p & 7))) & 1) return true;
  }
  return false;
}

/** Exit qualification of an I/O instruction (SDM 3C 28.2.1, table 28-5). */
function qualification(
  bytes: number,
  input: boolean,
  string: boolean,
  rep: boolean,
  immediatePort: boolean,
  port: number,
): number {
  return (bytes - 1) | (input ? 8 : 0) | (string ? 16 : 0) | (rep ? 32 : 0) | (immediatePort ? 64 : 0) | (port << 16);
}

/** Nothing but the access itself is due at this instruction. */
function plain(cpu: Cpu): boolean {
  const shadow = cpu.i32[WORD.interruptibility]! & (BLOCKING.STI | BLOCKING.MOV_SS);
  return (cpu.i32[WORD.eflags]! & EFLAGS.TF) === 0 && shadow === 0;
}

/** The hypervisor's answer to IN without an exit; it sets exitReason when the engine must be left behind it. */
export function readPort(cpu: Cpu, pc: number, port: number, bytes: 1 | 2 | 4): number {
  const ports = cpu.inlinePorts!;
  // A guest may hold a timer of the device's against its time-stamp counter.
  cpu.i32[WORD.tscAt] = -1;
  const value = ports.read(pc, port, bytes);
  if (ports.attention(pc)) cpu.i32[WORD.exitReason] = EXIT.ioInstruction;
  return value;
}

/** The same for OUT; `value` may have bits above its size. */
export function writePort(cpu: Cpu, pc: number, port: number, bytes: 1 | 2 | 4, value: number): void {
  const ports = cpu.inlinePorts!;
  cpu.i32[WORD.tscAt] = -1;
  ports.write(pc, port, bytes, value);
  if (ports.attention(pc)) cpu.i32[WORD.exitReason] = EXIT.ioInstruction;
}

/** The access without an exit; out of the engine, the access done, when the hypervisor must see what came of it. */
function inlineAccess(cpu: Cpu, pc: number, port: number, bytes: 1 | 2 | 4, input: boolean): number {
  if (input) writeRegister(cpu, 0, bytes, readPort(cpu, pc, port, bytes));
  else writePort(cpu, pc, port, bytes, cpu.gpr(0));
  return cpu.i32[WORD.exitReason] === -1 ? STATUS.next : leaveNext(cpu, pc);
}

function portAccess(cpu: Cpu, pc: number, input: boolean): number {
  const bytes = sizeOf(cpu, pc);
  // DX forms have a register where the immediate forms have none: ra is AL/eAX first for IN, DX first for OUT.
  const dx = input ? cpu.u8[pc + RECORD.rb] === DX_SLOT : cpu.u8[pc + RECORD.ra] === DX_SLOT;
  const port = dx ? cpu.gpr16(2) : immediate(cpu, pc) & 0xff;
  checkPorts(cpu, port, bytes);
  const hits = breakpoints(cpu, port, bytes);
  if (ioExits(cpu, port, bytes)) {
    const inline = cpu.inlinePorts;
    if (inline !== undefined && hits === 0 && plain(cpu) && inline.accepts(port)) {
      return inlineAccess(cpu, pc, port, bytes as 1 | 2 | 4, input);
    }
    return exitAccess(cpu, pc, hits, qualification(bytes, input, false, false, !dx, port));
  }
  cpu.watchHits |= hits;
  // Without an exit there is nothing at the other end: devices are the hypervisor's. An open bus reads as ones.
  if (input) writeRegister(cpu, 0, bytes, -1);
  return STATUS.next;
}

const DX_SLOT = 16;
const IOPL_SHIFT = 12;

/** INS and OUTS: one exit for the whole repetition; the hypervisor moves the data and the registers. */
function portString(cpu: Cpu, pc: number, input: boolean): number {
  const bytes = sizeOf(cpu, pc);
  const rep = (cpu.u8[pc + RECORD.shape]! & (SHAPE.rep | SHAPE.repne)) !== 0;
  const short = address16(cpu, pc);
  const count = rep ? (short ? cpu.gpr16(1) : cpu.gpr(1)) : 1;
  if (count === 0) return STATUS.next;
  const port = cpu.gpr16(2);
  checkPorts(cpu, port, bytes);
  const hits = breakpoints(cpu, port, bytes);
  const register = input ? 7 : 6;
  const offset = short ? cpu.gpr16(register) : cpu.gpr(register);
  const segment = input ? SEG.ES : segmentOf(cpu, pc);
  const linear = cpu.linear(segment, offset, bytes, input);
  // Faults of the first element belong to the instruction, not to the hypervisor.
  if (input) cpu.readForWrite(linear, bytes);
  else cpu.read(linear, bytes);
  cpu.set("guestLinearAddress", linear);
  if (!ioExits(cpu, port, bytes)) {
    cpu.watchHits |= hits;
    return openBusString(cpu, pc, input, bytes, count >>> 0, rep, segment);
  }
  // Instruction information for INS and OUTS: address size in 9:7, segment in 17:15 (SDM 3C table 28-9).
  cpu.set("exitInstructionInfo", ((short ? 0 : 1) << 7) | (segment << 15));
  return exitAccess(cpu, pc, hits, qualification(bytes, input, true, rep, false, port));
}

/** INS and OUTS that do not exit: see {@link portAccess}. */
function openBusString(
  cpu: Cpu,
  pc: number,
  input: boolean,
  bytes: number,
  count: number,
  rep: boolean,
  segment: number,
): number {
  const short = address16(cpu, pc);
  const mask = short ? 0xffff : -1;
  const register = input ? 7 : 6;
  const step = cpu.get("eflags") & EFLAGS.DF ? -bytes : bytes;
  const set = (number: number, value: number): void =>
    short ? cpu.setGpr16(number, value) : cpu.setGpr(number, value);
  const last = Math.max(0, count - elementsAtOnce(cpu));
  for (let left = count; left > last; ) {
    const linear = cpu.linear(segment, cpu.gpr(register) & mask, bytes, input);
    if (input) cpu.write(linear, bytes, -1);
    else cpu.read(linear, bytes);
    set(register, cpu.gpr(register) + step);
    left--;
    if (rep) set(1, left);
  }
  return last === 0 ? STATUS.next : jump(cpu, cpu.currentEip(pc));
}

export const IO_HELPERS: Record<string, Helper> = {
  in: (cpu, pc) => portAccess(cpu, pc, true),
  out: (cpu, pc) => portAccess(cpu, pc, false),
  ins: (cpu, pc) => portString(cpu, pc, true),
  outs: (cpu, pc) => portString(cpu, pc, false),
  repeat: (cpu, pc, kind) => {
    if (kind === STRING_KIND.INS) return portString(cpu, pc, true);
    if (kind === STRING_KIND.OUTS) return portString(cpu, pc, false);
    return repeatString(cpu, pc, kind);
  },
};
