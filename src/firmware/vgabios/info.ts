/** What the adapter is and does: INT 10h AH=1Ah (display combination) and AH=1Bh (functionality and state). */
import type { ServiceContext } from "../service.ts";
import { ATC, PORT, readAttribute, readIndexed, SEQ } from "./adapter.ts";
import { pageCount } from "./cursor.ts";
import { BDA, CONTROL, farPointer, ROM, ROM_SEGMENT, VGA_FLAGS } from "./layout.ts";
import { scanLines } from "./mode.ts";
import { MODES } from "./modes.ts";
import { al, bh, bl, bx, esAddress, setLow, setWord } from "./registers.ts";

/** AL of a service that exists. */
export const SUPPORTED = {
  ALTERNATE_SELECT: 0x12,
  DISPLAY_COMBINATION: 0x1a,
  FUNCTIONALITY: 0x1b,
  SAVE_STATE: 0x1c,
} as const;

/** Pairs of display codes, by the index at 40:8Ah (PS/2 BIOS Technical Reference, INT 10h AH=1Ah). */
export const DISPLAY_CODES = [
  [0, 0],
  [0, 1],
  [2, 0],
  [2, 1],
  [0, 4],
  [4, 1],
  [0, 5],
  [2, 5],
  [0, 6],
  [6, 1],
  [6, 5],
  [0, 8],
  [8, 1],
  [0, 7],
  [7, 2],
  [7, 6],
] as const;
/** Index of "VGA with analogue colour display" alone. */
export const DISPLAY_CODE_VGA = 11;

/** The 16 bytes of the static functionality table. */
export const STATIC_FUNCTIONALITY = [
  // Modes 00h–07h, 0Dh–0Fh, 10h–13h.
  0xff, 0xe0, 0x0f, 0, 0, 0, 0,
  // 200, 350 and 400 lines; eight font blocks, two of them at a time.
  0x07, 8, 2,
  // All modes on all displays, grey summing, fonts, palette loading, cursor emulation, palettes; then
  // save and restore, blinking, display combination.
  0xff, 0x0e, 0, 0,
  // Save pointer functions: 512 characters, display combination codes.
  0x21, 0,
] as const;

const STATE_SIZE = 64;
/** Offsets in the state block (AH=1Bh). */
const STATE = {
  MODE: 0x04,
  ROWS: 0x22,
  CHARACTER_HEIGHT: 0x23,
  DISPLAY: 0x25,
  COLORS: 0x27,
  PAGES: 0x29,
  SCAN_LINES: 0x2a,
  FONT_BLOCK_PRIMARY: 0x2b,
  FONT_BLOCK_SECONDARY: 0x2c,
  FLAGS: 0x2d,
  MEMORY: 0x31,
  SAVE_POINTER_FLAGS: 0x32,
} as const;
/** Bytes 40:49h–40:66h stand in the block as they are. */
const DATA_AREA_BYTES = BDA.PALETTE - BDA.MODE + 1;
const FLAG = {
  ALL_MODES: 1 << 0,
  GRAY_SUMMING: 1 << 1,
  MONO_DISPLAY: 1 << 2,
  NO_PALETTE_LOADING: 1 << 3,
  CURSOR_EMULATION: 1 << 4,
  BLINKING: 1 << 5,
} as const;
const MEMORY_256K = 3;
const BLINK = 0x08;

/** INT 10h AH=1Ah: get (AL=0) or set (AL=1) the display combination in BX. */
export function displayCombination(context: ServiceContext): void {
  const { cpu, memory } = context;
  if (al(cpu) === 0) {
    const [active, other] = currentCodes(context);
    setWord(cpu, "ebx", active | (other << 8));
  } else if (al(cpu) === 1) {
    const index = DISPLAY_CODES.findIndex(([other, active]) => active === bl(cpu) && other === bh(cpu));
    if (index >= 0) memory.write8(BDA.DISPLAY_CODE, index);
  } else return;
  setLow(cpu, "eax", SUPPORTED.DISPLAY_COMBINATION);
}

function currentCodes(context: ServiceContext): [active: number, other: number] {
  const pair = DISPLAY_CODES[context.memory.read8(BDA.DISPLAY_CODE)] ?? DISPLAY_CODES[DISPLAY_CODE_VGA]!;
  return [pair[1], pair[0]];
}

/** INT 10h AH=1Bh, BX=0: 64 bytes at ES:DI. */
export function functionality(context: ServiceContext): void {
  const { cpu, memory } = context;
  if (bx(cpu) !== 0) return;
  const block = new Uint8Array(STATE_SIZE);
  const put16 = (offset: number, value: number) => {
    block[offset] = value & 0xff;
    block[offset + 1] = value >> 8;
  };
  put16(0, ROM.STATIC_FUNCTIONALITY);
  put16(2, ROM_SEGMENT);
  memory.read(BDA.MODE, block.subarray(STATE.MODE, STATE.MODE + DATA_AREA_BYTES));
  block[STATE.ROWS] = memory.read8(BDA.ROWS) + 1;
  put16(STATE.CHARACTER_HEIGHT, memory.read16(BDA.CHARACTER_HEIGHT));
  block.set(currentCodes(context), STATE.DISPLAY);
  const mode = MODES.get(memory.read8(BDA.MODE));
  put16(STATE.COLORS, mode?.colors ?? 0);
  block[STATE.PAGES] = pageCount(context);
  const flags = memory.read8(BDA.VGA_FLAGS);
  block[STATE.SCAN_LINES] = [200, 350, 400, 480].indexOf(mode?.lines || scanLines(flags));
  const fonts = readIndexed(context.io, PORT.SEQUENCER, SEQ.CHARACTER_MAP);
  block[STATE.FONT_BLOCK_PRIMARY] = (fonts & 3) | ((fonts >> 2) & 4);
  block[STATE.FONT_BLOCK_SECONDARY] = ((fonts >> 2) & 3) | ((fonts >> 3) & 4);
  const control = memory.read8(BDA.CONTROL);
  block[STATE.FLAGS] =
    FLAG.ALL_MODES |
    (flags & VGA_FLAGS.GRAY_SUMMING ? FLAG.GRAY_SUMMING : 0) |
    (mode?.palette === "mono" ? FLAG.MONO_DISPLAY : 0) |
    (flags & VGA_FLAGS.NO_PALETTE_LOADING ? FLAG.NO_PALETTE_LOADING : 0) |
    (control & CONTROL.NO_CURSOR_EMULATION ? 0 : FLAG.CURSOR_EMULATION) |
    (readAttribute(context, ATC.MODE_CONTROL) & BLINK ? FLAG.BLINKING : 0);
  block[STATE.MEMORY] = MEMORY_256K;
  block[STATE.SAVE_POINTER_FLAGS] = farPointer(memory, BDA.SAVE_POINTER) === 0 ? 0 : STATIC_FUNCTIONALITY[0x0e];
  memory.write(esAddress(cpu, cpu.edi), block);
  setLow(cpu, "eax", SUPPORTED.FUNCTIONALITY);
}
