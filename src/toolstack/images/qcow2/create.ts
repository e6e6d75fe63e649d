/** Makes qcow2 images: header, counts and an empty L1 table. */
import { VmxonError } from "../../../common/errors.ts";
import type { ImageFile } from "../image-file.ts";
import {
  CLUSTER_BITS,
  COMPATIBLE,
  DEFAULT_REFCOUNT_ORDER,
  EXTENSION,
  FIELD,
  HEADER_LENGTH,
  LIMIT,
  l1Entries,
  MAX_REFCOUNT_ORDER,
  QCOW2_MAGIC,
  roundUp,
  setU64,
} from "./header.ts";
import { countFormat } from "./refcounts.ts";

export const DEFAULT_CLUSTER_SIZE = 0x10000;

export interface CreateQcow2Options {
  /** Bytes of the disk: whole sectors. */
  readonly size: number;
  readonly clusterSize?: number | undefined;
  /** Width of reference counts: 1 to 64, a power of two. 1 leaves no room for snapshots. */
  readonly refcountBits?: number | undefined;
  readonly version?: 2 | 3 | undefined;
  readonly lazyRefcounts?: boolean | undefined;
  readonly backingFile?: string | undefined;
  readonly backingFormat?: string | undefined;
}

const ENTRY_SIZE = 8;

function refuse(message: string): never {
  throw new VmxonError("usage", message);
}

/** log2 of an option's value, when that is a power of two between the limits. */
function exponent(what: string, value: number, min: number, max: number): number {
  const bits = Math.log2(value);
  if (!Number.isInteger(bits) || bits < min || bits > max) {
    refuse(`${what}=${value}: write a power of two from ${2 ** min} to ${2 ** max}.`);
  }
  return bits;
}

/** Clusters of refcount table and refcount blocks that count themselves and `others` clusters. */
export function refcountClusters(
  others: number,
  clusterSize: number,
  refcountBits: number,
): { blocks: number; table: number } {
  const perBlock = (clusterSize * 8) / refcountBits;
  let blocks = 1;
  let table = 1;
  for (;;) {
    const neededBlocks = Math.ceil((others + blocks + table) / perBlock);
    const neededTable = Math.ceil((neededBlocks * ENTRY_SIZE) / clusterSize);
    if (neededBlocks <= blocks && neededTable <= table) return { blocks, table };
    blocks = Math.max(blocks, neededBlocks);
    table = Math.max(table, neededTable);
  }
}

/** Bytes of header extensions. */
function extensions(options: CreateQcow2Options): Uint8Array {
  const format = new TextEncoder().encode(options.backingFormat ?? "");
  const end = new DataView(new ArrayBuffer(8));
  end.setUint32(0, EXTENSION.END);
  if (format.length === 0) return new Uint8Array(end.buffer);
  const view = new DataView(new ArrayBuffer(8 + roundUp(format.length, 8) + 8));
  view.setUint32(0, EXTENSION.BACKING_FORMAT);
  view.setUint32(4, format.length);
  new Uint8Array(view.buffer).set(format, 8);
  return new Uint8Array(view.buffer);
}

/** Write an empty image into an empty file. Rejects with VmxonError("usage") for options that make no image. */
export async function createQcow2(file: ImageFile, options: CreateQcow2Options): Promise<void> {
  const { size, clusterSize = DEFAULT_CLUSTER_SIZE, refcountBits = 2 ** DEFAULT_REFCOUNT_ORDER, version = 3 } = options;
  const clusterBits = exponent("cluster_size", clusterSize, CLUSTER_BITS.MIN, CLUSTER_BITS.MAX);
  const refcountOrder = exponent("refcount_bits", refcountBits, 0, MAX_REFCOUNT_ORDER);
  if (version === 2 && refcountOrder !== DEFAULT_REFCOUNT_ORDER) refuse("refcount_bits: compat=0.10 has 16 bits only.");
  if (version === 2 && options.lazyRefcounts) refuse("lazy_refcounts: compat=0.10 has none.");
  const entries = l1Entries(size, clusterBits);
  if (entries * ENTRY_SIZE > LIMIT.L1) {
    refuse(`a disk of ${size} bytes needs larger clusters than ${clusterSize} bytes: -o cluster_size=65536`);
  }
  const l1Clusters = Math.max(1, Math.ceil((entries * ENTRY_SIZE) / clusterSize));
  const counts = refcountClusters(1 + l1Clusters, clusterSize, refcountBits);
  const blocksAt = 1 + counts.table;
  const l1At = blocksAt + counts.blocks;
  const used = l1At + l1Clusters;

  const header = new DataView(new ArrayBuffer(clusterSize));
  const backing = new TextEncoder().encode(options.backingFile ?? "");
  const headerLength = version === 3 ? HEADER_LENGTH.v3 : HEADER_LENGTH.v2;
  const extra = extensions(options);
  const backingOffset = headerLength + extra.length;
  if (backing.length > LIMIT.BACKING_NAME || backingOffset + backing.length > clusterSize) {
    refuse(`the name of the backing file is too long: ${options.backingFile}`);
  }
  header.setUint32(FIELD.magic, QCOW2_MAGIC);
  header.setUint32(FIELD.version, version);
  if (backing.length > 0) {
    setU64(header, FIELD.backingOffset, backingOffset);
    header.setUint32(FIELD.backingSize, backing.length);
  }
  header.setUint32(FIELD.clusterBits, clusterBits);
  setU64(header, FIELD.size, size);
  header.setUint32(FIELD.l1Size, entries);
  setU64(header, FIELD.l1Offset, l1At * clusterSize);
  setU64(header, FIELD.refcountTableOffset, clusterSize);
  header.setUint32(FIELD.refcountTableClusters, counts.table);
  if (version === 3) {
    setU64(header, FIELD.compatible, options.lazyRefcounts ? COMPATIBLE.LAZY_REFCOUNTS : 0);
    header.setUint32(FIELD.refcountOrder, refcountOrder);
    header.setUint32(FIELD.headerLength, headerLength);
  }
  new Uint8Array(header.buffer).set(extra, headerLength);
  new Uint8Array(header.buffer).set(backing, backingOffset);

  const table = new DataView(new ArrayBuffer(counts.table * clusterSize));
  for (let block = 0; block < counts.blocks; block++)
    setU64(table, block * ENTRY_SIZE, (blocksAt + block) * clusterSize);
  const blocks = new DataView(new ArrayBuffer(counts.blocks * clusterSize));
  const format = countFormat(refcountBits);
  // Blocks follow one another, so that they are one long row of counts.
  for (let cluster = 0; cluster < used; cluster++) format.set(blocks, cluster, 1);

  await file.truncate(used * clusterSize);
  await file.write(0, new Uint8Array(header.buffer));
  await file.write(clusterSize, new Uint8Array(table.buffer));
  await file.write(blocksAt * clusterSize, new Uint8Array(blocks.buffer));
  await file.flush();
}
