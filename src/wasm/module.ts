/**
 * Writes WebAssembly binary modules. Bytes only: what to emit is decided by `expression.ts` and its users.
 * WebAssembly Core Specification 2.0, chapter 5.
 */

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

const VALUE_TYPE: Record<ValueType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** The empty result of a block, or one value. */
export type BlockType = ValueType | "void";

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** Bytes of an opcode and the longest LEB128 of 32 bits. */
const MAX_OP = 6;

/** Buffers of writers that are done: to begin with a large one costs more than to write into it. */
const spare: Uint8Array[] = [];
const SPARE_BUFFERS = 4;
const SPARE_BYTES = 1 << 18;
const NOTHING = new Uint8Array(0);

/** A growable byte buffer with the encodings that WebAssembly uses. */
export class ByteWriter {
  bytes: Uint8Array;
  length = 0;

  constructor(capacity = 256) {
    this.bytes = spare.pop() ?? new Uint8Array(capacity);
  }

  /** Give the buffer back: nothing will be written or read any more. */
  release(): void {
    if (spare.length < SPARE_BUFFERS && this.bytes.length <= SPARE_BYTES) spare.push(this.bytes);
    this.bytes = NOTHING;
  }

  #grow(need: number): void {
    const bigger = new Uint8Array(Math.max(this.bytes.length * 2, this.length + need));
    bigger.set(this.bytes.subarray(0, this.length));
    this.bytes = bigger;
  }

  u8(value: number): void {
    if (this.length === this.bytes.length) this.#grow(1);
    this.bytes[this.length++] = value;
  }

  /** A byte and an unsigned LEB128: an opcode with its index or offset. */
  op(opcode: number, operand: number): void {
    if (this.length + MAX_OP > this.bytes.length) this.#grow(MAX_OP);
    const { bytes } = this;
    let at = this.length;
    bytes[at++] = opcode;
    let rest = operand >>> 0;
    while (rest > 0x7f) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[at++] = rest;
    this.length = at;
  }

  /** The same with a signed LEB128. */
  opSigned(opcode: number, operand: number): void {
    if (this.length + MAX_OP > this.bytes.length) this.#grow(MAX_OP);
    const { bytes } = this;
    let at = this.length;
    bytes[at++] = opcode;
    let rest = operand | 0;
    while (rest < -0x40 || rest > 0x3f) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>= 7;
    }
    bytes[at++] = rest & 0x7f;
    this.length = at;
  }

  /** Put what another writer holds at `position`. */
  insert(position: number, { bytes, length }: ByteWriter): void {
    if (this.length + length > this.bytes.length) this.#grow(length);
    this.bytes.copyWithin(position + length, position, this.length);
    this.bytes.set(bytes.subarray(0, length), position);
    this.length += length;
  }

  append(source: Uint8Array): void {
    if (this.length + source.length > this.bytes.length) this.#grow(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /** Unsigned LEB128 of a 32-bit value. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.u8(rest);
  }

  /** Signed LEB128 of a 32-bit value. */
  s32(value: number): void {
    let rest = value | 0;
    while (rest < -0x40 || rest > 0x3f) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>= 7;
    }
    this.u8(rest & 0x7f);
  }

  /** Signed LEB128 of a 64-bit value. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    while (rest < -0x40n || rest > 0x3fn) {
      this.u8(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.u8(Number(rest & 0x7fn));
  }

  f64(value: number): void {
    const scratch = new DataView(new ArrayBuffer(8));
    scratch.setFloat64(0, value, true);
    for (let i = 0; i < 8; i++) this.u8(scratch.getUint8(i));
  }

  f32(value: number): void {
    const scratch = new DataView(new ArrayBuffer(4));
    scratch.setFloat32(0, value, true);
    for (let i = 0; i < 4; i++) this.u8(scratch.getUint8(i));
  }

  name(text: string): void {
    const encoded = new TextEncoder().encode(text);
    this.u32(encoded.length);
    this.append(encoded);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length) as Uint8Array<ArrayBuffer>;
  }
}

interface ImportedFunction {
  readonly module: string;
  readonly name: string;
  readonly type: number;
}

interface DefinedFunction {
  readonly type: number;
  body: Uint8Array | undefined;
  /** Places of `if`s that are hardly ever taken, in ascending order. */
  unlikely: readonly number[];
  readonly exported: string | undefined;
  readonly reference: FunctionReference;
}

