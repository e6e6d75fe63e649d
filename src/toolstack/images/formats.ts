/** Which image formats there are, and which one a file has by its contents. */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";
import { didYouMean } from "../suggest.ts";
import { readPadded } from "./image-file.ts";

/** Formats that are opened, by QEMU's names. */
export const IMAGE_FORMATS = ["raw", "qcow2", "vpc", "vmdk", "vdi"] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** Other names for them, as xl and people have. */
const ALIASES: Readonly<Record<string, ImageFormat>> = { vhd: "vpc", aio: "raw" };

/** Bytes at a file's beginning, and at its end, that tell its format. */
export const FORMAT_SECTOR = 512;

interface Signature {
  readonly bytes: string;
  readonly offset: number;
  /** What it is: a format, or in words something that is not opened, and what to do about it. */
  readonly format?: ImageFormat;
  readonly refused?: string;
}

const CONVERT = "convert it: qemu-img convert -O qcow2 OLD NEW.qcow2";
const SIGNATURES: readonly Signature[] = [
  { bytes: "QFI\xfb\0\0\0\x01", offset: 0, refused: `a qcow image of version 1; ${CONVERT}` },
  { bytes: "QFI\xfb", offset: 0, format: "qcow2" },
  { bytes: "conectix", offset: 0, format: "vpc" },
  { bytes: "KDMV", offset: 0, format: "vmdk" },
  { bytes: "\x7f\x10\xda\xbe", offset: 64, format: "vdi" },
  { bytes: "vhdxfile", offset: 0, refused: `a VHDX image; ${CONVERT}` },
  { bytes: "QED\0", offset: 0, refused: `a QED image; ${CONVERT}` },
  { bytes: "COWD", offset: 0, refused: `a VMDK image of ESX (COWD); ${CONVERT}` },
  { bytes: "# Disk DescriptorFile", offset: 0, refused: `the descriptor of a VMDK disk in several files; ${CONVERT}` },
  {
    bytes: "LUKS\xba\xbe",
    offset: 0,
    refused: "an encrypted disk (LUKS), for which there is no key; decrypt it first",
  },
];
/** What a VHD image of fixed size has at its end. */
const FOOTER = "conectix";

/** An image that cannot be used as it is. */
export function damaged(name: string, what: string): VmxonError {
  return new VmxonError("image", `${name} is damaged: ${what}.`);
}

function holds(sector: Uint8Array, offset: number, bytes: string): boolean {
  for (let index = 0; index < bytes.length; index++) {
    if (sector[offset + index] !== bytes.charCodeAt(index)) return false;
  }
  return true;
}

/** What the first and the last sector of a file make of it: a format, or words for something that is not opened. */
export function formatOf(first: Uint8Array, last: Uint8Array): ImageFormat | { refused: string } {
  const found = SIGNATURES.find(({ offset, bytes }) => holds(first, offset, bytes));
  if (found?.refused !== undefined) return { refused: found.refused };
  if (found?.format) return found.format;
  return holds(last, 0, FOOTER) ? "vpc" : "raw";
}

/** The sectors that {@link formatOf} looks at. */
export async function formatSectors(file: BlockBackend): Promise<{ first: Uint8Array; last: Uint8Array }> {
  const first = new Uint8Array(FORMAT_SECTOR);
  const last = new Uint8Array(FORMAT_SECTOR);
  await readPadded(file, 0, first);
  if (file.size >= 2 * FORMAT_SECTOR) await readPadded(file, file.size - FORMAT_SECTOR, last);
  return { first, last };
}

/** The format of a file. Rejects with VmxonError("image") for those that are not opened. */
export async function detectFormat(name: string, file: BlockBackend): Promise<ImageFormat> {
  const { first, last } = await formatSectors(file);
  const format = formatOf(first, last);
  if (typeof format === "string") return format;
  throw new VmxonError("image", `${name} is ${format.refused}.`);
}

/** A format by its name. Throws VmxonError("config") for others. */
export function parseFormat(word: string): ImageFormat {
  const found = ALIASES[word] ?? IMAGE_FORMATS.find((format) => format === word);
  if (found) return found;
  const hint = didYouMean(word, [...IMAGE_FORMATS, ...Object.keys(ALIASES)]);
  throw new VmxonError(
    "config",
    `image format ${JSON.stringify(word)} is not supported.${hint} There are: ${IMAGE_FORMATS.join(", ")}.`,
  );
}
