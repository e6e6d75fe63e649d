/**
 * The flags of a region while it is compiled. An instruction that sets flags leaves only what they follow from; code is
 * made when somebody reads them, and what must be true before the region can be left (a fault, a call, the end of a
 * block) is that four locals hold that much: kind, first operand, result, carry word (see FLAG_OP in isa/flags.ts).
 */
import { carryFlagOf, conditionOf, type FlagOp, flagKind, flagKindParts, lazyPair } from "../../isa/flags.ts";
import { call, constantOf, type I32, i32, KIND, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference } from "../../wasm/module.ts";

/** The four locals. */
export interface FlagLocals {
  readonly kind: Local;
  readonly a: Local;
  readonly r: Local;
  readonly c: Local;
}

/** Functions (kind, a, r, c) for a kind known at run time only. */
export interface FlagFunctions {
  result(): FunctionReference;
  carry(): FunctionReference;
}

/** What is known at the end of a block, with the locals holding the rest. */
export interface KnownFlags {
  /** Kind word, or undefined when only the local knows. */
  readonly kind: number | undefined;
  /** The carry local holds CF in its top bit. */
  readonly carryValid: boolean;
}

export const UNKNOWN_FLAGS: KnownFlags = { kind: undefined, carryValid: false };

/** What code behind needs of the flags: nothing but to leave with them, CF, or all. */
export const NEED = { none: 0, carry: 1, all: 2 } as const;

/** Zero, as the state page has it between regions. */
const EXPLICIT = flagKind("explicit", 8);

function usesA(op: FlagOp): boolean {
  return op !== "explicit" && op !== "logic" && op !== "inc" && op !== "dec";
}

function usesC(op: FlagOp): boolean {
  return op === "explicit" || op === "inc" || op === "dec";
}

export class FlagState {
  readonly #f: FunctionWriter;
  readonly #locals: FlagLocals;
  readonly #functions: FlagFunctions;
  #kind: number | undefined;
  #a: Value;
  #b: Value | undefined;
  #r: Value;
  #c: Value;
  /** The locals hold all of it. */
  #settled = true;
  #carryValid = false;
  /** What the kind local holds, where that is known. */
  #kindLocal: number | undefined;
  #touched = false;

  constructor(f: FunctionWriter, locals: FlagLocals, functions: FlagFunctions) {
    this.#f = f;
    this.#locals = locals;
    this.#functions = functions;
    this.#a = locals.a.get;
    this.#r = locals.r.get;
    this.#c = locals.c.get;
  }

  /** Begin a block with what its predecessor left in the locals. */
  begin(known: KnownFlags): void {
    const { a, r, c } = this.#locals;
    this.#kind = known.kind;
    this.#a = a.get;
    this.#b = undefined;
    this.#r = r.get;
    this.#c = c.get;
    this.#settled = true;
    this.#kindLocal = known.kind;
    this.#carryValid = known.carryValid || (known.kind !== undefined && usesC(flagKindParts(known.kind).op));
  }

  /** Whether the locals hold all of it. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Whether code so far has anything to do with flags, and so with the locals. */
  get touched(): boolean {
    return this.#touched;
  }

  /** Whether an expression reads the locals, which {@link finish} may change. */
  concerns(value: Value): boolean {
    const { kind, a, r, c } = this.#locals;
    const found: Value[] = [];
    collectLocals(value, found);
    return found.some((node) => node === a.get || node === r.get || node === c.get || node === kind.get);
  }

