/** Writes a domain that stands still: what it is made of, its state, its memories. */
import type { BlockBackend, FloppyDrive, IdeUnit } from "../../hypervisor/backend.ts";
import type { DomainConfig, ImageSource, ResolvedConfig } from "../config.ts";
import { DRIVE_NAMES, type DriveName } from "../disk-spec.ts";
import type { Host } from "../host.ts";
import { openSource } from "../images/open.ts";
import type { Machine } from "../machine.ts";
import { IDE_DRIVES, type MediaBuilder } from "../media-builder.ts";
import { OverlayBackend } from "../memory-backend.ts";
import type { SerialPort, SerialPortState } from "../serial-port.ts";
import { FrameWriter, type SaveSink } from "./container.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { type Manifest, type SavedImage, writableConfig } from "./manifest.ts";
import { memoryRegion, type Region, writeRegion } from "./pages.ts";

/** A domain by its parts, as far as saving and restoring need them. */
export interface DomainParts {
  readonly given: DomainConfig;
  readonly config: ResolvedConfig;
  readonly host: Host;
  readonly machine: Machine;
  readonly builder: MediaBuilder;
  readonly floppies: readonly FloppyDrive[];
  readonly units: readonly (IdeUnit | undefined)[];
  readonly serial: readonly SerialPort[];
}

/** What is not the machine's: the second frame. */
export interface StateFrame {
  machine: unknown;
  serial: SerialPortState[];
  /** Disk-change latches of the floppy drives. */
  floppies: { changed: boolean }[];
}

/** The last frame. */
export const END_FRAME = "end";

/** What lies in each drive. */
export function mediaOf(parts: DomainParts): Map<DriveName, BlockBackend> {
  const media = new Map<DriveName, BlockBackend>();
  for (const [i, { medium }] of parts.floppies.entries()) if (medium) media.set(DRIVE_NAMES[i]!, medium.backend);
  for (const [i, unit] of parts.units.entries()) {
    const backend = unit?.kind === "cdrom" ? unit.medium?.backend : unit?.backend;
    if (backend) media.set(IDE_DRIVES[i]!, backend);
  }
  return media;
}

/** Memories of a domain: RAM, and what was written to images that must not change. */
export function regionsOf(parts: DomainParts): Region[] {
  const regions = [memoryRegion("ram", parts.machine.ram)];
  for (const [name, backend] of mediaOf(parts)) {
    if (!(backend instanceof OverlayBackend)) continue;
    const { size } = backend;
    regions.push({
      name,
      size,
      pieces: () => backend.written(),
      load: (offset, bytes) => backend.load(offset, bytes),
    });
  }
  return regions;
}

async function savedImage(
  parts: DomainParts,
  source: ImageSource | undefined,
  backend: BlockBackend,
): Promise<SavedImage> {
  const { host } = parts;
  const name = typeof source === "string" ? source : undefined;
  return {
    source: name === undefined ? null : (host.fullName?.(name) ?? name),
    access: backend.readonly ? "r" : "rw",
    print: await fingerprintOf(backend, name === undefined ? undefined : await host.modified?.(name)),
  };
}

/** The files that the kernel was read from, as they are now. */
export async function kernelImages(parts: DomainParts): Promise<SavedImage[]> {
  const images: SavedImage[] = [];
  const { kernel, ramdisk } = parts.config;
  for (const source of kernel === undefined ? [] : [kernel, ...ramdisk]) {
    const backend = await openSource(source, parts.host, "r");
    try {
      images.push(await savedImage(parts, source, backend));
    } finally {
      await backend.close();
    }
  }
  return images;
}

/** What is in the drives, written out to the host and looked at. */
export async function driveImages(parts: DomainParts): Promise<Record<string, SavedImage>> {
  const images: Record<string, SavedImage> = {};
  for (const [drive, backend] of mediaOf(parts)) {
    if (!backend.readonly) await backend.flush();
    const saved = await savedImage(parts, parts.builder.sourceOf(backend), backend);
    const access = parts.config.drives[drive]?.access ?? saved.access;
    images[drive] = { ...saved, access };
  }
  return images;
}

/** Facts of a machine that a saved state depends on. */
export function machineFacts({ config, machine }: DomainParts): Manifest["machine"] {
  return { memory: config.memory, clock: config.clock, cpu: config.cpuModel, roms: { ...machine.roms } };
}

/** Write a held domain to `sink`, and close that. */
export async function saveDomain(parts: DomainParts, sink: SaveSink, program: string): Promise<void> {
  const regions = regionsOf(parts);
  const manifest: Manifest = {
    program,
    saved: Date.now(),
    config: writableConfig(parts.given, parts.config, parts.host),
    drives: await driveImages(parts),
    kernel: await kernelImages(parts),
    machine: machineFacts(parts),
    regions: Object.fromEntries(regions.map(({ name, size }) => [name, size])),
  };
  const state: StateFrame = {
    machine: parts.machine.state(),
    serial: parts.serial.map((port) => port.state()),
    floppies: parts.floppies.map(({ changed }) => ({ changed })),
  };
  const writer = await FrameWriter.begin(sink);
  try {
    await writer.write(manifest);
    await writer.write(state);
    for (const region of regions) await writeRegion(writer, region);
    await writer.write(END_FRAME);
    await writer.end();
  } catch (error) {
    await writer.abort(error);
    throw error;
  }
}
