/** What an image file is, by looking at it: floppy, disk, CD, kernel, initial ramdisk or something that must be refused. */
import { VmxonError } from "../common/errors.ts";
import type { BlockBackend } from "../hypervisor/backend.ts";
import { detectFormat } from "./images/formats.ts";
import { floppyFormatFor, floppyFormatOfSize, SECTOR_SIZE } from "./media.ts";
import { findMultibootHeader } from "./multiboot.ts";

export type ImageKind = "floppy" | "disk" | "cdrom" | "linux" | "multiboot" | "ramdisk";

/** Bytes from the start of a file that probing looks at: enough for an ISO 9660 volume descriptor at 32 KB. */
export const PROBE_LENGTH = 0x9000;

/** Largest file that is taken for a floppy because of its boot sector alone. */
const LARGEST_FLOPPY = 2_949_120;

interface Signature {
  readonly offset: number;
  readonly bytes: string;
}

const at = (offset: number, bytes: string): Signature => ({ offset, bytes });

const ZIP: Signature = at(0, "PK\x03\x04");
const ISO_9660: Signature = at(0x8001, "CD001");
/** Sync pattern of a raw CD sector, and its bytes. */
const RAW_CD: Signature = at(0, "\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0");
const RAW_CD_SECTOR = 2352;

/** Compressed files and archives that Linux takes as an initial ramdisk. */
const RAMDISKS: readonly (Signature & { what: string; unpack: string })[] = [
  { ...at(0, "070701"), what: "a cpio archive", unpack: "cpio -i" },
  { ...at(0, "070702"), what: "a cpio archive", unpack: "cpio -i" },
  { ...at(0, "\x1f\x8b"), what: "compressed by gzip", unpack: "gunzip" },
  { ...at(0, "\xfd7zXZ\0"), what: "compressed by xz", unpack: "unxz" },
  { ...at(0, "\x28\xb5\x2f\xfd"), what: "compressed by zstd", unpack: "unzstd" },
  { ...at(0, "BZh"), what: "compressed by bzip2", unpack: "bunzip2" },
  { ...at(0, "\x02\x21\x4c\x18"), what: "compressed by lz4", unpack: "unlz4" },
];

const BOOT_SIGNATURE: Signature = at(510, "\x55\xaa");
const LINUX_SIGNATURE: Signature = at(0x202, "HdrS");
const ELF_SIGNATURE: Signature = at(0, "\x7fELF");

function matches(head: Uint8Array, signature: Signature): boolean {
  if (signature.offset + signature.bytes.length > head.length) return false;
  for (let index = 0; index < signature.bytes.length; index++) {
    if (head[signature.offset + index] !== signature.bytes.charCodeAt(index)) return false;
  }
  return true;
}

function refuse(name: string, message: string): never {
  throw new VmxonError("image", `${name} ${message}`);
}

/** The first bytes of a medium, at most PROBE_LENGTH. */
export async function readHead(backend: BlockBackend): Promise<Uint8Array> {
  const head = new Uint8Array(Math.min(backend.size, PROBE_LENGTH));
  await backend.read(0, head);
  return head;
}

/** Throw VmxonError("image") for what no drive can take: nothing at all, or an archive. */
export function refuseUnusable(name: string, backend: BlockBackend, head: Uint8Array): void {
  if (backend.size === 0) refuse(name, "is empty; was it copied or downloaded completely?");
  if (matches(head, ZIP)) refuse(name, "is a zip archive; unpack it and pass the image inside.");
}

/** What compressed or archived thing this is, if it is one. */
export function ramdiskFormat(head: Uint8Array): { what: string; unpack: string } | undefined {
  return RAMDISKS.find((signature) => matches(head, signature));
}

/** True for the first sector of something that a PC boots. */
export function hasBootSignature(head: Uint8Array): boolean {
  return matches(head, BOOT_SIGNATURE);
}

/** True for an ISO 9660 volume. */
export function isIso(head: Uint8Array): boolean {
  return matches(head, ISO_9660);
}

/** True for a CD image of raw sectors, as copying programs make them. */
export function isRawCd(size: number, head: Uint8Array): boolean {
  return size % RAW_CD_SECTOR === 0 && matches(head, RAW_CD);
}

/** True for a Linux kernel with a setup header (boot protocol 2.00 or later). */
export function isLinuxKernel(head: Uint8Array): boolean {
  return matches(head, BOOT_SIGNATURE) && matches(head, LINUX_SIGNATURE);
}

/**
 * Guess what a file is. Kernels are known by their headers, floppies by their size, disks by their boot sector.
 * Throws VmxonError("image") that names the file, says what it is and what to do, when it cannot be booted.
 */
export async function probeImage(name: string, backend: BlockBackend): Promise<ImageKind> {
  const head = await readHead(backend);
  refuseUnusable(name, backend, head);
  // Other formats than raw are there for disks.
  if ((await detectFormat(name, backend)) !== "raw") return "disk";
  if (isLinuxKernel(head)) return "linux";
  if (isIso(head)) return "cdrom";
  if (!hasBootSignature(head)) {
    if (findMultibootHeader(head)) return "multiboot";
    if (matches(head, ELF_SIGNATURE)) {
      refuse(
        name,
        "is an ELF file without a multiboot header; of a Linux kernel, pass the bzImage (arch/x86/boot/bzImage).",
      );
    }
  }
  if (floppyFormatOfSize(backend.size)) return "floppy";
  if (ramdiskFormat(head)) return "ramdisk";
  if (hasBootSignature(head)) {
    if (backend.size <= LARGEST_FLOPPY && floppyFormatFor(backend.size, head) && !hasPartition(head)) return "floppy";
    if (backend.size % SECTOR_SIZE === 0) return "disk";
    refuse(name, `has a boot sector but ${backend.size} bytes are no whole number of sectors; was it cut off?`);
  }
  return refuse(
    name,
    `is not known: ${backend.size} bytes are no floppy format, and there is neither a boot sector nor a kernel header in it. To use it as a disk anyway, write -hda FILE.`,
  );
}

const PARTITION_TYPES = [446 + 4, 462 + 4, 478 + 4, 494 + 4] as const;
const PARTITION_FLAGS = [446, 462, 478, 494] as const;

/** True when the sector's partition table makes sense: flags 00h or 80h only, and one type that is not zero. */
function hasPartition(head: Uint8Array): boolean {
  return (
    PARTITION_FLAGS.every((offset) => (head[offset]! & 0x7f) === 0) &&
    PARTITION_TYPES.some((offset) => head[offset] !== 0)
  );
}
