/** INT 15h, 1Ah, 70h, 14h, 17h: register contracts of the system services. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine, type Registers } from "./machine.ts";

const MB = 1024 * 1024;
const SMAP = 0x534d4150;
const ready = (memory?: number) => new Machine({}, memory).post();

test("E820h walks the whole map and refuses what is wrong", async () => {
  const m = await ready(32 * MB);
  const entries: number[][] = [];
  let ebx = 0;
  do {
    const result = await m.call("int15", { ax: 0xe820, bx: ebx, cx: 24, dx: SMAP, es: 0x2000 });
    assert.equal(result.carry, false);
    assert.equal(m.cpu.eax, SMAP);
    assert.equal(m.cpu.ecx, 20);
    entries.push([m.memory.read32(0x20000), m.memory.read32(0x20008), m.memory.read32(0x20010)]);
    ebx = m.cpu.ebx;
  } while (ebx !== 0);
  assert.deepEqual(entries, [
    [0, 0x9fc00, 1],
    [0x9fc00, 0x400, 2],
    [0xf0000, 0x10000, 2],
    [0x100000, 31 * MB, 1],
    [0xffff0000, 0x10000, 2],
  ]);
  const refused = async (bx: number, cx: number, dx: number) =>
    (await m.call("int15", { ax: 0xe820, bx, cx, dx, es: 0x2000 })).carry;
  assert.equal(await refused(0, 24, 0), true, "no SMAP");
  assert.equal(await refused(0, 19, SMAP), true, "no room");
  assert.equal(await refused(5, 24, SMAP), true, "no such entry");
});

test("E801h and 88h tell the same size, each within its limits", async () => {
  const sizes = async (memory: number) => {
    const m = await ready(memory);
    const a = await m.call("int15", { ax: 0xe801 });
    const b = await m.call("int15", { ax: 0x8800 });
    return [a.ax, a.bx, a.cx, a.dx, b.ax];
  };
  assert.deepEqual(await sizes(4 * MB), [3072, 0, 3072, 0, 3072]);
  assert.deepEqual(await sizes(16 * MB), [0x3c00, 0, 0x3c00, 0, 15360]);
  assert.deepEqual(await sizes(128 * MB), [0x3c00, 112 * 16, 0x3c00, 112 * 16, 0xfc00]);
  assert.deepEqual(await sizes(1 * MB), [0, 0, 0, 0, 0]);
});

test("87h moves memory between any two addresses", async () => {
  const m = await ready();
  const table = 0x30000;
  const descriptor = (at: number, base: number): void => {
    m.memory.write16(at, 0xffff);
    m.memory.write32(at + 2, (base & 0xffffff) | (0x93 << 24));
    m.memory.write8(at + 7, base >>> 24);
  };
  descriptor(table + 0x10, 0x5000);
  descriptor(table + 0x18, 0x280000);
  m.memory.write(0x5000, Uint8Array.of(1, 2, 3, 4, 5, 6));
  const result = await m.call("int15", { ax: 0x8700, cx: 3, es: table >> 4 });
  assert.deepEqual([result.carry, result.ah, result.zero], [false, 0, true]);
  assert.deepEqual([...m.memory.bytes.subarray(0x280000, 0x280007)], [1, 2, 3, 4, 5, 6, 0]);
  assert.equal((await m.call("int15", { ax: 0x8700, cx: 0x8001, es: table >> 4 })).carry, true);
});

test("24xxh switches address line 20", async () => {
  const m = await ready();
  assert.equal((await m.call("int15", { ax: 0x2402 })).al, 1);
  await m.call("int15", { ax: 0x2400 });
  assert.equal(m.cpu.a20, false);
  assert.equal(m.bus.in(0x92) & 2, 0);
  assert.equal((await m.call("int15", { ax: 0x2402 })).al, 0);
  await m.call("int15", { ax: 0x2401 });
  assert.equal(m.cpu.a20, true);
  assert.equal((await m.call("int15", { ax: 0x2403 })).bx, 3);
  assert.equal((await m.call("int15", { ax: 0x2409 })).carry, true);
});

test("small services: keyboard intercept, configuration, extended data area, joystick, device posts", async () => {
  const m = await ready();
  const key = await m.call("int15", { ax: 0x4f1e });
  assert.deepEqual([key.carry, key.al], [true, 0x1e]);
  const table = await m.call("int15", { ax: 0xc000 });
  assert.deepEqual([table.carry, table.ah, table.es, table.bx], [false, 0, 0xf000, 0xe6f5]);
  assert.equal((await m.call("int15", { ax: 0xc100 })).es, 0x9fc0);
  assert.equal((await m.call("int15", { ax: 0x8400, dx: 1 })).carry, false);
  for (const ah of [0x80, 0x81, 0x82, 0x85, 0x90, 0x91]) {
    assert.deepEqual([(await m.call("int15", { ax: ah << 8 })).carry], [false]);
  }
  for (const ah of [0x00, 0x21, 0xc3, 0xd8, 0xff]) {
    const result = await m.call("int15", { ax: ah << 8 });
    assert.deepEqual([result.carry, result.ah], [true, 0x86]);
  }
});

test("83h posts a flag and 86h waits, by the clock's periodic interrupt", async () => {
  const m = await ready();
  const flag = 0x25000;
  assert.equal((await m.call("int15", { ax: 0x8300, dx: 5000, es: flag >> 4 })).carry, false);
  assert.equal((await m.call("int15", { ax: 0x8300, dx: 5000, es: flag >> 4 })).carry, true, "one at a time");
  assert.equal(m.bus.in(0xa1) & 1, 0);
  let periods = 0;
  while (m.memory.read8(flag) === 0 && periods < 100) {
    m.clock.advance(976_563);
    await m.trap("int70");
    periods++;
  }
  assert.equal(periods, 6);
  assert.equal(m.memory.read8(flag), 0x80);
  assert.equal((await m.call("int15", { ax: 0x8600, dx: 1000 })).to, "int15_delay");
  for (let i = 0; i < 3; i++) {
    m.clock.advance(976_563);
    await m.trap("int70");
  }
  assert.equal(m.memory.read8(0x4a0), 0x80);
  m.memory.write8(0x4a0, 0);
  await m.call("int15", { ax: 0x8300, dx: 5000, es: flag >> 4 });
  assert.equal((await m.call("int15", { ax: 0x8301 })).carry, false);
  assert.equal(m.memory.read8(0x4a0), 0);
});

test("APM: installation check, connection, power off", async () => {
  const m = await ready();
  const apm = (al: number, registers: Registers = {}) => m.call("int15", { ax: 0x5300 | al, ...registers });
  const check = await apm(0x00);
  assert.deepEqual([check.carry, check.ax, check.bx], [false, 0x0102, 0x504d]);
  assert.equal((await apm(0x07, { bx: 1, cx: 3 })).ah, 0x03, "not connected");
  assert.equal((await apm(0x01)).carry, false);
  assert.equal((await apm(0x01)).ah, 0x02);
  assert.equal((await apm(0x0e, { cx: 0x0102 })).ax, 0x0102);
  assert.equal((await apm(0x0e, { cx: 0x0101 })).ax, 0x0101);
  assert.equal((await apm(0x05)).to, "int15_idle");
  assert.equal((await apm(0x0b)).ah, 0x80);
  assert.deepEqual([(await apm(0x0a, { bx: 1 })).bx], [0x01ff]);
  assert.equal((await apm(0x07, { bx: 5, cx: 3 })).ah, 0x09);
  assert.equal(m.poweredOff, 0);
  assert.equal((await apm(0x07, { bx: 1, cx: 3 })).carry, false);
  assert.equal(m.poweredOff, 1);
  assert.equal((await apm(0x04)).carry, false);
  assert.equal((await apm(0x05)).ah, 0x03);
});

test("the mouse: reset, identity, rates, status, and packets to a handler", async () => {
  const m = await ready();
  const c2 = async (al: number, registers: Registers = {}) => {
    const first = await m.call("int15", { ax: 0xc200 | al, ...registers });
    if (first.to !== "int15_mouse") return first;
    await m.talk();
    await m.trap("mouse_done");
    return m.result();
  };
  assert.deepEqual([(await c2(0x00, { bx: 0x0100 })).ah], [5], "no handler yet");
  assert.deepEqual([(await c2(0x05, { bx: 0x0300 })).carry], [false]);
  const reset = await c2(0x01);
  assert.deepEqual([reset.carry, reset.bx], [false, 0x00aa]);
  assert.equal((await c2(0x04)).bx >> 8, 0);
  assert.equal((await c2(0x02, { bx: 0x0600 })).carry, false);
  assert.equal((await c2(0x03, { bx: 0x0200 })).carry, false);
  assert.equal((await c2(0x06, { bx: 0x0200 })).carry, false);
  const status = await c2(0x06);
  assert.deepEqual([status.carry, status.cx & 0xff, status.dx & 0xff], [false, 2, 200]);
  assert.equal((await c2(0x02, { bx: 0x0700 })).ah, 2);
  assert.equal((await c2(0x05, { bx: 0x0900 })).ah, 2);
  assert.equal((await c2(0x09)).ah, 1);
  assert.equal((await c2(0x07, { es: 0x1234, bx: 0x5678 })).carry, false);
  assert.equal((await c2(0x00, { bx: 0x0100 })).carry, false);
  assert.equal((await c2(0x06, { bx: 0x0100 })).carry, false);
  m.pc.mouse.move(5, 3, 0, 1);
  let packets = 0;
  for (let i = 0; i < 20 && packets === 0; i++) {
    m.clock.advance(1e7);
    await m.trap("int74");
    if ((m.cpu.eflags & 0x40) === 0) packets++;
  }
  assert.equal(packets, 1);
  const ebda = 0x9fc00;
  assert.equal(m.memory.read16(ebda + 0x22), 0x5678);
  assert.equal(m.memory.read16(ebda + 0x24), 0x1234);
  assert.equal(m.memory.read16(ebda + 0x80) & 0x09, 0x09);
  assert.equal(m.memory.read16(ebda + 0x82), 5);
  assert.equal(m.memory.read16(ebda + 0x86), 0);
});

test("1Ah: ticks, time, date, alarm", async () => {
  const m = await ready();
  await m.call("int1a", { ax: 0x0100, cx: 0x0012, dx: 0x3456 });
  m.memory.write8(0x470, 1);
  const ticks = await m.call("int1a", { ax: 0x0000 });
  assert.deepEqual([ticks.cx, ticks.dx, ticks.al], [0x12, 0x3456, 1]);
  assert.equal((await m.call("int1a", { ax: 0x0000 })).al, 0);
  const time = await m.call("int1a", { ax: 0x0200 });
  assert.deepEqual([time.carry, time.cx, time.dx >> 8], [false, 0x1234, 0x56]);
  const date = await m.call("int1a", { ax: 0x0400 });
  assert.deepEqual([date.carry, date.cx, date.dx], [false, 0x2024, 0x0615]);
  await m.call("int1a", { ax: 0x0300, cx: 0x2359, dx: 0x5800 });
  await m.call("int1a", { ax: 0x0500, cx: 0x1999, dx: 0x1231 });
  m.clock.advance(2.5e9);
  assert.equal((await m.call("int1a", { ax: 0x0200 })).cx, 0x0000);
  assert.deepEqual(
    [(await m.call("int1a", { ax: 0x0400 })).cx, (await m.call("int1a", { ax: 0x0400 })).dx],
    [0x2000, 0x0101],
  );
  assert.equal((await m.call("int1a", { ax: 0x0600, cx: 0x0000, dx: 0x0500 })).carry, false);
  assert.equal((await m.call("int1a", { ax: 0x0600 })).carry, true, "already set");
  m.clock.advance(4e9);
  await m.trap("int70");
  assert.equal(m.result().to, "int70_alarm");
  await m.call("int1a", { ax: 0x0700 });
  assert.equal((await m.call("int1a", { ax: 0x0600 })).carry, false);
  assert.equal((await m.call("int1a", { ax: 0x7700 })).carry, true);
});

test("a loop that only waits for the next tick is halted until it comes", async () => {
  let instructions = 0;
  const m = await new Machine({
    activity: { instructions: () => (instructions += 50), displayGeneration: () => 0 },
  }).post();
  const { cx, dx } = await m.call("int1a", { ax: 0x0000 });
  let to: string | undefined;
  for (let i = 0; i < 400 && to === undefined; i++) to = (await m.call("int1a", { cx, dx })).to;
  assert.equal(to, "int1a_idle");
  m.memory.write32(0x46c, 0x123456);
  await m.trap("int1a_ticks");
  assert.deepEqual([m.result().cx, m.result().dx], [0x12, 0x3456]);
});

test("14h sends, receives and times out", async () => {
  const m = await ready();
  const initialized = await m.call("int14", { ax: 0x00e3 });
  assert.notEqual(initialized.ah & 0x60, 0);
  assert.equal((await m.call("int14", { ax: 0x0141 })).ah & 0x80, 0);
  m.clock.advance(1e7);
  assert.deepEqual(m.sent, [0x41]);
  m.pc.uarts[0]!.receive(Uint8Array.of(0x42));
  m.clock.advance(1e7);
  assert.equal((await m.call("int14", { ax: 0x0200 })).ax, 0x0042);
  assert.equal((await m.call("int14", { ax: 0x0200 })).to, "int14_wait");
  await m.trap("int14_poll");
  assert.equal(m.cpu.eflags & 0x40, 0x40);
  m.clock.advance(2e9);
  await m.trap("int14_poll");
  assert.equal(m.cpu.eflags & 0x40, 0);
  assert.equal(m.result().ah & 0x80, 0x80);
  assert.equal((await m.call("int14", { ax: 0x0300, dx: 2 })).ax, 0x0300, "no such port");
});

test("17h leaves the registers alone where there is no printer", async () => {
  const m = await ready();
  assert.equal((await m.call("int17", { ax: 0x0041 })).ax, 0x0041);
});
