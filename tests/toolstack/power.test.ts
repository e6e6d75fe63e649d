/** Ways to reset a machine, to send it to sleep and to wake it, as a boot sector sees them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble } from "../../src/firmware/assembler.ts";
import type { DomainConfig } from "../../src/toolstack/config.ts";
import { Domain } from "../../src/toolstack/domain.ts";

/** Sends AL; writes EAX to configuration register EDX, byte, word or double word; switches the machine off by S5. */
const LIBRARY = `
  send: push dx
  mov ah, al
  mov dx, 3fbh
  mov al, 3
  out dx, al
  mov al, ah
  mov dx, 3f8h
  out dx, al
  pop dx
  ret
  select: push eax
  mov eax, edx
  and al, 0fch
  or eax, 80000000h
  mov dx, 0cf8h
  out dx, eax
  pop eax
  mov dx, 0cfch
  ret
  pm: mov eax, 601h
  mov edx, 0b40h
  call select
  out dx, eax
  mov al, 1
  mov edx, 0b80h
  call select
  out dx, al
  ret
  off: call pm
  mov dx, 604h
  mov ax, 2000h
  out dx, ax
  hlt`;

/** A boot sector that does \`first\` when it runs first, and \`second\` once memory tells that it did so before. */
function bootSector(first: string, second: string): Uint8Array {
  const { code } = assemble(
    `xor ax, ax
    mov ss, ax
    mov sp, 7c00h
    mov ax, 8000h
    mov ds, ax
    cmp dword [0], 12345678h
    je second
    mov dword [0], 12345678h
    ${first}
    hlt
    second: ${second}
    jmp off
    ${LIBRARY}`,
    { origin: 0x7c00, bits: 16 },
  );
  const image = new Uint8Array(1_474_560);
  image.set(code);
  image.set([0x55, 0xaa], 510);
  return image;
}

async function boot(image: Uint8Array, config: DomainConfig = {}): Promise<Domain> {
  const domain = await Domain.create({ fda: image, memory: 8, clock: "instructions", ...config });
  domain.start();
  return domain;
}

/** Registers that shadow F0000h–FFFFFh, without which firmware is gone, and E8000h–EFFFFh. */
const SYSTEM_ROM = 0x59;
const OPTION_ROM = 0x5f;

/** Leave traces, in shadow RAM, routes and the A20 gate; then reset. */
const traces = (reset: string, shadow: number): string => `
  mov edx, ${shadow}
  call select
  or dl, ${shadow & 3}
  mov al, 30h
  out dx, al
  mov edx, 860h
  call select
  mov al, 5
  out dx, al
  in al, 92h
  and al, 0fch
  out 92h, al
  ${reset}`;

/** What is left of the traces: shadowing, route, gate; each as the byte that is read. */
const look = (shadow: number): string => `
  mov edx, ${shadow}
  call select
  or dl, ${shadow & 3}
  in al, dx
  call send
  mov edx, 860h
  call select
  in al, dx
  call send
  in al, 92h
  and al, 2
  call send`;

/** Firmware in shadow RAM goes: only ROM can start the machine again. */
const WIPE = "cli\nmov ax, 0f000h\nmov es, ax\nxor di, di\nxor ax, ax\nmov cx, 8000h\nrep stosw\n";

const RESETS: Readonly<Record<string, string>> = {
  "port CF9h, everything": "mov dx, 0cf9h\nmov al, 6\nout dx, al",
  "port CF9h, the processor": "mov dx, 0cf9h\nmov al, 4\nout dx, al",
  "the keyboard controller": "mov al, 0feh\nout 64h, al",
  "port 92h": "in al, 92h\nor al, 1\nout 92h, al",
  "a triple fault": "lidt [0f000h]\nint3",
};

for (const [name, code] of Object.entries(RESETS)) {
  test(`reset by ${name}: a clean start with memory kept`, async () => {
    const domain = await boot(bootSector(traces(WIPE + code, SYSTEM_ROM), look(SYSTEM_ROM)));
    const sent: number[] = [];
    domain.serial[0]!.onData((bytes) => sent.push(...bytes));
    const { kind, message } = await domain.exited;
    assert.equal(kind, "poweroff", message);
    // What POST sets anew: shadow RAM that is only read, and PIRQ A at 10.
    assert.deepEqual(sent, [0x10, 0x0a, 2]);
  });
}

