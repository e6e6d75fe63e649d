/**
 * The user-mode instructions of the 8086 to the Pentium Pro, as a list of encodings that knows nothing of src/isa: what
 * both get wrong in the same way they would have to get wrong independently.
 */
import type { UndefinedClass } from "./undefined.ts";

/** What the generator must know beyond the encoding. */
export type Trait =
  /** LOCK is legal while the destination is memory. */
  | "lock"
  /** May stand in a sequence. */
  | "seq"
  /** Reads arithmetic flags. */
  | "in"
  /** Uses the stack. */
  | "stack"
  | "string"
  /** Has a form of REP, and counts with it. */
  | "io"
  /** The operand is a near address, a far address, a far pointer to data, a selector. */
  | "near"
  | "far"
  | "pointer"
  | "selector"
  /** The stack holds a near or far address, an interrupt frame, a selector, flags. */
  | "ret"
  | "retf"
  | "iret"
  | "popseg"
  | "popf"
  /** Operands need preparation of their own. */
  | "div"
  | "bits"
  | "xlat"
  /** Not with a 16-bit operand: undefined there. */
  | "o32"
  /** Not with REP prefixes: another instruction on later processors. */
  | "norep"
  /** Loads SS, after which traps wait. */
  | "shadow"
  /** AMD's processors take LOCK, Intel's refuse it. */
  | "nolock"
  /** Stores a selector, of which processors write two or four bytes. */
  | "half"
  /** Processors differ in how many of its bytes they fetch. */
  | "whole"
  /** Accesses memory several times, in an order of the processor's own. */
  | "several";

/** One encoding. */
export interface Form {
  readonly mnemonic: string;
  readonly opcode: readonly number[];
  /** Whether ModRM follows, and which kinds of it: register, memory. */
  readonly modrm: { readonly register: boolean; readonly memory: boolean } | undefined;
  /** Fixed reg field of ModRM. */
  readonly reg: number | undefined;
  /** Fixed rm field of a register form (x87). */
  readonly rm: number | undefined;
  /** Bytes of the memory operand; "v" is 2 or 4 by operand size. */
  readonly width: number | "v";
  readonly immediate: Immediate;
  readonly undefinedClass: UndefinedClass;
  readonly traits: ReadonlySet<Trait>;
}

/**
 * Immediates: bytes, words, by operand size; ENTER's two; a far pointer, an absolute address, relative jumps, the
 * numbers of an interrupt.
 */
export type Immediate = "-" | "b" | "w" | "z" | "wb" | "far" | "moffs" | "jb" | "jz" | "int";

/**
 * mnemonic opcode[/reg] modrm width immediate undefined traits…
 * `+8`, `+16` after an opcode: that many opcodes in a row.
 */
