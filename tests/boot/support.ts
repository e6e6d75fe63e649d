/** Boots systems in tests: guests that lie beside the checkout, under the clock that makes every run the same. */
import assert from "node:assert/strict";
import { type Domain, type DomainConfig, Domain as Domains, VmxonError } from "../../src/index.ts";
import { sharedPath } from "../support/shared.ts";

/** Guest time, ms, that a guest gets to do what a test waits for. */
export const PATIENCE = { timeout: 120_000 } as const;
/** Guest time, ms, between two looks. */
const INTERVAL = 10;

/** Path of a guest below `shared/guests`, and whether tests that need it are skipped. */
export function guest(...parts: string[]): { readonly path: string; readonly skip: string | false } {
  const path = sharedPath("guests", ...parts);
  return { path: path ?? "", skip: path === undefined && `${parts.join("/")} is not among the shared guests` };
}

/** Run `use` with a started domain; writes to its images are thrown away unless `config` says otherwise. */
export async function withDomain(config: DomainConfig, use: (domain: Domain) => Promise<void>): Promise<void> {
  const domain = await Domains.create({ clock: "instructions", snapshot: true, ...config });
  try {
    domain.start();
    await use(domain);
  } finally {
    await domain.destroy();
  }
}

/** Let `ms` of guest time pass. */
export async function pass(domain: Domain, ms: number): Promise<void> {
  const never = /(?!)/;
  await assert.rejects(
    domain.screen.waitFor(never, { timeout: ms }),
    (error) => error instanceof VmxonError && error.message.startsWith("timed out"),
  );
}

/** Resolves with the first result of `check` that is not undefined; rejects with `what` when that takes too long. */
export async function until<T>(domain: Domain, what: string, check: () => T | undefined): Promise<T> {
  const end = domain.guestTime() + PATIENCE.timeout;
  for (;;) {
    const result = check();
    if (result !== undefined) return result;
    if (domain.guestTime() > end)
      throw new Error(`waited in vain for ${what}; the screen shows:\n${domain.screen.text()}`);
    await pass(domain, INTERVAL);
  }
}

/** Wait until the screen's text matches. */
export async function sees(domain: Domain, pattern: RegExp): Promise<RegExpExecArray> {
  return domain.screen.waitFor(pattern, PATIENCE);
}

/** Pixels of the picture as words, one a pixel. */
export function pixels(domain: Domain): Uint32Array {
  const { rgba } = domain.screen.frame();
  return new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.byteLength / 4);
}

/** Number of different colours in the picture. */
export function colours(domain: Domain): number {
  return new Set(pixels(domain)).size;
}
