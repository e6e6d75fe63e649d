/** `vmxon restore`: makes a domain again from a file that `vmxon save` wrote, and goes on as `vmxon run` does. */
import { existsSync } from "node:fs";
import { VmxonError } from "../common/errors.ts";
import { Domain } from "../toolstack/domain.ts";
import { openSaveFile } from "../toolstack/node/save-file.ts";
import { SavedDomain } from "../toolstack/saved/restore.ts";
import { EXIT } from "./exit-status.ts";
import { helpText } from "./help.ts";
import { parseRunOptions } from "./options.ts";
import { play } from "./run.ts";

const FORCE = "--force";

/** Restore a domain and run it to its end; the exit status. */
export async function restore(args: readonly string[]): Promise<number> {
  const options = parseRunOptions(
    args.filter((word) => word !== FORCE),
    existsSync,
  );
  if (options.help) {
    process.stdout.write(`${helpText("restore")}\n`);
    return EXIT.ok;
  }
  const [file, ...others] = options.files;
  if (file === undefined || others.length > 0)
    throw new VmxonError("usage", "name one saved domain. Type: vmxon restore FILE");
  if (options.nographic) options.config.serial ??= "stdio";
  const saved = await SavedDomain.open(await openSaveFile(file), {
    config: options.config,
    force: args.includes(FORCE),
  }).catch((error: unknown) => {
    if (error instanceof VmxonError && error.code === "state")
      throw new VmxonError("state", `${file}: ${error.message}`, { cause: error });
    throw error;
  });
  // Where the serial line has the terminal there is no screen.
  if (saved.config.serial.includes("stdio")) options.nographic = true;
  return play(options, saved.given, (host) => Domain.restore(saved, { host }));
}
