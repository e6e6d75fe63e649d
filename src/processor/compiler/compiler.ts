/**
 * From hot blocks to installed code: finds regions, has them compiled in batches off the vCPU's thread, enters them in
 * the function table and in the blocks where they begin, and drops them when their code is written to or room is needed.
 */
import type { FeatureTest } from "../../isa/opcode-map.ts";
import { type Cpu, MODE } from "../cpu.ts";
import { hashRecord } from "../interpreter/block-hash.ts";
import type { Interpreter } from "../interpreter/generate.ts";
import { BLOCK, CODE_REF, NEVER } from "../interpreter/record.ts";
import {
  CODE_BITS,
  EXECUTE_TABLE,
  FUNCTION_SLOTS,
  HASH_CODE,
  REGION,
  REGION_PAGE,
  REGION_PAGE_SHIFT,
  REGION_SHIFT,
  REGIONS,
  RETURN_STACKS,
  RETURNS,
  SHADOW,
  USER_TABLES,
} from "../memory-map.ts";
import { granules } from "../shadow.ts";
import { discover, type GraphLimits, type GraphRoots, type RegionGraph, type RegionInstruction } from "./graph.ts";
import { Links } from "./links.ts";
import { type CompilerProfile, generatedText, guestText, type RegionProfile } from "./profile.ts";
import { type CallOut, compileRegion, type RegionTarget } from "./region.ts";
import { RegionModule } from "./region-module.ts";
import type { RegionEntry } from "./region-plan.ts";

/** When and how much to compile. */
export interface CompilerOptions {
  /** Executions of a block before its region is compiled; 0: never. */
  readonly threshold: number;
  /** Compile at once, on this thread: for tests. */
  readonly immediate: boolean;
  /** Bytes of WebAssembly kept. */
  readonly codeBytes: number;
  /** Times a region may be dropped because its code was written to, before it is left to the interpreter. */
  readonly recompiles: number;
  /** Count the instructions executed in each region, at some cost. */
  readonly profile: boolean;
}

export const DEFAULT_COMPILER: CompilerOptions = {
  threshold: 3000,
  immediate: false,
  codeBytes: 24 << 20,
  recompiles: 6,
  profile: false,
};

/** What the compiler needs of the rest of the processor. */
export interface CompilerHost {
  readonly cpu: Cpu;
  readonly interpreter: Interpreter;
  readonly has: FeatureTest;
  /** Imports of region modules: the memory, the interpreter's exports, the helpers. */
  readonly imports: WebAssembly.ModuleImports;
  readonly table: WebAssembly.Table;
  describe(instruction: RegionInstruction, count: number, mode: number): readonly number[];
  /** Addresses of the decoded blocks on a machine page. */
  blocksOn(page: number): readonly number[];
}

const PAGE = 4096;
/** Values that a mode key can have. */
const MODE_KEYS = 16;
/** How much code a region takes at first, and one that is made anew because it should have more. */
const FIRST_LIMITS = { instructions: 240, pages: 4 } as const;
const LIMITS = { instructions: 600, pages: CODE_REF.pages } as const;
/** Regions in one module. */
const BATCH = 32;
/** Executions of a block before it is looked at again, after it was found to be part of a region being made. */
const LATER = 1 << 16;
/** A page further away than this is no part of a region. */
const REACH = 512;
/** A block is worth its code when it was executed the threshold's 2^-n part. */
const WORTH_SHIFT = 4;
/** How often a region is made anew because it should have more code. */
const MAX_GENERATIONS = 10;
/** Executions until a block is looked at again whose neighbours are being compiled: a part of the threshold. */
const RETRY_SHIFT = 3;
const MIN_RETRY = 16;
/** How often busy regions are looked for, ms, and entries a ms that make one busy: 5 % of the time goes into them. */
const MERGE_MS = 50;
const BUSY_ENTRIES = 1500;
/** Host ms that one turn of the generator takes, about. */
const TURN_MS = 4;

/** A range of machine bytes. */
interface Range {
  readonly start: number;
  readonly end: number;
}

class Region {
  readonly mode: number;
  readonly graph: RegionGraph;
  readonly ranges: readonly Range[];
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
  /** Keys of the links that it jumps through. */
  links: readonly number[] = [];
  /** Another one is going to take its place. */
  replaced = false;

