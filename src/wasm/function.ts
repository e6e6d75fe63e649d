/**
 * Writes one function body: statements in order, expressions from `expression.ts`, structured control with labels
 * instead of depths. Bytes are written as statements are made; nothing is kept.
 */
import { constantOf, type I32, type I64, i64, KIND, OP, Value } from "./expression.ts";
import {
  type BlockType,
  ByteWriter,
  type FunctionReference,
  type FunctionType,
  INDEX_BYTES,
  type Relocation,
  VALUE_TYPE,
  type ValueType,
} from "./module.ts";
import { V128_STORE } from "./simd.ts";

/** A local variable; `get` is the expression that reads it. */
export interface Local {
  readonly index: number;
  readonly type: ValueType;
  readonly get: Value;
}

/** A branch target: the end of a block, or the head of a loop. */
export interface Label {
  readonly depth: number;
}

function makeLocal(index: number, type: ValueType): Local {
  return { index, type, get: new Value(KIND.local, type, OP.local_get, index) };
}

/** Natural alignment exponents are not promised to the engine: guests access memory unaligned. */
const UNALIGNED = 0;

export class FunctionWriter {
  readonly params: readonly Local[];
  #code = new ByteWriter(4096);
  /** Where the last instruction begins and ends, if it sets a local, and which one: see {@link #get}. */
  #setStart = -1;
  #setEnd = -1;
  #setLocal = 0;
  readonly #localTypes: ValueType[] = [];
  readonly #paramCount: number;
  /** Temporaries free for reuse, by type. */
  readonly #free: Record<ValueType, Local[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  readonly #scopes: Local[][] = [];
  #relocations: Relocation[] = [];
  #unlikely: number[] = [];
  #depth = 0;

  constructor(type: FunctionType) {
    this.#paramCount = type.params.length;
    this.params = type.params.map((param, index) => makeLocal(index, param));
  }

  /** Bytes of code written so far. */
  get size(): number {
    return this.#code.length;
  }

  /** Places of conditional instructions whose condition is hardly ever true: for {@link ModuleWriter.define}. */
  get unlikelyPlaces(): readonly number[] {
    return this.#unlikely;
  }

  /** Calls that wait for their callee's number: for {@link ModuleWriter.define}. Positions are those in `finish()`. */
  get relocations(): readonly Relocation[] {
    return this.#relocations;
  }

