/**
 * Runs in a worker, or in a page: boots a floppy image, types a command, watches the prompt stand idle, and sends what it
 * saw as a `GuestReport`.
 */
import { EXIT } from "../../src/processor/exits.ts";
import { Domain } from "../../src/toolstack/browser/index.ts";

/** What the page learns about the guest. */
export interface GuestReport {
  /** Screen at the prompt, and once the command was answered. */
  readonly prompt: string;
  readonly answer: string;
  /** Guest instructions and guest ms while the prompt stood idle, and how often the guest halted meanwhile. */
  readonly idleInstructions: number;
  readonly idleMs: number;
  readonly idleHalts: number;
  readonly stop: string;
}

export interface GuestOrder {
  readonly image: string;
  readonly prompt: RegExp;
  readonly command: string;
  readonly answer: RegExp;
  /** Host ms to stand idle. */
  readonly idle: number;
  /** Host ms that each wait may take. */
  readonly timeout: number;
}

/** How often the guest has halted. */
function halts(domain: Domain): number {
  return domain.exitCounts().find(({ reason }) => reason === EXIT.hlt)?.count ?? 0;
}

/** Boot, type, idle, destroy. */
export async function runGuest(order: GuestOrder): Promise<GuestReport> {
  const { timeout } = order;
  const domain = await Domain.create({ fda: order.image, memory: 16 });
  domain.start();
  await domain.screen.waitFor(order.prompt, { timeout });
  const prompt = domain.screen.text();
  await domain.keyboard.type(order.command);
  await domain.screen.waitFor(order.answer, { timeout });
  const answer = domain.screen.text();
  const before = { instructions: domain.instructions(), time: domain.guestTime(), halts: halts(domain) };
  await new Promise((resolve) => setTimeout(resolve, order.idle));
  const idle = {
    idleInstructions: domain.instructions() - before.instructions,
    idleMs: domain.guestTime() - before.time,
    idleHalts: halts(domain) - before.halts,
  };
  const reason = await domain.destroy();
  return { prompt, answer, ...idle, stop: reason.kind };
}

/** The worker's half of the conversation: one order comes in, one report or message of an error goes out. */
function serve(): void {
  const port = globalThis as unknown as {
    onmessage: (event: { data: GuestOrder }) => void;
    postMessage(message: { report: GuestReport } | { error: string }): void;
  };
  port.onmessage = ({ data }) => {
    runGuest(data).then(
      (report) => port.postMessage({ report }),
      (error: unknown) => port.postMessage({ error: String(error) }),
    );
  };
}

// A page has a document and calls runGuest itself; a worker waits for its order.
if (!("document" in globalThis)) serve();
