/**
 * The 8042 keyboard controller with its auxiliary (mouse) port: ports 60h and 64h, the A20 gate and the reset line.
 * IBM AT TR, section 1 "8042"; IBM PS/2 Hardware Interface TR, "Keyboard/Auxiliary Device Controller".
 */
import { copyPlain } from "../common/plain.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { InterruptLine, PortDevice, Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";
import type { A20Gate } from "./a20-gate.ts";
import type { Ps2Device } from "./ps2-port.ts";
import { BREAK_BIT, BREAK_PREFIX, translateSet2 } from "./scancodes.ts";

/** Status register, port 64h. */
const STATUS = { OBF: 1 << 0, SYSTEM: 1 << 2, COMMAND: 1 << 3, UNLOCKED: 1 << 4, AUX_OBF: 1 << 5 } as const;
/** Command byte, RAM location 0. */
const MODE = {
  KEYBOARD_INT: 1 << 0,
  AUX_INT: 1 << 1,
  SYSTEM: 1 << 2,
  DISABLE_KEYBOARD: 1 << 4,
  DISABLE_AUX: 1 << 5,
  TRANSLATE: 1 << 6,
} as const;
/** Output port. */
const OUTPUT = { NOT_RESET: 1 << 0, A20: 1 << 1, KEYBOARD_OBF: 1 << 4, AUX_OBF: 1 << 5, LINES_IDLE: 3 << 6 } as const;
/** Input port: keyboard not locked, no manufacturing jumper. */
const INPUT_PORT = 0xa0;

const COMMAND = {
  READ_RAM: 0x20,
  WRITE_RAM: 0x60,
  PASSWORD_INSTALLED: 0xa4,
  DISABLE_AUX: 0xa7,
  ENABLE_AUX: 0xa8,
  TEST_AUX: 0xa9,
  SELF_TEST: 0xaa,
  TEST_KEYBOARD: 0xab,
  DISABLE_KEYBOARD: 0xad,
  ENABLE_KEYBOARD: 0xae,
  READ_INPUT: 0xc0,
  READ_OUTPUT: 0xd0,
  WRITE_OUTPUT: 0xd1,
  WRITE_KEYBOARD_OBF: 0xd2,
  WRITE_AUX_OBF: 0xd3,
  WRITE_AUX: 0xd4,
  A20_OFF: 0xdd,
  A20_ON: 0xdf,
  READ_TEST: 0xe0,
  PULSE: 0xf0,
} as const;
const SELF_TEST_OK = 0x55;
const NO_PASSWORD = 0xf1;
const RAM_SIZE = 32;

/** Source of a byte in the output buffer. */
const SOURCE = { CONTROLLER: 0, KEYBOARD: 1, AUX: 2 } as const;
/** Controller answers that may wait for the output buffer. */
const QUEUE_LIMIT = 16;
/**
 * Time between two device bytes, ns. A real line needs about 1 ms; interrupt handlers rely on port 60h keeping its byte
 * while they read it more than once.
 */
const DELIVERY = 500_000;

/** State of the controller. */
export interface I8042State {
  /** RAM; the command byte comes first. */
  ram: Uint8Array;
  /** Output buffer. */
  data: number;
  full: boolean;
  /** Where `data` came from: 0 controller, 1 keyboard, 2 auxiliary device. */
  source: number;
  /** Answers waiting for the output buffer: byte | source << 8. */
  queue: number[];
  /** Command that waits for its parameter, or 0. */
  command: number;
  /** The last write went to port 64h. */
  lastWasCommand: boolean;
  /** A break prefix was swallowed by the translation. */
  breaking: boolean;
  deliverAt: number;
}

function powerOn(): I8042State {
  const ram = new Uint8Array(RAM_SIZE);
  ram[0] = MODE.TRANSLATE | MODE.DISABLE_AUX | MODE.KEYBOARD_INT;
  return {
    ram,
    data: 0,
    full: false,
    source: SOURCE.CONTROLLER,
    queue: [],
    command: 0,
    lastWasCommand: false,
    breaking: false,
    deliverAt: -1,
  };
}

