/** What every device must do, run over the whole machine: resets, saving and restoring in mid-operation, any access at all. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decode, encode } from "../../src/common/cbor.ts";
import { createPc, type Pc } from "../../src/devices/pc.ts";
import { Vga } from "../../src/devices/vga/vga.ts";
import { type AccessSize, OVER_RAM } from "../../src/hypervisor/device.ts";
import { APIC_SIZE, LocalApic } from "../../src/hypervisor/local-apic.ts";
import { shapeProblem } from "../../src/toolstack/saved/shape.ts";
import {
  FakeBus,
  FakeLine,
  FakeMemory,
  fakeCdrom,
  fakeDisk,
  fakeFloppy,
  NO_SHADOW,
  videoMemory,
} from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const VIDEO_MEMORY = 1 << 20;
/** Where a BIOS might put the bus masters. */
const BUS_MASTER = 0xc000;

/** A machine with everything in it. */
class Machine {
  readonly bus = new FakeBus();
  readonly memory = new FakeMemory(1 << 17);
  readonly clock = new FakeClock();
  readonly floppies = [fakeFloppy(1440), fakeFloppy(360, { writeProtected: true })];
  readonly disks = [fakeDisk(1), fakeDisk(1, { readonly: true }), fakeDisk(1)];
  readonly cdrom = fakeCdrom(40);
  readonly vga = new Vga({ clock: this.clock, memory: videoMemory(VIDEO_MEMORY) });
  readonly apic = new LocalApic({
    clock: this.clock,
    timeStamp: () => BigInt(this.clock.now()),
    intr: new FakeLine(),
    place: (device) => this.bus.movableMmio({ name: "apic", size: APIC_SIZE, device }, OVER_RAM),
  });
  readonly pc: Pc;

  constructor() {
    const sink = { write(): void {} };
    this.pc = createPc({
      bus: this.bus,
      memory: this.memory,
      clock: this.clock,
      intr: { set: (level) => this.apic.lint0Changed(level) },
      a20: new FakeLine(),
      shadow: NO_SHADOW,
      reset() {},
      power: { sleep() {}, wake() {} },
      apic: this.apic,
      hpet: true,
      floppies: this.floppies,
      units: [...this.disks, this.cdrom],
      serial: [sink, sink],
      vga: this.vga,
      // An access to VMware's backdoor identifies its pointer.
      registers: { eax: 0x564d5868, ebx: 0x45414552, ecx: 41, edx: 0 },
    });
    this.apic.connect(this.pc.pic);
    this.pc.ide.forEach(({ busMaster }, i) => {
      this.bus.claimPorts({ name: "bmide", base: BUS_MASTER + 8 * i, count: 8, device: busMaster });
    });
  }

  get states(): Record<string, unknown> {
    return Object.fromEntries(this.pc.devices.map(([name, device]) => [name, device.state()]));
  }

  /** A second machine in the state of this one, outside world included. */
  async copy(): Promise<Machine> {
    const copy = new Machine();
    copy.clock.skip(this.clock.now());
    copy.memory.bytes.set(this.memory.bytes);
    this.floppies.forEach((floppy, i) => {
      copy.floppies[i]!.medium.backend.bytes.set(floppy.medium.backend.bytes);
      copy.floppies[i]!.changed = floppy.changed;
    });
    this.disks.forEach((disk, i) => {
      copy.disks[i]!.backend.bytes.set(disk.backend.bytes);
    });
    // By way of the bytes of a saved domain, and of the check that they go through there.
    const states = decode(encode(this.states)) as Record<string, unknown>;
    assert.equal(shapeProblem(states, copy.states, ""), undefined);
    for (const [name, device] of copy.pc.devices) device.restore(states[name]);
    return copy;
  }
}

type Action =
  | { readonly kind: "out"; readonly port: number; readonly size: AccessSize; readonly value: number }
  | { readonly kind: "in"; readonly port: number; readonly size: AccessSize }
  | { readonly kind: "load" | "store"; readonly at: number; readonly size: AccessSize; readonly value: number }
  | { readonly kind: "look" }
  | { readonly kind: "script"; readonly writes: Script }
  | { readonly kind: "wait"; readonly ns: number }
  | { readonly kind: "key"; readonly code: string; readonly down: boolean }
  | { readonly kind: "mouse"; readonly dx: number; readonly buttons: number }
  | { readonly kind: "serial"; readonly count: number }
  | { readonly kind: "memory"; readonly writes: readonly (readonly [gpa: number, value: number])[] }
  | { readonly kind: "acknowledge" };

