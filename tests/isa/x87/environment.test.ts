/** The blocks of FSTENV, FSAVE and FXSAVE: layouts of all formats, round trips, and what storing does to the state. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FSW } from "../../../src/isa/x87/constants.ts";
import {
  type EnvironmentFormat,
  environmentBytes,
  FXSAVE_BYTES,
  loadEnvironment,
  loadExtendedState,
  maskExceptions,
  restoreState,
  saveState,
  stateBytes,
  storeEnvironment,
  storeExtendedState,
  x87Reset,
} from "../../../src/isa/x87/environment.ts";
import { X87_ROWS } from "../../../src/isa/x87/rows.ts";
import { real, show, X87Machine } from "./machine.ts";

const FORMATS: readonly EnvironmentFormat[] = [16, 32].flatMap((bits) =>
  [true, false].map((mode) => ({ bits: bits as 16 | 32, protected: mode })),
);

/** ST(0) normal, ST(1) zero, ST(2) NaN, ST(3) denormal, the rest empty; TOP 6. */
function filled(): X87Machine {
  const machine = new X87Machine();
  machine.set("fcw", 0x027f);
  machine.set("fsw", 0x3021);
  machine.set("ftw", 0b11000011);
  const values = ["3FFF8000000000000000", "00000000000000000000", "7FFFC000000000000001", "00000000000000000001"];
  for (const [index, value] of values.entries()) machine.setSt(index, real(value));
  machine.set("fop", 0x5d9);
  machine.set("fip", 0x1234);
  machine.set("fcs", 0x2000);
  machine.set("fdp", 0x5678);
  machine.set("fds", 0x9000);
  return machine;
}

function dwords(block: Uint8Array, size: 2 | 4): string[] {
  const hex = Buffer.from(block);
  return Array.from({ length: block.length / size }, (_, i) =>
    (size === 2 ? hex.readUInt16LE(2 * i) : hex.readUInt32LE(4 * i)).toString(16),
  );
}

test("environments are laid out as the manual draws them", () => {
  const machine = filled();
  // Tags, R7 first: zero, valid, four empty, special, special. R6 is ST(0).
  const tags = "4ffa";
  const expected = new Map<string, string[]>([
    ["16 protected", ["27f", "3021", tags, "1234", "2000", "5678", "9000"]],
    ["16 real", ["27f", "3021", tags, "1234", "25d9", "5678", "9000"]],
    ["32 protected", ["ffff027f", "ffff3021", `ffff${tags}`, "1234", "5d92000", "5678", "ffff9000"]],
    ["32 real", ["ffff027f", "ffff3021", `ffff${tags}`, "ffff1234", "25d9", "ffff5678", "9000"]],
  ]);
  for (const format of FORMATS) {
    const block = new Uint8Array(environmentBytes(format));
    storeEnvironment(machine.state, machine.base, block, format);
    const name = `${format.bits} ${format.protected ? "protected" : "real"}`;
    assert.deepEqual(dwords(block, format.bits === 16 ? 2 : 4), expected.get(name), name);
  }
});

test("FSAVE's block restores registers and environment in every format", () => {
  for (const format of FORMATS) {
    const machine = filled();
    const block = new Uint8Array(stateBytes(format));
    saveState(machine.state, machine.base, block, format);
    assert.equal(block.length, format.bits === 16 ? 94 : 108);
    const other = new X87Machine();
    restoreState(other.state, other.base, block, format);
    for (const field of ["fcw", "fsw", "ftw"] as const) assert.equal(other.get(field), machine.get(field));
    for (let index = 0; index < 8; index++) assert.deepEqual(other.st(index), machine.st(index));
    assert.equal((other.get("fcs") << 4) + other.get("fip"), (machine.get("fcs") << 4) + machine.get("fip"));
  }
});

test("loading recomputes the exception summary from flags and masks", () => {
  const machine = new X87Machine();
  const format = { bits: 16, protected: true } as const;
  const block = Uint8Array.from([0x7e, 0x03, 0x01, 0x00, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
  loadEnvironment(machine.state, machine.base, block, format);
  assert.equal(machine.get("fsw"), FSW.IE | FSW.ES | FSW.B);
  assert.equal(machine.get("ftw"), 0);
});

test("FNSTENV's second half masks everything", () => {
  const machine = new X87Machine();
  machine.load(0x0340);
  machine.set("fsw", FSW.ZE | FSW.ES | FSW.B);
  maskExceptions(machine.state, machine.base);
  assert.deepEqual([machine.get("fcw"), machine.get("fsw")], [0x037f, FSW.ZE]);
});

test("FNINIT does the same in the instruction and in the reset function", () => {
  const row = X87_ROWS.find((candidate) => candidate.mnemonic === "FNINIT");
  const [one, other] = [filled(), filled()];
  assert.ok(row);
  one.run(row);
  x87Reset(other.state, other.base);
  assert.deepEqual(new Uint8Array(one.state.buffer), new Uint8Array(other.state.buffer));
  assert.equal(one.get("fcw"), 0x037f);
});

test("FXSAVE and FXRSTOR carry x87, MXCSR and XMM registers", () => {
  const machine = filled();
  machine.set("mxcsr", 0x1f80);
  const block = new Uint8Array(FXSAVE_BYTES).fill(0xcc);
  storeExtendedState(machine.state, machine.base, block, { xmmRegisters: 8 });
  assert.equal(block[4], 0b11000011);
  assert.equal(Buffer.from(block).readUInt32LE(24), 0x1f80);
  const other = new X87Machine();
  assert.equal(loadExtendedState(other.state, other.base, block, { xmmRegisters: 8 }), true);
  for (const field of ["fcw", "fsw", "ftw", "fop", "fip", "fcs", "fdp", "fds", "mxcsr"] as const) {
    assert.equal(other.get(field), machine.get(field), field);
  }
  assert.equal(show(other.st(2)), show(machine.st(2)));
});

test("FXRSTOR with a reserved MXCSR bit changes nothing", () => {
  const machine = filled();
  const before = machine.state.buffer.slice(0) as ArrayBuffer;
  const block = new Uint8Array(FXSAVE_BYTES).fill(0xff);
  assert.equal(loadExtendedState(machine.state, machine.base, block, { xmmRegisters: 8 }), false);
  assert.deepEqual(new Uint8Array(machine.state.buffer), new Uint8Array(before));
});
