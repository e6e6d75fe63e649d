/** Direct kernel boot: reads kernel and ramdisks, finds out what they are, and places them when the firmware asks. */
import { VmxonError } from "../common/errors.ts";
import type { Geometry } from "../hypervisor/backend.ts";
import type { E820Entry } from "../hypervisor/initial-state.ts";
import type { ResolvedConfig } from "./config.ts";
import type { Host } from "./host.ts";
import { openSource } from "./images/open.ts";
import { probeImage } from "./images.ts";
import { loadLinux } from "./linux.ts";
import type { LoadedKernel } from "./loader.ts";
import { readAll, sourceName } from "./media-builder.ts";
import { loadMultiboot } from "./multiboot.ts";

/** What is known of the machine only when the firmware has started it. */
export interface KernelPlace {
  readonly memoryMap: readonly E820Entry[];
  readonly cursor: { readonly column: number; readonly row: number };
  readonly disks: readonly (Geometry | undefined)[];
}

/** Places the kernel; pure, and called again after each reset. */
export type KernelLoader = (place: KernelPlace) => LoadedKernel;

/** Read a configuration's kernel. Undefined when it has none; rejects with VmxonError that names the file. */
export async function openKernel(config: ResolvedConfig, host: Host): Promise<KernelLoader | undefined> {
  const { kernel: source, commandLine } = config;
  if (source === undefined) return undefined;
  const name = sourceName("kernel", source);
  const probe = await openSource(source, host, "r");
  let kind: string;
  try {
    kind = await probeImage(name, probe);
  } finally {
    await probe.close();
  }
  const kernel = await readAll(source, host);
  const ramdisks = await Promise.all(
    config.ramdisk.map(async (item) => ({
      bytes: await readAll(item, host),
      commandLine: sourceName("ramdisk", item),
    })),
  );
  if (kind === "multiboot") {
    return ({ memoryMap }) => loadMultiboot({ name, kernel, modules: ramdisks, commandLine, memoryMap });
  }
  if (kind !== "linux") {
    throw new VmxonError("kernel", `${name} is no kernel but a ${kind} image. Boot it with: vmxon run ${name}`);
  }
  if (ramdisks.length > 1) throw new VmxonError("config", "Linux takes one ramdisk; join them: cat A B > BOTH");
  const ramdisk = ramdisks[0]?.bytes;
  return ({ memoryMap, cursor, disks }) =>
    loadLinux({ name, kernel, commandLine, memoryMap, cursor, disks, ...(ramdisk && { ramdisk }) });
}
