/** Copies disks from image to image; what is zero takes no place in the new one. */
import type { BlockBackend } from "../../hypervisor/backend.ts";
import type { ImageFile } from "./image-file.ts";
import { Qcow2Image } from "./qcow2/qcow2.ts";

/** Bytes that are read at a time. */
const CHUNK = 2 << 20;
/** What is looked at for being zero, in raw images. */
const HOLE = 4096;

/** Makes a deflate stream of a cluster whose distances reach back 4 KB at most, or tells that none would be shorter. */
export type Deflate = (cluster: Uint8Array) => Promise<Uint8Array | undefined>;

export interface CopyOptions {
  /** Compress clusters, when the target is a qcow2 image. */
  readonly deflate?: Deflate | undefined;
  /** What the target shows before it is written: bytes that it has already are left out. Nothing: zeros. */
  readonly base?: BlockBackend | undefined;
  onProgress?(fraction: number): void;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, index) => byte === b[index]);
}

/** Copy a disk into one of the same size that holds nothing, or what its base holds. Ends with a flush. */
export async function copyDisk(source: BlockBackend, target: BlockBackend, options: CopyOptions = {}): Promise<void> {
  const { deflate, base, onProgress } = options;
  const unit = target instanceof Qcow2Image ? target.clusterSize : HOLE;
  const buffer = new Uint8Array(Math.max(CHUNK, unit));
  const below = base ? new Uint8Array(buffer.length) : undefined;
  for (let at = 0; at < source.size; at += buffer.length) {
    const chunk = buffer.subarray(0, Math.min(buffer.length, source.size - at));
    await source.read(at, chunk);
    if (base && below) {
      const present = Math.max(0, Math.min(chunk.length, base.size - at));
      if (present > 0) await base.read(at, below.subarray(0, present));
      below.fill(0, present);
    }
    const known = (from: number, to: number): boolean => {
      const part = chunk.subarray(from, to);
      return below ? isEqual(part, below.subarray(from, to)) : isZero(part);
    };
    for (let from = 0; from < chunk.length; ) {
      const step = Math.min(unit, chunk.length - from);
      if (known(from, from + step)) {
        from += step;
        continue;
      }
      if (deflate && target instanceof Qcow2Image) {
        await writePacked(target, at + from, chunk.subarray(from, from + step), deflate);
        from += step;
        continue;
      }
      let to = from + step;
      while (to < chunk.length && !known(to, Math.min(to + unit, chunk.length))) to = Math.min(to + unit, chunk.length);
      await target.write(at + from, chunk.subarray(from, to));
      from = to;
    }
    onProgress?.(Math.min(1, (at + chunk.length) / source.size));
  }
  await target.flush();
}

async function writePacked(target: Qcow2Image, at: number, bytes: Uint8Array, deflate: Deflate): Promise<void> {
  // The disk's last cluster may be shorter; its compressed form is of a whole one.
  const cluster = new Uint8Array(target.clusterSize);
  cluster.set(bytes);
  const stream = await deflate(cluster);
  if (stream && stream.length < target.clusterSize) await target.writeCompressed(at, stream);
  else await target.write(at, bytes);
}

/** An empty raw image of this size. */
export async function createRaw(file: ImageFile, size: number): Promise<void> {
  await file.truncate(size);
  await file.flush();
}