const TABLE = `
PUSH-ES 06 - v - none stack half
POP-ES 07 - v - none stack popseg
PUSH-CS 0e - v - none stack half
PUSH-SS 16 - v - none stack half
POP-SS 17 - v - none stack popseg shadow
PUSH-DS 1e - v - none stack half
POP-DS 1f - v - none stack popseg
DAA 27 - v - daa in seq
DAS 2f - v - daa in seq
AAA 37 - v - aaa in seq
AAS 3f - v - aaa in seq
INC 40+8 - v - none seq
DEC 48+8 - v - none seq
PUSH 50+8 - v - none stack seq
POP 58+8 - v - none stack
PUSHA 60 - v - none stack several
POPA 61 - v - none stack several
BOUND 62 m v - none several
ARPL 63 rm 2 - none selector several
PUSH 68 - v z none stack seq
IMUL 69 rm v z mul seq
PUSH 6a - v b none stack seq
IMUL 6b rm v b mul seq
INS 6c - 1 - none io
INS 6d - v - none io
OUTS 6e - 1 - none io
OUTS 6f - v - none io
Jcc 70+16 - v jb none in seq
TEST 84 rm 1 - logic seq
TEST 85 rm v - logic seq
XCHG 86 rm 1 - none lock seq
XCHG 87 rm v - none lock seq
MOV 88 rm 1 - none seq
MOV 89 rm v - none seq
MOV 8a rm 1 - none seq
MOV 8b rm v - none seq
MOV-Ew-Sw 8c rm 2 - none
LEA 8d rm v - none
MOV-ES 8e/0 rm 2 - none selector
MOV-CS 8e/1 rm 2 - none selector
MOV-SS 8e/2 rm 2 - none selector shadow
MOV-DS 8e/3 rm 2 - none selector
MOV-FS 8e/4 rm 2 - none selector
MOV-GS 8e/5 rm 2 - none selector
MOV-6 8e/6 rm 2 - none selector
MOV-7 8e/7 rm 2 - none selector
POP 8f/0 rm v - none stack several
XCHG 90+8 - v - none seq
CBW 98 - v - none seq
CWD 99 - v - none seq
CALLF 9a - v far none stack several
FWAIT 9b - v - none
PUSHF 9c - v - none stack in
POPF 9d - v - none stack popf
SAHF 9e - v - none seq
LAHF 9f - v - none seq in
MOV a0 - 1 moffs none seq
MOV a1 - v moffs none seq
MOV a2 - 1 moffs none seq
MOV a3 - v moffs none seq
MOVS a4 - 1 - none string
MOVS a5 - v - none string
CMPS a6 - 1 - none string several
CMPS a7 - v - none string several
TEST a8 - 1 b logic seq
TEST a9 - v z logic seq
STOS aa - 1 - none string
STOS ab - v - none string
LODS ac - 1 - none string
LODS ad - v - none string
SCAS ae - 1 - none string
SCAS af - v - none string
MOV b0+8 - 1 b none seq
MOV b8+8 - v z none seq
RET c2 - v w none stack ret
RET c3 - v - none stack ret
LES c4 m v - none pointer several
LDS c5 m v - none pointer several
MOV c6/0 rm 1 b none seq norep
MOV c7/0 rm v z none seq norep
ENTER c8 - v wb none stack several
LEAVE c9 - v - none stack several
RETF ca - v w none stack retf several
RETF cb - v - none stack retf several
INT3 cc - v - none
INT cd - v int none
INTO ce - v - none in
IRET cf - v - none stack iret several
AAM d4 - v b aam
AAD d5 - v b aam seq
SALC d6 - v - none in seq
XLAT d7 - 1 - none xlat
LOOPNE e0 - v jb none in norep
LOOPE e1 - v jb none in norep
LOOP e2 - v jb none
JCXZ e3 - v jb none
IN e4 - 1 b none io
IN e5 - v b none io
OUT e6 - 1 b none io
OUT e7 - v b none io
CALL e8 - v jz none stack several
JMP e9 - v jz none
JMPF ea - v far none
JMP eb - v jb none seq
IN ec - 1 - none io
IN ed - v - none io
OUT ee - 1 - none io
OUT ef - v - none io
HLT f4 - v - none
CMC f5 - v - none seq in
TEST f6/0 rm 1 b logic seq
TEST f6/1 rm 1 b logic seq
NOT f6/2 rm 1 - none lock seq
NEG f6/3 rm 1 - none lock seq
MUL f6/4 rm 1 - mul seq
IMUL f6/5 rm 1 - mul seq
DIV f6/6 rm 1 - div div
IDIV f6/7 rm 1 - div div
TEST f7/0 rm v z logic seq
TEST f7/1 rm v z logic seq
NOT f7/2 rm v - none lock seq
NEG f7/3 rm v - none lock seq
MUL f7/4 rm v - mul seq
IMUL f7/5 rm v - mul seq
DIV f7/6 rm v - div div
IDIV f7/7 rm v - div div
CLC f8 - v - none seq
STC f9 - v - none seq
CLI fa - v - none
STI fb - v - none
CLD fc - v - none seq
STD fd - v - none seq
INC fe/0 rm 1 - none lock seq
DEC fe/1 rm 1 - none lock seq
UD fe/2 rm 1 - none whole
UD fe/7 rm 1 - none whole
INC ff/0 rm v - none lock seq
DEC ff/1 rm v - none lock seq
CALL ff/2 rm v - none stack near several
CALLF ff/3 m v - none stack far several
JMP ff/4 rm v - none near
JMPF ff/5 m v - none far several
PUSH ff/6 rm v - none stack several
UD ff/7 rm v - none whole
LLDT 0f00/2 rm 2 - none nolock norep
LTR 0f00/3 rm 2 - none nolock norep
VERR 0f00/4 rm 2 - none nolock selector norep
VERW 0f00/5 rm 2 - none nolock selector norep
LGDT 0f01/2 m 6 - none norep
LIDT 0f01/3 m 6 - none norep
LMSW 0f01/6 rm 2 - none norep
INVLPG 0f01/7 m 1 - none norep
LAR 0f02 rm v - none selector norep
LSL 0f03 rm v - none selector norep
UD 0f04 - v - none norep
CLTS 0f06 - v - none norep
INVD 0f08 - v - none norep
WBINVD 0f09 - v - none norep
UD 0f0a - v - none norep
UD2 0f0b - v - none norep
UD 0f0c - v - none norep
NOP 0f1f/0 rm v - none norep
MOV-CR0 0f20/0 r 4 - none norep nolock
MOV-CR2 0f20/2 r 4 - none norep nolock
MOV-CR3 0f22/3 r 4 - none norep nolock
MOV-CR4 0f22/4 r 4 - none norep nolock
MOV-DR0 0f21/0 r 4 - none norep nolock
MOV-DR6 0f21/6 r 4 - none norep nolock
MOV-DR7 0f23/7 r 4 - none norep nolock
MOV-DR1 0f23/1 r 4 - none norep nolock
UD 0f24 - v - none norep
UD 0f26 - v - none norep
WRMSR 0f30 - v - none norep
RDMSR 0f32 - v - none norep
UD 0f36 - v - none norep
UD 0f39 - v - none norep
UD 0f3b+5 - v - none norep
CMOVcc 0f40+16 rm v - none seq in norep
Jcc 0f80+16 - v jz none in norep
SETcc 0f90+16 rm 1 - none seq in norep
PUSH-FS 0fa0 - v - none stack half norep
POP-FS 0fa1 - v - none stack popseg norep
BT 0fa3 rm v - bit bits norep
SHLD 0fa4 rm v b double seq norep
SHLD 0fa5 rm v - double norep
UD 0fa6 - v - none norep
UD 0fa7 - v - none norep
PUSH-GS 0fa8 - v - none stack half norep
POP-GS 0fa9 - v - none stack popseg norep
RSM 0faa - v - none norep
BTS 0fab rm v - bit bits lock norep
SHRD 0fac rm v b double seq norep
SHRD 0fad rm v - double norep
IMUL 0faf rm v - mul seq norep
CMPXCHG 0fb0 rm 1 - none lock seq norep
CMPXCHG 0fb1 rm v - none lock seq norep
LSS 0fb2 m v - none pointer shadow norep several
BTR 0fb3 rm v - bit bits lock norep
LFS 0fb4 m v - none pointer norep several
LGS 0fb5 m v - none pointer norep several
MOVZX 0fb6 rm 1 - none seq norep
MOVZX 0fb7 rm 2 - none seq norep
UD1 0fb9 rm v - none norep whole
UD 0fba/0 rm v b none norep whole
UD 0fba/3 rm v b none norep whole
BT 0fba/4 rm v b bit seq norep
BTS 0fba/5 rm v b bit lock seq norep
BTR 0fba/6 rm v b bit lock seq norep
BTC 0fba/7 rm v b bit lock seq norep
BTC 0fbb rm v - bit bits lock norep
BSF 0fbc rm v - scan norep
BSR 0fbd rm v - scan norep
MOVSX 0fbe rm 1 - none seq norep
MOVSX 0fbf rm 2 - none seq norep
XADD 0fc0 rm 1 - none lock seq norep
XADD 0fc1 rm v - none lock seq norep
CMPXCHG8B 0fc7/1 m 8 - none lock norep
BSWAP 0fc8+8 - 4 - none o32 seq norep
UD0 0fff rm v - none norep whole
`;

