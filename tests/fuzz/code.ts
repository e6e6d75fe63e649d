/** Random guest code: raw bytes, and instructions made from the forms of the table. */
import type { Form } from "../../src/isa/row.ts";
import { FORMS } from "../../src/isa/table.ts";
import type { Random } from "../oracle/random.ts";

const PREFIXES = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65] as const;

/** Numbers near which things go wrong. */
const EDGES = [
  0, 1, 2, 3, 4, 0x7f, 0x80, 0xff, 0x100, 0xffe, 0xfff, 0x1000, 0x7fff, 0x8000, 0xfffd, 0xffff, 0x10000, 0xa0000,
  0xb8000, 0xc0000, 0xfffff, 0x100000, 0x1fffff, 0x7fffffff, 0x80000000, 0xfffff000, 0xfffffffd, 0xffffffff,
] as const;

/** A 32-bit number: an edge, an address in the first megabytes, or anything. */
export function number(random: Random): number {
  switch (random.below(4)) {
    case 0:
      return random.pick(EDGES);
    case 1:
      return random.below(0x220000);
    case 2:
      return random.below(0x10000);
    default:
      return random.u32();
  }
}

/** Ports with something behind them. */
const PORTS = [
  0x00, 0x20, 0x40, 0x60, 0x64, 0x70, 0x80, 0x92, 0xa0, 0xb0, 0xc0, 0xe9, 0x1f0, 0x170, 0x376, 0x3b0, 0x3c0, 0x3d0,
  0x3f0, 0x3f6, 0x3f8, 0x2f8, 0x4d0, 0xcf8, 0xffff,
] as const;

/** A port: mostly in the range of a device. */
export function port(random: Random): number {
  return random.oneIn(8) ? random.below(0x10000) : (random.pick(PORTS) + random.below(8)) & 0xffff;
}

function immediateBytes(form: Form, operandSize: number, addressSize: number): number {
  let bytes = 0;
  for (const operand of form.operands) {
    if (/^(Ib|Ibu|Ibs|Jb)$/.test(operand)) bytes += 1;
    else if (operand === "Iw") bytes += 2;
    else if (operand === "Iz" || operand === "Jz") bytes += operandSize >> 3;
    else if (operand === "Ap") bytes += (operandSize >> 3) + 2;
    else if (/^O/.test(operand)) bytes += addressSize >> 3;
  }
  return bytes;
}

function pushNumber(out: number[], value: number, bytes: number): void {
  for (let i = 0; i < bytes; i++) out.push((value >>> (8 * i)) & 0xff);
}

/** Append an instruction of a random form for a code segment of `bits`. */
export function instruction(random: Random, bits: number, out: number[]): void {
  const form = random.pick(FORMS);
  let operandSize = bits;
  let addressSize = bits;
  if (random.oneIn(3)) {
    for (let n = random.below(3); n >= 0; n--) {
      const prefix = random.pick(PREFIXES);
      if (prefix === 0x66) operandSize = 48 - bits;
      if (prefix === 0x67) addressSize = 48 - bits;
      out.push(prefix);
    }
  }
  if (form.row.traits.prefix !== undefined) out.push(form.row.traits.prefix);
  if (form.opcode > 0xff) out.push(form.opcode >> 8);
  out.push(form.opcode & 0xff);
  if (form.modrm) {
    const mod = form.mod === "reg" ? 3 : form.mod === "mem" ? random.below(3) : random.below(4);
    const reg = form.reg >= 0 ? form.reg : random.below(8);
    const rm = form.rm >= 0 ? form.rm : random.below(8);
    out.push((mod << 6) | (reg << 3) | rm);
    let displacement = mod === 1 ? 1 : mod === 2 ? addressSize >> 3 : 0;
    if (mod < 3 && addressSize === 32 && rm === 4) {
      const sib = random.below(256);
      out.push(sib);
      if (mod === 0 && (sib & 7) === 5) displacement = 4;
    } else if (mod === 0 && rm === (addressSize === 32 ? 5 : 6)) {
      displacement = addressSize >> 3;
    }
    pushNumber(out, number(random), displacement);
  }
  pushNumber(out, number(random), immediateBytes(form, operandSize, addressSize));
}

/** MOV DX, port and an IN, OUT, INS or OUTS of any size. */
function portAccess(random: Random, bits: number, out: number[]): void {
  const p = port(random);
  if (bits === 32) out.push(0x66);
  out.push(0xba, p & 0xff, p >> 8);
  if (random.oneIn(2)) out.push(0xb0, random.below(256));
  if (random.oneIn(6)) out.push(0xf3);
  if (random.oneIn(4)) out.push(0x66);
  out.push(random.pick([0xec, 0xed, 0xee, 0xef, 0x6c, 0x6d, 0x6e, 0x6f, 0xee, 0xee]));
}

/** MOV EAX, number; MOV CR or DR, EAX. */
function systemRegister(random: Random, bits: number, out: number[]): void {
  if (bits === 16) out.push(0x66);
  out.push(0xb8);
  const small = random.oneIn(2) ? random.below(0x200) : number(random) | (random.oneIn(2) ? 0x8000_0001 : 0);
  pushNumber(out, small, 4);
  out.push(0x0f, random.pick([0x22, 0x22, 0x23]), 0xc0 | (random.pick([0, 3, 4, 6, 7]) << 3));
}

/** INT n with AX set, as programs call a BIOS. */
function biosCall(random: Random, bits: number, out: number[]): void {
  if (bits === 32) out.push(0x66);
  out.push(0xb8, random.below(256), random.pick([random.below(32), random.below(256)]));
  if (random.oneIn(2)) {
    if (bits === 32) out.push(0x66);
    out.push(random.pick([0xb9, 0xba, 0xbb]), random.below(256), random.below(256));
  }
  out.push(0xcd, random.pick([0x10, 0x11, 0x13, 0x13, 0x14, 0x15, 0x16, 0x17, 0x1a, random.below(256)]));
}

/** `length` bytes of code: a mixture, or noise alone. */
export function code(random: Random, bits: number, length: number): Uint8Array {
  const out: number[] = [];
  const noise = random.oneIn(6);
  while (out.length < length) {
    const kind = random.below(noise ? 1 : 24);
    if (kind === 0) for (let n = random.below(16); n >= 0; n--) out.push(random.below(256));
    else if (kind < 4) portAccess(random, bits, out);
    else if (kind === 4) systemRegister(random, bits, out);
    else if (kind === 5) biosCall(random, bits, out);
    else if (kind === 6) out.push(0xeb, random.below(32));
    else instruction(random, random.oneIn(40) ? 48 - bits : bits, out);
  }
  return Uint8Array.from(out.slice(0, length));
}
