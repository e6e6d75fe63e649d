/**
 * Plain data as bytes: a part of CBOR (RFC 8949) that is enough for states, with typed arrays by RFC 8746. Reading trusts
 * nothing: whatever is not exactly of this part is refused with VmxonError("state").
 */
import { VmxonError } from "./errors.ts";

/** Major types (RFC 8949, 3.1). */
const MAJOR = { UNSIGNED: 0, NEGATIVE: 1, BYTES: 2, TEXT: 3, ARRAY: 4, MAP: 5, TAG: 6, SIMPLE: 7 } as const;
/** Additional information: values up to 23 stand in it, then so many bytes follow. */
const FOLLOWS = { DIRECT: 23, U8: 24, U16: 25, U32: 26, U64: 27 } as const;
const SIMPLE = { FALSE: 20, TRUE: 21, NULL: 22, UNDEFINED: 23, FLOAT64: 27 } as const;
const DEEPEST = 32;
const TWO_32 = 2 ** 32;

type TypedArray = Uint16Array | Uint32Array | Int8Array | Int16Array | Int32Array | Float64Array | Uint8ClampedArray;
interface TypedArrayConstructor {
  new (buffer: ArrayBuffer): TypedArray;
  readonly BYTES_PER_ELEMENT: number;
}

/** Tags of little-endian typed arrays (RFC 8746, 2.1). Bytes need none. */
const ARRAY_TAGS: ReadonlyMap<number, TypedArrayConstructor> = new Map<number, TypedArrayConstructor>([
  [68, Uint8ClampedArray],
  [69, Uint16Array],
  [70, Uint32Array],
  [72, Int8Array],
  [77, Int16Array],
  [78, Int32Array],
  [86, Float64Array],
]);

class Writer {
  bytes = new Uint8Array(1024);
  length = 0;
  readonly #text = new TextEncoder();

  #room(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.length, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, at));
      this.bytes = grown;
    }
    return at;
  }

  #view(at: number, count: number): DataView {
    return new DataView(this.bytes.buffer, at, count);
  }

  head(major: number, value: number): void {
    const type = major << 5;
    if (value <= FOLLOWS.DIRECT) {
      const at = this.#room(1);
      this.bytes[at] = type | value;
    } else if (value < 0x100) {
      const at = this.#room(2);
      this.bytes[at] = type | FOLLOWS.U8;
      this.bytes[at + 1] = value;
    } else if (value < 0x10000) {
      const at = this.#room(3);
      this.bytes[at] = type | FOLLOWS.U16;
      this.#view(at + 1, 2).setUint16(0, value);
    } else if (value < TWO_32) {
      const at = this.#room(5);
      this.bytes[at] = type | FOLLOWS.U32;
      this.#view(at + 1, 4).setUint32(0, value);
    } else {
      const at = this.#room(9);
      this.bytes[at] = type | FOLLOWS.U64;
      const view = this.#view(at + 1, 8);
      view.setUint32(0, Math.floor(value / TWO_32));
      view.setUint32(4, value >>> 0);
    }
  }

  number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      if (value >= 0) this.head(MAJOR.UNSIGNED, value);
      else this.head(MAJOR.NEGATIVE, -1 - value);
      return;
    }
    const at = this.#room(9);
    this.bytes[at] = (MAJOR.SIMPLE << 5) | SIMPLE.FLOAT64;
    this.#view(at + 1, 8).setFloat64(0, value);
  }

  #raw(major: number, bytes: Uint8Array): void {
    this.head(major, bytes.length);
    const at = this.#room(bytes.length);
    this.bytes.set(bytes, at);
  }

  value(value: unknown): void {
    switch (typeof value) {
      case "number":
        this.number(value);
        return;
      case "string":
        this.#raw(MAJOR.TEXT, this.#text.encode(value));
        return;
      case "boolean":
        this.head(MAJOR.SIMPLE, value ? SIMPLE.TRUE : SIMPLE.FALSE);
        return;
      case "undefined":
        this.head(MAJOR.SIMPLE, SIMPLE.UNDEFINED);
        return;
      case "object":
        this.#object(value);
        return;
      default:
        throw new TypeError(`a ${typeof value} is no plain data`);
    }
  }

  #object(value: object | null): void {
    if (value === null) this.head(MAJOR.SIMPLE, SIMPLE.NULL);
    else if (value instanceof Uint8Array) this.#raw(MAJOR.BYTES, value);
    else if (ArrayBuffer.isView(value)) this.#typed(value);
    else if (Array.isArray(value)) {
      this.head(MAJOR.ARRAY, value.length);
      for (const member of value) this.value(member);
    } else {
      const members = Object.entries(value);
      this.head(MAJOR.MAP, members.length);
      for (const [key, member] of members) {
        this.value(key);
        this.value(member);
      }
    }
  }

  #typed(value: ArrayBufferView): void {
    for (const [tag, type] of ARRAY_TAGS) {
      if (!(value instanceof type)) continue;
      this.head(MAJOR.TAG, tag);
      this.#raw(MAJOR.BYTES, new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
      return;
    }
    throw new TypeError("no plain data: an array of this type has no tag");
  }
}

