/**
 * The container of a saved domain: eight letters, the version of the format, then one gzip stream (RFC 1952) of frames, each
 * a length and a CBOR value. gzip's check covers all of it. Runs wherever there are web streams.
 */
import { decode, encode } from "../../common/cbor.ts";
import { VmxonError } from "../../common/errors.ts";

const MAGIC = "vmxonsav";
/** Version of the format: what a frame of each kind holds. Files of other versions are refused. */
export const FORMAT_VERSION = 1;
const HEADER_BYTES = MAGIC.length + 4;
const LENGTH_BYTES = 4;
/** Longest frame: states of devices with their memories, in one. */
const LONGEST_FRAME = 64 << 20;

/** Where a saved domain goes, and comes from. */
export type SaveSink = WritableStream<Uint8Array>;
export type SaveSource = Uint8Array | ReadableStream<Uint8Array>;

type Chunk = Uint8Array<ArrayBuffer>;

/** Writes frames to a sink, as slowly as that takes them. */
export class FrameWriter {
  readonly #writer: WritableStreamDefaultWriter<Chunk>;
  readonly #piped: Promise<void>;

  private constructor(gzip: CompressionStream, sink: SaveSink) {
    this.#writer = gzip.writable.getWriter() as WritableStreamDefaultWriter<Chunk>;
    this.#piped = (gzip.readable as ReadableStream<Uint8Array>).pipeTo(sink);
    // Whoever waits for it sees the error; until then nobody has missed it.
    this.#piped.catch(() => {});
  }

  /** Begin a file. */
  static async begin(sink: SaveSink): Promise<FrameWriter> {
    const header = new Uint8Array(HEADER_BYTES);
    header.set(new TextEncoder().encode(MAGIC));
    new DataView(header.buffer).setUint32(MAGIC.length, FORMAT_VERSION, true);
    const writer = sink.getWriter();
    await writer.write(header);
    writer.releaseLock();
    return new FrameWriter(new CompressionStream("gzip"), sink);
  }

  async write(value: unknown): Promise<void> {
    const body = encode(value);
    const frame = new Uint8Array(LENGTH_BYTES + body.length);
    new DataView(frame.buffer).setUint32(0, body.length, true);
    frame.set(body, LENGTH_BYTES);
    // The sink's error says more than that of the stream before it.
    await Promise.race([this.#writer.write(frame), this.#piped]);
  }

  /** Resolves when all of it is with the sink, which is closed. */
  async end(): Promise<void> {
    await Promise.race([this.#writer.close(), this.#piped]);
    await this.#piped;
  }

  /** Give up. */
  async abort(reason: unknown): Promise<void> {
    await this.#writer.abort(reason).catch(() => {});
    await this.#piped.catch(() => {});
  }
}

const damaged = (what: string, cause?: unknown): VmxonError =>
  new VmxonError("state", `the saved domain is damaged or cut off: ${what}`, { cause });

/** Bytes of a stream, so many at a time. */
class ByteQueue {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #chunks: Uint8Array[] = [];
  #length = 0;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** The next `count` bytes, or what is left when there are fewer. */
  async take(count: number): Promise<Uint8Array> {
    while (this.#length < count) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      this.#chunks.push(value);
      this.#length += value.length;
    }
    const taken = new Uint8Array(Math.min(count, this.#length));
    let filled = 0;
    let used = 0;
    while (filled < taken.length) {
      const chunk = this.#chunks[used]!;
      const part = chunk.subarray(0, taken.length - filled);
      taken.set(part, filled);
      filled += part.length;
      if (part.length === chunk.length) used++;
      else this.#chunks[used] = chunk.subarray(part.length);
    }
    this.#chunks.splice(0, used);
    this.#length -= filled;
    return taken;
  }

  /** What was not taken, as a stream. */
  rest(): ReadableStream<Uint8Array> {
    const chunks = this.#chunks;
    const reader = this.#reader;
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        const chunk = chunks.shift();
        if (chunk) {
          controller.enqueue(chunk);
          return;
        }
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    });
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
  }
}

function streamOf(source: SaveSource): ReadableStream<Uint8Array> {
  if (!(source instanceof Uint8Array)) return source;
  return new ReadableStream({
    start(controller) {
      controller.enqueue(source);
      controller.close();
    },
  });
}

/** Reads the frames of a file one by one. Every problem with the file is a VmxonError("state"). */
export class FrameReader {
  readonly #queue: ByteQueue;

  private constructor(queue: ByteQueue) {
    this.#queue = queue;
  }

  /** Check the header. */
  static async begin(source: SaveSource): Promise<FrameReader> {
    const queue = new ByteQueue(streamOf(source));
    const header = await queue.take(HEADER_BYTES);
    const view = new DataView(header.buffer);
    if (new TextDecoder("latin1").decode(header.subarray(0, MAGIC.length)) !== MAGIC) {
      await queue.cancel();
      throw new VmxonError("state", "this is no saved domain: vmxon save writes them");
    }
    if (header.length < HEADER_BYTES) throw damaged("it ends in its header");
    const version = view.getUint32(MAGIC.length, true);
    if (version !== FORMAT_VERSION) {
      await queue.cancel();
      const age = version > FORMAT_VERSION ? "a newer" : "an older";
      throw new VmxonError(
        "state",
        `the domain was saved by ${age} vmxon (format ${version}; this one reads format ${FORMAT_VERSION})`,
      );
    }
    const gunzip = new DecompressionStream("gzip") as unknown as ReadableWritablePair<Uint8Array, Uint8Array>;
    return new FrameReader(new ByteQueue(queue.rest().pipeThrough(gunzip)));
  }

  async #take(count: number): Promise<Uint8Array> {
    try {
      return await this.#queue.take(count);
    } catch (cause) {
      throw damaged(cause instanceof Error ? cause.message : String(cause), cause);
    }
  }

  /** The next frame, or undefined behind the last one. */
  async read(): Promise<unknown> {
    const head = await this.#take(LENGTH_BYTES);
    if (head.length === 0) return undefined;
    if (head.length < LENGTH_BYTES) throw damaged("it ends in a frame");
    const length = new DataView(head.buffer).getUint32(0, true);
    if (length > LONGEST_FRAME) throw damaged("a frame is too long");
    const body = await this.#take(length);
    if (body.length < length) throw damaged("it ends in a frame");
    return decode(body);
  }

  /** Let go of the source. */
  async cancel(): Promise<void> {
    await this.#queue.cancel();
  }
}
