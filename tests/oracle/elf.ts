/** Writes static 32-bit ELF executables. Tool Interface Standard, Executable and Linking Format 1.2. */

/** What is loaded where. `content` may be shorter than `size`; the rest is zero. */
export interface ElfSegment {
  readonly address: number;
  readonly size: number;
  readonly content: Uint8Array;
  readonly execute: boolean;
}

const HEADER_SIZE = 52;
const PROGRAM_HEADER_SIZE = 32;
const PAGE = 0x1000;
const PT_LOAD = 1;
const PT_GNU_STACK = 0x6474e551;
const PF = { X: 1, W: 2, R: 4 } as const;

/** An ELF file with writable segments at page-aligned addresses, lowest first, that starts at `entry`. */
export function writeElf(segments: readonly ElfSegment[], entry: number): Uint8Array {
  let end = PAGE;
  const offsets = segments.map((segment) => {
    const offset = end;
    end += Math.ceil(segment.content.length / PAGE) * PAGE;
    return offset;
  });
  const file = new Uint8Array(end);
  const view = new DataView(file.buffer);
  const dwords = (at: number, ...values: number[]): void => {
    for (const [i, value] of values.entries()) view.setUint32(at + 4 * i, value, true);
  };
  const halves = (at: number, ...values: number[]): void => {
    for (const [i, value] of values.entries()) view.setUint16(at + 2 * i, value, true);
  };
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  halves(16, 2, 3); // ET_EXEC, EM_386
  dwords(20, 1, entry, HEADER_SIZE, 0, 0);
  halves(40, HEADER_SIZE, PROGRAM_HEADER_SIZE, segments.length + 1, 40, 0, 0);
  let at = HEADER_SIZE;
  // A stack header without PF_X keeps the kernel from making every readable page executable.
  dwords(at, PT_GNU_STACK, 0, 0, 0, 0, 0, PF.R | PF.W, 16);
  for (const [i, segment] of segments.entries()) {
    at += PROGRAM_HEADER_SIZE;
    const flags = PF.R | PF.W | (segment.execute ? PF.X : 0);
    const offset = offsets[i] as number;
    const { address, content, size } = segment;
    dwords(at, PT_LOAD, offset, address, address, content.length, size, flags, PAGE);
    file.set(content, offset);
  }
  return file;
}
