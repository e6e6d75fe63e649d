/**
 * How long a loop that was never run before takes to come to its speed: nine tenths of that at the end of a stretch. In the
 * vCPU thread's own time where the system tells it.
 */
import { setImmediate } from "node:timers/promises";
import { assemble } from "../src/firmware/assembler.ts";
import { DEFAULT_COMPILER } from "../src/processor/compiler/compiler.ts";
import { EXIT } from "../src/processor/exits.ts";
import { MACHINE } from "../src/processor/memory-map.ts";
import { NODE_HOST } from "../src/toolstack/node/host.ts";
import { createMachine } from "./machine.ts";
import { threadTime } from "./thread-time.ts";

const CODE = 0x1000;
const DATA = 0x100000;
const STACK = 0x80000;
/** Ms that a loop runs, of which the last ones tell its final speed. */
const LENGTH = 3000;
const FINAL = 1000;
/** Ms over which a speed is taken, and between two turns of the event loop. */
const WINDOW = 25;
const TURN = 8;
/** Instructions of one stay in the guest. */
const STAY = 1 << 20;
const ENOUGH = 0.9;

const FUNCTIONS = 300;
const DISTANCE = 100;
/** Loops without an end. */
const ROWS: Readonly<Record<string, string>> = {
  loop: "again:\nadd eax, ecx\nxor edx, eax\nmov [esi], edx\nadd esi, 4\nand esi, 0x1fffff\nor esi, 0x100000\njmp again",
  nested: "again:\nmov ecx, 100\ninner:\nadd eax, [esi+ecx*4]\nrol eax, 3\ndec ecx\njnz inner\ncall near add\njmp again\nadd:\nadd ebx, eax\nret",
  functions: [
    "again:",
    ...Array.from({ length: FUNCTIONS }, (_, i) => `call near function${i}`),
    "jmp near again",
    ...Array.from({ length: FUNCTIONS }, (_, i) => `times ${DISTANCE} db 0x90\nfunction${i}:\nadd eax, ${i}\nret`),
  ].join("\n"),
  // FLD, FMUL, FADD, FSTP of doubles.
  x87: "db 0xdb, 0xe3\nagain:\ndb 0xdd, 0x06\ndb 0xdc, 0x4e, 0x08\ndb 0xdc, 0x46, 0x10\ndb 0xdd, 0x5e, 0x18\njmp again",
}; // biome-ignore format: a table

const clock = (): number => threadTime() ?? performance.now();
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

/** Ms from the first instruction to the start of the first window that is fast enough. */
async function measure(source: string): Promise<number> {
  const { generator } = NODE_HOST;
  const processor = createMachine({ ...DEFAULT_COMPILER, generator });
  const { cpu } = processor;
  cpu.u8.set(assemble(source, { origin: CODE, bits: 32 }).code, MACHINE + CODE);
  cpu.set("eip", CODE);
  cpu.setGpr(4, STACK);
  cpu.setGpr(6, DATA);
  const start = clock();
  const windows: { at: number; speed: number }[] = [];
  let [from, done] = [start, 0];
  for (let now = start; now - start < LENGTH; ) {
    for (const end = performance.now() + TURN; performance.now() < end; ) {
      cpu.set("preemptionTimer", STAY);
      const reason = processor.run();
      if (reason !== EXIT.preemptionTimer) throw new Error(`benchmark stopped by exit ${reason}`);
      processor.compiler?.poll();
    }
    await setImmediate();
    now = clock();
    if (now - from < WINDOW) continue;
    windows.push({ at: from - start, speed: (processor.instructions - done) / (now - from) });
    [from, done] = [now, processor.instructions];
  }
  const final = median(windows.filter(({ at }) => at >= LENGTH - FINAL).map(({ speed }) => speed));
  return windows.find(({ speed }) => speed >= ENOUGH * final)!.at;
}

/** All loops by name: ms to nine tenths of the final speed. */
export async function runRampBench(report: (name: string, ms: number) => void): Promise<void> {
  for (const [name, source] of Object.entries(ROWS)) report(name, await measure(source));
}
