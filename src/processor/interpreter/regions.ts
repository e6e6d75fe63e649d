/**
 * Entry into compiled regions from the interpreter, and from one region into the next: a small loop, apart from the
 * dispatch loop, that calls through the function table for as long as regions name code to go on with.
 */
import { FIELD, type FieldName } from "../../isa/state.ts";
import { call, callIndirect, i32, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import type { LazyFlagFunctions } from "../compiler/lazy-flags.ts";
import {
  EXECUTE_TABLE,
  mappingEpoch,
  REGION,
  REGION_PAGE,
  REGION_PAGE_SHIFT,
  REGION_SHIFT,
  REGIONS,
  SHADOW,
  STATE,
  USER_TABLES,
} from "../memory-map.ts";
import { hostAddress } from "../shadow.ts";
import { CODE_REF } from "./record.ts";

/** Name under which the interpreter module exports (slot, record) → STATUS: call an arm that stands outside the loop. */
export const ARM_EXPORT = "arm";
/**
 * Names of the exported (code, eip) → 1 if all pages of the region that `code` refers to are mapped as it was compiled
 * for, with `eip` on the page that `code` names, else 0; for each privilege.
 */
export const VERIFY_EXPORTS = { supervisor: "verifySupervisor", user: "verifyUser" } as const;
/** Name of the exported function table. */
export const TABLE_EXPORT = "table";

const PAGE_MASK = -4096;

const field = (name: FieldName): Value => i32.load(STATE, FIELD[name].offset);

/** Define (code) → NEXT, never a code reference. */
export function defineRegions(module: ModuleWriter, flags: LazyFlagFunctions): FunctionReference {
  const type = { params: ["i32"], results: ["i32"] } as const;
  const reference = module.declare(type);
  const f = new FunctionWriter(type);
  const code = f.params[0]!;
  f.loop((again) => {
    const slot = f.let(i32.shrU(code.get, CODE_REF.slotShift));
    const counter = f.let(i32.shl(slot, REGION_SHIFT));
    f.store32(counter, i32.add(i32.load(counter, REGIONS + REGION.entries), 1), REGIONS + REGION.entries);
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
  defineVerify(module, VERIFY_EXPORTS.supervisor, SHADOW.readSupervisor + EXECUTE_TABLE);
  defineVerify(module, VERIFY_EXPORTS.user, SHADOW.readSupervisor + USER_TABLES + EXECUTE_TABLE);
  return reference;
}

/** Address of the region's record, less {@link REGIONS}. */
export function regionRecord(code: Value): Value {
  return i32.shl(i32.shrU(code, CODE_REF.slotShift), REGION_SHIFT);
}

/** Origin of the region whose record is at `record`, if EIP lies on the page that `code` names. */
export function originOf(record: Value, code: Value, eip: Value): Value {
  const page = i32.shl(i32.and(i32.shrU(code, CODE_REF.pageShift), CODE_REF.pageMask), REGION_PAGE_SHIFT);
  const distance = i32.load(i32.add(record, page), REGIONS + REGION.pages + REGION_PAGE.distance);
  return i32.sub(i32.and(eip, PAGE_MASK), distance);
}

function defineVerify(module: ModuleWriter, name: string, executeTable: number): void {
  const reference = module.declare({ params: ["i32", "i32"], results: ["i32"] }, name);
  const f = new FunctionWriter(reference.type);
  const [code, eip] = f.params.map((p) => p.get) as [Value, Value];
  const record = f.let(regionRecord(code));
  const origin = f.let(originOf(record, code, eip));
  const at = f.temporary("i32");
  f.set(at, record);
  const end = f.let(i32.add(record, i32.shl(i32.load(record, REGIONS + REGION.pageCount), REGION_PAGE_SHIFT)));
  f.loop((again) => {
    const part = (offset: number): Value => i32.load(at.get, REGIONS + REGION.pages + offset);
    const linear = f.let(i32.add(origin, part(REGION_PAGE.distance)));
    f.if(i32.ne(hostAddress(i32.const(executeTable), linear), part(REGION_PAGE.machine)), () => f.return(0));
    f.set(at, i32.add(at.get, 1 << REGION_PAGE_SHIFT));
    f.brIf(i32.ltU(at.get, end), again);
  });
  f.store32(record, origin, REGIONS + REGION.origin);
  f.store32(record, i32.load(mappingEpoch(executeTable)), REGIONS + REGION.epoch);
  f.result(1);
  module.define(reference, f.finish());
}
