/** Puts the x87 together: the shared functions and one function per row, in a module that the caller owns. */
import type { Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { defineArithmetic } from "./arithmetic.ts";
import { defineComparison } from "./compare.ts";
import { defineDecimal } from "./decimal.ts";
import { define } from "./emit.ts";
import { EXACT, FAST, type FastName, fastExport, writeFast } from "./fast.ts";
import { defineOperands } from "./operands.ts";
import { defineExponentOperations } from "./remainder.ts";
import { defineRounding } from "./round.ts";
import { type Kernel, parametersOf, type X87Row } from "./row.ts";
import { X87_ROWS } from "./rows.ts";
import { defineStack } from "./stack.ts";
import { defineTranscendental } from "./transcendental.ts";

/** The generated function of one row. */
export interface X87Function {
  readonly row: X87Row;
  /** Parameters as `parametersOf(row)`; returns a STATUS. */
  readonly run: FunctionReference;
  /** For memory writes: (s), to be called once the store has succeeded. */
  readonly commit?: FunctionReference;
}

/** Functions by row; rows for environment and state blocks have none. */
export type X87Functions = ReadonlyMap<X87Row, X87Function>;

/** Name under which a row's function is exported when `defineX87` is asked to. */
export function exportName(row: X87Row): string {
  return `${row.mnemonic} ${row.opcode.toString(16)}/${row.reg}${row.rm === undefined ? "" : `/${row.rm}`} ${row.mod}`;
}

/** Names of the commit functions when exported. */
export const COMMIT_EXPORT = { keep: "commit", pop: "commit and pop" } as const;

/** Define and export the functions of fast.ts, for a state page at `state`. */
function defineFast(module: ModuleWriter, kernel: Kernel, state: Value): void {
  const names = Object.keys(FAST) as FastName[];
  const references = new Map(names.map((name) => [name, module.declare(FAST[name].type, fastExport(name))]));
  for (const [name, reference] of references) {
    const f = new FunctionWriter(reference.type);
    writeFast(name, {
      f,
      s: state,
      exact: (exact) => EXACT[exact].pick(kernel),
      fast: (other) => references.get(other)!,
    });
    module.define(reference, f.finish(), f.relocations, f.unlikelyPlaces);
  }
}

/**
 * Define all functions in `module`, which must have its imports declared, the memory among them.
 * @param exported export the rows' functions by {@link exportName}, for tests that call them from JavaScript.
 */
export function defineX87(module: ModuleWriter, exported = false, state?: Value): X87Functions {
  const rounding = defineRounding(module);
  const operands = defineOperands(module);
  const stack = defineStack(module, exported ? COMMIT_EXPORT : {});
  const kernel: Kernel = {
    arithmetic: defineArithmetic(module, operands, rounding),
    comparison: defineComparison(module),
    decimal: defineDecimal(module, rounding),
    exponents: defineExponentOperations(module, operands, rounding),
    operands,
    rounding,
    stack,
    transcendental: defineTranscendental(module, operands, rounding),
  };
  for (const [name, { pick }] of Object.entries(EXACT)) module.exportFunction(pick(kernel), name);
  if (state) defineFast(module, kernel, state);
  const commits = { keep: stack.commit, pop: stack.commitPop, none: undefined };
  const functions = new Map<X87Row, X87Function>();
  for (const row of X87_ROWS) {
    const { semantics } = row;
    if (semantics === undefined) continue;
    const run = define(
      module,
      parametersOf(row),
      "i32",
      (f, s, ...rest) => semantics(kernel, f, s, ...rest),
      exported ? exportName(row) : undefined,
    );
    const commit = commits[row.commit ?? "none"];
    functions.set(row, commit === undefined ? { row, run } : { row, run, commit });
  }
  return functions;
}
