/**
 * From hot blocks to installed code: has regions chosen and their code generated, enters them in the function table and
 * in the blocks where they begin, and drops them when their code is written to or room is needed.
 */
import type { FeatureTest } from "../../isa/opcode-map.ts";
import { type Cpu, MODE, MODE_KEYS } from "../cpu.ts";
import { hashRecord } from "../interpreter/block-hash.ts";
import type { Interpreter } from "../interpreter/generate.ts";
import { BLOCK, CODE_REF, NEVER } from "../interpreter/record.ts";
import {
  CODE_BITS,
  FUNCTION_SLOTS,
  HASH_CODE,
  REGION,
  REGION_PAGE,
  REGION_PAGE_SHIFT,
  RETURN_STACKS,
  RETURNS,
  regionRecordAt,
} from "../memory-map.ts";
import { granules } from "../shadow.ts";
import { PAGE, type RegionInstruction } from "./blocks.ts";
import { Generation, type RegionOrder } from "./generation.ts";
import { GenerationQueue } from "./generation-queue.ts";
import type { RegionGenerator } from "./generator.ts";
import { Links } from "./links.ts";
import { type CompilerProfile, generatedText, guestText, type RegionProfile } from "./profile.ts";
import type { CallOut } from "./region.ts";
import type { RegionEntry } from "./region-plan.ts";
import { type Region, RegionIndex } from "./region-record.ts";
import { RegionSelection, timesEntered } from "./selection.ts";

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
  /** A thread that generates code; without one this thread does. */
  readonly generator?: RegionGenerator | undefined;
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

/** Executions of a block before it is looked at again, after it was found to be part of a region being made. */
const LATER = 1 << 16;
/** Executions until a block is looked at again whose neighbours are being compiled: a part of the threshold. */
const RETRY_SHIFT = 3;
const MIN_RETRY = 16;
/** How often busy regions are looked for, ms, and entries a ms that make one busy: 5 % of the time goes into them. */
const MERGE_MS = 50;
const BUSY_ENTRIES = 1500;

export class Compiler {
  readonly options: CompilerOptions;
  readonly #host: CompilerHost;
  readonly #queue: GenerationQueue;
  readonly #selection: RegionSelection;
  /** Host ms when busy regions were last looked for. */
  #merged = performance.now();
  /** Regions, waiting and installed. */
  readonly #index = new RegionIndex();
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
  readonly #counts = { regions: 0, dropped: 0, evicted: 0 };

