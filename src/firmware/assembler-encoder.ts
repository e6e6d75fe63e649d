/**
 * Chooses the form of an instruction that fits its operands and writes its bytes. Works on parsed operands only; the
 * assembler drives it once per pass.
 */
import { type Form, INSTRUCTIONS, type OperandClass } from "./assembler-instructions.ts";
import {
  fail,
  type ImmediateOperand,
  type MemoryOperand,
  type Operand,
  type OperandSize,
  type RegisterOperand,
  segmentNumber,
} from "./assembler-operands.ts";

const OPERAND_SIZE_PREFIX = 0x66;
const ADDRESS_SIZE_PREFIX = 0x67;
const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const ESP = 4;
const EBP = 5;

/** ModRM r/m of the 16-bit address forms, by base and index register numbers (BX 3, BP 5, SI 6, DI 7). */
const ADDRESS_16: Readonly<Record<string, number>> = {
  "3+6": 0,
  "3+7": 1,
  "5+6": 2,
  "5+7": 3,
  "6": 4,
  "7": 5,
  "5": 6,
  "3": 7,
};

/** What one instruction is encoded for. */
export interface EncodeContext {
  readonly bits: 16 | 32;
  /** Address of the instruction's first byte. */
  readonly address: number;
  /** Branches may take their short form: still true while every pass found the target near enough. */
  readonly shortAllowed: boolean;
}

export interface Encoded {
  readonly bytes: number[];
  /** True when a short branch was written whose target is too far away. */
  readonly tooFar: boolean;
}

const fitsByte = (value: number, size: 16 | 32): boolean => {
  const signed = size === 16 ? (value << 16) >> 16 : value | 0;
  return signed >= -128 && signed <= 127;
};

const isRegister = (o: Operand, kind: RegisterOperand["class"], size?: OperandSize): boolean =>
  o.kind === "register" && o.class === kind && (size === undefined || o.size === size);

function matches(operand: Operand, kind: OperandClass, size: 16 | 32, context: EncodeContext): boolean {
  const immediate = operand.kind === "immediate";
  switch (kind) {
    case "r8":
      return isRegister(operand, "general", 8);
    case "rv":
      return isRegister(operand, "general", size);
    case "r16":
      return isRegister(operand, "general", 16);
    case "r32":
      return isRegister(operand, "general", 32);
    case "rm8":
      return isRegister(operand, "general", 8) || (operand.kind === "memory" && (operand.size ?? 8) === 8);
    case "rmv":
      return (
        isRegister(operand, "general", size) ||
        (operand.kind === "memory" && !operand.far && (operand.size ?? size) === size)
      );
    case "rm16":
      return isRegister(operand, "general", 16) || (operand.kind === "memory" && (operand.size ?? 16) === 16);
    case "rm32":
      return isRegister(operand, "general", 32) || (operand.kind === "memory" && (operand.size ?? 32) === 32);
    case "m":
      return operand.kind === "memory" && !operand.far;
    case "mf":
      return operand.kind === "memory" && operand.far && (operand.size ?? size) === size;
    case "moffs":
      return operand.kind === "memory" && operand.base === undefined && operand.index === undefined;
    case "ib":
    case "iw":
      return immediate;
    case "iv":
      return immediate && (operand.size ?? size) === size;
    case "sb":
      return (
        immediate &&
        (operand.size === undefined || operand.size === 8 || operand.size === size) &&
        !operand.value.symbolic &&
        fitsByte(operand.value.value, size)
      );
    case "1":
      return immediate && !operand.value.symbolic && operand.value.value === 1;
    case "rel8":
      return immediate && operand.distance !== "near" && (operand.distance === "short" || context.shortAllowed);
    case "relv":
      return immediate && operand.distance !== "short" && (operand.size ?? size) === size;
    case "ptr":
      return operand.kind === "pointer" && (operand.size ?? size) === size;
    case "sreg":
      return isRegister(operand, "segment");
    case "creg":
      return isRegister(operand, "control");
    case "dreg":
      return isRegister(operand, "debug");
    case "eAX":
      return isRegister(operand, "general", size) && (operand as RegisterOperand).number === 0;
    case "al":
    case "ax":
    case "eax":
      return (
        isRegister(operand, "general", kind === "al" ? 8 : kind === "ax" ? 16 : 32) &&
        (operand as RegisterOperand).number === 0
      );
    case "cl":
      return isRegister(operand, "general", 8) && (operand as RegisterOperand).number === 1;
    case "dx":
      return isRegister(operand, "general", 16) && (operand as RegisterOperand).number === 2;
    default:
      return isRegister(operand, "segment") && (operand as RegisterOperand).number === segmentNumber(kind);
  }
}

