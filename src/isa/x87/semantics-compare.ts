/** The shapes of comparisons, into condition codes and into EFLAGS, and FXAM. */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import { FIELD } from "../state.ts";
import { CLASS_EMPTY, ORDER, ORDER_BITS, orderFlags } from "./compare.ts";
import { FCW, FSW, OUTCOME, STATUS } from "./constants.ts";
import { type Extended, invoke } from "./emit.ts";
import { widenOperand } from "./operands.ts";
import type { Semantics, Source } from "./row.ts";
import {
  ALL_CODES,
  begin,
  isFull,
  isSuppressed,
  loadControl,
  markEmpty,
  mergeFlags,
  moveTop,
  readRegister,
  relativeOffset,
  STACK_FAULT,
  storeStatus,
  topOffset,
} from "./stack.ts";

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
    const [result, carry] = orderFlags(flags.get);
    f.store32(s, result, FIELD.flagsResult.offset);
    f.store32(s, carry, FIELD.flagsCarry.offset);
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

/** FXAM. */
export const examine: Semantics = (kernel, f, s) => {
  const fsw = begin(f, s, true);
  const top = topOffset(f, fsw);
  const a = readRegister(f, s, top);
  const full = f.let(invoke(kernel.comparison.examine, a.signExponent, a.significand));
  const codes = i32.select(isFull(s, top), full, i32.or(i32.and(full, FSW.C1), CLASS_EMPTY));
  storeStatus(f, s, i32.or(i32.and(fsw, ~ALL_CODES), codes));
  f.result(STATUS.done);
};
