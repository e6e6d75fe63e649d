/** The disassembler: the decoder's result as text in Intel syntax, from the rows' own mnemonics and operand codes. */
import { DECODE, decode, formBits, Instruction, MAX_LENGTH } from "./decoder.ts";
import { type FeatureTest, opcodeMap } from "./opcode-map.ts";
import { type Form, type OperandCode, operandBits } from "./row.ts";
import { ZERO_SLOT } from "./state.ts";

export interface Disassembled {
  /** Bytes; 1 for what is no instruction. */
  readonly length: number;
  readonly text: string;
  readonly mnemonic: string;
  readonly valid: boolean;
}

export interface DisassembleOptions {
  readonly bits: 16 | 32;
  /** Offset of the instruction in its code segment, for branch targets. Default 0. */
  readonly address?: number;
  /** CPU features; default all that the table knows. */
  readonly has?: FeatureTest;
}

const R8 = ["al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"] as const;
const R16 = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"] as const;
const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs", "?s", "?s"] as const;
const POINTER: Readonly<Record<number, string>> = {
  8: "byte ",
  16: "word ",
  32: "dword ",
  64: "qword ",
  80: "tword ",
  128: "oword ",
};

function register(number: number, bits: number): string {
  if (bits === 8) return R8[number] ?? "?";
  const name = R16[number] ?? "?";
  return bits === 16 ? name : `e${name}`;
}

const hex = (value: number): string => {
  const unsigned = value >>> 0;
  return unsigned < 10 ? `${unsigned}` : `0x${unsigned.toString(16)}`;
};

function memory(instruction: Instruction, bits: number): string {
  const wide = instruction.address16 ? 16 : 32;
  const parts: string[] = [];
  if (instruction.base !== ZERO_SLOT) parts.push(register(instruction.base >> 3, wide));
  if (instruction.index !== ZERO_SLOT) {
    const scale = instruction.scale ? `*${1 << instruction.scale}` : "";
    parts.push(register(instruction.index >> 3, wide) + scale);
  }
  const d = instruction.displacement;
  let text = parts.join("+");
  if (parts.length === 0) text = hex(instruction.address16 ? d & 0xffff : d);
  else if (d !== 0) text += d < 0 ? `-${hex(-d)}` : `+${hex(d)}`;
  const override = instruction.override >= 0 ? `${SEGMENTS[instruction.override]}:` : "";
  return `${POINTER[bits] ?? ""}[${override}${text}]`;
}

function operandText(
  code: OperandCode,
  instruction: Instruction,
  form: Form,
  bits: number,
  second: boolean,
  next: number,
): string {
  const size = operandBits(code, bits);
  switch (code) {
    case "1":
    case "3":
      return code;
    case "AL":
    case "AX":
    case "CL":
    case "DX":
    case "ES":
    case "CS":
    case "SS":
    case "DS":
    case "FS":
    case "GS":
      return code.toLowerCase();
    case "ST":
      return "st";
    case "STi":
      return `st(${instruction.rm})`;
    case "eAX":
      return register(0, size);
    case "Sw":
      return SEGMENTS[instruction.reg] ?? "?";
    case "Cd":
      return `cr${instruction.reg}`;
    case "Dd":
      return `dr${instruction.reg}`;
    case "Jb":
    case "Jz": {
      const target = next + instruction.immediate;
      return hex(bits === 16 ? target & 0xffff : target);
    }
    case "Ap":
      return `${hex(instruction.immediate2)}:${hex(instruction.immediate)}`;
    default:
  }
  switch (code[0]) {
    case "I":
      return hex(second ? instruction.immediate2 : instruction.immediate);
    case "G":
      return register(instruction.reg, size);
    case "R":
      return register(instruction.rm, size);
    case "Z":
      return register(form.opcode & 7, size);
    case "E":
      return instruction.memory ? memory(instruction, size) : register(instruction.rm, size);
    case "V":
      return `xmm${instruction.reg}`;
    case "P":
      return `mm${instruction.reg}`;
    case "U":
      return `xmm${instruction.rm}`;
    case "N":
      return `mm${instruction.rm}`;
    case "W":
      return instruction.memory ? memory(instruction, size) : `xmm${instruction.rm}`;
    case "Q":
      return instruction.memory ? memory(instruction, size) : `mm${instruction.rm}`;
    default:
      return memory(instruction, code === "M" || code === "Ms" ? 0 : size);
  }
}

const scratch = new Instruction();
const everything: FeatureTest = () => true;

/** Disassemble the instruction at `bytes[offset]`. Bytes that make none come out as `db`. */
export function disassemble(bytes: Uint8Array, offset: number, options: DisassembleOptions): Disassembled {
  const instruction = scratch;
  const end = Math.min(bytes.length, offset + MAX_LENGTH);
  const length = decode(bytes, offset, bytes.length, options.bits, instruction, opcodeMap(options.has ?? everything));
  const form = length < 0 ? undefined : instruction.form;
  if (!form) {
    const shown = length === DECODE.needMore ? bytes.subarray(offset, end) : bytes.subarray(offset, offset + 1);
    return {
      length: 1,
      text: `db ${[...shown.subarray(0, 1)].map((b) => `0x${b.toString(16).padStart(2, "0")}`).join(", ")}`,
      mnemonic: "db",
      valid: false,
    };
  }
  const bits = formBits(form, instruction.operandSize);
  const { names, repeat } = form.row.traits;
  const byAddress = form.row.traits.namedByAddress === true;
  const short = byAddress ? instruction.address16 : bits === 16;
  const mnemonic = (names ? names[short ? 0 : 1] : form.row.mnemonic).toLowerCase();
  let immediates = 0;
  const next = (options.address ?? 0) + length;
  const operands = form.operands.map((code) =>
    operandText(code, instruction, form, bits, /^[I]/.test(code) && immediates++ > 0, next),
  );
  let prefix = instruction.lock ? "lock " : "";
  if (repeat && instruction.repeat)
    prefix += instruction.repeat === 0xf2 ? "repne " : repeat === "repz" ? "repe " : "rep ";
  return {
    length,
    text: `${prefix}${mnemonic}${operands.length > 0 ? ` ${operands.join(", ")}` : ""}`,
    mnemonic,
    valid: true,
  };
}
