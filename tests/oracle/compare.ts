/** Compares two results of one case, leaving out what the manuals leave open. */
import { REGISTERS, SEGMENTS, type TestCase, type TestResult, VECTOR } from "./case.ts";
import { FPU_IMAGE } from "./layout.ts";

/** Page-fault error code: the bit that only processors with no-execute pages set. SDM 3A 4.7. */
const PF_INSTRUCTION = 1 << 4;
const hex = (value: number): string => (value >>> 0).toString(16);

function accessFault({ vector }: TestResult): boolean {
  return vector === VECTOR.PF || vector === VECTOR.GP || vector === VECTOR.SS;
}

/** What differs, in words; nothing if the results agree. */
export function differences(test: TestCase, expected: TestResult, actual: TestResult): string[] {
  // Of two accesses that both fault, one in its segment and one in its page, the processor chooses the first.
  if (test.open.fault && accessFault(expected) && accessFault(actual) && expected.vector !== actual.vector) return [];
  if (expected.vector !== actual.vector) {
    return [`ended with vector ${actual.vector} at ${hex(actual.eip)}, not ${expected.vector} at ${hex(expected.eip)}`];
  }
  const found: string[] = [];
  const faulted = test.open.fault && expected.vector !== VECTOR.BP && expected.vector !== VECTOR.DB;
  const check = (name: string, want: number, got: number): void => {
    if (want !== got) found.push(`${name} is ${hex(got)}, not ${hex(want)}`);
  };
  check("eip", expected.eip, actual.eip);
  const flags = ~test.open.flags;
  check("eflags", (expected.eflags & flags) >>> 0, (actual.eflags & flags) >>> 0);
  if (expected.vector !== VECTOR.PF) check("error code", expected.errorCode, actual.errorCode);
  else if (!faulted) {
    check("error code", expected.errorCode & ~PF_INSTRUCTION, actual.errorCode & ~PF_INSTRUCTION);
    check("cr2", expected.address, actual.address);
  }
  for (const [i, name] of SEGMENTS.entries()) check(name, expected.segments[i] as number, actual.segments[i] as number);
  compareFpu(test, expected.fpu, actual.fpu, found);
  if (test.open.destination) return found;
  for (const [i, name] of REGISTERS.entries())
    check(name, expected.registers[i] as number, actual.registers[i] as number);
  if (faulted) return found;
  for (const address of new Set([...expected.memory.keys(), ...actual.memory.keys()])) {
    const open = test.open.memory;
    if (open !== undefined && address >= open.from && address < open.to) continue;
    const [want, got] = [expected.memory.get(address), actual.memory.get(address)];
    if (want !== got) found.push(`byte ${hex(address)} is ${showByte(got)}, not ${showByte(want)}`);
  }
  return found;
}

function showByte(value: number | undefined): string {
  return value === undefined ? "unchanged" : hex(value);
}

function compareFpu(test: TestCase, expected: Uint8Array, actual: Uint8Array, found: string[]): void {
  const word = (image: Uint8Array, at: number): number => (image[at] as number) | ((image[at + 1] as number) << 8);
  const check = (name: string, at: number, mask: number): void => {
    const [want, got] = [word(expected, at) & mask, word(actual, at) & mask];
    if (want !== got) found.push(`${name} is ${hex(got)}, not ${hex(want)}`);
  };
  check("x87 control", FPU_IMAGE.control, 0xffff);
  check("x87 status", FPU_IMAGE.status, 0xffff & ~test.open.status);
  if (test.open.destination) return;
  if (test.open.ulps === 0) check("x87 tags", FPU_IMAGE.tag, 0xffff);
  for (let i = 0; i < 8; i++) {
    const at = FPU_IMAGE.environment + 10 * i;
    const [want, got] = [expected.subarray(at, at + 10), actual.subarray(at, at + 10)];
    if (want.every((byte, k) => byte === got[k])) continue;
    if (test.open.ulps > 0 && ulpsApart(want, got) <= test.open.ulps) continue;
    found.push(`ST(${i}) is ${showExtended(got)}, not ${showExtended(want)}`);
  }
}

function showExtended(bytes: Uint8Array): string {
  const digits = Buffer.from(bytes).reverse().toString("hex");
  return `${digits.slice(0, 4)}:${digits.slice(4)}`;
}

/** Distance of two 80-bit numbers in units in the last place; Infinity if their signs differ. */
function ulpsApart(a: Uint8Array, b: Uint8Array): number {
  const ordinal = (bytes: Uint8Array): bigint => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, 10);
    const significand = view.getBigUint64(0, true) & 0x7fffffffffffffffn;
    return (BigInt(view.getUint16(8, true) & 0x7fff) << 63n) | significand;
  };
  if ((((a[9] as number) ^ (b[9] as number)) & 0x80) !== 0) return Number.POSITIVE_INFINITY;
  const distance = ordinal(a) - ordinal(b);
  return Number(distance < 0n ? -distance : distance);
}
