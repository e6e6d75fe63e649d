/**
 * A vCPU as plain data with names: what a saved domain holds of it. Only the guest's own state; what the engines and the
 * hypervisor keep beside it is made anew. Places come from the layout table of isa/state.ts.
 */
import { type FieldName, FPU_REGS, FPU_STRIDE, GPR, SEG, XMM_REGS, XMM_STRIDE } from "../isa/state.ts";
import type { Cpu } from "./cpu.ts";
import { STATE } from "./memory-map.ts";
import type { Processor } from "./processor.ts";
import { ACTIVITY } from "./registers.ts";

const X87_REGISTERS = 8;
const X87_BYTES = 10;
const XMM_REGISTERS = 8;
const XMM_BYTES = 16;
const WORD_MAX = 0xffff_ffff;

/** Single registers and the largest value of each. EFLAGS is `eflags` with the arithmetic flags in it. */
const REGISTERS = {
  eip: WORD_MAX, eflags: WORD_MAX, cpl: 3, cr0: WORD_MAX, cr2: WORD_MAX, cr3: WORD_MAX, cr4: WORD_MAX,
  dr0: WORD_MAX, dr1: WORD_MAX, dr2: WORD_MAX, dr3: WORD_MAX, dr6: WORD_MAX, dr7: WORD_MAX,
  gdtrBase: WORD_MAX, gdtrLimit: 0xffff, idtrBase: WORD_MAX, idtrLimit: 0xffff, efer: WORD_MAX,
  sysenterCs: WORD_MAX, sysenterEsp: WORD_MAX, sysenterEip: WORD_MAX,
  interruptibility: 0x1f, activity: ACTIVITY.shutdown, pendingDebug: 0xffff,
  entryInterruptionInfo: WORD_MAX, entryErrorCode: WORD_MAX, entryInstructionLength: 15,
  fcw: 0xffff, fsw: 0xffff, ftw: 0xff, fop: 0xffff, fip: WORD_MAX, fcs: 0xffff, fdp: WORD_MAX, fds: 0xffff,
  mxcsr: 0xffff,
} as const satisfies Partial<Record<FieldName, number>>; // biome-ignore format: a table

type RegisterName = keyof typeof REGISTERS;
const REGISTER_NAMES = Object.keys(REGISTERS) as RegisterName[];
const GPR_NAMES = Object.keys(GPR) as (keyof typeof GPR)[];
const SEGMENT_NAMES = Object.keys(SEG) as (keyof typeof SEG)[];

/** A segment register with its hidden part; access rights in VMX format. */
export interface SegmentState {
  selector: number;
  base: number;
  limit: number;
  ar: number;
}

/** All numbers are unsigned. */
export interface VcpuState {
  general: Record<keyof typeof GPR, number>;
  registers: Record<RegisterName, number>;
  segments: Record<keyof typeof SEG, SegmentState>;
  /** R0–R7 (not ST0–ST7), ten bytes each as FSAVE stores them. */
  x87: Uint8Array;
  /** XMM0–XMM7, 16 bytes each. */
  xmm: Uint8Array;
  /** What the guest added to its time-stamp counter. */
  tscOffset: { low: number; high: number };
  /** Guest instructions since power-on. */
  instructions: number;
}

/** The bytes in the state page of `count` registers that begin at `at`. */
function* registerSlices(cpu: Cpu, at: number, stride: number, count: number, bytes: number): Generator<Uint8Array> {
  for (let i = 0; i < count; i++) yield cpu.u8.subarray(STATE + at + i * stride, STATE + at + i * stride + bytes);
}

function pack(slices: Iterable<Uint8Array>, bytes: number, count: number): Uint8Array {
  const packed = new Uint8Array(bytes * count);
  let at = 0;
  for (const slice of slices) {
    packed.set(slice, at);
    at += bytes;
  }
  return packed;
}

function unpack(slices: Iterable<Uint8Array>, bytes: number, packed: Uint8Array): void {
  let at = 0;
  for (const slice of slices) {
    slice.set(packed.subarray(at, at + bytes));
    at += bytes;
  }
}

const x87Of = (cpu: Cpu): Generator<Uint8Array> => registerSlices(cpu, FPU_REGS, FPU_STRIDE, X87_REGISTERS, X87_BYTES);
const xmmOf = (cpu: Cpu): Generator<Uint8Array> => registerSlices(cpu, XMM_REGS, XMM_STRIDE, XMM_REGISTERS, XMM_BYTES);

