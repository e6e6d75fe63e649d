/**
 * The decoder: bytes to an `Instruction`, by way of the opcode maps of `opcode-map.ts`. It knows encodings, not machines:
 * what a mode forbids is for the engine to check.
 */
import {
  ENTRY,
  IMMEDIATE,
  LAYOUT,
  LAYOUTS,
  MODRM_CHOICES,
  modrmChoice,
  type OpcodeMap,
  PREFIX_CHOICE,
} from "./opcode-map.ts";
import type { Form } from "./row.ts";
import { GPR, SEG, ZERO_SLOT } from "./state.ts";
import { FORMS, MAP } from "./table.ts";

/** Longest legal instruction (SDM 2A 2.3.11). */
export const MAX_LENGTH = 15;

/** Results of {@link decode} other than a length. */
export const DECODE = { needMore: -1, tooLong: -2 } as const;

/** A decoded instruction; reused from call to call. */
export class Instruction {
  /** Undefined: no such instruction, #UD. */
  form: Form | undefined = undefined;
  length = 0;
  /** Operand size in bits: 16 or 32 (the form's own size class decides whether it counts). */
  operandSize = 32;
  address16 = false;
  lock = false;
  /** 0, or the last of F2 and F3. */
  repeat = 0;
  /** Segment of the memory operand, defaults and overrides applied. */
  segment: number = SEG.DS;
  /** Override prefix, or -1. */
  override = -1;
  memory = false;
  /** ModRM fields; `reg` also holds the register of `+` opcodes. */
  mod = 0;
  reg = 0;
  rm = 0;
  /** Slots of base and index registers in the state page. */
  base: number = ZERO_SLOT;
  index: number = ZERO_SLOT;
  scale = 0;
  displacement = 0;
  /** First and second immediate; relative targets are sign-extended displacements. */
  immediate = 0;
  immediate2 = 0;
}

const BASE_16 = [GPR.ebx, GPR.ebx, GPR.ebp, GPR.ebp, GPR.esi, GPR.edi, GPR.ebp, GPR.ebx] as const;
const INDEX_16 = [GPR.esi, GPR.edi, GPR.esi, GPR.edi, ZERO_SLOT, ZERO_SLOT, ZERO_SLOT, ZERO_SLOT] as const;

/** What a prefix byte is; segment overrides are `segment` and the segment's number. */
const PREFIX = { none: 0, operand: 1, address: 2, lock: 3, repeat: 4, segment: 8 } as const;

const PREFIXES = new Uint8Array(256);
PREFIXES[0x66] = PREFIX.operand;
PREFIXES[0x67] = PREFIX.address;
PREFIXES[0xf0] = PREFIX.lock;
PREFIXES[0xf2] = PREFIX.repeat;
PREFIXES[0xf3] = PREFIX.repeat;
PREFIXES[0x26] = PREFIX.segment | SEG.ES;
PREFIXES[0x2e] = PREFIX.segment | SEG.CS;
PREFIXES[0x36] = PREFIX.segment | SEG.SS;
PREFIXES[0x3e] = PREFIX.segment | SEG.DS;
PREFIXES[0x64] = PREFIX.segment | SEG.FS;
PREFIXES[0x65] = PREFIX.segment | SEG.GS;

/**
 * Decode one instruction at `bytes[at]` of a code segment of `bits` (16 or 32) bits, as the CPU model of `map` does.
 * Returns its length, or DECODE.needMore when `end` cuts it short, or DECODE.tooLong beyond 15 bytes (#GP).
 */
export function decode(
  bytes: Uint8Array,
  at: number,
  end: number,
  bits: number,
  out: Instruction,
  map: OpcodeMap,
): number {
  const complete = end >= at + MAX_LENGTH;
  const stop = complete ? at + MAX_LENGTH : end;
  const short = complete ? DECODE.tooLong : DECODE.needMore;
  let operandSize = bits;
  let addressSize = bits;
  let override = -1;
  let lock = false;
  let repeat = 0;
  let choice: number = PREFIX_CHOICE.none;
  if (at >= stop) return short;
  let p = at + 1;
  let opcode: number = bytes[at]!;
  for (let prefix = PREFIXES[opcode]!; prefix !== PREFIX.none; prefix = PREFIXES[opcode]!) {
    if (prefix === PREFIX.operand) operandSize = 48 - bits;
    else if (prefix === PREFIX.address) addressSize = 48 - bits;
    else if (prefix === PREFIX.lock) lock = true;
    else if (prefix === PREFIX.repeat) repeat = opcode;
    else override = prefix - PREFIX.segment;
    if (p >= stop) return short;
    opcode = bytes[p++]!;
  }
  if (repeat !== 0) choice = repeat === 0xf3 ? PREFIX_CHOICE.repeat : PREFIX_CHOICE.repeatNot;
  else if (operandSize !== bits) choice = PREFIX_CHOICE.operand;
  if (opcode === 0x0f) {
    if (p >= stop) return short;
    opcode = MAP.two | bytes[p++]!;
    if (opcode === (MAP.two | 0x38) || opcode === (MAP.two | 0x3a)) {
      if (p >= stop) return short;
      opcode = (opcode === (MAP.two | 0x38) ? MAP.three38 : MAP.three3a) | bytes[p++]!;
    }
  }
  const entry = map.entries[opcode]!;
  let index = entry >> ENTRY.shift;
  let modrm = 0;
  out.reg = opcode & 7;
  if (entry & ENTRY.modrm) {
    if (p >= stop) return short;
    modrm = bytes[p++]!;
    out.mod = modrm >> 6;
    out.rm = modrm & 7;
    out.reg = (modrm >> 3) & 7;
  }
  if (entry & ENTRY.byPrefix) index += entry & ENTRY.byModrm ? choice * MODRM_CHOICES : choice;
  if (entry & ENTRY.byModrm) index += modrmChoice(modrm);
  const id = map.forms[index]!;
  const layout = id < 0 ? 0 : LAYOUTS[id]!;
  out.form = id < 0 ? undefined : FORMS[id];
  out.operandSize = operandSize;
  out.address16 = addressSize === 16;
  out.lock = lock;
  out.repeat = repeat;
  out.override = override;
  out.segment = override < 0 ? SEG.DS : override;
  out.memory = false;
  out.base = ZERO_SLOT;
  out.index = ZERO_SLOT;
  out.scale = 0;
  out.displacement = 0;
  out.immediate = 0;
  out.immediate2 = 0;
  // An unknown member of a group is fetched whole before it is refused, as silicon does.
  if (entry & ENTRY.modrm && modrm < 0xc0 && !(layout & LAYOUT.register)) {
    p = addressSize === 16 ? address16(bytes, p, stop, modrm, out) : address32(bytes, p, stop, modrm, out);
    if (p < 0) return short;
  }
  for (let rest = layout >> LAYOUT.shift; rest !== 0; rest >>= LAYOUT.immediateBits) {
    p = immediate(
      bytes,
      p,
      stop,
      rest & LAYOUT.immediateMask,
      operandSize,
      addressSize,
      out,
      rest === layout >> LAYOUT.shift,
    );
    if (p < 0) return short;
  }
  if (lock && !(layout & LAYOUT.lockable && out.memory)) out.form = undefined;
  out.length = p - at;
  return out.length;
}

