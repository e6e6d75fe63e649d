/** What the worker that generates region code runs, in pages and in workers of theirs. */
import { serveGenerator } from "../../processor/compiler/generator.ts";

serveGenerator({
  post: (message) => globalThis.postMessage(message),
  onMessage: (listener) => globalThis.addEventListener("message", ({ data }) => listener(data)),
});
