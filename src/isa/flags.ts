/**
 * EFLAGS, and the lazy form in which the engines keep the six arithmetic flags: a result and a carry word.
 *
 *   ZF = result == 0          SF = result bit 31 ^ carry bit 0
 *   CF = carry bit 31         OF = carry bit 31 ^ carry bit 30
 *   AF = carry bit 3          PF = even parity of (result ^ carry >> 8) & 0xFF
 *
 * An addition or subtraction stores its result sign-extended and its carry-out vector moved to the top, which costs four
 * operations off the critical path; the bits 0 and 8–15 are there so that any combination (POPF, SAHF) can be stored.
 */
import { type I32, i32, type Value } from "../wasm/expression.ts";

/** EFLAGS bits (SDM 1 3.4.3). */
export const EFLAGS = {
  CF: 1 << 0,
  FIXED: 1 << 1,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
  AC: 1 << 18,
  VIF: 1 << 19,
  VIP: 1 << 20,
  ID: 1 << 21,
} as const;

/** The six arithmetic flags. */
export const OSZAPC = EFLAGS.OF | EFLAGS.SF | EFLAGS.ZF | EFLAGS.AF | EFLAGS.PF | EFLAGS.CF;

const CF_BIT = 31;
const PO_BIT = 30;
const AF_BIT = 3;
const PARITY_SHIFT = 8;
/** A non-zero result with sign clear and even low byte: what explicit flags are built upon. */
const NEUTRAL_RESULT = 0x100;

/** EFLAGS bits of a lazy pair. */
export function arithmeticFlags(result: number, carry: number): number {
  let flags = 0;
  if (carry < 0) flags |= EFLAGS.CF;
  if ((carry ^ (carry << 1)) < 0) flags |= EFLAGS.OF;
  if ((result | 0) === 0) flags |= EFLAGS.ZF;
  if ((result >>> 31) ^ (carry & 1)) flags |= EFLAGS.SF;
  if (carry & (1 << AF_BIT)) flags |= EFLAGS.AF;
  let low = (result ^ (carry >>> PARITY_SHIFT)) & 0xff;
  low ^= low >> 4;
  if ((0x9669 >> (low & 15)) & 1) flags |= EFLAGS.PF;
  return flags;
}

/** The `result` half of the lazy pair for explicit EFLAGS bits. */
export function lazyResult(flags: number): number {
  return flags & EFLAGS.ZF ? 0 : NEUTRAL_RESULT;
}

/** The `carry` half of the lazy pair for explicit EFLAGS bits. */
export function lazyCarry(flags: number): number {
  const cf = flags & EFLAGS.CF ? 1 : 0;
  const of = flags & EFLAGS.OF ? 1 : 0;
  return (
    (cf << CF_BIT) |
    ((cf ^ of) << PO_BIT) |
    (flags & EFLAGS.AF ? 1 << AF_BIT : 0) |
    (flags & EFLAGS.SF ? 1 : 0) |
    (flags & EFLAGS.PF ? 0 : 1 << PARITY_SHIFT)
  );
}

/** Bits of the carry word that a 32-bit operation may leave set; the rest would read as parity or sign corrections. */
const CARRY_MASK_32 = (1 << CF_BIT) | (1 << PO_BIT) | (1 << AF_BIT) | 0;

/** `value` of `bits` bits sign-extended to 32. */
export function signExtend(value: Value, bits: number): Value {
  return bits === 32 ? value : bits === 16 ? i32.extend16s(value) : i32.extend8s(value);
}

function placeCarries(vector: Value, bits: number): Value {
  if (bits === 32) return i32.and(vector, CARRY_MASK_32);
  return i32.or(i32.shl(vector, 32 - bits), i32.and(vector, 1 << AF_BIT));
}

/** Carry word of a + b (+ carry) = r. `a` and `b` zero-extended; `r` may have bits above the operand size. */
export function carryOfAdd(a: Value, b: Value, r: Value, bits: number): Value {
  return placeCarries(i32.or(i32.and(a, b), i32.and(i32.or(a, b), i32.xor(r, -1))), bits);
}

/** Carry word (borrows) of a - b (- borrow) = r. */
export function carryOfSub(a: Value, b: Value, r: Value, bits: number): Value {
  return placeCarries(i32.or(i32.and(i32.xor(a, -1), b), i32.and(i32.xor(i32.xor(a, b), -1), r)), bits);
}

