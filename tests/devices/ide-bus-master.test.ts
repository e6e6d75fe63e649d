/** Bus-master DMA: regions, the end of tables, status bits, commands of every kind, errors, restores. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeDisk } from "../support/device-fakes.ts";
import { IdeBench as Bench } from "../support/ide-bench.ts";

const START_READ = 0x09;
const START_WRITE = 0x01;
const [ACTIVE, ERROR, INTERRUPT] = [1, 2, 4];

const start = (bench: Bench, command: number): void => bench.ide.busMaster.write(0, 1, command);

test("a read is scattered over the regions of the table", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.regions(0x1000, [
    [0x20000, 512],
    [0x30002, 1022],
    [0x40000, 514],
  ]);
  bench.lba(0, 10, 4);
  bench.write(7, 0xc8);
  start(bench, START_READ);
  assert.equal(bench.busMasterStatus, ACTIVE);
  await bench.clock.settle();
  assert.equal(bench.irq.level, true);
  assert.equal(bench.busMasterStatus, INTERRUPT);
  assert.equal(bench.read(7), 0x50);
  const expected = disk.backend.bytes.subarray(10 * 512, 14 * 512);
  const { bytes } = bench.memory;
  assert.deepEqual(bytes.subarray(0x20000, 0x20000 + 512), expected.subarray(0, 512));
  assert.deepEqual(bytes.subarray(0x30002, 0x30002 + 1022), expected.subarray(512, 1534));
  assert.deepEqual(bytes.subarray(0x40000, 0x40000 + 514), expected.subarray(1534));
  assert.equal(bytes[0x40000 + 514], 0);
  assert.equal(bench.address, 13);
  start(bench, 0);
  bench.ide.busMaster.write(2, 1, INTERRUPT);
  assert.equal(bench.busMasterStatus, 0);
});

test("a write is gathered, by 48-bit address too; a count of 0 is 64 KB", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.memory.bytes.forEach((_, i) => {
    bench.memory.bytes[i] = (i * 13) >> 3;
  });
  bench.regions(0x1000, [
    [0x20000, 0x10000],
    [0x50000, 512],
  ]);
  bench.lba48(0, 100, 129);
  start(bench, START_WRITE);
  bench.write(7, 0x35);
  await bench.clock.settle();
  assert.equal(bench.busMasterStatus, INTERRUPT);
  assert.equal(bench.read(7), 0x50);
  const { bytes } = bench.memory;
  assert.deepEqual(disk.backend.bytes.subarray(100 * 512, 228 * 512), bytes.subarray(0x20000, 0x30000));
  assert.deepEqual(disk.backend.bytes.subarray(228 * 512, 229 * 512), bytes.subarray(0x50000, 0x50200));
  assert.equal(bench.address48, 228);
});

test("a table that ends early stops the engine; one that is longer leaves it active", async () => {
  const bench = new Bench(fakeDisk());
  bench.regions(0x1000, [[0x20000, 512]]);
  bench.lba(0, 0, 2);
  start(bench, START_READ);
  await bench.command(0xc8);
  assert.equal(bench.busMasterStatus, 0, "no interrupt: the disk still has data");
  assert.equal(bench.irq.level, false);
  assert.equal(bench.status & 0x08, 0x08);
  bench.ide.control.write(0, 1, 0x04);
  bench.ide.control.write(0, 1, 0x00);
  bench.clock.advance(1e6);
  start(bench, 0);
  bench.regions(0x1000, [[0x20000, 4096]]);
  bench.lba(0, 0, 2);
  start(bench, START_READ);
  await bench.command(0xc8);
  assert.equal(bench.busMasterStatus, INTERRUPT | ACTIVE);
});

test("nothing moves before the engine is started, and then from where the table begins", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.regions(0x1000, [[0x20000, 512]]);
  bench.lba(0, 3, 1);
  await bench.command(0xc8);
  assert.equal(bench.irq.level, false);
  assert.equal(bench.memory.bytes[0x20001], 0);
  start(bench, START_READ);
  assert.equal(bench.irq.level, true, "the data were waiting");
  assert.equal(bench.busMasterStatus, INTERRUPT);
  assert.deepEqual(bench.memory.bytes.subarray(0x20000, 0x20200), disk.backend.bytes.subarray(3 * 512, 4 * 512));
});

test("a region where nothing answers is an error that stops the engine", async () => {
  const bench = new Bench(fakeDisk());
  for (const address of [0x8000_0000, 0xffff_fffe, bench.memory.size - 256]) {
    bench.regions(0x1000, [[address, 512]]);
    bench.lba(0, 0, 1);
    start(bench, START_READ);
    await bench.command(0xc8);
    assert.equal(bench.busMasterStatus, ERROR);
    assert.equal(bench.irq.level, false);
    start(bench, 0);
    bench.ide.busMaster.write(2, 1, ERROR);
    assert.equal(bench.busMasterStatus, 0);
  }
});

test("a transfer larger than what is asked of the host at once goes piece by piece", async () => {
  const disk = fakeDisk(4);
  const bench = new Bench(disk);
  const sectors = 2048 + 300;
  const list = Array.from({ length: 19 }, (_, i): [number, number] => [0x10000 + i * 0x10000, 0x10000]);
  bench.regions(0x1000, list);
  bench.lba48(0, 5, sectors);
  const edges = bench.irq.edges;
  start(bench, START_READ);
  await bench.command(0x25);
  assert.equal(bench.irq.edges, edges + 1);
  assert.equal(bench.read(7), 0x50);
  const expected = disk.backend.bytes.subarray(5 * 512, (5 + sectors) * 512);
  assert.deepEqual(bench.memory.bytes.subarray(0x10000, 0x10000 + sectors * 512), expected);
});

test("host errors end DMA commands with the error of the disk", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  disk.backend.broken = true;
  bench.regions(0x1000, [[0x20000, 512]]);
  for (const [opcode, command, status] of [
    [0xc8, START_READ, 0x51],
    [0xca, START_WRITE, 0x71],
  ] as const) {
    bench.lba(0, 7, 1);
    start(bench, command);
    await bench.command(opcode);
    assert.equal(bench.busMasterStatus & INTERRUPT, INTERRUPT);
    assert.equal(bench.read(7), status);
    start(bench, 0);
    bench.ide.busMaster.write(2, 1, INTERRUPT);
  }
});

test("registers: what can be written reads back, writing one clears error and interrupt", () => {
  const { busMaster } = new Bench(fakeDisk()).ide;
  busMaster.write(4, 4, 0x1234_5677);
  assert.equal(busMaster.read(4, 4), 0x1234_5674);
  busMaster.write(5, 1, 0xaa);
  assert.equal(busMaster.read(4, 4), 0x1234_aa74);
  busMaster.write(2, 1, 0xff);
  assert.equal(busMaster.read(2, 1), 0x60, "two drives capable, not simplex");
  busMaster.write(0, 1, 0xff);
  assert.equal(busMaster.read(0, 4), 0x0061_0009);
});

test("a transfer under way goes on after a restore", async () => {
  const disk = fakeDisk();
  const bench = new Bench(disk);
  bench.regions(0x1000, [[0x20000, 2048]]);
  bench.lba(0, 20, 4);
  start(bench, START_READ);
  bench.write(7, 0xc8);
  const saved = bench.ide.state();
  bench.ide.reset();
  bench.ide.restore(saved);
  await bench.clock.settle();
  assert.equal(bench.busMasterStatus, INTERRUPT);
  assert.deepEqual(bench.memory.bytes.subarray(0x20000, 0x20800), disk.backend.bytes.subarray(20 * 512, 24 * 512));
});
