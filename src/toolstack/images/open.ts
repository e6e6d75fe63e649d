/** Opens images of every format, with the files that they stand on. */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";
import type { Host } from "../host.ts";
import { MemoryBackend, OverlayBackend, ReadOnlyBackend } from "../memory-backend.ts";
import { BlobImage } from "./blob.ts";
import { detectFormat, type ImageFormat, parseFormat } from "./formats.ts";
import { isHttpAddress } from "./http.ts";
import { isImageFile } from "./image-file.ts";
import { ProbedRawBackend } from "./probed-raw.ts";
import { checkQcow2 } from "./qcow2/check.ts";
import { type Qcow2Header, readQcow2Header, readSnapshots } from "./qcow2/header.ts";
import { Qcow2Image } from "./qcow2/qcow2.ts";
import { openVdi } from "./vdi.ts";
import { openVhd } from "./vhd.ts";
import { openVmdk } from "./vmdk.ts";

/** An image: a name that the host opens (a path or an address), its bytes, a page's file, or a medium of your own. */
export type ImageSource = string | Uint8Array | Blob | BlockBackend;

export interface OpenOptions {
  /** What the image is called in messages, when it has no name of its own. */
  readonly name: string;
  readonly host: Host;
  readonly access: "rw" | "r";
  /** Without it the format is found by looking at the contents. A medium of your own is raw then. */
  readonly format?: ImageFormat | undefined;
  /** Name or number of an internal snapshot to show instead of what the disk holds now. */
  readonly snapshot?: string | undefined;
}

export interface OpenedImage {
  readonly backend: BlockBackend;
  readonly format: ImageFormat;
  /** Why writes are kept in memory and lost in the end, though they were wanted; in words for the user. */
  readonly volatile?: string;
}

/** Longest chain of backing files. */
const LONGEST_CHAIN = 64;

/** The bytes of an image as they are. */
export async function openSource(source: ImageSource, host: Host, access: "rw" | "r"): Promise<BlockBackend> {
  if (source instanceof Uint8Array) return new MemoryBackend(source, { readonly: access === "r" });
  if (source instanceof Blob) return new BlobImage(source);
  if (isOwn(source)) return access === "r" ? new ReadOnlyBackend(source) : source;
  return host.openImage(source, access);
}

/**
 * Open an image as the disk that it holds. What cannot be written in place (VHD, VMDK and VDI images, images from web servers
 * and in Blobs, formats in bytes) can be written nevertheless: writes are kept in memory then. Rejects with VmxonError that
 * names the image.
 */
export async function openImage(source: ImageSource, options: OpenOptions): Promise<OpenedImage> {
  const opened = await openChain(source, options, []);
  const asItIs = isOwn(source) && opened.format === "raw";
  if (options.access === "r" || asItIs || !opened.backend.readonly) return opened;
  return {
    ...opened,
    backend: new OverlayBackend(opened.backend),
    volatile: whyVolatile(source, options, opened.format),
  };
}

/** A medium that the caller made. */
function isOwn(source: ImageSource): source is BlockBackend {
  return typeof source === "object" && "read" in source;
}

function whyVolatile(source: ImageSource, { name, snapshot }: OpenOptions, format: ImageFormat): string {
  const online = typeof source === "string" && isHttpAddress(source);
  const what =
    snapshot !== undefined
      ? "is shown as it was in a snapshot"
      : online
        ? "lies on a web server"
        : format === "qcow2" || format === "raw"
          ? "cannot be written where it is"
          : `is a ${format} image, which is only read`;
  const advice =
    online || typeof source !== "string" ? "" : `. To keep it: vmxon image convert -O qcow2 ${name} NEW.qcow2`;
  return `${name} ${what}: what the guest writes is kept in memory and lost in the end${advice}`;
}