  /**
   * Put what `body` writes at `position`, an earlier `size` of this function, for code whose content is known only when
   * the rest is written. What it opens it must close; its branches stay inside.
   */
  insert(position: number, body: () => void): void {
    const code = this.#code;
    const relocations = this.#relocations;
    const unlikely = this.#unlikely;
    this.#unlikely = [];
    this.#code = new ByteWriter(512);
    this.#relocations = [];
    this.#setEnd = -1;
    body();
    const inserted = this.#code;
    code.insert(position, inserted);
    inserted.release();
    this.#relocations = [
      ...this.#relocations.map(({ at, callee }) => ({ at: at + position, callee })),
      ...relocations.map(({ at, callee }) => ({ at: at < position ? at : at + inserted.length, callee })),
    ];
    this.#unlikely = [
      ...this.#unlikely.map((at) => at + position),
      ...unlikely.map((at) => (at < position ? at : at + inserted.length)),
    ];
    this.#code = code;
    this.#setEnd = -1;
  }

  /** Structured instructions open at this point. */
  get depth(): number {
    return this.#depth;
  }

  /** A new local variable, zero at entry. */
  local(type: ValueType): Local {
    this.#localTypes.push(type);
    return makeLocal(this.#paramCount + this.#localTypes.length - 1, type);
  }

  /** A temporary that lives to the end of the innermost {@link scope} (or of the function). */
  temporary(type: ValueType): Local {
    const local = this.#free[type].pop() ?? this.local(type);
    this.#scopes.at(-1)?.push(local);
    return local;
  }

  /** Run `body`; its temporaries can be reused afterwards. */
  scope(body: () => void): void {
    const mine: Local[] = [];
    this.#scopes.push(mine);
    body();
    this.#scopes.pop();
    for (const local of mine) this.#free[local.type].push(local);
  }

  /** Compute `value` now, and return an expression that reads the result. Constants and temporaries stay what they are. */
  let(value: Value): Value {
    if (value.kind === KIND.const) return value;
    const local = this.temporary(value.type);
    this.set(local, value);
    return local.get;
  }

  set(local: Local, value: I32 | I64): void {
    this.#push(value);
    this.#setStart = this.#code.length;
    this.#code.op(OP.local_set, local.index);
    this.#setEnd = this.#code.length;
    this.#setLocal = local.index;
  }

  /** Push a local; one that has just been set stays on the stack instead. */
  #get(index: number): void {
    const code = this.#code;
    if (index !== this.#setLocal || code.length !== this.#setEnd) {
      code.op(OP.local_get, index);
      return;
    }
    code.bytes[this.#setStart] = OP.local_tee;
    this.#setEnd = -1;
  }

  /** Evaluate for its effects. */
  do(value: Value): void {
    this.#push(value);
    const results = value.kind === KIND.call ? (value.callee?.type.results.length ?? 0) : 1;
    if (results > 0) this.#code.u8(OP.drop);
  }

  #store(opcode: number, address: I32, value: I32 | I64, offset: number): void {
    const base = typeof address === "number" ? address : constantOf(address);
    if (base !== undefined && base > 0) {
      this.#store(opcode, 0, value, offset + base);
      return;
    }
    this.#push(address);
    this.#push(value);
    this.#opcode(opcode);
    this.#code.op(UNALIGNED, offset);
  }

  /** An opcode, its prefix first if it has one. */
  #opcode(opcode: number): void {
    if (opcode <= 0xff) {
      this.#code.u8(opcode);
      return;
    }
    this.#code.u8(opcode >> 8);
    this.#code.u32(opcode & 0xff);
  }

  #vector(bytes: bigint): void {
    for (let at = 0n; at < 128n; at += 8n) this.#code.u8(Number((bytes >> at) & 0xffn));
  }

  store8(address: I32, value: I32, offset = 0): void {
    this.#store(OP.i32_store8, address, value, offset);
  }

  store16(address: I32, value: I32, offset = 0): void {
    this.#store(OP.i32_store16, address, value, offset);
  }

  store32(address: I32, value: I32, offset = 0): void {
    this.#store(OP.i32_store, address, value, offset);
  }

  store64(address: I32, value: I64, offset = 0): void {
    this.#store(OP.i64_store, address, value, offset);
  }

  /** Store an f32 or f64. */
  storeFloat(address: I32, value: Value, offset = 0): void {
    this.#store(value.type === "f64" ? OP.f64_store : OP.f32_store, address, value, offset);
  }

  /** Copy `bytes` from one address to another, as if through a buffer when they overlap. */
  memoryCopy(target: I32, source: I32, bytes: I32): void {
    this.#bulk([target, source, bytes], OP.memory_copy, [0, 0]);
  }

  memoryFill(target: I32, byte: I32, bytes: I32): void {
    this.#bulk([target, byte, bytes], OP.memory_fill, [0]);
  }

  #bulk(operands: readonly I32[], opcode: number, memories: readonly number[]): void {
    for (const operand of operands) this.#push(operand);
    this.#code.u8(OP.bulk_prefix);
    this.#code.u32(opcode);
    for (const memory of memories) this.#code.u8(memory);
  }

  store128(address: I32, value: Value, offset = 0): void {
    this.#store(V128_STORE, address, value, offset);
  }

  /** A block whose label leads to its end. */
  block(body: (label: Label) => void): void {
    this.#structured(OP.block, "void", body);
  }

  /** A loop whose label leads back to its head; falling off the end leaves it. */
  loop(body: (label: Label) => void): void {
    this.#structured(OP.loop, "void", body);
  }

  #structured(opcode: number, type: BlockType, body: (label: Label) => void): void {
    this.#code.u8(opcode);
    this.#code.u8(type === "void" ? 0x40 : VALUE_TYPE[type]);
    this.#depth++;
    body({ depth: this.#depth });
    this.#depth--;
    this.#code.u8(OP.end);
  }

  /** As {@link if}, where the condition is hardly ever true: engines that take hints put `then` out of the way. */
  unlikely(condition: I32, then: () => void, otherwise?: () => void): void {
    this.if(condition, then, otherwise, true);
  }

  if(condition: I32, then: () => void, otherwise?: () => void, unlikely = false): void {
    const known = typeof condition === "number" ? condition : constantOf(condition);
    if (known !== undefined) {
      (known !== 0 ? then : otherwise)?.();
      return;
    }
    this.#push(condition);
    if (unlikely) this.#unlikely.push(this.#code.length);
    this.#code.u8(OP.if);
    this.#code.u8(0x40);
    this.#depth++;
    then();
    if (otherwise) {
      this.#code.u8(OP.else);
      otherwise();
    }
    this.#depth--;
    this.#code.u8(OP.end);
  }

  br(label: Label): void {
    this.#code.op(OP.br, this.#depth - label.depth);
  }

  /** `unlikely`: see {@link unlikely}. */
  brIf(condition: I32, label: Label, unlikely = false): void {
    this.#push(condition);
    if (unlikely) this.#unlikely.push(this.#code.length);
    this.#code.op(OP.br_if, this.#depth - label.depth);
  }

  brTable(index: I32, labels: readonly Label[], fallback: Label): void {
    this.#push(index);
    this.#code.u8(OP.br_table);
    this.#code.u32(labels.length);
    for (const label of labels) this.#code.u32(this.#depth - label.depth);
    this.#code.u32(this.#depth - fallback.depth);
  }

  return(value?: I32 | I64): void {
    if (value !== undefined) this.#push(value);
    this.#code.u8(OP.return);
  }

  #callee(callee: FunctionReference): void {
    if (callee.index >= 0) {
      this.#code.u32(callee.index);
      return;
    }
    this.#relocations.push({ at: this.#code.length, callee });
    for (let i = 0; i < INDEX_BYTES; i++) this.#code.u8(0);
  }

  /** Call a function and keep its results, of which there may be several. */
  callInto(results: readonly Local[], callee: FunctionReference, ...args: readonly (I32 | I64)[]): void {
    for (const arg of args) this.#push(arg);
    this.#code.u8(OP.call);
    this.#callee(callee);
    for (let i = results.length - 1; i >= 0; i--) this.#code.op(OP.local_set, results[i]!.index);
  }

  /** Leave by a call in tail position; needs an engine with tail calls. */
  returnCall(callee: FunctionReference, ...args: I32[]): void {
    for (const arg of args) this.#push(arg);
    this.#code.u8(OP.return_call);
    this.#callee(callee);
  }

  unreachable(): void {
    this.#code.u8(OP.unreachable);
  }

  /** Leave `value` on the stack as the function's result; the last statement of a function that returns one. */
  result(value: I32 | I64): void {
    this.#push(value);
  }

  #push(operand: I32 | I64): void {
    if (typeof operand === "number") this.#code.opSigned(OP.i32_const, operand);
    else if (typeof operand === "bigint") this.#value(i64.const(operand));
    else this.#value(operand);
  }

  #value(value: Value): void {
    const code = this.#code;
    switch (value.kind) {
      case KIND.const:
        if (value.type === "i32") {
          code.opSigned(OP.i32_const, value.immediate as number);
          return;
        }
        this.#opcode(value.opcode);
        if (value.type === "v128") this.#vector(value.immediate as bigint);
        else code.s64(value.immediate as bigint);
        return;
      case KIND.local:
        this.#get(value.immediate as number);
        return;
      case KIND.load:
        this.#value(value.a as Value);
        this.#opcode(value.opcode);
        code.op(UNALIGNED, value.immediate as number);
        return;
      case KIND.unary:
        this.#value(value.a as Value);
        this.#opcode(value.opcode);
        return;
      case KIND.binary:
        this.#value(value.a as Value);
        this.#value(value.b as Value);
        this.#opcode(value.opcode);
        return;
      case KIND.select:
        this.#value(value.a as Value);
        this.#value(value.b as Value);
        this.#value(value.c as Value);
        this.#opcode(value.opcode);
        return;
      case KIND.call:
        for (const arg of value.args as readonly Value[]) this.#value(arg);
        code.u8(OP.call);
        this.#callee(value.callee as FunctionReference);
        return;
      case KIND.callIndirect:
        for (const arg of value.args as readonly Value[]) this.#value(arg);
        this.#value(value.a as Value);
        code.op(OP.call_indirect, value.immediate as number);
        code.u8(0);
        return;
      default:
        this.#value(value.a as Value);
        if (value.b) this.#value(value.b);
        this.#opcode(value.opcode);
        if (typeof value.immediate === "bigint") this.#vector(value.immediate);
        else code.u8(value.immediate);
    }
  }

  /** The function body: local declarations, code, end. Nothing can be written afterwards. */
  finish(): Uint8Array<ArrayBuffer> {
    const head = new ByteWriter(64);
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.#localTypes) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    head.u32(runs.length);
    for (const run of runs) {
      head.u32(run.count);
      head.u8(VALUE_TYPE[run.type]);
    }
    this.#relocations = this.#relocations.map(({ at, callee }) => ({ at: at + head.length, callee }));
    for (const [i, at] of this.#unlikely.entries()) this.#unlikely[i] = at + head.length;
    const code = this.#code;
    code.u8(OP.end);
    const body = new Uint8Array(head.length + code.length);
    body.set(head.bytes.subarray(0, head.length));
    body.set(code.bytes.subarray(0, code.length), head.length);
    head.release();
    code.release();
    return body;
  }
}
