/** Code that another thread generates: the same code, taken in when it comes, and made here when the thread is lost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { assemble } from "../../src/firmware/assembler.ts";
import { DEFAULT_COMPILER } from "../../src/processor/compiler/compiler.ts";
import { Generation, type RegionOrder } from "../../src/processor/compiler/generation.ts";
import { featureNames, modelOf, packOrder, unpackOrder } from "../../src/processor/compiler/generation-job.ts";
import { type GeneratorThread, RegionGenerator, serveGenerator } from "../../src/processor/compiler/generator.ts";
import { discover } from "../../src/processor/compiler/graph.ts";
import { createMachine, type TestMachine } from "../support/machine.ts";

const CODE = 0x1000;
const FLAT_MODE = 7;
const SLICE = 20_000;
const TURNS = 3_000_000;

/** Calls, a computed jump, an x87 and a vector instruction, something called, and a jump into the middle of a block. */
const PROGRAM = `
  start: mov ecx, 5
  again: call routine
  cpuid
  middle: add eax, ecx
  db 0xd9, 0xe8 ; FLD1
  db 0xde, 0xc1 ; FADDP
  db 0x66, 0x0f, 0xef, 0xc1 ; PXOR
  rep movsd
  cmp eax, 7
  ja middle
  dec ecx
  jnz again
  mov edx, start
  jmp edx
  routine: inc ebx
  ret`;

/** The order for the region of PROGRAM. */
function orderOf(bytes: Uint8Array, has: (feature: string) => boolean): RegionOrder {
  const graph = discover(
    {
      bytes,
      bits: 32,
      has,
      page: (distance) => (distance === 0 ? CODE : -1),
      worthwhile: () => 1,
      taken: () => false,
      blocksOn: () => [CODE],
    },
    { head: 0, others: [] },
    { instructions: 200, straight: 200, pages: 1 },
  )!;
  const words = [1, 2, 3, 4, 5, 6];
  return {
    mode: FLAT_MODE,
    graph,
    extra: [5],
    profile: false,
    linkTo: (machine) => machine * 4,
    callOut: (_, count) => ({ arm: count, words }),
  };
}

test("an order that went to another thread gives the same code, entries included", () => {
  const bytes = new Uint8Array(2 * CODE);
  bytes.set(assemble(PROGRAM, { origin: 0, bits: 32 }).code, CODE);
  const everything = modelOf(featureNames(() => true));
  const order = orderOf(bytes, everything);
  assert.ok(order.graph.blocks.size > 6 && order.graph.computed);
  const here = new Generation();
  const there = new Generation();
  const entries = here.add(order);
  assert.deepEqual(there.add(unpackOrder(structuredClone(packOrder(order, bytes)), everything)), entries);
  assert.deepEqual(there.finish(), here.finish());
});

test("features that a CPU model lacks are unknown on the other side, too", () => {
  const model = modelOf(featureNames((feature) => feature !== "sse"));
  assert.deepEqual([model("sse"), model("mmx")], [false, true]);
  assert.equal(modelOf(featureNames(() => false))("mmx"), false);
});

/** A thread that is none: what is posted arrives in a later turn. `held` messages wait for `release`. */
class FakeThread implements GeneratorThread {
  readonly sent: unknown[] = [];
  #receive: (message: unknown) => void = () => {};
  #serve: (message: unknown) => void = () => {};
  #error: (problem: string) => void = () => {};
  #held: unknown[] | undefined;
  stopped = false;

