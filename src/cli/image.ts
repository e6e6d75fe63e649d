/** `vmxon image create|info|convert|check`: what qemu-img does, with its spelling. */
import { stat } from "node:fs/promises";
import { deflateRaw } from "node:zlib";
import { VmxonError } from "../common/errors.ts";
import { copyDisk, createRaw, type Deflate } from "../toolstack/images/convert.ts";
import { detectFormat, type ImageFormat, parseFormat } from "../toolstack/images/formats.ts";
import { imageInfo, infoJson, infoText } from "../toolstack/images/info.ts";
import { backingName, openImage } from "../toolstack/images/open.ts";
import { type CheckResult, checkQcow2, type Repair } from "../toolstack/images/qcow2/check.ts";
import { type CreateQcow2Options, createQcow2 } from "../toolstack/images/qcow2/create.ts";
import { readQcow2Header } from "../toolstack/images/qcow2/header.ts";
import { parseSize } from "../toolstack/images/size.ts";
import { NODE_HOST } from "../toolstack/node/host.ts";
import { createFile } from "../toolstack/node/image-file.ts";
import { didYouMean } from "../toolstack/suggest.ts";
import { EXIT } from "./exit-status.ts";
import { helpText } from "./help.ts";

/** Statuses of `check`, as qemu-img has them. */
const CHECK_STATUS = { clean: 0, corrupt: 2, leaks: 3, unsupported: 63 } as const;
const SECTOR = 512;

interface Options {
  readonly words: string[];
  readonly values: ReadonlyMap<string, string>;
}

interface OptionName {
  readonly names: readonly string[];
  readonly value: boolean;
}

const option = (value: boolean, ...names: string[]): OptionName => ({ names, value });
const FORMAT = option(true, "-f");
const OUTPUT_FORMAT = option(true, "-O");
const BACKING = option(true, "-b", "-B");
const BACKING_FORMAT = option(true, "-F");
const SETTINGS = option(true, "-o");
const COMPRESS = option(false, "-c");
const PROGRESS = option(false, "-p");
const REPAIR = option(true, "-r");
const OUTPUT = option(true, "--output");
const SNAPSHOT = option(true, "-l");

function usage(message: string): never {
  throw new VmxonError("usage", `${message} Type: vmxon help image`);
}

