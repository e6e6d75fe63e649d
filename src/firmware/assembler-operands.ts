/**
 * Operands and expressions of the assembler's text syntax (a subset of NASM's): what stands between the commas.
 * Pure functions; knows nothing of instructions.
 */
import { VmxonError } from "../common/errors.ts";

/** Value of an expression. `symbolic` values depend on a label and may change between passes. */
export interface Value {
  readonly value: number;
  readonly symbolic: boolean;
}

/** Looks a symbol up; undefined when the name is unknown in this pass. */
export type SymbolLookup = (name: string) => Value | undefined;

export type OperandSize = 8 | 16 | 32;

/** A memory operand: segment override, address registers, displacement. */
export interface MemoryOperand {
  readonly kind: "memory";
  readonly size: OperandSize | undefined;
  readonly far: boolean;
  /** Number of the overriding segment register (0 = ES … 5 = GS). */
  readonly segment: number | undefined;
  /** Address size in bits, undefined for a plain displacement. */
  readonly addressSize: 16 | 32 | undefined;
  readonly base: number | undefined;
  readonly index: number | undefined;
  readonly scale: 1 | 2 | 4 | 8;
  readonly displacement: Value;
}

export interface RegisterOperand {
  readonly kind: "register";
  readonly class: "general" | "segment" | "control" | "debug";
  /** Bits; 16 for segment registers, 32 for control and debug registers. */
  readonly size: OperandSize;
  readonly number: number;
}

export interface ImmediateOperand {
  readonly kind: "immediate";
  readonly size: OperandSize | undefined;
  readonly distance: "short" | "near" | undefined;
  readonly value: Value;
}

/** A far pointer `segment:offset`. */
export interface PointerOperand {
  readonly kind: "pointer";
  readonly size: OperandSize | undefined;
  readonly segment: Value;
  readonly offset: Value;
}

export type Operand = MemoryOperand | RegisterOperand | ImmediateOperand | PointerOperand;

const GENERAL_8 = ["al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"];
const GENERAL_16 = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"];

const REGISTERS: ReadonlyMap<string, RegisterOperand> = (() => {
  const map = new Map<string, RegisterOperand>();
  const add = (name: string, kind: RegisterOperand["class"], size: OperandSize, number: number): void => {
    map.set(name, { kind: "register", class: kind, size, number });
  };
  for (let number = 0; number < 8; number++) {
    add(GENERAL_8[number]!, "general", 8, number);
    add(GENERAL_16[number]!, "general", 16, number);
    add(`e${GENERAL_16[number]}`, "general", 32, number);
    add(`cr${number}`, "control", 32, number);
    add(`dr${number}`, "debug", 32, number);
  }
  SEGMENTS.forEach((name, number) => {
    add(name, "segment", 16, number);
  });
  return map;
})();

/** Segment register number of a name (0 = ES … 5 = GS), or undefined. */
export function segmentNumber(name: string): number | undefined {
  const number = SEGMENTS.indexOf(name.toLowerCase());
  return number < 0 ? undefined : number;
}

/** Throw the assembler's error; the caller adds the line. */
export function fail(message: string): never {
  throw new VmxonError("firmware", message);
}