/** Carry word with the given CF and OF (0 or 1 each), AF clear, no corrections. */
export function carryOfBits(cf: I32, of: I32): Value {
  return i32.or(i32.shl(cf, CF_BIT), i32.shl(i32.xor(cf, of), PO_BIT));
}

/** The lazy pair of given flags (0 or 1 each); AF is clear. */
export function explicitFlags(zf: I32, cf: I32, pf: I32, of: I32 = 0, sf: I32 = 0): { result: Value; carry: Value } {
  return {
    result: i32.mul(i32.xor(zf, 1), NEUTRAL_RESULT),
    carry: i32.or(i32.or(carryOfBits(cf, of), sf), i32.shl(i32.xor(pf, 1), PARITY_SHIFT)),
  };
}

/** Replace CF of `carry` by that of `old`, leaving OF as `carry` says: INC and DEC. */
export function keepCarry(carry: Value, old: Value): Value {
  const sign = 1 << CF_BIT;
  const overflow = i32.and(i32.xor(carry, i32.shl(carry, 1)), sign);
  const cf = i32.and(old, sign);
  return i32.or(i32.or(i32.and(carry, 1 << AF_BIT), cf), i32.shrU(i32.xor(cf, overflow), 1));
}

/** Set CF of `carry` to `cf` (0 or 1), every other flag kept. */
export function withCarry(carry: Value, cf: I32): Value {
  // PO is CF ^ OF: flipping CF flips it too.
  const flip = i32.xor(i32.shrU(carry, CF_BIT), cf);
  return i32.xor(carry, i32.or(i32.shl(flip, CF_BIT), i32.shl(flip, PO_BIT)));
}

/** Set OF and CF of a lazy pair's carry word, every other flag kept. */
export function withCarryOverflow(carry: Value, cf: I32, of: I32): Value {
  return i32.or(i32.and(carry, (1 << PO_BIT) - 1), carryOfBits(cf, of));
}

/** The six flags as 0/1 values, from a lazy pair. */
export const lazy = {
  cf: (_r: Value, c: Value): Value => i32.shrU(c, CF_BIT),
  zf: (r: Value, _c: Value): Value => i32.eqz(r),
  sf: (r: Value, c: Value): Value => i32.xor(i32.shrU(r, 31), i32.and(c, 1)),
  of: (_r: Value, c: Value): Value => i32.shrU(i32.xor(c, i32.shl(c, 1)), 31),
  af: (_r: Value, c: Value): Value => i32.and(i32.shrU(c, AF_BIT), 1),
  pf: (r: Value, c: Value): Value =>
    i32.and(i32.xor(i32.popcnt(i32.and(i32.xor(r, i32.shrU(c, PARITY_SHIFT)), 0xff)), 1), 1),
} as const;

/** Set ZF to `zf` (0 or 1), every other flag kept; both halves are read more than once. */
export function withZero(r: Value, c: Value, zf: Value): { result: Value; carry: Value } {
  // The result is rebuilt as 0 or NEUTRAL_RESULT, whose sign and low byte are zero: what they were moves to the carry.
  const sign = i32.shrU(r, 31);
  const parity = i32.shl(i32.and(r, 0xff), PARITY_SHIFT);
  return {
    result: i32.select(zf, 0, NEUTRAL_RESULT),
    carry: i32.xor(i32.xor(c, sign), parity),
  };
}

/** EFLAGS bits of a lazy pair, as an expression; `r` and `c` are read more than once. */
export function packFlags(r: Value, c: Value): Value {
  const at = (flag: Value, mask: number): Value => i32.shl(flag, 31 - Math.clz32(mask));
  return i32.or(
    i32.or(i32.or(lazy.cf(r, c), at(lazy.pf(r, c), EFLAGS.PF)), at(lazy.af(r, c), EFLAGS.AF)),
    i32.or(i32.or(at(lazy.zf(r, c), EFLAGS.ZF), at(lazy.sf(r, c), EFLAGS.SF)), at(lazy.of(r, c), EFLAGS.OF)),
  );
}

/** {@link lazyResult} as an expression. */
export function unpackResult(flags: Value): Value {
  return i32.select(i32.and(flags, EFLAGS.ZF), 0, NEUTRAL_RESULT);
}

