/** From a configuration's images to the media in a machine's drives: opened, checked, overlaid. */
import { VmxonError } from "../common/errors.ts";
import type { BlockBackend, Disk, FloppyDrive, FloppyMedium, IdeUnit } from "../hypervisor/backend.ts";
import type { DriveConfig, ImageSource, ResolvedConfig } from "./config.ts";
import type { DriveName } from "./disk-spec.ts";
import type { Host } from "./host.ts";
import { isIso, ramdiskFormat, readHead, refuseForeign } from "./images.ts";
import { capacity, diskGeometry, floppyFormatFor, floppyFormatOfSize, SECTOR_SIZE } from "./media.ts";
import { MemoryBackend, OverlayBackend, PaddedBackend, ReadOnlyBackend } from "./memory-backend.ts";

export interface Media {
  /** Drive A:, and B: when it has an image. */
  readonly floppies: FloppyDrive[];
  /** hda, hdb, hdc, hdd. */
  readonly units: (IdeUnit | undefined)[];
}

/** What an image is called in messages. */
export function sourceName(key: string, source: ImageSource): string {
  return typeof source === "string" ? source : `the image for ${key}`;
}

/** Open an image. The access that was had may be less than wanted when `fallback` allows it. */
export async function openSource(
  source: ImageSource,
  host: Host,
  access: "rw" | "r",
  fallback = false,
): Promise<BlockBackend> {
  if (source instanceof Uint8Array) return new MemoryBackend(source, { readonly: access === "r" });
  if (typeof source !== "string") return access === "r" ? new ReadOnlyBackend(source) : source;
  try {
    return await host.openImage(source, access);
  } catch (error) {
    if (!fallback || access === "r") throw error;
    return host.openImage(source, "r");
  }
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
  readonly #opened: BlockBackend[] = [];

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
      return {
        floppies,
        units: [await this.#disk("hda"), await this.#disk("hdb"), await this.#disk("hdc"), await this.#disk("hdd")],
      };
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Make what was written durable and let go of the images. */
  async close(): Promise<void> {
    for (const backend of this.#opened.splice(0)) {
      if (!backend.readonly) await backend.flush();
      await backend.close();
    }
  }

  async #open(
    drive: DriveName,
    config: DriveConfig,
  ): Promise<{ backend: BlockBackend; head: Uint8Array; name: string }> {
    const name = sourceName(drive, config.source);
    const access = this.#config.snapshot ? "r" : config.access;
    const backend = await openSource(config.source, this.#host, access, drive.startsWith("fd"));
    this.#opened.push(backend);
    const head = await readHead(backend);
    await refuseForeign(name, backend, head);
    return { backend, head, name };
  }

  /** Keep `outer` instead of what it stands on, for closing. */
  #wrap<T extends BlockBackend>(outer: T): T {
    this.#opened[this.#opened.length - 1] = outer;
    return outer;
  }

  async #floppyDrive(drive: "fda" | "fdb"): Promise<FloppyDrive> {
    const config = this.#config.drives[drive];
    if (!config) return { medium: undefined, changed: false };
    const { backend, head, name } = await this.#open(drive, config);
    const packed = backend.size % SECTOR_SIZE !== 0 ? ramdiskFormat(head) : undefined;
    if (packed) throw new VmxonError("image", `${name} is ${packed.what}; unpack it first: ${packed.unpack} FILE`);
    const format = floppyFormatOfSize(backend.size) ?? floppyFormatFor(backend.size, head);
    if (!format) {
      throw new VmxonError(
        "image",
        `${name} has ${backend.size} bytes: too large for a floppy (2.88 MB at most). As a disk: -hda FILE`,
      );
    }
    const size = capacity(format.geometry);
    let medium = backend;
    if (this.#config.snapshot) medium = this.#wrap(new OverlayBackend(backend, size));
    else if (backend.size < size) medium = this.#wrap(this.#padded(backend, config.source, size));
    if (backend.readonly && !this.#config.snapshot && config.access === "rw") {
      this.#notice(`${name} cannot be written to, so that its floppy is write-protected`);
    }
    const { geometry, driveType } = format;
    const result: FloppyMedium = { backend: medium, geometry, driveType, writeProtected: medium.readonly };
    return { medium: result, changed: false };
  }

  /** Files grow when the guest writes behind their end; bytes in memory cannot, an overlay does it for them. */
  #padded(backend: BlockBackend, source: ImageSource, size: number): BlockBackend {
    return typeof source === "string" ? new PaddedBackend(backend, size) : new OverlayBackend(backend, size);
  }

  async #disk(drive: "hda" | "hdb" | "hdc" | "hdd"): Promise<Disk | undefined> {
    const config = this.#config.drives[drive];
    if (!config) return undefined;
    const { backend, head, name } = await this.#open(drive, config);
    const packed = backend.size % SECTOR_SIZE !== 0 ? ramdiskFormat(head) : undefined;
    if (packed) throw new VmxonError("image", `${name} is ${packed.what}; unpack it first: ${packed.unpack} FILE`);
    if (backend.size % SECTOR_SIZE !== 0) {
      throw new VmxonError(
        "image",
        `${name} has ${backend.size} bytes, no whole number of 512-byte sectors; was it cut off? To fill it up: truncate -s %512 FILE`,
      );
    }
    if (isIso(head)) this.#notice(`${name} looks like a CD image; ${drive} shows it as a disk`);
    const medium = this.#config.snapshot ? this.#wrap(new OverlayBackend(backend)) : backend;
    return {
      kind: "disk",
      backend: medium,
      geometry: diskGeometry(backend.size, head),
      serial: `VMXON-${drive.toUpperCase()}`,
      model: "VMXON HARDDISK",
    };
  }
}
