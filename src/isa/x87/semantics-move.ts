/** The shapes of loads, stores, exchanges and conditional moves. */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import { FIELD } from "../state.ts";
import { EXT, FCW, FSW, INDEFINITE, QUIET_BIT, RC, SCRATCH, STATUS, WAS_DENORMAL } from "./constants.ts";
import { type Extended, exponentOf, invoke, storeExtended } from "./emit.ts";
import { type NumberFormat, widenInteger, widenOperand } from "./operands.ts";
import type { Kernel, Pick, Semantics } from "./row.ts";
import {
  begin,
  checkPresent,
  isFull,
  isSuppressed,
  loadControl,
  markEmpty,
  markFull,
  mergeFlags,
  moveTop,
  readRegister,
  registerAddress,
  relativeOffset,
  STACK_FAULT,
  storeStatus,
  topOffset,
} from "./stack.ts";

/** Push `value`, whose load raised `flags`. */
function push(kernel: Kernel, f: FunctionWriter, s: Value, fsw: Value, value: Extended, flags?: Value): void {
  const target = relativeOffset(f, topOffset(f, fsw), 7);
  f.if(isFull(s, target), () => f.return(invoke(kernel.stack.overflow, s)));
  const fcw = f.let(loadControl(s));
  const merged = f.let(mergeFlags(fsw, flags ?? i32.const(0), fcw));
  if (flags !== undefined) {
    // An unmasked denormal is pushed all the same: only the invalid operation stops a load.
    f.if(i32.and(i32.and(flags, FSW.IE), i32.xor(fcw, -1)), () => {
      storeStatus(f, s, merged);
      f.return(STATUS.done);
    });
  }
  storeExtended(f, f.let(registerAddress(s, target)), value.signExponent, value.significand);
  markFull(f, s, target);
  storeStatus(f, s, moveTop(merged, -1));
  f.result(STATUS.done);
}

/** FLD m32/m64, FILD. */
export function loadNumber(source: NumberFormat): Semantics {
  return (kernel, f, s, bits) => {
    const fsw = begin(f, s, true);
    const value = widenOperand(f, source, bits);
    if (source !== "r32" && source !== "r64") {
      push(kernel, f, s, fsw, value);
      return;
    }
    // Loading quiets a signaling NaN and reports a denormal.
    const nan = i32.and(
      i32.eq(exponentOf(value.signExponent), EXT.exponent),
      i64.ne(i64.shl(value.significand, 1n), 0n),
    );
    const signaling = i32.and(nan, i64.eqz(i64.and(value.significand, QUIET_BIT)));
    const quieted = f.let(i64.or(value.significand, i64.select(signaling, QUIET_BIT, 0n)));
    const denormal = i32.select(i32.and(value.signExponent, WAS_DENORMAL), FSW.DE, 0);
    const flags = f.let(i32.or(i32.select(signaling, FSW.IE, 0), denormal));
    push(kernel, f, s, fsw, { signExponent: value.signExponent, significand: quieted }, flags);
  };
}

/** FLD m80: any bit pattern, no exception. */
export const loadExtendedReal: Semantics = (kernel, f, s, significand, signExponent) => {
  const fsw = begin(f, s, true);
  push(kernel, f, s, fsw, { signExponent: signExponent, significand: significand });
};

/** FBLD. */
export const loadDecimal: Semantics = (kernel, f, s, digits, top) => {
  const fsw = begin(f, s, true);
  const magnitude = f.let(invoke(kernel.decimal.fromDecimal, digits, top));
  const value = widenInteger(f, magnitude);
  const sign = i32.and(top, EXT.sign);
  push(kernel, f, s, fsw, { signExponent: f.let(i32.or(value.signExponent, sign)), significand: value.significand });
};

/** FLD ST(i). */
export const loadRegister: Semantics = (kernel, f, s, sti) => {
  const fsw = begin(f, s, true);
  const top = topOffset(f, fsw);
  const source = relativeOffset(f, top, sti);
  f.if(i32.eqz(isFull(s, source)), () => {
    const fcw = f.let(loadControl(s));
    const merged = f.let(mergeFlags(fsw, i32.const(STACK_FAULT.underflow), fcw));
    storeStatus(f, s, merged);
    f.if(i32.and(fcw, FCW.IM), () => {
      const target = relativeOffset(f, top, 7);
      storeExtended(f, f.let(registerAddress(s, target)), INDEFINITE.signExponent, INDEFINITE.significand);
      markFull(f, s, target);
      storeStatus(f, s, moveTop(merged, -1));
    });
    f.return(STATUS.done);
  });
  push(kernel, f, s, fsw, readRegister(f, s, source));
};

