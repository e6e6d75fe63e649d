/** Micro-benchmarks of the interpreter: each row a loop of one mechanism, in millions of guest instructions a second. */
import { assemble } from "../src/firmware/assembler.ts";
import { EXIT } from "../src/processor/exits.ts";
import { MACHINE } from "../src/processor/memory-map.ts";
import { createMachine } from "./machine.ts";

const CODE = 0x1000;
const DATA = 0x100000;
const STACK = 0x80000;

/** A loop that runs `count` times (ECX) and its length in instructions; `setup` runs once. */
interface Row {
  readonly name: string;
  readonly setup?: string;
  readonly body: string;
  readonly instructions: number;
  readonly count: number;
}

const ROWS: readonly Row[] = [
  { name: "alu", body: "add eax, ecx\nxor edx, eax\nlea ebx, [eax+edx*2]\nsub eax, ebx", instructions: 6, count: 4e6 },
  { name: "flags", body: "adc eax, edx\nsetc bl\ncmp eax, ecx\nsbb edx, edx", instructions: 6, count: 4e6 },
  {
    name: "branches",
    body: "test cl, 1\njz short even\ninc eax\neven:\ncmp eax, ecx\nja short over\ninc edx\nover:",
    instructions: 8,
    count: 3e6,
  },
  {
    name: "memory",
    body: "mov eax, [esi+16]\nadd [esi], eax\nmov [esi+ecx*4], edx\nmovzx edx, byte [esi+1]",
    instructions: 6,
    count: 3e6,
  },
  { name: "stack", body: "push eax\npush ecx\npop eax\npop edx", instructions: 6, count: 4e6 },
  { name: "call", body: "call near target\njmp short back\ntarget:\nret\nback:", instructions: 5, count: 4e6 },
  { name: "indirect", setup: "mov ebx, target", body: "jmp ebx\nnop\ntarget:\ninc eax", instructions: 4, count: 4e6 },
  { name: "multiply", body: "imul eax, ecx\nmul ecx\nimul edx, eax, 7", instructions: 5, count: 3e6 },
  { name: "divide", body: "mov eax, 123456789\nxor edx, edx\ndiv ecx", instructions: 5, count: 3e6 },
  {
    name: "string",
    body: "push ecx\nmov esi, 0x100000\nmov edi, 0x110000\nmov ecx, 64\nrep movsd\npop ecx",
    instructions: 8,
    count: 4e5,
  },
  {
    name: "x87",
    setup: "db 0xd9, 0xe8\ndb 0xd9, 0xe8",
    body: "db 0xd8, 0xc1\ndb 0xd8, 0xc9",
    instructions: 4,
    count: 2e6,
  },
];

/** Run a row; millions of instructions a second of this process's CPU time. */
function measure(row: Row): number {
  const processor = createMachine();
  const { cpu } = processor;
  const source = `${row.setup ?? ""}\nmov ecx, ${row.count}\nagain:\n${row.body}\ndec ecx\njnz near again\nhlt`;
  const { code } = assemble(source, { origin: CODE, bits: 32 });
  cpu.u8.set(code, MACHINE + CODE);
  const once = (): number => {
    cpu.set("eip", CODE);
    cpu.setGpr(4, STACK);
    cpu.setGpr(6, DATA);
    const start = process.cpuUsage().user;
    let reason: number;
    do {
      cpu.set("preemptionTimer", 1 << 20);
      reason = processor.run();
    } while (reason === EXIT.preemptionTimer);
    if (reason !== EXIT.hlt) throw new Error(`${row.name}: stopped by exit ${reason}`);
    return process.cpuUsage().user - start;
  };
  // The first runs pay for the engine's compilers.
  const times = [once(), once(), once(), once()];
  return (row.count * row.instructions) / Math.min(...times);
}

/** All rows by name: MIPS. */
export function runInterpreterBench(report: (name: string, mips: number) => void): Record<string, number> {
  const results: Record<string, number> = {};
  for (const row of ROWS) {
    const mips = measure(row);
    results[row.name] = Math.round(mips * 10) / 10;
    report(row.name, mips);
  }
  return results;
}
