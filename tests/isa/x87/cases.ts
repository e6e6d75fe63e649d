/**
 * Cases for comparing with silicon: one instruction each, over control words, exceptions masked and not, empty registers,
 * and operands near every boundary. The same seed gives the same cases everywhere, so recorded results need no inputs.
 */
import type { X87Row } from "../../../src/isa/x87/row.ts";
import { X87_ROWS } from "../../../src/isa/x87/rows.ts";
import { Random } from "../../oracle/random.ts";
import type { Real, X87Machine } from "./machine.ts";

export interface X87Case {
  readonly row: X87Row;
  /** ModRM.rm of register forms. */
  readonly sti: number;
  readonly fcw: number;
  readonly fsw: number;
  /** One bit a physical register, set if full. */
  readonly ftw: number;
  readonly eflags: number;
  /** ST(0) … ST(7). */
  readonly stack: readonly Real[];
  readonly memory: Uint8Array;
}

/** What an instruction leaves: registers in stack order, empty ones included. */
export interface X87Result {
  readonly fcw: number;
  readonly fsw: number;
  readonly ftw: number;
  readonly eflags: number;
  readonly eax: number;
  readonly stack: readonly Real[];
  readonly memory: Uint8Array;
}

/** EAX before the instruction. */
export const EAX = 0x12345678;
/** Arithmetic flags of EFLAGS. */
export const FLAGS_MASK = 0x8d5;

const SIGNIFICANDS = [
  0n,
  1n,
  2n,
  1n << 62n,
  1n << 63n,
  (1n << 63n) | 1n,
  3n << 62n,
  (3n << 62n) | 1n,
  (1n << 64n) - 1n,
  (1n << 63n) - 1n,
  0xfffffffffffff800n,
  0xfffffffffffffc00n,
  0xfffffffffffff400n,
  0x8000000000000400n,
  0xffffff0000000000n,
  0xffffff8000000000n,
  0x8000008000000000n,
];
const EXPONENTS = [0, 0, 1, 2, 0x3ffe, 0x3fff, 0x7ffe, 0x7fff, 0x7fff];
const CONTROL_WORDS = [0x37f, 0x27f, 0x07f, 0x77f, 0xb7f, 0xf7f, 0xe7f, 0xa7f, 0xc7f, 0x87f];

/** Rows that native code and ours can both run in this harness. */
export const CASE_ROWS = X87_ROWS.filter((row) => row.semantics !== undefined && row.mod !== "none");

/** Rows whose last place depends on the processor's approximation. */
export function isApproximate(row: X87Row): boolean {
  return /^(F2XM1|FYL2X|FYL2XP1|FPATAN|FPTAN|FSIN|FCOS|FSINCOS)$/.test(row.mnemonic);
}

class Values {
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  u64(): bigint {
    return (BigInt(this.random.u32()) << 32n) | BigInt(this.random.u32());
  }

  significand(): bigint {
    const top = 1n << 63n;
    switch (this.random.below(6)) {
      case 0:
      case 1:
        return this.random.pick(SIGNIFICANDS);
      case 2:
        return this.u64() | top;
      case 3:
        return (this.u64() & this.u64() & this.u64()) | top;
      case 4: {
        const cut = BigInt(this.random.below(64));
        return ((this.u64() >> cut) << cut) | top;
      }
      default:
        return this.random.oneIn(8) ? this.u64() : this.u64() | top;
    }
  }

  sign(): number {
    return this.random.below(2) << 15;
  }

  normal(lowest: number, range: number): Real {
    const signExponent = (lowest + this.random.below(range)) | this.sign();
    return { signExponent, significand: this.significand() | (1n << 63n) };
  }

  real(): Real {
    if (this.random.oneIn(10)) return { signExponent: this.sign(), significand: 0n };
    let exponent = 0x3fff - 70 + this.random.below(140);
    const kind = this.random.below(10);
    if (kind < 2) exponent = this.random.pick(EXPONENTS);
    else if (kind === 2) exponent = this.random.below(0x8000);
    else if (kind === 3) exponent = this.random.below(100);
    else if (kind === 4) exponent = 0x7fff - this.random.below(100);
    let significand = this.significand();
    if (exponent === 0 && this.random.oneIn(2)) significand &= (1n << 63n) - 1n;
    return { signExponent: exponent | this.sign(), significand };
  }

  control(): number {
    const kind = this.random.below(4);
    if (kind === 0) return 0x37f;
    return kind < 3 ? this.random.pick(CONTROL_WORDS) : (this.random.below(0x1000) & 0xf3f) | 0x40;
  }

