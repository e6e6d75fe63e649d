/**
 * Images on a web server, read piece by piece with range requests (RFC 9110 14). Blocks are kept, and read ahead when they are
 * read in order. An image that changes on the server while it is in use is an error: every answer is compared with the first.
 */
import { VmxonError } from "../../common/errors.ts";
import type { BlockBackend } from "../../hypervisor/backend.ts";

const BLOCK = 0x40000;
/** Blocks that are kept: 32 MB. */
const KEPT_BLOCKS = 128;
/** Most blocks that are asked for at a time beyond what is wanted. */
const MOST_AHEAD = 8;
const ATTEMPTS = 4;
/** ms before the second attempt; doubled for each further one. */
const FIRST_PAUSE = 250;
/** Servers without ranges: images up to this size are kept as a whole. */
const MOST_WHOLE = 1 << 30;

const STATUS = { OK: 200, PARTIAL: 206, RANGE_NOT_SATISFIABLE: 416, TOO_MANY: 429, SERVER_ERROR: 500 } as const;

/** Whether a name is one that {@link HttpImage} opens. */
export function isHttpAddress(name: string): boolean {
  return /^https?:\/\//i.test(name);
}

/** What tells one version of an image from another. */
interface Version {
  readonly etag: string | null;
  readonly modified: string | null;
}

const versionOf = (response: Response): Version => ({
  etag: response.headers.get("etag"),
  modified: response.headers.get("last-modified"),
});

/** first–last/total of a Content-Range header. */
function contentRange(response: Response): { first: number; last: number; total: number } | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  return match ? { first: Number(match[1]), last: Number(match[2]), total: Number(match[3]) } : undefined;
}

/** ETags that say that two answers are the same byte for byte. RFC 9110 8.8.1. */
const isStrong = (etag: string | null): etag is string => etag !== null && !etag.startsWith("W/");

export interface HttpImageOptions {
  /** Instead of the platform's. */
  readonly fetch?: typeof fetch;
}

export class HttpImage implements BlockBackend {
  readonly readonly = true;
  readonly size: number;
  readonly #address: string;
  readonly #fetch: typeof fetch;
  readonly #version: Version;
  /** By number, the one used longest ago first. Blocks under way are promises. */
  readonly #blocks = new Map<number, Promise<Uint8Array>>();
  /** Block after the last one read, and how many are read ahead there. */
  #next = 0;
  #ahead = 0;
  readonly #abort = new AbortController();

  private constructor(options: { address: string; fetch: typeof fetch; size: number; version: Version }) {
    this.#address = options.address;
    this.#fetch = options.fetch;
    this.size = options.size;
    this.#version = options.version;
  }

