/** Text screens as strings, code page 437, and the names of keys. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CP437 } from "../../src/toolstack/cp437.ts";
import { parseChord } from "../../src/toolstack/keys.ts";
import { screenText } from "../../src/toolstack/screen-text.ts";

function screen(lines: string[], cursor: number) {
  const columns = 10;
  const rows = 4;
  const cells = new Uint16Array(columns * rows).fill(0x0720);
  lines.forEach((line, row) => {
    for (let column = 0; column < line.length; column++)
      cells[row * columns + column] = 0x0700 | line.charCodeAt(column);
  });
  return { columns, rows, cells, cursor, blink: true };
}

test("spaces at the ends of lines go, those before the cursor stay", () => {
  assert.equal(screenText(screen(["one", "", "A:\\> "], 2 * 10 + 5)), "one\n\nA:\\> ");
  assert.equal(screenText(screen(["one", "two"], -1)), "one\ntwo");
  assert.equal(screenText(screen([], 10)), "\n");
});

test("every code of code page 437 is one character, and ASCII is itself", () => {
  assert.equal(CP437.length, 256);
  for (const character of CP437) assert.equal([...character].length, 1);
  assert.equal(CP437[0x41], "A");
  assert.equal(CP437[0xdb], "█");
  assert.equal(CP437[0xc9], "╔");
  assert.equal(CP437[0xff], " ");
});

test("chords name keys as people do", () => {
  assert.deepEqual(parseChord("ctrl-alt-del"), ["ControlLeft", "AltLeft", "Delete"]);
  assert.deepEqual(parseChord("F10"), ["F10"]);
  assert.deepEqual(parseChord("shift-a"), ["ShiftLeft", "KeyA"]);
  assert.deepEqual(parseChord("5"), ["Digit5"]);
  assert.deepEqual(parseChord("Enter"), ["Enter"]);
  assert.throws(() => parseChord("ctrl-delte"), /unknown key "delte".*Did you mean "delete"/);
});
