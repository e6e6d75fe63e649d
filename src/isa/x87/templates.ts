/** The shapes of x87 instructions: each function returns the semantics of a family, given what varies in it. */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference } from "../../wasm/module.ts";
import { FIELD } from "../state.ts";
import { ORDER, ORDER_BITS } from "./compare.ts";
import { FCW, FSW, INDEFINITE, OUTCOME, QUIET_BIT, SCRATCH, STATUS, WAS_DENORMAL } from "./constants.ts";
import { type Extended, exponentOf, invoke, storeExtended } from "./emit.ts";
import { widenDouble, widenInteger, widenSingle } from "./operands.ts";
import type { Kernel, MemoryOperand, Semantics } from "./row.ts";
import {
  ALL_CODES,
  begin,
  checkPresent,
  finish,
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

/** Where an instruction's second operand comes from. */
export type Source = "sti" | "r32" | "r64" | "i16" | "i32";

function widenOperand(f: FunctionWriter, source: MemoryOperand, bits: Value): Extended {
  switch (source) {
    case "r32":
      return widenSingle(f, bits);
    case "r64":
      return widenDouble(f, bits);
    case "i16":
      return widenInteger(f, f.let(i64.extendS(i32.extend16s(bits))));
    case "i32":
      return widenInteger(f, f.let(i64.extendS(bits)));
    default:
      return widenInteger(f, bits);
  }
}

type Pick = (kernel: Kernel) => FunctionReference;
/** A helper that also wants the state page, for its scratch area, before the other arguments. */
interface Helper {
  readonly pick: Pick;
  readonly scratch: boolean;
}

/** A helper called with its operands only. */
export function plain(pick: Pick): Helper {
  return { pick, scratch: false };
}

/** A helper called with the state page's address first. */
export function withScratch(pick: Pick): Helper {
  return { pick, scratch: true };
}

function apply(helper: Helper, kernel: Kernel, s: Value, ...args: Value[]): Value {
  return invoke(helper.pick(kernel), ...(helper.scratch ? [s, ...args] : args));
}

/** dest ← dest op source, or source op dest when `reversed`. */
export function arithmetic(
  pick: Pick,
  form: { source: Source; reversed: boolean; destination?: "st0" | "sti"; pops?: boolean },
): Semantics {
  const pops = form.pops ?? false;
  return (kernel, f, s, operand) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const register = form.source === "sti";
    const other = register ? relativeOffset(f, top, operand) : top;
    const [destination, source] = form.destination === "sti" ? [other, top] : [top, other];
    checkPresent(f, kernel.stack, s, i32.and(isFull(s, top), isFull(s, other)), destination, pops);
    const fcw = f.let(loadControl(s));
    const d = readRegister(f, s, destination);
    const x = register ? readRegister(f, s, source) : widenOperand(f, form.source as MemoryOperand, operand);
    const [a, b] = form.reversed ? [x, d] : [d, x];
    const address = registerAddress(s, destination);
    const args = [address, a.signExponent, a.significand, b.signExponent, b.significand, fcw];
    finish(f, s, fsw, f.let(invoke(pick(kernel), ...args)), fcw, pops ? top : undefined);
    f.result(STATUS.done);
  };
}

/** ST(0) ← op ST(0); the helper's result replaces the condition codes `codes`. */
export function unary(helper: Helper, codes: number = FSW.C1): Semantics {
  return (kernel, f, s) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    if (codes !== FSW.C1) storeStatus(f, s, i32.and(fsw, ~codes));
    checkPresent(f, kernel.stack, s, isFull(s, top), top, false);
    const fcw = f.let(loadControl(s));
    const a = readRegister(f, s, top);
    const flags = f.let(apply(helper, kernel, s, registerAddress(s, top), a.signExponent, a.significand, fcw));
    storeStatus(f, s, mergeFlags(fsw, flags, fcw, codes));
    f.result(STATUS.done);
  };
}

/** An operation on ST(1) and ST(0) whose result replaces ST(1), ST(0) being popped. The helper's `a` is ST(1). */
export function binaryPop(helper: Helper): Semantics {
  return (kernel, f, s) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const below = relativeOffset(f, top, 1);
    checkPresent(f, kernel.stack, s, i32.and(isFull(s, top), isFull(s, below)), below, true);
    const fcw = f.let(loadControl(s));
    const a = readRegister(f, s, below);
    const b = readRegister(f, s, top);
    const args = [registerAddress(s, below), a.signExponent, a.significand, b.signExponent, b.significand, fcw];
    finish(f, s, fsw, f.let(apply(helper, kernel, s, ...args)), fcw, top);
    f.result(STATUS.done);
  };
}

