// Benchmarks. npm run bench                       micro-benchmarks, with ratios to the saved baseline
//             npm run bench -- compiled system    only these sections: interpreter compiled x87 paging system ramp display images disk
//                                                 (disk only when it is named: it boots Debian's kernel, which is fetched)
//             npm run bench -- --save             … and save them as the baseline
//             npm run bench -- --peers DIR        the guest set in DIR (built there) beside other emulators and the host
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { prepareDebian } from "./debian.mjs";
import { ROOT, runScript, SetupError, setup } from "./setup.mjs";

const BASELINE = join(ROOT, "bench", "baseline.json");

/**
 * Micro-benchmarks: ns for each instruction, event or turn, µs for each look at a picture, ms until a loop is fast, what
 * disks give, and the ratio to the baseline (below 1: faster).
 */
async function micro(save, words) {
  const load = (name) => import(pathToFileURL(join(ROOT, "dist", name)).href);
  const { runInstructionsBench } = await load("bench/instructions.js");
  const { runRampBench } = await load("bench/ramp.js");
  const { runPagingBench } = await load("bench/paging.js");
  const { runDiskBench } = await load("bench/disk.js");
  const { runSystemBench } = await load("bench/system.js");
  const { runX87Bench } = await load("bench/x87.js");
  const { runDisplayBench } = await load("bench/display.js");
  const { runImagesBench } = await load("bench/images.js");
  const { DEFAULT_COMPILER } = await load("src/processor/compiler/compiler.js");
  const sections = {
    interpreter: {
      of: "ns for each interpreted instruction",
      run: (report) => runInstructionsBench(undefined, report),
    },
    compiled: {
      of: "ns for each compiled instruction",
      run: (report) => runInstructionsBench(DEFAULT_COMPILER, report),
    },
    x87: { of: "ns for each turn of a loop of compiled x87 code", run: runX87Bench },
    paging: { of: "ns for each event of the paging unit", run: runPagingBench },
    system: { of: "ns for each system instruction or device access", run: runSystemBench },
    display: { of: "µs for each look at a picture, by what changed in it", run: runDisplayBench },
    disk: {
      of: "MB a second that a Linux guest reads in sequence, and reads of 4 KiB a second at random places",
      run: runDiskBench,
      named: prepareDebian,
      moreIsFaster: true,
    },
    ramp: { of: "ms from a loop's first instruction to nine tenths of its final speed", run: runRampBench },
    images: { of: "µs for each MiB in order, and for each 4 KiB anywhere, of disk images", run: runImagesBench },
  };
  const baseline = existsSync(BASELINE) ? JSON.parse(readFileSync(BASELINE, "utf8")) : {};
  const results = { ...baseline };
  const ratios = [];
  for (const [section, { of, run, named, moreIsFaster }] of Object.entries(sections)) {
    if (words.length > 0 || named ? !words.includes(section) : false) continue;
    named?.();
    process.stdout.write(`${section}: ${of}\n`);
    await run((name, figure) => {
      const key = `${section}: ${name}`;
      results[key] = Number(figure.toPrecision(3));
      const factor = baseline[key] ? figure / baseline[key] : undefined;
      const ratio = factor && moreIsFaster ? 1 / factor : factor;
      if (ratio !== undefined) ratios.push(ratio);
      const shown = ratio === undefined ? "" : `  ${ratio.toFixed(2)} x baseline`;
      process.stdout.write(`  ${name.padEnd(12)} ${figure.toFixed(2).padStart(9)}${shown}\n`);
    });
  }
  if (ratios.length > 0) {
    const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
    process.stdout.write(`${mean.toFixed(2)} x baseline in geometric mean over ${ratios.length} rows\n`);
  }
  if (save) writeFileSync(BASELINE, `${JSON.stringify(results, undefined, 2)}\n`);
}

/** CPU seconds of the busiest thread for each row, from a result file of the peers' runner. */
function rows(file, peer) {
  const runs = readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter((r) => r.peer === peer);
  const names = new Set(runs.flatMap((r) => Object.keys(r.bench)));
  const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
  return Object.fromEntries(
    [...names].map((name) => [name, median(runs.map((r) => r.bench[name]?.main ?? Number.NaN))]),
  );
}

/** The macro set: integer rows in one run beside v86 without its compiler, Bochs where it is installed, and the host itself. */
function peers(folder, options) {
  const runner = join(folder, "run-peers.mjs");
  if (!existsSync(runner))
    throw new SetupError(`${folder} holds no run-peers.mjs: give the folder of the built guest set`);
  const others = ["v86-nojit", ...(spawnSync("which", ["bochs-bin"]).status === 0 ? ["bochs"] : []), "native"];
  const out = join(folder, "results", `vmxon-${Date.now()}.jsonl`);
  const list = ["ours", ...others].join();
  const args = ["--peers", list, "--runs", options.runs, "--sets", options.sets, "--out", out, "--timeout", "1500"];
  if (options.percent) args.push("--extra", `bpct=${options.percent}`);
  const { status } = spawnSync(process.execPath, [runner, ...args], {
    cwd: ROOT,
    stdio: "inherit",
    env: { ...process.env, VMXON: join(ROOT, "bin", "vmxon") },
  });
  if (status !== 0) throw new SetupError("the peers' runner failed");
  const ours = rows(out, "ours");
  const columns = others.map((peer) => ({ peer, times: rows(out, peer), logs: [] }));
  process.stdout.write(`CPU seconds of vmxon, then of ${others.join(", ")} with their ratio to it\n`);
  for (const [name, seconds] of Object.entries(ours)) {
    const cells = columns.map(({ times, logs }) => {
      // Shorter times are below what the system's accounting resolves.
      if (!(times[name] > 0.002 && seconds > 0)) return "-".padStart(16);
      logs.push(Math.log(times[name] / seconds));
      return `${times[name].toFixed(3)} (${(times[name] / seconds).toFixed(2)})`.padStart(16);
    });
    process.stdout.write(`  ${name.padEnd(12)} ${seconds.toFixed(3)}${cells.join("")}\n`);
  }
  for (const { peer, logs } of columns) {
    const mean = Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length);
    const verdict = mean >= 1 ? `${mean.toFixed(2)} times as fast as` : `${(1 / mean).toFixed(1)} times slower than`;
    process.stdout.write(`vmxon is ${verdict} ${peer}, in geometric mean over ${logs.length} rows\n`);
  }
}

await runScript(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      save: { type: "boolean", default: false },
      peers: { type: "string" },
      runs: { type: "string", default: "1" },
      sets: { type: "string", default: "port" },
      percent: { type: "string" },
    },
  });
  setup();
  if (values.peers) peers(resolve(values.peers), values);
  else await micro(values.save, positionals);
});
