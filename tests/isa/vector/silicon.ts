/** Results of vector cases: what of them is kept in the committed file, and how ours are compared with silicon's. */
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import { checkoutPath } from "../../support/checkout.ts";
import { IMAGE, type VectorCase, WINDOW_BYTES } from "./cases.ts";

/** The state after a case; a case that ran to its INT3 has vector 3. */
export interface VectorResult {
  readonly vector: number;
  readonly registers: Uint32Array;
  readonly eflags: number;
  /** FXSAVE image. */
  readonly image: Uint8Array;
  readonly window: Uint8Array;
}

/** Seed and number of cases per form of the committed results. Recorded on an AMD EPYC (Zen 4) by record.ts. */
export const RECORDED = {
  seed: 0x55e,
  perForm: 200,
  path: checkoutPath("tests", "isa", "vector", "silicon.bin"),
} as const;

const INT3 = 3;
const XM = 19;
const ARITHMETIC = 0x8d5;
const SUMMARY = 0x8080;

/**
 * The state in one row of bytes: arithmetic flags, MXCSR, x87 control, status and tags, MM or ST registers, XMM
 * registers, general registers, window. Of faults only the vector counts, and MXCSR of #XM.
 */
export const STATE_BYTES = 2 + 2 + 2 + 2 + 1 + 80 + 128 + 32 + WINDOW_BYTES;
const AT = { mxcsr: 2, fcw: 4, fsw: 6, ftw: 8, registers: 9, xmm: 89, general: 217, window: 249 } as const;

export function flatten(result: Omit<VectorResult, "vector">): Uint8Array {
  const bytes = new Uint8Array(STATE_BYTES);
  const view = new DataView(bytes.buffer);
  const image = new DataView(result.image.buffer, result.image.byteOffset);
  view.setUint16(0, result.eflags & ARITHMETIC, true);
  view.setUint16(AT.mxcsr, image.getUint32(IMAGE.mxcsr, true), true);
  view.setUint16(AT.fcw, image.getUint16(IMAGE.fcw, true), true);
  view.setUint16(AT.fsw, image.getUint16(IMAGE.fsw, true) & ~SUMMARY, true);
  bytes[AT.ftw] = image.getUint8(IMAGE.ftw);
  for (let i = 0; i < 8; i++) {
    const from = IMAGE.registers + 16 * i;
    bytes.set(result.image.subarray(from, from + 10), AT.registers + 10 * i);
  }
  bytes.set(result.image.subarray(IMAGE.xmm, IMAGE.xmm + 128), AT.xmm);
  for (let i = 0; i < 8; i++) view.setUint32(AT.general + 4 * i, result.registers[i]!, true);
  bytes.set(result.window, AT.window);
  return bytes;
}

/** A result as it is compared: vector and state. */
export interface Outcome {
  readonly vector: number;
  readonly state: Uint8Array;
}

export function outcome(test: VectorCase, result: VectorResult): Outcome {
  if (result.vector === INT3) return { vector: INT3, state: flatten(result) };
  const state = flatten(test);
  const after = flatten(result);
  if (result.vector === XM) state.set(after.subarray(AT.mxcsr, AT.mxcsr + 2), AT.mxcsr);
  return { vector: result.vector, state };
}

/** Vectors, then of each case the bytes that changed: their number, and offset and value of each. */
export function packOutcomes(cases: readonly VectorCase[], outcomes: readonly Outcome[]): Uint8Array {
  const vectors: number[] = [];
  const counts: number[] = [];
  const offsets: number[] = [];
  const values: number[] = [];
  for (const [i, test] of cases.entries()) {
    const before = flatten(test);
    const { vector, state } = outcomes[i]!;
    let count = 0;
    let last = 0;
    for (let at = 0; at < STATE_BYTES; at++) {
      if (state[at] === before[at]) continue;
      count++;
      let step = at - last;
      for (; step >= 0xff; step -= 0xff) offsets.push(0xff);
      offsets.push(step);
      last = at;
      values.push(state[at]!);
    }
    vectors.push(vector);
    counts.push(count);
  }
  const sizes = Uint32Array.of(cases.length, offsets.length, values.length);
  const columns = [new Uint8Array(sizes.buffer), vectors, counts, offsets, values].map((c) => Uint8Array.from(c));
  return brotliCompressSync(Buffer.concat(columns), {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 10,
      [constants.BROTLI_PARAM_LGWIN]: 24,
    },
  });
}

