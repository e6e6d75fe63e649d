/** Draws a guest's screen with a terminal's escape sequences: text with 16 colours, pictures with half blocks. */
import type { Frame, TextScreen } from "../hypervisor/backend.ts";
import { CP437 } from "../toolstack/cp437.ts";

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Switch to and back from the terminal's second screen. */
export const TERMINAL = {
  enter: "\x1b[?1049h\x1b[0m\x1b[2J",
  leave: "\x1b[0m\x1b[?25h\x1b[?1049l",
  hideCursor: "\x1b[?25l",
  showCursor: "\x1b[?25h",
} as const;

/** VGA counts blue, green, red from bit 0; terminals count red, green, blue. */
const ANSI_COLOURS = [0, 4, 2, 6, 1, 5, 3, 7] as const;
const ATTRIBUTE = { bright: 0x08, background: 4, blink: 0x80 } as const;
const UPPER_HALF_BLOCK = "▀";

/** SGR parameters of each attribute byte: [blink is on, blink is off]. */
function attributeStyle(attribute: number, blink: boolean): string {
  const foreground = ANSI_COLOURS[attribute & 7]! + (attribute & ATTRIBUTE.bright ? 90 : 30);
  const background = (attribute >> ATTRIBUTE.background) & 7;
  const bright = (attribute & ATTRIBUTE.blink) !== 0;
  const back = ANSI_COLOURS[background]! + (bright && !blink ? 100 : 40);
  return `0;${foreground};${back}${bright && blink ? ";5" : ""}`;
}

const STYLES: Readonly<Record<"blink" | "bright", readonly string[]>> = {
  blink: Array.from({ length: 256 }, (_, attribute) => attributeStyle(attribute, true)),
  bright: Array.from({ length: 256 }, (_, attribute) => attributeStyle(attribute, false)),
};

const STATUS_STYLE = "0;2";

/** One picture as cells: style and character joined, so that a comparison is one. Row by row. */
interface Grid {
  readonly columns: number;
  readonly rows: number;
  readonly cells: string[];
  readonly cursor: { readonly column: number; readonly row: number } | undefined;
  /** Said in the last line of the terminal when there is room, or when something was cut off. */
  readonly notice: string | undefined;
}

const SEPARATOR = "m";

/** Remembers what the terminal shows and sends only what changed. */
export class TerminalScreen {
  #shown: string[] = [];
  #size: Size = { columns: 0, rows: 0 };
  /** What was sent last to place the cursor. */
  #cursor = "";
  readonly #status: string;

  /** `status` is written below the screen. */
  constructor(status: string) {
    this.#status = status;
  }

  /** Escape sequences that bring the terminal from the last picture to this text screen. */
  drawText(screen: TextScreen, size: Size): string {
    return this.#draw(textGrid(screen, size), size);
  }

  /** The same for a picture, scaled to the terminal. */
  drawFrame(frame: Frame, size: Size): string {
    return this.#draw(frameGrid(frame, size), size);
  }