/** Take a 16-bit address from behind ModRM; returns where it ends, or -1 when that is behind `stop`. */
function address16(bytes: Uint8Array, at: number, stop: number, modrm: number, out: Instruction): number {
  const mod = modrm >> 6;
  const rm = modrm & 7;
  out.memory = true;
  let size = mod;
  if (mod === 0 && rm === 6) size = 2;
  else {
    out.base = BASE_16[rm]!;
    out.index = INDEX_16[rm]!;
    if (out.base === GPR.ebp && out.override < 0) out.segment = SEG.SS;
  }
  if (at + size > stop) return -1;
  if (size === 1) out.displacement = (bytes[at]! << 24) >> 24;
  else if (size === 2) out.displacement = ((bytes[at]! | (bytes[at + 1]! << 8)) << 16) >> 16;
  return at + size;
}

/** The same for 32-bit addresses, SIB byte included. */
function address32(bytes: Uint8Array, at: number, stop: number, modrm: number, out: Instruction): number {
  const mod = modrm >> 6;
  let p = at;
  let base = modrm & 7;
  out.memory = true;
  if (base === 4) {
    if (p >= stop) return -1;
    const sib = bytes[p++]!;
    base = sib & 7;
    const index = (sib >> 3) & 7;
    if (index !== 4) {
      out.index = index * 8;
      out.scale = sib >> 6;
    }
  }
  if (base === 5 && mod === 0) return displacement32(bytes, p, stop, out);
  out.base = base * 8;
  if ((base === 4 || base === 5) && out.override < 0) out.segment = SEG.SS;
  if (mod === 0) return p;
  if (mod === 2) return displacement32(bytes, p, stop, out);
  if (p >= stop) return -1;
  out.displacement = (bytes[p]! << 24) >> 24;
  return p + 1;
}

function displacement32(bytes: Uint8Array, at: number, stop: number, out: Instruction): number {
  if (at + 4 > stop) return -1;
  out.displacement = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  return at + 4;
}

/** Take an operand of one kind of IMMEDIATE; returns where it ends, or -1 when that is behind `stop`. */
function immediate(
  bytes: Uint8Array,
  at: number,
  stop: number,
  kind: number,
  operandSize: number,
  addressSize: number,
  out: Instruction,
  first: boolean,
): number {
  let size = 1;
  if (kind === IMMEDIATE.word) size = 2;
  else if (kind === IMMEDIATE.offset) size = addressSize >> 3;
  else if (kind >= IMMEDIATE.sized) size = operandSize >> 3;
  if (at + size > stop) return -1;
  let value = bytes[at]!;
  if (size >= 2) value |= bytes[at + 1]! << 8;
  if (size === 4) value |= (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  if (kind === IMMEDIATE.offset) {
    out.memory = true;
    out.displacement = value;
    return at + size;
  }
  if (kind === IMMEDIATE.signedByte) value = operandSize === 16 ? ((value << 24) >> 24) & 0xffff : (value << 24) >> 24;
  else if (kind === IMMEDIATE.relativeByte) value = (value << 24) >> 24;
  else if (kind === IMMEDIATE.relativeSized && size === 2) value = (value << 16) >> 16;
  if (first) out.immediate = value;
  else out.immediate2 = value;
  if (kind !== IMMEDIATE.farPointer) return at + size;
  if (at + size + 2 > stop) return -1;
  out.immediate2 = bytes[at + size]! | (bytes[at + size + 1]! << 8);
  return at + size + 2;
}

/** Operand size in bits at which the form works: its fixed size, or the instruction's. */
export function formBits(form: Form, operandSize: number): number {
  switch (form.sizeClass) {
    case "b":
      return 8;
    case "w":
      return 16;
    case "v":
      return operandSize;
    default:
      return 32;
  }
}
