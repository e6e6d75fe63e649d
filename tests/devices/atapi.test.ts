/** The CD/DVD drive: detection, packets by PIO and DMA, discs read and told about, sense data, media change, the tray. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { rawSector } from "../../src/devices/cd-sector.ts";
import { fakeCdrom, fakeDisc, fakeDisk } from "../support/device-fakes.ts";
import { IdeBench } from "../support/ide-bench.ts";

const [OK, CHECK] = [0x50, 0x51];

/** A channel with a drive as device 0. */
class Bench extends IdeBench {
  readonly drive;

  constructor(drive = fakeCdrom(40)) {
    super(drive);
    this.drive = drive;
  }

  get packets() {
    return this.ide.cdrom(0)!.packets;
  }

  /** Send a packet; its data by PIO, in requests of at most `limit` bytes, and how it ended. */
  async packet(
    bytes: readonly number[],
    limit = 0xfffe,
  ): Promise<{ status: number; data: Uint8Array; requests: number[] }> {
    this.write(6, 0xa0);
    this.write(1, 0);
    this.write(4, limit & 0xff);
    this.write(5, limit >> 8);
    this.write(7, 0xa0);
    assert.deepEqual([this.read(7), this.read(2)], [0x58, 1], "asks for the packet");
    const packet = new Uint8Array(12);
    packet.set(bytes);
    this.ide.writeString(0, 2, packet);
    const requests: number[] = [];
    const parts: number[] = [];
    for (;;) {
      await this.clock.settle();
      const status = this.read(7);
      if ((status & 0x08) === 0) return { status, data: Uint8Array.from(parts), requests };
      assert.equal(this.read(2), 2, "data to the host");
      const part = new Uint8Array(this.read(4) | (this.read(5) << 8));
      requests.push(part.length);
      this.ide.readString(0, 2, part);
      parts.push(...part);
    }
  }

  /** Sense key, code and qualifier. */
  async sense(): Promise<string> {
    const { data } = await this.packet([0x03, 0, 0, 0, 18]);
    return [data[2], data[12], data[13]].map((byte) => byte!.toString(16).padStart(2, "0")).join("/");
  }

  /** Take what a reset left. */
  async ready(): Promise<this> {
    await this.packet([0x03, 0, 0, 0, 18]);
    return this;
  }
}

const ready = (drive = fakeCdrom(40)): Promise<Bench> => new Bench(drive).ready();

test("a packet device has its signature after resets, and for those who look for a disk", async () => {
  const bench = new Bench();
  const registers = (): number[] => [1, 2, 3, 4, 5].map((register) => bench.read(register));
  assert.deepEqual(registers(), [1, 1, 1, 0x14, 0xeb]);
  assert.equal(bench.read(7), 0, "not ready before its first command");
  for (const opcode of [0xec, 0x20]) {
    bench.lba(0, 0x123456, 9);
    await bench.command(opcode);
    assert.equal(bench.read(7), CHECK);
    assert.deepEqual(registers(), [4, 1, 1, 0x14, 0xeb]);
  }
  bench.lba(0, 0x123456, 9);
  bench.ide.control.write(0, 1, 4);
  bench.ide.control.write(0, 1, 0);
  bench.clock.advance(1e6);
  assert.deepEqual(registers(), [1, 1, 1, 0x14, 0xeb]);
  bench.lba(0, 0x123456, 9);
  bench.write(7, 0x08);
  assert.deepEqual([...registers(), bench.status], [1, 1, 1, 0x14, 0xeb, 0]);
});

