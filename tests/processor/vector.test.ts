/** When vector instructions may run, what their memory operands may be, and what unmasked exceptions become. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FPU_REGS, XMM_REGS, XMM_STRIDE } from "../../src/isa/state.ts";
import { STATE } from "../../src/processor/memory-map.ts";
import { CR0, CR4, VECTOR } from "../../src/processor/registers.ts";
import { AT, Guest } from "./guest.ts";

const HLT = 0xf4;
const ENABLED = CR4.OSFXSR | CR4.OSXMMEXCPT;
const UNMASKED_ZE = 0x1d80;

const ADDPS = [0x0f, 0x58, 0xc1];
const PADDB_MMX = [0x0f, 0xfc, 0xc1];
const DIVSD = [0xf2, 0x0f, 0x5e, 0xc1];
const EMMS = [0x0f, 0x77];

interface Setting {
  readonly cr0?: number;
  readonly cr4?: number;
  readonly fsw?: number;
  readonly fcw?: number;
}

/** A guest about to run `code` and halt, with ESI at the data. */
function guestWith(code: readonly number[], { cr0 = 0, cr4 = ENABLED, fsw = 0, fcw = 0x37f }: Setting = {}): Guest {
  const guest = new Guest();
  const { cpu } = guest;
  cpu.set("cr0", (cpu.get("cr0") & ~(CR0.EM | CR0.TS)) | CR0.NE | cr0);
  cpu.set("cr4", cr4);
  cpu.set("fsw", fsw);
  cpu.set("fcw", fcw);
  guest.set("esi", AT.data);
  guest.bytes(AT.code, ...code, HLT);
  return guest;
}

/** Vector that `code` raises, or -1. */
const raised = (code: readonly number[], setting?: Setting): number => guestWith(code, setting).runToHandler();

const xmm = (guest: Guest, number: number): Uint8Array => {
  const at = STATE + XMM_REGS + number * XMM_STRIDE;
  return guest.cpu.u8.subarray(at, at + 16);
};

const setDouble = (guest: Guest, number: number, value: number): void =>
  guest.cpu.view.setFloat64(STATE + XMM_REGS + number * XMM_STRIDE, value, true);
const double = (guest: Guest, number: number): number =>
  guest.cpu.view.getFloat64(STATE + XMM_REGS + number * XMM_STRIDE, true);

test("SSE wants CR4.OSFXSR, and neither CR0.EM nor CR0.TS", () => {
  assert.equal(raised(ADDPS), -1);
  assert.equal(raised(ADDPS, { cr4: 0 }), VECTOR.UD);
  assert.equal(raised(ADDPS, { cr0: CR0.EM }), VECTOR.UD);
  assert.equal(raised(ADDPS, { cr0: CR0.TS }), VECTOR.NM);
  assert.equal(raised(ADDPS, { cr0: CR0.TS | CR0.EM }), VECTOR.UD);
  assert.equal(raised(ADDPS, { cr0: CR0.TS, cr4: 0 }), VECTOR.UD);
});

test("MMX wants neither CR0.EM nor CR0.TS nor a pending x87 exception, and no CR4.OSFXSR", () => {
  const pending = { fsw: 0x8081, fcw: 0x37e };
  for (const code of [PADDB_MMX, EMMS]) {
    assert.equal(raised(code, { cr4: 0 }), -1);
    assert.equal(raised(code, { cr0: CR0.EM }), VECTOR.UD);
    assert.equal(raised(code, { cr0: CR0.TS }), VECTOR.NM);
    assert.equal(raised(code, pending), VECTOR.MF);
    assert.equal(raised(code, { ...pending, cr0: CR0.TS }), VECTOR.NM);
  }
  assert.equal(raised(ADDPS, pending), -1, "SSE does not look at the x87");
});

test("what works on general registers needs no vector state", () => {
  const closed = { cr0: CR0.EM | CR0.TS, cr4: 0 };
  assert.equal(raised([0xf3, 0x0f, 0xb8, 0xc1], closed), -1, "POPCNT");
  assert.equal(raised([0xf2, 0x0f, 0x38, 0xf1, 0xc1], closed), -1, "CRC32");
  assert.equal(raised([0x0f, 0x38, 0xf0, 0x06], closed), -1, "MOVBE");
  assert.equal(raised([0x0f, 0xc3, 0x06], closed), -1, "MOVNTI");
  assert.equal(raised([0x0f, 0xae, 0xe8], closed), -1, "LFENCE");
});

