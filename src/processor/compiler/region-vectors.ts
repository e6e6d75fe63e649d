/**
 * Vector registers of compiled regions. An XMM register that the region's code names is a local; where that code is
 * scalar arithmetic, its lowest lane is a float local of its own, which costs no lane instructions.
 */
import type { Operand, VectorKind, VectorRegister } from "../../isa/builder.ts";
import { FPU_REGS, FPU_SIGN_EXPONENT, FPU_STRIDE, XMM_REGS, XMM_STRIDE } from "../../isa/state.ts";
import { f32, f64, type I32, type I64, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import { f32x4, f64x2, i16x8, i32x4, i64x2, v128, withLowest, zeroExtended } from "../../wasm/simd.ts";
import { STATE } from "../memory-map.ts";
import type { RegionContext } from "./region-context.ts";

/** What an MMX write puts into sign and exponent (SDM 3A 12.2). */
const MMX_EXPONENT = 0xffff;
const XMM_BITS = 128;
const MMX_BITS = 64;

/** What most of the code does with an XMM register: it decides how the register is kept. */
export type VectorUse = "whole" | "f32" | "f64";

const LANES = { f32: f32x4, f64: f64x2 } as const;

/** An XMM register in locals. */
export class VectorLocal implements VectorRegister {
  /** Bits of the lowest lane that is known to be no denormal number, 0 for none: see Builder.isOrdinary. */
  ordinary = 0;
  readonly #f: FunctionWriter;
  readonly #offset: number;
  /** The register, but for the lowest lane where that is kept by itself. */
  readonly #whole: Local;
  readonly #low: Local | undefined;
  readonly #lane: "f32" | "f64";

  /** Register `number`. */
  constructor(f: FunctionWriter, number: number, use: VectorUse) {
    this.#f = f;
    this.#offset = XMM_REGS + number * XMM_STRIDE;
    this.#whole = f.local("v128");
    this.#low = use === "whole" ? undefined : f.local(use);
    this.#lane = use === "f32" ? "f32" : "f64";
  }

  /** From the state page. */
  load(): void {
    this.#f.set(this.#whole, v128.load(STATE, this.#offset));
    this.#split();
  }

  /** To the state page. */
  store(): void {
    this.#f.store128(STATE, this.#merged(), this.#offset);
  }

  #split(): void {
    if (this.#low) this.#f.set(this.#low, LANES[this.#lane].extract(this.#whole.get, 0));
  }

  #merged(): Value {
    return this.#low ? LANES[this.#lane].replace(this.#whole.get, 0, this.#low.get) : this.#whole.get;
  }

  get(): Value {
    // What is read is copied: it must not change when the register does.
    return this.#f.let(this.#merged());
  }

  set(value: Value): void {
    this.#f.set(this.#whole, value);
    this.#split();
    this.ordinary = 0;
  }

  setScalar(value: Value): void {
    const low = this.#asLow(value);
    if (low) {
      this.#f.set(this.#whole, v128.const(0n));
      this.#f.set(this.#low!, low);
      this.ordinary = 0;
    } else this.set(zeroExtended(value));
  }

  copy(from: VectorRegister): void {
    if (!(from instanceof VectorLocal) || this.#low?.type !== from.#low?.type) {
      this.set(from.get());
      return;
    }
    this.#f.set(this.#whole, from.#whole.get);
    if (this.#low) this.#f.set(this.#low, from.#low!.get);
    this.ordinary = from.ordinary;
  }

  /** The lowest 32 or 64 bits as a float: to be used before the register changes. */
  readFloat(bits: number): Value {
    const low = this.#low;
    if (bits === 64) {
      return low?.type === "f64" ? low.get : f64x2.extract(this.#merged(), 0);
    }
    if (!low) return f32x4.extract(this.#whole.get, 0);
    return low.type === "f32" ? low.get : f32.reinterpret(i32.wrap(i64.reinterpret(low.get)));
  }

  /** The lowest 16, 32 or 64 bits. */
  readBits(bits: number): Value {
    const low = this.#low;
    if (bits === 64) return low?.type === "f64" ? i64.reinterpret(low.get) : i64x2.extract(this.#merged(), 0);
    if (bits === 16) return i16x8.extractU(this.#merged(), 0);
    if (!low) return i32x4.extract(this.#whole.get, 0);
    return low.type === "f32" ? f32.bits(low.get) : i32.wrap(i64.reinterpret(low.get));
  }

  /** Replace the lowest lanes by a value of 32 or 64 bits, integer or float. */
  writeLow(value: Value): void {
    const low = this.#asLow(value);
    if (low) {
      this.#f.set(this.#low!, low);
      this.ordinary = 0;
    } else this.set(withLowest(this.#merged(), value));
  }

  /** A value of the lane's size as a float; undefined if it is not, or the lane is not kept by itself. */
  #asLow(value: Value): Value | undefined {
    if (!this.#low) return undefined;
    const type = value.type === "i64" ? "f64" : value.type === "i32" ? "f32" : value.type;
    if (type !== this.#low.type) return undefined;
    if (value.type === type) return value;
    return type === "f64" ? f64.reinterpret(value) : f32.reinterpret(value);
  }
}

/** A vector register in the state page. */
class StateVector implements VectorRegister {
  readonly #context: RegionContext;
  readonly #kind: VectorKind;
  readonly #offset: number;

  constructor(context: RegionContext, kind: VectorKind, offset: number) {
    this.#context = context;
    this.#kind = kind;
    this.#offset = offset;
  }

  get(): Value {
    const { f } = this.#context;
    return f.let(this.#kind === "sse" ? v128.load(STATE, this.#offset) : i64.load(STATE, this.#offset));
  }

  set(value: Value): void {
    const { f } = this.#context;
    if (this.#kind === "sse") {
      f.store128(STATE, value, this.#offset);
      return;
    }
    f.store64(STATE, value, this.#offset);
    f.store16(STATE, MMX_EXPONENT, this.#offset + FPU_SIGN_EXPONENT);
  }

  setScalar(value: Value): void {
    this.set(zeroExtended(value));
  }

  copy(from: VectorRegister): void {
    this.set(from.get());
  }
}

/** Where a vector register stands in the state page. */
function stateOffset(kind: VectorKind, number: number): number {
  return kind === "sse" ? XMM_REGS + number * XMM_STRIDE : FPU_REGS + number * FPU_STRIDE;
}

/** A whole vector register. */
export function vectorRegister(context: RegionContext, kind: VectorKind, number: number): VectorRegister {
  const local = kind === "sse" ? context.vectors.get(number) : undefined;
  return local ?? new StateVector(context, kind, stateOffset(kind, number));
}

/** A vector register, or the lowest `bits` bits of one. */
export class VectorOperand implements Operand {
  readonly bits: number;
  readonly memory = false;
  readonly vector: VectorRegister;
  /** It, where it is kept in locals. */
  readonly local: VectorLocal | undefined;
  readonly #context: RegionContext;
  readonly #whole: boolean;
  readonly #offset: number;

  constructor(context: RegionContext, kind: VectorKind, number: number, bits: number) {
    this.bits = bits;
    this.vector = vectorRegister(context, kind, number);
    this.local = kind === "sse" ? context.vectors.get(number) : undefined;
    this.#context = context;
    this.#whole = bits === (kind === "sse" ? XMM_BITS : MMX_BITS);
    this.#offset = stateOffset(kind, number);
  }

  read(): Value {
    const { f } = this.#context;
    const { bits } = this;
    if (this.#whole) return this.vector.get();
    if (this.local) return f.let(this.local.readBits(bits));
    if (bits === 64) return f.let(i64.load(STATE, this.#offset));
    return f.let(bits === 16 ? i32.load16u(STATE, this.#offset) : i32.load(STATE, this.#offset));
  }

  readFloat(): Value {
    if (this.local) return this.local.readFloat(this.bits);
    return this.bits === 64 ? f64.reinterpret(this.read()) : f32.reinterpret(this.read());
  }

  write(value: I32 | I64): void {
    const { f } = this.#context;
    const { bits } = this;
    if (this.#whole) this.vector.set(value as Value);
    else if (this.local) this.local.writeLow(bits === 64 ? i64.const(value as I64) : i32.const(value as I32));
    else if (bits === 64) f.store64(STATE, value as I64, this.#offset);
    else f.store32(STATE, value as I32, this.#offset);
  }

  writeFloat(value: Value): void {
    if (this.local) this.local.writeLow(value);
    else this.write(this.bits === 64 ? i64.reinterpret(value) : f32.bits(value));
  }

  address(): never {
    return noAddress();
  }

  readAt(): never {
    return noAddress();
  }
}

function noAddress(): never {
  throw new TypeError("operand has no address");
}
