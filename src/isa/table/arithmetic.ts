/** Arithmetic, logic, comparison, multiplication and division. SDM 1 7.3.2–7.3.5. */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { Builder, Operand } from "../builder.ts";
import { carryOfAdd, carryOfBits, carryOfSub, EFLAGS, OSZAPC, signExtend, withCarry } from "../flags.ts";
import { type Row, row, type Semantics } from "../row.ts";

const { CF, AF, OF, SF, ZF, PF } = EFLAGS;
const LOGIC = { writes: OSZAPC & ~AF, undefined: AF } as const;

/** Flags of a + b (+ carry) = r. */
export function flagsAdd(m: Builder, a: Value, b: Value, r: Value, bits: number): void {
  m.setFlagsOf("add", bits, a, b, r);
}

/** Flags of a - b (- borrow) = r. */
export function flagsSub(m: Builder, a: Value, b: Value, r: Value, bits: number): void {
  m.setFlagsOf("sub", bits, a, b, r);
}

/** Flags of a logical result: CF = OF = AF = 0. */
export function flagsLogic(m: Builder, r: Value, bits: number): void {
  m.setFlagsOf("logic", bits, r, r, r);
}

const add: Semantics = (m, dst, src) => {
  const b = src!.read();
  const a = dst!.read();
  const r = m.let(i32.add(a, b));
  dst!.write(r);
  flagsAdd(m, a, b, r, dst!.bits);
};

const adc: Semantics = (m, dst, src) => {
  const b = src!.read();
  const a = dst!.read();
  const r = m.let(i32.add(i32.add(a, b), m.carryFlag()));
  dst!.write(r);
  m.setFlags(signExtend(r, dst!.bits), carryOfAdd(a, b, r, dst!.bits));
};

const sub: Semantics = (m, dst, src) => {
  const b = src!.read();
  const a = dst!.read();
  const r = m.let(i32.sub(a, b));
  dst!.write(r);
  flagsSub(m, a, b, r, dst!.bits);
};

const sbb: Semantics = (m, dst, src) => {
  const b = src!.read();
  const a = dst!.read();
  const r = m.let(i32.sub(i32.sub(a, b), m.carryFlag()));
  dst!.write(r);
  m.setFlags(signExtend(r, dst!.bits), carryOfSub(a, b, r, dst!.bits));
};

const cmp: Semantics = (m, dst, src) => {
  const b = src!.read();
  const a = dst!.read();
  const r = m.let(i32.sub(a, b));
  flagsSub(m, a, b, r, dst!.bits);
};

const logic =
  (operation: (a: Value, b: Value) => Value): Semantics =>
  (m, dst, src) => {
    const b = src!.read();
    const r = m.let(operation(dst!.read(), b));
    dst!.write(r);
    flagsLogic(m, r, dst!.bits);
  };

const test: Semantics = (m, dst, src) => {
  const b = src!.read();
  flagsLogic(m, m.let(i32.and(dst!.read(), b)), dst!.bits);
};

/** The nine classic encodings of a two-operand ALU instruction whose opcode block starts at `base`. */
function alu(base: number, digit: number): string[] {
  const hex = (offset: number): string => (base + offset).toString(16).toUpperCase().padStart(2, "0");
  return [
    `${hex(0)} /r Eb Gb`,
    `${hex(1)} /r Ev Gv`,
    `${hex(2)} /r Gb Eb`,
    `${hex(3)} /r Gv Ev`,
    `${hex(4)} AL Ib`,
    `${hex(5)} eAX Iz`,
    `80 /${digit} Eb Ib`,
    `81 /${digit} Ev Iz`,
    `82 /${digit} Eb Ib`,
    `83 /${digit} Ev Ibs`,
  ];
}

const increment =
  (step: 1 | -1): Semantics =>
  (m, dst) => {
    const a = dst!.read();
    const one = i32.const(1);
    const r = m.let(step === 1 ? i32.add(a, one) : i32.sub(a, one));
    dst!.write(r);
    m.setFlagsOf(step === 1 ? "inc" : "dec", dst!.bits, a, one, r);
  };

