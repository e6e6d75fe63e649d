/** Guest time: what devices ask for the hour and by which they are called back. Units are nanoseconds of guest time. */

/** A one-shot alarm. Arming an armed timer moves it. */
export interface Timer {
  /** Guest time of the call-back in ns, or Infinity while it is not armed. */
  readonly deadline: number;
  /** Call back once guest time reaches `deadline` (ns); a deadline in the past fires at the next opportunity. */
  arm(deadline: number): void;
  cancel(): void;
}

export interface Clock {
  /** Guest time in ns since the domain was created. Never decreases; exact in a double for 104 days. */
  now(): number;
  /** A timer of this clock, not armed. The call-back gets the deadline that was reached, so that periodic users stay exact. */
  timer(callback: (deadline: number) => void): Timer;
  /**
   * Deliver the outcome of host work (a disk read, say) in guest time. `done` is called with the result at
   * `now() + latency` or later. Under the instruction clock it is called at exactly that moment, the domain waiting
   * for the host if need be, so that runs repeat. `done` gets the error when the work failed.
   */
  complete<T>(work: Promise<T>, latency: number, done: (result: T | undefined, error?: unknown) => void): void;
  /** Wall-clock time shown to the guest, ms since the Unix epoch, moving with guest time. */
  wallTime(): number;
}
