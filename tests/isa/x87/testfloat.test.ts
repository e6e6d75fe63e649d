/** Every Berkeley TestFloat vector for 80-bit operands, in both rounding modes: results and exception flags. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { FSW, RC } from "../../../src/isa/x87/constants.ts";
import type { X87Row } from "../../../src/isa/x87/row.ts";
import { sharedPath } from "../../support/shared.ts";
import { real, rowOf, show, X87Machine } from "./machine.ts";

const MODES = { rnear_even: RC.nearest, rminMag: RC.chop } as const;
type Mode = keyof typeof MODES;
const BOTH: readonly Mode[] = ["rnear_even", "rminMag"];
/** All exceptions masked, 64-bit precision. */
const MASKED = 0x037f;

/** TestFloat's flag bits in the status word's places. */
function flagsOf(text: string): number {
  const bits = Number.parseInt(text, 16);
  const names = [FSW.PE, FSW.UE, FSW.OE, FSW.ZE, FSW.IE];
  return names.reduce((flags, flag, bit) => flags | ((bits >> bit) & 1 ? flag : 0), 0);
}

/** The flags that TestFloat knows: not the denormal operand. */
const KNOWN = FSW.IE | FSW.ZE | FSW.OE | FSW.UE | FSW.PE;

function bytesOf(hex: string): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(Buffer.from(hex, "hex").reverse());
  return bytes;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).reverse().toString("hex").toUpperCase();
}

/** How a kind of file is fed to an instruction: operands in, result out, both as hexadecimal. */
type Feed = (machine: X87Machine, row: X87Row, fcw: number, operands: string[]) => string;

const registers: Feed = (machine, row, fcw, operands) => {
  machine.load(fcw, ...operands.map(real));
  machine.run(row, 1);
  return show(machine.st(0));
};
const loads: Feed = (machine, row, fcw, [operand]) => {
  machine.load(fcw);
  machine.run(row, 0, bytesOf(operand as string));
  return show(machine.st(0));
};
const stores: Feed = (machine, row, fcw, [operand]) => {
  machine.load(fcw, real(operand as string));
  machine.run(row);
  return hexOf(machine.stored(row));
};
/** FUCOM and FCOM report equality in C3 alone, "less" in C0 alone. */
const compares =
  (code: number): Feed =>
  (machine, row, fcw, operands) => {
    machine.load(fcw, ...operands.map(real));
    machine.run(row, 1);
    return (machine.get("fsw") & (FSW.C0 | FSW.C2 | FSW.C3)) === code ? "1" : "0";
  };

const FILES: readonly { name: string; modes?: readonly Mode[]; row: X87Row; feed: Feed }[] = [
  { name: "extF80_add", modes: BOTH, row: rowOf(0xd8, 0xc1), feed: registers },
  { name: "extF80_sub", modes: BOTH, row: rowOf(0xd8, 0xe1), feed: registers },
  { name: "extF80_mul", modes: BOTH, row: rowOf(0xd8, 0xc9), feed: registers },
  { name: "extF80_div", modes: BOTH, row: rowOf(0xd8, 0xf1), feed: registers },
  { name: "extF80_sqrt", modes: BOTH, row: rowOf(0xd9, 0xfa), feed: registers },
  { name: "extF80_roundToInt", modes: BOTH, row: rowOf(0xd9, 0xfc), feed: registers },
  { name: "extF80_to_f32", modes: BOTH, row: rowOf(0xd9, 0x18), feed: stores },
  { name: "extF80_to_f64", modes: BOTH, row: rowOf(0xdd, 0x18), feed: stores },
  { name: "extF80_to_i32", modes: BOTH, row: rowOf(0xdb, 0x18), feed: stores },
  { name: "extF80_to_i64", modes: BOTH, row: rowOf(0xdf, 0x38), feed: stores },
  { name: "extF80_eq", row: rowOf(0xdd, 0xe1), feed: compares(FSW.C3) },
  { name: "extF80_lt", row: rowOf(0xd8, 0xd1), feed: compares(FSW.C0) },
  { name: "f32_to_extF80", row: rowOf(0xd9, 0x00), feed: loads },
  { name: "f64_to_extF80", row: rowOf(0xdd, 0x00), feed: loads },
  { name: "i32_to_extF80", row: rowOf(0xdb, 0x00), feed: loads },
  { name: "i64_to_extF80", row: rowOf(0xdf, 0x28), feed: loads },
];

for (const { name, modes, row, feed } of FILES) {
  for (const mode of modes ?? [undefined]) {
    const file = `${name}${mode === undefined ? "" : `.${mode}.p80`}.txt.gz`;
    const path = sharedPath("vectors", "testfloat-x87", file);
    test(`TestFloat ${file}`, { skip: path === undefined ? "vectors are not on this machine" : false }, () => {
      const machine = new X87Machine();
      const fcw = MASKED | MODES[mode ?? "rnear_even"];
      const lines = gunzipSync(readFileSync(path as string))
        .toString()
        .trim()
        .split("\n");
      for (const line of lines) {
        const words = line.trim().split(" ");
        const [expected, flags] = words.slice(-2) as [string, string];
        const result = feed(machine, row, fcw, words.slice(0, -2));
        const raised = machine.get("fsw") & KNOWN;
        assert.ok(
          result === expected && raised === flagsOf(flags),
          `${line}: result ${result}, flags ${raised.toString(16)}`,
        );
      }
    });
  }
}
