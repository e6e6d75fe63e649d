/** A domain's configuration: one table of keys, from which the library's types, `key=value` words and the help are made. */
import { VmxonError } from "../common/errors.ts";
import { DEFAULT_KEYMAP, KEYMAP_NAMES, type KeymapName } from "../devices/keymaps.ts";
import type { BlockBackend } from "../hypervisor/backend.ts";
import { CPU_MODEL_NAMES, type CpuModelName, DEFAULT_CPU_MODEL } from "../hypervisor/cpuid.ts";
import { DEFAULT_COMPILER } from "../processor/compiler/compiler.ts";
import { DRIVE_NAMES, type DriveKind, type DriveName, parseDiskSpec, plainKind } from "./disk-spec.ts";
import { SERIAL_TARGET } from "./host.ts";
import type { ImageFormat } from "./images/formats.ts";
import type { ImageSource } from "./images/open.ts";
import { didYouMean } from "./suggest.ts";

export type { ImageSource } from "./images/open.ts";

interface ValueTypes {
  text: string;
  image: ImageSource;
  images: ImageSource | readonly ImageSource[];
  flag: boolean;
  integer: number;
  /** MiB as a number, or with a unit: "64M", "1G". */
  size: number | string;
  texts: string | readonly string[];
  date: string | number | Date;
}

interface KeySchema {
  readonly type: keyof ValueTypes | "choice";
  readonly choices?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly initial?: string;
  readonly help: string;
}

const MIB = 0x100000;
const STOP_ACTIONS = ["destroy", "restart"] as const;

/** Every key that is honoured. Names and meanings are those of xl.cfg(5) where it has the key. */
export const CONFIG_SCHEMA = {
  name: { type: "text", initial: "vmxon", help: "name of the domain, for messages" },
  memory: { type: "size", minimum: 1, maximum: 1952, initial: "128", help: "memory in MiB, or with a unit: 64M, 1G" },
  cpuid: {
    type: "choice",
    choices: CPU_MODEL_NAMES,
    initial: DEFAULT_CPU_MODEL,
    help: "processor model: what CPUID tells, and which instructions there are",
  },
  disk: {
    type: "texts",
    help: 'disk in xl\'s words: "FILE,raw,hda,rw", a CD "FILE,raw,hdc,cdrom", an empty drive ",raw,hdc,cdrom"; drives are fda fdb hda hdb hdc hdd',
  },
  fda: { type: "image", help: "image in the first floppy drive" },
  fdb: { type: "image", help: "image in the second floppy drive" },
  hda: { type: "image", help: "first disk of the first IDE channel" },
  hdb: { type: "image", help: "second disk of the first IDE channel" },
  hdc: { type: "image", help: "first disk of the second IDE channel" },
  hdd: { type: "image", help: "second disk of the second IDE channel" },
  cdrom: { type: "image", help: "CD or DVD image, in a drive that is hdc" },
  boot: { type: "text", help: "order of boot devices: a floppy, c disk, d CD; default ac, with a CD drive acd" },
  bios: {
    type: "image",
    help: "system BIOS instead of the built-in one: a file, or seabios or bochs where Debian puts them",
  },
  vgabios: { type: "image", help: "display BIOS instead of the built-in one: a file, seabios or lgpl" },
  boot_menu: {
    type: "integer",
    initial: "0",
    help: "milliseconds that the BIOS waits for F12 or Esc, which show the boot menu",
  },
  acpi: { type: "flag", initial: "1", help: "power management: ACPI timer, sleep states, power button" },
  apic: { type: "flag", initial: "1", help: "local and I/O APIC, where the processor model has one" },
  hpet: { type: "flag", initial: "1", help: "high precision event timers" },
  snapshot: { type: "flag", initial: "0", help: "1: writes to images are kept in memory and thrown away" },
  kernel: { type: "image", help: "Linux bzImage or multiboot kernel to boot directly" },
  ramdisk: { type: "images", help: "the kernel's initial ramdisk; multiboot modules, separated by commas" },
  cmdline: { type: "text", help: "the kernel's command line" },
  root: { type: "text", help: "added to the command line as root=…" },
  extra: { type: "text", help: "added to the command line" },
  serial: { type: "texts", help: "where COM1 (and COM2) lead: stdio, file:NAME or none" },
  keymap: {
    type: "choice",
    choices: KEYMAP_NAMES,
    initial: DEFAULT_KEYMAP,
    help: "layout of the keyboard that the guest is set to, for typed text",
  },
  vmmouse: { type: "flag", initial: "1", help: "0: without the absolute pointer of VMware's backdoor (port 5658h)" },
  clock: {
    type: "choice",
    choices: ["real", "instructions"],
    initial: "real",
    help: "guest time follows the host, or counts instructions: every run the same",
  },
  compile_after: {
    type: "integer",
    initial: String(DEFAULT_COMPILER.threshold),
    help: "executions of guest code until it is compiled; 0: it is only interpreted",
  },
  check: {
    type: "choice",
    choices: ["none", "lockstep"],
    initial: "none",
    help: "lockstep: an interpreter runs beside the compiled code; the domain stops where they differ",
  },
  profile: { type: "flag", initial: "0", help: "1: measure where time goes, at some cost; see vmxon run --profile" },
  start_time: { type: "date", help: "date at which an instruction clock starts: 2026-01-01T00:00:00Z" },
  localtime: { type: "flag", initial: "0", help: "1: the hardware clock shows local time instead of UTC" },
  rtc_timeoffset: { type: "integer", initial: "0", help: "seconds added to the hardware clock" },
  on_poweroff: {
    type: "choice",
    choices: STOP_ACTIONS,
    initial: "destroy",
    help: "when the guest switches itself off",
  },
  on_reboot: { type: "choice", choices: STOP_ACTIONS, initial: "restart", help: "when the guest resets the machine" },
  on_crash: { type: "choice", choices: STOP_ACTIONS, initial: "destroy", help: "when the guest cannot go on" },
} as const satisfies Readonly<Record<string, KeySchema>>;

