/** `vmxon list` and `vmxon save`: verbs for domains that other commands run, found by their control sockets. */
import { resolve } from "node:path";
import { VmxonError } from "../common/errors.ts";
import { callControl, controlSockets } from "../toolstack/node/control.ts";
import type { DomainInfo } from "./control-methods.ts";
import { EXIT } from "./exit-status.ts";
import { helpText } from "./help.ts";

interface RunningDomain extends DomainInfo {
  readonly id: number;
  readonly path: string;
}

/** Every domain that answers; a socket without a process is nobody's. */
async function runningDomains(): Promise<RunningDomain[]> {
  const found = await Promise.all(
    (await controlSockets()).map(async ({ id, path }) => {
      const info = (await callControl(path, "list").catch(() => undefined)) as DomainInfo | undefined;
      return info && { ...info, id, path };
    }),
  );
  return found.filter((domain) => domain !== undefined);
}

/** The domain of that number or name. Rejects with VmxonError("usage") that lists what there is. */
async function domainCalled(word: string): Promise<RunningDomain> {
  const domains = await runningDomains();
  const named = domains.filter(({ name, id }) => name === word || String(id) === word);
  if (named.length === 1) return named[0]!;
  if (named.length > 1) {
    const ids = named.map(({ id }) => id).join(", ");
    throw new VmxonError("usage", `several domains are called ${word}; say which by its number: ${ids}`);
  }
  throw new VmxonError(
    "usage",
    domains.length === 0
      ? `there is no domain ${word}: none is running`
      : `there is no domain ${word}. Running: ${domains.map(({ name, id }) => `${name} (${id})`).join(", ")}`,
  );
}

/** State letters as xl shows them: running, blocked, paused, shut down, crashed, dying. */
const STATE_LETTERS: Readonly<Record<DomainInfo["state"], string>> = {
  created: "------",
  running: "r-----",
  paused: "--p---",
  stopped: "---s--",
};

/** `vmxon list`: the columns of `xl list`. */
export async function list(args: readonly string[]): Promise<number> {
  if (args.length > 0) {
    process.stdout.write(`${helpText("list")}\n`);
    return args.every((word) => word === "--help" || word === "-h") ? EXIT.ok : EXIT.usage;
  }
  const lines = ["Name                                        ID   Mem VCPUs\tState\tTime(s)"];
  for (const { name, id, memory, vcpus, state, time } of await runningDomains()) {
    const columns = [name.padEnd(40), String(id).padStart(5), String(memory).padStart(5), String(vcpus).padStart(5)];
    lines.push(`${columns.join(" ")}     ${STATE_LETTERS[state]}  ${time.toFixed(1).padStart(8)}`);
  }
  process.stdout.write(`${lines.join("\n")}\n`);
  return EXIT.ok;
}

/** What becomes of a saved domain, by xl's options. */
const AFTERWARDS: Readonly<Record<string, string>> = { "-c": "continue", "-p": "pause" };

/** `vmxon save`. */
export async function save(args: readonly string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${helpText("save")}\n`);
    return EXIT.ok;
  }
  const options = args.filter((word) => word.startsWith("-"));
  const [domain, file, ...others] = args.filter((word) => !word.startsWith("-"));
  for (const option of options)
    if (!AFTERWARDS[option]) throw new VmxonError("usage", `unknown option ${option}. Type: vmxon help save`);
  if (domain === undefined || file === undefined || others.length > 0)
    throw new VmxonError("usage", "name a domain and a file. Type: vmxon save DOMAIN FILE (vmxon list shows domains)");
  const { path } = await domainCalled(domain);
  await callControl(path, "save", { file: resolve(file), afterwards: AFTERWARDS[options[0] ?? ""] ?? "destroy" });
  return EXIT.ok;
}
