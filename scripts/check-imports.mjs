// Checks that imports point downwards through the layers, and that only the outermost ones know Node or a page.
// ARCHITECTURE.md, "Layers", is this table in words.
import { readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "./setup.mjs";
import { sourceFiles } from "./source-files.mjs";

/** Layer (first folder below src) → the layers that it may import besides itself. */
const MAY_IMPORT = {
  common: [],
  wasm: ["common"],
  isa: ["wasm", "common"],
  processor: ["isa", "wasm", "common"],
  hypervisor: ["processor", "isa", "wasm", "common"],
  devices: ["hypervisor", "common"],
  firmware: ["hypervisor", "devices", "common"],
  toolstack: ["hypervisor", "devices", "firmware", "processor", "isa", "wasm", "common"],
  cli: ["toolstack", "hypervisor", "isa", "common"],
  web: ["toolstack", "hypervisor", "common"],
  // src/index.ts, the library's front door.
  "": ["toolstack", "hypervisor", "common"],
};

/** Files that may use Node's modules and globals, or a page's. */
const MAY_USE_NODE = /^src\/(?:cli|toolstack\/node)\//;
const MAY_USE_PAGE = /^src\/(?:web|toolstack\/browser)\//;

const IMPORT =
  /(?:^|[\s;])(?:import|export)\s(?:[^;"']*?\sfrom\s)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/g;
const NODE_GLOBAL = /(?<![.\w$])(?:process\s*\.|Buffer\b|require\s*\(|__dirname\b|__filename\b)/;
const PAGE_GLOBAL = /(?<![.\w$])(?:document\s*\.|navigator\s*\.|localStorage\b|indexedDB\b|XMLHttpRequest\b)/;

/** Layer of a path below the repository. */
function layerOf(path) {
  const parts = path.split("/");
  return parts.length > 2 ? parts[1] : "";
}

/** Source without comments and strings, so that words in them are not taken for code. */
export function codeOnly(source) {
  return source.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g,
    (text) => (text.startsWith("/") ? "" : '""'),
  );
}

/**
 * What is wrong with one file.
 * @param {string} file path below the repository, such as src/isa/table.ts
 * @param {string} source
 * @returns {string[]} messages
 */
export function checkFile(file, source) {
  const problems = [];
  const layer = layerOf(file);
  const allowed = MAY_IMPORT[layer];
  if (!allowed) return [`${file}: src/${layer} is no layer; add it to scripts/check-imports.mjs`];
  for (const match of source.matchAll(IMPORT)) {
    const specifier = match[1] ?? match[2];
    if (specifier.startsWith("node:")) {
      if (!MAY_USE_NODE.test(file)) problems.push(`${file}: imports ${specifier}, but must also run in a page`);
      continue;
    }
    if (!specifier.startsWith(".")) {
      problems.push(`${file}: imports the package ${specifier}; src has no dependencies`);
      continue;
    }
    const target = posix.normalize(posix.join(dirname(file), specifier));
    const targetLayer = layerOf(target);
    if (targetLayer !== layer && !allowed.includes(targetLayer)) {
      problems.push(`${file}: imports ${target}; ${layer || "src"} may not import ${targetLayer || "src"}`);
    }
    if (MAY_USE_NODE.test(target) && !MAY_USE_NODE.test(file) && layer !== "") {
      problems.push(`${file}: imports ${target}, which needs Node`);
    }
  }
  const code = codeOnly(source);
  if (!MAY_USE_NODE.test(file) && NODE_GLOBAL.test(code)) {
    problems.push(`${file}: uses ${NODE_GLOBAL.exec(code)[0]}, but must also run in a page`);
  }
  if (!MAY_USE_PAGE.test(file) && PAGE_GLOBAL.test(code)) {
    problems.push(`${file}: uses ${PAGE_GLOBAL.exec(code)[0]}, but must also run without a page`);
  }
  return problems;
}

/** Messages for the whole repository. */
export function checkImports() {
  return sourceFiles(["src"], /\.ts$/).flatMap((file) => checkFile(file, readFileSync(join(ROOT, file), "utf8")));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = checkImports();
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
}
