/** Small transfers of a file that the system has in memory: done at once, without Node's threads. */

/** Longest transfer that is tried at once. */
const QUICK_BYTES = 0x10000;
/** ms after which a call was slow, and how many transfers then take the way through Node's threads. */
const SLOW_MS = 1;
const WARY = 64;

/**
 * Whether to call the system directly. A transfer through Node's threads costs 45 µs more than one from the system's
 * cache, which takes 2: that is a fifth of what a guest needs for a random read. But a call that waits for a real disk holds
 * up everything else here: after one of these the next transfers go the other way.
 */
export class QuickCalls {
  #wary = 0;

  /** A transfer of so many bytes may be tried at once. */
  mayTry(bytes: number): boolean {
    if (bytes > QUICK_BYTES) return false;
    if (this.#wary === 0) return true;
    this.#wary--;
    return false;
  }

  /** Do it: the bytes that `call` transferred. */
  run(call: () => number): number {
    const start = performance.now();
    const count = call();
    if (performance.now() - start > SLOW_MS) this.#wary = WARY;
    return count;
  }
}
