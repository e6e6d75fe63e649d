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
import type { PlacedAccess } from "./access-plan.ts";
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

  /** The value of `bits` bits at `linear`, which may be one of a group of accesses. */
  load(linear: Value, bits: number, placed?: PlacedAccess): Value {
    const { f, flags, module } = this.#context;
    const bytes = bits / 8;
    if (!placed) return f.let(loadOf(this.#address(this.#read, linear, bytes, "readAddress"), bits));
    flags.settle();
    const group = this.#open(placed, linear, bytes);
    const value = f.temporary(bits === 64 ? "i64" : bits === 128 ? "v128" : "i32");
    const host = this.#read.host;
    f.unlikely(
      i32.ltS(group.get, 0),
      () => {
        this.#context.note();
        f.set(host, call(module.importI32("readAddress", 2), linear, bytes));
        this.#context.leaveNotedIf(this.#read.failed);
        f.set(value, loadOf(host.get, bits));
      },
      () => f.set(value, loadOf(group.get, bits, placed.at)),
    );
    return value.get;
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
  modify(linear: Value, bits: number, placed?: PlacedAccess): Value {
    const { f, flags, module } = this.#context;
    if (!placed) return this.#address(this.#modify, linear, bits / 8, "modifyAddress");
    flags.settle();
    const group = this.#open(placed, linear, bits / 8);
    const { host, failed } = this.#modify;
    f.set(host, i32.add(group.get, placed.at));
    f.unlikely(i32.ltS(group.get, 0), () => {
      this.#context.note();
      f.set(host, call(module.importI32("modifyAddress", 2), linear, bits / 8));
      this.#context.leaveNotedIf(failed);
    });
    return host.get;
  }

  /** The local of an access's group; its first access sets it. */
  #open({ group, at, bytes }: PlacedAccess, linear: Value, expected: number): Local {
    if (bytes !== expected) throw new RangeError(`an access of ${expected} bytes was planned with ${bytes}`);
    const local = group.host!;
    if (group.opened) return local;
    group.opened = true;
    const { f, plainTest } = this.#context;
    const start = at === 0 ? linear : f.let(i32.sub(linear, at));
    f.set(local, hostAddress(i32.const((group.writes ? this.#write : this.#read).table), start));
    f.set(local, i32.select(notPlain(local.get, group.span, plainTest), -1, local.get));
    return local;
  }

  /** Store at a host address, `at` bytes on. */
  storeAt(host: Value, operand: I32 | I64, bits: number, at = 0): void {
    const { f } = this.#context;
    const value = operand as I32;
    if (bits === 8) f.store8(host, value, at);
    else if (bits === 16) f.store16(host, value, at);
    else if (bits === 32) f.store32(host, value, at);
    else if (bits === 64) f.store64(host, operand as I64, at);
    else f.store128(host, operand as Value, at);
  }

  /** Store `bits` bits at `linear`, which may be one of a group of accesses. */
  store(linear: Value, value: I32 | I64, bits: number, placed?: PlacedAccess): void {
    const { f, flags } = this.#context;
    flags.settle();
    if (placed) {
      const group = this.#open(placed, linear, bits / 8);
      f.unlikely(
        i32.ltS(group.get, 0),
        () => {
          this.#context.note();
          this.#context.leaveNotedIf(this.#writeSlow(linear, value, bits));
        },
        () => this.storeAt(group.get, value, bits, placed.at),
      );
      return;
    }
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

/** Load `bits` bits from a host address, `at` bytes on. */
function loadOf(host: Value, bits: number, at = 0): Value {
  switch (bits) {
    case 8:
      return i32.load8u(host, at);
    case 16:
      return i32.load16u(host, at);
    case 32:
      return i32.load(host, at);
    case 64:
      return i64.load(host, at);
    default:
      return v128.load(host, at);
  }
}