/** ST(0) ← ST(0) op ST(1) without pop (FSCALE). With `codes` the helper gives all condition codes (FPREM). */
export function binaryKeep(pick: Pick, codes: boolean): Semantics {
  return (kernel, f, s) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const below = relativeOffset(f, top, 1);
    // A stack fault, too, says that the reduction is not partial.
    if (codes) storeStatus(f, s, i32.and(fsw, ~FSW.C2));
    checkPresent(f, kernel.stack, s, i32.and(isFull(s, top), isFull(s, below)), top, false);
    const fcw = f.let(loadControl(s));
    const a = readRegister(f, s, top);
    const b = readRegister(f, s, below);
    const args = [registerAddress(s, top), a.signExponent, a.significand, b.signExponent, b.significand, fcw];
    const flags = f.let(invoke(pick(kernel), ...args));
    if (codes) {
      // Special operands have no quotient: C0 and C3 stay.
      const cleared = i32.select(i32.and(flags, OUTCOME.settled), FSW.C1 | FSW.C2, ALL_CODES);
      storeStatus(f, s, mergeFlags(i32.and(fsw, i32.xor(cleared, -1)), flags, fcw, 0));
    } else {
      storeStatus(f, s, mergeFlags(fsw, flags, fcw));
    }
    f.result(STATUS.done);
  };
}

/**
 * ST(0) ← one result, push another (FPTAN, FSINCOS, FXTRACT). The helper is
 * (pushDestination, destination, signExponent, significand, fcw) → flags; C2 in them means "not reduced": nothing done.
 */
