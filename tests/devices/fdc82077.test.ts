/** The floppy controller: resets, every command, DMA and non-DMA transfers, formats, errors. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Dma8237 } from "../../src/devices/dma8237.ts";
import { Fdc82077 } from "../../src/devices/fdc82077.ts";
import type { FloppyDrive } from "../../src/hypervisor/backend.ts";
import { FakeLine, FakeMemory, FLOPPY_SIZES, fakeFloppy } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const BUFFER = 0x8000;

class Bench {
  readonly clock = new FakeClock();
  readonly irq6 = new FakeLine();
  readonly memory = new FakeMemory(1 << 18);
  readonly dma = new Dma8237({ memory: this.memory });
  readonly fdc: Fdc82077;

  constructor(drives: readonly FloppyDrive[]) {
    this.fdc = new Fdc82077({ clock: this.clock, irq6: this.irq6, dma: this.dma.channel(2), drives });
  }

  /** Out of reset, with its four reports taken, as a BIOS leaves it. */
  static ready(...drives: FloppyDrive[]): Bench {
    const bench = new Bench(drives);
    bench.fdc.write(2, 1, 0x1c);
    bench.clock.advance(1e6);
    for (let i = 0; i < 4; i++) bench.command(0x08);
    bench.command(0x03, 0xdf, 0x02);
    return bench;
  }

  get msr(): number {
    return this.fdc.read(4, 1);
  }

  send(...bytes: number[]): void {
    for (const byte of bytes) {
      assert.equal(this.msr & 0xc0, 0x80, "ready for a byte");
      this.fdc.write(5, 1, byte);
    }
  }

  result(): number[] {
    const bytes = [];
    while ((this.msr & 0xc0) === 0xc0) bytes.push(this.fdc.read(5, 1));
    return bytes;
  }

  /** A command without an execution phase. */
  command(...bytes: number[]): number[] {
    this.send(...bytes);
    return this.result();
  }

  /** A command with one. */
  async run(...bytes: number[]): Promise<number[]> {
    this.send(...bytes);
    await this.clock.settle();
    assert.equal(this.irq6.level, true, "the result interrupts");
    const result = this.result();
    assert.equal(this.irq6.level, false);
    return result;
  }

  seek(drive: number, cylinder: number): number[] {
    this.send(0x0f, drive, cylinder);
    assert.equal(this.msr & (1 << drive), 1 << drive, "drive is seeking");
    this.clock.advance(1e6);
    assert.equal(this.irq6.level, true);
    return this.command(0x08);
  }

  /** Let channel 2 move `count` bytes at BUFFER. */
  setDma(toMemory: boolean, count: number): void {
    const { first, pages } = this.dma;
    first.write(0x0c, 1, 0);
    first.write(0x0b, 1, toMemory ? 0x46 : 0x4a);
    for (const byte of [BUFFER & 0xff, BUFFER >> 8]) first.write(4, 1, byte);
    for (const byte of [(count - 1) & 0xff, (count - 1) >> 8]) first.write(5, 1, byte);
    pages.write(0, 1, 0);
    first.write(0x0a, 1, 2);
  }

  buffer(length: number): Uint8Array {
    return this.memory.bytes.subarray(BUFFER, BUFFER + length);
  }
}

test("after a reset: an interrupt and four reports of changed drives, then none", () => {
  const bench = new Bench([fakeFloppy(1440)]);
  assert.equal(bench.msr, 0, "in reset");
  bench.fdc.write(2, 1, 0x0c);
  assert.equal(bench.irq6.level, false, "not at once");
  bench.clock.advance(1e6);
  assert.equal(bench.irq6.level, true);
  for (let drive = 0; drive < 4; drive++) assert.deepEqual(bench.command(0x08), [0xc0 | drive, 0]);
  assert.equal(bench.irq6.level, false);
  assert.deepEqual(bench.command(0x08), [0x80]);
});

