/**
 * The picture as it was last drawn, of which only lines whose memory has changed are drawn again; and what changed in it,
 * for any number of front ends that look at moments of their own.
 */
import type { Frame, FrameFeed, FrameSink, Rectangle } from "../../hypervisor/backend.ts";
import { type BlinkPhase, LINE_MARGIN, type Plan } from "./plan.ts";

/** Pixels of a line that are told apart, as a power of two. */
const BLOCK_SHIFT = 6;
const BLOCK = 1 << BLOCK_SHIFT;

/** A run of changed blocks: from, and up to but without. */
type Run = readonly [from: number, to: number];

/** A picture kept up to date. */
export class Picture {
  #pixels = new Uint32Array(0);
  #frame: Frame = { width: 0, height: 0, rgba: new Uint8ClampedArray(0) };
  #line = new Uint32Array(0);
  /** Number of the redraw in which each block of each line changed last. */
  #blockStamps = new Uint32Array(0);
  /** The latest of these, by line. */
  #lineStamps = new Uint32Array(0);
  #blocks = 0;
  #redraws = 0;
  /** The redraw that changed the size last. */
  #resized = 0;
  #plan: Plan | undefined;
  /** Moment of display memory that the last redraw saw. */
  #seen = 0;

  /** The picture. Later redraws change it; a copy is the caller's business. */
  get frame(): Frame {
    return this.#frame;
  }

  /** Number of the last redraw. */
  get redraws(): number {
    return this.#redraws;
  }

  /** The redraw that changed the size last. */
  get resized(): number {
    return this.#resized;
  }

  /**
   * Bring the picture up to date. `plan` is the same object as last time while nothing but memory and blinking changed;
   * `now` is the moment that display memory is seen at.
   */
  redraw(plan: Plan, phase: BlinkPhase, now: number): void {
    const all = plan !== this.#plan;
    this.#redraws++;
    this.#plan = plan;
    if (plan.width !== this.#frame.width || plan.height !== this.#frame.height) this.#resize(plan);
    plan.begin?.(phase);
    for (let y = 0; y < plan.height; y++) if (all || plan.changed(y, this.#seen)) this.#drawLine(plan, y);
    this.#seen = now;
  }

  #resize({ width, height }: Plan): void {
    this.#pixels = new Uint32Array(width * height);
    this.#line = new Uint32Array(width + LINE_MARGIN);
    this.#frame = { width, height, rgba: new Uint8ClampedArray(this.#pixels.buffer) };
    this.#blocks = (width + BLOCK - 1) >> BLOCK_SHIFT;
    this.#blockStamps = new Uint32Array(this.#blocks * height);
    this.#lineStamps = new Uint32Array(height);
    this.#resized = this.#redraws;
  }

  #drawLine(plan: Plan, y: number): void {
    const { width } = plan;
    const line = this.#line;
    const pixels = this.#pixels;
    const from = plan.paint(y, line);
    const to = y * width;
    for (let block = 0, x = 0; x < width; block++) {
      const end = Math.min(x + BLOCK, width);
      while (x < end && line[from + x] === pixels[to + x]) x++;
      if (x < end) {
        // No views of arrays: they would be garbage, one for each block.
        for (; x < end; x++) pixels[to + x] = line[from + x]!;
        this.#blockStamps[y * this.#blocks + block] = this.#redraws;
        this.#lineStamps[y] = this.#redraws;
      }
      x = end;
    }
  }

  /** Rectangles that cover what changed behind a redraw. */
  *changes(since: number): Generator<Rectangle> {
    let open: Run[] = [];
    let top = 0;
    const { width, height } = this.#frame;
    for (let y = 0; y <= height; y++) {
      const runs = y < height && this.#lineStamps[y]! > since ? this.#runs(y, since) : [];
      if (sameRuns(runs, open)) continue;
      for (const [from, to] of open) {
        const x = from << BLOCK_SHIFT;
        yield { x, y: top, width: Math.min(to << BLOCK_SHIFT, width) - x, height: y - top };
      }
      open = runs;
      top = y;
    }
  }

  #runs(y: number, since: number): Run[] {
    const runs: Run[] = [];
    const first = y * this.#blocks;
    for (let block = 0; block < this.#blocks; block++) {
      if (this.#blockStamps[first + block]! <= since) continue;
      const from = block;
      while (block < this.#blocks && this.#blockStamps[first + block]! > since) block++;
      runs.push([from, block]);
    }
    return runs;
  }
}

function sameRuns(a: readonly Run[], b: readonly Run[]): boolean {
  return a.length === b.length && a.every(([from, to], i) => from === b[i]![0] && to === b[i]![1]);
}

/** One front end's view of a picture. */
export class PictureFeed implements FrameFeed {
  readonly #picture: Picture;
  readonly #sink: FrameSink;
  readonly #redraw: () => Rectangle | undefined;
  #seen = 0;
  #cursor: Rectangle | undefined;

  /** `redraw` brings the picture up to date, and tells where the text cursor stands. */
  constructor(picture: Picture, sink: FrameSink, redraw: () => Rectangle | undefined) {
    this.#picture = picture;
    this.#sink = sink;
    this.#redraw = redraw;
  }

  update(): boolean {
    const picture = this.#picture;
    const sink = this.#sink;
    const cursor = this.#redraw();
    const { frame } = picture;
    let changed = false;
    if (picture.resized > this.#seen) {
      sink.resize(frame.width, frame.height);
      sink.update({ x: 0, y: 0, width: frame.width, height: frame.height }, frame);
      changed = true;
    } else {
      for (const part of picture.changes(this.#seen)) {
        sink.update(part, frame);
        changed = true;
      }
    }
    this.#seen = picture.redraws;
    if (!sameRectangle(cursor, this.#cursor)) {
      this.#cursor = cursor;
      sink.cursor?.(cursor);
    }
    return changed;
  }
}

function sameRectangle(a: Rectangle | undefined, b: Rectangle | undefined): boolean {
  return a?.x === b?.x && a?.y === b?.y && a?.width === b?.width && a?.height === b?.height;
}
