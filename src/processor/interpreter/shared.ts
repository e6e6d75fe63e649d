/**
 * WebAssembly functions that every arm may call: memory accesses (see `accesses.ts`), segmentation, the stack.
 * Those that can fault leave the vector in the state page (faultVector ≥ 0), and their callers look.
 */
import { FIELD, GPR, SEG, SEG_BASE, SEG_FIELD, SEG_STRIDE, segmentField } from "../../isa/state.ts";
import { call, type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../../wasm/module.ts";
import { i64x2, v128 } from "../../wasm/simd.ts";
import { hostAddress, notPlain } from "../shadow.ts";
import { type AccessFunctions, type AccessImports, defineAccesses } from "./accesses.ts";
import { RECORD, SHAPE } from "./record.ts";

export interface SharedFunctions extends AccessFunctions {
  /** JavaScript: (helper number, record) → STATUS. */
  readonly helper: FunctionReference;
  /** (s, linear) → i64, and → v128; (s, linear, value) with an i64 or v128: nothing is written when they fault. */
  readonly read64: FunctionReference;
  readonly read128: FunctionReference;
  readonly write64: FunctionReference;
  readonly write128: FunctionReference;
  /** (s, record) → offset of the memory operand. */
  readonly effectiveAddress: FunctionReference;
  /** (s, segment, offset, bytes - 1, write) → linear address. */
  readonly segment: FunctionReference;
  /** (s, value, bytes): push through the stack segment. */
  readonly push: FunctionReference;
  /** (s, bytes) → value at the stack top; the pointer stays. */
  readonly pop: FunctionReference;
  /** (s, bytes): add to SP or ESP. */
  readonly adjustStack: FunctionReference;
}

const types = (count: number): ValueType[] => new Array<ValueType>(count).fill("i32");
/** Access rights bit D/B (SDM 3C 25.4.1): 32-bit stack. */
const AR_BIG = 1 << 14;

/** Imports first, then all functions; returns their handles. Bodies are complete on return. */
export function defineShared(
  module: ModuleWriter,
  imports: AccessImports & Pick<SharedFunctions, "helper">,
): SharedFunctions {
  const fn = (params: number, results: number): FunctionReference =>
    module.declare({ params: types(params), results: types(results) });
  const shared: SharedFunctions = {
    ...defineAccesses(module, imports),
    helper: imports.helper,
    read64: module.declare({ params: ["i32", "i32"], results: ["i64"] }),
    read128: module.declare({ params: ["i32", "i32"], results: ["v128"] }),
    write64: module.declare({ params: ["i32", "i32", "i64"], results: [] }),
    write128: module.declare({ params: ["i32", "i32", "v128"], results: [] }),
    effectiveAddress: fn(2, 1),
    segment: fn(5, 1),
    push: fn(3, 0),
    pop: fn(2, 1),
    adjustStack: fn(2, 0),
  };
  const write = (reference: FunctionReference, body: (f: FunctionWriter, ...params: Value[]) => void): void => {
    const f = new FunctionWriter(reference.type);
    body(f, ...f.params.map((p) => p.get));
    module.define(reference, f.finish());
  };

  const field = (s: Value, name: keyof typeof FIELD): Value => i32.load(s, FIELD[name].offset);

  for (const [reference, bytes] of [
    [shared.read64, 8],
    [shared.read128, 16],
  ] as const) {
    write(reference, (f, s, linear) => {
      const host = f.temporary("i32");
      f.set(host, hostAddress(field(s!, "readTable"), linear!));
      f.if(notPlain(host.get, bytes), () => {
        f.set(host, call(shared.readAddress, linear!, bytes));
        f.if(i32.ltS(host.get, 0), () => f.return(bytes === 8 ? 0n : v128.const(0n)));
      });
      f.result(bytes === 8 ? i64.load(host.get) : v128.load(host.get));
    });
  }
  write(shared.write64, (f, s, linear, value) => {
    const host = f.let(hostAddress(field(s!, "writeTable"), linear!));
    f.if(notPlain(host, 8), () => {
      f.do(call(shared.slowWrite64, linear!, value!));
      f.return();
    });
    f.store64(host, value!);
  });
  write(shared.write128, (f, s, linear, value) => {
    const host = f.let(hostAddress(field(s!, "writeTable"), linear!));
    f.if(notPlain(host, 16), () => {
      f.do(call(shared.slowWrite128, linear!, i64x2.extract(value!, 0), i64x2.extract(value!, 1)));
      f.return();
    });
    f.store128(host, value!);
  });

  write(shared.effectiveAddress, (f, s, pc) => {
    const index = i32.shl(
      i32.load(i32.add(s!, i32.load8u(pc!, RECORD.index))),
      i32.and(i32.load8u(pc!, RECORD.shape), 3),
    );
    const base = i32.load(i32.add(s!, i32.load8u(pc!, RECORD.base)));
    const sum = f.let(i32.add(i32.add(base, index), i32.load(pc!, RECORD.displacement)));
    const short = i32.and(i32.load8u(pc!, RECORD.shape), SHAPE.address16);
    f.result(i32.select(short, i32.and(sum, 0xffff), sum));
  });

  write(shared.segment, (f, s, segment, offset, last, isWrite) => {
    const record = f.let(i32.add(s!, i32.mul(segment!, SEG_STRIDE)));
    const at = (part: keyof typeof SEG_FIELD): number => SEG_BASE + SEG_FIELD[part];
    const low = f.let(i32.select(isWrite!, i32.load(record, at("writeLow")), i32.load(record, at("readLow"))));
    const high = f.let(i32.select(isWrite!, i32.load(record, at("writeHigh")), i32.load(record, at("readHigh"))));
    const bad = i32.or(i32.or(i32.ltU(offset!, low), i32.gtU(offset!, high)), i32.ltU(i32.sub(high, offset!), last!));
    f.if(bad, () => {
      // #SS for the stack segment, #GP for the others; the error code is 0 (SDM 3A 6.15).
      f.store32(s!, 0, FIELD.faultError.offset);
      f.store32(s!, i32.select(i32.eq(segment!, SEG.SS), 12, 13), FIELD.faultVector.offset);
    });
    f.result(i32.add(i32.load(record, at("base")), offset!));
  });

  const stackMask = (s: Value): Value =>
    i32.select(i32.and(i32.load(s, segmentField(SEG.SS, "ar")), AR_BIG), -1, 0xffff);
  const setStack = (f: FunctionWriter, s: Value, mask: Value, value: I32): void => {
    const old = i32.load(s, GPR.esp);
    f.store32(s, i32.or(i32.and(old, i32.xor(mask, -1)), i32.and(value, mask)), GPR.esp);
  };

  write(shared.push, (f, s, value, bytes) => {
    const mask = f.let(stackMask(s!));
    const offset = f.let(i32.and(i32.sub(i32.load(s!, GPR.esp), bytes!), mask));
    const linear = f.let(call(shared.segment, s!, SEG.SS, offset, i32.sub(bytes!, 1), 1));
    f.if(i32.geS(field(s!, "faultVector"), 0), () => f.return());
    f.if(
      i32.eq(bytes!, 2),
      () => f.do(call(shared.write16, s!, linear, value!)),
      () => f.do(call(shared.write32, s!, linear, value!)),
    );
    f.if(i32.ltS(field(s!, "faultVector"), 0), () => setStack(f, s!, mask, offset));
  });

  write(shared.pop, (f, s, bytes) => {
    const offset = f.let(i32.and(i32.load(s!, GPR.esp), stackMask(s!)));
    const linear = f.let(call(shared.segment, s!, SEG.SS, offset, i32.sub(bytes!, 1), 0));
    f.if(i32.geS(field(s!, "faultVector"), 0), () => f.return(0));
    f.if(i32.eq(bytes!, 2), () => f.return(call(shared.read16, s!, linear)));
    f.result(call(shared.read32, s!, linear));
  });

  write(shared.adjustStack, (f, s, bytes) => {
    const mask = f.let(stackMask(s!));
    setStack(f, s!, mask, i32.add(i32.load(s!, GPR.esp), bytes!));
  });
  return shared;
}
