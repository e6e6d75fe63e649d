/** From a configuration's images to the media in a machine's drives: opened, checked, overlaid. */
import { VmxonError } from "../common/errors.ts";
import type { BlockBackend, CdMedium, Disk, FloppyDrive, FloppyMedium, IdeUnit } from "../hypervisor/backend.ts";
import type { DriveConfig, ImageSource, ResolvedConfig } from "./config.ts";
import { type DriveName, plainKind } from "./disk-spec.ts";
import type { Host } from "./host.ts";
import type { ImageFormat } from "./images/formats.ts";
import { openImage, openSource } from "./images/open.ts";
import { isIso, isRawCd, ramdiskFormat, readHead, refuseUnusable } from "./images.ts";
import { CD_SECTOR, capacity, diskGeometry, floppyFormatFor, floppyFormatOfSize, SECTOR_SIZE } from "./media.ts";
import { OverlayBackend, PaddedBackend } from "./memory-backend.ts";

export interface Media {
  /** Drive A:, and B: when it has an image. */
  readonly floppies: FloppyDrive[];
  /** hda, hdb, hdc, hdd. */
  readonly units: (IdeUnit | undefined)[];
}

/** Drives on IDE cables, in the order of {@link Media.units}. */
export const IDE_DRIVES = ["hda", "hdb", "hdc", "hdd"] as const;
export type IdeDriveName = (typeof IDE_DRIVES)[number];

/** How an image is to be opened. */
type ImageAccess = Pick<DriveConfig, "access" | "format" | "internal">;

interface OpenImage {
  readonly backend: BlockBackend;
  readonly head: Uint8Array;
  readonly name: string;
}

/** What an image is called in messages. */
export function sourceName(key: string, source: ImageSource): string {
  return typeof source === "string" ? source : `the image for ${key}`;
}

/** The whole contents of an image. */
export async function readAll(source: ImageSource, host: Host): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return source;
  const backend = await openSource(source, host, "r");
  try {
    const bytes = new Uint8Array(backend.size);
    await backend.read(0, bytes);
    return bytes;
  } finally {
    await backend.close();
  }
}

/** Opens media one by one and closes what it opened when one of them is refused. */
export class MediaBuilder {
  readonly #host: Host;
  readonly #config: ResolvedConfig;
  readonly #notice: (message: string) => void;
  /** What is open, and of what. */
  readonly #opened = new Map<BlockBackend, ImageSource>();

  constructor(deps: { host: Host; config: ResolvedConfig; notice(message: string): void }) {
    this.#host = deps.host;
    this.#config = deps.config;
    this.#notice = deps.notice;
  }

