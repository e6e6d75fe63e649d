/** A text screen as lines of Unicode. */
import type { TextScreen } from "../hypervisor/backend.ts";
import { CP437 } from "./cp437.ts";

/**
 * The screen's text: spaces at the ends of lines and empty lines at the end are left out, but not those before the
 * cursor, so that a prompt keeps its last space.
 */
export function screenText(screen: TextScreen): string {
  const lines: string[] = [];
  const cursorRow = screen.cursor < 0 ? -1 : Math.floor(screen.cursor / screen.columns);
  for (let row = 0; row < screen.rows; row++) {
    let line = "";
    for (let column = 0; column < screen.columns; column++) {
      line += CP437[screen.cells[row * screen.columns + column]! & 0xff]!;
    }
    const kept = row === cursorRow ? screen.cursor % screen.columns : 0;
    lines.push(line.slice(0, kept) + line.slice(kept).trimEnd());
  }
  while (lines.length - 1 > cursorRow && lines.at(-1) === "") lines.pop();
  return lines.join("\n");
}
