/** The decoder against the iced project's lists: lengths, operands, and what must not decode. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { DECODE, decode, Instruction } from "../../src/isa/decoder.ts";
import { disassemble } from "../../src/isa/disassembler.ts";
import { opcodeMap } from "../../src/isa/opcode-map.ts";
import type { OperandCode } from "../../src/isa/row.ts";
import { ZERO_SLOT } from "../../src/isa/state.ts";
import {
  LISTED_ADDRESS,
  type ListedInstruction,
  type ListedOperand,
  MODEL_MNEMONICS,
  OPTIONAL_MNEMONICS,
  readDecoderList,
  readInfoList,
} from "../oracle/decoder-lists.ts";
import { sharedPath } from "../support/shared.ts";

const FEATURES = new Set(["cmov", "cx8", "tsc", "msr", "fpu"]);
const hasFeature = (feature: string): boolean => FEATURES.has(feature.toLowerCase());
const OPCODES = opcodeMap(hasFeature);
/** MOV with a segment, control or debug register that does not exist decodes; carrying it out raises #UD. */
const CHECKED_LATER = /^(66|67)*(8c|8e|0f2[0-3])/;
const OTHER_ENCODING = /^(VEX|EVEX|XOP|D3NOW)_|_xmm|_mm_|_mmm64$/;
/** EFLAGS bits that rows declare. */
const ARITHMETIC = 0x8d5;
/** Mismatches to show before giving up. */
const SHOWN = 12;

const BYTE_NAMES = ["al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"] as const;
const WORD_NAMES = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"] as const;
const SEGMENT_NAMES = ["es", "cs", "ss", "ds", "fs", "gs"] as const;

function listText(t: TestContext, name: string): string | undefined {
  const path = sharedPath("vectors", "decoder-lists", `${name}.txt.gz`);
  if (path === undefined) t.skip("the shared decoder lists are not beside this checkout");
  return path === undefined ? undefined : gunzipSync(readFileSync(path)).toString("utf8");
}

function entries(t: TestContext): ListedInstruction[] {
  const found: ListedInstruction[] = [];
  for (const bits of [16, 32] as const) {
    for (const name of [`DecoderTest${bits}`, `DecoderTestMisc${bits}`]) {
      const text = listText(t, name);
      if (text !== undefined) found.push(...readDecoderList(text, bits));
    }
  }
  return found.filter((entry) => entry.options.length === 0);
}

const show = (entry: ListedInstruction): string =>
  `${entry.bits}-bit ${Buffer.from(entry.bytes).toString("hex")} ${entry.code}`;

/** Whether every processor of ours has it; MOVSD and CMPSD are also names of SSE instructions. */
const inModel = (entry: ListedInstruction): boolean =>
  MODEL_MNEMONICS.has(entry.mnemonic) && !OTHER_ENCODING.test(entry.code);

function report(t: TestContext, checked: number, wrong: readonly string[]): void {
  t.diagnostic(`${checked} entries checked`);
  assert.equal(wrong.length, 0, `${wrong.length} entries differ:\n${wrong.slice(0, SHOWN).join("\n")}`);
}

function decodeEntry(entry: ListedInstruction, out: Instruction): number {
  return decode(entry.bytes, 0, entry.bytes.length, entry.bits, out, OPCODES);
}

function registerName(number: number, bits: number): string {
  if (bits === 8) return BYTE_NAMES[number] as string;
  return (bits === 32 ? "e" : "") + WORD_NAMES[number];
}

/** A register operand's name, or undefined if the operand is none. */
function operandRegister(code: OperandCode, i: Instruction): string | undefined {
  const letter = code[0] as string;
  const bits = code.endsWith("b") ? 8 : code.endsWith("w") ? 16 : code.endsWith("d") ? 32 : i.operandSize;
  if (code === "AL" || code === "AX" || code === "CL" || code === "DX") return code.toLowerCase();
  if (code === "eAX") return registerName(0, i.operandSize);
  if ((SEGMENT_NAMES as readonly string[]).includes(code.toLowerCase())) return code.toLowerCase();
  if (code === "ST") return "st0";
  if (code === "STi") return `st${i.rm}`;
  if (code === "Sw") return SEGMENT_NAMES[i.reg];
  if (code === "Cd") return `cr${i.reg}`;
  if (code === "Dd") return `dr${i.reg}`;
  if (letter === "G") return registerName(i.reg, bits);
  if (letter === "Z") return registerName(i.reg, bits);
  if (letter === "R" || (letter === "E" && !i.memory)) return registerName(i.rm, bits);
  return undefined;
}

