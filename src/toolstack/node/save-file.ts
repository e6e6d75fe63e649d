/** Saved domains as files: written whole or not at all. */
import { createReadStream } from "node:fs";
import { open, rename, stat, unlink } from "node:fs/promises";
import { Readable } from "node:stream";
import { VmxonError } from "../../common/errors.ts";
import type { SaveSink, SaveSource } from "../saved/container.ts";
import { reason } from "./image-file.ts";

/**
 * Write a file through `save`, under another name until all of it is on the disk; what was there before stays when anything
 * fails. Returns its size. Rejects with VmxonError("io") that names it.
 */
export async function writeSaveFile(name: string, save: (sink: SaveSink) => Promise<void>): Promise<number> {
  const partial = `${name}.part`;
  const file = await open(partial, "w", 0o600).catch((cause: unknown) => {
    throw new VmxonError("io", `${name}: cannot write it: ${reason(cause)}`, { cause });
  });
  try {
    let size = 0;
    await save(
      new WritableStream<Uint8Array>({
        async write(chunk) {
          for (let done = 0; done < chunk.length; ) {
            const { bytesWritten } = await file
              .write(chunk, done, chunk.length - done)
              .catch((cause: unknown) => Promise.reject(new VmxonError("io", `${name}: ${reason(cause)}`, { cause })));
            done += bytesWritten;
          }
          size += chunk.length;
        },
        async close() {
          await file.sync();
          // Before the domain that it holds is let go.
          await rename(partial, name);
        },
      }),
    );
    return size;
  } catch (error) {
    await unlink(partial).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
}

/** Open a file to restore from. Rejects with VmxonError("io") that names it. */
export async function openSaveFile(name: string): Promise<SaveSource> {
  const problem = await stat(name).then(
    (found) => (found.isDirectory() ? "it is a folder" : undefined),
    (cause: unknown) => reason(cause),
  );
  if (problem !== undefined) throw new VmxonError("io", `${name}: cannot open it: ${problem}`);
  return Readable.toWeb(createReadStream(name)) as unknown as ReadableStream<Uint8Array>;
}
