/** What can be booted, and in which order: CMOS tells it, or the person at the boot menu. BIOS Boot Specification 1.01. */
import type { Call } from "./call.ts";
import type { BiosCd, CdServices } from "./cdrom.ts";
import { discIn } from "./cdrom.ts";
import type { DiskServices } from "./disk.ts";
import { floppyCount } from "./floppy.ts";
import { CMOS, EBDA } from "./layout.ts";
import { type BootEntry, bootEntries } from "./option-roms.ts";

/** One thing to boot from. */
export type BootTarget =
  | { readonly device: "floppy" }
  | { readonly device: "disk"; readonly index: number }
  | { readonly device: "cdrom"; readonly cd: BiosCd | undefined }
  | { readonly device: "network"; readonly entry: BootEntry | undefined };

/** Drives that there are. */
export interface BootDrives {
  readonly disks: DiskServices;
  readonly cds: CdServices;
}

/** Kinds of devices by their number in CMOS 3Dh and 38h. */
const KINDS: Readonly<Record<number, BootTarget["device"]>> = { 1: "floppy", 2: "disk", 3: "cdrom", 4: "network" };
const DEFAULT_ORDER: readonly BootTarget["device"][] = ["floppy", "disk", "cdrom"];

function kindsInOrder(call: Call): readonly BootTarget["device"][] {
  const first = call.readCmos(CMOS.BOOT_1_2);
  const codes = [first & 0x0f, first >> 4, call.readCmos(CMOS.BOOT_3) >> 4];
  const kinds = codes.flatMap((code) => KINDS[code] ?? []);
  return kinds.length === 0 ? DEFAULT_ORDER : kinds;
}

/** The targets of one kind; of a kind that is missing one that says so. */
function targetsOf(call: Call, kind: BootTarget["device"], { cds }: BootDrives): BootTarget[] {
  switch (kind) {
    case "floppy":
      return [{ device: "floppy" }];
    case "disk":
      return [{ device: "disk", index: 0 }];
    case "cdrom":
      if (cds.drives.length === 0) return [{ device: "cdrom", cd: undefined }];
      return cds.drives.map((cd) => ({ device: "cdrom", cd }));
    case "network": {
      const entries = bootEntries(call);
      if (entries.length === 0) return [{ device: "network", entry: undefined }];
      return entries.map((entry) => ({ device: "network", entry }));
    }
  }
}

/** Everything that there is, for the boot menu. */
export function menuTargets(call: Call, { disks, cds }: BootDrives): BootTarget[] {
  const floppies: BootTarget[] = floppyCount(call) > 0 ? [{ device: "floppy" }] : [];
  return [
    ...floppies,
    ...disks.disks.map(({ index }): BootTarget => ({ device: "disk", index })),
    ...cds.drives.map((cd): BootTarget => ({ device: "cdrom", cd })),
    ...bootEntries(call).map((entry): BootTarget => ({ device: "network", entry })),
  ];
}

/** What to try, one after the other: the choice from the menu first. */
export function bootTargets(call: Call, drives: BootDrives): BootTarget[] {
  const chosen = menuTargets(call, drives)[call.context.memory.read8(call.ebda + EBDA.BOOT_CHOICE) - 1];
  const order = kindsInOrder(call).flatMap((kind) => targetsOf(call, kind, drives));
  return chosen === undefined ? order : [chosen, ...order];
}

/** A target in words. */
export function describe(target: BootTarget, { disks }: BootDrives): string {
  switch (target.device) {
    case "floppy":
      return "Diskette drive A";
    case "disk": {
      const disk = disks.disks[target.index];
      return `Disk ${target.index}: ${disk?.disk.model} (${Math.floor((disk?.medium.totalSectors ?? 0) / 2048)} MB)`;
    }
    case "cdrom":
      return `CD-ROM: ${target.cd?.drive.model}${target.cd && discIn(target.cd) ? "" : " (empty)"}`;
    case "network":
      return `Option ROM: ${target.entry?.product}`;
  }
}
