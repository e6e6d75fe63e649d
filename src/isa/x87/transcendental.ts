/** The eight transcendental instructions' helpers together; they share the 128-bit arithmetic. */
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { defineArctangent } from "./arctangent.ts";
import { definePowerMinusOne } from "./exponential.ts";
import { defineLogarithmic, type Logarithmic } from "./logarithmic.ts";
import type { Operands } from "./operands.ts";
import type { Rounding } from "./round.ts";
import { defineTrigonometric, type Trigonometric } from "./trigonometric.ts";
import { defineWide } from "./wide.ts";

export interface Transcendental extends Trigonometric, Logarithmic {
  /** (s, destination, signExponent, significand, fcw) → flags: 2^x - 1. */
  readonly powerMinusOne: FunctionReference;
  /** (s, destination, ySE, ySig, xSE, xSig, fcw) → flags: the angle of (x, y). */
  readonly arctangent: FunctionReference;
}

/** Define all of them in `module`. */
export function defineTranscendental(module: ModuleWriter, operands: Operands, rounding: Rounding): Transcendental {
  const arithmetic = defineWide(module);
  return {
    ...defineTrigonometric(module, operands, rounding, arithmetic),
    ...defineLogarithmic(module, operands, rounding, arithmetic),
    powerMinusOne: definePowerMinusOne(module, operands, rounding, arithmetic),
    arctangent: defineArctangent(module, operands, rounding, arithmetic),
  };
}