test("a processor's reset goes on where CMOS says, with devices as they were", async () => {
  // CMOS 0Fh = 0Ah: firmware jumps to the address at 0040h:0067h.
  const resume = (reset: string): string => `
    mov al, 0fh
    out 70h, al
    mov al, 0ah
    out 71h, al
    mov ax, 40h
    mov es, ax
    mov word [es:67h], resumed
    mov word [es:69h], 0
    ${traces(reset, OPTION_ROM)}
    hlt
    resumed: xor ax, ax
    mov ss, ax
    mov sp, 7c00h
    ${look(OPTION_ROM)}
    jmp off`;
  for (const name of ["a triple fault", "port CF9h, the processor"] as const) {
    const domain = await boot(bootSector(resume(RESETS[name]!), "nop"));
    const { kind, message } = await domain.exited;
    assert.equal(kind, "poweroff", message);
    assert.equal(domain.serial[0]!.text(), "0\x05\x02");
  }
});

test("on_reboot=destroy ends the domain at a triple fault, too", async () => {
  const domain = await boot(bootSector(RESETS["a triple fault"]!, "nop"), { on_reboot: "destroy" });
  assert.equal((await domain.exited).kind, "reboot");
});

const SLEEP = (type: number): string => `
  call pm
  mov al, 5ah
  call send
  mov dx, 604h
  mov ax, ${(type << 10) | 0x2000}
  out dx, ax`;
const WAKE_STATUS = `
  call pm
  mov dx, 601h
  in al, dx
  and al, 81h
  call send`;

test("S1: the machine stands still until the power button wakes it, and goes on behind the instruction", async () => {
  const domain = await boot(bootSector(`${SLEEP(4)}\n${WAKE_STATUS}\njmp off`, "nop"));
  await domain.serial[0]!.waitFor(/Z/);
  const before = domain.instructions();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(domain.instructions(), before);
  await domain.keyboard.press("power");
  assert.equal((await domain.exited).kind, "poweroff");
  assert.equal(domain.serial[0]!.text(), "\x81");
});

test("S3: a key wakes the machine, which starts again with its memory and knows that it was asleep", async () => {
  const domain = await boot(bootSector(`${SLEEP(1)}\nmov al, 58h\ncall send`, WAKE_STATUS));
  await domain.serial[0]!.waitFor(/Z/);
  await new Promise((resolve) => setTimeout(resolve, 20));
  domain.keyboard.key("Space", true);
  domain.keyboard.key("Space", false);
  assert.equal((await domain.exited).kind, "poweroff");
  assert.equal(domain.serial[0]!.text(), "\x80");
});

test("S3: the alarm of the clock wakes where it is enabled", async () => {
  const alarm = `
    call pm
    mov dx, 602h
    mov ax, 400h
    out dx, ax
    mov bx, 0c0c0h
    mov al, 1
    out 70h, al
    mov al, 0c0h
    out 71h, al
    mov al, 3
    out 70h, al
    mov al, 0c0h
    out 71h, al
    mov al, 5
    out 70h, al
    mov al, 0c0h
    out 71h, al
    mov al, 0bh
    out 70h, al
    mov al, 22h
    out 71h, al`;
  const domain = await boot(bootSector(`${alarm}\n${SLEEP(1)}`, WAKE_STATUS));
  assert.equal((await domain.exited).kind, "poweroff");
  assert.equal(domain.serial[0]!.text(), "Z\x80");
});

test("acpi=0 leaves power management out", async () => {
  const image = bootSector("mov edx, 0b00h\ncall select\nin eax, dx\ncall send\nmov al, 0feh\nout 64h, al", "hlt");
  const domain = await boot(image, { acpi: false, on_reboot: "destroy" });
  assert.equal((await domain.exited).kind, "reboot");
  assert.equal(domain.serial[0]!.text(), "\xff");
});
