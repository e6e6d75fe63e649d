/** Writes cpio archives in the "newc" form that Linux unpacks as its initial ramdisk. initramfs-buffer-format.txt. */

export type CpioEntry =
  | { readonly path: string; readonly type: "file"; readonly mode: number; readonly data: Uint8Array }
  | { readonly path: string; readonly type: "directory"; readonly mode: number }
  | { readonly path: string; readonly type: "symlink"; readonly target: string }
  | {
      readonly path: string;
      readonly type: "character-device";
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };

const MAGIC = "070701";
const TRAILER = "TRAILER!!!";
const FILE_TYPES = { file: 0o100000, directory: 0o040000, symlink: 0o120000, "character-device": 0o020000 } as const;
const HEADER_SIZE = 110;

const aligned = (length: number): number => (length + 3) & ~3;
const hex = (value: number): string => value.toString(16).padStart(8, "0");

const NOTHING = new Uint8Array();
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

interface Record {
  readonly name: Uint8Array;
  readonly header: Uint8Array;
  readonly data: Uint8Array;
}

function record(
  inode: number,
  path: string,
  mode: number,
  links: number,
  data: Uint8Array,
  rdev: [number, number],
): Record {
  const name = encode(`${path}\0`);
  // inode, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, rdev[0], rdev[1], name.length, 0];
  return { name, header: encode(MAGIC + fields.map(hex).join("")), data };
}

/** An archive of `entries` in their order; owner root, all times 0, so that equal input gives equal bytes. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const records = entries.map((entry, index) => {
    const data = entry.type === "file" ? entry.data : entry.type === "symlink" ? encode(entry.target) : NOTHING;
    const mode = FILE_TYPES[entry.type] | (entry.type === "symlink" ? 0o777 : entry.mode);
    const device: [number, number] = entry.type === "character-device" ? [entry.major, entry.minor] : [0, 0];
    return record(index + 1, entry.path, mode, entry.type === "directory" ? 2 : 1, data, device);
  });
  records.push(record(0, TRAILER, 0, 1, NOTHING, [0, 0]));

  let length = 0;
  for (const { name, data } of records) length += aligned(HEADER_SIZE + name.length) + aligned(data.length);
  const archive = new Uint8Array(length);
  let at = 0;
  for (const { header, name, data } of records) {
    archive.set(header, at);
    archive.set(name, at + HEADER_SIZE);
    at += aligned(HEADER_SIZE + name.length);
    archive.set(data, at);
    at += aligned(data.length);
  }
  return archive;
}
