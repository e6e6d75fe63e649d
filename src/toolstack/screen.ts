/** The guest's screen as programs use it: text, pixels, and waiting for text to appear. */
import type { Display, Frame, FrameFeed, FrameSink, TextScreen } from "../hypervisor/backend.ts";
import { encodePng } from "./png.ts";
import { screenText } from "./screen-text.ts";
import type { Waiter, WaitOptions } from "./waiter.ts";

export class Screen {
  readonly #display: Display;
  readonly #waiter: Waiter;

  constructor(deps: { display: Display; waiter: Waiter }) {
    this.#display = deps.display;
    this.#waiter = deps.waiter;
  }

  /** Changes whenever something visible has changed. */
  get generation(): number {
    return this.#display.generation;
  }

  /** The text on the screen, lines joined by "\n"; empty in graphics modes. */
  text(): string {
    const cells = this.#display.text();
    return cells ? screenText(cells) : "";
  }

  /** Characters with their attributes, or undefined in graphics modes. */
  cells(): TextScreen | undefined {
    return this.#display.text();
  }

  /** The picture, in any mode. */
  frame(): Frame {
    return this.#display.frame();
  }

  /** The picture that is shown now as a PNG file. */
  png(): Promise<Uint8Array> {
    const file = encodePng(this.#display.frame());
    this.#waiter.hold(file);
    return file;
  }

  /** Keep `sink` up to date: it is told what has changed whenever the feed's `update` is called. */
  feed(sink: FrameSink): FrameFeed {
    return this.#display.feed(sink);
  }

  /** Resolves with the match once the screen's text matches. `^` and `$` match at lines. */
  waitFor(pattern: RegExp, options: WaitOptions = {}): Promise<RegExpExecArray> {
    return this.#waiter.wait(
      this.watch(pattern),
      () => `${pattern} on the screen, which shows:\n${this.text()}`,
      options,
    );
  }

  /** A check that looks at the screen only when it has changed. */
  watch(pattern: RegExp): () => RegExpExecArray | undefined {
    const flags = [...new Set(`${pattern.flags.replace(/[gy]/g, "")}m`)].join("");
    const lines = new RegExp(pattern.source, flags);
    let seen: number | undefined;
    return () => {
      const generation = this.#display.generation;
      if (generation === seen) return undefined;
      seen = generation;
      return lines.exec(this.text()) ?? undefined;
    };
  }
}
