/**
 * Shows functions of our own modules as text, for people: expressions nested as they were written, one statement a line.
 * Knows the instructions that `expression.ts` and `simd.ts` make and the sections that `module.ts` writes, no others.
 */
import { OP, type Value } from "./expression.ts";
import * as simd from "./simd.ts";

/** Sections by number (Core Specification 2.0, 5.5.2). */
const SECTION = { types: 1, imports: 2, functions: 3, exports: 7, code: 10 } as const;
const EXTERNAL = { function: 0, table: 1, memory: 2 } as const;
const VECTOR_PREFIX = 0xfd;
const NO_RESULT = 0x40;

/** Operands that an instruction takes from the stack, and its name. */
interface Shape {
  readonly name: string;
  readonly operands: number;
  readonly immediate: "none" | "memory" | "lane" | "lanes" | "vector";
}

const UNARY = /_(eqz|clz|ctz|popcnt|abs|ceil|floor|trunc|nearest|sqrt|convert|wrap|extend|promote|demote|reinterpret)/;

/** Loads, stores, comparisons and arithmetic by opcode; what has a syntax of its own is not among them. */
const PLAIN: ReadonlyMap<number, Shape> = new Map(
  Object.entries(OP)
    .filter(([name]) => /^[if]\d+_(?!const)/.test(name))
    .map(([name, opcode]) => [
      opcode,
      {
        name: name.replace("_", "."),
        operands: /_load/.test(name) || UNARY.test(name) ? 1 : 2,
        immediate: /_(load|store)/.test(name) ? "memory" : "none",
      },
    ]),
);

/** Vector instructions by opcode behind the prefix, found by asking the builders what they make. */
const VECTOR: ReadonlyMap<number, Shape> = (() => {
  const found = new Map<number, Shape>();
  const operand = simd.v128.const(0n);
  for (const [type, builders] of Object.entries(simd)) {
    if (typeof builders !== "object") continue;
    for (const [name, build] of Object.entries(builders)) {
      // Those that make more than one instruction are made of others.
      if (["const", "all", "select", "shuffle", "fromI32"].includes(name)) continue;
      const make = build as (...operands: unknown[]) => Value;
      const { opcode, a, b, c } = make(operand, name.startsWith("replace") ? 0 : operand, operand);
      const operands = [a, b, c].filter((value) => value !== undefined).length;
      const lane = /^(extract|replace)/.test(name);
      const memory = name.startsWith("load");
      found.set(opcode & 0xff, {
        name: `${type}.${name}`,
        operands,
        immediate: lane ? "lane" : memory ? "memory" : "none",
      });
    }
  }
  found.set(simd.V128_STORE & 0xff, { name: "v128.store", operands: 2, immediate: "memory" });
  found.set(simd.v128.const(0n).opcode & 0xff, { name: "v128.const", operands: 0, immediate: "vector" });
  found.set(simd.i8x16.shuffle(operand, operand, []).opcode & 0xff, {
    name: "i8x16.shuffle",
    operands: 2,
    immediate: "lanes",
  });
  return found;
})();

/** Reads the binary format. */
class Reader {
  readonly bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  u8(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new RangeError("the module ends in the middle of something");
    return value;
  }

