/** Vector registers and operands of the interpreter's arms: XMM and MMX registers in the state page. */
import type { Operand, VectorKind, VectorRegister } from "../../isa/builder.ts";
import { FPU_REGS, FPU_SIGN_EXPONENT, FPU_STRIDE, XMM_REGS, XMM_STRIDE } from "../../isa/state.ts";
import { f32, f64, type I32, type I64, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import { v128, zeroExtended } from "../../wasm/simd.ts";
import { STATE } from "../memory-map.ts";
import { VECTOR_SLOT } from "./record.ts";

/** Sign and exponent that an MMX write leaves in the x87 register it aliases (SDM 3A 12.2). */
const MMX_EXPONENT = 0xffff;

/** The register at `base` + `offset`, an expression and a constant. */
function registerAt(f: FunctionWriter, kind: VectorKind, base: () => Value, offset: number): VectorRegister {
  if (kind === "sse") {
    return {
      get: () => f.let(v128.load(base(), offset)),
      set: (value) => f.store128(base(), value, offset),
      setScalar: (value) => f.store128(base(), zeroExtended(value), offset),
      copy: (from) => f.store128(base(), from.get(), offset),
    };
  }
  const set = (value: Value): void => {
    f.store64(base(), value, offset);
    f.store16(base(), MMX_EXPONENT, offset + FPU_SIGN_EXPONENT);
  };
  return {
    get: () => f.let(i64.load(base(), offset)),
    set,
    copy: (from) => set(from.get()),
    setScalar: () => {
      throw new TypeError("an MMX register has no lanes to clear");
    },
  };
}

/** Register `number` of the state page at `state`. */
export function vectorRegister(f: FunctionWriter, kind: VectorKind, state: Value, number: number): VectorRegister {
  const offset = kind === "sse" ? XMM_REGS + number * XMM_STRIDE : FPU_REGS + number * FPU_STRIDE;
  return registerAt(f, kind, () => state, offset);
}

/** An operand that is the register whose slot the record's byte `field` holds, or its low `bits` bits. */
export function vectorOperand(f: FunctionWriter, pc: Value, field: number, kind: VectorKind, bits: number): Operand {
  const stride = kind === "sse" ? XMM_STRIDE : FPU_STRIDE;
  const base = (): Value => i32.mul(i32.load8u(pc, field), stride / VECTOR_SLOT);
  const offset = STATE + (kind === "sse" ? XMM_REGS : FPU_REGS);
  const vector = registerAt(f, kind, base, offset);
  const whole = bits === (kind === "sse" ? 128 : 64);
  return {
    bits,
    memory: false,
    vector,
    read: () => {
      if (whole) return vector.get();
      if (bits === 64) return f.let(i64.load(base(), offset));
      return f.let(bits === 16 ? i32.load16u(base(), offset) : i32.load(base(), offset));
    },
    write: (value) => {
      if (whole) vector.set(value as Value);
      else if (bits === 64) f.store64(base(), value as I64, offset);
      else f.store32(base(), value as I32, offset);
    },
    readFloat: () => f.let(bits === 64 ? f64.load(base(), offset) : f32.load(base(), offset)),
    writeFloat: (value) => f.storeFloat(base(), value, offset),
    address: noAddress,
    readAt: noAddress,
  };
}

function noAddress(): never {
  throw new TypeError("operand has no address");
}
