/** Faults, traps, shadows and breakpoints: what is raised, what is pushed, and what of the state it finds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EXIT, PROC } from "../../src/processor/exits.ts";
import { AT, GATE, Guest, RIGHTS, SELECTOR } from "./guest.ts";

const TF = 0x100;
const IF = 0x200;
const RF = 0x10000;
const BS = 0x4000;
const DB = 1;
const UD = 6;
const DF = 8;
const GP = 13;
const PF = 14;

/** Let the handler of #DB return, counting into the double word at AT.data and noting each EIP behind it. */
function debugLog(guest: Guest, clearBreakpoints = false): void {
  guest.load(
    0x6000,
    `push eax
    push ebx
    mov ebx, [${AT.data}]
    mov eax, [esp + 8]
    mov [${AT.data} + 4 + ebx*4], eax
    inc dword [${AT.data}]
    ${clearBreakpoints ? "or dword [esp + 16], 0x10000" : ""}
    pop ebx
    pop eax
    iretd`,
  );
  guest.gate(DB, GATE.interrupt, SELECTOR.code0, 0x6000);
}

const logged = (guest: Guest): number[] =>
  Array.from({ length: guest.dword(AT.data) }, (_, i) => guest.dword(AT.data + 4 + i * 4) - AT.code);

test("an undefined instruction pushes its own address and no error code", () => {
  const guest = new Guest();
  guest.load(AT.code, "nop\nud2");
  assert.equal(guest.runToHandler(), UD);
  const [eip, cs, flags] = guest.stack(3);
  assert.deepEqual([eip, cs, (flags ?? 0) & RF], [AT.code + 1, SELECTOR.code0, RF], "RF is set in what faults push");
});

test("a general-protection fault pushes the selector it is about", () => {
  const guest = new Guest();
  guest.load(AT.code, "mov eax, 0xf3\nmov ds, ax");
  assert.equal(guest.runToHandler(), GP);
  assert.deepEqual(guest.stack(2), [0xf0, AT.code + 5]);
});

test("single-step traps come behind each instruction", () => {
  const guest = new Guest();
  debugLog(guest);
  guest.load(
    AT.code,
    "pushfd\nor dword [esp], 0x100\npopfd\nnop\nnop\nnop\npushfd\nand dword [esp], 0xfffffeff\npopfd\nhlt",
  );
  const start = 9;
  assert.equal(guest.run().kind, "halt");
  assert.deepEqual(logged(guest), [start + 1, start + 2, start + 3, start + 4, start + 11, start + 12]);
  assert.equal(guest.cpu.get("dr6") & BS, BS);
});

test("a single-step trap finds TF in the pushed flags and clears it for the handler", () => {
  const guest = new Guest();
  guest.load(AT.code, "nop\nnop");
  guest.cpu.setEflags(TF);
  assert.equal(guest.runToHandler(), DB);
  assert.equal(guest.stack(3)[2]! & TF, TF);
  assert.equal(guest.get("eflags") & TF, 0);
});

test("INT n clears TF, and no single-step trap follows it", () => {
  const guest = new Guest();
  guest.load(AT.code, "int 0x40");
  guest.cpu.setEflags(TF);
  assert.equal(guest.runToHandler(), 0x40);
  assert.equal(guest.stack(3)[2]! & TF, TF);
});

test("a repeated string instruction traps after each element", () => {
  const guest = new Guest();
  debugLog(guest);
  guest.set("ecx", 3);
  guest.set("edi", AT.data + 0x1000);
  guest.load(AT.code, "rep stosb\nhlt");
  guest.cpu.setEflags(TF);
  assert.equal(guest.run(200).kind, "halt");
  assert.deepEqual(logged(guest), [0, 0, 2]);
});

