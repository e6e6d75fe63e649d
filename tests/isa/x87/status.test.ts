/** What instructions do to status, tags and memory around exceptions: pending ones, stack faults, suppressed stores. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FSW, STATUS } from "../../../src/isa/x87/constants.ts";
import { X87_ROWS } from "../../../src/isa/x87/rows.ts";
import { real, rowOf, show, X87Machine } from "./machine.ts";

const ONE = real("3FFF8000000000000000");
const TWO = real("40008000000000000000");
const ZERO = real("00000000000000000000");
const HUGE = real("7FFE8000000000000000");
const INDEFINITE = "FFFFC000000000000000";
const MASKED = 0x037f;
const FADD = rowOf(0xd8, 0xc1);
const FST_SINGLE = rowOf(0xd9, 0x10);
const FSTP_SINGLE = rowOf(0xd9, 0x18);

test("with an exception pending, instructions that wait report it and change nothing", () => {
  const machine = new X87Machine();
  for (const row of X87_ROWS) {
    if (row.semantics === undefined) continue;
    machine.load(0x0372, ONE, TWO);
    machine.set("fsw", FSW.ZE | FSW.ES | FSW.B);
    const before = machine.state.buffer.slice(0) as ArrayBuffer;
    const status = machine.call(row, 1);
    assert.equal(status, row.waits ? STATUS.pendingException : STATUS.done, row.mnemonic);
    if (row.waits) assert.deepEqual(new Uint8Array(machine.state.buffer), new Uint8Array(before), row.mnemonic);
  }
});

test("a store shows neither flags nor pop before it is committed", () => {
  const machine = new X87Machine();
  machine.load(MASKED, real("3FFF8000000000000001"), TWO);
  assert.equal(machine.call(FSTP_SINGLE), STATUS.done);
  assert.deepEqual([machine.get("fsw"), machine.get("ftw")], [0, 0b11]);
  machine.commit(FSTP_SINGLE);
  assert.deepEqual([machine.get("fsw"), machine.get("ftw")], [FSW.PE | 0x0800, 0b10]);
});

test("an unmasked overflow stops a store and keeps the operand", () => {
  const machine = new X87Machine();
  machine.load(MASKED & ~FSW.OE, HUGE);
  assert.equal(machine.call(FSTP_SINGLE), STATUS.nothingToStore);
  assert.deepEqual([machine.get("fsw"), machine.get("ftw")], [FSW.OE | FSW.ES | FSW.B, 1]);
});

test("an unmasked inexact result is stored, and the exception is pending afterwards", () => {
  const machine = new X87Machine();
  machine.load(MASKED & ~FSW.PE, real("3FFF8000000000000001"));
  const memory = new Uint8Array(16);
  assert.equal(machine.run(FST_SINGLE, 0, memory), STATUS.done);
  assert.equal(memory[3], 0x3f);
  assert.equal(machine.get("fsw"), FSW.PE | FSW.ES | FSW.B);
  assert.equal(machine.call(FADD, 1), STATUS.pendingException);
});

test("unmasked overflow and underflow in registers give bias-adjusted results", () => {
  const machine = new X87Machine();
  const multiply = rowOf(0xd8, 0xc9);
  machine.load(MASKED & ~FSW.OE, HUGE, HUGE);
  machine.run(multiply, 1);
  // 2^(2·16383 - 24576)
  assert.equal(show(machine.st(0)), "5FFD8000000000000000");
  machine.load(MASKED & ~FSW.UE, real("00018000000000000000"), real("00018000000000000000"));
  machine.run(multiply, 1);
  assert.equal(show(machine.st(0)), "20038000000000000000");
  assert.equal(machine.get("fsw"), FSW.UE | FSW.ES | FSW.B);
});

test("masked stack faults give the indefinite; C1 tells overflow from underflow", () => {
  const machine = new X87Machine();
  machine.load(MASKED, ONE);
  machine.run(FADD, 1);
  assert.equal(show(machine.st(0)), INDEFINITE);
  assert.equal(machine.get("fsw"), FSW.IE | FSW.SF);
  machine.load(MASKED, ...Array.from({ length: 8 }, () => ONE));
  machine.run(rowOf(0xd9, 0xe8));
  assert.equal(show(machine.st(0)), INDEFINITE);
  assert.equal(machine.get("fsw"), FSW.IE | FSW.SF | FSW.C1 | 0x3800);
});

test("unmasked division by zero leaves operands and stack", () => {
  const machine = new X87Machine();
  machine.load(MASKED & ~FSW.ZE, ZERO, ONE);
  machine.run(rowOf(0xde, 0xf9), 1);
  assert.deepEqual([show(machine.st(0)), show(machine.st(1))], [show(ZERO), show(ONE)]);
  assert.deepEqual([machine.get("fsw"), machine.get("ftw")], [FSW.ZE | FSW.ES | FSW.B, 0b11]);
});

test("FLDCW makes a flagged exception pending, and masking it takes that back", () => {
  const machine = new X87Machine();
  const load = rowOf(0xd9, 0x28);
  machine.load(MASKED);
  machine.set("fsw", FSW.ZE);
  machine.run(load, 0, Uint8Array.of(0x7b, 0x03));
  assert.deepEqual([machine.get("fcw"), machine.get("fsw")], [0x037b, FSW.ZE | FSW.ES | FSW.B]);
  // The pending exception comes first.
  assert.equal(machine.call(load, 0, Uint8Array.of(0x7f, 0x03)), STATUS.pendingException);
});

test("a NaN result is the operand with the larger significand, made quiet", () => {
  const machine = new X87Machine();
  const cases = [
    ["7FFFC000000000000001", "7FFFC000000000000002", "7FFFC000000000000002", 0],
    ["7FFF8000000000000003", "7FFFC000000000000002", "7FFFC000000000000002", FSW.IE],
    ["FFFF8000000000000003", "7FFF8000000000000003", "7FFFC000000000000003", FSW.IE],
    ["3FFF8000000000000000", "FFFF8000000000000001", "FFFFC000000000000001", FSW.IE],
  ] as const;
  for (const [a, b, expected, flags] of cases) {
    machine.load(MASKED, real(a), real(b));
    machine.run(FADD, 1);
    assert.deepEqual([show(machine.st(0)), machine.get("fsw")], [expected, flags]);
  }
});
