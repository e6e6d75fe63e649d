/** `vmxon image`, as it is typed. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { NO_QEMU, qemuImg } from "../support/qemu-tools.ts";
import { withFolder } from "../toolstack/images/folder.ts";
import { randomNumbers } from "../toolstack/images/random-operations.ts";

const COMMAND = fileURLToPath(new URL("../../../bin/vmxon", import.meta.url));

function image(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, "image", ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

/** A command that must go well; what it printed. */
function done(...args: string[]): string {
  const { status, stdout, stderr } = image(...args);
  assert.equal(status, 0, `${args.join(" ")}: ${stderr}`);
  return stdout;
}

test("create, info and check speak as qemu-img does", async () => {
  await withFolder(async (path) => {
    writeFileSync(path("base.img"), new Uint8Array(1 << 20));
    assert.match(done("create", "-f", "qcow2", path("a.qcow2"), "1.5G"), /^Formatting .*fmt=qcow2 size=1610612736\n$/);
    done("create", "-f", "qcow2", "-b", "base.img", "-F", "raw", "-o", "cluster_size=4k,compat=1.1", path("b.qcow2"));
    const text = done("info", path("b.qcow2"));
    assert.match(text, /file format: qcow2\nvirtual size: 1 MiB \(1048576 bytes\)\n/);
    assert.match(
      text,
      /cluster_size: 4096\nbacking file: base\.img \(actual path: .*base\.img\)\nbacking file format: raw\n/,
    );
    const json = JSON.parse(done("info", "--output=json", path("b.qcow2")));
    assert.equal(json["backing-filename-format"], "raw");
    if (!NO_QEMU) {
      const theirs = JSON.parse(qemuImg("info", "--output=json", path("b.qcow2")));
      assert.deepEqual(json, theirs);
    }
    assert.match(done("check", path("a.qcow2")), /No errors were found on the image/);
    assert.equal(image("check", path("base.img")).status, 63);
  });
});

test("convert copies between formats, compressed and onto a base", async () => {
  await withFolder(async (path) => {
    const random = randomNumbers(2);
    const bytes = new Uint8Array(5 << 20);
    for (let at = 0; at < bytes.length; at += 100_000)
      for (let index = 0; index < 30_000 && at + index < bytes.length; index++) bytes[at + index] = random(16);
    writeFileSync(path("a.raw"), bytes);
    done("convert", "-O", "qcow2", path("a.raw"), path("a.qcow2"));
    done("convert", "-c", "-O", "qcow2", "-o", "compat=0.10,cluster_size=16k", path("a.raw"), path("c.qcow2"));
    done("convert", "-O", "qcow2", "-b", "a.raw", "-F", "raw", path("a.qcow2"), path("d.qcow2"));
    for (const name of ["a.qcow2", "c.qcow2", "d.qcow2"]) {
      done("convert", path(name), path("b.raw"));
      assert.ok(Buffer.compare(readFileSync(path("b.raw")), bytes) === 0, name);
      done("check", path(name));
      if (!NO_QEMU) {
        qemuImg("check", "-f", "qcow2", path(name));
        qemuImg("compare", "-f", "qcow2", "-F", "raw", path(name), path("a.raw"));
      }
    }
    const [whole, packed, difference] = ["a.qcow2", "c.qcow2", "d.qcow2"].map(
      (name) => readFileSync(path(name)).length,
    );
    assert.ok(packed! < whole! * 0.7 && difference! < 500_000, `${whole} ${packed} ${difference}`);
  });
});

test("mistakes are answered with what to write", async () => {
  await withFolder(async (path) => {
    writeFileSync(path("a.img"), new Uint8Array(1024));
    const cases: [string[], RegExp][] = [
      [[], /what is to be done/],
      [["craete"], /Did you mean "create"\?/],
      [["create", "-f", "qcow2", path("x")], /how large is the disk/],
      [["create", "-f", "qcow2", path("x"), "10X"], /10X is no size; write it as 10G/],
      [["create", "-f", "vmdk", path("x"), "10M"], /only read; write raw or qcow2/],
      [["create", "-f", "qcow2", "-b", path("a.img"), path("x")], /-F raw or -F qcow2/],
      [["create", "-f", "qcow2", "-o", "cluster_size=3000", path("x"), "1M"], /power of two from 512 to 2097152/],
      [["create", "-f", "qcow2", "-o", "clutser_size=4k", path("x"), "1M"], /Did you mean "cluster_size"\?/],
      [["convert", path("a.img"), path("a.img")], /give the new image another name/],
      [["convert", "-c", path("a.img"), path("x")], /write -O qcow2/],
      [["info", "--outptu=json", path("a.img")], /Did you mean "--output"\?/],
      [["info", "-f", "qcow3", path("a.img")], /Did you mean "qcow2"\?/],
      [["check", "-r", "some", path("a.img")], /-r leaks or -r all/],
    ];
    for (const [args, message] of cases) {
      const { status, stderr } = image(...args);
      assert.equal(status, 2, args.join(" "));
      assert.match(stderr, message, args.join(" "));
    }
    assert.equal(readFileSync(path("a.img")).length, 1024);
  });
});
