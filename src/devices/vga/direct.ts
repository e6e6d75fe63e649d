/**
 * Display memory as the guest finds it in plain memory: the two layouts in which bytes of the window and bytes of the
 * planes correspond one to one, and what has changed in it. Knows planes, not registers.
 */
import type { DeviceMemory, DirectMemory } from "../../hypervisor/device.ts";
import { type ChangeMap, granuleOf } from "./change-map.ts";

/**
 * How the window lies in display memory: character and attribute of text modes, chain 4, or bytes from an address on,
 * which are not copied.
 */
export type DirectLayout =
  | { readonly kind: "text"; readonly offset: number; readonly size: number; readonly evenBit: number }
  | { readonly kind: "chain4"; readonly offset: number; readonly size: number }
  | { readonly kind: "bytes"; readonly offset: number; readonly size: number; readonly from: number };

/** Whether two layouts are one. */
export function sameLayout(a: DirectLayout | undefined, b: DirectLayout | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const detail = (layout: DirectLayout): number =>
    layout.kind === "text" ? layout.evenBit : layout.kind === "bytes" ? layout.from : 0;
  return a.kind === b.kind && a.offset === b.offset && a.size === b.size && detail(a) === detail(b);
}

/** Chain-4 address to plane offset: A0 and A1 choose the plane, A14 and A15 take their place. Matches the CRTC's double-word mode. */
export function chainedCell(address: number): number {
  return (address & 0xfffc) | ((address >> 14) & 3);
}

/** Writes that reach the device before its memory is opened, and the most that it takes after many openings. */
const OPEN_AFTER = 256;
const MOST_AFTER = 1 << 16;
/** A guest that looks so often without a change in between had better not have the window: each look is a comparison. */
const IDLE_LOOKS = 16;

/** A view in a saved state: counters of what the guest did, so that firmware goes on seeing what it would have seen. */
export interface DirectViewState {
  open: boolean;
  openAfter: number;
  writesLeft: number;
  idleLooks: number;
  guestChanges: number;
  /** The open window as firmware last saw it. */
  seen: Uint8Array;
}

/** The window, and what was written in it. */
export class DirectView {
  /** Looks of {@link pull} that found a change. */
  changes = 0;
  /** Looks of {@link look}, and closings, that did: a function of what the guest did alone. */
  guestChanges = 0;
  readonly #words: Uint16Array;
  readonly #cells: Int32Array;
  readonly #map: ChangeMap;
  readonly #display: DeviceMemory;
  #memory: DirectMemory | undefined;
  /** What is open of the memory, by double words, and as {@link look} last found it. */
  #now: Int32Array = new Int32Array(0);
  #seen: Int32Array = new Int32Array(0);
  #layout: DirectLayout | undefined;
  #openAfter = OPEN_AFTER;
  #writesLeft = OPEN_AFTER;
  #idleLooks = 0;

  /** Display memory, by two and by four planes too, and where to note what changed in it. */
  constructor(display: DeviceMemory, words: Uint16Array, cells: Int32Array, map: ChangeMap) {
    this.#display = display;
    this.#words = words;
    this.#cells = cells;
    this.#map = map;
  }

  /** The memory to use. */
  use(memory: DirectMemory): void {
    this.#memory = memory;
  }

  /** Layout of the window while it is open. */
  get layout(): DirectLayout | undefined {
    return this.#layout;
  }