const DEFAULT_SIZED = new Set(["jmp", "call", "push", "pop"]);

/** Memory whose size nothing tells: no keyword, no register beside it, and forms of several sizes. */
function ambiguous(mnemonic: string, operands: readonly Operand[], form: Form): boolean {
  if (DEFAULT_SIZED.has(mnemonic)) return false;
  return operands.some((operand, i) => {
    const kind = form.operands[i]!;
    if (operand.kind !== "memory" || operand.size !== undefined || (kind !== "rm8" && kind !== "rmv")) return false;
    return !form.operands.some((other) => other === "r8" || other === "rv") && INSTRUCTIONS.get(mnemonic)!.length > 1;
  });
}

function pushInteger(bytes: number[], value: number, size: number): void {
  for (let i = 0; i < size; i += 8) bytes.push((value >> i) & 0xff);
}

function checkRange(value: number, size: 8 | 16 | 32): void {
  if (value < -(2 ** (size - 1)) || value >= 2 ** size) fail(`${value} does not fit ${size} bits`);
}

function displacementMode(operand: MemoryOperand, size: 16 | 32, baseNeedsOne: boolean): 0 | 1 | 2 {
  const { value, symbolic } = operand.displacement;
  if (symbolic) return 2;
  if (value === 0 && !baseNeedsOne) return 0;
  return fitsByte(value, size) ? 1 : 2;
}

function modrm16(operand: MemoryOperand, reg: number): number[] {
  const bytes: number[] = [];
  if (operand.base === undefined && operand.index === undefined) {
    checkRange(operand.displacement.value, 16);
    bytes.push((reg << 3) | 6);
    pushInteger(bytes, operand.displacement.value, 16);
    return bytes;
  }
  const registers = [operand.base, operand.index].filter((r) => r !== undefined).sort((a, b) => a - b);
  const rm = operand.scale === 1 ? ADDRESS_16[registers.join("+")] : undefined;
  if (rm === undefined) return fail("these registers cannot form a 16-bit address");
  const mode = displacementMode(operand, 16, rm === 6);
  bytes.push((mode << 6) | (reg << 3) | rm);
  if (mode !== 0) pushInteger(bytes, operand.displacement.value, mode === 1 ? 8 : 16);
  return bytes;
}

function modrm32(operand: MemoryOperand, reg: number): number[] {
  const bytes: number[] = [];
  const { base, index } = operand;
  if (index === ESP) return fail("ESP cannot be an index");
  const scale = Math.log2(operand.scale) << 6;
  if (base === undefined) {
    if (index === undefined) bytes.push((reg << 3) | 5);
    else bytes.push((reg << 3) | 4, scale | (index << 3) | 5);
    pushInteger(bytes, operand.displacement.value, 32);
    return bytes;
  }
  const mode = displacementMode(operand, 32, base === EBP);
  if (index === undefined && base !== ESP) bytes.push((mode << 6) | (reg << 3) | base);
  else bytes.push((mode << 6) | (reg << 3) | 4, scale | ((index ?? ESP) << 3) | base);
  if (mode !== 0) pushInteger(bytes, operand.displacement.value, mode === 1 ? 8 : 32);
  return bytes;
}

function modrm(operand: Operand, reg: number, bits: 16 | 32): number[] {
  if (operand.kind === "register") return [0xc0 | (reg << 3) | operand.number];
  const memory = operand as MemoryOperand;
  return (memory.addressSize ?? bits) === 16 ? modrm16(memory, reg) : modrm32(memory, reg);
}

const MODRM_OPERAND = /^(rm|m$|mf$)/;

function pushImmediate(bytes: number[], operand: Operand, size: 8 | 16 | 32): void {
  const { value } = (operand as ImmediateOperand).value;
  checkRange(value, size);
  pushInteger(bytes, value, size);
}