test("CLTS opens the gate that MOV to CR0 closed, within one run", () => {
  const guest = new Guest();
  guest.cpu.set("cr4", ENABLED);
  guest.load(AT.code, `mov eax, cr0\nor eax, ${CR0.TS}\nmov cr0, eax\nclts\ndb 0x0f, 0x58, 0xc1\nhlt`);
  assert.equal(guest.runToHandler(), -1);
  guest.load(AT.code, `mov eax, cr0\nor eax, ${CR0.TS}\nmov cr0, eax\ndb 0x0f, 0x58, 0xc1\nhlt`);
  guest.set("eip", AT.code);
  assert.equal(guest.runToHandler(), VECTOR.NM);
});

test("128-bit operands in memory are aligned, but for those that say otherwise", () => {
  const at = (offset: number, code: readonly number[]): number => {
    const guest = guestWith(code);
    guest.set("esi", AT.data + offset);
    return guest.runToHandler();
  };
  const movaps = [0x0f, 0x28, 0x06];
  const store = [0x66, 0x0f, 0x7f, 0x06];
  const paddb = [0x66, 0x0f, 0xfc, 0x06];
  const movups = [0x0f, 0x10, 0x06];
  const lddqu = [0xf2, 0x0f, 0xf0, 0x06];
  const pcmpistri = [0x66, 0x0f, 0x3a, 0x63, 0x06, 0];
  const fxsave = [0x0f, 0xae, 0x06];
  for (const code of [movaps, store, paddb, fxsave]) {
    assert.equal(at(0, code), -1);
    assert.equal(at(8, code), VECTOR.GP);
  }
  for (const code of [movups, lddqu, pcmpistri]) assert.equal(at(1, code), -1);
  const guest = guestWith(movaps);
  guest.set("esi", AT.data + 1);
  guest.runToHandler();
  assert.deepEqual(guest.stack(2), [0, AT.code], "the error code is 0, and EIP that of the instruction");
});

test("a store across a page that cannot be written writes nothing", () => {
  const guest = guestWith([0x0f, 0x11, 0x06]);
  const setEntry = guest.page();
  const boundary = AT.data + 0x1000;
  setEntry(boundary, 0);
  xmm(guest, 0).fill(0x5a);
  guest.set("esi", boundary - 8);
  assert.equal(guest.runToHandler(), VECTOR.PF);
  assert.equal(guest.cpu.get("cr2"), boundary);
  assert.equal(guest.dword(boundary - 8), 0);
  setEntry(boundary, boundary | 7);
  guest.set("eip", AT.code);
  assert.equal(guest.runToHandler(), -1);
  assert.deepEqual([guest.dword(boundary - 8), guest.dword(boundary + 4)], [0x5a5a5a5a, 0x5a5a5a5a]);
});

test("a store into the code that runs next is seen", () => {
  // movups [next], xmm0 puts HLT where INC EAX stood.
  const guest = guestWith([0x0f, 0x11, 0x06, 0x40, 0x40]);
  guest.set("esi", AT.code + 3);
  xmm(guest, 0).fill(HLT);
  assert.equal(guest.runToHandler(), -1);
  assert.equal(guest.get("eax"), 0);
});

test("an unmasked SIMD exception is #XM, or #UD where the system knows no #XM; nothing is written", () => {
  const run = (cr4: number): Guest => {
    const guest = guestWith(DIVSD, { cr4 });
    guest.cpu.set("mxcsr", UNMASKED_ZE);
    setDouble(guest, 0, 1);
    setDouble(guest, 1, 0);
    return guest;
  };
  for (const [cr4, vector] of [
    [ENABLED, VECTOR.XM],
    [CR4.OSFXSR, VECTOR.UD],
  ] as const) {
    const guest = run(cr4);
    assert.equal(guest.runToHandler(), vector);
    assert.equal(double(guest, 0), 1);
    assert.equal(guest.cpu.get("mxcsr"), UNMASKED_ZE | 4, "the flag is set all the same");
    assert.equal(guest.stack(1)[0], AT.code);
  }
});