  #draw(grid: Grid, size: Size): string {
    let output = "";
    if (size.columns !== this.#size.columns || size.rows !== this.#size.rows) {
      output += "\x1b[0m\x1b[2J";
      this.#shown = [];
      this.#size = size;
    }
    const wanted = layOut(grid, size, this.#status);
    let style = "";
    let at = -1;
    for (let index = 0; index < wanted.length; index++) {
      const cell = wanted[index]!;
      if (cell === (this.#shown[index] ?? BLANK)) continue;
      if (at !== index) output += `\x1b[${Math.floor(index / size.columns) + 1};${(index % size.columns) + 1}H`;
      const split = cell.indexOf(SEPARATOR);
      const cellStyle = cell.slice(0, split);
      if (cellStyle !== style) {
        output += `\x1b[${cellStyle}m`;
        style = cellStyle;
      }
      output += cell.slice(split + 1);
      // At the right margin terminals differ in where the cursor stands.
      at = (index + 1) % size.columns === 0 ? -1 : index + 1;
    }
    this.#shown = wanted;
    const cursor = grid.cursor
      ? `\x1b[${grid.cursor.row + 1};${grid.cursor.column + 1}H${TERMINAL.showCursor}`
      : TERMINAL.hideCursor;
    // A guest whose cursor blinks is drawn again and again: nothing is sent while nothing else changes.
    if (output === "" && cursor === this.#cursor) return "";
    this.#cursor = cursor;
    return `${TERMINAL.hideCursor}${output}${cursor}`;
  }
}

const BLANK = `0${SEPARATOR} `;

/** The grid on the whole terminal, with the last line for what must be said. */
function layOut(grid: Grid, size: Size, status: string): string[] {
  const wanted: string[] = new Array<string>(size.columns * size.rows).fill(BLANK);
  for (let row = 0; row < grid.rows; row++) {
    for (let column = 0; column < grid.columns; column++) {
      wanted[row * size.columns + column] = grid.cells[row * grid.columns + column]!;
    }
  }
  if (grid.rows < size.rows) {
    const text = grid.notice ? `${grid.notice} · ${status}` : status;
    const start = (size.rows - 1) * size.columns;
    Array.from(text)
      .slice(0, size.columns)
      .forEach((character, column) => {
        wanted[start + column] = STATUS_STYLE + SEPARATOR + character;
      });
  }
  return wanted;
}

function textGrid(screen: TextScreen, size: Size): Grid {
  const clipped = screen.columns > size.columns || screen.rows > size.rows;
  const columns = Math.min(screen.columns, size.columns);
  const rows = Math.min(screen.rows, clipped ? size.rows - 1 : size.rows);
  const cursorRow = screen.cursor < 0 ? -1 : Math.floor(screen.cursor / screen.columns);
  const cursorColumn = screen.cursor < 0 ? -1 : screen.cursor % screen.columns;
  // A terminal that is too low shows the part with the cursor.
  const top = Math.max(0, Math.min(cursorRow - rows + 1, screen.rows - rows));
  const styles = screen.blink ? STYLES.blink : STYLES.bright;
  const cells: string[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const cell = screen.cells[(row + top) * screen.columns + column]!;
      cells.push(styles[cell >> 8]! + SEPARATOR + CP437[cell & 0xff]!);
    }
  }
  const visible = cursorRow >= top && cursorRow < top + rows && cursorColumn < columns;
  return {
    columns,
    rows,
    cells,
    cursor: visible ? { column: cursorColumn, row: cursorRow - top } : undefined,
    notice: clipped
      ? `terminal ${size.columns}×${size.rows} is smaller than the screen ${screen.columns}×${screen.rows}`
      : undefined,
  };
}

/** Two pixels in a cell, scaled by nearest neighbour so that the whole picture fits. */
function frameGrid(frame: Frame, size: Size): Grid {
  const roomRows = Math.max(1, size.rows - 1);
  // Pictures are shown as on a 4:3 monitor; half cells are about square.
  const scale = Math.min(size.columns / 4, (roomRows * 2) / 3);
  const columns = Math.max(1, Math.floor(scale * 4));
  const rows = Math.max(1, Math.floor((scale * 3) / 2));
  const colour = (column: number, line: number): string => {
    const x = Math.min(frame.width - 1, Math.floor(((column + 0.5) * frame.width) / columns));
    const y = Math.min(frame.height - 1, Math.floor(((line + 0.5) * frame.height) / (rows * 2)));
    const at = (y * frame.width + x) * 4;
    return `${frame.rgba[at] ?? 0};${frame.rgba[at + 1] ?? 0};${frame.rgba[at + 2] ?? 0}`;
  };
  const cells: string[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const style = `38;2;${colour(column, row * 2)};48;2;${colour(column, row * 2 + 1)}`;
      cells.push(style + SEPARATOR + UPPER_HALF_BLOCK);
    }
  }
  return { columns, rows, cells, cursor: undefined, notice: `${frame.width}×${frame.height}` };
}
