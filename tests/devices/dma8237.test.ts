/** The 8237 pair: programming, transfers in both directions, wrap, decrement, auto-init, word channels, status. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Dma8237 } from "../../src/devices/dma8237.ts";
import { FakeMemory } from "../support/device-fakes.ts";

function setup(): { dma: Dma8237; memory: FakeMemory } {
  const memory = new FakeMemory(1 << 20);
  return { dma: new Dma8237({ memory }), memory };
}

/** Program channel 2: mode bits, page, address, count register. */
function program2(dma: Dma8237, mode: number, address: number, count: number): void {
  dma.first.write(0x0c, 1, 0);
  dma.first.write(0x0b, 1, mode | 2);
  dma.first.write(4, 1, address & 0xff);
  dma.first.write(4, 1, (address >> 8) & 0xff);
  dma.first.write(5, 1, count & 0xff);
  dma.first.write(5, 1, count >> 8);
  dma.pages.write(0x81 - 0x81, 1, address >> 16);
  dma.first.write(0x0a, 1, 2);
}

const TO_MEMORY = 0x44;
const FROM_MEMORY = 0x48;

test("a device's bytes reach memory, and terminal count ends the transfer", () => {
  const { dma, memory } = setup();
  program2(dma, TO_MEMORY, 0x12345, 9);
  const channel = dma.channel(2);
  assert.equal(channel.remaining, 10);
  assert.deepEqual({ ...channel.writeToMemory(Uint8Array.of(1, 2, 3, 4)) }, { count: 4, tc: false });
  assert.deepEqual({ ...channel.writeToMemory(new Uint8Array(20).fill(9)) }, { count: 6, tc: true });
  assert.deepEqual([...memory.bytes.subarray(0x12344, 0x12350)], [0, 1, 2, 3, 4, 9, 9, 9, 9, 9, 9, 0]);
  assert.equal(channel.remaining, 0, "the channel masks itself");
  assert.equal(dma.first.read(8, 1) & 0x0f, 0x04);
  assert.equal(dma.first.read(8, 1) & 0x0f, 0, "reading clears");
});

test("memory reaches a device, and addresses wrap inside the 64 KB page", () => {
  const { dma, memory } = setup();
  memory.bytes.set([1, 2], 0x2fffe);
  memory.bytes.set([3, 4], 0x20000);
  program2(dma, FROM_MEMORY, 0x2fffe, 3);
  const target = new Uint8Array(4);
  assert.equal(dma.channel(2).readFromMemory(target).tc, true);
  assert.deepEqual([...target], [1, 2, 3, 4]);
});

test("decrementing, auto-initializing and verifying transfers", () => {
  const { dma, memory } = setup();
  program2(dma, TO_MEMORY | 0x30, 0x1000, 1);
  dma.channel(2).writeToMemory(Uint8Array.of(7, 8));
  assert.deepEqual([...memory.bytes.subarray(0xfff, 0x1001)], [8, 7]);
  assert.equal(dma.channel(2).remaining, 2, "loaded again");
  program2(dma, 0x40, 0x2000, 3);
  assert.deepEqual({ ...dma.channel(2).writeToMemory(Uint8Array.of(1, 1, 1, 1)) }, { count: 4, tc: true });
  assert.equal(memory.bytes[0x2000], 0);
});

test("masked and disabled channels move nothing", () => {
  const { dma } = setup();
  program2(dma, TO_MEMORY, 0, 9);
  dma.first.write(0x0a, 1, 4 | 2);
  assert.deepEqual({ ...dma.channel(2).writeToMemory(new Uint8Array(4)) }, { count: 0, tc: false });
  dma.first.write(0x0e, 1, 0);
  dma.first.write(0x08, 1, 4);
  assert.equal(dma.channel(2).writeToMemory(new Uint8Array(4)).count, 0);
  dma.first.write(0x08, 1, 0);
  assert.equal(dma.channel(2).writeToMemory(new Uint8Array(4)).count, 4);
  dma.first.write(0x0d, 1, 0);
  assert.equal(dma.first.read(0x0f, 1) & 15, 15, "master clear masks all");
});

test("current address and count read back through the flip-flop", () => {
  const { dma } = setup();
  program2(dma, TO_MEMORY, 0x1234, 99);
  dma.channel(2).writeToMemory(new Uint8Array(16));
  dma.first.write(0x0c, 1, 0);
  assert.equal(dma.first.read(4, 1) | (dma.first.read(4, 1) << 8), 0x1244);
  assert.equal(dma.first.read(5, 1) | (dma.first.read(5, 1) << 8), 83);
});

test("channels 5 to 7 move words within 128 KB", () => {
  const { dma, memory } = setup();
  dma.second.write(0x18, 1, 0);
  dma.second.write(0x16, 1, TO_MEMORY | 1);
  for (const value of [0x00, 0x80]) dma.second.write(4, 1, value);
  for (const value of [0x01, 0x00]) dma.second.write(6, 1, value);
  dma.pages.write(0x8b - 0x81, 1, 0x03);
  dma.second.write(0x14, 1, 1);
  assert.deepEqual({ ...dma.channel(5).writeToMemory(Uint8Array.of(1, 2, 3, 4)) }, { count: 4, tc: true });
  assert.deepEqual([...memory.bytes.subarray(0x30000, 0x30004)], [1, 2, 3, 4]);
});

test("request lines and software requests show in the status", () => {
  const { dma } = setup();
  dma.channel(1).setRequest(true);
  dma.first.write(9, 1, 4 | 3);
  assert.equal(dma.first.read(8, 1), 0xa0);
  dma.channel(1).setRequest(false);
  assert.equal(dma.first.read(8, 1), 0x80);
});
