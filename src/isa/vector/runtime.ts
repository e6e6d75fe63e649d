/**
 * Functions that vector instructions call in every engine: the exact ways of floating point, and what is too long to be
 * written out. The interpreter's module defines them and exports each under its name, so that compiled modules import
 * them. Their first parameter is the state page's address.
 *
 * Those of floating point work on the lowest `lanes` lanes and leave the others of their first vector alone, set MXCSR's
 * flags, and leave unmasked exceptions in the field `simdFault`: the result must not be used then (SDM 1 11.5.2). Those of
 * one lane add DENORMAL_MET there.
 */
import { call, f32, f64, type I64, i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter } from "../../wasm/function.ts";
import type { FunctionReference, FunctionType, ModuleWriter, ValueType } from "../../wasm/module.ts";
import { v128 } from "../../wasm/simd.ts";
import { FIELD, FPU_SCRATCH } from "../state.ts";
import { define, variable } from "../x87/emit.ts";
import { defineLaneArithmetic, type LaneArithmetic } from "./arithmetic.ts";
import { DOUBLE, type FloatOperations, resultIsPlain, type ScalarLane, SINGLE } from "./checks.ts";
import { defineLaneComparison, type LaneComparison } from "./compare.ts";
import { DENORMAL_MET, MASK_SHIFT, MXCSR_BEFORE, MXCSR_DEFAULT, MXCSR_FLAGS } from "./constants.ts";
import { type Conversions, defineConversions } from "./convert.ts";
import { F32, F64, type Format } from "./format.ts";
import { compareStringsWriter, writeCrc32 } from "./strings.ts";

const vectorUnary: FunctionType = { params: ["i32", "v128", "i32"], results: ["v128"] };
const vectorBinary: FunctionType = { params: ["i32", "v128", "v128", "i32"], results: ["v128"] };
const vectorOption: FunctionType = { params: ["i32", "v128", "i32", "i32"], results: ["v128"] };
const vectorPredicate: FunctionType = { params: ["i32", "v128", "v128", "i32", "i32"], results: ["v128"] };
const relation: FunctionType = { params: ["i32", "i64", "i64", "i32"], results: ["i32"] };
const dotProduct: FunctionType = { params: ["i32", "v128", "v128", "i32"], results: ["v128"] };

const scalar = (type: ValueType, operands: 1 | 2): FunctionType => ({
  params: operands === 1 ? ["i32", type] : ["i32", type, type],
  results: [type],
});

/** Types of the functions, by name. */
export const RUNTIME = {
  /** (s, a, b) of bits, where the fast way that is written out does not apply. */
  addSingle: scalar("i32", 2),
  subSingle: scalar("i32", 2),
  mulSingle: scalar("i32", 2),
  divSingle: scalar("i32", 2),
  addDouble: scalar("i64", 2),
  subDouble: scalar("i64", 2),
  mulDouble: scalar("i64", 2),
  divDouble: scalar("i64", 2),
  /** (s, a). */
  sqrtSingle: scalar("i32", 1),
  sqrtDouble: scalar("i64", 1),
  /** (s, a, b, lanes). */
  addF32: vectorBinary,
  subF32: vectorBinary,
  mulF32: vectorBinary,
  divF32: vectorBinary,
  minF32: vectorBinary,
  maxF32: vectorBinary,
  addF64: vectorBinary,
  subF64: vectorBinary,
  mulF64: vectorBinary,
  divF64: vectorBinary,
  minF64: vectorBinary,
  maxF64: vectorBinary,
  /** (s, a, b, lanes): even lanes are subtracted, odd ones added. */
  addSubF32: vectorBinary,
  addSubF64: vectorBinary,
  /** (s, a, lanes). */
  sqrtF32: vectorUnary,
  sqrtF64: vectorUnary,
  /** (s, a, b, lanes, predicate). */
  compareF32: vectorPredicate,
  compareF64: vectorPredicate,
  /** (s, a, b, signaling) of bits → RELATION. */
  relateF32: relation,
  relateF64: relation,
  /** (s, a, lanes, truncate): integers in the lowest lanes. */
  integerF32: vectorOption,
  integerF64: vectorOption,
  /** (s, a, lanes, immediate of ROUNDxx). */
  roundF32: vectorOption,
  roundF64: vectorOption,
  /** (s, a, lanes). */
  doubleFromSingle: vectorUnary,
  singleFromDouble: vectorUnary,
  singleFromInteger: vectorUnary,
  /** (s, a, b, immediate): DPPS and DPPD. */
  dotF32: dotProduct,
  dotF64: dotProduct,
  /** (s, crc, value, bits): CRC32 of up to 32 bits. */
  crc32: { params: ["i32", "i32", "i32", "i32"], results: ["i32"] },
  /** (s, a, b, length of a, length of b, explicit, immediate): see strings.ts. */
  compareStrings: { params: ["i32", "v128", "v128", "i32", "i32", "i32", "i32"], results: ["i32"] },
} as const satisfies Readonly<Record<string, FunctionType>>;

