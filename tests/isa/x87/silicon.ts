/** The committed results of silicon: what of a result is kept, in what layout, and how it is compared with ours. */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { FSW } from "../../../src/isa/x87/constants.ts";
import { MEMORY_BYTES } from "../../../src/isa/x87/row.ts";
import { checkoutPath } from "../../support/checkout.ts";
import { isApproximate, type X87Case, type X87Result } from "./cases.ts";
import { type Real, show } from "./machine.ts";

/** Seed and number of cases per row of the committed results. Recorded on an AMD EPYC (Zen 4) by record.ts. */
export const RECORDED = { seed: 0x87, perRow: 64, path: checkoutPath("tests", "isa", "x87", "silicon.bin") } as const;

/** Operands of a case by the register that holds them when the instruction is over, or undefined if it was none. */
function operandAfter(test: X87Case, result: X87Result, index: number): Real | undefined {
  const moved = (((result.fsw >> 11) & 7) - ((test.fsw >> 11) & 7) + index) & 7;
  return test.stack[moved];
}

function sameReal(a: Real | undefined, b: Real | undefined): boolean {
  return a?.signExponent === b?.signExponent && a?.significand === b?.significand;
}

/**
 * One record: FCW, FSW, EFLAGS (u16 each), FTW, a mask of the registers that changed (u8 each), those registers (10 bytes
 * each), and the memory of rows that store.
 */
export function packResults(cases: readonly X87Case[], results: readonly X87Result[]): Uint8Array {
  const bytes: number[] = [];
  const put = (value: bigint, count: number): void => {
    for (let i = 0; i < count; i++) bytes.push(Number((value >> BigInt(8 * i)) & 0xffn));
  };
  for (const [index, test] of cases.entries()) {
    const result = results[index] as X87Result;
    for (const word of [result.fcw, result.fsw, result.eflags]) put(BigInt(word), 2);
    const changed = result.stack.map((value, i) => !sameReal(value, operandAfter(test, result, i)));
    bytes.push(
      result.ftw,
      changed.reduce((mask, bit, i) => mask | (+bit << i), 0),
    );
    for (const [i, value] of result.stack.entries()) {
      if (!changed[i]) continue;
      put(value.significand, 8);
      put(BigInt(value.signExponent), 2);
    }
    if (test.row.mnemonic === "FNSTSW") put(BigInt(result.eax), 4);
    for (const byte of result.memory.subarray(0, storedBytes(test))) bytes.push(byte);
  }
  return deflateRawSync(Uint8Array.from(bytes), { level: 9 });
}

function storedBytes(test: X87Case): number {
  return test.row.access === "write" ? MEMORY_BYTES[test.row.memory as keyof typeof MEMORY_BYTES] : 0;
}

/** The inverse of {@link packResults}. */
export function unpackResults(cases: readonly X87Case[], packed: Uint8Array, eax: number): X87Result[] {
  const bytes = inflateRawSync(packed);
  let at = 0;
  return cases.map((test) => {
    const [fcw, fsw, eflags] = [bytes.readUInt16LE(at), bytes.readUInt16LE(at + 2), bytes.readUInt16LE(at + 4)];
    const [ftw, changed] = [bytes.readUInt8(at + 6), bytes.readUInt8(at + 7)];
    at += 8;
    const partial: X87Result = { fcw, fsw, ftw, eflags, eax, stack: [], memory: test.memory };
    const stack = Array.from({ length: 8 }, (_, index) => {
      if (((changed >> index) & 1) === 0) return operandAfter(test, partial, index) as Real;
      at += 10;
      return { significand: bytes.readBigUInt64LE(at - 10), signExponent: bytes.readUInt16LE(at - 2) };
    });
    let accumulator = eax;
    if (test.row.mnemonic === "FNSTSW") {
      accumulator = bytes.readUInt32LE(at);
      at += 4;
    }
    const memory = test.memory.slice();
    memory.set(bytes.subarray(at, at + storedBytes(test)));
    at += storedBytes(test);
    return { ...partial, stack, eax: accumulator, memory };
  });
}

/** Distance in units of the last place between values of one sign; Infinity if they cannot be compared. */
export function ulps(a: Real, b: Real): number {
  if (((a.signExponent ^ b.signExponent) & 0x8000) !== 0) return Number.POSITIVE_INFINITY;
  // A normal significand's integer bit and the exponent's step overlap: denormals and normals count on one scale.
  const place = (x: Real): bigint => {
    const exponent = x.signExponent & 0x7fff;
    return (BigInt(exponent === 0 ? 1 : exponent) << 63n) + x.significand;
  };
  const distance = place(a) - place(b);
  return Number(distance < 0n ? -distance : distance);
}

/** Where our result differs from silicon's; transcendental results may differ by one unit in the last place, and in C1. */
export function differences(test: X87Case, expected: X87Result, actual: X87Result): string[] {
  const found: string[] = [];
  const approximate = isApproximate(test.row);
  const mask = approximate ? ~FSW.C1 : -1;
  const word = (name: string, a: number, b: number): void => {
    if (a !== b) found.push(`${name} ${b.toString(16)} instead of ${a.toString(16)}`);
  };
  word("fcw", expected.fcw, actual.fcw);
  word("fsw", expected.fsw & mask, actual.fsw & mask);
  word("ftw", expected.ftw, actual.ftw);
  word("eflags", expected.eflags, actual.eflags);
  word("eax", expected.eax, actual.eax);
  for (const [index, value] of expected.stack.entries()) {
    const ours = actual.stack[index] as Real;
    if (!sameReal(value, ours) && !(approximate && ulps(value, ours) <= 1)) {
      found.push(`st${index} ${show(ours)} instead of ${show(value)}`);
    }
  }
  if (Buffer.compare(expected.memory, actual.memory) !== 0) {
    found.push(
      `memory ${Buffer.from(actual.memory).toString("hex")} not ${Buffer.from(expected.memory).toString("hex")}`,
    );
  }
  return found;
}

/** A case in words, for messages. */
export function describe(test: X87Case): string {
  const { row, sti, fcw, fsw, ftw, memory } = test;
  const words = `fcw ${fcw.toString(16)} fsw ${fsw.toString(16)} ftw ${ftw.toString(2)}`;
  const stack = test.stack.map(show).join(" ");
  return `${row.mnemonic} (${row.opcode.toString(16)} /${row.reg}, st ${sti}) ${words} stack ${stack} memory ${Buffer.from(memory).toString("hex")}`;
}
