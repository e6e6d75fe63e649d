/** INT 10h: what the guest's call in AH leads to (PS/2 and PC BIOS Technical Reference, "Interrupt 10h, Video"). */
import type { Lasting, Service, ServiceContext } from "../service.ts";
import { columnsOf, cursorOf, lastRowOf, moveCursor, selectPage, setCursorShape } from "./cursor.ts";
import { characterGenerator } from "./fonts.ts";
import { drawCharacter, readCharacter, scrollGraphics } from "./glyph.ts";
import { displayCombination, functionality } from "./info.ts";
import { BDA, CONTROL } from "./layout.ts";
import { setMode } from "./mode.ts";
import { MODES } from "./modes.ts";
import { paletteRegisters, setCgaPalette } from "./palette.ts";
import { rasterOf } from "./raster.ts";
import { ah, al, bh, bl, ch, cl, cx, dh, dl, dx, esAddress, setHigh, setLow, setWord } from "./registers.ts";
import { saveState } from "./save-state.ts";
import { alternateSelect } from "./select.ts";
import { soundBell, teletype, typeCharacter } from "./teletype.ts";
import { readCell, scrollText, writeCells } from "./text.ts";
import { vbe } from "./vbe.ts";
import { hasDispi } from "./vbe-modes.ts";
import { setModeNumber } from "./vbe-set.ts";

const TELETYPE = 0x0e;
/** AL after a mode set: what compatible BIOSes leave there, by kind of mode. */
const MODE_SET = { EXTENDED: 0x20, STANDARD: 0x30, MODE_6: 0x3f } as const;
/** VESA's number of 800 × 600 in sixteen colours from before VBE, what it is now, and its flag to leave memory alone. */
const MODE_800_600 = 0x6a;
const VBE_800_600 = 0x102;
const VBE_NO_CLEAR = 0x8000;
/** AH=13h, AL. */
const STRING = { MOVE_CURSOR: 1, ATTRIBUTES: 2 } as const;

/** Serve INT 10h. Functions that do not exist change nothing. */
export const int10: Service = (context) => {
  const { cpu } = context;
  const number = ah(cpu);
  if (number === TELETYPE) return teletype(context, al(cpu), bl(cpu));
  return FUNCTIONS.get(number)?.(context);
};

const FUNCTIONS: ReadonlyMap<number, Service> = new Map<number, Service>([
  [0x00, changeMode],
  [0x01, (context) => setCursorShape(context, ch(context.cpu), cl(context.cpu))],
  [0x02, (context) => moveCursor(context, bh(context.cpu), dl(context.cpu), dh(context.cpu))],
  [0x03, readCursor],
  [0x04, (context) => setHigh(context.cpu, "eax", 0)],
  [0x05, (context) => selectPage(context, al(context.cpu))],
  [0x06, (context) => scroll(context, 1)],
  [0x07, (context) => scroll(context, -1)],
  [0x08, readCharacterAtCursor],
  [0x09, (context) => writeCharacters(context, bl(context.cpu))],
  [0x0a, (context) => writeCharacters(context, -1)],
  [0x0b, setCgaPalette],
  [0x0c, writePixel],
  [0x0d, readPixel],
  [0x0f, readMode],
  [0x10, paletteRegisters],
  [0x11, characterGenerator],
  [0x12, alternateSelect],
  [0x13, writeString],
  [0x1a, displayCombination],
  [0x1b, functionality],
  [0x1c, saveState],
  [0x4f, vbe],
]);

function currentMode(context: ServiceContext) {
  return MODES.get(context.memory.read8(BDA.MODE));
}

function changeMode(context: ServiceContext): void {
  const { cpu } = context;
  const number = al(cpu) & 0x7f;
  if (number === MODE_800_600) {
    if (hasDispi(context.io)) setModeNumber(context, VBE_800_600 | (al(cpu) & 0x80 ? VBE_NO_CLEAR : 0));
    return;
  }
  if (!setMode(context, al(cpu))) return;
  setLow(cpu, "eax", number > 7 ? MODE_SET.EXTENDED : number === 6 ? MODE_SET.MODE_6 : MODE_SET.STANDARD);
}

function readCursor(context: ServiceContext): void {
  const { cpu, memory } = context;
  setWord(cpu, "edx", cursorOf(context, bh(cpu)));
  setWord(cpu, "ecx", memory.read16(BDA.CURSOR_END));
}

