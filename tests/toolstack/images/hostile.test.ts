/** Images with headers and tables that make no sense: a VmxonError, or an image that works; nothing else, and soon. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { VmxonError } from "../../../src/common/errors.ts";
import { MemoryFile } from "../../../src/toolstack/images/image-file.ts";
import { openImage } from "../../../src/toolstack/images/open.ts";
import { checkQcow2 } from "../../../src/toolstack/images/qcow2/check.ts";
import { createQcow2 } from "../../../src/toolstack/images/qcow2/create.ts";
import { readQcow2Header } from "../../../src/toolstack/images/qcow2/header.ts";
import { Qcow2Image } from "../../../src/toolstack/images/qcow2/qcow2.ts";
import { NODE_HOST } from "../../../src/toolstack/node/host.ts";
import { NO_QEMU, qemuImg, qemuIo } from "../../support/qemu-tools.ts";
import { withFolder } from "./folder.ts";
import { randomNumbers } from "./random-operations.ts";

const MUTANTS = 5000;
const SIZE = 1 << 20;
/** No mutant's file grows beyond: some dozens of clusters of 2 MB, and a table of counts that moves. */
const MOST = 192 * SIZE;
/** More than an image of this size can need; a stall is what is looked for. */
const STUCK_MS = 20_000;

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 0x10000, 0x200] as const;

/** Change some bytes, most of them where headers and tables are. */
function mutate(
  original: Uint8Array,
  random: (limit: number) => number,
  ranges: readonly (readonly [number, number])[],
): Uint8Array {
  const bytes = original.slice();
  const view = new DataView(bytes.buffer);
  for (let count = 1 + random(4); count > 0; count--) {
    const [from, length] = ranges[random(ranges.length)]!;
    const at = Math.min(from + random(length), bytes.length - 8);
    const choice = random(5);
    if (choice === 0) bytes[at] = random(256);
    else if (choice === 1) bytes[at]! ^= 1 << random(8);
    else if (choice === 2) view.setUint32(at & ~3, EXTREMES[random(EXTREMES.length)]!, random(2) === 0);
    else if (choice === 3) view.setUint32(at & ~3, random(bytes.length), random(2) === 0);
    else view.setBigUint64(at & ~7, view.getBigUint64(Math.min(random(bytes.length) & ~7, bytes.length - 8)));
  }
  return random(10) === 0 ? bytes.slice(0, random(bytes.length)) : bytes;
}

/** Use an image as a guest would. */
async function exercise(bytes: Uint8Array, random: (limit: number) => number): Promise<void> {
  const { backend, format } = await openImage(bytes, { name: "mutant", host: NODE_HOST, access: "rw" });
  const buffer = new Uint8Array(5000);
  const attempt = async (work: Promise<void>): Promise<void> => {
    await work.catch((error: unknown) => assert.ok(error instanceof VmxonError, String((error as Error).stack)));
  };
  const offset = (): number => random(Math.max(1, Math.min(backend.size, 2 ** 31) - buffer.length));
  if (backend.size >= buffer.length) {
    for (let step = 0; step < 3; step++) await attempt(backend.read(offset(), buffer));
    await attempt(backend.read(0, buffer));
  }
  await backend.close();
  if (format !== "qcow2") return;
  // The same as a file that grows: written, discarded and checked.
  const file = new MemoryFile(bytes.slice());
  const header = await readQcow2Header("mutant", file);
  if (header.backingFile !== undefined || header.compression !== "zlib") return;
  const disk = await Qcow2Image.open({ name: "mutant", file, header, readonly: header.corrupt || header.dirty });
  if (!disk.readonly && disk.size >= buffer.length) {
    for (let step = 0; step < 3; step++) {
      await attempt(disk.write(offset(), buffer));
      await attempt(disk.discard(offset(), buffer.length));
    }
    await attempt(disk.flush());
    await attempt(disk.read(0, buffer));
    assert.ok(file.size < MOST, "the file grows without bound");
  }
  await attempt(disk.close());
  await checkQcow2({
    name: "mutant",
    file,
    header: await readQcow2Header("mutant", file),
    repair: random(2) === 0 ? "all" : "none",
  });
}

test(`${MUTANTS} images with headers and tables changed at random`, async () => {
  const images: { bytes: Uint8Array; ranges: [number, number][] }[] = [];
  for (const [clusterSize, version] of [
    [512, 3],
    [4096, 2],
    [65536, 3],
  ] as const) {
    const file = new MemoryFile();
    await createQcow2(file, { size: SIZE, clusterSize, version });
    const disk = await Qcow2Image.open({ name: "x", file, header: await readQcow2Header("x", file), readonly: false });
    for (let at = 0; at < SIZE / 2; at += SIZE / 8) await disk.write(at, new Uint8Array(3000).fill(at / 100));
    await disk.writeCompressed(SIZE - clusterSize, deflateSync(new Uint8Array(clusterSize)).subarray(2, -4));
    await disk.close();
    const bytes = file.contents();
    images.push({
      bytes,
      ranges: [
        [0, 128],
        [0, 128],
        [clusterSize, 64],
        [2 * clusterSize, 64],
        [0, bytes.length],
        [3 * clusterSize, 256],
      ],
    });
  }
  if (!NO_QEMU) {
    await withFolder(async (path) => {
      qemuImg("create", "-q", "-f", "raw", path("a.raw"), "1M");
      qemuIo(path("a.raw"), "raw", ["write -P 3 100k 300k"]);
      for (const [format, options] of [
        ["vpc", "subformat=dynamic"],
        ["vpc", "subformat=fixed"],
        ["vmdk", "subformat=monolithicSparse"],
        ["vmdk", "subformat=streamOptimized"],
        ["vdi", "static=off"],
      ] as const) {
        qemuImg("convert", "-O", format, "-o", options, path("a.raw"), path("b"));
        const bytes = new Uint8Array(await readFile(path("b")));
        images.push({
          bytes,
          ranges: [
            [0, 512],
            [0, 128],
            [bytes.length - 512, 128],
            [0, bytes.length],
            [512, 2048],
            [bytes.length - 1536, 1536],
          ],
        });
      }
      qemuImg("create", "-q", "-f", "qcow2", path("s"), "1M");
      qemuIo(path("s"), "qcow2", ["write -P 3 100k 300k"]);
      qemuImg("snapshot", "-c", "one", path("s"));
      qemuImg("snapshot", "-c", "two", path("s"));
      const bytes = new Uint8Array(await readFile(path("s")));
      images.push({
        bytes,
        ranges: [
          [0, 128],
          [0, bytes.length],
        ],
      });
    });
  }
  const first = Math.floor(Math.random() * 2 ** 20);
  for (let mutant = 0; mutant < MUTANTS; mutant++) {
    const seed = first + mutant;
    const random = randomNumbers(seed);
    const { bytes, ranges } = images[mutant % images.length]!;
    const started = performance.now();
    try {
      await exercise(mutate(bytes, random, ranges), random);
    } catch (error) {
      assert.ok(
        error instanceof VmxonError,
        `seed ${seed}, image ${mutant % images.length}: ${(error as Error).stack}`,
      );
    }
    const ms = performance.now() - started;
    assert.ok(ms < STUCK_MS, `seed ${seed}, image ${mutant % images.length} took ${ms.toFixed(0)} ms`);
  }
});
