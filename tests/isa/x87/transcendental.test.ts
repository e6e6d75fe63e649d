/** Transcendental results against high-precision references: correctly rounded but for a hundredth of the last place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FSW } from "../../../src/isa/x87/constants.ts";
import { Random } from "../../oracle/random.ts";
import { type Real, real, rowOf, show, X87Machine } from "./machine.ts";
import * as reference from "./reference.ts";

/** Precision control at 24 bits: it must not matter. */
const FCW = 0x007f;
const random = new Random(0x5eed);

function randomReal(lowest: number, highest: number): Real {
  const exponent = 0x3fff + lowest + random.below(highest - lowest + 1);
  const significand = (BigInt(random.u32() | 0x80000000) << 32n) | BigInt(random.u32());
  return { signExponent: exponent | (random.below(2) << 15), significand: BigInt.asUintN(64, significand) };
}

/** The value times 2^BITS; exact for exponents of at least -400. */
function scaled({ signExponent, significand }: Real): bigint {
  const shift = BigInt((signExponent & 0x7fff) - 0x3fff - 63) + reference.BITS;
  const magnitude = shift >= 0n ? significand << shift : significand >> -shift;
  return signExponent & 0x8000 ? -magnitude : magnitude;
}

/** Distance of a result from the exact value, in thousandths of its last place. */
function errorOf(result: Real, exact: bigint): number {
  const place = 1n << (BigInt((result.signExponent & 0x7fff) - 0x3fff - 63) + reference.BITS);
  const distance = scaled(result) - exact;
  return Number(((distance < 0n ? -distance : distance) * 1000n) / place);
}

/** Half a place from rounding, a hundredth for the computation. */
const LIMIT = 510;
const machine = new X87Machine();

function run(modrm: number, ...stack: Real[]): Real {
  machine.load(FCW, ...stack);
  machine.run(rowOf(0xd9, modrm));
  return machine.st(0);
}

/** A number with the exponent replaced, so that its value lies in [1, 2). */
function mantissa(value: Real): bigint {
  return scaled({ signExponent: 0x3fff, significand: value.significand });
}

function check(name: string, count: number, one: () => { result: Real; exact: bigint; operands: Real[] }): void {
  test(name, () => {
    for (let i = 0; i < count; i++) {
      const { result, exact, operands } = one();
      const error = errorOf(result, exact);
      assert.ok(error <= LIMIT, `${operands.map(show).join(" ")} gives ${show(result)}, off by ${error}/1000 places`);
    }
  });
}

/** An angle reduced as the processor does it: by its own π, to within π/4 of a multiple of π/2. */
function reduce(x: bigint): { angle: bigint; quadrant: number } {
  const half = reference.HALF_PI_66;
  const quotient = (2n * x + half) / (2n * half) - (2n * x + half < 0n ? 1n : 0n);
  return { angle: x - quotient * half, quadrant: Number(BigInt.asUintN(2, quotient)) };
}

function sineOf(x: bigint, turn: number): bigint {
  const { angle, quadrant } = reduce(x);
  const q = (quadrant + turn) & 3;
  const value = q & 1 ? reference.cosine(angle) : reference.sine(angle);
  return q & 2 ? -value : value;
}

const TRIGONOMETRIC_RANGE = [-80, 62] as const;

check("FSIN is the sine of the angle modulo the 66-bit pi", 400, () => {
  const x = randomReal(...TRIGONOMETRIC_RANGE);
  return { operands: [x], result: run(0xfe, x), exact: sineOf(scaled(x), 0) };
});

check("FCOS is the cosine of the angle modulo the 66-bit pi", 400, () => {
  const x = randomReal(...TRIGONOMETRIC_RANGE);
  return { operands: [x], result: run(0xff, x), exact: sineOf(scaled(x), 1) };
});

check("FSINCOS leaves the cosine on the sine", 200, () => {
  const x = randomReal(...TRIGONOMETRIC_RANGE);
  const cosine = run(0xfb, x);
  assert.deepEqual(machine.st(1), run(0xfe, x));
  return { operands: [x], result: cosine, exact: sineOf(scaled(x), 1) };
});

check("FPTAN leaves 1 on the tangent", 400, () => {
  const x = randomReal(...TRIGONOMETRIC_RANGE);
  assert.equal(show(run(0xf2, x)), "3FFF8000000000000000");
  const exact = reference.divide(sineOf(scaled(x), 0), sineOf(scaled(x), 1));
  return { operands: [x], result: machine.st(1), exact };
});

