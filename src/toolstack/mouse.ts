/** The mouse as programs use it: movements, wheel and buttons, and positions where the guest has a driver for them. */
import { VmxonError } from "../common/errors.ts";
import { MOUSE_BUTTON } from "../devices/ps2-mouse.ts";
import type { Display } from "../hypervisor/backend.ts";
import type { Waiter } from "./waiter.ts";

/** The machine's pointing devices. `buttons` are those now down, as bits; `dz` is notches of the wheel towards the user. */
export interface MousePort {
  /** The guest takes positions. */
  readonly absolute: boolean;
  move(dx: number, dy: number, dz: number, buttons: number): void;
  /** From 0 to 65535 over the whole picture. */
  moveTo(x: number, y: number, dz: number, buttons: number): void;
}

const BUTTONS = {
  left: MOUSE_BUTTON.LEFT,
  right: MOUSE_BUTTON.RIGHT,
  middle: MOUSE_BUTTON.MIDDLE,
  back: MOUSE_BUTTON.BACK,
  forward: MOUSE_BUTTON.FORWARD,
} as const;

export type MouseButton = keyof typeof BUTTONS;

const FULL_RANGE = 0xffff;
/** Guest time that a click holds its button, ms. */
const CLICK_MS = 50;

export class Mouse {
  readonly #port: MousePort;
  readonly #display: Display;
  readonly #waiter: Waiter;
  #buttons = 0;
  /** Where the pointer is, where the guest takes positions. */
  #x = 0;
  #y = 0;

  constructor(deps: { port: MousePort; display: Display; waiter: Waiter }) {
    this.#port = deps.port;
    this.#display = deps.display;
    this.#waiter = deps.waiter;
  }

  /** Whether the guest takes positions: it has found VMware's pointer. Others take movements only. */
  get absolute(): boolean {
    return this.#port.absolute;
  }

  /** Move by counts of the mouse, to the right and towards the user (down on the screen). */
  move(dx: number, dy: number): void {
    this.#port.move(dx, dy, 0, this.#buttons);
  }

  /**
   * Move to a pixel of the picture ({@link Screen.frame}). Throws VmxonError("guest") where the guest does not take
   * positions.
   */
  moveTo(x: number, y: number): void {
    if (!this.absolute) {
      throw new VmxonError(
        "guest",
        "the guest has no driver for an absolute pointer (VMware's); move it with mouse.move(dx, dy)",
      );
    }
    const { width, height } = this.#display.frame();
    this.#x = (x / Math.max(width - 1, 1)) * FULL_RANGE;
    this.#y = (y / Math.max(height - 1, 1)) * FULL_RANGE;
    this.#report(0);
  }

  /** Hold a button down. */
  press(button: MouseButton = "left"): void {
    this.#buttons |= BUTTONS[button];
    this.#report(0);
  }

  /** Let go of it. */
  release(button: MouseButton = "left"): void {
    this.#buttons &= ~BUTTONS[button];
    this.#report(0);
  }

  /** Press and release. Resolves when released; rejects when the domain stops before. */
  async click(button: MouseButton = "left"): Promise<void> {
    this.press(button);
    await this.#waiter.sleep(CLICK_MS);
    this.release(button);
  }

  /** Turn the wheel by notches, towards the user where positive: pages scroll down. */
  wheel(notches: number): void {
    this.#report(notches);
  }

  #report(dz: number): void {
    if (this.absolute) this.#port.moveTo(this.#x, this.#y, dz, this.#buttons);
    else this.#port.move(0, 0, dz, this.#buttons);
  }
}
