/** Display memory that stands in plain memory: what guests read and what is shown is the same as with the device asked. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Vga } from "../../src/devices/vga/vga.ts";
import { assemble } from "../../src/firmware/assembler.ts";
import type { AccessSize, DirectMemory } from "../../src/hypervisor/device.ts";
import { HvmDomain } from "../../src/hypervisor/hvm-domain.ts";
import { videoMemory } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const PLANES = 256 << 10;

const GRAPHICS = 0x1e;
const SEQUENCER = 0x14;
const MISC = 0x12;
const VGA_PORTS = 0x3b0;
const VGA_MEMORY = 0xa0000;
const VGA_SIZE = 0x20000;
const PAGE = 4096;
const TEXT_OFFSET = 0x18000;
/** More writes than it takes to open the memory. */
const MANY = 300;

type Set = (port: number, index: number, value: number) => void;

/** Registers that decide about accesses, as BIOS mode sets leave them. */
const MODES: Readonly<Record<string, (set: Set) => void>> = {
  text(set) {
    set(SEQUENCER, 2, 0x03);
    set(SEQUENCER, 4, 0x02);
    set(GRAPHICS, 4, 0x00);
    set(GRAPHICS, 5, 0x10);
    set(GRAPHICS, 6, 0x0e);
  },
  mono(set) {
    MODES["text"]!(set);
    set(GRAPHICS, 6, 0x0a);
  },
  chained(set) {
    set(SEQUENCER, 2, 0x0f);
    set(SEQUENCER, 4, 0x0e);
    set(GRAPHICS, 5, 0x40);
    set(GRAPHICS, 6, 0x05);
  },
  planar(set) {
    set(SEQUENCER, 2, 0x0f);
    set(SEQUENCER, 4, 0x06);
    set(GRAPHICS, 4, 0x02);
    set(GRAPHICS, 5, 0x00);
    set(GRAPHICS, 6, 0x05);
  },
  masked(set) {
    set(GRAPHICS, 8, 0x0f);
    set(GRAPHICS, 8, 0xff);
  },
};

/** An adapter, with memory that stands in for it if wanted, as a guest reaches it. */
class Adapter {
  readonly vga = new Vga({ clock: new FakeClock(), memory: videoMemory(PLANES) });
  readonly #bytes = new Uint8Array(VGA_SIZE);
  #open = { offset: 0, size: 0 };
  openings = 0;

  constructor(direct: boolean) {
    const memory: DirectMemory = {
      bytes: this.#bytes,
      open: (offset, size) => {
        this.#open = { offset, size };
        this.openings++;
      },
      show: () => assert.fail("the adapter has no memory of its own"),
      close: () => {
        this.#open = { offset: 0, size: 0 };
      },
    };
    if (direct) this.vga.memory.useDirect!(memory);
    this.vga.ports.write(MISC, 1, 0x63);
    this.set(GRAPHICS, 8, 0xff);
  }

  set(port: number, index: number, value: number): void {
    this.vga.ports.write(port, 2, index | (value << 8));
  }

  #direct(at: number, size: number): DataView | undefined {
    const { offset, size: open } = this.#open;
    return at >= offset && at + size <= offset + open ? new DataView(this.#bytes.buffer, at, size) : undefined;
  }

  /** Processors split what crosses a page. */
  write(at: number, size: AccessSize, value: number): void {
    if ((at & (PAGE - 1)) + size > PAGE) {
      for (let i = 0; i < size; i++) this.write(at + i, 1, (value >>> (8 * i)) & 0xff);
      return;
    }
    const direct = this.#direct(at, size);
    if (!direct) this.vga.memory.write(at, size, value);
    else if (size === 1) direct.setUint8(0, value);
    else if (size === 2) direct.setUint16(0, value, true);
    else direct.setUint32(0, value, true);
  }

  read(at: number, size: AccessSize): number {
    if ((at & (PAGE - 1)) + size > PAGE) {
      let value = 0;
      for (let i = 0; i < size; i++) value += this.read(at + i, 1) * 2 ** (8 * i);
      return value;
    }
    const direct = this.#direct(at, size);
    if (!direct) return this.vga.memory.read(at, size);
    return size === 1 ? direct.getUint8(0) : size === 2 ? direct.getUint16(0, true) : direct.getUint32(0, true);
  }
}

const sizes = fc.constantFrom<AccessSize>(1, 2, 4);
const at = fc.nat(VGA_SIZE - 4);
const step = fc.oneof(
  fc.record({ kind: fc.constant("mode" as const), mode: fc.constantFrom(...Object.keys(MODES)) }),
  fc.record({ kind: fc.constant("fill" as const), at, size: sizes, value: fc.nat(), count: fc.nat(700) }),
  fc.record({ kind: fc.constant("write" as const), at, size: sizes, value: fc.nat() }),
  fc.record({ kind: fc.constant("read" as const), at, size: sizes }),
  fc.record({ kind: fc.constant("look" as const) }),
);

