/** What the worker thread that generates region code runs, in Node. */
import { parentPort } from "node:worker_threads";
import { serveGenerator } from "../../processor/compiler/generator.ts";

if (parentPort) {
  const port = parentPort;
  serveGenerator({
    post: (message) => port.postMessage(message),
    onMessage: (listener) => port.on("message", listener),
  });
}
