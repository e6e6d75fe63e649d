/**
 * Going back to a difference that lockstep found: both vCPUs start again where memory was last equal, come to the last
 * equal exit, and go on in ever smaller steps, until the stretch in which they part is a region entry or less.
 */
import { disassemble } from "../isa/disassembler.ts";
import { SEG } from "../isa/state.ts";
import { type Cpu, GuestFault, MODE, WORD } from "../processor/cpu.ts";
import { EXIT } from "../processor/exits.ts";
import { saveGuestState } from "../processor/guest-state.ts";
import { compareMemory, compareOutcomes, prepare, type Runner, replay, type Stay } from "./lockstep-runner.ts";

/** Steps are made so many times smaller, down to the least. */
const FINER = 16;
const LEAST = 8;
/** Most that is shown: instructions, regions, lines of generated code of each. */
const SHOWN = { instructions: 400, regions: 2, lines: 600 } as const;
const MAX_LENGTH = 15;

/** A place in a stay: steps in which both were the same, then one in which they part. */
interface Stretch {
  readonly steps: readonly number[];
  readonly size: number;
  readonly differences: readonly string[];
}

export class LockstepSearch {
  readonly #checked: Runner;
  readonly #reference: Runner;
  readonly #log: readonly Stay[];
  readonly #goBack: (runner: Runner) => void;

  constructor(checked: Runner, reference: Runner, log: readonly Stay[], goBack: (runner: Runner) => void) {
    this.#checked = checked;
    this.#reference = reference;
    this.#log = log;
    this.#goBack = goBack;
  }

  /** What differs, where and in which code. `differences` were found behind the last stay. */
  explain(differences: readonly string[], inMemory: boolean): string {
    const last = inMemory ? this.#firstWithMemory() : this.#log.length - 1;
    const stay = last === undefined ? undefined : this.#log[last];
    if (last === undefined || !stay) return describe(differences, ["When both started again, there was none."]);
    const found = this.#narrow(last, differences, inMemory);
    this.#arrive(last, found.steps);
    const before = stay.instructions + found.steps.reduce((sum, step) => sum + step, 0);
    const trace = this.#trace(found.size);
    const places = [...new Set(trace.map(({ machine }) => machine))].reverse();
    return describe(found.differences, [
      `after about ${before} instructions, in the ${found.size} that follow:`,
      ...trace.slice(-SHOWN.instructions).map(({ text }) => `  ${text}`),
      ...this.#regions(places),
    ]);
  }

  /** Come to the start of a stay; a difference on the way, and the stay that it came in. */
  #arriveAt(last: number): { at: number; differences: string[] } | undefined {
    for (const runner of [this.#checked, this.#reference]) this.#goBack(runner);
    for (let at = 0; at < last; at++) {
      const differences = this.#both(at);
      if (differences.length > 0) return { at, differences };
    }
    return undefined;
  }

  #both(at: number): string[] {
    return compareOutcomes(replay(this.#checked, this.#log[at]!), replay(this.#reference, this.#log[at]!));
  }

  /** The first stay behind which memory differs. */
  #firstWithMemory(): number | undefined {
    let low = 0;
    let high = this.#log.length;
    const differs = (count: number): boolean =>
      this.#arriveAt(count) !== undefined || compareMemory(this.#checked, this.#reference).length > 0;
    if (!differs(high)) return undefined;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (differs(middle)) high = middle;
      else low = middle;
    }
    return high - 1;
  }

  #narrow(last: number, differences: readonly string[], inMemory: boolean): Stretch {
    const timer = (cpu: Cpu): number => cpu.i32[WORD.preemptionTimer]!;
    this.#arrive(last, []);
    let found: Stretch = { steps: [], size: timer(this.#reference.processor.cpu), differences };
    while (found.size > LEAST) {
      const size = Math.max(LEAST, Math.ceil(found.size / FINER));
      this.#arrive(last, found.steps);
      const steps = [...found.steps];
      let parted: string[] = [];
      for (let left = found.size; left > 0 && parted.length === 0; left -= size) {
        const [a, b] = [this.#step(this.#checked, size), this.#step(this.#reference, size)];
        parted = compareOutcomes(a, b);
        if (inMemory) parted.push(...compareMemory(this.#checked, this.#reference));
        if (parted.length === 0) steps.push(size);
        if (b.reason !== EXIT.preemptionTimer) break;
      }
      // In smaller steps less is compiled: then the difference may be gone.
      if (parted.length === 0) break;
      found = { steps, size, differences: parted };
    }
    return found;
  }

  /** Come to a place in a stay. */
  #arrive(last: number, steps: readonly number[]): void {
    this.#arriveAt(last);
    for (const runner of [this.#checked, this.#reference]) {
      prepare(runner, this.#log[last]!);
      for (const step of steps) this.#step(runner, step);
    }
  }

  #step({ processor, hypervisor }: Runner, size: number): Parameters<typeof compareOutcomes>[0] {
    const before = processor.instructions;
    processor.cpu.i32[WORD.preemptionTimer] = size;
    const reason = processor.run();
    const { surprise } = hypervisor;
    return { reason, executed: processor.instructions - before, state: saveGuestState(processor.cpu), surprise };
  }

  /** Let the reference go on one instruction at a time: what it executes. */
  #trace(count: number): { text: string; machine: number }[] {
    const lines: { text: string; machine: number }[] = [];
    const { cpu } = this.#reference.processor;
    for (let i = 0; i < count; i++) {
      lines.push(instructionAt(cpu));
      if (this.#step(this.#reference, 1).reason !== EXIT.preemptionTimer) break;
    }
    return lines;
  }

  /** Compiled code at machine addresses, the most recent first. */
  #regions(places: readonly number[]): string[] {
    const { cpu, compiler } = this.#checked.processor;
    const mode = cpu.get("modeKey");
    const shown = new Set<number>();
    const lines: string[] = [];
    for (const place of places) {
      for (const region of compiler?.regionsWith(place, mode) ?? []) {
        if (shown.size >= SHOWN.regions || shown.has(region.machine)) continue;
        shown.add(region.machine);
        lines.push(`region of ${region.machine.toString(16)}:`, ...region.guest().slice(0, SHOWN.lines));
        lines.push(...region.generated().slice(0, SHOWN.lines));
      }
    }
    return lines;
  }
}

function describe(differences: readonly string[], where: readonly string[]): string {
  return ["compiled code and the interpreter differ:", ...differences.map((line) => `  ${line}`), ...where].join("\n");
}

/** The instruction at CS:EIP, and its machine offset or -1. */
function instructionAt(cpu: Cpu): { text: string; machine: number } {
  const eip = cpu.get("eip");
  const linear = (cpu.segment(SEG.CS, "base") + eip) | 0;
  const place = `${cpu.segment(SEG.CS, "selector").toString(16)}:${(eip >>> 0).toString(16).padStart(8, "0")}`;
  try {
    const machine = cpu.fetch(linear);
    if (machine < 0) return { text: `${place}  (not in memory)`, machine };
    const bytes = cpu.u8.subarray(machine, machine + MAX_LENGTH);
    const bits = cpu.get("modeKey") & MODE.code32 ? 32 : 16;
    return { text: `${place}  ${disassemble(bytes, 0, { bits, address: eip }).text}`, machine };
  } catch (fault) {
    if (!(fault instanceof GuestFault)) throw fault;
    return { text: `${place}  (cannot be fetched)`, machine: -1 };
  }
}