export function pushing(helper: Helper, codes: number): Semantics {
  return (kernel, f, s) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const above = relativeOffset(f, top, 7);
    const fcw = f.let(loadControl(s));
    const underflow = f.let(i32.eqz(isFull(s, top)));
    f.if(i32.or(underflow, isFull(s, above)), () => {
      const fault = i32.select(underflow, STACK_FAULT.underflow, STACK_FAULT.overflow);
      const merged = f.let(mergeFlags(fsw, f.let(fault), fcw, codes));
      storeStatus(f, s, merged);
      f.if(i32.and(fcw, FCW.IM), () => {
        storeExtended(f, f.let(registerAddress(s, top)), INDEFINITE.signExponent, INDEFINITE.significand);
        storeExtended(f, f.let(registerAddress(s, above)), INDEFINITE.signExponent, INDEFINITE.significand);
        markFull(f, s, top);
        markFull(f, s, above);
        storeStatus(f, s, moveTop(merged, -1));
      });
      f.return(STATUS.done);
    });
    const a = readRegister(f, s, top);
    const args = [registerAddress(s, above), registerAddress(s, top), a.signExponent, a.significand, fcw];
    const flags = f.let(apply(helper, kernel, s, ...args));
    const merged = f.let(mergeFlags(fsw, flags, fcw, codes));
    f.if(
      i32.and(flags, OUTCOME.suppressed | FSW.C2),
      () => storeStatus(f, s, merged),
      () => {
        markFull(f, s, above);
        storeStatus(f, s, moveTop(merged, -1));
      },
    );
    f.result(STATUS.done);
  };
}

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
export function loadNumber(source: "r32" | "r64" | "i16" | "i32" | "i64"): Semantics {
  return (kernel, f, s, bits) => {
    const fsw = begin(f, s, true);
    const value = widenOperand(f, source, bits);
    if (source !== "r32" && source !== "r64") {
      push(kernel, f, s, fsw, value);
      return;
    }
    // Loading quiets a signaling NaN and reports a denormal.
    const nan = i32.and(i32.eq(exponentOf(value.signExponent), 0x7fff), i64.ne(i64.shl(value.significand, 1n), 0n));
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
  const sign = i32.and(top, 0x8000);
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
    const increment = i64.select(i32.eqz(control), add.nearest, i64.select(i32.eq(control, 0x800), add.up, 0n));
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

/** FCOM, FUCOM, FTST and their popping forms: order into C3, C2, C0, even if an unmasked exception forbids the pop. */
export function compare(form: { source: Source | "zero"; quiet: boolean; pops: 0 | 1 | 2; index?: number }): Semantics {
  return (kernel, f, s, operand) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const fcw = f.let(loadControl(s));
    const register = form.source === "sti";
    const other = register ? relativeOffset(f, top, form.index ?? operand) : top;
    const flags = f.local("i32");
    f.if(
      i32.and(isFull(s, top), isFull(s, other)),
      () => {
        const a = readRegister(f, s, top);
        const b = comparand(f, s, form.source, other, operand);
        const args = [a.signExponent, a.significand, b.signExponent, b.significand, fcw, form.quiet ? 1 : 0];
        f.set(flags, invoke(kernel.comparison.compare, ...args));
      },
      () => {
        const suppressed = i32.select(i32.and(fcw, FCW.IM), 0, OUTCOME.suppressed);
        f.set(flags, i32.or(STACK_FAULT.underflow | ORDER.unordered, suppressed));
      },
    );
    const merged = f.let(mergeFlags(fsw, flags.get, fcw, ALL_CODES));
    storeStatus(f, s, merged);
    if (form.pops > 0) {
      f.if(i32.eqz(isSuppressed(flags.get)), () => {
        markEmpty(f, s, top);
        if (form.pops > 1) markEmpty(f, s, other);
        storeStatus(f, s, moveTop(merged, form.pops));
      });
    }
    f.result(STATUS.done);
  };
}

function comparand(f: FunctionWriter, s: Value, source: Source | "zero", other: Value, operand: Value): Extended {
  if (source === "zero") return { signExponent: i32.const(0), significand: i64.const(0n) };
  if (source === "sti") return readRegister(f, s, other);
  return widenOperand(f, source, operand);
}

/** Lazy-flag encodings of FCOMI's three flags (OF, SF, AF clear): see the processor's flags. */
const LAZY = { carry: 0xc0000000 | 0, oddParity: 0x100, notZero: 0x100 } as const;

/** FCOMI, FUCOMI: order into ZF, PF, CF. */
export function compareFlags(form: { quiet: boolean; pops: boolean }): Semantics {
  return (kernel, f, s, sti) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    const fcw = f.let(loadControl(s));
    const other = relativeOffset(f, top, sti);
    const flags = f.local("i32");
    f.if(
      i32.and(isFull(s, top), isFull(s, other)),
      () => {
        const a = readRegister(f, s, top);
        const b = readRegister(f, s, other);
        const args = [a.signExponent, a.significand, b.signExponent, b.significand, fcw, form.quiet ? 1 : 0];
        f.set(flags, invoke(kernel.comparison.compare, ...args));
      },
      () => {
        const suppressed = i32.select(i32.and(fcw, FCW.IM), 0, OUTCOME.suppressed);
        f.set(flags, i32.or(STACK_FAULT.underflow | ORDER.unordered, suppressed));
      },
    );
    f.store32(s, i32.select(i32.and(flags.get, FSW.C3), 0, LAZY.notZero), FIELD.flagsResult.offset);
    const carry = i32.select(i32.and(flags.get, FSW.C0), LAZY.carry, 0);
    const parity = i32.select(i32.and(flags.get, FSW.C2), 0, LAZY.oddParity);
    f.store32(s, i32.or(carry, parity), FIELD.flagsCarry.offset);
    // Only a stack fault touches C1 (SDM says cleared; processors leave it).
    const kept = i32.and(fsw, i32.select(i32.and(flags.get, FSW.SF), ~FSW.C1, -1));
    const merged = f.let(mergeFlags(kept, i32.and(flags.get, ~ORDER_BITS), fcw, 0));
    storeStatus(f, s, merged);
    if (form.pops) {
      f.if(i32.eqz(isSuppressed(flags.get)), () => {
        markEmpty(f, s, top);
        storeStatus(f, s, moveTop(merged, 1));
      });
    }
    f.result(STATUS.done);
  };
}

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

/** FCHS and FABS: `change` makes the new sign/exponent word. */
export function changeSign(change: (signExponent: Value) => Value): Semantics {
  return (kernel, f, s) => {
    const fsw = begin(f, s, true);
    const top = topOffset(f, fsw);
    checkPresent(f, kernel.stack, s, isFull(s, top), top, false);
    const address = f.let(registerAddress(s, top));
    f.store16(address, change(i32.load16u(address, 8)), 8);
    storeStatus(f, s, i32.and(fsw, ~FSW.C1));
    f.result(STATUS.done);
  };
}

/** Status-word rewriting without operands (FINCSTP, FDECSTP, FNCLEX); `rewrite` gets and gives the status word. */
export function status(waits: boolean, rewrite: (fsw: Value) => Value): Semantics {
  return (_kernel, f, s) => {
    const fsw = begin(f, s, waits);
    storeStatus(f, s, rewrite(fsw));
    f.result(STATUS.done);
  };
}

/** Nothing, after the check for pending exceptions if `waits`. */
export function nothing(waits: boolean): Semantics {
  return (_kernel, f, s) => {
    begin(f, s, waits);
    f.result(STATUS.done);
  };
}

/** A 16-bit word on its way to memory (FNSTCW, FNSTSW). */
export function storeWord(read: (s: Value) => Value): Semantics {
  return (_kernel, f, s) => {
    f.store32(s, read(s), SCRATCH.value);
    f.result(STATUS.done);
  };
}
