/** Finds the code of a region: basic blocks reached from its entry by direct jumps, with the edges between them. */
import {
  type CodeSource,
  type Draft,
  decodeBlock,
  directTargets,
  isReturn,
  offsetOf,
  PAGE,
  type RegionBlock,
  split,
} from "./blocks.ts";
import { inlineCall } from "./inline.ts";

/** The code of a region. */
export interface RegionGraph {
  /** Blocks by id: the entry first, those of copies last. */
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

export interface GraphLimits {
  readonly instructions: number;
  /** Instructions of a region of few blocks: long straight code takes engines less time than many ways through it. */
  readonly straight: number;
  readonly pages: number;
}

/** Targets of computed jumps are looked for this far from them: what else is on their page has to do with others. */
const NEAR = 1024;
/** Blocks that are few. */
const FEW_BLOCKS = 16;

/** Collect the blocks of the region with these roots. */
export function discover(source: CodeSource, roots: GraphRoots, limits: GraphLimits): RegionGraph | undefined {
  const entry = roots.head;
  const given = new Set([entry, ...roots.others]);
  const drafts = new Map<number, Draft>();
  const starts = new Map<number, Draft>();
  const pages = new Map<number, number>();
  let instructions = 0;
  const room = (): number => (drafts.size < FEW_BLOCKS ? limits.straight : limits.instructions) - instructions;
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
  /** Blocks that end with a computed jump or call, besides returns. */
  const jumps: number[] = [];
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
        if (!jumps.some((from) => Math.abs(from - offset) <= NEAR)) continue;
        // What direct jumps lead to anyway need not be an entry, too, which would spoil its loop.
        if (drafts.has(offset) || starts.has(offset)) continue;
        targets.add(offset);
        want(offset);
      }
    }
  };
  const copies = new Map<number, RegionBlock>();
  let copied = 0;
  /** If a block ends with the call of a small function, put a copy of that behind it. */
  const inlineCalled = (draft: Draft): void => {
    const { terminator, returnTo } = draft;
    if (terminator.kind !== "goto" || returnTo === undefined || terminator.target === returnTo) return;
    const before = new Set(pages.keys());
    const context = { source, machineOf, nextCopy: () => ++copied };
    const called = inlineCall(context, terminator.target, returnTo, room());
    if (!called) {
      for (const distance of pages.keys()) if (!before.has(distance)) pages.delete(distance);
      return;
    }
    instructions += called.instructions;
    for (const block of called.blocks) copies.set(block.id, block);
    draft.terminator = { kind: "goto", target: called.blocks[0]!.id };
    draft.returnTo = undefined;
    want(returnTo);
  };
  for (;;) {
    if (queue.length === 0 && jumps.length > 0) takeTargets();
    const offset = queue.shift();
    if (offset === undefined || room() <= 0) break;
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
    const draft = decodeBlock(source, offset, machine, room(), drafts, starts);
    if (!draft) {
      if (pages.size > before) pages.delete(offset >> 12);
      continue;
    }
    instructions += draft.instructions.length;
    drafts.set(offset, draft);
    inlineCalled(draft);
    const { terminator } = draft;
    if (terminator.kind === "branch") {
      proven.set(terminator.next, Math.max(end, proven.get(terminator.next) ?? 0));
      want(terminator.next);
      want(terminator.taken);
    } else if (terminator.kind === "goto" && !copies.has(terminator.target)) want(terminator.target);
    if (draft.returnTo !== undefined) want(draft.returnTo);
    if (terminator.kind === "indirect" && !isReturn(draft)) {
      jumps.push(offset);
      searched.clear();
    }
  }
  if (!drafts.has(entry)) return undefined;
  const blocks = new Map<number, RegionBlock>([...drafts, ...copies]);
  return {
    blocks,
    pages: [...pages].map(([distance, machine]) => ({ distance, machine })),
    instructions,
    targets,
    computed: jumps.length > 0,
    exits: exitsOf(blocks, source),
  };
}

function exitsOf(blocks: ReadonlyMap<number, RegionBlock>, source: CodeSource): Map<number, number> {
  const exits = new Map<number, number>();
  for (const { terminator, returnTo } of blocks.values()) {
    for (const id of [...directTargets(terminator), returnTo]) {
      if (id === undefined || blocks.has(id)) continue;
      const offset = offsetOf(id);
      const page = source.page(offset >> 12);
      if (page >= 0) exits.set(page + (offset & (PAGE - 1)), offset);
    }
  }
  return exits;
}
