/**
 * Teletype output, INT 10h AH=0Eh and AH=13h: the way by which DOS and boot loaders print everything, so the text-mode
 * path is short and allocates nothing.
 */
import type { Lasting, ServiceContext } from "../service.ts";
import { columnsOf, cursorOf, lastRowOf, moveCursor } from "./cursor.ts";
import { drawCharacter, scrollGraphics } from "./glyph.ts";
import { BDA } from "./layout.ts";
import { MODES } from "./modes.ts";
import { cellAddress, scrollText } from "./text.ts";

const BELL = 0x07;
const BACKSPACE = 0x08;
const LINE_FEED = 0x0a;
const RETURN = 0x0d;

/** The speaker through counter 2 of the 8254 and port 61h. */
const SPEAKER = { TIMER_CONTROL: 0x43, TIMER_2: 0x42, GATE: 0x61, ON: 0x03, SQUARE_WAVE: 0xb6 } as const;
/** 1.193182 MHz / 1331 = 896 Hz, the tone of the IBM BIOS, for a quarter of a second. */
const BELL_DIVISOR = 1331;
const BELL_NANOSECONDS = 250_000_000;

/**
 * Print one character on a page and move the page's cursor; control characters act. `attribute` is the cell's
 * attribute or, negative, leaves the one that stands there; in graphics modes it is the colour.
 * Returns true for the bell, which the caller sounds.
 */
export function typeCharacter(context: ServiceContext, page: number, character: number, attribute: number): boolean {
  const { memory } = context;
  const cursor = cursorOf(context, page);
  const columns = columnsOf(context);
  const lastRow = lastRowOf(context);
  let column = cursor & 0xff;
  let row = cursor >> 8;
  switch (character) {
    case BELL:
      return true;
    case BACKSPACE:
      if (column > 0) column--;
      break;
    case LINE_FEED:
      row++;
      break;
    case RETURN:
      column = 0;
      break;
    default: {
      const number = memory.read8(BDA.MODE);
      if (isTextMode(number)) {
        const address = cellAddress(context, page, column, row);
        if (attribute < 0) memory.write8(address, character);
        else memory.write16(address, character | (attribute << 8));
      } else {
        const mode = MODES.get(number);
        if (mode) drawCharacter(context, mode, page, column, row, character, attribute & 0xff, 0);
      }
      if (++column >= columns) {
        column = 0;
        row++;
      }
    }
  }
  if (row > lastRow) {
    scrollPage(context, page, columns, lastRow);
    row = lastRow;
  }
  moveCursor(context, page, column, row);
  return false;
}

/** Text modes without a look into the mode table. */
function isTextMode(number: number): boolean {
  return number <= 3 || number === 7;
}

/** One row up; the new row gets the attribute that stood at the cursor. */
function scrollPage(context: ServiceContext, page: number, columns: number, lastRow: number): void {
  const number = context.memory.read8(BDA.MODE);
  const window = { left: 0, top: 0, right: columns - 1, bottom: lastRow };
  if (isTextMode(number)) {
    const attribute = context.memory.read8(cellAddress(context, page, 0, lastRow) + 1);
    scrollText(context, page, window, 1, attribute);
    return;
  }
  const mode = MODES.get(number);
  if (mode) scrollGraphics(context, mode, page, window, 1, 0);
}

/** AH=0Eh on the displayed page; a bell lasts. */
export function teletype(context: ServiceContext, character: number, color: number): Lasting | undefined {
  const { memory } = context;
  const attribute = isTextMode(memory.read8(BDA.MODE)) ? -1 : color;
  const bell = typeCharacter(context, memory.read8(BDA.ACTIVE_PAGE), character, attribute);
  return bell ? soundBell(context) : undefined;
}

/** Sound the speaker for a quarter of a second of guest time; the caller waits, as on the machine it comes from. */
export function soundBell(context: ServiceContext): Lasting {
  const { io, clock } = context;
  io.out(SPEAKER.TIMER_CONTROL, 1, SPEAKER.SQUARE_WAVE);
  io.out(SPEAKER.TIMER_2, 1, BELL_DIVISOR & 0xff);
  io.out(SPEAKER.TIMER_2, 1, BELL_DIVISOR >> 8);
  const gate = io.in(SPEAKER.GATE, 1) & ~SPEAKER.ON;
  io.out(SPEAKER.GATE, 1, gate | SPEAKER.ON);
  return { until: clock.now() + BELL_NANOSECONDS, done: () => io.out(SPEAKER.GATE, 1, gate) };
}