  /** What the locals hold now; only after {@link settle}. */
  known(): KnownFlags {
    return { kind: this.#kind, carryValid: this.#carryValid };
  }

  /** Add to `into` the nodes of locals that later code may still read by way of the flags. */
  collectLocals(into: Value[]): void {
    collectLocals(this.#a, into);
    collectLocals(this.#r, into);
    collectLocals(this.#c, into);
    if (this.#b) collectLocals(this.#b, into);
  }

  #set(kind: number, a: Value, b: Value | undefined, r: Value, c: Value): void {
    this.#kind = kind;
    this.#a = a;
    this.#b = b;
    this.#r = r;
    this.#c = c;
    this.#settled = false;
    this.#touched = true;
  }

  setOperation(op: Exclude<FlagOp, "explicit">, bits: number, a: Value, b: Value, r: Value, count: number): void {
    const c = usesC(op) ? this.#carryWord() : this.#c;
    this.#set(flagKind(op, bits, count), a, op === "sub" || op === "add" ? b : undefined, r, c);
    this.#carryValid = usesC(op);
  }

  setPair(result: I32 | undefined, carry: I32 | undefined): void {
    const r = result === undefined ? this.result() : i32.const(result);
    const c = carry === undefined ? this.carry() : i32.const(carry);
    this.#set(EXPLICIT, r, undefined, r, c);
    this.#carryValid = true;
  }

  setPairIf(condition: Value, result: I32 | undefined, carry: I32 | undefined): void {
    const known = constantOf(condition);
    if (known !== undefined) {
      if (known !== 0) this.setPair(result, carry);
      return;
    }
    const [oldResult, oldCarry] = this.#pair();
    this.setPair(
      result === undefined ? oldResult : i32.select(condition, result, oldResult),
      carry === undefined ? oldCarry : i32.select(condition, carry, oldCarry),
    );
  }

  /** Flags were set by somebody else, in the locals and explicitly. */
  setExplicit(): void {
    this.begin({ kind: EXPLICIT, carryValid: true });
  }

  /** Find out at run time what the flags follow from, and make them explicit. */
  #resolve(): void {
    const { kind, a, r, c } = this.#locals;
    const args = [kind.get, a.get, r.get, c.get];
    const result = this.#f.let(call(this.#functions.result(), ...args));
    this.#f.set(c, call(this.#functions.carry(), ...args));
    this.#f.set(r, result);
    this.#f.set(kind, EXPLICIT);
    this.#touched = true;
    this.setExplicit();
  }

  #pair(): [Value, Value] {
    if (this.#kind === undefined) this.#resolve();
    return lazyPair(this.#kind!, this.#a, this.#b, this.#r, this.#c);
  }

  result(): Value {
    return this.#pair()[0];
  }

  carry(): Value {
    return this.#pair()[1];
  }

  /** A word whose top bit is CF. */
  #carryWord(): Value {
    if (this.#kind === undefined && this.#carryValid) return this.#locals.c.get;
    if (this.#kind === undefined) this.#resolve();
    if (usesC(flagKindParts(this.#kind!).op)) return this.#c;
    return i32.shl(carryFlagOf(this.#kind!, this.#a, this.#b, this.#r, this.#c), 31);
  }

  /** What was read of flags that are not settled is computed now if it is made of locals that settling changes. */
  #read(value: Value): Value {
    return this.#settled || !this.concerns(value) ? value : this.#f.let(value);
  }

  carryFlag(): Value {
    if (this.#kind === undefined && this.#carryValid) return i32.shrU(this.#locals.c.get, 31);
    if (this.#kind === undefined) this.#resolve();
    return this.#read(carryFlagOf(this.#kind!, this.#a, this.#b, this.#r, this.#c));
  }

  condition(cc: number): Value {
    if (this.#kind === undefined) this.#resolve();
    return this.#read(conditionOf(this.#kind!, cc, this.#a, this.#b, this.#r, this.#c));
  }

  /** Make the locals hold what the flags follow from. What was read from them in this block stays readable. */
  settle(): void {
    if (this.#settled) return;
    const f = this.#f;
    const { kind, a, r, c } = this.#locals;
    const { op } = flagKindParts(this.#kind!);
    const result = usesC(op) ? f.let(this.#r) : this.#r;
    // The carry word may be made of what the other locals still hold.
    if (usesC(op) && this.#c !== c.get) f.set(c, this.#c);
    if (usesA(op)) f.set(a, this.#a);
    f.set(r, result);
    if (this.#kindLocal !== this.#kind) f.set(kind, this.#kind!);
    this.#kindLocal = this.#kind;
    this.#settled = true;
    this.#c = c.get;
    if (op === "explicit") this.#r = r.get;
  }

  /** The locals hold the pair itself: for calls of what reads the state page. */
  makeExplicit(): void {
    if (this.#kind === undefined) {
      this.#resolve();
      return;
    }
    if (this.#kind !== EXPLICIT) this.setPair(undefined, undefined);
    this.settle();
  }

  /** At the end of a block: the locals hold all, and the block behind finds what it needs. */
  finish(need: number): void {
    if (need === NEED.all) this.makeExplicit();
    else this.settle();
    if (need === NEED.carry && !this.#carryValid) {
      if (this.#kind === undefined) this.#resolve();
      else {
        this.#f.set(this.#locals.c, this.#carryWord());
        this.#carryValid = true;
      }
    }
  }
}

function collectLocals(value: Value, into: Value[]): void {
  if (value.kind === KIND.local) {
    into.push(value);
    return;
  }
  if (value.a) collectLocals(value.a, into);
  if (value.b) collectLocals(value.b, into);
  if (value.c) collectLocals(value.c, into);
  if (value.args) for (const arg of value.args) collectLocals(arg, into);
}