  memory(row: X87Row): Uint8Array {
    const { random } = this;
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < 16; at += 4) view.setUint32(at, random.u32(), true);
    if (row.access !== "read") return bytes;
    if (row.memory === "r32") {
      const exponent = random.oneIn(4) ? random.pick([0, 0, 1, 0xfe, 0xff, 0xff]) : 107 + random.below(40);
      const fraction = random.pick([0, 1, 0x40_0000, 0x20_0000, 0x7f_ffff, random.u32() & 0x7f_ffff]);
      view.setUint32(0, ((random.below(2) << 31) | (exponent << 23) | fraction) >>> 0, true);
    } else if (row.memory === "r64") {
      const exponent = random.oneIn(4) ? random.pick([0, 0, 1, 0x7fe, 0x7ff, 0x7ff]) : 1003 + random.below(40);
      const fraction = random.pick([0n, 1n, 1n << 51n, 1n << 50n, (1n << 52n) - 1n, this.u64() >> 12n]);
      view.setBigUint64(0, (BigInt(random.below(2)) << 63n) | (BigInt(exponent) << 52n) | fraction, true);
    } else if (row.memory === "bcd") {
      for (let at = 0; at < 9; at++) bytes[at] = random.below(10) * 16 + random.below(10);
      bytes[9] = random.pick([0, 0x80]);
    } else if (random.oneIn(3)) {
      view.setInt32(0, random.pick([0, 1, -1, 0x7fff, 0x8000, 0x7fffffff, -0x80000000]), true);
    }
    return bytes;
  }
}

/** Operands in the range where the instruction has work to do. */
function steer(row: X87Row, values: Values, stack: Real[]): void {
  const { random } = values;
  if (random.oneIn(4)) return;
  const { mnemonic } = row;
  if (mnemonic === "FSCALE") stack[1] = values.normal(0x3fff, 16);
  else if (mnemonic === "F2XM1") stack[0] = values.normal(0x3ffe - 70, 71);
  else if (mnemonic === "FYL2XP1") stack[0] = values.normal(0x3ffc - 70, 71);
  else if (mnemonic === "FYL2X") stack[0] = { ...(stack[0] as Real), signExponent: random.below(0x7fff) };
  else if (/^(FSIN|FCOS|FSINCOS|FPTAN)$/.test(mnemonic)) stack[0] = values.normal(0x3fff - 10, 76);
  else if (/^(FIST|FBSTP)/.test(mnemonic)) stack[0] = values.normal(0x3fff - 4, 70);
  else if (row.access === "write" && row.memory === "r32") stack[0] = values.normal(0x3fff - 160, 300);
  else if (row.access === "write" && row.memory === "r64") stack[0] = values.normal(0x3fff - 1100, 2200);
}

const PUSHES = /^(FLD|FLD1|FLDZ|FLDPI|FLDL2[TE]|FLDLG2|FLDLN2|FILD|FBLD|FPTAN|FSINCOS|FXTRACT)$/;

function makeCase(row: X87Row, values: Values): X87Case {
  const { random } = values;
  const top = random.below(8);
  const fcw = values.control();
  let fsw = (top << 11) | (random.u32() & 0x4700);
  const flags = random.oneIn(3) ? random.below(0x40) | (random.oneIn(4) ? 0x40 : 0) : 0;
  // An instruction that waits would only fault if an exception were pending.
  if ((flags & ~fcw & 0x3f) === 0) fsw |= flags;
  else if (!row.waits) fsw |= flags | 0x8080;
  let ftw = random.oneIn(6) ? random.below(256) : 0xff;
  if (PUSHES.test(row.mnemonic) && !random.oneIn(4)) ftw &= ~(1 << ((top + 7) & 7));
  const stack = Array.from({ length: 8 }, () => values.real());
  if (random.oneIn(5)) {
    const first = stack[0] as Real;
    stack[1] = { ...first, signExponent: first.signExponent ^ values.sign() };
  }
  steer(row, values, stack);
  const memory = values.memory(row);
  const eflags = 0x202 | (random.u32() & FLAGS_MASK);
  return { row, sti: row.rm ?? random.below(8), fcw, fsw, ftw, eflags, stack, memory };
}

/** `perRow` cases of every row in `rows`. */
export function generateCases(seed: number, perRow: number, rows: readonly X87Row[] = CASE_ROWS): X87Case[] {
  const values = new Values(new Random(seed));
  return rows.flatMap((row) => Array.from({ length: perRow }, () => makeCase(row, values)));
}

/** Run a case on our x87. */
export function runCase(machine: X87Machine, test: X87Case): X87Result {
  machine.set("fcw", test.fcw);
  machine.set("fsw", test.fsw);
  machine.set("ftw", test.ftw);
  machine.eflags = test.eflags;
  machine.eax = EAX;
  for (const [index, value] of test.stack.entries()) machine.setSt(index, value);
  const memory = test.memory.slice();
  machine.run(test.row, test.sti, memory);
  return {
    fcw: machine.get("fcw"),
    fsw: machine.get("fsw"),
    ftw: machine.get("ftw"),
    eflags: machine.eflags,
    eax: machine.eax,
    stack: test.stack.map((_, index) => machine.st(index)),
    memory,
  };
}
