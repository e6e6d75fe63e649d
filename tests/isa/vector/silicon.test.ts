/** Every vector instruction against silicon: recorded results everywhere, fresh cases where the host is x86 Linux. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { generateCases, type VectorCase } from "./cases.ts";
import { VectorMachine } from "./machine.ts";
import { runNative } from "./native.ts";
import { describe, differences, type Outcome, OutcomeReader, outcome, RECORDED } from "./silicon.ts";

const SHOWN = 40;
const FRESH_PER_FORM = 12;

/** Compares case by case; gathers what differs by mnemonic and operands. */
class Tally {
  readonly #machine = new VectorMachine();
  readonly #wrong = new Map<string, string[]>();
  readonly #forms = new Set<string>();
  #cases = 0;

  check(one: VectorCase, expected: Outcome): void {
    this.#cases++;
    this.#forms.add(one.name);
    const found = differences(one, expected, outcome(one, this.#machine.run(one)));
    if (found.length === 0) return;
    const key = one.name.split(" ").slice(0, 2).join(" ");
    const list = this.#wrong.get(key) ?? [];
    list.push(`${found.join("; ")}: ${describe(one)}`);
    this.#wrong.set(key, list);
  }

  report(context: TestContext): void {
    context.diagnostic(`${this.#forms.size} forms, ${this.#cases} cases`);
    const lines = [...this.#wrong].map(([key, list]) => `${list.length} of ${key}: ${list[0]}`);
    assert.equal(lines.length, 0, `${lines.length} kinds differ:\n${lines.slice(0, SHOWN).join("\n")}`);
  }
}

test("vector instructions do what the recorded processor did", (context) => {
  const reader = new OutcomeReader(readFileSync(RECORDED.path));
  const tally = new Tally();
  let count = 0;
  for (const one of generateCases(RECORDED.seed, RECORDED.perForm)) {
    tally.check(one, reader.next(one));
    count++;
  }
  assert.equal(count, reader.count, "the generator makes other cases than were recorded: run tests/isa/vector/record");
  tally.report(context);
});

test("vector instructions do what this host's processor does", (context) => {
  const seed = Number(process.env["VMXON_SEED"] ?? Date.now() % 1_000_000);
  const cases = [...generateCases(seed, FRESH_PER_FORM)];
  const expected = runNative(cases);
  if (expected === undefined) return context.skip("this host cannot run 32-bit x86 Linux programs");
  context.diagnostic(`seed ${seed} (VMXON_SEED repeats it)`);
  const tally = new Tally();
  for (const [i, one] of cases.entries()) tally.check(one, outcome(one, expected[i]!));
  return tally.report(context);
});
