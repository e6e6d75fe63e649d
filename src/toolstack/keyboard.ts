/** The keyboard as programs use it: text and chords, at a pace that guests can follow, and single keys. */
import type { Keymap } from "../devices/keymaps.ts";
import { parseChord } from "./keys.ts";
import type { Waiter } from "./waiter.ts";

/** Plays key events one by one, no faster than the guest takes them. */
export interface KeyQueue {
  /** Key events not yet played. */
  readonly pending: number;
  /** Throws VmxonError("usage") for characters that the keyboard does not have. */
  type(text: string): void;
  /** Keys go down in order and up in reverse. */
  press(codes: readonly string[]): void;
}

export interface KeyboardPort {
  /** A key (KeyboardEvent.code) went down or up. */
  key(code: string, down: boolean): void;
}

export class Keyboard {
  readonly #queue: KeyQueue;
  readonly #port: KeyboardPort;
  readonly #waiter: Waiter;
  readonly #keymap: Keymap;

  constructor(deps: { queue: KeyQueue; port: KeyboardPort; waiter: Waiter; keymap: Keymap }) {
    this.#keymap = deps.keymap;
    this.#queue = deps.queue;
    this.#port = deps.port;
    this.#waiter = deps.waiter;
  }

  /**
   * Type text on a keyboard of the configured layout; "\n" is Enter. Resolves when all of it was typed, or the domain has stopped. Throws
   * VmxonError("usage"), and types nothing, for characters that such a keyboard does not have.
   */
  type(text: string): Promise<void> {
    this.#queue.type(text);
    return this.#typed();
  }

  /** Press and release keys together: "ctrl-alt-del", "f1", "enter". Resolves when released. */
  press(chord: string): Promise<void> {
    return this.chord(parseChord(chord));
  }

  /** The same with KeyboardEvent codes: ["ControlLeft", "KeyC"]. */
  chord(codes: readonly string[]): Promise<void> {
    this.#queue.press(codes);
    return this.#typed();
  }

  /** A character from a terminal, with keys held (KeyboardEvent codes). Characters without a key are left out. */
  character(character: string, held: readonly string[]): void {
    for (const { code, modifiers } of this.#keymap.get(character) ?? [])
      this.#queue.press([...held, ...modifiers, code]);
  }

  /** One key went down or up now, as in a keyboard event. */
  key(code: string, down: boolean): void {
    this.#port.key(code, down);
  }

  #typed(): Promise<void> {
    const typed = (): true | undefined => (this.#queue.pending === 0 ? true : undefined);
    const done = (): void => {};
    // The wait only fails when the domain stops, and then there is nobody to type to.
    return this.#waiter.wait(typed, () => "keys to be taken").then(done, done);
  }
}
