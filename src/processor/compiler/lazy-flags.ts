/**
 * Makes the lazy pair of flags.ts from a flag operation that is known only at run time: two functions of the interpreter
 * module, (kind, a, r, c) each, written from the one definition in flags.ts for every operation and size.
 */
import { FLAG_OP, FLAG_SELECTOR_BITS, type FlagOp, flagKind, lazyPairOfKind } from "../../isa/flags.ts";
import { i32, type Value } from "../../wasm/expression.ts";
import { FunctionWriter, type Label } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";

export interface LazyFlagFunctions {
  /** (kind, a, r, c) → the result half. */
  readonly result: FunctionReference;
  /** (kind, a, r, c) → the carry half. */
  readonly carry: FunctionReference;
}

/** Names under which the interpreter module exports the two. */
export const LAZY_FLAGS = { result: "flagsResult", carry: "flagsCarry" } as const;

export function defineLazyFlags(module: ModuleWriter): LazyFlagFunctions {
  const type = { params: ["i32", "i32", "i32", "i32"], results: ["i32"] } as const;
  const functions = { result: module.declare(type, LAZY_FLAGS.result), carry: module.declare(type, LAZY_FLAGS.carry) };
  for (const [half, reference] of [functions.result, functions.carry].entries()) {
    const f = new FunctionWriter(type);
    const [kind, a, r, c] = f.params.map((param) => param.get) as [Value, Value, Value, Value];
    const cases = (Object.keys(FLAG_OP) as FlagOp[]).flatMap((op) =>
      [8, 16, 32].map((bits) => ({ selector: flagKind(op, bits), op, bits })),
    );
    const labels: Label[] = [];
    const open = (index: number): void => {
      if (index < 0) {
        const table = Array.from(
          { length: 1 << FLAG_SELECTOR_BITS },
          (_, selector) => labels[cases.findIndex((entry) => entry.selector === selector)] ?? labels[0]!,
        );
        f.brTable(i32.and(kind, (1 << FLAG_SELECTOR_BITS) - 1), table, labels[0]!);
        return;
      }
      f.block((label) => {
        labels[index] = label;
        open(index - 1);
      });
      const { op, bits } = cases[index]!;
      f.return(lazyPairOfKind(op, bits, kind, a, r, c)[half]!);
    };
    open(cases.length - 1);
    f.unreachable();
    module.define(reference, f.finish(), f.relocations);
  }
  return functions;
}
