/**
 * Which code becomes a region: what is near a hot block, what a region grows by when more of what it leads to turns out
 * to be hot, and which regions should take in their neighbours because they are entered all the time.
 */
import type { FeatureTest } from "../../isa/opcode-map.ts";
import { type Cpu, MODE } from "../cpu.ts";
import { hashRecord } from "../interpreter/block-hash.ts";
import { BLOCK, CODE_REF } from "../interpreter/record.ts";
import { EXECUTE_TABLE, REGION, regionRecordAt, SHADOW, USER_TABLES } from "../memory-map.ts";
import { PAGE } from "./blocks.ts";
import { discover, type GraphLimits, type GraphRoots, type RegionGraph } from "./graph.ts";
import { Region, type RegionIndex } from "./region-record.ts";

/** What is known of the code that runs. */
export interface CodeKnowledge {
  readonly cpu: Cpu;
  readonly has: FeatureTest;
  readonly index: RegionIndex;
  /** Executions of a block before its region is compiled. */
  readonly threshold: number;
  /** Blocks that are not decoded are worth their code, too. */
  readonly immediate: boolean;
  /** Addresses of the decoded blocks on a machine page. */
  blocksOn(page: number): readonly number[];
  /** The installed region that is entered at a machine offset in this mode. */
  entryAt(machine: number, mode: number): Region | undefined;
}

/** How much code a region takes at first, and one that is made anew because it should have more. */
const FIRST_LIMITS = { instructions: 120, straight: 400, pages: 4 } as const;
const LIMITS = { instructions: 200, straight: 600, pages: CODE_REF.pages } as const;
/** A page further away than this is no part of a region. */
const REACH = 512;
/** A block is worth its code when it was executed the threshold's 2^-n part. */
const WORTH_SHIFT = 4;
/** How often a region is made anew because it should have more code. */
const MAX_GENERATIONS = 10;

/** Times that a region was entered, as far as 32 bits go. */
export function timesEntered(cpu: Cpu, region: Region): number {
  return cpu.i32[(regionRecordAt(region.slot) + REGION.entries) >> 2]! >>> 0;
}

export class RegionSelection {
  readonly #known: CodeKnowledge;

  constructor(known: CodeKnowledge) {
    this.#known = known;
  }

  /** An installed region that should have the block at `machine`: it has its code, or jumps to it. */
  growing(near: readonly Region[], machine: number, mode: number): Region | undefined {
    const { cpu } = this.#known;
    let best: Region | undefined;
    for (const region of near) {
      if (region.mode !== mode || region.generation >= MAX_GENERATIONS || region.replaced) continue;
      const place = region.placeOf(machine);
      if (place === undefined || (!place.inside && region.graph.instructions >= LIMITS.instructions)) continue;
      if (!best || timesEntered(cpu, region) > timesEntered(cpu, best)) best = region;
    }
    return best;
  }

  /** A region for the block at `machine`, which stands at `eip`. */
  make(machine: number, eip: number, mode: number): Region | undefined {
    const roots = { head: eip & (PAGE - 1), others: [] };
    const taken = (at: number): boolean => this.#taken(at, mode, undefined);
    const graph = this.#discover(machine & -PAGE, eip & -PAGE, mode, roots, FIRST_LIMITS, taken, undefined);
    return graph && new Region(mode, graph, [], eip & -PAGE);
  }

