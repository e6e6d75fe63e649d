/**
 * The decoder: bytes to an `Instruction`, by walking the opcode maps of `table.ts`. It knows encodings, not machines:
 * what a mode forbids is for the engine to check.
 */
import type { Form } from "./row.ts";
import { operandBits } from "./row.ts";
import { GPR, SEG, ZERO_SLOT } from "./state.ts";
import { MAP, OPCODE_MAP } from "./table.ts";

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

/** Segment override prefixes. */
const OVERRIDE: Readonly<Record<number, number>> = {
  38: SEG.ES, 46: SEG.CS, 54: SEG.SS, 62: SEG.DS, 100: SEG.FS, 101: SEG.GS,
}; // biome-ignore format: a table

const PREFIX = new Uint8Array(256);
for (const byte of [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]) PREFIX[byte] = 1;

/** Whether the CPU model has `feature`; encodings of others are undefined. */
export type FeatureTest = (feature: string) => boolean;

/**
 * Decode one instruction at `bytes[at]` of a code segment of `bits` (16 or 32) bits.
 * Returns its length, or DECODE.needMore when `end` cuts it short, or DECODE.tooLong beyond 15 bytes (#GP).
 */
export function decode(
  bytes: Uint8Array,
  at: number,
  end: number,
  bits: number,
  out: Instruction,
  has: FeatureTest,
): number {
  let p = at;
  const stop = Math.min(end, at + MAX_LENGTH);
  const short = (): number => (end >= at + MAX_LENGTH ? DECODE.tooLong : DECODE.needMore);
  let operandSize = bits;
  let addressSize = bits;
  let override = -1;
  let lock = false;
  let repeat = 0;
  let operandPrefix = false;
  for (;;) {
    if (p >= stop) return short();
    const byte = bytes[p]!;
    if (!PREFIX[byte]) break;
    p++;
    if (byte === 0x66) {
      operandSize = 48 - bits;
      operandPrefix = true;
    } else if (byte === 0x67) addressSize = 48 - bits;
    else if (byte === 0xf0) lock = true;
    else if (byte >= 0xf2) repeat = byte;
    else override = OVERRIDE[byte]!;
  }
  let opcode: number = bytes[p++]!;
  if (opcode === 0x0f) {
    if (p >= stop) return short();
    opcode = MAP.two | bytes[p++]!;
    if (opcode === (MAP.two | 0x38) || opcode === (MAP.two | 0x3a)) {
      if (p >= stop) return short();
      opcode = (opcode === (MAP.two | 0x38) ? MAP.three38 : MAP.three3a) | bytes[p++]!;
    }
  }
  const candidates = OPCODE_MAP[opcode]!;
  let modrm = -1;
  let form: Form | undefined;
  if (candidates.length > 0 && candidates[0]!.modrm) {
    if (p >= stop) return short();
    modrm = bytes[p]!;
  }
  for (const candidate of candidates) {
    if (candidate.modrm && modrm < 0) {
      if (p >= stop) return short();
      modrm = bytes[p]!;
    }
    const { reg, rm, mod, row } = candidate;
    if (reg >= 0 && reg !== ((modrm >> 3) & 7)) continue;
    if (mod !== "any" && modrm >= 0xc0 !== (mod === "reg")) continue;
    if (rm >= 0 && rm !== (modrm & 7)) continue;
    const { prefix, feature } = row.traits;
    if (prefix !== undefined && prefix !== (repeat || (operandPrefix ? 0x66 : 0))) continue;
    if (feature !== undefined && !has(feature)) continue;
    form = candidate;
    break;
  }
  out.form = form;
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
  if (!form && modrm < 0) {
    out.length = p - at;
    return out.length;
  }
  out.reg = opcode & 7;
  // An unknown member of a group is fetched whole before it is refused, as silicon does.
  if (!form || form.modrm) {
    p++;
    const mod = modrm >> 6;
    const rm = modrm & 7;
    out.mod = mod;
    out.rm = rm;
    out.reg = (modrm >> 3) & 7;
    // MOV to and from control and debug registers ignores ModRM.mod: the operand is a register.
    const forcedRegister = form !== undefined && (form.mod === "reg" || form.operands.includes("Rd"));
    if (mod !== 3 && !forcedRegister) {
      out.memory = true;
      let stackSegment = false;
      let displacementBytes = mod === 1 ? 1 : 0;
      if (addressSize === 16) {
        if (mod === 0 && rm === 6) displacementBytes = 2;
        else {
          out.base = BASE_16[rm]!;
          out.index = INDEX_16[rm]!;
          stackSegment = out.base === GPR.ebp;
          if (mod === 2) displacementBytes = 2;
        }
      } else {
        if (mod === 2) displacementBytes = 4;
        let baseNumber = rm;
        if (rm === 4) {
          if (p >= stop) return short();
          const sib = bytes[p++]!;
          baseNumber = sib & 7;
          const indexNumber = (sib >> 3) & 7;
          if (indexNumber !== 4) {
            out.index = indexNumber * 8;
            out.scale = sib >> 6;
          }
        }
        if (baseNumber === 5 && mod === 0) displacementBytes = 4;
        else {
          out.base = baseNumber * 8;
          stackSegment = baseNumber === 4 || baseNumber === 5;
        }
      }
      if (displacementBytes > 0) {
        if (p + displacementBytes > stop) return short();
        if (displacementBytes === 1) out.displacement = (bytes[p]! << 24) >> 24;
        else if (displacementBytes === 2) out.displacement = ((bytes[p]! | (bytes[p + 1]! << 8)) << 16) >> 16;
        else out.displacement = bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16) | (bytes[p + 3]! << 24);
        p += displacementBytes;
      }
      if (stackSegment && override < 0) out.segment = SEG.SS;
    }
  }
  if (!form) {
    out.length = p - at;
    return out.length;
  }
  let immediates = 0;
  for (const operand of form.operands) {
    let size = 0;
    switch (operand) {
      case "Ib":
      case "Ibu":
      case "Ibs":
      case "Jb":
        size = 1;
        break;
      case "Iw":
        size = 2;
        break;
      case "Iz":
      case "Jz":
      case "Ap":
        size = operandSize >> 3;
        break;
      case "Ob":
      case "Ov":
        size = addressSize >> 3;
        out.memory = true;
        break;
      default:
        continue;
    }
    if (p + size > stop) return short();
    let value = bytes[p]!;
    if (size >= 2) value |= bytes[p + 1]! << 8;
    if (size === 4) value |= (bytes[p + 2]! << 16) | (bytes[p + 3]! << 24);
    p += size;
    if (operand === "Ob" || operand === "Ov") {
      out.displacement = value;
      continue;
    }
    if (operand === "Ibs") value = operandSize === 16 ? ((value << 24) >> 24) & 0xffff : (value << 24) >> 24;
    else if (operand === "Jb") value = (value << 24) >> 24;
    else if (operand === "Jz" && size === 2) value = (value << 16) >> 16;
    if (immediates++ === 0) out.immediate = value;
    else out.immediate2 = value;
    if (operand === "Ap") {
      if (p + 2 > stop) return short();
      out.immediate2 = bytes[p]! | (bytes[p + 1]! << 8);
      p += 2;
    }
  }
  if (lock && !(form.row.traits.lock && out.memory && /^[EM]/.test(form.operands[0] ?? ""))) out.form = undefined;
  out.length = p - at;
  return out.length;
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

export { operandBits };
