/**
 * Writes operation records of decoded instructions. What follows from the encoding and the operand size alone is worked
 * out once, in a plan; writing a record is then six words.
 */
import { formBits, type Instruction } from "../isa/decoder.ts";
import { type Form, operandBits, VECTOR_OPERAND } from "../isa/row.ts";
import { SEG } from "../isa/state.ts";
import { FORMS } from "../isa/table.ts";
import { type Cpu, MODE } from "./cpu.ts";
import { helperNumber } from "./helpers.ts";
import { armIndex, HANDLER, type Interpreter } from "./interpreter/generate.ts";
import { HELPER_LINK, RECORD, SHAPE, VARIANT, VECTOR_SLOT } from "./interpreter/record.ts";

/** What {@link Interpreter.handlers} says where there is no arm. */
export const NO_ARM = 0xffff;

/** Position in its word of a field of a record. */
const shiftOf = (field: number): number => (field & 3) * 8;
const OFFSET_SHIFT = shiftOf(RECORD.offset);
const LENGTH_SHIFT = shiftOf(RECORD.length);
const RB_SHIFT = shiftOf(RECORD.rb);
const BASE_SHIFT = shiftOf(RECORD.base);
const INDEX_SHIFT = shiftOf(RECORD.index);
const SEGMENT_SHIFT = shiftOf(RECORD.segment);
const COUNT_SHIFT = shiftOf(RECORD.count);
const SIZE_SHIFT = shiftOf(RECORD.size);

/**
 * Where RECORD.ra or rb of a plan come from, in its low bits: a field of ModRM, with the SLOTS row to look its number up
 * in, or a constant in the bits from CONSTANT_SHIFT on.
 */
const SOURCE = { constant: 0, rm: 1, reg: 2, mask: 3 } as const;
/** Rows of SLOTS, by what the number names. */
const NAMES = { whole: 0, byte: 8, vector: 16, plain: 24, mask: 24 } as const;
const CONSTANT_SHIFT = 8;

/** What the fields hold for register number n, at row + n. */
const SLOTS = new Uint8Array(32);
for (let n = 0; n < 8; n++) {
  SLOTS[NAMES.whole + n] = n * 8;
  SLOTS[NAMES.byte + n] = n >= 4 ? (n - 4) * 8 + 1 : n * 8;
  SLOTS[NAMES.vector + n] = n * VECTOR_SLOT;
  SLOTS[NAMES.plain + n] = n;
}
/** SLOTS has its rows at multiples of 8, above the source's bits. */
const ROW = NAMES.mask;

/** How RECORD.immediate is made of the first immediate. */
const IMMEDIATE = { plain: 0, relative: 1, word: 2 } as const;

/** What records of an encoding have in common, for an operand size. */
export interface OperationPlan {
  /** Ends its block. */
  readonly ends: boolean;
  /** Of Jcc: its condition; else -1. */
  readonly condition: number;
  readonly x87: boolean;
  /** Uses the stack or string memory besides its operands. */
  readonly implicit: boolean;
  readonly repeatable: boolean;
  /** Operand size in bytes. */
  readonly size: number;
  /** Sources of RECORD.ra and rb with register operands only, and with a memory operand. */
  readonly ra: number;
  readonly rb: number;
  readonly memoryRa: number;
  readonly memoryRb: number;
  readonly immediate: number;
  /** Index of the arm's first variant in Interpreter.handlers, or -1 when a helper carries it out. */
  readonly arm: number;
  /** Link of the helper, or 0, the native before it, and both of the repeated instruction. */
  readonly link: number;
  readonly native: number;
  readonly repeatLink: number;
  readonly repeatNative: number;
}

export class OperationWriter {
  readonly #cpu: Cpu;
  readonly #interpreter: Interpreter;
  /** By form id × 2, + 1 for an operand size of 32 bits. */
  readonly #plans: (OperationPlan | undefined)[] = new Array(FORMS.length * 2).fill(undefined);
  #undefined: OperationPlan;
  #natives = true;

  constructor(cpu: Cpu, interpreter: Interpreter) {
    this.#cpu = cpu;
    this.#interpreter = interpreter;
    this.#undefined = this.#makeUndefined();
  }