test("STI holds interrupts back for one instruction", () => {
  const guest = new Guest();
  guest.load(AT.code, "sti\nnop\nnop\nhlt");
  guest.cpu.set("procControls", guest.cpu.get("procControls") | PROC.interruptWindow);
  assert.deepEqual(guest.run(), { kind: "exit", reason: EXIT.interruptWindow });
  assert.equal(guest.get("eip"), AT.code + 2);
  guest.cpu.set("procControls", guest.cpu.get("procControls") & ~PROC.interruptWindow);
});

test("STI with interrupts already on holds nothing back", () => {
  const guest = new Guest();
  guest.load(AT.code, "sti\nnop\nhlt");
  guest.cpu.setEflags(IF);
  guest.run(1);
  assert.equal(guest.cpu.get("interruptibility"), 0);
});

test("CLI in the shadow of STI keeps the window shut", () => {
  const guest = new Guest();
  guest.load(AT.code, "sti\ncli\nnop\nhlt");
  guest.cpu.set("procControls", guest.cpu.get("procControls") | PROC.interruptWindow);
  assert.equal(guest.run().kind, "halt");
  guest.cpu.set("procControls", guest.cpu.get("procControls") & ~PROC.interruptWindow);
});

test("MOV SS and POP SS hold interrupts and single-step traps back for one instruction", () => {
  for (const load of ["mov ss, ax", "push eax\npop ss"]) {
    const guest = new Guest();
    debugLog(guest);
    guest.set("eax", SELECTOR.data0);
    guest.load(AT.code, `${load}\nnop\nnop\nhlt`);
    guest.cpu.setEflags(TF);
    const after = 2;
    assert.equal(guest.run(200).kind, "halt");
    const traps = logged(guest);
    assert.ok(!traps.includes(after), `no trap right behind ${load}`);
    assert.ok(traps.includes(after + 1));
  }
});

test("MOV SS keeps the interrupt window shut for one instruction", () => {
  const guest = new Guest();
  guest.set("eax", SELECTOR.data0);
  guest.load(AT.code, "mov ss, ax\nnop\nnop\nhlt");
  guest.cpu.setEflags(IF);
  guest.run(1);
  assert.equal(guest.cpu.get("interruptibility"), 2);
  guest.cpu.set("procControls", guest.cpu.get("procControls") | PROC.interruptWindow);
  guest.cpu.set("preemptionTimer", 100);
  assert.equal(guest.machine.processor.run(), EXIT.interruptWindow);
  assert.equal(guest.get("eip"), AT.code + 3);
  guest.cpu.set("procControls", guest.cpu.get("procControls") & ~PROC.interruptWindow);
});

test("an instruction breakpoint faults before the instruction, with its number in DR6", () => {
  const guest = new Guest();
  const labels = guest.load(
    AT.code,
    `mov eax, here\nmov dr2, eax\nmov eax, 0x20\nmov dr7, eax\nnop\nhere: inc ecx\nhlt`,
  );
  assert.equal(guest.runToHandler(), DB);
  assert.equal(guest.stack(1)[0], labels.get("here"));
  assert.equal(guest.cpu.get("dr6") & 0xf, 4);
  assert.equal(guest.get("ecx"), 0);
  assert.equal(guest.stack(3)[2]! & RF, 0, "RF is for the handler to set");
});

test("RF lets one instruction pass its breakpoint", () => {
  const guest = new Guest();
  debugLog(guest, true);
  const labels = guest.load(
    AT.code,
    "mov eax, here\nmov dr0, eax\nmov eax, 2\nmov dr7, eax\nmov edx, 2\nhere: inc ecx\ndec edx\njnz here\nhlt",
  );
  assert.equal(guest.run().kind, "halt");
  const here = labels.get("here")! - AT.code;
  assert.deepEqual(logged(guest), [here, here], "once for each pass");
  assert.equal(guest.get("ecx"), 2);
});

