/** Records what this host makes of the cases of silicon.test.ts: `node dist/tests/isa/vector/record.js`, on x86 Linux. */
import { writeFileSync } from "node:fs";
import { generateCases } from "./cases.ts";
import { runNative } from "./native.ts";
import { outcome, packOutcomes, RECORDED } from "./silicon.ts";

const cases = [...generateCases(RECORDED.seed, RECORDED.perForm)];
const results = runNative(cases);
if (results === undefined) throw new Error("this host cannot run 32-bit x86 Linux programs; record on one that can");
const packed = packOutcomes(
  cases,
  cases.map((test, i) => outcome(test, results[i]!)),
);
writeFileSync(RECORDED.path, packed);
console.log(`${cases.length} results in ${packed.length} bytes: ${RECORDED.path}`);
