/** Sequences of scalar SSE instructions: compiled code carries knowledge from one to the next, the interpreter none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FIELD, XMM_REGS, XMM_STRIDE } from "../../src/isa/state.ts";
import { STATE } from "../../src/processor/memory-map.ts";
import { CR0, CR4, VECTOR } from "../../src/processor/registers.ts";
import { Random } from "../oracle/random.ts";
import { createMachine, type TestMachine, type Tier } from "../support/machine.ts";

const HLT = 0xf4;
const CODE = 0x20000;
const DATA = 0x30000;
const DATA_BYTES = 128;
const SEQUENCES = 120;
const RUNS = 24;
const LENGTH = 14;
const REGISTERS = 8;

/** Bits of doubles at the edges of the format, and singles in their upper halves. */
const SPECIAL = [
  0x0000000000000000n, 0x8000000000000000n, 0x3ff0000000000000n, 0xbff8000000000000n, 0x3fd5555555555555n,
  0x0000000000000001n, 0x000fffffffffffffn, 0x8008000000000000n, 0x0010000000000000n, 0x0010000000000001n,
  0x7fefffffffffffffn, 0x7ff0000000000000n, 0xfff0000000000000n, 0x7ff8000000000000n, 0x7ff4000000000001n,
  0x1ff0000000000000n, 0x2000000000000000n, 0x5ff0000000000000n, 0x6000000000000000n, 0x0000000100000001n,
  0x3f8000003f800000n, 0x007fffff00000001n, 0x7f7fffff00800000n, 0x380000003f000000n, 0x47efffffe0000000n,
] as const; // biome-ignore format: a table
/** All masked: after reset, with PE set, with FTZ and DAZ, rounding up; division by zero and invalid unmasked. */
const MXCSR_VALUES = [0x1f80, 0x1fa0, 0x1fa0, 0x1fa0, 0x9fe0, 0x5fa0, 0x1d20] as const;

const MEMORY = -1;
/** Prefix and opcode; whether the operand may be memory; prefix of the form on singles. */
const OPERATIONS = [0x58, 0x59, 0x5c, 0x5e, 0x51, 0x5d, 0x5f, 0x5a, 0x10, 0x11, 0x2e, 0x2f] as const;

class Writer {
  readonly bytes: number[] = [];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  #operand(reg: number, rm: number, bytes: number): void {
    if (rm === MEMORY) this.bytes.push(0x46 | (reg << 3), this.#random.below((DATA_BYTES - 16) / bytes) * bytes);
    else this.bytes.push(0xc0 | (reg << 3) | rm);
  }

  instruction(): void {
    const random = this.#random;
    const reg = random.below(REGISTERS);
    const rm = random.oneIn(3) ? MEMORY : random.below(REGISTERS);
    switch (random.below(12)) {
      case 0:
        // MOVAPS.
        this.bytes.push(0x0f, 0x28, 0xc0 | (reg << 3) | random.below(REGISTERS));
        return;
      case 1:
        // XORPD, UNPCKLPD, MULPD or ADDPS: whole registers among scalar code.
        if (random.oneIn(2)) this.bytes.push(0x66);
        this.bytes.push(0x0f, random.pick([0x57, 0x14, 0x59, 0x58]), 0xc0 | (reg << 3) | random.below(REGISTERS));
        return;
      case 2:
        // CVTSI2SD and MOVD from a general register.
        if (random.oneIn(2)) this.bytes.push(0xf2, 0x0f, 0x2a, 0xc0 | (reg << 3) | random.below(4));
        else this.bytes.push(0x66, 0x0f, 0x6e, 0xc0 | (reg << 3) | random.below(4));
        return;
      default: {
        const opcode = random.pick(OPERATIONS);
        const double = !random.oneIn(5);
        const compare = opcode === 0x2e || opcode === 0x2f;
        if (!compare) this.bytes.push(double ? 0xf2 : 0xf3);
        else if (double) this.bytes.push(0x66);
        this.bytes.push(0x0f, opcode);
        this.#operand(reg, rm, double ? 8 : 4);
      }
    }
  }
}

function machineOf(tier: Tier): TestMachine {
  const machine = createMachine(tier);
  machine.mode("protected32");
  const { cpu } = machine.processor;
  cpu.set("cr0", CR0.PE | CR0.MP | CR0.ET | CR0.NE);
  cpu.set("cr4", CR4.OSFXSR | CR4.OSXMMEXCPT);
  cpu.updateVectorGate();
  cpu.updateMode();
  return machine;
}

