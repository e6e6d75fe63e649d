/** POST and booting: the BIOS data area, vectors, controllers, option ROMs, resets that resume, boot order and messages. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BDA } from "../../src/firmware/rombios/layout.ts";
import { fakeCdrom, fakeDisk, fakeFloppy } from "../support/device-fakes.ts";
import { Machine } from "./machine.ts";

function bootable(bytes: Uint8Array, mark: number): void {
  bytes.fill(0, 0, 512);
  bytes.set([0xeb, 0x3c, 0x90, mark], 0);
  bytes.set([0x55, 0xaa], 510);
}

test("POST fills the BIOS data area as programs expect it", async () => {
  const { memory } = await new Machine({ floppies: [fakeFloppy(1440), fakeFloppy(720)], units: [fakeDisk()] }).post();
  assert.equal(memory.read16(0x413), 639);
  assert.equal(memory.read16(0x40e), 0x9fc0);
  assert.equal(memory.read8(0x9fc00), 1);
  assert.equal(memory.read16(0x400), 0x3f8);
  assert.equal(memory.read16(0x402), 0);
  // Two diskette drives, FPU, mouse, 80 columns, one serial port.
  assert.equal(memory.read16(0x410), 0x0267);
  assert.equal(memory.read16(0x41a), 0x1e);
  assert.equal(memory.read16(0x41c), 0x1e);
  assert.equal(memory.read16(0x480), 0x1e);
  assert.equal(memory.read16(0x482), 0x3e);
  assert.equal(memory.read8(0x496), 0x10);
  assert.equal(memory.read8(0x475), 1);
  assert.equal(memory.read8(0x48f), 0x77);
  assert.equal(memory.read8(0x490), 0x17);
  assert.equal(memory.read8(0x491), 0x97);
  // 12:34:56 in ticks of 18.2 Hz.
  assert.equal(memory.read32(0x46c), Math.floor(((12 * 3600 + 34 * 60 + 56) * 1193182) / 65536));
});

test("POST writes the vectors and leaves free ones zero", async () => {
  const { memory } = await new Machine({ units: [fakeDisk()] }).post();
  assert.equal(memory.read32(0x13 * 4), 0xf000e3fe);
  assert.equal(memory.read32(0x1e * 4), 0xf000efc7);
  assert.equal(memory.read32(0x40 * 4), 0xf000ec59);
  assert.equal(memory.read32(0x1c * 4), 0xf000ff53);
  assert.equal(memory.read32(0x60 * 4), 0);
  assert.equal(memory.read32(0x46 * 4), 0);
  const table = memory.read16(0x41 * 4 + 2) * 16 + memory.read16(0x41 * 4);
  assert.deepEqual([memory.read16(table), memory.read8(table + 2), memory.read8(table + 14)], [4, 16, 63]);
});

test("POST programs the interrupt controllers, the timer and the keyboard controller", async () => {
  const machine = await new Machine().post();
  const { bus, cpu } = machine;
  assert.equal(bus.in(0x21), 0xb8);
  assert.equal(bus.in(0xa1), 0x8f);
  assert.equal(cpu.a20, true);
  bus.outb(0x64, 0x20);
  machine.clock.advance(1e7);
  assert.equal(bus.in(0x60), 0x65);
});

test("POST runs over quickly where there is no keyboard controller at all", async () => {
  const machine = new Machine();
  const { bus } = machine;
  const silent = {
    in: (port: number, size: 1 | 2 | 4) => (port === 0x64 || port === 0x60 ? 0xff : bus.in(port, size)),
    out: bus.out.bind(bus),
  };
  (machine.context as { io: unknown }).io = silent;
  await machine.post();
  assert.ok(machine.clock.now() < 5e9);
});

test("option ROMs are found by signature and checksum, in order", async () => {
  const machine = await new Machine().post();
  const { memory } = machine;
  const place = (at: number, units: number, good: boolean): void => {
    const image = new Uint8Array(units * 512);
    image.set([0x55, 0xaa, units, 0xcb]);
    const sum = image.reduce((a, b) => a + b, 0);
    image[5] = (good ? -sum : 1 - sum) & 0xff;
    memory.write(at, image);
  };
  place(0xc0000, 64, true);
  place(0xc8000, 4, false);
  place(0xd0000, 5, true);
  place(0xc0800, 4, true);
  const found: number[] = [];
  for (;;) {
    await machine.trap("post_rom");
    if ((machine.cpu.eflags & 0x40) !== 0) break;
    assert.equal(memory.read16(BDA.POINTER), 3);
    found.push(memory.read16(BDA.POINTER + 2));
  }
  // The ROM inside the first one's 32 KB is part of it.
  assert.deepEqual(found, [0xc000, 0xd000]);
});

test("a reset with a shutdown code resumes the program instead of starting POST", async () => {
  const machine = await new Machine().post();
  const before = async (code: number): Promise<boolean> => {
    machine.bus.outb(0x70, 0x0f);
    machine.bus.outb(0x71, code);
    await machine.trap("reset");
    const offset = machine.cpu.eip;
    machine.bus.outb(0x70, 0x0f);
    assert.equal(machine.bus.in(0x71), 0, "the code is used up");
    return machine.rom.services.has(offset);
  };
  for (const code of [4, 5, 6, 9, 0x0a, 0x0b, 0x0c]) assert.equal(await before(code), false, `code ${code}`);
  for (const code of [0, 1, 0x0d, 0xff]) assert.equal(await before(code), true, `code ${code}`);
});

test("the banner names memory and drives", async () => {
  const machine = await new Machine({ floppies: [fakeFloppy(1440)], units: [fakeDisk(100)] }).post();
  const text = machine.text();
  assert.match(text, /vmxon BIOS/);
  assert.match(text, /639 KB base, 3072 KB extended/);
  assert.match(text, /A: 1.44 MB/);
  assert.match(text, /Disk 0: 49 MB/);
});

test("boot devices are tried in order, with a word on each that fails", async () => {
  const floppy = fakeFloppy(1440);
  floppy.medium.backend.bytes.fill(0, 0, 512);
  const disk = fakeDisk();
  bootable(disk.backend.bytes, 0x42);
  const machine = await new Machine({
    floppies: [floppy],
    units: [undefined, disk],
    bootOrder: ["cdrom", "floppy", "disk"],
  }).post();
  await machine.trap("boot_start");
  await machine.trap("boot_next");
  assert.equal(machine.text(), "Boot failed: the CD-ROM is not there.\r\n");
  assert.equal(machine.cpu.eflags & 0x40, 0);
  await machine.trap("boot_next");
  assert.equal(machine.text(), "Boot failed: the diskette is not bootable.\r\n");
  await machine.trap("boot_next");
  assert.equal(machine.text(), "Booting from the disk...\r\n");
  assert.equal(machine.cpu.eflags & 0x40, 0x40);
  assert.equal(machine.memory.read8(0x7c03), 0x42);
  await machine.trap("boot_launch");
  assert.equal(machine.cpu.edx, 0x80);
});

test("without a bootable device INT 18h says so", async () => {
  const floppy = fakeFloppy(1440);
  floppy.medium.backend.broken = true;
  const machine = await new Machine({ floppies: [floppy] }).post();
  await machine.trap("boot_start");
  await machine.trap("boot_next");
  assert.match(machine.text(), /diskette cannot be read/);
  await machine.trap("boot_next");
  assert.match(machine.text(), /disk is not there/);
  await machine.trap("boot_next");
  assert.equal(machine.result().to, "no_boot");
  await machine.trap("boot_none");
  assert.match(machine.text(), /No bootable device/);
});

test("a diskette without a signature boots when it may be code", async () => {
  const floppy = fakeFloppy(160);
  const { bytes } = floppy.medium.backend;
  bytes.fill(0, 0, 512);
  bytes.set([0xeb, 0x2c, 0x90], 0);
  const machine = await new Machine({ floppies: [floppy] }).post();
  const boots = async (): Promise<boolean> => {
    await machine.trap("boot_start");
    await machine.trap("boot_next");
    return (machine.cpu.eflags & 0x40) !== 0;
  };
  assert.equal(await boots(), true);
  bytes.fill(0xf6, 0, 512);
  assert.equal(await boots(), false);
  bytes.fill(0, 0, 512);
  assert.equal(await boots(), false);
});

test("a direct kernel is entered instead of booting", async () => {
  let entered = 0;
  const machine = await new Machine({ directBoot: () => void entered++ }).post();
  await machine.trap("boot_start");
  assert.equal(entered, 1);
});

test("POST takes the news of a reset from CD drives: the first packet of a program is executed", async () => {
  const { pc, bus } = await new Machine({ units: [undefined, undefined, undefined, fakeCdrom(20)] }).post();
  const packets = pc.ide[1]!.cdrom(1)!.packets;
  assert.equal(packets.execute(new Uint8Array(12)).kind, "done");
  assert.equal(bus.in(0x376, 1), 0, "device 0, which is not there, is selected");
});
