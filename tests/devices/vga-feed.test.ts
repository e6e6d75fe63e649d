/** What front ends are told of a picture: that it adds up to the picture, and that it is no more than what changed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DISPI, DISPI_ENABLE } from "../../src/devices/vga/dispi.ts";
import { Vga } from "../../src/devices/vga/vga.ts";
import type { Frame, FrameSink, Rectangle } from "../../src/hypervisor/backend.ts";
import { createBench } from "../firmware/vgabios-bench.ts";
import { videoMemory } from "../support/device-fakes.ts";
import type { FakeClock } from "../support/fake-clock.ts";

/** A front end that keeps a picture of its own, made of what it is told only. */
class Viewer implements FrameSink {
  width = 0;
  height = 0;
  pixels = new Uint32Array(0);
  parts: Rectangle[] = [];
  at: Rectangle | undefined;

  resize(width: number, height: number): void {
    this.width = width;
    this.height = height;
    this.pixels = new Uint32Array(width * height);
  }

  update(part: Rectangle, picture: Frame): void {
    const source = new Uint32Array(picture.rgba.buffer);
    this.parts.push(part);
    for (let y = part.y; y < part.y + part.height; y++) {
      const at = y * picture.width + part.x;
      this.pixels.set(source.subarray(at, at + part.width), at);
    }
  }

  cursor(at: Rectangle | undefined): void {
    this.at = at;
  }

  /** Pixels that were told since this was asked last. */
  take(): number {
    const sum = this.parts.reduce((total, { width, height }) => total + width * height, 0);
    this.parts = [];
    return sum;
  }
}

/** An adapter in the state of `vga`, whose picture was never looked at. */
function fresh(vga: Vga, clock: FakeClock): Vga {
  const copy = new Vga({ clock, memory: videoMemory(4 << 20) });
  copy.restore(vga.state());
  return copy;
}

const MODES = [0x00, 0x03, 0x04, 0x06, 0x07, 0x0d, 0x0f, 0x10, 0x12, 0x13] as const;
const LINEAR = [
  [640, 480, 8],
  [320, 200, 32],
  [640, 400, 15],
  [800, 600, 16],
  [640, 480, 24],
  [800, 600, 4],
] as const;

const step = fc.oneof(
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("mode" as const), mode: fc.constantFrom(...MODES) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("linear" as const), mode: fc.constantFrom(...LINEAR) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      at: fc.oneof(fc.nat(0xffff), fc.integer({ min: 0x18000, max: 0x19000 })),
      value: fc.nat(0xffff_ffff),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("linearWrite" as const), at: fc.nat((1 << 20) - 4), value: fc.nat() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("crtc" as const),
      index: fc.constantFrom(0x08, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x13, 0x14, 0x17, 0x18),
      value: fc.nat(255),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("color" as const), index: fc.nat(255), value: fc.nat(0x3f) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("wait" as const), frames: fc.integer({ min: 1, max: 20 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("look" as const), who: fc.nat(1) }) },
);

test("whatever a guest does, each front end's pieces add up to the picture that a new look gives", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
      const { vga, int10, io, clock } = createBench();
      const viewers = [new Viewer(), new Viewer()];
      const feeds = viewers.map((viewer) => vga.feed(viewer));
      const look = (who: number): void => {
        feeds[who]!.update();
        const { width, height, rgba } = fresh(vga, clock).frame();
        assert.deepEqual([viewers[who]!.width, viewers[who]!.height], [width, height]);
        assert.deepEqual(viewers[who]!.pixels, new Uint32Array(rgba.buffer));
      };
      for (const s of steps) {
        switch (s.kind) {
          case "mode":
            vga.dispi.write(DISPI.ENABLE, 0);
            int10({ ax: s.mode });
            break;
          case "linear": {
            const [width, height, bits] = s.mode;
            vga.dispi.write(DISPI.ENABLE, 0);
            vga.dispi.write(DISPI.X_RESOLUTION, width);
            vga.dispi.write(DISPI.Y_RESOLUTION, height);
            vga.dispi.write(DISPI.BITS_PER_PIXEL, bits);
            vga.dispi.write(DISPI.ENABLE, DISPI_ENABLE.ENABLED);
            break;
          }
          case "write":
            vga.memory.write(s.at, 4, s.value);
            break;
          case "linearWrite":
            vga.frameBuffer.write(s.at, 4, s.value);
            break;
          case "crtc":
            io.out(0x3d4, 2, s.index | (s.value << 8));
            break;
          case "color":
            io.out(0x3c8, 1, s.index);
            for (let i = 0; i < 3; i++) io.out(0x3c9, 1, s.value);
            break;
          case "wait":
            clock.advance(s.frames * 15e6);
            break;
          case "look":
            look(s.who);
            break;
        }
      }
      look(0);
      look(1);
    }),
    { numRuns: 60 },
  );
});

test("a front end is told of what changed, and of nothing when nothing did", () => {
  const { vga, int10, memory } = createBench();
  const viewer = new Viewer();
  const feed = vga.feed(viewer);
  int10({ ax: 0x12 });
  assert.equal(feed.update(), true);
  assert.equal(viewer.take(), 640 * 480);
  assert.equal(feed.update(), false);
  assert.equal(viewer.take(), 0);
  memory.write8(0xa0000 + 80 * 100 + 40, 0xff);
  assert.equal(feed.update(), true);
  assert.deepEqual(viewer.parts, [{ x: 320, y: 100, width: 64, height: 1 }]);
  viewer.take();
  // What does not change the picture is not told.
  memory.write8(0xa0000 + 80 * 100 + 40, 0xff);
  assert.equal(feed.update(), false);
});

test("a moving text cursor is told by its cells, and where it stands", () => {
  const { vga, int10 } = createBench();
  const viewer = new Viewer();
  const feed = vga.feed(viewer);
  feed.update();
  viewer.take();
  int10({ ax: 0x0200, dx: 0x0305 });
  feed.update();
  assert.deepEqual(viewer.at, { x: 45, y: 61, width: 9, height: 2 });
  assert.ok(viewer.take() <= 2 * 2 * 64);
  int10({ ax: 0x0100, cx: 0x2000 });
  feed.update();
  assert.equal(viewer.at, undefined);
});