test("with and without direct memory guests read the same, and the planes are the same", () => {
  let openings = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
      const adapters = [new Adapter(true), new Adapter(false)];
      const each = (work: (adapter: Adapter) => unknown): void => {
        const [direct, asked] = adapters.map(work);
        assert.deepEqual(direct, asked);
      };
      for (const s of steps) {
        if (s.kind === "mode") each((a) => MODES[s.mode]!((...args) => a.set(...args)));
        else if (s.kind === "write") each((a) => a.write(s.at, s.size, s.value & (2 ** (8 * s.size) - 1)));
        else if (s.kind === "read") each((a) => a.read(s.at, s.size));
        else if (s.kind === "look") each((a) => a.vga.state().memory);
        else
          for (let i = 0; i < s.count; i++)
            each((a) => a.write((s.at + i * s.size) % (VGA_SIZE - 4), s.size, (s.value + i) & 0xff));
      }
      each((a) => a.vga.state().memory);
      openings += adapters[0]!.openings;
    }),
    { numRuns: 50 },
  );
  assert.ok(openings > 0);
});

test("a change in direct memory shows once in the generation, whoever looks first", () => {
  const adapter = new Adapter(true);
  MODES["text"]!((...args) => adapter.set(...args));
  for (let i = 0; i < MANY; i++) adapter.write(TEXT_OFFSET, 2, 0x720);
  assert.equal(adapter.openings, 1);
  const looks = (): [number, number] => [adapter.vga.generation, adapter.vga.guestGeneration];
  const before = looks();
  assert.deepEqual(looks(), before);
  adapter.write(TEXT_OFFSET, 2, 0x741);
  const host = adapter.vga.generation;
  assert.notEqual(host, before[0]);
  assert.notEqual(adapter.vga.guestGeneration, before[1]);
  assert.deepEqual(looks(), [host, adapter.vga.guestGeneration]);
});

test("looks of the host's do not show in the guest's generation", () => {
  const generation = (looking: boolean): number => {
    const adapter = new Adapter(true);
    MODES["text"]!((...args) => adapter.set(...args));
    for (let i = 0; i < MANY; i++) adapter.write(TEXT_OFFSET, 2, 0x720);
    for (const value of [0x741, 0x742, 0x720]) {
      adapter.write(TEXT_OFFSET, 2, value);
      if (looking) assert.ok(adapter.vga.generation > 0);
    }
    return adapter.vga.guestGeneration;
  };
  assert.equal(generation(true), generation(false));
});

test("a guest that only asks whether the screen has changed loses the direct memory, and no change with it", () => {
  const adapter = new Adapter(true);
  MODES["text"]!((...args) => adapter.set(...args));
  for (let i = 0; i < MANY; i++) adapter.write(TEXT_OFFSET, 2, 0x720);
  const before = adapter.vga.generation;
  adapter.write(TEXT_OFFSET, 2, 0x741);
  for (let i = 0; i < 100; i++) assert.ok(adapter.vga.guestGeneration > 0);
  assert.notEqual(adapter.vga.generation, before);
  for (let i = 0; i < 2 * MANY; i++) adapter.write(TEXT_OFFSET, 2, 0x741);
  assert.equal(adapter.openings, 2);
});

test("a guest's stores go to direct memory, and back to the device when it programs another mode", async () => {
  const domain = new HvmDomain({ memory: 4 << 20, clock: "instructions" });
  const vga = new Vga({ clock: domain.clock });
  const asked = { reads: 0, writes: 0 };
  domain.bus.claimPorts({ name: "vga", base: VGA_PORTS, count: 48, device: vga.ports });
  domain.bus.claimPorts({
    name: "off",
    base: 0xf4,
    count: 1,
    width: 1,
    device: { read: () => 0, write: () => domain.powerOff() },
  });
  domain.bus.claimMmio({
    name: "vga",
    base: VGA_MEMORY,
    size: VGA_SIZE,
    device: {
      read(offset, size) {
        asked.reads++;
        return vga.memory.read(offset, size);
      },
      write(offset, size, value) {
        asked.writes++;
        vga.memory.write(offset, size, value);
      },
      useDirect: (memory) => vga.memory.useDirect!(memory),
    },
  });
  const { code } = assemble(
    `mov ecx, 2000
    again: mov [0xb8000 + ecx * 2 - 2], cx
    loop again
    movzx ebx, word [0xb8000 + 2 * 1233]
    mov edx, 0x3ce
    mov ax, 0x0006
    out dx, ax
    mov ax, 0x0e06
    out dx, ax
    mov cx, [0xb8000 + 2 * 77]
    mov byte [0xb8000], 0x55
    out 0xf4, al`,
    { origin: 0x7c00, bits: 32 },
  );
  domain.onReset = () => {
    domain.memory.write(0x7c00, code);
    domain.enter({ mode: "protected", eip: 0x7c00, esp: 0x7000 });
    vga.ports.write(MISC, 1, 0x63);
    const set: Set = (port, index, value) => vga.ports.write(port, 2, index | (value << 8));
    set(GRAPHICS, 8, 0xff);
    MODES["text"]!(set);
  };
  assert.equal((await domain.run()).kind, "poweroff");
  assert.deepEqual([domain.cpu.gpr(3), domain.cpu.gpr(1)], [1234, 78]);
  assert.ok(asked.writes > 1 && asked.writes < MANY, `${asked.writes} writes`);
  assert.equal(asked.reads, 1);
  const { memory } = vga.state();
  const words = new Uint16Array(memory.buffer, memory.byteOffset, memory.length / 2);
  assert.deepEqual([words[0], words[4], words[4 * 1999]], [0x0055, 2, 2000]);
});