/** Split at commas outside quotes, brackets and parentheses. */
export function splitOperands(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quote = "";
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (quote !== "") {
      if (c === quote) quote = "";
    } else if (c === "'" || c === '"') quote = c;
    else if (c === "[" || c === "(") depth++;
    else if (c === "]" || c === ")") depth--;
    else if (c === "," && depth === 0) {
      parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  const last = text.slice(start).trim();
  if (last !== "" || parts.length > 0) parts.push(last);
  return parts;
}

const TOKEN = /\s*(?:(0x[0-9a-f]+|[0-9][0-9a-f]*h|[0-9]+)|('[^']*'|"[^"]*")|([.$_a-z][\w.$]*)|(<<|>>|[-+*/%&|^~()]))/iy;

interface Token {
  readonly type: "number" | "name" | "operator";
  readonly text: string;
  readonly value: number;
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  const end = text.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) fail(`cannot read "${text.slice(at)}"`);
    const [, number, quoted, name, operator] = match;
    if (number !== undefined) {
      const value = /h$/i.test(number) ? Number.parseInt(number.slice(0, -1), 16) : Number(number);
      if (Number.isNaN(value)) fail(`bad number "${number}"`);
      tokens.push({ type: "number", text: number, value });
    } else if (quoted !== undefined) {
      let value = 0;
      for (let i = quoted.length - 2; i >= 1; i--) value = value * 256 + quoted.charCodeAt(i);
      tokens.push({ type: "number", text: quoted, value });
    } else if (name !== undefined) tokens.push({ type: "name", text: name, value: 0 });
    else tokens.push({ type: "operator", text: operator!, value: 0 });
  }
  return tokens;
}

const PRECEDENCE: Readonly<Record<string, number>> = {
  "|": 1,
  "^": 2,
  "&": 3,
  "<<": 4,
  ">>": 4,
  "+": 5,
  "-": 5,
  "*": 6,
  "/": 6,
  "%": 6,
};

function apply(operator: string, a: number, b: number): number {
  switch (operator) {
    case "|":
      return (a | b) >>> 0;
    case "^":
      return (a ^ b) >>> 0;
    case "&":
      return (a & b) >>> 0;
    case "<<":
      return (a << b) >>> 0;
    case ">>":
      return (a >>> 0) >>> b;
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return Math.trunc(a / b);
    default:
      return a % b;
  }
}

class ExpressionReader {
  private readonly tokens: readonly Token[];
  private readonly lookup: SymbolLookup;
  private position = 0;

  constructor(tokens: readonly Token[], lookup: SymbolLookup) {
    this.tokens = tokens;
    this.lookup = lookup;
  }

  read(): Value {
    const value = this.binary(0);
    if (this.position < this.tokens.length) fail(`unexpected "${this.tokens[this.position]!.text}" in an expression`);
    return value;
  }

  private binary(minimum: number): Value {
    let left = this.unary();
    for (;;) {
      const token = this.tokens[this.position];
      const precedence = token?.type === "operator" ? (PRECEDENCE[token.text] ?? 0) : 0;
      if (token === undefined || precedence === 0 || precedence <= minimum) return left;
      this.position++;
      const right = this.binary(precedence);
      left = { value: apply(token.text, left.value, right.value), symbolic: left.symbolic || right.symbolic };
    }
  }

  private unary(): Value {
    const token = this.tokens[this.position++];
    if (token === undefined) return fail("an expression ends too early");
    if (token.type === "number") return { value: token.value, symbolic: false };
    if (token.type === "name") return this.lookup(token.text) ?? fail(`unknown name "${token.text}"`);
    if (token.text === "(") {
      const inner = this.binary(0);
      if (this.tokens[this.position++]?.text !== ")") fail('")" is missing');
      return inner;
    }
    const inner = this.unary();
    if (token.text === "-") return { value: -inner.value, symbolic: inner.symbolic };
    if (token.text === "~") return { value: ~inner.value, symbolic: inner.symbolic };
    if (token.text === "+") return inner;
    return fail(`unexpected "${token.text}" in an expression`);
  }
}

/** Value of a constant expression. Throws VmxonError("firmware") when it cannot be read. */
export function evaluate(text: string, lookup: SymbolLookup): Value {
  return new ExpressionReader(tokenize(text), lookup).read();
}

interface AddressRegister {
  readonly register: RegisterOperand;
  readonly scale: 1 | 2 | 4 | 8;
}