  constructor(host: CompilerHost, options: CompilerOptions) {
    const { cpu, has } = host;
    this.#host = host;
    this.options = options;
    this.#nextSlot = host.interpreter.firstRegion;
    this.#links = new Links(cpu.i32);
    this.#queue = new GenerationQueue({
      memory: cpu.u8,
      has,
      generator: options.generator,
      order: (region) => this.#order(region),
      install: (module, regions) => this.#install(module, regions),
    });
    this.#selection = new RegionSelection({
      cpu,
      has,
      index: this.#index,
      threshold: options.threshold,
      immediate: options.immediate,
      blocksOn: (page) => host.blocksOn(page),
      entryAt: (machine, mode) => this.#entries.get(entryKey(machine, mode))?.region,
    });
  }

  /** Regions installed and dropped so far, and what {@link GenerationQueue.statistics} counts. */
  get statistics(): Omit<CompilerProfile, "entries" | "executed" | "kept" | "installed"> {
    return { ...this.#counts, ...this.#queue.statistics };
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
    const near = this.#index.near(machine);
    if (near.some((region) => region.slot === 0 && region.mode === mode && region.has(machine))) return;
    const grown = this.#selection.growing(near, machine, mode);
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
    const region = grown ? this.#selection.grow(grown, machine, eip) : this.#selection.make(machine, eip, mode);
    if (!region) {
      cpu.i32[code] = NEVER;
      return;
    }
    if (grown?.slot === 0) {
      this.#queue.remove(grown);
      region.replaces = grown.replaces;
      region.generation = grown.generation;
      this.#forget(grown);
    }
    this.#protect(region);
    this.#queue.push(region);
    if (this.options.immediate) this.#queue.flush();
  }

  // ---- compiling ------------------------------------------------------------------------------------------------

  /** Have compiled what waits; results arrive when the event loop turns. */
  poll(): void {
    const now = performance.now();
    if (now - this.#merged > MERGE_MS && !this.options.immediate) {
      const region = this.#selection.mergeBusiest(this.#installed, (now - this.#merged) * BUSY_ENTRIES);
      this.#merged = now;
      if (region) {
        this.#protect(region);
        this.#queue.push(region);
      }
    }
    this.#queue.poll();
  }

  #order(region: Region): RegionOrder {
    const { mode, graph, extra } = region;
    region.links ??= [...graph.exits.keys()]
      .map((machine) => entryKey(machine, mode))
      .filter((key) => this.#links.claim(key, this.#entries.get(key)?.code ?? 0));
    return {
      mode,
      graph,
      extra,
      profile: this.options.profile,
      linkTo: (machine) => this.#links.addressOf(entryKey(machine, mode)),
      callOut: (instruction, count) => this.#callOut(instruction, count, mode),
    };
  }

  #callOut(instruction: RegionInstruction, count: number, mode: number): CallOut {
    const words = this.#host.describe(instruction, count, mode);
    const handler = words[0]! & 0xffff;
    return { words, arm: handler === 0 ? -1 : handler - this.#host.interpreter.tableBase };
  }

  // ---- installing -----------------------------------------------------------------------------------------------

  #install(module: WebAssembly.Module, regions: readonly Region[]): void {
    const { imports, table } = this.#host;
    const instance = new WebAssembly.Instance(module, { env: imports });
    for (const [i, region] of regions.entries()) {
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
      this.#counts.regions++;
      const { replaces } = region;
      if (replaces && !replaces.dead) this.#forget(replaces);
      for (const [index, entry] of region.entries.entries()) this.#enter(region, entry, index);
      this.#makeRoom();
    }
  }

  #writeRecord({ slot, graph }: Region): void {
    const { i32 } = this.#host.cpu;
    const record = regionRecordAt(slot);
    i32.fill(0, record >> 2, regionRecordAt(slot + 1) >> 2);
    i32[(record + REGION.pageCount) >> 2] = graph.pages.length;
    for (const [i, { distance, machine }] of graph.pages.entries()) {
      const page = record + REGION.pages + (i << REGION_PAGE_SHIFT);
      i32[(page + REGION_PAGE.distance) >> 2] = distance * PAGE;
      i32[(page + REGION_PAGE.machine) >> 2] = machine;
    }
    // Its mapping is verified at the first entry: no epoch is this one.
    i32[(record + REGION.epoch) >> 2] = -1;
  }

  /** Drop regions one by one until the code fits its budget: those that were not entered since they were last looked at. */
  #makeRoom(): void {
    const { cpu } = this.#host;
    for (let looks = 2 * this.#installed.length; looks > 0 && this.#bytes > this.options.codeBytes; looks--) {
      const region = this.#installed.shift()!;
      this.#installed.push(region);
      const entered = timesEntered(cpu, region);
      if (entered === region.entered) {
        this.#forget(region);
        this.#counts.evicted++;
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
    const installed = this.#index.onPage(machine).filter((region) => region.mode === mode && region.slot !== 0);
    return installed.filter((region) => region.covers(machine, machine + 1)).map((region) => this.#profile(region));
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
    return Number(this.#host.cpu.view.getBigUint64(regionRecordAt(slot) + REGION.instructions, true));
  }

  #profile(region: Region): RegionProfile {
    const { graph, mode } = region;
    return {
      machine: graph.blocks.get(region.head)!.machine,
      mode,
      entries: timesEntered(this.#host.cpu, region),
      executed: this.#executed(region.slot),
      instructions: graph.instructions,
      bytes: region.bytes,
      guest: () => guestText(graph, this.#host.cpu.u8),
      generated: () => {
        const generation = new Generation();
        generation.add(this.#order(region));
        return generatedText(generation.finish());
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
    this.#index.add(region);
  }

  /** Whether any byte of [start, end), within one page, belongs to a region. */
  covers(start: number, end: number): boolean {
    return this.#index.covers(start, end);
  }

  /** Granules of a machine page that regions cover. */
  granulesOf(page: number): number {
    return this.#index.granulesOf(page);
  }

  /** Bytes within one page were written: drop the regions made from them. */
  invalidate(start: number, end: number): void {
    for (const region of [...this.#index.onPage(start)]) {
      if (!region.covers(start, end)) continue;
      const { machine } = region.graph.blocks.values().next().value!;
      this.#rewritten.set(machine, (this.#rewritten.get(machine) ?? 0) + 1);
      this.#forget(region);
      this.#counts.dropped++;
    }
  }

  /** The decoded blocks are gone, and with them what they held; regions stay. */
  blocksFlushed(): void {
    for (const region of this.#installed) region.holders.length = 0;
    for (const region of this.#index.all()) for (const { start, end } of region.ranges) this.#mark(start, end);
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
    for (const region of this.#index.all()) if (!region.dead) this.#forget(region);
    this.#rewritten.clear();
    this.#queue.clear();
  }

  /** Take a region out of everything. */
  #forget(region: Region): void {
    const { cpu, table } = this.#host;
    region.dead = true;
    this.#index.remove(region);
    for (const key of region.links ?? []) this.#links.release(key);
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
    this.#gone += timesEntered(this.#host.cpu, region);
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

function entryKey(machine: number, mode: number): number {
  return machine * MODE_KEYS + mode;
}
