/** What tells an image from another one, or from itself at another time, without reading all of it. */
import type { BlockBackend } from "../../hypervisor/backend.ts";
import { hashPlain } from "../state-hash.ts";

/** Bytes looked at at both ends, and the pieces between them. */
const END_BYTES = 0x10000;
const PIECES = 64;
const PIECE_BYTES = 4096;

export interface Fingerprint {
  /** Bytes. */
  size: number;
  /** When the host's file was last written, as the host says it; null where nobody knows. */
  modified: string | null;
  /** Hash of both ends and of pieces between them. */
  sample: string;
}

/** Look at `backend`; `modified` is what the host says of its file. */
export async function fingerprintOf(backend: BlockBackend, modified: string | undefined): Promise<Fingerprint> {
  const { size } = backend;
  const hashes: string[] = [];
  const look = async (offset: number, bytes: number): Promise<void> => {
    const target = new Uint8Array(Math.min(bytes, size - offset));
    await backend.read(offset, target);
    hashes.push(hashPlain(target));
  };
  await look(0, END_BYTES);
  if (size > END_BYTES) {
    for (let i = 1; i < PIECES; i++) await look(Math.floor(((size - PIECE_BYTES) * i) / PIECES), PIECE_BYTES);
    await look(Math.max(0, size - END_BYTES), END_BYTES);
  }
  return { size, modified: modified ?? null, sample: hashPlain(hashes) };
}

/** How `now` differs from `then`, as the end of a sentence about it; undefined when it is the same image, unchanged. */
export function difference(then: Fingerprint, now: Fingerprint): string | undefined {
  if (now.size !== then.size) return `has ${now.size} bytes, and had ${then.size} when the domain was saved`;
  if (now.sample !== then.sample) return "has other contents than when the domain was saved";
  if (then.modified !== null && now.modified !== null && then.modified !== now.modified)
    return "was written to after the domain was saved";
  return undefined;
}
