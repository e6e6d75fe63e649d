/** x87 test cases' raw material: every encoding of D8–DF, register files full of awkward values, operands in memory. */
import type { Form } from "./forms.ts";
import type { Random } from "./random.ts";

/** What an x87 memory operand is. */
export type MemoryOperand =
  | "r32"
  | "r64"
  | "r80"
  | "i16"
  | "i32"
  | "i64"
  | "bcd"
  | "control"
  | "status"
  | "environment"
  | "state"
  | "none";

const BYTES: Record<Exclude<MemoryOperand, "environment" | "state">, number> = {
  r32: 4,
  r64: 8,
  r80: 10,
  i16: 2,
  i32: 4,
  i64: 8,
  bcd: 10,
  control: 2,
  status: 2,
  none: 4,
};

/** Memory operands by opcode and reg field; `undefined` is FISTTP, an instruction of later processors. */
const MEMORY_OPERANDS: readonly (readonly (MemoryOperand | undefined)[])[] = [
  ["r32", "r32", "r32", "r32", "r32", "r32", "r32", "r32"],
  ["r32", "none", "r32", "r32", "environment", "control", "environment", "control"],
  ["i32", "i32", "i32", "i32", "i32", "i32", "i32", "i32"],
  ["i32", undefined, "i32", "i32", "none", "r80", "none", "r80"],
  ["r64", "r64", "r64", "r64", "r64", "r64", "r64", "r64"],
  ["r64", undefined, "r64", "r64", "state", "none", "state", "status"],
  ["i16", "i16", "i16", "i16", "i16", "i16", "i16", "i16"],
  ["i16", undefined, "i16", "i16", "bcd", "i64", "bcd", "i64"],
];

/** The memory operand of a form, or undefined for register forms. */
export function memoryOperand(form: Form): MemoryOperand | undefined {
  const opcode = form.opcode[0] as number;
  if (opcode < 0xd8 || opcode > 0xdf || !form.modrm?.memory) return undefined;
  return MEMORY_OPERANDS[opcode - 0xd8]?.[form.reg as number];
}

/** Bytes that environment and state images take: 16-bit formats are half the size. */
export function operandBytes(operand: MemoryOperand, bits: 16 | 32): number {
  if (operand === "environment") return bits === 32 ? 28 : 14;
  if (operand === "state") return bits === 32 ? 108 : 94;
  return BYTES[operand];
}

/** Second bytes of the transcendental instructions after D9. */
const TRANSCENDENTAL: ReadonlyMap<number, string> = new Map([
  [0xf0, "F2XM1"],
  [0xf1, "FYL2X"],
  [0xf2, "FPTAN"],
  [0xf3, "FPATAN"],
  [0xf9, "FYL2XP1"],
  [0xfb, "FSINCOS"],
  [0xfe, "FSIN"],
  [0xff, "FCOS"],
]);

/** The transcendental instruction a form is, or undefined. */
export function transcendental(form: Form): string | undefined {
  if (form.opcode[0] !== 0xd9 || form.rm === undefined) return undefined;
  return TRANSCENDENTAL.get(0xc0 | ((form.reg as number) << 3) | form.rm);
}

/** x87 status word bits. SDM 1 8.1.3. */
export const STATUS = {
  IE: 1 << 0,
  SF: 1 << 6,
  ES: 1 << 7,
  C0: 1 << 8,
  C1: 1 << 9,
  C2: 1 << 10,
  TOP: 7 << 11,
  C3: 1 << 14,
  B: 1 << 15,
} as const;
const EXCEPTIONS = 0x3f;

/**
 * Condition codes that the manual leaves undefined after a form (SDM 1 table 8-1 and each instruction's "FPU flags
 * affected"): C0, C2, C3 after all that do not compare, examine, reduce or load them.
 */
