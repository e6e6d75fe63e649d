/** INT 13h on diskettes: every function's registers, every error. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FLOPPY_SIZES, fakeFloppy } from "../support/device-fakes.ts";
import { Machine, type Registers } from "./machine.ts";

const BUFFER = 0x2000;

async function withFloppy(kilobytes = 1440, options: { writeProtected?: boolean } = {}) {
  const floppy = fakeFloppy(kilobytes, options);
  const machine = await new Machine({ floppies: [floppy] }).post();
  const int13 = (registers: Registers) => machine.call("int13", { es: BUFFER >> 4, ...registers });
  const read = (address: number, length: number): number[] => [
    ...machine.memory.bytes.subarray(address, address + length),
  ];
  return { floppy, machine, int13, read };
}

test("02h reads any sector of every format", async () => {
  for (const size of FLOPPY_SIZES) {
    const { floppy, int13, read } = await withFloppy(size);
    const { cylinders, heads, sectors } = floppy.medium.geometry;
    const lba = ((cylinders - 1) * heads + heads - 1) * sectors + sectors - 1;
    const result = await int13({ ax: 0x0201, cx: ((cylinders - 1) << 8) | sectors, dx: (heads - 1) << 8 });
    assert.deepEqual([result.carry, result.ah, result.al], [false, 0, 1], `${size} KB`);
    assert.deepEqual(read(BUFFER, 512), [...floppy.medium.backend.bytes.subarray(lba * 512, lba * 512 + 512)]);
  }
});

test("a transfer goes on from head 0 to head 1 and stops at the cylinder's end", async () => {
  const { floppy, int13, read } = await withFloppy();
  const across = await int13({ ax: 0x0204, cx: 0x0011, dx: 0 });
  assert.deepEqual([across.carry, across.al], [false, 4]);
  assert.deepEqual(read(BUFFER, 2048), [...floppy.medium.backend.bytes.subarray(16 * 512, 20 * 512)]);
  const beyond = await int13({ ax: 0x0204, cx: 0x0011, dx: 0x0100 });
  assert.deepEqual([beyond.carry, beyond.ah, beyond.al], [true, 0x04, 2]);
});

test("03h writes, and 03h on a protected medium answers 03h", async () => {
  const { floppy, machine, int13 } = await withFloppy();
  machine.memory.bytes.fill(0xa5, BUFFER, BUFFER + 512);
  assert.equal((await int13({ ax: 0x0301, cx: 0x0002 })).carry, false);
  assert.deepEqual(floppy.medium.backend.bytes.subarray(512, 1024), new Uint8Array(512).fill(0xa5));
  const locked = await withFloppy(1440, { writeProtected: true });
  const result = await locked.int13({ ax: 0x0301, cx: 0x0002 });
  assert.deepEqual([result.carry, result.ah, result.al], [true, 0x03, 0]);
});

test("errors: no such sector, zero sectors, 64 KB boundary, no medium, no drive, host failure", async () => {
  const { floppy, machine, int13 } = await withFloppy();
  const code = async (registers: Registers) => {
    const { carry, ah } = await int13(registers);
    assert.equal(carry, ah !== 0);
    assert.equal(machine.memory.read8(0x441), ah);
    return ah;
  };
  assert.equal(await code({ ax: 0x0201, cx: 0x0013 }), 0x04);
  assert.equal(await code({ ax: 0x0201, cx: 0x0000 }), 0x04);
  assert.equal(await code({ ax: 0x0201, cx: 0x5001 }), 0x04);
  assert.equal(await code({ ax: 0x0201, cx: 0x0001, dx: 0x0200 }), 0x04);
  assert.equal(await code({ ax: 0x0200, cx: 0x0001 }), 0x01);
  assert.equal(await code({ ax: 0x0202, cx: 0x0001, es: 0x1fe0, bx: 0x0001 }), 0x09);
  assert.equal(await code({ ax: 0x0201, cx: 0x0001, es: 0x1fe0, bx: 0x0000 }), 0x00);
  assert.equal(await code({ ax: 0x0201, cx: 0x0001, dx: 0x0001 }), 0x80);
  assert.equal(await code({ ax: 0x5500 }), 0x01);
  floppy.medium.backend.broken = true;
  assert.equal(await code({ ax: 0x0201, cx: 0x0001 }), 0x10);
  (floppy as { medium: unknown }).medium = undefined;
  assert.equal(await code({ ax: 0x0201, cx: 0x0001 }), 0x80);
  assert.equal(await code({ ax: 0x1600 }), 0x06);
});

test("a changed medium is announced once by 06h", async () => {
  const { floppy, int13 } = await withFloppy();
  floppy.changed = true;
  assert.equal((await int13({ ax: 0x1600 })).ah, 0x06);
  const first = await int13({ ax: 0x0201, cx: 0x0001 });
  assert.deepEqual([first.carry, first.ah], [true, 0x06]);
  assert.equal((await int13({ ax: 0x0201, cx: 0x0001 })).carry, false);
  assert.equal((await int13({ ax: 0x1600 })).carry, false);
});

test("01h tells the last status, 00h clears it", async () => {
  const { int13 } = await withFloppy();
  await int13({ ax: 0x0201, cx: 0x0013 });
  const status = await int13({ ax: 0x0100 });
  assert.deepEqual([status.carry, status.ah], [true, 0x04]);
  assert.equal((await int13({ ax: 0x0000 })).ah, 0);
  assert.equal((await int13({ ax: 0x0100 })).carry, false);
});

test("08h describes the drive", async () => {
  const { int13 } = await withFloppy();
  const result = await int13({ ax: 0x0800 });
  assert.deepEqual(
    [result.carry, result.bx, result.cx, result.dx, result.es, result.di],
    [false, 4, 0x4f12, 0x0101, 0xf000, 0xefc7],
  );
  const absent = await int13({ ax: 0x0800, dx: 0x0001 });
  assert.deepEqual([absent.carry, absent.bx, absent.cx, absent.dx], [false, 0, 0, 1]);
  assert.equal((await int13({ ax: 0x0800, dx: 0x0002 })).carry, true);
});

test("15h tells which drives have a change line", async () => {
  assert.equal((await (await withFloppy(1440)).int13({ ax: 0x1500 })).ah, 2);
  assert.equal((await (await withFloppy(360)).int13({ ax: 0x1500 })).ah, 1);
  assert.equal((await (await withFloppy()).int13({ ax: 0x1500, dx: 1 })).ah, 0);
});

test("05h fills a track with the table's byte; 17h and 18h accept the medium's own format only", async () => {
  const { floppy, machine, int13 } = await withFloppy();
  for (let i = 0; i < 18; i++) machine.memory.write(BUFFER + 4 * i, Uint8Array.of(3, 1, 18 - i, 2));
  assert.equal((await int13({ ax: 0x1800, cx: 0x4f12 })).carry, false);
  assert.equal((await int13({ ax: 0x1800, cx: 0x4f09 })).ah, 0x0c);
  assert.equal((await int13({ ax: 0x1704 })).carry, false);
  const start = (3 * 2 + 1) * 18 * 512;
  assert.equal((await int13({ ax: 0x0512, cx: 0x0301, dx: 0x0100 })).carry, false);
  const { bytes } = floppy.medium.backend;
  assert.ok(bytes.subarray(start, start + 18 * 512).every((byte) => byte === 0xf6));
  assert.ok(!bytes.subarray(start - 512, start).every((byte) => byte === 0xf6));
  assert.ok(!bytes.subarray(start + 18 * 512, start + 19 * 512).every((byte) => byte === 0xf6));
});

test("an access starts the motor and its time-out", async () => {
  const { machine, int13 } = await withFloppy();
  await int13({ ax: 0x0201, cx: 0x0001 });
  assert.equal(machine.memory.read8(0x43f) & 0x0f, 1);
  assert.equal(machine.memory.read8(0x440), 37);
  assert.equal(machine.memory.read8(0x442) & 0xc0, 0);
});
