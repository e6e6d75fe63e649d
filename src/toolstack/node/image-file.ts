/** Image files in Node: read and written where they lie, made durable by fdatasync, locked while they may be written. */
import { readSync, writeSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { VmxonError } from "../../common/errors.ts";
import type { ImageFile } from "../images/image-file.ts";
import { ImageLock } from "./image-lock.ts";
import { QuickCalls } from "./quick-calls.ts";

/** A file that is an image, or in which one lies. Writes at its end make it larger. */
export class FileBackend implements ImageFile {
  readonly readonly: boolean;
  readonly #name: string;
  readonly #file: FileHandle;
  readonly #lock: ImageLock | undefined;
  readonly #quick = new QuickCalls();
  #size: number;
  /** A flush has failed: what was written before may be lost, and no later flush can say otherwise. */
  #broken: VmxonError | undefined;

  constructor(options: { name: string; file: FileHandle; size: number; lock?: ImageLock; readonly: boolean }) {
    this.#name = options.name;
    this.#file = options.file;
    this.#size = options.size;
    this.#lock = options.lock;
    this.readonly = options.readonly;
  }

  get size(): number {
    return this.#size;
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
    const atOnce = await this.#atOnce("write", source.length, () => writeSync(fd, source, 0, source.length, offset));
    for (let done = atOnce ? source.length : 0; done < source.length; ) {
      const { bytesWritten } = await this.#attempt("write", () =>
        this.#file.write(source, done, source.length - done, offset + done),
      );
      done += bytesWritten;
    }
    this.#size = Math.max(this.#size, offset + source.length);
  }

  async truncate(size: number): Promise<void> {
    await this.#attempt("resize", () => this.#file.truncate(size));
    this.#size = size;
  }

  async flush(): Promise<void> {
    if (this.readonly) return;
    if (this.#broken) throw this.#broken;
    try {
      await this.#attempt("flush", () => this.#file.datasync());
    } catch (error) {
      this.#broken = error as VmxonError;
      throw error;
    }
  }

  /** Node has no call that makes holes: everything stays. */
  async discard(): Promise<void> {}

  async close(): Promise<void> {
    try {
      await this.#file.close();
    } finally {
      await this.#lock?.release();
    }
  }

  /** Bytes that the file takes up on its disk. */
  async allocated(): Promise<number> {
    const { blocks } = await this.#file.stat();
    return blocks * STAT_BLOCK;
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

/** Unit of `blocks` in stat(2). */
const STAT_BLOCK = 512;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EEXIST: "it exists already",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "it lies on a read-only file system",
  EISDIR: "it is a folder, not an image",
  ENOSPC: "no space is left on its file system",
};

/** What a system error means. */
export function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  return (code !== undefined && REASONS[code]) || (error instanceof Error ? error.message : String(error));
}

/**
 * Open an image file. A missing right to write is an error here; the caller decides whether read-only will do. Rejects with
 * VmxonError("busy") when another program has opened it for writing.
 */
export async function openFile(name: string, access: "rw" | "r"): Promise<FileBackend> {
  let file: FileHandle | undefined;
  try {
    file = await open(name, access === "rw" ? "r+" : "r");
    const stat = await file.stat();
    if (stat.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
    const lock = access === "rw" && stat.isFile() ? await ImageLock.take(name) : undefined;
    // Block devices have no size of their own: their end is found by looking for it.
    const size = stat.isFile() ? stat.size : await deviceSize(file);
    return new FileBackend({ name, file, size, readonly: access === "r", ...(lock ? { lock } : {}) });
  } catch (cause) {
    await file?.close();
    if (cause instanceof VmxonError) throw cause;
    const hint =
      access === "rw" && (cause as NodeJS.ErrnoException).code !== "ENOENT"
        ? " To run it with writes thrown away, add -snapshot."
        : "";
    throw new VmxonError("image", `${name}: cannot open it: ${reason(cause)}.${hint}`, { cause });
  }
}

/** Make a new file for an image, or empty the one that is there. Rejects with VmxonError("image" | "busy"). */
export async function createFile(name: string): Promise<FileBackend> {
  let file: FileHandle | undefined;
  try {
    file = await open(name, "a+");
    const stat = await file.stat();
    await file.close();
    if (!stat.isFile()) throw Object.assign(new Error("it is no ordinary file"), { code: "" });
  } catch (cause) {
    throw new VmxonError("image", `${name}: cannot make it: ${reason(cause)}.`, { cause });
  }
  const image = await openFile(name, "rw");
  await image.truncate(0);
  return image;
}

const MAX_DEVICE_SIZE = 2 ** 46;

async function deviceSize(file: FileHandle): Promise<number> {
  const probe = new Uint8Array(1);
  const readable = async (offset: number): Promise<boolean> => {
    try {
      return (await file.read(probe, 0, 1, offset)).bytesRead === 1;
    } catch {
      return false;
    }
  };
  let low = 0;
  let high = MAX_DEVICE_SIZE;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await readable(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
