/**
 * The blocks that FLDENV, FSTENV, FSAVE, FRSTOR, FXSAVE and FXRSTOR move (SDM 1 8.1.10, 10.5). Plain functions between a
 * state page and a byte buffer; reaching guest memory, and faults on the way, are the caller's.
 */
import { FIELD, type FieldName, FPU_REGS, XMM_REGS, XMM_STRIDE } from "../state.ts";
import { MXCSR_VALID } from "../vector/constants.ts";
import { EXCEPTIONS, EXT, FCW_FIXED, FCW_INITIAL, FCW_WRITABLE, FSW } from "./constants.ts";

/** Operand size and, by mode, what the pointers mean: selector and offset, or (real and virtual-8086) linear addresses. */
export interface EnvironmentFormat {
  readonly bits: 16 | 32;
  readonly protected: boolean;
}

/** Bytes of the environment. */
export function environmentBytes(format: EnvironmentFormat): number {
  return format.bits === 16 ? 14 : 28;
}

/** Bytes of one register in FSAVE's block. */
const REGISTER_BYTES = 10;
/** From one register to the next in the state page and in FXSAVE's block. */
const REGISTER_STRIDE = 16;
const REGISTERS = 8;

/** Bytes of FSAVE's block: environment and eight registers. */
export function stateBytes(format: EnvironmentFormat): number {
  return environmentBytes(format) + REGISTERS * REGISTER_BYTES;
}

/** Two-bit tags of the full tag word (SDM 1 8.1.7). */
const TAG = { valid: 0, zero: 1, special: 2, empty: 3 } as const;
/** Significant bits of the last opcode. */
export const FOP_MASK = 0x7ff;
/** Reserved upper halves of 32-bit slots read as ones. */
const RESERVED_ONES = 0xffff0000;

function get(state: DataView, base: number, field: FieldName): number {
  return state.getUint32(base + FIELD[field].offset, true);
}

function set(state: DataView, base: number, field: FieldName, value: number): void {
  state.setUint32(base + FIELD[field].offset, value, true);
}

function bytesOf(buffer: Uint8Array): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function topOf(fsw: number): number {
  return (fsw & FSW.TOP) >>> 11;
}

/** The tag word with two bits a register, as it is stored. */
export function fullTagWord(state: DataView, base: number): number {
  const full = get(state, base, "ftw");
  let tags = 0;
  for (let register = 0; register < REGISTERS; register++) {
    tags |= tagOf(state, base, full, register) << (2 * register);
  }
  return tags;
}

function tagOf(state: DataView, base: number, full: number, register: number): number {
  if (((full >>> register) & 1) === 0) return TAG.empty;
  const address = base + FPU_REGS + register * REGISTER_STRIDE;
  const exponent = state.getUint16(address + 8, true) & EXT.exponent;
  const high = state.getUint32(address + 4, true);
  if (exponent === 0 && high === 0 && state.getUint32(address, true) === 0) return TAG.zero;
  return exponent !== 0 && exponent !== EXT.exponent && high >>> 31 === 1 ? TAG.valid : TAG.special;
}

function abridge(tags: number): number {
  let full = 0;
  for (let register = 0; register < REGISTERS; register++) {
    if (((tags >>> (2 * register)) & TAG.empty) !== TAG.empty) full |= 1 << register;
  }
  return full;
}

/** Store control and status word; the summary bits of the status word follow the masks, whatever the block says. */
function loadWords(state: DataView, base: number, control: number, status: number, full: number): void {
  const fcw = (control & FCW_WRITABLE) | FCW_FIXED;
  const pending = (status & ~fcw & EXCEPTIONS) !== 0;
  set(state, base, "fcw", fcw);
  set(state, base, "fsw", (status & 0xffff & ~(FSW.ES | FSW.B)) | (pending ? FSW.ES | FSW.B : 0));
  set(state, base, "ftw", full);
}

