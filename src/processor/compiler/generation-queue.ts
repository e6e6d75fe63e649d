/**
 * Regions that wait for their code. A thread of its own generates it where there is one; else this thread does, between
 * stays in the guest and a few ms at a time, and the engine compiles the modules meanwhile.
 */
import type { FeatureTest } from "../../isa/opcode-map.ts";
import { type GeneratedRegion, Generation, type RegionOrder } from "./generation.ts";
import { featureNames, type GenerationResult, packOrder } from "./generation-job.ts";
import type { RegionGenerator } from "./generator.ts";
import type { Region } from "./region-record.ts";

/** What the queue needs of the compiler. */
export interface QueueHost {
  readonly memory: Uint8Array;
  readonly has: FeatureTest;
  readonly generator: RegionGenerator | undefined;
  order(region: Region): RegionOrder;
  /** A module arrived that has these regions' functions, in order. Their entries and sizes are filled in. */
  install(module: WebAssembly.Module, regions: readonly Region[]): void;
}

/** Regions in one module. */
const BATCH = 32;
/** Guest instructions in one job of the thread, and jobs under way. */
const JOB_INSTRUCTIONS = 2400;
const JOBS = 2;
/** Host ms that one turn of the generator takes on this thread, about. */
const TURN_MS = 4;

export class GenerationQueue {
  readonly #host: QueueHost;
  readonly #queue: Region[] = [];
  readonly #features: string;
  /** Jobs that the thread has. */
  #jobs = 0;
  /** The engine compiles a module that was generated here. */
  #compiling = false;
  /** What went wrong when nobody was there to be told. */
  #failure: { readonly error: unknown } | undefined;
  /** What was generated: modules, their bytes, guest instructions; host ms on this thread and on the other. */
  readonly statistics = { modules: 0, bytes: 0, instructions: 0, milliseconds: 0, elsewhere: 0 };

  constructor(host: QueueHost) {
    this.#host = host;
    this.#features = featureNames(host.has);
  }

  push(region: Region): void {
    this.#queue.push(region);
  }

  /** Whether a region waits; those whose code is being generated do not. */
  includes(region: Region): boolean {
    return this.#queue.includes(region);
  }

  remove(region: Region): void {
    this.#queue.splice(this.#queue.indexOf(region), 1);
  }

  clear(): void {
    this.#queue.length = 0;
  }

  /**
   * Generate what waits, or have it generated; results arrive when the event loop turns. Throws what went wrong when
   * they arrived.
   */
  poll(): void {
    if (this.#failure) throw this.#failure.error;
    if (this.#queue.length === 0) return;
    const { generator } = this.#host;
    if (generator?.available()) {
      this.#feed(generator);
      return;
    }
    if (this.#compiling) return;
    const made = this.#generate(performance.now() + TURN_MS);
    if (!made) return;
    this.#compiling = true;
    this.#compile(made.bytes, made.regions, () => {
      this.#compiling = false;
    });
  }

  /** Generate and install all that waits, at once. */
  flush(): void {
    for (let made = this.#generate(Number.POSITIVE_INFINITY); made; made = this.#generate(Number.POSITIVE_INFINITY))
      this.#host.install(new WebAssembly.Module(made.bytes), made.regions);
  }

  /** Take what fits `limit` guest instructions, at least one region. */
  #take(limit: number): Region[] {
    const regions: Region[] = [];
    let instructions = 0;
    while (regions.length < BATCH && this.#queue.length > 0) {
      const region = this.#queue[0]!;
      if (!region.dead) {
        instructions += region.graph.instructions;
        if (regions.length > 0 && instructions > limit) break;
        regions.push(region);
      }
      this.#queue.shift();
    }
    return regions;
  }

  /** Keep the thread busy. */
  #feed(generator: RegionGenerator): void {
    while (this.#queue.length > 0 && this.#jobs < JOBS) this.#send(generator);
  }

  #send(generator: RegionGenerator): void {
    const regions = this.#take(JOB_INSTRUCTIONS);
    if (regions.length === 0) return;
    const start = performance.now();
    const { memory } = this.#host;
    const orders = regions.map((region) => packOrder(this.#host.order(region), memory));
    this.#jobs++;
    generator.generate({ features: this.#features, orders }, (result) => {
      this.#jobs--;
      if (!result) {
        this.#queue.unshift(...regions);
        return;
      }
      this.#arrived(result, regions);
      if (generator.available()) this.#feed(generator);
    });
    this.statistics.milliseconds += performance.now() - start;
  }

  #arrived(result: GenerationResult, regions: readonly Region[]): void {
    this.#account(result.bytes, regions, result.regions);
    this.statistics.elsewhere += result.milliseconds;
    if (result.module instanceof WebAssembly.Module) this.#install(result.module, regions);
    else this.#compile(result.module, regions, () => {});
  }

  #install(module: WebAssembly.Module, regions: readonly Region[]): void {
    try {
      this.#host.install(module, regions);
    } catch (error) {
      this.#failure = { error };
    }
  }

  #compile(bytes: Uint8Array<ArrayBuffer>, regions: readonly Region[], done: () => void): void {
    WebAssembly.compile(bytes).then(
      (module) => {
        done();
        this.#install(module, regions);
      },
      (error: unknown) => {
        this.#failure = { error };
      },
    );
  }

  #account(bytes: number, regions: readonly Region[], generated: readonly GeneratedRegion[]): void {
    for (const [i, region] of regions.entries()) {
      region.entries = generated[i]!.entries;
      region.bytes = generated[i]!.bytes;
      this.statistics.instructions += region.graph.instructions;
    }
    this.statistics.modules++;
    this.statistics.bytes += bytes;
  }

  /** Generate on this thread until `deadline`, in performance.now()'s ms. */
  #generate(deadline: number): { bytes: Uint8Array<ArrayBuffer>; regions: Region[] } | undefined {
    const start = performance.now();
    const generation = new Generation();
    const regions: Region[] = [];
    while (regions.length < BATCH && this.#queue.length > 0 && performance.now() < deadline) {
      const region = this.#queue.shift()!;
      if (region.dead) continue;
      generation.add(this.#host.order(region));
      regions.push(region);
    }
    if (regions.length === 0) return undefined;
    const bytes = generation.finish();
    this.#account(bytes.length, regions, generation.regions);
    this.statistics.milliseconds += performance.now() - start;
    return { bytes, regions };
  }
}
