/** What terminals send, as keys. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TerminalKeys } from "../../src/cli/terminal-keys.ts";

const feed = (text: string) => new TerminalKeys().feed(text);
const chord = (...codes: string[]) => ({ kind: "chord", codes });
const typed = (text: string, ...held: string[]) => ({ kind: "text", text, held });

test("characters are text, control characters are chords", () => {
  assert.deepEqual(feed("aB "), [typed("a"), typed("B"), typed(" ")]);
  assert.deepEqual(feed("\x03\r\t\x7f"), [
    chord("ControlLeft", "KeyC"),
    chord("Enter"),
    chord("Tab"),
    chord("Backspace"),
  ]);
  assert.deepEqual(feed("\0"), [chord("ControlLeft", "Space")]);
});

test("Ctrl-] leaves", () => {
  assert.deepEqual(feed("\x1d"), [{ kind: "leave" }]);
});

test("sequences of xterm, of the Linux console and of application mode are keys", () => {
  const sequences: [string, string[]][] = [
    ["\x1b[A", ["ArrowUp"]],
    ["\x1bOA", ["ArrowUp"]],
    ["\x1b[1;5C", ["ControlLeft", "ArrowRight"]],
    ["\x1b[1;4D", ["ShiftLeft", "AltLeft", "ArrowLeft"]],
    ["\x1bOP", ["F1"]],
    ["\x1b[[A", ["F1"]],
    ["\x1b[11~", ["F1"]],
    ["\x1b[24~", ["F12"]],
    ["\x1b[15;2~", ["ShiftLeft", "F5"]],
    ["\x1b[3~", ["Delete"]],
    ["\x1b[5~", ["PageUp"]],
    ["\x1b[H", ["Home"]],
    ["\x1b[Z", ["ShiftLeft", "Tab"]],
  ];
  for (const [sequence, codes] of sequences)
    assert.deepEqual(feed(sequence), [chord(...codes)], JSON.stringify(sequence));
});

test("Alt is an Escape before the key", () => {
  assert.deepEqual(feed("\x1bx"), [typed("x", "AltLeft")]);
  assert.deepEqual(feed("\x1b\r"), [chord("AltLeft", "Enter")]);
});

test("a lone Escape is the key once nothing follows", () => {
  const keys = new TerminalKeys();
  assert.deepEqual(keys.feed("\x1b"), []);
  assert.equal(keys.waiting, true);
  assert.deepEqual(keys.flush(), [chord("Escape")]);
  assert.equal(keys.waiting, false);
});

test("sequences that nobody knows are left out", () => {
  assert.deepEqual(feed("\x1b[?1;2ca"), [typed("a")]);
});

test("how input is cut into pieces does not matter", () => {
  const pieces = fc.array(fc.constantFrom("a", "\x1b[A", "\x1b[1;5C", "\x1bOP", "\x03", "é", "\x1b[3~", "\x1bx"), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(pieces, fc.array(fc.nat(30), { maxLength: 5 }), (parts, cuts) => {
      const input = parts.join("");
      const whole = new TerminalKeys().feed(input);
      const keys = new TerminalKeys();
      const at = [0, ...cuts.filter((cut) => cut <= input.length).sort((a, b) => a - b), input.length];
      const result = at.slice(1).flatMap((end, index) => keys.feed(input.slice(at[index], end)));
      assert.deepEqual([...result, ...keys.flush()], whole);
    }),
  );
});
