/** The IDE channel: detection, identification, addressing, transfers of every kind, errors, resets, interrupts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { BlockBackend, Disk } from "../../src/hypervisor/backend.ts";
import { fakeDisk } from "../support/device-fakes.ts";
import { IdeBench as Bench } from "../support/ide-bench.ts";

test("a disk identifies itself honestly", async () => {
  const bench = new Bench(fakeDisk());
  bench.write(6, 0xa0);
  await bench.command(0xec);
  assert.equal(bench.irq.level, true);
  assert.equal(bench.read(7), 0x58);
  assert.equal(bench.irq.level, false);
  const bytes = bench.readWords(256);
  const word = (i: number): number => bytes[2 * i]! | (bytes[2 * i + 1]! << 8);
  const text = (first: number, count: number): string =>
    Array.from({ length: count }, (_, i) => String.fromCharCode(word(first + i) >> 8, word(first + i) & 0xff)).join("");
  assert.deepEqual([word(0), word(1), word(3), word(6)], [0x40, 4, 16, 63]);
  assert.equal(text(27, 20).trim(), "VMXON TEST DISK");
  assert.equal(text(10, 10).trim(), "VX0001");
  assert.equal(word(60) | (word(61) << 16), 4 * 16 * 63);
  assert.equal(word(49) & 0x300, 0x300, "LBA and DMA");
  assert.deepEqual([word(63), word(88)], [0x0407, 0x003f], "multiword 0-2 with 2 selected, Ultra 0-5");
  assert.equal(word(83) & 0x7400, 0x7400, "48-bit addresses and both flushes");
  assert.equal(word(80), 0x7e, "ATA-1 to ATA-6");
  assert.deepEqual([word(100), word(101), word(102)], [4 * 16 * 63, 0, 0]);
  assert.equal(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff, 0, "checksum");
  assert.equal(bench.read(7), 0x50);
});

test("sectors are read by LBA, one data request and one interrupt each", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.lba(0, 100, 3);
  await bench.command(0x20);
  const before = bench.irq.edges;
  const data = [];
  for (let i = 0; i < 3; i++) {
    assert.equal(bench.irq.level, true);
    assert.equal(bench.read(7) & 0x88, 0x08);
    data.push(...bench.readWords(256));
  }
  assert.equal(bench.irq.edges - before, 2);
  assert.equal(bench.read(7), 0x50);
  assert.deepEqual(Uint8Array.from(data), disk.backend.bytes.subarray(100 * 512, 103 * 512));
  assert.equal(bench.address, 102);
  assert.equal(bench.read(2), 0);
});

test("CHS addresses follow the translation in force", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  const readChs = async (c: number, h: number, s: number): Promise<Uint8Array> => {
    for (const [register, value] of [
      [6, 0xa0 | h],
      [2, 1],
      [3, s],
      [4, c & 0xff],
      [5, c >> 8],
    ] as const) {
      bench.write(register, value);
    }
    await bench.command(0x20);
    return bench.readWords(256);
  };
  const sector = (lba: number): Uint8Array => disk.backend.bytes.subarray(lba * 512, lba * 512 + 512);
  assert.deepEqual(await readChs(2, 3, 4), sector((2 * 16 + 3) * 63 + 3));
  bench.write(6, 0xa7);
  bench.write(2, 32);
  await bench.command(0x91);
  assert.equal(bench.read(7), 0x50);
  assert.deepEqual(await readChs(5, 7, 32), sector((5 * 8 + 7) * 32 + 31));
  await readChs(1, 1, 33);
  assert.equal(bench.read(7) & 1, 1);
  assert.equal(bench.read(1), 0x10, "no such sector number");
});

test("writes reach the disk; a flush waits for the host", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.lba(0, 7, 2);
  bench.write(7, 0x30);
  assert.equal(bench.irq.edges, 0, "the first block is not asked for by an interrupt");
  assert.equal(bench.status & 0x88, 0x08);
  for (let i = 0; i < 256; i++) bench.ide.write(0, 2, 0x1111);
  assert.equal(bench.irq.level, true);
  for (let i = 0; i < 128; i++) bench.ide.write(0, 4, 0x2222_2222);
  assert.equal(bench.status & 0x80, 0x80);
  await bench.clock.settle();
  assert.equal(bench.read(7), 0x50);
  const written = disk.backend.bytes.subarray(7 * 512, 9 * 512);
  assert.ok(written.subarray(0, 512).every((byte) => byte === 0x11));
  assert.ok(written.subarray(512).every((byte) => byte === 0x22));
  bench.write(7, 0xe7);
  assert.equal(bench.status & 0x80, 0x80);
  await bench.clock.settle();
  assert.equal(disk.backend.flushes, 1);
  assert.equal(bench.irq.level, true);
});

test("with the write cache off every write is flushed", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.write(6, 0xe0);
  bench.write(1, 0x82);
  await bench.command(0xef);
  assert.equal(disk.backend.flushes, 1);
  bench.lba(0, 0, 1);
  bench.write(7, 0x30);
  bench.ide.writeString(0, 2, new Uint8Array(512));
  await bench.clock.settle();
  assert.equal(disk.backend.flushes, 2);
});

test("read and write multiple ask once for each block", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.lba(0, 0, 5);
  await bench.command(0xc4);
  assert.equal(bench.read(1), 0x04, "not before Set Multiple");
  for (const count of [3, 32]) {
    bench.write(2, count);
    await bench.command(0xc6);
    assert.equal(bench.read(1), 0x04);
  }
  bench.write(2, 4);
  await bench.command(0xc6);
  assert.equal(bench.read(7), 0x50);
  bench.lba(0, 10, 5);
  const before = bench.irq.edges;
  await bench.command(0xc4);
  const target = new Uint8Array(5 * 512);
  bench.read(7);
  bench.ide.readString(0, 2, target.subarray(0, 4 * 512));
  bench.read(7);
  bench.ide.readString(0, 4, target.subarray(4 * 512));
  assert.equal(bench.irq.edges - before, 2);
  assert.deepEqual(target, disk.backend.bytes.subarray(10 * 512, 15 * 512));
  bench.lba(0, 20, 6);
  bench.write(7, 0xc5);
  bench.ide.writeString(0, 2, target);
  bench.ide.writeString(0, 2, target.subarray(0, 512));
  await bench.clock.settle();
  assert.deepEqual(disk.backend.bytes.subarray(20 * 512, 25 * 512), target);
});

test("a count of 0 means 256 sectors, in one string", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.lba(0, 64, 0);
  await bench.command(0x21);
  const target = new Uint8Array(256 * 512);
  bench.ide.readString(0, 2, target);
  assert.deepEqual(target, disk.backend.bytes.subarray(64 * 512, (64 + 256) * 512));
  const more = new Uint8Array(4);
  bench.ide.readString(0, 2, more);
  assert.deepEqual([...more], [0xff, 0xff, 0xff, 0xff]);
});

test("addresses beyond the end, host errors and read-only disks", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk, fakeDisk(1, { readonly: true }));
  const last = 4 * 16 * 63 - 1;
  bench.lba(0, last, 2);
  await bench.command(0x20);
  assert.equal(bench.read(7), 0x51);
  assert.equal(bench.read(1), 0x10);
  assert.equal(bench.address, last + 1);
  bench.lba(0, last, 1);
  await bench.command(0x40);
  assert.equal(bench.read(7), 0x50);
  disk.backend.broken = true;
  bench.lba(0, 5, 1);
  await bench.command(0x20);
  assert.equal(bench.read(7), 0x51);
  assert.equal(bench.read(1), 0x40);
  assert.equal(bench.address, 5);
  bench.lba(0, 5, 1);
  bench.write(7, 0x30);
  bench.ide.writeString(0, 2, new Uint8Array(512));
  await bench.clock.settle();
  assert.equal(bench.read(7), 0x71, "device fault");
  bench.lba(1, 0, 1);
  await bench.command(0x30);
  assert.equal(bench.read(7), 0x51);
  assert.equal(bench.read(1), 0x44);
});

test("unknown commands, packet commands and no operation are aborted", async () => {
  const bench = new Bench(fakeDisk());
  for (const opcode of [0x00, 0x08, 0xa0, 0xa1, 0xb0, 0xf9, 0xff]) {
    await bench.command(opcode);
    assert.equal(bench.read(7), 0x51, opcode.toString(16));
    assert.equal(bench.read(1), 0x04);
  }
});

test("commands without data: recalibrate, seek, features, buffers", async () => {
  const bench = new Bench(fakeDisk());
  for (const opcode of [0x10, 0x1f]) {
    await bench.command(opcode);
    assert.equal(bench.read(7), 0x50, opcode.toString(16));
  }
  bench.lba(0, 9999, 1);
  await bench.command(0x70);
  assert.equal(bench.read(1), 0x10);
  const feature = async (code: number, count: number): Promise<number> => {
    bench.write(1, code);
    bench.write(2, count);
    await bench.command(0xef);
    return bench.read(7);
  };
  for (const mode of [0x00, 0x0c, 0x22, 0x45]) assert.equal(await feature(0x03, mode), 0x50, mode.toString(16));
  for (const mode of [0x0d, 0x12, 0x23, 0x46]) assert.equal(await feature(0x03, mode), 0x51, mode.toString(16));
  assert.equal(await feature(0xaa, 0), 0x50);
  assert.equal(await feature(0x99, 0), 0x51);
  await bench.command(0xec);
  const words = bench.readWords(256);
  assert.deepEqual([words[2 * 63 + 1], words[2 * 88 + 1]], [0, 1 << 5], "Ultra DMA 5 is the mode that is selected");
  bench.write(7, 0xe8);
  const pattern = new Uint8Array(512).fill(0x77);
  bench.ide.writeString(0, 2, pattern);
  await bench.command(0xe4);
  assert.deepEqual(bench.readWords(256), pattern);
});

test("power: each mode is told, the standby timer runs in guest time, sleep ends with a reset", async () => {
  const bench = new Bench(fakeDisk());
  const mode = async (): Promise<number> => {
    await bench.command(0xe5);
    assert.equal(bench.read(7), 0x50);
    return bench.read(2);
  };
  assert.equal(await mode(), 0xff);
  for (const [opcode, expected] of [
    [0xe1, 0x80],
    [0xe0, 0x00],
    [0x95, 0x80],
    [0x94, 0x00],
  ] as const) {
    await bench.command(opcode);
    assert.equal(await mode(), expected, opcode.toString(16));
  }
  bench.lba(0, 1, 1);
  await bench.command(0x40);
  assert.equal(await mode(), 0xff, "a command that needs the medium wakes the disk");
  bench.write(2, 12);
  await bench.command(0xe3);
  assert.equal(await mode(), 0x80);
  bench.clock.advance(61e9);
  assert.equal(await mode(), 0x00, "a minute has passed");
  await bench.command(0xe6);
  const edges = bench.irq.edges;
  await bench.command(0xe5);
  assert.equal(bench.irq.edges, edges, "a disk that sleeps does not answer");
  bench.ide.control.write(0, 1, 0x04);
  bench.ide.control.write(0, 1, 0x00);
  bench.clock.advance(1e6);
  assert.equal(await mode(), 0x00);
});

/** A disk whose every sector begins with its number. */
function largeDisk(sectors: number): Disk {
  const backend: BlockBackend = {
    size: sectors * 512,
    readonly: true,
    async read(offset, target) {
      for (let at = 0; at < target.length; at += 512)
        new DataView(target.buffer, target.byteOffset).setFloat64(at, offset / 512 + at / 512, true);
    },
    async write() {},
    async flush() {},
    async discard() {},
    async close() {},
  };
  return {
    kind: "disk",
    backend,
    geometry: { cylinders: 16383, heads: 16, sectors: 63 },
    serial: "VX0002",
    model: "LARGE",
  };
}