/** Plain data (numbers, strings, booleans, null, undefined, arrays, typed arrays, records) as bytes. */
export function encode(value: unknown): Uint8Array {
  const writer = new Writer();
  writer.value(value);
  return writer.bytes.subarray(0, writer.length);
}

function damaged(what: string): never {
  throw new VmxonError("state", `damaged: ${what}`);
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #text = new TextDecoder("utf-8", { fatal: true });
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Place of the next `count` bytes. */
  #take(count: number): number {
    const { at } = this;
    if (count > this.#bytes.length - at) damaged("it ends too soon");
    this.at += count;
    return at;
  }

  #argument(info: number): number {
    switch (info) {
      case FOLLOWS.U8:
        return this.#bytes[this.#take(1)]!;
      case FOLLOWS.U16:
        return this.#view.getUint16(this.#take(2));
      case FOLLOWS.U32:
        return this.#view.getUint32(this.#take(4));
      case FOLLOWS.U64: {
        const at = this.#take(8);
        const value = this.#view.getUint32(at) * TWO_32 + this.#view.getUint32(at + 4);
        return Number.isSafeInteger(value) ? value : damaged("a number is too large");
      }
      default:
        return info <= FOLLOWS.DIRECT ? info : damaged("an unknown length");
    }
  }

  value(depth: number): unknown {
    if (depth > DEEPEST) damaged("records stand too deep in each other");
    const initial = this.#bytes[this.#take(1)]!;
    const major = initial >> 5;
    const info = initial & 0x1f;
    if (major === MAJOR.SIMPLE) return this.#simple(info);
    const argument = this.#argument(info);
    switch (major) {
      case MAJOR.UNSIGNED:
        return argument;
      case MAJOR.NEGATIVE:
        return -1 - argument;
      case MAJOR.BYTES:
        return this.#raw(argument);
      case MAJOR.TEXT:
        return this.#string(argument);
      case MAJOR.ARRAY:
        return this.#array(argument, depth);
      case MAJOR.MAP:
        return this.#map(argument, depth);
      default:
        return this.#tagged(argument);
    }
  }

  #simple(info: number): unknown {
    switch (info) {
      case SIMPLE.FALSE:
        return false;
      case SIMPLE.TRUE:
        return true;
      case SIMPLE.NULL:
        return null;
      case SIMPLE.UNDEFINED:
        return undefined;
      case SIMPLE.FLOAT64:
        return this.#view.getFloat64(this.#take(8));
      default:
        return damaged("an unknown value");
    }
  }

  #raw(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#take(length);
    const copy = new Uint8Array(length);
    copy.set(this.#bytes.subarray(at, at + length));
    return copy;
  }

  #string(length: number): string {
    const at = this.#take(length);
    try {
      return this.#text.decode(this.#bytes.subarray(at, at + length));
    } catch {
      return damaged("a text is not UTF-8");
    }
  }

  #array(length: number, depth: number): unknown[] {
    // Each member takes a byte at least: no room is made for what cannot be there.
    if (length > this.#bytes.length - this.at) damaged("it ends too soon");
    const array: unknown[] = [];
    for (let i = 0; i < length; i++) array.push(this.value(depth + 1));
    return array;
  }

  #map(length: number, depth: number): Record<string, unknown> {
    const record: Record<string, unknown> = {};
    for (let i = 0; i < length; i++) {
      const key = this.value(depth + 1);
      if (typeof key !== "string" || key === "__proto__") damaged("a member without a name");
      if (Object.hasOwn(record, key)) damaged(`${key} is there twice`);
      record[key] = this.value(depth + 1);
    }
    return record;
  }

  #tagged(tag: number): TypedArray {
    const type = ARRAY_TAGS.get(tag);
    const initial = this.#bytes[this.#take(1)]!;
    if (!type || initial >> 5 !== MAJOR.BYTES) damaged("an unknown tag");
    const bytes = this.#raw(this.#argument(initial & 0x1f));
    if (bytes.length % type.BYTES_PER_ELEMENT !== 0) damaged("an array with a part of an element");
    return new type(bytes.buffer);
  }
}

/** What {@link encode} was given. Throws VmxonError("state") for bytes that it did not write. */
export function decode(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (reader.at !== bytes.length) damaged("something stands behind its end");
  return value;
}
