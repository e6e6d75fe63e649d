/** VMDK images in one file (VMware Virtual Disk Format 1.1/5.0, "Hosted Sparse Extents"): sparse and stream-optimized, read. */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";
import { damaged } from "./formats.ts";
import { readPadded } from "./image-file.ts";
import { inflateZlib } from "./inflate.ts";
import { MappedImage } from "./mapped-image.ts";
import { TableCache } from "./table-cache.ts";

/** "KDMV"; numbers are little-endian. */
const MAGIC = 0x564d444b;
/** Offsets in the header; sizes and places are in sectors. "SparseExtentHeader". */
const HEADER = {
  magic: 0,
  version: 4,
  flags: 8,
  capacity: 12,
  grainSize: 20,
  descriptorOffset: 28,
  descriptorSize: 36,
  entriesPerTable: 44,
  directoryOffset: 56,
  compression: 77,
  size: 512,
} as const;
const FLAG = { ZERO_GRAINS: 1 << 2, COMPRESSED: 1 << 16, MARKERS: 1 << 17 } as const;
const COMPRESSION_DEFLATE = 1;
/** A stream-optimized image has its directory's place in a copy of the header, two sectors before the file's end. */
const AT_END = 2 ** 64;
const FOOTER_DISTANCE = 1024;
/** Before a compressed grain: its first sector (8 bytes) and its length. */
const GRAIN_MARKER = { length: 8, size: 12 } as const;
const NO_GRAIN = 0;
const ZERO_GRAIN = 1;
const SECTOR = 512;
const MAX_DESCRIPTOR = 1 << 20;
const MAX_GRAIN = 16 << 20;
const MAX_TABLE_ENTRIES = 4096;
const MAX_DIRECTORY = 32 << 20;
const CACHED_TABLES = 1024;
/** What zlib may add to data that it cannot compress. */
const WORST_GROWTH = 1024;

const u64 = (view: DataView, at: number): number => view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;

async function record(file: BlockBackend, offset: number, length: number): Promise<DataView> {
  const view = new DataView(new ArrayBuffer(length));
  await readPadded(file, offset, new Uint8Array(view.buffer));
  return view;
}

/** The text that describes the disk. Throws for disks that consist of more than this file. */
async function checkDescriptor(name: string, file: BlockBackend, header: DataView): Promise<void> {
  const offset = u64(header, HEADER.descriptorOffset) * SECTOR;
  const length = u64(header, HEADER.descriptorSize) * SECTOR;
  if (offset === 0 || length === 0) throw new VmxonError("unsupported", `${name} is one part of a VMDK disk; ${JOIN}`);
  if (length > MAX_DESCRIPTOR || offset + length > file.size)
    throw damaged(name, "its descriptor lies outside the file");
  const { buffer } = await record(file, offset, length);
  const text = new TextDecoder().decode(buffer).replace(/\0.*$/s, "");
  const type = /^\s*createType\s*=\s*"([^"]*)"/m.exec(text)?.[1];
  const parent = /^\s*parentCID\s*=\s*(\w+)/m.exec(text)?.[1];
  if (parent !== undefined && parent.toLowerCase() !== "ffffffff") {
    throw new VmxonError("unsupported", `${name} is a VMDK image with a parent, which is not supported; ${JOIN}`);
  }
  if (type !== "monolithicSparse" && type !== "streamOptimized") {
    throw new VmxonError("unsupported", `${name} is a VMDK image of a type that is not supported; ${JOIN}`);
  }
}

const JOIN = "make one image of it: qemu-img convert -O qcow2 DESCRIPTOR.vmdk NEW.qcow2";

