/** One interrupt line of two devices, of which the second takes the place of the first while it replaces it. */
import type { InterruptLine, Stateful } from "../hypervisor/device.ts";

/** State of the selector: what each device drives, and whether the second has replaced the first. */
export interface LineSelectorState {
  first: boolean;
  second: boolean;
  replaced: boolean;
}

export class LineSelector implements Stateful<LineSelectorState> {
  readonly first: InterruptLine;
  readonly second: InterruptLine;
  readonly #line: InterruptLine;
  #s: LineSelectorState = { first: false, second: false, replaced: false };

  constructor(line: InterruptLine) {
    this.#line = line;
    this.first = {
      set: (level) => {
        this.#s.first = level;
        if (!this.#s.replaced) line.set(level);
      },
    };
    this.second = {
      set: (level) => {
        this.#s.second = level;
        if (this.#s.replaced) line.set(level);
      },
    };
  }

  replace(replaced: boolean): void {
    this.#s.replaced = replaced;
    this.#line.set(replaced ? this.#s.second : this.#s.first);
  }

  /** Levels are the devices' affair. */
  reset(): void {
    this.replace(false);
  }

  state(): LineSelectorState {
    return { ...this.#s };
  }

  /** What the line leads to restores its own level. */
  restore(state: LineSelectorState): void {
    this.#s = { ...state };
  }
}
