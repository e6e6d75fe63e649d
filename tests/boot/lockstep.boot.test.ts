/** Systems with the interpreter beside the compiled code, registers compared at every exit and memory now and then. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type DomainConfig, Domain as Domains } from "../../src/index.ts";
import { guest, sees } from "./support.ts";

const gray = guest("linux", "gray386linux-3.7.10.bzImage");
const freedos = guest("dos", "freedos-1.4MB.img");

/** Boot, type `command` at `prompt`, wait for `answer`, stop: nothing may have differed. */
async function session(config: DomainConfig, prompt: RegExp, command: string, answer: RegExp): Promise<void> {
  const domain = await Domains.create({ clock: "instructions", snapshot: true, check: "lockstep", ...config });
  domain.start();
  await sees(domain, prompt);
  await domain.keyboard.type(command);
  await sees(domain, answer);
  const reason = await domain.destroy();
  assert.equal(reason.kind, "destroyed", reason.message);
}

for (const compileAfter of [3000, 20]) {
  test(`Linux 3.7 in lockstep, code compiled after ${compileAfter} executions`, { skip: gray.skip }, () =>
    session(
      { kernel: gray.path, memory: 64, compile_after: compileAfter },
      /^~ # $/,
      "ls -l /bin | wc -l\n",
      /^\d+\s*$/m,
    ),
  );
}

test("FreeDOS and its programs in lockstep", { skip: freedos.skip }, () =>
  session({ fda: freedos.path, memory: 16, compile_after: 20 }, /A:\\>/, "dir\n", /bytes free/),
);
