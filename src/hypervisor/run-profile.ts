/** Where the host's time goes while a domain runs: measured around every stay in the guest, for profiles only. */
import type { CompilerProfile } from "../processor/compiler/profile.ts";

/** What {@link RunProfile.result} tells. Times in host ms. */
export interface DomainProfile {
  /** In the guest, helpers and inline devices included; and outside of it: exits, devices, timers, compiling. */
  readonly inside: number;
  readonly outside: number;
  /** Entries into the guest. */
  readonly stays: number;
  /** Times inside by tier: an estimate, from how long stays took that had more or less of each. */
  readonly interpreting: number;
  readonly compiledRunning: number;
  /** Guest instructions by tier. */
  readonly interpreted: number;
  readonly compiled: number;
  readonly compiler: CompilerProfile | undefined;
}

export class RunProfile {
  #inside = 0;
  #slices = 0;
  #stays = 0;
  #interpreted = 0;
  #compiled = 0;
  /** Sums of products of instructions interpreted (i), compiled (c) and times (t), for least squares. */
  #ii = 0;
  #ic = 0;
  #cc = 0;
  #it = 0;
  #ct = 0;

  /** A stay took `ms` and executed so many instructions on each tier. */
  stay(ms: number, interpreted: number, compiled: number): void {
    this.#stays++;
    this.#inside += ms;
    this.#interpreted += interpreted;
    this.#compiled += compiled;
    this.#ii += interpreted * interpreted;
    this.#ic += interpreted * compiled;
    this.#cc += compiled * compiled;
    this.#it += interpreted * ms;
    this.#ct += compiled * ms;
  }

  /** A slice of the run loop took `ms`, the stays in it included. */
  slice(ms: number): void {
    this.#slices += ms;
  }

  result(compiler: CompilerProfile | undefined): DomainProfile {
    const determinant = this.#ii * this.#cc - this.#ic * this.#ic;
    const [i, c] =
      determinant > 0
        ? [
            (this.#it * this.#cc - this.#ct * this.#ic) / determinant,
            (this.#ct * this.#ii - this.#it * this.#ic) / determinant,
          ]
        : [1, 1];
    // Ms for each instruction, at least nothing; then so that both together are the time that was measured.
    const interpreting = Math.max(0, i) * this.#interpreted;
    const running = Math.max(0, c) * this.#compiled;
    const scale = interpreting + running > 0 ? this.#inside / (interpreting + running) : 0;
    return {
      inside: this.#inside,
      outside: this.#slices - this.#inside,
      stays: this.#stays,
      interpreting: interpreting * scale,
      compiledRunning: running * scale,
      interpreted: this.#interpreted,
      compiled: this.#compiled,
      compiler,
    };
  }
}
