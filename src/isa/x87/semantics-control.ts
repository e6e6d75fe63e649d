/** Control instructions: status and control word, tags, TOP. */
import { i32, type Value } from "../../wasm/expression.ts";
import { FIELD, GPR } from "../state.ts";
import { FCW_FIXED, FCW_INITIAL, FCW_WRITABLE, FSW, SCRATCH, STATUS } from "./constants.ts";
import type { Semantics } from "./row.ts";
import { begin, loadStatus, markEmpty, mergeFlags, moveTop, relativeOffset, storeStatus, topOffset } from "./stack.ts";

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

/** FFREE. */
export const free: Semantics = (_kernel, f, s, sti) => {
  const fsw = begin(f, s, true);
  markEmpty(f, s, relativeOffset(f, topOffset(f, fsw), sti));
  storeStatus(f, s, i32.and(fsw, ~FSW.C1));
  f.result(STATUS.done);
};

/** FFREE, then pop without a stack check. */
export const freePop: Semantics = (_kernel, f, s, sti) => {
  const fsw = begin(f, s, true);
  const top = topOffset(f, fsw);
  markEmpty(f, s, relativeOffset(f, top, sti));
  markEmpty(f, s, top);
  storeStatus(f, s, i32.and(moveTop(fsw, 1), ~FSW.C1));
  f.result(STATUS.done);
};

/** FLDCW. The exception summary follows the masks: a newly unmasked exception becomes pending (SDM 1 8.1.3.3). */
export const loadControlWord: Semantics = (_kernel, f, s, word) => {
  const fsw = begin(f, s, true);
  const fcw = f.let(i32.or(i32.and(word, FCW_WRITABLE), FCW_FIXED));
  f.store32(s, fcw, FIELD.fcw.offset);
  storeStatus(f, s, mergeFlags(i32.and(fsw, ~(FSW.ES | FSW.B)), fsw, fcw, 0));
  f.result(STATUS.done);
};

/** FNINIT. */
export const initialize: Semantics = (_kernel, f, s) => {
  f.store32(s, FCW_INITIAL, FIELD.fcw.offset);
  for (const field of ["fsw", "ftw", "fop", "fip", "fcs", "fdp", "fds"] as const) f.store32(s, 0, FIELD[field].offset);
  f.result(STATUS.done);
};

/** FNSTSW AX. */
export const statusToAx: Semantics = (_kernel, f, s) => {
  f.store16(s, loadStatus(s), GPR.eax);
  f.result(STATUS.done);
};
