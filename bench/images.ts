/** Disk images, raw and qcow2: µs for each MiB in order, and for each 4 KiB anywhere. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlockBackend } from "../src/hypervisor/backend.ts";
import { createRaw } from "../src/toolstack/images/convert.ts";
import { openImage } from "../src/toolstack/images/open.ts";
import { createQcow2 } from "../src/toolstack/images/qcow2/create.ts";
import { NODE_HOST } from "../src/toolstack/node/host.ts";
import { createFile } from "../src/toolstack/node/image-file.ts";

const MIB = 1 << 20;
const SIZE = 128 * MIB;
/** What a guest with DMA asks for at a time. */
const CHUNK = 128 << 10;
const SMALL = 4096;
const RANDOM_OPERATIONS = 8000;

/** µs that `count` pieces of work take, each. */
async function time(count: number, work: (index: number) => Promise<void>): Promise<number> {
  const start = performance.now();
  for (let index = 0; index < count; index++) await work(index);
  return ((performance.now() - start) * 1000) / count;
}

/** Offsets all over the disk, the same in each run. */
const somewhere = (index: number): number => (((index * 2654435761) >>> 0) % (SIZE / SMALL)) * SMALL;

async function measure(
  format: "raw" | "qcow2",
  disk: BlockBackend,
  report: (name: string, us: number) => void,
): Promise<void> {
  const chunk = new Uint8Array(CHUNK).fill(0x5a);
  const small = new Uint8Array(SMALL).fill(0xa5);
  const perMib = MIB / CHUNK;
  const inOrder = async (what: string, work: (offset: number) => Promise<void>): Promise<void> => {
    report(`${format} ${what}`, (await time(SIZE / CHUNK, (index) => work(index * CHUNK))) * perMib);
  };
  const anywhere = async (what: string, work: (offset: number) => Promise<void>): Promise<void> => {
    report(`${format} ${what}`, await time(RANDOM_OPERATIONS, (index) => work(somewhere(index))));
  };
  await inOrder("new, MiB", (offset) => disk.write(offset, chunk));
  await disk.flush();
  await inOrder("write, MiB", (offset) => disk.write(offset, chunk));
  await inOrder("read, MiB", (offset) => disk.read(offset, chunk));
  await anywhere("write, 4 KiB", (offset) => disk.write(offset, small));
  await anywhere("read, 4 KiB", (offset) => disk.read(offset, small));
}

/** Report each row; lower is better. */
export async function runImagesBench(report: (name: string, us: number) => void): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "vmxon-bench-"));
  try {
    for (const format of ["raw", "qcow2"] as const) {
      const name = join(folder, format);
      const file = await createFile(name);
      if (format === "raw") await createRaw(file, SIZE);
      else await createQcow2(file, { size: SIZE });
      await file.close();
      const { backend } = await openImage(name, { name, host: NODE_HOST, access: "rw", format });
      await measure(format, backend, report);
      await backend.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}
