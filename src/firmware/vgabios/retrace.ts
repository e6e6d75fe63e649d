/** Waiting for the vertical retrace, as services that promise to act in it do. */
import type { ServiceContext } from "../service.ts";
import { crtcPort } from "./adapter.ts";

/** Input status 1 lies here from the CRT controller's index port. */
const STATUS1_FROM_CRTC = 6;
const VERTICAL_RETRACE = 0x08;
/** Guest time between two looks, ns: the retrace lasts 60 µs and more. */
const LOOK = 20_000;
/** Looks after which nobody waits any longer: the picture may be off. 50 ms. */
const MOST_LOOKS = 2500;

/** Resolves at the start of a retrace; the caller stands still meanwhile, and guest time goes on. */
export function waitForRetrace(context: ServiceContext): Promise<void> {
  const { io, clock } = context;
  const port = crtcPort(context) + STATUS1_FROM_CRTC;
  return new Promise((done) => {
    let before = true;
    let looks = 0;
    const timer = clock.timer(() => {
      const inside = (io.in(port, 1) & VERTICAL_RETRACE) !== 0;
      if ((inside && !before) || ++looks === MOST_LOOKS) done();
      else timer.arm(clock.now() + LOOK);
      before = inside;
    });
    timer.arm(clock.now() + LOOK);
  });
}
