/**
 * A PS/2 mouse with the wheel of the IntelliMouse and the five buttons of the IntelliMouse Explorer.
 * IBM PS/2 Hardware Interface TR, "Mouse"; the wheel's knocking sequence is Microsoft's.
 */
import { copyPlain } from "../common/plain.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";
import { PS2, type Ps2Device } from "./ps2-port.ts";

const COMMAND = {
  SCALE_1_1: 0xe6,
  SCALE_2_1: 0xe7,
  SET_RESOLUTION: 0xe8,
  STATUS: 0xe9,
  STREAM: 0xea,
  READ_DATA: 0xeb,
  WRAP_OFF: 0xec,
  WRAP_ON: 0xee,
  REMOTE: 0xf0,
} as const;
/** Byte 1 of the status report. */
const STATUS = { SCALE_2_1: 1 << 4, ENABLED: 1 << 5, REMOTE: 1 << 6 } as const;
/** Byte 1 of a movement packet. */
const PACKET = { ALWAYS: 1 << 3, X_SIGN: 1 << 4, Y_SIGN: 1 << 5, X_OVERFLOW: 1 << 6, Y_OVERFLOW: 1 << 7 } as const;
const MAX_DELTA = 255;
const MAX_WHEEL = 7;
/** Error and answer of a second wrong parameter. */
const ERROR = 0xfc;
const NS_PER_S = 1e9;
const NS_PER_MS = 1e6;
const BAT_DELAY = 2 * NS_PER_MS;
const DEFAULT_RATE = 100;
const DEFAULT_RESOLUTION = 2;
const RATES: readonly number[] = [10, 20, 40, 60, 80, 100, 200];

/** Identities: plain, with wheel, with wheel and five buttons. */
const ID = { PLAIN: 0, WHEEL: 3, EXPLORER: 4 } as const;
/** Sample rates set in a row that turn a mouse into the next better one. */
const KNOCKS: readonly { rates: readonly [number, number, number]; from: readonly number[]; id: number }[] = [
  { rates: [200, 100, 80], from: [ID.PLAIN], id: ID.WHEEL },
  { rates: [200, 200, 80], from: [ID.PLAIN, ID.WHEEL], id: ID.EXPLORER },
];

/** Buttons of `move`. */
export const MOUSE_BUTTON = { LEFT: 1, RIGHT: 2, MIDDLE: 4, BACK: 8, FORWARD: 16 } as const;

/** State of the mouse. */
export interface Ps2MouseState {
  enabled: boolean;
  remote: boolean;
  wrap: boolean;
  scale21: boolean;
  resolution: number;
  rate: number;
  id: number;
  /** The last three sample rates. */
  knock: number[];
  command: number;
  replies: number[];
  packet: number[];
  lastSent: number[];
  dx: number;
  dy: number;
  dz: number;
  buttons: number;
  /** Buttons in the last packet. */
  reported: number;
  /** A packet is due without news. */
  nudged: boolean;
  reportAt: number;
  batAt: number;
}

function powerOn(): Ps2MouseState {
  return {
    enabled: false,
    remote: false,
    wrap: false,
    scale21: false,
    resolution: DEFAULT_RESOLUTION,
    rate: DEFAULT_RATE,
    id: ID.PLAIN,
    knock: [0, 0, 0],
    command: 0,
    replies: [],
    packet: [],
    lastSent: [],
    dx: 0,
    dy: 0,
    dz: 0,
    buttons: 0,
    reported: 0,
    nudged: false,
    reportAt: -1,
    batAt: -1,
  };
}

/** 2:1 scaling of stream reports: 0 1 1 3 6 9, and twice the count from there on. */
function scaled(delta: number): number {
  const size = Math.abs(delta);
  const result = size > 5 ? size * 2 : [0, 1, 1, 3, 6, 9][size]!;
  return delta < 0 ? -result : result;
}

const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(high, value));

/** The mouse. */
export class Ps2Mouse implements Ps2Device, Stateful<Ps2MouseState> {
  private s: Ps2MouseState = powerOn();
  private readonly clock: Clock;
  private readonly report: Timer;
  private readonly bat: Timer;
  private ready: () => void = () => {};

