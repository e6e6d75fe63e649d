/** Kills a program that writes to an image, again and again, and looks at what is left. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openImage } from "../../../src/toolstack/images/open.ts";
import { checkQcow2 } from "../../../src/toolstack/images/qcow2/check.ts";
import { createQcow2 } from "../../../src/toolstack/images/qcow2/create.ts";
import { readQcow2Header } from "../../../src/toolstack/images/qcow2/header.ts";
import { NODE_HOST } from "../../../src/toolstack/node/host.ts";
import { createFile, openFile } from "../../../src/toolstack/node/image-file.ts";
import { NO_QEMU } from "../../support/qemu-tools.ts";
import { CrashModel, operations, SLOT } from "./crash-model.ts";
import { randomNumbers } from "./random-operations.ts";

const WRITER = fileURLToPath(new URL("./crash-writer.js", import.meta.url));
const LONGEST_LIFE_MS = 150;
/** More than a writer does in its life. */
const VERSIONS = 1 << 16;

/** Let a writer live for `life` ms after it has opened the image; the operations that it had flushed, and that it may have begun. */
function killedWriter(image: string, seed: number, slots: number, version: number, life: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const args = [WRITER, image, String(seed), String(slots), String(version)];
    const writer = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    writer.stdout.setEncoding("latin1").on("data", (part: string) => {
      if (text === "") setTimeout(() => writer.kill("SIGKILL"), life);
      text += part;
    });
    writer.on("error", reject);
    writer.on("close", (status, signal) => {
      if (signal !== "SIGKILL") reject(new Error(`the writer ended with status ${status}`));
      else resolve(Number(/(\d+)\n[^\n]*$/.exec(text)?.[1] ?? 0));
    });
  });
}

/** Make an image in `folder` and kill its writer `kills` times. Fails when anything flushed is lost or anything is corrupt. */
export async function runKills(folder: string, first: number, kills: number): Promise<{ leaks: number }> {
  const random = randomNumbers(first);
  const slots = 500;
  const image = join(folder, "killed.qcow2");
  const file = await createFile(image);
  const clusterSize = 512 << random(9);
  await createQcow2(file, { size: slots * SLOT, clusterSize, refcountBits: 1 << random(7) });
  await file.close();
  const model = new CrashModel(slots);
  let leaks = 0;
  for (let kill = 0; kill < kills; kill++) {
    const seed = first + kill;
    const version = 1 + ((kill * VERSIONS) % 2 ** 31);
    const flushed = await killedWriter(image, seed, slots, version, random(LONGEST_LIFE_MS));
    let count = 0;
    for (const operation of operations(seed, slots, version)) {
      count++;
      model.apply(operation, count <= flushed);
      // What came after the last flush that was heard of is not known; a writer does not do more than this.
      if (count > flushed + 3000) break;
    }
    const where = `seed ${seed}, clusters of ${clusterSize} bytes, killed for the ${kill + 1}th time`;
    const found = await openFile(image, "rw");
    const header = await readQcow2Header(image, found);
    const check = await checkQcow2({ name: image, file: found, header, repair: "none" });
    assert.equal(check.corruptions, 0, `${where}: ${check.problems.join("; ")}`);
    leaks += check.leaks;
    if (!NO_QEMU) {
      const { status, stdout } = spawnSync("qemu-img", ["check", "-f", "qcow2", image], { encoding: "utf8" });
      assert.ok(status === 0 || status === 3, `${where}: ${stdout}`);
    }
    await found.close();
    const { backend } = await openImage(image, { name: image, host: NODE_HOST, access: "r", format: "qcow2" });
    await model.settle(backend, where);
    await backend.close();
  }
  return { leaks };
}