const named = <Name extends string, T>(names: readonly Name[], value: (name: Name) => T): Record<Name, T> =>
  Object.fromEntries(names.map((name) => [name, value(name)])) as Record<Name, T>;

/** The state between two stays in the guest. */
export function vcpuState(processor: Processor): VcpuState {
  const { cpu } = processor;
  return {
    general: named(GPR_NAMES, (name) => cpu.gpr(GPR[name] >> 3) >>> 0),
    registers: named(REGISTER_NAMES, (name) => (name === "eflags" ? cpu.eflags() : cpu.get(name)) >>> 0),
    segments: named(SEGMENT_NAMES, (name) => ({
      selector: cpu.segment(SEG[name], "selector"),
      base: cpu.segment(SEG[name], "base") >>> 0,
      limit: cpu.segment(SEG[name], "limit") >>> 0,
      ar: cpu.segment(SEG[name], "ar") >>> 0,
    })),
    x87: pack(x87Of(cpu), X87_BYTES, X87_REGISTERS),
    xmm: pack(xmmOf(cpu), XMM_BYTES, XMM_REGISTERS),
    tscOffset: { low: cpu.tscOffsetLow >>> 0, high: cpu.tscOffsetHigh >>> 0 },
    instructions: processor.instructions,
  };
}

/**
 * What of a state of the right form has a value that cannot be; undefined when nothing has. VM entry checks the rest (SDM
 * 3C 27.3.1).
 */
export function vcpuStateProblem(state: VcpuState): string | undefined {
  const fits = (value: number, largest: number): boolean =>
    Number.isInteger(value) && value >= 0 && value <= largest && !Object.is(value, -0);
  for (const name of REGISTER_NAMES) {
    if (!fits(state.registers[name], REGISTERS[name])) return `registers.${name} is ${state.registers[name]}`;
  }
  for (const name of GPR_NAMES) if (!fits(state.general[name], WORD_MAX)) return `general.${name} is no 32-bit number`;
  for (const name of SEGMENT_NAMES) {
    const { selector, base, limit, ar } = state.segments[name];
    if (!fits(selector, 0xffff)) return `segments.${name}.selector is ${selector}`;
    for (const value of [base, limit, ar])
      if (!fits(value, WORD_MAX)) return `segments.${name} holds ${value}, no 32-bit number`;
  }
  if (state.x87.length !== X87_BYTES * X87_REGISTERS) return `x87 has ${state.x87.length} bytes`;
  if (state.xmm.length !== XMM_BYTES * XMM_REGISTERS) return `xmm has ${state.xmm.length} bytes`;
  const { low, high } = state.tscOffset;
  if (!fits(low, WORD_MAX) || !fits(high, WORD_MAX)) return "tscOffset is no 64-bit number";
  return fits(state.instructions, Number.MAX_SAFE_INTEGER) ? undefined : "instructions is no count";
}

/**
 * Put a checked state into a processor between two stays in the guest. Guest memory holds already what it held. The gate of
 * address line 20 and the execution controls are left alone: they are the chipset's and the hypervisor's.
 */
export function restoreVcpu(processor: Processor, state: VcpuState): void {
  const { cpu } = processor;
  const a20 = cpu.get("a20Mask");
  processor.reset();
  cpu.set("a20Mask", a20);
  for (const name of GPR_NAMES) cpu.setGpr(GPR[name] >> 3, state.general[name]);
  for (const name of REGISTER_NAMES) if (name !== "eflags" && name !== "cr3") cpu.set(name, state.registers[name]);
  cpu.setEflags(state.registers.eflags);
  for (const name of SEGMENT_NAMES) {
    const { selector, base, limit, ar } = state.segments[name];
    cpu.setSegment(SEG[name], selector, base, limit, ar);
  }
  unpack(x87Of(cpu), X87_BYTES, state.x87);
  unpack(xmmOf(cpu), XMM_BYTES, state.xmm);
  cpu.tscOffsetLow = state.tscOffset.low | 0;
  cpu.tscOffsetHigh = state.tscOffset.high | 0;
  processor.instructions = state.instructions;
  cpu.loadCr3(state.registers.cr3);
  cpu.updateMode();
}
