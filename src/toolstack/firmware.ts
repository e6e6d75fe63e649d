/** Firmware from files: system and display BIOS of others, by file name or by the names that people know them by. */
import { VmxonError } from "../common/errors.ts";
import type { ImageSource, ResolvedConfig } from "./config.ts";
import type { Host } from "./host.ts";
import { readAll, sourceName } from "./media-builder.ts";

/** Images that replace the built-in firmware. */
export interface FirmwareFiles {
  /** System BIOS: it ends at 4 GB, and its last 128 KB are seen below 1 MB. */
  readonly bios: Uint8Array | undefined;
  /** Display BIOS, at C0000h and in the display's expansion ROM. */
  readonly vgaBios: Uint8Array | undefined;
}

const PAGE = 4096;
const SMALLEST_BIOS = 0x10000;
const LARGEST_BIOS = 0x40_0000;
const LARGEST_VGA_BIOS = 0x10000;

/** Where packages put what is known by a name, and what the package is called. */
const KNOWN = {
  bios: {
    seabios: { package: "seabios", files: ["/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/bios.bin"] },
    bochs: {
      package: "bochsbios",
      files: ["/usr/share/bochs/BIOS-bochs-latest", "/usr/share/bochs/BIOS-bochs-legacy"],
    },
  },
  vgabios: {
    seabios: { package: "seabios", files: ["/usr/share/seabios/vgabios-stdvga.bin"] },
    lgpl: { package: "vgabios", files: ["/usr/share/vgabios/vgabios.bin", "/usr/share/bochs/VGABIOS-lgpl-latest"] },
  },
} as const;

type Known = Readonly<Record<string, { readonly package: string; readonly files: readonly string[] } | undefined>>;

async function open(key: keyof typeof KNOWN, source: ImageSource, host: Host): Promise<Uint8Array> {
  const known: Known = KNOWN[key];
  const entry = typeof source === "string" ? known[source] : undefined;
  if (entry === undefined) return readAll(source, host);
  for (const file of entry.files) {
    try {
      return await readAll(file, host);
    } catch {
      // The next place, then.
    }
  }
  throw new VmxonError(
    "firmware",
    `${key}=${String(source)}: none of ${entry.files.join(", ")} is there. Install Debian's package ${entry.package}, or name the file`,
  );
}

function check(name: string, bytes: Uint8Array, least: number, most: number): void {
  if (bytes.length >= least && bytes.length <= most) return;
  throw new VmxonError("firmware", `${name} has ${bytes.length} bytes, no BIOS: there are from ${least} to ${most}`);
}

/** Whole pages, filled up behind. */
function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length % PAGE === 0) return bytes;
  const out = new Uint8Array(Math.ceil(bytes.length / PAGE) * PAGE).fill(0xff);
  out.set(bytes);
  return out;
}

/** Read the firmware that a configuration names. Rejects with VmxonError that names the file. */
export async function openFirmware({ bios, vgaBios }: ResolvedConfig, host: Host): Promise<FirmwareFiles> {
  const files = {
    bios: bios === undefined ? undefined : await open("bios", bios, host),
    vgaBios: vgaBios === undefined ? undefined : await open("vgabios", vgaBios, host),
  };
  if (files.bios) {
    check(sourceName("bios", bios!), files.bios, SMALLEST_BIOS, LARGEST_BIOS);
    if (files.bios.length % PAGE !== 0)
      throw new VmxonError(
        "firmware",
        `${sourceName("bios", bios!)} has ${files.bios.length} bytes, no multiple of 4 KB`,
      );
  }
  if (files.vgaBios) check(sourceName("vgabios", vgaBios!), files.vgaBios, 512, LARGEST_VGA_BIOS);
  return { bios: files.bios, vgaBios: files.vgaBios && padded(files.vgaBios) };
}
