/** Waits for conditions in guest time: what `waitFor` and scripts stand on. */
import { VmxonError } from "../common/errors.ts";
import type { Clock } from "../hypervisor/clock.ts";

/** Guest time between two looks at a condition. */
const POLL_INTERVAL = 10_000_000;
const NS_PER_MS = 1_000_000;

export interface WaitOptions {
  /** ms until the wait fails: guest time under the instruction clock, host time otherwise. Default: for ever. */
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface Wait {
  check(): boolean;
  fail(error: Error): void;
  /** Guest time at which it fails, ns. */
  readonly deadline: number;
  readonly describe: () => string;
}

/** The open waits of one domain, looked at by one timer. */
export class Waiter {
  readonly #clock: Clock;
  readonly #repeatable: boolean;
  readonly #waits = new Set<Wait>();
  readonly #timer: { arm(deadline: number): void; cancel(): void };
  #armed = false;
  #closed: Error | undefined;

  /** `repeatable`: the clock counts instructions, so outcomes must not depend on when the host gets round to them. */
  constructor(options: { clock: Clock; repeatable: boolean }) {
    this.#clock = options.clock;
    this.#repeatable = options.repeatable;
    this.#timer = options.clock.timer((deadline) => this.#poll(deadline));
  }

  /**
   * Resolves with the first result of `check` that is not undefined. `describe` says what was waited for, for the
   * message of a timeout.
   */
  wait<T>(check: () => T | undefined, describe: () => string, options: WaitOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let hostTimer: ReturnType<typeof setTimeout> | undefined;
      const end = (): void => {
        this.#waits.delete(wait);
        if (hostTimer !== undefined) clearTimeout(hostTimer);
        options.signal?.removeEventListener("abort", abort);
        if (this.#waits.size === 0) this.#disarm();
      };
      const abort = (): void =>
        wait.fail(new VmxonError("usage", "the wait was aborted", { cause: options.signal?.reason }));
      const timeout = options.timeout ?? Number.POSITIVE_INFINITY;
      const wait: Wait = {
        check: () => {
          const result = check();
          if (result === undefined) return false;
          end();
          resolve(result);
          this.hold();
          return true;
        },
        fail(error) {
          end();
          reject(error);
        },
        deadline: this.#repeatable ? this.#clock.now() + timeout * NS_PER_MS : Number.POSITIVE_INFINITY,
        describe,
      };
      if (options.signal?.aborted) return abort();
      if (wait.check()) return;
      if (this.#closed) return wait.fail(this.#closed);
      options.signal?.addEventListener("abort", abort);
      if (!this.#repeatable && timeout !== Number.POSITIVE_INFINITY) {
        hostTimer = setTimeout(() => wait.fail(this.#timedOut(wait)), timeout);
      }
      this.#waits.add(wait);
      if (!this.#armed) {
        this.#armed = true;
        this.#timer.arm(this.#clock.now() + POLL_INTERVAL);
      }
    });
  }

  /** Under the instruction clock: the guest stands still until `work` is done and the host's code has had its turn. */
  hold(work?: Promise<unknown>): void {
    if (!this.#repeatable || this.#closed) return;
    const turn = (): Promise<void> => new Promise<void>((resolve) => setTimeout(resolve, 0));
    // No guest time passes: it would show in whatever the guest does next.
    this.#clock.complete(work ? work.then(turn, turn) : turn(), 0, () => {});
  }

  /** Resolves when `ms` of guest time have passed. */
  async sleep(ms: number): Promise<void> {
    const end = this.#clock.now() + ms * NS_PER_MS;
    await this.wait(
      () => (this.#clock.now() >= end ? true : undefined),
      () => "time to pass",
    );
  }

  /** The domain is gone: fail every open wait, and those to come whose condition does not hold already. */
  close(error: Error): void {
    this.#closed = error;
    for (const wait of [...this.#waits]) wait.fail(error);
  }

  #timedOut(wait: Wait): Error {
    return new VmxonError("guest", `timed out waiting for ${wait.describe()}`);
  }

  #poll(now: number): void {
    this.#armed = false;
    for (const wait of [...this.#waits]) {
      if (!wait.check() && now >= wait.deadline) {
        wait.fail(this.#timedOut(wait));
        this.hold();
      }
    }
    if (this.#waits.size > 0 && !this.#armed) {
      this.#armed = true;
      this.#timer.arm(now + POLL_INTERVAL);
    }
  }

  #disarm(): void {
    this.#armed = false;
    this.#timer.cancel();
  }
}
