// Bundles the command into one file, dist/command.js, with the interpreter generated beforehand: bin/vmxon comes to a
// guest in half the time with it. Part of every build by `npm run setup` and its kin; what `tsc` alone builds runs without it.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build as esbuild } from "esbuild";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DIST = join(ROOT, "dist");
const ENTRY = join(DIST, "src", "cli", "main.js");
const PREPARED = join("src", "processor", "interpreter", "prepared.js");
const GENERATOR = join(DIST, "src", "processor", "interpreter", "generate.js");

const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

/**
 * What stands in for prepared.js: the interpreter's arrays as files of bytes, the rest as literals.
 * @returns {Promise<{ code: string, files: Record<string, Uint8Array> }>}
 */
export async function preparedModules() {
  const { generateInterpreter } = await import(pathToFileURL(GENERATOR).href);
  const { bytes, handlers, fused, natives, ...rest } = generateInterpreter();
  const code = `
    import bytes from "prepared:bytes";
    import handlers from "prepared:handlers";
    import fused from "prepared:fused";
    const words = (bytes) => new Uint16Array(bytes.slice().buffer);
    export function preparedInterpreter() {
      return {
        bytes, handlers: words(handlers), fused: words(fused),
        natives: new Map(${JSON.stringify([...natives])}), ...${JSON.stringify(rest)},
      };
    }`;
  return { code, files: { bytes, handlers: bytesOf(handlers), fused: bytesOf(fused) } };
}

/**
 * Bundle the compiled command.
 * @param {string} output path of the bundle; it finds the files of `dist` and package.json from there
 */
export async function bundleCommand(output) {
  const { code, files } = await preparedModules();
  const plugin = {
    name: "vmxon",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^prepared:/ }, ({ path }) => ({
        path: path.slice(path.indexOf(":") + 1),
        namespace: "bytes",
      }));
      onLoad({ filter: /.*/, namespace: "bytes" }, ({ path }) => ({ contents: files[path], loader: "binary" }));
      onLoad({ filter: /\.js$/ }, ({ path }) => {
        if (path.endsWith(PREPARED)) return { contents: code };
        const text = readFileSync(path, "utf8");
        // Modules that look for files beside themselves still do.
        const here = JSON.stringify(relative(dirname(output), path).split(sep).join("/"));
        return { contents: text.replaceAll("import.meta.url", `new URL(${here}, import.meta.url).href`) };
      });
    },
  };
  mkdirSync(dirname(output), { recursive: true });
  const result = await esbuild({
    entryPoints: [ENTRY],
    absWorkingDir: ROOT,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    // Names stay, for messages about defects.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "none",
    write: false,
    logLevel: "silent",
    plugins: [plugin],
  });
  writeFileSync(output, result.outputFiles[0].contents);
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await bundleCommand(process.argv[2] ?? join(DIST, "command.js"));
