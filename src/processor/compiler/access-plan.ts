/**
 * Which memory accesses of a block lie near each other: those whose addresses are the same registers, with the same
 * values, and constants. One look at the shadow table then serves all of a group. Registers' values are followed through
 * what compilers do with stack and frame pointers, and are unknown after everything else.
 */
import { formBits } from "../../isa/decoder.ts";
import { SEG, ZERO_SLOT } from "../../isa/state.ts";
import { MEMORY_BYTES } from "../../isa/x87/row.ts";
import type { Local } from "../../wasm/function.ts";
import { isCalled, type RegionInstruction } from "./blocks.ts";
import { operandPlans } from "./region-operands.ts";
import { shapeOf } from "./x87-plan.ts";

/** Accesses that one look at the shadow table serves: all or none of them are plain. */
export interface AccessGroup {
  /** Bytes from the first to behind the last. */
  readonly span: number;
  /** One of them writes. */
  readonly writes: boolean;
  /** For the host address of the first byte, or a negative number if not all bytes are plain memory in one page. */
  host: Local | undefined;
  /** The code that sets it has been written. */
  opened: boolean;
}

/** An access that belongs to a group. */
export interface PlacedAccess {
  readonly group: AccessGroup;
  /** Bytes from the start of the group. */
  readonly at: number;
  readonly bytes: number;
}

/** The accesses of an instruction: through its memory operand, and to the stack. */
export interface InstructionAccesses {
  memory?: PlacedAccess;
  stack?: PlacedAccess;
}

/** What a register holds: an unknown value, by number, and a constant. */
interface Known {
  readonly root: number;
  readonly delta: number;
}

interface Access {
  readonly instruction: RegionInstruction;
  readonly kind: keyof InstructionAccesses;
  readonly delta: number;
  readonly bytes: number;
  readonly writes: boolean;
}

const ESP = 4;
const EBP = 5;
const REGISTERS = 8;
/** Longest group in bytes: the longer, the more often it lies in two pages. */
const MAX_SPAN = 256;

/** Rows that write no register but their first operand, if that is one and they do not only read it. */
const SIMPLE =
  /^(MOV(|ZX|SX|BE)|AD[DC]|SUB|SBB|AND|OR|XOR|NOT|NEG|INC|DEC|CMP|TEST|S[HA][LR]D?|R[OC][LR]|LEA|NOP|SET..?.?|CMOV..?.?|BT[SRC]?|BS[FR]|BSWAP|POPCNT|J..?.?|CL[CD]|ST[CD]|CMC)$/;
/** Vector rows that write ECX. */
const STRING_COMPARISON = /^PCMP[EI]STR/;

/** The accesses of a block's instructions that share a group with others. */
export function planAccesses(instructions: readonly RegionInstruction[]): Map<RegionInstruction, InstructionAccesses> {
  return new AccessPlanner().plan(instructions);
}

class AccessPlanner {
  #roots = 0;
  /** What addresses without registers are relative to. */
  #nothing = 0;
  readonly #known: Known[] = [];
  readonly #accesses = new Map<string, Access[]>();

  plan(instructions: readonly RegionInstruction[]): Map<RegionInstruction, InstructionAccesses> {
    this.#forgetAll();
    for (const instruction of instructions) this.#instruction(instruction);
    const placed = new Map<RegionInstruction, InstructionAccesses>();
    for (const list of this.#accesses.values()) {
      list.sort((a, b) => a.delta - b.delta);
      for (let i = 0; i < list.length; ) i = group(list, i, placed);
    }
    return placed;
  }

  #fresh(): Known {
    return { root: this.#roots++, delta: 0 };
  }

