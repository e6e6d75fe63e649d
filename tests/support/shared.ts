/** Finds the test material that is kept beside the checkout and not in it. Tests skip where it is missing. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout: the working directory when its package.json is there, or where the compiled tests lie. */
export function checkoutPath(...parts: string[]): string {
  const compiled = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
  const root = existsSync(join(process.cwd(), "tests", "oracle")) ? process.cwd() : compiled;
  return join(root, ...parts);
}

/** Path of a shared file or folder (`../shared` of the checkout), or undefined when it does not exist. */
export function sharedPath(...parts: string[]): string | undefined {
  const path = join(checkoutPath(), "..", "shared", ...parts);
  return existsSync(path) ? path : undefined;
}
