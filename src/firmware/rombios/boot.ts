/** INT 19h and INT 18h: tries the boot devices in order and says what it does. */
import type { BlockBackend, FloppyDrive } from "../../hypervisor/backend.ts";
import type { Service } from "../service.ts";
import { Call, type Label } from "./call.ts";
import type { DiskServices } from "./disk.ts";
import { SECTOR_BYTES } from "./floppy.ts";
import { EBDA } from "./layout.ts";
import { writeText } from "./text.ts";

export type BootDevice = "floppy" | "disk" | "cdrom";

export interface BootDeps {
  readonly bootOrder: readonly BootDevice[];
  readonly floppies: readonly (FloppyDrive | undefined)[];
  readonly disks: DiskServices;
  /** Instead of booting: enter a kernel that the domain builder loaded. */
  readonly directBoot?: () => void | Promise<void>;
}

const BOOT_SECTOR = 0x7c00;
const SIGNATURE_OFFSET = 0x1fe;
const SIGNATURE = [0x55, 0xaa];
const FIRST_DISK = 0x80;
const NAMES: Readonly<Record<BootDevice, string>> = { floppy: "diskette", disk: "disk", cdrom: "CD-ROM" };

/** A master boot record or diskette boot sector that says that it is one. */
function hasSignature(sector: Uint8Array): boolean {
  return sector[SIGNATURE_OFFSET] === SIGNATURE[0] && sector[SIGNATURE_OFFSET + 1] === SIGNATURE[1];
}

/**
 * Diskettes older than the signature are taken unless they cannot be code: the PC/AT refuses a first byte below 6 and
 * a sector whose first words are all the same.
 */
function looksLikeCode(sector: Uint8Array): boolean {
  if (sector[0]! < 6) return false;
  for (let i = 2; i < 18; i += 2) if (sector[i] !== sector[0] || sector[i + 1] !== sector[1]) return true;
  return false;
}

type Attempt = { readonly sector: Uint8Array } | { readonly problem: string };

async function load(backend: BlockBackend, acceptable: (sector: Uint8Array) => boolean): Promise<Attempt> {
  const sector = new Uint8Array(SECTOR_BYTES);
  if (backend.size < SECTOR_BYTES) return { problem: "is too small to boot from" };
  try {
    await backend.read(0, sector);
  } catch {
    return { problem: "cannot be read" };
  }
  return acceptable(sector) ? { sector } : { problem: "is not bootable" };
}

async function attempt(device: BootDevice, deps: BootDeps): Promise<Attempt> {
  switch (device) {
    case "floppy": {
      const medium = deps.floppies[0]?.medium;
      if (medium === undefined) return { problem: "is not there" };
      return load(medium.backend, (sector) => hasSignature(sector) || looksLikeCode(sector));
    }
    case "disk": {
      const first = deps.disks.disks[0];
      return first === undefined ? { problem: "is not there" } : load(first.disk.backend, hasSignature);
    }
    default:
      return { problem: "is not there" };
  }
}

/** Services of INT 19h and 18h. */
export function bootServices(label: Label, deps: BootDeps): Readonly<Record<string, Service>> {
  return {
    boot_start: (context) => {
      const call = new Call(context);
      context.memory.write8(call.ebda + EBDA.BOOT_INDEX, 0);
      return deps.directBoot?.();
    },
    boot_next: async (context) => {
      const call = new Call(context);
      const { memory } = context;
      const index = memory.read8(call.ebda + EBDA.BOOT_INDEX);
      const device = deps.bootOrder[index];
      if (device === undefined) {
        call.goTo(label("no_boot"));
        return;
      }
      memory.write8(call.ebda + EBDA.BOOT_INDEX, index + 1);
      const result = await attempt(device, deps);
      if ("sector" in result) {
        memory.write(BOOT_SECTOR, result.sector);
        writeText(call, `Booting from the ${NAMES[device]}...\r\n`);
        call.stubZero = true;
      } else {
        writeText(call, `Boot failed: the ${NAMES[device]} ${result.problem}.\r\n`);
        call.stubZero = false;
      }
    },
    boot_launch: (context) => {
      const { cpu, memory } = context;
      const call = new Call(context);
      const device = deps.bootOrder[memory.read8(call.ebda + EBDA.BOOT_INDEX) - 1];
      cpu.eax = cpu.ebx = cpu.ecx = cpu.esi = cpu.edi = cpu.ebp = 0;
      cpu.edx = device === "disk" ? FIRST_DISK : 0;
      cpu.loadSelector("ds", 0);
      cpu.loadSelector("es", 0);
    },
    boot_none: (context) => {
      writeText(new Call(context), "No bootable device. Insert a boot disk and press any key.\r\n");
    },
  };
}