  /** All drives of the configuration. Rejects with VmxonError("image") that names the file. */
  async build(): Promise<Media> {
    try {
      const floppies = [await this.#floppyDrive("fda")];
      if (this.#config.drives.fdb) floppies.push(await this.#floppyDrive("fdb"));
      const units: (IdeUnit | undefined)[] = [];
      for (const drive of IDE_DRIVES) units.push(await this.#unit(drive));
      return { floppies, units };
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Make what was written durable and let go of the images. */
  async close(): Promise<void> {
    for (const backend of [...this.#opened.keys()]) await this.release(backend);
  }

  /** The same for one image: a medium was taken out of its drive. */
  async release(backend: BlockBackend): Promise<void> {
    if (!this.#opened.delete(backend)) return;
    if (!backend.readonly) await backend.flush();
    await backend.close();
  }

  /** Of what a medium in a drive was opened. */
  sourceOf(backend: BlockBackend): ImageSource | undefined {
    return this.#opened.get(backend);
  }

  async #open(drive: DriveName, source: ImageSource, wanted: ImageAccess): Promise<OpenImage> {
    const name = sourceName(drive, source);
    const { format, internal: snapshot } = wanted;
    const access = this.#config.snapshot ? "r" : wanted.access;
    const options = { name, host: this.#host, format, snapshot } as const;
    const { backend, volatile } = await openImage(source, { ...options, access }).catch((error: unknown) => {
      // A floppy that cannot be written is a write-protected one; a disk is not, and another program's is nobody's.
      const mayRead = plainKind(drive) === "floppy" && access === "rw";
      if (!mayRead || (error instanceof VmxonError && error.code === "busy")) throw error;
      return openImage(source, { ...options, access: "r" });
    });
    if (volatile !== undefined) this.#notice(volatile);
    this.#opened.set(backend, source);
    try {
      const head = await readHead(backend);
      refuseUnusable(name, backend, head);
      return { backend, head, name };
    } catch (error) {
      await this.release(backend);
      throw error;
    }
  }

  /** Keep `outer` instead of what it stands on, for closing. */
  #wrap<T extends BlockBackend>(inner: BlockBackend, outer: T): T {
    const source = this.#opened.get(inner);
    this.#opened.delete(inner);
    if (source !== undefined) this.#opened.set(outer, source);
    return outer;
  }

  async #floppyDrive(drive: "fda" | "fdb"): Promise<FloppyDrive> {
    const config = this.#config.drives[drive];
    const medium = config?.source === undefined ? undefined : await this.#floppy(drive, config.source, config);
    return { medium, changed: false };
  }

  /** Open a floppy image. Rejects with VmxonError("image") that says why it is none. */
  floppy(drive: "fda" | "fdb", source: ImageSource, access: "rw" | "r"): Promise<FloppyMedium> {
    return this.#floppy(drive, source, { access });
  }

  async #floppy(drive: "fda" | "fdb", source: ImageSource, wanted: ImageAccess): Promise<FloppyMedium> {
    const { backend, head, name } = await this.#open(drive, source, wanted);
    try {
      refusePacked(name, backend, head);
      const format = floppyFormatOfSize(backend.size) ?? floppyFormatFor(backend.size, head);
      if (!format) {
        throw new VmxonError(
          "image",
          `${name} has ${backend.size} bytes: too large for a floppy (2.88 MB at most). As a disk: -hda FILE`,
        );
      }
      const size = capacity(format.geometry);
      let medium = backend;
      if (this.#config.snapshot) medium = this.#wrap(backend, new OverlayBackend(backend, size));
      else if (backend.size < size) medium = this.#wrap(backend, padded(backend, source, size));
      if (backend.readonly && !this.#config.snapshot && wanted.access === "rw") {
        this.#notice(`${name} cannot be written to, so that its floppy is write-protected`);
      }
      const { geometry, driveType } = format;
      return { backend: medium, geometry, driveType, writeProtected: medium.readonly };
    } catch (error) {
      await this.release(backend);
      throw error;
    }
  }

  async #unit(drive: IdeDriveName): Promise<IdeUnit | undefined> {
    const config = this.#config.drives[drive];
    if (config === undefined) return undefined;
    const { source, kind } = config;
    const serial = `VMXON-${drive.toUpperCase()}`;
    if (kind === "cdrom") {
      const medium = source === undefined ? undefined : await this.disc(drive, source, config.format);
      return { kind: "cdrom", serial, model: "VMXON CD-ROM", medium, trayOpen: false };
    }
    return source === undefined ? undefined : this.#disk(drive, source, config, serial);
  }

  /** Open an image of a CD or DVD. Rejects with VmxonError("image") that says why it is none. */
  async disc(drive: DriveName, source: ImageSource, format?: ImageFormat): Promise<CdMedium> {
    const { backend, head, name } = await this.#open(drive, source, { access: "r", format });
    if (isRawCd(backend.size, head)) {
      await this.release(backend);
      throw new VmxonError(
        "image",
        `${name} holds raw CD sectors of 2352 bytes; convert it to sectors of 2048 bytes: bchunk FILE.bin FILE.cue NEW`,
      );
    }
    const rest = backend.size % CD_SECTOR;
    return {
      backend: rest === 0 ? backend : this.#wrap(backend, new PaddedBackend(backend, backend.size + CD_SECTOR - rest)),
    };
  }

  async #disk(drive: IdeDriveName, source: ImageSource, wanted: ImageAccess, serial: string): Promise<Disk> {
    const { backend, head, name } = await this.#open(drive, source, wanted);
    refusePacked(name, backend, head);
    if (backend.size % SECTOR_SIZE !== 0) {
      throw new VmxonError(
        "image",
        `${name} has ${backend.size} bytes, no whole number of 512-byte sectors; was it cut off? To fill it up: truncate -s %512 FILE`,
      );
    }
    if (isIso(head))
      this.#notice(`${name} looks like a CD image; ${drive} shows it as a disk. In a CD drive: -cdrom FILE`);
    const medium = this.#config.snapshot ? this.#wrap(backend, new OverlayBackend(backend)) : backend;
    return {
      kind: "disk",
      backend: medium,
      geometry: diskGeometry(backend.size, head),
      serial,
      model: "VMXON HARDDISK",
    };
  }
}

/** Files grow when the guest writes behind their end; bytes in memory cannot, an overlay does it for them. */
function padded(backend: BlockBackend, source: ImageSource, size: number): BlockBackend {
  return typeof source === "string" ? new PaddedBackend(backend, size) : new OverlayBackend(backend, size);
}

/** Throw VmxonError("image") for something compressed that is no whole number of sectors. */
function refusePacked(name: string, backend: BlockBackend, head: Uint8Array): void {
  const packed = backend.size % SECTOR_SIZE !== 0 ? ramdiskFormat(head) : undefined;
  if (packed) throw new VmxonError("image", `${name} is ${packed.what}; unpack it first: ${packed.unpack} FILE`);
}
