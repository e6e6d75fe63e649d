/** A bare x87 for tests: the generated functions in a module of their own, and one state page. */
import { FIELD, type FieldName, FPU_REGS, FPU_SCRATCH, GPR } from "../../../src/isa/state.ts";
import { STATUS } from "../../../src/isa/x87/constants.ts";
import { MEMORY_BYTES, type X87Row } from "../../../src/isa/x87/row.ts";
import { X87_ROWS } from "../../../src/isa/x87/rows.ts";
import { COMMIT_EXPORT, defineX87, exportName } from "../../../src/isa/x87/x87.ts";
import { ModuleWriter } from "../../../src/wasm/module.ts";

type Function = (...args: (number | bigint)[]) => number;

/** An 80-bit value. */
export interface Real {
  readonly signExponent: number;
  readonly significand: bigint;
}

/** `real("3FFF8000000000000000")`: sign and exponent, then significand, as TestFloat writes them. */
export function real(text: string): Real {
  const digits = text.replace(/[:_ ]/g, "");
  return { signExponent: Number.parseInt(digits.slice(0, 4), 16), significand: BigInt(`0x${digits.slice(4)}`) };
}

/** The inverse of {@link real}. */
export function show({ signExponent, significand }: Real): string {
  return (signExponent.toString(16).padStart(4, "0") + significand.toString(16).padStart(16, "0")).toUpperCase();
}

/** The row with this opcode and ModRM byte (0x00–0xBF: memory form of that reg). */
export function rowOf(opcode: number, modrm: number): X87Row {
  const mod = modrm >= 0xc0 ? "reg" : "mem";
  const found = X87_ROWS.find(
    (row) =>
      row.opcode === opcode &&
      row.mod === mod &&
      row.reg === ((modrm >> 3) & 7) &&
      (row.rm === undefined || row.rm === (modrm & 7)),
  );
  if (found === undefined) throw new RangeError(`no row ${opcode.toString(16)} ${modrm.toString(16)}`);
  return found;
}

/** Writes the module once; machines share it. */
function compile(): WebAssembly.Module {
  const writer = new ModuleWriter();
  writer.importMemory("env", "memory", 1, 1);
  defineX87(writer, true);
  return new WebAssembly.Module(writer.finish());
}
let compiled: WebAssembly.Module | undefined;

/** Where the state page stands in the machine's memory. */
const BASE = 4096;

export class X87Machine {
  readonly base = BASE;
  readonly state: DataView;
  readonly #bytes: Uint8Array;
  readonly #functions: Readonly<Record<string, Function>>;

  constructor() {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    compiled ??= compile();
    const instance = new WebAssembly.Instance(compiled, { env: { memory } });
    this.#functions = instance.exports as unknown as Record<string, Function>;
    this.state = new DataView(memory.buffer);
    this.#bytes = new Uint8Array(memory.buffer);
  }

  get(field: FieldName): number {
    return this.state.getUint32(BASE + FIELD[field].offset, true);
  }

  set(field: FieldName, value: number): void {
    this.state.setUint32(BASE + FIELD[field].offset, value >>> 0, true);
  }

  get eax(): number {
    return this.state.getUint32(BASE + GPR.eax, true);
  }

  set eax(value: number) {
    this.state.setUint32(BASE + GPR.eax, value >>> 0, true);
  }

  /** Physical register of ST(index). */
  physical(index: number): number {
    return (((this.get("fsw") >> 11) & 7) + index) & 7;
  }

  st(index: number): Real {
    const address = BASE + FPU_REGS + 16 * this.physical(index);
    return {
      signExponent: this.state.getUint16(address + 8, true),
      significand: this.state.getBigUint64(address, true),
    };
  }

  /** Write ST(index) without touching its tag. */
  setSt(index: number, value: Real): void {
    const address = BASE + FPU_REGS + 16 * this.physical(index);
    this.state.setBigUint64(address, value.significand, true);
    this.state.setUint16(address + 8, value.signExponent, true);
  }

  /** Registers full from ST(0) on, the others empty, no exceptions, TOP 0. */
  load(fcw: number, ...values: Real[]): void {
    this.set("fcw", fcw);
    this.set("fsw", 0);
    this.set("ftw", (1 << values.length) - 1);
    for (const [index, value] of values.entries()) this.setSt(index, value);
  }

  /** Arithmetic flags from the lazy encoding, as an EFLAGS image. */
  get eflags(): number {
    const [result, carry] = [this.get("flagsResult"), this.get("flagsCarry")];
    let parity = (result ^ (carry >>> 8)) & 0xff;
    for (const shift of [4, 2, 1]) parity ^= parity >>> shift;
    return (
      (carry >>> 31) |
      ((parity & 1) === 0 ? 0x004 : 0) |
      ((carry & 8) << 1) |
      (result === 0 ? 0x040 : 0) |
      (((result >>> 31) ^ (carry & 1)) << 7) |
      (((carry >>> 31) ^ ((carry >>> 30) & 1)) << 11)
    );
  }

  set eflags(value: number) {
    const [cf, pf, af, zf, sf, of] = [0, 2, 4, 6, 7, 11].map((bit) => (value >> bit) & 1) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    this.set("flagsResult", zf ? 0 : 0x100);
    this.set("flagsCarry", (cf << 31) | ((cf ^ of) << 30) | (af << 3) | sf | ((pf ^ 1) << 8));
  }

  /** Call a row's function with what its memory operand holds; for writes see {@link commit}. */
  call(row: X87Row, sti = 0, memory: Uint8Array = new Uint8Array(16)): number {
    const run = this.#functions[exportName(row)] as Function;
    if (row.mod !== "mem") return run(BASE, row.rm ?? sti);
    if (row.access === "write") return run(BASE);
    const view = new DataView(memory.buffer, memory.byteOffset);
    switch (row.memory) {
      case "i16":
        return run(BASE, view.getUint16(0, true));
      case "r64":
      case "i64":
        return run(BASE, view.getBigInt64(0, true));
      case "r80":
      case "bcd":
        return run(BASE, view.getBigInt64(0, true), view.getUint16(8, true));
      default:
        return run(BASE, view.getInt32(0, true));
    }
  }

  /** The bytes that a write row left for memory. */
  stored(row: X87Row): Uint8Array {
    const bytes = MEMORY_BYTES[row.memory as keyof typeof MEMORY_BYTES];
    return this.#bytes.slice(BASE + FPU_SCRATCH, BASE + FPU_SCRATCH + bytes);
  }

  commit(row: X87Row): void {
    if (row.commit === "pop" || row.commit === "keep") (this.#functions[COMMIT_EXPORT[row.commit]] as Function)(BASE);
  }

  /** Call, store to `memory`, commit: what an instruction does when nothing faults. */
  run(row: X87Row, sti = 0, memory: Uint8Array = new Uint8Array(16)): number {
    const status = this.call(row, sti, memory);
    if (row.access === "write" && status === STATUS.done) {
      memory.set(this.stored(row));
      this.commit(row);
    }
    return status;
  }
}