/** Flags after a multiplication: CF = OF = `overflow`; SF, PF from the low half, ZF and AF as silicon leaves them. */
function flagsMultiply(m: Builder, low: Value, overflow: Value, bits: number): void {
  m.setFlags(signExtend(low, bits), carryOfBits(overflow, overflow));
}

const MULTIPLY = { writes: CF | OF, undefined: SF | ZF | AF | PF } as const;

/** MUL and IMUL with one operand: AX, DX:AX or EDX:EAX = accumulator × source. */
const multiply =
  (signed: boolean): Semantics =>
  (m, src) => {
    const bits = src!.bits;
    const b = src!.read();
    const acc = m.register(0, bits);
    const a = acc.read();
    if (bits === 32) {
      const wide = signed ? i64.mul(i64.extendS(a), i64.extendS(b)) : i64.mul(i64.extendU(a), i64.extendU(b));
      const product = m.let(wide);
      const low = m.let(i32.wrap(product));
      const high = m.let(i32.wrap(i64.shrU(product, 32n)));
      acc.write(low);
      m.register(2, 32).write(high);
      flagsMultiply(m, low, i32.ne(high, signed ? i32.shrS(low, 31) : 0), 32);
      return;
    }
    const x = signed ? signExtend(a, bits) : a;
    const y = signed ? signExtend(b, bits) : b;
    const product = m.let(i32.mul(x, y));
    if (bits === 16) {
      acc.write(product);
      m.register(2, 16).write(i32.shrU(product, 16));
    } else {
      m.register(0, 16).write(product);
    }
    const fits = signed ? i32.ne(product, signExtend(product, bits)) : i32.ne(i32.shrU(product, bits), 0);
    flagsMultiply(m, product, fits, bits);
  };

const imul = (m: Builder, dst: Operand, a: Value, b: Value): void => {
  const bits = dst.bits;
  if (bits === 32) {
    const product = m.let(i64.mul(i64.extendS(a), i64.extendS(b)));
    const low = m.let(i32.wrap(product));
    dst.write(low);
    flagsMultiply(m, low, i64.ne(product, i64.extendS(low)), 32);
    return;
  }
  const product = m.let(i32.mul(signExtend(a, bits), signExtend(b, bits)));
  dst.write(product);
  flagsMultiply(m, product, i32.ne(product, signExtend(product, bits)), bits);
};

/** DIV and IDIV: #DE on zero or when the quotient does not fit; flags undefined, left alone. */
const divide =
  (signed: boolean): Semantics =>
  (m, src) => {
    const bits = src!.bits;
    const divisor = src!.read();
    m.f.if(i32.eqz(divisor), () => m.raise(0));
    if (bits === 32) {
      const dividend = m.let(
        i64.or(i64.shl(i64.extendU(m.register(2, 32).read()), 32n), i64.extendU(m.register(0, 32).read())),
      );
      const d = m.let(signed ? i64.extendS(divisor) : i64.extendU(divisor));
      if (signed) {
        // -2^63 / -1 would trap in WebAssembly; its quotient does not fit anyway.
        m.f.if(i32.and(i64.eq(dividend, -(1n << 63n)), i32.eq(divisor, -1)), () => m.raise(0));
      }
      const quotient = m.let(signed ? i64.divS(dividend, d) : i64.divU(dividend, d));
      const fits = signed ? i64.eq(quotient, i64.extendS(i32.wrap(quotient))) : i64.eqz(i64.shrU(quotient, 32n));
      m.f.if(i32.eqz(fits), () => m.raise(0));
      const remainder = m.let(i32.wrap(signed ? i64.remS(dividend, d) : i64.remU(dividend, d)));
      m.register(0, 32).write(i32.wrap(quotient));
      m.register(2, 32).write(remainder);
      return;
    }
    const low = m.register(0, 16).read();
    const dividend =
      bits === 16
        ? m.let(i32.or(i32.shl(m.register(2, 16).read(), 16), low))
        : m.let(signed ? i32.extend16s(low) : low);
    const d = m.let(signed ? signExtend(divisor, bits) : divisor);
    if (signed) {
      m.f.if(i32.and(i32.eq(dividend, -0x8000_0000), i32.eq(d, -1)), () => m.raise(0));
    }
    const quotient = m.let(signed ? i32.divS(dividend, d) : i32.divU(dividend, d));
    const fits = signed ? i32.eq(quotient, signExtend(quotient, bits)) : i32.eqz(i32.shrU(quotient, bits));
    m.f.if(i32.eqz(fits), () => m.raise(0));
    const remainder = m.let(signed ? i32.remS(dividend, d) : i32.remU(dividend, d));
    if (bits === 16) {
      m.register(0, 16).write(quotient);
      m.register(2, 16).write(remainder);
    } else {
      m.register(0, 16).write(i32.or(i32.and(quotient, 0xff), i32.shl(i32.and(remainder, 0xff), 8)));
    }
  };