export function openStatus(form: Form): number {
  const opcode = form.opcode[0] as number;
  if (opcode < 0xd8 || opcode > 0xdf) return 0;
  const all = STATUS.C0 | STATUS.C2 | STATUS.C3;
  const reg = form.reg as number;
  if (form.rm === undefined) {
    const operand = memoryOperand(form);
    const compares = reg >> 1 === 1 && (opcode & 1) === 0;
    return compares || operand === "environment" || operand === "state" || operand === "none" ? 0 : all;
  }
  const second = 0xc0 | (reg << 3) | form.rm;
  const name = transcendental(form);
  if (name !== undefined) {
    const trigonometric = name === "FSIN" || name === "FCOS" || name === "FSINCOS" || name === "FPTAN";
    // Rounding of the last place, which C1 tells, is the implementation's.
    return (trigonometric ? STATUS.C0 | STATUS.C3 : all) | STATUS.C1;
  }
  const comparing: readonly [number, number, number][] = [
    [0xd8, 0xd0, 0xdf],
    [0xd9, 0xe4, 0xe5],
    [0xd9, 0xf5, 0xf5],
    [0xd9, 0xf8, 0xf8],
    [0xda, 0xe9, 0xe9],
    [0xdb, 0xe2, 0xff],
    [0xdc, 0xd0, 0xdf],
    [0xdd, 0xe0, 0xef],
    [0xde, 0xd0, 0xdf],
    [0xdf, 0xe8, 0xf7],
  ];
  return comparing.some(([o, from, to]) => o === opcode && second >= from && second <= to) ? 0 : all;
}

/** Second bytes that are no instruction, from … to, by opcode. SDM 2 tables. */
const UNDEFINED_BYTES: readonly (readonly (readonly [number, number])[])[] = [
  [],
  [
    [0xd1, 0xd7],
    [0xe2, 0xe3],
    [0xe6, 0xe7],
    [0xef, 0xef],
  ],
  [
    [0xe0, 0xe8],
    [0xea, 0xff],
  ],
  [
    [0xe5, 0xe7],
    [0xf8, 0xff],
  ],
  [],
  [[0xf0, 0xff]],
  [
    [0xd8, 0xd8],
    [0xda, 0xdf],
  ],
  [
    [0xe1, 0xe7],
    [0xf8, 0xff],
  ],
];

/** Whether a form is an instruction at all: the others raise #UD. */
export function isDefined(form: Form): boolean {
  if (form.rm === undefined) return memoryOperand(form) !== "none";
  const second = 0xc0 | ((form.reg as number) << 3) | form.rm;
  const holes = UNDEFINED_BYTES[(form.opcode[0] as number) - 0xd8] ?? [];
  return !holes.some(([from, to]) => second >= from && second <= to);
}

/** FISTTP came with SSE3: our model and the host may differ about it. */
function known(opcode: number, reg: number): boolean {
  return MEMORY_OPERANDS[opcode - 0xd8]?.[reg] !== undefined;
}

/** Every encoding: each memory form, and each second byte of the register forms. */
export const X87_FORMS: readonly Form[] = Array.from({ length: 8 * 8 * 9 }, (_, n): Form | undefined => {
  const opcode = 0xd8 + Math.floor(n / 72);
  const reg = Math.floor(n / 9) & 7;
  const rm = (n % 9) - 1;
  if (rm < 0 && !known(opcode, reg)) return undefined;
  return {
    mnemonic: "X87",
    opcode: [opcode],
    modrm: { register: rm >= 0, memory: rm < 0 },
    reg,
    rm: rm < 0 ? undefined : rm,
    width: 4,
    immediate: "-",
    undefinedClass: "none",
    traits: new Set(["norep"]),
  };
}).filter((form) => form !== undefined);

/** A significand and a biased exponent with its sign. */
type Extended = readonly [significand: bigint, signExponent: number];

