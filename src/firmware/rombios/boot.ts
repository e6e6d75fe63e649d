/** INT 19h and INT 18h: tries the boot devices in order and says what it does. */
import type { BlockBackend, FloppyDrive } from "../../hypervisor/backend.ts";
import type { Service } from "../service.ts";
import { type BootDrives, type BootTarget, bootTargets } from "./boot-list.ts";
import { Call, type Label } from "./call.ts";
import type { CdEmulation } from "./cd-emulation.ts";
import { type BiosCd, discIn } from "./cdrom.ts";
import { findBootImage } from "./el-torito.ts";
import { DISK_ERROR, SECTOR_BYTES } from "./floppy.ts";
import { EBDA, ROM } from "./layout.ts";
import { writeText } from "./text.ts";

export interface BootDeps extends BootDrives {
  readonly floppies: readonly (FloppyDrive | undefined)[];
  readonly emulation: CdEmulation;
  /** Instead of booting: enter a kernel that the domain builder loaded. */
  readonly directBoot?: () => void | Promise<void>;
}

const BOOT_SECTOR = 0x7c00;
const SIGNATURE_OFFSET = 0x1fe;
const SIGNATURE = [0x55, 0xaa];
const FIRST_DISK = 0x80;
/** Segment from which on there are ROMs. */
const OPTION_ROMS = 0xc000;
const NAMES: Readonly<Record<BootTarget["device"], string>> = {
  floppy: "diskette",
  disk: "disk",
  cdrom: "CD-ROM",
  network: "network",
};

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

/** Where a program that was loaded begins, and what it finds in DL. */
interface Entry {
  readonly drive: number;
  readonly segment: number;
  readonly offset: number;
}

type Attempt = Entry | { readonly problem: string };

const NOT_THERE = { problem: "is not there" } as const;

async function loadSector(
  call: Call,
  backend: BlockBackend,
  drive: number,
  acceptable: (sector: Uint8Array) => boolean,
): Promise<Attempt> {
  const sector = new Uint8Array(SECTOR_BYTES);
  if (backend.size < SECTOR_BYTES) return { problem: "is too small to boot from" };
  try {
    await backend.read(0, sector);
  } catch {
    return { problem: "cannot be read" };
  }
  if (!acceptable(sector)) return { problem: "is not bootable" };
  call.context.memory.write(BOOT_SECTOR, sector);
  return { drive, segment: 0, offset: BOOT_SECTOR };
}

async function loadDisc(call: Call, cd: BiosCd, emulation: CdEmulation): Promise<Attempt> {
  const disc = discIn(cd);
  if (disc === undefined) return { problem: "is empty" };
  const image = await findBootImage(disc);
  if (image === undefined) return { problem: "is not bootable" };
  const started = await emulation.start(call, cd, image);
  const status = started === DISK_ERROR.NONE ? await emulation.loadImage(call, cd, image) : started;
  if (status === DISK_ERROR.NONE) return emulation.entry(call);
  emulation.stop(call);
  return { problem: "cannot be read" };
}

async function attempt(call: Call, target: BootTarget, deps: BootDeps): Promise<Attempt> {
  switch (target.device) {
    case "floppy": {
      const medium = deps.floppies[0]?.medium;
      if (medium === undefined) return NOT_THERE;
      return loadSector(call, medium.backend, 0, (sector) => hasSignature(sector) || looksLikeCode(sector));
    }
    case "disk": {
      const disk = deps.disks.disks[target.index];
      if (disk === undefined) return NOT_THERE;
      return loadSector(call, disk.medium.backend, FIRST_DISK, hasSignature);
    }
    case "cdrom":
      return target.cd === undefined ? NOT_THERE : loadDisc(call, target.cd, deps.emulation);
    case "network":
      return target.entry === undefined ? NOT_THERE : { drive: 0, ...target.entry };
  }
}

/** Leave where to go on for `boot_launch`. */
export function setEntry(call: Call, { drive, segment, offset }: Entry): void {
  const { memory } = call.context;
  memory.write8(call.ebda + EBDA.BOOT_DRIVE, drive);
  memory.write16(call.ebda + EBDA.BOOT_POINTER, offset);
  memory.write16(call.ebda + EBDA.BOOT_POINTER + 2, segment);
}

/** Services of INT 19h and 18h. */
export function bootServices(label: Label, deps: BootDeps): Readonly<Record<string, Service>> {
  return {
    boot_start: (context) => {
      const call = new Call(context);
      context.memory.write8(call.ebda + EBDA.BOOT_INDEX, 0);
      deps.emulation.stop(call);
      return deps.directBoot?.();
    },
    boot_next: async (context) => {
      const call = new Call(context);
      const { memory } = context;
      const index = memory.read8(call.ebda + EBDA.BOOT_INDEX);
      const target = bootTargets(call, deps)[index];
      if (target === undefined) {
        memory.write8(call.ebda + EBDA.BOOT_CHOICE, 0);
        call.goTo(label("no_boot"));
        return;
      }
      memory.write8(call.ebda + EBDA.BOOT_INDEX, index + 1);
      const result = await attempt(call, target, deps);
      const found = !("problem" in result);
      if (found) setEntry(call, result);
      const name = NAMES[target.device];
      writeText(call, found ? `Booting from the ${name}...\r\n` : `Boot failed: the ${name} ${result.problem}.\r\n`);
      call.stubZero = found;
    },
    // The program begins with a RETF; an option ROM's returns to `boot_failed`.
    boot_launch: (context) => {
      const { cpu, memory } = context;
      const call = new Call(context);
      const at = call.ebda + EBDA.BOOT_POINTER;
      const stack = call.address("ss", cpu.esp - 8);
      memory.write32(stack, memory.read32(at));
      memory.write16(stack + 4, label("boot_failed"));
      memory.write16(stack + 6, ROM.SEGMENT);
      cpu.esp -= 8;
      cpu.eax = cpu.ebx = cpu.ecx = cpu.esi = cpu.edi = cpu.ebp = 0;
      cpu.edx = memory.read8(call.ebda + EBDA.BOOT_DRIVE);
      cpu.loadSelector("ds", 0);
      // Option ROMs are told of Plug and Play; boot sectors have always found zeros.
      const rom = memory.read16(at + 2) >= OPTION_ROMS;
      cpu.loadSelector("es", rom ? ROM.SEGMENT : 0);
      cpu.edi = rom ? label("plug_and_play") : 0;
    },
    boot_none: (context) => {
      writeText(new Call(context), "No bootable device. Insert a boot disk and press any key.\r\n");
    },
  };
}
