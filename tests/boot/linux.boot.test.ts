/** Unmodified Linux kernels boot to a shell and answer: one for the 386 on the VGA screen, Debian's on a serial line. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { guest, PATIENCE, sees, withDomain } from "./support.ts";

const gray = guest("linux", "gray386linux-3.7.10.bzImage");
const debian = guest("linux", "vmlinuz-6.1.0-50-686");
const ramdisk = guest("linux", "busybox-initramfs-686.cpio.gz");

test("Linux 3.7 for the 386: a shell on the screen that runs commands", { skip: gray.skip }, async () => {
  await withDomain({ kernel: gray.path, memory: 64 }, async (domain) => {
    await sees(domain, /^~ # $/);
    await domain.keyboard.type("ls /\n");
    const [listing] = await sees(domain, /^~ # ls \/[\s\S]*^~ # $/);
    for (const name of ["bin", "dev", "etc", "proc", "sbin"]) assert.match(listing, new RegExp(`\\b${name}\\b`));
    await domain.keyboard.type("clear; grep -E 'processor|vendor|bug|flags' /proc/cpuinfo\n");
    const [processor] = await sees(domain, /^processor\s*: 0[\s\S]*^flags\s*:.*$/);
    assert.match(processor, /^vendor_id\s*: GenuineIntel$/m);
    assert.match(processor, /^fdiv_bug\s*: no$/m);
    assert.match(processor, /^hlt_bug\s*: no$/m);
    assert.match(processor, /^flags\s*:.* fpu .*\btsc\b/m);
  });
});

test("Debian's 6.1 kernel: an initial ramdisk's shell on the serial line", {
  skip: debian.skip || ramdisk.skip,
}, async () => {
  const config = { kernel: debian.path, ramdisk: ramdisk.path, cmdline: "console=ttyS0", memory: 128 };
  await withDomain(config, async (domain) => {
    const [line] = domain.serial;
    assert.ok(line);
    for (const [place, id] of [
      ["00.0", "8086:1237"],
      ["01.0", "8086:7000"],
      ["01.1", "8086:7010"],
      ["01.3", "8086:7113"],
    ])
      await line.waitFor(new RegExp(`pci 0000:00:${place}: \\[${id}\\]`), PATIENCE);
    await line.waitFor(/INITRAMFS READY/, PATIENCE);
    await line.waitFor(/# /, PATIENCE);
    line.write("echo $((6*7)) on $(uname -sr)\r");
    await line.waitFor(/^42 on Linux 6\.1\.0-50-686\r$/m, PATIENCE);
    line.write("cat /proc/meminfo | head -1\r");
    const [, kilobytes] = await line.waitFor(/^MemTotal: +(\d+) kB/m, PATIENCE);
    assert.ok(Number(kilobytes) > 100 * 1024, `${kilobytes} kB of 128 MB are there for programs`);
  });
});
