/** Multiboot kernels: segments, modules, the information structure, and which are refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VmxonError } from "../../src/common/errors.ts";
import { findMultibootHeader, loadMultiboot } from "../../src/toolstack/multiboot.ts";
import { memoryMap, multibootKernel } from "./kernels.ts";

const base = {
  name: "kernel",
  kernel: multibootKernel(),
  modules: [],
  commandLine: "kernel a=b",
  memoryMap: memoryMap(16),
};

test("an ELF kernel is placed by its physical addresses and entered at the physical entry point", () => {
  const loaded = loadMultiboot(base);
  assert.equal(loaded.state.eip, 0x100020);
  assert.equal(loaded.state.eax, 0x2badb002);
  const [code, bss] = loaded.writes;
  assert.deepEqual([code!.gpa, code!.bytes.length], [0x100000, 0x1000]);
  assert.deepEqual([bss!.gpa, bss!.bytes.length], [0x101000, 0x2000]);
});

test("addresses in the header are used instead of ELF when it has them", () => {
  const kernel = multibootKernel({ flags: 0x10003, addresses: [0x200000, 0x200000, 0x201000, 0x203000, 0x200040] });
  const loaded = loadMultiboot({ ...base, kernel });
  assert.equal(loaded.state.eip, 0x200040);
  assert.deepEqual(
    loaded.writes.slice(0, 2).map((write) => [write.gpa, write.bytes.length]),
    [
      [0x200000, 0x1000],
      [0x201000, 0x2000],
    ],
  );
});

test("modules follow on page boundaries and are listed with memory map, command line and names", () => {
  const modules = [
    { bytes: new Uint8Array(5000), commandLine: "first x" },
    { bytes: new Uint8Array(1), commandLine: "second" },
  ];
  const loaded = loadMultiboot({ ...base, modules });
  const info = loaded.writes.find((write) => write.gpa === loaded.state.ebx)!;
  const view = new DataView(info.bytes.buffer);
  const text = (address: number): string => {
    const start = address - info.gpa;
    return String.fromCharCode(...info.bytes.subarray(start, info.bytes.indexOf(0, start)));
  };
  assert.equal(view.getUint32(0, true) & 0x4d, 0x4d);
  assert.equal(view.getUint32(4, true), 639);
  assert.equal(view.getUint32(8, true), 15 * 1024);
  assert.equal(text(view.getUint32(16, true)), "kernel a=b");
  assert.equal(view.getUint32(20, true), 2);
  const list = view.getUint32(24, true) - info.gpa;
  assert.deepEqual([view.getUint32(list, true), view.getUint32(list + 4, true)], [0x103000, 0x103000 + 5000]);
  assert.deepEqual([view.getUint32(list + 16, true), view.getUint32(list + 20, true)], [0x105000, 0x105001]);
  assert.equal(text(view.getUint32(list + 8, true)), "first x");
  const map = view.getUint32(48, true) - info.gpa;
  assert.equal(view.getUint32(44, true), 4 * 24);
  assert.equal(view.getUint32(map, true), 20);
  assert.equal(view.getUint32(map + 20, true), 1);
});

test("kernels that cannot work are refused by name", () => {
  const cases: [Partial<typeof base>, RegExp][] = [
    [{ kernel: new Uint8Array(100) }, /no multiboot header/],
    [{ kernel: multibootKernel({ class: 2 }) }, /64-bit ELF kernel/],
    [{ kernel: multibootKernel({ flags: 0x0f }) }, /requires multiboot features/],
    [{ memoryMap: memoryMap(1) }, /needs memory at 0x100000.*-m 2/],
    [
      { kernel: multibootKernel({ flags: 0x10000, addresses: [0x200000, 0x200000, 0x300000, 0, 0x200000] }) },
      /do not fit the file/,
    ],
    [
      { kernel: multibootKernel({ flags: 0x10000, addresses: [0x90000, 0x90000, 0x91000, 0, 0x90000] }) },
      /over the boot information/,
    ],
    [{ commandLine: "x".repeat(5000) }, /too long together/],
  ];
  for (const [change, message] of cases) {
    assert.throws(
      () => loadMultiboot({ ...base, ...change }),
      (error) => error instanceof VmxonError && error.message.startsWith("kernel: ") && message.test(error.message),
      String(message),
    );
  }
});

test("a broken kernel is an error of ours, whatever it holds", () => {
  const kernel = multibootKernel();
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 20 }), (changes) => {
      const broken = kernel.slice();
      for (const [offset, value] of changes) broken[offset] = value;
      try {
        loadMultiboot({ ...base, kernel: broken });
      } catch (error) {
        assert.ok(error instanceof VmxonError, String(error));
      }
    }),
  );
});

test("a header without the right checksum is none", () => {
  const kernel = multibootKernel();
  assert.deepEqual(findMultibootHeader(kernel), { offset: 0x1000, flags: 3 });
  kernel[0x1008]!++;
  assert.equal(findMultibootHeader(kernel), undefined);
});
