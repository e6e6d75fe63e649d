/** FreeDOS boots from every floppy format, runs commands, and keeps a file that was typed in over a reset. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Domain } from "../../src/index.ts";
import { guest, sees, withDomain } from "./support.ts";

const FORMATS = [
  // A drive for 360 KB also takes the older formats.
  { name: "160K", reported: "360 KB" },
  { name: "360K", reported: "360 KB" },
  { name: "720K", reported: "720 KB" },
  { name: "1200K", reported: "1.2 MB" },
  { name: "1.4MB", reported: "1.44 MB" },
];

/** A prompt on the last line. */
const PROMPT = /A:\\>\s*$(?![\s\S]*\S)/;

async function command(domain: Domain, text: string, answer: RegExp): Promise<RegExpExecArray> {
  await domain.keyboard.type(`${text}\n`);
  return sees(domain, answer);
}

for (const { name, reported } of FORMATS) {
  const { path, skip } = guest("dos", `freedos-${name}.img`);
  test(`FreeDOS on a floppy of ${name}: prompt, ver, dir, and a file that outlives a reset`, { skip }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "vmxon-boot-"));
    const image = join(folder, "floppy.img");
    copyFileSync(path, image);
    try {
      await withDomain({ fda: image, snapshot: false }, async (domain) => {
        await sees(domain, PROMPT);
        await command(domain, "ver", /^A:\\>ver\s+FreeCom version [\s\S]*A:\\>$/);
        const [listing] = await command(domain, "dir", /^ Directory of A:\\[\s\S]*\d dir\(s\)[\s\S]*A:\\>$/);
        for (const file of [/^KERNEL +SYS +45,450/m, /^COMMAND +COM +66,090/m, /^AUTOEXEC BAT/m]) {
          assert.match(listing, file);
        }
        await domain.keyboard.type("copy con T.TXT\nkept on the floppy\n");
        await domain.keyboard.press("ctrl-z");
        await command(domain, "", /\^Z[\s\S]*A:\\>$/);

        await command(domain, "cls", /(?<![\s\S])\s*A:\\>$/);
        domain.reset();
        await sees(domain, new RegExp(`Diskette drive A: ${reported.replace(".", "\\.")}`));
        await sees(domain, PROMPT);
        await command(domain, "type T.TXT", /^A:\\>type T\.TXT\s+^kept on the floppy$\s+^A:\\>$/);
      });
      // The domain has closed its image; what the guest wrote is in the file for the next one too.
      await withDomain({ fda: image }, async (domain) => {
        await sees(domain, PROMPT);
        await command(domain, "type T.TXT", /^kept on the floppy$/);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
