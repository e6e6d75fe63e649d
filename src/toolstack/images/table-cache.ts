/** An image's tables in memory: those used last, and all that were changed until they are written back. */
import type { BlockBackend } from "../../hypervisor/backend.ts";
import { readPadded } from "./image-file.ts";

/** One table. Whoever changes it tells the cache with {@link TableCache.changed}. */
export interface Table {
  /** Where it lies in the file. */
  readonly offset: number;
  readonly view: DataView;
  /** Bytes that are not in the file yet: from, to (excluded). Nothing when `to` is 0. */
  dirtyFrom: number;
  dirtyTo: number;
}

export class TableCache {
  readonly #file: BlockBackend;
  readonly #tableSize: number;
  readonly #limit: number;
  /** By offset, the one used longest ago first. */
  readonly #tables = new Map<number, Table>();
  readonly #dirty = new Set<Table>();
  #latest: Table | undefined;

  /** `limit` is how many tables are kept, beside changed ones. */
  constructor(file: BlockBackend, options: { tableSize: number; limit: number }) {
    this.#file = file;
    this.#tableSize = options.tableSize;
    this.#limit = options.limit;
  }

  get dirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** So many tables are changed that they should be written before more are. */
  get crowded(): boolean {
    return this.#dirty.size >= this.#limit;
  }

  /** Whether the table at this offset is in memory. */
  has(offset: number): boolean {
    return this.#tables.has(offset);
  }

  async load(offset: number): Promise<Table> {
    if (this.#latest?.offset === offset) return this.#latest;
    let table = this.#tables.get(offset);
    if (!table) {
      const bytes = new Uint8Array(this.#tableSize);
      await readPadded(this.#file, offset, bytes);
      table = { offset, view: new DataView(bytes.buffer), dirtyFrom: 0, dirtyTo: 0 };
    }
    this.#keep(table);
    return table;
  }

  /** A table of zeros at an offset where there was none. It is changed as a whole. */
  create(offset: number): Table {
    const table = { offset, view: new DataView(new ArrayBuffer(this.#tableSize)), dirtyFrom: 0, dirtyTo: 0 };
    this.changed(table, 0, this.#tableSize);
    return table;
  }

  /** Bytes `from` to `to` (excluded) of a table have changed. */
  changed(table: Table, from: number, to: number): void {
    table.dirtyFrom = table.dirtyTo === 0 ? from : Math.min(table.dirtyFrom, from);
    table.dirtyTo = Math.max(table.dirtyTo, to);
    this.#dirty.add(table);
    this.#keep(table);
  }

  /** The table's place in the file is used for something else now. */
  forget(offset: number): void {
    const table = this.#tables.get(offset);
    if (!table) return;
    this.#tables.delete(offset);
    this.#dirty.delete(table);
    if (this.#latest === table) this.#latest = undefined;
  }

  #keep(table: Table): void {
    if (this.#latest === table) return;
    this.#latest = table;
    this.#tables.delete(table.offset);
    this.#tables.set(table.offset, table);
    if (this.#tables.size <= this.#limit) return;
    for (const [offset, old] of this.#tables) {
      if (old.dirtyTo > 0 || old === table) continue;
      this.#tables.delete(offset);
      if (this.#tables.size <= this.#limit) return;
    }
  }

  /** Write what has changed into the file. A table that could not be written stays changed. */
  async write(): Promise<void> {
    for (const table of [...this.#dirty]) {
      const { dirtyFrom, dirtyTo, offset, view } = table;
      await this.#file.write(offset + dirtyFrom, new Uint8Array(view.buffer, dirtyFrom, dirtyTo - dirtyFrom));
      table.dirtyFrom = 0;
      table.dirtyTo = 0;
      this.#dirty.delete(table);
    }
  }
}
