/** Random operations on a qcow2 image, each compared with a plain array of bytes. */
import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BlockBackend } from "../../../src/hypervisor/backend.ts";
import { openImage } from "../../../src/toolstack/images/open.ts";
import { createQcow2 } from "../../../src/toolstack/images/qcow2/create.ts";
import { NODE_HOST } from "../../../src/toolstack/node/host.ts";
import { createFile } from "../../../src/toolstack/node/image-file.ts";
import { qemuImg } from "../../support/qemu-tools.ts";

/** Numbers from 0 to below `limit`, the same for each seed. xorshift32. */
export function randomNumbers(seed: number): (limit: number) => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % limit;
  };
}

export interface Shape {
  readonly clusterSize: number;
  readonly refcountBits: number;
  readonly version: 2 | 3;
  /** Bytes of the disk. */
  readonly size: number;
  /** Bytes of a raw backing file with random contents; 0: none. */
  readonly backing: number;
}

/** A shape with a few hundred to a few thousand clusters. */
export function randomShape(random: (limit: number) => number): Shape {
  const clusterSize = 512 << random(13);
  const version = random(4) === 0 ? 2 : 3;
  const sectors = Math.min(64 << 20, clusterSize * (64 + random(1500))) / 512;
  const size = (sectors - random(3)) * 512;
  return {
    clusterSize,
    refcountBits: version === 2 ? 16 : 1 << random(7),
    version,
    size,
    backing: random(2) === 0 ? 0 : (1 + random(sectors)) * 512,
  };
}

/** Do `count` operations; ends with the image checked and compared by qemu-img, and the files removed. */
export async function runRandomOperations(folder: string, seed: number, shape: Shape, count: number): Promise<void> {
  const random = randomNumbers(seed);
  const { clusterSize, size, version } = shape;
  const image = join(folder, `${seed}.qcow2`);
  const base = join(folder, `${seed}.base`);
  const model = new Uint8Array(size);
  if (shape.backing > 0) {
    const bytes = new Uint8Array(shape.backing).map(() => random(256));
    await writeFile(base, bytes);
    model.set(bytes.subarray(0, size));
  }
  const file = await createFile(image);
  await createQcow2(file, {
    size,
    clusterSize,
    refcountBits: shape.refcountBits,
    version,
    ...(shape.backing > 0 ? { backingFile: base, backingFormat: "raw" } : {}),
  });
  await file.close();
  const open = async (): Promise<BlockBackend> =>
    (await openImage(image, { name: image, host: NODE_HOST, access: "rw", format: "qcow2" })).backend;
  const snapshots: { name: string; bytes: Uint8Array }[] = [];
  // A cluster that all of them share must still be countable.
  const mostSnapshots = Math.min(3, 2 ** shape.refcountBits - 2);
  let disk = await open();
  const range = (): [number, number] => {
    const longest = random(8) === 0 ? clusterSize * 40 : random(2) === 0 ? clusterSize * 2 : 8192;
    const offset = random(size / 512) * 512;
    return [offset, Math.min(size - offset, (1 + random(Math.ceil(longest / 512))) * 512)];
  };
  for (let step = 0; step < count; step++) {
    const [offset, length] = range();
    const choice = random(100);
    const where = `seed ${seed}, step ${step}, ${JSON.stringify(shape)}`;
    if (choice < 40) {
      const bytes = new Uint8Array(length).fill(random(256));
      for (let at = 0; at < bytes.length; at += 97) bytes[at] = random(256);
      model.set(bytes, offset);
      await disk.write(offset, bytes);
    } else if (choice < 75) {
      const bytes = new Uint8Array(length);
      await disk.read(offset, bytes);
      assert.ok(Buffer.compare(bytes, model.subarray(offset, offset + length)) === 0, `${where}: read at ${offset}`);
    } else if (choice < 92) {
      await disk.discard(offset, length);
      const first = Math.ceil(offset / clusterSize);
      const end =
        offset + length === size ? Math.ceil(size / clusterSize) : Math.floor((offset + length) / clusterSize);
      for (let cluster = first; cluster < end; cluster++) {
        if (version === 3 || cluster * clusterSize >= shape.backing) {
          model.fill(0, cluster * clusterSize, (cluster + 1) * clusterSize);
        }
      }
    } else if (choice < 98) await disk.flush();
    else {
      await disk.close();
      if (random(4) === 0 && snapshots.length < mostSnapshots) {
        qemuImg("snapshot", "-c", `s${step}`, image);
        snapshots.push({ name: `s${step}`, bytes: model.slice() });
      } else if (random(4) === 0 && snapshots.length > 0) {
        const [gone] = snapshots.splice(random(snapshots.length), 1);
        qemuImg("snapshot", "-d", gone!.name, image);
      }
      disk = await open();
    }
  }
  await disk.close();
  qemuImg("check", "-f", "qcow2", image);
  const raw = join(folder, `${seed}.raw`);
  await writeFile(raw, model);
  qemuImg("compare", "-f", "qcow2", "-F", "raw", image, raw);
  for (const { name, bytes } of snapshots) {
    const options = { name: image, host: NODE_HOST, access: "r", snapshot: name } as const;
    const { backend } = await openImage(image, options);
    const found = new Uint8Array(backend.size);
    await backend.read(0, found);
    await backend.close();
    assert.ok(Buffer.compare(found, bytes) === 0, `seed ${seed}: snapshot ${name}`);
  }
  await Promise.all([image, base, raw].map((path) => rm(path, { force: true })));
}
