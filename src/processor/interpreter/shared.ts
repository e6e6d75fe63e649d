/**
 * WebAssembly functions that every arm may call: memory accesses through the shadow tables, segmentation, the stack.
 * Those that can fault leave the vector in the state page (faultVector ≥ 0), and their callers look.
 */
import { FIELD, GPR, SEG, SEG_BASE, SEG_FIELD, SEG_STRIDE, segmentField } from "../../isa/state.ts";
import { call, type I32, i32, i64, type Value } from "../../wasm/expression.ts";
import { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter, ValueType } from "../../wasm/module.ts";
import { i64x2, v128 } from "../../wasm/simd.ts";
import { CODE_BITS, ENTRY, GRANULE_SHIFT } from "../memory-map.ts";
import { RECORD, SHAPE } from "./record.ts";

export interface SharedFunctions {
  /** JavaScript: (linear, bytes) → value; sets faultVector. */
  readonly slowRead: FunctionReference;
  /** JavaScript: the same for the read half of a read-modify-write: write permission is needed. */
  readonly slowModify: FunctionReference;
  /** JavaScript: (linear, value, bytes). */
  readonly slowWrite: FunctionReference;
  /** (s, linear, value, bytes): a store that has no fast entry; data beside code stays here, the rest goes to slowWrite. */
  readonly writeBeside: FunctionReference;
  /** JavaScript: (helper number, record) → STATUS. */
  readonly helper: FunctionReference;
  readonly read8: FunctionReference;
  readonly read16: FunctionReference;
  readonly read32: FunctionReference;
  readonly modify8: FunctionReference;
  readonly modify16: FunctionReference;
  readonly modify32: FunctionReference;
  readonly write8: FunctionReference;
  readonly write16: FunctionReference;
  readonly write32: FunctionReference;
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
const PAGE = 4096;
/** Bits that tell what a negative shadow entry is. */
const ENTRY_KIND = -0x8000_0000 | 3;
/** Access rights bit D/B (SDM 3C 25.4.1): 32-bit stack. */
const AR_BIG = 1 << 14;

function readSlot(address: Value, bits: number): Value {
  return bits === 8 ? i32.load8u(address) : bits === 16 ? i32.load16u(address) : i32.load(address);
}

/** Imports first, then all functions; returns their handles. Bodies are complete on return. */
export function defineShared(
  module: ModuleWriter,
  imports: Pick<SharedFunctions, "slowRead" | "slowModify" | "slowWrite" | "helper">,
): SharedFunctions {
  const fn = (params: number, results: number): FunctionReference =>
    module.declare({ params: types(params), results: types(results) });
  const shared: SharedFunctions = {
    ...imports,
    writeBeside: fn(4, 0),
    read8: fn(2, 1),
    read16: fn(2, 1),
    read32: fn(2, 1),
    modify8: fn(2, 1),
    modify16: fn(2, 1),
    modify32: fn(2, 1),
    write8: fn(3, 0),
    write16: fn(3, 0),
    write32: fn(3, 0),
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

  const probe = (
    f: FunctionWriter,
    table: Value,
    linear: Value,
    bits: number,
  ): { entry: Value; inPage: Value; slow: Value } => {
    const inPage = f.let(i32.and(linear, PAGE - 1));
    const entry = f.let(i32.load(i32.add(table, i32.and(i32.shrU(linear, 10), -4))));
    const slow = i32.ltS(bits === 8 ? entry : i32.or(entry, i32.sub(PAGE - bits / 8, inPage)), 0);
    return { entry, inPage, slow };
  };
  const field = (s: Value, name: keyof typeof FIELD): Value => i32.load(s, FIELD[name].offset);

  for (const [bits, read, modify, store] of [
    [8, shared.read8, shared.modify8, shared.write8],
    [16, shared.read16, shared.modify16, shared.write16],
    [32, shared.read32, shared.modify32, shared.write32],
  ] as const) {
    for (const [reference, table, slowCall] of [
      [read, "readTable", shared.slowRead],
      [modify, "writeTable", shared.slowModify],
    ] as const) {
      write(reference, (f, s, linear) => {
        const { entry, inPage, slow } = probe(f, field(s!, table), linear!, bits);
        f.if(slow, () => f.return(call(slowCall, linear!, bits / 8)));
        f.result(readSlot(i32.add(entry, inPage), bits));
      });
    }
    write(store, (f, s, linear, value) => {
      const { entry, inPage, slow } = probe(f, field(s!, "writeTable"), linear!, bits);
      f.if(slow, () => {
        f.do(call(shared.writeBeside, s!, linear!, value!, bits / 8));
        f.return();
      });
      const at = i32.add(entry, inPage);
      if (bits === 8) f.store8(at, value!);
      else if (bits === 16) f.store16(at, value!);
      else f.store32(at, value!);
    });
  }

  const faulted = (s: Value): Value => i32.geS(field(s, "faultVector"), 0);

  /** Without a fast entry, or across pages, wide values go in 32-bit parts, whose faults name the right address. */
  write(shared.read64, (f, s, linear) => {
    const { entry, inPage, slow } = probe(f, field(s!, "readTable"), linear!, 64);
    f.if(slow, () => {
      const low = f.let(call(shared.read32, s!, linear!));
      f.if(faulted(s!), () => f.return(0n));
      const high = call(shared.read32, s!, i32.add(linear!, 4));
      f.return(i64.or(i64.shl(i64.extendU(high), 32n), i64.extendU(low)));
    });
    f.result(i64.load(i32.add(entry, inPage)));
  });

  write(shared.read128, (f, s, linear) => {
    const { entry, inPage, slow } = probe(f, field(s!, "readTable"), linear!, 128);
    f.if(slow, () => {
      const low = f.let(call(shared.read64, s!, linear!));
      f.if(faulted(s!), () => f.return(v128.const(0n)));
      const high = f.let(call(shared.read64, s!, i32.add(linear!, 8)));
      f.return(i64x2.replace(i64x2.splat(low), 1, high));
    });
    f.result(v128.load(i32.add(entry, inPage)));
  });

  /** Across a page boundary both pages are looked at before the first part is written. */
  const probeEnds = (f: FunctionWriter, s: Value, linear: Value, bytes: number): void => {
    const last = f.let(i32.add(linear, bytes - 1));
    f.if(i32.shrU(i32.xor(linear, last), 12), () => {
      for (const at of [linear, i32.and(last, -PAGE)]) {
        f.do(call(shared.modify8, s, at));
        f.if(faulted(s), () => f.return());
      }
    });
  };

  write(shared.write64, (f, s, linear, value) => {
    const { entry, inPage, slow } = probe(f, field(s!, "writeTable"), linear!, 64);
    f.if(slow, () => {
      probeEnds(f, s!, linear!, 8);
      f.do(call(shared.write32, s!, linear!, i32.wrap(value!)));
      f.if(faulted(s!), () => f.return());
      f.do(call(shared.write32, s!, i32.add(linear!, 4), i32.wrap(i64.shrU(value!, 32n))));
      f.return();
    });
    f.store64(i32.add(entry, inPage), value!);
  });

  write(shared.write128, (f, s, linear, value) => {
    const { entry, inPage, slow } = probe(f, field(s!, "writeTable"), linear!, 128);
    f.if(slow, () => {
      probeEnds(f, s!, linear!, 16);
      f.do(call(shared.write64, s!, linear!, i64x2.extract(value!, 0)));
      f.if(faulted(s!), () => f.return());
      f.do(call(shared.write64, s!, i32.add(linear!, 8), i64x2.extract(value!, 1)));
      f.return();
    });
    f.store128(i32.add(entry, inPage), value!);
  });

  write(shared.writeBeside, (f, s, linear, value, bytes) => {
    const inPage = f.let(i32.and(linear!, PAGE - 1));
    const entry = f.let(i32.load(i32.add(field(s!, "writeTable"), i32.and(i32.shrU(linear!, 10), -4))));
    const last = f.let(i32.add(inPage, i32.sub(bytes!, 1)));
    f.block((slow) => {
      f.brIf(i32.or(i32.xor(i32.and(entry, ENTRY_KIND), ENTRY.code & ENTRY_KIND), i32.shrU(last, 12)), slow);
      const page = f.let(i32.and(entry, 0x7ffff000));
      const granules = i32.or(i32.shl(1, i32.shrU(inPage, GRANULE_SHIFT)), i32.shl(1, i32.shrU(last, GRANULE_SHIFT)));
      f.brIf(i32.and(i32.load(i32.shrU(page, 10), CODE_BITS), granules), slow);
      const at = f.let(i32.add(page, inPage));
      f.if(i32.eq(bytes!, 4), () => {
        f.store32(at, value!);
        f.return();
      });
      f.if(
        i32.eq(bytes!, 2),
        () => f.store16(at, value!),
        () => f.store8(at, value!),
      );
      f.return();
    });
    f.do(call(shared.slowWrite, linear!, value!, bytes!));
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