/**
 * A constant, given as the significand cut off at 64 bits, with what the rounding modes add to it: nearest, down, up,
 * chop (SDM 2 FLD1…: the internal constant has 66 bits and is rounded by RC).
 */
export function loadConstant(
  signExponent: number,
  significand: bigint,
  add: { nearest: bigint; up: bigint },
): Semantics {
  return (kernel, f, s) => {
    const fsw = begin(f, s, true);
    const control = f.let(i32.and(loadControl(s), FCW.RC));
    const increment = i64.select(i32.eqz(control), add.nearest, i64.select(i32.eq(control, RC.up), add.up, 0n));
    const value = add.up === 0n ? i64.const(significand) : f.let(i64.add(significand, increment));
    push(kernel, f, s, fsw, { signExponent: i32.const(signExponent), significand: value });
  };
}

/** The store's second half: value and flags are in place; unmasked exceptions that forbid the store end here. */
function deliver(f: FunctionWriter, s: Value, fsw: Value, flags: Value, fcw: Value): void {
  f.if(isSuppressed(flags), () => {
    storeStatus(f, s, mergeFlags(fsw, flags, fcw));
    f.return(STATUS.nothingToStore);
  });
  f.store32(s, flags, SCRATCH.flags);
  f.result(STATUS.done);
}

/** If ST(0) is empty: put the indefinite value of the format where `store` wants it, or refuse if unmasked. */
function storeUnderflow(f: FunctionWriter, s: Value, fsw: Value, top: Value, fcw: Value, store: () => void): void {
  f.if(i32.eqz(isFull(s, top)), () => {
    f.if(i32.eqz(i32.and(fcw, FCW.IM)), () => {
      storeStatus(f, s, mergeFlags(fsw, i32.const(STACK_FAULT.underflow), fcw));
      f.return(STATUS.nothingToStore);
    });
    store();
    f.store32(s, STACK_FAULT.underflow, SCRATCH.flags);
    f.return(STATUS.done);
  });
}

/** FST/FSTP m32 and m64, FBSTP: helper (s, signExponent, significand, fcw) → flags. */
export function storeNumber(pick: Pick, indefinite: { low: bigint; high?: number }): Semantics {
  return (kernel, f, s) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const fcw = f.let(loadControl(s));
    storeUnderflow(f, s, fsw, top, fcw, () => {
      f.store64(s, indefinite.low, SCRATCH.value);
      if (indefinite.high !== undefined) f.store16(s, indefinite.high, SCRATCH.value + 8);
    });
    const a = readRegister(f, s, top);
    const flags = f.let(invoke(pick(kernel), s, a.signExponent, a.significand, fcw));
    deliver(f, s, fsw, flags, fcw);
  };
}

/** FIST, FISTP, and with `truncate` FISTTP. */
export function storeInteger(bits: 16 | 32 | 64, truncate: boolean): Semantics {
  return (kernel, f, s) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const fcw = f.let(loadControl(s));
    storeUnderflow(f, s, fsw, top, fcw, () => f.store64(s, -(1n << BigInt(bits - 1)), SCRATCH.value));
    const a = readRegister(f, s, top);
    const control = truncate ? i32.or(fcw, FCW.RC) : fcw;
    const value = f.let(invoke(kernel.rounding.toInteger, s, a.signExponent, a.significand, control, bits));
    f.store64(s, value, SCRATCH.value);
    deliver(f, s, fsw, f.let(i32.load(s, SCRATCH.outcome)), fcw);
  };
}

/** FSTP m80. */
export const storeExtendedReal: Semantics = (_kernel, f, s) => {
  const fsw = begin(f, s, true);
  const top = topOffset(f, fsw);
  const fcw = f.let(loadControl(s));
  const value = f.let(i32.add(s, SCRATCH.value));
  storeUnderflow(f, s, fsw, top, fcw, () => storeExtended(f, value, INDEFINITE.signExponent, INDEFINITE.significand));
  const a = readRegister(f, s, top);
  storeExtended(f, value, a.signExponent, a.significand);
  f.store32(s, 0, SCRATCH.flags);
  f.result(STATUS.done);
};