  constructor(hold = false) {
    if (hold) this.#held = [];
    queueMicrotask(() =>
      serveGenerator({
        post: (message) => queueMicrotask(() => this.#receive(message)),
        onMessage: (listener) => {
          this.#serve = listener;
        },
      }),
    );
  }

  post(message: unknown): void {
    this.sent.push(message);
    const copy = structuredClone(message);
    if (this.#held) this.#held.push(copy);
    else queueMicrotask(() => this.#serve(copy));
  }

  release(): void {
    for (const message of this.#held ?? []) this.#serve(message);
    this.#held = undefined;
  }

  fail(problem: string): void {
    this.#error(problem);
  }

  onMessage(listener: (message: unknown) => void): void {
    this.#receive = listener;
  }

  onError(listener: (problem: string) => void): void {
    this.#error = listener;
  }

  stop(): void {
    this.stopped = true;
  }
}

const LOOP = `mov ecx, ${TURNS}\nagain: add eax, ecx\ndec ecx\njnz again\nhlt`;

function machineWith(generator: RegionGenerator): TestMachine {
  const machine = createMachine({ ...DEFAULT_COMPILER, threshold: 100, generator });
  machine.memory.set(assemble(LOOP, { origin: CODE, bits: 32 }).code, CODE);
  machine.invalidate();
  machine.mode("protected32");
  machine.set("eip", CODE);
  return machine;
}

/** Run a slice, and let what was posted arrive; false when the machine has halted. */
async function slice(machine: TestMachine): Promise<boolean> {
  const { kind } = machine.run(SLICE);
  machine.processor.compiler!.poll();
  await setImmediate();
  return kind === "done";
}

async function finish(machine: TestMachine): Promise<void> {
  while (await slice(machine));
  assert.equal(machine.get("eax"), Number(((BigInt(TURNS) * BigInt(TURNS + 1)) / 2n) & 0xffff_ffffn));
}

test("the thread's code is installed and runs", async () => {
  const thread = new FakeThread();
  const generator = new RegionGenerator(() => thread);
  assert.equal(generator.available(), false);
  await setImmediate();
  assert.equal(generator.available(), true);
  const machine = machineWith(generator);
  await finish(machine);
  const { regions, elsewhere, bytes } = machine.processor.compiler!.statistics;
  assert.ok(regions > 0 && elsewhere > 0 && bytes > 0);
  assert.ok(thread.sent.length > 0);
});

test("until the thread is up, code is generated here", async () => {
  const silent: GeneratorThread = { post: () => {}, onMessage: () => {}, onError: () => {}, stop: () => {} };
  const machine = machineWith(new RegionGenerator(() => silent));
  await finish(machine);
  const { regions, elsewhere } = machine.processor.compiler!.statistics;
  assert.ok(regions > 0);
  assert.equal(elsewhere, 0);
});

test("a thread that cannot be started is reported once, and code is generated here", async () => {
  const generator = new RegionGenerator(() => {
    throw new TypeError("no workers");
  });
  const problems: string[] = [];
  generator.onProblem((problem) => problems.push(problem));
  const machine = machineWith(generator);
  await finish(machine);
  assert.ok(machine.processor.compiler!.statistics.regions > 0);
  assert.deepEqual(problems, ["TypeError: no workers"]);
});

test("when the thread is lost, what it had to do is done here", async () => {
  const thread = new FakeThread(true);
  const generator = new RegionGenerator(() => thread);
  generator.available();
  await setImmediate();
  const machine = machineWith(generator);
  while (thread.sent.length === 0) assert.ok(await slice(machine));
  assert.equal(machine.processor.compiler!.statistics.regions, 0);
  thread.fail("out of memory");
  assert.equal(generator.available(), false);
  assert.ok(thread.stopped);
  await finish(machine);
  assert.ok(machine.processor.compiler!.statistics.regions > 0);
  thread.release();
  await setImmediate();
});

test("a job that cannot be done is a problem of the thread's", async () => {
  const thread = new FakeThread();
  const generator = new RegionGenerator(() => thread);
  const problems: string[] = [];
  const forget = generator.onProblem((problem) => problems.push(problem));
  generator.available();
  await setImmediate();
  let answer: unknown = "none";
  const broken = { mode: 0, extra: [], profile: false, words: Float64Array.of(), code: Uint8Array.of() };
  generator.generate({ features: "", orders: [{ ...broken, callOuts: Int32Array.of() }] }, (result) => {
    answer = result;
  });
  await setImmediate();
  assert.equal(answer, undefined);
  assert.equal(problems.length, 1);
  forget();
});

test("code that was written to while its region was being made is not installed", async () => {
  const thread = new FakeThread(true);
  const generator = new RegionGenerator(() => thread);
  generator.available();
  await setImmediate();
  const machine = machineWith(generator);
  while (thread.sent.length === 0) assert.ok(await slice(machine));
  machine.invalidate();
  thread.release();
  await setImmediate();
  assert.equal(machine.processor.compiler!.statistics.regions, 0);
  await finish(machine);
});

test("a thread that never answers is given up", { timeout: 60_000 }, async (context) => {
  const generator = new RegionGenerator(() => new FakeThread(true));
  const problems: string[] = [];
  generator.onProblem((problem) => problems.push(problem));
  generator.available();
  await setImmediate();
  let answer: unknown = "none";
  generator.generate({ features: "", orders: [] }, (result) => {
    answer = result;
  });
  let now = 0;
  context.mock.method(performance, "now", () => (now += 1_000_000));
  assert.equal(generator.available(), true, "the process may have been stopped in between");
  while (generator.available());
  assert.deepEqual([answer, problems], [undefined, ["no answer within 20000 ms"]]);
});
