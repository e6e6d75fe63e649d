/** The interpreter as the build generated it. Bundles of the command have another module in place of this one. */
import type { Interpreter } from "./generate.ts";

/** An interpreter that need not be generated, if the program was bundled with one. */
export function preparedInterpreter(): Interpreter | undefined {
  return undefined;
}
