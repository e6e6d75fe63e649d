/** The engine in real mode against single instructions captured on an 80286. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { PROC } from "../../src/processor/exits.ts";
import { MACHINE } from "../../src/processor/memory-map.ts";
import { ACTIVITY } from "../../src/processor/registers.ts";
import { VECTOR } from "../oracle/case.ts";
import { type Form, INTEGER_FORMS } from "../oracle/forms.ts";
import { MOO_REGISTERS, type MooRegister, type MooTest, readMoo } from "../oracle/moo.ts";
import { openFlags } from "../oracle/undefined.ts";
import { createMachine, type TestMachine } from "../support/machine.ts";
import { sharedPath } from "../support/shared.ts";

/** Mismatches to show before giving up. */
const SHOWN = 20;
/** FLAGS bits 12–15: IOPL and NT stay zero in real mode on the 80286; later processors let programs set them. */
const FLAGS_MASK = 0x0fff;
const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0xf0, 0xf2, 0xf3]);
/** The 80286 refuses instructions of more than 10 bytes, later processors of more than 15. */
const LONGEST = 10;
const HLT = 0xf4;

interface Decoded {
  readonly prefixes: readonly number[];
  readonly opcode: number;
  readonly modrm: number;
  readonly form: Form | undefined;
}

/** Prefixes, opcode, ModRM and form of a test's instruction. */
function dissect(bytes: Uint8Array): Decoded {
  let at = 0;
  while (PREFIXES.has(bytes[at] as number)) at++;
  const opcode = bytes[at] as number;
  const modrm = bytes[at + 1] ?? 0;
  const form = INTEGER_FORMS.find(
    (f) => f.opcode.length === 1 && f.opcode[0] === opcode && (f.reg === undefined || f.reg === ((modrm >> 3) & 7)),
  );
  return { prefixes: [...bytes.subarray(0, at)], opcode, modrm, form };
}

/** Why a test says nothing about processors since the 80386, or undefined. */
function reasonToSkip(moo: MooTest, { prefixes, opcode, modrm, form }: Decoded): string | undefined {
  if (moo.bytes.length - 1 > LONGEST) return "longer than the 80286 allows";
  const lockable = form?.traits.has("lock") === true && modrm < 0xc0;
  if (prefixes.includes(0xf0) && !lockable) return "LOCK that later processors refuse";
  const segmentRegister = (modrm >> 3) & 7;
  if ((opcode === 0x8c || opcode === 0x8e) && segmentRegister >= 4) return "FS and GS";
  if (opcode === 0x9b || (opcode >= 0xd8 && opcode <= 0xdf)) return "numeric coprocessor";
  if ([0x6c, 0x6d, 0x6e, 0x6f, 0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef].includes(opcode))
    return "input and output";
  // Later processors restore what an instruction changed before it faulted.
  if (moo.exception?.vector === VECTOR.GP && form?.traits.has("string")) return "string instructions that fault";
  if (moo.exception?.vector === VECTOR.GP && opcode === 0x8f) return "POP to memory that faults";
  return undefined;
}

/** FLAGS bits to compare after a test. */
function definedFlags(moo: MooTest, { opcode, form }: Decoded): number {
  if (form === undefined) return FLAGS_MASK;
  const bits = form.width === 1 ? 8 : 16;
  const immediate = form.immediate === "b" ? moo.bytes[moo.bytes.length - 2] : undefined;
  const byOne = opcode === 0xd0 || opcode === 0xd1;
  const count = immediate ?? (byOne ? 1 : (moo.initial.registers.get("ecx") ?? 0) & 0xff);
  return FLAGS_MASK & ~openFlags(form.undefinedClass, bits, count);
}

/** Linear address of the FLAGS word that the exception pushed: the files' own field is wrong for odd stack pointers. */
function pushedFlagsAddress(moo: MooTest): number | undefined {
  if (moo.exception === undefined) return undefined;
  const sp = moo.final.registers.get("esp") ?? 0;
  return (moo.initial.registers.get("ss") ?? 0) * 16 + ((sp + 4) & 0xffff);
}

/** Drop what was decoded of a test's instruction: `invalidate` drops everything, which takes longer than the test. */
function dropCode(machine: TestMachine, moo: MooTest): void {
  const { registers } = moo.initial;
  const at = (registers.get("cs") ?? 0) * 16 + (registers.get("eip") ?? 0);
  machine.processor.cpu.onCodeWrite(MACHINE + at, moo.bytes.length + 1);
}