test("48-bit addresses reach beyond 128 GB, and HOB shows the older bytes", async () => {
  const sectors = 2 ** 33 + 100;
  const bench = new Bench(largeDisk(sectors));
  const lba = 2 ** 33 + 57;
  bench.lba48(0, lba, 2);
  await bench.command(0x24);
  for (let i = 0; i < 2; i++) assert.equal(new DataView(bench.readWords(256).buffer).getFloat64(0, true), lba + i);
  assert.equal(bench.read(7), 0x50);
  assert.equal(bench.address48, lba + 1);
  bench.ide.control.write(0, 1, 0x80);
  assert.equal(bench.read(2), 0, "older byte of the count");
  bench.write(2, 5);
  assert.equal(bench.read(2), 5, "a write ends the look behind");
  bench.lba48(0, sectors - 1, 2);
  await bench.command(0x42);
  assert.equal(bench.read(1), 0x10);
  bench.lba48(0, 0, 0);
  await bench.command(0x42);
  assert.equal(bench.read(7), 0x50, "65536 sectors");
  assert.equal(bench.address48, 65535);
  await bench.command(0x27);
  assert.equal(bench.address48, sectors - 1);
  bench.lba(0, 0, 0);
  await bench.command(0xf8);
  assert.equal(bench.address, 0x0fff_ffff, "all that 28 bits can tell");
  await bench.command(0xec);
  const words = new DataView(bench.readWords(256).buffer);
  assert.equal(words.getUint32(2 * 60, true), 0x0fff_ffff);
  assert.equal(Number(words.getBigUint64(2 * 100, true)), sectors);
});

