/**
 * A raw image that nobody has called raw: its format was found by looking. A guest that wrote another format's header into it
 * would have it opened as that next time, with any file of the host for a backing file (CVE-2008-2004), so that such writes
 * fail. QEMU does the same.
 */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";
import { FORMAT_SECTOR, formatOf, formatSectors } from "./formats.ts";
import { InOrder } from "./in-order.ts";

export class ProbedRawBackend implements BlockBackend {
  readonly readonly = false;
  readonly #name: string;
  readonly #file: BlockBackend;
  readonly #order = new InOrder();

  constructor(name: string, file: BlockBackend) {
    this.#name = name;
    this.#file = file;
  }

  get size(): number {
    return this.#file.size;
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#file.read(offset, target);
  }

  write(offset: number, source: Uint8Array): Promise<void> {
    const end = offset + source.length;
    // A write behind the end makes the file longer, and its last sector another one.
    if (offset >= FORMAT_SECTOR && end <= this.size - FORMAT_SECTOR) return this.#file.write(offset, source);
    const data = source.slice();
    return this.#order.run(async () => {
      await this.#check(offset, data);
      await this.#file.write(offset, data);
    });
  }

  /** Throw when the file would not look raw any more. */
  async #check(offset: number, source: Uint8Array): Promise<void> {
    const { first, last } = await formatSectors(this.#file);
    const size = Math.max(this.size, offset + source.length);
    if (size > this.size) last.fill(0);
    lay(source, offset, first, 0);
    lay(source, offset, last, size - FORMAT_SECTOR);
    if (formatOf(first, last) === "raw") return;
    throw new VmxonError(
      "io",
      `${this.#name}: the guest writes the header of another image format into it. To allow that, say that it is raw: disk="${this.#name},raw,hda"`,
    );
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#file.discard(offset, length);
  }

  close(): Promise<void> {
    return this.#order.run(() => this.#file.close());
  }
}

/** Copy into `sector`, which lies at `at`, what `source` at `offset` has for it. */
function lay(source: Uint8Array, offset: number, sector: Uint8Array, at: number): void {
  const from = Math.max(offset, at);
  const to = Math.min(offset + source.length, at + sector.length);
  if (from < to) sector.set(source.subarray(from - offset, to - offset), from - at);
}