function slotName(slot: number, address16: boolean): string {
  return slot === ZERO_SLOT ? "" : registerName(slot / 8, address16 ? 16 : 32);
}

/** What is wrong with the decoded operands, or undefined. */
function wrongOperand(entry: ListedInstruction, i: Instruction): string | undefined {
  const codes = i.form?.operands ?? [];
  // The lists name ST(0) where the manual's notation leaves it out: FCOM ST(i), FXCH ST(i).
  const implied = codes.length === 1 && codes[0] === "STi" && entry.operands.length === 2;
  for (const [n, expected] of entry.operands.slice(implied ? 1 : 0).entries()) {
    const code = codes[n];
    const problem = checkOperand(expected, code, i, entry);
    if (problem !== undefined) return `operand ${n} (${code ?? "none"}): ${problem}`;
  }
  return undefined;
}

function checkOperand(
  expected: ListedOperand,
  code: OperandCode | undefined,
  i: Instruction,
  entry: ListedInstruction,
): string | undefined {
  switch (expected.kind) {
    case "register": {
      if (code === undefined) return undefined;
      const name = operandRegister(code, i);
      // The list names what the assembler writes; the instruction uses the low half.
      if (/r32m16/.test(entry.code) && `e${name}` === expected.name) return undefined;
      return name === expected.name ? undefined : `register ${name}, not ${expected.name}`;
    }
    case "memory": {
      if (entry.mnemonic === "Xlatb") return undefined;
      const mask = i.address16 ? 0xffff : 0xffffffff;
      const base = slotName(i.base, i.address16);
      const index = slotName(i.index, i.address16);
      const got = [
        SEGMENT_NAMES[i.segment],
        base,
        index,
        index === "" ? 1 : 1 << i.scale,
        (i.displacement & mask) >>> 0,
      ];
      const want = [expected.segment, expected.base, expected.index, expected.index === "" ? 1 : expected.scale];
      want.push((expected.displacement & mask) >>> 0);
      return got.join() === want.join() ? undefined : `memory ${got.join()}, not ${want.join()}`;
    }
    case "immediate": {
      if (code === "1" || code === "3") return undefined;
      const bits = expected.type === "i8" || expected.type === "i8_2nd" ? 8 : /16$/.test(expected.type) ? 16 : 32;
      const mask = bits === 32 ? 0xffffffff : (1 << bits) - 1;
      const value = expected.type === "i8_2nd" ? i.immediate2 : i.immediate;
      return ((value ^ expected.value) & mask) === 0 ? undefined : `immediate ${value}, not ${expected.value}`;
    }
    case "near": {
      const mask = i.operandSize === 16 ? 0xffff : 0xffffffff;
      const target = ((LISTED_ADDRESS[entry.bits] + i.length + i.immediate) & mask) >>> 0;
      return target === expected.target
        ? undefined
        : `target ${target.toString(16)}, not ${expected.target.toString(16)}`;
    }
    case "far": {
      const same = i.immediate >>> 0 === expected.offset && i.immediate2 === expected.selector;
      return same ? undefined : `far ${i.immediate2}:${i.immediate}`;
    }
    case "string":
      return undefined;
  }
}

test("every listed encoding of our processors decodes, with its length and operands", (t) => {
  const instruction = new Instruction();
  const wrong: string[] = [];
  let checked = 0;
  for (const entry of entries(t)) {
    if (!inModel(entry)) continue;
    checked++;
    const length = decodeEntry(entry, instruction);
    if (instruction.form === undefined) wrong.push(`${show(entry)}: not decoded`);
    else if (length !== entry.bytes.length) wrong.push(`${show(entry)}: length ${length}`);
    else {
      const problem = wrongOperand(entry, instruction);
      if (problem !== undefined) wrong.push(`${show(entry)}: ${problem}`);
    }
  }
  report(t, checked, wrong);
});

