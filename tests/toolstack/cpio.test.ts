/** The initial ramdisk's archive format. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { type CpioEntry, writeCpio } from "../../src/toolstack/cpio.ts";

const ENTRIES: readonly CpioEntry[] = [
  { path: "bin", type: "directory", mode: 0o755 },
  { path: "bin/hello", type: "file", mode: 0o755, data: new TextEncoder().encode("hello\n") },
  { path: "bin/hi", type: "symlink", target: "hello" },
  { path: "console", type: "character-device", mode: 0o600, major: 5, minor: 1 },
];

/** Header fields and data of an archive, as the kernel's unpacker reads them. */
function read(archive: Uint8Array): { name: string; mode: number; data: Uint8Array; rdev: [number, number] }[] {
  const text = (from: number, to: number): string => String.fromCharCode(...archive.subarray(from, to));
  const files = [];
  for (let at = 0; ; ) {
    assert.equal(text(at, at + 6), "070701");
    const field = (index: number): number => Number.parseInt(text(at + 6 + index * 8, at + 14 + index * 8), 16);
    const nameEnd = at + 110 + field(11);
    const name = text(at + 110, nameEnd - 1);
    const start = (nameEnd + 3) & ~3;
    const end = start + field(6);
    if (name === "TRAILER!!!") {
      assert.equal((end + 3) & ~3, archive.length);
      return files;
    }
    files.push({
      name,
      mode: field(1),
      data: archive.slice(start, end),
      rdev: [field(9), field(10)] as [number, number],
    });
    at = (end + 3) & ~3;
  }
}

test("files, folders, links and devices are written with type, mode and contents", () => {
  const files = read(writeCpio(ENTRIES));
  assert.deepEqual(
    files.map(({ name, mode }) => [name, mode.toString(8)]),
    [
      ["bin", "40755"],
      ["bin/hello", "100755"],
      ["bin/hi", "120777"],
      ["console", "20600"],
    ],
  );
  assert.equal(new TextDecoder().decode(files[1]!.data), "hello\n");
  assert.equal(new TextDecoder().decode(files[2]!.data), "hello");
  assert.deepEqual(files[3]!.rdev, [5, 1]);
});

test("equal input gives equal bytes", () => {
  assert.deepEqual(writeCpio(ENTRIES), writeCpio(ENTRIES));
});

test("cpio itself lists the archive", (context) => {
  const listing = spawnSync("cpio", ["-it", "--quiet"], { input: writeCpio(ENTRIES), encoding: "utf8" });
  if (listing.error) return context.skip("cpio is not installed");
  assert.equal(listing.stdout, "bin\nbin/hello\nbin/hi\nconsole\n");
});
