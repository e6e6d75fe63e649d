/** Guest-physical memory as devices see it: RAM, ROM, MMIO and nothing, in every width and across pages. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";
import { MAX_RAM } from "../../src/processor/memory-map.ts";

const MEMORY = 1 << 20;
const RAM_END = 0xa0000;
const ROM = 0xf0000;
const MMIO = 0xb8000;

function build(): { domain: HvmDomain; device: Uint8Array } {
  const domain = new HvmDomain({ memory: MEMORY, clock: "instructions" });
  const device = new Uint8Array(4096);
  domain.addRom({ name: "rom", base: ROM, image: new Uint8Array(4096).fill(0x5a), services: new Map() });
  domain.bus.claimMmio({
    name: "device",
    base: MMIO,
    size: 4096,
    device: {
      read(offset, size) {
        let value = 0;
        for (let i = 0; i < size; i++) value += (device[offset + i] ?? 0xff) * 2 ** (8 * i);
        return value;
      },
      write(offset, size, value) {
        for (let i = 0; i < size; i++) if (offset + i < 4096) device[offset + i] = value >>> (8 * i);
      },
    },
  });
  return { domain, device };
}

test("every width reads what every width wrote, wherever it lies", () => {
  const { domain, device } = build();
  const { memory } = domain;
  /** What each byte must be, by the map of the machine. */
  const model = new Map<number, number>();
  const expected = (gpa: number): number => {
    if (gpa < RAM_END) return model.get(gpa) ?? 0;
    if (gpa >= ROM && gpa < ROM + 4096) return 0x5a;
    if (gpa >= MMIO && gpa < MMIO + 4096) return device[gpa - MMIO]!;
    return 0xff;
  };
  const where = fc.oneof(
    fc.integer({ min: 0, max: 0x3000 }),
    fc.constantFrom(0xffd, 0xffe, 0xfff, 0x1000, RAM_END - 2, RAM_END - 1, RAM_END),
    fc.constantFrom(MMIO - 2, MMIO, MMIO + 4094, ROM - 3, ROM, ROM + 4093, 0xffffe, 0x100000, 0xfffffff0),
  );
  const write = fc.record({ gpa: where, width: fc.constantFrom(8, 16, 32, 0), value: fc.nat() });
  fc.assert(
    fc.property(write, where, ({ gpa, width, value }, read) => {
      const bytes = width === 0 ? Uint8Array.from({ length: 9 }, (_, i) => value + i) : undefined;
      if (bytes) memory.write(gpa, bytes);
      else if (width === 8) memory.write8(gpa, value & 0xff);
      else if (width === 16) memory.write16(gpa, value & 0xffff);
      else memory.write32(gpa, value);
      const length = bytes?.length ?? width / 8;
      for (let i = 0; i < length; i++) {
        const byte = bytes ? bytes[i]! : (value >>> (8 * i)) & 0xff;
        if (gpa + i < RAM_END) model.set(gpa + i, byte);
        else if (gpa + i >= MMIO && gpa + i < MMIO + 4096) assert.equal(device[gpa + i - MMIO], byte);
      }
      for (const at of [gpa, read]) {
        const block = new Uint8Array(12);
        memory.read(at, block);
        for (let i = 0; i < 12; i++) assert.equal(block[i], expected(at + i), `byte at ${(at + i).toString(16)}`);
        assert.equal(memory.read8(at), expected(at));
        assert.equal(memory.read16(at), expected(at) | (expected(at + 1) << 8));
        let word = 0;
        for (let i = 0; i < 4; i++) word += expected(at + i) * 2 ** (8 * i);
        assert.equal(memory.read32(at), word);
      }
    }),
    { numRuns: 2000 },
  );
});

test("the size is that of RAM, hole included", () => {
  assert.equal(build().domain.memory.size, MEMORY);
});

test("a ROM is where it was put, beside the least and the most memory", () => {
  for (const memory of [1 << 16, MAX_RAM]) {
    const domain = new HvmDomain({ memory, clock: "instructions" });
    domain.addRom({ name: "bios", base: 0xf0000, image: Uint8Array.of(0xea, 0x5b), services: new Map() });
    assert.deepEqual(
      [0, 1, 2].map((at) => domain.memory.read8(0xf0000 + at)),
      [0xea, 0x5b, 0xff],
    );
    domain.memory.write8(0xf0000, 0);
    domain.memory.write8(memory - 1, 0x77);
    assert.deepEqual([domain.memory.read8(0xf0000), domain.memory.read8(memory - 1)], [0xea, 0x77]);
  }
});

test("a ROM that does not fit is refused by name", () => {
  const { domain } = build();
  assert.throws(
    () => domain.addRom({ name: "big", base: 0xc0000, image: new Uint8Array(1 << 20), services: new Map() }),
    /big: a ROM image of 1048576 bytes does not fit at c0000h/,
  );
});
