/** Writes to an image until it is killed: node crash-writer.js IMAGE SEED SLOTS VERSION. Says the number of each flush. */
import { writeSync } from "node:fs";
import { openImage } from "../../../src/toolstack/images/open.ts";
import { NODE_HOST } from "../../../src/toolstack/node/host.ts";
import { operations, perform } from "./crash-model.ts";

const [image = "", seed, slots, version] = process.argv.slice(2);
const { backend } = await openImage(image, { name: image, host: NODE_HOST, access: "rw", format: "qcow2" });
writeSync(1, "open\n");
let count = 0;
for (const operation of operations(Number(seed), Number(slots), Number(version))) {
  await perform(backend, operation);
  count++;
  if (operation.kind === "flush") writeSync(1, `${count}\n`);
}
