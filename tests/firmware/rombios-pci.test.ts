/** PCI: what POST makes of the functions, the PCI BIOS in real and protected mode, tables in the system ROM. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { PM_BASE } from "../../src/devices/pc-layout.ts";
import { testBoard } from "../support/board.ts";
import { runGuest } from "./guest.ts";
import { Machine } from "./machine.ts";

const MB = 1024 * 1024;

/** A register of a function as PCI BIOS calls read it. */
async function config(machine: Machine, place: number, register: number): Promise<number> {
  const result = await machine.call("int1a", { ax: 0xb10a, bx: place, di: register });
  assert.equal(result.carry, false);
  return machine.cpu.ecx >>> 0;
}

test("POST opens every window where it overlaps no other, and leads interrupts to level-triggered inputs", async () => {
  const machine = await new Machine().post();
  // IDE: bus masters; power management: its ports.
  const masters = await config(machine, 0x09, 0x20);
  assert.equal(masters & 0xf, 1);
  assert.ok((masters & 0xfff0) >= 0xc000);
  assert.equal((await config(machine, 0x09, 4)) & 5, 5);
  assert.equal((await config(machine, 0x0b, 0x40)) & 0xffff, PM_BASE | 1);
  assert.equal((await config(machine, 0x0b, 0x80)) & 1, 1);
  assert.deepEqual([...(await config(machine, 0x08, 0x60)).toString(16).padStart(8, "0")], [..."0b0b0a0a"]);
  assert.equal(machine.bus.in(0x4d1) & 0x0e, 0x0e);
  // The timer of power management runs.
  const before = machine.bus.in(PM_BASE + 8, 4);
  machine.clock.advance(1e6);
  assert.equal((machine.bus.in(PM_BASE + 8, 4) - before) & 0xffffff, 3580);
});

test("PCI BIOS: presence, search, access, errors, interrupt routes", async () => {
  const machine = await new Machine().post();
  const pci = (al: number, registers = {}) => machine.call("int1a", { ax: 0xb100 | al, ...registers });
  const present = await pci(0x01);
  assert.deepEqual([present.carry, present.ax, present.bx, machine.cpu.edx], [false, 1, 0x0210, 0x20494350]);
  assert.equal((await pci(0x02, { cx: 0x7010, dx: 0x8086 })).bx, 0x09);
  assert.equal((await pci(0x02, { cx: 0x7010, dx: 0x8086, si: 1 })).ah, 0x86);
  assert.equal((await pci(0x02, { cx: 0x7010, dx: 0xffff })).ah, 0x83);
  assert.equal((await pci(0x03, { cx: 0x060100 })).bx, 0x08);
  assert.equal((await pci(0x08, { bx: 0x08, di: 1 })).cx, 0x80);
  assert.equal((await pci(0x09, { bx: 0x08, di: 2 })).cx, 0x7000);
  assert.equal((await pci(0x09, { bx: 0x08, di: 3 })).ah, 0x87);
  assert.equal((await pci(0x0a, { bx: 0x108, di: 0 })).cx, 0xffff);
  assert.equal((await pci(0x0b, { bx: 0x0b, di: 0x3c, cx: 0x77 })).carry, false);
  assert.equal((await pci(0x08, { bx: 0x0b, di: 0x3c })).cx, 0x77);
  machine.memory.write(0x20000, new Uint8Array([0xff, 0, 0, 0, 0, 0x30]));
  const routing = await pci(0x0e, { es: 0x2000, di: 0 });
  assert.deepEqual([routing.carry, routing.bx, machine.memory.read16(0x20000)], [false, 0x0c20, 128]);
  assert.deepEqual([machine.memory.read8(0x30001), machine.memory.read8(0x30002)], [0x08, 0x60]);
  assert.equal((await pci(0x0f, { bx: 0x0b, cx: 0x050a })).carry, false);
  assert.equal((await pci(0x08, { bx: 0x08, di: 0x60 })).cx, 5);
  assert.equal((await pci(0x0f, { bx: 0x0b, cx: 0x030a })).ah, 0x88);
  assert.equal((await pci(0x06)).ah, 0x81);
});