/** What the controller is wired to. */
export interface I8042Deps {
  readonly clock: Clock;
  readonly irq1: InterruptLine;
  readonly irq12: InterruptLine;
  readonly a20: A20Gate;
  /** The processor's reset line was pulsed. */
  readonly reset: () => void;
  readonly keyboard: Ps2Device;
  readonly mouse: Ps2Device;
}

/** The controller. It is two port devices: `data` (60h) and `control` (64h). */
export class I8042 implements Stateful<I8042State> {
  /** Port 60h. */
  readonly data: PortDevice;
  /** Port 64h. */
  readonly control: PortDevice;
  private readonly deps: I8042Deps;
  private readonly delivery: Timer;
  private s: I8042State = powerOn();

  constructor(deps: I8042Deps) {
    this.deps = deps;
    this.delivery = deps.clock.timer(() => this.deliver());
    deps.keyboard.connect(() => this.schedule());
    deps.mouse.connect(() => this.schedule());
    this.data = {
      read: (): number => this.readData(),
      write: (_offset, _size, value): void => this.writeData(value & 0xff),
    };
    this.control = {
      read: (): number => this.status(),
      write: (_offset, _size, value): void => this.writeCommand(value & 0xff),
    };
  }

  private get mode(): number {
    return this.s.ram[0]!;
  }

  private set mode(value: number) {
    this.s.ram[0] = value;
  }

  private status(): number {
    const { s } = this;
    return (
      STATUS.UNLOCKED |
      (s.full ? STATUS.OBF | (s.source === SOURCE.AUX ? STATUS.AUX_OBF : 0) : 0) |
      (this.mode & MODE.SYSTEM ? STATUS.SYSTEM : 0) |
      (s.lastWasCommand ? STATUS.COMMAND : 0)
    );
  }

  private updateLines(): void {
    const { s, mode } = this;
    const aux = s.source === SOURCE.AUX;
    this.deps.irq1.set(s.full && !aux && (mode & MODE.KEYBOARD_INT) !== 0);
    this.deps.irq12.set(s.full && aux && (mode & MODE.AUX_INT) !== 0);
  }

  private readData(): number {
    const { s } = this;
    if (s.full) {
      s.full = false;
      this.updateLines();
      this.schedule();
    }
    return s.data;
  }

  private put(byte: number, source: number): void {
    const { s } = this;
    s.data = byte;
    s.source = source;
    s.full = true;
    this.updateLines();
  }

  /** An answer of the controller itself: at once if the output buffer is free. */
  private answer(byte: number, source: number = SOURCE.CONTROLLER): void {
    const { s } = this;
    if (!s.full && s.queue.length === 0) this.put(byte, source);
    else if (s.queue.length < QUEUE_LIMIT) s.queue.push(byte | (source << 8));
  }

  private schedule(): void {
    if (this.s.full || this.delivery.deadline !== Number.POSITIVE_INFINITY) return;
    this.delivery.arm(this.deps.clock.now() + DELIVERY);
  }

  private deliver(): void {
    const { s, mode } = this;
    if (s.full) return;
    const queued = s.queue.shift();
    if (queued !== undefined) {
      this.put(queued & 0xff, queued >> 8);
      return;
    }
    if ((mode & MODE.DISABLE_KEYBOARD) === 0 && this.deliverKey()) return;
    if (mode & MODE.DISABLE_AUX) return;
    const byte = this.deps.mouse.take();
    if (byte >= 0) this.put(byte, SOURCE.AUX);
  }

  private deliverKey(): boolean {
    const { s } = this;
    for (;;) {
      const byte = this.deps.keyboard.take();
      if (byte < 0) return false;
      if ((this.mode & MODE.TRANSLATE) === 0) {
        this.put(byte, SOURCE.KEYBOARD);
        return true;
      }
      if (byte === BREAK_PREFIX) {
        s.breaking = true;
        continue;
      }
      this.put(translateSet2(byte) | (s.breaking ? BREAK_BIT : 0), SOURCE.KEYBOARD);
      s.breaking = false;
      return true;
    }
  }

