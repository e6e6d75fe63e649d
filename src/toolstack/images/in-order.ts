/** Runs asynchronous pieces of work one after the other, in the order in which they were asked for. */

export class InOrder {
  #last: Promise<unknown> = Promise.resolve();

  /** Do `work` when all before it has ended, well or not. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}
