/**
 * Writes ACPI machine language: each function gives the bytes of one term, and terms nest as they do in ASL. ACPI
 * specification 4.0, chapter 19; opcode names are the specification's.
 */

/** Bytes of a term. */
export type Term = readonly number[];

const OP = {
  ZERO: 0x00,
  ONE: 0x01,
  NAME: 0x08,
  BYTE: 0x0a,
  WORD: 0x0b,
  DWORD: 0x0c,
  STRING: 0x0d,
  SCOPE: 0x10,
  BUFFER: 0x11,
  PACKAGE: 0x12,
  METHOD: 0x14,
  DUAL_NAME: 0x2e,
  MULTI_NAME: 0x2f,
  EXTENDED: 0x5b,
  LOCAL0: 0x60,
  ARG0: 0x68,
  STORE: 0x70,
  SUBTRACT: 0x74,
  SHIFT_LEFT: 0x79,
  AND: 0x7b,
  OR: 0x7d,
  FIND_SET_RIGHT: 0x82,
  CREATE_DWORD: 0x8a,
  IF: 0xa0,
  ELSE: 0xa1,
  RETURN: 0xa4,
  LNOT: 0x92,
  LEQUAL: 0x93,
} as const;
/** Second bytes, behind EXTENDED. */
const EXTENDED_OP = { OPERATION_REGION: 0x80, FIELD: 0x81, DEVICE: 0x82, PROCESSOR: 0x83 } as const;
const ROOT = 0x5c;
const NO_TARGET = 0x00;
const MAX_SHORT_LENGTH = 0x3f;
const SERIALIZED = 1 << 3;

/** Operation regions (19.5.96). */
export const REGION = { SYSTEM_IO: 0x01, PCI_CONFIG: 0x02 } as const;
/** Field access and update rules: bytes, what is not written is kept. */
const BYTE_ACCESS_PRESERVE = 0x01;

const bytesOf = (value: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);

/** PkgLength and what it counts. */
function counted(body: Term): number[] {
  const length = body.length + 1;
  if (length <= MAX_SHORT_LENGTH) return [length, ...body];
  const more = length + 1 <= 0xfff ? 1 : length + 2 <= 0xfffff ? 2 : 3;
  const total = length + more;
  return [(more << 6) | (total & 0x0f), ...bytesOf(total >>> 4, more), ...body];
}

/** One segment of a name: four characters, filled up with underscores. */
function segment(name: string): number[] {
  return [...name.padEnd(4, "_")].map((c) => c.charCodeAt(0));
}

/** A name or a path such as `\_SB.PCI0`. */
export function path(name: string): Term {
  const root = name.startsWith("\\");
  const segments = (root ? name.slice(1) : name).split(".").filter((part) => part !== "");
  const prefix = segments.length === 2 ? [OP.DUAL_NAME] : segments.length > 2 ? [OP.MULTI_NAME, segments.length] : [];
  const body = segments.length === 0 ? [NO_TARGET] : [...prefix, ...segments.flatMap(segment)];
  return root ? [ROOT, ...body] : body;
}

/** An integer in its shortest form. */
export function integer(value: number): Term {
  if (value === 0) return [OP.ZERO];
  if (value === 1) return [OP.ONE];
  if (value <= 0xff) return [OP.BYTE, value];
  return value <= 0xffff ? [OP.WORD, ...bytesOf(value, 2)] : [OP.DWORD, ...bytesOf(value, 4)];
}

export function text(value: string): Term {
  return [OP.STRING, ...[...value].map((c) => c.charCodeAt(0)), 0];
}

export function buffer(bytes: Term): Term {
  return [OP.BUFFER, ...counted([...integer(bytes.length), ...bytes])];
}

export function pack(...elements: readonly Term[]): Term {
  return [OP.PACKAGE, ...counted([elements.length, ...elements.flat()])];
}

