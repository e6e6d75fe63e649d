/** Segment loads and accesses by real instructions, against a plain model of SDM 3A chapters 3 and 5. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SEG } from "../../src/isa/state.ts";
import { AT, Guest, SELECTOR } from "./guest.ts";

const GP = 13;
const SS = 12;
const NP = 11;

interface Descriptor {
  /** Bits 3–0. */
  readonly type: number;
  /** Code or data, not system. */
  readonly s: boolean;
  readonly dpl: number;
  readonly present: boolean;
  readonly limit: number;
  readonly big: boolean;
  readonly granular: boolean;
}

type Result = { vector: number; error: number } | "done";

const descriptor: fc.Arbitrary<Descriptor> = fc.record({
  type: fc.integer({ min: 0, max: 15 }),
  s: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  dpl: fc.integer({ min: 0, max: 3 }),
  present: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  limit: fc.constantFrom(0, 1, 2, 3, 0xfe, 0xff, 0x100, 0xfff, 0xffff, 0xfffff),
  big: fc.boolean(),
  granular: fc.boolean(),
});

const BASE = 0x40000;
const at = SELECTOR.free;

function install(guest: Guest, d: Descriptor): void {
  const rights =
    d.type |
    (d.s ? 0x10 : 0) |
    (d.dpl << 5) |
    (d.present ? 0x80 : 0) |
    (d.big ? 0x4000 : 0) |
    (d.granular ? 0x8000 : 0);
  guest.descriptor(at, BASE, d.limit, rights);
}

const isCode = (d: Descriptor): boolean => (d.type & 8) !== 0;

/** MOV to a data segment register (SDM 2B MOV). */
function modelLoad(d: Descriptor, register: string, rpl: number, cpl: number): Result {
  const error = at;
  if (register === "ss") {
    if (rpl !== cpl || !d.s || isCode(d) || !(d.type & 2) || d.dpl !== cpl) return { vector: GP, error };
    return d.present ? "done" : { vector: SS, error };
  }
  if (!d.s || (isCode(d) && !(d.type & 2))) return { vector: GP, error };
  const conforming = isCode(d) && (d.type & 4) !== 0;
  if (!conforming && (rpl > d.dpl || cpl > d.dpl)) return { vector: GP, error };
  return d.present ? "done" : { vector: NP, error };
}

/** An access of `bytes` at `offset` through a loaded segment (SDM 3A 5.3, 5.5). */
function modelAccess(d: Descriptor, register: string, offset: number, bytes: number, write: boolean): Result {
  const bad = { vector: register === "ss" ? SS : GP, error: 0 };
  if (isCode(d) ? write || !(d.type & 2) : write && !(d.type & 2)) return bad;
  const limit = d.granular ? d.limit * 4096 + 4095 : d.limit;
  const last = offset + bytes - 1;
  if (!isCode(d) && d.type & 4) {
    const top = d.big ? 0xffffffff : 0xffff;
    return offset > limit && last <= top ? "done" : bad;
  }
  return last <= limit ? "done" : bad;
}

function outcome(guest: Guest): Result {
  const { cpu } = guest;
  cpu.set("exceptionBitmap", -1);
  const result = guest.run(1);
  cpu.set("exceptionBitmap", 0);
  if (result.kind === "exception") return { vector: result.vector ?? -1, error: result.errorCode ?? -1 };
  assert.equal(result.kind, "done");
  return "done";
}

const OPERANDS = { 1: "byte", 2: "word", 4: "dword" } as const;
const REGISTERS = { 1: "al", 2: "ax", 4: "eax" } as const;
const offsets = fc.oneof(
  fc.constantFrom(
    0,
    1,
    2,
    3,
    0xfd,
    0xfe,
    0xff,
    0x100,
    0x101,
    0xffe,
    0xfff,
    0x1000,
    0xfffc,
    0xfffd,
    0xffff,
    0x10000,
    0xfffff,
    0x100000,
  ),
  fc.integer({ min: 0, max: 0x20000 }),
);