/** Write the environment to `target`. FNSTENV's masking is {@link maskExceptions}, once memory took the block. */
export function storeEnvironment(state: DataView, base: number, target: Uint8Array, format: EnvironmentFormat): void {
  const out = bytesOf(target);
  const words = [get(state, base, "fcw"), get(state, base, "fsw"), fullTagWord(state, base)];
  const [fip, fcs, fdp, fds] = [
    get(state, base, "fip"),
    get(state, base, "fcs"),
    get(state, base, "fdp"),
    get(state, base, "fds"),
  ];
  const fop = get(state, base, "fop") & FOP_MASK;
  const code = (fcs << 4) + fip;
  const data = (fds << 4) + fdp;
  if (format.bits === 16) {
    const pointers = format.protected
      ? [fip, fcs, fdp, fds]
      : [code, ((code >>> 4) & 0xf000) | fop, data, (data >>> 4) & 0xf000];
    for (const [index, word] of [...words, ...pointers].entries()) out.setUint16(2 * index, word & 0xffff, true);
    return;
  }
  const pointers = format.protected
    ? [fip, (fop << 16) | (fcs & 0xffff), fdp, RESERVED_ONES | fds]
    : [
        RESERVED_ONES | (code & 0xffff),
        ((code >>> 4) & 0x0ffff000) | fop,
        RESERVED_ONES | (data & 0xffff),
        (data >>> 4) & 0x0ffff000,
      ];
  const slots = [...words.map((word) => RESERVED_ONES | word), ...pointers];
  for (const [index, slot] of slots.entries()) out.setUint32(4 * index, slot >>> 0, true);
}

/** What FNSTENV does after storing: all exceptions are masked, and none is pending any more. */
export function maskExceptions(state: DataView, base: number): void {
  set(state, base, "fcw", get(state, base, "fcw") | EXCEPTIONS);
  set(state, base, "fsw", get(state, base, "fsw") & ~(FSW.ES | FSW.B));
}

/** Load the environment from `source`. Linear addresses of real-mode formats become offsets from selector 0. */
export function loadEnvironment(state: DataView, base: number, source: Uint8Array, format: EnvironmentFormat): void {
  const block = bytesOf(source);
  const step = format.bits >>> 3;
  const word = (index: number): number => block.getUint16(index * step, true);
  const slot = (index: number): number =>
    format.bits === 16 ? block.getUint16(index * 2, true) : block.getUint32(index * 4, true);
  loadWords(state, base, word(0), word(1), abridge(word(2)));
  if (format.protected) {
    set(state, base, "fip", slot(3));
    set(state, base, "fcs", slot(4) & 0xffff);
    set(state, base, "fdp", slot(5));
    set(state, base, "fds", slot(6) & 0xffff);
    // The 16-bit format has no room for the opcode.
    set(state, base, "fop", format.bits === 16 ? 0 : (slot(4) >>> 16) & FOP_MASK);
    return;
  }
  const upper = format.bits === 16 ? 0xf000 : 0x0ffff000;
  set(state, base, "fip", ((slot(4) & upper) << 4) | word(3));
  set(state, base, "fdp", ((slot(6) & upper) << 4) | word(5));
  set(state, base, "fcs", 0);
  set(state, base, "fds", 0);
  set(state, base, "fop", slot(4) & FOP_MASK);
}

function copyRegister(from: DataView, source: number, to: DataView, target: number): void {
  to.setUint32(target, from.getUint32(source, true), true);
  to.setUint32(target + 4, from.getUint32(source + 4, true), true);
  to.setUint16(target + 8, from.getUint16(source + 8, true), true);
}

/** Address in the state page of ST(index). */
function stackRegister(state: DataView, base: number, index: number): number {
  const register = (topOf(get(state, base, "fsw")) + index) & (REGISTERS - 1);
  return base + FPU_REGS + register * REGISTER_STRIDE;
}

/** Write FNSAVE's block to `target`. The FNINIT that belongs to it is {@link x87Reset}, once memory took the block. */
export function saveState(state: DataView, base: number, target: Uint8Array, format: EnvironmentFormat): void {
  storeEnvironment(state, base, target, format);
  const out = bytesOf(target);
  const start = environmentBytes(format);
  for (let index = 0; index < REGISTERS; index++) {
    copyRegister(state, stackRegister(state, base, index), out, start + index * REGISTER_BYTES);
  }
}

/** FRSTOR: load environment and registers from `source`. */
export function restoreState(state: DataView, base: number, source: Uint8Array, format: EnvironmentFormat): void {
  loadEnvironment(state, base, source, format);
  const block = bytesOf(source);
  const start = environmentBytes(format);
  for (let index = 0; index < REGISTERS; index++) {
    copyRegister(block, start + index * REGISTER_BYTES, state, stackRegister(state, base, index));
  }
}

