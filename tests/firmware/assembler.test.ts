/** The assembler: encodings known by hand, directives, relaxation, errors, and agreement with GNU as where it is installed. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assemble } from "../../src/firmware/assembler.ts";

const hex = (code: Uint8Array): string => Buffer.from(code).toString("hex");
const code = (text: string, bits: 16 | 32 = 16): string => hex(assemble(text, { bits }).code);

test("encodes 16-bit instructions known by hand", () => {
  const known: Record<string, string> = {
    "mov ax, 1234h": "b83412",
    "mov al, 'A'": "b041",
    "mov ds, ax": "8ed8",
    "mov ax, [1234h]": "a13412",
    "mov [bx+si], al": "8800",
    "mov cx, [bp]": "8b4e00",
    "mov word [es:di-4], 5": "26c745fc0500",
    "mov byte [bx+300], 1": "c6872c0101",
    "add ax, 5": "83c005",
    "add ax, 500": "05f401",
    "cmp byte [472h], 12h": "803e720412",
    "xor eax, eax": "6631c0",
    "mov eax, 12345678h": "66b878563412",
    "mov eax, [esi+ecx*4+8]": "67668b448e08",
    "push 5": "6a05",
    "push word 1234h": "683412",
    "push dword 5": "666a05",
    "push ds": "1e",
    "pop es": "07",
    "int 13h": "cd13",
    "out 0B0h, al": "e6b0",
    "in al, dx": "ec",
    "jmp 0F000h:0E05Bh": "ea5be000f0",
    "jmp dword 8:12345678h": "66ea785634120800",
    "call far [467h]": "ff1e6704",
    "rep movsb": "f3a4",
    "rep movsd": "f366a5",
    "es lodsb": "26ac",
    "lgdt [1000h]": "0f01160010",
    "mov cr0, eax": "0f22c0",
    "mov eax, cr0": "0f20c0",
    "shl ax, 1": "d1e0",
    "shl bx, 4": "c1e304",
    "retf 2": "ca0200",
    iret: "cf",
    iretd: "66cf",
    "movzx eax, word [bx]": "660fb707",
    "les di, [bp+6]": "c47e06",
    "imul ax, bx, 10": "6bc30a",
    "test byte [si], 80h": "f60480",
    "cmovz ax, bx": "0f44c3",
    "sete al": "0f94c0",
    "enter 8, 0": "c8080000",
    "db 'hi', 0, 0FFh": "686900ff",
    "dw 1, 'A'": "01004100",
    "dd 12345678h": "78563412",
  };
  for (const [text, bytes] of Object.entries(known)) assert.equal(code(text), bytes, text);
});

test("encodes 32-bit code with the opposite prefixes", () => {
  assert.equal(code("mov ax, bx", 32), "6689d8");
  assert.equal(code("mov eax, [12345678h]", 32), "a178563412");
  assert.equal(code("mov eax, [esp]", 32), "8b0424");
  assert.equal(code("mov eax, [ebp]", 32), "8b4500");
  assert.equal(code("mov eax, [ecx*8+4]", 32), "8b04cd04000000");
  assert.equal(code("mov eax, [bx+si]", 32), "678b00");
  assert.equal(code("bits 16\nmov ax, bx\nbits 32\nmov eax, ebx", 32), "89d889d8");
});

test("branches take the short form where it reaches and grow where it does not", () => {
  assert.equal(code("a: jmp a"), "ebfe");
  assert.equal(code("jz b\nb: nop"), "740090");
  const far = assemble("jz b\ntimes 200 nop\nb: ret").code;
  assert.equal(hex(far.subarray(0, 4)), "0f84c800");
  assert.equal(code("jmp near b\nb: ret"), "e90000c3");
  assert.throws(() => assemble("jmp short b\ntimes 200 nop\nb: ret"), /too far/);
  assert.throws(() => assemble("loop b\ntimes 200 nop\nb: ret"), /too far/);
});

test("labels, equ, org, align and times place things", () => {
  const { code: bytes, labels } = assemble(
    `size equ 2*4
     start: mov cx, size
     org 10h
     table: dw start, table, end-table
     align 8
     end: times 3 db 7`,
    { fill: 0xff },
  );
  assert.equal(labels.get("table"), 0x10);
  assert.equal(labels.get("end"), 0x18);
  assert.equal(hex(bytes.subarray(0x10, 0x16)), "000010000800");
  assert.equal(bytes[5], 0xff);
  assert.equal(hex(bytes.subarray(0x18)), "070707");
});

test("errors name the line and what is wrong", () => {
  assert.throws(() => assemble("nop\nfrob ax"), /line 2: unknown instruction "frob"/);
  assert.throws(() => assemble("mov ax, nowhere"), /unknown name "nowhere"/);
  assert.throws(() => assemble("inc [bx]"), /needs a size/);
  assert.throws(() => assemble("mov [bx], 5"), /needs a size/);
  assert.throws(() => assemble("mov ax, [cx]"), /16-bit address/);
  assert.throws(() => assemble("mov al, 300"), /does not fit/);
  assert.throws(() => assemble("a: nop\na: nop"), /defined twice/);
  assert.throws(() => assemble("org 10h\norg 5"), /already taken/);
});

const AGAINST_AS = `
  add [bx+di+5], cx
  adc edx, 0x12345
  sub byte ptr [si], 7
  xor word ptr [0x1234], 0x55
  and eax, -2
  or dx, -200
  cmp al, 5
  inc word ptr [bp+si]
  dec ecx
  neg byte ptr [bp+0x80]
  mul cx
  idiv dword ptr [di]
  rol al, 1
  sar edx, 3
  rcr word ptr [bx], cl
  shld ax, bx, 4
  bt word ptr [si], 3
  bts ax, cx
  bsf eax, ebx
  xchg bx, ax
  xchg [si], cl
  lea si, [bx+di-2]
  lds bx, [di]
  movsx ax, byte ptr [si]
  push dword ptr [bx]
  pop word ptr [bx]
  mov fs, ax
  mov [di], gs
  mov eax, [esp+ebx*2-4]
  mov eax, [edi*4+0x100]
  mov ebp, [ebp+eax]
  mov bl, [eax]
  xadd [bx], eax
  cmpxchg [si], dl
  bswap edx
  bound ax, [bx]
  lar ax, bx
  lidt [bx+2]
  smsw ax
  ltr ax
  str word ptr [bx]
  invlpg [bx]
  out dx, eax
  in ax, 0x60
  mov dr7, eax
  seta byte ptr [bx]
  imul eax, [si], 1000
  xlatb
  aam
  enter 0x10, 2
  leave
  cpuid
  rdmsr
  sti
  hlt
`;

test("agrees with GNU as", (t) => {
  if (spawnSync("as", ["--version"]).status !== 0 || spawnSync("objcopy", ["--version"]).status !== 0) {
    t.skip("binutils is not installed");
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "vmxon-as-"));
  try {
    const gnu = (text: string): Uint8Array => {
      const object = join(folder, "x.o");
      const binary = join(folder, "x.bin");
      writeFileSync(join(folder, "x.s"), `.intel_syntax noprefix\n${text}`);
      const run = spawnSync("as", ["--32", "-O0", "-o", object, join(folder, "x.s")], { encoding: "utf8" });
      assert.equal(run.status, 0, run.stderr);
      assert.equal(spawnSync("objcopy", ["-O", "binary", "-j", ".text", object, binary]).status, 0);
      return readFileSync(binary);
    };
    for (const bits of [16, 32] as const) {
      const ours = assemble(AGAINST_AS.replaceAll(" ptr ", " "), { bits }).code;
      // as has one line per instruction, so a difference can be located by re-assembling line by line.
      const theirs = gnu(`.code${bits}\n${AGAINST_AS}`);
      if (hex(ours) !== hex(theirs)) {
        for (const line of AGAINST_AS.trim().split("\n")) {
          const mine = code(line.trim().replace(" ptr ", " "), bits);
          assert.equal(mine, hex(gnu(`.code${bits}\n${line}\n`)), `${bits} bits: ${line.trim()}`);
        }
      }
      assert.equal(hex(ours), hex(theirs));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
