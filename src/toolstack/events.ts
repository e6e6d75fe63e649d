/** Typed events: a subscription is a function call that returns what ends it. */

/** Ends a subscription. Works with `using`. */
export interface Subscription {
  dispose(): void;
  [Symbol.dispose](): void;
}

/** The listening side of an event: `domain.onState((state) => …)`. */
export type Event<T> = (listener: (value: T) => void) => Subscription;

/** The sending side. Listeners are called in the order in which they came; one that throws does not stop the others. */
export class Emitter<T> {
  readonly #listeners = new Set<(value: T) => void>();

  readonly event: Event<T> = (listener) => {
    // A wrapper, so that the same function can be subscribed twice.
    const entry = (value: T): void => listener(value);
    this.#listeners.add(entry);
    const dispose = (): void => {
      this.#listeners.delete(entry);
    };
    return { dispose, [Symbol.dispose]: dispose };
  };

  get listeners(): number {
    return this.#listeners.size;
  }

  /** Errors of listeners are thrown again in a microtask: they are the listener's, never the domain's. */
  fire(value: T): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(value);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