const INTEGER_BIT = 1n << 63n;
const FIXED: readonly Extended[] = [
  [0n, 0],
  [INTEGER_BIT, 0x3fff], // 1
  [INTEGER_BIT, 0x4000], // 2
  [INTEGER_BIT, 0x3ffe], // 0.5
  [0xc000000000000000n, 0x3fff], // 1.5
  [0xc90fdaa22168c235n, 0x4000], // π
  [0xc90fdaa22168c235n, 0x3fff], // π/2
  [0xffffffffffffffffn, 0x7ffe], // largest
  [INTEGER_BIT, 1], // smallest normal
  [1n, 0], // smallest denormal
  [0x7fffffffffffffffn, 0], // largest denormal
  [INTEGER_BIT, 0], // pseudo-denormal
  [INTEGER_BIT, 0x7fff], // infinity
  [0n, 0x7fff], // pseudo-infinity
  [0xc000000000000000n, 0x7fff], // indefinite
  [0xc123456789abcdefn, 0x7fff], // quiet NaN
  [0xa123456789abcdefn, 0x7fff], // signalling NaN
  [0x4123456789abcdefn, 0x7fff], // pseudo-NaN
  [0x4000000000000000n, 0x3fff], // unnormal
  [INTEGER_BIT, 0x401e], // 2^31
  [0xffffffff00000000n, 0x401e], // 2^32 − 1
  [INTEGER_BIT, 0x403e], // 2^63
  [0xfffffffffffffffen, 0x403d], // 2^63 − 1/2
  [0xde0b6b3a763fffffn, 0x403a], // 10^18 − 1, nearly
  [0x8000000000000800n, 0x3fff], // 1 and a bit below 53
  [0x8000008000000000n, 0x3fff], // 1 and half a bit below 24
];

function bits64(random: Random): bigint {
  return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
}

/** A significand with runs of equal bits, where rounding errors live. */
function significand(random: Random): bigint {
  const value = bits64(random);
  const mask = BigInt.asUintN(64, -1n << BigInt(random.below(64)));
  switch (random.below(4)) {
    case 0:
      return INTEGER_BIT | (value & mask);
    case 1:
      return INTEGER_BIT | value | BigInt.asUintN(64, ~mask);
    default:
      return INTEGER_BIT | value;
  }
}

/** Any 80-bit value: half of them ordinary numbers near 1, the rest everything that can go wrong. */
export function extended(random: Random): Extended {
  const sign = random.oneIn(2) ? 0x8000 : 0;
  const kind = random.below(16);
  if (kind < 4) {
    const [s, e] = random.pick(FIXED);
    return [s, e | sign];
  }
  if (kind < 9) return [significand(random), (0x3fff - 8 + random.below(17)) | sign];
  if (kind < 11) return [significand(random), (0x3fff - 70 + random.below(140)) | sign];
  if (kind < 12)
    return [
      BigInt.asUintN(64, significand(random) << BigInt(random.below(40))) | INTEGER_BIT,
      (0x3fff + random.below(64)) | sign,
    ];
  if (kind < 13) return [significand(random), random.below(70) | sign];
  if (kind < 14) return [significand(random), (0x7ffe - random.below(70)) | sign];
  if (kind < 15) return [bits64(random), sign];
  return [bits64(random), random.below(0x8000) | sign];
}

/** A value that a transcendental instruction takes gladly: between 2^-20 and about 1. */
export function moderate(random: Random): Extended {
  return [significand(random), (0x3ffe - random.below(random.oneIn(2) ? 3 : 20)) | (random.oneIn(2) ? 0x8000 : 0)];
}

/** The state that FNINIT makes, with empty registers of zero: a 108-byte image. */
export function initialState(): Uint8Array {
  const image = new Uint8Array(108);
  const view = new DataView(image.buffer);
  view.setUint32(0, 0xffff037f, true);
  view.setUint32(4, 0xffff0000, true);
  view.setUint32(8, 0xffffffff, true);
  return image;
}

/** Content of a tag word's two bits for a value. SDM 1 8.1.7. */
function tagOf([s, e]: Extended): number {
  const exponent = e & 0x7fff;
  if (exponent === 0 && s === 0n) return 1;
  return exponent === 0 || exponent === 0x7fff || (s & INTEGER_BIT) === 0n ? 2 : 0;
}

/** A control word: all roundings, the three precisions, exceptions mostly masked. Reserved bits as FNINIT leaves them. */
export function controlWord(random: Random): number {
  const masks = random.oneIn(4) ? random.below(0x40) : EXCEPTIONS;
  return masks | 0x40 | (random.pick([0, 2, 3, 3, 3]) << 8) | (random.below(4) << 10);
}

/** A status word that fits a control word: exceptions that are unmasked are pending, and then ES and B are set. */
export function statusWord(random: Random, control: number, top: number): number {
  const conditions = random.u32() & (STATUS.C0 | STATUS.C1 | STATUS.C2 | STATUS.C3);
  let flags = random.oneIn(3) ? random.below(0x80) : 0;
  if (!random.oneIn(8)) flags &= ~(~control & EXCEPTIONS);
  if ((flags & STATUS.IE) === 0) flags &= ~STATUS.SF;
  const pending = (flags & ~control & EXCEPTIONS) !== 0;
  return conditions | flags | (top << 11) | (pending ? STATUS.ES | STATUS.B : 0);
}

