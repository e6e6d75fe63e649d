/**
 * Generation on a thread of its own, both ends: what a compiler hands jobs to, and what the thread does with them. How a
 * thread is had is the host's affair. Without one, or when it fails, compilers generate on their own thread.
 */
import { Generation } from "./generation.ts";
import { type GenerationJob, type GenerationResult, modelOf, unpackOrder } from "./generation-job.ts";

/** One end of the way between two threads. What is posted is copied. */
export interface ThreadPort {
  post(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
}

/** A thread that serves as {@link serveGenerator} does, seen from the thread that started it. */
export interface GeneratorThread extends ThreadPort {
  /** It could not be started, or stopped; why, for people. */
  onError(listener: (problem: string) => void): void;
  stop(): void;
}

/** From the compiler to the thread. */
interface Request {
  readonly id: number;
  readonly job: GenerationJob;
}

/** From the thread: first that it is there, then an answer to each request, in order. */
type Answer =
  | { readonly kind: "ready" }
  | { readonly kind: "done"; readonly id: number; readonly result: GenerationResult }
  | { readonly kind: "problem"; readonly problem: string };

/** Host ms after which a job without an answer means that the thread is lost. */
const PATIENCE_MS = 20_000;

/** Called with what became of a job, or with nothing when the thread is lost. */
type Done = (result: GenerationResult | undefined) => void;

/** A thread for all compilers of a process, started when it is first needed. */
export class RegionGenerator {
  readonly #open: () => GeneratorThread;
  #thread: GeneratorThread | undefined;
  #state: "idle" | "starting" | "ready" | "failed" = "idle";
  readonly #waiting = new Map<number, { readonly done: Done; readonly since: number }>();
  readonly #listeners = new Set<(problem: string) => void>();
  #jobs = 0;

  /** `open` starts the thread; it may throw. */
  constructor(open: () => GeneratorThread) {
    this.#open = open;
  }

  /** Whether jobs are taken. The first question starts the thread; until it is up, and once it is lost, the answer is no. */
  available(): boolean {
    if (this.#state === "idle") this.#start();
    const oldest = this.#waiting.values().next().value;
    if (oldest && performance.now() - oldest.since > PATIENCE_MS) this.#fail(`no answer within ${PATIENCE_MS} ms`);
    return this.#state === "ready";
  }

  /** Have a job done. `done` is called once, in a later turn of the event loop or when the thread is lost. */
  generate(job: GenerationJob, done: Done): void {
    const id = this.#jobs++;
    this.#waiting.set(id, { done, since: performance.now() });
    this.#thread!.post({ id, job } satisfies Request);
  }

  /** Be told when the thread is lost; returns what ends that. */
  onProblem(listener: (problem: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #start(): void {
    this.#state = "starting";
    try {
      this.#thread = this.#open();
    } catch (error) {
      this.#fail(String(error));
      return;
    }
    this.#thread.onError((problem) => this.#fail(problem));
    this.#thread.onMessage((message) => this.#answered(message as Answer));
  }

  #answered(answer: Answer): void {
    if (this.#state === "failed") return;
    if (answer.kind === "ready") this.#state = "ready";
    else if (answer.kind === "problem") this.#fail(answer.problem);
    else {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      waiting?.done(answer.result);
    }
  }

  #fail(problem: string): void {
    if (this.#state === "failed") return;
    this.#state = "failed";
    this.#thread?.stop();
    for (const listener of this.#listeners) listener(problem);
    const lost = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { done } of lost) done(undefined);
  }
}

/** The thread's side: generate what comes through `port`, for ever. */
export function serveGenerator(port: ThreadPort): void {
  const answer = (message: Answer): void => port.post(message);
  port.onMessage((message) => {
    const { id, job } = message as Request;
    try {
      const { module, ...rest } = perform(job);
      try {
        answer({ kind: "done", id, result: { module: new WebAssembly.Module(module), ...rest } });
      } catch (error) {
        // Where modules stay on their thread, the other one compiles.
        if (!(error instanceof DOMException)) throw error;
        answer({ kind: "done", id, result: { module, ...rest } });
      }
    } catch (error) {
      answer({ kind: "problem", problem: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  answer({ kind: "ready" });
}

/** Generate the code of a job's regions, as bytes. */
function perform(job: GenerationJob): GenerationResult & { readonly module: Uint8Array<ArrayBuffer> } {
  const start = performance.now();
  const has = modelOf(job.features);
  const generation = new Generation();
  for (const order of job.orders) generation.add(unpackOrder(order, has));
  const module = generation.finish();
  return { module, bytes: module.length, regions: generation.regions, milliseconds: performance.now() - start };
}
