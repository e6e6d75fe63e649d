/** PCI as a guest finds it: configuration mechanism #1, sizing of windows, the functions of the chipset and what they do. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createChipset } from "../../src/devices/chipset.ts";
import type { AccessSize } from "../../src/hypervisor/device.ts";
import { FakeBus, FakeLine } from "../support/device-fakes.ts";
import { FakeClock } from "../support/fake-clock.ts";

const HOST = 0x0000;
const ISA = 0x0800;
const IDE = 0x0900;
const PM = 0x0b00;
const NIC = 0x1800;

/** A chipset on a bus of its own. */
class Board {
  readonly bus = new FakeBus();
  readonly clock = new FakeClock();
  readonly lines = new Map<number, FakeLine[]>();
  readonly events: string[] = [];
  readonly engines = [0, 1].map((channel) => ({
    read: (offset: number) => 0x10 * channel + offset,
    write: (offset: number, _size: AccessSize, value: number) => this.events.push(`${channel}.${offset}=${value}`),
    setEnabled: (enabled: boolean) => this.events.push(`${channel} ${enabled ? "on" : "off"}`),
  }));
  readonly chipset = createChipset({
    bus: this.bus,
    clock: this.clock,
    shadow: {
      shadow: (base, size, read, write) =>
        this.events.push(`${base.toString(16)}+${size.toString(16)} ${read ? "r" : "-"}${write ? "w" : "-"}`),
      openSmram: (open) => this.events.push(`smram ${open}`),
    },
    memory: 192 << 20,
    irq: (irq) => {
      const line = new FakeLine();
      this.lines.set(irq, [...(this.lines.get(irq) ?? []), line]);
      return line;
    },
    engines: this.engines,
    reset: (hard) => this.events.push(hard ? "hard reset" : "soft reset"),
    power: { sleep: (state) => this.events.push(`sleep ${state}`), wake: (state) => this.events.push(`wake ${state}`) },
  });

  constructor() {
    this.take();
  }

  get(register: number, size: AccessSize = 4): number {
    this.bus.out(0xcf8, 4, 0x8000_0000 + (register & ~3));
    return this.bus.in(0xcfc + (register & 3), size);
  }

  set(register: number, value: number, size: AccessSize = 4): void {
    this.bus.out(0xcf8, 4, 0x8000_0000 + (register & ~3));
    this.bus.out(0xcfc + (register & 3), size, value);
  }

  /** What happened since this was last asked. */
  take(): string[] {
    return this.events.splice(0);
  }

  irq(irq: number): boolean {
    return this.lines.get(irq)!.some(({ level }) => level);
  }

  reset(): void {
    for (const [, device] of this.chipset.devices) device.reset();
  }
}

test("the address register takes accesses of four bytes only, and keeps its reserved bits clear", () => {
  const { bus } = new Board();
  bus.out(0xcf8, 4, 0xffffffff);
  assert.equal(bus.in(0xcf8, 4), 0x80fffffc);
  bus.out(0xcf8, 1, 0);
  bus.out(0xcf8, 2, 0);
  bus.out(0xcfa, 2, 0);
  assert.equal(bus.in(0xcf8, 4), 0x80fffffc);
  assert.deepEqual([bus.in(0xcf8, 1), bus.in(0xcf8, 2)], [0xff, 0xffff]);
});

test("functions are found where they are, and nobody elsewhere", () => {
  const board = new Board();
  const found: Record<string, number> = {};
  for (let device = 0; device < 32; device++) {
    for (let fn = 0; fn < 8; fn++) {
      const id = board.get((device << 11) | (fn << 8));
      if (id !== 0xffffffff) found[`${device}.${fn}`] = id;
    }
  }
  assert.deepEqual(found, { "0.0": 0x12378086, "1.0": 0x70008086, "1.1": 0x70108086, "1.3": 0x71138086 });
  assert.equal(board.get(0x10000), 0xffffffff, "bus 1");
  board.bus.out(0xcf8, 4, 0);
  assert.equal(board.bus.in(0xcfc, 4), 0xffffffff, "not enabled");
});

