/** Our processor against silicon: the committed results of an x86 host, and fresh ones where this host is such. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import type { TestCase, TestResult } from "../oracle/case.ts";
import { differences } from "../oracle/compare.ts";
import { OracleEngine } from "../oracle/engine.ts";
import { generate } from "../oracle/generate.ts";
import { openNativeRunner } from "../oracle/runner.ts";
import { Fingerprint, VectorReader } from "../oracle/vectors.ts";
import { checkoutPath } from "../support/checkout.ts";

/** Forms to show before giving up. */
const SHOWN = 30;
/** Cases of a fresh batch: about one in thirty of the committed ones. */
const FRESH = { integer: 2, x87: 2, sequences: 1000 };

/** Compares results case by case and gathers what differs, by form. */
class Tally {
  readonly #engine = new OracleEngine();
  readonly #wrong = new Map<string, string[]>();
  readonly #forms = new Set<string>();
  #cases = 0;

  check(made: TestCase, expected: TestResult): void {
    this.#cases++;
    this.#forms.add(made.form);
    const found = this.#compare(made, expected);
    if (found.length === 0) return;
    const key = made.form
      .replace(/^((rep|repne|lock|[c-g]s:) )*/, "")
      .split(" ")
      .slice(0, 2)
      .join(" ");
    const list = this.#wrong.get(key) ?? [];
    const code = Buffer.from(made.code).toString("hex");
    list.push(`${made.form} [${code}] (case ${this.#cases}): ${found.slice(0, 4).join("; ")}`);
    this.#wrong.set(key, list);
  }

  #compare(made: TestCase, expected: TestResult): string[] {
    try {
      return differences(made, expected, this.#engine.run(made));
    } catch (error) {
      return [(error as Error).message];
    }
  }

  report(t: TestContext): void {
    t.diagnostic(`${this.#forms.size} forms, ${this.#cases} cases`);
    const lists = [...this.#wrong.values()].sort((a, b) => b.length - a.length);
    const lines = lists.map((list) => `${list.length} × ${list[0]}`);
    const total = lists.reduce((sum, list) => sum + list.length, 0);
    assert.equal(total, 0, `${total} cases of ${lines.length} forms differ:\n${lines.slice(0, SHOWN).join("\n")}`);
  }
}

test("instructions do what a processor did", (t) => {
  const reader = new VectorReader(readFileSync(checkoutPath("tests", "oracle", "vectors", "silicon.bin")));
  const { seed, amount, count, fingerprint, processor } = reader.header;
  t.diagnostic(`recorded on ${processor}`);
  const tally = new Tally();
  const print = new Fingerprint();
  let cases = 0;
  for (const made of generate(seed, amount)) {
    print.add(made);
    cases++;
    tally.check(made, reader.next(made));
  }
  const stale = "the generator makes other cases than were recorded: run scripts/record-oracle.mjs";
  assert.deepEqual([cases, print.value], [count, fingerprint], stale);
  tally.report(t);
});

test("instructions do what this host's processor does, with a new seed each time", (t) => {
  const given = Number(process.env["ORACLE_SEED"]);
  const seed = Number.isInteger(given) && given > 0 ? given : Math.floor(Math.random() * 0x7fffffff);
  const cases = [...generate(seed, FRESH)];
  const runner = openNativeRunner(cases[0]!);
  if (typeof runner === "string") return t.skip(runner);
  t.diagnostic(`seed ${seed} (set ORACLE_SEED to repeat)`);
  try {
    const tally = new Tally();
    for (const [i, expected] of runner.run(cases).entries()) tally.check(cases[i]!, expected);
    tally.report(t);
  } finally {
    runner.close();
  }
});
