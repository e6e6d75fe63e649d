/** Mathematical constants as integers of any precision, computed once from their series. */

/** Guard bits beyond the precision asked for, dropped at the end. */
const GUARD = 32n;

/** 1/n series for atan(1/n), scaled by 2^bits. */
function arctanOfReciprocal(n: bigint, bits: bigint): bigint {
  let power = (1n << bits) / n;
  let sum = 0n;
  for (let k = 0n; power !== 0n; k++) {
    const term = power / (2n * k + 1n);
    sum += k % 2n === 0n ? term : -term;
    power /= n * n;
  }
  return sum;
}

/** floor(π·2^bits), by Machin's formula. */
export function piScaled(bits: number): bigint {
  const work = BigInt(bits) + GUARD;
  return (4n * (4n * arctanOfReciprocal(5n, work) - arctanOfReciprocal(239n, work))) >> GUARD;
}

/** floor(ln 2·2^bits) = 2·artanh(1/3). */
export function ln2Scaled(bits: number): bigint {
  const work = BigInt(bits) + GUARD;
  let power = (2n << work) / 3n;
  let sum = 0n;
  for (let k = 1n; power !== 0n; k += 2n) {
    sum += power / k;
    power /= 9n;
  }
  return sum >> GUARD;
}

/** floor(atan(numerator/denominator)·2^bits) for a ratio of at most 1, by Euler's series. */
export function arctanScaled(numerator: number, denominator: number, bits: number): bigint {
  const work = BigInt(bits) + GUARD;
  const [n, d] = [BigInt(numerator), BigInt(denominator)];
  const square = n * n + d * d;
  let term = ((n * d) << work) / square;
  let sum = 0n;
  for (let k = 1n; term !== 0n; k++) {
    sum += term;
    term = (term * 2n * k * n * n) / ((2n * k + 1n) * square);
  }
  return sum >> GUARD;
}

/** Coefficients scaled by 2^bits, for terms 0 … count-1 of a series given by its denominators. */
export function reciprocals(count: number, bits: number, denominator: (k: number) => bigint): bigint[] {
  return Array.from({ length: count }, (_, k) => (1n << BigInt(bits)) / denominator(k));
}

/** n! */
export function factorial(n: number): bigint {
  let product = 1n;
  for (let k = 2n; k <= BigInt(n); k++) product *= k;
  return product;
}
