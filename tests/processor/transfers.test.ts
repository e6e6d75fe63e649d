/** Far transfers: gates, tasks, virtual-8086 mode, IRET, SYSENTER; and CMPXCHG8B. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SEG } from "../../src/isa/state.ts";
import { CR0, CR4 } from "../../src/processor/registers.ts";
import { AT, GATE, Guest, RIGHTS, SELECTOR } from "./guest.ts";

const TF_IF = 0x302;
const NT = 0x4000;
const VM = 0x20000;
const IOPL3 = 0x3000;
const GP = 13;
const DPL3 = 0x60;
const BUSY = 2 << 8;

const selector = (guest: Guest, segment: number): number => guest.cpu.segment(segment, "selector");

test("a call gate to more privilege switches stacks and copies its parameters", () => {
  const guest = new Guest("user32");
  guest.callGate(SELECTOR.free, GATE.call32 | DPL3, SELECTOR.code0, AT.code, 3);
  guest.load(AT.user, `push 0x333\npush 0x222\npush 0x111\ncall ${SELECTOR.free | 3}:0\nback: nop`);
  guest.load(AT.code, "hlt");
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.cpu.cpl, 0);
  assert.equal(selector(guest, SEG.CS), SELECTOR.code0);
  assert.equal(guest.get("esp"), AT.stack0 - 7 * 4);
  const [eip, cs, a, b, c, esp, ss] = guest.stack(7);
  assert.deepEqual([cs, a, b, c], [SELECTOR.code3, 0x111, 0x222, 0x333]);
  assert.deepEqual([esp, ss], [AT.stack3 - 12, SELECTOR.data3]);
  assert.equal(eip, AT.user + 5 + 5 + 5 + 7);
});

test("RETF n takes the parameters off both stacks, and drops segments of more privilege", () => {
  const guest = new Guest("user32");
  guest.callGate(SELECTOR.free, GATE.call32 | DPL3, SELECTOR.code0, AT.code, 2);
  guest.load(AT.user, `push 2\npush 1\ncall ${SELECTOR.free | 3}:0\nud2`);
  guest.load(AT.code, `mov eax, ${SELECTOR.data0}\nmov ds, ax\nmov eax, ${SELECTOR.data3}\nmov es, ax\nretf 8`);
  assert.equal(guest.runToHandler(), 6);
  assert.equal(guest.stack(4)[3], AT.stack3);
  assert.deepEqual([selector(guest, SEG.DS), selector(guest, SEG.ES)], [0, SELECTOR.data3]);
  assert.equal(guest.stack(2)[1], SELECTOR.code3);
});

test("a 16-bit call gate pushes words", () => {
  const guest = new Guest();
  guest.callGate(SELECTOR.free, GATE.call16, SELECTOR.code0, 0x6000);
  guest.load(AT.code, `call ${SELECTOR.free}:0`);
  guest.load(0x6000, "hlt");
  guest.run();
  assert.equal(guest.get("esp"), AT.stack0 - 4);
  assert.equal(guest.word(AT.stack0 - 2), SELECTOR.code0);
});

test("gates are held to privilege, presence and type", () => {
  const vector = (gateType: number, target: number, rights?: number): [number, number | undefined] => {
    const guest = new Guest("user32");
    if (rights !== undefined) guest.descriptor(0x60, 0, 0xfffff, rights);
    guest.callGate(SELECTOR.free, gateType, target, AT.code);
    guest.load(AT.user, `call ${SELECTOR.free | 3}:0`);
    const v = guest.runToHandler();
    return [v, guest.stack(1)[0]];
  };
  assert.deepEqual(vector(GATE.call32, SELECTOR.code0), [GP, SELECTOR.free], "DPL of the gate");
  assert.deepEqual(vector((GATE.call32 | DPL3) & ~0x80, SELECTOR.code0), [11, SELECTOR.free]);
  assert.deepEqual(vector(GATE.call32 | DPL3, SELECTOR.data0), [GP, SELECTOR.data0]);
  assert.deepEqual(vector(GATE.call32 | DPL3, 0), [GP, 0]);
  assert.deepEqual(vector(GATE.call32 | DPL3, 0x60, RIGHTS.code0 & ~0x80), [11, 0x60]);
  assert.deepEqual(
    vector(GATE.interrupt | DPL3, SELECTOR.code0),
    [GP, SELECTOR.free],
    "an interrupt gate cannot be called",
  );
});

test("JMP through a call gate does not change privilege", () => {
  const guest = new Guest("user32");
  guest.callGate(SELECTOR.free, GATE.call32 | DPL3, SELECTOR.code0, AT.code);
  guest.load(AT.user, `jmp ${SELECTOR.free | 3}:0`);
  assert.equal(guest.runToHandler(), GP);
  assert.equal(guest.stack(1)[0], SELECTOR.code0);
});

test("conforming code runs at the caller's privilege", () => {
  const guest = new Guest("user32");
  guest.descriptor(SELECTOR.free, 0, 0xfffff, RIGHTS.code0 | 4);
  guest.load(AT.user, `call ${SELECTOR.free}:${AT.code}`);
  guest.load(AT.code, "ud2");
  assert.equal(guest.runToHandler(), 6);
  assert.equal(guest.stack(2)[1], SELECTOR.free | 3);
});

test("interrupts from user mode switch to the stack of the task state segment", () => {
  const guest = new Guest("user32");
  guest.gate(0x80, GATE.trap | DPL3);
  guest.load(AT.user, "int 0x80");
  guest.cpu.setEflags(0x202);
  assert.equal(guest.runToHandler(), 0x80);
  assert.deepEqual(guest.stack(5), [AT.user + 2, SELECTOR.code3, 0x202, AT.stack3, SELECTOR.data3]);
  assert.equal(guest.get("eflags") & 0x200, 0x200, "a trap gate leaves IF");
});

test("software interrupts are held to the DPL of their gates, exceptions are not", () => {
  const guest = new Guest("user32");
  guest.load(AT.user, "int 0x80");
  assert.equal(guest.runToHandler(), GP);
  assert.equal(guest.stack(1)[0], 0x80 * 8 + 2);
  const fault = new Guest("user32");
  fault.load(AT.user, "ud2");
  assert.equal(fault.runToHandler(), 6);
});

test("IRET to user mode loads SS:ESP and leaves IF and IOPL to those who may change them", () => {
  const guest = new Guest();
  guest.load(
    AT.code,
    `push ${SELECTOR.data3}\npush ${AT.stack3}\npush 0x3202\npush ${SELECTOR.code3}\npush ${AT.user}\niretd`,
  );
  guest.load(
    AT.user,
    `push ${SELECTOR.code3}\npushfd\nand dword [esp], 0xffffcdff\npop eax\npush eax\npush eax\npopfd\nud2`,
  );
  assert.equal(guest.runToHandler(), 6);
  const [, cs, flags, esp] = guest.stack(4);
  assert.equal(cs, SELECTOR.code3);
  assert.equal((flags ?? 0) & IOPL3, IOPL3, "IOPL stays at CPL 3");
  assert.equal((flags ?? 0) & 0x200, 0, "IF may change where IOPL allows it");
  assert.equal(esp, AT.stack3 - 8);
});

test("16-bit IRET takes words", () => {
  const guest = new Guest("real");
  guest.load(AT.code, "push 0x0202\npush cs\npush target\niret\nud2\ntarget: hlt", 16, 0);
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.get("esp"), AT.stack0);
  assert.equal(guest.get("eflags") & 0x200, 0x200);
});

test("IRET to a null or privileged selector is a general-protection fault that changes nothing", () => {
  for (const cs of [0, SELECTOR.data0, SELECTOR.code3 & ~3]) {
    const guest = new Guest();
    guest.load(AT.code, `push 2\npush ${cs}\npush ${AT.user}\niretd`);
    assert.equal(guest.runToHandler(), GP);
    assert.equal(guest.stack(1)[0], cs & ~3);
    assert.equal(guest.stack(4)[3]! & VM, 0);
    assert.equal(guest.get("esp"), AT.stack0 - 7 * 4, "three words are still there below the fault's four");
  }
});

/** State of a task in its TSS. */
function task(
  guest: Guest,
  eip: number,
  flags = 2,
  code: number = SELECTOR.code0,
  data: number = SELECTOR.data0,
): void {
  guest.setDword(AT.tss2 + 32, eip);
  guest.setDword(AT.tss2 + 36, flags);
  for (let i = 0; i < 8; i++) guest.setDword(AT.tss2 + 40 + i * 4, 0x1000 * (i + 1));
  guest.setDword(AT.tss2 + 56, 0xb000);
  for (const [slot, value] of [data, code, data, data, 0, 0].entries()) guest.setDword(AT.tss2 + 72 + slot * 4, value);
}

