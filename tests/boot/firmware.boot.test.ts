/** Other people's firmware as Debian packages it: the machine is a PC to it, too. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { type DomainConfig, VmxonError } from "../../src/index.ts";
import { guest, PATIENCE, withDomain } from "./support.ts";

const freedos = guest("dos", "freedos-1.4MB.img");
const mikeos = guest("hobby", "mikeos.iso");
const missing = (file: string, name: string): string | false =>
  !existsSync(file) && `Debian's package ${name} is not installed`;
const noSeabios = missing("/usr/share/seabios/bios-256k.bin", "seabios");
const noLgpl = missing("/usr/share/vgabios/vgabios.bin", "vgabios");

/** Boot until the screen shows `pattern`; a failure tells what the firmware said. */
async function boots(config: DomainConfig, pattern: RegExp): Promise<string> {
  let log = "";
  await withDomain(config, async (domain) => {
    try {
      await domain.screen.waitFor(pattern, PATIENCE);
    } catch (error) {
      assert.ok(error instanceof VmxonError);
      assert.fail(`${error.message}\nThe firmware says:\n${domain.firmwareLog}`);
    }
    log = domain.firmwareLog;
  });
  return log;
}

test("SeaBIOS with its own display BIOS boots FreeDOS from floppy", { skip: noSeabios || freedos.skip }, async () => {
  const log = await boots({ bios: "seabios", vgabios: "seabios", fda: freedos.path }, /^A:\\>$/m);
  assert.match(log, /Running on QEMU \(i440fx\)/);
  assert.match(log, /QEMU fw_cfg DMA interface supported/);
  assert.match(log, /Start SeaVGABIOS/);
  assert.doesNotMatch(log, /WARNING/);
});

test("SeaBIOS with the built-in display BIOS boots from CD", { skip: noSeabios || mikeos.skip }, async () => {
  await boots({ bios: "seabios", cdrom: mikeos.path, boot: "d" }, /Thanks for trying out MikeOS!/);
});

test("the built-in BIOS works with the display BIOS of others", {
  skip: noLgpl || noSeabios || freedos.skip,
}, async () => {
  for (const vgabios of ["seabios", "lgpl"]) await boots({ vgabios, fda: freedos.path }, /^A:\\>$/m);
});
