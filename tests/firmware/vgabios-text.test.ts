import assert from "node:assert/strict";
import { test } from "node:test";
import { createBench } from "./vgabios-bench.ts";

test("teletype prints, returns, feeds lines, backspaces and wraps", () => {
  const { print, rows, memory } = createBench();
  print(`one\r\ntwo\b\bXY\r\n${"w".repeat(81)}`);
  assert.deepEqual(rows().slice(0, 4), ["one", "tXY", "w".repeat(80), "w"]);
  assert.equal(memory.read16(0x450), 0x0301);
});

test("teletype scrolls at the foot of the screen and keeps the attribute there", () => {
  const { print, rows, int10, vga } = createBench();
  int10({ ax: 0x0600, bx: 0x1e00, cx: 0, dx: 0x184f });
  for (let line = 0; line < 30; line++) print(`line ${line}\r\n`);
  assert.equal(rows()[0], "line 6");
  assert.equal(rows()[23], "line 29");
  assert.equal(rows()[24], "");
  assert.ok(vga.text()!.cells.every((cell) => cell >> 8 === 0x1e));
  assert.equal(vga.text()!.cursor, 24 * 80);
});

test("the bell sounds for a quarter of a second of guest time while the caller waits", () => {
  const { int10, clock, outside } = createBench();
  const bell = int10({ ax: 0x0e07 });
  assert.ok(bell && "until" in bell);
  assert.equal(bell.until, clock.now() + 250_000_000);
  assert.deepEqual(outside.at(-1), [0x61, 3]);
  bell.done();
  assert.deepEqual(outside.at(-1), [0x61, 0]);
});

test("the cursor follows AH=02h and reads back with its shape", () => {
  const { int10, cpu, vga, register } = createBench();
  int10({ ax: 0x0200, dx: 0x050a });
  assert.equal(vga.text()!.cursor, 5 * 80 + 10);
  int10({ ax: 0x0300 });
  assert.deepEqual([cpu.edx & 0xffff, cpu.ecx & 0xffff], [0x050a, 0x0607]);
  assert.deepEqual([register(0x3d4, 0x0a), register(0x3d4, 0x0b)], [0x0d, 0x0e]);
});

test("cursor shapes meant for eight lines are fitted, larger ones taken as they are", () => {
  const { int10, register, vga } = createBench();
  const shape = (cx: number) => {
    int10({ ax: 0x0100, cx });
    return [register(0x3d4, 0x0a), register(0x3d4, 0x0b)];
  };
  assert.deepEqual(shape(0x0607), [0x0d, 0x0e]);
  assert.deepEqual(shape(0x0007), [0x00, 0x0f]);
  assert.deepEqual(shape(0x0407), [0x08, 0x0f]);
  assert.deepEqual(shape(0x0e0f), [0x0e, 0x0f]);
  shape(0x2000);
  assert.equal(vga.text()!.cursor, -1);
  int10({ ax: 0x1201, bx: 0x34 });
  assert.deepEqual(shape(0x0607), [0x06, 0x07]);
});

test("pages have their own text and cursor; AH=05h shows one", () => {
  const { int10, rows, memory, vga } = createBench();
  int10({ ax: 0x0200, bx: 0x0200, dx: 0x0304 });
  int10({ ax: 0x0941, bx: 0x021f, cx: 3 });
  assert.equal(rows()[3], "");
  int10({ ax: 0x0502 });
  assert.equal(rows()[3], "    AAA");
  assert.equal(memory.read16(0x44e), 0x2000);
  assert.equal(vga.text()!.cursor, 3 * 80 + 4);
  int10({ ax: 0x0509 });
  assert.equal(memory.read8(0x462), 2);
});

test("AH=08h, 09h and 0Ah read and write cells at the cursor", () => {
  const { int10, cpu, rows, vga } = createBench();
  int10({ ax: 0x0978, bx: 0x004f, cx: 5 });
  int10({ ax: 0x0a79, cx: 2 });
  assert.equal(rows()[0], "yyxxx");
  int10({ ax: 0x0800 });
  assert.equal(cpu.eax, 0x12344f79);
  int10({ ax: 0x0920, bx: 0x0017, cx: 0xffff });
  assert.ok(vga.text()!.cells.every((cell) => cell === 0x1720));
});

test("AH=06h and 07h scroll a window and leave the rest", () => {
  const { int10, print, rows } = createBench();
  for (let i = 0; i < 24; i++) print(`${String.fromCharCode(97 + i).repeat(10)}\r\n`);
  int10({ ax: 0x0602, bx: 0x0700, cx: 0x0202, dx: 0x0605 });
  assert.deepEqual(rows().slice(1, 8), [
    "bbbbbbbbbb",
    "cceeeecccc",
    "ddffffdddd",
    "eeggggeeee",
    "ff    ffff",
    "gg    gggg",
    "hhhhhhhhhh",
  ]);
  int10({ ax: 0x0701, bx: 0x0700, cx: 0x0000, dx: 0x184f });
  assert.equal(rows()[0], "");
  assert.equal(rows()[1], "aaaaaaaaaa");
  int10({ ax: 0x0600, bx: 0x0700, cx: 0x0500, dx: 0xffff });
  assert.ok(
    rows()
      .slice(5)
      .every((row) => row === ""),
  );
  int10({ ax: 0x0601, bx: 0x0700, cx: 0x0505, dx: 0x0404 });
  assert.equal(rows()[1], "aaaaaaaaaa");
});