test("Set Max takes sectors away until the next reset, if it comes right after Read Native Max", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  const last = 4 * 16 * 63 - 1;
  bench.lba(0, 999, 0);
  await bench.command(0xf9);
  assert.equal(bench.read(1), 0x04);
  await bench.command(0xf8);
  assert.equal(bench.address, last);
  bench.lba(0, 999, 0);
  await bench.command(0xf9);
  assert.equal(bench.read(7), 0x50);
  bench.lba(0, 1000, 1);
  await bench.command(0x40);
  assert.equal(bench.read(1), 0x10);
  bench.ide.reset();
  bench.lba(0, 1000, 1);
  await bench.command(0x40);
  assert.equal(bench.read(7), 0x50);
  await bench.command(0xf8);
  bench.lba(0, last + 1, 0);
  await bench.command(0xf9);
  assert.equal(bench.read(1), 0x10, "there are no more sectors than that");
});

test("SMART: switched, asked for its status, read", async () => {
  const bench = new Bench(fakeDisk());
  const smart = async (features: number, count = 0, log = 0): Promise<number> => {
    bench.write(1, features);
    bench.lba(0, 0xc24f00 | log, count);
    await bench.command(0xb0);
    return bench.read(7);
  };
  bench.clock.advance(7.5 * 3600e9);
  assert.equal(await smart(0xda), 0x50);
  assert.equal(bench.address & 0xffff00, 0xc24f00, "no threshold is exceeded");
  assert.equal(await smart(0xd0), 0x58);
  const data = bench.readWords(256);
  assert.equal(data.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
  assert.deepEqual([...data.subarray(2 + 12, 2 + 12 + 6)], [9, 2, 0, 100, 100, 7], "power-on hours");
  assert.equal(await smart(0xd5, 1, 0), 0x58);
  assert.equal(bench.readWords(256)[0], 1);
  assert.equal(await smart(0xd5, 1, 6), 0x51, "there is no such log");
  assert.equal(await smart(0xd9), 0x50);
  assert.equal(await smart(0xda), 0x51, "nothing works while it is off");
  assert.equal(await smart(0xd8), 0x50);
  bench.write(1, 0xda);
  bench.lba(0, 0, 0);
  await bench.command(0xb0);
  assert.equal(bench.read(1), 0x04, "the key is missing");
});

test("features keep their settings over a software reset unless told to revert", async () => {
  const bench = new Bench(fakeDisk());
  const feature = async (code: number): Promise<void> => {
    bench.write(6, 0xe0);
    bench.write(1, code);
    await bench.command(0xef);
  };
  const softReset = (): void => {
    bench.ide.control.write(0, 1, 0x04);
    bench.ide.control.write(0, 1, 0x00);
    bench.clock.advance(1e6);
  };
  const lookAhead = async (): Promise<boolean> => {
    await bench.command(0xec);
    return (bench.readWords(256)[2 * 85]! & 0x40) !== 0;
  };
  await feature(0x55);
  softReset();
  assert.equal(await lookAhead(), false);
  await feature(0xcc);
  softReset();
  assert.equal(await lookAhead(), true);
});

test("a lone disk answers for the missing one with status 0", () => {
  const bench = new Bench(fakeDisk());
  bench.write(6, 0xb0);
  assert.equal(bench.read(7), 0);
  assert.equal(bench.status, 0);
  bench.write(2, 0x55);
  assert.equal(bench.read(2), 0x55);
  bench.write(7, 0xec);
  assert.equal(bench.read(7), 0);
  assert.equal(bench.irq.edges, 0);
});

test("an empty channel floats", () => {
  const bench = new Bench();
  for (let register = 1; register < 8; register++) assert.equal(bench.read(register), 0xff);
  assert.equal(bench.status, 0xff);
  assert.equal(bench.ide.read(0, 2), 0xffff);
});

test("software reset and diagnostics leave the signature in both disks", async () => {
  const bench = new Bench(fakeDisk(), fakeDisk());
  bench.lba(1, 0x123456, 9);
  bench.ide.control.write(0, 1, 0x04);
  assert.equal(bench.status, 0x80);
  bench.ide.control.write(0, 1, 0x00);
  bench.clock.advance(1e6);
  assert.deepEqual(
    [1, 2, 3, 4, 5, 7].map((register) => bench.read(register)),
    [1, 1, 1, 0, 0, 0x50],
  );
  bench.lba(1, 0x123456, 9);
  await bench.command(0x90);
  assert.equal(bench.irq.level, true);
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map((register) => bench.read(register)),
    [1, 1, 1, 0, 0, 0xa0],
  );
  bench.write(6, 0xb0);
  assert.equal(bench.read(1), 1);
});

