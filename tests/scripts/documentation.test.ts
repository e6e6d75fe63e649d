/** Code blocks in the documentation that are marked as runnable do what the page says; links between pages lead somewhere. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PAGES = [
  "README.md",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "SPECIFICATION.md",
  "docs/performance.md",
  "docs/rejected.md",
];

interface Block {
  readonly language: string;
  readonly code: string;
  readonly output: string | undefined;
}

/** Blocks after `<!-- runnable -->`, with the block after `<!-- output -->` that may follow. */
function runnableBlocks(page: string): Block[] {
  const pattern = /<!-- runnable -->\s*```(\w+)\n([\s\S]*?)```(?:\s*<!-- output -->\s*```\w*\n([\s\S]*?)```)?/g;
  return [...page.matchAll(pattern)].map(([, language, code, output]) => ({
    language: language!,
    code: code!,
    output,
  }));
}

function run(block: Block): { status: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, PATH: `${join(ROOT, "bin")}${delimiter}${process.env["PATH"]}` };
  if (block.language === "sh") return spawnSync("sh", ["-e", "-c", block.code], { encoding: "utf8", env });
  assert.equal(block.language, "js");
  // Inside the package, so that it finds itself by its name.
  const file = join(ROOT, "dist", `example-${process.pid}.mjs`);
  writeFileSync(file, block.code);
  try {
    return spawnSync(process.execPath, [file], { encoding: "utf8", env, timeout: 60_000 });
  } finally {
    rmSync(file);
  }
}

const readme = readFileSync(join(ROOT, "README.md"), "utf8");
for (const [index, block] of runnableBlocks(readme).entries()) {
  test(`runnable block ${index + 1} of README.md (${block.language}) runs`, () => {
    const { status, stdout, stderr } = run(block);
    assert.equal(status, 0, stderr);
    if (block.output !== undefined) assert.equal(stdout.trim(), block.output.trim());
  });
}

test("README.md has a runnable example of the library and of the command", () => {
  assert.deepEqual(
    runnableBlocks(readme).map(({ language }) => language),
    ["js", "sh"],
  );
});

test("links between pages lead to files", () => {
  for (const page of PAGES) {
    const path = join(process.cwd(), page);
    for (const [, target] of readFileSync(path, "utf8").matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      assert.ok(existsSync(join(dirname(path), target!)), `${page} links to ${target}`);
    }
  }
});

test("files that ARCHITECTURE.md names are there", () => {
  const text = readFileSync(join(process.cwd(), "ARCHITECTURE.md"), "utf8");
  for (const [, path] of text.matchAll(/`((?:src|scripts|docs)\/[\w./-]+)`/g)) {
    if (/\.\w+$/.test(path!)) assert.ok(existsSync(join(process.cwd(), path!)), path);
  }
});

test("the package depends on nothing", () => {
  const { dependencies } = JSON.parse(readFileSync(join(process.cwd(), "package.json"), "utf8")) as {
    dependencies?: object;
  };
  assert.equal(dependencies, undefined);
});
