/** What an image is, for `vmxon image info`: in words, and with the keys that qemu-img has. */
import type { BlockBackend } from "../../hypervisor/backend.ts";
import type { Host } from "../host.ts";
import { detectFormat, type ImageFormat } from "./formats.ts";
import { backingName, openImage } from "./open.ts";
import { type Qcow2Header, type Qcow2Snapshot, readQcow2Header, readSnapshots } from "./qcow2/header.ts";
import { formatSize } from "./size.ts";

export interface ImageInfo {
  readonly name: string;
  readonly format: ImageFormat;
  /** Bytes of the disk. */
  readonly size: number;
  /** Bytes that the file takes up, where the host knows it. */
  readonly allocated: number | undefined;
  readonly qcow2?: { header: Qcow2Header; snapshots: readonly Qcow2Snapshot[]; fullBackingFile: string | undefined };
}

/** Look at an image, without opening what it stands on. Rejects with VmxonError that names it. */
export async function imageInfo(
  name: string,
  file: BlockBackend & { allocated?(): Promise<number> },
  host: Host,
  wanted?: ImageFormat,
): Promise<ImageInfo> {
  const format = wanted ?? (await detectFormat(name, file));
  const allocated = await file.allocated?.();
  if (format === "qcow2") {
    const header = await readQcow2Header(name, file);
    const snapshots = header.snapshotCount > 0 ? (await readSnapshots(name, file, header)).snapshots : [];
    const { backingFile } = header;
    const fullBackingFile = backingFile === undefined ? undefined : backingName(name, name, backingFile, host);
    return { name, format, size: header.size, allocated, qcow2: { header, snapshots, fullBackingFile } };
  }
  const { backend } = await openImage(name, { name, host, access: "r", format });
  await backend.close();
  return { name, format, size: backend.size, allocated };
}

const compat = (header: Qcow2Header): string => (header.version === 3 ? "1.1" : "0.10");

/** The object that `qemu-img info --output=json` prints. */
export function infoJson(info: ImageInfo): Record<string, unknown> {
  const { qcow2 } = info;
  const result: Record<string, unknown> = {
    "virtual-size": info.size,
    filename: info.name,
    ...(qcow2 ? { "cluster-size": 2 ** qcow2.header.clusterBits } : {}),
    format: info.format,
    ...(info.allocated === undefined ? {} : { "actual-size": info.allocated }),
  };
  if (!qcow2) return result;
  const { header, snapshots, fullBackingFile } = qcow2;
  if (header.backingFile !== undefined) {
    result["backing-filename"] = header.backingFile;
    result["full-backing-filename"] = fullBackingFile;
    if (header.backingFormat !== undefined) result["backing-filename-format"] = header.backingFormat;
  }
  if (snapshots.length > 0) {
    result["snapshots"] = snapshots.map((item) => ({
      id: item.id,
      name: item.name,
      "vm-state-size": item.vmStateSize,
      "date-sec": item.date,
      "date-nsec": item.dateNs,
      "vm-clock-sec": Number(item.vmClock / 1_000_000_000n),
      "vm-clock-nsec": Number(item.vmClock % 1_000_000_000n),
    }));
  }
  result["dirty-flag"] = header.dirty;
  result["format-specific"] = {
    type: "qcow2",
    data: {
      compat: compat(header),
      ...(header.version === 3
        ? {
            "compression-type": header.compression,
            "lazy-refcounts": header.lazyRefcounts,
            "refcount-bits": header.refcountBits,
            corrupt: header.corrupt,
            "extended-l2": false,
          }
        : { "compression-type": header.compression, "refcount-bits": header.refcountBits }),
    },
  };
  return result;
}

/** Text from an image, fit for a terminal. */
function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, "?");
}

function snapshotLine(item: Qcow2Snapshot): string {
  const pad = (value: number | bigint): string => String(value).padStart(2, "0");
  const seconds = item.vmClock / 1_000_000_000n;
  const ms = (item.vmClock / 1_000_000n) % 1000n;
  const clock = `${pad(seconds / 3600n)}:${pad((seconds / 60n) % 60n)}:${pad(seconds % 60n)}.${String(ms).padStart(3, "0")}`;
  const date = new Date(item.date * 1000).toISOString().slice(0, 19).replace("T", " ");
  return [
    plain(item.id).padEnd(9),
    plain(item.name).padEnd(16),
    formatSize(item.vmStateSize).padStart(9),
    date.padStart(20),
    clock.padStart(16),
  ].join(" ");
}

/** Lines for people, as qemu-img has them. */
export function infoText(info: ImageInfo): string {
  const lines = [
    `image: ${info.name}`,
    `file format: ${info.format}`,
    `virtual size: ${formatSize(info.size)} (${info.size} bytes)`,
  ];
  if (info.allocated !== undefined) lines.push(`disk size: ${formatSize(info.allocated)}`);
  if (!info.qcow2) return lines.join("\n");
  const { header, snapshots, fullBackingFile } = info.qcow2;
  lines.push(`cluster_size: ${2 ** header.clusterBits}`);
  if (header.dirty) lines.push("cleanly shut down: no");
  if (header.backingFile !== undefined) {
    const actual = fullBackingFile === header.backingFile ? "" : ` (actual path: ${plain(fullBackingFile!)})`;
    lines.push(`backing file: ${plain(header.backingFile)}${actual}`);
    if (header.backingFormat !== undefined) lines.push(`backing file format: ${plain(header.backingFormat)}`);
  }
  if (snapshots.length > 0) {
    const titles = [
      "ID".padEnd(9),
      "TAG".padEnd(16),
      "VM SIZE".padStart(9),
      "DATE".padStart(20),
      "VM CLOCK".padStart(16),
    ];
    lines.push("Snapshot list:", titles.join(" "), ...snapshots.map(snapshotLine));
  }
  lines.push(
    "Format specific information:",
    `    compat: ${compat(header)}`,
    `    compression type: ${header.compression}`,
  );
  if (header.version === 3) lines.push(`    lazy refcounts: ${header.lazyRefcounts}`);
  lines.push(`    refcount bits: ${header.refcountBits}`);
  if (header.version === 3) lines.push(`    corrupt: ${header.corrupt}`, "    extended l2: false");
  return lines.join("\n");
}
