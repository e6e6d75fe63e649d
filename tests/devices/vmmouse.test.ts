/** VMware's pointer: the protocol by itself, and as a guest's instructions find it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MOUSE_BUTTON } from "../../src/devices/ps2-mouse.ts";
import { VmMouse } from "../../src/devices/vmmouse.ts";
import { runGuest } from "../firmware/guest.ts";

const MAGIC = 0x564d5868;
const READ_ID = 0x45414552;
const ABSOLUTE = 0x53424152;
const RELATIVE = 0x4c455252;

function setup() {
  const registers = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  let nudges = 0;
  const mouse = new VmMouse({ registers, nudge: () => nudges++ });
  /** Ask for a command; EAX, EBX, ECX and EDX behind it. */
  const ask = (command: number, parameter = 0): number[] => {
    Object.assign(registers, { eax: MAGIC, ebx: parameter, ecx: command, edx: 0x5658 });
    const eax = mouse.read(0, 4);
    return [eax, registers.ebx, registers.ecx, registers.edx];
  };
  return { mouse, registers, ask, nudges: () => nudges };
}

test("the version answers with the magic number, to those who know it", () => {
  const { mouse, registers, ask } = setup();
  assert.deepEqual(ask(10), [6, MAGIC, 2, 0x5658]);
  registers.eax = 1;
  assert.equal(mouse.read(0, 4), 0xffffffff);
  registers.eax = MAGIC;
  assert.equal(mouse.read(0, 1), 0xff);
  assert.equal(ask(0x1234)[0], 0xffffffff);
});

test("a driver identifies the pointer, asks for positions and gets them in order", () => {
  const { mouse, ask, nudges } = setup();
  assert.equal(ask(40)[0], 0xffff0000);
  mouse.moveTo(1, 2, 0, 0);
  ask(41, READ_ID);
  assert.equal(ask(40)[0], 1);
  assert.equal(ask(39, 1)[0], 0x3442554a);
  assert.equal(mouse.absolute, false);
  ask(41, ABSOLUTE);
  assert.equal(mouse.absolute, true);
  mouse.moveTo(0x8000, 0x4000, 0, MOUSE_BUTTON.LEFT);
  mouse.moveTo(70000, -5, -2, MOUSE_BUTTON.RIGHT | MOUSE_BUTTON.MIDDLE);
  assert.equal(nudges(), 2);
  assert.equal(ask(40)[0], 8);
  assert.deepEqual(ask(39, 4), [0x20, 0x8000, 0x4000, 0]);
  assert.deepEqual(ask(39, 4), [0x18, 0xffff, 0, 0xfffffffe]);
  assert.equal(ask(40)[0], 0);
  ask(41, RELATIVE);
  assert.equal(mouse.absolute, false);
});

test("a driver out of step is switched off, and a queue does not grow without end", () => {
  const { mouse, ask } = setup();
  ask(41, READ_ID);
  ask(41, ABSOLUTE);
  for (let i = 0; i < 1000; i++) mouse.moveTo(i, i, 0, 0);
  assert.equal(ask(40)[0], 1021);
  const copy = setup();
  copy.mouse.restore(mouse.state());
  assert.equal(copy.ask(40)[0], 1021);
  ask(39, 5);
  assert.equal(ask(40)[0], 0xffff0000);
  assert.equal(mouse.absolute, false);
  for (const words of [0, 1, 0xffffffff]) assert.equal(ask(39, words)[0], 0xffffffff);
});

test("a guest's IN changes the registers that the protocol says, and its mouse interrupts", async () => {
  const guest = await runGuest(
    `
    mov eax, ${MAGIC}
    mov ecx, 10
    mov dx, 0x5658
    in eax, dx
    mov [0x500], eax
    mov [0x504], ebx
    mov ebx, ${READ_ID}
    call command
    mov ebx, ${ABSOLUTE}
    call command
    mov ebx, 1
    call data
    mov [0x508], eax
    mov word [0x74 * 4], handler
    mov [0x74 * 4 + 2], cs
    mov al, 0xd4                   ; the mouse may report
    out 0x64, al
    mov al, 0xf4
    out 0x60, al
    hlt
    mov al, 'R'
    call put
    hlt
    mov ebx, 4
    call data
    mov [0x50c], eax
    mov [0x510], ebx
    mov [0x514], ecx
    mov [0x518], edx
    call off
command:
    mov ecx, 41
ask:
    mov eax, ${MAGIC}
    mov dx, 0x5658
    in eax, dx
    ret
data:
    mov ecx, 39
    jmp ask
handler:
    push ax
    in al, 0x60
    mov al, 0x20
    out 0xa0, al
    out 0x20, al
    pop ax
    iret
  `,
    {
      on: (_character, { pc }) => {
        assert.equal(pc.pointer!.absolute, true);
        pc.pointer!.moveTo(1000, 2000, 3, MOUSE_BUTTON.LEFT);
      },
    },
  );
  assert.equal(guest.reason?.kind, "poweroff");
  const { memory } = guest.domain;
  const words = Array.from({ length: 7 }, (_, i) => memory.read32(0x500 + i * 4));
  assert.deepEqual(words, [6, MAGIC, 0x3442554a, 0x20, 1000, 2000, 3]);
});
