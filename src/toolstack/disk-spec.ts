/** The disk specification of xl: positional and keyword parameters, flags and the old prefixes. xl-disk-configuration(5). */
import { VmxonError } from "../common/errors.ts";
import { type ImageFormat, parseFormat } from "./images/formats.ts";
import { didYouMean } from "./suggest.ts";

/** Drives that this machine has: two floppy drives and two IDE channels with two units each. */
export const DRIVE_NAMES = ["fda", "fdb", "hda", "hdb", "hdc", "hdd"] as const;
export type DriveName = (typeof DRIVE_NAMES)[number];

/** What a drive is: a disk that stays, or a drive with something to be put into it. */
export type DriveKind = "floppy" | "disk" | "cdrom";

export interface DiskSpec {
  /** Path or address of the image; a CD drive may be empty. */
  readonly target: string | undefined;
  readonly drive: DriveName;
  readonly kind: DriveKind;
  readonly access: "rw" | "r";
  /** Undefined: the format is found by looking. */
  readonly format?: ImageFormat;
  /** Internal snapshot of the image that is shown: `snapshot=NAME`. */
  readonly internal?: string;
}

/** The kind of a drive that is not said to be a CD drive. */
export function plainKind(drive: DriveName): DriveKind {
  return drive.startsWith("fd") ? "floppy" : "disk";
}

const KEYWORDS = ["target", "format", "vdev", "access", "devtype", "backendtype", "script", "snapshot"] as const;
const POSITIONS = ["target", "format", "vdev", "access"] as const;
const READ_ONLY = new Set(["r", "ro"]);
const READ_WRITE = new Set(["w", "rw"]);
const PREFIX = /^(?:phy|file|raw|tap|tap2|aio|drbd|qcow|qcow2|vhd|vmdk|tapdisk):/;
/** Prefixes that say what format the image has; the others say nothing about it. */
const FORMAT_PREFIXES = new Set(["raw", "aio", "qcow", "qcow2", "vhd", "vmdk"]);

function fail(spec: string, what: string): never {
  throw new VmxonError(
    "config",
    `disk=${JSON.stringify(spec)}: ${what} Write it as "FILE,raw,hda,rw" (drives: ${DRIVE_NAMES.join(", ")}).`,
  );
}

const DEVICE_TYPES = ["disk", "cdrom"] as const;

function imageFormat(spec: string, word: string): ImageFormat | undefined {
  if (word === "") return undefined;
  try {
    return parseFormat(word);
  } catch (error) {
    return fail(spec, (error as VmxonError).message);
  }
}

/** xvda, sda and hda all name the first disk. */
function driveName(spec: string, vdev: string): DriveName {
  const name = vdev.replace(/^(?:xvd|sd|vd)/, "hd");
  const found = DRIVE_NAMES.find((drive) => drive === name);
  if (!found) fail(spec, `there is no drive ${JSON.stringify(vdev)}.${didYouMean(vdev, DRIVE_NAMES)}`);
  return found;
}

/** Parse one specification. Throws VmxonError("config") that quotes it. */
export function parseDiskSpec(spec: string): DiskSpec {
  const values = new Map<string, string>();
  let rest = spec.trim();
  let position = 0;
  while (rest.length > 0) {
    // target= takes the rest of the string, commas included.
    const whole = /^target\s*=\s*(.*)$/s.exec(rest);
    if (whole) {
      values.set("target", whole[1]!);
      break;
    }
    const comma = rest.indexOf(",");
    const part = (comma < 0 ? rest : rest.slice(0, comma)).trim();
    rest = comma < 0 ? "" : rest.slice(comma + 1).trimStart();
    const assignment = /^([a-z]+)\s*=\s*(.*)$/s.exec(part);
    if (assignment) {
      const key = assignment[1]!;
      if (!KEYWORDS.some((keyword) => keyword === key)) {
        fail(spec, `unknown parameter ${JSON.stringify(key)}.${didYouMean(key, KEYWORDS)}`);
      }
      values.set(key, assignment[2]!);
    } else if (part === "cdrom") {
      values.set("devtype", "cdrom");
    } else {
      while (position < POSITIONS.length && values.has(POSITIONS[position]!)) position++;
      const key = POSITIONS[position++];
      if (key === undefined) fail(spec, `${JSON.stringify(part)} is one parameter too many.`);
      values.set(key, part);
    }
  }

  const prefixed = values.get("target") ?? "";
  let target = prefixed;
  let format = values.get("format") ?? "";
  while (PREFIX.test(target)) {
    const colon = target.indexOf(":");
    const prefix = target.slice(0, colon);
    if (FORMAT_PREFIXES.has(prefix)) format ||= prefix;
    target = target.slice(colon + 1);
  }
  let vdev = values.get("vdev") ?? "";
  if (vdev.endsWith(":cdrom")) {
    vdev = vdev.slice(0, -":cdrom".length);
    values.set("devtype", "cdrom");
  }
  const device = values.get("devtype") ?? "disk";
  if (!DEVICE_TYPES.some((type) => type === device)) {
    fail(spec, `devtype ${JSON.stringify(device)} is neither "disk" nor "cdrom".${didYouMean(device, DEVICE_TYPES)}`);
  }
  const cdrom = device === "cdrom";
  if (target === "" && !cdrom) fail(spec, "the name of the image file is missing.");
  if (vdev === "") fail(spec, "the drive is missing.");
  const drive = driveName(spec, vdev);
  if (cdrom && plainKind(drive) === "floppy") fail(spec, `${drive} is a floppy drive and takes no CD.`);
  const access = values.get("access") ?? "rw";
  if (!READ_ONLY.has(access) && !READ_WRITE.has(access)) {
    fail(spec, `access ${JSON.stringify(access)} is neither "rw" nor "r".`);
  }
  const parsed = imageFormat(spec, format);
  const internal = values.get("snapshot");
  return {
    target: target === "" ? undefined : target,
    drive,
    kind: cdrom ? "cdrom" : plainKind(drive),
    access: cdrom || READ_ONLY.has(access) ? "r" : "rw",
    ...(parsed === undefined ? {} : { format: parsed }),
    ...(internal === undefined ? {} : { internal }),
  };
}
