/** Accesses close to each other by one register: compiled code looks the first up, and the others go by it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { P2M_TYPE } from "../../src/processor/cpu.ts";
import { MACHINE } from "../../src/processor/memory-map.ts";
import { Random } from "../oracle/random.ts";
import { createMachine, type TestMachine, type Tier } from "../support/machine.ts";

const HLT = 0xf4;
const CODE = 0x20000;
const PAGE = 4096;
/** Pages of data, which lie elsewhere in memory in another order; the last is a device's. */
const DATA = 0x40000;
const PAGES = 6;
const SEQUENCES = 200;
const RUNS = 8;
const LENGTH = 20;
/** ESP, EBP, ESI and EDI by number. */
const POINTERS = [4, 5, 6, 7] as const;
const NAMES = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"] as const;

function machineOf(tier: Tier): TestMachine {
  const machine = createMachine(tier);
  machine.mode("protected32");
  const { cpu } = machine.processor;
  for (let page = 0; page < PAGES; page++) {
    const frame = (DATA >> 12) + page;
    if (page === PAGES - 1) cpu.setP2m(frame, -1, P2M_TYPE.ram);
    else cpu.setP2m(frame, MACHINE + DATA + (PAGES - 1 - page) * PAGE, P2M_TYPE.ram);
  }
  return machine;
}

/** ModRM, SIB and displacement of [pointer + displacement] or [pointer + ECX * 4 + displacement]. */
function memory(random: Random, reg: number): number[] {
  const pointer = random.pick(POINTERS);
  const displacement = random.oneIn(4) ? random.below(0x800) - 0x400 : random.below(48) - 24;
  const bytes = [...new Uint8Array(Int32Array.of(displacement).buffer)];
  if (random.oneIn(4)) return [0x84 | (reg << 3), 0x88 | pointer, ...bytes];
  return pointer === 4 ? [0x84 | (reg << 3), 0x24, ...bytes] : [0x80 | (reg << 3) | pointer, ...bytes];
}

function instruction(random: Random): number[] {
  const reg = random.pick([0, 2, 3]);
  switch (random.below(14)) {
    case 0:
      return [0x50 | random.below(8)];
    case 1:
      return [0x58 | random.pick([0, 2, 3])];
    case 2:
      // ADD and SUB of a pointer; LEA.
      return random.oneIn(3)
        ? [0x8d, ...memory(random, random.pick(POINTERS))]
        : [0x83, (random.oneIn(2) ? 0xc0 : 0xe8) | random.pick(POINTERS), random.below(32)];
    case 3:
      // MOV between pointers.
      return [0x89, 0xc0 | (random.pick(POINTERS) << 3) | random.pick(POINTERS)];
    case 4:
      return random.pick([[0x41], [0x46], [0x66, 0x47]]);
    case 5:
    case 6:
      // ADD to memory, of 32 or 8 bits.
      return [random.pick([0x00, 0x01]), ...memory(random, reg)];
    case 7:
      return [0x66, 0x89, ...memory(random, reg)];
    case 8:
      // MOVSD and MOVDQU, there and back.
      return [
        ...random.pick([
          [0xf2, 0x0f, 0x10],
          [0xf2, 0x0f, 0x11],
          [0xf3, 0x0f, 0x6f],
          [0xf3, 0x0f, 0x7f],
        ]),
        ...memory(random, reg),
      ];
    case 9:
      return [0xdd, ...memory(random, random.pick([0, 3]))];
    default:
      return [random.pick([0x8b, 0x89, 0x8a, 0x88]), ...memory(random, reg)];
  }
}

/** All that a run can change, after one from the state that `random` gives. */
function outcome(machine: TestMachine, random: Random): readonly unknown[] {
  const { memory: ram, processor } = machine;
  const { cpu } = processor;
  for (let at = 0; at < PAGES * PAGE; at += 4) ram.set([random.u32() & 0xff], DATA + at);
  for (const name of NAMES) machine.set(name, random.u32());
  machine.set("ecx", random.below(16));
  for (const pointer of POINTERS) {
    // Close to a boundary of pages, as often as not.
    const page = 1 + random.below(PAGES - 1);
    machine.set(NAMES[pointer], DATA + page * PAGE + (random.oneIn(2) ? random.below(64) - 32 : -random.below(2048)));
  }
  machine.set("eflags", 2);
  machine.set("eip", CODE);
  cpu.set("cr4", 0x600);
  cpu.updateVectorGate();
  cpu.set("fcw", 0x37f);
  cpu.set("fsw", 0);
  cpu.set("ftw", 0x3);
  cpu.set("activity", 0);
  const result = machine.run(LENGTH + 1);
  const registers = [...NAMES, "eip", "eflags"].map((name) => machine.get(name).toString(16));
  return [result, registers, Buffer.from(ram.subarray(DATA, DATA + PAGES * PAGE)).toString("base64")];
}

test("accesses by the same registers find in compiled code what they find in the interpreter", () => {
  const machines = [machineOf("interpreter"), machineOf("compiled")] as const;
  let halted = 0;
  for (let seed = 1; seed <= SEQUENCES; seed++) {
    const random = new Random(seed);
    const code = Array.from({ length: LENGTH }, () => instruction(random)).flat();
    for (const machine of machines) {
      machine.memory.set([...code, HLT], CODE);
      machine.invalidate();
    }
    for (let run = 0; run < RUNS; run++) {
      const [expected, found] = machines.map((machine) => outcome(machine, new Random(seed * RUNS + run)));
      assert.deepEqual(found, expected, `sequence ${seed}, run ${run}: ${Buffer.from(code).toString("hex")}`);
      if ((expected![0] as { kind: string }).kind === "halt") halted++;
    }
  }
  assert.ok(halted > (SEQUENCES * RUNS) / 4, `${halted} runs came to the end`);
});
