/** A raw image file as a medium. Small transfers that the system has in memory are done at once. */
import { readSync, writeSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";

/** Longest transfer that is tried at once. */
const QUICK_BYTES = 0x10000;
/** ms after which a call was slow, and how many transfers then take the way through Node's threads. */
const SLOW_MS = 1;
const WARY = 64;

/**
 * Whether to call the system directly. A transfer through Node's threads costs 45 µs more than one from the system's
 * cache, which takes 2: random reads of a guest are three times as fast without. But a call that waits for a real disk holds
 * up everything else here: after one of these the next transfers go the other way.
 */
class QuickCalls {
  #wary = 0;

  mayTry(bytes: number): boolean {
    if (bytes > QUICK_BYTES) return false;
    if (this.#wary === 0) return true;
    this.#wary--;
    return false;
  }

  run(call: () => number): number {
    const start = performance.now();
    const count = call();
    if (performance.now() - start > SLOW_MS) this.#wary = WARY;
    return count;
  }
}

/** A medium over a raw image file. */
export class FileBackend implements BlockBackend {
  readonly size: number;
  readonly readonly: boolean;
  readonly #name: string;
  readonly #file: FileHandle;
  readonly #quick = new QuickCalls();

  constructor(options: { name: string; file: FileHandle; size: number; readonly: boolean }) {
    this.#name = options.name;
    this.#file = options.file;
    this.size = options.size;
    this.readonly = options.readonly;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    const { fd } = this.#file;
    if (await this.#atOnce("read", target.length, () => readSync(fd, target, 0, target.length, offset))) return;
    for (let done = 0; done < target.length; ) {
      const { bytesRead } = await this.#attempt("read", () =>
        this.#file.read(target, done, target.length - done, offset + done),
      );
      if (bytesRead === 0) {
        throw new VmxonError("io", `${this.#name}: the file ends at byte ${offset + done}; did it become shorter?`);
      }
      done += bytesRead;
    }
  }

  async write(offset: number, source: Uint8Array): Promise<void> {
    if (this.readonly) throw new VmxonError("io", `${this.#name} was opened read-only`);
    const { fd } = this.#file;
    if (await this.#atOnce("write", source.length, () => writeSync(fd, source, 0, source.length, offset))) return;
    for (let done = 0; done < source.length; ) {
      const { bytesWritten } = await this.#attempt("write", () =>
        this.#file.write(source, done, source.length - done, offset + done),
      );
      done += bytesWritten;
    }
  }

  async flush(): Promise<void> {
    if (!this.readonly) await this.#attempt("flush", () => this.#file.datasync());
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** True when all `bytes` could be transferred by calling the system directly. */
  async #atOnce(verb: string, bytes: number, call: () => number): Promise<boolean> {
    return this.#quick.mayTry(bytes) && (await this.#attempt(verb, () => this.#quick.run(call))) === bytes;
  }

  async #attempt<T>(verb: string, work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      throw new VmxonError("io", `${this.#name}: cannot ${verb}: ${reason(cause)}`, { cause });
    }
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "it lies on a read-only file system",
  EISDIR: "it is a folder, not an image",
  ENOSPC: "no space is left on its file system",
};

/** What a system error says, in words. */
export function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  return (code !== undefined && REASONS[code]) || (error instanceof Error ? error.message : String(error));
}
