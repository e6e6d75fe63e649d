/** The instruction table: every row, and the opcode maps that the decoder walks. */
import type { Form, Row } from "./row.ts";
import { ARITHMETIC } from "./table/arithmetic.ts";
import { CONTROL } from "./table/control.ts";
import { MOVES } from "./table/moves.ts";
import { SYSTEM } from "./table/system.ts";
import { X87 } from "./table/x87.ts";

/** All instructions. */
export const TABLE: readonly Row[] = [...ARITHMETIC, ...MOVES, ...CONTROL, ...SYSTEM, ...X87];

/** All encodings, by `Form.id`. */
export const FORMS: readonly Form[] = (() => {
  const forms: Form[] = [];
  for (const row of TABLE) for (const form of row.forms) forms[form.id] = form;
  return forms;
})();

/** Encodings by opcode: index 0–255 one-byte opcodes, 256–511 those behind 0F. */
export const OPCODE_MAP: readonly (readonly Form[])[] = (() => {
  const map: Form[][] = Array.from({ length: 512 }, () => []);
  for (const form of FORMS) {
    const index = form.opcode > 0xff ? 0x100 | (form.opcode & 0xff) : form.opcode;
    map[index]?.push(form);
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