export type RuntimeName = keyof typeof RUNTIME;

/** The functions of one module. */
export type Runtime = Readonly<Record<RuntimeName, FunctionReference>>;

/** Where the functions keep vectors whose lanes they walk. */
const FIRST = FPU_SCRATCH;
const SECOND = FPU_SCRATCH + 16;

/** Noted exceptions that MXCSR does not mask. */
function unmaskedOf(f: FunctionWriter, s: Value): Value {
  const masks = f.let(i32.shrU(i32.load(s, FIELD.mxcsr.offset), MASK_SHIFT));
  return i32.and(i32.and(i32.xor(masks, -1), MXCSR_FLAGS), i32.load(s, FIELD.simdFault.offset));
}

/** Merge the noted exceptions into MXCSR. */
function settle(f: FunctionWriter, s: Value): void {
  const mxcsr = f.let(i32.load(s, FIELD.mxcsr.offset));
  const flags = f.let(i32.load(s, FIELD.simdFault.offset));
  const unmasked = f.let(i32.and(i32.xor(i32.shrU(mxcsr, MASK_SHIFT), -1), MXCSR_FLAGS));
  const before = f.let(i32.and(i32.and(flags, unmasked), MXCSR_BEFORE));
  const seen = f.let(i32.select(before, i32.and(flags, MXCSR_BEFORE), flags));
  f.store32(s, i32.or(mxcsr, seen), FIELD.mxcsr.offset);
  f.store32(s, i32.and(seen, unmasked), FIELD.simdFault.offset);
}

function begin(f: FunctionWriter, s: Value): void {
  f.store32(s, 0, FIELD.simdFault.offset);
}

/** The lane of `format` at `address` + `offset`, as bits in an i64. */
function lane(format: Format, address: Value, offset: number): Value {
  return format.bits === 64 ? i64.load(address, offset) : i64.load32u(address, offset);
}

function storeLane(f: FunctionWriter, format: Format, address: Value, value: I64, offset: number): void {
  if (format.bits === 64) f.store64(address, value, offset);
  else f.store32(address, i32.wrap(value as Value), offset);
}

class RuntimeWriter {
  readonly #module: ModuleWriter;

  constructor(module: ModuleWriter) {
    this.#module = module;
  }

  define(name: RuntimeName, body: (f: FunctionWriter, ...params: Value[]) => void): FunctionReference {
    const { params, results } = RUNTIME[name] as FunctionType;
    return define(this.#module, params, results[0] as ValueType, body, name);
  }

  /** A function over lanes of `from` that become lanes of `to`; `step` gives the result of one lane at `address`. */
  #lanes(
    name: RuntimeName,
    from: Format,
    to: Format,
    vectors: 1 | 2,
    step: (s: Value, first: Value, second: Value, index: Value, ...options: Value[]) => Value,
  ): FunctionReference {
    return this.define(name, (f, s, ...rest) => {
      begin(f, s!);
      f.store128(s!, rest[0]!, FIRST);
      if (vectors === 2) f.store128(s!, rest[1]!, SECOND);
      const lanes = rest[vectors]!;
      const options = rest.slice(vectors + 1);
      // Lanes that grow are taken from the top, so that none is overwritten before it is read.
      const down = to.bits > from.bits;
      const index = variable(f, "i32", down ? i32.sub(lanes, 1) : 0);
      f.loop((again) => {
        const source = f.let(i32.add(s!, i32.mul(index.get, from.bits / 8)));
        const target = f.let(i32.add(s!, i32.mul(index.get, to.bits / 8)));
        const first = f.let(lane(from, source, FIRST));
        const second = vectors === 2 ? f.let(lane(from, source, SECOND)) : first;
        storeLane(f, to, target, f.let(step(s!, first, second, index.get, ...options)), FIRST);
        f.set(index, i32.add(index.get, down ? -1 : 1));
        f.brIf(down ? i32.geS(index.get, 0) : i32.ltS(index.get, lanes), again);
      });
      settle(f, s!);
      f.result(v128.load(s!, FIRST));
    });
  }

