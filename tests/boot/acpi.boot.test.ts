/** Debian's kernel takes the firmware's tables at their word: ACPI's interpreter, suspend, the power button that wakes, power off. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Domain } from "../../src/index.ts";
import { guest, PATIENCE, pass, withDomain } from "./support.ts";

const debian = guest("linux", "vmlinuz-6.1.0-50-686");
const ramdisk = guest("linux", "busybox-initramfs-686.cpio.gz");
const skip = debian.skip || ramdisk.skip;

/** A shell on the serial line; `say` types a command and resolves with what matches in the answer. */
async function withShell(
  use: (
    say: (command: string, answer: RegExp) => Promise<RegExpExecArray>,
    domain: Domain,
    log: string,
  ) => Promise<void>,
): Promise<void> {
  const config = {
    kernel: debian.path,
    ramdisk: ramdisk.path,
    cmdline: "console=ttyS0 no_console_suspend",
    memory: 128,
  };
  await withDomain(config, async (domain) => {
    const [line] = domain.serial;
    assert.ok(line);
    let log = "";
    line.onData((bytes) => {
      log += String.fromCharCode(...bytes);
    });
    await line.waitFor(/INITRAMFS READY/, PATIENCE);
    await line.waitFor(/# /, PATIENCE);
    await use(
      (command, answer) => {
        line.write(`${command}\r`);
        return line.waitFor(answer, PATIENCE);
      },
      domain,
      log,
    );
  });
}

test("tables are taken without complaint, PCI interrupts are routed by ACPI, and S5 switches off", {
  skip,
}, async () => {
  await withShell(async (_say, domain, log) => {
    assert.doesNotMatch(log, /ACPI (?:BIOS )?(?:Error|Warning)|Firmware Bug|invalid checksum/i);
    assert.match(log, /ACPI: 1 ACPI AML tables successfully acquired and loaded/);
    assert.match(log, /ACPI: PM: \(supports S0 S1 S3 S5\)/);
    assert.match(log, /PCI: Using ACPI for IRQ routing/);
    assert.match(log, /ACPI: Using IOAPIC for interrupt routing/);
    assert.match(log, /DMI: vmxon PC/);
    domain.serial[0]!.write("poweroff -f\r");
    const reason = await domain.exited;
    assert.equal(reason.kind, "poweroff");
  });
});

test("suspend to RAM: the power button wakes, and the BIOS goes on where the kernel says", { skip }, async () => {
  await withShell(async (say, domain) => {
    await say("mount -t sysfs sys /sys; echo deep > /sys/power/mem_sleep; echo set-$?", /set-0/);
    await say("echo mem > /sys/power/state; echo back-$((3+4))", /Preparing to enter system sleep state S3/);
    await pass(domain, 2000);
    domain.powerButton();
    await domain.serial[0]!.waitFor(/Waking up from system sleep state S3[\s\S]*back-7/, PATIENCE);
  });
});
