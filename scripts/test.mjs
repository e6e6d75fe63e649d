// `npm test`: types, lint, import directions, file sizes, then all tests. `npm test -- WORD…` runs the test files whose
// path contains one of the words.
import { join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { checkImports } from "./check-imports.mjs";
import { checkSizes } from "./check-sizes.mjs";
import { build, install, localProgram, ROOT, runProgram, runScript, say, seconds } from "./setup.mjs";
import { sourceFiles } from "./source-files.mjs";

/** Test files that boot systems, start browsers or run long: after the quick ones. */
const SLOW = [/vectors-\w+\.test\.ts$/, /\.boot\.test\.ts$/, /\.browser\.test\.ts$/];
const PARALLEL = 2;
/** Test files that run a second time with all guest code compiled at once: those on instructions. */
const TIERED = /^tests\/(processor\/|isa\/(vector|x87|vectors-s))/;
/** Values of VMXON_TEST_TIER: see tests/support/machine.ts. */
const TIERS = { interpreter: "interpreter", compiled: "compiled" };
/** Lines of the runner's summary. */
const TOTAL = /^(?:tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /;

/** Test files in the order in which they run. */
function testFiles(words) {
  const rank = (file) => 1 + SLOW.findIndex((pattern) => pattern.test(file));
  return sourceFiles(["tests"], /\.test\.ts$/)
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** Run one check and say how it went. */
function check(name, work) {
  const started = Date.now();
  const problems = work();
  for (const problem of problems) process.stderr.write(`  ${problem}\n`);
  say(`${problems.length === 0 ? "ok    " : "FAILED"}  ${name} (${seconds(started)})`);
  return problems.length === 0;
}

function lint() {
  const shell = process.platform === "win32";
  return runProgram(localProgram("biome"), ["check", "."], { shell }) === 0 ? [] : ["biome found problems, see above"];
}

/** Run the tests on one of the engines that tests know; true when all passed. */
function runTests(sources, tier) {
  const files = sources.map((file) => join(ROOT, "dist", file.replace(/\.ts$/, ".js")));
  say(`running ${files.length} test files, ${PARALLEL} at a time, instructions ${tier} …`);
  process.env.VMXON_TEST_TIER = tier;
  return new Promise((resolve) => {
    let failed = false;
    const totals = [];
    const stream = run({ files, concurrency: PARALLEL });
    stream.on("test:fail", (event) => {
      if (event.todo === undefined || event.todo === false) failed = true;
    });
    stream.on("test:diagnostic", ({ nesting, message }) => {
      if (nesting === 0 && TOTAL.test(message)) totals.push(`ℹ ${message}\n`);
    });
    const report = stream.compose(new spec());
    report.pipe(process.stdout, { end: false });
    report.on("end", () => {
      // The reporter lists failures after the totals; those who read only the end want the totals there.
      if (failed) process.stdout.write(`\n${totals.join("")}`);
      resolve(!failed);
    });
  });
}

await runScript(async () => {
  const words = process.argv.slice(2);
  install();
  const checks = [
    check("types (tsc)", () => (build() ? [] : ["tsc found problems, see above"])),
    check("lint (biome)", lint),
    check("import directions", checkImports),
    check("file sizes", checkSizes),
  ];
  const files = testFiles(words);
  if (files.length === 0) {
    say(`no test file matches ${words.join(" ")}`);
    process.exitCode = 1;
    return;
  }
  const interpreted = await runTests(files, TIERS.interpreter);
  const again = files.filter((file) => TIERED.test(file));
  const compiled = again.length === 0 || (await runTests(again, TIERS.compiled));
  if (!interpreted || !compiled || checks.includes(false)) process.exitCode = 1;
});