/** All that a run can change, after one from the state that `random` gives. */
function outcome(machine: TestMachine, random: Random): readonly unknown[] {
  const { processor, memory } = machine;
  const { cpu } = processor;
  const bits = (): bigint =>
    random.oneIn(3)
      ? random.pick(SPECIAL)
      : (BigInt(random.pick([0x3fe, 0x3ff, 0x402, 0xbff])) << 52n) | (BigInt(random.u32()) << 20n);
  for (let i = 0; i < REGISTERS * 2; i++) {
    const at = STATE + XMM_REGS + (i >> 1) * XMM_STRIDE + (i & 1) * 8;
    cpu.view.setBigUint64(at, bits(), true);
  }
  const data = new DataView(memory.buffer, memory.byteOffset + DATA, DATA_BYTES);
  for (let at = 0; at < DATA_BYTES; at += 8) data.setBigUint64(at, bits(), true);
  for (const register of ["eax", "ecx", "edx", "ebx"]) machine.set(register, random.u32());
  machine.set("esi", DATA);
  machine.set("eflags", 2);
  machine.set("eip", CODE);
  cpu.set("mxcsr", random.pick(MXCSR_VALUES));
  cpu.set("activity", 0);
  const result = machine.run(LENGTH + 1);
  const end = STATE + XMM_REGS + REGISTERS * XMM_STRIDE;
  return [
    result,
    machine.get("eip"),
    machine.get("eflags"),
    cpu.view.getUint32(STATE + FIELD.mxcsr.offset, true).toString(16),
    Buffer.from(cpu.u8.subarray(STATE + XMM_REGS, end)).toString("hex"),
    Buffer.from(memory.subarray(DATA, DATA + DATA_BYTES)).toString("hex"),
  ];
}

test("sequences of scalar floating point leave in compiled code what they leave in the interpreter", () => {
  const machines = [machineOf("interpreter"), machineOf("compiled")] as const;
  let faults = 0;
  for (let seed = 1; seed <= SEQUENCES; seed++) {
    const writer = new Writer(new Random(seed));
    for (let i = 0; i < LENGTH; i++) writer.instruction();
    for (const machine of machines) {
      machine.memory.set([...writer.bytes, HLT], CODE);
      machine.invalidate();
    }
    for (let run = 0; run < RUNS; run++) {
      const [expected, found] = machines.map((machine) => outcome(machine, new Random(seed * RUNS + run)));
      const code = Buffer.from(writer.bytes).toString("hex");
      assert.deepEqual(found, expected, `sequence ${seed}, run ${run}: ${code}`);
      if ((expected![0] as { vector?: number }).vector === VECTOR.XM) faults++;
    }
  }
  assert.ok(faults > 0, "some exceptions were not masked");
});

/** MXCSR after `code` on XMM0, XMM1, XMM2 as given, with PE set and all exceptions masked before. */
function mxcsrAfter(tier: Tier, code: readonly number[], values: readonly number[]): number {
  const { memory, processor, ...machine } = machineOf(tier);
  const { cpu } = processor;
  memory.set([...code, HLT], CODE);
  for (const [number, value] of values.entries())
    cpu.view.setFloat64(STATE + XMM_REGS + number * XMM_STRIDE, value, true);
  cpu.set("mxcsr", 0x1fa0);
  machine.set("eip", CODE);
  assert.equal(machine.run(LENGTH).kind, "halt");
  return cpu.get("mxcsr");
}

for (const tier of ["interpreter", "compiled"] as const) {
  test(`a denormal result is seen by the instruction behind that takes it (${tier})`, () => {
    // MULSD XMM0, XMM1: 2^-1022 by 0.5, exact, so that only the operand of ADDSD XMM2, XMM0 shows it.
    const code = [0xf2, 0x0f, 0x59, 0xc1, 0xf2, 0x0f, 0x58, 0xd0];
    assert.equal(mxcsrAfter(tier, code, [2 ** -1022, 0.5, 1]), 0x1fa2);
  });

  test(`a denormal operand that an invalid operation did not report is seen by the next (${tier})`, () => {
    // SQRTSD XMM0, XMM1 of a negative one, then ADDSD XMM2, XMM1.
    const code = [0xf2, 0x0f, 0x51, 0xc1, 0xf2, 0x0f, 0x58, 0xd1];
    assert.equal(mxcsrAfter(tier, code, [1, -(2 ** -1040), 1]), 0x1fa3);
  });
}