  /**
   * The region anew, with what is known now and the block at `machine`, which stands at `eip`; to `merge` is to take what
   * other regions have, too.
   */
  grow(old: Region, machine: number, eip: number, merge = false): Region | undefined {
    const place = old.placeOf(machine)!;
    const origin = (eip - place.offset) | 0;
    const page = old.graph.pages.find(({ distance }) => distance === 0)?.machine;
    const table = executeTable(old.mode);
    // The region may stand elsewhere in this address space, or not be mapped as a whole.
    if (page === undefined || (this.#known.cpu.i32[table + (origin >>> 12)]! ^ origin) !== page)
      return this.make(machine, eip, old.mode);
    const direct = old.graph.exits.has(machine);
    const extra = direct ? old.extra : [...old.extra, place.offset];
    const others = [...new Set([...old.extra, place.offset])];
    const taken = merge ? () => false : (at: number): boolean => this.#taken(at, old.mode, old);
    const graph = this.#discover(page, origin, old.mode, { head: old.head, others }, LIMITS, taken, old);
    if (!graph) return undefined;
    old.replaced = true;
    const region = new Region(old.mode, graph, extra, origin);
    region.replaces = old;
    region.generation = old.generation + 1;
    return region;
  }

  /** Of the running mode's regions the one that was entered most since the last look, anew, if that was more than `least` times. */
  mergeBusiest(installed: readonly Region[], least: number): Region | undefined {
    const { cpu } = this.#known;
    let busiest: Region | undefined;
    let most = least;
    for (const region of installed) {
      const entered = timesEntered(cpu, region);
      const since = (entered - region.counted) >>> 0;
      region.counted = entered;
      if (since <= most || region.replaced || region.merged || region.mode !== cpu.get("modeKey")) continue;
      most = since;
      busiest = region;
    }
    if (!busiest) return undefined;
    busiest.merged = true;
    const { machine } = busiest.entries[0]!;
    const region = this.grow(busiest, machine, (busiest.origin + busiest.head) | 0, true);
    if (region) region.merged = true;
    return region;
  }

  /** Whether the block at `machine` is an entry of a region other than `own`, or part of one being made. */
  #taken(machine: number, mode: number, own: Region | undefined): boolean {
    const { index } = this.#known;
    const entered = this.#known.entryAt(machine, mode);
    if (entered) return entered !== own;
    for (const region of index.onPage(machine)) {
      if (region.slot === 0 && region !== own && region.mode === mode && region.has(machine)) return true;
    }
    return false;
  }

  /** Find the code of a region whose origin is the machine page `page`, mapped at `origin`. */
  #discover(
    page: number,
    origin: number,
    mode: number,
    roots: GraphRoots,
    limits: GraphLimits,
    taken: (machine: number) => boolean,
    own: Region | undefined,
  ): RegionGraph | undefined {
    const { cpu, has, threshold, immediate } = this.#known;
    const table = executeTable(mode);
    const enough = -threshold + Math.max(1, threshold >> WORTH_SHIFT);
    const isElsewhere =
      (machine: number) =>
      (region: Region): boolean =>
        region !== own && region.mode === mode && region.has(machine);
    const isHot = (count: number): boolean => count > 0 || count >= enough || count < -threshold;
    return discover(
      {
        bytes: cpu.u8,
        bits: 32,
        has,
        page: (distance) => {
          if (distance === 0) return page;
          if (Math.abs(distance) > REACH) return -1;
          const linear = (origin + distance * PAGE) | 0;
          const host = cpu.i32[table + (linear >>> 12)]! ^ linear;
          return host < 0 ? -1 : host & -PAGE;
        },
        worthwhile: (at) => {
          const slot = hashRecord(cpu.i32, at, mode);
          if (slot < 0) return immediate ? 1 : 0;
          const found = cpu.i32[slot + 2]!;
          return isHot(cpu.i32[(found + BLOCK.code) >> 2]!) ? cpu.i32[(found + BLOCK.bytes) >> 2]! : 0;
        },
        taken,
        blocksOn: (on) =>
          this.#known
            .blocksOn(on)
            .filter(
              (block) => cpu.i32[(block + BLOCK.mode) >> 2] === mode && isHot(cpu.i32[(block + BLOCK.code) >> 2]!),
            )
            .map((block) => cpu.i32[(block + BLOCK.machine) >> 2]!)
            // What is part of another region is reached there, by direct jumps: no target of this one's.
            .filter((machine) => (machine & -PAGE) === on && !this.#known.index.onPage(on).some(isElsewhere(machine))),
      },
      roots,
      limits,
    );
  }
}

/** Index of the execute table of a mode's privilege. */
function executeTable(mode: number): number {
  return (SHADOW.readSupervisor + (mode & MODE.user ? USER_TABLES : 0) + EXECUTE_TABLE) >> 2;
}
