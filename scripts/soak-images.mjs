// Disk images for a long time: random operations judged by qemu-img, and a program killed while it writes. Called by
// soak.mjs: `npm run soak -- images [KILLS]`.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT, say, setup } from "./setup.mjs";

const IMAGES = 60;
const OPERATIONS = 500;
const KILLS = 200;
/** Kills of the writer of one image. */
const KILLS_EACH = 20;

/** Rejects with what went wrong; its message has the seed. */
export async function soakImages(kills = KILLS) {
  setup();
  const load = (name) => import(pathToFileURL(join(ROOT, "dist", "tests", "toolstack", "images", name)).href);
  const { randomNumbers, randomShape, runRandomOperations } = await load("random-operations.js");
  const { runKills } = await load("kills.js");
  const first = Math.floor(Math.random() * 2 ** 30);
  const folder = await mkdtemp(join(tmpdir(), "vmxon-soak-"));
  try {
    for (let seed = first; seed < first + IMAGES; seed++) {
      await runRandomOperations(folder, seed, randomShape(randomNumbers(seed + 1)), OPERATIONS);
    }
    say(`${IMAGES * OPERATIONS} random operations on ${IMAGES} images: as a plain array, and without fault`);
    let leaks = 0;
    for (let done = 0; done < kills; done += KILLS_EACH) {
      leaks += (await runKills(folder, first + done, Math.min(KILLS_EACH, kills - done))).leaks;
      say(`${Math.min(done + KILLS_EACH, kills)} kills: nothing lost that was flushed, ${leaks} clusters wasted`);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}
