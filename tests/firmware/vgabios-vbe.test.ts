/** VBE services of the VGA BIOS, called as programs call them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runGuest } from "./guest.ts";
import { createBench, type Registers } from "./vgabios-bench.ts";

const BUFFER = 0x20000;
const SEGMENT = BUFFER >> 4;
const DONE = 0x004f;
const FAILED = 0x014f;

function createVbe() {
  const bench = createBench();
  const { memory, cpu, int10 } = bench;
  /** Call function `al`; the answer in AX. */
  const call = (al: number, registers: Registers = {}): number => {
    int10({ ...registers, ax: 0x4f00 | al, es: SEGMENT });
    return cpu.eax & 0xffff;
  };
  const modeInfo = (mode: number) => {
    assert.equal(call(1, { cx: mode }), DONE);
    return {
      attributes: memory.read16(BUFFER),
      pitch: memory.read16(BUFFER + 0x10),
      width: memory.read16(BUFFER + 0x12),
      height: memory.read16(BUFFER + 0x14),
      bits: memory.read8(BUFFER + 0x19),
      model: memory.read8(BUFFER + 0x1b),
      pages: memory.read8(BUFFER + 0x1d) + 1,
      masks: Array.from({ length: 8 }, (_, i) => memory.read8(BUFFER + 0x1f + i)),
      frameBuffer: memory.read32(BUFFER + 0x28),
    };
  };
  const words = () => [cpu.ebx, cpu.ecx, cpu.edx].map((value) => value & 0xffff);
  return { ...bench, call, modeInfo, words };
}

test("4F00h describes the adapter, and VBE2 asks for more of it", () => {
  const { memory, call } = createVbe();
  const string = (field: number): string => {
    const at = memory.read16(BUFFER + field) + (memory.read16(BUFFER + field + 2) << 4);
    let text = "";
    for (let i = at; memory.read8(i) !== 0; i++) text += String.fromCharCode(memory.read8(i));
    return text;
  };
  memory.write8(BUFFER + 256, 0x55);
  assert.equal(call(0), DONE);
  assert.equal(memory.read32(BUFFER), 0x41534556);
  assert.equal(memory.read16(BUFFER + 4), 0x0300);
  assert.equal(memory.read16(BUFFER + 0x12), 64);
  assert.equal(memory.read8(BUFFER + 256), 0x55);
  assert.equal(string(6), "vmxon VGA");
  memory.write32(BUFFER, 0x32454256);
  assert.equal(call(0), DONE);
  assert.equal(memory.read8(BUFFER + 256), 0);
  assert.deepEqual([string(0x16), string(0x1a)], ["vmxon", "vmxon VBE adapter"]);
});

test("the list holds the modes that memory has room for, and each has a description", () => {
  const { memory, call, modeInfo } = createVbe();
  call(0);
  const list = memory.read16(BUFFER + 0x0e) + (memory.read16(BUFFER + 0x10) << 4);
  const numbers: number[] = [];
  for (let at = list; memory.read16(at) !== 0xffff; at += 2) numbers.push(memory.read16(at));
  assert.ok(numbers.includes(0x101) && numbers.includes(0x118) && numbers.includes(0x144));
  // 4 MB are too few for 1920 × 1200 in 32 bits.
  assert.ok(!numbers.includes(0x189));
  assert.equal(call(1, { cx: 0x189 }), FAILED);
  for (const number of numbers) {
    const { attributes, pitch, width, height, bits, pages } = modeInfo(number);
    assert.equal(attributes & 0x19, 0x19);
    assert.ok(pages >= 1 && pitch * height * (bits === 4 ? 4 : 1) <= 4 << 20, number.toString(16));
    assert.ok(bits === 4 || pitch * 8 >= width * bits);
  }
});