type Script = readonly (readonly [port: number, value: number, size?: AccessSize])[];

/** A write to configuration space. */
const config = (register: number, value: number, size: AccessSize): Script => [
  [0xcf8, 0x8000_0000 + (register & ~3), 4],
  [0xcfc + (register & 3), value, size],
];

/** Programming sequences that random writes would hardly find. */
const SCRIPTS: readonly Script[] = [
  // Shadow RAM, SMRAM, PIRQ routes; bus masters at C000h.
  config(0x059, 0x30, 1),
  config(0x05a, 0x21, 1),
  config(0x072, 0x4a, 1),
  config(0x072, 0x1a, 1),
  config(0x860, 0x0b0a, 2),
  config(0x920, 0xc001, 4),
  config(0x904, 5, 2),
  [...config(0x920, 0xc001, 4), ...config(0x904, 5, 2), [0xc002, 6], [0xc004, 0x1000, 4], [0xc000, 9]],
  // Power management at 600h: timer and button enabled; sleeping states. SMBus at 700h.
  [...config(0xb40, 0x601, 4), ...config(0xb80, 1, 1), [0x602, 0x101, 2], [0xb2, 0xf1]],
  [[0x604, 0x3001, 2]],
  [[0x604, 0x2401, 2]],
  [[0x600, 0xffff, 2]],
  [[0x628, 2]],
  [...config(0xb90, 0x701, 4), ...config(0xbd2, 9, 1), ...config(0xb04, 1, 2), [0x704, 0xa1], [0x702, 0x49]],
  [[0x700, 0x1e]],
  [[0xcf9, 6]],
  [
    [0x20, 0x11],
    [0x21, 0x08],
    [0x21, 0x04],
    [0x21, 0x01],
    [0x21, 0],
  ],
  [
    [0xa0, 0x11],
    [0xa1, 0x70],
    [0xa1, 0x02],
    [0xa1, 0x01],
    [0xa1, 0],
  ],
  [
    [0x43, 0x34],
    [0x40, 0x00],
    [0x40, 0x08],
  ],
  [
    [0x43, 0x36],
    [0x40, 0x55],
    [0x40, 0x01],
  ],
  [
    [0x43, 0xb6],
    [0x42, 0x33],
    [0x42, 0x05],
    [0x61, 0x03],
  ],
  [
    [0x70, 0x0a],
    [0x71, 0x26],
    [0x70, 0x0b],
    [0x71, 0x72],
  ],
  [
    [0x70, 0x0b],
    [0x71, 0x82],
    [0x70, 0x04],
    [0x71, 0x23],
    [0x70, 0x0b],
    [0x71, 0x22],
  ],
  [
    [0x64, 0x60],
    [0x60, 0x47],
    [0x64, 0xd4],
    [0x60, 0xf4],
  ],
  [
    [0x60, 0xed],
    [0x60, 0x02],
  ],
  [[0x60, 0xff]],
  [[0x3f2, 0x0c]],
  [
    [0x3f2, 0x1c],
    [0x3f5, 0x0f],
    [0x3f5, 0x00],
    [0x3f5, 0x05],
  ],
  [[0x3f5, 0x08]],
  [
    [0x3f5, 0x07],
    [0x3f5, 0x01],
  ],
  // Floppy reads and writes, by DMA and without.
  [
    [0x0c, 0],
    [0x0b, 0x46],
    [0x04, 0],
    [0x04, 0],
    [0x05, 0xff],
    [0x05, 3],
    [0x0a, 2],
  ],
  [
    [0x0c, 0],
    [0x0b, 0x4a],
    [0x04, 0],
    [0x04, 0x10],
    [0x05, 0xff],
    [0x05, 3],
    [0x0a, 2],
  ],
  [
    [0x3f5, 0xe6],
    [0x3f5, 0],
    [0x3f5, 0],
    [0x3f5, 0],
    [0x3f5, 3],
    [0x3f5, 2],
    [0x3f5, 18],
    [0x3f5, 27],
    [0x3f5, 255],
  ],
  [
    [0x3f5, 0xc5],
    [0x3f5, 0],
    [0x3f5, 0],
    [0x3f5, 0],
    [0x3f5, 3],
    [0x3f5, 2],
    [0x3f5, 18],
    [0x3f5, 27],
    [0x3f5, 255],
  ],
  [
    [0x3f5, 0x03],
    [0x3f5, 0xdf],
    [0x3f5, 0x03],
  ],
  [
    [0x3f5, 0x03],
    [0x3f5, 0xdf],
    [0x3f5, 0x02],
  ],
  // Disk reads, writes, identification, resets.
  [
    [0x1f6, 0xe0],
    [0x1f2, 2],
    [0x1f3, 9],
    [0x1f4, 0],
    [0x1f5, 0],
    [0x1f7, 0x20],
  ],
  [
    [0x1f6, 0xe0],
    [0x1f2, 1],
    [0x1f3, 9],
    [0x1f4, 0],
    [0x1f5, 0],
    [0x1f7, 0x30],
  ],
  [
    [0x1f6, 0xf0],
    [0x1f7, 0xec],
  ],
  // Bus-master transfers with a table at 0, which may hold anything.
  [
    [BUS_MASTER, 0],
    [BUS_MASTER + 5, 0],
    [0x1f6, 0xe0],
    [0x1f2, 3],
    [0x1f7, 0xc8],
    [BUS_MASTER, 9],
  ],
  [
    [BUS_MASTER, 0],
    [0x1f6, 0x40],
    [0x1f2, 0],
    [0x1f2, 9],
    [0x1f7, 0x35],
    [BUS_MASTER, 1],
  ],
  // Packets: of twelve bytes through the data register, by PIO and by DMA.
  ...[
    [0x03, 0, 0, 0, 18],
    [0x28, 0, 0, 0, 0, 3, 0, 0, 2],
    [0xbe, 0, 0, 0, 0, 5, 0, 0, 3, 0xf8],
    [0x43, 0, 0, 0, 0, 0, 0, 0, 40],
    [0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 80],
    [0x15, 0, 0, 0, 16],
    [0x1b, 0, 0, 0, 2],
    [0x1b, 0, 0, 0, 3],
    [0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8],
    [0x51, 0, 0, 0, 0, 0, 0, 0, 34],
  ].flatMap((packet) =>
    [0, 1].map((dma): (readonly [number, number])[] => [
      [0x176, 0xb0],
      [0x171, dma],
      [0x174, 0x00],
      [0x175, 0x04],
      [0x177, 0xa0],
      ...Array.from({ length: 12 }, (_, i) => [0x170, packet[i] ?? 0] as const),
      [BUS_MASTER + 8, 9],
    ]),
  ),
  [
    [0x176, 0xb0],
    [0x177, 0x08],
  ],
  [
    [0x176, 0xb0],
    [0x177, 0xa1],
  ],
  [
    [0x1f7, 0xf8],
    [0x1f2, 0],
    [0x1f7, 0xf9],
  ],
  [
    [0x1f1, 0xd0],
    [0x1f4, 0x4f],
    [0x1f5, 0xc2],
    [0x1f7, 0xb0],
  ],
  [
    [0x176, 0xa0],
    [0x172, 4],
    [0x177, 0xc6],
    [0x172, 9],
    [0x173, 1],
    [0x177, 0xc4],
  ],
  [[0x1f7, 0xe7]],
  [
    [0x3f6, 0x04],
    [0x3f6, 0x00],
  ],
  [
    [0x3fa, 0xc7],
    [0x3f9, 0x0f],
    [0x3fc, 0x0b],
  ],
  [
    [0x2fc, 0x1b],
    [0x2f8, 0x55],
  ],
  // The display's windows and modes.
  [...config(0x1010, 0xe000_0000, 4), ...config(0x1018, 0xe100_0000, 4), ...config(0x1004, 3, 2)],
  config(0x1030, 0xe020_0001, 4),
  [
    [0x3c2, 0x63],
    [0x3d4, 0x11],
    [0x3d5, 0x00],
    [0x3d4, 0x01],
    [0x3d5, 0x4f],
    [0x3d4, 0x12],
    [0x3d5, 0x8f],
    [0x3d4, 0x13],
    [0x3d5, 0x28],
    [0x3ce, 0x06],
    [0x3cf, 0x05],
    [0x3ce, 0x08],
    [0x3cf, 0xff],
    [0x3c4, 0x02],
    [0x3c5, 0x0f],
  ],
  [
    [0x1ce, 0x01],
    [0x1cf, 0x40],
    [0x1ce, 0x02],
    [0x1cf, 0x20],
    [0x1ce, 0x03],
    [0x1cf, 0x10],
    [0x1ce, 0x04],
    [0x1cf, 0x41],
    [0x1ce, 0x05],
    [0x1cf, 0x03],
  ],
  [
    [0x1ce, 0x04],
    [0x1cf, 0x00],
  ],
];

