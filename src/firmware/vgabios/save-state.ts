/** INT 10h AH=1Ch: save and restore registers, data area and palette in a buffer of the caller's. The layout is ours. */
import type { ServiceContext } from "../service.ts";
import { crtcPort, PALETTE_ON, PORT, readIndexed, resetFlipFlop, writeIndexed } from "./adapter.ts";
import { SUPPORTED } from "./info.ts";
import { BDA, VECTOR } from "./layout.ts";
import { COUNT } from "./modes.ts";
import { al, bx, cx, esAddress, setLow, setWord } from "./registers.ts";

/** Bits of CX. */
const PART = { HARDWARE: 1, DATA_AREA: 2, PALETTE: 4 } as const;
/** All of them. */
export const STATE_PARTS = PART.HARDWARE | PART.DATA_AREA | PART.PALETTE;
const BLOCK = 64;
const RETRACE_END = 0x11;

/** Index registers that are kept besides what they point at. */
const INDEX_PORTS = [PORT.SEQUENCER, PORT.GRAPHICS, PORT.ATTRIBUTE] as const;
/** Miscellaneous output, CRT controller's port and index, attribute colour select, then the index registers. */
const FIXED_HARDWARE = 4 + 1 + INDEX_PORTS.length;
const HARDWARE_BYTES = FIXED_HARDWARE + COUNT.SEQUENCER + COUNT.CRTC + COUNT.ATTRIBUTE + 1 + COUNT.GRAPHICS;

/** Ranges of the data area and the vectors that a mode set changes: address and length. */
const MEMORY_RANGES = [
  [BDA.MODE, BDA.PALETTE - BDA.MODE + 1],
  [BDA.ROWS, BDA.DISPLAY_CODE - BDA.ROWS + 1],
  [BDA.SAVE_POINTER, 4],
  [VECTOR.VIDEO * 4, 4],
  [VECTOR.UPPER_FONT * 4, 4],
  [VECTOR.FONT * 4, 4],
] as const;
const MEMORY_BYTES = MEMORY_RANGES.reduce((sum, [, length]) => sum + length, 0);
const PALETTE_BYTES = 3 + 256 * 3;
/** State port answer while colours are read. */
const DAC_READING = 3;

const blocks = (bytes: number): number => Math.ceil(bytes / BLOCK);

/** Steps through the caller's buffer. */
interface Cursor {
  address: number;
}

/** INT 10h AH=1Ch: AL=0 size in 64-byte blocks, 1 save at ES:BX, 2 restore. */
export function saveState(context: ServiceContext): void {
  const { cpu } = context;
  const parts = cx(cpu);
  const action = al(cpu);
  if (action > 2 || (parts & STATE_PARTS) === 0) return;
  const address = esAddress(cpu, bx(cpu));
  if (action === 0) setWord(cpu, "ebx", stateBlocks(parts));
  else if (action === 1) saveParts(context, parts, address);
  else restoreParts(context, parts, address);
  setLow(cpu, "eax", SUPPORTED.SAVE_STATE);
}

/** Blocks of 64 bytes that parts (bits as in CX) take. */
export function stateBlocks(parts: number): number {
  return (
    (parts & PART.HARDWARE ? blocks(HARDWARE_BYTES) : 0) +
    (parts & PART.DATA_AREA ? blocks(MEMORY_BYTES) : 0) +
    (parts & PART.PALETTE ? blocks(PALETTE_BYTES) : 0)
  );
}

/** Save parts at an address. */
export function saveParts(context: ServiceContext, parts: number, address: number): void {
  eachPart(parts, address, {
    hardware: (at) => saveHardware(context, at),
    dataArea: (at) => copyDataArea(context, at, true),
    palette: (at) => savePalette(context, at),
  });
}

/** Restore them. */
export function restoreParts(context: ServiceContext, parts: number, address: number): void {
  eachPart(parts, address, {
    hardware: (at) => restoreHardware(context, at),
    dataArea: (at) => copyDataArea(context, at, false),
    palette: (at) => restorePalette(context, at),
  });
}

type PartName = "hardware" | "dataArea" | "palette";

function eachPart(parts: number, start: number, work: Readonly<Record<PartName, (at: Cursor) => void>>): void {
  let address = start;
  if (parts & PART.HARDWARE) {
    work.hardware({ address });
    address += blocks(HARDWARE_BYTES) * BLOCK;
  }
  if (parts & PART.DATA_AREA) {
    work.dataArea({ address });
    address += blocks(MEMORY_BYTES) * BLOCK;
  }
  if (parts & PART.PALETTE) work.palette({ address });
}

