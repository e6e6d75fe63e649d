/**
 * Functions that vector instructions call in every engine. The interpreter's module defines them and exports each under
 * its name, so that compiled modules import them.
 */
import type { FunctionReference, FunctionType, ModuleWriter } from "../../wasm/module.ts";

/** Types of the functions, by name. The first parameter is the state page's address. */
export const RUNTIME = {} as const satisfies Readonly<Record<string, FunctionType>>;

export type RuntimeName = keyof typeof RUNTIME;

/** The functions of one module. */
export type Runtime = Readonly<Record<RuntimeName, FunctionReference>>;

/** Define all of them in `module`. */
export function defineRuntime(_module: ModuleWriter): Runtime {
  return {};
}