test("registers are read and written in bytes, words and double words; identification never changes", () => {
  const board = new Board();
  assert.deepEqual([board.get(HOST, 2), board.get(HOST + 2, 2), board.get(HOST + 0x0b, 1)], [0x8086, 0x1237, 6]);
  assert.equal(board.get(ISA + 0x0e, 1), 0x80, "other functions");
  board.set(HOST, 0);
  board.set(HOST + 8, 0xffffffff);
  assert.deepEqual([board.get(HOST), board.get(HOST + 8)], [0x12378086, 0x06000002]);
  board.set(HOST + 0x50, 0x1234, 2);
  assert.equal(board.get(HOST + 0x51, 1), 0x12);
  board.set(HOST + 6, 0xffff, 2);
  assert.equal(board.get(HOST + 6, 2), 0x0280);
});

test("a window is sized by writing ones, and decoded where it was put while its space is enabled", () => {
  const board = new Board();
  board.set(IDE + 0x20, 0xffffffff);
  assert.equal(board.get(IDE + 0x20), 0xfffffff1);
  board.set(IDE + 0x20, 0xc009);
  assert.equal(board.get(IDE + 0x20), 0xc001);
  assert.equal(board.bus.in(0xc002), 0xff);
  board.set(IDE + 4, 1, 2);
  assert.deepEqual([board.bus.in(0xc002), board.bus.in(0xc00a)], [0x02, 0x12]);
  board.take();
  board.bus.out(0xc00c, 4, 5);
  board.set(IDE + 4, 5, 2);
  assert.deepEqual(board.take(), ["1.4=5", "0 on", "1 on"]);
  board.set(IDE + 0x20, 0xd000);
  assert.deepEqual([board.bus.in(0xc002), board.bus.in(0xd002)], [0xff, 2]);
  board.set(IDE + 0x20, 0xfffffff0);
  board.set(IDE + 0x20, 0);
  assert.equal(board.bus.in(0), 0xff);
  board.reset();
  assert.deepEqual([board.get(IDE + 4, 2), board.get(IDE + 0x20)], [0, 1]);
});

test("PAM registers say for each segment where reads and writes go", () => {
  const board = new Board();
  board.set(HOST + 0x59, 0xff, 1);
  board.set(HOST + 0x5a, 0x12, 1);
  board.set(HOST + 0x5f, 0x30, 1);
  assert.deepEqual(board.take(), ["f0000+10000 rw", "c0000+4000 -w", "c4000+4000 r-", "ec000+4000 rw"]);
  assert.deepEqual([board.get(HOST + 0x59, 1), board.get(HOST + 0x5a, 1)], [0x70, 0x12]);
  board.reset();
  assert.deepEqual(board.take().filter((event) => event.includes("+")).length, 4);
});

test("SMRAM opens and closes; once locked it stays closed until a reset", () => {
  const board = new Board();
  const smram = HOST + 0x72;
  assert.equal(board.get(smram, 1), 0x02);
  board.set(smram, 0x4a, 1);
  board.set(smram, 0x1a, 1);
  assert.deepEqual([board.take(), board.get(smram, 1)], [["smram true", "smram false"], 0x1a]);
  board.set(smram, 0x4a, 1);
  board.set(smram, 0x02, 1);
  assert.deepEqual([board.take(), board.get(smram, 1)], [[], 0x1a]);
  board.reset();
  board.set(smram, 0x4a, 1);
  assert.ok(board.take().includes("smram true"));
});

test("row boundaries tell the size of memory in units of 8 MB", () => {
  const board = new Board();
  assert.deepEqual(
    Array.from({ length: 8 }, (_, row) => board.get(HOST + 0x60 + row, 1)),
    new Array(8).fill(24),
  );
});

