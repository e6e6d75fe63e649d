/**
 * Repeated MOVS, STOS, LODS, SCAS and CMPS in TypeScript (SDM 2B REP): what the natives of native-strings.ts leave over.
 * Where a go ends, and how many ticks it takes, depends on architectural state only, never on what the shadow tables or
 * the code caches hold: a run under the instruction clock is the same whoever carries the instruction out.
 */
import { EFLAGS } from "../../isa/flags.ts";
import { SEG } from "../../isa/state.ts";
import { STRING_KIND } from "../../isa/table/control.ts";
import { type Cpu, GuestFault, WORD } from "../cpu.ts";
import { BULK_PER_UNIT, MAX_ELEMENTS, NOTED_WORK } from "../interpreter/native-strings.ts";
import { RECORD, SHAPE } from "../interpreter/record.ts";
import { address16, jump, STATUS, segmentOf, sizeOf } from "./operands.ts";

const PAGE = 4096;
/** Accesses that devices answer (or nobody) in one go, each a tick. */
const MAX_DEVICE_ACCESSES = 1024;

/** Elements of one go: with TF set, or a breakpoint on data, there may be a trap after each. */
export function elementsAtOnce(cpu: Cpu): number {
  return cpu.i32[WORD.eflags]! & EFLAGS.TF || cpu.watches.length > 0 ? 1 : MAX_ELEMENTS;
}

/** One repeated instruction, made ready for its operation; a single object for all, since it lives for one call. */
class Repetition {
  kind = 0;
  bytes = 0;
  step = 0;
  short = false;
  source = 0;
  whileZero = false;
  /** A comparison ended the repetition. */
  stopped = false;

  get usesSource(): boolean {
    return this.kind === STRING_KIND.MOVS || this.kind === STRING_KIND.LODS || this.kind === STRING_KIND.CMPS;
  }

  get compares(): boolean {
    return this.kind === STRING_KIND.SCAS || this.kind === STRING_KIND.CMPS;
  }

  /** Offset in the segment that `register` holds. */
  offset(cpu: Cpu, register: number): number {
    return this.short ? cpu.gpr16(register) : cpu.gpr(register);
  }

  set(cpu: Cpu, register: number, value: number): void {
    if (this.short) cpu.setGpr16(register, value);
    else cpu.setGpr(register, value);
  }
}

const current = new Repetition();

/** A REP-prefixed MOVS, STOS, LODS, SCAS or CMPS, or what is left of a go of which the native did a part. */
export function repeatString(cpu: Cpu, pc: number, kind: number): number {
  const r = current;
  const shape = cpu.u8[pc + RECORD.shape]!;
  r.kind = kind;
  r.bytes = sizeOf(cpu, pc);
  r.short = address16(cpu, pc);
  r.step = cpu.i32[WORD.eflags]! & EFLAGS.DF ? -r.bytes : r.bytes;
  r.source = segmentOf(cpu, pc);
  r.whileZero = (shape & SHAPE.rep) !== 0;
  r.stopped = false;
  const before = cpu.i32[WORD.repeatDone]!;
  cpu.i32[WORD.repeatDone] = 0;
  const accesses = cpu.deviceAccesses;
  const { usesSource } = r;
  const usesTarget = kind !== STRING_KIND.LODS;
  let left = r.offset(cpu, 1) >>> 0;
  const total = Math.min(before + left, elementsAtOnce(cpu));
  let done = before;
  const cr2 = cpu.i32[WORD.cr2]!;
  try {
    while (done < total && !r.stopped && cpu.deviceAccesses - accesses < MAX_DEVICE_ACCESSES) {
      const count = stretch(cpu, r, total - done);
      if (usesSource) r.set(cpu, 6, cpu.gpr(6) + count * r.step);
      if (usesTarget) r.set(cpu, 7, cpu.gpr(7) + count * r.step);
      left -= count;
      done += count;
      r.set(cpu, 1, left);
    }
  } catch (fault) {
    // After much work the timer gets its look first; the fault comes again when the rest is tried.
    if (!(fault instanceof GuestFault) || unitsOf(done, cpu.deviceAccesses - accesses) < NOTED_WORK) throw fault;
    cpu.i32[WORD.cr2] = cr2;
  }
  const over = r.stopped || left === 0;
  const units = unitsOf(done, cpu.deviceAccesses - accesses);
  if (units < NOTED_WORK) return over ? STATUS.next : jump(cpu, cpu.currentEip(pc));
  // Out of the engine, so that the timer can see how long this took.
  cpu.i32[WORD.extraWork] = cpu.i32[WORD.extraWork]! + units;
  cpu.i32[WORD.startEip] = over ? cpu.nextEip(pc) : cpu.currentEip(pc);
  return STATUS.exit;
}

/** Ticks beyond the instruction's own. */
function unitsOf(elements: number, accesses: number): number {
  return Math.floor(elements / BULK_PER_UNIT) + accesses;
}

