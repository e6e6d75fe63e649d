/** The x87 instruction table: one row per instruction of D8–DF and 9B, undocumented aliases included (SDM 2 table A-7 ff.). */
import { i32 } from "../../wasm/expression.ts";
import { CLEARED_BY_FNCLEX, FSW } from "./constants.ts";
import type { MemoryOperand, Semantics, X87Row } from "./row.ts";
import * as compare from "./semantics-compare.ts";
import * as compute from "./semantics-compute.ts";
import * as control from "./semantics-control.ts";
import * as move from "./semantics-move.ts";
import { type Shape, semanticsOf } from "./shape.ts";
import { moveTop } from "./stack.ts";

type Extra = Partial<Pick<X87Row, "waits" | "feature" | "commit" | "access">>;

/** What an instruction does: a shape if it has one, else its semantics. */
type Action = Shape | Semantics;

function carriedOut(action: Action): { readonly shape?: Shape; readonly semantics: Semantics } {
  return typeof action === "function" ? { semantics: action } : { shape: action, semantics: semanticsOf(action) };
}

function memoryRow(
  opcode: number,
  reg: number,
  mnemonic: string,
  memory: MemoryOperand,
  action: Action | undefined,
  extra: Extra = {},
): X87Row {
  const row = { mnemonic, opcode, reg, mod: "mem", memory, access: "read", operands: "mem", waits: true } as const;
  return { ...row, ...(action && carriedOut(action)), ...extra };
}

/** ST(i) forms: all eight values of ModRM.rm. */
function registerRow(
  opcode: number,
  reg: number,
  mnemonic: string,
  operands: string,
  action: Action,
  extra: Extra = {},
): X87Row {
  return { mnemonic, opcode, reg, mod: "reg", operands, waits: true, ...carriedOut(action), ...extra };
}

/** A form with its whole ModRM byte fixed. */
function fixedRow(
  opcode: number,
  modrm: number,
  mnemonic: string,
  action: Action,
  extra: Extra & { operands?: string } = {},
): X87Row {
  return {
    mnemonic,
    opcode,
    reg: (modrm >> 3) & 7,
    rm: modrm & 7,
    mod: "reg",
    operands: "",
    waits: true,
    ...carriedOut(action),
    ...extra,
  };
}

/** The two-operand operations by the number that D8, DA, DC, DE have for them in ModRM.reg. */
const OPERATIONS = [
  { reg: 0, name: "ADD", operation: "add", reversed: false },
  { reg: 1, name: "MUL", operation: "multiply", reversed: false },
  { reg: 4, name: "SUB", operation: "subtract", reversed: false },
  { reg: 5, name: "SUBR", operation: "subtract", reversed: true },
  { reg: 6, name: "DIV", operation: "divide", reversed: false },
  { reg: 7, name: "DIVR", operation: "divide", reversed: true },
] as const;

/** Opcodes whose memory operand takes part in arithmetic. */
const MEMORY_ARITHMETIC = [
  { opcode: 0xd8, source: "r32", prefix: "F" },
  { opcode: 0xda, source: "i32", prefix: "FI" },
  { opcode: 0xdc, source: "r64", prefix: "F" },
  { opcode: 0xde, source: "i16", prefix: "FI" },
] as const;

const ARITHMETIC: readonly X87Row[] = [
  ...MEMORY_ARITHMETIC.flatMap(({ opcode, source, prefix }) => [
    ...OPERATIONS.map(({ reg, name, operation, reversed }) => {
      const form = { source, reversed, destination: "st0", pops: false } as const;
      return memoryRow(opcode, reg, prefix + name, source, { kind: "arithmetic", operation, ...form });
    }),
    memoryRow(opcode, 2, `${prefix}COM`, source, { kind: "compare", source, quiet: false, pops: 0 }),
    memoryRow(opcode, 3, `${prefix}COMP`, source, { kind: "compare", source, quiet: false, pops: 1 }),
  ]),
  ...OPERATIONS.map(({ reg, name, operation, reversed }) => {
    const form = { source: "sti", reversed, destination: "st0", pops: false } as const;
    return registerRow(0xd8, reg, `F${name}`, "st,st(i)", { kind: "arithmetic", operation, ...form });
  }),
  // DC and DE swap the meaning of /4 with /5 and of /6 with /7: the destination is the other register.
  ...OPERATIONS.flatMap(({ reg, name, operation, reversed }) => {
    const swapped = reg < 4 ? reg : reg ^ 1;
    const form = { kind: "arithmetic", operation, source: "sti", reversed, destination: "sti" } as const;
    return [
      registerRow(0xdc, swapped, `F${name}`, "st(i),st", { ...form, pops: false }),
      registerRow(0xde, swapped, `F${name}P`, "st(i),st", { ...form, pops: true }),
    ];
  }),
];