const PORTS = new Machine().bus.ranges.flatMap(({ base, count }) => Array.from({ length: count }, (_, i) => base + i));

const port = fc.constantFrom(...PORTS);
const size = fc.constantFrom<AccessSize>(1, 1, 1, 2, 4);
/** Registers of APICs and event timers. */
const LOCAL = 0xfee00000;
const gpa = fc.oneof(
  fc.nat(0x3f).map((register) => LOCAL + register * 16),
  fc.constantFrom(0xfec00000, 0xfec00010),
  fc.nat(0x5f).map((word) => 0xfed00000 + word * 4),
  fc.nat(0xfff).map((offset) => LOCAL + offset),
);
const MEMORY_SCRIPTS: readonly (readonly (readonly [gpa: number, value: number])[])[] = [
  [[LOCAL + 0xf0, 0x1ff]],
  [[LOCAL + 0xb0, 0]],
  [
    [LOCAL + 0xf0, 0x1ff],
    [LOCAL + 0x320, 0x20040],
    [LOCAL + 0x380, 0x10000],
  ],
  [
    [LOCAL + 0xf0, 0x1ff],
    [LOCAL + 0x320, 0x41],
    [LOCAL + 0x380, 0x4000],
  ],
  [
    [LOCAL + 0xf0, 0x1ff],
    [LOCAL + 0x300, 0x40052],
  ],
  // I/O APIC: the timer by edge, interrupts 4 and 10 by level.
  [
    [0xfec00000, 0x14],
    [0xfec00010, 0x30],
  ],
  [
    [0xfec00000, 0x24],
    [0xfec00010, 0x8061],
    [0xfec00000, 0x18],
    [0xfec00010, 0x8062],
  ],
  // Event timers: periodic in the place of the 8254; a level on input 20; the counter set.
  [
    [0xfed00100, 0x14c],
    [0xfed00108, 0x4000],
    [0xfed00108, 0x3000],
    [0xfed00010, 3],
  ],
  [
    [0xfed00140, 0x2806],
    [0xfed00148, 0x9000],
    [0xfed0014c, 0],
    [0xfed00010, 1],
  ],
  [[0xfed000f0, 0x100]],
  [[0xfed00020, 7]],
];
const KEYS = ["KeyA", "ArrowUp", "ShiftLeft", "Pause", "PrintScreen", "Enter"];

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("in" as const), port, size }) },
  {
    weight: 4,
    arbitrary: fc
      .record({ kind: fc.constant("out" as const), port, size, value: fc.nat(0xffff_ffff) })
      .map((out) => (out.size === 4 ? out : { ...out, value: out.value % 2 ** (8 * out.size) })),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        kind: fc.constantFrom("load" as const, "store" as const),
        at: fc.oneof(
          fc.integer({ min: 0xa0000, max: 0xbffff }),
          fc.integer({ min: 0xe0000000, max: 0xe0ffffff }),
          fc.integer({ min: 0xe0000000, max: 0xe000ffff }),
          fc.integer({ min: 0xe1000000, max: 0xe1000fff }),
        ),
        size,
        value: fc.nat(0xffff_ffff),
      })
      .map((access) => (access.size === 4 ? access : { ...access, value: access.value % 2 ** (8 * access.size) })),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("look" as const) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("script" as const), writes: fc.constantFrom(...SCRIPTS) }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ns: fc.constantFrom(0, 1e3, 3e4, 1e6, 7e7, 1.5e9) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("key" as const), code: fc.constantFrom(...KEYS), down: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("mouse" as const),
      dx: fc.integer({ min: -300, max: 300 }),
      buttons: fc.nat(31),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("serial" as const), count: fc.nat(40) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("load" as const, "store" as const),
      at: gpa,
      size,
      value: fc.nat(0xffff_ffff),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("memory" as const), writes: fc.constantFrom(...MEMORY_SCRIPTS) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("acknowledge" as const) }) },
);