/** {@link lazyCarry} as an expression; `flags` is read more than once. */
export function unpackCarry(flags: Value): Value {
  const bit = (mask: number): Value => i32.and(i32.shrU(flags, 31 - Math.clz32(mask)), 1);
  const rest = i32.or(
    i32.or(i32.shl(bit(EFLAGS.AF), AF_BIT), bit(EFLAGS.SF)),
    i32.shl(i32.xor(bit(EFLAGS.PF), 1), PARITY_SHIFT),
  );
  return i32.or(carryOfBits(bit(EFLAGS.CF), bit(EFLAGS.OF)), rest);
}

/** SF ^ OF as the sign of a word: `l` condition when negative. */
function lessSign(r: Value, c: Value): Value {
  return i32.xor(i32.xor(r, i32.shl(c, 31)), i32.xor(c, i32.shl(c, 1)));
}

/** Condition `cc` (0–15, as in Jcc) over a lazy pair; non-zero when it holds. `r` and `c` are read more than once. */
export function condition(cc: number, r: Value, c: Value): Value {
  const base = cc & 14;
  const positive = ((): Value => {
    switch (base) {
      case 0:
        return i32.ltS(i32.xor(c, i32.shl(c, 1)), 0);
      case 2:
        return i32.ltS(c, 0);
      case 4:
        return i32.eqz(r);
      case 6:
        return i32.or(i32.ltS(c, 0), i32.eqz(r));
      case 8:
        return i32.ltS(i32.xor(r, i32.shl(c, 31)), 0);
      case 10:
        return lazy.pf(r, c);
      case 12:
        return i32.ltS(lessSign(r, c), 0);
      default:
        return i32.or(i32.eqz(r), i32.ltS(lessSign(r, c), 0));
    }
  })();
  return cc & 1 ? i32.eqz(positive) : positive;
}

/**
 * Operations whose six flags follow from a few words, so that they can be made when somebody asks: `a` the first operand,
 * `r` the result, `c` an earlier carry word. `explicit` is the pair itself, `r` and `c` its halves.
 */
export const FLAG_OP = { explicit: 0, sub: 1, add: 2, logic: 3, inc: 4, dec: 5, shl: 6, shr: 7, sar: 8 } as const;
export type FlagOp = keyof typeof FLAG_OP;

const OP_BITS = 4;
const SIZE_SHIFT = OP_BITS;
const COUNT_SHIFT = SIZE_SHIFT + 2;

/** A flag operation, its operand size and (of shifts) its count, 1–31, in one word. */
export function flagKind(op: FlagOp, bits: number, count = 0): number {
  return FLAG_OP[op] | ((bits === 32 ? 2 : bits >> 4) << SIZE_SHIFT) | (count << COUNT_SHIFT);
}

const OP_NAMES = Object.keys(FLAG_OP) as FlagOp[];

/** The parts of a {@link flagKind} word. */
export function flagKindParts(kind: number): { op: FlagOp; bits: number; count: number } {
  return {
    op: OP_NAMES[kind & ((1 << OP_BITS) - 1)]!,
    bits: 8 << ((kind >> SIZE_SHIFT) & 3),
    count: kind >> COUNT_SHIFT,
  };
}

/** The lazy pair of an operation: see {@link FLAG_OP}. `b` is the second operand where it is at hand. */
export function lazyPair(kind: number, a: Value, b: Value | undefined, r: Value, c: Value): [Value, Value] {
  const { op, bits, count } = flagKindParts(kind);
  return pairOf(op, bits, count, a, b, r, c);
}

/** Operation and size of a kind word that is known only at run time, and its count. */
export const FLAG_SELECTOR_BITS = COUNT_SHIFT;

/** The lazy pair of an operation and size whose count is in `kind`, a value. */
export function lazyPairOfKind(op: FlagOp, bits: number, kind: Value, a: Value, r: Value, c: Value): [Value, Value] {
  return pairOf(op, bits, i32.shrU(kind, COUNT_SHIFT), a, undefined, r, c);
}

