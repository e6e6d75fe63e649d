/** ACPI tables: what they say, and that Intel's compiler reads them back. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { acpiTables, facsTable, placed, rootPointer } from "../../src/firmware/acpi/tables.ts";
import type { Board } from "../../src/firmware/board.ts";
import { testBoard } from "../support/board.ts";

const BASE = 0x7ff0000;
const FACS = 0x7fff000;
const BOARD = testBoard(128 << 20, { apic: true, hpet: true, serial: [true, true] });

const sum = (bytes: Uint8Array): number => bytes.reduce((a, b) => a + b, 0) & 0xff;

/** Tables by signature (the second FACP is FACP3). */
function tables(board: Board): Map<string, Uint8Array> {
  const block = acpiTables(board, FACS);
  const bytes = placed(block, BASE);
  const view = new DataView(bytes.buffer);
  const found = new Map<string, Uint8Array>();
  const add = (address: number): void => {
    const at = address - BASE;
    const table = bytes.subarray(at, at + view.getUint32(at + 4, true));
    const signature = String.fromCharCode(...table.subarray(0, 4));
    assert.equal(sum(table), 0, signature);
    found.set(signature === "FACP" && table[8] === 3 ? "FACP3" : signature, table);
  };
  const pointer = rootPointer(BASE + block.rsdt, BASE + block.xsdt);
  assert.equal(sum(pointer.subarray(0, 20)), 0);
  assert.equal(sum(pointer), 0);
  const root = new DataView(pointer.buffer);
  add(root.getUint32(16, true));
  add(root.getUint32(24, true));
  for (const [list, size] of [
    ["RSDT", 4],
    ["XSDT", 8],
  ] as const) {
    const table = found.get(list)!;
    const entries = new DataView(table.buffer, table.byteOffset, table.length);
    for (let at = 36; at < table.length; at += size) add(entries.getUint32(at, true));
  }
  const fadt = found.get("FACP")!;
  add(new DataView(fadt.buffer, fadt.byteOffset).getUint32(40, true));
  return found;
}

test("every table has its length and checksum, and old and new systems find a description of their own", () => {
  const found = tables(BOARD);
  assert.deepEqual([...found.keys()].sort(), ["APIC", "DSDT", "FACP", "FACP3", "HPET", "RSDT", "XSDT"]);
  assert.equal(found.get("FACP")!.length, 116);
  assert.equal(found.get("FACP3")!.length, 244);
  assert.equal(facsTable().length, 64);
  assert.ok(!tables({ ...BOARD, apic: false, hpet: false }).has("APIC"));
});

const noIasl = spawnSync("iasl", ["-v"]).error !== undefined && "iasl (package acpica-tools) is not installed";

test("iasl disassembles every table and compiles the DSDT again without a word", { skip: noIasl }, () => {
  const folder = mkdtempSync(join(tmpdir(), "vmxon-acpi-"));
  try {
    for (const [name, bytes] of tables(BOARD)) {
      writeFileSync(join(folder, `${name}.aml`), bytes);
      const out = execFileSync("iasl", ["-d", `${name}.aml`], { cwd: folder, stdio: "pipe" }).toString();
      assert.doesNotMatch(out, /error|warning/i, name);
      if (name === "RSDT" || name === "XSDT") continue;
      // 3168: Processor objects are out of fashion, but the only ones that systems of this machine's age know.
      const words = ["-oa", "-vw", "3168", "-p", `${name}2`, `${name}.dsl`];
      const compiled = spawnSync("iasl", words, { cwd: folder });
      const text = compiled.stdout.toString() + compiled.stderr.toString();
      assert.match(text, /Compilation successful. 0 Errors, 0 Warnings|Table compiled|bytes written|^Binary/im, text);
      assert.doesNotMatch(text, /[1-9]\d* (?:Errors|Warnings|Remarks)/, text);
      if (name === "DSDT")
        assert.deepEqual(readFileSync(join(folder, "DSDT2.aml")).subarray(36), Buffer.from(bytes.subarray(36)));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