  /** False: what is written from now on leaves to helpers what natives could do; for comparing the two. */
  set natives(use: boolean) {
    this.#natives = use;
    this.#plans.fill(undefined);
    this.#undefined = this.#makeUndefined();
  }

  /** The plan for a decoded instruction. */
  plan(instruction: Instruction): OperationPlan {
    const { form, operandSize } = instruction;
    if (form === undefined) return this.#undefined;
    const index = form.id * 2 + (operandSize >> 5);
    const known = this.#plans[index];
    if (known !== undefined) return known;
    const plan = this.#makePlan(form, operandSize);
    this.#plans[index] = plan;
    return plan;
  }

  /**
   * Write the record at byte address `record` of an instruction that stands `offset` bytes into its block, as the
   * `count`th, for mode key `mode`.
   */
  write(
    plan: OperationPlan,
    instruction: Instruction,
    record: number,
    offset: number,
    length: number,
    count: number,
    mode: number,
  ): void {
    const { memory } = instruction;
    let shape = instruction.scale;
    if (instruction.address16) shape |= SHAPE.address16;
    if (memory) shape |= SHAPE.memory;
    if (instruction.override >= 0) shape |= SHAPE.override;
    let { native: handler, link } = plan;
    if (plan.repeatable && instruction.repeat !== 0) {
      shape |= instruction.repeat === 0xf2 ? SHAPE.repne : SHAPE.rep;
      handler = plan.repeatNative;
      link = plan.repeatLink;
    } else if (plan.arm >= 0) handler = this.#arm(plan, instruction, mode);
    let ra: number;
    let rb: number;
    if (plan.x87) {
      // x87 functions take ST(i) by number, and keep the opcode for FOP.
      ra = instruction.rm;
      rb = (instruction.mod << 6) | (instruction.reg << 3) | instruction.rm;
    } else {
      ra = slot(memory ? plan.memoryRa : plan.ra, instruction);
      rb = slot(memory ? plan.memoryRb : plan.rb, instruction);
    }
    let { immediate } = instruction;
    if (plan.immediate === IMMEDIATE.relative) immediate += offset + length;
    else if (plan.immediate === IMMEDIATE.word) immediate &= 0xffff;
    const { i32 } = this.#cpu;
    const word = record >> 2;
    i32[word] = handler | (offset << OFFSET_SHIFT) | (length << LENGTH_SHIFT);
    i32[word + (RECORD.ra >> 2)] =
      ra | (rb << RB_SHIFT) | (instruction.base << BASE_SHIFT) | (instruction.index << INDEX_SHIFT);
    i32[word + (RECORD.shape >> 2)] =
      shape | (instruction.segment << SEGMENT_SHIFT) | (count << COUNT_SHIFT) | (plan.size << SIZE_SHIFT);
    i32[word + (RECORD.displacement >> 2)] = memory ? instruction.displacement : instruction.immediate2;
    i32[word + (RECORD.immediate >> 2)] = immediate;
    i32[word + (RECORD.link >> 2)] = link;
  }

  /** Write the record that stands behind the `count` operations of a block, `offset` bytes into it. */
  writeEnd(record: number, offset: number, count: number): void {
    const { i32 } = this.#cpu;
    const word = record >> 2;
    i32[word] = HANDLER.end | (offset << OFFSET_SHIFT);
    i32[word + (RECORD.shape >> 2)] = count << COUNT_SHIFT;
    i32[word + (RECORD.link >> 2)] = 0;
  }

