/** System instructions in WebAssembly against the TypeScript helpers behind them, and what they note for later. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { assemble } from "../../src/firmware/assembler.ts";
import { EXIT, PROC } from "../../src/processor/exits.ts";
import { BLOCKING, CR4 } from "../../src/processor/registers.ts";
import { Random } from "../oracle/random.ts";
import { AT, GATE, Guest, SELECTOR } from "./guest.ts";
import { fingerprint } from "./random-guest.ts";

const IF = 0x200;
const RF = 0x10000;
const DPL3 = 0x60;

/**
 * Instructions that have both ways of being carried out, in 32-bit and 16-bit forms. Those in bytes: POP to [esi],
 * [esp+4], and of a word to [edi]; FXSAVE and FXRSTOR of fixed places, FXSAVE [edi]; FLD1, FLDPI, MOVD xmm1, eax.
 */
const LINES = [
  "int 0x80", "int 0x81", "push cs", "push ds", "push es", "push fs", "push gs", "push ss", "pop ds", "pop es", "pop fs",
  "pop gs", "mov ax, ds", "mov eax, cr0", "mov eax, cr2", "mov es, ax", "mov ds, bx", "mov fs, cx", "mov gs, dx",
  "mov ss, ax", "pushad", "popad", "enter 16, 0", "leave", "cli", "sti", "pushfd", "popfd", "sysenter", "sysexit",
  "iretd", "retf", "retf 4", "mov ecx, 9\nrep movsb", "mov ecx, 40\nrep movsd", "mov ecx, 70\nrep stosb",
  "mov ecx, 33\nrep stosd", "mov ecx, 100\nrepne scasb", "mov ecx, 80\nrepe cmpsd", "mov ecx, 900\nrep movsw", "std",
  "cld", "lds eax, [esi]", "les edx, [edi]", "ud2", "xlatb", "clts", "lahf", "sahf", "push 0x202", "push 0x1b",
  "push 0x23", "push 0x08", "push 0x10", "push eax", "pop eax", "db 8Fh, 06h", "db 8Fh, 44h, 24h, 04h", "db 66h, 8Fh, 07h", "mov esi, 0x30ff0",
  "db 0Fh, 0AEh, 05h, 00h, 04h, 03h, 00h", "db 0Fh, 0AEh, 0Dh, 00h, 04h, 03h, 00h", "db 0Fh, 0AEh, 07h", "db 0Fh, 0AEh, 0Dh, 10h, 04h, 03h, 00h", "db 0D9h, 0E8h", "db 0D9h, 0EBh", "fninit", "db 66h, 0Fh, 6Eh, 0C8h",
  "mov edi, 0x31ffa", "mov eax, 0x10", "mov bx, 0x23", "mov esp, 0x9ff4",
]; // biome-ignore format: a list

const CODE_BYTES = 0x1000;

/** A guest whose code is those instructions at random; its handlers return or go on elsewhere in it. */
function systemGuest(seed: number): Guest {
  const random = new Random(seed);
  const guest = new Guest(random.oneIn(2) ? "user32" : "protected32");
  if (random.oneIn(2)) guest.page();
  const { cpu } = guest;
  const starts: number[] = [];
  for (let at: number = AT.code; at < AT.code + CODE_BYTES; ) {
    const { code } = assemble(LINES[random.below(LINES.length)]!, { origin: at, bits: 32 });
    guest.machine.memory.set(code, at);
    starts.push(at);
    at += code.length;
  }
  const anywhere = (): number => starts[random.below(starts.length)]!;
  for (let vector = 0; vector < 256; vector++) {
    guest.gate(vector, (random.oneIn(2) ? GATE.interrupt : GATE.trap) | DPL3, undefined, anywhere());
  }
  guest.load(0x6000, "iretd");
  guest.gate(0x80, GATE.trap | DPL3, undefined, 0x6000);
  if (random.oneIn(2)) {
    cpu.set("cr4", cpu.get("cr4") | CR4.OSFXSR);
    cpu.updateVectorGate();
  }
  cpu.set("sysenterCs", random.oneIn(4) ? 0 : SELECTOR.code0);
  cpu.set("sysenterEsp", AT.stack0);
  cpu.set("sysenterEip", anywhere());
  guest.set("eip", anywhere());
  for (const register of ["eax", "ecx", "edx", "ebx"]) guest.set(register, random.below(0x60));
  guest.set("edx", anywhere());
  guest.set("esi", AT.data + random.below(0x2000));
  guest.set("edi", AT.data + random.below(0x2000));
  cpu.setEflags(2 | (random.oneIn(2) ? IF : 0) | (random.oneIn(3) ? 0x3000 : 0) | (random.oneIn(9) ? 0x100 : 0));
  guest.machine.invalidate();
  return guest;
}

