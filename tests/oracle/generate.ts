/** Makes test cases: each form in each mode with many operands, and short sequences of instructions. */

import { CaseBuilder, CODE_SELECTORS, littleEndian, type Mode, operandValue, SEGMENT, SELECTORS } from "./builder.ts";
import { FLAG, type TestCase } from "./case.ts";
import { type Form, INTEGER_FORMS } from "./forms.ts";
import { CODE, FPU_IMAGE, USER_DS, WINDOW } from "./layout.ts";
import { Random } from "./random.ts";
import { openDestination, openFlags } from "./undefined.ts";
import {
  fpuState,
  initialState,
  isDefined,
  memoryOperand,
  openStatus,
  operandContent,
  STATUS,
  transcendental,
  X87_FORMS,
} from "./x87.ts";

const ALL_REGISTERS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7];
const [EAX, ECX, EDX, EBX, EBP, ESI, EDI] = [0, 1, 2, 3, 5, 6, 7];

/** Operand size, address size and code segment size in all combinations, the plain ones more often. */
const MODES: readonly Mode[] = [false, true].flatMap((code16) =>
  [false, true].flatMap((operandPrefix) =>
    [false, true].map((addressPrefix) => ({ code16, operandPrefix, addressPrefix })),
  ),
);

/** Control word bits that mask the six x87 exceptions. */
const ALL_MASKED = 0x3f;

/** How many cases `generate` makes of each form in each mode, and of sequences. */
export interface Amount {
  readonly integer: number;
  readonly x87: number;
  readonly sequences: number;
}

/** All cases of a seed, in an order that depends on nothing else. */
export function* generate(seed: number, amount: Amount): Generator<TestCase> {
  const random = new Random(seed);
  for (const form of INTEGER_FORMS) {
    for (const mode of MODES) {
      if (form.traits.has("o32") && mode.code16 !== mode.operandPrefix) continue;
      for (let i = 0; i < amount.integer; i++) yield singleCase(form, mode, random);
    }
  }
  for (const form of X87_FORMS) {
    for (const mode of x87Modes(form)) {
      for (let i = 0; i < amount.x87; i++) yield singleCase(form, mode, random);
    }
  }
  for (let i = 0; i < amount.sequences; i++) yield sequenceCase(random);
  for (let i = 0; i < amount.sequences; i++) yield x87Sequence(random);
}

/** Sizes matter to x87 memory forms only where 16-bit formats or addresses exist. */
function x87Modes(form: Form): readonly Mode[] {
  if (form.rm !== undefined) return MODES.slice(0, 1);
  const operand = memoryOperand(form);
  return operand === "environment" || operand === "state" ? MODES : MODES.slice(0, 2).concat(MODES.slice(4, 5));
}

