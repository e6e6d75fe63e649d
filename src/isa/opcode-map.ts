/**
 * The opcode maps of one CPU model, made ready for the decoder: which encoding an opcode, its prefixes and its ModRM byte
 * select, in one load from a flat table, and what the decoder must know of an encoding, in one word.
 */
import type { Form, OperandCode } from "./row.ts";
import { FORMS, OPCODE_MAP } from "./table.ts";

/** Whether the CPU model has `feature`; encodings of others are undefined. */
export type FeatureTest = (feature: string) => boolean;

/** Bits of a word of {@link OpcodeMap.entries}, below the position of the opcode's choices. */
export const ENTRY = {
  /** A ModRM byte follows. */
  modrm: 1,
  /** The ModRM byte chooses, as {@link modrmChoice} says. */
  byModrm: 2,
  /** The mandatory prefix chooses: one of PREFIX_CHOICE. */
  byPrefix: 4,
  shift: 3,
} as const;

/** Choices by mandatory prefix; F2 and F3 count before 66. */
export const PREFIX_CHOICE = { none: 0, operand: 1, repeat: 2, repeatNot: 3 } as const;
const PREFIX_BYTES = [0, 0x66, 0xf3, 0xf2] as const;

/** Choices by ModRM byte: its low six bits, and whether its operand is a register. */
export const MODRM_CHOICES = 128;
const MODRM_REGISTER = 64;

/** Number of the choice that a ModRM byte makes. */
export function modrmChoice(modrm: number): number {
  return modrm >= 0xc0 ? MODRM_REGISTER | (modrm & 63) : modrm & 63;
}

/** How the decoder takes an operand from the bytes behind ModRM. */
export const IMMEDIATE = {
  none: 0,
  /** One byte, unsigned. */
  byte: 1,
  /** One byte, sign-extended to the operand size. */
  signedByte: 2,
  /** One byte, sign-extended to 32 bits. */
  relativeByte: 3,
  word: 4,
  /** By operand size. */
  sized: 5,
  /** By operand size, sign-extended to 32 bits. */
  relativeSized: 6,
  /** An offset by operand size, and a selector. */
  farPointer: 7,
  /** By address size; it is the displacement of a memory operand. */
  offset: 8,
} as const;

const IMMEDIATE_OF: Readonly<Partial<Record<OperandCode, number>>> = {
  Ib: IMMEDIATE.byte,
  Ibu: IMMEDIATE.byte,
  Ibs: IMMEDIATE.signedByte,
  Jb: IMMEDIATE.relativeByte,
  Iw: IMMEDIATE.word,
  Iz: IMMEDIATE.sized,
  Jz: IMMEDIATE.relativeSized,
  Ap: IMMEDIATE.farPointer,
  Ob: IMMEDIATE.offset,
  Ov: IMMEDIATE.offset,
};

/** Bits of a word of {@link LAYOUTS}; from `shift` on, each four bits are an IMMEDIATE in order, up to IMMEDIATE.none. */
export const LAYOUT = {
  /** ModRM.mod is ignored: the operand is a register. */
  register: 1,
  /** LOCK is allowed when the operand is memory. */
  lockable: 2,
  shift: 4,
  immediateBits: 4,
  immediateMask: 15,
} as const;

function layoutOf(form: Form): number {
  let layout = 0;
  if (form.mod === "reg" || form.operands.includes("Rd")) layout |= LAYOUT.register;
  if (form.row.traits.lock && /^[EM]/.test(form.operands[0] ?? "")) layout |= LAYOUT.lockable;
  let shift: number = LAYOUT.shift;
  for (const operand of form.operands) {
    const immediate = IMMEDIATE_OF[operand];
    if (immediate === undefined) continue;
    layout |= immediate << shift;
    shift += LAYOUT.immediateBits;
  }
  return layout;
}

/** What the decoder must know of an encoding, by `Form.id`: see {@link LAYOUT}. */
export const LAYOUTS: Int32Array = Int32Array.from(FORMS, layoutOf);

/** The encodings that a CPU model has. */
export interface OpcodeMap {
  /** By index in OPCODE_MAP: position of the opcode's choices in `forms`, and ENTRY bits. */
  readonly entries: Int32Array;
  /** `Form.id` by choice, or -1 where there is none. */
  readonly forms: Int16Array;
}

const resolved = new WeakMap<FeatureTest, OpcodeMap>();

/** The opcode maps of the CPU model that has those features; resolved once for each model. */
export function opcodeMap(has: FeatureTest): OpcodeMap {
  let map = resolved.get(has);
  if (!map) {
    map = resolve(has);
    resolved.set(has, map);
  }
  return map;
}

function resolve(has: FeatureTest): OpcodeMap {
  const entries = new Int32Array(OPCODE_MAP.length);
  const forms: number[] = [];
  for (const [opcode, candidates] of OPCODE_MAP.entries()) {
    const modrm = candidates.some((form) => form.modrm);
    if (modrm && !candidates.every((form) => form.modrm))
      throw new RangeError(`opcode ${opcode.toString(16)} has ModRM in some encodings only`);
    const byModrm = candidates.some((form) => form.reg >= 0 || form.rm >= 0 || form.mod !== "any");
    const byPrefix = candidates.some((form) => form.row.traits.prefix !== undefined);
    entries[opcode] =
      (forms.length << ENTRY.shift) |
      (modrm ? ENTRY.modrm : 0) |
      (byModrm ? ENTRY.byModrm : 0) |
      (byPrefix ? ENTRY.byPrefix : 0);
    const present = candidates.filter(({ row }) => row.traits.feature === undefined || has(row.traits.feature));
    for (let prefix = 0; prefix < (byPrefix ? PREFIX_BYTES.length : 1); prefix++) {
      for (let choice = 0; choice < (byModrm ? MODRM_CHOICES : 1); choice++) {
        const form = present.find((f) => takesPrefix(f, prefix) && (!byModrm || takesModrm(f, choice)));
        forms.push(form ? form.id : -1);
      }
    }
  }
  return { entries, forms: Int16Array.from(forms) };
}

function takesPrefix(form: Form, choice: number): boolean {
  const { prefix } = form.row.traits;
  return prefix === undefined || prefix === PREFIX_BYTES[choice];
}

function takesModrm(form: Form, choice: number): boolean {
  if (form.reg >= 0 && form.reg !== ((choice >> 3) & 7)) return false;
  if (form.rm >= 0 && form.rm !== (choice & 7)) return false;
  return form.mod === "any" || (form.mod === "reg") === choice >= MODRM_REGISTER;
}
