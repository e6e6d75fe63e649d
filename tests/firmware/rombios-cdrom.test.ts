/** INT 13h on CD drives and what a CD stands in for: boot catalogs, El Torito's four kinds of media, locks, trays. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bootImages } from "../../src/firmware/rombios/el-torito.ts";
import { fakeCdrom, fakeDisk, fakeFloppy } from "../support/device-fakes.ts";
import { bootCatalog, type CatalogEntry, makeBootable } from "./boot-disc.ts";
import { Machine, type Registers } from "./machine.ts";

const BUFFER = 0x20000;
const PACKET = 0x30000;
const IMAGE = 40;

/** A machine that has booted from a disc with this image on it. */
async function booted(entry: Partial<CatalogEntry>, image: Uint8Array, units: "cd" | "all" = "cd") {
  const cd = fakeCdrom(2000);
  const disc = cd.medium!.backend.bytes;
  makeBootable(disc, [{ media: 0, lba: IMAGE, ...entry }]);
  disc.set(image, IMAGE * 2048);
  const disk = fakeDisk();
  const ejected: number[] = [];
  const machine = await new Machine({
    floppies: [fakeFloppy(1440)],
    units: units === "all" ? [disk, undefined, cd] : [undefined, undefined, cd],
    bootOrder: ["cdrom"],
    eject: (position) => ejected.push(position),
  }).post();
  await machine.trap("boot_start");
  await machine.trap("boot_next");
  const text = machine.text();
  await machine.trap("boot_launch");
  const drive = machine.cpu.edx;
  const { memory } = machine;
  const pointer = machine.cpu.base("ss") + machine.cpu.esp;
  const entryPoint = memory.read16(pointer + 2) * 16 + memory.read16(pointer);
  const int13 = (registers: Registers) => machine.call("int13", { es: BUFFER >> 4, dx: drive, ...registers });
  const buffer = (bytes: number) => memory.bytes.subarray(BUFFER, BUFFER + bytes);
  return { machine, memory, cd, disc, disk, ejected, text, drive, entryPoint, int13, buffer };
}

const sector = (mark: number, length = 2048): Uint8Array => new Uint8Array(length).fill(mark);

test("no emulation: the image is loaded where it asks to be, and the drive is E0h with sectors of 2048 bytes", async () => {
  const image = new Uint8Array([...sector(0x11), ...sector(0x22)]);
  const { text, drive, entryPoint, memory, int13, buffer, disc } = await booted({ count: 5, segment: 0x4000 }, image);
  assert.equal(text, "Booting from the CD-ROM...\r\n");
  assert.deepEqual([drive, entryPoint], [0xe0, 0x40000]);
  assert.deepEqual(memory.bytes.subarray(0x40000, 0x41000), image);
  const check = await int13({ ax: 0x4100, bx: 0x55aa });
  assert.deepEqual([check.carry, check.bx, check.cx], [false, 0xaa55, 7]);
  memory.write(
    PACKET,
    new Uint8Array([16, 0, 2, 0, 0, 0, ((BUFFER >> 12) << 4) & 0xff, BUFFER >> 12, 16, 0, 0, 0, 0, 0, 0, 0]),
  );
  memory.write32(PACKET + 4, (BUFFER >> 4) << 16);
  const packet = { ds: PACKET >> 4, si: 0 };
  assert.equal((await int13({ ax: 0x4200, ...packet })).carry, false);
  assert.deepEqual(buffer(4096), disc.subarray(16 * 2048, 18 * 2048));
  assert.equal((await int13({ ax: 0x4300, ...packet })).ah, 0x03);
  memory.write32(PACKET + 8, 2000);
  assert.equal((await int13({ ax: 0x4200, ...packet })).ah, 0x04);
  memory.write16(PACKET, 74);
  const parameters = await int13({ ax: 0x4800, ...packet });
  assert.equal(parameters.carry, false);
  assert.deepEqual([memory.read16(PACKET), memory.read32(PACKET + 16), memory.read16(PACKET + 24)], [74, 2000, 2048]);
  assert.equal(memory.read16(PACKET + 2) & 0x34, 0x34);
  assert.equal(memory.read16(PACKET + 30), 0xbedd);
});

