/**
 * Reads MOO files: hardware-captured single-instruction tests of SingleStepTests/80286. Chunks of a 4-byte name, a u32
 * length and data; a TEST chunk holds chunks of its own.
 */

/** Registers in the order of the mask of a REGS chunk. */
export const MOO_REGISTERS = [
  "eax",
  "ebx",
  "ecx",
  "edx",
  "cs",
  "ss",
  "ds",
  "es",
  "esp",
  "ebp",
  "esi",
  "edi",
  "eip",
  "eflags",
] as const;
/** One of them. */
export type MooRegister = (typeof MOO_REGISTERS)[number];

/** Registers (16-bit values) and bytes of memory, all that is said about them. */
export interface MooState {
  readonly registers: ReadonlyMap<MooRegister, number>;
  readonly memory: readonly (readonly [address: number, value: number])[];
}

/** One instruction and what the processor made of it; `final` holds what changed. */
export interface MooTest {
  readonly index: number;
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly initial: MooState;
  readonly final: MooState;
  /** The exception it raised, and the linear address of the FLAGS word that this pushed. */
  readonly exception: { readonly vector: number; readonly flagsAddress: number } | undefined;
  /** SHA-1 by which revocation lists name the test. */
  readonly hash: string;
}

/** A cursor over the chunks of a byte range. */
function* chunks(view: DataView, start: number, end: number): Generator<{ name: string; at: number; length: number }> {
  let at = start;
  while (at + 8 <= end) {
    const name = String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
    const length = view.getUint32(at + 4, true);
    yield { name, at: at + 8, length };
    at += 8 + length;
  }
}

function readState(view: DataView, start: number, end: number): MooState {
  const registers = new Map<MooRegister, number>();
  const memory: [number, number][] = [];
  for (const { name, at } of chunks(view, start, end)) {
    if (name === "REGS") {
      const mask = view.getUint16(at, true);
      let next = at + 2;
      for (const [i, register] of MOO_REGISTERS.entries()) {
        if ((mask & (1 << i)) === 0) continue;
        registers.set(register, view.getUint16(next, true));
        next += 2;
      }
    } else if (name === "RAM ") {
      const count = view.getUint32(at, true);
      for (let i = 0; i < count; i++) {
        memory.push([view.getUint32(at + 4 + 5 * i, true), view.getUint8(at + 8 + 5 * i)]);
      }
    }
  }
  return { registers, memory };
}

function readTest(view: DataView, start: number, end: number): MooTest {
  const empty: MooState = { registers: new Map(), memory: [] };
  let [testName, bytes, testHash] = ["", new Uint8Array(0), ""];
  let initial = empty;
  let final = empty;
  let exception: MooTest["exception"];
  const bytesAt = (at: number, length: number): Uint8Array<ArrayBuffer> =>
    new Uint8Array(view.buffer.slice(view.byteOffset + at, view.byteOffset + at + length) as ArrayBuffer);
  for (const { name, at, length } of chunks(view, start + 4, end)) {
    if (name === "NAME") testName = new TextDecoder().decode(bytesAt(at + 4, view.getUint32(at, true)));
    else if (name === "BYTS") bytes = bytesAt(at + 4, view.getUint32(at, true));
    else if (name === "INIT") initial = readState(view, at, at + length);
    else if (name === "FINA") final = readState(view, at, at + length);
    else if (name === "EXCP") exception = { vector: view.getUint8(at), flagsAddress: view.getUint32(at + 1, true) };
    else if (name === "HASH") testHash = [...bytesAt(at, length)].map((b) => b.toString(16).padStart(2, "0")).join("");
  }
  return { index: view.getUint32(start, true), name: testName, bytes, initial, final, exception, hash: testHash };
}

/** All tests of an uncompressed MOO file. */
export function readMoo(file: Uint8Array): MooTest[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const tests: MooTest[] = [];
  for (const { name, at, length } of chunks(view, 0, file.length)) {
    if (name === "TEST") tests.push(readTest(view, at, at + length));
  }
  return tests;
}
