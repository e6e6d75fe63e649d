/**
 * Operands of instructions in compiled regions, by the interface that semantics are written against. What the operands of
 * an encoding are is worked out once for each operand size.
 */
import type { Operand, VectorKind } from "../../isa/builder.ts";
import { type Form, MEMORY_OPERAND, type OperandCode, operandBits, VECTOR_OPERAND } from "../../isa/row.ts";
import { FORMS } from "../../isa/table.ts";
import { type I32, type I64, i32, type Value } from "../../wasm/expression.ts";
import type { RegionInstruction } from "./blocks.ts";
import type { RegionBuilder } from "./region-builder.ts";

/** What an operand is. */
export type OperandPlan =
  | { readonly kind: "constant"; readonly bits: number; readonly value: number }
  /** `word`: cut to 16 bits. */
  | { readonly kind: "immediate"; readonly bits: number; readonly second: boolean; readonly word: boolean }
  | { readonly kind: "memory"; readonly bits: number; readonly access: "r" | "w" | "rw" }
  /** `field`: of ModRM; or `number`. */
  | {
      readonly kind: "register";
      readonly bits: number;
      readonly field: "rm" | "reg" | "fixed";
      readonly number: number;
    }
  | { readonly kind: VectorKind; readonly bits: number; readonly field: "rm" | "reg" };

const plans: (readonly OperandPlan[] | undefined)[] = new Array(FORMS.length * 8).fill(undefined);

/** Operands of an instruction whose form works on `bits` (8, 16 or 32) bits. */
export function operandPlans(instruction: RegionInstruction, bits: number): readonly OperandPlan[] {
  const form = instruction.form!;
  const index = form.id * 8 + (bits >> 4) * 2 + (instruction.memory ? 1 : 0);
  const known = plans[index];
  if (known !== undefined) return known;
  let immediates = 0;
  const made = form.operands.map((code, position) => {
    const second = /^[IJ]/.test(code) || code === "Ap" ? immediates++ > 0 : false;
    return planOf(form, code, position, bits, instruction.memory, second);
  });
  plans[index] = made;
  return made;
}

function planOf(
  form: Form,
  code: OperandCode,
  position: number,
  size: number,
  memory: boolean,
  second: boolean,
): OperandPlan {
  const bits = operandBits(code, size);
  if (/^[IJ]/.test(code) || code === "Ap")
    return { kind: "immediate", bits, second, word: code === "Iz" && size === 16 };
  if (code === "1" || code === "3") return { kind: "constant", bits: 8, value: Number(code) };
  if (/^[MO]/.test(code) || (memory && MEMORY_OPERAND.test(code)))
    return { kind: "memory", bits, access: position === 0 ? (form.row.traits.dst ?? "rw") : "r" };
  if (VECTOR_OPERAND.test(code))
    return { kind: /^[PQN]/.test(code) ? "mmx" : "sse", bits, field: /^[WQUN]/.test(code) ? "rm" : "reg" };
  const fixed = (number: number, width = bits): OperandPlan => ({
    kind: "register",
    bits: width,
    field: "fixed",
    number,
  });
  switch (code) {
    case "CL":
      return fixed(1, 8);
    case "DX":
      return fixed(2, 16);
    case "AL":
    case "AX":
    case "eAX":
      return fixed(0);
    default:
  }
  if (code[0] === "Z") return fixed(form.opcode & 7);
  return { kind: "register", bits, field: code[0] === "G" ? "reg" : "rm", number: 0 };
}

/** The operand that a plan describes. */
export function makeOperand(builder: RegionBuilder, instruction: RegionInstruction, plan: OperandPlan): Operand {
  switch (plan.kind) {
    case "register": {
      const { field, number } = plan;
      return builder.register(field === "fixed" ? number : instruction[field], plan.bits);
    }
    case "immediate": {
      const value = plan.second ? instruction.immediate2 : instruction.immediate;
      return new ConstantOperand(plan.word ? value & 0xffff : value, plan.bits);
    }
    case "memory":
      return builder.memory(plan.bits, plan.access);
    case "constant":
      return new ConstantOperand(plan.value, plan.bits);
    default:
      return builder.vectorOperand(plan.kind, instruction[plan.field], plan.bits);
  }
}