test("DSR resets too, and the interrupt obeys the DMA gate", () => {
  const bench = Bench.ready(fakeFloppy(1440));
  bench.fdc.write(4, 1, 0x80);
  bench.clock.advance(1e6);
  assert.equal(bench.irq6.level, true);
  bench.fdc.write(2, 1, 0x04);
  assert.equal(bench.irq6.level, false);
  bench.fdc.write(2, 1, 0x0c);
  assert.equal(bench.irq6.level, true);
});

test("version, configure, dump registers, lock, perpendicular", () => {
  const bench = Bench.ready(fakeFloppy(1440));
  assert.deepEqual(bench.command(0x10), [0x90]);
  bench.command(0x13, 0x00, 0x57, 0x10);
  bench.command(0x12, 0x84);
  assert.deepEqual(bench.command(0x94), [0x10]);
  assert.deepEqual(bench.command(0x0e), [0, 0, 0, 0, 0xdf, 0x02, 0, 0x84, 0x57, 0x10]);
  bench.fdc.write(2, 1, 0x08);
  bench.fdc.write(2, 1, 0x0c);
  bench.clock.advance(1e6);
  assert.deepEqual(bench.command(0x0e).slice(8), [0x57, 0x10], "locked values survive a reset");
  assert.deepEqual(bench.command(0x14), [0x00]);
});

test("invalid commands answer 80h without an interrupt", () => {
  const bench = Bench.ready(fakeFloppy(1440));
  const { edges } = bench.irq6;
  for (const code of [0x00, 0x01, 0x0b, 0x18, 0x1f, 0xc8, 0x84]) assert.deepEqual(bench.command(code), [0x80]);
  assert.equal(bench.irq6.edges, edges);
});

test("seek, relative seek and recalibrate move the heads and report", () => {
  const bench = Bench.ready(fakeFloppy(1440), fakeFloppy(720));
  assert.deepEqual(bench.seek(0, 40), [0x20, 40]);
  assert.deepEqual(bench.command(0x04, 0x04), [0x2c]);
  bench.send(0xcf, 0, 5);
  bench.clock.advance(1e6);
  assert.deepEqual(bench.command(0x08), [0x20, 45]);
  bench.send(0x8f, 0, 3);
  bench.clock.advance(1e6);
  assert.deepEqual(bench.command(0x08), [0x20, 42]);
  bench.send(0x07, 0);
  bench.send(0x0f, 1, 7);
  assert.equal(bench.msr, 0x83, "both drives seek at once");
  bench.clock.advance(1e6);
  assert.deepEqual(bench.command(0x08), [0x20, 0]);
  assert.equal(bench.irq6.level, true, "one report is left");
  assert.deepEqual(bench.command(0x08), [0x21, 7]);
  assert.deepEqual(bench.command(0x04, 0x00), [0x38], "track 0");
});

test("a drive that is not there fails to recalibrate", () => {
  const bench = Bench.ready(fakeFloppy(1440));
  bench.send(0x07, 1);
  bench.clock.advance(1e6);
  assert.deepEqual(bench.command(0x08), [0x71, 0]);
});

test("read data by DMA: one sector, many, and over both heads", async () => {
  const drive = fakeFloppy(1440);
  const image = drive.medium.backend.bytes;
  const bench = Bench.ready(drive);
  bench.setDma(true, 512);
  assert.deepEqual(await bench.run(0xe6, 0, 0, 0, 3, 2, 18, 0x1b, 0xff), [0, 0, 0, 0, 0, 4, 2]);
  assert.deepEqual(bench.buffer(512), image.subarray(1024, 1536));

  bench.seek(0, 5);
  bench.setDma(true, 36 * 512);
  assert.deepEqual(await bench.run(0xe6, 0, 5, 0, 1, 2, 18, 0x1b, 0xff), [0x04, 0, 0, 6, 0, 1, 2]);
  assert.deepEqual(bench.buffer(36 * 512), image.subarray(5 * 36 * 512, 6 * 36 * 512));

  bench.setDma(true, 512);
  assert.deepEqual(await bench.run(0x46, 4, 5, 1, 18, 2, 18, 0x1b, 0xff), [0x04, 0, 0, 6, 1, 1, 2]);
  assert.deepEqual(bench.buffer(512), image.subarray((5 * 36 + 35) * 512, (5 * 36 + 36) * 512));
});

