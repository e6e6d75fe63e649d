/** Choosing what to boot: the menu, option ROMs that boot, INT 18h. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assemble } from "../../src/firmware/assembler.ts";
import type { Rom } from "../../src/firmware/service.ts";
import { fakeCdrom, fakeDisk, fakeFloppy } from "../support/device-fakes.ts";
import { bootDiskette, runGuest, screenText } from "./guest.ts";
import { Machine } from "./machine.ts";

const ESC = 0x011b;
const F12 = 0x8600;

/** Put a key into the BIOS's buffer. */
function press(machine: Machine, key: number): void {
  const tail = machine.memory.read16(0x41c);
  machine.memory.write16(0x400 + tail, key);
  machine.memory.write16(0x41c, tail + 2);
}

async function choose(machine: Machine, character: string): Promise<boolean> {
  machine.cpu.eax = character.charCodeAt(0);
  await machine.trap("menu_choose");
  return (machine.cpu.eflags & 0x40) !== 0;
}

function bootable(bytes: Uint8Array, mark: number): void {
  bytes.fill(0, 0, 512);
  bytes.set([0xeb, 0x3c, 0x90, mark], 0);
  bytes.set([0x55, 0xaa], 510);
}

test("the boot menu lists what there is, and the disk that is chosen is drive 80h", async () => {
  const [first, second] = [fakeDisk(4), fakeDisk(8)];
  bootable(first.backend.bytes, 1);
  bootable(second.backend.bytes, 2);
  const machine = await new Machine({
    floppies: [fakeFloppy(1440)],
    units: [first, second, fakeCdrom()],
    bootMenuMs: 1000,
  }).post();
  await machine.trap("menu_prompt");
  assert.match(machine.text(), /F12 or Esc/);
  const poll = async (): Promise<string> => {
    await machine.trap("menu_poll");
    const { eflags } = machine.cpu;
    return (eflags & 0x40) !== 0 ? "menu" : (eflags & 1) !== 0 ? "over" : "waiting";
  };
  assert.equal(await poll(), "waiting");
  press(machine, 0x1e61);
  press(machine, F12);
  assert.equal(await poll(), "menu");
  assert.equal(await poll(), "waiting");
  press(machine, ESC);
  assert.equal(await poll(), "menu");
  machine.clock.advance(2e9);
  assert.equal(await poll(), "over");
  await machine.trap("menu_show");
  assert.match(machine.text(), /1\. Diskette drive A\r\n2\. Disk 0: .*\r\n3\. Disk 1: .*\r\n4\. CD-ROM: .*\(empty\)/);
  assert.equal(await choose(machine, "9"), false);
  assert.equal(await choose(machine, "3"), true);
  await machine.trap("boot_start");
  await machine.trap("boot_next");
  assert.equal(machine.memory.read8(0x7c03), 2);
  assert.equal((await machine.call("int13", { ax: 0x1500, dx: 0x80 })).dx, 8 * 16 * 63);
  assert.equal((await machine.call("int13", { ax: 0x1500, dx: 0x81 })).dx, 4 * 16 * 63);
  assert.equal(machine.memory.read16(machine.memory.read16(0x41 * 4 + 2) * 16 + machine.memory.read16(0x41 * 4)), 8);
});

/** An option ROM at D0000h with a PnP header that has these vectors. */
function optionRom(vectors: { boot?: boolean; connects?: boolean }): Rom {
  const { code } = assemble(
    `
  dw 0AA55h
  db 2
  jmp near init
  times 14h db 0
  dw header
init:                            ; told of Plug and Play at ES:DI
  mov al, 'i'
  cmp word [es:di], 'P' * 256 + '$'
  jne init_end
  cmp word [es:di + 2], 'P' * 256 + 'n'
  jne init_end
  out 0E9h, al
init_end:
  mov ax, 20h
  retf
connect:
  mov al, 'c'
  out 0E9h, al
  retf
start:
  mov al, 'b'
  out 0E9h, al
  retf
  align 16
header:
  db '$PnP', 1, 2
  dw 0
  db 0, 0
  dd 0
  dw 0, product
  db 0, 0, 0, 0
  dw ${vectors.connects ? "connect" : "0"}, 0, ${vectors.boot ? "start" : "0"}, 0, 0
product:
  db 'Test ROM', 0
`,
    { origin: 0 },
  );
  const image = new Uint8Array(4096);
  image.set(code);
  const header = image[0x1a]! | (image[0x1b]! << 8);
  const sum = (bytes: Uint8Array): number => -bytes.reduce((a, b) => a + b, 0) & 0xff;
  image[header + 9] = sum(image.subarray(header, header + 32));
  image[1023] = sum(image.subarray(0, 1023));
  return { name: "option", base: 0xd0000, image, services: new Map() };
}

test("an option ROM's boot entry is tried in its turn, and the next device when it gives up", async () => {
  const guest = await runGuest("mov al, 'f'\n out 0E9h, al\n jmp off\n", {
    roms: [optionRom({ boot: true })],
    bootOrder: ["network", "floppy"],
  });
  assert.equal(guest.output, "ibf");
  assert.match(screenText(guest), /Booting from the network/);
});

test("an option ROM without a boot entry is connected once", async () => {
  const guest = await runGuest("mov al, 'f'\n out 0E9h, al\n jmp off\n", { roms: [optionRom({ connects: true })] });
  assert.equal(guest.output, "icf");
});

test("INT 18h goes on with the next device", async () => {
  const rom = optionRom({ boot: true });
  const guest = await runGuest("mov al, 'f'\n out 0E9h, al\n int 18h\n", {
    roms: [rom],
    bootOrder: ["floppy", "network"],
    limit: 3000,
    drive: bootDiskette("mov al, 'f'\n out 0E9h, al\n int 18h\n"),
  });
  assert.equal(guest.output, "ifb");
  assert.match(screenText(guest), /No bootable device/);
});

test("F12 during POST brings the menu, and a digit boots", async () => {
  let state = 0;
  const guest = await runGuest("mov al, 'f'\n out 0E9h, al\n jmp off\n", {
    watch: (running) => {
      const text = screenText(running);
      if (state === 0 && /vmxon BIOS/.test(text)) {
        running.pc.typist.press(["F12"]);
        state = 1;
      } else if (state === 1 && /1\. Diskette drive A/.test(text)) {
        running.pc.typist.type("1");
        return true;
      }
      return false;
    },
    bootMenuMs: 3000,
  });
  assert.equal(guest.output, "f");
  assert.match(screenText(guest), /Boot from:/);
});