test("descriptions say how pixels lie", () => {
  const { modeInfo } = createVbe();
  assert.deepEqual(modeInfo(0x101), {
    attributes: 0xbb,
    pitch: 640,
    width: 640,
    height: 480,
    bits: 8,
    model: 4,
    pages: 13,
    masks: [0, 0, 0, 0, 0, 0, 0, 0],
    frameBuffer: 0xe0000000,
  });
  assert.deepEqual(modeInfo(0x102), {
    attributes: 0x1b,
    pitch: 100,
    width: 800,
    height: 600,
    bits: 4,
    model: 3,
    pages: 17,
    masks: [0, 0, 0, 0, 0, 0, 0, 0],
    frameBuffer: 0,
  });
  assert.deepEqual(modeInfo(0x114).masks, [5, 11, 6, 5, 5, 0, 0, 0]);
  assert.deepEqual(modeInfo(0x142).masks, [8, 16, 8, 8, 8, 0, 8, 24]);
});

test("4F02h sets modes of both kinds, and 4F03h tells which", () => {
  const { call, words, vga, memory, int10 } = createVbe();
  assert.equal(call(2, { bx: 0x4115 }), DONE);
  assert.deepEqual([vga.frame().width, vga.frame().height], [800, 600]);
  assert.equal(call(3), DONE);
  assert.equal(words()[0], 0x4115);
  assert.equal(call(2, { bx: 0x8101 }), DONE);
  call(3);
  assert.equal(words()[0], 0x8101);
  assert.equal(memory.read16(0x44a), 80);
  assert.equal(call(2, { bx: 0x12 }), DONE);
  assert.deepEqual([vga.frame().width, vga.frame().height], [640, 480]);
  call(3);
  assert.equal(words()[0], 0x12);
  call(2, { bx: 0x4118 });
  int10({ ax: 3 });
  assert.equal(vga.text()?.columns, 80);
  int10({ ax: 0x6a });
  call(3);
  assert.deepEqual([words()[0], vga.frame().width], [0x102, 800]);
  for (const bx of [0x1aa, 0x1ff, 0x4102, 0x4189, 0x7e]) assert.equal(call(2, { bx }), FAILED, bx.toString(16));
});

test("4F05h moves the window, with or without the interrupt", () => {
  const { call, words, memory, cpu, rom, context } = createVbe();
  assert.equal(call(5, { dx: 1 }), FAILED);
  call(2, { bx: 0x101 });
  assert.equal(call(5, { dx: 3 }), DONE);
  memory.write8(0xa0010, 0x77);
  assert.equal(call(5, { dx: 0 }), DONE);
  assert.equal(memory.read8(0xa0010), 0);
  call(1, { cx: 0x101 });
  const far = memory.read16(BUFFER + 0x0c) + (memory.read16(BUFFER + 0x0e) << 4) - rom.base;
  cpu.ebx = 0;
  cpu.edx = 3;
  rom.services.get(far + 2)!(context);
  assert.equal(memory.read8(0xa0010), 0x77);
  assert.equal(call(5, { bx: 0x100 }), DONE);
  assert.equal(words()[2], 3);
  assert.equal(call(5, { dx: 64 }), FAILED);
  assert.equal(call(5, { bx: 1 }), FAILED);
  call(2, { bx: 0x4101 });
  assert.equal(call(5, { dx: 0 }), 0x034f);
});