/** Split a command line into options and words. An option's first name is its key. */
function parse(args: readonly string[], known: readonly OptionName[]): Options {
  const words: string[] = [];
  const values = new Map<string, string>();
  for (let index = 0; index < args.length; index++) {
    const word = args[index]!;
    if (word === "--") {
      words.push(...args.slice(index + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      words.push(word);
      continue;
    }
    const equals = word.startsWith("--") ? word.indexOf("=") : -1;
    const name = equals < 0 ? word : word.slice(0, equals);
    const found = known.find(({ names }) => names.includes(name));
    if (!found) {
      const names = known.flatMap((item) => item.names);
      usage(`unknown option ${name}.${didYouMean(name, names)}`);
    }
    const key = found.names[0]!;
    if (!found.value) values.set(key, "");
    else {
      const value = equals < 0 ? args[++index] : word.slice(equals + 1);
      if (value === undefined) usage(`${name}: something is missing behind it.`);
      // -o may be given several times.
      values.set(key, found === SETTINGS && values.has(key) ? `${values.get(key)},${value}` : value);
    }
  }
  return { words, values };
}

function format({ values }: Options, { names }: OptionName): ImageFormat | undefined {
  const word = values.get(names[0]!);
  return word === undefined ? undefined : parseFormat(word);
}

/** Settings of -o for a new image. */
type Settings = Omit<CreateQcow2Options, "size">;

function flag(name: string, value: string): boolean {
  if (value !== "on" && value !== "off") usage(`${name}=${value}: write ${name}=on or ${name}=off.`);
  return value === "on";
}

const SETTING_NAMES = ["cluster_size", "refcount_bits", "compat", "lazy_refcounts", "backing_file", "backing_fmt"];

/** What -o, -b and -F say together. */
function settings(options: Options, type: ImageFormat): Settings {
  const { values } = options;
  const found: { -readonly [K in keyof Settings]: Settings[K] } = {
    backingFile: values.get(BACKING.names[0]!),
    backingFormat: values.get(BACKING_FORMAT.names[0]!),
  };
  for (const part of (values.get(SETTINGS.names[0]!) ?? "").split(",").filter((word) => word !== "")) {
    const [name, value = ""] = part.split(/=(.*)/s);
    if (name === "cluster_size") found.clusterSize = parseSize(value);
    else if (name === "refcount_bits") found.refcountBits = Number(value);
    else if (name === "lazy_refcounts") found.lazyRefcounts = flag(name, value);
    else if (name === "backing_file") found.backingFile = value;
    else if (name === "backing_fmt") found.backingFormat = value;
    else if (name === "compat") {
      if (!["0.10", "v2", "1.1", "v3"].includes(value)) usage(`compat=${value}: write compat=0.10 or compat=1.1.`);
      found.version = value === "0.10" || value === "v2" ? 2 : 3;
    } else usage(`-o ${part}: there is no such setting.${didYouMean(name!, SETTING_NAMES)}`);
  }
  if (type === "raw" && Object.values(found).some((value) => value !== undefined)) {
    usage("raw images have no settings and no backing file; write -f qcow2 (convert: -O qcow2).");
  }
  if (type !== "raw" && type !== "qcow2") usage(`images of format ${type} are only read; write raw or qcow2.`);
  if (found.backingFormat !== undefined) {
    if (found.backingFile === undefined) usage("a format of the backing file was given (-F), but none (-b).");
    found.backingFormat = parseFormat(found.backingFormat);
  }
  return found;
}

/** Open the backing file that a new image shall have, as that image will. */
async function openBacking(target: string, { backingFile, backingFormat }: Settings) {
  if (backingFile === undefined) return undefined;
  if (backingFormat === undefined) {
    usage(
      `say which format ${backingFile} has, so that nobody has to guess it from what a guest wrote: -F raw or -F qcow2.`,
    );
  }
  const name = backingName(target, target, backingFile, NODE_HOST);
  return (await openImage(name, { name, host: NODE_HOST, access: "r", format: parseFormat(backingFormat) })).backend;
}

/** Throw when a new image would overwrite what it is made from. */
async function refuseSame(target: string, source: string | undefined): Promise<void> {
  if (source === undefined) return;
  const [a, b] = await Promise.all([target, source].map((name) => stat(name).catch(() => undefined)));
  if (a && b && a.dev === b.dev && a.ino === b.ino)
    usage(`${target} is ${source} itself; give the new image another name.`);
}

function quoted(value: string | number): string {
  return /^[\w./-]*$/.test(String(value)) ? String(value) : `'${value}'`;
}

async function create(args: readonly string[]): Promise<number> {
  const options = parse(args, [FORMAT, BACKING, BACKING_FORMAT, SETTINGS]);
  const [name, sizeWord, ...more] = options.words;
  if (name === undefined || more.length > 0) usage("write: vmxon image create -f qcow2 FILE 10G.");
  const type = format(options, FORMAT) ?? "raw";
  const found = settings(options, type);
  const base = await openBacking(name, found);
  if (found.backingFile !== undefined) await refuseSame(name, backingName(name, name, found.backingFile, NODE_HOST));
  const given = sizeWord === undefined ? base?.size : parseSize(sizeWord);
  await base?.close();
  if (given === undefined) usage(`${name}: how large is the disk to be? Add a size, such as 10G.`);
  const size = Math.ceil(given / SECTOR) * SECTOR;
  const file = await createFile(name);
  try {
    if (type === "raw") await createRaw(file, size);
    else await createQcow2(file, { ...found, size });
  } finally {
    await file.close();
  }
  const backing =
    found.backingFile === undefined
      ? ""
      : ` backing_file=${quoted(found.backingFile)} backing_fmt=${found.backingFormat}`;
  process.stdout.write(`Formatting ${quoted(name)}, fmt=${type} size=${size}${backing}\n`);
  return EXIT.ok;
}

async function info(args: readonly string[]): Promise<number> {
  const options = parse(args, [FORMAT, OUTPUT]);
  const [name, ...more] = options.words;
  if (name === undefined || more.length > 0) usage("write: vmxon image info FILE.");
  const file = await NODE_HOST.openImage(name, "r");
  try {
    const found = await imageInfo(name, file, NODE_HOST, format(options, FORMAT));
    const text = wantsJson(options) ? JSON.stringify(infoJson(found), undefined, 4) : infoText(found);
    process.stdout.write(`${text}\n`);
  } finally {
    await file.close();
  }
  return EXIT.ok;
}

function wantsJson({ values }: Options): boolean {
  const output = values.get(OUTPUT.names[0]!) ?? "human";
  if (output !== "human" && output !== "json") usage(`--output=${output}: write --output=human or --output=json.`);
  return output === "json";
}

/** Readers of qcow2 images keep 4 KB of what they have decompressed to look back at. */
const WINDOW_BITS = 12;

const deflate: Deflate = (cluster) =>
  new Promise((resolve, reject) => {
    deflateRaw(cluster, { windowBits: WINDOW_BITS, memLevel: 9 }, (error, stream) => {
      if (error) reject(error);
      else resolve(stream.length < cluster.length ? stream : undefined);
    });
  });

async function convert(args: readonly string[]): Promise<number> {
  const known = [FORMAT, OUTPUT_FORMAT, BACKING, BACKING_FORMAT, SETTINGS, COMPRESS, PROGRESS, SNAPSHOT];
  const options = parse(args, known);
  const { values } = options;
  const [from, to, ...more] = options.words;
  if (from === undefined || to === undefined || more.length > 0) {
    usage("write: vmxon image convert -O qcow2 OLD NEW.");
  }
  const type = format(options, OUTPUT_FORMAT) ?? "raw";
  const found = settings(options, type);
  const packs = values.has(COMPRESS.names[0]!);
  if (packs && type !== "qcow2") usage("-c compresses qcow2 images only; write -O qcow2.");
  const snapshot = values.get(SNAPSHOT.names[0]!)?.replace(/^snapshot\.(?:name|id)=/, "");
  const host = NODE_HOST;
  const { backend: source } = await openImage(from, {
    name: from,
    host,
    access: "r",
    format: format(options, FORMAT),
    snapshot,
  });
  const base = await openBacking(to, found).catch(async (error: unknown) => {
    await source.close();
    throw error;
  });
  try {
    const size = Math.ceil(source.size / SECTOR) * SECTOR;
    await refuseSame(to, from);
    if (found.backingFile !== undefined) await refuseSame(to, backingName(to, to, found.backingFile, host));
    const file = await createFile(to);
    try {
      if (type === "raw") await createRaw(file, source.size);
      else await createQcow2(file, { ...found, size });
    } finally {
      await file.close();
    }
    const { backend: target } = await openImage(to, { name: to, host, access: "rw", format: type });
    try {
      const shown = values.has(PROGRESS.names[0]!);
      await copyDisk(source, target, {
        base,
        deflate: packs ? deflate : undefined,
        onProgress: (fraction) => {
          if (shown) process.stdout.write(`    (${(fraction * 100).toFixed(2)}/100%)\r`);
        },
      });
      if (shown) process.stdout.write("\n");
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
    await base?.close();
  }
  return EXIT.ok;
}

function summary(result: CheckResult, clusterSize: number): string {
  const lines: string[] = [];
  if (result.leaksFixed + result.corruptionsFixed > 0) {
    lines.push(
      "The following inconsistencies were found and repaired:",
      "",
      `    ${result.leaksFixed} leaked clusters`,
      `    ${result.corruptionsFixed} corruptions`,
      "",
    );
  }
  if (result.corruptions > 0) {
    lines.push(
      "",
      `${result.corruptions} errors were found on the image.`,
      "Data may be corrupted, or further writes to the image may corrupt it.",
    );
  }
  if (result.leaks > 0) {
    lines.push(
      "",
      `${result.leaks} leaked clusters were found on the image.`,
      "This means waste of disk space, but no harm to data.",
    );
  }
  if (result.corruptions + result.leaks === 0) lines.push("No errors were found on the image.");
  const { totalClusters: total, allocatedClusters: allocated } = result;
  const share = (part: number, all: number): string => `${((100 * part) / Math.max(1, all)).toFixed(2)}%`;
  lines.push(
    `${allocated}/${total} = ${share(allocated, total)} allocated, ` +
      `${share(result.fragmentedClusters, allocated)} fragmented, ` +
      `${share(result.compressedClusters, allocated)} compressed clusters of ${clusterSize} bytes`,
    `Image end offset: ${result.endOffset}`,
  );
  return lines.join("\n");
}

async function check(args: readonly string[]): Promise<number> {
  const options = parse(args, [FORMAT, REPAIR, OUTPUT]);
  const [name, ...more] = options.words;
  if (name === undefined || more.length > 0) usage("write: vmxon image check FILE.");
  const repair = options.values.get(REPAIR.names[0]!) ?? "none";
  if (repair !== "none" && repair !== "leaks" && repair !== "all") usage(`-r ${repair}: write -r leaks or -r all.`);
  const json = wantsJson(options);
  const file = await NODE_HOST.openImage(name, repair === "none" ? "r" : "rw");
  try {
    const type = format(options, FORMAT) ?? (await detectFormat(name, file));
    if (type !== "qcow2") {
      process.stderr.write(`vmxon: ${name} is a ${type} image, which has nothing to check.\n`);
      return CHECK_STATUS.unsupported;
    }
    const header = await readQcow2Header(name, file);
    const result = await checkQcow2({ name, file, header, repair: repair satisfies Repair });
    if (json) process.stdout.write(`${JSON.stringify(checkJson(name, result), undefined, 4)}\n`);
    else {
      for (const problem of result.problems) process.stdout.write(`${problem}\n`);
      process.stdout.write(`${summary(result, 2 ** header.clusterBits)}\n`);
    }
    if (result.corruptions > 0) return CHECK_STATUS.corrupt;
    return result.leaks > 0 ? CHECK_STATUS.leaks : CHECK_STATUS.clean;
  } finally {
    await file.close();
  }
}

/** The object that `qemu-img check --output=json` prints. */
function checkJson(name: string, result: CheckResult): Record<string, unknown> {
  const counts = {
    leaks: result.leaks,
    corruptions: result.corruptions,
    "leaks-fixed": result.leaksFixed,
    "corruptions-fixed": result.corruptionsFixed,
  };
  return {
    filename: name,
    format: "qcow2",
    "check-errors": 0,
    "image-end-offset": result.endOffset,
    "total-clusters": result.totalClusters,
    "allocated-clusters": result.allocatedClusters,
    "fragmented-clusters": result.fragmentedClusters,
    "compressed-clusters": result.compressedClusters,
    ...Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0)),
  };
}

const VERBS: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = { create, info, convert, check };

/** Run `vmxon image …`; the exit status. */
export async function image([verb, ...rest]: readonly string[]): Promise<number> {
  if (verb === "--help" || verb === "-h" || rest.includes("--help")) {
    process.stdout.write(`${helpText("image")}\n`);
    return EXIT.ok;
  }
  if (verb === undefined) usage("what is to be done with an image?");
  const work = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
  if (!work) usage(`there is no "vmxon image ${verb}".${didYouMean(verb, Object.keys(VERBS))}`);
  return work(rest);
}