/** FST ST(i), FSTP ST(i). */
export function storeRegister(pops: boolean): Semantics {
  return (kernel, f, s, sti) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const target = relativeOffset(f, top, sti);
    checkPresent(f, kernel.stack, s, isFull(s, top), target, pops);
    const a = readRegister(f, s, top);
    storeExtended(f, f.let(registerAddress(s, target)), a.signExponent, a.significand);
    markFull(f, s, target);
    const cleared = i32.and(fsw, ~FSW.C1);
    if (pops) markEmpty(f, s, top);
    storeStatus(f, s, pops ? moveTop(f.let(cleared), 1) : cleared);
    f.result(STATUS.done);
  };
}

/** The alias D9 /3: FSTP that, with ST(0) empty, pops without a fault and without a store. */
export const storeRegisterUnchecked: Semantics = (_kernel, f, s, sti) => {
  const fsw = begin(f, s, true);
  const top = topOffset(f, fsw);
  f.if(isFull(s, top), () => {
    const target = relativeOffset(f, top, sti);
    const a = readRegister(f, s, top);
    storeExtended(f, f.let(registerAddress(s, target)), a.signExponent, a.significand);
    markFull(f, s, target);
    markEmpty(f, s, top);
  });
  storeStatus(f, s, moveTop(f.let(i32.and(fsw, ~FSW.C1)), 1));
  f.result(STATUS.done);
};

/** FXCH. An empty register counts as the indefinite if the exception is masked. */
export const exchange: Semantics = (_kernel, f, s, sti) => {
  const fsw = begin(f, s, true);
  const top = topOffset(f, fsw);
  const other = relativeOffset(f, top, sti);
  const topAddress = f.let(registerAddress(s, top));
  const otherAddress = f.let(registerAddress(s, other));
  f.if(
    i32.eqz(i32.and(isFull(s, top), isFull(s, other))),
    () => {
      const fcw = f.let(loadControl(s));
      storeStatus(f, s, mergeFlags(fsw, i32.const(STACK_FAULT.underflow), fcw));
      f.if(i32.eqz(i32.and(fcw, FCW.IM)), () => f.return(STATUS.done));
      for (const [offset, address] of [
        [top, topAddress],
        [other, otherAddress],
      ] as const) {
        f.if(i32.eqz(isFull(s, offset)), () => {
          storeExtended(f, address, INDEFINITE.signExponent, INDEFINITE.significand);
          markFull(f, s, offset);
        });
      }
    },
    () => storeStatus(f, s, i32.and(fsw, ~FSW.C1)),
  );
  const a = readRegister(f, s, top);
  const b = readRegister(f, s, other);
  storeExtended(f, topAddress, b.signExponent, b.significand);
  storeExtended(f, otherAddress, a.signExponent, a.significand);
  f.result(STATUS.done);
};

/** FCMOVcc: below (CF), equal (ZF), below or equal, unordered (PF), and their opposites. */
export function conditionalMove(condition: "b" | "e" | "be" | "u", negated: boolean): Semantics {
  return (kernel, f, s, sti) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const source = relativeOffset(f, top, sti);
    checkPresent(f, kernel.stack, s, i32.and(isFull(s, top), isFull(s, source)), top, false);
    const result = f.let(i32.load(s, FIELD.flagsResult.offset));
    const carries = f.let(i32.load(s, FIELD.flagsCarry.offset));
    const carry = i32.shrU(carries, 31);
    const zero = i32.eqz(result);
    const folded = i32.and(i32.xor(result, i32.shrU(carries, 8)), 0xff);
    const conditions = {
      b: carry,
      e: zero,
      be: i32.or(carry, zero),
      u: i32.eqz(i32.and(i32.popcnt(folded), 1)),
    };
    const test = conditions[condition];
    f.if(negated ? i32.eqz(test) : test, () => {
      const a = readRegister(f, s, source);
      storeExtended(f, f.let(registerAddress(s, top)), a.signExponent, a.significand);
    });
    f.result(STATUS.done);
  };
}
