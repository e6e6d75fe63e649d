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