  private writeData(byte: number): void {
    const { s } = this;
    const { command } = s;
    s.lastWasCommand = false;
    s.command = 0;
    switch (command) {
      case 0:
        // Sending to the keyboard opens its interface.
        this.mode &= ~MODE.DISABLE_KEYBOARD;
        this.deps.keyboard.write(byte);
        break;
      case COMMAND.WRITE_OUTPUT:
        this.writeOutput(byte);
        break;
      case COMMAND.WRITE_KEYBOARD_OBF:
        this.answer(byte, SOURCE.KEYBOARD);
        break;
      case COMMAND.WRITE_AUX_OBF:
        this.answer(byte, SOURCE.AUX);
        break;
      case COMMAND.WRITE_AUX:
        this.mode &= ~MODE.DISABLE_AUX;
        this.deps.mouse.write(byte);
        break;
      default:
        s.ram[command & (RAM_SIZE - 1)] = byte;
        this.updateLines();
        this.schedule();
    }
  }

  private writeOutput(byte: number): void {
    this.deps.a20.set((byte & OUTPUT.A20) !== 0);
    if ((byte & OUTPUT.NOT_RESET) === 0) this.deps.reset();
  }

  private setMode(mode: number): void {
    this.mode = mode;
    this.schedule();
  }

  private writeCommand(command: number): void {
    const { s } = this;
    s.lastWasCommand = true;
    s.command = 0;
    if (command >= COMMAND.PULSE) {
      // Bits that are 0 are pulsed low; bit 0 is the processor's reset.
      if ((command & OUTPUT.NOT_RESET) === 0) this.deps.reset();
      return;
    }
    if (command >= COMMAND.WRITE_RAM && command < COMMAND.WRITE_RAM + RAM_SIZE) {
      s.command = command;
      return;
    }
    if (command >= COMMAND.READ_RAM && command < COMMAND.READ_RAM + RAM_SIZE) {
      this.answer(s.ram[command & (RAM_SIZE - 1)]!);
      return;
    }
    this.execute(command);
  }

  private execute(command: number): void {
    const { s } = this;
    switch (command) {
      case COMMAND.PASSWORD_INSTALLED:
        this.answer(NO_PASSWORD);
        break;
      case COMMAND.DISABLE_AUX:
        this.setMode(this.mode | MODE.DISABLE_AUX);
        break;
      case COMMAND.ENABLE_AUX:
        this.setMode(this.mode & ~MODE.DISABLE_AUX);
        break;
      case COMMAND.TEST_AUX:
      case COMMAND.TEST_KEYBOARD:
      case COMMAND.READ_TEST:
        this.answer(0);
        break;
      case COMMAND.SELF_TEST:
        this.setMode(this.mode | MODE.SYSTEM);
        this.answer(SELF_TEST_OK);
        break;
      case COMMAND.DISABLE_KEYBOARD:
        this.setMode(this.mode | MODE.DISABLE_KEYBOARD);
        break;
      case COMMAND.ENABLE_KEYBOARD:
        this.setMode(this.mode & ~MODE.DISABLE_KEYBOARD);
        break;
      case COMMAND.READ_INPUT:
        this.answer(INPUT_PORT);
        break;
      case COMMAND.READ_OUTPUT:
        this.answer(this.outputPort());
        break;
      case COMMAND.WRITE_OUTPUT:
      case COMMAND.WRITE_KEYBOARD_OBF:
      case COMMAND.WRITE_AUX_OBF:
      case COMMAND.WRITE_AUX:
        s.command = command;
        break;
      case COMMAND.A20_OFF:
      case COMMAND.A20_ON:
        this.deps.a20.set(command === COMMAND.A20_ON);
        break;
    }
  }

  private outputPort(): number {
    const { s } = this;
    const aux = s.source === SOURCE.AUX;
    return (
      OUTPUT.NOT_RESET |
      OUTPUT.LINES_IDLE |
      (this.deps.a20.level ? OUTPUT.A20 : 0) |
      (s.full ? (aux ? OUTPUT.AUX_OBF : OUTPUT.KEYBOARD_OBF) : 0)
    );
  }

  reset(): void {
    this.s = powerOn();
    this.delivery.cancel();
    this.updateLines();
  }

  state(): I8042State {
    return copyPlain({ ...this.s, deliverAt: timerState(this.delivery) });
  }

  restore(state: I8042State): void {
    this.s = copyPlain(state);
    restoreTimer(this.delivery, state.deliverAt);
    this.updateLines();
  }
}