test("the status packet of AH=4Bh describes the boot, and only of the drive that was booted", async () => {
  const { int13, memory } = await booted({ count: 4, segment: 0 }, sector(1));
  const status = await int13({ ax: 0x4b01, ds: PACKET >> 4, si: 0 });
  assert.equal(status.carry, false);
  assert.deepEqual(
    [memory.read8(PACKET), memory.read8(PACKET + 1), memory.read8(PACKET + 2), memory.read8(PACKET + 3)],
    [0x13, 0, 0xe0, 1],
  );
  assert.deepEqual([memory.read32(PACKET + 4), memory.read16(PACKET + 0x0c)], [IMAGE, 0x7c0]);
  assert.equal((await int13({ ax: 0x4b01, dx: 0xe1, ds: PACKET >> 4 })).carry, true);
});

test("a 1.44 MB diskette: drive 0 reads the image, drive 1 is the real drive A", async () => {
  const image = new Uint8Array(1440 * 1024);
  image.fill(0x5a, 0, 512);
  image.fill(0x77, ((3 * 2 + 1) * 18 + 6) * 512, ((3 * 2 + 1) * 18 + 7) * 512);
  const { drive, entryPoint, int13, buffer, memory, machine } = await booted({ media: 2, count: 1 }, image);
  assert.deepEqual([drive, entryPoint], [0, 0x7c00]);
  assert.equal(memory.read8(0x7dff), 0x5a);
  const read = await int13({ ax: 0x0201, cx: 0x0307, dx: 0x0100 });
  assert.deepEqual([read.carry, buffer(512)[9]], [false, 0x77]);
  assert.equal((await int13({ ax: 0x0301, cx: 0x0001 })).ah, 0x03);
  assert.equal((await int13({ ax: 0x0201, cx: 0x0013 })).ah, 0x04);
  const parameters = await int13({ ax: 0x0800 });
  assert.deepEqual([parameters.cx, parameters.dx, parameters.ax], [0x4f12, 0x0102, 0]);
  assert.equal(memory.read16(0x410) & 0xc1, 0x41);
  // The diskette in the real drive has its stamps.
  await int13({ ax: 0x0201, cx: 0x0001, dx: 1 });
  assert.notEqual(buffer(512)[9], 0x5a);
  assert.equal((await int13({ ax: 0x4b00, ds: PACKET >> 4 })).carry, false);
  assert.equal(memory.read16(0x410) & 0xc1, 0x01);
  await int13({ ax: 0x0201, cx: 0x0001, dx: 0 });
  assert.notEqual(buffer(512)[9], 0x5a);
  assert.equal(machine.cpu.edx, 0);
});

test("a disk: drive 80h with the geometry of its partition, real disks follow", async () => {
  const image = new Uint8Array(4 * 16 * 63 * 512);
  image.set([0x80, 1, 1, 0, 6, 15, 63, 3, 63, 0, 0, 0], 0x1be);
  image.set([0x55, 0xaa], 0x1fe);
  image.fill(0x33, 63 * 512, 64 * 512);
  const { drive, int13, buffer, memory, disk } = await booted({ media: 4, count: 1 }, image, "all");
  assert.equal(drive, 0x80);
  assert.equal(memory.read8(0x475), 2);
  assert.deepEqual([(await int13({ ax: 0x0201, cx: 0x0001, dx: 0x180 })).carry, buffer(512)[0]], [false, 0x33]);
  const parameters = await int13({ ax: 0x0800 });
  assert.deepEqual([parameters.cx, parameters.dx], [0x033f, 0x0f02]);
  assert.equal((await int13({ ax: 0x1500 })).dx, 4 * 16 * 63);
  assert.deepEqual((await int13({ ax: 0x0800, dx: 0x81 })).dx, 0x0f02);
  assert.equal((await int13({ ax: 0x1500, dx: 0x81 })).dx, 4 * 16 * 63);
  await int13({ ax: 0x0201, cx: 0x0001, dx: 0x81 });
  assert.deepEqual(buffer(512), disk.backend.bytes.subarray(0, 512));
});

