/**
 * The register stack as instructions see it: TOP, tags, status updates, and the responses to stack faults
 * (SDM 1 8.1.2, 8.5.1.1). `offset` is always that of a physical register: 0, 16 … 112 from FPU_REGS.
 */
import { type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { FIELD, FPU_REGS } from "../state.ts";
import { CONDITION, EXCEPTIONS, FCW, FSW, INDEFINITE, OUTCOME, SCRATCH, STATUS, TOP_STEP } from "./constants.ts";
import { define, type Extended, invoke, storeExtended } from "./emit.ts";

const { fcw: FCW_FIELD, fsw: FSW_FIELD, ftw: FTW_FIELD } = FIELD;
/** Offsets of registers wrap within the file of eight. */
const OFFSET_MASK = 0x70;
/** TOP stands at bit 11; an offset is 16 times the register number. */
const TOP_TO_OFFSET = 7;

export interface Stack {
  /** (s, offset, pop): stack underflow of an instruction that writes register `offset`. */
  readonly underflow: FunctionReference;
  /** (s): stack overflow of an instruction that pushes one value. */
  readonly overflow: FunctionReference;
  /** (s): store succeeded; flags of SCRATCH.flags become visible. */
  readonly commit: FunctionReference;
  /** (s): the same, and pop. */
  readonly commitPop: FunctionReference;
}

export function loadControl(s: Value): Value {
  return i32.load(s, FCW_FIELD.offset);
}

export function loadStatus(s: Value): Value {
  return i32.load(s, FSW_FIELD.offset);
}

/** Bind the status word; leave with `pendingException` if the instruction waits and an unmasked exception is pending. */
export function begin(f: FunctionWriter, s: Value, waits: boolean): Value {
  const fsw = f.let(loadStatus(s));
  if (waits) f.if(i32.and(fsw, FSW.ES), () => f.return(STATUS.pendingException));
  return fsw;
}

/** Offset of ST(0). */
export function topOffset(f: FunctionWriter, fsw: Value): Value {
  return f.let(i32.and(i32.shrU(fsw, TOP_TO_OFFSET), OFFSET_MASK));
}

/** Offset of ST(index), relative to that of ST(0). */
export function relativeOffset(f: FunctionWriter, top: Value, index: I32): Value {
  const distance = typeof index === "number" ? i32.const(index << 4) : i32.shl(index, 4);
  return f.let(i32.and(i32.add(top, distance), OFFSET_MASK));
}

/** Address of the register, for functions that take a destination. */
export function registerAddress(s: Value, offset: Value): Value {
  return i32.add(i32.add(s, offset), FPU_REGS);
}

export function readRegister(f: FunctionWriter, s: Value, offset: Value): Extended {
  const address = f.let(i32.add(s, offset));
  return {
    signExponent: f.let(i32.load16u(address, FPU_REGS + 8)),
    significand: f.let(i64.load(address, FPU_REGS)),
  };
}

/** 1 if the register holds a value, 0 if it is empty. */
export function isFull(s: Value, offset: Value): Value {
  return i32.and(i32.shrU(i32.load(s, FTW_FIELD.offset), i32.shrU(offset, 4)), 1);
}

function tagBit(offset: Value): Value {
  return i32.shl(1, i32.shrU(offset, 4));
}

export function markFull(f: FunctionWriter, s: Value, offset: Value): void {
  f.store32(s, i32.or(i32.load(s, FTW_FIELD.offset), tagBit(offset)), FTW_FIELD.offset);
}

export function markEmpty(f: FunctionWriter, s: Value, offset: Value): void {
  f.store32(s, i32.and(i32.load(s, FTW_FIELD.offset), i32.xor(tagBit(offset), -1)), FTW_FIELD.offset);
}

/** The status word with the flags of `flags` added, C1 and `cleared` replaced by theirs, and ES and B to match. */
export function mergeFlags(fsw: Value, flags: Value, fcw: Value, cleared: number = FSW.C1): Value {
  const pending = i32.and(i32.and(flags, EXCEPTIONS), i32.xor(fcw, -1));
  const merged = i32.or(i32.and(fsw, ~cleared), i32.and(flags, 0xffff));
  return i32.or(merged, i32.select(pending, FSW.ES | FSW.B, 0));
}

export function storeStatus(f: FunctionWriter, s: Value, fsw: Value): void {
  f.store32(s, fsw, FSW_FIELD.offset);
}

/** The status word with TOP moved by `steps` (up is a pop). */
export function moveTop(fsw: Value, steps: number): Value {
  const top = i32.and(i32.add(fsw, steps * TOP_STEP), FSW.TOP);
  return i32.or(i32.and(fsw, ~FSW.TOP), top);
}

/** Pop: empty ST(0) at `top` and move TOP in memory. */
export function pop(f: FunctionWriter, s: Value, top: Value): void {
  markEmpty(f, s, top);
  storeStatus(f, s, moveTop(loadStatus(s), 1));
}

/** 1 if `flags` say that destination and stack stay as they were. */
export function isSuppressed(flags: Value): Value {
  return i32.and(flags, OUTCOME.suppressed);
}

/** Condition codes of instructions that define them all. */
export const ALL_CODES = CONDITION;

/** Flags of a stack fault; C1 tells overflow from underflow. */
export const STACK_FAULT = { underflow: FSW.IE | FSW.SF, overflow: FSW.IE | FSW.SF | FSW.C1 } as const;

function defineUnderflow(module: ModuleWriter): FunctionReference {
  return define(module, ["i32", "i32", "i32"], "i32", (f, s, offset, pops) => {
    const fcw = f.let(loadControl(s));
    storeStatus(f, s, mergeFlags(loadStatus(s), i32.const(STACK_FAULT.underflow), fcw));
    f.if(i32.and(fcw, FCW.IM), () => {
      storeExtended(f, f.let(registerAddress(s, offset)), INDEFINITE.signExponent, INDEFINITE.significand);
      markFull(f, s, offset);
      f.if(pops, () => pop(f, s, topOffset(f, loadStatus(s))));
    });
    f.result(STATUS.done);
  });
}

function defineOverflow(module: ModuleWriter): FunctionReference {
  return define(module, ["i32"], "i32", (f, s) => {
    const fcw = f.let(loadControl(s));
    storeStatus(f, s, mergeFlags(loadStatus(s), i32.const(STACK_FAULT.overflow), fcw));
    f.if(i32.and(fcw, FCW.IM), () => {
      storeStatus(f, s, moveTop(loadStatus(s), -1));
      const address = f.let(registerAddress(s, topOffset(f, loadStatus(s))));
      storeExtended(f, address, INDEFINITE.signExponent, INDEFINITE.significand);
    });
    f.result(STATUS.done);
  });
}

function defineCommit(module: ModuleWriter, pops: boolean, exported?: string): FunctionReference {
  const body = (f: FunctionWriter, s: Value): void => {
    const fsw = f.let(loadStatus(s));
    if (pops) markEmpty(f, s, topOffset(f, fsw));
    const merged = f.let(mergeFlags(fsw, f.let(i32.load(s, SCRATCH.flags)), f.let(loadControl(s))));
    storeStatus(f, s, pops ? moveTop(merged, 1) : merged);
  };
  return define(module, ["i32"], undefined, body, exported);
}

/** Define the stack functions in `module`; `names` export the commits. */
export function defineStack(module: ModuleWriter, names: { keep?: string; pop?: string }): Stack {
  return {
    underflow: defineUnderflow(module),
    overflow: defineOverflow(module),
    commit: defineCommit(module, false, names.keep),
    commitPop: defineCommit(module, true, names.pop),
  };
}

/** Merge an outcome into the status word, then pop unless it was suppressed. */
export function finish(f: FunctionWriter, s: Value, fsw: Value, flags: Value, fcw: Value, popped?: Value): void {
  const merged = f.let(mergeFlags(fsw, flags, fcw));
  if (popped === undefined) {
    storeStatus(f, s, merged);
    return;
  }
  f.if(
    isSuppressed(flags),
    () => storeStatus(f, s, merged),
    () => {
      markEmpty(f, s, popped);
      storeStatus(f, s, moveTop(merged, 1));
    },
  );
}

/** `return` with the response to an underflow at `offset`, if `present` is 0. */
export function checkPresent(
  f: FunctionWriter,
  stack: Stack,
  s: Value,
  present: Value,
  offset: Value,
  pops: boolean,
): void {
  f.if(i32.eqz(present), () => f.return(invoke(stack.underflow, s, offset, pops ? 1 : 0)));
}
