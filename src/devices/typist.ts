/** Types text on a keyboard, key by key and no faster than the guest takes the keys. Knows only the keyboard and time. */
import { VmxonError } from "../common/errors.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";
import type { Keymap } from "./keymaps.ts";
import { isKey, type KeyEvent, textToKeys } from "./scancodes.ts";

/** Guest time between two key events, ns: 100 characters a second, which interrupt handlers of 1981 keep up with. */
const KEY_INTERVAL = 5e6;
/** Key events that may wait. */
const CAPACITY = 1 << 18;

/** The keyboard as a typist uses it. */
export interface TypedKeyboard {
  readonly accepting: boolean;
  key(code: string, down: boolean): void;
}

/** Key events still to be played. */
export interface TypistState {
  events: { code: string; down: boolean }[];
  nextAt: number;
}

/** A queue of key events in front of a keyboard. */
export class Typist implements Stateful<TypistState> {
  private readonly deps: { readonly clock: Clock; readonly keyboard: TypedKeyboard; readonly keymap: Keymap };
  private readonly timer: Timer;
  private events: KeyEvent[] = [];
  private played = 0;

  constructor(deps: { readonly clock: Clock; readonly keyboard: TypedKeyboard; readonly keymap: Keymap }) {
    this.deps = deps;
    this.timer = deps.clock.timer(() => this.play());
  }

  /** Key events not yet played. */
  get pending(): number {
    return this.events.length - this.played;
  }

  /**
   * Queue `text`. Throws VmxonError("usage") when the layout lacks a character or the queue has no room; nothing is typed
   * then.
   */
  type(text: string): void {
    for (const character of text) {
      if (!this.deps.keymap.has(character)) {
        throw new VmxonError(
          "usage",
          `cannot type ${JSON.stringify(character)}: the keyboard layout (keymap=…) has no key for it`,
        );
      }
    }
    this.enqueue([...textToKeys(text, this.deps.keymap)]);
  }

  /** Queue a chord: the keys go down in order and up in reverse. Throws VmxonError("usage") for an unknown key. */
  press(codes: readonly string[]): void {
    for (const code of codes) {
      if (!isKey(code))
        throw new VmxonError("usage", `no key is called ${JSON.stringify(code)}; use KeyboardEvent.code names`);
    }
    this.enqueue([
      ...codes.map((code) => ({ code, down: true })),
      ...codes.toReversed().map((code) => ({ code, down: false })),
    ]);
  }

  private enqueue(events: readonly KeyEvent[]): void {
    if (this.pending + events.length > CAPACITY) {
      throw new VmxonError(
        "usage",
        `cannot type that much at once: ${this.pending} key events still wait for the guest`,
      );
    }
    this.events = this.events.slice(this.played).concat(events);
    this.played = 0;
    if (this.pending > 0 && this.timer.deadline === Number.POSITIVE_INFINITY) this.timer.arm(this.deps.clock.now());
  }

  private play(): void {
    if (this.deps.keyboard.accepting) {
      const event = this.events[this.played++];
      if (event !== undefined) this.deps.keyboard.key(event.code, event.down);
    }
    if (this.pending > 0) this.timer.arm(this.deps.clock.now() + KEY_INTERVAL);
    else this.clear();
  }

  /** Forget what is queued. */
  clear(): void {
    this.events = [];
    this.played = 0;
    this.timer.cancel();
  }

  reset(): void {
    this.clear();
  }

  state(): TypistState {
    const events = this.events.slice(this.played).map(({ code, down }) => ({ code, down }));
    return { events, nextAt: timerState(this.timer) };
  }

  restore(state: TypistState): void {
    this.events = state.events.map(({ code, down }) => ({ code, down }));
    this.played = 0;
    restoreTimer(this.timer, state.nextAt);
  }
}
