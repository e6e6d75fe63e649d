/** The display interface: its registers, its modes' pixels, its window and its frame buffer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DISPI, DISPI_ENABLE, DISPI_REGISTERS } from "../../src/devices/vga/dispi.ts";
import { Vga } from "../../src/devices/vga/vga.ts";
import { videoMemory } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const INDEX = 0;
const DATA = 1;
const MEMORY = 4 << 20;
/** Offsets of 3C0h, 3C2h, 3C8h, 3C9h and 3DAh in the VGA's ports. */
const PORT = { ATTRIBUTE: 0x10, MISC: 0x12, SEQUENCER: 0x14, DAC_INDEX: 0x18, DAC_DATA: 0x19, STATUS1: 0x2a } as const;
const PALETTE_ON = 0x20;

function createVga() {
  const vga = new Vga({ clock: new FakeClock(), memory: videoMemory(MEMORY) });
  vga.ports.write(PORT.MISC, 1, 0x63);
  vga.ports.read(PORT.STATUS1, 1);
  vga.ports.write(PORT.ATTRIBUTE, 1, PALETTE_ON);
  const set = (index: number, value: number): void => {
    vga.dispiPorts.write(INDEX, 2, index);
    vga.dispiPorts.write(DATA, 2, value);
  };
  const get = (index: number): number => {
    vga.dispiPorts.write(INDEX, 2, index);
    return vga.dispiPorts.read(DATA, 2);
  };
  const mode = (width: number, height: number, bits: number, flags = 0): void => {
    set(DISPI.ENABLE, 0);
    set(DISPI.X_RESOLUTION, width);
    set(DISPI.Y_RESOLUTION, height);
    set(DISPI.BITS_PER_PIXEL, bits);
    set(DISPI.ENABLE, DISPI_ENABLE.ENABLED | flags);
  };
  /** Colour of a pixel as RRGGBB. */
  const pixel = (x: number, y: number): string => {
    const { width, rgba } = vga.frame();
    const at = (y * width + x) * 4;
    return [...rgba.subarray(at, at + 3)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  };
  return { vga, set, get, mode, pixel };
}

test("the interface tells its version, its memory and its limits", () => {
  const { set, get } = createVga();
  assert.equal(get(DISPI.ID), 0xb0c5);
  set(DISPI.ID, 0xb0c0);
  assert.equal(get(DISPI.ID), 0xb0c0);
  set(DISPI.ID, 0x1234);
  assert.equal(get(DISPI.ID), 0xb0c0);
  assert.equal(get(DISPI.VIDEO_MEMORY_64K), MEMORY >> 16);
  set(DISPI.X_RESOLUTION, 800);
  set(DISPI.ENABLE, DISPI_ENABLE.GET_CAPABILITIES);
  assert.deepEqual([get(DISPI.X_RESOLUTION), get(DISPI.Y_RESOLUTION), get(DISPI.BITS_PER_PIXEL)], [2560, 1600, 32]);
  set(DISPI.ENABLE, 0);
  assert.equal(get(DISPI.X_RESOLUTION), 800);
});

test("each depth shows its pixels", () => {
  const { vga, mode, pixel } = createVga();
  const put = (at: number, ...bytes: number[]): void =>
    bytes.forEach((byte, i) => {
      vga.frameBuffer.write(at + i, 1, byte);
    });
  mode(640, 480, 32);
  put((7 * 640 + 5) * 4, 0x33, 0x22, 0x11, 0xff);
  assert.equal(pixel(5, 7), "112233");
  mode(640, 480, 24);
  put((7 * 640 + 5) * 3, 0x33, 0x22, 0x11);
  assert.equal(pixel(5, 7), "112233");
  mode(640, 480, 16);
  put((7 * 640 + 5) * 2, 0b001_00001, 0b10001_100);
  assert.equal(pixel(5, 7), "8c8608");
  mode(640, 480, 15);
  put((7 * 640 + 5) * 2, 0b001_00001, 0b1_10001_10);
  assert.equal(pixel(5, 7), "8c8c08");
  mode(640, 480, 8);
  vga.ports.write(PORT.DAC_INDEX, 1, 0x42);
  for (const component of [0x3f, 0x15, 0x00]) vga.ports.write(PORT.DAC_DATA, 1, component);
  put(7 * 640 + 5, 0x42);
  assert.equal(pixel(5, 7), "ff5500");
});

test("with an eight-bit DAC colours have eight bits, and palettes of six stay dark", () => {
  const { vga, set, mode, pixel } = createVga();
  mode(320, 200, 8, DISPI_ENABLE.DAC_8_BIT);
  vga.ports.write(PORT.DAC_INDEX, 1, 0);
  for (const component of [0xfe, 0x15, 0x3f]) vga.ports.write(PORT.DAC_DATA, 1, component);
  assert.equal(pixel(0, 0), "fe153f");
  set(DISPI.ENABLE, DISPI_ENABLE.ENABLED);
  assert.equal(pixel(0, 0), "fb55ff");
});

test("four bits a pixel are planes behind the graphics controller, bank by bank", () => {
  const { vga, set, mode, pixel } = createVga();
  mode(1024, 768, 4);
  const control = (port: number, index: number, value: number): void => vga.ports.write(port, 2, index | (value << 8));
  control(0x1e, 8, 0xff);
  control(PORT.SEQUENCER, 2, 0x05);
  vga.ports.read(PORT.STATUS1, 1);
  for (const [index, value] of [
    [5, 5],
    [0x10, 1],
    [0x12, 0x0f],
    [0x20, 0],
  ] as const)
    for (const byte of index === 0x20 ? [index] : [index, value]) vga.ports.write(PORT.ATTRIBUTE, 1, byte);
  vga.ports.write(PORT.DAC_INDEX, 1, 5);
  for (const component of [0x3f, 0, 0x3f]) vga.ports.write(PORT.DAC_DATA, 1, component);
  set(DISPI.BANK, 1);
  // Line 512 begins at plane offset 64 K.
  vga.memory.write(3, 1, 0x80);
  assert.equal(pixel(24, 512), "ff00ff");
  assert.equal(pixel(25, 512), "000000");
});

test("the window at A0000h leads to a bank of the frame buffer, and wraps with it", () => {
  const { vga, set, mode } = createVga();
  mode(800, 600, 16);
  set(DISPI.BANK, 3);
  vga.memory.write(0x1234, 4, 0xcafebabe);
  assert.equal(vga.frameBuffer.read(0x31234, 4), 0xcafebabe);
  assert.equal(vga.memory.read(0x1234, 2), 0xbabe);
  assert.equal(vga.memory.read(0x10000, 4), 0xffffffff);
  set(DISPI.BANK, 3 + (MEMORY >> 16));
  assert.equal(vga.memory.read(0x1234, 4), 0xcafebabe);
});

test("a virtual screen is wider, and its offsets choose the part that shows", () => {
  const { vga, set, get, mode, pixel } = createVga();
  mode(640, 480, 8);
  set(DISPI.VIRTUAL_WIDTH, 1024);
  assert.equal(get(DISPI.VIRTUAL_HEIGHT), MEMORY / 1024);
  vga.ports.write(PORT.DAC_INDEX, 1, 1);
  for (const component of [0x3f, 0x3f, 0x3f]) vga.ports.write(PORT.DAC_DATA, 1, component);
  vga.frameBuffer.write(100 * 1024 + 50, 1, 1);
  assert.equal(pixel(50, 100), "ffffff");
  set(DISPI.X_OFFSET, 10);
  set(DISPI.Y_OFFSET, 60);
  assert.equal(pixel(40, 40), "ffffff");
});

test("enabling a mode clears its memory, unless it is asked not to", () => {
  const { vga, mode } = createVga();
  vga.frameBuffer.write(1000, 4, 0x12345678);
  vga.frameBuffer.write(800 * 600, 4, 0x12345678);
  mode(800, 600, 8, DISPI_ENABLE.NO_CLEAR);
  assert.equal(vga.frameBuffer.read(1000, 4), 0x12345678);
  mode(800, 600, 8);
  assert.equal(vga.frameBuffer.read(1000, 4), 0);
  assert.equal(vga.frameBuffer.read(800 * 600, 4), 0x12345678);
});

test("whatever is written to the registers, the picture lies within memory", () => {
  const write = fc.record({ index: fc.nat(DISPI_REGISTERS + 2), value: fc.nat(0xffff) });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
      const { vga, set } = createVga();
      for (const { index, value } of writes) set(index, value);
      const { mode } = vga.dispi;
      if (!mode) return;
      const unit = mode.bits === 4 ? 4 : 1;
      assert.ok(mode.width > 0 && mode.height > 0);
      assert.ok((mode.start + mode.pitch * mode.height) * unit <= MEMORY);
      assert.ok(mode.bits === 4 || mode.pitch * 8 >= mode.width * (mode.bits === 15 ? 16 : mode.bits));
      const { rgba } = vga.frame();
      assert.equal(rgba.length, mode.width * mode.height * 4);
    }),
  );
});

test("disabled, the interface leaves the VGA's mode as it was", () => {
  const { vga, set, mode } = createVga();
  const before = vga.frame();
  mode(1280, 1024, 8);
  assert.deepEqual([vga.frame().width, vga.frame().height, vga.text()], [1280, 1024, undefined]);
  set(DISPI.ENABLE, 0);
  assert.deepEqual([vga.frame().width, vga.frame().height], [before.width, before.height]);
});
