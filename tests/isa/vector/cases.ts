/**
 * Cases for comparing vector instructions with silicon: one instruction each, over MXCSR, x87 states and operands near
 * every boundary. The same seed gives the same cases everywhere, so that recorded results need no inputs.
 */
import type { Form, OperandCode } from "../../../src/isa/row.ts";
import { FORMS } from "../../../src/isa/table.ts";
import { Random } from "../../oracle/random.ts";

/** Where code and operands stand, natively and in our machine. */
export const PLACE = { code: 0x1_1000, window: 0x1_2000 } as const;
export const CODE_BYTES = 16;
export const WINDOW_BYTES = 64;
/** Bytes of an FXSAVE image, and where in it the parts stand that cases set (SDM 1 table 10-2). */
export const IMAGE = { size: 512, fcw: 0, fsw: 2, ftw: 4, mxcsr: 24, registers: 32, xmm: 160 } as const;

export interface VectorCase {
  /** The row's mnemonic, operands and immediate. */
  readonly name: string;
  readonly form: Form;
  /** Without the INT3 that follows. */
  readonly code: Uint8Array;
  /** In encoding order; ESP is not used. */
  readonly registers: Uint32Array;
  readonly eflags: number;
  /** FXSAVE image. */
  readonly image: Uint8Array;
  readonly window: Uint8Array;
}

const FEATURES = new Set(["mmx", "sse", "sse2", "sse3", "ssse3", "sse4_1", "sse4_2", "popcnt", "movbe", "clfsh"]);

/** State images have cases of their own, and FISTTP is the x87's. */
export const VECTOR_FORMS: readonly Form[] = FORMS.filter(
  (form) => FEATURES.has(form.row.traits.feature ?? "") && form.row.traits.x87 === undefined,
);

const F64 = [
  0n,
  1n,
  2n,
  0x000f_ffff_ffff_ffffn,
  0x0008_0000_0000_0000n,
  0x0010_0000_0000_0000n,
  0x0010_0000_0000_0001n,
  0x0020_0000_0000_0000n,
  0x3fe0_0000_0000_0000n,
  0x3ff0_0000_0000_0000n,
  0x3ff0_0000_0000_0001n,
  0x3fef_ffff_ffff_ffffn,
  0x3ff8_0000_0000_0000n,
  0x4000_0000_0000_0000n,
  0x4004_0000_0000_0000n,
  0x4008_0000_0000_0000n,
  0x41df_ffff_ffc0_0000n,
  0x41df_ffff_ffdf_ffffn,
  0x41df_ffff_ffe0_0000n,
  0x41e0_0000_0000_0000n,
  0x41e0_0000_0010_0000n,
  0x41e0_0000_0020_0000n,
  0x47ef_ffff_e000_0000n,
  0x47ef_ffff_f000_0000n,
  0x3810_0000_0000_0000n,
  0x380f_ffff_f000_0000n,
  0x36a0_0000_0000_0000n,
  0x3690_0000_0000_0001n,
  0x7fef_ffff_ffff_ffffn,
  0x7fe0_0000_0000_0000n,
  0x7ff0_0000_0000_0000n,
  0x7ff0_0000_0000_0001n,
  0x7ff4_5678_9abc_def0n,
  0x7ff8_0000_0000_0000n,
  0x7ff8_1234_5678_9abcn,
] as const;
const F32 = [
  0, 1, 2, 0x007f_ffff, 0x0040_0000, 0x0080_0000, 0x0080_0001, 0x0100_0000, 0x3f00_0000, 0x3f80_0000, 0x3f80_0001,
  0x3f7f_ffff, 0x3fc0_0000, 0x4000_0000, 0x4020_0000, 0x4040_0000, 0x4eff_ffff, 0x4f00_0000, 0x4f00_0001, 0x4b00_0001,
  0x4b80_0001, 0x7f7f_ffff, 0x7f00_0000, 0x7f80_0000, 0x7f80_0001, 0x7fa3_4567, 0x7fc0_0000, 0x7fc1_2345,
] as const; // biome-ignore format: a table
const BYTES = [0, 1, 0x7f, 0x80, 0x81, 0xff] as const;

type Kind = "f64" | "f32" | "bytes" | "bits" | "text" | "integers";

/** Makes the values of one case. */
class Values {
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  u64(): bigint {
    return (BigInt(this.random.u32()) << 32n) | BigInt(this.random.u32());
  }

  f64(): bigint {
    const { random } = this;
    const sign = random.oneIn(2) ? 1n << 63n : 0n;
    switch (random.below(5)) {
      case 0:
        return random.pick(F64) | sign;
      case 1:
        return this.u64();
      case 2:
        // Few significant bits: exact results and ties.
        return (BigInt(1023 - 30 + random.below(60)) << 52n) | (BigInt(random.below(64)) << 46n) | sign;
      case 3:
        // Near the ends of the exponent range, where products and quotients leave it.
        return (BigInt(random.pick([0, 1, 2, 511, 512, 1534, 1535, 2045, 2046])) << 52n) | (this.u64() >> 12n) | sign;
      default:
        return (BigInt(1023 - 12 + random.below(24)) << 52n) | (this.u64() >> 12n) | sign;
    }
  }

