/** VDI images of VirtualBox, dynamic and fixed ones: read. Numbers are little-endian. */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";
import { damaged } from "./formats.ts";
import { readPadded } from "./image-file.ts";
import { MappedImage } from "./mapped-image.ts";

const SIGNATURE = 0xbeda107f;
const VERSION_1_1 = 0x00010001;
/** Offsets in the header. */
const HEADER = {
  signature: 64,
  version: 68,
  type: 76,
  mapOffset: 340,
  dataOffset: 344,
  sectorSize: 360,
  diskSize: 368,
  blockSize: 376,
  blockExtra: 380,
  blocks: 384,
  linkUuid: 424,
  size: 512,
} as const;
const TYPE = { DYNAMIC: 1, FIXED: 2 } as const;
const UUID_SIZE = 16;
/** Map entries from here on stand for blocks without a place: never written, or discarded. */
const FIRST_UNUSED = 0xfffffffe;
const SECTOR = 512;
const MAX_MAP = 32 << 20;
const MAX_BLOCK = 64 << 20;

/** Open a VDI image. Rejects with VmxonError("image" | "unsupported") that names it. */
export async function openVdi(name: string, file: BlockBackend): Promise<BlockBackend> {
  const header = new DataView(new ArrayBuffer(HEADER.size));
  await readPadded(file, 0, new Uint8Array(header.buffer));
  const u32 = (at: number): number => header.getUint32(at, true);
  if (u32(HEADER.signature) !== SIGNATURE) throw new VmxonError("image", `${name} is no VDI image`);
  const type = u32(HEADER.type);
  const linked = new Uint8Array(header.buffer, HEADER.linkUuid, UUID_SIZE).some((byte) => byte !== 0);
  if (u32(HEADER.version) !== VERSION_1_1 || (type !== TYPE.DYNAMIC && type !== TYPE.FIXED) || linked) {
    throw new VmxonError(
      "unsupported",
      `${name} is a VDI image of a kind that is not supported (version ${u32(HEADER.version).toString(16)}, type ${type}); ` +
        "convert it: VBoxManage clonemedium OLD NEW.vdi",
    );
  }
  const size = u32(HEADER.diskSize) + u32(HEADER.diskSize + 4) * 2 ** 32;
  const blockSize = u32(HEADER.blockSize);
  const blocks = Math.ceil(size / blockSize);
  const mapOffset = u32(HEADER.mapOffset);
  const dataOffset = u32(HEADER.dataOffset);
  if (blockSize < SECTOR || blockSize > MAX_BLOCK || !Number.isInteger(Math.log2(blockSize))) {
    throw damaged(name, `blocks of ${blockSize} bytes`);
  }
  if (u32(HEADER.sectorSize) !== SECTOR || u32(HEADER.blockExtra) !== 0 || size > Number.MAX_SAFE_INTEGER) {
    throw damaged(name, "its header makes no sense");
  }
  if (blocks > u32(HEADER.blocks) || blocks * 4 > MAX_MAP || mapOffset + blocks * 4 > file.size) {
    throw damaged(name, "its block map is not large enough for the disk");
  }
  const map = new DataView(new ArrayBuffer(blocks * 4));
  await readPadded(file, mapOffset, new Uint8Array(map.buffer));
  return new MappedImage({
    name,
    file,
    size,
    blockSize,
    async readBlock(block, within, target) {
      const place = map.getUint32(block * 4, true);
      if (place >= FIRST_UNUSED) {
        target.fill(0);
        return;
      }
      const offset = dataOffset + place * blockSize + within;
      if (offset >= file.size) throw damaged(name, `block ${block} lies outside the file`);
      // The last block may be shorter in the file.
      await readPadded(file, offset, target);
    },
  });
}
