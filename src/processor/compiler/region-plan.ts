/**
 * The shape of a region's function, before it is written: its blocks as nodes, where it can be entered, the order of its
 * blocks and loops, which flags each block must find, and where the budget is looked at.
 */
import { EFLAGS } from "../../isa/flags.ts";
import { CODE_REF } from "../interpreter/record.ts";
import { directTargets, isCopy, type RegionBlock } from "./blocks.ts";
import { type KnownFlags, NEED } from "./flag-state.ts";
import type { RegionGraph } from "./graph.ts";
import { flagNeeds } from "./region-scan.ts";
import { type Item, structure } from "./structure.ts";
import type { X87Compiler } from "./x87.ts";

/** A block at which the region can be entered; its position in the list is its index in code references. */
export interface RegionEntry {
  readonly offset: number;
  readonly machine: number;
  /** Position in {@link RegionGraph.pages} of the page it lies in. */
  readonly page: number;
}

/** A block, as it is written. */
export interface Node {
  readonly block: RegionBlock;
  readonly successors: number[];
  /** See NEED. */
  need: number;
  /** Index among the entries, or -1. */
  entry: number;
  /** Edges that lead here. */
  arrivals: number;
  /** Loop entries check the budget. */
  checked: boolean;
  /** What a predecessor that was written before has left in the flag locals. */
  known: KnownFlags | undefined;
  written: boolean;
}

export class RegionPlan {
  readonly nodes: Node[] = [];
  /** Numbers of nodes by the ids of their blocks. */
  readonly numbers = new Map<number, number>();
  readonly entries: RegionEntry[] = [];
  /** Number of the dispatcher, which leads to all entries, behind the blocks. */
  readonly dispatcher: number;
  /** Blocks in order, in nested loops; the dispatcher first. */
  readonly items: readonly Item[];
  /** The region jumps to computed places. */
  readonly jumps: boolean;
  readonly #graph: RegionGraph;
  readonly #bounds = new Map<number, number>();

  /** `isEntry`: blocks that are entered besides those of which the region itself tells that they will be. */
  constructor(graph: RegionGraph, isEntry: (block: RegionBlock) => boolean, x87: X87Compiler | undefined) {
    this.#graph = graph;
    const blocks = [...graph.blocks.values()];
    for (const [number, block] of blocks.entries()) this.numbers.set(block.id, number);
    this.dispatcher = blocks.length;
    this.jumps = blocks.some(({ terminator }) => terminator.kind === "indirect");
    this.#addNodes(blocks);
    this.#chooseEntries(isEntry);
    this.items = this.#order();
    this.#computeNeeds(x87);
  }

  #addNodes(blocks: readonly RegionBlock[]): void {
    for (const block of blocks) {
      this.nodes.push({
        block,
        successors: this.#successors(block),
        need: NEED.none,
        entry: -1,
        arrivals: 0,
        checked: false,
        known: undefined,
        written: false,
      });
    }
  }

  #chooseEntries(isEntry: (block: RegionBlock) => boolean): void {
    const loops = new Set<number>();
    const collect = (items: readonly Item[]): void => {
      for (const item of items) {
        if (item.kind !== "loop") continue;
        for (const entry of item.entries) loops.add(entry);
        collect(item.body);
      }
    };
    // Heads of loops are entries, for whoever comes back from an interrupt, and so are places that calls return to.
    collect(structure([...this.nodes.map((node) => node.successors), []], 0));
    const entries = new Set<number>([0, ...loops]);
    for (const node of this.nodes) {
      const back = node.block.returnTo;
      const number = back === undefined ? undefined : this.numbers.get(back);
      if (number !== undefined) entries.add(number);
    }
    for (const [number, node] of this.nodes.entries()) if (isEntry(node.block)) entries.add(number);
    const outer = [...entries].filter((number) => !isCopy(this.nodes[number]!.block));
    for (const number of outer.slice(0, CODE_REF.entries)) this.#addEntry(number);
  }

  #order(): Item[] {
    const edges = this.nodes.map((node) => node.successors);
    edges.push([...this.nodes.keys()].filter((number) => this.nodes[number]!.entry >= 0));
    for (const targets of edges) for (const to of targets) this.nodes[to]!.arrivals++;
    const ordered = structure(edges, this.dispatcher);
    const mark = (items: readonly Item[]): void => {
      for (const item of items) {
        if (item.kind !== "loop") continue;
        for (const entry of item.entries) this.nodes[entry]!.checked = true;
        mark(item.body);
      }
    };
    mark(ordered);
    return ordered;
  }

  /** Direct successors inside the region, the one that a fall-through reaches last: it is then placed next. */
  #successors(block: RegionBlock): number[] {
    return directTargets(block.terminator).flatMap((id) => this.numbers.get(id) ?? []);
  }

  #addEntry(number: number): void {
    const node = this.nodes[number]!;
    const { offset, machine } = node.block;
    node.entry = this.entries.length;
    const page = this.#graph.pages.findIndex((p) => p.distance === offset >> 12);
    this.entries.push({ offset, machine, page });
  }

  /** Which flags each block needs from those before it: a backward fixed point. */
  #computeNeeds(x87: X87Compiler | undefined): void {
    const needs = this.nodes.map(({ block }) => flagNeeds(block.instructions, x87));
    const live = needs.map((n) => n.reads);
    for (let changed = true; changed; ) {
      changed = false;
      for (let number = this.nodes.length - 1; number >= 0; number--) {
        let out = 0;
        for (const next of this.nodes[number]!.successors) out |= live[next]!;
        const now = needs[number]!.reads | (out & ~needs[number]!.written);
        if (now === live[number]) continue;
        live[number] = now;
        changed = true;
      }
    }
    for (const [number, node] of this.nodes.entries()) {
      const flags = live[number]!;
      node.need = flags === 0 ? NEED.none : flags === EFLAGS.CF ? NEED.carry : NEED.all;
    }
  }

  /** Most instructions executed from the start of a block to the next look at the budget. */
  bound(number: number): number {
    const known = this.#bounds.get(number);
    if (known !== undefined) return known;
    const node = this.nodes[number]!;
    let behind = 0;
    for (const next of node.successors) if (!this.nodes[next]!.checked) behind = Math.max(behind, this.bound(next));
    const bound = node.block.instructions.length + behind;
    this.#bounds.set(number, bound);
    return bound;
  }
}
