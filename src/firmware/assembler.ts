/**
 * A small assembler for 16- and 32-bit x86 code: firmware, tests, real-mode helpers. Text in (a subset of NASM's
 * syntax), bytes and labels out. Runs as many passes as branches need to settle.
 *
 * Lines: `label:`, `name equ expression`, `instruction operands`, `; comment`. Directives: `bits 16|32`, `org address`
 * (fills up to it), `align n`, `times n instruction-or-data`, `db`, `dw`, `dd` with numbers, labels and strings.
 * Prefixes before an instruction: rep, repe, repne, lock, o16, o32, a16, a32, es … gs.
 */
import { VmxonError } from "../common/errors.ts";
import { encode } from "./assembler-encoder.ts";
import { evaluate, fail, parseOperand, segmentNumber, splitOperands, type Value } from "./assembler-operands.ts";

export interface AssembleOptions {
  /** Address of the first byte; default 0. */
  readonly origin?: number;
  /** Code size at the start; default 16. */
  readonly bits?: 16 | 32;
  /** Names that the text may use as constants. */
  readonly symbols?: Readonly<Record<string, number>>;
  /** Byte that `org` and `align` fill with; default 0. */
  readonly fill?: number;
}

export interface Assembly {
  readonly code: Uint8Array;
  readonly origin: number;
  /** Address of every label. */
  readonly labels: ReadonlyMap<string, number>;
}

const MAX_PASSES = 40;
const MAX_CODE_BYTES = 1 << 20;
const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const SIMPLE_PREFIXES: Readonly<Record<string, number>> = {
  rep: 0xf3,
  repe: 0xf3,
  repz: 0xf3,
  repne: 0xf2,
  repnz: 0xf2,
  lock: 0xf0,
};
const OPERAND_SIZE_PREFIX = 0x66;
const ADDRESS_SIZE_PREFIX = 0x67;
const DATA_SIZES: Readonly<Record<string, number>> = { db: 1, dw: 2, dd: 4 };

interface Line {
  readonly number: number;
  readonly label: string | undefined;
  readonly text: string;
}

function stripComment(line: string): string {
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!;
    if (quote !== "") {
      if (c === quote) quote = "";
    } else if (c === "'" || c === '"') quote = c;
    else if (c === ";") return line.slice(0, i);
  }
  return line;
}

function readLines(source: string): Line[] {
  const lines: Line[] = [];
  source.split("\n").forEach((raw, index) => {
    let text = stripComment(raw).trim();
    for (;;) {
      const match = /^([.$_a-z][\w.$]*):(?!:)\s*/i.exec(text);
      // "es: lodsb" is a prefix, not a label.
      if (match === null || segmentNumber(match[1]!) !== undefined) break;
      lines.push({ number: index + 1, label: match[1]!, text: "" });
      text = text.slice(match[0].length);
    }
    if (text !== "") lines.push({ number: index + 1, label: undefined, text });
  });
  return lines;
}

/** One run over the text with the labels of the run before. */
class Pass {
  readonly bytes: number[] = [];
  readonly labels = new Map<string, number>();
  grown = false;
  private bits: 16 | 32;
  private readonly constants = new Map<string, Value>();
  private readonly previous: ReadonlyMap<string, number> | undefined;
  private readonly options: AssembleOptions;
  private readonly long: Set<number>;

  /** `long` holds the indices of lines whose branches no longer fit the short form; this pass adds to it. */
  constructor(options: AssembleOptions, previous: ReadonlyMap<string, number> | undefined, long: Set<number>) {
    this.options = options;
    this.previous = previous;
    this.long = long;
    this.bits = options.bits ?? 16;
  }

  get address(): number {
    return (this.options.origin ?? 0) + this.bytes.length;
  }

  run(lines: readonly Line[]): void {
    lines.forEach((line, index) => {
      try {
        if (line.label === undefined) this.statement(line.text, index);
        else this.define(line.label);
        if (this.bytes.length > MAX_CODE_BYTES) fail("the code is longer than 1 MiB");
      } catch (error) {
        if (error instanceof VmxonError) {
          throw new VmxonError("firmware", `assembly line ${line.number}: ${error.message} in "${line.text}"`);
        }
        throw error;
      }
    });
  }

  private define(label: string): void {
    if (this.labels.has(label) || this.constants.has(label)) fail(`"${label}" is defined twice`);
    this.labels.set(label, this.address);
  }

  private readonly lookup = (name: string): Value | undefined => {
    if (name === "$") return { value: this.address, symbolic: true };
    if (name === "$$") return { value: this.options.origin ?? 0, symbolic: false };
    const constant = this.constants.get(name);
    if (constant !== undefined) return constant;
    const symbol = this.options.symbols?.[name];
    if (symbol !== undefined) return { value: symbol, symbolic: false };
    const label = this.previous === undefined ? this.labels.get(name) : this.previous.get(name);
    if (label !== undefined) return { value: label, symbolic: true };
    // In the first pass every unknown name may be a label further down; it is taken to be near.
    return this.previous === undefined ? { value: this.address, symbolic: true } : undefined;
  };

