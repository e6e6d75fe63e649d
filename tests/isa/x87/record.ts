/** Records what this host's x87 makes of the cases of silicon.test.ts: `node dist/tests/isa/x87/record.js`, on x86 Linux. */
import { writeFileSync } from "node:fs";
import { generateCases } from "./cases.ts";
import { runNative } from "./native.ts";
import { packResults, RECORDED } from "./silicon.ts";

const cases = generateCases(RECORDED.seed, RECORDED.perRow);
const results = runNative(cases);
if (results === undefined) throw new Error("this host cannot run 32-bit x86 Linux programs; record on one that can");
const packed = packResults(cases, results);
writeFileSync(RECORDED.path, packed);
console.log(`${cases.length} results in ${packed.length} bytes: ${RECORDED.path}`);
