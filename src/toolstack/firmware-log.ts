/** What firmware and guests write to the debug ports 402h and E9h; the last of it is kept. */
import type { ByteSink } from "../hypervisor/backend.ts";

const KEPT = 0x10000;

export class FirmwareLog implements ByteSink {
  readonly #bytes = new Uint8Array(KEPT);
  #written = 0;

  write(byte: number): void {
    this.#bytes[this.#written++ % KEPT] = byte;
  }

  /** The last 64 KB as text. */
  text(): string {
    const first = Math.max(0, this.#written - KEPT);
    let text = "";
    for (let i = first; i < this.#written; i++) text += String.fromCharCode(this.#bytes[i % KEPT]!);
    return text;
  }
}
