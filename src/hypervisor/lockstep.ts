/**
 * Lockstep: a second vCPU, interpreted only and with memory of its own, follows the first one from VM exit to VM exit.
 * It has no devices: what they and the hypervisor did to the first (answers to accesses, memory written, registers
 * changed between two entries) is recorded and done to it at the same instruction. After every stay in the guest
 * registers are compared, and memory now and then. At the first difference both go back: see `lockstep-search.ts`.
 */
import type { Cpu } from "../processor/cpu.ts";
import { loadGuestState, saveGuestState } from "../processor/guest-state.ts";
import { MACHINE, P2M } from "../processor/memory-map.ts";
import type { Processor, ProcessorOptions } from "../processor/processor.ts";
import {
  compareMemory,
  compareOutcomes,
  type Deed,
  type Hypervisor,
  makeRunner,
  outcomeOf,
  type Runner,
  repeatDeed,
  replay,
  type Stay,
} from "./lockstep-runner.ts";
import { LockstepSearch } from "./lockstep-search.ts";

const PAGE = 4096;
const P2M_BYTES = 4 << 20;
/** Memory is compared, and becomes what one can go back to, after so many instructions, stays or answers. */
const CHECKPOINT = { instructions: 1 << 26, stays: 1 << 15, answers: 1 << 18 } as const;

export class Lockstep {
  /** The vCPU that is checked. */
  readonly processor: Processor;
  /** What was different and where, for people, once something was. */
  difference: string | undefined;
  readonly #checked: Runner;
  readonly #reference: Runner;
  readonly #log: Stay[] = [];
  readonly #checkpoint: Uint8Array;
  readonly #map = new Uint8Array(P2M_BYTES);
  #deeds: Deed[] = [];
  #answers = 0;
  #begun = false;

  constructor(options: ProcessorOptions) {
    const { bus, compiler: _, ...interpreted } = options;
    this.#checked = makeRunner({ ...options, bus });
    this.#reference = makeRunner({ ...interpreted, bus });
    this.#checked.hypervisor.bus = bus;
    this.processor = this.#checked.processor;
    this.#checkpoint = new Uint8Array(options.machineBytes);
  }

