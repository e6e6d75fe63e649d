/**
 * What is known of a region's x87 code before it is written: which instructions are written in place, where ST(0) stands
 * at the start of each block, and which registers must be full or empty for a stretch of instructions.
 *
 * Registers are named by *slots*: slot 0 is where TOP pointed at the region's reference depth. A block's depth says which
 * slot is its ST(0); the compiler's work is that every way into a block brings the depth that the plan gives it.
 */
import { x87RowOf } from "../../isa/table/x87.ts";
import type { X87Row } from "../../isa/x87/row.ts";
import type { Shape } from "../../isa/x87/shape.ts";
import { directTargets, isCalled, type RegionBlock, type RegionInstruction } from "./blocks.ts";
import type { RegionGraph } from "./graph.ts";
import { type Item, structure } from "./structure.ts";

/** One instruction in so many must be the x87's to make code {@link isDense}. */
const DENSE = 5;
/** Registers of the stack. */
export const SLOTS = 8;
const SLOT_MASK = SLOTS - 1;

/** What must hold before the first instruction of a stretch, as masks of slots. */
export interface Demand {
  full: number;
  empty: number;
}

export interface X87Plan {
  /** Instructions written in place; a demand stands with the first of each stretch. */
  readonly inlined: ReadonlyMap<RegionInstruction, Demand | undefined>;
  /** Slot of ST(0) at the start of each block. */
  readonly depths: ReadonlyMap<RegionBlock, number>;
  /** Slots that the instructions in each block use, as a mask; absent for blocks without instructions written in place. */
  readonly slots: ReadonlyMap<RegionBlock, number>;
  /**
   * The x87 is in locals throughout the region; otherwise only within each stretch, so that entries, exits and the many
   * blocks without x87 code have nothing to do with it.
   */
  readonly resident: boolean;
}

/** What an instruction does to the stack; registers relative to ST(0) before it. */
export interface StackEffect {
  readonly full: readonly number[];
  readonly empty: readonly number[];
  readonly fills: readonly number[];
  readonly frees: readonly number[];
  /** Positive: pops. */
  readonly moves: number;
}

const NOTHING: StackEffect = { full: [], empty: [], fills: [], frees: [], moves: 0 };
/** ST(7), which a push makes ST(0). */
const PUSHED = 7;
const PUSH: StackEffect = { ...NOTHING, empty: [PUSHED], fills: [PUSHED], moves: -1 };

/** `full` must hold values, and ST(0) is popped if `pops`. */
function using(full: readonly number[], pops: boolean): StackEffect {
  return pops ? { ...NOTHING, full, frees: [0], moves: 1 } : { ...NOTHING, full };
}

/** What an instruction of this shape, on ST(`index`), does to the stack. */
export function stackEffect(shape: Shape, index: number): StackEffect {
  switch (shape.kind) {
    case "arithmetic":
      return using(shape.source === "sti" ? [0, index] : [0], shape.pops);
    case "compare": {
      const other = shape.index ?? index;
      const full = shape.source === "sti" ? [0, other] : [0];
      if (shape.pops < 2) return using(full, shape.pops === 1);
      return { ...NOTHING, full, frees: [0, other], moves: 2 };
    }
    case "compareFlags":
      return using([0, index], shape.pops);
    case "load":
    case "constant":
      return PUSH;
    case "loadRegister":
      return { ...PUSH, full: [index] };
    case "storeReal":
    case "storeInteger":
    case "storeExtended":
      return using([0], shape.pops);
    case "storeRegister":
      return { ...using([0], shape.pops), fills: [index] };
    case "exchange":
    case "conditionalMove":
      return using([0, index], false);
    case "sign":
    case "unary":
      return using([0], false);
    default:
      return NOTHING;
  }
}

/** How instructions that are called move TOP, as far as one can tell. A wrong guess costs time only. */
const CALLED_MOVES: Readonly<Record<string, number>> = {
  FPTAN: -1, FSINCOS: -1, FXTRACT: -1, FBLD: -1, FDECSTP: -1,
  FYL2X: 1, FYL2XP1: 1, FPATAN: 1, FBSTP: 1, FINCSTP: 1, FFREEP: 1, FSTP1: 1,
}; // biome-ignore format: a table

/** How an instruction that is called moves the depth. */
export function calledMove(instruction: RegionInstruction): number {
  return CALLED_MOVES[instruction.form!.row.mnemonic] ?? 0;
}

/** The x87's row and shape of an instruction that could be written in place. */
export function shapeOf(instruction: RegionInstruction): { row: X87Row; shape: Shape } | undefined {
  if (instruction.lock) return undefined;
  const row = x87RowOf(instruction.form!);
  return row?.shape && { row, shape: row.shape };
}

/** Whether an instruction sees the registers as MMX registers. */
function usesMmx({ form }: RegionInstruction): boolean {
  return form!.row.mnemonic === "EMMS" || form!.operands.some((code) => /^[PQN]/.test(code));
}