/** One instruction in one mode. */
function singleCase(form: Form, mode: Mode, random: Random): TestCase {
  const b = new CaseBuilder(random, mode);
  const { traits } = form;
  if (traits.has("shadow")) b.eflags &= ~FLAG.TF;
  // With a 16-bit stack, Intel's ENTER sets BP, AMD's EBP.
  if (form.mnemonic === "ENTER" && b.operandBits === 32) b.segments[SEGMENT.SS] = USER_DS;
  // Where a fault comes in the middle of a POPA, some processors have changed registers already.
  if (traits.has("stack")) b.prepareStack(traits.has("half") || form.mnemonic === "POPA");
  b.open.fault = traits.has("several");
  if (traits.has("string") || traits.has("io")) prepareString(b, traits.has("io"));
  const isX87 = (form.opcode[0] as number) >= 0xd8 && (form.opcode[0] as number) <= 0xdf;
  if (isX87 || form.mnemonic === "FWAIT") b.fpu = fpuState(random, transcendental(form) !== undefined);

  const prefixes: number[] = [];
  const names: string[] = [];
  if (mode.operandPrefix) prefixes.push(0x66);
  if (mode.addressPrefix) prefixes.push(0x67);
  let override: number | undefined;
  // ARPL that changes nothing: whether the operand must be writable is the processor's affair.
  if (random.oneIn(6) && form.mnemonic !== "ARPL") {
    override = random.below(6);
    prefixes.push(b.override(override));
    names.push(["es:", "cs:", "ss:", "ds:", "fs:", "gs:"][override] as string);
  }
  const repeated =
    traits.has("string") || traits.has("io") ? !random.oneIn(3) : !traits.has("norep") && random.oneIn(40);
  if (repeated) {
    const prefix = random.pick([0xf2, 0xf3]);
    prefixes.push(prefix);
    names.push(prefix === 0xf2 ? "repne" : "rep");
  }
  const memory = form.modrm?.memory === true && (!form.modrm.register || !random.oneIn(3) || form.rm !== undefined);
  const isMemory = form.rm === undefined && memory;
  if (isMemory && traits.has("lock") ? random.oneIn(4) : !traits.has("nolock") && random.oneIn(60)) {
    prefixes.push(0xf0);
    names.push("lock");
  }
  shuffle(prefixes, random);
  b.code.push(...prefixes, ...form.opcode);

  let operands = "";
  if (form.modrm !== undefined && isMemory) operands = memoryForm(b, form, override);
  else if (form.modrm !== undefined) operands = registerForm(b, form);
  immediate(b, form, override);
  stackContent(b, form);
  if (traits.has("xlat")) {
    const al = (b.registers[EAX] as number) & 0xff;
    b.setAddress(EBX, b.target() - b.base(b.segments[override ?? SEGMENT.DS] as number) - al, b.addressBits);
  }
  if (form.mnemonic.startsWith("LOOP") || form.mnemonic === "JCXZ") {
    if (random.oneIn(2)) b.setAddress(ECX, random.below(3), b.addressBits);
  }
  settleUndefined(b, form);
  // A few cases end at the last byte of the code pages: the instruction's tail, or what follows it, is not present.
  if (random.oneIn(150) && !traits.has("whole") && (!isX87 || isDefined(form)))
    b.address = CODE.base + CODE.size - random.below(b.code.length + 1);
  const size = `o${b.operandBits} a${b.addressBits}${mode.code16 ? " cs16" : ""}`;
  return b.finish([...names, formName(form), operands, size].filter((s) => s !== "").join(" "));
}

/** A form's name: mnemonic and opcode. */
export function formName(form: Form): string {
  const code = form.opcode.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const digit = form.reg === undefined ? "" : `/${form.reg}${form.rm === undefined ? "" : `.${form.rm}`}`;
  return `${form.mnemonic} ${code}${digit}`;
}

function shuffle(list: number[], random: Random): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [list[i], list[j]] = [list[j] as number, list[i] as number];
  }
}

/** Bytes of the operand of an integer instruction. */
function width(b: CaseBuilder, form: Form): number {
  return form.width === "v" ? b.operandBits / 8 : form.width;
}

function registerForm(b: CaseBuilder, form: Form): string {
  const rm = form.rm ?? b.random.below(8);
  const reg = form.reg ?? regField(b, form);
  b.code.push(0xc0 | (reg << 3) | rm);
  if (form.traits.has("near")) b.registers[rm] = codeTarget(b);
  if (form.traits.has("selector")) {
    // Any other selector must name the local table: the host's global one has entries that the engine's has not.
    b.setAddress(rm, b.random.oneIn(20) ? b.random.u32() | 4 : b.random.pick(SELECTORS), 16);
  }
  if (form.mnemonic === "ARPL") b.setAddress(reg, b.random.pick(SELECTORS), 16);
  if (form.traits.has("div")) prepareDivision(b, form, rm);
  return "r";
}

/** The reg field of an instruction that has a register operand: any, but the right kind for segment registers. */
function regField(b: CaseBuilder, form: Form): number {
  return form.mnemonic === "MOV-Ew-Sw" ? b.random.below(b.random.oneIn(8) ? 8 : 6) : b.random.below(8);
}

