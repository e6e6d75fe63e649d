// Measures what SPECIFICATION.md promises about starting, pausing and idling, and prints it as one line each.
//   npm run measure -- --floppy freedos.img [--prompt '^A:.>$']
//   npm run measure -- --kernel vmlinuz --initrd initrd.gz [--append TEXT] [--prompt REGEX]
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ROOT, runScript, SetupError, setup } from "./setup.mjs";

const IDLE_SECONDS = 10;
const TIMEOUT = 300_000;

/** Print one result. */
function report(what, value) {
  process.stdout.write(`${what.padEnd(44)} ${value}\n`);
}

await runScript(async () => {
  const { values } = parseArgs({
    options: {
      floppy: { type: "string" },
      kernel: { type: "string" },
      initrd: { type: "string" },
      append: { type: "string", default: "console=ttyS0" },
      prompt: { type: "string" },
      memory: { type: "string", default: "128" },
    },
  });
  if (!values.floppy && !values.kernel) {
    throw new SetupError("say what to measure: npm run measure -- --floppy FILE, or --kernel FILE --initrd FILE");
  }
  setup();
  const started = performance.now();
  const load = (name) => import(pathToFileURL(join(ROOT, "dist", name)).href);
  const { Domain } = await load("src/index.js");
  const { PauseMeter, LONG_MS } = await load("bench/pauses.js");
  const config = values.floppy
    ? { fda: values.floppy, snapshot: true, memory: values.memory }
    : { kernel: values.kernel, ramdisk: values.initrd, cmdline: values.append, memory: values.memory };
  const prompt = new RegExp(values.prompt ?? (values.floppy ? "^A:.>$" : "[#$] $|READY"), "m");
  const domain = await Domain.create(config);
  const meter = new PauseMeter();
  domain.start();
  await domain.waitFor(prompt, { timeout: TIMEOUT });
  report("from start to prompt", `${((performance.now() - started) / 1000).toFixed(2)} s`);
  report("guest instructions to prompt", domain.instructions().toLocaleString("en"));
  const { longest, longestRun, long, longRuns, turns, mean } = meter.stop();
  report("longest pause of the event loop", `${longest.toFixed(0)} ms; ${longestRun.toFixed(0)} ms of processor time`);
  report(
    `pauses over ${LONG_MS} ms`,
    `${long}; ${longRuns} of processor time, of ${turns} turns ${mean.toFixed(1)} ms apart`,
  );
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, IDLE_SECONDS * 1000));
  const used = process.cpuUsage(before);
  report(
    "idle at the prompt, share of one core",
    `${((used.user + used.system) / IDLE_SECONDS / 10_000).toFixed(1)} %`,
  );
  report("memory of the process", `${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MB`);
  await domain.destroy();
});