  #forget(register: number): void {
    this.#known[register] = this.#fresh();
  }

  #forgetAll(): void {
    this.#nothing = this.#roots++;
    for (let register = 0; register < REGISTERS; register++) this.#forget(register);
  }

  #shift(register: number, bytes: number): void {
    const { root, delta } = this.#known[register]!;
    this.#known[register] = { root, delta: (delta + bytes) | 0 };
  }

  #add(place: { key: string; delta: number }, access: Omit<Access, "delta">): void {
    const list = this.#accesses.get(place.key);
    const full = { ...access, delta: place.delta };
    if (list) list.push(full);
    else this.#accesses.set(place.key, [full]);
  }

  /** Where a memory operand lies; undefined for what is not flat. */
  #place({
    base,
    index,
    scale,
    displacement,
    address16,
    segment,
  }: RegionInstruction): { key: string; delta: number } | undefined {
    if (address16 || (segment !== SEG.DS && segment !== SEG.SS && segment !== SEG.ES)) return undefined;
    const from = base === ZERO_SLOT ? { root: this.#nothing, delta: 0 } : this.#known[base >> 3]!;
    if (index === ZERO_SLOT) return { key: `${from.root}`, delta: (from.delta + displacement) | 0 };
    const by = this.#known[index >> 3]!;
    return { key: `${from.root} ${by.root} ${scale}`, delta: (from.delta + (by.delta << scale) + displacement) | 0 };
  }

  #instruction(instruction: RegionInstruction): void {
    const { form } = instruction;
    const { mnemonic, traits } = form!.row;
    if (isCalled(instruction)) {
      this.#x87(instruction);
      return;
    }
    const bits = formBits(form!, instruction.operandSize);
    const plans = operandPlans(instruction, bits);
    for (const plan of plans) {
      if (plan.kind !== "memory" || plan.bits === 0 || traits.bitString) continue;
      const place = this.#place(instruction);
      if (place) {
        const bytes = plan.bits / 8;
        this.#add(place, { instruction, kind: "memory", bytes, writes: plan.access !== "r" });
      }
    }
    const stack = (writes: boolean): void => {
      const { root, delta } = this.#known[ESP]!;
      this.#add({ key: `${root}`, delta }, { instruction, kind: "stack", bytes: bits / 8, writes });
    };
    const first = plans[0];
    const register =
      first?.kind === "register" ? (first.field === "fixed" ? first.number : instruction[first.field]) : -1;
    switch (mnemonic) {
      case "PUSH":
      case "CALL":
        this.#shift(ESP, -bits / 8);
        stack(true);
        return;
      case "POP":
        stack(false);
        this.#shift(ESP, bits / 8);
        this.#forget(register);
        return;
      case "RET":
        stack(false);
        return;
      case "LEAVE":
        this.#known[ESP] = this.#known[EBP]!;
        stack(false);
        this.#shift(ESP, bits / 8);
        this.#forget(EBP);
        return;
      default:
    }
    const simple = SIMPLE.test(mnemonic) || (mnemonic === "IMUL" && plans.length > 1);
    if (traits.vector === undefined ? !simple : STRING_COMPARISON.test(mnemonic)) {
      this.#forgetAll();
      return;
    }
    if (register < 0 || traits.dst === "r") return;
    if (bits === 32 && this.#follow(instruction, register)) return;
    // Of eight-bit registers, the upper four are parts of the first four.
    this.#forget(first!.bits === 8 ? register & 3 : register);
  }

  /** Whether a register's new value is known by an old one. */
  #follow(instruction: RegionInstruction, register: number): boolean {
    const { mnemonic } = instruction.form!.row;
    const [, second] = operandPlans(instruction, 32);
    if (mnemonic === "LEA") {
      const { base, index, displacement, address16 } = instruction;
      if (address16 || base === ZERO_SLOT || index !== ZERO_SLOT) return false;
      this.#known[register] = this.#known[base >> 3]!;
      this.#shift(register, displacement);
      return true;
    }
    if (mnemonic === "MOV" && second?.kind === "register" && second.bits === 32) {
      this.#known[register] = this.#known[second.field === "fixed" ? second.number : instruction[second.field]]!;
      return true;
    }
    if ((mnemonic === "ADD" || mnemonic === "SUB") && second?.kind === "immediate" && !second.second) {
      this.#shift(register, mnemonic === "ADD" ? instruction.immediate : -instruction.immediate);
      return true;
    }
    if (mnemonic === "INC" || mnemonic === "DEC") {
      this.#shift(register, mnemonic === "INC" ? 1 : -1);
      return true;
    }
    return false;
  }

  /** An instruction that is called, and may do anything, unless it is the x87's and written in place. */
  #x87(instruction: RegionInstruction): void {
    const shape = shapeOf(instruction)?.shape;
    const access = (bytes: number, writes: boolean): void => {
      const place = instruction.memory ? this.#place(instruction) : undefined;
      if (place) this.#add(place, { instruction, kind: "memory", bytes, writes });
    };
    switch (shape?.kind) {
      case "arithmetic":
      case "compare":
      case "load":
        if (shape.source in MEMORY_BYTES && shape.source !== "r80")
          access(MEMORY_BYTES[shape.source as keyof typeof MEMORY_BYTES], false);
        return;
      case "storeReal":
        access(MEMORY_BYTES[shape.format], true);
        return;
      case "storeInteger":
        access(shape.bits / 8, true);
        return;
      case "storeExtended":
      case "loadRegister":
      case "storeRegister":
      case "constant":
      case "exchange":
      case "sign":
      case "unary":
        return;
      default:
        this.#forgetAll();
    }
  }
}

/** Group the accesses from position `from` on that are near; returns the position of the next that is not. */
function group(list: readonly Access[], from: number, placed: Map<RegionInstruction, InstructionAccesses>): number {
  const start = list[from]!.delta;
  let end = start;
  let to = from;
  let writes = false;
  for (; to < list.length; to++) {
    const access = list[to]!;
    if (access.delta + access.bytes - start > MAX_SPAN) break;
    end = Math.max(end, access.delta + access.bytes);
    writes ||= access.writes;
  }
  if (to - from < 2) return from + 1;
  const group: AccessGroup = { span: end - start, writes, host: undefined, opened: false };
  for (const { instruction, kind, delta, bytes } of list.slice(from, to)) {
    const known = placed.get(instruction);
    const access = { group, at: delta - start, bytes };
    if (known) known[kind] = access;
    else placed.set(instruction, { [kind]: access });
  }
  return to;
}