function memoryForm(b: CaseBuilder, form: Form, override: number | undefined): string {
  // A store that an unmasked exception suppresses: whether it would have faulted is the processor's affair.
  const unmasked = ((b.fpu[FPU_IMAGE.control] as number) & ALL_MASKED) !== ALL_MASKED;
  const linear = unmasked ? WINDOW.base + 0x70 + b.random.below(0x20) : b.target();
  const placed = b.place(linear, override, form.traits.has("stack"));
  const free = ALL_REGISTERS.filter((register) => !placed.registers.includes(register));
  // A bit offset reaches beyond the operand: in a register of the address it could lead anywhere.
  const reg = form.reg ?? (form.traits.has("bits") ? b.random.pick(free) : regField(b, form));
  const [modrm, ...rest] = placed.bytes as [number, ...number[]];
  b.code.push(modrm | (reg << 3), ...rest);
  const bytes = width(b, form);
  const { random, operandBits } = b;
  const address = effectiveLinear(b, placed.bytes, override ?? placed.segment);
  if (form.traits.has("near")) b.pokeValues(address, bytes, codeTarget(b));
  if (form.traits.has("selector")) b.pokeValues(address, 2, random.pick(SELECTORS));
  if (form.traits.has("far")) {
    b.pokeValues(address, bytes, codeTarget(b));
    b.pokeValues(address + bytes, 2, random.pick(CODE_SELECTORS));
  }
  if (form.traits.has("pointer")) b.pokeValues(address + bytes, 2, random.pick(SELECTORS));
  if (form.mnemonic === "BOUND") b.pokeValues(address, bytes, operandValue(random), operandValue(random));
  if (form.traits.has("bits")) b.setAddress(reg, random.below(4096) - 2048, 32);
  if (form.traits.has("div")) {
    b.pokeValues(address, bytes, divisor(random));
    if (free.includes(EAX) && free.includes(EDX)) prepareDivision(b, form, undefined);
  }
  if (form.mnemonic.startsWith("CMPXCHG") && free.includes(EAX) && free.includes(EDX) && random.oneIn(2)) {
    matchAccumulator(b);
  }
  const operand = memoryOperand(form);
  if (operand !== undefined) {
    b.poke(address, operandContent(random, operand, operandBits));
    if (operand === "environment" || operand === "state") {
      b.open.fault = true;
      const half = operandBits / 8;
      b.open.memory = { from: address + 3 * half, to: address + 7 * half };
    }
  }
  return `m ${placed.kind}`;
}

/** Linear address of an encoded memory operand, from the registers as they are now. */
function effectiveLinear(b: CaseBuilder, bytes: readonly number[], segment: number): number {
  const modrm = bytes[0] as number;
  const mod = modrm >> 6;
  const rm = modrm & 7;
  const r = (n: number): number => b.registers[n] as number;
  const signed = (at: number, count: number): number => {
    let value = 0;
    for (let i = 0; i < count; i++) value |= (bytes[at + i] as number) << (8 * i);
    return count === 1 ? (value << 24) >> 24 : value;
  };
  const base = b.base(b.segments[segment] as number);
  if (b.addressBits === 16) {
    if (mod === 0 && rm === 6) return base + (signed(1, 2) & 0xffff);
    const sum = [r(EBX) + r(ESI), r(EBX) + r(EDI), r(EBP) + r(ESI), r(EBP) + r(EDI), r(ESI), r(EDI), r(EBP), r(EBX)];
    return base + (((sum[rm] as number) + signed(1, mod)) & 0xffff);
  }
  let at = 1;
  let sum = 0;
  let baseRegister = rm;
  if (rm === 4) {
    const sib = bytes[at++] as number;
    baseRegister = sib & 7;
    if (((sib >> 3) & 7) !== 4) sum = r((sib >> 3) & 7) << (sib >> 6);
  }
  const displacement = mod === 1 ? 1 : mod === 2 || (mod === 0 && baseRegister === 5) ? 4 : 0;
  if (!(mod === 0 && baseRegister === 5)) sum += r(baseRegister);
  return (base + sum + signed(at, displacement)) >>> 0;
}

/** An address in the code pages where only INT3 stands; sometimes one that is not present, or beyond 64 KB. */
function codeTarget(b: CaseBuilder): number {
  const kind = b.random.below(40);
  if (kind === 0) return 0x3000;
  if (kind === 1) return 0x12345;
  return CODE.base + 0x1000 + b.random.below(0xf00);
}

function divisor(random: Random): number {
  return random.oneIn(3) ? 1 + random.below(300) : operandValue(random);
}