/** Plan the x87 code of a region; undefined if there is none, or MMX code beside it. */
export function planX87(graph: RegionGraph): X87Plan | undefined {
  let found = false;
  for (const { instructions } of graph.blocks.values()) {
    for (const instruction of instructions) {
      if (usesMmx(instruction)) return undefined;
      found ||= shapeOf(instruction) !== undefined;
    }
  }
  return found ? new Planner(graph).plan() : undefined;
}

/** Whether x87 code is what the region, or a loop in it, spends its time with. */
function isDense(graph: RegionGraph, inlined: ReadonlyMap<RegionInstruction, unknown>): boolean {
  const blocks = [...graph.blocks.values()];
  const numbers = new Map(blocks.map((block, number) => [block.id, number]));
  const edges = blocks.map((block) => directTargets(block.terminator).flatMap((to) => numbers.get(to) ?? []));
  const dense = (nodes: readonly number[]): boolean => {
    let all = 0;
    let found = 0;
    for (const node of nodes) {
      const { instructions } = blocks[node]!;
      all += instructions.length;
      for (const instruction of instructions) if (inlined.has(instruction)) found++;
    }
    return found * DENSE > all;
  };
  if (dense([...blocks.keys()])) return true;
  const nodesOf = (items: readonly Item[]): number[] =>
    items.flatMap((item) => (item.kind === "node" ? [item.node] : nodesOf(item.body)));
  const anyLoop = (items: readonly Item[]): boolean =>
    items.some((item) => item.kind === "loop" && (dense(nodesOf(item.body)) || anyLoop(item.body)));
  // From a node that leads everywhere.
  return anyLoop(structure([...edges, [...blocks.keys()]], blocks.length));
}

/** A block to be planned, and the slot of ST(0) at its start. */
interface Place {
  readonly id: number;
  readonly depth: number;
}

class Planner {
  readonly #graph: RegionGraph;
  readonly #inlined = new Map<RegionInstruction, Demand | undefined>();
  readonly #depths = new Map<RegionBlock, number>();
  readonly #slots = new Map<RegionBlock, number>();

  constructor(graph: RegionGraph) {
    this.#graph = graph;
  }

  plan(): X87Plan {
    // Where calls return to comes last: the way through the called function tells the depth there, if it can be seen.
    const returns: Place[] = [];
    const queue: Place[] = [];
    for (const block of this.#graph.blocks.values()) {
      this.#visit({ id: block.id, depth: 0 }, queue, returns);
      while (queue.length > 0 || returns.length > 0) {
        const next = queue.shift() ?? returns.shift()!;
        this.#visit(next, queue, returns);
      }
    }
    const resident = isDense(this.#graph, this.#inlined);
    return { inlined: this.#inlined, depths: this.#depths, slots: this.#slots, resident };
  }

  #visit({ id, depth }: Place, queue: Place[], returns: Place[]): void {
    const block = this.#graph.blocks.get(id);
    if (!block || this.#depths.has(block)) return;
    this.#depths.set(block, depth);
    const end = this.#block(block, depth);
    for (const next of directTargets(block.terminator).toReversed()) queue.push({ id: next, depth: end });
    if (block.returnTo !== undefined) returns.push({ id: block.returnTo, depth: end });
  }

  /** Plan one block; gives the depth at its end. */
  #block(block: RegionBlock, start: number): number {
    let depth = start;
    let demand: Demand | undefined;
    let full = 0;
    let empty = 0;
    let slots = 0;
    for (const instruction of block.instructions) {
      if (!isCalled(instruction)) continue;
      const found = shapeOf(instruction);
      const effect = found && stackEffect(found.shape, instruction.rm);
      const masked = (registers: readonly number[]): number =>
        registers.reduce((mask, register) => mask | (1 << ((depth + register) & SLOT_MASK)), 0);
      const conflict = effect && (masked(effect.full) & (empty | masked(effect.empty))) | (masked(effect.empty) & full);
      if (!effect || conflict) {
        // Others may do anything to the stack, and so may an instruction that is sure to meet a stack fault.
        demand = undefined;
        full = 0;
        empty = 0;
        depth = (depth + (effect ? effect.moves : calledMove(instruction))) & SLOT_MASK;
        continue;
      }
      const first = demand === undefined;
      demand ??= { full: 0, empty: 0 };
      this.#inlined.set(instruction, first ? demand : undefined);
      const needsFull = masked(effect.full);
      const needsEmpty = masked(effect.empty);
      demand.full |= needsFull & ~full;
      demand.empty |= needsEmpty & ~empty;
      full |= needsFull | masked(effect.fills);
      empty = (empty | needsEmpty) & ~masked(effect.fills);
      const freed = masked(effect.frees);
      full &= ~freed;
      empty |= freed;
      slots |= needsFull | needsEmpty | masked(effect.fills);
      this.#slots.set(block, slots);
      depth = (depth + effect.moves) & SLOT_MASK;
    }
    return depth;
  }
}
