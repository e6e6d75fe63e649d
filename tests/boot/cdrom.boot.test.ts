/** Systems that boot from a CD: emulated floppies, loaders without emulation, ISOLINUX. */
import { test } from "node:test";
import { colours, guest, sees, until, withDomain } from "./support.ts";

const mikeos = guest("hobby", "mikeos.iso");
const floppybird = guest("hobby", "floppybird.iso");
const memtest = guest("bootmedia", "memtest86+ia32.iso");
const ipxe = guest("bootmedia", "ipxe.iso");

test("MikeOS from the floppy on its CD", { skip: mikeos.skip }, async () => {
  await withDomain({ cdrom: mikeos.path, boot: "d" }, async (domain) => {
    await sees(domain, /Thanks for trying out MikeOS![\s\S]*OK +Cancel/);
    await domain.keyboard.press("enter");
    await sees(domain, /Please select a file[\s\S]*CALC\.BAS/);
  });
});

test("floppybird from the floppy on its CD", { skip: floppybird.skip }, async () => {
  await withDomain({ cdrom: floppybird.path, boot: "d" }, async (domain) => {
    await until(domain, "the title picture", () => (colours(domain) > 16 ? true : undefined));
  });
});

test("memtest86+ from its CD finds memory and tests it", { skip: memtest.skip }, async () => {
  await withDomain({ cdrom: memtest.path, boot: "d", memory: 16 }, async (domain) => {
    await sees(domain, /Memory +: +16MB/);
    await domain.keyboard.press("enter");
    await sees(domain, /Test #\d[\s\S]*Status: Testing[\s\S]*Errors: 0/);
  });
});

test("iPXE by way of ISOLINUX starts to look for devices", { skip: ipxe.skip }, async () => {
  await withDomain({ cdrom: ipxe.path, boot: "d" }, async (domain) => {
    await sees(domain, /iPXE initialising devices/);
  });
});