/** A state for an x87 case. `domain` replaces the values of ST(0) and ST(1) by what transcendental instructions take. */
export function fpuState(random: Random, domain: boolean): Uint8Array {
  const image = initialState();
  const view = new DataView(image.buffer);
  const control = controlWord(random);
  const top = random.below(8);
  const emptyOneIn = random.pick([2, 4, 16, 100]);
  let tags = 0;
  for (let i = 0; i < 8; i++) {
    const value = domain && i < 2 && !random.oneIn(4) ? moderate(random) : extended(random);
    view.setBigUint64(28 + i * 10, value[0], true);
    view.setUint16(36 + i * 10, value[1], true);
    const tag = random.oneIn(domain && i < 2 ? 100 : emptyOneIn) ? 3 : tagOf(value);
    tags |= tag << (((top + i) & 7) * 2);
  }
  view.setUint16(0, control, true);
  view.setUint16(4, statusWord(random, control, top), true);
  view.setUint16(8, tags, true);
  return image;
}

/** Bytes of a memory operand worth loading. */
export function operandContent(random: Random, operand: MemoryOperand, bits: 16 | 32): Uint8Array {
  const bytes = new Uint8Array(operandBytes(operand, bits));
  const view = new DataView(bytes.buffer);
  switch (operand) {
    case "r32":
      view.setUint32(0, singleBits(random), true);
      break;
    case "r64":
      view.setBigUint64(0, doubleBits(random), true);
      break;
    case "r80": {
      const [s, e] = extended(random);
      view.setBigUint64(0, s, true);
      view.setUint16(8, e, true);
      break;
    }
    case "bcd":
      for (let i = 0; i < 10; i++) bytes[i] = random.below(10) | (random.below(10) << 4);
      if (random.oneIn(4)) bytes.fill(0, random.below(9), 9);
      bytes[9] = random.pick([0, 0x80, 0x7f, 0xff]);
      break;
    case "control":
      view.setUint16(0, controlWord(random), true);
      break;
    case "environment":
    case "state": {
      const image = fpuState(random, false);
      const step = bits === 32 ? 4 : 2;
      for (let i = 0; i < 3; i++) bytes.set(image.subarray(i * 4, i * 4 + step), i * step);
      if (operand === "state") bytes.set(image.subarray(28), step * 7);
      break;
    }
    default:
      for (let i = 0; i < bytes.length; i++)
        bytes[i] = random.oneIn(4) ? random.pick([0, 0xff, 0x80, 0x7f]) : random.below(256);
      if (random.oneIn(3)) bytes.fill(random.pick([0, 0xff]), random.below(bytes.length));
  }
  return bytes;
}

function singleBits(random: Random): number {
  const fixed = [0, 1, 0x7fffff, 0x800000, 0x3f800000, 0x7f7fffff, 0x7f800000, 0x7fa00000, 0x7fc12345, 0x4f000000];
  const sign = random.oneIn(2) ? 0x8000_0000 : 0;
  const kind = random.below(4);
  if (kind === 0) return (random.pick(fixed) | sign) >>> 0;
  if (kind === 1) return random.u32();
  return ((random.u32() & 0x7fffff) | ((127 - 10 + random.below(20)) << 23) | sign) >>> 0;
}

function doubleBits(random: Random): bigint {
  const fixed = [
    0n,
    1n,
    0xfffffffffffffn,
    0x10000000000000n,
    0x3ff0000000000000n,
    0x7fefffffffffffffn,
    0x7ff0000000000000n,
    0x7ff4000000000000n,
    0x7ff8123456789abcn,
    0x43e0000000000000n,
  ];
  const sign = random.oneIn(2) ? 1n << 63n : 0n;
  const kind = random.below(4);
  if (kind === 0) return random.pick(fixed) | sign;
  if (kind === 1) return bits64(random);
  return (bits64(random) & 0xfffffffffffffn) | (BigInt(1023 - 10 + random.below(20)) << 52n) | sign;
}