check("FPATAN gives the angle of (ST0, ST1) in all quadrants", 400, () => {
  const [x, y] = [randomReal(-70, 70), randomReal(-70, 70)];
  return { operands: [x, y], result: run(0xf3, x, y), exact: reference.angle(scaled(y), scaled(x)) };
});

check("FPATAN of nearly equal operands", 200, () => {
  const [x, y] = [randomReal(0, 1), randomReal(0, 1)];
  return { operands: [x, y], result: run(0xf3, x, y), exact: reference.angle(scaled(y), scaled(x)) };
});

check("F2XM1 is 2^x - 1 between -1 and 1", 400, () => {
  const x = randomReal(-80, -1);
  return { operands: [x], result: run(0xf0, x), exact: reference.exp2MinusOne(scaled(x)) };
});

/** y · 2^0 with |y| in [1, 2), so that products stay in the references' range. */
const unit = (): Real => randomReal(0, 0);

check("FYL2X is y·log2(x) over the whole range", 300, () => {
  const x = { ...randomReal(0, 0), signExponent: 1 + random.below(0x7ffe) };
  const y = unit();
  const exact = (scaled(y) * reference.log2(mantissa(x), BigInt(x.signExponent - 0x3fff))) >> reference.BITS;
  return { operands: [x, y], result: run(0xf1, x, y), exact };
});

check("FYL2X keeps its precision next to 1", 300, () => {
  const distance = BigInt(1 + random.below(1 << random.below(31)));
  const below = random.oneIn(2);
  const x = below
    ? { signExponent: 0x3ffe, significand: (1n << 64n) - distance }
    : { signExponent: 0x3fff, significand: (1n << 63n) + distance };
  const y = unit();
  const exact = (scaled(y) * reference.log2(mantissa(x), below ? -1n : 0n)) >> reference.BITS;
  return { operands: [x, y], result: run(0xf1, x, y), exact };
});

check("FYL2XP1 is y·log2(x + 1) for small x", 300, () => {
  const [x, y] = [randomReal(-80, -3), unit()];
  const exact = (scaled(y) * reference.log2PlusOne(scaled(x))) >> reference.BITS;
  return { operands: [x, y], result: run(0xf9, x, y), exact };
});

test("arguments of 2^63 and more are refused with C2 and left alone", () => {
  for (const modrm of [0xfe, 0xff, 0xfb, 0xf2]) {
    const x = real("C03E8000000000000000");
    assert.deepEqual(run(modrm, x), x);
    assert.equal(machine.get("fsw"), FSW.C2);
    assert.equal(machine.get("ftw"), 1);
  }
});

test("special operands give what the manual's tables say", () => {
  const values = {
    zero: "00000000000000000000",
    minusZero: "80000000000000000000",
    one: "3FFF8000000000000000",
    two: "40008000000000000000",
    infinity: "7FFF8000000000000000",
    minusInfinity: "FFFF8000000000000000",
    indefinite: "FFFFC000000000000000",
    pi: "4000C90FDAA22168C235",
    halfPi: "3FFFC90FDAA22168C235",
    quarterPi: "3FFEC90FDAA22168C235",
  };
  const cases: readonly [number, string[], string][] = [
    [0xf3, [values.infinity, values.infinity], values.quarterPi],
    [0xf3, [values.minusZero, values.zero], values.pi],
    [0xf3, [values.zero, values.one], values.halfPi],
    [0xf3, [values.zero, values.minusZero], values.minusZero],
    [0xf1, [values.zero, values.one], values.minusInfinity],
    [0xf1, [values.zero, values.zero], values.indefinite],
    [0xf1, [values.one, values.infinity], values.indefinite],
    [0xf1, [values.two, values.minusInfinity], values.minusInfinity],
    [0xf1, [values.one, values.one], values.zero],
    [0xf9, [values.minusInfinity, values.one], values.indefinite],
    [0xf0, [values.one], values.one],
    [0xf0, [values.minusInfinity], "BFFF8000000000000000"],
    [0xfe, [values.infinity], values.indefinite],
    [0xff, [values.minusZero], values.one],
  ];
  for (const [modrm, operands, expected] of cases) {
    assert.equal(show(run(modrm, ...operands.map(real))), expected, `${modrm.toString(16)} of ${operands.join(" ")}`);
  }
});
