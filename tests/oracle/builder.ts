/** Builds one test case: a start state full of boundary values, and instructions whose operands lie where they should. */
import { FLAG, type OpenResults, type TestCase } from "./case.ts";
import { CODE, LOCAL, LOCAL_DESCRIPTORS, RUNNER, SCRATCH, USER_CS, USER_DS, WINDOW } from "./layout.ts";
import type { Random } from "./random.ts";
import { initialState } from "./x87.ts";

const ESP = 4;
const EBP = 5;
/** Segment registers in encoding order. */
export const SEGMENT = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 } as const;
/** Override prefixes in encoding order. */
const OVERRIDES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65] as const;

/** Selectors worth loading: flat, local, null with each RPL, beyond the table, wrong kinds. */
export const SELECTORS = [
  USER_DS,
  USER_DS,
  USER_CS,
  ...Object.values(LOCAL),
  LOCAL.DATA,
  0,
  1,
  3,
  0x28,
  0x47,
  0xffff,
  LOCAL.DATA16 & ~3,
] as const;
/** Selectors for far transfers. */
export const CODE_SELECTORS = [
  USER_CS,
  USER_CS,
  USER_CS,
  LOCAL.CODE16,
  LOCAL.CODE16,
  LOCAL.EXECUTE_ONLY,
  USER_DS,
  0,
  0x47,
  LOCAL.NOT_PRESENT,
  LOCAL.CODE16 & ~3,
] as const;

const BOUNDARIES = [
  0, 1, 2, 7, 8, 0x0f, 0x10, 0x1f, 0x20, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x101, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff,
  0x10000, 0x7f7f7f7f, 0x80808080, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xaaaaaaaa, 0x55555555, 0xffff0000,
  0xffff7fff, 0xffff8000, 0xffffff7f, 0xffffff80, 0xfffffffe, 0xffffffff,
] as const;

/** Half boundary values, the rest any number or a small one. */
export function operandValue(random: Random): number {
  const kind = random.below(8);
  if (kind < 4) return random.pick(BOUNDARIES);
  if (kind < 7) return random.u32();
  return random.below(100);
}

/** Operand and address sizes of a case. */
export interface Mode {
  readonly code16: boolean;
  readonly operandPrefix: boolean;
  readonly addressPrefix: boolean;
}

/** The address that a memory operand will have, as far as its encoding is concerned. */
export interface Placed {
  /** ModRM (its reg field clear), SIB and displacement. */
  readonly bytes: readonly number[];
  /** Registers that make it up. */
  readonly registers: readonly number[];
  /** Segment used without an override. */
  readonly segment: number;
  readonly kind: string;
}

/** A case in the making. */
export class CaseBuilder {
  readonly random: Random;
  readonly mode: Mode;
  readonly code: number[] = [];
  readonly registers = new Uint32Array(8);
  readonly segments = Uint16Array.of(USER_DS, USER_CS, USER_DS, USER_DS, 0, 0);
  readonly window = new Uint8Array(WINDOW.size);
  eflags: number;
  fpu: Uint8Array = initialState();
  address: number = CODE.slot;
  open: { -readonly [K in keyof OpenResults]: OpenResults[K] };

  constructor(random: Random, mode: Mode) {
    this.random = random;
    this.mode = mode;
    this.open = { flags: 0, status: 0, ulps: 0, destination: false, fault: false, memory: undefined };
    for (let i = 0; i < 8; i++) this.registers[i] = operandValue(random);
    const view = new DataView(this.window.buffer);
    for (let i = 0; i < WINDOW.size; i += 4) view.setUint32(i, operandValue(random), true);
    if (mode.code16) this.segments[SEGMENT.CS] = LOCAL.CODE16;
    if (random.below(10) < (mode.code16 ? 7 : 1)) this.segments[SEGMENT.SS] = LOCAL.DATA16;
    this.segments[SEGMENT.FS] = LOCAL.DATA;
    this.segments[SEGMENT.GS] = random.pick([LOCAL.READ_ONLY, LOCAL.EXPAND_DOWN, LOCAL.DATA, LOCAL.EXPAND_DOWN16, 0]);
    const { CF, PF, AF, ZF, SF, OF, DF, TF, ID, IF } = FLAG;
    this.eflags = (random.u32() & (CF | PF | AF | ZF | SF | OF)) | IF | 2;
    if (random.oneIn(4)) this.eflags |= DF;
    if (random.oneIn(50)) this.eflags |= TF;
    if (random.oneIn(30)) this.eflags |= ID;
  }