/** Run one test; what differs, in words, or undefined if it says nothing about later processors. */
function run(machine: TestMachine, moo: MooTest, decoded: Decoded): string[] | undefined {
  const { cpu } = machine.processor;
  for (const [register, value] of moo.initial.registers) {
    machine.set(register, register === "eflags" ? (value & FLAGS_MASK) | 2 : value);
  }
  for (const [address, value] of moo.initial.memory) machine.memory[address] = value;
  dropCode(machine, moo);
  cpu.set("activity", ACTIVITY.active);
  const outcome = machine.run(1);
  const found: string[] = [];
  // The 80286 raises 13 when a word of the stack wraps around, later processors 12 (SDM 3A table 20-1).
  const stackFault = outcome.kind === "exception" && moo.exception?.vector === VECTOR.GP;
  if (outcome.kind !== "done" && !stackFault)
    found.push(`ended with ${outcome.kind} ${outcome.vector ?? outcome.reason}`);
  const flagsMask = definedFlags(moo, decoded);
  for (const register of MOO_REGISTERS) {
    const want = expectedRegister(moo, decoded, register);
    const mask = register === "eflags" ? flagsMask : 0xffff;
    const got = machine.get(register) & mask;
    if (got !== (want & mask)) found.push(`${register} is ${got.toString(16)}, not ${(want & mask).toString(16)}`);
  }
  const flagsAddress = pushedFlagsAddress(moo);
  for (const [address, value] of moo.final.memory) {
    const pushedFlags = flagsAddress === undefined ? -1 : address - flagsAddress;
    const mask = pushedFlags === 0 ? flagsMask & 0xff : pushedFlags === 1 ? flagsMask >> 8 : 0xff;
    const got = machine.memory[address] as number;
    if (((got ^ value) & mask) !== 0) {
      found.push(`byte ${address.toString(16)} is ${got.toString(16)}, not ${value.toString(16)}`);
    }
  }
  for (const [address] of moo.initial.memory) machine.memory[address] = 0;
  for (const [address] of moo.final.memory) machine.memory[address] = 0;
  dropCode(machine, moo);
  return stackFault ? undefined : found;
}

/** A register after the instruction: each test ends with a HLT behind it, which is not run here. */
function expectedRegister(moo: MooTest, { opcode }: Decoded, register: MooRegister): number {
  const value = moo.final.registers.get(register) ?? moo.initial.registers.get(register) ?? 0;
  return register === "eip" && opcode !== HLT ? (value - 1) & 0xffff : value;
}

test("real-mode instructions do what an 80286 did", (t) => {
  const folder = sharedPath("vectors", "sst-80286-real");
  if (folder === undefined) return t.skip("the shared 80286 vectors are not beside this checkout");
  const revoked = readFileSync(join(folder, "revocation_list.txt"), "utf8");
  const machine = createMachine();
  machine.mode("real");
  const { cpu } = machine.processor;
  cpu.set("exceptionBitmap", 1 << VECTOR.SS);
  cpu.set("procControls", cpu.get("procControls") & ~PROC.hlt);
  const skipped = new Map<string, number>();
  const skip = (reason: string): void => {
    skipped.set(reason, (skipped.get(reason) ?? 0) + 1);
  };
  const wrong = new Map<string, string[]>();
  let [forms, checked] = [0, 0];
  for (const name of readdirSync(folder)
    .filter((file) => file.endsWith(".MOO.gz"))
    .sort()) {
    forms++;
    for (const moo of readMoo(gunzipSync(readFileSync(join(folder, name))))) {
      const decoded = dissect(moo.bytes);
      const reason = revoked.includes(moo.hash) ? "revoked" : reasonToSkip(moo, decoded);
      const found = reason === undefined ? run(machine, moo, decoded) : undefined;
      if (found === undefined) {
        skip(reason ?? "#SS instead of #GP");
        continue;
      }
      checked++;
      if (found.length === 0) continue;
      const list = wrong.get(name) ?? [];
      list.push(`${name} ${moo.index} ${moo.name}: ${found.slice(0, 4).join("; ")}`);
      wrong.set(name, list);
    }
  }
  t.diagnostic(
    `${forms} forms, ${checked} tests; skipped: ${[...skipped].map(([why, n]) => `${n} ${why}`).join(", ")}`,
  );
  const lists = [...wrong.values()].sort((a, b) => b.length - a.length);
  const lines = lists.map((list) => `${list.length} × ${list[0]}`);
  assert.equal(wrong.size, 0, `${wrong.size} forms differ:\n${lines.slice(0, SHOWN).join("\n")}`);
});
