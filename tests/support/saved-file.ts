/** Saved domains taken apart and put together again, for tests that damage them from inside. */
import { FrameReader, FrameWriter } from "../../src/toolstack/saved/container.ts";

/** The frames of a saved domain. */
export async function framesOf(bytes: Uint8Array): Promise<unknown[]> {
  const reader = await FrameReader.begin(bytes);
  const frames: unknown[] = [];
  for (;;) {
    const frame = await reader.read();
    if (frame === undefined) return frames;
    frames.push(frame);
  }
}

/** A saved domain of these frames, its checks in order. */
export async function fileOf(frames: readonly unknown[]): Promise<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const bytes = new Response(readable).arrayBuffer();
  const writer = await FrameWriter.begin(writable);
  for (const frame of frames) await writer.write(frame);
  await writer.end();
  return new Uint8Array(await bytes);
}