  get operandBits(): 16 | 32 {
    return this.mode.code16 === this.mode.operandPrefix ? 32 : 16;
  }

  get addressBits(): 16 | 32 {
    return this.mode.code16 === this.mode.addressPrefix ? 32 : 16;
  }

  /** Bits of the stack pointer in use: those of the stack segment. */
  get stackBits(): 16 | 32 {
    return this.segments[SEGMENT.SS] === LOCAL.DATA16 ? 16 : 32;
  }

  /** A linear address in the middle of the window; rarely at an edge of the scratch pages or outside all pages. */
  target(): number {
    const kind = this.random.below(60);
    if (kind === 0) return SCRATCH.base + SCRATCH.size - 3 + this.random.below(6);
    if (kind === 1) return SCRATCH.base - 3 + this.random.below(6);
    return WINDOW.base + 0x60 + this.random.below(0x40);
  }

  /** Base of the segment a selector names. */
  base(selector: number): number {
    return (selector & 4) !== 0 ? (LOCAL_DESCRIPTORS[selector >> 3]?.base ?? 0) : 0;
  }

  /** Set a register's low half when addresses are 16 bits, all of it otherwise. */
  setAddress(register: number, value: number, bits: number): void {
    const old = this.registers[register] as number;
    this.registers[register] = bits === 16 ? (old & 0xffff0000) | (value & 0xffff) : value;
  }

  /** Point ESP (and, sometimes, EBP) into the window, or where `target` leads unless it must be inside. */
  prepareStack(inside: boolean): void {
    const at = inside ? WINDOW.base + 0x80 : this.target();
    this.setAddress(ESP, this.random.oneIn(4) ? at : at & ~3, this.stackBits);
    if (!this.random.oneIn(4)) this.setAddress(EBP, this.target() & ~1, this.stackBits);
  }

  /** Linear address of the top of the stack. */
  get stackTop(): number {
    const esp = this.registers[ESP] as number;
    return this.stackBits === 16 ? esp & 0xffff : esp;
  }

  /** Put bytes at a linear address, as far as it lies in the window. */
  poke(address: number, bytes: ArrayLike<number>): void {
    for (let i = 0; i < bytes.length; i++) {
      const at = address + i - WINDOW.base;
      if (at >= 0 && at < WINDOW.size) this.window[at] = bytes[i] as number;
    }
  }

  /** Put numbers of 2 or 4 bytes one after another. */
  pokeValues(address: number, bytes: number, ...values: number[]): void {
    for (const [i, value] of values.entries()) this.poke(address + i * bytes, littleEndian(value, bytes));
  }

  /** The override prefix of a segment. */
  override(segment: number): number {
    return OVERRIDES[segment] as number;
  }

  /**
   * Choose an addressing mode and set registers so that it leads to `linear` in the segment it uses (`override`, or the
   * default of its base register). With `stack`, ESP must stay usable as a stack pointer.
   */
  place(linear: number, override: number | undefined, stack: boolean): Placed {
    return this.addressBits === 16 ? this.#place16(linear, override) : this.#place32(linear, override, stack);
  }

  finish(form: string): TestCase {
    const inRunner = (this.registers[ESP] as number) - RUNNER.base;
    if (inRunner >= 0 && inRunner < RUNNER.size) this.registers[ESP] = WINDOW.base + 0x80;
    return {
      code: Uint8Array.from(this.code),
      address: this.address,
      registers: this.registers,
      eflags: this.eflags,
      segments: this.segments,
      fpu: this.fpu,
      window: this.window,
      form,
      open: this.open,
    };
  }

