// Bundles the library for pages and workers into files without imports: dist/vmxon.js, and beside it dist/generator.js,
// the worker that the library starts. `npm run bundle`; the tests bundle their own workers with it.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build as esbuild } from "esbuild";
import { ROOT, runScript, say, setup } from "./setup.mjs";

const DIST = join(ROOT, "dist");
/** What becomes of which compiled module. The library finds its worker by that name, beside itself. */
const OUTPUTS = { "vmxon.js": "index.js", "generator.js": "generator.js" };

/**
 * Bundle a compiled module and all that it imports. Rejects when something of it needs Node.
 * @param {string} entry path of the compiled module
 * @returns {Promise<{ code: string, inputs: string[], imports: string[] }>} the bundle, the files that went into it, and
 *   what it still imports
 */
export async function bundle(entry) {
  const result = await esbuild({
    entryPoints: [entry],
    absWorkingDir: ROOT,
    bundle: true,
    format: "esm",
    // "neutral" has no built-in modules and looks at no "browser" field: what cannot be bundled is an error.
    platform: "neutral",
    target: "es2022",
    minify: true,
    legalComments: "none",
    write: false,
    metafile: true,
    logLevel: "silent",
  });
  const [output] = result.outputFiles;
  const imports = Object.values(result.metafile.outputs).flatMap((file) => file.imports.map(({ path }) => path));
  return { code: output.text, inputs: Object.keys(result.metafile.inputs), imports };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runScript(async () => {
    setup();
    for (const [output, entry] of Object.entries(OUTPUTS)) {
      const { code, inputs } = await bundle(join(DIST, "src", "toolstack", "browser", entry));
      writeFileSync(join(DIST, output), code);
      say(`dist/${output}: ${inputs.length} modules, ${(code.length / 1024).toFixed(0)} KB`);
    }
  });
}