type Schema = typeof CONFIG_SCHEMA;
export type ConfigKey = keyof Schema;
type ValueOf<S> = S extends { type: "choice"; choices: readonly (infer C)[] }
  ? C
  : S extends { type: infer T extends keyof ValueTypes }
    ? ValueTypes[T]
    : never;

/** What `Domain.create` takes: any of the keys, as JavaScript values. */
export type DomainConfig = { [K in ConfigKey]?: ValueOf<Schema[K]> | undefined };

export type StopAction = (typeof STOP_ACTIONS)[number];

export interface DriveConfig {
  /** Undefined: an empty drive. */
  readonly source: ImageSource | undefined;
  readonly kind: DriveKind;
  readonly access: "rw" | "r";
  /** Undefined: the format is found by looking. */
  readonly format?: ImageFormat | undefined;
  /** The internal snapshot of the image that is shown. */
  readonly internal?: string | undefined;
}

export type BootDevice = "floppy" | "disk" | "cdrom";

/** A configuration with every value checked and every default filled in. */
export interface ResolvedConfig {
  readonly name: string;
  /** Bytes. */
  readonly memory: number;
  readonly cpuModel: CpuModelName;
  readonly acpi: boolean;
  readonly apic: boolean;
  readonly hpet: boolean;
  readonly drives: Readonly<Partial<Record<DriveName, DriveConfig>>>;
  readonly boot: readonly BootDevice[];
  /** Firmware instead of the built-in one. */
  readonly bios: ImageSource | undefined;
  readonly vgaBios: ImageSource | undefined;
  /** How long the BIOS waits for the boot menu's key, ms. */
  readonly bootMenuMs: number;
  readonly snapshot: boolean;
  readonly kernel: ImageSource | undefined;
  readonly ramdisk: readonly ImageSource[];
  readonly commandLine: string;
  /** Target of COM1 and COM2; undefined is none. */
  readonly serial: readonly (string | undefined)[];
  readonly keymap: KeymapName;
  readonly vmmouse: boolean;
  readonly clock: "real" | "instructions";
  /** Executions until code is compiled; 0: never. */
  readonly compileAfter: number;
  readonly lockstep: boolean;
  readonly profile: boolean;
  /** ms since the Unix epoch. */
  readonly startTime: number | undefined;
  /** ms added to the wall clock for the hardware clock. */
  readonly wallOffset: number;
  readonly onPoweroff: StopAction;
  readonly onReboot: StopAction;
  readonly onCrash: StopAction;
}

