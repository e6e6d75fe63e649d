// Makes a fresh clone ready: the right Node, packages installed, TypeScript compiled. Does only what is missing and
// says what it does. `npm run setup`; also imported by the other scripts.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Folder of the repository. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const OLDEST_NODE = [20, 19];
const SOURCES = ["src", "tests", "bench"];
const BUILD_INPUTS = ["tsconfig.json", "package.json", "package-lock.json"];
const STAMP = join(ROOT, "dist", ".complete");

/** Progress goes to standard error, so that standard output stays the guest's. */
export function say(message) {
  process.stderr.write(`vmxon: ${message}\n`);
}

/** Ends a script with a sentence that a person can act on. */
export class SetupError extends Error {}

/**
 * Run a program in the repository's folder and wait for it.
 * @param {string} command
 * @param {string[]} args
 * @returns {number} its exit status
 */
export function runProgram(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: ROOT, stdio: ["inherit", 2, 2], ...options });
  if (result.error) throw new SetupError(`cannot run ${command}: ${result.error.message}`);
  return result.status ?? 1;
}

/**
 * A program of node_modules/.bin, run by this Node.
 * @param {string} name
 */
export function localProgram(name) {
  return join(ROOT, "node_modules", ".bin", process.platform === "win32" ? `${name}.cmd` : name);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const [wantMajor, wantMinor] = OLDEST_NODE;
  if (major < wantMajor || (major === wantMajor && minor < wantMinor)) {
    throw new SetupError(`this is Node ${process.versions.node}; vmxon needs ${OLDEST_NODE.join(".")} or later.`);
  }
}

/** True when node_modules holds what package-lock.json asks for. */
function packagesPresent() {
  const installed = join(ROOT, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return false;
  const wanted = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")).packages;
  const found = JSON.parse(readFileSync(installed, "utf8")).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === "" || optional === true || found[path]?.version === version,
  );
}

/** Run npm quietly; its exit status. Under `npm start` npm has told where it is, which is right on every platform. */
function npm(...args) {
  const flags = [...args, "--no-audit", "--no-fund", "--loglevel=error"];
  const path = process.env.npm_execpath;
  return path?.endsWith(".js") ? runProgram(process.execPath, [path, ...flags]) : runProgram("npm", flags);
}

/** Install packages when some are missing or old. */
export function install() {
  checkNode();
  if (packagesPresent()) return;
  say("installing packages (npm ci) …");
  const started = Date.now();
  // The second way also works where a registry lacks packages for other platforms that the lock file names.
  if (npm("ci") !== 0 && npm("install", "--no-save") !== 0) {
    throw new SetupError("the packages could not be installed; is the network there? Try again with: npm run setup");
  }
  say(`packages are installed (${seconds(started)})`);
}

/**
 * Seconds since `started`, for progress lines.
 * @param {number} started
 */
export function seconds(started) {
  return `${((Date.now() - started) / 1000).toFixed(1)} s`;
}

/** Newest change among a folder's files, ms. */
function newest(folder) {
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) latest = Math.max(latest, statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs);
  }
  return latest;
}

function buildIsFresh() {
  if (!existsSync(STAMP)) return false;
  const built = statSync(STAMP).mtimeMs;
  return (
    SOURCES.every((folder) => !existsSync(join(ROOT, folder)) || newest(join(ROOT, folder)) <= built) &&
    BUILD_INPUTS.every((file) => statSync(join(ROOT, file)).mtimeMs <= built)
  );
}

/** Compile unless nothing has changed. Returns false when there were type errors. */
export function build() {
  if (buildIsFresh()) return true;
  say("compiling TypeScript …");
  const started = Date.now();
  const status = runProgram(localProgram("tsc"), ["-p", "tsconfig.json"], { shell: process.platform === "win32" });
  if (status !== 0) return false;
  // Only faster: without it the command runs from its modules.
  if (runProgram(process.execPath, [join(ROOT, "scripts", "bundle-command.mjs")]) !== 0)
    say("the command could not be bundled: it will start more slowly");
  mkdirSync(dirname(STAMP), { recursive: true });
  writeFileSync(STAMP, "");
  say(`compiled (${seconds(started)})`);
  return true;
}

/** Everything that a clone needs before it can run. Throws SetupError. */
export function setup() {
  install();
  if (!build()) throw new SetupError("the sources do not compile; the messages above say where.");
}

/**
 * Run a script's main function: a SetupError becomes one sentence and exit status 1.
 * @param {() => void | Promise<void>} main
 */
export async function runScript(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runScript(() => {
    setup();
    say("ready. Try: npm start, or bin/vmxon run FILE");
  });
}