  private statement(text: string, index: number): void {
    const equ = /^([.$_a-z][\w.$]*)\s+equ\s+(.*)$/i.exec(text);
    if (equ !== null) {
      if (this.constants.has(equ[1]!) || this.labels.has(equ[1]!)) fail(`"${equ[1]}" is defined twice`);
      this.constants.set(equ[1]!, evaluate(equ[2]!, this.lookup));
      return;
    }
    const match = /^(\S+)\s*(.*)$/s.exec(text);
    if (match === null) return;
    const word = match[1]!.toLowerCase().replace(/:$/, "");
    const rest = match[2]!;
    if (this.directive(word, rest, index)) return;
    const segment = segmentNumber(word);
    if (rest !== "" && this.prefix(word, segment)) {
      this.statement(rest, index);
      return;
    }
    this.instruction(word, rest, index);
  }

  private prefix(word: string, segment: number | undefined): boolean {
    const simple = SIMPLE_PREFIXES[word];
    if (segment !== undefined) this.bytes.push(SEGMENT_PREFIXES[segment]!);
    else if (simple !== undefined) this.bytes.push(simple);
    else if (word === "o16" || word === "o32") {
      if (Number(word.slice(1)) !== this.bits) this.bytes.push(OPERAND_SIZE_PREFIX);
    } else if (word === "a16" || word === "a32") {
      if (Number(word.slice(1)) !== this.bits) this.bytes.push(ADDRESS_SIZE_PREFIX);
    } else return false;
    return true;
  }

  private directive(word: string, rest: string, index: number): boolean {
    const size = DATA_SIZES[word];
    if (size !== undefined) {
      for (const item of splitOperands(rest)) this.data(item, size);
      return true;
    }
    switch (word) {
      case "bits":
        if (rest !== "16" && rest !== "32") fail("bits takes 16 or 32");
        this.bits = rest === "32" ? 32 : 16;
        return true;
      case "org":
        this.fillTo(evaluate(rest, this.lookup).value);
        return true;
      case "align": {
        const step = evaluate(rest, this.lookup).value;
        if (step < 1) fail("align takes a positive number");
        this.fillTo(Math.ceil(this.address / step) * step);
        return true;
      }
      case "times": {
        const match = /^(\S+|\([^)]*\))\s+(.*)$/s.exec(rest);
        if (match === null) return fail("times takes a count and a statement");
        const count = evaluate(match[1]!, this.lookup).value;
        if (count < 0 || count > MAX_CODE_BYTES) fail(`times cannot repeat ${count} times`);
        for (let i = 0; i < count; i++) this.statement(match[2]!, index);
        return true;
      }
      default:
        return false;
    }
  }

  private fillTo(address: number): void {
    if (address < this.address) fail(`address 0x${address.toString(16)} is already taken`);
    if (address - (this.options.origin ?? 0) > MAX_CODE_BYTES) fail("the code is longer than 1 MiB");
    while (this.address < address) this.bytes.push(this.options.fill ?? 0);
  }

  private data(item: string, size: number): void {
    if (/^(['"]).*\1$/s.test(item) && (item.length !== 3 || size === 1)) {
      const text = item.slice(1, -1);
      for (const c of text) this.bytes.push(c.charCodeAt(0) & 0xff);
      while (text.length % size !== 0 && this.bytes.length % size !== 0) this.bytes.push(0);
      return;
    }
    const { value } = evaluate(item, this.lookup);
    for (let i = 0; i < size; i++) this.bytes.push((value >> (8 * i)) & 0xff);
  }

  private instruction(mnemonic: string, rest: string, index: number): void {
    const operands = splitOperands(rest).map((text) => parseOperand(text, this.lookup));
    const shortAllowed = !this.long.has(index);
    const { bytes, tooFar } = encode(mnemonic, operands, { bits: this.bits, address: this.address, shortAllowed });
    if (tooFar) {
      if (!shortAllowed || /^(loop|jcxz|jecxz)/.test(mnemonic) || /^short\b/i.test(rest)) {
        if (this.previous !== undefined) fail("the target is too far away for a short branch");
      } else {
        this.long.add(index);
        this.grown = true;
      }
    }
    for (const byte of bytes) this.bytes.push(byte);
  }
}

function sameLabels(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number> | undefined): boolean {
  if (b === undefined || a.size !== b.size) return false;
  for (const [name, address] of a) if (b.get(name) !== address) return false;
  return true;
}

/** Assemble a program. Throws VmxonError("firmware") with the line when the text is wrong. */
export function assemble(source: string, options: AssembleOptions = {}): Assembly {
  const lines = readLines(source);
  const long = new Set<number>();
  let previous: ReadonlyMap<string, number> | undefined;
  for (let i = 0; i < MAX_PASSES; i++) {
    const pass = new Pass(options, previous, long);
    pass.run(lines);
    if (!pass.grown && sameLabels(pass.labels, previous)) {
      return { code: Uint8Array.from(pass.bytes), origin: options.origin ?? 0, labels: pass.labels };
    }
    previous = pass.labels;
  }
  throw new VmxonError("firmware", "assembly does not settle: an org or times depends on its own size");
}
