/** Generates the code of regions, several to a module: from graphs to bytes, and nothing else. Runs on any thread. */
import { MODE } from "../cpu.ts";
import type { RegionInstruction } from "./blocks.ts";
import type { RegionGraph } from "./graph.ts";
import { type CallOut, compileRegion, type RegionTarget } from "./region.ts";
import { RegionModule } from "./region-module.ts";
import type { RegionEntry } from "./region-plan.ts";

/** All that decides what code a region gets. */
export interface RegionOrder {
  readonly mode: number;
  readonly graph: RegionGraph;
  /** Offsets of blocks that are entries besides those that the graph says. */
  readonly extra: readonly number[];
  /** Count the instructions executed. */
  readonly profile: boolean;
  /** See {@link RegionTarget.linkTo}; asked for exits of the graph only. */
  linkTo(machine: number): number;
  /** See {@link RegionTarget.callOut}. */
  callOut(instruction: RegionInstruction, count: number): CallOut;
}

/** What is told of a region's code besides the code itself. */
export interface GeneratedRegion {
  readonly entries: readonly RegionEntry[];
  /** Bytes of WebAssembly. */
  readonly bytes: number;
}

/** A module in the making. */
export class Generation {
  readonly #module = new RegionModule();
  readonly regions: GeneratedRegion[] = [];

  /** Add one more region, which the module exports as {@link exportName} of its position in `regions`. */
  add(order: RegionOrder): GeneratedRegion {
    const { entries, bytes } = compileRegion(this.#module, order.graph, targetOf(order));
    const region = { entries, bytes };
    this.regions.push(region);
    return region;
  }

  /** The module. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#module.finish();
  }
}

function targetOf({ mode, graph, extra, profile, linkTo, callOut }: RegionOrder): RegionTarget {
  return {
    mode,
    user: (mode & MODE.user) !== 0,
    isEntry: ({ offset }) => graph.targets.has(offset) || extra.includes(offset),
    linkTo,
    callOut,
    profile,
  };
}
