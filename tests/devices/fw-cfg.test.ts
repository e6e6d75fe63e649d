/** The firmware configuration device: items by number and name, byte by byte and by DMA. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FW_CFG, FwCfg } from "../../src/devices/fw-cfg.ts";
import { FakeMemory } from "../support/device-fakes.ts";

function device() {
  const memory = new FakeMemory(0x10000);
  const fwCfg = new FwCfg({
    memory,
    items: new Map([[FW_CFG.PROCESSORS, Uint8Array.of(1, 0)]]),
    files: new Map([
      ["etc/b", Uint8Array.of(9, 8, 7)],
      ["etc/a", new Uint8Array(300).fill(5)],
    ]),
  });
  const read = (item: number, count: number): number[] => {
    fwCfg.ports.write(0, 2, item);
    return Array.from({ length: count }, () => fwCfg.ports.read(1, 1));
  };
  /** A DMA request; gives what its control field holds afterwards. */
  const dma = (control: number, length: number, address: number): number => {
    const view = new DataView(memory.bytes.buffer);
    view.setUint32(0x100, control);
    view.setUint32(0x104, length);
    view.setUint32(0x108, 0);
    view.setUint32(0x10c, address);
    fwCfg.dma.write(0, 4, 0);
    fwCfg.dma.write(4, 4, 0x00010000);
    return view.getUint32(0x100);
  };
  return { memory, fwCfg, read, dma };
}

test("items are read byte by byte, with zeros behind their end", () => {
  const { read, fwCfg } = device();
  assert.deepEqual(read(FW_CFG.SIGNATURE, 5), [0x51, 0x45, 0x4d, 0x55, 0]);
  assert.deepEqual(read(FW_CFG.PROCESSORS, 3), [1, 0, 0]);
  assert.deepEqual(read(0x4444, 2), [0, 0]);
  assert.deepEqual(read(FW_CFG.FEATURES, 1), [3]);
  assert.deepEqual([fwCfg.dma.read(0, 4), fwCfg.dma.read(4, 4)], [0x554d4551, 0x47464320]);
});

test("the directory lists files by name, big-endian", () => {
  const { read } = device();
  const bytes = Uint8Array.from(read(FW_CFG.DIRECTORY, 4 + 2 * 64));
  const view = new DataView(bytes.buffer);
  assert.equal(view.getUint32(0), 2);
  assert.deepEqual([view.getUint32(4), view.getUint16(8)], [300, 0x20]);
  assert.equal(Buffer.from(bytes.subarray(12, 18)).toString(), "etc/a\0");
  assert.deepEqual(read(view.getUint16(72), 4), [9, 8, 7, 0]);
});

test("DMA selects, skips and reads; what it cannot do is an error and changes nothing", () => {
  const { memory, dma } = device();
  memory.bytes.fill(0xee, 0x200, 0x210);
  assert.equal(dma((0x21 << 16) | 8 | 2, 3, 0x200), 0);
  assert.deepEqual([...memory.bytes.subarray(0x200, 0x204)], [9, 8, 7, 0xee]);
  assert.equal(dma((0x21 << 16) | 8, 0, 0), 0);
  assert.equal(dma(4, 2, 0), 0);
  assert.equal(dma(2, 2, 0x200), 0);
  assert.deepEqual([...memory.bytes.subarray(0x200, 0x203)], [7, 0, 7]);
  assert.equal(dma(16, 4, 0x200), 1);
  assert.equal(dma(2, 0xffff_ffff, 0x200), 1);
});

test("state: the place in an item goes on where it was", () => {
  const { fwCfg, read } = device();
  read(0x21, 1);
  const state = fwCfg.state();
  fwCfg.reset();
  assert.equal(fwCfg.ports.read(1, 1), 0x51);
  fwCfg.restore(state);
  assert.equal(fwCfg.ports.read(1, 1), 8);
});