const order = (quiet: boolean, pops: 0 | 1 | 2): Shape => ({ kind: "compare", source: "sti", quiet, pops });
const both = (quiet: boolean): Shape => ({ kind: "compare", source: "sti", quiet, pops: 2, index: 1 });
const flags = (quiet: boolean, pops: boolean): Shape => ({ kind: "compareFlags", quiet, pops });

const COMPARISONS: readonly X87Row[] = [
  registerRow(0xd8, 2, "FCOM", "st(i)", order(false, 0)),
  registerRow(0xd8, 3, "FCOMP", "st(i)", order(false, 1)),
  registerRow(0xdc, 2, "FCOM2", "st(i)", order(false, 0)),
  registerRow(0xdc, 3, "FCOMP3", "st(i)", order(false, 1)),
  registerRow(0xde, 2, "FCOMP5", "st(i)", order(false, 1)),
  fixedRow(0xde, 0xd9, "FCOMPP", both(false)),
  fixedRow(0xda, 0xe9, "FUCOMPP", both(true)),
  registerRow(0xdd, 4, "FUCOM", "st(i)", order(true, 0)),
  registerRow(0xdd, 5, "FUCOMP", "st(i)", order(true, 1)),
  registerRow(0xdb, 5, "FUCOMI", "st,st(i)", flags(true, false), { feature: "cmov" }),
  registerRow(0xdb, 6, "FCOMI", "st,st(i)", flags(false, false), { feature: "cmov" }),
  registerRow(0xdf, 5, "FUCOMIP", "st,st(i)", flags(true, true), { feature: "cmov" }),
  registerRow(0xdf, 6, "FCOMIP", "st,st(i)", flags(false, true), { feature: "cmov" }),
  fixedRow(0xd9, 0xe4, "FTST", { kind: "compare", source: "zero", quiet: false, pops: 0 }),
  fixedRow(0xd9, 0xe5, "FXAM", compare.examine),
];

const decimal: Semantics = move.storeNumber((k) => k.decimal.toDecimal, { low: 0xc000_0000_0000_0000n, high: 0xffff });
const integer = (bits: 16 | 32 | 64, truncate: boolean, pops: boolean): Shape => ({
  kind: "storeInteger",
  bits,
  truncate,
  pops,
});
const KEEP = { access: "write", commit: "keep" } as const;
const POP = { access: "write", commit: "pop" } as const;
const TRUNCATING = { ...POP, feature: "sse3" } as const;

