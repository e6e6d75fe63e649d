/** The I/O APIC: entries, edges and levels, and the end of a level-triggered interrupt. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApicMessage } from "../../src/hypervisor/apic-registers.ts";
import { IoApic } from "../../src/hypervisor/io-apic.ts";

const MASKED = 0x10000;
const LEVEL = 0x8000;

function board(): {
  apic: IoApic;
  sent: ApicMessage[];
  set(register: number, value: number): void;
  get(register: number): number;
} {
  const sent: ApicMessage[] = [];
  const apic = new IoApic({ id: 1, inputs: 24, send: (message) => sent.push(message) > 0 });
  return {
    apic,
    sent,
    set(register, value) {
      apic.write(0, 4, register);
      apic.write(0x10, 4, value);
    },
    get(register) {
      apic.write(0, 4, register);
      return apic.read(0x10, 4);
    },
  };
}

test("identification, version and entries are behind an index; reserved bits stay clear", () => {
  const { apic, get, set } = board();
  assert.deepEqual(
    [get(0), get(1), get(2), get(0x10), get(0x3f), get(0x40)],
    [0x01000000, 0x00170011, 0x01000000, MASKED, 0, 0],
  );
  set(0, 0xff000000);
  set(0x12, 0xffffffff);
  set(0x13, 0xffffffff);
  assert.deepEqual([get(0), get(0x12), get(0x13)], [0x0f000000, 0x1afff, 0xff000000]);
  assert.deepEqual([apic.read(0, 4), apic.read(0x20, 4)], [0x13, 0]);
});

test("an edge sends one message; while masked it is lost", () => {
  const { apic, sent, set } = board();
  apic.setInput(4, true);
  set(0x19, 0x05000000);
  set(0x18, 0x0931);
  assert.deepEqual(sent, []);
  apic.setInput(4, false);
  apic.setInput(4, true);
  apic.setInput(4, true);
  assert.deepEqual(sent, [{ destination: 5, logical: true, mode: 1, vector: 0x31, level: false }]);
});

test("a level is sent until it goes, once for each end of interrupt", () => {
  const { apic, sent, set, get } = board();
  apic.setInput(10, true);
  set(0x24, LEVEL | 0x41);
  assert.equal(sent.length, 1);
  assert.equal(get(0x24), LEVEL | 0x4041);
  apic.setInput(10, false);
  apic.setInput(10, true);
  apic.endOfInterrupt(0x42);
  assert.equal(sent.length, 1);
  apic.endOfInterrupt(0x41);
  assert.equal(sent.length, 2);
  apic.setInput(10, false);
  apic.endOfInterrupt(0x41);
  assert.deepEqual([sent.length, get(0x24)], [2, LEVEL | 0x41]);
});

test("a level that waits behind its mask is sent when that opens, and an entry made edge-triggered is served no more", () => {
  const { apic, sent, set, get } = board();
  set(0x24, MASKED | LEVEL | 0x41);
  apic.setInput(10, true);
  assert.equal(sent.length, 0);
  set(0x24, LEVEL | 0x41);
  assert.equal(sent.length, 1);
  set(0x24, 0x41);
  assert.deepEqual([sent.length, get(0x24)], [1, 0x41]);
});
