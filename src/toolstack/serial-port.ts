/** A serial port as programs use it: text in both directions, and waiting for what the guest says. */
import type { ByteSink } from "../hypervisor/backend.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";
import { Emitter, type Event } from "./events.ts";
import type { Waiter, WaitOptions } from "./waiter.ts";

/** Bytes gathered before they are handed on, at least once per turn of the event loop. */
const BUFFER_SIZE = 4096;
/** Guest time until bytes that a full UART did not take are offered again. */
const RETRY_INTERVAL = 1_000_000;
/** Characters kept for `waitFor`. */
const HISTORY = 0x10000;

/** What of a serial port a saved domain needs. */
export interface SerialPortState {
  waiting: Uint8Array;
  /** Guest time of the next attempt to send it, or -1. */
  retryAt: number;
}

export class SerialPort {
  readonly #data = new Emitter<Uint8Array>();
  readonly #waiter: Waiter;
  readonly #name: string;
  readonly #receive: (bytes: Uint8Array) => number;
  readonly #clock: Clock;
  readonly #retry: Timer;
  /** Bytes for the guest that the UART has not taken yet. */
  #waiting: Uint8Array[] = [];
  readonly #buffer = new Uint8Array(BUFFER_SIZE);
  readonly #sinks: ByteSink[] = [];
  #length = 0;
  #scheduled = false;
  #history = "";

  /** What the guest sends, in batches. */
  readonly onData: Event<Uint8Array> = this.#data.event;

  /** `receive` takes bytes for the guest and returns how many. */
  constructor(deps: { name: string; clock: Clock; waiter: Waiter; receive(bytes: Uint8Array): number }) {
    this.#name = deps.name;
    this.#waiter = deps.waiter;
    this.#receive = deps.receive;
    this.#clock = deps.clock;
    this.#retry = deps.clock.timer(() => this.#send());
  }

  /** Send to the guest. Strings are sent as UTF-8. */
  write(data: string | Uint8Array): void {
    // A copy, since what does not fit goes out later.
    this.#waiting.push(typeof data === "string" ? new TextEncoder().encode(data) : data.slice());
    if (this.#waiting.length === 1) this.#send();
  }

  #send(): void {
    for (let bytes = this.#waiting[0]; bytes !== undefined; bytes = this.#waiting[0]) {
      const taken = this.#receive(bytes);
      if (taken < bytes.length) {
        this.#waiting[0] = bytes.subarray(taken);
        this.#retry.arm(this.#clock.now() + RETRY_INTERVAL);
        return;
      }
      this.#waiting.shift();
    }
  }

  /** Bytes for the guest that it has not taken yet. */
  state(): SerialPortState {
    return { waiting: concat(this.#waiting), retryAt: timerState(this.#retry) };
  }

  restore(state: SerialPortState): void {
    this.#waiting = state.waiting.length > 0 ? [state.waiting] : [];
    restoreTimer(this.#retry, state.waiting.length > 0 ? state.retryAt : -1);
  }

  /** What the guest has sent lately and no `waitFor` has taken yet. */
  text(): string {
    return this.#history;
  }

  /** Resolves once the guest has sent something that matches; what lies before the end of the match is used up by it. */
  waitFor(pattern: RegExp, options: WaitOptions = {}): Promise<RegExpExecArray> {
    return this.#waiter.wait(
      () => this.take(pattern),
      () => `${pattern} on ${this.#name}, which last sent: ${JSON.stringify(this.#history.slice(-200))}`,
      options,
    );
  }

  /** The first match in what was sent since the last one, or undefined. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    const match = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, "")).exec(this.#history);
    if (!match) return undefined;
    this.#history = this.#history.slice(match.index + match[0].length);
    return match;
  }

  /** Also send every byte to `sink`. */
  connect(sink: ByteSink): void {
    this.#sinks.push(sink);
  }

  /** A byte from the guest's UART. */
  transmit(byte: number): void {
    this.#buffer[this.#length++] = byte;
    this.#history += String.fromCharCode(byte);
    if (this.#history.length > 2 * HISTORY) this.#history = this.#history.slice(-HISTORY);
    for (const sink of this.#sinks) sink.write(byte);
    if (this.#length === BUFFER_SIZE) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => this.flush());
    }
  }

  /** Hand on what was gathered. */
  flush(): void {
    this.#scheduled = false;
    if (this.#length === 0) return;
    const bytes = this.#buffer.slice(0, this.#length);
    this.#length = 0;
    this.#data.fire(bytes);
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
