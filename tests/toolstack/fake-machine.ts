/** A machine without a guest, whose time is moved by hand: what the domain class does is seen alone. */
import { AtapiPackets } from "../../src/devices/atapi-packets.ts";
import type { Clock, Timer } from "../../src/hypervisor/clock.ts";
import type { StopReason } from "../../src/hypervisor/stop-reason.ts";
import type { Machine, MachineOptions } from "../../src/toolstack/machine.ts";

export class FakeClock implements Clock {
  #now = 0;
  #timers: { deadline: number; callback(deadline: number): void }[] = [];
  /** Completions that hold the guest. */
  holds = 0;

  now(): number {
    return this.#now;
  }

  timer(callback: (deadline: number) => void): Timer {
    const timer = { deadline: Number.POSITIVE_INFINITY, callback };
    this.#timers.push(timer);
    return {
      get deadline() {
        return timer.deadline;
      },
      arm(deadline) {
        timer.deadline = deadline;
      },
      cancel() {
        timer.deadline = Number.POSITIVE_INFINITY;
      },
    };
  }

  complete(): void {
    this.holds++;
  }

  wallTime(): number {
    return this.#now / 1e6;
  }

  /** Let `ms` of guest time pass. */
  advance(ms: number): void {
    const end = this.#now + ms * 1e6;
    for (;;) {
      const next = this.#timers.reduce((a, b) => (b.deadline < a.deadline ? b : a));
      if (next.deadline > end) break;
      this.#now = Math.max(this.#now, next.deadline);
      const { deadline } = next;
      next.deadline = Number.POSITIVE_INFINITY;
      next.callback(deadline);
    }
    this.#now = end;
  }
}

export class FakeMachine implements Machine {
  readonly clock = new FakeClock();
  readonly options: MachineOptions;
  readonly calls: string[] = [];
  readonly received: number[] = [];
  readonly keys: string[] = [];
  /** Bytes that the UART takes at a time. */
  room = 4;
  #stop: ((reason: StopReason) => void) | undefined;
  #generation = 0;
  readonly #cells = new Uint16Array(80 * 25).fill(0x0720);

  readonly display = {
    text: () => ({ columns: 80, rows: 25, cells: this.#cells, cursor: -1, blink: true }),
    frame: () => ({ width: 1, height: 1, rgba: new Uint8ClampedArray(4) }),
    feed: () => ({ update: () => false }),
    generation: 0,
  };
  readonly keyboard = { key: (code: string, down: boolean) => void this.keys.push(`${down ? "+" : "-"}${code}`) };
  readonly keyQueue = {
    pending: 0,
    type: (text: string) => {
      this.keys.push(text);
      this.keyQueue.pending += text.length;
    },
    press: (codes: readonly string[]) => {
      this.keys.push(codes.join("-"));
      this.keyQueue.pending += codes.length;
    },
  };
  readonly mouse = {
    absolute: false,
    move: (...moved: number[]) => void this.keys.push(`mouse ${moved.join()}`),
    moveTo: (...at: number[]) => void this.keys.push(`pointer ${at.join()}`),
  };
  readonly serialInputs = [0, 1].map(() => (bytes: Uint8Array) => {
    const taken = bytes.subarray(0, this.room);
    this.received.push(...taken);
    return taken.length;
  });

  readonly trays;

  constructor(options: MachineOptions) {
    this.options = options;
    this.trays = options.units.map((unit) => (unit?.kind === "cdrom" ? new AtapiPackets(unit) : undefined));
  }

  /** The guest writes on its screen. */
  print(text: string, row = 0): void {
    for (let column = 0; column < text.length; column++)
      this.#cells[row * 80 + column] = 0x0700 | text.charCodeAt(column);
    this.display.generation = ++this.#generation;
  }

  /** The guest stops. */
  stop(reason: StopReason): void {
    this.#stop?.(reason);
  }

  run(): Promise<StopReason> {
    this.calls.push("run");
    return new Promise((resolve) => {
      this.#stop = resolve;
    });
  }

  pause(): void {
    this.calls.push("pause");
  }

  resume(): void {
    this.calls.push("resume");
  }

  reset(): void {
    this.calls.push("reset");
    this.options.resetDone();
  }

  powerButton(): void {
    this.calls.push("powerButton");
  }

  destroy(): void {
    this.calls.push("destroy");
    this.stop({ kind: "destroyed", message: "destroyed" });
  }

  exitCounts() {
    return [
      { reason: 12, name: "HLT", count: 3 },
      { reason: 30, name: "I/O instruction", count: 40 },
    ];
  }

  firmwareLog(): string {
    return "";
  }
  profile(): undefined {}

  instructions(): number {
    return 1234;
  }

  readonly ram = new Uint8Array(0);
  readonly roms = {};

  async hold(): Promise<() => void> {
    return () => {};
  }

  state(): never {
    throw new Error("this machine has no state");
  }

  restore(): void {}

  stateHash(): string {
    return "0";
  }
}