const MOVES: readonly X87Row[] = [
  memoryRow(0xd9, 0, "FLD", "r32", { kind: "load", source: "r32" }),
  memoryRow(0xdd, 0, "FLD", "r64", { kind: "load", source: "r64" }),
  memoryRow(0xdb, 5, "FLD", "r80", { kind: "load", source: "r80" }),
  memoryRow(0xdf, 0, "FILD", "i16", { kind: "load", source: "i16" }),
  memoryRow(0xdb, 0, "FILD", "i32", { kind: "load", source: "i32" }),
  memoryRow(0xdf, 5, "FILD", "i64", { kind: "load", source: "i64" }),
  memoryRow(0xdf, 4, "FBLD", "bcd", move.loadDecimal),
  memoryRow(0xd9, 2, "FST", "r32", { kind: "storeReal", format: "r32", pops: false }, KEEP),
  memoryRow(0xd9, 3, "FSTP", "r32", { kind: "storeReal", format: "r32", pops: true }, POP),
  memoryRow(0xdd, 2, "FST", "r64", { kind: "storeReal", format: "r64", pops: false }, KEEP),
  memoryRow(0xdd, 3, "FSTP", "r64", { kind: "storeReal", format: "r64", pops: true }, POP),
  memoryRow(0xdb, 7, "FSTP", "r80", { kind: "storeExtended", pops: true }, POP),
  memoryRow(0xdf, 2, "FIST", "i16", integer(16, false, false), KEEP),
  memoryRow(0xdf, 3, "FISTP", "i16", integer(16, false, true), POP),
  memoryRow(0xdb, 2, "FIST", "i32", integer(32, false, false), KEEP),
  memoryRow(0xdb, 3, "FISTP", "i32", integer(32, false, true), POP),
  memoryRow(0xdf, 7, "FISTP", "i64", integer(64, false, true), POP),
  memoryRow(0xdf, 1, "FISTTP", "i16", integer(16, true, true), TRUNCATING),
  memoryRow(0xdb, 1, "FISTTP", "i32", integer(32, true, true), TRUNCATING),
  memoryRow(0xdd, 1, "FISTTP", "i64", integer(64, true, true), TRUNCATING),
  memoryRow(0xdf, 6, "FBSTP", "bcd", decimal, POP),
  registerRow(0xd9, 0, "FLD", "st(i)", { kind: "loadRegister" }),
  registerRow(0xd9, 1, "FXCH", "st(i)", { kind: "exchange" }),
  registerRow(0xdd, 1, "FXCH4", "st(i)", { kind: "exchange" }),
  registerRow(0xdf, 1, "FXCH7", "st(i)", { kind: "exchange" }),
  registerRow(0xdd, 2, "FST", "st(i)", { kind: "storeRegister", pops: false }),
  registerRow(0xdd, 3, "FSTP", "st(i)", { kind: "storeRegister", pops: true }),
  registerRow(0xd9, 3, "FSTP1", "st(i)", move.storeRegisterUnchecked),
  registerRow(0xdf, 2, "FSTP8", "st(i)", { kind: "storeRegister", pops: true }),
  registerRow(0xdf, 3, "FSTP9", "st(i)", { kind: "storeRegister", pops: true }),
  ...(["b", "e", "be", "u"] as const).flatMap((condition, reg) => {
    const name = condition.toUpperCase();
    return [
      registerRow(
        0xda,
        reg,
        `FCMOV${name}`,
        "st,st(i)",
        { kind: "conditionalMove", condition, negated: false },
        { feature: "cmov" },
      ),
      registerRow(
        0xdb,
        reg,
        `FCMOVN${name}`,
        "st,st(i)",
        { kind: "conditionalMove", condition, negated: true },
        { feature: "cmov" },
      ),
    ];
  }),
];

/** Constants cut off at 64 bits, and what rounding to nearest and up add (their 66-bit forms are all inexact). */
const CONSTANTS: readonly X87Row[] = [
  fixedRow(0xd9, 0xe8, "FLD1", {
    kind: "constant",
    signExponent: 0x3fff,
    significand: 0x8000_0000_0000_0000n,
    add: { nearest: 0n, up: 0n },
  }),
  fixedRow(0xd9, 0xe9, "FLDL2T", {
    kind: "constant",
    signExponent: 0x4000,
    significand: 0xd49a_784b_cd1b_8afen,
    add: { nearest: 0n, up: 1n },
  }),
  fixedRow(0xd9, 0xea, "FLDL2E", {
    kind: "constant",
    signExponent: 0x3fff,
    significand: 0xb8aa_3b29_5c17_f0bbn,
    add: { nearest: 1n, up: 1n },
  }),
  fixedRow(0xd9, 0xeb, "FLDPI", {
    kind: "constant",
    signExponent: 0x4000,
    significand: 0xc90f_daa2_2168_c234n,
    add: { nearest: 1n, up: 1n },
  }),
  fixedRow(0xd9, 0xec, "FLDLG2", {
    kind: "constant",
    signExponent: 0x3ffd,
    significand: 0x9a20_9a84_fbcf_f798n,
    add: { nearest: 1n, up: 1n },
  }),
  fixedRow(0xd9, 0xed, "FLDLN2", {
    kind: "constant",
    signExponent: 0x3ffe,
    significand: 0xb172_17f7_d1cf_79abn,
    add: { nearest: 1n, up: 1n },
  }),
  fixedRow(0xd9, 0xee, "FLDZ", { kind: "constant", signExponent: 0, significand: 0n, add: { nearest: 0n, up: 0n } }),
];