  u32(): number {
    return Number(BigInt.asUintN(32, this.#leb(false)));
  }

  signed(): bigint {
    return this.#leb(true);
  }

  #leb(signed: boolean): bigint {
    let value = 0n;
    let shift = 0n;
    for (;;) {
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if (byte < 0x80) return signed && byte & 0x40 ? value - (1n << shift) : value;
    }
  }

  name(): string {
    const length = this.u32();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }

  /** A hexadecimal number of 16 bytes, lowest first. */
  vector(): string {
    let text = "";
    for (let i = 0; i < 16; i++) text = this.u8().toString(16).padStart(2, "0") + text;
    return `0x${text}`;
  }
}

interface Type {
  readonly params: number;
  readonly results: number;
}

/** What showing a function needs of its module. */
interface Module {
  readonly types: Type[];
  /** Type and name of each function, imports first. */
  readonly functions: { readonly type: number; name: string }[];
  readonly imported: number;
  /** Offset of each defined function's body, and behind it. */
  readonly bodies: (readonly [start: number, end: number])[];
}

function readModule(bytes: Uint8Array): Module {
  const types: Type[] = [];
  const functions: { type: number; name: string }[] = [];
  const bodies: [number, number][] = [];
  let imported = 0;
  const reader = new Reader(bytes, 8);
  while (reader.at < bytes.length) {
    const id = reader.u8();
    const length = reader.u32();
    const end = reader.at + length;
    if (id === SECTION.types) {
      for (let n = reader.u32(); n > 0; n--) {
        reader.u8();
        const params = reader.u32();
        reader.at += params;
        const results = reader.u32();
        reader.at += results;
        types.push({ params, results });
      }
    } else if (id === SECTION.imports) {
      for (let n = reader.u32(); n > 0; n--) {
        reader.name();
        const name = reader.name();
        const kind = reader.u8();
        if (kind === EXTERNAL.memory) {
          reader.u8();
          reader.u32();
          reader.u32();
        } else functions.push({ type: reader.u32(), name });
      }
      imported = functions.length;
    } else if (id === SECTION.functions) {
      for (let n = reader.u32(); n > 0; n--) functions.push({ type: reader.u32(), name: `f${functions.length}` });
    } else if (id === SECTION.exports) {
      for (let n = reader.u32(); n > 0; n--) {
        const name = reader.name();
        const kind = reader.u8();
        const index = reader.u32();
        if (kind === EXTERNAL.function) functions[index]!.name = name;
      }
    } else if (id === SECTION.code) {
      for (let n = reader.u32(); n > 0; n--) {
        const size = reader.u32();
        bodies.push([reader.at, reader.at + size]);
        reader.at += size;
      }
    }
    reader.at = end;
  }
  return { types, functions, imported, bodies };
}

/** One function on its way to text. */
class Printer {
  readonly #module: Module;
  readonly #reader: Reader;
  readonly #lines: string[] = [];
  readonly #stack: string[] = [];
  /** Names of the structured instructions that are open. */
  readonly #open: string[] = [];
  #labels = 0;

  constructor(module: Module, bytes: Uint8Array, start: number) {
    this.#module = module;
    this.#reader = new Reader(bytes, start);
  }

  print(end: number): string[] {
    const reader = this.#reader;
    for (let groups = reader.u32(); groups > 0; groups--) {
      reader.u32();
      reader.u8();
    }
    while (reader.at < end) this.#instruction(reader.u8());
    return this.#lines;
  }

  #say(text: string): void {
    this.#lines.push("  ".repeat(this.#open.length + 1) + text);
  }