class ConstantOperand implements Operand {
  readonly bits: number;
  readonly memory = false;
  readonly #value: number;

  constructor(value: number, bits: number) {
    this.bits = bits;
    this.#value = value;
  }

  read(): Value {
    return i32.const(this.#value);
  }

  write(): never {
    throw new TypeError("operand is read-only");
  }

  address(): never {
    return noAddress();
  }

  readAt(): never {
    return noAddress();
  }
}

/** A general register. */
export class RegisterOperand implements Operand {
  readonly bits: number;
  readonly memory = false;
  readonly #builder: RegionBuilder;
  readonly #number: number;

  constructor(builder: RegionBuilder, number: number, bits: number) {
    this.bits = bits;
    this.#builder = builder;
    this.#number = number;
  }

  read(): Value {
    return this.#builder.readRegister(this.#number, this.bits);
  }

  write(value: I32 | I64): void {
    this.#builder.writeRegister(this.#number, this.bits, value as I32);
  }

  address(): never {
    return noAddress();
  }

  readAt(): never {
    return noAddress();
  }
}

const VECTOR_BYTES = 16;

/** A memory operand of the builder's current instruction. */
export class MemoryOperand implements Operand {
  readonly bits: number;
  readonly memory = true;
  readonly #builder: RegionBuilder;
  readonly #access: "r" | "w" | "rw";
  readonly #segment: number;
  readonly #aligned: boolean;
  #offset: Value | undefined;
  /** Host address of a read-modify-write operand, once it was read. */
  #host: Value | undefined;

  constructor(builder: RegionBuilder, bits: number, access: "r" | "w" | "rw", instruction: RegionInstruction) {
    this.bits = bits;
    this.#builder = builder;
    this.#access = access;
    this.#segment = instruction.segment;
    this.#aligned = bits === VECTOR_BYTES * 8 && !instruction.form!.row.traits.unaligned;
  }

  address(): Value {
    this.#offset ??= this.#builder.operandAddress(this.bits);
    return this.#offset;
  }

  #place(write: boolean): Value {
    // Flags first: what they were made of has just been computed.
    this.#builder.settleFlags();
    const linear = this.#builder.accesses.linear(this.address(), this.bits / 8, write, this.#segment);
    if (this.#aligned) this.#builder.checkAligned(linear, VECTOR_BYTES);
    return linear;
  }

  read(): Value {
    const { accesses, f } = this.#builder;
    const { bits } = this;
    const placed = this.#builder.planned?.memory;
    if (this.#access !== "rw") return accesses.load(this.#place(false), bits, placed);
    const host = accesses.modify(this.#place(true), bits, placed);
    this.#host = host;
    return f.let(bits === 8 ? i32.load8u(host) : bits === 16 ? i32.load16u(host) : i32.load(host));
  }

  readFloat(): Value {
    return this.#builder.accesses.loadFloat(this.#place(false), this.bits);
  }

  writeFloat(value: Value): void {
    this.#builder.accesses.storeFloat(this.#place(true), this.#builder.let(value));
  }

  write(value: I32 | I64): void {
    const { accesses } = this.#builder;
    if (this.#host) {
      accesses.storeAt(this.#host, value, this.bits);
      return;
    }
    const linear = this.#place(true);
    const ready = typeof value === "object" ? this.#builder.let(value) : value;
    accesses.store(linear, ready, this.bits, this.#builder.planned?.memory);
  }

  readAt(displacement: I32, bits: number): Value {
    const { accesses } = this.#builder;
    const at = this.#builder.wrapped(i32.add(this.address(), displacement));
    return accesses.load(accesses.linear(at, bits / 8, false, this.#segment), bits);
  }
}

function noAddress(): never {
  throw new TypeError("operand has no address");
}
