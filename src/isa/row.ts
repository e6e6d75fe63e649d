/**
 * Rows of the instruction table: encodings in the opcode maps' own notation (SDM 2D appendix A), flags, privileges and
 * semantics. Everything else that knows instructions is derived from rows.
 */
import type { Builder, Operand, VectorKind } from "./builder.ts";

/**
 * Operand codes. Letter: where; suffix: size (b 8, w 16, d 32, q 64, x 128, v by operand size, z 16 or 32, s sign-extended
 * imm8). Vector registers: V (reg), W (rm or memory), U (rm) are XMM; P, Q, N the same of MMX.
 */
export type OperandCode =
  | "Eb" | "Ew" | "Ed" | "Ev"
  | "Mb" | "Mw" | "Md" | "Mq" | "Mt" | "Mv" | "M" | "Ma" | "Mp" | "Ms"
  | "Gb" | "Gw" | "Gd" | "Gv"
  | "Rd" | "Rv"
  | "Ib" | "Iw" | "Iz" | "Ibs" | "Ibu"
  | "Zb" | "Zv" | "Zd"
  | "AL" | "AX" | "eAX" | "CL" | "DX" | "1" | "3"
  | "Jb" | "Jz" | "Ap" | "Ob" | "Ov"
  | "Mx" | "Vx" | "Vq" | "Vd" | "Wx" | "Wq" | "Wd" | "Ww" | "Ux" | "Uq" | "Ud" | "Pq" | "Pd" | "Qq" | "Qd" | "Nq"
  | "Sw" | "Cd" | "Dd" | "ST" | "STi"
  | "ES" | "CS" | "SS" | "DS" | "FS" | "GS"; // biome-ignore format: grouped by kind

/** Semantics as a function over the builder; operands arrive in the form's order. */
export type Semantics = (m: Builder, ...operands: Operand[]) => void;

export interface Traits {
  /** EFLAGS bits read. */
  readonly reads?: number;
  /** EFLAGS bits given a defined value. */
  readonly writes?: number;
  /** EFLAGS bits left undefined. */
  readonly undefined?: number;
  /** Access to the first operand; "rw" unless said. */
  readonly dst?: "r" | "w" | "rw";
  /** LOCK allowed when the first operand is memory. */
  readonly lock?: boolean;
  /** Size when no operand tells: "v" by operand size, "b", "w", "d", or "n" for none. */
  readonly size?: "b" | "w" | "d" | "v" | "n";
  /** Uses the stack or string memory besides its operands, so that it has a flat and a general variant. */
  readonly implicit?: boolean;
  /** The second operand, when a register, is a bit offset that reaches beyond the first: BT, BTS, BTR, BTC. */
  readonly bitString?: boolean;
  /** Ends the block: control goes elsewhere, or what decoding depends on may change. */
  readonly ends?: boolean;
  /** Stands in the interpreter's loop; the others are called. */
  readonly hot?: boolean;
  /** Repeatable by F2/F3. "rep" ignores ZF; "repz" ends on it. */
  readonly repeat?: "rep" | "repz";
  /** Of Jcc: its condition, 0–15. */
  readonly condition?: number;
  /** Name of the TypeScript function that carries the instruction out; with builder semantics, in the cases they leave to it. */
  readonly helper?: string;
  /** A number for the helper (a condition, a segment, a shift kind …). */
  readonly argument?: number;
  /** Needs a CPUID feature; without it the encoding is undefined. */
  readonly feature?: string;
  /** x87: raise #NM on CR0.EM or TS, and #MF for a pending exception when it waits. */
  readonly x87?: "wait" | "nowait";
  /** Mandatory prefix: F3, F2 or 66; 0 when the encoding must have none of them. */
  readonly prefix?: number;
  /** Memory operands of 128 bits may stand anywhere; others raise #GP(0) unless they are aligned to 16 bytes. */
  readonly unaligned?: boolean;
  /** Works on vector registers: one variant for all memory operands, since what is hot is compiled. */
  readonly vector?: VectorKind;
  /** VM-exit basic reason it can cause. */
  readonly exit?: number;
  /** Mnemonic by operand size 16 / 32 where it differs (CBW/CWDE). */
  readonly names?: readonly [string, string];
  /** Those names go by address size instead (JCXZ, JECXZ). */
  readonly namedByAddress?: boolean;
}

/** One encoding of a row. */
export interface Form {
  readonly id: number;
  readonly row: Row;
  /** 0x00–0xFF, or 0x0F00 | second byte, or 0x0F3800 or 0x0F3A00 | third byte. */
  readonly opcode: number;
  readonly modrm: boolean;
  /** ModRM.reg that selects it, or -1. */
  readonly reg: number;
  /** ModRM.rm that selects it among register forms, or -1. */
  readonly rm: number;
  readonly mod: "any" | "mem" | "reg";
  readonly operands: readonly OperandCode[];
  readonly sizeClass: "b" | "w" | "d" | "v" | "n";
  /** Where control goes: "conditional" may fall through, "direct" goes to one known place, "indirect" to a computed one. */
  readonly branch: "none" | "conditional" | "direct" | "indirect";
}

export interface Row {
  readonly mnemonic: string;
  readonly traits: Traits;
  readonly semantics: Semantics | undefined;
  readonly forms: readonly Form[];
}

