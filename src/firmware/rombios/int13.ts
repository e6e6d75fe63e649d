/** INT 13h: which of diskettes, disks, CD drives and what a CD stands in for a call is about. */
import type { Service } from "../service.ts";
import { setEntry } from "./boot.ts";
import { Call, type Label } from "./call.ts";
import type { CdEmulation } from "./cd-emulation.ts";
import { CD_NUMBERS, type CdServices } from "./cdrom.ts";
import type { DiskServices } from "./disk.ts";
import type { FloppyServices } from "./floppy.ts";
import { notIdle } from "./idle.ts";

const FIRST_DISK = 0x80;
const FUNCTION = { PARAMETERS: 0x08, KIND: 0x15 } as const;
/** AH after AH=15h: a fixed disk. */
const DISK_KIND = 3;

/** What INT 13h works on. */
export interface Int13Deps {
  readonly floppies: FloppyServices;
  readonly disks: DiskServices;
  readonly cds: CdServices;
  readonly emulation: CdEmulation;
}

async function plain(call: Call, { floppies, disks, cds }: Int13Deps): Promise<void> {
  if (call.dl < FIRST_DISK) await floppies.serve(call);
  else if (call.dl >= CD_NUMBERS.FIRST && call.dl < CD_NUMBERS.END) await cds.serve(call);
  else await disks.serve(call);
}

/** A CD stands in for the first drive of a kind: the real ones of that kind are numbered one higher. */
async function shifted(call: Call, deps: Int13Deps): Promise<void> {
  const { ah: fn, dl: number } = call;
  call.dl = number - 1;
  await plain(call, deps);
  if (fn === FUNCTION.PARAMETERS) call.dl += 1;
  // A disk's size is told in DX.
  else if (fn !== FUNCTION.KIND || call.ah !== DISK_KIND) call.dl = number;
}

async function serve(call: Call, deps: Int13Deps, label: Label): Promise<void> {
  notIdle(call);
  const { emulation } = deps;
  const command = await emulation.command(call);
  if (command === "boot") {
    setEntry(call, emulation.entry(call));
    call.goTo(label("boot_enter"));
  }
  if (command !== "none") return;
  const emulated = emulation.emulated(call);
  const sameKind = emulated !== undefined && call.dl < CD_NUMBERS.FIRST && ((emulated ^ call.dl) & FIRST_DISK) === 0;
  if (!sameKind) await plain(call, deps);
  else if (call.dl === emulated) await emulation.serve(call);
  else await shifted(call, deps);
}

/** Service of INT 13h. */
export function diskServices(label: Label, deps: Int13Deps): Readonly<Record<string, Service>> {
  return { int13: (context) => serve(new Call(context), deps, label) };
}
