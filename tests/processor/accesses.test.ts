/** The slow paths of memory accesses that compiled regions import, as they call them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { WRITE_STATUS } from "../../src/processor/interpreter/accesses.ts";
import { MACHINE } from "../../src/processor/memory-map.ts";
import { FILL } from "../../src/processor/paging.ts";
import { CR4 } from "../../src/processor/registers.ts";
import { AT, Guest } from "./guest.ts";

/** Above the test machine's RAM: reads as ones. */
const NOWHERE = 0x2000000;

interface Accesses {
  readAddress(linear: number, bytes: number): number;
  modifyAddress(linear: number, bytes: number): number;
  writeSlow(linear: number, value: number, bytes: number): number;
  writeSlow64(linear: number, value: bigint): number;
  writeSlow128(linear: number, low: bigint, high: bigint): number;
}

function paged(): { guest: Guest; accesses: Accesses; setPage: (linear: number, entry: number) => void } {
  const guest = new Guest();
  const setPage = guest.page();
  const accesses = guest.machine.processor.exports as unknown as Accesses;
  return { guest, accesses, setPage };
}

/** The pending fault, taken back: vector, error code and CR2. */
function takeFault(guest: Guest): number[] {
  const fault = [guest.cpu.get("faultVector"), guest.cpu.get("faultError"), guest.cpu.get("cr2")];
  guest.cpu.set("faultVector", -1);
  return fault;
}

const bytesAt = (guest: Guest, address: number, bytes: number): number[] => [
  ...guest.cpu.u8.subarray(address, address + bytes),
];
const counting = Array.from({ length: 16 }, (_, i) => i + 1);

test("a read within a page has its address in memory; one over a page end, or of a device, that of a copy", () => {
  const { guest, accesses, setPage } = paged();
  for (const bytes of [1, 2, 4, 8, 16]) {
    guest.bytes(0x200800, ...counting);
    assert.equal(accesses.readAddress(0x200800, bytes), MACHINE + 0x200800);
    setPage(0x301000, 0x205007);
    for (let before = 1; before < bytes; before++) {
      guest.bytes(0x301000 - before, ...counting.slice(0, before));
      guest.bytes(0x205000, ...counting.slice(before));
      const at = accesses.readAddress(0x301000 - before, bytes);
      assert.deepEqual(bytesAt(guest, at, bytes), counting.slice(0, bytes));
    }
    setPage(0x302000, NOWHERE | 7);
    const device = accesses.readAddress(0x302800, bytes);
    assert.deepEqual(bytesAt(guest, device, bytes), new Array(bytes).fill(0xff));
    const half = accesses.readAddress(0x302000 - 1, bytes);
    assert.equal(bytesAt(guest, half, bytes)[bytes - 1], bytes === 1 ? guest.cpu.u8[MACHINE + 0x205fff] : 0xff);
  }
});

test("reads and stores that fault leave the fault, and have done nothing", () => {
  const { guest, accesses, setPage } = paged();
  setPage(0x300000, 0);
  setPage(0x301000, 0x201005);
  assert.equal(accesses.readAddress(0x300010, 4), FILL.fault);
  assert.deepEqual(takeFault(guest), [14, 0, 0x300010]);
  assert.equal(accesses.readAddress(0x300000 - 3, 8), FILL.fault);
  assert.deepEqual(takeFault(guest), [14, 0, 0x300000]);
  guest.setDword(0x2ffffc, 0x12345678);
  assert.equal(accesses.writeSlow64(0x2ffffc, -1n), WRITE_STATUS.fault);
  assert.deepEqual(takeFault(guest), [14, 2, 0x300000]);
  assert.equal(guest.dword(0x2ffffc), 0x12345678);
  assert.equal(accesses.writeSlow(0x301000, 1, 4), WRITE_STATUS.fault);
  assert.deepEqual(takeFault(guest), [14, 3, 0x301000]);
  assert.equal(accesses.modifyAddress(0x301000, 4), FILL.fault);
  assert.deepEqual(takeFault(guest), [14, 3, 0x301000]);
});