test("AH=4Ch boots an image that a program names, AH=4Dh reads the catalog", async () => {
  const { int13, memory, machine, disc, buffer } = await booted({ count: 4 }, sector(1));
  disc.fill(0x66, 90 * 2048, 91 * 2048);
  memory.write(PACKET, new Uint8Array([0x13, 2, 0, 1, 90, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0x07, 1, 0, 0, 0, 0]));
  const boot = await int13({ ax: 0x4c00, ds: PACKET >> 4 });
  assert.deepEqual([boot.carry, boot.to, memory.read8(0x7c00)], [false, "boot_enter", 0x66]);
  await machine.trap("boot_launch");
  assert.equal(machine.cpu.edx, 0);
  memory.write(PACKET, new Uint8Array([8, 1, 0, 0, 0, 0, 0, 0]));
  memory.write32(PACKET + 2, (BUFFER >> 4) << 16);
  assert.equal((await int13({ ax: 0x4d00, dx: 0xe0, ds: PACKET >> 4 })).carry, false);
  assert.deepEqual([...buffer(2)], [1, 0]);
});

test("locks count, a locked tray stays shut, an empty drive says so", async () => {
  const { int13, ejected, cd, memory } = await booted({ count: 4 }, sector(1));
  assert.equal((await int13({ ax: 0x4501 })).ah, 0xb0);
  assert.equal((await int13({ ax: 0x4500 })).al, 1);
  assert.equal((await int13({ ax: 0x4600 })).ah, 0xb1);
  assert.deepEqual([(await int13({ ax: 0x4501 })).al, (await int13({ ax: 0x4502 })).al], [0, 0]);
  assert.equal((await int13({ ax: 0x4600 })).carry, false);
  assert.deepEqual(ejected, [2]);
  cd.trayOpen = true;
  assert.equal((await int13({ ax: 0x4900 })).ah, 0x31);
  memory.write(PACKET, new Uint8Array([16, 0, 1, 0]));
  assert.equal((await int13({ ax: 0x4200, ds: PACKET >> 4 })).ah, 0x31);
  memory.write16(PACKET, 30);
  await int13({ ax: 0x4800, ds: PACKET >> 4 });
  assert.equal(memory.read16(PACKET + 2) & 0x40, 0x40);
});

test("what cannot be booted is passed over with a word", async () => {
  const empty = fakeCdrom();
  const plain = fakeCdrom(40);
  const machine = await new Machine({ units: [empty, plain], bootOrder: ["cdrom", "disk"] }).post();
  await machine.trap("boot_start");
  const messages: string[] = [];
  for (let i = 0; i < 3; i++) {
    await machine.trap("boot_next");
    messages.push(machine.text());
  }
  assert.deepEqual(messages, [
    "Boot failed: the CD-ROM is empty.\r\n",
    "Boot failed: the CD-ROM is not bootable.\r\n",
    "Boot failed: the disk is not there.\r\n",
  ]);
});

test("section entries of the x86 platform count, others and damaged catalogs do not", () => {
  const efi: CatalogEntry = { media: 0, lba: 1, platform: 0xef };
  const pc: CatalogEntry = { media: 2, lba: 7 };
  assert.deepEqual(
    bootImages(bootCatalog([efi, pc])).map(({ lba }) => lba),
    [7],
  );
  assert.deepEqual(
    bootImages(bootCatalog([pc, efi, { ...pc, lba: 9 }])).map(({ lba }) => lba),
    [7, 9],
  );
  const damaged = bootCatalog([pc]);
  damaged[4] = 1;
  assert.deepEqual(bootImages(damaged), []);
  assert.deepEqual(bootImages(new Uint8Array(16)), []);
});