  constructor(deps: { readonly clock: Clock }) {
    this.clock = deps.clock;
    this.report = deps.clock.timer(() => this.stream());
    this.bat = deps.clock.timer(() => this.reply(PS2.BAT_OK, ID.PLAIN));
  }

  connect(ready: () => void): void {
    this.ready = ready;
  }

  /** The guest wants movements. */
  get enabled(): boolean {
    return this.s.enabled;
  }

  /**
   * The mouse moved by `dx` counts to the right, `dy` towards the user (down on the screen) and its wheel by `dz` notches
   * towards the user; `buttons` are those now down: {@link MOUSE_BUTTON}.
   */
  move(dx: number, dy: number, dz: number, buttons: number): void {
    const s = this.s;
    s.dx = clamp(s.dx + Math.trunc(dx), -4096, 4096);
    s.dy = clamp(s.dy - Math.trunc(dy), -4096, 4096);
    s.dz = clamp(s.dz + Math.trunc(dz), -64, 64);
    s.buttons = buttons & 0x1f;
    this.schedule();
  }

  /** Send a packet that says nothing, so that a driver with another source of news looks there. */
  nudge(): void {
    this.s.nudged = true;
    this.schedule();
  }

  private get moved(): boolean {
    const s = this.s;
    return s.nudged || s.dx !== 0 || s.dy !== 0 || (s.dz !== 0 && s.id !== ID.PLAIN) || s.buttons !== s.reported;
  }

  private get streaming(): boolean {
    return this.s.enabled && !this.s.remote && !this.s.wrap;
  }

  private schedule(): void {
    if (!this.streaming || !this.moved || this.s.packet.length > 0) return;
    if (this.report.deadline === Number.POSITIVE_INFINITY) this.report.arm(this.clock.now() + NS_PER_S / this.s.rate);
  }

  private stream(): void {
    if (!this.streaming || !this.moved || this.s.packet.length > 0) return;
    this.makePacket(this.s.scale21);
    this.ready();
    this.schedule();
  }

  private makePacket(scale: boolean): void {
    const s = this.s;
    const dx = clamp(s.dx, -MAX_DELTA, MAX_DELTA);
    const dy = clamp(s.dy, -MAX_DELTA, MAX_DELTA);
    s.dx -= dx;
    s.dy -= dy;
    const x = scale ? scaled(dx) : dx;
    const y = scale ? scaled(dy) : dy;
    const flags =
      (s.buttons & 7) |
      PACKET.ALWAYS |
      (x < 0 ? PACKET.X_SIGN : 0) |
      (y < 0 ? PACKET.Y_SIGN : 0) |
      (Math.abs(x) > MAX_DELTA ? PACKET.X_OVERFLOW : 0) |
      (Math.abs(y) > MAX_DELTA ? PACKET.Y_OVERFLOW : 0);
    s.reported = s.buttons;
    s.nudged = false;
    s.packet.push(flags, clamp(x, -MAX_DELTA, MAX_DELTA) & 0xff, clamp(y, -MAX_DELTA, MAX_DELTA) & 0xff);
    if (s.id === ID.PLAIN) {
      s.dz = 0;
      return;
    }
    const dz = clamp(s.dz, -MAX_WHEEL, MAX_WHEEL);
    s.dz -= dz;
    s.packet.push(s.id === ID.WHEEL ? dz & 0xff : (dz & 0x0f) | ((s.buttons & 0x18) << 1));
  }

  take(): number {
    const s = this.s;
    const reply = s.replies.shift();
    if (reply !== undefined) return reply;
    const byte = s.packet.shift();
    if (byte === undefined) return -1;
    if (s.packet.length === 0) this.schedule();
    return byte;
  }

  private reply(...bytes: number[]): void {
    this.s.replies.push(...bytes);
    this.s.lastSent = bytes;
    this.ready();
  }

