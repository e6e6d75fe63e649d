/** The header of a qcow2 image, its extensions and its snapshot table: read, and everything in them checked. */
import { VmxonError } from "../../../common/errors.ts";
import type { BlockBackend } from "../../../hypervisor/backend.ts";
import { readPadded } from "../image-file.ts";

/** "QFI\xfb". */
export const QCOW2_MAGIC = 0x514649fb;

/** Offsets of header fields. qcow2.txt, "Header"; numbers are big-endian. */
export const FIELD = {
  magic: 0,
  version: 4,
  backingOffset: 8,
  backingSize: 16,
  clusterBits: 20,
  size: 24,
  cryptMethod: 32,
  l1Size: 36,
  l1Offset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  snapshots: 60,
  snapshotsOffset: 64,
  incompatible: 72,
  compatible: 80,
  autoclear: 88,
  refcountOrder: 96,
  headerLength: 100,
  compressionType: 104,
} as const;

/** Lengths of the header of version 2, and of version 3 with the fields that we write. */
export const HEADER_LENGTH = { v2: 72, v3: 104 } as const;

/** Types of header extensions. qcow2.txt, "Header extensions". */
export const EXTENSION = {
  END: 0,
  BACKING_FORMAT: 0xe2792aca,
  FEATURE_NAMES: 0x6803f857,
  BITMAPS: 0x23852875,
} as const;

/** Bits of the incompatible features; all below 32. */
export const INCOMPATIBLE = { DIRTY: 1, CORRUPT: 2, EXTERNAL_DATA: 4, COMPRESSION_TYPE: 8, EXTENDED_L2: 16 } as const;
/** Bits of the compatible features. */
export const COMPATIBLE = { LAZY_REFCOUNTS: 1 } as const;
/** Bits of the autoclear features. */
const AUTOCLEAR = { BITMAPS: 1 } as const;

/** Bits of L1 and L2 entries that lie in their upper half, and in the lower. */
export const ENTRY = { COPIED: 0x8000_0000, COMPRESSED: 0x4000_0000, OFFSET_HIGH: 0x00ff_ffff, ZERO: 1 } as const;

export const CLUSTER_BITS = { MIN: 9, MAX: 21 } as const;
export const MAX_REFCOUNT_ORDER = 6;
/** Version 2 has no field for it. */
export const DEFAULT_REFCOUNT_ORDER = 4;

/** Limits that QEMU has too; they bound what a header can make us allocate. */
export const LIMIT = {
  /** Bytes. */
  L1: 32 << 20,
  REFCOUNT_TABLE: 8 << 20,
  BACKING_NAME: 1023,
  SNAPSHOTS: 65536,
  SNAPSHOT_EXTRA: 1024,
  SNAPSHOT_TABLE: 64 << 20,
  EXTENSIONS: 64,
} as const;

const TWO_32 = 2 ** 32;
const FEATURE_NAME_ENTRY = { size: 48, type: 0, bit: 1, name: 2 } as const;
const NAMED_FEATURES: readonly [number, string][] = [
  [INCOMPATIBLE.EXTERNAL_DATA, "an external data file"],
  [INCOMPATIBLE.EXTENDED_L2, "extended L2 entries (subclusters)"],
];
const ENCRYPTIONS = ["", "AES", "LUKS"];
const COMPRESSIONS = ["zlib", "zstd"] as const;

export interface Qcow2Header {
  readonly version: 2 | 3;
  /** Bytes of the disk. */
  readonly size: number;
  readonly clusterBits: number;
  readonly refcountBits: number;
  readonly l1Size: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly backingFile: string | undefined;
  readonly backingFormat: string | undefined;
  readonly dirty: boolean;
  readonly corrupt: boolean;
  readonly lazyRefcounts: boolean;
  readonly compression: (typeof COMPRESSIONS)[number];
  /** There are autoclear features; whoever writes to the image must clear them. */
  readonly autoclear: boolean;
  /** Dirty bitmaps lie in the image and belong to it. */
  readonly bitmaps: boolean;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
}

export interface Qcow2Snapshot {
  readonly id: string;
  readonly name: string;
  readonly l1Offset: number;
  readonly l1Size: number;
  /** Bytes of the disk when it was taken. */
  readonly size: number;
  /** Bytes. */
  readonly vmStateSize: number;
  /** s since the Unix epoch, and ns beyond. */
  readonly date: number;
  readonly dateNs: number;
  /** ns that the guest had run. */
  readonly vmClock: bigint;
}