test("data breakpoints trap after the access, by kind and length", () => {
  const access = (dr7: number, code: string, offset = 0): number => {
    const guest = new Guest();
    guest.load(AT.code, `mov eax, ${AT.data}\nmov dr1, eax\nmov eax, ${dr7}\nmov dr7, eax\n${code}\nhlt`);
    const vector = guest.runToHandler();
    if (vector < 0) return -1;
    assert.equal(vector, DB);
    assert.equal(guest.cpu.get("dr6") & 0xf, 2);
    return guest.dword(AT.data + offset);
  };
  const writeDword = 0x00d00008;
  const readWriteByte = 0x00300008;
  assert.equal(access(writeDword, `mov dword [${AT.data}], 7`), 7, "the store is done");
  assert.equal(access(writeDword, `mov byte [${AT.data} + 3], 7`), 7 << 24);
  assert.equal(access(writeDword, `mov ecx, [${AT.data}]`), -1, "reads do not count");
  assert.equal(access(writeDword, `mov dword [${AT.data} + 4], 7`), -1);
  assert.equal(access(writeDword, `mov word [${AT.data} - 1], 0x700`), 7, "an overlap is enough");
  assert.equal(access(readWriteByte, `mov ecx, [${AT.data}]`), 0);
  assert.equal(access(readWriteByte, `mov ecx, [${AT.data} + 1]`), -1);
  assert.equal(access(readWriteByte, `mov edi, ${AT.data}\nmov al, 5\nstosb`), 5);
});

test("a data breakpoint stops a repeated string instruction behind the element that met it", () => {
  const guest = new Guest();
  guest.cpu.set("dr0", AT.data + 5);
  guest.cpu.set("dr7", 0x00010402);
  guest.set("edi", AT.data);
  guest.set("ecx", 20);
  guest.set("eax", 1);
  guest.load(AT.code, "rep stosb\nhlt");
  assert.equal(guest.runToHandler(), DB);
  assert.equal(guest.get("ecx"), 14);
});

test("general detection faults on debug register accesses", () => {
  const guest = new Guest();
  guest.cpu.set("dr7", 0x2400);
  guest.load(AT.code, "nop\nmov eax, dr3");
  assert.equal(guest.runToHandler(), DB);
  assert.equal(guest.stack(1)[0], AT.code + 1);
  assert.equal(guest.cpu.get("dr6") & 0x2000, 0x2000);
  assert.equal(guest.cpu.get("dr7") & 0x2000, 0, "GD is clear for the handler");
});

test("a contributory fault while delivering another is a double fault with error code 0", () => {
  const guest = new Guest();
  guest.gate(GP, GATE.interrupt & ~0x80);
  guest.load(AT.code, "mov eax, 0xf0\nmov ds, ax");
  assert.equal(guest.runToHandler(), DF);
  assert.deepEqual(guest.stack(2), [0, AT.code + 5]);
});

test("a fault while delivering a benign exception is delivered itself", () => {
  const guest = new Guest();
  guest.gate(UD, GATE.interrupt & ~0x80);
  guest.load(AT.code, "ud2");
  assert.equal(guest.runToHandler(), 11);
  assert.deepEqual(guest.stack(2), [UD * 8 + 2 + 1, AT.code]);
});

