/** Images that a page has as a Blob or File: read where they lie, never as a whole. */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";

export class BlobImage implements BlockBackend {
  readonly readonly = true;
  readonly size: number;
  readonly #blob: Blob;

  constructor(blob: Blob) {
    this.#blob = blob;
    this.size = blob.size;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    const slice = this.#blob.slice(offset, offset + target.length);
    const bytes = await slice.arrayBuffer().catch((cause: unknown) => {
      // The file behind it was changed or removed.
      throw new VmxonError("io", `the image cannot be read any more: ${String(cause)}`, { cause });
    });
    if (bytes.byteLength !== target.length) throw new VmxonError("io", "the image has become shorter");
    target.set(new Uint8Array(bytes));
  }

  async write(): Promise<void> {
    throw new VmxonError("io", "a Blob cannot be written");
  }

  async flush(): Promise<void> {}

  async discard(): Promise<void> {}

  async close(): Promise<void> {}
}
