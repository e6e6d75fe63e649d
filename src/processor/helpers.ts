/** The instructions that are TypeScript, by the names that rows use; numbers are what operation records hold. */
import { IO_HELPERS } from "./instructions/io.ts";
import type { Helper } from "./instructions/operands.ts";
import { SIMPLE } from "./instructions/simple.ts";
import { SYSTEM_HELPERS } from "./instructions/system.ts";
import { TRANSFERS } from "./instructions/transfers.ts";
import { VECTOR_HELPERS } from "./instructions/vector.ts";
import { X87_HELPERS } from "./instructions/x87.ts";

const ALL: Readonly<Record<string, Helper>> = {
  ...SIMPLE,
  ...TRANSFERS,
  ...SYSTEM_HELPERS,
  ...IO_HELPERS,
  ...X87_HELPERS,
  ...VECTOR_HELPERS,
};

const numbers = new Map(Object.keys(ALL).map((name, number) => [name, number]));

/** Helpers by number. */
export const HELPERS: readonly Helper[] = Object.values(ALL);

/** Number of a helper by the name that a row gives. */
export function helperNumber(name: string): number {
  const number = numbers.get(name);
  if (number === undefined) throw new RangeError(`no helper named ${name}`);
  return number;
}