export function name(of: string, value: Term): Term {
  return [OP.NAME, ...path(of), ...value];
}

export function scope(of: string, ...terms: readonly Term[]): Term {
  return [OP.SCOPE, ...counted([...path(of), ...terms.flat()])];
}

export function device(of: string, ...terms: readonly Term[]): Term {
  return [OP.EXTENDED, EXTENDED_OP.DEVICE, ...counted([...path(of), ...terms.flat()])];
}

/** A processor and its register block of `length` bytes at an I/O address. */
export function processor(of: string, id: number, block: number, length: number): Term {
  return [OP.EXTENDED, EXTENDED_OP.PROCESSOR, ...counted([...path(of), id, ...bytesOf(block, 4), length])];
}

/** A method of `args` arguments; one that creates names is serialized. */
export function method(of: string, args: number, serialized: boolean, ...terms: readonly Term[]): Term {
  return [OP.METHOD, ...counted([...path(of), args | (serialized ? SERIALIZED : 0), ...terms.flat()])];
}

export function operationRegion(of: string, space: number, offset: number, length: number): Term {
  return [OP.EXTENDED, EXTENDED_OP.OPERATION_REGION, ...path(of), space, ...integer(offset), ...integer(length)];
}

/** Fields of a region by name and bits, accessed as bytes. */
export function field(region: string, ...fields: readonly (readonly [of: string, bits: number])[]): Term {
  // A field's length is a PkgLength of its own kind: it counts bits.
  const list = fields.flatMap(([of, bits]) => [...segment(of), bits]);
  return [OP.EXTENDED, EXTENDED_OP.FIELD, ...counted([...path(region), BYTE_ACCESS_PRESERVE, ...list])];
}

/** Local0–Local7 and Arg0–Arg6. */
export const local = (number: number): Term => [OP.LOCAL0 + number];
export const argument = (number: number): Term => [OP.ARG0 + number];

export function store(value: Term, target: Term): Term {
  return [OP.STORE, ...value, ...target];
}
export function give(value: Term): Term {
  return [OP.RETURN, ...value];
}
export function and(a: Term, b: Term, target: Term = [NO_TARGET]): Term {
  return [OP.AND, ...a, ...b, ...target];
}
export function or(a: Term, b: Term, target: Term = [NO_TARGET]): Term {
  return [OP.OR, ...a, ...b, ...target];
}
export function subtract(a: Term, b: Term, target: Term = [NO_TARGET]): Term {
  return [OP.SUBTRACT, ...a, ...b, ...target];
}
export function shiftLeft(a: Term, count: Term, target: Term = [NO_TARGET]): Term {
  return [OP.SHIFT_LEFT, ...a, ...count, ...target];
}
/** Number of the lowest bit that is set, counted from 1. */
export function findSetRight(a: Term, target: Term = [NO_TARGET]): Term {
  return [OP.FIND_SET_RIGHT, ...a, ...target];
}
export function equal(a: Term, b: Term): Term {
  return [OP.LEQUAL, ...a, ...b];
}
export function when(condition: Term, ...terms: readonly Term[]): Term {
  return [OP.IF, ...counted([...condition, ...terms.flat()])];
}
export function otherwise(...terms: readonly Term[]): Term {
  return [OP.ELSE, ...counted(terms.flat())];
}
/** A name for the double word at a byte of a buffer. */
export function createDwordField(of: Term, index: number, field: string): Term {
  return [OP.CREATE_DWORD, ...of, ...integer(index), ...path(field)];
}

/** A compressed EISA identifier such as PNP0A03 (6.1.5). */
export function eisaId(id: string): Term {
  const letter = (i: number): number => id.charCodeAt(i) - 0x40;
  const digits = Number.parseInt(id.slice(3), 16);
  const maker = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const swapped = (word: number): number => ((word & 0xff) << 8) | (word >> 8);
  return integer(swapped(digits) * 0x10000 + swapped(maker));
}
