/** The repository's own checks find what they are for. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

interface Checks {
  checkFile(file: string, source: string): string[];
  codeOnly(source: string): string;
}

// The scripts are plain JavaScript, not part of the compiled tree. `npm test` runs in the repository's folder.
const checks = (await import(pathToFileURL(join(process.cwd(), "scripts", "check-imports.mjs")).href)) as Checks;

test("imports may go down, not up", () => {
  assert.deepEqual(checks.checkFile("src/hypervisor/a.ts", 'import { b } from "../processor/b.ts";'), []);
  assert.match(
    checks.checkFile("src/isa/a.ts", 'import { b } from "../processor/b.ts";')[0]!,
    /isa may not import processor/,
  );
  assert.match(
    checks.checkFile("src/devices/a.ts", 'export * from "../toolstack/b.ts";')[0]!,
    /devices may not import toolstack/,
  );
  assert.match(
    checks.checkFile("src/wasm/a.ts", 'import type { B } from "../isa/b.ts";')[0]!,
    /wasm may not import isa/,
  );
  assert.match(
    checks.checkFile("src/isa/a.ts", 'const b = await import("../cli/b.ts");')[0]!,
    /isa may not import cli/,
  );
});

test("imports over several lines are seen", () => {
  const source = 'import {\n  one,\n  two,\n} from "../toolstack/b.ts";';
  assert.equal(checks.checkFile("src/devices/a.ts", source).length, 1);
});

test("Node stays in the outermost folders, and so do pages", () => {
  const node = 'import { open } from "node:fs";';
  assert.equal(checks.checkFile("src/toolstack/a.ts", node).length, 1);
  assert.deepEqual(checks.checkFile("src/toolstack/node/a.ts", node), []);
  assert.equal(checks.checkFile("src/toolstack/a.ts", "process.stdout.write(x);").length, 1);
  assert.equal(checks.checkFile("src/devices/a.ts", "document.title = x;").length, 1);
  assert.deepEqual(
    checks.checkFile("src/devices/a.ts", "// the process.exit of a document.\nconst a = 'process.exit';"),
    [],
  );
  assert.deepEqual(checks.checkFile("src/devices/a.ts", "this.process.run();"), []);
});

test("packages are not imported", () => {
  assert.match(checks.checkFile("src/common/a.ts", 'import fc from "fast-check";')[0]!, /no dependencies/);
});

test("a new folder must be given its place", () => {
  assert.match(checks.checkFile("src/novel/a.ts", "")[0]!, /src\/novel is no layer/);
});