/** Operand codes of vector registers, or of memory where ModRM says so. */
export const VECTOR_OPERAND = /^[VWUPQN][wdqx]$/;
/** Operand codes that are memory when ModRM.mod is not 3, or always. */
export const MEMORY_OPERAND = /^[EMOWQ]/;

/** Jcc, JCXZ, LOOP and its kin. */
const CONDITIONAL = /^(J(?!MP)|LOOP)/;
/** Rows whose semantics, if they have any, end with a jump. */
const JUMPS = /^(JMP|CALL|RET)$/;

function branchOf({ mnemonic, semantics }: Row, operands: readonly OperandCode[]): Form["branch"] {
  if (CONDITIONAL.test(mnemonic)) return "conditional";
  if (operands.includes("Jb") || operands.includes("Jz")) return "direct";
  return semantics !== undefined && JUMPS.test(mnemonic) ? "indirect" : "none";
}

const MEMORY_ONLY = /^M|^Ob|^Ov/;
let formCount = 0;

function parseForm(row: Row, spec: string, traits: Traits): Form[] {
  const words = spec.trim().split(/\s+/);
  let opcode = 0;
  let modrm = false;
  let reg = -1;
  let rm = -1;
  let mod: Form["mod"] = "any";
  let plus = false;
  const operands: OperandCode[] = [];
  for (const word of words) {
    if (/^[0-9A-F]{2}\+?$/.test(word)) {
      opcode = (opcode << 8) | Number.parseInt(word, 16);
      if (word.endsWith("+")) plus = true;
    } else if (word === "/r") {
      modrm = true;
    } else if (/^\/[0-7]$/.test(word)) {
      modrm = true;
      reg = Number(word[1]);
    } else if (/^:[0-7]$/.test(word)) {
      mod = "reg";
      rm = Number(word[1]);
    } else if (word === "reg" || word === "mem") {
      mod = word;
    } else {
      operands.push(word as OperandCode);
    }
  }
  for (const operand of operands) {
    if (/^M/.test(operand)) mod = "mem";
    // MOV with control and debug registers (R) takes a register whatever ModRM.mod says (SDM 2B MOV).
    if (operand === "STi" || /^[UN]/.test(operand)) mod = "reg";
    if (/^[EMGRSCDVWUPQN](b|w|d|v|q|x|t|a|p|s|)$/.test(operand) && !/^(CS|SS|DS|ES)$/.test(operand)) modrm = true;
    if (operand === "STi") modrm = true;
  }
  const suffixes = operands.map((o) => (/^(ES|CS|SS|DS|FS|GS|AL|CL|DX|ST|STi|AX|1|3)$/.test(o) ? "" : o));
  const sizeClass: Form["sizeClass"] =
    traits.size ??
    (operands.some((o) => /^(E|G|M|R|Z|O)v$|^Iz$|^Ibs$|^Jz$|^eAX$|^Ap$|^Mp$|^Ma$/.test(o))
      ? "v"
      : operands.includes("AL") || suffixes.some((o) => /b$/.test(o) && !/^(I|J)/.test(o))
        ? "b"
        : suffixes.some((o) => /w$/.test(o) && !/^I/.test(o))
          ? "w"
          : suffixes.some((o) => /d$/.test(o))
            ? "d"
            : "n");
  const make = (code: number): Form => ({
    id: formCount++,
    row,
    opcode: code,
    modrm,
    reg,
    rm,
    mod,
    operands,
    sizeClass,
    branch: branchOf(row, operands),
  });
  return plus ? Array.from({ length: 8 }, (_, i) => make(opcode + i)) : [make(opcode)];
}

/**
 * Define an instruction. Encodings: hexadecimal opcode bytes (`B8+` for eight opcodes with a register in the low bits),
 * `/r` or `/digit`, `:digit` for a fixed ModRM.rm of register forms, `reg`/`mem` to restrict ModRM.mod, operand codes.
 */
export function row(mnemonic: string, encodings: readonly string[], traits: Traits, semantics?: Semantics): Row {
  const made: { -readonly [K in keyof Row]: Row[K] } = { mnemonic, traits, semantics, forms: [] };
  made.forms = encodings.flatMap((spec) => parseForm(made, spec, traits));
  return made;
}

/** Size in bits of an operand code for an operand size of `bits`; 0 where it has none. */
export function operandBits(code: OperandCode, bits: number): number {
  if (MEMORY_ONLY.test(code) && code.length === 1) return 0;
  switch (code) {
    case "AL":
    case "CL":
      return 8;
    case "AX":
    case "DX":
    case "Sw":
      return 16;
    case "eAX":
      return bits;
    case "Ibs":
    case "Iz":
      return bits;
    case "Ibu":
      return 8;
    case "Cd":
    case "Dd":
      return 32;
    case "Mt":
      return 80;
    case "1":
    case "3":
      return 8;
    default:
  }
  const suffix = code.at(-1);
  if (suffix === "q") return 64;
  if (suffix === "x") return 128;
  return suffix === "b" ? 8 : suffix === "w" ? 16 : suffix === "d" ? 32 : suffix === "v" || suffix === "z" ? bits : 0;
}
