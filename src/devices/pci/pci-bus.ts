/**
 * PCI bus 0 behind configuration mechanism #1: ports CF8h and CFCh, and the wires from the functions' interrupt pins to the
 * chipset. PCI Local Bus Specification 2.1, 3.7.4.1; 82441FX 3.1.
 */
import type { InterruptLine, IoBus, PortDevice, Stateful } from "../../hypervisor/device.ts";
import { pirqOf } from "../pc-layout.ts";
import { PciFunction, type PciFunctionOptions } from "./pci-function.ts";

/** CONFADD (82441FX 3.1.1). Reserved bits read as zero. */
const CONFADD = { ENABLE: 0x8000_0000, BUS_SHIFT: 16, FUNCTION_SHIFT: 8, REGISTER: 0xfc, BITS: 0x80ff_fffc } as const;
const FUNCTIONS = 256;
const OPEN_BUS = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff } as const;
/** Port CF9h, which byte accesses reach: offset from CF8h. */
const RESET_CONTROL = 1;

/** State of the bus. */
export interface PciBusState {
  address: number;
  /** By function: its interrupt is asserted. */
  asserted: Uint8Array;
}

/** What the bus is wired to. */
export interface PciBusDeps {
  readonly bus: IoBus;
  /** PIRQ0–3 of the chipset: high while any function on it asks. */
  readonly pirq: readonly InterruptLine[];
  /** The register of one byte at CF9h, which the bus passes byte accesses on to. */
  readonly resetControl: PortDevice;
}

export class PciBus implements Stateful<PciBusState> {
  /** Ports CF8h–CFBh: the address in one piece of four bytes, or the reset control register. */
  readonly address: PortDevice;
  /** Ports CFCh–CFFh. */
  readonly data: PortDevice;
  readonly #deps: PciBusDeps;
  readonly #functions: (PciFunction | undefined)[] = new Array(FUNCTIONS).fill(undefined);
  #address = 0;
  /** By function: its interrupt is asserted; by PIRQ: of how many. */
  readonly #asserted = new Uint8Array(FUNCTIONS);
  readonly #pirqCounts = new Uint8Array(4);
  readonly #pirqOfFunction = new Uint8Array(FUNCTIONS);

  constructor(deps: PciBusDeps) {
    this.#deps = deps;
    this.address = {
      read: (offset, size) => {
        if (size === 4) return this.#address;
        return size === 1 && offset === RESET_CONTROL ? deps.resetControl.read(0, 1) : OPEN_BUS[size];
      },
      write: (offset, size, value) => {
        if (size === 4) this.#address = (value & CONFADD.BITS) >>> 0;
        else if (size === 1 && offset === RESET_CONTROL) deps.resetControl.write(0, 1, value);
      },
    };
    this.data = {
      read: (offset, size) => this.#target()?.read(this.#register(offset), size) ?? OPEN_BUS[size],
      write: (offset, size, value) => this.#target()?.write(this.#register(offset), size, value),
    };
  }

  /** Put a function at a device and function number. */
  add(device: number, number: number, options: PciFunctionOptions): PciFunction {
    const place = (device << 3) | number;
    this.#pirqOfFunction[place] = pirqOf(device, options.interruptPin ?? 1);
    const interrupt: InterruptLine = { set: (level) => this.#interrupt(place, level) };
    const made = new PciFunction(options, { bus: this.#deps.bus, order: place, interrupt });
    this.#functions[place] = made;
    return made;
  }

  /** All functions, by device and function number. */
  get functions(): readonly PciFunction[] {
    return this.#functions.filter((f) => f !== undefined);
  }

  /** The function that is addressed; no device answers on other buses. */
  #target(): PciFunction | undefined {
    if ((this.#address & CONFADD.ENABLE) === 0) return undefined;
    return this.#functions[(this.#address & ~CONFADD.ENABLE) >>> CONFADD.FUNCTION_SHIFT];
  }

  #register(offset: number): number {
    return (this.#address & CONFADD.REGISTER) | (offset & 3);
  }

  #interrupt(place: number, level: boolean): void {
    if ((this.#asserted[place] !== 0) === level) return;
    this.#asserted[place] = level ? 1 : 0;
    const pirq = this.#pirqOfFunction[place]!;
    const count = (this.#pirqCounts[pirq] = this.#pirqCounts[pirq]! + (level ? 1 : -1));
    this.#deps.pirq[pirq]!.set(count > 0);
  }

  reset(): void {
    this.#address = 0;
  }

  state(): PciBusState {
    return { address: this.#address, asserted: this.#asserted.slice() };
  }

  /** The levels of PIRQ0–3 follow from the functions'; what they are wired to restores its own. */
  restore(state: PciBusState): void {
    this.#address = state.address;
    this.#asserted.set(state.asserted);
    this.#pirqCounts.fill(0);
    this.#asserted.forEach((level, place) => {
      if (level) this.#pirqCounts[this.#pirqOfFunction[place]!]!++;
    });
  }
}