test("LDMXCSR and FXRSTOR refuse reserved bits", () => {
  const guest = guestWith([0x0f, 0xae, 0x16]);
  guest.setDword(AT.data, 0x1_1f80);
  assert.equal(guest.runToHandler(), VECTOR.GP);
  assert.equal(guest.cpu.get("mxcsr"), 0x1f80);
  const restore = guestWith([0x0f, 0xae, 0x0e]);
  restore.setDword(AT.data + 24, 0x1_1f80);
  assert.equal(restore.runToHandler(), VECTOR.GP);
});

test("FXSAVE and FXRSTOR are refused by CR0.EM and TS with #NM, and work without CR4.OSFXSR for the x87", () => {
  const fxsave = [0x0f, 0xae, 0x06];
  assert.equal(raised(fxsave, { cr0: CR0.EM }), VECTOR.NM);
  assert.equal(raised(fxsave, { cr0: CR0.TS }), VECTOR.NM);
  const guest = guestWith(fxsave, { cr4: 0 });
  xmm(guest, 0).fill(0xaa);
  assert.equal(guest.runToHandler(), -1);
  assert.equal(guest.word(AT.data), 0x37f);
  assert.equal(guest.dword(AT.data + 160), 0);
});

test("FXSAVE leaves what is reserved, across pages too, and FXRSTOR takes it back", () => {
  for (const place of [AT.data, AT.data + 0xf00]) {
    const guest = guestWith([0x0f, 0xae, 0x06, 0x0f, 0x57, 0xc0, 0x0f, 0xae, 0x0e]);
    guest.set("esi", place);
    guest.machine.memory.fill(0xee, place, place + 512);
    xmm(guest, 0).fill(0x11);
    xmm(guest, 7).fill(0x77);
    guest.cpu.view.setBigUint64(STATE + FPU_REGS, 0x8000_0000_0000_0000n, true);
    guest.cpu.view.setUint16(STATE + FPU_REGS + 8, 0x3fff, true);
    guest.cpu.set("ftw", 1);
    assert.equal(guest.runToHandler(), -1);
    const image = guest.machine.memory.subarray(place, place + 512);
    assert.deepEqual([image[4], image[5]], [1, 0], "abridged tags");
    assert.deepEqual([...image.subarray(160, 176)], new Array(16).fill(0x11));
    assert.deepEqual([...image.subarray(272, 288)], new Array(16).fill(0x77));
    assert.ok(
      image.subarray(464).every((byte) => byte === 0xee),
      "bytes for software",
    );
    assert.ok(
      xmm(guest, 0).every((byte) => byte === 0x11),
      "XORPS between the two is undone",
    );
  }
});

test("MASKMOVDQU writes the bytes that its mask names, or none", () => {
  const code = [0x66, 0x0f, 0xf7, 0xc1];
  const guest = guestWith(code);
  const setEntry = guest.page();
  const boundary = AT.data + 0x1000;
  setEntry(boundary, boundary | 5);
  guest.set("edi", boundary - 8);
  xmm(guest, 0).fill(0x33);
  xmm(guest, 1).set([0x80, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0x80]);
  assert.equal(guest.runToHandler(), VECTOR.PF);
  assert.equal(guest.dword(boundary - 8), 0);
  setEntry(boundary, boundary | 7);
  guest.set("eip", AT.code);
  assert.equal(guest.runToHandler(), -1);
  assert.deepEqual(
    [guest.dword(boundary - 8), guest.dword(boundary - 4), guest.dword(boundary)],
    [0x33, 0x33, 0x33000000],
  );
});

test("an instruction that faults leaves the x87 as it was", () => {
  const guest = guestWith([0x0f, 0xfc, 0x06], { fsw: 0x3800 });
  const setEntry = guest.page();
  setEntry(AT.data, 0);
  assert.equal(guest.runToHandler(), VECTOR.PF);
  assert.deepEqual([guest.cpu.get("fsw"), guest.cpu.get("ftw")], [0x3800, 0]);
});
