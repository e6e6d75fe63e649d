/** qcow2 images under random operations, beside a plain array of bytes and with qemu-img as a judge in the end. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { NO_QEMU } from "../../support/qemu-tools.ts";
import { randomNumbers, randomShape, runRandomOperations } from "./random-operations.ts";

const IMAGES = 40;
const OPERATIONS = 250;

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "vmxon-images-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("10,000 random operations leave what a plain array has, and images without fault", { skip: NO_QEMU }, async () => {
  const first = Math.floor(Math.random() * 2 ** 20);
  await withFolder(async (folder) => {
    for (let seed = first; seed < first + IMAGES; seed++) {
      await runRandomOperations(folder, seed, randomShape(randomNumbers(seed + 1)), OPERATIONS);
    }
  });
});

test("every width of counts, with the smallest clusters: tables of counts grow", { skip: NO_QEMU }, async () => {
  await withFolder(async (folder) => {
    for (let order = 0; order <= 6; order++) {
      const shape = { clusterSize: 512, refcountBits: 1 << order, version: 3, size: 6 << 20, backing: 0 } as const;
      await runRandomOperations(folder, 1000 + order, shape, 400);
    }
  });
});
