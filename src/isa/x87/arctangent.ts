/** FPATAN: the angle of (x, y), by a table of atan(k/16) and a short series, in 128 bits (SDM 2 FPATAN). */
import { i32, i64, type Value } from "../../wasm/expression.ts";
import type { FunctionWriter, Local } from "../../wasm/function.ts";
import type { FunctionReference, ModuleWriter } from "../../wasm/module.ts";
import { EXT, PC } from "./constants.ts";
import {
  define,
  type Extended,
  invoke,
  normalize,
  normalizedExponent,
  normalizedSignificand,
  shiftRightJam,
  signOf,
  storeExtended,
  variable,
} from "./emit.ts";
import { denormalCheck, isDenormal, isInfinity, isZero, type Operands } from "./operands.ts";
import type { Rounding } from "./round.ts";
import {
  addWide,
  assign,
  definePolynomial,
  emitRatio,
  halves,
  isLess,
  subtractFrom,
  type Wide,
  type WideArithmetic,
  wide,
} from "./wide.ts";
import { arctanScaled, piScaled, reciprocals } from "./wide-constants.ts";

/** The quotient in [0, 1] is taken relative to the nearest of these many steps. */
const STEPS = 16;
/** Terms of atan(t)/t for t² ≤ 2^-10. */
const TERMS = 11;
/** Angles are kept in Q2: two integer bits hold π. */
const FRACTION_BITS = 126;
const PI = piScaled(FRACTION_BITS);
/** Below 2^-64 the quotient is its own arc tangent to the last place. */
const TINY_EXPONENT = -64;

/** What ends an FPATAN: an angle in Q2, to be rounded with the sign of y. */
function emitAngle(
  f: FunctionWriter,
  rounding: Rounding,
  destination: Value,
  sign: Value,
  angle: bigint,
  fcw: Value,
  flags: Value,
): void {
  const exponent = angle.toString(2).length - 1;
  const [high, low] = halves(angle << BigInt(127 - exponent));
  const biased = exponent - FRACTION_BITS + EXT.bias;
  const packed = invoke(rounding.pack, destination, sign, biased, high, low | 1n, i32.or(fcw, PC.extended));
  f.return(i32.or(flags, packed));
}

/** Emit atan of a normalized quotient below or at 2^exponent ≤ 1; `quotient` and `exponent` become the angle. */
function emitArctangent(
  f: FunctionWriter,
  arithmetic: WideArithmetic,
  polynomial: FunctionReference,
  s: Value,
  quotient: Wide,
  exponent: Local,
): void {
  const { multiply } = arithmetic;
  const fraction = wide(f, quotient.high.get, quotient.low.get);
  shiftRightJam(f, fraction.high, fraction.low, i32.sub(-1, exponent.get));
  const step = f.let(i32.wrap(i64.shrU(i64.add(i64.shrU(fraction.high.get, 1n), 1n << 58n), 59n)));
  const below = variable(f, "i32", 0);
  f.if(step, () => {
    const center = f.let(i64.shl(i64.extendU(step), 60n));
    // (q - c)/(1 + q·c). A center of 1 wraps to 0, and so does the difference: it is negative, as it should be.
    const product = wide(f);
    assign(
      f,
      product,
      s,
      multiply,
      fraction.high.get,
      fraction.low.get,
      i64.shl(i64.extendU(step), 59n),
      i64.const(0n),
    );
    addWide(f, product, 1n << 63n, 0n);
    const negative = i32.or(i32.eq(step, STEPS), i64.ltU(fraction.high.get, center));
    f.set(below, negative);
    f.if(
      below.get,
      () => subtractFrom(f, fraction, center, 0n),
      () => f.set(fraction.high, i64.sub(fraction.high.get, center)),
    );
    f.set(quotient.high, fraction.high.get);
    f.set(quotient.low, fraction.low.get);
    f.set(exponent, -1);
    f.if(i64.ne(i64.or(fraction.high.get, fraction.low.get), 0n), () => {
      normalize(f, quotient.high, quotient.low, exponent);
      emitRatio(f, arithmetic, s, quotient, product, exponent);
    });
    f.set(fraction.high, quotient.high.get);
    f.set(fraction.low, quotient.low.get);
    shiftRightJam(f, fraction.high, fraction.low, i32.sub(-1, exponent.get));
  });
  f.if(i32.gtS(exponent.get, TINY_EXPONENT), () => {
    const { high, low } = fraction;
    assign(f, fraction, s, multiply, high.get, low.get, high.get, low.get);
    assign(f, fraction, s, polynomial, high.get, low.get);
    assign(f, quotient, s, multiply, quotient.high.get, quotient.low.get, high.get, low.get);
    f.set(exponent, i32.add(exponent.get, 1));
    f.if(i64.ne(i64.or(quotient.high.get, quotient.low.get), 0n), () =>
      normalize(f, quotient.high, quotient.low, exponent),
    );
  });
  f.if(step, () => {
    // The table's angle, in Q1 as everything below 2.
    const base = wide(f);
    f.block((done) => {
      for (let k = 1; k <= STEPS; k++) {
        f.if(i32.eq(step, k), () => {
          const [high, low] = halves(arctanScaled(k, STEPS, 127));
          f.set(base.high, high);
          f.set(base.low, low);
          f.br(done);
        });
      }
    });
    shiftRightJam(f, quotient.high, quotient.low, i32.sub(0, exponent.get));
    f.if(
      below.get,
      () => subtractFrom(f, quotient, base.high.get, base.low.get),
      () => addWide(f, quotient, base.high.get, base.low.get),
    );
    f.set(exponent, 0);
    normalize(f, quotient.high, quotient.low, exponent);
  });
}

