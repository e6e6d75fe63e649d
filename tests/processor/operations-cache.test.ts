/** The cache of decoded operations is a ring: old blocks make room, and nothing leads to them afterwards. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble } from "../../src/firmware/assembler.ts";
import { DEFAULT_COMPILER } from "../../src/processor/compiler/compiler.ts";
import { createMachine, type TestMachine } from "../support/machine.ts";

const CODE = 0x1000;
const SLED = 0x10_0000;
/** More one-byte instructions than the cache has room for. */
const SLED_BYTES = 0x12_0000;
const INC_EAX = 0x40;

const JMP_EDI = [0xff, 0xe7];
/** What fits in the cache but for a part that {@link LATE_BYTES} needs too. */
const EARLY_BYTES = 0x6_0000;
const LATE_BYTES = SLED_BYTES - EARLY_BYTES - JMP_EDI.length;
const LATE = SLED + EARLY_BYTES + JMP_EDI.length;

/** A machine with a long row of INC EAX that ends with JMP EDI, and `text` at CODE. */
function machineWith(text: string, machine: TestMachine = createMachine("interpreter")): TestMachine {
  machine.mode("protected32");
  machine.memory.fill(INC_EAX, SLED, SLED + SLED_BYTES);
  machine.memory.set(JMP_EDI, SLED + SLED_BYTES);
  machine.memory.set(assemble(text, { origin: CODE, bits: 32 }).code, CODE);
  machine.invalidate();
  for (const register of ["eax", "ebx", "ecx", "edx", "edi", "esi"]) machine.set(register, 0);
  machine.set("eip", CODE);
  return machine;
}

/** Run to HLT: halts end a run before the timer does. */
function finish(machine: TestMachine): void {
  assert.equal(machine.run(1 << 30).kind, "halt");
}

test("code that fills the cache several times over runs as before, and only the oldest blocks are dropped", () => {
  const machine = machineWith(`
    mov ebx, 4
    again: mov edi, back
    jmp ${SLED}
    back: dec ebx
    jnz again
    hlt`);
  const { statistics } = machine.processor.translator;
  const { flushes } = statistics;
  finish(machine);
  assert.equal(machine.get("eax"), 4 * SLED_BYTES);
  assert.equal(statistics.flushes, flushes);
  assert.ok(statistics.evicted > SLED_BYTES / 32, `${statistics.evicted} blocks evicted`);
});

test("a block that led to a dropped one finds the code again", () => {
  // `old` is decoded first; `young`, in the same page, is linked to it a third of a cache later and outlives it.
  const machine = machineWith(`
    mov esi, first
    jmp old
    first: mov edi, second
    jmp ${SLED}
    second: mov esi, third
    jmp young
    third: mov edi, fourth
    jmp ${LATE}
    fourth: mov esi, fifth
    jmp young
    fifth: hlt
    old: inc ebx
    jmp esi
    young: inc ecx
    jmp old`);
  machine.memory.set(JMP_EDI, SLED + EARLY_BYTES);
  finish(machine);
  assert.deepEqual([machine.get("ebx"), machine.get("ecx")], [3, 2]);
  assert.equal(machine.get("eax"), EARLY_BYTES + LATE_BYTES);
  assert.ok(machine.processor.translator.statistics.evicted > 0);
});

test("a store into code whose block was dropped is still seen, and one beside it harms nothing", () => {
  const machine = machineWith(`
    call victim
    mov edi, back
    jmp ${SLED}
    back: mov byte [victim], 0x41
    call victim
    hlt
    victim: inc ebx
    ret`);
  machine.set("esp", 0x9000);
  finish(machine);
  assert.deepEqual([machine.get("ebx"), machine.get("ecx")], [1, 1]);
});

test("compiled code of dropped blocks is found again", () => {
  const options = { ...DEFAULT_COMPILER, threshold: 8, immediate: true };
  const machine = machineWith(
    `
    mov edx, 3
    again: mov ecx, 100
    hot: add ebx, ecx
    dec ecx
    jnz hot
    mov edi, back
    jmp ${SLED}
    back: dec edx
    jnz again
    hlt`,
    createMachine(options),
  );
  finish(machine);
  assert.equal(machine.get("ebx"), 3 * 5050);
  assert.equal(machine.get("eax"), 3 * SLED_BYTES);
  assert.equal(machine.processor.compiler!.statistics.dropped, 0);
});
