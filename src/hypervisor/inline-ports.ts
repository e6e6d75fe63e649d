/**
 * Port accesses served without leaving the engine: the devices are asked, and time and interrupts looked after, as the
 * exit's handler and the run loop would, at a tenth of the price of an exit.
 */
import { EFLAGS } from "../isa/flags.ts";
import { type InlinePorts, WORD } from "../processor/cpu.ts";
import { PROC } from "../processor/exits.ts";
import type { Processor } from "../processor/processor.ts";
import type { AccessSize, InterruptController } from "./device.ts";
import type { DomainClock } from "./domain-clock.ts";
import { FIRMWARE_PORT } from "./firmware-service.ts";
import type { DomainIoBus } from "./io-bus.ts";

/** Low bits that an access of so many bytes carries. */
const VALUE_MASK = { 1: 0xff, 2: 0xffff, 4: -1 } as const;

/** The domain, as far as serving an access needs it. */
export interface InlineHost {
  readonly processor: Processor;
  readonly bus: DomainIoBus;
  readonly clock: DomainClock;
  readonly controller: InterruptController | undefined;
  /** Something other than time and interrupts wants the run loop: a stop, a reset, a pause, a wait for the host. */
  readonly wanted: boolean;
}

export class InlineAccesses implements InlinePorts {
  readonly #host: InlineHost;
  /** Accesses that may be served before the run loop looks at the host's clock again. */
  #left = 0;
  /** Accesses served since the guest was entered. */
  served = 0;
  /** Instructions of this stay in the guest that the clock knows of. */
  #accounted = 0;
  /** Deadline for which this stay's budget was made, ns. */
  #deadline = 0;
  /** The stay ended with an access that is done. */
  ended = false;

  constructor(host: InlineHost) {
    this.#host = host;
  }

  /** The guest is about to be entered: it may do `most` accesses. */
  begin(most: number): void {
    this.#left = most;
    this.#accounted = 0;
    this.#deadline = this.#host.clock.deadline;
    this.served = 0;
    this.ended = false;
  }

  accepts(port: number): boolean {
    return port !== FIRMWARE_PORT && !this.#host.bus.usesRegisters(port);
  }

  read(pc: number, port: number, bytes: AccessSize): number {
    this.catchUp(this.#host.processor.instructionsAt(pc) + 1);
    return this.#host.bus.in(port, bytes);
  }

  write(pc: number, port: number, bytes: AccessSize, value: number): void {
    this.catchUp(this.#host.processor.instructionsAt(pc) + 1);
    this.#host.bus.out(port, bytes, (value & VALUE_MASK[bytes]) >>> 0);
  }

  /**
   * Bring the clock to where `done` instructions of this stay are executed. Devices see the time behind the instruction
   * that reaches them, the time-stamp counter that before it.
   */
  catchUp(done: number): void {
    this.#host.clock.advance(done - this.#accounted);
    this.#accounted = done;
  }

  attention(): boolean {
    const host = this.#host;
    const { clock } = host;
    if (host.wanted || clock.due || clock.deadline < this.#deadline || --this.#left <= 0 || this.#interrupt()) {
      this.ended = true;
      return true;
    }
    this.served++;
    return false;
  }

  due(): boolean {
    if (!this.#host.clock.due) return false;
    this.ended = true;
    return true;
  }

  /** True when an interrupt can be delivered now; one that cannot asks for a window. */
  #interrupt(): boolean {
    const { controller, processor } = this.#host;
    if (!controller?.pending) return false;
    if (controller.nmi) return true;
    const { cpu } = processor;
    if (cpu.i32[WORD.eflags]! & EFLAGS.IF) return true;
    cpu.set("procControls", cpu.get("procControls") | PROC.interruptWindow);
    return false;
  }
}