  f32(): number {
    const { random } = this;
    const sign = random.oneIn(2) ? 0x8000_0000 : 0;
    const fraction = random.u32() & 0x007f_ffff;
    const exponent = (value: number): number => value << 23;
    switch (random.below(5)) {
      case 0:
        return (random.pick(F32) | sign) >>> 0;
      case 1:
        return random.u32();
      case 2:
        return (exponent(127 - 20 + random.below(40)) | (fraction & 0x007c_0000) | sign) >>> 0;
      case 3:
        return (exponent(random.pick([0, 1, 2, 62, 63, 64, 190, 191, 253, 254])) | fraction | sign) >>> 0;
      default:
        return (exponent(127 - 10 + random.below(20)) | fraction | sign) >>> 0;
    }
  }

  byte(): number {
    return this.random.oneIn(2) ? this.random.pick(BYTES) : this.random.u32() >>> 24;
  }

  fill(target: Uint8Array, kind: Kind): void {
    const { random } = this;
    const view = new DataView(target.buffer, target.byteOffset, target.length);
    for (let at = 0; at < target.length; at += 8) {
      if (kind === "f64") view.setBigUint64(at, this.f64(), true);
      else if (kind === "f32") {
        view.setUint32(at, this.f32(), true);
        view.setUint32(at + 4, this.f32(), true);
      } else if (kind === "bits") view.setBigUint64(at, this.u64(), true);
      else if (kind === "integers") {
        // Small numbers in the low half, as shift counts and lane numbers are.
        view.setBigUint64(at, BigInt(random.below(80)) | (random.oneIn(8) ? this.u64() << 32n : 0n), true);
      } else if (kind === "text") {
        for (let i = 0; i < 8; i++) target[at + i] = random.oneIn(10) ? 0 : 0x61 + random.below(4);
      } else for (let i = 0; i < 8; i++) target[at + i] = this.byte();
    }
  }
}

/** Kinds of content that suit an instruction, by its name. */
function kindsOf(mnemonic: string): readonly Kind[] {
  if (/^PCMP[EI]STR/.test(mnemonic)) return ["text", "text", "text", "bytes"];
  if (/^PS(LL|RL|RA)/.test(mnemonic)) return ["integers", "bits", "bytes"];
  if (/PD2|SD2|(PD|SD)$/.test(mnemonic) && !/^P/.test(mnemonic)) return ["f64", "f64", "f64", "f32", "bits"];
  if (/PS2|SS2|(PS|SS)$/.test(mnemonic) && !/^P/.test(mnemonic)) return ["f32", "f32", "f32", "f64", "bits"];
  return ["bytes", "bytes", "bits", "integers", "f32"];
}

/** Control bits of MXCSR: often what compilers leave, or the state in which results are taken from WebAssembly. */
function controlAndStatus(random: Random): number {
  const kind = random.below(8);
  if (kind < 2) return 0x1fa0;
  if (kind < 3) return 0x1f80;
  const masks = kind === 3 ? random.u32() & 0x1f80 : 0x1f80;
  const rounding = random.u32() & 0x6000;
  const flush = random.oneIn(3) ? random.u32() & 0x8040 : 0;
  // Flags that are set already hide what an instruction adds.
  const flags = random.oneIn(3) ? random.u32() & 0x3f : 0;
  return masks | rounding | flush | flags;
}

function makeImage(values: Values, kinds: readonly Kind[], mmx: boolean): Uint8Array {
  const { random } = values;
  const image = new Uint8Array(IMAGE.size);
  const view = new DataView(image.buffer);
  // Rarely an x87 exception is pending: flag and mask, and the summary bits that belong to them.
  const pending = mmx && random.oneIn(24);
  view.setUint16(IMAGE.fcw, pending ? 0x37e : 0x37f, true);
  view.setUint16(IMAGE.fsw, (random.below(8) << 11) | (pending ? 0x8081 : 0), true);
  image[IMAGE.ftw] = random.u32() >>> 24;
  view.setUint32(IMAGE.mxcsr, controlAndStatus(random), true);
  for (let i = 0; i < 8; i++) {
    const at = IMAGE.registers + i * 16;
    values.fill(image.subarray(at, at + 8), random.pick(kinds));
    view.setUint16(at + 8, random.oneIn(2) ? 0xffff : random.u32() & 0xffff, true);
  }
  for (let i = 0; i < 8; i++) {
    const at = IMAGE.xmm + i * 16;
    values.fill(image.subarray(at, at + 16), random.pick(kinds));
  }
  return image;
}

