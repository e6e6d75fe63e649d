/**
 * A vCPU that lockstep runs, with a hypervisor that records what it is asked and what it does to memory, or plays that
 * back: the stay in the guest can then be repeated, on this vCPU or another, with nobody behind it.
 */
import type { Cpu, InlinePorts, MmioBus } from "../processor/cpu.ts";
import { GuestFault, WORD } from "../processor/cpu.ts";
import { compareGuestStates, type GuestState, loadGuestState, saveGuestState } from "../processor/guest-state.ts";
import { MACHINE } from "../processor/memory-map.ts";
import { Processor, type ProcessorOptions } from "../processor/processor.ts";

/** What somebody else did to the vCPU's memory. */
export type Deed =
  | { readonly kind: "bytes"; readonly machine: number; readonly bytes: Uint8Array }
  | { readonly kind: "read" | "readForWrite"; readonly linear: number; readonly bytes: number }
  | { readonly kind: "write"; readonly linear: number; readonly bytes: number; readonly value: number }
  | { readonly kind: "map"; readonly frame: number; readonly machine: number; readonly type: number }
  | { readonly kind: "flush" };

/** What the guest asked of the hypervisor in the middle of a stay, and what came of it. */
export interface Answer {
  readonly what: string;
  readonly address: number;
  readonly bytes: number;
  readonly value: number;
  readonly deeds: Deed[];
  result: number;
  procControls: number;
  a20Mask: number;
}

/** One stay in the guest: all that went into it. */
export interface Stay {
  /** Done since the last one. */
  readonly deeds: readonly Deed[];
  readonly start: GuestState;
  readonly answers: Answer[];
  /** Instructions executed before it. */
  readonly instructions: number;
  /** {@link Processor.alone}. */
  readonly alone: boolean;
}

/** The hypervisor's side of a vCPU: passes on, records, plays back, or is silent. */
export class Hypervisor implements MmioBus, InlinePorts {
  cpu!: Cpu;
  bus: MmioBus | undefined;
  ports: InlinePorts | undefined;
  ticks: Cpu["ticks"] = () => 0;
  /** Where deeds of the hypervisor are noted. */
  deeds: Deed[] | undefined;
  /** Not as recorded: what the guest asked for, the first time. */
  surprise: string | undefined;
  #stay: Stay | undefined;
  #position = -1;

  record(stay: Stay): void {
    this.#stay = stay;
    this.#position = -1;
    this.deeds = undefined;
  }

  play(stay: Stay): void {
    this.#stay = stay;
    this.#position = 0;
    this.surprise = undefined;
  }

  /** The stay is over; true when all its answers were wanted. */
  end(): boolean {
    const complete = this.#position < 0 || this.#position === this.#stay!.answers.length;
    this.#stay = undefined;
    return complete;
  }

  #answer(what: string, address: number, bytes: number, value: number, ask: () => number): number {
    const stay = this.#stay;
    if (!stay) return ask();
    if (this.#position >= 0) return this.#recorded(stay, what, address, bytes, value);
    const answer: Answer = { what, address, bytes, value, deeds: [], result: 0, procControls: 0, a20Mask: 0 };
    stay.answers.push(answer);
    this.deeds = answer.deeds;
    answer.result = ask();
    this.deeds = undefined;
    answer.procControls = this.cpu.i32[WORD.procControls]!;
    answer.a20Mask = this.cpu.i32[WORD.a20Mask]!;
    return answer.result;
  }

  #recorded(stay: Stay, what: string, address: number, bytes: number, value: number): number {
    const answer = stay.answers[this.#position++];
    const same =
      answer?.what === what && answer.address === address && answer.bytes === bytes && answer.value === value;
    if (!same) {
      const show = (a: { what: string; address: number; bytes: number; value: number }): string =>
        `${a.what} of ${a.bytes} bytes at ${a.address.toString(16)}, value ${a.value.toString(16)}`;
      this.surprise ??= `asked for ${show({ what, address, bytes, value })}; recorded was ${answer ? show(answer) : "nothing"}`;
      return 0;
    }
    for (const deed of answer.deeds) repeatDeed(this.cpu, deed);
    this.cpu.i32[WORD.procControls] = answer.procControls;
    this.cpu.i32[WORD.a20Mask] = answer.a20Mask;
    return answer.result;
  }

  mmioRead(gpa: number, bytes: 1 | 2 | 4): number {
    return this.#answer("memory read", gpa, bytes, 0, () => this.bus?.mmioRead(gpa, bytes) ?? 0);
  }

