/** Small systems and games that live on a floppy, most of them in a boot sector: they talk to the bare PC. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Domain } from "../../src/index.ts";
import { colours, guest, pass, pixels, sees, until, withDomain } from "./support.ts";

const bootos = guest("hobby", "bootos-osall.img");
const tetros = guest("hobby", "tetros-512.img");
const mikeos = guest("hobby", "mikeos.flp");
const floppybird = guest("hobby", "floppybird.img");

test("bootOS lists its games, a game runs, and its BASIC computes", { skip: bootos.skip }, async () => {
  await withDomain({ fda: bootos.path }, async (domain) => {
    await sees(domain, /^bootOS\n\$$/);
    await domain.keyboard.type("dir\n");
    const [games] = await sees(domain, /^\$dir\n[\s\S]*^\$$/);
    for (const game of ["fbird", "invaders", "snake", "rogue", "bricks"])
      assert.match(games, new RegExp(`^${game}$`, "m"));

    await domain.keyboard.type("basic\n");
    await sees(domain, /^>$/);
    await domain.keyboard.type("10 print 6*7\nrun\n");
    await sees(domain, /^>run\n42$/);
  });
  await withDomain({ fda: bootos.path }, async (domain) => {
    await sees(domain, /^\$$/);
    await domain.keyboard.type("snake\n");
    await sees(domain, /^Score: 1$/);
    const head = (): { row: number; column: number } | undefined => {
      const rows = domain.screen.text().split("\n");
      const row = rows.findIndex((text) => text.includes("@"));
      return row < 0 ? undefined : { row, column: rows[row]!.indexOf("@") };
    };
    const start = await until(domain, "the snake", head);
    await until(domain, "the snake to move by itself", () => (head()?.column === start.column ? undefined : true));
    await domain.keyboard.type("w");
    await until(domain, "the snake to turn", () => ((head()?.row ?? start.row) < start.row ? true : undefined));
  });
});

/** Colours of a text screen's cells (background in the attribute), one row a string of hexadecimal digits. */
function backgrounds(domain: Domain): string[] {
  const screen = domain.screen.cells();
  if (!screen) return [];
  return Array.from({ length: screen.rows }, (_, row) =>
    Array.from(screen.cells.subarray(row * screen.columns, (row + 1) * screen.columns), (cell) =>
      (cell >> 12).toString(16),
    ).join(""),
  );
}

/** Where the falling piece of tetros is: first row and leftmost column of what is coloured inside the field. */
function piece(domain: Domain): { top: number; left: number } | undefined {
  const rows = backgrounds(domain).map((row) => /7([0-6]{12})7/.exec(row)?.[1]);
  const top = rows.findIndex((row) => row !== undefined && /[1-6]/.test(row));
  if (top < 0) return undefined;
  const lefts = rows.map((row) => (row === undefined ? -1 : row.search(/[1-6]/))).filter((left) => left >= 0);
  return { top, left: Math.min(...lefts) };
}

test("tetros: pieces fall in the playing field and keys move them", { skip: tetros.skip }, async () => {
  const image = new Uint8Array(1_474_560);
  image.set(readFileSync(tetros.path));
  await withDomain({ fda: image }, async (domain) => {
    const start = await until(domain, "a piece", () => piece(domain));
    assert.equal(backgrounds(domain).filter((row) => /7.{12}7/.test(row)).length, 18, "rows of the playing field");
    await until(domain, "the piece to fall", () => ((piece(domain)?.top ?? 0) > start.top ? true : undefined));
    for (const [key, step] of [
      ["left", -1],
      ["left", -1],
      ["right", 1],
    ] as const) {
      const before = piece(domain)!.left;
      await domain.keyboard.press(key);
      await until(domain, `the piece to move ${key}`, () => (piece(domain)?.left === before + step ? true : undefined));
    }
  });
});

test("MikeOS: menu, list of files, and a program in BASIC", { skip: mikeos.skip }, async () => {
  await withDomain({ fda: mikeos.path }, async (domain) => {
    await sees(domain, /Thanks for trying out MikeOS![\s\S]*OK +Cancel/);
    await domain.keyboard.press("enter");
    const [files] = await sees(domain, /Please select a file[\s\S]*CALC\.BAS/);
    const names = [...files.matchAll(/^ +(\w+\.B(?:IN|AS))$/gm)].map(([, name]) => name);
    for (let down = names.indexOf("CALC.BAS"); down > 0; down--) await domain.keyboard.press("down");
    await domain.keyboard.press("enter");
    await sees(domain, /║ Calculator +║[\s\S]*Simple Calculations[\s\S]*Exit/);
  });
});

test("floppybird: a picture in mode 13h, and space makes the bird fly", { skip: floppybird.skip }, async () => {
  await withDomain({ fda: floppybird.path }, async (domain) => {
    await until(domain, "the title picture", () => (colours(domain) > 16 ? true : undefined));
    const { width, height } = domain.screen.frame();
    assert.deepEqual({ width, height }, { width: 320, height: 200 });
    await pass(domain, 100);
    const title = pixels(domain);
    await pass(domain, 50);
    assert.deepEqual(pixels(domain), title, "the title waits for a key");
    await domain.keyboard.press("space");
    const moved = (): true | undefined => (pixels(domain).some((pixel, at) => pixel !== title[at]) ? true : undefined);
    await until(domain, "the picture to change", moved);
  });
});
