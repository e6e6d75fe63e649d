/** Linux finds disk and CD drive through PCI, moves their data by bus-master DMA, and sees discs come and go. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { COMMAND_LINE, debianGuest, READY } from "../support/debian-guest.ts";
import { PATIENCE, withDomain } from "./support.ts";

const guest = debianGuest();
const skip = guest === undefined && "Debian's kernel with its disk drivers was not fetched: npm start does";
const MB = 1 << 20;

/** Bytes without a pattern that a wrong offset could hide in. */
function noise(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const words = new Uint32Array(bytes.buffer);
  let x = seed;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return bytes;
}

const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");

test("Debian's kernel reads and writes a disk by DMA, and reads CDs that are changed", { skip }, async () => {
  const { kernel, ramdisk } = guest!;
  const disk = noise(8 * MB, 1);
  const [first, second] = [noise(3 * MB, 2), noise(5 * MB, 3)];
  const config = { kernel, ramdisk, cmdline: COMMAND_LINE, memory: 128, hda: disk, cdrom: first, snapshot: false };
  await withDomain(config, async (domain) => {
    const line = domain.serial[0]!;
    await line.waitFor(new RegExp(READY), PATIENCE);
    /** What a command printed; it must succeed. */
    const run = async (command: string): Promise<string> => {
      await line.waitFor(/# $/, PATIENCE);
      line.write(`${command}; echo "<$?>"\r`);
      const [, output, status] = await line.waitFor(/([\s\S]*)<(\d+)>/, PATIENCE);
      assert.equal(status, "0", `${command}: ${output}`);
      return output!;
    };
    const messages = await run("dmesg | grep ata");
    assert.match(messages, /ata1: PATA max MWDMA2 .* bmdma 0x/);
    assert.match(messages, /ata1\.00: ATA-6: VMXON HARDDISK/);
    assert.match(messages, /ata2\.00: ATAPI: VMXON CD-ROM/);
    assert.match(await run("md5sum /dev/sda"), new RegExp(md5(disk)));
    assert.match(await run("md5sum /dev/sr0"), new RegExp(md5(first)));
    await run("dd if=/dev/sr0 of=/dev/sda bs=64k count=40 seek=10 conv=fsync");
    assert.equal(md5(disk.subarray(640 * 1024, 3200 * 1024)), md5(first.subarray(0, 2560 * 1024)), "what was synced");
    await run("exec 3< /dev/sr0");
    await assert.rejects(domain.media.insert("hdc", second), /the guest has locked hdc/);
    await run("exec 3<&-");
    await domain.media.insert("hdc", second);
    assert.match(await run("md5sum /dev/sr0"), new RegExp(md5(second)));
    assert.doesNotMatch(await run("dmesg"), /lost interrupt|exception Emask|timeout/);
  });
});
