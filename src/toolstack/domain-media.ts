/** Media that come and go while the domain runs: floppies and CDs, put in and taken out from outside. */
import { VmxonError } from "../common/errors.ts";
import type { BlockBackend, CdMedium, FloppyDrive, FloppyMedium, IdeUnit } from "../hypervisor/backend.ts";
import type { Clock } from "../hypervisor/clock.ts";
import type { ImageSource } from "./config.ts";
import type { CdTray } from "./machine.ts";
import { IDE_DRIVES, type MediaBuilder, sourceName } from "./media-builder.ts";

/** Drives whose media can be changed, if they are what the names say: hda to hdd may be disks. */
export type RemovableName = "fda" | "fdb" | (typeof IDE_DRIVES)[number];

/** One drive whose medium can be changed. */
export interface RemovableDrive {
  readonly drive: RemovableName;
  readonly kind: "floppy" | "cdrom";
  /** Name of the image in it; undefined when it is empty. */
  readonly medium: string | undefined;
  /** The guest keeps the medium in. Floppy drives have no lock. */
  readonly locked: boolean;
  /** The tray of a CD drive is open. */
  readonly open: boolean;
}

export interface EjectOptions {
  /** Take the medium out even though the guest has locked the drive. */
  readonly force?: boolean;
}

export interface InsertOptions extends EjectOptions {
  /** How a floppy image is opened: "rw", the default, or "r". */
  readonly access?: "rw" | "r";
}

/** What the media need of their domain. */
export interface DomainMediaDeps {
  readonly builder: MediaBuilder;
  readonly floppies: readonly FloppyDrive[];
  readonly units: readonly (IdeUnit | undefined)[];
  readonly trays: readonly (CdTray | undefined)[];
  readonly clock: Clock;
  /** Guest time goes on. */
  readonly running: () => boolean;
  /** The guest stands still until the host's code had its turn. */
  readonly hold: () => void;
  /** Resolves when the domain has stopped. */
  readonly exited: Promise<unknown>;
}

/** Guest time from the call to the moment at which the medium is there, ns; longer if the host takes longer. */
const CHANGE_TIME = 1e6;

/** A drive, by what can be done to it. */
interface Slot {
  readonly kind: "floppy" | "cdrom";
  readonly backend: BlockBackend | undefined;
  readonly locked: boolean;
  readonly open: boolean;
  /** Empty it. False when the guest keeps the medium in. */
  empty(force: boolean): boolean;
  /** Open an image as a medium of this kind, with what puts it in. */
  load(source: ImageSource, access: "rw" | "r"): Promise<{ backend: BlockBackend; put(): void }>;
}

export class DomainMedia {
  readonly #deps: DomainMediaDeps;
  readonly #slots = new Map<RemovableName, Slot>();
  /** What images are called, by backend. */
  readonly #names = new Map<BlockBackend, string>();

  constructor(deps: DomainMediaDeps, sources: Readonly<Partial<Record<RemovableName, ImageSource>>>) {
    this.#deps = deps;
    for (const [index, drive] of (["fda", "fdb"] as const).entries()) {
      const floppy = deps.floppies[index];
      if (floppy) this.#slots.set(drive, this.#floppySlot(drive, floppy));
    }
    for (const [index, drive] of IDE_DRIVES.entries()) {
      const unit = deps.units[index];
      const tray = deps.trays[index];
      if (unit?.kind === "cdrom" && tray) this.#slots.set(drive, this.#cdSlot(drive, unit, tray));
    }
    for (const [drive, slot] of this.#slots) {
      const source = sources[drive];
      if (slot.backend && source !== undefined) this.#names.set(slot.backend, sourceName(drive, source));
    }
  }

