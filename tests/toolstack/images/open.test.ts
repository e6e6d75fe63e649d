/** Which format an image is taken for, what guards that, who may write, and formats that are only read. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openImage } from "../../../src/toolstack/images/open.ts";
import { MemoryBackend } from "../../../src/toolstack/memory-backend.ts";
import { NODE_HOST } from "../../../src/toolstack/node/host.ts";
import { NO_QEMU, qemuImg, qemuIo } from "../../support/qemu-tools.ts";
import { contents, makeQcow2, open, using, withFolder } from "./folder.ts";

const QCOW2_HEAD = Uint8Array.from(Buffer.from("QFI\xfb\0\0\0\x03", "latin1"));
const VHD_FOOT = Uint8Array.from(Buffer.from("conectix", "latin1"));

test("a guest cannot make another format of a raw image that was found by looking", async () => {
  await withFolder(async (path) => {
    const image = path("a.img");
    await writeFile(image, new Uint8Array(100 * 512));
    await using(open(image, "rw"), async (disk) => {
      await assert.rejects(disk.write(0, QCOW2_HEAD), /the header of another image format.*,raw,hda/);
      await assert.rejects(disk.write(99 * 512, VHD_FOOT), /header of another image format/);
      // Not in one piece either.
      await disk.write(1, QCOW2_HEAD.subarray(1));
      await assert.rejects(disk.write(0, QCOW2_HEAD.subarray(0, 1)), /header of another image format/);
      await disk.write(512, QCOW2_HEAD);
      await disk.write(0, Uint8Array.of(0xeb, 0x3c));
    });
    assert.equal((await readFile(image))[0], 0xeb);
    await using(open(image, "rw", { format: "raw" }), (disk) => disk.write(0, QCOW2_HEAD));
    await using(open(image, "r", { format: "raw" }), async (disk) =>
      assert.deepEqual((await contents(disk)).slice(0, 8), QCOW2_HEAD),
    );
  });
});

test("bytes, Blobs and media of one's own are opened too", async () => {
  await withFolder(async (path) => {
    await makeQcow2(path("a.qcow2"), { size: 1 << 20 });
    await using(open(path("a.qcow2"), "rw"), (disk) => disk.write(1000, Uint8Array.of(5)));
    const bytes = new Uint8Array(await readFile(path("a.qcow2")));
    const options = { name: "the image for hda", host: NODE_HOST, access: "rw" } as const;
    for (const source of [bytes, new Blob([bytes])]) {
      const { backend, format, volatile } = await openImage(source, options);
      assert.equal(format, "qcow2");
      assert.match(volatile ?? "", /cannot be written where it is/);
      await backend.write(2000, Uint8Array.of(6));
      const found = await contents(backend);
      assert.deepEqual([found.length, found[1000], found[2000]], [1 << 20, 5, 6]);
    }
    // A medium of one's own is what it is.
    const own = new MemoryBackend(bytes);
    const { backend, format } = await openImage(own, options);
    assert.equal(format, "raw");
    assert.equal(backend, own);
  });
});

test("VHD, VMDK and VDI images are read as qemu-img reads them", { skip: NO_QEMU }, async () => {
  await withFolder(async (path) => {
    qemuImg("create", "-q", "-f", "raw", path("a.raw"), "17M");
    qemuIo(path("a.raw"), "raw", ["write -P 3 100k 300k", "write -P 4 5M 3M", "write -P 5 17400k 8k"]);
    for (const [format, options] of [
      ["vpc", "subformat=dynamic"],
      ["vpc", "subformat=dynamic,force_size=on"],
      ["vpc", "subformat=fixed,force_size=on"],
      ["vmdk", "subformat=monolithicSparse"],
      ["vmdk", "subformat=streamOptimized"],
      ["vdi", "static=off"],
      ["vdi", "static=on"],
    ] as const) {
      const image = path("image");
      qemuImg("convert", "-O", format, "-o", options, path("a.raw"), image);
      qemuImg("convert", "-f", format, "-O", "raw", image, path("wanted"));
      const opened = await open(image, "rw");
      assert.equal(opened.format, format);
      assert.match(opened.volatile ?? "", /only read.*vmxon image convert/);
      assert.ok(Buffer.compare(await contents(opened.backend), await readFile(path("wanted"))) === 0, options);
      await opened.backend.close();
    }
    qemuImg("create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", path("split.vmdk"), "1M");
    await assert.rejects(open(path("split.vmdk"), "r"), /descriptor of a VMDK disk in several files/);
    qemuImg("create", "-q", "-f", "vhdx", path("a.vhdx"), "1M");
    await assert.rejects(open(path("a.vhdx"), "r"), /is a VHDX image; convert it/);
    qemuImg("create", "-q", "-f", "vmdk", path("parent.vmdk"), "1M");
    qemuImg("create", "-q", "-f", "vmdk", "-b", path("parent.vmdk"), "-F", "vmdk", path("child.vmdk"));
    await assert.rejects(open(path("child.vmdk"), "r"), /VMDK image with a parent/);
  });
});

test("two that want to write an image are kept apart; the lock of a dead process is taken over", async () => {
  await withFolder(async (path) => {
    const image = path("a.img");
    const lock = path(".a.img.vmxon-lock");
    await writeFile(image, new Uint8Array(1024));
    const { backend } = await open(image, "rw");
    await assert.rejects(open(image, "rw"), /this program has opened it for writing already.*-snapshot/);
    await using(open(image, "r"), contents);
    await backend.close();
    assert.ok(!existsSync(lock));
    const other = spawn(process.execPath, [fileURLToPath(new URL("./lock-holder.js", import.meta.url)), image]);
    await new Promise((resolve) => other.stdout.once("data", resolve));
    await assert.rejects(open(image, "rw"), new RegExp(`another program has opened it.*process ${other.pid}`));
    other.kill("SIGKILL");
    await new Promise((resolve) => other.once("close", resolve));
    assert.ok(existsSync(lock));
    await using(open(image, "rw"), contents);
    assert.ok(!existsSync(lock));
    await writeFile(lock, "");
    await using(open(image, "rw"), contents);
  });
});
