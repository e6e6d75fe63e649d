/** INT 13h on fixed disks: CHS functions, extensions, translation. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { assistedGeometry, logicalGeometry, partitionedGeometry } from "../../src/firmware/rombios/disk-geometry.ts";
import type { Disk } from "../../src/hypervisor/backend.ts";
import { fakeDisk } from "../support/device-fakes.ts";
import { Machine, type Registers } from "./machine.ts";

const BUFFER = 0x20000;
const PACKET = 0x30000;

async function withDisk(disk: ReturnType<typeof fakeDisk> = fakeDisk(10)) {
  const machine = await new Machine({ units: [undefined, disk] }).post();
  const int13 = (registers: Registers) => machine.call("int13", { es: BUFFER >> 4, dx: 0x80, ...registers });
  const sectors = (lba: number, count: number) => disk.backend.bytes.subarray(lba * 512, (lba + count) * 512);
  const buffer = (count: number) => machine.memory.bytes.subarray(BUFFER, BUFFER + count * 512);
  return { disk, machine, int13, sectors, buffer };
}

test("02h, 03h and 04h move sectors by cylinder, head and sector", async () => {
  const { int13, sectors, buffer, machine } = await withDisk();
  const read = await int13({ ax: 0x0203, cx: 0x013f, dx: 0x0f80 });
  assert.deepEqual([read.carry, read.ah], [false, 0]);
  assert.deepEqual(buffer(3), sectors((1 * 16 + 15) * 63 + 62, 3));
  machine.memory.bytes.fill(0x77, BUFFER, BUFFER + 512);
  assert.equal((await int13({ ax: 0x0301, cx: 0x0002 })).carry, false);
  assert.ok(sectors(1, 1).every((byte) => byte === 0x77));
  assert.equal((await int13({ ax: 0x0401, cx: 0x0002 })).carry, false);
});

test("errors: bad address, no sectors, past the end, read-only, host failure, no such disk", async () => {
  const { int13, disk, machine } = await withDisk();
  const code = async (registers: Registers) => {
    const { carry, ah } = await int13(registers);
    assert.equal(carry, ah !== 0);
    return ah;
  };
  assert.equal(await code({ ax: 0x0201, cx: 0x0a01 }), 0x04);
  assert.equal(await code({ ax: 0x0201, cx: 0x0000 }), 0x04);
  assert.equal(await code({ ax: 0x0200, cx: 0x0001 }), 0x01);
  assert.equal(await code({ ax: 0x0202, cx: 0x093f, dx: 0x0f80 }), 0x04);
  assert.equal(await code({ ax: 0x0201, cx: 0x0001, dx: 0x81 }), 0x01);
  assert.equal(await code({ ax: 0x6600 }), 0x01);
  assert.equal(machine.memory.read8(0x474), 0x01);
  disk.backend.broken = true;
  assert.equal(await code({ ax: 0x0201, cx: 0x0001 }), 0x10);
  assert.equal(await code({ ax: 0x0301, cx: 0x0001 }), 0xcc);
  disk.backend.broken = false;
  disk.backend.readonly = true;
  assert.equal(await code({ ax: 0x0301, cx: 0x0001 }), 0x03);
});

test("08h, 15h and the calls that only succeed", async () => {
  const { int13, disk } = await withDisk();
  const parameters = await int13({ ax: 0x0800 });
  assert.deepEqual([parameters.carry, parameters.cx, parameters.dx], [false, 0x093f, 0x0f01]);
  const kind = await int13({ ax: 0x1500 });
  assert.deepEqual([kind.ah, kind.cx * 65536 + kind.dx], [3, 10 * 16 * 63]);
  assert.deepEqual([(await int13({ ax: 0x1500, dx: 0x81 })).ah], [0]);
  for (const ah of [0x00, 0x05, 0x09, 0x0c, 0x0d, 0x10, 0x11, 0x14]) {
    assert.equal((await int13({ ax: ah << 8, cx: 1 })).carry, false, ah.toString(16));
  }
  assert.ok(disk.backend.flushes >= 2);
});

test("41h announces the extensions, 42h–44h and 47h use packets", async () => {
  const { int13, machine, sectors, buffer } = await withDisk();
  const check = await int13({ ax: 0x4100, bx: 0x55aa });
  assert.deepEqual([check.carry, check.bx, check.ah, check.cx], [false, 0xaa55, 0x30, 7]);
  const { memory } = machine;
  const packet = (count: number, lba: number): Registers => {
    memory.write16(PACKET, 16);
    memory.write16(PACKET + 2, count);
    memory.write32(PACKET + 4, (BUFFER >> 4) << 16);
    memory.write32(PACKET + 8, lba);
    memory.write32(PACKET + 12, 0);
    return { ds: PACKET >> 4, si: 0 };
  };
  assert.equal((await int13({ ax: 0x4200, ...packet(5, 777) })).carry, false);
  assert.deepEqual(buffer(5), sectors(777, 5));
  memory.bytes.fill(0x11, BUFFER, BUFFER + 512);
  assert.equal((await int13({ ax: 0x4300, ...packet(1, 778) })).carry, false);
  assert.ok(sectors(778, 1).every((byte) => byte === 0x11));
  assert.equal((await int13({ ax: 0x4400, ...packet(1, 0) })).carry, false);
  assert.equal((await int13({ ax: 0x4700, ...packet(0, 5) })).carry, false);
  const end = await int13({ ax: 0x4200, ...packet(2, 10 * 16 * 63 - 1) });
  assert.deepEqual([end.carry, end.ah, memory.read16(PACKET + 2)], [true, 0x04, 0]);
  const high = packet(1, 0);
  memory.write32(PACKET + 12, 1);
  assert.equal((await int13({ ax: 0x4200, ...high })).carry, true);
  // A 64-bit flat buffer address.
  packet(1, 3);
  memory.write16(PACKET, 24);
  memory.write32(PACKET + 4, 0xffff_ffff);
  memory.write32(PACKET + 16, 0x200000);
  memory.write32(PACKET + 20, 0);
  assert.equal((await int13({ ax: 0x4200, ds: PACKET >> 4 })).carry, false);
  assert.deepEqual(memory.bytes.subarray(0x200000, 0x200200), sectors(3, 1));
});

test("48h fills as much as the caller has room for", async () => {
  const { int13, machine } = await withDisk();
  const { memory } = machine;
  for (const [room, size] of [
    [26, 26],
    [30, 30],
    [66, 66],
    [73, 66],
    [100, 74],
  ] as const) {
    memory.write16(PACKET, room);
    assert.equal((await int13({ ax: 0x4800, ds: PACKET >> 4 })).carry, false);
    assert.equal(memory.read16(PACKET), size);
  }
  assert.deepEqual([memory.read32(PACKET + 4), memory.read32(PACKET + 8), memory.read32(PACKET + 12)], [10, 16, 63]);
  assert.equal(memory.read32(PACKET + 16), 10080);
  assert.equal(memory.read16(PACKET + 24), 512);
  const extension = memory.read16(PACKET + 28) * 16 + memory.read16(PACKET + 26);
  assert.deepEqual(
    [memory.read16(extension), memory.read8(extension + 4), memory.read8(extension + 6)],
    [0x1f0, 0xf0, 14],
  );
  assert.equal(memory.bytes.subarray(extension, extension + 16).reduce((a, b) => a + b, 0) & 0xff, 0);
  assert.equal(memory.read16(PACKET + 30), 0xbedd);
  assert.equal(Buffer.from(memory.bytes.subarray(PACKET + 36, PACKET + 48)).toString("latin1"), "PCI ATA     ");
  assert.equal(memory.bytes.subarray(PACKET + 30, PACKET + 74).reduce((a, b) => a + b, 0) & 0xff, 0);
  memory.write16(PACKET, 20);
  assert.equal((await int13({ ax: 0x4800, ds: PACKET >> 4 })).ah, 1);
});

test("45h, 46h, 49h and 4Eh answer as for a fixed disk", async () => {
  const { int13 } = await withDisk();
  assert.deepEqual([(await int13({ ax: 0x4502 })).al, (await int13({ ax: 0x4500 })).carry], [0, false]);
  assert.equal((await int13({ ax: 0x4600 })).ah, 0xb2);
  assert.equal((await int13({ ax: 0x4900 })).carry, false);
  assert.equal((await int13({ ax: 0x4e01 })).carry, false);
  assert.equal((await int13({ ax: 0x4e02 })).carry, true);
});

test("LBA-assisted translation reaches every disk that INT 13h can address", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1024 * 16 * 63, max: 1024 * 255 * 63 }), (total) => {
      const { cylinders, heads, sectors } = assistedGeometry(total);
      assert.ok(cylinders >= 1 && cylinders <= 1024 && heads <= 255 && sectors === 63);
      assert.ok(cylinders * heads * sectors <= total);
      // What translation loses is less than a cylinder.
      assert.ok(total - cylinders * heads * sectors < heads * sectors);
    }),
  );
});

function partition(mbr: Uint8Array, at: number, start: number, length: number, heads: number, sectors: number): void {
  const chs = (lba: number): number[] => {
    const cylinder = Math.floor(lba / (heads * sectors));
    return [Math.floor(lba / sectors) % heads, (lba % sectors) + 1 + ((cylinder >> 2) & 0xc0), cylinder & 0xff];
  };
  mbr.set([0x80, ...chs(start), 6, ...chs(start + length - 1)], at);
  new DataView(mbr.buffer).setUint32(at + 8, start, true);
  new DataView(mbr.buffer).setUint32(at + 12, length, true);
}

test("a partitioned disk keeps the geometry that it was partitioned with", () => {
  const mbr = new Uint8Array(512);
  mbr.set([0x55, 0xaa], 510);
  const total = 1000 * 32 * 63;
  const disk: Disk = { ...fakeDisk(1), geometry: { cylinders: 2000, heads: 16, sectors: 63 } };
  assert.deepEqual(logicalGeometry(disk, total, mbr), { cylinders: 1000, heads: 32, sectors: 63 });
  partition(mbr, 0x1be, 17, 4 * 17 * 300 - 17, 4, 17);
  assert.deepEqual(partitionedGeometry(mbr, total), { cylinders: 1024, heads: 4, sectors: 17 });
  partition(mbr, 0x1ce, 4 * 17 * 300, 4 * 17 * 100, 4, 17);
  assert.equal(logicalGeometry(disk, total, mbr).heads, 4);
  // Start and end that contradict the LBA values tell nothing.
  mbr[0x1be + 3] = 9;
  assert.equal(partitionedGeometry(mbr, total), undefined);
  assert.equal(logicalGeometry(disk, total, undefined).heads, 32);
});

test("a disk within CHS limits keeps its physical geometry", () => {
  assert.deepEqual(logicalGeometry(fakeDisk(10), 10080, undefined), { cylinders: 10, heads: 16, sectors: 63 });
});
