/** What the compiler keeps of a region while it waits for its code and while it is installed, and where its code lies. */
import { granules } from "../shadow.ts";
import { isCopy, PAGE, type RegionBlock } from "./blocks.ts";
import type { RegionGraph } from "./graph.ts";
import type { RegionEntry } from "./region-plan.ts";

/** A range of machine bytes. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

function rangeOf({ machine, instructions }: RegionBlock): Range {
  const last = instructions.at(-1)!;
  return { start: machine, end: last.machine + last.length };
}

/** One region, from the moment its code was chosen until it is dropped. */
export class Region {
  readonly mode: number;
  readonly graph: RegionGraph;
  /** Where its code lies, copies of functions that it calls included. */
  readonly ranges: readonly Range[];
  /** The same without the copies. */
  readonly #own: readonly Range[];
  /** Code was written to before it was installed, or it was dropped. */
  dead = false;
  slot = 0;
  bytes = 0;
  entries: readonly RegionEntry[] = [];
  /** Blocks that were given a reference to it. */
  readonly holders: number[] = [];
  /** Its entry counter when room was last looked for. */
  entered = -1;
  /** Offsets of blocks that were entered although they were no entries: now they are. */
  readonly extra: readonly number[];
  /** Linear address of its origin when it was made. */
  readonly origin: number;
  /** Its entry counter when busy regions were last looked for. */
  counted = 0;
  /** Offset of the block it was made for. */
  readonly head: number;
  /** How often it has been made anew. */
  generation = 0;
  /** The region that this one takes the place of, once it is installed. */
  replaces: Region | undefined;
  /** Machine offsets of blocks in it that were found hot although it is there, once. */
  readonly met = new Set<number>();
  /** It took in the code of its neighbours. */
  merged = false;
  /** Keys of the links that it jumps through, once its code is ordered. */
  links: readonly number[] | undefined;
  /** Another one is going to take its place. */
  replaced = false;

  constructor(mode: number, graph: RegionGraph, extra: readonly number[], origin: number) {
    this.mode = mode;
    this.origin = origin;
    this.graph = graph;
    this.extra = extra;
    this.head = graph.blocks.keys().next().value!;
    const blocks = [...graph.blocks.values()];
    this.ranges = blocks.map(rangeOf);
    this.#own = blocks.filter((block) => !isCopy(block)).map(rangeOf);
  }

  /** Whether it has the instruction at a machine offset other than in a copy. */
  has(machine: number): boolean {
    return this.#own.some((range) => range.start <= machine && machine < range.end);
  }

  /** Offset of code that it has, or that it jumps to. */
  placeOf(machine: number): { offset: number; inside: boolean } | undefined {
    const exit = this.graph.exits.get(machine);
    if (exit !== undefined) return { offset: exit, inside: false };
    const inside = this.has(machine);
    // Where computed jumps on the same page lead to, nobody knows before.
    if (!inside && !this.graph.computed) return undefined;
    const page = this.graph.pages.find((p) => p.machine === (machine & -PAGE));
    return page && { offset: page.distance * PAGE + (machine & (PAGE - 1)), inside };
  }

  /** Whether any byte of [start, end) is code of it. */
  covers(start: number, end: number): boolean {
    return this.ranges.some((range) => range.start < end && start < range.end);
  }
}

/** Regions, waiting and installed, by where their code lies and where it leads. */
export class RegionIndex {
  /** By machine page. */
  readonly #pages = new Map<number, Region[]>();
  /** By the machine addresses outside of them that they jump to directly. */
  readonly #leading = new Map<number, Region[]>();

  add(region: Region): void {
    for (const { machine } of region.graph.pages) addTo(this.#pages, machine >>> 12, region);
    for (const machine of region.graph.exits.keys()) addTo(this.#leading, machine, region);
  }

  remove(region: Region): void {
    for (const { machine } of region.graph.pages) removeFrom(this.#pages, machine >>> 12, region);
    for (const machine of region.graph.exits.keys()) removeFrom(this.#leading, machine, region);
  }

  /** All regions; one stands here once for each of its pages. */
  all(): Region[] {
    return [...this.#pages.values()].flat();
  }

  /** Regions with code on the page of a machine offset. */
  onPage(machine: number): readonly Region[] {
    return this.#pages.get(machine >>> 12) ?? [];
  }

  /** Regions with code on the page of a machine offset, and those that jump to it. */
  near(machine: number): Region[] {
    return [...this.onPage(machine), ...(this.#leading.get(machine) ?? [])];
  }

  /** Whether any byte of [start, end), within one page, belongs to a region. */
  covers(start: number, end: number): boolean {
    return this.onPage(start).some((region) => region.covers(start, end));
  }

  /** Granules of a machine page that regions cover. */
  granulesOf(page: number): number {
    let mask = 0;
    for (const region of this.#pages.get(page) ?? []) {
      for (const { start, end } of region.ranges) if (start >>> 12 === page) mask |= granules(start, end - start);
    }
    return mask;
  }
}

function addTo(map: Map<number, Region[]>, key: number, region: Region): void {
  const list = map.get(key);
  if (list) list.push(region);
  else map.set(key, [region]);
}

function removeFrom(map: Map<number, Region[]>, key: number, region: Region): void {
  const kept = map.get(key)?.filter((other) => other !== region) ?? [];
  if (kept.length > 0) map.set(key, kept);
  else map.delete(key);
}
