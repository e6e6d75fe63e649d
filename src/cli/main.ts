/** The command `vmxon`: finds the verb, runs it, and turns errors into a sentence and an exit status. */
import { existsSync } from "node:fs";
import { VmxonError } from "../common/errors.ts";
import { didYouMean } from "../toolstack/suggest.ts";
import { EXIT } from "./exit-status.ts";
import { HELP_TOPICS, helpText } from "./help.ts";
import { versionText } from "./version.ts";

const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  // Loaded when they are wanted, so that help and mistakes are answered at once.
  run: async (args) => (await import("./run.ts")).run(args),
  image: async (args) => (await import("./image.ts")).image(args),
  save: async (args) => (await import("./domains.ts")).save(args),
  restore: async (args) => (await import("./restore.ts")).restore(args),
  list: async (args) => (await import("./domains.ts")).list(args),
  disasm: async (args) => (await import("./disasm.ts")).disasm(args),
  help: async ([topic]) => {
    const text = helpText(topic);
    if (text === undefined) {
      throw new VmxonError(
        "usage",
        `no help on "${topic}".${didYouMean(topic!, HELP_TOPICS)} There is: vmxon help ${HELP_TOPICS.join("|")}`,
      );
    }
    process.stdout.write(`${text}\n`);
    return EXIT.ok;
  },
  version: async () => {
    process.stdout.write(`${versionText()}\n`);
    return EXIT.ok;
  },
};

const ALIASES: Readonly<Record<string, string>> = {
  "--help": "help",
  "-h": "help",
  "--version": "version",
  "-V": "version",
};

/** Errors of these codes are the command line's: exit status 2. */
const USAGE_CODES: ReadonlySet<string> = new Set(["usage", "config"]);

/** Run a command line (without node and script); the exit status. Never rejects. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const [word, ...rest] = args;
    if (word === undefined) {
      process.stderr.write(`${helpText(undefined)}\n`);
      return EXIT.usage;
    }
    const command = COMMANDS[ALIASES[word] ?? word];
    if (!command) {
      if (existsSync(word)) throw new VmxonError("usage", `to boot ${word}, type: vmxon run ${args.join(" ")}`);
      throw new VmxonError(
        "usage",
        `unknown command "${word}".${didYouMean(word, Object.keys(COMMANDS))} Type: vmxon help`,
      );
    }
    return await command(rest);
  } catch (error) {
    if (!(error instanceof VmxonError)) {
      process.stderr.write(`vmxon: internal error: ${error instanceof Error ? error.stack : String(error)}\n`);
      return EXIT.failed;
    }
    process.stderr.write(`vmxon: ${error.message}\n`);
    return USAGE_CODES.has(error.code) ? EXIT.usage : EXIT.failed;
  }
}
