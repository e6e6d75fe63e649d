/** The bundled library boots FreeDOS in Chromium, in a worker and in the page itself. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { sharedPath } from "../support/shared.ts";
import { bundle, findChromium, launchChromium, serveFiles } from "./chromium.ts";
import type { GuestOrder, GuestReport } from "./guest.worker.ts";

const chromiumPath = findChromium();
const image = sharedPath("guests", "dos", "freedos-1.4MB.img");
const skip =
  chromiumPath === undefined ? "there is no Chromium here" : image === undefined && "there is no FreeDOS image here";

/** Guest instructions in a ms of guest time that an idle prompt may take: its timer interrupts. A poll takes thousands. */
const IDLE_INSTRUCTIONS_PER_MS = 500;

const PAGE = `<!doctype html><title>vmxon</title>
<script type="module">import { runGuest } from "/guest.js"; globalThis.runGuest = runGuest;</script>`;

/**
 * The version also stands in the banner, and AUTOEXEC.BAT's first command is shown after a prompt; then it clears the
 * screen. So the prompt is the one at the top of the screen, and the answer what comes after the command.
 */
const PROMPT = /(?<![\s\S])\s*A:.>$/m;
const ANSWER = /^A:.>ver$\s+^FreeCom version .+$\s+^A:.>$/m;

const ORDER: GuestOrder = {
  image: "/freedos.img",
  prompt: PROMPT,
  command: "ver\n",
  answer: ANSWER,
  idle: 2000,
  timeout: 120_000,
};

let browser: Browser;
let server: Awaited<ReturnType<typeof serveFiles>>;

before(async () => {
  if (skip) return;
  const { code } = await bundle(fileURLToPath(new URL("guest.worker.js", import.meta.url)));
  server = await serveFiles({
    "/": { type: "text/html", body: PAGE },
    "/guest.js": { type: "text/javascript", body: code },
    "/freedos.img": { type: "application/octet-stream", body: readFileSync(image!) },
  });
  browser = await launchChromium(chromiumPath!);
});

after(async () => {
  await browser?.close();
  await server?.[Symbol.asyncDispose]();
});

/** A page of the server's; what goes wrong in it outside of any promise is collected. */
async function openPage(): Promise<{ page: Page; errors: Error[] }> {
  const page = await browser.newPage();
  const errors: Error[] = [];
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(server.url);
  return { page, errors };
}

function checkReport(report: GuestReport): void {
  assert.match(report.prompt, PROMPT);
  assert.doesNotMatch(report.prompt, /FreeCom version/);
  assert.match(report.answer, ANSWER);
  assert.equal(report.stop, "destroyed");
  assert.ok(report.idleHalts > 0, "the idle prompt halts");
  const rate = report.idleInstructions / report.idleMs;
  assert.ok(rate < IDLE_INSTRUCTIONS_PER_MS, `the idle prompt takes ${rate.toFixed(0)} instructions a ms`);
}

test("FreeDOS boots in a worker, answers a command and idles without spinning", { skip }, async () => {
  const { page, errors } = await openPage();
  const outcome = await page.evaluate(
    (order) =>
      new Promise<{ report?: GuestReport; error?: string }>((resolve) => {
        const worker = new Worker("/guest.js", { type: "module" });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => resolve({ error: message });
        worker.postMessage(order);
      }),
    ORDER,
  );
  assert.equal(outcome.error, undefined);
  checkReport(outcome.report!);
  assert.deepEqual(errors, []);
  await page.close();
});

test("FreeDOS boots in the page itself, which stays responsive", { skip }, async () => {
  const { page, errors } = await openPage();
  const { report, turns } = await page.evaluate(async (order) => {
    const { runGuest } = globalThis as unknown as { runGuest(order: GuestOrder): Promise<GuestReport> };
    let turns = 0;
    const timer = setInterval(() => turns++, 50);
    const report = await runGuest(order);
    clearInterval(timer);
    return { report, turns };
  }, ORDER);
  checkReport(report);
  assert.ok(turns > 0, "timers of the page run beside the guest");
  assert.deepEqual(errors, []);
  await page.close();
});
