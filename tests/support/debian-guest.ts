/**
 * Debian's kernel with the drivers of its disks and a busybox, as `scripts/debian.mjs` keeps them once it has fetched them:
 * a system in an initial ramdisk that offers a shell on the serial line.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type CpioEntry, writeCpio } from "../../src/toolstack/cpio.ts";

/** The order in which the drivers can be loaded, the last of them finding the disks. */
const MODULES = [
  "scsi_common",
  "scsi_mod",
  "crct10dif_common",
  "crc-t10dif",
  "crc64",
  "crc64-rocksoft",
  "t10-pi",
  "sd_mod",
  "cdrom",
  "sr_mod",
  "isofs",
  "libata",
  "ata_piix",
] as const;

/** What the shell says when it is there, and then asks with. */
export const READY = "DISKS READY";
export const COMMAND_LINE = "console=ttyS0 quiet";

const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/bin
for module in ${MODULES.join(" ")}; do insmod /modules/$module.ko; done
# Drives are found in threads of the kernel's: the last word of each is that it is attached.
for second in 1 2 3 4 5 6 7 8; do
  [ $(ls /sys/class/block | grep -c '^s[dr]') -ge $(ls /sys/class/scsi_device | wc -l) ] && [ -d /sys/class/scsi_host/host1 ] && break
  sleep 1
done
stty -echo < /dev/ttyS0
echo ${READY}
setsid cttyhack sh
poweroff -f
`;

export interface DebianGuest {
  readonly kernel: string;
  readonly ramdisk: Uint8Array;
}

/** The system, with more programs by name if wanted; undefined where it has not been fetched (`npm start` does). */
export function debianGuest(programs: Readonly<Record<string, Uint8Array>> = {}): DebianGuest | undefined {
  const folder = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "vmxon", "debian");
  const kernel = join(folder, "vmlinuz");
  const busybox = join(folder, "busybox");
  const modules = join(folder, "modules");
  if (![kernel, busybox, modules].every((file) => existsSync(file))) return undefined;
  const present = new Set(readdirSync(modules));
  if (!MODULES.every((name) => present.has(`${name}.ko`))) return undefined;
  const executable = (path: string, data: Uint8Array): CpioEntry => ({ path, type: "file", mode: 0o755, data });
  const ramdisk = writeCpio([
    ...["bin", "dev", "modules"].map((path): CpioEntry => ({ path, type: "directory", mode: 0o755 })),
    { path: "dev/console", type: "character-device", mode: 0o600, major: 5, minor: 1 },
    executable("bin/busybox", readFileSync(busybox)),
    { path: "bin/sh", type: "symlink", target: "busybox" },
    ...MODULES.map((name) => executable(`modules/${name}.ko`, readFileSync(join(modules, `${name}.ko`)))),
    ...Object.entries(programs).map(([name, data]) => executable(`bin/${name}`, data)),
    executable("init", new TextEncoder().encode(INIT)),
  ]);
  return { kernel, ramdisk };
}
