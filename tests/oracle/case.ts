/** A test case (code and the state it starts from), its result, and how both look to the native runner. */
import { CODE, FPU_IMAGE, SCRATCH, scratchPattern, WINDOW } from "./layout.ts";

const PATTERN = scratchPattern();

/** General registers in encoding order. */
export const REGISTERS = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"] as const;
/** Segment registers in encoding order. */
export const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"] as const;

/** What runs, and from which state. */
export interface TestCase {
  /** At most `CODE.bytes` bytes; INT3 follows, unless the code pages end. */
  readonly code: Uint8Array;
  /** Linear address of the code, inside the code pages. */
  readonly address: number;
  /** In encoding order. */
  readonly registers: Uint32Array;
  readonly eflags: number;
  /** Selectors in encoding order. */
  readonly segments: Uint16Array;
  /** 108 bytes as FNSAVE stores them. */
  readonly fpu: Uint8Array;
  /** Content of the window. */
  readonly window: Uint8Array;
  /** What the case is about, and which parts of its result the manuals leave open. */
  readonly form: string;
  readonly open: OpenResults;
}

/** What the manuals leave undefined in a result: not compared. */
export interface OpenResults {
  /** EFLAGS bits. */
  readonly flags: number;
  /** x87 status bits. */
  readonly status: number;
  /** Units in the last place by which x87 register results may differ (transcendental instructions). */
  readonly ulps: number;
  /** The destination, too, is undefined: registers (those of the FPU as well) and memory are not compared. */
  readonly destination: boolean;
  /** Of several memory accesses, which one faults first, and what the ones before have done. */
  readonly fault: boolean;
  /** Linear addresses from … to whose content depends on the host: FIP, FCS, FDP and FDS in a stored environment. */
  readonly memory: { readonly from: number; readonly to: number } | undefined;
}

/** The state in which a case ended. A case that ran to its INT3 has `vector` 3. */
export interface TestResult {
  readonly vector: number;
  readonly errorCode: number;
  /** Linear address of a page fault, otherwise 0. */
  readonly address: number;
  readonly registers: Uint32Array;
  readonly eip: number;
  readonly eflags: number;
  readonly segments: Uint16Array;
  readonly fpu: Uint8Array;
  /** Bytes of the scratch pages that changed: linear address → value. */
  readonly memory: ReadonlyMap<number, number>;
}

/** Offsets in struct sigcontext of 32-bit Linux (arch/x86/include/uapi/asm/sigcontext.h), which holds dwords. */
export const SIGCONTEXT = {
  size: 88,
  gs: 0,
  fs: 4,
  es: 8,
  ds: 12,
  edi: 16,
  esi: 20,
  ebp: 24,
  esp: 28,
  ebx: 32,
  edx: 36,
  ecx: 40,
  eax: 44,
  trapno: 48,
  err: 52,
  eip: 56,
  cs: 60,
  eflags: 64,
  ss: 72,
  fpstate: 76,
  cr2: 84,
} as const;

/** The runner's input record. `keptFlags` holds EFLAGS bits that sigreturn would not load. */
export const INPUT = {
  code: 0,
  codeAddress: CODE.bytes,
  keptFlags: CODE.bytes + 4,
  sigcontext: CODE.bytes + 8,
  fpu: CODE.bytes + 8 + SIGCONTEXT.size,
  window: CODE.bytes + 8 + SIGCONTEXT.size + FPU_IMAGE.size,
  size: CODE.bytes + 8 + SIGCONTEXT.size + FPU_IMAGE.size + WINDOW.size,
} as const;

/** The runner's output record: then `count` pairs of address and dword, both u32. */
export const OUTPUT = {
  sigcontext: 0,
  fpu: SIGCONTEXT.size,
  count: SIGCONTEXT.size + FPU_IMAGE.size,
  changes: SIGCONTEXT.size + FPU_IMAGE.size + 4,
} as const;

/** EFLAGS bits. SDM 1 3.4.3. */
export const FLAG = {
  CF: 1 << 0,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  NT: 1 << 14,
  RF: 1 << 16,
  AC: 1 << 18,
  ID: 1 << 21,
} as const;