  /** Rejects with VmxonError("image") that names the address when there is nothing to be read. */
  static async open(address: string, options: HttpImageOptions = {}): Promise<BlockBackend> {
    const request = options.fetch ?? fetch;
    const headers = { Range: `bytes=0-${BLOCK - 1}`, "Accept-Encoding": "identity" };
    const response = await attempts(() => ask(address, () => request(address, { headers })));
    const version = versionOf(response);
    if (response.status === STATUS.RANGE_NOT_SATISFIABLE) {
      return new HttpImage({ address, fetch: request, size: 0, version });
    }
    if (response.status === STATUS.OK) return new WholeImage(await whole(address, response));
    if ((response.headers.get("content-encoding") ?? "identity") !== "identity") {
      throw new VmxonError("image", `${address}: the server compresses its answers, so that no part can be read`);
    }
    // Pages see this header only when the server lets them; the length of an answer to HEAD they always see.
    const size = contentRange(response)?.total ?? (await sizeByHead(address, request));
    const image = new HttpImage({ address, fetch: request, size, version });
    const first = await body(address, response);
    if (first.length === Math.min(BLOCK, size)) image.#blocks.set(0, Promise.resolve(first));
    return image;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    if (target.length === 0) return;
    const first = Math.floor(offset / BLOCK);
    const last = Math.floor((offset + target.length - 1) / BLOCK);
    if (first === this.#next || first === this.#next - 1) {
      if (last >= this.#next) this.#ahead = Math.min(MOST_AHEAD, Math.max(1, this.#ahead * 2));
    } else this.#ahead = 0;
    this.#next = last + 1;
    this.#want(first, Math.min(last + this.#ahead, Math.floor((this.size - 1) / BLOCK)));
    // More blocks than are kept may be wanted at a time: hold them here.
    const blocks = Array.from({ length: last - first + 1 }, (_, index) => this.#blocks.get(first + index)!);
    this.#forgetOld();
    for (let index = 0; index < blocks.length; index++) {
      const start = (first + index) * BLOCK;
      const bytes = await blocks[index]!;
      const from = Math.max(0, offset - start);
      const to = Math.min(bytes.length, offset + target.length - start);
      target.set(bytes.subarray(from, to), start + from - offset);
    }
  }

  /** See to it that blocks are here or under way; those that are missing side by side come with one request. */
  #want(first: number, last: number): void {
    for (let block = first; block <= last; ) {
      const known = this.#blocks.get(block);
      if (known) {
        this.#blocks.delete(block);
        this.#blocks.set(block, known);
        block++;
        continue;
      }
      let end = block + 1;
      while (end <= last && !this.#blocks.has(end)) end++;
      this.#request(block, end);
      block = end;
    }
  }

  #request(first: number, end: number): void {
    const start = first * BLOCK;
    const bytes = this.#range(start, Math.min(end * BLOCK, this.size));
    for (let block = first; block < end; block++) {
      const from = (block - first) * BLOCK;
      const promise = bytes.then((all) => all.slice(from, from + BLOCK));
      this.#blocks.set(block, promise);
      // Whoever waits for it sees the error; the next read asks again.
      promise.catch(() => {
        if (this.#blocks.get(block) === promise) this.#blocks.delete(block);
      });
    }
  }

  #forgetOld(): void {
    for (const block of this.#blocks.keys()) {
      if (this.#blocks.size <= KEPT_BLOCKS) return;
      this.#blocks.delete(block);
    }
  }

  /** Bytes start to end (excluded). */
  async #range(start: number, end: number): Promise<Uint8Array> {
    const { etag, modified } = this.#version;
    const headers: Record<string, string> = { Range: `bytes=${start}-${end - 1}`, "Accept-Encoding": "identity" };
    // A server that has another version answers with all of it, and we see that by the status.
    if (isStrong(etag)) headers["If-Range"] = etag;
    return attempts(async () => {
      const { signal } = this.#abort;
      const response = await ask(this.#address, () => this.#fetch(this.#address, { headers, signal }));
      const version = versionOf(response);
      const range = contentRange(response);
      const changed =
        response.status !== STATUS.PARTIAL ||
        version.etag !== etag ||
        (etag === null && version.modified !== modified) ||
        (range !== undefined && range.total !== this.size);
      if (changed) {
        await response.body?.cancel();
        throw new VmxonError("image", `${this.#address} was changed on the server while it was in use; start again`);
      }
      const bytes = await body(this.#address, response);
      const wrongPlace = range !== undefined && (range.first !== start || range.last !== end - 1);
      if (wrongPlace || bytes.length !== end - start) {
        throw new VmxonError("image", `${this.#address}: the server sent other bytes than those that were asked for`);
      }
      return bytes;
    });
  }

  async write(): Promise<void> {
    throw new VmxonError("io", `${this.#address} cannot be written`);
  }

  async flush(): Promise<void> {}

  async discard(): Promise<void> {}

  async close(): Promise<void> {
    this.#abort.abort();
    this.#blocks.clear();
  }
}

/** An image that came as a whole. */
class WholeImage implements BlockBackend {
  readonly readonly = true;
  readonly size: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    target.set(this.#bytes.subarray(offset, offset + target.length));
  }

  async write(): Promise<void> {
    throw new VmxonError("io", "an image on a web server cannot be written");
  }

  async flush(): Promise<void> {}

  async discard(): Promise<void> {}

  async close(): Promise<void> {}
}

/** Something that may go well the next time. */
class Passing extends VmxonError {}

function unreachable(address: string, cause: unknown): Passing {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Passing("image", `${address}: cannot fetch it: ${why}`, { cause });
}

function refused(address: string, response: Response): VmxonError {
  const message = `${address}: the server answered ${response.status} ${response.statusText}`.trimEnd();
  const passes = response.status >= STATUS.SERVER_ERROR || response.status === STATUS.TOO_MANY;
  return passes ? new Passing("image", message) : new VmxonError("image", message);
}

/** Ask once; rejects with what {@link attempts} tries again where that may help. */
async function ask(address: string, request: () => Promise<Response>): Promise<Response> {
  const response = await request().catch((cause: unknown) => {
    throw unreachable(address, cause);
  });
  if (response.ok || response.status === STATUS.RANGE_NOT_SATISFIABLE) return response;
  await response.body?.cancel();
  throw refused(address, response);
}

async function sizeByHead(address: string, request: typeof fetch): Promise<number> {
  const response = await attempts(() => ask(address, () => request(address, { method: "HEAD" })));
  const length = response.headers.get("content-length");
  if (length === null || !/^\d+$/.test(length)) {
    throw new VmxonError(
      "image",
      `${address}: the server does not say how large it is (Content-Range, Content-Length)`,
    );
  }
  return Number(length);
}

async function whole(address: string, response: Response): Promise<Uint8Array> {
  const length = Number(response.headers.get("content-length") ?? 0);
  if (length > MOST_WHOLE) {
    await response.body?.cancel();
    throw new VmxonError(
      "image",
      `${address}: the server cannot send parts of it, and it is too large to be kept here`,
    );
  }
  return body(address, response);
}

/** The answer's bytes. A connection that breaks is tried again by {@link attempts}. */
async function body(address: string, response: Response): Promise<Uint8Array> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw unreachable(address, cause);
  }
}

/** Do it again, after growing pauses, while the connection breaks or the server is out of order. */
async function attempts<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || !(error instanceof Passing)) throw error;
    }
    await new Promise((resume) => setTimeout(resume, FIRST_PAUSE * 2 ** (attempt - 1)));
  }
}
