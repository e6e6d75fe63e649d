/**
 * A 104-key PS/2 keyboard: commands, scan code sets, its FIFO and typematic repeat, all in guest time.
 * IBM PS/2 Hardware Interface TR, "Keyboard (101- and 102-key)".
 */
import { copyPlain } from "../common/plain.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";
import { PS2, type Ps2Device } from "./ps2-port.ts";
import { isKey, type KeyModifiers, repeats, type ScanCodeSet, scanCodes } from "./scancodes.ts";

const COMMAND = { SET_LEDS: 0xed, ECHO: 0xee, SCAN_SET: 0xf0, ALL_TYPES_FIRST: 0xf7, KEY_TYPE_LAST: 0xfd } as const;
/** Commands from here on; anything lower is a parameter. */
const FIRST_COMMAND = COMMAND.SET_LEDS;
const IDENTITY = [0xab, 0x83] as const;
const FIFO_SIZE = 16;
/** Buffer overrun, by scan code set. */
const OVERRUN: Readonly<Record<ScanCodeSet, number>> = { 1: 0xff, 2: 0x00, 3: 0x00 };
/** 500 ms, 10.9 characters a second. */
const DEFAULT_TYPEMATIC = 0x2b;
const NS_PER_MS = 1e6;
/** A real self-test takes half a second; nobody needs to wait for it. */
const BAT_DELAY = 2 * NS_PER_MS;

/** LEDs, as in the parameter of the command EDh. */
export const LED = { SCROLL: 1 << 0, NUM: 1 << 1, CAPS: 1 << 2 } as const;

/** State of the keyboard. */
export interface Ps2KeyboardState {
  set: ScanCodeSet;
  leds: number;
  scanning: boolean;
  /** Typematic rate and delay, as in the parameter of the command F3h. */
  typematic: number;
  /** Command that waits for its parameter, or 0. */
  command: number;
  /** Answers to commands: they go before keys. */
  replies: number[];
  fifo: number[];
  lastSent: number;
  held: string[];
  /** Key that repeats, or "". */
  repeating: string;
  /** Guest times in ns, -1 when not armed. */
  repeatAt: number;
  batAt: number;
}

function powerOn(): Ps2KeyboardState {
  return {
    set: 2,
    leds: 0,
    scanning: true,
    typematic: DEFAULT_TYPEMATIC,
    command: 0,
    replies: [],
    fifo: [],
    lastSent: 0,
    held: [],
    repeating: "",
    repeatAt: -1,
    batAt: -1,
  };
}

/** The keyboard. Keys are named by `KeyboardEvent.code`. */
export class Ps2Keyboard implements Ps2Device, Stateful<Ps2KeyboardState> {
  private s: Ps2KeyboardState = powerOn();
  private readonly clock: Clock;
  private readonly repeat: Timer;
  private readonly bat: Timer;
  private readonly activity: () => void;
  private ready: () => void = () => {};

  /** `activity` is called when a key is touched, whether or not anybody will hear of it. */
  constructor(deps: { readonly clock: Clock; readonly activity?: () => void }) {
    this.clock = deps.clock;
    this.activity = deps.activity ?? ((): void => {});
    this.repeat = deps.clock.timer((deadline) => this.onRepeat(deadline));
    this.bat = deps.clock.timer(() => this.reply(PS2.BAT_OK));
  }

  connect(ready: () => void): void {
    this.ready = ready;
  }

  /** LEDs that are lit: {@link LED}. */
  get leds(): number {
    return this.s.leds;
  }

  /** A key pressed now would be sent at once: scanning is on and the controller has taken everything before. */
  get accepting(): boolean {
    return this.s.scanning && this.s.fifo.length === 0 && this.s.replies.length === 0;
  }

  /** A key goes down or up. Repeated downs of one key are ignored (the keyboard repeats by itself), as are unknown keys. */
  key(code: string, down: boolean): void {
    const s = this.s;
    const index = s.held.indexOf(code);
    if (down === index >= 0 || !isKey(code)) return;
    this.activity();
    if (down) s.held.push(code);
    else s.held.splice(index, 1);
    if (down && repeats(code)) {
      s.repeating = code;
      this.repeat.arm(this.clock.now() + this.repeatDelay);
    } else if (s.repeating === code) {
      s.repeating = "";
      this.repeat.cancel();
    }
    this.send(scanCodes(code, down, s.set, this.modifiers));
  }

  /** Release every key: for a window that loses the focus. */
  releaseAll(): void {
    for (const code of [...this.s.held]) this.key(code, false);
  }

  private get modifiers(): KeyModifiers {
    const { held } = this.s;
    return {
      control: held.includes("ControlLeft") || held.includes("ControlRight"),
      shift: held.includes("ShiftLeft") || held.includes("ShiftRight"),
      alt: held.includes("AltLeft") || held.includes("AltRight"),
    };
  }

