/**
 * A Linux guest that is busy with memory, disk, x87 and SSE is saved at random moments, its process killed, and restored in
 * a new one: it goes on as if nothing had happened. VMXON_INTERRUPTIONS: how often; `npm run soak` asks for fifty.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { type DomainConfig, Domain as Domains } from "../../src/index.ts";
import { writeCpio } from "../../src/toolstack/cpio.ts";
import { checkoutPath } from "../support/checkout.ts";
import { guest, PATIENCE } from "./support.ts";

const kernel = guest("linux", "vmlinuz-6.1.0-50-686");
const ramdisk = guest("linux", "busybox-initramfs-686.cpio.gz");
const INTERRUPTIONS = Number(process.env["VMXON_INTERRUPTIONS"] ?? 3);
/** Rounds of the program: longer runs are interrupted more often. */
const ROUNDS = 10 + INTERRUPTIONS;
/** Host ms between two interruptions, at most. */
const LONGEST = 700;
const PROCESS = fileURLToPath(new URL("../support/restored-process.js", import.meta.url));

/** Compile the guest's program; false where that cannot be done. */
function compile(target: string): boolean {
  const source = checkoutPath("tests", "boot", "busy.c");
  const result = spawnSync("gcc", ["-m32", "-O2", "-msse2", "-static", "-s", "-o", target, source], {
    stdio: "ignore",
  });
  return result.status === 0;
}

/** The shared ramdisk with the program in it, which starts first and resets the machine at its end. */
async function busyRamdisk(program: string): Promise<Uint8Array> {
  const script = `mknod -m 666 /dev/ttyS0 c 4 64\n/busy ${ROUNDS} >/dev/ttyS0\nreboot -f\n`;
  const entry = { type: "file", mode: 0o755 } as const;
  const added = writeCpio([
    { ...entry, path: "busy", data: await readFile(program) },
    { ...entry, path: "init2", data: new TextEncoder().encode(script) },
  ]);
  const first = gunzipSync(await readFile(ramdisk.path));
  const all = new Uint8Array(Math.ceil(first.length / 4) * 4 + added.length);
  all.set(first);
  all.set(added, all.length - added.length);
  return all;
}

interface Outcome {
  readonly printed: string;
  readonly output: string;
}

/** Run a process on a saved domain, and kill it once it has saved. */
function processOn(...args: string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [PROCESS, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let printed = "";
    let output = "";
    child.stdout.on("data", (data: Buffer) => {
      printed += data.toString();
      if (printed.includes("saved\n")) child.kill("SIGKILL");
    });
    child.stderr.on("data", (data: Buffer) => {
      output += data.toString("latin1");
    });
    child.on("error", reject);
    child.on("close", () => resolve({ printed, output }));
  });
}

test("a busy Linux guest is saved, killed and restored, and ends as one that was left alone", {
  skip: kernel.skip || ramdisk.skip,
}, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "vmxon-restore-"));
  t.after(() => rm(folder, { recursive: true }));
  const at = (name: string): string => join(folder, name);
  if (!compile(at("busy"))) {
    t.skip("gcc -m32 cannot make the guest's program here");
    return;
  }
  await writeFile(at("ramdisk"), await busyRamdisk(at("busy")));
  await writeFile(at("disk.img"), new Uint8Array(1 << 21));
  const config: DomainConfig = {
    kernel: kernel.path,
    ramdisk: at("ramdisk"),
    cmdline: "console=ttyS0 quiet reboot=k",
    memory: 64,
    clock: "instructions",
    hda: at("disk.img"),
    snapshot: true,
    on_reboot: "destroy",
  };
  const domain = await Domains.create(config);
  domain.start();
  await domain.serial[0]!.waitFor(/BUSY\r\n/, PATIENCE);
  await writeFile(at("begin.sav"), await domain.save({ afterwards: "pause" }));
  let whole = "";
  domain.serial[0]!.onData((bytes) => {
    whole += Buffer.from(bytes).toString("latin1");
  });
  domain.resume();
  const { kind } = await domain.exited;
  const expected = `${kind} ${domain.stateHash()} ${domain.guestTime()} ${domain.instructions()}`;
  assert.match(whole, new RegExp(`round ${ROUNDS - 1}: .*\\r\\nDONE`));
  assert.doesNotMatch(whole, /BAD/);

  let interruptions = 0;
  while (interruptions < INTERRUPTIONS) {
    await copyFile(at("begin.sav"), at("now.sav"));
    let output = "";
    let last: string | undefined;
    while (last === undefined && interruptions < INTERRUPTIONS) {
      const ms = Math.floor(Math.random() * LONGEST);
      const run = await processOn("save", at("now.sav"), at("next.sav"), String(ms));
      output += run.output;
      if (run.printed.includes("saved\n")) {
        interruptions++;
        await copyFile(at("next.sav"), at("now.sav"));
      } else last = run.printed;
    }
    if (last === undefined) {
      const run = await processOn("run", at("now.sav"));
      output += run.output;
      last = run.printed;
    }
    assert.equal(last, `${expected}\n`);
    assert.equal(output, whole, "not a word of the guest was lost or said twice");
  }
});
