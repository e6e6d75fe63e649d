/**
 * Finds the code of a region: basic blocks reached from its entry by direct jumps, decoded from guest memory, with the
 * edges between them. Knows control flow, not WebAssembly.
 */
import { DECODE, decode, Instruction } from "../../isa/decoder.ts";
import { type FeatureTest, opcodeMap } from "../../isa/opcode-map.ts";
import type { Form } from "../../isa/row.ts";

const PAGE = 4096;
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
  /** The last instruction leaves by itself, or what is behind must be found again. */
  | { readonly kind: "leave" };

/** A basic block; edges are offsets from the origin, which may lie outside the region. */
export interface RegionBlock {
  readonly offset: number;
  readonly machine: number;
  readonly instructions: readonly RegionInstruction[];
  readonly terminator: Terminator;
  /** Where a call at its end returns to, if its last instruction is one. */
  readonly returnTo: number | undefined;
}

/** Places that a block goes to directly, the one that it falls through to last. */
export function directTargets(terminator: Terminator): readonly number[] {
  if (terminator.kind === "branch") return [terminator.taken, terminator.next];
  return terminator.kind === "goto" ? [terminator.target] : [];
}

/** The code of a region. */
export interface RegionGraph {
  /** Blocks by offset from the origin, in order of discovery: the entry first. */
  readonly blocks: ReadonlyMap<number, RegionBlock>;
  /** Pages that code was taken from: distance in linear pages from the origin, and machine offset. */
  readonly pages: readonly { readonly distance: number; readonly machine: number }[];
  readonly instructions: number;
  /** Blocks that computed jumps may lead to. */
  readonly targets: ReadonlySet<number>;
  /** There are computed jumps or calls in it, besides returns. */
  readonly computed: boolean;
  /** Direct jumps out of it: offset by the machine offset they lead to. */
  readonly exits: ReadonlyMap<number, number>;
}

/** Blocks that a region shall have besides those that direct jumps lead to from its head; bytes from the origin. */
export interface GraphRoots {
  readonly head: number;
  readonly others: readonly number[];
}

/** Where code is found. */
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

export interface GraphLimits {
  readonly instructions: number;
  readonly pages: number;
}

interface Draft {
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

/** Collect the blocks of the region with these roots. */
export function discover(source: CodeSource, roots: GraphRoots, limits: GraphLimits): RegionGraph | undefined {
  const entry = roots.head;
  const given = new Set([entry, ...roots.others]);
  const drafts = new Map<number, Draft>();
  const starts = new Map<number, Draft>();
  const pages = new Map<number, number>();
  let instructions = 0;
  const machineOf = (offset: number): number => {
    const distance = offset >> 12;
    let page = pages.get(distance);
    if (page === undefined) {
      if (pages.size >= limits.pages) return -1;
      page = source.page(distance);
      if (page < 0) return -1;
      pages.set(distance, page);
    }
    return page + (offset & (PAGE - 1));
  };
  /** Where code known to be executed ends, by the offset of a block that a conditional jump falls through to. */
  const proven = new Map<number, number>();
  const queue: number[] = [entry, ...roots.others];
  const wanted = new Set<number>(given);
  const targets = new Set<number>();
  let computed = false;
  /** Pages whose blocks were taken as targets of computed jumps. */
  const searched = new Set<number>();
  const want = (offset: number): void => {
    if (wanted.has(offset)) return;
    wanted.add(offset);
    queue.push(offset);
  };
  const takeTargets = (): void => {
    for (const [distance, page] of pages) {
      if (searched.has(distance)) continue;
      searched.add(distance);
      for (const machine of source.blocksOn(page)) {
        const offset = distance * PAGE + (machine & (PAGE - 1));
        // What direct jumps lead to anyway need not be an entry, too, which would spoil its loop.
        if (drafts.has(offset) || starts.has(offset)) continue;
        targets.add(offset);
        want(offset);
      }
    }
  };
  for (;;) {
    if (queue.length === 0 && computed) takeTargets();
    const offset = queue.shift();
    if (offset === undefined || instructions >= limits.instructions) break;
    if (drafts.has(offset)) continue;
    const inside = starts.get(offset);
    if (inside) {
      split(inside, offset, drafts, starts);
      continue;
    }
    const before = pages.size;
    const machine = machineOf(offset);
    if (machine < 0) continue;
    const end = Math.max(offset + source.worthwhile(machine), proven.get(offset) ?? 0);
    if (!given.has(offset) && (end <= offset || source.taken(machine))) {
      // A page that only cold code asked for is not part of the region.
      if (pages.size > before) pages.delete(offset >> 12);
      continue;
    }
    const draft = decodeBlock(source, offset, machine, limits.instructions - instructions, drafts, starts);
    if (!draft) {
      if (pages.size > before) pages.delete(offset >> 12);
      continue;
    }
    instructions += draft.instructions.length;
    drafts.set(offset, draft);
    const { terminator } = draft;
    if (terminator.kind === "branch") {
      proven.set(terminator.next, Math.max(end, proven.get(terminator.next) ?? 0));
      want(terminator.next);
      want(terminator.taken);
    } else if (terminator.kind === "goto") want(terminator.target);
    if (draft.returnTo !== undefined) want(draft.returnTo);
    const last = draft.instructions.at(-1)?.form?.row.mnemonic;
    if (terminator.kind === "indirect" && last !== "RET") computed = true;
  }
  if (!drafts.has(entry)) return undefined;
  return {
    blocks: drafts,
    pages: [...pages].map(([distance, machine]) => ({ distance, machine })),
    instructions,
    targets,
    computed,
    exits: exitsOf(drafts, source),
  };
}

function exitsOf(drafts: ReadonlyMap<number, Draft>, source: CodeSource): Map<number, number> {
  const exits = new Map<number, number>();
  for (const { terminator, returnTo } of drafts.values()) {
    for (const offset of [...directTargets(terminator), returnTo]) {
      if (offset === undefined || drafts.has(offset)) continue;
      const page = source.page(offset >> 12);
      if (page >= 0) exits.set(page + (offset & (PAGE - 1)), offset);
    }
  }
  return exits;
}

/** Cut a block in two at `offset`, one of its instructions. */
function split(block: Draft, offset: number, drafts: Map<number, Draft>, starts: Map<number, Draft>): void {
  const at = block.instructions.findIndex((instruction) => instruction.offset === offset);
  const tail: Draft = {
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
function decodeBlock(
  source: CodeSource,
  offset: number,
  machine: number,
  limit: number,
  drafts: ReadonlyMap<number, Draft>,
  starts: Map<number, Draft>,
): Draft | undefined {
  const pageEnd = (machine & -PAGE) + PAGE;
  const draft: Draft = { offset, machine, instructions: [], terminator: { kind: "leave" }, returnTo: undefined };
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
    const length = decode(source.bytes, from, pageEnd, source.bits, instruction, opcodeMap(source.has));
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