test("without terminal count the end of the cylinder is an error", async () => {
  const bench = Bench.ready(fakeFloppy(1440));
  bench.setDma(true, 4096);
  assert.deepEqual(await bench.run(0x46, 0, 0, 0, 16, 2, 18, 0x1b, 0xff), [0x40, 0x80, 0, 1, 0, 1, 2]);
});

test("write data reaches the image, short sectors filled with zeros", async () => {
  const drive = fakeFloppy(720);
  const bench = Bench.ready(drive);
  bench.buffer(1024).fill(0x5a);
  bench.setDma(false, 600);
  assert.deepEqual(await bench.run(0xc5, 0, 0, 0, 8, 2, 9, 0x1b, 0xff), [0, 0, 0, 0, 1, 1, 2]);
  const written = drive.medium.backend.bytes.subarray(7 * 512, 9 * 512);
  assert.ok(written.subarray(0, 600).every((byte) => byte === 0x5a));
  assert.ok(written.subarray(600).every((byte) => byte === 0));
});

test("every format is read to its last sector", async () => {
  for (const size of FLOPPY_SIZES) {
    const drive = fakeFloppy(size);
    const { geometry, backend } = drive.medium;
    const bench = Bench.ready(drive);
    const c = geometry.cylinders - 1;
    const h = geometry.heads - 1;
    bench.seek(0, c);
    bench.setDma(true, 512);
    const result = await bench.run(0x46, h << 2, c, h, geometry.sectors, 2, geometry.sectors, 0x1b, 0xff);
    assert.equal(result[0]! & 0xc0, 0, `${size} KB`);
    assert.deepEqual(bench.buffer(512), backend.bytes.subarray(-512), `${size} KB`);
    bench.setDma(true, 512);
    const beyond = await bench.run(0x46, h << 2, c, h, geometry.sectors + 1, 2, 63, 0x1b, 0xff);
    assert.deepEqual(beyond.slice(0, 2), [0x40 | (h << 2), 0x04], `${size} KB: no such sector`);
  }
});

test("errors: wrong cylinder, head, size, density, no medium, no second side", async () => {
  const bench = Bench.ready(fakeFloppy(160), { medium: undefined, changed: true });
  const status = async (...bytes: number[]): Promise<number[]> => {
    bench.setDma(true, 512);
    return (await bench.run(...bytes)).slice(0, 3);
  };
  assert.deepEqual(await status(0x46, 0, 1, 0, 1, 2, 8, 0x1b, 0xff), [0x40, 0x04, 0x10], "heads are elsewhere");
  assert.deepEqual(await status(0x46, 0, 0, 1, 1, 2, 8, 0x1b, 0xff), [0x40, 0x04, 0], "ID names the other head");
  assert.deepEqual(await status(0x46, 0, 0, 0, 1, 3, 8, 0x1b, 0xff), [0x40, 0x04, 0], "1 KB sectors");
  assert.deepEqual(await status(0x06, 0, 0, 0, 1, 2, 8, 0x1b, 0xff), [0x40, 0x01, 0], "FM");
  assert.deepEqual(await status(0x46, 4, 0, 1, 1, 2, 8, 0x1b, 0xff), [0x44, 0x01, 0], "single-sided");
  assert.deepEqual(await status(0x46, 1, 0, 0, 1, 2, 8, 0x1b, 0xff), [0x41, 0x01, 0], "empty drive");
  bench.fdc.write(7, 1, 0);
  assert.deepEqual(await status(0x46, 0, 0, 0, 1, 2, 8, 0x1b, 0xff), [0x40, 0x01, 0], "500 kbit/s on a 160 KB disk");
  bench.fdc.write(7, 1, 2);
  assert.deepEqual(await status(0x46, 0, 0, 0, 1, 2, 8, 0x1b, 0xff), [0, 0, 0]);
});

