/** Vector encodings against the iced project's lists: which there are, lengths, operands, the CPUID feature, and flags. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { DECODE, decode, Instruction } from "../../src/isa/decoder.ts";
import { disassemble } from "../../src/isa/disassembler.ts";
import { opcodeMap } from "../../src/isa/opcode-map.ts";
import { LISTED_ADDRESS, type ListedInstruction, readDecoderList, readInfoList } from "../oracle/decoder-lists.ts";
import { sharedPath } from "../support/shared.ts";

const OPCODES = opcodeMap(() => true);
const ARITHMETIC = 0x8d5;
const SHOWN = 12;

/** The lists' names of features, and ours. */
const FEATURES: Readonly<Record<string, string>> = {
  MMX: "mmx",
  SSE: "sse",
  SSE2: "sse2",
  SSE3: "sse3",
  SSSE3: "ssse3",
  SSE4_1: "sse4_1",
  SSE4_2: "sse4_2",
  POPCNT: "popcnt",
  MOVBE: "movbe",
  FXSR: "fxsr",
  CLFSH: "clfsh",
};
/** Encodings that belong to other rows of ours. */
const OTHER_ROWS = /^(Fisttp|Reservednop|Pause|Nop)/;

function lines(t: TestContext, name: string): string {
  const path = sharedPath("vectors", "decoder-lists", `${name}.txt.gz`);
  if (path === undefined) t.skip("the shared decoder lists are not beside this checkout");
  return path === undefined ? "" : gunzipSync(readFileSync(path)).toString("utf8");
}

/** Features of encodings, of those that the information lists hold. */
function listedFeatures(t: TestContext, bits: 16 | 32): Map<string, string[]> {
  const features = readInfoList(lines(t, `InstructionInfoTest_${bits}`), bits).map(
    (info) => [info.code, info.features.flatMap((f) => FEATURES[f] ?? [])] as const,
  );
  return new Map(features.filter(([, names]) => names.length > 0));
}

const GENERAL =
  /^(Popcnt|Movbe|Crc32|Movnti|Ldmxcsr|Stmxcsr|Fxsave_|Fxrstor_|Emms|[LMS]fence$|Clflush_m8|Prefetch(nta|t[012]))/;
const VECTOR_CODE = /_xmm|_mm_|_mm$|_mmm|_r32_mm/;
const LATER_ENCODING = /^(VEX|EVEX|XOP|MVEX|D3NOW)_/;
/** Instructions on XMM and MMX registers of extensions that no model has. */
const LATER =
  /^(Aes|Pclmul|Sha|Gf2p8|Extrq|Insertq|Movnts[sd]|Encodekey|Loadiwkey|Xsha|Movdir|Enqcmd|Paveb|Paddsiw|Pmagw|Pdistib|Psubsiw|Pmv|Pmach|Pmulhriw|Pmulhrwc)/;

function entries(t: TestContext): { entry: ListedInstruction; features: string[] | undefined }[] {
  return ([16, 32] as const).flatMap((bits) => {
    const known = listedFeatures(t, bits);
    return [`DecoderTest${bits}`, `DecoderTestMisc${bits}`]
      .flatMap((name) => readDecoderList(lines(t, name), bits))
      .filter(({ code, options }) => options.length === 0 && !LATER_ENCODING.test(code) && !OTHER_ROWS.test(code))
      .filter(({ code }) => GENERAL.test(code) || (VECTOR_CODE.test(code) && !LATER.test(code)))
      .map((entry) => ({ entry, features: known.get(entry.code) }));
  });
}

const show = (entry: ListedInstruction): string =>
  `${entry.bits}-bit ${Buffer.from(entry.bytes).toString("hex")} ${entry.code}`;

function report(t: TestContext, checked: number, wrong: readonly string[]): void {
  t.diagnostic(`${checked} entries checked`);
  assert.equal(wrong.length, 0, `${wrong.length} entries differ:\n${wrong.slice(0, SHOWN).join("\n")}`);
}

/** Register operands as the disassembler shows them. */
function registersOf(text: string): string[] {
  const outside = text.replace(/\[[^\]]*\]/g, "");
  return outside.match(/\b(?:xmm|mm)\d\b|\b(?:e?[abcd]x|e?[sd]i|e?[sb]p|[abcd][lh])\b/g) ?? [];
}

