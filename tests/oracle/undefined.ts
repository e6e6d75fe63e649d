/**
 * What Intel's manual leaves undefined, instruction by instruction (SDM volume 2, section "Flags affected" of each).
 * Only these bits are left out of comparisons: processors differ in them.
 */
import { FLAG } from "./case.ts";

const { CF, PF, AF, ZF, SF, OF } = FLAG;

/** Classes of instructions by what they leave undefined. Shifts depend on their count: see `openFlags`. */
export const UNDEFINED = {
  /** Every flag is defined, or untouched. */
  none: 0,
  /** AND OR XOR TEST: "The state of the AF flag is undefined." */
  logic: AF,
  /** MUL IMUL: "The SF, ZF, AF, and PF flags are undefined." */
  mul: SF | ZF | AF | PF,
  /** DIV IDIV: "The CF, OF, SF, ZF, AF, and PF flags are undefined." */
  div: CF | OF | SF | ZF | AF | PF,
  /** SHL SHR SAR. */
  shift: 0,
  /** ROL ROR, and RCL RCR below. */
  rotate: 0,
  rotateCarry: 0,
  /** SHLD SHRD. */
  double: 0,
  /** BSF BSR: "CF, OF, SF, AF, and PF flags are undefined." */
  scan: CF | OF | SF | AF | PF,
  /** BT BTS BTR BTC: "The OF, SF, AF, and PF flags are undefined." */
  bit: OF | SF | AF | PF,
  /** AAA AAS: "The OF, SF, ZF, and PF flags are undefined." */
  aaa: OF | SF | ZF | PF,
  /** AAM AAD: "The OF, AF, and CF flags are undefined." */
  aam: OF | AF | CF,
  /** DAA DAS: "The OF flag is undefined." */
  daa: OF,
} as const;

/** Name of a class. */
export type UndefinedClass = keyof typeof UNDEFINED;

/** Largest shift count that a processor since the 80186 acts on. */
const COUNT_MASK = 31;

/**
 * EFLAGS bits that an instruction of this class leaves undefined. `count` is a shift's count before masking, or
 * undefined when it is not known; `bits` its operand size.
 */
export function openFlags(kind: UndefinedClass, bits: number, count: number | undefined): number {
  if (kind !== "shift" && kind !== "rotate" && kind !== "rotateCarry" && kind !== "double") return UNDEFINED[kind];
  if (count === undefined) return kind === "double" || kind === "shift" ? AF | OF | CF : OF;
  const masked = count & COUNT_MASK;
  // "If the count is 0, the flags are not affected"; "the OF flag is affected only on 1-bit shifts".
  if (masked === 0) return 0;
  const overflow = masked === 1 ? 0 : OF;
  if (kind === "rotate" || kind === "rotateCarry") return overflow;
  // "The CF flag ... is undefined for SHL and SHR where the count is greater than or equal to the size of the operand."
  const carry = masked >= bits ? CF : 0;
  if (kind === "shift") return AF | overflow | carry;
  // SHLD SHRD: "If the count is greater than the operand size, the flags are undefined."
  return masked > bits ? CF | PF | AF | ZF | SF | OF : AF | overflow;
}

/** SHLD SHRD: "If the count operand is greater than the size of the operand, the result is undefined." */
export function openDestination(kind: UndefinedClass, bits: number, count: number | undefined): boolean {
  return kind === "double" && (count === undefined || (count & COUNT_MASK) > bits);
}
