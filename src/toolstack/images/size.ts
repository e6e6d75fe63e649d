/** Sizes as qemu-img reads and writes them: 10G, 1.5M, 64 KiB. */
import { VmxonError } from "../../common/errors.ts";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;
const SUFFIXES = "BKMGTPE";

/** Bytes of "10G" or "1048576". Throws VmxonError("usage"). */
export function parseSize(word: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([bkmgtpe]?)$/i.exec(word);
  const bytes = match ? Number(match[1]) * 1024 ** Math.max(0, SUFFIXES.indexOf(match[2]!.toUpperCase())) : Number.NaN;
  if (!match || !Number.isSafeInteger(Math.round(bytes))) {
    throw new VmxonError("usage", `${word} is no size; write it as 10G, 512M or a number of bytes.`);
  }
  return Math.round(bytes);
}

/** "10 GiB", with three digits at most. */
export function formatSize(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toPrecision(3))} ${UNITS[unit]}`;
}
