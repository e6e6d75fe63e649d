/** The system BIOS: 64 KB at F0000h, put together from its stubs (stubs.ts, image.ts) and its services (the other files). */
import type { FloppyDrive, IdeUnit } from "../../hypervisor/backend.ts";
import type { E820Entry } from "../../hypervisor/initial-state.ts";
import type { Board } from "../board.ts";
import { FONT_8X8 } from "../font/font.ts";
import type { Rom, Service } from "../service.ts";
import { powerServices } from "./apm.ts";
import { bootServices } from "./boot.ts";
import { menuServices } from "./boot-menu.ts";
import { CdEmulation } from "./cd-emulation.ts";
import { CdServices } from "./cdrom.ts";
import { DiskServices } from "./disk.ts";
import { FloppyServices } from "./floppy.ts";
import type { Activity } from "./idle.ts";
import { buildImage, type RomImage } from "./image.ts";
import { diskServices } from "./int13.ts";
import { systemServices } from "./int15.ts";
import { keyboardServices } from "./int16.ts";
import { ROM } from "./layout.ts";
import { mouseServices } from "./mouse.ts";
import { pciBiosServices } from "./pci-bios.ts";
import { portServices } from "./ports.ts";
import { postServices } from "./post.ts";
import { timeServices } from "./time.ts";

export type { Activity } from "./idle.ts";

/** What the BIOS is given of its machine. */
export interface RomBiosDeps {
  /** Diskette drives A and B. Which of them exist, and of which type, the CMOS tells. */
  readonly floppies: readonly (FloppyDrive | undefined)[];
  /** Disks and CD drives by position: primary master, primary slave, secondary master, secondary slave. */
  readonly units: readonly (IdeUnit | undefined)[];
  readonly memoryMap: readonly E820Entry[];
  readonly board: Board;
  /** How long POST waits for the boot menu's key, ms; default 0. The order of boot devices stands in CMOS. */
  readonly bootMenuMs?: number;
  /** Open the tray of the CD drive at a position. */
  eject?(position: number): void;
  /** The guest switches the machine off. */
  powerOff(): void;
  /** By which the BIOS tells an idle guest, so that it halts; without it a guest that polls for keys stays busy. */
  readonly activity?: Activity;
  /** Called by INT 19h instead of booting from a device: enter a kernel that the domain builder loaded. */
  readonly directBoot?: () => void | Promise<void>;
}

const FONT_CHARACTERS_BYTES = 1024;

let shared: RomImage | undefined;

/** The assembled image; the same for every machine. */
function romImage(): RomImage {
  shared ??= buildImage(FONT_8X8.subarray(0, FONT_CHARACTERS_BYTES));
  return shared;
}

/** The system BIOS of one machine. */
export function romBios(deps: RomBiosDeps): Rom {
  const { image, label, traps } = romImage();
  const disks = new DiskServices(deps.units);
  const cds = new CdServices(deps.units, (position) => deps.eject?.(position));
  const emulation = new CdEmulation(cds);
  const named: Readonly<Record<string, Service>> = {
    ...postServices(label, {
      floppies: deps.floppies,
      disks,
      cds,
      memoryMap: deps.memoryMap,
      board: deps.board,
      image,
    }),
    ...pciBiosServices(label),
    ...powerServices(label, () => deps.powerOff()),
    ...bootServices(label, { ...deps, disks, cds, emulation }),
    ...menuServices({ disks, cds, bootMenuMs: deps.bootMenuMs ?? 0 }),
    ...diskServices(label, { floppies: new FloppyServices(deps.floppies), disks, cds, emulation }),
    ...keyboardServices(label, deps.activity),
    ...mouseServices(),
    ...systemServices(label, { memoryMap: deps.memoryMap, powerOff: () => deps.powerOff() }),
    ...portServices(label),
    ...timeServices(label, deps.activity),
  };
  const services = new Map<number, Service>();
  for (const [name, offset] of traps) {
    const service = named[name];
    if (service === undefined) throw new Error(`the ROM traps to "${name}", which no service answers`);
    services.set(offset, service);
  }
  return { name: "rombios", base: ROM.BASE, image: image.slice(), services };
}
