/**
 * Guest memory in compiled regions: the probe of the shadow table, the access, and the call that serves what is not
 * plain. Addresses and values must be ready: they are written out more than once. Flags are put in order first, for who
 * comes after a fault.
 */
import { SEG, segmentField } from "../../isa/state.ts";
import { call, f32, f64, type I32, type I64, i32, i64, KIND, OP, Value } from "../../wasm/expression.ts";
import type { Local } from "../../wasm/function.ts";
import { i64x2, v128 } from "../../wasm/simd.ts";
import { STATE } from "../memory-map.ts";
import { hostAddress, notPlain } from "../shadow.ts";
import type { RegionContext } from "./region-context.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** One way to come from a linear to a host address: a table, and the local that gets the host address. */
interface Probe {
  readonly table: number;
  readonly host: Local;
  /** The host address of {@link RegionMemory.#linear}. */
  readonly address: Value;
  /** Whether an access of so many bytes is not plain, by bytes. */
  readonly tests: (Value | undefined)[];
  /** Whether the call that serves such an access has failed. */
  readonly failed: Value;
}

/**
 * Expressions that every access needs are made once a region, for a place where the linear address is put before they
 * are written out: nothing of them is kept.
 */
export class RegionMemory {
  readonly #context: RegionContext;
  readonly #linear: Mutable<Value>;
  readonly #read: Probe;
  readonly #modify: Probe;
  readonly #write: Probe;

  constructor(context: RegionContext) {
    this.#context = context;
    this.#linear = new Value(KIND.local, "i32", OP.local_get, 0);
    this.#read = this.#probe(context.readTable);
    this.#modify = this.#probe(context.writeTable);
    this.#write = this.#probe(context.writeTable);
  }

  #probe(table: number): Probe {
    const host = this.#context.f.local("i32");
    const address = hostAddress(i32.const(table), this.#linear);
    return { table, host, address, tests: [], failed: i32.ltS(host.get, 0) };
  }

  /** Find the host address of `linear`; non-zero when `bytes` there are not plain. */
  #find(probe: Probe, linear: Value, bytes: number): Value {
    const { f, plainTest } = this.#context;
    if (linear.kind === KIND.local) {
      this.#linear.immediate = linear.immediate;
      f.set(probe.host, probe.address);
    } else f.set(probe.host, hostAddress(i32.const(probe.table), linear));
    const known = probe.tests[bytes];
    if (known !== undefined) return known;
    const test = notPlain(probe.host.get, bytes, plainTest);
    probe.tests[bytes] = test;
    return test;
  }

  /** Linear address of `offset` in a segment, checked for `bytes` and the kind of access. */
  linear(offset: Value, bytes: number, write: boolean, segment: number): Value {
    // Regions are compiled for flat segments only; FS and GS are never taken to be.
    if (segment === SEG.DS || segment === SEG.SS || segment === SEG.ES) return offset;
    const { f, flags } = this.#context;
    flags.settle();
    const part = (name: "base" | "readLow" | "readHigh" | "writeLow" | "writeHigh"): Value =>
      i32.load(STATE, segmentField(segment, name));
    const low = part(write ? "writeLow" : "readLow");
    const high = f.let(part(write ? "writeHigh" : "readHigh"));
    const outside = i32.or(i32.ltU(offset, low), i32.gtU(offset, high));
    // The interpreter finds the fault again, and raises it.
    this.#context.leaveIf(bytes > 1 ? i32.or(outside, i32.ltU(i32.sub(high, offset), bytes - 1)) : outside);
    return f.let(i32.add(part("base"), offset));
  }

  /** Host address at which `bytes` can be accessed; `slow` finds it where the table does not know. */
  #address(probe: Probe, linear: Value, bytes: number, slow: "readAddress" | "modifyAddress"): Value {
    const { f, flags, module } = this.#context;
    flags.settle();
    f.unlikely(this.#find(probe, linear, bytes), () => {
      this.#context.note();
      f.set(probe.host, call(module.importI32(slow, 2), linear, bytes));
      this.#context.leaveNotedIf(probe.failed);
    });
    return probe.host.get;
  }

  load(linear: Value, bits: number): Value {
    const { f } = this.#context;
    const host = this.#address(this.#read, linear, bits / 8, "readAddress");
    switch (bits) {
      case 8:
        return f.let(i32.load8u(host));
      case 16:
        return f.let(i32.load16u(host));
      case 32:
        return f.let(i32.load(host));
      case 64:
        return f.let(i64.load(host));
      default:
        return f.let(v128.load(host));
    }
  }

  /** A float of `bits` (32 or 64) bits. */
  loadFloat(linear: Value, bits: number): Value {
    const host = this.#address(this.#read, linear, bits / 8, "readAddress");
    return this.#context.f.let(bits === 64 ? f64.load(host) : f32.load(host));
  }

  /** Store a float, which must be ready, too. */
  storeFloat(linear: Value, value: Value): void {
    const { f, flags } = this.#context;
    flags.settle();
    const double = value.type === "f64";
    f.unlikely(
      this.#find(this.#write, linear, double ? 8 : 4),
      () => {
        this.#context.note();
        const bits = f.let(double ? i64.reinterpret(value) : f32.bits(value));
        this.#context.leaveNotedIf(this.#writeSlow(linear, bits, double ? 64 : 32));
      },
      () => f.storeFloat(this.#write.host.get, value),
    );
  }

  /** Host address of an operand that is read and will be written by {@link storeAt}, before the next such operand. */
  modify(linear: Value, bits: number): Value {
    return this.#address(this.#modify, linear, bits / 8, "modifyAddress");
  }

  storeAt(host: Value, operand: I32 | I64, bits: number): void {
    const { f } = this.#context;
    const value = operand as I32;
    if (bits === 8) f.store8(host, value);
    else if (bits === 16) f.store16(host, value);
    else if (bits === 32) f.store32(host, value);
    else if (bits === 64) f.store64(host, operand as I64);
    else f.store128(host, operand as Value);
  }

  store(linear: Value, value: I32 | I64, bits: number): void {
    const { f, flags } = this.#context;
    flags.settle();
    f.unlikely(
      this.#find(this.#write, linear, bits / 8),
      () => {
        this.#context.note();
        this.#context.leaveNotedIf(this.#writeSlow(linear, value, bits));
      },
      () => this.storeAt(this.#write.host.get, value, bits),
    );
  }

  #writeSlow(linear: Value, operand: I32 | I64, bits: number): Value {
    const { module } = this.#context;
    if (bits <= 32) return call(module.importI32("writeSlow", 3), linear, operand as I32, bits / 8);
    const value = typeof operand === "object" ? operand : i64.const(operand as bigint);
    if (bits === 64)
      return call(module.importFunction("writeSlow64", { params: ["i32", "i64"], results: ["i32"] }), linear, value);
    const slow = module.importFunction("writeSlow128", { params: ["i32", "i64", "i64"], results: ["i32"] });
    return call(slow, linear, i64x2.extract(value, 0), i64x2.extract(value, 1));
  }
}