/** Run with natives and without: the same instructions, the same state. */
function compare(seed: number, total: number): void {
  const outcome = (natives: boolean): unknown => {
    const guest = systemGuest(seed);
    const { processor } = guest.machine;
    processor.translator.natives = natives;
    guest.machine.invalidate();
    const start = processor.instructions;
    const left = (): number => total - (processor.instructions - start);
    let reason: number = EXIT.preemptionTimer;
    // String instructions use the timer up faster than one tick each.
    while (reason === EXIT.preemptionTimer && left() > 0) {
      guest.cpu.set("preemptionTimer", left());
      reason = processor.run();
    }
    processor.translator.natives = true;
    const state = (["interruptibility", "fcw", "fsw", "ftw", "fop", "fip", "mxcsr"] as const).map((f) =>
      guest.cpu.get(f),
    );
    return [reason, left(), fingerprint(guest), state];
  };
  assert.deepEqual(outcome(true), outcome(false));
}

test("system code does the same with and without natives", () => {
  fc.assert(fc.property(fc.nat(), fc.integer({ min: 1, max: 300 }), compare), { numRuns: 300 });
});

test("STI holds interrupts off for one instruction, wherever the run is cut", () => {
  const state = (budget: number): [number, number] => {
    const guest = new Guest();
    guest.load(AT.code, "sti\nnop\nnop\nnop");
    guest.cpu.set("preemptionTimer", budget);
    guest.machine.processor.run();
    return [guest.cpu.get("interruptibility") & BLOCKING.STI, guest.get("eip") - AT.code];
  };
  assert.deepEqual(state(1), [BLOCKING.STI, 1]);
  assert.deepEqual(state(2), [0, 2]);
  assert.deepEqual(state(3), [0, 3]);
});

test("an interrupt window opens behind the instruction that follows STI", () => {
  const guest = new Guest();
  guest.load(AT.code, "sti\nnop\nnop");
  guest.cpu.set("procControls", guest.cpu.get("procControls") | PROC.interruptWindow);
  guest.cpu.set("preemptionTimer", 100);
  assert.equal(guest.machine.processor.run(), EXIT.interruptWindow);
  assert.equal(guest.get("eip"), AT.code + 2);
  guest.cpu.set("procControls", guest.cpu.get("procControls") & ~PROC.interruptWindow);
});

test("RF from IRET lasts until the next instruction is done", () => {
  const flags = (budget: number): number => {
    const guest = new Guest();
    guest.load(AT.code, `mov eax, ${RF | 2}\npush eax\npush ${SELECTOR.code0}\npush after\niretd\nafter: nop\nnop`);
    guest.cpu.set("preemptionTimer", budget);
    guest.machine.processor.run();
    return guest.cpu.eflags() & RF;
  };
  assert.deepEqual([flags(5), flags(6), flags(7)], [RF, 0, 0]);
});

test("REP MOVS that overlaps forward replicates, backward moves, across pages", () => {
  for (const [from, to, count] of [
    [0x30ff0, 0x30ff1, 100],
    [0x30ff0, 0x30ff4, 100],
    [0x30ff8, 0x30f00, 200],
  ] as const) {
    for (const size of [1, 2, 4] as const) {
      const guest = new Guest();
      const { memory } = guest.machine;
      for (let i = 0; i < 0x1000; i++) memory[0x30800 + i] = (i * 7) ^ (i >> 3);
      const expected = memory.slice();
      for (let i = 0; i < count; i++) {
        expected.set(expected.slice(from + i * size, from + (i + 1) * size), to + i * size);
      }
      guest.load(AT.code, `rep movs${{ 1: "b", 2: "w", 4: "d" }[size]}\nhlt`);
      expected.set(memory.subarray(AT.code, AT.code + 16), AT.code);
      guest.set("esi", from);
      guest.set("edi", to);
      guest.set("ecx", count);
      guest.run();
      const at = 0x30000;
      assert.deepEqual(memory.slice(at, at + 0x3000), expected.slice(at, at + 0x3000));
      assert.deepEqual([guest.get("ecx"), guest.get("edi")], [0, to + count * size]);
    }
  }
});