test("interrupt pins are turned by device, meet on PIRQs, and go where the routes say", () => {
  const board = new Board();
  const nic = (device: number, interruptPin: number) =>
    board.chipset.pci.add(device, 0, {
      name: "nic",
      vendor: 1,
      device: 1,
      revision: 0,
      classCode: 0x020000,
      interruptPin,
    });
  // Device 3 INTA# and device 4 INTC# are PIRQ C and B; device 7 INTA# is PIRQ C again.
  const [c, b, again] = [nic(3, 1), nic(4, 3), nic(7, 1)];
  assert.equal(board.get(NIC + 0x3d, 1), 1);
  c.interrupt.set(true);
  for (const irq of [5, 10, 11]) assert.equal(board.irq(irq), false, "not routed");
  board.set(ISA + 0x60, 0x0b800a80, 4);
  board.set(ISA + 0x60, 0x0b0b0a80, 4);
  assert.deepEqual([board.irq(10), board.irq(11)], [false, true]);
  again.interrupt.set(true);
  c.interrupt.set(false);
  assert.equal(board.irq(11), true, "shared");
  b.interrupt.set(true);
  assert.equal(board.irq(10), true);
  board.set(ISA + 0x62, 0x05, 1);
  assert.deepEqual([board.irq(5), board.irq(11)], [true, false]);
  board.set(ISA + 0x62, 0x85, 1);
  assert.equal(board.irq(5), false);
  again.interrupt.set(false);
  b.interrupt.set(false);
  assert.equal(board.irq(10), false);
});

test("port CF9h resets at the rising edge of its bit 2: the processor, or everything", () => {
  const board = new Board();
  board.bus.out(0xcf9, 1, 2);
  assert.equal(board.bus.in(0xcf9, 1), 2);
  board.bus.out(0xcf9, 1, 6);
  board.bus.out(0xcf9, 1, 6);
  board.bus.out(0xcf9, 1, 0);
  board.bus.out(0xcf9, 1, 4);
  assert.deepEqual(board.take(), ["hard reset", "soft reset"]);
});

test("the power management function places its registers and the SMBus host", () => {
  const board = new Board();
  board.set(PM + 0x40, 0x637, 4);
  assert.equal(board.get(PM + 0x40), 0x601);
  assert.equal(board.bus.in(0x608, 4), 0xffffffff);
  board.set(PM + 0x80, 1, 1);
  board.clock.advance(1e9);
  assert.equal(board.bus.in(0x608, 4), 3_579_545);
  assert.deepEqual([board.bus.in(0x608, 1), board.bus.in(0x60a, 1)], [3_579_545 & 0xff, 3_579_545 >> 16]);
  board.set(PM + 0x90, 0x701, 4);
  board.set(PM + 0xd2, 9, 1);
  assert.equal(board.bus.in(0x700), 0xff);
  board.set(PM + 4, 1, 2);
  assert.equal(board.bus.in(0x700), 0);
});

test("an SMBus transfer ends with a device error, since nobody is there", () => {
  const board = new Board();
  board.set(PM + 0x90, 0x701, 4);
  board.set(PM + 0xd2, 9, 1);
  board.set(PM + 4, 1, 2);
  board.bus.out(0x704, 1, 0xa1);
  board.bus.out(0x702, 1, 0x49);
  assert.deepEqual([board.bus.in(0x700), board.irq(9)], [1, false]);
  board.clock.advance(1e6);
  assert.deepEqual([board.bus.in(0x700), board.irq(9)], [4, true]);
  board.bus.out(0x700, 1, 4);
  assert.deepEqual([board.bus.in(0x700), board.irq(9)], [0, false]);
  board.bus.out(0x702, 1, 0x48);
  board.bus.out(0x702, 1, 0x02);
  assert.equal(board.bus.in(0x700), 0x10, "killed");
});
