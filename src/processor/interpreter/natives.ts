/** All natives by the keys that the translator asks for, defined in the interpreter's module and exported from it. */
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { defineNativeFunctions, Native } from "./native.ts";
import { input, output, type PortImports } from "./native-ports.ts";
import { STATE_NATIVES } from "./native-state.ts";
import { STRING_NATIVES } from "./native-strings.ts";
import { SYSTEM_NATIVES } from "./native-system.ts";
import {
  defineDeliver,
  defineDeliverFault,
  farCall,
  farJump,
  int,
  iret,
  returnFar,
  sysenter,
  sysexit,
} from "./native-transfers.ts";
import type { SharedFunctions } from "./shared.ts";

/** Name under which the module exports the native with a key: (record) → STATUS. */
export function nativeExport(key: string): string {
  return `arm:${key}`;
}

/** What natives need from the module, besides being in it. */
export interface Natives {
  /** Function by key. */
  readonly arms: ReadonlyMap<string, FunctionReference>;
  /** (EIP) → 1 when the fault noted in the state page was delivered, 0 when nothing was done. */
  readonly deliverFault: FunctionReference;
}

/** Write every native. Keys are a helper's name, `name:argument`, or `repeat:kind:bytes`. */
export function defineNatives(module: ModuleWriter, shared: SharedFunctions, ports: PortImports): Natives {
  const functions = defineNativeFunctions(module, shared);
  const deliver = defineDeliver(module, shared, functions);
  const all: Readonly<Record<string, (m: Native) => void>> = {
    ...SYSTEM_NATIVES,
    ...STRING_NATIVES,
    ...STATE_NATIVES,
    in: input(ports),
    out: output(ports),
    int: int(deliver),
    iret,
    sysenter,
    sysexit,
    jumpFarPointer: farJump(false),
    jumpFarMemory: farJump(true),
    callFarPointer: farCall(false),
    callFarMemory: farCall(true),
    returnFar,
  };
  const arms = new Map<string, FunctionReference>();
  for (const [key, body] of Object.entries(all)) {
    const reference = module.declare({ params: ["i32"], results: ["i32"] }, nativeExport(key));
    const f = new FunctionWriter(reference.type);
    body(new Native(f, shared, functions));
    module.define(reference, f.finish());
    arms.set(key, reference);
  }
  return { arms, deliverFault: defineDeliverFault(module, shared, functions, deliver) };
}
