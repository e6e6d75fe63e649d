/** Images and serial lines as files. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { VmxonError } from "../../src/common/errors.ts";
import { NODE_HOST } from "../../src/toolstack/node/host.ts";

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "vmxon-"));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("what is written to a file medium is in the file", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "disk.img");
    writeFileSync(path, new Uint8Array(2048).fill(7));
    const medium = await NODE_HOST.openImage(path, "rw");
    assert.equal(medium.size, 2048);
    await medium.write(512, Uint8Array.of(1, 2, 3));
    await medium.flush();
    const bytes = new Uint8Array(4);
    await medium.read(511, bytes);
    assert.deepEqual([...bytes], [7, 1, 2, 3]);
    await medium.close();
    assert.deepEqual([...readFileSync(path).subarray(511, 516)], [7, 1, 2, 3, 7]);
  });
});

test("a medium opened for reading refuses writes; a file that became shorter is reported by name", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "disk.img");
    writeFileSync(path, new Uint8Array(1024));
    const medium = await NODE_HOST.openImage(path, "r");
    assert.equal(medium.readonly, true);
    await assert.rejects(medium.write(0, Uint8Array.of(1)), /opened read-only/);
    writeFileSync(path, new Uint8Array(100));
    await assert.rejects(
      medium.read(0, new Uint8Array(512)),
      /disk\.img: the file ends at byte 100; did it become shorter/,
    );
    await medium.close();
  });
});

test("what cannot be opened is named with the reason", async () => {
  await inFolder(async (folder) => {
    for (const [name, message] of [
      [join(folder, "none.img"), /none\.img: cannot open it: there is no such file\.$/],
      [folder, /cannot open it: it is a folder, not an image/],
    ] as const) {
      await assert.rejects(
        NODE_HOST.openImage(name, "rw"),
        (error) => error instanceof VmxonError && error.code === "image" && message.test(error.message),
      );
    }
  });
});

test("a serial line goes to a file", async () => {
  await inFolder(async (folder) => {
    const path = join(folder, "serial.log");
    const target = await NODE_HOST.openSerial(`file:${path}`);
    for (const byte of new TextEncoder().encode("hello\n".repeat(2000))) target.write(byte);
    await target.close?.();
    assert.equal(readFileSync(path, "utf8"), "hello\n".repeat(2000));
    await assert.rejects(NODE_HOST.openSerial(`file:${join(folder, "no", "such", "folder")}`), /cannot write to it/);
  });
});

test("the thread that generates code answers, and does not keep the process", () => {
  const host = new URL("../../src/toolstack/node/host.js", import.meta.url).href;
  const program = `
    const { generator } = (await import(${JSON.stringify(host)})).NODE_HOST;
    while (!generator.available()) await new Promise((resolve) => setTimeout(resolve, 1));
    const hold = setInterval(() => {}, 1000);
    const done = await new Promise((resolve) => generator.generate({ features: "", orders: [] }, resolve));
    console.log(done.module instanceof WebAssembly.Module, done.regions.length);
    clearInterval(hold);
    generator.generate({ features: "", orders: [] }, () => {});`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    encoding: "utf8",
    timeout: 60_000,
  });
  assert.equal(stderr, "");
  assert.equal(stdout.trim(), "true 0");
  assert.equal(status, 0);
});