test("the drive identifies itself", async () => {
  const bench = new Bench();
  await bench.command(0xa1);
  assert.equal(bench.read(7), 0x58);
  const bytes = bench.readWords(256);
  const word = (i: number): number => bytes[2 * i]! | (bytes[2 * i + 1]! << 8);
  assert.equal(word(0), 0x85c0, "removable CD-ROM, packets of 12 bytes");
  assert.equal(word(49) & 0x300, 0x300);
  assert.equal(word(82) & 0x210, 0x210, "packets and Device Reset");
  assert.equal(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
  const { data } = await bench.packet([0x12, 0, 0, 0, 36]);
  assert.deepEqual([...data.subarray(0, 5)], [5, 0x80, 0, 0x32, 31]);
  assert.equal(new TextDecoder().decode(data.subarray(8, 32)), "VMXON   CD-ROM          ");
});

test("a reset is told once, inquiries go before it", async () => {
  const bench = new Bench();
  assert.equal((await bench.packet([0x12, 0, 0, 0, 36])).status, OK);
  assert.equal((await bench.packet([0x00])).status, CHECK);
  assert.equal(bench.read(1), 0x64, "unit attention and ABRT");
  assert.equal(await bench.sense(), "06/29/00");
  assert.equal(await bench.sense(), "00/00/00");
  assert.equal((await bench.packet([0x00])).status, OK);
});

test("sectors are read by PIO in requests as large as the host allows", async () => {
  const bench = await ready();
  const expected = bench.drive.medium!.backend.bytes.subarray(5 * 2048, 8 * 2048);
  const plain = await bench.packet([0x28, 0, 0, 0, 0, 5, 0, 0, 3]);
  assert.deepEqual([plain.status, plain.requests], [OK, [6144]]);
  assert.deepEqual(plain.data, expected);
  const small = await bench.packet([0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 3], 2049);
  assert.deepEqual([small.status, small.requests], [OK, [2048, 2048, 2048]]);
  assert.deepEqual(small.data, expected);
  assert.equal(bench.read(2), 3, "the end of the command");
  assert.equal((await bench.packet([0x28, 0, 0, 0, 0, 39, 0, 0, 2])).status, CHECK);
  assert.equal(await bench.sense(), "05/21/00");
  assert.equal((await bench.packet([0x28, 0, 0, 0, 0, 39, 0, 0, 0])).status, OK, "nothing is no error");
  const none = await bench.packet([0x28, 0, 0, 0, 0, 5, 0, 0, 1], 0);
  assert.deepEqual([none.status, bench.read(1)], [CHECK, 4], "a data request of no bytes");
});

test("sectors are read by DMA, longer ones than are asked of the host at once too", async () => {
  const bench = await ready(fakeCdrom(700));
  const list = Array.from({ length: 22 }, (_, i): [number, number] => [0x10000 + i * 0x10000, 0x10000]);
  bench.regions(0x1000, list);
  bench.write(1, 1);
  bench.write(7, 0xa0);
  bench.ide.writeString(0, 2, Uint8Array.of(0x28, 0, 0, 0, 0, 10, 0, 2, 0xa0, 0, 0, 0));
  bench.ide.busMaster.write(0, 1, 9);
  const edges = bench.irq.edges;
  await bench.clock.settle();
  assert.equal(bench.irq.edges, edges + 1);
  assert.deepEqual([bench.read(7), bench.read(2)], [OK, 3]);
  const expected = bench.drive.medium!.backend.bytes.subarray(10 * 2048, (10 + 0x2a0) * 2048);
  assert.deepEqual(bench.memory.bytes.subarray(0x10000, 0x10000 + expected.length), expected);
});

test("READ CD gives raw sectors", async () => {
  const bench = await ready();
  const sector = (lba: number): Uint8Array =>
    rawSector(lba, bench.drive.medium!.backend.bytes.subarray(lba * 2048, (lba + 1) * 2048));
  const { data } = await bench.packet([0xbe, 0, 0, 0, 0, 20, 0, 0, 2, 0xf8]);
  assert.deepEqual(data, Uint8Array.from([...sector(20), ...sector(21)]));
  const byTime = await bench.packet([0xb9, 0, 0, 0, 2, 20, 0, 2, 21, 0x10]);
  assert.deepEqual(byTime.data, sector(20).subarray(16, 2064));
  assert.equal((await bench.packet([0xbe, 4, 0, 0, 0, 20, 0, 0, 1, 0x10])).status, CHECK);
  assert.equal(await bench.sense(), "05/64/00", "there is no audio");
  assert.deepEqual((await bench.packet([0xbe, 0, 0, 0, 0, 20, 0, 0, 1, 0])).data.length, 0);
});

test("capacity and tables of contents, of one session and of two", async () => {
  const bench = await ready();
  assert.deepEqual([...(await bench.packet([0x25])).data], [0, 0, 0, 39, 0, 0, 8, 0]);
  const toc = async (format: number, msf = 0, first = 0): Promise<number[]> => [
    ...(await bench.packet([0x43, msf, format, 0, 0, 0, first, 0x0f, 0xff])).data,
  ];
  assert.deepEqual(await toc(0), [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, 40]);
  assert.deepEqual((await toc(0, 2)).slice(-4), [0, 0, 2, 40]);
  assert.deepEqual(await toc(0, 0, 0xaa), [0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 0, 40]);
  assert.deepEqual(await toc(1), [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]);
  assert.deepEqual(await bench.packet([0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40]).then(({ data }) => data[3]), 1);
  assert.equal((await bench.packet([0x43, 0, 0, 0, 0, 0, 2, 0, 20])).status, CHECK, "there is no second track");
  assert.equal(await bench.sense(), "05/24/00");
  const tracks = [
    { session: 1, start: 0 },
    { session: 2, start: 20_000 },
  ];
  bench.packets.closeTray({ ...fakeDisc(0), tracks, backend: { ...bench.drive.medium!.backend, size: 30_000 * 2048 } });
  await bench.ready();
  assert.deepEqual(await toc(1), [0, 10, 1, 2, 0, 0x14, 2, 0, 0, 0, 20_000 >> 8, 20_000 & 0xff]);
  const raw = await toc(2);
  assert.equal(raw.length, 4 + 8 * 11);
  const points = Array.from({ length: 8 }, (_, i) => [raw[4 + 11 * i]!, raw[4 + 11 * i + 3]!]);
  assert.deepEqual(points, [
    [1, 0xa0],
    [1, 0xa1],
    [1, 0xa2],
    [1, 1],
    [2, 0xa0],
    [2, 0xa1],
    [2, 0xa2],
    [2, 2],
  ]);
  assert.deepEqual(raw.slice(4 + 22 + 8, 4 + 33), [1, 56, 50], "8600 sectors and two seconds");
  const track = [...(await bench.packet([0x52, 1, 0, 0, 0, 2, 0, 0, 36])).data];
  assert.deepEqual([track[2], track[3], track[10], track[11]], [2, 2, 20_000 >> 8, 20_000 & 0xff]);
  const disc = [...(await bench.packet([0x51, 0, 0, 0, 0, 0, 0, 0, 34])).data];
  assert.deepEqual(disc.slice(0, 7), [0, 32, 0x0e, 1, 2, 2, 2]);
});

test("a disc that no CD could be is a DVD", async () => {
  const drive = fakeCdrom(40);
  const bench = await ready(drive);
  const profile = async (): Promise<number> => {
    const { data } = await bench.packet([0x46, 0, 0, 0, 0, 0, 0, 1, 0]);
    return (data[6]! << 8) | data[7]!;
  };
  assert.equal(await profile(), 0x0008);
  assert.equal((await bench.packet([0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4])).status, CHECK);
  drive.medium = { ...fakeDisc(0), backend: Object.assign(fakeDisc(0).backend, {}) };
  Object.defineProperty(drive.medium.backend, "size", { value: 2_000_000 * 2048 });
  assert.equal(await profile(), 0x0010);
  const { data } = await bench.packet([0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4]);
  assert.deepEqual([data.length, data[0], data[1]], [2052, 0x08, 0x02]);
  assert.deepEqual([...(await bench.packet([0x25])).data.subarray(0, 4)], [0, 0x1e, 0x84, 0x7f]);
  drive.trayOpen = true;
  assert.equal(await profile(), 0);
});

test("mode pages are read and selected, whole lists or nothing", async () => {
  const bench = await ready();
  const page = async (code: number, size = 200): Promise<number[]> => [
    ...(await bench.packet([0x5a, 0, code, 0, 0, 0, 0, 0, size])).data,
  ];
  const capabilities = await page(0x2a);
  assert.deepEqual(capabilities.slice(0, 10), [0, 30, 1, 0, 0, 0, 0, 0, 0x2a, 22]);
  assert.equal(capabilities[14], 0x29, "a tray that locks and ejects");
  const codes: number[] = [];
  const all = await page(0x3f);
  for (let at = 8; at < all.length; at += 2 + all[at + 1]!) codes.push(all[at]!);
  assert.deepEqual(codes, [0x01, 0x0d, 0x0e, 0x1a, 0x1d, 0x2a]);
  assert.deepEqual((await bench.packet([0x1a, 0, 0x0d, 0, 255])).data.length, 4 + 8);
  assert.equal((await bench.packet([0x5a, 0, 0xc1, 0, 0, 0, 0, 0, 99])).status, CHECK);
  assert.equal(await bench.sense(), "05/39/00", "nothing is saved");
  const select = async (list: readonly number[]): Promise<number> => {
    bench.write(4, 0xfe);
    bench.write(5, 0xff);
    bench.write(1, 0);
    bench.write(7, 0xa0);
    bench.ide.writeString(0, 2, Uint8Array.of(0x55, 0x10, 0, 0, 0, 0, 0, 0, list.length, 0, 0, 0));
    assert.deepEqual([bench.read(2), bench.read(4)], [0, list.length]);
    bench.ide.writeString(0, 2, Uint8Array.from(list));
    return bench.read(7);
  };
  const recovery = [0x01, 10, 0x20, 77, 1, 2, 3, 4, 5, 6, 7, 8];
  assert.equal(await select([0, 0, 0, 0, 0, 0, 0, 0, ...recovery]), OK);
  assert.deepEqual((await page(0x01)).slice(8), [0x01, 10, 0x20, 77, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(await select([0, 0, 0, 0, 0, 0, 0, 0, ...recovery.with(3, 9), 0x33, 0]), CHECK);
  assert.equal(await bench.sense(), "05/26/00");
  assert.equal((await page(0x01))[11], 77, "nothing of a list that is wrong counts");
  assert.equal((await page(0x81))[11], 5, "default");
});

test("the tray opens and closes at the guest's wish, unless it is locked", async () => {
  const bench = await ready();
  const events = async (): Promise<number[]> => [
    ...(await bench.packet([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8])).data.subarray(4, 6),
  ];
  assert.deepEqual(await events(), [0, 2]);
  assert.equal((await bench.packet([0x1e, 0, 0, 0, 1])).status, OK);
  assert.equal((await bench.packet([0x1b, 0, 0, 0, 2])).status, CHECK);
  assert.equal(await bench.sense(), "05/53/02");
  assert.equal(bench.packets.pressEject(), false);
  assert.deepEqual(await events(), [1, 2], "somebody would like to have the disc");
  await bench.packet([0x1e, 0, 0, 0, 0]);
  assert.equal((await bench.packet([0x1b, 0, 0, 0, 2])).status, OK);
  assert.equal(bench.drive.trayOpen, true);
  assert.deepEqual(await events(), [3, 1]);
  assert.equal((await bench.packet([0x00])).status, CHECK);
  assert.equal(await bench.sense(), "02/3a/02");
  await bench.packet([0x1b, 0, 0, 0, 3]);
  assert.deepEqual(await events(), [2, 2]);
  assert.equal((await bench.packet([0x00])).status, CHECK);
  assert.equal(await bench.sense(), "06/28/00");
  assert.equal((await bench.packet([0x00])).status, OK);
});

test("a disc that is changed from outside is noticed before it is read", async () => {
  const bench = await ready(fakeCdrom());
  assert.equal((await bench.packet([0x28, 0, 0, 0, 0, 0, 0, 0, 1])).status, CHECK);
  assert.equal(await bench.sense(), "02/3a/01");
  bench.packets.openTray();
  bench.packets.closeTray(fakeDisc(9));
  bench.packets.openTray();
  bench.packets.closeTray(fakeDisc(10));
  assert.equal((await bench.packet([0x28, 0, 0, 0, 0, 0, 0, 0, 1])).status, CHECK);
  assert.equal(await bench.sense(), "06/28/00");
  assert.deepEqual([...(await bench.packet([0x25])).data].slice(0, 4), [0, 0, 0, 9], "told once");
});

test("a host that cannot read is a medium error", async () => {
  const bench = await ready();
  bench.drive.medium!.backend.broken = true;
  const { status } = await bench.packet([0x28, 0, 0, 0, 0, 0, 0, 0, 1]);
  assert.deepEqual([status, bench.read(1), bench.read(2)], [CHECK, 0x34, 3]);
  assert.equal(await bench.sense(), "03/11/00");
});

test("a read under way goes on after a restore, and a disk beside the drive is left alone", async () => {
  const drive = fakeCdrom(40);
  const disk = fakeDisk();
  const bench = new IdeBench(disk, drive);
  bench.write(6, 0xb0);
  bench.ide.cdrom(1)!.packets.execute(new Uint8Array(12));
  bench.write(4, 0);
  bench.write(5, 8);
  bench.write(7, 0xa0);
  bench.ide.writeString(0, 2, Uint8Array.of(0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0, 0, 0));
  const saved = bench.ide.state();
  bench.ide.reset();
  bench.ide.restore(saved);
  await bench.clock.settle();
  const target = new Uint8Array(4096);
  bench.ide.readString(0, 2, target.subarray(0, 2048));
  const middle = bench.ide.state();
  bench.ide.reset();
  bench.ide.restore(middle);
  bench.ide.readString(0, 2, target.subarray(2048));
  assert.deepEqual(target, drive.medium!.backend.bytes.subarray(7 * 2048, 9 * 2048));
  bench.write(6, 0xa0);
  await bench.command(0xec);
  assert.equal(bench.readWords(256)[0], 0x40);
});