/** AH=06h and 07h: AL rows of window CX–DX on the displayed page. */
function scroll(context: ServiceContext, direction: 1 | -1): void {
  const { cpu, memory } = context;
  const mode = currentMode(context);
  if (!mode) return;
  const window = {
    left: cl(cpu),
    top: ch(cpu),
    right: Math.min(dl(cpu), columnsOf(context) - 1),
    bottom: Math.min(dh(cpu), lastRowOf(context)),
  };
  if (window.left > window.right || window.top > window.bottom) return;
  const page = memory.read8(BDA.ACTIVE_PAGE);
  const lines = al(cpu) * direction;
  if (mode.kind === "text") scrollText(context, page, window, lines, bh(cpu));
  else scrollGraphics(context, mode, page, window, lines, bh(cpu));
}

function readCharacterAtCursor(context: ServiceContext): void {
  const { cpu } = context;
  const mode = currentMode(context);
  if (!mode) return;
  const page = bh(cpu);
  const cursor = cursorOf(context, page);
  const column = cursor & 0xff;
  const row = cursor >> 8;
  if (mode.kind === "text") setWord(cpu, "eax", readCell(context, page, column, row));
  else setLow(cpu, "eax", readCharacter(context, mode, page, column, row));
}

/** AH=09h and 0Ah: CX times AL at the cursor, which stays. In graphics modes BL is the colour either way. */
function writeCharacters(context: ServiceContext, attribute: number): void {
  const { cpu } = context;
  const mode = currentMode(context);
  if (!mode) return;
  // In mode 13h BH is the background; there is one page.
  const page = mode.kind === "linear" ? 0 : bh(cpu);
  const cursor = cursorOf(context, page);
  const column = cursor & 0xff;
  const row = cursor >> 8;
  if (mode.kind === "text") {
    writeCells(context, page, column, row, al(cpu), attribute, cx(cpu));
    return;
  }
  const end = Math.min(column + cx(cpu), columnsOf(context));
  for (let at = column; at < end; at++) drawCharacter(context, mode, page, at, row, al(cpu), bl(cpu), bh(cpu));
}

function writePixel(context: ServiceContext): void {
  const { cpu } = context;
  const mode = currentMode(context);
  if (!mode || mode.kind === "text" || !onScreen(context, mode.lines)) return;
  rasterOf(mode).writePixel(context, bh(cpu), cx(cpu), dx(cpu), al(cpu));
}

function readPixel(context: ServiceContext): void {
  const { cpu } = context;
  const mode = currentMode(context);
  if (!mode || mode.kind === "text" || !onScreen(context, mode.lines)) return;
  setLow(cpu, "eax", rasterOf(mode).readPixel(context, bh(cpu), cx(cpu), dx(cpu)));
}

function onScreen(context: ServiceContext, lines: number): boolean {
  const { cpu } = context;
  return cx(cpu) < columnsOf(context) * 8 && dx(cpu) < lines;
}

function readMode(context: ServiceContext): void {
  const { cpu, memory } = context;
  setLow(cpu, "eax", memory.read8(BDA.MODE) | (memory.read8(BDA.CONTROL) & CONTROL.NO_CLEAR));
  setHigh(cpu, "eax", columnsOf(context));
  setHigh(cpu, "ebx", memory.read8(BDA.ACTIVE_PAGE));
}

/** AH=13h: CX characters at ES:BP, from DX on; a bell among them sounds once, at the end. */
function writeString(context: ServiceContext): Lasting | undefined {
  const { cpu, memory } = context;
  const how = al(cpu);
  if (how > 3 || !currentMode(context)) return undefined;
  const page = bh(cpu);
  const before = cursorOf(context, page);
  let bell = false;
  let offset = cpu.ebp;
  moveCursor(context, page, dl(cpu), dh(cpu));
  for (let count = cx(cpu); count > 0; count--) {
    const character = memory.read8(esAddress(cpu, offset++));
    const attribute = how & STRING.ATTRIBUTES ? memory.read8(esAddress(cpu, offset++)) : bl(cpu);
    bell = typeCharacter(context, page, character, attribute) || bell;
  }
  if ((how & STRING.MOVE_CURSOR) === 0) moveCursor(context, page, before & 0xff, before >> 8);
  return bell ? soundBell(context) : undefined;
}