  constructor(mode: number, graph: RegionGraph, extra: readonly number[], origin: number) {
    this.mode = mode;
    this.origin = origin;
    this.graph = graph;
    this.extra = extra;
    this.head = graph.blocks.keys().next().value!;
    this.ranges = [...graph.blocks.values()].map(({ machine, instructions }) => {
      const last = instructions.at(-1)!;
      return { start: machine, end: last.machine + last.length };
    });
  }

  /** Offset of code that it has, or that it jumps to. */
  placeOf(machine: number): { offset: number; inside: boolean } | undefined {
    const exit = this.graph.exits.get(machine);
    if (exit !== undefined) return { offset: exit, inside: false };
    const inside = this.covers(machine, machine + 1);
    // Where computed jumps on the same page lead to, nobody knows before.
    if (!inside && !this.graph.computed) return undefined;
    const page = this.graph.pages.find((p) => p.machine === (machine & -PAGE));
    return page && { offset: page.distance * PAGE + (machine & (PAGE - 1)), inside };
  }

  covers(start: number, end: number): boolean {
    return this.ranges.some((range) => range.start < end && start < range.end);
  }
}

/** Regions whose functions share a module. */
interface Batch {
  readonly regions: Region[];
}

export class Compiler {
  readonly options: CompilerOptions;
  readonly #host: CompilerHost;
  readonly #queue: Region[] = [];
  #compiling = false;
  /** Host ms when busy regions were last looked for. */
  #merged = performance.now();
  /** Regions, waiting and installed, by machine page. */
  readonly #pages = new Map<number, Region[]>();
  /** Regions with a direct jump to a machine address outside of them. */
  readonly #leading = new Map<number, Region[]>();
  /** Installed entries by machine address and mode. */
  readonly #entries = new Map<number, { readonly region: Region; readonly code: number }>();
  /** Machine addresses whose regions were written to, and how often. */
  readonly #rewritten = new Map<number, number>();
  readonly #links: Links;
  readonly #installed: Region[] = [];
  readonly #freeSlots: number[] = [];
  #nextSlot: number;
  #bytes = 0;
  /** Times that regions were entered which are not there any more. */
  #gone = 0;
  readonly statistics = { regions: 0, modules: 0, bytes: 0, instructions: 0, dropped: 0, evicted: 0, milliseconds: 0 };

  constructor(host: CompilerHost, options: CompilerOptions) {
    this.#host = host;
    this.options = options;
    this.#nextSlot = host.interpreter.firstRegion;
    this.#links = new Links(host.cpu.i32);
  }

  /** What a new block's BLOCK.code starts with: compiled code that begins there, or executions until it is hot. */
  codeFor(block: number, machine: number, mode: number): number {
    const entry = this.#entries.get(entryKey(machine, mode));
    if (entry) {
      entry.region.holders.push(block);
      return entry.code;
    }
    if (this.options.threshold === 0 || !(mode & MODE.flat)) return NEVER;
    const times = this.#rewritten.get(machine) ?? 0;
    if (this.options.immediate) return -this.options.threshold;
    return times >= this.options.recompiles ? NEVER : -(this.options.threshold << times);
  }

  /** `block`, which stands at `eip`, has been executed often enough: make a region of it, or let one grow to it. */
  hot(block: number, eip: number): void {
    const { cpu } = this.#host;
    const mode = cpu.get("modeKey");
    const machine = cpu.i32[(block + BLOCK.machine) >> 2]!;
    const code = (block + BLOCK.code) >> 2;
    if (!(mode & MODE.flat)) {
      cpu.i32[code] = NEVER;
      return;
    }
    cpu.i32[code] = -LATER;
    const near = [...(this.#pages.get(machine >>> 12) ?? []), ...(this.#leading.get(machine) ?? [])];
    if (near.some((region) => region.slot === 0 && region.mode === mode && region.covers(machine, machine + 1))) return;
    const grown = this.#growing(near, machine, mode);
    if (grown?.slot === 0 && !this.#queue.includes(grown)) {
      // It is being compiled: come back when it is there.
      cpu.i32[code] = -Math.max(MIN_RETRY, this.options.threshold >> RETRY_SHIFT);
      return;
    }
    // What runs on behind the place where a region was just installed is not entered there again.
    if (grown?.placeOf(machine)?.inside && !grown.met.has(machine) && !this.options.immediate) {
      grown.met.add(machine);
      cpu.i32[code] = -this.options.threshold;
      return;
    }
    const region = grown ? this.#grow(grown, machine, eip) : this.#make(machine, eip, mode);
    if (!region) {
      cpu.i32[code] = NEVER;
      return;
    }
    if (grown?.slot === 0) {
      this.#queue.splice(this.#queue.indexOf(grown), 1);
      region.replaces = grown.replaces;
      region.generation = grown.generation;
      this.#forget(grown);
    }
    this.#protect(region);
    this.#queue.push(region);
    if (this.options.immediate) this.#compileNow();
  }

  /** An installed region that should have the block at `machine`: it has its code, or jumps to it. */
  #growing(near: readonly Region[], machine: number, mode: number): Region | undefined {
    let best: Region | undefined;
    for (const region of near) {
      if (region.mode !== mode || region.generation >= MAX_GENERATIONS || region.replaced) continue;
      const place = region.placeOf(machine);
      if (place === undefined || (!place.inside && region.graph.instructions >= LIMITS.instructions)) continue;
      if (!best || this.#entered(region) > this.#entered(best)) best = region;
    }
    return best;
  }

  #entered(region: Region): number {
    return this.#host.cpu.i32[(recordOf(region.slot) + REGION.entries) >> 2]! >>> 0;
  }

  #make(machine: number, eip: number, mode: number): Region | undefined {
    const roots = { head: eip & (PAGE - 1), others: [] };
    const taken = (at: number): boolean => this.#taken(at, mode, undefined);
    const graph = this.#discover(machine & -PAGE, eip & -PAGE, mode, roots, FIRST_LIMITS, taken);
    return graph && new Region(mode, graph, [], eip & -PAGE);
  }