/** Do the next element, and all that follow it in plain memory of the same pages, at most `most`; how many. */
function stretch(cpu: Cpu, r: Repetition, most: number): number {
  const { kind, bytes, compares, usesSource } = r;
  const si = r.offset(cpu, 6);
  const di = r.offset(cpu, 7);
  const src = usesSource ? cpu.linear(r.source, si, bytes, false) : 0;
  const dst = kind === STRING_KIND.LODS ? 0 : cpu.linear(SEG.ES, di, bytes, !compares);
  let n = most;
  if (usesSource) n = Math.min(n, room(cpu, r, r.source, src, si, false));
  if (kind !== STRING_KIND.LODS) n = Math.min(n, room(cpu, r, SEG.ES, dst, di, !compares));
  if (n >= 2) {
    const from = usesSource ? cpu.host(src, false) : 0;
    const to = kind === STRING_KIND.LODS ? 0 : compares ? cpu.host(dst, false) : cpu.hostForStore(dst);
    if (from >= 0 && to >= 0) return bulk(cpu, r, from, to, n);
  }
  element(cpu, r, src, dst);
  return 1;
}

/** Elements from `offset` on that stay within the page of `linear` and the segment's bounds; the first one does in these. */
function room(cpu: Cpu, r: Repetition, segment: number, linear: number, offset: number, write: boolean): number {
  const { bytes } = r;
  const inPage = linear & (PAGE - 1);
  if (inPage + bytes > PAGE) return 0;
  const o = offset >>> 0;
  if (r.step < 0) {
    const low = cpu.bound(segment, write ? "writeLow" : "readLow");
    return Math.floor(Math.min(inPage, o - low) / bytes) + 1;
  }
  // A 16-bit offset wraps before it reaches a larger limit.
  const bound = cpu.bound(segment, write ? "writeHigh" : "readHigh");
  const high = r.short ? Math.min(bound, 0xffff) : bound;
  return Math.floor(Math.min(PAGE - inPage, high - o + 1) / bytes);
}

/** `n` elements in plain memory, at machine offsets; how many were done. */
function bulk(cpu: Cpu, r: Repetition, from: number, to: number, n: number): number {
  const { bytes, step } = r;
  const { view } = cpu;
  switch (r.kind) {
    case STRING_KIND.LODS:
      accumulate(cpu, bytes, loadElement(view, from + (n - 1) * step, bytes));
      return n;
    case STRING_KIND.STOS: {
      const value = cpu.gpr(0);
      const low = step > 0 ? to : to + (n - 1) * step;
      if (bytes === 1) cpu.u8.fill(value, low, low + n);
      else for (let i = 0; i < n; i++) storeElement(view, to + i * step, bytes, value);
      cpu.noteWrite(low, n * bytes);
      return n;
    }
    case STRING_KIND.MOVS: {
      const length = n * bytes;
      const back = step > 0 ? 0 : length - bytes;
      // A copy onto what is still to be read replicates, element by element.
      const distance = step > 0 ? to - from : from - to;
      if (distance > 0 && distance < length)
        for (let i = 0; i < n; i++) storeElement(view, to + i * step, bytes, loadElement(view, from + i * step, bytes));
      else cpu.u8.copyWithin(to - back, from - back, from - back + length);
      cpu.noteWrite(to - back, length);
      return n;
    }
    default: {
      const strings = r.kind === STRING_KIND.CMPS;
      const accumulator = loadElement(view, cpu.gprAddress(0), bytes);
      let a = 0;
      let b = 0;
      let i = 0;
      while (i < n && !r.stopped) {
        a = strings ? loadElement(view, from + i * step, bytes) : accumulator;
        b = loadElement(view, to + i * step, bytes);
        i++;
        r.stopped = (a === b) !== r.whileZero;
      }
      compare(cpu, a, b, bytes * 8);
      return i;
    }
  }
}

function loadElement(view: DataView, at: number, bytes: number): number {
  return bytes === 1 ? view.getUint8(at) : bytes === 2 ? view.getUint16(at, true) : view.getInt32(at, true);
}

function storeElement(view: DataView, at: number, bytes: number, value: number): void {
  if (bytes === 1) view.setUint8(at, value);
  else if (bytes === 2) view.setUint16(at, value, true);
  else view.setInt32(at, value, true);
}

/** LODS: `value` goes into AL, AX or EAX. */
function accumulate(cpu: Cpu, bytes: number, value: number): void {
  if (bytes === 1) cpu.setByteSlot(0, value);
  else if (bytes === 2) cpu.setGpr16(0, value);
  else cpu.setGpr(0, value);
}

/** One element, wherever its memory is. */
function element(cpu: Cpu, r: Repetition, src: number, dst: number): void {
  const { bytes } = r;
  switch (r.kind) {
    case STRING_KIND.MOVS:
      cpu.write(dst, bytes, cpu.read(src, bytes));
      return;
    case STRING_KIND.STOS:
      cpu.write(dst, bytes, cpu.gpr(0));
      return;
    case STRING_KIND.LODS:
      accumulate(cpu, bytes, cpu.read(src, bytes));
      return;
    default: {
      const strings = r.kind === STRING_KIND.CMPS;
      const a = strings ? cpu.read(src, bytes) : loadElement(cpu.view, cpu.gprAddress(0), bytes);
      const b = cpu.read(dst, bytes);
      compare(cpu, a, b, bytes * 8);
      r.stopped = ((a ^ b) === 0) !== r.whileZero;
    }
  }
}

/** Lazy flags of a - b. */
function compare(cpu: Cpu, a: number, b: number, bits: number): void {
  const r = (a - b) | 0;
  const borrow = (~a & b) | (~(a ^ b) & r);
  const shift = 32 - bits;
  cpu.i32[WORD.flagsResult] = (r << shift) >> shift;
  cpu.i32[WORD.flagsCarry] = bits === 32 ? borrow & 0xc0000008 : (borrow << shift) | (borrow & 8);
}
