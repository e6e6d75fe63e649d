/** Small x87 programs on the interpreter and compiled, against each other and against this host's processor. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { differences } from "../oracle/compare.ts";
import { OracleEngine } from "../oracle/engine.ts";
import { openNativeRunner } from "../oracle/runner.ts";
import { x87Programs } from "../oracle/x87-programs.ts";

const PROGRAMS = 1500;
const SHOWN = 10;

function seedOfRun(): number {
  const given = Number(process.env["ORACLE_SEED"]);
  return Number.isInteger(given) && given > 0 ? given : Math.floor(Math.random() * 0x7fffffff);
}

test("compiled x87 programs end as interpreted ones, last-instruction pointers included", (t) => {
  const seed = seedOfRun();
  t.diagnostic(`seed ${seed} (set ORACLE_SEED to repeat)`);
  const interpreter = new OracleEngine("interpreter");
  const compiled = new OracleEngine("compiled");
  const wrong: string[] = [];
  for (const [i, made] of [...x87Programs(seed, PROGRAMS)].entries()) {
    const expected = interpreter.run(made);
    const actual = compiled.run(made);
    const found = differences({ ...made, open: { ...made.open, status: 0 } }, expected, actual);
    if (Buffer.compare(expected.fpu, actual.fpu) !== 0) {
      const hex = (image: Uint8Array): string => Buffer.from(image.subarray(0, 28)).toString("hex");
      found.push(`environment ${hex(actual.fpu)}, not ${hex(expected.fpu)}`);
    }
    if (found.length > 0) wrong.push(`${i}: ${Buffer.from(made.code).toString("hex")}: ${found.join("; ")}`);
  }
  assert.equal(wrong.length, 0, `${wrong.length} of ${PROGRAMS} differ:\n${wrong.slice(0, SHOWN).join("\n")}`);
});

test("compiled x87 programs do what this host's processor does", (t) => {
  const seed = seedOfRun();
  const cases = [...x87Programs(seed, PROGRAMS)];
  const runner = openNativeRunner(cases[0]!);
  if (typeof runner === "string") return t.skip(runner);
  t.diagnostic(`seed ${seed} (set ORACLE_SEED to repeat)`);
  const engine = new OracleEngine("compiled");
  try {
    const wrong: string[] = [];
    for (const [i, expected] of runner.run(cases).entries()) {
      const found = differences(cases[i]!, expected, engine.run(cases[i]!));
      if (found.length > 0) wrong.push(`${i}: ${Buffer.from(cases[i]!.code).toString("hex")}: ${found.join("; ")}`);
    }
    assert.equal(wrong.length, 0, `${wrong.length} of ${PROGRAMS} differ:\n${wrong.slice(0, SHOWN).join("\n")}`);
  } finally {
    runner.close();
  }
});
