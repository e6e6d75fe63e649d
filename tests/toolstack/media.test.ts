/** Floppy formats and disk geometries. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  capacity,
  diskGeometry,
  FLOPPY_FORMATS,
  floppyFormatFor,
  floppyFormatOfSize,
} from "../../src/toolstack/media.ts";

test("standard formats are known by their size", () => {
  const sizes: [number, string][] = [
    [163_840, "160 KB"],
    [184_320, "180 KB"],
    [327_680, "320 KB"],
    [368_640, "360 KB"],
    [737_280, "720 KB"],
    [1_228_800, "1.2 MB"],
    [1_474_560, "1.44 MB"],
    [1_720_320, "1.68 MB"],
    [2_949_120, "2.88 MB"],
  ];
  for (const [size, name] of sizes) assert.equal(floppyFormatOfSize(size)?.name, name);
  assert.equal(floppyFormatOfSize(1_474_561), undefined);
});

test("no two formats have the same size", () => {
  assert.equal(new Set(FLOPPY_FORMATS.map(({ geometry }) => capacity(geometry))).size, FLOPPY_FORMATS.length);
});

function bootSector(sectors: number, perTrack: number, heads: number): Uint8Array {
  const head = new Uint8Array(512);
  const view = new DataView(head.buffer);
  view.setUint16(0x0b, 512, true);
  view.setUint16(0x13, sectors, true);
  view.setUint16(0x18, perTrack, true);
  view.setUint16(0x1a, heads, true);
  return head;
}

test("a short image gets the format that its boot sector describes, else 1.44 MB", () => {
  assert.equal(floppyFormatFor(300_000, bootSector(720, 9, 2))?.name, "360 KB");
  assert.equal(floppyFormatFor(400_000, bootSector(720, 9, 2))?.name, "1.44 MB", "larger than what it describes");
  assert.equal(floppyFormatFor(512, new Uint8Array(512))?.name, "1.44 MB");
  assert.equal(floppyFormatFor(1_500_000, new Uint8Array(512))?.name, "1.68 MB");
  assert.equal(floppyFormatFor(3_000_000, new Uint8Array(512)), undefined);
});

test("a disk without partitions has 16 heads of 63 sectors, and at most 16383 cylinders", () => {
  const none = new Uint8Array(512);
  assert.deepEqual(diskGeometry(504 * 1024 * 1024, none), { cylinders: 1024, heads: 16, sectors: 63 });
  assert.equal(diskGeometry(100 * 2 ** 30, none).cylinders, 16383);
  assert.equal(diskGeometry(512, none).cylinders, 1);
});

test("a disk keeps the geometry that its partition table was written with", () => {
  const head = new Uint8Array(512);
  head[510] = 0x55;
  head[511] = 0xaa;
  head[446 + 4] = 6;
  head[446 + 5] = 3; // heads - 1
  head[446 + 6] = 32 | 0xc0; // sectors, with two bits of the cylinder
  assert.deepEqual(diskGeometry(10 * 4 * 32 * 512, head), { cylinders: 10, heads: 4, sectors: 32 });
  head[446 + 5] = 254; // a translated geometry is the BIOS's affair
  assert.equal(diskGeometry(504 * 1024 * 1024, head).heads, 16);
});