test("4F06h lengthens lines, 4F07h moves the picture in them", () => {
  const { call, words, int10, vga, cpu, clock } = createVbe();
  call(2, { bx: 0x111 });
  assert.equal(call(6, { bx: 1 }), DONE);
  assert.deepEqual(words(), [1280, 640, 3276]);
  assert.equal(call(6, { bx: 0, cx: 797 }), DONE);
  assert.deepEqual(words(), [1600, 800, 2621]);
  assert.equal(call(6, { bx: 2, cx: 2048 }), DONE);
  assert.deepEqual(words(), [2048, 1024, 2048]);
  assert.equal(call(6, { bx: 0, cx: 100 }), FAILED);
  assert.equal(call(6, { bx: 3 }), DONE);
  assert.deepEqual(words(), [8738, 4369, 480]);
  vga.frameBuffer.write(500 * 2048 + 300 * 2, 2, 0xffff);
  assert.equal(call(7, { bx: 0, cx: 290, dx: 490 }), DONE);
  const shown = () => new Uint32Array(vga.frame().rgba.buffer)[10 * 640 + 10];
  assert.equal(shown(), 0xffffffff);
  assert.equal(call(7, { bx: 1 }), DONE);
  assert.deepEqual(words().slice(1), [290, 490]);
  assert.equal(call(7, { bx: 0, dx: 1600 }), FAILED);
  // Outside the retrace the guest is sent back to where it trapped.
  const trap = 0x1000;
  let traps = 0;
  do {
    cpu.eip = trap;
    int10({ ax: 0x4f07, bx: 0x80, cx: 0, dx: 0 });
    clock.advance(10_000);
    traps++;
  } while (cpu.eip === trap - 2 && traps < 3000);
  assert.ok(traps > 100, `${traps} traps`);
  assert.equal(cpu.eax & 0xffff, DONE);
  assert.equal(shown(), 0xff000000);
});

test("4F08h and 4F09h: a DAC of eight bits, and its colours", () => {
  const { call, words, memory, vga } = createVbe();
  call(2, { bx: 0x103 });
  assert.equal(call(8, { bx: 0x0800 }), DONE);
  assert.equal(words()[0]! >> 8, 8);
  memory.write(BUFFER, Uint8Array.from([3, 2, 1, 0, 0x30, 0x20, 0xf1, 0]));
  assert.equal(call(9, { cx: 2, dx: 254 }), DONE);
  vga.frameBuffer.write(0, 2, 0xfffe);
  assert.deepEqual([...new Uint32Array(vga.frame().rgba.buffer).subarray(0, 2)], [0xff030201, 0xff3020f1]);
  memory.write(BUFFER, new Uint8Array(8).fill(0x99));
  assert.equal(call(9, { bx: 1, cx: 2, dx: 254 }), DONE);
  assert.deepEqual(
    Array.from({ length: 8 }, (_, i) => memory.read8(BUFFER + i)),
    [3, 2, 1, 0, 0x30, 0x20, 0xf1, 0],
  );
  assert.equal(call(9, { cx: 2, dx: 255 }), FAILED);
  assert.equal(call(8, { bx: 1 }), DONE);
  assert.equal(words()[0]! >> 8, 8);
  call(2, { bx: 0x112 });
  assert.equal(call(8, { bx: 1 }), FAILED);
});

test("4F04h saves a mode and restores it with its bank and offsets", () => {
  const { call, words, vga } = createVbe();
  call(2, { bx: 0x111 });
  call(6, { bx: 0, cx: 1024 });
  call(7, { bx: 0, cx: 16, dx: 20 });
  call(5, { dx: 7 });
  vga.frameBuffer.write(0x12345, 1, 0x99);
  assert.equal(call(4, { cx: 0x0f, dx: 0 }), DONE);
  assert.ok(words()[0]! > 1);
  assert.equal(call(4, { cx: 0x0f, dx: 1, bx: 0x1000 }), DONE);
  call(2, { bx: 0x8003 });
  assert.equal(vga.text()?.columns, 80);
  assert.equal(call(4, { cx: 0x0f, dx: 2, bx: 0x1000 }), DONE);
  call(3);
  assert.equal(words()[0]! & 0x41ff, 0x111);
  assert.equal(call(7, { bx: 1 }), DONE);
  assert.deepEqual(words().slice(1), [16, 20]);
  call(5, { bx: 0x100 });
  assert.equal(words()[2], 7);
  call(6, { bx: 1 });
  assert.equal(words()[1], 1024);
  assert.equal(vga.frameBuffer.read(0x12345, 1), 0x99);
});

