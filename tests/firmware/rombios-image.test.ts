/** The ROM image: size, checksum, entry points, tables. And the loader that places it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VmxonError } from "../../src/common/errors.ts";
import { ENTRY, ROM } from "../../src/firmware/rombios/layout.ts";
import { FIRMWARE_PORT, type Rom } from "../../src/firmware/service.ts";
import { buildMemoryMap, loadFirmware } from "../../src/firmware/vmxloader.ts";
import { Machine } from "./machine.ts";

const { rom } = new Machine();
const word = (at: number): number => rom.image[at]! | (rom.image[at + 1]! << 8);

test("the image is 64 KB at F0000h and its bytes add up to zero", () => {
  assert.equal(rom.base, ROM.BASE);
  assert.equal(rom.image.length, 0x10000);
  assert.equal(rom.image.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
});

test("every service stands after an OUT to the firmware port", () => {
  assert.ok(rom.services.size > 20);
  for (const offset of rom.services.keys()) {
    assert.deepEqual([...rom.image.subarray(offset - 2, offset)], [0xe6, FIRMWARE_PORT]);
  }
});

test("reset vector, date and model are where programs look for them", () => {
  assert.deepEqual([...rom.image.subarray(0xfff0, 0xfff5)], [0xea, 0x5b, 0xe0, 0x00, 0xf0]);
  assert.match(Buffer.from(rom.image.subarray(0xfff5, 0xfffd)).toString("latin1"), /^\d\d\/\d\d\/\d\d$/);
  assert.equal(rom.image[0xfffe], 0xfc);
});

test("the classical entry points hold code", () => {
  const jumps = [
    0xe05b, 0xe3fe, 0xe6f2, 0xe739, 0xe82e, 0xe987, 0xec59, 0xef57, 0xefd2, 0xf859, 0xfe6e, 0xfea5, 0xff54,
  ];
  for (const at of jumps) assert.ok([0xe9, 0xeb].includes(rom.image[at]!), at.toString(16));
  for (const at of [0xe2c3, 0xf065, 0xff53]) assert.equal(rom.image[at], 0xcf, at.toString(16));
  for (const at of [0xf841, 0xf84d]) assert.equal(rom.image[at], 0x1e, at.toString(16));
});

test("tables have their historical contents", () => {
  assert.equal(word(ENTRY.CONFIGURATION), 8);
  assert.equal(rom.image[ENTRY.CONFIGURATION + 2], 0xfc);
  assert.equal(word(0xe729), 1047);
  assert.deepEqual([...rom.image.subarray(0xefc7, 0xefcc)], [0xaf, 0x02, 0x25, 0x02, 0x12]);
  assert.equal(word(0xe401), 306);
  assert.equal(rom.image[0xe401 + 14], 17);
  assert.equal(word(ENTRY.VECTORS + 2 * (0x10 - 8)), 0xf065);
  assert.equal(word(ENTRY.VECTORS + 2 * (0x13 - 8)), 0xe3fe);
  // "A" in the 8×8 font: some row has a dot, the last one is blank.
  const letter = rom.image.subarray(0xfa6e + 65 * 8, 0xfa6e + 66 * 8);
  assert.ok(letter.some((row) => row !== 0));
});

test("memory maps end base memory at the extended data area", () => {
  assert.deepEqual(buildMemoryMap(64 * 1024 * 1024), [
    { base: 0, size: 0x9fc00, type: 1 },
    { base: 0x9fc00, size: 0x400, type: 2 },
    { base: 0xf0000, size: 0x10000, type: 2 },
    { base: 0x100000, size: 0x3f00000, type: 1 },
    { base: 0xffff0000, size: 0x10000, type: 2 },
  ]);
  assert.deepEqual(buildMemoryMap(64 * 1024 * 1024, { acpi: true, apic: true, hpet: true }).slice(3), [
    { base: 0x100000, size: 0x3ef0000, type: 1 },
    { base: 0x3ff0000, size: 0xf000, type: 3 },
    { base: 0x3fff000, size: 0x1000, type: 4 },
    { base: 0xfec00000, size: 0x1000, type: 2 },
    { base: 0xfed00000, size: 0x400, type: 2 },
    { base: 0xfee00000, size: 0x1000, type: 2 },
    { base: 0xffff0000, size: 0x10000, type: 2 },
  ]);
  assert.deepEqual(buildMemoryMap(512 * 1024).slice(0, 2), [
    { base: 0, size: 0x7fc00, type: 1 },
    { base: 0x7fc00, size: 0x400, type: 2 },
  ]);
  assert.equal(buildMemoryMap(1024 * 1024).length, 4);
  for (const bad of [0, 1000, 4096, 2 ** 33]) assert.throws(() => buildMemoryMap(bad), VmxonError);
});

test("the loader places ROMs and refuses those that overlap", () => {
  const placed: string[] = [];
  const option: Rom = { name: "option", base: 0xc0000, image: new Uint8Array(0x8000), services: new Map() };
  loadFirmware({ addRom: (r) => placed.push(r.name) }, [rom, option]);
  assert.deepEqual(placed, ["option", "rombios"]);
  const host = { addRom() {} };
  assert.throws(() => loadFirmware(host, [option, { ...option, name: "b", base: 0xc7000 }]), /"b" at 0xc7000 overlaps/);
  assert.throws(() => loadFirmware(host, [{ ...option, base: 0xa0000 }]), /overlaps/);
  assert.throws(() => loadFirmware(host, [{ ...rom, base: 0xf1000 }]), /1 MB/);
});