const SERIAL_PORTS = 2;
const FLAGS: Readonly<Record<string, boolean>> = {
  "1": true,
  true: true,
  yes: true,
  on: true,
  "0": false,
  false: false,
  no: false,
  off: false,
};
const UNITS: Readonly<Record<string, number>> = { K: 1 / 1024, M: 1, G: 1024 };

function fail(key: string, value: unknown, expected: string): never {
  const shown = typeof value === "string" ? value : JSON.stringify(value);
  throw new VmxonError("config", `${key}=${shown}: ${expected}`);
}

/** True for a word that sets a key: `memory=64`. */
export function isConfigWord(word: string): boolean {
  return /^[a-z][a-z0-9_.]*\+?=/.test(word);
}

export function isConfigKey(key: string): key is ConfigKey {
  return Object.hasOwn(CONFIG_SCHEMA, key);
}

function unknownKey(key: string): never {
  const hint = didYouMean(key, Object.keys(CONFIG_SCHEMA));
  throw new VmxonError("config", `unknown key "${key}".${hint || " The keys are listed by: vmxon help config"}`);
}

/** The strings of `['a', "b"]`, or the one string itself, quoted or not. */
function parseList(key: string, text: string): string[] {
  const trimmed = text.trim();
  if (!trimmed.startsWith("[")) return [unquote(trimmed)];
  const items: string[] = [];
  const pattern = /\s*(?:'([^']*)'|"([^"]*)")\s*(,|\])/gy;
  pattern.lastIndex = 1;
  if (/^\[\s*\]$/.test(trimmed)) return items;
  for (;;) {
    const match = pattern.exec(trimmed);
    if (!match) fail(key, text, "write a list as ['first', 'second']");
    items.push(match[1] ?? match[2] ?? "");
    if (match[3] === "]") return items;
  }
}

