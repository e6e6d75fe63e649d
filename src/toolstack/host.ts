/** What the toolstack needs of the place where it runs: opening images by name. Node and pages each have their own. */
import { VmxonError } from "../common/errors.ts";
import type { BlockBackend, ByteSink } from "../hypervisor/backend.ts";
import type { RegionGenerator } from "../processor/compiler/generator.ts";

/** Where a serial line goes when it is named in a configuration. `close` may be called once the domain has stopped. */
export interface SerialTarget extends ByteSink {
  /** Bytes for the guest. Called once, before the domain starts. */
  onInput?(listener: (bytes: Uint8Array) => void): void;
  close?(): Promise<void>;
}

export interface SerialOptions {
  /** What a file holds already is kept: a saved domain goes on. */
  readonly append?: boolean;
}

export interface Host {
  /** Open an image by the name that the user gave it. Rejects with VmxonError("image") that names it. */
  openImage(name: string, access: "rw" | "r"): Promise<BlockBackend>;
  /** Set where images are never written in place: in pages. */
  readonly readsOnly?: true;
  /** The name by which `openImage` finds what an image at `base` calls `name`. */
  relativeTo(base: string, name: string): string;
  /** "stdio" or "file:NAME". Rejects with VmxonError("config") what this host does not have. */
  openSerial(target: string, options?: SerialOptions): Promise<SerialTarget>;
  /** The name by which an image is found wherever the program runs: a path from the root. Absent: names are like that. */
  fullName?(name: string): string;
  /** When an image was last written to, in words that change whenever it is; undefined where nobody knows. */
  modified?(name: string): Promise<string | undefined>;
  /** The thread that generates code for all domains; without one each does so itself. */
  readonly generator?: RegionGenerator;
}

/** A host without files: images are handed over as bytes or backends. */
export const NO_HOST: Host = {
  async openImage(name) {
    throw new VmxonError("image", `${name}: there are no files here; pass a Uint8Array or a BlockBackend instead`);
  },
  relativeTo: (_base, name) => name,
  async openSerial(target) {
    throw new VmxonError(
      "config",
      `serial=${target}: there is no such place here; subscribe to domain.serial[0].onData`,
    );
  },
};

/** The kinds of serial target that a configuration can name, other than "none". */
export const SERIAL_TARGET = /^(?:stdio|file:.+)$/s;
