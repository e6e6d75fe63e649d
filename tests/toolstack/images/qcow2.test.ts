/** qcow2 images: what other programs make, what is refused, chains, snapshots, compression, repairs. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { VmxonError } from "../../../src/common/errors.ts";
import { checkQcow2, type Repair } from "../../../src/toolstack/images/qcow2/check.ts";
import { FIELD, getU64, INCOMPATIBLE, readQcow2Header } from "../../../src/toolstack/images/qcow2/header.ts";
import { openFile } from "../../../src/toolstack/node/image-file.ts";
import { NO_QEMU, qemuImg, qemuIo } from "../../support/qemu-tools.ts";
import { contents, makeQcow2, open, using, withFolder } from "./folder.ts";
import { randomNumbers } from "./random-operations.ts";

const MIB = 1 << 20;

function noise(size: number, seed: number): Uint8Array {
  const random = randomNumbers(seed);
  return new Uint8Array(size).map(() => random(256));
}

/** Change bytes of a file. */
async function patch(path: string, change: (view: DataView) => void): Promise<void> {
  const bytes = await readFile(path);
  change(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
  await writeFile(path, bytes);
}

async function check(path: string, repair: Repair) {
  const file = await openFile(path, repair === "none" ? "r" : "rw");
  try {
    return await checkQcow2({ name: path, file, header: await readQcow2Header(path, file), repair });
  } finally {
    await file.close();
  }
}

test("images of qemu-img and qemu-io are read as they are, in every shape", { skip: NO_QEMU }, async () => {
  const shapes = [
    "compat=0.10",
    "compat=1.1,lazy_refcounts=on",
    "cluster_size=512,refcount_bits=1",
    "cluster_size=2M,refcount_bits=64",
    "cluster_size=4k,refcount_bits=2,preallocation=metadata",
    "cluster_size=32k,refcount_bits=8,preallocation=full",
  ];
  await withFolder(async (path) => {
    for (const shape of shapes) {
      const [image, raw] = [path("a.qcow2"), path("a.raw")];
      qemuImg("create", "-q", "-f", "qcow2", "-o", shape, image, "9M");
      qemuIo(image, "qcow2", [
        "write -P 7 1000k 3M",
        "write -P 9 5M 4k",
        "write -z 2M 64k",
        "discard 3M 512k",
        "write -P 1 8704k 512k",
      ]);
      qemuImg("convert", "-O", "raw", image, raw);
      const found = await using(open(image, "r"), contents);
      assert.ok(Buffer.compare(found, await readFile(raw)) === 0, shape);
      // Written by us, and read by them again.
      await using(open(image, "rw"), (disk) => disk.write(4 * MIB - 100, noise(300_000, 1)));
      qemuImg("check", "-f", "qcow2", image);
      const bytes = Buffer.concat([await readFile(raw)]);
      bytes.set(noise(300_000, 1), 4 * MIB - 100);
      await writeFile(raw, bytes);
      qemuImg("compare", "-f", "qcow2", "-F", "raw", image, raw);
    }
  });
});

test("the tables of reference counts grow with the file", async () => {
  await withFolder(async (path) => {
    for (const refcountBits of [1, 8, 64]) {
      const image = path(`${refcountBits}.qcow2`);
      await makeQcow2(image, { size: 24 * MIB, clusterSize: 512, refcountBits });
      const bytes = noise(MIB, refcountBits);
      await using(open(image, "rw"), async (disk) => {
        for (let at = 0; at < disk.size; at += MIB) await disk.write(at, bytes);
      });
      const { corruptions, leaks } = await check(image, "none");
      assert.deepEqual({ corruptions, leaks }, { corruptions: 0, leaks: 0 });
      if (!NO_QEMU) qemuImg("check", "-f", "qcow2", image);
      const found = await using(open(image, "r"), contents);
      for (let at = 0; at < found.length; at += MIB) {
        assert.ok(Buffer.compare(found.subarray(at, at + MIB), bytes) === 0, `${refcountBits} bits, byte ${at}`);
      }
    }
  });
});

test("a chain of backing files shows the uppermost that has something; shorter files end in zeros", async () => {
  await withFolder(async (path) => {
    const base = noise(100_000 - (100_000 % 512), 3);
    await writeFile(path("base.img"), base);
    const size = 4 * MIB;
    await makeQcow2(path("middle.qcow2"), { size: 2 * MIB, backingFile: "base.img", backingFormat: "raw" });
    await makeQcow2(path("top.qcow2"), { size, version: 2, backingFile: "middle.qcow2", backingFormat: "qcow2" });
    await using(open(path("middle.qcow2"), "rw"), (disk) => disk.write(50_000, Uint8Array.of(1, 2, 3)));
    await using(open(path("top.qcow2"), "rw"), (disk) => disk.write(50_001, Uint8Array.of(9)));
    const wanted = new Uint8Array(size);
    wanted.set(base);
    wanted.set([1, 9, 3], 50_000);
    assert.deepEqual(await using(open(path("top.qcow2"), "r"), contents), wanted);
    assert.deepEqual(new Uint8Array(await readFile(path("base.img"))), base);
    if (!NO_QEMU) {
      await writeFile(path("wanted.raw"), wanted);
      qemuImg("compare", "-f", "qcow2", "-F", "raw", path("top.qcow2"), path("wanted.raw"));
    }
  });
});

test("chains that have no end, are broken or lead elsewhere are refused by name", async () => {
  await withFolder(async (path) => {
    const make = (name: string, backingFile: string, backingFormat = "qcow2") =>
      makeQcow2(path(name), { size: MIB, backingFile, backingFormat });
    await make("a.qcow2", "b.qcow2");
    await make("b.qcow2", "a.qcow2");
    await make("lost.qcow2", "nowhere.qcow2");
    await make("nbd.qcow2", "nbd://localhost/disk", "raw");
    await make("json.qcow2", 'json:{"driver":"nbd"}', "raw");
    const cases: [string, RegExp][] = [
      ["a.qcow2", /a\.qcow2.*has no end/],
      ["lost.qcow2", /nowhere\.qcow2: cannot open it.*no such file.*lost\.qcow2 stands on it/],
      ["nbd.qcow2", /stands on nbd:.*neither a file nor an address/],
      ["json.qcow2", /neither a file/],
    ];
    for (const [name, message] of cases) await assert.rejects(open(path(name), "r"), message);
    const bytes = new Uint8Array(await readFile(path("lost.qcow2")));
    const { openImage } = await import("../../../src/toolstack/images/open.ts");
    const { NODE_HOST } = await import("../../../src/toolstack/node/host.ts");
    await assert.rejects(
      openImage(bytes, { name: "bytes", host: NODE_HOST, access: "r" }),
      /cannot be found from an image in memory/,
    );
  });
});

test("internal snapshots are listed, read, and untouched by writes", { skip: NO_QEMU }, async () => {
  await withFolder(async (path) => {
    const image = path("a.qcow2");
    await makeQcow2(image, { size: 3 * MIB });
    const before = noise(2 * MIB, 5);
    await using(open(image, "rw"), (disk) => disk.write(0, before));
    qemuImg("snapshot", "-c", "before", image);
    await using(open(image, "rw"), async (disk) => {
      await disk.write(MIB, noise(MIB, 6));
      await disk.discard(0, MIB);
    });
    qemuImg("check", "-f", "qcow2", image);
    const old = await using(open(image, "r", { snapshot: "before" }), contents);
    assert.ok(Buffer.compare(old.subarray(0, before.length), before) === 0);
    const { volatile, backend } = await open(image, "rw", { snapshot: "1" });
    assert.match(volatile ?? "", /kept in memory/);
    await backend.close();
    await assert.rejects(open(image, "r", { snapshot: "after" }), /no snapshot "after"; it has before/);
  });
});

test("compressed clusters are read, and written over", { skip: NO_QEMU }, async () => {
  await withFolder(async (path) => {
    const bytes = noise(4 * MIB, 7);
    for (let at = 0; at < bytes.length; at += 70_000) bytes.fill(at, at, at + 40_000);
    await writeFile(path("a.raw"), bytes);
    for (const clusterSize of ["512", "4k", "64k", "2M"]) {
      const image = path(`${clusterSize}.qcow2`);
      qemuImg("convert", "-c", "-O", "qcow2", "-o", `cluster_size=${clusterSize}`, path("a.raw"), image);
      assert.ok(Buffer.compare(await using(open(image, "r"), contents), bytes) === 0, clusterSize);
      const { compressedClusters, corruptions, leaks } = await check(image, "none");
      assert.ok(compressedClusters > 0 && corruptions + leaks === 0, clusterSize);
      const change = noise(200_000, 8);
      await using(open(image, "rw"), (disk) => disk.write(1_000_000, change));
      qemuImg("check", "-f", "qcow2", image);
      const wanted = bytes.slice();
      wanted.set(change, 1_000_000);
      assert.ok(Buffer.compare(await using(open(image, "r"), contents), wanted) === 0, clusterSize);
    }
  });
});

test("what an image needs and is not there is refused by name", async () => {
  await withFolder(async (path) => {
    const image = path("a.qcow2");
    const cases: [(view: DataView) => void, RegExp][] = [
      [(v) => v.setUint32(FIELD.version, 4), /version 4 of the qcow2 format/],
      [(v) => v.setUint32(FIELD.cryptMethod, 2), /has encryption \(LUKS\)/],
      [(v) => v.setUint32(FIELD.incompatible + 4, INCOMPATIBLE.EXTERNAL_DATA), /has an external data file/],
      [(v) => v.setUint32(FIELD.incompatible + 4, INCOMPATIBLE.EXTENDED_L2), /has extended L2 entries/],
      [(v) => v.setUint32(FIELD.incompatible, 1), /feature that is not known \(incompatible bit 32\)/],
      [(v) => v.setUint32(FIELD.clusterBits, 22), /clusters of 2\^22 bytes are not possible/],
      [(v) => v.setUint32(FIELD.refcountOrder, 7), /reference counts of 2\^7 bits/],
      [(v) => v.setUint32(FIELD.l1Size, 0), /L1 table is too small/],
      [(v) => v.setUint32(FIELD.l1Offset + 4, 123), /L1 table cannot be at byte 123/],
      [(v) => v.setUint32(FIELD.refcountTableClusters, 1 << 30), /refcount table of .* is too large/],
      [(v) => v.setUint32(FIELD.snapshots, 1 << 20), /snapshots are not possible/],
    ];
    for (const [change, message] of cases) {
      await makeQcow2(image, { size: MIB });
      await patch(image, change);
      await assert.rejects(
        open(image, "r"),
        (error) => error instanceof VmxonError && message.test(error.message),
        String(message),
      );
    }
    await makeQcow2(image, { size: MIB });
    await patch(image, (view) => view.setUint32(FIELD.incompatible + 4, INCOMPATIBLE.CORRUPT));
    await assert.rejects(open(image, "rw"), /marked as corrupt and can only be read/);
    assert.equal((await using(open(image, "r"), contents)).length, MIB);
  });
});

test("compression by zstd is refused by name", { skip: NO_QEMU }, async (t) => {
  await withFolder(async (path) => {
    const image = path("a.qcow2");
    if (spawnSync("qemu-img", ["create", "-f", "qcow2", "-o", "compression_type=zstd", image, "1M"]).status !== 0) {
      return t.skip("this qemu-img has no zstd");
    }
    await assert.rejects(open(image, "r"), /compressed by zstd, which is not supported/);
  });
});

test("wrong counts and flags are found and repaired; a dirty image is repaired when it is opened", async () => {
  await withFolder(async (path) => {
    const image = path("a.qcow2");
    const bytes = noise(3 * MIB, 9);
    const make = async (): Promise<void> => {
      await makeQcow2(image, { size: 8 * MIB });
      await using(open(image, "rw"), (disk) => disk.write(MIB, bytes));
    };
    const whole = async (): Promise<void> => {
      const { corruptions, leaks } = await check(image, "none");
      assert.deepEqual({ corruptions, leaks }, { corruptions: 0, leaks: 0 });
      if (!NO_QEMU) qemuImg("check", "-f", "qcow2", image);
      const found = await using(open(image, "r"), contents);
      assert.ok(Buffer.compare(found.subarray(MIB, 4 * MIB), bytes) === 0);
    };
    /** Offset of the first refcount block. */
    const block = (view: DataView): number => getU64(view, getU64(view, FIELD.refcountTableOffset));

    await make();
    await patch(image, (view) => view.setUint16(block(view) + 2 * 200, 1));
    assert.equal((await check(image, "none")).leaks, 1);
    assert.equal((await check(image, "leaks")).leaksFixed, 1);
    await whole();

    await make();
    await patch(image, (view) => {
      for (let cluster = 4; cluster < 20; cluster++) view.setUint16(block(view) + 2 * cluster, cluster % 3);
    });
    const found = await check(image, "none");
    assert.ok(found.corruptions > 0 && found.leaks > 0);
    assert.equal((await check(image, "all")).corruptions, 0);
    await whole();

    await make();
    await patch(image, (view) => {
      view.setUint32(getU64(view, FIELD.refcountTableOffset) + 4, 77);
      view.setUint32(FIELD.incompatible + 4, INCOMPATIBLE.DIRTY);
    });
    await using(open(image, "rw"), (disk) => disk.flush());
    const file = await openFile(image, "r");
    const header = await readQcow2Header(image, file);
    await file.close();
    assert.equal(header.dirty, false);
    await whole();
  });
});

test("a table that leads into another one is an error, not a way to write there", async () => {
  await withFolder(async (path) => {
    const image = path("a.qcow2");
    for (const target of [0, 0x10000, 0x20000, 0x30000, 0x40000]) {
      await makeQcow2(image, { size: MIB });
      await using(open(image, "rw"), (disk) => disk.write(0, Uint8Array.of(1)));
      await patch(image, (view) => {
        const l2 = getU64(view, getU64(view, FIELD.l1Offset)) % 2 ** 56;
        view.setUint32(l2, 0x8000_0000);
        view.setUint32(l2 + 4, target === 0 ? 0x7fff_0000 : target);
      });
      await using(open(image, "rw"), (disk) =>
        assert.rejects(
          disk.write(0, new Uint8Array(512)),
          (error) => error instanceof VmxonError && /damaged/.test(error.message),
        ),
      );
    }
  });
});
