/** VHD images (Virtual Hard Disk Image Format Specification, 2006): fixed and dynamic ones, read. */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";
import { damaged } from "./formats.ts";
import { readPadded } from "./image-file.ts";
import { MappedImage } from "./mapped-image.ts";

/** "conectix" and "cxsparse", in halves. */
const FOOTER_COOKIE = [0x636f6e65, 0x63746978] as const;
const HEADER_COOKIE = [0x63787370, 0x61727365] as const;
/** Offsets in the footer; numbers are big-endian. "Hard Disk Footer Format". */
const FOOTER = {
  dataOffset: 16,
  creator: 28,
  currentSize: 48,
  cylinders: 56,
  heads: 58,
  sectors: 59,
  type: 60,
  checksum: 64,
  size: 512,
} as const;
/** Offsets in the header of dynamic disks. "Dynamic Disk Header Format". */
const HEADER = { tableOffset: 16, entries: 28, blockSize: 32, checksum: 36, size: 1024 } as const;
const TYPE = { FIXED: 2, DYNAMIC: 3, DIFFERENCING: 4 } as const;
const UNUSED = 0xffffffff;
const SECTOR = 512;
const MAX_TABLE = 32 << 20;
const MAX_BLOCK = 256 << 20;
/** Programs whose disks are as large as their geometry says, and not as the size beside it. */
const BY_GEOMETRY: ReadonlySet<string> = new Set(["vpc ", "vs  ", "qemu"]);
/** Disks that are too large for a geometry have this one. */
const LARGEST_GEOMETRY = 65535 * 16 * 255;

const offset64 = (view: DataView, at: number): number => view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);

/** One's complement of the sum of all bytes but the checksum's own. */
function checksum(view: DataView, at: number): number {
  let sum = 0;
  for (let index = 0; index < view.byteLength; index++) {
    if (index < at || index >= at + 4) sum += view.getUint8(index);
  }
  return ~sum >>> 0;
}

async function record(file: BlockBackend, offset: number, size: number): Promise<DataView> {
  const view = new DataView(new ArrayBuffer(size));
  await readPadded(file, Math.max(0, offset), new Uint8Array(view.buffer));
  return view;
}

const has = (view: DataView, [high, low]: readonly [number, number]): boolean =>
  view.getUint32(0) === high && view.getUint32(4) === low;

function diskSize(footer: DataView): number {
  const sectors = footer.getUint16(FOOTER.cylinders) * footer.getUint8(FOOTER.heads) * footer.getUint8(FOOTER.sectors);
  const creator = new TextDecoder("latin1").decode(new Uint8Array(footer.buffer, FOOTER.creator, 4));
  if (BY_GEOMETRY.has(creator) && sectors !== LARGEST_GEOMETRY) return sectors * SECTOR;
  return offset64(footer, FOOTER.currentSize);
}

/** Open a VHD image. Rejects with VmxonError("image" | "unsupported") that names it. */
export async function openVhd(name: string, file: BlockBackend): Promise<BlockBackend> {
  let footer = await record(file, file.size - FOOTER.size, FOOTER.size);
  // A dynamic disk begins with a copy.
  if (!has(footer, FOOTER_COOKIE)) footer = await record(file, 0, FOOTER.size);
  if (!has(footer, FOOTER_COOKIE)) throw new VmxonError("image", `${name} is no VHD image`);
  if (checksum(footer, FOOTER.checksum) !== footer.getUint32(FOOTER.checksum)) {
    throw damaged(name, "the checksum of its footer is wrong");
  }
  const size = diskSize(footer);
  if (size % SECTOR !== 0 || size > Number.MAX_SAFE_INTEGER) throw damaged(name, `a disk of ${size} bytes`);
  const type = footer.getUint32(FOOTER.type);
  if (type === TYPE.FIXED) return openFixed(name, file, size);
  if (type === TYPE.DYNAMIC) return openDynamic(name, file, size, offset64(footer, FOOTER.dataOffset));
  const what = type === TYPE.DIFFERENCING ? "a differencing VHD image (with a parent)" : `a VHD image of type ${type}`;
  throw new VmxonError("unsupported", `${name} is ${what}, which is not supported; merge it with its parent first`);
}

function openFixed(name: string, file: BlockBackend, size: number): BlockBackend {
  if (size > file.size - FOOTER.size) throw damaged(name, "it is shorter than its disk");
  // One block, which lies at the beginning.
  return new MappedImage({
    name,
    file,
    size,
    blockSize: Math.max(SECTOR, size),
    readBlock: (_block, within, target) => file.read(within, target),
  });
}

async function openDynamic(name: string, file: BlockBackend, size: number, at: number): Promise<BlockBackend> {
  const header = await record(file, Math.min(at, file.size), HEADER.size);
  if (!has(header, HEADER_COOKIE) || checksum(header, HEADER.checksum) !== header.getUint32(HEADER.checksum)) {
    throw damaged(name, "its header is not what it should be");
  }
  const blockSize = header.getUint32(HEADER.blockSize);
  const entries = header.getUint32(HEADER.entries);
  const tableOffset = offset64(header, HEADER.tableOffset);
  if (blockSize < SECTOR || blockSize > MAX_BLOCK || !Number.isInteger(Math.log2(blockSize))) {
    throw damaged(name, `blocks of ${blockSize} bytes`);
  }
  const blocks = Math.ceil(size / blockSize);
  if (blocks > entries || blocks * 4 > MAX_TABLE || tableOffset + blocks * 4 > file.size) {
    throw damaged(name, "its block table is not large enough for the disk");
  }
  const table = await record(file, tableOffset, blocks * 4);
  // Each block is preceded by a bitmap of its sectors, in whole sectors.
  const bitmapSize = Math.ceil(blockSize / SECTOR / 8 / SECTOR) * SECTOR;
  return new MappedImage({
    name,
    file,
    size,
    blockSize,
    async readBlock(block, within, target) {
      const sector = table.getUint32(block * 4);
      if (sector === UNUSED) {
        target.fill(0);
        return;
      }
      const offset = sector * SECTOR + bitmapSize + within;
      if (offset + target.length > file.size) throw damaged(name, `block ${block} lies outside the file`);
      await file.read(offset, target);
    },
  });
}
