/** Name and version of the program. */
import { readFileSync } from "node:fs";

/** "vmxon 1.2.3": from the package, which lies beside the compiled code (dist/src/cli, or bundled in dist). */
export function versionText(): string {
  const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  return `vmxon ${(JSON.parse(text) as { version: string }).version}`;
}
