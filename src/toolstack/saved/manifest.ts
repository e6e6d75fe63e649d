/** The first frame of a saved domain: what it was made of, so that it can be made again. */
import { VmxonError } from "../../common/errors.ts";
import { CONFIG_SCHEMA, type ConfigKey, type DomainConfig, type ResolvedConfig } from "../config.ts";
import { DRIVE_NAMES, type DriveName } from "../disk-spec.ts";
import type { Host } from "../host.ts";
import type { Fingerprint } from "./fingerprint.ts";
import { shapeProblem } from "./shape.ts";

/** A medium in a drive, or a file that the machine was built from. */
export interface SavedImage {
  /** Name for the host; null: it was given as bytes, or as a backend, and must be given again. */
  source: string | null;
  access: "rw" | "r";
  print: Fingerprint;
}

export interface Manifest {
  /** The program that wrote it. */
  program: string;
  /** When: ms since the epoch. */
  saved: number;
  /** Keys that can be written down; images by their full names. */
  config: Record<string, unknown>;
  /** What is in the drives; empty drives are left out. */
  drives: Record<string, SavedImage>;
  /** Kernel, then ramdisks. */
  kernel: SavedImage[];
  machine: { memory: number; clock: string; cpu: string; roms: Record<string, string> };
  /** Memories that follow, with their sizes. */
  regions: Record<string, number>;
}

const IMAGE: SavedImage = { source: null, access: "r", print: { size: 0, modified: null, sample: "" } };

function invalid(what: string): VmxonError {
  return new VmxonError("state", `the saved domain is damaged: ${what}`);
}

function checkImage(image: unknown, path: string): void {
  const problem = shapeProblem(image, IMAGE, path);
  if (problem !== undefined) throw invalid(problem);
  const { source, access, print } = image as SavedImage;
  if (source !== null && typeof source !== "string") throw invalid(`${path}.source is no name`);
  if (print.modified !== null && typeof print.modified !== "string") throw invalid(`${path}.print.modified is no text`);
  if (access !== "r" && access !== "rw") throw invalid(`${path}.access is "${access}"`);
}

/** Check what the first frame holds. Throws VmxonError("state"). */
export function checkManifest(frame: unknown): Manifest {
  const problem = shapeProblem(
    frame,
    {
      program: "",
      saved: 0,
      config: undefined,
      drives: undefined,
      kernel: [],
      machine: { memory: 0, clock: "", cpu: "", roms: undefined },
      regions: undefined,
    },
    "manifest",
  );
  if (problem !== undefined) throw invalid(problem);
  const manifest = frame as Manifest;
  for (const [name, part] of Object.entries({ ...manifest, roms: manifest.machine.roms })) {
    if (["config", "drives", "regions", "roms"].includes(name) && !isRecord(part))
      throw invalid(`${name} is no record`);
  }
  for (const [drive, image] of Object.entries(manifest.drives)) {
    if (!DRIVE_NAMES.includes(drive as DriveName)) throw invalid(`there is no drive ${drive}`);
    checkImage(image, `drives.${drive}`);
  }
  for (const [i, image] of manifest.kernel.entries()) checkImage(image, `kernel.${i}`);
  for (const [name, size] of Object.entries(manifest.regions)) {
    if (!Number.isSafeInteger(size) || size < 0) throw invalid(`regions.${name} is no size`);
  }
  return manifest;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** Keys of which the resolved configuration, or the list of drives, says more. */
const ELSEWHERE: ReadonlySet<string> = new Set(["localtime", "rtc_timeoffset", "start_time"]);

/** The part of a configuration that can be written down. Images and kernels that have names get their full ones. */
export function writableConfig(config: DomainConfig, resolved: ResolvedConfig, host: Host): Record<string, unknown> {
  const full = (name: string): string => host.fullName?.(name) ?? name;
  const written: Record<string, unknown> = { rtc_timeoffset: resolved.wallOffset / 1000 };
  for (const [key, value] of Object.entries(config)) {
    const { type } = CONFIG_SCHEMA[key as ConfigKey];
    if (ELSEWHERE.has(key) || value === undefined) continue;
    if (type === "image") {
      if (typeof value === "string") written[key] = full(value);
    } else if (type === "images") {
      const names = [value].flat();
      if (names.every((name) => typeof name === "string")) written[key] = names.map(full);
    } else written[key] = value;
  }
  return written;
}