test("a reset in the middle of a read is the end of it", async () => {
  const bench = new Bench(fakeDisk());
  bench.lba(0, 0, 1);
  bench.write(7, 0x20);
  bench.ide.control.write(0, 1, 0x04);
  bench.ide.control.write(0, 1, 0x00);
  await bench.clock.settle();
  bench.clock.advance(1e6);
  assert.equal(bench.status, 0x50);
  assert.equal(bench.irq.edges, 0);
});

test("interrupts: nIEN holds them, only the selected disk drives the line", async () => {
  const bench = new Bench(fakeDisk(), fakeDisk());
  bench.ide.control.write(0, 1, 0x02);
  bench.write(6, 0xe0);
  await bench.command(0x10);
  assert.equal(bench.irq.level, false);
  bench.ide.control.write(0, 1, 0x00);
  assert.equal(bench.irq.level, true);
  bench.write(6, 0xf0);
  assert.equal(bench.irq.level, false);
  bench.write(6, 0xe0);
  assert.equal(bench.irq.level, true);
  assert.equal(bench.status, 0x50);
  assert.equal(bench.irq.level, true, "alternate status leaves the interrupt alone");
});

test("a read that was under way ends after a restore as it would have without", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.lba(0, 33, 2);
  bench.write(7, 0x20);
  const saved = bench.ide.state();
  bench.ide.reset();
  bench.ide.restore(saved);
  await bench.clock.settle();
  const target = new Uint8Array(1024);
  bench.ide.readString(0, 2, target.subarray(0, 300));
  const middle = bench.ide.state();
  bench.ide.reset();
  bench.ide.restore(middle);
  bench.ide.readString(0, 2, target.subarray(300));
  assert.deepEqual(target, disk.backend.bytes.subarray(33 * 512, 35 * 512));
});