const PROTECTED = `
  cli
  lgdt [table]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp 8:start32
  align 8
gdt:
  dd 0, 0
  dd 0000FFFFh, 00CF9B00h        ; flat code
  dd 0000FFFFh, 00CF9300h        ; flat data
  dd 0000FFFFh, 00409B0Fh        ; the ROM's segment, 32 bits
  dd 0000FFFFh, 00009B0Fh        ; and 16 bits
table:
  dw 39
  dd gdt
pointer:
  dd 0
  dw 8
apm:
  dd 0
  dw 18h
bits 32
fail32:
  mov al, '!'
  out 0E9h, al
  hlt
start32:
  mov ax, 10h
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, 7000h
  mov esi, 0E0000h
search:
  cmp dword [esi], 5F32335Fh     ; _32_
  je found
  add esi, 16
  jmp search
found:
  mov eax, [esi + 4]
  mov [pointer], eax
  mov eax, 49435024h             ; $PCI
  xor ebx, ebx
  call far [pointer]
  test al, al
  jnz fail32
  add ebx, edx
  mov [pointer], ebx
  mov eax, 0B102h
  mov ecx, 1237h
  mov edx, 8086h
  xor esi, esi
  call far [pointer]
  jc fail32
  test bx, bx
  jnz fail32
  mov eax, 0B10Ah
  mov bx, 9
  xor edi, edi
  call far [pointer]
  cmp ecx, 70108086h
  jne fail32
  mov eax, 0B142h
  call far [pointer]
  jnc fail32
  mov al, 'p'
  out 0E9h, al
  mov eax, 530Ah
  mov ebx, 1
  call far [apm]
  jc fail32
  cmp bx, 01FFh
  jne fail32
  mov al, 'a'
  out 0E9h, al
  mov eax, 5307h
  mov ebx, 1
  mov ecx, 3
  call far [apm]
bits 16
`;

test("in protected mode the BIOS32 directory leads to the PCI BIOS, and APM switches off by its 32-bit entry", async () => {
  const guest = await runGuest(`
  mov ax, 5303h
  xor bx, bx
  int 15h
  jc fail
  mov [apm], ebx
  cmp ax, 0F000h
  jne fail
${PROTECTED}`);
  assert.equal(guest.output, "pa");
  assert.equal(guest.reason?.kind, "poweroff");
});

/** The system ROM's tables after POST. */
async function systemRom(memory: number): Promise<Uint8Array> {
  const machine = await new Machine({ board: testBoard(memory, { apic: true }) }, memory).post();
  return machine.memory.bytes.subarray(0xe0000, 0x100000);
}

/** Offset of a signature at a multiple of 16. */
function find(rom: Uint8Array, signature: string): number {
  for (let at = 0; at < rom.length; at += 16)
    if (Buffer.from(rom.subarray(at, at + signature.length)).toString("latin1") === signature) return at;
  return -1;
}

const sum = (bytes: Uint8Array): number => bytes.reduce((a, b) => a + b, 0) & 0xff;

test("the system ROM holds $PIR, _MP_, _SM_, _32_, $PnP and RSD PTR with right checksums", async () => {
  const rom = await systemRom(16 * MB);
  for (const [signature, length] of [
    ["$PIR", 160],
    ["_MP_", 16],
    ["_SM_", 31],
    ["_32_", 16],
    ["$PnP", 33],
    ["RSD PTR ", 36],
  ] as const) {
    const at = find(rom, signature);
    assert.ok(at >= 0, signature);
    assert.equal(sum(rom.subarray(at, at + length)), 0, signature);
  }
  const view = new DataView(rom.buffer, rom.byteOffset);
  const table = view.getUint32(find(rom, "_MP_") + 4, true) - 0xe0000;
  assert.equal(Buffer.from(rom.subarray(table, table + 4)).toString(), "PCMP");
  assert.equal(sum(rom.subarray(table, table + view.getUint16(table + 4, true))), 0);
  assert.equal(find(await systemRom(4 * MB), "RSD PTR "), -1, "a small machine keeps its memory");
});

const noDmidecode = spawnSync("dmidecode", ["--version"]).error !== undefined && "dmidecode is not installed";

test("dmidecode reads the SMBIOS structures", { skip: noDmidecode }, async () => {
  const rom = await systemRom(64 * MB);
  const entry = rom.slice(find(rom, "_SM_"), find(rom, "_SM_") + 31);
  const view = new DataView(entry.buffer);
  const start = view.getUint32(0x18, true) - 0xe0000;
  const structures = rom.subarray(start, start + view.getUint16(0x16, true));
  // The form of a dump file: entry point, then structures at 20h.
  const dump = Buffer.alloc(0x20 + structures.length);
  view.setUint32(0x18, 0x20, true);
  entry[0x15] = 0;
  entry[0x15] = -sum(entry.subarray(0x10)) & 0xff;
  entry[4] = 0;
  entry[4] = -sum(entry) & 0xff;
  dump.set(entry);
  dump.set(structures, 0x20);
  const folder = mkdtempSync(join(tmpdir(), "vmxon-smbios-"));
  try {
    writeFileSync(join(folder, "dump"), dump);
    const text = execFileSync("dmidecode", ["--from-dump", join(folder, "dump")], { stdio: "pipe" }).toString();
    assert.doesNotMatch(text, /wrong|invalid|broken|truncated|mismatch|OUT OF SPEC/i, text);
    assert.match(text, /SMBIOS 2\.8 present/);
    assert.match(text, /9 structures occupying/);
    assert.match(text, /Product Name: PC \(440FX, PIIX\)/);
    assert.match(text, /Range Size: 64 MB/);
    assert.match(text, /Size: 64 MB/);
    assert.match(text, /Manufacturer: GenuineVMXON/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
