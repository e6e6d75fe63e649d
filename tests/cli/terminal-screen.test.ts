/** The guest's screen in a terminal, checked on a small model of one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { TerminalScreen } from "../../src/cli/terminal-screen.ts";

/** Understands the few sequences that the screen uses. */
class Terminal {
  readonly columns: number;
  readonly rows: number;
  readonly cells: { text: string; style: string }[];
  cursor = { column: 0, row: 0, visible: true };
  #style = "0";

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
    this.cells = Array.from({ length: columns * rows }, () => ({ text: " ", style: "0" }));
  }

  write(output: string): void {
    for (const [, sequence, character] of output.matchAll(/\x1b\[([?0-9;]*[A-Za-z])|([^\x1b])/gu)) {
      if (character !== undefined) {
        this.cells[this.cursor.row * this.columns + this.cursor.column] = { text: character, style: this.#style };
        this.cursor.column++;
      } else if (sequence!.endsWith("H")) {
        const [row, column] = sequence!.slice(0, -1).split(";").map(Number);
        this.cursor = { ...this.cursor, row: row! - 1, column: column! - 1 };
      } else if (sequence!.endsWith("m")) this.#style = sequence!.slice(0, -1);
      else if (sequence === "2J") this.cells.fill({ text: " ", style: "0" });
      else if (sequence === "?25l" || sequence === "?25h") this.cursor.visible = sequence === "?25h";
      else assert.fail(`unknown sequence ${sequence}`);
    }
  }

  line(row: number): string {
    return this.cells
      .slice(row * this.columns, (row + 1) * this.columns)
      .map((cell) => cell.text)
      .join("");
  }
}

function guest(options: { columns?: number; rows?: number; cursor?: number; blink?: boolean } = {}) {
  const { columns = 10, rows = 4, cursor = -1, blink = true } = options;
  return { columns, rows, cells: new Uint16Array(columns * rows).fill(0x0720), cursor, blink };
}

function put(screen: ReturnType<typeof guest>, at: number, text: string, attribute = 7): void {
  for (let index = 0; index < text.length; index++)
    screen.cells[at + index] = (attribute << 8) | text.charCodeAt(index);
}

test("text, colours and cursor arrive, and the status line below them", () => {
  const terminal = new Terminal(20, 6);
  const screen = guest({ cursor: 13 });
  put(screen, 10, "C:>", 0x1e);
  const drawer = new TerminalScreen("dos");
  terminal.write(drawer.drawText(screen, terminal));
  assert.equal(terminal.line(1).trimEnd(), "C:>");
  assert.equal(terminal.cells[20]!.style, "0;93;44");
  assert.deepEqual(terminal.cursor, { column: 3, row: 1, visible: true });
  assert.equal(terminal.line(5).trimEnd(), "dos");
});

test("only what changed is sent", () => {
  const terminal = new Terminal(20, 6);
  const drawer = new TerminalScreen("dos");
  const screen = guest();
  terminal.write(drawer.drawText(screen, terminal));
  put(screen, 0, "x");
  const update = drawer.drawText(screen, terminal);
  assert.ok(update.length < 40, JSON.stringify(update));
  terminal.write(update);
  assert.equal(terminal.line(0).trimEnd(), "x");
  assert.equal(drawer.drawText(screen, terminal), "", "nothing changed");
});

test("attribute bit 7 blinks or brightens the background, as the guest has set it", () => {
  for (const [blink, style] of [
    [true, "0;37;41;5"],
    [false, "0;37;101"],
  ] as const) {
    const terminal = new Terminal(20, 6);
    const screen = guest({ blink });
    put(screen, 0, "!", 0xc7);
    terminal.write(new TerminalScreen("").drawText(screen, terminal));
    assert.equal(terminal.cells[0]!.style, style);
  }
});

test("a terminal that is too small shows the part with the cursor and says so", () => {
  const terminal = new Terminal(60, 3);
  const screen = guest({ columns: 10, rows: 4, cursor: 33 });
  put(screen, 30, "A:>");
  terminal.write(new TerminalScreen("dos").drawText(screen, terminal));
  assert.equal(terminal.line(1).trimEnd(), "A:>");
  assert.match(terminal.line(2), /terminal 60×3 is smaller than the screen 10×4/);
  assert.deepEqual(terminal.cursor, { column: 3, row: 1, visible: true });
});

test("a hidden cursor is hidden", () => {
  const terminal = new Terminal(20, 6);
  terminal.write(new TerminalScreen("").drawText(guest(), terminal));
  assert.equal(terminal.cursor.visible, false);
});

test("a change of size draws everything again", () => {
  const drawer = new TerminalScreen("");
  const screen = guest();
  put(screen, 0, "hello");
  drawer.drawText(screen, { columns: 20, rows: 6 });
  const terminal = new Terminal(30, 8);
  terminal.write(drawer.drawText(screen, terminal));
  assert.equal(terminal.line(0).trimEnd(), "hello");
});

test("pictures are half blocks in true colour", () => {
  const rgba = new Uint8ClampedArray(2 * 2 * 4);
  rgba.set([255, 0, 0, 255, 255, 0, 0, 255, 0, 0, 255, 255, 0, 0, 255, 255]);
  const terminal = new Terminal(40, 16);
  terminal.write(new TerminalScreen("").drawFrame({ width: 2, height: 2, rgba }, terminal));
  assert.equal(terminal.cells[0]!.text, "▀");
  assert.equal(terminal.cells[0]!.style, "38;2;255;0;0;48;2;255;0;0");
  assert.equal(terminal.cells[14 * 40]!.style, "38;2;0;0;255;48;2;0;0;255");
  assert.equal(terminal.cursor.visible, false);
});
