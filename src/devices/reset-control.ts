/** Reset control register of the PIIX, port CF9h: resets the processor or the machine. Intel 290550, 2.5.6.2. */
import type { AccessSize, PortDevice, Stateful } from "../hypervisor/device.ts";
import type { RegisterState } from "./system-ports.ts";

/** The machine, not the processor alone; the rising edge of RESET_CPU does it. */
const RCR = { SYSTEM_RESET: 1 << 1, RESET_CPU: 1 << 2 } as const;
const WRITABLE = RCR.SYSTEM_RESET | RCR.RESET_CPU;

export interface ResetControlDeps {
  /** Pulse the processor's INIT, or (hard) reset everything. */
  readonly reset: (hard: boolean) => void;
}

export class ResetControl implements PortDevice, Stateful<RegisterState> {
  readonly #deps: ResetControlDeps;
  #value = 0;

  constructor(deps: ResetControlDeps) {
    this.#deps = deps;
  }

  read(_offset: number, _size: AccessSize): number {
    return this.#value;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    const begins = (value & ~this.#value & RCR.RESET_CPU) !== 0;
    this.#value = value & WRITABLE;
    if (begins) this.#deps.reset((value & RCR.SYSTEM_RESET) !== 0);
  }

  reset(): void {
    this.#value = 0;
  }

  state(): RegisterState {
    return { value: this.#value };
  }

  restore(state: RegisterState): void {
    this.#value = state.value;
  }
}
