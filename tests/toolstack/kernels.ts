/** Small made-up kernels for loader tests. */

/** A bzImage with a setup header of the given protocol version. */
export function bzImage(
  options: { version?: number; loadFlags?: number; payload?: number; fields?: [number, number][] } = {},
): Uint8Array {
  const { version = 0x20f, loadFlags = 1, payload = 10_000 } = options;
  const file = new Uint8Array(5 * 512 + payload).fill(0xcc, 5 * 512);
  const view = new DataView(file.buffer);
  file[0x1f1] = 4;
  view.setUint16(0x1fe, 0xaa55, true);
  file[0x200] = 0xeb;
  file[0x201] = 0x6a;
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, version, true);
  file[0x211] = loadFlags;
  view.setUint32(0x214, 0x100000, true);
  view.setUint32(0x22c, 0x7fffffff, true);
  view.setUint32(0x238, 2047, true);
  view.setUint32(0x258, 0x1000000, true);
  view.setUint32(0x260, 0x100000, true);
  for (const [offset, value] of options.fields ?? []) view.setUint32(offset, value, true);
  return file;
}

/** A multiboot kernel: a header, and an ELF file around it unless it has addresses of its own. */
export function multibootKernel(options: { flags?: number; addresses?: number[]; class?: number } = {}): Uint8Array {
  const { flags = 3, addresses } = options;
  const file = new Uint8Array(0x2000);
  const view = new DataView(file.buffer);
  const header = addresses ? 0 : 0x1000;
  [0x1badb002, flags, -(0x1badb002 + flags) >>> 0, ...(addresses ?? [])].forEach((value, index) => {
    view.setUint32(header + index * 4, value, true);
  });
  if (!addresses) {
    view.setUint32(0, 0x7f454c46, false);
    file[4] = options.class ?? 1;
    view.setUint32(24, 0xc0100020, true); // entry, virtual
    view.setUint32(28, 52, true);
    view.setUint16(42, 32, true);
    view.setUint16(44, 1, true);
    // type, offset, virtual, physical, file size, memory size
    [1, 0x1000, 0xc0100000, 0x100000, 0x1000, 0x3000].forEach((value, index) => {
      view.setUint32(52 + index * 4, value, true);
    });
  }
  return file;
}

/** A memory map as a PC with `mebibytes` has it. */
export function memoryMap(mebibytes: number): { base: number; size: number; type: number }[] {
  return [
    { base: 0, size: 0x9fc00, type: 1 },
    { base: 0x9fc00, size: 0x400, type: 2 },
    { base: 0xf0000, size: 0x10000, type: 2 },
    { base: 0x100000, size: (mebibytes - 1) * 0x100000, type: 1 },
  ];
}