/** Bytes of FXSAVE's block. */
export const FXSAVE_BYTES = 512;
/** Offsets in FXSAVE's block (SDM 1 table 10-2, 32-bit format). */
export const FXSAVE = {
  fcw: 0,
  fsw: 2,
  ftw: 4,
  fop: 6,
  fip: 8,
  fcs: 12,
  fdp: 16,
  fds: 20,
  mxcsr: 24,
  mxcsrMask: 28,
  registers: 32,
  xmm: 160,
} as const;
/** What of SSE is enabled: number of XMM registers that take part (0 while CR4.OSFXSR is clear). */
export interface ExtendedStateOptions {
  readonly xmmRegisters: number;
}

/** FXSAVE to `target`, whose reserved bytes are left alone. */
export function storeExtendedState(
  state: DataView,
  base: number,
  target: Uint8Array,
  { xmmRegisters }: ExtendedStateOptions,
): void {
  const out = bytesOf(target);
  out.setUint16(FXSAVE.fcw, get(state, base, "fcw"), true);
  out.setUint16(FXSAVE.fsw, get(state, base, "fsw"), true);
  out.setUint16(FXSAVE.ftw, get(state, base, "ftw") & 0xff, true);
  out.setUint16(FXSAVE.fop, get(state, base, "fop") & FOP_MASK, true);
  out.setUint32(FXSAVE.fip, get(state, base, "fip"), true);
  out.setUint32(FXSAVE.fcs, get(state, base, "fcs") & 0xffff, true);
  out.setUint32(FXSAVE.fdp, get(state, base, "fdp"), true);
  out.setUint32(FXSAVE.fds, get(state, base, "fds") & 0xffff, true);
  out.setUint32(FXSAVE.mxcsr, get(state, base, "mxcsr"), true);
  out.setUint32(FXSAVE.mxcsrMask, MXCSR_VALID, true);
  for (let index = 0; index < REGISTERS; index++) {
    const slot = FXSAVE.registers + index * REGISTER_STRIDE;
    copyRegister(state, stackRegister(state, base, index), out, slot);
    out.setUint16(slot + 10, 0, true);
    out.setUint32(slot + 12, 0, true);
  }
  const page = new Uint8Array(state.buffer, state.byteOffset);
  for (let index = 0; index < xmmRegisters; index++) {
    const from = base + XMM_REGS + index * XMM_STRIDE;
    target.set(page.subarray(from, from + 16), FXSAVE.xmm + index * 16);
  }
}

/** FXRSTOR from `source`. False, and nothing changed, if MXCSR has reserved bits set: the caller raises #GP(0). */
export function loadExtendedState(
  state: DataView,
  base: number,
  source: Uint8Array,
  { xmmRegisters }: ExtendedStateOptions,
): boolean {
  const block = bytesOf(source);
  const mxcsr = block.getUint32(FXSAVE.mxcsr, true);
  if (xmmRegisters > 0 && (mxcsr & ~MXCSR_VALID) !== 0) return false;
  const full = block.getUint8(FXSAVE.ftw);
  loadWords(state, base, block.getUint16(FXSAVE.fcw, true), block.getUint16(FXSAVE.fsw, true), full);
  set(state, base, "fop", block.getUint16(FXSAVE.fop, true) & FOP_MASK);
  set(state, base, "fip", block.getUint32(FXSAVE.fip, true));
  set(state, base, "fcs", block.getUint16(FXSAVE.fcs, true));
  set(state, base, "fdp", block.getUint32(FXSAVE.fdp, true));
  set(state, base, "fds", block.getUint16(FXSAVE.fds, true));
  for (let index = 0; index < REGISTERS; index++) {
    const slot = FXSAVE.registers + index * REGISTER_STRIDE;
    copyRegister(block, slot, state, stackRegister(state, base, index));
  }
  if (xmmRegisters === 0) return true;
  set(state, base, "mxcsr", mxcsr);
  const page = new Uint8Array(state.buffer, state.byteOffset);
  for (let index = 0; index < xmmRegisters; index++) {
    const slot = FXSAVE.xmm + index * 16;
    page.set(source.subarray(slot, slot + 16), base + XMM_REGS + index * XMM_STRIDE);
  }
  return true;
}

/** FNINIT on the state page at `base`: control word 037Fh, everything else zero, all registers empty. */
export function x87Reset(state: DataView, base: number): void {
  set(state, base, "fcw", FCW_INITIAL);
  for (const field of ["fsw", "ftw", "fop", "fip", "fcs", "fdp", "fds"] as const) set(state, base, field, 0);
}