/** Open a VMDK image. Rejects with VmxonError("image" | "unsupported") that names it. */
export async function openVmdk(name: string, file: BlockBackend): Promise<BlockBackend> {
  let header = await record(file, 0, HEADER.size);
  if (header.getUint32(HEADER.magic, true) !== MAGIC) throw new VmxonError("image", `${name} is no VMDK image`);
  const version = header.getUint32(HEADER.version, true);
  if (version < 1 || version > 3) throw new VmxonError("unsupported", `${name} is a VMDK image of version ${version}`);
  await checkDescriptor(name, file, header);
  if (u64(header, HEADER.directoryOffset) >= AT_END) {
    header = await record(file, Math.max(0, file.size - FOOTER_DISTANCE), HEADER.size);
    if (header.getUint32(HEADER.magic, true) !== MAGIC) throw damaged(name, "it has no footer; was it cut off?");
  }
  const flags = header.getUint32(HEADER.flags, true);
  const grainSize = u64(header, HEADER.grainSize) * SECTOR;
  const size = u64(header, HEADER.capacity) * SECTOR;
  const perTable = header.getUint32(HEADER.entriesPerTable, true);
  if (grainSize < SECTOR || grainSize > MAX_GRAIN || !Number.isInteger(Math.log2(grainSize))) {
    throw damaged(name, `grains of ${grainSize} bytes`);
  }
  if (perTable === 0 || perTable > MAX_TABLE_ENTRIES) throw damaged(name, `grain tables of ${perTable} entries`);
  const tables = Math.ceil(size / (grainSize * perTable));
  const directoryOffset = u64(header, HEADER.directoryOffset) * SECTOR;
  if (size > Number.MAX_SAFE_INTEGER || tables * 4 > MAX_DIRECTORY || directoryOffset + tables * 4 > file.size) {
    throw damaged(name, "its grain directory is not large enough for the disk");
  }
  const compressed = (flags & FLAG.COMPRESSED) !== 0;
  if (compressed && (header.getUint16(HEADER.compression, true) !== COMPRESSION_DEFLATE || !(flags & FLAG.MARKERS))) {
    throw new VmxonError("unsupported", `${name} is a VMDK image compressed in a way that is not supported`);
  }
  const directory = await record(file, directoryOffset, tables * 4);
  const cache = new TableCache(file, { tableSize: perTable * 4, limit: CACHED_TABLES });

  /** Sector of a grain. */
  const locate = async (grain: number): Promise<number> => {
    const index = grain % perTable;
    const table = directory.getUint32(((grain - index) / perTable) * 4, true) * SECTOR;
    if (table === 0) return NO_GRAIN;
    if (table >= file.size) throw damaged(name, "a grain table lies outside the file");
    return (await cache.load(table)).view.getUint32(index * 4, true);
  };

  /** The compressed grain that was read last: its sector and its bytes. */
  let unpacked: { sector: number; bytes: Uint8Array } | undefined;
  const unpack = async (sector: number): Promise<Uint8Array> => {
    if (unpacked?.sector === sector) return unpacked.bytes;
    const marker = await record(file, sector * SECTOR, GRAIN_MARKER.size);
    const length = marker.getUint32(GRAIN_MARKER.length, true);
    if (length > grainSize * 2 + WORST_GROWTH) throw damaged(name, `a compressed grain of ${length} bytes`);
    const packed = await record(file, sector * SECTOR + GRAIN_MARKER.size, length);
    const bytes = new Uint8Array(grainSize);
    // The disk's last grain may be shorter.
    inflateZlib(new Uint8Array(packed.buffer), bytes);
    unpacked = { sector, bytes };
    return bytes;
  };

  return new MappedImage({
    name,
    file,
    size,
    blockSize: grainSize,
    async readBlock(grain, within, target) {
      const sector = await locate(grain);
      if (sector === NO_GRAIN || (sector === ZERO_GRAIN && (flags & FLAG.ZERO_GRAINS) !== 0)) {
        target.fill(0);
        return;
      }
      if (sector * SECTOR >= file.size) throw damaged(name, `grain ${grain} lies outside the file`);
      if (compressed) {
        const bytes = await unpack(sector);
        target.set(bytes.subarray(within, within + target.length));
      } else await readPadded(file, sector * SECTOR + within, target);
    },
  });
}
