/**
 * The systems that boot in tests: which medium, when it is ready, and what is then tried. Each is tried with every firmware
 * that is there (`systems.boot.test.ts`).
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Domain, DomainConfig } from "../../src/index.ts";
import { colours, guest, pass, pixels, sees, until } from "./support.ts";

export interface GuestSystem {
  readonly name: string;
  readonly medium: "floppy" | "CD";
  /** Why it cannot be tried, or false. */
  readonly skip: string | false;
  /** Its medium, and memory where the default does not fit. */
  config(): DomainConfig;
  /** Resolves when it is ready for its user. */
  ready(domain: Domain): Promise<unknown>;
  /** What {@link check} does, for docs/guests.md. */
  readonly checked: string;
  check(domain: Domain): Promise<void>;
}

/** A system on a floppy or CD below `shared/guests`. */
function system(
  name: string,
  medium: GuestSystem["medium"],
  file: readonly string[],
  rest: Pick<GuestSystem, "ready" | "checked" | "check"> & { readonly config?: DomainConfig },
): GuestSystem {
  const { path, skip } = guest(...file);
  const image: DomainConfig = medium === "CD" ? { cdrom: path, boot: "d" } : { fda: path };
  return { ...rest, name, medium, skip, config: () => ({ ...image, ...rest.config }) };
}

const FREEDOS_PROMPT = /A:\\>\s*$(?![\s\S]*\S)/;

async function checkFreeDos(domain: Domain): Promise<void> {
  await domain.keyboard.type("ver\n");
  await sees(domain, /^A:\\>ver\s+FreeCom version [\s\S]*A:\\>$/);
  await domain.keyboard.type("dir\n");
  const [listing] = await sees(domain, /^ Directory of A:\\[\s\S]*\d dir\(s\)[\s\S]*A:\\>$/);
  for (const file of [/^KERNEL +SYS +45,450/m, /^COMMAND +COM +66,090/m, /^AUTOEXEC BAT/m]) assert.match(listing, file);
}

async function checkBootOs(domain: Domain): Promise<void> {
  await domain.keyboard.type("dir\n");
  const [games] = await sees(domain, /^\$dir\n[\s\S]*^\$$/);
  for (const game of ["fbird", "invaders", "snake", "rogue", "bricks"])
    assert.match(games, new RegExp(`^${game}$`, "m"));

  await domain.keyboard.type("basic\n");
  await sees(domain, /^>$/);
  await domain.keyboard.type("10 print 6*7\nrun\n");
  await sees(domain, /^>run\n42$/);
}

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

async function checkTetros(domain: Domain): Promise<void> {
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
}

async function checkMikeOs(domain: Domain): Promise<void> {
  await domain.keyboard.press("enter");
  const [files] = await sees(domain, /Please select a file[\s\S]*CALC\.BAS/);
  const names = [...files.matchAll(/^ +(\w+\.B(?:IN|AS))$/gm)].map(([, name]) => name);
  for (let down = names.indexOf("CALC.BAS"); down > 0; down--) await domain.keyboard.press("down");
  await domain.keyboard.press("enter");
  await sees(domain, /║ Calculator +║[\s\S]*Simple Calculations[\s\S]*Exit/);
}

async function checkFloppybird(domain: Domain): Promise<void> {
  const { width, height } = domain.screen.frame();
  assert.deepEqual({ width, height }, { width: 320, height: 200 });
  await pass(domain, 100);
  const title = pixels(domain);
  await pass(domain, 50);
  assert.deepEqual(pixels(domain), title, "the title waits for a key");
  await domain.keyboard.press("space");
  const moved = (): true | undefined => (pixels(domain).some((pixel, at) => pixel !== title[at]) ? true : undefined);
  await until(domain, "the picture to change", moved);
}

const MIKEOS = {
  ready: (domain: Domain) => sees(domain, /Thanks for trying out MikeOS![\s\S]*OK +Cancel/),
  checked: "menu, list of files, a BASIC program runs",
  check: checkMikeOs,
};
const FLOPPYBIRD = {
  ready: async (domain: Domain) => {
    await until(domain, "the title picture", () => (colours(domain) > 16 ? true : undefined));
    // It is drawn pixel by pixel.
    for (let before = pixels(domain); ; before = pixels(domain)) {
      await pass(domain, 300);
      if (pixels(domain).every((pixel, at) => pixel === before[at])) return;
    }
  },
  checked: "title picture in mode 13h, space starts the game",
  check: checkFloppybird,
};

export const SYSTEMS: readonly GuestSystem[] = [
  ...["160K", "360K", "720K", "1200K", "1.4MB"].map((format) =>
    system(`FreeDOS, ${format}`, "floppy", ["dos", `freedos-${format}.img`], {
      ready: (domain) => sees(domain, FREEDOS_PROMPT),
      checked: "`ver`, `dir`",
      check: checkFreeDos,
    }),
  ),
  system("bootOS", "floppy", ["hobby", "bootos-osall.img"], {
    ready: (domain) => sees(domain, /^\$$/),
    checked: "`dir` lists the games, its BASIC computes",
    check: checkBootOs,
  }),
  {
    ...system("tetros", "floppy", ["hobby", "tetros-512.img"], {
      ready: (domain) => until(domain, "a piece", () => piece(domain)),
      checked: "the playing field, pieces fall, keys move them",
      check: checkTetros,
    }),
    config: () => {
      const image = new Uint8Array(1_474_560);
      image.set(readFileSync(guest("hobby", "tetros-512.img").path));
      return { fda: image };
    },
  },
  system("MikeOS 4.5", "floppy", ["hobby", "mikeos.flp"], MIKEOS),
  system("MikeOS 4.5", "CD", ["hobby", "mikeos.iso"], MIKEOS),
  system("floppybird", "floppy", ["hobby", "floppybird.img"], FLOPPYBIRD),
  system("floppybird", "CD", ["hobby", "floppybird.iso"], FLOPPYBIRD),
  system("memtest86+ 6.10", "CD", ["bootmedia", "memtest86+ia32.iso"], {
    config: { memory: 16 },
    ready: (domain) => sees(domain, /Memory +: +16MB/),
    checked: "processor and memory reported, tests run without errors",
    check: async (domain) => {
      await domain.keyboard.press("enter");
      await sees(domain, /Test #\d[\s\S]*Status: Testing[\s\S]*Errors: 0/);
    },
  }),
  system("iPXE", "CD", ["bootmedia", "ipxe.iso"], {
    ready: (domain) => sees(domain, /iPXE initialising devices/),
    checked: "ISOLINUX starts it, its banner and features",
    check: async (domain) => {
      await sees(domain, /^Features: DNS HTTP/);
    },
  }),
];
