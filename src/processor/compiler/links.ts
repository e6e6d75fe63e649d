/**
 * Words in memory through which compiled code jumps to other regions: one for each place that a region leads to, with a
 * reference to the code there, or 0 while there is none. Nothing is written into code that exists.
 */
import { LINK_COUNT, LINKS } from "../memory-map.ts";

interface Link {
  /** Index of its word in memory. */
  readonly word: number;
  /** Regions that jump through it. */
  users: number;
}

export class Links {
  readonly #memory: Int32Array;
  readonly #links = new Map<number, Link>();
  readonly #free: number[] = [];
  #next = LINKS >> 2;

  /** `memory`: the domain's memory as words. */
  constructor(memory: Int32Array) {
    this.#memory = memory;
  }

  /** One more region leads to the place `key`; `code` is what is there now, or 0. Does nothing when there is no room. */
  claim(key: number, code: number): boolean {
    const known = this.#links.get(key);
    if (known) {
      known.users++;
      return true;
    }
    const word = this.#free.pop() ?? (this.#next < (LINKS >> 2) + LINK_COUNT ? this.#next++ : -1);
    if (word < 0) return false;
    this.#links.set(key, { word, users: 1 });
    this.#memory[word] = code;
    return true;
  }

  /** A region that has claimed it is gone. */
  release(key: number): void {
    const link = this.#links.get(key)!;
    if (--link.users > 0) return;
    this.#links.delete(key);
    this.#free.push(link.word);
  }

  /** Address of a place's word, or 0. */
  addressOf(key: number): number {
    const link = this.#links.get(key);
    return link ? link.word * 4 : 0;
  }

  /** The code at a place is there, or with 0 no longer. */
  set(key: number, code: number): void {
    const link = this.#links.get(key);
    if (link) this.#memory[link.word] = code;
  }
}