/** A handle to a function of the module being written. */
export interface FunctionReference {
  /** Its number, once all imports are declared; -1 before. */
  index: number;
  readonly type: FunctionType;
}

/** A call whose callee had no number yet: five bytes at `at` wait for it. */
export interface Relocation {
  readonly at: number;
  readonly callee: FunctionReference;
}

/** Bytes of a function index that is filled in later. */
export const INDEX_BYTES = 5;

/** Collects imports, functions, tables and exports, and encodes them. Imports must be declared before functions. */
export class ModuleWriter {
  readonly #types: FunctionType[] = [];
  readonly #typeIndex = new Map<string, number>();
  readonly #imports: ImportedFunction[] = [];
  readonly #functions: DefinedFunction[] = [];
  readonly #defined = new Map<FunctionReference, DefinedFunction>();
  readonly #relocations: { body: Uint8Array; relocations: readonly Relocation[] }[] = [];
  readonly #late: boolean;
  readonly #elements: FunctionReference[] = [];
  readonly #exports: { readonly name: string; readonly reference: FunctionReference }[] = [];
  #table: { readonly name: string; readonly extra: number } | undefined;
  #memory: { module: string; name: string; initial: number; maximum: number; shared: boolean } | undefined;

  /** `late`: imports may be declared after functions; calls then take a few bytes more. */
  constructor(options: { readonly late?: boolean } = {}) {
    this.#late = options.late === true;
  }

  /** Index of a function type, shared by equal types. */
  type(type: FunctionType): number {
    const key = `${type.params.join()}>${type.results.join()}`;
    let index = this.#typeIndex.get(key);
    if (index === undefined) {
      index = this.#types.push(type) - 1;
      this.#typeIndex.set(key, index);
    }
    return index;
  }

  /** Import the module's one memory. Sizes in 64 KiB pages. */
  importMemory(module: string, name: string, initial: number, maximum: number, shared = false): void {
    this.#memory = { module, name, initial, maximum, shared };
  }

