/** Guests that draw into the frame buffer and its banks find plain memory there, and the picture follows. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DISPI, DISPI_ENABLE } from "../../src/devices/vga/dispi.ts";
import { Vga } from "../../src/devices/vga/vga.ts";
import { assemble } from "../../src/firmware/assembler.ts";
import type { Rectangle } from "../../src/hypervisor/backend.ts";
import type { AccessSize, MmioDevice } from "../../src/hypervisor/device.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";

const FRAME_BUFFER = 0xe0000000;
const VIDEO_MEMORY = 2 << 20;
const ENTRY = 0x7c00;

/** A domain with an adapter in 640 × 480 × 32, whose front end looks when the guest writes to port F5h. */
async function run(source: string) {
  const domain = new HvmDomain({ memory: 4 << 20, clock: "instructions" });
  const vga = new Vga({ clock: domain.clock, memory: domain.deviceMemory(VIDEO_MEMORY) });
  const looks: Rectangle[][] = [];
  const feed = vga.feed({
    resize() {},
    update(part) {
      looks.at(-1)!.push(part);
    },
  });
  let asked = 0;
  const counting = (device: MmioDevice): MmioDevice => ({
    read: (offset, size) => device.read(offset, size),
    write(offset: number, size: AccessSize, value: number) {
      asked++;
      device.write(offset, size, value);
    },
    immediate: () => true,
    useDirect: (memory) => device.useDirect?.(memory),
  });
  const port = (base: number, write: () => void): void =>
    domain.bus.claimPorts({ name: "test", base, count: 1, width: 1, device: { read: () => 0, write } });
  port(0xf4, () => domain.powerOff());
  port(0xf5, () => {
    looks.push([]);
    feed.update();
  });
  domain.bus.claimPorts({ name: "vga", base: 0x3b0, count: 48, device: vga.ports });
  domain.bus.claimPorts({ name: "vga", base: 0x1ce, count: 4, device: vga.dispiPorts, width: 2 });
  domain.bus.claimMmio({ name: "vga", base: 0xa0000, size: 0x20000, device: counting(vga.memory) });
  domain.bus.claimMmio({
    name: "lfb",
    base: FRAME_BUFFER,
    size: VIDEO_MEMORY,
    device: counting(vga.frameBuffer),
    memory: vga.frameMemory,
  });
  const { code } = assemble(source, { origin: ENTRY, bits: 32 });
  domain.onReset = () => {
    domain.memory.write(ENTRY, code);
    domain.enter({ mode: "protected", eip: ENTRY, esp: 0x7000 });
    vga.ports.write(0x12, 1, 0x63);
    vga.ports.read(0x2a, 1);
    vga.ports.write(0x10, 1, 0x20);
    vga.dispi.write(DISPI.X_RESOLUTION, 640);
    vga.dispi.write(DISPI.Y_RESOLUTION, 480);
    vga.dispi.write(DISPI.BITS_PER_PIXEL, 32);
    vga.dispi.write(DISPI.ENABLE, DISPI_ENABLE.ENABLED);
  };
  assert.equal((await domain.run()).kind, "poweroff");
  const { rgba } = vga.frame();
  const pixels = new Uint32Array(rgba.buffer);
  return { vga, looks, asked, pixel: (x: number, y: number) => pixels[y * 640 + x]! };
}

test("stores to the frame buffer ask nobody, and each look is told what was written since the last", async () => {
  const { looks, asked, pixel } = await run(`
    out 0xf5, al
    mov edi, 0xe0000000
    mov eax, 0x00ff0000
    mov ecx, 640 * 100
    rep stosd
    out 0xf5, al
    mov dword [0xe0000000 + (640 * 300 + 5) * 4], 0x0000ff00
    out 0xf5, al
    out 0xf5, al
    mov dword [0xe0000000 + (640 * 300 + 6) * 4], 0x000000ff
    out 0xf5, al
    out 0xf4, al`);
  assert.deepEqual(looks, [
    [{ x: 0, y: 0, width: 640, height: 480 }],
    [{ x: 0, y: 0, width: 640, height: 100 }],
    [{ x: 0, y: 300, width: 64, height: 1 }],
    [],
    [{ x: 0, y: 300, width: 64, height: 1 }],
  ]);
  assert.equal(asked, 0);
  assert.deepEqual([pixel(639, 99), pixel(5, 300), pixel(6, 300)], [0xff0000ff, 0xff00ff00, 0xffff0000]);
});

test("a bank that is written much becomes plain memory, and follows the bank register", async () => {
  const { asked, pixel, vga } = await run(`
    mov edi, 0xa0000
    mov eax, 0x00112233
    mov ecx, 0x4000
    rep stosd
    mov dx, 0x1ce
    mov ax, 5
    out dx, ax
    mov dx, 0x1cf
    mov ax, 3
    out dx, ax
    mov edi, 0xa0000
    mov eax, 0x00445566
    mov ecx, 0x4000
    rep stosd
    mov dword [0xe0000000 + 0x30004], 0x00778899
    mov ebx, [0xa0004]
    mov [0xe0000000], ebx
    out 0xf4, al`);
  assert.ok(asked < 2000, `${asked} writes`);
  assert.equal(vga.frameBuffer.read(0, 4), 0x778899);
  assert.equal(vga.frameBuffer.read(4, 4), 0x112233);
  assert.equal(vga.frameBuffer.read(0x3fffc, 4), 0x445566);
  assert.equal(vga.frameBuffer.read(0x40000, 4), 0);
  assert.equal(pixel(1, 0), 0xff332211);
});
