/**
 * The file of recorded results. Cases are not stored: seed and amounts make them again, and a fingerprint tells when
 * the generator no longer makes the same ones. Results are stored as differences from the start state, one column for
 * each kind of value, compressed.
 */
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import { hasErrorCode, initialByte, type TestCase, type TestResult, VECTOR } from "./case.ts";
import type { Amount } from "./generate.ts";
import { FPU_IMAGE, WINDOW } from "./layout.ts";

const MAGIC = 0x31434c4f; // "OLC1"
const HEADER_SIZE = 32;

/** What stands in front of the columns. */
export interface VectorHeader {
  readonly seed: number;
  readonly amount: Amount;
  readonly count: number;
  /** Of all cases, in order: see `Fingerprint`. */
  readonly fingerprint: number;
  /** The processor that the results come from. */
  readonly processor: string;
}

/** FNV-1a over everything that a case hands to the processor. */
export class Fingerprint {
  value = 0x811c9dc5;

  add(test: TestCase): void {
    this.#bytes(test.code);
    this.#bytes(Uint32Array.of(test.address, test.eflags, ...test.registers));
    this.#bytes(test.segments);
    this.#bytes(test.fpu);
    this.#bytes(test.window);
  }

  #bytes(values: ArrayLike<number>): void {
    let value = this.value;
    for (let i = 0; i < values.length; i++) value = Math.imul(value ^ (values[i] as number), 0x01000193);
    this.value = value >>> 0;
  }
}

/** A growing sequence of bytes: fixed-size numbers and variable-length ones (seven bits to a byte, lowest first). */
class Column {
  #bytes = new Uint8Array(1 << 16);
  #length = 0;

