/** Records what the host's processor makes of the generated cases. Run by scripts/record-oracle.mjs. */
import { readFileSync } from "node:fs";
import type { TestCase } from "./case.ts";
import { type Amount, generate } from "./generate.ts";
import { NativeRunner } from "./runner.ts";
import { VectorWriter } from "./vectors.ts";

/** Amounts of the committed vectors. */
export const COMMITTED: Amount = { integer: 60, x87: 60, sequences: 20_000 };
/** Seed of the committed vectors. */
export const COMMITTED_SEED = 20_051_215;
const BATCH = 8192;

/** The host processor's name as Linux tells it. */
function processorName(): string {
  const line = /^model name\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
  return line?.[1] ?? "unknown";
}

/** Run all cases of a seed on this host's processor; `progress` hears how many are done. */
export function record(seed: number, amount: Amount, progress: (done: number) => void): Uint8Array {
  const writer = new VectorWriter();
  const runner = new NativeRunner();
  let done = 0;
  const flush = (batch: readonly TestCase[]): void => {
    const results = runner.run(batch);
    for (const [i, test] of batch.entries()) writer.add(test, results[i]!);
    done += batch.length;
    progress(done);
  };
  try {
    let batch: TestCase[] = [];
    for (const test of generate(seed, amount)) {
      batch.push(test);
      if (batch.length === BATCH) {
        flush(batch);
        batch = [];
      }
    }
    flush(batch);
  } finally {
    runner.close();
  }
  return writer.finish(seed, amount, processorName());
}
