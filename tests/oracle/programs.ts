/**
 * Makes programs of 2 to 20 instructions with branches both ways, calls, faults in the middle and stores into their own
 * code, for the engines that look further than one instruction. They end at an INT3, or where they fault.
 */
import { CaseBuilder } from "./builder.ts";
import { FLAG, type TestCase } from "./case.ts";
import { appendToSequence, SEQUENCE_FORMS } from "./generate.ts";
import { CODE } from "./layout.ts";
import type { Random } from "./random.ts";

const [EBX, EBP, ESI, EDI] = [3, 5, 6, 7];
/** Bytes kept free for what ends a program: a function and its RET. */
const RESERVE = 14;
const LONGEST = 20;
/** Jumps backwards in one run. */
const MOST_ROUNDS = 6;
const RET = 0xc3;
const INT3 = 0xcc;
/** Nothing is mapped here. */
const HOLE = 0xc000;
/** ADD, OR, ADC, SBB, AND, SUB, XOR and CMP with AL and a byte, and MOV to it: what stores into code turn into each other. */
const BYTE_OPCODES = [0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0xb0] as const;

/** A byte that is filled in when all instructions have their places. */
type Fixup = (starts: readonly number[]) => void;

/** A relative branch of which the last `bytes` bytes are the distance. */
function distance(code: number[], bytes: number, target: number): void {
  const from = code.length;
  for (let i = 0; i < bytes; i++) code[from - bytes + i] = ((target - from) >> (8 * i)) & 0xff;
}

/** One program. */
export function programCase(random: Random): TestCase {
  const b = new CaseBuilder(random, { code16: false, operandPrefix: false, addressPrefix: false });
  b.eflags &= ~FLAG.TF;
  b.prepareStack(true);
  for (const register of [EBX, ESI, EDI]) b.registers[register] = 0x9000 - 0x20 + random.below(0x40);
  b.registers[EBP] = random.below(MOST_ROUNDS);
  const starts: number[] = [];
  /** Places of instructions in {@link BYTE_OPCODES}. */
  const changeable: number[] = [];
  const fixups: Fixup[] = [];
  const length = 2 + random.below(LONGEST - 1);
  const { code } = b;
  while (starts.length < length && code.length < CODE.bytes - RESERVE - 10) {
    const start = code.length;
    if (append(b, random, starts, changeable, fixups)) starts.push(start);
    else code.length = start;
  }
  code.push(INT3);
  // What calls lead to.
  const called = code.length;
  starts.push(called);
  code.push(...changeableInstruction(random), RET);
  for (const fixup of fixups) fixup(starts);
  return b.finish(`program of ${length}`);
}

function changeableInstruction(random: Random): [number, number] {
  return [random.pick(BYTE_OPCODES), random.below(256)];
}

/** Append an instruction; false when it came to nothing. */
function append(
  b: CaseBuilder,
  random: Random,
  starts: readonly number[],
  changeable: number[],
  fixups: Fixup[],
): boolean {
  const { code } = b;
  const here = starts.length;
  /** Fill in the distance that ends at the current end of code, to a later instruction. */
  const forward = (bytes: number): void => {
    const end = code.length;
    const choice = random.u32();
    fixups.push((all) => {
      // The function at the end is no target: its RET would lead anywhere.
      const later = all.slice(here + 1, -1);
      const target = later.length > 0 ? later[choice % later.length]! : end;
      for (let i = 0; i < bytes; i++) code[end - bytes + i] = ((target - end) >> (8 * i)) & 0xff;
    });
  };
  switch (random.below(12)) {
    case 0:
      code.push(0x70 | random.below(16), 0);
      forward(1);
      return true;
    case 1:
      code.push(0x0f, 0x80 | random.below(16), 0, 0, 0, 0);
      forward(4);
      return true;
    case 2:
      // Backwards while EBP, which nothing else changes, is above zero.
      if (starts.length === 0) return false;
      code.push(0x4d, 0x7f, 0);
      distance(code, 1, random.pick(starts));
      return true;
    case 3: {
      code.push(0xe8, 0, 0, 0, 0);
      const end = code.length;
      fixups.push((all) => {
        for (let i = 0; i < 4; i++) code[end - 4 + i] = ((all.at(-1)! - end) >> (8 * i)) & 0xff;
      });
      return true;
    }
    case 4:
      changeable.push(code.length);
      code.push(...changeableInstruction(random));
      return true;
    case 5: {
      // MOV byte [place], value: a new opcode or operand for an instruction, before or behind this one.
      code.push(0xc6, 0x05, 0, 0, 0, 0, 0);
      const end = code.length;
      const choice = random.u32();
      const opcode = random.oneIn(2);
      const value = opcode ? random.pick(BYTE_OPCODES) : random.below(256);
      fixups.push((all) => {
        const places = [...changeable, all.at(-1)!];
        const place = b.address + places[choice % places.length]! + (opcode ? 0 : 1);
        for (let i = 0; i < 4; i++) code[end - 5 + i] = (place >> (8 * i)) & 0xff;
        code[end - 1] = value;
      });
      return true;
    }
    case 6:
      if (!random.oneIn(4)) return false;
      // A fault: a page that is not there, read, changed or written to, or no instruction at all.
      if (random.oneIn(4)) code.push(0x0f, 0x0b);
      else code.push(random.pick([0x8b, 0x01, 0x89, 0x33]), 0x0d, 0, HOLE >> 8, 0, 0);
      return true;
    default: {
      const form = random.pick(SEQUENCE_FORMS);
      // Stack instructions would lead RET astray, and branches have their own places above.
      if (form.traits.has("stack") || form.immediate === "jb" || !appendToSequence(b, form)) return false;
      if (b.open.flags === 0) return true;
      b.open.flags = 0;
      return false;
    }
  }
}
