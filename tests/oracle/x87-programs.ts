/** Makes x87 test cases that are small programs: up to twenty instructions with loops, branches on comparisons, faults. */
import { CaseBuilder, littleEndian, SEGMENT } from "./builder.ts";
import { FLAG, type TestCase } from "./case.ts";
import type { Form } from "./forms.ts";
import { CODE, FPU_IMAGE, USER_DS } from "./layout.ts";
import { Random } from "./random.ts";
import {
  fpuState,
  initialState,
  isDefined,
  memoryOperand,
  operandContent,
  STATUS,
  transcendental,
  X87_FORMS,
} from "./x87.ts";

const [ECX, EBX, ESI, EDI] = [1, 3, 6, 7] as const;
const BASES = [EBX, ESI, EDI] as const;
const WAIT = 0x9b;
/** FNSTSW AX and SAHF: a comparison's order to the flags. */
const ORDER_TO_FLAGS = [0xdf, 0xe0, 0x9e] as const;
/** Linear addresses that are not present, or lead out of the data pages. */
const MISSING = [0x3000, 0x9ffd, 0x7ffe] as const;
const ALL_MASKED = 0x3f;

/** Instructions whose outcome the manual defines to the last bit, and the state they leave. */
const FORMS = X87_FORMS.filter((form) => {
  const operand = memoryOperand(form);
  return transcendental(form) === undefined && operand !== "environment" && operand !== "state" && isDefined(form);
});

const second = (form: Form): number => 0xc0 | ((form.reg as number) << 3) | (form.rm ?? 0);
/** FNSTSW: the condition codes of most instructions are undefined. */
const COMMON = FORMS.filter((form) => {
  const [opcode, reg] = [form.opcode[0] as number, form.reg as number];
  return !(opcode === 0xdd && reg === 7 && form.rm === undefined) && !(opcode === 0xdf && second(form) === 0xe0);
});
const FLAG_COMPARISONS = FORMS.filter(
  ({ opcode, reg, rm }) => rm !== undefined && (opcode[0] === 0xdb || opcode[0] === 0xdf) && (reg === 5 || reg === 6),
);
const COMPARISONS = FORMS.filter(
  ({ opcode, reg, rm }) => rm !== undefined && opcode[0] === 0xd8 && (reg as number) >> 1 === 1,
);

/** `count` programs of a seed. */
export function* x87Programs(seed: number, count: number): Generator<TestCase> {
  const random = new Random(seed);
  for (let i = 0; i < count; i++) yield program(random);
}

function program(random: Random): TestCase {
  const b = new CaseBuilder(random, { code16: false, operandPrefix: false, addressPrefix: false });
  b.eflags &= ~FLAG.TF;
  b.segments[SEGMENT.SS] = USER_DS;
  b.fpu = random.oneIn(2) ? initialState() : fpuState(random, false);
  b.open.status = STATUS.C0 | STATUS.C2 | STATUS.C3;
  for (const register of BASES) b.registers[register] = 0x9000 - 0x30 + random.below(0x60);
  b.registers[ECX] = 1 + random.below(4);
  const faults = ((b.fpu[FPU_IMAGE.control] as number) & ALL_MASKED) === ALL_MASKED && random.oneIn(3);
  const parts: number[][] = [];
  const length = 2 + random.below(19);
  for (let i = 0; i < length; i++) parts.push(instruction(b, faults));
  // Loops are closed at the end, and leave room for it and for FWAIT.
  const loops = random.oneIn(2);
  for (let used = 0, i = 0; i < parts.length; i++) {
    used += parts[i]!.length;
    if (used > CODE.bytes - 4) parts.length = i;
  }
  const branches = parts.flatMap((part, i) => (part[0] === JCC ? [i] : []));
  for (const at of branches) {
    const over = random.below(3);
    const distance = parts.slice(at + 1, at + 1 + over).reduce((sum, part) => sum + part.length, 0);
    parts[at] = [0x70 | random.below(16), distance];
  }
  b.code.push(...parts.flat());
  if (loops) b.code.push(0xe2, -(b.code.length + 2) & 0xff);
  b.code.push(WAIT);
  return b.finish(`x87 program of ${parts.length}`);
}

/** Stands for a branch until it is known how long what it may skip is. */
const JCC = 0x70;

function instruction(b: CaseBuilder, faults: boolean): number[] {
  const { random } = b;
  switch (random.below(12)) {
    case 0:
      return [JCC, 0];
    case 1: {
      const form = random.pick(FLAG_COMPARISONS);
      return [...form.opcode, second(form)];
    }
    case 2: {
      const form = random.pick(COMPARISONS);
      return [...form.opcode, second(form), ...ORDER_TO_FLAGS];
    }
    default:
  }
  const form = random.pick(COMMON);
  if (form.rm !== undefined) return [...form.opcode, second(form)];
  const reg = (form.reg as number) << 3;
  if (faults && random.oneIn(8)) return [...form.opcode, reg | 5, ...littleEndian(random.pick(MISSING), 4)];
  const base = random.pick(BASES);
  const displacement = random.below(64) - 32;
  const operand = memoryOperand(form);
  if (operand !== undefined) b.poke((b.registers[base] as number) + displacement, operandContent(random, operand, 32));
  return [...form.opcode, 0x40 | reg | base, displacement & 0xff];
}