const isBusy = (guest: Guest, tss: number): boolean => (guest.dword(AT.gdt + tss + 4) & BUSY) !== 0;

test("JMP to a task saves one and loads the other, and moves the busy bit", () => {
  const guest = new Guest();
  task(guest, AT.user);
  guest.load(AT.code, `mov ecx, 0x77\njmp ${SELECTOR.tss2}:0\nback: hlt`);
  guest.load(AT.user, "hlt");
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.get("eip"), AT.user);
  assert.deepEqual([guest.get("eax"), guest.get("edi"), guest.get("esp")], [0x1000, 0x8000, 0xb000]);
  assert.deepEqual([isBusy(guest, SELECTOR.tss), isBusy(guest, SELECTOR.tss2)], [false, true]);
  assert.equal(guest.dword(AT.tss + 32), AT.code + 12);
  assert.equal(guest.dword(AT.tss + 44), 0x77);
  assert.equal(guest.get("eflags") & NT, 0);
  assert.equal(guest.cpu.get("cr0") & CR0.TS, CR0.TS);
});

test("CALL to a task nests it, and IRET comes back", () => {
  const guest = new Guest();
  task(guest, AT.user);
  guest.load(AT.code, `mov ecx, 0x77\ncall ${SELECTOR.tss2}:0\nmov edx, 5\nhlt`);
  guest.load(AT.user, "inc eax\niretd\ninc eax\niretd");
  assert.equal(guest.run().kind, "halt");
  assert.deepEqual([guest.get("ecx"), guest.get("edx")], [0x77, 5]);
  assert.equal(guest.word(AT.tss2), SELECTOR.tss);
  assert.deepEqual([isBusy(guest, SELECTOR.tss), isBusy(guest, SELECTOR.tss2)], [true, false]);
  assert.equal(guest.get("eflags") & NT, 0);
  assert.equal(guest.dword(AT.tss2 + 32), AT.user + 2, "the nested task goes on behind its IRET");
});

