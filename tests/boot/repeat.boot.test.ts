/** Under the instruction clock a run can be repeated: same input, same state, to the last bit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { guest, pass, sees, withDomain } from "./support.ts";

const { path, skip } = guest("dos", "freedos-1.4MB.img");

/** Hashes at three points of a run that boots, types, resets and boots again. */
async function run(): Promise<{ hashes: string[]; instructions: number }> {
  const hashes: string[] = [];
  let instructions = 0;
  await withDomain({ fda: path }, async (domain) => {
    await sees(domain, /A:\\>/);
    hashes.push(domain.stateHash());
    await domain.keyboard.type("dir\n");
    await sees(domain, /dir\(s\)/);
    hashes.push(domain.stateHash());
    domain.reset();
    await pass(domain, 1000);
    await sees(domain, /A:\\>/);
    hashes.push(domain.stateHash());
    instructions = domain.instructions();
  });
  return { hashes, instructions };
}

test("two runs of FreeDOS with the same input end in the identical state", { skip }, async () => {
  const first = await run();
  const second = await run();
  assert.deepEqual(second, first);
  assert.equal(new Set(first.hashes).size, first.hashes.length, "the hash tells different states apart");
});