test("a page fault while delivering a page fault is a double fault; one while delivering #GP is not", () => {
  const guest = new Guest();
  const setPage = guest.page();
  setPage(0x300000, 0);
  setPage(0x301000, 0);
  guest.gate(DF, GATE.interrupt, SELECTOR.code0);
  guest.load(AT.code, "mov esp, 0x301000\nmov eax, [0x300000]");
  assert.equal(guest.run().kind, "exit", "the double fault cannot be pushed either");
  assert.equal(guest.cpu.get("exitReason"), EXIT.tripleFault);
  guest.load(AT.code + 0x100, `mov esp, 0x301000\nmov eax, 0xf0\nmov ds, ax`);
  guest.set("eip", AT.code + 0x100);
  guest.callGate(SELECTOR.free, GATE.task, SELECTOR.tss2);
  guest.gate(PF, GATE.task, SELECTOR.tss2);
  guest.setDword(AT.tss2 + 28, guest.cpu.get("cr3"));
  guest.setDword(AT.tss2 + 32, AT.handlers + PF * 16);
  guest.setDword(AT.tss2 + 36, 2);
  guest.setDword(AT.tss2 + 56, AT.stack0);
  for (const [offset, selector] of [
    [72, SELECTOR.data0],
    [76, SELECTOR.code0],
    [80, SELECTOR.data0],
    [84, SELECTOR.data0],
    [88, 0],
    [92, 0],
  ] as const)
    guest.setDword(AT.tss2 + offset, selector);
  assert.equal(guest.runToHandler(), PF, "the handler stands on a stack of its own");
  assert.equal(guest.cpu.get("cr2"), 0x300ff8 + 4);
});

test("a third fault shuts the processor down", () => {
  const guest = new Guest();
  guest.cpu.set("idtrLimit", 0);
  guest.load(AT.code, "nop\nud2");
  assert.deepEqual(guest.run(), { kind: "exit", reason: EXIT.tripleFault });
  assert.equal(guest.get("eip"), AT.code + 1);
});

test("an instruction of more than 15 bytes is a general-protection fault", () => {
  const guest = new Guest();
  guest.bytes(AT.code, ...new Array(14).fill(0x3e), 0x90, 0xf4);
  assert.equal(guest.runToHandler(), -1, "15 bytes are allowed");
  assert.equal(guest.get("eip"), AT.code + 15);
  const long = new Guest();
  long.bytes(AT.code, ...new Array(15).fill(0x3e), 0x90, 0xf4);
  assert.equal(long.runToHandler(), GP);
  assert.deepEqual(long.stack(2), [0, AT.code]);
  const crossing = new Guest();
  crossing.bytes(AT.code + 0xff8, ...new Array(15).fill(0x3e), 0x90, 0xf4);
  crossing.set("eip", AT.code + 0xff8);
  assert.equal(crossing.runToHandler(), GP);
});

test("LOCK is allowed on the stores it is defined for, and nowhere else", () => {
  const vector = (...code: number[]): number => {
    const guest = new Guest();
    guest.set("ebx", AT.data);
    guest.bytes(AT.code, ...code, 0xf4);
    return guest.runToHandler();
  };
  const allowed = [
    [0x01, 0x03], [0x09, 0x03], [0x11, 0x03], [0x19, 0x03], [0x21, 0x03], [0x29, 0x03], [0x31, 0x03], [0xff, 0x03],
    [0xff, 0x0b], [0xf7, 0x13], [0xf7, 0x1b], [0x87, 0x03], [0x0f, 0xb1, 0x03], [0x0f, 0xc1, 0x03], [0x0f, 0xab, 0x03],
    [0x0f, 0xb3, 0x03], [0x0f, 0xbb, 0x03], [0x0f, 0xba, 0x2b, 1], [0x0f, 0xc7, 0x0b],
  ]; // biome-ignore format: instructions
  for (const code of allowed) assert.equal(vector(0xf0, ...code), -1, `lock ${code.map((b) => b.toString(16))}`);
  const refused = [
    [0x03, 0x03], [0x39, 0x03], [0x85, 0x03], [0x89, 0x03], [0x01, 0xc3], [0xff, 0xc0], [0x87, 0xc3], [0x0f, 0xa3, 0x03],
    [0x0f, 0xba, 0x23, 1], [0x90], [0xc3], [0xff, 0x33], [0xd1, 0x23],
  ]; // biome-ignore format: instructions
  for (const code of refused) assert.equal(vector(0xf0, ...code), UD, `lock ${code.map((b) => b.toString(16))}`);
});

