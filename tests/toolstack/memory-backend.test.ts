/** Media in memory: overlays, padding, write protection. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MemoryBackend, OverlayBackend, PaddedBackend, ReadOnlyBackend } from "../../src/toolstack/memory-backend.ts";

async function contents(backend: {
  size: number;
  read(offset: number, target: Uint8Array): Promise<void>;
}): Promise<Uint8Array> {
  const bytes = new Uint8Array(backend.size);
  await backend.read(0, bytes);
  return bytes;
}

test("an overlay reads like a written medium and leaves its base alone", async () => {
  const size = 200_000;
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({ offset: fc.nat(size - 1), length: fc.integer({ min: 1, max: 70_000 }), value: fc.nat(255) }),
        {
          maxLength: 8,
        },
      ),
      async (writes) => {
        const base = new Uint8Array(size).map((_, index) => index * 7);
        const original = base.slice();
        const overlay = new OverlayBackend(new MemoryBackend(base, { readonly: true }));
        const model = base.slice();
        for (const { offset, length, value } of writes) {
          const data = new Uint8Array(Math.min(length, size - offset)).fill(value);
          // Not awaited one by one: the order must hold nevertheless.
          void overlay.write(offset, data);
          data.fill(0);
          model.fill(value, offset, offset + data.length);
        }
        assert.deepEqual(await contents(overlay), model);
        assert.deepEqual(base, original);
      },
    ),
    { numRuns: 30 },
  );
});

test("an overlay may be larger than its base", async () => {
  const overlay = new OverlayBackend(new MemoryBackend(Uint8Array.of(1, 2, 3)), 100_000);
  const bytes = new Uint8Array(5);
  await overlay.read(1, bytes);
  assert.deepEqual([...bytes], [2, 3, 0, 0, 0]);
  await overlay.write(99_999, Uint8Array.of(9));
  await overlay.read(99_995, bytes);
  assert.deepEqual([...bytes], [0, 0, 0, 0, 9]);
  assert.equal(overlay.allocated, 0x10000);
});

test("a memory medium changes the bytes it was given; a read-only one refuses", async () => {
  const bytes = new Uint8Array(1024);
  await new MemoryBackend(bytes).write(512, Uint8Array.of(7));
  assert.equal(bytes[512], 7);
  await assert.rejects(new MemoryBackend(bytes, { readonly: true }).write(0, Uint8Array.of(1)), /read-only/);
  const locked = new ReadOnlyBackend(new MemoryBackend(bytes));
  assert.equal(locked.readonly, true);
  await assert.rejects(locked.write(), /read-only/);
});

test("padding reads as zero and lets the base grow", async () => {
  let stored = Uint8Array.of(1, 2);
  const growing = {
    size: 2,
    readonly: false,
    read: async (offset: number, target: Uint8Array) => target.set(stored.subarray(offset, offset + target.length)),
    write: async (offset: number, source: Uint8Array) => {
      const next = new Uint8Array(Math.max(stored.length, offset + source.length));
      next.set(stored);
      next.set(source, offset);
      stored = next;
    },
    flush: async () => {},
    discard: async () => {},
    close: async () => {},
  };
  const padded = new PaddedBackend(growing, 10);
  assert.deepEqual([...(await contents(padded))], [1, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
  await padded.write(5, Uint8Array.of(6));
  assert.deepEqual([...(await contents(padded))], [1, 2, 0, 0, 0, 6, 0, 0, 0, 0]);
});