test("4F10h switches the monitor off and on", () => {
  const { call, words, vga, print } = createVbe();
  print("A");
  const dark = () => new Uint32Array(vga.frame().rgba.buffer).every((pixel) => pixel === 0xff000000);
  assert.equal(call(0x10, { bx: 0x0401 }), DONE);
  assert.equal(dark(), true);
  call(0x10, { bx: 2 });
  assert.equal(words()[0]! >> 8, 4);
  call(0x10, { bx: 1 });
  assert.equal(dark(), false);
  assert.equal(call(0x10, { bx: 0x0301 }), FAILED);
});

test("4F15h gives the monitor's identification, whose bytes sum to zero", () => {
  const { call, words, memory } = createVbe();
  assert.equal(call(0x15, { bx: 0 }), DONE);
  assert.equal(words()[0]! & 2, 2);
  assert.equal(call(0x15, { bx: 1 }), DONE);
  const block = Array.from({ length: 128 }, (_, i) => memory.read8(BUFFER + i));
  assert.deepEqual(block.slice(0, 8), [0, 255, 255, 255, 255, 255, 255, 0]);
  assert.equal(block.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
  // The preferred timing: 1024 × 768.
  assert.deepEqual([block[56]! | ((block[58]! >> 4) << 8), block[59]! | ((block[61]! >> 4) << 8)], [1024, 768]);
  assert.equal(call(0x15, { bx: 1, dx: 1 }), FAILED);
});

test("the protected-mode procedures move window and picture, and load colours, from wherever they are copied to", async () => {
  const guest = await runGuest(
    `
    mov ax, 0x4f02
    mov bx, 0x0101
    int 0x10
    mov ax, 0x4f06                 ; lines of 1024 pixels
    mov bx, 0
    mov cx, 1024
    int 0x10
    mov ax, 0x4f0a
    mov bx, 0
    int 0x10
    cmp ax, 0x004f
    jne fail
    push ds
    push es
    pop ds
    mov si, di
    mov ax, 0x3000
    mov es, ax
    xor di, di
    rep movsb                      ; a copy at 30000h
    pop ds
    cli
    lgdt [gdt]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp 8:flat
gdt:
    dw 23
    dd gdt
    dw 0
    dw 0xffff, 0, 0x9b00, 0xcf
    dw 0xffff, 0, 0x9300, 0xcf
bits 32
flat:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, 0x7000
    mov ebx, 0                     ; window: bank 3, then ask
    mov edx, 3
    movzx eax, word [0x30000]
    add eax, 0x30000
    call eax
    mov [0x500], ax
    mov ebx, 0x100
    xor edx, edx
    movzx eax, word [0x30000]
    add eax, 0x30000
    call eax
    mov [0x502], dx
    mov ebx, 0x80                  ; start: line 100, pixel 16, in the retrace
    mov ecx, (100 * 1024 + 16) / 4
    mov edx, 0
    movzx eax, word [0x30002]
    add eax, 0x30000
    call eax
    mov ebx, 0                     ; palette: colour 7
    mov ecx, 1
    mov edx, 7
    mov edi, colors
    movzx eax, word [0x30004]
    add eax, 0x30000
    call eax
    mov byte [0xe0000000 + 100 * 1024 + 16], 7
    mov byte [0xa0000], 9          ; bank 3 begins at line 192
    mov al, 'D'
    out 0xe9, al
    jmp $
colors:
    db 1, 2, 63, 0
    bits 16
  `,
    { on: (_character, { domain }) => domain.destroy() },
  );
  assert.equal(guest.output, "D");
  const { memory } = guest.domain;
  assert.deepEqual([memory.read16(0x500), memory.read16(0x502)], [0x004f, 3]);
  const pixels = new Uint32Array(guest.vga.frame().rgba.buffer);
  assert.equal(pixels[0], 0xff0408ff);
  assert.equal(guest.vga.frameBuffer.read(0x30000, 1), 9);
});
