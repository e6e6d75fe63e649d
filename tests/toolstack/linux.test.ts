/** Linux's boot protocol: where everything goes, and which kernels are refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VmxonError } from "../../src/common/errors.ts";
import { loadLinux } from "../../src/toolstack/linux.ts";
import type { LoadedKernel } from "../../src/toolstack/loader.ts";
import { bzImage, memoryMap } from "./kernels.ts";

const base = { name: "bzImage", kernel: bzImage(), commandLine: "console=ttyS0", memoryMap: memoryMap(64) };

function written(kernel: LoadedKernel, gpa: number): DataView {
  const found = kernel.writes.find((write) => write.gpa === gpa);
  assert.ok(found, `nothing is written to 0x${gpa.toString(16)}`);
  return new DataView(found.bytes.buffer, found.bytes.byteOffset, found.bytes.byteLength);
}

test("the kernel starts at 1 MB in flat protected mode with ESI at the parameters", () => {
  const loaded = loadLinux(base);
  assert.equal(loaded.state.mode, "protected");
  assert.equal(loaded.state.eip, 0x100000);
  assert.equal(loaded.state.esi, 0x90000);
  assert.equal(written(loaded, 0x100000).byteLength, 10_000);
  const gdt = written(loaded, loaded.state.gdt!.base);
  assert.equal(gdt.getBigUint64(loaded.state.codeSelector!, true), 0x00cf9a000000ffffn);
  assert.equal(gdt.getBigUint64(loaded.state.dataSelector!, true), 0x00cf92000000ffffn);
});

test("the parameter page carries header, screen, memory and command line", () => {
  const loaded = loadLinux({ ...base, cursor: { column: 3, row: 7 } });
  const page = written(loaded, 0x90000);
  assert.equal(page.getUint32(0x202, true), 0x53726448);
  assert.equal(page.getUint8(0x210), 0xff);
  assert.deepEqual([page.getUint8(0), page.getUint8(1), page.getUint8(6), page.getUint8(7)], [3, 7, 3, 80]);
  assert.deepEqual([page.getUint8(0x0e), page.getUint8(0x0f), page.getUint16(0x10, true)], [25, 1, 16]);
  assert.equal(page.getUint32(0x1e0, true), 63 * 1024);
  assert.equal(page.getUint8(0x1e8), 4);
  assert.equal(page.getBigUint64(0x2d0, true), 0n);
  assert.equal(page.getBigUint64(0x2d0 + 8, true), 0x9fc00n);
  assert.equal(page.getUint32(0x2d0 + 16, true), 1);
  const at = page.getUint32(0x228, true);
  const text = written(loaded, at);
  assert.equal(String.fromCharCode(...new Uint8Array(text.buffer, text.byteOffset, 13)), "console=ttyS0");
  assert.equal(text.getUint8(13), 0);
});

test("the ramdisk lies at the top of memory, or as high as the kernel allows", () => {
  const ramdisk = new Uint8Array(5000).fill(1);
  const top = loadLinux({ ...base, ramdisk });
  const page = written(top, 0x90000);
  assert.equal(page.getUint32(0x218, true), 64 * 0x100000 - 0x2000);
  assert.equal(page.getUint32(0x21c, true), 5000);
  assert.equal(written(top, 64 * 0x100000 - 0x2000).byteLength, 5000);
  const limited = loadLinux({ ...base, ramdisk, kernel: bzImage({ fields: [[0x22c, 0x1ffffff]] }) });
  assert.equal(written(limited, 0x90000).getUint32(0x218, true), 0x2000000 - 0x2000);
});

test("old protocols get the command line in the old place and their own limits", () => {
  const old = loadLinux({ ...base, kernel: bzImage({ version: 0x201 }) });
  const page = written(old, 0x90000);
  assert.equal(page.getUint16(0x20, true), 0xa33f);
  assert.equal(0x90000 + page.getUint16(0x22, true), 0x92000);
  assert.throws(
    () => loadLinux({ ...base, kernel: bzImage({ version: 0x203 }), commandLine: "x".repeat(256) }),
    /255 characters/,
  );
});

test("a zImage is loaded low", () => {
  const loaded = loadLinux({ ...base, kernel: bzImage({ version: 0x200, loadFlags: 0 }) });
  assert.equal(loaded.state.eip, 0x1000);
  assert.equal(written(loaded, 0x1000).byteLength, 10_000);
  assert.throws(
    () => loadLinux({ ...base, kernel: bzImage({ loadFlags: 0, payload: 0x90000 }) }),
    /too large for low memory/,
  );
});

test("geometries of the first two disks are passed on", () => {
  const loaded = loadLinux({ ...base, disks: [undefined, { cylinders: 800, heads: 4, sectors: 32 }] });
  const page = written(loaded, 0x90000);
  assert.deepEqual(
    [page.getUint16(0x80, true), page.getUint16(0x90, true), page.getUint8(0x92), page.getUint8(0x9e)],
    [0, 800, 4, 32],
  );
});

test("kernels that cannot work are refused by name, with what to do", () => {
  const cases: [Parameters<typeof loadLinux>[0], RegExp][] = [
    [{ ...base, kernel: new Uint8Array(100) }, /too short/],
    [{ ...base, kernel: new Uint8Array(5000) }, /is not a Linux bzImage.*arch\/x86\/boot\/bzImage/],
    [{ ...base, kernel: bzImage().subarray(0, 1024) }, /cut off/],
    [{ ...base, memoryMap: memoryMap(8) }, /unpacking the kernel needs memory.*-m 18/],
    [{ ...base, kernel: bzImage({ version: 0x204, payload: 70 * 0x100000 }) }, /the kernel needs memory.*-m 72/],
    [{ ...base, ramdisk: new Uint8Array(63 * 0x100000) }, /do not fit in memory together.*-m 66/],
    [{ ...base, commandLine: "x".repeat(2048) }, /2047 characters at most; this one has 2048/],
  ];
  for (const [boot, message] of cases) {
    assert.throws(
      () => loadLinux(boot),
      (error) => error instanceof VmxonError && error.message.startsWith("bzImage: ") && message.test(error.message),
      String(message),
    );
  }
});