test("write protection, host errors and masked DMA end commands as they should", async () => {
  const drive = fakeFloppy(1440, { writeProtected: true });
  const bench = Bench.ready(drive);
  bench.setDma(false, 512);
  assert.deepEqual((await bench.run(0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff)).slice(0, 2), [0x40, 0x02]);
  assert.deepEqual((await bench.run(0x4d, 0, 2, 18, 0x50, 0xf6)).slice(0, 2), [0x40, 0x02]);
  assert.equal(bench.command(0x04, 0)[0]! & 0x40, 0x40);
  bench.dma.first.write(0x0f, 1, 0x0f);
  assert.deepEqual((await bench.run(0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff)).slice(0, 2), [0x40, 0x10]);
  bench.setDma(true, 512);
  drive.medium.backend.broken = true;
  assert.deepEqual((await bench.run(0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff)).slice(0, 3), [0x40, 0x20, 0x20]);
});

test("non-DMA mode moves bytes through the data register", async () => {
  const drive = fakeFloppy(1440);
  const bench = Bench.ready(drive);
  bench.command(0x03, 0xdf, 0x03);
  bench.send(0x46, 0, 0, 0, 17, 2, 18, 0x1b, 0xff);
  await bench.clock.settle();
  assert.equal(bench.msr, 0xf0);
  assert.equal(bench.irq6.level, true);
  const data = [];
  while (bench.msr & 0x20) {
    assert.equal(bench.msr & 0xc0, 0xc0);
    data.push(bench.fdc.read(5, 1));
    await bench.clock.settle();
  }
  assert.deepEqual(Uint8Array.from(data), drive.medium.backend.bytes.subarray(16 * 512, 18 * 512));
  assert.deepEqual(bench.result().slice(0, 2), [0x40, 0x80]);

  bench.send(0x45, 0, 0, 0, 18, 2, 18, 0x1b, 0xff);
  for (let i = 0; i < 512; i++) {
    assert.equal(bench.msr, 0xb0);
    bench.fdc.write(5, 1, 0xe5);
  }
  await bench.clock.settle();
  assert.deepEqual(bench.result().slice(0, 2), [0x40, 0x80]);
  assert.ok(drive.medium.backend.bytes.subarray(17 * 512, 18 * 512).every((byte) => byte === 0xe5));
});

test("format track fills the sectors that the IDs name", async () => {
  const drive = fakeFloppy(360);
  const bench = Bench.ready(drive);
  bench.seek(0, 3);
  for (let i = 0; i < 9; i++) bench.buffer(36).set([3, 1, i + 1, 2], 4 * i);
  bench.setDma(false, 36);
  assert.equal((await bench.run(0x4d, 4, 2, 9, 0x50, 0xf6))[0], 0x04);
  const { bytes } = drive.medium.backend;
  const first = (3 * 2 + 1) * 9 * 512;
  assert.ok(bytes.subarray(first, first + 9 * 512).every((byte) => byte === 0xf6));
  assert.notEqual(bytes[first - 1], 0xf6);
});

test("read ID names a sector that is there", async () => {
  const bench = Bench.ready(fakeFloppy(1200), { medium: undefined, changed: false });
  bench.seek(0, 12);
  const seen = new Set<number>();
  for (let i = 0; i < 40; i++) {
    const [st0, st1, st2, c, h, r, n] = bench.command(0x4a, 4);
    assert.deepEqual([st0, st1, st2, c, h, n], [4, 0, 0, 12, 1, 2]);
    assert.ok(r! >= 1 && r! <= 15);
    seen.add(r!);
    bench.clock.advance(20_000);
  }
  assert.equal(seen.size, 15, "the disk turns");
  assert.deepEqual(bench.command(0x4a, 1).slice(0, 2), [0x41, 0x01]);
});

