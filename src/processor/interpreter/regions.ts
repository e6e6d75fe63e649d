/**
 * Entry into compiled regions from the interpreter, and from one region into the next: a small loop, apart from the
 * dispatch loop, that calls through the function table for as long as regions name code to go on with.
 */
import { FIELD, type FieldName } from "../../isa/state.ts";
import { call, callIndirect, i32, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import type { LazyFlagFunctions } from "../compiler/lazy-flags.ts";
import { REGION_ENTRIES, STATE } from "../memory-map.ts";
import { CODE_REF } from "./record.ts";

/** Name under which the interpreter module exports (slot, record) → STATUS: call an arm that stands outside the loop. */
export const ARM_EXPORT = "arm";
/** Name of the exported function table. */
export const TABLE_EXPORT = "table";

const field = (name: FieldName): Value => i32.load(STATE, FIELD[name].offset);

/** Define (code) → NEXT, never a code reference. */
export function defineRegions(module: ModuleWriter, flags: LazyFlagFunctions): FunctionReference {
  const type = { params: ["i32"], results: ["i32"] } as const;
  const reference = module.declare(type);
  const f = new FunctionWriter(type);
  const code = f.params[0]!;
  f.loop((again) => {
    const slot = f.let(i32.shrU(code.get, CODE_REF.slotShift));
    const counter = f.let(i32.shl(slot, 2));
    f.store32(counter, i32.add(i32.load(counter, REGION_ENTRIES), 1), REGION_ENTRIES);
    f.set(code, callIndirect(module.type(type), "i32", slot, code.get));
    f.brIf(i32.gtS(code.get, 0), again);
  });
  // Nobody else knows flags by their operands.
  f.if(field("flagsKind"), () => {
    const args = [field("flagsKind"), field("flagsOperand"), field("flagsResult"), field("flagsCarry")];
    const result = f.let(call(flags.result, ...args));
    f.store32(STATE, call(flags.carry, ...args), FIELD.flagsCarry.offset);
    f.store32(STATE, result, FIELD.flagsResult.offset);
    f.store32(STATE, 0, FIELD.flagsKind.offset);
  });
  f.result(code.get);
  module.define(reference, f.finish());
  const arm = module.declare({ params: ["i32", "i32"], results: ["i32"] }, ARM_EXPORT);
  const a = new FunctionWriter(arm.type);
  a.result(callIndirect(module.type(type), "i32", a.params[0]!.get, a.params[1]!.get));
  module.define(arm, a.finish());
  return reference;
}
