/** x87 rows of the instruction table, made from the x87's own table; their arithmetic stands in `isa/x87`. */
import { type Form, type OperandCode, type Row, row } from "../row.ts";
import type { MemoryOperand, X87Row } from "../x87/row.ts";
import { X87_ROWS } from "../x87/rows.ts";

/** Operand code of a memory operand; the blocks have no size of their own. */
const MEMORY: Readonly<Record<MemoryOperand, OperandCode>> = {
  r32: "Md",
  r64: "Mq",
  r80: "Mt",
  i16: "Mw",
  i32: "Md",
  i64: "Mq",
  bcd: "Mt",
  env: "M",
  state: "M",
};

const OPERAND: Readonly<Record<string, OperandCode | undefined>> = { st: "ST", "st(i)": "STi", ax: "AX" };

/** Helpers that move environment and state blocks. */
const BLOCK_HELPERS: Readonly<Record<string, string>> = {
  FLDENV: "loadEnvironment",
  FNSTENV: "storeEnvironment",
  FRSTOR: "restoreX87",
  FNSAVE: "saveX87",
};

function encoding(x87: X87Row): string {
  const opcode = x87.opcode.toString(16).toUpperCase();
  if (x87.mod === "none") return opcode;
  if (x87.mod === "mem") return `${opcode} /${x87.reg} mem ${MEMORY[x87.memory ?? "env"]}`;
  const operands = x87.operands.split(",").flatMap((name) => OPERAND[name.trim()] ?? []);
  return `${opcode} /${x87.reg} reg ${x87.rm === undefined ? "" : `:${x87.rm}`} ${operands.join(" ")}`;
}

const sources = new Map<Row, X87Row>();

/** The x87's own row behind a form, if it is an x87 instruction. */
export function x87RowOf(form: Form): X87Row | undefined {
  return sources.get(form.row);
}

export const X87: readonly Row[] = X87_ROWS.map((x87) => {
  const helper = BLOCK_HELPERS[x87.mnemonic];
  const made = row(x87.mnemonic, [encoding(x87)], {
    size: helper ? "v" : "n",
    dst: x87.access === "write" ? "w" : "r",
    x87: x87.waits ? "wait" : "nowait",
    ...(x87.feature !== undefined && { feature: x87.feature }),
    ...(helper !== undefined && { helper }),
  });
  sources.set(made, x87);
  return made;
});