/** Open an image and what it stands on; `above` are the names of the images that stand on it. */
async function openChain(
  source: ImageSource,
  options: OpenOptions,
  above: readonly string[],
): Promise<{ backend: BlockBackend; format: ImageFormat }> {
  const { name, host, access, snapshot } = options;
  const inPlace = typeof source === "string" && !isHttpAddress(source) && !host.readsOnly && access === "rw";
  // Most formats are only read and want no right to write; which one it is, is seen when the file is open.
  let file = await openSource(source, host, inPlace && options.format !== "raw" ? "r" : access);
  const forWriting = async (): Promise<BlockBackend> => {
    const writable = await host.openImage(source as string, "rw");
    await file.close();
    return writable;
  };
  try {
    const format = options.format ?? (isOwn(source) ? "raw" : await detectFormat(name, file));
    if (snapshot !== undefined && format !== "qcow2") {
      throw new VmxonError("config", `${name} is a ${format} image and has no snapshots`);
    }
    switch (format) {
      case "raw":
        if (!inPlace || options.format === "raw") return { backend: file, format };
        file = await forWriting();
        return { backend: new ProbedRawBackend(name, file), format };
      case "vpc":
        return { backend: await openVhd(name, file), format };
      case "vmdk":
        return { backend: await openVmdk(name, file), format };
      case "vdi":
        return { backend: await openVdi(name, file), format };
      case "qcow2":
        if (inPlace && snapshot === undefined) file = await forWriting();
        return { backend: await openQcow2(source, file, options, above), format };
    }
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openQcow2(
  source: ImageSource,
  file: BlockBackend,
  options: OpenOptions,
  above: readonly string[],
): Promise<BlockBackend> {
  const { name, access } = options;
  let header = await readQcow2Header(name, file);
  if (header.compression !== "zlib") {
    throw new VmxonError(
      "unsupported",
      `${name} is compressed by ${header.compression}, which is not supported; convert it: qemu-img convert -O qcow2 OLD NEW.qcow2`,
    );
  }
  const snapshot =
    options.snapshot === undefined ? undefined : await findSnapshot(name, file, header, options.snapshot);
  const readonly = access === "r" || snapshot !== undefined || !isImageFile(file);
  if (header.dirty && !readonly) header = await repairDirty(name, file, header);
  const backing = header.backingFile === undefined ? undefined : await openBacking(source, header, options, above);
  try {
    return await Qcow2Image.open({ name, file, header, readonly, backing, snapshot });
  } catch (error) {
    await backing?.close();
    throw error;
  }
}

/** An image whose counts were being kept in memory when its program died. Its tables are right. */
async function repairDirty(name: string, file: BlockBackend, header: Qcow2Header): Promise<Qcow2Header> {
  const { corruptions } = await checkQcow2({ name, file, header, repair: "all" });
  if (corruptions > 0)
    throw new VmxonError("image", `${name} is damaged and cannot be repaired: vmxon image check ${name}`);
  return readQcow2Header(name, file);
}

async function findSnapshot(name: string, file: BlockBackend, header: Qcow2Header, wanted: string) {
  const { snapshots } = await readSnapshots(name, file, header);
  const found = snapshots.find((item) => item.name === wanted) ?? snapshots.find((item) => item.id === wanted);
  if (found) return found;
  const names = snapshots.map((item) => item.name).join(", ");
  throw new VmxonError("image", `${name} has no snapshot ${JSON.stringify(wanted)}; it has ${names || "none"}`);
}

/** The name of a backing file as the host knows it. Rejects with VmxonError("image" | "unsupported") what is no file. */
export function backingName(source: ImageSource, name: string, backing: string, host: Host): string {
  if (typeof source !== "string") {
    throw new VmxonError("image", `${name} stands on ${backing}, which cannot be found from an image in memory`);
  }
  const path = backing.replace(/^file:(?:\/\/(?=\/))?/, "");
  if (/^[a-z][a-z0-9+.-]+:/i.test(path) && !isHttpAddress(path)) {
    throw new VmxonError("unsupported", `${name} stands on ${backing}, which is neither a file nor an address`);
  }
  const resolved = host.relativeTo(source, path);
  // What comes from a server has no business with this computer's files.
  if (isHttpAddress(source) && !isHttpAddress(resolved)) {
    throw new VmxonError("image", `${name} stands on ${backing}, which is not on a web server as the image is`);
  }
  return resolved;
}

async function openBacking(
  source: ImageSource,
  header: Qcow2Header,
  options: OpenOptions,
  above: readonly string[],
): Promise<BlockBackend> {
  const { name, host } = options;
  const backing = backingName(source, name, header.backingFile!, host);
  const chain = [...above, source as string];
  if (chain.includes(backing) || chain.length >= LONGEST_CHAIN) {
    throw new VmxonError(
      "image",
      `${name} stands on ${backing}, and that on itself: the chain of backing files has no end`,
    );
  }
  const format = header.backingFormat === undefined ? undefined : parseFormat(header.backingFormat);
  try {
    return (await openChain(backing, { name: backing, host, access: "r", format }, chain)).backend;
  } catch (cause) {
    if (above.length > 0 || !(cause instanceof VmxonError)) throw cause;
    throw new VmxonError(cause.code, `${cause.message} (${name} stands on it)`, { cause });
  }
}
