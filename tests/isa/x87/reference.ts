/** Transcendental functions in fixed point with BigInt, by plain series: slow, and independent of the code under test. */

/** Numbers are scaled by 2^BITS: enough for results down to 2^-250 with 200 bits left. */
export const BITS = 512n;
const ONE = 1n << BITS;

function multiply(a: bigint, b: bigint): bigint {
  return (a * b) >> BITS;
}

export function divide(a: bigint, b: bigint): bigint {
  return (a << BITS) / b;
}

/** Σ of `next(term, k)` from `first` until the terms vanish. */
function series(first: bigint, next: (term: bigint, k: bigint) => bigint): bigint {
  let sum = 0n;
  let term = first;
  for (let k = 1n; term !== 0n && term !== -1n; k++) {
    sum += term;
    term = next(term, k);
  }
  return sum;
}

export function sine(x: bigint): bigint {
  const square = multiply(x, x);
  return series(x, (term, k) => -multiply(term, square) / (2n * k * (2n * k + 1n)));
}

export function cosine(x: bigint): bigint {
  const square = multiply(x, x);
  return series(ONE, (term, k) => -multiply(term, square) / ((2n * k - 1n) * 2n * k));
}

/** Euler's series, for any ratio in [0, 1]. */
function arctangent(q: bigint): bigint {
  const denominator = ONE + multiply(q, q);
  const factor = divide(multiply(q, q), denominator);
  return series(divide(q, denominator), (term, k) => (multiply(term, factor) * 2n * k) / (2n * k + 1n));
}

/** π = 16·atan(1/5) - 4·atan(1/239). */
export const PI = 16n * arctangent(ONE / 5n) - 4n * arctangent(ONE / 239n);

/** The angle of (x, y), neither zero. */
export function angle(y: bigint, x: bigint): bigint {
  const [ay, ax] = [y < 0n ? -y : y, x < 0n ? -x : x];
  const first = ay <= ax ? arctangent(divide(ay, ax)) : PI / 2n - arctangent(divide(ax, ay));
  const upper = x < 0n ? PI - first : first;
  return y < 0n ? -upper : upper;
}

/** 2·artanh(s): ln((1 + s)/(1 - s)). */
function logarithmOfRatio(s: bigint): bigint {
  const square = multiply(s, s);
  let power = s;
  let sum = 0n;
  for (let k = 1n; power !== 0n && power !== -1n; k += 2n) {
    sum += power / k;
    power = multiply(power, square);
  }
  return 2n * sum;
}

const LN2 = logarithmOfRatio(ONE / 3n);

/** log2(m · 2^power) for m in [1, 2). */
export function log2(m: bigint, power: bigint): bigint {
  return power * ONE + divide(logarithmOfRatio(divide(m - ONE, m + ONE)), LN2);
}

/** log2(1 + x) for a small x. */
export function log2PlusOne(x: bigint): bigint {
  return divide(logarithmOfRatio(divide(x, 2n * ONE + x)), LN2);
}

/** 2^x - 1. */
export function exp2MinusOne(x: bigint): bigint {
  const t = multiply(x, LN2);
  return series(t, (term, k) => multiply(term, t) / (k + 1n));
}

/** The x87's own π/2: 66 bits. */
export const HALF_PI_66 = 0x3243f6a8885a308d3n << (BITS - 65n);