/** Split an address into signed top-level terms: "bx+si-4" → +bx +si -4. */
function terms(text: string): string[] {
  const out: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === "(") depth++;
    else if (c === ")") depth--;
    else if ((c === "+" || c === "-") && depth === 0 && text.slice(start, i).trim() !== "") {
      out.push(text.slice(start, i));
      start = i;
    }
  }
  out.push(text.slice(start));
  return out.map((term) => term.trim());
}

function addressRegister(term: string): AddressRegister | undefined {
  const match = /^\+?\s*(?:([a-z]+)(?:\s*\*\s*([1248]))?|([1248])\s*\*\s*([a-z]+))$/i.exec(term);
  if (match === null) return undefined;
  const register = REGISTERS.get((match[1] ?? match[4]!).toLowerCase());
  if (register === undefined || register.class !== "general" || register.size === 8) return undefined;
  return { register, scale: Number(match[2] ?? match[3] ?? 1) as 1 | 2 | 4 | 8 };
}

function parseMemory(inside: string, size: OperandSize | undefined, far: boolean, lookup: SymbolLookup): MemoryOperand {
  const override = /^\s*(es|cs|ss|ds|fs|gs)\s*:(.*)$/is.exec(inside);
  const segment = override === null ? undefined : segmentNumber(override[1]!);
  const registers: AddressRegister[] = [];
  const rest: string[] = [];
  for (const term of terms(override === null ? inside : override[2]!)) {
    const found = addressRegister(term);
    if (found === undefined) rest.push(term);
    else registers.push(found);
  }
  const sum = rest.join(" ").trim();
  const displacement = sum === "" ? { value: 0, symbolic: false } : evaluate(sum, lookup);
  if (registers.length > 2) fail(`too many registers in [${inside}]`);
  // The scaled register, or ESP's partner, is the index: ESP itself cannot be one.
  registers.sort((a, b) => Number(a.scale > 1) - Number(b.scale > 1));
  if (registers.length === 2 && registers[1]!.register.number === 4 && registers[1]!.scale === 1) registers.reverse();
  const [first, second] = registers;
  const plainBase = first !== undefined && first.scale === 1;
  const addressSize = first?.register.size;
  if (second !== undefined && second.register.size !== addressSize) fail(`mixed register sizes in [${inside}]`);
  return {
    kind: "memory",
    size,
    far,
    segment,
    addressSize: addressSize === 8 ? undefined : addressSize,
    base: plainBase ? first.register.number : undefined,
    index: plainBase ? second?.register.number : first?.register.number,
    scale: plainBase ? (second?.scale ?? 1) : (first?.scale ?? 1),
    displacement,
  };
}

const SIZES: Readonly<Record<string, OperandSize>> = { byte: 8, word: 16, dword: 32 };

/** Read one operand. Throws VmxonError("firmware") when it makes no sense. */
export function parseOperand(text: string, lookup: SymbolLookup): Operand {
  let rest = text.trim();
  let size: OperandSize | undefined;
  let far = false;
  let distance: "short" | "near" | undefined;
  for (;;) {
    const match = /^(byte|word|dword|far|near|short)\b\s*/i.exec(rest);
    if (match === null) break;
    const word = match[1]!.toLowerCase();
    rest = rest.slice(match[0].length);
    if (word === "far") far = true;
    else if (word === "near" || word === "short") distance = word;
    else size = SIZES[word];
  }
  const register = REGISTERS.get(rest.toLowerCase());
  if (register !== undefined) return register;
  if (rest.startsWith("[")) {
    if (!rest.endsWith("]")) fail(`"]" is missing in "${text}"`);
    return parseMemory(rest.slice(1, -1), size, far, lookup);
  }
  const colon = rest.search(/:(?=(?:[^'"]|'[^']*'|"[^"]*")*$)/);
  if (colon > 0) {
    const segment = evaluate(rest.slice(0, colon), lookup);
    return { kind: "pointer", size, segment, offset: evaluate(rest.slice(colon + 1), lookup) };
  }
  return { kind: "immediate", size, distance, value: evaluate(rest, lookup) };
}
