/** The instruction table: every row, and the opcode maps that the decoder walks. */
import type { Form, Row } from "./row.ts";
import { ARITHMETIC } from "./table/arithmetic.ts";
import { CONTROL } from "./table/control.ts";
import { MOVES } from "./table/moves.ts";
import { SYSTEM } from "./table/system.ts";
import { VECTOR } from "./table/vector.ts";
import { X87 } from "./table/x87.ts";

/** All instructions. */
export const TABLE: readonly Row[] = [...ARITHMETIC, ...MOVES, ...CONTROL, ...SYSTEM, ...X87, ...VECTOR];

/** All encodings, by `Form.id`. */
export const FORMS: readonly Form[] = (() => {
  const forms: Form[] = [];
  for (const row of TABLE) for (const form of row.forms) forms[form.id] = form;
  return forms;
})();

/** Index in {@link OPCODE_MAP} of the first opcode of each map. */
export const MAP = { one: 0, two: 0x100, three38: 0x200, three3a: 0x300 } as const;

/** Index of a form's opcode in {@link OPCODE_MAP}. */
function mapIndex(opcode: number): number {
  if (opcode <= 0xff) return opcode;
  if (opcode <= 0xffff) return MAP.two | (opcode & 0xff);
  return ((opcode >> 8) & 0xff) === 0x38 ? MAP.three38 | (opcode & 0xff) : MAP.three3a | (opcode & 0xff);
}

/** Encodings by opcode: index 0–255 one-byte opcodes, then those behind 0F, 0F 38 and 0F 3A. */
export const OPCODE_MAP: readonly (readonly Form[])[] = (() => {
  const map: Form[][] = Array.from({ length: 1024 }, () => []);
  for (const form of FORMS) {
    map[mapIndex(form.opcode)]?.push(form);
  }
  // Forms with a fixed rm or mandatory prefix are tried before the general ones.
  for (const list of map) {
    list.sort(
      (a, b) =>
        Number(b.rm >= 0) - Number(a.rm >= 0) ||
        Number(b.row.traits.prefix !== undefined) - Number(a.row.traits.prefix !== undefined),
    );
  }
  return map;
})();
