/** IN and OUT that a hypervisor serves without exits: permission, sizes, kinds of ports, and what leaves the engine. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { InlinePorts } from "../../src/processor/cpu.ts";
import { EXIT } from "../../src/processor/exits.ts";
import { PORT_BYTES, PORT_CLASS, PORT_COUNT, PORT_KIND } from "../../src/processor/memory-map.ts";
import { Random } from "../oracle/random.ts";
import { AT, Guest, RIGHTS, SELECTOR } from "./guest.ts";

const BITMAP = 0x80;
/** The ports of the test: two of each kind of device, and those between. */
const KIND: Readonly<Record<number, number>> = { 32: PORT_KIND.device, 33: PORT_KIND.device, 35: PORT_KIND.latch };
const SIZES = [
  ["al", 1],
  ["ax", 2],
  ["eax", 4],
] as const;

/** A hypervisor that knows the kinds itself, and notes what devices are asked; `table`: the engine knows them, too. */
class Ports implements InlinePorts {
  readonly log: string[] = [];
  readonly #latch = new Uint8Array(PORT_COUNT);
  readonly #guest: Guest;
  wanted = false;

  constructor(guest: Guest, table: boolean) {
    this.#guest = guest;
    const { u8 } = guest.cpu;
    for (let port = 0; port < PORT_COUNT; port++) {
      const kind = KIND[port] ?? PORT_KIND.none;
      u8[PORT_CLASS + port] = table ? kind : PORT_KIND.exit;
      u8[PORT_BYTES + port] = kind === PORT_KIND.none ? 0xff : 0;
    }
    guest.cpu.inlinePorts = this;
  }

  /** Take the hypervisor away again: the machine is shared. */
  remove(): void {
    this.#guest.cpu.u8.fill(PORT_KIND.exit, PORT_CLASS, PORT_CLASS + PORT_COUNT);
    this.#guest.cpu.inlinePorts = undefined;
  }

  /** Where the byte of a latch is kept. */
  #cells(port: number): [Uint8Array, number] {
    const { u8 } = this.#guest.cpu;
    return u8[PORT_CLASS + port] === PORT_KIND.latch ? [u8, PORT_BYTES + port] : [this.#latch, port];
  }

  accepts(): boolean {
    return true;
  }

  read(_pc: number, port: number, bytes: 1 | 2 | 4): number {
    let value = 0;
    for (let i = bytes - 1; i >= 0; i--) {
      const kind = KIND[port + i] ?? PORT_KIND.none;
      const [cells, at] = this.#cells(port + i);
      if (kind === PORT_KIND.device) this.log.push(`read ${port + i}`);
      value = (value << 8) | (kind === PORT_KIND.none ? 0xff : kind === PORT_KIND.latch ? cells[at]! : port + i);
    }
    return value >>> 0;
  }

  write(_pc: number, port: number, bytes: 1 | 2 | 4, value: number): void {
    for (let i = 0; i < bytes; i++) {
      const byte = (value >>> (8 * i)) & 0xff;
      const [cells, at] = this.#cells(port + i);
      if (KIND[port + i] === PORT_KIND.device) this.log.push(`write ${port + i} ${byte}`);
      if (KIND[port + i] === PORT_KIND.latch) cells[at] = byte;
    }
  }

  due(): boolean {
    return false;
  }

  attention(): boolean {
    return this.wanted;
  }
}

/** Random accesses, by a program that may or may not use the ports; what came of them. */
function accesses(seed: number, table: boolean): unknown {
  const random = new Random(seed);
  const user = random.oneIn(3) ? "protected32" : "user32";
  const guest = new Guest(user);
  const ports = new Ports(guest, table);
  const { cpu, view, machine } = guest;
  view.setUint16(AT.tss + 0x66, random.oneIn(5) ? 0x1fb : BITMAP, true);
  for (let i = 0; i < 6; i++) machine.memory[AT.tss + BITMAP + i] = random.oneIn(3) ? random.below(256) : 0;
  if (random.oneIn(8)) {
    guest.descriptor(SELECTOR.tss16, AT.tss, 0x1ff, RIGHTS.tss16);
    cpu.setSegment(7, SELECTOR.tss16, AT.tss, 0x1ff, 0x83);
  }
  const lines: string[] = [];
  for (let i = 0; i < 12; i++) {
    const port = random.below(4) + 32;
    const [register] = SIZES[random.below(3)]!;
    const dx = random.oneIn(2);
    if (dx) lines.push(`mov edx, ${port | 0x50000}`);
    const where = dx ? "dx" : `${port}`;
    lines.push(random.oneIn(2) ? `in ${register}, ${where}` : `out ${where}, ${register}`, "mov ebx, eax", "inc eax");
  }
  guest.set("eax", random.below(1 << 30));
  guest.load(guest.get("eip"), `${lines.join("\n")}\nud2`);
  cpu.setEflags(2 | (random.oneIn(2) ? 0x3000 : 0));
  const vector = guest.runToHandler();
  ports.remove();
  return [vector, ports.log, ["eax", "ebx", "edx"].map((r) => guest.get(r)), guest.stack(6)];
}

test("ports that the engine knows behave as those about which it asks", () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => assert.deepEqual(accesses(seed, true), accesses(seed, false))),
    { numRuns: 400 },
  );
});

test("the engine is left behind an access that makes something due, with the access done", () => {
  const guest = new Guest();
  const ports = new Ports(guest, true);
  ports.wanted = true;
  guest.load(AT.code, "in al, 32\nin al, 33");
  guest.cpu.set("preemptionTimer", 10);
  assert.equal(guest.machine.processor.run(), EXIT.ioInstruction);
  assert.deepEqual([guest.get("eip"), guest.get("eax") & 0xff, ports.log], [AT.code + 2, 32, ["read 32"]]);
  ports.remove();
});

test("a port that keeps a byte, or is not there, needs nobody", () => {
  const guest = new Guest();
  const ports = new Ports(guest, true);
  ports.wanted = true;
  guest.load(AT.code, "mov al, 0x5a\nout 35, al\nout 36, al\nin al, 36\nmov bl, al\nin al, 35\nhlt");
  guest.run();
  assert.deepEqual([guest.get("ebx"), guest.get("eax"), ports.log], [0xff, 0x5a, []]);
  ports.remove();
});