const C1_C2 = FSW.C1 | FSW.C2;
const FUNCTIONS: readonly X87Row[] = [
  fixedRow(0xd9, 0xe0, "FCHS", { kind: "sign", change: "negate" }),
  fixedRow(0xd9, 0xe1, "FABS", { kind: "sign", change: "absolute" }),
  fixedRow(0xd9, 0xf0, "F2XM1", compute.unary(compute.withScratch((k) => k.transcendental.powerMinusOne))),
  fixedRow(0xd9, 0xf1, "FYL2X", compute.binaryPop(compute.withScratch((k) => k.transcendental.yLogX))),
  fixedRow(
    0xd9,
    0xf2,
    "FPTAN",
    compute.pushing(
      compute.withScratch((k) => k.transcendental.tangent),
      C1_C2,
    ),
  ),
  fixedRow(0xd9, 0xf3, "FPATAN", compute.binaryPop(compute.withScratch((k) => k.transcendental.arctangent))),
  fixedRow(
    0xd9,
    0xf4,
    "FXTRACT",
    compute.pushing(
      compute.plain((k) => k.exponents.extract),
      FSW.C1,
    ),
  ),
  fixedRow(
    0xd9,
    0xf5,
    "FPREM1",
    compute.binaryKeep((k) => k.exponents.remainderNearest, true),
  ),
  fixedRow(
    0xd9,
    0xf8,
    "FPREM",
    compute.binaryKeep((k) => k.exponents.remainder, true),
  ),
  fixedRow(0xd9, 0xf9, "FYL2XP1", compute.binaryPop(compute.withScratch((k) => k.transcendental.yLogXPlusOne))),
  fixedRow(0xd9, 0xfa, "FSQRT", { kind: "unary", operation: "squareRoot" }),
  fixedRow(
    0xd9,
    0xfb,
    "FSINCOS",
    compute.pushing(
      compute.withScratch((k) => k.transcendental.sineCosine),
      C1_C2,
    ),
  ),
  fixedRow(0xd9, 0xfc, "FRNDINT", { kind: "unary", operation: "integral" }),
  fixedRow(
    0xd9,
    0xfd,
    "FSCALE",
    compute.binaryKeep((k) => k.exponents.scale, false),
  ),
  fixedRow(
    0xd9,
    0xfe,
    "FSIN",
    compute.unary(
      compute.withScratch((k) => k.transcendental.sine),
      C1_C2,
    ),
  ),
  fixedRow(
    0xd9,
    0xff,
    "FCOS",
    compute.unary(
      compute.withScratch((k) => k.transcendental.cosine),
      C1_C2,
    ),
  ),
];

const UNCHECKED = { waits: false } as const;
const WORD = { access: "write", commit: "none", waits: false } as const;

const CONTROL: readonly X87Row[] = [
  memoryRow(0xd9, 4, "FLDENV", "env", undefined),
  memoryRow(0xd9, 5, "FLDCW", "i16", { kind: "loadControl" }),
  memoryRow(0xd9, 6, "FNSTENV", "env", undefined, { access: "write", waits: false }),
  memoryRow(0xd9, 7, "FNSTCW", "i16", { kind: "storeWord", word: "fcw" }, WORD),
  memoryRow(0xdd, 4, "FRSTOR", "state", undefined),
  memoryRow(0xdd, 6, "FNSAVE", "state", undefined, { access: "write", waits: false }),
  memoryRow(0xdd, 7, "FNSTSW", "i16", { kind: "storeWord", word: "fsw" }, WORD),
  fixedRow(0xdf, 0xe0, "FNSTSW", { kind: "statusToAx" }, { ...UNCHECKED, operands: "ax" }),
  fixedRow(0xd9, 0xd0, "FNOP", { kind: "wait" }),
  fixedRow(
    0xd9,
    0xf6,
    "FDECSTP",
    control.status(true, (fsw) => i32.and(moveTop(fsw, -1), ~FSW.C1)),
  ),
  fixedRow(
    0xd9,
    0xf7,
    "FINCSTP",
    control.status(true, (fsw) => i32.and(moveTop(fsw, 1), ~FSW.C1)),
  ),
  fixedRow(0xdb, 0xe0, "FNENI", control.nothing(false), UNCHECKED),
  fixedRow(0xdb, 0xe1, "FNDISI", control.nothing(false), UNCHECKED),
  fixedRow(
    0xdb,
    0xe2,
    "FNCLEX",
    control.status(false, (fsw) => i32.and(fsw, ~CLEARED_BY_FNCLEX)),
    UNCHECKED,
  ),
  fixedRow(0xdb, 0xe3, "FNINIT", control.initialize, UNCHECKED),
  fixedRow(0xdb, 0xe4, "FNSETPM", control.nothing(false), UNCHECKED),
  registerRow(0xdd, 0, "FFREE", "st(i)", control.free),
  registerRow(0xdf, 0, "FFREEP", "st(i)", control.freePop),
  { mnemonic: "FWAIT", opcode: 0x9b, reg: 0, mod: "none", operands: "", waits: true, ...carriedOut({ kind: "wait" }) },
];

/** Every x87 instruction. */
export const X87_ROWS: readonly X87Row[] = [
  ...ARITHMETIC,
  ...COMPARISONS,
  ...MOVES,
  ...CONSTANTS,
  ...FUNCTIONS,
  ...CONTROL,
];