test("with address line 20 forced low, odd megabytes are the even ones", () => {
  const guest = new Guest("real");
  guest.machine.memory[0x100500] = 0x11;
  guest.machine.memory[0x500] = 0x22;
  guest.load(AT.code, "mov ax, 0xffff\nmov es, ax\nmov al, [es:0x510]\nhlt", 16, 0);
  guest.run();
  assert.equal(guest.get("eax") & 0xff, 0x11);
  guest.cpu.set("a20Mask", ~(1 << 20));
  guest.cpu.flushAll();
  guest.set("eip", 0);
  guest.run();
  assert.equal(guest.get("eax") & 0xff, 0x22);
});

test("an instruction whose second page is missing faults there, and runs when it has come", () => {
  const guest = new Guest();
  const setPage = guest.page();
  const boundary = 0x202000;
  guest.load(boundary - 3, "mov eax, 0x12345678\nhlt");
  setPage(boundary, 0);
  guest.set("eip", boundary - 3);
  assert.equal(guest.runToHandler(), PF);
  assert.equal(guest.cpu.get("cr2"), boundary);
  assert.deepEqual(guest.stack(2), [0, boundary - 3]);
  setPage(boundary, boundary | 7);
  guest.set("eip", boundary - 3);
  guest.run();
  assert.equal(guest.get("eax"), 0x12345678);
});

test("a jump that ended in a fault is not taken for a jump to the fault's handler", () => {
  const guest = new Guest();
  guest.page()(0x300000, 0);
  const labels = guest.load(
    AT.code,
    `start: jmp 0x300000
    handler: inc ecx
    cmp ecx, 2
    je done
    mov dword [esp + 4], start
    add esp, 4
    and dword [esp + 8], 0xfffeffff
    iretd
    done: hlt`,
  );
  guest.gate(PF, GATE.interrupt, SELECTOR.code0, labels.get("handler"));
  assert.equal(guest.run(100).kind, "halt");
  assert.deepEqual(guest.stack(2), [0, 0x300000]);
  assert.equal(guest.get("esp"), AT.stack0 - 16);
});

test("an interrupt between a jump and its target does not become the target", () => {
  const guest = new Guest();
  const labels = guest.load(
    AT.code,
    `start: jmp target
    handler: inc ecx
    iretd
    target: inc edx
    jmp start`,
  );
  guest.gate(0x20, GATE.interrupt, SELECTOR.code0, labels.get("handler"));
  guest.cpu.setEflags(0x202);
  guest.run(1);
  guest.cpu.set("entryInterruptionInfo", 0x8000_0020 | 0);
  guest.run(2);
  guest.run(6);
  assert.deepEqual([guest.get("ecx"), guest.get("edx")], [1, 2]);
});

test("the second page of a cached instruction may move elsewhere", () => {
  const guest = new Guest();
  const setPage = guest.page();
  const boundary = 0x202000;
  guest.load(boundary - 3, "mov eax, 0x11223344\nhlt");
  guest.bytes(0x205000, 0xaa, 0xbb, 0xf4);
  guest.set("eip", boundary - 3);
  guest.run();
  assert.equal(guest.get("eax"), 0x11223344);
  setPage(boundary, 0x205007);
  guest.set("eip", boundary - 3);
  guest.run();
  assert.equal(guest.get("eax"), 0xbbaa3344);
});

test("a page fault in the middle of REP MOVS leaves what was moved done and the rest to do", () => {
  const guest = new Guest();
  const setPage = guest.page();
  setPage(0x204000, 0);
  for (let i = 0; i < 0x3000; i++) guest.machine.memory[0x210000 + i] = i & 0xff;
  guest.set("esi", 0x210000);
  guest.set("edi", 0x203000);
  guest.set("ecx", 0x1800);
  guest.load(AT.code, "rep movsb\nhlt");
  assert.equal(guest.runToHandler(), PF);
  assert.deepEqual(
    [guest.cpu.get("cr2"), guest.get("edi"), guest.get("esi"), guest.get("ecx")],
    [0x204000, 0x204000, 0x211000, 0x800],
  );
  assert.deepEqual(guest.stack(2), [2, AT.code]);
  setPage(0x204000, 0x204007);
  guest.set("eip", AT.code);
  guest.set("esp", AT.stack0);
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.machine.memory[0x2047ff], 0x7ff & 0xff);
  assert.equal(guest.get("ecx"), 0);
});