  /** Whether the block at `machine` is an entry of a region other than `own`, or part of one being made. */
  #taken(machine: number, mode: number, own: Region | undefined): boolean {
    const entry = this.#entries.get(entryKey(machine, mode));
    if (entry) return entry.region !== own;
    const near = this.#pages.get(machine >>> 12);
    if (!near) return false;
    for (const region of near) {
      if (region.slot === 0 && region !== own && region.mode === mode && region.covers(machine, machine + 1))
        return true;
    }
    return false;
  }

  /** The region anew, with what is known now and the block at `machine`, which stands at `eip`. */
  #grow(old: Region, machine: number, eip: number, merge = false): Region | undefined {
    const place = old.placeOf(machine)!;
    const origin = (eip - place.offset) | 0;
    const page = old.graph.pages.find(({ distance }) => distance === 0)?.machine;
    const table = this.#executeTable(old.mode);
    // The region may stand elsewhere in this address space, or not be mapped as a whole.
    if (page === undefined || (this.#host.cpu.i32[table + (origin >>> 12)]! ^ origin) !== page)
      return this.#make(machine, eip, old.mode);
    const direct = old.graph.exits.has(machine);
    const extra = direct ? old.extra : [...old.extra, place.offset];
    const others = [...new Set([...old.extra, place.offset])];
    const taken = merge ? () => false : (at: number): boolean => this.#taken(at, old.mode, old);
    const graph = this.#discover(page, origin, old.mode, { head: old.head, others }, LIMITS, taken);
    if (!graph) return undefined;
    old.replaced = true;
    const region = new Region(old.mode, graph, extra, origin);
    region.replaces = old;
    region.generation = old.generation + 1;
    return region;
  }

  #executeTable(mode: number): number {
    return (SHADOW.readSupervisor + (mode & MODE.user ? USER_TABLES : 0) + EXECUTE_TABLE) >> 2;
  }

  /** Find the code of a region whose origin is the machine page `page`, mapped at `origin`. */
  #discover(
    page: number,
    origin: number,
    mode: number,
    roots: GraphRoots,
    limits: GraphLimits,
    taken: (machine: number) => boolean,
  ): RegionGraph | undefined {
    const { cpu, has } = this.#host;
    const table = this.#executeTable(mode);
    const { threshold } = this.options;
    const enough = -threshold + Math.max(1, threshold >> WORTH_SHIFT);
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
          if (slot < 0) return this.options.immediate ? 1 : 0;
          const found = cpu.i32[slot + 2]!;
          return isHot(cpu.i32[(found + BLOCK.code) >> 2]!) ? cpu.i32[(found + BLOCK.bytes) >> 2]! : 0;
        },
        taken,
        blocksOn: (on) =>
          this.#host
            .blocksOn(on)
            .filter(
              (block) => cpu.i32[(block + BLOCK.mode) >> 2] === mode && isHot(cpu.i32[(block + BLOCK.code) >> 2]!),
            )
            .map((block) => cpu.i32[(block + BLOCK.machine) >> 2]!)
            .filter((machine) => (machine & -PAGE) === on),
      },
      roots,
      limits,
    );
  }

  // ---- compiling ------------------------------------------------------------------------------------------------

  /** Let regions that are entered more than `least` times since the last look take in what others have of their loops. */
  #mergeBusy(least: number): void {
    const { cpu } = this.#host;
    let busiest: Region | undefined;
    let most = least;
    for (const region of this.#installed) {
      const entered = this.#entered(region);
      const since = (entered - region.counted) >>> 0;
      region.counted = entered;
      if (since <= most || region.replaced || region.merged || region.mode !== cpu.get("modeKey")) continue;
      most = since;
      busiest = region;
    }
    if (!busiest) return;
    busiest.merged = true;
    const { machine } = busiest.entries[0]!;
    const region = this.#grow(busiest, machine, (busiest.origin + busiest.head) | 0, true);
    if (!region) return;
    region.merged = true;
    this.#protect(region);
    this.#queue.push(region);
  }

  /** Compile what waits, if nothing is being compiled; results arrive when the event loop turns. */
  poll(): void {
    const now = performance.now();
    if (now - this.#merged > MERGE_MS && !this.options.immediate) {
      this.#mergeBusy((now - this.#merged) * BUSY_ENTRIES);
      this.#merged = now;
    }
    if (this.#compiling || this.#queue.length === 0) return;
    const made = this.#generate();
    if (!made) return;
    this.#compiling = true;
    WebAssembly.compile(made.bytes).then(
      (module) => {
        this.#compiling = false;
        this.#install(module, made.batch);
      },
      (error: unknown) => {
        throw error;
      },
    );
  }

  #compileNow(): void {
    for (let made = this.#generate(); made; made = this.#generate())
      this.#install(new WebAssembly.Module(made.bytes), made.batch);
  }

  #generate(): { bytes: Uint8Array<ArrayBuffer>; batch: Batch } | undefined {
    const start = performance.now();
    const module = new RegionModule();
    const regions: Region[] = [];
    const deadline = this.options.immediate ? Number.POSITIVE_INFINITY : start + TURN_MS;
    while (regions.length < BATCH && this.#queue.length > 0 && performance.now() < deadline) {
      const region = this.#queue.shift()!;
      if (region.dead) continue;
      this.#claimLinks(region);
      const { entries, bytes } = compileRegion(module, region.graph, this.#target(region));
      region.entries = entries;
      region.bytes = bytes;
      regions.push(region);
      this.statistics.instructions += region.graph.instructions;
    }
    if (regions.length === 0) return undefined;
    const bytes = module.finish();
    this.statistics.modules++;
    this.statistics.bytes += bytes.length;
    this.statistics.milliseconds += performance.now() - start;
    return { bytes, batch: { regions } };
  }

  #claimLinks(region: Region): void {
    const keys = [...region.graph.exits.keys()].map((machine) => entryKey(machine, region.mode));
    region.links = keys.filter((key) => this.#links.claim(key, this.#entries.get(key)?.code ?? 0));
  }

  #target(region: Region): RegionTarget {
    return {
      mode: region.mode,
      user: (region.mode & MODE.user) !== 0,
      isEntry: ({ offset }) => region.graph.targets.has(offset) || region.extra.includes(offset),
      linkTo: (machine) => this.#links.addressOf(entryKey(machine, region.mode)),
      callOut: (instruction, count) => this.#callOut(instruction, count, region.mode),
      profile: this.options.profile,
    };
  }

  #callOut(instruction: RegionInstruction, count: number, mode: number): CallOut {
    const words = this.#host.describe(instruction, count, mode);
    const handler = words[0]! & 0xffff;
    return { words, arm: handler === 0 ? -1 : handler - this.#host.interpreter.tableBase };
  }

  // ---- installing -----------------------------------------------------------------------------------------------

  #install(module: WebAssembly.Module, batch: Batch): void {
    const { imports, table } = this.#host;
    const instance = new WebAssembly.Instance(module, { env: imports });
    for (const [i, region] of batch.regions.entries()) {
      if (region.dead) continue;
      const slot = this.#takeSlot();
      if (slot < 0) {
        this.#forget(region);
        continue;
      }
      table.set(slot, instance.exports[`region${i}`] as WebAssembly.ExportValue);
      region.slot = slot;
      this.#writeRecord(region);
      this.#installed.push(region);
      this.#bytes += region.bytes;
      this.statistics.regions++;
      const { replaces } = region;
      if (replaces && !replaces.dead) this.#forget(replaces);
      for (const [index, entry] of region.entries.entries()) this.#enter(region, entry, index);
      this.#makeRoom();
    }
  }

  #writeRecord({ slot, graph }: Region): void {
    const { i32, view } = this.#host.cpu;
    const record = recordOf(slot);
    i32.fill(0, record >> 2, recordOf(slot + 1) >> 2);
    i32[(record + REGION.pageCount) >> 2] = graph.pages.length;
    for (const [i, { distance, machine }] of graph.pages.entries()) {
      const page = record + REGION.pages + (i << REGION_PAGE_SHIFT);
      i32[(page + REGION_PAGE.distance) >> 2] = distance * PAGE;
      i32[(page + REGION_PAGE.machine) >> 2] = machine;
    }
    // No epoch is this one: verified at the first entry.
    view.setInt32(record + REGION.epoch, -1, true);
  }

  /** Drop regions one by one until the code fits its budget: those that were not entered since they were last looked at. */
  #makeRoom(): void {
    for (let looks = 2 * this.#installed.length; looks > 0 && this.#bytes > this.options.codeBytes; looks--) {
      const region = this.#installed.shift()!;
      this.#installed.push(region);
      const entered = this.#entered(region);
      if (entered === region.entered) {
        this.#forget(region);
        this.statistics.evicted++;
      } else region.entered = entered;
    }
  }

  #takeSlot(): number {
    const free = this.#freeSlots.pop();
    if (free !== undefined) return free;
    return this.#nextSlot < FUNCTION_SLOTS ? this.#nextSlot++ : -1;
  }

  #enter(region: Region, entry: RegionEntry, index: number): void {
    const { cpu } = this.#host;
    const key = entryKey(entry.machine, region.mode);
    const known = this.#entries.get(key);
    // What a region was made for is its own; elsewhere the larger one has more of what comes next.
    if (known && index > 0 && known.region.graph.instructions > region.graph.instructions) return;
    const code = (region.slot << CODE_REF.slotShift) | (entry.page << CODE_REF.pageShift) | index;
    this.#entries.set(key, { region, code });
    this.#links.set(key, code);
    const slot = hashRecord(cpu.i32, entry.machine, region.mode);
    if (slot < 0) return;
    const block = cpu.i32[slot + 2]!;
    cpu.i32[(block + BLOCK.code) >> 2] = code;
    cpu.i32[slot + (HASH_CODE >> 2)] = code;
    region.holders.push(block);
  }

  // ---- telling ---------------------------------------------------------------------------------------------------

  /** Installed regions that have the code at a machine offset, for people. */
  regionsWith(machine: number, mode: number): RegionProfile[] {
    const installed = this.#pages.get(machine >>> 12)?.filter((region) => region.mode === mode && region.slot !== 0);
    return (
      installed?.filter((region) => region.covers(machine, machine + 1)).map((region) => this.#profile(region)) ?? []
    );
  }

  /** What was compiled and how much of it ran. Instructions are counted with {@link CompilerOptions.profile} only. */
  profile(): CompilerProfile {
    const regions = this.#installed.map((region) => this.#profile(region));
    const entries = regions.reduce((sum, region) => sum + region.entries, this.#gone);
    return { ...this.statistics, entries, executed: this.executed, kept: this.#bytes, installed: regions };
  }

  /** Instructions executed in regions: with {@link CompilerOptions.profile} only. */
  get executed(): number {
    return this.#executed(0);
  }

  #executed(slot: number): number {
    return Number(this.#host.cpu.view.getBigUint64(recordOf(slot) + REGION.instructions, true));
  }

  #profile(region: Region): RegionProfile {
    const { graph, mode } = region;
    return {
      machine: graph.blocks.get(region.head)!.machine,
      mode,
      entries: this.#entered(region),
      executed: this.#executed(region.slot),
      instructions: graph.instructions,
      bytes: region.bytes,
      guest: () => guestText(graph, this.#host.cpu.u8),
      generated: () => {
        const module = new RegionModule();
        compileRegion(module, graph, this.#target(region));
        return generatedText(module.finish());
      },
    };
  }

  // ---- dropping -------------------------------------------------------------------------------------------------

  /** Mark the granules that a region's code lies in, so that writes to them are seen. */
  #protect(region: Region): void {
    const { cpu } = this.#host;
    for (const { start, end } of region.ranges) {
      const word = (CODE_BITS >> 2) + (start >>> 12);
      if (cpu.i32[word] === 0) cpu.protectCode(start);
      cpu.i32[word]! |= granules(start, end - start);
    }
    for (const { machine } of region.graph.pages) addTo(this.#pages, machine >>> 12, region);
    for (const machine of region.graph.exits.keys()) addTo(this.#leading, machine, region);
  }

  /** Whether any byte of [start, end), within one page, belongs to a region. */
  covers(start: number, end: number): boolean {
    return this.#pages.get(start >>> 12)?.some((region) => region.covers(start, end)) === true;
  }

  /** Granules of a machine page that regions cover. */
  granulesOf(page: number): number {
    let mask = 0;
    for (const region of this.#pages.get(page) ?? []) {
      for (const { start, end } of region.ranges) if (start >>> 12 === page) mask |= granules(start, end - start);
    }
    return mask;
  }

  /** Bytes within one page were written: drop the regions made from them. */
  invalidate(start: number, end: number): void {
    const list = this.#pages.get(start >>> 12);
    if (!list) return;
    for (const region of [...list]) {
      if (!region.covers(start, end)) continue;
      const { machine } = region.graph.blocks.values().next().value!;
      this.#rewritten.set(machine, (this.#rewritten.get(machine) ?? 0) + 1);
      this.#forget(region);
      this.statistics.dropped++;
    }
  }

  /** The decoded blocks are gone, and with them what they held; regions stay. */
  blocksFlushed(): void {
    for (const region of this.#installed) region.holders.length = 0;
    for (const list of this.#pages.values()) {
      for (const region of list) for (const { start, end } of region.ranges) this.#mark(start, end);
    }
  }

  /** Some of the decoded blocks are gone. */
  blocksEvicted(start: number, end: number): void {
    for (const { holders } of this.#installed) {
      let kept = 0;
      for (const block of holders) if (block < start || block >= end) holders[kept++] = block;
      holders.length = kept;
    }
  }

  #mark(start: number, end: number): void {
    this.#host.cpu.i32[(CODE_BITS >> 2) + (start >>> 12)]! |= granules(start, end - start);
  }

  /** Drop everything: memory was changed behind the engines' back. */
  clear(): void {
    for (const list of [...this.#pages.values()])
      for (const region of [...list]) if (!region.dead) this.#forget(region);
    this.#rewritten.clear();
    this.#queue.length = 0;
  }

  /** Take a region out of everything. */
  #forget(region: Region): void {
    const { cpu, table } = this.#host;
    region.dead = true;
    for (const { machine } of region.graph.pages) removeFrom(this.#pages, machine >>> 12, region);
    for (const machine of region.graph.exits.keys()) removeFrom(this.#leading, machine, region);
    for (const key of region.links) this.#links.release(key);
    if (region.slot === 0) return;
    this.#forgetReturns(region.slot);
    for (const entry of region.entries) {
      const key = entryKey(entry.machine, region.mode);
      if (this.#entries.get(key)?.region !== region) continue;
      this.#entries.delete(key);
      this.#links.set(key, 0);
      const slot = hashRecord(cpu.i32, entry.machine, region.mode);
      if (slot >= 0) cpu.i32[slot + (HASH_CODE >> 2)] = 0;
    }
    for (const block of region.holders) {
      const at = (block + BLOCK.code) >> 2;
      if (cpu.i32[at]! >>> CODE_REF.slotShift === region.slot) {
        cpu.i32[at] = this.codeFor(block, cpu.i32[(block + BLOCK.machine) >> 2]!, region.mode);
      }
    }
    table.set(region.slot, null);
    this.#gone += this.#entered(region);
    this.#freeSlots.push(region.slot);
    this.#installed.splice(this.#installed.indexOf(region), 1);
    this.#bytes -= region.bytes;
    cpu.set("codeEpoch", cpu.get("codeEpoch") + 1);
  }

  /** Nobody returns to a region that is gone. */
  #forgetReturns(slot: number): void {
    const { i32 } = this.#host.cpu;
    for (let ring = RETURN_STACKS; ring < RETURN_STACKS + MODE_KEYS * RETURNS.stride; ring += RETURNS.stride) {
      for (let i = 0; i < RETURNS.entries; i++) {
        const at = (ring + (i << RETURNS.recordShift) + 4) >> 2;
        if (i32[at]! >>> CODE_REF.slotShift === slot) i32[at] = 0;
      }
    }
  }
}

/** Address of the record of a region. */
function recordOf(slot: number): number {
  return REGIONS + (slot << REGION_SHIFT);
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

function entryKey(machine: number, mode: number): number {
  return machine * MODE_KEYS + mode;
}
