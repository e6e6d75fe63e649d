/** The shapes of computing instructions: each function gives the semantics of a family, from what varies in it. */
import { i32, type Value } from "../../wasm/expression.ts";
import { FCW, FSW, INDEFINITE, OUTCOME, STATUS } from "./constants.ts";
import { invoke, storeExtended } from "./emit.ts";
import { type NumberFormat, widenOperand } from "./operands.ts";
import type { Kernel, Pick, Semantics, Source } from "./row.ts";
import {
  ALL_CODES,
  begin,
  checkPresent,
  finish,
  isFull,
  loadControl,
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
    const x = register ? readRegister(f, s, source) : widenOperand(f, form.source as NumberFormat, operand);
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