test("an exception through a task gate finds its error code on the new task's stack", () => {
  const guest = new Guest();
  task(guest, AT.user);
  guest.gate(GP, GATE.task, SELECTOR.tss2);
  guest.load(AT.code, "mov eax, 0xf0\nmov ds, ax");
  guest.load(AT.user, "hlt");
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.get("eip"), AT.user);
  assert.deepEqual([guest.stack(1)[0], guest.get("esp")], [0xf0, 0xaffc]);
  assert.equal(guest.dword(AT.tss + 32), AT.code + 5);
  assert.equal(guest.get("eflags") & NT, NT);
});

test("a 16-bit task is saved and loaded in words", () => {
  const guest = new Guest();
  guest.view.setUint16(AT.tss16 + 14, 0x6000, true);
  guest.view.setUint16(AT.tss16 + 16, 2, true);
  guest.view.setUint16(AT.tss16 + 18, 0x1234, true);
  guest.view.setUint16(AT.tss16 + 26, 0xb000, true);
  for (const [slot, value] of [SELECTOR.data0, SELECTOR.code0, SELECTOR.data0, SELECTOR.data0].entries())
    guest.view.setUint16(AT.tss16 + 34 + slot * 2, value, true);
  guest.load(AT.code, `call ${SELECTOR.tss16}:0\nhlt`);
  guest.load(0x6000, "mov ebx, eax\nhlt");
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.get("ebx") & 0xffff, 0x1234);
  assert.equal(selector(guest, SEG.TR), SELECTOR.tss16);
  guest.load(0x6000, "iretd");
  guest.set("eip", 0x6000);
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.get("eip"), AT.code + 7);
});

test("a busy task cannot be called", () => {
  const guest = new Guest();
  guest.load(AT.code, `call ${SELECTOR.tss}:0`);
  assert.equal(guest.runToHandler(), GP);
  assert.equal(guest.stack(1)[0], SELECTOR.tss);
});