function pairOf(
  op: FlagOp,
  bits: number,
  count: I32,
  a: Value,
  b: Value | undefined,
  r: Value,
  c: Value,
): [Value, Value] {
  const result = (): Value => signExtend(r, bits);
  switch (op) {
    case "explicit":
      return [r, c];
    case "sub":
      return [result(), carryOfSub(a, b ?? i32.sub(a, r), r, bits)];
    case "add":
      return [result(), carryOfAdd(a, b ?? i32.sub(r, a), r, bits)];
    case "logic":
      return [result(), i32.const(0)];
    case "inc":
      return [result(), keepCarry(carryOfAdd(i32.sub(r, 1), i32.const(1), r, bits), c)];
    case "dec":
      return [result(), keepCarry(carryOfSub(i32.add(r, 1), i32.const(1), r, bits), c)];
    case "shl": {
      const cf = i32.select(i32.gtU(count, bits), 0, i32.and(i32.shrU(a, i32.sub(bits, count)), 1));
      return [result(), carryOfBits(cf, i32.xor(i32.and(i32.shrU(r, bits - 1), 1), cf))];
    }
    case "shr": {
      const of = i32.and(i32.shrU(i32.xor(r, i32.shl(r, 1)), bits - 1), 1);
      return [result(), carryOfBits(i32.and(i32.shrU(a, i32.sub(count, 1)), 1), of)];
    }
    default:
      return [result(), carryOfBits(i32.and(i32.shrS(a, i32.sub(count, 1)), 1), 0)];
  }
}

/** CF of an operation as 0 or 1: see {@link lazyPair}. */
export function carryFlagOf(kind: number, a: Value, b: Value | undefined, r: Value, c: Value): Value {
  const { op, bits } = flagKindParts(kind);
  if (op === "sub" && b) return i32.ltU(a, b);
  if (op === "sub" && bits === 32) return i32.ltU(a, i32.sub(a, r));
  if (op === "add" && bits === 32) return i32.ltU(r, a);
  if (op === "logic") return i32.const(0);
  if (op === "inc" || op === "dec") return i32.shrU(c, CF_BIT);
  return i32.shrU(lazyPair(kind, a, b, r, c)[1], CF_BIT);
}

/** Condition `cc` straight from the operation that set the flags, where that is shorter; undefined otherwise. */
function fusedCondition(kind: number, cc: number, a: Value, b: Value | undefined, r: Value): Value | undefined {
  const { op, bits } = flagKindParts(kind);
  const result = (): Value => signExtend(r, bits);
  if (op === "explicit") return undefined;
  switch (cc & 14) {
    case 4:
      return op === "sub" && b ? i32.eq(signExtend(a, bits), signExtend(b, bits)) : i32.eqz(result());
    case 8:
      return i32.ltS(result(), 0);
    default:
  }
  if (op === "logic") {
    switch (cc & 14) {
      case 0:
      case 2:
        return i32.const(0);
      case 6:
        return i32.eqz(result());
      case 12:
        return i32.ltS(result(), 0);
      case 14:
        return i32.leS(result(), 0);
      default:
        return undefined;
    }
  }
  if (op === "add" && (cc & 14) === 2 && bits === 32) return i32.ltU(r, a);
  if (op !== "sub" || (!b && bits !== 32)) return undefined;
  const second = b ?? i32.sub(a, r);
  switch (cc & 14) {
    case 2:
      return i32.ltU(a, second);
    case 6:
      return i32.leU(a, second);
    case 12:
      return i32.ltS(signExtend(a, bits), signExtend(second, bits));
    case 14:
      return i32.leS(signExtend(a, bits), signExtend(second, bits));
    default:
      return undefined;
  }
}

/** Condition `cc` over the flags of an operation: see {@link lazyPair}. Zero or not. */
export function conditionOf(kind: number, cc: number, a: Value, b: Value | undefined, r: Value, c: Value): Value {
  const fused = fusedCondition(kind, cc, a, b, r);
  if (fused) return cc & 1 ? i32.eqz(fused) : fused;
  if ((cc & 14) === 2) {
    const cf = carryFlagOf(kind, a, b, r, c);
    return cc & 1 ? i32.eqz(cf) : cf;
  }
  const [result, carry] = lazyPair(kind, a, b, r, c);
  return condition(cc, result, carry);
}

/** Names of the conditions in encoding order. */
export const CONDITIONS = [
  "O",
  "NO",
  "B",
  "AE",
  "E",
  "NE",
  "BE",
  "A",
  "S",
  "NS",
  "P",
  "NP",
  "L",
  "GE",
  "LE",
  "G",
] as const;