  u8(value: number): void {
    if (this.#length === this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#length++] = value;
  }

  u16(value: number): void {
    this.u8(value & 0xff);
    this.u8(value >>> 8);
  }

  unsigned(value: number): void {
    let rest = value >>> 0;
    for (; rest > 0x7f; rest >>>= 7) this.u8((rest & 0x7f) | 0x80);
    this.u8(rest);
  }

  signed(value: number): void {
    this.unsigned((value << 1) ^ (value >> 31));
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

/** Reads a column. Reading beyond the end gives zeros. */
class ColumnReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  u8(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  u16(): number {
    return this.u8() | (this.u8() << 8);
  }

  unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.u8();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  signed(): number {
    const value = this.unsigned();
    return (value >>> 1) ^ -(value & 1);
  }
}

const COLUMNS = ["vector", "eip", "flags", "fault", "masks", "registers", "segments", "fpu", "memory"] as const;
type ColumnName = (typeof COLUMNS)[number];

/** Parts of the x87 image that are stored: control, status, tags, ST(0)…ST(7). Its pointers depend on the host. */
const FPU_PARTS = [
  { at: FPU_IMAGE.control, size: 2 },
  { at: FPU_IMAGE.status, size: 2 },
  { at: FPU_IMAGE.tag, size: 2 },
  ...Array.from({ length: 8 }, (_, i) => ({ at: FPU_IMAGE.environment + 10 * i, size: 10 })),
] as const;

/** Collects results and makes the file. */
export class VectorWriter {
  readonly #columns = Object.fromEntries(COLUMNS.map((name) => [name, new Column()])) as Record<ColumnName, Column>;
  readonly #fingerprint = new Fingerprint();
  #count = 0;

  add(test: TestCase, result: TestResult): void {
    this.#fingerprint.add(test);
    this.#count++;
    const c = this.#columns;
    c.vector.u8(result.vector);
    c.eip.signed(result.eip - test.address);
    c.flags.unsigned(result.eflags ^ test.eflags);
    if (hasErrorCode(result.vector)) c.fault.unsigned(result.errorCode);
    if (result.vector === VECTOR.PF) c.fault.signed(result.address - WINDOW.base);
    const registers = changed(test.registers, result.registers);
    const segments = changed(test.segments, result.segments);
    const fpu = FPU_PARTS.map((part, i) => ({ part, i })).filter(({ part }) => !samePart(test, result, part));
    c.masks.u8(maskOf(registers));
    c.masks.u8(maskOf(segments));
    c.masks.u16(maskOf(fpu.map(({ i }) => i)));
    c.masks.unsigned(result.memory.size);
    for (const i of registers) {
      const difference = ((result.registers[i] as number) ^ (test.registers[i] as number)) >>> 0;
      c.registers.u16(difference & 0xffff);
      c.registers.u16(difference >>> 16);
    }
    for (const i of segments) c.segments.u16(result.segments[i] as number);
    for (const { part } of fpu) {
      for (let i = part.at; i < part.at + part.size; i++) c.fpu.u8(result.fpu[i] as number);
    }
    let last: number = WINDOW.base + 0x80;
    for (const [address, value] of result.memory) {
      c.memory.signed(address - last);
      c.memory.u8(value ^ initialByte(test, address));
      last = address;
    }
  }

  finish(seed: number, amount: Amount, processor: string): Uint8Array {
    const columns = COLUMNS.map((name) => {
      const raw = this.#columns[name].finish();
      return brotliCompressSync(raw, {
        params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 },
      });
    });
    const name = Buffer.from(processor, "utf8");
    const header = new DataView(new ArrayBuffer(HEADER_SIZE));
    const numbers = [
      MAGIC,
      seed,
      amount.integer,
      amount.x87,
      amount.sequences,
      this.#count,
      this.#fingerprint.value,
      name.length,
    ];
    for (const [i, value] of numbers.entries()) header.setUint32(4 * i, value, true);
    const lengths = Uint32Array.from(columns, (column) => column.length);
    return Buffer.concat([new Uint8Array(header.buffer), name, new Uint8Array(lengths.buffer), ...columns]);
  }
}

/** Reads the file; results come in the order of the cases. */
export class VectorReader {
  readonly header: VectorHeader;
  readonly #columns: Record<ColumnName, ColumnReader>;

  /** Throws when the bytes are not a vector file. */
  constructor(file: Uint8Array) {
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    if (file.length < HEADER_SIZE || view.getUint32(0, true) !== MAGIC) throw new Error("not a file of oracle vectors");
    const number = (i: number): number => view.getUint32(4 * i, true);
    const nameEnd = HEADER_SIZE + number(7);
    this.header = {
      seed: number(1),
      amount: { integer: number(2), x87: number(3), sequences: number(4) },
      count: number(5),
      fingerprint: number(6),
      processor: new TextDecoder().decode(file.subarray(HEADER_SIZE, nameEnd)),
    };
    let at = nameEnd + 4 * COLUMNS.length;
    const columns = COLUMNS.map((name, i): [ColumnName, ColumnReader] => {
      const length = view.getUint32(nameEnd + 4 * i, true);
      const raw = brotliDecompressSync(file.subarray(at, at + length));
      at += length;
      return [name, new ColumnReader(raw)];
    });
    this.#columns = Object.fromEntries(columns) as Record<ColumnName, ColumnReader>;
  }

  /** The result of the next case, which must be the case that was recorded in this place. */
  next(test: TestCase): TestResult {
    const c = this.#columns;
    const vector = c.vector.u8();
    const eip = (test.address + c.eip.signed()) >>> 0;
    const eflags = (test.eflags ^ c.flags.unsigned()) >>> 0;
    const errorCode = hasErrorCode(vector) ? c.fault.unsigned() : 0;
    const address = vector === VECTOR.PF ? (c.fault.signed() + WINDOW.base) >>> 0 : 0;
    const [registerMask, segmentMask, fpuMask, memoryCount] = [
      c.masks.u8(),
      c.masks.u8(),
      c.masks.u16(),
      c.masks.unsigned(),
    ];
    const registers = test.registers.slice();
    for (const i of bitsOf(registerMask)) {
      const difference = (c.registers.u16() | (c.registers.u16() << 16)) >>> 0;
      registers[i] = (registers[i] as number) ^ difference;
    }
    const segments = test.segments.slice();
    for (const i of bitsOf(segmentMask)) segments[i] = c.segments.u16();
    const fpu = test.fpu.slice();
    for (const i of bitsOf(fpuMask)) {
      const part = FPU_PARTS[i] as { at: number; size: number };
      for (let k = part.at; k < part.at + part.size; k++) fpu[k] = c.fpu.u8();
    }
    const memory = new Map<number, number>();
    let last: number = WINDOW.base + 0x80;
    for (let i = 0; i < memoryCount; i++) {
      last += c.memory.signed();
      memory.set(last, c.memory.u8() ^ initialByte(test, last));
    }
    return { vector, errorCode, address, registers, eip, eflags, segments, fpu, memory };
  }
}

function changed(before: ArrayLike<number>, after: ArrayLike<number>): number[] {
  return Array.from({ length: before.length }, (_, i) => i).filter((i) => before[i] !== after[i]);
}

function samePart(test: TestCase, result: TestResult, part: { at: number; size: number }): boolean {
  for (let i = part.at; i < part.at + part.size; i++) if (test.fpu[i] !== result.fpu[i]) return false;
  return true;
}

function maskOf(bits: readonly number[]): number {
  return bits.reduce((mask, bit) => mask | (1 << bit), 0);
}

function bitsOf(mask: number): number[] {
  return Array.from({ length: 16 }, (_, i) => i).filter((i) => (mask >> i) & 1);
}
