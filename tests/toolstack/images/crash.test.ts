/** Nothing that was flushed is lost, and at most clusters are wasted, when a program is killed or the power fails. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { checkQcow2 } from "../../../src/toolstack/images/qcow2/check.ts";
import { createQcow2 } from "../../../src/toolstack/images/qcow2/create.ts";
import { readQcow2Header } from "../../../src/toolstack/images/qcow2/header.ts";
import { Qcow2Image } from "../../../src/toolstack/images/qcow2/qcow2.ts";
import { CrashFile } from "./crash-file.ts";
import { CrashModel, type Operation, operations, perform, SLOT } from "./crash-model.ts";
import { runKills } from "./kills.ts";
import { randomNumbers } from "./random-operations.ts";

test("power failures at any moment, with sectors written in any order", async () => {
  const first = Math.floor(Math.random() * 2 ** 20);
  const slots = 300;
  for (let seed = first; seed < first + 50; seed++) {
    const random = randomNumbers(seed);
    const clusterSize = 512 << random(random(2) === 0 ? 2 : 8);
    const refcountBits = 1 << random(7);
    let file = new CrashFile();
    await createQcow2(file, { size: slots * SLOT, clusterSize, refcountBits });
    const model = new CrashModel(slots);
    for (let failure = 0; failure < 8; failure++) {
      const where = `seed ${seed}, clusters of ${clusterSize} bytes, counts of ${refcountBits} bits, failure ${failure}`;
      const header = await readQcow2Header("x", file);
      const disk = await Qcow2Image.open({ name: "x", file, header, readonly: false });
      const done: Operation[] = [];
      let left = random(200);
      for (const operation of operations(seed * 8 + failure, slots, 1 + failure * 10_000)) {
        // The power fails in the middle of one operation.
        if (left-- === 0) {
          const cut: Operation = random(3) === 0 ? operation : { kind: "flush" };
          const unfinished = perform(disk, cut);
          done.push(cut);
          for (let turns = random(60); turns > 0; turns--) await Promise.resolve();
          const bytes = file.afterPowerFailure(random);
          await unfinished;
          file = new CrashFile(bytes);
          break;
        }
        await perform(disk, operation);
        done.push(operation);
      }
      const last = done.findLastIndex((operation, index) => operation.kind === "flush" && index < done.length - 1);
      done.forEach((operation, index) => {
        model.apply(operation, index < last);
      });
      const newHeader = await readQcow2Header("x", file);
      const check = await checkQcow2({ name: "x", file, header: newHeader, repair: "none" });
      assert.equal(check.corruptions, 0, `${where}: ${check.problems.join("; ")}`);
      const found = await Qcow2Image.open({ name: "x", file, header: newHeader, readonly: true });
      await model.settle(found, where);
    }
  }
});

test("a program killed while it writes loses nothing that it had flushed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "vmxon-kills-"));
  try {
    await runKills(folder, Math.floor(Math.random() * 2 ** 20), 12);
  } finally {
    await rm(folder, { recursive: true });
  }
});