  #arm(plan: OperationPlan, instruction: Instruction, mode: number): number {
    const { segment } = instruction;
    const flat =
      (mode & MODE.flat) !== 0 &&
      !instruction.address16 &&
      (segment === SEG.DS || segment === SEG.SS || segment === SEG.ES);
    let variant: number = VARIANT.register;
    if (instruction.memory) variant = flat ? VARIANT.flat : VARIANT.general;
    else if (plan.implicit && !flat) variant = VARIANT.registerGeneral;
    const handler = this.#interpreter.handlers[plan.arm + variant]!;
    if (handler === NO_ARM)
      throw new RangeError(`${instruction.form!.row.mnemonic}: no arm for ${plan.size} bytes, variant ${variant}`);
    return handler;
  }

  #helper(name: string, argument: number, key: string): { link: number; native: number } {
    return {
      link: HELPER_LINK | helperNumber(name) | (argument << 16),
      native: (this.#natives ? this.#interpreter.natives.get(key) : undefined) ?? HANDLER.helper,
    };
  }

  #makeUndefined(): OperationPlan {
    return {
      ends: true,
      condition: -1,
      x87: false,
      implicit: false,
      repeatable: false,
      size: 0,
      ra: 0,
      rb: 0,
      memoryRa: 0,
      memoryRb: 0,
      immediate: IMMEDIATE.plain,
      arm: -1,
      ...this.#helper("undefined", 0, "undefined"),
      repeatLink: 0,
      repeatNative: HANDLER.helper,
    };
  }

  #makePlan(form: Form, instructionSize: number): OperationPlan {
    const { traits, semantics } = form.row;
    const bits = formBits(form, instructionSize);
    const size = bits >> 3;
    const argument = traits.argument ?? 0;
    const { helper } = traits;
    const own =
      helper === undefined
        ? { link: 0, native: HANDLER.helper }
        : this.#helper(helper, argument, traits.argument === undefined ? helper : `${helper}:${argument}`);
    const repeated = traits.repeat === undefined ? own : this.#helper("repeat", argument, `repeat:${argument}:${size}`);
    const [ra, rb] = registerSources(form, bits, false);
    const [memoryRa, memoryRb] = registerSources(form, bits, true);
    const first = form.operands.find((code) => /^[IJ]/.test(code));
    return {
      ends: traits.ends === true && form.branch !== "conditional",
      condition: traits.condition ?? -1,
      x87: traits.x87 !== undefined,
      implicit: traits.implicit === true,
      repeatable: traits.repeat !== undefined,
      size,
      ra,
      rb,
      memoryRa,
      memoryRb,
      immediate:
        first === "Jb" || first === "Jz"
          ? IMMEDIATE.relative
          : first === "Iz" && bits === 16
            ? IMMEDIATE.word
            : IMMEDIATE.plain,
      arm: semantics !== undefined || helper === undefined ? armIndex(form.id, bits, 0) : -1,
      link: own.link,
      native: own.native,
      repeatLink: repeated.link,
      repeatNative: repeated.native,
    };
  }
}

function slot(source: number, instruction: Instruction): number {
  const from = source & SOURCE.mask;
  if (from === SOURCE.constant) return source >> CONSTANT_SHIFT;
  return SLOTS[(source & ROW) | (from === SOURCE.rm ? instruction.rm : instruction.reg)]!;
}

/** Sources of RECORD.ra and rb: the register operands, in the order in which arms take them. */
function registerSources(form: Form, bits: number, memory: boolean): [number, number] {
  const sources: [number, number] = [0, 0];
  let at = 0;
  for (const code of form.operands) {
    const from = registerOperand(form, code, memory);
    if (from === undefined) continue;
    // Segment, control, debug and x87 registers are numbers for helpers, not slots.
    const plain = code === "Sw" || code === "STi" || code === "Cd" || code === "Dd";
    const row = VECTOR_OPERAND.test(code)
      ? NAMES.vector
      : plain
        ? NAMES.plain
        : operandBits(code, bits) === 8
          ? NAMES.byte
          : NAMES.whole;
    sources[at] =
      typeof from === "number" ? (SLOTS[row + from]! << CONSTANT_SHIFT) | SOURCE.constant : row | SOURCE[from];
    at = 1;
  }
  return sources;
}

/** The register that an operand names: a field of ModRM, or a number; undefined when it is none. */
function registerOperand(form: Form, code: string, memory: boolean): "rm" | "reg" | number | undefined {
  switch (code) {
    case "CL":
    case "CS":
    case "DS":
    case "ES":
    case "GS":
    case "SS":
    case "ST":
    case "Ap":
      return undefined;
    case "DX":
      return 2;
    case "STi":
      return "rm";
    default:
  }
  switch (code[0]) {
    case "E":
    case "W":
    case "Q":
      return memory ? undefined : "rm";
    case "R":
    case "U":
    case "N":
      return "rm";
    case "V":
    case "P":
    case "G":
    case "S":
    case "C":
    case "D":
      return "reg";
    case "Z":
      return form.opcode & 7;
    case "A":
    case "e":
      return 0;
    default:
      return undefined;
  }
}
