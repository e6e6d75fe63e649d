/** Opens an image for writing and stays: node lock-holder.js IMAGE. */
import { openFile } from "../../../src/toolstack/node/image-file.ts";

await openFile(process.argv[2] ?? "", "rw");
process.stdout.write("open\n");
setInterval(() => {}, 1000);