  /** One lane, with WebAssembly's operation where `plain` says so. */
  scalar(
    name: RuntimeName,
    lanes: ScalarLane,
    exact: FunctionReference,
    operation: (...operands: Value[]) => Value,
    plain: (r: Value, ...operands: Value[]) => Value,
  ): FunctionReference {
    return this.define(name, (f, s, ...operands) => {
      begin(f, s!);
      const r = f.let(lanes.bits(operation(...operands.map(lanes.float))));
      const mode = i32.and(i32.load(s!, FIELD.mxcsr.offset), MXCSR_DEFAULT.mask);
      f.if(i32.and(plain(r, ...operands), i32.eq(mode, MXCSR_DEFAULT.value)), () => f.return(r));
      const wide = operands.map((bits) => (bits.type === "i64" ? bits : i64.extendU(bits)));
      const result = f.let(call(exact, s!, ...wide));
      settle(f, s!);
      const bits = lanes === SINGLE ? f.let(i32.wrap(result)) : result;
      const ordinary = [bits, ...operands].map(lanes.notDenormal).reduce((x, y) => i32.and(x, y));
      f.if(i32.eqz(ordinary), () => {
        const fault = i32.load(s!, FIELD.simdFault.offset);
        f.store32(s!, i32.or(fault, DENORMAL_MET), FIELD.simdFault.offset);
      });
      f.result(bits);
    });
  }

  scalarBinary(
    name: RuntimeName,
    lanes: ScalarLane,
    ops: FloatOperations,
    operation: keyof FloatOperations,
    exact: LaneArithmetic,
  ): FunctionReference {
    const plain = (r: Value, a?: Value, b?: Value): Value =>
      i32.and(i32.and(lanes.notDenormal(a!), lanes.notDenormal(b!)), resultIsPlain(lanes, operation, a!, b!, r));
    return this.scalar(name, lanes, exact[operation], (a, b) => ops[operation](a!, b!), plain);
  }

  scalarSqrt(
    name: RuntimeName,
    lanes: ScalarLane,
    operation: (a: Value) => Value,
    exact: LaneArithmetic,
  ): FunctionReference {
    const plain = (r: Value, a?: Value): Value =>
      i32.or(i32.and(lanes.isNormal(r), lanes.notDenormal(a!)), lanes.isZero(a!));
    return this.scalar(name, lanes, exact.sqrt, (a) => operation(a!), plain);
  }

  binary(name: RuntimeName, format: Format, callee: FunctionReference): FunctionReference {
    return this.#lanes(name, format, format, 2, (s, a, b) => call(callee, s, a, b));
  }

  addSub(name: RuntimeName, format: Format, arithmetic: LaneArithmetic): FunctionReference {
    const either = define(this.#module, ["i32", "i64", "i64", "i32"], "i64", (f, s, a, b, odd) => {
      f.if(odd!, () => f.return(call(arithmetic.add, s!, a!, b!)));
      f.result(call(arithmetic.sub, s!, a!, b!));
    });
    return this.#lanes(name, format, format, 2, (s, a, b, index) => call(either, s, a, b, i32.and(index, 1)));
  }

  unary(name: RuntimeName, from: Format, to: Format, callee: FunctionReference): FunctionReference {
    return this.#lanes(name, from, to, 1, (s, a) => call(callee, s, a));
  }

  option(name: RuntimeName, from: Format, to: Format, callee: FunctionReference): FunctionReference {
    return this.#lanes(name, from, to, 1, (s, a, _b, _i, option) => call(callee, s, a, option!));
  }

  predicate(name: RuntimeName, format: Format, { compare }: LaneComparison): FunctionReference {
    return this.#lanes(name, format, format, 2, (s, a, b, _i, predicate) => call(compare, s, a, b, predicate!));
  }

  relate(name: RuntimeName, comparison: LaneComparison): FunctionReference {
    return this.define(name, (f, s, a, b, signaling) => {
      begin(f, s!);
      const found = f.let(call(comparison.relate, s!, a!, b!, signaling!));
      settle(f, s!);
      f.result(found);
    });
  }

  /** Products selected by the immediate's high half, added in pairs, and given to the lanes of its low half. */
  dot(name: RuntimeName, format: Format, { add, mul }: LaneArithmetic): FunctionReference {
    const count = 128 / format.bits;
    return this.define(name, (f, s, a, b, immediate) => {
      begin(f, s!);
      f.store128(s!, a!, FIRST);
      f.store128(s!, b!, SECOND);
      const at = (index: number): number => (index * format.bits) / 8;
      f.block((out) => {
        // An exception of one step keeps the next from being taken.
        const stopIfUnmasked = (): void => f.brIf(unmaskedOf(f, s!), out);
        let sums: Value[] = [];
        for (let i = 0; i < count; i++) {
          const product = variable(f, "i64", 0n);
          f.if(i32.and(immediate!, 0x10 << i), () =>
            f.set(product, call(mul, s!, lane(format, s!, FIRST + at(i)), lane(format, s!, SECOND + at(i)))),
          );
          sums.push(product.get);
        }
        stopIfUnmasked();
        while (sums.length > 1) {
          const next: Value[] = [];
          for (let i = 0; i < sums.length; i += 2) next.push(f.let(call(add, s!, sums[i]!, sums[i + 1]!)));
          sums = next;
          stopIfUnmasked();
        }
        for (let i = 0; i < count; i++) {
          const chosen = i64.select(i32.and(immediate!, 1 << i), sums[0]!, 0n);
          storeLane(f, format, s!, chosen, FIRST + at(i));
        }
      });
      settle(f, s!);
      f.result(v128.load(s!, FIRST));
    });
  }
}

