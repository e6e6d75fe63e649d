/**
 * Which parts of display memory changed when, so that a picture costs what changed in it. Time is counted in moments, of
 * which any number of lookers may each remember their last one.
 */

/** Cells (four bytes each) that are told apart, as a power of two: 256 bytes of memory. */
const GRANULE_SHIFT = 6;

/** Moments of the last change, by granule. */
export class ChangeMap {
  /** Hot paths store {@link now} into the granule of what they wrote: see {@link granuleOf}. 0: never written. */
  readonly stamps: Uint32Array;
  /** The moment that is. */
  now = 1;

  /** For `cells` cells of four bytes. */
  constructor(cells: number) {
    this.stamps = new Uint32Array(cells >> GRANULE_SHIFT);
  }

  /** Let a moment pass: what changes from now on is later than the moment returned. */
  pass(): number {
    return this.now++;
  }

  /** Cells `first` to `last` change now. */
  mark(first: number, last: number): void {
    this.stamps.fill(this.now, granuleOf(first), granuleOf(last) + 1);
  }

  /** Whether any of the cells `first` to `last` changed after a moment. */
  changed(first: number, last: number, since: number): boolean {
    const end = granuleOf(last);
    for (let i = granuleOf(first); i <= end; i++) if (this.stamps[i]! > since) return true;
    return false;
  }

  /** How many cells, from the first on, hold all that was ever written. */
  get extent(): number {
    let end = this.stamps.length;
    while (end > 0 && this.stamps[end - 1] === 0) end--;
    return end << GRANULE_SHIFT;
  }

  /** Nothing was ever written. Moments go on. */
  clear(): void {
    this.stamps.fill(0);
  }
}

/** Index in {@link ChangeMap.stamps} of a cell. */
export function granuleOf(cell: number): number {
  return cell >> GRANULE_SHIFT;
}