function unquote(text: string): string {
  const match = /^(['"])(.*)\1$/s.exec(text);
  return match ? match[2]! : text;
}

/**
 * Put one `key=value` word (or `key+=value` for lists) into a configuration. List keys given twice are joined, others
 * replaced. Throws VmxonError("config") that says what to write.
 */
export function applyConfigWord(config: DomainConfig, word: string): void {
  const equals = word.indexOf("=");
  const key = word.slice(0, equals).replace(/\+$/, "");
  const raw = word.slice(equals + 1);
  if (!isConfigKey(key)) unknownKey(key);
  const schema: KeySchema = CONFIG_SCHEMA[key];
  const target = config as Record<string, unknown>;
  if (schema.type === "texts" || schema.type === "images") {
    const list =
      schema.type === "images" ? parseList(key, raw).flatMap((item) => item.split(",")) : parseList(key, raw);
    const before = target[key];
    target[key] = [...(before === undefined ? [] : Array.isArray(before) ? before : [before]), ...list];
  } else {
    target[key] = unquote(raw);
  }
}

/** MiB of `64`, "64", "64M", "1G". Undefined when it is none of these. */
export function parseMebibytes(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  const match = /^(\d+(?:\.\d+)?)\s*([KMG])?(?:i?B)?$/i.exec(String(value).trim());
  return match ? Number(match[1]) * UNITS[(match[2] ?? "M").toUpperCase()]! : undefined;
}

/** Reads checked values out of a configuration, whether they are JavaScript values or the strings of words. */
class Reader {
  readonly #config: Readonly<Record<string, unknown>>;

  constructor(config: DomainConfig) {
    this.#config = config as Readonly<Record<string, unknown>>;
  }

  #value(key: ConfigKey): unknown {
    const schema: KeySchema = CONFIG_SCHEMA[key];
    return this.#config[key] ?? schema.initial;
  }

  text(key: ConfigKey): string | undefined {
    const value = this.#value(key);
    if (value === undefined || typeof value === "string") return value;
    return fail(key, value, "must be a string");
  }

  texts(key: ConfigKey): string[] {
    const value = this.#value(key);
    if (value === undefined) return [];
    const list = Array.isArray(value) ? value : [value];
    if (!list.every((item): item is string => typeof item === "string")) fail(key, value, "must be strings");
    return list;
  }

  flag(key: ConfigKey): boolean {
    const value = this.#value(key);
    const flag = FLAGS[String(value).toLowerCase()];
    return flag ?? fail(key, value, "must be 1 or 0");
  }

  integer(key: ConfigKey): number {
    const value = Number(this.#value(key));
    return Number.isInteger(value) ? value : fail(key, this.#value(key), "must be a whole number");
  }

  /** Bytes. */
  size(key: ConfigKey): number {
    const value = this.#value(key);
    const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER }: KeySchema = CONFIG_SCHEMA[key];
    const mebibytes = parseMebibytes(value);
    if (mebibytes === undefined || !Number.isFinite(mebibytes)) {
      fail(key, value, `must be a number of MiB or a size such as 64M; ${minimum} to ${maximum} MiB`);
    }
    if (mebibytes < minimum || mebibytes > maximum) fail(key, value, `must be from ${minimum} to ${maximum} MiB`);
    // Whole pages of 4 KB.
    return Math.floor((mebibytes * MIB) / 4096) * 4096;
  }

  choice<C extends string>(key: ConfigKey): C {
    const value = this.#value(key);
    const choices: readonly string[] = (CONFIG_SCHEMA[key] as KeySchema).choices ?? [];
    if (typeof value === "string" && choices.includes(value)) return value as C;
    return fail(key, value, `must be ${choices.join(" or ")}.${didYouMean(String(value), choices)}`);
  }

  image(key: ConfigKey): ImageSource | undefined {
    const value = this.#value(key);
    return value === undefined || value === "" ? undefined : checkSource(key, value);
  }

  images(key: ConfigKey): ImageSource[] {
    const value = this.#value(key);
    if (value === undefined || value === "") return [];
    return (Array.isArray(value) ? value : [value]).map((item) => checkSource(key, item));
  }

  date(key: ConfigKey): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    const time = new Date(value as string | number | Date).getTime();
    return Number.isNaN(time) ? fail(key, value, "must be a date such as 2026-01-01T00:00:00Z") : time;
  }
}

function checkSource(key: string, value: unknown): ImageSource {
  if (typeof value === "string" || value instanceof Uint8Array || value instanceof Blob) return value;
  if (typeof value === "object" && value !== null && "read" in value && "size" in value) return value as BlockBackend;
  return fail(key, value, "must be the name of an image, a Uint8Array, a Blob or a BlockBackend");
}

const BOOT_LETTERS: Readonly<Record<string, BootDevice>> = { a: "floppy", c: "disk", d: "cdrom" };
/** A letter that xl and QEMU know and that names a device which is not there: passed over when others are given. */
const NETWORK = "n";

function bootOrder(text: string): BootDevice[] {
  const order: BootDevice[] = [];
  for (const letter of text) {
    const device = BOOT_LETTERS[letter];
    if (device) order.push(device);
    else if (letter !== NETWORK) fail("boot", text, "use the letters a (floppy), c (disk) and d (CD), such as acd");
  }
  if (order.length === 0) fail("boot", text, "network boot is not supported yet; use a (floppy), c (disk) and d (CD)");
  return order;
}

function serialTargets(targets: readonly string[]): (string | undefined)[] {
  if (targets.length > SERIAL_PORTS) fail("serial", targets.join(","), "there are two serial ports, COM1 and COM2");
  return targets.map((target) => {
    if (target === "none" || target === "") return undefined;
    return SERIAL_TARGET.test(target) ? target : fail("serial", target, "must be stdio, file:NAME or none");
  });
}

function drives(reader: Reader): Partial<Record<DriveName, DriveConfig>> {
  const found: Partial<Record<DriveName, DriveConfig>> = {};
  const add = (drive: DriveName, config: DriveConfig): void => {
    if (found[drive]) throw new VmxonError("config", `drive ${drive} is given twice; leave one of them out`);
    found[drive] = config;
  };
  for (const drive of DRIVE_NAMES) {
    const source = reader.image(drive);
    if (source !== undefined) add(drive, { source, kind: plainKind(drive), access: "rw" });
  }
  const disc = reader.image("cdrom");
  if (disc !== undefined) add("hdc", { source: disc, kind: "cdrom", access: "r" });
  for (const text of reader.texts("disk")) {
    const { drive, target, ...spec } = parseDiskSpec(text);
    add(drive, { source: target, ...spec });
  }
  return found;
}

const LONGEST_MENU_MS = 65_535;

/** Check a configuration and fill in the defaults. Throws VmxonError("config") that names the key. */
export function resolveConfig(config: DomainConfig): ResolvedConfig {
  for (const key of Object.keys(config)) {
    if (!isConfigKey(key)) unknownKey(key);
  }
  const reader = new Reader(config);
  const root = reader.text("root");
  const kernel = reader.image("kernel");
  const ramdisk = reader.images("ramdisk");
  const commandLine = [reader.text("cmdline"), root && `root=${root}`, reader.text("extra")].filter(Boolean).join(" ");
  if (kernel === undefined && (ramdisk.length > 0 || commandLine !== "")) {
    throw new VmxonError("config", "a ramdisk or command line was given but no kernel; add -kernel FILE");
  }
  const clock = reader.choice<"real" | "instructions">("clock");
  const startTime = reader.date("start_time");
  if (startTime !== undefined && clock === "real") {
    throw new VmxonError("config", "start_time needs clock=instructions; rtc_timeoffset moves the real clock");
  }
  const compileAfter = reader.integer("compile_after");
  if (compileAfter < 0) throw new VmxonError("config", `compile_after=${compileAfter}: must be 0 or more`);
  const bios = reader.image("bios");
  if (bios !== undefined && kernel !== undefined) {
    throw new VmxonError("config", "a kernel is entered by the built-in BIOS; leave out bios= or the kernel");
  }
  const bootMenuMs = reader.integer("boot_menu");
  if (bootMenuMs < 0 || bootMenuMs > LONGEST_MENU_MS) {
    throw new VmxonError("config", `boot_menu=${bootMenuMs}: must be from 0 to ${LONGEST_MENU_MS} milliseconds`);
  }
  const found = drives(reader);
  const hasCdDrive = Object.values(found).some(({ kind }) => kind === "cdrom");
  const zone = reader.flag("localtime") ? -new Date().getTimezoneOffset() * 60_000 : 0;
  return {
    name: reader.text("name") ?? "",
    memory: reader.size("memory"),
    cpuModel: reader.choice<CpuModelName>("cpuid"),
    acpi: reader.flag("acpi"),
    apic: reader.flag("apic"),
    hpet: reader.flag("hpet"),
    drives: found,
    boot: bootOrder(reader.text("boot") ?? (hasCdDrive ? "acd" : "ac")),
    bios,
    vgaBios: reader.image("vgabios"),
    bootMenuMs,
    snapshot: reader.flag("snapshot"),
    kernel,
    ramdisk,
    commandLine,
    serial: serialTargets(reader.texts("serial")),
    keymap: reader.choice<KeymapName>("keymap"),
    vmmouse: reader.flag("vmmouse"),
    clock,
    compileAfter,
    lockstep: reader.choice<"none" | "lockstep">("check") === "lockstep",
    profile: reader.flag("profile"),
    startTime,
    wallOffset: reader.integer("rtc_timeoffset") * 1000 + zone,
    onPoweroff: reader.choice<StopAction>("on_poweroff"),
    onReboot: reader.choice<StopAction>("on_reboot"),
    onCrash: reader.choice<StopAction>("on_crash"),
  };
}

/** The table as lines of text: key, default, meaning. */
export function describeConfig(): string[] {
  return Object.entries(CONFIG_SCHEMA).map(([key, schema]: [string, KeySchema]) => {
    const initial = schema.initial === undefined ? "" : ` (default ${schema.initial})`;
    const choices = schema.choices ? `${schema.choices.join(" or ")}: ` : "";
    return `  ${key.padEnd(15)} ${choices}${schema.help}${initial}`;
  });
}
