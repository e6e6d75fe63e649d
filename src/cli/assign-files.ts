/** Files without an option: each is looked at, and put where its kind belongs. */
import { VmxonError } from "../common/errors.ts";
import type { DomainConfig } from "../toolstack/config.ts";
import type { Host } from "../toolstack/host.ts";
import { probeImage } from "../toolstack/images.ts";

const FLOPPY_DRIVES = ["fda", "fdb"] as const;
const DISK_DRIVES = ["hda", "hdb", "hdc", "hdd"] as const;

/** First key of `keys` that is free; throws when all are taken. */
function free<K extends keyof DomainConfig>(config: DomainConfig, keys: readonly K[], file: string, what: string): K {
  const key = keys.find((candidate) => config[candidate] === undefined);
  if (key === undefined) throw new VmxonError("usage", `${file}: there is no ${what} drive left; leave one image out.`);
  return key;
}

/** Drives for disks: the third one is the CD drive where there is one. */
function diskDrives(config: DomainConfig): readonly (typeof DISK_DRIVES)[number][] {
  return config.cdrom === undefined ? DISK_DRIVES : DISK_DRIVES.filter((drive) => drive !== "hdc");
}

/** Put each file into the configuration. Rejects with VmxonError that names the file and what is wrong with it. */
export async function assignFiles(files: readonly string[], config: DomainConfig, host: Host): Promise<void> {
  for (const file of files) {
    const backend = await host.openImage(file, "r");
    let kind: string;
    try {
      kind = await probeImage(file, backend);
    } finally {
      await backend.close();
    }
    if (kind === "floppy") config[free(config, FLOPPY_DRIVES, file, "floppy")] = file;
    else if (kind === "disk") config[free(config, diskDrives(config), file, "disk")] = file;
    else if (kind === "cdrom") {
      config[free(config, ["cdrom"], file, "CD")] = file;
      // Who names a CD wants to boot it, unless told otherwise.
      config.boot ??= "dac";
    } else if (kind !== "ramdisk") {
      if (config.kernel !== undefined)
        throw new VmxonError("usage", `${file}: a kernel was given already; leave one out.`);
      config.kernel = file;
    } else if (config.kernel !== undefined) {
      config.ramdisk ??= file;
    } else {
      throw new VmxonError(
        "image",
        `${file} is compressed or an archive. Unpack an image first; an initial ramdisk needs its kernel before it: vmxon run KERNEL ${file}`,
      );
    }
  }
}
