/** Images on a web server: parts, reading ahead, and servers that do not play along. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { HttpImage } from "../../../src/toolstack/images/http.ts";
import { openImage } from "../../../src/toolstack/images/open.ts";
import { NODE_HOST } from "../../../src/toolstack/node/host.ts";
import { randomNumbers } from "./random-operations.ts";

interface Served {
  bytes: Uint8Array;
  etag: string | undefined;
  modified: string | undefined;
  ranges: boolean;
  /** Requests that are answered with an error before the next one goes well. */
  failures: number;
  /** Leave out Content-Range, as pages see it without the server's leave. */
  silent: boolean;
  requests: string[];
}

async function serving(work: (served: Served, address: string) => Promise<void>): Promise<void> {
  const random = randomNumbers(4);
  const served: Served = {
    bytes: new Uint8Array(3_000_001).map(() => random(256)),
    etag: '"one"',
    modified: undefined,
    ranges: true,
    failures: 0,
    silent: false,
    requests: [],
  };
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    served.requests.push(`${request.method} ${request.headers.range ?? ""}`.trim());
    if (served.failures > 0) {
      served.failures--;
      response.writeHead(503).end();
      return;
    }
    if (served.etag !== undefined) response.setHeader("ETag", served.etag);
    if (served.modified !== undefined) response.setHeader("Last-Modified", served.modified);
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const condition = request.headers["if-range"];
    if (!range || !served.ranges || (condition !== undefined && condition !== served.etag)) {
      response.writeHead(200, { "Content-Length": served.bytes.length });
      response.end(request.method === "HEAD" ? undefined : served.bytes);
      return;
    }
    const [from, to] = [Number(range[1]), Math.min(Number(range[2]), served.bytes.length - 1)];
    if (!served.silent) response.setHeader("Content-Range", `bytes ${from}-${to}/${served.bytes.length}`);
    response.writeHead(206).end(served.bytes.subarray(from, to + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await work(served, `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.img`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function readAt(
  image: { read(offset: number, target: Uint8Array): Promise<void> },
  offset: number,
  length: number,
) {
  const bytes = new Uint8Array(length);
  await image.read(offset, bytes);
  return bytes;
}

test("any part is what the server has, and what was read is not asked for again", async () => {
  await serving(async (served, address) => {
    const image = await HttpImage.open(address);
    assert.equal(image.size, served.bytes.length);
    const random = randomNumbers(1);
    for (let step = 0; step < 200; step++) {
      const offset = random(image.size);
      const length = Math.min(image.size - offset, 1 + random(step % 20 === 0 ? 1_000_000 : 5000));
      assert.ok(
        Buffer.compare(await readAt(image, offset, length), served.bytes.subarray(offset, offset + length)) === 0,
      );
    }
    assert.ok(served.requests.length <= 13, `${served.requests.length} requests for 12 blocks`);
    await image.close();
  });
});

test("reading in order asks for more and more at a time", async () => {
  await serving(async (served, address) => {
    const image = await HttpImage.open(address);
    for (let at = 0; at + 4096 <= image.size; at += 4096) await readAt(image, at, 4096);
    assert.ok(served.requests.length <= 6, served.requests.join());
    await image.close();
  });
});

test("an image that changes on the server is an error by name", async () => {
  for (const change of [
    (served: Served) => (served.etag = '"two"'),
    (served: Served) => (served.etag = 'W/"two"'),
    (served: Served) => (served.bytes = served.bytes.slice(1)),
  ]) {
    await serving(async (served, address) => {
      const image = await HttpImage.open(address);
      change(served);
      await assert.rejects(readAt(image, 2_000_000, 100), /disk\.img was changed on the server/);
    });
  }
  await serving(async (served, address) => {
    served.etag = undefined;
    served.modified = "Sat, 01 Jan 2022 00:00:00 GMT";
    const image = await HttpImage.open(address);
    await readAt(image, 1_000_000, 100);
    served.modified = "Sun, 02 Jan 2022 00:00:00 GMT";
    await assert.rejects(readAt(image, 2_000_000, 100), /was changed on the server/);
  });
});

test("servers that falter are asked again; those that cannot send parts, or do not say where they are, still do", async () => {
  await serving(async (served, address) => {
    served.failures = 2;
    const image = await HttpImage.open(address);
    served.failures = 1;
    assert.deepEqual(await readAt(image, 2_000_000, 100), served.bytes.slice(2_000_000, 2_000_100));
    await image.close();
    served.silent = true;
    assert.equal((await HttpImage.open(address)).size, served.bytes.length);
    assert.ok(served.requests.includes("HEAD"));
    served.ranges = false;
    assert.deepEqual(await readAt(await HttpImage.open(address), 10, 10), served.bytes.slice(10, 20));
  });
});

test("what is not there is named", async () => {
  const fetch = async () => new Response("", { status: 404, statusText: "Not Found" });
  await assert.rejects(
    HttpImage.open("http://x/disk.img", { fetch }),
    /http:\/\/x\/disk\.img: the server answered 404 Not Found/,
  );
});

test("an image on a web server is written in memory", async () => {
  await serving(async (served, address) => {
    served.bytes = served.bytes.slice(0, 2_999_808);
    const { backend, volatile } = await openImage(address, { name: address, host: NODE_HOST, access: "rw" });
    assert.match(volatile ?? "", /lies on a web server.*lost in the end/);
    await backend.write(5, Uint8Array.of(1, 2));
    assert.deepEqual(await readAt(backend, 4, 4), Uint8Array.of(served.bytes[4]!, 1, 2, served.bytes[7]!));
    await backend.close();
  });
});