  mmioWrite(gpa: number, bytes: 1 | 2 | 4, value: number): void {
    this.#answer("memory write", gpa, bytes, value, () => {
      this.bus?.mmioWrite(gpa, bytes, value);
      return 0;
    });
  }

  mmioWaits(gpa: number, bytes: 1 | 2 | 4, write: boolean, value: number): boolean {
    const what = write ? "whether a memory write waits" : "whether a memory read waits";
    return this.#answer(what, gpa, bytes, value, () => Number(this.bus?.mmioWaits?.(gpa, bytes, write, value))) !== 0;
  }

  accepts(port: number): boolean {
    return this.ports!.accepts(port);
  }

  read(pc: number, port: number, bytes: 1 | 2 | 4): number {
    return this.#answer("port read", port, bytes, 0, () => this.ports!.read(pc, port, bytes));
  }

  write(pc: number, port: number, bytes: 1 | 2 | 4, value: number): void {
    this.#answer("port write", port, bytes, value, () => {
      this.ports!.write(pc, port, bytes, value);
      return 0;
    });
  }

  due(): boolean {
    return this.#answer("look at the time", 0, 0, 0, () => Number(this.ports!.due())) !== 0;
  }

  attention(pc: number): boolean {
    return this.#answer("look at what is due", 0, 0, 0, () => Number(this.ports!.attention(pc))) !== 0;
  }

  time(pc: number): number {
    return this.#answer("read of the time-stamp counter", 0, 0, 0, () => this.ticks(pc));
  }
}

/** Do to a vCPU what was done to the other one. */
export function repeatDeed(cpu: Cpu, deed: Deed): void {
  try {
    switch (deed.kind) {
      case "bytes":
        cpu.u8.set(deed.bytes, deed.machine);
        cpu.noteWrite(deed.machine, deed.bytes.length);
        return;
      case "map":
        cpu.setP2m(deed.frame, deed.machine, deed.type);
        return;
      case "flush":
        cpu.flushAll();
        return;
      case "write":
        cpu.write(deed.linear, deed.bytes, deed.value);
        return;
      default:
        cpu[deed.kind](deed.linear, deed.bytes);
    }
  } catch (fault) {
    // The hypervisor met it, too, and what it made of it is in the state.
    if (!(fault instanceof GuestFault)) throw fault;
  }
}

/** One of the two vCPUs, and what surrounds it. */
export interface Runner {
  readonly processor: Processor;
  readonly hypervisor: Hypervisor;
}

/** What one run of a vCPU came to. */
export interface Outcome {
  readonly reason: number;
  readonly executed: number;
  readonly state: GuestState;
  readonly surprise: string | undefined;
}

/** How two outcomes differ; none: not at all. */
export function compareOutcomes(compiled: Outcome, interpreted: Outcome): string[] {
  const lines: string[] = [];
  const say = (what: string, a: number | string, b: number | string): void => {
    lines.push(`${what}: compiled ${a}, interpreted ${b}`);
  };
  if (compiled.reason !== interpreted.reason) say("exit reason", compiled.reason, interpreted.reason);
  if (compiled.executed !== interpreted.executed) say("instructions", compiled.executed, interpreted.executed);
  for (const { name, a, b } of compareGuestStates(compiled.state, interpreted.state))
    say(name, (a >>> 0).toString(16), (b >>> 0).toString(16));
  for (const [who, { surprise }] of [
    ["compiled", compiled],
    ["interpreted", interpreted],
  ] as const)
    if (surprise !== undefined) lines.push(`${who}: ${surprise}`);
  return lines;
}

/** A vCPU with a silent hypervisor. */
export function makeRunner(options: ProcessorOptions): Runner {
  const hypervisor = new Hypervisor();
  const processor = new Processor({ ...options, bus: hypervisor });
  hypervisor.cpu = processor.cpu;
  return { processor, hypervisor };
}

/** What a run that has ended for `reason` came to; `before`: the count of instructions when it began. */
export function outcomeOf({ processor, hypervisor }: Runner, before: number, reason: number): Outcome {
  const complete = hypervisor.end();
  const surprise = hypervisor.surprise ?? (complete ? undefined : "did not ask for all that was recorded");
  return { reason, executed: processor.instructions - before, state: saveGuestState(processor.cpu), surprise };
}

/** Make a vCPU ready to begin a recorded stay. */
export function prepare({ processor, hypervisor }: Runner, stay: Stay): void {
  for (const deed of stay.deeds) repeatDeed(processor.cpu, deed);
  loadGuestState(processor.cpu, stay.start);
  processor.alone = stay.alone;
  hypervisor.play(stay);
}

/** Let a vCPU do a recorded stay. */
export function replay(runner: Runner, stay: Stay): Outcome {
  const { processor } = runner;
  prepare(runner, stay);
  const before = processor.instructions;
  return outcomeOf(runner, before, processor.run());
}

const SHOWN = 8;

/** Where guest memory differs: the first few words, by guest-physical address where it is RAM. */
export function compareMemory(checked: Runner, reference: Runner): string[] {
  const a = checked.processor.cpu.i32;
  const b = reference.processor.cpu.i32;
  const lines: string[] = [];
  for (let at = MACHINE >> 2; at < a.length && lines.length < SHOWN; at++) {
    if (a[at] === b[at]) continue;
    const values = [a[at]!, b[at]!].map((word) => (word >>> 0).toString(16));
    lines.push(`memory at ${(at * 4 - MACHINE).toString(16)}: compiled ${values[0]}, interpreted ${values[1]}`);
  }
  return lines;
}