  #offset(linear: number, segment: number): number {
    return linear - this.base(this.segments[segment] as number);
  }

  #place16(linear: number, override: number | undefined): Placed {
    const [EBX, ESI, EDI] = [3, 6, 7];
    const mod = this.random.below(3);
    const rm = this.random.below(8);
    const direct = mod === 0 && rm === 6;
    const usesBp = rm === 2 || rm === 3 || (rm === 6 && !direct);
    const segment = usesBp ? SEGMENT.SS : SEGMENT.DS;
    const offset = this.#offset(linear, override ?? segment) & 0xffff;
    const displacement = mod === 1 ? this.random.below(256) : mod === 2 || direct ? this.random.below(0x10000) : 0;
    const signed = mod === 1 ? (displacement << 24) >> 24 : displacement;
    const index = [ESI, EDI, ESI, EDI][rm];
    const base = [EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX][rm] as number;
    if (direct) return { bytes: [6, ...littleEndian(offset, 2)], registers: [], segment, kind: "a16 disp16" };
    if (index !== undefined)
      this.setAddress(index, this.random.oneIn(4) ? this.random.u32() : this.random.below(64), 16);
    const rest = index === undefined ? 0 : (this.registers[index] as number);
    this.setAddress(base, offset - signed - rest, 16);
    const bytes = [(mod << 6) | rm, ...littleEndian(displacement, mod)];
    const registers = index === undefined ? [base] : [base, index];
    return { bytes, registers, segment, kind: `a16 mod${mod} rm${rm}` };
  }

  #place32(linear: number, override: number | undefined, stack: boolean): Placed {
    const mod = this.random.below(3);
    let base = this.random.below(8);
    const sib = base === ESP || this.random.oneIn(3);
    let index = sib ? this.random.below(8) : ESP;
    if (stack && (base === ESP || index === ESP) && sib) index = ESP;
    if (!sib && base === ESP) base = 0;
    const scale = this.random.below(4);
    const noBase = mod === 0 && base === EBP;
    const segment = !noBase && (base === ESP || base === EBP) ? SEGMENT.SS : SEGMENT.DS;
    const offset = this.#offset(linear, override ?? segment) >>> 0;
    const bytes = [(mod << 6) | (sib ? ESP : base)];
    if (sib) bytes.push((scale << 6) | (index << 3) | base);
    const hasIndex = sib && index !== ESP;
    const factor = hasIndex ? 2 ** scale : 0;
    let displacement = mod === 1 ? (this.random.u32() << 24) >> 24 : this.#displacement32(stack && base === ESP);
    if (noBase) {
      if (hasIndex) this.registers[index] = this.random.oneIn(4) ? this.random.u32() : this.random.below(32);
      displacement = offset - (hasIndex ? Math.imul(this.registers[index] as number, factor) : 0);
    } else if (hasIndex && index === base) {
      const sum = offset - (mod === 0 ? 0 : displacement);
      this.registers[base] = Math.floor((sum >>> 0) / (factor + 1));
      if (mod === 2) displacement = offset - Math.imul(this.registers[base] as number, factor + 1);
    } else {
      if (hasIndex) this.registers[index] = this.random.oneIn(4) ? this.random.u32() : this.random.below(32);
      const rest = hasIndex ? Math.imul(this.registers[index] as number, factor) : 0;
      this.registers[base] = offset - rest - (mod === 0 ? 0 : displacement);
    }
    if (mod === 1) bytes.push(displacement & 0xff);
    if (mod === 2 || noBase) bytes.push(...littleEndian(displacement, 4));
    const kind = noBase ? "disp32" : `mod${mod}`;
    const registers = [...(noBase ? [] : [base]), ...(hasIndex ? [index] : [])];
    return { bytes, registers, segment, kind: `a32 ${kind}${sib ? (hasIndex ? ` sib*${2 ** scale}` : " sib") : ""}` };
  }

  #displacement32(small: boolean): number {
    return small || this.random.oneIn(2) ? this.random.below(64) - 32 : this.random.u32();
  }
}

/** The low bytes of a number, lowest first. */
export function littleEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => (value >>> (8 * i)) & 0xff);
}