test("reserved flags in a task state segment are ignored", () => {
  const guest = new Guest();
  task(guest, AT.user, 0xffc0802a & ~VM);
  guest.load(AT.code, `jmp ${SELECTOR.tss2}:0`);
  guest.load(AT.user, "nop\nhlt");
  guest.run(2);
  assert.equal(guest.run().kind, "halt", "and the guest can be entered with them");
  assert.equal(guest.get("eflags"), 2);
});

/** A guest in virtual-8086 mode at CS = AT.user >> 4, with I/O permission and redirection maps in its TSS. */
function v86(text: string, options: { iopl?: number; vme?: boolean; redirect?: boolean } = {}): Guest {
  const guest = new Guest();
  const { cpu } = guest;
  cpu.set("cr4", options.vme ? CR4.VME : 0);
  guest.machine.memory.fill(options.redirect ? 0 : 0xff, AT.tss + 0x200 - 32, AT.tss + 0x200);
  cpu.setEflags(VM | 2 | ((options.iopl ?? 3) << 12));
  for (const segment of [SEG.ES, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) {
    const value = segment === SEG.SS ? 0 : AT.data >> 4;
    cpu.setSegment(segment, value, value << 4, 0xffff, 0xf3);
  }
  cpu.setSegment(SEG.CS, AT.user >> 4, AT.user, 0xffff, 0xf3);
  cpu.set("cpl", 3);
  cpu.updateMode();
  guest.set("esp", 0x8000);
  guest.set("eip", 0);
  guest.load(AT.user, text, 16, 0);
  guest.view.setUint16(0x80 * 4, 0x100, true);
  guest.view.setUint16(0x80 * 4 + 2, AT.user >> 4, true);
  return guest;
}

test("an interrupt from virtual-8086 mode pushes the data segments and nulls them", () => {
  const guest = v86("int 0x80");
  guest.gate(0x80, GATE.interrupt | DPL3);
  assert.equal(guest.runToHandler(), 0x80);
  const frame = guest.stack(9);
  assert.deepEqual(frame.slice(0, 2), [2, AT.user >> 4]);
  assert.equal((frame[2] ?? 0) & VM, VM);
  assert.deepEqual(frame.slice(3), [0x8000, 0, AT.data >> 4, AT.data >> 4, AT.data >> 4, AT.data >> 4]);
  assert.deepEqual([selector(guest, SEG.DS), selector(guest, SEG.GS), guest.cpu.cpl], [0, 0, 0]);
  assert.equal(guest.get("eflags") & VM, 0);
});

test("IRET goes back into virtual-8086 mode", () => {
  const guest = v86("int 0x80\nmov ax, ds\nhlt");
  guest.gate(0x80, GATE.interrupt | DPL3, SELECTOR.code0, AT.code);
  guest.load(AT.code, "iretd");
  assert.equal(guest.runToHandler(), GP, "HLT is privileged");
  assert.equal(guest.get("eax") & 0xffff, AT.data >> 4);
  assert.equal(guest.stack(4)[3]! & VM, VM);
});

test("without VME, INT n with IOPL below 3 goes to the monitor as #GP(0)", () => {
  const guest = v86("int 0x80", { iopl: 0 });
  assert.equal(guest.runToHandler(), GP);
  assert.deepEqual(guest.stack(2), [0, 0]);
});

test("with VME, a redirected INT n stays in the 8086 program", () => {
  const guest = v86("int 0x80", { iopl: 0, vme: true, redirect: true });
  guest.load(AT.user + 0x100, "mov ax, 0x1234\npop bx\npop cx\npop dx\nhlt", 16, 0x100);
  assert.equal(guest.runToHandler(), GP);
  assert.equal(guest.get("eax") & 0xffff, 0x1234);
  assert.deepEqual([guest.get("ebx") & 0xffff, guest.get("ecx") & 0xffff], [2, AT.user >> 4]);
  assert.equal(guest.get("edx") & IOPL3, IOPL3, "the image shows IOPL 3");
});

test("with VME, INT n that the map does not redirect goes to the monitor", () => {
  const guest = v86("int 0x80", { iopl: 0, vme: true });
  assert.equal(guest.runToHandler(), GP);
  const allowed = v86("int 0x80", { iopl: 3, vme: true });
  allowed.gate(0x80, GATE.interrupt | DPL3);
  assert.equal(allowed.runToHandler(), 0x80);
});

test("with VME, CLI and STI work on VIF", () => {
  const guest = v86("sti\npushf\npop ax\ncli\npushf\npop bx\nhlt", { iopl: 0, vme: true });
  guest.runToHandler();
  assert.deepEqual([guest.get("eax") & 0x200, guest.get("ebx") & 0x200], [0x200, 0]);
  assert.equal(guest.stack(4)[3]! & 0x200, 0, "IF itself is out of reach");
});

test("without VME and IOPL 3, sensitive instructions trap", () => {
  for (const text of ["cli", "sti", "pushf", "popf", "iret", "hlt", "mov eax, cr0", "lmsw ax"]) {
    const guest = v86(text, { iopl: 0 });
    assert.equal(guest.runToHandler(), GP, text);
  }
  const denied = v86("in al, 0x60", { iopl: 0 });
  denied.machine.memory.fill(0xff, AT.tss + 0x200, AT.tss + 0x300);
  assert.equal(denied.runToHandler(), GP);
});

test("SYSENTER and SYSEXIT load flat segments around the selectors of their MSR", () => {
  const guest = new Guest("user32");
  guest.cpu.set("sysenterCs", SELECTOR.code0);
  guest.cpu.set("sysenterEsp", AT.stack0);
  guest.cpu.set("sysenterEip", AT.code);
  guest.load(AT.user, "sysenter\nback: ud2");
  guest.load(AT.code, "mov ecx, 0x7777\nmov edx, target\nsysexit\ntarget: ud2");
  guest.cpu.setEflags(TF_IF & ~0x100);
  assert.equal(guest.runToHandler(), 6);
  const [, cs, flags, esp, ss] = guest.stack(5);
  assert.deepEqual([cs, esp, ss], [SELECTOR.code0 + 16 + 3, 0x7777, SELECTOR.code0 + 24 + 3]);
  assert.equal((flags ?? 0) & 0x200, 0, "SYSENTER cleared IF");
});

test("SYSENTER without a selector, and SYSEXIT outside ring 0, are general-protection faults", () => {
  for (const text of ["sysenter", "sysexit"]) {
    const guest = new Guest("user32");
    if (text === "sysexit") guest.cpu.set("sysenterCs", SELECTOR.code0);
    guest.load(AT.user, text);
    assert.equal(guest.runToHandler(), GP, text);
    assert.equal(guest.stack(1)[0], 0);
  }
});

test("CMPXCHG8B stores when equal, loads when not, and sets ZF only", () => {
  const run = (low: number, high: number): Guest => {
    const guest = new Guest();
    guest.setDword(AT.data, 0x11111111);
    guest.setDword(AT.data + 4, 0x22222222);
    for (const [register, value] of [
      ["eax", low],
      ["edx", high],
      ["ebx", 0x33333333],
      ["ecx", 0x44444444],
    ] as const)
      guest.set(register, value);
    guest.cpu.setEflags(0x8d7 & ~0x40);
    guest.load(AT.code, `cmpxchg8b [${AT.data}]\nhlt`);
    guest.run();
    return guest;
  };
  const equal = run(0x11111111, 0x22222222);
  assert.deepEqual([equal.dword(AT.data), equal.dword(AT.data + 4)], [0x33333333, 0x44444444]);
  assert.equal(equal.get("eflags") & 0x8d5, 0x8d5);
  const other = run(0x11111111, 0x22222223);
  assert.deepEqual([other.get("eax"), other.get("edx")], [0x11111111, 0x22222222]);
  assert.deepEqual([other.dword(AT.data), other.dword(AT.data + 4)], [0x11111111, 0x22222222]);
  assert.equal(other.get("eflags") & 0x8d5, 0x895);
});

test("CMPXCHG8B on a read-only page faults even when nothing would change", () => {
  const guest = new Guest();
  const setPage = guest.page();
  setPage(0x203000, 0x203005);
  guest.load(AT.code, "cmpxchg8b [0x202ffc]");
  assert.equal(guest.runToHandler(), 14);
  assert.equal(guest.cpu.get("cr2"), 0x203000);
});
