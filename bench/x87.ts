/** Micro-benchmarks of x87 code in compiled regions: loops of one mechanism each, in ns for one turn. */
import { assemble } from "../src/firmware/assembler.ts";
import { DEFAULT_COMPILER } from "../src/processor/compiler/compiler.ts";
import { MACHINE } from "../src/processor/memory-map.ts";
import { createMachine, timeToHalt } from "./machine.ts";

const CODE = 0x1000;
const DATA = 0x100000;
const STACK = 0x80000;
const TURNS = 300_000;
/** First runs, in which the engine compiles and optimizes, and those that count. */
const RUNS = { warm: 4, measured: 5 } as const;

/** Doubles at ESI that the rows use: factors, a zero, room for results, a start value. */
const DOUBLES = [1.0001, 0.5, 0, 0, 0, 0, 0, 1.37];

/** Bytes of `op /reg [esi+offset]`, and of a register form. */
const memory = (opcode: number, reg: number, offset: number): string => `db ${opcode}, ${0x46 | (reg << 3)}, ${offset}`;
const register = (opcode: number, second: number): string => `db ${opcode}, ${second}`;

const load = (slot: number): string => memory(0xdd, 0, slot * 8);
const storePop = (slot: number): string => memory(0xdd, 3, slot * 8);
const START = 7;
const DROP = register(0xdd, 0xd8);

/** Bodies of the loops; ST(0) is 1.37 around them. */
const ROWS: Readonly<Record<string, readonly string[]>> = {
  // As gcc -mfpmath=387 writes expressions: loads, all four operations, exchange, store, comparison to flags.
  "x87 mixed": [
    load(0), memory(0xdc, 1, 8), load(2), register(0xd8, 0xc1), register(0xd9, 0xc9), memory(0xdc, 5, 8),
    register(0xde, 0xc1), register(0xd9, 0xe8), register(0xde, 0xf1), memory(0xd9, 2, 64), register(0xdf, 0xf0),
  ],
  "x87 add": [load(0), ...new Array<string>(4).fill(register(0xd8, 0xc1)), DROP],
  "x87 mul": [load(0), ...new Array<string>(4).fill(register(0xd8, 0xc9)), DROP],
  "x87 div": [load(0), ...new Array<string>(4).fill(register(0xd8, 0xf1)), DROP],
  "x87 sqrt": [load(0), ...new Array<string>(4).fill(register(0xd9, 0xfa)), DROP],
  "x87 moves": [load(0), load(1), register(0xd9, 0xc9), storePop(3), storePop(4)],
  "x87 int": [load(0), memory(0xdb, 3, 40), memory(0xdb, 0, 40), storePop(6)],
  "x87 order": [load(0), register(0xd8, 0xd1), register(0xdf, 0xe0), register(0xdf, 0xf1)],
}; // biome-ignore format: a table

async function measure(body: readonly string[]): Promise<number> {
  const processor = createMachine(DEFAULT_COMPILER);
  const { cpu } = processor;
  const initialize = register(0xdb, 0xe3);
  const source = `${initialize}\n${load(START)}\nmov ecx, ${TURNS}\nagain:\n${body.join("\n")}\ndec ecx\njnz near again\nhlt`;
  cpu.u8.set(assemble(source, { origin: CODE, bits: 32 }).code, MACHINE + CODE);
  for (const [i, value] of DOUBLES.entries()) cpu.view.setFloat64(MACHINE + DATA + i * 8, value, true);
  const once = (): Promise<number> => timeToHalt(processor, { eip: CODE, esp: STACK, esi: DATA });
  for (let i = 0; i < RUNS.warm; i++) await once();
  const times: number[] = [];
  for (let i = 0; i < RUNS.measured; i++) times.push(await once());
  return (Math.min(...times) * 1000) / TURNS;
}

/** All rows by name: ns for one turn of the loop. */
export async function runX87Bench(report: (name: string, ns: number) => void): Promise<void> {
  for (const [name, body] of Object.entries(ROWS)) report(name, await measure(body));
}
