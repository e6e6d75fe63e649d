/** The gate of address line 20: one wire that the keyboard controller and port 92h both pull, the last of them winning. */
import type { InterruptLine, Stateful } from "../hypervisor/device.ts";

/** State of the gate. */
export interface A20State {
  level: boolean;
}

/** The gate; open (address line 20 passes) after a reset, so that the first fetch finds the ROM. */
export class A20Gate implements InterruptLine, Stateful<A20State> {
  private readonly output: InterruptLine;
  private open = true;

  constructor(output: InterruptLine) {
    this.output = output;
  }

  /** True while address line 20 passes. */
  get level(): boolean {
    return this.open;
  }

  set(level: boolean): void {
    if (level === this.open) return;
    this.open = level;
    this.output.set(level);
  }

  reset(): void {
    this.set(true);
  }

  state(): A20State {
    return { level: this.open };
  }

  restore(state: A20State): void {
    this.open = state.level;
    this.output.set(state.level);
  }
}