test("a store over two pages of which the second is read-only stores nothing", () => {
  const guest = new Guest();
  const setPage = guest.page();
  setPage(0x203000, 0x203005);
  guest.load(AT.code, "mov dword [0x202ffe], 0xffffffff");
  assert.equal(guest.runToHandler(), PF);
  assert.equal(guest.dword(0x202ffc), 0);
  assert.equal(guest.cpu.get("cr2"), 0x203000);
});

test("in real mode exceptions push no error code and go through the table at IDTR", () => {
  const guest = new Guest("real");
  guest.load(AT.code, "mov word [0xffff], ax", 16, 0);
  assert.equal(guest.runToHandler(), GP);
  assert.equal(guest.get("esp"), AT.stack0 - 6);
  assert.equal(guest.word(AT.stack0 - 6), 0);
  assert.equal(guest.word(AT.stack0 - 4), AT.code >> 4);
});

test("faults of the first moments of a new task belong to it", () => {
  const guest = new Guest();
  guest.setDword(AT.tss2 + 32, AT.user);
  guest.setDword(AT.tss2 + 36, 2);
  guest.setDword(AT.tss2 + 56, 0xb000);
  for (const [offset, selector] of [
    [72, SELECTOR.data0],
    [76, SELECTOR.code0],
    [80, SELECTOR.data0],
    [84, 0xf0],
    [88, 0],
    [92, 0],
  ] as const)
    guest.setDword(AT.tss2 + offset, selector);
  guest.load(AT.code, `jmp ${SELECTOR.tss2}:0`);
  assert.equal(guest.runToHandler(), 10);
  assert.deepEqual(guest.stack(2), [0xf0, AT.user], "#TS at the new task's first instruction");
  assert.equal(guest.cpu.segment(7, "selector"), SELECTOR.tss2);
});

test("the T bit of a task raises #DB before its first instruction", () => {
  const guest = new Guest();
  guest.setDword(AT.tss2 + 32, AT.user);
  guest.setDword(AT.tss2 + 36, 2);
  guest.setDword(AT.tss2 + 56, 0xb000);
  guest.setDword(AT.tss2 + 100, 1);
  for (const [offset, selector] of [
    [72, SELECTOR.data0],
    [76, SELECTOR.code0],
    [80, SELECTOR.data0],
    [84, SELECTOR.data0],
    [88, 0],
    [92, 0],
  ] as const)
    guest.setDword(AT.tss2 + offset, selector);
  guest.load(AT.code, `jmp ${SELECTOR.tss2}:0`);
  assert.equal(guest.runToHandler(), DB);
  assert.equal(guest.stack(1)[0], AT.user);
  assert.equal(guest.cpu.get("dr6") & 0x8000, 0x8000);
});

test("a limit below EIP is a fault each time, and the guest still leaves when its time is up", () => {
  const guest = new Guest("real");
  guest.cpu.setSegment(1, AT.code >> 4, AT.code, 0xff, 0x9b);
  guest.set("eip", 0x100);
  guest.view.setUint16(GP * 4, 0x200, true);
  assert.equal(guest.run(1000).kind, "done");
});

test("descriptor of code that is not present is #NP", () => {
  const guest = new Guest();
  guest.descriptor(SELECTOR.free, 0, 0xfffff, RIGHTS.code0 & ~0x80);
  guest.load(AT.code, `jmp ${SELECTOR.free}:0`);
  assert.equal(guest.runToHandler(), 11);
  assert.equal(guest.stack(1)[0], SELECTOR.free);
});
