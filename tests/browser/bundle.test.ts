/** The library for pages can be bundled, and nothing in the bundle needs Node. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { bundle } from "./chromium.ts";

const ENTRY = "src/toolstack/browser/index.js";
const entry = fileURLToPath(new URL(`../../${ENTRY}`, import.meta.url));

test("the library for pages is bundled without Node's modules and without packages", async () => {
  const { code, inputs, imports } = await bundle(entry);
  assert.deepEqual(imports, []);
  assert.ok(inputs.length > 100, `${inputs.length} modules`);
  for (const input of inputs) assert.doesNotMatch(input, /node_modules|toolstack\/node\/|src\/cli\//);
  const left = /["'`]node:\w+|\brequire\(|\bimport\(/.exec(code);
  assert.equal(left, null, `the bundle contains ${left?.[0]}`);
});

test("a module that needs Node is refused", async () => {
  await assert.rejects(
    bundle(fileURLToPath(new URL("../../src/index.js", import.meta.url))),
    /Could not resolve "node:/,
  );
});

test('package.json names the same entry under "browser", before what Node gets', () => {
  const { exports } = JSON.parse(readFileSync(join(process.cwd(), "package.json"), "utf8")) as {
    exports: { ".": Record<string, unknown> };
  };
  const conditions = Object.keys(exports["."]);
  assert.ok(conditions.indexOf("browser") < conditions.indexOf("default"));
  assert.deepEqual(exports["."]["browser"], {
    types: `./dist/${ENTRY.replace(/js$/, "d.ts")}`,
    default: `./dist/${ENTRY}`,
  });
});
