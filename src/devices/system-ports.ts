/**
 * The small ports of a PC board: 61h (speaker gate, refresh toggle), 92h (fast A20 and reset), 80h (POST code) and E9h
 * (debug console). IBM PS/2 Hardware Interface TR, "System Control Ports A and B"; E9h is the Bochs convention.
 */

import type { ByteSink } from "../hypervisor/backend.ts";
import type { Clock } from "../hypervisor/clock.ts";
import type { AccessSize, InterruptLine, PortDevice, Stateful } from "../hypervisor/device.ts";
import type { A20Gate } from "./a20-gate.ts";

/** Port 61h. */
const PORT_B = { GATE_2: 1 << 0, REFRESH: 1 << 4, OUT_2: 1 << 5, WRITABLE: 0x0f } as const;
/** Time between two changes of the refresh bit, ns: counter 1 divides 1.19318 MHz by 18. */
const REFRESH_INTERVAL = (18 * 12 * 1e9) / 14_318_180;
/** Port 92h. */
const PORT_A = { RESET: 1 << 0, A20: 1 << 1, WRITABLE: 0xf9 } as const;

/** The counter that port 61h gates. */
export interface SpeakerCounter {
  setGate2(level: boolean): void;
  /** Level of its output at guest time `now`, ns. */
  outputAt(counter: 2, now: number): boolean;
}

/** State of a port that is one register. */
export interface RegisterState {
  value: number;
}

/** System control port B, 61h. */
export class PortB implements PortDevice, Stateful<RegisterState> {
  private readonly deps: { readonly clock: Clock; readonly pit: SpeakerCounter };
  private value = 0;

  constructor(deps: { readonly clock: Clock; readonly pit: SpeakerCounter }) {
    this.deps = deps;
  }

  read(_offset: number, _size: AccessSize): number {
    const now = this.deps.clock.now();
    const refresh = Math.floor(now / REFRESH_INTERVAL) & 1;
    return this.value | (refresh ? PORT_B.REFRESH : 0) | (this.deps.pit.outputAt(2, now) ? PORT_B.OUT_2 : 0);
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.value = value & PORT_B.WRITABLE;
    this.deps.pit.setGate2((value & PORT_B.GATE_2) !== 0);
  }

  reset(): void {
    this.write(0, 1, 0);
  }

  state(): RegisterState {
    return { value: this.value };
  }

  restore(state: RegisterState): void {
    // The gate is part of the counter's own state.
    this.value = state.value & PORT_B.WRITABLE;
  }
}

/** System control port A, 92h. */
export class PortA implements PortDevice, Stateful<RegisterState> {
  private readonly deps: { readonly a20: A20Gate; readonly reset: () => void };
  private value = 0;

  constructor(deps: { readonly a20: A20Gate; readonly reset: () => void }) {
    this.deps = deps;
  }

  read(_offset: number, _size: AccessSize): number {
    return this.value | (this.deps.a20.level ? PORT_A.A20 : 0);
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    const before = this.value;
    this.value = value & PORT_A.WRITABLE;
    this.deps.a20.set((value & PORT_A.A20) !== 0);
    if (value & ~before & PORT_A.RESET) this.deps.reset();
  }

  reset(): void {
    this.value = 0;
  }

  state(): RegisterState {
    return { value: this.value };
  }

  restore(state: RegisterState): void {
    this.value = state.value & PORT_A.WRITABLE;
  }
}

/** Port 80h: keeps the last code that firmware wrote; everybody else writes it to pass a microsecond. */
export class PostPort implements PortDevice, Stateful<RegisterState> {
  private cell: Uint8Array = new Uint8Array(1);

  /** The last code. */
  get code(): number {
    return this.cell[0]!;
  }

  keepIn(cell: Uint8Array): void {
    cell[0] = this.code;
    this.cell = cell;
  }

  read(_offset: number, _size: AccessSize): number {
    return this.code;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.cell[0] = value;
  }

  reset(): void {
    this.cell[0] = 0;
  }

  state(): RegisterState {
    return { value: this.code };
  }

  restore(state: RegisterState): void {
    this.cell[0] = state.value;
  }
}

/** What a guest reads from the debug console to see that there is one. */
const DEBUG_PRESENT = 0xe9;

/** Port E9h: bytes written appear in the host's log; it reads as E9h. */
export class DebugPort implements PortDevice {
  private readonly sink: ByteSink;

  constructor(sink: ByteSink) {
    this.sink = sink;
  }

  read(_offset: number, _size: AccessSize): number {
    return DEBUG_PRESENT;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.sink.write(value & 0xff);
  }
}

/**
 * The latch between the coprocessor's error output and IRQ 13, as the PC/AT wires it: FERR# sets it, a write to port F0h
 * clears it. IBM PC/AT Technical Reference, "Coprocessor".
 */
export class FerrLatch implements PortDevice, Stateful<RegisterState> {
  readonly #irq: InterruptLine;
  #raised = false;

  constructor(deps: { irq: InterruptLine }) {
    this.#irq = deps.irq;
  }

  /** The processor asserts FERR#: an unmasked x87 exception while CR0.NE is clear. */
  raise(): void {
    this.#set(true);
  }

  #set(level: boolean): void {
    this.#raised = level;
    this.#irq.set(level);
  }

  read(_offset: number, _size: AccessSize): number {
    return 0xff;
  }

  write(_offset: number, _size: AccessSize, _value: number): void {
    this.#set(false);
  }

  reset(): void {
    this.#set(false);
  }

  state(): RegisterState {
    return { value: this.#raised ? 1 : 0 };
  }

  restore(state: RegisterState): void {
    this.#raised = state.value !== 0;
  }
}