  /** The device was written to where `layout` would serve: often enough, and the window opens. */
  written(layout: DirectLayout): void {
    if (!this.#memory || this.#layout || --this.#writesLeft > 0) return;
    this.#open(layout, this.#memory);
  }

  #open(layout: DirectLayout, memory: DirectMemory): void {
    const { offset, size } = layout;
    const { bytes } = memory;
    this.#layout = layout;
    if (layout.kind === "bytes") {
      this.#now = new Int32Array(0);
      this.#seen = this.#now;
      memory.show(offset, size, this.#display, layout.from);
      return;
    }
    this.#now = new Int32Array(bytes.buffer, bytes.byteOffset + offset, size >> 2);
    this.#copy(layout, false);
    this.#seen = this.#now.slice();
    this.#idleLooks = 0;
    memory.open(offset, size);
  }

  state(): DirectViewState {
    const open = this.#layout !== undefined;
    return {
      open,
      openAfter: this.#openAfter,
      writesLeft: this.#writesLeft,
      idleLooks: this.#idleLooks,
      guestChanges: this.guestChanges,
      seen: open ? new Uint8Array(this.#seen.buffer).slice() : new Uint8Array(0),
    };
  }

  /** Once display memory holds what it held. `layout`: what {@link written} would be given now. */
  restore(state: DirectViewState, layout: DirectLayout | undefined): void {
    this.reset();
    this.#openAfter = state.openAfter;
    this.#writesLeft = state.writesLeft;
    if (state.open && layout && this.#memory) {
      this.#open(layout, this.#memory);
      new Uint8Array(this.#seen.buffer).set(state.seen.subarray(0, this.#seen.byteLength));
    }
    this.#idleLooks = state.idleLooks;
    this.guestChanges = state.guestChanges;
  }

  /** Opening costs all translations: a guest that keeps having it closed has to write more each time. */
  close(): void {
    if (!this.#layout) return;
    this.pull();
    if (this.#differs() >= 0) this.guestChanges++;
    this.#layout = undefined;
    this.#openAfter = Math.min(this.#openAfter * 2, MOST_AFTER);
    this.#writesLeft = this.#openAfter;
    this.#memory?.close();
  }

  /** Power-on. */
  reset(): void {
    this.close();
    this.#openAfter = OPEN_AFTER;
    this.#writesLeft = OPEN_AFTER;
  }

  /** Bring the planes up to date. */
  pull(): void {
    if (this.#layout && this.#copy(this.#layout, true)) this.changes++;
  }

  /** See whether the guest has written something else than what was there at the last look. */
  look(): void {
    if (!this.#layout || this.#layout.kind === "bytes") return;
    const at = this.#differs();
    if (at >= 0) {
      this.#seen.set(this.#now.subarray(at), at);
      this.guestChanges++;
      this.#idleLooks = 0;
    } else if (++this.#idleLooks === IDLE_LOOKS) this.close();
  }

  /** Where the first change since the last look is, or -1. */
  #differs(): number {
    const now = this.#now;
    const seen = this.#seen;
    for (let i = 0; i < now.length; i++) if (now[i] !== seen[i]) return i;
    return -1;
  }

  /** Copy between window and planes, what differs only; true when anything did. */
  #copy(layout: DirectLayout, toPlanes: boolean): boolean {
    if (layout.kind === "bytes") return false;
    return layout.kind === "text"
      ? this.#copyText(layout.size, layout.evenBit, toPlanes)
      : this.#copyChained(layout.size, toPlanes);
  }

  #copyText(size: number, evenBit: number, toPlanes: boolean): boolean {
    const words = this.#words;
    const now = this.#now;
    let changed = false;
    for (let i = 0; i < size >> 2; i++) {
      const first = ((i << 2) | evenBit) << 1;
      const second = first + 4;
      const planes = words[first]! | (words[second]! << 16);
      if (now[i] === planes) continue;
      changed = true;
      if (toPlanes) {
        words[first] = now[i]!;
        words[second] = now[i]! >>> 16;
        this.#map.stamps[granuleOf(first >> 1)] = this.#map.now;
        this.#map.stamps[granuleOf(second >> 1)] = this.#map.now;
      } else now[i] = planes;
    }
    return changed;
  }

  #copyChained(size: number, toPlanes: boolean): boolean {
    const cells = this.#cells;
    const now = this.#now;
    let changed = false;
    for (let i = 0; i < size >> 2; i++) {
      const cell = chainedCell(i << 2);
      if (now[i] === cells[cell]) continue;
      changed = true;
      if (toPlanes) {
        cells[cell] = now[i]!;
        this.#map.stamps[granuleOf(cell)] = this.#map.now;
      } else now[i] = cells[cell]!;
    }
    return changed;
  }
}