function encodeForm(form: Form, operands: readonly Operand[], size: 16 | 32, context: EncodeContext): Encoded {
  const prefixes: number[] = [];
  const bytes: number[] = [];
  const memory = operands.find((o) => o.kind === "memory");
  const wide = form.variable ? size : form.fixedSize;
  const addressSize = form.tokens.includes("a16") ? 16 : form.tokens.includes("a32") ? 32 : memory?.addressSize;
  if (memory?.segment !== undefined) prefixes.push(SEGMENT_PREFIXES[memory.segment]!);
  if (addressSize !== undefined && addressSize !== context.bits) prefixes.push(ADDRESS_SIZE_PREFIX);
  if (wide !== undefined && wide !== context.bits) prefixes.push(OPERAND_SIZE_PREFIX);
  bytes.push(...prefixes, ...form.opcode);
  const immediates = operands.filter((_, i) => /^(ib|iw|iv|sb)$/.test(form.operands[i]!));
  let tooFar = false;
  for (const token of form.tokens) {
    switch (token) {
      case "+r": {
        const index = form.operands.findIndex((kind) => /^(rv|r8|r32)$/.test(kind));
        bytes.push(bytes.pop()! + (operands[index] as RegisterOperand).number);
        break;
      }
      case "/r": {
        const rm = form.operands.findIndex((kind) => MODRM_OPERAND.test(kind));
        // Control and debug register moves, and imul by two registers, have no rm class beside the register.
        const rmIndex = rm >= 0 ? rm : form.operands.indexOf("r32");
        const regIndex = form.operands.findIndex((kind, i) => i !== rmIndex && /^(r|sreg|creg|dreg)/.test(kind));
        bytes.push(...modrm(operands[rmIndex]!, (operands[regIndex] as RegisterOperand).number, context.bits));
        break;
      }
      case "ib":
        pushImmediate(bytes, immediates.shift()!, 8);
        break;
      case "sb":
        pushInteger(bytes, (immediates.shift() as ImmediateOperand).value.value, 8);
        break;
      case "iw":
        pushImmediate(bytes, immediates.shift()!, 16);
        break;
      case "iv":
        pushImmediate(bytes, immediates.shift()!, size);
        break;
      case "jb": {
        const target = (operands[0] as ImmediateOperand).value.value;
        const distance = target - (context.address + bytes.length + 1);
        tooFar = !fitsByte(distance, context.bits);
        bytes.push(distance & 0xff);
        break;
      }
      case "jv": {
        const target = (operands[0] as ImmediateOperand).value.value;
        pushInteger(bytes, target - (context.address + bytes.length + size / 8), size);
        break;
      }
      case "p": {
        const pointer = operands[0] as Extract<Operand, { kind: "pointer" }>;
        checkRange(pointer.offset.value, size);
        pushInteger(bytes, pointer.offset.value, size);
        pushInteger(bytes, pointer.segment.value, 16);
        break;
      }
      case "o":
        checkRange(memory!.displacement.value, context.bits);
        pushInteger(bytes, memory!.displacement.value, context.bits);
        break;
      default:
        if (token.startsWith("/")) {
          const rm = form.operands.findIndex((kind) => MODRM_OPERAND.test(kind) || kind === "rv");
          bytes.push(...modrm(operands[rm]!, Number(token.slice(1)), context.bits));
        }
    }
  }
  return { bytes, tooFar };
}

/**
 * Bytes of one instruction. Throws VmxonError("firmware") when no form of the mnemonic takes these operands.
 */
export function encode(mnemonic: string, operands: readonly Operand[], context: EncodeContext): Encoded {
  const forms = INSTRUCTIONS.get(mnemonic);
  if (forms === undefined) return fail(`unknown instruction "${mnemonic}"`);
  const sizes: readonly (16 | 32)[] = context.bits === 16 ? [16, 32] : [32, 16];
  let unsized = false;
  for (const form of forms) {
    if (form.operands.length !== operands.length) continue;
    for (const size of form.variable ? sizes : [context.bits]) {
      if (!operands.every((operand, i) => matches(operand, form.operands[i]!, size, context))) continue;
      if (ambiguous(mnemonic, operands, form)) {
        unsized = true;
        continue;
      }
      return encodeForm(form, operands, size, context);
    }
  }
  return fail(
    unsized
      ? `the operand of "${mnemonic}" needs a size: write byte, word or dword`
      : `"${mnemonic}" does not take these operands`,
  );
}
