/**
 * A process that goes on with a saved domain, and dies of it: started by tests with a file, what to do, and where to save.
 * `run FILE`: to the end of the guest; prints its last state. `save FILE NEW MS`: for so long, then saves and waits to be
 * killed. The guest's serial output goes to standard error.
 */
import { readFile, writeFile } from "node:fs/promises";
import { Domain } from "../../src/index.ts";

const [, , what, file, target, ms] = process.argv;
const domain = await Domain.restore(new Uint8Array(await readFile(file!)));
domain.serial[0]!.onData((bytes) => process.stderr.write(bytes));
domain.start();
let ended = false;
void domain.exited.then(() => {
  ended = true;
});
if (what === "save") {
  await new Promise((resolve) => setTimeout(resolve, Number(ms)));
  // The guest may be faster than the test.
  const bytes = ended ? undefined : await domain.save({ afterwards: "destroy" }).catch(() => undefined);
  if (bytes) {
    await writeFile(target!, bytes);
    process.stdout.write("saved\n");
    setInterval(() => {}, 1000);
  }
}
const reason = await domain.exited;
if (what === "run" || reason.kind !== "destroyed") {
  process.stdout.write(`${reason.kind} ${domain.stateHash()} ${domain.guestTime()} ${domain.instructions()}\n`);
  process.exit();
}
