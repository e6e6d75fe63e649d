/** The command in one file, as the build makes it: the same command, and an interpreter that need not be generated. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { assemble } from "../../src/firmware/assembler.ts";
import { generateInterpreter, type Interpreter } from "../../src/processor/interpreter/generate.ts";

interface Scripts {
  bundleCommand(output: string): Promise<void>;
  preparedModules(): Promise<{ code: string; files: Record<string, Uint8Array> }>;
}

// The scripts are plain JavaScript, not part of the compiled tree. `npm test` runs in the repository's folder.
const scripts = (await import(pathToFileURL(join(process.cwd(), "scripts", "bundle-command.mjs")).href)) as Scripts;

/** Sends a "Y" of eight bits. */
const BOOT_SECTOR = `
  mov dx, 0x3fb
  mov al, 3
  out dx, al
  mov dx, 0x3f8
  mov al, 0x59
  out dx, al
hang: hlt
  jmp hang`;

// Beside the compiled tree, since the bundle finds files by their place relative to it.
const folder = mkdtempSync(join(process.cwd(), "dist", "bundle-"));
const bundle = join(folder, "command.js");
before(() => scripts.bundleCommand(bundle));
after(() => rmSync(folder, { recursive: true }));

function command(...args: string[]) {
  const start = `const { main } = await import(${JSON.stringify(pathToFileURL(bundle).href)});
    process.exitCode = await main(process.argv.slice(1));`;
  return spawnSync(process.execPath, ["--input-type=module", "-e", start, "--", ...args], { encoding: "utf8" });
}

test("the bundled command finds its files", () => {
  const { stdout, stderr, status } = command("--version");
  assert.match(stdout, /^vmxon \d+\.\d+\.\d+\n$/, stderr);
  assert.equal(status, 0);
});

test("the bundled command runs a guest", () => {
  const sector = new Uint8Array(1440 * 1024);
  sector.set(assemble(BOOT_SECTOR, { origin: 0x7c00, bits: 16 }).code);
  sector.set([0x55, 0xaa], 510);
  const image = join(folder, "boot.img");
  writeFileSync(image, sector);
  const { status, stderr } = command("run", "-fda", image, "-nographic", "--expect=Y", "--timeout=30");
  assert.equal(status, 0, stderr);
});

test("the interpreter in it is the one that would be generated", async () => {
  const { code, files } = await scripts.preparedModules();
  const body = code.replace(/^\s*import .*$/gm, "").replace("export function", "return function");
  const make = new Function(...Object.keys(files), body) as (...bytes: Uint8Array[]) => () => Interpreter;
  assert.deepEqual(make(...Object.values(files).map((bytes) => Uint8Array.from(bytes)))(), generateInterpreter());
});