test("segment loads and accesses in protected mode agree with the model", () => {
  fc.assert(
    fc.property(
      descriptor,
      fc.constantFrom("ds", "es", "fs", "gs", "ss"),
      fc.integer({ min: 0, max: 3 }),
      fc.boolean(),
      fc.array(
        fc.record({ offset: offsets, bytes: fc.constantFrom(1, 2, 4), write: fc.boolean(), modify: fc.boolean() }),
        {
          minLength: 1,
          maxLength: 6,
        },
      ),
      (d, register, rpl, user, accesses) => {
        const guest = new Guest(user ? "user32" : "protected32");
        const code = user ? AT.user : AT.code;
        install(guest, d);
        guest.set("eax", at | rpl);
        guest.load(code, `mov ${register}, ax`);
        const expected = modelLoad(d, register, rpl, user ? 3 : 0);
        const before = guest.cpu.segment(SEG[register.toUpperCase() as "DS"], "selector");
        assert.deepEqual(outcome(guest), expected);
        const segment = SEG[register.toUpperCase() as "DS"];
        if (expected !== "done") {
          assert.equal(guest.cpu.segment(segment, "selector"), before, "a refused load changes nothing");
          return;
        }
        assert.equal(guest.cpu.segment(segment, "selector"), at | rpl);
        assert.equal(guest.dword(AT.gdt + at + 4) & 0x100, 0x100, "the descriptor is marked accessed");
        for (const { offset, bytes, write, modify } of accesses) {
          const size = bytes as 1 | 2 | 4;
          guest.set("ebx", offset);
          guest.set("eip", code);
          const operand = `${OPERANDS[size]} [${register}:ebx]`;
          const text = !write
            ? `mov ${REGISTERS[size]}, [${register}:ebx]`
            : modify
              ? `inc ${operand}`
              : `mov [${register}:ebx], ${REGISTERS[size]}`;
          guest.load(code, text);
          const result = outcome(guest);
          // Beyond RAM there is nothing to fault on: only the segment decides.
          assert.deepEqual(result, modelAccess(d, register, offset, bytes, write), `${text} at ${offset.toString(16)}`);
        }
      },
    ),
    { numRuns: 1500 },
  );
});

test("pushes and string instructions keep to expand-down stacks and segments", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(0, 0xf, 0xff, 0xfff),
      fc.integer({ min: -12, max: 12 }),
      fc.integer({ min: 1, max: 40 }),
      fc.boolean(),
      (limit, delta, count, down) => {
        const guest = new Guest();
        install(guest, { type: 7, s: true, dpl: 0, present: true, limit, big: true, granular: false });
        guest.set("eax", at);
        guest.load(AT.code, "mov es, ax");
        guest.run(1);
        const start = limit + 1 + (down ? count : 0) + delta;
        if (start < 0) return;
        guest.set("edi", start);
        guest.set("ecx", count);
        guest.cpu.setEflags(down ? 0x402 : 2);
        guest.load(AT.code, "rep stosb");
        guest.set("eip", AT.code);
        const result = outcome(guest);
        const stored = Array.from({ length: count }, (_, i) => (down ? start - i : start + i)).findIndex(
          (o) => o <= limit,
        );
        if (stored < 0) {
          assert.equal(result, "done");
          assert.equal(guest.get("ecx"), 0);
        } else {
          assert.deepEqual(result, { vector: GP, error: 0 });
          assert.equal(guest.get("ecx"), count - stored, "what lies above the limit is done");
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("a null selector may be loaded into data segments, and faults when used", () => {
  for (const register of ["ds", "es", "fs", "gs"]) {
    const guest = new Guest();
    guest.set("eax", 3);
    guest.load(AT.code, `mov ${register}, ax`);
    assert.equal(outcome(guest), "done");
    guest.load(AT.code, `mov al, [${register}:ebx]`);
    guest.set("eip", AT.code);
    assert.deepEqual(outcome(guest), { vector: GP, error: 0 });
  }
  const guest = new Guest();
  guest.load(AT.code, "mov ss, ax");
  assert.deepEqual(outcome(guest), { vector: GP, error: 0 });
});

test("a selector beyond its table is a general-protection fault with the selector", () => {
  const guest = new Guest();
  guest.set("eax", 0x103);
  guest.load(AT.code, "mov ds, ax");
  assert.deepEqual(outcome(guest), { vector: GP, error: 0x100 });
  guest.set("eax", 0x0f);
  guest.set("eip", AT.code);
  assert.deepEqual(outcome(guest), { vector: GP, error: 0x0c }, "and so is one of a missing local table");
});

test("in real mode segments are 64 KB at sixteen times the selector, whatever their type", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffff }),
      offsets,
      fc.constantFrom(1, 2, 4),
      fc.boolean(),
      (selector, offset, bytes, write) => {
        const guest = new Guest("real");
        const size = bytes as 1 | 2 | 4;
        guest.set("eax", selector);
        guest.set("ebx", offset);
        guest.load(
          AT.code,
          `mov gs, ax\n${write ? `mov [gs:ebx], ${REGISTERS[size]}` : `mov ${REGISTERS[size]}, [gs:ebx]`}`,
          16,
          0,
        );
        assert.equal(outcome(guest), "done");
        assert.equal(guest.cpu.segment(SEG.GS, "base"), selector * 16);
        const expected = offset + bytes - 1 <= 0xffff ? "done" : { vector: GP, error: 0 };
        assert.deepEqual(outcome(guest), expected);
      },
    ),
    { numRuns: 300 },
  );
});