test("encodings of later processors and illegal ones do not decode", (t) => {
  const instruction = new Instruction();
  const wrong: string[] = [];
  let checked = 0;
  for (const entry of entries(t)) {
    if (entry.truncated || OPTIONAL_MNEMONICS.has(entry.mnemonic)) continue;
    if (inModel(entry) || CHECKED_LATER.test(Buffer.from(entry.bytes).toString("hex"))) continue;
    checked++;
    const length = decodeEntry(entry, instruction);
    if (length >= 0 && instruction.form !== undefined) wrong.push(`${show(entry)}: ${instruction.form.row.mnemonic}`);
  }
  report(t, checked, wrong);
});

test("an instruction cut short asks for more bytes", (t) => {
  const instruction = new Instruction();
  const wrong: string[] = [];
  let checked = 0;
  for (const entry of entries(t)) {
    if (!inModel(entry)) continue;
    checked++;
    for (let end = 0; end < entry.bytes.length; end++) {
      const length = decode(entry.bytes, 0, end, entry.bits, instruction, OPCODES);
      if (length !== DECODE.needMore) wrong.push(`${show(entry)}: ${length} with ${end} bytes`);
    }
  }
  report(t, checked, wrong);
});

/** Shifts: the list knows the count of each line, a row does not. */
const SHIFTS = /^(66|67)*(c0|c1|d[0-3]|0fa[45cd])/;
/** Features of the list that our processors have. */
const OUR_FEATURES = /^(INTEL8086|INTEL[1-4]86|CMOV|CX8|FPU|FPU387)$/;

test("flags read, written and left undefined are those that the lists tell", (t) => {
  const instruction = new Instruction();
  const wrong: string[] = [];
  let checked = 0;
  for (const bits of [16, 32] as const) {
    for (const info of readInfoList(listText(t, `InstructionInfoTest_${bits}`) ?? "", bits)) {
      const hex = Buffer.from(info.bytes).toString("hex");
      if (info.encoding !== "Legacy" || SHIFTS.test(hex) || !info.features.every((f) => OUR_FEATURES.test(f))) continue;
      decode(info.bytes, 0, info.bytes.length, bits, instruction, OPCODES);
      const traits = instruction.form?.row.traits;
      if (traits === undefined) continue;
      checked++;
      const { reads = 0, writes = 0, undefined: open = 0 } = traits;
      const complain = (what: string, flags: number): void => {
        if ((flags & ARITHMETIC) !== 0)
          wrong.push(`${bits}-bit ${hex} ${info.code}: ${what} ${(flags & ARITHMETIC).toString(16)}`);
      };
      // A row may read more (INC keeps CF by reading it), and may define or keep what the manual leaves open.
      complain("does not say that it reads", info.read & ~reads);
      complain("does not say that it writes", info.written & ~writes);
      complain("writes", writes & ~(info.written | info.undefined));
      complain("leaves undefined", open & ~info.undefined);
    }
  }
  report(t, checked, wrong);
});

/** Names that differ between the lists and Intel's manual or our table. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  sal: ["shl"],
  xlatb: ["xlat"],
  int1: ["icebp"],
  wait: ["fwait"],
  // Undocumented x87 encodings have names of their own in some places: FCOM2, FCOMP3, FXCH4, FSTP1 and so on.
  fcom: ["fcom2"],
  fcomp: ["fcomp3", "fcomp5"],
  fxch: ["fxch4", "fxch7"],
  fstp: ["fstp8", "fstp9"],
  fstpnce: ["fstp1"],
};

test("the disassembler names every listed instruction of our processors", (t) => {
  const wrong: string[] = [];
  let checked = 0;
  for (const entry of entries(t)) {
    if (!inModel(entry)) continue;
    checked++;
    const { bits } = entry;
    const result = disassemble(entry.bytes, 0, { bits, address: LISTED_ADDRESS[bits], has: hasFeature });
    const name = entry.mnemonic.toLowerCase();
    const got = result.mnemonic.toLowerCase();
    if (!result.valid || result.length !== entry.bytes.length) wrong.push(`${show(entry)}: ${result.length} bytes`);
    else if (got !== name && ALIASES[name]?.includes(got) !== true) wrong.push(`${show(entry)}: ${result.text}`);
  }
  report(t, checked, wrong);
});
