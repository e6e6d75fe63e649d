/**
 * Every video mode as QEMU shows it, pixel for pixel: one program (tests/display/program.ts) on both, with our firmware
 * and with QEMU's. What differs for a reason is in {@link DIFFERENCES} and in docs/display.md.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Frame, Rectangle } from "../../src/index.ts";
import { displayDiskette, readTold } from "../display/program.ts";
import { hasQemu, Qemu } from "../display/qemu.ts";
import { hasSeaBios, runSeaBios } from "../display/seabios.ts";
import type { Pixels } from "../support/png.ts";
import { colours, guest, pass, until, withDomain } from "./support.ts";

/** Pictures that are not compared, since QEMU's adapter makes them otherwise, or its BIOS; why, in docs/display.md. */
const DIFFERENCES = {
  adapter: ["800 × 600 × 4", "1024 × 768 × 4", "1280 × 1024 × 4"],
  firmware: ["mode 0fh"],
} as const;
/** Modes beyond what our adapter has. */
const TOO_LARGE: ReadonlySet<string> = new Set(["3840 × 2160 × 16"]);
/** Dots of a character in text modes with 40 columns: ours, and in QEMU, which doubles eight of them. */
const FORTY_COLUMNS = { modes: new Set(["mode 00h", "mode 01h"]), ours: 9, theirs: 16 } as const;
/** Bits of a component that are compared: QEMU fills six up with copies of their lowest, and five with nothing. */
const SIX_BITS = 0xfcfcfc;
const FIVE_BITS = 0xf8f8f8;

function pixelsOf({ width, height, rgba }: Frame): Pixels {
  const colors = new Uint32Array(rgba.buffer).map(
    (pixel) => ((pixel & 0xff) << 16) | (pixel & 0xff00) | ((pixel >> 16) & 0xff),
  );
  return { width, height, colors };
}

/** All that the program shows in QEMU. */
async function inQemu(diskette: Uint8Array): Promise<Map<string, Pixels>> {
  const pictures = new Map<string, Pixels>();
  const qemu = await Qemu.start(diskette);
  try {
    for (;;) {
      const told = readTold(await qemu.line());
      if (!told) return pictures;
      pictures.set(told.key, await qemu.picture());
      qemu.send(".");
    }
  } finally {
    qemu.close();
  }
}

/** All that it shows here. */
async function here(diskette: Uint8Array): Promise<Map<string, Pixels>> {
  const pictures = new Map<string, Pixels>();
  await withDomain({ fda: diskette, memory: 32 }, async (domain) => {
    for (;;) {
      const [line] = await domain.serial[0]!.waitFor(/^.*\n/, { timeout: 60_000 });
      const told = readTold(line);
      if (!told) return;
      pictures.set(told.key, pixelsOf(domain.screen.frame()));
      domain.serial[0]!.write(".");
    }
  });
  return pictures;
}

/** Where a pixel of QEMU's picture is in ours, by column and by line. */
function scales(key: string, theirs: Pixels, ours: Pixels): { column(x: number): number; line(y: number): number } {
  const tall = theirs.height / ours.height;
  const line = (y: number): number => Math.floor(y / tall);
  if (FORTY_COLUMNS.modes.has(key)) {
    const { ours: cell, theirs: doubled } = FORTY_COLUMNS;
    assert.equal(theirs.width / doubled, ours.width / cell, key);
    return { column: (x) => Math.floor(x / doubled) * cell + ((x % doubled) >> 1), line };
  }
  const wide = theirs.width / ours.width;
  assert.ok([wide, tall].every(Number.isInteger), `${key}: ${theirs.width} × ${theirs.height} in QEMU`);
  return { column: (x) => Math.floor(x / wide), line };
}

/** The first pixel that differs, for a message; undefined when there is none. */
function difference(key: string, theirs: Pixels, ours: Pixels): string | undefined {
  const { column, line } = scales(key, theirs, ours);
  const mask = key.endsWith("× 15") ? FIVE_BITS : SIX_BITS;
  for (let y = 0; y < theirs.height; y++) {
    for (let x = 0; x < theirs.width; x++) {
      const expected = theirs.colors[y * theirs.width + x]! & mask;
      const found = ours.colors[line(y) * ours.width + column(x)]! & mask;
      if (found !== expected)
        return `${key}: at ${x}, ${y} ${expected.toString(16)} in QEMU, ${found.toString(16)} here`;
    }
  }
  return undefined;
}

/** All that it shows here with the firmware that QEMU has. */
async function hereWithSeaBios(diskette: Uint8Array): Promise<Map<string, Pixels>> {
  const pictures = new Map<string, Pixels>();
  const finished = await runSeaBios(diskette, (line, picture) => {
    const told = readTold(line);
    if (told) pictures.set(told.key, pixelsOf(picture));
    return told !== undefined;
  });
  assert.ok(finished, "SeaBIOS does not come to the program's end");
  return pictures;
}

/** Compare all pictures but those named. */
function compare(
  theirs: ReadonlyMap<string, Pixels>,
  ours: ReadonlyMap<string, Pixels>,
  except: readonly string[],
): void {
  assert.deepEqual(
    [...theirs.keys()].filter((key) => !TOO_LARGE.has(key)),
    [...ours.keys()],
  );
  const differences = [...ours]
    .filter(([key]) => !except.includes(key))
    .flatMap(([key, picture]) => difference(key, theirs.get(key)!, picture) ?? []);
  assert.deepEqual(differences, []);
}

test("every standard and VBE mode shows what it shows in QEMU", {
  skip: !hasQemu() && "there is no qemu-system-i386",
}, async (t) => {
  const diskette = displayDiskette();
  const theirs = await inQemu(diskette);
  await t.test("with our firmware", async () => {
    compare(theirs, await here(diskette), [...DIFFERENCES.adapter, ...DIFFERENCES.firmware]);
  });
  await t.test("with the firmware that QEMU has", { skip: !hasSeaBios() && "there is no SeaBIOS" }, async () => {
    compare(theirs, await hereWithSeaBios(diskette), DIFFERENCES.adapter);
  });
});

const kolibri = guest("hobby", "kolibri.img");

test("KolibriOS: a desktop of 800 × 600, its panel, and a pointer that moves", { skip: kolibri.skip }, async () => {
  await withDomain({ fda: kolibri.path }, async (domain) => {
    await until(domain, "the desktop", () => {
      const { width, height } = domain.screen.frame();
      return width === 800 && height === 600 && colours(domain) > 2000 ? true : undefined;
    });
    const { width, height, rgba } = domain.screen.frame();
    const panel = new Uint32Array(rgba.buffer).subarray((height - 12) * width + 100, (height - 12) * width + 700);
    assert.equal(new Set(panel).size, 1, "the panel is of one colour");
    const parts: Rectangle[] = [];
    const feed = domain.screen.feed({
      resize() {},
      update: (part) => parts.push(part),
    });
    await pass(domain, 1000);
    feed.update();
    parts.length = 0;
    domain.mouse.move(40, 30);
    // The pointer stood in the middle: it is drawn again below and to the right of it, and little else is.
    await until(domain, "the pointer to move", () => {
      feed.update();
      return parts.some(({ x, y }) => x >= 384 && x < 512 && y > 310 && y < 400) ? true : undefined;
    });
    assert.ok(parts.reduce((sum, part) => sum + part.width * part.height, 0) < (width * height) / 8);
  });
});
