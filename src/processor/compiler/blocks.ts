/**
 * Basic blocks of regions, decoded from guest memory. Knows control flow, not WebAssembly.
 */
import { DECODE, decode, Instruction } from "../../isa/decoder.ts";
import { type FeatureTest, opcodeMap } from "../../isa/opcode-map.ts";
import type { Form } from "../../isa/row.ts";

export const PAGE = 4096;
/** Longest block, in instructions: what a fault says of its place has a byte for it. */
const MAX_BLOCK = 128;

/** One instruction of a region. */
export class RegionInstruction extends Instruction {
  /** Bytes from the region's origin (the linear page of its entry) to the instruction. */
  offset = 0;
  /** Machine offset of its first byte. */
  machine = 0;
}

/** Whether an instruction is called as a helper or arm, because it has no semantics of its own or repeats them. */
export function isCalled({ form, repeat }: RegionInstruction): boolean {
  const { semantics, traits } = form!.row;
  return semantics === undefined || (traits.repeat !== undefined && repeat !== 0);
}

/** How a block ends. */
export type Terminator =
  /** Goes on behind, or jumps if its last instruction says so. */
  | { readonly kind: "branch"; readonly taken: number; readonly next: number }
  /** Goes to one place: a jump, a call, or the start of another block. */
  | { readonly kind: "goto"; readonly target: number }
  /** The target is computed: return, indirect jump or call. */
  | { readonly kind: "indirect" }
  /** A return that leads to this place, unless the guest has changed what it returns to. */
  | { readonly kind: "return"; readonly to: number }
  /** The last instruction leaves by itself, or what is behind must be found again. */
  | { readonly kind: "leave" };

/**
 * A basic block. Edges are ids of blocks, or offsets from the origin outside of the region. A block's id is its offset;
 * that of one in a copy of a function is {@link CONTEXT} times the copy's number more.
 */
export interface RegionBlock {
  readonly id: number;
  readonly offset: number;
  readonly machine: number;
  readonly instructions: readonly RegionInstruction[];
  readonly terminator: Terminator;
  /** Where a call at its end returns to, if its last instruction is one. */
  readonly returnTo: number | undefined;
}

/** More than any two offsets are apart. */
export const CONTEXT = 2 ** 33;

/** The offset of the block with this id. */
export function offsetOf(id: number): number {
  return id - Math.round(id / CONTEXT) * CONTEXT;
}

/** Whether a block stands in a copy of a function. */
export function isCopy({ id, offset }: RegionBlock): boolean {
  return id !== offset;
}

/** Places that a block goes to directly, the one that it falls through to last. */
export function directTargets(terminator: Terminator): readonly number[] {
  if (terminator.kind === "branch") return [terminator.taken, terminator.next];
  if (terminator.kind === "return") return [terminator.to];
  return terminator.kind === "goto" ? [terminator.target] : [];
}

/** Where code is found, and what is known of it. */
export interface CodeSource {
  readonly bytes: Uint8Array;
  /** 16 or 32: default size of the code segment. */
  readonly bits: number;
  readonly has: FeatureTest;
  /** Machine offset of the page `distance` linear pages from the origin, or -1 when it is not mapped for execution. */
  page(distance: number): number;
  /**
   * Bytes of code from this machine offset on that have been executed so often that they belong into the region, 0 for
   * none; conditional jumps among them may have been taken or not.
   */
  worthwhile(machine: number): number;
  /** Whether the block at this machine offset is another region's: compiled once, code stays dense. */
  taken(machine: number): boolean;
  /** Machine offsets of blocks on a machine page that are {@link worthwhile}: where computed jumps may lead. */
  blocksOn(page: number): Iterable<number>;
}

/** A block while the blocks around it are found: it may still be cut. */
export interface Draft {
  id: number;
  readonly offset: number;
  readonly machine: number;
  readonly instructions: RegionInstruction[];
  terminator: Terminator;
  returnTo: number | undefined;
}

/** Whether the row's last operand is a direct branch target. */
function isDirect(form: Form): boolean {
  return form.branch === "direct" || form.branch === "conditional";
}

/** A branch that may fall through: Jcc, LOOP, JCXZ. */
export function isConditional(form: Form): boolean {
  return form.branch === "conditional";
}

/** Forms whose semantics end with a jump to a computed place. */
function isIndirect(form: Form): boolean {
  return form.branch === "indirect";
}

/** Whether a block ends with a near return. */
export function isReturn({ instructions }: Draft): boolean {
  return instructions.at(-1)!.form?.row.mnemonic === "RET";
}

/** Cut a block in two at `offset`, one of its instructions. */
export function split(block: Draft, offset: number, drafts: Map<number, Draft>, starts: Map<number, Draft>): void {
  const at = block.instructions.findIndex((instruction) => instruction.offset === offset);
  const tail: Draft = {
    id: offset,
    offset,
    machine: block.instructions[at]!.machine,
    instructions: block.instructions.splice(at),
    terminator: block.terminator,
    returnTo: block.returnTo,
  };
  block.terminator = { kind: "goto", target: offset };
  block.returnTo = undefined;
  drafts.set(offset, tail);
  for (const instruction of tail.instructions) starts.set(instruction.offset, tail);
}

/** Decode from `offset` to the end of the basic block; undefined when not even one instruction can be had. */
export function decodeBlock(
  source: CodeSource,
  offset: number,
  machine: number,
  limit: number,
  drafts: ReadonlyMap<number, Draft>,
  starts: Map<number, Draft>,
): Draft | undefined {
  const pageEnd = (machine & -PAGE) + PAGE;
  const opcodes = opcodeMap(source.has);
  const terminator: Terminator = { kind: "leave" };
  const draft: Draft = { id: offset, offset, machine, instructions: [], terminator, returnTo: undefined };
  let at = offset;
  let from = machine;
  for (;;) {
    // Another block begins here; or the region, or its page, is full.
    if (
      drafts.has(at) ||
      starts.has(at) ||
      draft.instructions.length >= Math.min(limit, MAX_BLOCK) ||
      from >= pageEnd
    ) {
      draft.terminator = { kind: "goto", target: at };
      break;
    }
    const instruction = new RegionInstruction();
    const length = decode(source.bytes, from, pageEnd, source.bits, instruction, opcodes);
    const unfit = instruction.form !== undefined && isDirect(instruction.form) && instruction.operandSize === 16;
    if (length === DECODE.needMore || length === DECODE.tooLong || !instruction.form || unfit) {
      // What crosses a page, is no instruction, or cuts EIP to 16 bits is the interpreter's.
      draft.terminator = { kind: "goto", target: at };
      break;
    }
    instruction.offset = at;
    instruction.machine = from;
    draft.instructions.push(instruction);
    starts.set(at, draft);
    at += length;
    from += length;
    const { form } = instruction;
    if (isConditional(form)) {
      draft.terminator = { kind: "branch", taken: at + instruction.immediate, next: at };
      break;
    }
    if (isDirect(form)) {
      draft.terminator = { kind: "goto", target: at + instruction.immediate };
      if (form.row.mnemonic === "CALL") draft.returnTo = at;
      break;
    }
    if (isIndirect(form)) {
      draft.terminator = { kind: "indirect" };
      if (form.row.mnemonic === "CALL") draft.returnTo = at;
      break;
    }
    if (form.row.traits.ends) break;
  }
  return draft.instructions.length > 0 ? draft : undefined;
}
