/** The buses: claims, splitting of wide accesses, and what answers where nobody does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VmxonError } from "../../src/common/errors.ts";
import type { AccessSize, PortDevice } from "../../src/hypervisor/device.ts";
import { DomainIoBus } from "../../src/hypervisor/io-bus.ts";

/** Records accesses; reads give the offset in each byte. */
function recorder(): PortDevice & { readonly log: string[] } {
  const log: string[] = [];
  return {
    log,
    read(offset: number, size: AccessSize) {
      log.push(`r${offset}.${size}`);
      return size === 1 ? offset : size === 2 ? offset | ((offset + 1) << 8) : offset * 0x01010101;
    },
    write(offset: number, size: AccessSize, value: number) {
      log.push(`w${offset}.${size}=${value.toString(16)}`);
    },
  };
}

test("accesses reach the claim at its own offsets; wide ones to byte-wide devices are split, lowest port first", () => {
  const bus = new DomainIoBus();
  const wide = recorder();
  const narrow = recorder();
  bus.claimPorts({ name: "wide", base: 0x100, count: 8, device: wide });
  bus.claimPorts({ name: "narrow", base: 0x200, count: 4, device: narrow, width: 1 });
  bus.out(0x104, 4, 0xdeadbeef);
  bus.out(0x200, 4, 0x44332211);
  assert.equal(bus.in(0x202, 2), 0x0302);
  assert.deepEqual(wide.log, ["w4.4=deadbeef"]);
  assert.deepEqual(narrow.log, ["w0.1=11", "w1.1=22", "w2.1=33", "w3.1=44", "r2.1", "r3.1"]);
});

test("an access that leaves a claim is split at its end", () => {
  const bus = new DomainIoBus();
  const a = recorder();
  const b = recorder();
  bus.claimPorts({ name: "a", base: 0x10, count: 1, device: a });
  bus.claimPorts({ name: "b", base: 0x11, count: 1, device: b });
  bus.out(0x10, 2, 0xbbaa);
  assert.deepEqual([a.log, b.log], [["w0.1=aa"], ["w0.1=bb"]]);
});

test("ports and memory that nobody claims read as ones and swallow writes", () => {
  const bus = new DomainIoBus();
  assert.deepEqual([bus.in(0x500, 1), bus.in(0x500, 2), bus.in(0xffff, 4)], [0xff, 0xffff, 0xffffffff]);
  bus.out(0xffff, 4, 1);
  assert.equal(bus.mmioRead(0xfee00000, 4), 0xffffffff);
  bus.mmioWrite(0xfee00000, 4, 0);
});

test("claims that overlap are refused, naming both", () => {
  const bus = new DomainIoBus();
  bus.claimPorts({ name: "first", base: 0x60, count: 2, device: recorder() });
  bus.claimMmio({ name: "vga", base: 0xa0000, size: 0x20000, device: recorder() });
  for (const claim of [
    () => bus.claimPorts({ name: "second", base: 0x61, count: 1, device: recorder() }),
    () => bus.claimMmio({ name: "second", base: 0xb8000, size: 0x1000, device: recorder() }),
  ]) {
    assert.throws(
      claim,
      (error) => error instanceof VmxonError && error.code === "config" && /second.*(first|vga)/.test(error.message),
    );
  }
});

test("claims move; where they meet, fixed ones are seen first, then those of lower order", () => {
  const bus = new DomainIoBus();
  const answer = (value: number): PortDevice => ({ read: () => value, write() {} });
  bus.claimPorts({ name: "fixed", base: 0x60, count: 1, device: answer(1) });
  bus.claimMmio({ name: "fixed", base: 0xfec00000, size: 0x1000, device: answer(1) });
  const second = bus.movablePorts({ name: "second", count: 4, device: answer(3) }, 2);
  const first = bus.movablePorts({ name: "first", count: 4, device: answer(2) }, 1);
  const memory = [2, 1].map((order) => bus.movableMmio({ name: "m", size: 0x100, device: answer(order + 1) }, order));
  const changes: [number, number][] = [];
  bus.onPortsChanged = (base, count) => changes.push([base, count]);
  second.move(0x5e);
  first.move(0x5f);
  assert.deepEqual(
    [0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x62, 0x63].map((port) => bus.in(port, 1)),
    [0xff, 3, 2, 1, 2, 2, 0xff],
  );
  first.move(undefined);
  assert.deepEqual([bus.in(0x5f, 1), bus.in(0x62, 1)], [3, 0xff]);
  assert.deepEqual(changes, [
    [0x5e, 4],
    [0x5f, 4],
    [0x5f, 4],
  ]);
  memory[0]!.move(0xfebfff80);
  memory[1]!.move(0xfec00000);
  assert.deepEqual(
    [0xfebfff7c, 0xfebfff80, 0xfec00000, 0xfec00ffc].map((gpa) => bus.mmioRead(gpa, 1)),
    [0xff, 3, 1, 1],
  );
  memory[1]!.move(0xfebfff40);
  assert.deepEqual(
    [0xfebfff7c, 0xfebfff80, 0xfec0003c].map((gpa) => bus.mmioRead(gpa, 1)),
    [2, 2, 1],
  );
});

test("what a guest puts at the end of a space is cut off there, and beyond it is nowhere", () => {
  const bus = new DomainIoBus();
  const ports = bus.movablePorts({ name: "p", count: 16, device: recorder() }, 0);
  const memory = bus.movableMmio({ name: "m", size: 0x2000, device: recorder() }, 0);
  for (const base of [0xfff8, 0x12340]) ports.move(base);
  for (const base of [0xfffff000, 2 ** 32]) memory.move(base);
  assert.deepEqual([bus.in(0xfff8, 1), bus.mmioRead(0xfffff000, 1)], [0xff, 0xff]);
  ports.move(0xfff8);
  memory.move(0xfffff000);
  assert.deepEqual([bus.in(0xfff9, 1), bus.mmioRead(0xfffff001, 1), bus.in(0, 1)], [1, 1, 0xff]);
});
