/**
 * The SMBus host controller of a PIIX4, on a bus to which nothing is connected: every transfer ends with a device error, as
 * nobody acknowledges its address. Intel 290562 (82371AB), 7.5.
 */
import { copyPlain } from "../common/plain.ts";
import type { Clock, Timer } from "../hypervisor/clock.ts";
import type { AccessSize, InterruptLine, PortDevice, Stateful } from "../hypervisor/device.ts";
import { restoreTimer, timerState } from "../hypervisor/timer-state.ts";

const REG = { HSTSTS: 0, SLVSTS: 1, HSTCNT: 2 } as const;
/** Host status. */
const HSTSTS = { BUSY: 1 << 0, DEVICE_ERROR: 1 << 2, FAILED: 1 << 4, CLEARS: 0x1e } as const;
/** Host control. */
const HSTCNT = { INTERRUPT: 1 << 0, KILL: 1 << 1, START: 1 << 6, KEPT: 0x1d } as const;
/** Ports. */
export const SMBUS_PORTS = 16;
/** An address byte and the missing acknowledge at 100 kHz, ns. */
const TRANSFER = 100_000;

/** State of the controller. */
export interface SmBusState {
  registers: Uint8Array;
  endAt: number;
}

export interface SmBusDeps {
  readonly clock: Clock;
  readonly interrupt: InterruptLine;
}

export class SmBusHost implements PortDevice, Stateful<SmBusState> {
  readonly #deps: SmBusDeps;
  readonly #timer: Timer;
  readonly #registers = new Uint8Array(SMBUS_PORTS);

  constructor(deps: SmBusDeps) {
    this.#deps = deps;
    this.#timer = deps.clock.timer(() => this.#end(HSTSTS.DEVICE_ERROR));
  }

  read(offset: number, _size: AccessSize): number {
    return this.#registers[offset]!;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const registers = this.#registers;
    switch (offset) {
      case REG.HSTSTS:
        registers[offset]! &= ~(value & HSTSTS.CLEARS);
        this.#update();
        break;
      case REG.SLVSTS:
        break;
      case REG.HSTCNT:
        this.#control(value);
        break;
      default:
        registers[offset] = value;
    }
  }

  #control(value: number): void {
    const registers = this.#registers;
    registers[REG.HSTCNT] = value & HSTCNT.KEPT;
    if (value & HSTCNT.KILL) {
      if (registers[REG.HSTSTS]! & HSTSTS.BUSY) this.#end(HSTSTS.FAILED);
    } else if (value & HSTCNT.START && !(registers[REG.HSTSTS]! & HSTSTS.BUSY)) {
      registers[REG.HSTSTS]! |= HSTSTS.BUSY;
      this.#timer.arm(this.#deps.clock.now() + TRANSFER);
    }
    this.#update();
  }

  #end(status: number): void {
    this.#timer.cancel();
    this.#registers[REG.HSTSTS] = (this.#registers[REG.HSTSTS]! & ~HSTSTS.BUSY) | status;
    this.#update();
  }

  #update(): void {
    const asks = (this.#registers[REG.HSTSTS]! & HSTSTS.CLEARS) !== 0;
    this.#deps.interrupt.set(asks && (this.#registers[REG.HSTCNT]! & HSTCNT.INTERRUPT) !== 0);
  }

  reset(): void {
    this.#registers.fill(0);
    this.#timer.cancel();
    this.#update();
  }

  state(): SmBusState {
    return copyPlain({ registers: this.#registers, endAt: timerState(this.#timer) });
  }

  restore(state: SmBusState): void {
    this.#registers.set(state.registers);
    restoreTimer(this.#timer, state.endAt);
    this.#update();
  }
}
