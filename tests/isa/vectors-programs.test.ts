/** Short programs with branches, faults and stores into their own code: each engine against this host's processor. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { differences } from "../oracle/compare.ts";
import { OracleEngine } from "../oracle/engine.ts";
import { programCase } from "../oracle/programs.ts";
import { Random } from "../oracle/random.ts";
import { openNativeRunner } from "../oracle/runner.ts";

const PROGRAMS = 4000;
const SHOWN = 5;

for (const tier of ["interpreter", "compiled"] as const) {
  test(`programs do what this host's processor does: ${tier}`, (t) => {
    const given = Number(process.env["ORACLE_SEED"]);
    const seed = Number.isInteger(given) && given > 0 ? given : Math.floor(Math.random() * 0x7fffffff);
    const random = new Random(seed);
    const cases = Array.from({ length: PROGRAMS }, () => programCase(random));
    const runner = openNativeRunner(cases[0]!);
    if (typeof runner === "string") return t.skip(runner);
    t.diagnostic(`seed ${seed} (set ORACLE_SEED to repeat)`);
    try {
      const engine = new OracleEngine(tier);
      const wrong: string[] = [];
      for (const [i, expected] of runner.run(cases).entries()) {
        const made = cases[i]!;
        const found = differences(made, expected, engine.run(made));
        if (found.length > 0)
          wrong.push(`${made.form} [${Buffer.from(made.code).toString("hex")}]: ${found.join("; ")}`);
      }
      assert.equal(wrong.length, 0, `${wrong.length} programs differ:\n${wrong.slice(0, SHOWN).join("\n")}`);
    } finally {
      runner.close();
    }
  });
}