  #pop(): string {
    return this.#stack.pop() ?? "?";
  }

  #operands(count: number): string[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  #label(depth: number): string {
    return this.#open.at(-1 - depth) ?? "out";
  }

  #structured(head: string): void {
    if (this.#reader.u8() !== NO_RESULT) throw new RangeError("a block with a result");
    const name = `$${this.#labels++}`;
    this.#say(`${head.replace("$", name)} {`);
    this.#open.push(name);
  }

  #apply(shape: Shape): void {
    const reader = this.#reader;
    const operands = this.#operands(shape.operands);
    let suffix = "";
    if (shape.immediate === "memory") {
      reader.u32();
      const offset = reader.u32();
      const address =
        operands[0] === "0"
          ? `0x${offset.toString(16)}`
          : `${operands[0]}${offset ? ` + 0x${offset.toString(16)}` : ""}`;
      if (/store/.test(shape.name)) this.#say(`${shape.name}[${address}] = ${operands[1]}`);
      else this.#stack.push(`${shape.name}[${address}]`);
      return;
    }
    if (shape.immediate === "lane") suffix = `.${reader.u8()}`;
    else if (shape.immediate === "vector" || shape.immediate === "lanes") operands.push(reader.vector());
    this.#stack.push(`${shape.name}${suffix}(${operands.join(", ")})`);
  }

  #call(name: string, type: Type): void {
    const text = `${name}(${this.#operands(type.params).join(", ")})`;
    if (type.results > 0) this.#stack.push(text);
    else this.#say(text);
  }

  #instruction(opcode: number): void {
    const reader = this.#reader;
    const plain = PLAIN.get(opcode);
    if (plain) {
      this.#apply(plain);
      return;
    }
    switch (opcode) {
      case VECTOR_PREFIX: {
        const number = reader.u32();
        const shape = VECTOR.get(number);
        if (!shape) throw new RangeError(`vector instruction ${number}`);
        this.#apply(shape);
        return;
      }
      case OP.unreachable:
        this.#say("unreachable");
        return;
      case OP.block:
        this.#structured("block $");
        return;
      case OP.loop:
        this.#structured("loop $");
        return;
      case OP.if:
        this.#structured(`if $ ${this.#pop()}`);
        return;
      case OP.else: {
        const name = this.#open.pop()!;
        this.#say("} else {");
        this.#open.push(name);
        return;
      }
      case OP.end:
        if (this.#open.pop() !== undefined) this.#say("}");
        else if (this.#stack.length > 0) this.#say(`return ${this.#pop()}`);
        return;
      case OP.br:
        this.#say(`br ${this.#label(reader.u32())}`);
        return;
      case OP.br_if:
        this.#say(`br ${this.#label(reader.u32())} if ${this.#pop()}`);
        return;
      case OP.br_table: {
        const labels = Array.from({ length: reader.u32() + 1 }, () => this.#label(reader.u32()));
        this.#say(`br [${labels.join(" ")}] by ${this.#pop()}`);
        return;
      }
      case OP.return:
        this.#say(`return ${this.#stack.pop() ?? ""}`.trimEnd());
        return;
      case OP.call: {
        const { name, type } = this.#module.functions[reader.u32()]!;
        this.#call(name, this.#module.types[type]!);
        return;
      }
      case OP.call_indirect: {
        const type = this.#module.types[reader.u32()]!;
        reader.u8();
        this.#call(`table[${this.#pop()}]`, type);
        return;
      }
      case OP.drop:
        this.#say(this.#pop());
        return;
      case OP.select: {
        const [a, b, condition] = this.#operands(3);
        this.#stack.push(`(${condition} ? ${a} : ${b})`);
        return;
      }
      case OP.local_get:
        this.#stack.push(`v${reader.u32()}`);
        return;
      case OP.local_set:
        this.#say(`v${reader.u32()} = ${this.#pop()}`);
        return;
      case OP.local_tee: {
        const name = `v${reader.u32()}`;
        this.#say(`${name} = ${this.#pop()}`);
        this.#stack.push(name);
        return;
      }
      case OP.i32_const:
      case OP.i64_const:
        this.#stack.push(number(reader.signed()));
        return;
      case OP.bulk_prefix: {
        const copy = reader.u32() === OP.memory_copy;
        reader.at += copy ? 2 : 1;
        this.#say(`memory.${copy ? "copy" : "fill"}(${this.#operands(3).join(", ")})`);
        return;
      }
      default:
        throw new RangeError(`instruction 0x${opcode.toString(16)}`);
    }
  }
}

/** Small numbers in decimal, others in hexadecimal. */
function number(value: bigint): string {
  if (value > -1024n && value < 1024n) return String(value);
  return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

/** The exported function `name` of a module made by `module.ts`, line by line. Throws RangeError for others' modules. */
export function functionText(bytes: Uint8Array, name: string): string[] {
  const module = readModule(bytes);
  const index = module.functions.findIndex((entry, i) => i >= module.imported && entry.name === name);
  const body = module.bodies[index - module.imported];
  if (!body) throw new RangeError(`no function ${name}`);
  return [`${name} {`, ...new Printer(module, bytes, body[0]).print(body[1]), "}"];
}