const ALU = { writes: OSZAPC, lock: true, hot: true } as const;

export const ARITHMETIC: readonly Row[] = [
  row("ADD", alu(0x00, 0), ALU, add),
  row("OR", alu(0x08, 1), { ...LOGIC, lock: true, hot: true }, logic(i32.or)),
  row("ADC", alu(0x10, 2), { ...ALU, reads: CF }, adc),
  row("SBB", alu(0x18, 3), { ...ALU, reads: CF }, sbb),
  row("AND", alu(0x20, 4), { ...LOGIC, lock: true, hot: true }, logic(i32.and)),
  row("SUB", alu(0x28, 5), ALU, sub),
  row("XOR", alu(0x30, 6), { ...LOGIC, lock: true, hot: true }, logic(i32.xor)),
  row("CMP", alu(0x38, 7), { writes: OSZAPC, dst: "r", hot: true }, cmp),
  row(
    "TEST",
    ["84 /r Eb Gb", "85 /r Ev Gv", "A8 AL Ib", "A9 eAX Iz", "F6 /0 Eb Ib", "F6 /1 Eb Ib", "F7 /0 Ev Iz", "F7 /1 Ev Iz"],
    { ...LOGIC, dst: "r", hot: true },
    test,
  ),
  row(
    "INC",
    ["40+ Zv", "FE /0 Eb", "FF /0 Ev"],
    { writes: OSZAPC & ~CF, reads: CF, lock: true, hot: true },
    increment(1),
  ),
  row(
    "DEC",
    ["48+ Zv", "FE /1 Eb", "FF /1 Ev"],
    { writes: OSZAPC & ~CF, reads: CF, lock: true, hot: true },
    increment(-1),
  ),
  row("NOT", ["F6 /2 Eb", "F7 /2 Ev"], { lock: true, hot: true }, (_m, dst) => {
    dst!.write(i32.xor(dst!.read(), -1));
  }),
  row("NEG", ["F6 /3 Eb", "F7 /3 Ev"], { writes: OSZAPC, lock: true, hot: true }, (m, dst) => {
    const b = dst!.read();
    const r = m.let(i32.sub(0, b));
    dst!.write(r);
    flagsSub(m, i32.const(0), b, r, dst!.bits);
  }),
  row("MUL", ["F6 /4 Eb", "F7 /4 Ev"], { ...MULTIPLY, dst: "r", hot: true }, multiply(false)),
  row("IMUL", ["F6 /5 Eb", "F7 /5 Ev"], { ...MULTIPLY, dst: "r", hot: true }, multiply(true)),
  row("IMUL", ["0F AF /r Gv Ev"], { ...MULTIPLY, hot: true }, (m, dst, src) => {
    const b = src!.read();
    imul(m, dst!, dst!.read(), b);
  }),
  row("IMUL", ["69 /r Gv Ev Iz", "6B /r Gv Ev Ibs"], { ...MULTIPLY, dst: "w", hot: true }, (m, dst, src, factor) => {
    imul(m, dst!, src!.read(), factor!.read());
  }),
  row("DIV", ["F6 /6 Eb", "F7 /6 Ev"], { undefined: OSZAPC, dst: "r" }, divide(false)),
  row("IDIV", ["F6 /7 Eb", "F7 /7 Ev"], { undefined: OSZAPC, dst: "r" }, divide(true)),
  row("CMPXCHG", ["0F B0 /r Eb Gb", "0F B1 /r Ev Gv"], { writes: OSZAPC, lock: true }, (m, dst, src) => {
    const bits = dst!.bits;
    const value = src!.read();
    const old = dst!.read();
    const acc = m.register(0, bits);
    const expected = acc.read();
    const r = m.let(i32.sub(expected, old));
    const equal = m.let(i32.eq(expected, old));
    // The destination is written either way (SDM 2A CMPXCHG): a read-only page faults even when the values differ.
    // Memory first, since it may fault; of registers the destination last, since it may be the accumulator.
    if (!dst!.memory) acc.write(i32.select(equal, expected, old));
    dst!.write(i32.select(equal, value, old));
    if (dst!.memory) acc.write(i32.select(equal, expected, old));
    flagsSub(m, expected, old, r, bits);
  }),
  row("XADD", ["0F C0 /r Eb Gb", "0F C1 /r Ev Gv"], { writes: OSZAPC, lock: true }, (m, dst, src) => {
    const b = src!.read();
    const a = dst!.read();
    const r = m.let(i32.add(a, b));
    if (dst!.memory) {
      dst!.write(r);
      src!.write(a);
    } else {
      src!.write(a);
      dst!.write(r);
    }
    flagsAdd(m, a, b, r, dst!.bits);
  }),
  row("CBW", ["98"], { size: "v", hot: true, names: ["CBW", "CWDE"] }, (m) => {
    if (m.bits === 16) m.register(0, 16).write(i32.extend8s(m.register(0, 8).read()));
    else m.register(0, 32).write(i32.extend16s(m.register(0, 16).read()));
  }),
  row("CWD", ["99"], { size: "v", hot: true, names: ["CWD", "CDQ"] }, (m) => {
    const a = signExtend(m.register(0, m.bits).read(), m.bits);
    m.register(2, m.bits).write(i32.shrS(a, 31));
  }),
  row("CLC", ["F8"], { writes: CF, hot: true }, (m) => m.setFlags(undefined, withCarry(m.flagsCarry, 0))),
  row("STC", ["F9"], { writes: CF, hot: true }, (m) => m.setFlags(undefined, withCarry(m.flagsCarry, 1))),
  row("CMC", ["F5"], { reads: CF, writes: CF }, (m) =>
    m.setFlags(undefined, withCarry(m.flagsCarry, i32.eqz(m.carryFlag()))),
  ),
  row("SALC", ["D6"], { reads: CF }, (m) => m.register(0, 8).write(i32.sub(0, m.carryFlag()))),
  row("DAA", ["27"], { reads: CF | AF, writes: OSZAPC & ~OF, undefined: OF, size: "n", helper: "daa" }),
  row("DAS", ["2F"], { reads: CF | AF, writes: OSZAPC & ~OF, undefined: OF, size: "n", helper: "das" }),
  row("AAA", ["37"], { reads: AF, writes: CF | AF, undefined: OF | SF | ZF | PF, size: "n", helper: "aaa" }),
  row("AAS", ["3F"], { reads: AF, writes: CF | AF, undefined: OF | SF | ZF | PF, size: "n", helper: "aas" }),
  row("AAM", ["D4 Ib"], { writes: SF | ZF | PF, undefined: OF | AF | CF, size: "n", helper: "aam" }),
  row("AAD", ["D5 Ib"], { writes: SF | ZF | PF, undefined: OF | AF | CF, size: "n", helper: "aad" }),
];