test("every listed vector encoding decodes, with its length, feature and registers", (t) => {
  const instruction = new Instruction();
  const wrong: string[] = [];
  const seen = new Set<string>();
  const list = entries(t);
  for (const { entry, features } of list) {
    seen.add(entry.code);
    const { bytes, bits } = entry;
    const length = decode(bytes, 0, bytes.length, bits, instruction, OPCODES);
    const row = instruction.form?.row;
    if (!row) wrong.push(`${show(entry)}: not decoded`);
    else if (length !== bytes.length) wrong.push(`${show(entry)}: length ${length}`);
    else if (features && !features.includes(row.traits.feature ?? ""))
      wrong.push(`${show(entry)}: ${row.traits.feature}`);
    else {
      const { text, mnemonic } = disassemble(bytes, 0, { bits, address: LISTED_ADDRESS[bits] });
      const registers = entry.operands.flatMap((operand) => (operand.kind === "register" ? [operand.name] : []));
      // The lists name XMM0 where it is implied.
      const implied = registers.length > registersOf(text).length && registers.at(-1) === "xmm0";
      const wanted = implied ? registers.slice(0, -1) : registers;
      if (mnemonic !== entry.mnemonic.toLowerCase()) wrong.push(`${show(entry)}: ${text}`);
      else if (registersOf(text).join() !== wanted.join()) wrong.push(`${show(entry)}: ${text}, not ${wanted.join()}`);
    }
  }
  t.diagnostic(`${seen.size} encodings`);
  report(t, list.length, wrong);
});

test("a vector instruction cut short asks for more bytes", (t) => {
  const instruction = new Instruction();
  const wrong: string[] = [];
  const list = entries(t);
  for (const { entry } of list) {
    for (let end = 0; end < entry.bytes.length; end++) {
      const length = decode(entry.bytes, 0, end, entry.bits, instruction, OPCODES);
      if (length !== DECODE.needMore) wrong.push(`${show(entry)}: ${length} with ${end} bytes`);
    }
  }
  report(t, list.length, wrong);
});

test("flags that vector rows write are those that the lists tell", (t) => {
  const instruction = new Instruction();
  const wrong: string[] = [];
  let checked = 0;
  for (const bits of [16, 32] as const) {
    for (const info of readInfoList(lines(t, `InstructionInfoTest_${bits}`), bits)) {
      if (info.encoding !== "Legacy" || !info.features.some((f) => f in FEATURES)) continue;
      decode(info.bytes, 0, info.bytes.length, bits, instruction, OPCODES);
      const traits = instruction.form?.row.traits;
      if (!traits) continue;
      checked++;
      const writes = (traits.writes ?? 0) & ARITHMETIC;
      if (writes !== (info.written & ARITHMETIC))
        wrong.push(`${bits}-bit ${info.code}: ${writes.toString(16)}, not ${info.written.toString(16)}`);
    }
  }
  report(t, checked, wrong);
});

/** What the older table lets through, or what raises #UD when it is carried out. */
const CHECKED_LATER = /^(66|67)*(8c|8e|0f2[0-3])/;

test("what the lists call invalid does not decode as a vector instruction", (t) => {
  const instruction = new Instruction();
  const wrong: string[] = [];
  let checked = 0;
  for (const bits of [16, 32] as const) {
    for (const name of [`DecoderTest${bits}`, `DecoderTestMisc${bits}`]) {
      for (const entry of readDecoderList(lines(t, name), bits)) {
        const later = LATER_ENCODING.test(entry.code) || (VECTOR_CODE.test(entry.code) && LATER.test(entry.code));
        if (entry.truncated || entry.options.length > 0 || !(later || entry.code === "INVALID")) continue;
        if (CHECKED_LATER.test(Buffer.from(entry.bytes).toString("hex"))) continue;
        checked++;
        const length = decode(entry.bytes, 0, entry.bytes.length, bits, instruction, OPCODES);
        if (length >= 0 && instruction.form?.row.traits.vector !== undefined)
          wrong.push(`${show(entry)}: ${instruction.form.row.mnemonic}`);
      }
    }
  }
  report(t, checked, wrong);
});