test("in virtual-8086 mode too, and limits of earlier protected-mode segments do not survive", () => {
  const guest = new Guest();
  const { cpu } = guest;
  cpu.setEflags(0x23002);
  for (let segment: number = SEG.ES; segment <= SEG.GS; segment++) cpu.setSegment(segment, 0, 0, 0xffff, 0xf3);
  cpu.setSegment(SEG.CS, AT.user >> 4, AT.user, 0xffff, 0xf3);
  cpu.set("cpl", 3);
  cpu.updateMode();
  guest.set("eip", 0);
  guest.set("eax", 0x1234);
  guest.set("ebx", 0xfffe);
  guest.load(AT.user, "mov ds, ax\nmov cx, [ebx]\nmov ecx, [ebx]", 16, 0);
  assert.equal(outcome(guest), "done");
  assert.deepEqual([cpu.segment(SEG.DS, "base"), cpu.segment(SEG.DS, "limit") >>> 0], [0x12340, 0xffff]);
  assert.equal(outcome(guest), "done");
  assert.deepEqual(outcome(guest), { vector: GP, error: 0 });
});

test("limits loaded in protected mode survive in real mode: unreal mode", () => {
  const guest = new Guest();
  guest.view.setUint32(0x500000, 0xcafe, true);
  guest.descriptor(SELECTOR.code16, AT.code, 0xffff, 0x9a);
  guest.load(
    AT.code,
    `mov ax, ${SELECTOR.data0}
    mov ds, ax
    jmp ${SELECTOR.code16}:(sixteen - ${AT.code})
    bits 16
    sixteen:
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    jmp ${AT.code >> 4}:(real - ${AT.code})
    real:
    mov ax, 0
    mov ds, ax
    mov ebx, 0x500000
    mov ecx, [ebx]
    hlt`,
  );
  assert.equal(guest.run().kind, "halt");
  assert.equal(guest.get("ecx"), 0xcafe);
  assert.equal(guest.run(1).kind, "halt", "and the guest can be entered again");
});

test("a null segment of protected mode is 64 KB again once real mode loads it", () => {
  const guest = new Guest("real");
  guest.cpu.setSegment(SEG.FS, 0, 0, 0, 0x10000);
  guest.set("eax", 0x1000);
  guest.load(AT.code, "mov fs, ax\nmov al, [fs:0xffff]\nhlt", 16, 0);
  assert.equal(guest.run().kind, "halt");
});

test("fetches beyond the limit of CS fault, also in the middle of an instruction", () => {
  for (const [limit, start, expected] of [
    [0x14, 0x10, "done"],
    [0x13, 0x10, { vector: GP, error: 0 }],
    [0x0f, 0x10, { vector: GP, error: 0 }],
  ] as const) {
    const guest = new Guest();
    guest.descriptor(at, AT.code, limit, 0x409a);
    guest.load(AT.code + start, "mov eax, 0x12345678");
    guest.cpu.setSegment(SEG.CS, at, AT.code, limit, 0x409b);
    guest.cpu.updateMode();
    guest.set("eip", start);
    assert.deepEqual(outcome(guest), expected);
  }
});