  /** Every floppy and CD drive, and what is in it. */
  drives(): RemovableDrive[] {
    return [...this.#slots].map(([drive, { kind, backend, locked, open }]) => ({
      drive,
      kind,
      medium: backend && this.#names.get(backend),
      locked,
      open,
    }));
  }

  /**
   * Put a medium into a drive, in place of what is there. Resolves once the guest has it. Rejects with
   * VmxonError("image") for an image that does not fit, VmxonError("guest") when the guest keeps the old one in.
   */
  async insert(drive: RemovableName, source: ImageSource, options: InsertOptions = {}): Promise<void> {
    const slot = this.#slot(drive);
    this.#askFor(drive, slot, options);
    const opening = slot.load(source, options.access ?? "rw");
    const before = slot.backend;
    try {
      await this.#inGuestTime(opening, (medium) => {
        if (!slot.empty(options.force === true)) throw keptIn(drive);
        medium.put();
        this.#names.set(medium.backend, sourceName(drive, source));
      });
    } catch (error) {
      const medium = await opening.catch(() => undefined);
      if (medium) await this.#release(medium.backend);
      throw error;
    }
    if (before) await this.#release(before);
  }

  /**
   * Take the medium out; nothing happens to an empty drive. Resolves once what was written is durable. Rejects with
   * VmxonError("guest") when the guest has locked the drive: it was asked to let go, and `force` does not ask.
   */
  async eject(drive: RemovableName, options: EjectOptions = {}): Promise<void> {
    const slot = this.#slot(drive);
    this.#askFor(drive, slot, options);
    const { backend } = slot;
    slot.empty(true);
    if (backend) await this.#release(backend);
  }

  #slot(drive: RemovableName): Slot {
    const slot = this.#slots.get(drive);
    if (slot) return slot;
    const names = [...this.#slots.keys()].join(", ");
    throw new VmxonError("usage", `${drive} is no floppy or CD drive of this domain; drives are: ${names || "none"}`);
  }

  /** Reject when the guest keeps the medium in; it is told of the wish. */
  #askFor(drive: RemovableName, slot: Slot, options: EjectOptions): void {
    if (!slot.locked || options.force) return;
    slot.empty(false);
    throw keptIn(drive);
  }

  async #release(backend: BlockBackend): Promise<void> {
    this.#names.delete(backend);
    await this.#deps.builder.release(backend);
  }

  /** Do `act` with the outcome of host work at a guest time that does not depend on how long the work took. */
  async #inGuestTime<T>(work: Promise<T>, act: (result: T) => void): Promise<void> {
    const { clock, running, hold, exited } = this.#deps;
    if (!running()) {
      act(await work);
      return;
    }
    await new Promise<void>((resolve, reject) => {
      clock.complete(work, CHANGE_TIME, (result, error) => {
        hold();
        try {
          if (error !== undefined) throw error;
          act(result as T);
          resolve();
        } catch (problem) {
          reject(problem);
        }
      });
      void exited.then(() => reject(new VmxonError("guest", "the domain stopped before its medium was changed")));
    });
  }

  #floppySlot(drive: "fda" | "fdb", floppy: FloppyDrive): Slot {
    const put = (medium: FloppyMedium | undefined): void => {
      floppy.medium = medium;
      floppy.changed = true;
    };
    return {
      kind: "floppy",
      get backend() {
        return floppy.medium?.backend;
      },
      locked: false,
      open: false,
      empty: () => {
        if (floppy.medium) put(undefined);
        return true;
      },
      load: async (source, access) => {
        const medium = await this.#deps.builder.floppy(drive, source, access);
        return { backend: medium.backend, put: () => put(medium) };
      },
    };
  }

  #cdSlot(
    drive: RemovableName,
    unit: { medium: CdMedium | undefined; readonly trayOpen: boolean },
    tray: CdTray,
  ): Slot {
    return {
      kind: "cdrom",
      get backend() {
        return unit.medium?.backend;
      },
      get locked() {
        return tray.locked;
      },
      get open() {
        return unit.trayOpen;
      },
      empty: (force) => {
        if (force) tray.openTray();
        else if (!tray.pressEject()) return false;
        tray.closeTray(undefined);
        return true;
      },
      load: async (source) => {
        const medium = await this.#deps.builder.disc(drive, source);
        return { backend: medium.backend, put: () => tray.closeTray(medium) };
      },
    };
  }
}

function keptIn(drive: RemovableName): VmxonError {
  return new VmxonError(
    "guest",
    `the guest has locked ${drive} and was told that somebody wants the medium; unmount it there, or use force`,
  );
}