  write(byte: number): void {
    const s = this.s;
    const { command } = s;
    s.replies.length = 0;
    // A command cuts the packet short that is on its way.
    s.packet.length = 0;
    s.command = 0;
    if (s.wrap && byte !== COMMAND.WRAP_OFF && byte !== PS2.RESET) this.reply(byte);
    else if (command !== 0) this.parameter(command, byte);
    else this.execute(byte);
    this.schedule();
  }

  private parameter(command: number, byte: number): void {
    const s = this.s;
    if (command === COMMAND.SET_RESOLUTION && byte <= 3) {
      s.resolution = byte;
    } else if (command === PS2.SET_RATE && RATES.includes(byte)) {
      s.rate = byte;
      s.knock = [s.knock[1]!, s.knock[2]!, byte];
      for (const { rates, from, id } of KNOCKS) {
        if (from.includes(s.id) && rates.every((rate, i) => rate === s.knock[i])) s.id = id;
      }
    } else {
      this.reply(ERROR);
      return;
    }
    this.reply(PS2.ACK);
  }

  private execute(byte: number): void {
    const s = this.s;
    switch (byte) {
      case COMMAND.SCALE_1_1:
      case COMMAND.SCALE_2_1:
        s.scale21 = byte === COMMAND.SCALE_2_1;
        this.reply(PS2.ACK);
        break;
      case COMMAND.SET_RESOLUTION:
      case PS2.SET_RATE:
        s.command = byte;
        this.reply(PS2.ACK);
        break;
      case COMMAND.STATUS:
        this.reply(PS2.ACK, this.status(), s.resolution, s.rate);
        break;
      case COMMAND.STREAM:
      case COMMAND.REMOTE:
        s.remote = byte === COMMAND.REMOTE;
        this.reply(PS2.ACK);
        break;
      case COMMAND.READ_DATA:
        this.reply(PS2.ACK);
        this.makePacket(false);
        break;
      case COMMAND.WRAP_OFF:
      case COMMAND.WRAP_ON:
        s.wrap = byte === COMMAND.WRAP_ON;
        this.reply(PS2.ACK);
        break;
      case PS2.IDENTIFY:
        this.reply(PS2.ACK, s.id);
        break;
      case PS2.ENABLE:
      case PS2.DISABLE:
        s.enabled = byte === PS2.ENABLE;
        this.reply(PS2.ACK);
        break;
      case PS2.SET_DEFAULTS:
        this.setDefaults(s.id);
        this.reply(PS2.ACK);
        break;
      case PS2.RESEND:
        this.reply(...s.lastSent);
        break;
      case PS2.RESET:
        this.setDefaults(ID.PLAIN);
        this.reply(PS2.ACK);
        this.bat.arm(this.clock.now() + BAT_DELAY);
        break;
      default:
        this.reply(PS2.RESEND);
    }
  }

  /** Byte 1 of the status report has the buttons in the order left, middle, right from bit 2 down. */
  private status(): number {
    const { buttons, enabled, remote, scale21 } = this.s;
    return (
      (buttons & MOUSE_BUTTON.RIGHT ? 1 : 0) |
      (buttons & MOUSE_BUTTON.MIDDLE ? 2 : 0) |
      (buttons & MOUSE_BUTTON.LEFT ? 4 : 0) |
      (scale21 ? STATUS.SCALE_2_1 : 0) |
      (enabled ? STATUS.ENABLED : 0) |
      (remote ? STATUS.REMOTE : 0)
    );
  }

  private setDefaults(id: number): void {
    this.s = { ...powerOn(), id, buttons: this.s.buttons, reported: this.s.buttons };
    this.report.cancel();
    this.bat.cancel();
  }

  reset(): void {
    this.s = powerOn();
    this.report.cancel();
    this.bat.cancel();
  }

  state(): Ps2MouseState {
    return copyPlain({ ...this.s, reportAt: timerState(this.report), batAt: timerState(this.bat) });
  }

  restore(state: Ps2MouseState): void {
    this.s = copyPlain(state);
    restoreTimer(this.report, state.reportAt);
    restoreTimer(this.bat, state.batAt);
  }
}
