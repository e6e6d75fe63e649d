/** Finds the test material that is kept beside the checkout and not in it. Tests skip where it is missing. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkoutPath } from "./checkout.ts";

/** Path of a shared file or folder (`../shared` of the checkout), or undefined when it does not exist. */
export function sharedPath(...parts: string[]): string | undefined {
  const path = join(checkoutPath(), "..", "shared", ...parts);
  return existsSync(path) ? path : undefined;
}
