/** Finds files of the checkout from compiled tests, wherever those were written. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Path of a file or folder of the checkout: of the working directory's, or the one the compiled tests lie in. */
export function checkoutPath(...parts: string[]): string {
  const compiledInto = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
  const root = existsSync(join(process.cwd(), "tests", "oracle")) ? process.cwd() : compiledInto;
  return join(root, ...parts);
}
