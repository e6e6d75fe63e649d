/** The command as a person starts it: exit statuses and sentences. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const COMMAND = fileURLToPath(new URL("../../../bin/vmxon", import.meta.url));

function vmxon(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

function withFile<T>(name: string, bytes: Uint8Array, work: (path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "vmxon-"));
  try {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return work(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("help and version go to standard output", () => {
  assert.match(vmxon("help").stdout, /vmxon run FILE/);
  assert.match(vmxon("run", "--help").stdout, /--expect=REGEX/);
  assert.match(vmxon("help", "config").stdout, /on_reboot/);
  assert.match(vmxon("--version").stdout, /^vmxon \d+\.\d+\.\d+\n$/);
  assert.equal(vmxon("--version").status, 0);
});

test("bad command lines end with status 2 and a sentence that says what to type", () => {
  const cases: [string[], RegExp][] = [
    [[], /vmxon run FILE/],
    [["rnu"], /unknown command "rnu"\. Did you mean "run"\?/],
    [["run"], /nothing to boot\. Type: vmxon run FILE/],
    [["run", "--clok=real"], /Did you mean "--clock"\?/],
    [["run", "-kernel", "x", "memory=9999"], /memory=9999: must be from 1 to 1952 MiB/],
    [["run", "-fda", "x", "-nographic", "--screen=text"], /contradict each other/],
    [["help", "cofnig"], /Did you mean "config"\?/],
    [["disasm"], /Type: vmxon disasm FILE/],
    [["disasm", "--bits=64", "x"], /--bits=16 or --bits=32/],
  ];
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = vmxon(...args);
    assert.equal(status, 2, args.join(" "));
    assert.match(stderr, message, args.join(" "));
    assert.equal(stdout, "");
  }
});

test("files that cannot be used end with status 1 and are named", () => {
  const { status, stderr } = vmxon("run", "/nowhere/at-all.img");
  assert.equal(status, 1);
  assert.match(stderr, /^vmxon: \/nowhere\/at-all\.img: cannot open it: there is no such file\.\n$/);
  withFile("disk.qed", Buffer.from("QED\0".padEnd(2000), "latin1"), (path) => {
    const refused = vmxon("run", path);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /disk\.qed is a QED image.*qemu-img convert/);
  });
});

test("an image without the verb is answered with the whole command", () => {
  withFile("a.img", new Uint8Array(512), (path) => {
    const { status, stderr } = vmxon(path, "-m", "64");
    assert.equal(status, 2);
    assert.ok(stderr.includes(`vmxon run ${path} -m 64`));
  });
});

test("disasm shows addresses, bytes and instructions", () => {
  withFile("code.bin", Uint8Array.of(0x90, 0xb8, 0x34, 0x12, 0x00, 0x00, 0xc3), (path) => {
    const { status, stdout } = vmxon("disasm", path, "--address=0x1000");
    assert.equal(status, 0);
    assert.deepEqual(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.slice(0, 20).trimEnd()),
      ["00001000  90", "00001001  b834120000", "00001006  c3"],
    );
    assert.match(stdout, /mov eax/i);
  });
});
