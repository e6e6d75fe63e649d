/** A read-only medium whose blocks lie here and there in a file: what VHD, VDI and VMDK images have in common. */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";

export interface MappedImageOptions {
  readonly name: string;
  readonly file: BlockBackend;
  /** Bytes of the disk. */
  readonly size: number;
  readonly blockSize: number;
  /** Fill `target` from byte `within` of a block. */
  readBlock(block: number, within: number, target: Uint8Array): Promise<void>;
}

export class MappedImage implements BlockBackend {
  readonly size: number;
  readonly readonly = true;
  readonly #options: MappedImageOptions;

  constructor(options: MappedImageOptions) {
    this.size = options.size;
    this.#options = options;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    const { blockSize, readBlock } = this.#options;
    for (let done = 0; done < target.length; ) {
      const within = (offset + done) % blockSize;
      const length = Math.min(blockSize - within, target.length - done);
      await readBlock((offset + done - within) / blockSize, within, target.subarray(done, done + length));
      done += length;
    }
  }

  async write(): Promise<void> {
    throw new VmxonError("io", `${this.#options.name} is read-only`);
  }

  async flush(): Promise<void> {}

  async discard(): Promise<void> {}

  close(): Promise<void> {
    return this.#options.file.close();
  }
}
