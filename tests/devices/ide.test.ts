/** The IDE channel: detection, identification, addressing, transfers of every kind, errors, resets, interrupts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { IdeChannel } from "../../src/devices/ide.ts";
import type { Disk } from "../../src/hypervisor/backend.ts";
import { FakeLine, fakeDisk } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

class Bench {
  readonly clock = new FakeClock();
  readonly irq = new FakeLine();
  readonly ide: IdeChannel;

  constructor(...disks: (Disk | undefined)[]) {
    this.ide = new IdeChannel({ clock: this.clock, irq: this.irq, disks });
  }

  read(register: number): number {
    return this.ide.read(register, 1);
  }

  write(register: number, value: number): void {
    this.ide.write(register, 1, value);
  }

  /** Status without taking the interrupt back. */
  get status(): number {
    return this.ide.control.read(0, 1);
  }

  lba(unit: number, lba: number, count: number): void {
    this.write(6, 0xe0 | (unit << 4) | ((lba >> 24) & 15));
    this.write(2, count);
    this.write(3, lba & 0xff);
    this.write(4, (lba >> 8) & 0xff);
    this.write(5, (lba >> 16) & 0xff);
  }

  get address(): number {
    return this.read(3) | (this.read(4) << 8) | (this.read(5) << 16) | ((this.read(6) & 15) << 24);
  }

  async command(opcode: number): Promise<void> {
    this.write(7, opcode);
    await this.clock.settle();
  }

  readWords(count: number): Uint8Array {
    const bytes = new Uint8Array(count * 2);
    for (let i = 0; i < count; i++) {
      const word = this.ide.read(0, 2);
      bytes[2 * i] = word & 0xff;
      bytes[2 * i + 1] = word >> 8;
    }
    return bytes;
  }
}

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
  assert.equal(word(49) & 0x300, 0x200, "LBA, and no DMA");
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

test("unknown commands, DMA and packet commands are aborted", async () => {
  const bench = new Bench(fakeDisk());
  for (const opcode of [0x00, 0x08, 0x25, 0xa0, 0xa1, 0xb0, 0xc8, 0xca, 0xff]) {
    await bench.command(opcode);
    assert.equal(bench.read(7), 0x51, opcode.toString(16));
    assert.equal(bench.read(1), 0x04);
  }
});

test("commands without data: recalibrate, seek, power, features, buffers", async () => {
  const bench = new Bench(fakeDisk());
  for (const opcode of [0x10, 0x1f, 0x94, 0x95, 0x96, 0x97, 0x99, 0xe0, 0xe1, 0xe2, 0xe3, 0xe6]) {
    await bench.command(opcode);
    assert.equal(bench.read(7), 0x50, opcode.toString(16));
  }
  await bench.command(0xe5);
  assert.equal(bench.read(2), 0xff);
  bench.lba(0, 9999, 1);
  await bench.command(0x70);
  assert.equal(bench.read(1), 0x10);
  const feature = async (code: number, count: number): Promise<number> => {
    bench.write(1, code);
    bench.write(2, count);
    await bench.command(0xef);
    return bench.read(7);
  };
  assert.equal(await feature(0x03, 0x0c), 0x50);
  assert.equal(await feature(0x03, 0x42), 0x51, "Ultra DMA");
  assert.equal(await feature(0xaa, 0), 0x50);
  assert.equal(await feature(0x99, 0), 0x51);
  bench.write(7, 0xe8);
  const pattern = new Uint8Array(512).fill(0x77);
  bench.ide.writeString(0, 2, pattern);
  await bench.command(0xe4);
  assert.deepEqual(bench.readWords(256), pattern);
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