  /** {@link Processor.run} of the checked vCPU, followed by that of the other. */
  run(): number {
    if (!this.#begun) this.#begin();
    const { hypervisor } = this.#checked;
    const start = saveGuestState(this.processor.cpu);
    const { instructions, alone } = this.processor;
    const stay: Stay = { deeds: this.#deeds, start, answers: [], instructions, alone };
    hypervisor.record(stay);
    const reason = this.processor.run();
    const outcome = outcomeOf(this.#checked, stay.instructions, reason);
    this.#deeds = [];
    hypervisor.deeds = this.#deeds;
    this.#log.push(stay);
    this.#answers += stay.answers.length;
    const differences = compareOutcomes(outcome, replay(this.#reference, stay));
    if (differences.length > 0) this.#report(differences);
    else if (this.#isTime(stay)) this.#compareMemory();
    return reason;
  }

  /** The domain stops: compare memory a last time. */
  finish(): void {
    if (!this.#begun || this.difference !== undefined) return;
    for (const deed of this.#deeds) repeatDeed(this.#reference.processor.cpu, deed);
    this.#compareMemory();
  }

  #begin(): void {
    this.#begun = true;
    const { processor, hypervisor } = this.#checked;
    const { cpu } = processor;
    const other = this.#reference;
    hypervisor.ports = cpu.inlinePorts;
    other.hypervisor.ports = cpu.inlinePorts;
    hypervisor.ticks = cpu.ticks;
    // Between two looks at the clock both count by themselves, and alike.
    for (const runner of [this.#checked, other]) {
      if (hypervisor.ports) runner.processor.cpu.inlinePorts = runner.hypervisor;
      runner.processor.cpu.ticks = (pc) => runner.hypervisor.time(pc);
      // Which reads of the time-stamp counter the engine answers by itself depends on when it was last left.
      runner.processor.cpu.tickRate = () => ({ step: 0, reach: 0 });
    }
    other.processor.cpu.u8.set(cpu.u8.subarray(P2M, P2M + P2M_BYTES), P2M);
    other.processor.cpu.u8.set(cpu.u8.subarray(MACHINE, MACHINE + this.#checkpoint.length), MACHINE);
    this.#note(cpu, hypervisor);
    this.#remember();
  }

  /** Have whatever the hypervisor does to memory noted. */
  #note(cpu: Cpu, hypervisor: Hypervisor): void {
    const { noteWrite, flushAll, setP2m, read, readForWrite, write } = cpu;
    cpu.noteWrite = (machine, bytes) => {
      hypervisor.deeds?.push({ kind: "bytes", machine, bytes: cpu.u8.slice(machine, machine + bytes) });
      noteWrite.call(cpu, machine, bytes);
    };
    cpu.setP2m = (frame, machine, type) => {
      hypervisor.deeds?.push({ kind: "map", frame, machine, type });
      setP2m.call(cpu, frame, machine, type);
    };
    cpu.flushAll = () => {
      hypervisor.deeds?.push({ kind: "flush" });
      flushAll.call(cpu);
    };
    cpu.read = (linear, bytes) => {
      hypervisor.deeds?.push({ kind: "read", linear, bytes });
      return read.call(cpu, linear, bytes);
    };
    cpu.readForWrite = (linear, bytes) => {
      hypervisor.deeds?.push({ kind: "readForWrite", linear, bytes });
      return readForWrite.call(cpu, linear, bytes);
    };
    cpu.write = (linear, bytes, value) => {
      hypervisor.deeds?.push({ kind: "write", linear, bytes, value });
      write.call(cpu, linear, bytes, value);
    };
  }

  #isTime(stay: Stay): boolean {
    const instructions = this.processor.instructions - this.#log[0]!.instructions;
    return (
      instructions >= CHECKPOINT.instructions ||
      this.#log.length >= CHECKPOINT.stays ||
      this.#answers + stay.deeds.length >= CHECKPOINT.answers
    );
  }

  #compareMemory(): void {
    const differences = compareMemory(this.#checked, this.#reference);
    if (differences.length > 0) this.#report(differences, true);
    else this.#remember();
  }

  /** From here both can start again. */
  #remember(): void {
    const { u8 } = this.processor.cpu;
    this.#checkpoint.set(u8.subarray(MACHINE, MACHINE + this.#checkpoint.length));
    this.#map.set(u8.subarray(P2M, P2M + P2M_BYTES));
    this.#log.length = 0;
    this.#answers = 0;
  }

  #report(differences: readonly string[], inMemory = false): void {
    this.#checked.hypervisor.deeds = undefined;
    const search = new LockstepSearch(this.#checked, this.#reference, this.#log, (runner) => this.#goBack(runner));
    this.difference = search.explain(differences, inMemory);
  }

  /** Memory of a vCPU, and where it stands, as at the checkpoint; no translation is kept. */
  #goBack({ processor: { cpu } }: Runner): void {
    cpu.u8.set(this.#map, P2M);
    const then = new Int32Array(this.#checkpoint.buffer);
    for (let page = 0; page < then.length; page += PAGE >> 2) {
      const at = (MACHINE >> 2) + page;
      let i = 0;
      while (i < PAGE >> 2 && cpu.i32[at + i] === then[page + i]) i++;
      if (i === PAGE >> 2) continue;
      cpu.i32.set(then.subarray(page, page + (PAGE >> 2)), at);
      cpu.noteWrite(at << 2, PAGE);
    }
    loadGuestState(cpu, this.#log[0]!.start);
    cpu.flushAll();
    cpu.loadCr3(cpu.get("cr3"));
    cpu.flushAll();
  }
}
