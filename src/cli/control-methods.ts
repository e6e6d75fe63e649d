/** What other commands can ask of the domain that this process runs: the methods of its control socket. */
import { isAbsolute } from "node:path";
import { VmxonError } from "../common/errors.ts";
import type { Domain } from "../toolstack/domain.ts";
import { type ControlServer, serveControl } from "../toolstack/node/control.ts";
import { writeSaveFile } from "../toolstack/node/save-file.ts";
import { versionText } from "./version.ts";

/** What `list` answers. */
export interface DomainInfo {
  readonly name: string;
  readonly state: Domain["state"];
  /** MiB. */
  readonly memory: number;
  readonly vcpus: number;
  /** Seconds that its process computed. */
  readonly time: number;
  readonly pid: number;
}

const AFTERWARDS = ["destroy", "continue", "pause"] as const;

/** Open the control socket of a domain; without one it runs all the same, and `notice` says why. */
export async function offerControl(
  domain: Domain,
  notice: (message: string) => void,
): Promise<ControlServer | undefined> {
  const methods = {
    list: (): DomainInfo => {
      const { user, system } = process.cpuUsage();
      return {
        name: domain.name,
        state: domain.state,
        memory: domain.memory / 2 ** 20,
        vcpus: 1,
        time: (user + system) / 1e6,
        pid: process.pid,
      };
    },
    save: async ({ file, afterwards: wanted = "destroy" }: Readonly<Record<string, unknown>>) => {
      const afterwards = AFTERWARDS.find((known) => known === wanted);
      if (typeof file !== "string" || !isAbsolute(file) || !afterwards)
        throw new VmxonError("usage", "save takes an absolute file name, and what comes then");
      const size = await writeSaveFile(file, (sink) => domain.saveTo(sink, { program: versionText(), afterwards }));
      notice(`saved to ${file}`);
      return { size };
    },
  };
  try {
    return await serveControl(methods);
  } catch (error) {
    if (!(error instanceof VmxonError)) throw error;
    notice(`other commands will not find this domain: ${error.message}`);
    return undefined;
  }
}