/** (s, destination, ySE, ySig, xSE, xSig, fcw) → flags. */
export function defineArctangent(
  module: ModuleWriter,
  operands: Operands,
  rounding: Rounding,
  arithmetic: WideArithmetic,
): FunctionReference {
  const series = reciprocals(TERMS, 127, (k) => BigInt(2 * k + 1));
  const polynomial = definePolynomial(module, arithmetic, series, true);
  const params = ["i32", "i32", "i32", "i64", "i32", "i64", "i32"] as const;
  return define(module, params, "i32", (f, s, destination, ySE, ySig, xSE, xSig, fcw) => {
    const y: Extended = { signExponent: ySE, significand: ySig };
    const x: Extended = { signExponent: xSE, significand: xSig };
    const sign = f.let(signOf(ySE));
    const settled = f.let(invoke(operands.notANumber, destination, ySE, ySig, xSE, xSig, fcw));
    f.if(settled, () => f.return(settled));
    const flags = f.let(denormalCheck(f, i32.or(isDenormal(x), isDenormal(y)), fcw));
    const angle = (value: bigint): void => emitAngle(f, rounding, destination, sign, value, fcw, flags);
    f.if(isInfinity(y), () => {
      f.if(isInfinity(x), () =>
        f.if(
          signOf(xSE),
          () => angle((3n * PI) / 4n),
          () => angle(PI / 4n),
        ),
      );
      angle(PI / 2n);
    });
    f.if(i32.or(isInfinity(x), isZero(y)), () => {
      f.if(signOf(xSE), () => angle(PI));
      storeExtended(f, destination, sign, 0n);
      f.return(flags);
    });
    f.if(isZero(x), () => angle(PI / 2n));
    const exponentY = f.let(normalizedExponent(y));
    const exponentX = f.let(normalizedExponent(x));
    const mantissaY = f.let(normalizedSignificand(y));
    const mantissaX = f.let(normalizedSignificand(x));
    const steep = f.let(
      i32.or(i32.gtS(exponentY, exponentX), i32.and(i32.eq(exponentY, exponentX), i64.gtU(mantissaY, mantissaX))),
    );
    const zero = i64.const(0n);
    const quotient = wide(f, i64.select(steep, mantissaX, mantissaY), zero);
    const divisor = wide(f, i64.select(steep, mantissaY, mantissaX), zero);
    const distance = f.let(i32.sub(exponentY, exponentX));
    const exponent = variable(f, "i32", i32.select(steep, i32.sub(0, distance), distance));
    f.if(
      i32.or(exponent.get, isLess(quotient.high.get, zero, divisor.high.get, zero)),
      () => {
        emitRatio(f, arithmetic, s, quotient, divisor, exponent);
        emitArctangent(f, arithmetic, polynomial, s, quotient, exponent);
      },
      () => {
        const [high, low] = halves(PI);
        f.set(quotient.high, high);
        f.set(quotient.low, low);
        f.set(exponent, -1);
      },
    );
    // From the first octant to where (x, y) stands: π/2 - angle, then π - angle.
    f.if(i32.or(steep, signOf(xSE)), () => {
      shiftRightJam(f, quotient.high, quotient.low, i32.sub(1, exponent.get));
      f.if(steep, () => subtractFrom(f, quotient, ...halves(PI >> 1n)));
      f.if(signOf(xSE), () => subtractFrom(f, quotient, ...halves(PI)));
      f.set(exponent, 1);
      normalize(f, quotient.high, quotient.low, exponent);
    });
    const low = i64.or(quotient.low.get, 1n);
    const biased = i32.add(exponent.get, EXT.bias);
    const packed = invoke(rounding.pack, destination, sign, biased, quotient.high.get, low, i32.or(fcw, PC.extended));
    f.result(i32.or(flags, packed));
  });
}