/** Do `actions`; returns everything the guest saw. */
async function play(machine: Machine, actions: readonly Action[]): Promise<number[]> {
  const { bus, clock, pc } = machine;
  const seen: number[] = [];
  for (const act of actions) {
    switch (act.kind) {
      case "in":
        seen.push(bus.in(act.port, act.size));
        break;
      case "out":
        bus.out(act.port, act.size, act.value);
        break;
      case "load":
        seen.push(bus.load(act.at, act.size));
        break;
      case "store":
        bus.store(act.at, act.value % 2 ** (8 * act.size), act.size);
        break;
      case "look": {
        const { width, height, rgba } = machine.vga.frame();
        assert.equal(rgba.length, width * height * 4);
        break;
      }
      case "script":
        for (const [at, value, bytes] of act.writes) bus.out(at, bytes ?? 1, value);
        break;
      case "wait":
        // Host work is done before guest time moves on, as under the instruction clock.
        for (let i = 0; i < 30; i++) await Promise.resolve();
        clock.advance(act.ns);
        break;
      case "key":
        pc.keyboard.key(act.code, act.down);
        break;
      case "mouse":
        pc.mouse.move(act.dx, 1, 0, act.buttons);
        break;
      case "serial":
        seen.push(pc.uarts[0]!.receive(new Uint8Array(act.count).fill(0x41)));
        break;
      case "memory":
        for (const [at, value] of act.writes) bus.store(at, value);
        break;
      case "acknowledge":
        if (machine.apic.pending) seen.push(machine.apic.acknowledge());
        break;
    }
  }
  return seen;
}

