/** The eight transcendental instructions' helpers together; they share the 128-bit arithmetic. */
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { defineArctangent } from "./arctangent.ts";
import { defineLogarithmic, type Logarithmic } from "./logarithmic.ts";
import type { Operands } from "./operands.ts";
import type { Rounding } from "./round.ts";
import { defineTrigonometric, type Trigonometric } from "./trigonometric.ts";
import { defineWide } from "./wide.ts";

export interface Transcendental extends Trigonometric, Logarithmic {
  /** (s, destination, ySE, ySig, xSE, xSig, fcw) → flags: the angle of (x, y). */
  readonly arctangent: FunctionReference;
}

/** Define all of them in `module`; `add` is the 80-bit addition. */
export function defineTranscendental(
  module: ModuleWriter,
  operands: Operands,
  rounding: Rounding,
  add: FunctionReference,
): Transcendental {
  const arithmetic = defineWide(module);
  return {
    ...defineTrigonometric(module, operands, rounding, arithmetic),
    ...defineLogarithmic(module, operands, rounding, arithmetic, add),
    arctangent: defineArctangent(module, operands, rounding, arithmetic),
  };
}
