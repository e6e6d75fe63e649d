/**
 * Decompresses deflate streams (RFC 1951). Ours instead of the platform's, which wants to know where a stream ends: clusters of
 * images have their streams followed by anything.
 */
import { VmxonError } from "../../common/errors.ts";

/** Longest code of an alphabet, in bits. RFC 1951 3.2.7. */
const LONGEST_CODE = 15;
const LITERALS = 288;
const DISTANCES = 32;
const END_OF_BLOCK = 256;
const BLOCK_TYPE = { STORED: 0, FIXED: 1, DYNAMIC: 2 } as const;
/** Codes of the alphabet in which code lengths are written. RFC 1951 3.2.7. */
const REPEAT = { PREVIOUS: 16, ZEROS: 17, MANY_ZEROS: 18 } as const;
const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] as const;

/** Base values and extra bits of length codes 257–285 and of distance codes 0–29. RFC 1951 3.2.5. */
const LENGTH_EXTRA = Uint8Array.of(
  ...[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0],
);
const DISTANCE_EXTRA = Uint8Array.from({ length: 30 }, (_, code) => Math.max(0, (code >> 1) - 1));
const LENGTH_BASE = bases(LENGTH_EXTRA, 3);
const DISTANCE_BASE = bases(DISTANCE_EXTRA, 1);
/** The last length code stands for 258 alone. */
LENGTH_BASE[28] = 258;

function bases(extra: Uint8Array, first: number): Uint16Array {
  const result = new Uint16Array(extra.length);
  let base = first;
  for (let code = 0; code < extra.length; code++) {
    result[code] = base;
    base += 1 << extra[code]!;
  }
  return result;
}

function broken(what: string): never {
  throw new VmxonError("io", `compressed data are damaged: ${what}`);
}

/** A prefix code as a table: the next `bits` bits of the stream lead to symbol << 4 | length; 0 is no code. */
interface Code {
  readonly bits: number;
  readonly table: Uint16Array;
}

/** The canonical code of these lengths. RFC 1951 3.2.2. */
function makeCode(lengths: Uint8Array): Code {
  const counts = new Uint16Array(LONGEST_CODE + 1);
  for (const length of lengths) counts[length]!++;
  counts[0] = 0;
  let bits = LONGEST_CODE;
  while (bits > 1 && counts[bits] === 0) bits--;
  const next = new Uint16Array(LONGEST_CODE + 2);
  let left = 1;
  for (let length = 1; length <= LONGEST_CODE; length++) {
    left = left * 2 - counts[length]!;
    if (left < 0) broken("a code has too many words");
    next[length + 1] = (next[length]! + counts[length]!) << 1;
  }
  const table = new Uint16Array(1 << bits);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = lengths[symbol]!;
    if (length === 0) continue;
    // Codes come with their first bit lowest.
    let reversed = 0;
    for (let word = next[length]!++, bit = 0; bit < length; bit++, word >>= 1) reversed = (reversed << 1) | (word & 1);
    for (let at = reversed; at < table.length; at += 1 << length) table[at] = (symbol << 4) | length;
  }
  return { bits, table };
}

const fixedLengths = new Uint8Array(LITERALS).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280);
let fixedCodes: { literals: Code; distances: Code } | undefined;

class Inflater {
  readonly #input: Uint8Array;
  readonly #output: Uint8Array;
  #at = 0;
  #filled = 0;
  /** Bits that were taken from the input and not yet used, lowest first. */
  #held = 0;
  #count = 0;

  constructor(input: Uint8Array, output: Uint8Array) {
    this.#input = input;
    this.#output = output;
  }

  /** Have at least `count` bits (≤ 24) at hand; behind the end of the input they are zero. */
  #need(count: number): void {
    while (this.#count < count) {
      // A stream that is cut off ends at the first code that reaches so far.
      if (this.#at >= this.#input.length + 4) broken("they end too soon");
      this.#held |= (this.#input[this.#at++] ?? 0) << this.#count;
      this.#count += 8;
    }
  }

