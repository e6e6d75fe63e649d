/** Keyboard layouts: that what is typed is what a keyboard of that layout would mean. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { KEYMAP_NAMES, type KeymapName, keymapOf } from "../../src/devices/keymaps.ts";
import { isKey, textToKeys } from "../../src/devices/scancodes.ts";

/** Keys that go down, with "+" for modifiers held. */
function downs(text: string, name: KeymapName): string[] {
  return [...textToKeys(text, keymapOf(name))].filter(({ down }) => down).map(({ code }) => code);
}

test("every layout types ASCII, with keys that there are", () => {
  for (const name of KEYMAP_NAMES) {
    const missing: string[] = [];
    for (let code = 1; code < 0x80; code++) {
      const strokes = keymapOf(name).get(String.fromCharCode(code));
      if (!strokes) missing.push(String.fromCharCode(code));
      for (const { code: key, modifiers } of strokes ?? [])
        for (const part of [key, ...modifiers]) assert.ok(isKey(part), `${name}: ${part}`);
    }
    assert.deepEqual(missing, [], name);
  }
});

test("no two characters of a layout are typed alike", () => {
  for (const name of KEYMAP_NAMES) {
    const seen = new Map<string, string>();
    for (const [character, strokes] of keymapOf(name)) {
      const keys = strokes.map(({ code, modifiers }) => [...modifiers, code].join("-")).join(" ");
      const other = seen.get(keys);
      if (other !== undefined) assert.deepEqual([other, character], ["\n", "\r"], `${name}: ${keys}`);
      seen.set(keys, character);
    }
  }
});

test("letters, symbols and third levels stand where the layouts have them", () => {
  assert.deepEqual(downs("z", "de"), ["KeyY"]);
  assert.deepEqual(downs("Z", "de"), ["ShiftLeft", "KeyY"]);
  assert.deepEqual(downs("ß", "de"), ["Minus"]);
  assert.deepEqual(downs("@", "de"), ["AltRight", "KeyQ"]);
  assert.deepEqual(downs("\\", "de"), ["AltRight", "Minus"]);
  assert.deepEqual(downs("a", "fr"), ["KeyQ"]);
  assert.deepEqual(downs("1", "fr"), ["ShiftLeft", "Digit1"]);
  assert.deepEqual(downs("M", "fr"), ["ShiftLeft", "Semicolon"]);
  assert.deepEqual(downs("#", "en-gb"), ["Backslash"]);
  assert.deepEqual(downs("\\", "en-gb"), ["IntlBackslash"]);
  assert.deepEqual(downs("£", "en-gb"), ["ShiftLeft", "Digit3"]);
  assert.deepEqual(downs("/", "pt-br"), ["IntlRo"]);
  assert.deepEqual(downs("Ł", "pl"), ["ShiftLeft", "AltRight", "KeyL"]);
});

test("dead keys make letters with marks, and marks with a blank", () => {
  assert.deepEqual(downs("ê", "de"), ["Backquote", "KeyE"]);
  assert.deepEqual(downs("Ê", "de"), ["Backquote", "ShiftLeft", "KeyE"]);
  assert.deepEqual(downs("^", "de"), ["Backquote", "Space"]);
  assert.deepEqual(downs("é", "es"), ["Quote", "KeyE"]);
  // Where the character has a key of its own, that is taken.
  assert.deepEqual(downs("é", "fr"), ["Digit2"]);
  assert.deepEqual(downs("^", "fr"), ["AltRight", "Digit9"]);
  assert.deepEqual(downs("ã", "pt"), ["Backslash", "KeyA"]);
});

test("control characters hold the key that types their letter", () => {
  assert.deepEqual(downs("\x1a", "de"), ["ControlLeft", "KeyY"]);
  assert.deepEqual(downs("\x01", "fr"), ["ControlLeft", "KeyQ"]);
});