const ALU = ["ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP"] as const;
const ROTATES = ["ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SHL", "SAR"] as const;

/** Rows of the regular blocks: the eight arithmetic instructions and the eight shifts, each in all its encodings. */
function regularRows(): string[] {
  const rows: string[] = [];
  for (const [i, name] of ALU.entries()) {
    const at = (n: number): string => (i * 8 + n).toString(16).padStart(2, "0");
    const kind = name === "AND" || name === "OR" || name === "XOR" ? "logic" : "none";
    const reads = name === "ADC" || name === "SBB" ? "in" : "";
    const lock = name === "CMP" ? "" : "lock";
    rows.push(
      `${name} ${at(0)} rm 1 - ${kind} seq ${lock} ${reads}`,
      `${name} ${at(1)} rm v - ${kind} seq ${lock} ${reads}`,
    );
    rows.push(`${name} ${at(2)} rm 1 - ${kind} seq ${reads}`, `${name} ${at(3)} rm v - ${kind} seq ${reads}`);
    rows.push(`${name} ${at(4)} - 1 b ${kind} seq ${reads}`, `${name} ${at(5)} - v z ${kind} seq ${reads}`);
    rows.push(
      `${name} 80/${i} rm 1 b ${kind} seq ${lock} ${reads}`,
      `${name} 81/${i} rm v z ${kind} seq ${lock} ${reads}`,
    );
    rows.push(
      `${name} 82/${i} rm 1 b ${kind} seq ${lock} ${reads}`,
      `${name} 83/${i} rm v b ${kind} seq ${lock} ${reads}`,
    );
  }
  for (const [i, name] of ROTATES.entries()) {
    const kind = i < 2 ? "rotate" : i < 4 ? "rotateCarry" : "shift";
    const reads = i === 2 || i === 3 ? "in" : "";
    rows.push(`${name} c0/${i} rm 1 b ${kind} seq ${reads}`, `${name} c1/${i} rm v b ${kind} seq ${reads}`);
    for (const [n, width] of [
      [0, "1"],
      [1, "v"],
      [2, "1"],
      [3, "v"],
    ] as const) {
      rows.push(`${name} d${n}/${i} rm ${width} - ${kind} seq ${reads}`);
    }
  }
  return rows;
}

function parseRow(row: string): Form[] {
  const [mnemonic, code, modrm, width, immediate, undefinedClass, ...traits] = row.trim().split(/\s+/) as [
    string,
    string,
    string,
    string,
    Immediate,
    UndefinedClass,
    ...Trait[],
  ];
  const [digits, repeat] = (code.split("/")[0] as string).split("+") as [string, string | undefined];
  const reg = code.includes("/") ? Number(code.split("/")[1]) : undefined;
  const bytes = Buffer.from(digits, "hex");
  return Array.from({ length: Number(repeat ?? 1) }, (_, n) => ({
    mnemonic,
    opcode: [...bytes.subarray(0, -1), (bytes.at(-1) as number) + n],
    modrm: modrm === "-" ? undefined : { register: modrm !== "m", memory: modrm !== "r" },
    reg,
    rm: undefined,
    width: width === "v" ? "v" : Number(width),
    immediate,
    undefinedClass,
    traits: new Set(traits),
  }));
}

/** Every encoding of integer and system instructions. */
export const INTEGER_FORMS: readonly Form[] = [...regularRows(), ...TABLE.trim().split("\n")].flatMap(parseRow);
