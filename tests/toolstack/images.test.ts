/** What image files are taken for, and what is said of those that cannot be used. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VmxonError } from "../../src/common/errors.ts";
import { type ImageKind, probeImage } from "../../src/toolstack/images.ts";
import { MemoryBackend } from "../../src/toolstack/memory-backend.ts";

function image(size: number, ...parts: [number, string][]): MemoryBackend {
  const bytes = new Uint8Array(size);
  for (const [offset, text] of parts) {
    for (let index = 0; index < text.length; index++) bytes[offset + index] = text.charCodeAt(index);
  }
  return new MemoryBackend(bytes);
}

const BOOT: [number, string] = [510, "\x55\xaa"];
const MULTIBOOT: [number, string] = [4096, "\x02\xb0\xad\x1b\0\0\0\0\xfe\x4f\x52\xe4"];

test("images are known by what they hold", async () => {
  const cases: [string, MemoryBackend, ImageKind][] = [
    ["a 1.44 MB floppy, even an empty one", image(1_474_560), "floppy"],
    ["a 160 KB floppy", image(163_840, BOOT), "floppy"],
    ["a boot sector alone", image(512, BOOT), "floppy"],
    ["a boot sector and some more", image(5000, BOOT), "floppy"],
    ["a disk", image(20 * 1024 * 1024, BOOT), "disk"],
    ["a small disk with partitions", image(1_048_576, BOOT, [446, "\x80"], [450, "\x06"]), "disk"],
    ["a Linux kernel", image(100_000, BOOT, [0x202, "HdrS"]), "linux"],
    ["a multiboot kernel", image(100_000, MULTIBOOT), "multiboot"],
    ["a floppy whose boot loader holds a multiboot header", image(1_474_560, BOOT, MULTIBOOT), "floppy"],
    ["a cpio archive", image(10_000, [0, "070701"]), "ramdisk"],
    ["a qcow2 image", image(100_000, [0, "QFI\xfb"]), "disk"],
    ["a VHD image", image(100_000, [0, "conectix"]), "disk"],
    ["a VHD image of fixed size", image(1_048_576, [1_048_576 - 512, "conectix"]), "disk"],
    ["a VMDK image", image(100_000, [0, "KDMV"]), "disk"],
    ["a VDI image", image(100_000, [64, "\x7f\x10\xda\xbe"]), "disk"],
    ["a gzip file", image(10_000, [0, "\x1f\x8b\x08"]), "ramdisk"],
  ];
  for (const [what, backend, kind] of cases) assert.equal(await probeImage("x.img", backend), kind, what);
});

test("what cannot be used is named, with what to do", async () => {
  const cases: [MemoryBackend, RegExp][] = [
    [image(0), /^x\.img is empty/],
    [image(100_000, [0, "QFI\xfb\0\0\0\x01"]), /^x\.img is a qcow image of version 1.*qemu-img convert -O qcow2/],
    [image(100_000, [0, "vhdxfile"]), /is a VHDX image.*qemu-img/],
    [image(100_000, [0, "QED\0"]), /is a QED image/],
    [image(100_000, [0, "# Disk DescriptorFile"]), /descriptor of a VMDK disk/],
    [image(100_000, [0, "PK\x03\x04"]), /zip archive; unpack it/],
    [image(100_000, [0, "\x7fELF"]), /without a multiboot header.*bzImage/],
    [image(3_000_001, BOOT), /no whole number of sectors; was it cut off/],
    [image(1000, [0, "hello"]), /is not known: 1000 bytes/],
  ];
  for (const [backend, message] of cases) {
    await assert.rejects(
      probeImage("x.img", backend),
      (error) => error instanceof VmxonError && error.code === "image" && message.test(error.message),
      String(message),
    );
  }
});

test("any bytes are either taken for something or refused by name", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 6000, size: "max" }), async (bytes) => {
      try {
        await probeImage("fuzz.img", new MemoryBackend(bytes));
      } catch (error) {
        assert.ok(error instanceof VmxonError && error.message.startsWith("fuzz.img "), String(error));
      }
    }),
    { numRuns: 200 },
  );
});

test("an ISO 9660 volume is a CD, even one that carries a boot sector", async () => {
  assert.equal(await probeImage("x.iso", image(100_000, [0x8001, "CD001"])), "cdrom");
  assert.equal(await probeImage("x.iso", image(102_400, BOOT, [0x8001, "CD001"])), "cdrom");
});