function saveHardware(context: ServiceContext, to: Cursor): void {
  const { io, memory } = context;
  const put = (value: number) => memory.write8(to.address++, value);
  const crtc = crtcPort(context);
  put(io.in(PORT.MISC_READ, 1));
  put(crtc & 0xff);
  put(crtc >> 8);
  put(io.in(crtc, 1));
  put(io.in(PORT.FEATURE_READ, 1));
  for (const port of INDEX_PORTS) put(io.in(port, 1));
  for (let i = 0; i < COUNT.SEQUENCER; i++) put(readIndexed(io, PORT.SEQUENCER, i + 1));
  for (let i = 0; i < COUNT.CRTC; i++) put(readIndexed(io, crtc, i));
  for (let i = 0; i <= COUNT.ATTRIBUTE; i++) {
    resetFlipFlop(context);
    io.out(PORT.ATTRIBUTE, 1, i);
    put(io.in(PORT.ATTRIBUTE_READ, 1));
  }
  resetFlipFlop(context);
  io.out(PORT.ATTRIBUTE, 1, PALETTE_ON);
  for (let i = 0; i < COUNT.GRAPHICS; i++) put(readIndexed(io, PORT.GRAPHICS, i));
}

function restoreHardware(context: ServiceContext, from: Cursor): void {
  const { io, memory } = context;
  const get = () => memory.read8(from.address++);
  io.out(PORT.MISC_WRITE, 1, get());
  const crtc = (get() | (get() << 8)) === PORT.CRTC_MONO ? PORT.CRTC_MONO : PORT.CRTC_COLOR;
  memory.write16(BDA.CRTC_PORT, crtc);
  const crtcIndex = get();
  // The feature control register is written where input status 1 is read.
  io.out(crtc + 6, 1, get());
  const indexes = INDEX_PORTS.map(() => get());
  for (let i = 0; i < COUNT.SEQUENCER; i++) writeIndexed(io, PORT.SEQUENCER, i + 1, get());
  writeIndexed(io, crtc, RETRACE_END, 0);
  for (let i = 0; i < COUNT.CRTC; i++) writeIndexed(io, crtc, i, get());
  resetFlipFlop(context);
  for (let i = 0; i <= COUNT.ATTRIBUTE; i++) {
    io.out(PORT.ATTRIBUTE, 1, i);
    io.out(PORT.ATTRIBUTE, 1, get());
  }
  for (let i = 0; i < COUNT.GRAPHICS; i++) writeIndexed(io, PORT.GRAPHICS, i, get());
  io.out(crtc, 1, crtcIndex);
  resetFlipFlop(context);
  INDEX_PORTS.forEach((port, i) => {
    io.out(port, 1, indexes[i]!);
  });
  resetFlipFlop(context);
}

function copyDataArea(context: ServiceContext, buffer: Cursor, save: boolean): void {
  const { memory } = context;
  for (const [address, length] of MEMORY_RANGES) {
    for (let i = 0; i < length; i++, buffer.address++) {
      if (save) memory.write8(buffer.address, memory.read8(address + i));
      else memory.write8(address + i, memory.read8(buffer.address));
    }
  }
}

function savePalette(context: ServiceContext, to: Cursor): void {
  const { io, memory } = context;
  const put = (value: number) => memory.write8(to.address++, value);
  put(io.in(PORT.DAC_READ_INDEX, 1));
  put(io.in(PORT.DAC_WRITE_INDEX, 1));
  put(io.in(PORT.DAC_MASK, 1));
  io.out(PORT.DAC_READ_INDEX, 1, 0);
  for (let i = 0; i < 256 * 3; i++) put(io.in(PORT.DAC_DATA, 1));
}

function restorePalette(context: ServiceContext, from: Cursor): void {
  const { io, memory } = context;
  const get = () => memory.read8(from.address++);
  const state = get();
  const address = get();
  io.out(PORT.DAC_MASK, 1, get());
  io.out(PORT.DAC_WRITE_INDEX, 1, 0);
  for (let i = 0; i < 256 * 3; i++) io.out(PORT.DAC_DATA, 1, get());
  // In read mode the address already stands one colour further.
  if (state === DAC_READING) io.out(PORT.DAC_READ_INDEX, 1, (address - 1) & 0xff);
  else io.out(PORT.DAC_WRITE_INDEX, 1, address);
}
