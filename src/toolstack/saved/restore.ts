/**
 * Reads a saved domain back. Everything is checked before a device goes on with what it was doing: until then nothing outside
 * of the new machine was changed.
 */
import { VmxonError } from "../../common/errors.ts";
import { type DomainConfig, type DriveConfig, type ResolvedConfig, resolveConfig } from "../config.ts";
import { DRIVE_NAMES, plainKind } from "../disk-spec.ts";
import { FrameReader, type SaveSource } from "./container.ts";
import { difference } from "./fingerprint.ts";
import { checkManifest, type Manifest, type SavedImage } from "./manifest.ts";
import { isPageFrame, RegionLoader } from "./pages.ts";
import { type DomainParts, driveImages, END_FRAME, kernelImages, machineFacts, regionsOf } from "./save.ts";
import { shapeProblem } from "./shape.ts";

export interface RestoreOptions {
  /** Keys in place of the saved ones: other names of images, say. What the guest can see must stay as it is. */
  readonly config?: DomainConfig;
  /** Go on although an image was written to, or is another one. */
  readonly force?: boolean;
}

/** A saved domain whose beginning was read. */
export class SavedDomain {
  readonly manifest: Manifest;
  /** What the domain is to be made of. */
  readonly given: DomainConfig;
  readonly config: ResolvedConfig;
  readonly #reader: FrameReader;
  readonly #force: boolean;

  private constructor(reader: FrameReader, manifest: Manifest, options: RestoreOptions) {
    this.#reader = reader;
    this.#force = options.force === true;
    this.manifest = manifest;
    this.given = { ...(manifest.config as DomainConfig), ...options.config };
    this.config = configOf(manifest, this.given, options.config ?? {});
  }

  /** Read the beginning. Rejects with VmxonError("state"), or ("config") for keys that do not go together. */
  static async open(source: SaveSource, options: RestoreOptions): Promise<SavedDomain> {
    const reader = await FrameReader.begin(source);
    try {
      return new SavedDomain(reader, checkManifest(await reader.read()), options);
    } catch (error) {
      await reader.cancel();
      throw error;
    }
  }

  /**
   * Put a domain that was just built from {@link config} into the saved state. Rejects with VmxonError("state") that says
   * what does not fit; the domain is of no use then.
   */
  async load(parts: DomainParts): Promise<void> {
    try {
      this.#checkMachine(parts);
      const state = await this.#reader.read();
      const template = {
        machine: undefined,
        serial: parts.serial.map((port) => port.state()),
        floppies: parts.floppies.map(({ changed }) => ({ changed })),
      };
      const problem = shapeProblem(state, template, "");
      if (problem !== undefined) throw new VmxonError("state", `the saved domain is damaged: ${problem}`);
      await this.#readMemories(parts);
      await this.#checkImages(parts);
      const { machine, serial, floppies } = state as typeof template;
      parts.machine.restore(machine);
      for (const [i, port] of parts.serial.entries()) if (serial[i]) port.restore(serial[i]);
      for (const [i, drive] of parts.floppies.entries()) drive.changed = floppies[i]?.changed ?? drive.changed;
    } finally {
      await this.#reader.cancel();
    }
  }

  #checkMachine(parts: DomainParts): void {
    const { manifest } = this;
    const now = machineFacts(parts);
    const refuse = (what: string): never => {
      throw new VmxonError("state", `the saved domain does not fit: ${what}`);
    };
    for (const [key, what] of [
      ["memory", "memory"],
      ["clock", "clock"],
      ["cpu", "processor model"],
    ] as const) {
      if (now[key] !== manifest.machine[key])
        refuse(`its ${what} was ${manifest.machine[key]}, and is ${now[key]} here`);
    }
    for (const name of new Set([...Object.keys(now.roms), ...Object.keys(manifest.machine.roms)])) {
      if (now.roms[name] !== manifest.machine.roms[name])
        refuse(`it was saved with another ${name} (by ${manifest.program}); use the vmxon that saved it`);
    }
    const sizes = Object.fromEntries(regionsOf(parts).map(({ name, size }) => [name, size]));
    for (const name of new Set([...Object.keys(sizes), ...Object.keys(manifest.regions)])) {
      if (sizes[name] !== manifest.regions[name])
        refuse(`${name} held ${manifest.regions[name] ?? "no"} bytes, and holds ${sizes[name] ?? "none"} here`);
    }
  }

  async #readMemories(parts: DomainParts): Promise<void> {
    const loader = new RegionLoader(regionsOf(parts));
    parts.machine.ram.fill(0);
    for (;;) {
      const frame = await this.#reader.read();
      if (frame === END_FRAME) break;
      if (!isPageFrame(frame))
        throw new VmxonError("state", "the saved domain is damaged or cut off: its end is missing");
      loader.load(frame);
    }
    // The stream's own check comes with its end.
    if ((await this.#reader.read()) !== undefined)
      throw new VmxonError("state", "the saved domain is damaged: something stands behind its end");
  }

  async #checkImages(parts: DomainParts): Promise<void> {
    if (this.#force) return;
    const drives = await driveImages(parts);
    for (const [drive, then] of Object.entries(this.manifest.drives)) checkImage(drive, then, drives[drive]);
    const kernel = await kernelImages(parts);
    for (const [i, then] of this.manifest.kernel.entries()) checkImage(i === 0 ? "kernel" : "ramdisk", then, kernel[i]);
  }
}

function checkImage(key: string, then: SavedImage, now: SavedImage | undefined): void {
  const what = now ? difference(then.print, now.print) : "is not there";
  if (what === undefined) return;
  const name = now?.source ?? then.source ?? `the image for ${key}`;
  throw new VmxonError(
    "state",
    `${name} ${what}: what the guest remembers of it may not be true any more. To go on all the same: --force`,
  );
}

/** The saved configuration with the media that were in the drives. */
function configOf(manifest: Manifest, given: DomainConfig, instead: DomainConfig): ResolvedConfig {
  if (manifest.kernel.length > 0 && given.kernel === undefined)
    throw new VmxonError("state", "the kernel had no name when the domain was saved; give it again");
  const resolved = resolveConfig(given);
  const drives: Partial<Record<(typeof DRIVE_NAMES)[number], DriveConfig>> = {};
  for (const drive of DRIVE_NAMES) {
    const config = resolved.drives[drive];
    const image = manifest.drives[drive];
    const source = instead[drive] ?? image?.source ?? undefined;
    if (image && source === undefined)
      throw new VmxonError("state", `the image for ${drive} had no name when the domain was saved; give it again`);
    if (image) drives[drive] = { kind: config?.kind ?? plainKind(drive), access: image.access, source };
    else if (config?.kind === "cdrom") drives[drive] = { ...config, source: undefined };
  }
  return { ...resolved, drives };
}