/** A big-endian number of 64 bits; above 2^53 it is not exact, but stays above it. */
export function getU64(view: DataView, offset: number): number {
  return view.getUint32(offset) * TWO_32 + view.getUint32(offset + 4);
}

export function setU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, Math.floor(value / TWO_32));
  view.setUint32(offset + 4, value % TWO_32);
}

/** The image cannot be used as it is. */
export function damaged(name: string, what: string): VmxonError {
  return new VmxonError("image", `${name} is damaged: ${what}. To see more: vmxon image check ${name}`);
}

/** It is sound, but something in it is not supported. */
function unsupported(name: string, what: string): VmxonError {
  const advice = "convert it: qemu-img convert -O qcow2 OLD NEW.qcow2";
  return new VmxonError("unsupported", `${name} has ${what}, which is not supported; ${advice}`);
}

/** Entries of an L1 table that a disk of this size needs. */
export function l1Entries(size: number, clusterBits: number): number {
  return Math.ceil(size / 2 ** (2 * clusterBits - 3));
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

interface Extensions {
  backingFormat?: string;
  bitmaps?: boolean;
  featureNames?: Uint8Array;
}

function readExtensions(name: string, head: DataView, from: number, end: number): Extensions {
  const found: Extensions = {};
  const bytes = new Uint8Array(head.buffer);
  let at = from;
  for (let count = 0; at + 8 <= end; count++) {
    const type = head.getUint32(at);
    const length = head.getUint32(at + 4);
    if (type === EXTENSION.END) break;
    if (length > end - at - 8 || count >= LIMIT.EXTENSIONS) {
      throw damaged(name, "a header extension reaches out of the header");
    }
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (type === EXTENSION.BACKING_FORMAT) found.backingFormat = text(data);
    else if (type === EXTENSION.BITMAPS) found.bitmaps = true;
    else if (type === EXTENSION.FEATURE_NAMES) found.featureNames = data;
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

/** The name that the image itself has for an incompatible feature. */
function featureName(names: Uint8Array | undefined, bit: number): string {
  const { size } = FEATURE_NAME_ENTRY;
  for (let at = 0; names && at + size <= names.length; at += size) {
    if (names[at + FEATURE_NAME_ENTRY.type] === 0 && names[at + FEATURE_NAME_ENTRY.bit] === bit) {
      const found = text(names.subarray(at + FEATURE_NAME_ENTRY.name, at + size)).replace(/\0.*$/s, "");
      // It is the image's word, and goes to a terminal.
      if (/^[\w .()-]+$/.test(found)) return `the feature "${found}"`;
    }
  }
  return `a feature that is not known (incompatible bit ${bit})`;
}

function refuseFeatures(name: string, bits: readonly [number, number], names: Uint8Array | undefined): void {
  const [high, low] = bits;
  for (const [bit, what] of NAMED_FEATURES) if ((low & bit) !== 0) throw unsupported(name, what);
  const known = Object.values(INCOMPATIBLE).reduce<number>((all, bit) => all | bit, 0);
  for (let bit = 0; bit < 64; bit++) {
    const half = bit < 32 ? low & ~known : high;
    if (((half >>> (bit & 31)) & 1) !== 0) throw unsupported(name, featureName(names, bit));
  }
}

/**
 * Read and check the header. Rejects with VmxonError("image") when it makes no sense and with VmxonError("unsupported") when
 * the image needs what is not there.
 */
export async function readQcow2Header(name: string, file: BlockBackend): Promise<Qcow2Header> {
  const first = new DataView(new ArrayBuffer(2 ** CLUSTER_BITS.MIN));
  await readPadded(file, 0, new Uint8Array(first.buffer));
  if (first.getUint32(FIELD.magic) !== QCOW2_MAGIC) throw new VmxonError("image", `${name} is no qcow2 image`);
  const version = first.getUint32(FIELD.version);
  if (version === 1) throw new VmxonError("unsupported", `${name} is a qcow image of version 1; ${CONVERT_QCOW1}`);
  if (version !== 2 && version !== 3) throw unsupported(name, `version ${version} of the qcow2 format`);
  const clusterBits = first.getUint32(FIELD.clusterBits);
  if (clusterBits < CLUSTER_BITS.MIN || clusterBits > CLUSTER_BITS.MAX) {
    throw damaged(name, `clusters of 2^${clusterBits} bytes are not possible`);
  }
  const clusterSize = 2 ** clusterBits;
  const head = new DataView(new ArrayBuffer(clusterSize));
  await readPadded(file, 0, new Uint8Array(head.buffer));

  const v3 = version === 3;
  const headerLength = v3 ? head.getUint32(FIELD.headerLength) : HEADER_LENGTH.v2;
  if (headerLength < (v3 ? HEADER_LENGTH.v3 : HEADER_LENGTH.v2) || headerLength > clusterSize) {
    throw damaged(name, `a header of ${headerLength} bytes is not possible`);
  }
  const backingOffset = getU64(head, FIELD.backingOffset);
  const backingSize = backingOffset === 0 ? 0 : head.getUint32(FIELD.backingSize);
  if (backingSize > LIMIT.BACKING_NAME || backingOffset + backingSize > clusterSize) {
    throw damaged(name, "the name of its backing file lies outside the header");
  }
  const extensionsEnd = backingOffset >= headerLength ? backingOffset : clusterSize;
  const extensions = readExtensions(name, head, headerLength, extensionsEnd);
  const incompatible = v3 ? head.getUint32(FIELD.incompatible + 4) : 0;
  if (v3) refuseFeatures(name, [head.getUint32(FIELD.incompatible), incompatible], extensions.featureNames);

  const cryptMethod = head.getUint32(FIELD.cryptMethod);
  if (cryptMethod !== 0) throw unsupported(name, `encryption (${ENCRYPTIONS[cryptMethod] ?? `method ${cryptMethod}`})`);
  const compressionType = headerLength > FIELD.compressionType ? head.getUint8(FIELD.compressionType) : 0;
  const compression = COMPRESSIONS[compressionType];
  if (compression === undefined) throw unsupported(name, `compression of type ${compressionType}`);
  if ((compressionType !== 0) !== ((incompatible & INCOMPATIBLE.COMPRESSION_TYPE) !== 0)) {
    throw damaged(name, "its header contradicts itself about compression");
  }
  const refcountOrder = v3 ? head.getUint32(FIELD.refcountOrder) : DEFAULT_REFCOUNT_ORDER;
  if (refcountOrder > MAX_REFCOUNT_ORDER) throw damaged(name, `reference counts of 2^${refcountOrder} bits`);

  const size = getU64(head, FIELD.size);
  const l1Size = head.getUint32(FIELD.l1Size);
  const l1Offset = getU64(head, FIELD.l1Offset);
  const needed = l1Entries(size, clusterBits);
  if (size > Number.MAX_SAFE_INTEGER || needed * 8 > LIMIT.L1)
    throw damaged(name, `a disk of ${size} bytes is too large`);
  if (l1Size < needed) throw damaged(name, "its L1 table is too small for the disk");
  checkTable(name, file, "L1 table", l1Offset, l1Size * 8, LIMIT.L1, clusterSize);
  const refcountTableOffset = getU64(head, FIELD.refcountTableOffset);
  const refcountTableClusters = head.getUint32(FIELD.refcountTableClusters);
  if (refcountTableClusters === 0) throw damaged(name, "it has no reference counts");
  const refcountBytes = refcountTableClusters * clusterSize;
  checkTable(name, file, "refcount table", refcountTableOffset, refcountBytes, LIMIT.REFCOUNT_TABLE, clusterSize);
  const snapshotCount = head.getUint32(FIELD.snapshots);
  const snapshotsOffset = getU64(head, FIELD.snapshotsOffset);
  if (snapshotCount > LIMIT.SNAPSHOTS) throw damaged(name, `${snapshotCount} snapshots are not possible`);
  if (snapshotCount > 0)
    checkTable(name, file, "snapshot table", snapshotsOffset, 1, LIMIT.SNAPSHOT_TABLE, clusterSize);

  const backingName = new Uint8Array(head.buffer, backingOffset, backingSize);
  return {
    version,
    size,
    clusterBits,
    refcountBits: 2 ** refcountOrder,
    l1Size,
    l1Offset,
    refcountTableOffset,
    refcountTableClusters,
    backingFile: backingSize > 0 ? text(backingName) : undefined,
    backingFormat: extensions.backingFormat,
    dirty: (incompatible & INCOMPATIBLE.DIRTY) !== 0,
    corrupt: (incompatible & INCOMPATIBLE.CORRUPT) !== 0,
    lazyRefcounts: v3 && (head.getUint32(FIELD.compatible + 4) & COMPATIBLE.LAZY_REFCOUNTS) !== 0,
    compression,
    autoclear: v3 && getU64(head, FIELD.autoclear) !== 0,
    bitmaps: extensions.bitmaps === true && v3 && (head.getUint32(FIELD.autoclear + 4) & AUTOCLEAR.BITMAPS) !== 0,
    snapshotCount,
    snapshotsOffset,
  };
}

const CONVERT_QCOW1 = "convert it: qemu-img convert -f qcow -O qcow2 OLD NEW.qcow2";

/** Throw when a table cannot be where the header says. */
function checkTable(
  name: string,
  file: BlockBackend,
  what: string,
  offset: number,
  length: number,
  limit: number,
  clusterSize: number,
): void {
  if (length > limit) throw damaged(name, `its ${what} of ${length} bytes is too large`);
  if (
    length > 0 &&
    (offset < clusterSize || offset % clusterSize !== 0 || offset + length > roundUp(file.size, clusterSize))
  ) {
    throw damaged(name, `its ${what} cannot be at byte ${offset}`);
  }
}

/** The next multiple of `unit`. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** Offsets in an entry of the snapshot table. qcow2.txt, "Snapshots". */
const SNAPSHOT = {
  l1Offset: 0,
  l1Size: 8,
  idSize: 12,
  nameSize: 14,
  date: 16,
  dateNs: 20,
  vmClock: 24,
  vmStateSize: 32,
  extraSize: 36,
  extra: 40,
  largeVmStateSize: 40,
  diskSize: 48,
} as const;
const SNAPSHOT_READ = 0x10000;

/** The snapshot table, and the bytes that it takes up. Rejects with VmxonError("image") where it makes no sense. */
export async function readSnapshots(
  name: string,
  file: BlockBackend,
  header: Qcow2Header,
): Promise<{ snapshots: Qcow2Snapshot[]; length: number }> {
  const snapshots: Qcow2Snapshot[] = [];
  const clusterSize = 2 ** header.clusterBits;
  const window = new Uint8Array(SNAPSHOT_READ);
  let windowAt = -1;
  let at = header.snapshotsOffset;
  // Whole entries are looked at in a window, which moves along.
  const bytes = async (length: number): Promise<DataView> => {
    if (length > window.length || at + length > file.size) throw damaged(name, "its snapshot table is cut off");
    if (windowAt < 0 || at < windowAt || at + length > windowAt + window.length) {
      await readPadded(file, at, window);
      windowAt = at;
    }
    return new DataView(window.buffer, at - windowAt, length);
  };
  for (let index = 0; index < header.snapshotCount; index++) {
    const fixed = await bytes(SNAPSHOT.extra);
    const idSize = fixed.getUint16(SNAPSHOT.idSize);
    const nameSize = fixed.getUint16(SNAPSHOT.nameSize);
    const extraSize = fixed.getUint32(SNAPSHOT.extraSize);
    if (extraSize > LIMIT.SNAPSHOT_EXTRA) throw damaged(name, `snapshot ${index} has too much extra data`);
    const length = SNAPSHOT.extra + extraSize + idSize + nameSize;
    const view = await bytes(length);
    const idAt = SNAPSHOT.extra + extraSize;
    const words = new Uint8Array(view.buffer, view.byteOffset, length);
    const l1Offset = getU64(view, SNAPSHOT.l1Offset);
    const l1Size = view.getUint32(SNAPSHOT.l1Size);
    const size = extraSize >= 16 ? getU64(view, SNAPSHOT.diskSize) : header.size;
    checkTable(name, file, `L1 table of snapshot ${index}`, l1Offset, l1Size * 8, LIMIT.L1, clusterSize);
    if (size > Number.MAX_SAFE_INTEGER || l1Entries(size, header.clusterBits) > l1Size) {
      throw damaged(name, `snapshot ${index} has too small an L1 table`);
    }
    snapshots.push({
      id: text(words.subarray(idAt, idAt + idSize)),
      name: text(words.subarray(idAt + idSize)),
      l1Offset,
      l1Size,
      size,
      vmStateSize: extraSize >= 8 ? getU64(view, SNAPSHOT.largeVmStateSize) : view.getUint32(SNAPSHOT.vmStateSize),
      date: view.getUint32(SNAPSHOT.date),
      dateNs: view.getUint32(SNAPSHOT.dateNs),
      vmClock: view.getBigUint64(SNAPSHOT.vmClock),
    });
    at += roundUp(length, 8);
    if (at - header.snapshotsOffset > LIMIT.SNAPSHOT_TABLE) throw damaged(name, "its snapshot table is too large");
  }
  return { snapshots, length: at - header.snapshotsOffset };
}
