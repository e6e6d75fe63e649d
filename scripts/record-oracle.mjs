// Records tests/oracle/vectors/silicon.bin: what this host's processor makes of the generated test cases. Needs an x86
// Linux host that runs 32-bit programs, and a build (npm run build). Usage: node scripts/record-oracle.mjs [build folder]
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = resolve(process.argv[2] ?? join(root, "dist"));
const { COMMITTED, COMMITTED_SEED, record } = await import(pathToFileURL(join(build, "tests/oracle/record.js")).href);

const file = record(COMMITTED_SEED, COMMITTED, (done) => process.stderr.write(`\r${done} cases`));
const folder = join(root, "tests/oracle/vectors");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "silicon.bin"), file);
process.stderr.write(`\nwrote ${file.length} bytes\n`);
