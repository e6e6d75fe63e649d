/** A folder for one test's images, and short ways to make and open them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlockBackend } from "../../../src/hypervisor/backend.ts";
import { type OpenedImage, type OpenOptions, openImage } from "../../../src/toolstack/images/open.ts";
import { type CreateQcow2Options, createQcow2 } from "../../../src/toolstack/images/qcow2/create.ts";
import { NODE_HOST } from "../../../src/toolstack/node/host.ts";
import { createFile } from "../../../src/toolstack/node/image-file.ts";

export async function withFolder(work: (path: (name: string) => string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "vmxon-images-"));
  try {
    await work((name) => join(folder, name));
  } finally {
    await rm(folder, { recursive: true });
  }
}

export async function makeQcow2(path: string, options: CreateQcow2Options): Promise<void> {
  const file = await createFile(path);
  await createQcow2(file, options);
  await file.close();
}

export function open(path: string, access: "rw" | "r", options: Partial<OpenOptions> = {}): Promise<OpenedImage> {
  return openImage(path, { name: path, host: NODE_HOST, access, ...options });
}

/** All bytes of a disk. */
export async function contents(disk: BlockBackend): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.size);
  await disk.read(0, bytes);
  return bytes;
}

/** Do something with a disk, and close it. */
export async function using<T>(opened: Promise<OpenedImage>, work: (disk: BlockBackend) => Promise<T>): Promise<T> {
  const { backend } = await opened;
  try {
    return await work(backend);
  } finally {
    await backend.close();
  }
}
