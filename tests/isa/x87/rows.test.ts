/** The instruction table as a table: encodings complete and without overlap, calling conventions consistent. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { X87_ROWS } from "../../../src/isa/x87/rows.ts";
import { exportName } from "../../../src/isa/x87/x87.ts";

/** ModRM bytes, of D8 to DF in turn, that no x87 instruction has (SDM 2 tables ). */
const UNDEFINED: Readonly<Record<number, readonly string[]>> = {
  217: ["mem/1", "d1-d7", "e2-e3", "e6-e7", "ef"],
  218: ["e0-e8", "ea-ff"],
  219: ["mem/4", "mem/6", "e5-e7", "f8-ff"],
  221: ["mem/5", "f0-ff"],
  222: ["d8", "da-df"],
  223: ["e1-e7", "f8-ff"],
};

function isUndefined(opcode: number, modrm: number): boolean {
  return (UNDEFINED[opcode] ?? []).some((range) => {
    if (range.startsWith("mem/")) return modrm < 0xc0 && ((modrm >> 3) & 7) === Number(range.slice(4));
    const [first, last] = range.split("-").map((text) => Number.parseInt(text, 16)) as [number, number?];
    return modrm >= first && modrm <= (last ?? first);
  });
}

test("every encoding has exactly one row, or none where there is no instruction", () => {
  for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
    for (let modrm = 0; modrm < 0x100; modrm++) {
      const mod = modrm >= 0xc0 ? "reg" : "mem";
      const rows = X87_ROWS.filter(
        (row) =>
          row.opcode === opcode &&
          row.mod === mod &&
          row.reg === ((modrm >> 3) & 7) &&
          (row.rm === undefined || row.rm === (modrm & 7)),
      );
      const name = `${opcode.toString(16)} ${modrm.toString(16)}: ${rows.map((row) => row.mnemonic).join()}`;
      assert.equal(rows.length, isUndefined(opcode, modrm) ? 0 : 1, name);
    }
  }
});

test("rows are named apart", () => {
  assert.equal(new Set(X87_ROWS.map(exportName)).size, X87_ROWS.length);
});

test("only the control instructions go ahead with an exception pending", () => {
  const names = new Set(X87_ROWS.filter((row) => !row.waits).map((row) => row.mnemonic));
  const expected = ["FNCLEX", "FNDISI", "FNENI", "FNINIT", "FNSAVE", "FNSETPM", "FNSTCW", "FNSTENV", "FNSTSW"];
  assert.deepEqual([...names].sort(), expected);
});

test("memory rows say how they access memory, and stores how they commit", () => {
  for (const row of X87_ROWS) {
    assert.equal(row.mod === "mem", row.memory !== undefined && row.access !== undefined, row.mnemonic);
    const commits = row.access === "write" && row.semantics !== undefined;
    assert.equal(row.commit !== undefined, commits, row.mnemonic);
  }
});
