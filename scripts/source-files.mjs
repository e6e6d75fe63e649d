// Lists the repository's source files, for the checks.
import { existsSync, readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { ROOT } from "./setup.mjs";

/**
 * Paths relative to the repository, with forward slashes, sorted.
 * @param {string[]} folders
 * @param {RegExp} pattern
 * @returns {string[]}
 */
export function sourceFiles(folders, pattern) {
  const files = [];
  for (const folder of folders) {
    const path = join(ROOT, folder);
    if (!existsSync(path)) continue;
    for (const entry of readdirSync(path, { withFileTypes: true, recursive: true })) {
      const file = relative(ROOT, join(entry.parentPath ?? entry.path, entry.name))
        .split(sep)
        .join("/");
      if (entry.isFile() && pattern.test(file)) files.push(file);
    }
  }
  return files.sort();
}
