/**
 * Calls of small functions: their blocks stand in the region once more for each such call, so that the way to them and
 * back are jumps within it. A copy is entered at its call only.
 */
import { CONTEXT, type CodeSource, type Draft, decodeBlock, isReturn, type RegionBlock, split } from "./blocks.ts";

/** Instructions of a function, with those that it calls, and calls one within the other. */
const MAX_INSTRUCTIONS = 32;
const MAX_DEPTH = 2;

/** What finding a region offers. */
export interface InlineContext {
  readonly source: CodeSource;
  /** Machine offset of a place, or -1 if the region cannot have it. */
  machineOf(offset: number): number;
  /** A number for one more copy. */
  nextCopy(): number;
}

/** A function's blocks, the one where it begins first. */
export interface InlinedCall {
  readonly blocks: readonly RegionBlock[];
  readonly instructions: number;
}

/**
 * The function at `target` for a call that returns to the block `returnTo`; undefined if it has more than `limit`
 * instructions, or is none that could be copied: it calls large ones, jumps to computed places, or does not return.
 */
export function inlineCall(
  context: InlineContext,
  target: number,
  returnTo: number,
  limit = MAX_INSTRUCTIONS,
  depth = 0,
): InlinedCall | undefined {
  const { source } = context;
  const first = context.machineOf(target);
  if (depth === MAX_DEPTH || first < 0 || source.worthwhile(first) === 0) return undefined;
  const drafts = findBlocks(context, target, Math.min(limit, MAX_INSTRUCTIONS));
  if (!drafts) return undefined;
  let instructions = 0;
  for (const draft of drafts.values()) instructions += draft.instructions.length;
  const inner: RegionBlock[] = [];
  const copy = context.nextCopy() * CONTEXT;
  for (const draft of drafts.values()) {
    draft.id = copy + draft.offset;
    const { terminator } = draft;
    if (terminator.kind === "branch") {
      draft.terminator = { kind: "branch", taken: copy + terminator.taken, next: copy + terminator.next };
    } else if (terminator.kind === "indirect") draft.terminator = { kind: "return", to: returnTo };
    else if (terminator.kind === "goto" && draft.returnTo === undefined) {
      draft.terminator = { kind: "goto", target: copy + terminator.target };
    } else if (terminator.kind === "goto") {
      const back = copy + draft.returnTo!;
      const called = inlineCall(context, terminator.target, back, limit - instructions, depth + 1);
      if (!called) return undefined;
      instructions += called.instructions;
      inner.push(...called.blocks);
      draft.terminator = { kind: "goto", target: called.blocks[0]!.id };
      draft.returnTo = undefined;
    }
  }
  return { blocks: [...drafts.values(), ...inner], instructions };
}

/** The blocks of the function at `target`, without those of functions that it calls. */
function findBlocks(
  { source, machineOf }: InlineContext,
  target: number,
  limit: number,
): Map<number, Draft> | undefined {
  const drafts = new Map<number, Draft>();
  const starts = new Map<number, Draft>();
  const queue = [target];
  let left = limit;
  for (let offset = queue.shift(); offset !== undefined; offset = queue.shift()) {
    if (drafts.has(offset)) continue;
    const inside = starts.get(offset);
    if (inside) {
      split(inside, offset, drafts, starts);
      continue;
    }
    const machine = machineOf(offset);
    const draft = machine < 0 ? undefined : decodeBlock(source, offset, machine, left + 1, drafts, starts);
    if (!draft) return undefined;
    left -= draft.instructions.length;
    if (left < 0) return undefined;
    drafts.set(offset, draft);
    const { terminator } = draft;
    if (terminator.kind === "branch") queue.push(terminator.next, terminator.taken);
    else if (terminator.kind === "goto") queue.push(draft.returnTo ?? terminator.target);
    else if (terminator.kind === "leave" || !isReturn(draft)) return undefined;
  }
  return drafts;
}