const ESI = 6;
const EDI = 7;
const ESP = 4;

/** ModRM and displacement of a memory operand in the window; sets the registers that its address uses. */
function memoryOperand(random: Random, reg: number, registers: Uint32Array, offset: number): number[] {
  const at = PLACE.window + offset;
  const dword = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  switch (random.below(3)) {
    case 0:
      registers[ESI] = at;
      return [(reg << 3) | ESI];
    case 1: {
      const displacement = random.below(256);
      registers[EDI] = at - ((displacement << 24) >> 24);
      return [0x40 | (reg << 3) | EDI, displacement];
    }
    default:
      return [(reg << 3) | 5, ...dword(at)];
  }
}

const OPERAND_BITS: Readonly<Record<string, number>> = { b: 8, w: 16, d: 32, q: 64, x: 128, v: 32 };

function memoryCode(form: Form): OperandCode | undefined {
  return form.operands.find((code) => /^[EMWQ]/.test(code));
}

function immediates(form: Form): number {
  return form.operands.filter((code) => code === "Ibu").length;
}

function makeCase(random: Random, form: Form, memory: boolean): VectorCase {
  const values = new Values(random);
  const { mnemonic, traits } = form.row;
  const kinds = kindsOf(mnemonic);
  const usesMmx = form.operands.some((code) => /^[PQN]/.test(code)) || mnemonic === "EMMS";
  const registers = Uint32Array.from({ length: 8 }, () => (random.oneIn(4) ? random.below(20) : random.u32()));
  const window = new Uint8Array(WINDOW_BYTES);
  for (let at = 0; at < WINDOW_BYTES; at += 16) values.fill(window.subarray(at, at + 16), random.pick(kinds));
  const code: number[] = [];
  // Operand sizes of general registers; behind it a mandatory prefix stands first.
  const wide = form.sizeClass === "v" && random.oneIn(2);
  if (wide) code.push(0x66);
  if (traits.prefix) code.push(traits.prefix);
  const bytes = form.opcode > 0xffff ? 3 : 2;
  for (let i = bytes - 1; i >= 0; i--) code.push((form.opcode >> (8 * i)) & 0xff);
  if (form.modrm) {
    let reg = form.reg >= 0 ? form.reg : random.below(8);
    let rm = form.rm >= 0 ? form.rm : random.below(8);
    // ESP belongs to the runner.
    const general = (pattern: RegExp): boolean => form.operands.some((operand) => pattern.test(operand));
    if (general(/^G/) && reg === ESP) reg = 0;
    if (general(/^[ER]/) && !memory && rm === ESP) rm = 1;
    if (memory) {
      const size = OPERAND_BITS[memoryCode(form)!.at(-1)!] ?? 8;
      const offset = random.oneIn(6) ? random.below(WINDOW_BYTES - 16) : random.below(3) * 16;
      // What names and counts read is the same whether or not it is aligned; MASKMOV writes through EDI.
      code.push(...memoryOperand(random, reg, registers, Math.min(offset, WINDOW_BYTES - size / 8)));
    } else code.push(0xc0 | (reg << 3) | rm);
  }
  if (mnemonic.startsWith("MASKMOV")) registers[EDI] = PLACE.window + random.below(WINDOW_BYTES - 16);
  const immediate: number[] = [];
  for (let i = 0; i < immediates(form); i++) immediate.push(random.oneIn(2) ? random.below(32) : random.below(256));
  code.push(...immediate);
  if (mnemonic === "LDMXCSR" && !random.oneIn(4)) {
    const view = new DataView(window.buffer);
    for (let at = 0; at < WINDOW_BYTES; at += 4) view.setUint32(at, random.u32() & 0xffff, true);
  }
  const operands = form.operands.map((operand) => (memory && operand === memoryCode(form) ? `m${operand}` : operand));
  return {
    name: `${mnemonic} ${operands.join(",")}${wide ? " 16" : ""} ${immediate.map((i) => i.toString(16)).join()}`.trim(),
    form,
    code: Uint8Array.from(code),
    registers,
    eflags: 0x202 | (random.u32() & 0x8d5),
    image: makeImage(values, kinds, usesMmx),
    window,
  };
}

/** `perForm` cases of each form, register and memory operands apart. */
export function* generateCases(seed: number, perForm: number): Generator<VectorCase> {
  const random = new Random(seed);
  for (const form of VECTOR_FORMS) {
    const memory = memoryCode(form) !== undefined && form.mod !== "reg";
    const register = form.mod !== "mem";
    // Floating point has the more to go wrong.
    const weight = /[PS][SD]|COMI|DQ2|2DQ/.test(form.row.mnemonic) ? perForm * 2 : perForm;
    for (const operand of [register ? [false] : [], memory ? [true] : []].flat())
      for (let i = 0; i < weight; i++) yield makeCase(random, form, operand);
  }
}
