/** Port I/O and repeated string instructions. SDM 1 chapter 19, SDM 2 REP, IN, OUT, INS, OUTS. */
import { EFLAGS } from "../../isa/flags.ts";
import { SEG } from "../../isa/state.ts";
import { STRING_KIND } from "../../isa/table/control.ts";
import { type Cpu, type InlinePorts, WORD } from "../cpu.ts";
import { EXIT, exitInstruction, PROC } from "../exits.ts";
import { BULK_PER_UNIT, MAX_ELEMENTS, NOTED_WORK } from "../interpreter/native-strings.ts";
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

/** The access without an exit; out of the engine, the access done, when the hypervisor must see what came of it. */
function inlineAccess(
  cpu: Cpu,
  pc: number,
  ports: InlinePorts,
  port: number,
  bytes: 1 | 2 | 4,
  input: boolean,
): number {
  if (input) writeRegister(cpu, 0, bytes, ports.read(pc, port, bytes));
  else ports.write(pc, port, bytes, cpu.gpr(0));
  if (!ports.attention(pc)) return STATUS.next;
  cpu.set("exitReason", EXIT.ioInstruction);
  return leaveNext(cpu, pc);
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
      return inlineAccess(cpu, pc, inline, port, bytes as 1 | 2 | 4, input);
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

const MAX_WORK = 1024;
const PAGE = 4096;

/** With TF set, or a breakpoint on data, there may be a trap after each element. */
function elementsAtOnce(cpu: Cpu): number {
  return cpu.get("eflags") & EFLAGS.TF || cpu.watches.length > 0 ? 1 : MAX_ELEMENTS;
}

/** Elements from `offset` on, in direction `step`, that stay in the page of `linear` and do not wrap the offset. */
function roomInPage(linear: number, offset: number, step: number, bytes: number, short: boolean): number {
  const inPage = linear & (PAGE - 1);
  if (inPage + bytes > PAGE) return 0;
  const page = step > 0 ? Math.floor((PAGE - inPage) / bytes) : Math.floor(inPage / bytes) + 1;
  const wrap = short ? 0x10000 : 0x1_0000_0000;
  const o = short ? offset & 0xffff : offset >>> 0;
  const segment = step > 0 ? Math.floor((wrap - o) / bytes) : Math.floor(o / bytes) + 1;
  return Math.min(page, segment);
}

/** A REP-prefixed MOVS, STOS, LODS, SCAS or CMPS. */
function repeatString(cpu: Cpu, pc: number, kind: number): number {
  const bytes = sizeOf(cpu, pc);
  const shape = cpu.u8[pc + RECORD.shape]!;
  const short = (shape & SHAPE.address16) !== 0;
  const down = (cpu.get("eflags") & EFLAGS.DF) !== 0;
  const step = down ? -bytes : bytes;
  const mask = short ? 0xffff : -1;
  let left = short ? cpu.gpr16(1) : cpu.gpr(1) >>> 0;
  let budget = elementsAtOnce(cpu);
  const usesSource = kind === STRING_KIND.MOVS || kind === STRING_KIND.LODS || kind === STRING_KIND.CMPS;
  const usesTarget = kind !== STRING_KIND.LODS;
  const compares = kind === STRING_KIND.SCAS || kind === STRING_KIND.CMPS;
  const whileZero = (shape & SHAPE.rep) !== 0;
  const source = segmentOf(cpu, pc);
  const setIndex = (register: number, value: number): void => {
    if (short) cpu.setGpr16(register, value);
    else cpu.setGpr(register, value);
  };
  let work = 0;
  while (left > 0 && budget > 0) {
    const si = cpu.gpr(6) & mask;
    const di = cpu.gpr(7) & mask;
    let done = 0;
    let stop = false;
    const src = usesSource ? cpu.linear(source, si, bytes, false) : 0;
    const dst = usesTarget ? cpu.linear(SEG.ES, di, bytes, !compares) : 0;
    if (!compares && kind !== STRING_KIND.LODS)
      done = bulk(
        cpu,
        kind,
        bytes,
        step,
        short,
        src,
        dst,
        si,
        di,
        Math.min(left, budget, usesSource ? segmentRoom(cpu, source, si, step, bytes, false) : left),
      );
    work += done / BULK_PER_UNIT;
    if (done === 0) {
      done = 1;
      work++;
      stop = element(cpu, kind, bytes, src, dst, whileZero);
    }
    if (usesSource) setIndex(6, si + done * step);
    if (usesTarget) setIndex(7, di + done * step);
    left -= done;
    budget -= done;
    setIndex(1, left);
    if (stop) left = 0;
    if (work >= MAX_WORK) budget = 0;
  }
  const over = left === 0;
  if (work < NOTED_WORK) return over ? STATUS.next : jump(cpu, cpu.currentEip(pc));
  // Out of the engine, so that the timer can see how long this took.
  cpu.set("extraWork", cpu.get("extraWork") + Math.floor(work));
  cpu.set("startEip", over ? cpu.nextEip(pc) : cpu.currentEip(pc));
  return STATUS.exit;
}

/** Move or fill as many elements as lie in one page on either side; 0 when that is not possible. */
function bulk(
  cpu: Cpu,
  kind: number,
  bytes: number,
  step: number,
  short: boolean,
  src: number,
  dst: number,
  si: number,
  di: number,
  most: number,
): number {
  const to = cpu.host(dst, true);
  if (to < 0) return 0;
  let n = Math.min(most, roomInPage(dst, di, step, bytes, short), segmentRoom(cpu, SEG.ES, di, step, bytes, true));
  const { u8, i32, view } = cpu;
  if (kind === STRING_KIND.STOS) {
    if (n < 2) return 0;
    const first = step > 0 ? to : to - (n - 1) * bytes;
    const value = cpu.gpr(0);
    if (bytes === 1) u8.fill(value & 0xff, first, first + n);
    else if (bytes === 4 && (first & 3) === 0) i32.fill(value, first >> 2, (first >> 2) + n);
    else if (bytes === 4) for (let i = 0; i < n; i++) view.setInt32(first + i * 4, value, true);
    else for (let i = 0; i < n; i++) view.setUint16(first + i * 2, value & 0xffff, true);
    return n;
  }
  const from = cpu.host(src, false);
  if (from < 0) return 0;
  n = Math.min(n, roomInPage(src, si, step, bytes, short));
  if (n < 2) return 0;
  const length = n * bytes;
  const low = step > 0 ? 0 : -(n - 1) * bytes;
  // Overlapping forward copies replicate (a 1-byte overlap fills), which copyWithin does not do.
  const distance = to - from;
  if (step > 0 ? distance > 0 && distance < length : distance < 0 && -distance < length) return 0;
  u8.copyWithin(to + low, from + low, from + low + length);
  return n;
}

/** Elements within the bounds of a segment, counted from `offset`; the first one is already checked. */
function segmentRoom(cpu: Cpu, segment: number, offset: number, step: number, bytes: number, write: boolean): number {
  const o = offset >>> 0;
  if (step > 0) return Math.floor((cpu.bound(segment, write ? "writeHigh" : "readHigh") - o + 1) / bytes);
  return Math.floor((o - cpu.bound(segment, write ? "writeLow" : "readLow")) / bytes) + 1;
}

/** One element; true when a comparison ends the repetition. */
function element(cpu: Cpu, kind: number, bytes: number, src: number, dst: number, whileZero: boolean): boolean {
  switch (kind) {
    case STRING_KIND.MOVS:
      cpu.write(dst, bytes, cpu.read(src, bytes));
      return false;
    case STRING_KIND.STOS:
      cpu.write(dst, bytes, cpu.gpr(0));
      return false;
    case STRING_KIND.LODS: {
      const value = cpu.read(src, bytes);
      if (bytes === 1) cpu.setByteSlot(0, value);
      else if (bytes === 2) cpu.setGpr16(0, value);
      else cpu.setGpr(0, value);
      return false;
    }
    default: {
      const a =
        kind === STRING_KIND.CMPS
          ? cpu.read(src, bytes)
          : bytes === 1
            ? cpu.byteSlot(0)
            : bytes === 2
              ? cpu.gpr16(0)
              : cpu.gpr(0);
      const b = cpu.read(dst, bytes);
      compare(cpu, a, b, bytes * 8);
      return ((a ^ b) === 0) !== whileZero;
    }
  }
}

/** Lazy flags of a - b. */
function compare(cpu: Cpu, a: number, b: number, bits: number): void {
  const r = (a - b) | 0;
  const borrow = (~a & b) | (~(a ^ b) & r);
  const shift = 32 - bits;
  cpu.set("flagsResult", (r << shift) >> shift);
  cpu.set("flagsCarry", bits === 32 ? borrow & 0xc0000008 : (borrow << shift) | (borrow & 8));
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