/** Give a division a dividend whose quotient fits, most of the time. */
function prepareDivision(b: CaseBuilder, form: Form, rm: number | undefined): void {
  const { random, registers } = b;
  if (rm !== undefined && rm !== EDX && rm !== EAX) registers[rm] = divisor(random);
  const kind = random.below(4);
  if (kind === 0) return;
  const bytes = width(b, form);
  if (bytes === 1) b.setAddress(EAX, kind === 1 ? (random.u32() << 24) >> 24 : random.below(0x300), 16);
  else
    b.setAddress(
      EDX,
      kind === 1 ? -(((registers[EAX] as number) >>> (bytes * 8 - 1)) & 1) : random.below(8),
      bytes * 8,
    );
}

/** Pointers for string instructions, and a small count; not zero for I/O, whose permission some check all the same. */
function prepareString(b: CaseBuilder, io: boolean): void {
  const bits = b.addressBits;
  b.setAddress(ESI, b.target(), bits);
  b.setAddress(EDI, b.target(), bits);
  b.setAddress(ECX, 1 + b.random.below(8), bits);
  if (!io && b.random.oneIn(8)) b.setAddress(ECX, 0, bits);
  // Comparisons should meet equal elements, too.
  if (b.random.oneIn(2)) b.window.fill(b.random.below(256));
  const at = b.random.below(b.window.length);
  b.window[at] = (b.window[at] as number) ^ 1;
  if (b.random.oneIn(2)) b.registers[EAX] = Math.imul(b.window[0] as number, 0x01010101);
}

/** Make the accumulator equal to what lies in the middle of the window, so that CMPXCHG finds it. */
function matchAccumulator(b: CaseBuilder): void {
  const fill = b.random.below(256);
  b.window.fill(fill);
  b.registers[EAX] = Math.imul(fill, 0x01010101);
  if (b.random.oneIn(2)) b.registers[EDX] = b.registers[EAX] as number;
}

function immediate(b: CaseBuilder, form: Form, override: number | undefined): void {
  const { random, code } = b;
  const bytes = b.operandBits / 8;
  switch (form.immediate) {
    case "-":
      return;
    case "b":
      // With one third of the probability a number that means something as a shift count.
      code.push((random.oneIn(3) ? random.below(34) : operandValue(random)) & 0xff);
      return;
    case "w":
      // RETF to another privilege level looks beyond the parameters: they must end in the window.
      code.push(
        ...littleEndian(form.traits.has("retf") || random.oneIn(2) ? random.below(32) : operandValue(random), 2),
      );
      return;
    case "z":
      code.push(...littleEndian(operandValue(random), bytes));
      return;
    case "wb":
      code.push(...littleEndian(random.below(64), 2), random.oneIn(2) ? random.below(4) : random.below(256));
      return;
    case "far":
      code.push(...littleEndian(codeTarget(b), bytes), ...littleEndian(random.pick(CODE_SELECTORS), 2));
      return;
    case "moffs": {
      const base = b.base(b.segments[override ?? SEGMENT.DS] as number);
      code.push(...littleEndian(b.target() - base, b.addressBits / 8));
      return;
    }
    case "jb":
      // Never back into the instruction itself: that would not end.
      code.push(random.oneIn(2) ? random.below(128) : 0x80 + random.below(0x60));
      return;
    case "jz":
      code.push(...littleEndian(codeTarget(b) - (b.address + code.length + bytes), bytes));
      return;
    case "int":
      code.push(random.pick([0, 1, 2, 3, 4, 5, 6, 8, 13, 14, 0x10, 0x21, 0x30, 0x7f, 0x81, 0xff]));
  }
}

/** What returns and pops find on the stack. */
function stackContent(b: CaseBuilder, form: Form): void {
  const { random, operandBits, stackTop: top } = b;
  const { traits } = form;
  const bytes = operandBits / 8;
  if (traits.has("ret")) b.pokeValues(top, bytes, codeTarget(b));
  if (traits.has("retf") || traits.has("iret")) b.pokeValues(top, bytes, codeTarget(b), random.pick(CODE_SELECTORS));
  if (traits.has("iret")) b.pokeValues(top + 2 * bytes, bytes, poppedFlags(random));
  if (traits.has("half") && bytes === 4) b.open.memory = { from: top - 2, to: top };
  if (traits.has("popseg")) b.pokeValues(top, 2, random.pick(SELECTORS));
  if (traits.has("popf")) {
    b.pokeValues(top, bytes, poppedFlags(random));
    if (random.oneIn(8)) b.eflags |= FLAG.NT;
  }
  if (form.mnemonic === "LEAVE" || form.mnemonic === "ENTER") b.setAddress(EBP, b.target() & ~1, b.stackBits);
}