/** Reads what {@link packOutcomes} wrote, case by case. */
export class OutcomeReader {
  readonly #bytes: Buffer;
  readonly count: number;
  #index = 0;
  #offset: number;
  #value: number;

  constructor(packed: Uint8Array) {
    this.#bytes = brotliDecompressSync(packed);
    this.count = this.#bytes.readUInt32LE(0);
    this.#offset = 12 + 2 * this.count;
    this.#value = this.#offset + this.#bytes.readUInt32LE(4);
  }

  next(test: VectorCase): Outcome {
    const state = flatten(test);
    const vector = this.#bytes[12 + this.#index]!;
    let count = this.#bytes[12 + this.count + this.#index]!;
    this.#index++;
    let at = 0;
    for (; count > 0; count--) {
      for (;;) {
        const step = this.#bytes[this.#offset++]!;
        at += step;
        if (step !== 0xff) break;
      }
      state[at] = this.#bytes[this.#value++]!;
    }
    return { vector, state };
  }
}

/** RCP and RSQRT promise a relative error of 1.5 × 2^-12, and processors differ. */
const APPROXIMATE = /^(RCP|RSQRT)/;
const TOLERANCE = 2 ** -11;

function closeSingles(a: Uint8Array, b: Uint8Array): boolean {
  const [x, y] = [new DataView(a.buffer, a.byteOffset), new DataView(b.buffer, b.byteOffset)];
  for (let at = AT.xmm; at < AT.xmm + 128; at += 4) {
    if (x.getUint32(at, true) === y.getUint32(at, true)) continue;
    const [p, q] = [x.getFloat32(at, true), y.getFloat32(at, true)];
    if (!(Math.abs(p - q) <= Math.abs(p) * TOLERANCE)) return false;
  }
  return true;
}

const PARTS = [
  ["eflags", 0, 2], ["mxcsr", AT.mxcsr, 2], ["fcw", AT.fcw, 2], ["fsw", AT.fsw, 2], ["ftw", AT.ftw, 1],
  ...Array.from({ length: 8 }, (_, i) => [`st${i}`, AT.registers + 10 * i, 10] as const),
  ...Array.from({ length: 8 }, (_, i) => [`xmm${i}`, AT.xmm + 16 * i, 16] as const),
  ...Array.from({ length: 8 }, (_, i) => [`r${i}`, AT.general + 4 * i, 4] as const),
  ["window", AT.window, WINDOW_BYTES],
] as readonly (readonly [string, number, number])[]; // biome-ignore format: a table

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).reverse().toString("hex");

/** Where ours differs from silicon's, in words. */
export function differences(test: VectorCase, expected: Outcome, actual: Outcome): string[] {
  const found: string[] = [];
  if (expected.vector !== actual.vector) found.push(`vector ${actual.vector} instead of ${expected.vector}`);
  const approximate = APPROXIMATE.test(test.form.row.mnemonic) && closeSingles(expected.state, actual.state);
  for (const [name, at, size] of PARTS) {
    if (approximate && name.startsWith("xmm")) continue;
    const [want, have] = [expected.state.subarray(at, at + size), actual.state.subarray(at, at + size)];
    if (Buffer.compare(want, have) !== 0) found.push(`${name} ${hex(have)} instead of ${hex(want)}`);
  }
  return found;
}

/** The operands of a case, for messages. */
export function describe(test: VectorCase): string {
  const before = flatten(test);
  const parts = PARTS.filter(([name]) => /^(mxcsr|xmm|st)/.test(name)).map(
    ([name, at, size]) => `${name}=${hex(before.subarray(at, at + size))}`,
  );
  return `${test.name} [${Buffer.from(test.code).toString("hex")}] ${parts.join(" ")} window=${hex(test.window)}`;
}
