// Checks that files stay small enough to be read in one go. Tables of data may be longer.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "./setup.mjs";
import { sourceFiles } from "./source-files.mjs";

const LONGEST = 800;

/** Files that are tables: instruction rows, glyphs, recorded vectors. */
const TABLES = [
  /^src\/isa\/rows?\b/,
  /^src\/isa\/.*-?table\.ts$/,
  /^src\/firmware\/font\/glyphs/,
  /^tests\/.*\bvectors?\b/,
];

/** Messages for files that are too long. */
export function checkSizes() {
  return sourceFiles(["src", "tests", "scripts", "bench", "bin"], /\.(?:ts|mjs)$/)
    .filter((file) => !TABLES.some((table) => table.test(file)))
    .flatMap((file) => {
      const lines = readFileSync(join(ROOT, file), "utf8").split("\n").length - 1;
      return lines > LONGEST ? [`${file}: has ${lines} lines; more than ${LONGEST} only in tables`] : [];
    });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = checkSizes();
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
}