/** Any flags but alignment checks, which the next instruction would feel, and seldom the trap flag. */
function poppedFlags(random: Random): number {
  const flags = random.u32() & ~FLAG.AC;
  return random.oneIn(10) ? flags : flags & ~FLAG.TF;
}

/** Work out what the manual leaves open in a single instruction's result. */
function settleUndefined(b: CaseBuilder, form: Form): void {
  const bits = width(b, form) * 8;
  const count = shiftCount(b, form);
  b.open.flags = openFlags(form.undefinedClass, bits, count);
  b.open.destination = openDestination(form.undefinedClass, bits, count);
  b.open.status = openStatus(form);
  const name = transcendental(form);
  if (name === undefined) return;
  b.open.ulps = 2;
  const exponent = new DataView(b.fpu.buffer).getUint16(36, true) & 0x7fff;
  // Outside its domain F2XM1 and FYL2XP1 are undefined; far from zero the length of π decides about the others.
  const limit =
    name === "F2XM1" || name === "FYL2XP1" ? 0x3ffd : name === "FPATAN" || name === "FYL2X" ? 0x7fff : 0x4000;
  if (exponent >= limit && exponent !== 0x7fff) {
    b.open.destination = true;
    b.open.status |= STATUS.C1 | 0x3f;
  }
}

/** A shift's count, or undefined if the form is not a shift. */
function shiftCount(b: CaseBuilder, form: Form): number | undefined {
  const opcode = form.opcode.at(-1) as number;
  const extendedMap = form.opcode.length > 1;
  if (form.immediate === "b") return b.code.at(-1);
  if (!extendedMap && (opcode === 0xd0 || opcode === 0xd1)) return 1;
  return b.registers[ECX] as number & 0xff;
}

/** Registers that sequences write; the others hold addresses. */
const FREE = [EAX, ECX, EDX] as const;
/** Forms that sequences are made of. */
export const SEQUENCE_FORMS = INTEGER_FORMS.filter((form) => form.traits.has("seq"));
const X87_SEQUENCE_FORMS = X87_FORMS.filter((form) => {
  const operand = memoryOperand(form);
  return transcendental(form) === undefined && operand !== "environment" && operand !== "state" && isDefined(form);
});

/** Two to six integer instructions in a row. */
function sequenceCase(random: Random): TestCase {
  const mode = random.pick(MODES.filter((m) => !m.operandPrefix && !m.addressPrefix));
  const b = new CaseBuilder(random, mode);
  b.eflags &= ~FLAG.TF;
  b.prepareStack(true);
  for (const register of [EBX, EBP, ESI, EDI]) b.registers[register] = 0x9000 - 0x20 + random.below(0x40);
  const length = 2 + random.below(5);
  for (let done = 0; done < length; ) {
    const form = random.pick(SEQUENCE_FORMS);
    if (b.open.flags !== 0 && form.traits.has("in")) continue;
    if (appendToSequence(b, form)) done++;
  }
  return b.finish(`sequence of ${length}${mode.code16 ? " cs16" : ""}`);
}