  importFunction(module: string, name: string, type: FunctionType): FunctionReference {
    if (this.#functions.length > 0 && !this.#late)
      throw new RangeError(`import ${module}.${name} declared after the first function`);
    const index = this.#imports.push({ module, name, type: this.type(type) }) - 1;
    return { index, type };
  }

  /** Reserve a function, so that others can call it; its body is given later by {@link define}. */
  declare(type: FunctionType, exported?: string): FunctionReference {
    const reference = { index: this.#late ? -1 : this.#imports.length + this.#functions.length, type };
    const entry: DefinedFunction = { type: this.type(type), body: undefined, unlikely: [], exported, reference };
    this.#functions.push(entry);
    this.#defined.set(reference, entry);
    return reference;
  }

  /** `body`: local declarations and code, as {@link FunctionWriter.finish} returns them. */
  define(
    reference: FunctionReference,
    body: Uint8Array,
    relocations: readonly Relocation[] = [],
    unlikely: readonly number[] = [],
  ): void {
    const slot = this.#defined.get(reference);
    if (!slot) throw new RangeError(`function ${reference.index} is not declared`);
    slot.body = body;
    slot.unlikely = unlikely;
    if (relocations.length > 0) this.#relocations.push({ body, relocations });
  }

  /** Export a function under one more name. */
  exportFunction(reference: FunctionReference, name: string): void {
    this.#exports.push({ name, reference });
  }

  /** Append a function to the module's table (table 0) and return its slot. */
  tableSlot(reference: FunctionReference): number {
    return this.#elements.push(reference) - 1;
  }

  /** Slots taken so far. */
  get tableSize(): number {
    return this.#elements.length;
  }

  /** Export table 0 as `name`, with room for `extra` more functions behind those of {@link tableSlot}. */
  exportTable(name: string, extra: number): void {
    this.#table = { name, extra };
  }

  /** Give functions their final numbers, and fill them in where calls wait for them. */
  #resolve(): void {
    for (const [position, entry] of this.#functions.entries()) entry.reference.index = this.#imports.length + position;
    for (const { body, relocations } of this.#relocations) {
      for (const { at, callee } of relocations) {
        for (let i = 0; i < INDEX_BYTES; i++)
          body[at + i] = ((callee.index >>> (7 * i)) & 0x7f) | (i < INDEX_BYTES - 1 ? 0x80 : 0);
      }
    }
  }

  /** WebAssembly branch hinting proposal: a custom section before the code, functions and places in ascending order. */
  #branchHints(section: (id: number, fill: (writer: ByteWriter) => void) => void): void {
    const hinted = this.#functions.filter((entry) => entry.unlikely.length > 0);
    if (hinted.length === 0) return;
    section(0, (w) => {
      w.name("metadata.code.branch_hint");
      w.u32(hinted.length);
      for (const { reference, unlikely } of hinted) {
        w.u32(reference.index);
        w.u32(unlikely.length);
        for (const at of unlikely) {
          w.u32(at);
          w.u32(1);
          w.u8(0);
        }
      }
    });
  }

  finish(): Uint8Array<ArrayBuffer> {
    this.#resolve();
    const out = new ByteWriter(4096);
    out.append(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    const section = (id: number, fill: (writer: ByteWriter) => void): void => {
      const content = new ByteWriter(1024);
      fill(content);
      out.u8(id);
      out.u32(content.length);
      out.append(content.bytes.subarray(0, content.length));
      content.release();
    };
    section(1, (w) => {
      w.u32(this.#types.length);
      for (const type of this.#types) {
        w.u8(0x60);
        for (const list of [type.params, type.results]) {
          w.u32(list.length);
          for (const value of list) w.u8(VALUE_TYPE[value]);
        }
      }
    });
    section(2, (w) => {
      w.u32(this.#imports.length + (this.#memory ? 1 : 0));
      if (this.#memory) {
        w.name(this.#memory.module);
        w.name(this.#memory.name);
        w.u8(2);
        w.u8(this.#memory.shared ? 3 : 1);
        w.u32(this.#memory.initial);
        w.u32(this.#memory.maximum);
      }
      for (const entry of this.#imports) {
        w.name(entry.module);
        w.name(entry.name);
        w.u8(0);
        w.u32(entry.type);
      }
    });
    section(3, (w) => {
      w.u32(this.#functions.length);
      for (const entry of this.#functions) w.u32(entry.type);
    });
    if (this.#elements.length > 0) {
      section(4, (w) => {
        w.u32(1);
        w.u8(0x70);
        w.u8(1);
        const size = this.#elements.length + (this.#table?.extra ?? 0);
        w.u32(size);
        w.u32(size);
      });
    }
    section(7, (w) => {
      const exported = [
        ...this.#functions.flatMap(({ exported: name, reference }) => (name ? [{ name, reference }] : [])),
        ...this.#exports,
      ];
      w.u32(exported.length + (this.#table ? 1 : 0));
      if (this.#table) {
        w.name(this.#table.name);
        w.u8(1);
        w.u32(0);
      }
      for (const { name, reference } of exported) {
        w.name(name);
        w.u8(0);
        w.u32(reference.index);
      }
    });
    if (this.#elements.length > 0) {
      section(9, (w) => {
        w.u32(1);
        w.u8(0);
        w.u8(0x41);
        w.s32(0);
        w.u8(0x0b);
        w.u32(this.#elements.length);
        for (const reference of this.#elements) w.u32(reference.index);
      });
    }
    this.#branchHints(section);
    section(10, (w) => {
      w.u32(this.#functions.length);
      for (const [position, entry] of this.#functions.entries()) {
        if (!entry.body) throw new RangeError(`function ${this.#imports.length + position} has no body`);
        w.u32(entry.body.length);
        w.append(entry.body);
      }
    });
    const bytes = out.finish();
    out.release();
    return bytes;
  }
}

export { VALUE_TYPE };
