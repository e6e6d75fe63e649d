// Benchmarks. npm run bench                       micro-benchmarks, with ratios to the saved baseline
//             npm run bench -- --save             … and save them as the baseline
//             npm run bench -- --peers DIR        the guest set in DIR (built there) beside other emulators and the host
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ROOT, runScript, SetupError, setup } from "./setup.mjs";

const BASELINE = join(ROOT, "bench", "baseline.json");

/** Micro-benchmarks of the interpreter. */
async function micro(save) {
  const { runInterpreterBench } = await import(pathToFileURL(join(ROOT, "dist", "bench", "interpreter.js")).href);
  const baseline = existsSync(BASELINE) ? JSON.parse(readFileSync(BASELINE, "utf8")) : {};
  process.stdout.write("interpreter, million guest instructions a second of CPU time\n");
  const results = runInterpreterBench((name, mips) => {
    const ratio = baseline[name] ? `  ${(mips / baseline[name]).toFixed(2)} x baseline` : "";
    process.stdout.write(`  ${name.padEnd(10)} ${mips.toFixed(0).padStart(5)}${ratio}\n`);
  });
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

/** The macro set: integer rows in one run beside v86 without its compiler and the host itself. */
function peers(folder, options) {
  const runner = join(folder, "run-peers.mjs");
  if (!existsSync(runner))
    throw new SetupError(`${folder} holds no run-peers.mjs: give the folder of the built guest set`);
  const out = join(folder, "results", `vmxon-${Date.now()}.jsonl`);
  const args = [
    "--peers",
    "ours,v86-nojit,native",
    "--runs",
    options.runs,
    "--sets",
    options.sets,
    "--out",
    out,
    "--timeout",
    "1500",
  ];
  if (options.percent) args.push("--extra", `bpct=${options.percent}`);
  const { status } = spawnSync(process.execPath, [runner, ...args], {
    cwd: ROOT,
    stdio: "inherit",
    env: { ...process.env, VMXON: join(ROOT, "bin", "vmxon") },
  });
  if (status !== 0) throw new SetupError("the peers' runner failed");
  const [ours, v86, native] = ["ours", "v86-nojit", "native"].map((peer) => rows(out, peer));
  let sum = 0;
  let count = 0;
  process.stdout.write("CPU seconds: vmxon, v86 without its compiler (ratio), native (ratio)\n");
  for (const name of Object.keys(ours)) {
    if (!(ours[name] > 0 && v86[name] > 0)) continue;
    sum += Math.log(v86[name] / ours[name]);
    count++;
    const host = native[name] > 0.001 ? `${native[name].toFixed(3)} (${(ours[name] / native[name]).toFixed(1)})` : "-";
    process.stdout.write(
      `  ${name.padEnd(12)} ${ours[name].toFixed(3)}  ${v86[name].toFixed(3)} (${(v86[name] / ours[name]).toFixed(1)})  ${host}\n`,
    );
  }
  process.stdout.write(
    `vmxon is ${Math.exp(sum / count).toFixed(2)} times as fast as v86 without its compiler, in geometric mean over ${count} rows\n`,
  );
}

await runScript(async () => {
  const { values } = parseArgs({
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
  else await micro(values.save);
});