  #bits(count: number): number {
    this.#need(count);
    const value = this.#held & ((1 << count) - 1);
    this.#held >>>= count;
    this.#count -= count;
    return value;
  }

  #symbol(code: Code): number {
    this.#need(code.bits);
    const entry = code.table[this.#held & ((1 << code.bits) - 1)]!;
    if (entry === 0) broken("there is a word that is in no code");
    this.#held >>>= entry & 15;
    this.#count -= entry & 15;
    return entry >> 4;
  }

  /** Fill the output; the number of bytes that there were for it. */
  run(): number {
    for (let last = 0; last === 0 && this.#filled < this.#output.length; ) {
      last = this.#bits(1);
      const type = this.#bits(2);
      if (type === BLOCK_TYPE.STORED) this.#stored();
      else if (type === BLOCK_TYPE.FIXED) {
        fixedCodes ??= { literals: makeCode(fixedLengths), distances: makeCode(new Uint8Array(DISTANCES).fill(5)) };
        this.#compressed(fixedCodes.literals, fixedCodes.distances);
      } else if (type === BLOCK_TYPE.DYNAMIC) this.#dynamic();
      else broken("there is a block of no known type");
    }
    return this.#filled;
  }

  #stored(): void {
    // The block begins at a byte; whole bytes that were taken too early are given back.
    this.#at -= this.#count >> 3;
    this.#held = 0;
    this.#count = 0;
    const length = this.#bits(16);
    if ((this.#bits(16) ^ length) !== 0xffff) broken("a length does not match its complement");
    if (this.#at + length > this.#input.length) broken("they end too soon");
    const wanted = Math.min(length, this.#output.length - this.#filled);
    this.#output.set(this.#input.subarray(this.#at, this.#at + wanted), this.#filled);
    this.#filled += wanted;
    this.#at += length;
  }

  #dynamic(): void {
    const literals = this.#bits(5) + 257;
    const distances = this.#bits(5) + 1;
    const count = this.#bits(4) + 4;
    const order = new Uint8Array(LENGTH_ORDER.length);
    for (let index = 0; index < count; index++) order[LENGTH_ORDER[index]!] = this.#bits(3);
    const code = makeCode(order);
    const lengths = new Uint8Array(literals + distances);
    for (let index = 0; index < lengths.length; ) {
      const symbol = this.#symbol(code);
      if (symbol < REPEAT.PREVIOUS) {
        lengths[index++] = symbol;
        continue;
      }
      if (symbol === REPEAT.PREVIOUS && index === 0) broken("a length is repeated before the first");
      const value = symbol === REPEAT.PREVIOUS ? lengths[index - 1]! : 0;
      const times =
        symbol === REPEAT.PREVIOUS
          ? 3 + this.#bits(2)
          : symbol === REPEAT.ZEROS
            ? 3 + this.#bits(3)
            : 11 + this.#bits(7);
      if (index + times > lengths.length) broken("there are too many lengths");
      lengths.fill(value, index, index + times);
      index += times;
    }
    this.#compressed(makeCode(lengths.subarray(0, literals)), makeCode(lengths.subarray(literals)));
  }

  #compressed(literals: Code, distances: Code): void {
    const output = this.#output;
    while (this.#filled < output.length) {
      const symbol = this.#symbol(literals);
      if (symbol < END_OF_BLOCK) {
        output[this.#filled++] = symbol;
        continue;
      }
      if (symbol === END_OF_BLOCK) return;
      const lengthCode = symbol - END_OF_BLOCK - 1;
      if (lengthCode >= LENGTH_BASE.length) broken("there is a length of no known code");
      const length = LENGTH_BASE[lengthCode]! + this.#bits(LENGTH_EXTRA[lengthCode]!);
      const distanceCode = this.#symbol(distances);
      if (distanceCode >= DISTANCE_BASE.length) broken("there is a distance of no known code");
      const distance = DISTANCE_BASE[distanceCode]! + this.#bits(DISTANCE_EXTRA[distanceCode]!);
      if (distance > this.#filled) broken("a distance leads to before the beginning");
      const end = Math.min(this.#filled + length, output.length);
      for (let at = this.#filled; at < end; at++) output[at] = output[at - distance]!;
      this.#filled = end;
    }
  }
}

/**
 * Decompress the beginning of `input` into `output` until that is full or the stream ends; the number of bytes written. What
 * follows the stream does not matter. Throws VmxonError("io") where it is damaged.
 */
export function inflate(input: Uint8Array, output: Uint8Array): number {
  return new Inflater(input, output).run();
}

/** Bytes before the deflate data of a zlib stream. RFC 1950 2.2. */
const ZLIB_HEADER = 2;
const ZLIB_METHOD_DEFLATE = 8;
const ZLIB_DICTIONARY = 0x20;

/** The same for a zlib stream (RFC 1950); its checksum is not looked at, since a part of the stream may be all that is wanted. */
export function inflateZlib(input: Uint8Array, output: Uint8Array): number {
  const method = input[0] ?? 0;
  const flags = input[1] ?? 0;
  const headed = (method & 0x0f) === ZLIB_METHOD_DEFLATE && ((method << 8) | flags) % 31 === 0;
  if (!headed || (flags & ZLIB_DICTIONARY) !== 0) broken("they do not begin as zlib's do");
  return inflate(input.subarray(ZLIB_HEADER), output);
}