/** Define all of them in `module`. */
export function defineRuntime(module: ModuleWriter): Runtime {
  const w = new RuntimeWriter(module);
  const single = defineLaneArithmetic(module, F32);
  const double = defineLaneArithmetic(module, F64);
  const singles = defineLaneComparison(module, F32);
  const doubles = defineLaneComparison(module, F64);
  const conversions: Conversions = defineConversions(module);
  return {
    addSingle: w.scalarBinary("addSingle", SINGLE, f32, "add", single),
    subSingle: w.scalarBinary("subSingle", SINGLE, f32, "sub", single),
    mulSingle: w.scalarBinary("mulSingle", SINGLE, f32, "mul", single),
    divSingle: w.scalarBinary("divSingle", SINGLE, f32, "div", single),
    addDouble: w.scalarBinary("addDouble", DOUBLE, f64, "add", double),
    subDouble: w.scalarBinary("subDouble", DOUBLE, f64, "sub", double),
    mulDouble: w.scalarBinary("mulDouble", DOUBLE, f64, "mul", double),
    divDouble: w.scalarBinary("divDouble", DOUBLE, f64, "div", double),
    sqrtSingle: w.scalarSqrt("sqrtSingle", SINGLE, f32.sqrt, single),
    sqrtDouble: w.scalarSqrt("sqrtDouble", DOUBLE, f64.sqrt, double),
    addF32: w.binary("addF32", F32, single.add),
    subF32: w.binary("subF32", F32, single.sub),
    mulF32: w.binary("mulF32", F32, single.mul),
    divF32: w.binary("divF32", F32, single.div),
    minF32: w.binary("minF32", F32, singles.min),
    maxF32: w.binary("maxF32", F32, singles.max),
    addF64: w.binary("addF64", F64, double.add),
    subF64: w.binary("subF64", F64, double.sub),
    mulF64: w.binary("mulF64", F64, double.mul),
    divF64: w.binary("divF64", F64, double.div),
    minF64: w.binary("minF64", F64, doubles.min),
    maxF64: w.binary("maxF64", F64, doubles.max),
    addSubF32: w.addSub("addSubF32", F32, single),
    addSubF64: w.addSub("addSubF64", F64, double),
    sqrtF32: w.unary("sqrtF32", F32, F32, single.sqrt),
    sqrtF64: w.unary("sqrtF64", F64, F64, double.sqrt),
    compareF32: w.predicate("compareF32", F32, singles),
    compareF64: w.predicate("compareF64", F64, doubles),
    relateF32: w.relate("relateF32", singles),
    relateF64: w.relate("relateF64", doubles),
    integerF32: w.option("integerF32", F32, F32, conversions.single.toInteger),
    integerF64: w.option("integerF64", F64, F32, conversions.double.toInteger),
    roundF32: w.option("roundF32", F32, F32, conversions.single.toIntegral),
    roundF64: w.option("roundF64", F64, F64, conversions.double.toIntegral),
    doubleFromSingle: w.unary("doubleFromSingle", F32, F64, conversions.singleToDouble),
    singleFromDouble: w.unary("singleFromDouble", F64, F32, conversions.doubleToSingle),
    singleFromInteger: w.unary("singleFromInteger", F32, F32, conversions.integerToSingle),
    dotF32: w.dot("dotF32", F32, single),
    dotF64: w.dot("dotF64", F64, double),
    crc32: w.define("crc32", writeCrc32),
    compareStrings: w.define("compareStrings", compareStringsWriter(module)),
  };
}
