// Hostile guests for a long time: `npm run soak -- [--minutes N] [--seed N] [--instructions N] [--restores N]`. Each seed
// makes one case of some kind: a domain with random code, tables and devices' ports; accesses to every device, with
// descriptors and packets; a hostile file in place of a saved domain. Whatever it does must end as a stop of that domain.
// Prints seeds of what went wrong, so that `--seed N --minutes 0` shows it again. A guest that keeps the host busy is one of
// them. Then a busy Linux guest is saved, killed and restored N times.
// `npm run soak -- images [KILLS]` is for disk images: see soak-images.mjs.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { ROOT, runScript, say, setup } from "./setup.mjs";

const DEFAULTS = { minutes: "10", instructions: "100000", restores: "50" };
/** Accesses to devices in one case. */
const ACTIONS = 10_000;
/** A scenario takes a second or two; one that takes this long has got hold of the host. */
const STUCK_MS = 60_000;
const PROGRESS_MS = 30_000;

/** In the worker: run seed after seed, and say how each ended. */
async function work({ seed, instructions }) {
  const from = (name) => import(pathToFileURL(join(ROOT, "dist", "tests", "fuzz", `${name}.js`)).href);
  const { runScenario } = await from("scenario");
  const { runDevices } = await from("devices");
  const { runSaved } = await from("saved");
  // The kind of a case follows from its seed, so that one seed shows it again.
  const kinds = [
    async (at) => {
      const { reason, defect } = await runScenario(at, instructions);
      return { kind: reason.kind, defect };
    },
    (at) => runDevices(at, ACTIONS),
    (at) => runSaved(at),
    (at) => runSaved(at),
  ];
  for (let next = seed; ; next++) {
    parentPort.postMessage({ started: next });
    let result;
    try {
      result = await kinds[next % kinds.length](next);
    } catch (error) {
      result = { defect: `escaped from the domain: ${error.stack ?? error}`, kind: "escaped" };
    }
    parentPort.postMessage({ finished: next, ...result });
  }
}

/** Save, kill and restore a busy guest so many times; true when all went well. */
function restores(count) {
  const test = join(ROOT, "dist", "tests", "boot", "restore.boot.test.js");
  const env = { ...process.env, VMXON_INTERRUPTIONS: String(count) };
  return spawnSync(process.execPath, ["--test", test], { stdio: "inherit", env }).status === 0;
}

/** Soak until the time is up; resolves to the number of seeds that went wrong. */
function soak(minutes, first, instructions) {
  return new Promise((resolve) => {
    const end = Date.now() + minutes * 60_000;
    const kinds = {};
    let runs = 0;
    let wrong = 0;
    let current = first;
    let since = Date.now();
    let worker;
    const report = () => say(`${runs} guests, ${JSON.stringify(kinds)}, ${wrong} defects; now at seed ${current}`);
    const complain = (seed, message) => {
      wrong++;
      say(`SEED ${seed}: ${message}`);
    };
    const finish = async () => {
      clearInterval(progress);
      clearInterval(watchdog);
      worker.removeAllListeners();
      await worker.terminate();
      report();
      resolve(wrong);
    };
    const start = (seed) => {
      worker = new Worker(fileURLToPath(import.meta.url), { workerData: { seed, instructions } });
      worker.on("message", (message) => {
        since = Date.now();
        if (message.started !== undefined) {
          current = message.started;
          return;
        }
        runs++;
        kinds[message.kind] = (kinds[message.kind] ?? 0) + 1;
        if (message.defect !== undefined) complain(message.finished, message.defect);
        if (Date.now() >= end) finish();
      });
      worker.on("error", (error) => {
        complain(current, `the host's thread died: ${error.stack ?? error}`);
        start(current + 1);
      });
    };
    const progress = setInterval(report, PROGRESS_MS);
    const watchdog = setInterval(async () => {
      if (Date.now() - since < STUCK_MS) return;
      since = Date.now();
      complain(current, `the host was busy for more than ${STUCK_MS / 1000} s`);
      worker.removeAllListeners();
      await worker.terminate();
      if (Date.now() >= end) finish();
      else start(current + 1);
    }, 1000);
    start(first);
  });
}

if (isMainThread && process.argv[2] === "images") {
  const { soakImages } = await import("./soak-images.mjs");
  await runScript(() => soakImages(process.argv[3] === undefined ? undefined : Number(process.argv[3])));
} else if (isMainThread) {
  await runScript(async () => {
    const { values } = parseArgs({
      options: {
        minutes: { type: "string", default: DEFAULTS.minutes },
        seed: { type: "string" },
        instructions: { type: "string", default: DEFAULTS.instructions },
        restores: { type: "string", default: DEFAULTS.restores },
      },
    });
    setup();
    const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
    say(`soaking for ${values.minutes} minutes from seed ${seed} …`);
    const wrong = await soak(Number(values.minutes), seed, Number(values.instructions));
    let well = wrong === 0;
    if (Number(values.restores) > 0) {
      say(`saving, killing and restoring a busy guest ${values.restores} times …`);
      well = restores(values.restores) && well;
    }
    if (!well) process.exitCode = 1;
  });
} else {
  await work(workerData);
}
