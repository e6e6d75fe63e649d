/** Micro-benchmarks of instructions on one engine: each row a loop of one mechanism, in ns for a guest instruction. */
import { assemble } from "../src/firmware/assembler.ts";
import type { CompilerOptions } from "../src/processor/compiler/compiler.ts";
import { MACHINE } from "../src/processor/memory-map.ts";
import { CR4 } from "../src/processor/registers.ts";
import { createMachine, timeToHalt } from "./machine.ts";

const CODE = 0x1000;
const DATA = 0x100000;
const STACK = 0x80000;
/** Runs, of which the first pay for the engine's compilers; the best one counts. */
const RUNS = 6;

/** A loop that runs `count` times (ECX) and its length in instructions; `setup` runs once, `tail` stands behind HLT. */
interface Row {
  readonly name: string;
  readonly setup?: string;
  readonly body: string;
  readonly tail?: string;
  readonly instructions: number;
  readonly count: number;
}

const bytes = (...values: number[]): string => `db ${values.join(", ")}`;
/** Functions far apart, each called once in a turn. */
const FUNCTIONS = 600;
const DISTANCE = 200;
const functionAt = (i: number): string => `function${i}`;
/** Instructions of code that is written anew in each turn, six bytes each, and then run once. */
const WRITTEN = 64;

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
    setup: "db 0xdb, 0xe3\ndb 0xd9, 0xe8\ndb 0xd9, 0xe8",
    body: "db 0xd8, 0xc1\ndb 0xd8, 0xc9",
    instructions: 4,
    count: 2e6,
  },
  {
    name: "sse scalar",
    // ADDSD and MULSD XMM0, XMM1; MOVSD [ESI], XMM0
    body: [bytes(0xf2, 0x0f, 0x58, 0xc1), bytes(0xf2, 0x0f, 0x59, 0xc1), bytes(0xf2, 0x0f, 0x11, 0x06)].join("\n"),
    instructions: 5,
    count: 2e6,
  },
  {
    name: "sse packed",
    // PADDD, PXOR and PMULLW XMM0, XMM1; MOVDQU XMM1, [ESI]
    body: [
      bytes(0x66, 0x0f, 0xfe, 0xc1),
      bytes(0x66, 0x0f, 0xef, 0xc1),
      bytes(0x66, 0x0f, 0xd5, 0xc1),
      bytes(0xf3, 0x0f, 0x6f, 0x0e),
    ].join("\n"),
    instructions: 6,
    count: 2e6,
  },
  {
    name: "dispersed",
    body: Array.from({ length: FUNCTIONS }, (_, i) => `call near ${functionAt(i)}`).join("\n"),
    tail: Array.from(
      { length: FUNCTIONS },
      (_, i) => `times ${DISTANCE} db 0x90\n${functionAt(i)}:\nadd eax, ${i}\nxor edx, eax\nret`,
    ).join("\n"),
    instructions: FUNCTIONS * 4 + 2,
    count: 2000,
  },
  {
    name: "cold",
    // ADD EAX, [ESI+n] …, RET, stored where they stood before and called.
    setup: "mov ebx, 0x700000",
    body: `push ecx\nmov edi, ebx\nmov eax, 0x90904603\nmov ecx, ${WRITTEN}\nrep stosd\nmov byte [edi], 0xc3\ncall ebx\npop ecx`,
    instructions: WRITTEN * 3 + 11,
    count: 4000,
  },
];

/** Run a row; ns of this process's CPU time for a guest instruction. */
async function measure(row: Row, compiler: CompilerOptions | undefined): Promise<number> {
  const processor = createMachine(compiler);
  const { cpu } = processor;
  const source = `${row.setup ?? ""}\nmov ecx, ${row.count}\nagain:\n${row.body}\ndec ecx\njnz near again\nhlt\n${row.tail ?? ""}`;
  cpu.u8.set(assemble(source, { origin: CODE, bits: 32 }).code, MACHINE + CODE);
  cpu.set("cr4", cpu.get("cr4") | CR4.OSFXSR);
  cpu.updateMode();
  const once = (): Promise<number> => timeToHalt(processor, { eip: CODE, esp: STACK, esi: DATA });
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) times.push(await once());
  return (Math.min(...times) * 1000) / (row.count * row.instructions);
}

/** All rows by name, on the engine that `compiler` makes: ns for an instruction. */
export async function runInstructionsBench(
  compiler: CompilerOptions | undefined,
  report: (name: string, ns: number) => void,
): Promise<void> {
  for (const row of ROWS) report(row.name, await measure(row, compiler));
}
