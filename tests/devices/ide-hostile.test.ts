/** A guest that writes anything into the registers, tables and packets of its drives: nothing throws, nothing leaks out. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CdDrive, Disk } from "../../src/hypervisor/backend.ts";
import { FakeImage, FakeMemory, fakeDisk } from "../support/device-fakes.ts";
import { IdeBench } from "../support/ide-bench.ts";

/** An image that remembers accesses outside of it. */
class Fence extends FakeImage {
  escapes: string[] = [];

  private watch(what: string, offset: number, bytes: Uint8Array): void {
    const inside = Number.isInteger(offset) && offset >= 0 && offset + bytes.length <= this.size;
    if (!inside) this.escapes.push(`${what} of ${bytes.length} bytes at ${offset}`);
  }

  override async read(offset: number, target: Uint8Array): Promise<void> {
    this.watch("read", offset, target);
    await super.read(offset, target);
  }

  override async write(offset: number, source: Uint8Array): Promise<void> {
    this.watch("write", offset, source);
    await super.write(offset, source);
  }
}

/** Memory that remembers what bus masters do where there is none. Tables may lie anywhere. */
class FencedMemory extends FakeMemory {
  escapes = 0;

  override read(gpa: number, target: Uint8Array): void {
    if (!this.answers(gpa, target.length)) this.escapes++;
    super.read(gpa, target);
  }

  override write(gpa: number, source: Uint8Array): void {
    if (!this.answers(gpa, source.length)) this.escapes++;
    super.write(gpa, source);
  }
}

type Step =
  | readonly ["register", register: number, value: number]
  | readonly ["control", value: number]
  | readonly ["data", size: 1 | 2 | 4, count: number]
  | readonly ["string", bytes: number, out: boolean]
  | readonly ["master", offset: number, value: number]
  | readonly ["table", at: number, address: number, word: number]
  | readonly ["packet", bytes: readonly number[], features: number]
  | readonly ["wait", ns: number];

const byte = fc.nat(255);
const word = fc.oneof(fc.nat(0xffff_ffff), fc.nat(0x7fff), fc.constantFrom(0, 0x8000_0000, 0xffff_fffe, 0x8000_fffe));
/** Commands and packets that do something, besides any byte. */
const opcode = fc.oneof(
  byte,
  fc.constantFrom(
    0x08,
    0x20,
    0x24,
    0x25,
    0x29,
    0x30,
    0x34,
    0x35,
    0x39,
    0x40,
    0x42,
    0x90,
    0xa0,
    0xb0,
    0xc4,
    0xc5,
    0xc6,
    0xc8,
    0xca,
    0xe4,
    0xe7,
    0xe8,
    0xef,
    0xf8,
    0xf9,
  ),
);
const packetOpcode = fc.oneof(
  byte,
  fc.constantFrom(
    0x03,
    0x15,
    0x1a,
    0x1b,
    0x25,
    0x28,
    0x2b,
    0x42,
    0x43,
    0x46,
    0x4a,
    0x51,
    0x52,
    0x55,
    0x5a,
    0xa8,
    0xad,
    0xb9,
    0xbd,
    0xbe,
  ),
);
const small = fc.oneof({ weight: 3, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: byte });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant("register" as const), fc.integer({ min: 1, max: 6 }), small) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("register" as const), fc.integer({ min: 1, max: 6 }), byte) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constant("register" as const), fc.constant(6), fc.constantFrom(0xe0, 0xf0, 0xa0, 0xb0)),
  },
  { weight: 4, arbitrary: fc.tuple(fc.constant("register" as const), fc.constant(7), opcode) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("control" as const), fc.constantFrom(0, 2, 4, 0x80, 0xff)) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constant("data" as const), fc.constantFrom(1 as const, 2 as const, 4 as const), fc.nat(600)),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant("string" as const), fc.nat(9000), fc.boolean()) },
  {
    weight: 3,
    arbitrary: fc.tuple(
      fc.constant("master" as const),
      fc.constantFrom(0, 2, 4),
      fc.oneof(word, fc.constantFrom(1, 9)),
    ),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant("table" as const), fc.nat(0x7ff8), word, word) },
  {
    weight: 4,
    arbitrary: fc.tuple(
      fc.constant("packet" as const),
      fc
        .tuple(packetOpcode, fc.array(small, { minLength: 11, maxLength: 11 }))
        .map(([first, rest]) => [first, ...rest]),
      fc.constantFrom(0, 1, 3),
    ),
  },
  { weight: 3, arbitrary: fc.tuple(fc.constant("wait" as const), fc.constantFrom(0, 1e4, 1e5, 1e8)) },
);

async function play(bench: IdeBench, steps: readonly Step[]): Promise<void> {
  for (const act of steps) {
    switch (act[0]) {
      case "register":
        bench.write(act[1], act[2]);
        break;
      case "control":
        bench.ide.control.write(0, 1, act[1]);
        break;
      case "data":
        for (let i = 0; i < act[2]; i++)
          if (i & 1) bench.ide.write(0, act[1], i);
          else assert.ok(bench.ide.read(0, act[1]) >= 0);
        break;
      case "string":
        if (act[2]) bench.ide.writeString(0, 2, new Uint8Array(act[1] & ~1).fill(act[1]));
        else bench.ide.readString(0, 2, new Uint8Array(act[1] & ~1));
        break;
      case "master":
        bench.ide.busMaster.write(act[1], act[1] === 4 ? 4 : 1, act[1] === 4 ? act[2] : act[2] & 0xff);
        break;
      case "table":
        bench.memory.write32(act[1], act[2]);
        bench.memory.write32(act[1] + 4, act[3]);
        break;
      case "packet":
        bench.write(1, act[2]);
        bench.write(7, 0xa0);
        bench.ide.writeString(0, 2, Uint8Array.from(act[1]));
        break;
      case "wait":
        await bench.clock.settle();
        bench.clock.advance(act[1]);
        break;
    }
    for (let register = 1; register < 8; register++) assert.ok(bench.read(register) <= 0xff);
  }
  await bench.clock.settle();
}

test("random registers, tables and packets stay inside memory and images", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (steps) => {
      const image = new Fence(16 * 63 * 512);
      const disc = new Fence(30 * 2048, { readonly: true });
      const disk: Disk = { ...fakeDisk(1), backend: image };
      const drive: CdDrive = { kind: "cdrom", serial: "", model: "", medium: { backend: disc }, trayOpen: false };
      const memory = new FencedMemory(1 << 15);
      const bench = new IdeBench(memory, disk, drive);
      // The first packet would only hear of the reset.
      bench.ide.cdrom(1)!.packets.execute(new Uint8Array(12));
      await play(bench, steps);
      const saved = bench.ide.state();
      bench.ide.reset();
      bench.ide.restore(saved);
      await bench.clock.settle();
      assert.deepEqual([image.escapes, disc.escapes, memory.escapes], [[], [], 0]);
    }),
    { numRuns: 300 },
  );
});