const actions = fc.array(action, { minLength: 1, maxLength: 60 });

test("no access throws, and no read has bits beyond its size", async () => {
  await fc.assert(
    fc.asyncProperty(actions, async (acts) => {
      const machine = new Machine();
      await play(machine, acts);
      for (const bytes of [1, 2, 4] as const) {
        for (const at of PORTS) {
          const value = machine.bus.in(at, bytes);
          assert.ok(
            Number.isInteger(value) && value >= 0 && value < 2 ** (8 * bytes),
            `port ${at.toString(16)}h: ${value}`,
          );
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("every device, asked directly, answers at every size and offset", () => {
  const { bus } = new Machine();
  for (const { name, count, device } of bus.ranges) {
    for (let offset = 0; offset < count; offset++) {
      for (const bytes of [1, 2, 4] as const) {
        const value = device.read(offset, bytes);
        assert.ok(value >= 0 && value < 2 ** (8 * bytes), `${name}+${offset}`);
        device.write(offset, bytes, 0);
      }
    }
  }
});

test("a machine restored in mid-operation goes on exactly as the original", async () => {
  await fc.assert(
    fc.asyncProperty(actions, actions, async (before, after) => {
      const original = new Machine();
      await play(original, before);
      const copy = await original.copy();
      assert.deepEqual(copy.states, original.states);
      const seen = await play(original, after);
      assert.deepEqual(await play(copy, after), seen);
      assert.deepEqual(copy.states, original.states);
    }),
    { numRuns: 100 },
  );
});

test("states are plain data that later activity does not change", async () => {
  await fc.assert(
    fc.asyncProperty(actions, actions, async (before, after) => {
      const machine = new Machine();
      await play(machine, before);
      const { states } = machine;
      const snapshot = structuredClone(states);
      assert.deepEqual(snapshot, states);
      await play(machine, after);
      assert.deepEqual(states, snapshot);
    }),
    { numRuns: 40 },
  );
});

/** Without the display's counters of changes, which go on for ever. */
function uncounted(states: Record<string, unknown>): Record<string, unknown> {
  return { ...states, vga: { ...(states["vga"] as object), changes: 0, activity: 0 } };
}

test("a reset is the same whatever came before, and done twice it is done once", async () => {
  /** Devices whose reset keeps what a reset button cannot reach: time, CMOS, fingers on keys, bytes on a cable. */
  const keeps = new Set(["rtc", "acpi", "keyboard", "com1", "com2"]);
  const fresh = new Machine();
  fresh.pc.reset();
  await fc.assert(
    fc.asyncProperty(actions, async (acts) => {
      const machine = new Machine();
      await play(machine, acts);
      // No reset closes a tray.
      machine.cdrom.trayOpen = false;
      machine.pc.reset();
      const { states } = machine;
      for (const name of Object.keys(states)) {
        if (!keeps.has(name)) assert.deepEqual(uncounted(states)[name], uncounted(fresh.states)[name], name);
      }
      machine.pc.reset();
      assert.deepEqual(uncounted(machine.states), uncounted(states));
      assert.equal(machine.pc.pic.pending, false);
    }),
    { numRuns: 60 },
  );
});