/** CF, PF, AF, ZF, SF and OF. */
export const ARITHMETIC_FLAGS = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.OF;

/** Exception vectors. SDM 3A table 6-1. */
export const VECTOR = {
  DE: 0,
  DB: 1,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
} as const;

/** The code of a case with INT3 around it: a block of `CODE.bytes` bytes. What would lie behind the code pages is left out. */
export function codeBlock(test: TestCase): { address: number; bytes: Uint8Array } {
  const end = CODE.base + CODE.size;
  const address = Math.min(test.address, end - CODE.bytes);
  const bytes = new Uint8Array(CODE.bytes).fill(0xcc);
  bytes.set(test.code.subarray(0, end - test.address), test.address - address);
  return { address, bytes };
}

/** Write one case as the runner reads it. `target` has `INPUT.size` bytes from `offset`, all zero. */
export function encodeCase(test: TestCase, target: DataView, offset: number): void {
  const bytes = new Uint8Array(target.buffer, target.byteOffset + offset, INPUT.size);
  const block = codeBlock(test);
  bytes.set(block.bytes, INPUT.code);
  bytes.set(test.fpu, INPUT.fpu);
  bytes.set(test.window, INPUT.window);
  target.setUint32(offset + INPUT.codeAddress, block.address, true);
  target.setUint32(offset + INPUT.keptFlags, (test.eflags & (FLAG.NT | FLAG.ID)) | 2, true);
  const context = offset + INPUT.sigcontext;
  for (const [i, name] of REGISTERS.entries()) {
    target.setUint32(context + SIGCONTEXT[name], test.registers[i] as number, true);
  }
  for (const [i, name] of SEGMENTS.entries()) {
    target.setUint32(context + SIGCONTEXT[name], test.segments[i] as number, true);
  }
  target.setUint32(context + SIGCONTEXT.eip, test.address, true);
  target.setUint32(context + SIGCONTEXT.eflags, test.eflags, true);
}

/** Read one result that the runner wrote at `offset`; `next` is where the one after it starts. */
export function decodeResult(source: DataView, offset: number, test: TestCase): { result: TestResult; next: number } {
  const u32 = (name: keyof typeof SIGCONTEXT): number => source.getUint32(offset + SIGCONTEXT[name], true);
  const count = source.getUint32(offset + OUTPUT.count, true);
  const memory = new Map<number, number>();
  let at = offset + OUTPUT.changes;
  for (let i = 0; i < count; i++, at += 8) addChange(memory, test, source.getUint32(at, true), at + 4, source);
  const vector = u32("trapno");
  const result: TestResult = {
    vector,
    errorCode: hasErrorCode(vector) ? u32("err") : 0,
    address: vector === VECTOR.PF ? u32("cr2") : 0,
    registers: Uint32Array.from(REGISTERS, u32),
    eip: u32("eip"),
    eflags: u32("eflags"),
    segments: Uint16Array.from(SEGMENTS, u32),
    fpu: new Uint8Array(source.buffer, source.byteOffset + offset + OUTPUT.fpu, FPU_IMAGE.size).slice(),
    memory,
  };
  return { result, next: at };
}

/** Of a changed dword, record the bytes that differ from what the case put there. */
function addChange(memory: Map<number, number>, test: TestCase, address: number, at: number, source: DataView): void {
  for (let i = 0; i < 4; i++) {
    const value = source.getUint8(at + i);
    if (value !== initialByte(test, address + i)) memory.set(address + i, value);
  }
}

/** Byte at a linear address of the scratch pages before the case runs. */
export function initialByte(test: TestCase, address: number): number {
  const inWindow = address - WINDOW.base;
  if (inWindow >= 0 && inWindow < WINDOW.size) return test.window[inWindow] as number;
  return PATTERN[address - SCRATCH.base] as number;
}

/** Whether the processor pushes an error code with this exception. */
export function hasErrorCode(vector: number): boolean {
  return vector === 8 || (vector >= 10 && vector <= VECTOR.PF) || vector === VECTOR.AC;
}
