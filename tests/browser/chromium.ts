/** A headless Chromium of the host, and a server for the page that it opens. */
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium } from "playwright-core";

const PROGRAMS = ["chromium", "chromium-browser", "google-chrome"];
/** No window, no graphics processor, and nothing that a browser does on the network of its own accord. */
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Path of the host's Chromium, or undefined when it has none. */
export function findChromium(): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return PROGRAMS.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
}

/** Start it. The caller closes it. */
export function launchChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, args: FLAGS });
}

/** A file that the server gives out. */
export interface ServedFile {
  readonly type: string;
  readonly body: string | Uint8Array;
}

/** Serves files by their path on a free port of 127.0.0.1. The caller closes it. */
export async function serveFiles(
  files: Readonly<Record<string, ServedFile>>,
): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    const file = files[request.url ?? ""];
    response.writeHead(file ? 200 : 404, { "Content-Type": file?.type ?? "text/plain" });
    response.end(file?.body ?? "not found");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What scripts/bundle.mjs makes of a compiled module. */
export interface Bundle {
  readonly code: string;
  /** Files that went into it, relative to the repository. */
  readonly inputs: readonly string[];
  /** What the bundle still imports. */
  readonly imports: readonly string[];
}

/** Bundle a compiled module with the repository's own script. Rejects when something of it needs Node. */
export async function bundle(entry: string): Promise<Bundle> {
  // The scripts are plain JavaScript, not part of the compiled tree. `npm test` runs in the repository's folder.
  const script = pathToFileURL(join(process.cwd(), "scripts", "bundle.mjs")).href;
  return ((await import(script)) as { bundle(entry: string): Promise<Bundle> }).bundle(entry);
}