test("read track, verify, read deleted and the scans", async () => {
  const drive = fakeFloppy(720);
  const image = drive.medium.backend.bytes;
  const bench = Bench.ready(drive);
  bench.setDma(true, 9 * 512);
  assert.equal((await bench.run(0x42, 0, 0, 0, 5, 2, 9, 0x1b, 0xff))[0], 0);
  assert.deepEqual(bench.buffer(9 * 512), image.subarray(0, 9 * 512), "from the index on, whatever R says");

  assert.deepEqual((await bench.run(0x56, 0, 0, 0, 1, 2, 9, 0x1b, 0xff)).slice(0, 3), [0, 0, 0]);
  assert.deepEqual(
    await bench.run(0xd6, 0x80, 0, 0, 8, 2, 9, 0x1b, 4),
    [0x04, 0, 0, 0, 1, 3, 2],
    "four sectors, both heads",
  );
  assert.deepEqual(
    (await bench.run(0x56, 0, 0, 0, 1, 2, 10, 0x1b, 0xff)).slice(0, 2),
    [0x40, 0x04],
    "nine is the last",
  );

  bench.setDma(true, 512);
  assert.deepEqual((await bench.run(0x4c, 0, 0, 0, 1, 2, 9, 0x1b, 0xff)).slice(0, 3), [0, 0, 0x40]);

  const scan = async (code: number, data: Uint8Array): Promise<number[]> => {
    bench.buffer(512).set(data);
    bench.setDma(false, 512);
    return (await bench.run(code, 0, 0, 0, 1, 2, 9, 0x1b, 1)).slice(0, 3);
  };
  const sector = image.slice(0, 512).map((byte) => (byte === 0xff ? 0 : byte));
  assert.deepEqual(await scan(0x51, sector), [0, 0, 0x08]);
  assert.deepEqual(
    await scan(
      0x51,
      sector.map((byte) => byte ^ 1),
    ),
    [0, 0, 0x04],
  );
  assert.deepEqual(await scan(0x59, new Uint8Array(512).fill(0xfe)), [0, 0, 0]);
  assert.deepEqual(await scan(0x5d, new Uint8Array(512).fill(0)), [0, 0, 0]);
  assert.deepEqual(await scan(0x59, new Uint8Array(512).fill(0)), [0, 0, 0x04]);
});

test("the change line stays until a step finds a disk", () => {
  const drive = fakeFloppy(1440);
  drive.changed = true;
  const empty: FloppyDrive = { medium: undefined, changed: true };
  const bench = Bench.ready(drive, empty);
  assert.equal(bench.fdc.read(7, 1) & 0x80, 0x80);
  bench.seek(0, 0);
  assert.equal(bench.fdc.read(7, 1) & 0x80, 0x80, "no step, no change");
  bench.seek(0, 1);
  assert.equal(bench.fdc.read(7, 1) & 0x80, 0);
  bench.fdc.write(2, 1, 0x2d);
  bench.seek(1, 1);
  assert.equal(bench.fdc.read(7, 1) & 0x80, 0x80, "an empty drive keeps it up");
});

test("implied seeks save the guest one", async () => {
  const drive = fakeFloppy(1440);
  const bench = Bench.ready(drive);
  bench.command(0x13, 0, 0x50, 0);
  bench.setDma(true, 512);
  assert.equal((await bench.run(0x46, 0, 9, 0, 1, 2, 18, 0x1b, 0xff))[0], 0);
  assert.deepEqual(bench.buffer(512), drive.medium.backend.bytes.subarray(9 * 36 * 512, 9 * 36 * 512 + 512));
});

test("a reset in the middle of a read is the end of it", async () => {
  const bench = Bench.ready(fakeFloppy(1440));
  bench.setDma(true, 512);
  bench.send(0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
  assert.equal(bench.msr, 0x10);
  bench.fdc.write(2, 1, 0x08);
  bench.fdc.write(2, 1, 0x0c);
  await bench.clock.settle();
  bench.clock.advance(1e6);
  assert.equal(bench.msr, 0x80);
  assert.ok(bench.buffer(512).every((byte) => byte === 0));
});

test("a read that was under way ends after a restore as it would have without", async () => {
  const drive = fakeFloppy(1440);
  const bench = Bench.ready(drive);
  bench.setDma(true, 512);
  bench.send(0x46, 0, 0, 0, 7, 2, 18, 0x1b, 0xff);
  const saved = bench.fdc.state();
  bench.fdc.reset();
  bench.fdc.restore(saved);
  await bench.clock.settle();
  assert.deepEqual(bench.result(), [0, 0, 0, 0, 0, 8, 2]);
  assert.deepEqual(bench.buffer(512), drive.medium.backend.bytes.subarray(6 * 512, 7 * 512));
});