  private send(codes: readonly number[]): void {
    const s = this.s;
    if (!s.scanning || codes.length === 0) return;
    if (s.fifo.length + codes.length <= FIFO_SIZE) s.fifo.push(...codes);
    else if (s.fifo.length <= FIFO_SIZE && s.fifo.at(-1) !== OVERRUN[s.set]) s.fifo.push(OVERRUN[s.set]);
    this.ready();
  }

  private get repeatDelay(): number {
    return (((this.s.typematic >> 5) & 3) + 1) * 250 * NS_PER_MS;
  }

  /** (8 + A) × 2^B × 4.17 ms, where A is bits 2–0 and B bits 4–3. */
  private get repeatPeriod(): number {
    const { typematic } = this.s;
    return (8 + (typematic & 7)) * (1 << ((typematic >> 3) & 3)) * 4.17 * NS_PER_MS;
  }

  private onRepeat(deadline: number): void {
    const s = this.s;
    // A guest that does not read gets one repeat at a time, not a full FIFO.
    if (s.fifo.length === 0) this.send(scanCodes(s.repeating, true, s.set, this.modifiers));
    this.repeat.arm(Math.max(deadline, this.clock.now() - this.repeatPeriod) + this.repeatPeriod);
  }

  take(): number {
    const s = this.s;
    const byte = s.replies.shift() ?? s.fifo.shift() ?? -1;
    if (byte >= 0) s.lastSent = byte;
    return byte;
  }

  private reply(...bytes: number[]): void {
    this.s.replies.push(...bytes);
    this.ready();
  }

  write(byte: number): void {
    const { command } = this.s;
    // A new answer replaces what the host did not fetch.
    this.s.replies.length = 0;
    if (command !== 0 && byte < FIRST_COMMAND) this.parameter(command, byte);
    else this.execute(byte);
  }

  private parameter(command: number, byte: number): void {
    const s = this.s;
    if (command === COMMAND.SCAN_SET && byte > 3) {
      this.reply(PS2.RESEND);
      return;
    }
    s.command = 0;
    if (command === COMMAND.SET_LEDS) s.leds = byte & 7;
    else if (command === PS2.SET_RATE) s.typematic = byte & 0x7f;
    else if (command === COMMAND.SCAN_SET && byte > 0) {
      s.set = byte as ScanCodeSet;
      s.fifo.length = 0;
    }
    this.reply(PS2.ACK);
    if (command === COMMAND.SCAN_SET && byte === 0) this.reply(s.set);
  }

  private execute(byte: number): void {
    const s = this.s;
    s.command = 0;
    switch (byte) {
      case COMMAND.SET_LEDS:
      case COMMAND.SCAN_SET:
      case PS2.SET_RATE:
        s.command = byte;
        this.reply(PS2.ACK);
        break;
      case COMMAND.ECHO:
        this.reply(COMMAND.ECHO);
        break;
      case PS2.IDENTIFY:
        this.reply(PS2.ACK, ...IDENTITY);
        break;
      case PS2.ENABLE:
        s.fifo.length = 0;
        s.scanning = true;
        this.reply(PS2.ACK);
        break;
      case PS2.DISABLE:
        this.setDefaults(false);
        this.reply(PS2.ACK);
        break;
      case PS2.SET_DEFAULTS:
        this.setDefaults(true);
        this.reply(PS2.ACK);
        break;
      case PS2.RESEND:
        this.reply(s.lastSent);
        break;
      case PS2.RESET:
        this.setDefaults(true);
        s.leds = 0;
        this.reply(PS2.ACK);
        this.bat.arm(this.clock.now() + BAT_DELAY);
        break;
      default:
        // Key types of set 3 are accepted without effect: every key makes, breaks and repeats.
        if (byte >= COMMAND.ALL_TYPES_FIRST && byte <= COMMAND.KEY_TYPE_LAST) this.reply(PS2.ACK);
        else this.reply(PS2.RESEND);
    }
  }

  private setDefaults(scanning: boolean): void {
    const s = this.s;
    s.set = 2;
    s.typematic = DEFAULT_TYPEMATIC;
    s.scanning = scanning;
    s.fifo.length = 0;
    s.repeating = "";
    this.repeat.cancel();
    this.bat.cancel();
  }

  reset(): void {
    // Keys that are down stay down: the user's fingers know nothing of a reset.
    this.s = { ...powerOn(), held: this.s.held };
    this.repeat.cancel();
    this.bat.cancel();
  }

  state(): Ps2KeyboardState {
    return copyPlain({ ...this.s, repeatAt: timerState(this.repeat), batAt: timerState(this.bat) });
  }

  restore(state: Ps2KeyboardState): void {
    this.s = copyPlain(state);
    restoreTimer(this.repeat, state.repeatAt);
    restoreTimer(this.bat, state.batAt);
  }
}