/** Append one instruction with operands that keep addresses intact; false when the form does not allow it. */
export function appendToSequence(b: CaseBuilder, form: Form): boolean {
  const { random, code } = b;
  const start = code.length;
  const last = form.opcode.at(-1) as number;
  const inOpcode =
    form.modrm === undefined && form.opcode.length === (last >= 0xc8 && form.opcode.length === 2 ? 2 : 1);
  const namesRegister =
    inOpcode &&
    ((last >= 0x40 && last < 0x60) ||
      (last >= 0x90 && last < 0x98) ||
      (last >= 0xb0 && last < 0xc0) ||
      form.opcode.length === 2);
  if (namesRegister && (last & 3) === 3) return false;
  if (namesRegister && last < 0xb0 && last >= 0x40 && (last & 7) > 2) return false;
  if (namesRegister && (last >= 0xb8 || form.opcode.length === 2) && (last & 7) > 2) return false;
  if (b.mode.code16 ? random.oneIn(3) && !form.traits.has("stack") : random.oneIn(4)) code.push(0x66);
  const bits = code.length > start === b.mode.code16 ? 32 : 16;
  if (form.traits.has("o32") && bits === 16) code.push(...(b.mode.code16 ? [0x66] : []));
  if (form.traits.has("o32") && code.length > start !== b.mode.code16) {
    code.length = start;
    return false;
  }
  code.push(...form.opcode);
  const bytes = form.width === "v" ? bits / 8 : form.width;
  if (form.modrm !== undefined) {
    // High bytes of the free registers are free, too: with byte operands the numbers 4, 5 and 6 are AH, CH and DH.
    const wide = form.mnemonic.startsWith("MOVZX") || form.mnemonic.startsWith("MOVSX");
    const reg = form.reg ?? random.pick(FREE) + (bytes === 1 && !wide && random.oneIn(3) ? 4 : 0);
    if (form.modrm.memory && random.oneIn(2)) {
      const a16 = b.mode.code16;
      const rm = a16 ? random.pick([4, 5, 7]) : random.pick([EBX, ESI, EDI]);
      code.push(0x40 | (reg << 3) | rm, (random.below(64) - 32) & 0xff);
    } else {
      code.push(0xc0 | (reg << 3) | (random.pick(FREE) + (bytes === 1 && random.oneIn(3) ? 4 : 0)));
    }
  }
  const size = form.immediate === "b" || form.immediate === "jb" ? 1 : form.immediate === "z" ? bits / 8 : 0;
  // Jumps go to the next instruction or behind the sequence, never into the middle of one.
  if (form.immediate === "jb") code.push(random.oneIn(3) ? 0 : 0x40 + random.below(0x40));
  else if (form.immediate === "moffs")
    code.push(...littleEndian(0x9000 - 0x20 + random.below(0x40), b.addressBits / 8));
  else code.push(...littleEndian(random.oneIn(2) ? random.below(32) : operandValue(random), size));
  const opcodeByte = form.opcode.length === 1 ? last : -1;
  const count = form.immediate === "b" ? code.at(-1) : opcodeByte === 0xd0 || opcodeByte === 0xd1 ? 1 : undefined;
  if (openDestination(form.undefinedClass, bytes * 8, count)) {
    code.length = start;
    return false;
  }
  b.open.flags |= openFlags(form.undefinedClass, bytes * 8, count);
  return true;
}

/** Two to seven x87 instructions in a row, with an FWAIT behind them. */
function x87Sequence(random: Random): TestCase {
  const b = new CaseBuilder(random, { code16: false, operandPrefix: false, addressPrefix: false });
  b.eflags &= ~FLAG.TF;
  b.fpu = random.oneIn(3) ? initialState() : fpuState(random, false);
  b.open.status = STATUS.C0 | STATUS.C2 | STATUS.C3;
  for (const register of [EBX, ESI, EDI]) b.registers[register] = 0x9000 - 0x30 + random.below(0x60);
  const length = 2 + random.below(6);
  for (let i = 0; i < length; i++) {
    const form = random.pick(X87_SEQUENCE_FORMS);
    const storesStatus = form.opcode[0] === 0xdd && form.reg === 7;
    const storesAx = form.opcode[0] === 0xdf && form.reg === 4;
    if (storesStatus || storesAx) continue;
    b.code.push(...form.opcode);
    if (form.rm !== undefined) {
      b.code.push(0xc0 | ((form.reg as number) << 3) | form.rm);
      continue;
    }
    const rm = random.pick([EBX, ESI, EDI]);
    const displacement = random.below(64) - 32;
    b.code.push(0x40 | ((form.reg as number) << 3) | rm, displacement & 0xff);
    const operand = memoryOperand(form);
    if (operand !== undefined) b.poke((b.registers[rm] as number) + displacement, operandContent(random, operand, 32));
  }
  b.code.push(0x9b);
  return b.finish(`x87 sequence of ${length}`);
}