test("AH=13h writes strings, with attributes in the string or not, moving the cursor or not", () => {
  const { int10, rows, memory, vga } = createBench();
  memory.write(0x5000, Uint8Array.from([..."hello"].map((letter) => letter.charCodeAt(0))));
  int10({ ax: 0x1300, bx: 0x002a, cx: 5, dx: 0x0203, bp: 0, es: 0x500 });
  assert.equal(rows()[2], "   hello");
  assert.equal(vga.text()!.cells[2 * 80 + 3]! >> 8, 0x2a);
  assert.equal(memory.read16(0x450), 0);
  memory.write(0x5000, Uint8Array.from([0x61, 0x10, 0x62, 0x20]));
  int10({ ax: 0x1303, bx: 0, cx: 2, dx: 0x0400, bp: 0, es: 0x500 });
  assert.deepEqual([...vga.text()!.cells.subarray(320, 322)], [0x1061, 0x2062]);
  assert.equal(memory.read16(0x450), 0x0402);
});

test("80 × 50: AX=1112h fits rows, page size and cursor", () => {
  const { int10, memory, vga, print, rows, cpu } = createBench();
  int10({ ax: 0x1112 });
  assert.deepEqual([vga.text()!.rows, memory.read8(0x484), memory.read16(0x485)], [50, 49, 8]);
  assert.equal(vga.frame().height, 400);
  for (let i = 0; i < 60; i++) print(`${i}\r\n`);
  assert.equal(rows()[48], "59");
  int10({ ax: 0x1130, bx: 0x0300 });
  assert.deepEqual([cpu.ecx & 0xffff, cpu.edx & 0xff], [8, 49]);
  int10({ ax: 0x1114 });
  assert.deepEqual([vga.text()!.rows, vga.frame().height], [25, 400]);
  int10({ ax: 0x1111 });
  assert.deepEqual([vga.text()!.rows, vga.frame().height], [28, 392]);
});

test("text is drawn with the font that was loaded, the guest's own included", () => {
  const { int10, memory, vga, print, rom } = createBench();
  const dots = (column: number): number[] => {
    const { rgba, width } = vga.frame();
    const pixels = new Uint32Array(rgba.buffer);
    return Array.from({ length: 16 }, (_, y) => {
      let row = 0;
      for (let x = 0; x < 8; x++) row = (row << 1) | (pixels[y * width + column * 9 + x] === 0xff000000 ? 0 : 1);
      return row;
    });
  };
  int10({ ax: 0x0100, cx: 0x2000 });
  print("AB");
  const glyph = (letter: string) => {
    const at = 0x2600 + letter.charCodeAt(0) * 16;
    return [...rom.image.subarray(at, at + 16)];
  };
  assert.deepEqual(dots(0), glyph("A"));
  assert.deepEqual(dots(1), glyph("B"));
  memory.write(
    0x5000,
    Uint8Array.from({ length: 16 }, (_, y) => y * 9),
  );
  int10({ ax: 0x1100, bx: 0x1000, cx: 1, dx: 0x42, bp: 0, es: 0x500 });
  assert.deepEqual(
    dots(1),
    Array.from({ length: 16 }, (_, y) => y * 9),
  );
  assert.deepEqual(dots(0), glyph("A"));
});

test("AX=1103h shows a second font block for bright characters", () => {
  const { int10, memory, vga } = createBench();
  memory.write(0x5000, new Uint8Array(16).fill(0xff));
  int10({ ax: 0x1100, bx: 0x1001, cx: 1, dx: 0x20, bp: 0, es: 0x500 });
  int10({ ax: 0x1103, bx: 0x04 });
  int10({ ax: 0x0920, bx: 0x000f, cx: 1 });
  const pixels = new Uint32Array(vga.frame().rgba.buffer);
  assert.equal(pixels[0], 0xffffffff);
  assert.equal(pixels[10], 0xff000000);
});

test("AX=1130h points into the ROM fonts and the vectors", () => {
  const { int10, cpu, rom, memory } = createBench();
  const pointer = (which: number) => {
    int10({ ax: 0x1130, bx: which << 8 });
    return (cpu.selector("es") << 4) + (cpu.ebp & 0xffff);
  };
  assert.equal(pointer(6), 0xc0000 + 0x2600);
  assert.deepEqual([cpu.ecx & 0xffff, cpu.edx & 0xff], [16, 24]);
  assert.equal(pointer(2), 0xc0000 + 0x1800);
  assert.equal(pointer(4) - pointer(3), 1024);
  assert.equal(pointer(0), pointer(4));
  assert.equal(pointer(1), pointer(6));
  assert.equal(rom.image[pointer(5) - 0xc0000], 0);
  int10({ ax: 0x1120, bp: 0x1234, es: 0x4000 });
  assert.equal(memory.read32(0x1f * 4), 0x40001234);
});