test("stores of all sizes reach memory, within a page and over a page end", () => {
  const { guest, accesses, setPage } = paged();
  setPage(0x301000, 0x205007);
  const value = counting.reduceRight((all, byte) => (all << 8n) | BigInt(byte), 0n);
  const low = BigInt.asUintN(64, value);
  for (const bytes of [1, 2, 4, 8, 16]) {
    for (const before of [0x800, ...counting.slice(0, bytes - 1)]) {
      const linear = 0x301000 - before;
      guest.cpu.u8.fill(0, MACHINE + 0x300000, MACHINE + 0x301000);
      guest.cpu.u8.fill(0, MACHINE + 0x205000, MACHINE + 0x206000);
      guest.cpu.flushAll();
      const status =
        bytes === 16
          ? accesses.writeSlow128(linear, low, value >> 64n)
          : bytes === 8
            ? accesses.writeSlow64(linear, low)
            : accesses.writeSlow(linear, Number(BigInt.asIntN(32, low)), bytes);
      assert.equal(status, WRITE_STATUS.done);
      const here = Math.min(before, bytes);
      const found = [
        ...bytesAt(guest, MACHINE + 0x301000 - before, here),
        ...bytesAt(guest, MACHINE + 0x205000, bytes - here),
      ];
      assert.deepEqual(found, counting.slice(0, bytes), `${bytes} bytes, ${before} before the page end`);
      assert.equal(bytesAt(guest, MACHINE + 0x205000, 32).filter((b) => b !== 0).length, bytes - here);
    }
  }
});

test("stores and read-modify-writes of decoded code are left to the interpreter, those beside it are not", () => {
  const { guest, accesses } = paged();
  const code = AT.code + 0x3000;
  guest.load(code, "inc eax\nret");
  guest.load(AT.code, `call ${code}\nhlt`);
  guest.run();
  for (const write of [
    () => accesses.writeSlow(code + 1, 0, 1),
    () => accesses.writeSlow(code - 3, 0, 4),
    () => accesses.writeSlow64(code - 7, 0n),
    () => accesses.writeSlow128(code - 15, 0n, 0n),
  ]) {
    assert.equal(write(), WRITE_STATUS.code);
    assert.equal(accesses.modifyAddress(code - 3, 4), FILL.elsewhere);
    assert.deepEqual(bytesAt(guest, MACHINE + code, 2), [0x40, 0xc3]);
  }
  assert.equal(accesses.writeSlow(code + 2, 0x55, 1), WRITE_STATUS.done);
  assert.equal(accesses.writeSlow(code - 4, 0x66, 4), WRITE_STATUS.done);
  assert.equal(accesses.modifyAddress(code + 2, 4), MACHINE + code + 2);
  assert.deepEqual(bytesAt(guest, MACHINE + code - 4, 8), [0x66, 0, 0, 0, 0x40, 0xc3, 0x55, 0]);
});

test("read-modify-writes of devices and over page ends are left to the interpreter, without a fault", () => {
  const { guest, accesses, setPage } = paged();
  setPage(0x300000, NOWHERE | 7);
  setPage(0x302000, 0);
  assert.equal(accesses.modifyAddress(0x300000, 4), FILL.elsewhere);
  assert.equal(accesses.modifyAddress(0x301ffe, 4), FILL.elsewhere);
  assert.equal(guest.cpu.get("faultVector"), -1);
  assert.equal(accesses.modifyAddress(0x303000, 4), MACHINE + 0x303000);
});

test("while data breakpoints are set, everything goes where they are looked at", () => {
  const { guest, accesses } = paged();
  const { cpu } = guest;
  cpu.set("cr4", cpu.get("cr4") | CR4.DE);
  cpu.watches = [{ linear: 0x300000, bytes: 4, write: false, bit: 1 }];
  assert.equal(accesses.modifyAddress(0x300000, 4), FILL.elsewhere);
  assert.equal(accesses.writeSlow(0x300000, 1, 4), WRITE_STATUS.code);
  cpu.watchHits = 0;
  accesses.readAddress(0x300000, 4);
  assert.equal(cpu.watchHits, 1);
  assert.ok(cpu.host(0x300000, false) < 0);
  cpu.watchHits = 0;
  cpu.watches = [];
});
