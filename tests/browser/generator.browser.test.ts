/** The worker that generates code starts in Chromium, from a page and from a worker, and its absence is a problem told. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { bundle, findChromium, launchChromium, serveFiles } from "./chromium.ts";

const chromiumPath = findChromium();
const skip = chromiumPath === undefined ? "there is no Chromium here" : false;

const PAGE = `<!doctype html><title>vmxon</title>
<script type="module">import { tryGenerator } from "/library.js"; globalThis.tryGenerator = tryGenerator;</script>`;
const MODULE = "[object WebAssembly.Module]";

let browser: Browser;
let server: Awaited<ReturnType<typeof serveFiles>>;
let bare: Awaited<ReturnType<typeof serveFiles>>;

before(async () => {
  if (skip) return;
  const bundled = async (path: string) => {
    const { code } = await bundle(fileURLToPath(new URL(path, import.meta.url)));
    return { type: "text/javascript", body: code };
  };
  const files = { "/": { type: "text/html", body: PAGE }, "/library.js": await bundled("generator.worker.js") };
  const generator = await bundled("../../src/toolstack/browser/generator.js");
  server = await serveFiles({ ...files, "/generator.js": generator });
  bare = await serveFiles(files);
  browser = await launchChromium(chromiumPath!);
});

after(async () => {
  await browser?.close();
  await server?.[Symbol.asyncDispose]();
  await bare?.[Symbol.asyncDispose]();
});

/** What a page at `url` says of the worker; the page has no errors of its own. */
async function inPage(url: string): Promise<string> {
  const page = await browser.newPage();
  const errors: Error[] = [];
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(url);
  const outcome = await page.evaluate(() =>
    (globalThis as unknown as { tryGenerator(): Promise<string> }).tryGenerator(),
  );
  assert.deepEqual(errors, []);
  await page.close();
  return outcome;
}

test("a page has a worker that sends modules", { skip }, async () => {
  assert.equal(await inPage(server.url), MODULE);
});

test("a worker has a worker that sends modules", { skip }, async () => {
  const page = await browser.newPage();
  await page.goto(server.url);
  const outcome = await page.evaluate(
    () =>
      new Promise<string>((resolve) => {
        const worker = new Worker("/library.js", { type: "module" });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => resolve(`error: ${message}`);
      }),
  );
  assert.equal(outcome, MODULE);
  await page.close();
});

test("where the worker's file is missing, that is told", { skip }, async () => {
  assert.match(await inPage(bare.url), /^problem: /);
});
